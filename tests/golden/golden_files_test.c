/* The bytes of a cluster's small files: identity, keys, allow list, manifests, markers, the coordination journal. */
#include "batch/sealed.h"
#include "common/coordination/coordination.h"
#include "common/crypto/key_file.h"
#include "common/history/manifest.h"
#include "common/store/directory_manifest.h"
#include "common/wire/node.h"
#include "tests/golden/golden.h"
#include "tests/support/test.h"

#define CREATED "\"created\": \""

/* ---- helpers: files of a scratch directory against committed ones ---- */

static void file_read(const char *directory, const char *name, struct ab_buffer *out)
{
    char *path = scratch_path(directory, name);
    struct ab_error error = {0};
    assert_ok(ab_file_read_all(path, out, &error));
    ab_delete(path);
}

static void file_expect(const char *directory, const char *name, const char *golden)
{
    struct ab_buffer content = {0};
    file_read(directory, name, &content);
    golden_expect(golden, ab_buffer_view(&content));
    ab_buffer_fini(&content);
}

/* Puts a committed file where a reader looks for it. */
static char *file_place(const char *directory, const char *name, const char *golden)
{
    struct ab_buffer content = {0};
    char *path = scratch_path(directory, name);
    golden_read(golden, &content);
    scratch_write(path, ab_buffer_view(&content), 0600);
    ab_buffer_fini(&content);
    return path;
}

static void json_expect(const char *golden, struct ab_json *made)
{
    struct ab_buffer text = {0};
    ab_json_write(made, 0, &text);
    golden_expect(golden, ab_buffer_view(&text));
    ab_buffer_fini(&text);
    ab_json_destroy(made);
}

static struct ab_json *json_read(const char *golden)
{
    struct ab_buffer text = {0};
    struct ab_json *json = NULL;
    struct ab_error error = {0};
    golden_read(golden, &text);
    assert_ok(ab_json_parse(ab_buffer_view(&text), &json, &error));
    ab_buffer_fini(&text);
    return json;
}

/* ---- cluster.json ---- */

/* The time of creation is the one thing that differs: it is set to that of the committed file. */
static void created_settle(struct ab_buffer *text)
{
    static const char fixed[] = "2013-06-01T00:00:00Z";
    struct ab_buffer settled = {0};
    const char *whole = ab_buffer_text(text);
    const char *at = strstr(whole, CREATED);
    assert_non_null(at);
    at += sizeof CREATED - 1;
    const char *end = strchr(at, '"');
    assert_non_null(end);
    ab_buffer_put(&settled, whole, (size_t)(at - whole));
    ab_buffer_put(&settled, fixed, sizeof fixed - 1);
    ab_buffer_put(&settled, end, strlen(end));
    ab_buffer_fini(text);
    *text = settled;
}

static void test_golden_cluster_identity(void **state)
{
    struct ab_error error = {0};
    struct ab_buffer text = {0};
    struct ab_cluster_identity read;
    struct ab_cluster_identity identity = {.cluster_id = {0, 1, 0xfe, 3, [15] = 0x7f}, .partitions_count = 16384};
    assert_ok(ab_cluster_identity_write(*state, &identity, &error));
    file_read(*state, "cluster.json", &text);
    created_settle(&text);
    golden_expect("cluster.json", ab_buffer_view(&text));
    ab_delete(file_place(*state, "cluster.json", "cluster.json"));
    assert_ok(ab_cluster_identity_read(*state, &read, &error));
    assert_memory_equal(read.cluster_id, identity.cluster_id, sizeof read.cluster_id);
    assert_int_equal(read.partitions_count, identity.partitions_count);
    ab_buffer_fini(&text);
}

/* ---- keys ---- */

/* A pair that opens nothing: its secret is the numbers from 1 on. */
static void keys_make(struct ab_crypto_keys *keys)
{
    for (int i = 0; i < AB_CRYPTO_KEY_BYTES; i++) {
        keys->secret_key[i] = (uint8_t)(i + 1);
    }
    ab_crypto_public_of(keys->secret_key, keys->public_key);
}

static void test_golden_key_file(void **state)
{
    struct ab_error error = {0};
    struct ab_key_file key = {.role = "producer", .name = "importer-1"};
    struct ab_key_file read;
    keys_make(&key.keys);
    char *path = scratch_path(*state, "keys/producer.key");
    assert_ok(ab_key_file_write(path, &key, &error));
    file_expect(*state, "keys/producer.key", "key_file.txt");
    ab_delete(path);
    path = file_place(*state, "keys/read.key", "key_file.txt");
    if (ab_key_file_read(path, &read, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_string_equal(read.role, "producer");
    assert_string_equal(read.name, "importer-1");
    assert_memory_equal(&read.keys, &key.keys, sizeof read.keys);
    ab_delete(path);
}

static void test_golden_allow_list(void **state)
{
    struct ab_error error = {0};
    struct ab_allow_entry entries[2] = {{.role = "operator", .name = "admin"}, {.role = "query", .name = "board_2.b"}};
    struct ab_allow_entry *read = NULL;
    struct ab_crypto_keys keys;
    size_t count = 0;
    keys_make(&keys);
    memcpy(entries[0].public_key, keys.public_key, sizeof keys.public_key);
    memcpy(entries[1].public_key, keys.secret_key, sizeof keys.secret_key);
    char *path = scratch_path(*state, "allow");
    assert_ok(ab_allow_list_write(path, entries, 2, &error));
    file_expect(*state, "allow", "allow_list.txt");
    assert_ok(ab_allow_list_read(path, &read, &count, &error));
    assert_int_equal(count, 2);
    assert_memory_equal(read, entries, sizeof entries);
    ab_delete(read);
    ab_delete(path);
}

/* ---- versions and sealed spans ---- */

static void test_golden_version_manifest(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_version_shard shards[4] = {{.rows_count = UINT64_C(1) << 60, .bytes = 7, .content = {1, 2}}, {0},
        {.bytes = 3}, {.rows_count = 9, .bytes = 80, .content = {UINT64_MAX, UINT64_MAX - 1}}};
    struct ab_version_directory directories[2] = {
        {.path = (char[]){"versions/by%20k-2/3-1"}, .span_from = 1, .span_to = 3, .shards = shards},
        {.path = (char[]){"versions/by%20k-2/5-2"}, .span_from = 4, .span_to = 5, .shards = shards + 2}};
    struct ab_version_manifest manifest = {.view = (char[]){"by k"},
        .definition_version = 2,
        .uid = 7,
        .cut = 5,
        .attempt = 2,
        .time_us = INT64_C(1370063820123456),
        .horizon_us = INT64_C(1370000000000000),
        .shards_count = 2,
        .chunk_us = INT64_C(86400000000),
        .is_aligned = true,
        .directories = directories,
        .directories_count = 2};
    struct ab_version_manifest read = {0};
    json_expect("version_manifest.json", ab_version_manifest_encode(&manifest));
    struct ab_json *json = json_read("version_manifest.json");
    if (ab_version_manifest_decode(json, &read, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(read.directories[1].shards[1].rows_count, 9);
    assert_true(read.directories[0].shards[0].rows_count == UINT64_C(1) << 60);
    ab_version_manifest_fini(&read);
    ab_json_destroy(json);
}

static void test_golden_directory_manifest(void **state)
{
    struct ab_error error = {0};
    struct ab_version_file files[2] = {{.name = (char[]){"000012.sst"}, .bytes = 70000, .hash = {3, 4}},
        {.name = (char[]){"CURRENT"}, .bytes = 16, .hash = {UINT64_MAX, 0}}};
    struct ab_directory_manifest manifest = {
        .summary = {.rows_count = 12345, .bytes = 70016, .content = {5, 6}}, .files = files, .files_count = 2};
    struct ab_directory_manifest read = {0};
    assert_ok(ab_directory_manifest_write(*state, &manifest, &error));
    file_expect(*state, "manifest.json", "directory_manifest.json");
    ab_delete(file_place(*state, "manifest.json", "directory_manifest.json"));
    assert_ok(ab_directory_manifest_read(*state, &read, &error));
    assert_int_equal(read.summary.rows_count, 12345);
    assert_string_equal(read.files[1].name, "CURRENT");
    ab_directory_manifest_fini(&read);
}

static void test_golden_sealed_marker(void **state)
{
    (void)state;
    struct ab_error error = {0};
    struct ab_sealed_stream streams[2] = {
        {.name = (char[]){"payments"}, .rows = 100, .accepted = 90, .rejected = 3, .duplicates = 7},
        {.name = (char[]){"odd \"name\""}, .rows = UINT64_C(1) << 60, .accepted = UINT64_C(1) << 60}};
    struct ab_sealed_span span = {.partition = 12,
        .span = 4,
        .from_offset = UINT64_C(1) << 40,
        .until_offset = (UINT64_C(1) << 40) + 17,
        .chain = {.low = 8, .high = 9},
        .start_time_us = INT64_C(1370000000000000),
        .time_us = INT64_C(1370063820123456),
        .unlisted_rows = 2,
        .streams = streams,
        .streams_count = 2};
    struct ab_sealed_span read = {0};
    json_expect("sealed_span.json", ab_sealed_span_encode(&span));
    struct ab_json *json = json_read("sealed_span.json");
    assert_ok(ab_sealed_span_decode(json, &read, &error));
    assert_true(read.until_offset == span.until_offset);
    assert_string_equal(read.streams[1].name, "odd \"name\"");
    ab_sealed_span_fini(&read);
    ab_json_destroy(json);
}

/* ---- the coordination journal ---- */

static struct ab_coordination *tree_open(const char *directory)
{
    struct ab_coordination *tree = NULL;
    struct ab_error error = {0};
    char *address = ab_new_format("local:%s/coordination", directory);
    if (ab_coordination_open(address, &tree, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    ab_delete(address);
    return tree;
}

static void test_golden_coordination_journal(void **state)
{
    struct ab_error error = {0};
    struct ab_buffer value = {0};
    uint64_t revision = 0;
    struct ab_coordination *tree = tree_open(*state);
    assert_ok(ab_coordination_create(tree, "/views", ab_bytes_of(NULL, 0), false, &error));
    assert_ok(ab_coordination_create(tree, "/views/v", bytes_of("{\"cut\":\"1\"}"), false, &error));
    assert_ok(ab_coordination_set(tree, "/views/v", bytes_of("two"), AB_COORDINATION_ANY_VERSION, &error));
    assert_ok(ab_coordination_create(tree, "/gone", bytes_of("\xff"), false, &error));
    assert_ok(ab_coordination_delete(tree, "/gone", AB_COORDINATION_ANY_VERSION, &error));
    ab_coordination_close(tree);
    file_expect(*state, "coordination/journal", "journal.bin");
    ab_delete(file_place(*state, "coordination/journal", "journal.bin"));
    tree = tree_open(*state);
    assert_ok(ab_coordination_get(tree, "/views/v", &value, NULL, &error));
    assert_string_equal(ab_buffer_text(&value), "two");
    assert_int_equal(ab_coordination_get(tree, "/gone", &value, NULL, &error), AB_NOT_FOUND);
    assert_ok(ab_coordination_revision(tree, &revision, &error));
    assert_int_equal(revision, 5);
    ab_coordination_close(tree);
    ab_buffer_fini(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_golden_cluster_identity, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_golden_key_file, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_golden_allow_list, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_golden_version_manifest),
        cmocka_unit_test_setup_teardown(test_golden_directory_manifest, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_golden_sealed_marker),
        cmocka_unit_test_setup_teardown(test_golden_coordination_journal, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
