#include "speed/partition_private.h"

#include "speed/limits.h"
#include "speed/span_window.h"
#include "common/base/assert.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/log/scrub.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- life ---- */

ab_err ab_partition_open(
    const struct ab_partition_options *options, struct ab_partition **partition, struct ab_error *error)
{
    struct ab_partition *made = ab_new(struct ab_partition);
    made->options = *options;
    made->options.directory = ab_new_text(options->directory);
    made->log_directory = ab_new_format("%s/log", options->directory);
    made->state_directory = ab_new_format("%s/state", options->directory);
    made->retained_path = ab_new_format("%s/retained", options->directory);
    made->install_path = ab_new_format("%s/install", options->directory);
    ab_lock_init(&made->lock);
    ab_condition_init(&made->changed);
    made->leader_epoch = options->leader_epoch;
    ab_verdict_builder_init(&made->verdict, NULL);
    ab_err err = ab_partition_recover(made, error);
    if (err != AB_OK) {
        ab_partition_close(made);
        return ab_error_wrap(error, err, "partition %u", options->number);
    }
    *partition = made;
    return AB_OK;
}

static void job_destroy(struct flush_job *job)
{
    while (job->waiters != NULL) {
        struct flush_waiter *next = job->waiters->next;
        ab_delete(job->waiters);
        job->waiters = next;
    }
    ab_table_puts_fini(&job->puts);
    ab_delete(job->counts);
    ab_delete(job);
}

void ab_partition_close(struct ab_partition *partition)
{
    if (partition == NULL) {
        return;
    }
    while (partition->jobs != NULL) {
        struct flush_job *next = partition->jobs->next;
        job_destroy(partition->jobs);
        partition->jobs = next;
    }
    for (size_t i = 0; i < partition->spans_count; i++) {
        ab_span_destroy(partition->spans[i]);
    }
    ab_delete(partition->spans);
    ab_dedup_destroy(partition->dedup);
    ab_verdict_builder_fini(&partition->verdict);
    ab_buffer_fini(&partition->verdict_bytes);
    ab_arena_fini(&partition->decoded);
    ab_log_close(partition->log);
    ab_partition_state_close(partition->state);
    ab_condition_fini(&partition->changed);
    ab_lock_fini(&partition->lock);
    ab_delete(partition->log_directory);
    ab_delete(partition->state_directory);
    ab_delete(partition->retained_path);
    ab_delete(partition->install_path);
    ab_delete((char *)(uintptr_t)partition->options.directory);
    ab_delete(partition);
}

void ab_partition_stop_if_condemned(const struct ab_partition *partition, ab_err err, const struct ab_error *error)
{
    if (err == AB_CORRUPT && ab_partition_state_is_condemned(partition->state)) {
        ab_error_log("state is damaged", "partition %u: %s: the process stops, and its next start rebuilds the state",
            partition->options.number, error->text);
        abort();
    }
}

/* ---- staging and committing ---- */

static ab_time_us append_time(const struct ab_partition *partition, ab_time_us now)
{
    return now > partition->last_append_us ? now : partition->last_append_us + 1;
}

/* Judges the rows and appends the record. */
static ab_err stage_new(
    struct ab_partition *partition, struct ab_arena *arena, struct ab_staged *staged, struct ab_error *error)
{
    const struct ab_block *block = &staged->bound.block;
    bool has_source = block->mark.source.bytes > 0;
    struct ab_source_state mark = {0};
    struct ab_judge_rules rules = {.partition = partition->options.number,
        .partitions_count = partition->options.partitions_count,
        .append_time_us = staged->append_time_us};
    rules.has_mark = has_source && ab_dedup_source(partition->dedup, block->stream, block->mark.source, &mark);
    rules.last_position = mark.last_position;
    if (has_source && !rules.has_mark && ab_dedup_is_full(partition->dedup)) {
        return ab_error_set(error, AB_TOO_LARGE, "more than %u sources in partition %u", AB_DEDUP_SOURCES_MAX,
            partition->options.number);
    }
    AB_TRY(ab_judge_rows(&staged->bound, &rules, arena, &partition->verdict, &staged->judged, error));
    ab_buffer_clear(&partition->verdict_bytes);
    ab_verdict_builder_encode(&partition->verdict, &partition->verdict_bytes);
    const struct ab_span *span = partition_open_span(partition);
    struct ab_record record = {.verdict = ab_buffer_view(&partition->verdict_bytes), .body = staged->bound.body};
    record.header.kind = AB_RECORD_BLOCK;
    record.header.leader_epoch = partition->leader_epoch;
    record.header.append_time_us = staged->append_time_us;
    record.header.catalog_version = span->served->catalog->version;
    record.header.rows_count = block->rows_count;
    record.header.rejected_count = staged->judged.rejected;
    record.header.duplicate_count = staged->judged.duplicates;
    uint64_t offset = 0;
    ab_err err = ab_log_append(partition->log, &record, &offset);
    if (err != AB_OK) {
        return ab_error_set(error, err, "append to the log of partition %u", partition->options.number);
    }
    staged->chain = record.chain;
    staged->outcome = (struct ab_outcome){.offset = offset,
        .accepted = staged->judged.accepted,
        .rejected = staged->judged.rejected,
        .duplicates = staged->judged.duplicates};
    return AB_OK;
}

ab_err ab_partition_stage(struct ab_partition *partition, struct ab_bytes payload, ab_time_us now,
    struct ab_arena *arena, struct ab_staged *staged, struct ab_error *error)
{
    const struct ab_span *span = partition_open_span(partition); /* only the worker changes the list */
    *staged = (struct ab_staged){.append_time_us = append_time(partition, now)};
    AB_TRY(ab_judge_bind(payload, span->served->catalog, arena, &staged->bound, error));
    const struct ab_block *block = &staged->bound.block;
    if (block->partition != partition->options.number) {
        return ab_error_set(error, AB_INVALID, "the block is of partition %u and was sent to %u", block->partition,
            partition->options.number);
    }
    struct ab_hash128 hash = ab_hash128(AB_HASH_BLOCK, staged->bound.body);
    ab_err err = ab_dedup_check(partition->dedup, block->producer_id, block->sequence, hash, &staged->outcome, error);
    if (err == AB_EXISTS) {
        staged->is_repeat = true;
        return AB_OK;
    }
    AB_TRY(err);
    AB_TRY(stage_new(partition, arena, staged, error));
    ab_dedup_note(partition->dedup, block->producer_id, block->sequence, hash, &staged->outcome);
    if (block->mark.source.bytes > 0) {
        struct ab_source_state mark = {.last_position = block->mark.last_position,
            .byte_offset = block->mark.byte_offset,
            .prefix_hash = block->mark.prefix_hash};
        ab_dedup_source_note(partition->dedup, block->stream, block->mark.source, staged->outcome.offset, &mark);
    }
    partition->last_append_us = staged->append_time_us;
    partition->staged_count++;
    return AB_OK;
}

static _Noreturn void abort_untrusted(const struct ab_partition *partition, const char *what, const char *text)
{
    ab_error_log(
        what, "partition %u: %s: the process stops and recovers from the log", partition->options.number, text);
    abort();
}

ab_err ab_partition_write(struct ab_partition *partition, struct ab_error *error)
{
    struct ab_error detail = {0};
    partition->staged_count = 0;
    ab_err err = ab_log_write(partition->log, &detail);
    if (err == AB_NO_SPACE) {
        /* Those before were appended, but may still be cut off as long as they are not committed. */
        ab_dedup_rollback(partition->dedup, ab_log_end_offset(partition->log));
        return ab_error_set(error, err, "%s", detail.text);
    }
    if (err != AB_OK) {
        abort_untrusted(partition, "log write failed", detail.text);
    }
    return AB_OK;
}

void ab_partition_sync(struct ab_partition *partition)
{
    struct ab_error detail = {0};
    if (ab_log_sync(partition->log, &detail) != AB_OK) {
        abort_untrusted(partition, "log sync failed", detail.text);
    }
}

void ab_partition_set_committed(struct ab_partition *partition, uint64_t offset)
{
    AB_ASSERT(offset <= ab_log_durable_offset(partition->log));
    if (offset > atomic_load(&partition->committed_offset)) {
        atomic_store(&partition->committed_offset, offset);
        ab_dedup_commit(partition->dedup, offset);
    }
}

ab_err ab_partition_commit(struct ab_partition *partition, struct ab_error *error)
{
    if (partition->staged_count == 0) {
        return AB_OK;
    }
    AB_TRY(ab_partition_write(partition, error));
    ab_partition_sync(partition);
    ab_partition_set_committed(partition, ab_log_durable_offset(partition->log));
    return AB_OK;
}

void ab_partition_note_durable(struct ab_partition *partition)
{
    struct ab_error error = {0};
    if (ab_log_note_durable(partition->log, &error) != AB_OK) {
        ab_warn("watermark of the log not written", "partition %u: %s", partition->options.number, error.text);
    }
}

struct ab_log_scrub *ab_partition_scrub(struct ab_partition *partition)
{
    return ab_log_scrub_create(partition->log);
}

bool ab_partition_source(
    const struct ab_partition *partition, struct ab_bytes stream, struct ab_bytes source, struct ab_source_state *state)
{
    return ab_dedup_source_committed(partition->dedup, stream, source, state);
}

/* ---- cuts ---- */

void ab_partition_add_span_locked(struct ab_partition *partition, struct ab_span *span)
{
    partition->spans = ab_renew_bytes(partition->spans, (partition->spans_count + 1) * sizeof(struct ab_span *));
    partition->spans[partition->spans_count++] = span;
    partition->open = span;
}

void ab_partition_close_span_locked(struct ab_partition *partition, const struct ab_cut *cut, uint64_t end_offset,
    struct ab_hash128 chain, uint64_t leader_epoch, const struct ab_served_catalog *next)
{
    struct ab_span *open = partition_open_span(partition);
    open->number = cut->cut;
    open->is_closed = true;
    open->cut_time_us = cut->time_us;
    open->horizon_us = cut->horizon_us;
    open->end_offset = end_offset;
    open->chain = chain;
    open->leader_epoch = leader_epoch;
    struct ab_span_start start = {.number = cut->cut + 1,
        .start_offset = end_offset,
        .start_time_us = cut->time_us,
        .served = next,
        .before = open,
        .retired_cut = partition->retired_cut};
    ab_partition_add_span_locked(partition, ab_span_create(&start));
    partition->applied_offset = end_offset;
    partition->applied_chain = chain;
}

ab_err ab_partition_append_cut(struct ab_partition *partition, const struct ab_cut *cut, ab_time_us now_us,
    uint64_t *end_offset, struct ab_hash128 *chain, struct ab_error *error)
{
    struct ab_buffer body = {0};
    ab_cut_encode(cut, &body);
    struct ab_buffer verdict = {0};
    ab_verdict_builder_clear(&partition->verdict);
    ab_verdict_builder_encode(&partition->verdict, &verdict);
    struct ab_record record = {.body = ab_buffer_view(&body), .verdict = ab_buffer_view(&verdict)};
    record.header.kind = AB_RECORD_CUT;
    record.header.leader_epoch = partition->leader_epoch;
    record.header.append_time_us = append_time(partition, now_us);
    record.header.catalog_version = cut->catalog_version;
    uint64_t offset = 0;
    ab_err err = ab_log_append(partition->log, &record, &offset);
    if (err == AB_OK) {
        *chain = record.chain;
        *end_offset = offset + 1;
        partition->staged_count++;
        partition->last_append_us = record.header.append_time_us;
    } else {
        err = ab_error_set(error, err, "append cut %" PRIu64, cut->cut);
    }
    ab_buffer_fini(&body);
    ab_buffer_fini(&verdict);
    return err;
}

ab_err ab_partition_append_first(struct ab_partition *partition, struct ab_error *error)
{
    const struct ab_served_catalog *initial = partition->options.initial;
    if (initial == NULL) {
        return ab_error_set(error, AB_UNAVAILABLE, "a new partition needs a catalog");
    }
    struct ab_cut cut = {.cut = 0,
        .catalog_version = initial->catalog->version,
        .catalog_hash = initial->catalog->hash,
        .catalog_text = initial->encoded};
    uint64_t end_offset = 0;
    struct ab_hash128 chain;
    return ab_partition_append_cut(partition, &cut, ab_time_now(), &end_offset, &chain, error);
}

static struct flush_waiter *waiter_create(ab_partition_done_fn on_done, void *context)
{
    struct flush_waiter *waiter = ab_new(struct flush_waiter);
    waiter->on_done = on_done;
    waiter->context = context;
    return waiter;
}

/* A cut that is in the log already: tells the caller now, or when its span is stored. */
static void cut_join(struct ab_partition *partition, struct ab_span *span, const struct ab_partition_cut *cut)
{
    ab_lock_take(&partition->lock);
    bool is_flushed = span->is_flushed;
    for (struct flush_job *job = partition->jobs; job != NULL && !is_flushed; job = job->next) {
        if (job->span == span && job->is_closing) {
            struct flush_waiter *waiter = waiter_create(cut->on_done, cut->context);
            waiter->next = job->waiters;
            job->waiters = waiter;
        }
    }
    ab_lock_give(&partition->lock);
    if (is_flushed) {
        cut->on_done(partition, cut->context);
    }
}

static ab_err cut_check(struct ab_partition *partition, uint64_t cut, struct ab_span **there, struct ab_error *error)
{
    const struct ab_span *open = partition_open_span(partition);
    ab_lock_take(&partition->lock);
    size_t spans_count = partition->spans_count;
    for (size_t i = 0; i + 1 < spans_count; i++) {
        *there = partition->spans[i]->number == cut ? partition->spans[i] : *there;
    }
    ab_lock_give(&partition->lock);
    if (*there != NULL) {
        return AB_OK;
    }
    if (cut < open->number) {
        return ab_error_set(
            error, AB_INVALID, "cut %" PRIu64 " is not after the last one: the next is %" PRIu64, cut, open->number);
    }
    if (spans_count >= AB_SPANS_MAX) {
        return ab_error_set(error, AB_FULL, "%zu spans are not retired yet", spans_count);
    }
    return AB_OK;
}

/* Stages the record of a cut that is not there yet. */
static ab_err cut_append(struct ab_partition *partition, const struct ab_partition_cut *cut, struct ab_cut *record,
    uint64_t *end_offset, struct ab_hash128 *chain, struct ab_error *error)
{
    const struct ab_span *open = partition_open_span(partition);
    const struct ab_served_catalog *next = cut->served == NULL ? open->served : cut->served;
    *record = (struct ab_cut){.cut = cut->cut,
        .time_us = cut->time_us,
        .horizon_us = cut->horizon_us,
        .catalog_version = next->catalog->version,
        .catalog_hash = next->catalog->hash};
    record->catalog_text = next == open->served ? ab_bytes_of(NULL, 0) : next->encoded;
    return ab_partition_append_cut(partition, record, cut->now_us, end_offset, chain, error);
}

ab_err ab_partition_cut(struct ab_partition *partition, const struct ab_partition_cut *cut, struct ab_error *error)
{
    AB_ASSERT(partition->staged_count == 0);
    struct ab_span *there = NULL;
    AB_TRY(cut_check(partition, cut->cut, &there, error));
    if (there != NULL) {
        cut_join(partition, there, cut);
        return AB_OK;
    }
    struct ab_span *open = partition_open_span(partition);
    struct ab_cut record;
    uint64_t end_offset = 0;
    struct ab_hash128 chain;
    AB_TRY(cut_append(partition, cut, &record, &end_offset, &chain, error));
    AB_TRY(ab_partition_commit(partition, error));
    const struct ab_served_catalog *next = cut->served == NULL ? open->served : cut->served;
    ab_lock_take(&partition->lock);
    ab_partition_close_span_locked(partition, &record, end_offset, chain, partition->leader_epoch, next);
    partition->applied_time_us = partition->last_append_us;
    struct flush_job *job = ab_partition_freeze_locked(partition, open, end_offset, true);
    job->waiters = waiter_create(cut->on_done, cut->context);
    ab_partition_push_job_locked(partition, job);
    ab_condition_signal_all(&partition->changed);
    ab_lock_give(&partition->lock);
    ab_partition_wake(partition);
    return AB_OK;
}

ab_err ab_partition_cut_stage(
    struct ab_partition *partition, const struct ab_partition_cut *cut, uint64_t *end_offset, struct ab_error *error)
{
    struct ab_span *there = NULL;
    struct ab_cut record;
    struct ab_hash128 chain;
    AB_TRY(cut_check(partition, cut->cut, &there, error));
    if (there != NULL) {
        *end_offset = 0;
        cut_join(partition, there, cut);
        return AB_OK;
    }
    return cut_append(partition, cut, &record, end_offset, &chain, error);
}

/* ---- as a replica ---- */

ab_err ab_partition_begin_epoch(struct ab_partition *partition, uint64_t epoch, struct ab_error *error)
{
    partition->leader_epoch = epoch;
    if (ab_log_end_offset(partition->log) == 0) {
        AB_TRY(ab_partition_append_first(partition, error));
    }
    struct ab_buffer verdict = {0};
    ab_verdict_builder_clear(&partition->verdict);
    ab_verdict_builder_encode(&partition->verdict, &verdict);
    struct ab_record record = {.verdict = ab_buffer_view(&verdict)};
    record.header.kind = AB_RECORD_EPOCH_START;
    record.header.leader_epoch = epoch;
    record.header.append_time_us = append_time(partition, ab_time_now());
    const struct ab_span *open = partition_open_span(partition);
    record.header.catalog_version = open == NULL ? 0 : open->served->catalog->version;
    uint64_t offset = 0;
    ab_err err = ab_log_append(partition->log, &record, &offset);
    ab_buffer_fini(&verdict);
    if (err != AB_OK) {
        ab_log_abandon(partition->log);
        partition->staged_count = 0;
        return ab_error_set(error, err, "append the start of leader epoch %" PRIu64, epoch);
    }
    partition->last_append_us = record.header.append_time_us;
    partition->staged_count++;
    return ab_partition_write(partition, error);
}

ab_err ab_partition_copy(struct ab_partition *partition, struct ab_bytes records, struct ab_error *error)
{
    AB_ASSERT(partition->staged_count == 0);
    struct ab_log_copied copied = {0};
    AB_TRY(ab_log_append_copy(partition->log, records, &copied, error));
    return ab_partition_write(partition, error);
}

ab_err ab_partition_truncate(struct ab_partition *partition, uint64_t offset, struct ab_error *error)
{
    bool is_behind = partition_is_behind(partition); /* then what is applied says nothing of the log's end */
    AB_ASSERT(partition->staged_count == 0);
    AB_ASSERT(offset >= (is_behind ? ab_partition_committed(partition) : partition->applied_offset));
    AB_TRY(ab_log_truncate(partition->log, offset, error));
    return AB_OK;
}

ab_err ab_partition_clear_damage(struct ab_partition *partition, struct ab_error *error)
{
    return ab_log_clear_damage(partition->log, error);
}

bool ab_partition_is_behind(const struct ab_partition *partition)
{
    return partition_is_behind(partition);
}

void ab_partition_forget_uncommitted(struct ab_partition *partition)
{
    ab_dedup_rollback(partition->dedup, 0);
}

ab_err ab_partition_chain_at(
    struct ab_partition *partition, uint64_t offset, struct ab_hash128 *chain, struct ab_error *error)
{
    return ab_log_chain_at(partition->log, offset, chain, error);
}

ab_err ab_partition_recent(const struct ab_partition *partition, uint64_t offset, size_t bytes_max,
    struct ab_bytes *records, uint64_t *end_offset)
{
    return ab_log_recent(partition->log, offset, bytes_max, records, end_offset);
}

ab_err ab_partition_reader_open(const struct ab_partition *partition, uint64_t from_offset, uint64_t until_offset,
    struct ab_log_reader **reader, struct ab_error *error)
{
    return ab_log_reader_open_on(partition->log, from_offset, until_offset, reader, error);
}

void ab_partition_log_view(const struct ab_partition *partition, struct ab_replica_log *log)
{
    AB_ASSERT(partition->staged_count == 0);
    *log = (struct ab_replica_log){.start = ab_log_start_offset(partition->log),
        .end = ab_log_end_offset(partition->log),
        .durable = ab_log_durable_offset(partition->log),
        .chain = ab_log_chain(partition->log),
        .installed_until = partition_is_behind(partition) ? partition->tables_from : 0};
    log->epochs = ab_log_epochs(partition->log, &log->epochs_count);
}

/* ---- retiring ---- */

/* AB_AGAIN while a span up to `cut` is open or not stored. */
static ab_err retire_check(struct ab_partition *partition, uint64_t cut, struct ab_error *error)
{
    ab_err err = AB_OK;
    ab_lock_take(&partition->lock);
    for (size_t i = 0; i < partition->spans_count && err == AB_OK; i++) {
        const struct ab_span *span = partition->spans[i];
        if (span->number <= cut && !span->is_flushed) {
            err = ab_error_set(error, AB_AGAIN, "span %" PRIu64 " of partition %u is not closed and stored yet",
                span->number, partition->options.number);
        }
    }
    ab_lock_give(&partition->lock);
    return err;
}

ab_err ab_partition_retire(
    struct ab_partition *partition, uint64_t cut, ab_partition_done_fn on_done, void *context, struct ab_error *error)
{
    AB_ASSERT(partition->staged_count == 0);
    if (cut <= partition->retired_cut) {
        on_done(partition, context);
        return AB_OK;
    }
    AB_TRY(retire_check(partition, cut, error));
    ab_lock_take(&partition->lock);
    partition->retired_cut = cut; /* queries refuse from now on; the families go once this is durable */
    struct flush_job *job =
        ab_partition_freeze_locked(partition, partition_open_span(partition), partition->applied_offset, false);
    job->retire_cut = cut;
    job->waiters = waiter_create(on_done, context);
    ab_partition_push_job_locked(partition, job);
    ab_lock_give(&partition->lock);
    ab_partition_wake(partition);
    return AB_OK;
}

ab_err ab_partition_trim(struct ab_partition *partition, uint64_t offset, struct ab_error *error)
{
    AB_ASSERT(partition->staged_count == 0);
    ab_lock_take(&partition->lock);
    uint64_t limit = ab_span_trim_limit(offset, partition->flushed_offset, partition->spans[0]->start_offset);
    struct ab_table_puts puts = {0};
    if (limit > ab_log_start_offset(partition->log)) {
        ab_partition_tables_put_locked(partition, true, &puts);
    }
    ab_lock_give(&partition->lock);
    ab_err err = AB_OK;
    if (puts.count > 0) {
        struct ab_buffer bytes = {0};
        ab_table_puts_encode(&puts, &bytes);
        err = ab_file_replace(partition->retained_path, ab_buffer_view(&bytes), 0600, error);
        ab_buffer_fini(&bytes);
        if (err == AB_OK) {
            err = ab_log_trim(partition->log, limit, error);
        }
    }
    ab_table_puts_fini(&puts);
    return err;
}

/* ---- what it says of itself ---- */

uint32_t ab_partition_number(const struct ab_partition *partition)
{
    return partition->options.number;
}

const char *ab_partition_log_directory(const struct ab_partition *partition)
{
    return partition->log_directory;
}

uint64_t ab_partition_durable(const struct ab_partition *partition)
{
    return ab_log_durable_offset(partition->log);
}

uint64_t ab_partition_committed(const struct ab_partition *partition)
{
    return atomic_load(&partition->committed_offset);
}

uint64_t ab_partition_applied(struct ab_partition *partition)
{
    ab_lock_take(&partition->lock);
    uint64_t offset = partition->applied_offset;
    ab_lock_give(&partition->lock);
    return offset;
}

ab_err ab_partition_wait_applied(struct ab_partition *partition, uint64_t offset, int64_t until_us)
{
    bool is_in_time = true;
    ab_lock_take(&partition->lock);
    while (partition->applied_offset < offset && is_in_time) {
        is_in_time = ab_condition_wait(&partition->changed, &partition->lock, until_us);
    }
    bool is_applied = partition->applied_offset >= offset;
    ab_lock_give(&partition->lock);
    return is_applied ? AB_OK : AB_TIMEOUT;
}

static void report_span(const struct ab_span *span, struct ab_partition_report *report)
{
    for (uint32_t s = 0; s < span->rows_count; s++) {
        report->rows_accepted += span->rows[s].accepted;
        report->rows_rejected += span->rows[s].rejected;
        report->rows_duplicate += span->rows[s].duplicates;
    }
    for (uint32_t s = 0; s < span->shares_count; s++) {
        const struct ab_share *share = &span->shares[s];
        report->frozen_count += share->frozen_count;
        report->groups_count += share->active == NULL ? 0 : ab_group_table_count(share->active);
        for (size_t f = 0; f < share->frozen_count; f++) {
            report->groups_count += ab_group_table_count(share->frozen[f]->table);
        }
    }
}

void ab_partition_report(struct ab_partition *partition, struct ab_partition_report *report)
{
    *report = (struct ab_partition_report){.replayed_records = partition->replayed_records,
        .torn_bytes = partition->torn_bytes,
        .damaged_until = partition->damaged_until};
    report->start_offset = ab_log_start_offset(partition->log);
    report->end_offset = ab_log_end_offset(partition->log);
    report->durable_offset = ab_log_durable_offset(partition->log);
    ab_lock_take(&partition->lock);
    const struct ab_span *open = partition_open_span(partition);
    report->applied_offset = partition->applied_offset;
    report->flushed_offset = partition->flushed_offset;
    report->applied_time_us = partition->applied_time_us;
    report->committed_offset = atomic_load(&partition->committed_offset);
    report->last_cut = open == NULL ? 0 : open->number - 1;
    report->retired_cut = partition->retired_cut;
    report->catalog_version = open == NULL ? 0 : open->served->catalog->version;
    report->spans_count = partition->spans_count;
    report->jobs_count = partition->jobs_count;
    report->producers_count = partition->producers_count;
    report->sources_count = partition->sources_count;
    for (size_t i = 0; i < partition->spans_count; i++) {
        report_span(partition->spans[i], report);
    }
    ab_lock_give(&partition->lock);
}

static void closed_span_fill(const struct ab_span *from, struct ab_closed_span *span)
{
    *span = (struct ab_closed_span){.family = from->family,
        .end_offset = from->end_offset,
        .leader_epoch = from->leader_epoch,
        .chain = from->chain,
        .cut_time_us = from->cut_time_us,
        .is_flushed = from->is_flushed};
    for (uint32_t s = 0; s < from->rows_count; s++) {
        span->accepted += from->rows[s].accepted;
        span->rejected += from->rows[s].rejected;
        span->duplicates += from->rows[s].duplicates;
    }
}

ab_err ab_partition_closed_span(
    struct ab_partition *partition, uint64_t cut, struct ab_closed_span *span, struct ab_error *error)
{
    ab_err err = AB_NOT_FOUND;
    ab_lock_take(&partition->lock);
    for (size_t i = 0; i < partition->spans_count; i++) {
        if (partition->spans[i]->number == cut && partition->spans[i]->is_closed) {
            closed_span_fill(partition->spans[i], span);
            err = AB_OK;
        }
    }
    bool is_retired = cut <= partition->retired_cut;
    ab_lock_give(&partition->lock);
    if (is_retired) {
        return ab_error_set(error, AB_STALE, "span %" PRIu64 " was retired here", cut);
    }
    return err == AB_OK ? AB_OK
                        : ab_error_set(error, err, "partition %u has no cut %" PRIu64, partition->options.number, cut);
}

size_t ab_partition_active_bytes(struct ab_partition *partition)
{
    size_t bytes = 0;
    ab_lock_take(&partition->lock);
    const struct ab_span *span = partition_span_at_hand(partition);
    for (uint32_t s = 0; span != NULL && s < span->shares_count; s++) {
        const struct ab_share *share = &span->shares[s];
        bytes += share->active == NULL ? 0 : ab_group_table_bytes(share->active);
        for (size_t f = 0; f < share->frozen_count; f++) {
            bytes += ab_group_table_bytes(share->frozen[f]->table);
        }
    }
    ab_lock_give(&partition->lock);
    return bytes;
}
