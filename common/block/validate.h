/* validate: the checks a decoder makes over whole arrays: plain loops without an object or an error path inside.
 *
 * Private to common/block. Each takes plain arrays and says whether they hold; the caller names the column. */
#ifndef ANABRANCH_COMMON_BLOCK_VALIDATE_H
#define ANABRANCH_COMMON_BLOCK_VALIDATE_H

#include "common/base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* Expands a bitmap (least significant bit first) into one byte a row; `nulls` has room for rows_count rounded up to 8.
 * False when a bit past the last row is set. *any: whether any row is set. */
bool ab_validate_bitmap(const uint8_t *bitmap, uint32_t rows_count, uint8_t *nulls, bool *any);

/* The reverse: writes (rows_count + 7) / 8 bytes. */
void ab_validate_bitmap_make(const uint8_t *nulls, uint32_t rows_count, uint8_t *bitmap);

/* True when every byte is 0 or 1. */
bool ab_validate_booleans(const uint8_t *values, uint32_t rows_count);

/* Gives NaN and zero their one bit pattern, in place. */
void ab_validate_doubles_make_canonical(uint64_t *bits, uint32_t rows_count);

/* True when every |units| is below `bound`. */
bool ab_validate_decimals(const ab_int128 *units, uint32_t rows_count, ab_int128 bound);

/* True when every code is below `count`. */
bool ab_validate_codes(const uint32_t *codes, uint32_t rows_count, uint32_t count);

/* True when ends never fall, the last is bytes.bytes, all is UTF-8 and no entry begins inside a character. */
bool ab_validate_dictionary(const uint32_t *ends, uint32_t count, struct ab_bytes bytes);

/* Sums deltas into positions that start at `first`; false when row 0 is not at `first`, a delta is 0 or the sum
 * overflows. */
bool ab_validate_positions(const uint32_t *deltas, uint32_t rows_count, uint64_t first, uint64_t *positions);

#endif
