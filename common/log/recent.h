/* recent: the groups that a log wrote last, kept in memory as they are on disk: followers fetch them and who copied
 * them applies them a moment later, and need not read and verify them again.
 *
 * A group is the staging buffer of a write: it is taken over, not copied, and the oldest one becomes the next staging
 * buffer. Where records begin, and their chain hashes, are noted while they are staged.
 *
 * Threads: the log's writer. Memory: its maximum, by capacity, and 24 bytes a record, charged to the buffers' budget;
 * given up when staging has no room. Internal to common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_RECENT_H
#define ANABRANCH_COMMON_LOG_RECENT_H

#include "common/log/record.h"

#include "common/base/buffer.h"

#define AB_RECENT_GROUPS_MAX 64u

/* Where a record begins in its group, and its chain hash. */
struct ab_recent_mark {
    size_t at;
    struct ab_hash128 chain;
};

/* Marks of one group; zeroed memory has none. */
struct ab_recent_marks {
    struct ab_recent_mark *items; /* owned */
    size_t count;
    size_t capacity;
};

struct ab_recent_group {
    uint64_t first_offset;
    struct ab_buffer bytes; /* owned */
    struct ab_recent_marks marks;
};

/* Zeroed memory keeps nothing. */
struct ab_recent {
    size_t bytes_max; /* 0 = keeps nothing */
    size_t bytes;     /* capacity of the groups */
    size_t first;     /* the oldest group; the others follow, around the end */
    size_t count;
    struct ab_recent_group groups[AB_RECENT_GROUPS_MAX];
    struct ab_recent_marks staged; /* of the group that is being staged */
};

/* Forgets all groups and frees them; what is staged stays. */
void ab_recent_clear(struct ab_recent *recent);

/* Frees everything; keeps nothing from then on. */
void ab_recent_fini(struct ab_recent *recent);

/* A record is staged at this byte of the staging buffer. */
void ab_recent_note(struct ab_recent *recent, size_t at, struct ab_hash128 chain);

/* Forgets what was noted past the first `count` staged records. */
void ab_recent_forget_staged(struct ab_recent *recent, size_t count);

/* The staged group is written: takes the buffer over and leaves another one, empty. */
void ab_recent_take(struct ab_recent *recent, uint64_t first_offset, struct ab_buffer *staging);

/* The group that holds a record; NULL when it is not there (any more). */
const struct ab_recent_group *ab_recent_find(const struct ab_recent *recent, uint64_t offset);

#endif
