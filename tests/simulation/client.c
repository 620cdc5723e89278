#include "tests/simulation/client.h"

#include "tests/simulation/checker.h"
#include "tests/simulation/coordination.h"

#include "common/base/memory.h"

#include <inttypes.h>

#define PATIENCE_US AB_US_PER_SECOND
#define LAST_US AB_US_PER_SECOND

struct operation {
    bool is_open;
    struct sim_request request;
    bool is_waiting;  /* for the answer to its last attempt */
    bool has_unknown; /* some attempt may have been appended */
    int64_t until_us;
    uint64_t floor; /* READ: what it must have seen at least */
};

/* Client 0 asks for cuts, the others write and read. */
struct sim_client {
    uint32_t client;
    uint64_t sequences[SIM_PARTITIONS_MAX]; /* last begun */
    uint32_t leaders[SIM_PARTITIONS_MAX];   /* whom it believes to lead */
    struct operation writes[SIM_PARTITIONS_MAX][SIM_WINDOW_MAX];
    struct operation reads[SIM_PARTITIONS_MAX];
};

/* ---- life ---- */

void sim_clients_create(struct sim_world *world)
{
    world->clients = ab_new_array(struct sim_client, world->config.clients + 1);
    for (uint32_t c = 0; c <= world->config.clients; c++) {
        world->clients[c].client = c;
        struct sim_event event = {.kind = SIM_EVENT_CLIENT, .number = c};
        sim_world_post(world, sim_delay(&world->client_random, world->config.think_us), &event);
    }
}

void sim_clients_destroy(struct sim_world *world)
{
    ab_delete(world->clients);
}

size_t sim_clients_open(const struct sim_world *world)
{
    size_t open = 0;
    for (uint32_t c = 0; c <= world->config.clients; c++) {
        for (uint32_t p = 0; p < world->config.partitions; p++) {
            for (uint32_t w = 0; w < SIM_WINDOW_MAX; w++) {
                open += world->clients[c].writes[p][w].is_open;
            }
            open += world->clients[c].reads[p].is_open;
        }
    }
    return open;
}

/* ---- asking ---- */

static void leader_learn(struct sim_world *world, struct sim_client *client, uint32_t partition)
{
    uint32_t leader = world->coordination->states[partition].set.leader;
    bool is_guess = leader == AB_NODE_NONE || (!world->is_healing && sim_chance(&world->client_random, 0.1));
    client->leaders[partition] =
        is_guess ? 1 + (uint32_t)ab_random_below(&world->client_random, world->config.nodes) : leader;
}

static void attempt(struct sim_world *world, struct sim_client *client, struct operation *operation)
{
    uint32_t partition = operation->request.partition;
    if (client->leaders[partition] == AB_NODE_NONE) {
        leader_learn(world, client, partition);
    }
    operation->request.attempt = ++world->checker_attempts;
    sim_trace(world, "  client %u p%u asks node %u: kind %d sequence %" PRIu64 " block %" PRIu64, client->client,
        partition, client->leaders[partition], (int)operation->request.kind, operation->request.sequence,
        operation->request.payload);
    operation->is_waiting = true;
    operation->until_us = world->now_us + PATIENCE_US;
    if (operation->request.kind == SIM_READ_NEWEST) {
        operation->floor = sim_check_read_floor(world, partition);
    }
    if (!world->is_healing && sim_chance(&world->client_random, world->config.client_loss)) {
        return;
    }
    struct sim_request *request = ab_new(struct sim_request);
    *request = operation->request;
    struct sim_event event = {.kind = SIM_EVENT_REQUEST,
        .node = client->leaders[partition],
        .partition = partition,
        .number = request->attempt,
        .payload = request};
    sim_world_post(world, sim_delay(&world->client_random, world->config.client_us), &event);
}

static bool is_over(const struct sim_world *world)
{
    return world->now_us > world->config.safety_us + LAST_US;
}

/* A leader remembers a producer's last blocks, and no more: the oldest without an end holds back the next ones. */
static bool may_begin(const struct sim_client *client, uint32_t partition)
{
    for (uint32_t w = 0; w < SIM_WINDOW_MAX; w++) {
        const struct operation *other = &client->writes[partition][w];
        if (other->is_open && other->request.sequence + SIM_DEDUP_WINDOW <= client->sequences[partition] + 1) {
            return false;
        }
    }
    return true;
}

static void write_tend(struct sim_world *world, struct sim_client *client, uint32_t partition, uint32_t place)
{
    struct operation *operation = &client->writes[partition][place];
    if (!operation->is_open) {
        if (is_over(world) || !may_begin(client, partition) || sim_chance(&world->client_random, 0.3)) {
            return;
        }
        *operation = (struct operation){.is_open = true};
        operation->request = (struct sim_request){.kind = client->client == 0 ? SIM_ASK_CUT : SIM_WRITE,
            .client = client->client == 0 ? 0 : client->client - 1,
            .partition = partition,
            .sequence = ++client->sequences[partition],
            .payload = client->client == 0 ? 0 : sim_check_payload(world)};
        attempt(world, client, operation);
        return;
    }
    if (operation->is_waiting && world->now_us >= operation->until_us) {
        operation->has_unknown = true;
        operation->is_waiting = false;
        leader_learn(world, client, partition);
    }
    if (!operation->is_waiting) {
        attempt(world, client, operation);
    }
}

static void read_tend(struct sim_world *world, struct sim_client *client, uint32_t partition)
{
    struct operation *operation = &client->reads[partition];
    if (!operation->is_open) {
        if (is_over(world) || sim_chance(&world->client_random, 0.5)) {
            return;
        }
        *operation = (struct operation){.is_open = true};
        operation->request =
            (struct sim_request){.kind = SIM_READ_NEWEST, .client = client->client, .partition = partition};
        attempt(world, client, operation);
    } else if (!operation->is_waiting || world->now_us >= operation->until_us) {
        leader_learn(world, client, partition);
        attempt(world, client, operation);
    }
}

static void think(struct sim_world *world, struct sim_client *client)
{
    uint32_t window = client->client == 0 ? 1 : world->config.window;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        for (uint32_t w = 0; w < window; w++) {
            write_tend(world, client, p, w);
        }
        if (client->client != 0) {
            read_tend(world, client, p);
        }
    }
    struct sim_event event = {.kind = SIM_EVENT_CLIENT, .number = client->client};
    int64_t pause_us = client->client == 0 && !world->is_healing ? 8 * world->config.think_us : world->config.think_us;
    sim_world_post(world, sim_delay(&world->client_random, pause_us), &event);
}

/* ---- answers ---- */

void sim_client_reply(struct sim_world *world, const struct sim_reply *reply)
{
    if (!world->is_healing && sim_chance(&world->client_random, world->config.client_loss)) {
        return;
    }
    struct sim_reply *sent = ab_new(struct sim_reply);
    *sent = *reply;
    struct sim_event event = {.kind = SIM_EVENT_REPLY, .number = reply->request.attempt, .payload = sent};
    sim_world_post(world, sim_delay(&world->client_random, world->config.client_us), &event);
}

/* The oldest that has no end, of this client and partition. */
static bool is_oldest(const struct sim_client *client, const struct operation *operation)
{
    uint32_t partition = operation->request.partition;
    for (uint32_t w = 0; w < SIM_WINDOW_MAX; w++) {
        const struct operation *other = &client->writes[partition][w];
        if (other->is_open && other->request.sequence < operation->request.sequence) {
            return false;
        }
    }
    return true;
}

/* Nothing was appended, says the answer; when no attempt may have been, the block has failed for good, and its
 * sequence is used again for another one. */
static void write_refused(struct sim_world *world, struct sim_client *client, struct operation *operation)
{
    leader_learn(world, client, operation->request.partition);
    if (client->client != 0 && !operation->has_unknown && is_oldest(client, operation) &&
        sim_chance(&world->client_random, 0.3)) {
        sim_check_failed(world, operation->request.partition, operation->request.payload);
        operation->request.payload = sim_check_payload(world);
    }
}

static void on_write_reply(struct sim_world *world, struct sim_client *client, const struct sim_reply *reply)
{
    for (uint32_t w = 0; w < SIM_WINDOW_MAX; w++) {
        struct operation *operation = &client->writes[reply->request.partition][w];
        if (!operation->is_open || operation->request.sequence != reply->request.sequence ||
            operation->request.payload != reply->request.payload) {
            continue;
        }
        if (reply->answer == SIM_DONE) {
            sim_check_acknowledged(world, &reply->request, reply->offset);
            operation->is_open = false;
        } else if (operation->request.attempt == reply->request.attempt) {
            operation->is_waiting = false;
            operation->has_unknown = operation->has_unknown || reply->answer == SIM_UNKNOWN;
            if (reply->answer == SIM_REFUSED) {
                world->refused++;
                write_refused(world, client, operation);
            }
        }
    }
}

static void on_read_reply(struct sim_world *world, struct sim_client *client, const struct sim_reply *reply)
{
    struct operation *operation = &client->reads[reply->request.partition];
    if (!operation->is_open || operation->request.attempt != reply->request.attempt) {
        return;
    }
    operation->is_waiting = false;
    if (reply->answer == SIM_DONE) {
        sim_check_read(world, reply, operation->floor);
        operation->is_open = false;
    }
}

void sim_client_on_event(struct sim_world *world, const struct sim_event *event)
{
    if (event->kind == SIM_EVENT_CLIENT) {
        think(world, &world->clients[event->number]);
        return;
    }
    const struct sim_reply *reply = event->payload;
    sim_trace(world, "  client %u p%u hears: kind %d sequence %" PRIu64 " block %" PRIu64 " answer %d offset %" PRIu64,
        reply->request.client, reply->request.partition, (int)reply->request.kind, reply->request.sequence,
        reply->request.payload, (int)reply->answer, reply->offset);
    switch (reply->request.kind) {
    case SIM_WRITE:
        on_write_reply(world, &world->clients[reply->request.client + 1], reply);
        break;
    case SIM_ASK_CUT:
        on_write_reply(world, &world->clients[0], reply);
        break;
    case SIM_READ_NEWEST:
        on_read_reply(world, &world->clients[reply->request.client], reply);
        break;
    }
}
