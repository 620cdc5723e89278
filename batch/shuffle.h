/* shuffle: groups of a view that is not aligned travel to the rank of their shard, in bounded rounds.
 *
 * Each rank merges its own runs first, so that what travels is one state a group and rank. A round fills one buffer for
 * each rank; when one is full, all ranks exchange. What arrives from a rank is in key order, and becomes one run for
 * each sender.
 *
 * Threads: owner; collective. Memory: 2 buffers for each rank, each at most the round's size.
 */
#ifndef ANABRANCH_BATCH_SHUFFLE_H
#define ANABRANCH_BATCH_SHUFFLE_H

#include "batch/plan.h"
#include "batch/sort.h"

#define AB_SHUFFLE_ROUND_BYTES_MAX (16u << 20)

/* Bytes of one buffer, when ranks share a budget of memory_bytes a rank (0 = unlimited): from 64 KiB to 16 MiB. */
size_t ab_shuffle_round_bytes(size_t memory_bytes, uint32_t ranks_count);

/* Appends a group to the buffer of its rank. Format: varint key bytes, key, varint row bytes, row. */
void ab_shuffle_put(struct ab_buffer *buffer, struct ab_bytes key, struct ab_bytes row);

/* Takes one group off; AB_END when nothing is left; AB_CORRUPT. */
AB_MUST_USE ab_err ab_shuffle_take(struct ab_reader *reader, struct ab_bytes *key, struct ab_bytes *row);

struct ab_shuffle {
    const struct ab_plan *plan;
    const uint32_t *owners; /* rank per shard */
    size_t view;
    const char *work; /* folder for what arrives */
    size_t round_bytes;
};

/* Path of the run with what rank `from` sent to this rank; freed with ab_delete. */
char *ab_shuffle_run_path(const struct ab_shuffle *shuffle, uint32_t from);

/* Sends the groups of `own` (all of this rank) away and writes what arrives, one run a rank. All ranks return the same:
 * AB_OK, or the greatest error; the text is that of this rank, if it had one. */
AB_MUST_USE ab_err ab_shuffle_run(const struct ab_shuffle *shuffle, struct ab_sort *own, struct ab_error *error);

#endif
