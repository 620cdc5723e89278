/* The query threads: they never touch a worker's objects but through snapshots. */
#include "speed/engine_private.h"

#include "speed/snapshot.h"

#include <inttypes.h>
#include <stdio.h>

#define WAIT_DEFAULT_US (30 * AB_US_PER_SECOND)
#define LEADS_EVERY_US (100 * AB_US_PER_MS) /* between two looks whether a partition is still led here */

struct ab_query_pool {
    struct ab_engine *engine;  /* borrowed */
    struct ab_queue *queue;    /* of struct ab_request */
    struct ab_thread *threads; /* owned */
    uint32_t threads_count;
};

/* One state query at work. */
struct state_query {
    struct ab_engine *engine;
    struct ab_request *request;
    struct ab_wire_state_query wire;
    const struct ab_plan *plan;
    struct ab_arena arena;
    uint32_t *partitions;       /* in the arena */
    struct ab_partition **held; /* in the arena; acquired, but for those that are NULL */
    uint64_t *offsets;
    size_t partitions_count;
    int64_t until_us;
    int64_t as_of_us;
};

static ab_err leads(const struct state_query *query, uint32_t partition, struct ab_error *error)
{
    bool is_led_here = ab_slots_may_serve(query->engine->slots, partition);
    return is_led_here ? AB_OK : ab_error_set(error, AB_UNAVAILABLE, "this node does not lead partition %u", partition);
}

static ab_err choose_partitions(struct state_query *query, struct ab_error *error)
{
    uint32_t all = query->engine->options.partitions_count;
    size_t count = query->wire.partitions_count == 0 ? all : query->wire.partitions_count;
    if (count > all) {
        return ab_error_set(error, AB_INVALID, "more partitions named than there are");
    }
    query->partitions = ab_arena_zalloc(&query->arena, count * sizeof(uint32_t));
    query->offsets = ab_arena_zalloc(&query->arena, count * sizeof(uint64_t));
    query->held = ab_arena_zalloc(&query->arena, count * sizeof(struct ab_partition *));
    if (query->partitions == NULL || query->offsets == NULL || query->held == NULL) {
        return ab_error_set(error, AB_FULL, "no memory for a query");
    }
    query->partitions_count = count;
    for (size_t i = 0; i < count; i++) {
        query->partitions[i] = query->wire.partitions_count == 0 ? (uint32_t)i : query->wire.partitions[i];
        if (query->partitions[i] >= all) {
            return ab_error_set(error, AB_INVALID, "there is no partition %u", query->partitions[i]);
        }
        query->held[i] = ab_slots_acquire(query->engine->slots, query->partitions[i]);
        AB_TRY(leads(query, query->partitions[i], error));
        if (query->held[i] == NULL) {
            return ab_error_set(error, AB_UNAVAILABLE, "partition %u has just come here", query->partitions[i]);
        }
        /* What was committed when the query began is what it has to see (DESIGN 4.6). */
        query->offsets[i] = ab_partition_committed(query->held[i]);
        if (query->wire.offsets != NULL && query->wire.offsets[i] > query->offsets[i]) {
            query->offsets[i] = query->wire.offsets[i]; /* what the asker has seen elsewhere */
        }
    }
    return AB_OK;
}

/* Waits until what the query has to see is applied. A leader that is replaced meanwhile may never apply it. */
static ab_err wait_applied(const struct state_query *query, size_t i, struct ab_error *error)
{
    struct ab_partition *partition = query->held[i];
    for (;;) {
        int64_t until_us = ab_time_monotonic_us() + LEADS_EVERY_US;
        until_us = until_us < query->until_us ? until_us : query->until_us;
        ab_err err = ab_partition_wait_applied(partition, query->offsets[i], until_us);
        if (err != AB_TIMEOUT) {
            return err;
        }
        AB_TRY(leads(query, query->partitions[i], error));
        if (ab_time_monotonic_us() >= query->until_us) {
            return ab_error_set(error, err,
                "the deadline passed before rows of partition %u that the answer has to "
                "include were applied",
                query->partitions[i]);
        }
    }
}

static ab_err gather(struct state_query *query, struct ab_rollup *rollup, struct ab_error *error)
{
    struct ab_group_scan *scan = ab_group_scan_create(query->plan->query, INT64_MIN);
    ab_err err = AB_OK;
    for (size_t i = 0; i < query->partitions_count && err == AB_OK; i++) {
        struct ab_partition *partition = query->held[i];
        struct ab_snapshot_position position = {0};
        err = wait_applied(query, i, error);
        if (err == AB_OK) {
            err = ab_snapshot_add(partition, query->plan, query->wire.cut, scan, rollup, &position, error);
            ab_partition_stop_if_condemned(partition, err, error);
        }
        query->offsets[i] = position.applied_offset;
        query->as_of_us = position.applied_time_us > query->as_of_us ? position.applied_time_us : query->as_of_us;
    }
    ab_group_scan_destroy(scan);
    return err;
}

static ab_err answer_rows(
    struct state_query *query, struct ab_rollup *rollup, struct ab_buffer *out, struct ab_error *error)
{
    struct ab_buffer rows = {0};
    ab_buffer_init(&rows, &query->engine->queries, AB_STATE_ROWS_BYTES_MAX);
    ab_err err = ab_rollup_encode(rollup, &rows);
    if (err == AB_OK) {
        struct ab_wire_state_reply reply = {.rows = ab_buffer_view(&rows),
            .partitions = query->partitions,
            .offsets = query->offsets,
            .partitions_count = query->partitions_count,
            .as_of_us = query->as_of_us};
        ab_wire_state_reply_encode(&reply, out);
    } else {
        (void)ab_error_set(error, err, "the answer has %zu groups, more than fits into %u bytes: narrow the query",
            ab_rollup_count(rollup), AB_STATE_ROWS_BYTES_MAX);
    }
    ab_buffer_fini(&rows);
    return err;
}

static ab_err plan_find(struct state_query *query, struct ab_error *error)
{
    const struct ab_served_catalog *served = ab_catalogs_find(query->engine->catalogs, query->wire.catalog_hash);
    if (served == NULL) {
        served = ab_catalogs_by_text(query->engine->catalogs, query->wire.catalog_hash);
    }
    if (served == NULL) {
        return ab_error_set(error, AB_STALE, "the catalog of this query is not known here (yet)");
    }
    return ab_plans_acquire(query->engine->plans, served, query->wire.sql, &query->plan, error);
}

static ab_err state_query_run(struct state_query *query, struct ab_buffer *out, struct ab_error *error)
{
    ab_err err = ab_wire_state_query_decode(query->request->payload, &query->arena, &query->wire);
    if (err != AB_OK) {
        return ab_error_set(error, err, "the state query does not decode");
    }
    AB_TRY(choose_partitions(query, error));
    AB_TRY(plan_find(query, error));
    struct ab_rollup *rollup = NULL;
    err = ab_rollup_create(
        query->plan->query, query->plan->aggregation, INT64_MIN, &query->engine->queries, &rollup, error);
    if (err == AB_OK) {
        err = gather(query, rollup, error);
        err = err == AB_OK ? answer_rows(query, rollup, out, error) : err;
        ab_rollup_destroy(rollup);
    }
    return err;
}

static ab_err state_query(
    struct ab_engine *engine, struct ab_request *request, struct ab_buffer *out, struct ab_error *error)
{
    int64_t latest = ab_time_monotonic_us() + WAIT_DEFAULT_US;
    struct state_query query = {.engine = engine, .request = request};
    query.until_us = request->deadline_us < latest ? request->deadline_us : latest;
    ab_arena_init(&query.arena, &engine->queries, 0);
    atomic_fetch_add_explicit(&engine->queries_count, 1, memory_order_relaxed);
    ab_err err = state_query_run(&query, out, error);
    for (size_t i = 0; query.held != NULL && i < query.partitions_count; i++) {
        if (query.held[i] != NULL) {
            ab_slots_release(engine->slots, query.partitions[i]);
        }
    }
    ab_plans_release(engine->plans, query.plan);
    ab_arena_fini(&query.arena);
    return err;
}

static ab_err dispatch(
    struct ab_engine *engine, struct ab_request *request, struct ab_buffer *out, struct ab_error *error)
{
    switch ((int)request->envelope.verb) {
    case AB_VERB_STATE_QUERY:
        return state_query(engine, request, out, error);
    case AB_VERB_DIGEST:
        return ab_report_digest(engine, request->payload, out, error);
    case AB_VERB_DEAD_LETTERS:
        return ab_report_dead_letters(engine, request->payload, out, error);
    case AB_VERB_LOG_STATE:
        return ab_report_log_state(engine, out, error);
    default:
        return ab_report_status(engine, out, error);
    }
}

static void pool_run(void *context)
{
    struct ab_query_pool *pool = context;
    struct ab_buffer out = {0};
    void *item = NULL;
    while (ab_queue_take(pool->queue, &item, 1, -1) == 1) {
        struct ab_request *request = item;
        struct ab_error error = {0};
        ab_buffer_clear(&out);
        ab_err err = ab_time_monotonic_us() > request->deadline_us
                         ? ab_error_set(&error, AB_TIMEOUT, "the deadline passed while the query waited")
                         : dispatch(pool->engine, request, &out, &error);
        const char *text = error.text[0] != '\0' ? error.text : ab_err_text(err);
        ab_request_reply(
            request, err, err == AB_OK ? NULL : text, err == AB_OK ? ab_buffer_view(&out) : ab_bytes_of(NULL, 0));
    }
    ab_buffer_fini(&out);
}

struct ab_query_pool *ab_query_pool_start(struct ab_engine *engine, uint32_t threads_count)
{
    struct ab_query_pool *pool = ab_new(struct ab_query_pool);
    pool->engine = engine;
    pool->queue = ab_queue_create(AB_QUERY_ITEMS_MAX, engine->options.memory_bytes / 8);
    pool->threads = ab_new_array(struct ab_thread, threads_count);
    pool->threads_count = threads_count;
    for (uint32_t i = 0; i < threads_count; i++) {
        char name[24];
        (void)snprintf(name, sizeof(name), "query-%u", i);
        ab_thread_start(&pool->threads[i], name, pool_run, pool);
    }
    return pool;
}

void ab_query_pool_stop(struct ab_query_pool *pool)
{
    ab_queue_close(pool->queue);
    for (uint32_t i = 0; i < pool->threads_count; i++) {
        ab_thread_join(&pool->threads[i]);
    }
}

void ab_query_pool_destroy(struct ab_query_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    ab_queue_destroy(pool->queue);
    ab_delete(pool->threads);
    ab_delete(pool);
}

ab_err ab_query_pool_put(struct ab_query_pool *pool, struct ab_request *request)
{
    return ab_queue_try_put(pool->queue, request, request->payload.bytes);
}
