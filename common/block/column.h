/* column: types, single values and columns of values: what blocks, expressions, aggregates and history share.
 *
 * A column is a plain array plus an optional array that marks NULL rows, one byte a row. TEXT is always dictionary
 * coded: 32-bit codes into a dictionary of distinct or repeated strings. Nothing here owns memory: whoever makes a
 * column (a decoder with its arena, a Parquet reader) says how long it lives.
 */
#ifndef ANABRANCH_COMMON_BLOCK_COLUMN_H
#define ANABRANCH_COMMON_BLOCK_COLUMN_H

#include "common/base/bytes.h"
#include "common/base/memory.h"
#include "common/base/time.h"

/* Numbers are part of the wire and file formats. */
enum ab_type_kind {
    AB_TYPE_BOOLEAN = 1,   /* uint8_t 0 or 1 */
    AB_TYPE_BIGINT = 2,    /* int64_t */
    AB_TYPE_DOUBLE = 3,    /* double; NaN and zero canonical (ab_double_canonical) */
    AB_TYPE_DECIMAL = 4,   /* ab_int128, units of 10^-scale */
    AB_TYPE_TEXT = 5,      /* uint32_t code into the dictionary; UTF-8 */
    AB_TYPE_TIMESTAMP = 6, /* int64_t microseconds since the epoch, UTC */
};

struct ab_type {
    uint8_t kind;      /* enum ab_type_kind */
    uint8_t precision; /* DECIMAL: 1..38, else 0 */
    uint8_t scale;     /* DECIMAL: 0..precision, else 0 */
};

/* One typed value. */
struct ab_value {
    struct ab_type type;
    bool is_null;
    union {
        bool boolean;
        int64_t bigint; /* BIGINT, TIMESTAMP */
        double real;
        ab_int128 decimal;
        struct ab_bytes text; /* borrowed */
    };
};

/* The strings of a TEXT column: entry i is bytes[ends[i - 1] .. ends[i]) with ends[-1] read as 0. */
struct ab_dictionary {
    uint32_t count;
    const uint32_t *ends;
    const uint8_t *bytes;
};

struct ab_column {
    struct ab_type type;
    uint32_t rows_count;
    const uint8_t *nulls; /* 1 = NULL, one byte a row; NULL pointer = no NULLs */
    const void *values;   /* array by kind; what stands at a NULL row is any valid value; TEXT code 0 needs count > 0 or
                             all NULL */
    struct ab_dictionary dictionary; /* TEXT only */
};

/* Bytes of one element of the values array: 1, 8, 8, 16, 4, 8. */
size_t ab_type_element_bytes(struct ab_type type);

/* True when kind, precision and scale are equal. */
bool ab_type_equal(struct ab_type a, struct ab_type b);

/* SQL name: "DECIMAL(12, 2)". Returns text. */
#define AB_TYPE_TEXT_BYTES 24
const char *ab_type_format(struct ab_type type, char text[AB_TYPE_TEXT_BYTES]);

/* Entry `code` of a dictionary; code < count. */
static inline struct ab_bytes ab_dictionary_at(const struct ab_dictionary *dictionary, uint32_t code)
{
    uint32_t start = code == 0 ? 0 : dictionary->ends[code - 1];
    return ab_bytes_of(dictionary->bytes + start, dictionary->ends[code] - start);
}

/* True when the row is NULL. */
static inline bool ab_column_is_null(const struct ab_column *column, uint32_t row)
{
    return column->nulls != NULL && column->nulls[row] != 0;
}

/* The value at a row; text borrowed from the column. */
struct ab_value ab_column_value(const struct ab_column *column, uint32_t row);

/* A column of rows_count copies of a value (NULL too), in the arena. AB_FULL when the budget refuses. */
AB_MUST_USE ab_err ab_column_constant(
    struct ab_arena *arena, struct ab_value value, uint32_t rows_count, struct ab_column *column);

/* Reads a value of `type` from text as people write it: true/false/t/f/1/0, numbers, ISO times, any UTF-8 text.
 * AB_INVALID or AB_OVERFLOW. Text is borrowed from the argument. */
AB_MUST_USE ab_err ab_value_parse(struct ab_type type, struct ab_bytes text, struct ab_value *value);

/* Appends a value as people read it: DOUBLE with 17 significant digits, DECIMAL exact, times ISO 8601; NULL gives
 * nothing. */
struct ab_buffer;
void ab_value_format(const struct ab_value *value, struct ab_buffer *out);

/* Orders two values of one type: NULL first, false < true, NaN above all numbers, text bytewise. < 0, 0, > 0. */
int ab_value_compare(const struct ab_value *a, const struct ab_value *b);

/* Builds one column row by row: the typed side of producers and tests. Charged to a budget; reused by clear. */
struct ab_column_builder;

/* A builder of at most rows_max rows; charged to `memory` (may be NULL). */
struct ab_column_builder *ab_column_builder_create(struct ab_type type, uint32_t rows_max, struct ab_memory *memory);
void ab_column_builder_destroy(struct ab_column_builder *builder);
void ab_column_builder_clear(struct ab_column_builder *builder);

/* Appends a value of the builder's type, or NULL; text is copied (and deduplicated within the column). AB_FULL. */
AB_MUST_USE ab_err ab_column_builder_add(struct ab_column_builder *builder, const struct ab_value *value);

/* Bytes the column takes so far. */
size_t ab_column_builder_bytes(const struct ab_column_builder *builder);

/* The column so far; borrowed until the next add, clear or destroy. */
void ab_column_builder_view(const struct ab_column_builder *builder, struct ab_column *column);

#endif
