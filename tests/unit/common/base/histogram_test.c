#include "common/base/histogram.h"

#include "common/base/random.h"

#include "tests/support/test.h"

static void test_histogram_empty_is_zero(void **state)
{
    (void)state;
    struct ab_histogram *histogram = ab_new(struct ab_histogram);
    assert_true(ab_histogram_quantile(histogram, 0.5) == 0);
    ab_delete(histogram);
}

static void test_histogram_small_values_are_exact(void **state)
{
    (void)state;
    struct ab_histogram *histogram = ab_new(struct ab_histogram);
    for (uint64_t i = 1; i <= 100; i++) {
        ab_histogram_add(histogram, i);
    }
    assert_true(ab_histogram_quantile(histogram, 0.5) == 50);
    assert_true(ab_histogram_quantile(histogram, 0.0) == 1);
    assert_true(ab_histogram_quantile(histogram, 0.99) == 99);
    assert_true(ab_histogram_quantile(histogram, 1.0) == 100);
    assert_true(histogram->min == 1 && histogram->max == 100 && histogram->count == 100 && histogram->sum == 5050);
    ab_delete(histogram);
}

static void test_histogram_quantiles_are_within_their_error(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 9);
    for (int i = 0; i < 2000; i++) {
        struct ab_histogram *histogram = ab_new(struct ab_histogram);
        uint64_t value = ab_random_u64(&random) >> ab_random_below(&random, 64);
        ab_histogram_add(histogram, value);
        ab_histogram_add(histogram, UINT64_MAX);
        uint64_t found = ab_histogram_quantile(histogram, 0.5);
        assert_true(found >= value && found - value <= value / 64);
        ab_delete(histogram);
    }
}

static void test_histogram_merge_equals_adding_all(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 10);
    struct ab_histogram *parts = ab_new_array(struct ab_histogram, 3);
    struct ab_histogram *whole = ab_new(struct ab_histogram);
    struct ab_histogram *merged = ab_new(struct ab_histogram);
    for (int i = 0; i < 10000; i++) {
        uint64_t value = ab_random_below(&random, 1000000) + 5;
        ab_histogram_add(&parts[i % 2], value);
        ab_histogram_add(whole, value);
    }
    for (int i = 0; i < 3; i++) {
        ab_histogram_merge(merged, &parts[i]);
    }
    assert_memory_equal(merged, whole, sizeof(*whole));
    ab_delete(merged);
    ab_delete(whole);
    ab_delete(parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_empty_is_zero),
        cmocka_unit_test(test_histogram_small_values_are_exact),
        cmocka_unit_test(test_histogram_quantiles_are_within_their_error),
        cmocka_unit_test(test_histogram_merge_equals_adding_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
