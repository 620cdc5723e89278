/* cell: one typed value inside a state, and its order-preserving bytes.
 *
 *   BOOLEAN            1 byte, 0 or 1
 *   BIGINT, TIMESTAMP  8 bytes big-endian, sign flipped
 *   DOUBLE             8 bytes big-endian of the canonical bits, sign flipped when positive, all flipped when negative
 *   DECIMAL            16 bytes big-endian, sign flipped
 *   TEXT               the bytes
 * Compared bytewise, a prefix first, they are in the order of the values.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_CELL_H
#define ANABRANCH_COMMON_AGGREGATE_CELL_H

#include "common/base/buffer.h"
#include "common/block/column.h"

/* Numbers as unsigned words in value order (high is used by DECIMAL alone), text by pointer. */
union ab_cell {
    struct {
        uint64_t low;
        uint64_t high;
    } word;
    struct {
        const uint8_t *data;
        size_t bytes;
    } text;
};

/* Order word of a BIGINT or TIMESTAMP. */
static inline uint64_t ab_cell_bigint(int64_t number)
{
    return (uint64_t)number ^ UINT64_C(1) << 63;
}

/* Order word of a DOUBLE, made canonical. */
static inline uint64_t ab_cell_double(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    uint64_t magnitude = bits << 1;
    bits = magnitude == 0 ? 0 : bits;
    bits = magnitude > UINT64_C(0x7ff) << 53 ? UINT64_C(0x7ff8000000000000) : bits;
    return bits ^ ((0 - (bits >> 63)) | UINT64_C(1) << 63);
}

/* The value at a row that is not NULL; text is borrowed from the column. */
union ab_cell ab_cell_of_column(const struct ab_column *column, uint32_t row);

/* < 0, 0, > 0 in value order. */
int ab_cell_compare(uint8_t type_kind, const union ab_cell *a, const union ab_cell *b);

/* Appends the order-preserving bytes. */
void ab_cell_put(uint8_t type_kind, const union ab_cell *cell, struct ab_buffer *out);

/* AB_OK when the bytes are a canonical value of a known type kind. */
AB_MUST_USE ab_err ab_cell_validate(uint8_t type_kind, struct ab_bytes bytes);

/* Takes validated bytes; text is borrowed from them. */
union ab_cell ab_cell_take(uint8_t type_kind, struct ab_bytes bytes);

/* Appends a value that ends itself: TEXT with its length before it, all others as ab_cell_put writes them. */
void ab_cell_put_ended(uint8_t type_kind, const union ab_cell *cell, struct ab_buffer *out);

/* Reads and validates what ab_cell_put_ended wrote; text is borrowed. AB_CORRUPT, also for an unknown kind. */
AB_MUST_USE ab_err ab_cell_take_ended(struct ab_reader *reader, uint8_t type_kind, union ab_cell *cell);

/* Makes *cell own a copy of value: text is copied and charged past the limit, and what *cell owned before (if has_old)
 * is freed. */
void ab_cell_assign(
    uint8_t type_kind, union ab_cell *cell, bool has_old, const union ab_cell *value, struct ab_memory *memory);

/* Frees what an owned cell keeps. */
void ab_cell_release(uint8_t type_kind, union ab_cell *cell, struct ab_memory *memory);

/* The value as the rest of the program knows it; text is borrowed. */
struct ab_value ab_cell_value(struct ab_type type, const union ab_cell *cell);

/* Appends, for a person, a validated type kind and value; nothing for no bytes. DECIMAL without its scale. */
void ab_cell_print(struct ab_bytes typed, struct ab_buffer *out);

#endif
