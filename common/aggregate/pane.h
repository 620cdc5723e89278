/* pane: arithmetic of pane bounds that cannot overflow: results beyond the range of time stay at its ends. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PANE_H
#define ANABRANCH_COMMON_AGGREGATE_PANE_H

#include "common/base/time.h"

/* a + b, kept within int64. */
static inline int64_t ab_pane_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return b < 0 ? INT64_MIN : INT64_MAX;
    }
    return sum;
}

/* Start of the pane of `width` (> 0) that holds a time. */
static inline ab_time_us ab_pane_floor(ab_time_us time, int64_t width)
{
    int64_t rest = time % width;
    return rest < 0 ? ab_pane_add(time - rest, -width) : time - rest;
}

#endif
