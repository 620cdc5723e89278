#include "common/aggregate/finish.h"

#include "common/aggregate/cell.h"
#include "common/aggregate/finish_private.h"
#include "common/aggregate/primitive_bits.h"
#include "common/aggregate/primitive_distinct.h"
#include "common/aggregate/primitive_exact.h"
#include "common/aggregate/primitive_integer.h"
#include "common/base/assert.h"
#include "common/base/decimal.h"

/* ---- reading states ---- */

const void *ab_finish_state(const struct ab_finishing *finishing, enum ab_plan_part part)
{
    const struct ab_finish_entry *at = finishing->at;
    return ab_group_store_state(at->store, at->entry, at->places[finishing->plan->parts[part]]);
}

const struct ab_primitive_context *ab_finish_context(const struct ab_finishing *finishing, enum ab_plan_part part)
{
    return &finishing->at->store->contexts[finishing->at->places[finishing->plan->parts[part]]];
}

uint64_t ab_finish_count(const struct ab_finishing *finishing, enum ab_plan_part part)
{
    return *(const uint64_t *)ab_finish_state(finishing, part);
}

uint32_t ab_finish_exact(const struct ab_finishing *finishing, enum ab_plan_part part, struct ab_exact *exact)
{
    const struct ab_primitive_context *context = ab_finish_context(finishing, part);
    const void *state = ab_finish_state(finishing, part);
    if (ab_integer_value(context->kind, state, exact)) {
        return 0;
    }
    return ab_primitive_exact_value(context, state, exact);
}

uint32_t ab_finish_power(uint32_t exponent, uint64_t *factors, uint32_t count)
{
    while (exponent > 0) {
        uint32_t step = exponent < AB_FINISH_POWER_MAX ? exponent : AB_FINISH_POWER_MAX;
        AB_ASSERT(count < AB_FINISH_FACTORS_MAX);
        factors[count++] = (uint64_t)ab_decimal_power(step);
        exponent -= step;
    }
    return count;
}

uint32_t ab_finish_scale(const struct ab_finishing *finishing, uint32_t argument)
{
    struct ab_type type = finishing->measure->argument_types[argument];
    return type.kind == AB_TYPE_DECIMAL ? type.scale : 0;
}

/* ---- sums ---- */

static ab_err finish_sum(struct ab_finishing *finishing, struct ab_value *value)
{
    struct ab_exact exact;
    uint32_t flags = ab_finish_exact(finishing, AB_PART_SUM, &exact);
    if (value->type.kind == AB_TYPE_DOUBLE) {
        if (!ab_primitive_exact_special(flags, &value->real)) {
            value->real = ab_exact_divide(&exact, NULL, 0);
        }
        return AB_OK;
    }
    ab_int128 units;
    bool fits = ab_exact_to_int128(&exact, &units) && ab_decimal_fits(units, value->type.precision);
    if (fits) {
        value->decimal = units;
    }
    finishing->overflows = !fits;
    return AB_OK;
}

/* Sum over a number of rows. */
static ab_err finish_average(struct ab_finishing *finishing, struct ab_value *value)
{
    struct ab_exact exact;
    uint32_t flags = ab_finish_exact(finishing, AB_PART_SUM, &exact);
    if (!ab_primitive_exact_special(flags, &value->real)) {
        uint64_t divisors[AB_FINISH_FACTORS_MAX] = {ab_finish_count(finishing, AB_PART_COUNT)};
        value->real = ab_exact_divide(&exact, divisors, ab_finish_power(ab_finish_scale(finishing, 0), divisors, 1));
    }
    return AB_OK;
}

/* Sum over the seconds of the window. */
static ab_err finish_rate(struct ab_finishing *finishing, struct ab_value *value)
{
    struct ab_exact exact;
    uint32_t flags = ab_finish_exact(finishing, AB_PART_SUM, &exact);
    AB_ASSERT(finishing->at->window_us > 0);
    if (!ab_primitive_exact_special(flags, &value->real)) {
        uint64_t divisors[AB_FINISH_FACTORS_MAX] = {(uint64_t)finishing->at->window_us};
        ab_exact_multiply_word(&exact, AB_US_PER_SECOND);
        value->real = ab_exact_divide(&exact, divisors, ab_finish_power(ab_finish_scale(finishing, 0), divisors, 1));
    }
    return AB_OK;
}

/* ---- others ---- */

static ab_err finish_selected(struct ab_finishing *finishing, struct ab_value *value)
{
    union ab_cell cell;
    if (ab_primitive_cell(
            ab_finish_context(finishing, AB_PART_OTHER), ab_finish_state(finishing, AB_PART_OTHER), &cell)) {
        *value = ab_cell_value(value->type, &cell);
    } else {
        value->is_null = true;
    }
    return AB_OK;
}

static ab_err finish_bits(struct ab_finishing *finishing, struct ab_value *value)
{
    value->is_null = !ab_primitive_bits_value(ab_finish_state(finishing, AB_PART_OTHER), &value->bigint);
    return AB_OK;
}

static ab_err count_put(struct ab_finishing *finishing, uint64_t count, struct ab_value *value)
{
    value->bigint = (int64_t)count;
    finishing->overflows = count > INT64_MAX;
    return AB_OK;
}

static ab_err finish_count(struct ab_finishing *finishing, struct ab_value *value)
{
    return count_put(finishing, ab_finish_count(finishing, AB_PART_COUNT), value);
}

static ab_err finish_distinct(struct ab_finishing *finishing, struct ab_value *value)
{
    return count_put(finishing, ab_primitive_distinct_value(ab_finish_state(finishing, AB_PART_OTHER)), value);
}

/* ---- the table ---- */

static const ab_finish_fn finishers[AB_MEASURE_KIND_MAX + 1] = {
    [AB_MEASURE_COUNT_ROWS] = finish_count,
    [AB_MEASURE_COUNT] = finish_count,
    [AB_MEASURE_SUM] = finish_sum,
    [AB_MEASURE_AVG] = finish_average,
    [AB_MEASURE_MIN] = finish_selected,
    [AB_MEASURE_MAX] = finish_selected,
    [AB_MEASURE_VAR_POP] = ab_finish_variance,
    [AB_MEASURE_VAR_SAMP] = ab_finish_variance,
    [AB_MEASURE_STDDEV_POP] = ab_finish_variance,
    [AB_MEASURE_STDDEV_SAMP] = ab_finish_variance,
    [AB_MEASURE_FIRST] = finish_selected,
    [AB_MEASURE_LAST] = finish_selected,
    [AB_MEASURE_COUNT_DISTINCT] = finish_distinct,
    [AB_MEASURE_MIN_BY] = finish_selected,
    [AB_MEASURE_MAX_BY] = finish_selected,
    [AB_MEASURE_FIRST_K] = ab_finish_list,
    [AB_MEASURE_LAST_K] = ab_finish_list,
    [AB_MEASURE_LARGEST] = ab_finish_list,
    [AB_MEASURE_SMALLEST] = ab_finish_list,
    [AB_MEASURE_SKEWNESS] = ab_finish_skewness,
    [AB_MEASURE_KURTOSIS] = ab_finish_kurtosis,
    [AB_MEASURE_COVAR_POP] = ab_finish_covariance,
    [AB_MEASURE_COVAR_SAMP] = ab_finish_covariance,
    [AB_MEASURE_CORR] = ab_finish_correlation,
    [AB_MEASURE_REGR_SLOPE] = ab_finish_slope,
    [AB_MEASURE_REGR_INTERCEPT] = ab_finish_intercept,
    [AB_MEASURE_REGR_R2] = ab_finish_correlation,
    [AB_MEASURE_BOOL_AND] = finish_selected,
    [AB_MEASURE_BOOL_OR] = finish_selected,
    [AB_MEASURE_BIT_AND] = finish_bits,
    [AB_MEASURE_BIT_OR] = finish_bits,
    [AB_MEASURE_BIT_XOR] = finish_bits,
    [AB_MEASURE_AVG_WEIGHTED] = ab_finish_weighted,
    [AB_MEASURE_RATIO] = ab_finish_ratio,
    [AB_MEASURE_RATE] = finish_rate,
    [AB_MEASURE_HISTOGRAM] = ab_finish_histogram,
    [AB_MEASURE_QUANTILES] = ab_finish_quantiles,
    [AB_MEASURE_QUANTILE] = ab_finish_quantile,
    [AB_MEASURE_TOP_K] = ab_finish_top_k,
    [AB_MEASURE_THETA] = ab_finish_theta,
    [AB_MEASURE_BLOOM] = ab_finish_bloom,
    [AB_MEASURE_SAMPLE] = ab_finish_sample,
    [AB_MEASURE_DECAYED_SUM] = ab_finish_decayed,
    [AB_MEASURE_DECAYED_COUNT] = ab_finish_decayed,
    [AB_MEASURE_DECAYED_AVG] = ab_finish_decayed,
};

/* Whether a measure that counts rows beside something else has none. */
static bool is_empty(const struct ab_finishing *finishing)
{
    const uint32_t *parts = finishing->plan->parts;
    bool counts_alone =
        finishing->measure->kind == AB_MEASURE_COUNT || finishing->measure->kind == AB_MEASURE_COUNT_ROWS;
    return !counts_alone &&
           ((parts[AB_PART_COUNT] != AB_PLAN_NONE && ab_finish_count(finishing, AB_PART_COUNT) == 0) ||
               (parts[AB_PART_COUNT_Y] != AB_PLAN_NONE && ab_finish_count(finishing, AB_PART_COUNT_Y) == 0));
}

ab_err ab_finish_measure(const struct ab_finish_entry *at, uint32_t measure, struct ab_value *value, bool *fits)
{
    struct ab_finishing finishing = {
        .at = at, .measure = &at->aggregation->view->measures[measure], .plan = &at->aggregation->measures[measure]};
    struct ab_value finished = {.type = finishing.measure->type};
    if (is_empty(&finishing)) {
        finished.is_null = true;
    } else {
        AB_TRY(finishers[finishing.measure->kind](&finishing, &finished));
    }
    finished.is_null |= finishing.overflows;
    *fits = !finishing.overflows;
    *value = finished;
    return AB_OK;
}
