#include "tests/simulation/faults.h"

#include "tests/simulation/batch.h"
#include "tests/simulation/network.h"
#include "tests/simulation/node.h"

#include "common/base/memory.h"

#include <inttypes.h>

#define FAULT_EVERY_US (1200 * AB_US_PER_MS)

const char *sim_fault_name(enum sim_fault_kind kind)
{
    static const char *const names[] = {
#define FAULT_NAME(name, text) #name,
        SIM_FAULT_KINDS(FAULT_NAME)
#undef FAULT_NAME
    };
    return names[kind];
}

/* ---- drawing ---- */

static int64_t lasts_us(struct ab_random *random, enum sim_fault_kind kind)
{
    bool is_short = kind == SIM_FAULT_CRASH && sim_chance(random, 0.7);
    return sim_delay(random, is_short ? 300 * AB_US_PER_MS : 3 * AB_US_PER_SECOND);
}

static bool is_rare(enum sim_fault_kind kind)
{
    return kind == SIM_FAULT_REGRESS || kind == SIM_FAULT_CRASH_ALL;
}

void sim_faults_draw(struct sim_world *world)
{
    struct ab_random random;
    ab_random_init(&random, world->config.seed * 8 + 6);
    bool is_on[SIM_FAULT_KINDS_COUNT];
    for (int kind = 0; kind < SIM_FAULT_KINDS_COUNT; kind++) {
        is_on[kind] = sim_chance(&random, 0.45);
    }
    is_on[SIM_FAULT_REGRESS] = sim_chance(&random, 0.02);
    double weight = 0.3 + 2 * ab_random_unit(&random);
    int64_t at = AB_US_PER_SECOND / 2;
    while (world->faults_count < SIM_FAULTS_MAX) {
        at += sim_delay(&random, (int64_t)((double)FAULT_EVERY_US / weight));
        if (at >= world->config.safety_us) {
            break;
        }
        enum sim_fault_kind kind = (enum sim_fault_kind)ab_random_below(&random, SIM_FAULT_KINDS_COUNT);
        struct sim_fault fault = {.kind = kind,
            .at_us = at,
            .lasts_us = lasts_us(&random, kind),
            .node = 1 + (uint32_t)ab_random_below(&random, world->config.nodes),
            .other = 1 + (uint32_t)ab_random_below(&random, world->config.nodes),
            .number = ab_random_u64(&random)};
        if (is_on[kind] && (!is_rare(kind) || sim_chance(&random, 0.4))) {
            world->faults[world->faults_count++] = fault;
        }
    }
}

void sim_faults_post(struct sim_world *world)
{
    for (size_t i = 0; i < world->faults_count; i++) {
        if (!world->faults[i].is_off) {
            struct sim_event event = {.kind = SIM_EVENT_FAULT, .number = i};
            sim_world_post(world, world->faults[i].at_us, &event);
        }
    }
}

/* ---- disks ---- */

/* True when every member of the lists but `node` is on the disk that the state names. */
static bool members_are_there(
    const struct sim_world *world, const struct ab_replica_set *set, uint32_t node, bool *is_spared)
{
    const struct ab_replica_members *const lists[] = {&set->isr, &set->elr};
    for (size_t l = 0; l < 2; l++) {
        for (uint32_t i = 0; i < lists[l]->count; i++) {
            const struct ab_replica_member *member = &lists[l]->items[i];
            if (member->node == node) {
                continue;
            }
            if (!ab_hash128_equal(member->disk_id, world->nodes[member->node].disk.disk_id)) {
                return false;
            }
            *is_spared = true;
        }
    }
    return true;
}

/* Every version that is kept is on some other disk, of a process that is or will be admitted. */
static bool versions_are_elsewhere(const struct sim_world *world, uint32_t node)
{
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        const struct sim_view_state *view = &world->coordination->views[v];
        for (uint32_t i = 0; i < view->published_count; i++) {
            bool is_there = false;
            for (uint32_t n = 1; n <= world->config.nodes; n++) {
                is_there =
                    is_there || (n != node && world->nodes[n].status != SIM_STRANGER &&
                                    sim_versions_find(&world->nodes[n].disk.versions, view->published[i]) != NULL);
            }
            if (!is_there) {
                return false;
            }
        }
    }
    return true;
}

/* One disk of a partition's in-sync set and ELR may be lost at a time, and only while another one is there: with a
 * minimum of two more is not promised (I1). */
static bool disk_may_go(const struct sim_world *world, uint32_t node)
{
    if (world->config.min_isr < 2 || world->nodes[node].status == SIM_STRANGER ||
        !versions_are_elsewhere(world, node)) {
        return false;
    }
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        for (uint32_t n = 1; n <= world->config.nodes; n++) {
            const struct sim_node *other = &world->nodes[n];
            bool is_old = other->disk.starts < world->coordination->registered[n].starts;
            bool is_lost = is_old || other->status == SIM_STRANGER || other->disk.partitions[p].damaged_until > 0;
            if (n != node && is_lost) {
                return false;
            }
        }
        bool is_spared = false;
        bool is_there = members_are_there(world, &world->coordination->states[p].set, node, &is_spared);
        if (sim_node_holds(world, node, p) && (!is_there || !is_spared)) {
            return false;
        }
    }
    return true;
}

static void disk_replace(struct sim_world *world, uint32_t node)
{
    struct sim_disk *disk = &world->nodes[node].disk;
    struct sim_disk before = *disk;
    sim_disk_fini(disk);
    disk->disk_id = sim_id(world);
    if (sim_shell_mutant == SIM_MUTANT_EMPTIED_DISK_KEEPS_ID && world->nodes[node].status != SIM_STRANGER) {
        disk->disk_id = before.disk_id;
        disk->starts = before.starts;
    }
}

static void disk_rot(struct sim_world *world, const struct sim_fault *fault)
{
    uint32_t partition = (uint32_t)(fault->number % world->config.partitions);
    struct sim_disk_partition *disk = &world->nodes[fault->node].disk.partitions[partition];
    struct sim_log *log = &disk->log;
    if (log->durable == log->start) {
        return;
    }
    uint64_t offset = log->durable - 1 - (fault->number >> 8) % (log->durable - log->start);
    disk->damaged_until = log->durable > disk->damaged_until ? log->durable : disk->damaged_until;
    if (sim_shell_mutant == SIM_MUTANT_DAMAGE_HIDDEN) {
        disk->damaged_until = 0;
    }
    sim_trace(world, "node %u p%u: record %" PRIu64 " of %" PRIu64 " rots", fault->node, partition, offset, log->end);
    sim_log_truncate(log, offset);
    disk->really_durable = offset;
}

/* A stranger is brought in by a person: empty, under a new id. */
static void readmit(struct sim_world *world, uint32_t number)
{
    struct sim_node *node = &world->nodes[number];
    if (node->status != SIM_STRANGER) {
        return;
    }
    sim_node_kill(world, number, false, -1);
    disk_replace(world, number);
    sim_coordination_readmit(world, number);
    sim_node_start(world, number, 1);
}

/* ---- links ---- */

static bool is_reached(const struct sim_fault *fault, uint32_t from, uint32_t to)
{
    switch (fault->kind) {
    case SIM_FAULT_ISOLATE:
        return from != fault->node && to != fault->node;
    case SIM_FAULT_ONE_WAY:
        return from != fault->node || to != fault->other;
    case SIM_FAULT_SPLIT:
        return (fault->number >> from & 1) == (fault->number >> to & 1);
    case SIM_FAULT_BRIDGE:
        return from == fault->node || to == fault->node || (fault->number >> from & 1) == (fault->number >> to & 1);
    default:
        return true;
    }
}

static void links_cut(struct sim_world *world, const struct sim_fault *fault, int by)
{
    for (uint32_t from = 1; from <= world->config.nodes; from++) {
        for (uint32_t to = 1; to <= world->config.nodes; to++) {
            if (from != to && !is_reached(fault, from, to)) {
                sim_network_cut(world, from, to, by);
            }
        }
    }
}

static void links_stall(struct sim_world *world, const struct sim_fault *fault)
{
    if (fault->kind == SIM_FAULT_CLOG) {
        sim_network_stall(world, fault->node, fault->other, world->now_us + fault->lasts_us);
        return;
    }
    struct ab_random random;
    ab_random_init(&random, fault->number);
    for (uint32_t from = 1; from <= world->config.nodes; from++) {
        for (uint32_t to = 1; to <= world->config.nodes; to++) {
            if (sim_chance(&random, 0.5)) {
                sim_network_stall(world, from, to, world->now_us + sim_delay(&random, fault->lasts_us));
            }
        }
    }
}

/* ---- beginning and end ---- */

static void end_later(struct sim_world *world, const struct sim_event *event, int64_t after_us)
{
    struct sim_event end = {.kind = SIM_EVENT_FAULT_END, .number = event->number};
    sim_world_post(world, after_us, &end);
}

static void disk_fault_begin(struct sim_world *world, const struct sim_fault *fault, const struct sim_event *event)
{
    struct sim_node *node = &world->nodes[fault->node];
    if (fault->kind == SIM_FAULT_OLD_IMAGE) {
        sim_node_kill(world, fault->node, false, 10 * AB_US_PER_MS);
        sim_disk_copy(&node->image, &node->disk);
        end_later(world, event, fault->lasts_us);
        return;
    }
    if (node->status == SIM_STRANGER || !disk_may_go(world, fault->node)) {
        return;
    }
    sim_node_kill(world, fault->node, false, fault->lasts_us / 4);
    if (fault->kind == SIM_FAULT_REPLACE_DISK) {
        disk_replace(world, fault->node);
        end_later(world, event, fault->lasts_us);
    } else {
        disk_rot(world, fault);
    }
}

static void node_fault_begin(struct sim_world *world, const struct sim_fault *fault, const struct sim_event *event)
{
    struct sim_node *node = &world->nodes[fault->node];
    switch (fault->kind) {
    case SIM_FAULT_CRASH:
        if (node->status != SIM_STRANGER) {
            sim_node_kill(world, fault->node, false, fault->lasts_us);
        }
        break;
    case SIM_FAULT_CRASH_ALL:
        for (uint32_t n = 1; n <= world->config.nodes; n++) {
            if (world->nodes[n].status != SIM_STRANGER) {
                sim_node_kill(world, n, false, sim_delay(&world->node_random, fault->lasts_us));
            }
        }
        break;
    case SIM_FAULT_PAUSE:
        node->paused_until_us = world->now_us + fault->lasts_us < world->config.safety_us
                                    ? world->now_us + fault->lasts_us
                                    : world->config.safety_us;
        break;
    case SIM_FAULT_FSYNC_ERROR:
        node->has_sync_error = true;
        break;
    case SIM_FAULT_SLOW_DISK:
        node->slow_until_us = world->now_us + fault->lasts_us;
        break;
    default:
        disk_fault_begin(world, fault, event);
        break;
    }
}

static void regress(struct sim_world *world, const struct sim_fault *fault)
{
    struct sim_coordination *coordination = world->coordination;
    if (world->is_regressed || world->config.is_lying ||
        !sim_coordination_regress(world, (uint32_t)(fault->number % world->config.partitions))) {
        return;
    }
    world->is_regressed = true;
    sim_trace(world, "service: goes back to an earlier state");
    while (coordination->sessions_count > 0) {
        sim_coordination_expire(world, coordination->sessions[0].id);
    }
    world->is_healing = true;
    sim_faults_heal(world);
    world->config.safety_us = world->now_us;
}

static void service_fault_begin(struct sim_world *world, const struct sim_fault *fault, const struct sim_event *event)
{
    struct sim_coordination *coordination = world->coordination;
    switch (fault->kind) {
    case SIM_FAULT_COORDINATION_CUT:
        coordination->cuts[fault->node]++;
        end_later(world, event, fault->lasts_us);
        break;
    case SIM_FAULT_EXPIRE:
        if (coordination->sessions_count > 0) {
            const struct sim_session *session = &coordination->sessions[fault->number % coordination->sessions_count];
            world->no_lease_until_us = world->now_us + 2 * world->config.session_us;
            if (fault->node == session->node) { /* and it does not hear of it */
                coordination->cuts[fault->node]++;
                end_later(world, event, fault->lasts_us);
            }
            sim_coordination_expire(world, session->id);
        }
        break;
    case SIM_FAULT_HOLD:
        coordination->held_until_us = world->now_us + fault->lasts_us;
        break;
    case SIM_FAULT_CONTROLLER:
        sim_controller_take_over(world);
        break;
    case SIM_FAULT_CONTROLLER_STALLS:
        coordination->stalled_until_us = world->now_us + fault->lasts_us;
        break;
    case SIM_FAULT_REASSIGN:
        sim_controller_reassign(world, fault->number);
        break;
    case SIM_FAULT_KILL_JOBS:
        sim_batch_kill(world);
        break;
    case SIM_FAULT_ROLLBACK:
        sim_batch_rollback(world, (uint32_t)(fault->number % SIM_VIEWS));
        break;
    case SIM_FAULT_REGRESS:
        regress(world, fault);
        break;
    default:
        break;
    }
}

static void fault_begin(struct sim_world *world, const struct sim_fault *fault, const struct sim_event *event)
{
    sim_trace(world, "fault %" PRIu64 " %s node %u other %u for %.3f s", event->number, sim_fault_name(fault->kind),
        fault->node, fault->other, (double)fault->lasts_us / 1e6);
    switch (fault->kind) {
    case SIM_FAULT_ISOLATE:
    case SIM_FAULT_ONE_WAY:
    case SIM_FAULT_SPLIT:
    case SIM_FAULT_BRIDGE:
        links_cut(world, fault, 1);
        end_later(world, event, fault->lasts_us);
        break;
    case SIM_FAULT_CLOG:
    case SIM_FAULT_SWIZZLE:
        links_stall(world, fault);
        break;
    case SIM_FAULT_COORDINATION_CUT:
    case SIM_FAULT_EXPIRE:
    case SIM_FAULT_HOLD:
    case SIM_FAULT_CONTROLLER:
    case SIM_FAULT_CONTROLLER_STALLS:
    case SIM_FAULT_REASSIGN:
    case SIM_FAULT_KILL_JOBS:
    case SIM_FAULT_ROLLBACK:
    case SIM_FAULT_REGRESS:
        service_fault_begin(world, fault, event);
        break;
    default:
        node_fault_begin(world, fault, event);
        break;
    }
}

static void fault_end(struct sim_world *world, const struct sim_fault *fault)
{
    struct sim_node *node = &world->nodes[fault->node];
    switch (fault->kind) {
    case SIM_FAULT_ISOLATE:
    case SIM_FAULT_ONE_WAY:
    case SIM_FAULT_SPLIT:
    case SIM_FAULT_BRIDGE:
        links_cut(world, fault, -1);
        break;
    case SIM_FAULT_COORDINATION_CUT:
    case SIM_FAULT_EXPIRE:
        world->coordination->cuts[fault->node]--;
        break;
    case SIM_FAULT_REPLACE_DISK:
        readmit(world, fault->node);
        break;
    case SIM_FAULT_OLD_IMAGE:
        if (node->image.starts < node->disk.starts && disk_may_go(world, fault->node) &&
            ab_hash128_equal(node->image.disk_id, node->disk.disk_id)) {
            sim_trace(world, "node %u: an image of start %" PRIu64 " is put back, after start %" PRIu64, fault->node,
                node->image.starts, node->disk.starts);
            sim_node_kill(world, fault->node, false, fault->lasts_us / 4);
            sim_disk_copy(&node->disk, &node->image);
        }
        break;
    default:
        break;
    }
}

void sim_fault_on_event(struct sim_world *world, const struct sim_event *event)
{
    const struct sim_fault *fault = &world->faults[event->number];
    if (world->is_healing) {
        return;
    }
    if (event->kind == SIM_EVENT_FAULT) {
        fault_begin(world, fault, event);
    } else {
        fault_end(world, fault);
    }
}

void sim_faults_heal(struct sim_world *world)
{
    struct sim_coordination *coordination = world->coordination;
    sim_network_heal(world);
    coordination->held_until_us = coordination->stalled_until_us = 0;
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        struct sim_node *node = &world->nodes[n];
        coordination->cuts[n] = 0;
        node->paused_until_us = node->slow_until_us = 0;
        node->has_sync_error = false;
        if (node->status == SIM_DOWN) {
            sim_node_start(world, n, 1);
        }
        if (node->status == SIM_STRANGER) {
            readmit(world, n);
        }
    }
}

void sim_faults_tend(struct sim_world *world)
{
    for (uint32_t n = 1; n <= world->config.nodes; n++) {
        readmit(world, n);
    }
}
