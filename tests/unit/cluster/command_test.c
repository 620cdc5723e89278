/* Arguments, relations and progress: what the command reads and prints. */
#include "cluster/command/arguments.h"
#include "cluster/command/import_progress.h"
#include "cluster/command/relation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct ab_option options[] = {
    {"--data", "DIR", ""}, {"--format", "F", ""}, {"--rename", "A=B", ""}, {"--wait", NULL, ""}, {0}};

/* Parses a line split at spaces. */
static ab_err parse(const char *line, struct ab_arguments *arguments, struct ab_error *error)
{
    static char text[256];
    static char *words[32];
    int count = 0;
    assert_true(strlen(line) < sizeof text);
    memcpy(text, line, strlen(line) + 1);
    for (char *at = text; *at != '\0';) {
        size_t bytes = strcspn(at, " ");
        words[count++] = at;
        at += bytes;
        if (*at == ' ') {
            *at++ = '\0';
        }
    }
    return ab_arguments_parse(options, count, words, 2, arguments, error);
}

static void test_arguments_options_and_words_mix(void **state)
{
    (void)state;
    struct ab_arguments arguments;
    assert_int_equal(parse("stream --data /d --format=csv - --wait", &arguments, NULL), AB_OK);
    assert_int_equal(arguments.words_count, 2);
    assert_string_equal(arguments.words[1], "-");
    assert_string_equal(ab_arguments_value(&arguments, "--data"), "/d");
    assert_string_equal(ab_arguments_value(&arguments, "--format"), "csv");
    assert_true(ab_arguments_has(&arguments, "--wait"));
    assert_false(ab_arguments_has(&arguments, "--rename"));
    assert_int_equal(parse("-- --wait", &arguments, NULL), AB_OK);
    assert_string_equal(arguments.words[0], "--wait");
}

static void test_arguments_repeated_option_keeps_all_values(void **state)
{
    (void)state;
    struct ab_arguments arguments;
    size_t cursor = 0;
    assert_int_equal(parse("--rename a=b --data x --rename=c=d", &arguments, NULL), AB_OK);
    assert_string_equal(ab_arguments_next(&arguments, "--rename", &cursor), "a=b");
    assert_string_equal(ab_arguments_next(&arguments, "--rename", &cursor), "c=d");
    assert_null(ab_arguments_next(&arguments, "--rename", &cursor));
    assert_string_equal(ab_arguments_value(&arguments, "--rename"), "c=d");
}

static void test_arguments_mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *text;
    } mistakes[] = {
        {"--formt csv", "unknown option --formt; did you mean --format?"},
        {"--x", "unknown option --x"},
        {"--data", "option --data needs a value: DIR"},
        {"--wait=yes", "option --wait takes no value"},
        {"a b c", "unexpected argument 'c'"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct ab_arguments arguments;
        struct ab_error error = {0};
        assert_int_equal(parse(mistakes[i].line, &arguments, &error), AB_USAGE);
        assert_string_equal(error.text, mistakes[i].text);
    }
}

static void test_arguments_numbers_and_sizes_are_checked(void **state)
{
    (void)state;
    struct ab_arguments arguments;
    struct ab_error error = {0};
    int64_t number = 0;
    uint64_t bytes = 0;
    assert_int_equal(parse("--data 12", &arguments, NULL), AB_OK);
    assert_int_equal(ab_arguments_number(&arguments, "--data", 1, 12, 0, &number, &error), AB_OK);
    assert_int_equal(number, 12);
    assert_int_equal(ab_arguments_number(&arguments, "--data", 1, 11, 0, &number, &error), AB_USAGE);
    assert_int_equal(ab_arguments_number(&arguments, "--format", 1, 11, 7, &number, &error), AB_OK);
    assert_int_equal(number, 7);
    assert_int_equal(parse("--data 1x", &arguments, NULL), AB_OK);
    assert_int_equal(ab_arguments_number(&arguments, "--data", 1, 99, 0, &number, &error), AB_USAGE);
    assert_int_equal(ab_arguments_size_parse("2G", &bytes), AB_OK);
    assert_int_equal(bytes, UINT64_C(2) << 30);
    assert_int_equal(ab_arguments_size_parse("512", &bytes), AB_OK);
    assert_int_equal(bytes, 512);
    assert_int_equal(ab_arguments_size_parse("3k", &bytes), AB_OK);
    assert_int_equal(bytes, 3072);
    static const char *const bad[] = {"", "G", "-1M", "0", "1X", "9999999999T", "1 M"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(ab_arguments_size_parse(bad[i], &bytes), AB_INVALID);
    }
}

static void expect_relation(enum ab_output_format format, const char *wanted)
{
    struct ab_relation relation;
    struct ab_buffer out;
    ab_buffer_init(&out, NULL, 0);
    ab_relation_init(&relation, 3);
    ab_relation_column(&relation, 0, "name", AB_CELL_TEXT);
    ab_relation_column(&relation, 1, "n", AB_CELL_NUMBER);
    ab_relation_column(&relation, 2, "ok", AB_CELL_BOOLEAN);
    ab_relation_add_text(&relation, "a,\"b\"");
    ab_relation_add_text(&relation, "12");
    ab_relation_add_text(&relation, "true");
    ab_relation_add_text(&relation, "\xc3\xa9\n");
    ab_relation_add_text(&relation, "NaN");
    ab_relation_add_null(&relation);
    ab_relation_write(&relation, format, &out);
    assert_string_equal(ab_buffer_text(&out), wanted);
    ab_relation_fini(&relation);
    ab_buffer_fini(&out);
}

static void test_relation_is_written_in_each_format(void **state)
{
    (void)state;
    expect_relation(AB_OUTPUT_TABLE, "name     n  ok\n-----  ---  ----\na,\"b\"   12  true\n\xc3\xa9      NaN  \n");
    expect_relation(AB_OUTPUT_CSV, "name,n,ok\n\"a,\"\"b\"\"\",12,true\n\"\xc3\xa9\n\",NaN,\n");
    expect_relation(AB_OUTPUT_JSON, "[\n  {\"name\": \"a,\\\"b\\\"\", \"n\": 12, \"ok\": true},\n"
                                    "  {\"name\": \"\xc3\xa9\\n\", \"n\": \"NaN\", \"ok\": null}\n]\n");
}

static void test_relation_without_rows_has_a_header(void **state)
{
    (void)state;
    static const char *const wanted[] = {"a\n-\n", "a\n", "[]\n"};
    for (int format = AB_OUTPUT_TABLE; format <= AB_OUTPUT_JSON; format++) {
        struct ab_relation relation;
        struct ab_buffer out;
        ab_buffer_init(&out, NULL, 0);
        ab_relation_init(&relation, 1);
        ab_relation_column(&relation, 0, "a", AB_CELL_TEXT);
        ab_relation_write(&relation, (enum ab_output_format)format, &out);
        assert_string_equal(ab_buffer_text(&out), wanted[format]);
        ab_relation_fini(&relation);
        ab_buffer_fini(&out);
    }
}

static void test_progress_tells_rate_and_time_left(void **state)
{
    (void)state;
    char text[160];
    struct ab_import_moment moment = {.rows = 1234567,
        .raw_bytes = 250,
        .raw_bytes_total = 1000,
        .elapsed_us = 25000000,
        .recent_rows = 80000,
        .recent_us = 200000};
    ab_import_progress_format(&moment, text, sizeof text);
    assert_string_equal(text, "1,234,567 rows, 400,000 rows/s, 25 %, 1:15 left");
    moment.raw_bytes_total = 0;
    ab_import_progress_format(&moment, text, sizeof text);
    assert_string_equal(text, "1,234,567 rows, 400,000 rows/s");
    moment = (struct ab_import_moment){.raw_bytes_total = 5};
    ab_import_progress_format(&moment, text, sizeof text);
    assert_string_equal(text, "0 rows, 0 rows/s, 0 %");
    ab_import_progress_format(&moment, text, 8);
    assert_int_equal(strlen(text), 7);
}

static void test_number_has_commas(void **state)
{
    (void)state;
    char text[32];
    ab_number_format(0, text);
    assert_string_equal(text, "0");
    ab_number_format(999, text);
    assert_string_equal(text, "999");
    ab_number_format(1000, text);
    assert_string_equal(text, "1,000");
    ab_number_format(UINT64_MAX, text);
    assert_string_equal(text, "18,446,744,073,709,551,615");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_options_and_words_mix),
        cmocka_unit_test(test_arguments_repeated_option_keeps_all_values),
        cmocka_unit_test(test_arguments_mistakes_are_named),
        cmocka_unit_test(test_arguments_numbers_and_sizes_are_checked),
        cmocka_unit_test(test_relation_is_written_in_each_format),
        cmocka_unit_test(test_relation_without_rows_has_a_header),
        cmocka_unit_test(test_progress_tells_rate_and_time_left),
        cmocka_unit_test(test_number_has_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
