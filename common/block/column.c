#include "common/block/column.h"

#include "common/base/assert.h"
#include "common/base/buffer.h"
#include "common/base/decimal.h"

#include <stdio.h>
#include <strings.h>

size_t ab_type_element_bytes(struct ab_type type)
{
    switch ((enum ab_type_kind)type.kind) {
    case AB_TYPE_BOOLEAN:
        return 1;
    case AB_TYPE_TEXT:
        return 4;
    case AB_TYPE_DECIMAL:
        return 16;
    case AB_TYPE_BIGINT:
    case AB_TYPE_DOUBLE:
    case AB_TYPE_TIMESTAMP:
        return 8;
    }
    AB_UNREACHABLE();
}

bool ab_type_equal(struct ab_type a, struct ab_type b)
{
    return a.kind == b.kind && a.precision == b.precision && a.scale == b.scale;
}

const char *ab_type_format(struct ab_type type, char text[AB_TYPE_TEXT_BYTES])
{
    static const char *const names[] = {"?", "BOOLEAN", "BIGINT", "DOUBLE", "DECIMAL", "TEXT", "TIMESTAMP"};
    const char *name = type.kind < sizeof names / sizeof names[0] ? names[type.kind] : names[0];
    if (type.kind == AB_TYPE_DECIMAL) {
        snprintf(text, AB_TYPE_TEXT_BYTES, "%s(%u, %u)", name, type.precision, type.scale);
    } else {
        snprintf(text, AB_TYPE_TEXT_BYTES, "%s", name);
    }
    return text;
}

struct ab_value ab_column_value(const struct ab_column *column, uint32_t row)
{
    struct ab_value value = {.type = column->type};
    if (ab_column_is_null(column, row)) {
        value.is_null = true;
        return value;
    }
    switch ((enum ab_type_kind)column->type.kind) {
    case AB_TYPE_BOOLEAN:
        value.boolean = ((const uint8_t *)column->values)[row] != 0;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        value.bigint = ((const int64_t *)column->values)[row];
        break;
    case AB_TYPE_DOUBLE:
        value.real = ((const double *)column->values)[row];
        break;
    case AB_TYPE_DECIMAL:
        value.decimal = ((const ab_int128 *)column->values)[row];
        break;
    case AB_TYPE_TEXT:
        value.text = ab_dictionary_at(&column->dictionary, ((const uint32_t *)column->values)[row]);
        break;
    }
    return value;
}

static void fill_values(void *values, const struct ab_value *value, uint32_t rows_count)
{
    for (uint32_t row = 0; row < rows_count; row++) {
        switch ((enum ab_type_kind)value->type.kind) {
        case AB_TYPE_BOOLEAN:
            ((uint8_t *)values)[row] = value->boolean;
            break;
        case AB_TYPE_BIGINT:
        case AB_TYPE_TIMESTAMP:
            ((int64_t *)values)[row] = value->bigint;
            break;
        case AB_TYPE_DOUBLE:
            ((double *)values)[row] = value->real;
            break;
        case AB_TYPE_DECIMAL:
            ((ab_int128 *)values)[row] = value->decimal;
            break;
        case AB_TYPE_TEXT:
            break; /* code 0 */
        }
    }
}

static ab_err constant_dictionary(struct ab_arena *arena, struct ab_bytes text, struct ab_dictionary *dictionary)
{
    if (text.bytes > UINT32_MAX) {
        return AB_FULL;
    }
    uint32_t *ends = ab_arena_alloc(arena, sizeof *ends);
    struct ab_bytes copy = ab_arena_copy(arena, text);
    if (ends == NULL || copy.data == NULL) {
        return AB_FULL;
    }
    *ends = (uint32_t)copy.bytes;
    *dictionary = (struct ab_dictionary){.count = 1, .ends = ends, .bytes = copy.data};
    return AB_OK;
}

ab_err ab_column_constant(struct ab_arena *arena, struct ab_value value, uint32_t rows_count, struct ab_column *column)
{
    struct ab_column made = {.type = value.type, .rows_count = rows_count};
    /* Never 0 bytes, so that a column without rows still has an array. */
    void *values = ab_arena_zalloc(arena, ab_type_element_bytes(value.type) * ((size_t)rows_count + 1));
    if (values == NULL) {
        return AB_FULL;
    }
    made.values = values;
    if (value.is_null) {
        uint8_t *nulls = ab_arena_alloc(arena, (size_t)rows_count + 1);
        if (nulls == NULL) {
            return AB_FULL;
        }
        memset(nulls, 1, (size_t)rows_count + 1);
        made.nulls = nulls;
        *column = made;
        return AB_OK;
    }
    if (value.type.kind == AB_TYPE_TEXT) {
        AB_TRY(constant_dictionary(arena, value.text, &made.dictionary));
    }
    fill_values(values, &value, rows_count);
    *column = made;
    return AB_OK;
}

static bool text_is(struct ab_bytes text, const char *word)
{
    size_t bytes = strlen(word);
    return text.bytes == bytes && strncasecmp((const char *)text.data, word, bytes) == 0;
}

static ab_err boolean_parse(struct ab_bytes text, bool *boolean)
{
    if (text_is(text, "true") || text_is(text, "t") || text_is(text, "1")) {
        *boolean = true;
        return AB_OK;
    }
    if (text_is(text, "false") || text_is(text, "f") || text_is(text, "0")) {
        *boolean = false;
        return AB_OK;
    }
    return AB_INVALID;
}

ab_err ab_value_parse(struct ab_type type, struct ab_bytes text, struct ab_value *value)
{
    struct ab_value parsed = {.type = type};
    switch ((enum ab_type_kind)type.kind) {
    case AB_TYPE_BOOLEAN:
        AB_TRY(boolean_parse(text, &parsed.boolean));
        break;
    case AB_TYPE_BIGINT:
        AB_TRY(ab_bigint_parse(text, &parsed.bigint));
        break;
    case AB_TYPE_DOUBLE:
        AB_TRY(ab_double_parse(text, &parsed.real));
        parsed.real = ab_double_canonical(parsed.real);
        break;
    case AB_TYPE_DECIMAL:
        AB_TRY(ab_decimal_parse(text, type.precision, type.scale, &parsed.decimal));
        break;
    case AB_TYPE_TEXT:
        if (!ab_bytes_is_utf8(text)) {
            return AB_INVALID;
        }
        parsed.text = text;
        break;
    case AB_TYPE_TIMESTAMP:
        AB_TRY(ab_time_parse(text, &parsed.bigint));
        break;
    }
    *value = parsed;
    return AB_OK;
}

void ab_value_format(const struct ab_value *value, struct ab_buffer *out)
{
    char text[AB_DECIMAL_TEXT_BYTES > AB_TIME_TEXT_BYTES ? AB_DECIMAL_TEXT_BYTES : AB_TIME_TEXT_BYTES];
    if (value->is_null) {
        return;
    }
    switch ((enum ab_type_kind)value->type.kind) {
    case AB_TYPE_BOOLEAN:
        ab_buffer_put_bytes(out, ab_bytes_of_text(value->boolean ? "true" : "false"));
        return;
    case AB_TYPE_BIGINT:
        ab_buffer_put_format(out, "%lld", (long long)value->bigint);
        return;
    case AB_TYPE_DOUBLE:
        ab_buffer_put_bytes(out, ab_bytes_of_text(ab_double_format(value->real, text)));
        return;
    case AB_TYPE_DECIMAL:
        ab_buffer_put_bytes(out, ab_bytes_of_text(ab_decimal_format(value->decimal, value->type.scale, text)));
        return;
    case AB_TYPE_TEXT:
        ab_buffer_put_bytes(out, value->text);
        return;
    case AB_TYPE_TIMESTAMP:
        ab_buffer_put_bytes(out, ab_bytes_of_text(ab_time_format(value->bigint, text)));
        return;
    }
}

static int real_compare(double a, double b)
{
    bool a_is_nan = a != a;
    bool b_is_nan = b != b;
    if (a_is_nan || b_is_nan) {
        return (int)a_is_nan - (int)b_is_nan;
    }
    return (a > b) - (a < b);
}

int ab_value_compare(const struct ab_value *a, const struct ab_value *b)
{
    if (a->is_null || b->is_null) {
        return (int)b->is_null - (int)a->is_null;
    }
    switch ((enum ab_type_kind)a->type.kind) {
    case AB_TYPE_BOOLEAN:
        return (int)a->boolean - (int)b->boolean;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        return (a->bigint > b->bigint) - (a->bigint < b->bigint);
    case AB_TYPE_DOUBLE:
        return real_compare(a->real, b->real);
    case AB_TYPE_DECIMAL:
        return (a->decimal > b->decimal) - (a->decimal < b->decimal);
    case AB_TYPE_TEXT:
        return ab_bytes_compare(a->text, b->text);
    }
    AB_UNREACHABLE();
}
