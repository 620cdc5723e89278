/* The thread that owns partitions: takes what is queued, judges and stages it, commits the group, applies, answers. */
#include "speed/engine_private.h"

#include "common/base/assert.h"
#include "common/base/logging.h"

#include <stdio.h>

#define IDLE_WAIT_US (50 * AB_US_PER_MS)
#define HOUSEKEEPING_US (100 * AB_US_PER_MS)
#define NOTE_IDLE_US AB_US_PER_SECOND
#define REPLICA_WAIT_US (20 * AB_US_PER_MS) /* replicas want to be looked after often */
#define OPEN_AGAIN_US AB_US_PER_SECOND      /* after a partition could not be opened, or removed */

struct group;

/* A block from its judgement to its answer. */
struct pending_block {
    struct ab_waiting waiting;  /* for its commit; first: it is found by this address */
    struct group *group;        /* borrowed */
    struct ab_request *request; /* owned */
    uint32_t slot;              /* which of the worker's partitions */
    struct ab_staged staged;
};

/* Blocks that are written and synced together, with everything decoded of them. */
struct group {
    struct ab_worker *worker;     /* borrowed */
    struct pending_block *blocks; /* owned; AB_GROUP_BLOCKS_MAX places */
    size_t count;
    size_t bytes;
    size_t left; /* blocks without an answer; 0 = the group is free */
    struct ab_arena arena;
};

/* One of the worker's partitions. */
struct worker_partition {
    uint32_t number;
    struct ab_partition *partition;    /* borrowed from its slot, as the next one; NULL = not held here */
    struct ab_replicator *replicator;  /* NULL = the only replica */
    struct ab_replica_input *deferred; /* owned; the state by which it is to be opened, once that is possible */
    int64_t open_due_us;               /* monotonic */
    bool is_leaving;                   /* its slot is to be closed, and its directory removed */
    int64_t flush_due_us;              /* monotonic */
    uint64_t durable_seen;             /* when last looked at */
    int64_t note_due_us;               /* monotonic; when that much was seen for long enough */
    bool is_touched;                   /* has blocks in the group at hand */
    ab_err commit_err;                 /* of the group at hand */
    uint64_t end_offset;               /* of its log when that was written */
    struct ab_error error;
};

struct ab_worker {
    struct ab_engine *engine; /* borrowed */
    uint32_t index;
    struct ab_queue *queue; /* of struct ab_work */
    struct ab_thread thread;
    struct worker_partition *partitions; /* owned; worker thread, as all below */
    uint32_t partitions_count;
    struct group groups[AB_GROUPS_MAX];
    struct group *group;     /* the one at hand; NULL = all wait for other replicas */
    struct ab_arena scratch; /* one block's aggregation */
    struct ab_buffer reply;
    int64_t housekeeping_due_us;
    struct ab_replica_input session; /* what was told of it last, for replicas that are new */
    bool is_session_told;
};

/* ---- the group ---- */

static void reply_block(struct ab_worker *worker, struct pending_block *pending)
{
    const struct ab_staged *staged = &pending->staged;
    struct ab_wire_produce_reply reply = {.offset = staged->outcome.offset,
        .accepted = staged->outcome.accepted,
        .rejected = staged->outcome.rejected,
        .duplicates = staged->outcome.duplicates,
        .rejected_rows = staged->judged.rejected_rows,
        .rejected_rows_count = staged->judged.rejected_rows_count,
        .is_repeat = staged->is_repeat};
    struct ab_engine *engine = worker->engine;
    if (!staged->is_repeat) {
        atomic_fetch_add_explicit(&engine->blocks, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&engine->rows_accepted, reply.accepted, memory_order_relaxed);
        atomic_fetch_add_explicit(&engine->rows_rejected, reply.rejected, memory_order_relaxed);
        atomic_fetch_add_explicit(&engine->rows_duplicate, reply.duplicates, memory_order_relaxed);
    }
    ab_buffer_clear(&worker->reply);
    ab_wire_produce_reply_encode(&reply, &worker->reply);
    ab_request_reply(pending->request, AB_OK, NULL, ab_buffer_view(&worker->reply));
}

/* The group at hand is free once its last block is answered. */
static void block_leave(struct pending_block *pending)
{
    struct group *group = pending->group;
    if (--group->left == 0) {
        group->count = 0;
        group->bytes = 0;
        ab_arena_reset(&group->arena);
    }
}

static void block_refuse(struct pending_block *pending, ab_err err, const char *text)
{
    ab_request_reply(pending->request, err, text, ab_bytes_of(NULL, 0));
    block_leave(pending);
}

/* Applies and answers one block that is committed. */
static void block_finish(struct pending_block *pending)
{
    struct ab_worker *worker = pending->group->worker;
    ab_partition_apply(worker->partitions[pending->slot].partition, &pending->staged, &worker->scratch);
    reply_block(worker, pending);
    block_leave(pending);
}

/* The end of a block that waited for other replicas. */
static void block_end(struct ab_waiting *waiting, ab_err err)
{
    struct pending_block *pending = (struct pending_block *)waiting;
    if (err == AB_OK) {
        block_finish(pending);
    } else {
        block_refuse(pending, err,
            "this node stopped leading the partition, or too few replicas were in sync, before all had the block: send "
            "it "
            "again");
    }
}

/* A block whose group is written: by the only replica it is committed too. */
static void block_go_on(struct ab_worker *worker, struct pending_block *pending)
{
    const struct worker_partition *owner = &worker->partitions[pending->slot];
    bool was_there = pending->staged.is_repeat && pending->staged.outcome.offset < owner->end_offset;
    if (owner->commit_err != AB_OK && !was_there) {
        block_refuse(pending, owner->commit_err, owner->error.text);
    } else if (owner->replicator != NULL &&
               pending->staged.outcome.offset >= ab_partition_committed(owner->partition)) {
        pending->waiting.end_offset = pending->staged.outcome.offset + 1;
        pending->waiting.on_end = block_end;
        ab_replicator_wait(owner->replicator, &pending->waiting);
    } else {
        block_finish(pending);
    }
}

/* Writes what is staged; the only replica of a partition syncs it too. */
static void partitions_write(struct ab_worker *worker)
{
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        struct worker_partition *owner = &worker->partitions[p];
        if (owner->is_touched) {
            struct ab_replica_log log;
            owner->error = (struct ab_error){0};
            owner->commit_err = owner->replicator == NULL ? ab_partition_commit(owner->partition, &owner->error)
                                                          : ab_partition_write(owner->partition, &owner->error);
            ab_partition_log_view(owner->partition, &log);
            owner->end_offset = log.end;
        }
    }
}

/* Followers are told before the sync here, so that theirs goes on beside it. */
static void partitions_tell(struct ab_worker *worker)
{
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        struct worker_partition *owner = &worker->partitions[p];
        if (owner->is_touched && owner->replicator != NULL && owner->commit_err == AB_OK) {
            ab_replicator_written(owner->replicator);
        }
        owner->is_touched = false;
    }
}

static struct group *group_free(struct ab_worker *worker)
{
    for (size_t i = 0; i < AB_GROUPS_MAX; i++) {
        if (worker->groups[i].left == 0) {
            return &worker->groups[i];
        }
    }
    return NULL;
}

static void group_commit(struct ab_worker *worker)
{
    struct group *group = worker->group;
    if (group == NULL || group->count == 0) {
        return;
    }
    partitions_write(worker);
    size_t count = group->count; /* it may be free again before the loop ends */
    for (size_t i = 0; i < count; i++) {
        block_go_on(worker, &group->blocks[i]);
    }
    partitions_tell(worker);
    worker->group = group->left == 0 ? group : group_free(worker);
}

/* Syncs what other replicas have been told of, and goes on with what that commits. */
static void replicas_settle(struct ab_worker *worker)
{
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        if (worker->partitions[p].replicator != NULL) {
            ab_replicator_settle(worker->partitions[p].replicator);
        }
    }
    worker->group = worker->group == NULL ? group_free(worker) : worker->group;
}

static void request_refuse(struct ab_worker *worker, struct ab_request *request, ab_err err, const char *text)
{
    atomic_uint_fast64_t *count =
        ab_err_kind_of(err) == AB_KIND_FULL ? &worker->engine->refused_full : &worker->engine->refused_invalid;
    atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    ab_request_reply(request, err, text, ab_bytes_of(NULL, 0));
}

static ab_err block_judge(
    struct ab_worker *worker, const struct worker_partition *owner, struct ab_request *request, struct ab_error *error)
{
    struct group *group = worker->group;
    struct ab_staged *staged = &group->blocks[group->count].staged;
    return ab_partition_stage(owner->partition, request->payload, ab_time_now(), &group->arena, staged, error);
}

static void block_stage(struct ab_worker *worker, struct ab_request *request)
{
    uint32_t slot = request->envelope.partition / worker->engine->options.workers;
    AB_ASSERT(slot < worker->partitions_count);
    struct worker_partition *owner = &worker->partitions[slot];
    struct ab_error error = {0};
    if (owner->partition == NULL || owner->is_leaving) {
        (void)ab_error_set(&error, AB_UNAVAILABLE, "this node does not hold partition %u", owner->number);
        request_refuse(worker, request, AB_UNAVAILABLE, error.text);
        return;
    }
    ab_err err = owner->replicator == NULL ? AB_OK : ab_replicator_may_append(owner->replicator, &error);
    if (err == AB_OK && worker->group != NULL &&
        (worker->group->count == AB_GROUP_BLOCKS_MAX || worker->group->bytes >= AB_GROUP_BYTES_MAX)) {
        group_commit(worker);
    }
    if (err == AB_OK && worker->group == NULL) {
        err = ab_error_set(&error, AB_FULL, "too many blocks wait for other replicas");
    }
    if (err == AB_OK) {
        err = block_judge(worker, owner, request, &error);
        if (err == AB_FULL && worker->group->count > 0) {
            group_commit(worker); /* makes room in the staging buffer and the arena */
            error = (struct ab_error){0};
            err = worker->group == NULL ? AB_FULL : block_judge(worker, owner, request, &error);
        }
    }
    if (err != AB_OK) {
        request_refuse(worker, request, err, error.text);
        return;
    }
    struct group *group = worker->group;
    struct pending_block *pending = &group->blocks[group->count++];
    pending->group = group;
    pending->request = request;
    pending->slot = slot;
    owner->is_touched = true;
    group->left++;
    group->bytes += request->payload.bytes;
}

static void control_do(struct ab_worker *worker, struct ab_control *control)
{
    group_commit(worker);
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        const struct worker_partition *owner = &worker->partitions[p];
        if (owner->partition == NULL || owner->is_leaving) {
            ab_control_run_elsewhere(control, owner->number);
        } else {
            ab_control_run(control, owner->partition, owner->replicator);
        }
    }
}

/* ---- what replicas hear ---- */

static void input_hear(struct ab_replicator *replicator, const struct ab_replica_input *input)
{
    switch (input->kind) {
    case AB_REPLICA_INPUT_STATE:
        ab_replicator_on_state(replicator, &input->state, input->version, input->is_synced, input->epoch);
        break;
    case AB_REPLICA_INPUT_EXCLUDED: /* of the partition, not of its replica */
        break;
    case AB_REPLICA_INPUT_SESSION:
        ab_replicator_on_session(replicator, input->session, input->since_us, input->timeout_us);
        break;
    case AB_REPLICA_INPUT_GONE:
        ab_replicator_on_node_gone(replicator, input->node, input->incarnation);
        break;
    case AB_REPLICA_INPUT_PROPOSAL:
        ab_replicator_on_proposal_ended(replicator, input->token, input->outcome, input->version);
        break;
    case AB_REPLICA_INPUT_ANSWER:
        ab_replicator_on_answer(replicator, &input->message);
        break;
    }
}

/* ---- partitions that come and go ---- */

static void partition_take(struct worker_partition *owner, const struct ab_engine *engine)
{
    int64_t interval = engine->options.flush_interval_us;
    owner->partition = ab_slots_partition(engine->slots, owner->number);
    owner->replicator = ab_slots_replicator(engine->slots, owner->number);
    /* Spread over the interval, so that partitions do not flush all at once. */
    owner->flush_due_us =
        ab_time_monotonic_us() + interval / 2 + interval / 2 * owner->number / engine->options.partitions_count;
}

/* Whether an earlier process of this disk is named among those that have all records: then they were here, and what is
 * not there now was lost. */
static bool was_member(const struct ab_engine_replication *own, const struct ab_replica_members *members)
{
    for (uint32_t i = 0; i < members->count; i++) {
        const struct ab_replica_member *member = &members->items[i];
        if (member->node == own->node && ab_hash128_equal(member->disk_id, own->disk_id)) {
            return !ab_hash128_equal(member->incarnation, own->incarnation);
        }
    }
    return false;
}

/* Opens a partition that is to be held here from now on, and tells its replica what others have heard already. */
static void partition_open(struct ab_worker *worker, struct worker_partition *owner)
{
    struct ab_error error = {0};
    struct ab_replica_input *state = owner->deferred;
    const struct ab_engine_replication *own = &worker->engine->replication;
    bool was_here = was_member(own, &state->state.isr) || was_member(own, &state->state.elr);
    if (ab_engine_slot_open(worker->engine, owner->number, was_here, &error) != AB_OK) {
        ab_error_log("partition cannot be opened", "%s: it is tried again", error.text);
        owner->open_due_us = ab_time_monotonic_us() + OPEN_AGAIN_US;
        if (ab_replica_members_has(&state->state.isr, worker->engine->replication.node)) {
            ab_engine_ask_to_stop(worker->engine); /* it may be elected, or is: others lead when this process is gone */
        }
        return;
    }
    owner->deferred = NULL;
    partition_take(owner, worker->engine);
    ab_info("partition opened", "partition %u is held here from now on", owner->number);
    if (worker->is_session_told) {
        input_hear(owner->replicator, &worker->session);
    }
    input_hear(owner->replicator, state);
    ab_replica_input_destroy(state);
}

static bool is_listed(const struct ab_worker *worker, const struct ab_replica_set *state)
{
    uint32_t node = worker->engine->replication.node;
    return ab_replica_nodes_has(&state->replicas, node) || ab_replica_nodes_has(&state->learners, node);
}

/* A state of a partition that is not open: by it the partition is opened, or is to be left alone. */
static void state_defer(struct ab_worker *worker, struct worker_partition *owner, const struct ab_replica_input *input)
{
    ab_replica_input_destroy(owner->deferred);
    owner->deferred = NULL;
    if (is_listed(worker, &input->state)) {
        owner->deferred = ab_new(struct ab_replica_input);
        *owner->deferred = *input;
        owner->open_due_us = 0;
    } else {
        ab_slots_set_missing(worker->engine->slots, owner->number, false);
    }
}

/* Another one has the partition now. A replica that has followed a newer epoch than that state's stays: the
 * coordination service went back (H55); one that has failed stays as it is. */
static void partition_leave(struct ab_worker *worker, struct worker_partition *owner, uint64_t epoch)
{
    struct ab_replica_view view;
    if (owner->replicator == NULL || owner->is_leaving) {
        return;
    }
    ab_replicator_look(owner->replicator, &view);
    if (view.role == AB_REPLICA_FAILED || view.epoch > epoch) {
        ab_warn("partition not removed", "partition %u is held by others now; its replica is kept: %s", owner->number,
            view.failure != NULL ? view.failure : "it has followed a newer epoch than the one it is excluded by");
        return;
    }
    owner->is_leaving = true;
    owner->replicator = NULL;
    ab_slots_leave(worker->engine->slots, owner->number);
}

/* Closes one that is leaving, when nobody uses it any more, and takes its directory out of use. */
static void partition_close(struct ab_worker *worker, struct worker_partition *owner)
{
    struct ab_engine *engine = worker->engine;
    struct ab_error error = {0};
    if (owner->partition != NULL) {
        if (!ab_flusher_is_idle(engine->flusher, owner->number) || !ab_slots_close(engine->slots, owner->number)) {
            return;
        }
        owner->partition = NULL;
        owner->durable_seen = 0;
    }
    if (ab_slots_directory_retire(engine->options.directory, owner->number, &error) != AB_OK) {
        ab_warn("partition's directory not removed", "%s: it is tried again", error.text);
        owner->open_due_us = ab_time_monotonic_us() + OPEN_AGAIN_US;
        return;
    }
    owner->is_leaving = false;
    atomic_store(&engine->has_leftovers, true);
    ab_info("partition removed", "partition %u is not held here any more", owner->number);
}

/* What partitions that come or go wait for. */
static void partitions_change(struct ab_worker *worker)
{
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        struct worker_partition *owner = &worker->partitions[p];
        bool is_due = (owner->is_leaving || owner->deferred != NULL) && ab_time_monotonic_us() >= owner->open_due_us;
        if (is_due && owner->is_leaving) {
            partition_close(worker, owner);
        } else if (is_due) {
            partition_open(worker, owner);
        }
    }
}

static void partition_hear(
    struct ab_worker *worker, struct worker_partition *owner, const struct ab_replica_input *input)
{
    if (input->kind == AB_REPLICA_INPUT_EXCLUDED) {
        partition_leave(worker, owner, input->epoch);
    } else if (owner->replicator != NULL) {
        input_hear(owner->replicator, input);
    } else if (input->kind == AB_REPLICA_INPUT_STATE && worker->engine->is_replicated) {
        state_defer(worker, owner, input);
    }
}

static void input_do(struct ab_worker *worker, struct ab_replica_input *input)
{
    group_commit(worker); /* a replica is stepped with nothing staged */
    if (input->kind == AB_REPLICA_INPUT_SESSION) {
        worker->session = *input;
        worker->is_session_told = true;
    }
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        struct worker_partition *owner = &worker->partitions[p];
        if (input->partition == AB_REPLICA_INPUT_ALL || input->partition == owner->number) {
            partition_hear(worker, owner, input);
        }
    }
    ab_replica_input_destroy(input);
}

void ab_replica_input_destroy(struct ab_replica_input *input)
{
    if (input != NULL) {
        ab_answer_free(&input->answer);
        ab_delete(input);
    }
}

static void replica_request_do(struct ab_worker *worker, struct ab_request *request)
{
    uint32_t slot = request->envelope.partition / worker->engine->options.workers;
    AB_ASSERT(slot < worker->partitions_count);
    group_commit(worker);
    if (worker->partitions[slot].replicator == NULL) { /* the asker asks again; by then it may be open */
        ab_request_reply(request, AB_UNAVAILABLE, "this node does not hold the partition", ab_bytes_of(NULL, 0));
        return;
    }
    ab_replicator_on_request(worker->partitions[slot].replicator, request);
}

/* ---- flushing in time ---- */

/* Freezes the largest partition when partials take half of their budget. */
static void relieve_memory(struct ab_worker *worker)
{
    const struct ab_memory *partials = &worker->engine->partials;
    if (ab_memory_used(partials) <= partials->limit_bytes / 2) {
        return;
    }
    struct ab_partition *largest = NULL;
    size_t largest_bytes = 0;
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        struct ab_partition *partition = worker->partitions[p].partition;
        size_t bytes = partition == NULL ? 0 : ab_partition_active_bytes(partition);
        if (bytes > largest_bytes) {
            largest = partition;
            largest_bytes = bytes;
        }
    }
    if (largest != NULL) {
        (void)ab_partition_flush_begin(largest); /* false: one is on its way already */
    }
}

/* Writes down what is durable of a partition that took nothing for a while: while it takes blocks, later records say
 * as much of earlier ones, and no block waits for it. */
static void note_when_idle(struct worker_partition *owner, int64_t now)
{
    uint64_t durable = ab_partition_durable(owner->partition);
    if (durable != owner->durable_seen) {
        owner->durable_seen = durable;
        owner->note_due_us = now + NOTE_IDLE_US;
    } else if (now >= owner->note_due_us) {
        owner->note_due_us = INT64_MAX;
        ab_partition_note_durable(owner->partition);
    }
}

static void keep_house(struct ab_worker *worker)
{
    relieve_memory(worker);
    int64_t now = ab_time_monotonic_us();
    if (now < worker->housekeeping_due_us) {
        return;
    }
    worker->housekeeping_due_us = now + HOUSEKEEPING_US;
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        struct worker_partition *owner = &worker->partitions[p];
        if (owner->partition == NULL || owner->is_leaving) {
            continue;
        }
        note_when_idle(owner, now);
        if (now >= owner->flush_due_us) {
            owner->flush_due_us = now + worker->engine->options.flush_interval_us;
            (void)ab_partition_flush_begin(owner->partition); /* false: nothing new */
        }
    }
}

/* ---- the thread ---- */

static void work_do(struct ab_worker *worker, struct ab_work *work)
{
    if (work->control != NULL) {
        control_do(worker, work->control);
    } else if (work->input != NULL) {
        input_do(worker, work->input);
    } else if (work->request->envelope.verb == AB_VERB_REPLICATE) {
        replica_request_do(worker, work->request);
    } else {
        block_stage(worker, work->request);
    }
    ab_delete(work);
}

static void worker_run(void *context)
{
    struct ab_worker *worker = context;
    void *items[AB_GROUP_BLOCKS_MAX];
    int64_t wait_us = worker->engine->is_replicated ? REPLICA_WAIT_US : IDLE_WAIT_US;
    for (;;) {
        atomic_store(&worker->engine->progress_us[worker->index], ab_time_monotonic_us());
        size_t count = ab_queue_take(worker->queue, items, AB_GROUP_BLOCKS_MAX, ab_time_monotonic_us() + wait_us);
        if (count == 0 && ab_queue_is_closed(worker->queue)) {
            return;
        }
        for (size_t i = 0; i < count; i++) {
            work_do(worker, items[i]);
        }
        group_commit(worker);
        replicas_settle(worker);
        partitions_change(worker);
        keep_house(worker);
    }
}

static void partitions_take(struct ab_worker *worker)
{
    const struct ab_engine *engine = worker->engine;
    worker->partitions = ab_new_array(struct worker_partition, engine->options.partitions_count);
    for (uint32_t p = worker->index; p < engine->options.partitions_count; p += engine->options.workers) {
        struct worker_partition *owner = &worker->partitions[worker->partitions_count++];
        owner->number = p;
        if (ab_slots_partition(engine->slots, p) != NULL) {
            partition_take(owner, engine);
        }
    }
}

struct ab_worker *ab_worker_start(struct ab_engine *engine, uint32_t index, size_t queue_bytes_max)
{
    struct ab_worker *worker = ab_new(struct ab_worker);
    worker->engine = engine;
    worker->index = index;
    worker->queue = ab_queue_create(AB_WORKER_ITEMS_MAX, queue_bytes_max);
    partitions_take(worker);
    for (size_t i = 0; i < AB_GROUPS_MAX; i++) {
        worker->groups[i].worker = worker;
        worker->groups[i].blocks = ab_new_array(struct pending_block, AB_GROUP_BLOCKS_MAX);
        ab_arena_init(&worker->groups[i].arena, &engine->memory, 1u << 20);
    }
    worker->group = &worker->groups[0];
    ab_arena_init(&worker->scratch, NULL, 1u << 20); /* apply cannot fail: its scratch is not refused */
    char name[24];
    (void)snprintf(name, sizeof(name), "worker-%u", index);
    ab_thread_start(&worker->thread, name, worker_run, worker);
    return worker;
}

void ab_worker_stop(struct ab_worker *worker)
{
    ab_queue_close(worker->queue);
    ab_thread_join(&worker->thread);
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        if (worker->partitions[p].partition != NULL) {
            (void)ab_partition_flush_begin(worker->partitions[p].partition); /* false: nothing new */
        }
    }
}

void ab_worker_destroy(struct ab_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    ab_queue_destroy(worker->queue);
    for (size_t i = 0; i < AB_GROUPS_MAX; i++) {
        ab_arena_fini(&worker->groups[i].arena);
        ab_delete(worker->groups[i].blocks);
    }
    ab_arena_fini(&worker->scratch);
    ab_buffer_fini(&worker->reply);
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        ab_replica_input_destroy(worker->partitions[p].deferred);
    }
    ab_delete(worker->partitions);
    ab_delete(worker);
}

ab_err ab_worker_put(struct ab_worker *worker, const struct ab_work *work)
{
    struct ab_work *item = ab_new(struct ab_work);
    *item = *work;
    ab_err err = ab_queue_try_put(worker->queue, item, work->request == NULL ? 0 : work->request->payload.bytes);
    if (err != AB_OK) {
        ab_delete(item);
    }
    return err;
}

size_t ab_worker_queued_bytes(struct ab_worker *worker)
{
    return ab_queue_bytes(worker->queue);
}
