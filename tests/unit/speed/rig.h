/* rig: one partition of its own in a scratch directory, blocks made from a seed, and answers read the way serving reads
 * them. */
#ifndef ANABRANCH_TESTS_UNIT_SPEED_RIG_H
#define ANABRANCH_TESTS_UNIT_SPEED_RIG_H

#include "speed/partition.h"
#include "speed/snapshot.h"

#define RIG_USERS 2000u

/* The stream of all tests: events(usr, amount, at); view by_user over hours with count, sum, min, max; view everything
 * without keys. */
extern const char *const rig_catalog_text;

/* An encoded catalog; `before` (may be empty) is an encoded one it follows; version 1 or one more than that. */
void rig_catalog(const char *text, struct ab_bytes before, struct ab_buffer *encoded);

struct rig {
    char *directory; /* borrowed */
    struct ab_store_cache *cache;
    struct ab_memory memory;
    struct ab_memory partials;
    struct ab_catalogs *catalogs;
    struct ab_plans *plans;
    struct ab_partition *partition;
    struct ab_arena arena;
    struct ab_arena scratch;
};

/* Options of opening; zeroed = one partition, no flusher, 64 MiB of partials. */
struct rig_options {
    uint32_t number;
    uint32_t partitions_count; /* 0 = 1 */
    size_t partials_bytes;     /* 0 = 64 MiB */
    uint64_t segment_bytes;    /* 0 = 1 MiB */
    bool is_replicated;
    bool was_here;
    ab_partition_wake_fn on_flush_wanted;
    void *context;
};

/* Opens partition-0 below the directory. */
ab_err rig_open(struct rig *rig, char *directory, const struct rig_options *options, struct ab_error *error);
void rig_close(struct rig *rig);

/* Rows made from position alone: value of row at `position`. */
struct rig_row {
    uint32_t user;
    double amount; /* a quarter's multiple, so that sums are exact */
    ab_time_us at;
};
struct rig_row rig_row_at(uint64_t position);

/* A block of rows first .. first + count - 1 of the source "feed" (or of no source). */
struct rig_block {
    uint64_t producer_id;
    uint64_t sequence;
    uint32_t partition;
    uint64_t first_position;
    uint32_t rows_count;
    bool has_no_source;
    bool is_raw;
};
void rig_block_encode(const struct rig_block *block, struct ab_buffer *out);

/* Stages one block alone, commits and applies it. */
ab_err rig_send(struct rig *rig, struct ab_bytes payload, struct ab_staged *staged, struct ab_error *error);

/* Stores everything that is frozen. */
void rig_flush(struct rig *rig);

/* Takes a cut, with a catalog or NULL, and stores it when no flusher runs. */
ab_err rig_cut(
    struct rig *rig, uint64_t cut, ab_time_us time_us, const struct ab_served_catalog *served, struct ab_error *error);

/* What a query answers. */
struct rig_totals {
    uint64_t count;
    double sum;
    double min, max;
    uint64_t applied_offset;
};
/* SELECT n, total, least, most over all rows of a view of spans after `cut`. */
ab_err rig_query(struct rig *rig, const char *sql, uint64_t cut, struct rig_totals *totals, struct ab_error *error);

/* The same computed from positions first .. last. */
void rig_expect(uint64_t first, uint64_t last, struct rig_totals *totals);

#endif
