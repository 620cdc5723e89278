/* encoding: Parquet's hybrid of runs and bit-packed groups (RLE / bit-packing, LSB first), for levels and dictionary
 * codes.
 *
 *   run       varint (length << 1), value in ceil(width / 8) bytes little-endian
 *   groups    varint (groups << 1 | 1), then groups * 8 values of `width` bits each
 *
 * Threads: pure functions. Readers may look up to AB_ENCODING_PAD_BYTES past the end of their input: the caller
 * provides readable bytes there; what they hold never matters.
 */
#ifndef ANABRANCH_COMMON_HISTORY_ENCODING_H
#define ANABRANCH_COMMON_HISTORY_ENCODING_H

#include "common/base/buffer.h"

#define AB_ENCODING_PAD_BYTES 64u

/* Bits needed for values 0..max; 0 for max 0. */
unsigned ab_encoding_width(uint32_t max);

/* Appends the hybrid encoding of `count` values below 2^width; width 0..32. */
void ab_encoding_put(struct ab_buffer *out, const uint32_t *values, size_t count, unsigned width);

/* Decodes exactly `count` values of `width` bits (0..32) from padded `data`. AB_CORRUPT when it ends early. Groups
 * beyond count are ignored. */
AB_MUST_USE ab_err ab_encoding_take(struct ab_bytes data, unsigned width, uint32_t *values, size_t count);

/* Decodes definition levels of width 1 into null marks: nulls[i] = 1 for level 0. AB_CORRUPT. */
AB_MUST_USE ab_err ab_encoding_take_nulls(struct ab_bytes data, uint8_t *nulls, size_t count, size_t *nulls_count);

/* Spreads `count` bits, LSB first, from padded `data` into bytes 0 or 1. AB_CORRUPT when data is too short. */
AB_MUST_USE ab_err ab_encoding_take_bits(struct ab_bytes data, uint8_t *values, size_t count);

/* The greatest of `count` values; 0 when count is 0. */
uint32_t ab_encoding_max(const uint32_t *values, size_t count);

#endif
