#include "cluster/command/relation.h"

#include "common/base/json.h"

#include <stdio.h>

ab_err ab_output_format_parse(const char *name, enum ab_output_format *format, struct ab_error *error)
{
    static const char *const names[] = {"table", "csv", "json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name == NULL ? names[0] : name, names[i]) == 0) {
            *format = (enum ab_output_format)i;
            return AB_OK;
        }
    }
    return ab_error_set(error, AB_USAGE, "--format is table, csv or json, not '%s'", name);
}

void ab_relation_init(struct ab_relation *relation, size_t columns_count)
{
    *relation = (struct ab_relation){.columns_count = columns_count};
    relation->columns = ab_new_array(struct ab_relation_column, columns_count + 1);
}

void ab_relation_fini(struct ab_relation *relation)
{
    for (size_t i = 0; i < relation->columns_count; i++) {
        ab_delete(relation->columns[i].name);
    }
    ab_delete(relation->columns);
    ab_buffer_fini(&relation->cells);
    *relation = (struct ab_relation){0};
}

/* Characters, not bytes: continuation bytes of UTF-8 take no column. */
static size_t text_width(struct ab_bytes text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        width += (text.data[i] & 0xC0) != 0x80;
    }
    return width;
}

void ab_relation_column(struct ab_relation *relation, size_t column, const char *name, enum ab_cell_kind kind)
{
    struct ab_relation_column *entry = &relation->columns[column];
    ab_delete(entry->name);
    entry->name = ab_new_text(name);
    entry->kind = kind;
    entry->width = text_width(ab_bytes_of_text(name));
}

void ab_relation_add(struct ab_relation *relation, struct ab_bytes text)
{
    struct ab_relation_column *column = &relation->columns[relation->cells_count++ % relation->columns_count];
    size_t width = text_width(text);
    column->width = width > column->width ? width : column->width;
    ab_buffer_put_u8(&relation->cells, 0);
    ab_buffer_put_blob(&relation->cells, text);
}

void ab_relation_add_text(struct ab_relation *relation, const char *text)
{
    ab_relation_add(relation, ab_bytes_of_text(text));
}

void ab_relation_add_null(struct ab_relation *relation)
{
    relation->cells_count++;
    ab_buffer_put_u8(&relation->cells, 1);
    ab_buffer_put_blob(&relation->cells, (struct ab_bytes){0});
}

/* A cell of a table: control characters would break its lines. */
static void table_cell(struct ab_bytes text, size_t width, bool is_right, bool is_last, struct ab_buffer *out)
{
    size_t used = text_width(text);
    size_t fill = width > used ? width - used : 0;
    for (size_t i = 0; is_right && i < fill; i++) {
        ab_buffer_put_u8(out, ' ');
    }
    for (size_t i = 0; i < text.bytes; i++) {
        ab_buffer_put_u8(out, text.data[i] < 0x20 ? ' ' : text.data[i]);
    }
    for (size_t i = 0; !is_right && !is_last && i < fill; i++) {
        ab_buffer_put_u8(out, ' ');
    }
    ab_buffer_put(out, is_last ? "\n" : "  ", is_last ? 1 : 2);
}

static void csv_cell(struct ab_bytes text, bool is_last, struct ab_buffer *out)
{
    bool is_quoted = false;
    for (size_t i = 0; i < text.bytes; i++) {
        is_quoted =
            is_quoted || text.data[i] == ',' || text.data[i] == '"' || text.data[i] == '\n' || text.data[i] == '\r';
    }
    if (is_quoted) {
        ab_buffer_put_u8(out, '"');
    }
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] == '"') {
            ab_buffer_put_u8(out, '"');
        }
        ab_buffer_put_u8(out, text.data[i]);
    }
    if (is_quoted) {
        ab_buffer_put_u8(out, '"');
    }
    ab_buffer_put_u8(out, is_last ? '\n' : ',');
}

static void json_text(struct ab_bytes text, struct ab_buffer *out)
{
    struct ab_json *value = ab_json_text_of(text);
    ab_json_write(value, 0, out);
    ab_json_destroy(value);
}

static void json_cell(struct ab_bytes text, bool is_null, enum ab_cell_kind kind, struct ab_buffer *out)
{
    if (is_null) {
        ab_buffer_put(out, "null", 4);
        return;
    }
    /* NaN and the infinities are no JSON numbers. */
    bool is_bare = kind == AB_CELL_BOOLEAN || (kind == AB_CELL_NUMBER && text.bytes > 0 &&
                                                  text.data[text.bytes - 1] >= '0' && text.data[text.bytes - 1] <= '9');
    if (is_bare) {
        ab_buffer_put_bytes(out, text);
    } else {
        json_text(text, out);
    }
}

static void header_write(const struct ab_relation *relation, enum ab_output_format format, struct ab_buffer *out)
{
    for (size_t i = 0; i < relation->columns_count; i++) {
        const struct ab_relation_column *column = &relation->columns[i];
        bool is_last = i + 1 == relation->columns_count;
        if (format == AB_OUTPUT_CSV) {
            csv_cell(ab_bytes_of_text(column->name), is_last, out);
        } else {
            table_cell(ab_bytes_of_text(column->name), column->width, column->kind == AB_CELL_NUMBER, is_last, out);
        }
    }
    for (size_t i = 0; format == AB_OUTPUT_TABLE && i < relation->columns_count; i++) {
        for (size_t w = 0; w < relation->columns[i].width; w++) {
            ab_buffer_put_u8(out, '-');
        }
        ab_buffer_put(out, i + 1 == relation->columns_count ? "\n" : "  ", i + 1 == relation->columns_count ? 1 : 2);
    }
}

static void cell_write(const struct ab_relation *relation, enum ab_output_format format, size_t index,
    struct ab_bytes text, bool is_null, struct ab_buffer *out)
{
    size_t place = index % relation->columns_count;
    const struct ab_relation_column *column = &relation->columns[place];
    bool is_last = place + 1 == relation->columns_count;
    switch (format) {
    case AB_OUTPUT_TABLE:
        table_cell(text, column->width, column->kind == AB_CELL_NUMBER, is_last, out);
        return;
    case AB_OUTPUT_CSV:
        csv_cell(text, is_last, out);
        return;
    case AB_OUTPUT_JSON:
        if (place == 0) {
            ab_buffer_put_format(out, index == 0 ? "\n  {" : ",\n  {");
        }
        json_text(ab_bytes_of_text(column->name), out);
        ab_buffer_put(out, ": ", 2);
        json_cell(text, is_null, column->kind, out);
        ab_buffer_put(out, is_last ? "}" : ", ", is_last ? 1 : 2);
        return;
    }
}

void ab_relation_write(const struct ab_relation *relation, enum ab_output_format format, struct ab_buffer *out)
{
    struct ab_reader reader = ab_reader_of(ab_buffer_view(&relation->cells));
    if (format == AB_OUTPUT_JSON) {
        ab_buffer_put_u8(out, '[');
    } else if (relation->columns_count > 0) {
        header_write(relation, format, out);
    }
    for (size_t i = 0; i < relation->cells_count; i++) {
        bool is_null = ab_reader_u8(&reader) != 0;
        struct ab_bytes text = ab_reader_blob(&reader);
        cell_write(relation, format, i, text, is_null, out);
    }
    if (format == AB_OUTPUT_JSON) {
        ab_buffer_put_format(out, relation->cells_count > 0 ? "\n]\n" : "]\n");
    }
}

ab_err ab_output_print(const struct ab_buffer *text, struct ab_error *error)
{
    AB_TRY(ab_buffer_finish(text));
    if ((text->bytes > 0 && fwrite(text->data, 1, text->bytes, stdout) != text->bytes) || fflush(stdout) != 0) {
        return ab_error_set(error, AB_IO, "cannot write to standard output");
    }
    return AB_OK;
}
