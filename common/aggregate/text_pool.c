#include "common/aggregate/text_pool.h"

#include "common/base/assert.h"
#include "common/base/hash.h"

#define CHUNK_BYTES ((size_t)64 * 1024)
#define INDEX_FIRST 64u
/* Strings looked up at once: enough to hide the latency of memory. */
#define BATCH 32u

struct ab_text_pool_chunk {
    struct ab_text_pool_chunk *next;
    size_t capacity;
    size_t used;
    uint8_t bytes[];
};

void ab_text_pool_init(struct ab_text_pool *pool, struct ab_memory *memory, uint64_t seed)
{
    *pool = (struct ab_text_pool){.memory = memory, .seed = seed};
}

static void chunks_free(struct ab_text_pool *pool)
{
    while (pool->chunks != NULL) {
        struct ab_text_pool_chunk *chunk = pool->chunks;
        pool->chunks = chunk->next;
        ab_memory_free(pool->memory, chunk, sizeof(*chunk) + chunk->capacity);
    }
}

void ab_text_pool_fini(struct ab_text_pool *pool)
{
    chunks_free(pool);
    ab_memory_free(pool->memory, pool->entries, pool->capacity * sizeof(*pool->entries));
    ab_memory_free(pool->memory, pool->index, pool->index_count * sizeof(*pool->index));
    *pool = (struct ab_text_pool){.memory = pool->memory, .seed = pool->seed};
}

void ab_text_pool_clear(struct ab_text_pool *pool)
{
    chunks_free(pool);
    if (pool->index != NULL) {
        memset(pool->index, 0, pool->index_count * sizeof(*pool->index));
    }
    pool->count = 0;
}

static void pool_grow(struct ab_text_pool *pool)
{
    uint32_t index_count = pool->index_count == 0 ? INDEX_FIRST : pool->index_count * 2;
    AB_ASSERT(index_count != 0);
    uint32_t capacity = index_count / 2;
    struct ab_text_pool_entry *entries = ab_memory_alloc_total(pool->memory, capacity * sizeof(*entries));
    uint32_t *index = ab_memory_alloc_total(pool->memory, index_count * sizeof(*index));
    for (uint32_t i = 0; i < pool->count; i++) {
        entries[i] = pool->entries[i];
        uint32_t slot = entries[i].hash & (index_count - 1);
        while (index[slot] != 0) {
            slot = (slot + 1) & (index_count - 1);
        }
        index[slot] = i + 1;
    }
    ab_memory_free(pool->memory, pool->entries, pool->capacity * sizeof(*entries));
    ab_memory_free(pool->memory, pool->index, pool->index_count * sizeof(*index));
    pool->entries = entries;
    pool->capacity = capacity;
    pool->index = index;
    pool->index_count = index_count;
}

static const uint8_t *text_keep(struct ab_text_pool *pool, struct ab_bytes text)
{
    struct ab_text_pool_chunk *chunk = pool->chunks;
    if (chunk == NULL || chunk->capacity - chunk->used < text.bytes) {
        size_t capacity = text.bytes > CHUNK_BYTES ? text.bytes : CHUNK_BYTES;
        chunk = ab_memory_alloc_total(pool->memory, sizeof(*chunk) + capacity);
        chunk->capacity = capacity;
        chunk->next = pool->chunks;
        pool->chunks = chunk;
    }
    uint8_t *copy = chunk->bytes + chunk->used;
    if (text.bytes > 0) {
        memcpy(copy, text.data, text.bytes);
    }
    chunk->used += text.bytes;
    return copy;
}

static uint32_t text_hash(const struct ab_text_pool *pool, struct ab_bytes text)
{
    uint64_t full = (ab_hash64(AB_HASH_TABLE, text) ^ pool->seed) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(full >> 32);
}

static uint32_t number_find(struct ab_text_pool *pool, struct ab_bytes text, uint32_t hash)
{
    if (pool->count == pool->capacity) {
        pool_grow(pool);
    }
    uint32_t slot = hash & (pool->index_count - 1);
    while (pool->index[slot] != 0) {
        uint32_t number = pool->index[slot] - 1;
        if (pool->entries[number].hash == hash && ab_bytes_equal(ab_text_pool_at(pool, number), text)) {
            return number;
        }
        slot = (slot + 1) & (pool->index_count - 1);
    }
    pool->entries[pool->count] = (struct ab_text_pool_entry){
        .data = text_keep(pool, text),
        .bytes = (uint32_t)text.bytes,
        .hash = hash,
    };
    pool->index[slot] = ++pool->count;
    return pool->count - 1;
}

bool ab_text_pool_find(const struct ab_text_pool *pool, struct ab_bytes text, uint32_t *number)
{
    if (pool->index_count == 0) {
        return false;
    }
    uint32_t hash = text_hash(pool, text);
    uint32_t mask = pool->index_count - 1;
    for (uint32_t slot = hash & mask; pool->index[slot] != 0; slot = (slot + 1) & mask) {
        uint32_t held = pool->index[slot] - 1;
        if (pool->entries[held].hash == hash && ab_bytes_equal(ab_text_pool_at(pool, held), text)) {
            *number = held;
            return true;
        }
    }
    return false;
}

uint32_t ab_text_pool_number(struct ab_text_pool *pool, struct ab_bytes text)
{
    return number_find(pool, text, text_hash(pool, text));
}

static void batch_find(struct ab_text_pool *pool, const struct ab_bytes *texts, size_t count, uint32_t *numbers)
{
    uint32_t hashes[BATCH];
    uint32_t mask = pool->index_count - 1;
    for (size_t i = 0; i < count; i++) {
        hashes[i] = text_hash(pool, texts[i]);
        __builtin_prefetch(&pool->index[hashes[i] & mask]);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t held = pool->index[hashes[i] & mask];
        if (held != 0) {
            __builtin_prefetch(&pool->entries[held - 1]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t held = pool->index[hashes[i] & mask];
        if (held != 0) {
            __builtin_prefetch(pool->entries[held - 1].data);
        }
    }
    for (size_t i = 0; i < count; i++) {
        numbers[i] = number_find(pool, texts[i], hashes[i]);
    }
}

void ab_text_pool_numbers(struct ab_text_pool *pool, const struct ab_bytes *texts, size_t count, uint32_t *numbers)
{
    for (size_t i = 0; i < count; i += BATCH) {
        size_t part = count - i < BATCH ? count - i : BATCH;
        while (pool->capacity - pool->count < part) {
            pool_grow(pool);
        }
        batch_find(pool, texts + i, part, numbers + i);
    }
}
