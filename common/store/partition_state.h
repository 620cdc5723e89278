/* partition_state: one RocksDB per partition for the speed layer: a column family per span and one for tables.
 *
 * Nothing is written through the memtable: every flush is one sorted file (operand_file.h) that holds its share's
 * applied offset and is ingested whole, so state and offset are durable together or not at all (DESIGN 4.5). Values
 * under view keys are merge operands; the merge operator calls the function given at opening. A span's family is
 * dropped whole.
 *
 * A disk that changes bits is noticed when they are read. Nothing here can say what they were, so the state is
 * condemned: a file in its directory says so, and it does not open any more. Its owner removes it and replays the log.
 *
 * Threads: any thread may ingest, read and take snapshots; span create and drop exclude each other inside.
 * Memory: one block cache shared by all partitions of a process (ab_store_cache).
 */
#ifndef ANABRANCH_COMMON_STORE_PARTITION_STATE_H
#define ANABRANCH_COMMON_STORE_PARTITION_STATE_H

#include "common/base/buffer.h"

/* Merges `existing` (data NULL = none) and operands, oldest first, into `out`. AB_CORRUPT makes the read fail. Any
 * thread. */
typedef ab_err (*ab_store_merge_fn)(struct ab_bytes existing, const struct ab_bytes *operands, size_t operands_count,
    struct ab_buffer *out, void *context);

struct ab_store_cache; /* block cache and background threads shared by the stores of a process */
struct ab_store_cache *ab_store_cache_create(size_t bytes, int background_threads);
void ab_store_cache_destroy(struct ab_store_cache *cache);

struct ab_partition_state;

struct ab_partition_state_options {
    struct ab_store_cache *cache; /* borrowed */
    ab_store_merge_fn merge;
    void *merge_context;
};

/* Opens or creates the state in `directory`; removes staged files that a crash left. AB_CORRUPT when RocksDB cannot
 * open it, or it is condemned: the caller then removes the directory and replays the log. */
AB_MUST_USE ab_err ab_partition_state_open(const char *directory, const struct ab_partition_state_options *options,
    struct ab_partition_state **state, struct ab_error *error);
void ab_partition_state_close(struct ab_partition_state *state);

/* The family of tables is named by span 0; spans count from 1. */
#define AB_STATE_TABLES 0u

/* Makes the family of a span if it is not there. */
AB_MUST_USE ab_err ab_partition_state_span_create(
    struct ab_partition_state *state, uint64_t span, struct ab_error *error);

/* Drops a span's family; absent is fine. Readers that hold a snapshot keep reading it. */
AB_MUST_USE ab_err ab_partition_state_span_drop(
    struct ab_partition_state *state, uint64_t span, struct ab_error *error);

/* Drops everything, the tables first, and begins with no span and empty tables. Readers that hold a snapshot keep
 * reading it. A crash in between leaves some spans. Nobody may ingest meanwhile. */
AB_MUST_USE ab_err ab_partition_state_clear(struct ab_partition_state *state, struct ab_error *error);

/* The spans that exist, rising; *spans is freed with ab_delete. */
void ab_partition_state_spans(struct ab_partition_state *state, uint64_t **spans, size_t *count);

/* A path for a new operand file inside the state's staging folder; freed with ab_delete. */
char *ab_partition_state_stage(struct ab_partition_state *state);

/* Ingests a finished operand file into a span's family (AB_NOT_FOUND when dropped), durable when it returns. The file
 * is moved. */
AB_MUST_USE ab_err ab_partition_state_ingest(
    struct ab_partition_state *state, uint64_t span, const char *path, struct ab_error *error);

/* Bounds of level-0 files: how many the span's family holds now; the caller waits above its own bound. */
uint64_t ab_partition_state_files(struct ab_partition_state *state, uint64_t span);

/* Merged value of a key into `out`; AB_NOT_FOUND. */
AB_MUST_USE ab_err ab_partition_state_get(struct ab_partition_state *state, uint64_t span, struct ab_bytes key,
    struct ab_buffer *out, struct ab_error *error);

/* True once something that was read, or compacted, was not what had been written: what AB_CORRUPT of a read or an
 * ingestion then means. A merge that fails condemns nothing. Any thread. */
bool ab_partition_state_is_condemned(const struct ab_partition_state *state);

/* Non-empty when RocksDB reports a background error. */
bool ab_partition_state_is_healthy(struct ab_partition_state *state, struct ab_error *error);

/* ---- iterating a moment ---- */

struct ab_state_iterator; /* sees the family as it was when opened, whatever is ingested or dropped later */

/* Iterates keys in [from, until) (until empty = to the end); AB_NOT_FOUND when the span does not exist. */
AB_MUST_USE ab_err ab_state_iterator_open(struct ab_partition_state *state, uint64_t span, struct ab_bytes from,
    struct ab_bytes until, struct ab_state_iterator **iterator, struct ab_error *error);
void ab_state_iterator_close(struct ab_state_iterator *iterator);

/* The next key and merged value, borrowed until the next call; AB_END; AB_CORRUPT. */
AB_MUST_USE ab_err ab_state_iterator_next(
    struct ab_state_iterator *iterator, struct ab_bytes *key, struct ab_bytes *value, struct ab_error *error);

/* Jumps forward to the first key >= `key`. */
void ab_state_iterator_seek(struct ab_state_iterator *iterator, struct ab_bytes key);

#endif
