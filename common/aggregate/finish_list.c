/* Results of many values, as text: a JSON array in one form (RFC 8259, no spaces). Numbers as they are printed
 * elsewhere, NaN and infinities as "NaN", "Infinity", "-Infinity", times as text in ISO 8601, BOOLEAN as true and
 * false. */
#include "common/aggregate/finish_private.h"
#include "common/aggregate/primitive_histogram.h"
#include "common/aggregate/primitive_list.h"

static void put_text(struct ab_buffer *out, const char *text)
{
    ab_buffer_put_bytes(out, ab_bytes_of_text(text));
}

/* Escapes what JSON wants escaped and nothing else: quotes, backslashes, control characters. */
static void put_quoted(struct ab_buffer *out, struct ab_bytes text)
{
    put_text(out, "\"");
    size_t start = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        ab_buffer_put_bytes(out, ab_bytes_of(text.data + start, i - start));
        ab_buffer_put_format(out, c < 0x20 ? "\\u%04x" : "\\%c", c);
        start = i + 1;
    }
    ab_buffer_put_bytes(out, ab_bytes_of(text.data + start, text.bytes - start));
    put_text(out, "\"");
}

void ab_finish_put_value(struct ab_buffer *out, const struct ab_value *value)
{
    struct ab_buffer text = {0};
    bool is_special = value->type.kind == AB_TYPE_DOUBLE && value->real - value->real != 0;
    bool is_quoted = is_special || value->type.kind == AB_TYPE_TEXT || value->type.kind == AB_TYPE_TIMESTAMP;
    ab_value_format(value, &text);
    if (is_quoted) {
        put_quoted(out, ab_buffer_view(&text));
    } else {
        ab_buffer_put_bytes(out, ab_buffer_view(&text));
    }
    ab_buffer_fini(&text);
}

/* Moves what was written into the query's arena. */
ab_err ab_finish_keep_text(struct ab_finishing *finishing, struct ab_buffer *out, struct ab_value *value)
{
    ab_err err = ab_buffer_finish(out);
    if (err == AB_OK) {
        uint8_t *kept = ab_arena_alloc(finishing->at->arena, out->bytes);
        if (kept != NULL) {
            memcpy(kept, out->data, out->bytes);
            value->text = ab_bytes_of(kept, out->bytes);
        }
        err = kept == NULL ? AB_FULL : AB_OK;
    }
    ab_buffer_fini(out);
    return err;
}

ab_err ab_finish_list(struct ab_finishing *finishing, struct ab_value *value)
{
    const void *state = ab_finish_state(finishing, AB_PART_OTHER);
    uint32_t count = ab_primitive_list_count(state);
    struct ab_buffer out = {0};
    value->is_null = count == 0;
    if (count == 0) {
        return AB_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        union ab_cell cell = ab_primitive_list_at(state, i);
        struct ab_value one = ab_cell_value(finishing->measure->argument_types[0], &cell);
        put_text(&out, i == 0 ? "[" : ",");
        ab_finish_put_value(&out, &one);
    }
    put_text(&out, "]");
    return ab_finish_keep_text(finishing, &out, value);
}

ab_err ab_finish_histogram(struct ab_finishing *finishing, struct ab_value *value)
{
    const uint64_t *counts = NULL;
    uint32_t count = ab_primitive_histogram_counts(ab_finish_state(finishing, AB_PART_OTHER), &counts);
    struct ab_buffer out = {0};
    value->is_null = count == 0;
    if (count == 0) {
        return AB_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        ab_buffer_put_format(&out, "%s%llu", i == 0 ? "[" : ",", (unsigned long long)counts[i]);
    }
    put_text(&out, "]");
    return ab_finish_keep_text(finishing, &out, value);
}
