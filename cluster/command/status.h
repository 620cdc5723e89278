/* status: asking for the status of a cluster and writing it as tables: of the only node (status.c), and of several
 * (status_nodes.c).
 *
 * Threads: one.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_STATUS_H
#define ANABRANCH_CLUSTER_COMMAND_STATUS_H

#include "common/base/buffer.h"
#include "common/base/json.h"

/* ---- status.c ---- */

/* Asks the controller of a node; *status is the caller's. */
AB_MUST_USE ab_err ab_status_ask(
    const char *directory, int timeout_ms, struct ab_json **status, struct ab_error *error);

/* Appends a list of objects as a table of the given members, under a title; nothing for an empty list. */
void ab_status_list_write(const struct ab_json *list, const char *title, const char *const *members,
    size_t members_count, struct ab_buffer *out);

/* Append the first two lines, and the tables of views and jobs. */
void ab_status_head_write(const struct ab_json *status, struct ab_buffer *out);
void ab_status_work_write(const struct ab_json *status, struct ab_buffer *out);

/* Appends what a node says of all nodes and their partitions (the member "cluster"); nothing for NULL. */
void ab_status_cluster_write(const struct ab_json *cluster, struct ab_buffer *out);

/* Appends how far a reassignment is (the member "reassignment" of "cluster"); nothing for null. */
void ab_status_reassignment_write(const struct ab_json *reassignment, struct ab_buffer *out);

/* ---- status_nodes.c ---- */

/* Asks every node: *status (the caller's) is what the first one that answers says, with "data" the cluster's directory,
 * and besides
 *   "nodes"      [{"node","state":"up"|"silent"|"down","directory","daemons":[...],"error"}]
 *   "zookeeper"  {"address","servers":[{"name","state","pid","address"}]}
 * AB_UNAVAILABLE when none answers. */
AB_MUST_USE ab_err ab_status_nodes_ask(const char *directory, struct ab_json **status, struct ab_error *error);

/* Appends it for a person. */
void ab_status_nodes_write(const struct ab_json *status, struct ab_buffer *out);

#endif
