/* scrub: reads a log's closed segments again and again, a little at a time, and tells where they went bad.
 *
 * Opening reads bodies of the last segments alone, and a disk forgets without being asked: a record that nobody reads
 * may be damaged for months, until the last good replica of it goes. A pass verifies checksums, offsets and chain of
 * every record of every segment but the one that is written to, as the disk has them (what the page cache holds of a
 * segment is let go first), then begins again.
 *
 * Threads: a scrub belongs to one thread, any; it shares with the log's writer only the files, and takes no lock. A log
 * that is trimmed, truncated or reset meanwhile is not called bad. Memory: one window (segment.h).
 */
#ifndef ANABRANCH_COMMON_LOG_SCRUB_H
#define ANABRANCH_COMMON_LOG_SCRUB_H

#include "common/log/log.h"

struct ab_log_scrub;

/* What a scrub has done since it was created. */
struct ab_log_scrub_progress {
    uint64_t passes_count; /* whole ones */
    uint64_t records_count;
    uint64_t bytes_count;
    uint64_t bad_count; /* places found; one a segment and pass */
    /* The last bad place. */
    uint64_t bad_segment;  /* its first offset */
    uint64_t bad_position; /* byte in it */
    uint64_t bad_offset;   /* of the record that should be there */
};

/* A scrub of an open log, which must outlive it. */
struct ab_log_scrub *ab_log_scrub_create(struct ab_log *log);
void ab_log_scrub_destroy(struct ab_log_scrub *scrub);

/* Verifies records until `bytes_max` bytes are done (at least one record), or a pass ends: AB_END. A bad record is
 * AB_CORRUPT, what cannot be read AB_IO, each with segment, byte and offset; the next step goes on with the segment
 * behind. Any other error says that nothing could be looked at. */
AB_MUST_USE ab_err ab_log_scrub_step(struct ab_log_scrub *scrub, uint64_t bytes_max, struct ab_error *error);

/* What was done so far. */
void ab_log_scrub_progress(const struct ab_log_scrub *scrub, struct ab_log_scrub_progress *progress);

#endif
