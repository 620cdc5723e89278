/* node: what `anabranch node ACTION` does with the nodes of a cluster on one machine: node.c chooses, and kills;
 * node_add.c, node_replace.c and node_remove.c change which nodes there are; node_list.c tells; node_ask.c is what they
 * share.
 *
 * Each change can be asked for again after it was broken off, at any line: it goes on where it was.
 *
 * Threads: one.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_NODE_H
#define ANABRANCH_CLUSTER_COMMAND_NODE_H

#include "cluster/command/arguments.h"
#include "cluster/nodes.h"
#include "common/base/json.h"

/* One change of nodes that is asked for. */
struct ab_node_command {
    const struct ab_arguments *arguments; /* borrowed */
    char *directory;                      /* owned; the cluster's */
    struct ab_nodes nodes;
    uint32_t node; /* whom it is about; 0 = nobody */
    bool is_json;
    bool is_waiting;  /* --wait */
    int64_t until_us; /* monotonic: waits no longer */
};

/* ---- node_add.c, node_replace.c, node_remove.c, node_list.c ---- */

/* Makes a node and has the controller give it its part of the partitions. */
AB_MUST_USE ab_err ab_node_add(struct ab_node_command *command, struct ab_error *error);

/* Puts an empty directory in place of a node's that is lost. */
AB_MUST_USE ab_err ab_node_replace(struct ab_node_command *command, struct ab_error *error);

/* Has the controller give away a node's partitions, and takes it down. Waits in any case. */
AB_MUST_USE ab_err ab_node_remove(struct ab_node_command *command, struct ab_error *error);

/* Takes back what is on its way. */
AB_MUST_USE ab_err ab_node_cancel(struct ab_node_command *command, struct ab_error *error);

/* Prints the nodes, and what is on its way. */
AB_MUST_USE ab_err ab_node_list(struct ab_node_command *command, struct ab_error *error);

/* ---- node_ask.c ---- */

/* Asks the acting controller for a change (AB_VERB_NODE_CHANGE), which may be asked for twice: again when it went
 * before it answered. *moves (may be NULL) is how many partitions are on their way. Its refusals, and AB_UNAVAILABLE
 * when nobody acts. */
AB_MUST_USE ab_err ab_node_ask(
    const struct ab_node_command *command, const char *action, uint32_t *moves, struct ab_error *error);

/* The same again for as long as it is refused with `err`, which passes by itself; at most so long. */
AB_MUST_USE ab_err ab_node_ask_until(const struct ab_node_command *command, const char *action, ab_err passing,
    int64_t patience_us, uint32_t *moves, struct ab_error *error);

/* What the cluster says of itself (the status' member "cluster"); the caller's. */
AB_MUST_USE ab_err ab_node_look(
    const struct ab_node_command *command, struct ab_json **cluster, struct ab_error *error);

/* AB_BUSY when a reassignment is on its way that is not this action about this node. */
AB_MUST_USE ab_err ab_node_idle_check(
    const struct ab_node_command *command, const char *action, struct ab_error *error);

/* Waits until nothing is on its way, and all replicas of the command's node (0: of none) are in sync; says how far it
 * is. AB_TIMEOUT. */
AB_MUST_USE ab_err ab_node_wait(const struct ab_node_command *command, struct ab_error *error);

/* Starts the node, as `up --node` does, without a word. */
AB_MUST_USE ab_err ab_node_start(const struct ab_node_command *command, struct ab_error *error);

/* True while a process of the node is alive. */
bool ab_node_is_running(const struct ab_node_command *command);

/* Moves the node's directory, where there is one with anything in it, out of the way as "<directory>/node-K.<ending>",
 * in place of an earlier one of that name. */
AB_MUST_USE ab_err ab_node_directory_retire(
    const struct ab_node_command *command, const char *ending, struct ab_error *error);

/* Prints how it ended: one line, or {"action","node","moves","is_done"}. */
void ab_node_say(const struct ab_node_command *command, const char *action, uint32_t moves, bool is_done);

#endif
