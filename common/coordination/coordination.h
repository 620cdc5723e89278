/* coordination: a small tree of versioned values that the processes of a cluster agree on.
 *
 * Paths are "/a/b"; each node has a value (<= AB_COORDINATION_VALUE_BYTES_MAX) and a version that counts its changes
 * from 0. Everything that several processes decide is one compare-and-set or one multi: all of its operations happen,
 * or none. Two implementations stand behind the same table of functions: a journal in a local directory for one
 * machine, ZooKeeper for clusters; nobody else knows which (DESIGN 10).
 *
 * Watching: a revision number rises whenever anything changed; whoever waits re-reads and acts on versions, never on
 * events (REPLICATION H53). Unknown outcomes: AB_OUTCOME_UNKNOWN from a change means that it may have happened: read
 * again and compare.
 *
 * Threads: a handle may be used by any thread. Blocks: every call may do input and output; `wait` as stated.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_COORDINATION_H
#define ANABRANCH_COMMON_COORDINATION_COORDINATION_H

#include "common/base/buffer.h"

#define AB_COORDINATION_VALUE_BYTES_MAX (4u << 20)
#define AB_COORDINATION_PATH_BYTES_MAX 512u
#define AB_COORDINATION_ANY_VERSION UINT64_MAX

struct ab_coordination; /* one session */

enum ab_coordination_kind {
    AB_COORDINATION_CREATE,           /* AB_EXISTS when there; parents are made */
    AB_COORDINATION_CREATE_EPHEMERAL, /* goes when this session ends or its process dies */
    AB_COORDINATION_SET,              /* AB_NOT_FOUND, or AB_CONFLICT when the version is another */
    AB_COORDINATION_REMOVE,           /* AB_NOT_FOUND, AB_CONFLICT, or AB_EXISTS when it has children */
    AB_COORDINATION_CHECK,            /* AB_NOT_FOUND, AB_CONFLICT; changes nothing */
};

struct ab_coordination_operation {
    enum ab_coordination_kind kind;
    const char *path;
    struct ab_bytes value;     /* CREATE*, SET */
    uint64_t expected_version; /* SET, REMOVE, CHECK; AB_COORDINATION_ANY_VERSION = whatever it is */
};

/* Opens a session on the journal in `directory` (made if missing). AB_CORRUPT when the journal is damaged other than by
 * a torn tail. */
AB_MUST_USE ab_err ab_coordination_open_local(
    const char *directory, struct ab_coordination **coordination, struct ab_error *error);

/* Ends the session: its ephemeral nodes go. NULL is legal. */
void ab_coordination_close(struct ab_coordination *coordination);

/* Appends the value of a node to `value` and gives its version (either may be NULL). AB_NOT_FOUND. */
AB_MUST_USE ab_err ab_coordination_get(struct ab_coordination *coordination, const char *path, struct ab_buffer *value,
    uint64_t *version, struct ab_error *error);

/* Names of the direct children, sorted; freed with ab_file_names_free. None for an absent path. */
AB_MUST_USE ab_err ab_coordination_children(
    struct ab_coordination *coordination, const char *path, char ***names, size_t *count, struct ab_error *error);

/* Does all operations or none, durably. On failure the error of the first operation that could not be done, and its
 * index in *failed (may be NULL). */
AB_MUST_USE ab_err ab_coordination_multi(struct ab_coordination *coordination,
    const struct ab_coordination_operation *operations, size_t operations_count, size_t *failed,
    struct ab_error *error);

/* One operation each; see the kinds for errors. */
AB_MUST_USE ab_err ab_coordination_create(
    struct ab_coordination *coordination, const char *path, struct ab_bytes value, struct ab_error *error);
AB_MUST_USE ab_err ab_coordination_set(struct ab_coordination *coordination, const char *path, struct ab_bytes value,
    uint64_t expected_version, struct ab_error *error);
AB_MUST_USE ab_err ab_coordination_remove(
    struct ab_coordination *coordination, const char *path, uint64_t expected_version, struct ab_error *error);

/* Sets a node whatever its version, creating it if missing. */
AB_MUST_USE ab_err ab_coordination_put(
    struct ab_coordination *coordination, const char *path, struct ab_bytes value, struct ab_error *error);

/* A number that rises with every change of anybody. Cheap. */
AB_MUST_USE ab_err ab_coordination_revision(
    struct ab_coordination *coordination, uint64_t *revision, struct ab_error *error);

/* Waits until the revision is above `seen` or timeout_ms passed (AB_TIMEOUT). */
AB_MUST_USE ab_err ab_coordination_wait(
    struct ab_coordination *coordination, uint64_t seen, int timeout_ms, uint64_t *revision, struct ab_error *error);

#endif
