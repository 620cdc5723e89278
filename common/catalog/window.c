#include "common/catalog/window.h"

#include "common/catalog/catalog.h"
#include "common/catalog/civil.h"
#include "common/catalog/zone.h"

/* ---- calendars: periods are numbered; a number's first local day, and where that day begins ---- */

static int64_t seconds_of(ab_time_us time)
{
    return ab_civil_divide(time, AB_US_PER_SECOND);
}

static ab_time_us time_of(int64_t seconds)
{
    ab_time_us time;
    if (__builtin_mul_overflow(seconds, AB_US_PER_SECOND, &time)) {
        return seconds < 0 ? INT64_MIN : INT64_MAX;
    }
    return time;
}

/* The number of the period that a local day lies in. */
static int64_t number_of(const struct ab_period *period, int64_t day)
{
    int64_t year;
    int32_t month;
    int32_t day_of_month;
    if (period->unit == AB_PERIOD_DAY) {
        return day;
    }
    if (period->unit == AB_PERIOD_WEEK) {
        return ab_civil_divide(day + 3, 7); /* 1970-01-01 was a Thursday */
    }
    ab_civil_date(day, &year, &month, &day_of_month);
    return ab_civil_divide(year * 12 + month - 1, period->months);
}

static int64_t first_day(const struct ab_period *period, int64_t number)
{
    if (period->unit == AB_PERIOD_DAY) {
        return number;
    }
    if (period->unit == AB_PERIOD_WEEK) {
        return number * 7 - 3;
    }
    int64_t months = number * period->months;
    int64_t year = ab_civil_divide(months, 12);
    return ab_civil_day(year, (int32_t)(months - year * 12) + 1, 1);
}

static ab_time_us start_of(const struct ab_period *period, int64_t number)
{
    return time_of(ab_zone_instant(period->zone, first_day(period, number) * AB_CIVIL_SECONDS_PER_DAY));
}

/* The number of the period whose stretch of time holds `time`: the local day's, or a later one that began already,
 * where clocks went back over midnight. */
static int64_t number_at(const struct ab_period *period, ab_time_us time)
{
    int64_t second = seconds_of(time);
    int64_t local = second + ab_zone_stretch(period->zone, second).offset_s;
    int64_t number = number_of(period, ab_civil_divide(local, AB_CIVIL_SECONDS_PER_DAY));
    while (start_of(period, number + 1) <= time && start_of(period, number + 1) != INT64_MAX) {
        number++;
    }
    return number;
}

/* ---- periods ---- */

static ab_time_us step_floor(int64_t step_us, ab_time_us base, ab_time_us time)
{
    uint64_t passed = (uint64_t)time - (uint64_t)base;
    return (ab_time_us)((uint64_t)base + passed / (uint64_t)step_us * (uint64_t)step_us);
}

ab_time_us ab_period_floor(const struct ab_period *period, ab_time_us time)
{
    if (period->unit == AB_PERIOD_FIXED) {
        int64_t rest = time % period->width_us;
        return rest < 0 ? ab_window_add(time - rest, -period->width_us) : time - rest;
    }
    ab_time_us start = start_of(period, number_at(period, time));
    return period->step_us == 0 ? start : step_floor(period->step_us, start, time);
}

ab_time_us ab_period_next(const struct ab_period *period, ab_time_us time)
{
    if (period->unit == AB_PERIOD_FIXED) {
        return ab_window_add(ab_period_floor(period, time), period->width_us);
    }
    int64_t number = number_at(period, time);
    ab_time_us start = start_of(period, number);
    ab_time_us next = start_of(period, number + 1);
    if (period->step_us == 0) {
        return next;
    }
    ab_time_us step = ab_window_add(step_floor(period->step_us, start, time), period->step_us);
    return step < next ? step : next;
}

ab_time_us ab_period_add(const struct ab_period *period, ab_time_us time, int64_t count)
{
    ab_time_us start = ab_period_floor(period, time);
    if (period->unit == AB_PERIOD_FIXED) {
        int64_t length;
        bool is_over = __builtin_mul_overflow(count, period->width_us, &length);
        return is_over ? (count < 0 ? INT64_MIN : INT64_MAX) : ab_window_add(start, length);
    }
    if (period->step_us == 0) {
        return start_of(period, number_at(period, time) + count);
    }
    for (; count > 0 && start != INT64_MAX; count--) {
        start = ab_period_next(period, start);
    }
    for (; count < 0 && start != INT64_MIN; count++) {
        start = ab_period_floor(period, start - 1);
    }
    return start;
}

bool ab_period_equal(const struct ab_period *a, const struct ab_period *b)
{
    return a->unit == b->unit && a->months == b->months && a->width_us == b->width_us && a->step_us == b->step_us &&
           a->zone == b->zone;
}

bool ab_period_divides(const struct ab_period *fine, const struct ab_period *coarse)
{
    if (ab_period_equal(fine, coarse)) {
        return true;
    }
    if (fine->unit == AB_PERIOD_FIXED || coarse->unit == AB_PERIOD_FIXED) {
        return fine->unit == coarse->unit && coarse->width_us % fine->width_us == 0;
    }
    if (fine->zone != coarse->zone) {
        return false;
    }
    if (fine->unit == AB_PERIOD_DAY) {
        bool is_whole = coarse->unit != AB_PERIOD_DAY || coarse->step_us == 0;
        return fine->step_us == 0 ? coarse->unit != AB_PERIOD_DAY : is_whole || coarse->step_us % fine->step_us == 0;
    }
    return fine->unit == AB_PERIOD_MONTHS && coarse->unit == AB_PERIOD_MONTHS && coarse->months % fine->months == 0;
}

/* ---- windows ---- */

ab_time_us ab_window_first(const struct ab_window *window, ab_time_us pane_start)
{
    switch (window->kind) {
    case AB_WINDOW_TUMBLE:
        return ab_period_floor(&window->period, pane_start);
    case AB_WINDOW_HOP:
        if (window->periods > 0) {
            return ab_period_add(&window->period, pane_start, 1 - (int64_t)window->periods);
        }
        return ab_window_add(
            ab_period_floor(&window->period, ab_window_add(pane_start, -window->size_us)), window->period.width_us);
    case AB_WINDOW_CUMULATE:
        return ab_period_floor(&window->step, pane_start);
    case AB_WINDOW_LAST:
        return window->start_us;
    case AB_WINDOW_SESSION:
        return pane_start;
    case AB_WINDOW_NONE:
        break;
    }
    return 0;
}

bool ab_window_following(const struct ab_window *window, ab_time_us pane_start, ab_time_us *mark)
{
    ab_time_us next = *mark;
    bool is_there = false;
    if (window->kind == AB_WINDOW_HOP) {
        next = ab_period_next(&window->period, *mark);
        is_there = next > *mark && next <= pane_start;
    } else if (window->kind == AB_WINDOW_CUMULATE) {
        next = ab_period_next(&window->step, *mark);
        is_there = next > *mark && next < ab_period_next(&window->period, pane_start);
    }
    *mark = is_there ? next : *mark;
    return is_there;
}

ab_time_us ab_window_start(const struct ab_window *window, ab_time_us mark)
{
    return window->kind == AB_WINDOW_CUMULATE ? ab_period_floor(&window->period, mark) : mark;
}

ab_time_us ab_window_end(const struct ab_window *window, ab_time_us mark)
{
    switch (window->kind) {
    case AB_WINDOW_TUMBLE:
        return ab_period_next(&window->period, mark);
    case AB_WINDOW_HOP:
        return window->periods > 0 ? ab_period_add(&window->period, mark, window->periods)
                                   : ab_window_add(mark, window->size_us);
    case AB_WINDOW_CUMULATE:
        return ab_period_next(&window->step, mark);
    case AB_WINDOW_LAST:
        return window->end_us;
    case AB_WINDOW_SESSION:
        return mark;
    case AB_WINDOW_NONE:
        break;
    }
    return 0;
}

bool ab_window_equal(const struct ab_window *a, const struct ab_window *b)
{
    return a->kind == b->kind && ab_period_equal(&a->period, &b->period) && ab_period_equal(&a->step, &b->step) &&
           a->size_us == b->size_us && a->periods == b->periods && a->start_us == b->start_us && a->end_us == b->end_us;
}

/* ---- retention ---- */

/* time - keep; months and days of a calendar are taken off what local clocks show. */
static ab_time_us keep_subtract(const struct ab_view *view, ab_time_us time)
{
    const struct ab_zone *zone = view->pane.zone;
    if (zone == NULL || (view->keep_months == 0 && view->keep_days == 0)) {
        ab_time_us horizon = INT64_MIN;
        return __builtin_sub_overflow(time, view->keep_us, &horizon) ? INT64_MIN : horizon;
    }
    int64_t second = seconds_of(time);
    int64_t local = second + ab_zone_stretch(zone, second).offset_s;
    int64_t day = ab_civil_divide(local, AB_CIVIL_SECONDS_PER_DAY);
    int64_t rest = local - day * AB_CIVIL_SECONDS_PER_DAY;
    if (view->keep_months > 0) {
        int64_t year;
        int32_t month;
        int32_t day_of_month;
        ab_civil_date(day, &year, &month, &day_of_month);
        int64_t months = year * 12 + month - 1 - view->keep_months;
        year = ab_civil_divide(months, 12);
        month = (int32_t)(months - year * 12) + 1;
        int32_t last = ab_civil_month_days(year, month);
        day = ab_civil_day(year, month, day_of_month < last ? day_of_month : last);
    }
    day -= view->keep_days;
    return time_of(ab_zone_instant(zone, day * AB_CIVIL_SECONDS_PER_DAY + rest));
}

ab_time_us ab_view_horizon(const struct ab_view *view, ab_time_us time)
{
    if (view->keep_us == 0 || time == 0) {
        return INT64_MIN;
    }
    ab_time_us shown = keep_subtract(view, time); /* windows that end at or before it are gone */
    const struct ab_window *window = &view->window;
    if (shown == INT64_MIN || !ab_window_overlaps(window)) {
        return shown;
    }
    if (window->kind == AB_WINDOW_CUMULATE) {
        return ab_period_floor(&window->period, shown);
    }
    if (window->periods > 0) {
        return ab_period_add(&window->period, shown, 1 - (int64_t)window->periods);
    }
    return ab_window_add(
        ab_period_floor(&window->period, ab_window_add(shown, -window->size_us)), window->period.width_us);
}

ab_time_us ab_view_first_pane(const struct ab_view *view, ab_time_us horizon_us)
{
    return horizon_us == INT64_MIN ? INT64_MIN : ab_period_floor(&view->pane, horizon_us);
}
