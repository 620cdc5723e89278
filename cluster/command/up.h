/* up: what `anabranch up` does for the only node of a machine (up.c) and for several (up_nodes.c).
 *
 * Threads: one.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_UP_H
#define ANABRANCH_CLUSTER_COMMAND_UP_H

#include "cluster/command/arguments.h"
#include "cluster/command/log_tail.h"
#include "cluster/process.h"
#include "common/base/buffer.h"
#include "common/config/config.h"
#include "common/wire/node.h"

#define AB_UP_READY_PATIENCE_US (10 * AB_US_PER_MINUTE)
#define AB_UP_READY_POLL_US (20 * AB_US_PER_MS)
#define AB_UP_READY_SAY_US (5 * AB_US_PER_SECOND)

/* What the command line asks for. */
struct ab_up {
    const struct ab_arguments *arguments; /* borrowed */
    char *directory;                      /* owned */
    struct ab_cluster_identity identity;
    struct ab_buffer catalog_text; /* empty when no --catalog */
    struct ab_config config;
    bool is_quiet; /* several nodes: does not say what is up */
};

/* A node that is being started. */
struct ab_up_node {
    const char *directory;        /* borrowed; the node's */
    struct ab_process controller; /* pid 0 = not started here */
    struct ab_log_tails tails;    /* where the logs ended before */
};

/* ---- up.c ---- */

/* Takes --workers, --memory and --listen over into a node's configuration; *is_changed when one was given. The memory
 * is that of `nodes_count` nodes together. AB_USAGE, AB_BUSY for an address in use. */
AB_MUST_USE ab_err ab_up_options_take(const struct ab_arguments *arguments, uint32_t nodes_count,
    struct ab_config *config, bool *is_changed, struct ab_error *error);

/* ---- up_catalog.c ---- */

/* Reads and checks what --catalog names, before anything is made; nothing without it. */
AB_MUST_USE ab_err ab_up_catalog_load(struct ab_up *up, struct ab_error *error);

/* Writes the first catalog; when there is one, checks that what was given changes nothing (AB_UNSUPPORTED with what it
 * would change). AB_USAGE when there is none and none was given. */
struct ab_coordination;
AB_MUST_USE ab_err ab_up_catalog_settle(
    const struct ab_up *up, struct ab_coordination *coordination, struct ab_error *error);

/* ---- up_node.c ---- */

/* Takes the lock of a node's controller, so that nothing is changed under one: AB_BUSY when it runs. */
AB_MUST_USE ab_err ab_up_node_lock(const char *directory, int *lock_fd, struct ab_error *error);

/* Starts the controller; in the foreground it writes to our standard error, and ends with us. */
AB_MUST_USE ab_err ab_up_node_start(struct ab_up_node *node, bool is_foreground, struct ab_error *error);

/* One look at a node: AB_OK when all of its daemons answer, AB_AGAIN while they start, AB_UNAVAILABLE when they never
 * will; then the last lines of the log were printed. */
AB_MUST_USE ab_err ab_up_node_look(const struct ab_up_node *node, struct ab_error *error);

/* Ends the controller that was started here. */
void ab_up_node_end(const struct ab_up_node *node);

/* ---- up_nodes.c ---- */

/* True when the command line or the directory asks for several nodes. */
bool ab_up_nodes_are_wanted(const struct ab_up *up);

/* Makes what is missing of a cluster of several nodes, starts what does not run, and waits until it serves. */
AB_MUST_USE ab_err ab_up_nodes_run(struct ab_up *up, struct ab_error *error);

#endif
