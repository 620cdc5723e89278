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
    int64_t pane_us = query->view->pane_us;
    if (constant->operation != AB_OPERATION_CONSTANT || constant->value.is_null ||
        constant->value.type.kind != AB_TYPE_TIMESTAMP) {
        return AB_OK;
    }
    int64_t time_us = constant->value.bigint;
    int64_t below = ab_time_floor(time_us, pane_us);
    if (below == time_us) {
        return AB_OK;
    }
    char found[AB_TIME_TEXT_BYTES];
    char lower[AB_TIME_TEXT_BYTES];
    char upper[AB_TIME_TEXT_BYTES];
    char pane[AB_WORDS_DURATION_BYTES];
    return ab_parse_fail(parse, constant->place, AB_SYNTAX,
        "%s is not on the edge of a pane of '%s'; the nearest edges are '%s' and '%s'", ab_time_format(time_us, found),
        ab_words_duration_format(pane_us, pane), ab_time_format(below, lower), ab_time_format(below + pane_us, upper));
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

/* Sums that stay within 64 bits: times at the ends of the range are as good as open. */
static int64_t add_saturated(int64_t a, int64_t b)
{
    int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) {
        return a > 0 ? INT64_MAX : INT64_MIN;
    }
    return sum;
}

/* window_end is window_start plus a pane, so both speak of starts s >= from and ends e <= until. */
static void bound_apply(struct ab_query *query, const struct bound *bound)
{
    int64_t pane_us = query->view->pane_us;
    int64_t start = bound->is_end ? add_saturated(bound->time_us, -pane_us) : bound->time_us;
    int64_t after = add_saturated(start, pane_us);
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

ab_err ab_query_bound(struct ab_parse *parse, struct ab_query *query)
{
    if (query->where == NULL) {
        return AB_OK;
    }
    query->pins = ab_parse_alloc(&query->private_part->arena, query->view->keys_count * sizeof(*query->pins));
    if (query->view->pane_us > 0) {
        AB_TRY(edges_check(parse, query, query->where));
    }
    conjunct_apply(query, query->where);
    return AB_OK;
}
