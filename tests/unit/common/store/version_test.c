#include "common/store/version.h"

#include "common/base/file.h"
#include "common/store/partition_state.h"
#include "tests/unit/common/store/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- helpers ---- */

/* Writes rows k -> "value k" for even k below 2 * count. */
static struct ab_version_summary version_write(const char *directory, uint64_t count)
{
    struct ab_version_writer *writer = NULL;
    struct ab_version_summary summary = {0};
    struct ab_buffer value = {0};
    struct ab_error error = {0};
    uint8_t key[9];
    assert_int_equal(ab_version_writer_create(directory, &writer, &error), AB_OK);
    for (uint64_t k = 0; k < count; k++) {
        ab_buffer_clear(&value);
        ab_buffer_put_format(&value, "value %llu", (unsigned long long)(2 * k));
        assert_int_equal(ab_version_writer_add(writer, fixture_key(2 * k, key), ab_buffer_view(&value), &error), AB_OK);
    }
    if (ab_version_writer_finish(writer, &summary, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    ab_buffer_fini(&value);
    return summary;
}

static struct ab_version_reader *version_open(const char *directory, struct ab_store_cache *cache, bool verify)
{
    struct ab_version_reader *reader = NULL;
    struct ab_error error = {0};
    if (ab_version_reader_open(directory, cache, verify, &reader, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return reader;
}

/* Names and sizes in a directory, as one text. */
static void listing(const char *directory, struct ab_buffer *out)
{
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(ab_file_list(directory, &names, &count, NULL), AB_OK);
    for (size_t i = 0; i < count; i++) {
        char *path = ab_new_format("%s/%s", directory, names[i]);
        struct stat status;
        assert_int_equal(stat(path, &status), 0);
        ab_buffer_put_format(out, "%s %lld %lld\n", names[i], (long long)status.st_size, (long long)status.st_mtime);
        ab_delete(path);
    }
    ab_file_names_free(names, count);
}

/* ---- cases ---- */

static void test_version_gives_back_what_was_written(void **unused)
{
    (void)unused;
    char *parent = scratch_make();
    char *directory = ab_new_format("%s/shard-0", parent);
    struct ab_store_cache *cache = ab_store_cache_create(4 << 20, 1);
    struct ab_version_summary written = version_write(directory, 5000);
    assert_int_equal(written.rows_count, 5000);
    struct ab_version_reader *reader = version_open(directory, cache, true);
    struct ab_version_summary read = {0};
    ab_version_reader_summary(reader, &read);
    assert_int_equal(read.rows_count, 5000);
    assert_int_equal(read.bytes, written.bytes);
    assert_true(ab_hash128_equal(read.content, written.content));
    struct ab_buffer out = {0};
    uint8_t key[9];
    assert_int_equal(ab_version_reader_get(reader, fixture_key(4242, key), &out, NULL), AB_OK);
    assert_true(ab_bytes_equal(ab_buffer_view(&out), ab_bytes_of_text("value 4242")));
    assert_int_equal(ab_version_reader_get(reader, fixture_key(4241, key), &out, NULL), AB_NOT_FOUND);
    struct ab_version_iterator *iterator = NULL;
    uint8_t until[9];
    struct ab_bytes k;
    struct ab_bytes v;
    assert_int_equal(
        ab_version_iterator_open(reader, fixture_key(101, key), fixture_key(9000, until), &iterator, NULL), AB_OK);
    assert_int_equal(ab_version_iterator_next(iterator, &k, &v, NULL), AB_OK);
    assert_true(ab_bytes_equal(k, fixture_key(102, key)));
    ab_version_iterator_seek(iterator, fixture_key(8997, key));
    assert_int_equal(ab_version_iterator_next(iterator, &k, &v, NULL), AB_OK);
    assert_true(ab_bytes_equal(v, ab_bytes_of_text("value 8998")));
    assert_int_equal(ab_version_iterator_next(iterator, &k, &v, NULL), AB_END);
    ab_version_iterator_close(iterator);
    ab_version_reader_close(reader);
    ab_store_cache_destroy(cache);
    ab_buffer_fini(&out);
    ab_delete(directory);
    scratch_remove(parent);
}

static void test_version_content_does_not_depend_on_the_build(void **unused)
{
    (void)unused;
    char *parent = scratch_make();
    char *first = ab_new_format("%s/a", parent);
    char *second = ab_new_format("%s/b", parent);
    char *other = ab_new_format("%s/c", parent);
    struct ab_version_summary a = version_write(first, 300);
    struct ab_version_summary b = version_write(second, 300);
    struct ab_version_summary c = version_write(other, 301);
    assert_true(ab_hash128_equal(a.content, b.content));
    assert_false(ab_hash128_equal(a.content, c.content));
    ab_delete(first);
    ab_delete(second);
    ab_delete(other);
    scratch_remove(parent);
}

static void test_version_without_rows_is_legal(void **unused)
{
    (void)unused;
    char *parent = scratch_make();
    char *directory = ab_new_format("%s/empty", parent);
    struct ab_version_summary summary = version_write(directory, 0);
    assert_int_equal(summary.rows_count, 0);
    struct ab_version_reader *reader = version_open(directory, NULL, true);
    struct ab_buffer out = {0};
    struct ab_version_iterator *iterator = NULL;
    struct ab_bytes key;
    struct ab_bytes value;
    assert_int_equal(ab_version_reader_get(reader, ab_bytes_of_text("x"), &out, NULL), AB_NOT_FOUND);
    assert_int_equal(
        ab_version_iterator_open(reader, (struct ab_bytes){0}, (struct ab_bytes){0}, &iterator, NULL), AB_OK);
    assert_int_equal(ab_version_iterator_next(iterator, &key, &value, NULL), AB_END);
    ab_version_iterator_seek(iterator, ab_bytes_of_text("x"));
    ab_version_iterator_close(iterator);
    ab_version_reader_close(reader);
    ab_delete(directory);
    scratch_remove(parent);
}

static void test_version_reader_writes_nothing(void **unused)
{
    (void)unused;
    char *parent = scratch_make();
    char *directory = ab_new_format("%s/v", parent);
    (void)version_write(directory, 1000);
    struct ab_buffer before = {0};
    struct ab_buffer after = {0};
    listing(directory, &before);
    struct ab_version_reader *first = version_open(directory, NULL, true);
    struct ab_version_reader *second = version_open(directory, NULL, false);
    listing(directory, &after);
    assert_true(ab_bytes_equal(ab_buffer_view(&before), ab_buffer_view(&after)));
    ab_version_reader_close(first);
    ab_version_reader_close(second);
    ab_buffer_clear(&after);
    listing(directory, &after);
    assert_true(ab_bytes_equal(ab_buffer_view(&before), ab_buffer_view(&after)));
    ab_buffer_fini(&before);
    ab_buffer_fini(&after);
    ab_delete(directory);
    scratch_remove(parent);
}

static void test_version_writer_refuses_keys_that_do_not_rise_and_finished_directories(void **unused)
{
    (void)unused;
    char *parent = scratch_make();
    char *directory = ab_new_format("%s/v", parent);
    struct ab_version_writer *writer = NULL;
    struct ab_bytes b = ab_bytes_of_text("b");
    assert_int_equal(ab_version_writer_create(directory, &writer, NULL), AB_OK);
    assert_int_equal(ab_version_writer_add(writer, b, b, NULL), AB_OK);
    assert_int_equal(ab_version_writer_add(writer, b, b, NULL), AB_USAGE);
    ab_version_writer_abandon(writer);
    assert_false(ab_file_exists(directory));
    struct ab_version_reader *reader = NULL;
    assert_int_equal(ab_version_reader_open(directory, NULL, false, &reader, NULL), AB_NOT_FOUND);
    /* What a killed attempt left is cleared. */
    assert_int_equal(ab_file_make_directory(directory, 0700, NULL), AB_OK);
    char *left = ab_new_format("%s/staged-000000.sst", directory);
    int fd = open(left, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(ab_version_reader_open(directory, NULL, false, &reader, NULL), AB_NOT_FOUND);
    (void)version_write(directory, 10);
    assert_false(ab_file_exists(left));
    assert_int_equal(ab_version_writer_create(directory, &writer, NULL), AB_EXISTS);
    ab_delete(left);
    ab_delete(directory);
    scratch_remove(parent);
}

/* Flips one bit in the middle of a file, or cuts its last byte. */
static void file_damage(const char *path, bool is_cut)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    if (is_cut) {
        assert_int_equal(ftruncate(fd, status.st_size - 1), 0);
    } else {
        uint8_t byte = 0;
        assert_int_equal(pread(fd, &byte, 1, status.st_size / 2), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, status.st_size / 2), 1);
    }
    close(fd);
}

static void test_version_every_damaged_file_is_corrupt(void **unused)
{
    (void)unused;
    char *parent = scratch_make();
    char *directory = ab_new_format("%s/v", parent);
    (void)version_write(directory, 3000);
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(ab_file_list(directory, &names, &count, NULL), AB_OK);
    assert_true(count >= 3);
    for (size_t i = 0; i < count; i++) {
        char *path = ab_new_format("%s/%s", directory, names[i]);
        struct ab_buffer content = {0};
        struct ab_version_reader *reader = NULL;
        struct ab_error error = {0};
        assert_int_equal(ab_file_read_all(path, &content, NULL), AB_OK);
        file_damage(path, false);
        ab_err err = ab_version_reader_open(directory, NULL, true, &reader, &error);
        assert_true(err == AB_CORRUPT || err == AB_UNSUPPORTED);
        assert_int_equal(ab_file_replace(path, ab_buffer_view(&content), 0600, NULL), AB_OK);
        if (strcmp(names[i], "manifest.json") != 0) {
            file_damage(path, true);
            assert_int_equal(ab_version_reader_open(directory, NULL, false, &reader, &error), AB_CORRUPT);
            assert_int_equal(unlink(path), 0);
            assert_int_equal(ab_version_reader_open(directory, NULL, false, &reader, &error), AB_CORRUPT);
            assert_int_equal(ab_file_replace(path, ab_buffer_view(&content), 0600, NULL), AB_OK);
        }
        ab_version_reader_close(version_open(directory, NULL, true));
        ab_buffer_fini(&content);
        ab_delete(path);
    }
    ab_file_names_free(names, count);
    ab_delete(directory);
    scratch_remove(parent);
}

static void test_version_nonsense_manifests_are_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        ab_err err;
    } cases[] = {
        {"", AB_CORRUPT},
        {"[]", AB_CORRUPT},
        {"{\"format\":2}", AB_UNSUPPORTED},
        {"{\"format\":1}", AB_CORRUPT},
        {"{\"format\":1,\"rows\":\"1\",\"bytes\":\"1\",\"content\":\"00\",\"files\":[]}", AB_CORRUPT},
        {"{\"format\":1,\"rows\":\"1\",\"bytes\":\"1\",\"content\":\"00000000000000000000000000000000\","
         "\"files\":[{\"name\":\"../etc/passwd\",\"bytes\":\"1\",\"hash\":\"00000000000000000000000000000000\"}]}",
            AB_CORRUPT},
    };
    char *parent = scratch_make();
    char *path = ab_new_format("%s/manifest.json", parent);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ab_version_reader *reader = NULL;
        assert_int_equal(ab_file_replace(path, ab_bytes_of_text(cases[i].text), 0600, NULL), AB_OK);
        assert_int_equal(ab_version_reader_open(parent, NULL, true, &reader, NULL), cases[i].err);
    }
    ab_delete(path);
    scratch_remove(parent);
}

static void test_version_writer_survives_the_nth_call_failing(void **unused)
{
    (void)unused;
    char *parent = scratch_make();
    char *directory = ab_new_format("%s/v", parent);
    ab_err err = AB_IO;
    for (int countdown = 0; err != AB_OK; countdown++) {
        struct ab_version_writer *writer = NULL;
        struct ab_version_summary summary = {0};
        ab_file_fault_set(countdown, 1, AB_NO_SPACE);
        err = ab_version_writer_create(directory, &writer, NULL);
        if (err == AB_OK) {
            assert_int_equal(ab_version_writer_add(writer, ab_bytes_of_text("k"), ab_bytes_of_text("v"), NULL), AB_OK);
            err = ab_version_writer_finish(writer, &summary, NULL);
        }
        bool was_hit = ab_file_fault_was_hit();
        ab_file_fault_clear();
        assert_true(err == AB_NO_SPACE || (err == AB_OK && !was_hit));
        char *manifest = ab_new_format("%s/manifest.json", directory);
        bool exists = ab_file_exists(manifest);
        ab_delete(manifest);
        if (err != AB_OK && exists) {
            /* Only the last sync failed: the caller was told no, the directory is whole. */
            ab_version_reader_close(version_open(directory, NULL, true));
            assert_int_equal(ab_file_remove_tree(directory, NULL), AB_OK);
        }
    }
    ab_version_reader_close(version_open(directory, NULL, true));
    ab_delete(directory);
    scratch_remove(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_gives_back_what_was_written),
        cmocka_unit_test(test_version_content_does_not_depend_on_the_build),
        cmocka_unit_test(test_version_without_rows_is_legal),
        cmocka_unit_test(test_version_reader_writes_nothing),
        cmocka_unit_test(test_version_writer_refuses_keys_that_do_not_rise_and_finished_directories),
        cmocka_unit_test(test_version_every_damaged_file_is_corrupt),
        cmocka_unit_test(test_version_nonsense_manifests_are_refused),
        cmocka_unit_test(test_version_writer_survives_the_nth_call_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
