/* The thread that owns partitions: takes what is queued, judges and stages it, commits the group, applies, answers. */
#include "speed/engine_private.h"

#include "common/base/assert.h"
#include "common/base/logging.h"

#include <stdio.h>

#define IDLE_WAIT_US (50 * AB_US_PER_MS)
#define HOUSEKEEPING_US (100 * AB_US_PER_MS)
#define NOTE_IDLE_US AB_US_PER_SECOND

/* A block of the group at hand. */
struct pending_block {
    struct ab_request *request; /* owned */
    uint32_t slot;              /* which of the worker's partitions */
    struct ab_staged staged;
};

/* One of the worker's partitions. */
struct worker_partition {
    struct ab_partition *partition; /* borrowed from the engine */
    int64_t flush_due_us;           /* monotonic */
    uint64_t durable_seen;          /* when last looked at */
    int64_t note_due_us;            /* monotonic; when that much was seen for long enough */
    bool is_touched;                /* has blocks in the group at hand */
    ab_err commit_err;              /* of the group at hand */
    uint64_t durable_before;
    struct ab_error error;
};

struct ab_worker {
    struct ab_engine *engine; /* borrowed */
    uint32_t index;
    struct ab_queue *queue; /* of struct ab_work */
    struct ab_thread thread;
    struct worker_partition *partitions; /* owned; worker thread, as all below */
    uint32_t partitions_count;
    struct pending_block *group; /* owned; AB_GROUP_BLOCKS_MAX places */
    size_t group_count;
    size_t group_bytes;
    struct ab_arena arena;   /* decoded blocks of the group */
    struct ab_arena scratch; /* one block's aggregation */
    struct ab_buffer reply;
    int64_t housekeeping_due_us;
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

/* Applies and answers one block of a committed, or failed, group. */
static void block_finish(struct ab_worker *worker, struct pending_block *pending)
{
    const struct worker_partition *owner = &worker->partitions[pending->slot];
    bool was_there = pending->staged.is_repeat && pending->staged.outcome.offset < owner->durable_before;
    if (owner->commit_err != AB_OK && !was_there) {
        ab_request_reply(pending->request, owner->commit_err, owner->error.text, ab_bytes_of(NULL, 0));
        return;
    }
    ab_partition_apply(owner->partition, &pending->staged, &worker->scratch);
    reply_block(worker, pending);
}

static void group_commit(struct ab_worker *worker)
{
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        struct worker_partition *owner = &worker->partitions[p];
        if (owner->is_touched) {
            owner->durable_before = ab_partition_durable(owner->partition);
            owner->error = (struct ab_error){0};
            owner->commit_err = ab_partition_commit(owner->partition, &owner->error);
            owner->is_touched = false;
        }
    }
    for (size_t i = 0; i < worker->group_count; i++) {
        block_finish(worker, &worker->group[i]);
    }
    worker->group_count = 0;
    worker->group_bytes = 0;
    ab_arena_reset(&worker->arena);
}

static void block_stage(struct ab_worker *worker, struct ab_request *request)
{
    if (worker->group_count == AB_GROUP_BLOCKS_MAX || worker->group_bytes >= AB_GROUP_BYTES_MAX) {
        group_commit(worker);
    }
    uint32_t slot = request->envelope.partition / worker->engine->options.workers;
    AB_ASSERT(slot < worker->partitions_count);
    struct worker_partition *owner = &worker->partitions[slot];
    struct ab_error error = {0};
    struct ab_staged *staged = &worker->group[worker->group_count].staged;
    ab_err err = ab_partition_stage(owner->partition, request->payload, ab_time_now(), &worker->arena, staged, &error);
    if (err == AB_FULL && worker->group_count > 0) {
        group_commit(worker); /* makes room in the staging buffer and the arena */
        staged = &worker->group[0].staged;
        error = (struct ab_error){0};
        err = ab_partition_stage(owner->partition, request->payload, ab_time_now(), &worker->arena, staged, &error);
    }
    if (err != AB_OK) {
        atomic_fetch_add_explicit(&worker->engine->refused_invalid, 1, memory_order_relaxed);
        ab_request_reply(request, err, error.text, ab_bytes_of(NULL, 0));
        return;
    }
    struct pending_block *pending = &worker->group[worker->group_count++];
    pending->request = request;
    pending->slot = slot;
    owner->is_touched = true;
    worker->group_bytes += request->payload.bytes;
}

static void control_do(struct ab_worker *worker, struct ab_control *control)
{
    group_commit(worker);
    for (uint32_t p = 0; p < worker->partitions_count; p++) {
        ab_control_run(control, worker->partitions[p].partition);
    }
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
        size_t bytes = ab_partition_active_bytes(worker->partitions[p].partition);
        if (bytes > largest_bytes) {
            largest = worker->partitions[p].partition;
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
        note_when_idle(owner, now);
        if (now >= owner->flush_due_us) {
            owner->flush_due_us = now + worker->engine->options.flush_interval_us;
            (void)ab_partition_flush_begin(owner->partition); /* false: nothing new */
        }
    }
}

/* ---- the thread ---- */

static void worker_run(void *context)
{
    struct ab_worker *worker = context;
    void *items[AB_GROUP_BLOCKS_MAX];
    for (;;) {
        size_t count = ab_queue_take(worker->queue, items, AB_GROUP_BLOCKS_MAX, ab_time_monotonic_us() + IDLE_WAIT_US);
        if (count == 0 && ab_queue_is_closed(worker->queue)) {
            return;
        }
        for (size_t i = 0; i < count; i++) {
            struct ab_work *work = items[i];
            if (work->request != NULL) {
                block_stage(worker, work->request);
            } else {
                control_do(worker, work->control);
            }
            ab_delete(work);
        }
        group_commit(worker);
        keep_house(worker);
    }
}

struct ab_worker *ab_worker_start(struct ab_engine *engine, uint32_t index, size_t queue_bytes_max)
{
    struct ab_worker *worker = ab_new(struct ab_worker);
    worker->engine = engine;
    worker->index = index;
    worker->queue = ab_queue_create(AB_WORKER_ITEMS_MAX, queue_bytes_max);
    worker->partitions = ab_new_array(struct worker_partition, engine->options.partitions_count);
    int64_t interval = engine->options.flush_interval_us;
    for (uint32_t p = index; p < engine->options.partitions_count; p += engine->options.workers) {
        struct worker_partition *owner = &worker->partitions[worker->partitions_count++];
        owner->partition = engine->partitions[p];
        /* Spread over the interval, so that partitions do not flush all at once. */
        owner->flush_due_us =
            ab_time_monotonic_us() + interval / 2 + interval / 2 * p / engine->options.partitions_count;
    }
    worker->group = ab_new_array(struct pending_block, AB_GROUP_BLOCKS_MAX);
    ab_arena_init(&worker->arena, &engine->memory, 1u << 20);
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
        (void)ab_partition_flush_begin(worker->partitions[p].partition); /* false: nothing new */
    }
}

void ab_worker_destroy(struct ab_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    ab_queue_destroy(worker->queue);
    ab_arena_fini(&worker->arena);
    ab_arena_fini(&worker->scratch);
    ab_buffer_fini(&worker->reply);
    ab_delete(worker->group);
    ab_delete(worker->partitions);
    ab_delete(worker);
}

ab_err ab_worker_put(struct ab_worker *worker, struct ab_request *request, struct ab_control *control)
{
    struct ab_work *work = ab_new(struct ab_work);
    *work = (struct ab_work){.request = request, .control = control};
    ab_err err = ab_queue_try_put(worker->queue, work, request == NULL ? 0 : request->payload.bytes);
    if (err != AB_OK) {
        ab_delete(work);
    }
    return err;
}

size_t ab_worker_queued_bytes(struct ab_worker *worker)
{
    return ab_queue_bytes(worker->queue);
}
