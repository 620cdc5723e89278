/* Calls of the ZooKeeper implementation: sending, waiting, and what each answer means. */
#include "common/coordination/zookeeper_session.h"

#include "common/base/time.h"

#include <stdlib.h>

/* What a step takes in a request besides its path and value: header, versions, flags and the access list. */
enum { OP_BYTES = 128 };

/* How soon a read is tried again that a server refused though it is reached. */
#define READ_AGAIN_US (5 * AB_US_PER_MS)

char *zk_path(const struct zk_session *session, const char *path)
{
    return ab_new_format("%s%s", session->chroot, strcmp(path, "/") == 0 ? "" : path);
}

/* ---- one call ---- */

struct zk_call *zk_call_create(struct zk_session *session, enum zk_call_kind kind, char *path)
{
    struct zk_call *call = ab_new(struct zk_call);
    call->session = session;
    call->kind = kind;
    call->path = path;
    atomic_init(&call->references, 1);
    return call;
}

void zk_call_release(struct zk_call *call)
{
    if (atomic_fetch_sub(&call->references, 1) > 1) {
        return;
    }
    ab_coordination_names_free(call->names, call->names_count);
    ab_buffer_fini(&call->value);
    ab_delete(call->results);
    ab_delete(call->path);
    ab_delete(call);
}

/* True for an answer that a server gave about the tree: it has heard from us. */
static bool is_answer(int result)
{
    switch (result) {
    case ZOK:
    case ZNONODE:
    case ZNODEEXISTS:
    case ZBADVERSION:
    case ZNOTEMPTY:
    case ZNOCHILDRENFOREPHEMERALS:
        return true;
    default:
        return false;
    }
}

/* Whether a watch was left by a call that ended so: one for absence is left by not finding. */
static bool leaves_watch(const struct zk_call *call, int result)
{
    return call->watch != 0 && (result == ZOK || (result == ZNONODE && call->kind == ZK_EXISTS));
}

/* Ends a call in the library's callback, which has filled what it brings, and gives back the library's reference. */
static void call_finish_locked(struct zk_call *call, int result)
{
    struct zk_session *session = call->session;
    if (leaves_watch(call, result)) {
        zk_watch_set_locked(session, call->path, call->watch);
    }
    bool went_to_leader = call->kind == ZK_SYNC || call->kind == ZK_MULTI;
    if (went_to_leader && is_answer(result) && call->sent_us > session->alive_us) {
        session->alive_us = call->sent_us;
    }
    call->result = result;
    call->is_done = true;
    ab_condition_signal_all(&session->news);
}

static struct zk_call *call_enter(const void *context)
{
    struct zk_call *call = (struct zk_call *)context;
    (void)atomic_load(&call->references); /* pairs with the store that handed the call over */
    ab_lock_take(&call->session->lock);
    return call;
}

static void call_leave(struct zk_call *call)
{
    ab_lock_give(&call->session->lock);
    zk_call_release(call);
}

static void multi_done(int result, const void *context)
{
    struct zk_call *call = call_enter(context);
    call_finish_locked(call, result);
    call_leave(call);
}

static void sync_done(int result, const char *value, const void *context)
{
    (void)value;
    multi_done(result, context);
}

static void exists_done(int result, const struct Stat *stat, const void *context)
{
    (void)stat;
    multi_done(result, context);
}

static void get_done(int result, const char *value, int value_bytes, const struct Stat *stat, const void *context)
{
    struct zk_call *call = call_enter(context);
    if (result == ZOK) {
        call->stat = *stat;
        ab_buffer_put(&call->value, value, value_bytes > 0 ? (size_t)value_bytes : 0);
    }
    call_finish_locked(call, result);
    call_leave(call);
}

static void children_done(int result, const struct String_vector *names, const void *context)
{
    struct zk_call *call = call_enter(context);
    if (result == ZOK) {
        size_t count = names->count > 0 ? (size_t)names->count : 0;
        call->names = ab_new_array(char *, count + 1);
        for (size_t i = 0; i < count; i++) {
            call->names[i] = ab_new_text(names->data[i]);
        }
        call->names_count = count;
    }
    call_finish_locked(call, result);
    call_leave(call);
}

/* Takes back what the library refused. */
static void call_refused(struct zk_call *call, int result)
{
    ab_lock_take(&call->session->lock);
    call->result = result;
    call->is_done = true;
    ab_lock_give(&call->session->lock);
    zk_call_release(call);
}

void zk_call_send(struct zk_call *call)
{
    zhandle_t *handle = call->session->handle;
    watcher_fn watcher = call->watch != 0 ? zk_node_event : NULL;
    int result = ZUNIMPLEMENTED;
    call->sent_us = ab_time_monotonic_us();
    atomic_store(&call->references, 2);
    switch (call->kind) {
    case ZK_SYNC:
        result = zoo_async(handle, call->path, sync_done, call);
        break;
    case ZK_GET:
        result = zoo_awget(handle, call->path, watcher, call->session, get_done, call);
        break;
    case ZK_EXISTS:
        result = zoo_awexists(handle, call->path, watcher, call->session, exists_done, call);
        break;
    case ZK_CHILDREN:
        result = zoo_awget_children(handle, call->path, watcher, call->session, children_done, call);
        break;
    case ZK_MULTI:
        break; /* has its own */
    }
    if (result != ZOK) {
        call_refused(call, result);
    }
}

int zk_call_wait(struct zk_call *call, int64_t until_us)
{
    struct zk_session *session = call->session;
    bool is_in_time = true;
    ab_lock_take(&session->lock);
    while (!call->is_done && is_in_time && session->state != AB_COORDINATION_EXPIRED) {
        is_in_time = ab_condition_wait(&session->news, &session->lock, until_us);
    }
    int result = call->is_done ? call->result : is_in_time ? ZSESSIONEXPIRED : ZOPERATIONTIMEOUT;
    ab_lock_give(&session->lock);
    return result;
}

/* ---- what results mean ---- */

ab_err zk_connected_wait(struct zk_session *session, int64_t until_us, struct ab_error *error)
{
    bool is_in_time = true;
    ab_lock_take(&session->lock);
    while (session->state == AB_COORDINATION_SUSPENDED && is_in_time) {
        is_in_time = ab_condition_wait(&session->news, &session->lock, until_us);
    }
    enum ab_coordination_state state = session->state;
    bool is_denied = session->is_denied;
    ab_lock_give(&session->lock);
    switch (state) {
    case AB_COORDINATION_CONNECTED:
        return AB_OK;
    case AB_COORDINATION_SUSPENDED:
        return ab_error_set(error, AB_UNAVAILABLE, "coordination: ZooKeeper at %s is not reached", session->hosts);
    case AB_COORDINATION_EXPIRED:
        break;
    }
    return is_denied ? ab_error_set(error, AB_DENIED, "coordination: ZooKeeper refused the credential")
                     : ab_error_set(error, AB_CLOSED, "coordination: the session has expired");
}

/* The code for an answer about the tree or the session; AB_OUTCOME_UNKNOWN for all that does not say what happened. */
static ab_err err_of(int result)
{
    switch (result) {
    case ZOK:
        return AB_OK;
    case ZNONODE:
        return AB_NOT_FOUND;
    case ZNODEEXISTS:
    case ZNOTEMPTY:
        return AB_EXISTS;
    case ZBADVERSION:
        return AB_CONFLICT;
    case ZNOCHILDRENFOREPHEMERALS:
    case ZBADARGUMENTS:
        return AB_USAGE;
    case ZNOAUTH:
    case ZAUTHFAILED:
        return AB_DENIED;
    case ZSESSIONEXPIRED: /* what was sent on a lost connection has had ZCONNECTIONLOSS before: this was not */
    case ZINVALIDSTATE:
    case ZCLOSING:
        return AB_CLOSED;
    case ZSESSIONMOVED: /* by their definitions not executed */
    case ZTHROTTLEDOP:
        return AB_UNAVAILABLE;
    default:
        return AB_OUTCOME_UNKNOWN;
    }
}

/* ---- reading ---- */

/* Decides whether a call is to leave a watch. */
static void watch_plan(struct zk_call *call, int watch)
{
    struct zk_session *session = call->session;
    ab_lock_take(&session->lock);
    bool is_needed = !zk_is_watched_locked(session, call->path, watch);
    call->watch = is_needed && zk_watch_reserve_locked(session) ? watch : 0;
    ab_lock_give(&session->lock);
}

/* Asks the leader for all it has, then reads: both are under way at once, and answered in order. */
static int read_once(struct zk_call *call, int64_t until_us)
{
    struct zk_call *sync = zk_call_create(call->session, ZK_SYNC, ab_new_text(call->path));
    zk_call_send(sync);
    zk_call_send(call);
    int result = zk_call_wait(sync, until_us);
    result = result == ZOK ? zk_call_wait(call, until_us) : result;
    zk_call_release(sync);
    return result;
}

/* Leaves a watch on a node that was not found. ZOK when it is there by now. */
static int absence_watch(struct zk_session *session, const char *path, int64_t until_us)
{
    struct zk_call *call = zk_call_create(session, ZK_EXISTS, ab_new_text(path));
    watch_plan(call, ZK_WATCH_DATA);
    int result = ZNONODE;
    if (call->watch != 0) {
        zk_call_send(call);
        result = zk_call_wait(call, until_us);
    }
    zk_call_release(call);
    return result;
}

/* One attempt of a read; *again is set when another may do better. On success *done is the caller's. */
static int read_attempt(
    struct zk_session *session, enum zk_call_kind kind, const char *path, int64_t until_us, struct zk_call **done)
{
    struct zk_call *call = zk_call_create(session, kind, ab_new_text(path));
    watch_plan(call, kind == ZK_GET ? ZK_WATCH_DATA : ZK_WATCH_CHILDREN);
    int result = read_once(call, until_us);
    if (result == ZOK) {
        *done = call;
        return ZOK;
    }
    zk_call_release(call);
    if (result == ZNONODE) {
        result = absence_watch(session, path, until_us);
        return result == ZOK ? ZTHROTTLEDOP : result; /* it was made meanwhile: read it */
    }
    return result;
}

/* Reads until there is an answer or no time left: a read may be repeated. */
static ab_err read_until(
    struct zk_session *session, enum zk_call_kind kind, const char *path, struct zk_call **done, struct ab_error *error)
{
    int64_t until_us = ab_time_monotonic_us() + session->call_timeout_us;
    char *full = zk_path(session, path);
    ab_err err;
    for (;;) {
        err = zk_connected_wait(session, until_us, error);
        if (err != AB_OK) {
            break;
        }
        int result = read_attempt(session, kind, full, until_us, done);
        err = err_of(result);
        if (err != AB_OUTCOME_UNKNOWN && err != AB_UNAVAILABLE) {
            err = err == AB_OK ? AB_OK : ab_error_set(error, err, "coordination: %s: %s", path, ab_err_text(err));
            break;
        }
        if (ab_time_monotonic_us() + READ_AGAIN_US >= until_us) {
            err = ab_error_set(error, AB_UNAVAILABLE, "coordination: %s: %s", path, zerror(result));
            break;
        }
        ab_time_sleep_us(READ_AGAIN_US);
    }
    ab_delete(full);
    return err;
}

ab_err zk_get(struct ab_coordination *base, const char *path, struct ab_buffer *value,
    struct ab_coordination_stat *stat, struct ab_error *error)
{
    struct zk_session *session = (struct zk_session *)base;
    struct zk_call *call = NULL;
    AB_TRY(read_until(session, ZK_GET, path, &call, error));
    ab_err err = AB_OK;
    if (value != NULL) {
        ab_buffer_put_bytes(value, ab_buffer_view(&call->value));
        err = ab_buffer_finish(value);
    }
    if (stat != NULL && err == AB_OK) {
        *stat = (struct ab_coordination_stat){.version = (uint64_t)(uint32_t)call->stat.version,
            .created_revision = (uint64_t)call->stat.czxid,
            .modified_revision = (uint64_t)call->stat.mzxid,
            .is_ephemeral = call->stat.ephemeralOwner != 0,
            .is_own = call->stat.ephemeralOwner != 0 && call->stat.ephemeralOwner == session->id};
    }
    zk_call_release(call);
    return err;
}

static int names_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

ab_err zk_children(struct ab_coordination *base, const char *path, char ***names, size_t *count, struct ab_error *error)
{
    struct zk_call *call = NULL;
    AB_TRY(read_until((struct zk_session *)base, ZK_CHILDREN, path, &call, error));
    qsort(call->names, call->names_count, sizeof(*call->names), names_compare);
    *names = call->names;
    *count = call->names_count;
    call->names = NULL;
    call->names_count = 0;
    zk_call_release(call);
    return AB_OK;
}

/* ---- changing ---- */

/* ZooKeeper's versions have 31 bits; what is larger no node has. */
static int version_of(uint64_t version)
{
    return version == AB_COORDINATION_ANY_VERSION ? -1 : version > INT32_MAX ? INT32_MAX : (int)version;
}

static void op_init(zoo_op_t *out, const struct ab_coordination_op *op, const char *path)
{
    const char *value = op->value.bytes > 0 ? (const char *)op->value.data : "";
    int value_bytes = (int)op->value.bytes;
    switch (op->kind) {
    case AB_COORDINATION_CREATE:
        zoo_create_op_init(
            out, path, value, value_bytes, &ZOO_CREATOR_ALL_ACL, op->is_ephemeral ? ZOO_EPHEMERAL : 0, NULL, 0);
        break;
    case AB_COORDINATION_SET:
        zoo_set_op_init(out, path, value, value_bytes, version_of(op->version), NULL);
        break;
    case AB_COORDINATION_DELETE:
        zoo_delete_op_init(out, path, version_of(op->version));
        break;
    case AB_COORDINATION_CHECK:
        zoo_check_op_init(out, path, version_of(op->version));
        break;
    }
}

/* Sends steps whose paths are full already, and waits for what became of them. */
static int multi_call(struct zk_call *call, const zoo_op_t *ops, size_t ops_count, int64_t until_us)
{
    call->results = ab_new_array(zoo_op_result_t, ops_count + 1);
    call->sent_us = ab_time_monotonic_us();
    atomic_store(&call->references, 2);
    int result = zoo_amulti(call->session->handle, (int)ops_count, ops, call->results, multi_done, call);
    if (result != ZOK) {
        call_refused(call, result);
        return result;
    }
    return zk_call_wait(call, until_us);
}

/* AB_TOO_LARGE with the step that was too much: ZooKeeper would hang up on us. */
static ab_err bytes_check(
    const struct zk_session *session, const struct ab_coordination_op *ops, size_t ops_count, size_t *failed)
{
    size_t bytes = 0;
    for (size_t i = 0; i < ops_count; i++) {
        bool has_value = ops[i].kind == AB_COORDINATION_CREATE || ops[i].kind == AB_COORDINATION_SET;
        bytes += OP_BYTES + strlen(session->chroot) + strlen(ops[i].path) + (has_value ? ops[i].value.bytes : 0);
        if (bytes > AB_COORDINATION_REQUEST_BYTES_MAX) {
            *failed = i;
            return AB_TOO_LARGE;
        }
    }
    return AB_OK;
}

/* The step that failed: those before it have no error, those after it were not tried. */
static size_t failed_find(const zoo_op_result_t *results, size_t ops_count)
{
    for (size_t i = 0; i < ops_count; i++) {
        if (results[i].err != ZOK && results[i].err != ZRUNTIMEINCONSISTENCY) {
            return i;
        }
    }
    return 0;
}

static ab_err multi_run(struct zk_session *session, const struct ab_coordination_op *ops, size_t ops_count,
    size_t *failed, struct ab_error *error)
{
    zoo_op_t *steps = ab_new_array(zoo_op_t, ops_count);
    char **paths = ab_new_array(char *, ops_count);
    int64_t until_us = ab_time_monotonic_us() + session->call_timeout_us;
    ab_err err = zk_connected_wait(session, until_us, error);
    for (size_t i = 0; i < ops_count && err == AB_OK; i++) {
        paths[i] = zk_path(session, ops[i].path);
        op_init(&steps[i], &ops[i], paths[i]);
    }
    if (err == AB_OK) {
        struct zk_call *call = zk_call_create(session, ZK_MULTI, NULL);
        int result = multi_call(call, steps, ops_count, until_us);
        err = err_of(result);
        bool is_answered = err != AB_OK && err != AB_OUTCOME_UNKNOWN && err != AB_CLOSED && err != AB_UNAVAILABLE;
        *failed = is_answered ? failed_find(call->results, ops_count) : *failed;
        if (err != AB_OK) {
            (void)ab_error_set(error, err, "coordination: %s: %s", ops[is_answered ? *failed : 0].path,
                is_answered ? ab_err_text(err) : zerror(result));
        }
        zk_call_release(call);
    }
    ab_coordination_names_free(paths, ops_count);
    ab_delete(steps);
    return err;
}

ab_err zk_multi(struct ab_coordination *base, const struct ab_coordination_op *ops, size_t ops_count, size_t *failed,
    struct ab_error *error)
{
    struct zk_session *session = (struct zk_session *)base;
    if (bytes_check(session, ops, ops_count, failed) != AB_OK) {
        return ab_error_set(error, AB_TOO_LARGE,
            "coordination: %s: more than %u bytes at once are refused by ZooKeeper", ops[*failed].path,
            AB_COORDINATION_REQUEST_BYTES_MAX);
    }
    if (ops_count == 0) {
        return zk_connected_wait(session, ab_time_monotonic_us() + session->call_timeout_us, error);
    }
    return multi_run(session, ops, ops_count, failed, error);
}

ab_err zk_node_ensure(struct zk_session *session, const char *path, int64_t until_us, struct ab_error *error)
{
    zoo_op_t step;
    int result;
    do {
        AB_TRY(zk_connected_wait(session, until_us, error));
        struct zk_call *call = zk_call_create(session, ZK_MULTI, NULL);
        zoo_create_op_init(&step, path, "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0);
        result = multi_call(call, &step, 1, until_us);
        zk_call_release(call);
        /* To make what is there is harmless, so an unknown outcome may be tried again. */
    } while (err_of(result) == AB_OUTCOME_UNKNOWN && ab_time_monotonic_us() < until_us);
    ab_err err = result == ZNODEEXISTS ? AB_OK : err_of(result);
    err = err == AB_OUTCOME_UNKNOWN ? AB_UNAVAILABLE : err;
    return err == AB_OK ? AB_OK
                        : ab_error_set(error, err, "coordination: make %s in ZooKeeper: %s", path, zerror(result));
}
