#include "batch/scan.h"

#include "common/history/layout.h"
#include "common/history/parquet.h"

#include <inttypes.h>
#include <stdio.h>

struct ab_scan {
    struct ab_parquet_reader *reader; /* owned */
    char *path;                       /* owned */
    const struct ab_stream *stream;   /* borrowed */
    uint32_t partition;
    size_t fields_count;
    bool *wanted;  /* owned; per field of the file */
    int *field_of; /* owned; per stream column: field, or -1 */
    int offset_field;
    int row_field;
    struct ab_column *columns;         /* owned; per field */
    const struct ab_column **pointers; /* owned; per stream column */
    struct ab_arena arena;             /* of one row group */
    size_t group;
};

void ab_scan_close(struct ab_scan *scan)
{
    if (scan == NULL) {
        return;
    }
    ab_parquet_reader_close(scan->reader);
    ab_arena_fini(&scan->arena);
    ab_delete(scan->wanted);
    ab_delete(scan->field_of);
    ab_delete(scan->columns);
    ab_delete((void *)scan->pointers);
    ab_delete(scan->path);
    ab_delete(scan);
}

static int field_find(const struct ab_parquet_field *fields, size_t count, const char *name, struct ab_type type)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return ab_type_equal(fields[i].type, type) ? (int)i : -2;
        }
    }
    return -1;
}

static ab_err fields_bind(struct ab_scan *scan, const bool *used, struct ab_error *error)
{
    const struct ab_parquet_field *fields = NULL;
    const struct ab_stream *stream = scan->stream;
    struct ab_type bigint = {.kind = AB_TYPE_BIGINT};
    scan->fields_count = ab_parquet_reader_fields(scan->reader, &fields);
    scan->wanted = ab_new_array(bool, scan->fields_count + 1);
    scan->columns = ab_new_array(struct ab_column, scan->fields_count + 1);
    scan->field_of = ab_new_array(int, stream->columns_count + 1);
    scan->pointers = ab_new_array(const struct ab_column *, stream->columns_count + 1);
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        scan->field_of[i] =
            used[i] ? field_find(fields, scan->fields_count, stream->columns[i].name, stream->columns[i].type) : -1;
        if (scan->field_of[i] == -2) {
            return ab_error_set(
                error, AB_CORRUPT, "%s: column %s has another type", scan->path, stream->columns[i].name);
        }
        bool has_nulls = scan->field_of[i] < 0 || !fields[scan->field_of[i]].is_required;
        if (used[i] && stream->columns[i].is_not_null && has_nulls) {
            return ab_error_set(
                error, AB_CORRUPT, "%s: column %s may be NULL in it", scan->path, stream->columns[i].name);
        }
        if (scan->field_of[i] >= 0) {
            scan->wanted[scan->field_of[i]] = true;
        }
    }
    scan->offset_field = field_find(fields, scan->fields_count, "_offset", bigint);
    scan->row_field = field_find(fields, scan->fields_count, "_row", bigint);
    if (scan->offset_field < 0 || scan->row_field < 0) {
        return ab_error_set(error, AB_CORRUPT, "%s: no columns _offset and _row", scan->path);
    }
    scan->wanted[scan->offset_field] = scan->wanted[scan->row_field] = true;
    return AB_OK;
}

/* Whether the file is the one that the marker speaks of. */
static ab_err file_check(const struct ab_scan *scan, const struct ab_sealed_span *sealed, struct ab_error *error)
{
    const struct ab_sealed_stream *counts = ab_sealed_span_stream(sealed, scan->stream->name);
    const char *chain = ab_parquet_reader_note(scan->reader, "anabranch.chain");
    char expected[33];
    ab_hash128_format(sealed->chain, expected);
    uint64_t rows = counts == NULL ? 0 : counts->accepted;
    if (chain == NULL || strcmp(chain, expected) != 0 || ab_parquet_reader_rows(scan->reader) != rows) {
        return ab_error_set(error, AB_CORRUPT,
            "%s: holds %" PRIu64 " rows of chain %s, but %" PRIu64 " rows of chain %s were sealed", scan->path,
            ab_parquet_reader_rows(scan->reader), chain == NULL ? "(none)" : chain, rows, expected);
    }
    return AB_OK;
}

ab_err ab_scan_open(const char *directory, const struct ab_sealed_span *sealed, const struct ab_stream *stream,
    const bool *used, struct ab_memory *memory, struct ab_scan **scan, struct ab_error *error)
{
    struct ab_scan *made = ab_new(struct ab_scan);
    made->stream = stream;
    made->partition = sealed->partition;
    made->path = ab_history_rows_path(directory, stream->name, sealed->partition, sealed->span);
    ab_arena_init(&made->arena, memory, 1u << 20);
    ab_err err = ab_parquet_reader_open(made->path, &made->reader, error);
    if (err == AB_OK) {
        err = fields_bind(made, used, error);
    }
    if (err == AB_OK) {
        err = file_check(made, sealed, error);
    }
    if (err != AB_OK) {
        ab_scan_close(made);
        return err;
    }
    *scan = made;
    return AB_OK;
}

ab_err ab_scan_next(struct ab_scan *scan, struct ab_rows *rows, struct ab_error *error)
{
    if (scan->group >= ab_parquet_reader_groups(scan->reader)) {
        return AB_END;
    }
    ab_arena_reset(&scan->arena);
    AB_TRY(ab_parquet_reader_read(scan->reader, scan->group, scan->wanted, &scan->arena, scan->columns, error));
    for (uint32_t i = 0; i < scan->stream->columns_count; i++) {
        scan->pointers[i] = scan->field_of[i] < 0 ? NULL : &scan->columns[scan->field_of[i]];
    }
    const struct ab_column *offsets = &scan->columns[scan->offset_field];
    const struct ab_column *ordinals = &scan->columns[scan->row_field];
    if (offsets->nulls != NULL || ordinals->nulls != NULL) {
        return ab_error_set(error, AB_CORRUPT, "%s: a row without _offset or _row", scan->path);
    }
    *rows = (struct ab_rows){.columns = scan->pointers,
        .rows_count = (uint32_t)ab_parquet_reader_group_rows(scan->reader, scan->group),
        .partition = scan->partition,
        .offsets = offsets->values,
        .ordinals = ordinals->values,
        .expired_until_us = INT64_MIN};
    scan->group++;
    return AB_OK;
}
