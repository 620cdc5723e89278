#include "speed/sealed_letters.h"

#include "common/base/file.h"
#include "common/history/layout.h"
#include "common/history/parquet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Fields of a file of dead letters, in order (common/history/layout.h). */
enum { OFFSET, ROW, APPEND_TIME, SOURCE, POSITION, REASON, RAW, FIELDS };

static struct ab_json *text_or_null(const struct ab_column *column, uint32_t row)
{
    struct ab_value value = ab_column_value(column, row);
    return value.is_null ? ab_json_null() : ab_json_text_of(value.text);
}

static struct ab_json *integer_or_null(const struct ab_column *column, uint32_t row)
{
    struct ab_value value = ab_column_value(column, row);
    return value.is_null ? ab_json_null() : ab_json_integer(value.bigint);
}

static struct ab_json *letter_json(
    const struct ab_sealed_letters *letters, const struct ab_column *columns, uint32_t row)
{
    char time[AB_TIME_TEXT_BYTES];
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "time", ab_json_text(ab_time_format(ab_column_value(&columns[APPEND_TIME], row).bigint, time)));
    ab_json_set(json, "stream", ab_json_text(letters->stream));
    ab_json_set(json, "partition", ab_json_integer(letters->partition));
    ab_json_set(json, "offset", integer_or_null(&columns[OFFSET], row));
    ab_json_set(json, "row", integer_or_null(&columns[ROW], row));
    ab_json_set(json, "source", text_or_null(&columns[SOURCE], row));
    ab_json_set(json, "line", integer_or_null(&columns[POSITION], row));
    ab_json_set(json, "reason", text_or_null(&columns[REASON], row));
    ab_json_set(json, "raw", text_or_null(&columns[RAW], row));
    return json;
}

static ab_err group_read(const struct ab_sealed_letters *letters, struct ab_parquet_reader *reader, size_t group,
    struct ab_arena *arena, struct ab_error *error)
{
    static const bool wanted[FIELDS] = {true, true, true, true, true, true, true};
    struct ab_column columns[FIELDS] = {0};
    ab_arena_reset(arena);
    AB_TRY(ab_parquet_reader_read(reader, group, wanted, arena, columns, error));
    for (uint64_t row = 0; row < ab_parquet_reader_group_rows(reader, group); row++) {
        struct ab_value offset = ab_column_value(&columns[OFFSET], (uint32_t)row);
        if (!offset.is_null && (uint64_t)offset.bigint < letters->below_offset) {
            letters->on_letter(letter_json(letters, columns, (uint32_t)row), letters->context);
        }
    }
    return AB_OK;
}

static bool has_right_fields(const struct ab_parquet_reader *reader)
{
    static const struct {
        const char *name;
        enum ab_type_kind kind;
    } expected[FIELDS] = {{"_offset", AB_TYPE_BIGINT}, {"_row", AB_TYPE_BIGINT}, {"_append_time", AB_TYPE_TIMESTAMP},
        {"source", AB_TYPE_TEXT}, {"position", AB_TYPE_BIGINT}, {"reason", AB_TYPE_TEXT}, {"raw", AB_TYPE_TEXT}};
    const struct ab_parquet_field *fields = NULL;
    bool is_right = ab_parquet_reader_fields(reader, &fields) == FIELDS;
    for (size_t i = 0; is_right && i < FIELDS; i++) {
        is_right = strcmp(fields[i].name, expected[i].name) == 0 && fields[i].type.kind == expected[i].kind;
    }
    return is_right;
}

static ab_err file_read(const struct ab_sealed_letters *letters, const char *path, struct ab_error *error)
{
    struct ab_parquet_reader *reader = NULL;
    struct ab_arena arena;
    AB_TRY(ab_parquet_reader_open(path, &reader, error));
    ab_arena_init(&arena, letters->memory, 0);
    ab_err err = has_right_fields(reader) ? AB_OK : ab_error_set(error, AB_CORRUPT, "%s: not dead letters", path);
    for (size_t group = 0; err == AB_OK && group < ab_parquet_reader_groups(reader); group++) {
        err = group_read(letters, reader, group, &arena, error);
    }
    ab_parquet_reader_close(reader);
    ab_arena_fini(&arena);
    return err;
}

static int span_compare(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;
    return (*a > *b) - (*a < *b);
}

/* Numbers of the spans that have a file, rising; *spans is freed with ab_delete. */
static ab_err spans_list(
    const struct ab_sealed_letters *letters, uint64_t **spans, size_t *count, struct ab_error *error)
{
    char *folder = ab_history_dead_letters_path(letters->directory, letters->stream, letters->partition, 0);
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

ab_err ab_sealed_letters_read(const struct ab_sealed_letters *letters, struct ab_error *error)
{
    uint64_t *spans = NULL;
    size_t count = 0;
    ab_err err = spans_list(letters, &spans, &count, error);
    for (size_t i = 0; err == AB_OK && i < count; i++) {
        char *path = ab_history_dead_letters_path(letters->directory, letters->stream, letters->partition, spans[i]);
        err = file_read(letters, path, error);
        ab_delete(path);
    }
    ab_delete(spans);
    return err;
}
