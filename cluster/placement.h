/* placement: which nodes should hold which partitions. A pure core: it proposes; proposals are stored (H15), and
 * reassign.h walks from what is to what was proposed, step by step.
 *
 * A new cluster is laid out by the ring (ring.h): virtual nodes by weight, load bounded, distinct racks. After that the
 * stored assignment is the starting point, not the ring's opinion of it: a ring asked again would undo every
 * replacement that was made meanwhile.
 *  - add: the new node takes its weighted share, no more: about 1/N of the replicas; first from those who have most for
 *    their weight, never from one that has less than itself, and never so that a partition stands in fewer racks than
 *    before (then it may get less than its share).
 *  - replace: the new node takes every place of the lost one; where it is a replica already, somebody else does.
 *  - remove: every place goes to the node with the least load for its weight that adds a rack, else to the least
 * loaded. First places (preferred leaders) are dealt by weight among a partition's replicas.
 *
 * Racks: while there are enough, the replicas of a partition stand in distinct racks, even if a node thereby gets more
 * than the bounded load. With fewer racks than replicas every rack is used, and the rest stand anywhere: such
 * partitions are counted in shared_racks_count. A node without a rack is a rack.
 *
 * Equal inputs give equal results on every machine, in whatever order the nodes are given.
 */
#ifndef ANABRANCH_CLUSTER_PLACEMENT_H
#define ANABRANCH_CLUSTER_PLACEMENT_H

#include "common/coordination/replica_set.h"

#define AB_PLACEMENT_NODES_MAX 4096u
#define AB_PLACEMENT_LOAD_BOUND 1.25 /* of a node's weighted share, for a new cluster */

struct ab_placement_node {
    uint32_t node;
    uint32_t weight;                 /* 1..AB_NODE_WEIGHT_MAX */
    const char *rack;                /* borrowed; "" = its own */
    struct ab_replica_member member; /* for create: the process and disk that begin with an empty log */
};

struct ab_placement_request {
    const struct ab_placement_node *nodes; /* distinct, all live */
    uint32_t nodes_count;
    uint32_t partitions_count;
    uint32_t replication_factor;
    uint32_t min_isr;
};

/* Fills the first states of partitions 0..partitions_count-1: all replicas are in sync, for all logs are empty; nobody
 * leads, in epoch 0; the token is zero, for the caller to fill. *shared_racks_count (may be NULL). AB_USAGE with the
 * reason: fewer nodes than replicas, numbers out of range, a node twice. */
AB_MUST_USE ab_err ab_placement_create(const struct ab_placement_request *request, struct ab_replica_set *states,
    uint32_t *shared_racks_count, struct ab_error *error);

/* A change of membership: what is, and what should be. After an error what is filled means nothing. */
struct ab_placement_change {
    const struct ab_placement_node *nodes; /* those that will hold partitions afterwards */
    uint32_t nodes_count;
    const struct ab_replica_target *current; /* by rising partition: the target where one is stored, else what is */
    uint32_t partitions_count;
    struct ab_replica_target *targets; /* filled: one for each of `current`, equal where nothing changes */
    uint32_t moved_count;              /* filled: replicas that go to another node */
    uint32_t shared_racks_count;       /* filled: partitions with two replicas in one rack */
};

/* `node` is one of `nodes` and new, or has less than its share. AB_USAGE. */
AB_MUST_USE ab_err ab_placement_add(struct ab_placement_change *change, uint32_t node, struct ab_error *error);

/* `lost` is not one of `nodes`, `node` is. AB_USAGE; AB_UNAVAILABLE when a partition finds no node. */
AB_MUST_USE ab_err ab_placement_replace(
    struct ab_placement_change *change, uint32_t lost, uint32_t node, struct ab_error *error);

/* `node` is not one of `nodes`. AB_USAGE; AB_UNAVAILABLE when fewer nodes than replicas remain. Whether the node may go
 * (H16) is asked of ab_reassign_may_remove. */
AB_MUST_USE ab_err ab_placement_remove(struct ab_placement_change *change, uint32_t node, struct ab_error *error);

#endif
