/* index: where some records of a log lie, so that reading may start near any of them: one mark a mebibyte or so.
 *
 * A mark is exact or absent; whoever starts at one still walks headers from there and checks them. Nothing of it is
 * stored: opening a log passes every header anyway.
 *
 * Memory: 16 bytes a mebibyte of log. Internal to common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_INDEX_H
#define ANABRANCH_COMMON_LOG_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AB_LOG_INDEX_STRIDE_BYTES (1u << 20)

/* A record, and its byte in the segment that holds it. */
struct ab_log_mark {
    uint64_t offset;
    uint64_t position;
};

/* Zeroed memory is an empty index. */
struct ab_log_index {
    struct ab_log_mark *marks; /* owned; rising offsets */
    size_t count;
    size_t capacity;
};

void ab_log_index_fini(struct ab_log_index *index);

/* Tells of a record in rising order; it becomes a mark when it lies far enough from the one before. */
void ab_log_index_note(struct ab_log_index *index, uint64_t offset, uint64_t position);

/* Forgets records at or past `end_offset`; and below `start_offset`. */
void ab_log_index_truncate(struct ab_log_index *index, uint64_t end_offset);
void ab_log_index_trim(struct ab_log_index *index, uint64_t start_offset);

/* The last mark within [first_offset, offset], or (first_offset, 0): first_offset is the first of the segment that
 * holds `offset`. */
struct ab_log_mark ab_log_index_find(const struct ab_log_index *index, uint64_t first_offset, uint64_t offset);

#endif
