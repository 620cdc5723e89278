#include "common/catalog/check.h"

#include "common/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

/* The catalog in force, its successor, and where differences are told. */
struct evolution {
    const struct ab_catalog *before;
    struct ab_catalog *after;
    struct ab_buffer *changes;
    struct ab_error *error;
};

static ab_err refuse(struct evolution *evolution, struct ab_place place, const char *format, ...) AB_PRINTF(3, 4);

static ab_err refuse(struct evolution *evolution, struct ab_place place, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return ab_error_set(evolution->error, AB_UNSUPPORTED, "line %u, column %u: %s", place.line, place.column, text);
}

static bool is_same_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* The canonical text of a CHECK, "" without one. */
static void check_print(const struct ab_stream_column *column, struct ab_buffer *out)
{
    if (column->check != NULL) {
        ab_expression_print(column->check, out);
    }
}

static bool is_same_check(const struct ab_stream_column *a, const struct ab_stream_column *b)
{
    struct ab_buffer left = {0};
    struct ab_buffer right = {0};
    check_print(a, &left);
    check_print(b, &right);
    bool is_same = ab_bytes_equal(ab_buffer_view(&left), ab_buffer_view(&right));
    ab_buffer_fini(&left);
    ab_buffer_fini(&right);
    return is_same;
}

/* A column that was there: type and NOT NULL stay, since blocks and history have them. */
static ab_err column_evolve(struct evolution *evolution, const struct ab_stream *stream, struct ab_place place,
    const struct ab_stream_column *old, const struct ab_stream_column *column)
{
    char was[AB_TYPE_TEXT_BYTES];
    char is[AB_TYPE_TEXT_BYTES];
    if (!ab_type_equal(old->type, column->type)) {
        return refuse(evolution, place, "column %s of stream %s was %s and cannot become %s; add a new column instead",
            column->name, stream->name, ab_type_format(old->type, was), ab_type_format(column->type, is));
    }
    if (old->is_not_null != column->is_not_null) {
        return refuse(evolution, place, "column %s of stream %s %s and must stay so", column->name, stream->name,
            old->is_not_null ? "was NOT NULL" : "could be NULL");
    }
    if (!is_same_check(old, column)) {
        ab_buffer_put_format(evolution->changes,
            "stream %s: the CHECK of %s changed, for rows that arrive from now on\n", stream->name, column->name);
    }
    return AB_OK;
}

static ab_err columns_evolve(struct evolution *evolution, uint32_t index, const struct ab_stream *old)
{
    const struct ab_stream *stream = &evolution->after->streams[index];
    const struct ab_place *places = evolution->after->private_part->column_places[index];
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        const struct ab_stream_column *column = &stream->columns[i];
        int was = ab_stream_column_index(old, ab_bytes_of_text(column->name));
        if (was >= 0) {
            AB_TRY(column_evolve(evolution, stream, places[i], &old->columns[was], column));
        } else if (column->is_not_null) {
            return refuse(evolution, places[i],
                "the new column %s of stream %s is NOT NULL, but rows that are there have no value for it",
                column->name, stream->name);
        } else {
            ab_buffer_put_format(evolution->changes, "stream %s: new column %s\n", stream->name, column->name);
        }
    }
    for (uint32_t i = 0; i < old->columns_count; i++) {
        if (ab_stream_column_index(stream, ab_bytes_of_text(old->columns[i].name)) < 0) {
            return refuse(evolution, evolution->after->private_part->stream_places[index],
                "column %s of stream %s is gone, but history holds it; it must stay", old->columns[i].name,
                stream->name);
        }
    }
    return AB_OK;
}

static bool is_same_key(const struct ab_stream *a, const struct ab_stream *b)
{
    if (a->partition_columns_count != b->partition_columns_count) {
        return false;
    }
    for (uint32_t i = 0; i < a->partition_columns_count; i++) {
        if (!is_same_text(a->columns[a->partition_columns[i]].name, b->columns[b->partition_columns[i]].name)) {
            return false;
        }
    }
    return true;
}

static ab_err stream_evolve(struct evolution *evolution, uint32_t index)
{
    struct ab_stream *stream = &evolution->after->streams[index];
    const struct ab_catalog_private *part = evolution->after->private_part;
    const struct ab_stream *old = ab_catalog_stream(evolution->before, ab_bytes_of_text(stream->name));
    if (old == NULL) {
        stream->id = evolution->after->private_part->next_stream_id++;
        ab_buffer_put_format(evolution->changes, "stream %s: new\n", stream->name);
        return AB_OK;
    }
    stream->id = old->id;
    if (!is_same_text(stream->columns[stream->event_time_column].name, old->columns[old->event_time_column].name)) {
        return refuse(evolution, part->event_places[index], "the EVENT TIME of stream %s was %s and cannot change",
            stream->name, old->columns[old->event_time_column].name);
    }
    if (!is_same_key(stream, old)) {
        return refuse(evolution, part->key_places[index],
            "the PARTITION KEY of stream %s cannot change: rows are placed by it", stream->name);
    }
    AB_TRY(columns_evolve(evolution, index, old));
    bool is_option_same = stream->history_retention_us == old->history_retention_us &&
                          stream->future_bound_us == old->future_bound_us &&
                          stream->past_bound_us == old->past_bound_us;
    if (!is_option_same) {
        ab_buffer_put_format(evolution->changes, "stream %s: options changed\n", stream->name);
    }
    return AB_OK;
}

/* The same rules under the zone that the view's panes follow, if any. */
static bool is_same_zone(const struct ab_zone *a, const struct ab_zone *b)
{
    struct ab_buffer left = {0};
    struct ab_buffer right = {0};
    if (a != NULL && b != NULL) {
        ab_zone_encode(a, &left);
        ab_zone_encode(b, &right);
    }
    bool is_same = (a == NULL) == (b == NULL) && ab_bytes_equal(ab_buffer_view(&left), ab_buffer_view(&right));
    ab_buffer_fini(&left);
    ab_buffer_fini(&right);
    return is_same;
}

/* Equal canonical SQL, over equal rules of its time zone, means equal states; everything else is built anew under a new
 * uid. */
static void view_evolve(struct evolution *evolution, struct ab_view *view)
{
    struct ab_catalog_private *part = evolution->after->private_part;
    const struct ab_view *old = ab_catalog_view(evolution->before, ab_bytes_of_text(view->name));
    if (old == NULL) {
        view->id = part->next_view_id++;
        view->uid = part->next_view_uid++;
        view->definition_version = 1;
        ab_buffer_put_format(evolution->changes, "view %s: new, will be built\n", view->name);
        return;
    }
    view->id = old->id;
    view->uid = old->uid;
    view->definition_version = old->definition_version;
    if (!is_same_text(view->definition, old->definition) || !is_same_zone(view->pane.zone, old->pane.zone)) {
        view->uid = part->next_view_uid++;
        view->definition_version++;
        ab_buffer_put_format(evolution->changes, "view %s: changed, will be rebuilt\n", view->name);
    }
}

static void removals_tell(const struct evolution *evolution)
{
    const struct ab_catalog *before = evolution->before;
    for (uint32_t i = 0; i < before->streams_count; i++) {
        if (ab_catalog_stream(evolution->after, ab_bytes_of_text(before->streams[i].name)) == NULL) {
            ab_buffer_put_format(evolution->changes, "stream %s: removed\n", before->streams[i].name);
        }
    }
    for (uint32_t i = 0; i < before->views_count; i++) {
        if (ab_catalog_view(evolution->after, ab_bytes_of_text(before->views[i].name)) == NULL) {
            ab_buffer_put_format(evolution->changes, "view %s: removed\n", before->views[i].name);
        }
    }
}

static ab_err catalog_evolve(struct evolution *evolution)
{
    struct ab_catalog_private *part = evolution->after->private_part;
    const struct ab_catalog_private *old = evolution->before->private_part;
    part->next_stream_id = old->next_stream_id;
    part->next_view_id = old->next_view_id;
    part->next_view_uid = old->next_view_uid;
    evolution->after->version = evolution->before->version;
    for (uint32_t i = 0; i < evolution->after->streams_count; i++) {
        AB_TRY(stream_evolve(evolution, i));
    }
    for (uint32_t i = 0; i < evolution->after->views_count; i++) {
        view_evolve(evolution, &evolution->after->views[i]);
    }
    removals_tell(evolution);
    return AB_OK;
}

/* Without a catalog before, everything is new. */
static void first_tell(const struct ab_catalog *catalog, struct ab_buffer *changes)
{
    for (uint32_t i = 0; i < catalog->streams_count; i++) {
        ab_buffer_put_format(changes, "stream %s: new\n", catalog->streams[i].name);
    }
    for (uint32_t i = 0; i < catalog->views_count; i++) {
        ab_buffer_put_format(changes, "view %s: new, will be built\n", catalog->views[i].name);
    }
}

ab_err ab_catalog_evolve(struct ab_bytes text, const struct ab_catalog *before, struct ab_catalog **catalog,
    struct ab_buffer *changes, struct ab_error *error)
{
    struct ab_catalog *after = NULL;
    struct ab_buffer told = {0};
    struct ab_buffer pinned = {0};
    ab_err code = ab_catalog_pin(text, before, NULL, &pinned, error);
    code = code == AB_OK ? ab_catalog_parse(ab_buffer_view(&pinned), &after, error) : code;
    ab_buffer_fini(&pinned);
    AB_TRY(code);
    struct evolution evolution = {.before = before, .after = after, .changes = &told, .error = error};
    if (before == NULL) {
        first_tell(after, &told);
    } else {
        code = catalog_evolve(&evolution);
    }
    if (code == AB_OK) {
        if (changes != NULL) {
            ab_buffer_put_bytes(changes, ab_buffer_view(&told));
        }
        *catalog = after;
    } else {
        ab_catalog_release(after);
    }
    ab_buffer_fini(&told);
    return code;
}
