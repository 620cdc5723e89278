/* relation: rows on their way to standard output as an aligned table, CSV (RFC 4180) or a JSON array of objects.
 *
 * NULL is an empty cell in table and CSV, null in JSON. Threads: owner. Memory: all cells until printed, charged to no
 * budget: the answers it holds are bounded by the message size of the wire.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_RELATION_H
#define ANABRANCH_CLUSTER_COMMAND_RELATION_H

#include "common/base/buffer.h"

enum ab_output_format { AB_OUTPUT_TABLE, AB_OUTPUT_CSV, AB_OUTPUT_JSON };

/* Reads "table", "csv" or "json"; NULL is the table; AB_USAGE. */
AB_MUST_USE ab_err ab_output_format_parse(const char *name, enum ab_output_format *format, struct ab_error *error);

enum ab_cell_kind {
    AB_CELL_TEXT,
    AB_CELL_NUMBER,  /* right-aligned; bare in JSON when it is a JSON number */
    AB_CELL_BOOLEAN, /* bare in JSON */
};

struct ab_relation {
    size_t columns_count;
    struct ab_relation_column {
        char *name; /* owned */
        enum ab_cell_kind kind;
        size_t width;       /* characters of the widest cell so far */
    } * columns;            /* owned */
    struct ab_buffer cells; /* u8 is_null, varint-length text; row by row */
    size_t cells_count;
};

void ab_relation_init(struct ab_relation *relation, size_t columns_count);
void ab_relation_fini(struct ab_relation *relation);

/* Names a column; before any cell. */
void ab_relation_column(struct ab_relation *relation, size_t column, const char *name, enum ab_cell_kind kind);

/* Adds the next cell, row by row. The text is copied. */
void ab_relation_add(struct ab_relation *relation, struct ab_bytes text);
void ab_relation_add_text(struct ab_relation *relation, const char *text);
void ab_relation_add_null(struct ab_relation *relation);

/* Appends all of it in a format. */
void ab_relation_write(const struct ab_relation *relation, enum ab_output_format format, struct ab_buffer *out);

/* Writes a buffer to standard output; AB_IO when it cannot (a closed pipe, a full disk). */
AB_MUST_USE ab_err ab_output_print(const struct ab_buffer *text, struct ab_error *error);

#endif
