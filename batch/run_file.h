/* run_file: groups in key order on disk, between the stages of a job: spills, combined units, what other ranks sent.
 *
 *   "ABRUN1\n\0" | per group: varint key bytes + 1, key, varint row bytes, row | 0 | summary: 9 numbers of 8 bytes |
 * XXH3-128 of all before
 *
 * Numbers little-endian. A run under its name is whole as far as the program is concerned; what a power cut may have
 * left is told by the hash, which reading to the end checks.
 *
 * Threads: owner. Memory: one buffer of AB_RUN_BUFFER_BYTES per open file, and the longest group.
 */
#ifndef ANABRANCH_BATCH_RUN_FILE_H
#define ANABRANCH_BATCH_RUN_FILE_H

#include "common/aggregate/aggregation.h"
#include "common/aggregate/state_row.h"

#define AB_RUN_BUFFER_BYTES (256u << 10)
#define AB_RUN_GROUP_BYTES_MAX (64u << 20)

/* What a run says of itself. */
struct ab_run_summary {
    struct ab_digest digest;     /* of the groups in it */
    struct ab_row_counts counts; /* of the rows they were made of */
    uint64_t rows_scanned;       /* rows given to the aggregation */
    uint64_t bytes;              /* of keys and rows */
};

struct ab_run_writer;

/* Creates the file under a temporary name until finished. */
AB_MUST_USE ab_err ab_run_writer_create(const char *path, struct ab_run_writer **writer, struct ab_error *error);

/* Adds a group; keys strictly rising (asserted by the reader's side). AB_IO, AB_NO_SPACE. */
AB_MUST_USE ab_err ab_run_writer_add(
    struct ab_run_writer *writer, struct ab_bytes key, struct ab_bytes row, struct ab_error *error);

/* Completes and frees; not synced: a run is made again when it did not survive. */
AB_MUST_USE ab_err ab_run_writer_finish(
    struct ab_run_writer *writer, const struct ab_run_summary *summary, struct ab_error *error);
void ab_run_writer_abandon(struct ab_run_writer *writer);

struct ab_run_reader;

/* Opens a run. AB_NOT_FOUND, AB_CORRUPT. */
AB_MUST_USE ab_err ab_run_reader_open(const char *path, struct ab_run_reader **reader, struct ab_error *error);
void ab_run_reader_close(struct ab_run_reader *reader);

/* The next group, borrowed until the next call; AB_END after the last, when the hash was right; AB_CORRUPT with the
 * place. */
AB_MUST_USE ab_err ab_run_reader_next(
    struct ab_run_reader *reader, struct ab_bytes *key, struct ab_bytes *row, struct ab_error *error);

/* Reads a whole run to check it, and gives its summary. AB_NOT_FOUND, AB_CORRUPT. */
AB_MUST_USE ab_err ab_run_check(const char *path, struct ab_run_summary *summary, struct ab_error *error);

#endif
