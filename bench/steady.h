/* steady: a light load that goes on whatever happens to a cluster: a block of one row to each partition again and
 * again, each after the one before was acknowledged, and one query after another; through the public client, as a
 * program would.
 *
 * It remembers when every block began and was acknowledged, so that it can be said how long a partition took none; and
 * what was acknowledged, so that it can be compared with what the cluster answers in the end.
 *
 * Threads: one a partition and one that asks, each with a client of its own; the functions here are the owner's.
 * Memory: AB_STEADY_BLOCKS_MAX times a partition; a load that has sent so many ends.
 */
#ifndef ANABRANCH_BENCH_STEADY_H
#define ANABRANCH_BENCH_STEADY_H

#include "common/base/error.h"
#include "common/base/histogram.h"

#include <stdbool.h>

#define AB_STEADY_BLOCKS_MAX 65536u
#define AB_STEADY_QUERY_MS 15000

struct ab_steady;

/* Starts a load on the cluster in the directory, with the bench catalog of two views; returns when each partition has
 * acknowledged a block. AB_TIMEOUT; what a client says. */
AB_MUST_USE ab_err ab_steady_start(
    const char *directory, uint32_t partitions_count, struct ab_steady **steady, struct ab_error *error);

/* When the first block of a partition was acknowledged of those that began at since_us or later (monotonic); 0 = none
 * yet. */
int64_t ab_steady_acknowledged_us(struct ab_steady *steady, uint32_t partition, int64_t since_us);

/* Queries from now on count as asked while something fails, or between failures; one that is under way when it changes
 * counts as while something fails. */
void ab_steady_failing(struct ab_steady *steady, bool is_failing);

struct ab_steady_counts {
    uint64_t rows_acknowledged;
    uint64_t rows_unknown; /* neither acknowledged nor refused: they may be there */
    uint64_t rows_lost;    /* acknowledged, and not in the answer */
    uint64_t rows_duplicated;
    uint64_t queries;
    uint64_t query_errors;
    struct ab_histogram failing_us; /* latency of queries while something fails */
    struct ab_histogram between_us;
};

/* Ends the load, and compares what the cluster answers with what it acknowledged. AB_TIMEOUT when a producer gave up;
 * what a client says of the last query. */
AB_MUST_USE ab_err ab_steady_stop(struct ab_steady *steady, struct ab_steady_counts *counts, struct ab_error *error);

/* Ends it if that was not done, and frees; NULL is legal. */
void ab_steady_destroy(struct ab_steady *steady);

#endif
