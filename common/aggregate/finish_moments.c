/* Variances, covariances, regressions, skewness and kurtosis: what is divided is exact, and a quotient rounded once.
 *
 * With n rows, S(x) the sum of x, and so on, all of the measure's rows:
 *   V(x) = n S(x^2) - S(x)^2, C = n S(xy) - S(x) S(y)
 *   var_pop V / n^2, var_samp V / (n (n-1)), covar_pop C / n^2, covar_samp C / (n (n-1))
 *   corr = C / sqrt(V(y) V(x)), regr_r2 its square, regr_slope C / V(x), regr_intercept (S(y) V(x) - C S(x)) / (n V(x))
 *   skewness = m3 / m2^(3/2) = A / V^(3/2) with A = n^2 S(x^3) - 3 n S(x) S(x^2) + 2 S(x)^3
 *   kurtosis = m4 / m2^2 - 3 = (B - 3 V^2) / V^2 with B = n^3 S(x^4) - 4 n^2 S(x) S(x^3) + 6 n S(x)^2 S(x^2) - 3 S(x)^4
 * The first argument of a pair is y, the dependent one, as in SQL. Skewness and kurtosis are those of the population
 * (Fisher's g1 and g2). Of BIGINT and DECIMAL all sums are exact; of DOUBLE S(x^3) and S(x^4) are sums of rounded
 * powers (primitive_power.c): a relative error of 2^-52 of them, which grows with the mean's distance from 0 measured
 * in deviations, to the third and fourth power.
 *
 * NaN or an infinity among the values gives NaN. NULL: no rows; one row for the _samp forms; a denominator of 0; and
 * numbers that no rows can have given (a negative V). */
#include "common/aggregate/finish_private.h"
#include "common/aggregate/primitive_exact.h"
#include "common/base/decimal.h"

#include <math.h>

static ab_err value_null(struct ab_value *value)
{
    value->is_null = true;
    return AB_OK;
}

static ab_err value_nan(struct ab_value *value)
{
    value->real = __builtin_nan("");
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

/* The exact number of a part in its shortest form; returns the flags. */
static uint32_t part_take(const struct ab_finishing *finishing, enum ab_plan_part part, struct ab_exact *exact)
{
    uint32_t flags = ab_finish_exact(finishing, part, exact);
    ab_exact_normalise(exact);
    return flags;
}

/* out = n * products - left * right. */
static void cross_of(uint64_t count, const struct ab_exact *products, const struct ab_exact *left,
    const struct ab_exact *right, struct ab_exact *out)
{
    struct ab_exact scaled = *products;
    struct ab_exact product;
    ab_exact_multiply_word(&scaled, count);
    ab_exact_multiply(left, right, &product);
    ab_exact_subtract(&scaled, &product, out);
    ab_exact_normalise(out);
}

/* V of one argument; returns the flags. */
static uint32_t spread_take(const struct ab_finishing *finishing, enum ab_plan_part sum_part,
    enum ab_plan_part squares_part, struct ab_exact *spread)
{
    struct ab_exact sum;
    struct ab_exact squares;
    uint32_t flags = part_take(finishing, sum_part, &sum);
    flags |= part_take(finishing, squares_part, &squares);
    cross_of(ab_finish_count(finishing, AB_PART_COUNT), &squares, &sum, &sum, spread);
    return flags;
}

/* C; returns the flags. */
static uint32_t joint_take(const struct ab_finishing *finishing, struct ab_exact *joint)
{
    struct ab_exact left;
    struct ab_exact right;
    struct ab_exact products;
    uint32_t flags = part_take(finishing, AB_PART_SUM, &left);
    flags |= part_take(finishing, AB_PART_SUM_Y, &right);
    flags |= part_take(finishing, AB_PART_PRODUCTS, &products);
    cross_of(ab_finish_count(finishing, AB_PART_COUNT), &products, &left, &right, joint);
    return flags;
}

/* numerator / (n * (n or n - 1)), in units of 10^-scale. */
static void divide_by_rows(
    const struct ab_finishing *finishing, const struct ab_exact *numerator, bool is_sample, uint32_t scale, double *out)
{
    uint64_t count = ab_finish_count(finishing, AB_PART_COUNT);
    uint64_t divisors[AB_FINISH_FACTORS_MAX] = {count, is_sample ? count - 1 : count};
    *out = ab_exact_divide(numerator, divisors, ab_finish_power(scale, divisors, 2));
}

ab_err ab_finish_variance(struct ab_finishing *finishing, struct ab_value *value)
{
    enum ab_measure_kind kind = finishing->measure->kind;
    bool is_sample = kind == AB_MEASURE_VAR_SAMP || kind == AB_MEASURE_STDDEV_SAMP;
    bool is_root = kind == AB_MEASURE_STDDEV_POP || kind == AB_MEASURE_STDDEV_SAMP;
    if (is_sample && ab_finish_count(finishing, AB_PART_COUNT) < 2) {
        return value_null(value);
    }
    struct ab_exact spread;
    double variance = 0;
    if (spread_take(finishing, AB_PART_SUM, AB_PART_SQUARES, &spread) != 0) {
        return value_nan(value);
    }
    if (spread.is_negative) {
        return value_null(value);
    }
    divide_by_rows(finishing, &spread, is_sample, 2 * ab_finish_scale(finishing, 0), &variance);
    value->real = is_root ? sqrt(variance) : variance;
    return AB_OK;
}

ab_err ab_finish_covariance(struct ab_finishing *finishing, struct ab_value *value)
{
    bool is_sample = finishing->measure->kind == AB_MEASURE_COVAR_SAMP;
    struct ab_exact joint;
    if (is_sample && ab_finish_count(finishing, AB_PART_COUNT) < 2) {
        return value_null(value);
    }
    if (joint_take(finishing, &joint) != 0) {
        return value_nan(value);
    }
    uint32_t scale = ab_finish_scale(finishing, 0) + ab_finish_scale(finishing, 1);
    divide_by_rows(finishing, &joint, is_sample, scale, &value->real);
    return AB_OK;
}

/* corr and regr_r2. Scales cancel. C^2 <= V(y) V(x), so neither leaves [-1, 1]. */
ab_err ab_finish_correlation(struct ab_finishing *finishing, struct ab_value *value)
{
    bool is_squared = finishing->measure->kind == AB_MEASURE_REGR_R2;
    struct ab_exact joint;
    struct ab_exact spread_y;
    struct ab_exact spread_x;
    uint32_t flags = joint_take(finishing, &joint);
    flags |= spread_take(finishing, AB_PART_SUM, AB_PART_SQUARES, &spread_y);
    flags |= spread_take(finishing, AB_PART_SUM_Y, AB_PART_SQUARES_Y, &spread_x);
    if (flags != 0) {
        return value_nan(value);
    }
    if (spread_x.words_count == 0 || spread_x.is_negative || spread_y.is_negative) {
        return value_null(value);
    }
    if (spread_y.words_count == 0) { /* SQL: a horizontal line fits wholly, but correlates with nothing. */
        value->is_null = !is_squared;
        value->real = 1;
        return AB_OK;
    }
    struct ab_exact square;
    struct ab_exact spreads;
    ab_exact_multiply(&joint, &joint, &square);
    ab_exact_multiply(&spread_y, &spread_x, &spreads);
    double r2 = ab_exact_quotient(&square, &spreads);
    double r = sqrt(r2);
    value->real = is_squared ? r2 : joint.is_negative && r > 0 ? -r : r;
    return AB_OK;
}

ab_err ab_finish_slope(struct ab_finishing *finishing, struct ab_value *value)
{
    struct ab_exact joint;
    struct ab_exact spread;
    uint32_t flags = joint_take(finishing, &joint);
    flags |= spread_take(finishing, AB_PART_SUM_Y, AB_PART_SQUARES_Y, &spread);
    if (flags != 0) {
        return value_nan(value);
    }
    /* (scale of y + scale of x) over twice the scale of x. */
    return spread.is_negative
               ? value_null(value)
               : quotient_put(&joint, ab_finish_scale(finishing, 0), &spread, ab_finish_scale(finishing, 1), value);
}

ab_err ab_finish_intercept(struct ab_finishing *finishing, struct ab_value *value)
{
    struct ab_exact joint;
    struct ab_exact spread;
    struct ab_exact sum_y;
    struct ab_exact sum_x;
    uint32_t flags = joint_take(finishing, &joint);
    flags |= spread_take(finishing, AB_PART_SUM_Y, AB_PART_SQUARES_Y, &spread);
    flags |= part_take(finishing, AB_PART_SUM, &sum_y);
    flags |= part_take(finishing, AB_PART_SUM_Y, &sum_x);
    if (flags != 0) {
        return value_nan(value);
    }
    if (spread.is_negative) {
        return value_null(value);
    }
    struct ab_exact left;
    struct ab_exact right;
    struct ab_exact numerator;
    ab_exact_multiply(&sum_y, &spread, &left);
    ab_exact_multiply(&joint, &sum_x, &right);
    ab_exact_subtract(&left, &right, &numerator);
    ab_exact_multiply_word(&spread, ab_finish_count(finishing, AB_PART_COUNT));
    return quotient_put(&numerator, ab_finish_scale(finishing, 0), &spread, 0, value);
}

/* ---- third and fourth moments ---- */

/* Sums of powers, 1 to 4, of one argument. */
struct powers {
    uint64_t count;
    struct ab_exact sums[5]; /* from 1 on */
    struct ab_exact spread;
};

/* Adds factor * n^count_power * the product of two numbers to an account. */
static void account_add(struct ab_exact *account, const struct ab_exact *a, const struct ab_exact *b, uint64_t count,
    uint32_t count_power, int32_t factor)
{
    struct ab_exact product;
    struct ab_exact before = *account;
    ab_exact_multiply(a, b, &product);
    for (uint32_t i = 0; i < count_power; i++) {
        ab_exact_multiply_word(&product, count);
    }
    ab_exact_multiply_word(&product, (uint64_t)(factor < 0 ? -factor : factor));
    if (factor < 0) {
        ab_exact_subtract(&before, &product, account);
    } else {
        ab_exact_add(&before, &product, account);
    }
    ab_exact_normalise(account);
}

/* Reads the sums up to `highest`. False, with the value set, when that decides it. */
static bool powers_take(
    const struct ab_finishing *finishing, uint32_t highest, struct powers *powers, struct ab_value *value)
{
    static const enum ab_plan_part parts[] = {0, AB_PART_SUM, AB_PART_SQUARES, AB_PART_CUBES, AB_PART_FOURTHS};
    uint32_t flags = 0;
    powers->count = ab_finish_count(finishing, AB_PART_COUNT);
    for (uint32_t i = 1; i <= highest; i++) {
        flags |= part_take(finishing, parts[i], &powers->sums[i]);
    }
    cross_of(powers->count, &powers->sums[2], &powers->sums[1], &powers->sums[1], &powers->spread);
    if (flags != 0) {
        value->real = __builtin_nan("");
    } else {
        value->is_null = powers->spread.words_count == 0 || powers->spread.is_negative;
    }
    return flags == 0 && !value->is_null;
}

ab_err ab_finish_skewness(struct ab_finishing *finishing, struct ab_value *value)
{
    static const struct ab_exact one = {.words_count = 1, .words = {1}};
    struct powers powers;
    struct ab_exact account = {.words_count = 0};
    struct ab_exact square;
    if (!powers_take(finishing, 3, &powers, value)) {
        return AB_OK;
    }
    ab_exact_multiply(&powers.sums[1], &powers.sums[1], &square);
    account_add(&account, &powers.sums[3], &one, powers.count, 2, 1);
    account_add(&account, &powers.sums[1], &powers.sums[2], powers.count, 1, -3);
    account_add(&account, &square, &powers.sums[1], powers.count, 0, 2);
    /* V is brought into [1, 4) by an even power of two, so that neither the quotient nor the root leaves DOUBLE. */
    int32_t top = powers.spread.position + (int32_t)ab_exact_bits(&powers.spread) - 1;
    int32_t half = (top - (top & 1)) / 2;
    powers.spread.position -= 2 * half;
    account.position -= 3 * half;
    value->real = ab_exact_quotient(&account, &powers.spread) / sqrt(ab_exact_divide(&powers.spread, NULL, 0));
    return AB_OK;
}

ab_err ab_finish_kurtosis(struct ab_finishing *finishing, struct ab_value *value)
{
    static const struct ab_exact one = {.words_count = 1, .words = {1}};
    struct powers powers;
    struct ab_exact account = {.words_count = 0};
    struct ab_exact square;
    struct ab_exact spreads;
    if (!powers_take(finishing, 4, &powers, value)) {
        return AB_OK;
    }
    ab_exact_multiply(&powers.sums[1], &powers.sums[1], &square);
    ab_exact_multiply(&powers.spread, &powers.spread, &spreads);
    account_add(&account, &powers.sums[4], &one, powers.count, 3, 1);
    account_add(&account, &powers.sums[1], &powers.sums[3], powers.count, 2, -4);
    account_add(&account, &square, &powers.sums[2], powers.count, 1, 6);
    account_add(&account, &square, &square, powers.count, 0, -3);
    account_add(&account, &spreads, &one, powers.count, 0, -3);
    value->real = ab_exact_quotient(&account, &spreads);
    return AB_OK;
}

/* ---- ratios ---- */

/* One part over another, by IEEE 754 where NaN or infinities were summed; NULL over zero. */
static ab_err parts_divide(const struct ab_finishing *finishing, enum ab_plan_part above, uint32_t scale_above,
    enum ab_plan_part below, uint32_t scale_below, struct ab_value *value)
{
    struct ab_exact numerator;
    struct ab_exact denominator;
    double a = 0;
    double b = 0;
    uint32_t flags_above = part_take(finishing, above, &numerator);
    uint32_t flags_below = part_take(finishing, below, &denominator);
    if ((flags_above | flags_below) == 0) {
        return quotient_put(&numerator, scale_above, &denominator, scale_below, value);
    }
    a = ab_primitive_exact_special(flags_above, &a) ? a : ab_exact_divide(&numerator, NULL, 0);
    b = ab_primitive_exact_special(flags_below, &b) ? b : ab_exact_divide(&denominator, NULL, 0);
    value->is_null = b == 0;
    value->real = b == 0 ? 0 : ab_double_canonical(a / b);
    return AB_OK;
}

ab_err ab_finish_weighted(struct ab_finishing *finishing, struct ab_value *value)
{
    uint32_t scale = ab_finish_scale(finishing, 1);
    return parts_divide(
        finishing, AB_PART_PRODUCTS, ab_finish_scale(finishing, 0) + scale, AB_PART_SUM_Y, scale, value);
}

ab_err ab_finish_ratio(struct ab_finishing *finishing, struct ab_value *value)
{
    return parts_divide(
        finishing, AB_PART_SUM, ab_finish_scale(finishing, 0), AB_PART_SUM_Y, ab_finish_scale(finishing, 1), value);
}
