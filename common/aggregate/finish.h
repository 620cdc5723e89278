/* finish: from states to the number a person asked for: the one place where exact sums are rounded; for this folder
 * alone. */
#ifndef ANABRANCH_COMMON_AGGREGATE_FINISH_H
#define ANABRANCH_COMMON_AGGREGATE_FINISH_H

#include "common/aggregate/group_store.h"
#include "common/catalog/query.h"

/* A group whose measures are finished. */
struct ab_finish_entry {
    const struct ab_aggregation *aggregation; /* borrowed */
    const struct ab_group_store *store;       /* borrowed */
    const uint32_t *places;                   /* borrowed; where the store keeps each primitive of the aggregation */
    size_t entry;
    int64_t window_us;       /* length of the window it stands for; 0 = all of time */
    struct ab_arena *arena;  /* borrowed; for texts that finishing makes */
    ab_time_us reference_us; /* what decayed sums are decayed to */
};

/* Finishes a measure of an entry. Text is borrowed from the state or the arena. Sums, averages, variances, covariances
 * and ratios are rounded once from exact numbers, standard deviations and correlations once more by the square root.
 * NULL where SQL says so (no values; one value for the _samp forms) and where a denominator is zero. *fits is false
 * when the result does not fit its type; the value is then NULL. AB_FULL when the arena refuses. */
AB_MUST_USE ab_err ab_finish_measure(
    const struct ab_finish_entry *at, uint32_t measure, struct ab_value *value, bool *fits);

/* Finishes a reading of an entry, as a measure. */
AB_MUST_USE ab_err ab_finish_reading(
    const struct ab_finish_entry *at, const struct ab_query_reading *reading, struct ab_value *value, bool *fits);

/* The latest event time among the rows of all decayed sums of all groups; INT64_MIN when there are none. */
ab_time_us ab_finish_latest(const struct ab_group_store *store);

/* Makes a column of values (all of `type`), taking values[order[i]] when order is given; everything is copied into the
 * arena. AB_FULL. */
AB_MUST_USE ab_err ab_finish_column(struct ab_arena *arena, struct ab_type type, const struct ab_value *values,
    const uint32_t *order, uint32_t rows_count, struct ab_column *column);

#endif
