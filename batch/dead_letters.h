/* dead_letters: the rejected rows of blocks as rows of a Parquet file (columns: common/history/layout.h).
 *
 * Threads: owner.
 */
#ifndef ANABRANCH_BATCH_DEAD_LETTERS_H
#define ANABRANCH_BATCH_DEAD_LETTERS_H

#include "common/block/block.h"
#include "common/history/parquet.h"
#include "common/log/record.h"

struct ab_dead_letters;

/* Starts the file at `path`. */
AB_MUST_USE ab_err ab_dead_letters_create(
    const char *path, struct ab_memory *memory, struct ab_dead_letters **letters, struct ab_error *error);

/* Adds the rows that the record's verdict rejected. AB_CORRUPT, AB_FULL, AB_IO, AB_NO_SPACE. */
AB_MUST_USE ab_err ab_dead_letters_add(struct ab_dead_letters *letters, const struct ab_record *record,
    const struct ab_block *block, struct ab_error *error);

/* Rows so far. */
uint64_t ab_dead_letters_rows(const struct ab_dead_letters *letters);

/* Completes the file and frees; abandon gives up. NULL is legal for abandon. */
AB_MUST_USE ab_err ab_dead_letters_finish(
    struct ab_dead_letters *letters, const struct ab_parquet_note *notes, size_t notes_count, struct ab_error *error);
void ab_dead_letters_abandon(struct ab_dead_letters *letters);

#endif
