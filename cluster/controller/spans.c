#include "cluster/controller/controller.h"

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/history/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PRUNED_PATH "/cuts/pruned"
#define PATH_BYTES 128

/* ---- what is kept ---- */

/* The number that a name below /cuts says; 0 = it is none. */
static uint64_t name_cut(const char *name)
{
    char *end = NULL;
    uint64_t cut = name[0] >= '1' && name[0] <= '9' ? strtoull(name, &end, 10) : 0;
    return end != NULL && *end == '\0' ? cut : 0;
}

static int number_order(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

ab_err ab_cuts_kept(struct ab_controller *controller, uint64_t **numbers, size_t *count, struct ab_error *error)
{
    char **names = NULL;
    size_t names_count = 0;
    size_t kept = 0;
    AB_TRY(ab_coordination_list(controller->coordination, "/cuts", &names, &names_count, error));
    uint64_t *made = ab_new_array(uint64_t, names_count + 1);
    for (size_t i = 0; i < names_count; i++) {
        uint64_t cut = name_cut(names[i]);
        made[kept] = cut;
        kept += cut > 0;
    }
    qsort(made, kept, sizeof made[0], number_order);
    ab_coordination_names_free(names, names_count);
    *numbers = made;
    *count = kept;
    return AB_OK;
}

/* One element of the list of spans. */
static struct ab_json *span_of(const struct ab_json *manifest)
{
    struct ab_json *span = ab_json_object();
    struct ab_json *offsets = ab_json_array();
    const struct ab_json *partitions = ab_json_get(manifest, "partitions");
    ab_json_set(span, "cut", ab_json_integer(ab_json_integer_or(ab_json_get(manifest, "cut"), 0)));
    ab_json_set(span, "time_us", ab_json_integer(ab_json_integer_or(ab_json_get(manifest, "time_us"), 0)));
    for (size_t i = 0; i < ab_json_count(partitions); i++) {
        uint64_t offset = ab_json_u64_or(ab_json_get(ab_json_at(partitions, i), "offset"), 0);
        ab_json_append(offsets, ab_json_integer((int64_t)offset));
    }
    ab_json_set(span, "offsets", offsets);
    return span;
}

ab_err ab_cuts_spans(struct ab_controller *controller, uint64_t cut, struct ab_json **spans, struct ab_error *error)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    AB_TRY(ab_cuts_kept(controller, &numbers, &count, error));
    struct ab_json *made = ab_json_array();
    ab_err err = AB_OK;
    for (size_t i = 0; err == AB_OK && i < count && numbers[i] <= cut; i++) {
        struct ab_json *manifest = NULL;
        err = ab_cut_read(controller, numbers[i], &manifest, error);
        if (err == AB_OK) {
            ab_json_append(made, span_of(manifest));
        }
        ab_json_destroy(manifest);
    }
    ab_delete(numbers);
    if (err != AB_OK) {
        ab_json_destroy(made);
        return err;
    }
    *spans = made;
    return AB_OK;
}

ab_err ab_cuts_history(struct ab_controller *controller, struct ab_json **history, struct ab_error *error)
{
    struct ab_error detail = {0};
    struct ab_json *value = NULL;
    ab_err err = ab_coordination_get_json(controller->coordination, PRUNED_PATH, &value, NULL, &detail);
    if (err != AB_OK && err != AB_NOT_FOUND) {
        return ab_error_set(error, err, "%s", detail.text[0] != '\0' ? detail.text : ab_err_text(err));
    }
    *history = err == AB_OK ? value : ab_json_null();
    return AB_OK;
}

/* ---- what is removed ---- */

/* The first cut that somebody may still ask for. `last` decides the time of the next one. */
static uint64_t needed_from(struct ab_controller *controller, uint64_t oldest_cut, uint64_t last)
{
    uint64_t from = oldest_cut < last ? oldest_cut : last;
    ab_lock_take(&controller->lock);
    for (size_t i = 0; i < controller->jobs.count; i++) {
        const struct ab_job *job = controller->jobs.items[i];
        bool is_live = job->state == AB_JOB_SUBMITTED || job->state == AB_JOB_RUNNING;
        if (is_live && job->cut > 0 && job->cut < from) {
            from = job->cut; /* its next attempt begins with this cut's manifest */
        }
    }
    ab_lock_give(&controller->lock);
    return from;
}

/* True when every partition has the marker of the span: what the manifest says is then in history too. */
static bool is_sealed(const struct ab_controller *controller, uint64_t cut)
{
    for (uint32_t p = 0; p < controller->node.identity.partitions_count; p++) {
        char *path = ab_history_marker_path(controller->node.directory, p, cut);
        bool is_there = ab_file_exists(path);
        if (!is_there) {
            ab_warn("cuts kept",
                "%s is missing though cut %" PRIu64 " was published: /cuts/%" PRIu64
                " and later ones stay until it is put back from a copy",
                path, cut, cut);
        }
        ab_delete(path);
        if (!is_there) {
            return false;
        }
    }
    return true;
}

/* What is written down of the last cut that goes. */
static ab_err pruned_make(
    struct ab_controller *controller, uint64_t cut, struct ab_json **pruned, struct ab_error *error)
{
    struct ab_json *manifest = NULL;
    AB_TRY(ab_cut_read(controller, cut, &manifest, error));
    const struct ab_json *partitions = ab_json_get(manifest, "partitions");
    struct ab_json *offsets = ab_json_array();
    struct ab_json *chains = ab_json_array();
    struct ab_json *made = ab_json_object();
    bool is_right = ab_json_count(partitions) == controller->node.identity.partitions_count;
    for (size_t p = 0; is_right && p < ab_json_count(partitions); p++) {
        uint64_t offset = ab_json_u64_or(ab_json_get(ab_json_at(partitions, p), "offset"), 0);
        struct ab_bytes chain = ab_json_bytes(ab_json_get(ab_json_at(partitions, p), "chain"));
        is_right = offset > 0 && chain.bytes > 0;
        ab_json_append(offsets, ab_json_integer((int64_t)offset));
        ab_json_append(chains, ab_json_text_of(chain));
    }
    ab_json_set(made, "cut", ab_json_integer((int64_t)cut));
    ab_json_set(made, "offsets", offsets);
    ab_json_set(made, "chains", chains);
    ab_json_destroy(manifest);
    if (!is_right) {
        ab_json_destroy(made);
        return ab_error_set(
            error, AB_CORRUPT, "coordination node /cuts/%" PRIu64 " does not say where the cut is", cut);
    }
    *pruned = made;
    return AB_OK;
}

/* Removes a few cuts, rising, in one multi. */
static ab_err cuts_remove(
    struct ab_controller *controller, const uint64_t *numbers, size_t count, struct ab_error *error)
{
    struct ab_json *pruned = NULL;
    struct ab_json *before = NULL;
    struct ab_changes changes = {0};
    char path[PATH_BYTES];
    AB_TRY(ab_cuts_history(controller, &before, error));
    bool is_first = ab_json_is_null(before);
    ab_json_destroy(before);
    AB_TRY(pruned_make(controller, numbers[count - 1], &pruned, error));
    ab_changes_add_json(&changes, is_first ? AB_COORDINATION_CREATE : AB_COORDINATION_SET, PRUNED_PATH, pruned,
        AB_COORDINATION_ANY_VERSION);
    ab_json_destroy(pruned);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(path, sizeof path, "/cuts/%" PRIu64, numbers[i]);
        ab_changes_add(&changes, AB_COORDINATION_DELETE, path, (struct ab_bytes){0}, AB_COORDINATION_ANY_VERSION);
    }
    return ab_controller_commit(controller, &changes, error);
}

ab_err ab_cuts_prune(struct ab_controller *controller, uint64_t oldest_cut, struct ab_error *error)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    size_t due = 0;
    AB_TRY(ab_cuts_kept(controller, &numbers, &count, error));
    uint64_t from = count == 0 ? 0 : needed_from(controller, oldest_cut, numbers[count - 1]);
    while (due < count && numbers[due] < from && is_sealed(controller, numbers[due])) {
        due++;
    }
    ab_err err = AB_OK;
    for (size_t done = 0; err == AB_OK && done < due;) {
        size_t left = due - done;
        size_t step = left < AB_COORDINATION_OPS_MAX ? left : AB_COORDINATION_OPS_MAX - 1;
        err = cuts_remove(controller, numbers + done, step, error);
        done += step;
    }
    if (err == AB_OK && due > 0) {
        ab_info("cuts forgotten", "%zu, up to %" PRIu64 "; history has them", due, numbers[due - 1]);
    }
    ab_delete(numbers);
    return err;
}
