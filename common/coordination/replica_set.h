/* replica_set: who holds a partition, who leads it and whose log is complete, as it stands in the coordination
 * service. A value, what makes it valid, and its JSON; who changes it is not known here.
 *
 *   /partitions/<p>/state  {"format":1,"partition":3,"replicas":[1,2,4],"learners":[5],"assignment_version":"2",
 *                           "leader":1,"leader_incarnation":"<32 hex>","leader_epoch":"7",
 *                           "isr":[{"node":1,"incarnation":"<32 hex>","disk":"<32 hex>"},...],"elr":[...],
 *                           "min_isr":2,"history_id":"1","token":"<32 hex>"}
 *
 * "leader" and "leader_incarnation" are null while nobody leads.
 *
 * The in-sync set (ISR) holds every committed record. The eligible leader replicas (ELR, KIP-966) held every committed
 * record when they left the ISR, and nothing was committed since, because nothing is while |ISR| < min_isr (R3). A
 * member is (node, incarnation, disk): an emptied or replaced disk, or a process that restarted, is not the member that
 * the state speaks of (H6). The ISR is never empty: the last one who held everything stays named, dead or not.
 *
 * Valid (checked by decode and before encode):
 *  1. replicas are 1..AB_REPLICAS_MAX distinct nodes; learners are distinct and no replicas;
 *  2. ISR and ELR are disjoint, distinct, replicas, and have incarnation and disk; the ISR is not empty;
 *  3. the ELR is empty unless |ISR| < min_isr; 1 <= min_isr <= |replicas|;
 *  4. the leader is in the ISR under leader_incarnation, or there is none; epoch 0 has none;
 *  5. assignment_version and history_id are at least 1; the token is not zero.
 *
 * Threads: values. Memory: none.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_REPLICA_SET_H
#define ANABRANCH_COMMON_COORDINATION_REPLICA_SET_H

#include "common/coordination/registration.h"

/* A partition that changes hands has one replica more than its replication factor for a while. */
#define AB_REPLICATION_FACTOR_MAX 7u
#define AB_REPLICAS_MAX (AB_REPLICATION_FACTOR_MAX + 1u)
#define AB_REPLICA_SET_BYTES_MAX 4096u /* of the JSON text; the longest is below 2500 */

struct ab_replica_member {
    uint32_t node;
    struct ab_hash128 incarnation;
    struct ab_hash128 disk_id;
};

struct ab_replica_members {
    struct ab_replica_member items[AB_REPLICAS_MAX];
    uint32_t count;
};

struct ab_replica_nodes {
    uint32_t items[AB_REPLICAS_MAX];
    uint32_t count;
};

struct ab_replica_set {
    uint32_t partition;
    struct ab_replica_nodes replicas; /* the stored assignment; the first one is preferred as leader */
    struct ab_replica_nodes learners; /* being added: neither elected nor counted */
    uint64_t assignment_version;      /* rises with every change of replicas or learners */
    uint32_t leader;                  /* AB_NODE_NONE */
    struct ab_hash128 leader_incarnation;
    uint64_t leader_epoch; /* rises by one with every change of leader, also to none */
    struct ab_replica_members isr;
    struct ab_replica_members elr;
    uint32_t min_isr;
    uint64_t history_id;     /* rises when a person accepts the loss of committed records (H17) */
    struct ab_hash128 token; /* who made this change: tells after an unknown outcome whether it landed (H52) */
};

/* Where a partition's replicas are to be: 1..AB_REPLICATION_FACTOR_MAX distinct nodes, the first one preferred as
 * leader. Who stores such targets is not known here. */
struct ab_replica_target {
    uint32_t partition;
    struct ab_replica_nodes replicas;
};

/* The place of a node; UINT32_MAX when it is not there. */
uint32_t ab_replica_nodes_find(const struct ab_replica_nodes *nodes, uint32_t node);
uint32_t ab_replica_members_find(const struct ab_replica_members *members, uint32_t node);

/* True when the node is there. */
static inline bool ab_replica_nodes_has(const struct ab_replica_nodes *nodes, uint32_t node)
{
    return ab_replica_nodes_find(nodes, node) != UINT32_MAX;
}
static inline bool ab_replica_members_has(const struct ab_replica_members *members, uint32_t node)
{
    return ab_replica_members_find(members, node) != UINT32_MAX;
}

/* Append at the end; there is room (asserted). */
void ab_replica_nodes_add(struct ab_replica_nodes *nodes, uint32_t node);
void ab_replica_members_add(struct ab_replica_members *members, struct ab_replica_member member);

/* Take a node out, keeping the order of the others; not there is fine. */
void ab_replica_nodes_remove(struct ab_replica_nodes *nodes, uint32_t node);
void ab_replica_members_remove(struct ab_replica_members *members, uint32_t node);

/* True when all fields of the members, or all nodes, are equal, in order. */
bool ab_replica_members_equal(const struct ab_replica_members *a, const struct ab_replica_members *b);
bool ab_replica_nodes_equal(const struct ab_replica_nodes *a, const struct ab_replica_nodes *b);

/* "/partitions/<p>/state". */
void ab_replica_set_path(uint32_t partition, char path[AB_REGISTRATION_PATH_BYTES]);

/* The rules above: AB_CORRUPT with the one that is broken. */
AB_MUST_USE ab_err ab_replica_set_validate(const struct ab_replica_set *state, struct ab_error *error);

/* Appends the one JSON text of a state. AB_USAGE, with the reason, for a state that is not valid: nothing is appended.
 * AB_FULL: the buffer. */
AB_MUST_USE ab_err ab_replica_set_encode(
    const struct ab_replica_set *state, struct ab_buffer *out, struct ab_error *error);

/* Reads such a text. AB_CORRUPT with the reason, AB_UNSUPPORTED for a newer format. */
AB_MUST_USE ab_err ab_replica_set_decode(struct ab_bytes text, struct ab_replica_set *state, struct ab_error *error);

#endif
