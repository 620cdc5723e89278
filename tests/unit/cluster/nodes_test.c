/* A cluster of several nodes on one machine: what is made of its directory, and what is refused. */
#include "cluster/nodes.h"

#include "cluster/layout.h"
#include "tests/support/test.h"

#include <sys/stat.h>
#include <unistd.h>

/* ---- helpers ---- */

static const struct ab_nodes_create_options usual = {.partitions_count = 6, .count = 3, .zookeepers_count = 1};

static unsigned mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

/* The content of a file; the caller frees it. */
static char *text_of(const char *directory, const char *name)
{
    struct ab_buffer text = {0};
    char *path = scratch_path(directory, name);
    assert_ok(ab_file_read_all(path, &text, NULL));
    char *copy = ab_new_text(ab_buffer_text(&text));
    ab_buffer_fini(&text);
    ab_delete(path);
    return copy;
}

static void expect_same_secret(const char *a, const char *b, const char *name)
{
    char *path = scratch_path(b, name);
    char *first = text_of(a, name);
    char *second = text_of(b, name);
    assert_string_equal(first, second);
    assert_int_equal(mode_of(path), 0600);
    ab_delete(second);
    ab_delete(first);
    ab_delete(path);
}

static void nodes_make(const char *directory, struct ab_nodes *nodes)
{
    struct ab_error error = {0};
    assert_ok(ab_nodes_create(directory, &usual, nodes, &error));
    assert_ok(ab_nodes_complete(directory, nodes, &error));
}

static void remove_below(const char *directory, const char *name)
{
    char *path = scratch_path(directory, name);
    assert_ok(ab_file_remove_tree(path, NULL));
    ab_delete(path);
}

/* ---- cases ---- */

static void test_nodes_what_is_made_is_read_again(void **state)
{
    struct ab_nodes made;
    struct ab_nodes read;
    const struct ab_nodes_create_options options = {.partitions_count = 9, .count = 5, .zookeepers_count = 3};
    assert_false(ab_nodes_is(*state));
    assert_ok(ab_nodes_create(*state, &options, &made, NULL));
    assert_true(ab_nodes_is(*state));
    assert_ok(ab_nodes_read(*state, &read, NULL));
    assert_memory_equal(read.identity.cluster_id, made.identity.cluster_id, sizeof made.identity.cluster_id);
    assert_int_equal(read.identity.partitions_count, 9);
    assert_int_equal(read.count, 5);
    assert_int_equal(read.zookeepers_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(read.zookeepers[i].client, made.zookeepers[i].client);
        assert_int_equal(read.zookeepers[i].peer, made.zookeepers[i].peer);
        assert_int_equal(read.zookeepers[i].election, made.zookeepers[i].election);
        assert_true(read.zookeepers[i].client != read.zookeepers[i].peer);
    }
}

static void test_nodes_share_identity_keys_and_credential(void **state)
{
    static const char *const secrets[] = {"keys/node.key", "keys/batch.key", "keys/operator.key", "keys/producer.key",
        "keys/query.key", "keys/allow", "keys/coordination"};
    struct ab_nodes nodes;
    nodes_make(*state, &nodes);
    char *first = ab_nodes_directory(*state, 1);
    for (uint32_t n = 1; n <= nodes.count; n++) {
        struct ab_cluster_identity identity;
        char *own = ab_nodes_directory(*state, n);
        assert_ok(ab_cluster_identity_read(own, &identity, NULL));
        assert_memory_equal(identity.cluster_id, nodes.identity.cluster_id, sizeof identity.cluster_id);
        assert_int_equal(identity.partitions_count, 6);
        for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
            expect_same_secret(first, own, secrets[i]);
        }
        ab_delete(own);
    }
    char *credential = text_of(*state, "zookeeper/credential");
    char *copy = text_of(first, "keys/coordination");
    assert_string_equal(credential, copy);
    assert_true(strncmp(credential, "anabranch:", 10) == 0 && strlen(credential) == 10 + 48 + 1);
    ab_delete(copy);
    ab_delete(credential);
    ab_delete(first);
}

static void test_nodes_one_that_was_emptied_gets_the_others_keys(void **state)
{
    struct ab_nodes nodes;
    nodes_make(*state, &nodes);
    char *first = ab_nodes_directory(*state, 1);
    char *second = ab_nodes_directory(*state, 2);
    char *before = text_of(second, "keys/node.key");
    remove_below(*state, "node-1");
    assert_ok(ab_nodes_complete(*state, &nodes, NULL));
    char *after = text_of(first, "keys/node.key");
    assert_string_equal(after, before);
    assert_ok(ab_nodes_complete(*state, &nodes, NULL)); /* again changes nothing */
    expect_same_secret(first, second, "keys/node.key");
    ab_delete(after);
    ab_delete(before);
    ab_delete(second);
    ab_delete(first);
}

static void test_nodes_of_another_cluster_are_refused(void **state)
{
    struct ab_nodes nodes;
    nodes_make(*state, &nodes);
    nodes.identity.cluster_id[0] ^= 1;
    assert_int_equal(ab_nodes_complete(*state, &nodes, NULL), AB_MISMATCH);
    nodes.identity.cluster_id[0] ^= 1;
    nodes.identity.partitions_count++;
    assert_int_equal(ab_nodes_complete(*state, &nodes, NULL), AB_MISMATCH);
}

static void test_nodes_what_cannot_be_is_refused_and_nothing_made(void **state)
{
    struct ab_nodes nodes;
    static const struct ab_nodes_create_options wrong[] = {
        {.partitions_count = 6, .count = 2, .zookeepers_count = 1},
        {.partitions_count = 6, .count = 6, .zookeepers_count = 1},
        {.partitions_count = 6, .count = 3, .zookeepers_count = 2},
        {.partitions_count = 6, .count = 3, .zookeepers_count = 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(ab_nodes_create(*state, &wrong[i], &nodes, NULL), AB_USAGE);
        assert_false(ab_nodes_is(*state));
    }
    char *path = scratch_path(*state, "letter");
    scratch_write(path, bytes_of("mine"), 0600);
    assert_int_equal(ab_nodes_create(*state, &usual, &nodes, NULL), AB_EXISTS);
    assert_false(ab_nodes_is(*state));
    ab_delete(path);
}

static void test_nodes_file_that_is_wrong_is_corrupt(void **state)
{
    static const struct {
        const char *text;
        ab_err err;
    } files[] = {
        {"", AB_CORRUPT},
        {"{}", AB_CORRUPT},
        {"{\"format\":2}", AB_UNSUPPORTED},
        {"{\"format\":1,\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"partitions\":6,\"nodes\":2,"
         "\"zookeeper\":[{\"client\":1,\"peer\":2,\"election\":3}]}",
            AB_CORRUPT},
        {"{\"format\":1,\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"partitions\":6,\"nodes\":3,"
         "\"zookeeper\":[]}",
            AB_CORRUPT},
        {"{\"format\":1,\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"partitions\":6,\"nodes\":3,"
         "\"zookeeper\":[{\"client\":65536,\"peer\":2,\"election\":3}]}",
            AB_CORRUPT},
        {"{\"format\":1,\"cluster_id\":\"xx\",\"partitions\":6,\"nodes\":3,"
         "\"zookeeper\":[{\"client\":1,\"peer\":2,\"election\":3}]}",
            AB_CORRUPT},
        {"{\"format\":1,\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"partitions\":6,\"nodes\":3,"
         "\"zookeeper\":[{\"client\":1,\"peer\":2,\"election\":3}]}",
            AB_OK},
        {"{\"format\":1,\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"partitions\":6,\"nodes\":4,"
         "\"zookeeper\":[{\"client\":1,\"peer\":2,\"election\":3}],\"removed\":[2],\"adding\":4}",
            AB_OK},
        {"{\"format\":1,\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"partitions\":6,\"nodes\":4,"
         "\"zookeeper\":[{\"client\":1,\"peer\":2,\"election\":3}],\"removed\":[4]}",
            AB_CORRUPT},
        {"{\"format\":1,\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"partitions\":6,\"nodes\":4,"
         "\"zookeeper\":[{\"client\":1,\"peer\":2,\"election\":3}],\"removed\":[2,2]}",
            AB_CORRUPT},
        {"{\"format\":1,\"cluster_id\":\"00112233445566778899aabbccddeeff\",\"partitions\":6,\"nodes\":4,"
         "\"zookeeper\":[{\"client\":1,\"peer\":2,\"election\":3}],\"removed\":[2],\"adding\":2}",
            AB_CORRUPT},
    };
    char *path = scratch_path(*state, "nodes.json");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct ab_nodes nodes;
        scratch_write(path, bytes_of(files[i].text), 0600);
        assert_int_equal(ab_nodes_read(*state, &nodes, NULL), files[i].err);
    }
    ab_delete(path);
}

static void test_nodes_numbers_are_given_again_and_the_highest_go(void **state)
{
    struct ab_nodes nodes;
    struct ab_nodes read;
    uint32_t node = 0;
    nodes_make(*state, &nodes);
    assert_ok(ab_nodes_number_take(&nodes, &node, NULL));
    assert_int_equal(node, 4);
    assert_ok(ab_nodes_number_take(&nodes, &node, NULL)); /* that one is not done yet */
    assert_int_equal(node, 4);
    nodes.adding = 0;
    ab_nodes_number_give(&nodes, 2);
    assert_int_equal(nodes.count, 4);
    assert_int_equal(ab_nodes_present(&nodes), 3);
    assert_ok(ab_nodes_write(*state, &nodes, NULL));
    assert_ok(ab_nodes_read(*state, &read, NULL));
    assert_false(ab_nodes_has(&read, 2));
    assert_false(ab_nodes_has(&read, 0) || ab_nodes_has(&read, 5));
    assert_true(ab_nodes_has(&read, 1) && ab_nodes_has(&read, 3) && ab_nodes_has(&read, 4));
    assert_ok(ab_nodes_number_take(&read, &node, NULL));
    assert_int_equal(node, 2);
    read.adding = 0;
    assert_ok(ab_nodes_number_take(&read, &node, NULL));
    assert_int_equal(node, 5);
    read.adding = 0;
    assert_int_equal(ab_nodes_number_take(&read, &node, NULL), AB_FULL);
    ab_nodes_number_give(&read, 4);
    ab_nodes_number_give(&read, 5);
    assert_int_equal(read.count, 3);
    assert_int_equal(ab_nodes_present(&read), 3);
}

static void test_nodes_complete_makes_nothing_for_a_node_that_was_removed(void **state)
{
    struct ab_nodes nodes;
    uint32_t node = 0;
    nodes_make(*state, &nodes);
    assert_ok(ab_nodes_number_take(&nodes, &node, NULL));
    remove_below(*state, "node-2");
    ab_nodes_number_give(&nodes, 2);
    assert_ok(ab_nodes_complete(*state, &nodes, NULL));
    char *own = ab_nodes_directory(*state, 2);
    assert_false(ab_file_exists(own));
    ab_delete(own);
    char *first = ab_nodes_directory(*state, 1);
    char *added = ab_nodes_directory(*state, 4);
    expect_same_secret(first, added, "keys/node.key"); /* and the one that was added has the cluster's keys */
    ab_delete(first);
    ab_delete(added);
}

static void test_nodes_configuration_names_node_and_coordination(void **state)
{
    struct ab_nodes nodes;
    struct ab_config config = {0};
    bool is_changed = false;
    nodes_make(*state, &nodes);
    nodes.zookeepers[0].client = 20123;
    ab_config_defaults(&config);
    ab_nodes_config_set(*state, &nodes, 2, &config, &is_changed);
    assert_true(is_changed);
    char *own = ab_nodes_directory(*state, 2);
    assert_string_equal(config.data, own);
    assert_int_equal(config.cluster.node, 2);
    assert_string_equal(config.cluster.coordination, "zookeeper:127.0.0.1:20123/anabranch");
    assert_string_equal(config.cluster.credential, "keys/coordination");
    assert_string_equal(config.cluster.rack, "rack-2");
    assert_ok(ab_config_validate(&config, NULL));
    is_changed = false;
    (void)snprintf(config.cluster.rack, sizeof config.cluster.rack, "cellar"); /* a person's choice stays */
    ab_nodes_config_set(*state, &nodes, 2, &config, &is_changed);
    assert_false(is_changed);
    assert_string_equal(config.cluster.rack, "cellar");
    ab_nodes_config_set("/elsewhere", &nodes, 2, &config, &is_changed);
    assert_true(is_changed);
    assert_string_equal(config.data, "/elsewhere/node-2");
    ab_delete(own);
}

static void test_nodes_share_a_machine(void **state)
{
    (void)state;
    const struct ab_nodes nodes = {.count = 3};
    struct ab_config config = {.workers = 2, .query_threads = 7};
    ab_config_defaults(&config);
    config.memory_bytes.speed = UINT64_C(3) << 30;
    config.memory_bytes.serving = UINT64_C(100) << 20;
    ab_nodes_config_share(&nodes, &config);
    assert_int_equal(config.memory_bytes.speed, UINT64_C(1) << 30);
    assert_int_equal(config.memory_bytes.serving, UINT64_C(64) << 20); /* the least that is valid */
    assert_int_equal(config.workers, 1);
    assert_int_equal(config.query_threads, 2);
    assert_int_equal(config.cluster.session_timeout_ms, AB_NODES_SESSION_TIMEOUT_MS);
}

static void test_nodes_making_fails_with_any_call(void **state)
{
    bool was_hit = true;
    struct ab_nodes nodes;
    assert_ok(ab_nodes_create(*state, &usual, &nodes, NULL));
    for (int countdown = 0; was_hit; countdown += 4) { /* every fourth: all of it is synced each time */
        struct ab_error error = {0};
        ab_file_fault_set(countdown, 1, AB_NO_SPACE);
        ab_err err = ab_nodes_complete(*state, &nodes, &error);
        was_hit = ab_file_fault_was_hit();
        ab_file_fault_clear();
        /* An error of looking at something that need not be there is taken for its absence. */
        assert_true(was_hit || err == AB_OK);
        if (was_hit) {
            remove_below(*state, "node-3"); /* made anew in every round */
        }
    }
    assert_ok(ab_nodes_complete(*state, &nodes, NULL)); /* nothing is left that a failure has spoilt */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nodes_what_is_made_is_read_again, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_nodes_share_identity_keys_and_credential, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_nodes_one_that_was_emptied_gets_the_others_keys, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_nodes_of_another_cluster_are_refused, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_nodes_what_cannot_be_is_refused_and_nothing_made, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_nodes_file_that_is_wrong_is_corrupt, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_nodes_numbers_are_given_again_and_the_highest_go, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_nodes_complete_makes_nothing_for_a_node_that_was_removed, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_nodes_configuration_names_node_and_coordination, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_nodes_share_a_machine),
        cmocka_unit_test_setup_teardown(test_nodes_making_fails_with_any_call, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
