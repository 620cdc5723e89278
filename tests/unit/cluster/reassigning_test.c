/* Changes of which nodes a cluster has: what is asked of the controller and what it refuses, the steps that the acting
 * loop takes, whoever acts, and who counts as caught up. */
#include "tests/unit/cluster/acting_fixture.h"

#include "cluster/controller/catch_up.h"
#include "cluster/controller/controller.h"

/* ---- helpers ---- */

/* Asks the controller of a node, as an operator does. */
static ab_err change_ask(
    struct acting_fixture *fixture, uint32_t controller, const char *action, uint32_t node, uint32_t *moves)
{
    struct ab_json *payload = ab_json_object();
    struct ab_json *reply = NULL;
    struct ab_error error = {0};
    struct ab_controller *asked = ab_new(struct ab_controller);
    asked->acting_loop = fixture->controllers[controller - 1].loop;
    asked->coordination = fixture->observer;
    asked->node.config.cluster.node = controller;
    asked->node.identity.partitions_count = FIXTURE_PARTITIONS;
    ab_json_set(payload, "action", ab_json_text(action));
    ab_json_set(payload, "node", ab_json_integer(node));
    ab_err err = ab_verb_node_change(asked, payload, &reply, &error);
    if (moves != NULL) {
        *moves = (uint32_t)ab_json_integer_or(ab_json_get(reply, "moves"), 0);
    }
    ab_json_destroy(reply);
    ab_json_destroy(payload);
    ab_delete(asked);
    return err;
}

static bool is_under_way(struct acting_fixture *fixture)
{
    return ab_coordination_get(fixture->observer, AB_REASSIGNMENT_PATH, NULL, NULL, NULL) == AB_OK;
}

static void state_store(struct acting_fixture *fixture, struct ab_replica_set *state, uint64_t version)
{
    struct ab_buffer text = {0};
    char path[AB_REGISTRATION_PATH_BYTES];
    state->token = (struct ab_hash128){.low = ab_random_id(), .high = 1};
    ab_replica_set_path(state->partition, path);
    assert_ok(ab_replica_set_encode(state, &text, NULL));
    assert_ok(ab_coordination_set(fixture->observer, path, ab_buffer_view(&text), version, NULL));
    ab_buffer_fini(&text);
}

/* What leaders do: take every live replica into the in-sync set. */
static void leaders_take_in(struct acting_fixture *fixture)
{
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        struct ab_replica_set now;
        uint64_t version = 0;
        fixture_state(fixture, p, &now, &version);
        uint32_t before = now.isr.count;
        for (uint32_t i = 0; i < now.replicas.count; i++) {
            const struct acting_fixture_node *node = &fixture->nodes[now.replicas.items[i] - 1];
            if (node->session != NULL && !ab_replica_members_has(&now.isr, node->live.node)) {
                ab_replica_members_add(
                    &now.isr, (struct ab_replica_member){node->live.node, node->live.incarnation, node->live.disk_id});
            }
        }
        if (now.isr.count > before) {
            state_store(fixture, &now, version);
        }
    }
}

/* What catch_up does, when every learner has caught up at once. */
static void learners_tell(struct acting_fixture *fixture, uint32_t controller)
{
    struct ab_acting_loop *loop = fixture->controllers[controller - 1].loop;
    struct ab_learner *learners = NULL;
    struct ab_caught_up told[FIXTURE_PARTITIONS * AB_REPLICAS_MAX];
    uint32_t count = 0;
    ab_acting_loop_learners(loop, &learners, &count);
    for (uint32_t i = 0; i < count; i++) {
        told[i] = (struct ab_caught_up){
            .partition = learners[i].partition, .node = learners[i].node, .leader_epoch = learners[i].leader_epoch};
    }
    ab_acting_loop_tell_caught_up(loop, told, count);
    ab_delete(learners);
}

/* What always holds on the way: a leader, min_isr in sync, at most one replica more. */
static void always_check(struct acting_fixture *fixture)
{
    uint32_t learners = 0;
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        struct ab_replica_set now;
        uint64_t version = 0;
        fixture_state(fixture, p, &now, &version);
        assert_true(now.leader != AB_NODE_NONE);
        assert_true(now.isr.count >= now.min_isr);
        assert_true(now.replicas.count + now.learners.count <= 4);
        learners += now.learners.count;
    }
    assert_true(learners <= AB_REASSIGNING_COPIES_MAX);
}

/* One round of everybody. */
static void round_take(struct acting_fixture *fixture, uint32_t controller)
{
    assert_ok(fixture_step(fixture, controller));
    always_check(fixture);
    learners_tell(fixture, controller);
    leaders_take_in(fixture);
}

static void walk(struct acting_fixture *fixture, uint32_t controller)
{
    for (int round = 0; is_under_way(fixture); round++) {
        assert_true(round < 60);
        round_take(fixture, controller);
    }
}

static uint32_t replicas_of(struct acting_fixture *fixture, uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        struct ab_replica_set now;
        uint64_t version = 0;
        fixture_state(fixture, p, &now, &version);
        assert_int_equal(now.learners.count, is_under_way(fixture) ? now.learners.count : 0);
        count += ab_replica_nodes_has(&now.replicas, node);
    }
    return count;
}

/* ---- cases ---- */

static void test_reassigning_a_new_node_gets_its_part(void **state)
{
    struct acting_fixture *fixture = *state;
    uint32_t moves = 0;
    fixture_node_start(fixture, 4);
    assert_ok(change_ask(fixture, 1, "add", 4, &moves));
    assert_int_equal(moves, 6);                          /* 8 partitions of 3 replicas on 4 nodes */
    assert_ok(change_ask(fixture, 1, "add", 4, &moves)); /* asked twice is once */
    assert_int_equal(moves, 6);
    walk(fixture, 1);
    for (uint32_t node = 1; node <= 4; node++) {
        assert_int_equal(replicas_of(fixture, node), 6);
    }
    assert_ok(change_ask(fixture, 1, "add", 4, &moves));
    assert_int_equal(moves, 0);
    assert_false(is_under_way(fixture));
}

static void test_reassigning_goes_on_under_another_controller_and_the_first_is_refused(void **state)
{
    struct acting_fixture *fixture = *state;
    fixture_node_start(fixture, 4);
    assert_ok(change_ask(fixture, 1, "add", 4, NULL));
    for (int round = 0; round < 3; round++) {
        round_take(fixture, 1);
    }
    assert_true(is_under_way(fixture));
    /* It is followed, without knowing. */
    struct ab_reassigning *zombie = ab_reassigning_create(FIXTURE_PARTITIONS);
    struct ab_reassigning_result result;
    struct ab_facts facts = {0};
    struct ab_error error = {0};
    uint64_t epoch = 0;
    assert_true(ab_acting_loop_is_acting(fixture->controllers[0].loop, &epoch));
    assert_ok(ab_coordination_delete(fixture->observer, "/controller", AB_COORDINATION_ANY_VERSION, &error));
    assert_ok(fixture_step(fixture, 2));
    assert_ok(ab_facts_read_live(&facts, fixture->observer, &error));
    assert_ok(ab_facts_read_partitions(&facts, fixture->observer, FIXTURE_PARTITIONS, &error));
    struct ab_caught_up told[FIXTURE_PARTITIONS];
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        told[p] = (struct ab_caught_up){p, 4, facts.states[p].leader_epoch};
    }
    assert_int_equal(
        ab_reassigning_round(zombie, &facts, told, FIXTURE_PARTITIONS, fixture->observer, epoch, &result, &error),
        AB_STALE);
    assert_int_equal(result.committed, 0);
    ab_facts_fini(&facts);
    ab_reassigning_destroy(zombie);
    walk(fixture, 2);
    assert_int_equal(replicas_of(fixture, 4), 6);
}

static void test_reassigning_without_reports_nothing_is_promoted(void **state)
{
    struct acting_fixture *fixture = *state;
    fixture_node_start(fixture, 4);
    assert_ok(change_ask(fixture, 1, "add", 4, NULL));
    for (int round = 0; round < 5; round++) {
        assert_ok(fixture_step(fixture, 1));
        always_check(fixture);
    }
    assert_int_equal(replicas_of(fixture, 4), 0);
    assert_true(is_under_way(fixture));
}

static void test_reassigning_taken_back_ends_where_it_was(void **state)
{
    struct acting_fixture *fixture = *state;
    struct fixture_states before;
    uint32_t moves = 0;
    fixture_states(fixture, &before);
    assert_int_equal(change_ask(fixture, 1, "cancel", 0, NULL), AB_NOT_FOUND);
    fixture_node_start(fixture, 4);
    assert_ok(change_ask(fixture, 1, "add", 4, NULL));
    for (int round = 0; round < 3; round++) {
        round_take(fixture, 1); /* learners, seen, promoted and in sync: nothing is removed yet */
    }
    assert_true(replicas_of(fixture, 4) > 0);
    assert_ok(change_ask(fixture, 1, "cancel", 0, &moves));
    assert_int_equal(moves, 6);
    assert_ok(change_ask(fixture, 1, "cancel", 0, NULL));
    walk(fixture, 1);
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        struct ab_replica_set now;
        uint64_t version = 0;
        fixture_state(fixture, p, &now, &version);
        assert_true(ab_replica_nodes_equal(&now.replicas, &before.items[p].replicas));
    }
}

static void test_reassigning_one_at_a_time(void **state)
{
    struct acting_fixture *fixture = *state;
    fixture_node_start(fixture, 4);
    assert_ok(change_ask(fixture, 1, "add", 4, NULL));
    assert_int_equal(change_ask(fixture, 1, "remove", 2, NULL), AB_BUSY);
    assert_int_equal(change_ask(fixture, 1, "forget", 2, NULL), AB_BUSY);
    assert_int_equal(change_ask(fixture, 1, "replace", 2, NULL), AB_BUSY);
}

static void test_reassigning_a_node_leaves_and_is_forgotten(void **state)
{
    struct acting_fixture *fixture = *state;
    fixture_node_start(fixture, 4);
    assert_ok(change_ask(fixture, 1, "add", 4, NULL));
    walk(fixture, 1);
    assert_ok(change_ask(fixture, 1, "remove", 2, NULL));
    walk(fixture, 1);
    assert_int_equal(replicas_of(fixture, 2), 0);
    assert_int_equal(replicas_of(fixture, 4), 8);
    assert_int_equal(change_ask(fixture, 1, "forget", 2, NULL), AB_BUSY); /* it runs */
    fixture_node_kill(fixture, 2);
    assert_int_equal(change_ask(fixture, 1, "forget", 3, NULL), AB_BUSY); /* it runs, and holds partitions */
    assert_ok(change_ask(fixture, 1, "forget", 2, NULL));
    assert_int_equal(ab_coordination_get(fixture->observer, "/nodes/2", NULL, NULL, NULL), AB_NOT_FOUND);
    assert_ok(change_ask(fixture, 1, "forget", 2, NULL));
    assert_int_equal(change_ask(fixture, 1, "remove", 2, NULL), AB_NOT_FOUND);
}

static void test_reassigning_refuses_what_breaks_partitions(void **state)
{
    struct acting_fixture *fixture = *state;
    assert_int_equal(change_ask(fixture, 1, "remove", 2, NULL), AB_UNAVAILABLE); /* nobody takes its place */
    fixture_node_start(fixture, 4);
    fixture_node_kill(fixture, 3);
    assert_ok(fixture_step(fixture, 1)); /* what 3 led is led by others */
    assert_ok(fixture_step(fixture, 1));
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) { /* and 3 has left every in-sync set */
        struct ab_replica_set now;
        uint64_t version = 0;
        fixture_state(fixture, p, &now, &version);
        ab_replica_members_remove(&now.isr, 3);
        state_store(fixture, &now, version);
    }
    assert_int_equal(change_ask(fixture, 1, "remove", 2, NULL), AB_UNAVAILABLE); /* H16: one in-sync replica left */
    assert_false(is_under_way(fixture));
    assert_ok(change_ask(fixture, 1, "remove", 3, NULL)); /* it is gone: others take its places */
    walk(fixture, 1);
    assert_int_equal(replicas_of(fixture, 3), 0);
    assert_int_equal(replicas_of(fixture, 4), 8);
}

static void test_reassigning_refuses_nonsense(void **state)
{
    struct acting_fixture *fixture = *state;
    assert_int_equal(change_ask(fixture, 1, "add", 4, NULL), AB_NOT_FOUND);
    assert_int_equal(change_ask(fixture, 1, "remove", 9, NULL), AB_NOT_FOUND);
    assert_int_equal(change_ask(fixture, 1, "replace", 9, NULL), AB_NOT_FOUND);
    assert_int_equal(change_ask(fixture, 1, "replace", 0, NULL), AB_USAGE);
    assert_int_equal(change_ask(fixture, 1, "mend", 1, NULL), AB_USAGE);
    assert_int_equal(change_ask(fixture, 1, "", 1, NULL), AB_USAGE);
    fixture_node_start(fixture, 4);
    fixture_node_kill(fixture, 4);
    assert_int_equal(change_ask(fixture, 1, "add", 4, NULL), AB_UNAVAILABLE); /* registered, not live */
    /* One that does not act changes nothing. */
    fixture_node_start(fixture, 4);
    assert_int_equal(change_ask(fixture, 2, "add", 4, NULL), AB_STALE);
    assert_false(is_under_way(fixture));
}

static void test_reassigning_leaves_alone_what_it_cannot_read(void **state)
{
    struct acting_fixture *fixture = *state;
    struct fixture_states before;
    struct fixture_states after;
    fixture_states(fixture, &before);
    static const char *const texts[] = {"", "{}", "{\"format\":2}", "[1,2"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fixture_store(fixture, AB_REASSIGNMENT_PATH, texts[i]);
        assert_ok(fixture_step(fixture, 1));
        assert_true(is_under_way(fixture));
    }
    fixture_states(fixture, &after);
    assert_memory_equal(before.versions, after.versions, sizeof before.versions);
    fixture_node_start(fixture, 4);
    assert_int_equal(change_ask(fixture, 1, "add", 4, NULL), AB_CORRUPT);
}

static void test_reassigning_a_lost_disk_is_given_up_only_when_others_have_all(void **state)
{
    struct acting_fixture *fixture = *state;
    uint32_t replicas = 0;
    assert_int_equal(change_ask(fixture, 1, "replace", 3, NULL), AB_USAGE); /* it is live */
    fixture_node_kill(fixture, 3);
    fixture_node_kill(fixture, 2);
    /* Of partition 0 only node 3 has all. */
    struct ab_replica_set now;
    uint64_t version = 0;
    fixture_state(fixture, 0, &now, &version);
    ab_replica_members_remove(&now.isr, 1);
    ab_replica_members_remove(&now.isr, 2);
    now.leader = 3;
    now.leader_incarnation = now.isr.items[0].incarnation;
    state_store(fixture, &now, version);
    assert_int_equal(change_ask(fixture, 1, "replace", 3, NULL), AB_UNAVAILABLE);
    assert_ok(ab_coordination_get(fixture->observer, "/nodes/3", NULL, NULL, NULL));
    /* Node 2 is lost, and node 1 has everything but of that partition. */
    fixture_node_start(fixture, 3);
    assert_ok(change_ask(fixture, 1, "replace", 2, &replicas));
    assert_int_equal(replicas, 8);
    assert_int_equal(ab_coordination_get(fixture->observer, "/nodes/2", NULL, NULL, NULL), AB_NOT_FOUND);
    assert_ok(change_ask(fixture, 1, "replace", 2, &replicas)); /* again, before another disk has come */
    assert_int_equal(replicas, 8);
    assert_int_equal(change_ask(fixture, 1, "forget", 2, NULL), AB_BUSY); /* it is a replica still */
}

/* ---- who has caught up ---- */

static struct ab_json *log_state(uint32_t partition, int64_t durable, int64_t committed)
{
    struct ab_json *json = ab_json_object();
    struct ab_json *list = ab_json_array();
    struct ab_json *entry = ab_json_object();
    ab_json_set(entry, "partition", ab_json_integer(partition));
    ab_json_set(entry, "durable", ab_json_integer(durable));
    ab_json_set(entry, "committed", ab_json_integer(committed));
    ab_json_append(list, entry);
    ab_json_set(json, "partitions", list);
    return json;
}

static void test_catch_up_counts_who_holds_what_was_committed_the_time_before(void **state)
{
    (void)state;
    struct ab_catch_up_mark marks[3] = {{0}};
    struct ab_caught_up found[1];
    struct ab_learner learner = {.partition = 2, .node = 4, .leader = 1, .leader_epoch = 5};
    static const struct {
        int64_t durable, committed;
        uint64_t epoch;
        uint32_t count;
    } times[] = {
        {0, 10, 5, 0},  /* nothing is known of the time before */
        {9, 20, 5, 0},  /* not all of the 10 */
        {19, 30, 5, 0}, /* not all of the 20 */
        {30, 40, 5, 1}, /* all of the 30, though 40 are committed by now */
        {50, 50, 6, 0}, /* another leader: nothing is known */
        {50, 60, 6, 1}, /* all of the 50 */
        {0, 60, 6, 0},  /* it began anew */
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct ab_json *leader = log_state(2, 99, times[i].committed);
        struct ab_json *follower = log_state(2, times[i].durable, 0);
        const struct ab_catch_up_answer answers[] = {{1, leader}, {4, follower}};
        learner.leader_epoch = times[i].epoch;
        assert_int_equal(ab_catch_up_judge(&learner, 1, answers, 2, marks, 3, found), times[i].count);
        assert_true(times[i].count == 0 ||
                    (found[0].partition == 2 && found[0].node == 4 && found[0].leader_epoch == times[i].epoch));
        ab_json_destroy(leader);
        ab_json_destroy(follower);
    }
}

static void test_catch_up_knows_nothing_of_who_does_not_answer(void **state)
{
    (void)state;
    struct ab_catch_up_mark marks[3] = {[2] = {5, 10}};
    struct ab_caught_up found[2];
    struct ab_json *other = log_state(1, 99, 99);
    const struct ab_learner learners[] = {
        {.partition = 2, .node = 4, .leader = 1, .leader_epoch = 5}, {.partition = 7, .node = 4, .leader = 1}};
    const struct ab_catch_up_answer answers[] = {{1, NULL}, {4, other}};
    assert_int_equal(ab_catch_up_judge(learners, 2, answers, 2, marks, 3, found), 0);
    assert_int_equal(marks[2].committed, 0);
    assert_int_equal(ab_catch_up_judge(learners, 2, answers, 0, marks, 3, found), 0);
    ab_json_destroy(other);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup_created, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_reassigning_a_new_node_gets_its_part),
        CASE(test_reassigning_goes_on_under_another_controller_and_the_first_is_refused),
        CASE(test_reassigning_without_reports_nothing_is_promoted),
        CASE(test_reassigning_taken_back_ends_where_it_was),
        CASE(test_reassigning_one_at_a_time),
        CASE(test_reassigning_a_node_leaves_and_is_forgotten),
        CASE(test_reassigning_refuses_what_breaks_partitions),
        CASE(test_reassigning_refuses_nonsense),
        CASE(test_reassigning_leaves_alone_what_it_cannot_read),
        CASE(test_reassigning_a_lost_disk_is_given_up_only_when_others_have_all),
        cmocka_unit_test(test_catch_up_counts_who_holds_what_was_committed_the_time_before),
        cmocka_unit_test(test_catch_up_knows_nothing_of_who_does_not_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
