/* watermark: what a log says about itself beside its records: how much of it had been synced, and what came before it.
 *
 * Records alone cannot tell that the last of them was lost: a bit flip in it looks like a torn tail. The watermark is
 * written now and then (never on the way of an append), so it states less than is true, never more; whatever makes the
 * log shorter lowers it first. It is replaced as a whole; when it is absent or damaged, opening knows only what
 * segments say, as if it had never been written.
 *
 * File "watermark" in the log's directory, format version 1, 88 bytes, numbers little-endian:
 *
 *   0  magic "ABW1"          4     32 durable offset u64   8  records below it were synced on this disk
 *   4  format version u16    2     40 damaged until u64    8  0, or: records up to here were lost, see log.h
 *   6  flags u16             2     48 begin offset u64     8  the log's first offset when this was written
 *   8  partition u32         4     56 begin epoch u64      8  of the record before it
 *  12  reserved, 0           4     64 begin chain         16  of the record before it
 *  16  cluster id           16     80 XXH3-64 (AB_HASH_CONTENT) of all before
 *
 * In every version the last eight bytes are the checksum of all before them. Flags: 1 the begin fields are known; 2 the
 * log is being begun anew there: everything else goes. A reader refuses a newer version and unknown flags with
 * AB_UNSUPPORTED. Internal to common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_WATERMARK_H
#define ANABRANCH_COMMON_LOG_WATERMARK_H

#include "common/log/log.h"

#define AB_WATERMARK_BYTES 88u

/* The first offset of a log and the record before it. */
struct ab_log_begin {
    bool is_known;
    uint64_t offset;
    uint64_t epoch;
    struct ab_hash128 chain;
};

/* Zeroed memory states nothing. */
struct ab_watermark {
    uint64_t durable_offset;
    uint64_t damaged_until;
    struct ab_log_begin begin;
    bool is_resetting;
};

/* Appends the encoding for the log of these options. */
void ab_watermark_encode(
    const struct ab_watermark *watermark, const struct ab_log_options *options, struct ab_buffer *out);

/* AB_CORRUPT, AB_UNSUPPORTED, AB_MISMATCH when it is another log's. */
AB_MUST_USE ab_err ab_watermark_decode(
    struct ab_bytes bytes, const struct ab_log_options *options, struct ab_watermark *watermark);

/* Reads a directory's; an absent or damaged one states nothing. AB_UNSUPPORTED, AB_IO. */
AB_MUST_USE ab_err ab_watermark_load(const char *directory, const struct ab_log_options *options,
    struct ab_watermark *watermark, struct ab_error *error);

/* Replaces a directory's durably. AB_NO_SPACE, AB_IO. */
AB_MUST_USE ab_err ab_watermark_store(const char *directory, const struct ab_log_options *options,
    const struct ab_watermark *watermark, struct ab_error *error);

/* Path of a directory's; freed with ab_delete. */
char *ab_watermark_path(const char *directory);

#endif
