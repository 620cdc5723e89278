#include "common/history/manifest.h"

#include "common/base/memory.h"

#include <inttypes.h>

static void set_hash(struct ab_json *object, const char *key, struct ab_hash128 hash)
{
    char text[33];
    ab_hash128_format(hash, text);
    ab_json_set(object, key, ab_json_text(text));
}

static struct ab_json *directory_encode(const struct ab_version_directory *directory, uint32_t shards_count)
{
    struct ab_json *object = ab_json_object();
    ab_json_set(object, "path", ab_json_text(directory->path));
    ab_json_set_u64(object, "span_from", directory->span_from);
    ab_json_set_u64(object, "span_to", directory->span_to);
    struct ab_json *shards = ab_json_array();
    for (uint32_t s = 0; s < shards_count; s++) {
        struct ab_json *shard = ab_json_object();
        ab_json_set_u64(shard, "rows", directory->shards[s].rows_count);
        ab_json_set_u64(shard, "bytes", directory->shards[s].bytes);
        set_hash(shard, "content", directory->shards[s].content);
        ab_json_append(shards, shard);
    }
    ab_json_set(object, "shards", shards);
    return object;
}

struct ab_json *ab_version_manifest_encode(const struct ab_version_manifest *manifest)
{
    struct ab_json *object = ab_json_object();
    ab_json_set(object, "format", ab_json_integer(AB_MANIFEST_FORMAT));
    ab_json_set(object, "view", ab_json_text(manifest->view));
    ab_json_set(object, "definition_version", ab_json_integer(manifest->definition_version));
    ab_json_set(object, "uid", ab_json_integer(manifest->uid));
    ab_json_set_u64(object, "cut", manifest->cut);
    ab_json_set(object, "attempt", ab_json_integer(manifest->attempt));
    ab_json_set(object, "time_us", ab_json_integer(manifest->time_us));
    ab_json_set(object, "horizon_us", ab_json_integer(manifest->horizon_us));
    ab_json_set(object, "shards", ab_json_integer(manifest->shards_count));
    ab_json_set(object, "chunk_us", ab_json_integer(manifest->chunk_us));
    ab_json_set(object, "aligned", ab_json_boolean(manifest->is_aligned));
    struct ab_json *directories = ab_json_array();
    for (uint32_t d = 0; d < manifest->directories_count; d++) {
        ab_json_append(directories, directory_encode(&manifest->directories[d], manifest->shards_count));
    }
    ab_json_set(object, "directories", directories);
    return object;
}

void ab_version_manifest_fini(struct ab_version_manifest *manifest)
{
    for (uint32_t d = 0; d < manifest->directories_count; d++) {
        ab_delete(manifest->directories[d].path);
        ab_delete(manifest->directories[d].shards);
    }
    ab_delete(manifest->directories);
    ab_delete(manifest->view);
    *manifest = (struct ab_version_manifest){0};
}

static ab_err member_bad(struct ab_error *error, const char *member)
{
    return ab_error_set(error, AB_INVALID, "version manifest: member \"%s\" is missing or malformed", member);
}

/* A relative path below versions/ without a step upwards. */
static bool path_is_safe(const char *path)
{
    return strncmp(path, "versions/", 9) == 0 && strstr(path, "..") == NULL && path[strlen(path) - 1] != '/';
}

static ab_err shards_decode(
    const struct ab_json *list, uint32_t shards_count, struct ab_version_directory *directory, struct ab_error *error)
{
    if (ab_json_count(list) != shards_count) {
        return member_bad(error, "shards");
    }
    directory->shards = ab_new_array(struct ab_version_shard, shards_count);
    for (uint32_t s = 0; s < shards_count; s++) {
        const struct ab_json *shard = ab_json_at(list, s);
        directory->shards[s].rows_count = ab_json_u64_or(ab_json_get(shard, "rows"), UINT64_MAX);
        directory->shards[s].bytes = ab_json_u64_or(ab_json_get(shard, "bytes"), UINT64_MAX);
        struct ab_bytes content = ab_json_bytes(ab_json_get(shard, "content"));
        if (directory->shards[s].rows_count == UINT64_MAX || directory->shards[s].bytes == UINT64_MAX ||
            ab_hash128_parse(content, &directory->shards[s].content) != AB_OK) {
            return member_bad(error, "shards");
        }
    }
    return AB_OK;
}

static ab_err directories_decode(
    const struct ab_json *list, struct ab_version_manifest *manifest, struct ab_error *error)
{
    size_t count = ab_json_count(list);
    if (count == 0 || count > AB_MANIFEST_DIRECTORIES_MAX) {
        return member_bad(error, "directories");
    }
    manifest->directories = ab_new_array(struct ab_version_directory, count);
    uint64_t next_span = 0;
    for (size_t d = 0; d < count; d++) {
        const struct ab_json *entry = ab_json_at(list, d);
        struct ab_version_directory *directory = &manifest->directories[d];
        manifest->directories_count++;
        directory->path = ab_new_text(ab_json_text_or(ab_json_get(entry, "path"), ""));
        directory->span_from = ab_json_u64_or(ab_json_get(entry, "span_from"), 0);
        directory->span_to = ab_json_u64_or(ab_json_get(entry, "span_to"), 0);
        if (!path_is_safe(directory->path)) {
            return member_bad(error, "path");
        }
        if (directory->span_from == 0 || (d > 0 && directory->span_from != next_span)) {
            return member_bad(error, "span_from");
        }
        if (directory->span_to < directory->span_from || directory->span_to > manifest->cut) {
            return member_bad(error, "span_to");
        }
        next_span = directory->span_to + 1;
        AB_TRY(shards_decode(ab_json_get(entry, "shards"), manifest->shards_count, directory, error));
    }
    return next_span == manifest->cut + 1 ? AB_OK : member_bad(error, "span_to");
}

/* Reads a whole number between two bounds. */
static ab_err member_integer(const struct ab_json *json, const char *member, int64_t least, int64_t most,
    int64_t *number, struct ab_error *error)
{
    const struct ab_json *value = ab_json_get(json, member);
    int64_t read = ab_json_integer_or(value, 0);
    if (!ab_json_is_integer(value) || read < least || read > most) {
        return member_bad(error, member);
    }
    *number = read;
    return AB_OK;
}

static ab_err format_check(const struct ab_json *json, struct ab_error *error)
{
    int64_t format = 0;
    AB_TRY(member_integer(json, "format", 1, INT64_MAX, &format, error));
    if (format > AB_MANIFEST_FORMAT) {
        return ab_error_set(error, AB_UNSUPPORTED, "version manifest has format %" PRId64 ", this program reads %d",
            format, AB_MANIFEST_FORMAT);
    }
    return AB_OK;
}

static ab_err manifest_read(const struct ab_json *json, struct ab_version_manifest *manifest, struct ab_error *error)
{
    int64_t definition = 0;
    int64_t uid = 0;
    int64_t attempt = 0;
    int64_t shards = 0;
    AB_TRY(format_check(json, error));
    AB_TRY(member_integer(json, "definition_version", 1, UINT32_MAX, &definition, error));
    AB_TRY(member_integer(json, "uid", 1, UINT32_MAX, &uid, error));
    AB_TRY(member_integer(json, "attempt", 0, UINT32_MAX, &attempt, error));
    AB_TRY(member_integer(json, "time_us", INT64_MIN, INT64_MAX, &manifest->time_us, error));
    AB_TRY(member_integer(json, "horizon_us", INT64_MIN, INT64_MAX, &manifest->horizon_us, error));
    AB_TRY(member_integer(json, "shards", 1, AB_MANIFEST_SHARDS_MAX, &shards, error));
    AB_TRY(member_integer(json, "chunk_us", 0, INT64_MAX, &manifest->chunk_us, error));
    manifest->definition_version = (uint32_t)definition;
    manifest->uid = (uint32_t)uid;
    manifest->attempt = (uint32_t)attempt;
    manifest->shards_count = (uint32_t)shards;
    manifest->view = ab_new_text(ab_json_text_or(ab_json_get(json, "view"), ""));
    manifest->cut = ab_json_u64_or(ab_json_get(json, "cut"), 0);
    if (manifest->view[0] == '\0') {
        return member_bad(error, "view");
    }
    if (manifest->cut == 0 || manifest->cut >= UINT64_MAX) { /* spans count from 1, and one follows the cut */
        return member_bad(error, "cut");
    }
    if (!ab_json_is_boolean(ab_json_get(json, "aligned"))) {
        return member_bad(error, "aligned");
    }
    manifest->is_aligned = ab_json_boolean_or(ab_json_get(json, "aligned"), false);
    return directories_decode(ab_json_get(json, "directories"), manifest, error);
}

ab_err ab_version_manifest_decode(
    const struct ab_json *json, struct ab_version_manifest *manifest, struct ab_error *error)
{
    struct ab_version_manifest read = {0};
    ab_err err = manifest_read(json, &read, error);
    if (err != AB_OK) {
        ab_version_manifest_fini(&read);
        return err;
    }
    *manifest = read;
    return AB_OK;
}

char *ab_version_shard_path(const char *root, const struct ab_version_directory *directory, uint32_t shard)
{
    return ab_new_format("%s/%s/shard-%" PRIu32, root, directory->path, shard);
}
