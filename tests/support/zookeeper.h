/* zookeeper: a real ZooKeeper server for a test, on free loopback ports, below a scratch directory. */
#ifndef ANABRANCH_TESTS_SUPPORT_ZOOKEEPER_H
#define ANABRANCH_TESTS_SUPPORT_ZOOKEEPER_H

#include "cluster/process.h"
#include "cluster/zookeeper.h"
#include "common/coordination/coordination.h"

/* One server, or an ensemble. */
struct zookeeper {
    size_t count;
    struct ab_zookeeper_server servers[AB_ZOOKEEPER_SERVERS_MAX];
    char *directories[AB_ZOOKEEPER_SERVERS_MAX];           /* owned */
    struct ab_process processes[AB_ZOOKEEPER_SERVERS_MAX]; /* pid 0 = not running */
};

/* Ends the program with 77, which is "skipped", and says why, when this machine cannot run a server. */
void zookeeper_need(void);

/* Prepares and starts `count` servers below a directory; fails the test when they do not answer. */
void zookeeper_start(struct zookeeper *zookeeper, const char *directory, size_t count);

/* Starts a server that was killed, on the same data, and waits until it answers. */
void zookeeper_start_again(struct zookeeper *zookeeper, size_t index);

/* Sends a signal to a server; SIGKILL waits for its end. */
void zookeeper_signal(struct zookeeper *zookeeper, size_t index, int signal_number);

/* Ends all servers and frees; idempotent. */
void zookeeper_stop(struct zookeeper *zookeeper);

/* Opens a session with a credential ("NAME:PASSWORD"); timeouts in ms, 0 = the defaults. */
ab_err zookeeper_session_try(const struct zookeeper *zookeeper, const char *chroot, const char *credential,
    int64_t session_ms, int64_t call_ms, struct ab_coordination **session, struct ab_error *error);

/* The same with the test's usual credential; fails the test when it does not succeed. */
struct ab_coordination *zookeeper_session(
    const struct zookeeper *zookeeper, const char *chroot, int64_t session_ms, int64_t call_ms);

#endif
