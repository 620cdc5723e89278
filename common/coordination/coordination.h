/* coordination: the small tree of facts on which the processes of a cluster agree.
 *
 * Paths like /cuts/7 name nodes; a node holds up to AB_COORDINATION_VALUE_BYTES_MAX bytes and a version that begins at
 * 0 and rises by one with every set. Several changes with checks are one atomic step (multi). An ephemeral node lives
 * as long as the session that created it. Everything acknowledged is durable.
 *
 * The interface is what ZooKeeper can do, and is implemented twice at most: "local:<directory>" keeps the tree in one
 * journal under a lock, for the processes of one machine. Who uses it does not know which.
 *
 * Every function but close may return, besides what it says itself: AB_UNAVAILABLE (nobody answers; nothing was
 * changed), AB_OUTCOME_UNKNOWN (a change may or may not have happened: read again), AB_CLOSED (the session has expired:
 * open a new one), AB_IO (disk; the session is of no use any more), AB_NO_SPACE (nothing was changed), AB_CORRUPT (the
 * stored tree), AB_USAGE (a path that is none: it begins with /, has no empty, "." or ".." part, no control character,
 * at most AB_COORDINATION_PATH_BYTES_MAX bytes, and does not end in / but for the root itself).
 *
 * Threads: any thread may use a session; calls on one session wait for each other, but ab_coordination_wait holds
 * nobody up. Memory: a copy of the tree per session, at most AB_COORDINATION_TREE_BYTES_MAX.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_COORDINATION_H
#define ANABRANCH_COMMON_COORDINATION_COORDINATION_H

#include "common/base/buffer.h"

#define AB_COORDINATION_PATH_BYTES_MAX 512u
#define AB_COORDINATION_VALUE_BYTES_MAX (4u << 20)
#define AB_COORDINATION_TREE_BYTES_MAX (64u << 20)
#define AB_COORDINATION_OPS_MAX 1024u
#define AB_COORDINATION_ANY_VERSION UINT64_MAX

struct ab_coordination; /* a session */

/* Opens a session at "local:<directory>" (made if absent). AB_USAGE for an unknown kind of address, AB_UNSUPPORTED for
 * a tree of a newer format. Blocks: does I/O. A process that forks without exec keeps its parent's session alive. */
AB_MUST_USE ab_err ab_coordination_open(const char *address, struct ab_coordination **session, struct ab_error *error);

/* Ends the session and removes its ephemeral nodes; NULL is legal. If that fails they go when others notice, like those
 * of a killed process. */
void ab_coordination_close(struct ab_coordination *session);

enum ab_coordination_op_kind {
    AB_COORDINATION_CREATE = 1,
    AB_COORDINATION_SET = 2,
    AB_COORDINATION_DELETE = 3,
    AB_COORDINATION_CHECK = 4, /* the node exists with this version; changes nothing */
};

/* One step of a multi. */
struct ab_coordination_op {
    enum ab_coordination_op_kind kind;
    const char *path;      /* borrowed during the call */
    struct ab_bytes value; /* create and set; borrowed during the call */
    uint64_t version;      /* set, delete and check: expected, or AB_COORDINATION_ANY_VERSION */
    bool is_ephemeral;     /* create */
};

/* Does all steps in order or none; each sees what those before it did. On failure *failed (may be NULL) is the index of
 * the step that failed: AB_EXISTS (create: the node is there; delete: it has children), AB_NOT_FOUND (the node, or the
 * parent to create under), AB_CONFLICT (another version), AB_TOO_LARGE (a value, or more than AB_COORDINATION_OPS_MAX
 * steps or AB_COORDINATION_TREE_BYTES_MAX bytes), AB_FULL (the tree), AB_USAGE (also: a child of an ephemeral node, a
 * change of the root). */
AB_MUST_USE ab_err ab_coordination_multi(struct ab_coordination *session, const struct ab_coordination_op *ops,
    size_t ops_count, size_t *failed, struct ab_error *error);

/* One create: AB_EXISTS, AB_NOT_FOUND (no parent), AB_TOO_LARGE, AB_FULL, AB_USAGE. */
AB_MUST_USE ab_err ab_coordination_create(struct ab_coordination *session, const char *path, struct ab_bytes value,
    bool is_ephemeral, struct ab_error *error);

/* Creates an empty persistent node and its missing parents; nodes that exist are fine. AB_FULL, AB_USAGE. */
AB_MUST_USE ab_err ab_coordination_ensure(struct ab_coordination *session, const char *path, struct ab_error *error);

/* One set, a compare-and-set unless any version will do: AB_NOT_FOUND, AB_CONFLICT, AB_TOO_LARGE, AB_FULL. The new
 * version is version + 1. */
AB_MUST_USE ab_err ab_coordination_set(
    struct ab_coordination *session, const char *path, struct ab_bytes value, uint64_t version, struct ab_error *error);

/* One delete: AB_NOT_FOUND, AB_CONFLICT, AB_EXISTS (it has children). */
AB_MUST_USE ab_err ab_coordination_delete(
    struct ab_coordination *session, const char *path, uint64_t version, struct ab_error *error);

/* What is known of a node besides its value. */
struct ab_coordination_stat {
    uint64_t version;
    uint64_t created_revision; /* tells a node from one of the same path that was there before */
    uint64_t modified_revision;
    bool is_ephemeral;
    bool is_own; /* ephemeral, of this session */
};

/* Appends a node's value to `value` (may be NULL) and fills `stat` (may be NULL): AB_NOT_FOUND, AB_FULL (the buffer).
 * Sees every change acknowledged to anybody before the call. */
AB_MUST_USE ab_err ab_coordination_get(struct ab_coordination *session, const char *path, struct ab_buffer *value,
    struct ab_coordination_stat *stat, struct ab_error *error);

/* Names of a node's children, sorted bytewise, without the path; *names is freed by ab_coordination_names_free.
 * AB_NOT_FOUND. */
AB_MUST_USE ab_err ab_coordination_children(
    struct ab_coordination *session, const char *path, char ***names, size_t *count, struct ab_error *error);

/* Frees what children gave. */
void ab_coordination_names_free(char **names, size_t count);

/* A number that rises whenever something changes that this session has read by get or children (perhaps also when
 * anything else does). To miss nothing: take the revision, read, then wait for a higher one and read again. */
AB_MUST_USE ab_err ab_coordination_revision(
    struct ab_coordination *session, uint64_t *revision, struct ab_error *error);

/* Waits until the revision is above `since` or until the monotonic time until_us (< 0 = for ever): AB_TIMEOUT. Blocks.
 */
AB_MUST_USE ab_err ab_coordination_wait(
    struct ab_coordination *session, uint64_t since, int64_t until_us, uint64_t *revision, struct ab_error *error);

#endif
