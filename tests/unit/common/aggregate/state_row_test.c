/* Encoded rows: what is malformed is refused, nothing crashes, and nothing that is accepted has a second form. */
#include "common/aggregate/state_row.h"
#include "common/aggregate/primitive.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define ROWS 12
#define VIEWS_SQL TEST_STREAM TEST_VIEW_EVERYTHING TEST_VIEW_FAMILY
#define VIEWS_COUNT 2

/* An encoded row of one group; the views have every primitive between them. */
static void row_make(uint32_t view, uint64_t seed, struct ab_buffer *key_out, struct ab_buffer *row_out)
{
    const struct test_shape shape = {.keys = 1, .hours = 1, .has_specials = true};
    static struct test_row rows[ROWS];
    uint32_t all[ROWS];
    struct ab_random random;
    struct ab_bytes key;
    struct ab_bytes row;
    ab_random_init(&random, seed);
    for (uint32_t i = 0; i < ROWS; i++) {
        test_row_random(&random, &shape, &rows[i]);
        rows[i].values[COLUMN_K].is_null = false;
        rows[i].values[COLUMN_T].is_null = false;
        all[i] = i;
    }
    struct ab_catalog *catalog = test_catalog(VIEWS_SQL);
    struct ab_aggregation *aggregation = test_aggregation(&catalog->views[view]);
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    test_update(table, rows, all, ROWS, NULL);
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    assert_true(ab_group_cursor_next(cursor, &key, &row));
    ab_buffer_put_bytes(key_out, key);
    ab_buffer_put_bytes(row_out, row);
    ab_group_cursor_close(cursor);
    ab_group_table_destroy(table);
    ab_aggregation_destroy(aggregation);
    ab_catalog_release(catalog);
}

static void expect_truncated_is_corrupt(uint32_t view)
{
    struct ab_buffer key = {0};
    struct ab_buffer row = {0};
    struct ab_buffer out = {0};
    row_make(view, 1, &key, &row);
    assert_ok(ab_state_row_validate(ab_buffer_view(&row)));
    for (size_t bytes = 0; bytes < row.bytes; bytes++) {
        uint8_t *copy = ab_new_bytes(bytes);
        memcpy(copy, row.data, bytes);
        struct ab_bytes cut = ab_bytes_of(copy, bytes);
        assert_int_equal(ab_state_row_validate(cut), AB_CORRUPT);
        assert_int_equal(ab_state_row_merge(ab_buffer_view(&row), &cut, 1, &out, NULL), AB_CORRUPT);
        assert_int_equal(out.bytes, 0);
        ab_delete(copy);
    }
    ab_buffer_put_u8(&row, 0);
    assert_int_equal(ab_state_row_validate(ab_buffer_view(&row)), AB_CORRUPT);
    ab_buffer_fini(&key);
    ab_buffer_fini(&row);
    ab_buffer_fini(&out);
}

static void test_row_truncated_anywhere_is_corrupt(void **state)
{
    (void)state;
    for (uint32_t view = 0; view < VIEWS_COUNT; view++) {
        expect_truncated_is_corrupt(view);
    }
}

/* A flipped row is refused, or it is another row with one form: merging it with nothing gives it back. */
static void expect_flipped_is_corrupt_or_canonical(uint32_t view)
{
    struct ab_buffer key = {0};
    struct ab_buffer row = {0};
    struct ab_buffer out = {0};
    row_make(view, 2, &key, &row);
    struct ab_bytes flipped = ab_buffer_view(&row);
    size_t step = view == 0 ? 1 : 7; /* the second view's row is long */
    for (size_t bit = 0; bit < row.bytes * 8; bit += step) {
        row.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ab_err err = ab_state_row_validate(flipped);
        assert_int_equal(ab_state_row_merge((struct ab_bytes){0}, &flipped, 1, &out, NULL), err);
        if (err == AB_OK) {
            assert_true(ab_bytes_equal(ab_buffer_view(&out), flipped));
            ab_buffer_clear(&out);
            ab_state_row_print(flipped, &out);
        }
        row.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ab_buffer_fini(&key);
    ab_buffer_fini(&row);
    ab_buffer_fini(&out);
}

static void test_row_with_flipped_bits_is_corrupt_or_canonical(void **state)
{
    (void)state;
    for (uint32_t view = 0; view < VIEWS_COUNT; view++) {
        expect_flipped_is_corrupt_or_canonical(view);
    }
}

static void test_rows_of_different_primitives_do_not_merge(void **state)
{
    (void)state;
    const uint8_t count_only[] = {1, 1, AB_PRIMITIVE_COUNT, 1, 5};
    const uint8_t min_bigint[] = {
        1, 2, AB_PRIMITIVE_COUNT, 1, 5, AB_PRIMITIVE_MIN, 9, AB_TYPE_BIGINT, 128, 0, 0, 0, 0, 0, 0, 9};
    const uint8_t min_boolean[] = {1, 2, AB_PRIMITIVE_COUNT, 1, 5, AB_PRIMITIVE_MIN, 2, AB_TYPE_BOOLEAN, 1};
    const uint8_t min_nothing[] = {1, 2, AB_PRIMITIVE_COUNT, 0, AB_PRIMITIVE_MIN, 0};
    const uint8_t no_count[] = {1, 1, AB_PRIMITIVE_MIN, 0};
    struct ab_bytes bigint = ab_bytes_of(min_bigint, sizeof(min_bigint));
    struct ab_bytes nothing = ab_bytes_of(min_nothing, sizeof(min_nothing));
    struct ab_bytes other = ab_bytes_of(count_only, sizeof(count_only));
    struct ab_buffer out = {0};
    assert_ok(ab_state_row_merge(bigint, &nothing, 1, &out, NULL));
    assert_true(ab_bytes_equal(ab_buffer_view(&out), bigint));
    assert_int_equal(ab_state_row_merge(bigint, &other, 1, &out, NULL), AB_CORRUPT);
    other = ab_bytes_of(min_boolean, sizeof(min_boolean));
    assert_int_equal(ab_state_row_merge(bigint, &other, 1, &out, NULL), AB_CORRUPT);
    other = ab_bytes_of(no_count, sizeof(no_count));
    assert_int_equal(ab_state_row_validate(other), AB_CORRUPT);
    assert_int_equal(ab_state_row_merge((struct ab_bytes){0}, NULL, 0, &out, NULL), AB_CORRUPT);
    uint64_t rows = 0;
    assert_ok(ab_state_row_rows(bigint, &rows));
    assert_int_equal(rows, 5);
    ab_buffer_fini(&out);
}

/* Equal kinds with other parameters or types are other primitives. */
static void test_rows_of_different_heads_do_not_merge(void **state)
{
    (void)state;
    static const uint8_t rows[][24] = {
        {1, 2, AB_PRIMITIVE_COUNT, 1, 5, AB_PRIMITIVE_LARGEST, 3, AB_TYPE_BOOLEAN, 3, 1},
        {1, 2, AB_PRIMITIVE_COUNT, 1, 5, AB_PRIMITIVE_LARGEST, 3, AB_TYPE_BOOLEAN, 4, 1},
        {1, 2, AB_PRIMITIVE_COUNT, 1, 5, AB_PRIMITIVE_HISTOGRAM, 11, 1, 7, 0, 0, 0, 0, 0, 0, 0, 1, 2},
        {1, 2, AB_PRIMITIVE_COUNT, 1, 5, AB_PRIMITIVE_HISTOGRAM, 11, 1, 8, 0, 0, 0, 0, 0, 0, 0, 1, 2},
        {1, 2, AB_PRIMITIVE_COUNT, 1, 5, AB_PRIMITIVE_LARGEST, 0},
        {1, 2, AB_PRIMITIVE_COUNT, 1, 5, AB_PRIMITIVE_HISTOGRAM, 0},
    };
    static const size_t bytes[] = {10, 10, 18, 18, 7, 7};
    struct ab_buffer out = {0};
    for (size_t i = 0; i < 4; i++) {
        struct ab_bytes row = ab_bytes_of(rows[i], bytes[i]);
        struct ab_bytes other = ab_bytes_of(rows[i ^ 1], bytes[i ^ 1]);
        struct ab_bytes three[] = {row, ab_bytes_of(rows[4 + i / 2], bytes[4 + i / 2]), other};
        assert_ok(ab_state_row_merge(row, &row, 1, &out, NULL));
        assert_int_equal(ab_state_row_merge(row, &other, 1, &out, NULL), AB_CORRUPT);
        assert_ok(ab_state_row_merge((struct ab_bytes){0}, three, 2, &out, NULL));
        assert_int_equal(ab_state_row_merge((struct ab_bytes){0}, three, 3, &out, NULL), AB_CORRUPT);
    }
    ab_buffer_fini(&out);
}

/* A table knows the heads of its view and refuses others. */
static void test_table_refuses_rows_of_other_parameters(void **state)
{
    (void)state;
    static const char *const views[] = {
        "largest(f, 3)", "largest(f, 4)", "histogram(b, 0, 5)", "histogram(b, 0, 6)", "min_by(b, at)", "min_by(at, b)"};
    for (size_t i = 0; i < 6; i++) {
        char sql[600];
        (void)snprintf(sql, sizeof(sql),
            "%sCREATE VIEW one AS SELECT %s AS x FROM s;\nCREATE VIEW two AS SELECT %s AS x FROM s;", TEST_STREAM,
            views[i], views[i ^ 1]);
        struct ab_catalog *catalog = test_catalog(sql);
        struct ab_aggregation *one = test_aggregation(&catalog->views[0]);
        struct ab_aggregation *two = test_aggregation(&catalog->views[1]);
        struct ab_group_table *from = ab_group_table_create(one, NULL);
        struct ab_group_table *same = ab_group_table_create(one, NULL);
        struct ab_group_table *other = ab_group_table_create(two, NULL);
        const struct test_shape shape = {.keys = 1, .hours = 1};
        struct test_row row;
        struct ab_random random;
        uint32_t first = 0;
        struct ab_bytes key;
        struct ab_bytes bytes;
        ab_random_init(&random, 3);
        test_row_random(&random, &shape, &row);
        row.values[COLUMN_F].is_null = row.values[COLUMN_B].is_null = false;
        test_update(from, &row, &first, 1, NULL);
        struct ab_group_cursor *cursor = ab_group_cursor_open(from, NULL);
        assert_true(ab_group_cursor_next(cursor, &key, &bytes));
        assert_ok(ab_group_table_merge_row(same, key, bytes));
        assert_int_equal(ab_group_table_merge_row(other, key, bytes), AB_CORRUPT);
        ab_group_cursor_close(cursor);
        ab_group_table_destroy(from);
        ab_group_table_destroy(same);
        ab_group_table_destroy(other);
        ab_aggregation_destroy(one);
        ab_aggregation_destroy(two);
        ab_catalog_release(catalog);
    }
}

static void test_payloads_with_a_second_form_are_corrupt(void **state)
{
    (void)state;
    static const struct {
        uint8_t kind;
        uint8_t bytes;
        uint8_t payload[12];
    } forms[] = {
        {AB_PRIMITIVE_COUNT, 2, {5, 0}}, {AB_PRIMITIVE_COUNT, 9, {5, 0, 0, 0, 0, 0, 0, 0, 1}},
        {AB_PRIMITIVE_SUM_INTEGER, 1, {0}}, {AB_PRIMITIVE_SUM_INTEGER, 2, {0xff, 0xff}},
        {AB_PRIMITIVE_SUM_INTEGER, 2, {0x7f, 0}}, {AB_PRIMITIVE_SUM_DOUBLE, 0, {0}}, {AB_PRIMITIVE_SUM_DOUBLE, 1, {8}},
        {AB_PRIMITIVE_SUM_DOUBLE, 3, {0, 2, 2}}, {AB_PRIMITIVE_SUM_DOUBLE, 4, {0, 2, 1, 0}},
        {AB_PRIMITIVE_SUM_DOUBLE, 4, {0, 0x82, 0, 1}}, {AB_PRIMITIVE_SUM_DOUBLE, 3, {16, 2, 1}},
        {AB_PRIMITIVE_SUM_DOUBLE, 4, {0, 0xff, 0x3f, 1}}, {AB_PRIMITIVE_SQUARES_DOUBLE, 3, {8, 2, 1}},
        {AB_PRIMITIVE_MIN, 9, {AB_TYPE_DOUBLE, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {AB_PRIMITIVE_MIN, 9, {AB_TYPE_DOUBLE, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {AB_PRIMITIVE_MIN, 2, {AB_TYPE_BOOLEAN, 2}}, {AB_PRIMITIVE_MAX, 2, {AB_TYPE_TEXT, 0xff}},
        {AB_PRIMITIVE_MAX, 2, {99, 0}}, {AB_PRIMITIVE_FIRST, 9, {0}}, {AB_PRIMITIVE_DISTINCT, 1, {1}},
        {AB_PRIMITIVE_DISTINCT, 9, {1, 0, 0, 0, 0, 0, 0, 0, 0}},
        {AB_PRIMITIVE_DISTINCT, 9, {2, 0, 0, 0, 0, 0, 0, 0, 0}}, {0, 0, {0}}, {200, 0, {0}},
        {AB_PRIMITIVE_PRODUCTS_INTEGER, 2, {0x7f, 0}}, {AB_PRIMITIVE_PRODUCTS_DOUBLE, 0, {0}},
        {AB_PRIMITIVE_PRODUCTS_DOUBLE, 3, {0, 2, 2}}, {AB_PRIMITIVE_CUBES_INTEGER, 2, {0xff, 0xff}},
        {AB_PRIMITIVE_FOURTHS_INTEGER, 2, {5, 0}}, {AB_PRIMITIVE_FOURTHS_DOUBLE, 3, {8, 2, 1}},
        {AB_PRIMITIVE_FOURTHS_DOUBLE, 1, {4}}, {AB_PRIMITIVE_MIN_BY, 2, {AB_TYPE_BIGINT, AB_TYPE_BIGINT}},
        {AB_PRIMITIVE_MAX_BY, 1, {AB_TYPE_BIGINT}}, {AB_PRIMITIVE_SMALLEST, 2, {AB_TYPE_BOOLEAN, 3}}, /* no value */
        {AB_PRIMITIVE_SMALLEST, 3, {AB_TYPE_BOOLEAN, 0, 1}},                                          /* k of 0 */
        {AB_PRIMITIVE_SMALLEST, 4, {AB_TYPE_BOOLEAN, 0x83, 0, 1}},                                    /* long k */
        {AB_PRIMITIVE_SMALLEST, 4, {AB_TYPE_BOOLEAN, 0xe9, 0x07, 1}},                                 /* k of 1001 */
        {AB_PRIMITIVE_SMALLEST, 4, {AB_TYPE_BOOLEAN, 1, 0, 1}},                                       /* more than k */
        {AB_PRIMITIVE_SMALLEST, 4, {AB_TYPE_BOOLEAN, 3, 1, 0}},                                       /* out of order */
        {AB_PRIMITIVE_LARGEST, 4, {AB_TYPE_BOOLEAN, 3, 0, 1}},                                        /* out of order */
        {AB_PRIMITIVE_LARGEST, 3, {AB_TYPE_BOOLEAN, 3, 2}},                                           /* no BOOLEAN */
        {AB_PRIMITIVE_LARGEST, 4, {AB_TYPE_TEXT, 3, 2, 'a'}},       /* beyond the end */
        {AB_PRIMITIVE_LARGEST, 5, {AB_TYPE_TEXT, 3, 0x81, 0, 'a'}}, /* long length */
        {AB_PRIMITIVE_LARGEST, 3, {7, 3, 1}},                       /* unknown type */
        {AB_PRIMITIVE_FIRST_K, 3, {AB_TYPE_BOOLEAN, 3, 1}},         /* no identity */
        {AB_PRIMITIVE_BIT_XOR, 7, {1, 2, 3, 4, 5, 6, 7}},
        {AB_PRIMITIVE_HISTOGRAM, 9, {1, 0, 0, 0, 0, 0, 0, 0, 0}},              /* no counts */
        {AB_PRIMITIVE_HISTOGRAM, 11, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},       /* all zero */
        {AB_PRIMITIVE_HISTOGRAM, 12, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}},    /* one too many */
        {AB_PRIMITIVE_HISTOGRAM, 12, {1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x81, 0}}, /* long count */
        {AB_PRIMITIVE_HISTOGRAM, 10, {0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},          /* no bounds */
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        uint8_t row[32] = {1, 2, AB_PRIMITIVE_COUNT, 1, 5, forms[i].kind, forms[i].bytes};
        memcpy(row + 7, forms[i].payload, forms[i].bytes);
        if (ab_state_row_validate(ab_bytes_of(row, 7u + forms[i].bytes)) != AB_CORRUPT) {
            fail_msg("form %zu is accepted", i);
        }
    }
}

static void test_table_refuses_rows_that_do_not_fit_and_stays_unchanged(void **state)
{
    (void)state;
    struct ab_buffer key = {0};
    struct ab_buffer row = {0};
    row_make(0, 4, &key, &row);
    struct ab_catalog *catalog = test_catalog(TEST_STREAM TEST_VIEW_EVERYTHING);
    struct ab_aggregation *aggregation = test_aggregation(&catalog->views[0]);
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    struct ab_bytes row_view = ab_buffer_view(&row);
    for (size_t bytes = 0; bytes < key.bytes; bytes++) {
        uint8_t *copy = ab_new_bytes(bytes);
        memcpy(copy, key.data, bytes);
        assert_int_equal(ab_group_table_merge_row(table, ab_bytes_of(copy, bytes), row_view), AB_CORRUPT);
        ab_delete(copy);
    }
    const uint8_t count_only[] = {1, 1, AB_PRIMITIVE_COUNT, 1, 5};
    struct ab_bytes other = ab_bytes_of(count_only, sizeof(count_only));
    assert_int_equal(ab_group_table_merge_row(table, ab_buffer_view(&key), other), AB_CORRUPT);
    assert_int_equal(ab_group_table_count(table), 0);
    assert_ok(ab_group_table_merge_row(table, ab_buffer_view(&key), row_view));
    assert_int_equal(ab_group_table_count(table), 1);
    ab_group_table_destroy(table);
    ab_aggregation_destroy(aggregation);
    ab_catalog_release(catalog);
    ab_buffer_fini(&key);
    ab_buffer_fini(&row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_truncated_anywhere_is_corrupt),
        cmocka_unit_test(test_row_with_flipped_bits_is_corrupt_or_canonical),
        cmocka_unit_test(test_rows_of_different_primitives_do_not_merge),
        cmocka_unit_test(test_rows_of_different_heads_do_not_merge),
        cmocka_unit_test(test_table_refuses_rows_of_other_parameters),
        cmocka_unit_test(test_payloads_with_a_second_form_are_corrupt),
        cmocka_unit_test(test_table_refuses_rows_that_do_not_fit_and_stays_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
