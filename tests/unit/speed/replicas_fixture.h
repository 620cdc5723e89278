/* replicas_fixture: three nodes in one process, each an engine behind a socket of its own, with one coordination
 * directory; the test plays the controller. */
#ifndef ANABRANCH_TESTS_UNIT_SPEED_REPLICAS_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_SPEED_REPLICAS_FIXTURE_H

#include "tests/unit/speed/engine_fixture.h"

#include "speed/membership.h"
#include "common/coordination/replica_set.h"

#define REPLICAS_NODES 3u
#define REPLICAS_WAIT_US (30 * AB_US_PER_SECOND)

struct replicas_node {
    uint32_t number;
    char *directory;
    struct ab_coordination *coordination;
    struct ab_membership *membership;
    struct ab_wire *wire;
    struct ab_engine *engine;
    struct ab_server *server;
    struct ab_channel *producer; /* NULL = it does not run */
    struct ab_channel *query;
};

struct replicas {
    char *directory;
    uint8_t cluster_id[16];
    struct ab_wire_keys node_keys;
    struct ab_wire_keys client_keys; /* an operator's */
    struct ab_wire *client_wire;
    struct ab_buffer catalog;
    uint64_t segment_bytes;               /* of logs */
    struct ab_coordination *coordination; /* the test's own session: it plays the controller */
    struct replicas_node nodes[REPLICAS_NODES];
    struct engine_fixture blocks; /* only its sequences */
    uint64_t acknowledged[ENGINE_PARTITIONS];
};

/* Makes keys, directories and nodes; every node is in sync, node p mod 3 + 1 leads partition p. For cmocka. */
int replicas_setup(void **state);
int replicas_setup_segments(void **state, uint64_t segment_bytes);
int replicas_teardown(void **state);

/* A session with the coordination directory. */
struct ab_coordination *replicas_coordination_open(const struct replicas *replicas);

/* Starts a node that does not run; stops one, or does nothing. */
void replicas_node_start(struct replicas *replicas, struct replicas_node *node);
void replicas_node_stop(struct replicas_node *node);

/* Reads a partition's state; its version. */
uint64_t replicas_state_read(struct replicas *replicas, uint32_t partition, struct ab_replica_set *state);

/* What the controller does once: leaders for partitions whose leader does not run, by the core of elections. */
void replicas_elect(struct replicas *replicas);

/* Waits until so many members are in sync, of every partition. */
void replicas_wait_in_sync(struct replicas *replicas, uint32_t count);

#endif
