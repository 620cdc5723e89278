#include "cluster/command/import_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/memory.h"

#define BYTES 20000000u

static char path[64];
static uint8_t *content;

static void file_write(const uint8_t *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/anabranch-source-test-%d", (int)getpid());
    content = ab_new_bytes(BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    file_write(content, BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ab_delete(content);
    return unlink(path);
}

static struct ab_import_mark mark_of(uint64_t bytes)
{
    struct ab_hash_stream *stream = ab_hash_stream_create(AB_HASH_SOURCE);
    ab_hash_stream_update(stream, ab_bytes_of(content, bytes));
    struct ab_import_mark mark = {.byte_offset = bytes, .hash = ab_hash_stream_digest(stream)};
    ab_hash_stream_destroy(stream);
    return mark;
}

static void test_source_hash_is_of_what_was_told(void **state)
{
    (void)state;
    struct ab_import_source source;
    struct ab_error error = {0};
    assert_int_equal(ab_import_source_open(&source, path, &error), AB_OK);
    uint64_t step = 1;
    while (!source.is_last) {
        struct ab_bytes window = ab_import_source_window(&source);
        size_t take = window.bytes < step ? window.bytes : (size_t)step;
        if (take == 0) {
            ab_import_source_tell(&source, source.at);
            assert_int_equal(ab_import_source_fill(&source, &error), AB_OK);
            continue;
        }
        assert_memory_equal(window.data, content + source.at, take);
        ab_import_source_tell(&source, source.at + take); /* told before it is used up, as import does */
        if (step % 3 == 0) {
            uint8_t hash[16];
            ab_import_source_hash(&source, hash);
            struct ab_import_mark wanted = mark_of(source.at + take);
            assert_memory_equal(hash, &wanted.hash.low, 8);
            assert_memory_equal(hash + 8, &wanted.hash.high, 8);
        }
        ab_import_source_advance(&source, take);
        step = step * 2 > 3000000 ? 999999 : step * 2 + 1;
    }
    assert_int_equal(source.at, BYTES);
    ab_import_source_close(&source);
}

static ab_err marks_try(const struct ab_import_mark *marks, size_t count, struct ab_error *error)
{
    struct ab_import_source source;
    assert_int_equal(ab_import_source_open(&source, path, error), AB_OK);
    ab_err err = ab_import_source_marks(&source, marks, count, error);
    if (err == AB_OK) { /* reading begins at the beginning again */
        assert_int_equal(source.at, 0);
        assert_int_equal(ab_import_source_fill(&source, error), AB_OK);
        assert_memory_equal(ab_import_source_window(&source).data, content, 16);
    }
    ab_import_source_close(&source);
    return err;
}

static void test_source_unchanged_prefix_is_accepted(void **state)
{
    (void)state;
    struct ab_error error = {0};
    const struct ab_import_mark marks[] = {
        mark_of(BYTES), mark_of(1), {0}, mark_of(5000000), mark_of(5000000), mark_of(4194304)};
    assert_int_equal(marks_try(marks, 6, &error), AB_OK);
    assert_int_equal(marks_try(NULL, 0, &error), AB_OK);
}

static void test_source_changed_prefix_is_refused_with_the_place(void **state)
{
    (void)state;
    struct ab_error error = {0};
    const struct ab_import_mark marks[] = {mark_of(100), mark_of(7000000), mark_of(9000000)};
    content[8000000] ^= 1;
    file_write(content, BYTES);
    assert_int_equal(marks_try(marks, 3, &error), AB_MISMATCH);
    assert_non_null(strstr(error.text, "between byte 7000000 and byte 9000000"));
    content[8000000] ^= 1;
    file_write(content, BYTES);
}

static void test_source_shorter_than_a_mark_is_refused(void **state)
{
    (void)state;
    struct ab_error error = {0};
    const struct ab_import_mark marks[] = {mark_of(100), mark_of(7000000)};
    file_write(content, 6999999);
    assert_int_equal(marks_try(marks, 2, &error), AB_MISMATCH);
    assert_non_null(strstr(error.text, "ends at byte 6999999"));
    file_write(content, 0);
    assert_int_equal(marks_try(marks, 2, &error), AB_MISMATCH);
    file_write(content, BYTES);
}

static void test_source_absent_file_and_directory_are_refused(void **state)
{
    (void)state;
    struct ab_import_source source;
    struct ab_error error = {0};
    assert_int_equal(ab_import_source_open(&source, "/nonexistent/file", &error), AB_NOT_FOUND);
    ab_import_source_close(&source);
    assert_int_equal(ab_import_source_open(&source, "/tmp", &error), AB_USAGE);
    ab_import_source_close(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_hash_is_of_what_was_told),
        cmocka_unit_test(test_source_unchanged_prefix_is_accepted),
        cmocka_unit_test(test_source_changed_prefix_is_refused_with_the_place),
        cmocka_unit_test(test_source_shorter_than_a_mark_is_refused),
        cmocka_unit_test(test_source_absent_file_and_directory_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
