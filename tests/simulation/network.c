#include "tests/simulation/network.h"

#include "common/base/memory.h"

#include <string.h>

struct link {
    int cuts;
    int64_t stalled_until_us;
};

struct sim_network {
    struct link links[SIM_NODES_MAX + 1][SIM_NODES_MAX + 1]; /* [from][to] */
};

void sim_network_create(struct sim_world *world)
{
    world->network = ab_new(struct sim_network);
}

void sim_network_destroy(struct sim_world *world)
{
    ab_delete(world->network);
}

bool sim_network_is_cut(const struct sim_world *world, uint32_t from, uint32_t to)
{
    return world->network->links[from][to].cuts > 0;
}

void sim_network_cut(struct sim_world *world, uint32_t from, uint32_t to, int by)
{
    world->network->links[from][to].cuts += by;
}

void sim_network_stall(struct sim_world *world, uint32_t from, uint32_t to, int64_t until_us)
{
    world->network->links[from][to].stalled_until_us = until_us;
}

void sim_network_heal(struct sim_world *world)
{
    *world->network = (struct sim_network){0};
}

static void packet_post(struct sim_world *world, const struct ab_replica_message *message,
    const struct sim_record *records, size_t count, int64_t after_us)
{
    size_t bytes = count * sizeof *records;
    struct sim_packet *packet = ab_new_bytes(sizeof *packet + bytes);
    packet->message = *message;
    packet->is_damaged = count > 0 && sim_chance(&world->network_random, world->config.damage);
    if (count > 0) {
        memcpy(packet->records, records, bytes);
    }
    packet->message.records = (struct ab_bytes){.data = (const uint8_t *)packet->records, .bytes = bytes};
    struct sim_event event = {.kind = SIM_EVENT_MESSAGE,
        .node = message->to,
        .partition = message->partition,
        .number = (uint64_t)message->kind << 32 | message->from,
        .payload = packet};
    sim_world_post(world, after_us, &event);
}

void sim_network_send(struct sim_world *world, const struct ab_replica_message *message,
    const struct sim_record *records, size_t records_count)
{
    const struct sim_config *config = &world->config;
    struct ab_random *random = &world->network_random;
    const struct link *link = &world->network->links[message->from][message->to];
    if (link->cuts > 0 || (!world->is_healing && sim_chance(random, config->loss))) {
        return;
    }
    int64_t stall_us = link->stalled_until_us > world->now_us ? link->stalled_until_us - world->now_us : 0;
    packet_post(world, message, records, records_count, stall_us + sim_delay(random, config->link_us));
    if (!world->is_healing && sim_chance(random, config->replay)) {
        int64_t again_us = sim_chance(random, 0.5) ? config->link_us : config->replay_us;
        packet_post(world, message, records, records_count, stall_us + sim_delay(random, again_us));
    }
}

static void copy_post(
    struct sim_world *world, const struct sim_event *event, const void *payload, size_t bytes, int64_t after_us)
{
    struct sim_event sent = *event;
    sent.payload = ab_new_bytes(bytes);
    memcpy(sent.payload, payload, bytes);
    sim_world_post(world, after_us, &sent);
}

void sim_network_carry(
    struct sim_world *world, uint32_t from, const struct sim_event *event, const void *payload, size_t payload_bytes)
{
    const struct sim_config *config = &world->config;
    struct ab_random *random = &world->network_random;
    const struct link *link = &world->network->links[from][event->node];
    bool is_remote = from != event->node;
    if (is_remote && (link->cuts > 0 || (!world->is_healing && sim_chance(random, config->loss)))) {
        return;
    }
    int64_t stall_us = link->stalled_until_us > world->now_us ? link->stalled_until_us - world->now_us : 0;
    copy_post(world, event, payload, payload_bytes, is_remote ? stall_us + sim_delay(random, config->link_us) : 1);
    if (is_remote && !world->is_healing && sim_chance(random, config->replay)) {
        copy_post(world, event, payload, payload_bytes, stall_us + sim_delay(random, config->replay_us));
    }
}
