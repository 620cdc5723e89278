#include "cluster/controller/controller.h"

#include "cluster/controller/job_nodes.h"
#include "common/base/logging.h"

#include <inttypes.h>
#include <stdio.h>

#define PATH_BYTES 128

/* What a BEGIN needs of its job, copied under the lock. */
struct begun {
    char id[AB_JOB_ID_BYTES];
    uint32_t attempt;
    uint64_t cut;
    bool is_full;
};

static void begun_copy_locked(const struct ab_job *job, struct begun *begun)
{
    memcpy(begun->id, job->id, sizeof begun->id);
    begun->attempt = job->attempt;
    begun->cut = job->cut;
    begun->is_full = job->is_full;
}

static ab_err job_begin(
    struct ab_controller *controller, const struct ab_json *payload, struct begun *begun, struct ab_error *error)
{
    const struct ab_job_request request = {.request_id = "",
        .is_full = ab_json_boolean_or(ab_json_get(payload, "full"), false),
        .ranks_count = (uint32_t)ab_json_integer_or(ab_json_get(payload, "ranks"), 1)};
    struct ab_job *job = NULL;
    ab_lock_take(&controller->lock);
    ab_err err = ab_jobs_begin(
        &controller->jobs, ab_json_text_or(ab_json_get(payload, "job"), ""), &request, ab_time_now(), &job, error);
    if (err == AB_OK) {
        begun_copy_locked(job, begun);
        /* An attempt's number names its directories: one that a crash forgets would be given again. */
        err = ab_job_write_locked(controller, job, error);
    }
    ab_lock_give(&controller->lock);
    return err;
}

/* Gives the job its cut: number, manifest and job record in one multi, so that a retry finds the same one. */
static ab_err job_cut(struct ab_controller *controller, struct begun *begun, struct ab_error *error)
{
    char path[PATH_BYTES];
    uint64_t next = 0;
    struct ab_catalog *catalog = NULL;
    AB_TRY(ab_cut_next(controller, &next, error));
    AB_TRY(ab_catalog_current(controller, &catalog, error));
    struct ab_changes changes = {0};
    ab_lock_take(&controller->lock);
    struct ab_job *job = ab_jobs_find(&controller->jobs, begun->id);
    struct ab_json *record = job == NULL ? NULL : ab_job_encode(job);
    uint64_t epoch = controller->jobs_epoch;
    ab_lock_give(&controller->lock);
    if (record == NULL) {
        ab_catalog_release(catalog);
        return ab_error_set(error, AB_STALE, "this controller acts no more: the job has no cut yet");
    }
    ab_json_set(record, "cut", ab_json_integer((int64_t)next));
    (void)snprintf(path, sizeof path, "/jobs/%s", begun->id);
    ab_changes_add_json(&changes, AB_COORDINATION_SET, path, record, AB_COORDINATION_ANY_VERSION);
    ab_json_destroy(record);
    if (ab_controller_is_of_several(controller)) {
        ab_changes_fence(&changes, epoch); /* the record is as it was read in this term */
    }
    ab_err err = ab_cut_allocate(controller, catalog, &changes, &next, error);
    ab_catalog_release(catalog);
    AB_TRY(err);
    ab_lock_take(&controller->lock);
    job = ab_jobs_find(&controller->jobs, begun->id);
    if (job != NULL) {
        job->cut = next;
        ab_job_store_locked(controller, job);
    }
    ab_lock_give(&controller->lock);
    begun->cut = next;
    return AB_OK;
}

/* The manifest in force of every view of the catalog, or null. */
static ab_err previous_read(struct ab_controller *controller, const struct ab_catalog *catalog,
    struct ab_json **previous, struct ab_error *error)
{
    struct ab_json *made = ab_json_object();
    for (uint32_t v = 0; v < catalog->views_count; v++) {
        char path[PATH_BYTES];
        struct ab_json *manifest = NULL;
        (void)snprintf(path, sizeof path, "/views/%s", catalog->views[v].name);
        ab_err err = ab_coordination_get_json(controller->coordination, path, &manifest, NULL, error);
        if (err != AB_OK && err != AB_NOT_FOUND) {
            ab_json_destroy(made);
            return err;
        }
        ab_json_set(made, catalog->views[v].name, err == AB_OK ? manifest : ab_json_null());
    }
    *previous = made;
    return AB_OK;
}

/* Moves a member from one object to another, through text: a value has one owner. */
static ab_err member_copy(struct ab_json *into, const struct ab_json *from, const char *key, struct ab_error *error)
{
    struct ab_buffer text;
    struct ab_json *copy = NULL;
    ab_buffer_init(&text, NULL, 0);
    ab_json_write(ab_json_get(from, key), 0, &text);
    ab_err err = ab_json_parse(ab_buffer_view(&text), &copy, error);
    ab_buffer_fini(&text);
    if (err == AB_OK) {
        ab_json_set(into, key, copy);
    }
    return err;
}

static void catalog_set(struct ab_json *reply, const struct ab_catalog *catalog)
{
    struct ab_buffer encoded;
    struct ab_buffer hex;
    ab_buffer_init(&encoded, NULL, 0);
    ab_buffer_init(&hex, NULL, 0);
    ab_catalog_encode(catalog, &encoded);
    ab_buffer_put_as_hex(&hex, ab_buffer_view(&encoded));
    ab_json_set(reply, "catalog", ab_json_text(ab_buffer_text(&hex)));
    ab_buffer_fini(&encoded);
    ab_buffer_fini(&hex);
}

static ab_err reply_fill(struct ab_controller *controller, const struct begun *begun, const struct ab_json *manifest,
    struct ab_json *reply, struct ab_error *error)
{
    struct ab_catalog *catalog = NULL;
    struct ab_json *spans = NULL;
    struct ab_json *history = NULL;
    struct ab_json *previous = NULL;
    ab_json_set(reply, "job", ab_json_text(begun->id));
    ab_json_set(reply, "attempt", ab_json_integer(begun->attempt));
    ab_json_set(reply, "full", ab_json_boolean(begun->is_full));
    ab_json_set(reply, "cut", ab_json_integer((int64_t)begun->cut));
    ab_json_set(reply, "shards", ab_json_integer(controller->node.identity.partitions_count));
    AB_TRY(member_copy(reply, manifest, "time_us", error));
    AB_TRY(member_copy(reply, manifest, "partitions", error));
    AB_TRY(ab_cuts_spans(controller, begun->cut, &spans, error));
    ab_json_set(reply, "spans", spans);
    AB_TRY(ab_cuts_history(controller, &history, error));
    ab_json_set(reply, "history", history);
    AB_TRY(ab_catalog_of_version(
        controller, ab_json_u64_or(ab_json_get(manifest, "catalog_version"), 0), &catalog, error));
    catalog_set(reply, catalog);
    ab_err err = previous_read(controller, catalog, &previous, error);
    ab_catalog_release(catalog);
    AB_TRY(err);
    ab_json_set(reply, "previous", previous);
    return ab_controller_is_of_several(controller) ? ab_job_nodes_tell(controller, reply, error) : AB_OK;
}

ab_err ab_verb_job_begin(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    struct begun begun = {0};
    struct ab_json *manifest = NULL;
    AB_TRY(job_begin(controller, payload, &begun, error));
    AB_TRY(ab_cuts_complete_pending(controller, error));
    if (begun.cut == 0) {
        AB_TRY(job_cut(controller, &begun, error));
        AB_TRY(ab_cuts_complete_pending(controller, error));
    }
    AB_TRY(ab_cut_read(controller, begun.cut, &manifest, error));
    struct ab_json *made = ab_json_object();
    ab_err err = reply_fill(controller, &begun, manifest, made, error);
    ab_json_destroy(manifest);
    if (err != AB_OK) {
        ab_json_destroy(made);
        return err;
    }
    ab_info("job begun", "%s, attempt %u, cut %" PRIu64, begun.id, begun.attempt, begun.cut);
    *reply = made;
    return AB_OK;
}
