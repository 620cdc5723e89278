/* snapshot: what a router knows of the cluster at one moment, immutable and counted: catalog, versions, who leads.
 *
 * Queries take one snapshot and keep it to their end, so one version per view is pinned for the whole query (I4). The
 * refresher makes a new one when the coordination service or an endpoint changed. A view whose new definition is not
 * whole yet is served by the newest definition that is. A view whose version in force is lost or damaged from the start
 * on is refused with what is wrong, beside others that answer, until a version of it can be opened; a good version is
 * never given up for a damaged one.
 *
 * Threads: read-only once made; acquire and release from any thread.
 */
#ifndef ANABRANCH_SERVING_SNAPSHOT_H
#define ANABRANCH_SERVING_SNAPSHOT_H

#include "serving/leaders.h"
#include "serving/versions.h"

#include "common/aggregate/aggregation.h"
#include "common/config/config.h"

/* One view as it is answered now. */
struct ab_served_view {
    const struct ab_view *view;         /* borrowed from catalog */
    struct ab_catalog *catalog;         /* owned reference: the one this definition stands in */
    struct ab_hash128 catalog_key;      /* of its stored form: texts may come back, with other ids */
    struct ab_aggregation *aggregation; /* owned */
    struct ab_served_version *version;  /* owned reference; NULL = no version yet, or a damaged one */
    char *damage;                       /* owned; what is wrong with the version in force; NULL = nothing */
};

struct ab_snapshot {
    struct ab_catalog *catalog;   /* owned reference: the newest */
    struct ab_served_view *views; /* owned; one per view of the newest catalog */
    uint32_t views_count;
    uint32_t partitions_count;
    struct ab_endpoint speed;  /* of this node */
    struct ab_leaders leaders; /* owned */
    atomic_uint references;
};

/* Finds a view by name; NULL. */
const struct ab_served_view *ab_snapshot_view(const struct ab_snapshot *snapshot, struct ab_bytes name);

/* Counted references; release(NULL) is legal. */
struct ab_snapshot *ab_snapshot_acquire(struct ab_snapshot *snapshot);
void ab_snapshot_release(struct ab_snapshot *snapshot);

struct ab_snapshot_source;

struct ab_snapshot_options {
    const char *directory;          /* the node's; copied */
    const struct ab_config *config; /* which coordination service, and which node; borrowed */
    uint32_t partitions_count;
    struct ab_versions *versions; /* borrowed */
};

/* Watches the cluster (coordination service and run/speed.json) and keeps the newest snapshot. Before it returns the
 * first one is made. AB_UNAVAILABLE when there is no catalog; errors of ab_coordination_open_configured. */
AB_MUST_USE ab_err ab_snapshot_source_open(
    const struct ab_snapshot_options *options, struct ab_snapshot_source **source, struct ab_error *error);
void ab_snapshot_source_close(struct ab_snapshot_source *source);

/* The newest snapshot, with a reference for the caller. Any thread. */
struct ab_snapshot *ab_snapshot_source_current(struct ab_snapshot_source *source);

/* Has everybody know where this node serves, from now on and whenever the session with the coordination service had to
 * be made anew. Does nothing for the only node. Errors of the coordination service. */
AB_MUST_USE ab_err ab_snapshot_source_register(
    struct ab_snapshot_source *source, const struct ab_endpoint *serving, struct ab_error *error);

/* Looks at once whether something changed: after a node said that a version is stale. Any thread. Among several nodes
 * at most 200 ms: the coordination service may be far away, or not answer. */
void ab_snapshot_source_refresh(struct ab_snapshot_source *source);

#endif
