/* The shell of a replica: does what the core asks for, on a modelled disk and network. */
#include "tests/simulation/checker.h"
#include "tests/simulation/network.h"
#include "tests/simulation/node.h"

#include "common/base/assert.h"
#include "common/base/memory.h"

#include <inttypes.h>
#include <string.h>

#define FOLLOW_UPS_MAX 64u
#define READ_AGAIN_US (500 * AB_US_PER_MS)
#define PROPOSAL_PATIENCE_US (1200 * AB_US_PER_MS)
#define SLOW_FACTOR 60

struct sim_disk_partition *sim_replica_disk(struct sim_world *world, const struct sim_replica *replica)
{
    return &world->nodes[replica->node].disk.partitions[replica->partition];
}

static int64_t clock_of(const struct sim_world *world, const struct sim_replica *replica)
{
    return sim_node_clock(world, replica->node);
}

static void event_post(struct sim_world *world, const struct sim_replica *replica, enum sim_event_kind kind,
    uint64_t number, int64_t after_us)
{
    struct sim_event event = {.kind = kind,
        .node = replica->node,
        .process = world->nodes[replica->node].process,
        .partition = replica->partition,
        .number = number};
    sim_world_post(world, after_us, &event);
}

static int64_t disk_us(struct sim_world *world, const struct sim_replica *replica)
{
    bool is_slow = world->now_us < world->nodes[replica->node].slow_until_us;
    return sim_delay(&world->node_random, world->config.sync_us * (is_slow ? SLOW_FACTOR : 1));
}

/* ---- life ---- */

void sim_replica_open(struct sim_world *world, struct sim_replica *replica)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    const struct sim_node *node = &world->nodes[replica->node];
    *replica = (struct sim_replica){.node = replica->node,
        .partition = replica->partition,
        .committed = disk->flushed.applied,
        .applied = disk->flushed.applied,
        .fold = disk->flushed.fold,
        .speed = disk->flushed.speed};
    sim_ingest_rebuild(world, replica);
    if (disk->flushed.applied > disk->log.end) {
        sim_mark(world, SIM_MARK_H18);
    }
    struct ab_replica_options options = {.partition = replica->partition,
        .node = replica->node,
        .incarnation = node->incarnation,
        .disk_id = node->disk.disk_id,
        .persisted_epoch = disk->epoch,
        .committed = disk->flushed.applied,
        .damaged_until = disk->damaged_until,
        .fetch_wait_us = world->config.patience_us / 3,
        .answer_patience_us = world->config.patience_us,
        .lag_us_max = world->config.lag_us,
        .fetch_bytes_max = 8 * sizeof(struct sim_record)};
    replica->core = ab_replica_create(&options);
    replica->last_epoch = disk->epoch;
    sim_check_open(world, replica);
}

void sim_replica_close(struct sim_replica *replica)
{
    ab_replica_destroy(replica->core);
    ab_dedup_destroy(replica->blocks);
    ab_delete(replica->incoming);
    *replica = (struct sim_replica){.node = replica->node, .partition = replica->partition};
}

/* ---- the log ---- */

void sim_replica_sync(struct sim_world *world, struct sim_replica *replica)
{
    const struct sim_log *log = &sim_replica_disk(world, replica)->log;
    if (replica->is_syncing || log->durable >= log->end) {
        return;
    }
    replica->is_syncing = true;
    replica->sync_end = log->end;
    replica->sync_began_us = clock_of(world, replica);
    event_post(world, replica, SIM_EVENT_SYNCED, log->end, disk_us(world, replica));
}

void sim_replica_on_synced(struct sim_world *world, struct sim_replica *replica, const struct sim_event *event)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    struct sim_node *node = &world->nodes[event->node];
    bool is_failed = node->has_sync_error;
    node->has_sync_error = false;
    if (is_failed && sim_shell_mutant != SIM_MUTANT_SYNC_ERROR_IGNORED) {
        sim_mark(world, SIM_MARK_H8);
        sim_node_kill(world, replica->node, true, sim_delay(&world->node_random, AB_US_PER_SECOND));
        return;
    }
    replica->is_syncing = false;
    if (replica->sync_end > disk->log.durable) {
        disk->log.durable = replica->sync_end;
    }
    bool is_lie = is_failed || (world->config.is_lying && sim_chance(&world->node_random, 0.3));
    if (!is_lie && disk->really_durable < disk->log.durable) {
        disk->really_durable = disk->log.durable;
    }
    sim_replica_sync(world, replica);
    struct ab_replica_event changed = {.kind = AB_REPLICA_LOG_CHANGED};
    sim_replica_step(world, replica, &changed);
}

static void log_truncate(struct sim_world *world, struct sim_replica *replica, uint64_t offset)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    sim_trace(world, "node %u p%u: truncates %" PRIu64 " -> %" PRIu64 " (committed %" PRIu64 ")", replica->node,
        replica->partition, disk->log.end, offset, replica->committed);
    sim_check_truncation(world, replica, offset);
    replica->truncations++;
    if (replica->truncations > 1) {
        sim_mark(world, SIM_MARK_H4);
    }
    if (offset < disk->log.start || offset > disk->log.end) {
        sim_violate(world, "node %u p%u: told to truncate to %" PRIu64 ", the log is [%" PRIu64 ", %" PRIu64 ")",
            replica->node, replica->partition, offset, disk->log.start, disk->log.end);
        return;
    }
    sim_log_truncate(&disk->log, offset);
    disk->really_durable = disk->really_durable < offset ? disk->really_durable : offset;
    replica->sync_end = replica->sync_end < offset ? replica->sync_end : offset;
    if (sim_shell_mutant != SIM_MUTANT_DEDUP_NOT_ROLLED_BACK) {
        sim_ingest_rebuild(world, replica);
    }
    replica->is_log_changed = true;
    sim_check_members(world, replica->partition, "a truncation");
}

static void log_copy(struct sim_world *world, struct sim_replica *replica, const struct ab_replica_message *message)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    const struct sim_record *records = (const struct sim_record *)(const void *)message->records.data;
    size_t count = message->records.bytes / sizeof *records;
    replica->is_copy_refused = true;
    for (size_t i = 0; i < count && !replica->is_packet_damaged; i++) {
        if (!sim_log_append_copy(&disk->log, &records[i])) {
            break;
        }
        sim_ingest_note(replica, &records[i]);
        replica->is_log_changed = true;
        replica->is_copy_refused = false;
    }
    sim_replica_sync(world, replica);
}

static void epoch_start(struct sim_world *world, struct sim_replica *replica, uint64_t epoch)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    sim_log_append(&disk->log, (struct sim_record){.kind = SIM_EPOCH_START, .epoch = epoch});
    replica->is_log_changed = true;
    sim_replica_sync(world, replica);
}

/* Everything below `offset` is committed: fold it. */
static void commit(struct sim_world *world, struct sim_replica *replica, uint64_t offset)
{
    const struct sim_log *log = &sim_replica_disk(world, replica)->log;
    sim_check_commit(world, replica, offset);
    if (sim_is_violated(world)) {
        return;
    }
    replica->committed = offset;
    for (; replica->applied < offset; replica->applied++) {
        replica->fold = sim_fold(replica->fold, sim_log_at(log, replica->applied));
        sim_speed_apply(&replica->speed, sim_log_at(log, replica->applied));
        if (!world->config.has_batch) {
            (void)sim_speed_retire(&replica->speed, replica->speed.last_cut); /* nobody asks for them */
        }
    }
    sim_check_fold(world, replica);
    sim_ingest_on_commit(world, replica);
}

/* ---- actions ---- */

static void answer_fetch(struct sim_world *world, struct sim_replica *replica, const struct ab_replica_message *message)
{
    const struct sim_log *log = &sim_replica_disk(world, replica)->log;
    if (message->offset < log->start || message->offset > log->end) {
        return; /* trimmed or truncated since it was parked; the follower asks again */
    }
    size_t count = (size_t)(log->end - message->offset);
    size_t count_max = message->bytes_max / sizeof(struct sim_record);
    count = count < count_max || count_max == 0 ? count : count_max;
    const struct sim_record *records = count > 0 ? sim_log_at(log, message->offset) : NULL;
    sim_network_send(world, message, records, count);
}

static void propose(struct sim_world *world, struct sim_replica *replica, const struct ab_replica_action *action)
{
    struct sim_pending_proposal *pending = NULL;
    for (size_t i = 0; i < SIM_PROPOSALS_MAX && pending == NULL; i++) {
        pending = replica->proposals[i].is_open ? NULL : &replica->proposals[i];
    }
    if (pending == NULL) {
        sim_violate(world, "S13: node %u p%u proposes more than it may", replica->node, replica->partition);
        return;
    }
    *pending = (struct sim_pending_proposal){
        .is_open = true, .token = action->state.token, .until_us = clock_of(world, replica) + PROPOSAL_PATIENCE_US};
    struct sim_operation operation = {.kind = SIM_PROPOSE,
        .node = replica->node,
        .process = world->nodes[replica->node].process,
        .session = world->nodes[replica->node].session,
        .partition = replica->partition,
        .asked_us = clock_of(world, replica),
        .set = action->state,
        .version = action->version,
        .joining = action->node};
    sim_coordination_submit(world, &operation);
}

static void state_ask(struct sim_world *world, struct sim_replica *replica)
{
    replica->read_until_us = clock_of(world, replica) + READ_AGAIN_US;
    struct sim_operation operation = {.kind = SIM_READ,
        .node = replica->node,
        .process = world->nodes[replica->node].process,
        .session = world->nodes[replica->node].session,
        .partition = replica->partition,
        .asked_us = clock_of(world, replica),
        .epoch = replica->is_read_synced ? replica->read_epoch : 0,
        .is_synced = replica->is_read_synced};
    sim_coordination_submit(world, &operation);
}

static void state_ask_synced(struct sim_world *world, struct sim_replica *replica, uint64_t epoch)
{
    replica->is_read_wanted = replica->is_read_synced = true;
    replica->read_wanted_us = clock_of(world, replica);
    replica->read_epoch = epoch;
    state_ask(world, replica);
}

void sim_replica_read(struct sim_world *world, struct sim_replica *replica)
{
    replica->is_read_wanted = true; /* the watch is gone: a read that is on its way may have come too early */
    replica->read_wanted_us = clock_of(world, replica);
    state_ask(world, replica);
}

static void change_role(struct sim_world *world, struct sim_replica *replica, enum ab_replica_role role)
{
    struct ab_replica_view view;
    ab_replica_look(replica->core, &view);
    sim_trace(world, "node %u p%u: %s -> %s, epoch %" PRIu64, replica->node, replica->partition,
        ab_replica_role_name(replica->role), ab_replica_role_name(role), view.epoch);
    if (role == AB_REPLICA_TRUNCATING) {
        replica->truncations = 0;
    }
    if (role == AB_REPLICA_FOLLOWING && sim_replica_disk(world, replica)->log.end > view.high_watermark) {
        sim_mark(world, SIM_MARK_H3);
    }
    replica->role = role;
    if (role == AB_REPLICA_STARTING || role == AB_REPLICA_LEADING) {
        sim_check_leader(world, replica, view.epoch);
    } else {
        sim_ingest_on_role(world, replica);
        memset(replica->proposals, 0, sizeof replica->proposals); /* their ends are of no interest any more */
    }
}

static void act(struct sim_world *world, struct sim_replica *replica, const struct ab_replica_action *action)
{
    switch (action->kind) {
    case AB_REPLICA_DO_PERSIST_EPOCH:
        replica->epoch_pending = action->epoch;
        event_post(world, replica, SIM_EVENT_EPOCH_PERSISTED, action->epoch, disk_us(world, replica));
        break;
    case AB_REPLICA_DO_TRUNCATE:
        log_truncate(world, replica, action->offset);
        break;
    case AB_REPLICA_DO_COPY:
        log_copy(world, replica, &action->message);
        break;
    case AB_REPLICA_DO_START_EPOCH:
        epoch_start(world, replica, action->epoch);
        break;
    case AB_REPLICA_DO_INSTALL:
        sim_install_begin(world, replica, action->node, action->offset);
        break;
    case AB_REPLICA_DO_SEND:
        if (action->message.status == AB_REPLICA_FENCED) {
            sim_mark(world, SIM_MARK_H5);
        }
        sim_network_send(world, &action->message, NULL, 0);
        break;
    case AB_REPLICA_DO_ANSWER_FETCH:
        answer_fetch(world, replica, &action->message);
        break;
    case AB_REPLICA_DO_COMMIT:
        commit(world, replica, action->offset);
        break;
    case AB_REPLICA_DO_PROPOSE:
        propose(world, replica, action);
        break;
    case AB_REPLICA_DO_READ_STATE:
        state_ask_synced(world, replica, action->epoch);
        break;
    case AB_REPLICA_DO_CHANGE_ROLE:
        change_role(world, replica, action->role);
        break;
    case AB_REPLICA_DO_FAIL:
        sim_trace(world, "node %u p%u: FAILS: %s", replica->node, replica->partition, action->reason);
        sim_check_failure(world, replica, action->reason);
        break;
    }
}

static bool step_once(struct sim_world *world, struct sim_replica *replica, struct ab_replica_event *event)
{
    struct ab_replica_log log = sim_log_view(&sim_replica_disk(world, replica)->log);
    event->now_us = clock_of(world, replica);
    event->log = &log;
    event->fresh_token = sim_id(world);
    replica->is_log_changed = false;
    replica->is_copy_refused = false;
    ab_replica_step(replica->core, event, &world->actions);
    world->hash = sim_mix(world->hash, world->actions.count);
    for (size_t i = 0; i < world->actions.count && !sim_is_violated(world); i++) {
        if (!world->is_healing && sim_chance(&world->node_random, world->config.crash_in_step)) {
            sim_node_kill(world, replica->node, false, sim_delay(&world->node_random, AB_US_PER_SECOND));
            return false;
        }
        const struct ab_replica_action *action = &world->actions.list[i];
        world->hash = sim_mix(world->hash, (uint64_t)action->kind << 48 ^ action->offset << 8 ^ action->epoch);
        act(world, replica, action);
    }
    sim_check_step(world, replica);
    return !sim_is_violated(world);
}

void sim_replica_step(struct sim_world *world, struct sim_replica *replica, struct ab_replica_event *event)
{
    struct ab_replica_event next = *event;
    for (uint32_t i = 0; i < FOLLOW_UPS_MAX; i++) {
        if (!step_once(world, replica, &next) || (!replica->is_log_changed && !replica->is_copy_refused)) {
            return;
        }
        next = (struct ab_replica_event){
            .kind = replica->is_log_changed ? AB_REPLICA_LOG_CHANGED : AB_REPLICA_COPY_REFUSED};
    }
    sim_violate(world, "node %u p%u: steps without end", replica->node, replica->partition);
}

/* ---- events ---- */

void sim_replica_on_message(struct sim_world *world, struct sim_replica *replica, const struct sim_event *event)
{
    const struct sim_packet *packet = event->payload;
    const struct ab_replica_message *message = &packet->message;
    const struct sim_log *log = &sim_replica_disk(world, replica)->log;
    struct ab_replica_event stepped = {.kind = AB_REPLICA_MESSAGE, .message = message};
    if (message->kind == AB_REPLICA_FETCH && message->offset >= log->start && message->offset <= log->end) {
        bool is_same = ab_hash128_equal(sim_log_chain_before(log, message->offset), message->chain);
        stepped.check = is_same ? AB_REPLICA_SAME : AB_REPLICA_OTHER;
    }
    sim_trace(world,
        "  node %u p%u <- node %u: kind %d status %d request %" PRIu64 " epoch %" PRIu64 " offset %" PRIu64
        " durable %" PRIu64 " mark %" PRIu64 " bytes %zu (log [%" PRIu64 ", %" PRIu64 ") synced %" PRIu64 ")",
        replica->node, replica->partition, message->from, (int)message->kind, (int)message->status, message->request,
        message->leader_epoch, message->offset, message->durable, message->high_watermark, message->records.bytes,
        log->start, log->end, log->durable);
    struct ab_replica_view before;
    ab_replica_look(replica->core, &before);
    replica->is_packet_damaged = packet->is_damaged;
    uint32_t process = world->nodes[replica->node].process;
    sim_replica_step(world, replica, &stepped);
    if (process != world->nodes[replica->node].process) {
        return;
    }
    struct ab_replica_view after;
    ab_replica_look(replica->core, &after);
    bool is_answer = message->kind == AB_REPLICA_EPOCH_ANSWER || message->kind == AB_REPLICA_FETCHED;
    if (is_answer && after.fenced_count > before.fenced_count) {
        sim_mark(world, SIM_MARK_H14);
    }
}

void sim_replica_on_epoch_persisted(struct sim_world *world, struct sim_replica *replica, const struct sim_event *event)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    disk->epoch = event->number > disk->epoch ? event->number : disk->epoch;
    struct ab_replica_event persisted = {.kind = AB_REPLICA_EPOCH_PERSISTED, .epoch = event->number};
    sim_replica_step(world, replica, &persisted);
}

static void proposal_end(struct sim_world *world, struct sim_replica *replica, struct ab_hash128 token,
    enum ab_replica_outcome outcome, uint64_t version)
{
    for (size_t i = 0; i < SIM_PROPOSALS_MAX; i++) {
        struct sim_pending_proposal *pending = &replica->proposals[i];
        if (pending->is_open && ab_hash128_equal(pending->token, token)) {
            pending->is_open = false;
            struct ab_replica_event ended = {
                .kind = AB_REPLICA_PROPOSAL_ENDED, .token = token, .outcome = outcome, .version = version};
            sim_replica_step(world, replica, &ended);
            return;
        }
    }
}

/* The leader took it in: it holds everything committed. */
static void whole(struct sim_world *world, struct sim_replica *replica, const struct ab_replica_set *set)
{
    struct sim_disk_partition *disk = sim_replica_disk(world, replica);
    uint32_t place = ab_replica_members_find(&set->isr, replica->node);
    if (disk->damaged_until > 0 && place != UINT32_MAX && set->leader != replica->node &&
        ab_hash128_equal(set->isr.items[place].incarnation, world->nodes[replica->node].incarnation)) {
        sim_mark(world, SIM_MARK_H9);
        disk->damaged_until = 0;
    }
}

void sim_replica_on_result(struct sim_world *world, struct sim_replica *replica, const struct sim_operation *operation)
{
    if (operation->kind == SIM_PROPOSE) {
        proposal_end(world, replica, operation->set.token, operation->outcome, operation->version);
        return;
    }
    if (operation->kind != SIM_READ) {
        return;
    }
    struct ab_replica_view view;
    ab_replica_look(replica->core, &view);
    if (operation->version < view.state_version) {
        sim_mark(world, SIM_MARK_H53);
    }
    if (ab_hash128_equal(operation->set.token, replica->unknown_token) && replica->unknown_token.low != 0) {
        sim_mark(world, SIM_MARK_H52);
        replica->unknown_token = (struct ab_hash128){0};
    }
    if (operation->asked_us >= replica->read_wanted_us && (operation->is_synced || !replica->is_read_synced)) {
        replica->is_read_wanted = replica->is_read_synced = false;
    }
    whole(world, replica, &operation->set);
    uint32_t process = world->nodes[replica->node].process;
    struct ab_replica_event read = {.kind = AB_REPLICA_STATE_READ,
        .state = &operation->set,
        .version = operation->version,
        .is_synced = operation->is_synced,
        .epoch = operation->epoch};
    sim_replica_step(world, replica, &read);
    for (uint32_t i = 0; i < operation->gone.count && process == world->nodes[replica->node].process; i++) {
        struct ab_replica_event gone = {.kind = AB_REPLICA_NODE_GONE,
            .node = operation->gone.items[i].node,
            .incarnation = operation->gone.items[i].incarnation};
        sim_replica_step(world, replica, &gone);
    }
}

/* ---- time ---- */

static void proposals_tick(struct sim_world *world, struct sim_replica *replica)
{
    uint32_t process = world->nodes[replica->node].process;
    for (size_t i = 0; i < SIM_PROPOSALS_MAX && process == world->nodes[replica->node].process; i++) {
        struct sim_pending_proposal *pending = &replica->proposals[i];
        if (pending->is_open && clock_of(world, replica) >= pending->until_us) {
            replica->unknown_token = pending->token;
            sim_mark(world, SIM_MARK_H7);
            proposal_end(world, replica, pending->token, AB_REPLICA_UNKNOWN, 0);
        }
    }
}

void sim_replica_tick(struct sim_world *world, struct sim_replica *replica)
{
    uint32_t process = world->nodes[replica->node].process;
    proposals_tick(world, replica);
    if (process != world->nodes[replica->node].process || replica->core == NULL) {
        return;
    }
    if (replica->is_read_wanted && clock_of(world, replica) >= replica->read_until_us) {
        state_ask(world, replica);
    }
    struct ab_replica_event event = {.kind = AB_REPLICA_TICK};
    sim_replica_step(world, replica, &event);
    if (process == world->nodes[replica->node].process && !sim_is_violated(world)) {
        sim_upkeep_tick(world, replica);
    }
}
