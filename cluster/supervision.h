/* supervision: when a daemon that ended is started again. A pure core: no clock, no process.
 *
 * A first crash is mended at once; the wait doubles with each one that follows within AB_SUPERVISION_CALM_US of the
 * start before, up to AB_SUPERVISION_WAIT_US_MAX. After AB_SUPERVISION_CRASHES crashes within AB_SUPERVISION_WINDOW_US
 * the daemon is in a crash loop: that is reported, and starts go on every AB_SUPERVISION_LOOP_WAIT_US, so that a cause
 * that goes away is enough.
 */
#ifndef ANABRANCH_CLUSTER_SUPERVISION_H
#define ANABRANCH_CLUSTER_SUPERVISION_H

#include <stdbool.h>
#include <stdint.h>

#define AB_SUPERVISION_CRASHES 10
#define AB_SUPERVISION_WINDOW_US INT64_C(60000000)
#define AB_SUPERVISION_CALM_US INT64_C(30000000)
#define AB_SUPERVISION_WAIT_US_FIRST INT64_C(50000)
#define AB_SUPERVISION_WAIT_US_MAX INT64_C(5000000)
#define AB_SUPERVISION_LOOP_WAIT_US INT64_C(30000000)

/* Zeroed memory is a daemon that is due to be started. Times are monotonic microseconds. */
struct ab_supervision {
    bool is_running;
    bool is_in_crash_loop;
    uint64_t restarts_count; /* starts after the first */
    uint64_t starts_count;
    int64_t started_us;
    int64_t due_us;                             /* next start, when not running */
    int64_t wait_us;                            /* before the last start */
    int64_t crashes_us[AB_SUPERVISION_CRASHES]; /* a ring */
    uint32_t crashes_count;                     /* ever */
};

/* True when the daemon is to be started now. */
bool ab_supervision_is_due(const struct ab_supervision *supervision, int64_t now_us);

/* It was started. */
void ab_supervision_started(struct ab_supervision *supervision, int64_t now_us);

/* It ended, or could not be started: sets due_us. Returns true when this very crash began a crash loop: report it. */
bool ab_supervision_ended(struct ab_supervision *supervision, int64_t now_us);

#endif
