#include "speed/replicator.h"

#include "speed/install.h"
#include "speed/partition_install.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/random.h"
#include "common/log/log.h"

#include <inttypes.h>
#include <stdlib.h>

#define EPOCH_BYTES 20u
#define TICK_US (25 * AB_US_PER_MS)
#define PIECES_MAX 32u /* groups in one answer */

/* The last request of another replica, to be answered when there is something to say. */
struct held {
    uint32_t node;                /* 0 = free */
    uint64_t number;              /* its request */
    struct ab_request *request;   /* owned */
    struct ab_log_reader *reader; /* owned; stands at reader_offset; NULL = none */
    uint64_t reader_offset;
};

struct ab_replicator {
    struct ab_replicator_options options; /* directory owned */
    struct ab_partition *partition;       /* borrowed */
    struct ab_replica *replica;           /* owned */
    char *epoch_path;                     /* owned */
    struct ab_waiting *waiting;           /* borrowed; oldest first */
    struct ab_waiting **waiting_end;
    struct held held[AB_REPLICAS_MAX];
    uint64_t hold_offset; /* blocks wait until records below it are applied; 0 = they do not */
    uint64_t persisted;   /* an epoch that was written in this step, 0 = none */
    bool is_log_changed;  /* in this step */
    bool is_copy_refused; /* told at the next tick: not in a loop */
    bool is_leader;       /* as of the last change of role */
    int64_t tick_due_us;
    struct ab_install install;       /* of this replica, from its leader */
    struct ab_install_source source; /* for others */
    struct ab_arena scratch;
    struct ab_buffer bytes; /* an answer's records */
    struct ab_buffer payload;
    atomic_bool is_damaged;             /* as below, for other threads */
    atomic_int_fast64_t serve_until_us; /* monotonic: the newest state may be read here until then */
    struct ab_replica_actions actions;
};

/* ---- the persisted epoch ---- */

static ab_err epoch_read(const char *path, uint64_t *epoch, struct ab_error *error)
{
    struct ab_buffer bytes = {0};
    *epoch = 0;
    if (!ab_file_exists(path)) {
        return AB_OK;
    }
    ab_err err = ab_file_read_all(path, &bytes, error);
    if (err == AB_OK) {
        struct ab_reader reader = ab_reader_of(ab_buffer_view(&bytes));
        struct ab_bytes magic = ab_reader_bytes(&reader, 4);
        uint64_t read = ab_reader_u64(&reader);
        uint64_t hash = ab_reader_u64(&reader);
        bool is_whole = ab_reader_finish(&reader) == AB_OK && memcmp(magic.data, "ABE1", 4) == 0 &&
                        hash == ab_hash64(AB_HASH_RECORD, ab_bytes_of(bytes.data, EPOCH_BYTES - 8));
        err = is_whole ? AB_OK : ab_error_set(error, AB_CORRUPT, "%s is not a leader epoch", path);
        *epoch = is_whole ? read : 0;
    }
    ab_buffer_fini(&bytes);
    return err;
}

static void epoch_write(struct ab_replicator *replicator, uint64_t epoch)
{
    struct ab_error error = {0};
    struct ab_buffer bytes = {0};
    ab_buffer_put(&bytes, "ABE1", 4);
    ab_buffer_put_u64(&bytes, epoch);
    ab_buffer_put_u64(&bytes, ab_hash64(AB_HASH_RECORD, ab_buffer_view(&bytes)));
    if (ab_file_replace(replicator->epoch_path, ab_buffer_view(&bytes), 0600, &error) != AB_OK) {
        ab_error_log("leader epoch not written", "%s: the process stops, so that no older epoch is served", error.text);
        abort();
    }
    ab_buffer_fini(&bytes);
    replicator->persisted = epoch;
}

/* ---- life ---- */

ab_err ab_replicator_create(
    const struct ab_replicator_options *options, struct ab_replicator **replicator, struct ab_error *error)
{
    uint64_t persisted = 0;
    char *epoch_path = ab_new_format("%s/epoch", options->directory);
    ab_err err = epoch_read(epoch_path, &persisted, error);
    if (err != AB_OK) {
        ab_delete(epoch_path);
        return err;
    }
    struct ab_replicator *made = ab_new(struct ab_replicator);
    made->options = *options;
    made->options.directory = NULL;
    made->partition = options->partition;
    made->epoch_path = epoch_path;
    made->waiting_end = &made->waiting;
    made->install.memory = options->memory;
    made->source.memory = options->memory;
    ab_arena_init(&made->scratch, NULL, 1u << 20);
    const struct ab_replica_options replica = {.partition = ab_partition_number(options->partition),
        .node = options->node,
        .incarnation = options->incarnation,
        .disk_id = options->disk_id,
        .persisted_epoch = persisted,
        .committed = ab_partition_committed(options->partition),
        .damaged_until = options->damaged_until,
        .lag_us_max = options->lag_us_max};
    made->replica = ab_replica_create(&replica);
    atomic_store(&made->is_damaged, options->damaged_until > 0);
    *replicator = made;
    return AB_OK;
}

/* Nobody knows what becomes of the records that are waited for: if they are committed, they are applied from the log.
 */
static void waiting_fail(struct ab_replicator *replicator)
{
    while (replicator->waiting != NULL) {
        struct ab_waiting *waiting = replicator->waiting;
        replicator->waiting = waiting->next;
        waiting->on_end(waiting, AB_OUTCOME_UNKNOWN);
    }
    replicator->waiting_end = &replicator->waiting;
}

static void held_drop(struct held *held)
{
    if (held->request != NULL) {
        ab_request_drop(held->request);
    }
    ab_log_reader_close(held->reader);
    *held = (struct held){0};
}

static void held_drop_all(struct ab_replicator *replicator)
{
    for (size_t i = 0; i < AB_REPLICAS_MAX; i++) {
        held_drop(&replicator->held[i]);
    }
}

void ab_replicator_destroy(struct ab_replicator *replicator)
{
    if (replicator == NULL) {
        return;
    }
    waiting_fail(replicator);
    held_drop_all(replicator);
    ab_install_end(&replicator->install);
    ab_install_source_fini(&replicator->source);
    ab_replica_destroy(replicator->replica);
    ab_arena_fini(&replicator->scratch);
    ab_buffer_fini(&replicator->bytes);
    ab_buffer_fini(&replicator->payload);
    ab_delete(replicator->epoch_path);
    ab_delete(replicator);
}

/* ---- committed records ---- */

static _Noreturn void abort_unappliable(const struct ab_replicator *replicator, const struct ab_error *error)
{
    ab_error_log("committed record cannot be applied", "partition %u: %s: the process stops",
        ab_partition_number(replicator->partition), error->text);
    abort();
}

/* Applies from the log; false when there is more than should be done at once. */
static bool apply_until(struct ab_replicator *replicator, uint64_t offset)
{
    struct ab_error error = {0};
    atomic_store(replicator->options.progress_us, ab_time_monotonic_us());
    ab_err err = ab_partition_apply_log(replicator->partition, offset, &replicator->scratch, &error);
    if (err != AB_OK && err != AB_AGAIN) {
        abort_unappliable(replicator, &error);
    }
    return err == AB_OK;
}

/* What waits is committed up to here: its own rows are in memory, what lies between is in the log. */
static void waiting_end(struct ab_replicator *replicator, uint64_t committed)
{
    while (replicator->waiting != NULL && replicator->waiting->end_offset <= committed) {
        struct ab_waiting *waiting = replicator->waiting;
        replicator->waiting = waiting->next;
        if (replicator->waiting == NULL) {
            replicator->waiting_end = &replicator->waiting;
        }
        while (!apply_until(replicator, waiting->end_offset - 1)) {
        }
        waiting->on_end(waiting, AB_OK);
    }
}

static void apply_committed(struct ab_replicator *replicator)
{
    uint64_t committed = ab_partition_committed(replicator->partition);
    waiting_end(replicator, committed);
    uint64_t until = committed;
    if (replicator->waiting != NULL && replicator->waiting->end_offset - 1 < until) {
        until = replicator->waiting->end_offset - 1;
    }
    if (!ab_partition_is_over_budget(replicator->partition)) { /* nobody else holds back what comes from a leader */
        (void)apply_until(replicator, until);                  /* false: settle goes on */
    }
    if (replicator->hold_offset != 0 && ab_partition_applied(replicator->partition) >= replicator->hold_offset) {
        replicator->hold_offset = 0;
    }
}

/* ---- answers ---- */

static struct held *held_find(struct ab_replicator *replicator, uint32_t node)
{
    for (size_t i = 0; i < AB_REPLICAS_MAX; i++) {
        if (replicator->held[i].node == node) {
            return &replicator->held[i];
        }
    }
    return NULL;
}

/* Answers the request that is held, with the message and the records that belong to it behind. */
static void answer_with(struct ab_replicator *replicator, struct held *held, const struct ab_replica_message *message,
    struct ab_bytes *pieces, size_t pieces_count)
{
    ab_buffer_clear(&replicator->payload);
    ab_replica_message_encode(message, &replicator->payload);
    pieces[0] = ab_buffer_view(&replicator->payload);
    ab_request_reply_pieces(held->request, AB_OK, NULL, pieces, pieces_count);
    held->request = NULL;
}

/* The request that a message answers; NULL when its sender has asked again meanwhile. */
static struct held *held_of(struct ab_replicator *replicator, const struct ab_replica_message *message)
{
    struct held *held = held_find(replicator, message->to);
    return held == NULL || held->request == NULL || held->number != message->request ? NULL : held;
}

static void answer(struct ab_replicator *replicator, const struct ab_replica_message *message)
{
    struct ab_bytes pieces[1];
    struct held *held = held_of(replicator, message);
    if (held != NULL) {
        answer_with(replicator, held, message, pieces, 1);
    }
}

/* Puts whole records from `offset` on, at least one, into `bytes`. */
static ab_err records_read(struct ab_replicator *replicator, struct held *held, uint64_t offset, uint64_t end,
    uint32_t bytes_max, struct ab_error *error)
{
    struct ab_record record;
    ab_buffer_clear(&replicator->bytes);
    if (held->reader != NULL && held->reader_offset != offset) {
        ab_log_reader_close(held->reader);
        held->reader = NULL;
    }
    if (held->reader == NULL) {
        AB_TRY(ab_partition_reader_open(replicator->partition, offset, end, &held->reader, error));
        held->reader_offset = offset;
    }
    ab_log_reader_extend(held->reader, end);
    while (held->reader_offset < end && replicator->bytes.bytes < bytes_max) {
        AB_TRY(ab_log_reader_next(held->reader, &record, error));
        ab_buffer_put_bytes(&replicator->bytes, record.encoded);
        held->reader_offset++;
    }
    return AB_OK;
}

/* Finds records from `offset` on that are still in memory, at most one piece beyond bytes_max; how many pieces. */
static size_t records_find(const struct ab_replicator *replicator, uint64_t offset, uint64_t end, size_t bytes_max,
    struct ab_bytes pieces[PIECES_MAX])
{
    size_t count = 0;
    size_t bytes = 0;
    while (count < PIECES_MAX && offset < end && bytes < bytes_max &&
           ab_partition_recent(replicator->partition, offset, bytes_max - bytes, &pieces[count], &offset) == AB_OK) {
        bytes += pieces[count++].bytes;
    }
    return count;
}

static void answer_fetch(struct ab_replicator *replicator, const struct ab_replica_message *message)
{
    struct ab_bytes pieces[1 + PIECES_MAX]; /* the message's own first */
    struct held *held = held_of(replicator, message);
    if (held == NULL) {
        return;
    }
    struct ab_error error = {0};
    struct ab_replica_log log;
    ab_partition_log_view(replicator->partition, &log);
    size_t count = records_find(replicator, message->offset, log.end, message->bytes_max, pieces + 1);
    if (count == 0 && message->offset < log.end) {
        ab_err err = records_read(replicator, held, message->offset, log.end, message->bytes_max, &error);
        if (err != AB_OK) {
            ab_log_reader_close(held->reader);
            held->reader = NULL;
            ab_error_log("records for a follower cannot be read", "partition %u, node %u: %s", message->partition,
                message->to, error.text);
            return; /* it asks again */
        }
        pieces[1] = ab_buffer_view(&replicator->bytes);
        count = 1;
    }
    answer_with(replicator, held, message, pieces, 1 + count);
}

/* ---- a state that goes to another replica, or comes from the leader ---- */

static ab_err offer_make(void *context, struct ab_buffer *out, struct ab_error *error)
{
    return ab_partition_offer(context, out, error);
}

/* Why a question is not answered; AB_REPLICA_OK when it is. */
static enum ab_replica_status install_refusal(const struct ab_replica_view *view, const struct ab_replica_message *ask)
{
    if (ask->leader_epoch < view->epoch) {
        return AB_REPLICA_FENCED;
    }
    /* One that starts may need this very follower to commit anything. */
    bool is_leader = view->role == AB_REPLICA_LEADING || view->role == AB_REPLICA_STARTING;
    if (!is_leader || ask->leader_epoch != view->epoch) {
        return AB_REPLICA_NOT_LEADER;
    }
    bool is_listed = ab_replica_nodes_has(&view->state->replicas, ask->from) ||
                     ab_replica_nodes_has(&view->state->learners, ask->from);
    return is_listed ? AB_REPLICA_OK : AB_REPLICA_NOT_LISTED;
}

static void install_answer(
    struct ab_replicator *replicator, const struct ab_replica_message *ask, struct ab_request *request)
{
    struct ab_replica_view view;
    struct ab_replica_log log;
    struct ab_error error = {0};
    ab_replica_look(replicator->replica, &view);
    ab_partition_log_view(replicator->partition, &log);
    struct ab_replica_message part = {.kind = AB_REPLICA_INSTALL_PART,
        .status = install_refusal(&view, ask),
        .partition = ab_partition_number(replicator->partition),
        .from = replicator->options.node,
        .to = ask->from,
        .from_incarnation = replicator->options.incarnation,
        .leader_epoch = view.epoch,
        .request = ask->request,
        .log_start = log.start};
    if (part.status == AB_REPLICA_OK && ab_install_source_answer(&replicator->source, ask, ab_time_monotonic_us(),
                                            offer_make, replicator->partition, &part, &error) != AB_OK) {
        ab_warn("state for another replica not made", "node %u: %s", ask->from, error.text);
        ab_request_drop(request); /* it asks again */
        return;
    }
    ab_buffer_clear(&replicator->payload);
    ab_replica_message_encode(&part, &replicator->payload);
    ab_request_reply(request, AB_OK, NULL, ab_buffer_view(&replicator->payload));
}

static void install_ask(struct ab_replicator *replicator)
{
    struct ab_replica_message message;
    if (ab_install_ask(&replicator->install, ab_time_monotonic_us(), &message)) {
        message.partition = ab_partition_number(replicator->partition);
        message.from = replicator->options.node;
        message.from_incarnation = replicator->options.incarnation;
        replicator->options.outlets->send(replicator->options.context, &message);
    }
}

static void install_begin(struct ab_replicator *replicator, const struct ab_replica_action *action)
{
    struct ab_replica_view view;
    ab_replica_look(replicator->replica, &view);
    ab_warn("state has to be installed",
        "partition %u: the log of its leader, node %u, begins at offset %" PRIu64 ", after the end of this one's",
        ab_partition_number(replicator->partition), action->node, action->offset);
    ab_install_begin(&replicator->install, action->node, view.epoch, ab_random_id() >> 1);
    install_ask(replicator);
}

/* What came is whole: the log begins anew. */
static void install_take(struct ab_replicator *replicator)
{
    struct ab_error error = {0};
    uint32_t partition = ab_partition_number(replicator->partition);
    held_drop_all(replicator);
    ab_err err = ab_partition_install(replicator->partition, ab_buffer_view(&replicator->install.bytes), &error);
    if (err == AB_AGAIN) {
        return; /* at the next tick */
    }
    if (err == AB_IO) {
        ab_error_log("state cannot be installed", "partition %u: %s: the process stops", partition, error.text);
        abort();
    }
    if (err != AB_OK) {
        ab_warn("state not installed", "partition %u: %s: it is asked for again", partition, error.text);
        ab_install_restart(&replicator->install, ab_time_monotonic_us());
        return;
    }
    ab_install_end(&replicator->install);
    ab_replicator_written(replicator);
}

/* What has to be done now of an installation. */
static void install_go_on(struct ab_replicator *replicator)
{
    if (replicator->install.is_whole) {
        install_take(replicator);
    } else {
        install_ask(replicator);
    }
}

/* ---- doing what was decided ---- */

static void change_role(struct ab_replicator *replicator, enum ab_replica_role role)
{
    bool is_leader = role == AB_REPLICA_STARTING || role == AB_REPLICA_LEADING;
    struct ab_replica_view view;
    ab_replica_look(replicator->replica, &view);
    ab_info("replica's role", "partition %u: %s, leader epoch %" PRIu64 ", committed up to %" PRIu64,
        ab_partition_number(replicator->partition), ab_replica_role_name(role), view.epoch, view.high_watermark);
    if (replicator->is_leader && !is_leader) {
        waiting_fail(replicator);
        replicator->hold_offset = 0;
        held_drop_all(replicator);
        ab_partition_forget_uncommitted(replicator->partition);
    }
    replicator->is_leader = is_leader;
    if (!is_leader) {
        ab_install_source_fini(&replicator->source);
    }
    if (role != AB_REPLICA_INSTALLING) {
        ab_install_end(&replicator->install);
    }
}

static void truncate_log(struct ab_replicator *replicator, uint64_t offset)
{
    struct ab_error error = {0};
    held_drop_all(replicator);
    if (ab_partition_truncate(replicator->partition, offset, &error) != AB_OK) {
        ab_error_log("log cannot be truncated", "partition %u: %s: the process stops",
            ab_partition_number(replicator->partition), error.text);
        abort();
    }
    ab_info("log truncated", "partition %u: records from %" PRIu64 " on were never committed",
        ab_partition_number(replicator->partition), offset);
    replicator->is_log_changed = true;
}

static void copy_records(struct ab_replicator *replicator, const struct ab_replica_message *message)
{
    struct ab_error error = {0};
    ab_err err = ab_partition_copy(replicator->partition, message->records, &error);
    if (err != AB_OK) {
        ab_warn("records of the leader not taken", "partition %u, offset %" PRIu64 ": %s", message->partition,
            message->offset, error.text);
        replicator->is_copy_refused = true;
        return;
    }
    replicator->is_log_changed = true;
}

static void start_epoch(struct ab_replicator *replicator, uint64_t epoch)
{
    struct ab_error error = {0};
    if (ab_partition_begin_epoch(replicator->partition, epoch, &error) != AB_OK) {
        ab_error_log("leader epoch cannot be begun", "partition %u: %s: the process stops, so that another one leads",
            ab_partition_number(replicator->partition), error.text);
        abort();
    }
    replicator->is_log_changed = true;
}

static void act(struct ab_replicator *replicator, const struct ab_replica_action *action)
{
    const struct ab_replicator_outlets *outlets = replicator->options.outlets;
    void *context = replicator->options.context;
    switch (action->kind) {
    case AB_REPLICA_DO_PERSIST_EPOCH:
        epoch_write(replicator, action->epoch);
        break;
    case AB_REPLICA_DO_TRUNCATE:
        truncate_log(replicator, action->offset);
        break;
    case AB_REPLICA_DO_COPY:
        copy_records(replicator, &action->message);
        break;
    case AB_REPLICA_DO_START_EPOCH:
        start_epoch(replicator, action->epoch);
        break;
    case AB_REPLICA_DO_INSTALL:
        install_begin(replicator, action);
        break;
    case AB_REPLICA_DO_SEND:
        if (ab_replica_message_is_request(action->message.kind)) {
            outlets->send(context, &action->message);
        } else {
            answer(replicator, &action->message);
        }
        break;
    case AB_REPLICA_DO_ANSWER_FETCH:
        answer_fetch(replicator, &action->message);
        break;
    case AB_REPLICA_DO_COMMIT:
        ab_partition_set_committed(replicator->partition, action->offset);
        apply_committed(replicator);
        break;
    case AB_REPLICA_DO_PROPOSE:
        outlets->propose(context, &action->state, action->version, action->node);
        break;
    case AB_REPLICA_DO_READ_STATE:
        outlets->read_state(context, ab_partition_number(replicator->partition), action->epoch);
        break;
    case AB_REPLICA_DO_CHANGE_ROLE:
        change_role(replicator, action->role);
        break;
    case AB_REPLICA_DO_FAIL:
        ab_error_log("replica stopped", "partition %u: %s: nothing of it was changed",
            ab_partition_number(replicator->partition), action->reason);
        break;
    }
}

/* The log is whole once it is synced up to where it was, or once it was in the in-sync set as it is. */
static void damage_tend(struct ab_replicator *replicator, uint64_t damaged_until)
{
    bool is_damaged = damaged_until > ab_partition_durable(replicator->partition);
    if (is_damaged || !atomic_load(&replicator->is_damaged)) {
        atomic_store(&replicator->is_damaged, is_damaged); /* by what was installed */
        return;
    }
    struct ab_error error = {0};
    if (ab_partition_clear_damage(replicator->partition, &error) != AB_OK) {
        ab_warn("damage not taken off", "partition %u: %s: it is told as damaged until that is possible",
            ab_partition_number(replicator->partition), error.text);
        return;
    }
    ab_info("log is whole again", "partition %u", ab_partition_number(replicator->partition));
    atomic_store(&replicator->is_damaged, false);
}

static void step_once(struct ab_replicator *replicator, struct ab_replica_event *event)
{
    struct ab_replica_log log;
    ab_partition_log_view(replicator->partition, &log);
    event->log = &log;
    event->now_us = ab_time_monotonic_us();
    event->fresh_token = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
    ab_replica_step(replicator->replica, event, &replicator->actions);
    for (size_t i = 0; i < replicator->actions.count; i++) {
        act(replicator, &replicator->actions.list[i]);
    }
    struct ab_replica_view view;
    ab_replica_look(replicator->replica, &view);
    bool may_serve = ab_replica_may_serve(replicator->replica, event->now_us);
    atomic_store(&replicator->serve_until_us, may_serve ? view.lease_until_us : 0);
    damage_tend(replicator, view.damaged_until);
    if (view.is_out) {
        replicator->options.outlets->over(replicator->options.context);
    }
}

/* One event and what follows from it at once. */
static void step(struct ab_replicator *replicator, struct ab_replica_event *event)
{
    step_once(replicator, event);
    while (replicator->is_log_changed || replicator->persisted != 0) {
        struct ab_replica_event next = {.kind = AB_REPLICA_EPOCH_PERSISTED, .epoch = replicator->persisted};
        if (replicator->persisted == 0) {
            next.kind = AB_REPLICA_LOG_CHANGED;
            replicator->is_log_changed = false;
        }
        replicator->persisted = 0;
        step_once(replicator, &next);
    }
}

/* ---- what happens ---- */

void ab_replicator_written(struct ab_replicator *replicator)
{
    struct ab_replica_event event = {.kind = AB_REPLICA_LOG_CHANGED};
    step(replicator, &event);
}

void ab_replicator_settle(struct ab_replicator *replicator)
{
    struct ab_replica_log log;
    ab_partition_log_view(replicator->partition, &log);
    if (log.durable < log.end) {
        ab_partition_sync(replicator->partition);
        ab_replicator_written(replicator);
    }
    if (ab_partition_applied(replicator->partition) < ab_partition_committed(replicator->partition)) {
        apply_committed(replicator);
    }
    int64_t now = ab_time_monotonic_us();
    if (now >= replicator->tick_due_us) {
        replicator->tick_due_us = now + TICK_US;
        struct ab_replica_event event = {.kind = AB_REPLICA_TICK};
        if (replicator->is_copy_refused) {
            replicator->is_copy_refused = false;
            struct ab_replica_event refused = {.kind = AB_REPLICA_COPY_REFUSED};
            step(replicator, &refused);
        }
        step(replicator, &event);
        install_go_on(replicator);
        ab_install_source_tick(&replicator->source, now);
        /* Below the minimum nothing is committed until somebody joins, which may take hours: who waits is told, and
         * takes no room any more from partitions that go on. */
        if (replicator->waiting != NULL && !ab_replica_may_append(replicator->replica)) {
            waiting_fail(replicator);
        }
    }
}

static void request_hold(
    struct ab_replicator *replicator, const struct ab_replica_message *message, struct ab_request *request)
{
    struct held *held = held_find(replicator, message->from);
    held = held == NULL ? held_find(replicator, 0) : held;
    if (held == NULL) { /* more askers than a partition has replicas: one of them is none any more */
        held = &replicator->held[message->request % AB_REPLICAS_MAX];
        held_drop(held);
    }
    if (held->request != NULL) {
        ab_request_drop(held->request);
    }
    held->node = message->from;
    held->number = message->request;
    held->request = request;
}

void ab_replicator_on_request(struct ab_replicator *replicator, struct ab_request *request)
{
    struct ab_replica_message message;
    if (ab_replica_message_decode(request->payload, &message) != AB_OK ||
        !ab_replica_message_is_request(message.kind) || message.from == 0) {
        ab_request_reply(request, AB_INVALID, "not a request of a replica", ab_bytes_of(NULL, 0));
        return;
    }
    if (message.kind == AB_REPLICA_INSTALL_ASK) {
        install_answer(replicator, &message, request);
        return;
    }
    struct ab_replica_event event = {.kind = AB_REPLICA_MESSAGE, .message = &message};
    if (message.kind == AB_REPLICA_FETCH && replicator->is_leader) {
        struct ab_hash128 chain;
        struct ab_error error = {0};
        ab_err err = ab_partition_chain_at(replicator->partition, message.offset, &chain, &error);
        if (err != AB_OK && err != AB_NOT_FOUND) {
            /* Not a word about the follower: told as another history, it would stop for good. */
            ab_error_log("log cannot be compared with a follower's", "partition %u, node %u: %s", message.partition,
                message.from, error.text);
            ab_request_drop(request);
            return;
        }
        bool is_same = err == AB_OK && ab_hash128_equal(chain, message.chain);
        event.check = is_same ? AB_REPLICA_SAME : AB_REPLICA_OTHER;
    }
    if (message.kind == AB_REPLICA_REPORT) {
        ab_request_reply(request, AB_OK, NULL, ab_bytes_of(NULL, 0));
    } else {
        request_hold(replicator, &message, request);
    }
    step(replicator, &event);
}

void ab_replicator_on_answer(struct ab_replicator *replicator, const struct ab_replica_message *message)
{
    if (message->kind == AB_REPLICA_INSTALL_PART) {
        ab_install_on_part(&replicator->install, message, ab_time_monotonic_us());
        install_go_on(replicator);
        return;
    }
    struct ab_replica_event event = {.kind = AB_REPLICA_MESSAGE, .message = message};
    step(replicator, &event);
}

void ab_replicator_on_state(struct ab_replicator *replicator, const struct ab_replica_set *state, uint64_t version,
    bool is_synced, uint64_t epoch)
{
    struct ab_replica_event event = {
        .kind = AB_REPLICA_STATE_READ, .state = state, .version = version, .is_synced = is_synced, .epoch = epoch};
    step(replicator, &event);
}

void ab_replicator_on_session(
    struct ab_replicator *replicator, enum ab_replica_session session, int64_t since_us, int64_t timeout_us)
{
    struct ab_replica_event event = {
        .kind = AB_REPLICA_SESSION_CHANGED, .session = session, .since_us = since_us, .timeout_us = timeout_us};
    step(replicator, &event);
}

void ab_replicator_on_node_gone(struct ab_replicator *replicator, uint32_t node, struct ab_hash128 incarnation)
{
    struct ab_replica_event event = {.kind = AB_REPLICA_NODE_GONE, .node = node, .incarnation = incarnation};
    step(replicator, &event);
}

void ab_replicator_on_proposal_ended(
    struct ab_replicator *replicator, struct ab_hash128 token, enum ab_replica_outcome outcome, uint64_t version)
{
    struct ab_replica_event event = {
        .kind = AB_REPLICA_PROPOSAL_ENDED, .token = token, .outcome = outcome, .version = version};
    step(replicator, &event);
}

/* ---- what others ask ---- */

ab_err ab_replicator_may_append(const struct ab_replicator *replicator, struct ab_error *error)
{
    struct ab_replica_view view;
    ab_replica_look(replicator->replica, &view);
    if (ab_replica_may_append(replicator->replica)) {
        bool is_behind = ab_partition_applied(replicator->partition) < view.high_watermark;
        if (replicator->hold_offset == 0 && !is_behind) {
            return AB_OK;
        }
        return ab_error_set(error, AB_AGAIN, "a cut is being taken");
    }
    uint32_t partition = ab_partition_number(replicator->partition);
    if (view.role == AB_REPLICA_LEADING) {
        return ab_error_set(error, AB_UNAVAILABLE,
            "partition %u has %u in-sync replicas, the least is %u: the block was not appended", partition,
            view.state->isr.count, view.state->min_isr);
    }
    uint32_t leader = view.state == NULL ? AB_NODE_NONE : view.state->leader;
    return ab_error_set(error, AB_UNAVAILABLE, "this node does not lead partition %u, node %u does (epoch %" PRIu64 ")",
        partition, leader, view.epoch);
}

bool ab_replicator_may_serve(const struct ab_replicator *replicator)
{
    return ab_time_monotonic_us() < atomic_load(&replicator->serve_until_us);
}

bool ab_replicator_is_damaged(const struct ab_replicator *replicator)
{
    return atomic_load(&replicator->is_damaged);
}

void ab_replicator_wait(struct ab_replicator *replicator, struct ab_waiting *waiting)
{
    waiting->next = NULL;
    *replicator->waiting_end = waiting;
    replicator->waiting_end = &waiting->next;
}

void ab_replicator_hold_for_cut(struct ab_replicator *replicator, uint64_t end_offset)
{
    replicator->hold_offset = end_offset;
}

void ab_replicator_look(const struct ab_replicator *replicator, struct ab_replica_view *view)
{
    ab_replica_look(replicator->replica, view);
}
