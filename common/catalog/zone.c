#include "common/catalog/zone.h"

#include "common/catalog/ast.h"
#include "common/catalog/civil.h"

#include <stdio.h>

#define TIME_S_MAX (INT64_C(1) << 53) /* far beyond the range of event times in microseconds */

bool ab_zone_is_name(struct ab_bytes name)
{
    static const char *const places[] = {"localtime", "posixrules"}; /* a machine's own choice, no zone */
    if (name.bytes == 0 || name.bytes > AB_ZONE_NAME_BYTES_MAX) {
        return false;
    }
    bool is_start = true;
    for (size_t i = 0; i < name.bytes; i++) {
        uint8_t c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_other = (c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-';
        if (!is_letter && (is_start || (!is_other && c != '/'))) {
            return false;
        }
        is_start = c == '/';
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(places[i]))) {
            return false;
        }
    }
    return !is_start;
}

/* ---- text ---- */

static void blanks_skip(struct ab_bytes *text)
{
    while (text->bytes > 0 && (text->data[0] == ' ' || text->data[0] == '\n')) {
        *text = ab_bytes_of(text->data + 1, text->bytes - 1);
    }
}

static bool number_take(struct ab_bytes *text, int64_t limit, int64_t *number)
{
    size_t at = text->bytes > 0 && text->data[0] == '-' ? 1 : 0;
    size_t first = at;
    int64_t value = 0;
    for (; at < text->bytes && text->data[at] >= '0' && text->data[at] <= '9' && value <= limit; at++) {
        value = value * 10 + (text->data[at] - '0');
    }
    if (at == first || value > limit) {
        return false;
    }
    *number = first == 1 ? -value : value;
    *text = ab_bytes_of(text->data + at, text->bytes - at);
    return true;
}

static ab_err changes_take(struct ab_bytes *text, struct ab_arena *arena, struct ab_zone *zone, char why[200])
{
    size_t most = 0;
    for (size_t i = 0; i < text->bytes; i++) {
        most += text->data[i] == '=';
    }
    if (most > AB_ZONE_CHANGES_MAX) {
        (void)snprintf(why, 200, "more than %u changes", AB_ZONE_CHANGES_MAX);
        return AB_SYNTAX;
    }
    zone->times = ab_parse_alloc(arena, most * sizeof(*zone->times));
    zone->offsets_s = ab_parse_alloc(arena, most * sizeof(*zone->offsets_s));
    for (blanks_skip(text); text->bytes > 0 && text->data[0] != '|'; blanks_skip(text)) {
        int64_t time = 0;
        int64_t offset = 0;
        bool is_right = number_take(text, TIME_S_MAX, &time) && text->bytes > 0 && text->data[0] == '=';
        if (is_right) {
            *text = ab_bytes_of(text->data + 1, text->bytes - 1);
            is_right = number_take(text, AB_ZONE_OFFSET_S_MAX - 1, &offset) &&
                       (zone->changes_count == 0 || zone->times[zone->changes_count - 1] < time);
        }
        if (!is_right) {
            (void)snprintf(why, 200, "change %u is not second=offset, later than the one before and within %d hours",
                zone->changes_count + 1, AB_ZONE_OFFSET_S_MAX / 3600);
            return AB_SYNTAX;
        }
        zone->times[zone->changes_count] = time;
        zone->offsets_s[zone->changes_count++] = (int32_t)offset;
    }
    return AB_OK;
}

static ab_err name_set(struct ab_bytes name, struct ab_arena *arena, struct ab_zone *zone, char why[200])
{
    if (!ab_zone_is_name(name)) {
        (void)snprintf(why, 200, "\"%.*s\" cannot be the name of a time zone, expected one such as Europe/Berlin",
            name.bytes > 60 ? 60 : (int)name.bytes, name.data);
        return AB_SYNTAX;
    }
    char *copy = ab_parse_alloc(arena, name.bytes + 1);
    memcpy(copy, name.data, name.bytes);
    *zone = (struct ab_zone){.name = copy};
    return AB_OK;
}

ab_err ab_zone_decode(
    struct ab_bytes name, struct ab_bytes text, struct ab_arena *arena, struct ab_zone *zone, char why[200])
{
    struct ab_zone made;
    int64_t first = 0;
    AB_TRY(name_set(name, arena, &made, why));
    blanks_skip(&text);
    if (!number_take(&text, AB_ZONE_OFFSET_S_MAX - 1, &first)) {
        (void)snprintf(why, 200, "expected the offset before the first change, in seconds");
        return AB_SYNTAX;
    }
    made.first_s = (int32_t)first;
    AB_TRY(changes_take(&text, arena, &made, why));
    if (text.bytes == 0) {
        (void)snprintf(why, 200, "expected | and the rule after the last change, which may be empty");
        return AB_SYNTAX;
    }
    text = ab_bytes_of(text.data + 1, text.bytes - 1);
    blanks_skip(&text);
    if (text.bytes > AB_ZONE_FOOTER_BYTES_MAX || (text.bytes > 0 && !ab_zone_rule_parse(text, &made.rule))) {
        (void)snprintf(why, 200, "\"%.*s\" is not a rule such as CET-1CEST,M3.5.0,M10.5.0/3",
            text.bytes > 60 ? 60 : (int)text.bytes, text.data);
        return AB_SYNTAX;
    }
    if (text.bytes > 0) {
        memcpy(made.footer, text.data, text.bytes);
    }
    *zone = made;
    return AB_OK;
}

void ab_zone_encode(const struct ab_zone *zone, struct ab_buffer *out)
{
    ab_buffer_put_format(out, "%d", zone->first_s);
    for (uint32_t i = 0; i < zone->changes_count; i++) {
        ab_buffer_put_format(out, " %lld=%d", (long long)zone->times[i], zone->offsets_s[i]);
    }
    ab_buffer_put_format(out, " | %s", zone->footer);
}

/* ---- time ---- */

struct ab_zone_stretch ab_zone_stretch(const struct ab_zone *zone, int64_t second)
{
    uint32_t count = zone->changes_count;
    if (count == 0 && zone->rule.is_set) {
        return ab_zone_rule_stretch(&zone->rule, second);
    }
    uint32_t low = 0; /* changes before this one have come by then */
    for (uint32_t high = count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (zone->times[middle] <= second) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    struct ab_zone_stretch stretch = {.from = low == 0 ? INT64_MIN : zone->times[low - 1],
        .until = low == count ? INT64_MAX : zone->times[low],
        .offset_s = low == 0 ? zone->first_s : zone->offsets_s[low - 1]};
    if (low == count && count > 0 && zone->rule.is_set) {
        struct ab_zone_stretch ruled = ab_zone_rule_stretch(&zone->rule, second);
        ruled.from = ruled.from < stretch.from ? stretch.from : ruled.from;
        return ruled;
    }
    return stretch;
}

int64_t ab_zone_instant(const struct ab_zone *zone, int64_t local)
{
    int64_t second = local - AB_ZONE_OFFSET_S_MAX; /* no clock shows it earlier */
    for (;;) {
        struct ab_zone_stretch stretch = ab_zone_stretch(zone, second);
        int64_t shown = local - stretch.offset_s;
        shown = shown < stretch.from ? stretch.from : shown;
        if (shown < stretch.until) {
            return shown;
        }
        second = stretch.until;
    }
}
