/* state_row: all primitive states of one group and pane in one self-describing value.
 *
 *   u8 format (1), varint number of primitives, then per primitive: u8 kind (enum ab_primitive_kind), varint bytes,
 * payload
 *
 * Encodings are canonical: equal states have equal bytes, whatever the order of updates and merges, the window base or
 * the processor (I5). They merge without a catalog, which is what RocksDB's merge operator needs.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_STATE_ROW_H
#define ANABRANCH_COMMON_AGGREGATE_STATE_ROW_H

#include "common/base/buffer.h"
#include "common/base/hash.h"

/* Merges encoded rows of one group into `out` (cleared first): `existing` (data NULL = none) and operands; context
 * unused. The signature is ab_store_merge_fn's. AB_CORRUPT when a row is malformed or the rows have different
 * primitives. Total otherwise. Any thread. */
AB_MUST_USE ab_err ab_state_row_merge(struct ab_bytes existing, const struct ab_bytes *operands, size_t operands_count,
    struct ab_buffer *out, void *context);

/* Rows counted in an encoded row (the first primitive). AB_CORRUPT. */
AB_MUST_USE ab_err ab_state_row_rows(struct ab_bytes row, uint64_t *rows_count);

/* AB_OK when the bytes are a well-formed, canonical row. */
AB_MUST_USE ab_err ab_state_row_validate(struct ab_bytes row);

/* A person's view of a row, one line: "rows=12 sum=…". For evidence in reports. */
void ab_state_row_print(struct ab_bytes row, struct ab_buffer *out);

/* The digest of a set of groups: order does not matter. Zeroed memory is the digest of nothing. */
struct ab_digest {
    struct ab_hash128 sum; /* mod 2^128 of XXH3-128(AB_HASH_DIGEST, key without chunk, then row) */
    uint64_t groups_count;
    uint64_t rows_count;
};

/* Adds one group's (key, row). AB_CORRUPT. */
AB_MUST_USE ab_err ab_digest_add(struct ab_digest *digest, struct ab_bytes key, struct ab_bytes row);

/* Adds another digest of disjoint groups. */
void ab_digest_merge(struct ab_digest *into, const struct ab_digest *from);

#endif
