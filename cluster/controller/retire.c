#include "cluster/controller/controller.h"

#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/map.h"
#include "common/history/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define RETIRE_TIMEOUT_MS 30000
#define PATH_BYTES 256

/* What is kept, gathered over all views. */
struct retention {
    struct ab_controller *controller;
    struct ab_map *kept;       /* directories that a retained manifest refers to */
    struct ab_changes changes; /* removals of manifests that are no longer retained */
    uint64_t oldest_cut;       /* of the versions that may still be served; UINT64_MAX = none seen */
    uint64_t newest_cut;
    bool has_unpublished; /* some view has no version: no span may go */
    bool may_trim;        /* logs too */
};

/* Orders "definition-cut-attempt" by cut, newest first: definitions of a view that was dropped and made anew count from
 * 1 again. */
static int version_order(const void *left, const void *right)
{
    static const int members[] = {1, 2, 0};
    uint64_t a[3] = {0};
    uint64_t b[3] = {0};
    (void)sscanf(*(char *const *)left, "%" SCNu64 "-%" SCNu64 "-%" SCNu64, &a[0], &a[1], &a[2]);
    (void)sscanf(*(char *const *)right, "%" SCNu64 "-%" SCNu64 "-%" SCNu64, &b[0], &b[1], &b[2]);
    for (int i = 0; i < 3; i++) {
        int member = members[i];
        if (a[member] != b[member]) {
            return a[member] > b[member] ? -1 : 1;
        }
    }
    return 0;
}

static ab_err version_keep(struct retention *retention, const char *path, struct ab_error *error)
{
    struct ab_json *json = NULL;
    struct ab_version_manifest manifest = {0};
    AB_TRY(ab_coordination_get_json(retention->controller->coordination, path, &json, NULL, error));
    ab_err err = ab_version_manifest_decode(json, &manifest, error);
    ab_json_destroy(json);
    for (uint32_t d = 0; err == AB_OK && d < manifest.directories_count; d++) {
        err = ab_map_set(retention->kept, ab_bytes_of_text(manifest.directories[d].path), 1);
    }
    if (err == AB_OK) {
        retention->oldest_cut = manifest.cut < retention->oldest_cut ? manifest.cut : retention->oldest_cut;
        retention->newest_cut = manifest.cut > retention->newest_cut ? manifest.cut : retention->newest_cut;
    }
    ab_version_manifest_fini(&manifest);
    return err;
}

/* Commits the removals gathered, when they are many enough or all. */
static ab_err removals_commit(struct retention *retention, bool is_all, struct ab_error *error)
{
    bool is_due = is_all || retention->changes.count >= AB_COORDINATION_OPS_MAX;
    return is_due ? ab_controller_commit(retention->controller, &retention->changes, error) : AB_OK;
}

/* The name of the version that the pointer of a view names; empty when there is none. */
static ab_err pointer_name(struct retention *retention, const char *view, char name[PATH_BYTES], struct ab_error *error)
{
    char path[PATH_BYTES];
    struct ab_json *json = NULL;
    (void)snprintf(path, sizeof path, "/views/%s", view);
    name[0] = '\0';
    ab_err err = ab_coordination_get_json(retention->controller->coordination, path, &json, NULL, NULL);
    if (err == AB_OK) {
        (void)snprintf(name, PATH_BYTES, "%" PRIu64 "-%" PRIu64 "-%" PRIu64,
            ab_json_u64_or(ab_json_get(json, "definition_version"), 0), ab_json_u64_or(ab_json_get(json, "cut"), 0),
            ab_json_u64_or(ab_json_get(json, "attempt"), 0));
    }
    ab_json_destroy(json);
    return err == AB_NOT_FOUND || err == AB_OK ? AB_OK : ab_error_set(error, err, "%s cannot be read", path);
}

/* Keeps the pointer's version and the newest before it (none of a view that was dropped). Newer ones were never
 * published. */
static ab_err view_retain(struct retention *retention, const char *view, bool is_dropped, struct ab_error *error)
{
    char path[PATH_BYTES];
    char pointer[PATH_BYTES];
    const char *pointer_at = pointer;
    char **names = NULL;
    size_t count = 0;
    uint32_t kept = 0;
    AB_TRY(pointer_name(retention, view, pointer, error));
    (void)snprintf(path, sizeof path, "/versions/%s", view);
    AB_TRY(ab_coordination_list(retention->controller->coordination, path, &names, &count, error));
    if (count > 0) {
        qsort(names, count, sizeof names[0], version_order);
    }
    retention->has_unpublished = retention->has_unpublished || (pointer[0] == '\0' && !is_dropped);
    ab_err err = AB_OK;
    for (size_t i = 0; err == AB_OK && i < count; i++) {
        bool is_published = pointer[0] != '\0' && version_order(&names[i], &pointer_at) >= 0;
        (void)snprintf(path, sizeof path, "/versions/%s/%s", view, names[i]);
        if (is_published && kept < retention->controller->node.config.retained_versions) {
            kept++;
            err = version_keep(retention, path, error);
        } else {
            ab_changes_add(
                &retention->changes, AB_COORDINATION_DELETE, path, (struct ab_bytes){0}, AB_COORDINATION_ANY_VERSION);
            err = removals_commit(retention, false, error);
        }
    }
    ab_coordination_names_free(names, count);
    return err;
}

static ab_err views_retain(struct retention *retention, struct ab_error *error)
{
    struct ab_catalog *catalog = NULL;
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_catalog_current(retention->controller, &catalog, error));
    ab_err err = ab_coordination_list(retention->controller->coordination, "/versions", &names, &count, error);
    for (size_t i = 0; err == AB_OK && i < count; i++) {
        bool is_dropped = ab_catalog_view(catalog, ab_bytes_of_text(names[i])) == NULL;
        err = is_dropped ? view_retain(retention, names[i], true, error) : AB_OK;
    }
    for (uint32_t v = 0; err == AB_OK && v < catalog->views_count; v++) {
        err = view_retain(retention, catalog->views[v].name, false, error);
    }
    ab_coordination_names_free(names, count);
    ab_catalog_release(catalog);
    return err;
}

/* Removes one view's directories that nothing refers to and that no later job can be writing. */
static ab_err directories_remove(struct retention *retention, const char *view_folder, struct ab_error *error)
{
    const char *directory = retention->controller->node.directory;
    char *folder = ab_layout_path(directory, "versions/%s", view_folder);
    char **names = NULL;
    size_t count = 0;
    ab_err err = ab_file_list(folder, &names, &count, error);
    for (size_t i = 0; err == AB_OK && i < count; i++) {
        uint64_t cut = 0;
        char *relative = ab_new_format("versions/%s/%s", view_folder, names[i]);
        bool is_version = sscanf(names[i], "%" SCNu64 "-", &cut) == 1;
        if (is_version && cut <= retention->newest_cut &&
            !ab_map_get(retention->kept, ab_bytes_of_text(relative), NULL)) {
            char *path = ab_layout_path(directory, "%s", relative);
            err = ab_file_remove_tree(path, error);
            ab_info("version directory removed", "%s", relative);
            ab_delete(path);
        }
        ab_delete(relative);
    }
    ab_file_names_free(names, count);
    ab_delete(folder);
    return err;
}

static ab_err garbage_remove(struct retention *retention, struct ab_error *error)
{
    char *folder = ab_layout_path(retention->controller->node.directory, "versions");
    char **names = NULL;
    size_t count = 0;
    ab_err err = ab_file_exists(folder) ? ab_file_list(folder, &names, &count, error) : AB_OK;
    for (size_t i = 0; err == AB_OK && i < count; i++) {
        err = directories_remove(retention, names[i], error);
    }
    ab_file_names_free(names, count);
    ab_delete(folder);
    return err;
}

/* Where each partition's log may begin: a published cut is sealed in history, and speed has flushed what a span holds
 * before it drops it. */
static ab_err log_offsets(
    struct ab_controller *controller, uint64_t cut, struct ab_json *request, struct ab_error *error)
{
    struct ab_json *manifest = NULL;
    AB_TRY(ab_cut_read(controller, cut, &manifest, error));
    const struct ab_json *partitions = ab_json_get(manifest, "partitions");
    struct ab_json *offsets = ab_json_array();
    for (size_t p = 0; p < ab_json_count(partitions); p++) {
        uint64_t offset = ab_json_u64_or(ab_json_get(ab_json_at(partitions, p), "offset"), 0);
        ab_json_append(offsets, ab_json_integer((int64_t)offset));
    }
    ab_json_set(request, "log_offsets", offsets);
    ab_json_destroy(manifest);
    return AB_OK;
}

/* Asks all, and gives the first error: who missed it hears of it with the next publication. */
static ab_err every_node_retire(struct ab_controller *controller, const struct ab_json *request, struct ab_error *error)
{
    struct ab_speed_asked *asked = NULL;
    uint32_t count = 0;
    const struct ab_speed_question question = {
        .verb = AB_VERB_RETIRE, .payload = request, .timeout_ms = RETIRE_TIMEOUT_MS};
    AB_TRY(ab_speed_asked_create(controller, &asked, &count, error));
    ab_speed_ask(controller, &controller->slow_links, asked, count, &question);
    ab_err err = AB_OK;
    for (uint32_t i = 0; i < count && err == AB_OK; i++) {
        err = asked[i].err == AB_OK ? AB_OK : ab_error_set(error, asked[i].err, "%s", asked[i].error.text);
    }
    ab_speed_asked_destroy(asked, count);
    return err;
}

/* Spans that the oldest servable version holds may go from speed, and their records from the logs. */
static ab_err speed_retire(struct retention *retention, struct ab_error *error)
{
    if (retention->has_unpublished || retention->oldest_cut == UINT64_MAX) {
        return AB_OK;
    }
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "cut", ab_json_integer((int64_t)retention->oldest_cut));
    ab_err err =
        retention->may_trim ? log_offsets(retention->controller, retention->oldest_cut, request, error) : AB_OK;
    if (err != AB_OK) {
        ab_json_destroy(request);
        return err;
    }
    err = every_node_retire(retention->controller, request, error);
    ab_json_destroy(request);
    return err;
}

void ab_retire(struct ab_controller *controller, bool may_trim)
{
    struct ab_error error = {0};
    struct retention retention = {
        .controller = controller, .kept = ab_map_create(NULL), .oldest_cut = UINT64_MAX, .may_trim = may_trim};
    ab_err err = views_retain(&retention, &error);
    if (err == AB_OK) {
        err = removals_commit(&retention, true, &error);
    }
    if (err == AB_OK) {
        err = garbage_remove(&retention, &error);
    }
    if (err == AB_OK && retention.oldest_cut != UINT64_MAX) {
        err = ab_cuts_prune(controller, retention.oldest_cut, &error);
    }
    if (err == AB_OK) {
        err = speed_retire(&retention, &error);
    }
    if (err != AB_OK) {
        ab_warn("retirement not finished", "%s; the next publication tries again", error.text);
    }
    ab_changes_fini(&retention.changes);
    ab_map_destroy(retention.kept);
}
