/* exchange: what ranks say to each other; the only place that knows MPI.
 *
 * Every function but those marked local is collective: all ranks call it in the same order. A rank that dies ends them
 * all.
 *
 * Threads: the main thread. Blocks: until the slowest rank has come; meanwhile `ab_exchange_on_wait` is called now and
 * then.
 */
#ifndef ANABRANCH_BATCH_EXCHANGE_H
#define ANABRANCH_BATCH_EXCHANGE_H

#include "common/base/buffer.h"

/* Starts MPI with the program's arguments (mpirun or alone); and ends it, when all ranks do. */
void ab_exchange_open(int *argc, char ***argv);
void ab_exchange_close(void);

/* Local. This rank, and how many there are. */
uint32_t ab_exchange_rank(void);
uint32_t ab_exchange_ranks(void);

/* Local. The name of the host that this rank runs on; static. */
const char *ab_exchange_host(void);

/* Local. Sets what is called while waiting for other ranks, about every 100 ms. */
void ab_exchange_on_wait(void (*on_wait)(void *context), void *context);

/* What a rank tells of its work; the meaning is the caller's. */
struct ab_exchange_note {
    uint64_t stage, rows, bytes, done;
};

/* Local. Tells rank 0; dropped while an earlier note is on its way, for the next one says more. */
void ab_exchange_tell(const struct ab_exchange_note *note);

/* Local, rank 0. Puts the newest note of each rank that told something into its place of notes[ranks]. */
void ab_exchange_hear(struct ab_exchange_note *notes);

/* The greatest err of all ranks (AB_OK only when all are). */
AB_MUST_USE ab_err ab_exchange_agree(ab_err err);

/* Sums of all ranks, in place. */
void ab_exchange_sum(uint64_t *numbers, size_t count);

/* Rank 0's bytes to all: `bytes` is read there and filled elsewhere. */
void ab_exchange_broadcast(struct ab_buffer *bytes);

/* All ranks' bytes, in order of rank, to rank 0's `out` (cleared first; untouched elsewhere). At most 2 GiB in all. */
void ab_exchange_gather(struct ab_bytes bytes, struct ab_buffer *out);

/* Sends send[r] to rank r, and receives into receive[r] (cleared first) what rank r sent here. At most 1 GiB each way.
 */
void ab_exchange_all_to_all(const struct ab_buffer *send, struct ab_buffer *receive);

#endif
