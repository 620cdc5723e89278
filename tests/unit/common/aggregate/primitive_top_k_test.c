/* top_k: exact up to its bound; beyond, the frequent values are found and their counts within the stated error, on
 * several distributions; and the form depends on the set of rows alone. */
#include "common/aggregate/primitive_top_k.h"
#include "tests/unit/common/aggregate/sketch_support.h"

#define CHUNK 4096u

/* Adds `count` rows of value_of(i), in chunks; exact counts beside. */
static void feed(struct sketch *sketch, const int64_t *values, uint32_t count)
{
    for (uint32_t at = 0; at < count; at += CHUNK) {
        uint32_t size = count - at < CHUNK ? count - at : CHUNK;
        sketch_add_numbers(sketch, values + at, size, at / CHUNK, NULL);
    }
}

static int64_t number_of(const struct ab_top_k_item *item)
{
    return (int64_t)(item->cell.word.low ^ UINT64_C(1) << 63);
}

static void test_top_k_is_exact_up_to_its_bound(void **state)
{
    (void)state;
    /* Value v comes 1 + (8192 - v) / 1000 times. */
    int64_t *values = ab_new_array(int64_t, AB_TOP_K_EXACT_MAX * 10);
    uint32_t count = 0;
    for (int64_t v = 0; v < AB_TOP_K_EXACT_MAX; v++) {
        for (int64_t i = 0; i <= (8192 - v) / 1000; i++) {
            values[count++] = v;
        }
    }
    struct sketch sketch;
    struct ab_top_k_item items[AB_TOP_K_MAX];
    uint64_t error = 1;
    sketch_init(&sketch, AB_PRIMITIVE_TOP_K, AB_TYPE_BIGINT, 0);
    feed(&sketch, values, count);
    assert_int_equal(ab_primitive_top_k(sketch.words, AB_TOP_K_MAX, items, &error), AB_TOP_K_MAX);
    assert_int_equal(error, 0);
    assert_true(ab_primitive_top_k_error(sketch.words) == 0.0);
    /* The most frequent first, equal counts by value. */
    for (int64_t i = 0; i < AB_TOP_K_MAX; i++) {
        assert_int_equal(number_of(&items[i]), i);
        assert_int_equal(items[i].count, 1 + (8192 - i) / 1000);
    }
    values[0] = 100000;
    sketch_add_numbers(&sketch, values, 1, 9999, NULL);
    assert_true(ab_primitive_top_k_error(sketch.words) == AB_TOP_K_ERROR);
    sketch_fini(&sketch);
    ab_delete(values);
}

/* Zipf of an exponent over a million values by inversion of the continuous law; or uniform with ten frequent ones. */
static int64_t draw(struct ab_random *random, int distribution)
{
    double u = ab_random_unit(random);
    double most = 1e6;
    switch (distribution) {
    case 0:
        return (int64_t)pow(most, u); /* exponent 1 */
    case 1:
        return (int64_t)pow(1 - u * (1 - pow(most, -0.3)), -1 / 0.3); /* 1.3 */
    default:
        return u < 0.1 ? (int64_t)(u * 100) : (int64_t)(u * 1e9); /* ten values of one percent each */
    }
}

static int64_t exact_count(const int64_t *values, uint32_t count, int64_t wanted)
{
    int64_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        found += values[i] == wanted;
    }
    return found;
}

static void test_top_k_stays_within_its_error(void **state)
{
    (void)state;
    enum { COUNT = 400000 };
    int64_t *values = ab_new_array(int64_t, COUNT);
    struct ab_random random;
    ab_random_init(&random, 8);
    for (int distribution = 0; distribution < 3; distribution++) {
        struct sketch sketch;
        struct ab_top_k_item items[100];
        uint64_t error = 0;
        for (uint32_t i = 0; i < COUNT; i++) {
            values[i] = draw(&random, distribution);
        }
        sketch_init(&sketch, AB_PRIMITIVE_TOP_K, AB_TYPE_BIGINT, 0);
        feed(&sketch, values, COUNT);
        assert_int_equal(ab_primitive_top_k(sketch.words, 100, items, &error), 100);
        assert_int_equal(error, (uint64_t)(AB_TOP_K_ERROR * COUNT + 1));
        uint32_t beyond = 0;
        for (uint32_t i = 0; i < 100; i++) {
            int64_t exact = exact_count(values, COUNT, number_of(&items[i]));
            assert_true(exact <= (int64_t)items[i].count);
            beyond += items[i].count - (uint64_t)exact > error;
        }
        assert_true(beyond <= 2);
        /* Every value of at least one percent is there, before all that have less by more than the error. */
        for (int64_t v = 0; v < 50; v++) {
            int64_t exact = exact_count(values, COUNT, v);
            bool is_there = false;
            for (uint32_t i = 0; i < 100; i++) {
                is_there |= number_of(&items[i]) == v;
            }
            assert_true(is_there || exact < COUNT / 100);
        }
        sketch_fini(&sketch);
    }
    ab_delete(values);
}

static void test_top_k_form_depends_on_the_rows_alone(void **state)
{
    (void)state;
    int64_t values[12000];
    struct sketch whole;
    struct sketch left;
    struct sketch right;
    for (uint32_t i = 0; i < 12000; i++) {
        values[i] = (int64_t)i % 10000;
    }
    sketch_init(&whole, AB_PRIMITIVE_TOP_K, AB_TYPE_BIGINT, 0);
    sketch_init(&left, AB_PRIMITIVE_TOP_K, AB_TYPE_BIGINT, 0);
    sketch_init(&right, AB_PRIMITIVE_TOP_K, AB_TYPE_BIGINT, 0);
    /* Halves that are exact, of one whole that is not; row identities as in the whole. */
    sketch_add_numbers(&left, values, 6000, 0, NULL);
    sketch_add_numbers(&right, values + 6000, 6000, 1, NULL);
    sketch_add_numbers(&whole, values + 6000, 6000, 1, NULL);
    sketch_add_numbers(&whole, values, 6000, 0, NULL);
    assert_true(ab_primitive_top_k_error(left.words) == 0.0 && ab_primitive_top_k_error(right.words) == 0.0);
    sketch_merge(&left, &right, false);
    assert_true(ab_primitive_top_k_error(left.words) > 0.0);
    sketch_expect_equal(&left, &whole);
    sketch_fini(&left);
    sketch_fini(&right);
    sketch_fini(&whole);
}

/* A sketch whose rows of counters do not count the same rows is refused, and so is a value that is not sorted. */
static void test_top_k_refuses_what_does_not_fit_together(void **state)
{
    (void)state;
    int64_t values[9000];
    struct sketch sketch;
    struct ab_buffer payload = {0};
    uint8_t type_kind;
    for (uint32_t i = 0; i < 9000; i++) {
        values[i] = i;
    }
    sketch_init(&sketch, AB_PRIMITIVE_TOP_K, AB_TYPE_BIGINT, 0);
    sketch_add_numbers(&sketch, values, 9000, 0, NULL);
    sketch_encode(&sketch, &payload);
    assert_ok(ab_primitive_top_k_ops.validate(ab_buffer_view(&payload), &type_kind));
    assert_int_equal(type_kind, AB_TYPE_BIGINT);
    payload.data[2]++;
    assert_int_equal(ab_primitive_top_k_ops.validate(ab_buffer_view(&payload), &type_kind), AB_CORRUPT);
    payload.data[2]--;
    payload.data[1] = AB_TYPE_BOOLEAN;
    assert_int_equal(ab_primitive_top_k_ops.validate(ab_buffer_view(&payload), &type_kind), AB_CORRUPT);
    payload.data[1] = AB_TYPE_BIGINT;
    /* 2,047 values: one less than a sample has. */
    struct ab_bytes cut = ab_bytes_of(payload.data, payload.bytes - 17);
    assert_int_equal(ab_primitive_top_k_ops.validate(cut, &type_kind), AB_CORRUPT);
    sketch_fini(&sketch);
    ab_buffer_fini(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top_k_is_exact_up_to_its_bound),
        cmocka_unit_test(test_top_k_stays_within_its_error),
        cmocka_unit_test(test_top_k_form_depends_on_the_rows_alone),
        cmocka_unit_test(test_top_k_refuses_what_does_not_fit_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
