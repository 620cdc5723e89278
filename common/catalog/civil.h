/* civil: days of the Gregorian calendar, counted from 1970-01-01, for any year that 64 bits of days reach. */
#ifndef ANABRANCH_COMMON_CATALOG_CIVIL_H
#define ANABRANCH_COMMON_CATALOG_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

#define AB_CIVIL_SECONDS_PER_DAY INT64_C(86400)

/* a / b rounded down; b > 0. */
static inline int64_t ab_civil_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

static inline bool ab_civil_is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days of a month, 1..12. */
static inline int32_t ab_civil_month_days(int64_t year, int32_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && ab_civil_is_leap(year) ? 29 : days[month - 1];
}

/* The day of year-month-day. Years are counted from March, so that the leap day is the last (400 years are one era of
 * 146,097 days). */
static inline int64_t ab_civil_day(int64_t year, int32_t month, int32_t day)
{
    int64_t shifted = year - (month <= 2 ? 1 : 0);
    int64_t era = ab_civil_divide(shifted, 400);
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* A day's year and month (1..12), and day of the month. */
static inline void ab_civil_date(int64_t days, int64_t *year, int32_t *month, int32_t *day)
{
    int64_t shifted = days + 719468;
    int64_t era = ab_civil_divide(shifted, 146097);
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    *day = (int32_t)(day_of_year - (153 * march_month + 2) / 5 + 1);
    *month = (int32_t)(march_month < 10 ? march_month + 3 : march_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

#endif
