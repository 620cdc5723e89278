/* row_json: a row as people see it: the text it came as, or a JSON object of its columns.
 *
 * Dead letters are shown and sealed in this form, by whoever holds them: it is the same everywhere.
 *
 * Threads: pure.
 */
#ifndef ANABRANCH_COMMON_BLOCK_ROW_JSON_H
#define ANABRANCH_COMMON_BLOCK_ROW_JSON_H

#include "common/block/block.h"
#include "common/base/json.h"

/* The text of a row that could not be typed (borrowed from the block); false when the row has columns instead. */
bool ab_row_raw_text(const struct ab_block *block, uint32_t row, struct ab_bytes *text);

/* The row's columns in the block's order: booleans, whole numbers and finite DOUBLE as such, all else as text. The
 * result is the caller's. */
struct ab_json *ab_row_json(const struct ab_block *block, uint32_t row);

#endif
