/* snapshot: one view's states in one partition at one moment, for a query: frozen tables and iterators, taken under the
 * lock, read without it.
 *
 * Each row is seen exactly once whatever a flush does meanwhile: an iterator shows with its first key, the offset
 * entry, up to where the stored family goes; frozen tables up to there are inside it and are left out (span.h).
 *
 * Threads: taken and read by one query thread.
 */
#ifndef ANABRANCH_SPEED_SNAPSHOT_H
#define ANABRANCH_SPEED_SNAPSHOT_H

#include "speed/partition.h"
#include "speed/plans.h"
#include "common/aggregate/rollup.h"

/* Up to where an answer goes in a partition. */
struct ab_snapshot_position {
    uint64_t applied_offset;
    ab_time_us applied_time_us;
};

/* Adds a plan's groups of all spans after `cut` to the rollup. AB_STALE: span cut + 1 is gone here, or the view began
 * later than it. AB_UNAVAILABLE: this partition does not have cut `cut` yet. AB_FULL: the result is too large. */
AB_MUST_USE ab_err ab_snapshot_add(struct ab_partition *partition, const struct ab_plan *plan, uint64_t cut,
    const struct ab_group_scan *scan, struct ab_rollup *rollup, struct ab_snapshot_position *position,
    struct ab_error *error);

#endif
