/* POSIX rules of time zones (RFC 8536 section 3.3, POSIX.1 section 8.3, with the wider times of version 3). */
#include "common/catalog/civil.h"
#include "common/catalog/zone.h"

#define RULE_HOURS_MAX 167
#define OFFSET_HOURS_MAX 24

/* A place in the text; a failed read leaves it at the end with has_failed set. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool has_failed;
};

static int peek(const struct cursor *cursor)
{
    return cursor->at < cursor->end ? *cursor->at : -1;
}

static bool take(struct cursor *cursor, char expected)
{
    if (peek(cursor) != expected) {
        return false;
    }
    cursor->at++;
    return true;
}

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static void require(struct cursor *cursor, bool is_right)
{
    cursor->has_failed = cursor->has_failed || !is_right;
}

static int32_t number_take(struct cursor *cursor, int32_t low, int32_t high)
{
    int32_t number = 0;
    int digits = 0;
    for (; is_digit(peek(cursor)) && digits < 4; digits++) {
        number = number * 10 + (*cursor->at++ - '0');
    }
    require(cursor, digits > 0 && number >= low && number <= high);
    return number;
}

/* A name: three letters or more, or anything alphanumeric between < and >. */
static void name_take(struct cursor *cursor)
{
    bool is_quoted = take(cursor, '<');
    int count = 0;
    while (is_letter(peek(cursor)) ||
           (is_quoted && (is_digit(peek(cursor)) || peek(cursor) == '+' || peek(cursor) == '-'))) {
        cursor->at++;
        count++;
    }
    require(cursor, count >= 3 && (!is_quoted || take(cursor, '>')));
}

/* [+-]hh[:mm[:ss]] */
static int32_t time_take(struct cursor *cursor, int32_t hours_max)
{
    bool is_negative = take(cursor, '-');
    if (!is_negative) {
        (void)take(cursor, '+');
    }
    int32_t seconds = number_take(cursor, 0, hours_max) * 3600;
    if (take(cursor, ':')) {
        seconds += number_take(cursor, 0, 59) * 60;
        if (take(cursor, ':')) {
            seconds += number_take(cursor, 0, 59);
        }
    }
    return is_negative ? -seconds : seconds;
}

static struct ab_zone_day day_take(struct cursor *cursor)
{
    struct ab_zone_day day = {.form = 'N', .time_s = 2 * 3600};
    require(cursor, take(cursor, ','));
    if (take(cursor, 'M')) {
        day.form = 'M';
        day.month = number_take(cursor, 1, 12);
        require(cursor, take(cursor, '.'));
        day.week = number_take(cursor, 1, 5);
        require(cursor, take(cursor, '.'));
        day.day = number_take(cursor, 0, 6);
    } else if (take(cursor, 'J')) {
        day.form = 'J';
        day.day = number_take(cursor, 1, 365);
    } else {
        day.day = number_take(cursor, 0, 365);
    }
    if (take(cursor, '/')) {
        day.time_s = time_take(cursor, RULE_HOURS_MAX);
    }
    return day;
}

bool ab_zone_rule_parse(struct ab_bytes text, struct ab_zone_rule *rule)
{
    struct cursor cursor = {.at = text.data, .end = text.data + text.bytes};
    struct ab_zone_rule made = {.is_set = true};
    name_take(&cursor);
    made.standard_s = -time_take(&cursor, OFFSET_HOURS_MAX); /* POSIX counts west of Greenwich */
    if (!cursor.has_failed && cursor.at < cursor.end) {
        made.has_summer = true;
        made.summer_s = made.standard_s + 3600;
        name_take(&cursor);
        if (peek(&cursor) != ',') {
            made.summer_s = -time_take(&cursor, OFFSET_HOURS_MAX);
        }
        made.start = day_take(&cursor);
        made.end = day_take(&cursor);
    }
    if (cursor.has_failed || cursor.at != cursor.end) {
        return false;
    }
    *rule = made;
    return true;
}

static int64_t day_in_year(const struct ab_zone_day *day, int64_t year)
{
    int64_t first = ab_civil_day(year, 1, 1);
    if (day->form == 'N') {
        return first + day->day;
    }
    if (day->form == 'J') { /* 29 February is never counted */
        return first + day->day - 1 + (ab_civil_is_leap(year) && day->day >= 60 ? 1 : 0);
    }
    first = ab_civil_day(year, day->month, 1);
    int64_t weekday = first + 4 - 7 * ab_civil_divide(first + 4, 7); /* 1970-01-01 was a Thursday */
    int64_t days = (day->day - weekday + 7) % 7 + 7 * (day->week - 1);
    return first + days - (days >= ab_civil_month_days(year, day->month) ? 7 : 0);
}

struct change {
    int64_t time;
    int32_t offset_s;
};

struct ab_zone_stretch ab_zone_rule_stretch(const struct ab_zone_rule *rule, int64_t second)
{
    struct ab_zone_stretch stretch = {.from = INT64_MIN, .until = INT64_MAX, .offset_s = rule->standard_s};
    if (!rule->has_summer) {
        return stretch;
    }
    int64_t year;
    int32_t month;
    int32_t day;
    ab_civil_date(ab_civil_divide(second, AB_CIVIL_SECONDS_PER_DAY), &year, &month, &day);
    struct change changes[8];
    size_t count = 0;
    for (int64_t y = year - 2; y <= year + 1; y++) { /* a year back further, since rules may reach over its ends */
        struct change pair[] = {
            {day_in_year(&rule->start, y) * AB_CIVIL_SECONDS_PER_DAY + rule->start.time_s - rule->standard_s,
                rule->summer_s},
            {day_in_year(&rule->end, y) * AB_CIVIL_SECONDS_PER_DAY + rule->end.time_s - rule->summer_s,
                rule->standard_s}};
        bool is_south = pair[1].time < pair[0].time;
        struct change ordered[] = {pair[is_south ? 1 : 0], pair[is_south ? 0 : 1]};
        for (size_t i = 0; i < 2; i++) {
            size_t at = count++;
            for (; at > 0 && changes[at - 1].time > ordered[i].time; at--) {
                changes[at] = changes[at - 1];
            }
            changes[at] = ordered[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        bool is_shadowed = i + 1 < count && changes[i + 1].time == changes[i].time;
        if (is_shadowed) {
            continue;
        }
        if (changes[i].time > second) {
            stretch.until = changes[i].time;
            break;
        }
        stretch.from = changes[i].time;
        stretch.offset_s = changes[i].offset_s;
    }
    return stretch;
}
