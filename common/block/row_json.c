#include "common/block/row_json.h"

#include <math.h>

bool ab_row_raw_text(const struct ab_block *block, uint32_t row, struct ab_bytes *text)
{
    const struct ab_column *raw = block->is_raw ? ab_block_find(block, ab_bytes_of_text("raw")) : NULL;
    if (raw == NULL || raw->type.kind != AB_TYPE_TEXT || ab_column_is_null(raw, row)) {
        return false;
    }
    *text = ab_column_value(raw, row).text;
    return true;
}

static struct ab_json *value_json(const struct ab_value *value)
{
    if (value->is_null) {
        return ab_json_null();
    }
    if (value->type.kind == AB_TYPE_BOOLEAN) {
        return ab_json_boolean(value->boolean);
    }
    if (value->type.kind == AB_TYPE_BIGINT) {
        return ab_json_integer(value->bigint);
    }
    if (value->type.kind == AB_TYPE_DOUBLE && isfinite(value->real)) {
        return ab_json_real(value->real);
    }
    if (value->type.kind == AB_TYPE_TEXT) {
        return ab_json_text_of(value->text);
    }
    struct ab_buffer text = {0};
    ab_value_format(value, &text);
    struct ab_json *json = ab_json_text_of(ab_buffer_view(&text));
    ab_buffer_fini(&text);
    return json;
}

struct ab_json *ab_row_json(const struct ab_block *block, uint32_t row)
{
    struct ab_json *json = ab_json_object();
    for (uint32_t c = 0; c < block->columns_count; c++) {
        struct ab_value value = ab_column_value(&block->columns[c].column, row);
        char *name = ab_new_text_of(block->columns[c].name);
        ab_json_set(json, name, value_json(&value));
        ab_delete(name);
    }
    return json;
}
