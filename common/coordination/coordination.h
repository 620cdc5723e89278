/* coordination: the small tree of facts on which the processes of a cluster agree.
 *
 * Paths like /cuts/7 name nodes; a node holds bytes and a version that begins at 0 and rises by one with every set.
 * Several changes with checks are one atomic step (multi). An ephemeral node lives as long as the session that created
 * it. Everything acknowledged is durable.
 *
 * The interface is what ZooKeeper can do, and is implemented twice: "local:<directory>" keeps the tree in one journal
 * under a lock, for the processes of one machine; "zookeeper:HOST:PORT[,HOST:PORT...]/CHROOT" is a part of a
 * ZooKeeper's tree that belongs to whoever has its credential. Who uses it does not know which. All that one step or
 * one multi sends must fit AB_COORDINATION_REQUEST_BYTES_MAX to work with both; the local one takes values of up to
 * AB_COORDINATION_VALUE_BYTES_MAX.
 *
 * Every function but close may return, besides what it says itself: AB_UNAVAILABLE (nobody answers; nothing was
 * changed), AB_OUTCOME_UNKNOWN (a change may or may not have happened: read again with this session, whose calls happen
 * in order, and do not just repeat it), AB_CLOSED (the session has expired, nothing was changed: open a new one),
 * AB_DENIED (the node belongs to another credential), AB_IO (disk; the session is of no use any more), AB_NO_SPACE
 * (nothing was changed), AB_CORRUPT (the stored tree), AB_USAGE (a path that is none: it begins with /, has no empty,
 * "." or ".." part, no character that is a control, private, a non-character or above U+FFFF, at most
 * AB_COORDINATION_PATH_BYTES_MAX bytes, and does not end in / but for the root itself). No call but wait takes much
 * longer than the time it was given by the options, whoever answers.
 *
 * Threads: any thread may use a session; calls on one session may wait for each other, but ab_coordination_wait holds
 * nobody up. Memory: local a copy of the tree per session, at most AB_COORDINATION_TREE_BYTES_MAX; ZooKeeper the paths
 * of at most AB_COORDINATION_WATCHES_MAX watches.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_COORDINATION_H
#define ANABRANCH_COMMON_COORDINATION_COORDINATION_H

#include "common/base/buffer.h"

#define AB_COORDINATION_PATH_BYTES_MAX 512u
#define AB_COORDINATION_VALUE_BYTES_MAX (4u << 20)
#define AB_COORDINATION_TREE_BYTES_MAX (64u << 20)
#define AB_COORDINATION_OPS_MAX 1024u
/* Paths and values of one multi, each with 128 bytes for the rest of its step: below ZooKeeper's jute.maxbuffer. */
#define AB_COORDINATION_REQUEST_BYTES_MAX 1000000u
/* And less when their paths are long: 900,000 bytes of them. */
#define AB_COORDINATION_WATCHES_MAX 4096u
#define AB_COORDINATION_CREDENTIAL_BYTES_MAX 256u
#define AB_COORDINATION_ANY_VERSION UINT64_MAX

struct ab_coordination; /* a session */

/* What a session may need besides its address; the local one needs nothing. Zeroed memory is valid. */
struct ab_coordination_options {
    /* "NAME:PASSWORD": what is made belongs to it, and nobody else may read or write it. ZooKeeper must have one.
     * Borrowed during the call; sent in clear, so the network to ZooKeeper has to be closed or tunnelled. */
    struct ab_bytes credential;
    int64_t session_timeout_us; /* asked for, the servers have their bounds; 0 = 6 s */
    int64_t call_timeout_us;    /* for one call, connecting included; 0 = 10 s */
};

/* Opens a session: at "local:<directory>" (made if absent), or at a ZooKeeper, under a chroot (made if absent, and then
 * of this credential). AB_USAGE for an unknown kind of address, one that is malformed, or no credential where one is
 * needed; AB_UNSUPPORTED for a tree of a newer format, or a kind that this build has not; AB_DENIED for a chroot of
 * another credential; AB_UNAVAILABLE when nobody answers in time. Blocks: does I/O. A process that forks without exec
 * keeps its parent's local session alive. `options` may be NULL. */
AB_MUST_USE ab_err ab_coordination_open_with(const char *address, const struct ab_coordination_options *options,
    struct ab_coordination **session, struct ab_error *error);

/* The same without options. */
AB_MUST_USE ab_err ab_coordination_open(const char *address, struct ab_coordination **session, struct ab_error *error);

/* Appends the credential that stands in a file, without the newline after it: it is one of this user's (or root's) that
 * nobody else may read (AB_DENIED), and holds NAME:PASSWORD of at most AB_COORDINATION_CREDENTIAL_BYTES_MAX bytes
 * without spaces or control characters (AB_INVALID). AB_NOT_FOUND, AB_IO. */
AB_MUST_USE ab_err ab_coordination_credential_read(
    const char *path, struct ab_buffer *credential, struct ab_error *error);

/* Ends the session and removes its ephemeral nodes; NULL is legal. If that fails they go when others notice, like those
 * of a killed process. Blocks: at most about 5 s when the servers do not answer. */
void ab_coordination_close(struct ab_coordination *session);

enum ab_coordination_op_kind {
    AB_COORDINATION_CREATE = 1,
    AB_COORDINATION_SET = 2,
    AB_COORDINATION_DELETE = 3,
    AB_COORDINATION_CHECK = 4, /* the node exists with this version; changes nothing */
};

/* One step of a multi. */
struct ab_coordination_op {
    enum ab_coordination_op_kind kind;
    const char *path;      /* borrowed during the call */
    struct ab_bytes value; /* create and set; borrowed during the call */
    uint64_t version;      /* set, delete and check: expected, or AB_COORDINATION_ANY_VERSION */
    bool is_ephemeral;     /* create */
};

/* Does all steps in order or none; each sees what those before it did. On failure *failed (may be NULL) is the index of
 * the step that failed: AB_EXISTS (create: the node is there; delete: it has children), AB_NOT_FOUND (the node, or the
 * parent to create under), AB_CONFLICT (another version), AB_TOO_LARGE (a value, or more than AB_COORDINATION_OPS_MAX
 * steps or more bytes than the implementation takes: nothing was sent), AB_FULL (the tree), AB_USAGE (also: a child of
 * an ephemeral node, a change of the root). */
AB_MUST_USE ab_err ab_coordination_multi(struct ab_coordination *session, const struct ab_coordination_op *ops,
    size_t ops_count, size_t *failed, struct ab_error *error);

/* One create: AB_EXISTS, AB_NOT_FOUND (no parent), AB_TOO_LARGE, AB_FULL, AB_USAGE. */
AB_MUST_USE ab_err ab_coordination_create(struct ab_coordination *session, const char *path, struct ab_bytes value,
    bool is_ephemeral, struct ab_error *error);

/* Creates an empty persistent node and its missing parents; nodes that exist are fine. AB_FULL, AB_USAGE. */
AB_MUST_USE ab_err ab_coordination_ensure(struct ab_coordination *session, const char *path, struct ab_error *error);

/* One set, a compare-and-set unless any version will do: AB_NOT_FOUND, AB_CONFLICT, AB_TOO_LARGE, AB_FULL. The new
 * version is version + 1. */
AB_MUST_USE ab_err ab_coordination_set(
    struct ab_coordination *session, const char *path, struct ab_bytes value, uint64_t version, struct ab_error *error);

/* One delete: AB_NOT_FOUND, AB_CONFLICT, AB_EXISTS (it has children). */
AB_MUST_USE ab_err ab_coordination_delete(
    struct ab_coordination *session, const char *path, uint64_t version, struct ab_error *error);

/* What is known of a node besides its value. */
struct ab_coordination_stat {
    uint64_t version;
    uint64_t created_revision; /* tells a node from one of the same path that was there before */
    uint64_t modified_revision;
    bool is_ephemeral;
    bool is_own; /* ephemeral, of this session */
};

/* Appends a node's value to `value` (may be NULL) and fills `stat` (may be NULL): AB_NOT_FOUND, AB_FULL (the buffer).
 * Sees every change acknowledged to anybody before the call, and so does children. (A ZooKeeper leader that was cut off
 * and has not noticed may show an older tree for its syncLimit: what must not be wrong is decided by a version or a
 * check in the change itself, never by a read.) */
AB_MUST_USE ab_err ab_coordination_get(struct ab_coordination *session, const char *path, struct ab_buffer *value,
    struct ab_coordination_stat *stat, struct ab_error *error);

/* Names of a node's children, sorted bytewise, without the path; *names is freed by ab_coordination_names_free.
 * AB_NOT_FOUND. */
AB_MUST_USE ab_err ab_coordination_children(
    struct ab_coordination *session, const char *path, char ***names, size_t *count, struct ab_error *error);

/* Frees what children gave. */
void ab_coordination_names_free(char **names, size_t count);

/* A number of this session, without meaning to another, that rises whenever something changes that this session has
 * read by get or children since it rose last, found or not; a moment after the change, and perhaps also for other
 * reasons: a session that is suspended or back, or one that reads more than AB_COORDINATION_WATCHES_MAX nodes (then
 * once a second). Several changes may be one rise. To miss nothing: take the revision, read, then wait for a higher one
 * and read again. Does not ask the servers. */
AB_MUST_USE ab_err ab_coordination_revision(
    struct ab_coordination *session, uint64_t *revision, struct ab_error *error);

/* Waits until the revision is above `since` or until the monotonic time until_us (< 0 = for ever): AB_TIMEOUT. Blocks.
 */
AB_MUST_USE ab_err ab_coordination_wait(
    struct ab_coordination *session, uint64_t since, int64_t until_us, uint64_t *revision, struct ab_error *error);

enum ab_coordination_state {
    AB_COORDINATION_CONNECTED,
    AB_COORDINATION_SUSPENDED, /* no server is reached; it may have expired without our being told */
    AB_COORDINATION_EXPIRED,   /* for good, its ephemeral nodes are gone: every call returns AB_CLOSED */
};

/* How a session is doing. */
struct ab_coordination_session_state {
    enum ab_coordination_state state;
    int64_t
        alive_us; /* monotonic time at which the session certainly lived: when suspended, since when nothing is known */
    int64_t timeout_us; /* negotiated: it does not expire within this time after alive_us; 0 = never while we live */
};

/* Tells how the session is doing, from memory, and asks the servers for a sign of life in the background when the last
 * one is older than a sixth of the timeout: who depends on alive_us calls at least that often. Never blocks, any
 * thread. */
void ab_coordination_session_state(struct ab_coordination *session, struct ab_coordination_session_state *state);

/* True when who holds something through the session must let go of it: it has expired, or two thirds of its timeout
 * have passed without a sign of life, by our own monotonic clock (REPLICATION H51). Pure. */
static inline bool ab_coordination_must_step_down(const struct ab_coordination_session_state *state, int64_t now_us)
{
    return state->state == AB_COORDINATION_EXPIRED ||
           (state->timeout_us > 0 && now_us - state->alive_us >= state->timeout_us / 3 * 2);
}

#endif
