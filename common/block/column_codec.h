/* column_codec: one column as it stands on the wire, and back: in blocks, and in the answers of queries. */
#ifndef ANABRANCH_COMMON_BLOCK_COLUMN_CODEC_H
#define ANABRANCH_COMMON_BLOCK_COLUMN_CODEC_H

#include "common/block/block.h"
#include "common/wire/envelope.h"

/* Gives the wire form; its parts borrow from the column and the arena. AB_FULL when the arena's budget refuses. */
AB_MUST_USE ab_err ab_block_column_encode(
    const struct ab_block_column *column, struct ab_arena *arena, struct ab_wire_column *wire);

/* Checks everything that a column alone can show; the result borrows from `wire` and the arena, and doubles are made
 * canonical in place. AB_INVALID with a text naming the column, AB_FULL. */
AB_MUST_USE ab_err ab_block_column_decode(const struct ab_wire_column *wire, uint32_t rows_count,
    struct ab_arena *arena, struct ab_block_column *column, struct ab_error *error);

#endif
