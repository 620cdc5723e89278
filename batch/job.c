#include "batch/job.h"

#include "batch/seal.h"
#include "batch/shards.h"
#include "batch/shuffle.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/time.h"
#include "common/history/layout.h"

#define TELL_INTERVAL_US (200 * AB_US_PER_MS)

bool ab_job_owns(const struct ab_job *job, uint32_t partition)
{
    return job->places.owners[partition] == ab_exchange_rank();
}

/* What all ranks told of this stage. */
static struct ab_control_progress progress_sum(struct ab_job *job)
{
    struct ab_control_progress sum = job->progress;
    ab_exchange_hear(job->heard);
    for (uint32_t r = 1; r < ab_exchange_ranks(); r++) {
        if (job->heard[r].stage == job->stage) {
            sum.rows += job->heard[r].rows;
            sum.bytes += job->heard[r].bytes;
            sum.done += job->heard[r].done;
        }
    }
    sum.done = sum.done < sum.total ? sum.done : sum.total;
    return sum;
}

void ab_job_tick(struct ab_job *job)
{
    int64_t now = ab_time_monotonic_us();
    if (job->progress.stage == NULL || now < job->told_us + TELL_INTERVAL_US) {
        return;
    }
    job->told_us = now;
    if (job->control != NULL) {
        struct ab_control_progress sum = progress_sum(job);
        ab_control_progress(job->control, &sum);
    } else {
        const struct ab_control_progress *own = &job->progress;
        ab_exchange_tell(&(struct ab_exchange_note){job->stage, own->rows, own->bytes, own->done});
    }
}

void ab_job_stage_begin(struct ab_job *job, enum ab_job_stage stage, uint64_t total)
{
    static const char *const names[] = {
        "begin", "catch-up", "seal", "combine", "reconcile", "write", "replicate", "publish"};
    job->stage = stage;
    job->progress.stage = names[stage];
    job->progress.rows = 0;
    job->progress.bytes = 0;
    job->progress.done = 0;
    job->progress.total = total;
    job->told_us = 0;
    ab_job_tick(job);
}

/* Collective: begins a stage of which this rank does own_total units. */
static void stage_begin(struct ab_job *job, enum ab_job_stage stage, uint64_t own_total)
{
    ab_exchange_sum(&own_total, 1);
    ab_job_stage_begin(job, stage, own_total);
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
        count += ab_job_owns(job, p);
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
    job->sealed_now = ab_new_array(uint64_t, plan->spans_count);
    job->kept = ab_new_array(uint32_t, plan->views_count + 1);
    job->heard = ab_new_array(struct ab_exchange_note, ab_exchange_ranks());
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
    ab_delete(job->sealed_now);
    ab_delete(job->holds);
    ab_delete(job->kept);
    ab_delete(job->work);
    ab_delete(job->heard);
    ab_buffer_fini(&job->results);
    ab_buffer_fini(&job->shards);
    ab_plan_fini(&job->plan);
    ab_places_fini(&job->places);
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

/* Records of a partition that are looked at. */
static uint64_t seal_records(const struct ab_job *job, uint32_t partition)
{
    size_t start = seal_start(job, partition);
    return start == job->plan.spans_count
               ? 0
               : job->plan.partitions[partition].end_offset - ab_plan_from_offset(&job->plan, start, partition);
}

static void on_record_sealed(uint64_t rows_count, uint64_t bytes, void *context)
{
    struct ab_job *job = context;
    job->progress.rows += rows_count;
    job->progress.bytes += bytes;
    unit_done(job);
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
            .memory = &job->memory,
            .on_record = on_record_sealed,
            .context = job};
        AB_TRY(ab_seal_run(&unit, sealed, &was_sealed, error));
        job->sealed_now[s] += !was_sealed;
        if (was_sealed) {
            job->progress.done += sealed->until_offset - sealed->from_offset;
            ab_job_tick(job);
        }
    }
    return AB_OK;
}

/* Forgets what was sealed of a partition that another rank takes on: it seals all of it from its own log. */
static void partition_unseal(struct ab_job *job, uint32_t partition)
{
    for (size_t s = 0; s < job->plan.spans_count; s++) {
        ab_sealed_span_fini(&job->sealed[s * job->plan.partitions_count + partition]);
    }
}

/* Seals own partitions that are due; due[p] becomes how many ranks failed at it, which is one or none. The first error
 * of this rank, and its text, stay. */
static ab_err round_seal(struct ab_job *job, uint64_t *due, struct ab_error *error)
{
    bool is_alone = job->places.count == 0; /* nobody else has the log */
    uint64_t records = 0;
    ab_err first = AB_OK;
    for (uint32_t p = 0; p < job->plan.partitions_count; p++) {
        records += due[p] > 0 && ab_job_owns(job, p) ? seal_records(job, p) : 0;
    }
    stage_begin(job, AB_STAGE_SEAL, records);
    for (uint32_t p = 0; p < job->plan.partitions_count; p++) {
        bool is_own = due[p] > 0 && ab_job_owns(job, p) && (first == AB_OK || !is_alone);
        struct ab_error detail = {0};
        ab_err err = is_own ? partition_seal(job, p, &detail) : AB_OK;
        due[p] = err != AB_OK;
        if (err != AB_OK) {
            partition_unseal(job, p);
        }
        if (err != AB_OK && first == AB_OK) {
            first = err;
            *error = detail;
        }
    }
    ab_exchange_sum(due, job->plan.partitions_count);
    return first;
}

/* Gives failed partitions to the next nodes; false when one has been everywhere. */
static bool failed_move(struct ab_job *job, const uint64_t *failed)
{
    bool can_go_on = true;
    for (uint32_t p = 0; p < job->plan.partitions_count && can_go_on; p++) {
        can_go_on = failed[p] == 0 || ab_places_move(&job->places, p);
    }
    return can_go_on;
}

ab_err ab_job_seal(struct ab_job *job, struct ab_error *error)
{
    uint64_t *due = ab_new_array(uint64_t, job->plan.partitions_count);
    ab_err err = AB_OK;
    bool can_go_on = true;
    for (uint32_t p = 0; p < job->plan.partitions_count; p++) {
        due[p] = 1;
    }
    do {
        err = round_seal(job, due, error);
        can_go_on = failed_move(job, due);
        if (err != AB_OK && can_go_on) {
            ab_warn("sealed from another replica", "%s", error->text);
        }
        err = ab_exchange_agree(err);
    } while (err != AB_OK && can_go_on);
    ab_exchange_sum(job->sealed_now, job->plan.spans_count);
    ab_delete(due);
    return err;
}

/* ---- combine ---- */

/* Rows that a unit has to read: of streams with a view that lacks the span. */
static uint64_t unit_rows(const struct ab_job *job, const struct ab_sealed_span *sealed, size_t span)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < sealed->streams_count; i++) {
        bool is_read = false;
        for (size_t v = 0; v < job->plan.views_count && !is_read; v++) {
            const struct ab_plan_view *view = &job->plan.views[v];
            is_read = span >= view->first_span && strcmp(view->view->stream->name, sealed->streams[i].name) == 0;
        }
        rows += is_read ? sealed->streams[i].accepted : 0;
    }
    return rows;
}

static uint64_t combine_rows(const struct ab_job *job)
{
    uint64_t rows = 0;
    for (size_t s = job->first_span; s < job->plan.spans_count; s++) {
        for (uint32_t p = 0; p < job->plan.partitions_count; p++) {
            rows += ab_job_owns(job, p) ? unit_rows(job, &job->sealed[s * job->plan.partitions_count + p], s) : 0;
        }
    }
    return rows;
}

static void on_rows_scanned(uint64_t rows_count, void *context)
{
    struct ab_job *job = context;
    job->progress.rows += rows_count;
    job->progress.done += rows_count;
    ab_job_tick(job);
}

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
            .memory = &job->memory,
            .on_rows = on_rows_scanned,
            .context = job};
        uint64_t done = job->progress.done + unit_rows(job, unit.sealed, s);
        err = ab_unit_combine(&unit, results, &count, &is_reused, error);
        if (err == AB_OK) {
            ab_buffer_put(&job->results, results, count * sizeof *results);
        }
        for (size_t i = 0; i < count && err == AB_OK; i++) {
            job->progress.bytes += results[i].summary.bytes;
        }
        job->progress.done = done; /* runs of an earlier attempt were not read again */
        ab_job_tick(job);
    }
    ab_delete(results);
    return err;
}

ab_err ab_job_combine(struct ab_job *job, struct ab_error *error)
{
    ab_err err = AB_OK;
    stage_begin(job, AB_STAGE_COMBINE, combine_rows(job));
    for (uint32_t p = 0; p < job->plan.partitions_count && err == AB_OK; p++) {
        if (ab_job_owns(job, p)) {
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
    job->progress.rows += summary->rows_count;
    job->progress.bytes += summary->bytes;
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
        if (ab_job_owns(job, s)) {
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
        if (ab_job_owns(job, s)) {
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
        .owners = job->places.owners,
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
    stage_begin(job, AB_STAGE_WRITE, own_partitions(job) * job->plan.views_count);
    for (size_t v = 0; v < job->plan.views_count; v++) {
        AB_TRY(view_write(job, v, error));
    }
    return AB_OK;
}
