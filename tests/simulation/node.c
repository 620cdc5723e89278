#include "tests/simulation/node.h"

#include "tests/simulation/batch.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/network.h"
#include "tests/simulation/serving.h"

#include "common/base/memory.h"

#include <inttypes.h>

#define TICK_US (50 * AB_US_PER_MS)
#define NOTICE_AGAIN_US (20 * AB_US_PER_MS)
#define ASK_AGAIN_US (400 * AB_US_PER_MS)

/* ---- life ---- */

void sim_nodes_create(struct sim_world *world)
{
    world->nodes = ab_new_array(struct sim_node, world->config.nodes + 1);
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        struct sim_node *node = &world->nodes[n];
        node->node = n;
        node->disk.disk_id = sim_id(world);
        for (uint32_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
            node->replicas[p] = (struct sim_replica){.node = n, .partition = p};
        }
        sim_node_start(world, n, sim_delay(&world->node_random, 50 * AB_US_PER_MS));
    }
}

void sim_nodes_destroy(struct sim_world *world)
{
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        for (uint32_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
            sim_replica_close(&world->nodes[n].replicas[p]);
        }
        sim_serving_destroy(world->nodes[n].serving);
        sim_disk_fini(&world->nodes[n].disk);
        sim_disk_fini(&world->nodes[n].image);
    }
    ab_delete(world->nodes);
}

int64_t sim_node_clock(const struct sim_world *world, uint32_t node)
{
    double rate = world->config.rates[node];
    return (int64_t)((double)world->now_us * rate) + (int64_t)node * 7777777;
}

bool sim_node_holds(const struct sim_world *world, uint32_t node, uint32_t partition)
{
    return partition < world->config.partitions &&
           ab_replica_nodes_has(&world->coordination->states[partition].set.replicas, node);
}

bool sim_node_is_listed(const struct sim_world *world, uint32_t node, uint32_t partition)
{
    return sim_node_holds(world, node, partition) ||
           (partition < world->config.partitions &&
               ab_replica_nodes_has(&world->coordination->states[partition].set.learners, node));
}

bool sim_node_defers(struct sim_world *world, struct sim_event *event)
{
    struct sim_node *node = &world->nodes[event->node];
    bool is_notice = event->kind == SIM_EVENT_WATCH || event->kind == SIM_EVENT_GONE;
    bool is_dead = event->process != 0 && event->process != node->process;
    bool is_idle = node->status == SIM_DOWN || node->status == SIM_STRANGER;
    if (is_dead || (is_idle && event->kind != SIM_EVENT_START)) {
        ab_delete(event->payload);
        return true;
    }
    if (is_notice && world->coordination->cuts[event->node] > 0) {
        struct sim_event later = *event; /* what was not delivered comes when the connection is back */
        sim_world_post(world, event->at_us - world->now_us + NOTICE_AGAIN_US, &later);
        return true;
    }
    if (event->at_us < node->paused_until_us) {
        struct sim_event later = *event;
        sim_world_post(world, node->paused_until_us - world->now_us, &later);
        return true;
    }
    return false;
}

static void event_post(struct sim_world *world, struct sim_node *node, enum sim_event_kind kind, int64_t after_us)
{
    struct sim_event event = {.kind = kind, .node = node->node, .process = node->process};
    sim_world_post(world, after_us, &event);
}

void sim_node_start(struct sim_world *world, uint32_t number, int64_t after_us)
{
    event_post(world, &world->nodes[number], SIM_EVENT_START, after_us);
}

/* What a crash leaves of a log: what was really synced, and some of the rest, from its beginning. */
static void log_crash(struct sim_world *world, struct sim_replica *replica, bool is_tail_lost)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    uint64_t synced = disk->really_durable;
    uint64_t tail = disk->log.end - synced;
    uint64_t kept = synced + (is_tail_lost || tail == 0 ? 0 : ab_random_below(&world->node_random, tail + 1));
    sim_log_truncate(&disk->log, kept > disk->log.start ? kept : disk->log.start);
    disk->log.durable = disk->log.end; /* the tail is written anew and synced before it counts (H8) */
    disk->really_durable = disk->log.end;
    if (replica->epoch_pending > disk->epoch && sim_chance(&world->node_random, 0.5)) {
        disk->epoch = replica->epoch_pending;
    }
}

void sim_node_kill(struct sim_world *world, uint32_t number, bool is_tail_lost, int64_t start_after_us)
{
    struct sim_node *node = &world->nodes[number];
    sim_trace(world, "node %u: process %u dies", number, node->process);
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        if (node->replicas[p].core != NULL) {
            log_crash(world, &node->replicas[p], is_tail_lost);
            sim_replica_close(&node->replicas[p]);
        }
    }
    sim_serving_destroy(node->serving);
    node->serving = NULL;
    node->status = SIM_DOWN;
    node->process++;
    node->paused_until_us = 0;
    node->has_sync_error = false;
    if (start_after_us >= 0) {
        sim_node_start(world, number, start_after_us);
    }
}

/* ---- coming up ---- */

static void ask(struct sim_world *world, struct sim_node *node, enum sim_operation_kind kind)
{
    struct sim_operation operation = {.kind = kind,
        .node = node->node,
        .process = node->process,
        .session = node->session,
        .asked_us = sim_node_clock(world, node->node),
        .incarnation = node->incarnation,
        .disk_id = node->disk.disk_id,
        .starts = node->disk.starts + (kind == SIM_ADMIT ? 1 : 0)};
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        operation.damaged |= node->disk.partitions[p].damaged_until > 0 ? 1u << p : 0;
    }
    node->ask_again_us = operation.asked_us + ASK_AGAIN_US;
    sim_coordination_submit(world, &operation);
}

/* A disk is asked for first and counts its start then: a start that is refused must not bring an old image closer to
 * the count that the service knows. */
static void start(struct sim_world *world, struct sim_node *node)
{
    if (node->status != SIM_DOWN) {
        return;
    }
    node->process++;
    node->incarnation = sim_id(world);
    node->status = SIM_ADMITTING;
    sim_trace(world, "node %u: process %u starts", node->node, node->process);
    ask(world, node, SIM_ADMIT);
    event_post(world, node, SIM_EVENT_TICK, TICK_US);
}

static void session_tell(struct sim_world *world, struct sim_node *node, enum ab_replica_session session)
{
    node->session_state = session;
    for (uint32_t p = 0; p < world->config.partitions && node->status == SIM_UP; p++) {
        if (node->replicas[p].core != NULL) {
            struct ab_replica_event event = {.kind = AB_REPLICA_SESSION_CHANGED,
                .session = session,
                .since_us = node->sign_us,
                .timeout_us = world->config.session_us};
            sim_replica_step(world, &node->replicas[p], &event);
        }
    }
}

/* What is not this node's any more goes when a process starts, never before: what this process had synced, and said so,
 * is there as long as it may be believed. */
static void partition_empty(struct sim_world *world, struct sim_node *node, uint32_t partition)
{
    struct sim_disk_partition *disk = &node->disk.partitions[partition];
    if (disk->log.end > 0) {
        sim_trace(world, "node %u p%u: is emptied", node->node, partition);
    }
    sim_log_fini(&disk->log);
    *disk = (struct sim_disk_partition){0};
}

static void registered(struct sim_world *world, struct sim_node *node, const struct sim_operation *operation)
{
    node->status = SIM_UP;
    node->session = operation->session;
    node->sign_us = operation->asked_us;
    node->serving = sim_serving_create();
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        if (sim_node_is_listed(world, node->node, p)) {
            sim_replica_open(world, &node->replicas[p]);
        } else {
            partition_empty(world, node, p);
        }
    }
    session_tell(world, node, AB_REPLICA_CONNECTED);
}

static void admitted(struct sim_world *world, struct sim_node *node, const struct sim_operation *operation)
{
    if (operation->is_refused) {
        bool is_other = operation->outcome == AB_REPLICA_NOT_APPLIED;
        sim_mark(world, is_other ? SIM_MARK_F17 : SIM_MARK_F16);
        sim_trace(world, "node %u: its disk is refused: %s", node->node, is_other ? "another one" : "an old image");
        node->status = SIM_STRANGER;
        if (sim_shell_mutant == SIM_MUTANT_REFUSED_START_COUNTS && !is_other) {
            node->disk.starts++;
            sim_node_kill(world, node->node, false, AB_US_PER_SECOND); /* its supervisor starts it again */
        }
        return;
    }
    node->status = SIM_REGISTERING;
    node->disk.starts++;
    ask(world, node, SIM_REGISTER);
}

/* ---- the session ---- */

/* The process ends: its session is gone, or it must behave as if. */
static void give_up(struct sim_world *world, struct sim_node *node)
{
    sim_node_kill(world, node->node, false, sim_delay(&world->node_random, 200 * AB_US_PER_MS));
}

static void on_result(struct sim_world *world, struct sim_node *node, const struct sim_operation *operation)
{
    if (operation->kind == SIM_ADMIT) {
        if (node->status == SIM_ADMITTING) {
            admitted(world, node, operation);
        }
        return;
    }
    if (operation->kind == SIM_REGISTER) {
        if (node->status == SIM_REGISTERING && operation->is_refused) {
            give_up(world, node); /* it was registered, and the session ended before the answer came */
        } else if (node->status == SIM_REGISTERING) {
            registered(world, node, operation);
        }
        return;
    }
    if (node->status != SIM_UP) {
        return;
    }
    if (operation->is_expired) {
        session_tell(world, node, AB_REPLICA_EXPIRED);
        if (node->status == SIM_UP) {
            give_up(world, node);
        }
        return;
    }
    if (operation->kind == SIM_PING) {
        if (operation->asked_us > node->sign_us) {
            node->sign_us = operation->asked_us;
            session_tell(world, node, AB_REPLICA_CONNECTED);
        }
        return;
    }
    if (operation->kind == SIM_READ_VIEWS) {
        sim_serving_on_views(world, node, operation);
        return;
    }
    struct sim_replica *replica = &node->replicas[operation->partition];
    if (replica->core != NULL) {
        sim_replica_on_result(world, replica, operation);
    }
}

/* A disk that hangs must not keep the session (H20). */
static bool disk_hangs(const struct sim_world *world, const struct sim_node *node)
{
    int64_t now = sim_node_clock(world, node->node);
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        const struct sim_replica *replica = &node->replicas[p];
        if (replica->is_syncing && now - replica->sync_began_us > world->config.session_us / 2) {
            return true;
        }
    }
    return false;
}

static void session_tick(struct sim_world *world, struct sim_node *node)
{
    int64_t now = sim_node_clock(world, node->node);
    int64_t timeout = world->config.session_us;
    bool is_hanging = disk_hangs(world, node);
    if (now >= node->ask_again_us && !is_hanging) {
        ask(world, node, SIM_PING);
        node->ask_again_us = now + timeout / 6;
    }
    if (node->session_state == AB_REPLICA_CONNECTED && now - node->sign_us > timeout / 2) {
        session_tell(world, node, AB_REPLICA_SUSPENDED);
    }
}

static void listed_open(struct sim_world *world, struct sim_node *node, struct sim_replica *replica)
{
    sim_replica_open(world, replica);
    struct ab_replica_event event = {.kind = AB_REPLICA_SESSION_CHANGED,
        .session = node->session_state,
        .since_us = node->sign_us,
        .timeout_us = world->config.session_us};
    sim_replica_step(world, replica, &event);
}

/* Opens replicas that the node is to have, and leaves those that it has not any more. */
static void listed_tend(struct sim_world *world, struct sim_node *node)
{
    uint32_t process = node->process;
    bool is_heard = node->status == SIM_UP && world->coordination->cuts[node->node] == 0 && !world->is_regressed;
    for (uint32_t p = 0; p < world->config.partitions && is_heard && node->process == process; p++) {
        struct sim_replica *replica = &node->replicas[p];
        bool is_listed = sim_node_is_listed(world, node->node, p);
        bool is_due = is_listed != (replica->core != NULL) && sim_chance(&world->node_random, 0.3);
        if (is_due && is_listed) {
            listed_open(world, node, replica);
        } else if (is_due) {
            sim_ingest_on_role(world, replica);
            sim_replica_close(replica);
        }
    }
}

static void tick(struct sim_world *world, struct sim_node *node)
{
    int64_t now = sim_node_clock(world, node->node);
    uint32_t process = node->process;
    event_post(world, node, SIM_EVENT_TICK, (int64_t)((double)TICK_US / world->config.rates[node->node]));
    if (node->status == SIM_ADMITTING || node->status == SIM_REGISTERING) {
        if (now >= node->ask_again_us) {
            ask(world, node, node->status == SIM_ADMITTING ? SIM_ADMIT : SIM_REGISTER);
        }
        return;
    }
    session_tick(world, node);
    listed_tend(world, node);
    for (uint32_t p = 0; p < world->config.partitions && node->process == process; p++) {
        if (node->replicas[p].core != NULL) {
            sim_replica_tick(world, &node->replicas[p]);
        }
    }
    if (node->process == process && world->config.has_batch) {
        sim_serving_tick(world, node);
    }
    if (node->process == process && now - node->sign_us >= world->config.session_us / 3 * 2) {
        sim_mark(world, disk_hangs(world, node) ? SIM_MARK_H20 : SIM_MARK_H51);
        if (sim_shell_mutant != SIM_MUTANT_NONE || ab_replication_mutant != AB_MUTANT_NO_STEP_DOWN) {
            give_up(world, node);
        }
    }
}

/* ---- dispatch ---- */

static void on_gone(struct sim_world *world, struct sim_node *node, const struct ab_replica_member *member)
{
    uint32_t process = node->process;
    for (uint32_t p = 0; p < world->config.partitions && node->process == process; p++) {
        if (node->replicas[p].core != NULL) {
            struct ab_replica_event event = {
                .kind = AB_REPLICA_NODE_GONE, .node = member->node, .incarnation = member->incarnation};
            sim_replica_step(world, &node->replicas[p], &event);
        }
    }
}

static void replica_dispatch(struct sim_world *world, struct sim_replica *replica, const struct sim_event *event)
{
    if (event->kind == SIM_EVENT_MESSAGE) {
        sim_replica_on_message(world, replica, event);
    } else if (event->kind == SIM_EVENT_SYNCED) {
        sim_replica_on_synced(world, replica, event);
    } else if (event->kind == SIM_EVENT_EPOCH_PERSISTED) {
        sim_replica_on_epoch_persisted(world, replica, event);
    } else if (event->kind == SIM_EVENT_INSTALL) {
        sim_install_on_event(world, replica, event);
    } else if (event->kind == SIM_EVENT_WATCH) {
        sim_replica_read(world, replica);
    } else if (event->kind == SIM_EVENT_REQUEST) {
        sim_ingest_on_request(world, replica, event->payload);
    }
}

void sim_node_on_event(struct sim_world *world, const struct sim_event *event)
{
    struct sim_node *node = &world->nodes[event->node];
    struct sim_replica *replica = &node->replicas[event->partition];
    switch (event->kind) {
    case SIM_EVENT_START:
        start(world, node);
        break;
    case SIM_EVENT_TICK:
        tick(world, node);
        break;
    case SIM_EVENT_RESULT:
        on_result(world, node, event->payload);
        break;
    case SIM_EVENT_GONE:
        on_gone(world, node, event->payload);
        break;
    case SIM_EVENT_QUESTION:
        sim_serving_on_question(world, node, event);
        break;
    case SIM_EVENT_STATE_QUERY:
        sim_serving_on_state_query(world, node, event);
        break;
    case SIM_EVENT_STATE_ANSWER:
        sim_serving_on_state_answer(world, node, event);
        break;
    case SIM_EVENT_SHIP:
        sim_batch_on_ship(world, node, event);
        break;
    case SIM_EVENT_RETIRE:
        sim_batch_on_retire(world, node, event);
        break;
    default:
        if (replica->core != NULL) {
            replica_dispatch(world, replica, event);
        }
        break;
    }
}
