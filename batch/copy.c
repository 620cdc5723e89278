#include "batch/copy.h"

#include "batch/sealed.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/history/layout.h"
#include "common/store/version.h"

#include <inttypes.h>

/* ---- spans ---- */

static void path_add(char **paths, size_t *count, char *path)
{
    paths[(*count)++] = path;
}

static ab_err span_files(
    const char *directory, const struct ab_copy_unit *unit, char ***paths, size_t *count, struct ab_error *error)
{
    struct ab_sealed_span sealed = {0};
    AB_TRY(ab_sealed_span_load(directory, unit->partition, unit->span, &sealed, error));
    char **made = ab_new_array(char *, 2 * sealed.streams_count + 1);
    size_t made_count = 0;
    for (size_t i = 0; i < sealed.streams_count; i++) {
        const struct ab_sealed_stream *stream = &sealed.streams[i];
        if (stream->accepted > 0) {
            path_add(made, &made_count, ab_history_rows_path("", stream->name, unit->partition, unit->span));
        }
        if (stream->rejected > 0) {
            path_add(made, &made_count, ab_history_dead_letters_path("", stream->name, unit->partition, unit->span));
        }
    }
    path_add(made, &made_count, ab_history_marker_path("", unit->partition, unit->span));
    ab_sealed_span_fini(&sealed);
    *paths = made;
    *count = made_count;
    return AB_OK;
}

static uint64_t span_look(const char *directory, const struct ab_copy_unit *unit, bool is_deep)
{
    char *marker = ab_history_marker_path(directory, unit->partition, unit->span);
    struct ab_hash128 hash = {0};
    uint64_t bytes = 0;
    bool is_there = ab_file_exists(marker);
    if (is_there && is_deep) {
        char **paths = NULL;
        size_t count = 0;
        is_there = span_files(directory, unit, &paths, &count, NULL) == AB_OK &&
                   ab_file_hash(marker, &hash, &bytes, NULL) == AB_OK;
        for (size_t i = 0; i < count && is_there; i++) {
            char *path = ab_new_format("%s/%s", directory, paths[i]);
            is_there = ab_file_exists(path);
            ab_delete(path);
        }
        ab_file_names_free(paths, count);
    }
    ab_delete(marker);
    return is_there ? hash.low | 1 : 0;
}

/* ---- shards ---- */

static char *shard_path(const char *directory, const struct ab_copy_unit *unit)
{
    return ab_new_format("%s%s%s/shard-%" PRIu32, directory, directory[0] == 0 ? "" : "/", unit->path, unit->partition);
}

static ab_err shard_files(
    const char *directory, const struct ab_copy_unit *unit, char ***paths, size_t *count, struct ab_error *error)
{
    char *path = shard_path(directory, unit);
    ab_err err = ab_version_files(path, paths, count, error);
    ab_delete(path);
    for (size_t i = 0; err == AB_OK && i < *count; i++) {
        char *name = (*paths)[i];
        char *folder = shard_path("", unit);
        (*paths)[i] = ab_new_format("%s/%s", folder, name);
        ab_delete(folder);
        ab_delete(name);
    }
    return err;
}

static uint64_t shard_look(const char *directory, const struct ab_copy_unit *unit)
{
    struct ab_version_summary summary = {0};
    char *path = shard_path(directory, unit);
    ab_err err = ab_version_summary_read(path, &summary, NULL);
    ab_delete(path);
    return err == AB_OK && summary.rows_count == unit->rows_count && ab_hash128_equal(summary.content, unit->content);
}

/* ---- leftovers ---- */

/* Removes arrivals from the folders `depth` levels below one; other files are not looked at. */
static void folder_sweep(const char *folder, uint32_t depth)
{
    char **names = NULL;
    size_t count = 0;
    struct ab_error error = {0};
    if (ab_file_list(folder, &names, &count, &error) != AB_OK) {
        return; /* not there, or no folder */
    }
    for (size_t i = 0; i < count; i++) {
        char *path = ab_new_format("%s/%s", folder, names[i]);
        if (depth > 0) {
            folder_sweep(path, depth - 1);
        } else if (strstr(names[i], AB_COPY_ARRIVING) != NULL && ab_file_remove_tree(path, &error) != AB_OK) {
            ab_warn("leftover stays", "%s", error.text);
        }
        ab_delete(path);
    }
    ab_file_names_free(names, count);
}

void ab_copy_sweep(const char *directory)
{
    static const char *const folders[] = {"history", "history/_dead_letters", "versions"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *folder = ab_new_format("%s/%s", directory, folders[i]);
        folder_sweep(folder, 2); /* stream and partition, or view and version */
        ab_delete(folder);
    }
}

/* ---- both ---- */

uint64_t ab_copy_look(const char *directory, const struct ab_copy_unit *unit, bool is_deep)
{
    return unit->kind == AB_COPY_SPAN ? span_look(directory, unit, is_deep) : shard_look(directory, unit);
}

ab_err ab_copy_files(
    const char *directory, const struct ab_copy_unit *unit, char ***paths, size_t *count, struct ab_error *error)
{
    return unit->kind == AB_COPY_SPAN ? span_files(directory, unit, paths, count, error)
                                      : shard_files(directory, unit, paths, count, error);
}
