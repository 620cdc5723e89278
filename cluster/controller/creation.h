/* creation: the first states of a cluster's partitions.
 *
 *   /cluster  persistent  {"format":1,"cluster":"<32 hex>","partitions":8,"replicas":3,"min_isr":2,"nodes":3}
 *
 * It is written by whoever makes the cluster, before its nodes start. The states are made once all of its nodes are
 * registered and live: then every log is empty, so every replica is in sync. A state that is there is never made again:
 * a part of them that an earlier controller made stays, and the rest follows.
 *
 * Who holds what is cluster/placement.h's, from the nodes' weights and racks; the first replica of each leads.
 *
 * Threads: any; values. Memory: none.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_CREATION_H
#define ANABRANCH_CLUSTER_CONTROLLER_CREATION_H

#include "cluster/controller/facts.h"
#include "cluster/placement.h"
#include "common/wire/node.h"

#define AB_CLUSTER_PATH "/cluster"

/* What /cluster says. */
struct ab_cluster_settings {
    uint8_t cluster_id[16];
    uint32_t partitions_count;
    uint32_t replicas_count;
    uint32_t min_isr;
    uint32_t nodes_count;
};

/* Reads it. AB_NOT_FOUND, AB_CORRUPT, AB_UNSUPPORTED for a newer format; AB_MISMATCH when it is another cluster than
 * `identity` says, or has another number of partitions. */
AB_MUST_USE ab_err ab_cluster_settings_read(struct ab_coordination *coordination,
    const struct ab_cluster_identity *identity, struct ab_cluster_settings *settings, struct ab_error *error);

/* The first states of all partitions, led and without tokens, on these nodes. AB_USAGE of ab_placement_create. Pure. */
AB_MUST_USE ab_err ab_creation_states(const struct ab_cluster_settings *settings, const struct ab_placement_node *nodes,
    uint32_t nodes_count, struct ab_replica_set *states, struct ab_error *error);

/* Makes the states that `facts` misses. AB_UNAVAILABLE, with the reason, while nodes are missing; AB_STALE when
 * another controller acts by now. AB_CONFLICT, AB_EXISTS, AB_NOT_FOUND: facts have changed; AB_USAGE: see above. */
AB_MUST_USE ab_err ab_creation_do(const struct ab_facts *facts, const struct ab_cluster_settings *settings,
    struct ab_coordination *coordination, uint64_t epoch_version, struct ab_error *error);

#endif
