/* primitive_bits: what bitwise aggregates are read from. Threads: as primitive.h. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_BITS_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_BITS_H

#include "common/aggregate/primitive.h"

/* The word of a BIT_AND, BIT_OR or BIT_XOR state; false when it has no value. */
bool ab_primitive_bits_value(const void *state, int64_t *number);

#endif
