/* Sketches from SQL to answers: what queries read from the states of measures, against brute force; how states are
 * shared; and what is refused. */
#include "common/aggregate/plan.h"
#include "common/aggregate/primitive_quantiles.h"
#include "common/aggregate/rollup.h"
#include "common/base/decimal.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define ROWS 1200
#define VIEW                                                                                                           \
    "CREATE VIEW q AS SELECT k, count(*) AS n, quantiles(m) AS dist, p50(m) AS median, quantile(m, 0.90) AS q9,\n"     \
    "  top_k(word, 3) AS top, top_k(b, 2) AS tops, theta(word) AS words,\n"                                            \
    "  theta(word) FILTER (WHERE b > 0) AS pos, theta(word) FILTER (WHERE b <= 0) AS neg, theta(b) AS bs,\n"           \
    "  bloom(word, 1000) AS seen, bloom(b, 50) AS seen_b, sample(word, 5) AS some, count_distinct(word) AS cd,\n"      \
    "  decayed_sum(b, INTERVAL '1 hour') AS ds, decayed_count(word, INTERVAL '30 minutes') AS dc,\n"                   \
    "  decayed_avg(m, INTERVAL '2 hours') AS da FROM s GROUP BY k, TUMBLE(at, INTERVAL '1 hour');\n"

struct fixture {
    struct ab_catalog *catalog;
    struct ab_aggregation *aggregation;
    struct ab_group_table *parts[2];
    struct test_row *rows;
    struct ab_query *query;
    struct ab_arena arena;
    struct ab_column *columns; /* of the last answer */
    uint32_t rows_count;
};

static int fixture_setup(void **state)
{
    const struct test_shape shape = {.keys = 3, .hours = 8};
    struct fixture *fixture = ab_new(struct fixture);
    struct ab_random random;
    uint32_t order[ROWS];
    ab_random_init(&random, 41);
    fixture->catalog = test_catalog(TEST_STREAM VIEW);
    fixture->aggregation = test_aggregation(&fixture->catalog->views[0]);
    fixture->rows = ab_new_array(struct test_row, ROWS);
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

static void answer_free(struct fixture *fixture)
{
    ab_query_destroy(fixture->query);
    fixture->query = NULL;
    ab_arena_fini(&fixture->arena);
}

static int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    answer_free(fixture);
    for (int i = 0; i < 2; i++) {
        ab_group_table_destroy(fixture->parts[i]);
    }
    ab_delete(fixture->rows);
    ab_aggregation_destroy(fixture->aggregation);
    ab_catalog_release(fixture->catalog);
    ab_delete(fixture);
    return 0;
}

/* Answers a query from one part in place and one that came as bytes. */
static void ask(struct fixture *fixture, const char *sql)
{
    struct ab_error error = {0};
    struct ab_rollup *rollups[2];
    struct ab_buffer bytes = {0};
    uint64_t overflows = 0;
    answer_free(fixture);
    if (ab_query_parse(fixture->catalog, ab_bytes_of_text(sql), &fixture->query, &error) != AB_OK) {
        fail_msg("%s: %s", sql, error.text);
    }
    for (int i = 0; i < 2; i++) {
        assert_ok(ab_rollup_create(fixture->query, fixture->aggregation, INT64_MIN, NULL, &rollups[i], &error));
        assert_ok(ab_rollup_add_table(rollups[i], fixture->parts[i]));
    }
    assert_ok(ab_rollup_encode(rollups[1], &bytes));
    assert_ok(ab_rollup_merge(rollups[0], ab_buffer_view(&bytes)));
    assert_ok(
        ab_rollup_finish(rollups[0], &fixture->arena, &fixture->columns, &fixture->rows_count, &overflows, &error));
    assert_int_equal(overflows, 0);
    for (int i = 0; i < 2; i++) {
        ab_rollup_destroy(rollups[i]);
    }
    ab_buffer_fini(&bytes);
}

static struct ab_value answer(const struct fixture *fixture, uint32_t column, uint32_t row)
{
    assert_true(row < fixture->rows_count);
    return ab_column_value(&fixture->columns[column], row);
}

static void answer_is_text(const struct fixture *fixture, uint32_t column, const char *expected)
{
    struct ab_value value = answer(fixture, column, 0);
    if (!ab_bytes_equal(value.text, ab_bytes_of_text(expected))) {
        fail_msg("%.*s, expected %s", (int)value.text.bytes, value.text.data, expected);
    }
}

static int double_compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

/* ---- quantiles ---- */

static void test_queries_read_any_quantile_from_one_state(void **state)
{
    struct fixture *fixture = *state;
    static double sorted[ROWS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        if (!fixture->rows[i].values[COLUMN_M].is_null) {
            sorted[count++] = (double)fixture->rows[i].values[COLUMN_M].decimal / 100;
        }
    }
    qsort(sorted, count, sizeof(*sorted), double_compare);
    ask(fixture, "SELECT p50(dist), p99(dist), quantile(median, 0), quantile(dist, 1), p999(q9), median, q9, dist, n, "
                 "error(dist), p25(dist) + p75(dist) AS sum FROM q");
    static const double shares[] = {0.5, 0.99, 0, 1, 0.999, 0.5, 0.9};
    for (uint32_t c = 0; c < 7; c++) {
        double exact = sorted[(uint32_t)(shares[c] * (count - 1) + 1e-9)];
        double found = answer(fixture, c, 0).real;
        assert_true(fabs(found - exact) <= AB_QUANTILES_ERROR * fabs(exact) * (1 + 1e-12));
    }
    assert_true(answer(fixture, 9, 0).real == AB_QUANTILES_ERROR);
    assert_int_equal(answer(fixture, 8, 0).bigint, ROWS);
    assert_true(answer(fixture, 7, 0).text.bytes > 10 && answer(fixture, 7, 0).text.data[0] == '{');
    assert_false(answer(fixture, 10, 0).is_null);
    assert_string_equal(fixture->query->items[0].name, "p50(dist)");
    /* quantiles, p50 and quantile are one primitive; so are top_k of any k. */
    uint32_t sketches = 0;
    for (uint32_t i = 0; i < fixture->aggregation->primitives_count; i++) {
        sketches += fixture->aggregation->primitives[i].kind == AB_PRIMITIVE_QUANTILES;
    }
    assert_int_equal(sketches, 1);
}

static void test_queries_order_and_group_by_readings(void **state)
{
    struct fixture *fixture = *state;
    ask(fixture, "SELECT k, p90(dist) AS high FROM q WHERE k IS NOT NULL GROUP BY k ORDER BY p90(dist) DESC");
    assert_int_equal(fixture->rows_count, 3);
    for (uint32_t i = 1; i < fixture->rows_count; i++) {
        assert_true(answer(fixture, 1, i - 1).real >= answer(fixture, 1, i).real);
    }
    ask(fixture, "SELECT p50(dist), median, dist, top, some, ds, dc, da, words, seen, might_contain(seen, 'x') FROM q "
                 "WHERE k = 99");
    for (uint32_t c = 0; c < 8; c++) {
        assert_int_equal(answer(fixture, c, 0).is_null, c != 6);
    }
    assert_true(answer(fixture, 6, 0).real == 0.0);
    assert_int_equal(answer(fixture, 8, 0).bigint, 0);
    assert_true(answer(fixture, 9, 0).is_null && !answer(fixture, 10, 0).is_null && !answer(fixture, 10, 0).boolean);
}

/* ---- top_k ---- */

static void test_queries_list_the_most_frequent(void **state)
{
    struct fixture *fixture = *state;
    int64_t counts[200] = {0};
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct ab_value *b = &fixture->rows[i].values[COLUMN_B];
        if (!b->is_null) {
            counts[b->bigint + 40]++;
        }
    }
    char expected[3][80];
    for (int place = 0; place < 3; place++) {
        int best = 0;
        for (int i = 0; i < 200; i++) {
            best = counts[i] > counts[best] ? i : best;
        }
        (void)snprintf(expected[place], sizeof(expected[place]), "{\"value\":%d,\"count\":%lld,\"error\":0}", best - 40,
            (long long)counts[best]);
        counts[best] = 0;
    }
    char two[200];
    char three[300];
    (void)snprintf(two, sizeof(two), "[%s,%s]", expected[0], expected[1]);
    (void)snprintf(three, sizeof(three), "[%s,%s,%s]", expected[0], expected[1], expected[2]);
    ask(fixture, "SELECT tops, top_k(tops, 3), error(tops), top FROM q");
    answer_is_text(fixture, 0, two);
    answer_is_text(fixture, 1, three);
    assert_true(answer(fixture, 2, 0).real == 0.0);
    assert_memory_equal(answer(fixture, 3, 0).text.data, "[{\"value\":\"w", 12);
}

/* ---- sets ---- */

static void test_queries_combine_sets(void **state)
{
    struct fixture *fixture = *state;
    static bool positive[1000];
    static bool negative[1000];
    int64_t counts[4] = {0}; /* union, both, only positive, only negative */
    memset(positive, 0, sizeof(positive));
    memset(negative, 0, sizeof(negative));
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct ab_value *b = &fixture->rows[i].values[COLUMN_B];
        int64_t word = 0;
        assert_ok(ab_bigint_parse(ab_bytes_of_text(fixture->rows[i].word + 1), &word));
        positive[word] |= !b->is_null && b->bigint > 0;
        negative[word] |= !b->is_null && b->bigint <= 0;
    }
    for (int i = 0; i < 1000; i++) {
        counts[0] += positive[i] || negative[i];
        counts[1] += positive[i] && negative[i];
        counts[2] += positive[i] && !negative[i];
        counts[3] += negative[i] && !positive[i];
    }
    ask(fixture, "SELECT theta_union(pos, neg), theta_intersection(pos, neg), theta_difference(pos, neg), "
                 "theta_difference(neg, pos), pos, neg, error(theta_union(pos, neg)), words, cd, error(words), "
                 "error(cd) FROM q");
    for (uint32_t c = 0; c < 4; c++) {
        assert_int_equal(answer(fixture, c, 0).bigint, counts[c]);
    }
    assert_int_equal(answer(fixture, 4, 0).bigint, counts[1] + counts[2]);
    assert_int_equal(answer(fixture, 5, 0).bigint, counts[1] + counts[3]);
    assert_true(answer(fixture, 6, 0).real == 0.0 && answer(fixture, 9, 0).real == 0.0);
    int64_t words = answer(fixture, 7, 0).bigint;
    int64_t estimate = answer(fixture, 8, 0).bigint;
    assert_true(answer(fixture, 10, 0).real > 0.0);
    assert_true(fabs((double)(words - estimate)) <= 2 * answer(fixture, 10, 0).real * (double)words);
}

static void test_queries_ask_for_members(void **state)
{
    struct fixture *fixture = *state;
    char sql[200];
    for (uint32_t i = 0; i < ROWS; i += 40) {
        (void)snprintf(sql, sizeof(sql), "SELECT might_contain(seen, '%s') FROM q", fixture->rows[i].word);
        ask(fixture, sql);
        assert_true(answer(fixture, 0, 0).boolean);
    }
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 50; i++) {
        (void)snprintf(sql, sizeof(sql), "SELECT might_contain(seen, 'x%u'), error(seen), seen FROM q", i);
        ask(fixture, sql);
        wrong += answer(fixture, 0, 0).boolean;
    }
    assert_true(wrong < 5);
    assert_true(answer(fixture, 1, 0).real > 0 && answer(fixture, 1, 0).real < 0.02);
    ask(fixture, "SELECT might_contain(seen_b, 5), might_contain(seen_b, 1000000), might_contain(seen_b, 5.0) FROM q");
    assert_true(answer(fixture, 0, 0).boolean && !answer(fixture, 1, 0).boolean && answer(fixture, 2, 0).boolean);
}

/* ---- decay ---- */

/* sum of x 2^-((reference - time) / half_life), and of its weights. */
static void decayed(const struct fixture *fixture, uint32_t column, double half_life, ab_time_us reference,
    ab_time_us until, double *sum, double *weights)
{
    *sum = 0;
    *weights = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct ab_value *value = &fixture->rows[i].values[column];
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        if (value->is_null || at >= until) {
            continue;
        }
        double weight = exp2(-(double)(reference - at) / half_life);
        double x = column == COLUMN_M ? (double)value->decimal / 100 : (double)value->bigint;
        *sum += column == COLUMN_WORD ? 0 : x * weight;
        *weights += weight;
    }
}

static void nearly(double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-11 * (1 + fabs(expected)))) {
        fail_msg("%.17g, expected %.17g", found, expected);
    }
}

static void test_queries_decay_to_the_end_of_the_window(void **state)
{
    struct fixture *fixture = *state;
    double sum;
    double weights;
    ab_time_us end = 3 * AB_US_PER_HOUR;
    ask(fixture, "SELECT ds, dc, da FROM q WHERE window_end <= '1970-01-01 03:00'");
    decayed(fixture, COLUMN_B, AB_US_PER_HOUR, end, end, &sum, &weights);
    nearly(answer(fixture, 0, 0).real, sum);
    decayed(fixture, COLUMN_WORD, AB_US_PER_HOUR / 2.0, end, end, &sum, &weights);
    nearly(answer(fixture, 1, 0).real, weights);
    decayed(fixture, COLUMN_M, 2.0 * AB_US_PER_HOUR, end, end, &sum, &weights);
    nearly(answer(fixture, 2, 0).real, sum / weights);
    ab_time_us latest = INT64_MIN;
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        latest = at > latest ? at : latest;
    }
    ask(fixture, "SELECT dc FROM q");
    decayed(fixture, COLUMN_WORD, AB_US_PER_HOUR / 2.0, latest, INT64_MAX, &sum, &weights);
    nearly(answer(fixture, 0, 0).real, weights);
    /* Groups share the reference, so that they can be compared: they add up to the whole. */
    ask(fixture, "SELECT k, dc FROM q GROUP BY k");
    double parts = 0;
    for (uint32_t i = 0; i < fixture->rows_count; i++) {
        parts += answer(fixture, 1, i).real;
    }
    nearly(parts, weights);
}

/* ---- refusals ---- */

static void test_wrong_readings_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *sql;
        const char *says;
    } cases[] = {
        {"SELECT p99(n) FROM q", "found n, which is count(*)"},
        {"SELECT p99(words) FROM q", "reads a measure of quantiles(x)"},
        {"SELECT p100(dist) FROM q", "found the function \"p100\""},
        {"SELECT quantile(dist, 1.5) FROM q", "expected a share from 0 to 1"},
        {"SELECT quantile(dist, 'x') FROM q", "expected a share from 0 to 1"},
        {"SELECT quantile(dist, n) FROM q", "expected a constant"},
        {"SELECT quantile(dist) FROM q", "expected quantile(measure, share)"},
        {"SELECT p50(dist, 1) FROM q", "expected pNN(measure)"},
        {"SELECT p50(k) FROM q", "which is no measure"},
        {"SELECT p50(1 + 1) FROM q", "expected the name of a measure"},
        {"SELECT top_k(top, 0) FROM q", "from 1 to 1000"},
        {"SELECT top_k(dist, 5) FROM q", "reads a measure of top_k(x, k)"},
        {"SELECT might_contain(seen, 5) FROM q", "expected a value of type TEXT"},
        {"SELECT might_contain(seen_b, 5.5) FROM q", "expected a value of type BIGINT"},
        {"SELECT might_contain(seen, NULL) FROM q", "the type of this NULL is not known"},
        {"SELECT theta_union(words, bs) FROM q", "of different types"},
        {"SELECT theta_union(words, cd) FROM q", "reads a measure of theta(x)"},
        {"SELECT error(n) FROM q", "all others are exact"},
        {"SELECT n FROM q WHERE p50(dist) > 1", "is a measure"},
        {"SELECT nothing(dist) FROM q", "found the function \"nothing\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ab_query *query = NULL;
        struct ab_error error = {0};
        if (ab_query_parse(fixture->catalog, ab_bytes_of_text(cases[i].sql), &query, &error) == AB_OK) {
            fail_msg("%s is accepted", cases[i].sql);
        }
        if (strstr(error.text, cases[i].says) == NULL) {
            fail_msg("%s: %s, expected %s", cases[i].sql, error.text, cases[i].says);
        }
    }
}

static void test_wrong_sketches_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *measure;
        const char *says;
    } cases[] = {
        {"quantiles(t)", "quantiles needs a number, found TEXT"},
        {"p50(d, 3)", "found 2 arguments of p50, expected 1"},
        {"quantile(d)", "expected quantile(x, share)"},
        {"quantile(d, 2)", "expected a share from 0 to 1"},
        {"quantile(d, b)", "expected a constant"},
        {"top_k(t)", "expected top_k(x, k)"},
        {"top_k(t, 1001)", "from 1 to 1000"},
        {"top_k(t, 0)", "from 1 to 1000"},
        {"top_k(t, 'a')", "from 1 to 1000"},
        {"sample(t, 2000)", "from 1 to 1000"},
        {"bloom(t)", "expected bloom(x, values expected)"},
        {"bloom(t, 1000001)", "from 1 to 1000000"},
        {"decayed_sum(d, 5)", "expected the half-life as INTERVAL"},
        {"decayed_sum(t, INTERVAL '1 hour')", "decayed_sum needs a number"},
        {"decayed_sum(d, INTERVAL '1 month')", "no fixed length"},
        {"decayed_sum(d)", "expected decayed_sum(x, INTERVAL 'half-life')"},
        {"top_k(t, INTERVAL '1 hour')", "found INTERVAL"},
        {"vector_sum(d)", "vector_sum() is not supported yet"},
        {"p100(d)", "found the function \"p100\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char sql[1000];
        struct ab_catalog *catalog = NULL;
        struct ab_error error = {0};
        (void)snprintf(sql, sizeof(sql), TEST_STREAM "CREATE VIEW v AS SELECT %s AS x FROM s;", cases[i].measure);
        if (ab_catalog_parse(ab_bytes_of_text(sql), &catalog, &error) == AB_OK) {
            fail_msg("%s is accepted", cases[i].measure);
        }
        if (strstr(error.text, cases[i].says) == NULL) {
            fail_msg("%s: %s, expected %s", cases[i].measure, error.text, cases[i].says);
        }
    }
}

/* What is printed reads back as the same view. */
static void test_definitions_read_back(void **state)
{
    struct fixture *fixture = *state;
    const struct ab_view *view = &fixture->catalog->views[0];
    static const char *const definitions[] = {
        "count(*)", "quantiles(m)", "quantile(m, 0.5)", "quantile(m, 0.9)", "top_k(word, 3)"};
    for (size_t i = 0; i < sizeof(definitions) / sizeof(definitions[0]); i++) {
        assert_string_equal(view->measures[i].definition, definitions[i]);
    }
    assert_string_equal(view->measures[14].definition, "decayed_sum(b, INTERVAL '1 hour')");
    struct ab_buffer sql = {0};
    ab_buffer_put_format(&sql, "%s %s;", TEST_STREAM, view->definition);
    struct ab_catalog *again = test_catalog(ab_buffer_text(&sql));
    assert_string_equal(again->views[0].definition, view->definition);
    ab_catalog_release(again);
    ab_buffer_fini(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queries_read_any_quantile_from_one_state),
        cmocka_unit_test(test_queries_order_and_group_by_readings),
        cmocka_unit_test(test_queries_list_the_most_frequent),
        cmocka_unit_test(test_queries_combine_sets),
        cmocka_unit_test(test_queries_ask_for_members),
        cmocka_unit_test(test_queries_decay_to_the_end_of_the_window),
        cmocka_unit_test(test_wrong_readings_are_refused),
        cmocka_unit_test(test_wrong_sketches_are_refused),
        cmocka_unit_test(test_definitions_read_back),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
