#include "tests/simulation/client.h"

#include "tests/simulation/batch.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/coordination.h"

#include "common/base/memory.h"

#include <inttypes.h>
#include <string.h>

#define PATIENCE_US AB_US_PER_SECOND
#define LAST_US AB_US_PER_SECOND
#define INQUIRY_PATIENCE_US (2500 * AB_US_PER_MS)
#define CUT_PATIENCE_US (3 * AB_US_PER_SECOND)
#define ALL_VIEWS ((1u << SIM_VIEWS) - 1)

struct operation {
    bool is_open;
    struct sim_request request;
    bool is_waiting;  /* for the answer to its last attempt */
    bool has_unknown; /* some attempt may have been appended */
    int64_t until_us;
    uint64_t floor; /* READ: what it must have seen at least */
};

/* A question for a merged answer. */
struct inquiry {
    bool is_open;
    struct sim_question question;
    uint64_t floors[SIM_PARTITIONS_MAX]; /* what anybody had seen when it was asked */
    int64_t until_us;
    bool is_late; /* began after the last fault */
};

/* Client 0 asks for cuts, the others write and read. */
struct sim_client {
    uint32_t client;
    uint64_t sequences[SIM_PARTITIONS_MAX]; /* last begun */
    uint32_t leaders[SIM_PARTITIONS_MAX];   /* whom it believes to lead */
    struct operation writes[SIM_PARTITIONS_MAX][SIM_WINDOW_MAX];
    struct operation reads[SIM_PARTITIONS_MAX];
    struct inquiry inquiry;
    uint64_t seen[SIM_PARTITIONS_MAX]; /* what it has written or read: its token */
    uint32_t answered;                 /* views (bits) of which it has a whole answer since the last fault */
    struct sim_manifest manifest;      /* client 0: of the cut that is being taken; cut 0 = none is */
    int64_t cut_until_us;              /* then it is left out */
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
        bool is_inquiring = c > 0 && world->config.has_batch;
        open += is_inquiring && (world->clients[c].inquiry.is_open || world->clients[c].answered != ALL_VIEWS);
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

/* Asks again when there was no answer, or no good one. */
static void repeat_tend(struct sim_world *world, struct sim_client *client, struct operation *operation)
{
    if (operation->is_waiting && world->now_us >= operation->until_us) {
        operation->has_unknown = true;
        operation->is_waiting = false;
        leader_learn(world, client, operation->request.partition);
    }
    if (!operation->is_waiting) {
        attempt(world, client, operation);
    }
}

static void write_tend(struct sim_world *world, struct sim_client *client, uint32_t partition, uint32_t place)
{
    struct operation *operation = &client->writes[partition][place];
    if (!operation->is_open) {
        if (is_over(world) || !may_begin(client, partition) || sim_chance(&world->client_random, 0.3)) {
            return;
        }
        *operation = (struct operation){.is_open = true};
        operation->request = (struct sim_request){.kind = SIM_WRITE,
            .client = client->client - 1,
            .partition = partition,
            .sequence = ++client->sequences[partition],
            .payload = sim_check_payload(world)};
        attempt(world, client, operation);
        return;
    }
    repeat_tend(world, client, operation);
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

/* Has every leader cut; a cut that not all have after a while is left out: the next one holds its span, too (H36). */
static void cut_tend(struct sim_world *world, struct sim_client *client)
{
    bool is_overdue = world->config.has_batch && !world->is_healing && world->now_us >= client->cut_until_us;
    if (client->manifest.cut > 0 && is_overdue) {
        sim_mark(world, SIM_MARK_H36);
        client->manifest.cut = 0;
    }
    if (client->manifest.cut == 0 && !is_over(world)) {
        client->manifest = (struct sim_manifest){.cut = ++client->sequences[0]};
        client->cut_until_us = world->now_us + CUT_PATIENCE_US;
        for (uint32_t p = 0; p < world->config.partitions; p++) {
            client->writes[p][0] = (struct operation){.is_open = true};
            client->writes[p][0].request = (struct sim_request){.kind = SIM_ASK_CUT,
                .partition = p,
                .sequence = client->manifest.cut,
                .payload = sim_batch_last_cut(world)};
            attempt(world, client, &client->writes[p][0]);
        }
        return;
    }
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        if (client->writes[p][0].is_open) {
            repeat_tend(world, client, &client->writes[p][0]);
        }
    }
}

/* Asks some node for a view over everything, at least over what it has seen. */
static void inquiry_tend(struct sim_world *world, struct sim_client *client)
{
    struct inquiry *inquiry = &client->inquiry;
    if (inquiry->is_open && world->now_us < inquiry->until_us) {
        return;
    }
    if (!inquiry->is_open && ((is_over(world) && client->answered == ALL_VIEWS) ||
                                 (!world->is_healing && sim_chance(&world->client_random, 0.5)))) {
        return;
    }
    uint32_t view = (uint32_t)ab_random_below(&world->client_random, SIM_VIEWS);
    uint32_t node = 1 + (uint32_t)ab_random_below(&world->client_random, world->config.nodes);
    *inquiry =
        (struct inquiry){.is_open = true, .until_us = world->now_us + INQUIRY_PATIENCE_US, .is_late = is_over(world)};
    inquiry->question =
        (struct sim_question){.client = client->client, .view = view, .attempt = ++world->checker_attempts};
    memcpy(inquiry->question.offsets, client->seen, sizeof client->seen);
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        inquiry->floors[p] = sim_check_read_floor(world, p);
    }
    if (!world->is_healing && sim_chance(&world->client_random, world->config.client_loss)) {
        return;
    }
    struct sim_question *question = ab_new(struct sim_question);
    *question = inquiry->question;
    struct sim_event event = {
        .kind = SIM_EVENT_QUESTION, .node = node, .number = question->attempt, .payload = question};
    sim_world_post(world, sim_delay(&world->client_random, world->config.client_us), &event);
}

static void think(struct sim_world *world, struct sim_client *client)
{
    if (client->client == 0) {
        cut_tend(world, client);
    }
    for (uint32_t p = 0; p < world->config.partitions && client->client != 0; p++) {
        for (uint32_t w = 0; w < world->config.window; w++) {
            write_tend(world, client, p, w);
        }
        read_tend(world, client, p);
    }
    if (client->client != 0 && world->config.has_batch) {
        inquiry_tend(world, client);
    }
    struct sim_event event = {.kind = SIM_EVENT_CLIENT, .number = client->client};
    int64_t pause_us = client->client == 0 && !world->is_healing ? 4 * world->config.think_us : world->config.think_us;
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

static void seen(struct sim_client *client, uint32_t partition, uint64_t end)
{
    client->seen[partition] = end > client->seen[partition] ? end : client->seen[partition];
}

/* One partition has the cut; when all have, the manifest is written. */
static void cut_done(struct sim_world *world, struct sim_client *client, const struct sim_reply *reply)
{
    uint32_t partition = reply->request.partition;
    client->manifest.offsets[partition] = reply->offset + 1;
    client->manifest.chains[partition] = reply->chain;
    client->manifest.digests[partition] = reply->digest;
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        if (client->writes[p][0].is_open) {
            return;
        }
    }
    sim_batch_manifest_add(world, &client->manifest);
    client->manifest.cut = 0;
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
            seen(client, reply->request.partition, reply->offset + 1);
            if (client->client == 0) {
                cut_done(world, client, reply);
            }
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
        seen(client, reply->request.partition, reply->offset);
        operation->is_open = false;
    }
}

void sim_client_answer(struct sim_world *world, const struct sim_question_reply *reply)
{
    if (!world->is_healing && sim_chance(&world->client_random, world->config.client_loss)) {
        return;
    }
    struct sim_question_reply *sent = ab_new(struct sim_question_reply);
    *sent = *reply;
    struct sim_event event = {.kind = SIM_EVENT_ANSWER, .number = reply->question.attempt, .payload = sent};
    sim_world_post(world, sim_delay(&world->client_random, world->config.client_us), &event);
}

static void on_answer(struct sim_world *world, const struct sim_question_reply *reply)
{
    struct sim_client *client = &world->clients[reply->question.client];
    struct inquiry *inquiry = &client->inquiry;
    if (!inquiry->is_open || inquiry->question.attempt != reply->question.attempt) {
        return;
    }
    inquiry->is_open = false;
    sim_trace(world, "  client %u hears of view %u: answer %d over cut %" PRIu64, client->client, reply->question.view,
        (int)reply->answer, reply->cut);
    if (reply->answer != SIM_DONE) {
        return;
    }
    sim_check_answer(world, reply, inquiry->floors);
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        seen(client, p, reply->offsets[p]);
    }
    client->answered |= inquiry->is_late ? 1u << reply->question.view : 0;
}

void sim_client_on_event(struct sim_world *world, const struct sim_event *event)
{
    if (event->kind == SIM_EVENT_CLIENT) {
        think(world, &world->clients[event->number]);
        return;
    }
    if (event->kind == SIM_EVENT_ANSWER) {
        on_answer(world, event->payload);
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
