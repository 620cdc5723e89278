/* Expressions: types, three-valued logic, overflow, exact comparisons, folding and printing. */
#include "tests/unit/common/catalog/fixture.h"

#include "common/base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

/* Row 0 of the inputs: all that constants cannot be. Columns n, x, d, k, b and t are given, the z* are NULL. */
static const char stream_sql[] =
    "CREATE STREAM s (key TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, x DOUBLE, d DECIMAL(10, 2), k TEXT, b "
    "BOOLEAN, "
    "low BIGINT, high BIGINT, huge DOUBLE, wide DECIMAL(38, 0), nan DOUBLE, zn BIGINT, zx DOUBLE, zk TEXT, zb BOOLEAN, "
    "near DOUBLE, near_n BIGINT, EVENT TIME t, PARTITION KEY (key));\n";

static const uint8_t ones[1] = {1};
static const int64_t time_value[1] = {INT64_C(1370044800000000)};
static const int64_t n_value[1] = {7};
static const double x_value[1] = {2.5};
static const ab_int128 d_value[1] = {1250};
static const int64_t low_value[1] = {INT64_MIN};
static const int64_t high_value[1] = {INT64_MAX};
static const double huge_value[1] = {1.5e308};
static const ab_int128 zero_value[1];
static ab_int128 wide_value[1];
static double nan_value[1];
static const double near_value[1] = {9007199254740992.0};
static const int64_t near_n_value[1] = {INT64_C(9007199254740993)};
static const uint32_t codes[1] = {0};
static const uint32_t ends[1] = {3};

#define INPUTS_COUNT 18
static struct ab_column columns[INPUTS_COUNT];
static const struct ab_column *inputs[INPUTS_COUNT];

static void input_set(int i, enum ab_type_kind kind, const void *values)
{
    columns[i] = (struct ab_column){.type = {.kind = (uint8_t)kind}, .rows_count = 1, .values = values};
    columns[i].nulls = values == NULL ? ones : NULL; /* What stands at a NULL may be any value. */
    columns[i].values = values == NULL ? (const void *)zero_value : values;
    if (kind == AB_TYPE_TEXT) {
        columns[i].dictionary = (struct ab_dictionary){.count = 1, .ends = ends, .bytes = (const uint8_t *)"abc"};
        columns[i].values = codes;
    }
    inputs[i] = &columns[i];
}

static int setup(void **state)
{
    (void)state;
    wide_value[0] = (ab_int128)5000000000000000000 * (ab_int128)10000000000000000000u; /* 5e37 */
    nan_value[0] = 0.0;
    nan_value[0] /= nan_value[0];
    input_set(0, AB_TYPE_TEXT, codes);
    input_set(1, AB_TYPE_TIMESTAMP, time_value);
    input_set(2, AB_TYPE_BIGINT, n_value);
    input_set(3, AB_TYPE_DOUBLE, x_value);
    input_set(4, AB_TYPE_DECIMAL, d_value);
    columns[4].type = (struct ab_type){.kind = AB_TYPE_DECIMAL, .precision = 10, .scale = 2};
    input_set(5, AB_TYPE_TEXT, codes);
    input_set(6, AB_TYPE_BOOLEAN, ones);
    input_set(7, AB_TYPE_BIGINT, low_value);
    input_set(8, AB_TYPE_BIGINT, high_value);
    input_set(9, AB_TYPE_DOUBLE, huge_value);
    input_set(10, AB_TYPE_DECIMAL, wide_value);
    columns[10].type = (struct ab_type){.kind = AB_TYPE_DECIMAL, .precision = 38};
    input_set(11, AB_TYPE_DOUBLE, nan_value);
    input_set(12, AB_TYPE_BIGINT, NULL);
    input_set(13, AB_TYPE_DOUBLE, NULL);
    input_set(14, AB_TYPE_TEXT, NULL);
    input_set(15, AB_TYPE_BOOLEAN, NULL);
    input_set(16, AB_TYPE_DOUBLE, near_value);
    input_set(17, AB_TYPE_BIGINT, near_n_value);
    return 0;
}

/* A catalog whose first view's only argument is the expression. */
static struct ab_catalog *catalog_with(const char *expression)
{
    struct ab_buffer text = {0};
    ab_buffer_put_format(&text, "%sCREATE VIEW v AS SELECT first(%s) AS e FROM s", stream_sql, expression);
    struct ab_catalog *catalog = catalog_of(ab_buffer_text(&text));
    ab_buffer_fini(&text);
    return catalog;
}

/* The value over row 0 as text ("NULL" for NULL) with its type, and how many faults. */
static void expect_result(const char *sql, const char *type, const char *expected, uint64_t faults_expected)
{
    struct ab_catalog *catalog = catalog_with(sql);
    const struct ab_expression *expression = catalog->views[0].measures[0].arguments[0];
    struct ab_arena arena = {0};
    struct ab_column column;
    struct ab_buffer out = {0};
    char type_text[AB_TYPE_TEXT_BYTES];
    uint64_t faults = 0;
    assert_int_equal(ab_expression_evaluate(expression, inputs, 1, &arena, &column, &faults), AB_OK);
    struct ab_value value = ab_column_value(&column, 0);
    ab_value_format(&value, &out);
    const char *found = value.is_null ? "NULL" : ab_buffer_text(&out);
    bool is_right = strcmp(found, expected) == 0 && faults == faults_expected &&
                    strcmp(ab_type_format(ab_expression_type(expression), type_text), type) == 0 &&
                    ab_type_equal(column.type, ab_expression_type(expression));
    if (!is_right) {
        print_error("%s: found %s %s with %u faults, expected %s %s\n", sql, type_text, found, (unsigned)faults, type,
            expected);
        fail();
    }
    ab_buffer_fini(&out);
    ab_arena_fini(&arena);
    ab_catalog_release(catalog);
}

static void expect_truth(const char *sql, const char *expected)
{
    expect_result(sql, "BOOLEAN", expected, 0);
}

static void test_expression_arithmetic_has_the_types_of_the_design(void **state)
{
    (void)state;
    expect_result("n + 1", "BIGINT", "8", 0);
    expect_result("n / 2", "BIGINT", "3", 0);
    expect_result("-n / 2", "BIGINT", "-3", 0);
    expect_result("-n % 4", "BIGINT", "-3", 0);
    expect_result("n * x", "DOUBLE", "17.5", 0);
    expect_result("d + 1", "DECIMAL(38, 2)", "13.50", 0);
    expect_result("d - 0.125", "DECIMAL(38, 3)", "12.375", 0);
    expect_result("d * d", "DECIMAL(38, 4)", "156.2500", 0);
    expect_result("d * n", "DECIMAL(38, 2)", "87.50", 0);
    expect_result("n * 1.5", "DECIMAL(38, 1)", "10.5", 0);
    expect_result("d / 2", "DOUBLE", "6.25", 0);
    expect_result("n / 2.0", "DOUBLE", "3.5", 0);
    expect_result("d % 5", "DECIMAL(38, 2)", "2.50", 0);
    expect_result("d + x", "DOUBLE", "15", 0);
    expect_result("abs(-d)", "DECIMAL(10, 2)", "12.50", 0);
    expect_result("1 + 2 * 3 - 4", "BIGINT", "3", 0);
    expect_result("10 - 3 - 2", "BIGINT", "5", 0);
    expect_result("(1 + 2) * 3", "BIGINT", "9", 0);
    expect_result(".5 + 5.", "DECIMAL(38, 1)", "5.5", 0);
    expect_result("1e3", "DOUBLE", "1000", 0);
    expect_result("x - x * 1", "DOUBLE", "0", 0);
    expect_result("-(x - x)", "DOUBLE", "0", 0);
    expect_result("9223372036854775808", "DECIMAL(19, 0)", "9223372036854775808", 0);
    expect_result("-9223372036854775808", "BIGINT", "-9223372036854775808", 0);
    expect_result("nan + 1", "DOUBLE", "NaN", 0);
}

static void test_expression_that_cannot_hold_its_value_is_null_and_a_fault(void **state)
{
    (void)state;
    expect_result("high + 1", "BIGINT", "NULL", 1);
    expect_result("low - 1", "BIGINT", "NULL", 1);
    expect_result("high * 2", "BIGINT", "NULL", 1);
    expect_result("low / -1", "BIGINT", "NULL", 1);
    expect_result("low % -1", "BIGINT", "0", 0);
    expect_result("-low", "BIGINT", "NULL", 1);
    expect_result("abs(low)", "BIGINT", "NULL", 1);
    expect_result("n / 0", "BIGINT", "NULL", 1);
    expect_result("n % 0", "BIGINT", "NULL", 1);
    expect_result("x / 0", "DOUBLE", "NULL", 1);
    expect_result("d / 0", "DOUBLE", "NULL", 1);
    expect_result("d % 0", "DECIMAL(38, 2)", "NULL", 1);
    expect_result("huge * 2", "DOUBLE", "NULL", 1);
    expect_result("huge + huge", "DOUBLE", "NULL", 1);
    expect_result("wide + wide", "DECIMAL(38, 0)", "NULL", 1);
    expect_result("wide * 10", "DECIMAL(38, 0)", "NULL", 1);
    expect_result("wide + 0.1", "DECIMAL(38, 1)", "NULL", 1);
    expect_result("1 / 0", "BIGINT", "NULL", 1);
    expect_result("zn / 0", "BIGINT", "NULL", 0);
    expect_result("zn + high", "BIGINT", "NULL", 0);
    expect_result("coalesce(n / 0, 5)", "BIGINT", "5", 1);
    expect_result("n / 0 > 1 OR b", "BOOLEAN", "true", 1);
}

static void test_expression_logic_has_three_values(void **state)
{
    (void)state;
    static const char *const names[3] = {"n = 7", "n = 8", "zb"}; /* TRUE, FALSE, NULL */
    static const char *const constants[3] = {"TRUE", "FALSE", "NULL"};
    static const char *const and_table[3][3] = {
        {"true", "false", "NULL"}, {"false", "false", "false"}, {"NULL", "false", "NULL"}};
    static const char *const or_table[3][3] = {
        {"true", "true", "true"}, {"true", "false", "NULL"}, {"true", "NULL", "NULL"}};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            char sql[100];
            (void)snprintf(sql, sizeof(sql), "%s AND %s", names[i], names[j]);
            expect_truth(sql, and_table[i][j]);
            (void)snprintf(sql, sizeof(sql), "%s OR %s", names[i], names[j]);
            expect_truth(sql, or_table[i][j]);
            (void)snprintf(sql, sizeof(sql), "%s AND %s", names[i], constants[j]);
            expect_truth(sql, and_table[i][j]);
            (void)snprintf(sql, sizeof(sql), "%s OR %s", constants[i], names[j]);
            expect_truth(sql, or_table[i][j]);
            (void)snprintf(sql, sizeof(sql), "%s AND %s", constants[i], constants[j]);
            expect_truth(sql, and_table[i][j]);
        }
    }
    expect_truth("NOT n = 7", "false");
    expect_truth("NOT n = 8", "true");
    expect_truth("NOT zb", "NULL");
    expect_truth("NOT NULL", "NULL");
}

static void test_expression_predicates_know_null(void **state)
{
    (void)state;
    expect_truth("zn = 1", "NULL");
    expect_truth("n = NULL", "NULL");
    expect_truth("zn = zn", "NULL");
    expect_truth("zn IS NULL", "true");
    expect_truth("zn IS NOT NULL", "false");
    expect_truth("n IS NULL", "false");
    expect_truth("n IN (1, 7)", "true");
    expect_truth("n IN (1, NULL, 7)", "true");
    expect_truth("n IN (1, NULL)", "NULL");
    expect_truth("n NOT IN (1, NULL)", "NULL");
    expect_truth("n NOT IN (1, 2)", "true");
    expect_truth("zn IN (1, 2)", "NULL");
    expect_truth("n BETWEEN 1 AND NULL", "NULL");
    expect_truth("n BETWEEN 8 AND NULL", "false");
    expect_truth("n NOT BETWEEN 8 AND NULL", "true");
    expect_truth("n BETWEEN 7 AND 7", "true");
    expect_truth("k IN ('x', 'abc')", "true");
    expect_truth("k NOT IN ('x', zk)", "NULL");
}

static void test_expression_faults_under_is_null_are_counted(void **state)
{
    (void)state;
    expect_result("(n / 0) IS NULL", "BOOLEAN", "true", 1);
}

static void test_expression_comparisons_of_mixed_numbers_are_exact(void **state)
{
    (void)state;
    expect_truth("x > 2", "true");
    expect_truth("2 < x", "true");
    expect_truth("x = 2.5", "true");
    expect_truth("n = 7.0", "true");
    expect_truth("n < 7.5", "true");
    expect_truth("near_n > near", "true"); /* Equal once rounded to DOUBLE. */
    expect_truth("near_n = near", "false");
    expect_truth("near < near_n", "true");
    expect_truth("near = 9007199254740993", "false");
    expect_truth("near_n = 9007199254740992e0", "false");
    expect_truth("high < 9223372036854775807e0", "true"); /* That is 2^63. */
    expect_truth("low = -9223372036854775808e0", "true");
    expect_truth("low > -1e300", "true");
    expect_truth("high < huge", "true");
    expect_truth("n < nan", "true");
    expect_truth("nan = nan", "true");
    expect_truth("nan > huge", "true");
    expect_truth("huge < nan", "true");
    expect_truth("nan >= 1e308", "true");
    expect_truth("nan <> x", "true");
    expect_truth("d = 12.5", "true");
    expect_truth("d > 12", "true");
    expect_truth("d < high", "true");
    expect_truth("wide > d", "true");
    expect_truth("d = 12.5e0", "true");
    expect_truth("wide > 0.00000000000000000000000000000000000001", "true");
    expect_truth("wide * -1 < 0.00000000000000000000000000000000000001", "true");
}

static void test_expression_text_and_times_compare(void **state)
{
    (void)state;
    expect_truth("k = 'abc'", "true");
    expect_truth("k < 'abd'", "true");
    expect_truth("'ab' < k", "true");
    expect_truth("k = key", "true");
    expect_truth("k <> 'it''s'", "true");
    expect_truth("t = '2013-06-01'", "true");
    expect_truth("'2013-05-31 23:59:59.999999' < t", "true");
    expect_truth("t BETWEEN '2013-06-01' AND TIMESTAMP '2013-06-01T00:00:00Z'", "true");
    expect_truth("t IN ('2012-01-01', '2013-06-01 02:00:00+02:00')", "true");
    expect_truth("b = TRUE", "true");
    expect_truth("b > FALSE", "true");
    expect_result("coalesce(zk, 'x')", "TEXT", "x", 0);
    expect_result("coalesce(zk, k, 'x')", "TEXT", "abc", 0);
    expect_result("coalesce(zn, n, 1.5)", "DECIMAL(38, 1)", "7.0", 0);
    expect_result("coalesce(zx, n)", "DOUBLE", "7", 0);
    expect_result("coalesce(zn, NULL, zn)", "BIGINT", "NULL", 0);
    expect_result("coalesce(t, '2013-01-01')", "TIMESTAMP", "2013-06-01T00:00:00Z", 0);
    expect_result("nullif(k, 'abc')", "TEXT", "NULL", 0);
    expect_result("nullif(n, 7.0)", "BIGINT", "NULL", 0);
    expect_result("nullif(n, 8)", "BIGINT", "7", 0);
    expect_result("nullif(n, NULL)", "BIGINT", "7", 0);
    expect_result("nullif(1e0, 1) * d", "DOUBLE", "NULL", 0);
    expect_result("coalesce(NULL, '2013-06-01') = t", "BOOLEAN", "true", 0);
}

static void expect_canonical(const char *sql, const char *expected)
{
    struct ab_catalog *catalog = catalog_with(sql);
    expect_print(catalog->views[0].measures[0].arguments[0], expected);
    ab_catalog_release(catalog);
}

static void test_expression_prints_with_the_fewest_brackets_and_folded(void **state)
{
    (void)state;
    expect_canonical("((n)+(1))", "n + 1");
    expect_canonical("(n + 1) * 2", "(n + 1) * 2");
    expect_canonical("n - (n - 1)", "n - (n - 1)");
    expect_canonical("(n - n) - 1", "n - n - 1");
    expect_canonical("n * (60 * 24)", "n * 1440");
    expect_canonical("1 / 0 + n", "1 / 0 + n");
    expect_canonical("- - n", "-(-n)");
    expect_canonical("-(-9223372036854775808) + n", "-(-9223372036854775808) + n");
    expect_canonical("NOT (b AND NOT b OR b)", "NOT (b AND NOT b OR b)");
    expect_canonical("b AND (b OR b)", "b AND (b OR b)");
    expect_canonical("(b AND b) OR b", "b AND b OR b");
    expect_canonical("(n = 1) = b", "(n = 1) = b");
    expect_canonical("(b IS NULL) IS NOT NULL", "(b IS NULL) IS NOT NULL");
    expect_canonical("x > 0.1e0", "x > 0.10000000000000001e0");
    expect_canonical("x > 1e300", "x > 1.0000000000000001e+300");
    expect_canonical("d > 1.50", "d > 1.50");
    expect_canonical("t > '2013-06-01'", "t > TIMESTAMP '2013-06-01T00:00:00Z'");
    expect_canonical("s.n <> 1", "n <> 1");
    expect_canonical("n != 1", "n <> 1");
    expect_canonical("COALESCE(n, NULL) IN (+1, -2)", "coalesce(n, NULL) IN (1, -2)");
}

static void test_expression_tells_its_inputs(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_with("n + x * n");
    const struct ab_expression *expression = catalog->views[0].measures[0].arguments[0];
    bool used[INPUTS_COUNT] = {false};
    ab_expression_inputs(expression, used, INPUTS_COUNT);
    for (int i = 0; i < INPUTS_COUNT; i++) {
        assert_int_equal(used[i], i == 2 || i == 3);
    }
    assert_int_equal(ab_expression_column(expression), -1);
    ab_catalog_release(catalog);
    catalog = catalog_with("(x)");
    assert_int_equal(ab_expression_column(catalog->views[0].measures[0].arguments[0]), 3);
    ab_catalog_release(catalog);
}

static void test_expression_reads_a_missing_input_as_null(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_with("coalesce(n + 1, 5)");
    const struct ab_column *none[INPUTS_COUNT] = {NULL};
    struct ab_arena arena = {0};
    struct ab_column column;
    assert_int_equal(
        ab_expression_evaluate(catalog->views[0].measures[0].arguments[0], none, 3, &arena, &column, NULL), AB_OK);
    assert_int_equal(column.rows_count, 3);
    assert_int_equal(ab_column_value(&column, 2).bigint, 5);
    ab_catalog_release(catalog);
    catalog = catalog_with("k");
    assert_int_equal(
        ab_expression_evaluate(catalog->views[0].measures[0].arguments[0], none, 3, &arena, &column, NULL), AB_OK);
    assert_true(ab_column_is_null(&column, 2));
    ab_catalog_release(catalog);
    ab_arena_fini(&arena);
}

static void test_expression_filter_keeps_true_rows_alone(void **state)
{
    (void)state;
    static const int64_t values[5] = {1, 2, 3, 4, 5};
    static const uint8_t nulls[5] = {0, 0, 1, 0, 0};
    struct ab_column column = {.type = {.kind = AB_TYPE_BIGINT}, .rows_count = 5, .values = values, .nulls = nulls};
    const struct ab_column *row_inputs[INPUTS_COUNT] = {[2] = &column};
    struct ab_catalog *catalog = catalog_with("n > 1 AND n <> 4");
    struct ab_arena arena = {0};
    uint8_t keep[5];
    uint64_t faults = 0;
    assert_int_equal(
        ab_expression_filter(catalog->views[0].measures[0].arguments[0], row_inputs, 5, &arena, keep, &faults), AB_OK);
    static const uint8_t expected[5] = {0, 1, 0, 0, 1};
    assert_memory_equal(keep, expected, 5);
    ab_arena_fini(&arena);
    ab_catalog_release(catalog);
}

static void test_expression_over_no_rows_is_empty(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_with("n + 1 > x OR k = 'a'");
    struct ab_arena arena = {0};
    struct ab_column column;
    assert_int_equal(
        ab_expression_evaluate(catalog->views[0].measures[0].arguments[0], inputs, 0, &arena, &column, NULL), AB_OK);
    assert_int_equal(column.rows_count, 0);
    ab_arena_fini(&arena);
    ab_catalog_release(catalog);
}

/* Every refusal of the budget comes back as AB_FULL. */
static void test_expression_under_a_small_budget_is_full(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_with(
        "coalesce(k, 'x') IN ('a', zk) OR n * d + x BETWEEN 1 AND 2 AND nullif(n, 3) IS NOT NULL AND NOT abs(n) > 1.5");
    bool has_finished = false;
    for (size_t limit = 64; limit < 65536 && !has_finished; limit += 64) {
        struct ab_memory memory;
        struct ab_arena arena;
        struct ab_column column;
        ab_memory_init(&memory, limit, NULL);
        ab_arena_init(&arena, &memory, 64);
        ab_err code =
            ab_expression_evaluate(catalog->views[0].measures[0].arguments[0], inputs, 1, &arena, &column, NULL);
        assert_true(code == AB_OK || code == AB_FULL);
        has_finished = code == AB_OK;
        ab_arena_fini(&arena);
    }
    assert_true(has_finished);
    ab_catalog_release(catalog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expression_arithmetic_has_the_types_of_the_design),
        cmocka_unit_test(test_expression_that_cannot_hold_its_value_is_null_and_a_fault),
        cmocka_unit_test(test_expression_logic_has_three_values),
        cmocka_unit_test(test_expression_predicates_know_null),
        cmocka_unit_test(test_expression_faults_under_is_null_are_counted),
        cmocka_unit_test(test_expression_comparisons_of_mixed_numbers_are_exact),
        cmocka_unit_test(test_expression_text_and_times_compare),
        cmocka_unit_test(test_expression_prints_with_the_fewest_brackets_and_folded),
        cmocka_unit_test(test_expression_tells_its_inputs),
        cmocka_unit_test(test_expression_reads_a_missing_input_as_null),
        cmocka_unit_test(test_expression_filter_keeps_true_rows_alone),
        cmocka_unit_test(test_expression_over_no_rows_is_empty),
        cmocka_unit_test(test_expression_under_a_small_budget_is_full),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
