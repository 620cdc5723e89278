/* dedup: what a partition remembers of producers and sources, so that a row counts once however often it is sent.
 *
 * Per producer: the last sequence and the outcome of the five most recent blocks, so that a repeat gets the answer of
 * then, the same sequence with other bytes is refused, and so is a gap (REPLICATION H24-H33). Per (stream, source): the
 * mark up to which its rows are in this partition. Both follow from the log alone and change when a record is appended;
 * until it is committed a journal can take the change back. Producers live in numbered slots, so that the stored table
 * never outgrows its bound.
 *
 * Invariants: I2. An evicted producer that goes on is told so (AB_SEQUENCE), never silently accepted.
 * Threads: the partition's worker. Memory: producers_max slots at creation; sources charged to the budget.
 */
#ifndef ANABRANCH_SPEED_DEDUP_H
#define ANABRANCH_SPEED_DEDUP_H

#include "speed/table_puts.h"
#include "common/base/hash.h"
#include "common/base/memory.h"

struct ab_dedup;

/* What became of a block. */
struct ab_outcome {
    uint64_t offset;
    uint32_t accepted;
    uint32_t rejected;
    uint32_t duplicates;
};

/* Up to where a source's rows are in this partition. */
struct ab_source_state {
    uint64_t last_position;
    uint64_t byte_offset;
    struct ab_hash128 prefix_hash;
};

/* Empty tables of at most so many producers and sources; sources are charged to `memory` (may be NULL). */
struct ab_dedup *ab_dedup_create(uint32_t producers_max, uint32_t sources_max, struct ab_memory *memory);
void ab_dedup_destroy(struct ab_dedup *dedup);

/* Judges a block's sequence. AB_OK: it is the next one. AB_EXISTS: appended before, `outcome` says with what result.
 * AB_MISMATCH: the sequence was used with other bytes. AB_SEQUENCE: a gap, too old, or a producer that is not known
 * (any more). */
AB_MUST_USE ab_err ab_dedup_check(const struct ab_dedup *dedup, uint64_t producer_id, uint64_t sequence,
    struct ab_hash128 hash, struct ab_outcome *outcome, struct ab_error *error);

/* Notes that a block was appended. A sequence at or below the last is ignored, so replay may overlap. */
void ab_dedup_note(struct ab_dedup *dedup, uint64_t producer_id, uint64_t sequence, struct ab_hash128 hash,
    const struct ab_outcome *outcome);

/* The mark of a source; false when there is none. */
bool ab_dedup_source(
    const struct ab_dedup *dedup, struct ab_bytes stream, struct ab_bytes source, struct ab_source_state *state);

/* True when one more new source would pass the bound. */
bool ab_dedup_is_full(const struct ab_dedup *dedup);

/* The same as of what is committed: a mark that stands on a record that may still be cut off is not one yet. */
bool ab_dedup_source_committed(
    const struct ab_dedup *dedup, struct ab_bytes stream, struct ab_bytes source, struct ab_source_state *state);

/* Moves a mark forward, by the record at `offset`; one that is not ahead of the last is ignored. */
void ab_dedup_source_note(struct ab_dedup *dedup, struct ab_bytes stream, struct ab_bytes source, uint64_t offset,
    const struct ab_source_state *state);

/* What was noted of records below `offset` stays. */
void ab_dedup_commit(struct ab_dedup *dedup, uint64_t offset);

/* What was noted of records from `offset` on, and is not committed, never happened. */
void ab_dedup_rollback(struct ab_dedup *dedup, uint64_t offset);

/* Puts what changed since the last call (or everything) as table entries, as of what is committed. */
void ab_dedup_put(struct ab_dedup *dedup, bool is_everything, struct ab_table_puts *puts);

/* Counts everything as changed: what was loaded is not in the store that the next put goes to. */
void ab_dedup_touch(struct ab_dedup *dedup);

/* Takes in a stored entry, key first byte 'p' or 's'. AB_CORRUPT. */
AB_MUST_USE ab_err ab_dedup_load(struct ab_dedup *dedup, struct ab_bytes key, struct ab_bytes value);

/* Producers and sources known. */
size_t ab_dedup_producers(const struct ab_dedup *dedup);
size_t ab_dedup_sources(const struct ab_dedup *dedup);

#endif
