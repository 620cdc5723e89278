/* bytes: a borrowed range of memory, and bounds-checked reading from it.
 *
 * struct ab_bytes never owns: the function that hands one out says until when it is valid. struct ab_reader is the
 * only way in which decoders walk over bytes; once a read passes the end it stays failed, so a decoder may check once.
 */
#ifndef ANABRANCH_COMMON_BASE_BYTES_H
#define ANABRANCH_COMMON_BASE_BYTES_H

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct ab_bytes {
    const uint8_t *data; /* borrowed; may be NULL when bytes is 0 */
    size_t bytes;
};

typedef __int128 ab_int128;
typedef unsigned __int128 ab_uint128;

/* Makes a view over `bytes` bytes at `data`. */
static inline struct ab_bytes ab_bytes_of(const void *data, size_t bytes)
{
    return (struct ab_bytes){.data = data, .bytes = bytes};
}

/* Makes a view over a NUL-terminated string, without the NUL. */
static inline struct ab_bytes ab_bytes_of_text(const char *text)
{
    return ab_bytes_of(text, strlen(text));
}

/* True when both views hold the same bytes. */
static inline bool ab_bytes_equal(struct ab_bytes a, struct ab_bytes b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

/* Compares bytewise, unsigned, a prefix sorting first: < 0, 0, > 0. */
static inline int ab_bytes_compare(struct ab_bytes a, struct ab_bytes b)
{
    size_t common = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* True when `bytes` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool ab_bytes_is_utf8(struct ab_bytes bytes);

/* Length in bytes (1..4) of the first UTF-8 character; 0 when the view is empty or does not start with one. */
size_t ab_bytes_utf8_next(struct ab_bytes bytes);

/* A cursor over borrowed bytes. */
struct ab_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool has_failed; /* a read went past the end or met a malformed varint */
};

/* Starts reading at the first byte of `bytes`. */
static inline struct ab_reader ab_reader_of(struct ab_bytes bytes)
{
    return (struct ab_reader){.at = bytes.data, .end = bytes.bytes == 0 ? bytes.data : bytes.data + bytes.bytes};
}

/* Returns how many bytes are left. */
static inline size_t ab_reader_left(const struct ab_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* Take one little-endian number off the front; 0 and has_failed when there are too few bytes. */
uint8_t ab_reader_u8(struct ab_reader *reader);
uint16_t ab_reader_u16(struct ab_reader *reader);
uint32_t ab_reader_u32(struct ab_reader *reader);
uint64_t ab_reader_u64(struct ab_reader *reader);

/* Takes an unsigned LEB128 number of at most 64 bits. */
uint64_t ab_reader_varint(struct ab_reader *reader);

/* The same for what has one form only: fails unless the varint is the shortest of its number. */
uint64_t ab_reader_varint_short(struct ab_reader *reader);

/* Takes `bytes` bytes, borrowed from the source; empty and has_failed when there are too few. */
struct ab_bytes ab_reader_bytes(struct ab_reader *reader, size_t bytes);

/* Takes a varint length and then that many bytes. */
struct ab_bytes ab_reader_blob(struct ab_reader *reader);

/* Returns AB_OK when nothing failed and nothing is left, else AB_CORRUPT. */
AB_MUST_USE ab_err ab_reader_finish(const struct ab_reader *reader);

#endif
