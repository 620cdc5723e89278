/* theta, bloom and sample: estimates within their errors, no value denied, samples as likely as any other. */
#include "common/aggregate/primitive_bloom.h"
#include "common/aggregate/primitive_sample.h"
#include "common/aggregate/primitive_theta.h"
#include "tests/unit/common/aggregate/sketch_support.h"

/* Adds the numbers from .. from + count - 1. */
static void range_add(struct sketch *sketch, int64_t from, uint32_t count)
{
    int64_t *values = ab_new_array(int64_t, count);
    for (uint32_t i = 0; i < count; i++) {
        values[i] = (from + i) * 1000003;
    }
    sketch_add_numbers(sketch, values, count, (uint64_t)from, NULL);
    ab_delete(values);
}

/* ---- theta ---- */

static void test_theta_is_exact_up_to_its_sample(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 100, 4095, AB_THETA_SAMPLE};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct sketch sketch;
        sketch_init(&sketch, AB_PRIMITIVE_THETA, AB_TYPE_BIGINT, 0);
        for (int twice = 0; twice < 2; twice++) {
            range_add(&sketch, 5, counts[i]);
        }
        struct ab_theta_estimate estimate = ab_primitive_theta_value(sketch.words);
        assert_true(estimate.count == counts[i] && estimate.standard_error == 0.0);
        sketch_fini(&sketch);
    }
}

static void test_theta_stays_within_its_error(void **state)
{
    (void)state;
    static const uint32_t counts[] = {4097, 5000, 10000, 50000, 300000, 1000000};
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        double bias = 0;
        for (int64_t trial = 0; trial < 4; trial++) {
            struct sketch sketch;
            sketch_init(&sketch, AB_PRIMITIVE_THETA, AB_TYPE_BIGINT, 0);
            range_add(&sketch, trial << 32, counts[c]);
            struct ab_theta_estimate estimate = ab_primitive_theta_value(sketch.words);
            double error = estimate.count - counts[c];
            assert_true(fabs(error) <= 4 * estimate.standard_error + 1);
            assert_true(estimate.standard_error <= 0.0157 * estimate.count);
            bias += error / counts[c];
            sketch_fini(&sketch);
        }
        assert_true(fabs(bias / 4) < 0.025);
    }
}

static void test_theta_combines_sets_within_the_error(void **state)
{
    (void)state;
    /* Overlaps of a half, a tenth and none; one small set inside a large one; an exact one with a sampled one. */
    static const struct {
        uint32_t a;
        uint32_t b_from;
        uint32_t b;
    } shapes[] = {{100000, 50000, 100000}, {200000, 180000, 200000}, {50000, 60000, 50000}, {300000, 1000, 30000},
        {100000, 99000, 2000}, {3000, 1500, 1000}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct sketch a;
        struct sketch b;
        sketch_init(&a, AB_PRIMITIVE_THETA, AB_TYPE_BIGINT, 0);
        sketch_init(&b, AB_PRIMITIVE_THETA, AB_TYPE_BIGINT, 0);
        range_add(&a, 0, shapes[i].a);
        range_add(&b, shapes[i].b_from, shapes[i].b);
        uint32_t end = shapes[i].b_from + shapes[i].b;
        double both = shapes[i].b_from >= shapes[i].a ? 0 : (end < shapes[i].a ? end : shapes[i].a) - shapes[i].b_from;
        const double exact[] = {shapes[i].a + shapes[i].b - both, both, shapes[i].a - both};
        for (int operation = 0; operation < 3; operation++) {
            struct ab_theta_estimate found = ab_primitive_theta_combine(a.words, b.words, operation);
            assert_true(fabs(found.count - exact[operation]) <= 4 * found.standard_error);
        }
        sketch_fini(&a);
        sketch_fini(&b);
    }
}

/* ---- bloom ---- */

static bool has(const struct sketch *sketch, int64_t number)
{
    uint64_t hash;
    number *= 1000003;
    struct ab_column column = {.type = {.kind = AB_TYPE_BIGINT}, .rows_count = 1, .values = &number};
    ab_primitive_distinct_hashes(&column, &hash);
    return ab_primitive_bloom_has(sketch->words, hash);
}

static void test_bloom_denies_nothing_and_errs_as_stated(void **state)
{
    (void)state;
    static const uint32_t expected[] = {1, 100, 1000, 40000, 1000000};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        for (uint32_t share = 1; share <= 16; share *= 4) {
            uint32_t count = expected[i] / share;
            struct sketch sketch;
            sketch_init(&sketch, AB_PRIMITIVE_BLOOM, AB_TYPE_BIGINT, expected[i]);
            range_add(&sketch, 0, count);
            uint32_t wrong = 0;
            for (int64_t v = 0; v < count; v += 1 + count / 5000) {
                assert_true(has(&sketch, v));
            }
            for (int64_t v = 1; v <= 20000; v++) {
                wrong += has(&sketch, v << 22);
            }
            double error = ab_primitive_bloom_error(sketch.words);
            assert_true(error < 0.01 && wrong < 200 && fabs(wrong / 20000.0 - error) < 0.004);
            sketch_fini(&sketch);
        }
    }
}

static void test_bloom_is_exact_while_it_is_small(void **state)
{
    (void)state;
    struct sketch sketch;
    struct ab_buffer payload = {0};
    sketch_init(&sketch, AB_PRIMITIVE_BLOOM, AB_TYPE_BIGINT, 1000); /* 2^14 bits, 128 hashes */
    range_add(&sketch, 0, 128);
    sketch_encode(&sketch, &payload);
    assert_int_equal(payload.bytes, 2 + 128 * 8);
    assert_true(ab_primitive_bloom_error(sketch.words) == 0.0);
    range_add(&sketch, 128, 1);
    sketch_encode(&sketch, &payload);
    assert_int_equal(payload.bytes, 2 + (1 << 14) / 8);
    assert_true(ab_primitive_bloom_error(sketch.words) > 0.0);
    sketch_fini(&sketch);
    ab_buffer_fini(&payload);
}

static void test_sets_refuse_wrong_payloads(void **state)
{
    (void)state;
    static const struct {
        uint8_t kind;
        uint8_t bytes[20];
        size_t count;
    } wrong[] = {
        {AB_PRIMITIVE_THETA, {1, 0, 0, 0, 0, 0, 0}, 7}, {AB_PRIMITIVE_THETA, {0}, 8},        /* hash 0 */
        {AB_PRIMITIVE_THETA, {2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}, 16},          /* twice */
        {AB_PRIMITIVE_BLOOM, {10}, 1},                                                       /* no form */
        {AB_PRIMITIVE_BLOOM, {10, 1}, 2},                                                    /* no hash */
        {AB_PRIMITIVE_BLOOM, {9, 1, 1, 0, 0, 0, 0, 0, 0, 0}, 10},                            /* too few bits */
        {AB_PRIMITIVE_BLOOM, {25, 1, 1, 0, 0, 0, 0, 0, 0, 0}, 10},                           /* too many */
        {AB_PRIMITIVE_BLOOM, {10, 3, 1, 0, 0, 0, 0, 0, 0, 0}, 10},                           /* unknown form */
        {AB_PRIMITIVE_BLOOM, {10, 2, 1, 0, 0, 0, 0, 0, 0, 0}, 10},                           /* not 128 bytes */
        {AB_PRIMITIVE_SAMPLE, {AB_TYPE_BOOLEAN, 1}, 2},                                      /* no row */
        {AB_PRIMITIVE_SAMPLE, {AB_TYPE_BOOLEAN, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1}, 12},       /* k = 0 */
        {AB_PRIMITIVE_SAMPLE, {AB_TYPE_BOOLEAN, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2}, 12},       /* no boolean */
        {AB_PRIMITIVE_SAMPLE, {99, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1}, 12},                    /* unknown type */
        {AB_PRIMITIVE_SAMPLE, {AB_TYPE_BOOLEAN, 0xe9, 7, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1}, 13}, /* k = 1,001 */
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t type_kind;
        struct ab_bytes payload = ab_bytes_of(wrong[i].bytes, wrong[i].count);
        assert_int_equal(ab_primitive_ops_of(wrong[i].kind)->validate(payload, &type_kind), AB_CORRUPT);
    }
}

/* ---- sample ---- */

/* Each row of 200 is in samples of 10, at other offsets each time, about as often as any other. */
static void test_samples_are_uniform(void **state)
{
    (void)state;
    enum { ROWS = 200, TRIALS = 4000, K = 10 };
    int64_t values[ROWS];
    uint32_t seen[ROWS] = {0};
    for (int i = 0; i < ROWS; i++) {
        values[i] = i;
    }
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        struct sketch sketch;
        union ab_cell cells[AB_SAMPLE_MAX];
        sketch_init(&sketch, AB_PRIMITIVE_SAMPLE, AB_TYPE_BIGINT, K);
        sketch_add_numbers(&sketch, values, ROWS, trial, NULL);
        assert_int_equal(ab_primitive_sample(sketch.words, cells), K);
        for (int i = 0; i < K; i++) {
            seen[cells[i].word.low ^ UINT64_C(1) << 63]++;
        }
        sketch_fini(&sketch);
    }
    /* Expected 200 with a deviation of 13.8; chi-square of 199 degrees stays below 290. */
    double chi = 0;
    for (int i = 0; i < ROWS; i++) {
        double off = (double)seen[i] - 200.0;
        chi += off * off / 200.0;
    }
    assert_true(chi < 290 && chi > 110);
}

static void test_samples_are_all_rows_when_they_are_few(void **state)
{
    (void)state;
    static const int64_t values[] = {4, 4, 9};
    struct sketch sketch;
    union ab_cell cells[AB_SAMPLE_MAX];
    int64_t sum = 0;
    sketch_init(&sketch, AB_PRIMITIVE_SAMPLE, AB_TYPE_BIGINT, 5);
    assert_int_equal(ab_primitive_sample(sketch.words, cells), 0);
    sketch_add_numbers(&sketch, values, 3, 1, NULL);
    assert_int_equal(ab_primitive_sample(sketch.words, cells), 3);
    for (int i = 0; i < 3; i++) {
        sum += (int64_t)(cells[i].word.low ^ UINT64_C(1) << 63);
    }
    assert_int_equal(sum, 17);
    sketch_fini(&sketch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_theta_is_exact_up_to_its_sample),
        cmocka_unit_test(test_theta_stays_within_its_error),
        cmocka_unit_test(test_theta_combines_sets_within_the_error),
        cmocka_unit_test(test_bloom_denies_nothing_and_errs_as_stated),
        cmocka_unit_test(test_bloom_is_exact_while_it_is_small),
        cmocka_unit_test(test_sets_refuse_wrong_payloads),
        cmocka_unit_test(test_samples_are_uniform),
        cmocka_unit_test(test_samples_are_all_rows_when_they_are_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
