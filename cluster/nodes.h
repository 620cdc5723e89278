/* nodes: a cluster of several nodes on one machine: what lies where in its directory, and how it is made.
 *
 *   nodes.json            {"format":1,"cluster_id":"<32 hex>","partitions":P,"nodes":N,
 *                         "zookeeper":[{"client":port,"peer":port,"election":port}, ...],"removed":[2],"adding":4};
 *                         nodes are numbered from 1 to N but for those that were removed; a node that is being added
 *                         has its directory, and perhaps no partitions yet. Written first: a directory
 *                         with it is ours, and all else is made when missing, so a crash while making it is mended by
 *                         the next `up`
 *   node-1 ... node-N/    each a directory as layout.h has it, with the section `cluster` in its configuration; all
 * with the same cluster id, number of partitions and keys, and a copy of the credential zookeeper/ credential
 * (NAME:PASSWORD, 0600), and server-1 ... below it, as zookeeper.h has them run/                  up.lock,
 * zookeeper.lock, zookeeper.json (ensemble.h) logs/                 zookeeper.log (who keeps the servers running),
 * zookeeper-1.log ... (the servers)
 *
 * A node's directory is whole without the rest: moved to another machine, with an address of ZooKeeper that is reached
 * from there, it is a node of a cluster of several machines.
 *
 * Threads: any; nothing is kept.
 */
#ifndef ANABRANCH_CLUSTER_NODES_H
#define ANABRANCH_CLUSTER_NODES_H

#include "cluster/zookeeper.h"
#include "common/config/config.h"
#include "common/coordination/coordination.h"
#include "common/wire/node.h"

/* On one machine: three replicas of everything need three nodes, and more than five only share its processors. */
#define AB_NODES_MIN 3u
#define AB_NODES_MAX 5u
#define AB_NODES_DEFAULT 3u
#define AB_NODES_REPLICAS 3u
#define AB_NODES_MIN_ISR 2u
/* No network between them that could be slow: less than half of what nodes on several machines take, and failover that
 * much sooner. Two thirds of it are above what a machine takes to go round all that waits for its processors. */
#define AB_NODES_SESSION_TIMEOUT_MS 2500u

struct ab_nodes_ports {
    uint16_t client;
    uint16_t peer;
    uint16_t election;
};

/* What nodes.json says. */
struct ab_nodes {
    struct ab_cluster_identity identity;
    uint32_t count;                /* the highest number */
    bool is_removed[AB_NODES_MAX]; /* by number - 1; never the highest */
    uint32_t adding;               /* `node add` did not come to its end; 0 = none */
    struct ab_nodes_ports zookeepers[AB_ZOOKEEPER_SERVERS_MAX];
    uint32_t zookeepers_count;
};

/* True when the directory is one of several nodes. */
bool ab_nodes_is(const char *directory);

/* Reads nodes.json. AB_NOT_FOUND, AB_CORRUPT, AB_UNSUPPORTED for a newer format. */
AB_MUST_USE ab_err ab_nodes_read(const char *directory, struct ab_nodes *nodes, struct ab_error *error);

/* Writes it anew. */
AB_MUST_USE ab_err ab_nodes_write(const char *directory, const struct ab_nodes *nodes, struct ab_error *error);

/* True for the number of a node that the cluster has. */
bool ab_nodes_has(const struct ab_nodes *nodes, uint32_t node);

/* How many nodes it has. */
uint32_t ab_nodes_present(const struct ab_nodes *nodes);

/* Takes the lowest free number for a node that is being added, or the one that is already: AB_FULL when there are
 * AB_NODES_MAX. In memory only. */
AB_MUST_USE ab_err ab_nodes_number_take(struct ab_nodes *nodes, uint32_t *node, struct ab_error *error);

/* Gives a node's number back. In memory only. */
void ab_nodes_number_give(struct ab_nodes *nodes, uint32_t node);

struct ab_nodes_create_options {
    uint32_t partitions_count;
    uint32_t count;            /* AB_NODES_MIN .. AB_NODES_MAX */
    uint32_t zookeepers_count; /* 1 or 3 */
};

/* Makes the directory, a new id, ports that are free now, and nodes.json. AB_EXISTS when the directory is neither
 * absent nor empty. */
AB_MUST_USE ab_err ab_nodes_create(const char *directory, const struct ab_nodes_create_options *options,
    struct ab_nodes *nodes, struct ab_error *error);

/* Makes what is missing but the nodes' configuration: folders, identities, keys, the credential. AB_MISMATCH for a node
 * of another cluster. */
AB_MUST_USE ab_err ab_nodes_complete(const char *directory, const struct ab_nodes *nodes, struct ab_error *error);

/* Sets the section `cluster` of a node's configuration, and where its data is. *is_changed: something was not so. */
void ab_nodes_config_set(
    const char *directory, const struct ab_nodes *nodes, uint32_t node, struct ab_config *config, bool *is_changed);

/* Turns the defaults of a machine, which are in `config`, into those of one of its nodes: a share of memory and
 * threads, the timeout of sessions. */
void ab_nodes_config_share(const struct ab_nodes *nodes, struct ab_config *config);

/* "<directory>/node-<node>", freed with ab_delete. */
char *ab_nodes_directory(const char *directory, uint32_t node);

/* Where ZooKeeper answers, with the cluster's chroot; freed with ab_delete. */
char *ab_nodes_coordination(const struct ab_nodes *nodes);

/* The servers of the directory; their directories are freed by ab_nodes_servers_free. */
void ab_nodes_servers(
    const char *directory, const struct ab_nodes *nodes, struct ab_zookeeper_server servers[AB_ZOOKEEPER_SERVERS_MAX]);
void ab_nodes_servers_free(struct ab_zookeeper_server servers[AB_ZOOKEEPER_SERVERS_MAX]);

/* Opens a session with the cluster's credential; one call takes at most call_timeout_us. Errors of
 * ab_coordination_open_with and ab_coordination_credential_read. */
AB_MUST_USE ab_err ab_nodes_session_open(const char *directory, const struct ab_nodes *nodes, int64_t call_timeout_us,
    struct ab_coordination **session, struct ab_error *error);

/* Writes /cluster {"format":1,"cluster":"<32 hex>","partitions":P,"replicas":R,"min_isr":M,"nodes":N}, or finds that it
 * says the same, but for N, which is how many it began with: AB_MISMATCH, AB_CORRUPT. */
AB_MUST_USE ab_err ab_nodes_settle(
    const struct ab_nodes *nodes, struct ab_coordination *coordination, struct ab_error *error);

#endif
