/* Quantiles: every answer within the stated error on several distributions, the order of special values, and bins that
 * are the same everywhere. */
#include "common/aggregate/primitive_quantiles.h"
#include "tests/unit/common/aggregate/sketch_support.h"

#define VALUES 50000u

static int double_compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Uniform, exponential, normal, Pareto with a heavy tail, log-uniform over all exponents, mixed signs, few values. */
static double draw(struct ab_random *random, int distribution)
{
    double u = ab_random_unit(random);
    double v = ab_random_unit(random);
    switch (distribution) {
    case 0:
        return u * 1000;
    case 1:
        return -log(1 - u);
    case 2:
        return sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
    case 3:
        return pow(1 - u, -2.5);
    case 4:
        return ldexp(1 + u, (int)(v * 2040) - 1020) * (u < 0.3 ? -1 : 1);
    case 5:
        return u < 0.5 ? -pow(1 - v, -1.5) : v;
    default:
        return floor(u * 7) - 3;
    }
}

static void test_quantiles_stay_within_their_error(void **state)
{
    (void)state;
    struct ab_random random;
    double *values = ab_new_array(double, VALUES);
    ab_random_init(&random, 3);
    for (int distribution = 0; distribution < 7; distribution++) {
        struct sketch sketch;
        for (uint32_t i = 0; i < VALUES; i++) {
            values[i] = draw(&random, distribution);
        }
        sketch_init(&sketch, AB_PRIMITIVE_QUANTILES, AB_TYPE_DOUBLE, 0);
        sketch_add_numbers(&sketch, values, VALUES, 1, NULL);
        qsort(values, VALUES, sizeof(*values), double_compare);
        for (uint64_t q = 0; q <= 1000; q++) {
            double exact = values[q * (VALUES - 1) / 1000];
            double found = 0;
            assert_true(ab_primitive_quantile(sketch.words, q, 1000, &found));
            assert_true(fabs(found - exact) <= AB_QUANTILES_ERROR * fabs(exact) * (1 + 1e-14));
        }
        assert_int_equal(ab_primitive_quantiles_count(sketch.words), VALUES);
        sketch_fini(&sketch);
    }
    ab_delete(values);
}

static void test_quantiles_order_special_values(void **state)
{
    (void)state;
    static const double values[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 5e-324, -2e-308, 1.7976931348623157e308,
        -1.7976931348623157e308, 2.2250738585072014e-308, -NAN};
    static const double sorted[] = {-INFINITY, -1.7976931348623157e308, 0, 0, 0, 0, 2.2250738585072014e-308,
        1.7976931348623157e308, INFINITY, NAN, NAN};
    struct sketch sketch;
    sketch_init(&sketch, AB_PRIMITIVE_QUANTILES, AB_TYPE_DOUBLE, 0);
    double found = 7;
    assert_false(ab_primitive_quantile(sketch.words, 1, 2, &found));
    assert_true(found == 7);
    sketch_add_numbers(&sketch, values, 11, 1, NULL);
    for (uint64_t i = 0; i < 11; i++) {
        assert_true(ab_primitive_quantile(sketch.words, i, 10, &found));
        if (sorted[i] != sorted[i]) {
            assert_true(found != found);
        } else if (isinf(sorted[i]) || sorted[i] == 0) {
            assert_true(found == sorted[i]);
        } else {
            assert_true(isfinite(found) && fabs(found / sorted[i] - 1) <= AB_QUANTILES_ERROR * (1 + 1e-14));
        }
    }
    sketch_fini(&sketch);
}

/* Two bins of counts that no rows could give still answer. */
static void test_quantiles_of_saturated_counts_answer(void **state)
{
    (void)state;
    static const uint8_t most[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    struct ab_buffer payload = {0};
    struct sketch sketch;
    uint8_t type_kind;
    double found = 0;
    ab_buffer_put_varint(&payload, 2 * 65472); /* 1.0 is bin 1023 * 64 */
    ab_buffer_put(&payload, most, sizeof(most));
    ab_buffer_put_varint(&payload, 64);
    ab_buffer_put(&payload, most, sizeof(most));
    assert_ok(ab_primitive_quantiles.validate(ab_buffer_view(&payload), &type_kind));
    sketch_init(&sketch, AB_PRIMITIVE_QUANTILES, AB_TYPE_DOUBLE, 0);
    for (int i = 0; i < 2; i++) {
        ab_primitive_quantiles.absorb(&sketch.context, sketch.words, ab_buffer_view(&payload));
    }
    assert_true(ab_primitive_quantile(sketch.words, 0, 1, &found) && fabs(found - 1) < 0.01);
    assert_true(ab_primitive_quantile(sketch.words, 999999999999999999, 1000000000000000000, &found));
    assert_true(fabs(found - 2) < 0.02);
    struct ab_buffer again = {0};
    sketch_encode(&sketch, &again);
    assert_true(ab_bytes_equal(ab_buffer_view(&again), ab_buffer_view(&payload)));
    sketch_fini(&sketch);
    ab_buffer_fini(&payload);
    ab_buffer_fini(&again);
}

static void test_quantiles_refuse_wrong_payloads(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[8];
        size_t count;
    } wrong[] = {
        {{0x00, 0x00}, 2},                         /* a count of 0 */
        {{0x00, 0x01, 0x00, 0x01}, 4},             /* a bin twice */
        {{0x02, 0x01}, 2},                         /* bin -1: subnormal, so there is none */
        {{0x00}, 1},                               /* no count */
        {{0x00, 0x81, 0x00}, 3},                   /* a long varint */
        {{0x84, 0xff, 0x0f, 0x01}, 4},             /* 131,010: above NaN */
        {{0x83, 0xff, 0x0f, 0x01}, 4},             /* -131,010 */
        {{0x00, 0x01, 0x82, 0x80, 0x20, 0x01}, 6}, /* too far */
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t type_kind;
        assert_int_equal(
            ab_primitive_quantiles.validate(ab_bytes_of(wrong[i].bytes, wrong[i].count), &type_kind), AB_CORRUPT);
    }
}

/* The format: 1.0 twice, -2.5, 0 and infinity. */
static void test_quantiles_have_golden_bytes(void **state)
{
    (void)state;
    static const double values[] = {1.0, -2.5, 0.0, INFINITY, 1.0};
    static const uint8_t golden[] = {
        0x9f, 0x80, 0x08, 0x01, 0x90, 0x80, 0x04, 0x01, 0xc0, 0xff, 0x03, 0x02, 0x80, 0x80, 0x04, 0x01};
    struct sketch sketch;
    struct ab_buffer payload = {0};
    sketch_init(&sketch, AB_PRIMITIVE_QUANTILES, AB_TYPE_DOUBLE, 0);
    sketch_add_numbers(&sketch, values, 5, 1, NULL);
    sketch_encode(&sketch, &payload);
    assert_int_equal(payload.bytes, sizeof(golden));
    assert_memory_equal(payload.data, golden, sizeof(golden));
    sketch_fini(&sketch);
    ab_buffer_fini(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_stay_within_their_error),
        cmocka_unit_test(test_quantiles_order_special_values),
        cmocka_unit_test(test_quantiles_of_saturated_counts_answer),
        cmocka_unit_test(test_quantiles_refuse_wrong_payloads),
        cmocka_unit_test(test_quantiles_have_golden_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
