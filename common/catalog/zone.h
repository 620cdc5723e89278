/* zone: the rules of a named time zone, as they were when a catalog pinned them.
 *
 * Rules are text, so that a catalog holds them whole and every node, and a rebuild years later, reads the same:
 *
 *   "-17762 -2717650800=-18000 -1633280400=-14400 ... | EST5EDT,M3.2.0,M11.1.0"
 *
 * the offset from UTC in seconds before the first change, the changes (second since the epoch = offset from then on,
 * rising), and the POSIX rule that holds after the last one (RFC 8536 section 3.3; may be empty: the last offset
 * stays). A change that alters no offset is left out, and so is one that the rule gives anyway: other files of the same
 * rules give the same text.
 *
 * Threads: read-only once decoded. Memory: the arena given, at most AB_ZONE_CHANGES_MAX changes.
 */
#ifndef ANABRANCH_COMMON_CATALOG_ZONE_H
#define ANABRANCH_COMMON_CATALOG_ZONE_H

#include "common/base/buffer.h"
#include "common/base/memory.h"

#define AB_ZONE_NAME_BYTES_MAX 63
#define AB_ZONE_CHANGES_MAX 2000u        /* the most eventful zones have about 300 */
#define AB_ZONE_FOOTER_BYTES_MAX 120     /* a POSIX rule with two quoted names */
#define AB_ZONE_OFFSET_S_MAX (26 * 3600) /* RFC 8536 section 3.2: between -25 and 26 hours */

/* When within a year the clocks change. */
struct ab_zone_day {
    char form;      /* 'M' month.week.weekday, 'J' day without 29 February, 'N' day from 0 with it */
    int32_t month;  /* M: 1..12 */
    int32_t week;   /* M: 1..5, 5 = the last */
    int32_t day;    /* M: weekday, 0 = Sunday; J: 1..365; N: 0..365 */
    int32_t time_s; /* after local midnight; may be negative or beyond the day */
};

/* A POSIX rule. */
struct ab_zone_rule {
    bool is_set;
    bool has_summer;
    int32_t standard_s; /* offsets from UTC, east positive */
    int32_t summer_s;
    struct ab_zone_day start; /* of summer time */
    struct ab_zone_day end;
};

struct ab_zone {
    const char *name;
    int32_t first_s; /* the offset before the first change */
    uint32_t changes_count;
    int64_t *times;     /* in the arena; seconds since the epoch, rising */
    int32_t *offsets_s; /* in the arena; from that second on */
    struct ab_zone_rule rule;
    char footer[AB_ZONE_FOOTER_BYTES_MAX + 1];
};

/* A stretch of time with one offset. */
struct ab_zone_stretch {
    int64_t from;  /* second; INT64_MIN = since ever */
    int64_t until; /* second after the last; INT64_MAX = for ever */
    int32_t offset_s;
};

/* True for names that may be zones: letters, digits, '_', '+', '-' between slashes; never a path elsewhere. */
bool ab_zone_is_name(struct ab_bytes name);

/* Reads rules in their text form. AB_SYNTAX with what is wrong in `why`; nothing is trusted. */
AB_MUST_USE ab_err ab_zone_decode(
    struct ab_bytes name, struct ab_bytes text, struct ab_arena *arena, struct ab_zone *zone, char why[200]);

/* Appends the text form. */
void ab_zone_encode(const struct ab_zone *zone, struct ab_buffer *out);

/* Reads a compiled zone (TZif, RFC 8536, versions 1 to 4) and leaves out what the text form leaves out. AB_CORRUPT with
 * what is wrong in `why`; AB_UNSUPPORTED for files with leap seconds. */
AB_MUST_USE ab_err ab_zone_read_tzif(
    struct ab_bytes name, struct ab_bytes file, struct ab_arena *arena, struct ab_zone *zone, char why[200]);

/* Reads DIRECTORY/NAME (NULL = the system's /usr/share/zoneinfo). AB_NOT_FOUND with the nearest name in `why`; other
 * failures as above. Blocks: file I/O. */
AB_MUST_USE ab_err ab_zone_read_system(
    const char *directory, struct ab_bytes name, struct ab_arena *arena, struct ab_zone *zone, char why[200]);

/* Reads a POSIX rule such as CET-1CEST,M3.5.0,M10.5.0/3; false when it is not one. */
bool ab_zone_rule_parse(struct ab_bytes text, struct ab_zone_rule *rule);

/* The stretch of a rule that holds a second. */
struct ab_zone_stretch ab_zone_rule_stretch(const struct ab_zone_rule *rule, int64_t second);

/* The stretch that holds a second. */
struct ab_zone_stretch ab_zone_stretch(const struct ab_zone *zone, int64_t second);

/* The first second at which local clocks show `local` (seconds of local time since 1970-01-01 00:00) or later. */
int64_t ab_zone_instant(const struct ab_zone *zone, int64_t local);

#endif
