/* Variances and what is made of sums of products: numerator and denominator are exact, and rounded together once. */
#include "common/aggregate/finish_private.h"
#include "common/aggregate/primitive_exact.h"
#include "common/base/decimal.h"

#include <math.h>

static ab_err value_null(struct ab_value *value)
{
    value->is_null = true;
    return AB_OK;
}

/* (n * sum of squares - sum^2) / (n * (n or n - 1)). */
ab_err ab_finish_variance(struct ab_finishing *finishing, struct ab_value *value)
{
    enum ab_measure_kind kind = finishing->measure->kind;
    bool is_sample = kind == AB_MEASURE_VAR_SAMP || kind == AB_MEASURE_STDDEV_SAMP;
    bool is_root = kind == AB_MEASURE_STDDEV_POP || kind == AB_MEASURE_STDDEV_SAMP;
    uint64_t count = ab_finish_count(finishing, AB_PART_COUNT);
    if (is_sample && count < 2) {
        return value_null(value);
    }
    struct ab_exact sum;
    struct ab_exact squares;
    struct ab_exact square;
    struct ab_exact numerator;
    uint32_t flags = ab_finish_exact(finishing, AB_PART_SUM, &sum);
    flags |= ab_finish_exact(finishing, AB_PART_SQUARES, &squares);
    if (flags != 0) {
        value->real = __builtin_nan("");
        return AB_OK;
    }
    ab_exact_normalise(&sum);
    ab_exact_normalise(&squares);
    ab_exact_multiply(&sum, &sum, &square);
    ab_exact_multiply_word(&squares, count);
    ab_exact_subtract(&squares, &square, &numerator);
    if (numerator.is_negative) {
        /* Only states that no rows gave can come here: a variance is never negative. */
        return value_null(value);
    }
    uint64_t divisors[AB_FINISH_FACTORS_MAX] = {count, is_sample ? count - 1 : count};
    uint32_t scale = ab_finish_scale(finishing, 0);
    double variance = ab_exact_divide(&numerator, divisors, ab_finish_power(2 * scale, divisors, 2));
    value->real = is_root ? sqrt(variance) : variance;
    return AB_OK;
}

/* *= 10^exponent. */
static void exact_raise(struct ab_exact *exact, uint32_t exponent)
{
    uint64_t factors[AB_FINISH_FACTORS_MAX];
    uint32_t count = ab_finish_power(exponent, factors, 0);
    for (uint32_t i = 0; i < count; i++) {
        ab_exact_multiply_word(exact, factors[i]);
    }
}

/* numerator / denominator in units of 10^-a and 10^-b, rounded once; NULL over zero. */
static ab_err quotient_put(struct ab_exact *numerator, uint32_t numerator_scale, struct ab_exact *denominator,
    uint32_t denominator_scale, struct ab_value *value)
{
    if (denominator->words_count == 0) {
        return value_null(value);
    }
    exact_raise(numerator, denominator_scale);
    exact_raise(denominator, numerator_scale);
    value->real = ab_exact_quotient(numerator, denominator);
    return AB_OK;
}

/* Sum of x over sum of y, by IEEE 754 where NaN or infinities were summed. */
ab_err ab_finish_ratio(struct ab_finishing *finishing, struct ab_value *value)
{
    struct ab_exact x;
    struct ab_exact y;
    double numerator = 0;
    double denominator = 0;
    uint32_t x_flags = ab_finish_exact(finishing, AB_PART_SUM, &x);
    uint32_t y_flags = ab_finish_exact(finishing, AB_PART_SUM_Y, &y);
    if ((x_flags | y_flags) != 0) {
        numerator = ab_primitive_exact_special(x_flags, &numerator) ? numerator : ab_exact_divide(&x, NULL, 0);
        denominator = ab_primitive_exact_special(y_flags, &denominator) ? denominator : ab_exact_divide(&y, NULL, 0);
        if (denominator == 0) {
            return value_null(value);
        }
        value->real = ab_double_canonical(numerator / denominator);
        return AB_OK;
    }
    ab_exact_normalise(&x);
    ab_exact_normalise(&y);
    return quotient_put(&x, ab_finish_scale(finishing, 0), &y, ab_finish_scale(finishing, 1), value);
}
