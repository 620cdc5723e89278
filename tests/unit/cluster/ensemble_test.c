/* The process that keeps ZooKeeper servers running, as a child of the test, with real servers. */
#include "cluster/ensemble.h"

#include "common/base/time.h"
#include "tests/support/test.h"
#include "tests/support/zookeeper.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_US (60 * AB_US_PER_SECOND)
#define CALL_US (2 * AB_US_PER_SECOND)

/* ---- helpers ---- */

static void nodes_make(const char *directory, uint32_t zookeepers_count, struct ab_nodes *nodes)
{
    const struct ab_nodes_create_options options = {
        .partitions_count = 4, .count = 3, .zookeepers_count = zookeepers_count};
    assert_ok(ab_nodes_create(directory, &options, nodes, NULL));
    assert_ok(ab_nodes_complete(directory, nodes, NULL));
}

/* Keeps the servers running in a child. */
static pid_t keeper_start(const char *directory)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct ab_ensemble ensemble;
        ab_err err = ab_ensemble_open(directory, &ensemble, NULL);
        err = err == AB_OK ? ab_ensemble_run(&ensemble, NULL) : err;
        ab_ensemble_close(&ensemble);
        _exit(err == AB_OK ? 0 : 1);
    }
    return pid;
}

static void keeper_reap(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static struct ab_coordination *session_wait(const char *directory, const struct ab_nodes *nodes)
{
    struct ab_coordination *session = NULL;
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    while (ab_nodes_session_open(directory, nodes, CALL_US, &session, NULL) != AB_OK) {
        assert_true(ab_time_monotonic_us() < until_us);
        ab_time_sleep_us(20 * AB_US_PER_MS);
    }
    return session;
}

/* Until all servers are recorded, and the first one is another than `before`. */
static void running_wait(const char *directory, uint32_t count, int64_t before, struct ab_ensemble_running *running)
{
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    while (!ab_ensemble_running_read(directory, running) || running->servers_count != count ||
           !ab_process_is_alive(&running->servers[0]) || running->servers[0].pid == before) {
        assert_true(ab_time_monotonic_us() < until_us);
        ab_time_sleep_us(20 * AB_US_PER_MS);
    }
}

/* ---- cases ---- */

static void test_ensemble_server_that_dies_is_started_again(void **state)
{
    struct ab_nodes nodes;
    struct ab_ensemble_running running;
    nodes_make(*state, 1, &nodes);
    pid_t keeper = keeper_start(*state);
    struct ab_coordination *session = session_wait(*state, &nodes);
    assert_ok(ab_nodes_settle(&nodes, session, NULL));
    assert_ok(ab_nodes_settle(&nodes, session, NULL)); /* the same again */
    running_wait(*state, 1, 0, &running);
    int64_t before = running.servers[0].pid;
    ab_process_signal(&running.servers[0], SIGKILL);
    running_wait(*state, 1, before, &running);
    assert_int_equal(running.crashes_count, 1);
    ab_coordination_close(session);
    session = session_wait(*state, &nodes);
    assert_ok(ab_nodes_settle(&nodes, session, NULL)); /* what was written is still there */
    nodes.count = 4;                                   /* one was added since */
    assert_ok(ab_nodes_settle(&nodes, session, NULL));
    nodes.identity.partitions_count++;
    assert_int_equal(ab_nodes_settle(&nodes, session, NULL), AB_MISMATCH);
    ab_coordination_close(session);
    ab_ensemble_end(&running, PATIENCE_US);
    assert_false(ab_ensemble_is_any_alive(&running));
    keeper_reap(keeper);
    assert_false(ab_ensemble_running_read(*state, &running));
}

static void test_ensemble_that_was_killed_leaves_servers_that_the_next_one_ends(void **state)
{
    struct ab_nodes nodes;
    struct ab_ensemble_running running;
    struct ab_ensemble_running left;
    nodes_make(*state, 1, &nodes);
    pid_t keeper = keeper_start(*state);
    running_wait(*state, 1, 0, &left);
    (void)kill(keeper, SIGKILL);
    keeper_reap(keeper);
    assert_false(ab_ensemble_running_read(*state, &running));
    assert_true(ab_ensemble_is_any_alive(&running));
    keeper = keeper_start(*state);
    running_wait(*state, 1, left.servers[0].pid, &running);
    assert_false(ab_process_is_alive(&left.servers[0]));
    ab_coordination_close(session_wait(*state, &nodes));
    (void)kill(keeper, SIGKILL);
    keeper_reap(keeper);
    ab_ensemble_end(&running, PATIENCE_US); /* without the process its servers are ended all the same */
    assert_false(ab_ensemble_is_any_alive(&running));
}

static void test_ensemble_of_three_outlives_one(void **state)
{
    struct ab_nodes nodes;
    struct ab_ensemble_running running;
    nodes_make(*state, 3, &nodes);
    pid_t keeper = keeper_start(*state);
    running_wait(*state, 3, 0, &running);
    struct ab_coordination *session = session_wait(*state, &nodes);
    assert_ok(ab_nodes_settle(&nodes, session, NULL));
    ab_process_signal(&running.servers[0], SIGKILL);
    ab_coordination_close(session);
    session = session_wait(*state, &nodes);
    assert_ok(ab_nodes_settle(&nodes, session, NULL));
    ab_coordination_close(session);
    (void)ab_ensemble_running_read(*state, &running);
    ab_ensemble_end(&running, PATIENCE_US);
    keeper_reap(keeper);
    assert_false(ab_ensemble_is_any_alive(&running));
}

static void test_ensemble_has_one_keeper(void **state)
{
    struct ab_nodes nodes;
    struct ab_ensemble first;
    struct ab_ensemble second;
    assert_int_equal(ab_ensemble_open(*state, &first, NULL), AB_NOT_FOUND);
    ab_ensemble_close(&first);
    nodes_make(*state, 1, &nodes);
    assert_ok(ab_ensemble_open(*state, &first, NULL));
    assert_int_equal(ab_ensemble_open(*state, &second, NULL), AB_BUSY);
    ab_ensemble_close(&second);
    ab_ensemble_close(&first);
    assert_ok(ab_ensemble_open(*state, &second, NULL));
    ab_ensemble_close(&second);
    ab_ensemble_close(&second);
}

int main(void)
{
    zookeeper_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ensemble_has_one_keeper, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_ensemble_server_that_dies_is_started_again, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_ensemble_that_was_killed_leaves_servers_that_the_next_one_ends, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_ensemble_of_three_outlives_one, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
