/* What clients ask of a replica: blocks, the newest state, cuts. */
#include "tests/simulation/checker.h"
#include "tests/simulation/node.h"

#include "common/base/assert.h"

#include <inttypes.h>

/* What a cut's manifest says of this partition: the record's chain, and what speed has counted since the manifest
 * before. */
static void cut_tell(struct sim_world *world, const struct sim_replica *replica, struct sim_reply *reply)
{
    const struct sim_log *log = &sim_replica_disk(world, replica)->log;
    struct sim_totals later = sim_speed_after(&replica->speed, reply->request.sequence);
    reply->digest = sim_speed_after(&replica->speed, reply->request.payload);
    for (uint32_t v = 0; v < SIM_VIEWS; v++) {
        reply->digest.views[v].count -= later.views[v].count;
        reply->digest.views[v].sum -= later.views[v].sum;
    }
    if (reply->offset + 1 >= log->start && reply->offset < log->end) {
        reply->chain = sim_log_chain_before(log, reply->offset + 1);
    }
}

static void answer(struct sim_world *world, const struct sim_replica *replica, const struct sim_request *request,
    enum sim_answer what, uint64_t offset)
{
    if (what == SIM_DONE && request->kind != SIM_READ_NEWEST) {
        sim_check_done(world, request, offset);
    }
    struct ab_replica_view view;
    ab_replica_look(replica->core, &view);
    struct sim_reply reply = {
        .request = *request, .answer = what, .offset = offset, .epoch = view.epoch, .fold = replica->fold};
    if (what == SIM_DONE && request->kind == SIM_ASK_CUT) {
        cut_tell(world, replica, &reply);
    }
    sim_client_reply(world, &reply);
}

static bool wait_for(struct sim_replica *replica, const struct sim_request *request, uint64_t offset)
{
    if (replica->waiters_count == SIM_WAITERS_MAX) {
        return false;
    }
    replica->waiters[replica->waiters_count++] = (struct sim_waiter){.request = *request, .offset = offset};
    return true;
}

/* ---- repeated blocks: the product's table, held against the model's ---- */

static struct ab_hash128 block_hash(uint64_t payload)
{
    return (struct ab_hash128){.low = payload, .high = ~payload};
}

static void block_note(struct ab_dedup *blocks, uint32_t producer, uint64_t sequence, uint64_t payload, uint64_t offset)
{
    struct ab_outcome outcome = {.offset = offset, .accepted = 1};
    ab_dedup_note(blocks, producer + 1, sequence, block_hash(payload), &outcome);
    ab_dedup_commit(blocks, offset + 1);
}

void sim_ingest_note(struct sim_replica *replica, const struct sim_record *record)
{
    sim_dedup_note(&replica->dedup, record);
    if (record->kind == SIM_DATA) {
        block_note(replica->blocks, record->producer, record->sequence, record->payload, record->offset);
    }
}

void sim_ingest_rebuild(struct sim_world *world, struct sim_replica *replica)
{
    const struct sim_log *log = &sim_replica_disk(world, replica)->log;
    ab_dedup_destroy(replica->blocks);
    replica->blocks = ab_dedup_create(SIM_PRODUCERS_MAX, 1, NULL);
    replica->dedup = (struct sim_dedup){0};
    if (sim_shell_mutant == SIM_MUTANT_DEDUP_FORGOTTEN) {
        return;
    }
    replica->dedup = log->start_dedup;
    for (uint32_t i = 0; i < SIM_PRODUCERS_MAX; i++) {
        const struct sim_producer_state *state = &log->start_dedup.producers[i];
        uint64_t first = state->last > SIM_DEDUP_WINDOW ? state->last - SIM_DEDUP_WINDOW + 1 : 1;
        for (uint64_t s = first; s <= state->last; s++) {
            block_note(
                replica->blocks, i, s, state->payloads[s % SIM_DEDUP_WINDOW], state->offsets[s % SIM_DEDUP_WINDOW]);
        }
    }
    for (uint64_t offset = log->start; offset < log->end; offset++) {
        sim_ingest_note(replica, sim_log_at(log, offset));
    }
}

static enum sim_judgement judge(
    struct sim_world *world, const struct sim_replica *replica, const struct sim_request *request, uint64_t *offset)
{
    struct ab_outcome outcome = {0};
    ab_err err = ab_dedup_check(
        replica->blocks, request->client + 1, request->sequence, block_hash(request->payload), &outcome, NULL);
    enum sim_judgement model =
        sim_dedup_judge(&replica->dedup, request->client, request->sequence, request->payload, offset);
    bool is_same = (model == SIM_NEXT && err == AB_OK) || (model == SIM_OTHER_BYTES && err == AB_MISMATCH) ||
                   (model == SIM_REPEATED && err == AB_EXISTS && outcome.offset == *offset) ||
                   ((model == SIM_GAP || model == SIM_TOO_OLD) && err == AB_SEQUENCE);
    if (!is_same) {
        sim_violate(world,
            "H24: node %u p%u: the table of repeated blocks says %d of sequence %" PRIu64
            " of producer %u, the model %d",
            replica->node, replica->partition, (int)err, request->sequence, request->client, (int)model);
    }
    return model;
}

/* ---- blocks, cuts, reads ---- */

static void append(struct sim_world *world, struct sim_replica *replica, struct sim_record record)
{
    struct sim_log *log = &sim_replica_disk(world, replica)->log;
    struct ab_replica_view view;
    ab_replica_look(replica->core, &view);
    record.epoch = view.epoch;
    sim_log_append(log, record);
    sim_ingest_note(replica, sim_log_at(log, log->end - 1));
    sim_replica_sync(world, replica);
    struct ab_replica_event changed = {.kind = AB_REPLICA_LOG_CHANGED};
    sim_replica_step(world, replica, &changed);
}

static void repeated(
    struct sim_world *world, struct sim_replica *replica, const struct sim_request *request, uint64_t offset)
{
    if (offset < replica->committed) {
        answer(world, replica, request, SIM_DONE, offset);
    } else if (!wait_for(replica, request, offset)) {
        answer(world, replica, request, SIM_UNKNOWN, 0);
    }
}

static void on_write(struct sim_world *world, struct sim_replica *replica, const struct sim_request *request)
{
    const struct sim_log *log = &sim_replica_disk(world, replica)->log;
    uint64_t offset = 0;
    switch (judge(world, replica, request, &offset)) {
    case SIM_NEXT:
        if (!wait_for(replica, request, log->end)) {
            answer(world, replica, request, SIM_REFUSED, 0);
            return;
        }
        append(world, replica,
            (struct sim_record){.kind = SIM_DATA,
                .producer = request->client,
                .sequence = request->sequence,
                .payload = request->payload});
        break;
    case SIM_REPEATED: {
        struct ab_replica_view view;
        ab_replica_look(replica->core, &view);
        if (offset >= log->start && offset < log->end && sim_log_at(log, offset)->epoch != view.epoch) {
            sim_mark(world, SIM_MARK_H24);
        }
        if (offset < log->start) {
            sim_mark(world, SIM_MARK_H25);
        }
        repeated(world, replica, request, offset);
        break;
    }
    case SIM_OTHER_BYTES:
        sim_check_other_bytes(world, replica, request);
        answer(world, replica, request, SIM_REFUSED, 0);
        break;
    case SIM_GAP:
        sim_mark(world, SIM_MARK_H33);
        answer(world, replica, request, SIM_REFUSED, 0);
        break;
    case SIM_TOO_OLD:
        answer(world, replica, request, SIM_UNKNOWN, 0);
        break;
    }
}

static void on_cut(struct sim_world *world, struct sim_replica *replica, const struct sim_request *request)
{
    const struct sim_log *log = &sim_replica_disk(world, replica)->log;
    uint64_t last = replica->dedup.last_cut;
    if (last == request->sequence && sim_shell_mutant != SIM_MUTANT_CUT_TWICE) {
        sim_mark(world, SIM_MARK_H34);
        repeated(world, replica, request, replica->dedup.last_cut_offset);
        return;
    }
    bool is_full = replica->speed.closed_count >= SIM_SPANS_LIVE_MAX;
    if (is_full) {
        sim_mark(world, SIM_MARK_H36_FULL);
    }
    if (last > request->sequence || is_full || replica->waiters_count == SIM_WAITERS_MAX) {
        answer(world, replica, request, SIM_REFUSED, 0);
        return;
    }
    if (sim_shell_mutant == SIM_MUTANT_CUT_UNCOMMITTED) {
        answer(world, replica, request, SIM_DONE, log->end);
    } else {
        sim_mark(world, SIM_MARK_H35);
        (void)wait_for(replica, request, log->end);
    }
    append(world, replica, (struct sim_record){.kind = SIM_CUT, .sequence = request->sequence});
}

static void on_read(struct sim_world *world, struct sim_replica *replica, const struct sim_request *request)
{
    if (ab_replica_may_serve(replica->core, sim_node_clock(world, replica->node))) {
        answer(world, replica, request, SIM_DONE, replica->applied);
        return;
    }
    if (replica->role == AB_REPLICA_STARTING || replica->role == AB_REPLICA_LEADING) {
        sim_mark(world, SIM_MARK_H19);
    }
    answer(world, replica, request, SIM_REFUSED, 0);
}

void sim_ingest_on_request(struct sim_world *world, struct sim_replica *replica, const struct sim_request *request)
{
    if (request->kind == SIM_READ_NEWEST) {
        on_read(world, replica, request);
        return;
    }
    if (!ab_replica_may_append(replica->core)) {
        if (replica->role == AB_REPLICA_LEADING) {
            sim_mark(world, SIM_MARK_H1);
        }
        answer(world, replica, request, SIM_REFUSED, 0);
        return;
    }
    if (request->kind == SIM_WRITE) {
        on_write(world, replica, request);
    } else {
        on_cut(world, replica, request);
    }
}

void sim_ingest_on_commit(struct sim_world *world, struct sim_replica *replica)
{
    size_t kept = 0;
    for (size_t i = 0; i < replica->waiters_count; i++) {
        const struct sim_waiter *waiter = &replica->waiters[i];
        if (waiter->offset < replica->committed) {
            answer(world, replica, &waiter->request, SIM_DONE, waiter->offset);
        } else {
            replica->waiters[kept++] = *waiter;
        }
    }
    replica->waiters_count = kept;
}

void sim_ingest_on_role(struct sim_world *world, struct sim_replica *replica)
{
    bool is_hidden = sim_shell_mutant == SIM_MUTANT_UNKNOWN_IS_REFUSED;
    for (size_t i = 0; i < replica->waiters_count; i++) {
        answer(world, replica, &replica->waiters[i].request, is_hidden ? SIM_REFUSED : SIM_UNKNOWN, 0);
    }
    if (replica->waiters_count > 0) {
        sim_mark(world, SIM_MARK_H30);
    }
    replica->waiters_count = 0;
}
