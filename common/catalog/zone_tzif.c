/* Compiled time zones: TZif (RFC 8536).
 *
 *   0   "TZif"  4 version: NUL, '2', '3', '4'  5 reserved, 15 bytes
 *   20  counts, u32 big-endian: isut, isstd, leap, time, type, char
 *   44  times (4 or 8 bytes each), type of each time (1 byte), types {i32 offset, u8 is summer, u8 name}, names,
 *       leap seconds, isstd, isut
 *   from version 2 on the same again with times of 8 bytes, then "\n" rule "\n" */
#include "common/catalog/ast.h"
#include "common/catalog/catalog.h"
#include "common/catalog/zone.h"

#include "common/base/file.h"

#include <stdio.h>

#define ZONEINFO "/usr/share/zoneinfo"
#define FILE_BYTES_MAX (1u << 18)
#define HEADER_BYTES 44

struct header {
    char version;
    uint32_t isut, isstd, leap, times, types, chars;
};

static uint32_t u32_take(struct ab_reader *reader)
{
    return __builtin_bswap32(ab_reader_u32(reader));
}

static bool header_take(struct ab_reader *reader, struct header *header)
{
    struct ab_bytes magic = ab_reader_bytes(reader, 4);
    header->version = (char)ab_reader_u8(reader);
    (void)ab_reader_bytes(reader, 15);
    header->isut = u32_take(reader);
    header->isstd = u32_take(reader);
    header->leap = u32_take(reader);
    header->times = u32_take(reader);
    header->types = u32_take(reader);
    header->chars = u32_take(reader);
    bool is_version = header->version == '\0' || (header->version >= '2' && header->version <= '4');
    return !reader->has_failed && memcmp(magic.data, "TZif", 4) == 0 && is_version;
}

static uint64_t body_bytes(const struct header *header, uint64_t time_bytes)
{
    return header->times * (time_bytes + 1) + header->types * UINT64_C(6) + header->chars +
           header->leap * (time_bytes + 4) + header->isstd + header->isut;
}

static int64_t time_take(struct ab_reader *reader, uint32_t time_bytes)
{
    return time_bytes == 8 ? (int64_t)__builtin_bswap64(ab_reader_u64(reader)) : (int32_t)u32_take(reader);
}

/* Times, types and offsets of a body; changes of nothing are left out. */
static ab_err body_read(struct ab_reader *reader, const struct header *header, uint32_t time_bytes,
    struct ab_arena *arena, struct ab_zone *zone)
{
    struct ab_reader times = *reader;
    struct ab_reader numbers = *reader;
    struct ab_reader types = *reader;
    (void)ab_reader_bytes(&numbers, (size_t)header->times * time_bytes);
    (void)ab_reader_bytes(&types, (size_t)header->times * (time_bytes + 1));
    struct ab_bytes type = ab_reader_bytes(&types, (size_t)header->types * 6);
    (void)ab_reader_bytes(reader, body_bytes(header, time_bytes));
    if (reader->has_failed || header->types == 0 || header->times > AB_ZONE_CHANGES_MAX) {
        return AB_CORRUPT;
    }
    int32_t offsets[256];
    for (uint32_t i = 0; i < header->types && i < 256; i++) {
        struct ab_reader one = ab_reader_of(ab_bytes_of(type.data + (size_t)i * 6, 6));
        offsets[i] = (int32_t)u32_take(&one);
        if (offsets[i] <= -AB_ZONE_OFFSET_S_MAX || offsets[i] >= AB_ZONE_OFFSET_S_MAX) {
            return AB_CORRUPT;
        }
    }
    zone->first_s = offsets[0]; /* RFC 8536 section 3.2: before the first time the first type holds */
    zone->times = ab_parse_alloc(arena, header->times * sizeof(*zone->times));
    zone->offsets_s = ab_parse_alloc(arena, header->times * sizeof(*zone->offsets_s));
    int64_t before = INT64_MIN;
    int32_t offset = zone->first_s;
    for (uint32_t i = 0; i < header->times; i++) {
        int64_t time = time_take(&times, time_bytes);
        uint8_t number = ab_reader_u8(&numbers);
        if (number >= header->types || (i > 0 && time <= before)) {
            return AB_CORRUPT;
        }
        before = time;
        if (offsets[number] != offset) {
            offset = offsets[number];
            zone->times[zone->changes_count] = time;
            zone->offsets_s[zone->changes_count++] = offset;
        }
    }
    return AB_OK;
}

static ab_err footer_read(struct ab_reader *reader, struct ab_zone *zone)
{
    size_t bytes = ab_reader_left(reader);
    struct ab_bytes footer = ab_reader_bytes(reader, bytes);
    if (bytes < 2 || footer.data[0] != '\n' || footer.data[bytes - 1] != '\n' || bytes - 2 > AB_ZONE_FOOTER_BYTES_MAX) {
        return AB_CORRUPT;
    }
    footer = ab_bytes_of(footer.data + 1, bytes - 2);
    if (footer.bytes > 0 && !ab_zone_rule_parse(footer, &zone->rule)) {
        return AB_CORRUPT;
    }
    memcpy(zone->footer, footer.data, footer.bytes);
    return AB_OK;
}

/* Leaves out the last changes that the rule gives anyway; the first stays, as what the rule goes on from. */
static void changes_trim(struct ab_zone *zone)
{
    while (zone->rule.is_set && zone->changes_count > 1) {
        uint32_t last = zone->changes_count - 1;
        struct ab_zone_stretch after = ab_zone_rule_stretch(&zone->rule, zone->times[last]);
        struct ab_zone_stretch before = ab_zone_rule_stretch(&zone->rule, zone->times[last] - 1);
        bool is_given = after.from == zone->times[last] && after.offset_s == zone->offsets_s[last] &&
                        before.offset_s == zone->offsets_s[last - 1] && before.from <= zone->times[last - 1];
        if (!is_given) {
            return;
        }
        zone->changes_count--;
    }
}

static ab_err tzif_read(struct ab_bytes file, struct ab_arena *arena, struct ab_zone *zone)
{
    struct ab_reader reader = ab_reader_of(file);
    struct header header;
    if (file.bytes < HEADER_BYTES || !header_take(&reader, &header)) {
        return AB_CORRUPT;
    }
    uint32_t time_bytes = header.version == '\0' ? 4 : 8;
    if (time_bytes == 8) {
        (void)ab_reader_bytes(&reader, body_bytes(&header, 4));
        if (reader.has_failed || !header_take(&reader, &header)) {
            return AB_CORRUPT;
        }
    }
    if (header.leap > 0) {
        return AB_UNSUPPORTED;
    }
    AB_TRY(body_read(&reader, &header, time_bytes, arena, zone));
    if (time_bytes == 8) {
        AB_TRY(footer_read(&reader, zone));
    }
    changes_trim(zone);
    return AB_OK;
}

ab_err ab_zone_read_tzif(
    struct ab_bytes name, struct ab_bytes file, struct ab_arena *arena, struct ab_zone *zone, char why[200])
{
    struct ab_zone made = {0};
    ab_err err = tzif_read(file, arena, &made);
    if (err != AB_OK) {
        (void)snprintf(why, 200, "the file of time zone %.*s %s", name.bytes > 60 ? 60 : (int)name.bytes, name.data,
            err == AB_UNSUPPORTED ? "counts leap seconds, which event times do not" : "is damaged");
        return err;
    }
    char *copy = ab_parse_alloc(arena, name.bytes + 1);
    memcpy(copy, name.data, name.bytes);
    made.name = copy;
    *zone = made;
    return AB_OK;
}

/* The nearest name in the same region, "" when there is none. */
static void nearest_find(const char *directory, struct ab_bytes name, char nearest[AB_ZONE_NAME_BYTES_MAX + 40])
{
    char region[AB_ZONE_NAME_BYTES_MAX + 1] = "";
    char path[512];
    size_t split = name.bytes;
    while (split > 0 && name.data[split - 1] != '/') {
        split--;
    }
    memcpy(region, name.data, split);
    (void)snprintf(path, sizeof(path), "%s/%s", directory, region);
    char **names = NULL;
    size_t count = 0;
    nearest[0] = '\0';
    if (ab_file_list(path, &names, &count, NULL) != AB_OK) {
        return;
    }
    const char *found =
        ab_catalog_nearest(ab_bytes_of(name.data + split, name.bytes - split), (const char *const *)names, count);
    if (found != NULL) {
        (void)snprintf(nearest, AB_ZONE_NAME_BYTES_MAX + 40, "; did you mean %s%.60s?", region, found);
    }
    ab_file_names_free(names, count);
}

ab_err ab_zone_read_system(
    const char *directory, struct ab_bytes name, struct ab_arena *arena, struct ab_zone *zone, char why[200])
{
    char path[512];
    struct ab_buffer file;
    if (!ab_zone_is_name(name)) {
        (void)snprintf(why, 200, "\"%.*s\" cannot be the name of a time zone, expected one such as Europe/Berlin",
            name.bytes > 60 ? 60 : (int)name.bytes, name.data);
        return AB_NOT_FOUND;
    }
    directory = directory == NULL ? ZONEINFO : directory;
    (void)snprintf(path, sizeof(path), "%s/%.*s", directory, (int)name.bytes, name.data);
    ab_buffer_init(&file, NULL, FILE_BYTES_MAX);
    ab_err err = ab_file_read_all(path, &file, NULL);
    if (err == AB_OK) {
        err = ab_zone_read_tzif(name, ab_buffer_view(&file), arena, zone, why);
    } else {
        char nearest[AB_ZONE_NAME_BYTES_MAX + 40];
        nearest_find(directory, name, nearest);
        (void)snprintf(
            why, 200, "the time zone \"%.*s\" is unknown on this machine%s", (int)name.bytes, name.data, nearest);
        err = AB_NOT_FOUND;
    }
    ab_buffer_fini(&file);
    return err;
}
