/* primitive_distinct: what a count of distinct values is read from, and the hashes that enter it. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_DISTINCT_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_DISTINCT_H

#include "common/aggregate/primitive.h"

/* Distinct values: exact up to AB_DISTINCT_EXACT_MAX, then estimated (standard error 0.81 %), rounded to a whole
 * number. */
uint64_t ab_primitive_distinct_value(const void *state);

/* How far the value may be from the truth, relative to it, with probability 95 %: two standard errors; 0 while exact.
 */
double ab_primitive_distinct_error(const void *state);

/* Fills the hashes of a column: by row, or by code for TEXT (then dictionary.count places). NULL rows get any number.
 */
void ab_primitive_distinct_hashes(const struct ab_column *column, uint64_t *hashes);

/* Places that ab_primitive_distinct_hashes fills. */
size_t ab_primitive_distinct_hashes_count(const struct ab_column *column);

#endif
