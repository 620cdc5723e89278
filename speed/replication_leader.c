#include "speed/replication_private.h"

#include <inttypes.h>

/* ---- beginning ---- */

void leader_begin(struct step *step)
{
    struct ab_replica *replica = step->replica;
    if (replica_last_epoch(step->log) >= replica->epoch) {
        replica_fail(step, "elected for leader epoch %" PRIu64 ", but the log holds records of epoch %" PRIu64,
            replica->epoch, replica_last_epoch(step->log));
        return;
    }
    replica->leader_since_us = step->event->now_us;
    if (step->log->end < replica->high_watermark) {
        replica_fail(step,
            "elected as leader, but records below %" PRIu64 " are committed and the log ends at %" PRIu64,
            replica->high_watermark, step->log->end);
        return;
    }
    replica_enter(step, AB_REPLICA_STARTING);
    replica_act(step, AB_REPLICA_DO_START_EPOCH)->epoch = replica->epoch;
    if (AB_MUTATE(NO_EPOCH_START)) {
        replica->epoch_start = step->log->end;
        replica_enter(step, AB_REPLICA_LEADING);
    }
}

static uint64_t own_synced(const struct step *step)
{
    return AB_MUTATE(ACK_BEFORE_SYNC) ? step->log->end : step->log->durable;
}

/* ---- the high watermark (R3, R4) ---- */

struct follower *leader_follower(struct ab_replica *replica, uint32_t node)
{
    for (size_t i = 0; i < AB_REPLICAS_MAX; i++) {
        if (replica->followers[i].node == node) {
            return &replica->followers[i];
        }
    }
    return NULL;
}

/* What a member has synced of this epoch's history; 0 when that is not known, which holds everything back. */
static uint64_t member_synced(const struct step *step, const struct ab_replica_member *member)
{
    struct ab_replica *replica = step->replica;
    if (member->node == replica->options.node) {
        return own_synced(step);
    }
    const struct follower *follower = leader_follower(replica, member->node);
    bool is_same = follower != NULL && ab_hash128_equal(follower->incarnation, member->incarnation);
    return is_same && follower->is_heard ? follower->durable : 0;
}

static uint64_t members_synced(const struct step *step, const struct ab_replica_members *members, uint64_t least)
{
    for (uint32_t i = 0; i < members->count; i++) {
        uint64_t offset = member_synced(step, &members->items[i]);
        least = offset < least ? offset : least;
    }
    return least;
}

/* The least synced offset of the maximal in-sync set. */
static uint64_t least_synced(const struct step *step)
{
    const struct ab_replica *replica = step->replica;
    uint64_t least = own_synced(step);
    if (!AB_MUTATE(SHRINK_AT_ONCE) || !replica->proposals[0].is_open) {
        least = members_synced(step, &replica->state.isr, least);
    }
    for (size_t i = 0; i < AB_REPLICA_PROPOSALS_MAX && !AB_MUTATE(EXPAND_LATE); i++) {
        if (replica->proposals[i].is_open) {
            least = members_synced(step, &replica->proposals[i].state.isr, least);
        }
    }
    return least;
}

static bool has_minimum(const struct ab_replica *replica)
{
    return replica->state.isr.count >= replica->state.min_isr || AB_MUTATE(NO_MINIMUM);
}

/* Answers a fetch that is held. */
static void answer_parked(struct step *step, struct follower *follower)
{
    struct ab_replica_action *action = replica_act(step, AB_REPLICA_DO_ANSWER_FETCH);
    action->message = replica_message(step, AB_REPLICA_FETCHED, follower->node);
    action->message.request = follower->parked_request;
    action->message.offset = follower->parked_offset;
    action->message.bytes_max = follower->parked_bytes_max;
    action->message.high_watermark = step->replica->high_watermark;
    action->message.log_start = step->log->start;
    follower->has_parked = false;
}

static void answer_due(struct step *step)
{
    const struct ab_replica *replica = step->replica;
    for (size_t i = 0; i < AB_REPLICAS_MAX; i++) {
        struct follower *follower = &step->replica->followers[i];
        bool has_news = follower->parked_offset < step->log->end || follower->parked_mark < replica->high_watermark;
        if (follower->has_parked && (has_news || step->event->now_us >= follower->parked_until_us)) {
            answer_parked(step, follower);
        }
    }
}

void leader_advance(struct step *step)
{
    struct ab_replica *replica = step->replica;
    uint64_t least = least_synced(step);
    if (has_minimum(replica) && replica->epoch_start != UINT64_MAX &&
        (least > replica->epoch_start || AB_MUTATE(NO_EPOCH_START))) {
        replica_commit(step, least);
        if (replica->role == AB_REPLICA_STARTING) {
            replica_enter(step, AB_REPLICA_LEADING);
        }
    }
    answer_due(step);
}

/* ---- events ---- */

void leader_on_log(struct step *step)
{
    struct ab_replica *replica = step->replica;
    const struct ab_replica_log *log = step->log;
    if (replica->epoch_start == UINT64_MAX && replica_last_epoch(log) == replica->epoch) {
        replica->epoch_start = log->epochs[log->epochs_count - 1].first_offset;
    }
    leader_advance(step);
}

void leader_tick(struct step *step)
{
    isr_tend(step);
    leader_advance(step);
}

/* The entry of who asks, new or begun anew when its process is another one; NULL when all are taken. */
static struct follower *follower_of(struct step *step, const struct ab_replica_message *message)
{
    struct ab_replica *replica = step->replica;
    struct follower *follower = leader_follower(replica, message->from);
    follower = follower == NULL ? leader_follower(replica, AB_NODE_NONE) : follower;
    if (follower == NULL) {
        return NULL;
    }
    bool is_same =
        follower->node == message->from && ab_hash128_equal(follower->incarnation, message->from_incarnation);
    if (!is_same && AB_MUTATE(OLD_INCARNATION) && follower->node == message->from) {
        follower->incarnation = message->from_incarnation;
    } else if (!is_same) {
        *follower = (struct follower){.node = message->from, .incarnation = message->from_incarnation};
    }
    return follower;
}

static void on_epoch_ask(struct step *step, const struct ab_replica_message *message)
{
    struct ab_replica_action *action = replica_act(step, AB_REPLICA_DO_SEND);
    action->message = replica_message(step, AB_REPLICA_EPOCH_ANSWER, message->from);
    action->message.request = message->request;
    action->message.log_start = step->log->start;
    replica_epoch_end(step->log, message->epoch, &action->message.epoch, &action->message.offset);
}

static void fetch_refuse(struct step *step, const struct ab_replica_message *message, enum ab_replica_status status)
{
    struct ab_replica_action *action = replica_act(step, AB_REPLICA_DO_SEND);
    action->message = replica_message(step, AB_REPLICA_FETCHED, message->from);
    action->message.request = message->request;
    action->message.status = status;
    action->message.log_start = step->log->start;
}

/* It had everything that there was when it fetched before: it was caught up then (KIP-16's measure, in time). */
static void note_progress(struct step *step, struct follower *follower, uint64_t durable)
{
    int64_t now = step->event->now_us;
    follower->durable = durable > follower->durable ? durable : follower->durable;
    if (follower->durable >= step->log->end) {
        follower->caught_up_us = now;
    } else if (follower->durable >= follower->end_at_fetch && follower->fetched_us > follower->caught_up_us) {
        follower->caught_up_us = follower->fetched_us;
    }
}

static void on_fetch(struct step *step, const struct ab_replica_message *message)
{
    struct ab_replica *replica = step->replica;
    if (message->offset < step->log->start) {
        fetch_refuse(step, message, AB_REPLICA_OUT_OF_RANGE);
        return;
    }
    if (message->offset > step->log->end || step->event->check != AB_REPLICA_SAME) {
        fetch_refuse(step, message, AB_REPLICA_DIVERGED);
        return;
    }
    struct follower *follower = follower_of(step, message);
    if (follower == NULL) {
        fetch_refuse(step, message, AB_REPLICA_NOT_LEADER); /* an entry is free again when the list shrinks */
        return;
    }
    uint64_t durable = message->durable < message->offset ? message->durable : message->offset;
    note_progress(step, follower, durable);
    follower->disk_id = message->from_disk_id;
    follower->is_heard = true;
    follower->end_at_fetch = step->log->end;
    follower->fetched_us = step->event->now_us;
    follower->has_parked = true;
    follower->parked_request = message->request;
    follower->parked_offset = message->offset;
    follower->parked_mark = message->high_watermark;
    follower->parked_bytes_max = message->bytes_max;
    follower->parked_until_us = step->event->now_us + replica->options.fetch_wait_us;
    isr_tend(step);
    leader_advance(step);
}

/* Only of somebody whose history was seen to agree up to there, in this epoch. */
static void on_report(struct step *step, const struct ab_replica_message *message)
{
    struct follower *follower = leader_follower(step->replica, message->from);
    if (follower == NULL || !follower->is_heard || message->durable > step->log->end ||
        !ab_hash128_equal(follower->incarnation, message->from_incarnation)) {
        return;
    }
    note_progress(step, follower, message->durable);
    isr_tend(step);
    leader_advance(step);
}

void leader_on_request(struct step *step, const struct ab_replica_message *message)
{
    switch (message->kind) {
    case AB_REPLICA_EPOCH_ASK:
        on_epoch_ask(step, message);
        break;
    case AB_REPLICA_FETCH:
        on_fetch(step, message);
        break;
    case AB_REPLICA_REPORT:
        on_report(step, message);
        break;
    case AB_REPLICA_EPOCH_ANSWER:
    case AB_REPLICA_FETCHED:
    case AB_REPLICA_INSTALL_ASK: /* the shell's: what it sends is no record */
    case AB_REPLICA_INSTALL_PART:
        break;
    }
}
