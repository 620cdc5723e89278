/* primitive_histogram: what HISTOGRAM is read from. Threads: as primitive.h. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_HISTOGRAM_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_HISTOGRAM_H

#include "common/aggregate/primitive.h"

/* Counts of the bins, borrowed from the state: one more than there are bounds; 0 bins when there is no value. */
uint32_t ab_primitive_histogram_counts(const void *state, const uint64_t **counts);

#endif
