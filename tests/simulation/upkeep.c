/* What a replica does beside following: its state is flushed, spans that are published are dropped, the log is trimmed
 * behind them, and a state is copied from the leader where the log begins too late. */
#include "tests/simulation/checker.h"
#include "tests/simulation/network.h"
#include "tests/simulation/node.h"

#include "speed/span_window.h"

#include "common/base/memory.h"

#include <inttypes.h>

#define INSTALL_AGAIN_US (300 * AB_US_PER_MS)

/* ---- state ---- */

static void flush(struct sim_world *world, struct sim_replica *replica)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    if (replica->applied > disk->flushed.applied) {
        sim_state_make(&disk->flushed, &disk->log, replica->applied, &replica->speed);
    } else {
        disk->flushed.speed = replica->speed;
    }
}

/* ---- the log ---- */

/* What all replicas have, or what an installation can bring: where no batch job says what is sealed. */
static uint64_t trim_unpublished(struct sim_world *world, const struct sim_replica *replica)
{
    uint64_t offset = sim_replica_disk(world, replica)->flushed.applied;
    const struct ab_replica_nodes *holders = &world->coordination->states[replica->partition].set.replicas;
    for (uint32_t i = 0; i < holders->count && !world->config.is_trim_far; i++) {
        const struct sim_disk_partition *other = &world->nodes[holders->items[i]].disk.partitions[replica->partition];
        offset = other->flushed.applied < offset ? other->flushed.applied : offset;
        offset = other->log.durable < offset ? other->log.durable : offset;
    }
    return offset;
}

static void trim(struct sim_world *world, struct sim_replica *replica)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    uint64_t offset = world->config.has_batch ? ab_span_trim_limit(replica->trim_allowed, disk->flushed.applied,
                                                    sim_speed_start(&disk->flushed.speed))
                                              : trim_unpublished(world, replica);
    if (sim_shell_mutant == SIM_MUTANT_EARLY_TRIM) {
        offset = replica->applied;
    } else if (sim_shell_mutant == SIM_MUTANT_TRIM_UNPUBLISHED) {
        offset = disk->flushed.applied;
    }
    offset = offset < disk->log.durable ? offset : disk->log.durable;
    if (offset <= disk->log.start) {
        return;
    }
    sim_check_trim(world, replica, offset);
    sim_mark(world, SIM_MARK_H44);
    sim_trace(world, "node %u p%u: trims %" PRIu64 " -> %" PRIu64, replica->node, replica->partition, disk->log.start,
        offset);
    sim_log_trim(&disk->log, offset);
    struct ab_replica_event changed = {.kind = AB_REPLICA_LOG_CHANGED};
    sim_replica_step(world, replica, &changed);
}

void sim_upkeep_tick(struct sim_world *world, struct sim_replica *replica)
{
    if (sim_chance(&world->node_random, 0.03)) {
        flush(world, replica);
    }
    double chance = world->config.has_batch ? 0.3 : world->config.trim;
    if (sim_chance(&world->node_random, chance) && replica->role != AB_REPLICA_INSTALLING) {
        trim(world, replica);
    }
}

void sim_upkeep_retire(struct sim_world *world, struct sim_replica *replica, const struct sim_retirement *retirement)
{
    if (replica->role == AB_REPLICA_INSTALLING) {
        return;
    }
    if (sim_speed_retire(&replica->speed, retirement->cut)) {
        sim_check_retire(world, replica, retirement->cut);
        flush(world, replica);
    }
    if (retirement->has_offsets && retirement->offsets[replica->partition] > replica->trim_allowed) {
        replica->trim_allowed = retirement->offsets[replica->partition];
    }
}

/* ---- installation ---- */

static void install_post(struct sim_world *world, const struct sim_replica *replica, int64_t after_us)
{
    struct sim_event event = {.kind = SIM_EVENT_INSTALL,
        .node = replica->node,
        .process = world->nodes[replica->node].process,
        .partition = replica->partition,
        .number = replica->installation};
    sim_world_post(world, after_us, &event);
}

static void incoming_drop(struct sim_replica *replica)
{
    ab_delete(replica->incoming);
    replica->incoming = NULL;
}

void sim_install_begin(struct sim_world *world, struct sim_replica *replica, uint32_t from, uint64_t offset)
{
    replica->installation++;
    replica->install_from = from;
    replica->install_offset = offset;
    incoming_drop(replica);
    install_post(world, replica, sim_delay(&world->node_random, world->config.link_us));
}

/* The replica to copy from, when it can be reached now. */
static const struct sim_replica *install_source(const struct sim_world *world, const struct sim_replica *replica)
{
    uint32_t from = replica->install_from;
    bool is_there = from != AB_NODE_NONE && world->nodes[from].status == SIM_UP &&
                    world->nodes[from].paused_until_us <= world->now_us &&
                    !sim_network_is_cut(world, from, replica->node) && !sim_network_is_cut(world, replica->node, from);
    const struct sim_replica *source = is_there ? &world->nodes[from].replicas[replica->partition] : NULL;
    bool is_leader = source != NULL && source->core != NULL &&
                     (source->role == AB_REPLICA_LEADING || source->role == AB_REPLICA_STARTING);
    return is_leader ? source : NULL; /* one that starts, too: it may need this replica to commit anything */
}

/* What the leader offers: where its log begins, with the tables of everything that it has applied. What lies between is
 * not sealed yet: it has to be in the logs of all members, so it is fetched, never skipped. */
static bool offer_take(struct sim_world *world, struct sim_replica *replica, const struct sim_replica *source)
{
    const struct sim_log *log = &sim_replica_disk(world, source)->log;
    uint64_t offset = log->start;
    bool is_good = offset >= replica->install_offset;
    if (sim_shell_mutant == SIM_MUTANT_INSTALL_AT_APPLIED) {
        offset = source->applied;
    }
    if (!is_good) {
        return false;
    }
    struct sim_speed speed = {.retired = source->speed.retired};
    replica->incoming = ab_new(struct sim_state);
    sim_state_make(replica->incoming, log, offset, &speed);
    replica->incoming->speed.open.start = offset;
    if (sim_shell_mutant == SIM_MUTANT_INSTALL_AT_APPLIED) {
        replica->incoming->speed = source->speed;
    }
    replica->installed_until = source->applied;
    return true;
}

/* All or nothing, whenever the process dies: what is to be installed is stored first, and an opening finishes it. */
static void install_complete(struct sim_world *world, struct sim_replica *replica)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    bool is_crash = !world->is_healing && sim_chance(&world->node_random, world->config.crash_in_install);
    struct sim_state before = disk->flushed;
    disk->flushed = *replica->incoming;
    incoming_drop(replica);
    if (sim_shell_mutant == SIM_MUTANT_INSTALL_KEEPS_SPANS) {
        disk->flushed.speed = replica->speed;
    }
    sim_log_begin_at_state(disk);
    disk->log.installed_until = replica->installed_until;
    if (is_crash) {
        sim_mark(world, SIM_MARK_F39_CRASH);
        if (sim_shell_mutant == SIM_MUTANT_INSTALL_HALF) {
            disk->flushed = before;
        }
        bool is_behind = replica->installed_until > disk->damaged_until; /* its tables say so when it is opened */
        disk->damaged_until = is_behind ? replica->installed_until : disk->damaged_until;
        sim_node_kill(world, replica->node, false, sim_delay(&world->node_random, AB_US_PER_SECOND));
        return;
    }
    sim_check_install(world, replica);
    replica->applied = disk->flushed.applied;
    replica->fold = disk->flushed.fold;
    replica->speed = disk->flushed.speed;
    sim_ingest_rebuild(world, replica);
    replica->is_syncing = false;
    replica->sync_end = disk->log.end;
    uint32_t process = world->nodes[replica->node].process;
    struct ab_replica_event changed = {.kind = AB_REPLICA_LOG_CHANGED};
    sim_replica_step(world, replica, &changed);
    if (process == world->nodes[replica->node].process) {
        struct ab_replica_view view;
        ab_replica_look(replica->core, &view);
        disk->damaged_until = view.damaged_until; /* the service is told with the next sign of life */
    }
}

/* The leader's offer is copied, which takes a while; who leads by then may be another one. */
void sim_install_on_event(struct sim_world *world, struct sim_replica *replica, const struct sim_event *event)
{
    if (replica->role != AB_REPLICA_INSTALLING || event->number != replica->installation) {
        return;
    }
    const struct sim_replica *source = install_source(world, replica);
    if (source == NULL) {
        incoming_drop(replica); /* the copy breaks off, and is begun anew */
        install_post(world, replica, INSTALL_AGAIN_US);
        return;
    }
    if (replica->incoming == NULL) {
        bool is_taken = offer_take(world, replica, source);
        install_post(world, replica,
            is_taken ? sim_delay(&world->node_random, 4 * world->config.link_us + world->config.ship_us)
                     : INSTALL_AGAIN_US);
        return;
    }
    sim_mark(world, SIM_MARK_F39);
    sim_trace(world, "node %u p%u: installs %" PRIu64 " from node %u, with tables of %" PRIu64, replica->node,
        replica->partition, replica->incoming->applied, replica->install_from, replica->installed_until);
    install_complete(world, replica);
}
