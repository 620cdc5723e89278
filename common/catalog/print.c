#include "common/catalog/check.h"
#include "common/catalog/check_window.h"
#include "common/catalog/words.h"

#include "common/base/buffer.h"

static void put_text(struct ab_buffer *out, const char *text)
{
    ab_buffer_put_bytes(out, ab_bytes_of_text(text));
}

static void put_duration(struct ab_buffer *out, const char *before, int64_t duration_us)
{
    char text[AB_WORDS_DURATION_BYTES];
    ab_buffer_put_format(out, "%s'%s'", before, ab_words_duration_format(duration_us, text));
}

/* Moves the text into the catalog's arena. */
static char *buffer_keep(struct ab_catalog *catalog, struct ab_buffer *buffer)
{
    char *text = ab_parse_alloc(&catalog->private_part->arena, buffer->bytes + 1);
    if (buffer->bytes > 0) {
        memcpy(text, buffer->data, buffer->bytes);
    }
    ab_buffer_fini(buffer);
    return text;
}

char *ab_print_stream(struct ab_catalog *catalog, const struct ab_stream *stream)
{
    struct ab_buffer out = {0};
    char type[AB_TYPE_TEXT_BYTES];
    put_text(&out, "CREATE STREAM ");
    ab_words_put_name(&out, stream->name);
    put_text(&out, " (\n");
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        const struct ab_stream_column *column = &stream->columns[i];
        put_text(&out, "  ");
        ab_words_put_name(&out, column->name);
        ab_buffer_put_format(&out, " %s%s", ab_type_format(column->type, type), column->is_not_null ? " NOT NULL" : "");
        if (column->check != NULL) {
            put_text(&out, " CHECK (");
            ab_expression_print(column->check, &out);
            put_text(&out, ")");
        }
        put_text(&out, ",\n");
    }
    put_text(&out, "  EVENT TIME ");
    ab_words_put_name(&out, stream->columns[stream->event_time_column].name);
    put_text(&out, ",\n  PARTITION KEY (");
    for (uint32_t i = 0; i < stream->partition_columns_count; i++) {
        put_text(&out, i == 0 ? "" : ", ");
        ab_words_put_name(&out, stream->columns[stream->partition_columns[i]].name);
    }
    put_duration(&out, ")\n) WITH (history_retention = ", stream->history_retention_us);
    put_duration(&out, ", max_future = ", stream->future_bound_us);
    put_duration(&out, ", max_past = ", stream->past_bound_us);
    put_text(&out, ")");
    return buffer_keep(catalog, &out);
}

void ab_print_zone(const struct ab_zone *zone, struct ab_buffer *out)
{
    ab_buffer_put_format(out, "CREATE TIME ZONE '%s' AS '", zone->name);
    ab_zone_encode(zone, out);
    put_text(out, "'");
}

char *ab_print_measure(struct ab_catalog *catalog, const struct ab_measure *measure)
{
    struct ab_buffer out = {0};
    if (measure->kind == AB_MEASURE_COUNT_ROWS) {
        put_text(&out, "count(*)");
    } else {
        ab_buffer_put_format(&out, "%s(", ab_words_aggregate_name(measure->kind));
        for (uint32_t i = 0; i < measure->arguments_count; i++) {
            put_text(&out, i == 0 ? "" : ", ");
            ab_expression_print(measure->arguments[i], &out);
        }
        for (uint32_t i = 0; i < measure->parameters_count; i++) {
            if (ab_measure_decays(measure->kind)) {
                put_duration(&out, ", INTERVAL ", measure->parameters[i].bigint);
                continue;
            }
            put_text(&out, ", ");
            ab_constant_print(&measure->parameters[i], &out);
        }
        put_text(&out, ")");
    }
    if (measure->filter != NULL) {
        put_text(&out, " FILTER (WHERE ");
        ab_expression_print(measure->filter, &out);
        put_text(&out, ")");
    }
    return buffer_keep(catalog, &out);
}

static void groups_print(const struct ab_view *view, struct ab_buffer *out)
{
    for (uint32_t i = 0; i < view->keys_count; i++) {
        put_text(out, i == 0 ? "\nGROUP BY " : ", ");
        ab_words_put_name(out, view->stream->columns[view->keys[i].column].name);
    }
    if (view->pane_us > 0) {
        put_text(out, view->keys_count == 0 ? "\nGROUP BY " : ", ");
        ab_print_window(view, out);
    }
}

char *ab_print_view(struct ab_catalog *catalog, const struct ab_view *view)
{
    struct ab_buffer out = {0};
    put_text(&out, "CREATE VIEW ");
    ab_words_put_name(&out, view->name);
    put_text(&out, " AS\nSELECT ");
    for (uint32_t i = 0; i < view->keys_count; i++) {
        const char *column = view->stream->columns[view->keys[i].column].name;
        ab_words_put_name(&out, column);
        if (strcmp(column, view->keys[i].name) != 0) {
            put_text(&out, " AS ");
            ab_words_put_name(&out, view->keys[i].name);
        }
        put_text(&out, ", ");
    }
    for (uint32_t i = 0; i < view->measures_count; i++) {
        ab_buffer_put_format(&out, "%s%s AS ", i == 0 ? "" : ", ", view->measures[i].definition);
        ab_words_put_name(&out, view->measures[i].name);
    }
    put_text(&out, "\nFROM ");
    ab_words_put_name(&out, view->stream->name);
    if (view->where != NULL) {
        put_text(&out, "\nWHERE ");
        ab_expression_print(view->where, &out);
    }
    groups_print(view, &out);
    if (view->pane_us > 0) {
        char keep[AB_WORDS_DURATION_BYTES];
        ab_buffer_put_format(&out, "\nWITH (keep = '%s')", ab_print_keep(view, keep));
    }
    return buffer_keep(catalog, &out);
}
