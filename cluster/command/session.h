/* session: a command's connection to the daemons of a cluster on this machine, with the key of a role.
 *
 * Of several nodes the first one that serves is asked; when it does not answer, or cannot do it, another one.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_SESSION_H
#define ANABRANCH_CLUSTER_COMMAND_SESSION_H

#include "cluster/command/running.h"
#include "cluster/nodes.h"
#include "common/base/json.h"
#include "common/client/anabranch.h"
#include "common/wire/node.h"

/* Directories of the nodes that can be asked, those that serve first; the one directory of a cluster of one node. */
struct ab_session_places {
    char *items[AB_NODES_MAX]; /* owned */
    uint32_t count;
};

struct ab_session {
    struct ab_session_places places;
    uint32_t current; /* who is asked next */
    bool is_pinned;   /* nobody else may answer in its place */
    struct ab_node node;
};

/* Finds the nodes that can be asked; AB_UNAVAILABLE when no controller is alive. */
AB_MUST_USE ab_err ab_session_places_find(
    const char *directory, struct ab_session_places *places, struct ab_error *error);
void ab_session_places_free(struct ab_session_places *places);

/* Opens a session with keys/<role>.key. AB_UNAVAILABLE when no controller is alive. */
AB_MUST_USE ab_err ab_session_open(
    const char *directory, const char *role, struct ab_session *session, struct ab_error *error);
void ab_session_close(struct ab_session *session);

/* Opens a client of the public library with keys/<role>.key, at the first node that answers. On failure either
 * *client is NULL and the error says why, or anabranch_last_error does; the client is to be closed in any case. */
enum anabranch_result ab_session_client_open(
    const char *directory, const char *role, int timeout_ms, struct anabranch_client **client, struct ab_error *error);

/* Asks a daemon ("controller", "speed", "serving"). `payload` may be NULL; *reply (may be NULL) is the caller's.
 * Among several nodes any one is asked, until one answers. */
AB_MUST_USE ab_err ab_session_call(struct ab_session *session, const char *daemon, enum ab_verb verb,
    const struct ab_json *payload, int timeout_ms, struct ab_json **reply, struct ab_error *error);

/* The catalog in force, from serving; a reference for the caller. */
struct ab_catalog;
AB_MUST_USE ab_err ab_session_catalog(struct ab_session *session, struct ab_catalog **catalog, struct ab_error *error);

/* AB_NOT_FOUND, with the nearest name, when the catalog has no such stream. */
AB_MUST_USE ab_err ab_session_stream_check(
    const struct ab_catalog *catalog, const char *stream, struct ab_error *error);

#endif
