/* Every error of a catalog, with its exact place and text. */
#include "tests/unit/common/catalog/fixture.h"

#include "common/base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
    const char *text;
    ab_err code;
    const char *expected;
} refusals[] = {
    {"CREATE TABLE t (a BIGINT)", AB_SYNTAX, "line 1, column 8: found \"TABLE\", expected STREAM, VIEW or TIME ZONE"},
    {"CREATE STREM s (a BIGINT)", AB_SYNTAX,
        "line 1, column 8: found \"STREM\", expected STREAM, VIEW or TIME ZONE; did you mean STREAM?"},
    {"CREATE MODEL late USING x", AB_UNSUPPORTED, "line 1, column 8: MODEL is not supported yet"},
    {"CREATE STREAM", AB_SYNTAX, "line 1, column 14: found the end of the text, expected a name"},
    {"CREATE STREAM s ()", AB_SYNTAX, "line 1, column 18: found \")\", expected a name, EVENT TIME or PARTITION KEY"},
    {"CREATE STREAM s (a INT)", AB_SYNTAX,
        "line 1, column 20: found \"int\", expected a type: BOOLEAN, BIGINT, DOUBLE, DECIMAL(p, s), TEXT or TIMESTAMP; "
        "did you mean BIGINT?"},
    {"CREATE STREAM s (a VARCHAR(10))", AB_SYNTAX,
        "line 1, column 20: found \"varchar\", expected a type: BOOLEAN, BIGINT, DOUBLE, DECIMAL(p, s), TEXT or "
        "TIMESTAMP; did you mean TEXT?"},
    {"CREATE STREAM s (a BIGNT)", AB_SYNTAX,
        "line 1, column 20: found \"bignt\", expected a type: BOOLEAN, BIGINT, DOUBLE, DECIMAL(p, s), TEXT or "
        "TIMESTAMP; did you mean BIGINT?"},
    {"CREATE STREAM s (a DECIMAL)", AB_SYNTAX,
        "line 1, column 20: expected DECIMAL(precision, scale) with precision 1 to 38 and scale 0 to the precision"},
    {"CREATE STREAM s (a DECIMAL(39, 2))", AB_SYNTAX,
        "line 1, column 20: expected DECIMAL(precision, scale) with precision 1 to 38 and scale 0 to the precision"},
    {"CREATE STREAM s (a DECIMAL(5, 6))", AB_SYNTAX,
        "line 1, column 20: expected DECIMAL(precision, scale) with precision 1 to 38 and scale 0 to the precision"},
    {"CREATE STREAM s (a BIGINT(3))", AB_SYNTAX,
        "line 1, column 27: only DECIMAL takes numbers in brackets, expected none here"},
    {"CREATE STREAM s (a TEXT,\n  a BIGINT)", AB_SYNTAX,
        "line 2, column 3: \"a\" is already the name of a column, on line 1"},
    {"CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, PARTITION KEY (k))", AB_SYNTAX,
        "line 1, column 15: stream s has no EVENT TIME, expected EVENT TIME and a TIMESTAMP column"},
    {"CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t)", AB_SYNTAX,
        "line 1, column 15: stream s has no PARTITION KEY, expected PARTITION KEY (columns)"},
    {"CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP, EVENT TIME t, PARTITION KEY (k))", AB_SYNTAX,
        "line 1, column 59: EVENT TIME needs a NOT NULL column; t may be NULL"},
    {"CREATE STREAM s (k TEXT NOT NULL, t TEXT NOT NULL, EVENT TIME t, PARTITION KEY (k))", AB_SYNTAX,
        "line 1, column 63: EVENT TIME needs a TIMESTAMP column; t is TEXT"},
    {"CREATE STREAM s (k TEXT, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k))", AB_SYNTAX,
        "line 1, column 77: PARTITION KEY needs a NOT NULL column; k may be NULL"},
    {"CREATE STREAM s (key TEXT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (kye))", AB_SYNTAX,
        "line 1, column 88: found \"kye\", expected a column of stream s; did you mean key?"},
    {"CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k, k))", AB_SYNTAX,
        "line 1, column 89: k stands in PARTITION KEY twice"},
    {"CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t,\nEVENT TIME t, PARTITION KEY (k))",
        AB_SYNTAX, "line 2, column 1: EVENT TIME is already given, on line 1"},
    {STREAM_KT ",\nPARTITION KEY (k))", AB_SYNTAX, "line 2, column 1: PARTITION KEY is already given, on line 1"},
    {"CREATE STREAM s (k TEXT NOT NULL NOT NULL, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k))", AB_SYNTAX,
        "line 1, column 34: NOT NULL stands here twice"},
    {"CREATE STREAM s (k TEXT NOT NULL CHECK (k), t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k))", AB_SYNTAX,
        "line 1, column 41: found TEXT for a condition, expected BOOLEAN"},
    {"CREATE STREAM s (k TEXT NOT NULL CHECK (z > 1), t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k))",
        AB_SYNTAX, "line 1, column 41: found \"z\", expected a column of stream s"},
    {"CREATE STREAM s (k TEXT NOT NULL CHECK (k > 'a') CHECK (k < 'b'), t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION "
     "KEY (k))",
        AB_SYNTAX, "line 1, column 57: found a second CHECK for k, expected one with AND"},
    {STREAM_KT ") WITH (retention = '1 day')", AB_SYNTAX,
        "line 1, column 96: found the option \"retention\", expected history_retention, max_future or max_past"},
    {STREAM_KT ") WITH (history_retenton = '1 day')", AB_SYNTAX,
        "line 1, column 96: found the option \"history_retenton\", expected history_retention, max_future or max_past; "
        "did you mean history_retention?"},
    {STREAM_KT ") WITH (max_past = '1 fortnight')", AB_SYNTAX,
        "line 1, column 107: max_past: the unit \"fortnight\" is unknown, expected years, months, weeks, days, hours, "
        "minutes, seconds, milliseconds or microseconds"},
    {STREAM_KT ") WITH (max_future = 'forever')", AB_SYNTAX,
        "line 1, column 109: max_future: expected a duration such as '7 days'"},
    {STREAM_KT ") WITH (max_past = '2 days', max_past = '2 days')", AB_SYNTAX,
        "line 1, column 117: the option max_past stands here twice"},
    {STREAM_KT ") WITH (max_past = '5000 years')", AB_SYNTAX,
        "line 1, column 107: max_past: a duration above 1000 years"},
    {STREAM_KT ", DEDUPLICATE BY (k))", AB_UNSUPPORTED, "line 1, column 90: DEDUPLICATE BY is not supported yet"},
    {"CREATE STREAM _s (k TEXT)", AB_SYNTAX,
        "line 1, column 15: found \"_s\", expected a name of a stream without _ at its start: those are the system's"},
    {"CREATE STREAM \"../s\" (k TEXT)", AB_SYNTAX,
        "line 1, column 15: found a character that the name of a stream may not have, expected letters, digits and _"},
    {"CREATE STREAM \"\" (k TEXT)", AB_SYNTAX, "line 1, column 15: found a name of 0 bytes, expected 1 to 63"},
    {"CREATE STREAM s (\"a\nb\" TEXT)", AB_SYNTAX,
        "line 1, column 18: found a character that the name of a column may not have, expected letters, digits and _"},
    {"CREATE STREAM aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (k TEXT)", AB_SYNTAX,
        "line 1, column 15: found a name of 64 bytes, expected 1 to 63"},
    {"CREATE STREAM select (k TEXT)", AB_SYNTAX, "line 1, column 15: found \"select\", expected a name"},
    {"CREATE STREAM s (k TEXT NOT NULL) /* no end", AB_SYNTAX,
        "line 1, column 35: the comment that begins here has no end, expected */"},
    {"CREATE STREAM \"s", AB_SYNTAX, "line 1, column 15: the quoted name that begins here has no end, expected \""},
    {"CREATE STREAM s (k TEXT) ?", AB_SYNTAX, "line 1, column 26: found the character ?, which SQL has no use for"},
    {"CREATE STREAM s (k TEXT) \001", AB_SYNTAX, "line 1, column 26: found the byte 0x01, which SQL has no use for"},
    {"h\303\251llo", AB_SYNTAX, "line 1, column 1: found \"h\303\251llo\", expected the end, CREATE or ';'"},
    {"CREATE STREAM s (\303\251 \303\200\303\211)", AB_SYNTAX,
        "line 1, column 20: found \"\303\200\303\211\", expected a type: BOOLEAN, BIGINT, DOUBLE, DECIMAL(p, s), TEXT "
        "or TIMESTAMP"},
    {STREAM_S "CREATE STREAM s (k TEXT)", AB_SYNTAX,
        "line 2, column 15: \"s\" is already the name of a stream, on line 1"},
    {STREAM_S "CREATE VIEW s AS SELECT count(*) FROM s", AB_SYNTAX,
        "line 2, column 13: \"s\" is already the name of a stream, on line 1"},
    {STREAM_S "CREATE VIEW v AS SELECT k FROM s GROUP BY k", AB_SYNTAX,
        "line 2, column 18: a view needs at least one aggregate, such as count(*)"},
    {STREAM_S "CREATE VIEW v AS SELECT k, count(*) FROM s", AB_SYNTAX,
        "line 2, column 25: k must stand in GROUP BY or inside an aggregate"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM z", AB_SYNTAX,
        "line 2, column 39: found \"z\", expected a stream"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s;\nCREATE VIEW w AS SELECT count(*) FROM v", AB_UNSUPPORTED,
        "line 3, column 39: a view of a view is not supported yet, expected a stream"},
    {STREAM_S "CREATE VIEW v AS SELECT k, count(*), count(*) FROM s GROUP BY k", AB_SYNTAX,
        "line 2, column 38: \"count\" is already a name of this view, on line 2; give one of them another name (AS "
        "name)"},
    {STREAM_S "CREATE VIEW v AS SELECT k, count(*) AS n,\n sum(n) AS n FROM s GROUP BY k", AB_SYNTAX,
        "line 3, column 12: \"n\" is already a name of this view, on line 2; give one of them another name (AS name)"},
    {STREAM_S "CREATE VIEW v AS SELECT k AS n, count(*) AS n FROM s GROUP BY k", AB_SYNTAX,
        "line 2, column 45: \"n\" is already a name of this view, on line 2; give one of them another name (AS name)"},
    {STREAM_S "CREATE VIEW v AS SELECT k, k AS j, count(*) FROM s GROUP BY k", AB_SYNTAX,
        "line 2, column 28: k is already selected, on line 2"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) AS window_start FROM s", AB_SYNTAX,
        "line 2, column 37: window_start is the name of a pane's bound, expected another name (AS name)"},
    {STREAM_S "CREATE VIEW v AS SELECT * FROM s", AB_SYNTAX,
        "line 2, column 25: found *, expected the group's columns and aggregates by name"},
    {STREAM_S "CREATE VIEW v AS SELECT sum(k) FROM s", AB_SYNTAX, "line 2, column 29: sum needs a number, found TEXT"},
    {STREAM_S "CREATE VIEW v AS SELECT sun(n) FROM s", AB_SYNTAX,
        "line 2, column 25: found the function \"sun\", expected a known one; did you mean sum?"},
    {STREAM_S "CREATE VIEW v AS SELECT sum(*) FROM s", AB_SYNTAX,
        "line 2, column 25: found sum(*), expected an argument: only count takes *"},
    {STREAM_S "CREATE VIEW v AS SELECT sum(DISTINCT n) FROM s", AB_UNSUPPORTED,
        "line 2, column 25: sum(DISTINCT ...) is not supported yet"},
    {STREAM_S "CREATE VIEW v AS SELECT sum() FROM s", AB_SYNTAX,
        "line 2, column 25: found 0 arguments of sum, expected 1"},
    {STREAM_S "CREATE VIEW v AS SELECT count(n, x) FROM s", AB_SYNTAX,
        "line 2, column 25: found 2 arguments of count, expected 1 or *"},
    {STREAM_S "CREATE VIEW v AS SELECT corr(n) FROM s", AB_SYNTAX,
        "line 2, column 25: found 1 argument of corr, expected corr(y, x)"},
    {STREAM_S "CREATE VIEW v AS SELECT corr(n, k) FROM s", AB_SYNTAX,
        "line 2, column 33: corr needs a number, found TEXT"},
    {STREAM_S "CREATE VIEW v AS SELECT bit_and(x) FROM s", AB_SYNTAX,
        "line 2, column 33: bit_and needs a BIGINT, found DOUBLE"},
    {STREAM_S "CREATE VIEW v AS SELECT bool_or(n) FROM s", AB_SYNTAX,
        "line 2, column 33: bool_or needs a BOOLEAN, found BIGINT"},
    {STREAM_S "CREATE VIEW v AS SELECT first_k(k) FROM s", AB_SYNTAX,
        "line 2, column 25: found 1 argument of first_k, expected first_k(x, k)"},
    {STREAM_S "CREATE VIEW v AS SELECT first_k(k, 1, 2) FROM s", AB_SYNTAX,
        "line 2, column 25: found 3 arguments of first_k, expected first_k(x, k)"},
    {STREAM_S "CREATE VIEW v AS SELECT first_k(k, n) FROM s", AB_SYNTAX,
        "line 2, column 36: found an expression, expected a constant here in first_k(x, k)"},
    {STREAM_S "CREATE VIEW v AS SELECT largest(k, 0) FROM s", AB_SYNTAX,
        "line 2, column 36: largest needs a whole number from 1 to 1000 here"},
    {STREAM_S "CREATE VIEW v AS SELECT largest(k, 1001) FROM s", AB_SYNTAX,
        "line 2, column 36: largest needs a whole number from 1 to 1000 here"},
    {STREAM_S "CREATE VIEW v AS SELECT smallest(k, 2.5) FROM s", AB_SYNTAX,
        "line 2, column 37: smallest needs a whole number from 1 to 1000 here"},
    {STREAM_S "CREATE VIEW v AS SELECT histogram(n) FROM s", AB_SYNTAX,
        "line 2, column 25: found 1 argument of histogram, expected histogram(x, bound, ...)"},
    {STREAM_S "CREATE VIEW v AS SELECT histogram(n, 0.5) FROM s", AB_SYNTAX,
        "line 2, column 38: this bound is no value of BIGINT, which the histogram is over"},
    {STREAM_S "CREATE VIEW v AS SELECT histogram(d, 0.125) FROM s", AB_SYNTAX,
        "line 2, column 38: this bound is no value of DECIMAL(10, 2), which the histogram is over"},
    {STREAM_S "CREATE VIEW v AS SELECT histogram(n, 'a') FROM s", AB_SYNTAX,
        "line 2, column 38: this bound is no value of BIGINT, which the histogram is over"},
    {STREAM_S "CREATE VIEW v AS SELECT histogram(n, 1, 3, 3) FROM s", AB_SYNTAX,
        "line 2, column 44: the bounds of a histogram have to rise, this one does not"},
    {STREAM_S "CREATE VIEW v AS SELECT rate(n) FROM s GROUP BY k", AB_SYNTAX,
        "line 2, column 25: rate needs the length of a window, expected TUMBLE(column, INTERVAL 'n unit') in GROUP BY; "
        "use sum for all of time"},
    {STREAM_S "CREATE VIEW v AS SELECT sum(n) / count(*) FROM s", AB_SYNTAX,
        "line 2, column 25: found the aggregate sum inside an expression, expected it alone in SELECT of a view"},
    {STREAM_S "CREATE VIEW v AS SELECT n + 1, count(*) FROM s GROUP BY n", AB_SYNTAX,
        "line 2, column 27: found an expression, expected a column of GROUP BY or one aggregate"},
    {STREAM_S "CREATE VIEW v AS SELECT vector_sum(x) FROM s", AB_UNSUPPORTED,
        "line 2, column 25: vector_sum() is not supported yet"},
    {STREAM_S "CREATE VIEW v AS SELECT approx_top_k(k, 10) FROM s", AB_UNSUPPORTED,
        "line 2, column 25: approx_top_k() is not supported yet"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY n + 1", AB_SYNTAX,
        "line 2, column 52: expected a column or TUMBLE(column, INTERVAL 'n unit') in GROUP BY"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY k, k", AB_SYNTAX,
        "line 2, column 53: k stands in GROUP BY twice"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY z", AB_SYNTAX,
        "line 2, column 50: found \"z\", expected a column of stream s"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(n, INTERVAL '1 hour')", AB_SYNTAX,
        "line 2, column 57: TUMBLE needs a TIMESTAMP NOT NULL column; n is BIGINT"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(u, INTERVAL '1 hour')", AB_SYNTAX,
        "line 2, column 57: TUMBLE needs a TIMESTAMP NOT NULL column; u is TIMESTAMP and may be NULL"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, INTERVAL '1 month')", AB_SYNTAX,
        "line 2, column 60: a month has no fixed length, expected weeks, days, hours, minutes or seconds; in a time "
        "zone it has bounds: add one, such as 'UTC', as the last argument"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, '1 hour')", AB_SYNTAX,
        "line 2, column 50: expected TUMBLE(column, INTERVAL 'n unit' [, 'time zone'])"},
    {STREAM_S
        "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, INTERVAL '1 hour'), TUMBLE(t, INTERVAL '1 day')",
        AB_SYNTAX, "line 2, column 80: TUMBLE stands in GROUP BY twice"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, INTERVAL '0 hours')", AB_SYNTAX,
        "line 2, column 60: expected a duration such as '7 days'"},
    {STREAM_S "CREATE VIEW v AS SELECT TUMBLE(t, INTERVAL '1 hour') AS hour, count(*) FROM s GROUP BY TUMBLE(t, "
              "INTERVAL '1 hour')",
        AB_SYNTAX, "line 2, column 57: found \"hour\", expected window_start: its name is fixed"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WITH (keep = '1 day')", AB_SYNTAX,
        "line 2, column 54: keep needs panes, expected TUMBLE(column, INTERVAL '...') in GROUP BY"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, INTERVAL '1 day') WITH (keep = '1 hour')",
        AB_SYNTAX, "line 2, column 91: keep is shorter than one pane"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, INTERVAL '1 day') WITH (keeps = '1 hour')",
        AB_SYNTAX, "line 2, column 84: found the option \"keeps\", expected keep"},
    {STREAM_S_WEEK
        "CREATE VIEW v AS SELECT count(*) FROM s GROUP BY TUMBLE(t, INTERVAL '1 day') WITH (keep = '8 days')",
        AB_SYNTAX, "line 2, column 91: keep = '8 days' is longer than the history_retention = '7 days' of stream s"},
    {STREAM_S_WEEK "CREATE VIEW v AS SELECT count(*) FROM s", AB_SYNTAX,
        "line 2, column 13: a view without TUMBLE keeps for ever, but stream s keeps its history for '7 days'; add "
        "TUMBLE"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE n", AB_SYNTAX,
        "line 2, column 47: found BIGINT for a condition, expected BOOLEAN"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE count(*) > 1", AB_SYNTAX,
        "line 2, column 47: found the aggregate count inside an expression, expected it alone in SELECT of a view"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE n = k", AB_SYNTAX,
        "line 2, column 49: found BIGINT = TEXT, expected two values of one type"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE n BETWEEN 'a' AND 3", AB_SYNTAX,
        "line 2, column 49: found BIGINT BETWEEN TEXT, expected two values of one type"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE NULL = NULL", AB_SYNTAX,
        "line 2, column 47: the type of this NULL is not known here, expected a value whose type is known for ="},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE t > 'yesterday'", AB_SYNTAX,
        "line 2, column 51: found 'yesterday', expected a time such as '2013-06-01' or '2013-06-01 05:17:00'"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE NOT n", AB_SYNTAX,
        "line 2, column 51: found BIGINT for NOT, expected BOOLEAN"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE -k > 1", AB_SYNTAX,
        "line 2, column 48: found TEXT for -, expected a number"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE x % 2 = 0", AB_SYNTAX,
        "line 2, column 49: found DOUBLE beside %, expected BIGINT or DECIMAL"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE abs(n, 2) > 1", AB_SYNTAX,
        "line 2, column 47: found abs with these arguments, expected abs(x)"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE coalesce(n, k) > 1", AB_SYNTAX,
        "line 2, column 59: found TEXT for coalesce, expected BIGINT"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE hour(t) = 3", AB_UNSUPPORTED,
        "line 2, column 47: hour() is not supported yet"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE z.n = 3", AB_SYNTAX,
        "line 2, column 47: found \"z\" before the dot, expected s"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE n = 12345678901234567890123456789012345678901", AB_SYNTAX,
        "line 2, column 51: this number has more than 38 digits, the most a DECIMAL holds; write it with an exponent "
        "for a DOUBLE"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE x > 1e999", AB_SYNTAX,
        "line 2, column 51: this number is outside the range of DOUBLE"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE n > 1x", AB_SYNTAX,
        "line 2, column 51: a number runs into a name, expected a space between them"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE t = INTERVAL '1 day'", AB_SYNTAX,
        "line 2, column 51: found INTERVAL, expected it in TUMBLE alone"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE (n", AB_SYNTAX,
        "line 2, column 49: found the end of the text, expected ')' or an operator"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE n = = 1", AB_SYNTAX,
        "line 2, column 51: found \"=\", expected an expression"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s ORDER BY 1", AB_SYNTAX,
        "line 2, column 41: found \"ORDER\", expected the end, WHERE, GROUP, WITH or ';'"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s HAVING n", AB_UNSUPPORTED,
        "line 2, column 41: HAVING is not supported yet"},
    {STREAM_S "CREATE VIEW v AS SELECT sum(max(n)) FROM s", AB_SYNTAX,
        "line 2, column 29: found the aggregate max inside an expression, expected it alone in SELECT of a view"},
    {STREAM_S "CREATE VIEW v AS SELECT sum(n) FILTER (WHERE n + 1) FROM s", AB_SYNTAX,
        "line 2, column 48: found BIGINT for a condition, expected BOOLEAN"},
    {STREAM_S "CREATE VIEW v AS SELECT sum(NULL) FROM s", AB_SYNTAX,
        "line 2, column 29: the type of this NULL is not known here, expected a value whose type is known for this "
        "place"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE k || 'a' = 'b'", AB_UNSUPPORTED,
        "line 2, column 49: || is not supported yet"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE d * 1.0000000000000000000000000000000000001 > 0",
        AB_SYNTAX, "line 2, column 49: this product has 39 digits after the point, at most 38 are possible"},
    {STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE t + 1 > 0", AB_SYNTAX,
        "line 2, column 47: found TIMESTAMP for +, expected a number"},
    {"SELECT 1 FROM s", AB_SYNTAX, "line 1, column 1: found \"SELECT\", expected the end, CREATE or ';'"},
};

static void test_catalog_refusals_name_place_found_and_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        expect_refused(refusals[i].text, refusals[i].code, refusals[i].expected);
    }
}

static void test_catalog_text_that_is_not_utf8_names_the_line(void **state)
{
    (void)state;
    expect_refused("CREATE STREAM s\n(\xff", AB_SYNTAX, "line 2, column 1: this line is not UTF-8 text");
    struct ab_catalog *catalog = NULL;
    assert_int_equal(ab_catalog_parse(ab_bytes_of("-- \0", 4), &catalog, NULL), AB_SYNTAX);
}

static void test_catalog_too_large_text_is_refused(void **state)
{
    (void)state;
    struct ab_buffer text = {0};
    memset(ab_buffer_extend(&text, AB_CATALOG_TEXT_BYTES_MAX + 1), ' ', AB_CATALOG_TEXT_BYTES_MAX + 1);
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    assert_int_equal(ab_catalog_parse(ab_buffer_view(&text), &catalog, &error), AB_TOO_LARGE);
    ab_buffer_fini(&text);
}

/* STREAM_S and a view whose WHERE is `unit` repeated: brackets, signs, chains. */
static void expect_too_deep(const char *unit, const char *middle, const char *end, unsigned count, const char *expected)
{
    struct ab_buffer text = {0};
    ab_buffer_put_bytes(&text, ab_bytes_of_text(STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE "));
    for (unsigned i = 0; i < count; i++) {
        ab_buffer_put_bytes(&text, ab_bytes_of_text(unit));
    }
    ab_buffer_put_bytes(&text, ab_bytes_of_text(middle));
    for (unsigned i = 0; i < count; i++) {
        ab_buffer_put_bytes(&text, ab_bytes_of_text(end));
    }
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    assert_int_equal(ab_catalog_parse(ab_buffer_view(&text), &catalog, &error), AB_SYNTAX);
    assert_non_null(strstr(error.text, expected));
    ab_buffer_fini(&text);
}

static void test_catalog_deep_nesting_is_an_error_and_no_overflow(void **state)
{
    (void)state;
    expect_too_deep("(", "b", ")", 100000, "nested too deeply");
    expect_too_deep("NOT ", "b", "", 1000, "nested deeper than 400 levels");
    expect_too_deep("NOT ", "b", "", 100000, "nested too deeply");
    expect_too_deep("- ", "n > 0", "", 100000, "nested too deeply");
    expect_too_deep("b OR ", "b", "", 1000, "nested deeper than 400 levels");
    expect_too_deep("abs(", "n", ")", 600, "nested deeper than 400 levels");
    expect_too_deep("", "n IN (1", ", 1", 250000, "more than 200000 parts");
}

static void test_catalog_brackets_do_not_count_as_depth(void **state)
{
    (void)state;
    struct ab_buffer text = {0};
    ab_buffer_put_bytes(&text, ab_bytes_of_text(STREAM_S "CREATE VIEW v AS SELECT count(*) FROM s WHERE "));
    for (unsigned i = 0; i < 300; i++) {
        ab_buffer_put_bytes(&text, ab_bytes_of_text("("));
    }
    ab_buffer_put_bytes(&text, ab_bytes_of_text("b"));
    for (unsigned i = 0; i < 300; i++) {
        ab_buffer_put_bytes(&text, ab_bytes_of_text(")"));
    }
    ab_catalog_release(catalog_of(ab_buffer_text(&text)));
    ab_buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalog_refusals_name_place_found_and_expected),
        cmocka_unit_test(test_catalog_text_that_is_not_utf8_names_the_line),
        cmocka_unit_test(test_catalog_too_large_text_is_refused),
        cmocka_unit_test(test_catalog_deep_nesting_is_an_error_and_no_overflow),
        cmocka_unit_test(test_catalog_brackets_do_not_count_as_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
