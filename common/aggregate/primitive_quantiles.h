/* primitive_quantiles: quantiles of numbers within a stated relative error, from one state for all of them.
 *
 * DDSketch (Masson, Rim and Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
 * guarantees") with the index map that its section 5 calls linear interpolation, taken to the bits: the 11 bits of the
 * exponent and the upper AB_QUANTILES_MANTISSA_BITS of the mantissa of a DOUBLE, read as one number, are its bin. No
 * logarithm, one shift, the same on every processor. A bin [a, b) has b / a <= 1 + 2^-6, and answers 2 a b / (a + b),
 * which is at most (b - a) / (b + a) <= 1/129 = 0.78 % from every number in it.
 *
 * Bins have signs; those of negative numbers mirror those of positive ones. Zero and the subnormals (below 2.3e-308)
 * share a bin that answers 0. Infinities have a bin each; NaN has one above all numbers, as in min and max. A DECIMAL
 * is binned by its units, so its error is relative too.
 *
 * There are 2 x 130,945 bins and one of NaN, so a state never needs to collapse any: the count of distinct bins is
 * bounded by the format of DOUBLE, a million numbers over six powers of ten use about 1,300 of them, and no rule of
 * collapsing has to be kept independent of order.
 *
 * Payload: empty = no value; else zigzag varint of the first bin, varint of its count (> 0), then for each further bin,
 * rising: varint of the distance to the bin before (> 0), varint count. Bins: 0 for zero, +-(64 .. 131,007) for
 * numbers,
 * +-131,008 for infinities, 131,009 for NaN.
 *
 * Threads and memory: as primitive.h; 12 bytes a place, at most three quarters of the places in use.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_QUANTILES_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_QUANTILES_H

#include "common/aggregate/primitive.h"

#define AB_QUANTILES_MANTISSA_BITS 6
/* The greatest relative error of an answer that is neither zero nor infinite. */
#define AB_QUANTILES_ERROR (1.0 / 129.0)

/* The value of rank floor(q (n - 1)), counted from 0, of the n values of a state, q = numerator / denominator with
 * numerator <= denominator <= 10^18; within AB_QUANTILES_ERROR. Of DECIMAL its units. False when there is no value. */
bool ab_primitive_quantile(const void *state, uint64_t numerator, uint64_t denominator, double *value);

/* Values in a state. */
uint64_t ab_primitive_quantiles_count(const void *state);

#endif
