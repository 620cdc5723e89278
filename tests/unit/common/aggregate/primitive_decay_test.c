/* Decayed sums: the powers of two against long arithmetic, sums at any reference, special values, and old rows. */
#include "common/aggregate/primitive_decay.h"
#include "tests/unit/common/aggregate/sketch_support.h"

static void test_powers_are_within_their_error(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 12);
    long double most = 0;
    for (int i = 0; i < 300000; i++) {
        uint64_t whole = 1 + ab_random_below(&random, i % 2 == 0 ? 1000 : UINT64_C(1) << 58);
        uint64_t part = ab_random_below(&random, whole);
        double found = ab_decay_power(part, whole);
        long double exact = exp2l((long double)part / (long double)whole);
        assert_true(found >= 1.0 && found < 2.0);
        most = fmaxl(most, fabsl((long double)found - exact) * 0x1p52L);
    }
    /* 1.25 units in the last place. */
    if (most > 1.25L) {
        fail_msg("%Lg units in the last place", most);
    }
    assert_true(ab_decay_power(0, 7) == 1.0);
    assert_true(ab_decay_power(1, 2) == 0x1.6a09e667f3bcdp+0);
}

/* The same bits on every processor: of 10,000 powers, a checksum that was computed once. */
static void test_powers_are_the_same_everywhere(void **state)
{
    (void)state;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        double power = ab_decay_power(i * i * 7919 % 1000003, 1000003);
        uint64_t bits;
        memcpy(&bits, &power, sizeof(bits));
        sum = sum * 31 + bits;
    }
    assert_int_equal(sum, UINT64_C(0x5f92f7e8e0e71b89));
}

static double value_at(const struct sketch *sketch, ab_time_us reference)
{
    double value = -1;
    assert_true(ab_primitive_decay_value(&sketch->context, sketch->words, reference, &value));
    return value;
}

static void test_sums_decay_to_any_reference(void **state)
{
    (void)state;
    enum { ROWS = 3000 };
    static const int64_t half_lives[] = {1, 7, 1000, AB_US_PER_SECOND, AB_US_PER_HOUR, 365 * AB_US_PER_DAY};
    double values[ROWS];
    int64_t times[ROWS];
    struct ab_random random;
    ab_random_init(&random, 77);
    for (size_t h = 0; h < sizeof(half_lives) / sizeof(half_lives[0]); h++) {
        struct sketch sum;
        struct sketch count;
        double span = (double)half_lives[h] * 50;
        sketch_init(&sum, AB_PRIMITIVE_DECAYED_SUM, AB_TYPE_DOUBLE, half_lives[h]);
        sketch_init(&count, AB_PRIMITIVE_DECAYED_COUNT, AB_TYPE_DOUBLE, half_lives[h]);
        for (int i = 0; i < ROWS; i++) {
            values[i] = ab_random_unit(&random) * 1000 - 300;
            times[i] = (int64_t)((ab_random_unit(&random) - 0.5) * span);
        }
        sketch_add_numbers(&sum, values, ROWS, 1, times);
        sketch_add_numbers(&count, values, ROWS, 1, times);
        for (int r = -3; r <= 60; r += 9) {
            ab_time_us reference = (ab_time_us)(span / 2 + (double)r * (double)half_lives[h] / 3);
            double expected = 0;
            double weights = 0;
            for (int i = 0; i < ROWS; i++) {
                double weight = exp2(-(double)(reference - times[i]) / (double)half_lives[h]);
                expected += values[i] * weight;
                weights += weight;
            }
            assert_true(fabs(value_at(&sum, reference) - expected) <= 1e-11 * 1000 * weights);
            assert_true(fabs(value_at(&count, reference) - weights) <= 1e-11 * weights);
        }
        sketch_fini(&sum);
        sketch_fini(&count);
    }
}

static void test_references_far_away_give_nothing_or_too_much(void **state)
{
    (void)state;
    static const double one = 1.0;
    static const int64_t time = 0;
    ab_time_us latest = 5;
    struct sketch sketch;
    sketch_init(&sketch, AB_PRIMITIVE_DECAYED_SUM, AB_TYPE_DOUBLE, 1);
    assert_false(ab_primitive_decay_value(&sketch.context, sketch.words, 0, &(double){0}));
    assert_false(ab_primitive_decay_latest(sketch.words, &latest));
    sketch_add_numbers(&sketch, &one, 1, 1, &time);
    assert_true(value_at(&sketch, 0) == 1.0);
    assert_true(value_at(&sketch, 1) == 0.5);
    assert_true(value_at(&sketch, 1074) == 0x1p-1074);
    assert_true(value_at(&sketch, 1076) == 0.0);
    assert_true(value_at(&sketch, INT64_MAX) == 0.0);
    assert_true(value_at(&sketch, -1023) == 0x1p1023);
    assert_true(isinf(value_at(&sketch, INT64_MIN)));
    assert_true(ab_primitive_decay_latest(sketch.words, &latest) && latest == 0);
    sketch_fini(&sketch);
}

static void test_special_values_stay_special(void **state)
{
    (void)state;
    static const double values[] = {1.0, INFINITY, 3.0, -INFINITY};
    static const int64_t times[] = {INT64_MIN, INT64_MAX - 5, INT64_MAX, 1};
    struct sketch sketch;
    sketch_init(&sketch, AB_PRIMITIVE_DECAYED_SUM, AB_TYPE_DOUBLE, AB_DECAY_HALF_LIFE_MAX_US);
    sketch_add_numbers(&sketch, values, 1, 1, times);
    assert_true(isfinite(value_at(&sketch, 0)));
    sketch_add_numbers(&sketch, values, 3, 2, times);
    assert_true(isinf(value_at(&sketch, 0)) && value_at(&sketch, 0) > 0);
    sketch_add_numbers(&sketch, values + 3, 1, 3, times + 2);
    assert_true(value_at(&sketch, 0) != value_at(&sketch, 0));
    sketch_fini(&sketch);
}

/* Rows of far more half-lives than buckets, in a random order: the oldest are dropped, whenever they come. */
static void test_old_buckets_are_dropped_in_any_order(void **state)
{
    (void)state;
    enum { ROWS = 2000 };
    double values[ROWS];
    int64_t times[ROWS];
    uint32_t order[ROWS];
    struct ab_random random;
    struct ab_buffer payload = {0};
    struct sketch first;
    ab_random_init(&random, 1);
    for (int i = 0; i < ROWS; i++) {
        values[i] = ab_random_unit(&random);
        times[i] = i * 10 + 3;
    }
    struct ab_column column = {.type = {.kind = AB_TYPE_DOUBLE}, .rows_count = ROWS, .values = values};
    struct ab_primitive_identity identity = {.times = times};
    sketch_init(&first, AB_PRIMITIVE_DECAYED_SUM, AB_TYPE_DOUBLE, 10);
    sketch_add_numbers(&first, values, ROWS, 1, times);
    sketch_encode(&first, &payload);
    assert_true(payload.bytes < AB_DECAY_BUCKETS_MAX * 14);
    for (int round = 0; round < 5; round++) {
        struct sketch other;
        test_shuffle(&random, order, ROWS);
        sketch_init(&other, AB_PRIMITIVE_DECAYED_SUM, AB_TYPE_DOUBLE, 10);
        sketch_update(&other, &column, &identity, order, ROWS);
        sketch_expect_equal(&first, &other);
        sketch_fini(&other);
    }
    sketch_fini(&first);
    ab_buffer_fini(&payload);
}

static void test_decay_refuses_wrong_payloads(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[32];
        size_t count;
    } wrong[] = {
        {{0, 0, 0, 1, 0}, 5},                   /* a half-life of 0 */
        {{1, 0}, 2},                            /* no bucket */
        {{1, 0, 1, 1, 0}, 5},                   /* the latest bucket is missing */
        {{1, 0, 0, 1, 0, 0, 1, 0}, 8},          /* a bucket twice */
        {{1, 0, 0, 1, 0, 0x80, 0x02, 1, 0}, 9}, /* 256 buckets back */
        {{1, 0, 0, 1, 16}, 5},                  /* an unknown flag of the sum */
        {{1, 0, 0, 2, 0}, 5},                   /* cut */
        {{0x81, 0, 0, 0, 1, 0}, 6},             /* a long varint */
        {{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 1, 0, 1, 1, 0}, 17}, /* before time itself */
    };
    static const uint8_t right[] = {1, 0, 0, 1, 0, 0xff, 0x01, 1, 0};
    uint8_t type_kind;
    assert_ok(ab_primitive_decayed_sum.validate(ab_bytes_of(right, sizeof(right)), &type_kind));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(
            ab_primitive_decayed_sum.validate(ab_bytes_of(wrong[i].bytes, wrong[i].count), &type_kind), AB_CORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_powers_are_within_their_error),
        cmocka_unit_test(test_powers_are_the_same_everywhere),
        cmocka_unit_test(test_sums_decay_to_any_reference),
        cmocka_unit_test(test_references_far_away_give_nothing_or_too_much),
        cmocka_unit_test(test_special_values_stay_special),
        cmocka_unit_test(test_old_buckets_are_dropped_in_any_order),
        cmocka_unit_test(test_decay_refuses_wrong_payloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
