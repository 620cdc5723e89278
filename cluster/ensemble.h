/* ensemble: keeps the ZooKeeper servers of a cluster's directory running: a small process of its own,
 * `anabranch-zookeeper --data DIR`, which `anabranch up` starts and `anabranch down` ends last.
 *
 * No node owns the servers, since each must be able to go without taking the others' coordination along. A server that
 * ends is started again as supervision.h says. If the process itself is killed, its servers go on; the next one ends
 * them, by what is recorded, and starts them anew.
 *
 * run/zookeeper.json  {"supervisor":{"pid","pid_start_ticks"},"servers":[{"pid","pid_start_ticks","crashes"}, ...]};
 *                     there as long as the process runs, and after it was killed
 *
 * Threads: one. Memory: none that grows; a server's log is put aside at its start when it is above
 * AB_ENSEMBLE_LOG_BYTES_MAX.
 */
#ifndef ANABRANCH_CLUSTER_ENSEMBLE_H
#define ANABRANCH_CLUSTER_ENSEMBLE_H

#include "cluster/nodes.h"
#include "cluster/process.h"
#include "cluster/supervision.h"

#define AB_ENSEMBLE_LOG_BYTES_MAX (16u << 20)

/* Zeroed memory may be given to close. */
struct ab_ensemble {
    char *directory; /* owned; the cluster's */
    struct ab_nodes nodes;
    struct ab_zookeeper_server servers[AB_ZOOKEEPER_SERVERS_MAX]; /* own their directories */
    struct ab_ensemble_member {
        struct ab_supervision supervision;
        struct ab_process process;
    } members[AB_ZOOKEEPER_SERVERS_MAX];
    int lock_fd; /* run/zookeeper.lock, when has_lock */
    bool has_lock;
};

/* Takes the lock, ends servers that an earlier process left. AB_BUSY when another one keeps them, AB_UNSUPPORTED
 * without Java or ZooKeeper, errors of ab_nodes_read. */
AB_MUST_USE ab_err ab_ensemble_open(const char *directory, struct ab_ensemble *ensemble, struct ab_error *error);

/* Starts the servers and keeps them running until SIGTERM or SIGINT; then ends them. */
AB_MUST_USE ab_err ab_ensemble_run(struct ab_ensemble *ensemble, struct ab_error *error);

/* Closes; idempotent. */
void ab_ensemble_close(struct ab_ensemble *ensemble);

/* What run/zookeeper.json says. */
struct ab_ensemble_running {
    struct ab_process supervisor;
    struct ab_process servers[AB_ZOOKEEPER_SERVERS_MAX];
    uint64_t crashes_count; /* of all servers */
    uint32_t servers_count;
};

/* Reads who runs; false when the process that keeps the servers is not alive (servers may be). */
bool ab_ensemble_running_read(const char *directory, struct ab_ensemble_running *running);

/* True while the process or a server is alive. */
bool ab_ensemble_is_any_alive(const struct ab_ensemble_running *running);

/* Ends what is recorded: the process, which ends its servers; after patience_us whatever is left is killed. */
void ab_ensemble_end(const struct ab_ensemble_running *running, int64_t patience_us);

#endif
