/* zookeeper_session: a session with ZooKeeper, shared by zookeeper.c (opening, state, watches) and zookeeper_calls.c
 * (one call after another). Internal to common/coordination; the only header that shows the client library.
 *
 * The library has two threads of its own: one for the network, one that calls us back. What it tells comes in the order
 * in which the server said it: the news that a node changed before the answer that shows the change, the loss of the
 * connection before the calls that it cost. All below is built on that order, so only asynchronous calls are used.
 *
 * Watches: the server forgets a watch when it has fired; the library asks for all that are outstanding anew when it has
 * reconnected. We remember which are outstanding, and read without asking for another: a node read often costs one.
 *
 * Threads: any thread calls; the callback thread takes the lock for moments and never waits for anything else.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_ZOOKEEPER_SESSION_H
#define ANABRANCH_COMMON_COORDINATION_ZOOKEEPER_SESSION_H

#include "common/coordination/coordination_table.h"

#include "common/base/map.h"
#include "common/base/thread.h"

#ifndef THREADED
#define THREADED
#endif
#include <zookeeper/zookeeper.h>

#include <stdatomic.h>

/* What of a node is watched: its value or absence, its children. */
enum { ZK_WATCH_DATA = 1, ZK_WATCH_CHILDREN = 2 };

struct zk_session {
    struct ab_coordination session; /* first */
    char *hosts;                    /* owned */
    char *chroot;                   /* owned; stands before every path */
    int64_t session_timeout_us;     /* asked for */
    int64_t call_timeout_us;
    zhandle_t *handle;        /* owned; set before the session is shared */
    atomic_bool is_shown;     /* atomic: set when all above is, before the library calls back */
    struct ab_lock lock;      /* guards all below */
    struct ab_condition news; /* signalled when anything below changed */
    enum ab_coordination_state state;
    bool is_denied;     /* expired because the servers refused the credential */
    int64_t id;         /* owner of its ephemeral nodes; set once, before the session is handed out */
    int64_t timeout_us; /* negotiated */
    int64_t alive_us;   /* when something was sent that the leader answered since */
    bool is_probing;    /* a sign of life is asked for */
    uint64_t revision;
    struct ab_map *watches; /* owned; full path -> what of it is watched, 0 = nothing any more */
    size_t watches_count;   /* paths with something watched */
    size_t watches_bytes;   /* of the request that asks for them all anew */
    int64_t
        unwatched_us; /* when the first node was read that there is no watch left for; 0 = none since the last rise */
};

enum zk_call_kind { ZK_SYNC, ZK_GET, ZK_EXISTS, ZK_CHILDREN, ZK_MULTI };

/* One call under way. The caller and the library hold a reference each: whoever gives up first leaves it to the other.
 */
struct zk_call {
    atomic_int references;
    struct zk_session *session; /* borrowed: ends after all calls are answered */
    enum zk_call_kind kind;
    char *path;      /* owned, with the chroot; NULL for a multi */
    int watch;       /* what to watch if it goes well: ZK_WATCH_DATA, ZK_WATCH_CHILDREN or 0 */
    int64_t sent_us; /* monotonic, just before it was handed to the library */
    /* guarded by the session's lock until is_done */
    bool is_done;
    int result;             /* the library's */
    struct Stat stat;       /* get */
    struct ab_buffer value; /* get */
    char **names;           /* children; owned, not sorted */
    size_t names_count;
    zoo_op_result_t *results; /* multi; owned */
};

/* A path with the chroot before it, freed with ab_delete. */
char *zk_path(const struct zk_session *session, const char *path);

/* A call with its caller's reference; `path` (may be NULL) is taken. */
struct zk_call *zk_call_create(struct zk_session *session, enum zk_call_kind kind, char *path);

/* Gives back a reference; frees with the last. */
void zk_call_release(struct zk_call *call);

/* Hands a reading call to the library; on failure it is done at once, with the library's code. */
void zk_call_send(struct zk_call *call);

/* Waits for the answer. When there is none in time, or never will be, the result is ZOPERATIONTIMEOUT. */
int zk_call_wait(struct zk_call *call, int64_t until_us);

/* Waits until the session is connected: AB_UNAVAILABLE when it is not in time, AB_CLOSED, AB_DENIED. */
AB_MUST_USE ab_err zk_connected_wait(struct zk_session *session, int64_t until_us, struct ab_error *error);

/* True when what is to be watched of a path is watched already. */
bool zk_is_watched_locked(const struct zk_session *session, const char *path, int watch);

/* Remembers that something of a path is watched; forgets what an event of the library has used up. */
void zk_watch_set_locked(struct zk_session *session, const char *path, int watch);
void zk_watch_clear_locked(struct zk_session *session, const char *path, int watch);

/* True when there is room for another watched path; else the revision will rise by the clock. */
bool zk_watch_reserve_locked(struct zk_session *session);

/* What the library calls with the news of a node. */
void zk_node_event(zhandle_t *handle, int type, int state, const char *path, void *context);

/* The calls of the table. */
AB_MUST_USE ab_err zk_multi(struct ab_coordination *session, const struct ab_coordination_op *ops, size_t ops_count,
    size_t *failed, struct ab_error *error);
AB_MUST_USE ab_err zk_get(struct ab_coordination *session, const char *path, struct ab_buffer *value,
    struct ab_coordination_stat *stat, struct ab_error *error);
AB_MUST_USE ab_err zk_children(
    struct ab_coordination *session, const char *path, char ***names, size_t *count, struct ab_error *error);

/* Makes one node of the full path, which is fine when it is there. For the chroot. */
AB_MUST_USE ab_err zk_node_ensure(
    struct zk_session *session, const char *path, int64_t until_us, struct ab_error *error);

#endif
