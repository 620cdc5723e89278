/* failover: how long partitions take no block after who led them was killed, under a steady light load.
 *
 * In turn the speed of a node is killed, which its controller starts again, and all processes of a node, which this
 * program starts again; then all replicas get in sync before the next. Most of the time is the session's timeout: a
 * killed process says nothing to the coordination service, and is missed only after it.
 */
#ifndef ANABRANCH_BENCH_FAILOVER_H
#define ANABRANCH_BENCH_FAILOVER_H

#include "bench/several_nodes.h"
#include "bench/steady.h"

#include "common/base/json.h"

struct ab_failover_result {
    /* from the kill to the acknowledgement of the first block that began after it, for each partition it led */
    struct ab_histogram speed_us;
    struct ab_histogram node_us;
    uint64_t kills;
    uint64_t operations[AB_COORDINATION_OPERATIONS_COUNT]; /* of coordination, from each kill until all is in sync */
    struct ab_steady_counts steady;
};

struct ab_failover_options {
    uint64_t kills;
    /* what asking a controller for its status costs by itself, taken off */
    const uint64_t *question_operations; /* borrowed; by kind */
};

/* Does it. AB_TIMEOUT when a partition takes no block within a minute, or replicas do not get in sync; errors of
 * ab_steady_start and ab_steady_stop. */
AB_MUST_USE ab_err ab_failover_run(const struct ab_temporary_cluster *cluster,
    const struct ab_failover_options *options, struct ab_failover_result *result, struct ab_error *error);

/* Adds it to a report, as "failover", "rows", "queries" and "coordination_a_failover". */
void ab_failover_report(const struct ab_failover_result *result, struct ab_json *report);

#endif
