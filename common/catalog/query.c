#include "common/catalog/query.h"

#include "common/catalog/check.h"
#include "common/catalog/check_window.h"
#include "common/catalog/query_check.h"
#include "common/catalog/words.h"

#include "common/base/buffer.h"
#include "common/base/decimal.h"

#include <stdio.h>

/* What is known of a query while it is checked. */
struct query_check {
    struct ab_parse *parse;
    struct ab_query *query;
    const struct ab_ast *select;
    struct ab_arena *arena;
    struct ab_scope scope; /* its names are all of the relation, refused or not */
    struct ab_scope_name *names;
    uint32_t groups_count;
};

static const char not_grouped[] = "is merged away here, expected it in GROUP BY";
static const char measure_in_where[] =
    "is a measure: WHERE chooses panes before measures merge, expected a key, window_start or window_end";

static bool text_is(struct ab_bytes text, const char *word)
{
    return ab_bytes_equal(text, ab_bytes_of_text(word));
}

static const char *text_copy(struct query_check *check, struct ab_bytes text)
{
    char *copy = ab_parse_alloc(check->arena, text.bytes + 1);
    memcpy(copy, text.data, text.bytes);
    return copy;
}

static ab_err view_find(struct query_check *check, struct ab_catalog *catalog)
{
    const struct ab_ast *from = check->select->a;
    check->query->view = ab_catalog_view(catalog, from->text);
    if (check->query->view != NULL) {
        return AB_OK;
    }
    const struct ab_stream *stream = ab_catalog_stream(catalog, from->text);
    if (stream != NULL) {
        return ab_parse_fail(check->parse, from->place, AB_UNSUPPORTED,
            "%s is a stream; queries read views, declare one with CREATE VIEW", stream->name);
    }
    const char **names = ab_parse_alloc(&check->parse->arena, catalog->views_count * sizeof(*names));
    for (uint32_t i = 0; i < catalog->views_count; i++) {
        names[i] = catalog->views[i].name;
    }
    const char *nearest = ab_catalog_nearest(from->text, names, catalog->views_count);
    return ab_parse_fail(check->parse, from->place, AB_NOT_FOUND, "found \"%.*s\", expected a view%s%s%s",
        (int)from->text.bytes, from->text.data, nearest == NULL ? "" : "; did you mean ",
        nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
}

static void scope_fill(struct query_check *check)
{
    const struct ab_view *view = check->query->view;
    bool has_panes = view->pane_us > 0;
    struct ab_type time = {.kind = AB_TYPE_TIMESTAMP};
    uint32_t count = 0;
    check->names =
        ab_parse_alloc(&check->parse->arena, (view->keys_count + 2 + view->measures_count) * sizeof(*check->names));
    for (uint32_t i = 0; i < view->keys_count; i++) {
        check->names[count++] =
            (struct ab_scope_name){.name = view->keys[i].name, .type = view->keys[i].type, .input = i};
    }
    if (has_panes) {
        check->names[count++] = (struct ab_scope_name){.name = "window_start", .type = time, .input = view->keys_count};
        check->names[count++] =
            (struct ab_scope_name){.name = "window_end", .type = time, .input = view->keys_count + 1};
    }
    for (uint32_t i = 0; i < view->measures_count; i++) {
        check->names[count++] = (struct ab_scope_name){
            .name = view->measures[i].name, .type = view->measures[i].type, .input = view->keys_count + 2 + i};
    }
    char *what = ab_parse_alloc(&check->parse->arena, 200);
    (void)snprintf(
        what, 200, "a key%s or a measure of view %s", has_panes ? ", window_start, window_end" : "", view->name);
    char *missing = ab_parse_alloc(&check->parse->arena, 300);
    (void)snprintf(missing, 300,
        "view %s has no windows: its GROUP BY has no TUMBLE; ask without windows, or declare a view with TUMBLE",
        view->name);
    check->scope = (struct ab_scope){.parse = check->parse,
        .arena = check->arena,
        .names = check->names,
        .names_count = count,
        .what = what,
        .qualifier = view->name,
        .is_query = true,
        .call = ab_query_reading,
        .query = check->query,
        .window_missing = has_panes ? NULL : missing};
}

/* Sets why keys, window columns and measures may not be used (NULL = they may); grouped ones stay free. */
static void scope_refuse(struct query_check *check, const char *keys, const char *windows, const char *measures)
{
    const struct ab_query *query = check->query;
    uint32_t window = ab_query_window_input(query);
    for (uint32_t i = 0; i < check->scope.names_count; i++) {
        uint32_t input = check->names[i].input;
        bool is_window = input == window || input == window + 1;
        if (input < window) {
            check->names[i].refusal = keys != NULL && query->is_grouped[input] ? NULL : keys;
        } else {
            check->names[i].refusal =
                is_window ? (windows != NULL && query->window.kind != AB_WINDOW_NONE ? NULL : windows) : measures;
        }
    }
}

static ab_err group_window(struct query_check *check, const struct ab_ast *call)
{
    struct ab_query *query = check->query;
    const struct ab_scope_name *found = NULL;
    if (query->window.kind != AB_WINDOW_NONE) {
        return ab_parse_fail(check->parse, call->place, AB_SYNTAX, "windows stand in GROUP BY twice");
    }
    const struct ab_ast *name = call->list.first;
    if (name != NULL && name->kind == AB_AST_NAME) {
        AB_TRY(ab_check_name(&check->scope, name, &found));
        if (found->input != ab_query_window_input(query)) {
            return ab_parse_fail(check->parse, name->place, AB_SYNTAX, "found \"%s\" in %.*s, expected window_start",
                found->name, (int)ab_check_window_name(call).bytes, ab_check_window_name(call).data);
        }
    }
    AB_TRY(ab_check_query_window(check->parse, query->view, call, &query->window));
    bool is_open = query->window.kind == AB_WINDOW_LAST && call->list.count == 2;
    query->moment_place = is_open ? call->list.last->place.end : 0;
    return AB_OK;
}

/* The node a name in GROUP BY means: itself, or the key that SELECT gives this alias. */
static const struct ab_ast *group_node(const struct query_check *check, const struct ab_ast *group)
{
    for (uint32_t i = 0; i < check->scope.names_count; i++) {
        if (group->kind == AB_AST_NAME && text_is(group->text, check->names[i].name)) {
            return group;
        }
    }
    for (const struct ab_ast *item = check->select->list.first; item != NULL; item = item->next) {
        bool is_alias = group->kind == AB_AST_NAME && item->b != NULL && ab_bytes_equal(item->b->text, group->text);
        if (is_alias && (item->a->kind == AB_AST_NAME || item->a->kind == AB_AST_CALL)) {
            return item->a;
        }
    }
    return group;
}

static ab_err group_name(struct query_check *check, const struct ab_ast *group)
{
    struct ab_query *query = check->query;
    const struct ab_scope_name *found = NULL;
    uint32_t window = ab_query_window_input(query);
    AB_TRY(ab_check_name(&check->scope, group, &found));
    if (found->input > window + 1) {
        return ab_parse_fail(
            check->parse, group->place, AB_SYNTAX, "found the measure %s, expected keys in GROUP BY", found->name);
    }
    if (found->input == window + 1) {
        return ab_parse_fail(
            check->parse, group->place, AB_SYNTAX, "found window_end, expected window_start in GROUP BY");
    }
    bool is_twice = found->input == window ? query->window.kind != AB_WINDOW_NONE : query->is_grouped[found->input];
    if (is_twice) {
        return ab_parse_fail(check->parse, group->place, AB_SYNTAX, "%s stands in GROUP BY twice", found->name);
    }
    if (found->input == window) {
        query->window = query->view->window;
    } else {
        query->is_grouped[found->input] = true;
    }
    return AB_OK;
}

static ab_err groups_check(struct query_check *check)
{
    for (const struct ab_ast *at = check->select->second.first; at != NULL; at = at->next) {
        const struct ab_ast *group = group_node(check, at);
        check->groups_count++;
        if (group->kind == AB_AST_NAME) {
            AB_TRY(group_name(check, group));
        } else if (ab_check_is_window(group)) {
            AB_TRY(group_window(check, group));
        } else if (group->kind == AB_AST_CALL && ab_words_is_later_function(group->text)) {
            return ab_parse_fail(check->parse, group->place, AB_UNSUPPORTED, "%.*s() is not supported yet",
                (int)group->text.bytes, group->text.data);
        } else {
            return ab_parse_fail(check->parse, group->place, AB_SYNTAX,
                "expected keys and TUMBLE(window_start, INTERVAL 'n unit') in GROUP BY");
        }
    }
    return AB_OK;
}

static bool reads_group(const struct query_check *check, const struct ab_expression *expression)
{
    uint32_t keys_and_windows = ab_query_window_input(check->query) + 2;
    bool used[AB_CATALOG_KEYS_MAX + 2] = {false};
    ab_expression_inputs(expression, used, keys_and_windows);
    for (uint32_t i = 0; i < keys_and_windows; i++) {
        if (used[i]) {
            return true;
        }
    }
    return false;
}

/* An item without AS takes the column's name, or its canonical text. */
static const char *item_name(
    struct query_check *check, const struct ab_ast *item, const struct ab_expression *expression)
{
    if (item->b != NULL) {
        return text_copy(check, item->b->text);
    }
    if (expression->operation == AB_OPERATION_INPUT) {
        return expression->name;
    }
    struct ab_buffer out = {0};
    ab_expression_print(expression, &out);
    const char *name = text_copy(check, ab_buffer_view(&out));
    ab_buffer_fini(&out);
    return name;
}

static void item_add(struct query_check *check, const char *name, struct ab_expression *expression)
{
    check->query->items[check->query->items_count++] = (struct ab_query_item){.name = name, .expression = expression};
}

static ab_err star_expand(struct query_check *check, const struct ab_ast *star)
{
    bool is_grouped = check->groups_count > 0;
    scope_refuse(check, is_grouped ? not_grouped : NULL, is_grouped ? not_grouped : NULL, NULL);
    for (uint32_t i = 0; i < check->scope.names_count; i++) {
        if (check->names[i].refusal != NULL) {
            continue;
        }
        struct ab_ast name = {
            .kind = AB_AST_NAME, .place = star->place, .is_set = true, .text = ab_bytes_of_text(check->names[i].name)};
        struct ab_expression *expression = NULL;
        AB_TRY(ab_check_expression(&check->scope, &name, (struct ab_type){0}, &expression));
        item_add(check, expression->name, expression);
    }
    return AB_OK;
}

static uint32_t items_max(const struct query_check *check)
{
    uint32_t count = 0;
    for (const struct ab_ast *item = check->select->list.first; item != NULL; item = item->next) {
        count += item->a->kind == AB_AST_STAR ? check->scope.names_count : 1;
    }
    return count;
}

static ab_err items_check(struct query_check *check)
{
    bool is_grouped = check->groups_count > 0;
    bool reads_any = false;
    check->query->items = ab_parse_alloc(check->arena, items_max(check) * sizeof(*check->query->items));
    for (const struct ab_ast *item = check->select->list.first; item != NULL; item = item->next) {
        if (item->a->kind == AB_AST_STAR) {
            AB_TRY(star_expand(check, item->a));
            reads_any = true;
            continue;
        }
        struct ab_expression *expression = NULL;
        scope_refuse(check, is_grouped ? not_grouped : NULL, is_grouped ? not_grouped : NULL, NULL);
        AB_TRY(ab_check_expression(&check->scope, item->a, (struct ab_type){0}, &expression));
        reads_any = reads_any || reads_group(check, expression);
        if (item->b != NULL && item->b->text.bytes == 0) {
            return ab_parse_fail(check->parse, item->b->place, AB_SYNTAX, "found an empty name");
        }
        item_add(check, item_name(check, item, expression), expression);
    }
    check->query->is_listing = !is_grouped && reads_any;
    if (check->query->is_listing) {
        check->query->window = check->query->view->window;
        memset(check->query->is_grouped, 1, check->query->view->keys_count);
    }
    return AB_OK;
}

/* ORDER BY 2 is the second item, ORDER BY name first looks among the output names. */
static ab_err order_item(struct query_check *check, const struct ab_ast *ast, struct ab_expression **expression)
{
    struct ab_query *query = check->query;
    *expression = NULL;
    if (ast->kind == AB_AST_NUMBER) {
        int64_t ordinal = 0;
        if (ab_bigint_parse(ast->text, &ordinal) != AB_OK || ordinal < 1 || ordinal > query->items_count) {
            return ab_parse_fail(check->parse, ast->place, AB_SYNTAX,
                "found %.*s in ORDER BY, expected the number of a selected column, 1 to %u", (int)ast->text.bytes,
                ast->text.data, query->items_count);
        }
        *expression = query->items[ordinal - 1].expression;
        return AB_OK;
    }
    for (uint32_t i = 0; ast->kind == AB_AST_NAME && ast->a == NULL && i < query->items_count; i++) {
        if (text_is(ast->text, query->items[i].name)) {
            *expression = query->items[i].expression;
            return AB_OK;
        }
    }
    return AB_OK;
}

static ab_err orders_check(struct query_check *check)
{
    struct ab_query *query = check->query;
    query->order = ab_parse_alloc(check->arena, check->select->third.count * sizeof(*query->order));
    scope_refuse(check, not_grouped, not_grouped, NULL);
    for (const struct ab_ast *order = check->select->third.first; order != NULL; order = order->next) {
        struct ab_query_order *target = &query->order[query->order_count];
        AB_TRY(order_item(check, order->a, &target->expression));
        if (target->expression == NULL) {
            AB_TRY(ab_check_expression(&check->scope, order->a, (struct ab_type){0}, &target->expression));
        }
        target->is_descending = order->is_set;
        query->order_count++;
    }
    return AB_OK;
}

static ab_err limit_check(struct query_check *check)
{
    const struct ab_ast *limit = check->select->c;
    int64_t number = 0;
    check->query->limit = UINT64_MAX;
    if (limit == NULL) {
        return AB_OK;
    }
    if (ab_bigint_parse(limit->text, &number) != AB_OK || number < 0) {
        return ab_parse_fail(check->parse, limit->place, AB_SYNTAX, "found %.*s, expected a whole number for LIMIT",
            (int)limit->text.bytes, limit->text.data);
    }
    check->query->limit = (uint64_t)number;
    return AB_OK;
}

static ab_err where_check(struct query_check *check)
{
    if (check->select->b == NULL) {
        return AB_OK;
    }
    const struct ab_window *window = check->scope.window;
    check->scope.window = NULL;
    scope_refuse(check, NULL, NULL, measure_in_where);
    AB_TRY(ab_check_expression(
        &check->scope, check->select->b, (struct ab_type){.kind = AB_TYPE_BOOLEAN}, &check->query->where));
    check->scope.window = window;
    return AB_OK;
}

static void measures_mark(struct query_check *check)
{
    struct ab_query *query = check->query;
    uint32_t first = query->view->keys_count + 2;
    bool used[AB_CATALOG_KEYS_MAX + 2 + AB_CATALOG_MEASURES_MAX + AB_QUERY_READINGS_MAX] = {false};
    for (uint32_t i = 0; i < query->items_count; i++) {
        ab_expression_inputs(query->items[i].expression, used, sizeof(used));
    }
    for (uint32_t i = 0; i < query->order_count; i++) {
        ab_expression_inputs(query->order[i].expression, used, sizeof(used));
    }
    query->needs_measure = ab_parse_alloc(check->arena, query->view->measures_count);
    memcpy(query->needs_measure, used + first, query->view->measures_count);
    for (uint32_t i = 0; i < query->readings_count; i++) {
        if (used[first + query->view->measures_count + i]) {
            query->needs_measure[query->readings[i].measure] = true;
            query->needs_measure[query->readings[i].other] = true;
        }
    }
}

/* Refuses what reads a measure that needs the length of a window (rate) where windows are merged away. */
static ab_err lengths_check(struct query_check *check, const struct ab_expression *expression)
{
    const struct ab_query *query = check->query;
    uint32_t first = query->view->keys_count + 2;
    bool used[AB_CATALOG_KEYS_MAX + 2 + AB_CATALOG_MEASURES_MAX] = {false};
    ab_expression_inputs(expression, used, sizeof(used));
    for (uint32_t m = 0; m < query->view->measures_count; m++) {
        const struct ab_measure *measure = &query->view->measures[m];
        bool is_missing =
            !query->is_listing && query->window.kind == AB_WINDOW_NONE && ab_measure_needs_window(measure->kind);
        if (used[first + m] && is_missing) {
            return ab_parse_fail(check->parse, expression->place, AB_SYNTAX,
                "%s needs the length of a window, expected window_start, or a window of panes such as "
                "TUMBLE(window_start, INTERVAL 'n unit'), in GROUP BY; use sum(x) and your own length for all panes "
                "together",
                measure->definition);
        }
    }
    return AB_OK;
}

static ab_err windows_check(struct query_check *check)
{
    const struct ab_query *query = check->query;
    for (uint32_t i = 0; i < query->items_count; i++) {
        AB_TRY(lengths_check(check, query->items[i].expression));
    }
    for (uint32_t i = 0; i < query->order_count; i++) {
        AB_TRY(lengths_check(check, query->order[i].expression));
    }
    return AB_OK;
}

static ab_err query_check(struct ab_parse *parse, struct ab_catalog *catalog, struct ab_query *query)
{
    struct query_check check = {
        .parse = parse, .query = query, .select = parse->statements.first, .arena = &query->private_part->arena};
    AB_TRY(view_find(&check, catalog));
    query->window_from_us = INT64_MIN;
    query->window_until_us = INT64_MAX;
    query->is_grouped = ab_parse_alloc(check.arena, query->view->keys_count);
    scope_fill(&check);
    AB_TRY(groups_check(&check));
    check.scope.view = query->view;
    check.scope.window = query->window.kind == AB_WINDOW_NONE ? NULL : &query->window;
    AB_TRY(items_check(&check));
    AB_TRY(where_check(&check));
    AB_TRY(orders_check(&check));
    AB_TRY(limit_check(&check));
    measures_mark(&check);
    AB_TRY(windows_check(&check));
    return ab_query_bound(parse, query);
}

ab_err ab_query_parse(struct ab_catalog *catalog, struct ab_bytes sql, struct ab_query **query, struct ab_error *error)
{
    struct ab_parse parse;
    struct ab_query *made = ab_new(struct ab_query);
    made->private_part = ab_new(struct ab_query_private);
    ab_arena_init(&made->private_part->arena, NULL, 4096);
    made->catalog = ab_catalog_acquire(catalog);
    ab_err code = ab_parse_text(&parse, sql, true, error);
    if (code == AB_OK) {
        code = query_check(&parse, catalog, made);
    }
    ab_parse_fini(&parse);
    if (code != AB_OK) {
        ab_query_destroy(made);
        return code;
    }
    *query = made;
    return AB_OK;
}

void ab_query_settle(const struct ab_query *query, struct ab_bytes sql, ab_time_us now, struct ab_buffer *out)
{
    char end[AB_TIME_TEXT_BYTES];
    (void)ab_time_format(ab_period_next(&query->view->pane, now), end);
    ab_buffer_put_bytes(out, ab_bytes_of(sql.data, query->moment_place));
    ab_buffer_put_format(out, ", TIMESTAMP '%s'", end);
    ab_buffer_put_bytes(out, ab_bytes_of(sql.data + query->moment_place, sql.bytes - query->moment_place));
}

void ab_query_destroy(struct ab_query *query)
{
    if (query != NULL) {
        ab_catalog_release(query->catalog);
        ab_arena_fini(&query->private_part->arena);
        ab_delete(query->private_part);
        ab_delete(query);
    }
}
