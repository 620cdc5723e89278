#include "common/coordination/coordination.h"

#include "common/coordination/coordination_table.h"

/* Every implementation there is. */
static const struct ab_coordination_table *const tables[] = {&ab_coordination_local};

ab_err ab_coordination_open(const char *address, struct ab_coordination **session, struct ab_error *error)
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        size_t length = strlen(tables[i]->kind);
        if (strncmp(address, tables[i]->kind, length) == 0 && address[length] == ':') {
            return tables[i]->open(address + length + 1, session, error);
        }
    }
    return ab_error_set(error, AB_USAGE, "coordination: %s: the address must be local:<directory>", address);
}

void ab_coordination_close(struct ab_coordination *session)
{
    if (session != NULL) {
        session->table->close(session);
    }
}

/* ---- checks that are the same for every implementation ---- */

/* One part between slashes. */
static bool part_is_valid(const char *part, size_t bytes)
{
    bool is_dots = (bytes == 1 && part[0] == '.') || (bytes == 2 && part[0] == '.' && part[1] == '.');
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)part[i] < 0x20 || part[i] == 0x7f) {
            return false;
        }
    }
    return bytes > 0 && !is_dots && ab_bytes_is_utf8(ab_bytes_of(part, bytes));
}

static bool path_is_valid(const char *path)
{
    size_t length = strnlen(path, AB_COORDINATION_PATH_BYTES_MAX + 1);
    if (path[0] != '/' || length > AB_COORDINATION_PATH_BYTES_MAX) {
        return false;
    }
    if (length == 1) {
        return true;
    }
    for (size_t start = 1; start <= length;) {
        size_t bytes = strcspn(path + start, "/");
        if (!part_is_valid(path + start, bytes)) {
            return false;
        }
        start += bytes + 1;
    }
    return true;
}

static ab_err path_check(const char *path, struct ab_error *error)
{
    return path_is_valid(path) ? AB_OK : ab_error_set(error, AB_USAGE, "coordination: \"%s\" is not a path", path);
}

static ab_err op_check(const struct ab_coordination_op *op, struct ab_error *error)
{
    AB_TRY(path_check(op->path, error));
    if (op->kind != AB_COORDINATION_CHECK && strcmp(op->path, "/") == 0) {
        return ab_error_set(error, AB_USAGE, "coordination: the root does not change");
    }
    bool has_value = op->kind == AB_COORDINATION_CREATE || op->kind == AB_COORDINATION_SET;
    if (has_value && op->value.bytes > AB_COORDINATION_VALUE_BYTES_MAX) {
        return ab_error_set(error, AB_TOO_LARGE, "coordination: a value of %zu bytes", op->value.bytes);
    }
    return AB_OK;
}

/* ---- changes ---- */

ab_err ab_coordination_multi(struct ab_coordination *session, const struct ab_coordination_op *ops, size_t ops_count,
    size_t *failed, struct ab_error *error)
{
    size_t ignored = 0;
    failed = failed == NULL ? &ignored : failed;
    if (ops_count > AB_COORDINATION_OPS_MAX) {
        *failed = AB_COORDINATION_OPS_MAX;
        return ab_error_set(error, AB_TOO_LARGE, "coordination: %zu steps at once", ops_count);
    }
    for (size_t i = 0; i < ops_count; i++) {
        ab_err err = op_check(&ops[i], error);
        if (err != AB_OK) {
            *failed = i;
            return err;
        }
    }
    return session->table->multi(session, ops, ops_count, failed, error);
}

ab_err ab_coordination_create(
    struct ab_coordination *session, const char *path, struct ab_bytes value, bool is_ephemeral, struct ab_error *error)
{
    struct ab_coordination_op op = {
        .kind = AB_COORDINATION_CREATE, .path = path, .value = value, .is_ephemeral = is_ephemeral};
    return ab_coordination_multi(session, &op, 1, NULL, error);
}

ab_err ab_coordination_ensure(struct ab_coordination *session, const char *path, struct ab_error *error)
{
    AB_TRY(path_check(path, error));
    size_t length = strlen(path);
    for (size_t end = 1; end < length; end++) {
        end += strcspn(path + end, "/");
        char *part = ab_new_text_of(ab_bytes_of(path, end));
        struct ab_error ignored = {0};
        ab_err err = ab_coordination_create(session, part, (struct ab_bytes){0}, false, &ignored);
        ab_delete(part);
        if (err != AB_OK && err != AB_EXISTS) {
            return ab_error_set(error, err, "%s", ignored.text);
        }
    }
    return AB_OK;
}

ab_err ab_coordination_set(
    struct ab_coordination *session, const char *path, struct ab_bytes value, uint64_t version, struct ab_error *error)
{
    struct ab_coordination_op op = {.kind = AB_COORDINATION_SET, .path = path, .value = value, .version = version};
    return ab_coordination_multi(session, &op, 1, NULL, error);
}

ab_err ab_coordination_delete(
    struct ab_coordination *session, const char *path, uint64_t version, struct ab_error *error)
{
    struct ab_coordination_op op = {.kind = AB_COORDINATION_DELETE, .path = path, .version = version};
    return ab_coordination_multi(session, &op, 1, NULL, error);
}

/* ---- reading ---- */

ab_err ab_coordination_get(struct ab_coordination *session, const char *path, struct ab_buffer *value,
    struct ab_coordination_stat *stat, struct ab_error *error)
{
    AB_TRY(path_check(path, error));
    return session->table->get(session, path, value, stat, error);
}

ab_err ab_coordination_children(
    struct ab_coordination *session, const char *path, char ***names, size_t *count, struct ab_error *error)
{
    AB_TRY(path_check(path, error));
    return session->table->children(session, path, names, count, error);
}

void ab_coordination_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ab_delete(names[i]);
    }
    ab_delete(names);
}

ab_err ab_coordination_revision(struct ab_coordination *session, uint64_t *revision, struct ab_error *error)
{
    return session->table->revision(session, revision, error);
}

ab_err ab_coordination_wait(
    struct ab_coordination *session, uint64_t since, int64_t until_us, uint64_t *revision, struct ab_error *error)
{
    return session->table->wait(session, since, until_us, revision, error);
}
