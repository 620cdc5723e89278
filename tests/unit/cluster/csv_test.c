#include "cluster/command/csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Feeds `text` with a first window that ends at `split`; writes every row as <field>|<field>…; or !reason; one a line,
 * with its position. */
static void scan(const char *text, size_t split, struct ab_buffer *out)
{
    struct ab_csv csv;
    ab_csv_init(&csv, ',');
    size_t bytes = strlen(text);
    size_t at = 0;
    size_t until = split;
    uint64_t line = 1;
    for (;;) {
        struct ab_csv_row row;
        /* A copy of exactly the window's size, so that the address sanitizer sees a read past it. */
        uint8_t *copy = ab_new_bytes(until - at + 1);
        memcpy(copy, text + at, until - at);
        ab_err err = ab_csv_next(&csv, ab_bytes_of(copy, until - at), until == bytes, &row);
        if (err == AB_AGAIN) {
            assert_true(until < bytes);
            until = bytes;
            ab_delete(copy);
            continue;
        }
        if (err == AB_END) {
            ab_delete(copy);
            break;
        }
        assert_int_equal(err, AB_OK);
        if (!row.is_rest) {
            ab_buffer_put_format(out, "%lu:", (unsigned long)line);
            if (row.reason != NULL) {
                ab_buffer_put_format(out, "!%s", row.reason);
            }
            for (size_t i = 0; row.reason == NULL && i < row.fields_count; i++) {
                ab_buffer_put(out, "|", i > 0);
                ab_buffer_put_bytes(out, row.fields[i]);
            }
            ab_buffer_put_u8(out, '\n');
        }
        line += row.lines_count;
        at += row.bytes;
        ab_delete(copy);
    }
    ab_csv_fini(&csv);
}

static void expect(const char *text, const char *wanted)
{
    for (size_t split = 0; split <= strlen(text); split++) {
        struct ab_buffer out;
        ab_buffer_init(&out, NULL, 0);
        scan(text, split, &out);
        assert_string_equal(ab_buffer_text(&out), wanted);
        ab_buffer_fini(&out);
    }
}

static void test_csv_plain_rows_are_split(void **state)
{
    (void)state;
    expect("a,b,c\n1,,3\n", "1:a|b|c\n2:1||3\n");
    expect("a,b\r\n1,2\r\n", "1:a|b\n2:1|2\n");
    expect("a\n\nb", "1:a\n2:\n3:b\n");
    expect(",\n,,", "1:|\n2:||\n");
}

static void test_csv_quotes_hold_delimiters_and_line_ends(void **state)
{
    (void)state;
    expect("\"a,b\",c\n", "1:a,b|c\n");
    expect("x,\"two\r\nlines\"\r\ny,z\n", "1:x|two\r\nlines\n3:y|z\n");
    expect("\"say \"\"hi\"\"\",\"\"\n", "1:say \"hi\"|\n");
    expect("\"\"\"\"\n\"\"\"a\",b", "1:\"\n2:\"a|b\n");
    expect("a,\"b\"", "1:a|b\n");
    expect("a,\"\"\r\n", "1:a|\n");
}

static void test_csv_quote_inside_a_plain_field_is_a_byte(void **state)
{
    (void)state;
    expect("5\" disk,2\n3,4\n", "1:5\" disk|2\n2:3|4\n");
    expect("a,b\"\"c\n", "1:a|b\"\"c\n");
}

static void test_csv_bad_rows_spoil_nothing_else(void **state)
{
    (void)state;
    expect("\"a\"b,c\nd,e\n", "1:!text after a closing quote\n2:d|e\n");
    expect("a,\"b\nc,d\ne,f\n", "1:!a quote is not closed\n2:c|d\n3:e|f\n");
    expect("\"", "1:!a quote is not closed\n");
}

static void test_csv_overlong_line_is_one_bad_row(void **state)
{
    (void)state;
    size_t bytes = AB_CSV_ROW_BYTES_MAX + 4000;
    char *text = ab_new_bytes(bytes + 8);
    memset(text, 'x', bytes);
    memcpy(text + bytes, "\na,b\n", 6);
    size_t splits[] = {10, AB_CSV_ROW_BYTES_MAX + 1, AB_CSV_ROW_BYTES_MAX + 2000, bytes, bytes + 1, bytes + 5};
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        struct ab_buffer out;
        ab_buffer_init(&out, NULL, 0);
        scan(text, splits[i], &out);
        assert_string_equal(ab_buffer_text(&out), "1:!the row is longer than 1 MiB\n2:a|b\n");
        ab_buffer_fini(&out);
    }
    ab_delete(text);
}

static void test_csv_many_fields_are_counted_not_kept(void **state)
{
    (void)state;
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, 0);
    for (int i = 0; i < 5000; i++) {
        ab_buffer_put(&text, ",", 1);
    }
    struct ab_csv csv;
    ab_csv_init(&csv, ',');
    struct ab_csv_row row;
    assert_int_equal(ab_csv_next(&csv, ab_buffer_view(&text), true, &row), AB_OK);
    assert_int_equal(row.fields_count, 5001);
    ab_csv_fini(&csv);
    ab_buffer_fini(&text);
}

/* Small random texts over the bytes that matter: any split gives the same rows as none, and all bytes are used up. */
static void test_csv_random_texts_do_not_depend_on_the_split(void **state)
{
    (void)state;
    static const char letters[] = "a,\"\"\n\r";
    uint64_t seed = 7;
    for (int round = 0; round < 3000; round++) {
        char text[13];
        size_t bytes = (size_t)(round % 12) + 1;
        for (size_t i = 0; i < bytes; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            text[i] = letters[(seed >> 33) % 6];
        }
        text[bytes] = '\0';
        struct ab_buffer whole;
        ab_buffer_init(&whole, NULL, 0);
        scan(text, bytes, &whole);
        expect(text, ab_buffer_text(&whole));
        ab_buffer_fini(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_plain_rows_are_split),
        cmocka_unit_test(test_csv_quotes_hold_delimiters_and_line_ends),
        cmocka_unit_test(test_csv_quote_inside_a_plain_field_is_a_byte),
        cmocka_unit_test(test_csv_bad_rows_spoil_nothing_else),
        cmocka_unit_test(test_csv_overlong_line_is_one_bad_row),
        cmocka_unit_test(test_csv_many_fields_are_counted_not_kept),
        cmocka_unit_test(test_csv_random_texts_do_not_depend_on_the_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
