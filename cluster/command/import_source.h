/* import_source: the bytes of a file or pipe as one window that moves, with the running hash of the prefix that was
 * read.
 *
 * Three places in the decompressed bytes: hashed <= told <= at. `told` is the end of the row appended last; the hash is
 * brought up to it only when a block is sealed or the window moves. Marks (offset, hash) that the cluster kept from an
 * earlier import are compared as the hash passes them: a file that was changed before a mark, or ends before it, is
 * refused with the place.
 *
 * Threads: owner. Memory: AB_IMPORT_WINDOW_BYTES.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_IMPORT_SOURCE_H
#define ANABRANCH_CLUSTER_COMMAND_IMPORT_SOURCE_H

#include "common/base/hash.h"
#include "common/compress/stream.h"

#define AB_IMPORT_WINDOW_BYTES (4u << 20)

/* What the cluster remembers: the prefix of `byte_offset` bytes had this hash. */
struct ab_import_mark {
    uint64_t byte_offset;
    struct ab_hash128 hash;
};

struct ab_import_source {
    int fd; /* owned; standard input stays open */
    bool is_stdin;
    uint64_t raw_bytes;                /* size of a regular file, else 0 */
    struct ab_inflate_stream *inflate; /* owned */
    uint8_t *data;                     /* owned, AB_IMPORT_WINDOW_BYTES */
    size_t begin;                      /* first byte not used up */
    size_t end;
    bool is_last; /* nothing follows the window */
    uint64_t at;  /* offset of data[begin] in the decompressed bytes */
    uint64_t told;
    uint64_t hashed;
    struct ab_hash_stream *hash;  /* owned */
    struct ab_import_mark *marks; /* owned; rising offsets */
    size_t marks_count;
    size_t next_mark;
    bool has_changed; /* a mark did not match: see ab_import_source_check */
};

/* Opens a path, or standard input for "-". AB_NOT_FOUND, AB_IO. */
AB_MUST_USE ab_err ab_import_source_open(struct ab_import_source *source, const char *path, struct ab_error *error);
void ab_import_source_close(struct ab_import_source *source);

/* Takes the marks to compare with (copied, sorted here). A regular file is read once up to the last of them and
 * compared before anything is sent; a pipe is compared as it is read. AB_MISMATCH with the place when the prefix has
 * changed or is missing. */
AB_MUST_USE ab_err ab_import_source_marks(
    struct ab_import_source *source, const struct ab_import_mark *marks, size_t count, struct ab_error *error);

/* What is in the window; borrowed until the next fill. */
struct ab_bytes ab_import_source_window(const struct ab_import_source *source);

/* Uses up the first bytes of the window. */
void ab_import_source_advance(struct ab_import_source *source, size_t bytes);

/* Reads more behind the window, moving it to the front first; sets is_last at the end. Before: everything used up has
 * been told. AB_FULL when the window is full, AB_CORRUPT for damaged compression, AB_IO. Blocks until there is
 * something. */
AB_MUST_USE ab_err ab_import_source_fill(struct ab_import_source *source, struct ab_error *error);

/* Waits up to timeout_ms for something to read; true at once for a regular file. */
bool ab_import_source_wait(const struct ab_import_source *source, int timeout_ms);

/* Says how far rows have been appended: up to the offset `told` (>= before, <= the end of the window). */
void ab_import_source_tell(struct ab_import_source *source, uint64_t told);

/* Hash of the prefix up to what was told: low, then high, little-endian. */
void ab_import_source_hash(struct ab_import_source *source, uint8_t hash[16]);

/* AB_MISMATCH with the place when a mark passed so far did not match; `line` is where reading is. */
AB_MUST_USE ab_err ab_import_source_check(const struct ab_import_source *source, uint64_t line, struct ab_error *error);

/* At the end: AB_MISMATCH when the input ended before the last mark. */
AB_MUST_USE ab_err ab_import_source_finish(const struct ab_import_source *source, struct ab_error *error);

#endif
