/* Periods and windows: against brute force over seconds, in zones with every oddity; and what a view forgets. */
#include "common/catalog/window.h"

#include "common/base/random.h"
#include "common/catalog/catalog.h"
#include "common/catalog/civil.h"
#include "tests/support/test.h"

#define S AB_US_PER_SECOND
#define DAY AB_US_PER_DAY

static const char *const names[] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
    "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo", "America/Havana", "Asia/Manila",
    "America/Juneau", "Africa/Monrovia", "UTC"};

struct fixture {
    struct ab_arena arena;
    struct ab_zone zone;
};

static void fixture_init(struct fixture *fixture, const char *name)
{
    char why[200] = "";
    *fixture = (struct fixture){0};
    assert_ok(ab_zone_read_system(NULL, ab_bytes_of_text(name), &fixture->arena, &fixture->zone, why));
}

static ab_time_us time_of(const char *text)
{
    ab_time_us time = 0;
    assert_ok(ab_time_parse(ab_bytes_of_text(text), &time));
    return time;
}

/* The number of a local day's period, by its definition alone. */
static int64_t number_of(const struct ab_period *period, int64_t day)
{
    int64_t year;
    int32_t month;
    int32_t day_of_month;
    ab_civil_date(day, &year, &month, &day_of_month);
    switch (period->unit) {
    case AB_PERIOD_WEEK:
        return (day + 3 + INT64_C(7000000)) / 7;
    case AB_PERIOD_MONTHS:
        return (year * 12 + month - 1) / period->months;
    default:
        return day;
    }
}

/* Walks second by second over a stretch: a period begins where the greatest local number so far grows. */
static void walk_check(const struct ab_period *period, int64_t from, int64_t seconds)
{
    int64_t greatest = INT64_MIN;
    ab_time_us start = INT64_MIN;
    int64_t day = INT64_MIN;
    int64_t number = 0;
    struct ab_zone_stretch stretch = {.until = INT64_MIN};
    for (int64_t second = from - 3 * 86400; second < from + seconds; second++) {
        if (second >= stretch.until) {
            stretch = ab_zone_stretch(period->zone, second);
        }
        int64_t today = ab_civil_divide(second + stretch.offset_s, 86400);
        number = today == day ? number : number_of(period, today);
        day = today;
        if (number > greatest) {
            start = greatest == INT64_MIN ? INT64_MIN : second * S;
            greatest = number;
        }
        bool is_looked_at = second % 601 == 0 || start == second * S;
        if (start != INT64_MIN && is_looked_at) {
            assert_int_equal(ab_period_floor(period, second * S), start);
            assert_int_equal(ab_period_floor(period, second * S + S - 1), start);
            assert_true(ab_period_next(period, second * S) > second * S);
            if (start == second * S) {
                assert_int_equal(ab_period_next(period, start - 1), start);
            }
        }
    }
}

static void test_period_days_begin_where_clocks_first_show_them(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        struct fixture fixture;
        fixture_init(&fixture, names[n]);
        struct ab_period day = {.unit = AB_PERIOD_DAY, .width_us = DAY, .zone = &fixture.zone};
        uint32_t step = fixture.zone.changes_count / 6 + 1;
        for (uint32_t c = 0; c < fixture.zone.changes_count; c += step) { /* around changes, old and new */
            walk_check(&day, fixture.zone.times[c] - 86400, 3 * 86400);
        }
        walk_check(&day, INT64_C(1917000000), 2 * 86400); /* the rule's time */
        ab_arena_fini(&fixture.arena);
    }
}

static void test_period_weeks_and_months(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n += 5) {
        struct fixture fixture;
        fixture_init(&fixture, names[n]);
        struct ab_period week = {.unit = AB_PERIOD_WEEK, .width_us = 7 * DAY, .zone = &fixture.zone};
        struct ab_period quarter = {.unit = AB_PERIOD_MONTHS, .months = 3, .width_us = 90 * DAY, .zone = &fixture.zone};
        walk_check(&week, INT64_C(1711000000), 12 * 86400);
        walk_check(&week, INT64_C(-100000), 10 * 86400);
        walk_check(&quarter, INT64_C(1711000000), 20 * 86400); /* over 2024-04-01 */
        ab_arena_fini(&fixture.arena);
    }
}

static void test_period_known_days_of_23_and_25_hours(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *inside, *start, *end;
    } cases[] = {
        {"Europe/Berlin", "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"},
        {"Europe/Berlin", "2024-10-27T12:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"},
        {"America/New_York", "2013-03-10T12:00:00Z", "2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z"},
        {"America/New_York", "2013-11-03T12:00:00Z", "2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z"},
        {"Australia/Lord_Howe", "2024-04-06T20:00:00Z", "2024-04-06T13:00:00Z", "2024-04-07T13:30:00Z"},
        {"Africa/Casablanca", "2024-03-10T12:00:00Z", "2024-03-09T23:00:00Z", "2024-03-11T00:00:00Z"},
        {"America/New_York", "1883-11-17T12:00:00Z", "1883-11-17T04:56:02Z", "1883-11-18T04:56:02Z"},
        {"Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"}, /* then the 31st */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        fixture_init(&fixture, cases[i].zone);
        struct ab_period day = {.unit = AB_PERIOD_DAY, .width_us = DAY, .zone = &fixture.zone};
        ab_time_us inside = time_of(cases[i].inside);
        assert_int_equal(ab_period_floor(&day, inside), time_of(cases[i].start));
        assert_int_equal(ab_period_next(&day, inside), time_of(cases[i].end));
        ab_arena_fini(&fixture.arena);
    }
}

static void test_period_steps_of_a_day(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, "Australia/Lord_Howe"); /* 24.5 hours on 2024-04-07 */
    struct ab_period hour = {.unit = AB_PERIOD_DAY, .width_us = DAY, .step_us = AB_US_PER_HOUR, .zone = &fixture.zone};
    ab_time_us last = time_of("2024-04-07T13:15:00Z");
    assert_int_equal(ab_period_floor(&hour, last), time_of("2024-04-07T13:00:00Z"));
    assert_int_equal(ab_period_next(&hour, last), time_of("2024-04-07T13:30:00Z")); /* the day ends */
    assert_int_equal(ab_period_next(&hour, time_of("2024-04-07T13:30:00Z")), time_of("2024-04-07T14:30:00Z"));
    ab_arena_fini(&fixture.arena);
}

static void test_period_add_goes_back_and_forth(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, "America/New_York");
    struct ab_period periods[] = {{.unit = AB_PERIOD_FIXED, .width_us = 90 * S},
        {.unit = AB_PERIOD_DAY, .width_us = DAY, .zone = &fixture.zone},
        {.unit = AB_PERIOD_MONTHS, .months = 1, .width_us = 30 * DAY, .zone = &fixture.zone}};
    struct ab_random random;
    ab_random_init(&random, 11);
    for (int i = 0; i < 300; i++) {
        const struct ab_period *period = &periods[i % 3];
        ab_time_us time = (int64_t)ab_random_below(&random, 4000000000) * S - 2000000000 * S - 1;
        ab_time_us start = ab_period_floor(period, time);
        assert_int_equal(ab_period_add(period, ab_period_add(period, time, 5), -5), start);
        assert_int_equal(ab_period_add(period, time, 1), ab_period_next(period, time));
        assert_true(start <= time && time < ab_period_next(period, time));
    }
    for (size_t i = 0; i < 3; i++) { /* the ends of time hold */
        assert_true(ab_period_floor(&periods[i], INT64_MIN) <= INT64_MIN + 1);
        assert_true(ab_period_next(&periods[i], INT64_MAX - 5) > INT64_MAX - 5);
    }
    ab_arena_fini(&fixture.arena);
}

/* All windows that hold a pane, by trying marks one by one. */
static void windows_check(const struct ab_window *window, const struct ab_period *pane, ab_time_us time)
{
    ab_time_us start = ab_period_floor(pane, time);
    ab_time_us end = ab_period_next(pane, time);
    ab_time_us mark = ab_window_first(window, start);
    size_t count = 0;
    ab_time_us before = INT64_MIN;
    do {
        assert_true(mark > before);
        assert_true(ab_window_start(window, mark) <= start && end <= ab_window_end(window, mark));
        before = mark;
        count++;
    } while (ab_window_following(window, start, &mark));
    size_t expected = 0;
    if (window->kind == AB_WINDOW_HOP) {
        for (ab_time_us at = ab_period_add(&window->period, start, -40); at <= start;
             at = ab_period_next(&window->period, at)) {
            expected += at <= start && end <= ab_window_end(window, at);
        }
    } else {
        for (ab_time_us at = ab_period_floor(&window->period, start); at < ab_period_next(&window->period, start);
             at = ab_period_next(&window->step, at)) {
            expected += ab_period_next(&window->step, at) >= end;
        }
    }
    assert_int_equal(count, expected);
}

static void test_window_hop_and_cumulate_hold_their_panes(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, "Europe/Berlin");
    struct ab_period minute = {.unit = AB_PERIOD_FIXED, .width_us = 60 * S};
    struct ab_period half = {.unit = AB_PERIOD_FIXED, .width_us = 30 * S};
    struct ab_period hour = {.unit = AB_PERIOD_FIXED, .width_us = 3600 * S};
    struct ab_period day = {.unit = AB_PERIOD_DAY, .width_us = DAY, .zone = &fixture.zone};
    struct ab_period local = {.unit = AB_PERIOD_DAY, .width_us = DAY, .step_us = 3600 * S, .zone = &fixture.zone};
    struct ab_window plain = {.kind = AB_WINDOW_HOP, .period = minute, .size_us = 600 * S};
    struct ab_window odd = {.kind = AB_WINDOW_HOP, .period = minute, .size_us = 150 * S}; /* panes of 30 seconds */
    struct ab_window days = {.kind = AB_WINDOW_HOP, .period = day, .periods = 7};
    struct ab_window steps = {.kind = AB_WINDOW_CUMULATE, .period = hour, .step = minute};
    struct ab_window hours = {.kind = AB_WINDOW_CUMULATE, .period = day, .step = local};
    struct ab_random random;
    ab_random_init(&random, 5);
    for (int i = 0; i < 500; i++) {
        ab_time_us time = (int64_t)ab_random_below(&random, 4000000000) * S - 2000000000 * S;
        windows_check(&plain, &minute, time);
        windows_check(&odd, &half, time);
        windows_check(&days, &day, time);
        windows_check(&steps, &minute, time);
        windows_check(&hours, &local, time);
    }
    ab_arena_fini(&fixture.arena);
}

/* A pane leaves exactly when the last window that holds it has ended by time - keep. */
static void horizon_check(const struct ab_view *view, ab_time_us time, ab_time_us shown)
{
    ab_time_us first = ab_view_first_pane(view, ab_view_horizon(view, time));
    for (ab_time_us pane = ab_period_add(&view->pane, first, -20); pane < ab_period_add(&view->pane, first, 20);
         pane = ab_period_next(&view->pane, pane)) {
        ab_time_us mark = ab_window_first(&view->window, pane);
        ab_time_us latest = ab_window_end(&view->window, mark);
        while (ab_window_following(&view->window, pane, &mark)) {
            latest = ab_window_end(&view->window, mark);
        }
        assert_int_equal(pane >= first, latest > shown);
    }
}

static void test_horizon_keeps_the_panes_of_every_window_shown(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, "America/New_York");
    struct ab_period minute = {.unit = AB_PERIOD_FIXED, .width_us = 60 * S};
    struct ab_period hour = {.unit = AB_PERIOD_FIXED, .width_us = 3600 * S};
    struct ab_period day = {.unit = AB_PERIOD_DAY, .width_us = DAY, .zone = &fixture.zone};
    struct ab_view views[] = {
        {.pane = minute, .window = {.kind = AB_WINDOW_TUMBLE, .period = minute}},
        {.pane = minute, .window = {.kind = AB_WINDOW_HOP, .period = minute, .size_us = 600 * S}},
        {.pane = minute, .window = {.kind = AB_WINDOW_HOP, .period = hour, .size_us = 7260 * S}},
        {.pane = minute, .window = {.kind = AB_WINDOW_CUMULATE, .period = hour, .step = minute}},
        {.pane = day, .window = {.kind = AB_WINDOW_HOP, .period = day, .periods = 7}},
        {.pane = day, .window = {.kind = AB_WINDOW_TUMBLE, .period = day}},
    };
    struct ab_random random;
    ab_random_init(&random, 6);
    for (int i = 0; i < 400; i++) {
        struct ab_view *view = &views[(size_t)i % (sizeof(views) / sizeof(views[0]))];
        view->pane_us = view->pane.width_us;
        view->keep_us = 3 * DAY;
        ab_time_us time = 1 + (int64_t)ab_random_below(&random, 2000000000) * S;
        time = i % 3 == 0 ? ab_period_floor(&view->pane, time) : time;
        horizon_check(view, time, time - view->keep_us);
    }
    views[0].keep_us = 0;
    assert_true(ab_view_horizon(&views[0], 5 * DAY) == INT64_MIN);
    assert_true(ab_view_horizon(&views[1], 0) == INT64_MIN);
    assert_true(ab_view_first_pane(&views[1], INT64_MIN) == INT64_MIN);
    ab_arena_fini(&fixture.arena);
}

static void test_horizon_of_a_calendar_goes_back_by_local_months_and_days(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, "America/New_York");
    struct ab_period day = {.unit = AB_PERIOD_DAY, .width_us = DAY, .zone = &fixture.zone};
    struct ab_view view = {
        .pane = day, .pane_us = DAY, .window = {.kind = AB_WINDOW_TUMBLE, .period = day}, .keep_us = 1};
    view.keep_months = 1;
    assert_int_equal(ab_view_horizon(&view, time_of("2013-03-31T16:30:00Z")), time_of("2013-02-28T17:30:00Z"));
    view.keep_months = 12;
    assert_int_equal(ab_view_horizon(&view, time_of("2012-02-29T12:00:00Z")), time_of("2011-02-28T12:00:00Z"));
    view.keep_months = 0;
    view.keep_days = 1; /* 23 hours back over the lost one */
    assert_int_equal(ab_view_horizon(&view, time_of("2013-03-10T16:00:00Z")), time_of("2013-03-09T17:00:00Z"));
    ab_arena_fini(&fixture.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_period_days_begin_where_clocks_first_show_them),
        cmocka_unit_test(test_period_weeks_and_months),
        cmocka_unit_test(test_period_known_days_of_23_and_25_hours),
        cmocka_unit_test(test_period_steps_of_a_day),
        cmocka_unit_test(test_period_add_goes_back_and_forth),
        cmocka_unit_test(test_window_hop_and_cumulate_hold_their_panes),
        cmocka_unit_test(test_horizon_keeps_the_panes_of_every_window_shown),
        cmocka_unit_test(test_horizon_of_a_calendar_goes_back_by_local_months_and_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
