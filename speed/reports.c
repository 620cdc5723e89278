/* What the node says of itself: status, positions of its logs, digests. */
#include "speed/engine_private.h"

#include "speed/digest.h"
#include "common/base/json.h"
#include "common/coordination/operations.h"

#include <inttypes.h>
#include <unistd.h>

static void set_count(struct ab_json *json, const char *key, uint64_t count)
{
    ab_json_set(json, key, ab_json_integer(count > INT64_MAX ? INT64_MAX : (int64_t)count));
}

static struct ab_json *partition_json(struct ab_partition *partition)
{
    struct ab_partition_report report;
    ab_partition_report(partition, &report);
    struct ab_json *json = ab_json_object();
    set_count(json, "partition", ab_partition_number(partition));
    set_count(json, "start", report.start_offset);
    set_count(json, "end", report.end_offset);
    set_count(json, "durable", report.durable_offset);
    set_count(json, "committed", report.committed_offset);
    set_count(json, "applied", report.applied_offset);
    set_count(json, "flushed", report.flushed_offset);
    set_count(json, "last_cut", report.last_cut);
    set_count(json, "retired_cut", report.retired_cut);
    set_count(json, "catalog_version", report.catalog_version);
    set_count(json, "spans", report.spans_count);
    set_count(json, "groups_in_memory", report.groups_count);
    set_count(json, "frozen_tables", report.frozen_count);
    set_count(json, "flushes_waiting", report.jobs_count);
    set_count(json, "accepted", report.rows_accepted);
    set_count(json, "rejected", report.rows_rejected);
    set_count(json, "duplicates", report.rows_duplicate);
    set_count(json, "producers", report.producers_count);
    set_count(json, "sources", report.sources_count);
    set_count(json, "replayed_records", report.replayed_records);
    set_count(json, "torn_bytes", report.torn_bytes);
    ab_json_set(json, "applied_time_us", ab_json_integer(report.applied_time_us));
    return json;
}

static struct ab_json *partitions_json(struct ab_engine *engine)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t p = 0; p < engine->options.partitions_count; p++) {
        struct ab_partition *partition = ab_slots_acquire(engine->slots, p);
        if (partition != NULL) {
            ab_json_append(list, partition_json(partition));
            ab_slots_release(engine->slots, p);
        }
    }
    return list;
}

static struct ab_json *counters_json(struct ab_engine *engine)
{
    struct ab_json *json = ab_json_object();
    set_count(json, "blocks", atomic_load(&engine->blocks));
    set_count(json, "accepted", atomic_load(&engine->rows_accepted));
    set_count(json, "rejected", atomic_load(&engine->rows_rejected));
    set_count(json, "duplicates", atomic_load(&engine->rows_duplicate));
    set_count(json, "refused_full", atomic_load(&engine->refused_full));
    set_count(json, "refused_invalid", atomic_load(&engine->refused_invalid));
    set_count(json, "queries", atomic_load(&engine->queries_count));
    return json;
}

static struct ab_json *scrub_json(struct ab_engine *engine)
{
    struct ab_scrubber_counts counts;
    ab_scrubber_counts(engine->scrubber, &counts);
    struct ab_json *json = ab_json_object();
    set_count(json, "passes", counts.passes_count);
    set_count(json, "bytes", counts.bytes_count);
    set_count(json, "bad", counts.bad_count);
    return json;
}

ab_err ab_report_status(struct ab_engine *engine, struct ab_buffer *out, struct ab_error *error)
{
    size_t queued = 0;
    for (uint32_t w = 0; w < engine->options.workers; w++) {
        queued += ab_worker_queued_bytes(engine->workers[w]);
    }
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "program", ab_json_text("anabranch-speed"));
    ab_json_set(json, "version", ab_json_text(AB_VERSION));
    set_count(json, "pid", (uint64_t)getpid());
    set_count(json, "up_us", (uint64_t)(ab_time_monotonic_us() - engine->started_us));
    set_count(json, "cpu_ns", (uint64_t)ab_time_process_cpu_ns());
    set_count(json, "workers", engine->options.workers);
    set_count(json, "memory_bytes", ab_memory_used(&engine->memory));
    set_count(json, "memory_bytes_max", engine->memory.limit_bytes);
    set_count(json, "partials_bytes", ab_memory_used(&engine->partials));
    set_count(json, "queued_bytes", queued);
    ab_json_set(json, "is_disk_full", ab_json_boolean(atomic_load(&engine->is_disk_full)));
    ab_json_set(json, "counters", counters_json(engine));
    ab_json_set(json, "scrub", scrub_json(engine));
    ab_json_set(json, "coordination", ab_coordination_operations_json());
    ab_json_set(json, "partitions", partitions_json(engine));
    ab_json_write(json, 0, out);
    ab_json_destroy(json);
    return ab_buffer_finish(out) == AB_OK ? AB_OK : ab_error_set(error, AB_FULL, "no memory for the status");
}

ab_err ab_report_log_state(struct ab_engine *engine, struct ab_buffer *out, struct ab_error *error)
{
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "partitions", partitions_json(engine));
    ab_json_write(json, 0, out);
    ab_json_destroy(json);
    return ab_buffer_finish(out) == AB_OK ? AB_OK : ab_error_set(error, AB_FULL, "no memory for the log state");
}

static struct ab_json *digest_json(
    uint32_t partition, const struct ab_digest *digest, const struct ab_row_counts *counts)
{
    char sum[33];
    ab_hash128_format(digest->sum, sum);
    struct ab_json *json = ab_json_object();
    set_count(json, "partition", partition);
    ab_json_set(json, "digest", ab_json_text(sum));
    set_count(json, "groups", digest->groups_count);
    set_count(json, "rows", digest->rows_count);
    set_count(json, "aggregated", counts->aggregated);
    set_count(json, "filtered", counts->filtered);
    set_count(json, "expired", counts->expired);
    set_count(json, "faults", counts->faults);
    return json;
}

ab_err ab_report_digest(
    struct ab_engine *engine, struct ab_bytes payload, struct ab_buffer *out, struct ab_error *error)
{
    struct ab_json *body = NULL;
    AB_TRY(ab_json_parse(payload, &body, error));
    uint64_t span = ab_json_u64_or(ab_json_get(body, "span"), 0);
    uint64_t uid = ab_json_u64_or(ab_json_get(body, "view_uid"), 0);
    ab_json_destroy(body);
    if (span == 0 || uid == 0 || uid > UINT32_MAX) {
        return ab_error_set(error, AB_INVALID, "a digest wants {\"span\":…,\"view_uid\":…}");
    }
    struct ab_json *list = ab_json_array();
    ab_err err = AB_OK;
    for (uint32_t p = 0; p < engine->options.partitions_count && err == AB_OK; p++) {
        struct ab_digest digest;
        struct ab_row_counts counts;
        struct ab_partition *partition = ab_slots_acquire(engine->slots, p);
        if (partition == NULL) {
            continue;
        }
        err = ab_digest_span(partition, span, (uint32_t)uid, &digest, &counts, error);
        ab_partition_stop_if_condemned(partition, err, error);
        ab_slots_release(engine->slots, p);
        if (err == AB_OK) {
            ab_json_append(list, digest_json(p, &digest, &counts));
        } else if (engine->is_replicated && !ab_slots_may_serve(engine->slots, p)) {
            *error = (struct ab_error){0}; /* it may be behind: who leads it is asked for it */
            err = AB_OK;
        }
    }
    struct ab_json *json = ab_json_object();
    set_count(json, "span", span);
    set_count(json, "view_uid", uid);
    ab_json_set(json, "partitions", list);
    if (err == AB_OK) {
        ab_json_write(json, 0, out);
    }
    ab_json_destroy(json);
    return err;
}
