/* histogram: a log-linear histogram of non-negative integers (after HdrHistogram), 64 linear steps an octave, so any
 * quantile is within 1.6 %. Fixed 30 KiB. Threads: owner; merge copies. */
#ifndef ANABRANCH_COMMON_BASE_HISTOGRAM_H
#define ANABRANCH_COMMON_BASE_HISTOGRAM_H

#include <stdint.h>

#define AB_HISTOGRAM_BUCKETS 3776

/* Zeroed memory is an empty histogram. */
struct ab_histogram {
    uint64_t counts[AB_HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t min;
};

/* Adds one value. */
void ab_histogram_add(struct ab_histogram *histogram, uint64_t value);

/* Adds all of `from`. */
void ab_histogram_merge(struct ab_histogram *into, const struct ab_histogram *from);

/* The last value of the first bucket up to which at least fraction (0..1) of the values lie, at most max; 0 when
 * empty. */
uint64_t ab_histogram_quantile(const struct ab_histogram *histogram, double fraction);

#endif
