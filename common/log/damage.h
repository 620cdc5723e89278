/* damage: takes what is corrupt out of a log's way, for a replica that has peers to fetch it from again; and begins a
 * log anew.
 *
 * From the first bad place on everything is moved aside (aside.h) and never removed. The watermark says first that
 * records are missing and up to where, so that no crash makes a damaged log look like a short one. Internal to
 * common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_DAMAGE_H
#define ANABRANCH_COMMON_LOG_DAMAGE_H

#include "common/log/watermark.h"

/* The first bad place of a log. */
struct ab_damage {
    const uint64_t *first_offsets; /* borrowed; of the log's segments, rising */
    size_t segments_count;
    size_t segment_index;
    uint64_t position;    /* in that segment */
    uint64_t next_offset; /* of the record that should be there */
    uint64_t later_until; /* behind the last valid record of that segment behind the place; 0 = there is none */
};

/* True when the bad segment goes whole: it is wrong from its first byte on, and not the only one. */
bool ab_damage_takes_segment(const struct ab_damage *damage);

/* Moves the rest aside. `watermark` is as on disk, before and after; `name` gets the name of the first file set aside,
 * empty when there was no byte to keep. AB_NO_SPACE, AB_IO: try again, nothing is lost. */
AB_MUST_USE ab_err ab_damage_set_aside(const char *directory, const struct ab_log_options *options,
    const struct ab_damage *damage, struct ab_watermark *watermark, char name[AB_LOG_ASIDE_NAME_BYTES],
    struct ab_error *error);

/* Does what a watermark that says `is_resetting` asks for: removes every segment, makes the one where the log begins,
 * and says that it is done. May be done again after a crash at any point. */
AB_MUST_USE ab_err ab_damage_finish_reset(const char *directory, const struct ab_log_options *options,
    struct ab_watermark *watermark, struct ab_error *error);

#endif
