/* Records of the log into spans and tables: at opening (replay), and on a replica that did not stage them itself. */
#include "speed/partition_private.h"

#include "common/base/assert.h"

#include <inttypes.h>

/* Bytes of records that are applied under one taking of the lock's neighbours: between two of them a worker looks
 * around. */
#define APPLY_BYTES_MAX (8u << 20)

struct ab_span *ab_partition_span_at(const struct ab_partition *partition, uint64_t offset)
{
    for (size_t i = partition->spans_count; i > 0; i--) {
        if (partition->spans[i - 1]->start_offset <= offset) {
            return partition->spans[i - 1];
        }
    }
    return NULL;
}

static void tables_note(
    struct ab_partition *partition, struct ab_span *span, const struct ab_bound *bound, const struct ab_record *record)
{
    const struct ab_record_header *header = &record->header;
    const struct ab_block *block = &bound->block;
    struct ab_outcome outcome = {
        .offset = header->offset, .rejected = header->rejected_count, .duplicates = header->duplicate_count};
    outcome.accepted = header->rows_count - header->rejected_count - header->duplicate_count;
    ab_dedup_note(
        partition->dedup, block->producer_id, block->sequence, ab_hash128(AB_HASH_BLOCK, record->body), &outcome);
    if (block->mark.source.bytes > 0) {
        struct ab_source_state mark = {.last_position = block->mark.last_position,
            .byte_offset = block->mark.byte_offset,
            .prefix_hash = block->mark.prefix_hash};
        ab_dedup_source_note(partition->dedup, block->stream, block->mark.source, header->offset, &mark);
    }
    ab_dedup_commit(partition->dedup, header->offset + 1);
    ab_span_count(span, bound->stream->id, outcome.accepted, outcome.rejected, outcome.duplicates);
}

static ab_err apply_block(struct ab_partition *partition, const struct ab_record *record, struct ab_arena *arena,
    struct ab_arena *scratch, struct ab_error *error)
{
    struct ab_span *span = ab_partition_span_at(partition, record->header.offset);
    if (span == NULL) {
        return ab_error_set(error, AB_CORRUPT, "no cut came before it");
    }
    struct ab_bound bound;
    AB_TRY(ab_judge_bind(record->body, span->served->catalog, arena, &bound, error));
    uint8_t *skip = ab_arena_zalloc(arena, bound.block.rows_count);
    if (skip == NULL) {
        return ab_error_set(error, AB_FULL, "no memory to replay");
    }
    AB_TRY(ab_verdict_mark(record->verdict, bound.block.rows_count, skip));
    if (record->header.offset >= partition->tables_from) {
        tables_note(partition, span, &bound, record);
    }
    bool is_plain = record->header.rejected_count + record->header.duplicate_count == 0;
    ab_partition_apply_rows_locked(partition, span, &bound, is_plain ? NULL : skip, record->header.offset, scratch);
    return AB_OK;
}

/* Cut 0: the catalog of span 1. */
static ab_err apply_first(
    struct ab_partition *partition, const struct ab_cut *cut, uint64_t end_offset, struct ab_error *error)
{
    const struct ab_served_catalog *served = NULL;
    AB_TRY(ab_catalogs_add(partition->options.catalogs, cut->catalog_text, &served, error));
    struct ab_span_start start = {.number = 1, .start_offset = end_offset, .served = served};
    struct ab_span *span = ab_span_create(&start);
    ab_partition_add_span_locked(partition, span);
    return ab_partition_load_shares(partition, span, error);
}

static ab_err close_span(
    struct ab_partition *partition, const struct ab_record *record, const struct ab_cut *cut, struct ab_error *error)
{
    const struct ab_served_catalog *next = partition_open_span(partition)->served;
    if (cut->catalog_text.bytes > 0) {
        AB_TRY(ab_catalogs_add(partition->options.catalogs, cut->catalog_text, &next, error));
    }
    ab_partition_close_span_locked(
        partition, cut, record->header.offset + 1, record->chain, record->header.leader_epoch, next);
    /* What opens now may be stored in part when this is a replay; of a record that is new there is nothing yet. */
    return partition->is_replaying ? ab_partition_load_shares(partition, partition_open_span(partition), error) : AB_OK;
}

static ab_err apply_cut(struct ab_partition *partition, const struct ab_record *record, struct ab_error *error)
{
    struct ab_cut cut;
    AB_TRY(ab_cut_decode(record->body, &cut));
    uint64_t end_offset = record->header.offset + 1;
    if (cut.cut == 0) {
        return partition_open_span(partition) != NULL ? AB_OK : apply_first(partition, &cut, end_offset, error);
    }
    struct ab_span *span = ab_partition_span_at(partition, record->header.offset);
    if (span == NULL) {
        return ab_error_set(error, AB_CORRUPT, "cut %" PRIu64 " closes no span", cut.cut);
    }
    if (!span->is_closed) {
        AB_TRY(close_span(partition, record, &cut, error));
    }
    if (!span->is_flushed) {
        partition->applied_offset = end_offset;
        partition->applied_chain = record->chain;
        ab_partition_push_job_locked(partition, ab_partition_freeze_locked(partition, span, end_offset, true));
    }
    return AB_OK;
}

ab_err ab_partition_apply_record_locked(struct ab_partition *partition, const struct ab_record *record,
    struct ab_arena *arena, struct ab_arena *scratch, struct ab_error *error)
{
    ab_err err = AB_OK;
    switch (record->header.kind) {
    case AB_RECORD_BLOCK:
        err = apply_block(partition, record, arena, scratch, error);
        break;
    case AB_RECORD_CUT:
        err = apply_cut(partition, record, error);
        break;
    case AB_RECORD_EPOCH_START:
        break;
    }
    if (err != AB_OK) {
        return ab_error_wrap(error, err, "applying the record at offset %" PRIu64, record->header.offset);
    }
    if (record->header.append_time_us > partition->last_append_us) {
        partition->last_append_us = record->header.append_time_us;
    }
    partition->applied_time_us = record->header.append_time_us;
    partition->applied_offset = record->header.offset + 1;
    partition->applied_chain = record->chain;
    return AB_OK;
}

/* The last record that the tables have is the one that they were saved after. */
static ab_err tables_check(const struct ab_partition *partition, const struct ab_record *record, struct ab_error *error)
{
    bool is_last = record->header.offset + 1 == partition->tables_from;
    return !is_last || ab_hash128_equal(record->chain, partition->tables_chain)
               ? AB_OK
               : ab_error_set(error, AB_CORRUPT,
                     "the record at offset %" PRIu64 " is not the one that the tables end with", record->header.offset);
}

/* Where records come from: memory as long as they are there, then the log's files. */
struct apply_source {
    struct ab_partition *partition; /* borrowed */
    uint64_t until_offset;
    struct ab_log_reader *reader; /* owned; NULL until it is needed */
};

/* The next record, borrowed until the next call; AB_END behind the last. */
static ab_err source_next(
    struct apply_source *source, uint64_t offset, struct ab_record *record, struct ab_error *error)
{
    if (offset >= source->until_offset) {
        return AB_END;
    }
    if (source->reader == NULL) {
        if (ab_log_recent_record(source->partition->log, offset, record) == AB_OK) {
            return AB_OK;
        }
        AB_TRY(ab_log_reader_open_on(source->partition->log, offset, source->until_offset, &source->reader, error));
    }
    return ab_log_reader_next(source->reader, record, error);
}

static ab_err apply_one(struct ab_partition *partition, const struct ab_record *record, struct ab_arena *arena,
    struct ab_arena *scratch, struct ab_error *error)
{
    ab_arena_reset(arena);
    ab_lock_take(&partition->lock);
    size_t jobs_before = partition->jobs_count;
    ab_err err = tables_check(partition, record, error);
    if (err == AB_OK) {
        err = ab_partition_apply_record_locked(partition, record, arena, scratch, error);
    }
    bool is_wake_due = partition->jobs_count > jobs_before;
    ab_condition_signal_all(&partition->changed);
    ab_lock_give(&partition->lock);
    if (is_wake_due) {
        ab_partition_wake(partition);
    }
    return err;
}

/* Applies what the source gives until it ends or enough was done. */
static ab_err apply_some(
    struct apply_source *source, struct ab_arena *arena, struct ab_arena *scratch, struct ab_error *error)
{
    size_t bytes = 0;
    struct ab_record record;
    while (bytes < APPLY_BYTES_MAX) {
        AB_TRY(source_next(source, source->partition->applied_offset, &record, error));
        bytes += ab_record_bytes(&record.header);
        AB_TRY(apply_one(source->partition, &record, arena, scratch, error));
    }
    return AB_AGAIN;
}

bool ab_partition_is_over_budget(const struct ab_partition *partition)
{
    return partition->options.partials != NULL && ab_memory_is_over(partition->options.partials);
}

ab_err ab_partition_apply_log(
    struct ab_partition *partition, uint64_t until_offset, struct ab_arena *scratch, struct ab_error *error)
{
    AB_ASSERT(until_offset <= ab_partition_committed(partition));
    uint64_t from = partition->applied_offset; /* only this thread moves it */
    if (from >= until_offset) {
        return AB_OK;
    }
    struct apply_source source = {.partition = partition, .until_offset = until_offset};
    ab_err err = apply_some(&source, &partition->decoded, scratch, error);
    ab_arena_reset(&partition->decoded);
    ab_log_reader_close(source.reader);
    return err == AB_END ? AB_OK : err;
}
