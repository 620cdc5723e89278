/* version: an immutable directory of a batch version: RocksDB files bulk-loaded once, opened read-only for ever.
 *
 * Keys are group keys (common/aggregate/group_key.h), values encoded state rows. A directory has a manifest.json with
 * rows, bytes, content digest (sum mod 2^128 of XXH3-128(AB_HASH_CONTENT) over key length, key, value: independent of
 * file layout) and file hashes; a directory without a manifest does not exist.
 *
 * Threads: a writer belongs to one thread; a reader may be used by any.
 */
#ifndef ANABRANCH_COMMON_STORE_VERSION_H
#define ANABRANCH_COMMON_STORE_VERSION_H

#include "common/base/buffer.h"
#include "common/base/hash.h"

#define AB_VERSION_MANIFEST "manifest.json"

struct ab_store_cache;

struct ab_version_summary {
    uint64_t rows_count;
    uint64_t bytes;            /* of all files */
    struct ab_hash128 content; /* digest of keys and values */
};

struct ab_version_writer;

/* Starts a directory (must not exist, or exist without a manifest: then it is cleared). */
AB_MUST_USE ab_err ab_version_writer_create(
    const char *directory, struct ab_version_writer **writer, struct ab_error *error);

/* Adds a row; keys strictly rising (AB_USAGE). AB_NO_SPACE, AB_IO. */
AB_MUST_USE ab_err ab_version_writer_add(
    struct ab_version_writer *writer, struct ab_bytes key, struct ab_bytes value, struct ab_error *error);

/* Completes: ingests, closes, hashes, writes the manifest durably; frees the writer. An empty directory (no rows) is
 * legal. */
AB_MUST_USE ab_err ab_version_writer_finish(
    struct ab_version_writer *writer, struct ab_version_summary *summary, struct ab_error *error);

/* Gives up and removes the directory; NULL is legal. */
void ab_version_writer_abandon(struct ab_version_writer *writer);

struct ab_version_reader;

/* Opens read-only. AB_NOT_FOUND without a manifest, AB_CORRUPT when file sizes or (verify) hashes and digest differ
 * from it. */
AB_MUST_USE ab_err ab_version_reader_open(const char *directory, struct ab_store_cache *cache, bool verify,
    struct ab_version_reader **reader, struct ab_error *error);
void ab_version_reader_close(struct ab_version_reader *reader);

/* What the manifest says. */
void ab_version_reader_summary(const struct ab_version_reader *reader, struct ab_version_summary *summary);

/* Value of a key into `out`; AB_NOT_FOUND. */
AB_MUST_USE ab_err ab_version_reader_get(
    struct ab_version_reader *reader, struct ab_bytes key, struct ab_buffer *out, struct ab_error *error);

/* What the manifest of a directory says, and whether every file that it names is there with its size, without opening
 * anything else. AB_NOT_FOUND without a manifest, AB_CORRUPT, AB_UNSUPPORTED. */
AB_MUST_USE ab_err ab_version_summary_read(
    const char *directory, struct ab_version_summary *summary, struct ab_error *error);

/* Names of the files of a directory, AB_VERSION_MANIFEST as the last one: what a copy of it consists of. Freed with
 * ab_file_names_free. Errors as above. */
AB_MUST_USE ab_err ab_version_files(const char *directory, char ***names, size_t *count, struct ab_error *error);

struct ab_version_iterator;

/* Iterates keys in [from, until) (until empty = to the end). */
AB_MUST_USE ab_err ab_version_iterator_open(struct ab_version_reader *reader, struct ab_bytes from,
    struct ab_bytes until, struct ab_version_iterator **iterator, struct ab_error *error);
void ab_version_iterator_close(struct ab_version_iterator *iterator);

/* The next row, borrowed until the next call; AB_END. */
AB_MUST_USE ab_err ab_version_iterator_next(
    struct ab_version_iterator *iterator, struct ab_bytes *key, struct ab_bytes *value, struct ab_error *error);

/* Jumps forward to the first key >= `key`. */
void ab_version_iterator_seek(struct ab_version_iterator *iterator, struct ab_bytes key);

#endif
