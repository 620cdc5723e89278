#include "common/catalog/check.h"
#include "common/catalog/words.h"

#include "common/base/decimal.h"

#include <stdio.h>

const char *ab_check_copy_name(struct ab_catalog *catalog, struct ab_bytes name)
{
    char *copy = ab_parse_alloc(&catalog->private_part->arena, name.bytes + 1);
    memcpy(copy, name.data, name.bytes);
    return copy;
}

ab_err ab_check_new_name(
    struct ab_parse *parse, struct ab_bytes name, struct ab_place place, const char *what, bool is_file)
{
    if (name.bytes == 0 || name.bytes > AB_CATALOG_NAME_BYTES_MAX) {
        return ab_parse_fail(parse, place, AB_SYNTAX, "found a name of %zu bytes, expected 1 to %d", name.bytes,
            AB_CATALOG_NAME_BYTES_MAX);
    }
    if (name.data[0] == '_') {
        return ab_parse_fail(parse, place, AB_SYNTAX,
            "found \"%.*s\", expected a name of a %s without _ at its start: those are the system's", (int)name.bytes,
            name.data, what);
    }
    for (size_t i = 0; i < name.bytes; i++) {
        bool is_bad_file = is_file && (name.data[i] == '/' || name.data[0] == '.');
        if (name.data[i] < ' ' || name.data[i] == 0x7f || is_bad_file) {
            return ab_parse_fail(parse, place, AB_SYNTAX,
                "found a character that the name of a %s may not have, expected letters, digits and _", what);
        }
    }
    return AB_OK;
}

static ab_err decimal_check(struct ab_parse *parse, const struct ab_ast *ast, struct ab_type *type)
{
    int64_t precision = 0;
    int64_t scale = 0;
    const struct ab_ast *first = ast->list.first;
    bool is_read = ast->list.count >= 1 && ast->list.count <= 2 && ab_bigint_parse(first->text, &precision) == AB_OK &&
                   (ast->list.count == 1 || ab_bigint_parse(first->next->text, &scale) == AB_OK);
    if (!is_read || precision < 1 || precision > AB_DECIMAL_PRECISION_MAX || scale < 0 || scale > precision) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX,
            "expected DECIMAL(precision, scale) with precision 1 to 38 and scale 0 to the precision");
    }
    type->precision = (uint8_t)precision;
    type->scale = (uint8_t)scale;
    return AB_OK;
}

static ab_err type_check(struct ab_parse *parse, const struct ab_ast *ast, struct ab_type *type)
{
    if (ast->is_set || !ab_words_type(ast->text, type)) {
        const char *nearest = ab_words_nearest_type(ast->text);
        return ab_parse_fail(parse, ast->place, AB_SYNTAX,
            "found \"%.*s\", expected a type: BOOLEAN, BIGINT, DOUBLE, DECIMAL(p, s), TEXT or TIMESTAMP%s%s%s",
            (int)ast->text.bytes, ast->text.data, nearest == NULL ? "" : "; did you mean ",
            nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
    }
    if (type->kind == AB_TYPE_DECIMAL) {
        return decimal_check(parse, ast, type);
    }
    if (ast->list.count > 0) {
        return ab_parse_fail(
            parse, ast->list.first->place, AB_SYNTAX, "only DECIMAL takes numbers in brackets, expected none here");
    }
    return AB_OK;
}

static ab_err column_check(
    struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_stream *stream)
{
    uint32_t at = stream->columns_count;
    struct ab_place *places = catalog->private_part->column_places[catalog->streams_count];
    AB_TRY(ab_check_new_name(parse, ast->text, ast->place, "column", false));
    int before = ab_stream_column_index(stream, ast->text);
    if (before >= 0) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX, "\"%s\" is already the name of a column, on line %u",
            stream->columns[before].name, places[before].line);
    }
    struct ab_stream_column *column = &stream->columns[at];
    column->name = ab_check_copy_name(catalog, ast->text);
    places[at] = ast->place;
    AB_TRY(type_check(parse, ast->a, &column->type));
    for (const struct ab_ast *constraint = ast->list.first; constraint != NULL; constraint = constraint->next) {
        if (constraint->kind == AB_AST_NOT_NULL && column->is_not_null) {
            return ab_parse_fail(parse, constraint->place, AB_SYNTAX, "NOT NULL stands here twice");
        }
        column->is_not_null = column->is_not_null || constraint->kind == AB_AST_NOT_NULL;
    }
    stream->columns_count++;
    return AB_OK;
}

/* CHECKs may use any column of the stream, so they come after all columns. */
static ab_err checks_check(
    struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_stream *stream)
{
    struct ab_scope_name *names = ab_parse_alloc(&parse->arena, stream->columns_count * sizeof(*names));
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        names[i] = (struct ab_scope_name){.name = stream->columns[i].name, .type = stream->columns[i].type, .input = i};
    }
    char what[AB_CATALOG_NAME_BYTES_MAX + 40];
    (void)snprintf(what, sizeof(what), "a column of stream %s", stream->name);
    struct ab_scope scope = {.parse = parse,
        .arena = &catalog->private_part->arena,
        .names = names,
        .names_count = stream->columns_count,
        .what = what,
        .qualifier = stream->name};
    uint32_t at = 0;
    for (const struct ab_ast *element = ast->list.first; element != NULL; element = element->next) {
        if (element->kind != AB_AST_COLUMN) {
            continue;
        }
        struct ab_stream_column *column = &stream->columns[at++];
        for (const struct ab_ast *constraint = element->list.first; constraint != NULL; constraint = constraint->next) {
            if (constraint->kind != AB_AST_CHECK) {
                continue;
            }
            if (column->check != NULL) {
                return ab_parse_fail(parse, constraint->place, AB_SYNTAX,
                    "found a second CHECK for %s, expected one with AND", column->name);
            }
            AB_TRY(
                ab_check_expression(&scope, constraint->a, (struct ab_type){.kind = AB_TYPE_BOOLEAN}, &column->check));
            column->check_text = ab_check_copy_name(catalog, ab_parse_slice(parse, constraint->place));
        }
    }
    return AB_OK;
}

/* The index of a column that must exist and be NOT NULL. */
static ab_err required_column(struct ab_parse *parse, const struct ab_stream *stream, const struct ab_ast *name,
    const char *role, uint32_t *index)
{
    const char *names[AB_CATALOG_COLUMNS_MAX];
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        names[i] = stream->columns[i].name;
    }
    int found = ab_stream_column_index(stream, name->text);
    if (found < 0) {
        const char *nearest = ab_catalog_nearest(name->text, names, stream->columns_count);
        return ab_parse_fail(parse, name->place, AB_SYNTAX, "found \"%.*s\", expected a column of stream %s%s%s%s",
            (int)name->text.bytes, name->text.data, stream->name, nearest == NULL ? "" : "; did you mean ",
            nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
    }
    if (!stream->columns[found].is_not_null) {
        return ab_parse_fail(parse, name->place, AB_SYNTAX, "%s needs a NOT NULL column; %s may be NULL", role,
            stream->columns[found].name);
    }
    *index = (uint32_t)found;
    return AB_OK;
}

static ab_err event_time_check(
    struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_stream *stream)
{
    struct ab_place *place = &catalog->private_part->event_places[catalog->streams_count];
    if (place->line != 0) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX, "EVENT TIME is already given, on line %u", place->line);
    }
    *place = ast->place;
    AB_TRY(required_column(parse, stream, ast->a, "EVENT TIME", &stream->event_time_column));
    if (stream->columns[stream->event_time_column].type.kind != AB_TYPE_TIMESTAMP) {
        char found[AB_TYPE_TEXT_BYTES];
        return ab_parse_fail(parse, ast->a->place, AB_SYNTAX, "EVENT TIME needs a TIMESTAMP column; %s is %s",
            stream->columns[stream->event_time_column].name,
            ab_type_format(stream->columns[stream->event_time_column].type, found));
    }
    return AB_OK;
}

static ab_err partition_key_check(
    struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_stream *stream)
{
    struct ab_place *place = &catalog->private_part->key_places[catalog->streams_count];
    if (place->line != 0) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX, "PARTITION KEY is already given, on line %u", place->line);
    }
    *place = ast->place;
    if (ast->list.count > AB_CATALOG_KEYS_MAX) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX, "found %u columns in PARTITION KEY, expected at most %d",
            ast->list.count, AB_CATALOG_KEYS_MAX);
    }
    stream->partition_columns =
        ab_parse_alloc(&catalog->private_part->arena, ast->list.count * sizeof(*stream->partition_columns));
    for (const struct ab_ast *name = ast->list.first; name != NULL; name = name->next) {
        uint32_t index = 0;
        AB_TRY(required_column(parse, stream, name, "PARTITION KEY", &index));
        for (uint32_t i = 0; i < stream->partition_columns_count; i++) {
            if (stream->partition_columns[i] == index) {
                return ab_parse_fail(
                    parse, name->place, AB_SYNTAX, "%s stands in PARTITION KEY twice", stream->columns[index].name);
            }
        }
        stream->partition_columns[stream->partition_columns_count++] = index;
    }
    return AB_OK;
}

static ab_err options_check(struct ab_parse *parse, const struct ab_ast *ast, struct ab_stream *stream)
{
    struct {
        const char *name;
        int64_t *target;
        bool may_be_forever;
        bool is_given;
    } known[] = {{"history_retention", &stream->history_retention_us, true, false},
        {"max_future", &stream->future_bound_us, false, false}, {"max_past", &stream->past_bound_us, true, false}};
    const char *const names[] = {known[0].name, known[1].name, known[2].name};
    stream->future_bound_us = AB_US_PER_DAY;
    for (const struct ab_ast *option = ast->second.first; option != NULL; option = option->next) {
        size_t at = 0;
        while (at < 3 && !ab_bytes_equal(option->text, ab_bytes_of_text(known[at].name))) {
            at++;
        }
        if (at == 3) {
            const char *nearest = ab_catalog_nearest(option->text, names, 3);
            return ab_parse_fail(parse, option->place, AB_SYNTAX,
                "found the option \"%.*s\", expected history_retention, max_future or max_past%s%s%s",
                (int)option->text.bytes, option->text.data, nearest == NULL ? "" : "; did you mean ",
                nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
        }
        if (known[at].is_given) {
            return ab_parse_fail(parse, option->place, AB_SYNTAX, "the option %s stands here twice", known[at].name);
        }
        known[at].is_given = true;
        char why[200];
        if (ab_words_duration(option->a->text, false, known[at].may_be_forever, known[at].target, why) != AB_OK) {
            return ab_parse_fail(parse, option->a->place, AB_SYNTAX, "%s: %s", known[at].name, why);
        }
    }
    return AB_OK;
}

static ab_err columns_check(
    struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_stream *stream)
{
    struct ab_catalog_private *part = catalog->private_part;
    uint32_t count = ast->list.count;
    stream->columns = ab_parse_alloc(&part->arena, count * sizeof(*stream->columns));
    part->column_places[catalog->streams_count] = ab_parse_alloc(&part->arena, count * sizeof(struct ab_place));
    for (const struct ab_ast *element = ast->list.first; element != NULL; element = element->next) {
        if (element->kind != AB_AST_COLUMN) {
            continue;
        }
        if (stream->columns_count == AB_CATALOG_COLUMNS_MAX) {
            return ab_parse_fail(
                parse, element->place, AB_SYNTAX, "found more than %d columns", AB_CATALOG_COLUMNS_MAX);
        }
        AB_TRY(column_check(parse, catalog, element, stream));
    }
    return AB_OK;
}

ab_err ab_check_stream(
    struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_stream *stream)
{
    struct ab_catalog_private *part = catalog->private_part;
    AB_TRY(ab_check_new_name(parse, ast->text, ast->place, "stream", true));
    stream->name = ab_check_copy_name(catalog, ast->text);
    AB_TRY(columns_check(parse, catalog, ast, stream));
    for (const struct ab_ast *element = ast->list.first; element != NULL; element = element->next) {
        if (element->kind == AB_AST_EVENT_TIME) {
            AB_TRY(event_time_check(parse, catalog, element, stream));
        } else if (element->kind == AB_AST_PARTITION_KEY) {
            AB_TRY(partition_key_check(parse, catalog, element, stream));
        }
    }
    if (part->event_places[catalog->streams_count].line == 0) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX,
            "stream %s has no EVENT TIME, expected EVENT TIME and a TIMESTAMP column", stream->name);
    }
    if (part->key_places[catalog->streams_count].line == 0) {
        return ab_parse_fail(parse, ast->place, AB_SYNTAX,
            "stream %s has no PARTITION KEY, expected PARTITION KEY (columns)", stream->name);
    }
    AB_TRY(checks_check(parse, catalog, ast, stream));
    AB_TRY(options_check(parse, ast, stream));
    stream->definition = ab_print_stream(catalog, stream);
    return AB_OK;
}
