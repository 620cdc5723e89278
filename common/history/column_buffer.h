/* column_buffer: the values of one column of the row group that is being written, and their encoding into pages.
 *
 * How a chunk is encoded follows from its values alone: a dictionary for at most AB_COLUMN_DICTIONARY_MAX distinct ones
 * when that takes fewer bytes than plain; else integers and times as differences, unless that takes more, DOUBLE as
 * streams of bytes, the rest plain. Dictionary order is order of first appearance, so equal input gives equal bytes.
 *
 * Threads: owner. Memory: charged to the budget.
 */
#ifndef ANABRANCH_COMMON_HISTORY_COLUMN_BUFFER_H
#define ANABRANCH_COMMON_HISTORY_COLUMN_BUFFER_H

#include "common/history/footer.h"

#include "common/base/map.h"

#define AB_COLUMN_DICTIONARY_MAX 65536u
#define AB_COLUMN_BOUND_BYTES_MAX 128u /* longer texts give no min and max */

struct ab_column_buffer {
    struct ab_type type;
    bool is_required;
    struct ab_memory *memory; /* borrowed */
    struct ab_buffer values;  /* element_bytes a row; TEXT: codes into the group's dictionary */
    struct ab_buffer nulls;   /* one byte a row */
    size_t nulls_count;
    struct ab_map *codes;  /* owned; TEXT: text -> code */
    struct ab_buffer ends; /* TEXT: u32 an entry */
    struct ab_buffer texts;
};

/* Sets up an empty buffer. */
void ab_column_buffer_init(
    struct ab_column_buffer *buffer, struct ab_type type, bool is_required, struct ab_memory *memory);
void ab_column_buffer_fini(struct ab_column_buffer *buffer);

/* Empties for the next group. */
void ab_column_buffer_clear(struct ab_column_buffer *buffer);

/* Appends rows [from, until) but those with skip (may be NULL). AB_FULL when the budget refuses, AB_INVALID for a NULL
 * in a required column or a column of another type; the buffer must then be given up. */
AB_MUST_USE ab_err ab_column_buffer_add(struct ab_column_buffer *buffer, const struct ab_column *column, uint32_t from,
    uint32_t until, const uint8_t *skip);

/* Bytes held. */
size_t ab_column_buffer_bytes(const struct ab_column_buffer *buffer);

/* What an encoded chunk consists of; the caller owns the buffers and clears them between chunks. */
struct ab_column_pages {
    bool has_dictionary;
    uint32_t dictionary_count;
    struct ab_buffer dictionary; /* plain encoding of the entries */
    int encoding;                /* enum ab_parquet_encoding of the values */
    struct ab_buffer data;       /* definition levels (when not required) and values */
    bool has_bounds;
    struct ab_buffer min, max; /* plain encoding */
};
void ab_column_pages_fini(struct ab_column_pages *pages);

/* Encodes the rows held. AB_FULL. */
AB_MUST_USE ab_err ab_column_buffer_encode(const struct ab_column_buffer *buffer, struct ab_column_pages *pages);

#endif
