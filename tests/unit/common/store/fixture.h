/* fixture: directories, a small monoid (sums of 64-bit numbers), and operand files made of it. */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_STORE_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_COMMON_STORE_FIXTURE_H

#include "common/store/partition_state.h"

#include "tests/support/test.h"

/* Adds 8-byte numbers; AB_CORRUPT for any other operand. */
ab_err fixture_merge(struct ab_bytes existing, const struct ab_bytes *operands, size_t operands_count,
    struct ab_buffer *out, void *context);

/* Opens with the merge above and a cache (may be NULL). */
ab_err fixture_try_open(const char *directory, struct ab_store_cache *cache, struct ab_partition_state **state);
struct ab_partition_state *fixture_open(const char *directory, struct ab_store_cache *cache);

/* Stages and ingests one file into a span: key "\0offset" is put to `offset`, and every key k in [first, first + count)
 * gets an operand k + offset. Returns what ingest returned. */
ab_err fixture_flush(struct ab_partition_state *state, uint64_t span, uint64_t offset, uint64_t first, uint64_t count);

/* The number under a key, failing the test unless it is there; and the stored offset, 0 when there is none. */
uint64_t fixture_number(struct ab_partition_state *state, uint64_t span, uint64_t key);
uint64_t fixture_offset(struct ab_partition_state *state, uint64_t span);

/* Writes the 9 bytes of a key. */
struct ab_bytes fixture_key(uint64_t key, uint8_t bytes[9]);

#endif
