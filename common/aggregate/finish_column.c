/* Columns made of finished values. */
#include "common/aggregate/finish.h"

static ab_err column_texts(struct ab_arena *arena, const struct ab_value *values, const uint32_t *order,
    uint32_t rows_count, struct ab_column *column)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < rows_count; i++) {
        const struct ab_value *value = &values[order == NULL ? i : order[i]];
        bytes += value->is_null ? 0 : value->text.bytes;
    }
    if (bytes > UINT32_MAX) {
        return AB_FULL;
    }
    uint32_t *codes = ab_arena_alloc(arena, rows_count * sizeof(*codes));
    uint32_t *ends = ab_arena_alloc(arena, rows_count * sizeof(*ends));
    uint8_t *texts = ab_arena_alloc(arena, bytes);
    if (codes == NULL || ends == NULL || texts == NULL) {
        return AB_FULL;
    }
    uint32_t end = 0;
    for (uint32_t i = 0; i < rows_count; i++) {
        const struct ab_value *value = &values[order == NULL ? i : order[i]];
        if (!value->is_null && value->text.bytes > 0) {
            memcpy(texts + end, value->text.data, value->text.bytes);
            end += (uint32_t)value->text.bytes;
        }
        codes[i] = i;
        ends[i] = end;
    }
    column->values = codes;
    column->dictionary = (struct ab_dictionary){.count = rows_count, .ends = ends, .bytes = texts};
    return AB_OK;
}

static void number_put(uint8_t *at, const struct ab_value *value)
{
    switch ((enum ab_type_kind)value->type.kind) {
    case AB_TYPE_BOOLEAN:
        *at = value->boolean;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        memcpy(at, &value->bigint, sizeof(value->bigint));
        break;
    case AB_TYPE_DOUBLE:
        memcpy(at, &value->real, sizeof(value->real));
        break;
    case AB_TYPE_DECIMAL:
        memcpy(at, &value->decimal, sizeof(value->decimal));
        break;
    case AB_TYPE_TEXT:
        break;
    }
}

ab_err ab_finish_column(struct ab_arena *arena, struct ab_type type, const struct ab_value *values,
    const uint32_t *order, uint32_t rows_count, struct ab_column *column)
{
    struct ab_column made = {.type = type, .rows_count = rows_count};
    uint8_t *nulls = ab_arena_alloc(arena, rows_count);
    if (nulls == NULL) {
        return AB_FULL;
    }
    bool has_nulls = false;
    for (uint32_t i = 0; i < rows_count; i++) {
        nulls[i] = values[order == NULL ? i : order[i]].is_null;
        has_nulls |= nulls[i] != 0;
    }
    made.nulls = has_nulls ? nulls : NULL;
    if (type.kind == AB_TYPE_TEXT) {
        AB_TRY(column_texts(arena, values, order, rows_count, &made));
        *column = made;
        return AB_OK;
    }
    size_t element = ab_type_element_bytes(type);
    uint8_t *numbers = ab_arena_zalloc(arena, rows_count * element);
    if (numbers == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < rows_count; i++) {
        const struct ab_value *value = &values[order == NULL ? i : order[i]];
        if (!value->is_null) {
            number_put(numbers + i * element, value);
        }
    }
    made.values = numbers;
    *column = made;
    return AB_OK;
}
