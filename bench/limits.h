/* limits: what this machine can do at most, measured in the same run as the system: the denominators of the ratios. */
#ifndef ANABRANCH_BENCH_LIMITS_H
#define ANABRANCH_BENCH_LIMITS_H

#include "bench/events.h"

#include "common/wire/wire.h"

/* Nanoseconds of CPU an event takes in a bare loop over columns in memory: hash (key, hour), probe, count + sum + min +
 * max in plain doubles. */
double ab_limit_hash_aggregate_ns(const struct ab_events *events, uint32_t partitions_count, double seconds);

/* Bytes per second that memcpy moves from memory to memory on one thread. */
double ab_limit_memcpy_bytes(double seconds);

/* Bytes per second that one thread appends to a file in the directory, so many at a time, each synced before the next
 * (fdatasync). AB_IO. */
AB_MUST_USE ab_err ab_limit_sync_write_bytes(
    const char *directory, size_t chunk_bytes, double seconds, double *bytes_per_second, struct ab_error *error);

/* Bytes per second that one connection with CURVE brings over loopback, in messages of so many bytes, a few on their
 * way at a time, each answered by an empty one. The keys are both sides'. Errors of ab_server_open and ab_channel_open.
 */
AB_MUST_USE ab_err ab_limit_curve_copy_bytes(const struct ab_wire_keys *keys, size_t message_bytes, double seconds,
    double *bytes_per_second, struct ab_error *error);

#endif
