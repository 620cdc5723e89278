/* partition_change: commits one change of a partition's state that a pure core planned (cluster/partition_plan.h).
 *
 * It is one multi: the check of who acts (acting.h), that every member that is relied on is still live (REPLICATION
 * R9), and the state at the version that it follows from. After an unknown outcome the state is read again and its
 * token compared (H52).
 *
 * Threads: any; values. Memory: none.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_PARTITION_CHANGE_H
#define ANABRANCH_CLUSTER_CONTROLLER_PARTITION_CHANGE_H

#include "cluster/controller/facts.h"
#include "cluster/partition_plan.h"

/* Commits it, with a fresh token. AB_CONFLICT, AB_NOT_FOUND: facts have changed; AB_STALE: another controller acts by
 * now; other errors are of the coordination service. */
AB_MUST_USE ab_err ab_partition_change_commit(struct ab_partition_change *change, const struct ab_facts *facts,
    struct ab_coordination *coordination, uint64_t epoch_version, struct ab_error *error);

/* Logs one that was committed. */
void ab_partition_change_say(const struct ab_partition_change *change);

#endif
