/* running: which processes of a node run, by what its controller has recorded in run/endpoints.json.
 *
 * Threads: any; values.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_RUNNING_H
#define ANABRANCH_CLUSTER_COMMAND_RUNNING_H

#include "cluster/process.h"

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

/* Reads who runs in a node's directory; false when no controller is alive there (daemons may be). */
bool ab_running_read(const char *directory, struct ab_running *running);

/* True while the controller or a daemon is alive. */
bool ab_running_is_any_alive(const struct ab_running *running);

/* True when serving is alive and has said where it answers. */
bool ab_running_is_serving(const struct ab_running *running);

/* Kills those that are still the very processes (SIGKILL), telling of each. */
typedef void (*ab_running_killed_fn)(int64_t pid);
void ab_running_kill(const struct ab_running *running, ab_running_killed_fn on_killed);

#endif
