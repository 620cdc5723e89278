/* The bytes of states and group keys: what speed's stores, version directories and digests are made of. */
#include "common/aggregate/group_key.h"
#include "common/aggregate/group_table.h"
#include "tests/golden/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>

#define ROWS 9

static const char sql[] =
    "CREATE STREAM s (k TEXT, i BIGINT, d DOUBLE, m DECIMAL(30, 3), f BOOLEAN, at TIMESTAMP NOT NULL, w TEXT NOT "
    "NULL,\n"
    "  EVENT TIME at, PARTITION KEY (w));\n"
    "CREATE VIEW v AS SELECT k, count(*) AS n, count(d) AS nd, sum(d) AS sd, var_pop(d) AS vd, sum(i) AS si,\n"
    "  var_pop(i) AS vi, sum(m) AS sm, var_pop(m) AS vm, min(d) AS mid, max(d) AS mad, min(w) AS miw, max(m) AS mam,\n"
    "  min(f) AS mif, max(i) AS mai, max(at) AS mat, first(i) AS fi, last(w) AS lw, count_distinct(w) AS cw\n"
    "  FROM s GROUP BY k, TUMBLE(at, INTERVAL '1 hour');\n"
    "CREATE VIEW every_key AS SELECT k, i, d, m, f, count(*) AS n FROM s GROUP BY k, i, d, m, f, TUMBLE(at, INTERVAL "
    "'1 day');\n"
    "CREATE VIEW family AS SELECT k, min_by(w, d) AS wd, max_by(m, i) AS mi, first_k(d, 3) AS fd, last_k(w, 2) AS lw,\n"
    "  largest(m, 2) AS lam, smallest(f, 9) AS sf, kurtosis(d) AS kd, kurtosis(i) AS ki, corr(d, m) AS cdm,\n"
    "  covar_pop(i, m) AS cim, bit_and(i) AS bai, bit_or(i) AS boi, bit_xor(i) AS bxi, bool_and(f) AS baf,\n"
    "  avg_weighted(d, i) AS wdi, ratio(d, m) AS rdm, rate(i) AS ri, histogram(d, -1, 0, 2.5) AS hd,\n"
    "  histogram(i, 0) FILTER (WHERE f) AS hi FROM s GROUP BY k, TUMBLE(at, INTERVAL '1 hour');\n"
    "CREATE VIEW sketches AS SELECT k, quantiles(d) AS qd, quantiles(m) AS qm, p99(i) AS qi, top_k(w, 2) AS tw,\n"
    "  top_k(d, 2) AS td, theta(i) AS ti, bloom(w, 100) AS bw, sample(w, 3) AS sw, sample(m, 1) AS sm,\n"
    "  decayed_sum(d, INTERVAL '1 hour') AS ds, decayed_avg(i, INTERVAL '7 days') AS da FROM s\n"
    "  GROUP BY k, TUMBLE(at, INTERVAL '1 hour');\n";

struct fixture {
    struct ab_catalog *catalog;
    struct ab_column columns[7];
    const struct ab_column *pointers[7];
};

static int fixture_setup(void **state)
{
    static const uint32_t ends[] = {1, 1, 7};
    static const uint32_t codes[ROWS] = {0, 1, 2, 0, 0, 2, 2, 0, 1};
    static const uint8_t nulls[ROWS] = {0, 0, 0, 1, 0, 0, 1, 0, 0};
    static const int64_t numbers[ROWS] = {1, -5, INT64_MAX, 0, INT64_MIN, 1000000, 7, -1, 255};
    static const double reals[ROWS] = {1.5, -0.0, 1e300, NAN, -INFINITY, 5e-324, 0.1, 123456.789, -2.25};
    static const ab_int128 units[ROWS] = {1, -1, ((ab_int128)1) << 90, 5, 1000, -77777, 0, 12, 500};
    static const uint8_t flags[ROWS] = {0, 1, 1, 0, 0, 1, 0, 1, 1};
    static const int64_t times[ROWS] = {0, -1, 3600000000, 5, 1370063820123456, 1370063820123456, 3, 2, 1};
    static const uint8_t no_nulls[ROWS] = {0};
    static struct fixture fixture;
    struct ab_error error = {0};
    struct ab_dictionary dictionary = {.count = 3, .ends = ends, .bytes = (const uint8_t *)"aZ\xc3\xbcrich"};
    fixture.columns[0] = (struct ab_column){.type = {.kind = AB_TYPE_TEXT}, .values = codes, .nulls = nulls};
    fixture.columns[1] = (struct ab_column){.type = {.kind = AB_TYPE_BIGINT}, .values = numbers, .nulls = nulls};
    fixture.columns[2] = (struct ab_column){.type = {.kind = AB_TYPE_DOUBLE}, .values = reals, .nulls = no_nulls};
    fixture.columns[3] =
        (struct ab_column){.type = {.kind = AB_TYPE_DECIMAL, .precision = 30, .scale = 3}, .values = units};
    fixture.columns[4] = (struct ab_column){.type = {.kind = AB_TYPE_BOOLEAN}, .values = flags, .nulls = nulls};
    fixture.columns[5] = (struct ab_column){.type = {.kind = AB_TYPE_TIMESTAMP}, .values = times};
    fixture.columns[6] = (struct ab_column){.type = {.kind = AB_TYPE_TEXT}, .values = codes};
    fixture.columns[0].dictionary = dictionary;
    fixture.columns[6].dictionary = dictionary;
    for (int i = 0; i < 7; i++) {
        fixture.columns[i].rows_count = ROWS;
        fixture.pointers[i] = &fixture.columns[i];
    }
    *state = &fixture;
    return ab_catalog_parse(ab_bytes_of_text(sql), &fixture.catalog, &error) == AB_OK ? 0 : -1;
}

static int fixture_teardown(void **state)
{
    ab_catalog_release(((struct fixture *)*state)->catalog);
    return 0;
}

/* Aggregates the sample rows into view `view` and dumps keys and rows. */
static void view_dump(struct fixture *fixture, uint32_t view, bool with_rows, struct ab_buffer *out)
{
    struct ab_aggregation *aggregation = NULL;
    struct ab_arena scratch = {0};
    struct ab_row_counts counts = {0};
    struct ab_bytes key;
    struct ab_bytes row;
    assert_int_equal(ab_aggregation_create(&fixture->catalog->views[view], &aggregation, NULL), AB_OK);
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    struct ab_rows rows = {
        .columns = fixture->pointers, .rows_count = ROWS, .partition = 5, .offset = 77, .expired_until_us = INT64_MIN};
    ab_group_table_update(table, &rows, &scratch, &counts);
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    while (ab_group_cursor_next(cursor, &key, &row)) {
        ab_buffer_put_blob(out, key);
        if (with_rows) {
            ab_buffer_put_blob(out, row);
        }
    }
    ab_group_cursor_close(cursor);
    ab_group_table_destroy(table);
    ab_aggregation_destroy(aggregation);
    ab_arena_fini(&scratch);
}

static void test_golden_states(void **state)
{
    struct ab_buffer bytes = {0};
    view_dump(*state, 0, true, &bytes);
    golden_expect("states.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_states_of_the_family(void **state)
{
    struct ab_buffer bytes = {0};
    view_dump(*state, 2, true, &bytes);
    golden_expect("states_family.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_states_of_sketches(void **state)
{
    struct ab_buffer bytes = {0};
    view_dump(*state, 3, true, &bytes);
    golden_expect("states_sketches.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_group_keys(void **state)
{
    struct ab_buffer bytes = {0};
    view_dump(*state, 1, false, &bytes);
    golden_expect("group_keys.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

/* Committed rows can be read, and their digest is what it was. */
static void test_golden_states_are_readable(void **state)
{
    (void)state;
    struct ab_buffer bytes = {0};
    struct ab_digest digest = {0};
    char text[33];
    golden_read("states.bin", &bytes);
    struct ab_reader reader = ab_reader_of(ab_buffer_view(&bytes));
    while (ab_reader_left(&reader) > 0) {
        struct ab_bytes key = ab_reader_blob(&reader);
        struct ab_bytes row = ab_reader_blob(&reader);
        assert_false(reader.has_failed);
        assert_int_equal(ab_state_row_validate(row), AB_OK);
        assert_int_equal(ab_digest_add(&digest, key, row), AB_OK);
    }
    assert_int_equal(digest.rows_count, ROWS);
    ab_hash128_format(digest.sum, text);
    assert_string_equal(text, "49119ec381d2b48d75e178c4c9518d9a");
    ab_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_states),
        cmocka_unit_test(test_golden_states_of_the_family),
        cmocka_unit_test(test_golden_states_of_sketches),
        cmocka_unit_test(test_golden_group_keys),
        cmocka_unit_test(test_golden_states_are_readable),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
