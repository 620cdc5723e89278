/* sealed_letters: dead letters whose log segments have gone, read from history.
 *
 * Threads: a query thread's own. Memory: one row group at a time, charged to the given budget.
 */
#ifndef ANABRANCH_SPEED_SEALED_LETTERS_H
#define ANABRANCH_SPEED_SEALED_LETTERS_H

#include "speed/letters.h"

/* Which letters: those of a stream and partition in records of [from_offset, below_offset). */
struct ab_sealed_letters {
    const char *directory; /* the cluster's */
    const char *stream;
    uint32_t partition;
    uint64_t from_offset;
    uint64_t below_offset;
    struct ab_memory *memory;
};

/* Counts them and adds the newest, newest spans first; row groups that hold no letter wanted are only counted.
 * AB_CORRUPT, AB_FULL, AB_IO. */
AB_MUST_USE ab_err ab_sealed_letters_read(
    const struct ab_sealed_letters *sealed, struct ab_letters *letters, struct ab_error *error);

#endif
