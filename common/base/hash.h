/* hash: the project's one hash family (xxHash XXH3), hidden behind plain values.
 *
 * 64 bits place things (partitions, tables, checksums of records), 128 bits name them (chain hashes, digests, file
 * contents). Seeds separate domains, so that equal bytes in two roles never have equal hashes.
 */
#ifndef ANABRANCH_COMMON_BASE_HASH_H
#define ANABRANCH_COMMON_BASE_HASH_H

#include "common/base/bytes.h"

struct ab_hash128 {
    uint64_t low;
    uint64_t high;
};

/* Seeds, one per role; part of the formats: never changed, never reused. */
enum ab_hash_domain {
    AB_HASH_PARTITION = 1, /* partition key -> partition (public salt) */
    AB_HASH_SHARD = 2,     /* group keys -> shard */
    AB_HASH_RECORD = 3,    /* checksums and chain of log records */
    AB_HASH_DIGEST = 4,    /* rows of a view's digest */
    AB_HASH_CONTENT = 5,   /* file contents */
    AB_HASH_SKETCH = 6,    /* values entering a sketch */
    AB_HASH_TABLE = 7,     /* in-memory tables */
    AB_HASH_SOURCE = 8,    /* source names and prefixes */
    AB_HASH_CATALOG = 9,   /* catalog text, definitions */
    AB_HASH_RING = 10,     /* virtual nodes */
    AB_HASH_BLOCK = 11,    /* block bytes, for "same sequence, other bytes" */
    AB_HASH_ROW = 12,      /* who a row is: samples chosen by it */
};

/* XXH3-64 of the bytes with the domain as seed. */
uint64_t ab_hash64(enum ab_hash_domain domain, struct ab_bytes bytes);

/* XXH3-128 of the bytes with the domain as seed. */
struct ab_hash128 ab_hash128(enum ab_hash_domain domain, struct ab_bytes bytes);

/* True when equal. */
static inline bool ab_hash128_equal(struct ab_hash128 a, struct ab_hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

/* Adds mod 2^128: the digest's sum. */
static inline struct ab_hash128 ab_hash128_add(struct ab_hash128 a, struct ab_hash128 b)
{
    uint64_t low = a.low + b.low;
    return (struct ab_hash128){.low = low, .high = a.high + b.high + (low < a.low)};
}

/* Writes 32 hexadecimal digits (high first) and a NUL. */
void ab_hash128_format(struct ab_hash128 hash, char text[33]);

/* Reads 32 hexadecimal digits; AB_INVALID otherwise. */
AB_MUST_USE ab_err ab_hash128_parse(struct ab_bytes text, struct ab_hash128 *hash);

/* A running XXH3-128; opaque, owned by its creator. */
struct ab_hash_stream;
struct ab_hash_stream *ab_hash_stream_create(enum ab_hash_domain domain);
void ab_hash_stream_destroy(struct ab_hash_stream *stream);
/* Feeds bytes. */
void ab_hash_stream_update(struct ab_hash_stream *stream, struct ab_bytes bytes);
/* The hash of all fed so far; feeding may go on. */
struct ab_hash128 ab_hash_stream_digest(const struct ab_hash_stream *stream);

#endif
