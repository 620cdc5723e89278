/* segment: one file of a partition's log, and the walk over its records.
 *
 * A segment is named by the offset of its first record (20 decimal digits ".seg") and holds whole records one after
 * another, nothing else. A segment's existence says that every record before its first was synced: the writer syncs the
 * segment it leaves before it makes the next.
 *
 * Threads: a scan belongs to one thread. Memory: a scan owns a window of at least AB_SEGMENT_WINDOW_BYTES, at most a
 * record more. Internal to common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_SEGMENT_H
#define ANABRANCH_COMMON_LOG_SEGMENT_H

#include "common/log/record.h"

#define AB_SEGMENT_WINDOW_BYTES (2u << 20)

/* Path of the segment whose first record is first_offset; freed with ab_delete. */
char *ab_segment_path(const char *directory, uint64_t first_offset);

/* First offsets of the segments in a directory, rising; freed with ab_delete. Names that are not segments are passed
 * over. AB_NOT_FOUND without the directory, AB_IO. */
AB_MUST_USE ab_err ab_segment_list(
    const char *directory, uint64_t **first_offsets, size_t *count, struct ab_error *error);

/* Makes an empty segment durably (file, then directory: H12), ready for appending; on error none is left behind.
 * Nothing is allocated ahead: a segment holds whole records and nothing else. AB_NO_SPACE, AB_IO, AB_EXISTS. */
AB_MUST_USE ab_err ab_segment_create(const char *directory, uint64_t first_offset, int *fd, struct ab_error *error);

/* Cuts a segment to `bytes` bytes; AB_IO. Not synced. */
AB_MUST_USE ab_err ab_segment_truncate(int fd, uint64_t bytes);

/* Reads records one after another through a window. Zeroed memory is a scan of nothing. */
struct ab_segment_scan {
    int fd;            /* borrowed from the caller */
    uint64_t position; /* byte of the next record in the file */
    uint8_t *window;   /* owned */
    size_t capacity;
    size_t start; /* first unread byte in the window; it is the file's byte `position` */
    size_t end;   /* end of what was read */
};

/* Starts at a byte of a file, which must be a record's first; what the window held is forgotten. */
void ab_segment_scan_seek(struct ab_segment_scan *scan, int fd, uint64_t position);

/* Frees the window; idempotent. */
void ab_segment_scan_fini(struct ab_segment_scan *scan);

/* The next record, borrowed until the next call. AB_END when the file ends exactly here; AB_CORRUPT or AB_UNSUPPORTED
 * when what follows is no whole valid record (position stays at it); AB_IO. */
AB_MUST_USE ab_err ab_segment_scan_next(struct ab_segment_scan *scan, struct ab_record *record);

/* The next record's header alone, read without its body; the scan moves behind the record, which may end past the
 * file's end. Errors as ab_segment_scan_next. */
AB_MUST_USE ab_err ab_segment_scan_skip(struct ab_segment_scan *scan, struct ab_record_header *header);

/* Goes from the record `at_offset`, where the scan stands, to the record `offset` by headers alone. AB_NOT_FOUND when
 * the file ends before; errors as ab_segment_scan_skip. */
AB_MUST_USE ab_err ab_segment_scan_to(struct ab_segment_scan *scan, uint64_t at_offset, uint64_t offset);

#endif
