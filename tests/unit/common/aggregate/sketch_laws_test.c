/* What holds for every sketch: it is a commutative monoid with canonical bytes, whatever the order and the split of
 * rows; damaged payloads are refused; what is charged is given back. */
#include "tests/unit/common/aggregate/sketch_support.h"

#include "common/aggregate/primitive_top_k.h"
#include "common/base/hash.h"

/* A kind over values of a shape. */
struct law_case {
    uint8_t kind;
    uint32_t column;
    int64_t parameter;
};

static const struct law_case cases[] = {
    {AB_PRIMITIVE_QUANTILES, COLUMN_D, 0},
    {AB_PRIMITIVE_QUANTILES, COLUMN_B, 0},
    {AB_PRIMITIVE_QUANTILES, COLUMN_M, 0},
    {AB_PRIMITIVE_TOP_K, COLUMN_T, 0},
    {AB_PRIMITIVE_TOP_K, COLUMN_B, 0},
    {AB_PRIMITIVE_TOP_K, COLUMN_M, 0},
    {AB_PRIMITIVE_TOP_K, COLUMN_D, 0},
    {AB_PRIMITIVE_TOP_K, COLUMN_F, 0},
    {AB_PRIMITIVE_THETA, COLUMN_T, 0},
    {AB_PRIMITIVE_THETA, COLUMN_B, 0},
    {AB_PRIMITIVE_BLOOM, COLUMN_T, 100},
    {AB_PRIMITIVE_BLOOM, COLUMN_B, 1000},
    {AB_PRIMITIVE_SAMPLE, COLUMN_T, 7},
    {AB_PRIMITIVE_SAMPLE, COLUMN_D, 30},
    {AB_PRIMITIVE_SAMPLE, COLUMN_M, 200},
    {AB_PRIMITIVE_DECAYED_SUM, COLUMN_D, AB_US_PER_HOUR},
    {AB_PRIMITIVE_DECAYED_SUM, COLUMN_B, 7},
    {AB_PRIMITIVE_DECAYED_SUM, COLUMN_M, AB_US_PER_SECOND * 40},
    {AB_PRIMITIVE_DECAYED_COUNT, COLUMN_B, AB_US_PER_MINUTE},
};

#define ROWS 200
#define PARTS 4

/* Rows in an order, cut at bounds, fed to PARTS states and merged in some tree: the bytes are those of one pass. */
static void laws_hold(struct ab_random *random, const struct law_case *law, const struct ab_column *column,
    const struct ab_primitive_identity *identity, uint32_t rows_count)
{
    uint32_t *order = ab_new_array(uint32_t, rows_count);
    uint8_t type_kind = column->type.kind;
    struct sketch whole;
    test_shuffle(random, order, rows_count);
    sketch_init(&whole, law->kind, type_kind, law->parameter);
    sketch_update(&whole, column, identity, order, rows_count);
    for (int form = 0; form < 4; form++) {
        struct sketch parts[PARTS];
        uint32_t first = (uint32_t)ab_random_below(random, rows_count);
        uint32_t second = first + (uint32_t)ab_random_below(random, rows_count - first);
        const uint32_t bounds[] = {0, first, second, rows_count, rows_count};
        test_shuffle(random, order, rows_count);
        for (int i = 0; i < PARTS; i++) {
            sketch_init(&parts[i], law->kind, type_kind, law->parameter);
            sketch_update(&parts[i], column, identity, order + bounds[i], bounds[i + 1] - bounds[i]);
        }
        const int *merges = form < 2 ? (const int[]){0, 1, 0, 3, 0, 2} : (const int[]){1, 3, 2, 1, 0, 2};
        for (int i = 0; i < 6; i += 2) {
            sketch_merge(&parts[merges[i]], &parts[merges[i + 1]], form % 2 == 0);
        }
        sketch_expect_equal(&parts[0], &whole);
        for (int i = 0; i < PARTS; i++) {
            sketch_fini(&parts[i]);
        }
    }
    sketch_fini(&whole);
    ab_delete(order);
}

static void test_sketches_are_commutative_monoids_with_canonical_bytes(void **state)
{
    (void)state;
    struct ab_random random;
    static struct test_row rows[ROWS];
    uint32_t all[ROWS];
    ab_random_init(&random, 23);
    for (int round = 0; round < 30; round++) {
        const struct test_shape shape = {.keys = 60, .hours = 300, .has_specials = round % 2 == 0};
        struct test_columns columns;
        for (uint32_t i = 0; i < ROWS; i++) {
            test_row_random(&random, &shape, &rows[i]);
            all[i] = i;
        }
        test_columns_init(&columns, rows, all, ROWS);
        struct ab_primitive_identity identity = {.times = columns.columns[COLUMN_AT].values,
            .partition = 3,
            .offsets = columns.offsets,
            .ordinals = columns.ordinals};
        for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
            laws_hold(&random, &cases[c], &columns.columns[cases[c].column], &identity, ROWS);
        }
        test_columns_fini(&columns);
    }
}

/* Beyond exact capacities: many distinct numbers, in every form of merging. */
static void test_sketches_keep_the_laws_beyond_their_exact_capacity(void **state)
{
    (void)state;
    static const struct law_case large[] = {{AB_PRIMITIVE_QUANTILES, 0, 0}, {AB_PRIMITIVE_TOP_K, 0, 0},
        {AB_PRIMITIVE_THETA, 0, 0}, {AB_PRIMITIVE_BLOOM, 0, 2000}, {AB_PRIMITIVE_SAMPLE, 0, 1000},
        {AB_PRIMITIVE_DECAYED_SUM, 0, AB_US_PER_SECOND}};
    static const uint32_t counts[] = {4096, 4097, 8192, 8193, 30000};
    struct ab_random random;
    ab_random_init(&random, 5);
    for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
        int64_t *values = ab_new_array(int64_t, counts[n]);
        int64_t *times = ab_new_array(int64_t, counts[n]);
        for (uint32_t i = 0; i < counts[n]; i++) {
            /* All different up to 8,193; then also frequent ones. */
            values[i] = i < 8193 || i % 3 != 0 ? (int64_t)i * 7919 : (int64_t)(i % 5);
            times[i] = (int64_t)ab_random_below(&random, 600 * AB_US_PER_SECOND);
        }
        struct ab_column column = {.type = {.kind = AB_TYPE_BIGINT}, .rows_count = counts[n], .values = values};
        struct ab_primitive_identity identity = {.times = times, .partition = 9, .offset = 77};
        for (size_t c = 0; c < sizeof(large) / sizeof(large[0]); c++) {
            laws_hold(&random, &large[c], &column, &identity, counts[n]);
        }
        ab_delete(values);
        ab_delete(times);
    }
}

/* The format beyond the exact capacity: XXH3-128 of payloads of 30,000 rows, computed once. */
static void test_large_sketches_have_golden_digests(void **state)
{
    (void)state;
    static const struct {
        struct law_case law;
        const char *digest;
    } golden[] = {
        {{AB_PRIMITIVE_QUANTILES, 0, 0}, "ef378c0c29b05a687b5760ac30902890"},
        {{AB_PRIMITIVE_TOP_K, 0, 0}, "99dca8b0f2dad4e1e2663ebcf3573c3e"},
        {{AB_PRIMITIVE_THETA, 0, 0}, "deccedb624c01a5ab5768822222f79ea"},
        {{AB_PRIMITIVE_BLOOM, 0, 20000}, "e1533fb02bfa40f16ec8634f2c920eae"},
        {{AB_PRIMITIVE_SAMPLE, 0, 1000}, "e2515462b33bad91b42bbf260c403137"},
        {{AB_PRIMITIVE_DECAYED_SUM, 0, AB_US_PER_SECOND}, "12dc4ea18b2e734b3d16ebd0c4b7391e"},
        {{AB_PRIMITIVE_DECAYED_COUNT, 0, AB_US_PER_SECOND}, "8996225ac95db1451744a7fc85d19ada"},
    };
    enum { COUNT = 30000 };
    int64_t *values = ab_new_array(int64_t, COUNT);
    int64_t *times = ab_new_array(int64_t, COUNT);
    for (int64_t i = 0; i < COUNT; i++) {
        values[i] = i * i % 20011 * 1000003;
        times[i] = i * 12345;
    }
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
        struct sketch sketch;
        struct ab_buffer payload = {0};
        char text[33];
        sketch_init(&sketch, golden[i].law.kind, AB_TYPE_BIGINT, golden[i].law.parameter);
        sketch_add_numbers(&sketch, values, COUNT, 6, times);
        sketch_encode(&sketch, &payload);
        ab_hash128_format(ab_hash128(AB_HASH_CONTENT, ab_buffer_view(&payload)), text);
        assert_string_equal(text, golden[i].digest);
        sketch_fini(&sketch);
        ab_buffer_fini(&payload);
    }
    ab_delete(values);
    ab_delete(times);
}

static void test_sketches_without_rows_have_no_bytes(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct sketch sketch;
        struct sketch other;
        struct ab_buffer payload = {0};
        uint8_t type_kind = 77;
        sketch_init(&sketch, cases[c].kind, AB_TYPE_BIGINT, 10);
        sketch_init(&other, cases[c].kind, AB_TYPE_BIGINT, 10);
        sketch_merge(&sketch, &other, false);
        sketch_encode(&sketch, &payload);
        assert_int_equal(payload.bytes, 0);
        assert_ok(sketch_ops(&sketch)->validate(ab_buffer_view(&payload), &type_kind));
        assert_int_equal(type_kind, 0);
        sketch_ops(&sketch)->absorb(&sketch.context, sketch.words, ab_buffer_view(&payload));
        sketch_encode(&sketch, &payload);
        assert_int_equal(payload.bytes, 0);
        sketch_fini(&sketch);
        sketch_fini(&other);
        ab_buffer_fini(&payload);
    }
}

static void test_sketches_refuse_damaged_payloads(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 99);
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (uint32_t count = 1; count < 20000; count = count * 5 + 1) {
            static int64_t values[20000];
            static int64_t times[20000];
            for (uint32_t i = 0; i < count; i++) {
                values[i] = (int64_t)(i * i % 10007) - 300;
                times[i] = (int64_t)i * 1000003;
            }
            struct sketch sketch;
            sketch_init(&sketch, cases[c].kind, AB_TYPE_BIGINT, cases[c].parameter);
            sketch_add_numbers(&sketch, values, count, 5, times);
            assert_true(sketch_damage(&sketch, &random, 60) > 0);
            sketch_fini(&sketch);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sketches_are_commutative_monoids_with_canonical_bytes),
        cmocka_unit_test(test_sketches_keep_the_laws_beyond_their_exact_capacity),
        cmocka_unit_test(test_large_sketches_have_golden_digests),
        cmocka_unit_test(test_sketches_without_rows_have_no_bytes),
        cmocka_unit_test(test_sketches_refuse_damaged_payloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
