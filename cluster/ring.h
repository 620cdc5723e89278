/* ring: consistent hashing of partitions to nodes, with virtual nodes, weights and bounded load: a pure core.
 *
 * Each node stands at `weight x virtual nodes` points of a 64-bit circle (Karger et al. 1997); a partition belongs to
 * the nodes whose points follow its own. No node gets more than ceil(load_bound x its weighted share) partitions
 * (Mirrokni, Thorup, Zadimoghaddam 2018), and replicas of a partition stand in distinct racks while there are enough
 * racks. The ring proposes; assignments are stored by whoever decides (DESIGN 10). Equal inputs give equal results on
 * every machine; a node more or less moves about 1/N of the partitions.
 *
 * Threads: read-only after creation. Memory: nodes x virtual nodes points, made at set-up.
 */
#ifndef ANABRANCH_CLUSTER_RING_H
#define ANABRANCH_CLUSTER_RING_H

#include "common/base/error.h"

#include <stdint.h>

#define AB_RING_NODES_MAX 4096u
#define AB_RING_VIRTUAL_NODES 128u
#define AB_RING_WEIGHT_SUM_MAX 32768u /* 2^22 points, 64 MiB while it is built and used */

struct ab_ring_node {
    const char *name; /* borrowed until create returns; unique */
    const char *rack; /* "" = every node is its own rack */
    uint32_t weight;  /* relative capacity, >= 1 */
};

struct ab_ring;

/* Builds a ring of 1..AB_RING_NODES_MAX nodes. AB_USAGE for none, too many, a zero weight, weights
 * that sum to more than AB_RING_WEIGHT_SUM_MAX, or two equal names. */
AB_MUST_USE ab_err ab_ring_create(const struct ab_ring_node *nodes, uint32_t nodes_count, struct ab_ring **ring);
void ab_ring_destroy(struct ab_ring *ring);

/* Assigns `replicas` nodes to every partition: nodes[p * replicas + i] is an index into the nodes given at creation,
 * the first one preferred as leader. replicas <= nodes. load_bound >= 1, e.g. 1.25. AB_USAGE. */
AB_MUST_USE ab_err ab_ring_assign(
    const struct ab_ring *ring, uint32_t partitions_count, uint32_t replicas, double load_bound, uint32_t *nodes);

#endif
