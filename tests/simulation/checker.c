#include "tests/simulation/checker.h"

#include "tests/simulation/batch.h"

#include "common/base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct history {
    struct sim_record *records; /* owned; from offset 0 */
    uint64_t *folds;            /* owned; folds[n] = state of everything below n */
    struct sim_totals *totals;  /* owned; the same of the views */
    uint64_t count;
    size_t capacity;
    uint64_t last_sequence[SIM_PRODUCERS_MAX];
    uint64_t last_cut;
    uint64_t seen_end; /* what somebody was told to be done, or has read */
    struct {
        uint32_t node, process;
    } leaders[SIM_EPOCHS_MAX]; /* by epoch */
};

struct sim_checker {
    struct history histories[SIM_PARTITIONS_MAX];
    bool *is_failed;   /* owned; by payload */
    bool *is_in;       /* owned; by payload: it is committed */
    uint64_t payloads; /* given */
    size_t capacity;
};

void sim_checker_create(struct sim_world *world)
{
    world->checker = ab_new(struct sim_checker);
    for (size_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
        struct history *history = &world->checker->histories[p];
        history->capacity = 256;
        history->records = ab_new_array(struct sim_record, history->capacity);
        history->folds = ab_new_array(uint64_t, history->capacity + 1);
        history->totals = ab_new_array(struct sim_totals, history->capacity + 1);
    }
}

void sim_checker_destroy(struct sim_world *world)
{
    for (size_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
        ab_delete(world->checker->histories[p].records);
        ab_delete(world->checker->histories[p].folds);
        ab_delete(world->checker->histories[p].totals);
    }
    ab_delete(world->checker->is_failed);
    ab_delete(world->checker->is_in);
    ab_delete(world->checker);
}

/* Disks that lie and a service that went back may lose anything. */
static bool is_unchecked(const struct sim_world *world)
{
    return world->config.is_lying || world->is_regressed;
}

bool sim_check_is_off(const struct sim_world *world)
{
    return is_unchecked(world);
}

/* ---- the history ---- */

static void history_add(struct sim_world *world, struct history *history, const struct sim_record *record)
{
    if (history->count + 1 >= history->capacity) {
        history->capacity *= 2;
        history->records = ab_renew_bytes(history->records, history->capacity * sizeof *history->records);
        history->folds = ab_renew_bytes(history->folds, (history->capacity + 1) * sizeof *history->folds);
        history->totals = ab_renew_bytes(history->totals, (history->capacity + 1) * sizeof *history->totals);
    }
    history->records[history->count++] = *record;
    history->folds[history->count] = sim_fold(history->folds[history->count - 1], record);
    history->totals[history->count] = history->totals[history->count - 1];
    sim_totals_add(&history->totals[history->count], record);
    if (record->kind == SIM_CUT) {
        if (record->sequence <= history->last_cut) {
            sim_violate(
                world, "H34: cut %" PRIu64 " is in the log twice, again at %" PRIu64, record->sequence, record->offset);
        }
        history->last_cut = record->sequence;
    }
    if (record->kind != SIM_DATA) {
        return;
    }
    if (record->sequence != history->last_sequence[record->producer] + 1) {
        sim_violate(world, "S2: producer %u: sequence %" PRIu64 " is committed at %" PRIu64 ", after %" PRIu64,
            record->producer, record->sequence, record->offset, history->last_sequence[record->producer]);
    }
    history->last_sequence[record->producer] = record->sequence;
    if (world->checker->is_failed[record->payload]) {
        sim_violate(world, "S14: offset %" PRIu64 " holds block %" PRIu64 ", whose client was told that it has failed",
            record->offset, record->payload);
    }
    world->checker->is_in[record->payload] = true;
}

/* ---- replicas ---- */

void sim_check_open(struct sim_world *world, const struct sim_replica *replica)
{
    const struct sim_disk_partition *disk = &world->nodes[replica->node].disk.partitions[replica->partition];
    if (!is_unchecked(world) && disk->log.start > disk->flushed.applied) {
        sim_violate(world, "S12: node %u p%u: the log starts at %" PRIu64 ", the state was flushed at %" PRIu64,
            replica->node, replica->partition, disk->log.start, disk->flushed.applied);
    }
}

void sim_check_commit(struct sim_world *world, const struct sim_replica *replica, uint64_t offset)
{
    struct history *history = &world->checker->histories[replica->partition];
    const struct sim_log *log = &world->nodes[replica->node].disk.partitions[replica->partition].log;
    if (offset <= replica->committed) {
        sim_violate(world, "S5: node %u p%u: high watermark %" PRIu64 " after %" PRIu64, replica->node,
            replica->partition, offset, replica->committed);
    }
    if (offset > log->durable || offset < log->start) {
        sim_violate(world, "I1: node %u p%u: committed up to %" PRIu64 ", the log is [%" PRIu64 ", %" PRIu64 ")",
            replica->node, replica->partition, offset, log->start, log->durable);
    }
    if (is_unchecked(world) || sim_is_violated(world)) {
        return;
    }
    if (offset <= history->count) {
        struct ab_hash128 chain = offset == 0 ? (struct ab_hash128){0} : history->records[offset - 1].chain;
        if (!ab_hash128_equal(sim_log_chain_before(log, offset), chain)) {
            sim_violate(world, "S4: node %u p%u: another record before %" PRIu64 " than the one that was committed",
                replica->node, replica->partition, offset);
        }
        return;
    }
    struct ab_hash128 last = history->count == 0 ? (struct ab_hash128){0} : history->records[history->count - 1].chain;
    if (history->count < log->start || !ab_hash128_equal(sim_log_chain_before(log, history->count), last)) {
        sim_violate(world,
            "S1: node %u p%u: commits up to %" PRIu64 ", but not on top of the %" PRIu64 " records that were committed",
            replica->node, replica->partition, offset, history->count);
        return;
    }
    while (history->count < offset && !sim_is_violated(world)) {
        history_add(world, history, sim_log_at(log, history->count));
    }
    sim_check_members(world, replica->partition, "a commit");
}

/* Speed's spans are everything since the first of them began (S10). */
static void spans_check(struct sim_world *world, const struct sim_replica *replica, const struct history *history)
{
    struct sim_totals totals = sim_speed_after(&replica->speed, replica->speed.retired);
    if (replica->speed.last_cut < replica->speed.retired) {
        return; /* installed, and not there yet */
    }
    sim_totals_merge(&totals, &history->totals[sim_speed_start(&replica->speed)]);
    if (!sim_totals_equal(&totals, &history->totals[replica->applied])) {
        sim_violate(world, "S10: node %u p%u: the spans from %" PRIu64 " to %" PRIu64 " are not those records",
            replica->node, replica->partition, sim_speed_start(&replica->speed), replica->applied);
    }
}

void sim_check_fold(struct sim_world *world, const struct sim_replica *replica)
{
    const struct history *history = &world->checker->histories[replica->partition];
    if (!is_unchecked(world) &&
        (replica->applied > history->count || replica->fold != history->folds[replica->applied])) {
        sim_violate(world, "S7: node %u p%u: the state at %" PRIu64 " is not the fold of the history", replica->node,
            replica->partition, replica->applied);
    }
    if (!is_unchecked(world) && !sim_is_violated(world)) {
        spans_check(world, replica, history);
    }
}

const struct sim_totals *sim_check_totals(const struct sim_world *world, uint32_t partition, uint64_t offset)
{
    const struct history *history = &world->checker->histories[partition];
    return offset <= history->count ? &history->totals[offset] : NULL;
}

static void member_check(
    struct sim_world *world, uint32_t partition, const struct ab_replica_member *member, const char *after)
{
    const struct history *history = &world->checker->histories[partition];
    const struct sim_disk *disk = &world->nodes[member->node].disk;
    const struct sim_disk_partition *held = &disk->partitions[partition];
    bool is_it = ab_hash128_equal(disk->disk_id, member->disk_id) && world->nodes[member->node].status != SIM_STRANGER;
    bool is_old = disk->starts < world->coordination->registered[member->node].starts &&
                  sim_shell_mutant != SIM_MUTANT_OLD_IMAGE_ADMITTED;
    if (!is_it || is_old || (held->damaged_until > 0 && sim_shell_mutant != SIM_MUTANT_DAMAGE_HIDDEN)) {
        return;
    }
    const struct sim_log *log = &held->log;
    uint64_t durable = held->really_durable < log->durable ? held->really_durable : log->durable;
    bool has_all = durable >= history->count &&
                   (history->count <= log->start || ab_hash128_equal(sim_log_chain_before(log, history->count),
                                                        history->records[history->count - 1].chain));
    if (has_all && log->start > sim_check_sealed(world, partition)) {
        sim_violate(world, "S12: p%u: after %s node %u has the log from %" PRIu64 ", no version reaches that far",
            partition, after, member->node, log->start);
    }
    if (!has_all) {
        sim_violate(world,
            "S3: p%u: after %s node %u is in the in-sync set or the ELR, has synced %" PRIu64 ", %" PRIu64
            " records are committed",
            partition, after, member->node, durable, history->count);
    }
}

void sim_check_members(struct sim_world *world, uint32_t partition, const char *after)
{
    const struct ab_replica_set *set = &world->coordination->states[partition].set;
    for (uint32_t i = 0; i < set->isr.count && !is_unchecked(world); i++) {
        member_check(world, partition, &set->isr.items[i], after);
    }
    for (uint32_t i = 0; i < set->elr.count && !is_unchecked(world); i++) {
        member_check(world, partition, &set->elr.items[i], after);
    }
}

void sim_check_truncation(struct sim_world *world, const struct sim_replica *replica, uint64_t offset)
{
    if (!is_unchecked(world) && offset < replica->applied) {
        sim_violate(world, "S5: node %u p%u: truncates to %" PRIu64 ", has applied %" PRIu64, replica->node,
            replica->partition, offset, replica->applied);
    }
}

void sim_check_leader(struct sim_world *world, const struct sim_replica *replica, uint64_t epoch)
{
    struct history *history = &world->checker->histories[replica->partition];
    uint32_t process = world->nodes[replica->node].process;
    if (is_unchecked(world) || epoch >= SIM_EPOCHS_MAX) {
        return;
    }
    if (history->leaders[epoch].node == 0) {
        history->leaders[epoch].node = replica->node;
        history->leaders[epoch].process = process;
    } else if (history->leaders[epoch].node != replica->node || history->leaders[epoch].process != process) {
        sim_violate(world, "S6: p%u epoch %" PRIu64 ": nodes %u and %u lead it", replica->partition, epoch,
            history->leaders[epoch].node, replica->node);
    }
    if (world->nodes[replica->node].disk.partitions[replica->partition].epoch < epoch) {
        sim_violate(world, "R1: node %u p%u leads epoch %" PRIu64 ", which it has not persisted", replica->node,
            replica->partition, epoch);
    }
}

void sim_check_failure(struct sim_world *world, const struct sim_replica *replica, const char *reason)
{
    if (world->is_regressed) {
        sim_mark(world, SIM_MARK_H55);
    } else if (!is_unchecked(world)) {
        sim_violate(world, "node %u p%u gave up: %s", replica->node, replica->partition, reason);
    }
}

void sim_check_step(struct sim_world *world, struct sim_replica *replica)
{
    struct ab_replica_view view;
    ab_replica_look(replica->core, &view);
    if (view.epoch < replica->last_epoch || view.high_watermark < replica->committed) {
        sim_violate(world,
            "S5: node %u p%u: epoch %" PRIu64 " after %" PRIu64 ", or high watermark %" PRIu64 " after %" PRIu64,
            replica->node, replica->partition, view.epoch, replica->last_epoch, view.high_watermark,
            replica->committed);
    }
    replica->last_epoch = view.epoch;
}

/* ---- the coordination service ---- */

void sim_check_state(struct sim_world *world, uint32_t partition)
{
    sim_check_members(world, partition, "a change of the state");
}

void sim_check_election(struct sim_world *world, uint32_t partition, const struct ab_replica_set *next)
{
    const struct ab_replica_set *now = &world->coordination->states[partition].set;
    world->elections++;
    for (uint32_t i = 0; i < now->replicas.count; i++) {
        bool is_removed = !ab_replica_nodes_has(&next->replicas, now->replicas.items[i]);
        if (is_removed && (next->isr.count < next->min_isr || now->leader == now->replicas.items[i])) {
            sim_violate(world, "H16: p%u: replica %u goes, %u of at least %u in sync remain, node %u leads", partition,
                now->replicas.items[i], next->isr.count, next->min_isr, now->leader);
        }
    }
    if (next->leader != AB_NODE_NONE && !ab_replica_members_has(&now->isr, next->leader)) {
        sim_mark(world, SIM_MARK_H2);
    }
}

/* ---- clients ---- */

uint64_t sim_check_payload(struct sim_world *world)
{
    struct sim_checker *checker = world->checker;
    uint64_t payload = ++checker->payloads;
    if (payload >= checker->capacity) {
        size_t before = checker->capacity;
        checker->capacity = before > 0 ? 2 * before : 1024;
        checker->is_failed = ab_renew_bytes(checker->is_failed, checker->capacity);
        checker->is_in = ab_renew_bytes(checker->is_in, checker->capacity);
        memset(checker->is_failed + before, 0, checker->capacity - before);
        memset(checker->is_in + before, 0, checker->capacity - before);
    }
    return payload;
}

static bool history_has(const struct history *history, const struct sim_request *request, uint64_t offset)
{
    if (offset >= history->count) {
        return false;
    }
    const struct sim_record *record = &history->records[offset];
    return record->sequence == request->sequence &&
           (request->kind == SIM_ASK_CUT ? record->kind == SIM_CUT
                                         : record->kind == SIM_DATA && record->payload == request->payload);
}

void sim_check_done(struct sim_world *world, const struct sim_request *request, uint64_t offset)
{
    struct history *history = &world->checker->histories[request->partition];
    if (is_unchecked(world)) {
        return;
    }
    if (!history_has(history, request, offset)) {
        sim_violate(world,
            "S1: p%u: %s %" PRIu64 " is called done at offset %" PRIu64
            ", which is not committed, or is something else",
            request->partition, request->kind == SIM_ASK_CUT ? "cut" : "sequence", request->sequence, offset);
    }
}

static void seen(struct history *history, uint64_t end)
{
    history->seen_end = end > history->seen_end ? end : history->seen_end;
}

void sim_check_acknowledged(struct sim_world *world, const struct sim_request *request, uint64_t offset)
{
    world->acknowledged++;
    sim_check_done(world, request, offset);
    seen(&world->checker->histories[request->partition], offset + 1);
}

void sim_check_failed(struct sim_world *world, uint32_t partition, uint64_t payload)
{
    if (is_unchecked(world)) {
        return;
    }
    world->checker->is_failed[payload] = true;
    if (world->checker->is_in[payload]) {
        sim_violate(world, "S14: p%u: block %" PRIu64 " is committed, and its client is told that it has failed",
            partition, payload);
    }
}

void sim_check_other_bytes(
    struct sim_world *world, const struct sim_replica *replica, const struct sim_request *request)
{
    if (!is_unchecked(world)) {
        sim_violate(world,
            "S14: node %u p%u: sequence %" PRIu64 " of producer %u is in the log with a block that was "
            "called failed",
            replica->node, replica->partition, request->sequence, request->client);
    }
}

void sim_check_seen(struct sim_world *world, uint32_t partition, uint64_t end)
{
    seen(&world->checker->histories[partition], end);
}

uint64_t sim_check_read_floor(const struct sim_world *world, uint32_t partition)
{
    return world->checker->histories[partition].seen_end;
}

void sim_check_read(struct sim_world *world, const struct sim_reply *reply, uint64_t floor)
{
    struct history *history = &world->checker->histories[reply->request.partition];
    world->reads++;
    if (is_unchecked(world)) {
        return;
    }
    if (reply->offset > history->count || reply->fold != history->folds[reply->offset]) {
        sim_violate(world, "I3: p%u: a read has seen what is not committed, at %" PRIu64, reply->request.partition,
            reply->offset);
    } else if (reply->offset < floor && world->now_us >= world->no_lease_until_us) {
        sim_violate(world,
            "H19: p%u: a read of the newest state saw %" PRIu64 " records, %" PRIu64
            " were acknowledged or read before it began",
            reply->request.partition, reply->offset, floor);
    }
    seen(history, reply->offset);
}

/* ---- the end ---- */

static bool node_converged(const struct sim_world *world, uint32_t number, uint32_t partition, char *why, size_t bytes)
{
    const struct sim_node *node = &world->nodes[number];
    const struct sim_replica *replica = &node->replicas[partition];
    const struct ab_replica_set *set = &world->coordination->states[partition].set;
    const struct history *history = &world->checker->histories[partition];
    uint32_t place = ab_replica_members_find(&set->isr, number);
    bool is_member = place != UINT32_MAX && ab_hash128_equal(set->isr.items[place].incarnation, node->incarnation);
    enum ab_replica_role wanted = set->leader == number ? AB_REPLICA_LEADING : AB_REPLICA_FOLLOWING;
    uint64_t end = node->disk.partitions[partition].log.end;
    if (node->status == SIM_UP && is_member && replica->role == wanted && replica->committed == end &&
        (is_unchecked(world) || end == history->count)) {
        return true;
    }
    if (why != NULL) {
        (void)snprintf(why, bytes,
            "p%u node %u: status %d, %s, member %d, log end %" PRIu64 ", committed %" PRIu64 " of %" PRIu64
            "; leader %u epoch %" PRIu64 " version %" PRIu64,
            partition, number, (int)node->status, ab_replica_role_name(replica->role), is_member, end,
            replica->committed, history->count, set->leader, set->leader_epoch,
            world->coordination->states[partition].version);
    }
    return false;
}

bool sim_check_converged(struct sim_world *world, char *why, size_t why_bytes)
{
    if (world->config.is_lying) {
        return true; /* what was lost may stop replicas for good */
    }
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        const struct ab_replica_nodes *replicas = &world->coordination->states[p].set.replicas;
        for (uint32_t i = 0; i < replicas->count; i++) {
            if (!node_converged(world, replicas->items[i], p, why, why_bytes)) {
                return false;
            }
        }
    }
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        const struct ab_replica_target *target = &world->coordination->targets[p];
        if (target->replicas.count > 0 || world->coordination->states[p].set.learners.count > 0) {
            if (why != NULL) {
                (void)snprintf(why, why_bytes, "p%u is not where it is wanted", p);
            }
            return false;
        }
    }
    if (!sim_batch_is_done(world, why, why_bytes)) {
        return false;
    }
    size_t open = sim_clients_open(world);
    if (why != NULL) {
        (void)snprintf(why, why_bytes, "%zu operations of clients have no end", open);
    }
    return open == 0;
}

void sim_check_drained(struct sim_world *world)
{
    for (uint32_t p = 0; p < world->config.partitions && !is_unchecked(world); p++) {
        const struct history *history = &world->checker->histories[p];
        for (uint32_t n = 1; n <= world->config.nodes && !sim_is_violated(world); n++) {
            const struct sim_replica *replica = &world->nodes[n].replicas[p];
            if (!sim_node_holds(world, n, p)) {
                continue;
            }
            sim_check_fold(world, replica);
            if (replica->applied != history->count) {
                sim_violate(world, "S8: node %u p%u has applied %" PRIu64 " of %" PRIu64, n, p, replica->applied,
                    history->count);
            }
            struct sim_dedup table;
            const struct sim_log *log = &world->nodes[n].disk.partitions[p].log;
            sim_log_dedup_at(log, log->end, &table);
            for (uint32_t i = 0; i < SIM_PRODUCERS_MAX; i++) {
                if (table.producers[i].last != history->last_sequence[i]) {
                    sim_violate(world, "H24: node %u p%u: the table of producer %u ends at %" PRIu64, n, p, i,
                        table.producers[i].last);
                }
            }
        }
    }
}

void sim_check_regress(struct sim_world *world)
{
    for (uint32_t p = 0; p < world->config.partitions; p++) {
        for (uint32_t n = 1; n <= world->config.nodes; n++) {
            const struct sim_node *node = &world->nodes[n];
            const struct sim_replica *replica = &node->replicas[p];
            bool has_followed = node->disk.partitions[p].epoch > world->coordination->states[p].set.leader_epoch;
            if (node->status == SIM_UP && replica->core != NULL && has_followed && replica->role != AB_REPLICA_FAILED) {
                sim_violate(world,
                    "H55: node %u p%u is %s, although it has followed a newer epoch than the service "
                    "knows",
                    n, p, ab_replica_role_name(replica->role));
            }
        }
    }
}
