/* aside: what a log no longer holds and keeps beside itself.
 *
 *   <offset>.seg.torn          the torn tail that opening cut off a segment (the newest one of each)
 *   <offset>.seg.cut-<serial>  records from <offset> on that a truncation removed; of the last AB_ASIDE_CUTS_KEPT ones
 *   <offset>.seg.bad-<serial>  bytes from the place on where record <offset> was corrupt, or absent; never removed here
 *
 * Offset is 20 decimal digits, serial six or more. The content is what stood in the segment. Internal to common/log.
 */
#ifndef ANABRANCH_COMMON_LOG_ASIDE_H
#define ANABRANCH_COMMON_LOG_ASIDE_H

#include "common/base/buffer.h"

enum { AB_ASIDE_CUTS_KEPT = 4 };

enum ab_aside_kind { AB_ASIDE_CUT, AB_ASIDE_BAD };

/* Path of what a repair keeps of a segment's torn tail; freed with ab_delete. */
char *ab_aside_torn_path(const char *directory, uint64_t first_offset);

/* Path of what is set aside from `offset` on; freed with ab_delete. */
char *ab_aside_path(const char *directory, enum ab_aside_kind kind, uint64_t offset, uint64_t serial);

/* The serial after the highest that a directory has of this kind. */
AB_MUST_USE ab_err ab_aside_next_serial(
    const char *directory, enum ab_aside_kind kind, uint64_t *serial, struct ab_error *error);

/* Copies a file's bytes durably to `path`; AB_NO_SPACE, AB_IO. */
AB_MUST_USE ab_err ab_aside_copy(const char *path, int fd, uint64_t position, uint64_t bytes, struct ab_error *error);

/* Removes a segment and what was torn off it; not synced. */
AB_MUST_USE ab_err ab_aside_drop_segment(const char *directory, uint64_t first_offset, struct ab_error *error);

/* Removes what older truncations set aside. */
AB_MUST_USE ab_err ab_aside_prune(const char *directory, struct ab_error *error);

#endif
