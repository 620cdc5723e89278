/* Sessions of the ZooKeeper implementation: opening, their state, watches, waiting, the library's log. */
#include "common/coordination/operations.h"
#include "common/coordination/zookeeper_session.h"

#include "common/base/logging.h"
#include "common/base/time.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

/* The library says the same for every attempt to connect: once in a while is enough. */
#define LOG_EVERY_US (10 * AB_US_PER_SECOND)

/* How often the revision rises for a session that reads more than it can watch. */
#define UNWATCHED_US AB_US_PER_SECOND

/* The library asks for all watches anew in one request, which the servers must not find too large (jute.maxbuffer):
 * they would hang up on it each time it reconnects. What is between the two is for reads under way. */
enum { WATCHES_BYTES_MAX = 900000, WATCH_BYTES = 4 };

/* ---- what the library logs ---- */

static atomic_llong log_due_us;    /* atomic: when the next line may be written */
static atomic_uint log_suppressed; /* atomic: lines since the last */

/* Takes a line "<time>:<pid>(<thread>):ZOO_WARN@<function>@<line>: <text>"; any thread. */
static void library_log(const char *message)
{
    long long due_us = atomic_load(&log_due_us);
    int64_t now_us = ab_time_monotonic_us();
    if (now_us < due_us || !atomic_compare_exchange_strong(&log_due_us, &due_us, now_us + LOG_EVERY_US)) {
        atomic_fetch_add(&log_suppressed, 1);
        return;
    }
    const char *text = strstr(message, "ZOO_");
    text = text == NULL ? message : text;
    ab_warn("zookeeper client", "%s (%u lines before it are left out)", text, atomic_exchange(&log_suppressed, 0));
}

/* ---- watches ---- */

bool zk_is_watched_locked(const struct zk_session *session, const char *path, int watch)
{
    uint64_t watched = 0;
    return ab_map_get(session->watches, ab_bytes_of_text(path), &watched) && (watched & (uint64_t)watch) != 0;
}

/* Forgets paths of which nothing is watched: a map does not give back the room of a removed key. */
static void watches_compact_locked(struct zk_session *session)
{
    struct ab_map *kept = ab_map_create(NULL);
    struct ab_bytes path = {0};
    uint64_t watched = 0;
    for (size_t cursor = 0; ab_map_next(session->watches, &cursor, &path, &watched);) {
        if (watched != 0) {
            ab_err_ignore(ab_map_set(kept, path, watched)); /* without a budget it cannot be full */
        }
    }
    ab_map_destroy(session->watches);
    session->watches = kept;
}

/* How many kinds of watches a set of them holds. */
static size_t kinds_count(uint64_t watched)
{
    return ((watched & ZK_WATCH_DATA) != 0) + ((watched & ZK_WATCH_CHILDREN) != 0);
}

static void watches_put_locked(struct zk_session *session, const char *path, uint64_t before, uint64_t after)
{
    size_t bytes = strlen(path) + WATCH_BYTES;
    session->watches_count += (after != 0) - (before != 0);
    session->watches_bytes += bytes * kinds_count(after) - bytes * kinds_count(before);
    ab_err_ignore(ab_map_set(session->watches, ab_bytes_of_text(path), after)); /* without a budget it cannot be full */
    if (ab_map_count(session->watches) >= 2 * AB_COORDINATION_WATCHES_MAX) {
        watches_compact_locked(session);
    }
}

void zk_watch_set_locked(struct zk_session *session, const char *path, int watch)
{
    uint64_t watched = 0;
    (void)ab_map_get(session->watches, ab_bytes_of_text(path), &watched); /* 0 when absent */
    watches_put_locked(session, path, watched, watched | (uint64_t)watch);
}

void zk_watch_clear_locked(struct zk_session *session, const char *path, int watch)
{
    uint64_t watched = 0;
    if (ab_map_get(session->watches, ab_bytes_of_text(path), &watched)) {
        watches_put_locked(session, path, watched, watched & ~(uint64_t)watch);
    }
}

bool zk_watch_reserve_locked(struct zk_session *session)
{
    if (session->watches_count < AB_COORDINATION_WATCHES_MAX && session->watches_bytes < WATCHES_BYTES_MAX) {
        return true;
    }
    if (session->unwatched_us == 0) {
        session->unwatched_us = ab_time_monotonic_us();
        ab_condition_signal_all(&session->news); /* who waits has to wake by the clock now */
    }
    return false;
}

static void revision_raise_locked(struct zk_session *session)
{
    session->revision++;
    session->unwatched_us = 0;
    ab_condition_signal_all(&session->news);
}

/* Raises the revision by the clock when something was read that is not watched. */
static void unwatched_raise_locked(struct zk_session *session, int64_t now_us)
{
    if (session->unwatched_us > 0 && now_us - session->unwatched_us >= UNWATCHED_US) {
        revision_raise_locked(session);
    }
}

void zk_node_event(zhandle_t *handle, int type, int state, const char *path, void *context)
{
    struct zk_session *session = context;
    (void)handle;
    (void)state;
    if (type == ZOO_SESSION_EVENT) {
        return; /* the session's own watcher is told too */
    }
    (void)atomic_load(&session->is_shown);
    bool is_children = type == ZOO_CHILD_EVENT;
    bool is_data = type == ZOO_CREATED_EVENT || type == ZOO_CHANGED_EVENT;
    ab_lock_take(&session->lock);
    /* A deleted node has lost all its watches, and so has whatever the library does not explain. */
    zk_watch_clear_locked(session, path,
        is_children ? ZK_WATCH_CHILDREN
        : is_data   ? ZK_WATCH_DATA
                    : ZK_WATCH_DATA | ZK_WATCH_CHILDREN);
    revision_raise_locked(session);
    ab_lock_give(&session->lock);
}

/* ---- the session's state ---- */

/* Asks for a sign of life unless one is under way. The callback of the call counts it. */
static void probe_done(int result, const char *value, const void *context)
{
    struct zk_call *call = (struct zk_call *)context;
    (void)value;
    (void)atomic_load(&call->references);
    struct zk_session *session = call->session;
    ab_lock_take(&session->lock);
    session->is_probing = false;
    if (result == ZOK && call->sent_us > session->alive_us) {
        session->alive_us = call->sent_us;
    }
    ab_lock_give(&session->lock);
    zk_call_release(call);
}

/* True when the caller has to send a probe. */
static bool probe_begin_locked(struct zk_session *session)
{
    bool is_wanted = !session->is_probing && session->state == AB_COORDINATION_CONNECTED;
    session->is_probing = session->is_probing || is_wanted;
    return is_wanted;
}

static void probe_send(struct zk_session *session, zhandle_t *handle)
{
    struct zk_call *call = zk_call_create(session, ZK_SYNC, ab_new_text(session->chroot));
    call->sent_us = ab_time_monotonic_us();
    atomic_store(&call->references, 1); /* the library's alone */
    ab_coordination_operation_count(AB_COORDINATION_PROBES);
    int result = zoo_async(handle, call->path, probe_done, call);
    if (result != ZOK) {
        probe_done(result, NULL, call);
    }
}

static enum ab_coordination_state state_of(int state)
{
    if (state == ZOO_CONNECTED_STATE) {
        return AB_COORDINATION_CONNECTED;
    }
    bool is_over = state == ZOO_EXPIRED_SESSION_STATE || state == ZOO_AUTH_FAILED_STATE;
    return is_over ? AB_COORDINATION_EXPIRED : AB_COORDINATION_SUSPENDED;
}

/* The library's news of the connection. It is in a callback of the library, so the handle is alive. */
static void session_event(zhandle_t *handle, int type, int state, const char *path, void *context)
{
    struct zk_session *session = context;
    (void)path;
    if (type != ZOO_SESSION_EVENT) {
        return;
    }
    (void)atomic_load(&session->is_shown);
    bool is_to_probe = false;
    ab_lock_take(&session->lock);
    enum ab_coordination_state before = session->state;
    if (before != AB_COORDINATION_EXPIRED) {
        session->state = state_of(state);
    }
    session->is_denied = session->is_denied || state == ZOO_AUTH_FAILED_STATE;
    if (session->state == AB_COORDINATION_CONNECTED) {
        session->id = session->id == 0 ? zoo_client_id(handle)->client_id : session->id;
        session->timeout_us = zoo_recv_timeout(handle) * AB_US_PER_MS;
        is_to_probe = probe_begin_locked(session);
    }
    enum ab_coordination_state after = session->state;
    revision_raise_locked(session);
    ab_lock_give(&session->lock);
    if (is_to_probe) {
        probe_send(session, handle);
    }
    if (after == AB_COORDINATION_EXPIRED && before != after) {
        ab_warn("coordination session expired", "at %s", session->hosts);
    }
}

static void zk_session_state(struct ab_coordination *base, struct ab_coordination_session_state *state)
{
    struct zk_session *session = (struct zk_session *)base;
    int64_t now_us = ab_time_monotonic_us();
    ab_lock_take(&session->lock);
    *state = (struct ab_coordination_session_state){
        .state = session->state, .alive_us = session->alive_us, .timeout_us = session->timeout_us};
    bool is_to_probe = now_us - session->alive_us >= session->timeout_us / 6 && probe_begin_locked(session);
    ab_lock_give(&session->lock);
    if (is_to_probe) {
        probe_send(session, session->handle);
    }
}

/* ---- the revision ---- */

static ab_err closed(const struct zk_session *session, struct ab_error *error)
{
    return ab_error_set(error, session->is_denied ? AB_DENIED : AB_CLOSED, "coordination: the session has ended");
}

static ab_err zk_revision(struct ab_coordination *base, uint64_t *revision, struct ab_error *error)
{
    struct zk_session *session = (struct zk_session *)base;
    ab_lock_take(&session->lock);
    unwatched_raise_locked(session, ab_time_monotonic_us());
    ab_err err = session->state == AB_COORDINATION_EXPIRED ? closed(session, error) : AB_OK;
    if (err == AB_OK) {
        *revision = session->revision;
    }
    ab_lock_give(&session->lock);
    return err;
}

/* When a waiter has to look again at the latest. */
static int64_t wake_us_locked(const struct zk_session *session, int64_t until_us)
{
    int64_t due_us = session->unwatched_us + UNWATCHED_US;
    return session->unwatched_us > 0 && (until_us < 0 || due_us < until_us) ? due_us : until_us;
}

static ab_err zk_wait(
    struct ab_coordination *base, uint64_t since, int64_t until_us, uint64_t *revision, struct ab_error *error)
{
    struct zk_session *session = (struct zk_session *)base;
    ab_err err = AB_OK;
    ab_lock_take(&session->lock);
    for (;;) {
        int64_t now_us = ab_time_monotonic_us();
        unwatched_raise_locked(session, now_us);
        if (session->state == AB_COORDINATION_EXPIRED) {
            err = closed(session, error);
            break;
        }
        if (session->revision > since) {
            *revision = session->revision;
            break;
        }
        if (until_us >= 0 && now_us >= until_us) {
            err = ab_error_set(error, AB_TIMEOUT, "coordination: nothing changed in time");
            break;
        }
        (void)ab_condition_wait(&session->news, &session->lock, wake_us_locked(session, until_us));
    }
    ab_lock_give(&session->lock);
    return err;
}

/* ---- opening and closing ---- */

/* HOST:PORT, the port a number of 1..65535. */
static bool host_is_valid(const char *host, size_t bytes)
{
    size_t colon = bytes;
    while (colon > 0 && host[colon - 1] != ':') {
        colon--;
    }
    unsigned port = 0;
    for (size_t i = colon; i < bytes; i++) {
        if (host[i] < '0' || host[i] > '9' || i - colon >= 5) {
            return false;
        }
        port = port * 10 + (unsigned)(host[i] - '0');
    }
    for (size_t i = 0; i + 1 < colon; i++) {
        if (host[i] <= ' ' || host[i] > '~') {
            return false;
        }
    }
    return colon > 1 && port >= 1 && port <= 65535;
}

/* Takes HOST:PORT[,HOST:PORT...]/CHROOT apart. */
static ab_err place_parse(struct zk_session *session, const char *place, struct ab_error *error)
{
    size_t hosts_bytes = strcspn(place, "/");
    const char *chroot = place + hosts_bytes;
    bool is_valid = hosts_bytes > 0;
    for (size_t start = 0; start <= hosts_bytes && is_valid;) {
        size_t bytes = strcspn(place + start, ",/");
        is_valid = host_is_valid(place + start, bytes);
        start += bytes + 1;
    }
    if (!is_valid || !ab_coordination_path_is_valid(chroot) || chroot[1] == '\0') {
        return ab_error_set(
            error, AB_USAGE, "coordination: zookeeper:%s: must be zookeeper:HOST:PORT[,HOST:PORT...]/CHROOT", place);
    }
    session->hosts = ab_new_text_of(ab_bytes_of(place, hosts_bytes));
    session->chroot = ab_new_text(chroot);
    return AB_OK;
}

static void session_free(struct zk_session *session)
{
    if (session->handle != NULL) {
        (void)zookeeper_close(session->handle); /* answers all calls, then waits at most 3 + 1.5 s for the server */
    }
    ab_condition_fini(&session->news);
    ab_lock_fini(&session->lock);
    ab_map_destroy(session->watches);
    ab_delete(session->hosts);
    ab_delete(session->chroot);
    ab_delete(session);
}

/* Starts the library's threads, which take no signals: those are for the threads that wait for them. */
static ab_err handle_open(struct zk_session *session, struct ab_error *error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    session->alive_us = ab_time_monotonic_us();
    atomic_store(&session->is_shown, true);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    session->handle = zookeeper_init2(session->hosts, session_event, (int)(session->session_timeout_us / AB_US_PER_MS),
        NULL, session, 0, library_log);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return session->handle != NULL ? AB_OK
                                   : ab_error_set(error, AB_UNAVAILABLE, "coordination: ZooKeeper at %s: %s",
                                         session->hosts, strerror(errno));
}

/* Makes the chroot and what is above it; the first is the one directly below the root. */
static ab_err chroot_ensure(struct zk_session *session, int64_t until_us, struct ab_error *error)
{
    size_t length = strlen(session->chroot);
    for (size_t end = 1; end < length; end++) {
        end += strcspn(session->chroot + end, "/");
        char *path = ab_new_text_of(ab_bytes_of(session->chroot, end));
        ab_err err = zk_node_ensure(session, path, until_us, error);
        ab_delete(path);
        AB_TRY(err);
    }
    return AB_OK;
}

/* Connects, tells who we are, and sees that the chroot is there and ours. The library tells again who we are whenever
 * it connects anew, before anything else. */
static ab_err session_begin(struct zk_session *session, struct ab_bytes credential, struct ab_error *error)
{
    int64_t until_us = ab_time_monotonic_us() + session->call_timeout_us;
    AB_TRY(handle_open(session, error));
    int result;
    do {
        AB_TRY(zk_connected_wait(session, until_us, error));
        /* ZINVALIDSTATE: the connection was lost just now. */
        result =
            zoo_add_auth(session->handle, "digest", (const char *)credential.data, (int)credential.bytes, NULL, NULL);
    } while (result == ZINVALIDSTATE && ab_time_monotonic_us() < until_us);
    if (result != ZOK) {
        return ab_error_set(error, AB_UNAVAILABLE, "coordination: ZooKeeper at %s: %s", session->hosts, zerror(result));
    }
    struct ab_error found = {0};
    ab_err err = zk_get(&session->session, "/", NULL, NULL, &found);
    if (err == AB_NOT_FOUND) {
        AB_TRY(chroot_ensure(session, until_us, error));
        return zk_get(&session->session, "/", NULL, NULL, error);
    }
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "%s", found.text);
}

static ab_err zk_open(const char *place, const struct ab_coordination_options *options, struct ab_coordination **opened,
    struct ab_error *error)
{
    if (!ab_coordination_credential_is_valid(options->credential)) {
        return ab_error_set(error, AB_USAGE, "coordination: ZooKeeper needs a credential NAME:PASSWORD");
    }
    struct zk_session *session = ab_new(struct zk_session);
    session->session.table = &ab_coordination_zookeeper;
    session->session_timeout_us = options->session_timeout_us;
    session->call_timeout_us = options->call_timeout_us;
    session->state = AB_COORDINATION_SUSPENDED;
    session->timeout_us = options->session_timeout_us;
    session->watches = ab_map_create(NULL);
    ab_lock_init(&session->lock);
    ab_condition_init(&session->news);
    ab_err err = place_parse(session, place, error);
    if (err == AB_OK) {
        err = session_begin(session, options->credential, error);
    }
    if (err != AB_OK) {
        session_free(session);
        return err;
    }
    *opened = &session->session;
    return AB_OK;
}

static void zk_close(struct ab_coordination *session)
{
    session_free((struct zk_session *)session);
}

const struct ab_coordination_table ab_coordination_zookeeper = {
    .kind = "zookeeper",
    .version = AB_COORDINATION_TABLE_VERSION,
    .open = zk_open,
    .close = zk_close,
    .multi = zk_multi,
    .get = zk_get,
    .children = zk_children,
    .revision = zk_revision,
    .wait = zk_wait,
    .session_state = zk_session_state,
};
