/* import_rows: a row of a file becomes a row of a stream, or a dead letter with its line and reason.
 *
 * Threads: owner.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_IMPORT_ROWS_H
#define ANABRANCH_CLUSTER_COMMAND_IMPORT_ROWS_H

#include "cluster/command/csv.h"
#include "common/base/json.h"
#include "common/base/map.h"
#include "common/catalog/catalog.h"
#include "common/client/anabranch.h"

struct ab_import_rename {
    const char *column;
    const char *field;
};

struct ab_import_rows {
    struct anabranch_client *client;        /* borrowed */
    struct anabranch_producer *producer;    /* borrowed */
    const struct ab_stream *stream;         /* borrowed */
    const struct ab_import_rename *renames; /* borrowed */
    size_t renames_count;
    const char *null_text; /* borrowed; NULL = none besides the empty field */
    size_t null_bytes;
    int64_t unit_multiply;  /* integer times times this ... */
    int64_t unit_divide;    /* ... floored by this, are microseconds; 0 = no --time-unit */
    int32_t *field_columns; /* owned; CSV: column of each header field, -1 = ignored */
    size_t fields_count;
    struct ab_map *names; /* owned; JSON: member name -> column; ignored ones -> UINT32_MAX */
    size_t ignored_count; /* names already told of */
};

/* Name of the field that a column is read from. */
const char *ab_import_field_of(const struct ab_import_rows *rows, const char *column);

/* Takes the header of a CSV file: notices on standard error for what is ignored or missing; AB_INVALID for a NOT NULL
 * column that is missing, a name that stands twice, a renamed field that is not there. */
AB_MUST_USE ab_err ab_import_rows_header(
    struct ab_import_rows *rows, const struct ab_csv_row *header, struct ab_error *error);

/* Takes the names of a stream's columns for JSON lines. */
AB_MUST_USE ab_err ab_import_rows_names(struct ab_import_rows *rows, struct ab_error *error);

/* Appends one row; position is its line. What cannot be typed becomes a raw row. */
AB_MUST_USE enum anabranch_result ab_import_rows_csv(
    struct ab_import_rows *rows, const struct ab_csv_row *row, uint64_t position);
AB_MUST_USE enum anabranch_result ab_import_rows_json(
    struct ab_import_rows *rows, struct ab_bytes line, uint64_t position);

void ab_import_rows_fini(struct ab_import_rows *rows);

#endif
