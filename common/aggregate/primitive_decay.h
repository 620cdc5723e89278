/* primitive_decay: sums and counts in which what is older weighs less: half as much for every half-life.
 *
 * A row at time t weighs 2^-((R - t) / H) at the reference R that a query asks for, H being the half-life. The state
 * must not know R, nor depend on the order of rows (I5); so time is cut at the multiples of H. A row with (k - 1) H < t
 * <= k H belongs to bucket k and adds x 2^-((k H - t) / H), rounded once to a DOUBLE: a function of the row and H
 * alone. Each bucket sums these without rounding (exact.h). From bucket to bucket weights differ by whole powers of
 * two, so `finish` adds buckets exactly too, rounds once, and multiplies by one power that carries the sum to R. Panes
 * need not be combined in any order.
 *
 * Powers 2^(part / whole) are this library's own: a table of 32 and a polynomial, + x / alone, the same on every
 * processor; within 1.25 units in the last place.
 *
 * Only the AB_DECAY_BUCKETS_MAX latest buckets are kept: what is older has less than 2^-255 of its weight. The rule
 * depends on the latest time alone, so any part that drops a bucket knows that the whole does.
 *
 * Payload: empty = no value; else varint H in microseconds (the head), zigzag varint latest time, then the buckets, the
 * latest first: varint distance from the bucket before (0 for the first, which is that of the latest time; else > 0),
 * varint bytes, a payload of SUM_DOUBLE.
 *
 * Threads and memory: as primitive.h; 40 bytes a bucket and what exact sums need.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_DECAY_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_DECAY_H

#include "common/aggregate/primitive.h"
#include "common/base/time.h"

#define AB_DECAY_BUCKETS_MAX 256
/* A thousand years: products with it stay far inside 128 bits. */
#define AB_DECAY_HALF_LIFE_MAX_US (INT64_C(1000) * 366 * AB_US_PER_DAY)

/* 2^(part / whole), 0 <= part < whole <= 2^58: in [1, 2). */
double ab_decay_power(uint64_t part, uint64_t whole);

/* The latest time among the rows of a state; false when there are none. */
bool ab_primitive_decay_latest(const void *state, ab_time_us *latest_us);

/* The sum (of DECIMAL: of units) or count at a reference time; false when there are no rows. */
bool ab_primitive_decay_value(
    const struct ab_primitive_context *context, const void *state, ab_time_us reference_us, double *value);

#endif
