/* recover: tells a torn tail from corruption (REPLICATION H9). Pure: bytes and facts in, a verdict out.
 *
 * A crash leaves the front of the last group; corruption leaves anything. A bad place is torn only when nothing valid
 * follows it and nothing says that it had been synced; in doubt it is corrupt, because a record that was acknowledged
 * must never be cut off. What had been synced is said by this disk alone: a header's durable_offset is about the disk
 * of the leader that wrote the record, which need not be this one (and a record lies behind everything its header
 * states, so on the leader's own disk it adds nothing). Internal to common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_RECOVER_H
#define ANABRANCH_COMMON_LOG_RECOVER_H

#include "common/log/record.h"

enum ab_recover_verdict { AB_RECOVER_CLEAN, AB_RECOVER_TORN, AB_RECOVER_CORRUPT };

/* What a walk over the last segment found. */
struct ab_recover_facts {
    uint64_t file_bytes;
    uint64_t valid_bytes; /* up to here whole valid records */
    uint64_t next_offset; /* offset of the record that would come next */
    uint64_t
        durable_offset; /* records below it were synced on this disk, as a segment's name or the watermark states */
    bool is_last_segment;
    bool has_valid_after; /* a valid record header lies behind the bad place */
};

/* The rule. */
enum ab_recover_verdict ab_recover_classify(const struct ab_recover_facts *facts);

/* Where the search for records behind a bad place must start: behind the bad record when its header can be read (its
 * body may hold anything, also bytes that look like a record), else at the next aligned byte. `front` is what the file
 * holds from `position` on, at least AB_RECORD_HEADER_BYTES if there are so many. */
uint64_t ab_recover_search_start(struct ab_bytes front, uint64_t position);

/* What is looked for behind a bad place: valid record headers of this log with an offset above offset_min. */
struct ab_recover_search {
    const uint8_t *cluster_id; /* 16 bytes, borrowed */
    uint32_t partition;
    uint64_t offset_min;
    uint64_t offset_max; /* above it a header is believed to be one, but its offset is not taken up */
    bool is_found;
    uint64_t highest; /* offset found; 0 = none */
};

/* Looks at every multiple of 8 in `bytes`. */
void ab_recover_find(struct ab_recover_search *search, struct ab_bytes bytes);

#endif
