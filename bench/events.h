/* events: the plain events of the speed measurements: a key by Zipf's law, a time, an amount; ready-made blocks of
 * them. */
#ifndef ANABRANCH_BENCH_EVENTS_H
#define ANABRANCH_BENCH_EVENTS_H

#include "common/block/block.h"

struct ab_events_options {
    uint32_t keys_count;
    uint32_t partitions_count;
    uint32_t block_rows;
    uint32_t blocks_a_partition; /* different ones, sent in turn */
    uint64_t seed;
};

/* Columns of one block, as arrays. */
struct ab_events_block {
    int64_t *keys;
    int64_t *times;
    double *amounts;
    uint32_t partition;
};

struct ab_events;

/* Makes blocks_a_partition blocks for every partition, each of block_rows rows whose keys belong there. */
struct ab_events *ab_events_create(const struct ab_events_options *options);
void ab_events_destroy(struct ab_events *events);

/* A partition's i-th block (taken modulo their number); borrowed. */
const struct ab_events_block *ab_events_at(const struct ab_events *events, uint32_t partition, uint64_t i);

/* The partition of a key, of so many. */
uint32_t ab_events_partition_of(int64_t key, uint32_t partitions_count);

/* How many partitions there are blocks for. */
uint32_t ab_events_partitions(const struct ab_events *events);

/* Rows of every block. */
uint32_t ab_events_rows(const struct ab_events *events);

/* Appends it encoded, under a producer id and sequence. */
AB_MUST_USE ab_err ab_events_encode(const struct ab_events *events, const struct ab_events_block *block,
    uint64_t producer_id, uint64_t sequence, struct ab_buffer *out);

/* The catalog that fits, with `views` (1..3) views of four aggregates: by key and hour, by key, by minute; freed with
 * ab_delete. */
char *ab_events_catalog(uint32_t views);

#endif
