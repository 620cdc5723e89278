/* Encoded rows: what is malformed is refused, nothing crashes, and nothing that is accepted has a second form. */
#include "common/aggregate/state_row.h"
#include "common/aggregate/primitive.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define ROWS 120

/* Encoded rows of one group with every primitive. */
static void row_make(uint64_t seed, struct ab_buffer *key_out, struct ab_buffer *row_out)
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
    struct ab_catalog *catalog = test_catalog(TEST_STREAM TEST_VIEW_EVERYTHING);
    struct ab_aggregation *aggregation = test_aggregation(&catalog->views[0]);
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

static void test_row_truncated_anywhere_is_corrupt(void **state)
{
    (void)state;
    struct ab_buffer key = {0};
    struct ab_buffer row = {0};
    struct ab_buffer out = {0};
    row_make(1, &key, &row);
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

/* A flipped row is refused, or it is another row with one form: merging it with nothing gives it back. */
static void test_row_with_flipped_bits_is_corrupt_or_canonical(void **state)
{
    (void)state;
    struct ab_buffer key = {0};
    struct ab_buffer row = {0};
    struct ab_buffer out = {0};
    row_make(2, &key, &row);
    struct ab_bytes view = ab_buffer_view(&row);
    for (size_t bit = 0; bit < row.bytes * 8; bit++) {
        row.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ab_err err = ab_state_row_validate(view);
        assert_int_equal(ab_state_row_merge((struct ab_bytes){0}, &view, 1, &out, NULL), err);
        if (err == AB_OK) {
            assert_true(ab_bytes_equal(ab_buffer_view(&out), view));
            ab_buffer_clear(&out);
            ab_state_row_print(view, &out);
        }
        row.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ab_buffer_fini(&key);
    ab_buffer_fini(&row);
    ab_buffer_fini(&out);
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

static void test_payloads_with_a_second_form_are_corrupt(void **state)
{
    (void)state;
    static const struct {
        uint8_t kind;
        uint8_t bytes;
        uint8_t payload[10];
    } forms[] = {
        {AB_PRIMITIVE_COUNT, 2, {5, 0}},
        {AB_PRIMITIVE_COUNT, 9, {5, 0, 0, 0, 0, 0, 0, 0, 1}},
        {AB_PRIMITIVE_SUM_INTEGER, 1, {0}},
        {AB_PRIMITIVE_SUM_INTEGER, 2, {0xff, 0xff}},
        {AB_PRIMITIVE_SUM_INTEGER, 2, {0x7f, 0}},
        {AB_PRIMITIVE_SUM_DOUBLE, 0, {0}},
        {AB_PRIMITIVE_SUM_DOUBLE, 1, {8}},
        {AB_PRIMITIVE_SUM_DOUBLE, 3, {0, 2, 2}},
        {AB_PRIMITIVE_SUM_DOUBLE, 4, {0, 2, 1, 0}},
        {AB_PRIMITIVE_SUM_DOUBLE, 4, {0, 0x82, 0, 1}},
        {AB_PRIMITIVE_SUM_DOUBLE, 3, {16, 2, 1}},
        {AB_PRIMITIVE_SUM_DOUBLE, 4, {0, 0xff, 0x3f, 1}},
        {AB_PRIMITIVE_SQUARES_DOUBLE, 3, {8, 2, 1}},
        {AB_PRIMITIVE_MIN, 9, {AB_TYPE_DOUBLE, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {AB_PRIMITIVE_MIN, 9, {AB_TYPE_DOUBLE, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {AB_PRIMITIVE_MIN, 2, {AB_TYPE_BOOLEAN, 2}},
        {AB_PRIMITIVE_MAX, 2, {AB_TYPE_TEXT, 0xff}},
        {AB_PRIMITIVE_MAX, 2, {99, 0}},
        {AB_PRIMITIVE_FIRST, 9, {0}},
        {AB_PRIMITIVE_DISTINCT, 1, {1}},
        {AB_PRIMITIVE_DISTINCT, 9, {1, 0, 0, 0, 0, 0, 0, 0, 0}},
        {AB_PRIMITIVE_DISTINCT, 9, {2, 0, 0, 0, 0, 0, 0, 0, 0}},
        {0, 0, {0}},
        {11, 0, {0}},
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
    row_make(4, &key, &row);
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
        cmocka_unit_test(test_payloads_with_a_second_form_are_corrupt),
        cmocka_unit_test(test_table_refuses_rows_that_do_not_fit_and_stays_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
