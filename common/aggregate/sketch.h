/* sketch: small things that the sketches share: sums that stay at their greatest value, canonical varints, numbers of
 * columns, hashes of rows, and sets of hashes; for this folder alone.
 *
 * Counts saturate instead of wrapping, because min(a + b, 2^64 - 1) is commutative and associative too and never turns
 * something that is there into nothing.
 *
 * A row's hash is XXH3-64 (AB_HASH_ROW) of partition, offset and row ordinal: a random number that belongs to the row
 * itself, so that samples chosen by it do not depend on who reads the row, when, or in which order (I5).
 *
 * Threads and memory: as primitive.h.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_SKETCH_H
#define ANABRANCH_COMMON_AGGREGATE_SKETCH_H

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive.h"

/* a + b, or the greatest number. */
static inline uint64_t ab_sketch_sum(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* Signed numbers as unsigned ones, small for small magnitudes. */
static inline uint64_t ab_sketch_zigzag(int64_t number)
{
    return (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
}
static inline int64_t ab_sketch_unzigzag(uint64_t word)
{
    return (int64_t)(word >> 1 ^ (0 - (word & 1)));
}

/* Takes a varint; any but the shortest form fails the reader. */
uint64_t ab_sketch_varint(struct ab_reader *reader);

/* The value of a row that is not NULL as a DOUBLE: of DECIMAL its units. */
double ab_sketch_number(const struct ab_column *column, uint32_t row);

/* The hash of a row, from who it is. */
uint64_t ab_sketch_row_hash(const struct ab_primitive_identity *identity, uint32_t row);

/* The hash of a value as ab_primitive_distinct_hashes gives it; `key` is room to write in. */
uint64_t ab_sketch_cell_hash(uint8_t type_kind, const union ab_cell *cell, struct ab_buffer *key);

/* The same of a value, which is not NULL. */
uint64_t ab_sketch_value_hash(const struct ab_value *value, struct ab_buffer *key);

/* Rising 64-bit numbers; a heap sort: no recursion, no bad case. */
void ab_sketch_sort(uint64_t *numbers, size_t count);

/* A set of hashes, none of them 0. Zeroed memory is the empty set. */
struct ab_hash_set {
    uint64_t *hashes; /* owned; open addressing, 0 = free place */
    uint32_t count;
    uint32_t capacity; /* a power of two, or 0 */
};

/* Adds a hash that is not 0; true when it was not there. Charged past the limit. */
bool ab_hash_set_add(struct ab_hash_set *set, uint64_t hash, struct ab_memory *memory);

/* Whether a hash is there. */
bool ab_hash_set_has(const struct ab_hash_set *set, uint64_t hash);

/* Writes the hashes, rising; room for count of them. */
void ab_hash_set_list(const struct ab_hash_set *set, uint64_t *hashes);

/* Frees; the set is then empty. */
void ab_hash_set_free(struct ab_hash_set *set, struct ab_memory *memory);

/* AB_OK when the bytes are 1 .. count_max rising hashes, little-endian, none of them 0; AB_CORRUPT. */
AB_MUST_USE ab_err ab_hash_set_validate(struct ab_bytes bytes, size_t count_max);

/* The i-th of such hashes. */
static inline uint64_t ab_hash_set_at(const uint8_t *bytes, size_t i)
{
    uint64_t hash;
    memcpy(&hash, bytes + i * sizeof(hash), sizeof(hash));
    return hash;
}

#endif
