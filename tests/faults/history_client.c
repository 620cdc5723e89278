/* history_client: a program of a user that writes and reads a view through one client, and says what it was told.
 *
 *   history_client DIR WRITER
 *
 * Until its standard input ends: it sends a batch of rows, waits for what became of them, and asks for the view. Times
 * are microseconds of the monotonic clock, which the test has too:
 *
 *   begin  FIRST ROWS START                                  before the first row is given to the library
 *   write  FIRST ROWS START END ACCEPTED UNKNOWN REFUSED     what became of them
 *   read   START END WRITER:EVENTS:TOTAL ...                 an answer
 *   failed START END TEXT                                    no answer, and why
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/time.h"
#include "common/client/anabranch.h"

#define BATCH_ROWS 60u
#define DEADLINE_MS 4000 /* shorter than an election takes, so that some outcomes stay unknown */
#define TIMEOUT_MS 8000
#define PAUSE_MS 120
#define AMOUNTS 997 /* row n of a writer has the amount 1 + n % AMOUNTS */

struct history {
    const char *directory;               /* borrowed */
    const char *writer;                  /* borrowed */
    struct anabranch_client *client;     /* owned; NULL until a node has answered */
    struct anabranch_producer *producer; /* owned; NULL after a batch that was not done */
    uint64_t next;                       /* number of the next row */
};

/* False when the test has closed the standard input. */
static bool goes_on(int wait_ms)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, wait_ms) == 0;
}

static bool client_open(struct history *history)
{
    const struct anabranch_options options = {.data_directory = history->directory, .timeout_ms = TIMEOUT_MS};
    if (history->client == NULL && anabranch_open(&options, &history->client) != ANABRANCH_OK) {
        fprintf(stderr, "open: %s\n", anabranch_last_error(history->client));
        anabranch_close(history->client);
        history->client = NULL;
    }
    return history->client != NULL;
}

static bool producer_open(struct history *history)
{
    const struct anabranch_producer_options options = {
        .stream = "rows", .block_rows = BATCH_ROWS / 2, .deadline_ms = DEADLINE_MS};
    if (history->producer == NULL &&
        anabranch_producer_open(history->client, &options, &history->producer) != ANABRANCH_OK) {
        fprintf(stderr, "producer: %s\n", anabranch_last_error(history->client));
        history->producer = NULL;
    }
    return history->producer != NULL;
}

static bool row_append(struct history *history, uint64_t number)
{
    char item[64];
    int bytes = snprintf(item, sizeof item, "%s-%" PRIu64, history->writer, number);
    (void)anabranch_set_text(history->producer, 0, history->writer, strlen(history->writer));
    (void)anabranch_set_text(history->producer, 1, item, (size_t)bytes);
    (void)anabranch_set_bigint(history->producer, 2, (int64_t)(1 + number % AMOUNTS));
    (void)anabranch_set_timestamp(history->producer, 3, (int64_t)number);
    return anabranch_append(history->producer, 0) == ANABRANCH_OK;
}

static void batch_write(struct history *history)
{
    struct anabranch_counts before;
    struct anabranch_counts after;
    uint64_t first = history->next;
    int64_t start = ab_time_monotonic_us();
    printf("begin %" PRIu64 " %u %" PRId64 "\n", first, BATCH_ROWS, start);
    (void)fflush(stdout);
    history->next += BATCH_ROWS;
    anabranch_producer_counts(history->producer, &before);
    bool is_done = true;
    for (uint64_t number = first; number < history->next && is_done; number++) {
        is_done = row_append(history, number);
    }
    is_done = anabranch_flush(history->producer) == ANABRANCH_OK && is_done;
    anabranch_producer_counts(history->producer, &after);
    if (!is_done) {
        fprintf(stderr, "write: %s\n", anabranch_last_error(history->client));
    }
    uint64_t accepted = after.accepted - before.accepted;
    uint64_t unknown = after.unknown - before.unknown;
    printf("write %" PRIu64 " %u %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", first, BATCH_ROWS,
        start, ab_time_monotonic_us(), accepted, unknown, BATCH_ROWS - accepted - unknown);
    if (!is_done) { /* a producer refuses everything after a block that failed */
        (void)anabranch_producer_close(history->producer);
        history->producer = NULL;
    }
}

static void view_read(struct history *history)
{
    struct anabranch_answer *answer = NULL;
    int64_t start = ab_time_monotonic_us();
    enum anabranch_result result =
        anabranch_query(history->client, "SELECT writer, events, total FROM by_writer", &answer);
    int64_t end = ab_time_monotonic_us();
    if (result != ANABRANCH_OK) {
        printf("failed %" PRId64 " %" PRId64 " %s\n", start, end, anabranch_last_error(history->client));
        return;
    }
    printf("read %" PRId64 " %" PRId64, start, end);
    for (uint32_t row = 0; row < anabranch_answer_rows(answer); row++) {
        size_t bytes = 0;
        const char *writer = anabranch_answer_text(answer, row, 0, &bytes);
        printf(" %.*s", (int)bytes, writer);
        printf(
            ":%" PRId64 ":%" PRId64, anabranch_answer_bigint(answer, row, 1), anabranch_answer_bigint(answer, row, 2));
    }
    printf("\n");
    anabranch_answer_free(answer);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: history_client DIR WRITER\n");
        return 2;
    }
    struct history history = {.directory = argv[1], .writer = argv[2]};
    while (goes_on(PAUSE_MS)) {
        if (client_open(&history) && producer_open(&history)) {
            batch_write(&history);
        }
        if (history.client != NULL) {
            view_read(&history);
        }
        (void)fflush(stdout);
    }
    if (history.producer != NULL) {
        (void)anabranch_producer_close(history.producer); /* every batch was flushed */
    }
    anabranch_close(history.client);
    return EXIT_SUCCESS;
}
