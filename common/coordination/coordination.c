#include "common/coordination/coordination.h"

#include "common/coordination/coordination_table.h"
#include "common/coordination/operations.h"

#include "common/base/time.h"

#define SESSION_TIMEOUT_US (6 * AB_US_PER_SECOND)
#define CALL_TIMEOUT_US (10 * AB_US_PER_SECOND)

/* Every implementation there is. */
static const struct ab_coordination_table *const tables[] = {&ab_coordination_local, &ab_coordination_zookeeper};

ab_err ab_coordination_open_with(const char *address, const struct ab_coordination_options *options,
    struct ab_coordination **session, struct ab_error *error)
{
    struct ab_coordination_options given = options == NULL ? (struct ab_coordination_options){0} : *options;
    given.session_timeout_us = given.session_timeout_us <= 0 ? SESSION_TIMEOUT_US : given.session_timeout_us;
    given.call_timeout_us = given.call_timeout_us <= 0 ? CALL_TIMEOUT_US : given.call_timeout_us;
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        size_t length = strlen(tables[i]->kind);
        if (strncmp(address, tables[i]->kind, length) == 0 && address[length] == ':') {
            return tables[i]->open(address + length + 1, &given, session, error);
        }
    }
    return ab_error_set(error, AB_USAGE,
        "coordination: %s: the address must be local:<directory> or zookeeper:<host>:<port>[,...]/<chroot>", address);
}

ab_err ab_coordination_open(const char *address, struct ab_coordination **session, struct ab_error *error)
{
    return ab_coordination_open_with(address, NULL, session, error);
}

void ab_coordination_close(struct ab_coordination *session)
{
    if (session != NULL) {
        session->table->close(session);
    }
}

/* ---- checks that are the same for every implementation ---- */

/* One character of well-formed UTF-8 that ZooKeeper takes in a path: its servers count in UTF-16, and refuse
 * surrogates. */
static bool character_is_valid(const unsigned char *text, size_t bytes)
{
    switch (bytes) {
    case 1:
        return text[0] >= 0x20 && text[0] != 0x7f;
    case 2:
        return text[0] != 0xc2 || text[1] >= 0xa0; /* U+0080..9F */
    case 3: {
        unsigned character = (text[0] & 0xfu) << 12 | (text[1] & 0x3fu) << 6 | (text[2] & 0x3fu);
        return character < 0xe000 || (character > 0xf8ff && character < 0xfff0);
    }
    default:
        return false;
    }
}

/* One part between slashes. */
static bool part_is_valid(const char *part, size_t bytes)
{
    bool is_dots = (bytes == 1 && part[0] == '.') || (bytes == 2 && part[0] == '.' && part[1] == '.');
    for (size_t at = 0; at < bytes;) {
        size_t length = ab_bytes_utf8_next(ab_bytes_of(part + at, bytes - at));
        if (!character_is_valid((const unsigned char *)part + at, length)) {
            return false;
        }
        at += length;
    }
    return bytes > 0 && !is_dots;
}

bool ab_coordination_path_is_valid(const char *path)
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
    return ab_coordination_path_is_valid(path)
               ? AB_OK
               : ab_error_set(error, AB_USAGE, "coordination: \"%s\" is not a path", path);
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
    ab_coordination_operation_count(AB_COORDINATION_CHANGES);
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
    ab_coordination_operation_count(AB_COORDINATION_GETS);
    return session->table->get(session, path, value, stat, error);
}

ab_err ab_coordination_children(
    struct ab_coordination *session, const char *path, char ***names, size_t *count, struct ab_error *error)
{
    AB_TRY(path_check(path, error));
    ab_coordination_operation_count(AB_COORDINATION_LISTS);
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

void ab_coordination_session_state(struct ab_coordination *session, struct ab_coordination_session_state *state)
{
    session->table->session_state(session, state);
}
