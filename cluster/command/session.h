/* session: a command's connection to the daemons of a cluster on this machine, with the key of a role. */
#ifndef ANABRANCH_CLUSTER_COMMAND_SESSION_H
#define ANABRANCH_CLUSTER_COMMAND_SESSION_H

#include "cluster/process.h"
#include "common/base/json.h"
#include "common/wire/node.h"

struct ab_session {
    const char *directory; /* borrowed */
    struct ab_node node;
};

/* What run/endpoints.json says; zeroed entries for what it does not. */
struct ab_running {
    struct ab_process controller;
    struct ab_running_daemon {
        struct ab_process process;
        char address[256];
        uint64_t crashes_count;
        bool is_answering;
    } speed, serving;
};

/* Reads who runs in a cluster's directory; false when no controller is alive there. */
bool ab_running_read(const char *directory, struct ab_running *running);

/* Opens a session with keys/<role>.key. AB_UNAVAILABLE when no controller is alive. */
AB_MUST_USE ab_err ab_session_open(
    const char *directory, const char *role, struct ab_session *session, struct ab_error *error);
void ab_session_close(struct ab_session *session);

/* Asks a daemon ("controller", "speed", "serving"). `payload` may be NULL; *reply (may be NULL) is the caller's. */
AB_MUST_USE ab_err ab_session_call(struct ab_session *session, const char *daemon, enum ab_verb verb,
    const struct ab_json *payload, int timeout_ms, struct ab_json **reply, struct ab_error *error);

/* The catalog in force, from serving; a reference for the caller. */
struct ab_catalog;
AB_MUST_USE ab_err ab_session_catalog(struct ab_session *session, struct ab_catalog **catalog, struct ab_error *error);

/* AB_NOT_FOUND, with the nearest name, when the catalog has no such stream. */
AB_MUST_USE ab_err ab_session_stream_check(
    const struct ab_catalog *catalog, const char *stream, struct ab_error *error);

#endif
