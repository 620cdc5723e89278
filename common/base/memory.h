/* memory: budgets, arenas, and the allocator for small control structures.
 *
 * Three ways to get memory, each with its rule (I8):
 *  - ab_memory_*: charged to a budget, may be refused (NULL): for anything whose size depends on input.
 *  - ab_arena_*: many small pieces freed together, charged to a budget by chunk.
 *  - ab_new*: small control structures made at set-up; failure of the system allocator aborts.
 *
 * Threads: a budget may be shared by threads (atomic counter); an arena belongs to one thread.
 */
#ifndef ANABRANCH_COMMON_BASE_MEMORY_H
#define ANABRANCH_COMMON_BASE_MEMORY_H

#include "common/base/bytes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A budget. Zeroed memory is an unlimited one. A child's charges count in its parents too. */
struct ab_memory {
    size_t limit_bytes;       /* 0 = unlimited */
    atomic_size_t used_bytes; /* atomic: charged now */
    struct ab_memory *parent; /* borrowed; NULL at the top */
};

/* To be called first by a process that keeps large tables: what is freed of them goes back to the system. The C library
 * would otherwise learn to keep large pieces in its heap, where one small piece above them holds them for ever: after
 * many flushes a process took twice its budget (I8). Pieces below a mebibyte, as messages are, stay: some MiB free at
 * the end of each heap, for giving back and faulting in anew the memory of each message costs more than its copy. */
void ab_memory_return_large_pieces(void);

/* Sets up a budget of limit_bytes (0 = unlimited) inside `parent` (may be NULL). */
void ab_memory_init(struct ab_memory *memory, size_t limit_bytes, struct ab_memory *parent);

/* Charges bytes if the budget and all its parents have room; true when charged. */
AB_MUST_USE bool ab_memory_reserve(struct ab_memory *memory, size_t bytes);

/* Charges bytes in any case: for steps that must not fail (apply); the owner then watches ab_memory_is_over. */
void ab_memory_charge(struct ab_memory *memory, size_t bytes);

/* Gives back what was reserved or charged. */
void ab_memory_uncharge(struct ab_memory *memory, size_t bytes);

/* Bytes charged now. */
size_t ab_memory_used(const struct ab_memory *memory);

/* True when this budget or a parent is above its limit. */
bool ab_memory_is_over(const struct ab_memory *memory);

/* Allocates zeroed memory, 16-byte aligned, charged to `memory`; NULL when the budget or the system refuses. */
void *ab_memory_alloc(struct ab_memory *memory, size_t bytes);

/* Like ab_memory_alloc, but charges past the limit and aborts if the system has none: for apply. */
void *ab_memory_alloc_total(struct ab_memory *memory, size_t bytes);

/* Grows or shrinks a block of old_bytes to new_bytes (new part not zeroed); NULL = refused, the old block stays. */
void *ab_memory_resize(struct ab_memory *memory, void *block, size_t old_bytes, size_t new_bytes);

/* Frees a block of the given size; NULL is legal. */
void ab_memory_free(struct ab_memory *memory, void *block, size_t bytes);

/* Zeroed memory for a small control structure; never NULL. Free with ab_delete. */
void *ab_new_bytes(size_t bytes);
#define ab_new(type) ((type *)ab_new_bytes(sizeof(type)))
#define ab_new_array(type, count) ((type *)ab_new_bytes(sizeof(type) * (size_t)(count)))

/* Grows an ab_new block (contents kept, new part not zeroed); never NULL. */
void *ab_renew_bytes(void *block, size_t bytes);

/* A copy of a NUL-terminated string, or of a view with a NUL added; never NULL. Free with ab_delete. */
char *ab_new_text(const char *text);
char *ab_new_text_of(struct ab_bytes bytes);

/* printf into new memory; never NULL. Free with ab_delete. */
char *ab_new_format(const char *format, ...) AB_PRINTF(1, 2);

/* Frees what ab_new* gave; NULL is legal. */
void ab_delete(void *block);

struct ab_arena_chunk;

/* A bump allocator. Zeroed memory is a valid empty arena without a budget. */
struct ab_arena {
    struct ab_memory *memory;      /* borrowed; may be NULL */
    struct ab_arena_chunk *chunks; /* owned, newest first */
    size_t chunk_bytes;            /* size of the next chunk */
    size_t used_bytes;             /* handed out since the last reset */
};

/* Sets up an empty arena charged to `memory` (may be NULL); chunks of at least chunk_bytes (0 = 64 KiB). */
void ab_arena_init(struct ab_arena *arena, struct ab_memory *memory, size_t chunk_bytes);

/* Frees everything; idempotent. */
void ab_arena_fini(struct ab_arena *arena);

/* Forgets everything handed out but keeps the largest chunk. */
void ab_arena_reset(struct ab_arena *arena);

/* Memory for `bytes` bytes, 16-byte aligned, not zeroed, valid until reset or fini; NULL when the budget refuses. */
void *ab_arena_alloc(struct ab_arena *arena, size_t bytes);

/* Like ab_arena_alloc, but zeroed. */
void *ab_arena_zalloc(struct ab_arena *arena, size_t bytes);

/* A copy of the bytes in the arena, with a NUL after it; data is NULL when the budget refuses. */
struct ab_bytes ab_arena_copy(struct ab_arena *arena, struct ab_bytes bytes);

#endif
