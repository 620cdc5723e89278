/* reassignment: the one change of the assignment that a cluster may be on its way to, as it stands in the coordination
 * service while it is on its way:
 *
 *   /reassignment  persistent  {"format":1,"action":"add","node":4,"began_us":"1767225600000000",
 *                               "moves":[{"partition":3,"to":[1,2,4],"from":[1,2,3]},...]}
 *
 * It was proposed once, by placement.h, and is stored before a step of it is taken (H15): whoever acts walks from what
 * is to "to" (reassign.h), and knows from the partitions' states alone how far that has come. "from" is what was, for a
 * person who wants it back. When every partition has arrived the node is deleted.
 *
 * A move is a partition whose replicas are other ones afterwards, by rising number. The version of the node is that of
 * the assignment: a cancellation, or the end, is a compare-and-set of it.
 *
 * Valid (checked by decode and before encode): a known action about a node; 1..AB_PARTITIONS_MAX moves, partitions
 * rising, `to` and `from` of 1..AB_REPLICATION_FACTOR_MAX distinct nodes each.
 *
 * Threads: values. Memory: 80 bytes a move, owned.
 */
#ifndef ANABRANCH_CLUSTER_REASSIGNMENT_H
#define ANABRANCH_CLUSTER_REASSIGNMENT_H

#include "common/base/time.h"
#include "common/coordination/replica_set.h"

#define AB_REASSIGNMENT_PATH "/reassignment"

enum ab_reassignment_action {
    AB_REASSIGNMENT_ADD = 1,    /* partitions go to a node that is new */
    AB_REASSIGNMENT_REMOVE = 2, /* a node gives up all of its */
    AB_REASSIGNMENT_CANCEL = 3, /* an earlier one is undone, where it had not arrived */
};

/* Zeroed memory is none. */
struct ab_reassignment {
    enum ab_reassignment_action action;
    uint32_t node; /* whom it is, or was, about */
    ab_time_us began_us;
    struct ab_replica_target *targets; /* owned; where each goes; by rising partition */
    struct ab_replica_target *former;  /* owned; where each was, in the same order */
    uint32_t moves_count;
};

/* Frees all; idempotent. */
void ab_reassignment_fini(struct ab_reassignment *reassignment);

/* "add", "remove", "cancel"; a static string. */
const char *ab_reassignment_action_name(enum ab_reassignment_action action);

/* Makes one of those of `count` partitions whose replicas differ. Order in lists counts only in that the first replica
 * is preferred as leader. With no difference it has no moves, and is not to be stored. */
void ab_reassignment_init(struct ab_reassignment *reassignment, enum ab_reassignment_action action, uint32_t node,
    const struct ab_replica_target *former, const struct ab_replica_target *targets, uint32_t count);

/* Appends the one JSON text. AB_USAGE, with the reason, for one that is not valid: nothing is appended. AB_FULL. */
AB_MUST_USE ab_err ab_reassignment_encode(
    const struct ab_reassignment *reassignment, struct ab_buffer *out, struct ab_error *error);

/* Reads such a text; the caller calls fini on what it got. AB_CORRUPT with the reason, AB_UNSUPPORTED for a newer
 * format. */
AB_MUST_USE ab_err ab_reassignment_decode(
    struct ab_bytes text, struct ab_reassignment *reassignment, struct ab_error *error);

#endif
