/* key: memcomparable encoding of values: the byte order of an encoding is the order of the values.
 *
 * One value (after CockroachDB's and MyRocks' key encodings):
 *   NULL                 0x01
 *   not NULL             0x02, then
 *   BOOLEAN              one byte 0 or 1
 *   BIGINT, TIMESTAMP    8 bytes big-endian, sign bit flipped
 *   DOUBLE               8 bytes big-endian of the canonical bits: sign bit flipped when positive, all bits when
 * negative DECIMAL              16 bytes big-endian, sign bit flipped TEXT                 the bytes with 0x00 -> 0x00
 * 0xFF, then 0x00 0x01 NULL sorts first. Values are concatenated; types are known from the definition. Format version
 * 1, never changed.
 */
#ifndef ANABRANCH_COMMON_BLOCK_KEY_H
#define ANABRANCH_COMMON_BLOCK_KEY_H

#include "common/block/column.h"

#include "common/base/buffer.h"
#include "common/base/hash.h"

/* Appends the encoding of one value. */
void ab_key_put(struct ab_buffer *out, const struct ab_value *value);

/* Takes one value of `type` off the reader. Text is copied into the arena (escapes removed). AB_CORRUPT. */
AB_MUST_USE ab_err ab_key_take(
    struct ab_reader *reader, struct ab_type type, struct ab_arena *arena, struct ab_value *value);

/* Skips one value of `type`. AB_CORRUPT. */
AB_MUST_USE ab_err ab_key_skip(struct ab_reader *reader, struct ab_type type);

/* Append and take a signed 64-bit number, 8 bytes, order preserving, without a NULL marker (panes). */
void ab_key_put_i64(struct ab_buffer *out, int64_t number);
int64_t ab_key_take_i64(struct ab_reader *reader);

/* For each row, the partition hash of the canonical key of the given columns: XXH3-64(AB_HASH_PARTITION, concatenated
 * encodings). hashes has rows_count places. Per-dictionary and per-value work is cached. AB_FULL. */
AB_MUST_USE ab_err ab_key_partition_hashes(
    const struct ab_column *const *columns, uint32_t columns_count, uint32_t rows_count, uint64_t *hashes);

#endif
