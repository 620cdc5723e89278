/* What aggregate functions take and give: one line per kind, and the check of a call against its line. */
#include "common/catalog/check.h"
#include "common/catalog/words.h"

#include "common/base/decimal.h"

/* What an argument has to be. */
enum need {
    NEED_ANY,
    NEED_NUMBER,
    NEED_PAIR, /* numbers; if one of them is DOUBLE, all become DOUBLE, so that their sums fit together */
    NEED_BIGINT,
    NEED_BOOLEAN,
};

/* Type of the finished value. */
enum result {
    RESULT_BIGINT,
    RESULT_DOUBLE,
    RESULT_TEXT,
    RESULT_ARGUMENT, /* the first argument's */
    RESULT_SUM,      /* DOUBLE of DOUBLE; DECIMAL(38, scale) of BIGINT and DECIMAL */
};

struct measure_check {
    const struct ab_scope *scope;
    const struct ab_ast *call;
    struct ab_measure *measure;
};

/* Judges and converts the constant parameter `index`, which stands at `place`. */
typedef ab_err (*parameter_fn)(
    const struct measure_check *check, uint32_t index, struct ab_place place, struct ab_value *value);

struct rule {
    const char *form; /* as errors show it */
    uint32_t arguments_count;
    enum need need;
    enum result result;
    bool needs_window;
    uint32_t parameters_min;
    uint32_t parameters_max;
    parameter_fn parameter;
};

/* The k of first_k and its like. */
static ab_err k_check(const struct measure_check *check, uint32_t index, struct ab_place place, struct ab_value *value)
{
    (void)index;
    if (value->type.kind != AB_TYPE_BIGINT || value->bigint < 1 || value->bigint > AB_MEASURE_K_MAX) {
        return ab_parse_fail(check->scope->parse, place, AB_SYNTAX, "%s needs a whole number from 1 to %d here",
            ab_words_aggregate_name(check->measure->kind), AB_MEASURE_K_MAX);
    }
    return AB_OK;
}

/* Bounds of bins: of the argument's type, rising. */
static ab_err bound_check(
    const struct measure_check *check, uint32_t index, struct ab_place place, struct ab_value *value)
{
    const struct ab_measure *measure = check->measure;
    struct ab_value bound;
    char type[AB_TYPE_TEXT_BYTES];
    bool is_right = ab_type_is_number(value->type) && ab_constant_convert(value, measure->argument_types[0], &bound) &&
                    ab_constant_compare(value, &bound) == 0;
    if (!is_right) {
        return ab_parse_fail(check->scope->parse, place, AB_SYNTAX,
            "this bound is no value of %s, which the histogram is over",
            ab_type_format(measure->argument_types[0], type));
    }
    if (index > 0 && ab_value_compare(&measure->parameters[index - 1], &bound) >= 0) {
        return ab_parse_fail(
            check->scope->parse, place, AB_SYNTAX, "the bounds of a histogram have to rise, this one does not");
    }
    *value = bound;
    return AB_OK;
}

/* ---- parameters of sketches ---- */

/* Values that a bloom filter of 2 MiB holds, rows of a sample, answers of top_k: bounds of common/aggregate. */
#define BLOOM_EXPECTED_MAX 1000000
#define LIST_MAX 1000
/* Digits of a share: products with counts of rows stay inside 128 bits. */
#define SHARE_SCALE_MAX 18

ab_err ab_check_share(struct ab_parse *parse, struct ab_place place, struct ab_value *value)
{
    struct ab_value share = *value;
    if (share.type.kind == AB_TYPE_BIGINT) {
        share.decimal = share.bigint;
        share.type.scale = 0;
    }
    bool is_number = share.type.kind == AB_TYPE_BIGINT || share.type.kind == AB_TYPE_DECIMAL;
    while (is_number && share.type.scale > 0 && share.decimal % 10 == 0) {
        share.decimal /= 10;
        share.type.scale--;
    }
    if (!is_number || share.type.scale > SHARE_SCALE_MAX || share.decimal < 0 ||
        share.decimal > ab_decimal_power(share.type.scale)) {
        return ab_parse_fail(parse, place, AB_SYNTAX,
            "expected a share from 0 to 1 with at most %d digits, such as 0.99", SHARE_SCALE_MAX);
    }
    share.type.kind = AB_TYPE_DECIMAL;
    share.type.precision = share.type.scale == 0 ? 1 : share.type.scale;
    *value = share;
    return AB_OK;
}

static ab_err share_parameter(
    const struct measure_check *check, uint32_t index, struct ab_place place, struct ab_value *value)
{
    (void)index;
    return ab_check_share(check->scope->parse, place, value);
}

static ab_err count_parameter(
    const struct measure_check *check, uint32_t index, struct ab_place place, struct ab_value *value)
{
    (void)index;
    int64_t most = check->measure->kind == AB_MEASURE_BLOOM ? BLOOM_EXPECTED_MAX : LIST_MAX;
    if (value->type.kind != AB_TYPE_BIGINT || value->bigint < 1 || value->bigint > most) {
        return ab_parse_fail(
            check->scope->parse, place, AB_SYNTAX, "expected a whole number from 1 to %lld", (long long)most);
    }
    return AB_OK;
}

static ab_err half_life_parameter(
    const struct measure_check *check, uint32_t index, struct ab_place place, struct ab_value *value)
{
    (void)index;
    (void)value;
    return ab_parse_fail(check->scope->parse, place, AB_SYNTAX, "expected the half-life as INTERVAL 'n unit'");
}

/* p50(x) says its parameter in its name. */
static ab_err percentile_fill(const struct measure_check *check)
{
    struct ab_measure *measure = check->measure;
    struct ab_value share;
    bool is_named = ab_words_percentile(check->call->text, &share);
    if (is_named != (check->call->list.count == 1)) {
        return ab_parse_fail(check->scope->parse, check->call->place, AB_SYNTAX,
            "found %u argument%s of %.*s, expected %s", check->call->list.count,
            check->call->list.count == 1 ? "" : "s", (int)check->call->text.bytes, check->call->text.data,
            is_named ? "1" : "quantile(x, share)");
    }
    if (is_named) {
        struct ab_value *values = ab_parse_alloc(check->scope->arena, sizeof(*values));
        AB_TRY(ab_check_share(check->scope->parse, check->call->place, &share));
        *values = share;
        measure->parameters = values;
        measure->parameters_count = 1;
    }
    return AB_OK;
}

/* ---- the table ---- */

static const struct rule rules[AB_MEASURE_KIND_MAX + 1] = {
    [AB_MEASURE_COUNT_ROWS] = {"count(*)", 0, NEED_ANY, RESULT_BIGINT},
    [AB_MEASURE_COUNT] = {"1 or *", 1, NEED_ANY, RESULT_BIGINT},
    [AB_MEASURE_SUM] = {"1", 1, NEED_NUMBER, RESULT_SUM},
    [AB_MEASURE_AVG] = {"1", 1, NEED_NUMBER, RESULT_DOUBLE},
    [AB_MEASURE_MIN] = {"1", 1, NEED_ANY, RESULT_ARGUMENT},
    [AB_MEASURE_MAX] = {"1", 1, NEED_ANY, RESULT_ARGUMENT},
    [AB_MEASURE_VAR_POP] = {"1", 1, NEED_NUMBER, RESULT_DOUBLE},
    [AB_MEASURE_VAR_SAMP] = {"1", 1, NEED_NUMBER, RESULT_DOUBLE},
    [AB_MEASURE_STDDEV_POP] = {"1", 1, NEED_NUMBER, RESULT_DOUBLE},
    [AB_MEASURE_STDDEV_SAMP] = {"1", 1, NEED_NUMBER, RESULT_DOUBLE},
    [AB_MEASURE_FIRST] = {"1", 1, NEED_ANY, RESULT_ARGUMENT},
    [AB_MEASURE_LAST] = {"1", 1, NEED_ANY, RESULT_ARGUMENT},
    [AB_MEASURE_COUNT_DISTINCT] = {"1", 1, NEED_ANY, RESULT_BIGINT},
    [AB_MEASURE_MIN_BY] = {"min_by(x, key)", 2, NEED_ANY, RESULT_ARGUMENT},
    [AB_MEASURE_MAX_BY] = {"max_by(x, key)", 2, NEED_ANY, RESULT_ARGUMENT},
    [AB_MEASURE_FIRST_K] = {"first_k(x, k)", 1, NEED_ANY, RESULT_TEXT, false, 1, 1, k_check},
    [AB_MEASURE_LAST_K] = {"last_k(x, k)", 1, NEED_ANY, RESULT_TEXT, false, 1, 1, k_check},
    [AB_MEASURE_LARGEST] = {"largest(x, k)", 1, NEED_ANY, RESULT_TEXT, false, 1, 1, k_check},
    [AB_MEASURE_SMALLEST] = {"smallest(x, k)", 1, NEED_ANY, RESULT_TEXT, false, 1, 1, k_check},
    [AB_MEASURE_SKEWNESS] = {"1", 1, NEED_NUMBER, RESULT_DOUBLE},
    [AB_MEASURE_KURTOSIS] = {"1", 1, NEED_NUMBER, RESULT_DOUBLE},
    [AB_MEASURE_COVAR_POP] = {"covar_pop(y, x)", 2, NEED_PAIR, RESULT_DOUBLE},
    [AB_MEASURE_COVAR_SAMP] = {"covar_samp(y, x)", 2, NEED_PAIR, RESULT_DOUBLE},
    [AB_MEASURE_CORR] = {"corr(y, x)", 2, NEED_PAIR, RESULT_DOUBLE},
    [AB_MEASURE_REGR_SLOPE] = {"regr_slope(y, x)", 2, NEED_PAIR, RESULT_DOUBLE},
    [AB_MEASURE_REGR_INTERCEPT] = {"regr_intercept(y, x)", 2, NEED_PAIR, RESULT_DOUBLE},
    [AB_MEASURE_REGR_R2] = {"regr_r2(y, x)", 2, NEED_PAIR, RESULT_DOUBLE},
    [AB_MEASURE_BOOL_AND] = {"1", 1, NEED_BOOLEAN, RESULT_ARGUMENT},
    [AB_MEASURE_BOOL_OR] = {"1", 1, NEED_BOOLEAN, RESULT_ARGUMENT},
    [AB_MEASURE_BIT_AND] = {"1", 1, NEED_BIGINT, RESULT_ARGUMENT},
    [AB_MEASURE_BIT_OR] = {"1", 1, NEED_BIGINT, RESULT_ARGUMENT},
    [AB_MEASURE_BIT_XOR] = {"1", 1, NEED_BIGINT, RESULT_ARGUMENT},
    [AB_MEASURE_AVG_WEIGHTED] = {"avg_weighted(x, weight)", 2, NEED_PAIR, RESULT_DOUBLE},
    [AB_MEASURE_RATIO] = {"ratio(x, y)", 2, NEED_NUMBER, RESULT_DOUBLE},
    [AB_MEASURE_RATE] = {"1", 1, NEED_NUMBER, RESULT_DOUBLE, .needs_window = true},
    [AB_MEASURE_HISTOGRAM] = {"histogram(x, bound, ...)", 1, NEED_NUMBER, RESULT_TEXT, false, 1,
        AB_MEASURE_PARAMETERS_MAX, bound_check},
    [AB_MEASURE_QUANTILES] = {"1", 1, NEED_NUMBER, RESULT_TEXT},
    [AB_MEASURE_QUANTILE] = {"quantile(x, share)", 1, NEED_NUMBER, RESULT_DOUBLE, false, 0, 1, share_parameter},
    [AB_MEASURE_TOP_K] = {"top_k(x, k)", 1, NEED_ANY, RESULT_TEXT, false, 1, 1, count_parameter},
    [AB_MEASURE_THETA] = {"1", 1, NEED_ANY, RESULT_BIGINT},
    [AB_MEASURE_BLOOM] = {"bloom(x, values expected)", 1, NEED_ANY, RESULT_TEXT, false, 1, 1, count_parameter},
    [AB_MEASURE_SAMPLE] = {"sample(x, k)", 1, NEED_ANY, RESULT_TEXT, false, 1, 1, count_parameter},
    [AB_MEASURE_DECAYED_SUM] = {"decayed_sum(x, INTERVAL 'half-life')", 1, NEED_NUMBER, RESULT_DOUBLE, false, 1, 1,
        half_life_parameter},
    [AB_MEASURE_DECAYED_COUNT] = {"decayed_count(x, INTERVAL 'half-life')", 1, NEED_ANY, RESULT_DOUBLE, false, 1, 1,
        half_life_parameter},
    [AB_MEASURE_DECAYED_AVG] = {"decayed_avg(x, INTERVAL 'half-life')", 1, NEED_NUMBER, RESULT_DOUBLE, false, 1, 1,
        half_life_parameter},
};

bool ab_measure_decays(enum ab_measure_kind kind)
{
    return rules[kind].parameter == half_life_parameter;
}

bool ab_measure_needs_window(enum ab_measure_kind kind)
{
    return rules[kind].needs_window;
}

static bool is_what_is_needed(enum need need, struct ab_type type)
{
    switch (need) {
    case NEED_ANY:
        break;
    case NEED_NUMBER:
    case NEED_PAIR:
        return ab_type_is_number(type);
    case NEED_BIGINT:
        return type.kind == AB_TYPE_BIGINT;
    case NEED_BOOLEAN:
        return type.kind == AB_TYPE_BOOLEAN;
    }
    return true;
}

static ab_err argument_check(const struct measure_check *check, const struct rule *rule, const struct ab_ast *ast)
{
    static const char *const needs[] = {[NEED_ANY] = "a value",
        [NEED_NUMBER] = "a number",
        [NEED_PAIR] = "a number",
        [NEED_BIGINT] = "a BIGINT",
        [NEED_BOOLEAN] = "a BOOLEAN"};
    struct ab_measure *measure = check->measure;
    struct ab_expression *argument = NULL;
    AB_TRY(ab_check_expression(check->scope, ast, (struct ab_type){0}, &argument));
    if (!is_what_is_needed(rule->need, ab_expression_type(argument))) {
        char found[AB_TYPE_TEXT_BYTES];
        return ab_parse_fail(check->scope->parse, ast->place, AB_SYNTAX, "%s needs %s, found %s",
            ab_words_aggregate_name(measure->kind), needs[rule->need],
            ab_type_format(ab_expression_type(argument), found));
    }
    measure->arguments[measure->arguments_count++] = argument;
    return AB_OK;
}

/* Sums of one argument's values and of its products with another's have to be of the same numbers. */
static void pair_widen(const struct measure_check *check)
{
    struct ab_measure *measure = check->measure;
    const struct ab_type real = {.kind = AB_TYPE_DOUBLE};
    bool any_real = false;
    for (uint32_t i = 0; i < measure->arguments_count; i++) {
        any_real |= ab_expression_type(measure->arguments[i]).kind == AB_TYPE_DOUBLE;
    }
    for (uint32_t i = 0; any_real && i < measure->arguments_count; i++) {
        measure->arguments[i] = ab_check_widened(check->scope, measure->arguments[i], real);
    }
}

static ab_err parameters_check(const struct measure_check *check, const struct rule *rule, const struct ab_ast *first)
{
    struct ab_measure *measure = check->measure;
    uint32_t count = check->call->list.count - rule->arguments_count;
    struct ab_value *values = ab_parse_alloc(check->scope->arena, count * sizeof(*values));
    measure->parameters = values;
    for (const struct ab_ast *ast = first; ast != NULL; ast = ast->next) {
        struct ab_expression *expression = NULL;
        if (ast->kind == AB_AST_INTERVAL && rule->parameter == half_life_parameter) {
            char why[200];
            struct ab_value *value = &values[measure->parameters_count++];
            value->type.kind = AB_TYPE_BIGINT;
            if (ab_words_duration(ast->text, true, false, &value->bigint, why) != AB_OK) {
                return ab_parse_fail(check->scope->parse, ast->place, AB_SYNTAX, "%s", why);
            }
            continue;
        }
        AB_TRY(ab_check_expression(check->scope, ast, (struct ab_type){0}, &expression));
        if (expression->operation != AB_OPERATION_CONSTANT || expression->value.is_null) {
            return ab_parse_fail(check->scope->parse, ast->place, AB_SYNTAX,
                "found an expression, expected a constant here in %s", rule->form);
        }
        values[measure->parameters_count] = expression->value;
        AB_TRY(rule->parameter(check, measure->parameters_count, ast->place, &values[measure->parameters_count]));
        measure->parameters_count++;
    }
    return AB_OK;
}

static ab_err count_check(const struct measure_check *check, const struct rule *rule)
{
    const struct ab_ast *call = check->call;
    uint32_t least = rule->arguments_count + rule->parameters_min;
    uint32_t most = rule->arguments_count + rule->parameters_max;
    if (call->list.count < least || call->list.count > most) {
        return ab_parse_fail(check->scope->parse, call->place, AB_SYNTAX, "found %u argument%s of %.*s, expected %s",
            call->list.count, call->list.count == 1 ? "" : "s", (int)call->text.bytes, call->text.data, rule->form);
    }
    return AB_OK;
}

static struct ab_type result_type(enum result result, struct ab_type argument)
{
    switch (result) {
    case RESULT_BIGINT:
        return (struct ab_type){.kind = AB_TYPE_BIGINT};
    case RESULT_DOUBLE:
        return (struct ab_type){.kind = AB_TYPE_DOUBLE};
    case RESULT_TEXT:
        return (struct ab_type){.kind = AB_TYPE_TEXT};
    case RESULT_ARGUMENT:
        break;
    case RESULT_SUM:
        if (argument.kind != AB_TYPE_DOUBLE) {
            return (struct ab_type){.kind = AB_TYPE_DECIMAL, .precision = 38, .scale = argument.scale};
        }
        break;
    }
    return argument;
}

static ab_err kind_find(const struct measure_check *check)
{
    const struct ab_ast *call = check->call;
    bool is_count = ab_bytes_equal(call->text, ab_bytes_of_text("count"));
    struct ab_measure *measure = check->measure;
    measure->kind = ab_words_aggregate(call->text);
    if (call->is_star) {
        measure->kind = AB_MEASURE_COUNT_ROWS;
    } else if (call->is_set) {
        measure->kind = AB_MEASURE_COUNT_DISTINCT;
    }
    if (!is_count && (call->is_star || call->is_set)) {
        return ab_parse_fail(check->scope->parse, call->place, call->is_set ? AB_UNSUPPORTED : AB_SYNTAX,
            call->is_set ? "%.*s(DISTINCT ...) is not supported yet"
                         : "found %.*s(*), expected an argument: only count takes *",
            (int)call->text.bytes, call->text.data);
    }
    return AB_OK;
}

ab_err ab_check_measure(const struct ab_scope *scope, const struct ab_ast *call, struct ab_measure *measure)
{
    const struct measure_check check = {.scope = scope, .call = call, .measure = measure};
    AB_TRY(kind_find(&check));
    const struct rule *rule = &rules[measure->kind];
    const struct ab_ast *ast = call->list.first;
    if (!call->is_star) {
        AB_TRY(count_check(&check, rule));
    }
    for (uint32_t i = 0; i < rule->arguments_count; i++, ast = ast->next) {
        AB_TRY(argument_check(&check, rule, ast));
    }
    if (rule->need == NEED_PAIR) {
        pair_widen(&check);
    }
    for (uint32_t i = 0; i < measure->arguments_count; i++) {
        measure->argument_types[i] = ab_expression_type(measure->arguments[i]);
    }
    if (measure->kind == AB_MEASURE_QUANTILE) {
        AB_TRY(percentile_fill(&check));
    }
    if (ast != NULL) {
        AB_TRY(parameters_check(&check, rule, ast));
    }
    if (call->b != NULL) {
        AB_TRY(ab_check_expression(scope, call->b, (struct ab_type){.kind = AB_TYPE_BOOLEAN}, &measure->filter));
    }
    measure->type = result_type(rule->result, measure->argument_types[0]);
    return AB_OK;
}
