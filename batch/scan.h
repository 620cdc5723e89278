/* scan: the sealed rows of one stream, partition and span, batch by batch, as the aggregation wants them.
 *
 * Only the columns that somebody reads are decoded (projection). Columns that the stream got after the file was sealed
 * are all NULL.
 *
 * Threads: owner. Memory: the wanted columns of one row group, charged to the budget.
 */
#ifndef ANABRANCH_BATCH_SCAN_H
#define ANABRANCH_BATCH_SCAN_H

#include "batch/sealed.h"
#include "common/aggregate/aggregation.h"

struct ab_scan;

/* Opens the file; `used` has an entry per column of the stream. AB_CORRUPT, with the place, when the file is not what
 * the marker says, or a NOT NULL column that is used may be NULL in it. */
AB_MUST_USE ab_err ab_scan_open(const char *directory, const struct ab_sealed_span *sealed,
    const struct ab_stream *stream, const bool *used, struct ab_memory *memory, struct ab_scan **scan,
    struct ab_error *error);
void ab_scan_close(struct ab_scan *scan);

/* The next row group as rows (all but the expiry filled in), borrowed until the next call; AB_END. */
AB_MUST_USE ab_err ab_scan_next(struct ab_scan *scan, struct ab_rows *rows, struct ab_error *error);

#endif
