/* What is copied between nodes, and when. */
#include "batch/job.h"

#include "batch/replicate.h"
#include "batch/shuffle.h"

#include <stdlib.h>

static void on_sent(uint64_t bytes, void *context)
{
    struct ab_job *job = context;
    job->progress.bytes += bytes;
    ab_job_tick(job);
}

static struct ab_replicate replicate_of(struct ab_job *job, uint32_t attempt)
{
    return (struct ab_replicate){.places = &job->places,
        .directory = job->directory,
        .attempt = attempt,
        .round_bytes = ab_shuffle_round_bytes(job->memory.limit_bytes, ab_exchange_ranks()),
        .on_sent = on_sent,
        .context = job};
}

/* Runs with the same source for all units, or with each its own. */
static ab_err units_run(struct ab_job *job, struct ab_replicate *replicate, const struct ab_copy_unit *units,
    const uint32_t *sources, uint32_t count, struct ab_error *error)
{
    uint32_t *any = ab_new_array(uint32_t, count + 1u);
    for (uint32_t u = 0; u < count; u++) {
        any[u] = AB_PLACES_NONE;
    }
    replicate->units = units;
    replicate->sources = sources != NULL ? sources : any;
    replicate->units_count = count;
    ab_err err = ab_replicate_run(replicate, job->holds, error);
    ab_delete(any);
    return err;
}

ab_err ab_job_bring_history(struct ab_job *job, uint64_t cut, uint32_t attempt, struct ab_error *error)
{
    struct ab_replicate replicate = replicate_of(job, attempt);
    struct ab_copy_unit *units = NULL;
    uint32_t count = 0;
    job->holds = ab_new_array(bool, job->places.count);
    for (uint32_t i = 0; i < job->places.count; i++) {
        job->holds[i] = true;
    }
    AB_TRY(ab_replicate_spans(&job->places, job->directory, cut, &units, &count, error));
    ab_err err = units_run(job, &replicate, units, NULL, count, error);
    ab_delete(units);
    return err;
}

/* ---- the versions that stand ---- */

/* Manifests, and the units that they name; the units' paths are the manifests'. */
struct standing {
    struct ab_version_manifest *manifests; /* owned */
    size_t manifests_count;
    struct ab_copy_unit *units; /* owned */
    uint32_t units_count;
};

static void standing_fini(struct standing *standing)
{
    for (size_t i = 0; i < standing->manifests_count; i++) {
        ab_version_manifest_fini(&standing->manifests[i]);
    }
    ab_delete(standing->manifests);
    ab_delete(standing->units);
}

static void directory_add(
    struct standing *standing, const struct ab_version_directory *directory, uint32_t shards_count)
{
    size_t bytes = (standing->units_count + (size_t)shards_count) * sizeof standing->units[0];
    standing->units = ab_renew_bytes(standing->units, bytes);
    for (uint32_t s = 0; s < shards_count; s++) {
        standing->units[standing->units_count++] = (struct ab_copy_unit){.kind = AB_COPY_SHARD,
            .partition = s,
            .path = directory->path,
            .rows_count = directory->shards[s].rows_count,
            .content = directory->shards[s].content};
    }
}

static ab_err standing_read(const struct ab_json *previous, struct standing *standing, struct ab_error *error)
{
    size_t count = ab_json_count(previous);
    standing->manifests = ab_new_array(struct ab_version_manifest, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct ab_json *json = ab_json_get(previous, ab_json_key_at(previous, i));
        if (ab_json_is_null(json)) {
            continue;
        }
        struct ab_version_manifest *manifest = &standing->manifests[standing->manifests_count];
        AB_TRY(ab_version_manifest_decode(json, manifest, error));
        standing->manifests_count++;
        for (uint32_t d = 0; d < manifest->directories_count; d++) {
            directory_add(standing, &manifest->directories[d], manifest->shards_count);
        }
    }
    return AB_OK;
}

ab_err ab_job_catch_up(struct ab_job *job, struct ab_error *error)
{
    struct standing standing = {0};
    if (job->places.count == 0) {
        return AB_OK;
    }
    ab_job_stage_begin(job, AB_STAGE_CATCH_UP, 0);
    ab_err err = ab_exchange_agree(standing_read(job->plan.previous, &standing, error));
    if (err == AB_OK) {
        struct ab_replicate replicate = replicate_of(job, job->plan.attempt);
        err = units_run(job, &replicate, standing.units, NULL, standing.units_count, error);
    }
    standing_fini(&standing);
    return err;
}

/* ---- what is new ---- */

/* The spans that this job sealed, and the last one, whose marker is the cut's on whatever node sealed it. */
static ab_err spans_replicate(struct ab_job *job, struct ab_error *error)
{
    const struct ab_plan *plan = &job->plan;
    size_t most = plan->spans_count * plan->partitions_count;
    struct ab_copy_unit *units = ab_new_array(struct ab_copy_unit, most + 1);
    uint32_t *sources = ab_new_array(uint32_t, most + 1);
    uint32_t count = 0;
    for (size_t s = 0; s < plan->spans_count; s++) {
        bool is_wanted = job->sealed_now[s] > 0 || s + 1 == plan->spans_count;
        for (uint32_t p = 0; p < plan->partitions_count && is_wanted; p++) {
            units[count] = (struct ab_copy_unit){.kind = AB_COPY_SPAN, .partition = p, .span = plan->spans[s].cut};
            sources[count++] = ab_places_of_partition(&job->places, p);
        }
    }
    struct ab_replicate replicate = replicate_of(job, plan->attempt);
    replicate.is_deep = true;
    ab_err err = units_run(job, &replicate, units, sources, count, error);
    ab_delete(sources);
    ab_delete(units);
    return err;
}

static ab_err shards_replicate(struct ab_job *job, struct ab_error *error)
{
    struct ab_buffer all = {0};
    ab_exchange_gather(ab_buffer_view(&job->shards), &all);
    ab_exchange_broadcast(&all);
    const struct ab_shard_result *results = (const struct ab_shard_result *)(const void *)all.data;
    uint32_t count = (uint32_t)(all.bytes / sizeof *results);
    struct ab_copy_unit *units = ab_new_array(struct ab_copy_unit, count + 1u);
    uint32_t *sources = ab_new_array(uint32_t, count + 1u);
    for (uint32_t i = 0; i < count; i++) {
        units[i] = (struct ab_copy_unit){.kind = AB_COPY_SHARD,
            .partition = results[i].shard,
            .path = job->plan.views[results[i].view].path,
            .rows_count = results[i].summary.rows_count,
            .content = results[i].summary.content};
        sources[i] = ab_places_of_partition(&job->places, results[i].shard);
    }
    struct ab_replicate replicate = replicate_of(job, job->plan.attempt);
    ab_err err = units_run(job, &replicate, units, sources, count, error);
    ab_delete(sources);
    ab_delete(units);
    ab_buffer_fini(&all);
    return err;
}

ab_err ab_job_replicate(struct ab_job *job, struct ab_error *error)
{
    if (job->places.count == 0) {
        return AB_OK;
    }
    ab_job_stage_begin(job, AB_STAGE_REPLICATE, 0);
    AB_TRY(spans_replicate(job, error));
    return shards_replicate(job, error);
}
