#include "common/crypto/key_file.h"

#include "tests/support/test.h"

#include <sys/stat.h>
#include <unistd.h>

static int group_setup(void **state)
{
    (void)state;
    return ab_crypto_init(NULL) == AB_OK ? 0 : 1;
}

static struct ab_key_file key_make(void)
{
    struct ab_key_file key = {.role = "operator", .name = "laptop-1.home"};
    ab_crypto_keys_generate(&key.keys);
    return key;
}

static unsigned mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777u;
}

static void test_key_file_written_reads_back_with_tight_modes(void **state)
{
    char *directory = scratch_path(*state, "keys");
    char *path = scratch_path(*state, "keys/operator.key");
    struct ab_error error = {0};
    struct ab_key_file key = key_make();
    struct ab_key_file back = {0};
    assert_ok(ab_key_file_write(path, &key, &error));
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(mode_of(directory), 0700);
    assert_ok(ab_key_file_read(path, &back, &error));
    assert_memory_equal(&back.keys, &key.keys, sizeof(key.keys));
    assert_string_equal(back.role, "operator");
    assert_string_equal(back.name, "laptop-1.home");
    assert_int_equal(ab_key_file_write(path, &key, &error), AB_EXISTS);
    ab_delete(path);
    ab_delete(directory);
}

static void test_key_file_readable_by_others_is_refused(void **state)
{
    char *path = scratch_path(*state, "k");
    struct ab_error error = {0};
    struct ab_key_file key = key_make();
    assert_ok(ab_key_file_write(path, &key, &error));
    const unsigned modes[] = {0640, 0604, 0620, 0601, 0666};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(ab_key_file_read(path, &key, &error), AB_DENIED);
        assert_non_null(strstr(error.text, "mode"));
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_ok(ab_key_file_read(path, &key, &error));
    ab_delete(path);
}

static void test_key_file_must_be_a_plain_file(void **state)
{
    char *fifo = scratch_path(*state, "fifo");
    struct ab_error error = {0};
    struct ab_key_file key;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(ab_key_file_read(fifo, &key, &error), AB_DENIED);
    assert_int_equal(ab_key_file_read(*state, &key, &error), AB_DENIED);
    ab_delete(fifo);
    char *absent = scratch_path(*state, "absent");
    assert_int_equal(ab_key_file_read(absent, &key, &error), AB_NOT_FOUND);
    ab_delete(absent);
}

static void test_key_file_in_a_directory_others_write_to_is_refused(void **state)
{
    char *directory = scratch_path(*state, "open");
    char *path = scratch_path(*state, "open/k");
    struct ab_error error = {0};
    struct ab_key_file key = key_make();
    assert_ok(ab_file_make_directory(directory, 0700, &error));
    assert_int_equal(chmod(directory, 0777), 0);
    assert_int_equal(ab_key_file_write(path, &key, &error), AB_DENIED);
    assert_false(ab_file_exists(path));
    ab_delete(path);
    ab_delete(directory);
}

static void test_key_file_wants_words(void **state)
{
    char *path = scratch_path(*state, "k");
    struct ab_error error = {0};
    const char *const bad[] = {"", "two words", "line\nbreak", "caf\xc3\xa9"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ab_key_file key = key_make();
        (void)snprintf(key.name, sizeof(key.name), "%s", bad[i]);
        assert_int_equal(ab_key_file_write(path, &key, &error), AB_INVALID);
    }
    ab_delete(path);
}

/* Every truncation and every flipped bit of a key file is refused, or is still a whole pair of keys. */
static void test_key_file_damaged_is_corrupt(void **state)
{
    char *path = scratch_path(*state, "k");
    struct ab_error error = {0};
    struct ab_key_file key = key_make();
    struct ab_buffer text = {0};
    assert_ok(ab_key_file_write(path, &key, &error));
    assert_ok(ab_file_read_all(path, &text, &error));
    for (size_t cut = 0; cut + 1 < text.bytes; cut++) {
        scratch_write(path, ab_bytes_of(text.data, cut), 0600);
        assert_int_equal(ab_key_file_read(path, &key, &error), AB_CORRUPT);
    }
    size_t keys_at = text.bytes - 140;
    for (size_t bit = keys_at * 8; bit < text.bytes * 8; bit += 3) {
        struct ab_key_file back;
        text.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        scratch_write(path, ab_buffer_view(&text), 0600);
        ab_err err = ab_key_file_read(path, &back, &error);
        assert_true(err == AB_CORRUPT || (err == AB_OK && memcmp(back.keys.public_key, key.keys.public_key, 32) == 0));
        text.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    ab_buffer_put(&text, "more\n", 5);
    scratch_write(path, ab_buffer_view(&text), 0600);
    assert_int_equal(ab_key_file_read(path, &key, &error), AB_CORRUPT);
    ab_buffer_fini(&text);
    char large[5000] = {0};
    scratch_write(path, ab_bytes_of(large, sizeof(large)), 0600);
    assert_int_equal(ab_key_file_read(path, &key, &error), AB_TOO_LARGE);
    ab_delete(path);
}

static void test_key_file_write_survives_every_fault(void **state)
{
    char *path = scratch_path(*state, "new/k");
    struct ab_error error = {0};
    struct ab_key_file key = key_make();
    struct ab_key_file back;
    int countdown = 0;
    for (;; countdown++) {
        assert_true(countdown < 30);
        ab_file_fault_set(countdown, 1, AB_NO_SPACE);
        ab_err err = ab_key_file_write(path, &key, &error);
        bool was_hit = ab_file_fault_was_hit();
        ab_file_fault_clear();
        if (!was_hit) {
            assert_ok(err);
            break;
        }
        assert_int_equal(err, AB_NO_SPACE);
        if (ab_file_exists(path)) { /* renamed, but the directory was not synced */
            assert_ok(ab_key_file_read(path, &back, &error));
            assert_int_equal(unlink(path), 0);
        }
    }
    assert_true(countdown >= 5);
    ab_file_fault_set(1, 1, AB_IO);
    assert_int_equal(ab_key_file_read(path, &back, &error), AB_IO);
    ab_delete(path);
}

static void test_allow_list_written_reads_back(void **state)
{
    char *path = scratch_path(*state, "allow");
    struct ab_error error = {0};
    struct ab_allow_entry entries[3] = {
        {.role = "producer", .name = "a"}, {.role = "query", .name = "b"}, {.role = "node", .name = "c"}};
    for (int i = 0; i < 3; i++) {
        ab_crypto_random(entries[i].public_key, AB_CRYPTO_KEY_BYTES);
    }
    struct ab_allow_entry *back = NULL;
    size_t count = 0;
    assert_ok(ab_allow_list_write(path, entries, 3, &error));
    assert_ok(ab_allow_list_read(path, &back, &count, &error));
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(back[i].public_key, entries[i].public_key, AB_CRYPTO_KEY_BYTES);
        assert_string_equal(back[i].role, entries[i].role);
        assert_string_equal(back[i].name, entries[i].name);
    }
    ab_delete(back);
    assert_int_equal(chmod(path, 0644), 0);
    assert_ok(ab_allow_list_read(path, &back, &count, &error));
    ab_delete(back);
    assert_int_equal(chmod(path, 0664), 0);
    assert_int_equal(ab_allow_list_read(path, &back, &count, &error), AB_DENIED);
    ab_delete(path);
}

static void test_allow_list_refuses_to_write_what_it_would_not_read(void **state)
{
    char *path = scratch_path(*state, "allow");
    struct ab_error error = {0};
    struct ab_allow_entry twice[2] = {{.role = "producer", .name = "a"}, {.role = "query", .name = "b"}};
    struct ab_allow_entry nameless = {.role = "producer"};
    assert_int_equal(ab_allow_list_write(path, twice, 2, &error), AB_INVALID);
    assert_int_equal(ab_allow_list_write(path, &nameless, 1, &error), AB_INVALID);
    assert_false(ab_file_exists(path));
    ab_file_fault_set(0, 1, AB_IO);
    assert_int_equal(ab_allow_list_write(path, twice, 1, &error), AB_IO);
    ab_file_fault_clear();
    assert_ok(ab_allow_list_write(path, twice, 0, &error));
    ab_delete(path);
}

#define KEY "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
#define OTHER "77076d0a7318a57d3c16c17251b26645df4c2f92ebc0992ac177fba51db92c2a"

static void test_allow_list_decodes_comments_and_spaces(void **state)
{
    (void)state;
    struct ab_allow_entry *entries = NULL;
    size_t count = 0;
    struct ab_error error = {0};
    assert_ok(ab_allow_list_decode(
        bytes_of("# people\n\n" KEY "  operator   ann\n" OTHER " query bob"), &entries, &count, &error));
    assert_int_equal(count, 2);
    assert_string_equal(entries[0].name, "ann");
    assert_string_equal(entries[1].role, "query");
    ab_delete(entries);
    assert_ok(ab_allow_list_decode(ab_bytes_of(NULL, 0), &entries, &count, &error));
    assert_int_equal(count, 0);
    ab_delete(entries);
}

static void test_allow_list_refuses_with_the_line(void **state)
{
    (void)state;
    const char *const bad[] = {"#\n" KEY "\n", "#\n" KEY " operator\n", "#\n" KEY " operator ann more\n",
        "#\n" KEY "0 operator ann\n", "#\nzz operator ann\n", "#\n" KEY " oper/ator ann\n",
        "#\n" KEY " a-role-that-is-too-long ann\n", "\n" KEY "\toperator\tann\n", KEY " a b\n" KEY " c d\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ab_allow_entry *entries = NULL;
        size_t count = 0;
        struct ab_error error = {0};
        assert_int_equal(ab_allow_list_decode(bytes_of(bad[i]), &entries, &count, &error), AB_CORRUPT);
        assert_non_null(strstr(error.text, "line 2"));
        assert_null(entries);
    }
}

static void test_allow_list_is_bounded(void **state)
{
    (void)state;
    struct ab_buffer text = {0};
    for (unsigned i = 0; i < AB_ALLOW_LIST_ENTRIES_MAX; i++) {
        ab_buffer_put_format(&text, "%064x role name\n", i);
    }
    struct ab_allow_entry *entries = NULL;
    size_t count = 0;
    struct ab_error error = {0};
    assert_ok(ab_allow_list_decode(ab_buffer_view(&text), &entries, &count, &error));
    assert_int_equal(count, AB_ALLOW_LIST_ENTRIES_MAX);
    ab_delete(entries);
    ab_buffer_put_format(&text, "%064x role name\n", AB_ALLOW_LIST_ENTRIES_MAX);
    assert_int_equal(ab_allow_list_decode(ab_buffer_view(&text), &entries, &count, &error), AB_TOO_LARGE);
    ab_buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_key_file_written_reads_back_with_tight_modes, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_key_file_readable_by_others_is_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_key_file_must_be_a_plain_file, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_key_file_in_a_directory_others_write_to_is_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_key_file_wants_words, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_key_file_damaged_is_corrupt, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_key_file_write_survives_every_fault, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_allow_list_written_reads_back, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_allow_list_refuses_to_write_what_it_would_not_read, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_allow_list_decodes_comments_and_spaces),
        cmocka_unit_test(test_allow_list_refuses_with_the_line),
        cmocka_unit_test(test_allow_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
