/* several_nodes: what a measurement asks of the nodes of a temporary cluster, and does to them.
 *
 * Threads: any; nothing is kept.
 */
#ifndef ANABRANCH_BENCH_SEVERAL_NODES_H
#define ANABRANCH_BENCH_SEVERAL_NODES_H

#include "bench/temporary_cluster.h"

#include "cluster/nodes.h"
#include "common/coordination/operations.h"

#define AB_SEVERAL_NODES_MAX AB_NODES_MAX

/* The node that leads each partition, by what the cluster says of itself; 0 = nobody does. All 1 with only one node.
 * AB_UNAVAILABLE. */
AB_MUST_USE ab_err ab_several_nodes_leaders(
    const struct ab_temporary_cluster *cluster, uint32_t *leaders, uint32_t partitions_count, struct ab_error *error);

/* Waits until every partition has a live leader and all its replicas in sync; *questions (may be NULL) rises by the
 * times that a controller was asked. AB_TIMEOUT after a minute and a half. */
AB_MUST_USE ab_err ab_several_nodes_settle(
    const struct ab_temporary_cluster *cluster, uint64_t *questions, struct ab_error *error);

enum ab_several_nodes_victim { AB_VICTIM_SPEED, AB_VICTIM_NODE };

/* Kills (SIGKILL) the speed of a node, or all of its processes: only those that the node has recorded as its own.
 * AB_NOT_FOUND when there is none. */
AB_MUST_USE ab_err ab_several_nodes_kill(const struct ab_temporary_cluster *cluster, uint32_t node,
    enum ab_several_nodes_victim victim, struct ab_error *error);

/* What all processes of the cluster have asked of the coordination service since each was started. */
struct ab_several_nodes_operations {
    struct ab_several_nodes_process {
        int64_t pid; /* 0 = it did not answer */
        uint64_t counts[AB_COORDINATION_OPERATIONS_COUNT];
    } processes[AB_SEVERAL_NODES_MAX][3]; /* controller, speed, serving */
};

/* Asks all processes; asking a controller costs operations of its own, which its answer does not count yet. */
void ab_several_nodes_operations(
    const struct ab_temporary_cluster *cluster, struct ab_several_nodes_operations *operations);

/* What was asked between the two, by kind; all of a process that was started in between counts. */
void ab_several_nodes_operations_between(const struct ab_several_nodes_operations *before,
    const struct ab_several_nodes_operations *after, uint64_t counts[AB_COORDINATION_OPERATIONS_COUNT]);

#endif
