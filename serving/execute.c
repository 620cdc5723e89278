#include "serving/execute.h"

#include "serving/batch_scan.h"
#include "serving/gather.h"
#include "serving/route.h"

#include "common/aggregate/rollup.h"
#include "common/block/column_codec.h"

#include <inttypes.h>
#include <stdio.h>

#define PREPARED_QUERIES 64u
#define ATTEMPTS_MAX 5
#define STALE_WAIT_US (20 * AB_US_PER_MS)
#define REPLY_BYTES_MAX (AB_WIRE_MESSAGE_BYTES_MAX - (64u << 10))

/* A parsed query, kept because services ask the same thing again and again. */
struct prepared_query {
    uint64_t hash;
    char *sql;              /* owned */
    struct ab_query *query; /* owned; refers to its catalog */
};

struct ab_executor {
    struct ab_snapshot_source *source; /* borrowed */
    struct ab_memory *memory;          /* borrowed */
    struct ab_gather *gather;          /* owned */
    struct prepared_query prepared[PREPARED_QUERIES];
    struct ab_arena arena; /* of the query in hand */
};

/* One query on its way. */
struct execution {
    struct ab_executor *executor;
    struct ab_snapshot *snapshot;
    const struct ab_served_view *served;
    const struct ab_query *query;
    const struct ab_wire_query *request;
    struct ab_bytes sql;      /* the text that is answered: of the request, or with the end of LAST filled in */
    struct ab_rollup *rollup; /* owned */
    bool *wanted_partitions;  /* in the arena */
    bool *wanted_shards;      /* in the arena */
    struct ab_gathered gathered;
    bool is_planned;
    int64_t deadline_us;
    struct ab_error *error;
};

struct ab_executor *ab_executor_create(
    struct ab_wire *wire, struct ab_snapshot_source *source, struct ab_memory *memory)
{
    struct ab_executor *executor = ab_new(struct ab_executor);
    executor->gather = ab_gather_create(wire, source);
    executor->source = source;
    executor->memory = memory;
    ab_arena_init(&executor->arena, memory, 0);
    return executor;
}

void ab_executor_destroy(struct ab_executor *executor)
{
    if (executor == NULL) {
        return;
    }
    for (size_t i = 0; i < PREPARED_QUERIES; i++) {
        ab_query_destroy(executor->prepared[i].query);
        ab_delete(executor->prepared[i].sql);
    }
    ab_gather_destroy(executor->gather);
    ab_arena_fini(&executor->arena);
    ab_delete(executor);
}

/* ---- plan ---- */

/* The parsed query for this text under this catalog, from the cache or fresh; borrowed until the next call. */
static ab_err query_prepare(struct ab_executor *executor, struct ab_catalog *catalog, struct ab_bytes sql,
    const struct ab_query **query, struct ab_error *error)
{
    uint64_t hash = ab_hash64(AB_HASH_TABLE, sql);
    struct prepared_query *slot = &executor->prepared[hash % PREPARED_QUERIES];
    if (slot->query != NULL && slot->hash == hash && slot->query->catalog == catalog &&
        ab_bytes_equal(ab_bytes_of_text(slot->sql), sql)) {
        *query = slot->query;
        return AB_OK;
    }
    struct ab_query *parsed = NULL;
    AB_TRY(ab_query_parse(catalog, sql, &parsed, error));
    ab_query_destroy(slot->query);
    ab_delete(slot->sql);
    *slot = (struct prepared_query){.hash = hash, .sql = ab_new_text_of(sql), .query = parsed};
    *query = parsed;
    return AB_OK;
}

/* Parses under the newest catalog, or under that of a view whose definition before still answers: the newest one may
 * not have its measures any more. */
static ab_err execution_parse(struct execution *execution)
{
    const struct ab_snapshot *snapshot = execution->snapshot;
    struct ab_bytes sql = execution->sql;
    ab_err err = query_prepare(execution->executor, snapshot->catalog, sql, &execution->query, execution->error);
    for (uint32_t v = 0; err != AB_OK && v < snapshot->views_count; v++) {
        const struct ab_served_view *served = &snapshot->views[v];
        const struct ab_query *query = NULL;
        struct ab_error ignored = {0};
        if (served->catalog != snapshot->catalog &&
            query_prepare(execution->executor, served->catalog, sql, &query, &ignored) == AB_OK &&
            query->view == served->view) {
            execution->query = query;
            *execution->error = (struct ab_error){0};
            return AB_OK;
        }
    }
    return err;
}

/* Gives a LAST without an end the end of the pane that holds this moment: from here on the query is the same text for
 * every node. */
static ab_err execution_settle(struct execution *execution)
{
    struct ab_executor *executor = execution->executor;
    struct ab_buffer text = {0};
    if (execution->query->moment_place == 0) {
        return AB_OK;
    }
    ab_query_settle(execution->query, execution->sql, ab_time_now(), &text);
    execution->sql = ab_arena_copy(&executor->arena, ab_buffer_view(&text));
    ab_buffer_fini(&text);
    if (execution->sql.data == NULL) {
        return ab_error_set(execution->error, AB_FULL, "no memory for another query now");
    }
    return query_prepare(executor, execution->query->catalog, execution->sql, &execution->query, execution->error);
}

/* Finds the view that answers; a definition that is not whole yet gives way to the one before. */
static ab_err execution_plan(struct execution *execution)
{
    struct ab_executor *executor = execution->executor;
    const struct ab_snapshot *snapshot = execution->snapshot;
    AB_TRY(execution_parse(execution));
    AB_TRY(execution_settle(execution));
    struct ab_bytes name = ab_bytes_of_text(execution->query->view->name);
    execution->served = ab_snapshot_view(snapshot, name);
    if (execution->served == NULL) {
        return ab_error_set(execution->error, AB_UNAVAILABLE, "the catalog is changing; try again");
    }
    if (execution->served->damage != NULL) {
        return ab_error_set(execution->error, AB_CORRUPT,
            "%s; `anabranch job submit recompute --full` makes the view anew from history", execution->served->damage);
    }
    if (execution->served->catalog != snapshot->catalog) {
        AB_TRY(
            query_prepare(executor, execution->served->catalog, execution->sql, &execution->query, execution->error));
    }
    uint32_t count = snapshot->partitions_count;
    execution->wanted_partitions = ab_arena_zalloc(&executor->arena, count);
    execution->wanted_shards = ab_arena_zalloc(&executor->arena, count);
    if (execution->wanted_partitions == NULL || execution->wanted_shards == NULL) {
        return ab_error_set(execution->error, AB_FULL, "no memory for another query now");
    }
    execution->is_planned = true;
    ab_route_query(execution->query, count, execution->wanted_partitions, execution->wanted_shards);
    struct ab_served_version *version = execution->served->version;
    ab_time_us hidden_until = version == NULL ? INT64_MIN : ab_served_version_manifest(version)->horizon_us;
    return ab_rollup_create(execution->query, execution->served->aggregation, hidden_until, executor->memory,
        &execution->rollup, execution->error);
}

static uint64_t execution_cut(const struct execution *execution)
{
    struct ab_served_version *version = execution->served->version;
    return version == NULL ? 0 : ab_served_version_manifest(version)->cut;
}

/* ---- the speed branch ---- */

static ab_err speed_ask(struct execution *execution)
{
    const struct ab_wire_query *request = execution->request;
    struct ab_gather_question question = {.snapshot = execution->snapshot,
        .sql = execution->sql,
        .catalog_key = execution->served->catalog_key,
        .cut = execution_cut(execution),
        .wanted = execution->wanted_partitions,
        .offsets = request->offsets,
        .offsets_count = request->offsets_count,
        .allow_partial = request->allow_partial,
        .deadline_us = execution->deadline_us,
        .arena = &execution->executor->arena,
        .rollup = execution->rollup};
    if (request->offsets_count > execution->snapshot->partitions_count) {
        return ab_error_set(execution->error, AB_INVALID, "offsets of more partitions than there are");
    }
    return ab_gather_begin(execution->executor->gather, &question, execution->error);
}

/* ---- the answer ---- */

static ab_err reply_encode(struct execution *execution, struct ab_column *columns, uint32_t rows_count,
    const struct ab_bytes *warnings, size_t warnings_count, struct ab_buffer *out)
{
    struct ab_arena *arena = &execution->executor->arena;
    const struct ab_query *query = execution->query;
    struct ab_wire_column *wire = ab_arena_zalloc(arena, (query->items_count + 1) * sizeof *wire);
    for (uint32_t i = 0; wire != NULL && i < query->items_count; i++) {
        struct ab_block_column column = {.name = ab_bytes_of_text(query->items[i].name), .column = columns[i]};
        AB_TRY(ab_block_column_encode(&column, arena, &wire[i]));
    }
    if (wire == NULL) {
        return ab_error_set(execution->error, AB_FULL, "no memory for the answer");
    }
    struct ab_served_version *version = execution->served->version;
    char name[160] = "";
    struct ab_token token = {.cut = execution_cut(execution),
        .offsets = execution->gathered.offsets,
        .offsets_count = execution->gathered.offsets == NULL ? 0 : execution->snapshot->partitions_count,
        .as_of_us = execution->gathered.as_of_us,
        .is_complete = execution->gathered.is_complete};
    if (version != NULL) {
        const struct ab_version_manifest *manifest = ab_served_version_manifest(version);
        snprintf(name, sizeof name, "%s-%" PRIu32 "/%" PRIu64 "-%" PRIu32, manifest->view, manifest->definition_version,
            manifest->cut, manifest->attempt);
        token.horizon_us = manifest->horizon_us == INT64_MIN ? 0 : manifest->horizon_us;
    }
    token.version = ab_bytes_of_text(name);
    struct ab_wire_query_reply reply = {.columns = wire,
        .columns_count = query->items_count,
        .rows_count = rows_count,
        .token = token,
        .warnings = warnings,
        .warnings_count = warnings_count};
    size_t before = out->bytes;
    ab_wire_query_reply_encode(&reply, out);
    if (ab_buffer_finish(out) != AB_OK || out->bytes - before > REPLY_BYTES_MAX) {
        return ab_error_set(execution->error, AB_TOO_LARGE,
            "the answer has %" PRIu32 " rows, more than fits into one message: add LIMIT or narrow WHERE", rows_count);
    }
    return AB_OK;
}

/* What an incomplete answer says of what it lacks. */
static void missing_put(const struct execution *execution, struct ab_buffer *text)
{
    if (execution->snapshot->leaders.is_single) {
        ab_buffer_put_format(
            text, "incomplete: the speed layer did not answer; rows after the version's cut are missing");
        return;
    }
    ab_buffer_put_format(text, "incomplete: rows after the version's cut are missing of partitions ");
    ab_gather_put_missing(execution->executor->gather, text);
}

static ab_err execution_finish(struct execution *execution, struct ab_buffer *out)
{
    struct ab_arena *arena = &execution->executor->arena;
    struct ab_column *columns = NULL;
    uint32_t rows_count = 0;
    uint64_t overflows = 0;
    AB_TRY(ab_rollup_finish(execution->rollup, arena, &columns, &rows_count, &overflows, execution->error));
    struct ab_bytes warnings[2];
    size_t warnings_count = 0;
    char text[128];
    struct ab_buffer missing = {0};
    if (overflows > 0) {
        snprintf(text, sizeof text, "%" PRIu64 " values did not fit their type and are shown as NULL", overflows);
        warnings[warnings_count++] = ab_bytes_of_text(text);
    }
    if (!execution->gathered.is_complete) {
        missing_put(execution, &missing);
        warnings[warnings_count++] = ab_buffer_view(&missing);
    }
    ab_err err = reply_encode(execution, columns, rows_count, warnings, warnings_count, out);
    ab_buffer_fini(&missing);
    return err;
}

/* Both branches; the node looks for its groups while we look for ours. */
static ab_err execution_run(struct execution *execution, struct ab_buffer *out)
{
    AB_TRY(execution_plan(execution));
    ab_err speed = speed_ask(execution);
    if (speed != AB_OK && !execution->request->allow_partial) {
        return speed;
    }
    if (execution->served->version != NULL) {
        AB_TRY(ab_batch_scan(execution->served->version, execution->query, execution->wanted_shards,
            execution->deadline_us, execution->rollup, execution->error));
    }
    if (speed == AB_OK) {
        speed = ab_gather_wait(execution->executor->gather, execution->error);
    }
    execution->gathered = ab_gather_result(execution->executor->gather);
    if (speed != AB_OK && (speed == AB_STALE || speed == AB_AGAIN || !execution->request->allow_partial)) {
        return speed;
    }
    return execution_finish(execution, out);
}

/* True when the cluster has moved on since the snapshot was made. */
static bool snapshot_is_old(struct ab_executor *executor, const struct ab_snapshot *snapshot)
{
    ab_snapshot_source_refresh(executor->source);
    struct ab_snapshot *current = ab_snapshot_source_current(executor->source);
    bool is_old = current != snapshot;
    ab_snapshot_release(current);
    return is_old;
}

/* A view without a version whose early spans speed does not hold: it came to be while the cluster ran. */
static ab_err not_whole(const struct execution *execution)
{
    char inner[AB_ERROR_TEXT_BYTES];
    (void)snprintf(inner, sizeof inner, "%s", execution->error->text);
    *execution->error = (struct ab_error){0};
    return ab_error_set(execution->error, AB_STALE,
        "view %s is not whole yet: the job that fills it has not published (see `anabranch job list`); %s",
        execution->query->view->name, inner);
}

static ab_err executor_attempt(struct ab_executor *executor, const struct ab_wire_query *request, int64_t deadline_us,
    struct ab_buffer *reply, struct ab_error *error)
{
    struct ab_snapshot *snapshot = ab_snapshot_source_current(executor->source);
    struct execution execution = {.executor = executor,
        .snapshot = snapshot,
        .request = request,
        .sql = request->sql,
        .deadline_us = deadline_us,
        .error = error};
    ab_err err = execution_run(&execution, reply);
    if (err == AB_FULL) {
        err = ab_error_wrap(
            error, err, "no memory for this query now: ask for fewer groups, or start with more --memory");
    }
    if (err != AB_OK && !execution.is_planned && snapshot_is_old(executor, snapshot)) {
        err = AB_STALE; /* what is not known yet may be known now */
    } else if (err == AB_STALE && execution.is_planned && execution.served->version == NULL) {
        err = not_whole(&execution);
    }
    ab_gather_end(executor->gather);
    ab_rollup_destroy(execution.rollup);
    ab_arena_reset(&executor->arena);
    ab_snapshot_release(snapshot);
    return err;
}

ab_err ab_executor_query(struct ab_executor *executor, const struct ab_wire_query *request, int64_t deadline_us,
    struct ab_buffer *reply, struct ab_error *error)
{
    ab_err err = AB_OK;
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        *error = (struct ab_error){0};
        ab_buffer_clear(reply);
        err = executor_attempt(executor, request, deadline_us, reply, error);
        if ((err != AB_STALE && err != AB_AGAIN) || ab_time_monotonic_us() >= deadline_us) {
            return err;
        }
        ab_time_sleep_us(STALE_WAIT_US * (attempt + 1));
        ab_snapshot_source_refresh(executor->source);
    }
    return err;
}

ab_err ab_executor_ping(struct ab_executor *executor, int64_t deadline_us, struct ab_error *error)
{
    struct ab_snapshot *snapshot = ab_snapshot_source_current(executor->source);
    ab_err err = ab_gather_ping(executor->gather, snapshot, deadline_us, error);
    ab_snapshot_release(snapshot);
    return err;
}
