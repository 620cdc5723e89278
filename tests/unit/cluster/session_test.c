/* Which nodes a command can ask, by what their controllers have recorded. */
#include "cluster/command/session.h"

#include "cluster/layout.h"
#include "tests/support/test.h"

#include <unistd.h>

/* ---- helpers ---- */

static struct ab_json *process_json(bool is_alive)
{
    struct ab_process self = ab_process_self();
    struct ab_json *entry = ab_json_object();
    ab_json_set(entry, "pid", ab_json_integer(self.pid));
    ab_json_set_u64(entry, "pid_start_ticks", is_alive ? self.start_ticks : self.start_ticks + 1);
    return entry;
}

/* Records that this test is a node's controller and serving. */
static void record(const char *directory, bool is_controller_alive, bool is_serving)
{
    struct ab_json *all = ab_json_object();
    struct ab_json *serving = process_json(is_serving);
    char *run = ab_layout_path(directory, "run");
    char *path = ab_layout_path(directory, "run/endpoints.json");
    ab_json_set(serving, "answers", ab_json_boolean(is_serving));
    ab_json_set(serving, "address", ab_json_text("tcp://127.0.0.1:1"));
    ab_json_set(all, "controller", process_json(is_controller_alive));
    ab_json_set(all, "serving", serving);
    assert_ok(ab_file_make_directory(run, 0700, NULL));
    assert_ok(ab_layout_json_write(path, all, NULL));
    ab_json_destroy(all);
    ab_delete(path);
    ab_delete(run);
}

static void record_node(const char *directory, uint32_t node, bool is_controller_alive, bool is_serving)
{
    char *own = ab_nodes_directory(directory, node);
    record(own, is_controller_alive, is_serving);
    ab_delete(own);
}

static void expect_place(const struct ab_session_places *places, uint32_t index, const char *directory, uint32_t node)
{
    char *own = ab_nodes_directory(directory, node);
    assert_true(index < places->count);
    assert_string_equal(places->items[index], own);
    ab_delete(own);
}

static void nodes_make(const char *directory)
{
    struct ab_nodes nodes;
    const struct ab_nodes_create_options options = {.partitions_count = 4, .count = 3, .zookeepers_count = 1};
    assert_ok(ab_nodes_create(directory, &options, &nodes, NULL));
    assert_ok(ab_nodes_complete(directory, &nodes, NULL));
}

/* ---- cases ---- */

static void test_session_nodes_that_serve_are_asked_first(void **state)
{
    struct ab_session_places places;
    nodes_make(*state);
    record_node(*state, 1, true, false);
    record_node(*state, 2, false, true); /* its controller is gone: it may be killed at any moment */
    record_node(*state, 3, true, true);
    assert_ok(ab_session_places_find(*state, &places, NULL));
    assert_int_equal(places.count, 2);
    expect_place(&places, 0, *state, 3);
    expect_place(&places, 1, *state, 1);
    ab_session_places_free(&places);
    ab_session_places_free(&places);
}

static void test_session_without_a_running_node_is_unavailable(void **state)
{
    struct ab_session session;
    struct ab_error error = {0};
    nodes_make(*state);
    record_node(*state, 2, false, false);
    assert_int_equal(ab_session_open(*state, "operator", &session, &error), AB_UNAVAILABLE);
    assert_non_null(strstr(error.text, "anabranch up --data"));
    ab_session_close(&session);
}

static void test_session_of_the_only_node_has_its_directory(void **state)
{
    struct ab_cluster_identity identity;
    struct ab_session_places places;
    assert_int_equal(ab_session_places_find(*state, &places, NULL), AB_NOT_FOUND); /* no cluster at all */
    assert_ok(ab_layout_create(*state, 4, &identity, NULL));
    assert_int_equal(ab_session_places_find(*state, &places, NULL), AB_UNAVAILABLE);
    record(*state, true, true);
    assert_ok(ab_session_places_find(*state, &places, NULL));
    assert_int_equal(places.count, 1);
    assert_string_equal(places.items[0], *state);
    ab_session_places_free(&places);
}

static void test_running_is_killed_only_if_it_is_the_recorded_process(void **state)
{
    struct ab_running running;
    assert_false(ab_running_read(*state, &running));
    assert_false(ab_running_is_any_alive(&running));
    record(*state, false, false); /* our process id with another start time: a later process of that number */
    assert_false(ab_running_read(*state, &running));
    assert_int_equal(running.controller.pid, getpid());
    assert_false(ab_running_is_any_alive(&running));
    ab_running_kill(&running, NULL); /* would end this test, or call nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_session_nodes_that_serve_are_asked_first, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_session_without_a_running_node_is_unavailable, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_session_of_the_only_node_has_its_directory, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_running_is_killed_only_if_it_is_the_recorded_process, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
