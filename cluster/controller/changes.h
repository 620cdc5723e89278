/* changes: a list of coordination operations that owns its paths and values, for one multi; and reading nodes as JSON.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_CHANGES_H
#define ANABRANCH_CLUSTER_CONTROLLER_CHANGES_H

#include "common/base/json.h"
#include "common/coordination/coordination.h"

/* Zeroed memory is an empty list. */
struct ab_changes {
    struct ab_coordination_op *ops; /* owned, with paths and values */
    size_t count;
    bool is_fenced; /* the first one is the check of who acts */
};

void ab_changes_fini(struct ab_changes *changes);

/* Adds an operation; path and value are copied. For AB_COORDINATION_CREATE the version means nothing. */
void ab_changes_add(struct ab_changes *changes, enum ab_coordination_op_kind kind, const char *path,
    struct ab_bytes value, uint64_t expected_version);

/* The same with a JSON value, which stays the caller's. */
void ab_changes_add_json(struct ab_changes *changes, enum ab_coordination_op_kind kind, const char *path,
    const struct ab_json *value, uint64_t expected_version);

/* Puts a check before all others: only while this is the version of /controller_epoch (acting.h) is anything done. */
void ab_changes_fence(struct ab_changes *changes, uint64_t epoch_version);

/* Does all of them or none, and empties the list in any case. AB_STALE: the fence, another controller acts by now.
 * AB_CONFLICT and the like name the path. */
AB_MUST_USE ab_err ab_changes_commit(
    struct ab_changes *changes, struct ab_coordination *coordination, struct ab_error *error);

/* Sets a node whatever its version, making it and its parents when they are missing. */
AB_MUST_USE ab_err ab_coordination_store(
    struct ab_coordination *coordination, const char *path, struct ab_bytes value, struct ab_error *error);

/* Names of a node's children; none when it is not there. Freed with ab_coordination_names_free. */
AB_MUST_USE ab_err ab_coordination_list(
    struct ab_coordination *coordination, const char *path, char ***names, size_t *count, struct ab_error *error);

/* Reads a node as JSON; AB_NOT_FOUND, AB_CORRUPT. The value is the caller's. version may be NULL. */
AB_MUST_USE ab_err ab_coordination_get_json(struct ab_coordination *coordination, const char *path,
    struct ab_json **value, uint64_t *version, struct ab_error *error);

#endif
