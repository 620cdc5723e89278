#include "common/catalog/query_check.h"
#include "common/catalog/words.h"

#include <stdlib.h>

/* One comparison of a window column with a time, turned so that the column is on the left. */
struct bound {
    enum ab_operation operation;
    bool is_end; /* window_end */
    int64_t time_us;
};

static bool is_window(const struct ab_query *query, const struct ab_expression *node)
{
    uint32_t window = ab_query_window_input(query);
    return node->operation == AB_OPERATION_INPUT && (node->input == window || node->input == window + 1);
}

/* Bounds between panes cannot be answered: states of a pane do not split. */
static ab_err edge_check(struct ab_parse *parse, const struct ab_query *query, const struct ab_expression *constant)
{
    if (constant->operation != AB_OPERATION_CONSTANT || constant->value.is_null ||
        constant->value.type.kind != AB_TYPE_TIMESTAMP) {
        return AB_OK;
    }
    int64_t time_us = constant->value.bigint;
    int64_t below = ab_period_floor(&query->view->pane, time_us);
    if (below == time_us) {
        return AB_OK;
    }
    char found[AB_TIME_TEXT_BYTES];
    char lower[AB_TIME_TEXT_BYTES];
    char upper[AB_TIME_TEXT_BYTES];
    char pane[AB_WORDS_DURATION_BYTES];
    return ab_parse_fail(parse, constant->place, AB_SYNTAX,
        "%s is not on the edge of a pane of '%s'; the nearest edges are '%s' and '%s'", ab_time_format(time_us, found),
        ab_words_duration_format(query->view->pane_us, pane), ab_time_format(below, lower),
        ab_time_format(ab_period_next(&query->view->pane, time_us), upper));
}

/* Walks the whole tree: wherever a window column meets a constant, the constant is an edge. */
static ab_err edges_check(struct ab_parse *parse, const struct ab_query *query, const struct ab_expression *node)
{
    bool compares = node->operation >= AB_OPERATION_EQUAL && node->operation <= AB_OPERATION_IN;
    bool has_window = false;
    for (uint32_t i = 0; i < node->children_count; i++) {
        AB_TRY(edges_check(parse, query, node->children[i]));
        has_window = has_window || is_window(query, node->children[i]);
    }
    for (uint32_t i = 0; compares && has_window && i < node->children_count; i++) {
        AB_TRY(edge_check(parse, query, node->children[i]));
    }
    return AB_OK;
}

static void raise_from(struct ab_query *query, int64_t time_us)
{
    query->window_from_us = time_us > query->window_from_us ? time_us : query->window_from_us;
}

static void lower_until(struct ab_query *query, int64_t time_us)
{
    query->window_until_us = time_us < query->window_until_us ? time_us : query->window_until_us;
}

/* Where windows share panes: the panes of all windows that may meet the bound, and perhaps more; WHERE itself chooses
 * among the windows. */
static void overlap_bound(struct ab_query *query, const struct bound *bound)
{
    const struct ab_window *window = &query->window;
    bool is_hop = window->kind == AB_WINDOW_HOP;
    bool is_below = bound->operation == AB_OPERATION_LESS || bound->operation == AB_OPERATION_LESS_EQUAL;
    bool is_above = bound->operation == AB_OPERATION_GREATER || bound->operation == AB_OPERATION_GREATER_EQUAL;
    bool is_equal = bound->operation == AB_OPERATION_EQUAL;
    int64_t time_us = bound->time_us;
    int64_t before = ab_window_add(time_us, -1);
    if (is_above || is_equal) {
        int64_t begin = !is_hop                ? ab_period_floor(&window->period, before)
                        : window->periods == 0 ? ab_window_add(time_us, -window->size_us)
                                               : ab_period_add(&window->period, before, 1 - (int64_t)window->periods);
        raise_from(query, bound->is_end ? begin : time_us);
    }
    if (is_below || is_equal) {
        int64_t end = is_hop ? ab_window_end(window, ab_period_floor(&window->period, time_us))
                             : ab_period_next(&window->period, time_us);
        lower_until(query, bound->is_end ? time_us : end);
    }
}

/* Sessions: a bound on the start needs the panes from one gap before it, which show whether a session began earlier; a
 * bound on the end needs the panes until it. */
static void session_bound(struct ab_query *query, const struct bound *bound)
{
    bool is_below = bound->operation == AB_OPERATION_LESS || bound->operation == AB_OPERATION_LESS_EQUAL;
    bool is_above = bound->operation == AB_OPERATION_GREATER || bound->operation == AB_OPERATION_GREATER_EQUAL;
    bool is_equal = bound->operation == AB_OPERATION_EQUAL;
    if (!bound->is_end && (is_above || is_equal)) {
        int64_t gap_before = ab_window_add(bound->time_us, -query->window.size_us);
        raise_from(query, ab_period_floor(&query->view->pane, gap_before));
    }
    if (bound->is_end && (is_below || is_equal)) {
        lower_until(query, ab_period_next(&query->view->pane, bound->time_us));
    }
}

/* window_end is the start of the next pane, so both speak of starts s >= from and ends e <= until. */
static void bound_apply(struct ab_query *query, const struct bound *bound)
{
    if (ab_window_overlaps(&query->window)) {
        overlap_bound(query, bound);
        return;
    }
    if (query->view->window.kind == AB_WINDOW_SESSION) {
        session_bound(query, bound);
        return;
    }
    const struct ab_period *pane = &query->view->pane;
    int64_t start = bound->is_end ? ab_period_floor(pane, ab_window_add(bound->time_us, -1)) : bound->time_us;
    int64_t after = ab_period_next(pane, start);
    switch (bound->operation) {
    case AB_OPERATION_EQUAL:
        raise_from(query, start);
        lower_until(query, after);
        break;
    case AB_OPERATION_GREATER_EQUAL:
        raise_from(query, start);
        break;
    case AB_OPERATION_GREATER:
        raise_from(query, after);
        break;
    case AB_OPERATION_LESS:
        lower_until(query, start);
        break;
    case AB_OPERATION_LESS_EQUAL:
        lower_until(query, after);
        break;
    default: /* <> bounds nothing */
        break;
    }
}

static bool is_time_constant(const struct ab_expression *node)
{
    return node->operation == AB_OPERATION_CONSTANT && !node->value.is_null &&
           node->value.type.kind == AB_TYPE_TIMESTAMP;
}

static void compare_bound(struct ab_query *query, const struct ab_expression *node)
{
    static const enum ab_operation mirror[] = {AB_OPERATION_EQUAL, AB_OPERATION_NOT_EQUAL, AB_OPERATION_GREATER,
        AB_OPERATION_GREATER_EQUAL, AB_OPERATION_LESS, AB_OPERATION_LESS_EQUAL};
    const struct ab_expression *a = node->children[0];
    const struct ab_expression *b = node->children[1];
    bool is_mirrored = is_window(query, b);
    const struct ab_expression *column = is_mirrored ? b : a;
    const struct ab_expression *constant = is_mirrored ? a : b;
    if (!is_window(query, column) || !is_time_constant(constant)) {
        return;
    }
    struct bound bound = {.operation = is_mirrored ? mirror[node->operation - AB_OPERATION_EQUAL] : node->operation,
        .is_end = column->input != ab_query_window_input(query),
        .time_us = constant->value.bigint};
    bound_apply(query, &bound);
}

static void between_bound(struct ab_query *query, const struct ab_expression *node)
{
    const struct ab_expression *column = node->children[0];
    if (node->is_negated || !is_window(query, column)) {
        return;
    }
    bool is_end = column->input != ab_query_window_input(query);
    if (is_time_constant(node->children[1])) {
        bound_apply(query, &(struct bound){AB_OPERATION_GREATER_EQUAL, is_end, node->children[1]->value.bigint});
    }
    if (is_time_constant(node->children[2])) {
        bound_apply(query, &(struct bound){AB_OPERATION_LESS_EQUAL, is_end, node->children[2]->value.bigint});
    }
}

static int value_order(const void *a, const void *b)
{
    return ab_value_compare(a, b);
}

static uint32_t values_sort(struct ab_value *values, uint32_t count)
{
    uint32_t kept = 0;
    if (count > 0) {
        qsort(values, count, sizeof(*values), value_order);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || ab_value_compare(&values[kept - 1], &values[i]) != 0) {
            values[kept++] = values[i];
        }
    }
    return kept;
}

static struct ab_query_pin *pin_of(struct ab_query *query, uint32_t key)
{
    for (uint32_t i = 0; i < query->pins_count; i++) {
        if (query->pins[i].key == key) {
            return &query->pins[i];
        }
    }
    return NULL;
}

/* Keeps of an earlier pin of the same key what is in both. */
static void pin_intersect(struct ab_query_pin *pin, struct ab_value *values, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < pin->values_count; j++) {
            if (ab_value_compare(&values[i], &pin->values[j]) == 0) {
                values[kept++] = values[i];
                break;
            }
        }
    }
    pin->values = values;
    pin->values_count = kept;
}

/* key = constant or key IN (constants): what does not convert to the key's type equals no key and falls out, as NULL
 * does. */
static void pin_add(
    struct ab_query *query, const struct ab_expression *key, struct ab_expression *const *constants, uint32_t count)
{
    struct ab_value *values = ab_parse_alloc(&query->private_part->arena, count * sizeof(*values));
    uint32_t values_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_inexact = key->type.kind == AB_TYPE_DECIMAL && constants[i]->type.kind == AB_TYPE_DOUBLE;
        if (constants[i]->operation != AB_OPERATION_CONSTANT || is_inexact) {
            return; /* Compared as doubles: several keys may be equal to it. */
        }
        bool is_null = constants[i]->value.is_null;
        if (!is_null && ab_constant_convert(&constants[i]->value, key->type, &values[values_count])) {
            values_count++;
        }
    }
    values_count = values_sort(values, values_count);
    struct ab_query_pin *pin = pin_of(query, key->input);
    if (pin != NULL) {
        pin_intersect(pin, values, values_count);
        return;
    }
    query->pins[query->pins_count++] =
        (struct ab_query_pin){.key = key->input, .values = values, .values_count = values_count};
}

static bool is_key(const struct ab_query *query, const struct ab_expression *node)
{
    return node->operation == AB_OPERATION_INPUT && node->input < query->view->keys_count;
}

static void conjunct_apply(struct ab_query *query, const struct ab_expression *node)
{
    if (node->operation == AB_OPERATION_AND) {
        conjunct_apply(query, node->children[0]);
        conjunct_apply(query, node->children[1]);
    } else if (node->operation == AB_OPERATION_BETWEEN) {
        between_bound(query, node);
    } else if (node->operation == AB_OPERATION_IN && !node->is_negated && is_key(query, node->children[0])) {
        pin_add(query, node->children[0], node->children + 1, node->children_count - 1);
    } else if (node->operation >= AB_OPERATION_EQUAL && node->operation <= AB_OPERATION_GREATER_EQUAL) {
        compare_bound(query, node);
        bool is_left = is_key(query, node->children[0]);
        if (node->operation == AB_OPERATION_EQUAL && (is_left || is_key(query, node->children[1]))) {
            pin_add(query, node->children[is_left ? 0 : 1], node->children + (is_left ? 1 : 0), 1);
        }
    }
}

/* ---- sessions: WHERE is taken apart ---- */

static bool reads_window(const struct ab_query *query, const struct ab_expression *node)
{
    bool used[AB_CATALOG_KEYS_MAX + 2] = {false};
    uint32_t window = ab_query_window_input(query);
    ab_expression_inputs(node, used, window + 2);
    return used[window] || used[window + 1];
}

/* The terms of a conjunction that read windows, or the others; NULL = none. */
static struct ab_expression *terms_take(struct ab_query *query, struct ab_expression *node, bool is_window)
{
    if (node->operation != AB_OPERATION_AND) {
        return reads_window(query, node) == is_window ? node : NULL;
    }
    struct ab_expression *left = terms_take(query, node->children[0], is_window);
    struct ab_expression *right = terms_take(query, node->children[1], is_window);
    if (left == NULL || right == NULL) {
        return left == NULL ? right : left;
    }
    struct ab_expression *both = ab_parse_alloc(&query->private_part->arena, sizeof(*both));
    *both = *node;
    both->children = ab_parse_alloc(&query->private_part->arena, 2 * sizeof(*both->children));
    both->children[0] = left;
    both->children[1] = right;
    return both;
}

/* Keys choose states before they merge, windows choose sessions once they are whole. */
static ab_err sessions_split(struct ab_parse *parse, struct ab_query *query)
{
    bool used[AB_CATALOG_KEYS_MAX] = {false};
    struct ab_expression *having = terms_take(query, query->where, true);
    if (having == NULL) {
        return AB_OK;
    }
    if (query->window.kind == AB_WINDOW_NONE) {
        return ab_parse_fail(parse, having->place, AB_SYNTAX,
            "sessions are merged away here and have no bounds, expected window_start in SELECT or GROUP BY");
    }
    ab_expression_inputs(having, used, query->view->keys_count);
    for (uint32_t k = 0; k < query->view->keys_count; k++) {
        if (used[k] && !query->is_grouped[k]) {
            return ab_parse_fail(parse, having->place, AB_SYNTAX,
                "%s is merged away before sessions are whole: expected it in GROUP BY, or terms of their own joined by "
                "AND",
                query->view->keys[k].name);
        }
    }
    query->having = having;
    query->where = terms_take(query, query->where, false);
    return AB_OK;
}

ab_err ab_query_bound(struct ab_parse *parse, struct ab_query *query)
{
    bool is_session = query->view->window.kind == AB_WINDOW_SESSION;
    if (query->window.kind == AB_WINDOW_LAST && query->window.end_us > query->window.start_us) {
        raise_from(query, query->window.start_us);
        lower_until(query, query->window.end_us);
    }
    if (query->where == NULL) {
        return AB_OK;
    }
    query->pins = ab_parse_alloc(&query->private_part->arena, query->view->keys_count * sizeof(*query->pins));
    if (query->view->pane_us > 0 && !is_session) {
        AB_TRY(edges_check(parse, query, query->where));
    }
    conjunct_apply(query, query->where);
    return is_session ? sessions_split(parse, query) : AB_OK;
}
