/* primitive_integer: what the primitives over BIGINT and DECIMAL share: wide little-endian integers, added modulo their
 * width, and their payloads without redundant bytes. Threads: as primitive.h. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_INTEGER_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_INTEGER_H

#include "common/aggregate/exact.h"
#include "common/aggregate/primitive.h"

/* 2^64 cubes below 10^114 and a sign; 2^64 fourth powers below 10^152. */
#define AB_INTEGER_CUBES_WORDS 7
#define AB_INTEGER_FOURTHS_WORDS 9
#define AB_INTEGER_WORDS_MAX 9

/* Appends the payload of an integer of `count` words: unsigned without zero bytes at the top, or two's complement in
 * its shortest form; zero is empty. */
void ab_integer_put(struct ab_buffer *out, const uint64_t *words, uint32_t count, bool is_signed);

/* Reads a payload of at most count words. */
void ab_integer_take(struct ab_bytes payload, uint64_t *words, uint32_t count, bool is_signed);

/* AB_OK when a payload is one of the two forms. */
AB_MUST_USE ab_err ab_integer_validate_unsigned(struct ab_bytes payload, size_t bytes_max);
AB_MUST_USE ab_err ab_integer_validate_signed(struct ab_bytes payload, size_t bytes_max);

/* into += words, modulo their width. */
void ab_integer_add(uint64_t *into, const uint64_t *words, uint32_t count);

/* out = a * b, of a_count + b_count words, all unsigned. */
void ab_integer_multiply(const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count, uint64_t *out);

/* words = -words in two's complement. */
void ab_integer_negate(uint64_t *words, uint32_t count);

/* Appends a payload for a person. */
void ab_integer_print_unsigned(struct ab_bytes payload, struct ab_buffer *out);
void ab_integer_print_signed(struct ab_bytes payload, struct ab_buffer *out);

/* The number a state of a kind that sums integers stands for; false for other kinds. */
bool ab_integer_value(enum ab_primitive_kind kind, const void *state, struct ab_exact *exact);

/* Units of the BIGINT or DECIMAL at a row. */
static inline ab_int128 ab_integer_at(const struct ab_column *column, uint32_t row)
{
    if (column->type.kind == AB_TYPE_DECIMAL) {
        ab_int128 units;
        memcpy(&units, (const uint8_t *)column->values + (size_t)row * sizeof(units), sizeof(units));
        return units;
    }
    return ((const int64_t *)column->values)[row];
}

#endif
