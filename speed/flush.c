/* Freezing and storing: the way of a partition's tables from memory into its families. */
#include "speed/partition_private.h"

#include "speed/limits.h"
#include "common/base/assert.h"
#include "common/base/logging.h"
#include "common/store/operand_file.h"

#include <inttypes.h>
#include <stdlib.h>

#define POSITION_FORMAT 1u
#define FILES_WAIT_US (20 * AB_US_PER_MS)
#define FILES_WAITS_MAX 500

void ab_tables_position_encode(const struct tables_position *position, struct ab_buffer *out)
{
    ab_buffer_put_u8(out, POSITION_FORMAT);
    ab_buffer_put_u64(out, position->applied_offset);
    ab_buffer_put_u64(out, (uint64_t)position->last_append_us);
    ab_buffer_put_u64(out, position->chain.low);
    ab_buffer_put_u64(out, position->chain.high);
    ab_buffer_put_u64(out, position->retired_cut);
}

ab_err ab_tables_position_decode(struct ab_bytes value, struct tables_position *position)
{
    struct ab_reader reader = ab_reader_of(value);
    struct tables_position read = {0};
    bool is_known = ab_reader_u8(&reader) == POSITION_FORMAT;
    read.applied_offset = ab_reader_u64(&reader);
    read.last_append_us = (ab_time_us)ab_reader_u64(&reader);
    read.chain.low = ab_reader_u64(&reader);
    read.chain.high = ab_reader_u64(&reader);
    read.retired_cut = ab_reader_u64(&reader);
    if (!is_known || ab_reader_finish(&reader) != AB_OK) {
        return AB_CORRUPT;
    }
    *position = read;
    return AB_OK;
}

/* ---- freezing (worker) ---- */

static void put_span(const struct ab_span *span, struct ab_table_puts *puts)
{
    uint8_t key[9] = {'k'};
    for (int i = 0; i < 8; i++) {
        key[1 + i] = (uint8_t)(span->family >> (56 - 8 * i));
    }
    struct ab_buffer value = {0};
    ab_span_encode(span, &value);
    ab_table_puts_add(puts, ab_bytes_of(key, sizeof(key)), ab_buffer_view(&value));
    ab_buffer_fini(&value);
}

static void put_catalog(const struct ab_served_catalog *served, struct ab_table_puts *puts)
{
    struct ab_buffer key = {0};
    ab_buffer_put_u8(&key, 'c');
    ab_buffer_put_u64(&key, served->key.low);
    ab_buffer_put_u64(&key, served->key.high);
    ab_table_puts_add(puts, ab_buffer_view(&key), served->encoded);
    ab_buffer_fini(&key);
}

/* Catalogs of the live spans, each once (neighbours mostly share one; a view that came back may repeat an older one).
 */
static void put_catalogs(const struct ab_partition *partition, struct ab_table_puts *puts)
{
    for (size_t i = 0; i < partition->spans_count; i++) {
        bool is_new = true;
        for (size_t before = 0; before < i && is_new; before++) {
            is_new = partition->spans[before]->served != partition->spans[i]->served;
        }
        if (is_new) {
            put_catalog(partition->spans[i]->served, puts);
        }
    }
}

void ab_partition_tables_put_locked(struct ab_partition *partition, bool is_everything, struct ab_table_puts *puts)
{
    put_catalogs(partition, puts);
    for (size_t i = 0; i < partition->spans_count; i++) {
        put_span(partition->spans[i], puts);
    }
    struct tables_position position = {.applied_offset = partition->applied_offset,
        .last_append_us = partition->last_append_us,
        .chain = partition->applied_chain,
        .retired_cut = partition->retired_cut};
    struct ab_buffer value = {0};
    ab_tables_position_encode(&position, &value);
    ab_table_puts_add(puts, ab_bytes_of_text("o"), ab_buffer_view(&value));
    ab_buffer_fini(&value);
    ab_dedup_put(partition->dedup, is_everything, puts);
    ab_table_puts_sort(puts);
    partition->producers_count = ab_dedup_producers(partition->dedup);
    partition->sources_count = ab_dedup_sources(partition->dedup);
}

struct flush_job *ab_partition_freeze_locked(
    struct ab_partition *partition, struct ab_span *span, uint64_t upto_offset, bool is_closing)
{
    struct flush_job *job = ab_new(struct flush_job);
    job->span = span;
    job->upto_offset = upto_offset;
    job->is_closing = is_closing;
    job->counts = ab_new_array(struct ab_row_counts, span->shares_count + 1);
    for (uint32_t s = 0; s < span->shares_count; s++) {
        ab_share_freeze(&span->shares[s], upto_offset);
        job->counts[s] = span->shares[s].counts;
    }
    if (!partition->is_replaying && !partition_is_behind(partition)) {
        ab_partition_tables_put_locked(partition, false, &job->puts);
    }
    return job;
}

void ab_partition_push_job_locked(struct ab_partition *partition, struct flush_job *job)
{
    struct flush_job **link = &partition->jobs;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = job;
    partition->jobs_count++;
}

void ab_partition_wake(struct ab_partition *partition)
{
    if (partition->options.on_flush_wanted != NULL) {
        partition->options.on_flush_wanted(partition, partition->options.context);
    }
}

static bool has_active(const struct ab_span *span)
{
    bool has_one = false;
    for (uint32_t s = 0; s < span->shares_count; s++) {
        has_one = has_one || span->shares[s].active != NULL;
    }
    return has_one;
}

/* Behind its tables a partition stores only what is in memory. */
static bool is_flush_wanted_locked(const struct ab_partition *partition, const struct ab_span *span)
{
    bool is_new = partition_is_behind(partition) ? span != NULL && has_active(span)
                                                 : partition->applied_offset > partition->flushed_offset;
    return partition->jobs_count == 0 && !partition->is_installing && is_new;
}

bool ab_partition_flush_begin(struct ab_partition *partition)
{
    ab_lock_take(&partition->lock);
    struct ab_span *span = partition_span_at_hand(partition);
    bool is_wanted = is_flush_wanted_locked(partition, span);
    if (is_wanted) {
        struct flush_job *job = ab_partition_freeze_locked(partition, span, partition->applied_offset, false);
        ab_partition_push_job_locked(partition, job);
    }
    ab_lock_give(&partition->lock);
    if (is_wanted) {
        ab_partition_wake(partition);
    }
    return is_wanted;
}

/* ---- storing (flush thread) ---- */

/* One share's content as of a job: the frozen tables below its offset, as one. */
struct share_content {
    struct ab_frozen *single;      /* owned reference; when there is just one */
    struct ab_group_table *merged; /* owned; when there are several */
    size_t frozen_count;           /* how many of the share's frozen tables this is */
};

static void content_fini(struct share_content *content)
{
    ab_frozen_release(content->single);
    ab_group_table_destroy(content->merged);
    *content = (struct share_content){0};
}

/* Merges frozen tables (references taken by the caller) into a new table. */
static struct ab_group_table *tables_merge(
    const struct ab_partition *partition, const struct ab_share *share, struct ab_frozen **frozen, size_t count)
{
    struct ab_group_table *merged = ab_group_table_create(share->aggregation, partition->options.partials);
    for (size_t i = 0; i < count; i++) {
        ab_group_table_merge_table(merged, frozen[i]->table);
    }
    return merged;
}

/* References to the share's frozen tables up to an offset; *frozen is freed with ab_delete. */
static size_t frozen_collect(
    struct ab_partition *partition, const struct ab_share *share, uint64_t upto_offset, struct ab_frozen ***frozen)
{
    ab_lock_take(&partition->lock);
    *frozen = ab_new_array(struct ab_frozen *, share->frozen_count + 1);
    size_t count = 0;
    while (count < share->frozen_count && share->frozen[count]->upto_offset <= upto_offset) {
        (*frozen)[count] = ab_frozen_acquire(share->frozen[count]);
        count++;
    }
    ab_lock_give(&partition->lock);
    return count;
}

static void content_collect(
    struct ab_partition *partition, const struct ab_share *share, uint64_t upto_offset, struct share_content *content)
{
    struct ab_frozen **frozen = NULL;
    content->frozen_count = frozen_collect(partition, share, upto_offset, &frozen);
    if (content->frozen_count == 1) {
        content->single = frozen[0];
    } else if (content->frozen_count > 1) {
        content->merged = tables_merge(partition, share, frozen, content->frozen_count);
        for (size_t i = 0; i < content->frozen_count; i++) {
            ab_frozen_release(frozen[i]);
        }
    }
    ab_delete(frozen);
}

/* Writes a share's groups behind its offset entry. */
static ab_err share_write(struct ab_partition *partition, const struct ab_share *share, const struct flush_job *job,
    const struct ab_row_counts *counts, const struct share_content *content, struct ab_operand_file *file)
{
    struct ab_buffer key = {0};
    struct ab_buffer value = {0};
    uint64_t applied = job->upto_offset > share->from_offset ? job->upto_offset : share->from_offset;
    ab_span_offset_key(share->view->uid, &key);
    ab_span_offset_encode(applied, counts, &value);
    ab_err err = ab_operand_file_put(file, ab_buffer_view(&key), ab_buffer_view(&value));
    const struct ab_group_table *table = content->single != NULL ? content->single->table : content->merged;
    if (table != NULL && err == AB_OK) {
        struct ab_group_cursor *cursor = ab_group_cursor_open(table, partition->options.memory);
        ab_buffer_clear(&key);
        ab_span_state_prefix(share->view->uid, &key);
        size_t prefix_bytes = key.bytes;
        struct ab_bytes group;
        struct ab_bytes row;
        while (err == AB_OK && ab_group_cursor_next(cursor, &group, &row)) {
            key.bytes = prefix_bytes;
            ab_buffer_put_bytes(&key, group);
            err = ab_operand_file_merge(file, ab_buffer_view(&key), row);
        }
        ab_group_cursor_close(cursor);
    }
    ab_buffer_fini(&key);
    ab_buffer_fini(&value);
    return err;
}

/* Completes a file and ingests it into a family. */
static ab_err file_ingest(struct ab_partition *partition, struct ab_operand_file *file, ab_err err, const char *path,
    uint64_t family, struct ab_error *error)
{
    if (err != AB_OK) {
        ab_operand_file_abandon(file);
        return ab_error_set(error, err, "write an operand file for family %" PRIu64, family);
    }
    uint64_t bytes = 0;
    AB_TRY(ab_operand_file_finish(file, &bytes, error));
    return ab_partition_state_ingest(partition->state, family, path, error);
}

/* Waits while the family holds too many files; compaction brings them down. */
static void wait_for_files(struct ab_partition *partition, uint64_t family)
{
    for (int i = 0; i < FILES_WAITS_MAX && ab_partition_state_files(partition->state, family) > AB_FLUSH_FILES_MAX;
         i++) {
        ab_time_sleep_us(FILES_WAIT_US);
    }
}

static ab_err span_store(
    struct ab_partition *partition, const struct flush_job *job, struct share_content *contents, struct ab_error *error)
{
    struct ab_span *span = job->span;
    if (span->shares_count == 0) {
        return ab_partition_state_span_create(partition->state, span->family, error);
    }
    AB_TRY(ab_partition_state_span_create(partition->state, span->family, error));
    wait_for_files(partition, span->family);
    char *path = ab_partition_state_stage(partition->state);
    struct ab_operand_file *file = NULL;
    ab_err err = ab_operand_file_create(path, &file, error);
    if (err == AB_OK) {
        for (uint32_t s = 0; s < span->shares_count && err == AB_OK; s++) {
            err = share_write(partition, &span->shares[s], job, &job->counts[s], &contents[s], file);
        }
        err = file_ingest(partition, file, err, path, span->family, error);
    }
    ab_delete(path);
    return err;
}

static ab_err tables_store(struct ab_partition *partition, const struct flush_job *job, struct ab_error *error)
{
    if (job->puts.count == 0) {
        return AB_OK;
    }
    AB_TRY(ab_partition_state_span_create(partition->state, AB_STATE_TABLES, error));
    wait_for_files(partition, AB_STATE_TABLES);
    char *path = ab_partition_state_stage(partition->state);
    struct ab_operand_file *file = NULL;
    ab_err err = ab_operand_file_create(path, &file, error);
    if (err == AB_OK) {
        for (size_t i = 0; i < job->puts.count && err == AB_OK; i++) {
            struct ab_bytes key;
            struct ab_bytes value;
            ab_table_puts_at(&job->puts, i, &key, &value);
            err = ab_operand_file_put(file, key, value);
        }
        err = file_ingest(partition, file, err, path, AB_STATE_TABLES, error);
    }
    ab_delete(path);
    return err;
}

/* Drops the families of retired spans and forgets the spans. Nobody reads them: their cuts are refused by now. */
static ab_err spans_drop(struct ab_partition *partition, uint64_t cut, struct ab_error *error)
{
    for (;;) {
        ab_lock_take(&partition->lock);
        struct ab_span *span = partition->spans[0]->number <= cut ? partition->spans[0] : NULL;
        ab_lock_give(&partition->lock);
        if (span == NULL) {
            return AB_OK;
        }
        AB_TRY(ab_partition_state_span_drop(partition->state, span->family, error));
        ab_lock_take(&partition->lock);
        partition->spans_count--;
        memmove(partition->spans, partition->spans + 1, partition->spans_count * sizeof(struct ab_span *));
        ab_lock_give(&partition->lock);
        ab_span_destroy(span);
    }
}

/* Stores the span's part of a job once, and drops it from memory: storing it again would count its rows twice. */
static ab_err job_store_span(struct ab_partition *partition, struct flush_job *job, struct ab_error *error)
{
    if (job->is_span_stored) {
        return AB_OK;
    }
    uint32_t shares_count = job->span->shares_count;
    struct share_content *contents = ab_new_array(struct share_content, shares_count + 1);
    for (uint32_t s = 0; s < shares_count; s++) {
        content_collect(partition, &job->span->shares[s], job->upto_offset, &contents[s]);
    }
    ab_err err = span_store(partition, job, contents, error);
    if (err == AB_OK) {
        job->is_span_stored = true;
        ab_lock_take(&partition->lock);
        for (uint32_t s = 0; s < shares_count; s++) {
            ab_share_replace(&job->span->shares[s], contents[s].frozen_count, NULL);
        }
        ab_lock_give(&partition->lock);
    }
    for (uint32_t s = 0; s < shares_count; s++) {
        content_fini(&contents[s]);
    }
    ab_delete(contents);
    return err;
}

/* Takes a finished job off the list. */
static void job_finish(struct ab_partition *partition, struct flush_job *job)
{
    ab_lock_take(&partition->lock);
    partition->jobs = job->next;
    partition->jobs_count--;
    if (job->puts.count > 0 && job->upto_offset > partition->flushed_offset) {
        partition->flushed_offset = job->upto_offset;
    }
    job->span->is_flushed = job->span->is_flushed || job->is_closing;
    ab_condition_signal_all(&partition->changed);
    ab_lock_give(&partition->lock);
}

static void job_tell(struct ab_partition *partition, struct flush_job *job)
{
    while (job->waiters != NULL) {
        struct flush_waiter *waiter = job->waiters;
        job->waiters = waiter->next;
        waiter->on_done(partition, waiter->context);
        ab_delete(waiter);
    }
    ab_table_puts_fini(&job->puts);
    ab_delete(job->counts);
    ab_delete(job);
}

static ab_err job_run(struct ab_partition *partition, struct flush_job *job, struct ab_error *error)
{
    AB_TRY(job_store_span(partition, job, error));
    AB_TRY(tables_store(partition, job, error));
    if (job->retire_cut != 0) { /* while the job is listed: on a full disk it is tried again */
        AB_TRY(spans_drop(partition, job->retire_cut, error));
    }
    job_finish(partition, job);
    job_tell(partition, job);
    return AB_OK;
}

/* A share whose frozen tables queries made many; only while no job waits, because a job stores tables up to its offset.
 */
static struct ab_share *share_to_merge_locked(struct ab_partition *partition)
{
    struct ab_span *open = partition_open_span(partition);
    for (uint32_t s = 0; partition->jobs == NULL && open != NULL && s < open->shares_count; s++) {
        if (open->shares[s].frozen_count > AB_FROZEN_MERGE) {
            return &open->shares[s];
        }
    }
    return NULL;
}

/* Merges them into one, and puts it in their place unless a job came meanwhile. */
static void share_merge(struct ab_partition *partition, struct ab_share *share)
{
    struct ab_frozen **frozen = NULL;
    size_t count = frozen_collect(partition, share, UINT64_MAX, &frozen);
    struct ab_group_table *table = tables_merge(partition, share, frozen, count);
    ab_lock_take(&partition->lock);
    bool is_still_free = partition->jobs == NULL;
    if (is_still_free) {
        ab_share_replace(share, count, ab_frozen_create(table, frozen[count - 1]->upto_offset));
    }
    ab_lock_give(&partition->lock);
    if (!is_still_free) {
        ab_group_table_destroy(table);
    }
    for (size_t i = 0; i < count; i++) {
        ab_frozen_release(frozen[i]);
    }
    ab_delete(frozen);
}

static void flush_leave(struct ab_partition *partition)
{
    ab_lock_take(&partition->lock);
    partition->is_flushing = false;
    ab_lock_give(&partition->lock);
}

ab_err ab_partition_flush_step(struct ab_partition *partition, struct ab_error *error)
{
    ab_lock_take(&partition->lock);
    struct flush_job *job = partition->is_installing ? NULL : partition->jobs;
    struct ab_share *share = partition->is_installing ? NULL : share_to_merge_locked(partition);
    partition->is_flushing = job != NULL || share != NULL;
    ab_lock_give(&partition->lock);
    if (job == NULL && share == NULL) {
        return AB_END;
    }
    if (job == NULL) {
        share_merge(partition, share);
        flush_leave(partition);
        return AB_OK;
    }
    struct ab_error detail = {0};
    ab_err err = job_run(partition, job, &detail);
    flush_leave(partition);
    if (err == AB_NO_SPACE) {
        return ab_error_set(error, err, "%s", detail.text);
    }
    if (err != AB_OK) {
        ab_error_log("flush failed", "partition %u: %s: the process stops and recovers from the log",
            partition->options.number, detail.text);
        abort();
    }
    return AB_OK;
}
