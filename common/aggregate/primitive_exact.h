/* primitive_exact: what a finished exact sum of doubles is taken from: the number and the special values seen beside
 * it. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_EXACT_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_EXACT_H

#include "common/aggregate/exact.h"
#include "common/aggregate/primitive.h"

enum ab_exact_flags {
    AB_EXACT_NAN = 1,
    AB_EXACT_PLUS_INFINITY = 2,
    AB_EXACT_MINUS_INFINITY = 4,
};

/* The finite part of a SUM_DOUBLE or SQUARES_DOUBLE state; returns the flags. */
uint32_t ab_primitive_exact_value(
    const struct ab_primitive_context *context, const void *state, struct ab_exact *finite);

/* The finite part of a validated payload of these kinds; returns the flags. */
uint32_t ab_primitive_exact_decode(struct ab_bytes payload, struct ab_exact *finite);

/* What flags say of the whole: true and *number when NaN or infinite. */
bool ab_primitive_exact_special(uint32_t flags, double *number);

#endif
