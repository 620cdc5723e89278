#include "cluster/controller/controller.h"

#include "common/base/file.h"
#include "common/coordination/operations.h"
#include "common/history/manifest.h"

#include <inttypes.h>
#include <stdio.h>

#define SPEED_STATUS_TIMEOUT_MS 3000
#define STATUS_JOBS_MAX 20u
#define PATH_BYTES 256

static void seconds_set(struct ab_json *object, const char *key, ab_time_us since)
{
    ab_json_set(object, key, ab_json_integer((ab_time_now() - since) / AB_US_PER_SECOND));
}

static struct ab_json *daemon_status_locked(const struct ab_daemon *daemon)
{
    struct ab_json *entry = ab_json_object();
    const struct ab_supervision *supervision = &daemon->supervision;
    ab_json_set(entry, "name", ab_json_text(daemon->name));
    const char *state = supervision->is_running ? (daemon->has_endpoint ? "answers" : "starts")
                                                : (supervision->is_in_crash_loop ? "crash loop" : "stopped");
    ab_json_set(entry, "state", ab_json_text(state));
    ab_json_set(entry, "restarts", ab_json_integer((int64_t)supervision->restarts_count));
    if (supervision->is_running) {
        ab_json_set(entry, "pid", ab_json_integer(daemon->process.pid));
        seconds_set(entry, "uptime_s", daemon->started_us);
    }
    if (supervision->crashes_count > 0) {
        ab_json_set(entry, "last_exit_code", ab_json_integer(daemon->last_code));
    }
    if (daemon->has_endpoint) {
        ab_json_set(entry, "address", ab_json_text(daemon->endpoint.address));
    }
    return entry;
}

static struct ab_json *daemons_status(struct ab_controller *controller)
{
    struct ab_json *list = ab_json_array();
    struct ab_json *self = ab_json_object();
    ab_json_set(self, "name", ab_json_text("controller"));
    ab_json_set(self, "state", ab_json_text("answers"));
    ab_json_set(self, "restarts", ab_json_integer(0));
    ab_json_set(self, "pid", ab_json_integer(ab_process_self().pid));
    seconds_set(self, "uptime_s", controller->started_us);
    ab_json_set(self, "address", ab_json_text(ab_server_address(controller->server)));
    ab_json_append(list, self);
    ab_lock_take(&controller->lock);
    for (int i = AB_DAEMONS_COUNT - 1; i >= 0; i--) {
        ab_json_append(list, daemon_status_locked(&controller->daemons[i]));
    }
    ab_lock_give(&controller->lock);
    return list;
}

static void jobs_append(struct ab_json *list, const struct ab_jobs *jobs)
{
    size_t count = jobs->count;
    for (size_t i = count > STATUS_JOBS_MAX ? count - STATUS_JOBS_MAX : 0; i < count; i++) {
        ab_json_append(list, ab_job_encode(jobs->items[i]));
    }
}

/* The newest jobs: the acting controller keeps them, any other reads their records. */
static struct ab_json *jobs_status(struct ab_controller *controller)
{
    struct ab_json *list = ab_json_array();
    struct ab_jobs jobs = {0};
    uint64_t epoch = 0;
    if (controller->acting_loop != NULL && !ab_acting_loop_is_acting(controller->acting_loop, &epoch)) {
        if (ab_job_records_read(controller, &jobs, NULL) == AB_OK) {
            jobs_append(list, &jobs);
        }
        ab_jobs_fini(&jobs);
        return list;
    }
    ab_lock_take(&controller->lock);
    jobs_append(list, &controller->jobs);
    ab_lock_give(&controller->lock);
    return list;
}

/* The version in force of one view. */
static struct ab_json *view_status(struct ab_controller *controller, const struct ab_view *view)
{
    char path[PATH_BYTES];
    struct ab_json *json = NULL;
    struct ab_version_manifest manifest = {0};
    struct ab_json *entry = ab_json_object();
    ab_json_set(entry, "name", ab_json_text(view->name));
    ab_json_set(entry, "stream", ab_json_text(view->stream->name));
    ab_json_set(entry, "definition_version", ab_json_integer(view->definition_version));
    (void)snprintf(path, sizeof path, "/views/%s", view->name);
    if (ab_coordination_get_json(controller->coordination, path, &json, NULL, NULL) == AB_OK &&
        ab_version_manifest_decode(json, &manifest, NULL) == AB_OK) {
        uint64_t rows = 0;
        uint64_t bytes = 0;
        for (uint32_t d = 0; d < manifest.directories_count; d++) {
            for (uint32_t s = 0; s < manifest.shards_count; s++) {
                rows += manifest.directories[d].shards[s].rows_count;
                bytes += manifest.directories[d].shards[s].bytes;
            }
        }
        (void)snprintf(
            path, sizeof path, "%u/%" PRIu64 "-%u", manifest.definition_version, manifest.cut, manifest.attempt);
        ab_json_set(entry, "version", ab_json_text(path));
        ab_json_set(entry, "cut", ab_json_integer((int64_t)manifest.cut));
        ab_json_set(entry, "time_us", ab_json_integer(manifest.time_us));
        ab_json_set(entry, "rows", ab_json_integer((int64_t)rows));
        ab_json_set(entry, "bytes", ab_json_integer((int64_t)bytes));
        ab_json_set(entry, "directories", ab_json_integer(manifest.directories_count));
        ab_json_set(entry, "is_whole", ab_json_boolean(manifest.uid == view->uid));
    }
    ab_version_manifest_fini(&manifest);
    ab_json_destroy(json);
    return entry;
}

static void catalog_status(struct ab_controller *controller, struct ab_json *status)
{
    struct ab_catalog *catalog = NULL;
    char hash[33];
    if (ab_catalog_current(controller, &catalog, NULL) != AB_OK) {
        return;
    }
    struct ab_json *views = ab_json_array();
    struct ab_json *streams = ab_json_array();
    ab_json_set(status, "catalog_version", ab_json_integer((int64_t)catalog->version));
    ab_hash128_format(catalog->hash, hash);
    ab_json_set(status, "catalog_hash", ab_json_text(hash));
    for (uint32_t s = 0; s < catalog->streams_count; s++) {
        ab_json_append(streams, ab_json_text(catalog->streams[s].name));
    }
    for (uint32_t v = 0; v < catalog->views_count; v++) {
        ab_json_append(views, view_status(controller, &catalog->views[v]));
    }
    ab_json_set(status, "streams", streams);
    ab_json_set(status, "views", views);
    ab_catalog_release(catalog);
}

static void cuts_status(struct ab_controller *controller, struct ab_json *status)
{
    uint64_t next = 0;
    uint64_t *kept = NULL;
    size_t kept_count = 0;
    struct ab_json *manifest = NULL;
    if (ab_cut_next(controller, &next, NULL) != AB_OK) {
        return;
    }
    struct ab_json *entry = ab_json_object();
    ab_json_set(entry, "last", ab_json_integer((int64_t)next - 1));
    if (next > 1 && ab_cut_read(controller, next - 1, &manifest, NULL) == AB_OK) {
        ab_json_set(entry, "state", ab_json_text(ab_json_text_or(ab_json_get(manifest, "state"), "")));
        ab_json_set(entry, "time_us", ab_json_integer(ab_json_integer_or(ab_json_get(manifest, "time_us"), 0)));
    }
    if (ab_cuts_kept(controller, &kept, &kept_count, NULL) == AB_OK) {
        ab_json_set(entry, "retained", ab_json_integer((int64_t)kept_count));
    }
    ab_delete(kept);
    ab_json_destroy(manifest);
    ab_json_set(status, "cuts", entry);
}

ab_err ab_verb_status(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error)
{
    (void)payload; /* nothing to choose */
    (void)error;   /* what cannot be found out is left out */
    struct ab_json *status = ab_json_object();
    struct ab_json *speed = NULL;
    struct ab_error speed_error = {0};
    char id[33];
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    ab_cluster_id_format(controller->node.identity.cluster_id, id);
    ab_json_set(status, "cluster_id", ab_json_text(id));
    ab_json_set(status, "data", ab_json_text(controller->node.directory));
    ab_json_set(status, "partitions", ab_json_integer(controller->node.identity.partitions_count));
    ab_json_set(status, "daemons", daemons_status(controller));
    catalog_status(controller, status);
    cuts_status(controller, status);
    ab_json_set(status, "jobs", jobs_status(controller));
    if (ab_file_space(controller->node.directory, &free_bytes, &total_bytes) == AB_OK) {
        ab_json_set(status, "disk_free_bytes", ab_json_integer((int64_t)free_bytes));
        ab_json_set(status, "disk_total_bytes", ab_json_integer((int64_t)total_bytes));
    }
    ab_json_set(status, "coordination", ab_coordination_operations_json());
    ab_nodes_status(controller, status);
    const struct ab_speed_question question = {.verb = AB_VERB_STATUS, .timeout_ms = SPEED_STATUS_TIMEOUT_MS};
    if (ab_speed_call(controller, &controller->quick_links, &question, &speed, &speed_error) == AB_OK) {
        ab_json_set(status, "speed", speed);
    } else {
        ab_json_set(status, "speed_error", ab_json_text(speed_error.text));
    }
    *reply = status;
    return AB_OK;
}
