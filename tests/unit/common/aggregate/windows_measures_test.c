/* Measures that know their window's bounds, and sketches, in windows that are composed of panes when they are read:
 * against brute force over the events themselves, from a table in place and from parts that came as bytes. */
#include "common/aggregate/primitive_quantiles.h"
#include "common/aggregate/rollup.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#include <stdlib.h>

#define ROWS 900
#define PARTS 3
#define WINDOWS_MAX 20000
#define TOP 3
#define MINUTE AB_US_PER_MINUTE
#define HOUR AB_US_PER_HOUR
#define DAY AB_US_PER_DAY

#define MEASURES                                                                                                       \
    "count(*) AS n, p99(b) AS high, top_k(b, 3) AS busy, decayed_sum(b, INTERVAL '1 hour') AS ds, rate(b) AS r, "      \
    "rate(m) AS rm FROM s GROUP BY k, "
#define ASK                                                                                                            \
    "SELECT k, window_start, window_end, n, high, p50(high), busy, ds, r, rm, quantile(high, 1), top_k(busy, 1) FROM " \
    "v"
#define ORDER " ORDER BY k, window_start, window_end"

enum { K, START, END, N, HIGH, MEDIAN, BUSY, DS, R, RM, GREATEST, BUSIEST };

/* A window of one key. */
struct span {
    int64_t k; /* INT64_MIN = NULL */
    ab_time_us start, end;
};

struct fixture {
    struct ab_catalog *catalog;
    struct ab_aggregation *aggregation;
    struct ab_group_table *parts[PARTS];
    struct test_row rows[ROWS];
    struct span expected[WINDOWS_MAX];
    size_t expected_count;
};

/* ---- fixture ---- */

static struct fixture *fixture_make(const char *group, uint64_t seed, ab_time_us around, int64_t within)
{
    const struct test_shape shape = {.keys = 3, .hours = 8};
    struct fixture *fixture = ab_new(struct fixture);
    struct ab_error error = {0};
    struct ab_random random;
    uint32_t order[ROWS];
    char sql[2000];
    (void)snprintf(sql, sizeof(sql), TEST_STREAM "CREATE VIEW v AS SELECT k, " MEASURES "%s;", group);
    if (ab_catalog_evolve(ab_bytes_of_text(sql), NULL, &fixture->catalog, NULL, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    fixture->aggregation = test_aggregation(&fixture->catalog->views[0]);
    ab_random_init(&random, seed);
    for (uint32_t i = 0; i < ROWS; i++) {
        test_row_random(&random, &shape, &fixture->rows[i]);
        fixture->rows[i].values[COLUMN_AT].bigint = around + (int64_t)ab_random_below(&random, (uint64_t)within);
    }
    test_shuffle(&random, order, ROWS);
    for (uint32_t p = 0; p < PARTS; p++) {
        fixture->parts[p] = ab_group_table_create(fixture->aggregation, NULL);
        test_update(fixture->parts[p], fixture->rows, order + p * (ROWS / PARTS), ROWS / PARTS, NULL);
    }
    return fixture;
}

static void fixture_free(struct fixture *fixture)
{
    for (uint32_t p = 0; p < PARTS; p++) {
        ab_group_table_destroy(fixture->parts[p]);
    }
    ab_aggregation_destroy(fixture->aggregation);
    ab_catalog_release(fixture->catalog);
    ab_delete(fixture);
}

static int64_t key_of(const struct ab_value *k)
{
    return k->is_null ? INT64_MIN : k->bigint;
}

static void span_add(struct fixture *fixture, const struct test_row *row, ab_time_us start, ab_time_us end)
{
    assert_true(fixture->expected_count < WINDOWS_MAX);
    fixture->expected[fixture->expected_count++] =
        (struct span){.k = key_of(&row->values[COLUMN_K]), .start = start, .end = end};
}

static int span_compare(const void *a, const void *b)
{
    const struct span *left = a;
    const struct span *right = b;
    const int64_t pairs[][2] = {{left->k, right->k}, {left->start, right->start}, {left->end, right->end}};
    for (size_t i = 0; i < 3; i++) {
        if (pairs[i][0] != pairs[i][1]) {
            return pairs[i][0] < pairs[i][1] ? -1 : 1;
        }
    }
    return 0;
}

/* Puts the expected windows in order and leaves one of each. */
static void spans_settle(struct fixture *fixture)
{
    size_t kept = 0;
    qsort(fixture->expected, fixture->expected_count, sizeof(struct span), span_compare);
    for (size_t i = 0; i < fixture->expected_count; i++) {
        if (kept == 0 || span_compare(&fixture->expected[kept - 1], &fixture->expected[i]) != 0) {
            fixture->expected[kept++] = fixture->expected[i];
        }
    }
    fixture->expected_count = kept;
}

/* ---- one window by brute force ---- */

static bool is_inside(const struct test_row *row, const struct span *span)
{
    ab_time_us at = row->values[COLUMN_AT].bigint;
    return key_of(&row->values[COLUMN_K]) == span->k && at >= span->start && at < span->end;
}

static void nearly(struct ab_value found, double expected)
{
    assert_false(found.is_null);
    if (!(fabs(found.real - expected) <= 1e-11 * (1 + fabs(expected)))) {
        fail_msg("%.17g, expected %.17g", found.real, expected);
    }
}

static int by_value(const void *a, const void *b)
{
    return *(const int64_t *)a < *(const int64_t *)b ? -1 : *(const int64_t *)a > *(const int64_t *)b;
}

static void quantile_check(struct ab_value found, double share, const int64_t *sorted, uint32_t count)
{
    double exact = (double)sorted[(uint32_t)(share * (count - 1) + 1e-9)];
    if (!(fabs(found.real - exact) <= AB_QUANTILES_ERROR * fabs(exact) * (1 + 1e-12))) {
        fail_msg("quantile %g: %.17g, expected %.17g", share, found.real, exact);
    }
}

/* The most frequent values, equal ones with the least first. */
static void top_check(struct ab_value found, int places, const int64_t *sorted, uint32_t count)
{
    char text[300] = "[";
    int64_t counts[200] = {0};
    for (uint32_t i = 0; i < count; i++) {
        counts[sorted[i] + 100]++;
    }
    for (int place = 0; place < places; place++) {
        int best = 0;
        for (int i = 0; i < 200; i++) {
            best = counts[i] > counts[best] ? i : best;
        }
        if (counts[best] > 0) {
            size_t bytes = strlen(text);
            (void)snprintf(text + bytes, sizeof(text) - bytes, "%s{\"value\":%d,\"count\":%lld,\"error\":0}",
                place == 0 ? "" : ",", best - 100, (long long)counts[best]);
        }
        counts[best] = 0;
    }
    size_t bytes = strlen(text);
    (void)snprintf(text + bytes, sizeof(text) - bytes, "]");
    if (!ab_bytes_equal(found.text, ab_bytes_of_text(text))) {
        fail_msg("%.*s, expected %s", (int)found.text.bytes, found.text.data, text);
    }
}

/* rate(m), decayed_sum(b) and rate(b) of a window; values of b that are not NULL go to `sorted`. */
static uint32_t window_sum(const struct fixture *fixture, const struct span *span, int64_t *sorted, double *decayed,
    double *sum, double *sum_m, uint32_t *count_m, uint32_t *rows)
{
    uint32_t count = 0;
    ab_int128 cents = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct ab_value *values = fixture->rows[i].values;
        if (!is_inside(&fixture->rows[i], span)) {
            continue;
        }
        (*rows)++;
        if (!values[COLUMN_M].is_null) {
            cents += values[COLUMN_M].decimal;
            (*count_m)++;
        }
        if (!values[COLUMN_B].is_null) {
            double x = (double)values[COLUMN_B].bigint;
            sorted[count++] = values[COLUMN_B].bigint;
            *sum += x;
            *decayed += x * exp2(-(double)(span->end - values[COLUMN_AT].bigint) / (double)HOUR);
        }
    }
    *sum_m = (double)cents / 100;
    qsort(sorted, count, sizeof(*sorted), by_value);
    return count;
}

static void window_check(
    const struct fixture *fixture, const struct span *span, const struct ab_column *columns, uint32_t row)
{
    struct ab_value found[BUSIEST + 1];
    int64_t sorted[ROWS];
    double decayed = 0;
    double sum = 0;
    double sum_m = 0;
    uint32_t count_m = 0;
    uint32_t rows = 0;
    double seconds = (double)(span->end - span->start) / AB_US_PER_SECOND;
    for (uint32_t c = 0; c <= BUSIEST; c++) {
        found[c] = ab_column_value(&columns[c], row);
    }
    assert_int_equal(key_of(&found[K]), span->k);
    assert_int_equal(found[START].bigint, span->start);
    assert_int_equal(found[END].bigint, span->end);
    uint32_t count = window_sum(fixture, span, sorted, &decayed, &sum, &sum_m, &count_m, &rows);
    assert_int_equal(found[N].bigint, rows);
    assert_int_equal(found[RM].is_null, count_m == 0);
    if (count_m > 0) {
        nearly(found[RM], sum_m / seconds);
    }
    for (uint32_t c = HIGH; c <= BUSIEST; c++) {
        assert_true(c == RM || found[c].is_null == (count == 0));
    }
    if (count > 0) {
        quantile_check(found[HIGH], 0.99, sorted, count);
        quantile_check(found[MEDIAN], 0.5, sorted, count);
        quantile_check(found[GREATEST], 1, sorted, count);
        top_check(found[BUSY], TOP, sorted, count);
        top_check(found[BUSIEST], 1, sorted, count);
        nearly(found[DS], decayed);
        nearly(found[R], sum / seconds);
    }
}

/* ---- asking ---- */

/* From one part in place, and others that came as bytes. */
static void ask(struct fixture *fixture, const char *sql)
{
    struct ab_error error = {0};
    struct ab_query *query = NULL;
    struct ab_rollup *rollups[PARTS];
    struct ab_arena arena = {0};
    struct ab_column *columns = NULL;
    uint32_t count = 0;
    uint64_t overflows = 0;
    spans_settle(fixture);
    assert_true(fixture->expected_count > 30);
    if (ab_query_parse(fixture->catalog, ab_bytes_of_text(sql), &query, &error) != AB_OK) {
        fail_msg("%s: %s", sql, error.text);
    }
    for (uint32_t p = 0; p < PARTS; p++) {
        struct ab_buffer bytes = {0};
        assert_ok(ab_rollup_create(query, fixture->aggregation, INT64_MIN, NULL, &rollups[p], &error));
        assert_ok(ab_rollup_add_table(rollups[p], fixture->parts[p]));
        if (p > 0) {
            assert_ok(ab_rollup_encode(rollups[p], &bytes));
            assert_ok(ab_rollup_merge(rollups[0], ab_buffer_view(&bytes)));
        }
        ab_buffer_fini(&bytes);
    }
    assert_ok(ab_rollup_finish(rollups[0], &arena, &columns, &count, &overflows, &error));
    assert_int_equal(overflows, 0);
    assert_int_equal(count, fixture->expected_count);
    for (uint32_t i = 0; i < count; i++) {
        window_check(fixture, &fixture->expected[i], columns, i);
    }
    for (uint32_t p = 0; p < PARTS; p++) {
        ab_rollup_destroy(rollups[p]);
    }
    ab_arena_fini(&arena);
    ab_query_destroy(query);
    fixture->expected_count = 0;
}

/* ---- cases ---- */

static void hop_expect(struct fixture *fixture, int64_t slide, int64_t size)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        for (ab_time_us start = ab_time_floor(at, slide); start + size > at; start -= slide) {
            span_add(fixture, &fixture->rows[i], start, start + size);
        }
    }
}

static void test_measures_of_hop_equal_brute_force(void **state)
{
    (void)state;
    struct fixture *fixture =
        fixture_make("HOP(at, INTERVAL '30 minutes', INTERVAL '2 hours')", 1, -6 * HOUR, 14 * HOUR);
    hop_expect(fixture, 30 * MINUTE, 2 * HOUR);
    ask(fixture, ASK ORDER);
    hop_expect(fixture, HOUR, HOUR); /* coarser windows of the same panes */
    ask(fixture, ASK " GROUP BY k, TUMBLE(window_start, INTERVAL '1 hour')" ORDER);
    hop_expect(fixture, HOUR, 3 * HOUR);
    ask(fixture, ASK " GROUP BY k, HOP(window_start, INTERVAL '1 hour', INTERVAL '3 hours')" ORDER);
    fixture_free(fixture);
}

static void test_measures_of_cumulate_equal_brute_force(void **state)
{
    (void)state;
    struct fixture *fixture =
        fixture_make("CUMULATE(at, INTERVAL '30 minutes', INTERVAL '4 hours')", 2, -6 * HOUR, 14 * HOUR);
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        ab_time_us start = ab_time_floor(at, 4 * HOUR);
        for (ab_time_us end = start + 4 * HOUR; end > at; end -= 30 * MINUTE) {
            span_add(fixture, &fixture->rows[i], start, end);
        }
    }
    ask(fixture, ASK ORDER);
    fixture_free(fixture);
}

/* A day of 25 hours has rates over 25 hours. */
static void test_measures_of_local_days_equal_brute_force(void **state)
{
    (void)state;
    ab_time_us time = 0;
    bool is_long = false;
    assert_ok(ab_time_parse(ab_bytes_of_text("2024-10-20"), &time));
    struct fixture *fixture = fixture_make("TUMBLE(at, INTERVAL '1 day', 'Europe/Berlin')", 3, time, 14 * DAY);
    const struct ab_period *day = &fixture->catalog->views[0].pane;
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        ab_time_us start = ab_period_floor(day, at);
        span_add(fixture, &fixture->rows[i], start, ab_period_next(day, at));
        is_long |= ab_period_next(day, at) - start == 25 * HOUR;
    }
    assert_true(is_long);
    ask(fixture, ASK ORDER);
    fixture_free(fixture);
}

static const struct test_row *session_rows;

static int by_key_and_time(const void *a, const void *b)
{
    const struct ab_value *left = session_rows[*(const uint32_t *)a].values;
    const struct ab_value *right = session_rows[*(const uint32_t *)b].values;
    const struct span first = {.k = key_of(&left[COLUMN_K]), .start = left[COLUMN_AT].bigint};
    const struct span second = {.k = key_of(&right[COLUMN_K]), .start = right[COLUMN_AT].bigint};
    return span_compare(&first, &second);
}

/* A session's length is its own: from the first event to the last one and the gap. */
static void test_measures_of_sessions_equal_brute_force(void **state)
{
    (void)state;
    const int64_t gap = 2 * MINUTE;
    uint32_t order[ROWS];
    struct fixture *fixture = fixture_make("SESSION(at, INTERVAL '2 minutes')", 4, -6 * HOUR, 14 * HOUR);
    for (uint32_t i = 0; i < ROWS; i++) {
        order[i] = i;
    }
    session_rows = fixture->rows;
    qsort(order, ROWS, sizeof(order[0]), by_key_and_time);
    uint32_t joined = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct test_row *row = &fixture->rows[order[i]];
        ab_time_us at = row->values[COLUMN_AT].bigint;
        struct span *last = fixture->expected_count == 0 ? NULL : &fixture->expected[fixture->expected_count - 1];
        if (last == NULL || last->k != key_of(&row->values[COLUMN_K]) || at > last->end) {
            span_add(fixture, row, at, at + gap);
        } else {
            last->end = at + gap;
            joined++;
        }
    }
    assert_true(joined > 100);
    ask(fixture, ASK ORDER);
    fixture_free(fixture);
}

/* From a budget that is too small on, until one suffices: every rollup ends with AB_FULL or the whole answer. */
static void test_sessions_beyond_the_memory_of_a_query_are_refused(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make("SESSION(at, INTERVAL '2 minutes')", 6, 0, 2 * HOUR);
    struct ab_error error = {0};
    struct ab_query *query = NULL;
    uint32_t added_refused = 0;
    uint32_t finish_refused = 0;
    ab_err err = AB_FULL;
    assert_ok(ab_query_parse(fixture->catalog, ab_bytes_of_text(ASK), &query, &error));
    for (uint64_t bytes = 4096; err != AB_OK; bytes += bytes / 64) {
        struct ab_memory memory = {0};
        struct ab_rollup *rollup = NULL;
        struct ab_arena arena = {0};
        struct ab_column *columns = NULL;
        uint32_t count = 0;
        uint64_t overflows = 0;
        assert_true(bytes < (UINT64_C(1) << 30));
        ab_memory_init(&memory, bytes, NULL);
        assert_ok(ab_rollup_create(query, fixture->aggregation, INT64_MIN, &memory, &rollup, &error));
        err = ab_rollup_add_table(rollup, fixture->parts[0]);
        added_refused += err != AB_OK;
        if (err == AB_OK) {
            err = ab_rollup_finish(rollup, &arena, &columns, &count, &overflows, &error);
            finish_refused += err != AB_OK;
        }
        assert_true(err == AB_OK ? count > 10 : err == AB_FULL);
        ab_rollup_destroy(rollup);
        ab_arena_fini(&arena);
        assert_int_equal(ab_memory_used(&memory), 0);
    }
    assert_true(added_refused > 0 && finish_refused > 0);
    ab_query_destroy(query);
    fixture_free(fixture);
}

static void test_rates_of_windows_merged_away_are_refused(void **state)
{
    (void)state;
    static const char *const groups[] = {"SESSION(at, INTERVAL '2 minutes')",
        "HOP(at, INTERVAL '30 minutes', INTERVAL '2 hours')",
        "CUMULATE(at, INTERVAL '30 minutes', INTERVAL '4 hours')"};
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        struct fixture *fixture = fixture_make(groups[g], 5, 0, HOUR);
        struct ab_query *query = NULL;
        struct ab_error error = {0};
        assert_int_equal(
            ab_query_parse(fixture->catalog, ab_bytes_of_text("SELECT k, r FROM v GROUP BY k"), &query, &error),
            AB_SYNTAX);
        assert_non_null(strstr(error.text, "rate(b) needs the length of a window, expected window_start"));
        assert_ok(
            ab_query_parse(fixture->catalog, ab_bytes_of_text("SELECT k, ds, high FROM v GROUP BY k"), &query, &error));
        ab_query_destroy(query);
        fixture_free(fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measures_of_hop_equal_brute_force),
        cmocka_unit_test(test_measures_of_cumulate_equal_brute_force),
        cmocka_unit_test(test_measures_of_local_days_equal_brute_force),
        cmocka_unit_test(test_measures_of_sessions_equal_brute_force),
        cmocka_unit_test(test_sessions_beyond_the_memory_of_a_query_are_refused),
        cmocka_unit_test(test_rates_of_windows_merged_away_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
