/* Rollups against brute force: every select with every predicate, from tables, from scans of stored rows and through
 * encoded parts. */
#include "common/aggregate/rollup.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define ROWS 900
#define VIEW                                                                                                           \
    "CREATE VIEW r AS SELECT k, t, count(*) AS n, sum(b) AS sb, avg(b) AS ab, min(b) AS mib, max(t) AS mat,\n"         \
    "  count(b) AS nb, sum(d) AS sd FROM s GROUP BY k, t, TUMBLE(at, INTERVAL '1 hour');\n"

struct fixture {
    struct ab_catalog *catalog;
    struct ab_aggregation *aggregation;
    struct ab_group_table *parts[2]; /* the rows, split in two */
    struct test_row *rows;
};

/* A select: what its result is grouped by. */
struct select_case {
    const char *select;
    const char *tail;
    bool by_k;
    bool by_t;
    int64_t window_us; /* 0 = merged away */
    bool is_one_row;   /* has a row even when nothing matches */
};

static const struct select_case selects[] = {
    {"SELECT k, t, window_start, n, sb, ab, mib, mat, nb FROM r", "", true, true, AB_US_PER_HOUR, false},
    {"SELECT k, n, sb, ab, mib, mat, nb FROM r", " GROUP BY k", true, false, 0, false},
    {"SELECT t, n, sb, ab, mib, mat, nb FROM r", " GROUP BY t", false, true, 0, false},
    {"SELECT t, window_start, n, sb, ab, mib, mat, nb FROM r", " GROUP BY t, TUMBLE(window_start, INTERVAL '3 hours')",
        false, true, 3 * AB_US_PER_HOUR, false},
    {"SELECT window_start, n, sb, ab, mib, mat, nb FROM r", " GROUP BY TUMBLE(window_start, INTERVAL '2 hours')", false,
        false, 2 * AB_US_PER_HOUR, false},
    {"SELECT n, sb, ab, mib, mat, nb FROM r", "", false, false, 0, true},
};

static bool is_t(const struct test_row *row, const char *text)
{
    return !row->values[COLUMN_T].is_null && ab_bytes_equal(row->values[COLUMN_T].text, ab_bytes_of_text(text));
}

static bool is_k(const struct test_row *row, int64_t k)
{
    return !row->values[COLUMN_K].is_null && row->values[COLUMN_K].bigint == k;
}

static int64_t hour_of(const struct test_row *row)
{
    return ab_time_floor(row->values[COLUMN_AT].bigint, AB_US_PER_HOUR) / AB_US_PER_HOUR;
}

static const char *const wheres[] = {
    "",
    " WHERE k = 1",
    " WHERE k IN (2, 0, -1)",
    " WHERE t = 't1'",
    " WHERE k = 1 AND t IN ('t2', 't1')",
    " WHERE window_start >= '1970-01-01 01:00'",
    " WHERE window_start >= '1969-12-31 23:00' AND window_end <= '1970-01-01 02:00' AND k = 0",
    " WHERE k > 0 OR t = 't1'",
    " WHERE k IS NULL",
    " WHERE k = 0 AND t = 't2' AND window_start >= '1970-01-01 00:00' AND window_start < '1970-01-01 02:00'",
    " WHERE k = 12345",
    " WHERE NOT (k = 1 OR t = 't2')",
};

static bool where_holds(size_t where, const struct test_row *row)
{
    const struct ab_value *k = &row->values[COLUMN_K];
    const struct ab_value *t = &row->values[COLUMN_T];
    int64_t hour = hour_of(row);
    switch (where) {
    case 0:
        return true;
    case 1:
        return is_k(row, 1);
    case 2:
        return is_k(row, 2) || is_k(row, 0) || is_k(row, -1);
    case 3:
        return is_t(row, "t1");
    case 4:
        return is_k(row, 1) && (is_t(row, "t1") || is_t(row, "t2"));
    case 5:
        return hour >= 1;
    case 6:
        return hour >= -1 && hour <= 1 && is_k(row, 0);
    case 7:
        return (!k->is_null && k->bigint > 0) || is_t(row, "t1");
    case 8:
        return k->is_null;
    case 9:
        return is_k(row, 0) && is_t(row, "t2") && hour >= 0 && hour < 2;
    case 10:
        return false;
    default:
        return (!k->is_null && k->bigint != 1) && (!t->is_null && !is_t(row, "t2"));
    }
}

static int fixture_setup(void **state)
{
    const struct test_shape shape = {.keys = 5, .hours = 8};
    struct fixture *fixture = ab_new(struct fixture);
    struct ab_random random;
    ab_random_init(&random, 11);
    fixture->catalog = test_catalog(TEST_STREAM VIEW);
    fixture->aggregation = test_aggregation(&fixture->catalog->views[0]);
    fixture->rows = ab_new_array(struct test_row, ROWS);
    uint32_t order[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) {
        test_row_random(&random, &shape, &fixture->rows[i]);
    }
    test_shuffle(&random, order, ROWS);
    for (int i = 0; i < 2; i++) {
        fixture->parts[i] = ab_group_table_create(fixture->aggregation, NULL);
        test_update(fixture->parts[i], fixture->rows, order + i * (ROWS / 2), ROWS / 2, NULL);
    }
    *state = fixture;
    return 0;
}

static int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 2; i++) {
        ab_group_table_destroy(fixture->parts[i]);
    }
    ab_delete(fixture->rows);
    ab_aggregation_destroy(fixture->aggregation);
    ab_catalog_release(fixture->catalog);
    ab_delete(fixture);
    return 0;
}

static struct ab_query *query_of(struct fixture *fixture, const char *sql)
{
    struct ab_query *query = NULL;
    struct ab_error error = {0};
    if (ab_query_parse(fixture->catalog, ab_bytes_of_text(sql), &query, &error) != AB_OK) {
        fail_msg("%s: %s", sql, error.text);
    }
    return query;
}

static struct ab_rollup *rollup_of(struct fixture *fixture, const struct ab_query *query, ab_time_us hidden_until)
{
    struct ab_rollup *rollup = NULL;
    struct ab_error error = {0};
    assert_ok(ab_rollup_create(query, fixture->aggregation, hidden_until, NULL, &rollup, &error));
    return rollup;
}

/* ---- the stored rows, and scanning them as a store does ---- */

struct stored {
    struct ab_buffer bytes;
    size_t ends[2 * ROWS + 1];
    size_t count;
};

static struct ab_bytes stored_at(const struct stored *stored, size_t i)
{
    size_t start = i == 0 ? 0 : stored->ends[i - 1];
    return ab_bytes_of(stored->bytes.data + start, stored->ends[i] - start);
}

static void stored_init(struct stored *stored, const struct ab_group_table *table)
{
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    struct ab_bytes key;
    struct ab_bytes row;
    memset(stored, 0, sizeof(*stored));
    while (ab_group_cursor_next(cursor, &key, &row)) {
        ab_buffer_put_bytes(&stored->bytes, key);
        stored->ends[2 * stored->count] = stored->bytes.bytes;
        ab_buffer_put_bytes(&stored->bytes, row);
        stored->ends[2 * stored->count++ + 1] = stored->bytes.bytes;
        assert_true(stored->count <= ROWS);
    }
    for (size_t i = 1; i < stored->count; i++) {
        assert_true(ab_bytes_compare(stored_at(stored, 2 * i - 2), stored_at(stored, 2 * i)) < 0);
    }
    ab_group_cursor_close(cursor);
}

static size_t stored_seek(const struct stored *stored, struct ab_bytes key)
{
    size_t i = 0;
    while (i < stored->count && ab_bytes_compare(stored_at(stored, 2 * i), key) < 0) {
        i++;
    }
    return i;
}

/* Adds what the scan does not jump over; returns how many keys were looked at. */
static size_t scan_add(
    struct ab_rollup *rollup, const struct ab_query *query, const struct ab_group_table *table, ab_time_us hidden_until)
{
    struct stored stored;
    struct ab_buffer seek = {0};
    struct ab_group_scan *scan = ab_group_scan_create(query, hidden_until);
    stored_init(&stored, table);
    ab_group_scan_start(scan, &seek);
    size_t looked = 0;
    size_t i = stored_seek(&stored, ab_buffer_view(&seek));
    while (i < stored.count) {
        struct ab_bytes key = stored_at(&stored, 2 * i);
        enum ab_scan_step step = ab_group_scan_judge(scan, key, &seek);
        looked++;
        if (step == AB_SCAN_END) {
            break;
        }
        if (step == AB_SCAN_SEEK) {
            assert_true(ab_bytes_compare(ab_buffer_view(&seek), key) > 0);
            i = stored_seek(&stored, ab_buffer_view(&seek));
            continue;
        }
        if (step == AB_SCAN_MATCH) {
            assert_ok(ab_rollup_add(rollup, key, stored_at(&stored, 2 * i + 1)));
        }
        i++;
    }
    ab_group_scan_destroy(scan);
    ab_buffer_fini(&seek);
    ab_buffer_fini(&stored.bytes);
    return looked;
}

/* ---- brute force ---- */

struct expected {
    struct ab_value k;
    struct ab_value t;
    int64_t window;
    int64_t n;
    int64_t nb;
    int64_t sb;
    int64_t mib;
    struct ab_value mat;
};

static bool value_same(const struct ab_value *a, const struct ab_value *b)
{
    return ab_value_compare(a, b) == 0;
}

static struct expected *expected_find(
    struct expected *groups, size_t *count, const struct select_case *select, const struct test_row *row)
{
    struct expected wanted = {.k = row->values[COLUMN_K], .t = row->values[COLUMN_T], .mat = row->values[COLUMN_T]};
    wanted.mat.is_null = true;
    wanted.k.is_null |= !select->by_k;
    wanted.t.is_null |= !select->by_t;
    if (select->window_us > 0) {
        wanted.window = ab_time_floor(row->values[COLUMN_AT].bigint, select->window_us);
    }
    for (size_t i = 0; i < *count; i++) {
        if (value_same(&groups[i].k, &wanted.k) && value_same(&groups[i].t, &wanted.t) &&
            groups[i].window == wanted.window) {
            return &groups[i];
        }
    }
    groups[*count] = wanted;
    return &groups[(*count)++];
}

static void expected_add(struct expected *group, const struct test_row *row)
{
    const struct ab_value *b = &row->values[COLUMN_B];
    const struct ab_value *t = &row->values[COLUMN_T];
    group->n++;
    if (!b->is_null) {
        group->mib = group->nb == 0 || b->bigint < group->mib ? b->bigint : group->mib;
        group->nb++;
        group->sb += b->bigint;
    }
    if (!t->is_null && (group->mat.is_null || ab_value_compare(t, &group->mat) > 0)) {
        group->mat = *t;
    }
}

static size_t brute_force(struct fixture *fixture, const struct select_case *select, size_t where,
    ab_time_us hidden_until, struct expected *groups)
{
    size_t count = 0;
    if (select->is_one_row) {
        groups[count++] = (struct expected){.k = {.is_null = true}, .t = {.is_null = true}};
        groups[0].k.type.kind = AB_TYPE_BIGINT;
        groups[0].t.type.kind = AB_TYPE_TEXT;
        groups[0].mat = groups[0].t;
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct test_row *row = &fixture->rows[i];
        ab_time_us pane_end = (hour_of(row) + 1) * AB_US_PER_HOUR;
        if (where_holds(where, row) && pane_end > hidden_until) {
            expected_add(expected_find(groups, &count, select, row), row);
        }
    }
    return count;
}

/* ---- comparing ---- */

static void result_row_check(const struct select_case *select, const struct ab_column *columns, uint32_t row,
    struct expected *groups, size_t count)
{
    uint32_t c = 0;
    struct ab_value null_k = {.type = {.kind = AB_TYPE_BIGINT}, .is_null = true};
    struct ab_value null_t = {.type = {.kind = AB_TYPE_TEXT}, .is_null = true};
    struct ab_value k = select->by_k ? ab_column_value(&columns[c++], row) : null_k;
    struct ab_value t = select->by_t ? ab_column_value(&columns[c++], row) : null_t;
    int64_t window = select->window_us > 0 ? ab_column_value(&columns[c++], row).bigint : 0;
    for (size_t i = 0; i < count; i++) {
        const struct expected *group = &groups[i];
        if (group->window != window || !value_same(&group->k, &k) || !value_same(&group->t, &t)) {
            continue;
        }
        struct ab_value ab = ab_column_value(&columns[c + 2], row);
        struct ab_value mib = ab_column_value(&columns[c + 3], row);
        struct ab_value mat = ab_column_value(&columns[c + 4], row);
        assert_int_equal(ab_column_value(&columns[c], row).bigint, group->n);
        assert_int_equal(ab_column_value(&columns[c + 5], row).bigint, group->nb);
        assert_int_equal(ab_column_value(&columns[c + 1], row).is_null, group->nb == 0);
        assert_true(ab.is_null == (group->nb == 0) && mib.is_null == (group->nb == 0));
        assert_true(value_same(&mat, &group->mat));
        if (group->nb > 0) {
            assert_true(ab_column_value(&columns[c + 1], row).decimal == group->sb);
            assert_true(ab.real == (double)group->sb / (double)group->nb);
            assert_int_equal(mib.bigint, group->mib);
        }
        return;
    }
    fail_msg("a group that brute force does not have");
}

static void result_check(
    struct ab_rollup *rollup, const struct select_case *select, struct expected *groups, size_t count)
{
    struct ab_arena arena = {0};
    struct ab_column *columns = NULL;
    struct ab_error error = {0};
    uint32_t rows_count = 0;
    uint64_t overflows = 0;
    if (ab_rollup_finish(rollup, &arena, &columns, &rows_count, &overflows, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(rows_count, count);
    assert_int_equal(overflows, 0);
    uint32_t order_columns = (select->by_k ? 1u : 0u) + (select->by_t ? 1u : 0u) + (select->window_us > 0 ? 1u : 0u);
    for (uint32_t row = 0; row < rows_count; row++) {
        result_row_check(select, columns, row, groups, count);
        for (uint32_t c = 0; row > 0 && c < order_columns; c++) {
            struct ab_value before = ab_column_value(&columns[c], row - 1);
            struct ab_value here = ab_column_value(&columns[c], row);
            int order = ab_value_compare(&before, &here);
            assert_true(order <= 0 && (order < 0 || c + 1 < order_columns));
            if (order < 0) {
                break;
            }
        }
    }
    ab_arena_fini(&arena);
}

static void case_check(struct fixture *fixture, size_t s, size_t where, ab_time_us hidden_until)
{
    const struct select_case *select = &selects[s];
    struct expected *groups = ab_new_array(struct expected, ROWS + 1);
    char *sql = ab_new_format("%s%s%s", select->select, wheres[where], select->tail);
    struct ab_query *query = query_of(fixture, sql);
    size_t count = brute_force(fixture, select, where, hidden_until, groups);
    struct ab_rollup *tables = rollup_of(fixture, query, hidden_until);
    struct ab_rollup *scans = rollup_of(fixture, query, hidden_until);
    struct ab_rollup *merged = rollup_of(fixture, query, hidden_until);
    for (int i = 0; i < 2; i++) {
        struct ab_rollup *part = rollup_of(fixture, query, hidden_until);
        struct ab_buffer bytes = {0};
        assert_ok(ab_rollup_add_table(tables, fixture->parts[i]));
        (void)scan_add(scans, query, fixture->parts[i], hidden_until);
        (void)scan_add(part, query, fixture->parts[i], hidden_until);
        assert_ok(ab_rollup_encode(part, &bytes));
        assert_ok(ab_rollup_merge(merged, ab_buffer_view(&bytes)));
        ab_buffer_fini(&bytes);
        ab_rollup_destroy(part);
    }
    result_check(tables, select, groups, count);
    result_check(scans, select, groups, count);
    result_check(merged, select, groups, count);
    ab_rollup_destroy(tables);
    ab_rollup_destroy(scans);
    ab_rollup_destroy(merged);
    ab_query_destroy(query);
    ab_delete(sql);
    ab_delete(groups);
}

static void test_rollup_matches_brute_force(void **state)
{
    for (size_t s = 0; s < sizeof(selects) / sizeof(selects[0]); s++) {
        for (size_t where = 0; where < sizeof(wheres) / sizeof(wheres[0]); where++) {
            case_check(*state, s, where, INT64_MIN);
        }
    }
}

static void test_rollup_hides_expired_panes(void **state)
{
    for (size_t s = 0; s < sizeof(selects) / sizeof(selects[0]); s++) {
        case_check(*state, s, 0, AB_US_PER_HOUR);
        case_check(*state, s, 4, 2 * AB_US_PER_HOUR - 1);
    }
}

static void test_rollup_orders_and_limits(void **state)
{
    struct fixture *fixture = *state;
    struct ab_query *query = query_of(fixture, "SELECT k, n, sb FROM r GROUP BY k ORDER BY n DESC, k LIMIT 3");
    struct ab_rollup *rollup = rollup_of(fixture, query, INT64_MIN);
    struct ab_arena arena = {0};
    struct ab_column *columns = NULL;
    uint32_t rows_count = 0;
    uint64_t overflows = 0;
    for (int i = 0; i < 2; i++) {
        assert_ok(ab_rollup_add_table(rollup, fixture->parts[i]));
    }
    assert_true(ab_rollup_count(rollup) > 3);
    assert_ok(ab_rollup_finish(rollup, &arena, &columns, &rows_count, &overflows, NULL));
    assert_int_equal(rows_count, 3);
    for (uint32_t i = 1; i < rows_count; i++) {
        assert_true(ab_column_value(&columns[1], i - 1).bigint >= ab_column_value(&columns[1], i).bigint);
    }
    ab_arena_fini(&arena);
    ab_rollup_destroy(rollup);
    ab_query_destroy(query);
}

static void test_scan_with_pins_looks_at_few_keys(void **state)
{
    struct fixture *fixture = *state;
    struct ab_query *query = query_of(fixture, "SELECT n FROM r WHERE k = 1 AND t = 't2'");
    struct ab_rollup *rollup = rollup_of(fixture, query, INT64_MIN);
    size_t looked = scan_add(rollup, query, fixture->parts[0], INT64_MIN);
    assert_true(looked * 4 < ab_group_table_count(fixture->parts[0]));
    ab_rollup_destroy(rollup);
    ab_query_destroy(query);
}

static void test_rollup_over_budget_is_full(void **state)
{
    struct fixture *fixture = *state;
    struct ab_query *query = query_of(fixture, "SELECT k, t, window_start, n, sb, sd FROM r");
    struct ab_memory memory;
    struct ab_rollup *rollup = NULL;
    ab_memory_init(&memory, 8192, NULL);
    assert_ok(ab_rollup_create(query, fixture->aggregation, INT64_MIN, &memory, &rollup, NULL));
    assert_int_equal(ab_rollup_add_table(rollup, fixture->parts[0]), AB_FULL);
    ab_rollup_destroy(rollup);
    assert_int_equal(ab_memory_used(&memory), 0);
    ab_query_destroy(query);
}

static void test_rollup_merge_refuses_malformed_rows(void **state)
{
    struct fixture *fixture = *state;
    struct ab_query *query = query_of(fixture, "SELECT k, t, n, ab, mat FROM r WHERE k = 1 GROUP BY k, t");
    struct ab_rollup *rollup = rollup_of(fixture, query, INT64_MIN);
    struct ab_rollup *other = rollup_of(fixture, query, INT64_MIN);
    struct ab_buffer bytes = {0};
    struct ab_random random;
    ab_random_init(&random, 3);
    assert_ok(ab_rollup_add_table(rollup, fixture->parts[0]));
    assert_ok(ab_rollup_encode(rollup, &bytes));
    assert_true(bytes.bytes > 20);
    assert_int_equal(ab_rollup_merge(other, ab_bytes_of(bytes.data, 0)), AB_CORRUPT);
    for (size_t cut = 0; cut < bytes.bytes; cut++) {
        uint8_t *copy = ab_new_bytes(cut);
        memcpy(copy, bytes.data, cut);
        ab_err err = ab_rollup_merge(other, ab_bytes_of(copy, cut));
        assert_true(err == AB_OK || err == AB_CORRUPT);
        ab_delete(copy);
    }
    for (int i = 0; i < 3000; i++) {
        size_t at = (size_t)ab_random_below(&random, bytes.bytes);
        uint8_t old = bytes.data[at];
        bytes.data[at] ^= (uint8_t)(1u << ab_random_below(&random, 8));
        ab_err err = ab_rollup_merge(other, ab_buffer_view(&bytes));
        assert_true(err == AB_OK || err == AB_CORRUPT);
        bytes.data[at] = old;
    }
    ab_buffer_fini(&bytes);
    ab_rollup_destroy(rollup);
    ab_rollup_destroy(other);
    ab_query_destroy(query);
}

/* A result whose only group has a NULL key goes into a view of a column that can be NULL, not into one of `word`. */
static void test_rollup_merge_refuses_null_in_a_not_null_key(void **state)
{
    (void)state;
    const char *const texts[2] = {"SELECT t, n FROM v GROUP BY t", "SELECT word, n FROM w GROUP BY word"};
    const struct test_shape shape = {.keys = 20, .hours = 6};
    const uint32_t first = 0;
    struct ab_catalog *catalog = test_catalog(TEST_STREAM "CREATE VIEW v AS SELECT t, count(*) AS n FROM s GROUP BY t;"
                                                          "CREATE VIEW w AS SELECT word, count(*) AS n FROM s "
                                                          "GROUP BY word;");
    struct ab_aggregation *aggregations[2];
    struct ab_query *queries[2];
    struct ab_rollup *rollups[2];
    struct ab_buffer bytes = {0};
    struct test_row row;
    struct ab_random random;
    for (int i = 0; i < 2; i++) {
        aggregations[i] = test_aggregation(&catalog->views[i]);
        assert_ok(ab_query_parse(catalog, ab_bytes_of_text(texts[i]), &queries[i], NULL));
        assert_ok(ab_rollup_create(queries[i], aggregations[i], INT64_MIN, NULL, &rollups[i], NULL));
    }
    struct ab_group_table *table = ab_group_table_create(aggregations[0], NULL);
    ab_random_init(&random, 5);
    test_row_random(&random, &shape, &row);
    row.values[COLUMN_T].is_null = true;
    test_update(table, &row, &first, 1, NULL);
    assert_ok(ab_rollup_add_table(rollups[0], table));
    assert_ok(ab_rollup_encode(rollups[0], &bytes));
    assert_ok(ab_rollup_merge(rollups[0], ab_buffer_view(&bytes)));
    assert_int_equal(ab_rollup_merge(rollups[1], ab_buffer_view(&bytes)), AB_CORRUPT);
    assert_int_equal(ab_rollup_count(rollups[1]), 0);
    ab_group_table_destroy(table);
    for (int i = 0; i < 2; i++) {
        ab_rollup_destroy(rollups[i]);
        ab_query_destroy(queries[i]);
        ab_aggregation_destroy(aggregations[i]);
    }
    ab_catalog_release(catalog);
    ab_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollup_matches_brute_force),
        cmocka_unit_test(test_rollup_hides_expired_panes),
        cmocka_unit_test(test_rollup_orders_and_limits),
        cmocka_unit_test(test_scan_with_pins_looks_at_few_keys),
        cmocka_unit_test(test_rollup_over_budget_is_full),
        cmocka_unit_test(test_rollup_merge_refuses_malformed_rows),
        cmocka_unit_test(test_rollup_merge_refuses_null_in_a_not_null_key),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
