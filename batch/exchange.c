#include "batch/exchange.h"

#include "common/base/assert.h"
#include "common/base/time.h"

#include <mpi.h>

#include <limits.h>
#include <unistd.h>

#define POLL_US 500
#define POLLS_PER_WAIT 200
#define NOTE_TAG 1
#define HOST_BYTES 256
#define NOTE_NUMBERS ((int)(sizeof(struct ab_exchange_note) / sizeof(uint64_t)))

static int own_rank;
static int ranks_count = 1;
static void (*wait_fn)(void *context);
static void *wait_context;
static struct ab_exchange_note told; /* in the hands of MPI while told_request is not null */
static MPI_Request told_request = MPI_REQUEST_NULL;
static uint64_t notes_count; /* told by this rank; on rank 0: heard */

void ab_exchange_open(int *argc, char ***argv)
{
    int provided = 0;
    /* MPI's own error handler prints the cause and ends the job: there is nothing better to do. */
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &own_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks_count);
}

uint32_t ab_exchange_rank(void)
{
    return (uint32_t)own_rank;
}

uint32_t ab_exchange_ranks(void)
{
    return (uint32_t)ranks_count;
}

const char *ab_exchange_host(void)
{
    static char host[HOST_BYTES];
    if (gethostname(host, sizeof host - 1) != 0) {
        host[0] = '\0';
    }
    return host;
}

void ab_exchange_on_wait(void (*on_wait)(void *context), void *context)
{
    wait_fn = on_wait;
    wait_context = context;
}

/* Waits without spinning: ranks may share cores with the daemons, and rank 0 has progress to report. */
static void complete(MPI_Request *request)
{
    int is_done = 0;
    int polls = 0;
    MPI_Test(request, &is_done, MPI_STATUS_IGNORE);
    while (!is_done) {
        ab_time_sleep_us(polls < 20 ? 20 : POLL_US);
        if (++polls % POLLS_PER_WAIT == 0 && wait_fn != NULL) {
            wait_fn(wait_context);
        }
        MPI_Test(request, &is_done, MPI_STATUS_IGNORE);
    }
}

void ab_exchange_tell(const struct ab_exchange_note *note)
{
    int is_done = 0;
    MPI_Test(&told_request, &is_done, MPI_STATUS_IGNORE);
    if (is_done && own_rank != 0) {
        told = *note;
        MPI_Isend(&told, NOTE_NUMBERS, MPI_UINT64_T, 0, NOTE_TAG, MPI_COMM_WORLD, &told_request);
        notes_count++;
    }
}

/* Takes the note that is there, or (must_wait) comes. */
static bool note_take(bool must_wait, struct ab_exchange_note *notes)
{
    int is_there = must_wait;
    struct ab_exchange_note note;
    MPI_Status status;
    if (!must_wait) {
        MPI_Iprobe(MPI_ANY_SOURCE, NOTE_TAG, MPI_COMM_WORLD, &is_there, MPI_STATUS_IGNORE);
    }
    if (is_there) {
        MPI_Recv(&note, NOTE_NUMBERS, MPI_UINT64_T, MPI_ANY_SOURCE, NOTE_TAG, MPI_COMM_WORLD, &status);
        notes_count++;
    }
    if (is_there && notes != NULL) {
        notes[status.MPI_SOURCE] = note;
    }
    return is_there;
}

void ab_exchange_hear(struct ab_exchange_note *notes)
{
    while (note_take(false, notes)) {
    }
}

/* What was told is taken off before MPI ends. */
void ab_exchange_close(void)
{
    uint64_t all = own_rank == 0 ? 0 : notes_count;
    ab_exchange_sum(&all, 1);
    while (own_rank == 0 && notes_count < all) {
        (void)note_take(true, NULL); /* it waits, so there is one */
    }
    MPI_Wait(&told_request, MPI_STATUS_IGNORE);
    MPI_Finalize();
}

ab_err ab_exchange_agree(ab_err err)
{
    MPI_Request request;
    int own = err;
    int greatest = 0;
    MPI_Iallreduce(&own, &greatest, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD, &request);
    complete(&request);
    return greatest;
}

void ab_exchange_sum(uint64_t *numbers, size_t count)
{
    MPI_Request request;
    MPI_Iallreduce(MPI_IN_PLACE, numbers, (int)count, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD, &request);
    complete(&request);
}

void ab_exchange_broadcast(struct ab_buffer *bytes)
{
    MPI_Request request;
    uint64_t length = bytes->bytes;
    MPI_Ibcast(&length, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD, &request);
    complete(&request);
    AB_ASSERT(length <= INT_MAX);
    if (own_rank != 0) {
        ab_buffer_clear(bytes);
        AB_ASSERT(ab_buffer_extend(bytes, (size_t)length) != NULL || length == 0);
    }
    MPI_Ibcast(bytes->data, (int)length, MPI_BYTE, 0, MPI_COMM_WORLD, &request);
    complete(&request);
}

void ab_exchange_gather(struct ab_bytes bytes, struct ab_buffer *out)
{
    MPI_Request request;
    int own = (int)bytes.bytes;
    int *lengths = ab_new_array(int, ranks_count);
    int *places = ab_new_array(int, ranks_count);
    AB_ASSERT(bytes.bytes <= INT_MAX);
    MPI_Igather(&own, 1, MPI_INT, lengths, 1, MPI_INT, 0, MPI_COMM_WORLD, &request);
    complete(&request);
    int64_t sum = 0;
    for (int r = 0; own_rank == 0 && r < ranks_count; r++) {
        places[r] = (int)sum;
        sum += lengths[r];
        AB_ASSERT(sum <= INT_MAX);
    }
    if (own_rank == 0) {
        ab_buffer_clear(out);
        AB_ASSERT(ab_buffer_extend(out, (size_t)sum) != NULL || sum == 0);
    }
    MPI_Igatherv(bytes.data, own, MPI_BYTE, own_rank == 0 ? out->data : NULL, lengths, places, MPI_BYTE, 0,
        MPI_COMM_WORLD, &request);
    complete(&request);
    ab_delete(lengths);
    ab_delete(places);
}

/* Lengths and places of one side of an all-to-all; the sum of the lengths. */
static size_t places_fill(const int *lengths, int *places)
{
    int64_t sum = 0;
    for (int r = 0; r < ranks_count; r++) {
        places[r] = (int)sum;
        sum += lengths[r];
        AB_ASSERT(sum <= INT_MAX);
    }
    return (size_t)sum;
}

void ab_exchange_all_to_all(const struct ab_buffer *send, struct ab_buffer *receive)
{
    MPI_Request request;
    int *numbers = ab_new_array(int, (size_t)ranks_count * 4);
    int *sent = numbers;
    int *sent_at = numbers + ranks_count;
    int *received = numbers + 2 * ranks_count;
    int *received_at = numbers + 3 * ranks_count;
    for (int r = 0; r < ranks_count; r++) {
        sent[r] = (int)send[r].bytes;
    }
    MPI_Ialltoall(sent, 1, MPI_INT, received, 1, MPI_INT, MPI_COMM_WORLD, &request);
    complete(&request);
    size_t out_bytes = places_fill(sent, sent_at);
    size_t in_bytes = places_fill(received, received_at);
    uint8_t *out = ab_new_bytes(out_bytes + 1);
    uint8_t *in = ab_new_bytes(in_bytes + 1);
    for (int r = 0; r < ranks_count; r++) {
        if (send[r].bytes > 0) {
            memcpy(out + sent_at[r], send[r].data, send[r].bytes);
        }
    }
    MPI_Ialltoallv(out, sent, sent_at, MPI_BYTE, in, received, received_at, MPI_BYTE, MPI_COMM_WORLD, &request);
    complete(&request);
    for (int r = 0; r < ranks_count; r++) {
        ab_buffer_clear(&receive[r]);
        ab_buffer_put(&receive[r], in + received_at[r], (size_t)received[r]);
    }
    ab_delete(in);
    ab_delete(out);
    ab_delete(numbers);
}
