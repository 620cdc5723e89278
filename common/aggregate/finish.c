#include "common/aggregate/finish.h"

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive_distinct.h"
#include "common/aggregate/primitive_exact.h"
#include "common/base/decimal.h"

#include <math.h>

#define POWER_EXPONENT_MAX 19
#define DIVISORS_MAX 8

/* One entry and where its states are. */
struct entry_view {
    const struct ab_group_store *store;
    const uint32_t *places;
    size_t entry;
};

static const void *state_of(const struct entry_view *view, uint32_t primitive)
{
    return ab_group_store_state(view->store, view->entry, view->places[primitive]);
}

static uint64_t count_of(const struct entry_view *view, uint32_t primitive)
{
    return *(const uint64_t *)state_of(view, primitive);
}

/* The exact sum or sum of squares; returns special flags of doubles. */
static uint32_t exact_of(const struct entry_view *view, uint32_t primitive, struct ab_exact *exact)
{
    const struct ab_primitive_context *context = &view->store->contexts[view->places[primitive]];
    const void *state = state_of(view, primitive);
    switch (context->kind) {
    case AB_PRIMITIVE_SUM_INTEGER:
        ab_exact_from_words(exact, state, 3, 0);
        return 0;
    case AB_PRIMITIVE_SQUARES_INTEGER: {
        uint64_t words[6] = {0};
        memcpy(words, state, 5 * sizeof(uint64_t));
        ab_exact_from_words(exact, words, 6, 0);
        return 0;
    }
    default:
        return ab_primitive_exact_value(context, state, exact);
    }
}

/* Appends 10^exponent as factors that fit a word. */
static uint32_t divisors_of_power(uint32_t exponent, uint64_t *divisors, uint32_t count)
{
    while (exponent > 0) {
        uint32_t step = exponent < POWER_EXPONENT_MAX ? exponent : POWER_EXPONENT_MAX;
        divisors[count++] = (uint64_t)ab_decimal_power(step);
        exponent -= step;
    }
    return count;
}

static bool finish_sum(const struct entry_view *view, const struct ab_plan_measure *plan, struct ab_value *value)
{
    struct ab_exact exact;
    uint32_t flags = exact_of(view, plan->sum, &exact);
    if (value->type.kind == AB_TYPE_DOUBLE) {
        if (!ab_primitive_exact_special(flags, &value->real)) {
            value->real = ab_exact_divide(&exact, NULL, 0);
        }
        return true;
    }
    ab_int128 units;
    bool fits = ab_exact_to_int128(&exact, &units);
    if (fits && value->type.kind == AB_TYPE_BIGINT) {
        fits = units >= INT64_MIN && units <= INT64_MAX;
        value->bigint = (int64_t)units;
    } else if (fits) {
        fits = ab_decimal_fits(units, value->type.precision);
        value->decimal = units;
    }
    return fits;
}

static void finish_average(const struct entry_view *view, const struct ab_plan_measure *plan,
    const struct ab_measure *measure, struct ab_value *value)
{
    struct ab_exact exact;
    uint32_t flags = exact_of(view, plan->sum, &exact);
    if (ab_primitive_exact_special(flags, &value->real)) {
        return;
    }
    uint64_t divisors[DIVISORS_MAX] = {count_of(view, plan->count)};
    uint32_t scale = measure->argument_type.kind == AB_TYPE_DECIMAL ? measure->argument_type.scale : 0;
    value->real = ab_exact_divide(&exact, divisors, divisors_of_power(scale, divisors, 1));
}

/* (n * sum of squares - sum^2) / (n * (n or n - 1)), the numerator exact, rounded once. */
static void finish_variance(const struct entry_view *view, const struct ab_plan_measure *plan,
    const struct ab_measure *measure, struct ab_value *value)
{
    bool is_sample = measure->kind == AB_MEASURE_VAR_SAMP || measure->kind == AB_MEASURE_STDDEV_SAMP;
    bool is_root = measure->kind == AB_MEASURE_STDDEV_POP || measure->kind == AB_MEASURE_STDDEV_SAMP;
    uint64_t count = count_of(view, plan->count);
    if (is_sample && count < 2) {
        value->is_null = true;
        return;
    }
    struct ab_exact sum;
    struct ab_exact squares;
    struct ab_exact square;
    struct ab_exact numerator;
    uint32_t flags = exact_of(view, plan->sum, &sum);
    flags |= exact_of(view, plan->squares, &squares);
    if (flags != 0) {
        value->real = __builtin_nan("");
        return;
    }
    ab_exact_normalise(&sum);
    ab_exact_normalise(&squares);
    ab_exact_multiply(&sum, &sum, &square);
    ab_exact_multiply_word(&squares, count);
    ab_exact_subtract(&squares, &square, &numerator);
    if (numerator.is_negative) {
        /* Only states that no rows gave can come here: a variance is never negative. */
        value->is_null = true;
        return;
    }
    uint64_t divisors[DIVISORS_MAX] = {count, is_sample ? count - 1 : count};
    uint32_t scale = measure->argument_type.kind == AB_TYPE_DECIMAL ? measure->argument_type.scale : 0;
    double variance = ab_exact_divide(&numerator, divisors, divisors_of_power(2 * scale, divisors, 2));
    value->real = is_root ? sqrt(variance) : variance;
}

static void finish_selected(const struct entry_view *view, uint32_t primitive, struct ab_value *value)
{
    uint32_t place = view->places[primitive];
    const struct ab_primitive_context *context = &view->store->contexts[place];
    union ab_cell cell;
    if (!ab_primitive_cell(context, state_of(view, primitive), &cell)) {
        value->is_null = true;
        return;
    }
    *value = ab_cell_value(value->type, &cell);
}

static bool finish_count(uint64_t count, struct ab_value *value)
{
    value->bigint = (int64_t)count;
    return count <= INT64_MAX;
}

bool ab_finish_measure(const struct ab_aggregation *aggregation, uint32_t measure_index,
    const struct ab_group_store *store, const uint32_t *places, size_t entry, struct ab_value *value)
{
    const struct ab_measure *measure = &aggregation->view->measures[measure_index];
    const struct ab_plan_measure *plan = &aggregation->measures[measure_index];
    struct entry_view view = {.store = store, .places = places, .entry = entry};
    bool fits = true;
    memset(value, 0, sizeof(*value));
    value->type = measure->type;
    if (plan->sum != AB_PLAN_NONE && count_of(&view, plan->count) == 0) {
        value->is_null = true;
        return true;
    }
    switch (measure->kind) {
    case AB_MEASURE_COUNT_ROWS:
    case AB_MEASURE_COUNT:
        fits = finish_count(count_of(&view, plan->count), value);
        break;
    case AB_MEASURE_SUM:
        fits = finish_sum(&view, plan, value);
        break;
    case AB_MEASURE_AVG:
        finish_average(&view, plan, measure, value);
        break;
    case AB_MEASURE_VAR_POP:
    case AB_MEASURE_VAR_SAMP:
    case AB_MEASURE_STDDEV_POP:
    case AB_MEASURE_STDDEV_SAMP:
        finish_variance(&view, plan, measure, value);
        break;
    case AB_MEASURE_MIN:
    case AB_MEASURE_MAX:
    case AB_MEASURE_FIRST:
    case AB_MEASURE_LAST:
        finish_selected(&view, plan->other, value);
        break;
    case AB_MEASURE_COUNT_DISTINCT:
        fits = finish_count(ab_primitive_distinct_value(state_of(&view, plan->other)), value);
        break;
    }
    value->is_null |= !fits;
    return fits;
}

/* ---- columns ---- */

static ab_err column_texts(struct ab_arena *arena, const struct ab_value *values, const uint32_t *order,
    uint32_t rows_count, struct ab_column *column)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < rows_count; i++) {
        const struct ab_value *value = &values[order == NULL ? i : order[i]];
        bytes += value->is_null ? 0 : value->text.bytes;
    }
    if (bytes > UINT32_MAX) {
        return AB_FULL;
    }
    uint32_t *codes = ab_arena_alloc(arena, rows_count * sizeof(*codes));
    uint32_t *ends = ab_arena_alloc(arena, rows_count * sizeof(*ends));
    uint8_t *texts = ab_arena_alloc(arena, bytes);
    if (codes == NULL || ends == NULL || texts == NULL) {
        return AB_FULL;
    }
    uint32_t end = 0;
    for (uint32_t i = 0; i < rows_count; i++) {
        const struct ab_value *value = &values[order == NULL ? i : order[i]];
        if (!value->is_null && value->text.bytes > 0) {
            memcpy(texts + end, value->text.data, value->text.bytes);
            end += (uint32_t)value->text.bytes;
        }
        codes[i] = i;
        ends[i] = end;
    }
    column->values = codes;
    column->dictionary = (struct ab_dictionary){.count = rows_count, .ends = ends, .bytes = texts};
    return AB_OK;
}

static void number_put(uint8_t *at, const struct ab_value *value)
{
    switch ((enum ab_type_kind)value->type.kind) {
    case AB_TYPE_BOOLEAN:
        *at = value->boolean;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        memcpy(at, &value->bigint, sizeof(value->bigint));
        break;
    case AB_TYPE_DOUBLE:
        memcpy(at, &value->real, sizeof(value->real));
        break;
    case AB_TYPE_DECIMAL:
        memcpy(at, &value->decimal, sizeof(value->decimal));
        break;
    case AB_TYPE_TEXT:
        break;
    }
}

ab_err ab_finish_column(struct ab_arena *arena, struct ab_type type, const struct ab_value *values,
    const uint32_t *order, uint32_t rows_count, struct ab_column *column)
{
    struct ab_column made = {.type = type, .rows_count = rows_count};
    uint8_t *nulls = ab_arena_alloc(arena, rows_count);
    if (nulls == NULL) {
        return AB_FULL;
    }
    bool has_nulls = false;
    for (uint32_t i = 0; i < rows_count; i++) {
        nulls[i] = values[order == NULL ? i : order[i]].is_null;
        has_nulls |= nulls[i] != 0;
    }
    made.nulls = has_nulls ? nulls : NULL;
    if (type.kind == AB_TYPE_TEXT) {
        AB_TRY(column_texts(arena, values, order, rows_count, &made));
        *column = made;
        return AB_OK;
    }
    size_t element = ab_type_element_bytes(type);
    uint8_t *numbers = ab_arena_zalloc(arena, rows_count * element);
    if (numbers == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < rows_count; i++) {
        const struct ab_value *value = &values[order == NULL ? i : order[i]];
        if (!value->is_null) {
            number_put(numbers + i * element, value);
        }
    }
    made.values = numbers;
    *column = made;
    return AB_OK;
}
