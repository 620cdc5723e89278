#include "cluster/layout.h"

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/crypto/key_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#define JSON_FILE_BYTES_MAX (16u << 20)
#define PATH_BYTES_MAX 4096

char *ab_layout_path(const char *directory, const char *format, ...)
{
    char rest[PATH_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(rest, sizeof rest, format, arguments); /* a path that long fails to open */
    va_end(arguments);
    return ab_new_format("%s/%s", directory, rest);
}

ab_err ab_layout_json_read(const char *path, struct ab_json **value, struct ab_error *error)
{
    struct ab_buffer content;
    ab_buffer_init(&content, NULL, JSON_FILE_BYTES_MAX);
    ab_err err = ab_file_read_all(path, &content, error);
    if (err == AB_OK) {
        err = ab_json_parse(ab_buffer_view(&content), value, error);
        if (err != AB_OK) {
            err = ab_error_wrap(error, AB_CORRUPT, "read %s", path);
        }
    }
    ab_buffer_fini(&content);
    return err;
}

ab_err ab_layout_json_write(const char *path, const struct ab_json *value, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, JSON_FILE_BYTES_MAX);
    ab_json_write(value, 1, &text);
    ab_buffer_put_u8(&text, '\n');
    ab_err err = ab_buffer_finish(&text);
    if (err == AB_OK) {
        err = ab_file_replace(path, ab_buffer_view(&text), 0600, error);
    }
    ab_buffer_fini(&text);
    return err;
}

bool ab_layout_is_vacant(const char *directory)
{
    struct stat status;
    if (lstat(directory, &status) != 0) {
        return errno != EACCES; /* what may not be looked at may be a cluster's: whoever opens it says so */
    }
    char **names = NULL;
    size_t count = 0;
    if (ab_file_list(directory, &names, &count, NULL) != AB_OK) {
        return false;
    }
    ab_file_names_free(names, count);
    return count == 0;
}

ab_err ab_layout_create(
    const char *directory, uint32_t partitions_count, struct ab_cluster_identity *identity, struct ab_error *error)
{
    if (!ab_layout_is_vacant(directory)) {
        return ab_error_set(error, AB_EXISTS,
            "%s is neither empty nor the directory of a cluster; nothing was touched, give another --data", directory);
    }
    AB_TRY(ab_crypto_init(error));
    AB_TRY(ab_file_make_directory(directory, 0700, error));
    struct ab_cluster_identity made = {.partitions_count = partitions_count};
    ab_crypto_random(made.cluster_id, sizeof made.cluster_id);
    AB_TRY(ab_cluster_identity_write(directory, &made, error));
    *identity = made;
    return AB_OK;
}

static const enum ab_role key_roles[] = {
    AB_ROLE_NODE, AB_ROLE_BATCH, AB_ROLE_OPERATOR, AB_ROLE_PRODUCER, AB_ROLE_QUERY};
#define KEY_ROLES_COUNT (sizeof key_roles / sizeof key_roles[0])

/* Reads a role's key, making it when it is missing. */
static ab_err key_ensure(const char *directory, enum ab_role role, struct ab_key_file *key, struct ab_error *error)
{
    char *path = ab_layout_path(directory, "keys/%s.key", ab_role_name(role));
    ab_err err = AB_OK;
    if (!ab_file_exists(path)) {
        struct ab_key_file made = {0};
        ab_crypto_keys_generate(&made.keys);
        (void)snprintf(made.role, sizeof made.role, "%s", ab_role_name(role));
        (void)snprintf(made.name, sizeof made.name, "%s", ab_role_name(role));
        err = ab_key_file_write(path, &made, error);
        ab_crypto_wipe(&made, sizeof made);
    }
    err = err == AB_OK ? ab_key_file_read(path, key, error) : err;
    ab_delete(path);
    return err;
}

ab_err ab_layout_keys_complete(const char *directory, struct ab_error *error)
{
    AB_TRY(ab_crypto_init(error));
    struct ab_allow_entry entries[KEY_ROLES_COUNT] = {0};
    for (size_t i = 0; i < KEY_ROLES_COUNT; i++) {
        struct ab_key_file key = {0};
        AB_TRY(key_ensure(directory, key_roles[i], &key, error));
        memcpy(entries[i].public_key, key.keys.public_key, sizeof entries[i].public_key);
        memcpy(entries[i].role, key.role, sizeof entries[i].role);
        memcpy(entries[i].name, key.name, sizeof entries[i].name);
        ab_crypto_wipe(&key, sizeof key);
    }
    char *path = ab_layout_path(directory, "keys/allow");
    ab_err err = ab_file_exists(path) ? AB_OK : ab_allow_list_write(path, entries, KEY_ROLES_COUNT, error);
    ab_delete(path);
    return err;
}

ab_err ab_layout_complete(
    const char *directory, const struct ab_config *config, bool overwrite_config, struct ab_error *error)
{
    static const char *const folders[] = {"config", "run", "logs", "jobs"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *path = ab_layout_path(directory, "%s", folders[i]);
        ab_err err = ab_file_make_directory(path, 0700, error);
        ab_delete(path);
        AB_TRY(err);
    }
    AB_TRY(ab_layout_keys_complete(directory, error));
    char *path = ab_layout_path(directory, "config/node.yaml");
    ab_err err = ab_file_exists(path) && !overwrite_config ? AB_OK : ab_config_write(path, config, error);
    ab_delete(path);
    return err;
}
