/* job_nodes: where the nodes of a cluster have their data, and what a batch job over all of them is told.
 *
 *   /places/<node>  persistent  {"format":1,"node":3,"host":"<name>","directory":"/absolute/path"}
 *
 * Each controller writes its own with every session. Who lives is said by /live, not here.
 *
 * History and versions are copied to every node, whichever partitions it is a replica of: any of them can do all of a
 * job's work and answers every query from its own disk. The ranks of a partition work where it is led, or else where
 * its log is.
 *
 * Threads: any. Memory: lists as long as there are nodes.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_JOB_NODES_H
#define ANABRANCH_CLUSTER_CONTROLLER_JOB_NODES_H

#include "cluster/controller/controller.h"

/* Where a live node has its data. */
struct ab_job_node {
    struct ab_speed_target target;
    char *host;      /* owned */
    char *directory; /* owned */
};

struct ab_job_nodes {
    struct ab_job_node *items; /* owned; this controller's own first, then those on its host, then by host and number */
    uint32_t count;
};

void ab_job_nodes_fini(struct ab_job_nodes *nodes);

/* Writes /places/<this node>. */
AB_MUST_USE ab_err ab_job_nodes_register(struct ab_controller *controller, struct ab_error *error);

/* The live nodes whose place is known. AB_UNAVAILABLE when this one is not among them. */
AB_MUST_USE ab_err ab_job_nodes_read(
    struct ab_controller *controller, struct ab_job_nodes *nodes, struct ab_error *error);

/* Adds "cluster", "nodes", "retained" and the "leader" of each of the "partitions" to the answer to a BEGIN. */
AB_MUST_USE ab_err ab_job_nodes_tell(struct ab_controller *controller, struct ab_json *reply, struct ab_error *error);

/* Whether what a job publishes is where it has to be: of every partition at least the in-sync minimum of replicas is
 * among the "holders" of the payload (numbers of nodes); else AB_INVALID, which says which. *is_own_holder: this node
 * is one. *is_everywhere: so are all replicas of all partitions, and they are in sync. */
AB_MUST_USE ab_err ab_job_nodes_hold(struct ab_controller *controller, const struct ab_json *payload,
    bool *is_own_holder, bool *is_everywhere, struct ab_error *error);

#endif
