#include "speed/scrubber.h"

#include "common/base/logging.h"
#include "common/log/scrub.h"

#include <stdatomic.h>

struct ab_scrubber {
    struct ab_slots *slots; /* borrowed */
    uint32_t partitions_count;
    uint32_t partition; /* at hand */
    uint64_t bytes_per_second;
    int64_t ticked_us;          /* -1 = never */
    struct ab_log_scrub *scrub; /* owned; of the partition at hand; NULL = not begun */
    uint64_t scrub_bytes;       /* counted of it so far */
    atomic_uint_fast64_t passes, bytes, bad;
};

struct ab_scrubber *ab_scrubber_create(struct ab_slots *slots, uint32_t partitions_count, uint64_t bytes_per_second)
{
    struct ab_scrubber *scrubber = ab_new(struct ab_scrubber);
    scrubber->slots = slots;
    scrubber->partitions_count = partitions_count;
    scrubber->bytes_per_second = bytes_per_second;
    scrubber->ticked_us = -1;
    return scrubber;
}

/* Gives up the partition at hand, which was acquired with its scrub. */
static void scrub_end(struct ab_scrubber *scrubber)
{
    if (scrubber->scrub != NULL) {
        ab_log_scrub_destroy(scrubber->scrub);
        ab_slots_release(scrubber->slots, scrubber->partition);
    }
    scrubber->scrub = NULL;
    scrubber->scrub_bytes = 0;
}

void ab_scrubber_destroy(struct ab_scrubber *scrubber)
{
    if (scrubber == NULL) {
        return;
    }
    scrub_end(scrubber);
    ab_delete(scrubber);
}

void ab_scrubber_counts(const struct ab_scrubber *scrubber, struct ab_scrubber_counts *counts)
{
    *counts = (struct ab_scrubber_counts){.passes_count = atomic_load(&scrubber->passes),
        .bytes_count = atomic_load(&scrubber->bytes),
        .bad_count = atomic_load(&scrubber->bad)};
}

/* Leaves the partition at hand for the next one. */
static void partition_leave(struct ab_scrubber *scrubber)
{
    scrub_end(scrubber);
    scrubber->partition++;
    if (scrubber->partition == scrubber->partitions_count) {
        scrubber->partition = 0;
        (void)atomic_fetch_add(&scrubber->passes, 1);
    }
}

/* Verifies up to bytes_max bytes of the partition at hand; how many it were. */
static uint64_t partition_step(struct ab_scrubber *scrubber, uint64_t bytes_max)
{
    if (scrubber->scrub == NULL) {
        struct ab_partition *partition = ab_slots_acquire(scrubber->slots, scrubber->partition);
        scrubber->scrub = partition == NULL ? NULL : ab_partition_scrub(partition);
    }
    if (scrubber->scrub == NULL || !ab_slots_hold(scrubber->slots, scrubber->partition)) {
        partition_leave(scrubber);
        return 0;
    }
    struct ab_error error = {0};
    struct ab_log_scrub_progress progress;
    ab_err err = ab_log_scrub_step(scrubber->scrub, bytes_max, &error);
    ab_log_scrub_progress(scrubber->scrub, &progress);
    uint64_t bytes = progress.bytes_count - scrubber->scrub_bytes;
    scrubber->scrub_bytes = progress.bytes_count;
    (void)atomic_fetch_add(&scrubber->bytes, bytes);
    if (err != AB_OK && err != AB_END) {
        (void)atomic_fetch_add(&scrubber->bad, 1);
        ab_error_log("log segment is bad", "partition %u: %s", scrubber->partition, error.text);
    }
    if (err == AB_END) {
        partition_leave(scrubber);
    }
    return bytes;
}

void ab_scrubber_tick(struct ab_scrubber *scrubber, int64_t now_us)
{
    int64_t since_us = scrubber->ticked_us < 0 ? 0 : now_us - scrubber->ticked_us;
    scrubber->ticked_us = now_us;
    since_us = since_us > AB_US_PER_SECOND ? AB_US_PER_SECOND : since_us;
    uint64_t due = (uint64_t)((double)scrubber->bytes_per_second * (double)since_us / (double)AB_US_PER_SECOND);
    /* Every partition at most once a tick, so that empty ones end it. */
    for (uint32_t left = scrubber->partitions_count; due > 0 && left > 0; left--) {
        uint64_t done = partition_step(scrubber, due);
        due -= done < due ? done : due;
    }
}
