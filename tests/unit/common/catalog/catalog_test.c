/* Streams and views as parsed: types, names, defaults, canonical text, look-ups. */
#include "tests/unit/common/catalog/fixture.h"

#include "common/base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

static const struct ab_view *view_of(const struct ab_catalog *catalog, const char *name)
{
    const struct ab_view *view = ab_catalog_view(catalog, ab_bytes_of_text(name));
    assert_non_null(view);
    return view;
}

static void expect_type(struct ab_type type, const char *expected)
{
    char text[AB_TYPE_TEXT_BYTES];
    assert_string_equal(ab_type_format(type, text), expected);
}

static void test_catalog_design_stream_has_its_columns(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(flights_sql);
    const struct ab_stream *stream = ab_catalog_stream(catalog, ab_bytes_of_text("flights"));
    assert_non_null(stream);
    assert_int_equal(stream->id, 1);
    assert_int_equal(stream->columns_count, 8);
    assert_string_equal(stream->columns[4].name, "dep_delay");
    expect_type(stream->columns[4].type, "DOUBLE");
    assert_string_equal(stream->columns[4].check_text, "dep_delay BETWEEN -120 AND 2880");
    assert_true(stream->columns[0].is_not_null);
    assert_false(stream->columns[3].is_not_null);
    assert_int_equal(stream->event_time_column, 7);
    assert_int_equal(stream->partition_columns_count, 1);
    assert_int_equal(stream->partition_columns[0], 0);
    assert_int_equal(stream->history_retention_us, 0);
    assert_int_equal(stream->future_bound_us, AB_US_PER_DAY);
    assert_int_equal(stream->past_bound_us, 0);
    assert_int_equal(ab_stream_column_index(stream, ab_bytes_of_text("distance")), 6);
    assert_int_equal(ab_stream_column_index(stream, ab_bytes_of_text("nothing")), -1);
    ab_catalog_release(catalog);
}

static void test_catalog_design_view_has_keys_panes_and_measures(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(flights_sql);
    const struct ab_view *view = view_of(catalog, "delay_by_carrier");
    assert_int_equal(view->id, 1);
    assert_int_equal(view->uid, 1);
    assert_int_equal(view->definition_version, 1);
    assert_int_equal(view->keys_count, 1);
    assert_string_equal(view->keys[0].name, "carrier");
    assert_int_equal(view->pane_us, AB_US_PER_HOUR);
    assert_int_equal(view->pane_column, 7);
    assert_int_equal(view->chunk_us, AB_US_PER_DAY);
    assert_int_equal(view->keep_us, 730 * AB_US_PER_DAY);
    assert_true(view->is_aligned);
    assert_int_equal(view->measures_count, 4);
    assert_int_equal(view->measures[0].kind, AB_MEASURE_COUNT_ROWS);
    assert_int_equal(view->measures[1].kind, AB_MEASURE_AVG);
    assert_string_equal(view->measures[3].definition, "count_distinct(tailnum)");
    expect_print(view->where, "dep_delay IS NOT NULL");
    assert_ptr_equal(ab_catalog_view_by_uid(catalog, 2), view_of(catalog, "by_origin"));
    assert_null(ab_catalog_view_by_uid(catalog, 3));
    assert_false(view_of(catalog, "by_origin")->is_aligned);
    assert_int_equal(view_of(catalog, "by_origin")->chunk_us, 0);
    ab_catalog_release(catalog);
}

static void test_catalog_measures_have_the_types_of_the_design(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_S "CREATE VIEW v AS SELECT count(*), count(x), sum(n), sum(d), "
                                                     "sum(x), avg(n), min(d), max(k), first(t), last(b), "
                                                     "variance(x), stddev(x), var_pop(x), stddev_pop(x), "
                                                     "count(DISTINCT k), sum(d * d), sum(n + 1), sum(n * 1.5) FROM s");
    static const struct {
        const char *name;
        const char *type;
        const char *definition;
        enum ab_measure_kind kind;
    } expected[] = {
        {"count", "BIGINT", "count(*)", AB_MEASURE_COUNT_ROWS},
        {"count_x", "BIGINT", "count(x)", AB_MEASURE_COUNT},
        {"sum_n", "DECIMAL(38, 0)", "sum(n)", AB_MEASURE_SUM},
        {"sum_d", "DECIMAL(38, 2)", "sum(d)", AB_MEASURE_SUM},
        {"sum_x", "DOUBLE", "sum(x)", AB_MEASURE_SUM},
        {"avg_n", "DOUBLE", "avg(n)", AB_MEASURE_AVG},
        {"min_d", "DECIMAL(10, 2)", "min(d)", AB_MEASURE_MIN},
        {"max_k", "TEXT", "max(k)", AB_MEASURE_MAX},
        {"first_t", "TIMESTAMP", "first(t)", AB_MEASURE_FIRST},
        {"last_b", "BOOLEAN", "last(b)", AB_MEASURE_LAST},
        {"var_samp_x", "DOUBLE", "var_samp(x)", AB_MEASURE_VAR_SAMP},
        {"stddev_samp_x", "DOUBLE", "stddev_samp(x)", AB_MEASURE_STDDEV_SAMP},
        {"var_pop_x", "DOUBLE", "var_pop(x)", AB_MEASURE_VAR_POP},
        {"stddev_pop_x", "DOUBLE", "stddev_pop(x)", AB_MEASURE_STDDEV_POP},
        {"count_distinct_k", "BIGINT", "count_distinct(k)", AB_MEASURE_COUNT_DISTINCT},
        {"sum_d_d", "DECIMAL(38, 4)", "sum(d * d)", AB_MEASURE_SUM},
        {"sum_n_1", "DECIMAL(38, 0)", "sum(n + 1)", AB_MEASURE_SUM},
        {"sum_n_1_5", "DECIMAL(38, 1)", "sum(n * 1.5)", AB_MEASURE_SUM},
    };
    const struct ab_view *view = view_of(catalog, "v");
    assert_int_equal(view->measures_count, sizeof(expected) / sizeof(expected[0]));
    for (uint32_t i = 0; i < view->measures_count; i++) {
        assert_string_equal(view->measures[i].name, expected[i].name);
        assert_string_equal(view->measures[i].definition, expected[i].definition);
        assert_int_equal(view->measures[i].kind, expected[i].kind);
        expect_type(view->measures[i].type, expected[i].type);
    }
    assert_int_equal(view->measures[0].arguments_count, 0);
    expect_type(view->measures[15].argument_types[0], "DECIMAL(38, 4)");
    ab_catalog_release(catalog);
}

static void test_catalog_measures_of_several_arguments_and_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *call;
        const char *type;
        const char *definition;
        uint32_t arguments_count;
        uint32_t parameters_count;
    } expected[] = {
        {"min_by(k, x)", "TEXT", "min_by(k, x)", 2, 0},
        {"arg_max(d, t)", "DECIMAL(10, 2)", "max_by(d, t)", 2, 0},
        {"first_k(k, 3)", "TEXT", "first_k(k, 3)", 1, 1},
        {"last_k(n + 1, 1000)", "TEXT", "last_k(n + 1, 1000)", 1, 1},
        {"largest(x, 1 + 1)", "TEXT", "largest(x, 2)", 1, 1},
        {"smallest(b, 1)", "TEXT", "smallest(b, 1)", 1, 1},
        {"skewness(n)", "DOUBLE", "skewness(n)", 1, 0},
        {"kurtosis(d)", "DOUBLE", "kurtosis(d)", 1, 0},
        {"covar_pop(x, n)", "DOUBLE", "covar_pop(x, n)", 2, 0},
        {"covar_samp(n, d)", "DOUBLE", "covar_samp(n, d)", 2, 0},
        {"corr(n, 2 * x)", "DOUBLE", "corr(n, 2 * x)", 2, 0},
        {"regr_slope(x, d)", "DOUBLE", "regr_slope(x, d)", 2, 0},
        {"regr_intercept(x, x)", "DOUBLE", "regr_intercept(x, x)", 2, 0},
        {"regr_r2(n, 3)", "DOUBLE", "regr_r2(n, 3)", 2, 0},
        {"bool_and(b)", "BOOLEAN", "bool_and(b)", 1, 0},
        {"every(n > 3)", "BOOLEAN", "bool_and(n > 3)", 1, 0},
        {"bool_or(b)", "BOOLEAN", "bool_or(b)", 1, 0},
        {"bit_and(n)", "BIGINT", "bit_and(n)", 1, 0},
        {"bit_or(n)", "BIGINT", "bit_or(n)", 1, 0},
        {"bit_xor(n) FILTER (WHERE b)", "BIGINT", "bit_xor(n) FILTER (WHERE b)", 1, 0},
        {"avg_weighted(x, n)", "DOUBLE", "avg_weighted(x, n)", 2, 0},
        {"ratio(n, d)", "DOUBLE", "ratio(n, d)", 2, 0},
        {"rate(d)", "DOUBLE", "rate(d)", 1, 0},
        {"histogram(n, 0, 10, 2.0e1)", "TEXT", "histogram(n, 0, 10, 20)", 1, 3},
        {"histogram(x, -1, 0.1)", "TEXT", "histogram(x, -1e0, 0.10000000000000001e0)", 1, 2},
        {"histogram(d, 0, 2.5)", "TEXT", "histogram(d, 0.00, 2.50)", 1, 2},
    };
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        char sql[600];
        (void)snprintf(sql, sizeof(sql),
            "%sCREATE VIEW v AS SELECT %s AS m FROM s GROUP BY TUMBLE(t, INTERVAL '1 hour')", STREAM_S,
            expected[i].call);
        struct ab_catalog *catalog = catalog_of(sql);
        const struct ab_measure *measure = &view_of(catalog, "v")->measures[0];
        assert_string_equal(measure->definition, expected[i].definition);
        assert_int_equal(measure->arguments_count, expected[i].arguments_count);
        assert_int_equal(measure->parameters_count, expected[i].parameters_count);
        expect_type(measure->type, expected[i].type);
        /* The canonical call is its own canonical form. */
        (void)snprintf(sql, sizeof(sql), "%s%s", STREAM_S, view_of(catalog, "v")->definition);
        struct ab_catalog *again = catalog_of(sql);
        assert_string_equal(view_of(again, "v")->definition, view_of(catalog, "v")->definition);
        ab_catalog_release(again);
        ab_catalog_release(catalog);
    }
}

/* Where one of a pair is DOUBLE, both are summed as DOUBLE; otherwise each as it is. */
static void test_catalog_pairs_are_of_one_kind_of_number(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_S
        "CREATE VIEW v AS SELECT covar_pop(n, x) AS a, corr(d, n) AS b, ratio(n, x) AS c, min_by(n, x) AS e FROM s");
    const struct ab_measure *measures = view_of(catalog, "v")->measures;
    expect_type(measures[0].argument_types[0], "DOUBLE");
    expect_type(measures[0].argument_types[1], "DOUBLE");
    expect_type(measures[1].argument_types[0], "DECIMAL(10, 2)");
    expect_type(measures[1].argument_types[1], "BIGINT");
    expect_type(measures[2].argument_types[0], "BIGINT");
    expect_type(measures[3].argument_types[0], "BIGINT");
    ab_catalog_release(catalog);
}

static void test_catalog_filter_belongs_to_its_aggregate(void **state)
{
    (void)state;
    struct ab_catalog *catalog =
        catalog_of(STREAM_S "CREATE VIEW v AS SELECT count(*) FILTER (WHERE x > 15) AS late, sum(n) AS total FROM s");
    const struct ab_view *view = view_of(catalog, "v");
    expect_print(view->measures[0].filter, "x > 15");
    assert_string_equal(view->measures[0].definition, "count(*) FILTER (WHERE x > 15)");
    assert_null(view->measures[1].filter);
    ab_catalog_release(catalog);
}

static void test_catalog_keys_take_aliases_and_unselected_keys_stay(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_S "CREATE VIEW v AS SELECT k AS who, window_start, TUMBLE(t, "
                                                     "INTERVAL '15 minutes'), count(*) FROM s GROUP BY who, "
                                                     "n, TUMBLE(t, INTERVAL '15 minutes');"
                                                     "CREATE VIEW w AS SELECT count(*) FROM s");
    const struct ab_view *view = view_of(catalog, "v");
    assert_int_equal(view->keys_count, 2);
    assert_string_equal(view->keys[0].name, "who");
    assert_int_equal(view->keys[0].column, 0);
    assert_string_equal(view->keys[1].name, "n");
    expect_type(view->keys[1].type, "BIGINT");
    assert_true(view->is_aligned);
    assert_int_equal(view_of(catalog, "w")->keys_count, 0);
    assert_false(view_of(catalog, "w")->is_aligned);
    ab_catalog_release(catalog);
}

static int64_t chunk_of_pane(const char *interval)
{
    struct ab_buffer text = {0};
    ab_buffer_put_format(
        &text, STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, INTERVAL '%s')", interval);
    struct ab_catalog *catalog = catalog_of(ab_buffer_text(&text));
    int64_t chunk_us = view_of(catalog, "v")->chunk_us;
    assert_int_equal(chunk_us % view_of(catalog, "v")->pane_us, 0);
    ab_catalog_release(catalog);
    ab_buffer_fini(&text);
    return chunk_us;
}

static void test_catalog_chunks_are_whole_panes_of_about_a_day(void **state)
{
    (void)state;
    assert_int_equal(chunk_of_pane("1 hour"), AB_US_PER_DAY);
    assert_int_equal(chunk_of_pane("1 second"), AB_US_PER_DAY);
    assert_int_equal(chunk_of_pane("7 hours"), 28 * AB_US_PER_HOUR);
    assert_int_equal(chunk_of_pane("23 hours"), 46 * AB_US_PER_HOUR);
    assert_int_equal(chunk_of_pane("1 day"), 32 * AB_US_PER_DAY);
    assert_int_equal(chunk_of_pane("2 weeks"), 32 * 14 * AB_US_PER_DAY);
}

static void test_catalog_keep_is_the_retention_unless_said(void **state)
{
    (void)state;
    struct ab_catalog *catalog =
        catalog_of(STREAM_S_WEEK "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, INTERVAL '1 hour')");
    assert_int_equal(view_of(catalog, "v")->keep_us, 7 * AB_US_PER_DAY);
    ab_catalog_release(catalog);
}

static void test_catalog_only_the_listed_words_are_reserved(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(
        "create stream stream (\n"
        "  event TEXT not null, time TIMESTAMP NOT NULL, partition BIGINT, key TEXT, check DOUBLE, filter BOOLEAN,\n"
        "  interval BIGINT, timestamp TIMESTAMP, distinct BIGINT, is BIGINT, asc BIGINT, desc BIGINT, view TEXT,\n"
        "  \"select\" BIGINT, \"Mixed \"\"Case\" BIGINT, double DOUBLE PRECISION, text TEXT, model TEXT, case BIGINT,\n"
        "  EVENT TIME time, PARTITION KEY (event, time));\n"
        "CREATE VIEW view AS SELECT event, count(*) AS count, sum(distinct) AS sum, max(\"Mixed \"\"Case\"),\n"
        "  count(DISTINCT is) AS is, min(interval + is - asc) AS desc, count(*) FILTER (WHERE filter) AS filter\n"
        "  FROM stream WHERE is IS NOT NULL AND \"select\" > case AND timestamp > TIMESTAMP '2013-01-01'\n"
        "  GROUP BY event, TUMBLE(time, INTERVAL '1 hour');;");
    const struct ab_stream *stream = ab_catalog_stream(catalog, ab_bytes_of_text("stream"));
    assert_int_equal(stream->columns_count, 19);
    assert_string_equal(stream->columns[14].name, "Mixed \"Case");
    assert_int_equal(stream->partition_columns_count, 2);
    assert_string_equal(view_of(catalog, "view")->measures[2].definition, "max(\"Mixed \"\"Case\")");
    assert_string_equal(view_of(catalog, "view")->measures[2].name, "max_mixed_case");
    ab_catalog_release(catalog);
}

static void test_catalog_canonical_text_parses_to_itself(void **state)
{
    (void)state;
    struct ab_catalog *catalog =
        catalog_of("CREATE STREAM s (k TEXT NOT NULL CHECK (k <> 'it''s' OR k IN ('a', 'b')), t TIMESTAMP NOT NULL, n "
                   "BIGINT, x DOUBLE "
                   "CHECK (x / 3 < 1e10 AND NOT (x = 0.5)), d DECIMAL(10, 2), EVENT TIME t, PARTITION KEY (k)) "
                   "WITH ('max_past' = '90 minutes', max_future = '1500 milliseconds', history_retention = '3 years');"
                   "CREATE VIEW v AS SELECT n, sum((n - (n - 1)) * -n % 7) AS a, sum(d * 2.50 + 5.) FILTER (WHERE NOT "
                   "k = 'x' AND (x > 1 OR x "
                   "IS NULL)) FROM s WHERE t NOT BETWEEN '2013-01-01' AND TIMESTAMP '2014-01-01 12:00' AND -(-n) > -3 "
                   "AND n NOT IN (1, NULL, 3) "
                   "AND coalesce(x, 1.5, nullif(x, 2e0)) >= abs(-x) AND ((x > 1) IS NULL OR TRUE) GROUP BY n, "
                   "TUMBLE(t, INTERVAL '36 hours')");
    struct ab_buffer text = {0};
    ab_buffer_put_format(&text, "%s;\n%s", catalog->streams[0].definition, catalog->views[0].definition);
    struct ab_catalog *again = NULL;
    struct ab_error error = {0};
    ab_err code = ab_catalog_parse(ab_buffer_view(&text), &again, &error);
    if (code != AB_OK) {
        print_error("%s\n%s\n", ab_buffer_text(&text), error.text);
    }
    assert_int_equal(code, AB_OK);
    assert_string_equal(again->streams[0].definition, catalog->streams[0].definition);
    assert_string_equal(again->views[0].definition, catalog->views[0].definition);
    ab_buffer_fini(&text);
    ab_catalog_release(catalog);
    ab_catalog_release(again);
}

static void test_catalog_comments_and_spaces_do_not_change_definitions(void **state)
{
    (void)state;
    struct ab_catalog *a = catalog_of(STREAM_S "CREATE VIEW v AS SELECT count(*) AS c FROM s WHERE n > 1");
    struct ab_catalog *b = catalog_of(
        "-- first\n" STREAM_S "create view V as\n/* two\nlines **/ select COUNT( * ) as \"c\"\nfrom s where (s.n > 1)");
    assert_string_equal(a->views[0].definition, b->views[0].definition);
    assert_string_equal(a->streams[0].definition, b->streams[0].definition);
    assert_false(ab_hash128_equal(a->hash, b->hash));
    ab_catalog_release(a);
    ab_catalog_release(b);
}

static void test_catalog_empty_text_is_an_empty_catalog(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of("-- nothing here\n;;");
    assert_int_equal(catalog->streams_count + catalog->views_count, 0);
    ab_catalog_release(catalog);
    catalog = catalog_of("");
    ab_catalog_release(ab_catalog_acquire(catalog));
    ab_catalog_release(catalog);
    ab_catalog_release(NULL);
}

static void test_catalog_nearest_is_within_a_third(void **state)
{
    (void)state;
    const char *const names[] = {"carrier", "origin", "dest"};
    assert_string_equal(ab_catalog_nearest(ab_bytes_of_text("carier"), names, 3), "carrier");
    assert_string_equal(ab_catalog_nearest(ab_bytes_of_text("roigin"), names, 3), "origin");
    assert_null(ab_catalog_nearest(ab_bytes_of_text("banana"), names, 3));
    assert_null(ab_catalog_nearest(ab_bytes_of_text(""), names, 3));
    assert_null(ab_catalog_nearest(ab_bytes_of_text("d"), names, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalog_design_stream_has_its_columns),
        cmocka_unit_test(test_catalog_design_view_has_keys_panes_and_measures),
        cmocka_unit_test(test_catalog_measures_have_the_types_of_the_design),
        cmocka_unit_test(test_catalog_measures_of_several_arguments_and_parameters),
        cmocka_unit_test(test_catalog_pairs_are_of_one_kind_of_number),
        cmocka_unit_test(test_catalog_filter_belongs_to_its_aggregate),
        cmocka_unit_test(test_catalog_keys_take_aliases_and_unselected_keys_stay),
        cmocka_unit_test(test_catalog_chunks_are_whole_panes_of_about_a_day),
        cmocka_unit_test(test_catalog_keep_is_the_retention_unless_said),
        cmocka_unit_test(test_catalog_only_the_listed_words_are_reserved),
        cmocka_unit_test(test_catalog_canonical_text_parses_to_itself),
        cmocka_unit_test(test_catalog_comments_and_spaces_do_not_change_definitions),
        cmocka_unit_test(test_catalog_empty_text_is_an_empty_catalog),
        cmocka_unit_test(test_catalog_nearest_is_within_a_third),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
