/* facts: what the coordination service says of processes that live and of partitions, read into the values that the
 * pure cores (cluster/election.h) take.
 *
 * What cannot be read is left out and named in a warning: one partition's broken state must not keep the others from
 * being led. A live node that cannot be read counts as not there.
 *
 * Threads: owner. Memory: lists as long as there are nodes and partitions.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_FACTS_H
#define ANABRANCH_CLUSTER_CONTROLLER_FACTS_H

#include "cluster/live_set.h"
#include "cluster/partition_plan.h"
#include "common/coordination/coordination.h"

/* Zeroed memory is empty. */
struct ab_facts {
    struct ab_live_node *live; /* owned */
    uint64_t *live_versions;   /* owned; of their nodes in the coordination service */
    uint32_t live_count;
    struct ab_replica_set *states;        /* owned; those that are there, by rising partition */
    struct ab_partition_fact *partitions; /* owned; one for each of `states`, which it points to */
    uint32_t partitions_count;
    uint32_t *missing; /* owned; partitions without a state */
    uint32_t missing_count;
};

/* Frees all; idempotent. */
void ab_facts_fini(struct ab_facts *facts);

/* Read /live, and the states of partitions 0..partitions_count-1, in place of what was there. On errors of the
 * coordination service it is empty. */
AB_MUST_USE ab_err ab_facts_read_live(
    struct ab_facts *facts, struct ab_coordination *coordination, struct ab_error *error);
AB_MUST_USE ab_err ab_facts_read_partitions(
    struct ab_facts *facts, struct ab_coordination *coordination, uint32_t partitions_count, struct ab_error *error);

/* Reads one state and its version. AB_NOT_FOUND, AB_CORRUPT, AB_UNSUPPORTED. */
AB_MUST_USE ab_err ab_facts_state_read(struct ab_coordination *coordination, uint32_t partition,
    struct ab_replica_set *state, uint64_t *version, struct ab_error *error);

/* The place of a process among the live ones; UINT32_MAX. */
uint32_t ab_facts_live_find(const struct ab_facts *facts, uint32_t node, struct ab_hash128 incarnation);

/* An endpoint's text; "" when the node has none of that name. */
const char *ab_registration_endpoint_find(const struct ab_registration_endpoints *endpoints, const char *name);

#endif
