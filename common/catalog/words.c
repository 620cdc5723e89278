#include "common/catalog/words.h"

#include <stdio.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define DURATION_US_MAX (INT64_C(1000) * 365 * AB_US_PER_DAY)

static const struct {
    const char *name;
    enum ab_measure_kind kind;
} aggregates[] = {
    {"count", AB_MEASURE_COUNT},
    {"sum", AB_MEASURE_SUM},
    {"avg", AB_MEASURE_AVG},
    {"min", AB_MEASURE_MIN},
    {"max", AB_MEASURE_MAX},
    {"var_pop", AB_MEASURE_VAR_POP},
    {"var_samp", AB_MEASURE_VAR_SAMP},
    {"variance", AB_MEASURE_VAR_SAMP},
    {"stddev_pop", AB_MEASURE_STDDEV_POP},
    {"stddev_samp", AB_MEASURE_STDDEV_SAMP},
    {"stddev", AB_MEASURE_STDDEV_SAMP},
    {"first", AB_MEASURE_FIRST},
    {"last", AB_MEASURE_LAST},
    {"count_distinct", AB_MEASURE_COUNT_DISTINCT},
    {"min_by", AB_MEASURE_MIN_BY},
    {"arg_min", AB_MEASURE_MIN_BY},
    {"max_by", AB_MEASURE_MAX_BY},
    {"arg_max", AB_MEASURE_MAX_BY},
    {"first_k", AB_MEASURE_FIRST_K},
    {"last_k", AB_MEASURE_LAST_K},
    {"largest", AB_MEASURE_LARGEST},
    {"smallest", AB_MEASURE_SMALLEST},
    {"skewness", AB_MEASURE_SKEWNESS},
    {"kurtosis", AB_MEASURE_KURTOSIS},
    {"covar_pop", AB_MEASURE_COVAR_POP},
    {"covar_samp", AB_MEASURE_COVAR_SAMP},
    {"corr", AB_MEASURE_CORR},
    {"regr_slope", AB_MEASURE_REGR_SLOPE},
    {"regr_intercept", AB_MEASURE_REGR_INTERCEPT},
    {"regr_r2", AB_MEASURE_REGR_R2},
    {"bool_and", AB_MEASURE_BOOL_AND},
    {"every", AB_MEASURE_BOOL_AND},
    {"bool_or", AB_MEASURE_BOOL_OR},
    {"bit_and", AB_MEASURE_BIT_AND},
    {"bit_or", AB_MEASURE_BIT_OR},
    {"bit_xor", AB_MEASURE_BIT_XOR},
    {"avg_weighted", AB_MEASURE_AVG_WEIGHTED},
    {"ratio", AB_MEASURE_RATIO},
    {"rate", AB_MEASURE_RATE},
    {"histogram", AB_MEASURE_HISTOGRAM},
    {"quantiles", AB_MEASURE_QUANTILES},
    {"quantile", AB_MEASURE_QUANTILE},
    {"top_k", AB_MEASURE_TOP_K},
    {"theta", AB_MEASURE_THETA},
    {"bloom", AB_MEASURE_BLOOM},
    {"sample", AB_MEASURE_SAMPLE},
    {"decayed_sum", AB_MEASURE_DECAYED_SUM},
    {"decayed_count", AB_MEASURE_DECAYED_COUNT},
    {"decayed_avg", AB_MEASURE_DECAYED_AVG},
};

static const char *const later_functions[] = {"quantile_disc", "quantile_cont", "percentile", "percentile_cont",
    "percentile_disc", "approx_quantile", "median", "mode", "topk", "approx_top_k", "theta_sketch", "theta_estimate",
    "approx_count_distinct", "hll", "reservoir", "ewma", "array_agg", "string_agg", "count_if", "sum_if", "hour",
    "minute", "second", "day", "month", "year", "day_of_week", "date_trunc", "date_part", "extract", "now", "lower",
    "upper", "trim", "length", "substring", "substr", "concat", "replace", "round", "floor", "ceil", "ceiling", "sqrt",
    "power", "ln", "log", "exp", "sign", "greatest", "least", "cast", "if", "onehot", "score", "recommend", "nearest",
    "row_number", "rank", "dense_rank", "lag", "lead", "vector_sum", "vector_avg"};

static const char *const later_words[] = {"model", "deduplicate", "join", "left", "right", "inner", "outer", "cross",
    "full", "having", "union", "intersect", "except", "offset", "like", "ilike", "similar", "over", "window", "case",
    "nulls", "primary", "references", "unique", "default", "materialized", "function", "index", "predict", "using",
    "features", "holdout", "exists", "any", "collate", "protect", "watermark", "on"};

static bool list_has(const char *const *list, size_t count, struct ab_bytes name)
{
    for (size_t i = 0; i < count; i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(list[i]))) {
            return true;
        }
    }
    return false;
}

/* p5 is 0.05, p50 is 0.50, p999 is 0.999; p100 would be one of two things. */
bool ab_words_percentile(struct ab_bytes name, struct ab_value *share)
{
    if (name.bytes < 2 || name.bytes > 8 || name.data[0] != 'p' || ab_bytes_equal(name, ab_bytes_of_text("p100"))) {
        return false;
    }
    int64_t number = 0;
    for (size_t i = 1; i < name.bytes; i++) {
        if (name.data[i] < '0' || name.data[i] > '9') {
            return false;
        }
        number = number * 10 + (name.data[i] - '0');
    }
    uint8_t scale = (uint8_t)(name.bytes == 2 ? 2 : name.bytes - 1);
    *share = (struct ab_value){.type = {.kind = AB_TYPE_DECIMAL, .precision = scale, .scale = scale}};
    share->decimal = number;
    return true;
}

enum ab_measure_kind ab_words_aggregate(struct ab_bytes name)
{
    for (size_t i = 0; i < COUNT_OF(aggregates); i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(aggregates[i].name))) {
            return aggregates[i].kind;
        }
    }
    struct ab_value share;
    return ab_words_percentile(name, &share) ? AB_MEASURE_QUANTILE : 0;
}

const char *ab_words_aggregate_name(enum ab_measure_kind kind)
{
    for (size_t i = 0; i < COUNT_OF(aggregates); i++) {
        if (aggregates[i].kind == kind && strcmp(aggregates[i].name, "variance") != 0) {
            return strcmp(aggregates[i].name, "stddev") == 0 ? "stddev_samp" : aggregates[i].name;
        }
    }
    return "count";
}

bool ab_words_is_later_function(struct ab_bytes name)
{
    return list_has(later_functions, COUNT_OF(later_functions), name);
}

bool ab_words_is_later_word(struct ab_bytes word)
{
    return list_has(later_words, COUNT_OF(later_words), word);
}

const char *ab_words_nearest_function(struct ab_bytes name)
{
    const char *names[COUNT_OF(aggregates) + 8] = {
        "abs", "coalesce", "nullif", "tumble", "hop", "cumulate", "session", "count"};
    for (size_t i = 0; i < COUNT_OF(aggregates); i++) {
        names[8 + i] = aggregates[i].name;
    }
    return ab_catalog_nearest(name, names, COUNT_OF(names));
}

static const struct {
    const char *name;
    uint8_t kind;
} types[] = {
    {"boolean", AB_TYPE_BOOLEAN},
    {"bigint", AB_TYPE_BIGINT},
    {"double", AB_TYPE_DOUBLE},
    {"decimal", AB_TYPE_DECIMAL},
    {"text", AB_TYPE_TEXT},
    {"timestamp", AB_TYPE_TIMESTAMP},
};

bool ab_words_type(struct ab_bytes name, struct ab_type *type)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(types[i].name))) {
            *type = (struct ab_type){.kind = types[i].kind};
            return true;
        }
    }
    return false;
}

const char *ab_words_nearest_type(struct ab_bytes name)
{
    static const char *const synonyms[][2] = {{"int", "BIGINT"}, {"integer", "BIGINT"}, {"smallint", "BIGINT"},
        {"tinyint", "BIGINT"}, {"int8", "BIGINT"}, {"int4", "BIGINT"}, {"long", "BIGINT"}, {"int64", "BIGINT"},
        {"float", "DOUBLE"}, {"float8", "DOUBLE"}, {"float4", "DOUBLE"}, {"real", "DOUBLE"}, {"varchar", "TEXT"},
        {"char", "TEXT"}, {"string", "TEXT"}, {"uuid", "TEXT"}, {"bool", "BOOLEAN"}, {"numeric", "DECIMAL"},
        {"money", "DECIMAL"}, {"datetime", "TIMESTAMP"}, {"timestamptz", "TIMESTAMP"}, {"date", "TIMESTAMP"}};
    static const char *const names[] = {"boolean", "bigint", "double", "decimal", "text", "timestamp"};
    static const char *const shown[] = {"BOOLEAN", "BIGINT", "DOUBLE", "DECIMAL", "TEXT", "TIMESTAMP"};
    for (size_t i = 0; i < COUNT_OF(synonyms); i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(synonyms[i][0]))) {
            return synonyms[i][1];
        }
    }
    const char *nearest = ab_catalog_nearest(name, names, COUNT_OF(names));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (nearest == names[i]) {
            return shown[i];
        }
    }
    return NULL;
}

static const struct {
    const char *name; /* singular */
    int64_t us;
    bool is_fixed;
} units[] = {
    {"year", 365 * AB_US_PER_DAY, false},
    {"month", 30 * AB_US_PER_DAY, false},
    {"week", 7 * AB_US_PER_DAY, true},
    {"day", AB_US_PER_DAY, true},
    {"hour", AB_US_PER_HOUR, true},
    {"minute", AB_US_PER_MINUTE, true},
    {"second", AB_US_PER_SECOND, true},
    {"millisecond", AB_US_PER_MS, true},
    {"microsecond", 1, true},
};

static size_t copy_lower(struct ab_bytes text, char *out, size_t out_bytes)
{
    size_t start = 0;
    size_t end = text.bytes;
    while (start < end && text.data[start] == ' ') {
        start++;
    }
    while (end > start && text.data[end - 1] == ' ') {
        end--;
    }
    if (end - start >= out_bytes) {
        return 0;
    }
    for (size_t i = start; i < end; i++) {
        uint8_t c = text.data[i];
        out[i - start] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    out[end - start] = '\0';
    return end - start;
}

ab_err ab_words_duration(struct ab_bytes text, bool is_fixed, bool may_be_forever, int64_t *duration_us, char why[200])
{
    char lower[40];
    size_t bytes = copy_lower(text, lower, sizeof(lower));
    if (may_be_forever && strcmp(bytes == 0 ? "" : lower, "forever") == 0) {
        *duration_us = 0;
        return AB_OK;
    }
    const char *expected =
        may_be_forever ? "expected a duration such as '7 days', or 'forever'" : "expected a duration such as '7 days'";
    int64_t number = 0;
    size_t at = 0;
    for (; at < bytes && lower[at] >= '0' && lower[at] <= '9' && at < 15; at++) {
        number = number * 10 + (lower[at] - '0');
    }
    size_t digits = at;
    while (at < bytes && lower[at] == ' ') {
        at++;
    }
    if (digits == 0 || at == bytes || number == 0) {
        (void)snprintf(why, 200, "%s", expected);
        return AB_SYNTAX;
    }
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        size_t length = strlen(units[i].name);
        bool is_unit = bytes - at >= length && memcmp(lower + at, units[i].name, length) == 0 &&
                       (bytes - at == length || (bytes - at == length + 1 && lower[at + length] == 's'));
        if (!is_unit) {
            continue;
        }
        if (is_fixed && !units[i].is_fixed) {
            (void)snprintf(
                why, 200, "a %s has no fixed length, expected weeks, days, hours, minutes or seconds", units[i].name);
            return AB_SYNTAX;
        }
        if (number > DURATION_US_MAX / units[i].us) {
            (void)snprintf(why, 200, "a duration above 1000 years");
            return AB_OVERFLOW;
        }
        *duration_us = number * units[i].us;
        return AB_OK;
    }
    (void)snprintf(why, 200,
        "the unit \"%s\" is unknown, expected years, months, weeks, days, hours, minutes, seconds, "
        "milliseconds or microseconds",
        lower + at);
    return AB_SYNTAX;
}

const char *ab_words_duration_format(int64_t duration_us, char text[AB_WORDS_DURATION_BYTES])
{
    (void)snprintf(text, AB_WORDS_DURATION_BYTES, "forever");
    for (size_t i = 0; i < COUNT_OF(units) && duration_us > 0; i++) {
        bool is_shown = units[i].is_fixed && strcmp(units[i].name, "week") != 0; /* '14 days' reads as what it is */
        if (is_shown && duration_us % units[i].us == 0) {
            int64_t number = duration_us / units[i].us;
            (void)snprintf(
                text, AB_WORDS_DURATION_BYTES, "%lld %s%s", (long long)number, units[i].name, number == 1 ? "" : "s");
            break;
        }
    }
    return text;
}

static bool is_plain_name(const char *name)
{
    static const char *const reserved[] = {"select", "from", "where", "group", "by", "order", "limit", "create", "with",
        "and", "or", "not", "null", "in", "between", "as", "true", "false"};
    if (!((name[0] >= 'a' && name[0] <= 'z') || name[0] == '_')) {
        return false;
    }
    for (const char *at = name; *at != '\0'; at++) {
        if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '_')) {
            return false;
        }
    }
    return !list_has(reserved, COUNT_OF(reserved), ab_bytes_of_text(name));
}

static void put_quoted(struct ab_buffer *out, struct ab_bytes text, char quote)
{
    ab_buffer_put_u8(out, (uint8_t)quote);
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] == (uint8_t)quote) {
            ab_buffer_put_u8(out, (uint8_t)quote);
        }
        ab_buffer_put_u8(out, text.data[i]);
    }
    ab_buffer_put_u8(out, (uint8_t)quote);
}

void ab_words_put_name(struct ab_buffer *out, const char *name)
{
    if (is_plain_name(name)) {
        ab_buffer_put_bytes(out, ab_bytes_of_text(name));
    } else {
        put_quoted(out, ab_bytes_of_text(name), '"');
    }
}

void ab_words_put_text(struct ab_buffer *out, struct ab_bytes text)
{
    put_quoted(out, text, '\'');
}
