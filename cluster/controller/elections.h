/* elections: commits what cluster/election.h plans, one multi a partition, and says what could not be done.
 *
 * Each multi checks who acts (acting.h), that every member that is relied on is still live (REPLICATION R9), and the
 * version of the state it follows from. What fails is planned again from newer facts. After an unknown outcome the
 * state is read again and its token compared (H52). Why a partition has no leader is logged once for as long as the
 * reason stays the same.
 *
 * A partition that was given AB_ELECTIONS_MAX leaders within AB_ELECTIONS_WINDOW_MS is left alone until the window has
 * passed (H59). That is remembered by this object alone: the next controller begins to count anew.
 *
 * Threads: owner. Memory: a few hundred bytes a partition.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_ELECTIONS_H
#define ANABRANCH_CLUSTER_CONTROLLER_ELECTIONS_H

#include "cluster/controller/facts.h"
#include "cluster/election.h"

#define AB_ELECTIONS_MAX 8u
#define AB_ELECTIONS_WINDOW_MS 60000u
#define AB_ELECTIONS_CHANGES_MAX 256u /* committed between two looks at the facts */

struct ab_elections;

/* For so many partitions. */
struct ab_elections *ab_elections_create(uint32_t partitions_count);
void ab_elections_destroy(struct ab_elections *elections);

/* Forgets how often partitions changed hands and what was said of them: for one who begins to act. */
void ab_elections_reset(struct ab_elections *elections);

/* What came of one round. */
struct ab_elections_result {
    uint32_t committed;
    uint32_t left;     /* conflicts, unknown outcomes and more than one round does: look again at once */
    uint32_t unserved; /* partitions that nobody can lead now */
};

/* Plans from the facts, all of which were read before, and commits. `now_ms` is monotonic. AB_STALE: another controller
 * acts by now; other errors are of the coordination service. *result is filled in any case. */
AB_MUST_USE ab_err ab_elections_round(struct ab_elections *elections, const struct ab_facts *facts,
    struct ab_coordination *coordination, uint64_t epoch_version, uint64_t now_ms, struct ab_elections_result *result,
    struct ab_error *error);

#endif
