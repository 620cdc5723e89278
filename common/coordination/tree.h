/* tree: the nodes of a coordination tree in memory. Internal to common/coordination.
 *
 * Nodes lie in one array sorted by path, so that a node's children are near it. The root is not a node: it is always
 * there. Threads: none; the owner locks. Memory: bounded by AB_COORDINATION_TREE_BYTES_MAX.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_TREE_H
#define ANABRANCH_COMMON_COORDINATION_TREE_H

#include "common/coordination/coordination.h"

struct ab_tree_node {
    char *path;     /* owned */
    uint8_t *value; /* owned */
    size_t value_bytes;
    uint64_t version;
    uint64_t created_revision;
    uint64_t modified_revision;
    uint64_t owner; /* the session of an ephemeral node; 0 = persistent */
};

/* Zeroed memory is an empty tree. */
struct ab_tree {
    struct ab_tree_node *nodes; /* owned; sorted by path */
    size_t count;
    size_t capacity;
    size_t bytes;      /* paths, values and a constant for each node */
    uint64_t revision; /* transactions applied */
};

/* What one step does to the tree, without its checks. */
struct ab_tree_effect {
    enum ab_coordination_op_kind kind; /* create, set or delete */
    struct ab_bytes path;
    struct ab_bytes value; /* create and set */
    uint64_t owner;        /* create */
};

/* Frees everything and forgets; idempotent. */
void ab_tree_fini(struct ab_tree *tree);

/* A node, borrowed until the tree changes; NULL when there is none (as for the root). */
struct ab_tree_node *ab_tree_find(const struct ab_tree *tree, struct ab_bytes path);

/* The parent's path of a path; "/" for one directly below the root. */
struct ab_bytes ab_tree_parent(struct ab_bytes path);

/* Index of the first node below `path`, whose last one is followed by *until. Not only children: all that lies below.
 */
size_t ab_tree_below(const struct ab_tree *tree, struct ab_bytes path, size_t *until);

/* Applies one effect as part of the transaction that makes `revision`. AB_EXISTS, AB_NOT_FOUND (node or parent),
 * AB_USAGE (below an ephemeral node), AB_FULL; nothing is changed then. */
AB_MUST_USE ab_err ab_tree_apply(struct ab_tree *tree, const struct ab_tree_effect *effect, uint64_t revision);

/* Appends the encoding of the whole tree: u64 revision, varint nodes, and for each in order: blob path, blob value, u64
 * version, created, modified, owner. */
void ab_tree_encode(const struct ab_tree *tree, struct ab_buffer *out);

/* Reads it into an empty tree; AB_CORRUPT (the tree is empty then). */
AB_MUST_USE ab_err ab_tree_decode(struct ab_bytes bytes, struct ab_tree *tree);

#endif
