#include "common/base/memory.h"

#include "common/base/assert.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_CHUNK_BYTES_DEFAULT ((size_t)64 * 1024)
#define ARENA_CHUNK_BYTES_GROWN ((size_t)1024 * 1024)
#define ALIGNMENT ((size_t)16)
#define LARGE_PIECE_BYTES (1 << 20)
#define KEPT_BYTES (8 << 20)

/* The header of a chunk; the memory handed out follows it, so its size is a multiple of ALIGNMENT. */
struct ab_arena_chunk {
    struct ab_arena_chunk *next; /* owned; the next older one */
    size_t capacity;             /* bytes after the header */
    size_t used;
    size_t padding;
};
_Static_assert(sizeof(struct ab_arena_chunk) % ALIGNMENT == 0, "what follows the header must stay aligned");

void ab_memory_return_large_pieces(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_PIECE_BYTES); /* setting it also ends its growth; 0 = not known here */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

void ab_memory_init(struct ab_memory *memory, size_t limit_bytes, struct ab_memory *parent)
{
    memory->limit_bytes = limit_bytes;
    atomic_init(&memory->used_bytes, 0);
    memory->parent = parent;
}

static bool budget_reserve(struct ab_memory *memory, size_t bytes)
{
    size_t used = atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);
    size_t limit = memory->limit_bytes == 0 ? SIZE_MAX : memory->limit_bytes;
    do {
        if (used > limit || bytes > limit - used) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(
        &memory->used_bytes, &used, used + bytes, memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool ab_memory_reserve(struct ab_memory *memory, size_t bytes)
{
    for (struct ab_memory *at = memory; at != NULL; at = at->parent) {
        if (budget_reserve(at, bytes)) {
            continue;
        }
        for (struct ab_memory *undo = memory; undo != at; undo = undo->parent) {
            atomic_fetch_sub_explicit(&undo->used_bytes, bytes, memory_order_relaxed);
        }
        return false;
    }
    return true;
}

void ab_memory_charge(struct ab_memory *memory, size_t bytes)
{
    for (; memory != NULL; memory = memory->parent) {
        atomic_fetch_add_explicit(&memory->used_bytes, bytes, memory_order_relaxed);
    }
}

void ab_memory_uncharge(struct ab_memory *memory, size_t bytes)
{
    for (; memory != NULL; memory = memory->parent) {
        size_t before = atomic_fetch_sub_explicit(&memory->used_bytes, bytes, memory_order_relaxed);
        AB_ASSERT(before >= bytes);
    }
}

size_t ab_memory_used(const struct ab_memory *memory)
{
    return atomic_load_explicit(&memory->used_bytes, memory_order_relaxed);
}

bool ab_memory_is_over(const struct ab_memory *memory)
{
    for (; memory != NULL; memory = memory->parent) {
        if (memory->limit_bytes != 0 && ab_memory_used(memory) > memory->limit_bytes) {
            return true;
        }
    }
    return false;
}

void *ab_memory_alloc(struct ab_memory *memory, size_t bytes)
{
    if (!ab_memory_reserve(memory, bytes)) {
        return NULL;
    }
    void *block = calloc(1, bytes == 0 ? 1 : bytes);
    if (block == NULL) {
        ab_memory_uncharge(memory, bytes);
    }
    return block;
}

void *ab_memory_alloc_total(struct ab_memory *memory, size_t bytes)
{
    ab_memory_charge(memory, bytes);
    return ab_new_bytes(bytes);
}

void *ab_memory_resize(struct ab_memory *memory, void *block, size_t old_bytes, size_t new_bytes)
{
    if (new_bytes > old_bytes && !ab_memory_reserve(memory, new_bytes - old_bytes)) {
        return NULL;
    }
    void *moved = realloc(block, new_bytes == 0 ? 1 : new_bytes);
    if (moved == NULL) {
        if (new_bytes > old_bytes) {
            ab_memory_uncharge(memory, new_bytes - old_bytes);
        }
        return NULL;
    }
    if (new_bytes < old_bytes) {
        ab_memory_uncharge(memory, old_bytes - new_bytes);
    }
    return moved;
}

void ab_memory_free(struct ab_memory *memory, void *block, size_t bytes)
{
    if (block != NULL) {
        free(block);
        ab_memory_uncharge(memory, bytes);
    }
}

void *ab_new_bytes(size_t bytes)
{
    void *block = calloc(1, bytes == 0 ? 1 : bytes);
    AB_ASSERT(block != NULL);
    return block;
}

void *ab_renew_bytes(void *block, size_t bytes)
{
    void *moved = realloc(block, bytes == 0 ? 1 : bytes);
    AB_ASSERT(moved != NULL);
    return moved;
}

char *ab_new_text(const char *text)
{
    return ab_new_text_of(ab_bytes_of_text(text));
}

char *ab_new_text_of(struct ab_bytes bytes)
{
    char *text = ab_new_bytes(bytes.bytes + 1);
    if (bytes.bytes > 0) {
        memcpy(text, bytes.data, bytes.bytes);
    }
    return text;
}

char *ab_new_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    AB_ASSERT(length >= 0);
    return text;
}

void ab_delete(void *block)
{
    free(block);
}

void ab_arena_init(struct ab_arena *arena, struct ab_memory *memory, size_t chunk_bytes)
{
    *arena = (struct ab_arena){.memory = memory, .chunk_bytes = chunk_bytes};
}

static void chunk_free(struct ab_arena *arena, struct ab_arena_chunk *chunk)
{
    ab_memory_uncharge(arena->memory, sizeof(*chunk) + chunk->capacity);
    free(chunk);
}

void ab_arena_fini(struct ab_arena *arena)
{
    while (arena->chunks != NULL) {
        struct ab_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        chunk_free(arena, chunk);
    }
    arena->used_bytes = 0;
}

void ab_arena_reset(struct ab_arena *arena)
{
    struct ab_arena_chunk *kept = NULL;
    while (arena->chunks != NULL) {
        struct ab_arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        if (kept == NULL || chunk->capacity > kept->capacity) {
            struct ab_arena_chunk *smaller = kept;
            kept = chunk;
            chunk = smaller;
        }
        if (chunk != NULL) {
            chunk_free(arena, chunk);
        }
    }
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
    }
    arena->chunks = kept;
    arena->used_bytes = 0;
}

static struct ab_arena_chunk *chunk_new(struct ab_arena *arena, size_t capacity)
{
    struct ab_arena_chunk *chunk = NULL;
    size_t bytes = sizeof(*chunk) + capacity;
    if (!ab_memory_reserve(arena->memory, bytes)) {
        return NULL;
    }
    chunk = malloc(bytes);
    if (chunk == NULL) {
        ab_memory_uncharge(arena->memory, bytes);
        return NULL;
    }
    *chunk = (struct ab_arena_chunk){.next = arena->chunks, .capacity = capacity};
    arena->chunks = chunk;
    return chunk;
}

/* A chunk with room for `bytes`: of the usual size, or just large enough when the budget refuses that. */
static struct ab_arena_chunk *arena_grow(struct ab_arena *arena, size_t bytes)
{
    size_t usual = arena->chunk_bytes == 0 ? ARENA_CHUNK_BYTES_DEFAULT : arena->chunk_bytes;
    struct ab_arena_chunk *chunk = bytes < usual ? chunk_new(arena, (usual + ALIGNMENT - 1) & ~(ALIGNMENT - 1)) : NULL;
    if (chunk != NULL) {
        arena->chunk_bytes = usual < ARENA_CHUNK_BYTES_GROWN ? usual * 2 : usual;
        return chunk;
    }
    return chunk_new(arena, bytes);
}

void *ab_arena_alloc(struct ab_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) {
        return NULL;
    }
    size_t needed = bytes == 0 ? ALIGNMENT : (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    struct ab_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->capacity - chunk->used < needed) {
        chunk = arena_grow(arena, needed);
        if (chunk == NULL) {
            return NULL;
        }
    }
    uint8_t *block = (uint8_t *)(chunk + 1) + chunk->used;
    chunk->used += needed;
    arena->used_bytes += needed;
    return block;
}

void *ab_arena_zalloc(struct ab_arena *arena, size_t bytes)
{
    void *block = ab_arena_alloc(arena, bytes);
    if (block != NULL && bytes > 0) {
        memset(block, 0, bytes);
    }
    return block;
}

struct ab_bytes ab_arena_copy(struct ab_arena *arena, struct ab_bytes bytes)
{
    uint8_t *copy = bytes.bytes < SIZE_MAX ? ab_arena_alloc(arena, bytes.bytes + 1) : NULL;
    if (copy == NULL) {
        return ab_bytes_of(NULL, 0);
    }
    if (bytes.bytes > 0) {
        memcpy(copy, bytes.data, bytes.bytes);
    }
    copy[bytes.bytes] = 0;
    return ab_bytes_of(copy, bytes.bytes);
}
