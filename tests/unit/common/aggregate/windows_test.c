/* Windows composed of panes, calendars and sessions against brute force over random events: out of order, before the
 * epoch, around changes of clocks; read from tables, from stored groups of two branches, and from encoded parts. */
#include "common/aggregate/rollup.h"

#include "tests/unit/common/aggregate/aggregate_support.h"

#include <stdlib.h>

#define ROWS 1200
#define PARTS 3
#define GROUPS_MAX 60000
#define MINUTE AB_US_PER_MINUTE
#define HOUR AB_US_PER_HOUR
#define DAY AB_US_PER_DAY

#define MEASURES                                                                                                       \
    "count(*) AS n, sum(d) AS sd, min(at) AS low, max(at) AS high, count_distinct(b) AS cb FROM s GROUP BY k, "

/* A row of an answer, expected or found. */
struct answer {
    ab_time_us start, end;
    int64_t k; /* INT64_MIN = NULL */
    int64_t n;
    double sum;
};

struct fixture {
    struct ab_catalog *catalog;
    struct ab_aggregation *aggregation;
    struct test_row rows[ROWS];
    struct ab_group_table *whole;
    struct ab_group_table *parts[PARTS];
    struct answer expected[GROUPS_MAX];
    struct answer found[GROUPS_MAX];
    size_t expected_count, found_count;
};

/* ---- set-up ---- */

static int64_t grain = 1; /* event times are multiples of it */

static void rows_fill(struct fixture *fixture, uint64_t seed, ab_time_us around, uint64_t within)
{
    struct ab_random random;
    struct test_shape shape = {.keys = 4, .hours = 10};
    ab_random_init(&random, seed);
    for (uint32_t i = 0; i < ROWS; i++) {
        test_row_random(&random, &shape, &fixture->rows[i]);
        fixture->rows[i].values[COLUMN_D].is_null = false;
        fixture->rows[i].values[COLUMN_D].real = (double)ab_random_below(&random, 1000);
        fixture->rows[i].values[COLUMN_AT].bigint =
            ab_time_floor(around + (int64_t)ab_random_below(&random, within), grain);
    }
}

static struct fixture *fixture_make(const char *group, uint64_t seed, ab_time_us around, uint64_t within)
{
    struct fixture *fixture = ab_new(struct fixture);
    struct ab_error error = {0};
    char sql[2000];
    (void)snprintf(sql, sizeof(sql), TEST_STREAM "CREATE VIEW v AS SELECT k, " MEASURES "%s;", group);
    if (ab_catalog_evolve(ab_bytes_of_text(sql), NULL, &fixture->catalog, NULL, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    fixture->aggregation = test_aggregation(&fixture->catalog->views[0]);
    rows_fill(fixture, seed, around, within);
    fixture->whole = ab_group_table_create(fixture->aggregation, NULL);
    uint32_t picked[ROWS];
    uint32_t order[ROWS];
    struct ab_random random;
    ab_random_init(&random, seed + 1);
    for (uint32_t i = 0; i < ROWS; i++) {
        order[i] = i;
    }
    test_update(fixture->whole, fixture->rows, order, ROWS, NULL);
    test_shuffle(&random, order, ROWS);
    for (uint32_t p = 0; p < PARTS; p++) {
        uint32_t count = 0;
        for (uint32_t i = p; i < ROWS; i += PARTS) {
            picked[count++] = order[i];
        }
        fixture->parts[p] = ab_group_table_create(fixture->aggregation, NULL);
        test_update(fixture->parts[p], fixture->rows, picked, count, NULL);
    }
    return fixture;
}

static void fixture_free(struct fixture *fixture)
{
    for (uint32_t p = 0; p < PARTS; p++) {
        ab_group_table_destroy(fixture->parts[p]);
    }
    ab_group_table_destroy(fixture->whole);
    ab_aggregation_destroy(fixture->aggregation);
    ab_catalog_release(fixture->catalog);
    ab_delete(fixture);
}

/* ---- answers ---- */

static int answer_compare(const void *a, const void *b)
{
    const struct answer *left = a;
    const struct answer *right = b;
    if (left->k != right->k) {
        return left->k < right->k ? -1 : 1;
    }
    if (left->end != right->end) {
        return left->end < right->end ? -1 : 1;
    }
    return (left->start > right->start) - (left->start < right->start);
}

static void finish(struct fixture *fixture, struct ab_rollup *rollup)
{
    struct ab_arena arena = {0};
    struct ab_column *columns = NULL;
    uint32_t count = 0;
    uint64_t overflows = 0;
    struct ab_error error = {0};
    assert_ok(ab_rollup_finish(rollup, &arena, &columns, &count, &overflows, &error));
    fixture->found_count = count;
    assert_true(count < GROUPS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct ab_value k = ab_column_value(&columns[0], i);
        fixture->found[i] = (struct answer){.k = k.is_null ? INT64_MIN : k.bigint,
            .start = ab_column_value(&columns[1], i).bigint,
            .end = ab_column_value(&columns[2], i).bigint,
            .n = ab_column_value(&columns[3], i).bigint,
            .sum = ab_column_value(&columns[4], i).real};
    }
    qsort(fixture->found, count, sizeof(struct answer), answer_compare);
    ab_arena_fini(&arena);
    ab_rollup_destroy(rollup);
}

static void compare(const struct fixture *fixture, const char *what)
{
    for (size_t i = 0; i < fixture->expected_count && i < fixture->found_count; i++) {
        const struct answer *a = &fixture->expected[i];
        const struct answer *b = &fixture->found[i];
        if (a->k != b->k || a->start != b->start || a->end != b->end || a->n != b->n || a->sum != b->sum) {
            char text[4][AB_TIME_TEXT_BYTES];
            fail_msg("%s: row %zu: expected k %lld [%s, %s) n %lld, found k %lld [%s, %s) n %lld", what, i,
                (long long)a->k, ab_time_format(a->start, text[0]), ab_time_format(a->end, text[1]), (long long)a->n,
                (long long)b->k, ab_time_format(b->start, text[2]), ab_time_format(b->end, text[3]), (long long)b->n);
        }
    }
    assert_int_equal(fixture->expected_count, fixture->found_count);
}

static struct ab_query *query_of(const struct fixture *fixture, const char *sql)
{
    struct ab_query *query = NULL;
    struct ab_error error = {0};
    if (ab_query_parse(fixture->catalog, ab_bytes_of_text(sql), &query, &error) != AB_OK) {
        fail_msg("%s: %s", sql, error.text);
    }
    return query;
}

static struct ab_rollup *rollup_of(const struct fixture *fixture, const struct ab_query *query, ab_time_us hidden)
{
    struct ab_rollup *rollup = NULL;
    struct ab_error error = {0};
    assert_ok(ab_rollup_create(query, fixture->aggregation, hidden, NULL, &rollup, &error));
    return rollup;
}

/* A stored branch: the groups that the scan's order lets through, as batch reads them. */
static void scan_add(
    struct ab_rollup *rollup, const struct ab_query *query, const struct ab_group_table *table, ab_time_us hidden)
{
    struct ab_group_scan *scan = ab_group_scan_create(query, hidden);
    struct ab_group_cursor *cursor = ab_group_cursor_open(table, NULL);
    struct ab_buffer seek = {0};
    struct ab_bytes key;
    struct ab_bytes row;
    while (ab_group_cursor_next(cursor, &key, &row)) {
        if (ab_group_scan_judge(scan, key, &seek) == AB_SCAN_MATCH) {
            assert_ok(ab_rollup_add(rollup, key, row));
        }
    }
    ab_buffer_fini(&seek);
    ab_group_cursor_close(cursor);
    ab_group_scan_destroy(scan);
}

/* The same question over one table, over stored groups, and over a stored branch with encoded parts of others. */
static void ask(struct fixture *fixture, const char *sql, ab_time_us hidden)
{
    struct ab_query *query = query_of(fixture, sql);
    struct ab_rollup *rollup = rollup_of(fixture, query, hidden);
    assert_ok(ab_rollup_add_table(rollup, fixture->whole));
    finish(fixture, rollup);
    compare(fixture, "one table");
    rollup = rollup_of(fixture, query, hidden);
    for (uint32_t p = 0; p < PARTS; p++) {
        scan_add(rollup, query, fixture->parts[p], hidden);
    }
    finish(fixture, rollup);
    compare(fixture, "stored groups");
    rollup = rollup_of(fixture, query, hidden);
    scan_add(rollup, query, fixture->parts[0], hidden);
    for (uint32_t p = 1; p < PARTS; p++) {
        struct ab_rollup *speed = rollup_of(fixture, query, INT64_MIN); /* speed knows no horizon of a version */
        struct ab_buffer encoded = {0};
        assert_ok(ab_rollup_add_table(speed, fixture->parts[p]));
        assert_ok(ab_rollup_encode(speed, &encoded));
        assert_ok(ab_rollup_merge(rollup, ab_buffer_view(&encoded)));
        ab_buffer_fini(&encoded);
        ab_rollup_destroy(speed);
    }
    finish(fixture, rollup);
    if (hidden == INT64_MIN) {
        compare(fixture, "two branches");
    }
    ab_query_destroy(query);
}

static void expected_add(struct fixture *fixture, const struct test_row *row, ab_time_us start, ab_time_us end)
{
    int64_t k = row->values[COLUMN_K].is_null ? INT64_MIN : row->values[COLUMN_K].bigint;
    for (size_t i = 0; i < fixture->expected_count; i++) {
        struct answer *answer = &fixture->expected[i];
        if (answer->k == k && answer->start == start && answer->end == end) {
            answer->n++;
            answer->sum += row->values[COLUMN_D].real;
            return;
        }
    }
    assert_true(fixture->expected_count < GROUPS_MAX);
    fixture->expected[fixture->expected_count++] =
        (struct answer){.k = k, .start = start, .end = end, .n = 1, .sum = row->values[COLUMN_D].real};
}

static void expected_sort(struct fixture *fixture)
{
    qsort(fixture->expected, fixture->expected_count, sizeof(struct answer), answer_compare);
}

/* ---- HOP, CUMULATE, LAST ---- */

typedef bool (*window_fn)(ab_time_us start, ab_time_us end);

static bool any_window(ab_time_us start, ab_time_us end)
{
    (void)start;
    (void)end;
    return true;
}

/* Every event goes into every window [slide x i, + size) that holds it. */
static void hop_expect(struct fixture *fixture, int64_t slide, int64_t size, window_fn is_chosen)
{
    fixture->expected_count = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        for (ab_time_us start = ab_time_floor(at, slide); start + size > at; start -= slide) {
            if (is_chosen(start, start + size)) {
                expected_add(fixture, &fixture->rows[i], start, start + size);
            }
        }
    }
    expected_sort(fixture);
}

#define SELECT_ALL "SELECT k, window_start, window_end, n, sd FROM v"

static bool in_bounds(ab_time_us start, ab_time_us end)
{
    return start >= -3 * HOUR && end <= 5 * HOUR;
}

static bool is_odd(ab_time_us start, ab_time_us end)
{
    return start < -4 * HOUR || end == 2 * HOUR || (start > HOUR && start <= 3 * HOUR);
}

static void test_windows_hop_equals_brute_force(void **state)
{
    (void)state;
    struct fixture *fixture =
        fixture_make("HOP(at, INTERVAL '30 minutes', INTERVAL '2 hours')", 1, -6 * HOUR, 14 * HOUR);
    hop_expect(fixture, 30 * MINUTE, 2 * HOUR, any_window);
    ask(fixture, SELECT_ALL, INT64_MIN);
    ask(fixture, SELECT_ALL " WHERE k IS NULL OR k < 100", INT64_MIN);
    hop_expect(fixture, 30 * MINUTE, 2 * HOUR, in_bounds);
    ask(fixture, SELECT_ALL " WHERE window_start >= '1969-12-31 21:00' AND window_end <= '1970-01-01 05:00'",
        INT64_MIN);
    hop_expect(fixture, 30 * MINUTE, 2 * HOUR, is_odd);
    ask(fixture,
        SELECT_ALL " WHERE window_start < '1969-12-31 20:00' OR window_end = '1970-01-01 02:00' OR window_start > "
                   "'1970-01-01 01:00' AND window_start <= '1970-01-01 03:00'",
        INT64_MIN);
    fixture_free(fixture);
}

static void test_windows_hop_of_no_whole_slides(void **state)
{
    (void)state;
    struct fixture *fixture =
        fixture_make("HOP(at, INTERVAL '150 minutes', INTERVAL '1 hour')", 2, -6 * HOUR, 14 * HOUR);
    assert_int_equal(fixture->catalog->views[0].pane_us, 30 * MINUTE);
    hop_expect(fixture, HOUR, 150 * MINUTE, any_window);
    ask(fixture, SELECT_ALL, INT64_MIN);
    fixture_free(fixture);
}

static void test_windows_hop_is_asked_of_finer_panes(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make("TUMBLE(at, INTERVAL '10 minutes')", 3, -6 * HOUR, 14 * HOUR);
    hop_expect(fixture, 20 * MINUTE, 50 * MINUTE, any_window);
    ask(fixture, SELECT_ALL " GROUP BY k, HOP(window_start, INTERVAL '20 minutes', INTERVAL '50 minutes')", INT64_MIN);
    hop_expect(fixture, 30 * MINUTE, HOUR, in_bounds);
    ask(fixture,
        SELECT_ALL " WHERE window_start >= '1969-12-31 21:00' AND window_end <= '1970-01-01 05:00' "
                   "GROUP BY k, HOP(window_start, INTERVAL '30 minutes', INTERVAL '1 hour')",
        INT64_MIN);
    fixture_free(fixture);
}

static ab_time_us hidden_until;

static bool is_whole(ab_time_us start, ab_time_us end)
{
    (void)end;
    return start >= hidden_until;
}

static void test_windows_hop_leaves_whole_windows_at_the_horizon(void **state)
{
    (void)state;
    struct fixture *fixture =
        fixture_make("HOP(at, INTERVAL '30 minutes', INTERVAL '2 hours')", 4, -6 * HOUR, 14 * HOUR);
    hidden_until = -90 * MINUTE;
    hop_expect(fixture, 30 * MINUTE, 2 * HOUR, is_whole);
    ask(fixture, SELECT_ALL, hidden_until);
    compare(fixture, "speed and a version with a horizon");
    fixture_free(fixture);
}

static void test_windows_merged_away_count_each_event_once(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make("HOP(at, INTERVAL '1 hour', INTERVAL '1 day')", 5, -6 * HOUR, 14 * HOUR);
    struct ab_query *query = query_of(fixture, "SELECT n FROM v");
    struct ab_rollup *rollup = rollup_of(fixture, query, INT64_MIN);
    struct ab_arena arena = {0};
    struct ab_column *columns = NULL;
    uint32_t count = 0;
    uint64_t overflows = 0;
    assert_ok(ab_rollup_add_table(rollup, fixture->whole));
    assert_ok(ab_rollup_finish(rollup, &arena, &columns, &count, &overflows, NULL));
    assert_int_equal(count, 1);
    assert_int_equal(ab_column_value(&columns[0], 0).bigint, ROWS);
    ab_arena_fini(&arena);
    ab_rollup_destroy(rollup);
    ab_query_destroy(query);
    fixture_free(fixture);
}

static void test_windows_cumulate_equals_brute_force(void **state)
{
    (void)state;
    struct fixture *fixture =
        fixture_make("CUMULATE(at, INTERVAL '20 minutes', INTERVAL '4 hours')", 6, -10 * HOUR, 20 * HOUR);
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        ab_time_us start = ab_time_floor(at, 4 * HOUR);
        for (ab_time_us end = start + 4 * HOUR; end > at; end -= 20 * MINUTE) {
            expected_add(fixture, &fixture->rows[i], start, end);
        }
    }
    expected_sort(fixture);
    ask(fixture, SELECT_ALL, INT64_MIN);
    fixture_free(fixture);
}

static void test_windows_last_is_one_window_of_whole_panes(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make("TUMBLE(at, INTERVAL '15 minutes')", 7, -6 * HOUR, 14 * HOUR);
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        if (at >= -HOUR && at < 2 * HOUR) {
            expected_add(fixture, &fixture->rows[i], -HOUR, 2 * HOUR);
        }
    }
    expected_sort(fixture);
    ask(fixture, SELECT_ALL " GROUP BY k, LAST(window_start, INTERVAL '3 hours', TIMESTAMP '1970-01-01 02:00')",
        INT64_MIN);
    struct ab_query *query =
        query_of(fixture, SELECT_ALL " GROUP BY k, LAST(window_start, INTERVAL '3 hours') LIMIT 9");
    struct ab_rollup *none = NULL;
    struct ab_error error = {0};
    assert_int_equal(ab_rollup_create(query, fixture->aggregation, INT64_MIN, NULL, &none, &error), AB_USAGE);
    struct ab_buffer text = {0};
    ab_query_settle(query, ab_bytes_of_text(SELECT_ALL " GROUP BY k, LAST(window_start, INTERVAL '3 hours') LIMIT 9"),
        2 * HOUR - 1, &text);
    assert_string_equal(ab_buffer_text(&text),
        SELECT_ALL " GROUP BY k, LAST(window_start, INTERVAL '3 hours', TIMESTAMP '1970-01-01T02:00:00Z') LIMIT 9");
    ask(fixture, ab_buffer_text(&text), INT64_MIN);
    ab_buffer_fini(&text);
    ab_query_destroy(query);
    fixture_free(fixture);
}

/* ---- agreement ---- */

/* I5: merged states of parts, taken in any order, are the states of the whole, bit for bit. */
static void test_windows_states_of_parts_merge_to_those_of_the_whole(void **state)
{
    (void)state;
    static const char *const groups[] = {"SESSION(at, INTERVAL '5 minutes')",
        "HOP(at, INTERVAL '1 hour', INTERVAL '1 day')", "TUMBLE(at, INTERVAL '1 month', 'Africa/Casablanca')",
        "CUMULATE(at, INTERVAL '30 minutes', INTERVAL '1 day', 'Australia/Lord_Howe')"};
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        struct fixture *fixture = fixture_make(groups[g], 30 + g, -60 * DAY, (uint64_t)(120 * DAY));
        struct ab_group_table *merged = ab_group_table_create(fixture->aggregation, NULL);
        struct ab_buffer expected = {0};
        struct ab_buffer found = {0};
        for (uint32_t p = PARTS; p-- > 0;) {
            struct ab_group_cursor *cursor = ab_group_cursor_open(fixture->parts[p], NULL);
            struct ab_bytes key;
            struct ab_bytes row;
            while (ab_group_cursor_next(cursor, &key, &row)) {
                assert_ok(ab_group_table_merge_row(merged, key, row));
            }
            ab_group_cursor_close(cursor);
        }
        test_dump(fixture->whole, &expected);
        test_dump(merged, &found);
        assert_true(ab_bytes_equal(ab_buffer_view(&expected), ab_buffer_view(&found)));
        ab_buffer_fini(&expected);
        ab_buffer_fini(&found);
        ab_group_table_destroy(merged);
        fixture_free(fixture);
    }
}

/* ---- calendars ---- */

static void calendar_check(const char *zone, const char *around)
{
    char group[100];
    ab_time_us time = 0;
    assert_ok(ab_time_parse(ab_bytes_of_text(around), &time));
    (void)snprintf(group, sizeof(group), "TUMBLE(at, INTERVAL '1 day', '%s')", zone);
    struct fixture *fixture = fixture_make(group, 8, time - 40 * DAY, (uint64_t)(80 * DAY));
    const struct ab_view *view = &fixture->catalog->views[0];
    assert_string_equal(view->pane.zone->name, zone);
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        expected_add(fixture, &fixture->rows[i], ab_period_floor(&view->pane, at), ab_period_next(&view->pane, at));
    }
    expected_sort(fixture);
    ask(fixture, SELECT_ALL, INT64_MIN);
    struct ab_period month = {.unit = AB_PERIOD_MONTHS, .months = 1, .width_us = 30 * DAY, .zone = view->pane.zone};
    struct ab_period week = {.unit = AB_PERIOD_WEEK, .width_us = 7 * DAY, .zone = view->pane.zone};
    const struct ab_period *coarse[] = {&month, &week};
    const char *const selects[] = {SELECT_ALL " GROUP BY k, TUMBLE(window_start, INTERVAL '1 month')",
        SELECT_ALL " GROUP BY k, TUMBLE(window_start, INTERVAL '1 week')"};
    for (size_t c = 0; c < 2; c++) {
        fixture->expected_count = 0;
        for (uint32_t i = 0; i < ROWS; i++) { /* by the event itself, not by its day */
            ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
            expected_add(fixture, &fixture->rows[i], ab_period_floor(coarse[c], at), ab_period_next(coarse[c], at));
        }
        expected_sort(fixture);
        ask(fixture, selects[c], INT64_MIN);
    }
    fixture_free(fixture);
}

static void test_windows_calendar_days_weeks_and_months(void **state)
{
    (void)state;
    calendar_check("Europe/Berlin", "2024-03-31");
    calendar_check("America/New_York", "2013-11-03");
    calendar_check("Australia/Lord_Howe", "2024-04-07");
    calendar_check("Africa/Casablanca", "2024-03-10");
    calendar_check("America/St_Johns", "1988-10-30"); /* clocks went back over midnight */
    calendar_check("America/New_York", "1883-11-18"); /* from local mean time, before the epoch */
}

static void test_windows_cumulate_since_the_start_of_a_local_day(void **state)
{
    (void)state;
    ab_time_us time = 0;
    assert_ok(ab_time_parse(ab_bytes_of_text("2024-10-26"), &time));
    struct fixture *fixture = fixture_make(
        "CUMULATE(at, INTERVAL '1 hour', INTERVAL '1 day', 'Europe/Berlin')", 9, time, (uint64_t)(3 * DAY));
    const struct ab_window *window = &fixture->catalog->views[0].window;
    size_t longest = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        ab_time_us at = fixture->rows[i].values[COLUMN_AT].bigint;
        ab_time_us start = ab_period_floor(&window->period, at);
        size_t hours = 0;
        for (ab_time_us end = start + HOUR; end <= ab_period_next(&window->period, at); end += HOUR) {
            hours++;
            if (end > at) {
                expected_add(fixture, &fixture->rows[i], start, end);
            }
        }
        longest = hours > longest ? hours : longest;
    }
    assert_int_equal(longest, 25);
    expected_sort(fixture);
    ask(fixture, SELECT_ALL, INT64_MIN);
    fixture_free(fixture);
}

/* ---- sessions ---- */

static const struct test_row *session_rows;

static int by_key_and_time(const void *a, const void *b)
{
    const struct ab_value *left = session_rows[*(const uint32_t *)a].values;
    const struct ab_value *right = session_rows[*(const uint32_t *)b].values;
    int64_t left_key = left[COLUMN_K].is_null ? INT64_MIN : left[COLUMN_K].bigint;
    int64_t right_key = right[COLUMN_K].is_null ? INT64_MIN : right[COLUMN_K].bigint;
    if (left_key != right_key) {
        return left_key < right_key ? -1 : 1;
    }
    return (left[COLUMN_AT].bigint > right[COLUMN_AT].bigint) - (left[COLUMN_AT].bigint < right[COLUMN_AT].bigint);
}

/* Sessions from the events themselves, in order of time: a gap of more than `gap` ends one. */
static void sessions_expect(struct fixture *fixture, int64_t gap, window_fn is_chosen)
{
    uint32_t order[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) {
        order[i] = i;
    }
    session_rows = fixture->rows;
    qsort(order, ROWS, sizeof(order[0]), by_key_and_time);
    fixture->expected_count = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        const struct ab_value *values = fixture->rows[order[i]].values;
        int64_t k = values[COLUMN_K].is_null ? INT64_MIN : values[COLUMN_K].bigint;
        ab_time_us at = values[COLUMN_AT].bigint;
        struct answer *last = fixture->expected_count == 0 ? NULL : &fixture->expected[fixture->expected_count - 1];
        if (last == NULL || last->k != k || at > last->end) {
            last = &fixture->expected[fixture->expected_count++];
            *last = (struct answer){.k = k, .start = at};
        }
        last->end = at + gap;
        last->n++;
        last->sum += values[COLUMN_D].real;
    }
    size_t kept = 0;
    for (size_t i = 0; i < fixture->expected_count; i++) {
        if (is_chosen(fixture->expected[i].start, fixture->expected[i].end)) {
            fixture->expected[kept++] = fixture->expected[i];
        }
    }
    fixture->expected_count = kept;
    expected_sort(fixture);
}

static bool in_session_bounds(ab_time_us start, ab_time_us end)
{
    return start >= -HOUR - 7 && end <= 3 * HOUR + 11;
}

static void test_windows_sessions_equal_brute_force(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 16; seed++) {
        grain = seed % 2 == 0 ? MINUTE : 1; /* whole minutes: many are exactly the gap apart */
        struct fixture *fixture = fixture_make("SESSION(at, INTERVAL '2 minutes')", seed, -6 * HOUR, 14 * HOUR);
        grain = 1;
        sessions_expect(fixture, 2 * MINUTE, any_window);
        assert_true(fixture->expected_count > 100 && fixture->expected_count < ROWS);
        ask(fixture, SELECT_ALL, INT64_MIN);
        ask(fixture, SELECT_ALL " GROUP BY k, window_start", INT64_MIN);
        ask(fixture, SELECT_ALL " WHERE (k IS NULL OR k < 100) AND window_end > window_start", INT64_MIN);
        sessions_expect(fixture, 2 * MINUTE, in_session_bounds);
        ask(fixture,
            SELECT_ALL " WHERE window_start >= '1969-12-31 22:59:59.999993' AND window_end <= '1970-01-01 "
                       "03:00:00.000011'",
            INT64_MIN);
        fixture_free(fixture);
    }
}

static bool is_after_horizon(ab_time_us start, ab_time_us end)
{
    (void)end;
    return start - 2 * MINUTE >= hidden_until;
}

static void test_windows_sessions_at_the_horizon_are_whole(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make("SESSION(at, INTERVAL '2 minutes')", 20, -6 * HOUR, 14 * HOUR);
    hidden_until = -30 * MINUTE;
    sessions_expect(fixture, 2 * MINUTE, is_after_horizon);
    ask(fixture, SELECT_ALL, hidden_until);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_hop_equals_brute_force),
        cmocka_unit_test(test_windows_hop_of_no_whole_slides),
        cmocka_unit_test(test_windows_hop_is_asked_of_finer_panes),
        cmocka_unit_test(test_windows_hop_leaves_whole_windows_at_the_horizon),
        cmocka_unit_test(test_windows_merged_away_count_each_event_once),
        cmocka_unit_test(test_windows_cumulate_equals_brute_force),
        cmocka_unit_test(test_windows_last_is_one_window_of_whole_panes),
        cmocka_unit_test(test_windows_states_of_parts_merge_to_those_of_the_whole),
        cmocka_unit_test(test_windows_calendar_days_weeks_and_months),
        cmocka_unit_test(test_windows_cumulate_since_the_start_of_a_local_day),
        cmocka_unit_test(test_windows_sessions_equal_brute_force),
        cmocka_unit_test(test_windows_sessions_at_the_horizon_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
