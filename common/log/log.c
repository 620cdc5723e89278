#include "common/log/log.h"

#include "common/log/log_private.h"
#include "common/log/repair.h"
#include "common/log/segment.h"

#include "common/base/file.h"
#include "common/base/logging.h"

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

ab_err ab_log_poison(struct ab_log *log, ab_err err, const char *what, struct ab_error *error)
{
    atomic_store(&log->is_poisoned, true);
    return ab_error_set(
        error, AB_IO, "log %s: %s: %s; nothing is written to it any more", log->directory, what, ab_err_text(err));
}

ab_err ab_log_poisoned(const struct ab_log *log, struct ab_error *error)
{
    return ab_error_set(error, AB_IO, "log %s: an earlier write or sync failed", log->directory);
}

ab_err ab_log_watermark_set(struct ab_log *log, const struct ab_watermark *watermark, struct ab_error *error)
{
    AB_TRY(ab_watermark_store(log->directory, &log->options, watermark, error));
    log->watermark = *watermark;
    return AB_OK;
}

/* ---- opening ---- */

static void repaired_take(struct ab_log *log, struct ab_repair_result *found)
{
    log->first_offsets = found->first_offsets;
    log->segments_count = found->segments_count;
    log->segment_bytes = found->last_bytes;
    log->chain = found->chain;
    log->is_chain_known = found->is_chain_known;
    log->written_chain = found->chain;
    atomic_store(&log->start_offset, found->segments_count == 0 ? found->end_offset : found->first_offsets[0]);
    atomic_store(&log->end_offset, found->end_offset);
    atomic_store(&log->written_offset, found->end_offset);
    log->epochs = found->epochs;
    log->index = found->index;
    found->index = (struct ab_log_index){0};
    found->first_offsets = NULL;
    found->epochs = (struct ab_epochs){0};
}

/* Opens the last segment, or makes the first one, and makes durable what is in it. */
static ab_err current_open(struct ab_log *log, struct ab_error *error)
{
    if (log->segments_count == 0) {
        uint64_t first_offset = ab_log_end_offset(log);
        AB_TRY(ab_segment_create(log->directory, first_offset, &log->fd, error));
        log->first_offsets = ab_renew_bytes(log->first_offsets, sizeof(uint64_t));
        log->first_offsets[0] = first_offset;
        log->segments_count = 1;
        return AB_OK;
    }
    char *path = ab_segment_path(log->directory, log->first_offsets[log->segments_count - 1]);
    ab_err err = ab_file_open(path, O_RDWR, 0, &log->fd, error);
    ab_delete(path);
    AB_TRY(err);
    /* A killed process may have left records in the page cache alone. */
    err = ab_file_sync(log->fd);
    if (err == AB_OK) {
        err = ab_file_sync_directory(log->directory);
    }
    return err == AB_OK ? AB_OK
                        : ab_error_set(error, err, "log %s: sync at opening: %s", log->directory, ab_err_text(err));
}

static ab_err directory_lock(struct ab_log *log, struct ab_error *error)
{
    AB_TRY(ab_file_make_directory(log->directory, 0700, error));
    char *path = ab_new_format("%s/lock", log->directory);
    ab_err err = ab_file_lock(path, &log->lock_fd, error);
    ab_delete(path);
    return err;
}

ab_err ab_log_open(const char *directory, const struct ab_log_options *options, struct ab_log **log,
    struct ab_log_recovery *recovery, struct ab_error *error)
{
    struct ab_log *opened = ab_new(struct ab_log);
    struct ab_repair_result found = {0};
    opened->directory = ab_new_text(directory);
    opened->options = *options;
    opened->fd = -1;
    opened->lock_fd = -1;
    if (opened->options.segment_bytes == 0) {
        opened->options.segment_bytes = AB_LOG_SEGMENT_BYTES_DEFAULT;
    }
    ab_lock_init(&opened->lock);
    ab_lock_init(&opened->index_lock);
    ab_buffer_init(&opened->staging, options->memory, LOG_STAGING_BYTES_MAX);
    opened->recent.bytes_max = options->recent_bytes_max;
    ab_err err = directory_lock(opened, error);
    if (err == AB_OK) {
        err = ab_watermark_load(directory, options, &opened->watermark, error);
    }
    if (err == AB_OK) {
        err = ab_repair_directory(directory, options, &opened->watermark, &found, error);
    }
    if (err == AB_OK) {
        repaired_take(opened, &found);
        err = current_open(opened, error);
    }
    if (err != AB_OK) {
        ab_log_close(opened);
        return err;
    }
    uint64_t end_offset = atomic_load(&opened->end_offset);
    atomic_store(&opened->durable_offset, end_offset);
    *recovery = (struct ab_log_recovery){
        .records_count = end_offset - ab_log_start_offset(opened),
        .torn_bytes = found.torn_bytes,
        .end_offset = end_offset,
    };
    if (opened->watermark.damaged_until > end_offset) {
        recovery->damaged_from = end_offset;
        recovery->damaged_until = opened->watermark.damaged_until;
    }
    memcpy(recovery->aside_name, found.aside_name, sizeof(recovery->aside_name));
    opened->is_opened = true;
    *log = opened;
    return AB_OK;
}

ab_err ab_log_note_durable(struct ab_log *log, struct ab_error *error)
{
    if (atomic_load(&log->is_poisoned)) {
        return ab_log_poisoned(log, error);
    }
    struct ab_watermark watermark = log->watermark;
    watermark.durable_offset = ab_log_durable_offset(log);
    if (watermark.damaged_until <= watermark.durable_offset) {
        watermark.damaged_until = 0;
    }
    if (watermark.durable_offset == log->watermark.durable_offset &&
        watermark.damaged_until == log->watermark.damaged_until) {
        return AB_OK;
    }
    return ab_log_watermark_set(log, &watermark, error);
}

ab_err ab_log_note_damage(struct ab_log *log, uint64_t until, struct ab_error *error)
{
    if (atomic_load(&log->is_poisoned)) {
        return ab_log_poisoned(log, error);
    }
    if (until <= log->watermark.damaged_until || until <= ab_log_durable_offset(log)) {
        return AB_OK;
    }
    struct ab_watermark watermark = log->watermark;
    watermark.damaged_until = until;
    return ab_log_watermark_set(log, &watermark, error);
}

ab_err ab_log_clear_damage(struct ab_log *log, struct ab_error *error)
{
    if (log->watermark.damaged_until == 0) {
        return AB_OK;
    }
    struct ab_watermark watermark = log->watermark;
    watermark.damaged_until = 0;
    return ab_log_watermark_set(log, &watermark, error);
}

void ab_log_close(struct ab_log *log)
{
    if (log == NULL) {
        return;
    }
    struct ab_error error = {0};
    if (log->is_opened && !atomic_load(&log->is_poisoned) && ab_log_note_durable(log, &error) != AB_OK) {
        ab_warn("watermark of a log not written at closing", "%s", error.text);
    }
    ab_file_close(&log->fd);
    ab_file_close(&log->lock_fd);
    ab_lock_fini(&log->lock);
    ab_lock_fini(&log->index_lock);
    ab_log_index_fini(&log->index);
    ab_buffer_fini(&log->staging);
    ab_recent_fini(&log->recent);
    ab_epochs_fini(&log->epochs);
    ab_delete(log->first_offsets);
    ab_delete(log->directory);
    ab_delete(log);
}

/* ---- appending ---- */

/* True when a reader would take the header: what the log writes it must be able to read. */
static bool header_is_writable(const struct ab_record_header *header)
{
    return header->kind >= AB_RECORD_BLOCK && header->kind <= AB_RECORD_EPOCH_START &&
           (uint64_t)header->rejected_count + header->duplicate_count <= header->rows_count;
}

ab_err ab_log_append(struct ab_log *log, struct ab_record *record, uint64_t *offset)
{
    struct ab_record_header *header = &record->header;
    if (atomic_load(&log->is_poisoned)) {
        return AB_IO;
    }
    size_t payload_max = AB_RECORD_BYTES_MAX - AB_RECORD_HEADER_BYTES;
    if (record->verdict.bytes > payload_max || record->body.bytes > payload_max - record->verdict.bytes) {
        return AB_TOO_LARGE;
    }
    if (!header_is_writable(header)) {
        return AB_USAGE;
    }
    if (!log->is_chain_known) {
        return AB_CORRUPT;
    }
    if (!ab_epochs_may_add(&log->epochs, header->leader_epoch)) {
        return AB_STALE;
    }
    memcpy(header->cluster_id, log->options.cluster_id, sizeof(header->cluster_id));
    header->partition = log->options.partition;
    header->offset = atomic_load(&log->end_offset);
    header->durable_offset = atomic_load(&log->durable_offset);
    header->previous_chain = log->chain;
    size_t at = log->staging.bytes;
    ab_record_encode(record, &log->staging);
    if (log->staging.has_failed) { /* nothing was added: a record enters whole */
        ab_recent_clear(&log->recent);
        log->staging.has_failed = false;
        ab_record_encode(record, &log->staging);
    }
    if (log->staging.has_failed) {
        log->staging.has_failed = false;
        return AB_FULL;
    }
    log->chain = record->chain;
    ab_recent_note(&log->recent, at, record->chain);
    ab_epochs_add(&log->epochs, header->leader_epoch, header->offset);
    atomic_store(&log->end_offset, header->offset + 1);
    *offset = header->offset;
    return AB_OK;
}

void ab_log_abandon(struct ab_log *log)
{
    ab_buffer_clear(&log->staging);
    ab_recent_forget_staged(&log->recent, 0);
    log->chain = log->written_chain;
    ab_epochs_truncate(&log->epochs, atomic_load(&log->written_offset));
    atomic_store(&log->end_offset, atomic_load(&log->written_offset));
}

/* ---- writing ---- */

ab_err ab_log_sync_locked(struct ab_log *log, struct ab_error *error)
{
    if (atomic_load(&log->is_poisoned)) {
        return ab_log_poisoned(log, error);
    }
    uint64_t target = atomic_load(&log->written_offset);
    if (atomic_load(&log->durable_offset) == target) {
        return AB_OK;
    }
    ab_err err = ab_file_sync(log->fd);
    if (err != AB_OK) {
        return ab_log_poison(log, err, "sync", error);
    }
    atomic_store(&log->durable_offset, target);
    return AB_OK;
}

/* Leaves the current segment, synced, for a new one that begins at the next offset. */
static ab_err roll_locked(struct ab_log *log, struct ab_error *error)
{
    AB_TRY(ab_log_sync_locked(log, error));
    uint64_t first_offset = atomic_load(&log->written_offset);
    int fd = -1;
    ab_err err = ab_segment_create(log->directory, first_offset, &fd, error);
    if (err != AB_OK) {
        return err == AB_NO_SPACE ? err : ab_log_poison(log, err, "make a segment", error);
    }
    ab_file_close(&log->fd);
    log->fd = fd;
    log->segment_bytes = 0;
    log->first_offsets = ab_renew_bytes(log->first_offsets, (log->segments_count + 1) * sizeof(*log->first_offsets));
    log->first_offsets[log->segments_count++] = first_offset;
    return AB_OK;
}

static ab_err roll(struct ab_log *log, struct ab_error *error)
{
    ab_lock_take(&log->lock);
    ab_err err = roll_locked(log, error);
    ab_lock_give(&log->lock);
    return err;
}

/* Writes the staged group at the segment's end; on a full disk the segment ends there again. */
static ab_err group_write(struct ab_log *log, struct ab_error *error)
{
    ab_err err = ab_file_write_at(log->fd, ab_buffer_view(&log->staging), log->segment_bytes);
    if (err == AB_OK) {
        return AB_OK;
    }
    if (err != AB_NO_SPACE) {
        return ab_log_poison(log, err, "write", error);
    }
    ab_err cut = ab_segment_truncate(log->fd, log->segment_bytes);
    if (cut != AB_OK) {
        return ab_log_poison(log, cut, "cut a group off that did not fit", error);
    }
    return ab_error_set(
        error, AB_NO_SPACE, "log %s: no space for a group of %zu bytes", log->directory, log->staging.bytes);
}

ab_err ab_log_write(struct ab_log *log, struct ab_error *error)
{
    if (atomic_load(&log->is_poisoned)) {
        return ab_log_poisoned(log, error);
    }
    if (log->staging.bytes == 0) {
        return AB_OK;
    }
    ab_err err = AB_OK;
    if (log->segment_bytes > 0 && log->segment_bytes + log->staging.bytes > log->options.segment_bytes) {
        err = roll(log, error);
    }
    if (err == AB_OK) {
        err = group_write(log, error);
    }
    if (err != AB_OK) {
        ab_log_abandon(log);
        return err;
    }
    ab_lock_take(&log->index_lock);
    ab_log_index_note(&log->index, atomic_load(&log->written_offset), log->segment_bytes);
    ab_lock_give(&log->index_lock);
    log->segment_bytes += log->staging.bytes;
    log->written_chain = log->chain;
    ab_recent_take(&log->recent, atomic_load(&log->written_offset), &log->staging);
    atomic_store(&log->written_offset, atomic_load(&log->end_offset));
    return AB_OK;
}

ab_err ab_log_sync(struct ab_log *log, struct ab_error *error)
{
    ab_lock_take(&log->lock);
    ab_err err = ab_log_sync_locked(log, error);
    ab_lock_give(&log->lock);
    return err;
}

/* ---- asking ---- */

uint64_t ab_log_end_offset(const struct ab_log *log)
{
    return atomic_load(&log->end_offset);
}

uint64_t ab_log_generation(const struct ab_log *log)
{
    return atomic_load(&log->generation);
}

struct ab_log_mark ab_log_near(struct ab_log *log, uint64_t first_offset, uint64_t offset)
{
    ab_lock_take(&log->index_lock);
    struct ab_log_mark mark = ab_log_index_find(&log->index, first_offset, offset);
    ab_lock_give(&log->index_lock);
    return mark;
}

uint64_t ab_log_durable_offset(const struct ab_log *log)
{
    return atomic_load(&log->durable_offset);
}

struct ab_hash128 ab_log_chain(const struct ab_log *log)
{
    return log->chain;
}

uint64_t ab_log_damaged_until(const struct ab_log *log)
{
    return log->watermark.damaged_until;
}

size_t ab_log_staged_bytes(const struct ab_log *log)
{
    return log->staging.bytes;
}

const struct ab_log_epoch *ab_log_epochs(const struct ab_log *log, size_t *count)
{
    *count = log->epochs.count;
    return log->epochs.entries;
}

ab_err ab_log_epoch_end(const struct ab_log *log, uint64_t epoch, uint64_t *found_epoch, uint64_t *end_offset)
{
    return ab_epochs_find(&log->epochs, epoch, ab_log_end_offset(log), found_epoch, end_offset);
}

uint64_t ab_log_start_offset(const struct ab_log *log)
{
    return atomic_load(&log->start_offset);
}
