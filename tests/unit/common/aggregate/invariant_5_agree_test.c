/* I5 agree: states and digests are the same bit for bit, whatever the order of rows, the blocks they came in, the
 * number of workers, and the road by which states were merged. */
#include "common/aggregate/state_row.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define ROWS 1500
#define WORKERS 4

struct fixture {
    struct ab_catalog *catalog;
    struct ab_aggregation *aggregation;
    struct test_row *rows;
    struct ab_random random;
};

static void fixture_init(struct fixture *fixture, uint32_t view, uint64_t seed, bool has_specials, uint32_t keys)
{
    const struct test_shape shape = {.keys = keys, .hours = 5, .has_specials = has_specials};
    ab_random_init(&fixture->random, seed);
    fixture->catalog = test_catalog(TEST_STREAM TEST_VIEW_EVERYTHING TEST_VIEW_FAMILY TEST_VIEW_SKETCHES);
    fixture->aggregation = test_aggregation(&fixture->catalog->views[view]);
    fixture->rows = ab_new_array(struct test_row, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        test_row_random(&fixture->random, &shape, &fixture->rows[i]);
    }
}

static void fixture_fini(struct fixture *fixture)
{
    ab_delete(fixture->rows);
    ab_aggregation_destroy(fixture->aggregation);
    ab_catalog_release(fixture->catalog);
}

/* All rows in one table, in their order. */
static void reference(struct fixture *fixture, struct ab_buffer *out, struct ab_row_counts *counts)
{
    uint32_t order[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) {
        order[i] = i;
    }
    struct ab_group_table *table = ab_group_table_create(fixture->aggregation, NULL);
    test_update(table, fixture->rows, order, ROWS, counts);
    test_dump(table, out);
    ab_group_table_destroy(table);
}

/* Deals the rows to workers in a random order and blocks of random sizes. */
static void deal(struct fixture *fixture, struct ab_group_table **workers, struct ab_row_counts *counts)
{
    uint32_t order[ROWS];
    test_shuffle(&fixture->random, order, ROWS);
    for (uint32_t from = 0; from < ROWS;) {
        uint32_t count = 1 + (uint32_t)ab_random_below(&fixture->random, 300);
        count = count < ROWS - from ? count : ROWS - from;
        test_update(workers[ab_random_below(&fixture->random, WORKERS)], fixture->rows, order + from, count, counts);
        from += count;
    }
}

static void rows_merge(struct ab_group_table *into, const struct ab_group_table *from)
{
    struct ab_group_cursor *cursor = ab_group_cursor_open(from, NULL);
    struct ab_bytes key;
    struct ab_bytes row;
    while (ab_group_cursor_next(cursor, &key, &row)) {
        assert_ok(ab_state_row_validate(row));
        assert_ok(ab_group_table_merge_row(into, key, row));
    }
    ab_group_cursor_close(cursor);
}

static void split_and_merge(struct fixture *fixture, bool by_rows, struct ab_buffer *out, struct ab_row_counts *counts)
{
    struct ab_group_table *workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = ab_group_table_create(fixture->aggregation, NULL);
    }
    deal(fixture, workers, counts);
    uint32_t order[WORKERS];
    test_shuffle(&fixture->random, order, WORKERS);
    for (int i = 1; i < WORKERS; i++) {
        if (by_rows) {
            rows_merge(workers[order[0]], workers[order[i]]);
        } else {
            ab_group_table_merge_table(workers[order[0]], workers[order[i]]);
        }
    }
    test_dump(workers[order[0]], out);
    for (int i = 0; i < WORKERS; i++) {
        ab_group_table_destroy(workers[i]);
    }
}

static void counts_equal(const struct ab_row_counts *a, const struct ab_row_counts *b)
{
    assert_int_equal(a->aggregated, b->aggregated);
    assert_int_equal(a->filtered, b->filtered);
    assert_int_equal(a->expired, b->expired);
    assert_int_equal(a->aggregated + a->filtered + a->expired, ROWS);
}

static void agree(uint32_t view, uint64_t seed, bool has_specials, uint32_t keys)
{
    struct fixture fixture;
    struct ab_buffer expected = {0};
    struct ab_buffer found = {0};
    struct ab_row_counts expected_counts = {0};
    fixture_init(&fixture, view, seed, has_specials, keys);
    reference(&fixture, &expected, &expected_counts);
    assert_true(expected.bytes > 0);
    for (int round = 0; round < 4; round++) {
        struct ab_row_counts counts = {0};
        split_and_merge(&fixture, round % 2 == 0, &found, &counts);
        counts_equal(&counts, &expected_counts);
        assert_true(ab_bytes_equal(ab_buffer_view(&expected), ab_buffer_view(&found)));
    }
    ab_buffer_fini(&expected);
    ab_buffer_fini(&found);
    fixture_fini(&fixture);
}

static void test_states_agree_whatever_the_order_and_the_split(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        agree(0, seed, seed % 2 == 0, seed < 4 ? 4 : 60);
        agree(1, seed, seed % 2 == 0, seed < 4 ? 2 : 60);
        agree(2, seed, seed % 2 == 0, seed < 4 ? 4 : 60);
    }
}

/* Merging encoded rows without a catalog, as the store does, gives what merging through a table gives. */
static void rows_merge_alone(uint32_t view)
{
    struct fixture fixture;
    fixture_init(&fixture, view, 99, true, 1);
    struct ab_group_table *single = ab_group_table_create(fixture.aggregation, NULL);
    struct ab_group_table *all = ab_group_table_create(fixture.aggregation, NULL);
    struct ab_buffer operands[64] = {{0}};
    struct ab_bytes views[64];
    struct ab_buffer key = {0};
    size_t count = 0;
    for (uint32_t i = 0; i < ROWS && count < 64; i++) {
        struct ab_bytes row_key;
        struct ab_bytes row;
        ab_group_table_clear(single);
        test_update(single, fixture.rows, &i, 1, NULL);
        struct ab_group_cursor *cursor = ab_group_cursor_open(single, NULL);
        if (ab_group_cursor_next(cursor, &row_key, &row)) {
            if (count == 0) {
                ab_buffer_put_bytes(&key, row_key);
            }
            assert_ok(ab_group_table_merge_row(all, ab_buffer_view(&key), row));
            ab_buffer_put_bytes(&operands[count], row);
            views[count] = ab_buffer_view(&operands[count]);
            count++;
        }
        ab_group_cursor_close(cursor);
    }
    assert_int_equal(count, 64);
    struct ab_buffer merged = {0};
    struct ab_buffer left = {0};
    struct ab_buffer right = {0};
    assert_ok(ab_state_row_merge((struct ab_bytes){0}, views, 64, &merged, NULL));
    assert_ok(ab_state_row_merge((struct ab_bytes){0}, views, 20, &left, NULL));
    assert_ok(ab_state_row_merge(ab_buffer_view(&left), views + 20, 44, &right, NULL));
    assert_true(ab_bytes_equal(ab_buffer_view(&merged), ab_buffer_view(&right)));
    struct ab_group_cursor *cursor = ab_group_cursor_open(all, NULL);
    struct ab_bytes row_key;
    struct ab_bytes row;
    assert_true(ab_group_cursor_next(cursor, &row_key, &row));
    assert_true(ab_bytes_equal(row, ab_buffer_view(&merged)));
    assert_false(ab_group_cursor_next(cursor, &row_key, &row));
    ab_group_cursor_close(cursor);
    for (size_t i = 0; i < count; i++) {
        ab_buffer_fini(&operands[i]);
    }
    ab_buffer_fini(&key);
    ab_buffer_fini(&merged);
    ab_buffer_fini(&left);
    ab_buffer_fini(&right);
    ab_group_table_destroy(single);
    ab_group_table_destroy(all);
    fixture_fini(&fixture);
}

static void test_rows_merge_without_a_catalog_as_with_one(void **state)
{
    (void)state;
    rows_merge_alone(0);
    rows_merge_alone(1);
    rows_merge_alone(2);
}

static void test_digests_do_not_depend_on_order(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_group_table *workers[WORKERS];
    struct ab_digest forward = {0};
    struct ab_digest parts[2] = {{{0}, 0, 0}, {{0}, 0, 0}};
    fixture_init(&fixture, 2, 5, true, 20);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = ab_group_table_create(fixture.aggregation, NULL);
    }
    deal(&fixture, workers, &(struct ab_row_counts){0});
    struct ab_group_cursor *cursor = ab_group_cursor_open(workers[0], NULL);
    struct ab_bytes key;
    struct ab_bytes row;
    while (ab_group_cursor_next(cursor, &key, &row)) {
        assert_ok(ab_digest_add(&forward, key, row));
        assert_ok(ab_digest_add(&parts[ab_random_below(&fixture.random, 2)], key, row));
    }
    ab_group_cursor_close(cursor);
    ab_digest_merge(&parts[1], &parts[0]);
    assert_true(ab_hash128_equal(forward.sum, parts[1].sum));
    assert_int_equal(forward.rows_count, parts[1].rows_count);
    assert_int_equal(forward.groups_count, ab_group_table_count(workers[0]));
    for (int i = 0; i < WORKERS; i++) {
        ab_group_table_destroy(workers[i]);
    }
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_agree_whatever_the_order_and_the_split),
        cmocka_unit_test(test_rows_merge_without_a_catalog_as_with_one),
        cmocka_unit_test(test_digests_do_not_depend_on_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
