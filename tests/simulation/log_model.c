#include "tests/simulation/log_model.h"

#include "common/base/assert.h"
#include "common/base/memory.h"

#include <string.h>

/* ---- folds and repeated blocks ---- */

uint64_t sim_fold(uint64_t fold, const struct sim_record *record)
{
    if (record->kind == SIM_EPOCH_START) {
        return fold;
    }
    fold = sim_mix(fold, ((uint64_t)record->kind << 32) | record->producer);
    return sim_mix(sim_mix(fold, record->sequence), record->payload);
}

enum sim_judgement sim_dedup_judge(
    const struct sim_dedup *dedup, uint32_t producer, uint64_t sequence, uint64_t payload, uint64_t *offset)
{
    const struct sim_producer_state *state = &dedup->producers[producer];
    if (sequence == state->last + 1) {
        return SIM_NEXT;
    }
    if (sequence > state->last) {
        return SIM_GAP;
    }
    if (sequence + SIM_DEDUP_WINDOW <= state->last) {
        return SIM_TOO_OLD;
    }
    *offset = state->offsets[sequence % SIM_DEDUP_WINDOW];
    return state->payloads[sequence % SIM_DEDUP_WINDOW] == payload ? SIM_REPEATED : SIM_OTHER_BYTES;
}

void sim_dedup_note(struct sim_dedup *dedup, const struct sim_record *record)
{
    if (record->kind == SIM_CUT) {
        dedup->last_cut = record->sequence;
        dedup->last_cut_offset = record->offset;
    }
    if (record->kind != SIM_DATA) {
        return;
    }
    struct sim_producer_state *state = &dedup->producers[record->producer];
    state->last = record->sequence;
    state->offsets[record->sequence % SIM_DEDUP_WINDOW] = record->offset;
    state->payloads[record->sequence % SIM_DEDUP_WINDOW] = record->payload;
}

/* ---- records ---- */

void sim_log_fini(struct sim_log *log)
{
    ab_delete(log->records);
    log->records = NULL;
    log->capacity = 0;
}

const struct sim_record *sim_log_at(const struct sim_log *log, uint64_t offset)
{
    AB_ASSERT(offset >= log->start && offset < log->end);
    return &log->records[offset - log->start];
}

struct ab_hash128 sim_log_chain_before(const struct sim_log *log, uint64_t offset)
{
    return offset == log->start ? log->start_chain : sim_log_at(log, offset - 1)->chain;
}

uint64_t sim_log_epoch_before(const struct sim_log *log, uint64_t offset)
{
    return offset == log->start ? log->start_epoch : sim_log_at(log, offset - 1)->epoch;
}

static struct ab_hash128 record_chain(const struct sim_record *record)
{
    uint64_t hash = sim_mix(record->previous.low, record->offset);
    hash = sim_mix(hash, record->epoch);
    hash = sim_mix(hash, ((uint64_t)record->kind << 32) | record->producer);
    hash = sim_mix(sim_mix(hash, record->sequence), record->payload);
    return (struct ab_hash128){.low = hash, .high = sim_mix(record->previous.high, hash)};
}

static void record_add(struct sim_log *log, const struct sim_record *record)
{
    size_t count = (size_t)(log->end - log->start);
    if (count == log->capacity) {
        log->capacity = log->capacity > 0 ? 2 * log->capacity : 64;
        log->records = ab_renew_bytes(log->records, log->capacity * sizeof *log->records);
    }
    log->records[count] = *record;
    if (log->epochs_count == 0 || log->epochs[log->epochs_count - 1].epoch != record->epoch) {
        AB_ASSERT(log->epochs_count < SIM_EPOCHS_MAX);
        log->epochs[log->epochs_count++] = (struct ab_log_epoch){.epoch = record->epoch, .first_offset = log->end};
    }
    log->end++;
}

void sim_log_append(struct sim_log *log, struct sim_record record)
{
    record.offset = log->end;
    record.previous = sim_log_chain_before(log, log->end);
    record.chain = record_chain(&record);
    record_add(log, &record);
}

bool sim_log_append_copy(struct sim_log *log, const struct sim_record *record)
{
    bool is_next = record->offset == log->end &&
                   ab_hash128_equal(record->previous, sim_log_chain_before(log, log->end)) &&
                   ab_hash128_equal(record->chain, record_chain(record));
    uint64_t last = log->epochs_count > 0 ? log->epochs[log->epochs_count - 1].epoch : 0;
    if (!is_next || record->epoch < last) {
        return false;
    }
    record_add(log, record);
    return true;
}

void sim_log_truncate(struct sim_log *log, uint64_t offset)
{
    AB_ASSERT(offset >= log->start && offset <= log->end);
    log->end = offset;
    log->durable = log->durable < offset ? log->durable : offset;
    while (log->epochs_count > 0 && log->epochs[log->epochs_count - 1].first_offset >= offset) {
        bool is_floor = log->epochs_count == 1 && log->epochs[0].epoch == log->start_epoch && offset == log->start;
        if (is_floor) {
            break;
        }
        log->epochs_count--;
    }
}

void sim_log_trim(struct sim_log *log, uint64_t offset)
{
    AB_ASSERT(offset >= log->start && offset <= log->durable);
    if (offset == log->start) {
        return;
    }
    log->start_fold = sim_log_fold_at(log, offset);
    sim_log_dedup_at(log, offset, &log->start_dedup);
    log->start_chain = sim_log_chain_before(log, offset);
    log->start_epoch = sim_log_epoch_before(log, offset);
    memmove(log->records, log->records + (offset - log->start), (size_t)(log->end - offset) * sizeof *log->records);
    size_t first = 0;
    while (first + 1 < log->epochs_count && log->epochs[first].epoch < log->start_epoch) {
        first++;
    }
    log->epochs_count -= first;
    memmove(log->epochs, log->epochs + first, log->epochs_count * sizeof log->epochs[0]);
    log->epochs[0].first_offset = offset; /* a floor: the epoch of the record before the start */
    log->start = offset;
}

uint64_t sim_log_fold_at(const struct sim_log *log, uint64_t offset)
{
    uint64_t fold = log->start_fold;
    for (uint64_t i = log->start; i < offset; i++) {
        fold = sim_fold(fold, sim_log_at(log, i));
    }
    return fold;
}

void sim_log_dedup_at(const struct sim_log *log, uint64_t offset, struct sim_dedup *dedup)
{
    struct sim_dedup table = log->start_dedup;
    for (uint64_t i = log->start; i < offset; i++) {
        sim_dedup_note(&table, sim_log_at(log, i));
    }
    *dedup = table;
}

void sim_state_make(struct sim_state *state, const struct sim_log *log, uint64_t applied, const struct sim_speed *speed)
{
    state->chain = sim_log_chain_before(log, applied);
    state->epoch = sim_log_epoch_before(log, applied);
    state->fold = sim_log_fold_at(log, applied);
    sim_log_dedup_at(log, applied, &state->dedup);
    state->applied = applied;
    state->speed = *speed;
}

void sim_log_begin_at_state(struct sim_disk_partition *disk)
{
    struct sim_log *log = &disk->log;
    log->start_chain = disk->flushed.chain;
    log->start_epoch = disk->flushed.epoch;
    log->start_fold = disk->flushed.fold;
    log->start_dedup = disk->flushed.dedup;
    log->start = log->end = log->durable = disk->really_durable = disk->flushed.applied;
    log->epochs_count = log->start_epoch > 0 ? 1 : 0;
    log->epochs[0] = (struct ab_log_epoch){.epoch = log->start_epoch, .first_offset = log->start};
}

struct ab_replica_log sim_log_view(const struct sim_log *log)
{
    return (struct ab_replica_log){.start = log->start,
        .end = log->end,
        .durable = log->durable,
        .chain = sim_log_chain_before(log, log->end),
        .epochs = log->epochs,
        .epochs_count = log->epochs_count,
        .installed_until = log->installed_until};
}

/* ---- disks ---- */

void sim_disk_fini(struct sim_disk *disk)
{
    for (size_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
        sim_log_fini(&disk->partitions[p].log);
    }
    *disk = (struct sim_disk){0};
}

void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from)
{
    sim_disk_fini(to);
    *to = *from;
    for (size_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
        struct sim_log *log = &to->partitions[p].log;
        if (log->capacity > 0) {
            log->records = ab_new_array(struct sim_record, log->capacity);
            memcpy(
                log->records, from->partitions[p].log.records, (size_t)(log->end - log->start) * sizeof *log->records);
        }
    }
}
