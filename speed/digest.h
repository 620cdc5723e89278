/* digest: what speed holds of one view in one closed span, as a digest to compare with batch's (DESIGN 5.6). */
#ifndef ANABRANCH_SPEED_DIGEST_H
#define ANABRANCH_SPEED_DIGEST_H

#include "speed/partition.h"
#include "common/aggregate/aggregation.h"
#include "common/aggregate/state_row.h"

/* Walks the span's stored states with their operands merged. AB_NOT_FOUND: no such cut, or the view is not in the span;
 * AB_STALE: retired; AB_AGAIN: closed but not stored yet. Any thread; does I/O. */
AB_MUST_USE ab_err ab_digest_span(struct ab_partition *partition, uint64_t cut, uint32_t uid, struct ab_digest *digest,
    struct ab_row_counts *counts, struct ab_error *error);

#endif
