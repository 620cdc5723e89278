/* encoding_numbers: two of Parquet's encodings of 8-byte numbers, which take a fraction of the time that a compressor
 * needs for the same bytes.
 *
 * DELTA_BINARY_PACKED (INT64): varint block size (values, a multiple of 128), varint miniblocks a block, varint count,
 * zigzag varint first value; then blocks: zigzag varint least difference, a byte of width a miniblock, miniblocks of
 * (difference - least) in `width` bits each, LSB first; the last one filled up. Differences wrap at 64 bits.
 * BYTE_STREAM_SPLIT (DOUBLE): byte 0 of every value, then byte 1 of every value, …: signs, exponents and noise apart.
 *
 * Threads: pure functions. Readers may look up to AB_ENCODING_PAD_BYTES past the end of their input (encoding.h).
 */
#ifndef ANABRANCH_COMMON_HISTORY_ENCODING_NUMBERS_H
#define ANABRANCH_COMMON_HISTORY_ENCODING_NUMBERS_H

#include "common/base/buffer.h"

/* Appends `count` numbers of 8 bytes as differences. */
void ab_encoding_put_deltas(struct ab_buffer *out, const uint64_t *values, size_t count);

/* Decodes exactly `count` numbers. AB_CORRUPT. */
AB_MUST_USE ab_err ab_encoding_take_deltas(struct ab_bytes data, uint64_t *values, size_t count);

/* Appends `count` values of 8 bytes as eight streams of bytes. */
void ab_encoding_put_split(struct ab_buffer *out, const uint8_t *values, size_t count);

/* Joins the streams of exactly `count` values. AB_CORRUPT when data has another size. */
AB_MUST_USE ab_err ab_encoding_take_split(struct ab_bytes data, uint8_t *values, size_t count);

#endif
