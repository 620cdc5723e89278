/* coordination_model: a ZooKeeper in memory for a deterministic simulator: sessions, ephemeral nodes, multis, stale
 * reads, watches, expiry and lost answers, all at the times and in the ways that the caller decides.
 *
 * It is what common/coordination does to a client and no kinder. A change goes three ways: submit (the client sends
 * it), apply (the leader does it: now everybody may see it), answer (the client hears of it). Between them anything
 * else may happen. When the connection is lost, what was not answered is AB_OUTCOME_UNKNOWN at once, and may still be
 * applied until the session connects again, or ends.
 *
 * A read is served by a server that is behind: at any zxid (the number of a transaction) between what the session has
 * seen and the newest; zxid_newest is a read after a sync. Watches: reading leaves one, on absence too; the news of it
 * comes at the latest with a read that shows the change or anything later, as one rise of the session's revision for
 * each watch however often the node changed, and then it is used up.
 *
 * A session is expired by tick when the servers have not heard of it for its timeout. Its client is not told until it
 * connects; a server that is behind goes on answering reads of before the end.
 *
 * Pure: no clock, thread, I/O or random number; the same calls give the same results. Virtual times are microseconds.
 * Memory: all versions of all nodes; a run is short.
 */
#ifndef ANABRANCH_TESTS_SIMULATION_COORDINATION_MODEL_H
#define ANABRANCH_TESTS_SIMULATION_COORDINATION_MODEL_H

#include "common/base/random.h"
#include "common/coordination/coordination.h"

struct coordination_model;

struct coordination_model *coordination_model_create(void);
void coordination_model_destroy(struct coordination_model *model);

/* ---- sessions: numbers that are never used again ---- */

/* Opens a session, connected. */
uint64_t coordination_model_open(struct coordination_model *model, int64_t timeout_us, int64_t now_us);

/* Ends a session: its ephemeral nodes go, nothing of it is applied or read any more. */
void coordination_model_close(struct coordination_model *model, uint64_t session);

/* The connection is lost: the client knows, the servers do not. */
void coordination_model_disconnect(struct coordination_model *model, uint64_t session);

/* Connects again; AB_CLOSED when the session has expired, and from now on the client knows. What was submitted before
 * and is not applied yet never will be. */
AB_MUST_USE ab_err coordination_model_connect(struct coordination_model *model, uint64_t session, int64_t now_us);

/* A sign of life that was sent at sent_us has come to the leader and its answer to the client. Nothing when not
 * connected. */
void coordination_model_ping(struct coordination_model *model, uint64_t session, int64_t sent_us, int64_t now_us);

/* Expires the sessions that were not heard of for their timeouts; returns how many. */
size_t coordination_model_tick(struct coordination_model *model, int64_t now_us);

/* What the client knows of its session, as ab_coordination_session_state tells it. */
void coordination_model_state(
    const struct coordination_model *model, uint64_t session, struct ab_coordination_session_state *state);

/* ---- changes ---- */

/* What a client is told of a change. */
struct coordination_model_outcome {
    ab_err err;    /* as ab_coordination_multi */
    size_t failed; /* the step that failed */
    uint64_t zxid; /* of the transaction, when it was done */
};

/* Sends steps, which are copied; *request is a number that is never used again. AB_UNAVAILABLE when not connected,
 * AB_CLOSED when the client knows that the session has expired. */
AB_MUST_USE ab_err coordination_model_submit(struct coordination_model *model, uint64_t session,
    const struct ab_coordination_op *ops, size_t ops_count, int64_t now_us, uint64_t *request);

/* The leader does it: all steps or none. False when it will never be done: the session has ended or connected anew. The
 * requests of a session have to be applied in the order in which they were submitted (asserted), but for those that
 * never will be. */
bool coordination_model_apply(struct coordination_model *model, uint64_t request, int64_t now_us);

/* The answer comes to the client, which is then never told again: AB_OK when there is one, AB_OUTCOME_UNKNOWN in it
 * when the connection was lost meanwhile; AB_AGAIN when it is not applied yet; AB_NOT_FOUND for a request that was
 * answered. */
AB_MUST_USE ab_err coordination_model_answer(
    struct coordination_model *model, uint64_t request, struct coordination_model_outcome *outcome);

/* ---- reads ---- */

/* The newest transaction, what a session has seen, and something between them. */
uint64_t coordination_model_zxid_newest(const struct coordination_model *model);
uint64_t coordination_model_zxid_seen(const struct coordination_model *model, uint64_t session);
uint64_t coordination_model_zxid_stale(
    const struct coordination_model *model, uint64_t session, struct ab_random *random);

/* As ab_coordination_get and ab_coordination_children, served by a server that has come to `zxid`, between seen and
 * newest (asserted). AB_UNAVAILABLE when not connected, or when that server knows that the session has ended. */
AB_MUST_USE ab_err coordination_model_get(struct coordination_model *model, uint64_t session, const char *path,
    uint64_t zxid, struct ab_buffer *value, struct ab_coordination_stat *stat);
AB_MUST_USE ab_err coordination_model_children(
    struct coordination_model *model, uint64_t session, const char *path, uint64_t zxid, char ***names, size_t *count);

/* The news of watches up to a transaction comes to a connected client, as it does by itself before a read; returns the
 * session's revision. */
uint64_t coordination_model_deliver(struct coordination_model *model, uint64_t session, uint64_t zxid);

/* The revision that the client knows. Rises when the connection is lost or made, too. */
uint64_t coordination_model_revision(const struct coordination_model *model, uint64_t session);

#endif
