/* The daemon as a process: ready only when it can answer, stops cleanly, refuses a damaged log by name. */
#include "common/coordination/coordination.h"
#include "common/crypto/key_file.h"
#include "common/wire/node.h"
#include "speed/daemon.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_STEPS 1500

static void keys_write(const char *directory)
{
    struct ab_error error = {0};
    struct ab_key_file key = {.role = "node", .name = "node"};
    ab_crypto_keys_generate(&key.keys);
    char *path = scratch_path(directory, "keys/node.key");
    assert_ok(ab_key_file_write(path, &key, &error));
    ab_delete(path);
    struct ab_allow_entry entry = {.role = "node", .name = "node"};
    memcpy(entry.public_key, key.keys.public_key, sizeof(entry.public_key));
    path = scratch_path(directory, "keys/allow");
    assert_ok(ab_allow_list_write(path, &entry, 1, &error));
    ab_delete(path);
}

static void config_write(const char *directory)
{
    struct ab_error error = {0};
    struct ab_config config = {.workers = 1, .query_threads = 1, .memory_bytes.speed = 128 << 20};
    (void)snprintf(config.data, sizeof(config.data), "%s", directory);
    ab_config_defaults(&config);
    char *folder = scratch_path(directory, "config");
    assert_ok(ab_file_make_directory(folder, 0700, &error));
    ab_delete(folder);
    char *path = scratch_path(directory, "config/node.yaml");
    assert_ok(ab_config_write(path, &config, &error));
    ab_delete(path);
    folder = scratch_path(directory, "run");
    assert_ok(ab_file_make_directory(folder, 0700, &error));
    ab_delete(folder);
}

static void catalog_write(const char *directory)
{
    struct ab_error error = {0};
    struct ab_buffer catalog = {0};
    struct ab_coordination *coordination = NULL;
    char *address = ab_new_format("local:%s/coordination", directory);
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &catalog);
    assert_ok(ab_coordination_open(address, &coordination, &error));
    assert_ok(ab_coordination_create(coordination, "/catalog", ab_buffer_view(&catalog), false, &error));
    ab_coordination_close(coordination);
    ab_buffer_fini(&catalog);
    ab_delete(address);
}

static int setup(void **state)
{
    struct ab_error error = {0};
    char *directory = scratch_make();
    struct ab_cluster_identity identity = {.cluster_id = {1, 2, 3}, .partitions_count = 2};
    assert_ok(ab_crypto_init(&error));
    assert_ok(ab_cluster_identity_write(directory, &identity, &error));
    keys_write(directory);
    config_write(directory);
    *state = directory;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    return 0;
}

static pid_t daemon_start(const char *directory)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ab_error error = {0};
        ab_err err = ab_speed_run(directory, &error);
        if (err != AB_OK) {
            char *path = scratch_path(directory, "said");
            scratch_write(path, ab_bytes_of_text(error.text), 0600);
        }
        _exit(err == AB_OK ? 0 : 1);
    }
    return child;
}

static bool is_ready(const char *directory)
{
    char *path = scratch_path(directory, "run/speed.json");
    bool is_there = ab_file_exists(path);
    ab_delete(path);
    return is_there;
}

static void wait_ready(const char *directory)
{
    for (int i = 0; i < WAIT_STEPS && !is_ready(directory); i++) {
        ab_time_sleep_us(10 * AB_US_PER_MS);
    }
    assert_true(is_ready(directory));
}

static int daemon_end(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static ab_err call(const char *directory, enum ab_verb verb, const char *body)
{
    struct ab_error error = {0};
    struct ab_node node;
    struct ab_node_endpoint endpoint;
    struct ab_channel *channel = NULL;
    struct ab_answer answer = {0};
    struct ab_node_options options = {.directory = directory, .role = "node", .name = "test"};
    assert_ok(ab_node_open(&options, &node, &error));
    assert_ok(ab_node_endpoint_read(directory, "speed", &endpoint, &error));
    struct ab_channel_options to = {.address = endpoint.address};
    memcpy(to.server_key, endpoint.public_key, sizeof(to.server_key));
    assert_ok(ab_channel_open(node.wire, &to, &channel, &error));
    ab_err err = ab_channel_call(channel, verb, ab_bytes_of_text(body), 10000, &answer, &error);
    ab_answer_free(&answer);
    ab_channel_close(channel);
    ab_node_close(&node);
    return err;
}

static void test_daemon_waits_for_a_catalog_answers_and_stops(void **state)
{
    char *directory = *state;
    pid_t child = daemon_start(directory);
    ab_time_sleep_us(300 * AB_US_PER_MS);
    assert_false(is_ready(directory));
    catalog_write(directory);
    wait_ready(directory);
    assert_ok(call(directory, AB_VERB_PING, "{}"));
    assert_ok(call(directory, AB_VERB_STATUS, "{}"));
    assert_int_equal(call(directory, AB_VERB_PRODUCE, "{}"), AB_DENIED);
    assert_int_equal(kill(child, SIGTERM), 0);
    assert_int_equal(daemon_end(child), 0);
    assert_false(is_ready(directory));
    child = daemon_start(directory);
    wait_ready(directory);
    assert_ok(call(directory, AB_VERB_SHUTDOWN, "{}"));
    assert_int_equal(daemon_end(child), 0);
}

static void test_daemon_stops_while_it_waits_for_a_catalog(void **state)
{
    pid_t child = daemon_start(*state);
    ab_time_sleep_us(200 * AB_US_PER_MS);
    assert_int_equal(kill(child, SIGTERM), 0);
    assert_int_equal(daemon_end(child), 0);
}

static void damage(const char *directory)
{
    struct ab_error error = {0};
    char *log = scratch_path(directory, "partition-1/log");
    char **names = NULL;
    size_t count = 0;
    assert_ok(ab_file_list(log, &names, &count, &error));
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], ".seg") != NULL) {
            char *path = scratch_path(log, names[i]);
            struct ab_buffer bytes = {0};
            assert_ok(ab_file_read_all(path, &bytes, &error));
            bytes.data[60] ^= 1;
            scratch_write(path, ab_buffer_view(&bytes), 0600);
            ab_buffer_fini(&bytes);
            ab_delete(path);
        }
    }
    ab_file_names_free(names, count);
    ab_delete(log);
}

static void test_daemon_refuses_a_damaged_log_and_a_foreign_directory(void **state)
{
    char *directory = *state;
    struct ab_error error = {0};
    catalog_write(directory);
    pid_t child = daemon_start(directory);
    wait_ready(directory);
    assert_ok(call(directory, AB_VERB_CUT, "{\"cut\":1,\"time_us\":1}"));
    assert_ok(call(directory, AB_VERB_CUT, "{\"cut\":2,\"time_us\":2}"));
    assert_int_equal(kill(child, SIGKILL), 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    damage(directory);
    child = daemon_start(directory);
    assert_int_equal(daemon_end(child), 1);
    char *path = scratch_path(directory, "said");
    struct ab_buffer said = {0};
    assert_ok(ab_file_read_all(path, &said, &error));
    assert_non_null(strstr(ab_buffer_text(&said), "partition 1"));
    if (strstr(ab_buffer_text(&said), "segment 00000000000000000000") == NULL) {
        fail_msg("%s", ab_buffer_text(&said));
    }
    ab_buffer_fini(&said);
    ab_delete(path);
    path = scratch_path(directory, "cluster.json");
    assert_ok(ab_file_remove_tree(path, &error));
    ab_delete(path);
    child = daemon_start(directory);
    assert_int_equal(daemon_end(child), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_daemon_waits_for_a_catalog_answers_and_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_daemon_stops_while_it_waits_for_a_catalog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_daemon_refuses_a_damaged_log_and_a_foreign_directory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
