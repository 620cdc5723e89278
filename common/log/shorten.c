/* What makes a log shorter. The watermark goes first, so that it never states more than there is. */
#include "common/log/log_private.h"
#include "common/log/repair.h"
#include "common/log/segment.h"

#include "common/base/file.h"
#include "common/base/logging.h"

#include <inttypes.h>

/* ---- at the start ---- */

static ab_err segment_remove(const struct ab_log *log, uint64_t first_offset, struct ab_error *error)
{
    char *path = ab_segment_path(log->directory, first_offset);
    char *torn = ab_repair_torn_path(log->directory, first_offset);
    ab_err err = ab_file_remove_tree(torn, error);
    if (err == AB_OK) {
        err = ab_file_remove_tree(path, error);
    }
    ab_delete(torn);
    ab_delete(path);
    return err;
}

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
        err = segment_remove(log, log->first_offsets[removed], error);
        removed += err == AB_OK;
    }
    if (removed > 0) {
        log->segments_count -= removed;
        memmove(log->first_offsets, log->first_offsets + removed, log->segments_count * sizeof(*log->first_offsets));
        atomic_store(&log->start_offset, log->first_offsets[0]);
        ab_epochs_trim(&log->epochs, log->first_offsets[0]);
        ab_err synced = ab_file_sync_directory(log->directory);
        if (err == AB_OK && synced != AB_OK) {
            err = ab_error_set(error, synced, "log %s: sync after trimming", log->directory);
        }
    }
    return err;
}
