/* Queries: forms, bounds, pins, and every error with its exact place and text. */
#include "tests/unit/common/catalog/fixture.h"

#include "common/base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define JUNE INT64_C(1370044800000000) /* 2013-06-01 */
#define HOUR AB_US_PER_HOUR

static const char views_sql[] =
    "CREATE STREAM s (k TEXT NOT NULL, j BIGINT, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));\n"
    "CREATE VIEW v AS SELECT k, j, count(*) AS n, sum(j) AS total FROM s GROUP BY k, j, TUMBLE(t, INTERVAL '1 hour');\n"
    "CREATE VIEW w AS SELECT k, count(*) AS n FROM s GROUP BY k";

static struct ab_catalog *views;

static int setup(void **state)
{
    (void)state;
    views = catalog_of(views_sql);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ab_catalog_release(views);
    return 0;
}

static struct ab_query *query_of(const char *sql)
{
    struct ab_query *query = NULL;
    struct ab_error error = {0};
    if (ab_query_parse(views, ab_bytes_of_text(sql), &query, &error) != AB_OK) {
        print_error("%s\n%s\n", sql, error.text);
        fail();
    }
    return query;
}

static const struct {
    const char *text;
    ab_err code;
    const char *expected;
} refusals[] = {
    {"SELECT", AB_SYNTAX, "line 1, column 7: found the end of the text, expected '*' or an expression"},
    {"SELECT n", AB_SYNTAX, "line 1, column 9: found the end of the text, expected FROM, AS, ',' or an operator"},
    {"SELECT n FROM", AB_SYNTAX, "line 1, column 14: found the end of the text, expected a name"},
    {"SELECT n FROM v WHERE", AB_SYNTAX, "line 1, column 22: found the end of the text, expected an expression"},
    {"SELECT n FROM s", AB_UNSUPPORTED,
        "line 1, column 15: s is a stream; queries read views, declare one with CREATE VIEW"},
    {"SELECT n FROM vv", AB_NOT_FOUND, "line 1, column 15: found \"vv\", expected a view; did you mean v?"},
    {"SELECT n FROM w LIMIT -1", AB_SYNTAX, "line 1, column 23: found \"-\", expected a number"},
    {"SELECT n FROM w LIMIT 1.5", AB_SYNTAX, "line 1, column 23: found 1.5, expected a whole number for LIMIT"},
    {"SELECT m FROM v", AB_SYNTAX,
        "line 1, column 8: found \"m\", expected a key, window_start, window_end or a measure of view v"},
    {"SELECT total FROM v GROUP BY k; SELECT", AB_SYNTAX,
        "line 1, column 33: found \"SELECT\", expected the end or ';'"},
    {"SELECT k FROM v GROUP BY j", AB_SYNTAX, "line 1, column 8: k is merged away here, expected it in GROUP BY"},
    {"SELECT k FROM v GROUP BY k, k", AB_SYNTAX, "line 1, column 29: k stands in GROUP BY twice"},
    {"SELECT n FROM v GROUP BY n", AB_SYNTAX, "line 1, column 26: found the measure n, expected keys in GROUP BY"},
    {"SELECT n FROM v GROUP BY window_end", AB_SYNTAX,
        "line 1, column 26: found window_end, expected window_start in GROUP BY"},
    {"SELECT n FROM v GROUP BY window_start, window_start", AB_SYNTAX,
        "line 1, column 40: window_start stands in GROUP BY twice"},
    {"SELECT n FROM v GROUP BY TUMBLE(window_start, INTERVAL '90 minutes')", AB_SYNTAX,
        "line 1, column 47: expected a multiple of the pane, which is '1 hour': the nearest are '1 hour' and '2 "
        "hours'"},
    {"SELECT n FROM v GROUP BY TUMBLE(k, INTERVAL '2 hours')", AB_SYNTAX,
        "line 1, column 33: found \"k\" in TUMBLE, expected window_start"},
    {"SELECT n FROM v GROUP BY TUMBLE(window_start, INTERVAL '2 hours'), window_start", AB_SYNTAX,
        "line 1, column 68: window_start stands in GROUP BY twice"},
    {"SELECT n FROM v GROUP BY k + 1", AB_SYNTAX,
        "line 1, column 28: expected keys and TUMBLE(window_start, INTERVAL 'n unit') in GROUP BY"},
    {"SELECT n FROM v GROUP BY SESSION(window_start, INTERVAL '1 hour')", AB_SYNTAX,
        "line 1, column 26: sessions are declared: a view with GROUP BY SESSION(column, INTERVAL 'gap')"},
    {"SELECT window_start, n FROM v GROUP BY k", AB_SYNTAX,
        "line 1, column 8: window_start is merged away here, expected it in GROUP BY"},
    {"SELECT n, window_start FROM w", AB_SYNTAX,
        "line 1, column 11: view w has no windows: its GROUP BY has no TUMBLE; ask without windows, or declare a view "
        "with TUMBLE"},
    {"SELECT n FROM w WHERE window_start > '2013-01-01'", AB_SYNTAX,
        "line 1, column 23: view w has no windows: its GROUP BY has no TUMBLE; ask without windows, or declare a view "
        "with TUMBLE"},
    {"SELECT n FROM w GROUP BY TUMBLE(window_start, INTERVAL '1 hour')", AB_SYNTAX,
        "line 1, column 33: view w has no windows: its GROUP BY has no TUMBLE; ask without windows, or declare a view "
        "with TUMBLE"},
    {"SELECT n FROM v WHERE n > 1", AB_SYNTAX,
        "line 1, column 23: n is a measure: WHERE chooses panes before measures merge, expected a key, window_start or "
        "window_end"},
    {"SELECT n FROM v WHERE k", AB_SYNTAX, "line 1, column 23: found TEXT for a condition, expected BOOLEAN"},
    {"SELECT n FROM v WHERE window_start >= '2013-06-01 05:30'", AB_SYNTAX,
        "line 1, column 39: 2013-06-01T05:30:00Z is not on the edge of a pane of '1 hour'; the nearest edges are "
        "'2013-06-01T05:00:00Z' and '2013-06-01T06:00:00Z'"},
    {"SELECT n FROM v WHERE window_end = '1969-12-31 23:59:59.5'", AB_SYNTAX,
        "line 1, column 36: 1969-12-31T23:59:59.5Z is not on the edge of a pane of '1 hour'; the nearest edges are "
        "'1969-12-31T23:00:00Z' and '1970-01-01T00:00:00Z'"},
    {"SELECT n FROM v WHERE NOT (window_start BETWEEN '2013-06-01' AND '2013-06-01 00:00:01')", AB_SYNTAX,
        "line 1, column 66: 2013-06-01T00:00:01Z is not on the edge of a pane of '1 hour'; the nearest edges are "
        "'2013-06-01T00:00:00Z' and '2013-06-01T01:00:00Z'"},
    {"SELECT n FROM v WHERE k = 'a' OR window_start IN ('2013-06-01', '2013-06-01 00:10')", AB_SYNTAX,
        "line 1, column 65: 2013-06-01T00:10:00Z is not on the edge of a pane of '1 hour'; the nearest edges are "
        "'2013-06-01T00:00:00Z' and '2013-06-01T01:00:00Z'"},
    {"SELECT n FROM v WHERE '2013-06-01 00:10' < window_start", AB_SYNTAX,
        "line 1, column 23: 2013-06-01T00:10:00Z is not on the edge of a pane of '1 hour'; the nearest edges are "
        "'2013-06-01T00:00:00Z' and '2013-06-01T01:00:00Z'"},
    {"SELECT n FROM v ORDER BY 2", AB_SYNTAX,
        "line 1, column 26: found 2 in ORDER BY, expected the number of a selected column, 1 to 1"},
    {"SELECT n FROM v ORDER BY 0", AB_SYNTAX,
        "line 1, column 26: found 0 in ORDER BY, expected the number of a selected column, 1 to 1"},
    {"SELECT n FROM v ORDER BY k", AB_SYNTAX, "line 1, column 26: k is merged away here, expected it in GROUP BY"},
    {"SELECT k FROM v GROUP BY k ORDER BY j", AB_SYNTAX,
        "line 1, column 37: j is merged away here, expected it in GROUP BY"},
    {"SELECT n FROM v ORDER BY 'x' +1", AB_SYNTAX, "line 1, column 26: found TEXT for +, expected a number"},
    {"SELECT sum(n) FROM v", AB_SYNTAX,
        "line 1, column 8: found the aggregate sum, expected a measure's name: the measures of a view merge by "
        "themselves"},
    {"SELECT p99(n) FROM v", AB_SYNTAX,
        "line 1, column 12: found n, which is count(*); pNN(measure) reads a measure of quantiles(x)"},
    {"SELECT top_k(n, 3) FROM v", AB_SYNTAX,
        "line 1, column 14: found n, which is count(*); top_k(measure, k) reads a measure of top_k(x, k)"},
    {"SELECT nn FROM v", AB_SYNTAX,
        "line 1, column 8: found \"nn\", expected a key, window_start, window_end or a measure of view v; did you mean "
        "n?"},
    {"SELECT n + k FROM v", AB_SYNTAX, "line 1, column 12: found TEXT for +, expected a number"},
    {"SELECT n AS FROM v", AB_SYNTAX, "line 1, column 13: found \"FROM\", expected a name"},
    {"SELECT n n FROM v", AB_SYNTAX, "line 1, column 10: found \"n\", expected FROM, AS, ',' or an operator"},
    {"SELECT DISTINCT k FROM v", AB_UNSUPPORTED,
        "line 1, column 8: SELECT DISTINCT is not supported yet; use GROUP BY"},
    {"SELECT CASE WHEN n > 1 THEN 1 ELSE 2 END FROM v", AB_UNSUPPORTED, "line 1, column 8: CASE is not supported yet"},
    {"SELECT n FROM v OFFSET 3", AB_UNSUPPORTED, "line 1, column 17: OFFSET is not supported yet"},
    {"SELECT n FROM v JOIN w", AB_UNSUPPORTED, "line 1, column 17: JOIN is not supported yet"},
    {"SELECT n FROM v HAVING n > 1", AB_UNSUPPORTED, "line 1, column 17: HAVING is not supported yet"},
    {"SELECT n FROM v GROUP BY k ORDER BY n NULLS LAST", AB_UNSUPPORTED,
        "line 1, column 39: NULLS is not supported yet"},
    {"SELECT n FROM v WHERE k LIKE 'a'", AB_UNSUPPORTED, "line 1, column 25: LIKE is not supported yet"},
    {"CREATE VIEW x AS SELECT n FROM v", AB_SYNTAX, "line 1, column 1: found \"CREATE\", expected SELECT"},
    {"SELECT TUMBLE(window_start, INTERVAL '1 day') FROM v", AB_SYNTAX,
        "line 1, column 8: TUMBLE stands in GROUP BY; here only the same TUMBLE(window_start, INTERVAL '...') may be "
        "repeated"},
    {"SELECT n FROM v WHERE j IN ()", AB_SYNTAX, "line 1, column 29: found \")\", expected an expression"},
    {"SELECT n FROM v WHERE j IN (1, 'x')", AB_SYNTAX,
        "line 1, column 25: found BIGINT IN TEXT, expected two values of one type"},
    {"SELECT NULL FROM v", AB_SYNTAX,
        "line 1, column 8: the type of this NULL is not known here, expected a value whose type is known for this "
        "place"},
    {"SELECT n FROM v LIMIT 5 5", AB_SYNTAX, "line 1, column 25: found \"5\", expected the end or ';'"},
};

static void test_query_refusals_name_place_found_and_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct ab_query *query = NULL;
        struct ab_error error = {0};
        ab_err code = ab_query_parse(views, ab_bytes_of_text(refusals[i].text), &query, &error);
        if (code != refusals[i].code || strcmp(error.text, refusals[i].expected) != 0) {
            print_error("%s\nfound    %s\nexpected %s\n", refusals[i].text, error.text, refusals[i].expected);
            fail();
        }
        assert_null(query);
    }
}

static void test_query_without_group_lists_panes_when_it_reads_a_key(void **state)
{
    (void)state;
    struct ab_query *query = query_of("SELECT k, window_start, n FROM v");
    assert_true(query->is_listing);
    assert_int_equal(query->window.period.width_us, HOUR);
    assert_true(query->is_grouped[0] && query->is_grouped[1]);
    assert_true(query->needs_measure[0]);
    assert_false(query->needs_measure[1]);
    assert_int_equal(ab_expression_column(query->items[0].expression), 0);
    assert_int_equal(ab_expression_column(query->items[1].expression), 2);
    assert_int_equal(ab_expression_column(query->items[2].expression), 4);
    assert_true(query->limit == UINT64_MAX);
    ab_query_destroy(query);
}

static void test_query_of_measures_alone_merges_everything(void **state)
{
    (void)state;
    struct ab_query *query = query_of("SELECT n, total * 1.5 / n AS mean FROM v WHERE k = 'a'");
    assert_false(query->is_listing);
    assert_int_equal(query->window.period.width_us, 0);
    assert_false(query->is_grouped[0] || query->is_grouped[1]);
    assert_true(query->needs_measure[0] && query->needs_measure[1]);
    assert_string_equal(query->items[1].name, "mean");
    ab_query_destroy(query);
}

static void test_query_star_is_the_whole_relation_or_the_groups(void **state)
{
    (void)state;
    struct ab_query *query = query_of("SELECT * FROM v");
    static const char *const all[] = {"k", "j", "window_start", "window_end", "n", "total"};
    assert_int_equal(query->items_count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_string_equal(query->items[i].name, all[i]);
    }
    assert_true(query->is_listing);
    ab_query_destroy(query);
    query = query_of("SELECT *, n + 1 FROM v GROUP BY j");
    assert_int_equal(query->items_count, 4);
    assert_string_equal(query->items[0].name, "j");
    assert_string_equal(query->items[3].name, "n + 1");
    ab_query_destroy(query);
    query = query_of("SELECT * FROM w");
    assert_int_equal(query->items_count, 2);
    assert_true(query->is_listing);
    assert_int_equal(query->window.period.width_us, 0);
    ab_query_destroy(query);
}

static void test_query_groups_by_keys_and_coarser_windows(void **state)
{
    (void)state;
    struct ab_query *query =
        query_of("SELECT j AS x, TUMBLE(window_start, INTERVAL '1 day') AS day, window_end, n FROM v "
                 "GROUP BY x, TUMBLE(window_start, INTERVAL '1 day') ORDER BY day DESC, n / 2, 1 ASC LIMIT 5;");
    assert_false(query->is_grouped[0]);
    assert_true(query->is_grouped[1]);
    assert_int_equal(query->window.period.width_us, AB_US_PER_DAY);
    assert_false(query->is_listing);
    assert_string_equal(query->items[1].name, "day");
    assert_int_equal(ab_expression_column(query->items[1].expression), 2);
    assert_int_equal(query->order_count, 3);
    assert_true(query->order[0].is_descending);
    assert_ptr_equal(query->order[0].expression, query->items[1].expression);
    assert_false(query->order[2].is_descending);
    assert_int_equal(query->limit, 5);
    ab_query_destroy(query);
    query = query_of("SELECT window_start AS hour, n FROM v GROUP BY hour");
    assert_int_equal(query->window.period.width_us, HOUR);
    ab_query_destroy(query);
}

static void expect_window(const char *where, int64_t from, int64_t until)
{
    struct ab_buffer sql = {0};
    ab_buffer_put_format(&sql, "SELECT n FROM v WHERE %s", where);
    struct ab_query *query = query_of(ab_buffer_text(&sql));
    assert_true(query->window_from_us == from);
    assert_true(query->window_until_us == until);
    assert_non_null(query->where);
    ab_query_destroy(query);
    ab_buffer_fini(&sql);
}

static void test_query_windows_come_from_top_level_bounds(void **state)
{
    (void)state;
    const int64_t low = INT64_MIN;
    const int64_t high = INT64_MAX;
    expect_window("window_start >= '2013-06-01' AND window_start < '2013-06-02'", JUNE, JUNE + AB_US_PER_DAY);
    expect_window("window_start > '2013-06-01'", JUNE + HOUR, high);
    expect_window("window_start <= '2013-06-01'", low, JUNE + HOUR);
    expect_window("window_start = '2013-06-01'", JUNE, JUNE + HOUR);
    expect_window("'2013-06-01' <= window_start", JUNE, high);
    expect_window("window_end > '2013-06-01'", JUNE, high);
    expect_window("window_end >= '2013-06-01'", JUNE - HOUR, high);
    expect_window("window_end < '2013-06-01'", low, JUNE - HOUR);
    expect_window("window_end <= TIMESTAMP '2013-06-01 02:00+02:00'", low, JUNE);
    expect_window("window_end = '2013-06-01'", JUNE - HOUR, JUNE);
    expect_window("window_start BETWEEN '2013-06-01' AND '2013-06-01 05:00' AND k = 'a'", JUNE, JUNE + 6 * HOUR);
    expect_window("window_start >= '2013-06-01' OR k = 'a'", low, high);
    expect_window("NOT window_start >= '2013-06-01'", low, high);
    expect_window("window_start <> '2013-06-01'", low, high);
    expect_window("window_start < window_end", low, high);
    expect_window("window_start NOT BETWEEN '2013-06-01' AND '2013-06-02'", low, high);
}

static void test_query_pins_hold_the_values_of_a_key(void **state)
{
    (void)state;
    struct ab_query *query = query_of("SELECT n FROM v WHERE k IN ('b', 'a', 'b', NULL) AND 3 = j AND k > ''");
    assert_int_equal(query->pins_count, 2);
    assert_int_equal(query->pins[0].key, 0);
    assert_int_equal(query->pins[0].values_count, 2);
    assert_memory_equal(query->pins[0].values[0].text.data, "a", 1);
    assert_memory_equal(query->pins[0].values[1].text.data, "b", 1);
    assert_int_equal(query->pins[1].key, 1);
    assert_int_equal(query->pins[1].values[0].bigint, 3);
    ab_query_destroy(query);
}

static void test_query_pins_meet_and_drop_what_no_key_equals(void **state)
{
    (void)state;
    struct ab_query *query = query_of("SELECT n FROM v WHERE j IN (1, 2.0, 3e0, 4.5) AND j IN (2, 3, 7)");
    assert_int_equal(query->pins_count, 1);
    assert_int_equal(query->pins[0].values_count, 2);
    assert_int_equal(query->pins[0].values[0].type.kind, AB_TYPE_BIGINT);
    assert_int_equal(query->pins[0].values[0].bigint, 2);
    assert_int_equal(query->pins[0].values[1].bigint, 3);
    ab_query_destroy(query);
    query = query_of("SELECT n FROM v WHERE j = 1.5 AND k = NULL");
    assert_int_equal(query->pins_count, 2);
    assert_int_equal(query->pins[0].values_count, 0);
    assert_int_equal(query->pins[1].values_count, 0);
    ab_query_destroy(query);
    query =
        query_of("SELECT n FROM v WHERE (j = 1 OR k = 'a') AND NOT k = 'b' AND j <> 3 AND k NOT IN ('x') AND j = j");
    assert_int_equal(query->pins_count, 0);
    ab_query_destroy(query);
}

static void test_query_keeps_its_catalog(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(views_sql);
    struct ab_query *query = NULL;
    assert_int_equal(ab_query_parse(catalog, ab_bytes_of_text("SELECT n FROM w"), &query, NULL), AB_OK);
    ab_catalog_release(catalog);
    assert_string_equal(query->view->name, "w");
    ab_query_destroy(query);
    ab_query_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_refusals_name_place_found_and_expected),
        cmocka_unit_test(test_query_without_group_lists_panes_when_it_reads_a_key),
        cmocka_unit_test(test_query_of_measures_alone_merges_everything),
        cmocka_unit_test(test_query_star_is_the_whole_relation_or_the_groups),
        cmocka_unit_test(test_query_groups_by_keys_and_coarser_windows),
        cmocka_unit_test(test_query_windows_come_from_top_level_bounds),
        cmocka_unit_test(test_query_pins_hold_the_values_of_a_key),
        cmocka_unit_test(test_query_pins_meet_and_drop_what_no_key_equals),
        cmocka_unit_test(test_query_keeps_its_catalog),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
