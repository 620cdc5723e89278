/* Which controller acts, what it makes and elects, and that one who was followed by another can change nothing. */
#include "tests/unit/cluster/acting_fixture.h"

#include "cluster/controller/acting.h"
#include "cluster/controller/creation.h"
#include "cluster/controller/elections.h"

/* ---- who acts ---- */

static void test_acting_one_of_three_wins_and_the_others_know_it(void **state)
{
    struct acting_fixture *fixture = *state;
    fixture_settle(fixture);
    uint32_t acting = fixture_acting(fixture);
    assert_int_equal(acting, 1);
    for (uint32_t n = 0; n < FIXTURE_NODES; n++) {
        struct ab_acting_controller current;
        assert_true(ab_acting_loop_current(fixture->controllers[n].loop, &current));
        assert_int_equal(current.node, acting);
        assert_string_equal(current.address, "tcp://127.0.0.1:7301");
    }
}

static void test_acting_another_follows_with_a_higher_epoch(void **state)
{
    struct acting_fixture *fixture = *state;
    uint64_t before = 0;
    uint64_t after = 0;
    fixture_settle(fixture);
    assert_true(ab_acting_loop_is_acting(fixture->controllers[0].loop, &before));
    fixture_controller_kill(fixture, 1);
    fixture_settle(fixture);
    assert_int_equal(fixture_acting(fixture), 2);
    assert_true(ab_acting_loop_is_acting(fixture->controllers[1].loop, &after));
    assert_int_equal(after, before + 1);
}

static void test_acting_a_node_that_says_nothing_sensible_is_no_controller(void **state)
{
    struct acting_fixture *fixture = *state;
    static const char *const bad[] = {"", "{}", "[1]", "{\"node\":1,\"address\":\"tcp://x\",\"key\":\"00\"}",
        "{\"node\":-1,\"address\":\"tcp://x\",\"key\":"
        "\"0000000000000000000000000000000000000000000000000000000000000000\","
        "\"incarnation\":\"00000000000000000000000000000001\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ab_acting_controller current;
        fixture_store(fixture, "/controller", bad[i]);
        assert_int_equal(fixture_step(fixture, 1), AB_CORRUPT);
        assert_int_equal(fixture_acting(fixture), 0);
        assert_false(ab_acting_loop_current(fixture->controllers[0].loop, &current));
    }
    struct ab_error error = {0};
    assert_ok(ab_coordination_delete(fixture->observer, "/controller", AB_COORDINATION_ANY_VERSION, &error));
    fixture_settle(fixture);
    assert_int_equal(fixture_acting(fixture), 1);
}

static void test_acting_who_was_followed_is_refused_by_the_fence(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_facts facts = {0};
    struct ab_elections *elections = ab_elections_create(FIXTURE_PARTITIONS);
    struct ab_elections_result result;
    struct ab_replica_set before;
    struct ab_replica_set after;
    uint64_t version = 0;
    uint64_t old_epoch = 0;
    assert_true(ab_acting_loop_is_acting(fixture->controllers[0].loop, &old_epoch));
    fixture_state(fixture, 0, &before, &version);
    fixture_node_kill(fixture, before.leader);
    /* It knows that the leader is gone, and is held up just before it commits. */
    assert_ok(ab_facts_read_live(&facts, fixture->observer, &error));
    assert_ok(ab_facts_read_partitions(&facts, fixture->observer, FIXTURE_PARTITIONS, &error));
    assert_ok(ab_coordination_delete(fixture->observer, "/controller", AB_COORDINATION_ANY_VERSION, &error));
    struct ab_acting other;
    const struct ab_acting_controller own = {.node = 2, .incarnation = {.low = 9}, .address = "tcp://127.0.0.1:9"};
    ab_acting_init(&other, &own);
    assert_ok(ab_acting_look(&other, fixture->controllers[1].session, &error));
    assert_true(other.is_acting);
    assert_int_equal(other.epoch_version, old_epoch + 1);
    assert_int_equal(ab_elections_round(elections, &facts, fixture->observer, old_epoch, 1, &result, &error), AB_STALE);
    assert_int_equal(result.committed, 0);
    fixture_state(fixture, 0, &after, &version);
    assert_memory_equal(&before.token, &after.token, sizeof before.token);
    /* The one who acts does the same with success. */
    error = (struct ab_error){0};
    assert_ok(ab_elections_round(elections, &facts, fixture->observer, other.epoch_version, 1, &result, &error));
    assert_true(result.committed > 0);
    ab_elections_destroy(elections);
    ab_facts_fini(&facts);
}

static void test_acting_a_loop_that_was_followed_steps_down(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_error error = {0};
    assert_int_equal(fixture_acting(fixture), 1);
    assert_ok(ab_coordination_delete(fixture->observer, "/controller", AB_COORDINATION_ANY_VERSION, &error));
    assert_ok(fixture_step(fixture, 2));
    assert_ok(fixture_step(fixture, 1));
    assert_int_equal(fixture_acting(fixture), 2);
}

static void test_changes_fence_stands_before_all_and_names_itself(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_changes changes = {0};
    fixture_settle(fixture);
    ab_changes_add(&changes, AB_COORDINATION_CREATE, "/x", ab_bytes_of_text("1"), 0);
    ab_changes_fence(&changes, 77);
    assert_int_equal(ab_changes_commit(&changes, fixture->observer, &error), AB_STALE);
    assert_int_equal(ab_coordination_get(fixture->observer, "/x", NULL, NULL, &error), AB_NOT_FOUND);
    /* A conflict elsewhere is a conflict. */
    uint64_t epoch = 0;
    error = (struct ab_error){0};
    assert_true(ab_acting_loop_is_acting(fixture->controllers[0].loop, &epoch));
    ab_changes_add(&changes, AB_COORDINATION_SET, "/cluster", ab_bytes_of_text("1"), 77);
    ab_changes_fence(&changes, epoch);
    assert_int_equal(ab_changes_commit(&changes, fixture->observer, &error), AB_CONFLICT);
    assert_non_null(strstr(error.text, "/cluster"));
}

/* ---- creation ---- */

static void test_creation_waits_for_all_nodes(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_error error = {0};
    fixture_node_start(fixture, 1);
    fixture_node_start(fixture, 2);
    fixture_settle(fixture);
    assert_int_equal(ab_coordination_get(fixture->observer, "/partitions/0/state", NULL, NULL, &error), AB_NOT_FOUND);
    fixture_node_start(fixture, 3);
    fixture_settle(fixture);
    uint32_t led[FIXTURE_NODES + 1] = {0};
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        struct ab_replica_set made;
        uint64_t version = 0;
        fixture_state(fixture, p, &made, &version);
        assert_int_equal(made.replicas.count, 3);
        assert_int_equal(made.isr.count, 3);
        assert_int_equal(made.min_isr, 2);
        assert_int_equal(made.leader_epoch, 1);
        assert_int_equal(made.leader, made.replicas.items[0]);
        assert_int_equal(version, 0);
        led[made.leader]++;
    }
    assert_true(led[1] >= 2 && led[2] >= 2 && led[3] >= 2);
}

static void test_creation_goes_on_where_another_ended(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_replica_set before;
    struct ab_replica_set after;
    uint64_t version = 0;
    fixture_state(fixture, 3, &before, &version);
    assert_ok(ab_coordination_delete(fixture->observer, "/partitions/5/state", AB_COORDINATION_ANY_VERSION, &error));
    fixture_controller_kill(fixture, 1);
    fixture_settle(fixture);
    fixture_state(fixture, 3, &after, &version);
    assert_memory_equal(&before.token, &after.token, sizeof before.token);
    fixture_state(fixture, 5, &after, &version);
    assert_int_equal(after.leader_epoch, 1);
}

static void test_creation_needs_this_cluster_in_the_settings(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_cluster_settings settings;
    const struct ab_cluster_identity identity = {.cluster_id = {7}, .partitions_count = FIXTURE_PARTITIONS};
    static const struct {
        const char *text;
        ab_err err;
    } cases[] = {
        {FIXTURE_CLUSTER("08000000000000000000000000000000", "8", "3", "2", "3"), AB_MISMATCH},
        {FIXTURE_CLUSTER(FIXTURE_ID, "9", "3", "2", "3"), AB_MISMATCH},
        {FIXTURE_CLUSTER(FIXTURE_ID, "8", "4", "2", "3"), AB_CORRUPT},
        {FIXTURE_CLUSTER(FIXTURE_ID, "8", "3", "4", "3"), AB_CORRUPT},
        {FIXTURE_CLUSTER(FIXTURE_ID, "8", "3", "0", "3"), AB_CORRUPT},
        {FIXTURE_CLUSTER("07", "8", "3", "2", "3"), AB_CORRUPT},
        {"{\"format\":2}", AB_UNSUPPORTED},
        {"{", AB_CORRUPT},
        {FIXTURE_CLUSTER(FIXTURE_ID, "8", "3", "2", "3"), AB_OK},
    };
    for (uint32_t n = 1; n <= FIXTURE_NODES; n++) {
        fixture_node_start(fixture, n);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ab_error error = {0};
        fixture_store(fixture, "/cluster", cases[i].text);
        assert_int_equal(ab_cluster_settings_read(fixture->observer, &identity, &settings, &error), cases[i].err);
        fixture_settle(fixture);
        ab_err err = ab_coordination_get(fixture->observer, "/partitions/0/state", NULL, NULL, &error);
        assert_int_equal(err, cases[i].err == AB_OK ? AB_OK : AB_NOT_FOUND);
    }
}

static void test_creation_takes_fewer_replicas_than_nodes(void **state)
{
    struct acting_fixture *fixture = *state;
    fixture_store(fixture, "/cluster", FIXTURE_CLUSTER(FIXTURE_ID, "8", "2", "1", "3"));
    for (uint32_t n = 1; n <= FIXTURE_NODES; n++) {
        fixture_node_start(fixture, n);
    }
    fixture_settle(fixture);
    struct ab_replica_set made;
    uint64_t version = 0;
    fixture_state(fixture, 5, &made, &version);
    assert_int_equal(made.replicas.count, 2);
    assert_int_equal(made.isr.count, 2);
    assert_int_not_equal(made.replicas.items[0], made.replicas.items[1]);
    assert_int_equal(made.min_isr, 1);
}

/* ---- elections ---- */

/* What led by `gone` before is led by another now, one epoch later; all else is as it was. */
static void assert_followed(struct acting_fixture *fixture, const struct fixture_states *before, uint32_t gone)
{
    struct fixture_states after;
    uint32_t followed = 0;
    fixture_states(fixture, &after);
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        const struct ab_replica_set *was = &before->items[p];
        const struct ab_replica_set *now = &after.items[p];
        bool was_led = was->leader == gone;
        followed += was_led;
        assert_int_equal(now->leader_epoch, was->leader_epoch + was_led);
        assert_int_equal(after.versions[p], before->versions[p] + was_led);
        assert_int_equal(now->isr.count, was_led ? 2 : 3); /* of the others their leaders take it out */
        if (was_led) {
            assert_int_not_equal(now->leader, gone);
            assert_true(ab_replica_members_has(&was->isr, now->leader));
        } else {
            assert_int_equal(now->leader, was->leader);
        }
    }
    assert_true(followed > 0);
}

static void test_elections_a_dead_leader_is_followed_in_the_next_epoch(void **state)
{
    struct acting_fixture *fixture = *state;
    struct fixture_states before;
    fixture_states(fixture, &before);
    fixture_node_kill(fixture, 2);
    fixture_settle(fixture);
    assert_followed(fixture, &before, 2);
}

static void test_elections_of_the_last_replicas_nobody_is_elected_until_one_is_back(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_replica_set now;
    uint64_t version = 0;
    for (uint32_t n = 1; n <= FIXTURE_NODES; n++) {
        fixture_node_kill(fixture, n);
    }
    fixture_settle(fixture);
    fixture_state(fixture, 0, &now, &version);
    assert_int_equal(now.leader, AB_NODE_NONE);
    assert_int_equal(now.leader_epoch, 2);
    assert_int_equal(now.isr.count, 3);
    uint64_t settled = version;
    fixture_settle(fixture); /* nothing to do: nothing is written again */
    fixture_state(fixture, 0, &now, &version);
    assert_int_equal(version, settled);
    fixture_node_start(fixture, 3);
    fixture_settle(fixture);
    fixture_state(fixture, 0, &now, &version);
    assert_int_equal(now.leader, 3);
    assert_int_equal(now.leader_epoch, 3);
    assert_memory_equal(&now.leader_incarnation, &fixture->nodes[2].live.incarnation, sizeof now.leader_incarnation);
}

static void test_elections_go_on_when_the_acting_controller_goes_with_its_node(void **state)
{
    struct acting_fixture *fixture = *state;
    struct fixture_states before;
    fixture_states(fixture, &before);
    fixture_controller_kill(fixture, 1);
    fixture_node_kill(fixture, 1);
    fixture_settle(fixture);
    assert_int_equal(fixture_acting(fixture), 2);
    assert_followed(fixture, &before, 1);
}

static void test_elections_a_process_that_died_meanwhile_is_not_elected(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_facts facts = {0};
    struct ab_elections *elections = ab_elections_create(FIXTURE_PARTITIONS);
    struct ab_elections_result result;
    struct ab_replica_set now;
    uint64_t version = 0;
    uint64_t epoch = 0;
    uint32_t partition = fixture_led_by(fixture, 1, 0);
    assert_true(ab_acting_loop_is_acting(fixture->controllers[0].loop, &epoch));
    fixture_node_kill(fixture, 1);
    assert_ok(ab_facts_read_live(&facts, fixture->observer, &error));
    assert_ok(ab_facts_read_partitions(&facts, fixture->observer, FIXTURE_PARTITIONS, &error));
    fixture_node_kill(fixture, 2); /* whom these facts would elect, or count on */
    assert_ok(ab_elections_round(elections, &facts, fixture->observer, epoch, 1, &result, &error));
    assert_int_equal(result.committed, 0);
    assert_true(result.left > 0);
    fixture_state(fixture, partition, &now, &version);
    assert_int_equal(version, 0);
    fixture_settle(fixture);
    fixture_state(fixture, partition, &now, &version);
    assert_int_equal(now.leader, 3);
    assert_int_equal(now.leader_epoch, 2);
    ab_elections_destroy(elections);
    ab_facts_fini(&facts);
}

static void test_elections_a_partition_that_loses_leader_after_leader_is_left_alone(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_replica_set now;
    uint64_t version = 0;
    for (uint32_t i = 0; i < AB_ELECTIONS_MAX + 4; i++) {
        fixture_state(fixture, 0, &now, &version);
        if (now.leader == AB_NODE_NONE) {
            break;
        }
        uint32_t leader = now.leader;
        fixture_node_kill(fixture, leader);
        fixture_settle(fixture);
        fixture_node_start(fixture, leader);
        fixture_settle(fixture);
    }
    fixture_state(fixture, 0, &now, &version);
    assert_int_equal(now.leader_epoch, 1 + AB_ELECTIONS_MAX);
}

/* Reads all facts and does a round at a time. */
static uint32_t round_at(struct acting_fixture *fixture, struct ab_elections *elections, uint64_t now_ms)
{
    struct ab_error error = {0};
    struct ab_facts facts = {0};
    struct ab_elections_result result;
    uint64_t epoch = 0;
    assert_true(ab_acting_loop_is_acting(fixture->controllers[0].loop, &epoch));
    assert_ok(ab_facts_read_live(&facts, fixture->observer, &error));
    assert_ok(ab_facts_read_partitions(&facts, fixture->observer, FIXTURE_PARTITIONS, &error));
    assert_ok(ab_elections_round(elections, &facts, fixture->observer, epoch, now_ms, &result, &error));
    ab_facts_fini(&facts);
    return result.committed;
}

/* Has the second replica of a partition lead, as after a time in which the first one was away. */
static void leader_displace(struct acting_fixture *fixture, uint32_t partition)
{
    struct ab_replica_set state;
    struct ab_buffer text = {0};
    struct ab_error error = {0};
    char path[AB_REGISTRATION_PATH_BYTES];
    uint64_t version = 0;
    fixture_state(fixture, partition, &state, &version);
    uint32_t at = ab_replica_members_find(&state.isr, state.replicas.items[1]);
    state.leader = state.isr.items[at].node;
    state.leader_incarnation = state.isr.items[at].incarnation;
    state.leader_epoch++;
    ab_replica_set_path(partition, path);
    assert_ok(ab_replica_set_encode(&state, &text, &error));
    assert_ok(ab_coordination_set(fixture->observer, path, ab_buffer_view(&text), version, &error));
    ab_buffer_fini(&text);
}

static void test_elections_leaderships_go_back_one_by_one_when_all_is_quiet(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_elections *elections = ab_elections_create(FIXTURE_PARTITIONS);
    struct ab_replica_set now;
    uint64_t version = 0;
    leader_displace(fixture, 3);
    leader_displace(fixture, 5);
    assert_int_equal(round_at(fixture, elections, 1000), 0); /* it does not know for how long all was quiet */
    assert_int_equal(round_at(fixture, elections, 999 + AB_ELECTIONS_QUIET_MS), 0);
    assert_int_equal(round_at(fixture, elections, 1000 + AB_ELECTIONS_QUIET_MS), 1);
    assert_int_equal(round_at(fixture, elections, 1001 + AB_ELECTIONS_QUIET_MS), 0);
    assert_int_equal(round_at(fixture, elections, 1000 + 2 * AB_ELECTIONS_QUIET_MS), 1);
    for (uint32_t p = 3; p <= 5; p += 2) {
        fixture_state(fixture, p, &now, &version);
        assert_int_equal(now.leader, now.replicas.items[0]);
        assert_int_equal(now.leader_epoch, 3);
        assert_int_equal(now.isr.count, 3);
    }
    assert_int_equal(round_at(fixture, elections, 1000 + 4 * AB_ELECTIONS_QUIET_MS), 0);
    ab_elections_destroy(elections);
}

static void test_elections_a_broken_state_does_not_keep_the_others_waiting(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_replica_set now;
    uint64_t version = 0;
    uint32_t broken = fixture_led_by(fixture, 2, 0);
    uint32_t other = fixture_led_by(fixture, 2, broken + 1);
    char path[AB_REGISTRATION_PATH_BYTES];
    ab_replica_set_path(broken, path);
    fixture_store(fixture, path, "{\"format\":1}");
    fixture_store(fixture, "/live/nonsense", "?");
    fixture_node_kill(fixture, 2);
    fixture_settle(fixture);
    fixture_state(fixture, other, &now, &version);
    assert_int_equal(now.leader_epoch, 2);
    struct ab_error error = {0};
    assert_int_equal(ab_facts_state_read(fixture->observer, broken, &now, &version, &error), AB_CORRUPT);
}

/* The process is dead, its session lives on: its own controller says so, which need not be the acting one. */
static void test_release_a_dead_process_is_followed_before_its_session_expires(void **state)
{
    struct acting_fixture *fixture = *state;
    struct fixture_states before;
    fixture_states(fixture, &before);
    ab_acting_loop_release(fixture->controllers[1].loop, fixture->nodes[1].live.incarnation);
    fixture_settle(fixture); /* the acting one may have looked before */
    fixture_settle(fixture);
    assert_followed(fixture, &before, 2);
}

static void test_release_of_who_is_not_there_changes_nothing(void **state)
{
    struct acting_fixture *fixture = *state;
    struct fixture_states before;
    struct fixture_states after;
    struct ab_speed_target *targets = NULL;
    uint32_t count = 0;
    fixture_states(fixture, &before);
    ab_acting_loop_release(fixture->controllers[1].loop, (struct ab_hash128){.low = 5, .high = 5});
    ab_acting_loop_release(fixture->controllers[2].loop, fixture->nodes[1].live.incarnation); /* of another node */
    fixture_settle(fixture);
    fixture_settle(fixture);
    fixture_states(fixture, &after);
    assert_memory_equal(&after.versions, &before.versions, sizeof after.versions);
    ab_acting_loop_targets(fixture->controllers[0].loop, &targets, &count);
    assert_int_equal(count, 3);
    ab_delete(targets);
}

/* ---- where speed answers ---- */

static void test_targets_are_the_live_nodes_of_who_acts(void **state)
{
    struct acting_fixture *fixture = *state;
    struct ab_speed_target *targets = NULL;
    uint32_t count = 0;
    ab_acting_loop_targets(fixture->controllers[0].loop, &targets, &count);
    assert_int_equal(count, 3);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(targets[i].node, i + 1);
        assert_int_equal(targets[i].endpoint.public_key[0], i + 1);
        assert_true(ab_acting_loop_target_lives(fixture->controllers[0].loop, &targets[i]));
    }
    fixture_node_kill(fixture, 2);
    fixture_settle(fixture);
    assert_false(ab_acting_loop_target_lives(fixture->controllers[0].loop, &targets[1]));
    assert_true(ab_acting_loop_target_lives(fixture->controllers[0].loop, &targets[2]));
    ab_delete(targets);
    ab_acting_loop_targets(fixture->controllers[1].loop, &targets, &count);
    assert_int_equal(count, 0);
    ab_delete(targets);
}

#define CASE(test, setup) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_acting_one_of_three_wins_and_the_others_know_it, fixture_setup),
        CASE(test_acting_another_follows_with_a_higher_epoch, fixture_setup),
        CASE(test_acting_a_node_that_says_nothing_sensible_is_no_controller, fixture_setup),
        CASE(test_acting_who_was_followed_is_refused_by_the_fence, fixture_setup_created),
        CASE(test_acting_a_loop_that_was_followed_steps_down, fixture_setup_created),
        CASE(test_changes_fence_stands_before_all_and_names_itself, fixture_setup),
        CASE(test_creation_waits_for_all_nodes, fixture_setup),
        CASE(test_creation_goes_on_where_another_ended, fixture_setup_created),
        CASE(test_creation_needs_this_cluster_in_the_settings, fixture_setup),
        CASE(test_creation_takes_fewer_replicas_than_nodes, fixture_setup),
        CASE(test_elections_a_dead_leader_is_followed_in_the_next_epoch, fixture_setup_created),
        CASE(test_elections_of_the_last_replicas_nobody_is_elected_until_one_is_back, fixture_setup_created),
        CASE(test_elections_go_on_when_the_acting_controller_goes_with_its_node, fixture_setup_created),
        CASE(test_elections_a_process_that_died_meanwhile_is_not_elected, fixture_setup_created),
        CASE(test_elections_a_partition_that_loses_leader_after_leader_is_left_alone, fixture_setup_created),
        CASE(test_elections_leaderships_go_back_one_by_one_when_all_is_quiet, fixture_setup_created),
        CASE(test_elections_a_broken_state_does_not_keep_the_others_waiting, fixture_setup_created),
        CASE(test_release_a_dead_process_is_followed_before_its_session_expires, fixture_setup_created),
        CASE(test_release_of_who_is_not_there_changes_nothing, fixture_setup_created),
        CASE(test_targets_are_the_live_nodes_of_who_acts, fixture_setup_created),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
