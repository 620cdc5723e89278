/* reassign: from the assignment that is to the one that is wanted, one permissible step per partition at a time (H15).
 * A pure core, level-triggered: targets and states in, changes out. It keeps nothing: a controller that takes over goes
 * on where the states are, and a target that is replaced by another (the former assignment: a cancellation) is walked
 * to from there.
 *
 *     add learner ──▶ it catches up ──▶ promote: a replica ──▶ its leader takes it into the ISR (R5, R9)
 *                                                                     │
 *     done ◀── order ◀── next surplus ◀── remove the surplus replica ◀┴─ move the leader, where it is the surplus one
 *
 * Only the assignment is written here (and the leader moved): who is in sync, its leader alone knows. That a learner
 * has caught up is a report of the leader of the present epoch, and a hint: promoted too early it is a replica that
 * lags, which harms nobody.
 *
 * What never happens on the way:
 *  1. A partition has at most one replica more than the larger of its former and its wanted number: replicas are
 *     exchanged one by one, the new one first.
 *  2. A replica goes only if min_isr live in-sync members remain, and only when every live replica of the target is in
 *     sync: what was acknowledged keeps min_isr live copies. A removed member leaves the ISR in the same write, and who
 *     remains is checked to live in it (R9). Its leader may still wait for it (R4): that only makes it slower.
 *  3. The leader is never removed; it is moved first, to a live in-sync member of the target.
 *  4. No step without a live leader: electing comes first (election.h).
 *
 * Throttle: a learner is added only while fewer than copies_max partitions are copying: have a live learner, or a live
 * replica of the target that is not in sync. A learner that is not live holds up nobody else.
 */
#ifndef ANABRANCH_CLUSTER_REASSIGN_H
#define ANABRANCH_CLUSTER_REASSIGN_H

#include "cluster/live_set.h"
#include "cluster/partition_plan.h"

/* A leader's report: this learner holds everything up to my high watermark. */
struct ab_caught_up {
    uint32_t partition;
    uint32_t node;
    uint64_t leader_epoch; /* whose: others are ignored */
};

/* Everything is borrowed during the call; the order of lists does not matter. */
struct ab_reassign_input {
    const struct ab_live_node *live;
    uint32_t live_count;
    const struct ab_partition_fact *partitions; /* distinct; those without a target are left alone */
    uint32_t partitions_count;
    const struct ab_replica_target *targets; /* at most one for each partition */
    uint32_t targets_count;
    const struct ab_caught_up *caught_up;
    uint32_t caught_up_count;
    uint32_t copies_max;
};

/* Plans the next step of every partition that can take one, and says for the others what they wait for. AB_USAGE: a
 * partition or a target twice. */
AB_MUST_USE ab_err ab_reassign_plan(const struct ab_reassign_input *input, struct ab_partition_plan *plan);

/* True when the partition is where the target wants it, and every live replica is in sync: the target may be deleted.
 */
bool ab_reassign_is_done(
    const struct ab_live_set *live, const struct ab_replica_set *state, const struct ab_replica_target *target);

/* May this node be removed (H16)? AB_UNAVAILABLE, with a reason in `plan` for each partition that would have fewer than
 * min_isr live in-sync members without it. Where there are no more replicas than min_isr the others cannot be enough:
 * there it is enough that all are in sync, this one too, since its successor comes before it goes (rule 2). */
AB_MUST_USE ab_err ab_reassign_may_remove(const struct ab_live_set *live, const struct ab_partition_fact *partitions,
    uint32_t partitions_count, uint32_t node, struct ab_partition_plan *plan, struct ab_error *error);

/* May this node be replaced as lost? AB_USAGE when it is live (remove it), AB_UNAVAILABLE, with a reason in `plan` for
 * each of its partitions that nobody else can lead: those have to wait for it, or a person accepts the loss. */
AB_MUST_USE ab_err ab_reassign_may_replace(const struct ab_live_set *live, const struct ab_partition_fact *partitions,
    uint32_t partitions_count, uint32_t node, struct ab_partition_plan *plan, struct ab_error *error);

#endif
