/* primitive_list: what FIRST_K, LAST_K, SMALLEST and LARGEST are read from. Threads: as primitive.h. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_LIST_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_LIST_H

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive.h"

/* Values held by a state, best first: the earliest of FIRST_K, the latest of LAST_K. */
uint32_t ab_primitive_list_count(const void *state);

/* The i-th value; text borrowed from the state. */
union ab_cell ab_primitive_list_at(const void *state, uint32_t i);

#endif
