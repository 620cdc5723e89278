/* letters: the newest dead letters seen, whatever the order in which they are met.
 *
 * A heap with the oldest one on top: when there are too many of them, or too many bytes, the oldest goes, and nothing
 * older than one that went is taken any more, so what stays is always the newest of all. Ordered by append time, then
 * partition, offset and row.
 *
 * Threads: owner. Memory: the texts, at most AB_DEAD_LETTERS_BYTES_MAX and one more, charged to the budget.
 */
#ifndef ANABRANCH_SPEED_LETTERS_H
#define ANABRANCH_SPEED_LETTERS_H

#include "common/base/json.h"
#include "common/base/time.h"

/* Where a letter stands, and its age. */
struct ab_letter_place {
    ab_time_us time_us; /* append time */
    uint32_t partition;
    uint64_t offset;
    uint32_t row;
};

/* What a letter says; all borrowed. */
struct ab_letter {
    struct ab_letter_place place;
    struct ab_bytes stream;
    struct ab_bytes source; /* empty = none */
    bool has_line;
    int64_t line;
    struct ab_bytes reason;
    struct ab_bytes raw; /* the row's text, when it has no values */
};

struct ab_letters {
    struct ab_memory *memory;   /* borrowed */
    struct ab_held_letter *top; /* owned; heap */
    size_t count;
    size_t limit;
    size_t bytes;
    uint64_t total; /* letters there are, kept or not; the owner counts */
    bool has_gone;
    struct ab_letter_place newest_gone;
};

/* Keeps at most `limit` letters (at least 1). */
void ab_letters_init(struct ab_letters *letters, size_t limit, struct ab_memory *memory);
void ab_letters_fini(struct ab_letters *letters);

/* True when a letter of that place would be kept now. */
bool ab_letters_wants(const struct ab_letters *letters, const struct ab_letter_place *place);

/* Keeps a copy of the letter if it is new enough. `values`: the row's columns, taken in any case; NULL = it is raw
 * text. AB_FULL when the budget refuses. */
AB_MUST_USE ab_err ab_letters_add(struct ab_letters *letters, const struct ab_letter *letter, struct ab_json *values);

/* Appends {"rows":[newest first],"total":…}; afterwards only fini is legal. */
void ab_letters_write(struct ab_letters *letters, struct ab_buffer *out);

#endif
