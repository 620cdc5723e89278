#include "cluster/controller/controller.h"

#include "cluster/controller/job_nodes.h"
#include "cluster/layout.h"
#include "cluster/publication.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/history/manifest.h"

#include <inttypes.h>
#include <stdio.h>

#define PATH_BYTES 256

/* The publication being checked. */
struct publication {
    char job[AB_JOB_ID_BYTES];
    uint32_t attempt;
    uint64_t cut;
    struct ab_catalog *catalog; /* owned reference: of the cut */
    struct ab_changes changes;
    bool is_held_here;       /* several nodes: this one has all of it */
    bool is_held_everywhere; /* so do all replicas */
};

/* Reconcile: a difference of counts means that something was lost or counted twice; nothing is published over it. */
static ab_err report_check(const struct ab_json *report, struct ab_error *error)
{
    static const char *const members[] = {"refusals", "count_differences"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const struct ab_json *member = ab_json_get(report, members[i]);
        uint64_t differences = ab_json_is_array(member) ? ab_json_count(member) : ab_json_u64_or(member, 0);
        if (differences > 0) {
            return ab_error_set(error, AB_INVALID,
                "the reconcile report has %" PRIu64 " differences of counts; nothing was published", differences);
        }
    }
    return AB_OK;
}

/* Every directory of a manifest is there and complete: it has its own manifest. */
static ab_err directories_check(
    const struct ab_controller *controller, const struct ab_version_manifest *manifest, struct ab_error *error)
{
    for (uint32_t d = 0; d < manifest->directories_count; d++) {
        for (uint32_t s = 0; s < manifest->shards_count; s++) {
            char *shard = ab_version_shard_path(controller->node.directory, &manifest->directories[d], s);
            char *path = ab_new_format("%s/manifest.json", shard);
            bool is_there = ab_file_exists(path);
            ab_err err = is_there ? AB_OK : ab_error_set(error, AB_NOT_FOUND, "%s is missing", path);
            ab_delete(path);
            ab_delete(shard);
            AB_TRY(err);
        }
    }
    return AB_OK;
}

static ab_err manifest_check(const struct ab_controller *controller, const struct publication *publication,
    const struct ab_version_manifest *manifest, struct ab_error *error)
{
    const struct ab_view *view = ab_catalog_view(publication->catalog, ab_bytes_of_text(manifest->view));
    if (view == NULL || view->uid != manifest->uid || view->definition_version != manifest->definition_version) {
        return ab_error_set(error, AB_INVALID, "it is of a definition that the cut's catalog does not have");
    }
    if (manifest->cut != publication->cut || manifest->attempt != publication->attempt) {
        return ab_error_set(error, AB_INVALID, "it is of cut %" PRIu64 ", attempt %u, not of this job's", manifest->cut,
            manifest->attempt);
    }
    return publication->is_held_here ? directories_check(controller, manifest, error) : AB_OK;
}

/* The cut decides: a later definition has later cuts, and a view that was dropped and made anew counts its definitions
 * from 1 again. */
static bool is_newer(const struct ab_version_manifest *manifest, const struct ab_version_manifest *than)
{
    return ab_version_is_newer((struct ab_version_number){.cut = manifest->cut, .attempt = manifest->attempt},
        (struct ab_version_number){.cut = than->cut, .attempt = than->attempt});
}

/* Notes the manifest among those of its view, before the pointer moves: what is newer than the pointer counts for
 * nothing. */
static ab_err version_note(
    struct ab_controller *controller, const char *path, const struct ab_json *json, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, AB_COORDINATION_VALUE_BYTES_MAX);
    ab_json_write(json, 0, &text);
    ab_err err = ab_buffer_finish(&text);
    if (err == AB_OK) {
        err = ab_coordination_store(controller->coordination, path, ab_buffer_view(&text), error);
    }
    ab_buffer_fini(&text);
    return err;
}

/* Adds the moves of one view's pointer, if it is older than the manifest. */
static ab_err pointer_move(struct ab_controller *controller, struct publication *publication,
    const struct ab_json *json, const struct ab_version_manifest *manifest, struct ab_error *error)
{
    char path[PATH_BYTES];
    struct ab_json *current = NULL;
    struct ab_version_manifest current_manifest = {0};
    uint64_t version = 0;
    (void)snprintf(path, sizeof path, "/views/%s", manifest->view);
    ab_err err = ab_coordination_get_json(controller->coordination, path, &current, &version, error);
    bool is_first = err == AB_NOT_FOUND;
    if (err == AB_OK) {
        err = ab_version_manifest_decode(current, &current_manifest, error);
        if (err == AB_OK && !is_newer(manifest, &current_manifest)) {
            err = ab_error_set(error, AB_STALE, "a newer version is in force (cut %" PRIu64 ", attempt %u)",
                current_manifest.cut, current_manifest.attempt);
        }
    }
    ab_version_manifest_fini(&current_manifest);
    ab_json_destroy(current);
    if (err != AB_OK && !is_first) {
        return err;
    }
    ab_changes_add_json(
        &publication->changes, is_first ? AB_COORDINATION_CREATE : AB_COORDINATION_SET, path, json, version);
    (void)snprintf(path, sizeof path, "/versions/%s/%u-%" PRIu64 "-%u", manifest->view, manifest->definition_version,
        manifest->cut, manifest->attempt);
    return version_note(controller, path, json, error);
}

static ab_err views_check(struct ab_controller *controller, struct publication *publication,
    const struct ab_json *views, struct ab_error *error)
{
    for (size_t i = 0; i < ab_json_count(views); i++) {
        struct ab_version_manifest manifest = {0};
        const struct ab_json *json = ab_json_at(views, i);
        ab_err err = ab_version_manifest_decode(json, &manifest, error);
        if (err == AB_OK) {
            err = manifest_check(controller, publication, &manifest, error);
        }
        if (err == AB_OK) {
            err = pointer_move(controller, publication, json, &manifest, error);
        }
        if (err != AB_OK) {
            err = ab_error_wrap(error, err, "manifest of view '%s'", ab_json_text_or(ab_json_get(json, "view"), "?"));
        }
        ab_version_manifest_fini(&manifest);
        AB_TRY(err);
    }
    return AB_OK;
}

/* The pointer of a view that the cut's catalog does not have goes, unless that catalog is the older one. */
static ab_err dropped_view(
    struct ab_controller *controller, struct publication *publication, const char *view, struct ab_error *error)
{
    char path[PATH_BYTES];
    struct ab_json *current = NULL;
    uint64_t version = 0;
    (void)snprintf(path, sizeof path, "/views/%s", view);
    AB_TRY(ab_coordination_get_json(controller->coordination, path, &current, &version, error));
    uint64_t cut = ab_json_u64_or(ab_json_get(current, "cut"), 0);
    ab_json_destroy(current);
    if (cut > publication->cut) {
        return ab_error_set(error, AB_STALE, "view '%s' was published at cut %" PRIu64 " already", view, cut);
    }
    ab_changes_add(&publication->changes, AB_COORDINATION_DELETE, path, (struct ab_bytes){0}, version);
    return AB_OK;
}

/* Pointers of dropped views go in the same step. */
static ab_err dropped_views(struct ab_controller *controller, struct publication *publication, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_coordination_list(controller->coordination, "/views", &names, &count, error));
    ab_err err = AB_OK;
    for (size_t i = 0; err == AB_OK && i < count; i++) {
        if (ab_catalog_view(publication->catalog, ab_bytes_of_text(names[i])) == NULL) {
            err = dropped_view(controller, publication, names[i], error);
        }
    }
    ab_coordination_names_free(names, count);
    return err;
}

/* May this attempt publish? *is_repeat: it has, and only the answer was lost. */
static ab_err attempt_check(struct ab_controller *controller, const struct ab_json *payload,
    struct publication *publication, bool *is_repeat, struct ab_error *error)
{
    struct ab_job *job = NULL;
    uint64_t attempt = ab_json_u64_or(ab_json_get(payload, "attempt"), 0);
    uint64_t cut = ab_json_u64_or(ab_json_get(payload, "cut"), 0);
    const char *id = ab_json_text_or(ab_json_get(payload, "job"), "");
    ab_lock_take(&controller->lock);
    const struct ab_job *known = ab_jobs_find(&controller->jobs, id);
    *is_repeat = known != NULL && known->state == AB_JOB_DONE && known->attempt == attempt && known->cut == cut;
    ab_err err =
        *is_repeat ? AB_OK : ab_jobs_check(&controller->jobs, id, (uint32_t)attempt, ab_time_now(), &job, error);
    if (err == AB_OK && job != NULL) {
        memcpy(publication->job, job->id, sizeof publication->job);
        publication->attempt = job->attempt;
        publication->cut = job->cut;
        if (job->cut != cut) {
            err = ab_error_set(error, AB_INVALID, "%s is at cut %" PRIu64 ", not %" PRIu64, id, job->cut, cut);
        }
    }
    ab_lock_give(&controller->lock);
    return err;
}

static ab_err catalog_of_cut(struct ab_controller *controller, struct publication *publication, struct ab_error *error)
{
    struct ab_json *manifest = NULL;
    AB_TRY(ab_cut_read(controller, publication->cut, &manifest, error));
    uint64_t version = ab_json_u64_or(ab_json_get(manifest, "catalog_version"), 0);
    ab_json_destroy(manifest);
    return ab_catalog_of_version(controller, version, &publication->catalog, error);
}

static struct ab_json *report_copy(const struct ab_json *payload)
{
    struct ab_buffer text;
    struct ab_json *copy = NULL;
    ab_buffer_init(&text, NULL, 0);
    ab_json_write(ab_json_get(payload, "report"), 0, &text);
    if (ab_json_parse(ab_buffer_view(&text), &copy, NULL) != AB_OK) {
        copy = NULL;
    }
    ab_buffer_fini(&text);
    return copy;
}

/* Pointers, retained versions and the job's record move together (I6). */
static ab_err publication_commit(struct ab_controller *controller, struct publication *publication,
    const struct ab_json *payload, struct ab_error *error)
{
    char path[PATH_BYTES];
    ab_lock_take(&controller->lock);
    /* Nobody may begin a newer attempt between this check and the commit: BEGIN is of this thread too. */
    struct ab_job *job = ab_jobs_find(&controller->jobs, publication->job);
    if (job == NULL) {
        ab_lock_give(&controller->lock);
        return ab_error_set(error, AB_STALE, "this controller acts no more: nothing was published");
    }
    struct ab_job done = *job;
    ab_job_published(job, report_copy(payload), ab_time_now());
    struct ab_json *record = ab_job_encode(job);
    (void)snprintf(path, sizeof path, "/jobs/%s", publication->job);
    ab_changes_add_json(&publication->changes, AB_COORDINATION_SET, path, record, AB_COORDINATION_ANY_VERSION);
    ab_json_destroy(record);
    ab_err err = ab_jobs_commit_locked(controller, &publication->changes, error);
    if (err != AB_OK) {
        ab_json_destroy(job->report);
        done.report = NULL;
        *job = done;
    }
    ab_lock_give(&controller->lock);
    return err;
}

static void publication_fini(struct publication *publication)
{
    ab_changes_fini(&publication->changes);
    ab_catalog_release(publication->catalog);
}

ab_err ab_verb_job_publish(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    struct publication publication = {.is_held_here = true, .is_held_everywhere = true};
    bool is_repeat = false;
    AB_TRY(attempt_check(controller, payload, &publication, &is_repeat, error));
    if (is_repeat) {
        *reply = ab_json_object();
        return AB_OK;
    }
    ab_err err = report_check(ab_json_get(payload, "report"), error);
    if (err == AB_OK && ab_controller_is_of_several(controller)) {
        err = ab_job_nodes_hold(controller, payload, &publication.is_held_here, &publication.is_held_everywhere, error);
    }
    if (err == AB_OK) {
        err = catalog_of_cut(controller, &publication, error);
    }
    if (err == AB_OK) {
        err = views_check(controller, &publication, ab_json_get(payload, "views"), error);
    }
    if (err == AB_OK) {
        err = dropped_views(controller, &publication, error);
    }
    if (err == AB_OK) {
        err = publication_commit(controller, &publication, payload, error);
    }
    publication_fini(&publication);
    if (err != AB_OK) {
        ab_warn("publication refused", "%s: %s", publication.job, error->text);
        return err;
    }
    ab_info("published", "%s, attempt %u, cut %" PRIu64, publication.job, publication.attempt, publication.cut);
    ab_retire(controller, publication.is_held_everywhere);
    *reply = ab_json_object();
    return AB_OK;
}
