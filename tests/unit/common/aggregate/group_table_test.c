/* Group tables against brute force: which rows count, which group they belong to, what the group then holds. */
#include "common/aggregate/pane.h"
#include "common/aggregate/state_row.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define ROWS 3000

/* Rows of a group by brute force: pairs of key bytes and counts. */
struct brute {
    struct ab_buffer keys[ROWS];
    uint64_t rows[ROWS];
    size_t count;
};

static void brute_add(struct brute *brute, struct ab_bytes key)
{
    size_t i = 0;
    while (i < brute->count && !ab_bytes_equal(ab_buffer_view(&brute->keys[i]), key)) {
        i++;
    }
    if (i == brute->count) {
        ab_buffer_put_bytes(&brute->keys[brute->count++], key);
    }
    brute->rows[i]++;
}

static uint64_t brute_rows(const struct brute *brute, struct ab_bytes key)
{
    for (size_t i = 0; i < brute->count; i++) {
        if (ab_bytes_equal(ab_buffer_view(&brute->keys[i]), key)) {
            return brute->rows[i];
        }
    }
    return 0;
}

static void brute_free(struct brute *brute)
{
    for (size_t i = 0; i < brute->count; i++) {
        ab_buffer_fini(&brute->keys[i]);
    }
    ab_delete(brute);
}

static void groups_match(const char *sql, const uint32_t *key_columns, uint32_t keys_count, bool has_pane)
{
    const struct test_shape shape = {.keys = 30, .hours = 6, .has_specials = true};
    struct test_row *rows = ab_new_array(struct test_row, ROWS);
    uint32_t *all = ab_new_array(uint32_t, ROWS);
    struct brute *brute = ab_new(struct brute);
    struct ab_random random;
    struct ab_buffer key_bytes = {0};
    struct ab_memory memory;
    ab_memory_init(&memory, 0, NULL);
    ab_random_init(&random, 21);
    struct ab_catalog *catalog = test_catalog(sql);
    const struct ab_view *view = &catalog->views[0];
    struct ab_aggregation *aggregation = test_aggregation(view);
    struct ab_group_table *table = ab_group_table_create(aggregation, &memory);
    for (uint32_t i = 0; i < ROWS; i++) {
        struct ab_value values[4];
        test_row_random(&random, &shape, &rows[i]);
        all[i] = i;
        for (uint32_t k = 0; k < keys_count; k++) {
            values[k] = rows[i].values[key_columns[k]];
            values[k].real = values[k].type.kind == AB_TYPE_DOUBLE && values[k].real == 0 ? 0.0 : values[k].real;
        }
        ab_buffer_clear(&key_bytes);
        int64_t pane = has_pane ? ab_time_floor(rows[i].values[COLUMN_AT].bigint, AB_US_PER_HOUR) : 0;
        ab_group_key_encode(view, values, pane, &key_bytes);
        brute_add(brute, ab_buffer_view(&key_bytes));
    }
    for (uint32_t from = 0; from < ROWS; from += 700) {
        test_update(table, rows, all + from, ROWS - from < 700 ? ROWS - from : 700, NULL);
    }
    assert_int_equal(ab_group_table_count(table), brute->count);
    assert_int_equal(ab_group_table_bytes(table), ab_memory_used(&memory));
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    struct ab_buffer before = {0};
    struct ab_bytes key;
    struct ab_bytes row;
    while (ab_group_cursor_next(cursor, &key, &row)) {
        uint64_t count = 0;
        assert_ok(ab_state_row_rows(row, &count));
        assert_int_equal(count, brute_rows(brute, key));
        assert_true(ab_bytes_compare(ab_buffer_view(&before), key) < 0);
        ab_buffer_clear(&before);
        ab_buffer_put_bytes(&before, key);
    }
    ab_group_cursor_close(cursor);
    ab_group_table_clear(table);
    assert_int_equal(ab_group_table_count(table), 0);
    test_update(table, rows, all, 100, NULL);
    assert_true(ab_group_table_count(table) > 0);
    ab_group_table_destroy(table);
    assert_int_equal(ab_memory_used(&memory), 0);
    ab_aggregation_destroy(aggregation);
    ab_catalog_release(catalog);
    ab_buffer_fini(&before);
    ab_buffer_fini(&key_bytes);
    brute_free(brute);
    ab_delete(rows);
    ab_delete(all);
}

#define MEASURES " count(*) AS n, sum(d) AS sd, max(t) AS mt, count_distinct(word) AS cw, last(t) AS lt FROM s"

static void test_groups_match_brute_force(void **state)
{
    (void)state;
    groups_match(TEST_STREAM "CREATE VIEW v AS SELECT k, t," MEASURES " GROUP BY k, t, TUMBLE(at, INTERVAL '1 hour');",
        (const uint32_t[]){COLUMN_K, COLUMN_T}, 2, true);
    groups_match(
        TEST_STREAM "CREATE VIEW v AS SELECT t," MEASURES " GROUP BY t;", (const uint32_t[]){COLUMN_T}, 1, false);
    groups_match(TEST_STREAM "CREATE VIEW v AS SELECT m, f," MEASURES " GROUP BY m, f;",
        (const uint32_t[]){COLUMN_M, COLUMN_F}, 2, false);
    groups_match(TEST_STREAM "CREATE VIEW v AS SELECT word, d," MEASURES
                             " GROUP BY word, d, TUMBLE(at, INTERVAL '1 hour');",
        (const uint32_t[]){COLUMN_WORD, COLUMN_D}, 2, true);
    groups_match(TEST_STREAM "CREATE VIEW v AS SELECT word," MEASURES " GROUP BY word;",
        (const uint32_t[]){COLUMN_WORD}, 1, false);
    groups_match(TEST_STREAM "CREATE VIEW v AS SELECT word, at," MEASURES
                             " GROUP BY word, at, TUMBLE(at, INTERVAL '1 hour');",
        (const uint32_t[]){COLUMN_WORD, COLUMN_AT}, 2, true);
    groups_match(TEST_STREAM "CREATE VIEW v AS SELECT" MEASURES " GROUP BY TUMBLE(at, INTERVAL '1 hour');",
        (const uint32_t[]){0}, 0, true);
    groups_match(TEST_STREAM "CREATE VIEW v AS SELECT" MEASURES ";", (const uint32_t[]){0}, 0, false);
}

static void test_update_counts_every_row_once(void **state)
{
    (void)state;
    struct ab_catalog *catalog =
        test_catalog(TEST_STREAM "CREATE VIEW v AS SELECT k, count(*) AS n, sum(b) AS sb FROM s WHERE b > 0 "
                                 "GROUP BY k, TUMBLE(at, INTERVAL '1 hour');");
    struct ab_aggregation *aggregation = test_aggregation(&catalog->views[0]);
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    const int64_t at[] = {0, AB_US_PER_HOUR - 1, AB_US_PER_HOUR, -1, INT64_MIN, INT64_MAX, 5};
    const int64_t b[] = {1, 2, 3, 4, 5, 6, 0};
    const uint8_t skip[] = {1, 0, 0, 0, 0, 0, 0};
    const uint8_t nulls[] = {0, 0, 0, 0, 0, 0, 0};
    struct ab_column b_column = {.type = {.kind = AB_TYPE_BIGINT}, .rows_count = 7, .values = b, .nulls = nulls};
    struct ab_column at_column = {.type = {.kind = AB_TYPE_TIMESTAMP}, .rows_count = 7, .values = at};
    const struct ab_column *columns[COLUMNS_COUNT] = {NULL};
    columns[COLUMN_B] = &b_column;
    columns[COLUMN_AT] = &at_column;
    struct ab_rows rows = {.columns = columns, .rows_count = 7, .skip = skip, .expired_until_us = 0};
    struct ab_row_counts counts = {0};
    struct ab_memory tight;
    ab_memory_init(&tight, 16, NULL);
    struct ab_arena scratch;
    ab_arena_init(&scratch, &tight, 0);
    ab_group_table_update(table, &rows, &scratch, &counts);
    assert_int_equal(counts.aggregated, 3);
    assert_int_equal(counts.filtered, 1);
    assert_int_equal(counts.expired, 2);
    /* Hours 0 and 1, and the last pane of time; the key is NULL throughout. */
    assert_int_equal(ab_group_table_count(table), 3);
    ab_arena_fini(&scratch);
    ab_group_table_destroy(table);
    ab_aggregation_destroy(aggregation);
    ab_catalog_release(catalog);
}

/* Groups of single times carry the start of the pane that a division finds. */
static void panes_match(const char *width, struct ab_random *random, int64_t low, uint64_t span)
{
    char sql[512];
    int64_t times[500];
    snprintf(sql, sizeof(sql),
        TEST_STREAM "CREATE VIEW v AS SELECT count(*) AS n FROM s GROUP BY at, TUMBLE(at, INTERVAL '%s');", width);
    struct ab_catalog *catalog = test_catalog(sql);
    struct ab_aggregation *aggregation = test_aggregation(&catalog->views[0]);
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    struct ab_arena scratch = {0};
    for (size_t i = 0; i < 500; i++) {
        times[i] =
            (int64_t)((uint64_t)low + (span == UINT64_MAX ? ab_random_u64(random) : ab_random_below(random, span)));
    }
    struct ab_column column = {.type = {.kind = AB_TYPE_TIMESTAMP}, .rows_count = 500, .values = times};
    const struct ab_column *columns[COLUMNS_COUNT] = {[COLUMN_AT] = &column};
    struct ab_rows rows = {.columns = columns, .rows_count = 500, .expired_until_us = INT64_MIN};
    struct ab_row_counts counts = {0};
    ab_group_table_update(table, &rows, &scratch, &counts);
    assert_int_equal(counts.aggregated, 500);
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    struct ab_bytes key;
    struct ab_bytes row;
    while (ab_group_cursor_next(cursor, &key, &row)) {
        struct ab_value value;
        ab_time_us pane;
        assert_ok(ab_group_key_decode(&catalog->views[0], key, &scratch, &value, &pane));
        assert_int_equal(pane, ab_pane_floor(value.bigint, catalog->views[0].pane_us));
    }
    ab_group_cursor_close(cursor);
    ab_arena_fini(&scratch);
    ab_group_table_destroy(table);
    ab_aggregation_destroy(aggregation);
    ab_catalog_release(catalog);
}

static void test_panes_are_right_anywhere_in_time(void **state)
{
    (void)state;
    static const char *const widths[] = {"1 second", "7 seconds", "1 minute", "1 hour", "1 day", "400 days"};
    struct ab_random random;
    ab_random_init(&random, 5);
    for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++) {
        panes_match(widths[w], &random, 0, UINT64_MAX);
        panes_match(widths[w], &random, -1000000000, 2000000000);
        panes_match(widths[w], &random, INT64_MIN, 100000000000);
        panes_match(widths[w], &random, INT64_MAX - 100000000000, 100000000001);
        panes_match(widths[w], &random, 1709251200000000, 14400000000);
        panes_match(widths[w], &random, 1709251200000000, 1000000);
    }
}

static void test_aggregation_names_the_columns_it_reads(void **state)
{
    (void)state;
    struct ab_catalog *catalog = test_catalog(
        TEST_STREAM "CREATE VIEW a AS SELECT k, sum(b) AS sb, avg(b) AS ab, count(*) AS n FROM s WHERE f GROUP BY k;\n"
                    "CREATE VIEW c AS SELECT t, first(d) AS fd FROM s GROUP BY t;");
    bool used[COLUMNS_COUNT] = {false};
    struct ab_aggregation *aggregation = test_aggregation(&catalog->views[0]);
    ab_aggregation_columns(aggregation, used, COLUMNS_COUNT);
    assert_true(used[COLUMN_K] && used[COLUMN_B] && used[COLUMN_F]);
    assert_false(used[COLUMN_AT] || used[COLUMN_T] || used[COLUMN_D]);
    ab_aggregation_destroy(aggregation);
    memset(used, 0, sizeof(used));
    aggregation = test_aggregation(&catalog->views[1]);
    ab_aggregation_columns(aggregation, used, COLUMNS_COUNT);
    assert_true(used[COLUMN_T] && used[COLUMN_D] && used[COLUMN_AT]);
    assert_false(used[COLUMN_K]);
    ab_aggregation_destroy(aggregation);
    ab_catalog_release(catalog);
}

static void test_group_keys_come_back_and_sort_by_chunk(void **state)
{
    (void)state;
    struct ab_catalog *catalog = test_catalog(TEST_STREAM TEST_VIEW_EVERYTHING);
    const struct ab_view *view = &catalog->views[0];
    struct ab_random random;
    const struct test_shape shape = {.keys = 20, .hours = 6};
    struct ab_arena arena = {0};
    ab_random_init(&random, 4);
    for (int i = 0; i < 500; i++) {
        struct test_row row;
        struct ab_buffer key = {0};
        struct ab_value back[2];
        ab_time_us pane = 0;
        ab_time_us pane_only = 0;
        test_row_random(&random, &shape, &row);
        ab_time_us start = ((int64_t)ab_random_below(&random, 2000000) - 1000000) * AB_US_PER_HOUR;
        ab_group_key_encode(view, row.values, start, &key);
        assert_ok(ab_group_key_decode(view, ab_buffer_view(&key), &arena, back, &pane));
        assert_ok(ab_group_key_pane(ab_buffer_view(&key), &pane_only));
        assert_true(pane == start && pane_only == start);
        assert_int_equal(ab_value_compare(&back[0], &row.values[COLUMN_K]), 0);
        assert_int_equal(ab_value_compare(&back[1], &row.values[COLUMN_T]), 0);
        assert_true(ab_group_key_shard(ab_buffer_view(&key), 7) < 7);
        assert_true(ab_group_key_chunk(view, start) <= ab_group_key_chunk(view, start + AB_US_PER_HOUR));
        key.data[0] ^= 1;
        assert_int_equal(ab_group_key_decode(view, ab_buffer_view(&key), &arena, back, &pane), AB_CORRUPT);
        ab_buffer_fini(&key);
    }
    ab_arena_fini(&arena);
    ab_catalog_release(catalog);
}

/* Keys of NOT NULL columns alone are kept without a mask of NULLs, so none may come in by an encoded key. */
static void test_null_in_a_not_null_key_is_corrupt(void **state)
{
    (void)state;
    struct ab_catalog *catalog = test_catalog(TEST_STREAM "CREATE VIEW v AS SELECT word, count(*) AS n FROM s "
                                                          "GROUP BY word, TUMBLE(at, INTERVAL '1 hour');");
    struct ab_aggregation *aggregation = test_aggregation(&catalog->views[0]);
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    struct ab_group_table *other = ab_group_table_create(aggregation, NULL);
    const struct test_shape shape = {.keys = 20, .hours = 6};
    const uint32_t first = 0;
    struct test_row row;
    struct ab_random random;
    struct ab_buffer null_key = {0};
    struct ab_bytes key;
    struct ab_bytes encoded;
    ab_random_init(&random, 5);
    test_row_random(&random, &shape, &row);
    test_update(table, &row, &first, 1, NULL);
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    assert_true(ab_group_cursor_next(cursor, &key, &encoded));
    assert_ok(ab_group_table_merge_row(other, key, encoded));
    struct ab_value null_value = {.type = {.kind = AB_TYPE_TEXT}, .is_null = true};
    ab_group_key_encode(&catalog->views[0], &null_value, 0, &null_key);
    assert_int_equal(ab_group_table_merge_row(other, ab_buffer_view(&null_key), encoded), AB_CORRUPT);
    assert_int_equal(ab_group_table_count(other), 1);
    ab_group_cursor_close(cursor);
    ab_buffer_fini(&null_key);
    ab_group_table_destroy(table);
    ab_group_table_destroy(other);
    ab_aggregation_destroy(aggregation);
    ab_catalog_release(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_match_brute_force),
        cmocka_unit_test(test_update_counts_every_row_once),
        cmocka_unit_test(test_panes_are_right_anywhere_in_time),
        cmocka_unit_test(test_aggregation_names_the_columns_it_reads),
        cmocka_unit_test(test_group_keys_come_back_and_sort_by_chunk),
        cmocka_unit_test(test_null_in_a_not_null_key_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
