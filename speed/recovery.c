/* Opening a partition: what is stored is loaded, the rest is replayed from the log. */
#include "speed/partition_private.h"

#include "speed/limits.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/aggregate/state_row.h"

#include <inttypes.h>
#include <stdio.h>

/* What the tables family, or the file saved aside, said. */
struct loaded {
    struct ab_partition *partition; /* borrowed */
    struct tables_position position;
    bool has_position;
    struct ab_bytes *entries; /* owned copies of span entries, by rising family */
    size_t entries_count;
    bool is_lost; /* log and tables together do not say what the state is */
};

static void loaded_fini(struct loaded *loaded)
{
    for (size_t i = 0; i < loaded->entries_count; i++) {
        ab_delete((void *)(uintptr_t)loaded->entries[i].data);
    }
    ab_delete(loaded->entries);
    *loaded = (struct loaded){.partition = loaded->partition};
}

/* ---- loading the tables ---- */

static ab_err load_span_entry(struct loaded *loaded, struct ab_bytes value)
{
    loaded->entries = ab_renew_bytes(loaded->entries, (loaded->entries_count + 1) * sizeof(struct ab_bytes));
    loaded->entries[loaded->entries_count++] = ab_bytes_of(ab_new_text_of(value), value.bytes);
    return AB_OK;
}

static ab_err load_entry(struct ab_bytes key, struct ab_bytes value, void *context, struct ab_error *error)
{
    struct loaded *loaded = context;
    const struct ab_served_catalog *served = NULL;
    ab_err err = AB_CORRUPT;
    switch (key.bytes == 0 ? 0 : key.data[0]) {
    case 'c':
        return ab_catalogs_add(loaded->partition->options.catalogs, value, &served, error);
    case 'k':
        return load_span_entry(loaded, value);
    case 'o':
        err = ab_tables_position_decode(value, &loaded->position);
        loaded->has_position = err == AB_OK;
        break;
    case 'p':
    case 's':
        err = ab_dedup_load(loaded->partition->dedup, key, value);
        break;
    default:
        break;
    }
    return err == AB_OK ? AB_OK : ab_error_set(error, AB_CORRUPT, "an entry of the tables is malformed");
}

static ab_err load_tables(struct ab_partition *partition, struct loaded *loaded, struct ab_error *error)
{
    struct ab_state_iterator *iterator = NULL;
    struct ab_bytes all = {0};
    ab_err err = ab_state_iterator_open(partition->state, AB_STATE_TABLES, all, all, &iterator, error);
    if (err == AB_NOT_FOUND) {
        return AB_OK;
    }
    AB_TRY(err);
    struct ab_bytes key;
    struct ab_bytes value;
    while ((err = ab_state_iterator_next(iterator, &key, &value, error)) == AB_OK) {
        err = load_entry(key, value, loaded, error);
        if (err != AB_OK) {
            break;
        }
    }
    ab_state_iterator_close(iterator);
    return err == AB_END ? AB_OK : err;
}

/* The tables as saved when the log was trimmed: used when the state was lost. */
static ab_err load_retained(struct ab_partition *partition, struct loaded *loaded, struct ab_error *error)
{
    if (loaded->has_position || !ab_file_exists(partition->retained_path)) {
        return AB_OK;
    }
    struct ab_buffer bytes = {0};
    ab_err err = ab_file_read_all(partition->retained_path, &bytes, error);
    if (err == AB_OK) {
        err = ab_table_puts_decode(ab_buffer_view(&bytes), load_entry, loaded, error);
        ab_dedup_touch(partition->dedup);
    }
    ab_buffer_fini(&bytes);
    loaded->is_lost = err == AB_CORRUPT;
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "%s", partition->retained_path);
}

/* ---- opening ---- */

static ab_err state_open(struct ab_partition *partition, struct ab_error *error)
{
    struct ab_partition_state_options options = {.cache = partition->options.cache, .merge = ab_state_row_merge};
    struct ab_error detail = {0};
    ab_err err = ab_partition_state_open(partition->state_directory, &options, &partition->state, &detail);
    if (err != AB_CORRUPT) {
        return err == AB_OK ? AB_OK : ab_error_set(error, err, "%s", detail.text);
    }
    ab_warn(
        "state does not open, rebuilding it from the log", "partition %u: %s", partition->options.number, detail.text);
    AB_TRY(ab_file_remove_tree(partition->state_directory, error));
    return ab_partition_state_open(partition->state_directory, &options, &partition->state, error);
}

/* Forgets the state and opens an empty one. */
static ab_err state_wipe(struct ab_partition *partition, struct loaded *loaded, const char *why, struct ab_error *error)
{
    ab_warn("state does not belong to the log, rebuilding it", "partition %u: %s", partition->options.number, why);
    ab_partition_state_close(partition->state);
    partition->state = NULL;
    loaded_fini(loaded);
    ab_dedup_destroy(partition->dedup);
    partition->dedup = ab_dedup_create(AB_DEDUP_PRODUCERS_MAX, AB_DEDUP_SOURCES_MAX, partition->options.memory);
    AB_TRY(ab_file_remove_tree(partition->state_directory, error));
    AB_TRY(state_open(partition, error));
    return load_retained(partition, loaded, error);
}

struct ab_log_options ab_partition_log_options(const struct ab_partition *partition)
{
    struct ab_log_options options = {.partition = partition->options.number,
        .segment_bytes = partition->options.segment_bytes,
        .memory = partition->options.memory,
        .recent_bytes_max = partition->options.recent_bytes,
        .is_setting_aside_corrupt = partition->options.is_replicated};
    memcpy(options.cluster_id, partition->options.cluster_id, sizeof(options.cluster_id));
    return options;
}

static void damage_log(const struct ab_partition *partition, const struct ab_log_recovery *recovery)
{
    if (recovery->damaged_until == UINT64_MAX) {
        ab_error_log(
            "log is lost", "partition %u: what was there is fetched from another replica", partition->options.number);
    } else if (recovery->damaged_until > 0) {
        ab_error_log("log is damaged",
            "partition %u: records from %" PRIu64 " to %" PRIu64 " are missing%s%s: they "
            "are fetched from another replica",
            partition->options.number, recovery->damaged_from, recovery->damaged_until,
            recovery->aside_name[0] == 0 ? "" : ", what was there is kept as ", recovery->aside_name);
    }
}

static ab_err log_open(struct ab_partition *partition, struct ab_error *error)
{
    struct ab_log_options options = ab_partition_log_options(partition);
    struct ab_log_recovery recovery = {0};
    bool is_gone =
        partition->options.is_replicated && partition->options.was_here && !ab_file_exists(partition->log_directory);
    AB_TRY(ab_log_open(partition->log_directory, &options, &partition->log, &recovery, error));
    if (is_gone) {
        AB_TRY(ab_log_note_damage(partition->log, UINT64_MAX, error));
        recovery.damaged_until = UINT64_MAX;
    }
    partition->torn_bytes = recovery.torn_bytes;
    partition->damaged_until = recovery.damaged_until;
    damage_log(partition, &recovery);
    if (recovery.torn_bytes > 0) {
        ab_warn("torn tail of the log cut off", "partition %u: %" PRIu64 " bytes", partition->options.number,
            recovery.torn_bytes);
    }
    return AB_OK;
}

/* ---- spans ---- */

ab_err ab_partition_load_shares(struct ab_partition *partition, struct ab_span *span, struct ab_error *error)
{
    struct ab_buffer key = {0};
    struct ab_buffer value = {0};
    ab_err err = AB_OK;
    for (uint32_t s = 0; s < span->shares_count && err == AB_OK; s++) {
        struct ab_share *share = &span->shares[s];
        ab_buffer_clear(&key);
        ab_buffer_clear(&value);
        ab_span_offset_key(share->view->uid, &key);
        err = ab_partition_state_get(partition->state, span->family, ab_buffer_view(&key), &value, error);
        if (err == AB_NOT_FOUND) {
            err = AB_OK;
        } else if (err == AB_OK) {
            err = ab_span_offset_decode(ab_buffer_view(&value), &share->from_offset, &share->counts);
        }
    }
    ab_buffer_fini(&key);
    ab_buffer_fini(&value);
    return err;
}

static bool is_stored(const struct ab_span *span)
{
    for (uint32_t s = 0; s < span->shares_count; s++) {
        if (span->shares[s].from_offset < span->end_offset) {
            return false;
        }
    }
    return span->is_closed;
}

static ab_err build_span(struct ab_partition *partition, const struct ab_span_entry *entry, struct ab_error *error)
{
    const struct ab_served_catalog *served = ab_catalogs_find(partition->options.catalogs, entry->catalog_key);
    if (served == NULL) {
        return ab_error_set(error, AB_CORRUPT, "the tables name a catalog they do not hold");
    }
    struct ab_span_start start = {.number = entry->family,
        .start_offset = entry->start_offset,
        .start_time_us = entry->start_time_us,
        .served = served,
        .before = partition_open_span(partition),
        .retired_cut = partition->retired_cut};
    struct ab_span *span = ab_span_create(&start);
    ab_partition_add_span_locked(partition, span);
    AB_TRY(ab_span_load(span, entry));
    AB_TRY(ab_partition_load_shares(partition, span, error));
    span->is_flushed = is_stored(span);
    return AB_OK;
}

static ab_err build_spans(struct ab_partition *partition, const struct loaded *loaded, struct ab_error *error)
{
    partition->retired_cut = loaded->position.retired_cut;
    partition->last_append_us = loaded->position.last_append_us;
    partition->tables_from = loaded->position.applied_offset;
    partition->tables_chain = loaded->position.chain;
    partition->flushed_offset = loaded->position.applied_offset;
    for (size_t i = 0; i < loaded->entries_count; i++) {
        struct ab_span_entry entry;
        if (ab_span_decode(loaded->entries[i], &entry) != AB_OK) {
            return ab_error_set(error, AB_CORRUPT, "a span's entry in the tables is malformed");
        }
        if (entry.number > partition->retired_cut) {
            AB_TRY(build_span(partition, &entry, error));
        }
    }
    return AB_OK;
}

/* Families of retired spans that a crash left behind. */
static ab_err drop_leftovers(struct ab_partition *partition, struct ab_error *error)
{
    uint64_t *families = NULL;
    size_t count = 0;
    ab_partition_state_spans(partition->state, &families, &count);
    uint64_t first = partition->spans_count == 0 ? 0 : partition->spans[0]->family;
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        if (families[i] != AB_STATE_TABLES && families[i] < first) {
            err = ab_partition_state_span_drop(partition->state, families[i], error);
        }
    }
    ab_delete(families);
    return err;
}

/* ---- replay ---- */

/* Stores what waits, and everything else when memory runs short. */
static ab_err replay_flush(struct ab_partition *partition, struct ab_error *error)
{
    uint64_t upto = partition->applied_offset;
    struct ab_memory *partials = partition->options.partials;
    bool is_short =
        partials != NULL && partials->limit_bytes != 0 && ab_memory_used(partials) > partials->limit_bytes / 2;
    struct ab_span *span = is_short && partition->jobs == NULL ? ab_partition_span_at(partition, upto - 1) : NULL;
    if (span != NULL) {
        ab_partition_push_job_locked(partition, ab_partition_freeze_locked(partition, span, upto, false));
    }
    ab_err err = AB_OK;
    while (partition->jobs != NULL && err == AB_OK) {
        err = ab_partition_flush_step(partition, error);
    }
    return err;
}

/* True when a record stands where the tables end, on either side, and is not what they end with. */
static bool is_foreign_to(const struct ab_record *record, uint64_t tables_from, struct ab_hash128 chain)
{
    uint64_t offset = record->header.offset;
    bool is_next = offset > 0 && offset == tables_from && !ab_hash128_equal(record->header.previous_chain, chain);
    return is_next || (offset + 1 == tables_from && !ab_hash128_equal(record->chain, chain));
}

static ab_err replay_records(struct ab_partition *partition, struct ab_log_reader *reader, bool *is_foreign,
    const struct loaded *loaded, struct ab_error *error)
{
    struct ab_arena arena;
    struct ab_arena scratch;
    ab_arena_init(&arena, NULL, 0);
    ab_arena_init(&scratch, NULL, 0);
    struct ab_record record;
    ab_err err = AB_OK;
    while (err == AB_OK && (err = ab_log_reader_next(reader, &record, error)) == AB_OK) {
        *is_foreign = loaded->has_position && is_foreign_to(&record, partition->tables_from, loaded->position.chain);
        if (*is_foreign) {
            break;
        }
        ab_arena_reset(&arena);
        err = ab_partition_apply_record_locked(partition, &record, &arena, &scratch, error);
        err = err == AB_OK ? replay_flush(partition, error) : err;
        partition->replayed_records++;
    }
    ab_arena_fini(&arena);
    ab_arena_fini(&scratch);
    return err == AB_END ? AB_OK : err;
}

static uint64_t replay_start(const struct ab_partition *partition)
{
    uint64_t start = partition->tables_from;
    for (size_t i = 0; i < partition->spans_count; i++) {
        const struct ab_span *span = partition->spans[i];
        for (uint32_t s = 0; s < span->shares_count && !span->is_flushed; s++) {
            start = span->shares[s].from_offset < start ? span->shares[s].from_offset : start;
        }
    }
    return start;
}

/* Up to where records are known to be committed. Alone, all of them are; among replicas those that were applied once:
 * the rest is told by the leader. */
static uint64_t replay_end(const struct ab_partition *partition)
{
    if (!partition->options.is_replicated) {
        return ab_log_end_offset(partition->log);
    }
    uint64_t end = partition->tables_from;
    for (size_t i = 0; i < partition->spans_count; i++) {
        const struct ab_span *span = partition->spans[i];
        for (uint32_t s = 0; s < span->shares_count; s++) {
            end = span->shares[s].from_offset > end ? span->shares[s].from_offset : end;
        }
    }
    return end;
}

/* Takes the position that replay begins at, and until where the log can follow. A log that is behind the tables does
 * not hold all that was applied when they were saved: what it holds of it was committed. */
static void position_take(struct ab_partition *partition, const struct loaded *loaded, uint64_t *start, uint64_t *end)
{
    uint64_t log_end = ab_log_end_offset(partition->log);
    *start = replay_start(partition);
    *end = replay_end(partition);
    *end = *end < log_end ? *end : log_end;
    partition->applied_offset = *start;
    partition->applied_chain = loaded->position.chain;
    atomic_store(&partition->committed_offset, *end);
}

static ab_err replay(struct ab_partition *partition, struct loaded *loaded, bool *is_foreign, struct ab_error *error)
{
    uint64_t start = 0;
    uint64_t end = 0;
    position_take(partition, loaded, &start, &end);
    if (start < ab_log_start_offset(partition->log)) {
        loaded->is_lost = true;
        return ab_error_set(error, AB_NOT_FOUND,
            "the state is lost and the log begins at %" PRIu64 ", above %" PRIu64 ": rebuild this node from history",
            ab_log_start_offset(partition->log), start);
    }
    if (start > end || (start == end && end < partition->tables_from)) {
        return AB_OK; /* behind its tables: nothing of its spans is in the log yet */
    }
    if (start == end) {
        struct ab_hash128 chain = {0};
        AB_TRY(ab_log_chain_at(partition->log, end, &chain, error));
        *is_foreign = loaded->has_position && end > 0 && !ab_hash128_equal(chain, loaded->position.chain);
        return AB_OK;
    }
    struct ab_log_reader *reader = NULL;
    AB_TRY(ab_log_reader_open(partition->log_directory, start, end, &reader, error));
    partition->is_replaying = true;
    ab_err err = replay_records(partition, reader, is_foreign, loaded, error);
    partition->is_replaying = false;
    ab_log_reader_close(reader);
    return err;
}

static void spans_clear(struct ab_partition *partition)
{
    for (size_t i = 0; i < partition->spans_count; i++) {
        ab_span_destroy(partition->spans[i]);
    }
    partition->spans_count = 0;
    partition->open = NULL;
}

/* Tables of records that the log does not hold prove that it lost them, or was begun anew and has not got them yet: it
 * counts as damaged until it is as long again, and nothing is served from it before (H9, H18). */
static void behind_note(struct ab_partition *partition, uint64_t tables_offset, uint64_t end)
{
    if (tables_offset > end && tables_offset > partition->damaged_until) {
        ab_error_log("log ends before the tables saved aside",
            "partition %u: records from %" PRIu64 " to %" PRIu64 " are fetched from another replica",
            partition->options.number, end, tables_offset);
        partition->damaged_until = tables_offset;
    }
}

static ab_err recover_loaded(struct ab_partition *partition, struct loaded *loaded, struct ab_error *error)
{
    uint64_t end = ab_log_end_offset(partition->log);
    bool is_replicated = partition->options.is_replicated;
    bool is_wiped = is_replicated && loaded->has_position && loaded->position.applied_offset > end;
    if (is_wiped) {
        AB_TRY(state_wipe(partition, loaded, "the log does not reach as far, other replicas have the rest", error));
    }
    if (is_replicated && loaded->has_position) {
        behind_note(partition, loaded->position.applied_offset, end);
    }
    if (!is_replicated && loaded->has_position && loaded->position.applied_offset > end) {
        /* Only durable records are applied: the state proves that the log once went further (H9, H18). */
        return ab_error_set(error, AB_CORRUPT,
            "the log ends at offset %" PRIu64 ", but records up to %" PRIu64
            " were acknowledged and applied: restore the log, or remove %s and %s to go on without them",
            end, loaded->position.applied_offset, partition->state_directory, partition->retained_path);
    }
    if (ab_log_end_offset(partition->log) == 0 && !is_replicated) {
        AB_TRY(ab_partition_append_first(partition, error));
        AB_TRY(ab_partition_commit(partition, error));
    }
    AB_TRY(build_spans(partition, loaded, error));
    if (is_replicated && !is_wiped && replay_end(partition) > end) {
        /* A span was stored and the tables not yet: rows of records that are gone would be in it twice, or wrong. */
        spans_clear(partition);
        AB_TRY(state_wipe(partition, loaded, "the log ends before what a span has stored", error));
        AB_TRY(build_spans(partition, loaded, error));
    }
    AB_TRY(drop_leftovers(partition, error));
    bool is_foreign = false;
    AB_TRY(replay(partition, loaded, &is_foreign, error));
    if (is_foreign) {
        spans_clear(partition);
        AB_TRY(state_wipe(partition, loaded, "the record it ends with is another one", error));
        AB_TRY(build_spans(partition, loaded, error));
        is_foreign = false;
        AB_TRY(replay(partition, loaded, &is_foreign, error));
    }
    bool has_begun = partition_open_span(partition) != NULL || is_replicated;
    loaded->is_lost = is_foreign;
    return is_foreign || !has_begun
               ? ab_error_set(error, AB_CORRUPT, "the log and the tables saved aside do not belong together")
               : AB_OK;
}

/* The state opened, and what was read of it is not what had been written. */
static ab_err recover_condemned(struct ab_partition *partition, struct loaded *loaded, struct ab_error *error)
{
    char why[AB_ERROR_TEXT_BYTES];
    (void)snprintf(why, sizeof why, "%s", error->text);
    *error = (struct ab_error){0};
    spans_clear(partition);
    AB_TRY(state_wipe(partition, loaded, why, error));
    return recover_loaded(partition, loaded, error);
}

/* Damage that took what came before an empty log leaves nothing to go on from. */
static ab_err log_check(struct ab_partition *partition, struct loaded *loaded, struct ab_error *error)
{
    struct ab_hash128 chain;
    ab_err err = ab_log_chain_at(partition->log, ab_log_end_offset(partition->log), &chain, error);
    loaded->is_lost = err == AB_CORRUPT;
    return err;
}

static ab_err recover_once(struct ab_partition *partition, struct loaded *loaded, struct ab_error *error)
{
    partition->dedup = ab_dedup_create(AB_DEDUP_PRODUCERS_MAX, AB_DEDUP_SOURCES_MAX, partition->options.memory);
    AB_TRY(ab_partition_finish_aside(partition, error));
    AB_TRY(log_open(partition, error));
    AB_TRY(ab_partition_finish_install(partition, error));
    AB_TRY(log_check(partition, loaded, error));
    AB_TRY(state_open(partition, error));
    ab_err err = load_tables(partition, loaded, error);
    if (err == AB_OK) {
        err = load_retained(partition, loaded, error);
    }
    if (err == AB_OK) {
        err = recover_loaded(partition, loaded, error);
    }
    if (err == AB_CORRUPT && ab_partition_state_is_condemned(partition->state)) {
        err = recover_condemned(partition, loaded, error);
    }
    return err;
}

/* What it has says no longer what its state is: among replicas it begins with nothing, and others have it all. */
static ab_err begin_lost(struct ab_partition *partition, struct loaded *loaded, const char *why, struct ab_error *error)
{
    uint64_t until = ab_log_end_offset(partition->log);
    until = partition->damaged_until > until ? partition->damaged_until : until;
    until = loaded->position.applied_offset > until ? loaded->position.applied_offset : until;
    ab_error_log("log is set aside", "partition %u: %s: what was here is fetched from another replica",
        partition->options.number, why);
    spans_clear(partition);
    loaded_fini(loaded);
    ab_dedup_destroy(partition->dedup);
    ab_partition_state_close(partition->state);
    ab_log_close(partition->log);
    partition->dedup = NULL;
    partition->state = NULL;
    partition->log = NULL;
    AB_TRY(ab_partition_set_aside(partition, until, error));
    return recover_once(partition, loaded, error);
}

ab_err ab_partition_recover(struct ab_partition *partition, struct ab_error *error)
{
    struct loaded loaded = {.partition = partition};
    struct ab_error detail = {0};
    AB_TRY(ab_file_make_directory(partition->options.directory, 0700, error));
    ab_err err = recover_once(partition, &loaded, &detail);
    if (err != AB_OK && loaded.is_lost && partition->options.is_replicated) {
        char *why = ab_new_text(detail.text);
        detail = (struct ab_error){0};
        err = begin_lost(partition, &loaded, why, &detail);
        ab_delete(why);
    }
    if (err == AB_OK) {
        partition->producers_count = ab_dedup_producers(partition->dedup);
        partition->sources_count = ab_dedup_sources(partition->dedup);
    } else if (error != NULL) {
        *error = detail;
    }
    loaded_fini(&loaded);
    return err;
}

static ab_err reload_locked(struct ab_partition *partition, const struct loaded *loaded, struct ab_error *error)
{
    uint64_t start = 0;
    uint64_t end = 0;
    spans_clear(partition);
    AB_TRY(build_spans(partition, loaded, error));
    position_take(partition, loaded, &start, &end);
    partition->damaged_until = partition->tables_from;
    partition->producers_count = ab_dedup_producers(partition->dedup);
    partition->sources_count = ab_dedup_sources(partition->dedup);
    return AB_OK;
}

ab_err ab_partition_reload(struct ab_partition *partition, struct ab_error *error)
{
    struct loaded loaded = {.partition = partition};
    ab_dedup_destroy(partition->dedup);
    partition->dedup = ab_dedup_create(AB_DEDUP_PRODUCERS_MAX, AB_DEDUP_SOURCES_MAX, partition->options.memory);
    ab_err err = load_retained(partition, &loaded, error);
    ab_lock_take(&partition->lock);
    if (err == AB_OK) {
        err = reload_locked(partition, &loaded, error);
    }
    ab_lock_give(&partition->lock);
    loaded_fini(&loaded);
    return err;
}
