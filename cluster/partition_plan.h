/* partition_plan: what a pure core wants changed in partitions' states, and why it could not want more.
 *
 * The shell commits each change as one multi: check(/controller_epoch), check(/live/<node>-<incarnation>) for each
 * member in `relied` (REPLICATION R9), set(/partitions/<p>/state, state, version). It puts a fresh random token into
 * the state first, and after an unknown outcome reads the state again and looks for that token (H52); a conflict means
 * that facts have changed: read, and plan again. Changes are independent of each other.
 *
 * Both lists are bounded; what did not fit is counted, and comes with a later plan (changes) or is the same anyway
 * (reasons). Order: by partition.
 *
 * Threads: owner. Memory: the two lists.
 */
#ifndef ANABRANCH_CLUSTER_PARTITION_PLAN_H
#define ANABRANCH_CLUSTER_PARTITION_PLAN_H

#include "common/coordination/replica_set.h"

#define AB_PLAN_REASON_BYTES 320

/* What a change does, for logs and tests. */
enum ab_change_kind {
    AB_CHANGE_ELECT,        /* a leader from the in-sync set, or from the ELR */
    AB_CHANGE_NO_LEADER,    /* the leader is gone and nobody can follow it */
    AB_CHANGE_MOVE,         /* the leadership moves on purpose */
    AB_CHANGE_FORCE,        /* a person accepted the loss of committed records */
    AB_CHANGE_ADD_LEARNER,  /* reassignment: a new replica begins to fetch */
    AB_CHANGE_DROP_LEARNER, /* reassignment: it is not wanted any more */
    AB_CHANGE_PROMOTE,      /* reassignment: it has caught up and is a replica; its leader may count it in */
    AB_CHANGE_REMOVE,       /* reassignment: a replica is not wanted any more */
    AB_CHANGE_ORDER,        /* reassignment: another replica is preferred as leader */
};

struct ab_partition_change {
    enum ab_change_kind kind;
    uint32_t node;                    /* whom it is about; AB_NODE_NONE */
    struct ab_replica_set state;      /* the new one; its token is zero */
    uint64_t version;                 /* of the state it follows from */
    struct ab_replica_members relied; /* who must still be live under this incarnation */
};

struct ab_partition_reason {
    uint32_t partition;
    char text[AB_PLAN_REASON_BYTES]; /* "no electable replica: isr {2 (gone)}, elr {}" */
};

/* Zeroed memory is an empty plan without room. */
struct ab_partition_plan {
    struct ab_partition_change *changes; /* owned */
    uint32_t changes_count;
    uint32_t changes_max;
    uint32_t changes_left;               /* wanted, but more than changes_max */
    struct ab_partition_reason *reasons; /* owned */
    uint32_t reasons_count;
    uint32_t reasons_max;
    uint32_t reasons_left;
};

/* An empty plan with room for so many; and freeing it (idempotent). */
void ab_partition_plan_init(struct ab_partition_plan *plan, uint32_t changes_max, uint32_t reasons_max);
void ab_partition_plan_fini(struct ab_partition_plan *plan);

/* Adds a change or counts it. */
void ab_partition_plan_change(struct ab_partition_plan *plan, const struct ab_partition_change *change);

/* Adds a reason or counts it; a text that is too long is cut. */
void ab_partition_plan_reason(struct ab_partition_plan *plan, uint32_t partition, const char *format, ...)
    AB_PRINTF(3, 4);

/* "elect", "no-leader", ...; a static string. */
const char *ab_change_kind_name(enum ab_change_kind kind);

/* One partition as it stands in the coordination service. */
struct ab_partition_fact {
    const struct ab_replica_set *state; /* borrowed; valid */
    uint64_t version;                   /* of its node */
};

/* Sorts keys of (partition << 32 | index). AB_USAGE when a partition is there twice. */
AB_MUST_USE ab_err ab_partition_keys_sort(uint64_t *keys, uint32_t count);

/* Indexes of the facts in order of partition, owned by the caller (ab_delete). AB_USAGE when a partition is there
 * twice. */
AB_MUST_USE ab_err ab_partition_facts_order(const struct ab_partition_fact *facts, uint32_t count, uint32_t **order);

#endif
