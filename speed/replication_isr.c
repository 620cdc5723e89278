#include "speed/replication_private.h"

#define PROPOSE_AGAIN_US (200 * AB_US_PER_MS)
#define JOIN_AGAIN_US AB_US_PER_SECOND

/* ---- what should change ---- */

static bool is_gone(const struct ab_replica *replica, uint32_t node, struct ab_hash128 incarnation)
{
    for (size_t i = 0; i < AB_REPLICAS_MAX; i++) {
        const struct ab_replica_member *gone = &replica->gone[i];
        if (gone->node == node && ab_hash128_equal(gone->incarnation, incarnation)) {
            return true;
        }
    }
    return false;
}

/* A member leaves when its process is gone or another one, or when it has not been caught up for too long. */
static bool must_leave(const struct step *step, const struct ab_replica_member *member)
{
    struct ab_replica *replica = step->replica;
    if (member->node == replica->options.node) {
        return false;
    }
    const struct follower *follower = leader_follower(replica, member->node);
    bool is_heard = follower != NULL && follower->is_heard;
    if (is_gone(replica, member->node, member->incarnation) ||
        (is_heard && !ab_hash128_equal(follower->incarnation, member->incarnation))) {
        return true;
    }
    int64_t since = replica->leader_since_us;
    since = is_heard && follower->caught_up_us > since ? follower->caught_up_us : since;
    return step->event->now_us - since > replica->options.lag_us_max;
}

/* It holds everything that any epoch before this one can have committed, for all of that lies before this epoch's first
 * record, and everything that this one has (R5). Waiting until this epoch has committed something, as R5 is worded
 * elsewhere, never ends when the set is below its minimum: nothing is committed before somebody joins. */
static bool may_join(const struct step *step, const struct follower *follower)
{
    const struct ab_replica *replica = step->replica;
    if (follower->node == AB_NODE_NONE || !follower->is_heard || replica->epoch_start == UINT64_MAX ||
        step->event->now_us < follower->join_after_us || is_gone(replica, follower->node, follower->incarnation) ||
        (!ab_replica_nodes_has(&replica->state.replicas, follower->node) && !AB_MUTATE(LEARNER_JOINS)) ||
        ab_replica_members_has(&replica->state.isr, follower->node)) {
        return false;
    }
    /* While nothing is committed, who fell silent still has everything: it would join, leave and join for ever, and
     * hold up each time what is appended meanwhile. */
    bool is_fetching = step->event->now_us - follower->fetched_us <= replica->options.answer_patience_us;
    bool has_all = follower->durable >= replica->high_watermark && follower->durable > replica->epoch_start;
    return (has_all && is_fetching) || AB_MUTATE(EXPAND_BEHIND);
}

/* ---- proposals ---- */

/* Where the next one is kept; when all are open, the first is sent again: one of its sendings may land, no matter
 * which. */
static struct proposal *proposal_place(struct ab_replica *replica)
{
    for (size_t i = 0; i < AB_REPLICA_PROPOSALS_MAX; i++) {
        if (!replica->proposals[i].is_open) {
            return &replica->proposals[i];
        }
    }
    return NULL;
}

static void proposal_send(struct step *step, struct proposal *proposal)
{
    proposal->is_sent = true;
    struct ab_replica_action *action = replica_act(step, AB_REPLICA_DO_PROPOSE);
    action->state = proposal->state;
    action->version = proposal->version;
    action->node = proposal->joining;
}

static void propose(struct step *step, const struct ab_replica_set *state, uint32_t joining)
{
    struct ab_replica *replica = step->replica;
    struct proposal *proposal = proposal_place(replica);
    if (proposal == NULL) {
        proposal_send(step, &replica->proposals[0]);
        return;
    }
    *proposal =
        (struct proposal){.is_open = true, .version = replica->state_version, .state = *state, .joining = joining};
    proposal->state.token = step->event->fresh_token;
    proposal_send(step, proposal);
}

/* The set below its minimum: who left it holds everything committed, for nothing is until it is whole again (KIP-966).
 */
static void elr_keep(struct ab_replica_set *state, const struct ab_replica_member *left)
{
    if (!ab_replica_members_has(&state->elr, left->node)) {
        ab_replica_members_add(&state->elr, *left);
    }
}

static bool propose_shrink(struct step *step)
{
    const struct ab_replica_set *now = &step->replica->state;
    struct ab_replica_set next = *now;
    for (uint32_t i = 0; i < now->isr.count; i++) {
        if (must_leave(step, &now->isr.items[i])) {
            ab_replica_members_remove(&next.isr, now->isr.items[i].node);
        }
    }
    if (next.isr.count == now->isr.count) {
        return false;
    }
    for (uint32_t i = 0; i < now->isr.count && next.isr.count < next.min_isr; i++) {
        if (!ab_replica_members_has(&next.isr, now->isr.items[i].node)) {
            elr_keep(&next, &now->isr.items[i]);
        }
    }
    propose(step, &next, AB_NODE_NONE);
    return true;
}

static void propose_expand(struct step *step)
{
    struct ab_replica *replica = step->replica;
    for (size_t i = 0; i < AB_REPLICAS_MAX; i++) {
        struct follower *follower = &replica->followers[i];
        if (!may_join(step, follower)) {
            continue;
        }
        struct ab_replica_set next = replica->state;
        struct ab_replica_member member = {
            .node = follower->node, .incarnation = follower->incarnation, .disk_id = follower->disk_id};
        ab_replica_members_add(&next.isr, member);
        ab_replica_members_remove(&next.elr, member.node);
        if (next.isr.count >= next.min_isr) {
            next.elr.count = 0; /* in the same write: who is not in the set will lack what it commits (R7) */
        }
        follower->caught_up_us = step->event->now_us; /* its time as a member begins */
        propose(step, &next, member.node);
        return;
    }
}

void isr_tend(struct step *step)
{
    struct ab_replica *replica = step->replica;
    for (size_t i = 0; i < AB_REPLICA_PROPOSALS_MAX; i++) {
        if (replica->proposals[i].is_sent) {
            return; /* one at a time */
        }
    }
    if (replica->session == AB_REPLICA_CONNECTED && step->event->now_us >= replica->propose_after_us &&
        !propose_shrink(step)) {
        propose_expand(step);
    }
}

/* ---- how they end ---- */

/* What is known of a node that is not listed any more is of no use; when it comes back it begins anew. Its place is
 * free for others: an epoch may see more of them come and go than there are places. */
static void followers_prune(struct ab_replica *replica)
{
    for (size_t i = 0; i < AB_REPLICAS_MAX; i++) {
        uint32_t node = replica->followers[i].node;
        if (node != AB_NODE_NONE && !ab_replica_nodes_has(&replica->state.replicas, node) &&
            !ab_replica_nodes_has(&replica->state.learners, node)) {
            replica->followers[i] = (struct follower){0};
        }
    }
}

/* A compare-and-set at an older version can no longer land. */
void isr_on_state(struct step *step)
{
    struct ab_replica *replica = step->replica;
    followers_prune(replica);
    for (size_t i = 0; i < AB_REPLICA_PROPOSALS_MAX; i++) {
        struct proposal *proposal = &replica->proposals[i];
        if (proposal->is_open && proposal->version < replica->state_version) {
            bool is_landed = ab_hash128_equal(proposal->state.token, replica->state.token);
            replica->expands_count += is_landed && proposal->joining != AB_NODE_NONE;
            replica->shrinks_count += is_landed && proposal->joining == AB_NODE_NONE;
            *proposal = (struct proposal){0};
        }
    }
}

static void proposal_refused(struct step *step, struct proposal *proposal)
{
    struct follower *follower = leader_follower(step->replica, proposal->joining);
    if (follower != NULL && proposal->joining != AB_NODE_NONE) {
        follower->join_after_us = step->event->now_us + JOIN_AGAIN_US;
    }
    *proposal = (struct proposal){0};
}

void isr_on_proposal_ended(struct step *step)
{
    struct ab_replica *replica = step->replica;
    const struct ab_replica_event *event = step->event;
    struct proposal *proposal = NULL;
    for (size_t i = 0; i < AB_REPLICA_PROPOSALS_MAX; i++) {
        bool is_it = ab_hash128_equal(replica->proposals[i].state.token, event->token);
        proposal = replica->proposals[i].is_open && is_it ? &replica->proposals[i] : proposal;
    }
    if (proposal == NULL || !replica_is_leader(replica)) {
        return; /* of an epoch that is over, or ended by what was read meanwhile */
    }
    proposal->is_sent = false;
    if (event->outcome == AB_REPLICA_APPLIED) {
        if (event->version > replica->state_version) {
            replica->state = proposal->state;
            replica->state_version = event->version;
        }
        isr_on_state(step);
        leader_advance(step);
        return;
    }
    replica->propose_after_us = event->now_us + PROPOSE_AGAIN_US;
    if (event->outcome == AB_REPLICA_NOT_APPLIED || AB_MUTATE(UNKNOWN_IS_FAILED)) {
        proposal_refused(step, proposal);
        leader_advance(step);
    }
    replica_act(step, AB_REPLICA_DO_READ_STATE)->epoch = replica->epoch;
}
