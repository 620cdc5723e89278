/* judge: decides what a block's rows are worth, once, before it is appended (DESIGN 4.2).
 *
 * Binding decodes a block and ties its columns to the stream of the catalog in force: every column must exist with its
 * declared type, or with one that converts exactly (then the block is encoded again, so that whoever reads the log sees
 * declared types only). Judging marks duplicates by source position, then rejects rows: NOT NULL, event-time bounds
 * against the append time, CHECK. A row in the wrong partition refuses the whole block: the sender split with another
 * rule. The decisions go into the verdict; nothing later judges again, replay only binds.
 *
 * Threads: the partition's worker (binding: any, with its own arena). Memory: the arena given; nothing per row is
 * allocated one by one.
 */
#ifndef ANABRANCH_SPEED_JUDGE_H
#define ANABRANCH_SPEED_JUDGE_H

#include "common/block/block.h"
#include "common/catalog/catalog.h"
#include "common/log/record.h"
#include "common/wire/envelope.h"

/* A block tied to its stream. Everything lives in the arena, or is borrowed from the bytes and the catalog. */
struct ab_bound {
    struct ab_block block;
    struct ab_bytes body; /* what goes into the log: the bytes given, or the block encoded again */
    const struct ab_stream *stream;
    const struct ab_column *const
        *columns; /* by stream column index; NULL = the block has none: all NULL. NULL for raw blocks */
};

/* What was decided. */
struct ab_judged {
    const uint8_t *skip; /* per row, 1 = duplicate or rejected; NULL = every row counts; in the arena */
    uint32_t accepted;
    uint32_t rejected;
    uint32_t duplicates;
    const struct ab_wire_rejected *rejected_rows; /* the first AB_PRODUCE_REJECTED_MAX, in the arena */
    size_t rejected_rows_count;
};

/* Against what rows are judged. */
struct ab_judge_rules {
    uint32_t partition;
    uint32_t partitions_count;
    ab_time_us append_time_us;
    bool has_mark;          /* the source was seen before */
    uint64_t last_position; /* rows at or below it are duplicates */
};

/* Decodes and binds. AB_INVALID, AB_TOO_LARGE, AB_FULL with a text that names stream and column; nothing was kept then.
 */
AB_MUST_USE ab_err ab_judge_bind(struct ab_bytes payload, const struct ab_catalog *catalog, struct ab_arena *arena,
    struct ab_bound *bound, struct ab_error *error);

/* Judges every row; the verdict is built into `verdict` (cleared first). AB_INVALID when a row does not belong to the
 * partition, AB_FULL when the arena refuses. */
AB_MUST_USE ab_err ab_judge_rows(const struct ab_bound *bound, const struct ab_judge_rules *rules,
    struct ab_arena *arena, struct ab_verdict_builder *verdict, struct ab_judged *judged, struct ab_error *error);

#endif
