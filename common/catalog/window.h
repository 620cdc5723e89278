/* window: where panes and windows begin and end. Pure arithmetic over times in microseconds.
 *
 * A period cuts all of time: fixed widths counted from the epoch; or days, ISO weeks (from Monday) or months of a time
 * zone, and days cut again into steps from their start. Day D begins at the first instant at which local clocks show D
 * or later: a day of 23 or 25 hours is as long as it is, and where clocks go back over midnight the hour that comes
 * twice belongs to the later day. Periods never overlap and leave no gap, so a pane is named by its start alone.
 *
 * Windows hold whole panes. A window is named by its mark, the start of one of its panes: of the first; but for
 * CUMULATE, whose windows begin together, of the last step. A pane may be in several windows of HOP and CUMULATE.
 *
 * Results beyond the range of time stay at its ends. Threads: any.
 */
#ifndef ANABRANCH_COMMON_CATALOG_WINDOW_H
#define ANABRANCH_COMMON_CATALOG_WINDOW_H

#include "common/base/time.h"

#include <stdbool.h>

struct ab_view;
struct ab_zone;

/* Windows that may hold one pane: reading merges each pane so many times. */
#define AB_WINDOW_OVERLAP_MAX 2000

enum ab_period_unit {
    AB_PERIOD_NONE = 0,
    AB_PERIOD_FIXED,  /* width_us, from the epoch */
    AB_PERIOD_DAY,    /* of the zone; step_us > 0 cuts it again */
    AB_PERIOD_WEEK,   /* from Monday */
    AB_PERIOD_MONTHS, /* `months` of them, which divide a year or are years; counted from January */
};

struct ab_period {
    enum ab_period_unit unit;
    uint32_t months;            /* MONTHS: how many */
    int64_t width_us;           /* FIXED: the width; else a nominal one: 24 hours, 7, 30 or 365 days */
    int64_t step_us;            /* DAY: width of the steps; 0 = whole days */
    const struct ab_zone *zone; /* NULL for FIXED; borrowed from the catalog */
};

enum ab_window_kind {
    AB_WINDOW_NONE = 0, /* panes are merged away, or there are none */
    AB_WINDOW_TUMBLE,   /* one period of one or more panes each */
    AB_WINDOW_HOP,      /* begins with each period, and is longer */
    AB_WINDOW_CUMULATE, /* from the start of a period to the end of each of its panes */
    AB_WINDOW_LAST,     /* one window alone */
    AB_WINDOW_SESSION,  /* panes no longer than the gap; sessions are found when a query is finished */
};

struct ab_window {
    enum ab_window_kind kind;
    struct ab_period period; /* TUMBLE, HOP, CUMULATE: where windows begin */
    struct ab_period step;   /* CUMULATE: where they end */
    int64_t size_us;         /* HOP over fixed panes: length; SESSION: the gap */
    uint32_t periods;        /* HOP over a calendar's panes, LAST: length in periods or panes; else 0 */
    ab_time_us start_us;     /* LAST: its bounds, which are edges of panes */
    ab_time_us end_us;
};

/* a + b, kept within int64. */
static inline int64_t ab_window_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return b < 0 ? INT64_MIN : INT64_MAX;
    }
    return sum;
}

/* Start of the period that holds a time. */
ab_time_us ab_period_floor(const struct ab_period *period, ab_time_us time);

/* End of the period that holds a time: the start of the next. */
ab_time_us ab_period_next(const struct ab_period *period, ab_time_us time);

/* Start of the period `count` after (before, when negative) the one that holds a time. */
ab_time_us ab_period_add(const struct ab_period *period, ab_time_us time, int64_t count);

/* True when both cut time at the same places. */
bool ab_period_equal(const struct ab_period *a, const struct ab_period *b);

/* True when every start of `coarse` is one of `fine` for certain. */
bool ab_period_divides(const struct ab_period *fine, const struct ab_period *coarse);

/* The mark of the first window that holds the pane starting at `pane_start`. */
ab_time_us ab_window_first(const struct ab_window *window, ab_time_us pane_start);

/* Goes on to the next window that holds this pane; false when there is none. */
bool ab_window_following(const struct ab_window *window, ab_time_us pane_start, ab_time_us *mark);

/* Where the window with this mark begins and ends; a session's end is not known here: it is the mark. */
ab_time_us ab_window_start(const struct ab_window *window, ab_time_us mark);
ab_time_us ab_window_end(const struct ab_window *window, ab_time_us mark);

/* True when both are the same windows. */
bool ab_window_equal(const struct ab_window *a, const struct ab_window *b);

/* True for windows that share panes: WHERE then chooses windows, which come whole. */
static inline bool ab_window_overlaps(const struct ab_window *window)
{
    return window->kind == AB_WINDOW_HOP || window->kind == AB_WINDOW_CUMULATE;
}

/* What a view has forgotten by `time`: panes that end at or before the result; INT64_MIN = none. A pane stays as long
 * as some window that holds it ends after time - keep, so windows leave whole. */
ab_time_us ab_view_horizon(const struct ab_view *view, ab_time_us time);

/* The first pane start that a horizon leaves. */
ab_time_us ab_view_first_pane(const struct ab_view *view, ab_time_us horizon_us);

#endif
