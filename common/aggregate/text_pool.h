/* text_pool: strings of a table, each kept once and named by a number from 0; for this folder alone.
 *
 * Memory: charged past the limit to the budget given. Threads: one writer; readers when nobody writes.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_TEXT_POOL_H
#define ANABRANCH_COMMON_AGGREGATE_TEXT_POOL_H

#include "common/base/memory.h"

struct ab_text_pool_entry {
    const uint8_t *data; /* in a chunk of the pool */
    uint32_t bytes;
    uint32_t hash;
};

struct ab_text_pool_chunk;

struct ab_text_pool {
    struct ab_memory *memory; /* borrowed; may be NULL */
    uint64_t seed;
    struct ab_text_pool_entry *entries; /* owned */
    uint32_t count;
    uint32_t capacity;
    uint32_t *index; /* owned; 1 + number, 0 = free; at most half full */
    uint32_t index_count;
    struct ab_text_pool_chunk *chunks; /* owned, newest first */
};

/* An empty pool. */
void ab_text_pool_init(struct ab_text_pool *pool, struct ab_memory *memory, uint64_t seed);
void ab_text_pool_fini(struct ab_text_pool *pool);

/* Forgets all strings; the memory of the tables is kept. */
void ab_text_pool_clear(struct ab_text_pool *pool);

/* The number of a string, new or known. */
uint32_t ab_text_pool_number(struct ab_text_pool *pool, struct ab_bytes text);

/* The number of a string if it is known. */
bool ab_text_pool_find(const struct ab_text_pool *pool, struct ab_bytes text, uint32_t *number);

/* Numbers of `count` strings at once, fetching ahead: what a block's dictionary enters by. */
void ab_text_pool_numbers(struct ab_text_pool *pool, const struct ab_bytes *texts, size_t count, uint32_t *numbers);

/* A string by number; valid until clear or fini. */
static inline struct ab_bytes ab_text_pool_at(const struct ab_text_pool *pool, uint32_t number)
{
    return ab_bytes_of(pool->entries[number].data, pool->entries[number].bytes);
}

#endif
