#include "common/store/directory_manifest.h"

#include "common/base/file.h"
#include "common/base/json.h"

#include <fcntl.h>

enum { MANIFEST_FORMAT = 1, MANIFEST_BYTES_MAX = 16 << 20 };

static const char manifest_name[] = "manifest.json";

void ab_directory_manifest_fini(struct ab_directory_manifest *manifest)
{
    for (size_t i = 0; i < manifest->files_count; i++) {
        ab_delete(manifest->files[i].name);
    }
    ab_delete(manifest->files);
    *manifest = (struct ab_directory_manifest){0};
}

void ab_version_digest_add(
    struct ab_hash128 *content, struct ab_buffer *scratch, struct ab_bytes key, struct ab_bytes value)
{
    ab_buffer_clear(scratch);
    ab_buffer_put_u32(scratch, (uint32_t)key.bytes);
    ab_buffer_put_bytes(scratch, key);
    ab_buffer_put_bytes(scratch, value);
    *content = ab_hash128_add(*content, ab_hash128(AB_HASH_CONTENT, ab_buffer_view(scratch)));
}

/* ---- writing ---- */

ab_err ab_directory_manifest_collect(
    const char *directory, struct ab_directory_manifest *manifest, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_file_list(directory, &names, &count, error));
    manifest->files = ab_new_array(struct ab_version_file, count + 1);
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        if (strcmp(names[i], manifest_name) == 0) {
            continue;
        }
        struct ab_version_file *file = &manifest->files[manifest->files_count++];
        char *path = ab_new_format("%s/%s", directory, names[i]);
        file->name = ab_new_text(names[i]);
        err = ab_file_hash(path, &file->hash, &file->bytes, error);
        manifest->summary.bytes += file->bytes;
        ab_delete(path);
    }
    ab_file_names_free(names, count);
    return err;
}

static void hash_set(struct ab_json *object, const char *key, struct ab_hash128 hash)
{
    char text[33];
    ab_hash128_format(hash, text);
    ab_json_set(object, key, ab_json_text(text));
}

static struct ab_json *manifest_json(const struct ab_directory_manifest *manifest)
{
    struct ab_json *files = ab_json_array();
    for (size_t i = 0; i < manifest->files_count; i++) {
        struct ab_json *file = ab_json_object();
        ab_json_set(file, "name", ab_json_text(manifest->files[i].name));
        ab_json_set_u64(file, "bytes", manifest->files[i].bytes);
        hash_set(file, "hash", manifest->files[i].hash);
        ab_json_append(files, file);
    }
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "format", ab_json_integer(MANIFEST_FORMAT));
    ab_json_set_u64(json, "rows", manifest->summary.rows_count);
    ab_json_set_u64(json, "bytes", manifest->summary.bytes);
    hash_set(json, "content", manifest->summary.content);
    ab_json_set(json, "files", files);
    return json;
}

ab_err ab_directory_manifest_write(
    const char *directory, const struct ab_directory_manifest *manifest, struct ab_error *error)
{
    struct ab_json *json = manifest_json(manifest);
    struct ab_buffer text = {0};
    ab_json_write(json, 2, &text);
    ab_buffer_put_u8(&text, '\n');
    char *path = ab_new_format("%s/%s", directory, manifest_name);
    ab_err err = ab_file_replace(path, ab_buffer_view(&text), 0600, error);
    ab_delete(path);
    ab_buffer_fini(&text);
    ab_json_destroy(json);
    return err;
}

/* ---- reading ---- */

static ab_err hash_take(const struct ab_json *object, const char *key, struct ab_hash128 *hash)
{
    return ab_hash128_parse(ab_json_bytes(ab_json_get(object, key)), hash) == AB_OK ? AB_OK : AB_CORRUPT;
}

/* Takes an unsigned number; AB_CORRUPT when it is absent or no number. */
static ab_err number_take(const struct ab_json *object, const char *key, uint64_t *number)
{
    const struct ab_json *value = ab_json_get(object, key);
    *number = ab_json_u64_or(value, UINT64_MAX);
    return *number == UINT64_MAX ? AB_CORRUPT : AB_OK;
}

static bool name_is_plain(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

static ab_err file_take(const struct ab_json *json, struct ab_version_file *file)
{
    const char *name = ab_json_text_or(ab_json_get(json, "name"), "");
    if (!name_is_plain(name)) {
        return AB_CORRUPT;
    }
    AB_TRY(number_take(json, "bytes", &file->bytes));
    AB_TRY(hash_take(json, "hash", &file->hash));
    file->name = ab_new_text(name);
    return AB_OK;
}

static ab_err manifest_take(const struct ab_json *json, struct ab_directory_manifest *manifest)
{
    if (ab_json_integer_or(ab_json_get(json, "format"), 0) != MANIFEST_FORMAT) {
        return ab_json_is_integer(ab_json_get(json, "format")) ? AB_UNSUPPORTED : AB_CORRUPT;
    }
    AB_TRY(number_take(json, "rows", &manifest->summary.rows_count));
    AB_TRY(number_take(json, "bytes", &manifest->summary.bytes));
    AB_TRY(hash_take(json, "content", &manifest->summary.content));
    const struct ab_json *files = ab_json_get(json, "files");
    size_t count = ab_json_count(files);
    manifest->files = ab_new_array(struct ab_version_file, count + 1);
    for (size_t i = 0; i < count; i++) {
        AB_TRY(file_take(ab_json_at(files, i), &manifest->files[i]));
        manifest->files_count++;
    }
    return AB_OK;
}

ab_err ab_directory_manifest_read(const char *directory, struct ab_directory_manifest *manifest, struct ab_error *error)
{
    char *path = ab_new_format("%s/%s", directory, manifest_name);
    struct ab_buffer text;
    struct ab_json *json = NULL;
    struct ab_directory_manifest read = {0};
    ab_buffer_init(&text, NULL, MANIFEST_BYTES_MAX);
    ab_err err = ab_file_read_all(path, &text, error);
    if (err == AB_OK) {
        err = ab_json_parse(ab_buffer_view(&text), &json, error) == AB_OK ? AB_OK : AB_CORRUPT;
        if (err == AB_OK) {
            err = manifest_take(json, &read);
        }
        if (err != AB_OK) {
            ab_directory_manifest_fini(&read);
            (void)ab_error_set(error, err, "%s: not a manifest of format %d", path, MANIFEST_FORMAT);
        }
    }
    ab_json_destroy(json);
    ab_buffer_fini(&text);
    ab_delete(path);
    if (err == AB_OK) {
        *manifest = read;
    }
    return err;
}

static ab_err file_size(const char *path, uint64_t *bytes, struct ab_error *error)
{
    int fd = -1;
    AB_TRY(ab_file_open(path, O_RDONLY, 0, &fd, error));
    ab_err err = ab_file_bytes(fd, bytes);
    ab_file_close(&fd);
    return err;
}

static ab_err file_check(const char *path, const struct ab_version_file *file, bool verify, struct ab_error *error)
{
    uint64_t bytes = 0;
    struct ab_hash128 hash = file->hash;
    ab_err err = verify ? ab_file_hash(path, &hash, &bytes, error) : file_size(path, &bytes, error);
    if (err == AB_NOT_FOUND) {
        return ab_error_set(error, AB_CORRUPT, "%s is missing", path);
    }
    AB_TRY(err);
    if (bytes != file->bytes || !ab_hash128_equal(hash, file->hash)) {
        return ab_error_set(error, AB_CORRUPT, "%s is not what its manifest says", path);
    }
    return AB_OK;
}

ab_err ab_directory_manifest_check(
    const char *directory, const struct ab_directory_manifest *manifest, bool verify, struct ab_error *error)
{
    ab_err err = AB_OK;
    for (size_t i = 0; i < manifest->files_count && err == AB_OK; i++) {
        char *path = ab_new_format("%s/%s", directory, manifest->files[i].name);
        err = file_check(path, &manifest->files[i], verify, error);
        ab_delete(path);
    }
    return err;
}
