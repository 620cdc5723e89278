/* Nodes: a cluster's directory is read whole or refused with the file that is wrong. */
#include "common/wire/node.h"

#include "common/crypto/key_file.h"

#include "tests/support/test.h"

#include <sys/stat.h>
#include <unistd.h>

static const char identity_good[] =
    "{\"format\":1,\"cluster_id\":\"000102030405060708090a0b0c0d0e0f\",\"partitions\":8,"
    "\"hash\":\"xxh3-64/1\",\"created\":\"2026-01-01T00:00:00Z\"}";

static void file_write(const char *directory, const char *name, const char *content)
{
    char *path = scratch_path(directory, name);
    scratch_write(path, bytes_of(content), 0600);
    ab_delete(path);
}

static void file_remove(const char *directory, const char *name)
{
    char *path = scratch_path(directory, name);
    assert_int_equal(unlink(path), 0);
    ab_delete(path);
}

static void directory_add(const char *directory, const char *name)
{
    char *path = scratch_path(directory, name);
    assert_int_equal(mkdir(path, 0700), 0);
    ab_delete(path);
}

/* A whole cluster directory with the keys of one daemon and one entry in its list. */
static char *cluster_make(void)
{
    char *directory = scratch_make();
    struct ab_error error = {0};
    struct ab_key_file key = {.role = "node", .name = "speed"};
    char *path = scratch_path(directory, "keys/speed.key");
    struct ab_config config = {.data = "/tmp"};
    assert_ok(ab_crypto_init(&error));
    directory_add(directory, "config");
    directory_add(directory, "run");
    file_write(directory, "cluster.json", identity_good);
    ab_crypto_keys_generate(&key.keys);
    assert_ok(ab_key_file_write(path, &key, &error));
    ab_delete(path);
    struct ab_allow_entry entry = {.role = "producer", .name = "loader"};
    memcpy(entry.public_key, key.keys.public_key, sizeof entry.public_key);
    path = scratch_path(directory, "keys/allow");
    assert_ok(ab_allow_list_write(path, &entry, 1, &error));
    ab_delete(path);
    ab_config_defaults(&config);
    path = scratch_path(directory, "config/node.yaml");
    assert_ok(ab_config_write(path, &config, &error));
    ab_delete(path);
    return directory;
}

/* Opening must fail with this code and name the culprit; nothing stays open. */
static void expect_refused(const char *directory, ab_err code, const char *culprit)
{
    struct ab_node_options options = {.directory = directory, .role = "speed", .name = "speed", .is_server = true};
    struct ab_node node = {0};
    struct ab_error error = {0};
    ab_err found = ab_node_open(&options, &node, &error);
    if (found != code || strstr(error.text, culprit) == NULL) {
        fail_msg("found %s: %s; expected %s naming %s", ab_err_name(found), error.text, ab_err_name(code), culprit);
    }
    assert_null(node.wire);
    assert_null(node.directory);
    ab_node_close(&node);
}

static void test_node_opens_a_whole_directory(void **state)
{
    (void)state;
    char *directory = cluster_make();
    for (int is_server = 0; is_server < 2; is_server++) {
        struct ab_node_options options = {
            .directory = directory, .role = "speed", .name = "speed", .is_server = is_server != 0};
        struct ab_node node = {0};
        struct ab_error error = {0};
        if (ab_node_open(&options, &node, &error) != AB_OK) {
            fail_msg("%s", error.text);
        }
        assert_int_equal(node.identity.partitions_count, 8);
        assert_int_equal(node.identity.cluster_id[15], 0x0f);
        assert_string_equal(node.directory, directory);
        ab_node_close(&node);
        ab_node_close(&node);
    }
    scratch_remove(directory);
}

static void test_node_missing_or_corrupt_files_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *file, *content; /* NULL = removed */
        ab_err code;
        const char *culprit;
    } cases[] = {
        {"cluster.json", NULL, AB_NOT_FOUND, "anabranch up"},
        {"cluster.json", "", AB_CORRUPT, "cluster.json"},
        {"cluster.json", "{\"format\":1", AB_CORRUPT, "cluster.json"},
        {"keys/speed.key", NULL, AB_NOT_FOUND, "speed.key"},
        {"keys/speed.key", "not a key\n", AB_CORRUPT, "speed.key"},
        {"keys/allow", NULL, AB_NOT_FOUND, "allow"},
        {"keys/allow", "zz producer loader\n", AB_CORRUPT, "allow"},
        {"keys/allow", "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f emperor nero\n", AB_CORRUPT,
            "emperor"},
        {"keys/allow", "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f none nobody\n", AB_CORRUPT,
            "none"},
        {"config/node.yaml", NULL, AB_NOT_FOUND, "node.yaml"},
        {"config/node.yaml", "nonsense: [", AB_INVALID, "node.yaml"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *directory = cluster_make();
        if (cases[i].content == NULL) {
            file_remove(directory, cases[i].file);
        } else {
            file_write(directory, cases[i].file, cases[i].content);
        }
        expect_refused(directory, cases[i].code, cases[i].culprit);
        scratch_remove(directory);
    }
}

static void test_node_key_that_others_can_read_is_denied(void **state)
{
    (void)state;
    char *directory = cluster_make();
    char *path = scratch_path(directory, "keys/speed.key");
    assert_int_equal(chmod(path, 0644), 0);
    expect_refused(directory, AB_DENIED, "speed.key");
    ab_delete(path);
    scratch_remove(directory);
}

static void test_cluster_identity_round_trips_and_is_written_once(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_error error = {0};
    struct ab_cluster_identity written = {.cluster_id = {0xff, 1, 2, [15] = 9}, .partitions_count = 16384};
    struct ab_cluster_identity read = {0};
    char text[33];
    uint8_t id[16];
    assert_ok(ab_cluster_identity_write(directory, &written, &error));
    assert_ok(ab_cluster_identity_read(directory, &read, &error));
    assert_memory_equal(&read, &written, sizeof read);
    assert_int_equal(ab_cluster_identity_write(directory, &written, &error), AB_EXISTS);
    ab_cluster_id_format(written.cluster_id, text);
    assert_string_equal(text, "ff010200000000000000000000000009");
    assert_ok(ab_cluster_id_parse(bytes_of(text), id));
    assert_memory_equal(id, written.cluster_id, 16);
    assert_int_equal(ab_cluster_id_parse(bytes_of("ff01"), id), AB_INVALID);
    assert_int_equal(ab_cluster_id_parse(bytes_of("zz010200000000000000000000000009"), id), AB_INVALID);
    assert_int_equal(ab_cluster_id_parse((struct ab_bytes){0}, id), AB_INVALID);
    scratch_remove(directory);
}

static void test_cluster_identity_members_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
        ab_err code;
    } changes[] = {
        {"\"format\":1", "\"format\":2", AB_UNSUPPORTED},
        {"\"format\":1", "\"format\":0", AB_CORRUPT},
        {"\"format\":1", "\"format\":\"1\"", AB_CORRUPT},
        {"xxh3-64/1", "md5/1", AB_UNSUPPORTED},
        {"\"hash\"", "\"hush\"", AB_UNSUPPORTED},
        {"\"partitions\":8", "\"partitions\":0", AB_CORRUPT},
        {"\"partitions\":8", "\"partitions\":-8", AB_CORRUPT},
        {"\"partitions\":8", "\"partitions\":16385", AB_CORRUPT},
        {"\"partitions\":8", "\"partitions\":4294967304", AB_CORRUPT},
        {"\"partitions\":8", "\"partitions\":8.5", AB_CORRUPT},
        {"000102", "00010", AB_CORRUPT},
        {"000102", "0001zz", AB_CORRUPT},
        {"\"cluster_id\"", "\"id\"", AB_CORRUPT},
    };
    char *directory = scratch_make();
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct ab_cluster_identity identity = {.partitions_count = 77};
        struct ab_error error = {0};
        char *text = ab_new_text(identity_good);
        char *at = strstr(text, changes[i].before);
        assert_non_null(at);
        *at = 0;
        char *changed = ab_new_format("%s%s%s", text, changes[i].after, at + strlen(changes[i].before));
        file_write(directory, "cluster.json", changed);
        assert_int_equal(ab_cluster_identity_read(directory, &identity, &error), changes[i].code);
        assert_non_null(strstr(error.text, "cluster.json"));
        assert_int_equal(identity.partitions_count, 77);
        ab_delete(changed);
        ab_delete(text);
    }
    for (size_t bytes = 0; bytes + 1 < sizeof identity_good; bytes++) {
        struct ab_cluster_identity identity;
        char *path = scratch_path(directory, "cluster.json");
        scratch_write(path, ab_bytes_of(identity_good, bytes), 0600);
        assert_int_equal(ab_cluster_identity_read(directory, &identity, NULL), AB_CORRUPT);
        ab_delete(path);
        bytes += 6; /* every truncation costs a durable write */
    }
    scratch_remove(directory);
}

static void test_node_endpoint_round_trips(void **state)
{
    (void)state;
    char *directory = cluster_make();
    struct ab_node_options options = {.directory = directory, .role = "speed", .name = "speed"};
    struct ab_node node = {0};
    struct ab_node_endpoint endpoint = {0};
    struct ab_error error = {0};
    assert_ok(ab_node_open(&options, &node, &error));
    assert_int_equal(ab_node_endpoint_read(directory, "speed", &endpoint, &error), AB_UNAVAILABLE);
    assert_non_null(strstr(error.text, "the speed daemon has not said where it answers"));
    assert_ok(ab_node_endpoint_write(&node, "speed", "tcp://127.0.0.1:4000", &error));
    assert_ok(ab_node_endpoint_write(&node, "speed", "tcp://127.0.0.1:4001", &error));
    assert_ok(ab_node_endpoint_read(directory, "speed", &endpoint, &error));
    assert_string_equal(endpoint.address, "tcp://127.0.0.1:4001");
    assert_int_equal(endpoint.pid, getpid());
    assert_memory_equal(endpoint.public_key, node.keys.public_key, sizeof endpoint.public_key);
    assert_true(ab_hash128_equal(endpoint.incarnation, (struct ab_hash128){0}));
    node.registration = (struct ab_hash128){.low = 3, .high = UINT64_MAX};
    assert_ok(ab_node_endpoint_write(&node, "speed", "tcp://127.0.0.1:4001", &error));
    assert_ok(ab_node_endpoint_read(directory, "speed", &endpoint, &error));
    assert_true(ab_hash128_equal(endpoint.incarnation, node.registration));
    ab_node_close(&node);
    scratch_remove(directory);
}

static void test_node_endpoint_malformed_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        ab_err code;
    } cases[] = {
        {"", AB_CORRUPT},
        {"{\"pid\":1", AB_CORRUPT},
        {"[]", AB_UNAVAILABLE},
        {"{\"address\":\"tcp://127.0.0.1:1\"}", AB_UNAVAILABLE},
        {"{\"address\":\"tcp://127.0.0.1:1\",\"public_key\":\"00\"}", AB_UNAVAILABLE},
        {"{\"address\":7,\"public_key\":\"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\"}",
            AB_UNAVAILABLE},
    };
    char *directory = cluster_make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ab_node_endpoint endpoint = {0};
        struct ab_error error = {0};
        file_write(directory, "run/serving.json", cases[i].content);
        assert_int_equal(ab_node_endpoint_read(directory, "serving", &endpoint, &error), cases[i].code);
        assert_true(error.text[0] != 0);
        assert_int_equal(endpoint.address[0], 0);
    }
    char address[400];
    memset(address, 'a', sizeof address);
    char *content = ab_new_format("{\"address\":\"%.300s\",\"public_key\":\"%064d\"}", address, 0);
    struct ab_node_endpoint endpoint = {0};
    file_write(directory, "run/serving.json", content);
    assert_int_equal(ab_node_endpoint_read(directory, "serving", &endpoint, NULL), AB_UNAVAILABLE);
    ab_delete(content);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node_opens_a_whole_directory),
        cmocka_unit_test(test_node_missing_or_corrupt_files_are_refused_by_name),
        cmocka_unit_test(test_node_key_that_others_can_read_is_denied),
        cmocka_unit_test(test_cluster_identity_round_trips_and_is_written_once),
        cmocka_unit_test(test_cluster_identity_members_are_checked),
        cmocka_unit_test(test_node_endpoint_round_trips),
        cmocka_unit_test(test_node_endpoint_malformed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
