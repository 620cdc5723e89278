/* election: who leads a partition whose leader is gone. A pure core, level-triggered: facts in, changes out; it is
 * asked again whenever facts have changed, and says nothing when nothing is to be done. No clock, no session, no
 * random.
 *
 * What is safe, and why (R- and H-numbers are REPLICATION's):
 *  1. Candidates are ISR members, else ELR members (R7); learners and other replicas never. An ISR member has every
 *     committed record, since a record commits only when the whole maximal ISR has synced it (R3, R4). An ELR member
 * had every committed record when it left the ISR, and nothing commits while |ISR| < min_isr, which is as long as an
 * ELR exists (R3, R7, KIP-966).
 *  2. A candidate is live and undamaged (H2, H9). A member that restarted on the same disk is one too, under its new
 *     incarnation (cluster/live_set.h): what it acknowledged was synced. Another disk never is (R10, F17). Those who
 * did not restart come first: they may hold records beyond the committed ones, which would have to be sent again.
 *  3. Every change of leader raises leader_epoch by one, a change to none too: an epoch has at most one leader, for all
 *     time (S6), and whoever has heard of the new epoch acknowledges nothing for the old leader any more (R1).
 *  4. With a new leader, ISR members that are gone leave the ISR in the same write. That loses nothing: a zombie's
 *     maximal ISR still holds the new leader, who left its epoch, so it commits nothing more (end of section 3). The
 *     alternative, leaving that to the leader, costs a second write before it can commit anything. While |ISR| stays
 *     below min_isr those who left are kept in the ELR, with the old one; else the ELR is emptied in the same write
 * (R7).
 *  5. A damaged member leaves ISR and ELR: it does not hold what the ISR promises (KIP-966, unclean shutdown).
 *  6. A leader out of the ELR makes the ISR {leader}; the former ISR is kept in the ELR: it had everything, too.
 *  7. While the leader lives the controller removes nobody from the ISR and adds nobody: only the leader knows who
 *     follows it (R4, R5). When nobody can be elected nothing but leader and epoch changes: the ISR goes on naming
 * those whose return makes the partition whole. The ISR is never empty.
 *  8. Every member of an ISR that is written here is live by our facts, and is checked to be so in the same multi (R9):
 *     a process that died meanwhile makes the write fail, not the log (H6, F33).
 *
 * A partition that was given a leader elections_max times within window_ticks is left alone until the window has passed
 * (H59: a record that kills whoever applies it must not take down node after node without end). A record of zeros lets
 * it be elected at once.
 *
 * Limits: one pass sorts the live nodes and looks at each partition once; 16384 partitions take milliseconds.
 */
#ifndef ANABRANCH_CLUSTER_ELECTION_H
#define ANABRANCH_CLUSTER_ELECTION_H

#include "cluster/live_set.h"
#include "cluster/partition_plan.h"

#define AB_ELECTION_RECORD_MAX 16u

/* When a partition was given leaders automatically, as the controller remembers it. Zeroed memory: never. */
struct ab_election_record {
    uint64_t ticks[AB_ELECTION_RECORD_MAX]; /* a ring */
    uint64_t count;                         /* ever */
};

/* An AB_CHANGE_ELECT of the partition was committed, or may have been, at this tick. */
void ab_election_record_note(struct ab_election_record *record, uint64_t tick);

/* A new leader elections_max times within the last window_ticks. elections_max 0 = never too often. */
struct ab_election_breaker {
    uint32_t elections_max; /* <= AB_ELECTION_RECORD_MAX (asserted) */
    uint64_t window_ticks;
    uint64_t tick; /* now */
};
bool ab_election_is_too_often(const struct ab_election_record *record, const struct ab_election_breaker *breaker);

/* All facts. Everything is borrowed during the call; the order of lists does not matter. */
struct ab_election_input {
    const struct ab_live_node *live;
    uint32_t live_count;
    const struct ab_partition_fact *partitions; /* distinct */
    const struct ab_election_record *records;   /* one for each of `partitions`; NULL = none are kept */
    uint32_t partitions_count;
    struct ab_election_breaker breaker;
};

/* Plans a leader for every partition that needs one, into an empty plan with room. AB_USAGE: a partition twice. */
AB_MUST_USE ab_err ab_election_plan(const struct ab_election_input *input, struct ab_partition_plan *plan);

/* Plans moves to preferred leaders: to the first replica that is a live ISR member, where another leads. Partitions
 * that are being reassigned, or have fewer than min_isr live ISR members, are not disturbed. As many as the plan has
 * room. */
AB_MUST_USE ab_err ab_election_rebalance(const struct ab_election_input *input, struct ab_partition_plan *plan);

/* Moves the leadership of a partition with a live leader to a live member of its ISR. AB_USAGE with the reason when the
 * node is not one or leads already, AB_UNAVAILABLE when the partition has no live leader. */
AB_MUST_USE ab_err ab_election_move(const struct ab_live_set *live, const struct ab_partition_fact *partition,
    uint32_t node, struct ab_partition_change *change, struct ab_error *error);

/* Makes a live, undamaged replica the leader although committed records may be lost (H17): the ISR is this replica as
 * it is now, the ELR is empty, history_id rises. Only when a person says so. AB_EXISTS when somebody can be elected
 * without a loss, AB_USAGE when the node is no such replica; with the reason. */
AB_MUST_USE ab_err ab_election_force(const struct ab_live_set *live, const struct ab_partition_fact *partition,
    uint32_t node, struct ab_partition_change *change, struct ab_error *error);

#endif
