/* reassigning: takes the steps of the stored reassignment (cluster/reassignment.h), one round at a time.
 *
 * Level triggered: a round reads what is stored, plans from the facts at hand (cluster/reassign.h) and commits each
 * step as one multi with the fence (partition_change.h). Nothing is remembered that a crash would lose, so whoever acts
 * next goes on where the partitions are. When all have arrived, what is stored is deleted.
 *
 * Who has caught up is not known to the coordination service: catch_up.h asks speed, and what it learned is given to
 * the round as a hint.
 *
 * Threads: owner. Memory: a copy of the reassignment, and what its partitions wait for.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_REASSIGNING_H
#define ANABRANCH_CLUSTER_CONTROLLER_REASSIGNING_H

#include "cluster/controller/facts.h"
#include "cluster/reassign.h"
#include "cluster/reassignment.h"

#define AB_REASSIGNING_COPIES_MAX 4u    /* partitions that are copied at once */
#define AB_REASSIGNING_CHANGES_MAX 256u /* committed between two looks at the facts */

/* A learner whose progress somebody should ask for. */
struct ab_learner {
    uint32_t partition;
    uint32_t node;
    uint32_t leader;
    uint64_t leader_epoch;
};

struct ab_reassigning;

/* For so many partitions; destroy(NULL) is legal. */
struct ab_reassigning *ab_reassigning_create(uint32_t partitions_count);
void ab_reassigning_destroy(struct ab_reassigning *reassigning);

/* Reads what is stored; *version is that of its node. AB_NOT_FOUND: none is. The caller calls fini on what it got. */
AB_MUST_USE ab_err ab_reassigning_read(struct ab_coordination *coordination, struct ab_reassignment *reassignment,
    uint64_t *version, struct ab_error *error);

/* What came of one round. */
struct ab_reassigning_result {
    uint32_t committed;
    uint32_t left; /* conflicts, unknown outcomes and more than one round does: look again at once */
};

/* One round. What is stored but cannot be understood is said once and left alone. AB_STALE: another controller acts by
 * now; other errors are of the coordination service. *result is filled in any case. */
AB_MUST_USE ab_err ab_reassigning_round(struct ab_reassigning *reassigning, const struct ab_facts *facts,
    const struct ab_caught_up *caught_up, uint32_t caught_up_count, struct ab_coordination *coordination,
    uint64_t epoch_version, struct ab_reassigning_result *result, struct ab_error *error);

/* Learners of the last round; borrowed until the next one. */
const struct ab_learner *ab_reassigning_learners(const struct ab_reassigning *reassigning, uint32_t *count);

#endif
