/* Time zones: TZif and POSIX rules against the C library, the text form, and every kind of damage. */
#include "common/catalog/zone.h"

#include "common/base/file.h"
#include "common/base/random.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ZONEINFO "/usr/share/zoneinfo"

static const char *const names[] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
    "Europe/Dublin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo", "America/Havana",
    "Asia/Manila", "America/Juneau", "Africa/Monrovia", "Antarctica/Troll", "Pacific/Chatham", "Asia/Gaza", "UTC",
    "America/Nuuk", "Europe/Amsterdam", "Asia/Tehran"};

static struct ab_zone zone_of(struct ab_arena *arena, const char *name)
{
    struct ab_zone zone = {0};
    char why[200] = "";
    if (ab_zone_read_system(NULL, ab_bytes_of_text(name), arena, &zone, why) != AB_OK) {
        fail_msg("%s", why);
    }
    return zone;
}

static void clock_set(const char *name)
{
    char place[100];
    (void)snprintf(place, sizeof(place), ":%s", name);
    assert_int_equal(setenv("TZ", place, 1), 0);
    tzset();
}

/* The C library reads the same files by itself. */
static int32_t offset_expected(int64_t second)
{
    time_t time = (time_t)second;
    struct tm parts;
    assert_non_null(localtime_r(&time, &parts));
    return (int32_t)parts.tm_gmtoff;
}

static void check_second(const struct ab_zone *zone, int64_t second)
{
    struct ab_zone_stretch stretch = ab_zone_stretch(zone, second);
    if (stretch.offset_s != offset_expected(second)) {
        fail_msg(
            "%s at %lld: %d, expected %d", zone->name, (long long)second, stretch.offset_s, offset_expected(second));
    }
    assert_true(stretch.from <= second && second < stretch.until);
}

static void test_zone_offsets_equal_the_c_library(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 8536);
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        struct ab_arena arena = {0};
        struct ab_zone zone = zone_of(&arena, names[n]);
        clock_set(names[n]);
        for (int i = 0; i < 4000; i++) { /* 1840 to 2160; the library itself is exact there */
            check_second(&zone, (int64_t)ab_random_below(&random, INT64_C(10098000000)) - INT64_C(4102000000));
        }
        for (int64_t at = -INT64_C(4102000000); at < INT64_C(5990000000);) { /* both sides of every change */
            struct ab_zone_stretch stretch = ab_zone_stretch(&zone, at);
            if (stretch.until == INT64_MAX) {
                break;
            }
            check_second(&zone, stretch.until - 1);
            check_second(&zone, stretch.until);
            at = stretch.until;
        }
        ab_arena_fini(&arena);
    }
    clock_set("UTC");
}

static void test_zone_instant_is_the_first_that_shows_it(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 7);
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        struct ab_arena arena = {0};
        struct ab_zone zone = zone_of(&arena, names[n]);
        for (int i = 0; i < 2000; i++) {
            int64_t local = (int64_t)ab_random_below(&random, INT64_C(8000000000)) - INT64_C(4000000000);
            if (i % 2 == 0 && zone.changes_count > 0) { /* near a change */
                local = zone.times[ab_random_below(&random, zone.changes_count)] +
                        (int64_t)ab_random_below(&random, 200000) - 100000;
            }
            int64_t found = ab_zone_instant(&zone, local);
            assert_true(found + ab_zone_stretch(&zone, found).offset_s >= local);
            for (int64_t back = 1; back < 2 * AB_ZONE_OFFSET_S_MAX; back += 1 + back / 3) {
                assert_true(found - back + ab_zone_stretch(&zone, found - back).offset_s < local);
            }
        }
        ab_arena_fini(&arena);
    }
}

static void test_zone_text_reads_back_to_itself(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        struct ab_arena arena = {0};
        struct ab_zone zone = zone_of(&arena, names[n]);
        struct ab_zone again = {0};
        struct ab_buffer text = {0};
        struct ab_buffer second = {0};
        char why[200] = "";
        ab_zone_encode(&zone, &text);
        assert_ok(ab_zone_decode(ab_bytes_of_text(names[n]), ab_buffer_view(&text), &arena, &again, why));
        ab_zone_encode(&again, &second);
        assert_true(ab_bytes_equal(ab_buffer_view(&text), ab_buffer_view(&second)));
        for (int64_t at = -INT64_C(4102000000); at < INT64_C(5990000000); at += 2000003) {
            assert_int_equal(ab_zone_stretch(&zone, at).offset_s, ab_zone_stretch(&again, at).offset_s);
        }
        ab_buffer_fini(&text);
        ab_buffer_fini(&second);
        ab_arena_fini(&arena);
    }
}

/* The form that catalogs keep: these bytes are in clusters' catalogs for ever. */
static void test_zone_text_golden(void **state)
{
    (void)state;
    static const char golden[] =
        "-17762 -2717650800=-18000 -1633280400=-14400 -1615140000=-18000 | EST5EDT,M3.2.0,M11.1.0";
    struct ab_arena arena = {0};
    struct ab_zone zone = {0};
    struct ab_buffer text = {0};
    char why[200] = "";
    assert_ok(ab_zone_decode(ab_bytes_of_text("America/New_York"), ab_bytes_of_text(golden), &arena, &zone, why));
    assert_int_equal(zone.changes_count, 3);
    assert_int_equal(zone.first_s, -17762);
    assert_int_equal(ab_zone_stretch(&zone, -INT64_C(2717650801)).offset_s, -17762);
    assert_int_equal(ab_zone_stretch(&zone, -INT64_C(1633280400)).offset_s, -14400);
    assert_int_equal(ab_zone_stretch(&zone, INT64_C(1720000000)).offset_s, -14400); /* July 2024, by the rule */
    ab_zone_encode(&zone, &text);
    assert_string_equal(ab_buffer_text(&text), golden);
    ab_buffer_fini(&text);
    ab_arena_fini(&arena);
}

static void test_zone_text_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *why;
    } cases[] = {
        {"A/B", "", "offset before the first change"},
        {"A/B", "3600", "expected |"},
        {"A/B", "94000 |", "offset before the first change"},
        {"A/B", "0 5=1 5=2 |", "change 2"},
        {"A/B", "0 5=1 4=2 |", "change 2"},
        {"A/B", "0 5=93600 |", "change 1"},
        {"A/B", "0 5 |", "change 1"},
        {"A/B", "0 99999999999999999999=1 |", "change 1"},
        {"A/B", "0 5=1 | CET", "is not a rule"},
        {"A/B", "0 5=1 | CET-1CEST,M3.5.0", "is not a rule"},
        {"A/B", "0 5=1 | CET-1CEST,M13.5.0,M10.5.0", "is not a rule"},
        {"A/B", "0 5=1 | CET-25", "is not a rule"},
        {"A/B", "0 5=1 | <+01-1", "is not a rule"},
        {"A/B", "0 5=1 | CET-1CEST,M3.5.0,M10.5.0 x", "is not a rule"},
        {"../B", "0 |", "cannot be the name"},
        {"/etc/passwd", "0 |", "cannot be the name"},
        {"A//B", "0 |", "cannot be the name"},
        {"A/", "0 |", "cannot be the name"},
        {"", "0 |", "cannot be the name"},
        {"localtime", "0 |", "cannot be the name"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ab_arena arena = {0};
        struct ab_zone zone = {0};
        char why[200] = "";
        ab_err err =
            ab_zone_decode(ab_bytes_of_text(cases[i].name), ab_bytes_of_text(cases[i].text), &arena, &zone, why);
        if (err != AB_SYNTAX || strstr(why, cases[i].why) == NULL) {
            fail_msg("%s %s: %d %s", cases[i].name, cases[i].text, err, why);
        }
        ab_arena_fini(&arena);
    }
}

static void test_zone_unknown_names_the_nearest(void **state)
{
    (void)state;
    struct ab_arena arena = {0};
    struct ab_zone zone = {0};
    char why[200] = "";
    assert_int_equal(ab_zone_read_system(NULL, ab_bytes_of_text("Europe/Berlim"), &arena, &zone, why), AB_NOT_FOUND);
    assert_string_equal(why, "the time zone \"Europe/Berlim\" is unknown on this machine; did you mean Europe/Berlin?");
    assert_int_equal(ab_zone_read_system(NULL, ab_bytes_of_text("Europe"), &arena, &zone, why), AB_NOT_FOUND);
    assert_int_equal(ab_zone_read_system(NULL, ab_bytes_of_text("../passwd"), &arena, &zone, why), AB_NOT_FOUND);
    assert_int_equal(
        ab_zone_read_system("/nowhere", ab_bytes_of_text("Europe/Berlin"), &arena, &zone, why), AB_NOT_FOUND);
    ab_arena_fini(&arena);
}

/* Every prefix of a file, and every single byte changed, is read or refused, never more. */
static void test_zone_damaged_files_are_refused_or_read(void **state)
{
    (void)state;
    struct ab_buffer file = {0};
    struct ab_error error = {0};
    assert_ok(ab_file_read_all(ZONEINFO "/Europe/Berlin", &file, &error));
    struct ab_bytes name = ab_bytes_of_text("Europe/Berlin");
    struct ab_random random;
    ab_random_init(&random, 3);
    size_t refused = 0;
    for (size_t bytes = 0; bytes < file.bytes; bytes++) {
        struct ab_arena arena = {0};
        struct ab_zone zone = {0};
        char why[200] = "";
        uint8_t *copy = ab_new_bytes(bytes + 1); /* of its own, so that reading past the end is seen */
        memcpy(copy, file.data, bytes);
        assert_int_equal(ab_zone_read_tzif(name, ab_bytes_of(copy, bytes), &arena, &zone, why), AB_CORRUPT);
        ab_delete(copy);
        uint8_t before = file.data[bytes];
        file.data[bytes] ^= (uint8_t)(1 + ab_random_below(&random, 255));
        ab_err err = ab_zone_read_tzif(name, ab_buffer_view(&file), &arena, &zone, why);
        refused += err != AB_OK;
        assert_true(err == AB_OK || err == AB_CORRUPT || err == AB_UNSUPPORTED);
        if (err == AB_OK) {
            (void)ab_zone_instant(&zone, 0);
        }
        file.data[bytes] = before;
        ab_arena_fini(&arena);
    }
    assert_true(refused > 100);
    ab_buffer_fini(&file);
}

static void test_zone_rules_of_all_forms(void **state)
{
    (void)state;
    struct ab_zone_rule rule;
    /* Summer time all year (RFC 8536 section 3.3). */
    assert_true(ab_zone_rule_parse(ab_bytes_of_text("EST5EDT,0/0,J365/25"), &rule));
    for (int64_t at = -INT64_C(3000000000); at < INT64_C(6000000000); at += 86399) {
        assert_int_equal(ab_zone_rule_stretch(&rule, at).offset_s, -4 * 3600);
    }
    /* J60 is 1 March in every year, 59 is 29 February or 1 March. */
    assert_true(ab_zone_rule_parse(ab_bytes_of_text("AAA0BBB,J60/0,59/0"), &rule));
    assert_int_equal(ab_zone_rule_stretch(&rule, INT64_C(951868800)).offset_s, 3600); /* 2000-03-01 */
    assert_int_equal(ab_zone_rule_stretch(&rule, INT64_C(951868799)).offset_s, 0);
    assert_true(ab_zone_rule_parse(ab_bytes_of_text("<-02>2<-01>,M3.5.0/-1,M10.5.0/0"), &rule)); /* Nuuk */
    assert_int_equal(rule.standard_s, -7200);
    assert_int_equal(rule.start.time_s, -3600);
    assert_false(ab_zone_rule_parse(ab_bytes_of_text("AA0"), &rule));
    assert_false(ab_zone_rule_parse(ab_bytes_of_text(""), &rule));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zone_offsets_equal_the_c_library),
        cmocka_unit_test(test_zone_instant_is_the_first_that_shows_it),
        cmocka_unit_test(test_zone_text_reads_back_to_itself),
        cmocka_unit_test(test_zone_text_golden),
        cmocka_unit_test(test_zone_text_refusals),
        cmocka_unit_test(test_zone_unknown_names_the_nearest),
        cmocka_unit_test(test_zone_damaged_files_are_refused_or_read),
        cmocka_unit_test(test_zone_rules_of_all_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
