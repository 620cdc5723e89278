#include "common/base/histogram.h"

#include <stddef.h>

#define STEPS 64
#define STEPS_BITS 6

/* Below 64 a bucket is one value; above, an octave [2^e, 2^(e+1)) has 64 buckets of 2^(e-6) values each. */
static size_t bucket_of(uint64_t value)
{
    if (value < STEPS) {
        return (size_t)value;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - STEPS_BITS;
    return ((size_t)shift + 1) * STEPS + (size_t)(value >> shift) - STEPS;
}
_Static_assert(AB_HISTOGRAM_BUCKETS == (63 - STEPS_BITS + 2) * STEPS, "buckets reach 2^64 - 1");

static uint64_t bucket_last_value(size_t bucket)
{
    if (bucket < STEPS) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket / STEPS) - 1;
    uint64_t first = (uint64_t)(bucket % STEPS + STEPS) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

void ab_histogram_add(struct ab_histogram *histogram, uint64_t value)
{
    histogram->counts[bucket_of(value)]++;
    histogram->max = value > histogram->max ? value : histogram->max;
    histogram->min = histogram->count == 0 || value < histogram->min ? value : histogram->min;
    histogram->count++;
    histogram->sum += value;
}

void ab_histogram_merge(struct ab_histogram *into, const struct ab_histogram *from)
{
    if (from->count == 0) {
        return;
    }
    for (size_t i = 0; i < AB_HISTOGRAM_BUCKETS; i++) {
        into->counts[i] += from->counts[i];
    }
    into->max = from->max > into->max ? from->max : into->max;
    into->min = into->count == 0 || from->min < into->min ? from->min : into->min;
    into->count += from->count;
    into->sum += from->sum;
}

uint64_t ab_histogram_quantile(const struct ab_histogram *histogram, double fraction)
{
    double wanted = fraction * (double)histogram->count;
    uint64_t seen = 0;
    for (size_t i = 0; i < AB_HISTOGRAM_BUCKETS && histogram->count > 0; i++) {
        seen += histogram->counts[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t value = bucket_last_value(i);
            return value > histogram->max ? histogram->max : value;
        }
    }
    return histogram->max;
}
