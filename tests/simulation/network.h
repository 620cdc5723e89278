/* network: links between nodes that delay, lose, repeat, reorder, stall and are cut. */
#ifndef ANABRANCH_TESTS_SIMULATION_NETWORK_H
#define ANABRANCH_TESTS_SIMULATION_NETWORK_H

#include "tests/simulation/world.h"

/* What is on the way: the message, with the records behind it. */
struct sim_packet {
    struct ab_replica_message message;
    bool is_damaged; /* a byte changed: the receiver's checksum tells */
    struct sim_record records[];
};

void sim_network_create(struct sim_world *world);
void sim_network_destroy(struct sim_world *world);

/* Sends a message with so many records. */
void sim_network_send(struct sim_world *world, const struct ab_replica_message *message,
    const struct sim_record *records, size_t records_count);

/* Carries something else from a node to event->node, over the same links; the payload is copied. */
void sim_network_carry(
    struct sim_world *world, uint32_t from, const struct sim_event *event, const void *payload, size_t payload_bytes);

/* Cuts and mends a link, one direction; cuts count. Stalls it until then. */
void sim_network_cut(struct sim_world *world, uint32_t from, uint32_t to, int by);
void sim_network_stall(struct sim_world *world, uint32_t from, uint32_t to, int64_t until_us);
bool sim_network_is_cut(const struct sim_world *world, uint32_t from, uint32_t to);

/* All links are whole again. */
void sim_network_heal(struct sim_world *world);

#endif
