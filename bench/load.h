/* load: as many durable blocks as the leaders of a cluster take: a window of blocks per partition in flight, each sent
 * again under its sequence until it is acknowledged, to whoever leads its partition then.
 *
 * Threads: one. Memory: the blocks of the events, and one encoded block.
 */
#ifndef ANABRANCH_BENCH_LOAD_H
#define ANABRANCH_BENCH_LOAD_H

#include "bench/events.h"
#include "bench/several_nodes.h"

#include "common/base/histogram.h"

#define AB_LOAD_WINDOW_BLOCKS 4u

struct ab_load;

/* What became of it. */
struct ab_load_counts {
    uint64_t rows_acknowledged;
    uint64_t bytes_sent;            /* encoded blocks, repeats too */
    uint64_t retries;               /* blocks sent again */
    struct ab_histogram latency_us; /* from a block's first sending to its acknowledgement */
};

/* Connects to who leads each partition of the cluster, which is borrowed, as the events are. *load is the caller's. */
AB_MUST_USE ab_err ab_load_open(const struct ab_temporary_cluster *cluster, const struct ab_events *events,
    struct ab_load **load, struct ab_error *error);

/* Disconnects; NULL is legal. */
void ab_load_close(struct ab_load *load);

/* Sends for so long, and waits for what is on its way then. AB_TIMEOUT when that takes above 30 s; what a server says
 * of a block that it will never take. */
AB_MUST_USE ab_err ab_load_run(struct ab_load *load, double seconds, struct ab_error *error);

/* The channel to who leads partition 0; borrowed. */
struct ab_channel *ab_load_channel(const struct ab_load *load);

/* What there was so far; borrowed. */
const struct ab_load_counts *ab_load_count(const struct ab_load *load);

#endif
