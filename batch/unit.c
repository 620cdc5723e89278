#include "batch/unit.h"

#include "batch/combine.h"
#include "batch/scan.h"
#include "common/base/file.h"

#include <inttypes.h>

char *ab_unit_run_path(const char *work, const struct ab_plan *plan, size_t view, uint32_t partition, size_t span)
{
    return ab_new_format("%s/combine-%" PRIu32 "-p%" PRIu32 "-s%" PRIu64 ".run", work, plan->views[view].view->uid,
        partition, plan->spans[span].cut);
}

/* The views of one stream that are being combined; entries of others are NULL. */
struct pass {
    const struct ab_unit *unit;
    struct ab_combine **combines; /* owned; per view of the plan */
    struct ab_error *error;
};

/* Spills the largest table; *is_spilled is false when none holds anything. */
static ab_err largest_spill(struct pass *pass, bool *is_spilled)
{
    struct ab_combine *largest = NULL;
    for (size_t v = 0; v < pass->unit->plan->views_count; v++) {
        struct ab_combine *combine = pass->combines[v];
        if (combine != NULL && ab_combine_bytes(combine) > (largest == NULL ? 0 : ab_combine_bytes(largest))) {
            largest = combine;
        }
    }
    *is_spilled = largest != NULL;
    return largest == NULL ? AB_OK : ab_combine_spill(largest, pass->error);
}

static ab_err spill_until_within(struct pass *pass)
{
    bool is_spilled = true;
    while (ab_memory_is_over(pass->unit->memory) && is_spilled) {
        AB_TRY(largest_spill(pass, &is_spilled));
    }
    return AB_OK;
}

/* The next rows; tables make room for them when the budget has none left. */
static ab_err rows_next(struct pass *pass, struct ab_scan *scan, struct ab_rows *rows)
{
    for (;;) {
        bool is_spilled = false;
        ab_err err = ab_scan_next(scan, rows, pass->error);
        if (err != AB_FULL) {
            return err;
        }
        struct ab_error refusal = *pass->error;
        *pass->error = (struct ab_error){0};
        AB_TRY(largest_spill(pass, &is_spilled));
        if (!is_spilled) {
            *pass->error = refusal;
            return AB_FULL;
        }
    }
}

static ab_err rows_combine(struct pass *pass, struct ab_scan *scan)
{
    const struct ab_plan *plan = pass->unit->plan;
    struct ab_arena scratch;
    struct ab_rows rows;
    ab_arena_init(&scratch, NULL, 1u << 20);
    ab_err err = rows_next(pass, scan, &rows);
    while (err == AB_OK) {
        for (size_t v = 0; v < plan->views_count; v++) {
            if (pass->combines[v] != NULL) {
                rows.expired_until_us = ab_plan_horizon(plan->views[v].view, pass->unit->sealed->start_time_us);
                ab_arena_reset(&scratch);
                ab_combine_add(pass->combines[v], &rows, &scratch);
            }
        }
        if (pass->unit->on_rows != NULL) {
            pass->unit->on_rows(rows.rows_count, pass->unit->context);
        }
        err = spill_until_within(pass);
        if (err == AB_OK) {
            err = rows_next(pass, scan, &rows);
        }
    }
    ab_arena_fini(&scratch);
    return err == AB_END ? AB_OK : err;
}

/* One pass over a stream's rows for all its views that have a combine. */
static ab_err stream_combine(struct pass *pass, const struct ab_stream *stream)
{
    const struct ab_plan *plan = pass->unit->plan;
    struct ab_scan *scan = NULL;
    bool *used = ab_new_array(bool, stream->columns_count + 1);
    for (size_t v = 0; v < plan->views_count; v++) {
        if (pass->combines[v] != NULL) {
            ab_aggregation_columns(plan->views[v].aggregation, used, stream->columns_count);
        }
    }
    ab_err err =
        ab_scan_open(pass->unit->directory, pass->unit->sealed, stream, used, pass->unit->memory, &scan, pass->error);
    ab_delete(used);
    if (err == AB_OK) {
        err = rows_combine(pass, scan);
        ab_scan_close(scan);
    }
    return err;
}

/* Uses the run that an earlier attempt left, or starts a combine. */
static void view_start(struct pass *pass, size_t view, struct ab_unit_result *result)
{
    const struct ab_unit *unit = pass->unit;
    char *path = ab_unit_run_path(unit->work, unit->plan, view, unit->partition, unit->span);
    struct ab_error ignored = {0}; /* a run that is missing or damaged is made again */
    if (ab_run_check(path, &result->summary, &ignored) != AB_OK) {
        result->summary = (struct ab_run_summary){0};
        pass->combines[view] = ab_combine_create(unit->plan->views[view].aggregation, path, unit->memory);
    }
    ab_delete(path);
}

/* Combines the views of one stream; their results stand at results[from .. *count). */
static ab_err stream_run(
    struct pass *pass, const struct ab_stream *stream, struct ab_unit_result *results, size_t *count, bool *is_reused)
{
    const struct ab_unit *unit = pass->unit;
    const struct ab_plan *plan = unit->plan;
    const struct ab_sealed_stream *counts = ab_sealed_span_stream(unit->sealed, stream->name);
    bool has_rows = counts != NULL && counts->accepted > 0;
    bool has_work = false;
    size_t first = *count;
    for (size_t v = 0; v < plan->views_count; v++) {
        if (plan->views[v].view->stream != stream || unit->span < plan->views[v].first_span) {
            continue;
        }
        struct ab_unit_result *result = &results[(*count)++];
        memset(result, 0, sizeof *result); /* padding too: it travels as bytes */
        result->view = (uint32_t)v;
        result->partition = unit->partition;
        result->span = unit->span;
        if (has_rows) {
            view_start(pass, v, result);
            has_work |= pass->combines[v] != NULL;
        }
    }
    ab_err err = has_work ? stream_combine(pass, stream) : AB_OK;
    *is_reused &= !has_work;
    for (size_t i = first; i < *count; i++) {
        size_t v = results[i].view;
        if (pass->combines[v] != NULL && err == AB_OK) {
            err = ab_combine_finish(pass->combines[v], &results[i].summary, pass->error);
        }
        ab_combine_destroy(pass->combines[v]);
        pass->combines[v] = NULL;
    }
    return err;
}

ab_err ab_unit_combine(const struct ab_unit *unit, struct ab_unit_result *results, size_t *results_count,
    bool *is_reused, struct ab_error *error)
{
    const struct ab_plan *plan = unit->plan;
    struct pass pass = {.unit = unit, .error = error};
    pass.combines = ab_new_array(struct ab_combine *, plan->views_count + 1);
    ab_err err = AB_OK;
    *results_count = 0;
    *is_reused = true;
    for (uint32_t s = 0; s < plan->catalog->streams_count && err == AB_OK; s++) {
        err = stream_run(&pass, &plan->catalog->streams[s], results, results_count, is_reused);
    }
    ab_delete(pass.combines);
    if (err != AB_OK) {
        return ab_error_wrap(
            error, err, "combine partition %" PRIu32 ", span %" PRIu64, unit->partition, plan->spans[unit->span].cut);
    }
    return AB_OK;
}
