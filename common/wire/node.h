/* node: what every program of a cluster does first: read the cluster's directory and open its wire.
 *
 * A cluster's directory holds cluster.json {"format":1,"cluster_id":"32
 * hex","partitions":P,"hash":"xxh3-64/1","created":"ISO time"}, keys/<role>.key, keys/allow (the list of keys that may
 * speak to a server) and config/node.yaml.
 */
#ifndef ANABRANCH_COMMON_WIRE_NODE_H
#define ANABRANCH_COMMON_WIRE_NODE_H

#include "common/wire/wire.h"

#include "common/base/hash.h"
#include "common/config/config.h"

#define AB_CLUSTER_FORMAT 1
#define AB_CLUSTER_HASH "xxh3-64/1"
#define AB_CLUSTER_PARTITIONS_MAX 16384u

/* What cluster.json says. */
struct ab_cluster_identity {
    uint8_t cluster_id[16];
    uint32_t partitions_count;
};

/* Reads cluster.json below `directory`. AB_NOT_FOUND when it is not a cluster's directory, AB_CORRUPT, AB_UNSUPPORTED
 * for a newer format or another hash. */
AB_MUST_USE ab_err ab_cluster_identity_read(
    const char *directory, struct ab_cluster_identity *identity, struct ab_error *error);

/* Writes cluster.json durably; AB_EXISTS when there is one. */
AB_MUST_USE ab_err ab_cluster_identity_write(
    const char *directory, const struct ab_cluster_identity *identity, struct ab_error *error);

/* A cluster id as 32 hexadecimal digits, and back (AB_INVALID). */
void ab_cluster_id_format(const uint8_t id[16], char text[33]);
AB_MUST_USE ab_err ab_cluster_id_parse(struct ab_bytes text, uint8_t id[16]);

/* A program's place in its cluster. */
struct ab_node {
    char *directory; /* owned */
    struct ab_cluster_identity identity;
    struct ab_config config;
    struct ab_wire_keys keys;
    struct ab_wire *wire;           /* owned */
    struct ab_hash128 registration; /* of this process among several nodes, set by its owner; zero = none */
};

struct ab_node_options {
    const char *directory;
    const char *role; /* names the key file: keys/<role>.key */
    const char *name; /* of this process in envelopes and logs */
    bool is_server;   /* loads the allow list */
    int io_threads;   /* 0 = 1 */
};

/* Reads everything and opens the wire. Errors say which file and what to do. */
AB_MUST_USE ab_err ab_node_open(const struct ab_node_options *options, struct ab_node *node, struct ab_error *error);

/* Closes the wire, wipes the keys; legal on zeroed memory. */
void ab_node_close(struct ab_node *node);

/* Where a daemon answers: run/<daemon>.json {"pid","address","public_key"}, or a member of run/endpoints.json. Speed of
 * one of several nodes says its "incarnation" too, by which others know the process. */
struct ab_node_endpoint {
    char address[256];
    uint8_t public_key[AB_WIRE_KEY_BYTES];
    int64_t pid;
    struct ab_hash128 incarnation; /* zero = none told */
};

/* Writes run/<daemon>.json durably. */
AB_MUST_USE ab_err ab_node_endpoint_write(
    const struct ab_node *node, const char *daemon, const char *address, struct ab_error *error);

/* Reads run/<daemon>.json of a cluster's directory; AB_UNAVAILABLE when the daemon has not said yet where it answers.
 */
AB_MUST_USE ab_err ab_node_endpoint_read(
    const char *directory, const char *daemon, struct ab_node_endpoint *endpoint, struct ab_error *error);

#endif
