#include "common/catalog/check.h"
#include "common/catalog/check_window.h"
#include "common/catalog/words.h"

#include "common/base/buffer.h"

#include <stdio.h>

/* What is known of a view while it is checked. */
struct view_check {
    struct ab_parse *parse;
    struct ab_catalog *catalog;
    const struct ab_ast *select;
    struct ab_view *view;
    struct ab_scope scope;       /* over the stream's columns */
    const struct ab_ast *tumble; /* the call of a window in GROUP BY, or NULL */
    struct ab_place names[AB_CATALOG_KEYS_MAX + AB_CATALOG_MEASURES_MAX]; /* of keys, then of measures */
    bool is_key_named[AB_CATALOG_KEYS_MAX];
};

static bool text_is(struct ab_bytes text, const char *word)
{
    return ab_bytes_equal(text, ab_bytes_of_text(word));
}

static ab_err stream_find(struct view_check *check)
{
    const struct ab_ast *from = check->select->a;
    const struct ab_catalog *catalog = check->catalog;
    check->view->stream = ab_catalog_stream(catalog, from->text);
    if (check->view->stream != NULL) {
        return AB_OK;
    }
    const char **names = ab_parse_alloc(&check->parse->arena, catalog->streams_count * sizeof(*names));
    for (uint32_t i = 0; i < catalog->streams_count; i++) {
        names[i] = catalog->streams[i].name;
    }
    bool is_view = ab_catalog_view(catalog, from->text) != NULL;
    if (is_view) {
        return ab_parse_fail(
            check->parse, from->place, AB_UNSUPPORTED, "a view of a view is not supported yet, expected a stream");
    }
    const char *nearest = ab_catalog_nearest(from->text, names, catalog->streams_count);
    return ab_parse_fail(check->parse, from->place, AB_SYNTAX, "found \"%.*s\", expected a stream%s%s%s",
        (int)from->text.bytes, from->text.data, nearest == NULL ? "" : "; did you mean ",
        nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
}

static void scope_fill(struct view_check *check)
{
    const struct ab_stream *stream = check->view->stream;
    struct ab_scope_name *names = ab_parse_alloc(&check->parse->arena, stream->columns_count * sizeof(*names));
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        names[i] = (struct ab_scope_name){.name = stream->columns[i].name, .type = stream->columns[i].type, .input = i};
    }
    char *what = ab_parse_alloc(&check->parse->arena, AB_CATALOG_NAME_BYTES_MAX + 40);
    (void)snprintf(what, AB_CATALOG_NAME_BYTES_MAX + 40, "a column of stream %s", stream->name);
    check->scope = (struct ab_scope){.parse = check->parse,
        .arena = &check->catalog->private_part->arena,
        .names = names,
        .names_count = stream->columns_count,
        .what = what,
        .qualifier = stream->name};
}

/* The column a name in GROUP BY means: the stream's, else the one a SELECT item gives that alias. */
static const struct ab_ast *group_column(const struct view_check *check, const struct ab_ast *name)
{
    if (ab_stream_column_index(check->view->stream, name->text) >= 0) {
        return name;
    }
    for (const struct ab_ast *item = check->select->list.first; item != NULL; item = item->next) {
        bool is_alias = item->b != NULL && ab_bytes_equal(item->b->text, name->text);
        if (is_alias && item->a->kind == AB_AST_NAME) {
            return item->a;
        }
    }
    return name;
}

static ab_err key_add(struct view_check *check, const struct ab_ast *name)
{
    struct ab_view *view = check->view;
    const struct ab_scope_name *found = NULL;
    AB_TRY(ab_check_name(&check->scope, group_column(check, name), &found));
    for (uint32_t i = 0; i < view->keys_count; i++) {
        if (view->keys[i].column == found->input) {
            return ab_parse_fail(check->parse, name->place, AB_SYNTAX, "%s stands in GROUP BY twice", found->name);
        }
    }
    if (view->keys_count == AB_CATALOG_KEYS_MAX) {
        return ab_parse_fail(
            check->parse, name->place, AB_SYNTAX, "found more than %d columns in GROUP BY", AB_CATALOG_KEYS_MAX);
    }
    check->names[view->keys_count] = name->place;
    view->keys[view->keys_count++] =
        (struct ab_view_key){.name = found->name, .column = found->input, .type = found->type};
    return AB_OK;
}

/* Chunks are a day, rounded up to whole panes; 32 panes when a pane is a day or more. */
static int64_t chunk_of(int64_t pane_us)
{
    if (pane_us >= AB_US_PER_DAY) {
        return 32 * pane_us;
    }
    return (AB_US_PER_DAY + pane_us - 1) / pane_us * pane_us;
}

static ab_err window_add(struct view_check *check, const struct ab_ast *call)
{
    struct ab_view *view = check->view;
    const struct ab_ast *name = NULL;
    const struct ab_scope_name *found = NULL;
    if (check->tumble != NULL) {
        bool is_same = ab_bytes_equal(call->text, check->tumble->text);
        struct ab_bytes twice = is_same ? ab_check_window_name(call) : ab_bytes_of_text("a window");
        return ab_parse_fail(
            check->parse, call->place, AB_SYNTAX, "%.*s stands in GROUP BY twice", (int)twice.bytes, twice.data);
    }
    AB_TRY(ab_check_view_window(check->parse, check->catalog, call, &name, &view->pane, &view->window));
    AB_TRY(ab_check_name(&check->scope, name, &found));
    if (found->type.kind != AB_TYPE_TIMESTAMP || !view->stream->columns[found->input].is_not_null) {
        char type[AB_TYPE_TEXT_BYTES];
        return ab_parse_fail(check->parse, name->place, AB_SYNTAX, "%.*s needs a TIMESTAMP NOT NULL column; %s is %s",
            (int)ab_check_window_name(call).bytes, ab_check_window_name(call).data, found->name,
            found->type.kind == AB_TYPE_TIMESTAMP ? "TIMESTAMP and may be NULL" : ab_type_format(found->type, type));
    }
    check->tumble = call;
    view->pane_column = found->input;
    view->pane_us = view->pane.step_us > 0 ? view->pane.step_us : view->pane.width_us;
    view->chunk_us = chunk_of(view->pane_us);
    return view->window.kind == AB_WINDOW_SESSION
               ? ab_check_expression(&check->scope, name, (struct ab_type){0}, &view->pane_time)
               : AB_OK;
}

static ab_err groups_check(struct view_check *check)
{
    check->view->keys =
        ab_parse_alloc(&check->catalog->private_part->arena, AB_CATALOG_KEYS_MAX * sizeof(*check->view->keys));
    for (const struct ab_ast *group = check->select->second.first; group != NULL; group = group->next) {
        if (group->kind == AB_AST_NAME) {
            AB_TRY(key_add(check, group));
        } else if (ab_check_is_window(group)) {
            AB_TRY(window_add(check, group));
        } else if (group->kind == AB_AST_CALL && ab_words_is_later_function(group->text)) {
            return ab_parse_fail(check->parse, group->place, AB_UNSUPPORTED, "%.*s() is not supported yet",
                (int)group->text.bytes, group->text.data);
        } else {
            return ab_parse_fail(check->parse, group->place, AB_SYNTAX,
                "expected a column or TUMBLE(column, INTERVAL 'n unit') in GROUP BY");
        }
    }
    return AB_OK;
}

static bool is_window_again(const struct view_check *check, const struct ab_ast *call)
{
    const struct ab_ast *name = NULL;
    struct ab_period pane;
    struct ab_window window;
    return check->tumble != NULL &&
           ab_check_view_window(check->parse, check->catalog, call, &name, &pane, &window) == AB_OK &&
           ab_window_equal(&window, &check->view->window) &&
           ab_stream_column_index(check->view->stream, name->text) == (int)check->view->pane_column;
}

/* A selected column names a key; TUMBLE and window_start may be selected too, they are there anyway. */
static ab_err plain_item_check(struct view_check *check, const struct ab_ast *item)
{
    const struct ab_ast *ast = item->a;
    bool is_call = ab_check_is_window(ast);
    bool is_window = ast->kind == AB_AST_NAME && ab_stream_column_index(check->view->stream, ast->text) < 0 &&
                     (text_is(ast->text, "window_start") || text_is(ast->text, "window_end"));
    if (check->tumble != NULL && (is_window || (is_call && is_window_again(check, ast)))) {
        const char *name = is_window && text_is(ast->text, "window_end") ? "window_end" : "window_start";
        if (item->b != NULL && !text_is(item->b->text, name)) {
            return ab_parse_fail(check->parse, item->b->place, AB_SYNTAX,
                "found \"%.*s\", expected %s: its name is fixed", (int)item->b->text.bytes, item->b->text.data, name);
        }
        return AB_OK;
    }
    if (ast->kind != AB_AST_NAME) {
        struct ab_expression *unused = NULL;
        AB_TRY(ab_check_expression(&check->scope, ast, (struct ab_type){0}, &unused));
        return ab_parse_fail(
            check->parse, ast->place, AB_SYNTAX, "found an expression, expected a column of GROUP BY or one aggregate");
    }
    const struct ab_scope_name *found = NULL;
    AB_TRY(ab_check_name(&check->scope, ast, &found));
    for (uint32_t i = 0; i < check->view->keys_count; i++) {
        struct ab_view_key *key = &check->view->keys[i];
        if (key->column != found->input) {
            continue;
        }
        if (check->is_key_named[i]) {
            return ab_parse_fail(check->parse, ast->place, AB_SYNTAX, "%s is already selected, on line %u", found->name,
                check->names[i].line);
        }
        check->is_key_named[i] = true;
        check->names[i] = item->b != NULL ? item->b->place : ast->place;
        key->name = item->b != NULL ? (const char *)item->b->text.data : found->name;
        if (item->b != NULL) {
            AB_TRY(ab_check_new_name(check->parse, item->b->text, item->b->place, "key", false));
            key->name = ab_check_copy_name(check->catalog, item->b->text);
        }
        return AB_OK;
    }
    return ab_parse_fail(
        check->parse, ast->place, AB_SYNTAX, "%s must stand in GROUP BY or inside an aggregate", found->name);
}

/* A name for an aggregate without AS: its canonical text without what names do not hold: sum(a * b) is sum_a_b. */
static const char *measure_default_name(struct view_check *check, const struct ab_measure *measure)
{
    char *name = ab_parse_alloc(&check->catalog->private_part->arena, AB_CATALOG_NAME_BYTES_MAX + 1);
    size_t bytes = 0;
    for (const char *at = measure->definition; *at != '\0' && bytes < AB_CATALOG_NAME_BYTES_MAX; at++) {
        bool is_word = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z');
        char c = (char)(*at >= 'A' && *at <= 'Z' ? *at + ('a' - 'A') : *at);
        if (is_word) {
            name[bytes++] = c;
        } else if (bytes > 0 && name[bytes - 1] != '_') {
            name[bytes++] = '_';
        }
    }
    while (bytes > 0 && name[bytes - 1] == '_') {
        name[--bytes] = '\0';
    }
    return name;
}

static ab_err measure_check(struct view_check *check, const struct ab_ast *item)
{
    struct ab_view *view = check->view;
    const struct ab_ast *call = item->a;
    if (view->measures_count == AB_CATALOG_MEASURES_MAX) {
        return ab_parse_fail(
            check->parse, call->place, AB_SYNTAX, "found more than %d aggregates", AB_CATALOG_MEASURES_MAX);
    }
    struct ab_measure *measure = &view->measures[view->measures_count];
    AB_TRY(ab_check_measure(&check->scope, call, measure));
    if (ab_measure_needs_window(measure->kind) && check->tumble == NULL) {
        return ab_parse_fail(check->parse, call->place, AB_SYNTAX,
            "%s needs the length of a window, expected TUMBLE(column, INTERVAL 'n unit') in GROUP BY; use sum for all "
            "of time",
            ab_words_aggregate_name(measure->kind));
    }
    measure->definition = ab_print_measure(check->catalog, measure);
    if (item->b != NULL) {
        AB_TRY(ab_check_new_name(check->parse, item->b->text, item->b->place, "measure", false));
        measure->name = ab_check_copy_name(check->catalog, item->b->text);
    } else {
        measure->name = measure_default_name(check, measure);
    }
    check->names[AB_CATALOG_KEYS_MAX + view->measures_count] = item->b != NULL ? item->b->place : call->place;
    view->measures_count++;
    return AB_OK;
}

static ab_err items_check(struct view_check *check)
{
    for (const struct ab_ast *item = check->select->list.first; item != NULL; item = item->next) {
        if (item->a->kind == AB_AST_STAR) {
            return ab_parse_fail(check->parse, item->a->place, AB_SYNTAX,
                "found *, expected the group's columns and aggregates by name");
        }
        if (item->a->kind == AB_AST_CALL && ab_words_aggregate(item->a->text) != 0) {
            AB_TRY(measure_check(check, item));
        } else {
            AB_TRY(plain_item_check(check, item));
        }
    }
    if (check->view->measures_count == 0) {
        return ab_parse_fail(
            check->parse, check->select->place, AB_SYNTAX, "a view needs at least one aggregate, such as count(*)");
    }
    return AB_OK;
}

static const char *name_at(const struct ab_view *view, uint32_t i)
{
    return i < view->keys_count ? view->keys[i].name : view->measures[i - view->keys_count].name;
}

static struct ab_place place_of(const struct view_check *check, uint32_t i)
{
    uint32_t keys_count = check->view->keys_count;
    return check->names[i < keys_count ? i : AB_CATALOG_KEYS_MAX + i - keys_count];
}

static ab_err names_unique(struct view_check *check)
{
    struct ab_view *view = check->view;
    uint32_t count = view->keys_count + view->measures_count;
    for (uint32_t i = 0; i < count; i++) {
        const char *name = name_at(view, i);
        struct ab_place place = place_of(check, i);
        if (strcmp(name, "window_start") == 0 || strcmp(name, "window_end") == 0) {
            return ab_parse_fail(check->parse, place, AB_SYNTAX,
                "%s is the name of a pane's bound, expected another name (AS name)", name);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(name, name_at(view, j)) != 0) {
                continue;
            }
            struct ab_place first = place_of(check, j);
            bool is_later = place.offset > first.offset;
            return ab_parse_fail(check->parse, is_later ? place : first, AB_SYNTAX,
                "\"%s\" is already a name of this view, on line %u; give one of them another name (AS name)", name,
                is_later ? first.line : place.line);
        }
    }
    return AB_OK;
}

static ab_err keep_check(struct view_check *check, const struct ab_ast *place)
{
    struct ab_view *view = check->view;
    char keep[AB_WORDS_DURATION_BYTES];
    char retention[AB_WORDS_DURATION_BYTES];
    (void)ab_print_keep(view, keep);
    (void)ab_words_duration_format(view->stream->history_retention_us, retention);
    if (view->pane_us == 0 && view->keep_us != 0) {
        return ab_parse_fail(check->parse, place->place, AB_SYNTAX,
            "keep needs panes, expected TUMBLE(column, INTERVAL '...') in GROUP BY");
    }
    if (view->stream->history_retention_us == 0) {
        return AB_OK;
    }
    if (view->pane_us == 0) {
        return ab_parse_fail(check->parse, place->place, AB_SYNTAX,
            "a view without TUMBLE keeps for ever, but stream %s keeps its history for '%s'; add TUMBLE",
            view->stream->name, retention);
    }
    int64_t most_us = ab_check_keep_most(view);
    if (view->keep_us == 0 || most_us > view->stream->history_retention_us) {
        char most[AB_WORDS_DURATION_BYTES + 60] = "";
        if (view->keep_us != 0 && most_us != view->keep_us) {
            (void)snprintf(most, sizeof(most), " (its windows reach back '%s')",
                ab_words_duration_format(most_us, (char[AB_WORDS_DURATION_BYTES]){0}));
        }
        return ab_parse_fail(check->parse, place->place, AB_SYNTAX,
            "keep = '%s'%s is longer than the history_retention = '%s' of stream %s", keep, most, retention,
            view->stream->name);
    }
    return AB_OK;
}

/* As long as the stream's history lets the oldest windows be whole. */
static void keep_default(struct ab_view *view)
{
    view->keep_us = view->pane_us == 0 ? 0 : view->stream->history_retention_us;
    int64_t more_us = ab_check_keep_most(view) - view->keep_us;
    view->keep_us -= more_us < view->keep_us ? more_us : 0;
}

static ab_err options_check(struct view_check *check, const struct ab_ast *ast)
{
    struct ab_view *view = check->view;
    const struct ab_ast *keep = NULL;
    keep_default(view);
    for (const struct ab_ast *option = ast->second.first; option != NULL; option = option->next) {
        if (!text_is(option->text, "keep")) {
            return ab_parse_fail(check->parse, option->place, AB_SYNTAX, "found the option \"%.*s\", expected keep",
                (int)option->text.bytes, option->text.data);
        }
        if (keep != NULL) {
            return ab_parse_fail(check->parse, option->place, AB_SYNTAX, "the option keep stands here twice");
        }
        keep = option;
        char why[200];
        if (ab_check_keep(option->a->text, view, why) != AB_OK) {
            return ab_parse_fail(check->parse, option->a->place, AB_SYNTAX, "keep: %s", why);
        }
        if (view->keep_us != 0 && view->pane_us > 0 && view->keep_us < view->pane_us) {
            return ab_parse_fail(check->parse, option->a->place, AB_SYNTAX, "keep is shorter than one pane");
        }
    }
    return keep_check(check, keep == NULL ? ast : keep->a);
}

/* Aligned: every partition-key column is a group key, so a group lives in one partition. */
static bool is_aligned(const struct ab_view *view)
{
    for (uint32_t i = 0; i < view->stream->partition_columns_count; i++) {
        bool is_found = false;
        for (uint32_t j = 0; j < view->keys_count; j++) {
            is_found = is_found || view->keys[j].column == view->stream->partition_columns[i];
        }
        if (!is_found) {
            return false;
        }
    }
    return true;
}

ab_err ab_check_view(struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_view *view)
{
    struct view_check check = {.parse = parse, .catalog = catalog, .select = ast->a, .view = view};
    uint32_t measures_max = ast->a->list.count < AB_CATALOG_MEASURES_MAX ? ast->a->list.count : AB_CATALOG_MEASURES_MAX;
    AB_TRY(ab_check_new_name(parse, ast->text, ast->place, "view", true));
    view->name = ab_check_copy_name(catalog, ast->text);
    view->measures = ab_parse_alloc(&catalog->private_part->arena, measures_max * sizeof(*view->measures));
    AB_TRY(stream_find(&check));
    scope_fill(&check);
    AB_TRY(groups_check(&check));
    AB_TRY(items_check(&check));
    if (ast->a->b != NULL) {
        AB_TRY(ab_check_expression(&check.scope, ast->a->b, (struct ab_type){.kind = AB_TYPE_BOOLEAN}, &view->where));
    }
    AB_TRY(names_unique(&check));
    AB_TRY(options_check(&check, ast));
    view->is_aligned = is_aligned(view);
    view->definition = ab_print_view(catalog, view);
    return AB_OK;
}
