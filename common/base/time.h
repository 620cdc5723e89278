/* time: microseconds since the Unix epoch (UTC), and their text forms.
 *
 * Protocol decisions never read a clock; daemons read it once at their edge and pass ab_time_us down.
 */
#ifndef ANABRANCH_COMMON_BASE_TIME_H
#define ANABRANCH_COMMON_BASE_TIME_H

#include "common/base/bytes.h"

#include <stdint.h>

typedef int64_t ab_time_us; /* microseconds since 1970-01-01T00:00:00Z */

#define AB_US_PER_MS INT64_C(1000)
#define AB_US_PER_SECOND INT64_C(1000000)
#define AB_US_PER_MINUTE (60 * AB_US_PER_SECOND)
#define AB_US_PER_HOUR (60 * AB_US_PER_MINUTE)
#define AB_US_PER_DAY (24 * AB_US_PER_HOUR)

/* Bytes that ab_time_format needs, with the NUL. */
#define AB_TIME_TEXT_BYTES 40

/* Wall clock. */
ab_time_us ab_time_now(void);

/* Monotonic clock, for durations and timers. */
int64_t ab_time_monotonic_us(void);

/* CPU time of this process and of this thread, in nanoseconds. */
int64_t ab_time_process_cpu_ns(void);
int64_t ab_time_thread_cpu_ns(void);

/* Sleeps; a signal does not shorten it. */
void ab_time_sleep_us(int64_t duration_us);

/* Writes ISO 8601 UTC: 2013-06-01T05:17:00Z, with a fraction of as many digits (1..6) as needed. Returns `text`. */
const char *ab_time_format(ab_time_us time, char text[AB_TIME_TEXT_BYTES]);

/* Reads `YYYY-MM-DD`, `YYYY-MM-DD HH:MM[:SS[.ffffff]]` or the same with T, then nothing (UTC), Z or ±HH:MM. The
 * calendar is checked (2013-02-30 is AB_INVALID); second 60 and more than 6 fraction digits are AB_INVALID. */
AB_MUST_USE ab_err ab_time_parse(struct ab_bytes text, ab_time_us *time);

/* Floor of time to a multiple of width (> 0), right for times before 1970 too. */
static inline ab_time_us ab_time_floor(ab_time_us time, int64_t width)
{
    int64_t rest = time % width;
    return rest < 0 ? time - rest - width : time - rest;
}

#endif
