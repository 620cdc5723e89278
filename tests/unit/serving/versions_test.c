/* Served versions: directories are opened once, shared, checked against what was published, and closed with the last
 * user. */
#include "serving/versions.h"

#include "common/base/thread.h"

#include "tests/support/test.h"
#include "tests/unit/serving/version_fixture.h"

struct served {
    char *root;
    struct ab_store_cache *cache;
    struct ab_versions *versions;
};

static struct served served_open(void)
{
    struct served served = {.root = scratch_make(), .cache = ab_store_cache_create(4u << 20, 1)};
    served.versions = ab_versions_create(served.root, served.cache);
    return served;
}

static void served_close(struct served *served)
{
    ab_versions_destroy(served->versions);
    ab_store_cache_destroy(served->cache);
    scratch_remove(served->root);
}

static struct ab_served_version *version_open(struct served *served, const struct version_wanted *wanted)
{
    struct ab_json *manifest = version_make(served->root, wanted);
    struct ab_served_version *version = NULL;
    struct ab_error error = {0};
    if (ab_served_version_open(served->versions, manifest, &version, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    ab_json_destroy(manifest);
    return version;
}

static void assert_readable(struct ab_served_version *version, uint32_t directory, uint32_t shard)
{
    struct ab_buffer value = {0};
    struct ab_error error = {0};
    char *key = ab_new_format("%08u-1", shard);
    struct ab_version_reader *reader = ab_served_version_reader(version, directory, shard);
    assert_ok(ab_version_reader_get(reader, bytes_of(key), &value, &error));
    assert_true(value.bytes > 0);
    ab_delete(key);
    ab_buffer_fini(&value);
}

static void test_versions_open_reads_every_shard(void **state)
{
    (void)state;
    struct served served = served_open();
    struct version_wanted wanted = {"v", 7, 1, 3, 2, 2};
    struct ab_served_version *version = version_open(&served, &wanted);
    const struct ab_version_manifest *manifest = ab_served_version_manifest(version);
    assert_string_equal(manifest->view, "v");
    assert_int_equal(manifest->cut, 3);
    for (uint32_t d = 0; d < 2; d++) {
        for (uint32_t s = 0; s < 2; s++) {
            assert_readable(version, d, s);
        }
    }
    ab_served_version_release(version);
    ab_served_version_release(NULL);
    assert_null(ab_served_version_acquire(NULL));
    served_close(&served);
}

static void test_versions_that_share_directories_share_their_readers(void **state)
{
    (void)state;
    struct served served = served_open();
    struct ab_served_version *before = version_open(&served, &(struct version_wanted){"v", 7, 1, 2, 1, 2});
    struct ab_served_version *after = version_open(&served, &(struct version_wanted){"v", 7, 1, 3, 2, 2});
    assert_ptr_equal(ab_served_version_reader(before, 0, 1), ab_served_version_reader(after, 0, 1));
    assert_ptr_not_equal(ab_served_version_reader(after, 0, 1), ab_served_version_reader(after, 1, 1));
    ab_served_version_release(before); /* what is shared stays open */
    assert_readable(after, 0, 0);
    assert_readable(after, 1, 1);
    struct ab_served_version *again = ab_served_version_acquire(after);
    ab_served_version_release(after);
    assert_readable(again, 0, 1);
    ab_served_version_release(again);
    served_close(&served);
}

static void test_versions_removed_directory_is_read_to_the_end(void **state)
{
    (void)state;
    struct served served = served_open();
    struct ab_served_version *version = version_open(&served, &(struct version_wanted){"v", 7, 1, 1, 1, 1});
    assert_readable(version, 0, 0);
    char *path = scratch_path(served.root, "versions");
    struct ab_error error = {0};
    assert_ok(ab_file_remove_tree(path, &error));
    assert_readable(version, 0, 0); /* a pinned version outlives its directory */
    ab_delete(path);
    ab_served_version_release(version);
    served_close(&served);
}

/* Opening the changed manifest must fail with this code and leave nothing open. */
static void expect_refused(struct served *served, struct ab_json *manifest, ab_err code, const char *text)
{
    struct ab_served_version *version = NULL;
    struct ab_error error = {0};
    ab_err found = ab_served_version_open(served->versions, manifest, &version, &error);
    if (found != code || strstr(error.text, text) == NULL) {
        fail_msg("found %s: %s", ab_err_name(found), error.text);
    }
    assert_null(version);
    ab_json_destroy(manifest);
}

static struct ab_json *shard_of(struct ab_json *manifest, size_t directory, size_t shard)
{
    struct ab_json *entry = ab_json_at(ab_json_get(manifest, "directories"), directory);
    return ab_json_at(ab_json_get(entry, "shards"), shard);
}

static void test_versions_other_directory_than_published_is_corrupt(void **state)
{
    (void)state;
    struct served served = served_open();
    struct version_wanted wanted = {"v", 7, 1, 3, 2, 2};
    struct ab_json *manifest = version_make(served.root, &wanted);
    ab_json_set_u64(shard_of(manifest, 1, 1), "rows", 4);
    expect_refused(&served, manifest, AB_CORRUPT, "versions/v-1/3-3/shard-1");
    manifest = version_make(served.root, &wanted);
    ab_json_set(shard_of(manifest, 0, 1), "content", ab_json_text("00000000000000000000000000000001"));
    expect_refused(&served, manifest, AB_CORRUPT, "versions/v-1/1-2/shard-1");
    manifest = version_make(served.root, &wanted);
    ab_json_set(ab_json_at(ab_json_get(manifest, "directories"), 1), "path", ab_json_text("versions/v-1/absent"));
    expect_refused(&served, manifest, AB_NOT_FOUND, "absent");
    manifest = version_make(served.root, &wanted);
    ab_json_set(manifest, "uid", ab_json_integer(0));
    expect_refused(&served, manifest, AB_INVALID, "uid");
    expect_refused(&served, ab_json_array(), AB_INVALID, "format");
    struct ab_served_version *version = version_open(&served, &wanted); /* what was refused has not spoilt the table */
    assert_readable(version, 1, 1);
    ab_served_version_release(version);
    served_close(&served);
}

static void test_versions_open_reader_does_not_excuse_another_promise(void **state)
{
    (void)state;
    struct served served = served_open();
    struct version_wanted wanted = {"v", 7, 1, 3, 2, 2};
    struct ab_served_version *version = version_open(&served, &wanted);
    struct ab_json *manifest = version_make(served.root, &wanted);
    ab_json_set_u64(shard_of(manifest, 1, 1), "rows", 4);
    expect_refused(&served, manifest, AB_CORRUPT, "shard-1");
    assert_readable(version, 1, 1);
    ab_served_version_release(version);
    served_close(&served);
}

struct racer {
    struct served *served;
    const struct version_wanted *wanted;
    struct ab_thread thread;
};

static void open_and_release(void *context)
{
    struct racer *racer = context;
    for (int i = 0; i < 20; i++) {
        struct ab_served_version *version = version_open(racer->served, racer->wanted);
        assert_readable(version, 0, 0);
        ab_served_version_release(version);
    }
}

static void test_versions_open_and_release_from_many_threads(void **state)
{
    (void)state;
    struct served served = served_open();
    struct version_wanted wanted = {"v", 7, 1, 2, 1, 2};
    struct racer racers[4];
    ab_json_destroy(version_make(served.root, &wanted));
    for (size_t i = 0; i < 4; i++) {
        racers[i] = (struct racer){.served = &served, .wanted = &wanted};
        ab_thread_start(&racers[i].thread, "racer", open_and_release, &racers[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        ab_thread_join(&racers[i].thread);
    }
    served_close(&served);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_open_reads_every_shard),
        cmocka_unit_test(test_versions_that_share_directories_share_their_readers),
        cmocka_unit_test(test_versions_removed_directory_is_read_to_the_end),
        cmocka_unit_test(test_versions_other_directory_than_published_is_corrupt),
        cmocka_unit_test(test_versions_open_reader_does_not_excuse_another_promise),
        cmocka_unit_test(test_versions_open_and_release_from_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
