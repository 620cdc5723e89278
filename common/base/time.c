#include "common/base/time.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* these clocks always exist */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

ab_time_us ab_time_now(void)
{
    return clock_ns(CLOCK_REALTIME) / 1000;
}

int64_t ab_time_monotonic_us(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000;
}

int64_t ab_time_process_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t ab_time_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void ab_time_sleep_us(int64_t duration_us)
{
    if (duration_us <= 0) {
        return;
    }
    int64_t until = clock_ns(CLOCK_MONOTONIC) + duration_us * 1000;
    struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

/* A day of the proleptic Gregorian calendar. */
struct civil {
    int64_t year;
    unsigned month; /* 1..12 */
    unsigned day;   /* 1..31 */
};

/* Days since 1970-01-01, by eras of 400 years that start on 1 March (as in Hinnant's chrono-compatible algorithms). */
static int64_t days_from_civil(struct civil date)
{
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (int64_t)((date.month + 9) % 12) + 2) / 5 + date.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static struct civil civil_from_days(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    unsigned civil_month = (unsigned)(month < 10 ? month + 3 : month - 9);
    return (struct civil){
        .year = year_of_era + era * 400 + (civil_month <= 2),
        .month = civil_month,
        .day = (unsigned)(day_of_year - (153 * month + 2) / 5 + 1),
    };
}

const char *ab_time_format(ab_time_us time, char text[AB_TIME_TEXT_BYTES])
{
    int64_t rest = time % AB_US_PER_DAY;
    int64_t days = time / AB_US_PER_DAY - (rest < 0);
    rest += rest < 0 ? AB_US_PER_DAY : 0;
    struct civil date = civil_from_days(days);
    int hour = (int)(rest / AB_US_PER_HOUR);
    int minute = (int)(rest / AB_US_PER_MINUTE % 60);
    int second = (int)(rest / AB_US_PER_SECOND % 60);
    int fraction = (int)(rest % AB_US_PER_SECOND);
    int digits = fraction == 0 ? 0 : 6;
    while (digits > 0 && fraction % 10 == 0) {
        fraction /= 10;
        digits--;
    }
    /* Years of more than four digits carry a sign (ISO 8601 expanded form); events never have them. */
    const char *pattern =
        date.year >= 0 && date.year <= 9999 ? "%04lld-%02u-%02uT%02d:%02d:%02d" : "%+07lld-%02u-%02uT%02d:%02d:%02d";
    int used =
        snprintf(text, AB_TIME_TEXT_BYTES, pattern, (long long)date.year, date.month, date.day, hour, minute, second);
    if (digits > 0) {
        used += snprintf(text + used, AB_TIME_TEXT_BYTES - (size_t)used, ".%0*d", digits, fraction);
    }
    (void)snprintf(text + used, AB_TIME_TEXT_BYTES - (size_t)used, "Z");
    return text;
}

/* Takes exactly `digits` decimal digits. */
static bool take_digits(struct ab_reader *reader, unsigned digits, unsigned *number)
{
    unsigned value = 0;
    struct ab_bytes text = ab_reader_bytes(reader, digits);
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *number = value;
    return text.bytes == digits;
}

/* Takes one byte if it is `expected`. */
static bool take_byte(struct ab_reader *reader, char expected)
{
    if (ab_reader_left(reader) == 0 || *reader->at != (uint8_t)expected) {
        return false;
    }
    reader->at++;
    return true;
}

static bool take_date(struct ab_reader *reader, int64_t *days)
{
    unsigned year;
    struct civil date = {0};
    if (!take_digits(reader, 4, &year) || !take_byte(reader, '-') || !take_digits(reader, 2, &date.month) ||
        !take_byte(reader, '-') || !take_digits(reader, 2, &date.day) || date.month < 1 || date.month > 12) {
        return false;
    }
    date.year = year;
    *days = days_from_civil(date);
    /* A day the month does not have comes back as another date. */
    struct civil back = civil_from_days(*days);
    return back.year == date.year && back.month == date.month && back.day == date.day;
}

/* Takes 1 to 6 digits after a point as microseconds. */
static bool take_fraction(struct ab_reader *reader, int64_t *fraction_us)
{
    int64_t value = 0;
    int64_t unit = AB_US_PER_SECOND;
    while (ab_reader_left(reader) > 0 && *reader->at >= '0' && *reader->at <= '9') {
        unit /= 10;
        value += (*reader->at++ - '0') * unit;
        if (unit == 0) {
            return false;
        }
    }
    *fraction_us = value;
    return unit < AB_US_PER_SECOND;
}

static bool take_clock(struct ab_reader *reader, int64_t *clock_us)
{
    unsigned hour;
    unsigned minute;
    unsigned second = 0;
    int64_t fraction_us = 0;
    if (!take_digits(reader, 2, &hour) || !take_byte(reader, ':') || !take_digits(reader, 2, &minute)) {
        return false;
    }
    if (take_byte(reader, ':')) {
        if (!take_digits(reader, 2, &second) || (take_byte(reader, '.') && !take_fraction(reader, &fraction_us))) {
            return false;
        }
    }
    *clock_us = hour * AB_US_PER_HOUR + minute * AB_US_PER_MINUTE + second * AB_US_PER_SECOND + fraction_us;
    return hour < 24 && minute < 60 && second < 60;
}

/* Takes nothing, Z or an offset from UTC. */
static bool take_zone(struct ab_reader *reader, int64_t *offset_us)
{
    *offset_us = 0;
    if (ab_reader_left(reader) == 0 || take_byte(reader, 'Z')) {
        return true;
    }
    bool is_west = take_byte(reader, '-');
    unsigned hour;
    unsigned minute;
    if ((!is_west && !take_byte(reader, '+')) || !take_digits(reader, 2, &hour) || !take_byte(reader, ':') ||
        !take_digits(reader, 2, &minute) || hour > 23 || minute > 59) {
        return false;
    }
    int64_t offset = hour * AB_US_PER_HOUR + minute * AB_US_PER_MINUTE;
    *offset_us = is_west ? -offset : offset;
    return true;
}

ab_err ab_time_parse(struct ab_bytes text, ab_time_us *time)
{
    struct ab_reader reader = ab_reader_of(text);
    int64_t days;
    int64_t clock_us = 0;
    int64_t offset_us = 0;
    if (!take_date(&reader, &days)) {
        return AB_INVALID;
    }
    if (ab_reader_left(&reader) > 0) {
        if ((!take_byte(&reader, ' ') && !take_byte(&reader, 'T')) || !take_clock(&reader, &clock_us) ||
            !take_zone(&reader, &offset_us) || ab_reader_left(&reader) > 0) {
            return AB_INVALID;
        }
    }
    *time = days * AB_US_PER_DAY + clock_us - offset_us;
    return AB_OK;
}
