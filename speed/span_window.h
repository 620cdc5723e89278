/* span_window: which cuts a partition's spans can be asked for, and how far its log may go: the arithmetic of spans,
 * apart from everything that holds them, so that the simulation decides as the product does.
 *
 *     retired_cut        cut asked for                    open span
 *   ──────┬──────────────────┬───────────────────────────────┬─────▶
 *    gone │  spans after it are all here, the open one too   │ not reached yet
 */
#ifndef ANABRANCH_SPEED_SPAN_WINDOW_H
#define ANABRANCH_SPEED_SPAN_WINDOW_H

#include <stdint.h>

enum ab_span_window {
    AB_SPANS_HERE,  /* all spans after the cut are here */
    AB_SPANS_GONE,  /* some are retired: an answer over that version would miss them */
    AB_SPANS_AHEAD, /* the cut is not in what was applied: the answer would count records that the version holds */
};

/* May the spans after `cut` be read? Spans up to retired_cut are gone; `open_span` is the number of the open one, one
 * more than the last cut applied. */
static inline enum ab_span_window ab_span_window_of(uint64_t retired_cut, uint64_t open_span, uint64_t cut)
{
    return cut < retired_cut ? AB_SPANS_GONE : cut >= open_span ? AB_SPANS_AHEAD : AB_SPANS_HERE;
}

/* Where the log may begin when records below `allowed` are sealed and published: not past what is flushed, nor past the
 * first span that is here, and the cut before that span stays: who reads the span begins with it (H44). */
static inline uint64_t ab_span_trim_limit(uint64_t allowed, uint64_t flushed, uint64_t first_span_start)
{
    uint64_t limit = allowed < flushed ? allowed : flushed;
    limit = limit < first_span_start ? limit : first_span_start;
    return limit > 0 ? limit - 1 : 0;
}

#endif
