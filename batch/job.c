#include "batch/job.h"

#include "batch/exchange.h"
#include "batch/seal.h"
#include "batch/shards.h"
#include "batch/shuffle.h"
#include "common/base/file.h"
#include "common/history/layout.h"

bool ab_job_owns(uint32_t partition)
{
    return ab_shuffle_owner(partition, ab_exchange_ranks()) == ab_exchange_rank();
}

void ab_job_tick(struct ab_job *job)
{
    if (job->control != NULL) {
        ab_control_progress(job->control, &job->progress);
    }
}

static void stage_begin(struct ab_job *job, const char *stage, uint64_t total)
{
    job->progress.stage = stage;
    job->progress.done = 0;
    job->progress.total = total;
    ab_job_tick(job);
}

static void unit_done(struct ab_job *job)
{
    job->progress.done++;
    ab_job_tick(job);
}

static uint64_t own_partitions(const struct ab_job *job)
{
    uint64_t count = 0;
    for (uint32_t p = 0; p < job->plan.partitions_count; p++) {
        count += ab_job_owns(p);
    }
    return count;
}

void ab_job_prepare(struct ab_job *job)
{
    const struct ab_plan *plan = &job->plan;
    job->first_span = plan->spans_count;
    for (size_t v = 0; v < plan->views_count; v++) {
        size_t first = plan->views[v].first_span;
        job->first_span = first < job->first_span ? first : job->first_span;
    }
    job->sealed = ab_new_array(struct ab_sealed_span, plan->spans_count * plan->partitions_count);
    job->kept = ab_new_array(uint32_t, plan->views_count + 1);
    job->progress.job = plan->job;
    job->progress.attempt = plan->attempt;
}

void ab_job_fini(struct ab_job *job)
{
    size_t count = job->sealed == NULL ? 0 : job->plan.spans_count * job->plan.partitions_count;
    for (size_t i = 0; i < count; i++) {
        ab_sealed_span_fini(&job->sealed[i]);
    }
    ab_delete(job->sealed);
    ab_delete(job->kept);
    ab_delete(job->work);
    ab_buffer_fini(&job->results);
    ab_buffer_fini(&job->shards);
    ab_plan_fini(&job->plan);
    ab_control_close(job->control);
    *job = (struct ab_job){0};
}

/* ---- seal ---- */

/* The first span of a partition to look at: spans are sealed in order, so below a sealed one all are. */
static size_t seal_start(const struct ab_job *job, uint32_t partition)
{
    size_t start = job->plan.spans_count;
    while (start > 0) {
        char *path = ab_history_marker_path(job->directory, partition, job->plan.spans[start - 1].cut);
        bool is_sealed = ab_file_exists(path);
        ab_delete(path);
        if (is_sealed && start - 1 < job->first_span) {
            break;
        }
        start--;
    }
    return start;
}

static ab_err partition_seal(struct ab_job *job, uint32_t partition, struct ab_error *error)
{
    const struct ab_plan *plan = &job->plan;
    for (size_t s = seal_start(job, partition); s < plan->spans_count; s++) {
        struct ab_sealed_span *sealed = &job->sealed[s * plan->partitions_count + partition];
        bool was_sealed = false;
        struct ab_seal_unit unit = {.directory = job->directory,
            .catalog = plan->catalog,
            .partition = partition,
            .span = plan->spans[s].cut,
            .from_offset = ab_plan_from_offset(plan, s, partition),
            .until_offset = plan->spans[s].end_offsets[partition],
            .chain = s + 1 == plan->spans_count ? &plan->partitions[partition].chain : NULL,
            .memory = &job->memory};
        AB_TRY(ab_seal_run(&unit, sealed, &was_sealed, error));
        for (size_t i = 0; i < sealed->streams_count; i++) {
            job->progress.rows += sealed->streams[i].rows;
        }
        ab_job_tick(job);
    }
    return AB_OK;
}

ab_err ab_job_seal(struct ab_job *job, struct ab_error *error)
{
    ab_err err = AB_OK;
    stage_begin(job, "seal", own_partitions(job));
    for (uint32_t p = 0; p < job->plan.partitions_count && err == AB_OK; p++) {
        if (ab_job_owns(p)) {
            err = partition_seal(job, p, error);
            unit_done(job);
        }
    }
    return ab_exchange_agree(err);
}

/* ---- combine ---- */

static ab_err partition_combine(struct ab_job *job, uint32_t partition, struct ab_error *error)
{
    const struct ab_plan *plan = &job->plan;
    struct ab_unit_result *results = ab_new_array(struct ab_unit_result, plan->views_count + 1);
    ab_err err = AB_OK;
    for (size_t s = job->first_span; s < plan->spans_count && err == AB_OK; s++) {
        size_t count = 0;
        bool is_reused = false;
        struct ab_unit unit = {.plan = plan,
            .directory = job->directory,
            .work = job->work,
            .partition = partition,
            .span = s,
            .sealed = &job->sealed[s * plan->partitions_count + partition],
            .memory = &job->memory};
        err = ab_unit_combine(&unit, results, &count, &is_reused, error);
        if (err == AB_OK) {
            ab_buffer_put(&job->results, results, count * sizeof *results);
        }
        for (size_t i = 0; i < count && err == AB_OK; i++) {
            job->progress.rows += results[i].summary.rows_scanned;
            job->progress.bytes += results[i].summary.bytes;
        }
        unit_done(job);
    }
    ab_delete(results);
    return err;
}

ab_err ab_job_combine(struct ab_job *job, struct ab_error *error)
{
    ab_err err = AB_OK;
    stage_begin(job, "combine", own_partitions(job) * (job->plan.spans_count - job->first_span));
    for (uint32_t p = 0; p < job->plan.partitions_count && err == AB_OK; p++) {
        if (ab_job_owns(p)) {
            err = partition_combine(job, p, error);
        }
    }
    return ab_exchange_agree(err);
}

/* ---- write ---- */

/* Paths of own runs of a view, of one partition or (UINT32_MAX) of all. */
struct paths {
    char **items; /* owned, with what they point to */
    size_t count;
    uint64_t groups;
};

static void paths_fini(struct paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        ab_delete(paths->items[i]);
    }
    ab_delete(paths->items);
}

static struct paths paths_of(const struct ab_job *job, size_t view, uint32_t partition)
{
    const struct ab_unit_result *results = (const struct ab_unit_result *)(const void *)job->results.data;
    size_t results_count = job->results.bytes / sizeof *results;
    struct paths paths = {.items = ab_new_array(char *, results_count + 1)};
    for (size_t i = 0; i < results_count; i++) {
        bool is_wanted = results[i].view == view && (partition == UINT32_MAX || results[i].partition == partition);
        if (is_wanted && results[i].summary.digest.groups_count > 0) {
            paths.items[paths.count++] =
                ab_unit_run_path(job->work, &job->plan, view, results[i].partition, (size_t)results[i].span);
            paths.groups += results[i].summary.digest.groups_count;
        }
    }
    return paths;
}

/* Opens the own runs of a view as one sorted stream. */
static ab_err runs_open(
    const struct ab_job *job, size_t view, uint32_t partition, struct ab_sort *sort, struct ab_error *error)
{
    struct paths paths = paths_of(job, view, partition);
    char *scratch = ab_new_format("%s/merge-%u-%u-%u-%u", job->work, job->plan.attempt, job->plan.views[view].view->uid,
        ab_exchange_rank(), partition);
    ab_err err = ab_sort_add_runs(sort, (const char *const *)paths.items, paths.count, scratch, error);
    ab_delete(scratch);
    paths_fini(&paths);
    return err;
}

static void shard_note(struct ab_job *job, size_t view, uint32_t shard, const struct ab_version_summary *summary)
{
    struct ab_shard_result result;
    memset(&result, 0, sizeof result); /* padding too: it travels as bytes */
    result.view = (uint32_t)view;
    result.shard = shard;
    result.summary = *summary;
    ab_buffer_put(&job->shards, &result, sizeof result);
}

/* A shard whose groups are all here: its partition's runs. */
static ab_err aligned_shard_write(
    struct ab_job *job, const struct ab_shards *shards, uint32_t shard, struct ab_error *error)
{
    struct ab_version_summary summary = {0};
    struct ab_sort *sort = ab_sort_create();
    ab_err err = runs_open(job, shards->view, shard, sort, error);
    if (err == AB_OK) {
        err = ab_shards_add_previous(shards, shard, sort, error);
    }
    if (err == AB_OK) {
        err = ab_shards_write(shards, &shard, 1, sort, &summary, error);
    }
    ab_sort_destroy(sort);
    if (err == AB_OK) {
        shard_note(job, shards->view, shard, &summary);
        unit_done(job);
    }
    return err;
}

static ab_err aligned_write(struct ab_job *job, const struct ab_shards *shards, struct ab_error *error)
{
    ab_err err = AB_OK;
    for (uint32_t s = 0; s < job->plan.partitions_count && err == AB_OK; s++) {
        if (ab_job_owns(s)) {
            err = aligned_shard_write(job, shards, s, error);
        }
    }
    return err;
}

/* Writes some of the own shards from what arrived. */
static ab_err window_write(struct ab_job *job, const struct ab_shards *shards, const struct ab_shuffle *shuffle,
    const uint32_t *numbers, size_t count, struct ab_error *error)
{
    struct ab_version_summary summaries[AB_SHARDS_OPEN_MAX] = {0};
    struct ab_sort *sort = ab_sort_create();
    ab_err err = AB_OK;
    for (uint32_t r = 0; r < ab_exchange_ranks() && err == AB_OK; r++) {
        char *path = ab_shuffle_run_path(shuffle, r);
        err = ab_sort_add_run(sort, path, error);
        ab_delete(path);
    }
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        err = ab_shards_add_previous(shards, numbers[i], sort, error);
    }
    if (err == AB_OK) {
        err = ab_shards_write(shards, numbers, count, sort, summaries, error);
    }
    ab_sort_destroy(sort);
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        shard_note(job, shards->view, numbers[i], &summaries[i]);
        unit_done(job);
    }
    return err;
}

static ab_err windows_write(
    struct ab_job *job, const struct ab_shards *shards, const struct ab_shuffle *shuffle, struct ab_error *error)
{
    uint32_t numbers[AB_SHARDS_OPEN_MAX];
    size_t count = 0;
    for (uint32_t s = 0; s < job->plan.partitions_count; s++) {
        if (ab_job_owns(s)) {
            numbers[count++] = s;
        }
        if (count == AB_SHARDS_OPEN_MAX) {
            AB_TRY(window_write(job, shards, shuffle, numbers, count, error));
            count = 0;
        }
    }
    return count == 0 ? AB_OK : window_write(job, shards, shuffle, numbers, count, error);
}

/* Collective: own runs go to the ranks of their shards first. */
static ab_err sharded_write(struct ab_job *job, const struct ab_shards *shards, struct ab_error *error)
{
    struct ab_shuffle shuffle = {.plan = &job->plan,
        .view = shards->view,
        .work = job->work,
        .round_bytes = ab_shuffle_round_bytes(job->memory.limit_bytes, ab_exchange_ranks())};
    struct ab_sort *own = ab_sort_create();
    ab_err err = ab_exchange_agree(runs_open(job, shards->view, UINT32_MAX, own, error));
    if (err == AB_OK) {
        err = ab_shuffle_run(&shuffle, own, error);
    }
    ab_sort_destroy(own);
    return err == AB_OK ? windows_write(job, shards, &shuffle, error) : err;
}

static ab_err view_write(struct ab_job *job, size_t view, struct ab_error *error)
{
    struct paths own = paths_of(job, view, UINT32_MAX);
    uint64_t groups = own.groups;
    paths_fini(&own);
    ab_exchange_sum(&groups, 1);
    job->kept[view] = ab_plan_keep_directories(&job->plan.views[view], groups);
    struct ab_shards shards = {.plan = &job->plan, .directory = job->directory, .view = view, .kept = job->kept[view]};
    ab_err err =
        job->plan.views[view].is_sharded ? sharded_write(job, &shards, error) : aligned_write(job, &shards, error);
    return ab_exchange_agree(err);
}

ab_err ab_job_write(struct ab_job *job, struct ab_error *error)
{
    stage_begin(job, "write", own_partitions(job) * job->plan.views_count);
    for (size_t v = 0; v < job->plan.views_count; v++) {
        AB_TRY(view_write(job, v, error));
    }
    return AB_OK;
}
