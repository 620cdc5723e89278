/* block: a columnar group of rows of one stream and partition from one producer: the unit on the wire and in the log.
 *
 * Encoded as the protobuf message anabranch.Block (common/wire/proto/block.proto is the public contract): columns by
 * name, fixed-width values packed little-endian, NULLs as a bitmap, TEXT as codes and a dictionary, optionally LZ4.
 * Decoding checks everything that a block alone can show: lengths, codes, UTF-8, canonical doubles (made so), rising
 * positions. What needs the catalog (types, NOT NULL, CHECK) is judged later (speed/judge).
 *
 * Limits: rows <= AB_BLOCK_ROWS_MAX, encoded bytes <= AB_BLOCK_BYTES_MAX, columns <= AB_BLOCK_COLUMNS_MAX.
 */
#ifndef ANABRANCH_COMMON_BLOCK_BLOCK_H
#define ANABRANCH_COMMON_BLOCK_BLOCK_H

#include "common/block/column.h"

#include "common/base/buffer.h"
#include "common/base/hash.h"

#define AB_BLOCK_ROWS_MAX 65536u
#define AB_BLOCK_BYTES_MAX (8u << 20)
#define AB_BLOCK_COLUMNS_MAX 1024u
#define AB_BLOCK_NAME_BYTES_MAX 255u

/* Where in its source a block's rows stood. Positions are 1-based and rise within (partition, source). */
struct ab_source_mark {
    struct ab_bytes source;        /* name; empty = no source */
    uint64_t first_position;       /* of the first row */
    uint64_t last_position;        /* every row of the source up to here that belongs to this partition is in this or an
                                      earlier block; >= the last row's */
    uint64_t byte_offset;          /* decompressed bytes of the source read up to last_position's row end */
    struct ab_hash128 prefix_hash; /* AB_HASH_SOURCE over those bytes */
};

struct ab_block_column {
    struct ab_bytes name;
    struct ab_column column;
};

/* A block in memory; every pointer borrowed (from the arena it was decoded into, or from builders). */
struct ab_block {
    struct ab_bytes stream;
    uint64_t producer_id; /* not 0 */
    uint64_t sequence;    /* per (producer, partition), from 1, without gaps */
    uint32_t partition;
    uint32_t rows_count; /* >= 1 */
    bool is_raw;         /* rows that could not be typed: TEXT columns "raw" and "reason" */
    uint32_t columns_count;
    const struct ab_block_column *columns;
    const uint64_t *positions; /* rows_count of them, rising; NULL without source */
    struct ab_source_mark mark;
};

enum ab_block_compression { AB_BLOCK_PLAIN = 0, AB_BLOCK_LZ4 = 1 };

/* Appends the encoding. AB_TOO_LARGE past the limits, AB_FULL when the buffer refuses. */
AB_MUST_USE ab_err ab_block_encode(
    const struct ab_block *block, enum ab_block_compression compression, struct ab_buffer *out);

/* Decodes and validates; the block's pointers live as long as the arena and `bytes`. AB_INVALID, AB_TOO_LARGE, AB_FULL
 * with a text naming the column and row. */
AB_MUST_USE ab_err ab_block_decode(
    struct ab_bytes bytes, struct ab_arena *arena, struct ab_block *block, struct ab_error *error);

/* Finds a column by name; NULL when the block has none of that name. */
const struct ab_column *ab_block_find(const struct ab_block *block, struct ab_bytes name);

#endif
