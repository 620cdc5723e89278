/* primitive_walk: the primitives that most views have over one DOUBLE argument (counts, sum, min, max), updated in one
 * walk over the rows, so that a group's line is fetched once. What it does not know is left to each primitive's own
 * update; the results are the same. Threads: as primitive.h. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_WALK_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_WALK_H

#include "common/aggregate/primitive.h"

/* Primitives to update together, at most one of a kind but for two counts. Zeroed = none. */
struct ab_primitive_walk {
    struct ab_primitive_context *sum; /* borrowed */
    bool has_sum, has_min, has_max;
    uint32_t counts;
    uint32_t count_at[2]; /* places of their states in an entry, in bytes */
    uint32_t sum_at, min_at, max_at;
};

/* Takes a primitive whose states stand `at` bytes into an entry; false when its own update has to run. */
bool ab_primitive_walk_take(struct ab_primitive_walk *walk, struct ab_primitive_context *context, uint32_t at);

/* Updates all that was taken; batch->states are whole entries, the column is DOUBLE unless only counts
 * were taken. */
void ab_primitive_walk_run(const struct ab_primitive_walk *walk, const struct ab_primitive_batch *batch);

#endif
