/* scrubber: verifies the closed log segments of all partitions in the background, one partition after another, so many
 * bytes a second. What is bad is logged and counted, and nothing else: serving goes on (a replica repairs it).
 *
 * Threads: created, ticked and destroyed by one thread; the counters are for any. Memory: one window, whatever the
 * number of partitions.
 */
#ifndef ANABRANCH_SPEED_SCRUBBER_H
#define ANABRANCH_SPEED_SCRUBBER_H

#include "speed/slots.h"

struct ab_scrubber;

/* What was done since it was created. */
struct ab_scrubber_counts {
    uint64_t passes_count; /* over all partitions */
    uint64_t bytes_count;
    uint64_t bad_count; /* places found corrupt or not readable; again at each pass */
};

/* A scrubber of the partitions that are held (slots.h; borrowed). One that is leaving is left at the next tick. */
struct ab_scrubber *ab_scrubber_create(struct ab_slots *slots, uint32_t partitions_count, uint64_t bytes_per_second);
void ab_scrubber_destroy(struct ab_scrubber *scrubber);

/* Does what is due at monotonic now_us, at most a second's worth; to be called a few times a second. */
void ab_scrubber_tick(struct ab_scrubber *scrubber, int64_t now_us);

/* Any thread. */
void ab_scrubber_counts(const struct ab_scrubber *scrubber, struct ab_scrubber_counts *counts);

#endif
