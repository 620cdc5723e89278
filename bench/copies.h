/* copies: what this machine can do at most with the bytes of replicated blocks: each is copied with CURVE over loopback
 * and written with a sync once a replica, by all replicas at once, and nothing else happens to it.
 *
 * A replica is a connection with an I/O thread at either end, as between processes, and a file; messages are as large
 * as blocks, a few on their way, and so many as a producer has of a partition are one sync. So whatever these bytes
 * need, and only that, is taken from the processors and the disk that all replicas share.
 *
 * Threads: the caller's; one for each replica's sender, and those of the wire.
 */
#ifndef ANABRANCH_BENCH_COPIES_H
#define ANABRANCH_BENCH_COPIES_H

#include "common/wire/wire.h"

#define AB_COPIES_MAX 5u

struct ab_copies_options {
    const struct ab_wire_keys *keys; /* both sides' */
    const char *directory;           /* files are made there, and removed */
    uint32_t replicas;               /* 1 .. AB_COPIES_MAX */
    size_t message_bytes;
    uint32_t sync_messages; /* written and synced together */
    double seconds;
};

struct ab_copies_result {
    double bytes_per_second; /* of all replicas together */
    double cpu_ns_a_byte;    /* processor time of both ends, each copy counted */
};

/* Runs so long. AB_IO, errors of ab_server_open and ab_channel_open. */
AB_MUST_USE ab_err ab_copies_run(
    const struct ab_copies_options *options, struct ab_copies_result *result, struct ab_error *error);

#endif
