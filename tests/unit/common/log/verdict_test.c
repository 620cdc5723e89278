#include "common/base/random.h"
#include "common/log/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* ---- helpers ---- */

static void sample_encode(struct ab_buffer *out)
{
    struct ab_verdict_builder builder;
    ab_verdict_builder_init(&builder, NULL);
    ab_verdict_builder_add(&builder, 0, AB_DECISION_DUPLICATE, (struct ab_bytes){0});
    ab_verdict_builder_add(&builder, 1, AB_DECISION_REJECTED, ab_bytes_of_text("amount is NULL"));
    ab_verdict_builder_add(&builder, 4000, AB_DECISION_REJECTED, ab_bytes_of_text(""));
    assert_int_equal(builder.rejected_count, 2);
    assert_int_equal(builder.duplicate_count, 1);
    ab_verdict_builder_encode(&builder, out);
    ab_verdict_builder_fini(&builder);
}

/* Walks to the end; the error that ends the walk. */
static ab_err walk(struct ab_bytes verdict, uint32_t rows_count, uint32_t *entries_count)
{
    struct ab_verdict_reader reader;
    struct ab_verdict_entry entry;
    *entries_count = 0;
    ab_err err = ab_verdict_reader_init(&reader, verdict);
    while (err == AB_OK) {
        err = ab_verdict_reader_next(&reader, rows_count, &entry);
        *entries_count += err == AB_OK;
    }
    return err;
}

/* ---- cases ---- */

static void test_verdict_reader_gives_back_entries(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    sample_encode(&buffer);
    struct ab_verdict_reader reader;
    struct ab_verdict_entry entry;
    assert_int_equal(ab_verdict_reader_init(&reader, ab_buffer_view(&buffer)), AB_OK);
    assert_int_equal(ab_verdict_reader_next(&reader, 4001, &entry), AB_OK);
    assert_int_equal(entry.row, 0);
    assert_int_equal(entry.decision, AB_DECISION_DUPLICATE);
    assert_int_equal(ab_verdict_reader_next(&reader, 4001, &entry), AB_OK);
    assert_int_equal(entry.row, 1);
    assert_int_equal(entry.decision, AB_DECISION_REJECTED);
    assert_true(ab_bytes_equal(entry.reason, ab_bytes_of_text("amount is NULL")));
    assert_int_equal(ab_verdict_reader_next(&reader, 4001, &entry), AB_OK);
    assert_int_equal(entry.row, 4000);
    assert_int_equal(ab_verdict_reader_next(&reader, 4001, &entry), AB_END);
    assert_int_equal(ab_verdict_reader_next(&reader, 4001, &entry), AB_END);
    ab_buffer_fini(&buffer);
}

static void test_verdict_empty_has_no_entries(void **state)
{
    (void)state;
    uint32_t count = 9;
    assert_int_equal(walk((struct ab_bytes){0}, 10, &count), AB_END);
    assert_int_equal(count, 0);
    assert_int_equal(walk(ab_bytes_of("\0", 1), 10, &count), AB_END);
    assert_int_equal(count, 0);
}

static void test_verdict_row_past_the_block_is_corrupt(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    sample_encode(&buffer);
    uint32_t count = 0;
    assert_int_equal(walk(ab_buffer_view(&buffer), 4000, &count), AB_CORRUPT);
    assert_int_equal(count, 2);
    ab_buffer_fini(&buffer);
}

static void test_verdict_every_truncation_is_corrupt(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    sample_encode(&buffer);
    for (size_t bytes = 1; bytes < buffer.bytes; bytes++) {
        uint8_t *copy = ab_new_bytes(bytes);
        memcpy(copy, buffer.data, bytes);
        uint32_t count = 0;
        assert_int_equal(walk(ab_bytes_of(copy, bytes), 5000, &count), AB_CORRUPT);
        ab_delete(copy);
    }
    ab_buffer_fini(&buffer);
}

static void test_verdict_nonsense_is_corrupt(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t count;
    } cases[] = {
        {"\xFF\xFF\xFF\xFF\x0F", 5}, /* more entries than bytes */
        {"\x01\x00\x00", 3},         /* accepted is not written */
        {"\x01\x00\x03", 3},         /* no such decision */
        {"\x02\x01\x01\x00\x01", 5}, /* the same row twice */
        {"\x01\x00\x01\x00", 4},     /* something behind the end */
        {"\x01\x00\x02\x02"
         "a\0",
            6},                                                   /* NUL in a reason */
        {"\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x01", 12}, /* row of 64 bits */
        {"\x02\x01\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x01", 14},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t count = 0;
        assert_int_equal(walk(ab_bytes_of(cases[i].bytes, cases[i].count), 100, &count), AB_CORRUPT);
    }
}

static void test_verdict_reason_is_cut_at_a_character(void **state)
{
    (void)state;
    char text[AB_REASON_BYTES_MAX + 10];
    memset(text, 'x', sizeof(text));
    memcpy(text + AB_REASON_BYTES_MAX - 1, "\xC3\xA9", 2); /* an e with an accent across the limit */
    struct ab_verdict_builder builder;
    ab_verdict_builder_init(&builder, NULL);
    ab_verdict_builder_add(&builder, 2, AB_DECISION_REJECTED, ab_bytes_of(text, sizeof(text)));
    ab_verdict_builder_add(&builder, 3, AB_DECISION_REJECTED, ab_bytes_of("ab\0cd", 5));
    struct ab_buffer buffer = {0};
    ab_verdict_builder_encode(&builder, &buffer);
    struct ab_verdict_reader reader;
    struct ab_verdict_entry entry;
    assert_int_equal(ab_verdict_reader_init(&reader, ab_buffer_view(&buffer)), AB_OK);
    assert_int_equal(ab_verdict_reader_next(&reader, 4, &entry), AB_OK);
    assert_int_equal(entry.reason.bytes, AB_REASON_BYTES_MAX - 1);
    assert_int_equal(ab_verdict_reader_next(&reader, 4, &entry), AB_OK);
    assert_true(ab_bytes_equal(entry.reason, ab_bytes_of_text("ab")));
    ab_buffer_fini(&buffer);
    ab_verdict_builder_fini(&builder);
}

static void test_verdict_mark_sets_the_rows_to_skip(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    sample_encode(&buffer);
    uint8_t skip[4001] = {0};
    skip[7] = 1;
    assert_int_equal(ab_verdict_mark(ab_buffer_view(&buffer), 4001, skip), AB_OK);
    for (size_t row = 0; row < sizeof(skip); row++) {
        assert_int_equal(skip[row], row == 0 || row == 1 || row == 7 || row == 4000);
    }
    assert_int_equal(ab_verdict_mark(ab_buffer_view(&buffer), 10, skip), AB_CORRUPT);
    ab_buffer_fini(&buffer);
}

static void test_verdict_random_bytes_never_pass_the_end(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 1);
    for (int round = 0; round < 20000; round++) {
        size_t bytes = 1 + (size_t)ab_random_below(&random, 24);
        uint8_t *verdict = ab_new_bytes(bytes);
        for (size_t i = 0; i < bytes; i++) {
            verdict[i] = (uint8_t)ab_random_below(&random, i % 3 == 0 ? 256 : 4);
        }
        uint32_t count = 0;
        ab_err err = walk(ab_bytes_of(verdict, bytes), 50, &count);
        assert_true(err == AB_END || err == AB_CORRUPT);
        assert_true(count <= 50);
        ab_delete(verdict);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdict_reader_gives_back_entries),
        cmocka_unit_test(test_verdict_empty_has_no_entries),
        cmocka_unit_test(test_verdict_row_past_the_block_is_corrupt),
        cmocka_unit_test(test_verdict_every_truncation_is_corrupt),
        cmocka_unit_test(test_verdict_nonsense_is_corrupt),
        cmocka_unit_test(test_verdict_reason_is_cut_at_a_character),
        cmocka_unit_test(test_verdict_mark_sets_the_rows_to_skip),
        cmocka_unit_test(test_verdict_random_bytes_never_pass_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
