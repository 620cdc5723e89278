/* What makes a log shorter. The watermark goes first, so that it never states more than there is. */
#include "common/log/aside.h"
#include "common/log/damage.h"
#include "common/log/log_private.h"
#include "common/log/segment.h"

#include "common/base/file.h"
#include "common/base/logging.h"

#include <fcntl.h>
#include <inttypes.h>

/* ---- at the start ---- */

/* How many segments, from the oldest, hold only records below `offset`. The last record stays: the chain goes on from
 * it, and a new segment that nothing was written to yet does not hold it. */
static size_t segments_below(const struct ab_log *log, uint64_t offset)
{
    size_t below = 0;
    size_t kept = log->segment_bytes == 0 ? 2 : 1;
    while (below + kept < log->segments_count && log->first_offsets[below + 1] <= offset) {
        below++;
    }
    return below;
}

/* Writes down what came before the new start, of which no record will be held. A full disk does not keep a log from
 * being trimmed: then the start is known by its records alone. */
static ab_err begin_note(struct ab_log *log, uint64_t start_offset, struct ab_error *error)
{
    struct ab_watermark watermark = log->watermark;
    watermark.begin = (struct ab_log_begin){
        .is_known = true, .offset = start_offset, .epoch = ab_epochs_before(&log->epochs, start_offset)};
    AB_TRY(ab_log_chain_at(log, start_offset, &watermark.begin.chain, error));
    ab_err err = ab_log_watermark_set(log, &watermark, error);
    return err == AB_NO_SPACE ? AB_OK : err;
}

ab_err ab_log_trim(struct ab_log *log, uint64_t offset, struct ab_error *error)
{
    size_t wanted = segments_below(log, offset);
    if (wanted == 0) {
        return AB_OK;
    }
    AB_TRY(begin_note(log, log->first_offsets[wanted], error));
    /* Oldest first, so that whatever is left after a crash is still without a gap. */
    size_t removed = 0;
    ab_err err = AB_OK;
    while (err == AB_OK && removed < wanted) {
        err = ab_aside_drop_segment(log->directory, log->first_offsets[removed], error);
        removed += err == AB_OK;
    }
    if (removed > 0) {
        log->segments_count -= removed;
        memmove(log->first_offsets, log->first_offsets + removed, log->segments_count * sizeof(*log->first_offsets));
        atomic_store(&log->start_offset, log->first_offsets[0]);
        ab_epochs_trim(&log->epochs, log->first_offsets[0]);
        ab_lock_take(&log->index_lock);
        ab_log_index_trim(&log->index, log->first_offsets[0]);
        ab_lock_give(&log->index_lock);
        ab_err synced = ab_file_sync_directory(log->directory);
        if (err == AB_OK && synced != AB_OK) {
            err = ab_error_set(error, synced, "log %s: sync after trimming", log->directory);
        }
    }
    return err;
}

/* ---- at the end ---- */

/* What a truncation keeps, found out before anything changes. */
struct cutting {
    uint64_t offset; /* the new end */
    size_t segments_kept;
    uint64_t position;   /* bytes kept of the last of them */
    uint64_t last_bytes; /* that it has */
    struct ab_hash128 chain;
    uint64_t serial; /* of what is set aside */
    int fd;          /* of the last segment kept; owned until it becomes the log's */
};

/* Opens the segment that will be the last one and finds where to cut it. */
static ab_err cutting_prepare(struct ab_log *log, struct cutting *cutting, struct ab_error *error)
{
    struct ab_log_place place;
    AB_TRY(ab_log_find(log, cutting->offset, &place, error));
    cutting->chain = place.header.previous_chain;
    cutting->segments_kept = place.segment_index + 1;
    cutting->position = place.position;
    bool is_whole_segment = place.position == 0 && place.segment_index > 0;
    cutting->segments_kept -= is_whole_segment;
    char *path = ab_segment_path(log->directory, log->first_offsets[cutting->segments_kept - 1]);
    ab_err err = ab_file_open(path, O_RDWR, 0, &cutting->fd, error);
    ab_delete(path);
    AB_TRY(err);
    err = ab_file_bytes(cutting->fd, &cutting->last_bytes);
    if (err != AB_OK) {
        return ab_error_set(error, err, "log %s: size of a segment: %s", log->directory, ab_err_text(err));
    }
    if (is_whole_segment) {
        cutting->position = cutting->last_bytes;
    }
    return ab_aside_next_serial(log->directory, AB_ASIDE_CUT, &cutting->serial, error);
}

/* Lowers the watermark to the new end, and states what came before a log that will be empty. */
static ab_err watermark_lower(struct ab_log *log, const struct cutting *cutting, struct ab_error *error)
{
    struct ab_watermark watermark = log->watermark;
    if (watermark.durable_offset > cutting->offset) {
        watermark.durable_offset = cutting->offset;
    }
    uint64_t start_offset = ab_log_start_offset(log);
    if (cutting->offset == start_offset && start_offset > 0) {
        watermark.begin = (struct ab_log_begin){.is_known = true,
            .offset = start_offset,
            .epoch = ab_epochs_before(&log->epochs, start_offset),
            .chain = cutting->chain};
    } else if (watermark.durable_offset == log->watermark.durable_offset) {
        return AB_OK;
    }
    return ab_log_watermark_set(log, &watermark, error);
}

/* Copies what goes of the last segment kept. */
static ab_err tail_set_aside(const struct ab_log *log, const struct cutting *cutting, struct ab_error *error)
{
    if (cutting->position == cutting->last_bytes) {
        return AB_OK;
    }
    char *path = ab_aside_path(log->directory, AB_ASIDE_CUT, cutting->offset, cutting->serial);
    uint64_t bytes = cutting->last_bytes - cutting->position;
    ab_err err = ab_aside_copy(path, cutting->fd, cutting->position, bytes, error);
    if (err == AB_NO_SPACE) {
        ab_warn("records cut off a log are not kept: no space", "%s: %" PRIu64 " bytes from offset %" PRIu64 " on",
            log->directory, bytes, cutting->offset);
        err = AB_OK;
    }
    ab_delete(path);
    return err;
}

/* Renames the segments that go, newest first, and cuts the one that stays: at every moment there is no gap. */
static ab_err records_remove(struct ab_log *log, const struct cutting *cutting, struct ab_error *error)
{
    for (size_t i = log->segments_count; i > cutting->segments_kept; i--) {
        uint64_t first_offset = log->first_offsets[i - 1];
        char *from = ab_segment_path(log->directory, first_offset);
        char *to = ab_aside_path(log->directory, AB_ASIDE_CUT, first_offset, cutting->serial);
        ab_err err = ab_file_rename(from, to, error);
        ab_delete(from);
        ab_delete(to);
        AB_TRY(err);
    }
    ab_err err = ab_segment_truncate(cutting->fd, cutting->position);
    if (err == AB_OK) {
        err = ab_file_sync(cutting->fd);
    }
    return err == AB_OK ? AB_OK
                        : ab_error_set(error, err, "cut segment %020" PRIu64 ": %s",
                              log->first_offsets[cutting->segments_kept - 1], ab_err_text(err));
}

/* The log is what is left on disk. */
static void cutting_take(struct ab_log *log, struct cutting *cutting)
{
    ab_file_close(&log->fd);
    log->fd = cutting->fd;
    cutting->fd = -1;
    log->segments_count = cutting->segments_kept;
    log->segment_bytes = cutting->position;
    log->chain = cutting->chain;
    log->written_chain = cutting->chain;
    ab_recent_clear(&log->recent);
    ab_epochs_truncate(&log->epochs, cutting->offset);
    ab_lock_take(&log->index_lock);
    ab_log_index_truncate(&log->index, cutting->offset);
    ab_lock_give(&log->index_lock);
    atomic_store(&log->durable_offset, cutting->offset);
    atomic_store(&log->written_offset, cutting->offset);
    atomic_store(&log->end_offset, cutting->offset);
}

static ab_err truncate_locked(struct ab_log *log, struct cutting *cutting, struct ab_error *error)
{
    AB_TRY(ab_log_sync_locked(log, error));
    AB_TRY(cutting_prepare(log, cutting, error));
    AB_TRY(watermark_lower(log, cutting, error));
    AB_TRY(tail_set_aside(log, cutting, error));
    atomic_fetch_add(&log->generation, 1);
    struct ab_error detail = {0};
    ab_err err = records_remove(log, cutting, &detail);
    if (err != AB_OK) {
        return ab_log_poison(log, err, detail.text, error);
    }
    cutting_take(log, cutting);
    atomic_fetch_add(&log->generation, 1);
    return AB_OK;
}

/* AB_USAGE with something staged; AB_IO when poisoned. */
static ab_err rest_check(const struct ab_log *log, struct ab_error *error)
{
    if (atomic_load(&log->is_poisoned)) {
        return ab_log_poisoned(log, error);
    }
    return log->staging.bytes == 0 ? AB_OK
                                   : ab_error_set(error, AB_USAGE, "log %s: records are staged", log->directory);
}

ab_err ab_log_truncate(struct ab_log *log, uint64_t offset, struct ab_error *error)
{
    AB_TRY(rest_check(log, error));
    if (offset < ab_log_start_offset(log) || offset > ab_log_end_offset(log)) {
        return ab_error_set(error, AB_NOT_FOUND, "log %s: no end at %" PRIu64, log->directory, offset);
    }
    if (offset == ab_log_end_offset(log)) {
        return AB_OK;
    }
    struct cutting cutting = {.offset = offset, .fd = -1};
    ab_lock_take(&log->lock);
    ab_err err = truncate_locked(log, &cutting, error);
    ab_lock_give(&log->lock);
    ab_file_close(&cutting.fd);
    AB_TRY(err);
    struct ab_error detail = {0};
    if (ab_aside_prune(log->directory, &detail) != AB_OK) {
        ab_warn("what older truncations set aside is not removed", "%s", detail.text);
    }
    return AB_OK;
}

/* ---- anew ---- */

/* The log is empty and begins where the watermark says; the lock is held. */
static ab_err begin_take_locked(struct ab_log *log, struct ab_error *error)
{
    const struct ab_log_begin *begin = &log->watermark.begin;
    char *path = ab_segment_path(log->directory, begin->offset);
    int fd = -1;
    ab_err err = ab_file_open(path, O_RDWR, 0, &fd, error);
    ab_delete(path);
    AB_TRY(err);
    ab_file_close(&log->fd);
    log->fd = fd;
    log->segments_count = 1;
    log->first_offsets[0] = begin->offset;
    log->segment_bytes = 0;
    log->chain = begin->chain;
    log->written_chain = begin->chain;
    log->is_chain_known = true;
    ab_recent_clear(&log->recent);
    ab_epochs_fini(&log->epochs);
    ab_lock_take(&log->index_lock);
    ab_log_index_fini(&log->index);
    ab_lock_give(&log->index_lock);
    if (begin->offset > 0) {
        ab_epochs_set_floor(&log->epochs, begin->epoch, begin->offset);
    }
    atomic_store(&log->durable_offset, begin->offset);
    atomic_store(&log->written_offset, begin->offset);
    atomic_store(&log->end_offset, begin->offset);
    atomic_store(&log->start_offset, begin->offset);
    return AB_OK;
}

static ab_err reset_locked(struct ab_log *log, const struct ab_watermark *watermark, struct ab_error *error)
{
    AB_TRY(ab_log_watermark_set(log, watermark, error)); /* from here on it will be done, by opening if need be */
    atomic_fetch_add(&log->generation, 1);
    struct ab_error detail = {0};
    ab_err err = ab_damage_finish_reset(log->directory, &log->options, &log->watermark, &detail);
    if (err == AB_OK) {
        err = begin_take_locked(log, &detail);
    }
    if (err != AB_OK) {
        return ab_log_poison(log, err, detail.text, error);
    }
    atomic_fetch_add(&log->generation, 1);
    return AB_OK;
}

ab_err ab_log_reset(
    struct ab_log *log, uint64_t offset, struct ab_hash128 chain, uint64_t epoch, struct ab_error *error)
{
    AB_TRY(rest_check(log, error));
    if (offset == 0 && (chain.low != 0 || chain.high != 0)) {
        return ab_error_set(error, AB_USAGE, "log %s: nothing comes before record 0", log->directory);
    }
    struct ab_watermark watermark = {.durable_offset = offset,
        .begin = {.is_known = true, .offset = offset, .epoch = epoch, .chain = chain},
        .is_resetting = true};
    ab_lock_take(&log->lock);
    ab_err err = reset_locked(log, &watermark, error);
    ab_lock_give(&log->lock);
    return err;
}
