#include "cluster/command/import_rows.h"

#include "cluster/command/command.h"
#include "common/base/decimal.h"

#include <inttypes.h>
#include <stdio.h>

#define COLUMN_IGNORED UINT64_MAX
#define IGNORED_SAID_MAX 5u

void ab_import_rows_fini(struct ab_import_rows *rows)
{
    ab_delete(rows->field_columns);
    ab_map_destroy(rows->names);
    rows->field_columns = NULL;
    rows->names = NULL;
}

const char *ab_import_field_of(const struct ab_import_rows *rows, const char *column)
{
    for (size_t i = 0; i < rows->renames_count; i++) {
        if (strcmp(rows->renames[i].column, column) == 0) {
            return rows->renames[i].field;
        }
    }
    return column;
}

/* ---- values ---- */

/* Integer times in the unit of --time-unit. */
static enum anabranch_result time_set(struct ab_import_rows *rows, uint32_t column, int64_t number, bool *is_set)
{
    int64_t time = 0;
    *is_set = !__builtin_mul_overflow(number, rows->unit_multiply, &time);
    if (!*is_set) {
        return ANABRANCH_OK;
    }
    int64_t rest = time % rows->unit_divide;
    time = time / rows->unit_divide - (rest < 0);
    return anabranch_set_timestamp(rows->producer, column, time);
}

/* Sets a column from its text form; anything but ANABRANCH_OK: it does not fit, the reason is the client's last error.
 */
static enum anabranch_result text_set(struct ab_import_rows *rows, uint32_t column, struct ab_bytes text)
{
    int64_t number = 0;
    if (rows->unit_divide != 0 && rows->stream->columns[column].type.kind == AB_TYPE_TIMESTAMP &&
        ab_bigint_parse(text, &number) == AB_OK) {
        bool is_set = false;
        enum anabranch_result result = time_set(rows, column, number, &is_set);
        if (is_set) {
            return result;
        }
    }
    return anabranch_set_parsed(rows->producer, column, (const char *)text.data, text.bytes);
}

static bool is_null_text(const struct ab_import_rows *rows, struct ab_bytes text)
{
    return rows->null_text != NULL && text.bytes == rows->null_bytes &&
           memcmp(text.data, rows->null_text, text.bytes) == 0;
}

static enum anabranch_result raw_append(
    struct ab_import_rows *rows, struct ab_bytes text, uint64_t position, const char *reason)
{
    return anabranch_append_raw(rows->producer, position, (const char *)text.data, text.bytes, reason);
}

/* ---- CSV ---- */

static int32_t column_of_field(const struct ab_import_rows *rows, struct ab_bytes field)
{
    for (uint32_t c = 0; c < rows->stream->columns_count; c++) {
        const char *wanted = ab_import_field_of(rows, rows->stream->columns[c].name);
        if (ab_bytes_equal(ab_bytes_of_text(wanted), field)) {
            return (int32_t)c;
        }
    }
    return -1;
}

static bool header_has(const struct ab_import_rows *rows, uint32_t column)
{
    for (size_t f = 0; f < rows->fields_count; f++) {
        if (rows->field_columns[f] == (int32_t)column) {
            return true;
        }
    }
    return false;
}

static ab_err columns_check(const struct ab_import_rows *rows, struct ab_error *error)
{
    for (uint32_t c = 0; c < rows->stream->columns_count; c++) {
        const struct ab_stream_column *column = &rows->stream->columns[c];
        const char *field = ab_import_field_of(rows, column->name);
        if (header_has(rows, c)) {
            continue;
        }
        if (column->is_not_null || field != column->name) {
            return ab_error_set(error, AB_INVALID,
                "the header has no field '%s' for column %s%s; nothing was sent. Rename with --rename %s=FIELD", field,
                column->name, column->is_not_null ? ", which is NOT NULL" : "", column->name);
        }
        ab_command_say("notice: the header has no field '%s': column %s stays NULL", field, column->name);
    }
    return AB_OK;
}

ab_err ab_import_rows_header(struct ab_import_rows *rows, const struct ab_csv_row *header, struct ab_error *error)
{
    if (header->reason != NULL || header->fields_count > AB_CSV_FIELDS_MAX) {
        return ab_error_set(error, AB_INVALID, "the header cannot be read: %s",
            header->reason != NULL ? header->reason : "it has more than 1,024 fields");
    }
    rows->fields_count = header->fields_count;
    rows->field_columns = ab_new_array(int32_t, header->fields_count);
    for (size_t f = 0; f < header->fields_count; f++) {
        rows->field_columns[f] = -1;
    }
    for (size_t f = 0; f < header->fields_count; f++) {
        int32_t column = column_of_field(rows, header->fields[f]);
        if (column >= 0 && header_has(rows, (uint32_t)column)) {
            return ab_error_set(error, AB_INVALID, "the header has the field '%s' twice; nothing was sent",
                ab_import_field_of(rows, rows->stream->columns[column].name));
        }
        rows->field_columns[f] = column;
        if (column < 0 && rows->ignored_count++ < IGNORED_SAID_MAX) {
            ab_command_say("notice: field '%.*s' is no column of %s and is ignored", (int)header->fields[f].bytes,
                (const char *)header->fields[f].data, rows->stream->name);
        }
    }
    return columns_check(rows, error);
}

enum anabranch_result ab_import_rows_csv(struct ab_import_rows *rows, const struct ab_csv_row *row, uint64_t position)
{
    if (row->reason != NULL) {
        return raw_append(rows, row->whole, position, row->reason);
    }
    if (row->fields_count != rows->fields_count) {
        char reason[96];
        (void)snprintf(
            reason, sizeof reason, "the row has %zu fields, the header has %zu", row->fields_count, rows->fields_count);
        return raw_append(rows, row->whole, position, reason);
    }
    for (size_t f = 0; f < row->fields_count; f++) {
        struct ab_bytes text = row->fields[f];
        if (rows->field_columns[f] < 0 || text.bytes == 0 || is_null_text(rows, text)) {
            continue;
        }
        enum anabranch_result result = text_set(rows, (uint32_t)rows->field_columns[f], text);
        if (result != ANABRANCH_OK) {
            return raw_append(rows, row->whole, position, anabranch_last_error(rows->client));
        }
    }
    return anabranch_append(rows->producer, position);
}

/* ---- JSON lines ---- */

ab_err ab_import_rows_names(struct ab_import_rows *rows, struct ab_error *error)
{
    rows->names = ab_map_create(NULL);
    for (uint32_t c = 0; c < rows->stream->columns_count; c++) {
        const char *field = ab_import_field_of(rows, rows->stream->columns[c].name);
        if (ab_map_get(rows->names, ab_bytes_of_text(field), NULL)) {
            return ab_error_set(error, AB_INVALID, "two columns would be read from '%s'", field);
        }
        AB_TRY(ab_map_set(rows->names, ab_bytes_of_text(field), c));
    }
    return AB_OK;
}

/* Column of a member; what is no column is told once a name, and remembered. */
static uint64_t column_of_member(struct ab_import_rows *rows, const char *name)
{
    uint64_t column = COLUMN_IGNORED;
    if (ab_map_get(rows->names, ab_bytes_of_text(name), &column)) {
        return column;
    }
    if (rows->ignored_count++ < IGNORED_SAID_MAX &&
        ab_map_set(rows->names, ab_bytes_of_text(name), COLUMN_IGNORED) == AB_OK) {
        ab_command_say("notice: member '%s' is no column of %s and is ignored", name, rows->stream->name);
    }
    return COLUMN_IGNORED;
}

/* The shortest decimal text that reads back to the same number: what was written in the file, for up to 15 digits. */
static void real_text(double number, char text[AB_DECIMAL_TEXT_BYTES])
{
    for (int digits = 15; digits <= 17; digits++) {
        double back = 0;
        (void)snprintf(text, AB_DECIMAL_TEXT_BYTES, "%.*g", digits, number);
        if (ab_double_parse(ab_bytes_of_text(text), &back) == AB_OK && back == number) {
            return;
        }
    }
}

static enum anabranch_result number_set(
    struct ab_import_rows *rows, uint32_t column, const struct ab_json *member, char text[AB_DECIMAL_TEXT_BYTES])
{
    bool is_integer = ab_json_is_integer(member);
    switch (rows->stream->columns[column].type.kind) {
    case AB_TYPE_DOUBLE:
        return anabranch_set_double(rows->producer, column, ab_json_real_or(member, 0));
    case AB_TYPE_BIGINT:
        if (is_integer) {
            return anabranch_set_bigint(rows->producer, column, ab_json_integer_or(member, 0));
        }
        break;
    default:
        break;
    }
    if (is_integer) {
        (void)snprintf(text, AB_DECIMAL_TEXT_BYTES, "%" PRId64, ab_json_integer_or(member, 0));
    } else {
        real_text(ab_json_real_or(member, 0), text);
    }
    return text_set(rows, column, ab_bytes_of_text(text));
}

static enum anabranch_result member_set(struct ab_import_rows *rows, uint32_t column, const struct ab_json *member)
{
    char text[AB_DECIMAL_TEXT_BYTES];
    if (ab_json_is_null(member)) {
        return ANABRANCH_OK;
    }
    if (ab_json_is_text(member)) {
        struct ab_bytes given = ab_json_bytes(member);
        return is_null_text(rows, given) ? ANABRANCH_OK : text_set(rows, column, given);
    }
    if (ab_json_is_boolean(member)) {
        const char *word = ab_json_boolean_or(member, false) ? "true" : "false";
        return text_set(rows, column, ab_bytes_of_text(word));
    }
    if (ab_json_is_integer(member) || ab_json_is_real(member)) {
        return number_set(rows, column, member, text);
    }
    struct ab_buffer json; /* an object or array: its text, where a text is wanted */
    ab_buffer_init(&json, NULL, 0);
    ab_json_write(member, 0, &json);
    enum anabranch_result result = text_set(rows, column, ab_buffer_view(&json));
    ab_buffer_fini(&json);
    return result;
}

static enum anabranch_result object_append(
    struct ab_import_rows *rows, const struct ab_json *object, struct ab_bytes line, uint64_t position)
{
    for (size_t i = 0; i < ab_json_count(object); i++) {
        const char *name = ab_json_key_at(object, i);
        uint64_t column = column_of_member(rows, name);
        if (column == COLUMN_IGNORED) {
            continue;
        }
        if (member_set(rows, (uint32_t)column, ab_json_get(object, name)) != ANABRANCH_OK) {
            return raw_append(rows, line, position, anabranch_last_error(rows->client));
        }
    }
    return anabranch_append(rows->producer, position);
}

enum anabranch_result ab_import_rows_json(struct ab_import_rows *rows, struct ab_bytes line, uint64_t position)
{
    struct ab_json *object = NULL;
    struct ab_error error = {0};
    if (ab_json_parse(line, &object, &error) != AB_OK) {
        return raw_append(rows, line, position, error.text);
    }
    enum anabranch_result result = ab_json_is_object(object)
                                       ? object_append(rows, object, line, position)
                                       : raw_append(rows, line, position, "the line is not a JSON object");
    ab_json_destroy(object);
    return result;
}
