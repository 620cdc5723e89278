#include "speed/replication.h"

#include "speed/replication_private.h"
#include "common/base/assert.h"
#include "common/base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define FETCH_WAIT_US (500 * AB_US_PER_MS)
#define ANSWER_PATIENCE_US (1500 * AB_US_PER_MS)
#define LAG_US_MAX (6 * AB_US_PER_SECOND)
#define FETCH_BYTES_MAX (1u << 20)
#define READ_AGAIN_US AB_US_PER_SECOND

#ifdef AB_MUTANTS
enum ab_replication_mutant ab_replication_mutant = AB_MUTANT_NONE;
#endif

/* ---- life ---- */

struct ab_replica *ab_replica_create(const struct ab_replica_options *options)
{
    struct ab_replica *replica = ab_new(struct ab_replica);
    replica->options = *options;
    struct ab_replica_options *own = &replica->options;
    own->fetch_wait_us = own->fetch_wait_us > 0 ? own->fetch_wait_us : FETCH_WAIT_US;
    own->answer_patience_us = own->answer_patience_us > 0 ? own->answer_patience_us : ANSWER_PATIENCE_US;
    own->lag_us_max = own->lag_us_max > 0 ? own->lag_us_max : LAG_US_MAX;
    own->fetch_bytes_max = own->fetch_bytes_max > 0 ? own->fetch_bytes_max : FETCH_BYTES_MAX;
    replica->epoch = options->persisted_epoch;
    replica->high_watermark = options->committed;
    replica->committed_told = options->committed;
    if (!AB_MUTATE(REQUESTS_FROM_ONE)) {
        replica->request =
            options->incarnation.low >> 1; /* an answer to an earlier process must not be taken for ours */
    }
    return replica;
}

void ab_replica_destroy(struct ab_replica *replica)
{
    ab_delete(replica);
}

/* ---- what all files use ---- */

struct ab_replica_action *replica_act(struct step *step, enum ab_replica_action_kind kind)
{
    AB_ASSERT(step->actions->count < AB_REPLICA_ACTIONS_MAX);
    struct ab_replica_action *action = &step->actions->list[step->actions->count++];
    *action = (struct ab_replica_action){.kind = kind};
    return action;
}

struct ab_replica_message replica_message(const struct step *step, enum ab_replica_message_kind kind, uint32_t node)
{
    const struct ab_replica *replica = step->replica;
    return (struct ab_replica_message){.kind = kind,
        .partition = replica->options.partition,
        .from = replica->options.node,
        .to = node,
        .from_incarnation = replica->options.incarnation,
        .leader_epoch = replica->epoch};
}

void replica_enter(struct step *step, enum ab_replica_role role)
{
    if (step->replica->role == role) {
        return;
    }
    step->replica->role = role;
    replica_act(step, AB_REPLICA_DO_CHANGE_ROLE)->role = role;
}

void replica_fail(struct step *step, const char *format, ...)
{
    struct ab_replica *replica = step->replica;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(replica->failure, sizeof replica->failure, format, arguments);
    va_end(arguments);
    replica_enter(step, AB_REPLICA_FAILED);
    memcpy(replica_act(step, AB_REPLICA_DO_FAIL)->reason, replica->failure, sizeof replica->failure);
}

void replica_commit(struct step *step, uint64_t offset)
{
    struct ab_replica *replica = step->replica;
    if (offset > replica->high_watermark || AB_MUTATE(MARK_FALLS)) {
        replica->high_watermark = offset;
    }
    if (replica->high_watermark > replica->committed_told || AB_MUTATE(MARK_FALLS)) {
        replica->committed_told = replica->high_watermark;
        replica_act(step, AB_REPLICA_DO_COMMIT)->offset = replica->high_watermark;
    }
}

uint64_t replica_last_epoch(const struct ab_replica_log *log)
{
    return log->epochs_count > 0 ? log->epochs[log->epochs_count - 1].epoch : 0;
}

void replica_epoch_end(const struct ab_replica_log *log, uint64_t epoch, uint64_t *found, uint64_t *end_offset)
{
    *found = 0;
    *end_offset = log->start;
    for (size_t i = 0; i < log->epochs_count && log->epochs[i].epoch <= epoch; i++) {
        *found = log->epochs[i].epoch;
        *end_offset = i + 1 < log->epochs_count ? log->epochs[i + 1].first_offset : log->end;
    }
}

/* ---- epochs and roles ---- */

static bool member_is_self(const struct ab_replica *replica, uint32_t node, struct ab_hash128 incarnation)
{
    return node == replica->options.node && ab_hash128_equal(incarnation, replica->options.incarnation);
}

static bool is_listed(const struct ab_replica_set *state, uint32_t node)
{
    return ab_replica_nodes_has(&state->replicas, node) || ab_replica_nodes_has(&state->learners, node);
}

/* Forgets what belonged to the role before. */
static void role_reset(struct ab_replica *replica)
{
    memset(replica->followers, 0, sizeof replica->followers);
    memset(replica->proposals, 0, sizeof replica->proposals);
    replica->is_waiting = false;
    replica->is_copying = false;
    replica->leader_mark = 0;
    replica->reported = 0;
    replica->epoch_start = UINT64_MAX;
    replica->propose_after_us = 0;
}

/* Takes the role that the state gives to this process in the epoch that is persisted. */
static void role_take(struct step *step)
{
    struct ab_replica *replica = step->replica;
    const struct ab_replica_set *state = &replica->state;
    role_reset(replica);
    bool is_leader = member_is_self(replica, state->leader, state->leader_incarnation);
    if (replica->is_out || state->leader == AB_NODE_NONE || !is_listed(state, replica->options.node)) {
        replica_enter(step, AB_REPLICA_IDLE);
    } else if (is_leader && step->log->durable < replica->options.damaged_until) {
        replica_enter(step, AB_REPLICA_IDLE); /* what it lost may be what it would have to keep: it must not lead */
    } else if (is_leader) {
        leader_begin(step);
    } else if (state->leader == replica->options.node) {
        replica_enter(step, AB_REPLICA_IDLE); /* an earlier process of this node was elected; the next election tells */
    } else {
        follower_begin(step);
    }
}

static uint64_t epoch_seen(const struct ab_replica *replica)
{
    return replica->epoch_wanted > 0 ? replica->epoch_wanted : replica->epoch;
}

void replica_read_state(struct step *step)
{
    step->replica->read_after_us = step->event->now_us + READ_AGAIN_US;
    replica_act(step, AB_REPLICA_DO_READ_STATE)->epoch = epoch_seen(step->replica);
}

static void epoch_persist(struct step *step, uint64_t epoch)
{
    struct ab_replica *replica = step->replica;
    replica->epoch_wanted = epoch;
    role_reset(replica);
    replica_enter(step, AB_REPLICA_IDLE); /* nothing of an older epoch is acknowledged any more */
    replica_act(step, AB_REPLICA_DO_PERSIST_EPOCH)->epoch = epoch;
}

static void on_epoch_persisted(struct step *step)
{
    struct ab_replica *replica = step->replica;
    if (step->event->epoch != replica->epoch_wanted) {
        return; /* a newer one is on its way */
    }
    replica->epoch = replica->epoch_wanted;
    replica->epoch_wanted = 0;
    if (replica->has_state && replica->state.leader_epoch == replica->epoch) {
        role_take(step);
    } else {
        replica_read_state(step);
    }
}

void replica_raise_epoch(struct step *step, uint64_t epoch)
{
    if (epoch > epoch_seen(step->replica)) {
        epoch_persist(step, epoch);
    }
}

/* In the set under its present incarnation it is because the leader saw that it holds everything committed (R5): what
 * it had lost is there again, or was never committed. */
static void damage_forget(struct ab_replica *replica)
{
    const struct ab_replica_set *state = &replica->state;
    uint32_t place = ab_replica_members_find(&state->isr, replica->options.node);
    if (!AB_MUTATE(DAMAGE_STAYS) && place != UINT32_MAX && state->leader != replica->options.node &&
        ab_hash128_equal(state->isr.items[place].incarnation, replica->options.incarnation)) {
        replica->options.damaged_until = 0;
    }
}

/* Within one epoch only the lists of replicas and the in-sync set change. */
static void state_refresh(struct step *step, bool was_listed)
{
    struct ab_replica *replica = step->replica;
    if (replica->epoch_wanted > 0) {
        return;
    }
    bool is_listed_now = is_listed(&replica->state, replica->options.node);
    if (replica_is_leader(replica) && is_listed_now) {
        isr_on_state(step);
        leader_advance(step);
    } else if (was_listed != is_listed_now || replica->role == AB_REPLICA_IDLE) {
        role_take(step);
    }
}

static void on_state(struct step *step)
{
    struct ab_replica *replica = step->replica;
    const struct ab_replica_set *state = step->event->state;
    bool is_newer = !replica->has_state || step->event->version > replica->state_version;
    if (state->leader_epoch < epoch_seen(replica)) {
        if (step->event->is_synced && state->leader_epoch < step->event->epoch) {
            replica_fail(step,
                "the coordination service knows leader epoch %" PRIu64 ", this replica has followed %" PRIu64
                ": it lost what it had acknowledged (H55)",
                state->leader_epoch, step->event->epoch);
        }
        return; /* an old copy of it */
    }
    if (!is_newer) {
        return;
    }
    bool was_listed = replica->has_state && is_listed(&replica->state, replica->options.node);
    replica->state = *state;
    replica->state_version = step->event->version;
    replica->has_state = true;
    damage_forget(replica);
    if (state->leader_epoch > epoch_seen(replica)) {
        epoch_persist(step, state->leader_epoch);
        if (AB_MUTATE(EPOCH_NOT_PERSISTED)) {
            replica->epoch = state->leader_epoch;
            replica->epoch_wanted = 0;
            role_take(step);
        }
    } else {
        state_refresh(step, was_listed);
    }
}

/* ---- the session with the coordination service ---- */

/* This incarnation is done: its registration is gone, or will be before anybody notices. */
static void session_lost(struct step *step)
{
    struct ab_replica *replica = step->replica;
    if (AB_MUTATE(NO_STEP_DOWN) || replica->is_out) {
        return;
    }
    replica->is_out = true;
    role_reset(replica);
    replica_enter(step, AB_REPLICA_IDLE);
}

static void on_session(struct step *step)
{
    struct ab_replica *replica = step->replica;
    bool is_back = step->event->session == AB_REPLICA_CONNECTED &&
                   (replica->timeout_us == 0 || replica->session != AB_REPLICA_CONNECTED);
    replica->session = step->event->session;
    replica->heard_us = step->event->since_us;
    replica->timeout_us = step->event->timeout_us;
    if (replica->session == AB_REPLICA_EXPIRED) {
        session_lost(step);
    } else if (is_back) {
        replica_read_state(step); /* watches may have fired unseen (H53) */
    }
}

/* Nobody else can have been elected because this session ended: it has not, by our clock. */
static int64_t lease_until(const struct ab_replica *replica)
{
    return replica->timeout_us > 0 ? replica->heard_us + replica->timeout_us / 3 * 2 : 0;
}

static bool has_lease(const struct ab_replica *replica, int64_t now_us)
{
    return now_us < lease_until(replica);
}

static void session_tick(struct step *step)
{
    if (step->replica->timeout_us > 0 && !has_lease(step->replica, step->event->now_us)) {
        session_lost(step);
    }
}

/* ---- messages ---- */

static void answer_refuse(struct step *step, const struct ab_replica_message *message, enum ab_replica_status status)
{
    if (message->kind == AB_REPLICA_REPORT) {
        return;
    }
    enum ab_replica_message_kind kind =
        message->kind == AB_REPLICA_FETCH ? AB_REPLICA_FETCHED : AB_REPLICA_EPOCH_ANSWER;
    struct ab_replica_action *action = replica_act(step, AB_REPLICA_DO_SEND);
    action->message = replica_message(step, kind, message->from);
    action->message.request = message->request;
    action->message.status = status;
    action->message.log_start = step->log->start;
}

/* Whoever asks between two epochs asks again soon, and not only when its patience is over: who has just been elected
 * often hears of it from those who follow. The answer is of the asker's own epoch, for it promises nothing. */
static void answer_later(struct step *step, const struct ab_replica_message *message)
{
    size_t before = step->actions->count;
    if (ab_replica_message_is_request(message->kind)) {
        answer_refuse(step, message, AB_REPLICA_NOT_LEADER);
    }
    if (step->actions->count > before) {
        step->actions->list[before].message.leader_epoch = message->leader_epoch;
    }
}

static void on_request(struct step *step, const struct ab_replica_message *message)
{
    struct ab_replica *replica = step->replica;
    if (message->leader_epoch < replica->epoch && !AB_MUTATE(STALE_FETCH)) {
        replica->fenced_count++;
        answer_refuse(step, message, AB_REPLICA_FENCED);
    } else if (!replica_is_leader(replica) || (message->leader_epoch != replica->epoch && !AB_MUTATE(STALE_FETCH))) {
        answer_refuse(step, message, AB_REPLICA_NOT_LEADER);
    } else if (!is_listed(&replica->state, message->from)) {
        answer_refuse(step, message, AB_REPLICA_NOT_LISTED);
    } else {
        leader_on_request(step, message);
    }
}

static void on_message(struct step *step)
{
    struct ab_replica *replica = step->replica;
    const struct ab_replica_message *message = step->event->message;
    if (message->partition != replica->options.partition || message->to != replica->options.node ||
        message->from == replica->options.node) {
        replica->fenced_count++;
        return;
    }
    replica_raise_epoch(step, message->leader_epoch);
    if (replica->epoch_wanted > 0) {
        answer_later(step, message);
        return; /* between two epochs nothing else is said */
    }
    if (ab_replica_message_is_request(message->kind)) {
        on_request(step, message);
    } else {
        follower_on_answer(step, message);
    }
}

/* ---- the step ---- */

static void on_log(struct step *step)
{
    if (replica_is_leader(step->replica)) {
        leader_on_log(step);
    } else {
        follower_on_log(step);
    }
}

static void on_tick(struct step *step)
{
    struct ab_replica *replica = step->replica;
    session_tick(step);
    if (replica_is_leader(replica)) {
        leader_tick(step);
    } else {
        follower_tick(step);
    }
    bool is_behind = !replica->has_state || replica->state.leader_epoch < replica->epoch;
    if (is_behind && replica->epoch_wanted == 0 && step->event->now_us >= replica->read_after_us) {
        replica_read_state(step);
    }
}

/* An incarnation that is gone never comes back: it is enough to know each node's last one. */
static void on_node_gone(struct step *step)
{
    struct ab_replica *replica = step->replica;
    struct ab_replica_member *place = NULL;
    for (size_t i = 0; i < AB_REPLICAS_MAX; i++) {
        bool is_its = replica->gone[i].node == step->event->node;
        bool is_free = replica->gone[i].node == AB_NODE_NONE ||
                       (replica->has_state && !is_listed(&replica->state, replica->gone[i].node));
        place = is_its || (is_free && place == NULL) ? &replica->gone[i] : place;
    }
    if (place != NULL) {
        *place = (struct ab_replica_member){.node = step->event->node, .incarnation = step->event->incarnation};
    }
    if (replica_is_leader(replica)) {
        isr_tend(step);
    }
}

void ab_replica_step(
    struct ab_replica *replica, const struct ab_replica_event *event, struct ab_replica_actions *actions)
{
    actions->count = 0;
    if (replica->role == AB_REPLICA_FAILED) {
        return;
    }
    struct step step = {.replica = replica, .event = event, .log = event->log, .actions = actions};
    switch (event->kind) {
    case AB_REPLICA_TICK:
        on_tick(&step);
        break;
    case AB_REPLICA_STATE_READ:
        on_state(&step);
        break;
    case AB_REPLICA_SESSION_CHANGED:
        on_session(&step);
        break;
    case AB_REPLICA_NODE_GONE:
        on_node_gone(&step);
        break;
    case AB_REPLICA_LOG_CHANGED:
        on_log(&step);
        break;
    case AB_REPLICA_COPY_REFUSED:
        follower_on_copy_refused(&step);
        break;
    case AB_REPLICA_EPOCH_PERSISTED:
        on_epoch_persisted(&step);
        break;
    case AB_REPLICA_PROPOSAL_ENDED:
        isr_on_proposal_ended(&step);
        break;
    case AB_REPLICA_MESSAGE:
        on_message(&step);
        break;
    }
}

/* ---- what others may know ---- */

static bool has_committed_own(const struct ab_replica *replica)
{
    return replica->role == AB_REPLICA_LEADING;
}

bool ab_replica_may_append(const struct ab_replica *replica)
{
    return has_committed_own(replica) && replica->state.isr.count >= replica->state.min_isr;
}

bool ab_replica_may_serve(const struct ab_replica *replica, int64_t now_us)
{
    return has_committed_own(replica) &&
           (has_lease(replica, now_us) || AB_MUTATE(NO_STEP_DOWN) || AB_MUTATE(LEASE_BY_TICK));
}

void ab_replica_look(const struct ab_replica *replica, struct ab_replica_view *view)
{
    *view = (struct ab_replica_view){.role = replica->role,
        .epoch = replica->epoch,
        .high_watermark = replica->high_watermark,
        .state_version = replica->state_version,
        .state = replica->has_state ? &replica->state : NULL,
        .fenced_count = replica->fenced_count,
        .shrinks_count = replica->shrinks_count,
        .expands_count = replica->expands_count,
        .is_out = replica->is_out,
        .damaged_until = replica->options.damaged_until,
        .lease_until_us = lease_until(replica),
        .failure = replica->role == AB_REPLICA_FAILED ? replica->failure : NULL};
}

const char *ab_replica_role_name(enum ab_replica_role role)
{
    switch (role) {
    case AB_REPLICA_IDLE:
        return "idle";
    case AB_REPLICA_TRUNCATING:
        return "truncating";
    case AB_REPLICA_FOLLOWING:
        return "following";
    case AB_REPLICA_INSTALLING:
        return "installing";
    case AB_REPLICA_STARTING:
        return "starting";
    case AB_REPLICA_LEADING:
        return "leading";
    case AB_REPLICA_FAILED:
        return "failed";
    }
    return "unknown";
}
