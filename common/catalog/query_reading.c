/* Readings: functions of a query that read more from the state of a measure than its finished value. */
#include "common/catalog/check.h"
#include "common/catalog/query_check.h"
#include "common/catalog/words.h"

#include "common/base/assert.h"
#include "common/base/buffer.h"

#define TOP_K_MAX 1000
#define BIT(kind) (UINT64_C(1) << ((kind)-AB_MEASURE_QUANTILES))

static const struct function {
    const char *name;
    enum ab_reading_kind kind;
    const char *form;
    uint8_t type;
    uint32_t arguments;
    uint64_t measures; /* BIT of the kinds it reads */
    const char *reads;
} functions[] = {
    {"quantile", AB_READING_QUANTILE, "quantile(measure, share)", AB_TYPE_DOUBLE, 2,
        BIT(AB_MEASURE_QUANTILES) | BIT(AB_MEASURE_QUANTILE), "quantiles(x)"},
    {"top_k", AB_READING_TOP_K, "top_k(measure, k)", AB_TYPE_TEXT, 2, BIT(AB_MEASURE_TOP_K), "top_k(x, k)"},
    {"might_contain", AB_READING_CONTAINS, "might_contain(measure, constant)", AB_TYPE_BOOLEAN, 2,
        BIT(AB_MEASURE_BLOOM), "bloom(x, n)"},
    {"theta_union", AB_READING_UNION, "theta_union(measure, measure)", AB_TYPE_BIGINT, 2, BIT(AB_MEASURE_THETA),
        "theta(x)"},
    {"theta_intersection", AB_READING_INTERSECTION, "theta_intersection(measure, measure)", AB_TYPE_BIGINT, 2,
        BIT(AB_MEASURE_THETA), "theta(x)"},
    {"theta_difference", AB_READING_DIFFERENCE, "theta_difference(measure, measure)", AB_TYPE_BIGINT, 2,
        BIT(AB_MEASURE_THETA), "theta(x)"},
    {"error", AB_READING_ERROR, "error(measure)", AB_TYPE_DOUBLE, 1,
        BIT(AB_MEASURE_QUANTILES) | BIT(AB_MEASURE_QUANTILE) | BIT(AB_MEASURE_TOP_K) | BIT(AB_MEASURE_THETA) |
            BIT(AB_MEASURE_BLOOM),
        "count_distinct, quantiles, top_k, theta or bloom: all others are exact"},
    /* pNN is quantile with its share in the name. */
    {"p50", AB_READING_QUANTILE, "pNN(measure)", AB_TYPE_DOUBLE, 1,
        BIT(AB_MEASURE_QUANTILES) | BIT(AB_MEASURE_QUANTILE), "quantiles(x)"},
};

#define FUNCTIONS_COUNT (sizeof(functions) / sizeof(functions[0]))

static const struct function *function_find(struct ab_bytes name)
{
    struct ab_value share;
    for (size_t i = 0; i < FUNCTIONS_COUNT; i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(functions[i].name))) {
            return &functions[i];
        }
    }
    return ab_words_percentile(name, &share) ? &functions[FUNCTIONS_COUNT - 1] : NULL;
}

static bool is_read(const struct function *function, enum ab_measure_kind kind)
{
    if (kind == AB_MEASURE_COUNT_DISTINCT) {
        return function->kind == AB_READING_ERROR;
    }
    return kind >= AB_MEASURE_QUANTILES && (function->measures & BIT(kind)) != 0;
}

/* The measure that an argument names. */
static ab_err measure_find(
    const struct ab_scope *scope, const struct function *function, const struct ab_ast *ast, uint32_t *measure)
{
    const struct ab_query *query = scope->query;
    const struct ab_scope_name *found = NULL;
    uint32_t first = ab_query_window_input(query) + 2;
    if (ast->kind != AB_AST_NAME) {
        return ab_parse_fail(
            scope->parse, ast->place, AB_SYNTAX, "expected the name of a measure in %s", function->form);
    }
    AB_TRY(ab_check_name(scope, ast, &found));
    if (found->input < first || !is_read(function, query->view->measures[found->input - first].kind)) {
        return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "found %s, which is %s; %s reads a measure of %s",
            found->name, found->input < first ? "no measure" : query->view->measures[found->input - first].definition,
            function->form, function->reads);
    }
    *measure = found->input - first;
    return AB_OK;
}

/* The constant after the measure. */
static ab_err constant_take(const struct ab_scope *scope, const struct function *function, const struct ab_ast *ast,
    struct ab_query_reading *reading)
{
    const struct ab_measure *measure = &scope->query->view->measures[reading->measure];
    struct ab_expression *expression = NULL;
    AB_TRY(ab_check_expression(scope, ast, (struct ab_type){0}, &expression));
    if (expression->operation != AB_OPERATION_CONSTANT || expression->value.is_null) {
        return ab_parse_fail(
            scope->parse, ast->place, AB_SYNTAX, "found an expression, expected a constant in %s", function->form);
    }
    struct ab_value value = expression->value;
    if (function->kind == AB_READING_QUANTILE) {
        AB_TRY(ab_check_share(scope->parse, ast->place, &value));
    } else if (function->kind == AB_READING_TOP_K) {
        if (value.type.kind != AB_TYPE_BIGINT || value.bigint < 1 || value.bigint > TOP_K_MAX) {
            return ab_parse_fail(
                scope->parse, ast->place, AB_SYNTAX, "expected a whole number from 1 to %d", TOP_K_MAX);
        }
    } else if (!ab_type_is_comparable(value.type, measure->argument_types[0]) ||
               !ab_constant_convert(&value, measure->argument_types[0], &value)) {
        char type[AB_TYPE_TEXT_BYTES];
        return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "expected a value of type %s, as %s holds",
            ab_type_format(measure->argument_types[0], type), measure->name);
    }
    reading->value = value;
    return AB_OK;
}

static ab_err arguments_take(const struct ab_scope *scope, const struct function *function, const struct ab_ast *ast,
    struct ab_query_reading *reading)
{
    const struct ab_ast *first = ast->list.first;
    if (ast->is_star || ast->is_set || ast->b != NULL || ast->list.count != function->arguments) {
        return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "found %.*s with these arguments, expected %s",
            (int)ast->text.bytes, ast->text.data, function->form);
    }
    reading->kind = function->kind;
    reading->type = (struct ab_type){.kind = function->type};
    AB_TRY(measure_find(scope, function, first, &reading->measure));
    reading->other = reading->measure;
    if (function->measures == BIT(AB_MEASURE_THETA)) {
        const struct ab_measure *measures = scope->query->view->measures;
        AB_TRY(measure_find(scope, function, first->next, &reading->other));
        if (measures[reading->measure].argument_types[0].kind != measures[reading->other].argument_types[0].kind) {
            return ab_parse_fail(scope->parse, first->next->place, AB_SYNTAX,
                "%s and %s are of values of different types", measures[reading->measure].name,
                measures[reading->other].name);
        }
        return AB_OK;
    }
    if (function->arguments == 2) {
        return constant_take(scope, function, first->next, reading);
    }
    if (function->kind == AB_READING_QUANTILE) {
        AB_ASSERT(ab_words_percentile(ast->text, &reading->value));
        return ab_check_share(scope->parse, ast->place, &reading->value);
    }
    return AB_OK;
}

static const char *reading_text(const struct ab_scope *scope, const struct ab_ast *ast, const struct function *function,
    const struct ab_query_reading *reading)
{
    const struct ab_measure *measures = scope->query->view->measures;
    struct ab_buffer out = {0};
    ab_buffer_put_format(&out, "%s%.*s(", reading->is_error ? "error(" : "", (int)ast->text.bytes, ast->text.data);
    ab_words_put_name(&out, measures[reading->measure].name);
    if (function->arguments == 2) {
        ab_buffer_put_format(&out, ", ");
        if (function->measures == BIT(AB_MEASURE_THETA)) {
            ab_words_put_name(&out, measures[reading->other].name);
        } else {
            ab_constant_print(&reading->value, &out);
        }
    }
    ab_buffer_put_format(&out, reading->is_error ? "))" : ")");
    char *text = ab_parse_alloc(scope->arena, out.bytes + 1);
    memcpy(text, out.data, out.bytes);
    ab_buffer_fini(&out);
    return text;
}

/* Finds an equal reading or adds this one. */
static ab_err reading_enter(
    const struct ab_scope *scope, const struct ab_ast *ast, const struct ab_query_reading *reading, uint32_t *index)
{
    struct ab_query *query = scope->query;
    for (*index = 0; *index < query->readings_count; (*index)++) {
        if (strcmp(query->readings[*index].text, reading->text) == 0) {
            return AB_OK;
        }
    }
    if (query->readings_count == AB_QUERY_READINGS_MAX) {
        return ab_parse_fail(
            scope->parse, ast->place, AB_SYNTAX, "found more than %d functions of measures", AB_QUERY_READINGS_MAX);
    }
    if (query->readings == NULL) {
        query->readings = ab_parse_alloc(scope->arena, AB_QUERY_READINGS_MAX * sizeof(*query->readings));
    }
    query->readings[query->readings_count++] = *reading;
    return AB_OK;
}

ab_err ab_query_reading(
    const struct ab_scope *scope, const struct ab_ast *ast, bool *is_known, struct ab_expression **out)
{
    struct ab_query_reading reading = {0};
    const struct function *function = function_find(ast->text);
    const struct ab_ast *call = ast;
    if (function == NULL) {
        return AB_OK;
    }
    if (function->kind == AB_READING_ERROR && ast->list.count == 1 && ast->list.first->kind == AB_AST_CALL) {
        const struct function *inner = function_find(ast->list.first->text);
        if (inner != NULL && inner->measures == BIT(AB_MEASURE_THETA)) {
            function = inner;
            call = ast->list.first;
            reading.is_error = true;
        }
    }
    AB_TRY(arguments_take(scope, function, call, &reading));
    reading.type.kind = reading.is_error ? AB_TYPE_DOUBLE : reading.type.kind;
    reading.text = reading_text(scope, call, function, &reading);
    uint32_t index = 0;
    AB_TRY(reading_enter(scope, ast, &reading, &index));
    struct ab_expression *node = ab_parse_alloc(scope->arena, sizeof(*node));
    node->operation = AB_OPERATION_INPUT;
    node->type = reading.type;
    node->operand_type = reading.type;
    node->place = ast->place;
    node->input = ab_query_window_input(scope->query) + 2 + scope->query->view->measures_count + index;
    node->name = reading.text;
    node->is_call = true;
    *out = node;
    *is_known = true;
    return AB_OK;
}
