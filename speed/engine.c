#include "speed/engine_private.h"

#include "common/base/file.h"
#include "common/base/logging.h"

#include <inttypes.h>
#include <stdlib.h>

#define QUEUE_BYTES_MAX (64u << 20)
#define QUEUE_BYTES_MIN (1u << 20)
#define DRAIN_US (60 * AB_US_PER_SECOND)

static uint32_t flush_threads(const struct ab_engine *engine)
{
    uint32_t half = engine->options.workers / 2;
    return half == 0 ? 1 : half;
}

/* Of one partition's log. */
static size_t recent_bytes(const struct ab_engine_options *options)
{
    size_t part = options->memory_bytes / AB_RECENT_MEMORY_PART / options->partitions_count;
    size_t bytes = part < AB_RECENT_BYTES_MAX ? part : AB_RECENT_BYTES_MAX;
    return options->replication == NULL ? 0 : bytes;
}

static ab_err replicator_create(struct ab_engine *engine, struct ab_partition *partition, const char *directory,
    struct ab_replicator **replicator, struct ab_error *error)
{
    const struct ab_engine_replication *replication = &engine->replication;
    struct ab_partition_report report;
    ab_partition_report(partition, &report);
    const struct ab_replicator_options options = {.partition = partition,
        .directory = directory,
        .node = replication->node,
        .incarnation = replication->incarnation,
        .disk_id = replication->disk_id,
        .damaged_until = report.damaged_until,
        .lag_us_max = replication->lag_us_max,
        .memory = &engine->memory,
        .progress_us = &engine->progress_us[ab_partition_number(partition) % engine->options.workers],
        .outlets = replication->outlets,
        .context = replication->context};
    return ab_replicator_create(&options, replicator, error);
}

ab_err ab_engine_slot_open(struct ab_engine *engine, uint32_t partition, bool was_here, struct ab_error *error)
{
    struct ab_partition *opened = NULL;
    struct ab_replicator *replicator = NULL;
    char *directory = ab_slots_directory(engine->options.directory, partition);
    struct ab_partition_options options = {.directory = directory,
        .number = partition,
        .partitions_count = engine->options.partitions_count,
        .leader_epoch = 1,
        .is_replicated = engine->is_replicated,
        .was_here = was_here,
        .segment_bytes = engine->options.segment_bytes,
        .recent_bytes = recent_bytes(&engine->options),
        .cache = engine->cache,
        .memory = &engine->memory,
        .partials = &engine->partials,
        .catalogs = engine->catalogs,
        .initial = engine->initial,
        .on_flush_wanted = ab_flusher_want,
        .context = engine->flusher};
    memcpy(options.cluster_id, engine->options.cluster_id, sizeof(options.cluster_id));
    ab_err err = ab_partition_open(&options, &opened, error);
    if (err == AB_OK && options.is_replicated) {
        err = replicator_create(engine, opened, directory, &replicator, error);
    }
    ab_delete(directory);
    if (err != AB_OK) {
        ab_partition_close(opened);
        return err;
    }
    ab_slots_put(engine->slots, partition, opened, replicator);
    return AB_OK;
}

/* Of several replicas those that are there: which others belong here, the coordination service says later. */
static ab_err partitions_open(struct ab_engine *engine, struct ab_error *error)
{
    for (uint32_t p = 0; p < engine->options.partitions_count; p++) {
        char *directory = ab_slots_directory(engine->options.directory, p);
        bool is_there = !engine->is_replicated || ab_file_exists(directory);
        ab_delete(directory);
        ab_slots_leftover_remove(engine->options.directory, p);
        bool was_here = engine->is_replicated && engine->replication.was_here;
        if (is_there) {
            AB_TRY(ab_engine_slot_open(engine, p, was_here, error));
        } else {
            ab_slots_set_missing(engine->slots, p, was_here);
        }
    }
    return AB_OK;
}

static void threads_start(struct ab_engine *engine)
{
    size_t queue_bytes = engine->options.memory_bytes / 4 / engine->options.workers;
    queue_bytes = queue_bytes > QUEUE_BYTES_MAX ? QUEUE_BYTES_MAX : queue_bytes;
    queue_bytes = queue_bytes < QUEUE_BYTES_MIN ? QUEUE_BYTES_MIN : queue_bytes;
    for (uint32_t w = 0; w < engine->options.workers; w++) {
        engine->workers[w] = ab_worker_start(engine, w, queue_bytes);
    }
    engine->query_pool = ab_query_pool_start(engine, engine->options.query_threads);
}

ab_err ab_engine_open(const struct ab_engine_options *options, struct ab_engine **engine, struct ab_error *error)
{
    struct ab_engine *made = ab_new(struct ab_engine);
    made->options = *options;
    made->options.directory = ab_new_text(options->directory);
    made->options.catalog = ab_bytes_of(NULL, 0);
    if (options->replication != NULL) {
        made->replication = *options->replication;
        made->options.replication = &made->replication;
        made->is_replicated = true;
    }
    if (made->options.workers > options->partitions_count) {
        made->options.workers = options->partitions_count;
    }
    made->started_us = ab_time_monotonic_us();
    ab_memory_init(&made->memory, options->memory_bytes, NULL);
    ab_memory_init(&made->partials, options->memory_bytes / 2, &made->memory);
    ab_memory_init(&made->queries, options->memory_bytes / 8, &made->memory);
    made->cache = ab_store_cache_create(options->memory_bytes / 8, 2);
    made->catalogs = ab_catalogs_create();
    made->plans = ab_plans_create();
    made->slots = ab_slots_create(options->partitions_count);
    made->workers = ab_new_array(struct ab_worker *, made->options.workers);
    made->progress_us = ab_new_array(atomic_int_fast64_t, made->options.workers);
    made->flusher = ab_flusher_start(flush_threads(made), options->partitions_count);
    ab_err err = AB_OK;
    if (options->catalog.bytes > 0) {
        err = ab_catalogs_add(made->catalogs, options->catalog, &made->initial, error);
    }
    if (err == AB_OK) {
        err = partitions_open(made, error);
    }
    if (err != AB_OK) {
        ab_engine_close(made);
        return err;
    }
    made->scrubber = ab_scrubber_create(made->slots, options->partitions_count, options->scrub_bytes_per_second);
    ab_engine_tick(made);
    threads_start(made);
    *engine = made;
    return AB_OK;
}

void ab_engine_stop(struct ab_engine *engine)
{
    if (engine->is_stopped) {
        return;
    }
    engine->is_stopped = true;
    atomic_store_explicit(&engine->is_stopping, true, memory_order_release);
    if (engine->query_pool != NULL) {
        ab_query_pool_stop(engine->query_pool);
    }
    for (uint32_t w = 0; w < engine->options.workers && engine->workers[w] != NULL; w++) {
        ab_worker_stop(engine->workers[w]);
    }
    for (uint32_t p = 0; p < engine->options.partitions_count; p++) {
        ab_slots_end_replicator(engine->slots, p);
    }
    if (ab_flusher_drain(engine->flusher, ab_time_monotonic_us() + DRAIN_US) != AB_OK) {
        ab_warn("stopping without a last flush", "it is replayed from the log at the next start");
    }
    ab_flusher_stop(engine->flusher);
    engine->flusher = NULL;
}

void ab_engine_close(struct ab_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    ab_engine_stop(engine);
    ab_query_pool_destroy(engine->query_pool);
    ab_scrubber_destroy(engine->scrubber);
    for (uint32_t w = 0; w < engine->options.workers; w++) {
        ab_worker_destroy(engine->workers[w]);
    }
    ab_slots_destroy(engine->slots);
    ab_plans_destroy(engine->plans);
    ab_catalogs_destroy(engine->catalogs);
    ab_store_cache_destroy(engine->cache);
    ab_delete(engine->progress_us);
    ab_delete(engine->workers);
    ab_delete((char *)(uintptr_t)engine->options.directory);
    ab_delete(engine);
}

ab_err ab_engine_add_catalog(struct ab_engine *engine, struct ab_bytes encoded, struct ab_error *error)
{
    const struct ab_served_catalog *served = NULL;
    return ab_catalogs_add(engine->catalogs, encoded, &served, error);
}

uint32_t ab_engine_damaged(uint32_t *partitions, void *context)
{
    const struct ab_engine *engine = context;
    uint32_t count = 0;
    for (uint32_t p = 0; p < engine->options.partitions_count; p++) {
        if (ab_slots_is_damaged(engine->slots, p)) {
            partitions[count++] = p;
        }
    }
    return count;
}

bool ab_engine_holds(uint32_t partition, void *context)
{
    const struct ab_engine *engine = context;
    return ab_slots_hold(engine->slots, partition);
}

bool ab_engine_on_input(struct ab_replica_input *input, void *context)
{
    struct ab_engine *engine = context;
    uint32_t workers = engine->options.workers;
    if (input->partition != AB_REPLICA_INPUT_ALL) {
        uint32_t index = input->partition % workers;
        return input->partition < engine->options.partitions_count &&
               ab_worker_put(engine->workers[index], &(struct ab_work){.input = input}) == AB_OK;
    }
    for (uint32_t w = 1; w < workers; w++) {
        struct ab_replica_input *copy = ab_new(struct ab_replica_input);
        *copy = *input;
        while (ab_worker_put(engine->workers[w], &(struct ab_work){.input = copy}) != AB_OK) {
            if (atomic_load(&engine->is_stopping)) {
                ab_replica_input_destroy(copy);
                return false;
            }
            ab_time_sleep_us(AB_US_PER_MS);
        }
    }
    return ab_worker_put(engine->workers[0], &(struct ab_work){.input = input}) == AB_OK;
}

void ab_engine_ask_to_stop(void *context)
{
    struct ab_engine *engine = context;
    atomic_store(&engine->is_stop_wanted, true);
}

/* A worker that hangs in its disk would hold the leadership of its partitions as long as other threads keep the session
 * alive (H20): the process ends, and others lead. */
static void stall_check(const struct ab_engine *engine)
{
    int64_t now = ab_time_monotonic_us();
    for (uint32_t w = 0; engine->is_replicated && w < engine->options.workers; w++) {
        int64_t progress_us = atomic_load(&engine->progress_us[w]);
        if (progress_us > 0 && now - progress_us > AB_WORKER_STALL_US) {
            ab_error_log("worker hangs",
                "worker %u has done nothing for %" PRId64 " s: the process ends, so that other "
                "nodes lead its partitions",
                w, (now - progress_us) / AB_US_PER_SECOND);
            abort();
        }
    }
}

/* What partitions that were taken away left: on this thread, for that may take long. */
static void leftovers_remove(struct ab_engine *engine)
{
    if (atomic_exchange(&engine->has_leftovers, false)) {
        for (uint32_t p = 0; p < engine->options.partitions_count; p++) {
            ab_slots_leftover_remove(engine->options.directory, p);
        }
    }
}

void ab_engine_tick(struct ab_engine *engine)
{
    leftovers_remove(engine);
    stall_check(engine);
    ab_scrubber_tick(engine->scrubber, ab_time_monotonic_us());
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    if (ab_file_space(engine->options.directory, &free_bytes, &total_bytes) != AB_OK || total_bytes == 0) {
        return;
    }
    double used_percent = 100.0 * (double)(total_bytes - free_bytes) / (double)total_bytes;
    bool is_full = used_percent > (double)engine->options.disk_watermark_percent;
    bool was_full = atomic_exchange_explicit(&engine->is_disk_full, is_full, memory_order_relaxed);
    if (is_full && !was_full) {
        ab_warn("disk above its watermark, ingestion is refused", "%.1f %% of %" PRIu64 " bytes are used", used_percent,
            total_bytes);
    } else if (was_full && !is_full) {
        ab_info("disk below its watermark, ingestion goes on", "%.1f %% used", used_percent);
    }
}

bool ab_engine_wants_stop(const struct ab_engine *engine)
{
    return atomic_load(&engine->is_stop_wanted);
}
