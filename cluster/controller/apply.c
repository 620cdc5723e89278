#include "cluster/controller/controller.h"

#include "common/base/logging.h"
#include "common/history/manifest.h"

#include <inttypes.h>
#include <stdio.h>

#define PATH_BYTES 128

/* True when a view of `after` is new, or means something else than before: it has to be filled. */
static bool needs_backfill(const struct ab_catalog *before, const struct ab_catalog *after)
{
    for (uint32_t v = 0; v < after->views_count; v++) {
        if (ab_catalog_view_by_uid(before, after->views[v].uid) == NULL) {
            return true;
        }
    }
    return false;
}

/* A stream goes only when that is said: a view can be built again from history, a stream's own rows cannot. */
static ab_err removal_check(const struct ab_catalog *before, const struct ab_catalog *after,
    const struct ab_json *payload, struct ab_error *error)
{
    if (after->streams_count == 0) {
        return ab_error_set(error, AB_INVALID, "the catalog has no stream; nothing was changed");
    }
    bool is_allowed = ab_json_boolean_or(ab_json_get(payload, "allow_removal"), false);
    for (uint32_t i = 0; i < before->streams_count && !is_allowed; i++) {
        const char *name = before->streams[i].name;
        if (ab_catalog_stream(after, ab_bytes_of_text(name)) == NULL) {
            return ab_error_set(error, AB_UNSUPPORTED,
                "stream %s is not in the new catalog: it would take no rows any more, and its history would not be "
                "read; "
                "say --allow-removal if that is meant; nothing was changed",
                name);
        }
    }
    return AB_OK;
}

static struct ab_json *changes_list(struct ab_buffer *changes)
{
    struct ab_json *list = ab_json_array();
    const char *at = ab_buffer_text(changes);
    while (*at != '\0') {
        size_t bytes = strcspn(at, "\n");
        if (bytes > 0) {
            ab_json_append(list, ab_json_text_of(ab_bytes_of(at, bytes)));
        }
        at += bytes + (at[bytes] == '\n');
    }
    return list;
}

/* Makes the job that fills new views; its id goes to the reply. Idempotent by the catalog's version. */
static ab_err backfill_submit(
    struct ab_controller *controller, uint64_t version, struct ab_json *reply, struct ab_error *error)
{
    char request_id[AB_JOB_REQUEST_BYTES];
    (void)snprintf(request_id, sizeof request_id, "apply-%" PRIu64, version);
    const struct ab_job_request request = {.request_id = request_id, .ranks_count = 1};
    struct ab_job *job = NULL;
    bool is_new = false;
    ab_lock_take(&controller->lock);
    ab_err err = ab_jobs_submit(&controller->jobs, &request, ab_time_now(), &job, &is_new, error);
    if (err == AB_OK) {
        ab_job_store_locked(controller, job);
        ab_json_set(reply, "job", ab_json_text(job->id));
    }
    ab_lock_give(&controller->lock);
    return err;
}

/* Whether the version in force of a view was computed by this very definition. */
static bool is_filled(struct ab_controller *controller, const struct ab_view *view)
{
    char path[PATH_BYTES];
    struct ab_json *json = NULL;
    struct ab_version_manifest manifest = {0};
    (void)snprintf(path, sizeof path, "/views/%s", view->name);
    bool is_known = ab_coordination_get_json(controller->coordination, path, &json, NULL, NULL) == AB_OK &&
                    ab_version_manifest_decode(json, &manifest, NULL) == AB_OK;
    bool is_own = is_known && manifest.uid == view->uid;
    ab_version_manifest_fini(&manifest);
    ab_json_destroy(json);
    return is_own;
}

/* A controller that ended between accepting a catalog and making the job that fills its new views left that job to the
 * next `apply` of the same catalog. */
static ab_err backfill_resume(
    struct ab_controller *controller, const struct ab_catalog *current, struct ab_json *reply, struct ab_error *error)
{
    struct ab_catalog *before = NULL;
    bool is_missing = false;
    if (current->version < 2) {
        return AB_OK;
    }
    AB_TRY(ab_catalog_of_version(controller, current->version - 1, &before, error));
    for (uint32_t v = 0; v < current->views_count; v++) {
        const struct ab_view *view = &current->views[v];
        is_missing |= ab_catalog_view_by_uid(before, view->uid) == NULL && !is_filled(controller, view);
    }
    ab_catalog_release(before);
    return is_missing ? backfill_submit(controller, current->version, reply, error) : AB_OK;
}

/* The next catalog becomes a fact together with the cut that will carry it; it is in force when every partition has
 * that cut. */
static ab_err catalog_accept(
    struct ab_controller *controller, const struct ab_catalog *next, uint64_t *cut, struct ab_error *error)
{
    char path[PATH_BYTES];
    struct ab_buffer encoded;
    struct ab_changes changes = {0};
    (void)snprintf(path, sizeof path, "/catalogs/%" PRIu64, next->version);
    ab_buffer_init(&encoded, NULL, 0);
    ab_catalog_encode(next, &encoded);
    ab_changes_add(&changes, AB_COORDINATION_CREATE, path, ab_buffer_view(&encoded), 0);
    ab_buffer_fini(&encoded);
    return ab_cut_allocate(controller, next, &changes, cut, error);
}

static ab_err apply_changes(struct ab_controller *controller, const struct ab_catalog *before,
    const struct ab_catalog *next, struct ab_json *reply, struct ab_error *error)
{
    uint64_t cut = 0;
    AB_TRY(catalog_accept(controller, next, &cut, error));
    ab_info("catalog accepted", "version %" PRIu64 ", carried by cut %" PRIu64, next->version, cut);
    AB_TRY(ab_cuts_complete_pending(controller, error));
    ab_json_set(reply, "version", ab_json_integer((int64_t)next->version));
    ab_json_set(reply, "cut", ab_json_integer((int64_t)cut));
    return needs_backfill(before, next) ? backfill_submit(controller, next->version, reply, error) : AB_OK;
}

ab_err ab_verb_apply(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    struct ab_catalog *before = NULL;
    struct ab_catalog *next = NULL;
    struct ab_buffer changes;
    if (!ab_json_is_text(ab_json_get(payload, "text"))) {
        return ab_error_set(error, AB_INVALID, "the request has no catalog in \"text\"");
    }
    ab_buffer_init(&changes, NULL, AB_WIRE_MESSAGE_BYTES_MAX / 4);
    AB_TRY(ab_cuts_complete_pending(controller, error)); /* one of them may carry a catalog */
    AB_TRY(ab_catalog_current(controller, &before, error));
    struct ab_json *made = ab_json_object();
    ab_err err = ab_catalog_evolve(ab_json_bytes(ab_json_get(payload, "text")), before, &next, &changes, error);
    err = err == AB_OK ? removal_check(before, next, payload, error) : err;
    if (err == AB_OK) {
        next->version = before->version + 1;
        ab_json_set(made, "changes", changes_list(&changes));
        bool is_dry_run = ab_json_boolean_or(ab_json_get(payload, "dry_run"), false);
        if (!is_dry_run) {
            err = changes.bytes > 0 ? apply_changes(controller, before, next, made, error)
                                    : backfill_resume(controller, before, made, error);
        }
    }
    ab_catalog_release(next);
    ab_catalog_release(before);
    ab_buffer_fini(&changes);
    if (err != AB_OK) {
        ab_json_destroy(made);
        return err;
    }
    *reply = made;
    return AB_OK;
}
