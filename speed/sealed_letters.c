#include "speed/sealed_letters.h"

#include "common/base/file.h"
#include "common/history/layout.h"
#include "common/history/parquet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Fields of a file of dead letters, in order (common/history/layout.h); the last one came later. */
enum { OFFSET, ROW, APPEND_TIME, SOURCE, POSITION, REASON, RAW, IS_RAW, FIELDS };
enum { FIELDS_MIN = IS_RAW };

static const struct {
    const char *name;
    enum ab_type_kind kind;
} expected[FIELDS] = {
    [OFFSET] = {"_offset", AB_TYPE_BIGINT},
    [ROW] = {"_row", AB_TYPE_BIGINT},
    [APPEND_TIME] = {"_append_time", AB_TYPE_TIMESTAMP},
    [SOURCE] = {"source", AB_TYPE_TEXT},
    [POSITION] = {"position", AB_TYPE_BIGINT},
    [REASON] = {"reason", AB_TYPE_TEXT},
    [RAW] = {"raw", AB_TYPE_TEXT},
    [IS_RAW] = {"is_raw", AB_TYPE_BOOLEAN},
};

/* One file at work. */
struct sealed_file {
    const struct ab_sealed_letters *sealed;
    struct ab_parquet_reader *reader;
    size_t fields_count;
    struct ab_column columns[FIELDS]; /* of the row group read last; in the arena */
    struct ab_arena arena;
    struct ab_letters *letters;
};

/* The row's columns; NULL when it came as text. A file of old does not say which: columns are an object. */
static struct ab_json *values_parse(const struct sealed_file *file, uint32_t row, struct ab_bytes raw)
{
    struct ab_json *values = NULL;
    bool says = file->fields_count == FIELDS;
    bool may_be = says ? !ab_column_value(&file->columns[IS_RAW], row).boolean : raw.bytes > 0 && raw.data[0] == '{';
    if (may_be && ab_json_parse(raw, &values, NULL) == AB_OK && !ab_json_is_object(values)) {
        ab_json_destroy(values);
        values = NULL;
    }
    return values;
}

static ab_err row_add(struct sealed_file *file, uint32_t row)
{
    uint64_t offset = (uint64_t)ab_column_value(&file->columns[OFFSET], row).bigint;
    if (offset < file->sealed->from_offset || offset >= file->sealed->below_offset) {
        return AB_OK;
    }
    struct ab_value source = ab_column_value(&file->columns[SOURCE], row);
    struct ab_value line = ab_column_value(&file->columns[POSITION], row);
    struct ab_letter letter = {.place = {.time_us = ab_column_value(&file->columns[APPEND_TIME], row).bigint,
                                   .partition = file->sealed->partition,
                                   .offset = offset,
                                   .row = (uint32_t)ab_column_value(&file->columns[ROW], row).bigint},
        .stream = ab_bytes_of_text(file->sealed->stream),
        .source = source.is_null ? (struct ab_bytes){0} : source.text,
        .has_line = !line.is_null,
        .line = line.is_null ? 0 : line.bigint,
        .reason = ab_column_value(&file->columns[REASON], row).text,
        .raw = ab_column_value(&file->columns[RAW], row).text};
    file->letters->total++;
    if (!ab_letters_wants(file->letters, &letter.place)) {
        return AB_OK;
    }
    return ab_letters_add(file->letters, &letter, values_parse(file, row, letter.raw));
}

/* What a row group's statistics say: all of it counts and none of it is new enough to be shown. */
static bool is_only_counted(const struct sealed_file *file, size_t group)
{
    struct ab_value min;
    struct ab_value max;
    uint64_t nulls = 0;
    if (!ab_parquet_reader_bounds(file->reader, group, OFFSET, &min, &max, &nulls) ||
        (uint64_t)min.bigint < file->sealed->from_offset || (uint64_t)max.bigint >= file->sealed->below_offset ||
        !ab_parquet_reader_bounds(file->reader, group, APPEND_TIME, &min, &max, &nulls)) {
        return false;
    }
    const struct ab_letter_place newest = {
        .time_us = max.bigint, .partition = UINT32_MAX, .offset = UINT64_MAX, .row = UINT32_MAX};
    return !ab_letters_wants(file->letters, &newest);
}

static ab_err group_read(struct sealed_file *file, size_t group, struct ab_error *error)
{
    static const bool wanted[FIELDS] = {true, true, true, true, true, true, true, true};
    uint64_t rows_count = ab_parquet_reader_group_rows(file->reader, group);
    if (is_only_counted(file, group)) {
        file->letters->total += rows_count;
        return AB_OK;
    }
    ab_arena_reset(&file->arena);
    AB_TRY(ab_parquet_reader_read(file->reader, group, wanted, &file->arena, file->columns, error));
    ab_err err = AB_OK;
    for (uint64_t row = 0; row < rows_count && err == AB_OK; row++) {
        err = row_add(file, (uint32_t)row);
    }
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "no memory for the dead letters");
}

/* True when the file has the fields of dead letters, none NULL but those that may be. */
static bool has_right_fields(struct sealed_file *file)
{
    const struct ab_parquet_field *fields = NULL;
    file->fields_count = ab_parquet_reader_fields(file->reader, &fields);
    bool is_right = file->fields_count == FIELDS || file->fields_count == FIELDS_MIN;
    for (size_t i = 0; is_right && i < file->fields_count; i++) {
        is_right = strcmp(fields[i].name, expected[i].name) == 0 && fields[i].type.kind == expected[i].kind &&
                   (fields[i].is_required || i == SOURCE || i == POSITION);
    }
    return is_right;
}

static ab_err file_read(
    const struct ab_sealed_letters *sealed, const char *path, struct ab_letters *letters, struct ab_error *error)
{
    struct sealed_file file = {.sealed = sealed, .letters = letters};
    AB_TRY(ab_parquet_reader_open(path, &file.reader, error));
    ab_arena_init(&file.arena, sealed->memory, 0);
    ab_err err = has_right_fields(&file) ? AB_OK : ab_error_set(error, AB_CORRUPT, "these are not dead letters");
    for (size_t group = ab_parquet_reader_groups(file.reader); err == AB_OK && group > 0; group--) {
        err = group_read(&file, group - 1, error);
    }
    ab_parquet_reader_close(file.reader);
    ab_arena_fini(&file.arena);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "%s", path);
}

static int span_compare(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;
    return (*a < *b) - (*a > *b);
}

/* Numbers of the spans that have a file, falling; *spans is freed with ab_delete. */
static ab_err spans_list(
    const struct ab_sealed_letters *sealed, uint64_t **spans, size_t *count, struct ab_error *error)
{
    char *folder = ab_history_dead_letters_path(sealed->directory, sealed->stream, sealed->partition, 0);
    char **names = NULL;
    size_t names_count = 0;
    *strrchr(folder, '/') = '\0';
    ab_err err = ab_file_exists(folder) ? ab_file_list(folder, &names, &names_count, error) : AB_OK;
    *spans = ab_new_array(uint64_t, names_count + 1);
    *count = 0;
    for (size_t i = 0; i < names_count; i++) {
        int used = 0;
        bool is_span = sscanf(names[i], "span-%" SCNu64 ".parquet%n", &(*spans)[*count], &used) == 1;
        *count += is_span && used > 0 && names[i][used] == '\0';
    }
    ab_file_names_free(names, names_count);
    ab_delete(folder);
    qsort(*spans, *count, sizeof(uint64_t), span_compare);
    return err;
}

ab_err ab_sealed_letters_read(
    const struct ab_sealed_letters *sealed, struct ab_letters *letters, struct ab_error *error)
{
    uint64_t *spans = NULL;
    size_t count = 0;
    ab_err err = spans_list(sealed, &spans, &count, error);
    for (size_t i = 0; err == AB_OK && i < count; i++) {
        char *path = ab_history_dead_letters_path(sealed->directory, sealed->stream, sealed->partition, spans[i]);
        err = file_read(sealed, path, letters, error);
        ab_delete(path);
    }
    ab_delete(spans);
    return err;
}
