/* limits: what this machine can do at most, measured in the same run as the system: the denominators of the ratios. */
#ifndef ANABRANCH_BENCH_LIMITS_H
#define ANABRANCH_BENCH_LIMITS_H

#include "bench/events.h"

/* Nanoseconds of CPU an event takes in a bare loop over columns in memory: hash (key, hour), probe, count + sum + min +
 * max in plain doubles. */
double ab_limit_hash_aggregate_ns(const struct ab_events *events, uint32_t partitions_count, double seconds);

/* Bytes per second that memcpy moves from memory to memory on one thread. */
double ab_limit_memcpy_bytes(double seconds);

#endif
