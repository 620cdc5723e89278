/* Windows in SQL: what each declaration means, canonical text, pinned zones, evolution, and every refusal. */
#include "tests/unit/common/catalog/fixture.h"

#include "common/base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HOUR AB_US_PER_HOUR
#define DAY AB_US_PER_DAY
#define BERLIN "CREATE TIME ZONE 'Europe/Berlin' AS '3600 0=7200 5000=3600 | CET-1CEST,M3.5.0,M10.5.0/3';\n"
#define VIEW "CREATE VIEW v AS SELECT count(*) AS c FROM s GROUP BY "

/* A view of these windows; the catalog is released by the caller. */
static struct ab_catalog *view_of(const char *windows)
{
    struct ab_buffer text = {0};
    ab_buffer_put_format(&text, STREAM_S BERLIN VIEW "%s", windows);
    struct ab_catalog *catalog = catalog_of(ab_buffer_text(&text));
    ab_buffer_fini(&text);
    return catalog;
}

static void test_windows_declare_panes_and_canonical_text(void **state)
{
    (void)state;
    static const struct {
        const char *declared, *canonical;
        enum ab_window_kind kind;
        enum ab_period_unit unit;
        int64_t pane_us;
    } cases[] = {
        {"TUMBLE(t, INTERVAL '1 second')", "TUMBLE(t, INTERVAL '1 second')", AB_WINDOW_TUMBLE, AB_PERIOD_FIXED,
            AB_US_PER_SECOND},
        {"HOP(t, INTERVAL '1 day', INTERVAL '1 week')", "HOP(t, INTERVAL '1 day', INTERVAL '7 days')", AB_WINDOW_HOP,
            AB_PERIOD_FIXED, DAY},
        {"HOP(t, INTERVAL '1 week', INTERVAL '1 day')", "HOP(t, INTERVAL '1 day', INTERVAL '7 days')", AB_WINDOW_HOP,
            AB_PERIOD_FIXED, DAY},
        {"HOP(t, INTERVAL '40 minutes', INTERVAL '1 hour')", "HOP(t, INTERVAL '40 minutes', INTERVAL '1 hour')",
            AB_WINDOW_HOP, AB_PERIOD_FIXED, HOUR / 3},
        {"HOP(t, INTERVAL '1 month', INTERVAL '1 year', 'Europe/Berlin')",
            "HOP(t, INTERVAL '1 month', INTERVAL '12 months', 'Europe/Berlin')", AB_WINDOW_HOP, AB_PERIOD_MONTHS,
            30 * DAY},
        {"CUMULATE(t, INTERVAL '1 hour', INTERVAL '1 day')", "CUMULATE(t, INTERVAL '1 hour', INTERVAL '1 day')",
            AB_WINDOW_CUMULATE, AB_PERIOD_FIXED, HOUR},
        {"CUMULATE(t, INTERVAL '1 hour', INTERVAL '1 day', 'Europe/Berlin')",
            "CUMULATE(t, INTERVAL '1 hour', INTERVAL '1 day', 'Europe/Berlin')", AB_WINDOW_CUMULATE, AB_PERIOD_DAY,
            HOUR},
        {"CUMULATE(t, INTERVAL '1 day', INTERVAL '1 month', 'Europe/Berlin')",
            "CUMULATE(t, INTERVAL '1 day', INTERVAL '1 month', 'Europe/Berlin')", AB_WINDOW_CUMULATE, AB_PERIOD_DAY,
            DAY},
        {"TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin')", "TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin')",
            AB_WINDOW_TUMBLE, AB_PERIOD_DAY, DAY},
        {"TUMBLE(t, INTERVAL '1 WEEK', 'Europe/Berlin')", "TUMBLE(t, INTERVAL '1 week', 'Europe/Berlin')",
            AB_WINDOW_TUMBLE, AB_PERIOD_WEEK, 7 * DAY},
        {"TUMBLE(t, INTERVAL '1 quarter', 'Europe/Berlin')", "TUMBLE(t, INTERVAL '3 months', 'Europe/Berlin')",
            AB_WINDOW_TUMBLE, AB_PERIOD_MONTHS, 90 * DAY},
        {"TUMBLE(t, INTERVAL '6 hours', 'Europe/Berlin')", "TUMBLE(t, INTERVAL '6 hours', 'Europe/Berlin')",
            AB_WINDOW_TUMBLE, AB_PERIOD_DAY, 6 * HOUR},
        {"SESSION(t, INTERVAL '30 minutes')", "SESSION(t, INTERVAL '30 minutes')", AB_WINDOW_SESSION, AB_PERIOD_FIXED,
            HOUR / 2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ab_catalog *catalog = view_of(cases[i].declared);
        const struct ab_view *view = &catalog->views[0];
        assert_int_equal(view->window.kind, cases[i].kind);
        assert_int_equal(view->pane.unit, cases[i].unit);
        assert_int_equal(view->pane_us, cases[i].pane_us);
        assert_true(view->chunk_us >= view->pane_us);
        assert_non_null(strstr(view->definition, cases[i].canonical));
        struct ab_buffer text = {0};
        ab_buffer_put_format(&text, "%s;\n" BERLIN "%s", catalog->streams[0].definition, view->definition);
        struct ab_catalog *again = catalog_of(ab_buffer_text(&text));
        assert_string_equal(again->views[0].definition, view->definition);
        ab_buffer_fini(&text);
        ab_catalog_release(again);
        ab_catalog_release(catalog);
    }
}

static void test_windows_refusals_name_place_and_advice(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        ab_err code;
        const char *expected;
    } cases[] = {
        {STREAM_S VIEW "TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin')", AB_SYNTAX,
            "line 2, column 83: the rules of time zone \"Europe/Berlin\" are not pinned here, expected CREATE TIME "
            "ZONE "
            "'Europe/Berlin' AS '...'"},
        {STREAM_S BERLIN VIEW "TUMBLE(t, INTERVAL '2 days', 'Europe/Berlin')", AB_SYNTAX,
            "line 3, column 65: in a time zone expected 1 day, 1 week, months that divide a year, years, or a part of "
            "a "
            "day such as '6 hours'"},
        {STREAM_S BERLIN VIEW "TUMBLE(t, INTERVAL '5 months', 'Europe/Berlin')", AB_SYNTAX,
            "line 3, column 65: in a time zone expected 1 day, 1 week, months that divide a year, years, or a part of "
            "a "
            "day such as '6 hours'"},
        {STREAM_S BERLIN VIEW "TUMBLE(t, INTERVAL '7 hours', 'Europe/Berlin')", AB_SYNTAX,
            "line 3, column 65: in a time zone expected 1 day, 1 week, months that divide a year, years, or a part of "
            "a "
            "day such as '6 hours'"},
        {STREAM_S VIEW "HOP(t, INTERVAL '1 day')", AB_SYNTAX,
            "line 2, column 55: expected HOP(column, INTERVAL 'slide', INTERVAL 'size' [, 'time zone'])"},
        {STREAM_S VIEW "HOP(t, INTERVAL '1 day', INTERVAL '1 day')", AB_SYNTAX,
            "line 2, column 80: size and slide are equal, expected TUMBLE(column, INTERVAL '1 day')"},
        {STREAM_S VIEW "HOP(t, INTERVAL '1 second', INTERVAL '1 day')", AB_SYNTAX,
            "line 2, column 55: each pane would be in 86400 windows, at most 2000 are composed; take coarser steps, or "
            "ask for one window with LAST(window_start, INTERVAL '...')"},
        {STREAM_S VIEW "HOP(t, INTERVAL '1001 seconds', INTERVAL '8 days')", AB_SYNTAX,
            "line 2, column 55: size and slide have only panes of '1 second' in common, expected a size of whole "
            "slides"},
        {STREAM_S BERLIN VIEW "HOP(t, INTERVAL '1 day', INTERVAL '36 hours', 'Europe/Berlin')", AB_SYNTAX,
            "line 3, column 80: expected a size of two or more slides, in the slide's unit"},
        {STREAM_S VIEW "CUMULATE(t, INTERVAL '7 hours', INTERVAL '1 day')", AB_SYNTAX,
            "line 2, column 87: expected a size of whole steps, longer than one: CUMULATE(column, INTERVAL 'step', "
            "INTERVAL 'size')"},
        {STREAM_S VIEW "SESSION(t, INTERVAL '1 hour', 'UTC')", AB_SYNTAX,
            "line 2, column 55: expected SESSION(column, INTERVAL 'gap')"},
        {STREAM_S VIEW "SESSION(u, INTERVAL '1 hour')", AB_SYNTAX,
            "line 2, column 63: SESSION needs a TIMESTAMP NOT NULL column; u is TIMESTAMP and may be NULL"},
        {STREAM_S VIEW "SLIDE(t, INTERVAL '1 hour')", AB_UNSUPPORTED,
            "line 2, column 55: windows that slide with every event are not kept, since states of panes do not split: "
            "HOP(column, INTERVAL 'slide', INTERVAL 'size') slides by as fine a pane as wanted"},
        {STREAM_S VIEW "LAST(t, INTERVAL '7 days')", AB_SYNTAX,
            "line 2, column 55: LAST is asked of a view: declare TUMBLE here, and query GROUP BY LAST(window_start, "
            "INTERVAL '...')"},
        {STREAM_S VIEW "TUMBLE(t, INTERVAL '1 day'), SESSION(t, INTERVAL '1 day')", AB_SYNTAX,
            "line 2, column 84: a window stands in GROUP BY twice"},
        {STREAM_S_WEEK VIEW "HOP(t, INTERVAL '1 day', INTERVAL '3 days') WITH (keep = '6 days')", AB_SYNTAX,
            "line 2, column 112: keep = '6 days' (its windows reach back '8 days') is longer than the "
            "history_retention = '7 days' of stream s"},
        {STREAM_S BERLIN BERLIN, AB_SYNTAX, "line 3, column 18: the time zone \"Europe/Berlin\" stands here twice"},
        {"CREATE TIME ZONE 'Europe/Berlin' AS '3600 5=7200'", AB_SYNTAX,
            "line 1, column 37: the rules of a time zone: expected | and the rule after the last change, which may be "
            "empty"},
        {"CREATE TIME ZONE 'No Zone' AS '3600 |'", AB_SYNTAX,
            "line 1, column 31: the rules of a time zone: \"No Zone\" cannot be the name of a time zone, expected one "
            "such as Europe/Berlin"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_refused(cases[i].text, cases[i].code, cases[i].expected);
    }
}

static void test_windows_keep_leaves_room_for_the_oldest(void **state)
{
    (void)state;
    struct ab_catalog *catalog = catalog_of(STREAM_S_WEEK VIEW "HOP(t, INTERVAL '1 day', INTERVAL '3 days')");
    assert_int_equal(catalog->views[0].keep_us, 5 * DAY); /* and two days more for the panes of its oldest windows */
    ab_catalog_release(catalog);
    catalog = view_of("TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin') WITH (keep = '2 years')");
    assert_int_equal(catalog->views[0].keep_months, 24);
    assert_non_null(strstr(catalog->views[0].definition, "keep = '24 months'"));
    ab_catalog_release(catalog);
    catalog = view_of("TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin') WITH (keep = '48 hours')");
    assert_int_equal(catalog->views[0].keep_days, 0);
    assert_non_null(strstr(catalog->views[0].definition, "keep = '48 hours'"));
    ab_catalog_release(catalog);
    catalog = view_of("TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin') WITH (keep = '2 days')");
    assert_int_equal(catalog->views[0].keep_days, 2);
    assert_non_null(strstr(catalog->views[0].definition, "keep = '2 days'"));
    ab_catalog_release(catalog);
}

/* ---- queries ---- */

static void expect_query_refused(const char *windows, const char *sql, const char *expected)
{
    struct ab_catalog *catalog = view_of(windows);
    struct ab_query *query = NULL;
    struct ab_error error = {0};
    ab_err err = ab_query_parse(catalog, ab_bytes_of_text(sql), &query, &error);
    if (err == AB_OK || strcmp(error.text, expected) != 0) {
        print_error("%s\nfound    %s\nexpected %s\n", sql, error.text, expected);
        fail();
    }
    ab_catalog_release(catalog);
}

static void test_windows_queries_refused(void **state)
{
    (void)state;
    const char *day = "TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin')";
    const char *hour = "TUMBLE(t, INTERVAL '1 hour')";
    const char *session = "SESSION(t, INTERVAL '1 hour')";
    expect_query_refused(hour, "SELECT c FROM v GROUP BY LAST(window_start, INTERVAL '90 minutes')",
        "line 1, column 45: expected a multiple of the pane, which is '1 hour': the nearest are '1 hour' and '2 "
        "hours'");
    expect_query_refused(hour,
        "SELECT c FROM v GROUP BY LAST(window_start, INTERVAL '2 hours', TIMESTAMP '2024-01-01 00:30')",
        "line 1, column 65: not on the edge of a pane of '1 hour': windows that end at any event are not kept; the "
        "nearest edges are '2024-01-01T00:00:00Z' and '2024-01-01T01:00:00Z', for finer ones declare a view with a "
        "finer "
        "pane");
    expect_query_refused("TUMBLE(t, INTERVAL '1 hour') WITH (keep = '2 days')",
        "SELECT c FROM v GROUP BY LAST(window_start, INTERVAL '49 hours')",
        "line 1, column 45: view v keeps its panes for '2 days' only");
    expect_query_refused(hour, "SELECT c FROM v GROUP BY TUMBLE(window_start, INTERVAL '1 minute')",
        "line 1, column 47: expected a multiple of the pane, which is '1 hour': the nearest are '1 hour' and '2 "
        "hours'; "
        "for finer windows declare a view with a finer pane");
    expect_query_refused(hour, "SELECT c FROM v GROUP BY TUMBLE(window_start, INTERVAL '1 day', 'Europe/Berlin')",
        "line 1, column 65: the panes of view v begin in UTC; for another time zone declare a view with TUMBLE(column, "
        "INTERVAL '...', 'Europe/Berlin')");
    expect_query_refused(day, "SELECT c FROM v GROUP BY TUMBLE(window_start, INTERVAL '6 hours')",
        "line 1, column 47: expected whole panes of the view, which are '1 day'; for finer ones declare a view with "
        "finer panes");
    expect_query_refused(day, "SELECT c, window_start FROM v WHERE window_start >= '2024-03-31'",
        "line 1, column 53: 2024-03-31T00:00:00Z is not on the edge of a pane of '1 day'; the nearest edges are "
        "'2024-03-30T23:00:00Z' and '2024-03-31T22:00:00Z'");
    expect_query_refused(session, "SELECT c FROM v WHERE window_start >= '2024-03-31'",
        "line 1, column 36: sessions are merged away here and have no bounds, expected window_start in SELECT or GROUP "
        "BY");
    expect_query_refused(session, "SELECT c FROM v GROUP BY TUMBLE(window_start, INTERVAL '1 day')",
        "line 1, column 26: the windows of view v are sessions, which do not regroup: expected window_start");
    expect_query_refused(hour, "SELECT c FROM v GROUP BY SLIDE(window_start, INTERVAL '1 day')",
        "line 1, column 26: windows that slide with every event are not kept, since states of panes do not split: "
        "HOP(column, INTERVAL 'slide', INTERVAL 'size') slides by as fine a pane as wanted");
    expect_query_refused(hour,
        "SELECT HOP(window_start, INTERVAL '1 hour', INTERVAL '3 hours'), c FROM v GROUP BY window_start",
        "line 1, column 8: HOP stands in GROUP BY; here only the same HOP(window_start, INTERVAL '...') may be "
        "repeated");
}

/* ---- pinning and evolution ---- */

static void test_windows_zones_are_pinned_once(void **state)
{
    (void)state;
    static const char text[] = STREAM_S VIEW "TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin') -- no end";
    struct ab_error error = {0};
    struct ab_catalog *first = NULL;
    struct ab_catalog *again = NULL;
    struct ab_catalog *stored = NULL;
    struct ab_buffer changes = {0};
    struct ab_buffer encoded = {0};
    assert_int_equal(ab_catalog_evolve(ab_bytes_of_text(text), NULL, &first, NULL, &error), AB_OK);
    assert_int_equal(first->zones_count, 1);
    assert_non_null(strstr(first->text, "CREATE TIME ZONE 'Europe/Berlin' AS '3208 -2422054408=3600"));
    assert_non_null(strstr(first->text, "| CET-1CEST,M3.5.0,M10.5.0/3';\n"));
    assert_int_equal(ab_catalog_evolve(ab_bytes_of_text(text), first, &again, &changes, &error), AB_OK);
    assert_int_equal(changes.bytes, 0);
    assert_true(ab_hash128_equal(first->hash, again->hash));
    ab_catalog_encode(again, &encoded); /* no file is read any more */
    assert_int_equal(ab_catalog_decode(ab_buffer_view(&encoded), &stored, &error), AB_OK);
    assert_string_equal(stored->views[0].definition, first->views[0].definition);
    assert_int_equal(ab_period_floor(&stored->views[0].pane, INT64_C(1711886400000000)), INT64_C(1711839600000000));
    ab_buffer_fini(&encoded);
    ab_buffer_fini(&changes);
    ab_catalog_release(first);
    ab_catalog_release(again);
    ab_catalog_release(stored);
}

static void test_windows_rules_in_force_outlive_those_of_the_machine(void **state)
{
    (void)state;
    static const char text[] = STREAM_S VIEW "TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin')";
    struct ab_error error = {0};
    struct ab_catalog *before = catalog_of(STREAM_S BERLIN VIEW "TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin')");
    struct ab_catalog *after = NULL;
    struct ab_catalog *other = NULL;
    struct ab_buffer changes = {0};
    assert_int_equal(ab_catalog_evolve(ab_bytes_of_text(text), before, &after, &changes, &error), AB_OK);
    assert_int_equal(changes.bytes, 0); /* the odd rules of the catalog before stay */
    assert_int_equal(after->zones[0].changes_count, 2);
    static const char ruled[] = STREAM_S "CREATE TIME ZONE 'Europe/Berlin' AS '3600 | CET-1';" VIEW
                                         "TUMBLE(t, INTERVAL '1 day', 'Europe/Berlin')";
    assert_int_equal(ab_catalog_evolve(ab_bytes_of_text(ruled), after, &other, &changes, &error), AB_OK);
    assert_string_equal(ab_buffer_text(&changes), "view v: changed, will be rebuilt\n");
    assert_int_equal(other->views[0].uid, 2);
    ab_buffer_fini(&changes);
    ab_catalog_release(before);
    ab_catalog_release(after);
    ab_catalog_release(other);
}

static void test_windows_changed_are_another_definition(void **state)
{
    (void)state;
    static const char *const windows[] = {"TUMBLE(t, INTERVAL '1 hour')",
        "HOP(t, INTERVAL '1 hour', INTERVAL '2 hours')", "HOP(t, INTERVAL '1 hour', INTERVAL '3 hours')",
        "CUMULATE(t, INTERVAL '1 hour', INTERVAL '3 hours')", "SESSION(t, INTERVAL '1 hour')",
        "TUMBLE(t, INTERVAL '1 hour', 'UTC')", "TUMBLE(t, INTERVAL '1 hour', 'Europe/Berlin')"};
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    for (uint32_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        struct ab_buffer text = {0};
        struct ab_catalog *next = NULL;
        ab_buffer_put_format(&text, STREAM_S VIEW "%s", windows[i]);
        assert_int_equal(ab_catalog_evolve(ab_buffer_view(&text), catalog, &next, NULL, &error), AB_OK);
        assert_int_equal(next->views[0].uid, i + 1);
        ab_buffer_fini(&text);
        ab_catalog_release(catalog);
        catalog = next;
    }
    ab_catalog_release(catalog);
}

static void test_windows_unknown_zone_is_refused_with_its_place(void **state)
{
    (void)state;
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    static const char text[] = STREAM_S VIEW "TUMBLE(t, INTERVAL '1 day', 'Europe/Berlim')";
    assert_int_equal(ab_catalog_evolve(ab_bytes_of_text(text), NULL, &catalog, NULL, &error), AB_SYNTAX);
    assert_string_equal(error.text,
        "line 2, column 83: the time zone \"Europe/Berlim\" is unknown on this machine; did you mean Europe/Berlin?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_declare_panes_and_canonical_text),
        cmocka_unit_test(test_windows_refusals_name_place_and_advice),
        cmocka_unit_test(test_windows_keep_leaves_room_for_the_oldest),
        cmocka_unit_test(test_windows_queries_refused),
        cmocka_unit_test(test_windows_zones_are_pinned_once),
        cmocka_unit_test(test_windows_rules_in_force_outlive_those_of_the_machine),
        cmocka_unit_test(test_windows_changed_are_another_definition),
        cmocka_unit_test(test_windows_unknown_zone_is_refused_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
