/* buffer: owned bytes that grow up to a stated maximum; what every encoder writes into.
 *
 * Numbers are little-endian. The put functions do not return an error: a buffer that would pass its maximum, or whose
 * budget refuses, becomes `has_failed` and ignores further writes; the encoder checks once at its end.
 */
#ifndef ANABRANCH_COMMON_BASE_BUFFER_H
#define ANABRANCH_COMMON_BASE_BUFFER_H

#include "common/base/bytes.h"
#include "common/base/memory.h"

/* Zeroed memory is a valid empty buffer without budget or maximum. */
struct ab_buffer {
    uint8_t *data; /* owned */
    size_t bytes;  /* in use */
    size_t capacity;
    size_t bytes_max;         /* 0 = unlimited */
    struct ab_memory *memory; /* borrowed; may be NULL */
    bool has_failed;
};

/* Sets up an empty buffer of at most bytes_max bytes (0 = unlimited) charged to `memory` (may be NULL). */
void ab_buffer_init(struct ab_buffer *buffer, struct ab_memory *memory, size_t bytes_max);

/* Frees; idempotent. */
void ab_buffer_fini(struct ab_buffer *buffer);

/* Empties the buffer, keeps its capacity, clears has_failed. */
void ab_buffer_clear(struct ab_buffer *buffer);

/* Room for `bytes` more at the end, counted as used; NULL when refused. The caller writes them. Valid until the next
 * put. */
uint8_t *ab_buffer_extend(struct ab_buffer *buffer, size_t bytes);

/* Append bytes, or one little-endian number. */
void ab_buffer_put(struct ab_buffer *buffer, const void *data, size_t bytes);
void ab_buffer_put_bytes(struct ab_buffer *buffer, struct ab_bytes bytes);
void ab_buffer_put_u8(struct ab_buffer *buffer, uint8_t value);
void ab_buffer_put_u16(struct ab_buffer *buffer, uint16_t value);
void ab_buffer_put_u32(struct ab_buffer *buffer, uint32_t value);
void ab_buffer_put_u64(struct ab_buffer *buffer, uint64_t value);

/* Appends an unsigned LEB128 number. */
void ab_buffer_put_varint(struct ab_buffer *buffer, uint64_t value);

/* Appends a varint length and the bytes. */
void ab_buffer_put_blob(struct ab_buffer *buffer, struct ab_bytes bytes);

/* Appends bytes as hexadecimal digits; and the bytes that such digits stand for (AB_INVALID for anything else). */
void ab_buffer_put_as_hex(struct ab_buffer *buffer, struct ab_bytes bytes);
AB_MUST_USE ab_err ab_buffer_put_from_hex(struct ab_buffer *buffer, struct ab_bytes text);

/* Appends formatted text, without the NUL. */
void ab_buffer_put_format(struct ab_buffer *buffer, const char *format, ...) AB_PRINTF(2, 3);

/* What is in the buffer; borrowed until the next put, clear or fini. */
static inline struct ab_bytes ab_buffer_view(const struct ab_buffer *buffer)
{
    return ab_bytes_of(buffer->data, buffer->bytes);
}

/* The content as a NUL-terminated string; borrowed until the next put, clear or fini; "" when the buffer failed. */
const char *ab_buffer_text(struct ab_buffer *buffer);

/* AB_OK, or AB_FULL when a write was refused. */
AB_MUST_USE ab_err ab_buffer_finish(const struct ab_buffer *buffer);

#endif
