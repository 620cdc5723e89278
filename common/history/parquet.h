/* parquet: sealed history as plain Parquet files (format 2.x subset), written and read column by column.
 *
 * Written: one flat schema, OPTIONAL or REQUIRED columns, row groups of ~128k rows, per column chunk one dictionary
 * page (RLE_DICTIONARY) or one of DELTA_BINARY_PACKED, BYTE_STREAM_SPLIT and PLAIN, definition levels RLE, zstd,
 * min/max/null-count statistics, key-value metadata. Types: BOOLEAN -> BOOLEAN, BIGINT -> INT64, DOUBLE -> DOUBLE,
 * DECIMAL -> FIXED_LEN_BYTE_ARRAY(16) DECIMAL, TEXT -> BYTE_ARRAY UTF8, TIMESTAMP -> INT64 TIMESTAMP(MICROS, UTC). Any
 * Parquet reader takes them. Equal input gives equal bytes. Read: files of this writer (and flat files of others within
 * the same encodings); everything from the file is checked, a malformed file is AB_CORRUPT.
 *
 * Threads: a writer or reader belongs to one thread. Memory: one row group being written; one batch being read, charged
 * to the arena.
 */
#ifndef ANABRANCH_COMMON_HISTORY_PARQUET_H
#define ANABRANCH_COMMON_HISTORY_PARQUET_H

#include "common/base/buffer.h"
#include "common/block/column.h"

#define AB_PARQUET_ROW_GROUP_ROWS 131072u

struct ab_parquet_field {
    const char *name;
    struct ab_type type;
    bool is_required; /* no NULLs */
};

struct ab_parquet_note {
    const char *key;
    const char *value;
};

struct ab_parquet_writer;

/* Creates the file as "<path>.<process>.tmp" until finished. Fields are copied. */
AB_MUST_USE ab_err ab_parquet_writer_create(const char *path, const struct ab_parquet_field *fields,
    size_t fields_count, struct ab_memory *memory, struct ab_parquet_writer **writer, struct ab_error *error);

/* Appends the rows of a batch, columns in field order, all of rows_count rows; rows with skip[r] = 1 (may be NULL) are
 * left out. AB_NO_SPACE, AB_IO. */
AB_MUST_USE ab_err ab_parquet_writer_add(struct ab_parquet_writer *writer, const struct ab_column *const *columns,
    uint32_t rows_count, const uint8_t *skip, struct ab_error *error);

/* Rows written so far. */
uint64_t ab_parquet_writer_rows(const struct ab_parquet_writer *writer);

/* Writes the footer with `notes`, syncs, renames into place durably, frees the writer. A file without rows is legal. */
AB_MUST_USE ab_err ab_parquet_writer_finish(struct ab_parquet_writer *writer, const struct ab_parquet_note *notes,
    size_t notes_count, uint64_t *bytes, struct ab_error *error);

/* Gives up and removes the temporary file; NULL is legal. */
void ab_parquet_writer_abandon(struct ab_parquet_writer *writer);

struct ab_parquet_reader;

/* Opens and checks the footer. AB_NOT_FOUND, AB_CORRUPT, AB_UNSUPPORTED (an encoding or type that we do not read,
 * named). */
AB_MUST_USE ab_err ab_parquet_reader_open(const char *path, struct ab_parquet_reader **reader, struct ab_error *error);
void ab_parquet_reader_close(struct ab_parquet_reader *reader);

/* Parses footer bytes alone (what a fuzzer feeds); result to be closed, cannot read columns. */
AB_MUST_USE ab_err ab_parquet_footer_parse(
    struct ab_bytes footer, struct ab_parquet_reader **reader, struct ab_error *error);

size_t ab_parquet_reader_fields(const struct ab_parquet_reader *reader, const struct ab_parquet_field **fields);
uint64_t ab_parquet_reader_rows(const struct ab_parquet_reader *reader);
size_t ab_parquet_reader_groups(const struct ab_parquet_reader *reader);
uint64_t ab_parquet_reader_group_rows(const struct ab_parquet_reader *reader, size_t group);

/* Value of a footer note, borrowed; NULL. */
const char *ab_parquet_reader_note(const struct ab_parquet_reader *reader, const char *key);

/* Statistics of a column in a row group: false when absent. Text borrowed from the reader. */
bool ab_parquet_reader_bounds(const struct ab_parquet_reader *reader, size_t group, size_t field, struct ab_value *min,
    struct ab_value *max, uint64_t *nulls_count);

/* Reads the wanted columns (wanted[i] true) of a whole row group into the arena: columns[i] for field i, untouched for
 * others. TEXT columns come dictionary coded; dictionary pages are reused, not expanded. The reader's working memory is
 * charged to the arena's budget, which must outlive the reader. AB_CORRUPT, AB_FULL. */
AB_MUST_USE ab_err ab_parquet_reader_read(struct ab_parquet_reader *reader, size_t group, const bool *wanted,
    struct ab_arena *arena, struct ab_column *columns, struct ab_error *error);

#endif
