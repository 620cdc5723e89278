/* leaders: where each partition is led, and which nodes serve, as the coordination service says at one moment.
 *
 * A partition is led where its state says so, while the process that it names lives: /partitions/<p>/state has node and
 * incarnation, /live/<node>-<incarnation> where its speed answers. A leader that has gone, or one without a usable
 * endpoint, is nobody. A node that serves says so in an ephemeral /serving/<node>:
 *
 *   {"format":1,"address":"tcp://10.0.0.3:7102","key":"<64 hex>"}
 *
 * In a cluster of one node that node leads everything, from when its speed has said where it answers.
 *
 * Threads: values; read-only once read. Memory: one number a partition, 400 bytes a node.
 */
#ifndef ANABRANCH_SERVING_LEADERS_H
#define ANABRANCH_SERVING_LEADERS_H

#include "common/base/hash.h"
#include "common/coordination/coordination.h"
#include "common/wire/wire.h"

#define AB_LEADER_NONE UINT32_MAX

/* Where a daemon answers. */
struct ab_endpoint {
    char address[256];
    uint8_t public_key[AB_WIRE_KEY_BYTES];
    bool is_known;
};

/* A daemon of a node. */
struct ab_leaders_node {
    uint32_t node; /* 0 = the only one */
    struct ab_hash128 incarnation;
    struct ab_endpoint endpoint;
};

/* Zeroed memory may be given to fini. */
struct ab_leaders {
    uint32_t *of_partitions; /* owned; by partition: place in nodes, or AB_LEADER_NONE */
    uint32_t partitions_count;
    struct ab_leaders_node *nodes; /* owned; speeds that lead something */
    uint32_t nodes_count;
    struct ab_leaders_node *servings; /* owned; by rising node; without incarnations */
    uint32_t servings_count;
    bool is_single; /* a cluster of one node */
};

/* Of one node: its speed leads all, if it is known. */
void ab_leaders_single(struct ab_leaders *leaders, uint32_t partitions_count, const struct ab_endpoint *speed);

/* Reads them; on failure nothing is to be freed. AB_CORRUPT for what cannot be understood; errors of get. */
AB_MUST_USE ab_err ab_leaders_read(struct ab_coordination *coordination, uint32_t partitions_count,
    struct ab_leaders *leaders, struct ab_error *error);

/* Frees; idempotent. */
void ab_leaders_fini(struct ab_leaders *leaders);

/* Who leads a partition; NULL = nobody. */
const struct ab_leaders_node *ab_leaders_of(const struct ab_leaders *leaders, uint32_t partition);

/* True when it is the same process at the same place. */
bool ab_leaders_node_equal(const struct ab_leaders_node *a, const struct ab_leaders_node *b);

/* Says in /serving/<node> where this node serves, as long as the session lives; replaces what an earlier process of the
 * node left there. */
AB_MUST_USE ab_err ab_leaders_register_serving(
    struct ab_coordination *coordination, uint32_t node, const struct ab_endpoint *endpoint, struct ab_error *error);

#endif
