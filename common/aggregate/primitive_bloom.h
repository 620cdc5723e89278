/* primitive_bloom: which values were seen: a filter that never denies one that was.
 *
 * Bloom 1970, with the AB_BLOOM_PROBES places of a value taken from the two halves of its hash (Kirsch and Mitzenmacher
 * 2006, "Less hashing, same performance"). The filter has 2^b bits, the least power of two of at least 10 bits a value
 * expected, so up to that many values at most 0.9 % of those not seen are taken for seen. Few values, up to 2^b / 128,
 * are kept as their hashes instead: exact but for equal hashes, and small.
 *
 * Filters merge by OR, and only those of equal b: it is the head of the payload. Whether hashes or bits are kept
 * depends on the number of values and b alone.
 *
 * Payload: empty = no value; else u8 b (AB_BLOOM_BITS_MIN .. AB_BLOOM_BITS_MAX), u8 form, then
 *   form 1   1 .. 2^b / 128 rising u64 hashes (those of DISTINCT)
 *   form 2   2^b bits, least significant first, not all 0
 *
 * Threads and memory: as primitive.h; at most 2 MiB a state.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_BLOOM_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_BLOOM_H

#include "common/aggregate/primitive.h"

#define AB_BLOOM_PROBES 7u
#define AB_BLOOM_BITS_MIN 10u
#define AB_BLOOM_BITS_MAX 24u
/* Values that may be expected. */
#define AB_BLOOM_EXPECTED_MAX 1000000u

/* Whether a value may have been seen; false is certain. `hash` as ab_primitive_distinct_hashes gives it. */
bool ab_primitive_bloom_has(const void *state, uint64_t hash);

/* Whether no value was added. */
bool ab_primitive_bloom_is_empty(const void *state);

/* Share of values not seen that are taken for seen: (bits set / bits)^probes; 0 while hashes are kept. */
double ab_primitive_bloom_error(const void *state);

#endif
