/* coordination_table: what an implementation of coordination.h provides. Internal to common/coordination.
 *
 * An implementation's session begins with a struct ab_coordination. Paths and values reach it checked.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_COORDINATION_TABLE_H
#define ANABRANCH_COMMON_COORDINATION_COORDINATION_TABLE_H

#include "common/coordination/coordination.h"

/* Functions as in coordination.h; `place` is the address without its kind, `options` is never NULL and has no zero
 * time.
 */
struct ab_coordination_table {
    const char *kind; /* what stands before the colon of an address */
    uint32_t version; /* of this table */
    ab_err (*open)(const char *place, const struct ab_coordination_options *options, struct ab_coordination **session,
        struct ab_error *error);
    void (*close)(struct ab_coordination *session);
    ab_err (*multi)(struct ab_coordination *session, const struct ab_coordination_op *ops, size_t ops_count,
        size_t *failed, struct ab_error *error);
    ab_err (*get)(struct ab_coordination *session, const char *path, struct ab_buffer *value,
        struct ab_coordination_stat *stat, struct ab_error *error);
    ab_err (*children)(
        struct ab_coordination *session, const char *path, char ***names, size_t *count, struct ab_error *error);
    ab_err (*revision)(struct ab_coordination *session, uint64_t *revision, struct ab_error *error);
    ab_err (*wait)(
        struct ab_coordination *session, uint64_t since, int64_t until_us, uint64_t *revision, struct ab_error *error);
    void (*session_state)(struct ab_coordination *session, struct ab_coordination_session_state *state);
};

#define AB_COORDINATION_TABLE_VERSION 2u

struct ab_coordination {
    const struct ab_coordination_table *table; /* static */
};

/* True for a path as coordination.h says. */
bool ab_coordination_path_is_valid(const char *path);

/* True for NAME:PASSWORD as coordination.h says. */
bool ab_coordination_credential_is_valid(struct ab_bytes credential);

/* The implementation for one machine, in local.c. */
extern const struct ab_coordination_table ab_coordination_local;

/* The implementation for clusters, in zookeeper.c; zookeeper_absent.c has one that refuses, for builds without the
 * library. */
extern const struct ab_coordination_table ab_coordination_zookeeper;

#endif
