#include "bench/steady.h"

#include "bench/events.h"

#include "cluster/command/session.h"
#include "common/base/memory.h"
#include "common/base/thread.h"
#include "common/base/time.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#define KEY_FIRST INT64_C(1000000000) /* above those of the other loads */
#define ROW_TIME_US (INT64_C(1709251200) * AB_US_PER_SECOND)
#define PAUSE_US (50 * AB_US_PER_MS)
#define SLOW_US (200 * AB_US_PER_MS) /* a block that took longer is followed at once by the next */
#define CLIENT_MS 30000
#define BLOCK_DEADLINE_MS 90000
#define BEGIN_US (30 * AB_US_PER_SECOND)
#define BEGIN_POLL_US (10 * AB_US_PER_MS)
#define LAST_QUERY_MS 30000

struct block_time {
    int64_t begun_us;
    int64_t acknowledged_us;
};

struct steady_partition {
    struct ab_thread thread;
    struct ab_steady *steady;  /* borrowed */
    int64_t key;               /* of all its rows */
    struct ab_lock lock;       /* guards all below */
    struct block_time *blocks; /* owned; AB_STEADY_BLOCKS_MAX, in order */
    uint32_t blocks_count;
    struct anabranch_counts counts; /* at the end */
    struct ab_error error;          /* why it ended early */
    bool is_failed;
};

struct ab_steady {
    char *directory; /* owned */
    uint32_t partitions_count;
    struct steady_partition *partitions; /* owned */
    struct ab_thread asker;
    atomic_bool is_stopping; /* atomic */
    atomic_bool is_failing;  /* atomic */
    /* the asker's, then the owner's */
    uint64_t queries;
    uint64_t query_errors;
    struct ab_error query_error; /* the first */
    struct ab_histogram failing_us;
    struct ab_histogram between_us;
};

static ab_err client_open(const struct ab_steady *steady, const char *role, int timeout_ms,
    struct anabranch_client **client, struct ab_error *error)
{
    enum anabranch_result result = ab_session_client_open(steady->directory, role, timeout_ms, client, error);
    if (result == ANABRANCH_OK) {
        return AB_OK;
    }
    return *client == NULL ? ab_error_set(error, AB_UNAVAILABLE, "no client")
                           : ab_error_set(error, AB_UNAVAILABLE, "%s", anabranch_last_error(*client));
}

/* ---- blocks ---- */

/* One row, from its sending to its acknowledgement. */
static bool block_send(struct steady_partition *partition, struct anabranch_producer *producer)
{
    struct block_time block = {.begun_us = ab_time_monotonic_us()};
    bool is_done = anabranch_set_bigint(producer, 0, partition->key) == ANABRANCH_OK &&
                   anabranch_set_timestamp(producer, 1, ROW_TIME_US) == ANABRANCH_OK &&
                   anabranch_set_double(producer, 2, 1) == ANABRANCH_OK &&
                   anabranch_append(producer, 0) == ANABRANCH_OK && anabranch_flush(producer) == ANABRANCH_OK;
    block.acknowledged_us = ab_time_monotonic_us();
    if (!is_done) {
        return false;
    }
    ab_lock_take(&partition->lock);
    partition->blocks[partition->blocks_count++] = block;
    bool has_room = partition->blocks_count < AB_STEADY_BLOCKS_MAX;
    ab_lock_give(&partition->lock);
    if (block.acknowledged_us - block.begun_us < SLOW_US) {
        ab_time_sleep_us(PAUSE_US);
    }
    return has_room;
}

static void partition_fail(struct steady_partition *partition, ab_err err, const char *text)
{
    ab_lock_take(&partition->lock);
    partition->is_failed = true;
    (void)ab_error_set(&partition->error, err, "the load of a partition ended: %s", text);
    ab_lock_give(&partition->lock);
}

static void partition_run(void *context)
{
    struct steady_partition *partition = context;
    const struct anabranch_producer_options options = {
        .stream = "events", .block_rows = 1, .deadline_ms = BLOCK_DEADLINE_MS};
    struct anabranch_client *client = NULL;
    struct anabranch_producer *producer = NULL;
    struct ab_error error = {0};
    if (client_open(partition->steady, "producer", CLIENT_MS, &client, &error) != AB_OK) {
        partition_fail(partition, AB_UNAVAILABLE, error.text);
    } else if (anabranch_producer_open(client, &options, &producer) != ANABRANCH_OK) {
        partition_fail(partition, AB_UNAVAILABLE, anabranch_last_error(client));
    } else {
        while (!atomic_load(&partition->steady->is_stopping)) {
            if (!block_send(partition, producer)) {
                partition_fail(partition, AB_TIMEOUT, anabranch_last_error(client));
                break;
            }
        }
        anabranch_producer_counts(producer, &partition->counts);
        (void)anabranch_producer_close(producer); /* everything has its outcome */
    }
    anabranch_close(client);
}

int64_t ab_steady_acknowledged_us(struct ab_steady *steady, uint32_t at, int64_t since_us)
{
    struct steady_partition *partition = &steady->partitions[at];
    int64_t found_us = 0;
    ab_lock_take(&partition->lock);
    for (uint32_t i = partition->blocks_count; i > 0 && partition->blocks[i - 1].begun_us >= since_us; i--) {
        found_us = partition->blocks[i - 1].acknowledged_us;
    }
    ab_lock_give(&partition->lock);
    return found_us;
}

/* ---- queries ---- */

static void query_once(struct ab_steady *steady, struct anabranch_client *client)
{
    char sql[128];
    struct anabranch_answer *answer = NULL;
    int64_t key = steady->partitions[steady->queries % steady->partitions_count].key;
    (void)snprintf(sql, sizeof sql, "SELECT key, n, total FROM by_key WHERE key = %" PRId64, key);
    bool is_failing = atomic_load(&steady->is_failing);
    int64_t begun_us = ab_time_monotonic_us();
    enum anabranch_result result = anabranch_query(client, sql, &answer);
    int64_t spent_us = ab_time_monotonic_us() - begun_us;
    is_failing = is_failing || atomic_load(&steady->is_failing);
    ab_histogram_add(is_failing ? &steady->failing_us : &steady->between_us, (uint64_t)spent_us);
    steady->queries++;
    if (result != ANABRANCH_OK || anabranch_answer_rows(answer) != 1) {
        steady->query_errors++;
        if (steady->query_error.text[0] == '\0') {
            (void)ab_error_set(&steady->query_error, AB_UNAVAILABLE, "%s",
                result == ANABRANCH_OK ? "a key was not in the answer" : anabranch_last_error(client));
        }
    }
    anabranch_answer_free(answer);
}

static void asker_run(void *context)
{
    struct ab_steady *steady = context;
    struct anabranch_client *client = NULL;
    if (client_open(steady, "query", AB_STEADY_QUERY_MS, &client, &steady->query_error) != AB_OK) {
        steady->query_errors++;
    } else {
        while (!atomic_load(&steady->is_stopping)) {
            query_once(steady, client);
            ab_time_sleep_us(PAUSE_US / 5);
        }
    }
    anabranch_close(client);
}

void ab_steady_failing(struct ab_steady *steady, bool is_failing)
{
    atomic_store(&steady->is_failing, is_failing);
}

/* ---- beginning and end ---- */

/* A key of each partition: tried from KEY_FIRST on. */
static void keys_choose(struct ab_steady *steady)
{
    uint32_t missing = steady->partitions_count;
    for (int64_t key = KEY_FIRST; missing > 0; key++) {
        int64_t *chosen = &steady->partitions[ab_events_partition_of(key, steady->partitions_count)].key;
        missing -= *chosen == 0;
        *chosen = *chosen == 0 ? key : *chosen;
    }
}

static ab_err begin_wait(struct ab_steady *steady, struct ab_error *error)
{
    int64_t until_us = ab_time_monotonic_us() + BEGIN_US;
    for (uint32_t p = 0; p < steady->partitions_count;) {
        struct steady_partition *partition = &steady->partitions[p];
        ab_lock_take(&partition->lock);
        bool has_begun = partition->blocks_count > 0;
        ab_err err = partition->is_failed ? ab_error_set(error, AB_UNAVAILABLE, "%s", partition->error.text) : AB_OK;
        ab_lock_give(&partition->lock);
        AB_TRY(err);
        if (!has_begun && ab_time_monotonic_us() > until_us) {
            return ab_error_set(error, AB_TIMEOUT, "partition %" PRIu32 " acknowledges nothing within 30 s", p);
        }
        p += has_begun;
        if (!has_begun) {
            ab_time_sleep_us(BEGIN_POLL_US);
        }
    }
    return AB_OK;
}

ab_err ab_steady_start(
    const char *directory, uint32_t partitions_count, struct ab_steady **steady, struct ab_error *error)
{
    struct ab_steady *made = ab_new(struct ab_steady);
    made->directory = ab_new_text(directory);
    made->partitions_count = partitions_count;
    made->partitions = ab_new_array(struct steady_partition, partitions_count);
    keys_choose(made);
    for (uint32_t p = 0; p < partitions_count; p++) {
        struct steady_partition *partition = &made->partitions[p];
        partition->steady = made;
        partition->blocks = ab_new_array(struct block_time, AB_STEADY_BLOCKS_MAX);
        ab_lock_init(&partition->lock);
        ab_thread_start(&partition->thread, "steady", partition_run, partition);
    }
    ab_err err = begin_wait(made, error);
    if (err != AB_OK) {
        ab_steady_destroy(made);
        return err;
    }
    ab_thread_start(&made->asker, "asker", asker_run, made);
    *steady = made;
    return AB_OK;
}

static void threads_join(struct ab_steady *steady)
{
    atomic_store(&steady->is_stopping, true);
    for (uint32_t p = 0; p < steady->partitions_count; p++) {
        ab_thread_join(&steady->partitions[p].thread);
    }
    ab_thread_join(&steady->asker);
}

/* What the cluster has counted of a partition's key. */
static ab_err rows_ask(
    struct anabranch_client *client, const struct steady_partition *partition, uint64_t *rows, struct ab_error *error)
{
    char sql[128];
    struct anabranch_answer *answer = NULL;
    (void)snprintf(sql, sizeof sql, "SELECT n FROM by_key WHERE key = %" PRId64, partition->key);
    if (anabranch_query(client, sql, &answer) != ANABRANCH_OK) {
        return ab_error_set(error, AB_UNAVAILABLE, "the last query failed: %s", anabranch_last_error(client));
    }
    *rows = anabranch_answer_rows(answer) == 0 ? 0 : (uint64_t)anabranch_answer_bigint(answer, 0, 0);
    anabranch_answer_free(answer);
    return AB_OK;
}

static ab_err rows_compare(struct ab_steady *steady, struct ab_steady_counts *counts, struct ab_error *error)
{
    struct anabranch_client *client = NULL;
    ab_err err = client_open(steady, "query", LAST_QUERY_MS, &client, error);
    for (uint32_t p = 0; p < steady->partitions_count && err == AB_OK; p++) {
        const struct anabranch_counts *sent = &steady->partitions[p].counts;
        uint64_t rows = 0;
        err = rows_ask(client, &steady->partitions[p], &rows, error);
        uint64_t acknowledged = steady->partitions[p].blocks_count; /* of one row each */
        uint64_t most = acknowledged + sent->unknown;
        counts->rows_acknowledged += acknowledged;
        counts->rows_unknown += sent->unknown;
        counts->rows_lost += rows < acknowledged ? acknowledged - rows : 0;
        counts->rows_duplicated += rows > most ? rows - most : 0;
    }
    anabranch_close(client);
    return err;
}

ab_err ab_steady_stop(struct ab_steady *steady, struct ab_steady_counts *counts, struct ab_error *error)
{
    threads_join(steady);
    memset(counts, 0, sizeof *counts);
    counts->queries = steady->queries;
    counts->query_errors = steady->query_errors;
    counts->failing_us = steady->failing_us;
    counts->between_us = steady->between_us;
    if (steady->query_errors > 0) {
        (void)fprintf(stderr, "the first query that failed: %s\n", steady->query_error.text);
    }
    for (uint32_t p = 0; p < steady->partitions_count; p++) {
        if (steady->partitions[p].is_failed) {
            *error = steady->partitions[p].error;
            return AB_TIMEOUT;
        }
    }
    return rows_compare(steady, counts, error);
}

void ab_steady_destroy(struct ab_steady *steady)
{
    if (steady == NULL) {
        return;
    }
    threads_join(steady);
    for (uint32_t p = 0; p < steady->partitions_count; p++) {
        ab_lock_fini(&steady->partitions[p].lock);
        ab_delete(steady->partitions[p].blocks);
    }
    ab_delete(steady->partitions);
    ab_delete(steady->directory);
    ab_delete(steady);
}
