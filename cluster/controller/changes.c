#include "cluster/controller/changes.h"

#include "cluster/controller/acting.h"

void ab_changes_fini(struct ab_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        ab_delete((void *)changes->ops[i].path);
        ab_delete((void *)changes->ops[i].value.data);
    }
    ab_delete(changes->ops);
    *changes = (struct ab_changes){0};
}

void ab_changes_add(struct ab_changes *changes, enum ab_coordination_op_kind kind, const char *path,
    struct ab_bytes value, uint64_t expected_version)
{
    changes->ops = ab_renew_bytes(changes->ops, (changes->count + 1) * sizeof changes->ops[0]);
    uint8_t *copy = ab_new_bytes(value.bytes + 1);
    if (value.bytes > 0) {
        memcpy(copy, value.data, value.bytes);
    }
    changes->ops[changes->count++] = (struct ab_coordination_op){
        .kind = kind, .path = ab_new_text(path), .value = ab_bytes_of(copy, value.bytes), .version = expected_version};
}

void ab_changes_add_json(struct ab_changes *changes, enum ab_coordination_op_kind kind, const char *path,
    const struct ab_json *value, uint64_t expected_version)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, 0);
    ab_json_write(value, 0, &text);
    ab_changes_add(changes, kind, path, ab_buffer_view(&text), expected_version);
    ab_buffer_fini(&text);
}

void ab_changes_fence(struct ab_changes *changes, uint64_t epoch_version)
{
    const struct ab_coordination_op fence = ab_acting_fence(epoch_version);
    ab_changes_add(changes, fence.kind, fence.path, fence.value, fence.version);
    struct ab_coordination_op added = changes->ops[changes->count - 1];
    memmove(changes->ops + 1, changes->ops, (changes->count - 1) * sizeof changes->ops[0]);
    changes->ops[0] = added;
    changes->is_fenced = true;
}

ab_err ab_changes_commit(struct ab_changes *changes, struct ab_coordination *coordination, struct ab_error *error)
{
    size_t failed = SIZE_MAX;
    struct ab_error attempt = {0};
    ab_err err = changes->count == 0
                     ? AB_OK
                     : ab_coordination_multi(coordination, changes->ops, changes->count, &failed, &attempt);
    bool is_refused = changes->is_fenced && failed == 0 && (err == AB_CONFLICT || err == AB_NOT_FOUND);
    if (is_refused) {
        err = ab_error_set(error, AB_STALE, "another controller acts by now: nothing was changed");
    } else if (err != AB_OK && error != NULL) {
        *error = attempt;
    }
    if (!is_refused && err != AB_OK && failed < changes->count) {
        err = ab_error_wrap(error, err, "change %s", changes->ops[failed].path);
    }
    ab_changes_fini(changes);
    return err;
}

ab_err ab_coordination_get_json(struct ab_coordination *coordination, const char *path, struct ab_json **value,
    uint64_t *version, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, AB_COORDINATION_VALUE_BYTES_MAX);
    struct ab_coordination_stat stat = {0};
    ab_err err = ab_coordination_get(coordination, path, &text, &stat, error);
    if (err == AB_OK && ab_json_parse(ab_buffer_view(&text), value, error) != AB_OK) {
        err = ab_error_wrap(error, AB_CORRUPT, "coordination node %s", path);
    }
    if (err == AB_OK && version != NULL) {
        *version = stat.version;
    }
    ab_buffer_fini(&text);
    return err;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? ab_new_text("/") : ab_new_text_of(ab_bytes_of(path, (size_t)(slash - path)));
}

ab_err ab_coordination_store(
    struct ab_coordination *coordination, const char *path, struct ab_bytes value, struct ab_error *error)
{
    struct ab_error ignored = {0};
    ab_err err = ab_coordination_set(coordination, path, value, AB_COORDINATION_ANY_VERSION, &ignored);
    if (err == AB_NOT_FOUND) {
        char *parent = parent_of(path);
        err = ab_coordination_ensure(coordination, parent, error);
        ab_delete(parent);
        return err == AB_OK ? ab_coordination_create(coordination, path, value, false, error) : err;
    }
    if (err != AB_OK && error != NULL) {
        *error = ignored;
    }
    return err;
}

ab_err ab_coordination_list(
    struct ab_coordination *coordination, const char *path, char ***names, size_t *count, struct ab_error *error)
{
    struct ab_error ignored = {0};
    ab_err err = ab_coordination_children(coordination, path, names, count, &ignored);
    if (err == AB_NOT_FOUND) {
        *names = NULL;
        *count = 0;
        return AB_OK;
    }
    if (err != AB_OK && error != NULL) {
        *error = ignored;
    }
    return err;
}
