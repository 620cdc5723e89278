/* repair: what opening a log does to its directory: verify, cut a torn tail off, finish what a crash interrupted.
 *
 * The last two segments are read whole (checksums, chain, offsets), of the others every header. What was cut off is
 * kept beside the segment as "<segment>.torn" (the newest cut only), unless the disk is full. Corruption touches
 * nothing, or is set aside when the options say so (damage.h). Internal to common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_REPAIR_H
#define ANABRANCH_COMMON_LOG_REPAIR_H

#include "common/log/epochs.h"
#include "common/log/index.h"
#include "common/log/log.h"
#include "common/log/watermark.h"

/* Where the writer goes on. */
struct ab_repair_result {
    uint64_t *first_offsets; /* owned; of the segments, rising */
    size_t segments_count;   /* 0 = an empty directory */
    uint64_t end_offset;
    uint64_t last_bytes; /* of the last segment */
    uint64_t torn_bytes;
    struct ab_hash128 chain;
    bool is_chain_known;
    struct ab_epochs epochs;                  /* owned */
    struct ab_log_index index;                /* owned */
    char aside_name[AB_LOG_ASIDE_NAME_BYTES]; /* what was corrupt; "" = nothing was */
};

/* Verifies and repairs; the watermark is as on disk, before and after. AB_CORRUPT with segment, byte and offset in the
 * text; AB_UNSUPPORTED; AB_IO. */
AB_MUST_USE ab_err ab_repair_directory(const char *directory, const struct ab_log_options *options,
    struct ab_watermark *watermark, struct ab_repair_result *result, struct ab_error *error);

/* Frees what a result owns; idempotent. */
void ab_repair_result_fini(struct ab_repair_result *result);

#endif
