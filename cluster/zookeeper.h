/* zookeeper: how a ZooKeeper server of ours is set up and started: standalone, or one of an ensemble, all of them on
 * the loopback interface of one machine.
 *
 * Below a server's directory: zoo.cfg, and data/ with its log and snapshots (and myid in an ensemble). Clients are
 * served, and servers meet, on 127.0.0.1 alone; commands of four letters and the admin server are off; nothing of what
 * makes changes durable is touched (forceSync stays on, REPLICATION H55).
 *
 * Threads: any; nothing is kept.
 */
#ifndef ANABRANCH_CLUSTER_ZOOKEEPER_H
#define ANABRANCH_CLUSTER_ZOOKEEPER_H

#include "common/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define AB_ZOOKEEPER_SERVERS_MAX 7u

struct ab_zookeeper_server {
    const char *directory; /* borrowed; absolute, without line breaks; of this server alone */
    uint16_t client_port;
    uint16_t peer_port;     /* where followers meet the leader; unused by a single server */
    uint16_t election_port; /* where servers elect a leader; unused by a single server */
};

/* AB_UNSUPPORTED with the package to install when this machine has no Java or no ZooKeeper server. */
AB_MUST_USE ab_err ab_zookeeper_check(struct ab_error *error);

/* Makes the directory of server `index` of `servers` (an odd number of at most AB_ZOOKEEPER_SERVERS_MAX, else
 * AB_USAGE), mode 0700, and writes its zoo.cfg and myid anew; its data stays as it is. AB_IO, AB_NO_SPACE. */
AB_MUST_USE ab_err ab_zookeeper_prepare(
    const struct ab_zookeeper_server *servers, size_t servers_count, size_t index, struct ab_error *error);

/* The command line that starts the server of a prepared directory, NULL-terminated; freed with
 * ab_zookeeper_command_free. */
char **ab_zookeeper_command(const char *directory);
void ab_zookeeper_command_free(char **command);

/* "zookeeper:127.0.0.1:PORT,...<chroot>", freed with ab_delete. */
char *ab_zookeeper_address(const struct ab_zookeeper_server *servers, size_t servers_count, const char *chroot);

#endif
