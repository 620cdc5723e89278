/* primitive_by: what MIN_BY and MAX_BY are read from. Threads: as primitive.h. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_BY_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_BY_H

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive.h"

/* The value that stood beside the least or greatest key, text borrowed from the state; false when there is none. */
bool ab_primitive_by_cell(const void *state, union ab_cell *cell);

#endif
