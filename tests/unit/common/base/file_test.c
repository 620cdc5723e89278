#include "common/base/file.h"

#include "common/base/hash.h"

#include "tests/support/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_file_write_read_sync(void **state)
{
    char *path = scratch_path(*state, "f");
    struct ab_error error = {0};
    int fd = -1;
    char data[6] = {0};
    uint64_t bytes = 0;
    assert_ok(ab_file_open(path, O_RDWR | O_CREAT, 0600, &fd, &error));
    assert_ok(ab_file_write_at(fd, bytes_of("hello"), 3));
    assert_ok(ab_file_sync(fd));
    assert_ok(ab_file_bytes(fd, &bytes));
    assert_int_equal(bytes, 8);
    assert_ok(ab_file_read_at(fd, data, 5, 3));
    assert_string_equal(data, "hello");
    assert_int_equal(ab_file_read_at(fd, data, 6, 3), AB_END);
    assert_int_equal(ab_file_read_at(fd, data, 1, 100), AB_END);
    ab_file_close(&fd);
    assert_int_equal(fd, -1);
    ab_file_close(&fd);
    ab_delete(path);
}

static void test_file_open_names_the_path(void **state)
{
    (void)state;
    struct ab_error error = {0};
    int fd = 77;
    assert_int_equal(ab_file_open("/nowhere/at/all", O_RDONLY, 0, &fd, &error), AB_NOT_FOUND);
    assert_non_null(strstr(error.text, "/nowhere/at/all"));
    assert_int_equal(fd, 77);
}

static void test_file_read_all_respects_the_maximum(void **state)
{
    char *path = scratch_path(*state, "f");
    struct ab_error error = {0};
    struct ab_buffer out;
    scratch_write(path, bytes_of("1234567890"), 0600);
    ab_buffer_init(&out, NULL, 12);
    ab_buffer_put(&out, "ab", 2);
    assert_ok(ab_file_read_all(path, &out, &error));
    assert_string_equal(ab_buffer_text(&out), "ab1234567890");
    ab_buffer_fini(&out);
    ab_buffer_init(&out, NULL, 11);
    ab_buffer_put(&out, "ab", 2);
    assert_int_equal(ab_file_read_all(path, &out, &error), AB_TOO_LARGE);
    assert_int_equal(out.bytes, 2);
    ab_buffer_fini(&out);
    ab_delete(path);
}

static void test_file_replace_swaps_content_and_leaves_no_rest(void **state)
{
    char *path = scratch_path(*state, "f");
    struct ab_error error = {0};
    struct stat status;
    assert_ok(ab_file_replace(path, bytes_of("one"), 0600, &error));
    assert_ok(ab_file_replace(path, bytes_of("two"), 0640, &error));
    struct ab_buffer out = {0};
    assert_ok(ab_file_read_all(path, &out, &error));
    assert_string_equal(ab_buffer_text(&out), "two");
    ab_buffer_fini(&out);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    char **names = NULL;
    size_t count = 0;
    assert_ok(ab_file_list(*state, &names, &count, &error));
    assert_int_equal(count, 1);
    ab_file_names_free(names, count);
    ab_delete(path);
}

/* Every failing step leaves the old content or, once renamed, the new one, and no temporary file. */
static void test_file_replace_survives_every_fault(void **state)
{
    char *path = scratch_path(*state, "f");
    struct ab_error error = {0};
    scratch_write(path, bytes_of("old"), 0600);
    int failures = 0;
    for (int countdown = 0; countdown < 20; countdown++) {
        ab_file_fault_set(countdown, 1, AB_NO_SPACE);
        ab_err err = ab_file_replace(path, bytes_of("new"), 0600, &error);
        bool was_hit = ab_file_fault_was_hit();
        ab_file_fault_clear();
        assert_int_equal(err, was_hit ? AB_NO_SPACE : AB_OK);
        char **names = NULL;
        size_t count = 0;
        assert_ok(ab_file_list(*state, &names, &count, &error));
        assert_int_equal(count, 1);
        ab_file_names_free(names, count);
        struct ab_buffer out = {0};
        assert_ok(ab_file_read_all(path, &out, &error));
        const char *text = ab_buffer_text(&out);
        assert_true(strcmp(text, "old") == 0 || strcmp(text, "new") == 0);
        ab_buffer_fini(&out);
        if (!was_hit) {
            break;
        }
        failures++;
    }
    assert_in_range(failures, 5, 10);
    ab_delete(path);
}

static void test_file_make_directory_makes_parents(void **state)
{
    char *path = scratch_path(*state, "a//b/c/");
    struct ab_error error = {0};
    assert_ok(ab_file_make_directory(path, 0700, &error));
    assert_ok(ab_file_make_directory(path, 0700, &error));
    assert_true(ab_file_exists(path));
    char *file = scratch_path(*state, "plain");
    char *below = scratch_path(*state, "plain/x");
    scratch_write(file, bytes_of(""), 0600);
    assert_int_equal(ab_file_make_directory(file, 0700, &error), AB_EXISTS);
    assert_int_equal(ab_file_make_directory(below, 0700, &error), AB_EXISTS);
    assert_int_equal(ab_file_make_directory("", 0700, &error), AB_NOT_FOUND);
    ab_file_fault_set(0, 1, AB_IO);
    char *other = scratch_path(*state, "other");
    assert_int_equal(ab_file_make_directory(other, 0700, &error), AB_IO);
    assert_false(ab_file_exists(other));
    ab_delete(other);
    ab_delete(below);
    ab_delete(file);
    ab_delete(path);
}

static void test_file_remove_tree_does_not_follow_links(void **state)
{
    struct ab_error error = {0};
    char *tree = scratch_path(*state, "tree");
    char *deep = scratch_path(*state, "tree/x/y/z");
    char *kept = scratch_path(*state, "kept");
    char *kept_file = scratch_path(*state, "kept/file");
    char *link = scratch_path(*state, "tree/x/link");
    assert_ok(ab_file_make_directory(deep, 0700, &error));
    assert_ok(ab_file_make_directory(kept, 0700, &error));
    scratch_write(kept_file, bytes_of("1"), 0600);
    assert_int_equal(symlink(kept, link), 0);
    ab_file_fault_set(2, 1, AB_IO);
    assert_int_equal(ab_file_remove_tree(tree, &error), AB_IO);
    ab_file_fault_clear();
    assert_ok(ab_file_remove_tree(tree, &error));
    assert_false(ab_file_exists(tree));
    assert_true(ab_file_exists(kept_file));
    assert_ok(ab_file_remove_tree(tree, &error));
    assert_ok(ab_file_remove_tree(kept_file, &error));
    assert_false(ab_file_exists(kept_file));
    ab_delete(link);
    ab_delete(kept_file);
    ab_delete(kept);
    ab_delete(deep);
    ab_delete(tree);
}

static void test_file_list_is_sorted(void **state)
{
    struct ab_error error = {0};
    const char *const made[] = {"b", "a10", "a2", "B"};
    for (size_t i = 0; i < 4; i++) {
        char *path = scratch_path(*state, made[i]);
        scratch_write(path, bytes_of(""), 0600);
        ab_delete(path);
    }
    char **names = NULL;
    size_t count = 0;
    assert_ok(ab_file_list(*state, &names, &count, &error));
    assert_int_equal(count, 4);
    const char *const expected[] = {"B", "a10", "a2", "b"};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(names[i], expected[i]);
    }
    ab_file_names_free(names, count);
    assert_int_equal(ab_file_list("/nowhere", &names, &count, &error), AB_NOT_FOUND);
    ab_file_fault_set(0, 1, AB_IO);
    assert_int_equal(ab_file_list(*state, &names, &count, &error), AB_IO);
}

static void test_file_lock_is_exclusive(void **state)
{
    char *path = scratch_path(*state, "lock");
    struct ab_error error = {0};
    int fd = -1;
    int other = -1;
    assert_ok(ab_file_lock(path, &fd, &error));
    assert_int_equal(ab_file_lock(path, &other, &error), AB_BUSY);
    assert_int_equal(other, -1);
    ab_file_close(&fd);
    assert_ok(ab_file_lock(path, &other, &error));
    ab_file_close(&other);
    ab_delete(path);
}

static void test_file_hash_equals_the_bytes(void **state)
{
    char *path = scratch_path(*state, "f");
    struct ab_error error = {0};
    struct ab_buffer content = {0};
    for (uint32_t i = 0; i < 150000; i++) {
        ab_buffer_put_u32(&content, i * 2654435761u);
    }
    scratch_write(path, ab_buffer_view(&content), 0600);
    struct ab_hash128 hash = {0};
    uint64_t bytes = 0;
    assert_ok(ab_file_hash(path, &hash, &bytes, &error));
    assert_int_equal(bytes, content.bytes);
    assert_true(ab_hash128_equal(hash, ab_hash128(AB_HASH_CONTENT, ab_buffer_view(&content))));
    ab_file_fault_set(2, 1, AB_IO);
    assert_int_equal(ab_file_hash(path, &hash, &bytes, &error), AB_IO);
    ab_buffer_fini(&content);
    ab_delete(path);
}

static void test_file_space(void **state)
{
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    assert_ok(ab_file_space(*state, &free_bytes, &total_bytes));
    assert_true(total_bytes > 0 && free_bytes <= total_bytes);
    assert_int_equal(ab_file_space("/nowhere", &free_bytes, &total_bytes), AB_NOT_FOUND);
}

static void test_file_faults_repeat_and_end(void **state)
{
    struct ab_error error = {0};
    int fd = -1;
    ab_file_fault_set(1, 2, AB_IO);
    assert_ok(ab_file_open(*state, O_RDONLY | O_DIRECTORY, 0, &fd, &error));
    assert_false(ab_file_fault_was_hit());
    assert_int_equal(ab_file_sync(fd), AB_IO);
    assert_true(ab_file_fault_was_hit());
    uint64_t bytes;
    assert_int_equal(ab_file_bytes(fd, &bytes), AB_IO);
    assert_ok(ab_file_bytes(fd, &bytes));
    ab_file_close(&fd);
    ab_file_fault_clear();
    assert_ok(ab_file_sync_directory(*state));
    assert_int_equal(ab_file_sync_directory("/nowhere"), AB_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_write_read_sync, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_open_names_the_path, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_read_all_respects_the_maximum, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_file_replace_swaps_content_and_leaves_no_rest, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_replace_survives_every_fault, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_make_directory_makes_parents, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_remove_tree_does_not_follow_links, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_list_is_sorted, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_lock_is_exclusive, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_hash_equals_the_bytes, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_space, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_file_faults_repeat_and_end, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
