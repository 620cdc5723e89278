#include "bench/copies.h"
#include "bench/failover.h"
#include "bench/verbs.h"

#include "common/base/memory.h"
#include "common/crypto/crypto.h"
#include "common/wire/node.h"

#include "tests/support/test.h"

/* ---- the command line ---- */

/* The exit status for one option and its value; nothing is started for what is refused. */
static int cluster_try(const char *option, const char *value)
{
    char *words[] = {ab_new_text("anabranch-bench"), ab_new_text("cluster"), ab_new_text(option),
        value == NULL ? NULL : ab_new_text(value), NULL};
    int status = ab_bench_cluster(value == NULL ? 3 : 4, words);
    for (size_t i = 0; i < 4; i++) {
        ab_delete(words[i]);
    }
    return status;
}

static void test_cluster_refuses_what_it_cannot_do(void **state)
{
    (void)state;
    const char *const refused[][2] = {{"--nodes", "2"}, {"--nodes", "6"}, {"--partitions", "0"}, {"--partitions", "65"},
        {"--keys", "95"}, {"--keys", "100000001"}, {"--rows", "0"}, {"--rows", "100000000"}, {"--seconds", "0"},
        {"--seconds", "601"}, {"--quiet", "0"}, {"--failovers", "0"}, {"--failovers", "1001"}, {"--failovers", "many"},
        {"--failovers", "-1"}, {"--seconds", NULL}, {"--fast", NULL}, {"word", NULL}};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(cluster_try(refused[i][0], refused[i][1]), 2);
    }
    assert_int_equal(cluster_try("--help", NULL), 0);
}

/* ---- operations ---- */

static void test_operations_between_count_a_new_process_whole(void **state)
{
    (void)state;
    uint64_t counts[AB_COORDINATION_OPERATIONS_COUNT] = {77, 77, 77, 77};
    struct ab_several_nodes_operations before = {0};
    struct ab_several_nodes_operations after = {0};
    before.processes[0][1] = (struct ab_several_nodes_process){.pid = 5, .counts = {100, 10, 1, 0}};
    after.processes[0][1] = (struct ab_several_nodes_process){.pid = 5, .counts = {103, 10, 2, 0}};
    before.processes[2][0] = (struct ab_several_nodes_process){.pid = 6, .counts = {1000, 0, 0, 9}};
    after.processes[2][0] = (struct ab_several_nodes_process){.pid = 7, .counts = {20, 0, 0, 4}}; /* started again */
    before.processes[1][2] = (struct ab_several_nodes_process){.pid = 8, .counts = {50, 50, 50, 50}}; /* gone */
    ab_several_nodes_operations_between(&before, &after, counts);
    assert_int_equal(counts[AB_COORDINATION_GETS], 23);
    assert_int_equal(counts[AB_COORDINATION_LISTS], 0);
    assert_int_equal(counts[AB_COORDINATION_CHANGES], 1);
    assert_int_equal(counts[AB_COORDINATION_PROBES], 4);
}

/* ---- the report ---- */

static int64_t number(const struct ab_json *report, const char *object, const char *member)
{
    return ab_json_integer_or(ab_json_get(ab_json_get(report, object), member), -1);
}

static void test_failover_report_has_every_figure(void **state)
{
    (void)state;
    struct ab_failover_result *result = ab_new(struct ab_failover_result);
    struct ab_json *report = ab_json_object();
    result->kills = 4;
    result->operations[AB_COORDINATION_CHANGES] = 10;
    result->steady.rows_acknowledged = 300;
    result->steady.rows_lost = 2;
    result->steady.rows_duplicated = 3;
    result->steady.queries = 50;
    result->steady.query_errors = 1;
    ab_histogram_add(&result->speed_us, 1000);
    ab_histogram_add(&result->node_us, 9000);
    ab_failover_report(result, report);
    assert_int_equal(number(report, "failover", "kills"), 4);
    const struct ab_json *all = ab_json_get(ab_json_get(report, "failover"), "next_acknowledgement");
    assert_int_equal(ab_json_integer_or(ab_json_get(all, "count"), -1), 2);
    assert_int_equal(ab_json_integer_or(ab_json_get(all, "max_us"), -1), 9000);
    assert_int_equal(number(report, "rows", "acknowledged"), 300);
    assert_int_equal(number(report, "rows", "lost"), 2);
    assert_int_equal(number(report, "rows", "duplicated"), 3);
    assert_int_equal(number(report, "queries", "count"), 50);
    assert_int_equal(number(report, "queries", "errors"), 1);
    const struct ab_json *operations = ab_json_get(report, "coordination_a_failover");
    assert_true(ab_json_real_or(ab_json_get(operations, "changes"), 0) == 2.5);
    ab_json_destroy(report);
    ab_delete(result);
}

/* ---- the limit ---- */

static void keys_make(struct ab_wire_keys *keys)
{
    struct ab_crypto_keys made;
    ab_crypto_keys_generate(&made);
    memcpy(keys->public_key, made.public_key, sizeof keys->public_key);
    memcpy(keys->secret_key, made.secret_key, sizeof keys->secret_key);
}

static void test_copies_move_bytes_and_leave_no_file(void **state)
{
    (void)state;
    struct ab_wire_keys keys;
    char **names = NULL;
    size_t count = 0;
    char *directory = scratch_make();
    keys_make(&keys);
    struct ab_copies_options options = {
        .keys = &keys, .directory = directory, .message_bytes = 65536, .sync_messages = 4, .seconds = 0.2};
    for (options.replicas = 1; options.replicas <= 3; options.replicas += 2) {
        struct ab_copies_result result = {0};
        assert_ok(ab_copies_run(&options, &result, NULL));
        assert_true(result.bytes_per_second >= 65536);
        assert_true(result.cpu_ns_a_byte > 0);
    }
    assert_ok(ab_file_list(directory, &names, &count, NULL));
    assert_int_equal(count, 0);
    ab_file_names_free(names, count);
    scratch_remove(directory);
}

static void test_copies_without_a_place_to_write_are_refused(void **state)
{
    (void)state;
    struct ab_wire_keys keys;
    struct ab_copies_result result;
    keys_make(&keys);
    const struct ab_copies_options options = {.keys = &keys,
        .directory = "/nowhere/at/all",
        .replicas = 3,
        .message_bytes = 65536,
        .sync_messages = 4,
        .seconds = 0.2};
    assert_int_not_equal(ab_copies_run(&options, &result, NULL), AB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cluster_refuses_what_it_cannot_do),
        cmocka_unit_test(test_operations_between_count_a_new_process_whole),
        cmocka_unit_test(test_failover_report_has_every_figure),
        cmocka_unit_test(test_copies_move_bytes_and_leave_no_file),
        cmocka_unit_test(test_copies_without_a_place_to_write_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
