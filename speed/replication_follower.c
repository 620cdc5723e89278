#include "speed/replication_private.h"

#include <inttypes.h>

#define REPORT_AGAIN_US (100 * AB_US_PER_MS)
#define REFUSED_AGAIN_US (30 * AB_US_PER_MS)

/* ---- asking ---- */

static void ask(struct step *step, struct ab_replica_message message)
{
    struct ab_replica *replica = step->replica;
    message.request = ++replica->request;
    replica->is_waiting = true;
    replica->waiting_until_us = step->event->now_us + replica->options.answer_patience_us;
    replica_act(step, AB_REPLICA_DO_SEND)->message = message;
}

static void ask_epoch(struct step *step)
{
    struct ab_replica_message message = replica_message(step, AB_REPLICA_EPOCH_ASK, step->replica->state.leader);
    message.epoch = replica_last_epoch(step->log);
    message.offset = step->log->end;
    ask(step, message);
}

static uint64_t synced(const struct step *step)
{
    return AB_MUTATE(FOLLOWER_ACK_BEFORE_SYNC) ? step->log->end : step->log->durable;
}

static void ask_records(struct step *step)
{
    struct ab_replica *replica = step->replica;
    struct ab_replica_message message = replica_message(step, AB_REPLICA_FETCH, replica->state.leader);
    message.offset = step->log->end;
    message.chain = step->log->chain;
    message.from_disk_id = replica->options.disk_id;
    message.durable = synced(step);
    message.high_watermark = replica->leader_mark;
    message.bytes_max = replica->options.fetch_bytes_max;
    replica->reported = message.durable;
    replica->report_at_us = step->event->now_us + REPORT_AGAIN_US;
    ask(step, message);
}

/* The leader learns at once what is synced: its own fetch may be held until there is something new. */
static void report(struct step *step)
{
    struct ab_replica *replica = step->replica;
    struct ab_replica_message message = replica_message(step, AB_REPLICA_REPORT, replica->state.leader);
    message.durable = synced(step);
    replica->reported = message.durable;
    replica->report_at_us = step->event->now_us + REPORT_AGAIN_US;
    replica_act(step, AB_REPLICA_DO_SEND)->message = message;
}

/* ---- truncation (R1, R2) ---- */

void follower_begin(struct step *step)
{
    if (AB_MUTATE(NO_TRUNCATION)) {
        replica_enter(step, AB_REPLICA_FOLLOWING);
        ask_records(step);
        return;
    }
    replica_enter(step, AB_REPLICA_TRUNCATING);
    ask_epoch(step);
}

static void follow(struct step *step)
{
    replica_enter(step, AB_REPLICA_FOLLOWING);
    ask_records(step);
}

/* Cuts the log there; what is committed never goes. */
static void truncate_to(struct step *step, uint64_t offset)
{
    const struct ab_replica *replica = step->replica;
    if (offset < replica->high_watermark) {
        replica_fail(step,
            "the leader's history ends at offset %" PRIu64 ", records below %" PRIu64 " are committed: refusing to cut",
            offset, replica->high_watermark);
        return;
    }
    replica_act(step, AB_REPLICA_DO_TRUNCATE)->offset = offset;
}

/* Its state and the start of its log have to come from somebody else: the leader's log starts later than ours ends. */
static void install(struct step *step, uint64_t leader_start)
{
    step->replica->install_start = step->log->start;
    step->replica->install_end = step->log->end;
    step->replica->install_chain = step->log->chain;
    replica_enter(step, AB_REPLICA_INSTALLING);
    struct ab_replica_action *action = replica_act(step, AB_REPLICA_DO_INSTALL);
    action->node = step->replica->state.leader;
    action->offset = leader_start;
}

/* The leader's largest epoch that is not above ours, and where it ends. Until both name the same epoch, our part above
 * is unknown to it and goes, and the next epoch below is asked for (KIP-279). */
static void on_epoch_answer(struct step *step, const struct ab_replica_message *message)
{
    const struct ab_replica_log *log = step->log;
    uint64_t found = 0;
    uint64_t end_offset = 0;
    replica_epoch_end(log, message->epoch, &found, &end_offset);
    bool is_agreed = found == message->epoch;
    uint64_t target = is_agreed && message->offset < end_offset ? message->offset : end_offset;
    bool is_unknown = message->epoch == 0 && message->log_start > 0 && /* its log begins after where we may part */
                      !AB_MUTATE(UNKNOWN_IS_AGREED);
    if (log->end < message->log_start || is_unknown) {
        install(step, message->log_start);
        return;
    }
    if (message->epoch == 0) { /* it holds all of its history, and nothing of our epochs */
        is_agreed = true;
        target = message->log_start;
    }
    if (AB_MUTATE(TRUNCATE_ONCE) && message->epoch > 0) {
        is_agreed = true;
        target = message->offset < log->end ? message->offset : log->end;
    }
    if (AB_MUTATE(TRUNCATE_TO_MARK)) {
        uint64_t mark = step->replica->high_watermark;
        is_agreed = true;
        target = mark < log->end ? (mark > log->start ? mark : log->start) : log->end;
    }
    if (target < log->end) {
        truncate_to(step, target);
    } else if (is_agreed) {
        follow(step);
    } else {
        ask_epoch(step);
    }
}

/* ---- what the leader says ---- */

/* The leader knows which records are committed; here those of them are that are synced. */
static void take_mark(struct step *step, uint64_t mark)
{
    struct ab_replica *replica = step->replica;
    if (mark > replica->leader_mark || AB_MUTATE(MARK_FALLS)) {
        replica->leader_mark = mark;
    }
    uint64_t here = replica->leader_mark < step->log->durable ? replica->leader_mark : step->log->durable;
    replica_commit(step, here);
}

static void on_fetched(struct step *step, const struct ab_replica_message *message)
{
    struct ab_replica *replica = step->replica;
    if (message->offset != step->log->end) {
        ask_records(step); /* the log moved on meanwhile */
        return;
    }
    if (message->records.bytes > 0) {
        replica->is_copying = true;
        replica->copy_offset = message->offset;
        replica->leader_mark =
            message->high_watermark > replica->leader_mark ? message->high_watermark : replica->leader_mark;
        replica_act(step, AB_REPLICA_DO_COPY)->message = *message;
        return;
    }
    take_mark(step, message->high_watermark);
    ask_records(step);
}

static void on_refusal(struct step *step, const struct ab_replica_message *message)
{
    struct ab_replica *replica = step->replica;
    switch (message->status) {
    case AB_REPLICA_OK:
        break;
    case AB_REPLICA_OUT_OF_RANGE:
        install(step, message->log_start);
        break;
    case AB_REPLICA_DIVERGED:
        replica_fail(step, "the leader's record before offset %" PRIu64 " is another one than ours, in one epoch (H60)",
            step->log->end);
        break;
    case AB_REPLICA_FENCED: /* by an epoch that is not newer than ours: nothing is lost by asking again */
    case AB_REPLICA_NOT_LEADER:
    case AB_REPLICA_NOT_LISTED:
        replica->is_waiting = true; /* asks again soon: it may just not have heard of its election */
        replica->waiting_until_us = step->event->now_us + REFUSED_AGAIN_US;
        break;
    }
}

void follower_on_answer(struct step *step, const struct ab_replica_message *message)
{
    struct ab_replica *replica = step->replica;
    bool is_expected = message->leader_epoch == replica->epoch && replica->is_waiting &&
                       message->request == replica->request && message->from == replica->state.leader &&
                       ab_hash128_equal(message->from_incarnation, replica->state.leader_incarnation);
    bool is_asking = (replica->role == AB_REPLICA_TRUNCATING && message->kind == AB_REPLICA_EPOCH_ANSWER) ||
                     (replica->role == AB_REPLICA_FOLLOWING && message->kind == AB_REPLICA_FETCHED);
    if (!is_asking || (!is_expected && !AB_MUTATE(STALE_ANSWER))) {
        replica->fenced_count++;
        return;
    }
    replica->is_waiting = false;
    if (message->status != AB_REPLICA_OK) {
        on_refusal(step, message);
    } else if (message->kind == AB_REPLICA_EPOCH_ANSWER) {
        on_epoch_answer(step, message);
    } else {
        on_fetched(step, message);
    }
}

/* ---- what the log says ---- */

static bool is_begun_anew(const struct step *step)
{
    const struct ab_replica *replica = step->replica;
    return step->log->start != replica->install_start || step->log->end != replica->install_end ||
           !ab_hash128_equal(step->log->chain, replica->install_chain);
}

/* What was installed was committed. The records that it is of were acknowledged by others, perhaps by this node on a
 * disk that is lost, and those that were committed here before are not in the log that begins anew either: until all of
 * them are here it must not lead. So the tables of a leader that knows less of what is committed do as well, and it
 * need not commit anything first: it may not be able to before this replica is in sync. */
static void on_installed(struct step *step)
{
    struct ab_replica *replica = step->replica;
    uint64_t until =
        step->log->installed_until > replica->high_watermark ? step->log->installed_until : replica->high_watermark;
    if (until > step->log->durable && until > replica->options.damaged_until) {
        replica->options.damaged_until = until;
    }
    replica_commit(step, step->log->start);
    follower_begin(step);
}

void follower_on_log(struct step *step)
{
    struct ab_replica *replica = step->replica;
    switch (replica->role) {
    case AB_REPLICA_TRUNCATING: /* cut: does what is left agree? */
        if (!replica->is_waiting) {
            ask_epoch(step);
        }
        break;
    case AB_REPLICA_INSTALLING:
        if (is_begun_anew(step)) {
            on_installed(step);
        }
        break;
    case AB_REPLICA_FOLLOWING:
        take_mark(step, replica->leader_mark);
        if (replica->is_copying && step->log->end > replica->copy_offset) {
            replica->is_copying = false;
            ask_records(step);
        } else if (synced(step) > replica->reported) {
            report(step);
        }
        break;
    case AB_REPLICA_IDLE:
    case AB_REPLICA_STARTING:
    case AB_REPLICA_LEADING:
    case AB_REPLICA_FAILED:
        break;
    }
}

void follower_on_copy_refused(struct step *step)
{
    struct ab_replica *replica = step->replica;
    if (replica->role == AB_REPLICA_FOLLOWING && replica->is_copying) {
        replica->is_copying = false;
        ask_records(step);
    }
}

/* ---- time ---- */

void follower_tick(struct step *step)
{
    struct ab_replica *replica = step->replica;
    int64_t now = step->event->now_us;
    if (replica->is_waiting && now >= replica->waiting_until_us) {
        if (replica->role == AB_REPLICA_TRUNCATING) {
            ask_epoch(step);
        } else if (replica->role == AB_REPLICA_FOLLOWING) {
            ask_records(step);
        }
        if (now >= replica->read_after_us) {
            replica_read_state(step); /* perhaps somebody else leads */
        }
    } else if (replica->role == AB_REPLICA_FOLLOWING && now >= replica->report_at_us &&
               replica->leader_mark < step->log->durable) {
        report(step); /* the last one may be lost, and the leader holds our fetch */
    }
}
