/* flusher: the threads that store what partitions froze.
 *
 * A partition is worked on by one thread at a time; whoever wants a flush while one runs gets another round after it.
 *
 * Threads: want and drain may be called from any thread; one lock inside, nothing is called with it held.
 */
#ifndef ANABRANCH_SPEED_FLUSHER_H
#define ANABRANCH_SPEED_FLUSHER_H

#include "speed/partition.h"

struct ab_flusher;

/* Starts threads_count threads for partitions numbered below partitions_count. */
struct ab_flusher *ab_flusher_start(uint32_t threads_count, uint32_t partitions_count);

/* Asks for a round on a partition; never blocks. Fits ab_partition_wake_fn with the flusher as context. */
void ab_flusher_want(struct ab_partition *partition, void *flusher);

/* True when nothing is wanted of, or running on, the partition of this number. */
bool ab_flusher_is_idle(struct ab_flusher *flusher, uint32_t partition);

/* Waits until nothing is wanted or running, at most until monotonic until_us; AB_TIMEOUT. */
AB_MUST_USE ab_err ab_flusher_drain(struct ab_flusher *flusher, int64_t until_us);

/* Ends the threads after their current step; NULL is legal. */
void ab_flusher_stop(struct ab_flusher *flusher);

#endif
