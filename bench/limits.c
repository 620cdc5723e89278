#include "bench/limits.h"

#include "common/base/time.h"

#define TABLE_SLOTS (1u << 21)
#define COPY_BYTES (64u << 20)

/* One group in the plainest form: a cache line. */
struct plain_group {
    int64_t key;
    int64_t hour;
    uint64_t count;
    double sum;
    double min;
    double max;
    bool is_used;
};

static void group_add(struct plain_group *table, int64_t key, int64_t hour, double amount)
{
    uint64_t hash = ((uint64_t)key * UINT64_C(0x9E3779B97F4A7C15)) ^ ((uint64_t)hour * UINT64_C(0xC2B2AE3D27D4EB4F));
    hash ^= hash >> 29;
    uint32_t slot = (uint32_t)hash & (TABLE_SLOTS - 1);
    while (table[slot].is_used && (table[slot].key != key || table[slot].hour != hour)) {
        slot = (slot + 1) & (TABLE_SLOTS - 1);
    }
    struct plain_group *group = &table[slot];
    if (!group->is_used) {
        *group = (struct plain_group){.key = key, .hour = hour, .min = amount, .max = amount, .is_used = true};
    }
    group->count++;
    group->sum += amount;
    group->min = amount < group->min ? amount : group->min;
    group->max = amount > group->max ? amount : group->max;
}

double ab_limit_hash_aggregate_ns(const struct ab_events *events, uint32_t partitions_count, double seconds)
{
    struct plain_group *table = ab_new_array(struct plain_group, TABLE_SLOTS);
    uint32_t rows = ab_events_rows(events);
    uint64_t count = 0;
    int64_t start_ns = ab_time_thread_cpu_ns();
    int64_t spent_ns = 0;
    for (uint64_t i = 0; (double)spent_ns < seconds * 1e9; i++) {
        for (uint32_t p = 0; p < partitions_count; p++) {
            const struct ab_events_block *block = ab_events_at(events, p, i);
            for (uint32_t row = 0; row < rows; row++) {
                group_add(table, block->keys[row], block->times[row] / AB_US_PER_HOUR, block->amounts[row]);
            }
            count += rows;
        }
        spent_ns = ab_time_thread_cpu_ns() - start_ns;
    }
    ab_delete(table);
    return (double)spent_ns / (double)count;
}

double ab_limit_memcpy_bytes(double seconds)
{
    uint8_t *from = ab_new_bytes(COPY_BYTES);
    uint8_t *to = ab_new_bytes(COPY_BYTES);
    memset(from, 1, COPY_BYTES);
    memset(to, 2, COPY_BYTES);
    uint64_t bytes = 0;
    int64_t start_us = ab_time_monotonic_us();
    int64_t spent_us = 0;
    while ((double)spent_us < seconds * 1e6) {
        memcpy(to, from, COPY_BYTES);
        __asm__ volatile("" ::"r"(to) : "memory"); /* the copy must happen */
        bytes += COPY_BYTES;
        spent_us = ab_time_monotonic_us() - start_us;
    }
    ab_delete(from);
    ab_delete(to);
    return (double)bytes / (double)spent_us * 1e6;
}
