/* finish: from states to the number a person asked for: the one place where exact sums are rounded; for this folder
 * alone. */
#ifndef ANABRANCH_COMMON_AGGREGATE_FINISH_H
#define ANABRANCH_COMMON_AGGREGATE_FINISH_H

#include "common/aggregate/group_store.h"

/* Finishes measure `measure` of an entry. places[p] is where the store keeps primitive p of the aggregation. Text is
 * borrowed from the state. avg, variance and sum are rounded once from exact numbers, standard deviations once more by
 * the square root. NULL where SQL says so (no values; one value for the _samp forms). Returns false when the result
 * does not fit its type; the value is then NULL. */
bool ab_finish_measure(const struct ab_aggregation *aggregation, uint32_t measure, const struct ab_group_store *store,
    const uint32_t *places, size_t entry, struct ab_value *value);

/* Makes a column of values (all of `type`), taking values[order[i]] when order is given; everything is copied into the
 * arena. AB_FULL. */
AB_MUST_USE ab_err ab_finish_column(struct ab_arena *arena, struct ab_type type, const struct ab_value *values,
    const uint32_t *order, uint32_t rows_count, struct ab_column *column);

#endif
