#include "common/base/logging.h"

#include "common/base/json.h"

#include "tests/support/test.h"

#include <fcntl.h>
#include <unistd.h>

/* Gives logging a pipe, and reads back the one line that was written. */
static size_t line_read(int fd, char *text, size_t room)
{
    ssize_t got = read(fd, text, room - 1);
    assert_true(got >= 0);
    text[got] = '\0';
    return (size_t)got;
}

static struct ab_json *line_parse(int fd)
{
    char text[8192];
    size_t bytes = line_read(fd, text, sizeof(text));
    struct ab_json *value = NULL;
    struct ab_error error = {0};
    assert_true(bytes > 1 && bytes <= 4096);
    assert_int_equal(text[bytes - 1], '\n');
    assert_null(memchr(text, '\n', bytes - 1));
    assert_ok(ab_json_parse(ab_bytes_of(text, bytes - 1), &value, &error));
    return value;
}

static void test_logging_writes_one_json_line(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    ab_logging_init("anabranch-test", AB_LOG_INFO, ends[1]);
    ab_debug("not written", "%d", 1);
    ab_info("span flushed", "span %d, \"%s\"", 3, "a\nb\\");
    struct ab_json *line = line_parse(ends[0]);
    assert_string_equal(ab_json_text_or(ab_json_get(line, "level"), ""), "info");
    assert_string_equal(ab_json_text_or(ab_json_get(line, "program"), ""), "anabranch-test");
    assert_string_equal(ab_json_text_or(ab_json_get(line, "event"), ""), "span flushed");
    assert_string_equal(ab_json_text_or(ab_json_get(line, "detail"), ""), "span 3, \"a\nb\\\"");
    assert_non_null(ab_json_get(line, "time"));
    ab_json_destroy(line);
    ab_warn("no detail", "%s", "");
    line = line_parse(ends[0]);
    assert_null(ab_json_get(line, "detail"));
    ab_json_destroy(line);
    (void)close(ends[0]);
    (void)close(ends[1]);
    ab_logging_init("anabranch-test", AB_LOG_ERROR, STDERR_FILENO);
}

static void test_logging_survives_any_bytes_and_lengths(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    ab_logging_init("p", AB_LOG_DEBUG, ends[1]);
    char text[6000];
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        text[i] = (char)(1 + i % 255);
    }
    text[sizeof(text) - 1] = '\0';
    ab_error_log("odd bytes", "%s", text);
    ab_json_destroy(line_parse(ends[0]));
    memset(text, 1, sizeof(text) - 1); /* each becomes six bytes */
    ab_error_log("long", "%s", text);
    ab_json_destroy(line_parse(ends[0]));
    (void)close(ends[0]);
    (void)close(ends[1]);
    ab_error_log("to a closed descriptor", "%d", 1);
    ab_logging_init("anabranch-test", AB_LOG_ERROR, STDERR_FILENO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logging_writes_one_json_line),
        cmocka_unit_test(test_logging_survives_any_bytes_and_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
