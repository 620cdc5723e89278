#include "common/base/random.h"

#include "tests/support/test.h"

static void test_random_is_repeatable(void **state)
{
    (void)state;
    struct ab_random a;
    struct ab_random b;
    struct ab_random other;
    ab_random_init(&a, 42);
    ab_random_init(&b, 42);
    ab_random_init(&other, 43);
    bool differs = false;
    for (int i = 0; i < 1000; i++) {
        uint64_t number = ab_random_u64(&a);
        assert_true(number == ab_random_u64(&b));
        differs |= number != ab_random_u64(&other);
    }
    assert_true(differs);
}

static void test_random_matches_the_published_generator(void **state)
{
    (void)state;
    /* xoshiro256** from the state {1, 2, 3, 4}, by hand: rotl(2 * 5, 7) * 9 = 1280 * 9. */
    struct ab_random random = {.state = {1, 2, 3, 4}};
    assert_true(ab_random_u64(&random) == 11520);
    assert_true(ab_random_u64(&random) == 0);
    assert_true(ab_random_u64(&random) == 1509978240);
}

static void test_random_below_covers_its_range_evenly(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 1);
    unsigned counts[10] = {0};
    for (int i = 0; i < 100000; i++) {
        counts[ab_random_below(&random, 10)]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
    assert_true(ab_random_below(&random, 1) == 0);
    assert_true(ab_random_below(&random, UINT64_MAX) < UINT64_MAX);
}

static void test_random_unit_is_in_range(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 2);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double number = ab_random_unit(&random);
        assert_true(number >= 0 && number < 1);
        sum += number;
    }
    assert_true(sum > 49000 && sum < 51000);
}

static void test_random_ids_differ(void **state)
{
    (void)state;
    uint64_t first = ab_random_id();
    assert_true(first != 0);
    assert_true(first != ab_random_id());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_is_repeatable),
        cmocka_unit_test(test_random_matches_the_published_generator),
        cmocka_unit_test(test_random_below_covers_its_range_evenly),
        cmocka_unit_test(test_random_unit_is_in_range),
        cmocka_unit_test(test_random_ids_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
