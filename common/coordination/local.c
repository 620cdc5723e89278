/* The tree of one machine: DIR/journal under a lock on DIR/lock, and a locked file per session in DIR/sessions. */
#include "common/coordination/coordination_table.h"
#include "common/coordination/journal.h"

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* How often a waiting session looks at the journal, and any session at those that may have died. */
#define LOCAL_POLL_US (5 * AB_US_PER_MS)
#define LOCAL_REAP_US (100 * AB_US_PER_MS)

struct local {
    struct ab_coordination session; /* first */
    char *directory;                /* owned */
    char *session_path;             /* owned; the file whose lock says that this session lives */
    uint64_t id;                    /* of this session; owner of its ephemeral nodes */
    int session_fd;
    int lock_fd;
    struct ab_lock lock;       /* guards all below; held by one call at a time */
    struct ab_journal journal; /* guarded by lock */
    int64_t reaped_us;         /* guarded by lock; when dead sessions were looked for */
    atomic_bool is_broken;     /* atomic, set under lock: a write or sync failed, nothing can be trusted any more */
};

static char *session_path_of(const struct local *local, uint64_t id)
{
    return ab_new_format("%s/sessions/%016" PRIx64, local->directory, id);
}

/* ---- the lock of the directory ---- */

static ab_err directory_lock(struct local *local, int mode, struct ab_error *error)
{
    int result;
    do {
        result = flock(local->lock_fd, mode);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? AB_OK
                       : ab_error_set(error, AB_IO, "coordination: lock %s: %s", local->directory, strerror(errno));
}

static void directory_unlock(struct local *local)
{
    (void)flock(local->lock_fd, LOCK_UN); /* cannot fail on an open file */
}

/* ---- sessions ---- */

/* True when the session's process is gone: nobody holds its file's lock. */
static bool session_is_dead(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT;
    }
    bool is_dead = flock(fd, LOCK_EX | LOCK_NB) == 0;
    (void)close(fd);
    return is_dead;
}

/* Adds to `payload` the deletion of every ephemeral node of `owner`, and does it in the tree. Returns how many. */
static size_t ephemerals_delete(struct ab_tree *tree, uint64_t owner, struct ab_buffer *payload)
{
    size_t deleted = 0;
    for (size_t i = tree->count; i-- > 0;) {
        if (tree->nodes[i].owner != owner) {
            continue;
        }
        char *path = ab_new_text(tree->nodes[i].path);
        struct ab_tree_effect effect = {.kind = AB_COORDINATION_DELETE, .path = ab_bytes_of_text(path)};
        if (ab_tree_apply(tree, &effect, tree->revision + 1) == AB_OK) {
            ab_journal_payload_add(payload, &effect);
            deleted++;
        }
        ab_delete(path);
    }
    return deleted;
}

/* Removes the ephemeral nodes of a session that ended, as one transaction. */
static ab_err session_expire(struct local *local, uint64_t owner, struct ab_error *error)
{
    struct ab_buffer effects = {0};
    struct ab_buffer payload = {0};
    size_t deleted = ephemerals_delete(&local->journal.tree, owner, &effects);
    ab_err err = AB_OK;
    if (deleted > 0) {
        ab_journal_payload_begin(&payload, deleted);
        ab_buffer_put_bytes(&payload, ab_buffer_view(&effects));
        err = ab_journal_append(&local->journal, ab_buffer_view(&payload), error);
    }
    ab_buffer_fini(&effects);
    ab_buffer_fini(&payload);
    return err;
}

/* An owner of an ephemeral node that is not this session and not alive; 0 when there is none. */
static uint64_t dead_owner_find(const struct local *local)
{
    const struct ab_tree *tree = &local->journal.tree;
    uint64_t checked = local->id;
    for (size_t i = 0; i < tree->count; i++) {
        uint64_t owner = tree->nodes[i].owner;
        if (owner == 0 || owner == local->id || owner == checked) {
            continue;
        }
        char *path = session_path_of(local, owner);
        bool is_dead = session_is_dead(path);
        ab_delete(path);
        if (is_dead) {
            return owner;
        }
        checked = owner;
    }
    return 0;
}

/* Removes the files of dead sessions that own nothing any more. */
static void session_files_sweep(const struct local *local)
{
    char *directory = ab_new_format("%s/sessions", local->directory);
    char **names = NULL;
    size_t count = 0;
    if (ab_file_list(directory, &names, &count, NULL) == AB_OK) {
        for (size_t i = 0; i < count; i++) {
            char *path = ab_new_format("%s/%s", directory, names[i]);
            if (strcmp(path, local->session_path) != 0 && session_is_dead(path)) {
                (void)unlink(path); /* it only takes space */
            }
            ab_delete(path);
        }
        ab_file_names_free(names, count);
    }
    ab_delete(directory);
}

/* Expires every dead session. The lock is exclusive and the tree up to date. */
static ab_err sessions_reap(struct local *local, struct ab_error *error)
{
    uint64_t owner;
    ab_err err = AB_OK;
    while (err == AB_OK && (owner = dead_owner_find(local)) != 0) {
        err = session_expire(local, owner, error);
    }
    if (err == AB_OK) {
        session_files_sweep(local);
        local->reaped_us = ab_time_monotonic_us();
    }
    return err;
}

static bool reap_is_due(const struct local *local)
{
    return ab_time_monotonic_us() - local->reaped_us >= LOCAL_REAP_US;
}

/* ---- one operation ---- */

/* Takes both locks and brings the tree up to date; on error nothing is held. */
static ab_err begin(struct local *local, bool is_writing, struct ab_error *error)
{
    ab_lock_take(&local->lock);
    bool is_exclusive = is_writing || reap_is_due(local);
    ab_err err = local->is_broken ? ab_error_set(error, AB_IO, "coordination: an earlier write failed") : AB_OK;
    if (err == AB_OK) {
        err = directory_lock(local, is_exclusive ? LOCK_EX : LOCK_SH, error);
    }
    if (err != AB_OK) {
        ab_lock_give(&local->lock);
        return err;
    }
    err = ab_journal_refresh(&local->journal, error);
    if (err == AB_OK && is_exclusive && reap_is_due(local)) {
        err = sessions_reap(local, error);
        local->is_broken = err == AB_IO;
        if (err == AB_NO_SPACE) {
            /* The dead stay a while longer; the living may go on reading. */
            local->reaped_us = ab_time_monotonic_us();
            err = ab_journal_refresh(&local->journal, error);
        }
    }
    if (err != AB_OK) {
        directory_unlock(local);
        ab_lock_give(&local->lock);
    }
    return err;
}

static void end(struct local *local)
{
    directory_unlock(local);
    ab_lock_give(&local->lock);
}

/* ---- changing ---- */

/* AB_CONFLICT or AB_NOT_FOUND unless the node is there with the expected version. The root has version 0. */
static ab_err version_check(const struct ab_tree *tree, const struct ab_coordination_op *op)
{
    struct ab_bytes path = ab_bytes_of_text(op->path);
    const struct ab_tree_node *node = ab_tree_find(tree, path);
    if (node == NULL && path.bytes > 1) {
        return AB_NOT_FOUND;
    }
    uint64_t version = node == NULL ? 0 : node->version;
    return op->version == AB_COORDINATION_ANY_VERSION || op->version == version ? AB_OK : AB_CONFLICT;
}

/* Checks a step, does it in the tree and adds it to the payload. */
static ab_err op_apply(
    struct local *local, const struct ab_coordination_op *op, struct ab_buffer *effects, size_t *effects_count)
{
    if (op->kind != AB_COORDINATION_CREATE) {
        AB_TRY(version_check(&local->journal.tree, op));
    }
    if (op->kind == AB_COORDINATION_CHECK) {
        return AB_OK;
    }
    struct ab_tree_effect effect = {.kind = op->kind, .path = ab_bytes_of_text(op->path)};
    if (op->kind != AB_COORDINATION_DELETE) {
        effect.value = op->value;
    }
    if (op->kind == AB_COORDINATION_CREATE && op->is_ephemeral) {
        effect.owner = local->id;
    }
    AB_TRY(ab_tree_apply(&local->journal.tree, &effect, local->journal.tree.revision + 1));
    ab_journal_payload_add(effects, &effect);
    *effects_count += 1;
    return AB_OK;
}

static ab_err multi_locked(
    struct local *local, const struct ab_coordination_op *ops, size_t ops_count, size_t *failed, struct ab_error *error)
{
    struct ab_buffer effects;
    struct ab_buffer payload = {0};
    size_t effects_count = 0;
    ab_err err = AB_OK;
    ab_buffer_init(&effects, NULL, AB_COORDINATION_TREE_BYTES_MAX);
    for (size_t i = 0; i < ops_count && err == AB_OK; i++) {
        err = op_apply(local, &ops[i], &effects, &effects_count);
        if (err == AB_OK && effects.has_failed) {
            err = AB_TOO_LARGE;
        }
        if (err != AB_OK) {
            *failed = i;
            (void)ab_error_set(error, err, "coordination: %s: %s", ops[i].path, ab_err_text(err));
        }
    }
    if (err != AB_OK) {
        /* Steps before the failed one are in the tree already: have it read again. */
        local->journal.is_stale = local->journal.is_stale || effects_count > 0;
    } else if (effects_count > 0) {
        ab_journal_payload_begin(&payload, effects_count);
        ab_buffer_put_bytes(&payload, ab_buffer_view(&effects));
        err = ab_journal_append(&local->journal, ab_buffer_view(&payload), error);
        if (err == AB_IO) {
            local->is_broken = true;
            err = AB_OUTCOME_UNKNOWN;
        }
    }
    ab_buffer_fini(&effects);
    ab_buffer_fini(&payload);
    return err;
}

static ab_err local_multi(struct ab_coordination *session, const struct ab_coordination_op *ops, size_t ops_count,
    size_t *failed, struct ab_error *error)
{
    struct local *local = (struct local *)session;
    AB_TRY(begin(local, true, error));
    ab_err err = multi_locked(local, ops, ops_count, failed, error);
    end(local);
    return err;
}

/* ---- reading ---- */

static ab_err absent(const char *path, struct ab_error *error)
{
    return ab_error_set(error, AB_NOT_FOUND, "coordination: %s: not found", path);
}

static ab_err get_locked(const struct local *local, const char *path, struct ab_buffer *value,
    struct ab_coordination_stat *stat, struct ab_error *error)
{
    static const struct ab_tree_node root = {.path = NULL};
    const struct ab_tree_node *node = ab_tree_find(&local->journal.tree, ab_bytes_of_text(path));
    if (node == NULL && strcmp(path, "/") != 0) {
        return absent(path, error);
    }
    node = node == NULL ? &root : node;
    if (value != NULL) {
        ab_buffer_put(value, node->value, node->value_bytes);
        AB_TRY(ab_buffer_finish(value));
    }
    if (stat != NULL) {
        *stat = (struct ab_coordination_stat){.version = node->version,
            .created_revision = node->created_revision,
            .modified_revision = node->modified_revision,
            .is_ephemeral = node->owner != 0,
            .is_own = node->owner != 0 && node->owner == local->id};
    }
    return AB_OK;
}

static ab_err local_get(struct ab_coordination *session, const char *path, struct ab_buffer *value,
    struct ab_coordination_stat *stat, struct ab_error *error)
{
    struct local *local = (struct local *)session;
    AB_TRY(begin(local, false, error));
    ab_err err = get_locked(local, path, value, stat, error);
    end(local);
    return err;
}

/* Copies the names of what lies directly below `path` out of nodes [from, until). */
static size_t names_copy(const struct ab_tree *tree, size_t path_bytes, size_t from, size_t until, char **names)
{
    size_t prefix = path_bytes == 1 ? 1 : path_bytes + 1;
    size_t count = 0;
    for (size_t i = from; i < until; i++) {
        const char *name = tree->nodes[i].path + prefix;
        if (strchr(name, '/') == NULL) {
            names[count++] = ab_new_text(name);
        }
    }
    return count;
}

static ab_err local_children(
    struct ab_coordination *session, const char *path, char ***names, size_t *count, struct ab_error *error)
{
    struct local *local = (struct local *)session;
    struct ab_bytes bytes = ab_bytes_of_text(path);
    AB_TRY(begin(local, false, error));
    ab_err err = AB_OK;
    if (bytes.bytes > 1 && ab_tree_find(&local->journal.tree, bytes) == NULL) {
        err = absent(path, error);
    } else {
        size_t until = 0;
        size_t from = ab_tree_below(&local->journal.tree, bytes, &until);
        *names = ab_new_array(char *, until - from + 1);
        *count = names_copy(&local->journal.tree, bytes.bytes, from, until, *names);
    }
    end(local);
    return err;
}

static ab_err local_revision(struct ab_coordination *session, uint64_t *revision, struct ab_error *error)
{
    struct local *local = (struct local *)session;
    AB_TRY(begin(local, false, error));
    *revision = local->journal.tree.revision;
    end(local);
    return AB_OK;
}

/* True when reading again could not show a higher revision. */
static bool nothing_is_new(struct local *local, uint64_t since)
{
    ab_lock_take(&local->lock);
    bool is_same = !local->is_broken && local->journal.tree.revision <= since &&
                   ab_journal_is_unchanged(&local->journal) && !reap_is_due(local);
    ab_lock_give(&local->lock);
    return is_same;
}

static ab_err local_wait(
    struct ab_coordination *session, uint64_t since, int64_t until_us, uint64_t *revision, struct ab_error *error)
{
    struct local *local = (struct local *)session;
    for (;;) {
        uint64_t found = 0;
        if (!nothing_is_new(local, since)) {
            AB_TRY(local_revision(session, &found, error));
        }
        if (found > since) {
            *revision = found;
            return AB_OK;
        }
        int64_t left = until_us < 0 ? LOCAL_POLL_US : until_us - ab_time_monotonic_us();
        if (left <= 0) {
            return ab_error_set(error, AB_TIMEOUT, "coordination: nothing changed in time");
        }
        ab_time_sleep_us(left < LOCAL_POLL_US ? left : LOCAL_POLL_US);
    }
}

/* A session lives as long as its process holds the lock on its file, so no time has to be watched. */
static void local_session_state(struct ab_coordination *session, struct ab_coordination_session_state *state)
{
    const struct local *local = (const struct local *)session;
    *state = (struct ab_coordination_session_state){
        .state = local->is_broken ? AB_COORDINATION_EXPIRED : AB_COORDINATION_CONNECTED,
        .alive_us = ab_time_monotonic_us()};
}

/* ---- opening and closing ---- */

static void local_free(struct local *local)
{
    ab_file_close(&local->session_fd);
    ab_file_close(&local->lock_fd);
    ab_journal_fini(&local->journal);
    ab_lock_fini(&local->lock);
    ab_delete(local->session_path);
    ab_delete(local->directory);
    ab_delete(local);
}

/* Makes the session's file and locks it; done under the directory's lock, so nobody sees it without its own. */
static ab_err session_begin(struct local *local, struct ab_error *error)
{
    AB_TRY(ab_file_lock(local->session_path, &local->session_fd, error));
    char *text = ab_new_format("pid %ld, since %" PRId64 "\n", (long)getpid(), ab_time_now());
    ab_err err = ab_file_write_at(local->session_fd, ab_bytes_of_text(text), 0);
    ab_delete(text);
    return err == AB_OK ? AB_OK
                        : ab_error_set(error, err, "coordination: write %s: %s", local->session_path, ab_err_text(err));
}

static ab_err local_begin(struct local *local, struct ab_error *error)
{
    char *sessions = ab_new_format("%s/sessions", local->directory);
    char *lock = ab_new_format("%s/lock", local->directory);
    ab_err err = ab_file_make_directory(sessions, 0700, error);
    if (err == AB_OK) {
        err = ab_file_open(lock, O_RDWR | O_CREAT, 0600, &local->lock_fd, error);
    }
    ab_delete(sessions);
    ab_delete(lock);
    AB_TRY(err);
    AB_TRY(directory_lock(local, LOCK_EX, error));
    err = ab_journal_make(&local->journal, local->directory, error);
    if (err == AB_OK) {
        err = ab_journal_refresh(&local->journal, error);
    }
    if (err == AB_OK) {
        err = session_begin(local, error);
    }
    directory_unlock(local);
    return err;
}

static ab_err local_open(const char *place, const struct ab_coordination_options *options,
    struct ab_coordination **session, struct ab_error *error)
{
    (void)options; /* permissions of the directory say who may come; nothing is waited for but locks */
    struct local *local = ab_new(struct local);
    local->session.table = &ab_coordination_local;
    local->directory = ab_new_text(place);
    local->id = ab_random_id();
    local->session_path = session_path_of(local, local->id);
    local->session_fd = -1;
    local->lock_fd = -1;
    local->reaped_us = ab_time_monotonic_us() - LOCAL_REAP_US;
    ab_lock_init(&local->lock);
    ab_journal_init(&local->journal, place);
    ab_err err = local_begin(local, error);
    if (err != AB_OK) {
        (void)unlink(local->session_path); /* absent unless its writing failed */
        local_free(local);
        return err;
    }
    *session = &local->session;
    return AB_OK;
}

static void local_close(struct ab_coordination *session)
{
    struct local *local = (struct local *)session;
    struct ab_error error = {0};
    if (begin(local, true, &error) == AB_OK) {
        if (session_expire(local, local->id, &error) != AB_OK) {
            ab_warn("coordination session left its nodes", "%s", error.text);
        }
        (void)unlink(local->session_path); /* a file that nobody locks is swept later */
        end(local);
    }
    local_free(local);
}

const struct ab_coordination_table ab_coordination_local = {
    .kind = "local",
    .version = AB_COORDINATION_TABLE_VERSION,
    .open = local_open,
    .close = local_close,
    .multi = local_multi,
    .get = local_get,
    .children = local_children,
    .revision = local_revision,
    .wait = local_wait,
    .session_state = local_session_state,
};
