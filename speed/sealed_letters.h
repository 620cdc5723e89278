/* sealed_letters: dead letters whose log segments have gone, read from history.
 *
 * Threads: a query thread's own. Memory: one row group at a time, charged to the given budget.
 */
#ifndef ANABRANCH_SPEED_SEALED_LETTERS_H
#define ANABRANCH_SPEED_SEALED_LETTERS_H

#include "common/base/json.h"
#include "common/base/memory.h"

/* Takes one letter: an object like those made from the log, with the row as it came under "raw". */
typedef void (*ab_sealed_letter_fn)(struct ab_json *letter, void *context);

/* Which letters: those of a stream and partition in records below an offset. */
struct ab_sealed_letters {
    const char *directory; /* the cluster's */
    const char *stream;
    uint32_t partition;
    uint64_t below_offset;
    struct ab_memory *memory;
    ab_sealed_letter_fn on_letter;
    void *context;
};

/* Hands them over in order of position. AB_CORRUPT, AB_FULL, AB_IO. */
AB_MUST_USE ab_err ab_sealed_letters_read(const struct ab_sealed_letters *letters, struct ab_error *error);

#endif
