/* rocks: what the files of this folder share about RocksDB: options, errors, and one way to iterate.
 *
 * Internal to common/store: the only header of the project that includes RocksDB's. Debian's build has its assertions
 * on: every family handle must be destroyed before its database is closed, and nothing may fork after a database was
 * opened.
 */
#ifndef ANABRANCH_COMMON_STORE_ROCKS_H
#define ANABRANCH_COMMON_STORE_ROCKS_H

#include "common/store/partition_state.h"

#include "common/base/buffer.h"

#include <rocksdb/c.h>

struct ab_store_cache {
    rocksdb_cache_t *cache; /* owned */
    rocksdb_env_t *env;     /* owned; the process's one environment, with its background threads */
};

/* Options that every database and file here has: no WAL to speak of, a quiet log, checks on. `cache` may be NULL.
 * Destroy with rocksdb_options_destroy. */
rocksdb_options_t *ab_rocks_options(const struct ab_store_cache *cache);

/* Sets block size, bloom filter (10 bits) and cache. With `cache` NULL nothing is cached. */
void ab_rocks_options_table(rocksdb_options_t *options, const struct ab_store_cache *cache, size_t block_bytes);

/* Sets universal compaction (8 files), no compression, and no slowing down of RocksDB's own. */
void ab_rocks_options_state(rocksdb_options_t *options);

/* Sets LZ4 and no compaction: for what is written once. */
void ab_rocks_options_version(rocksdb_options_t *options);

/* Turns RocksDB's message (taken, freed) into a code: AB_CORRUPT, AB_NO_SPACE, AB_BUSY (locked by somebody),
 * AB_NOT_FOUND (family dropped), AB_IO. `what` names the action. */
AB_MUST_USE ab_err ab_rocks_error(char *message, const char *what, struct ab_error *error);

/* A merge operator that runs `merge`, for whole and for partial merges alike (states are commutative monoids, so
 * operands alone merge to an operand). An error of `merge` makes the read or compaction fail, nothing else. Owned by
 * the options it is set in. */
rocksdb_mergeoperator_t *ab_rocks_merge_operator(ab_store_merge_fn merge, void *merge_context);

/* Iterates [from, until) of a family as it is at opening. Zeroed memory is a closed scan. */
struct ab_rocks_scan {
    rocksdb_readoptions_t *options; /* owned */
    rocksdb_iterator_t *iterator;   /* owned */
    char *until;                    /* owned; RocksDB borrows it */
    bool is_started;                /* the current row was handed out */
};

/* Opens on a family, or the default family when NULL. until.bytes 0 = to the end. */
void ab_rocks_scan_open(struct ab_rocks_scan *scan, rocksdb_t *database, rocksdb_column_family_handle_t *family,
    struct ab_bytes from, struct ab_bytes until);

/* Closes; idempotent. */
void ab_rocks_scan_close(struct ab_rocks_scan *scan);

/* The next row, borrowed until the next call; AB_END, AB_CORRUPT, AB_IO. */
AB_MUST_USE ab_err ab_rocks_scan_next(
    struct ab_rocks_scan *scan, struct ab_bytes *key, struct ab_bytes *value, struct ab_error *error);

/* Goes forward to the first key >= `key`; a key behind the current one changes nothing. */
void ab_rocks_scan_seek(struct ab_rocks_scan *scan, struct ab_bytes key);

#endif
