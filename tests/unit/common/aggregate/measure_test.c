/* Finished measures of several arguments, of lists and of moments: against brute force over random rows with NULL, NaN,
 * infinities, -0 and extremes, and against exact rational arithmetic. */
#include "common/aggregate/rollup.h"
#include "tests/unit/common/aggregate/aggregate_support.h"
#include "tests/unit/common/aggregate/moment_vectors.h"

#include <stdlib.h>

#define ROWS 700
#define RESULT_COLUMNS_MAX 48

struct fixture {
    struct ab_catalog *catalog;
    struct ab_aggregation *aggregation;
    struct ab_group_table *parts[3];
    struct test_row *rows;
};

/* The result of a query over all parts. */
struct result {
    struct ab_arena arena;
    struct ab_query *query;
    struct ab_column *columns;
    uint32_t rows_count;
    uint64_t overflows;
};

static void result_init(struct result *result, struct fixture *fixture, const char *sql)
{
    struct ab_error error = {0};
    struct ab_rollup *rollup = NULL;
    memset(result, 0, sizeof(*result));
    if (ab_query_parse(fixture->catalog, ab_bytes_of_text(sql), &result->query, &error) != AB_OK) {
        fail_msg("%s: %s", sql, error.text);
    }
    assert_ok(ab_rollup_create(result->query, fixture->aggregation, INT64_MIN, NULL, &rollup, &error));
    for (int i = 0; i < 3; i++) {
        if (fixture->parts[i] != NULL) {
            assert_ok(ab_rollup_add_table(rollup, fixture->parts[i]));
        }
    }
    assert_ok(
        ab_rollup_finish(rollup, &result->arena, &result->columns, &result->rows_count, &result->overflows, &error));
    ab_rollup_destroy(rollup);
}

static void result_fini(struct result *result)
{
    ab_query_destroy(result->query);
    ab_arena_fini(&result->arena);
}

static int fixture_setup(void **state, bool has_specials)
{
    const struct test_shape shape = {.keys = 3, .hours = 6, .has_specials = has_specials};
    struct fixture *fixture = ab_new(struct fixture);
    struct ab_random random;
    uint32_t order[ROWS];
    ab_random_init(&random, 31 + has_specials);
    fixture->catalog = test_catalog(TEST_STREAM TEST_VIEW_FAMILY);
    fixture->aggregation = test_aggregation(&fixture->catalog->views[0]);
    fixture->rows = ab_new_array(struct test_row, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        test_row_random(&random, &shape, &fixture->rows[i]);
    }
    test_shuffle(&random, order, ROWS);
    for (uint32_t i = 0; i < 3; i++) {
        fixture->parts[i] = ab_group_table_create(fixture->aggregation, NULL);
        test_update(fixture->parts[i], fixture->rows, order + i * ROWS / 3, ROWS / 3 + (i == 2 ? ROWS % 3 : 0), NULL);
    }
    *state = fixture;
    return 0;
}

static int setup_plain(void **state)
{
    return fixture_setup(state, false);
}

static int setup_specials(void **state)
{
    return fixture_setup(state, true);
}

static int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 3; i++) {
        ab_group_table_destroy(fixture->parts[i]);
    }
    ab_aggregation_destroy(fixture->aggregation);
    ab_catalog_release(fixture->catalog);
    ab_delete(fixture->rows);
    ab_delete(fixture);
    return 0;
}

/* ---- groups by brute force ---- */

/* Rows of one group and hour, in the order of their identity. */
struct group {
    const struct test_row *rows[ROWS];
    uint32_t count;
};

/* Numbers of rows are identities after the time: test_columns_init. */
static int row_compare(const void *a, const void *b)
{
    const struct test_row *left = *(const struct test_row *const *)a;
    const struct test_row *right = *(const struct test_row *const *)b;
    int64_t x = left->values[COLUMN_AT].bigint;
    int64_t y = right->values[COLUMN_AT].bigint;
    return x != y ? (x > y) - (x < y) : (left > right) - (left < right);
}

static void group_take(
    const struct fixture *fixture, const struct ab_value *k, int64_t start, int64_t width, struct group *group)
{
    group->count = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct test_row *row = &fixture->rows[i];
        const struct ab_value *key = &row->values[COLUMN_K];
        bool is_k = key->is_null ? k->is_null : !k->is_null && key->bigint == k->bigint;
        int64_t at = row->values[COLUMN_AT].bigint;
        if (is_k && at >= start && at < start + width) {
            group->rows[group->count++] = row;
        }
    }
    qsort(group->rows, group->count, sizeof(group->rows[0]), row_compare);
}

static void expect_equal(const struct ab_value *found, const struct ab_value *expected, const char *name)
{
    if (found->is_null != expected->is_null || ab_value_compare(found, expected) != 0) {
        struct ab_buffer text = {0};
        ab_value_format(found, &text);
        ab_buffer_put_format(&text, " instead of ");
        ab_value_format(expected, &text);
        fail_msg("%s: %s", name, ab_buffer_text(&text));
    }
}

/* ---- selections ---- */

static void expect_by(
    const struct ab_value *found, const struct group *group, uint32_t value, uint32_t key, bool is_max)
{
    const struct test_row *best = NULL;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct test_row *row = group->rows[i];
        if (row->values[value].is_null || row->values[key].is_null) {
            continue;
        }
        int order = best == NULL ? 0 : ab_value_compare(&row->values[key], &best->values[key]);
        if (best == NULL || (is_max ? order > 0 : order < 0)) {
            best = row;
        }
    }
    struct ab_value none = {.type = found->type, .is_null = true};
    expect_equal(found, best == NULL ? &none : &best->values[value], "by");
}

static int value_rise(const void *a, const void *b)
{
    return ab_value_compare(a, b);
}

enum list_form { FIRST_K, LAST_K, SMALLEST, LARGEST };

static void json_put(struct ab_buffer *out, const struct ab_value *value)
{
    bool is_text = value->type.kind == AB_TYPE_TEXT || value->type.kind == AB_TYPE_TIMESTAMP ||
                   (value->type.kind == AB_TYPE_DOUBLE && !isfinite(value->real));
    struct ab_buffer plain = {0};
    ab_value_format(value, &plain);
    ab_buffer_put_format(out, "%s", is_text ? "\"" : "");
    for (size_t i = 0; i < plain.bytes; i++) {
        ab_buffer_put_format(out, plain.data[i] == 0 ? "\\u0000" : "%c", plain.data[i]);
    }
    ab_buffer_put_format(out, "%s", is_text ? "\"" : "");
    ab_buffer_fini(&plain);
}

static void expect_list(const struct ab_value *found, const struct group *group, uint32_t column, enum list_form form,
    uint32_t k, bool needs_f)
{
    struct ab_value values[ROWS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct ab_value *flag = &group->rows[i]->values[COLUMN_F];
        values[count] = group->rows[i]->values[column];
        count += !values[count].is_null && (!needs_f || (!flag->is_null && flag->boolean));
    }
    if (form >= SMALLEST) {
        qsort(values, count, sizeof(values[0]), value_rise);
    }
    struct ab_buffer text = {0};
    for (uint32_t i = 0; i < count && i < k; i++) {
        bool is_backward = form == LAST_K || form == LARGEST;
        ab_buffer_put_format(&text, i == 0 ? "[" : ",");
        json_put(&text, &values[is_backward ? count - 1 - i : i]);
    }
    ab_buffer_put_format(&text, "]");
    struct ab_value expected = {.type = {.kind = AB_TYPE_TEXT}, .is_null = count == 0};
    expected.text = ab_buffer_view(&text);
    expect_equal(found, &expected, "list");
    ab_buffer_fini(&text);
}

static void expect_histogram(const struct ab_value *found, const struct group *group, uint32_t column,
    const double *bounds, uint32_t bounds_count, bool needs_f)
{
    uint64_t counts[8] = {0};
    uint64_t total = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct ab_value *flag = &group->rows[i]->values[COLUMN_F];
        const struct ab_value *value = &group->rows[i]->values[column];
        if (value->is_null || (needs_f && (flag->is_null || !flag->boolean))) {
            continue;
        }
        long double number = value->type.kind == AB_TYPE_DOUBLE    ? value->real
                             : value->type.kind == AB_TYPE_DECIMAL ? (long double)value->decimal / 100
                                                                   : value->bigint;
        uint32_t bin = 0;
        while (bin < bounds_count && !(number < bounds[bin])) {
            bin++;
        }
        counts[bin]++;
        total++;
    }
    struct ab_buffer text = {0};
    for (uint32_t i = 0; i <= bounds_count; i++) {
        ab_buffer_put_format(&text, "%s%llu", i == 0 ? "[" : ",", (unsigned long long)counts[i]);
    }
    ab_buffer_put_format(&text, "]");
    struct ab_value expected = {.type = {.kind = AB_TYPE_TEXT}, .is_null = total == 0};
    expected.text = ab_buffer_view(&text);
    expect_equal(found, &expected, "histogram");
    ab_buffer_fini(&text);
}

static const char selections[] =
    "SELECT k, window_start, t_by_d, d_by_b, b_by_t, w_by_f, ft, lb, fm, ld, lad, smt, lam, smb, sma, laf, hid, him, "
    "hib, ft2, ladf FROM w";

static void expect_selections(const struct ab_value *found, const struct group *group)
{
    static const double d_bounds[] = {-10, 0, 0.5, 100};
    static const double m_bounds[] = {0, 5.25};
    static const double b_bounds[] = {0, 10};
    expect_by(&found[2], group, COLUMN_T, COLUMN_D, false);
    expect_by(&found[3], group, COLUMN_D, COLUMN_B, true);
    expect_by(&found[4], group, COLUMN_B, COLUMN_T, true);
    expect_by(&found[5], group, COLUMN_WORD, COLUMN_F, false);
    expect_list(&found[6], group, COLUMN_T, FIRST_K, 3, false);
    expect_list(&found[7], group, COLUMN_B, LAST_K, 5, false);
    expect_list(&found[8], group, COLUMN_M, FIRST_K, 2, false);
    expect_list(&found[9], group, COLUMN_D, LAST_K, 1000, false);
    expect_list(&found[10], group, COLUMN_D, LARGEST, 4, false);
    expect_list(&found[11], group, COLUMN_T, SMALLEST, 3, false);
    expect_list(&found[12], group, COLUMN_M, LARGEST, 7, false);
    expect_list(&found[13], group, COLUMN_B, SMALLEST, 1, false);
    expect_list(&found[14], group, COLUMN_AT, SMALLEST, 2, false);
    expect_list(&found[15], group, COLUMN_F, LARGEST, 2, false);
    expect_histogram(&found[16], group, COLUMN_D, d_bounds, 4, false);
    expect_histogram(&found[17], group, COLUMN_M, m_bounds, 2, false);
    expect_histogram(&found[18], group, COLUMN_B, b_bounds, 2, true);
    expect_list(&found[19], group, COLUMN_T, FIRST_K, 2, false);
    expect_list(&found[20], group, COLUMN_D, LARGEST, 4, true);
}

typedef void (*expect_fn)(const struct ab_value *found, const struct group *group);

static void expect_all(struct fixture *fixture, const char *sql, int64_t width, expect_fn expect)
{
    static struct group group;
    struct result result;
    uint32_t rows_seen = 0;
    result_init(&result, fixture, sql);
    for (uint32_t row = 0; row < result.rows_count; row++) {
        struct ab_value found[RESULT_COLUMNS_MAX];
        for (uint32_t c = 0; c < result.query->items_count; c++) {
            found[c] = ab_column_value(&result.columns[c], row);
        }
        group_take(fixture, &found[0], found[1].bigint, width, &group);
        assert_true(group.count > 0);
        rows_seen += group.count;
        expect(found, &group);
    }
    assert_int_equal(rows_seen, ROWS);
    result_fini(&result);
}

static void test_selections_are_those_of_brute_force(void **state)
{
    expect_all(*state, selections, AB_US_PER_HOUR, expect_selections);
    char sql[600];
    (void)snprintf(sql, sizeof(sql), "%s GROUP BY k, TUMBLE(window_start, INTERVAL '3 hours')", selections);
    expect_all(*state, sql, 3 * AB_US_PER_HOUR, expect_selections);
}

/* ---- bits and booleans ---- */

static void expect_bits(const struct ab_value *found, const struct group *group)
{
    struct ab_value both = {.type = {.kind = AB_TYPE_BOOLEAN}, .is_null = true, .boolean = true};
    struct ab_value any = {.type = {.kind = AB_TYPE_BOOLEAN}, .is_null = true};
    struct ab_value bits[3] = {{.type = {.kind = AB_TYPE_BIGINT}, .is_null = true, .bigint = -1}};
    bits[1] = bits[2] = (struct ab_value){.type = {.kind = AB_TYPE_BIGINT}, .is_null = true};
    for (uint32_t i = 0; i < group->count; i++) {
        const struct ab_value *flag = &group->rows[i]->values[COLUMN_F];
        const struct ab_value *number = &group->rows[i]->values[COLUMN_B];
        if (!flag->is_null) {
            both = (struct ab_value){.type = both.type, .boolean = both.boolean && flag->boolean};
            any = (struct ab_value){.type = any.type, .boolean = any.boolean || flag->boolean};
        }
        if (!number->is_null) {
            bits[0].bigint &= number->bigint;
            bits[1].bigint |= number->bigint;
            bits[2].bigint ^= number->bigint;
            bits[0].is_null = bits[1].is_null = bits[2].is_null = false;
        }
    }
    expect_equal(&found[2], &both, "bool_and");
    expect_equal(&found[3], &any, "bool_or");
    expect_equal(&found[4], &bits[0], "bit_and");
    expect_equal(&found[5], &bits[1], "bit_or");
    expect_equal(&found[6], &bits[2], "bit_xor");
}

static void test_bits_and_booleans_are_those_of_brute_force(void **state)
{
    expect_all(*state, "SELECT k, window_start, baf, bof, anb, orb, xob FROM w", AB_US_PER_HOUR, expect_bits);
}

/* ---- moments of plain rows, in long double ---- */

static bool number_of(const struct test_row *row, uint32_t column, long double *number)
{
    const struct ab_value *value = &row->values[column];
    *number = value->type.kind == AB_TYPE_DOUBLE    ? value->real
              : value->type.kind == AB_TYPE_DECIMAL ? (long double)value->decimal / 100
                                                    : value->bigint;
    return !value->is_null;
}

/* Central moments of rows where both are there. */
struct moments {
    uint32_t count;
    long double mean_y, mean_x, yy, xx, yx, y3, y4, sum_yx, sum_x;
};

static void moments_take(const struct group *group, uint32_t y_column, uint32_t x_column, struct moments *moments)
{
    long double y;
    long double x;
    memset(moments, 0, sizeof(*moments));
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < group->count; i++) {
            bool is_there = number_of(group->rows[i], y_column, &y);
            is_there = number_of(group->rows[i], x_column, &x) && is_there;
            if (is_there && pass == 0) {
                moments->count++;
                moments->mean_y += y;
                moments->mean_x += x;
                moments->sum_yx += y * x;
                moments->sum_x += x;
            } else if (is_there) {
                y -= moments->mean_y;
                x -= moments->mean_x;
                moments->yy += y * y;
                moments->xx += x * x;
                moments->yx += y * x;
                moments->y3 += y * y * y;
                moments->y4 += y * y * y * y;
            }
        }
        if (pass == 0 && moments->count > 0) {
            moments->mean_y /= moments->count;
            moments->mean_x /= moments->count;
        }
    }
}

static void expect_near(const struct ab_value *found, bool is_null, long double expected, const char *name)
{
    if (found->is_null != is_null) {
        fail_msg("%s is%s NULL", name, found->is_null ? "" : " not");
    }
    if (!is_null && fabsl((long double)found->real - expected) > 1e-9L * (1 + fabsl(expected))) {
        fail_msg("%s is %.17g instead of %.17Lg", name, found->real, expected);
    }
}

static void expect_moments(const struct ab_value *found, const struct group *group)
{
    struct moments m;
    moments_take(group, COLUMN_D, COLUMN_D, &m);
    bool is_flat = m.count == 0 || m.yy == 0;
    long double n = m.count;
    expect_near(&found[2], is_flat, sqrtl(n) * m.y3 / powl(m.yy, 1.5L), "skewness(d)");
    expect_near(&found[3], is_flat, n * m.y4 / (m.yy * m.yy) - 3, "kurtosis(d)");
    moments_take(group, COLUMN_B, COLUMN_B, &m);
    is_flat = m.count == 0 || m.yy == 0;
    n = m.count;
    expect_near(&found[4], is_flat, sqrtl(n) * m.y3 / powl(m.yy, 1.5L), "skewness(b)");
    expect_near(&found[5], is_flat, n * m.y4 / (m.yy * m.yy) - 3, "kurtosis(b)");
    moments_take(group, COLUMN_M, COLUMN_M, &m);
    expect_near(&found[6], m.count == 0 || m.yy == 0, (long double)m.count * m.y4 / (m.yy * m.yy) - 3, "kurtosis(m)");
    moments_take(group, COLUMN_D, COLUMN_B, &m);
    expect_near(&found[7], m.count == 0, m.yx / m.count, "covar_pop(d, b)");
    expect_near(&found[8], m.count == 0 || m.xx == 0, m.yx * m.yx / (m.xx * m.yy), "regr_r2(d, b)");
    moments_take(group, COLUMN_B, COLUMN_M, &m);
    bool has_no_line = m.count == 0 || m.xx == 0;
    expect_near(&found[9], m.count < 2, m.yx / ((long double)m.count - 1), "covar_samp(b, m)");
    expect_near(&found[10], has_no_line || m.yy == 0, m.yx / sqrtl(m.xx * m.yy), "corr(b, m)");
    expect_near(&found[11], has_no_line, m.yx / m.xx, "regr_slope(b, m)");
    expect_near(&found[12], has_no_line, m.mean_y - m.yx / m.xx * m.mean_x, "regr_intercept(b, m)");
    expect_near(&found[13], m.count == 0 || m.sum_x == 0, m.sum_yx / m.sum_x, "avg_weighted(b, m)");
    moments_take(group, COLUMN_D, COLUMN_M, &m);
    expect_near(&found[14], m.count == 0 || m.sum_x == 0, m.sum_yx / m.sum_x, "avg_weighted(d, m)");
    expect_near(&found[15], m.count == 0 || m.xx == 0 || m.yy == 0, m.yx / sqrtl(m.xx * m.yy), "corr(d, m)");
    moments_take(group, COLUMN_M, COLUMN_D, &m);
    expect_near(&found[16], m.count == 0 || m.xx == 0, m.mean_y - m.yx / m.xx * m.mean_x, "regr_intercept(m, d)");
}

static void test_moments_are_near_those_of_brute_force(void **state)
{
    static const char sql[] = "SELECT k, window_start, skd, kud, skb, kub, kum, cpdb, rrdb, csbm, cobm, rsbm, ribm, "
                              "awbm, awdm, codm, rimd FROM w";
    char windows[300];
    expect_all(*state, sql, AB_US_PER_HOUR, expect_moments);
    (void)snprintf(windows, sizeof(windows), "%s GROUP BY k, TUMBLE(window_start, INTERVAL '2 hours')", sql);
    expect_all(*state, windows, 2 * AB_US_PER_HOUR, expect_moments);
}

static void expect_ratios(const struct ab_value *found, const struct group *group, long double seconds)
{
    long double sums[COLUMNS_COUNT] = {0};
    uint32_t counts[COLUMNS_COUNT] = {0};
    for (uint32_t i = 0; i < group->count; i++) {
        for (uint32_t c = COLUMN_D; c <= COLUMN_B; c++) {
            long double number;
            if (number_of(group->rows[i], c, &number)) {
                sums[c] += number;
                counts[c]++;
            }
        }
    }
    bool has_no_b = counts[COLUMN_B] == 0 || sums[COLUMN_B] == 0;
    expect_near(&found[2], counts[COLUMN_D] == 0 || has_no_b, sums[COLUMN_D] / sums[COLUMN_B], "ratio(d, b)");
    expect_near(&found[3], counts[COLUMN_M] == 0 || has_no_b, sums[COLUMN_M] / sums[COLUMN_B], "ratio(m, b)");
    expect_near(&found[4], counts[COLUMN_B] == 0, sums[COLUMN_B] / seconds, "rate(b)");
    expect_near(&found[5], counts[COLUMN_M] == 0, sums[COLUMN_M] / seconds, "rate(m)");
}

static void expect_ratios_1(const struct ab_value *found, const struct group *group)
{
    expect_ratios(found, group, 3600);
}

static void expect_ratios_2(const struct ab_value *found, const struct group *group)
{
    expect_ratios(found, group, 7200);
}

static void test_ratios_and_rates_are_near_those_of_brute_force(void **state)
{
    static const char sql[] = "SELECT k, window_start, radb, ramb, reb, rem FROM w";
    char windows[200];
    expect_all(*state, sql, AB_US_PER_HOUR, expect_ratios_1);
    (void)snprintf(windows, sizeof(windows), "%s GROUP BY k, TUMBLE(window_start, INTERVAL '2 hours')", sql);
    expect_all(*state, windows, 2 * AB_US_PER_HOUR, expect_ratios_2);
}

static void test_rate_over_all_of_time_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const refused[] = {
        "SELECT reb FROM w", "SELECT k, reb FROM w GROUP BY k", "SELECT k FROM w GROUP BY k ORDER BY reb"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct ab_error error = {0};
        struct ab_query *query = NULL;
        assert_int_equal(ab_query_parse(fixture->catalog, ab_bytes_of_text(refused[i]), &query, &error), AB_SYNTAX);
        assert_non_null(strstr(error.text, "rate(b) needs the length of a window, expected window_start, or"));
    }
}

/* A memory that is too small for the lists refuses, and leaks nothing. */
static void test_lists_beyond_the_memory_of_a_query_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ab_memory memory = {0};
    struct ab_error error = {0};
    struct ab_query *query = NULL;
    struct ab_rollup *rollup = NULL;
    struct ab_arena arena = {0};
    struct ab_column *columns = NULL;
    uint32_t rows_count = 0;
    uint64_t overflows = 0;
    ab_memory_init(&memory, 8000, NULL);
    assert_ok(ab_query_parse(fixture->catalog, ab_bytes_of_text("SELECT k, ld FROM w GROUP BY k"), &query, &error));
    assert_ok(ab_rollup_create(query, fixture->aggregation, INT64_MIN, &memory, &rollup, &error));
    ab_err err = ab_rollup_add_table(rollup, fixture->parts[0]);
    if (err == AB_OK) {
        err = ab_rollup_finish(rollup, &arena, &columns, &rows_count, &overflows, &error);
    }
    assert_int_equal(err, AB_FULL);
    ab_rollup_destroy(rollup);
    ab_arena_fini(&arena);
    ab_query_destroy(query);
    assert_int_equal(ab_memory_used(&memory), 0);
}

/* ---- moments by exact arithmetic ---- */

static const char pairs_sql[] =
    "CREATE STREAM p (y DOUBLE, x DOUBLE, at TIMESTAMP NOT NULL, w TEXT NOT NULL, EVENT TIME at, PARTITION KEY (w));\n"
    "CREATE VIEW v AS SELECT covar_pop(y, x) AS a, covar_samp(y, x) AS b, corr(y, x) AS c, regr_slope(y, x) AS d,\n"
    "  regr_intercept(y, x) AS e, regr_r2(y, x) AS f, avg_weighted(y, x) AS g, ratio(y, x) AS h, skewness(y) AS i,\n"
    "  kurtosis(y) AS j FROM p;\n";

/* Aggregates values[from .. until) of a case. */
static struct ab_group_table *pairs_table(
    const struct ab_aggregation *aggregation, const double *y, const double *x, uint32_t from, uint32_t until)
{
    static const int64_t times[MOMENT_VALUES_MAX];
    static const uint32_t codes[MOMENT_VALUES_MAX];
    static const uint32_t ends[] = {1};
    struct ab_rows rows = {.rows_count = until - from, .expired_until_us = INT64_MIN};
    const struct ab_column columns[] = {{.type = {.kind = AB_TYPE_DOUBLE}, .values = y + from},
        {.type = {.kind = AB_TYPE_DOUBLE}, .values = x + from}, {.type = {.kind = AB_TYPE_TIMESTAMP}, .values = times},
        {.type = {.kind = AB_TYPE_TEXT}, .values = codes, .dictionary = {1, ends, (const uint8_t *)"w"}}};
    const struct ab_column *pointers[] = {&columns[0], &columns[1], &columns[2], &columns[3]};
    struct ab_arena scratch = {0};
    struct ab_row_counts counts = {0};
    struct ab_group_table *table = ab_group_table_create(aggregation, NULL);
    rows.columns = pointers;
    ab_group_table_update(table, &rows, &scratch, &counts);
    ab_arena_fini(&scratch);
    return table;
}

static void test_moments_of_doubles_are_exact_and_rounded_as_they_say(void **state)
{
    (void)state;
    struct fixture fixture = {.catalog = test_catalog(pairs_sql)};
    fixture.aggregation = test_aggregation(&fixture.catalog->views[0]);
    for (size_t v = 0; v < sizeof(moment_vectors) / sizeof(moment_vectors[0]); v++) {
        const struct moment_vector *vector = &moment_vectors[v];
        double y[MOMENT_VALUES_MAX];
        double x[MOMENT_VALUES_MAX];
        struct result result;
        memcpy(y, vector->y, sizeof(y));
        memcpy(x, vector->x, sizeof(x));
        uint32_t half = vector->count / 2;
        fixture.parts[0] = pairs_table(fixture.aggregation, y, x, half, vector->count);
        fixture.parts[1] = pairs_table(fixture.aggregation, y, x, 0, half);
        result_init(&result, &fixture, "SELECT a, b, c, d, e, f, g, h, i, j FROM v");
        assert_int_equal(result.rows_count, 1);
        for (uint32_t r = 0; r < MOMENT_RESULTS; r++) {
            struct ab_value found = ab_column_value(&result.columns[r], 0);
            uint64_t bits = MOMENT_NULL;
            if (!found.is_null) {
                memcpy(&bits, &found.real, sizeof(bits));
            }
            if (bits != vector->results[r]) {
                fail_msg("case %zu, result %u: %016llx instead of %016llx", v, r, (unsigned long long)bits,
                    (unsigned long long)vector->results[r]);
            }
        }
        result_fini(&result);
        ab_group_table_destroy(fixture.parts[0]);
        ab_group_table_destroy(fixture.parts[1]);
    }
    ab_aggregation_destroy(fixture.aggregation);
    ab_catalog_release(fixture.catalog);
}

/* One value that is no number decides; so does a power beyond DOUBLE, and a product of infinity and zero. */
static void test_specials_among_doubles_follow_ieee_754(void **state)
{
    (void)state;
    static const struct {
        double y[2];
        double x[2];
        const char *sql;
        double expected; /* NAN for NaN */
    } cases[] = {
        {{NAN, 1}, {1, 2}, "SELECT a FROM v", NAN},
        {{INFINITY, 1}, {1, 2}, "SELECT c FROM v", NAN},
        {{INFINITY, 1}, {0, 2}, "SELECT g FROM v", NAN},
        {{INFINITY, 1}, {3, 2}, "SELECT g FROM v", INFINITY},
        {{INFINITY, 1}, {-3, 4}, "SELECT g FROM v", -INFINITY},
        {{INFINITY, 1}, {3, 2}, "SELECT h FROM v", INFINITY},
        {{1, 1}, {INFINITY, 2}, "SELECT h FROM v", 0},
        {{1e200, 1}, {1, 2}, "SELECT i FROM v", NAN},
        {{1e100, 1}, {1, 2}, "SELECT j FROM v", NAN},
        {{1e100, 1}, {1, 2}, "SELECT i FROM v", 0},
    };
    struct fixture fixture = {.catalog = test_catalog(pairs_sql)};
    fixture.aggregation = test_aggregation(&fixture.catalog->views[0]);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct result result;
        fixture.parts[0] = pairs_table(fixture.aggregation, cases[i].y, cases[i].x, 0, 2);
        result_init(&result, &fixture, cases[i].sql);
        struct ab_value found = ab_column_value(&result.columns[0], 0);
        bool is_right = isnan(cases[i].expected)   ? isnan(found.real)
                        : isinf(cases[i].expected) ? found.real == cases[i].expected
                                                   : fabs(found.real - cases[i].expected) < 1e-12;
        if (found.is_null || !is_right) {
            fail_msg("case %zu: %.17g", i, found.real);
        }
        result_fini(&result);
        ab_group_table_destroy(fixture.parts[0]);
    }
    ab_aggregation_destroy(fixture.aggregation);
    ab_catalog_release(fixture.catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_selections_are_those_of_brute_force, setup_plain, fixture_teardown),
        {"test_selections_among_specials_are_those_of_brute_force", test_selections_are_those_of_brute_force,
            setup_specials, fixture_teardown, NULL},
        cmocka_unit_test_setup_teardown(
            test_bits_and_booleans_are_those_of_brute_force, setup_specials, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_moments_are_near_those_of_brute_force, setup_plain, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_ratios_and_rates_are_near_those_of_brute_force, setup_plain, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_rate_over_all_of_time_is_refused, setup_plain, fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_lists_beyond_the_memory_of_a_query_are_refused, setup_plain, fixture_teardown),
        cmocka_unit_test(test_moments_of_doubles_are_exact_and_rounded_as_they_say),
        cmocka_unit_test(test_specials_among_doubles_follow_ieee_754),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
