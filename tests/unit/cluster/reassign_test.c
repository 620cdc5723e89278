#include "cluster/reassign.h"

#include "tests/unit/cluster/facts.h"

/* A partition on its way, with a leader that does what leaders do when told. */
struct rig {
    struct ab_replica_set state;
    uint64_t version;
    struct ab_replica_target target;
    struct ab_live_node live[8];
    uint32_t live_count;
    struct ab_caught_up caught_up;
    uint32_t copies_max;
    char reason[AB_PLAN_REASON_BYTES]; /* of the last step; "" */
};

static struct rig rig_of(struct ab_replica_nodes wanted)
{
    struct rig rig = {.state = state_of(3), .target = {.partition = 3, .replicas = wanted}, .copies_max = 1};
    for (uint32_t node = 1; node <= 6; node++) {
        rig.live[rig.live_count++] = live_of(node, 1, 1);
    }
    return rig;
}

/* Plans and commits the next step; false when there is none. */
static bool step(struct rig *rig, enum ab_change_kind *kind)
{
    struct ab_partition_fact fact = {.state = &rig->state, .version = rig->version};
    const struct ab_reassign_input input = {.live = rig->live,
        .live_count = rig->live_count,
        .partitions = &fact,
        .partitions_count = 1,
        .targets = &rig->target,
        .targets_count = 1,
        .caught_up = &rig->caught_up,
        .caught_up_count = 1,
        .copies_max = rig->copies_max};
    struct ab_partition_plan plan;
    assert_ok(ab_replica_set_validate(&rig->state, NULL));
    ab_partition_plan_init(&plan, 4, 4);
    assert_ok(ab_reassign_plan(&input, &plan));
    assert_true(plan.changes_count <= 1);
    bool has_step = plan.changes_count == 1;
    (void)snprintf(rig->reason, sizeof rig->reason, "%s", plan.reasons_count > 0 ? plan.reasons[0].text : "");
    if (has_step) {
        const struct ab_partition_change *change = &plan.changes[0];
        bool is_move = change->kind == AB_CHANGE_MOVE;
        assert_true(change->version == rig->version);
        assert_true(change->state.assignment_version == rig->state.assignment_version + !is_move);
        assert_true(change->state.leader_epoch == rig->state.leader_epoch + is_move);
        *kind = change->kind;
        rig->state = committed_of(change);
        rig->version++;
    }
    ab_partition_plan_fini(&plan);
    return has_step;
}

static void expect(struct rig *rig, enum ab_change_kind expected)
{
    enum ab_change_kind kind = AB_CHANGE_ELECT;
    if (!step(rig, &kind)) {
        fail_msg("no step: %s", rig->reason);
    }
    assert_string_equal(ab_change_kind_name(kind), ab_change_kind_name(expected));
}

static void expect_wait(struct rig *rig, const char *reason)
{
    enum ab_change_kind kind;
    assert_false(step(rig, &kind));
    if (strstr(rig->reason, reason) == NULL) {
        fail_msg("'%s' is not in '%s'", reason, rig->reason);
    }
}

static bool is_done(const struct rig *rig)
{
    struct ab_live_set live;
    ab_live_set_init(&live, rig->live, rig->live_count);
    bool done = ab_reassign_is_done(&live, &rig->state, &rig->target);
    ab_live_set_fini(&live);
    return done;
}

static void caught_up(struct rig *rig, uint32_t node)
{
    rig->caught_up = (struct ab_caught_up){3, node, rig->state.leader_epoch};
}

static void in_sync(struct rig *rig, uint32_t node)
{
    ab_replica_members_add(&rig->state.isr, member_of(node, 1, 1));
    rig->version++;
}

static void died(struct rig *rig, uint32_t node)
{
    for (uint32_t i = 0; i < rig->live_count; i++) {
        if (rig->live[i].node == node) {
            rig->live[i] = rig->live[--rig->live_count];
        }
    }
}

static void test_reassign_walks_the_protocol_step_by_step(void **unused)
{
    (void)unused;
    struct rig rig = rig_of(NODES(2, 4, 3)); /* 1, the leader, gives its place to 4 */
    expect(&rig, AB_CHANGE_ADD_LEARNER);
    assert_true(ab_replica_nodes_has(&rig.state.learners, 4));
    expect_wait(&rig, "learner 4 is catching up");
    rig.caught_up = (struct ab_caught_up){3, 4, rig.state.leader_epoch - 1};
    expect_wait(&rig, "catching up"); /* the report of a leader that is not one any more */
    caught_up(&rig, 4);
    expect(&rig, AB_CHANGE_PROMOTE);
    assert_int_equal(rig.state.replicas.items[0], 2); /* of the target, and preferred as leader from here on */
    expect_wait(&rig, "replica 4 is not in sync yet");
    in_sync(&rig, 4);
    expect(&rig, AB_CHANGE_MOVE);
    assert_int_equal(rig.state.leader, 2);
    assert_false(is_done(&rig));
    expect(&rig, AB_CHANGE_REMOVE);
    assert_false(ab_replica_members_has(&rig.state.isr, 1));
    assert_true(ab_replica_nodes_equal(&rig.state.replicas, &rig.target.replicas));
    assert_true(is_done(&rig));
    expect_wait(&rig, "");
    assert_string_equal(rig.reason, "");
}

static void test_reassign_exchanges_replicas_one_by_one(void **unused)
{
    (void)unused;
    struct rig rig = rig_of(NODES(4, 5, 6));
    enum ab_change_kind kind;
    uint32_t removed = 0;
    for (uint32_t i = 0; i < 100 && !is_done(&rig); i++) {
        if (!step(&rig, &kind)) {
            for (uint32_t r = 0; r < rig.state.replicas.count; r++) {
                if (!ab_replica_members_has(&rig.state.isr, rig.state.replicas.items[r])) {
                    in_sync(&rig, rig.state.replicas.items[r]);
                }
            }
            caught_up(&rig, rig.state.learners.count > 0 ? rig.state.learners.items[0] : 0);
        } else {
            removed += kind == AB_CHANGE_REMOVE;
        }
        assert_true(rig.state.replicas.count >= 3 && rig.state.replicas.count <= 4);
        assert_true(rig.state.learners.count <= 1 && rig.state.isr.count >= 3);
    }
    assert_true(is_done(&rig) && removed == 3);
}

static void test_reassign_another_target_cancels(void **unused)
{
    (void)unused;
    struct rig rig = rig_of(NODES(1, 2, 4));
    expect(&rig, AB_CHANGE_ADD_LEARNER);
    rig.target.replicas = NODES(1, 2, 3);
    expect(&rig, AB_CHANGE_DROP_LEARNER);
    assert_true(is_done(&rig));

    rig = rig_of(NODES(1, 2, 4));
    expect(&rig, AB_CHANGE_ADD_LEARNER);
    caught_up(&rig, 4);
    expect(&rig, AB_CHANGE_PROMOTE);
    rig.target.replicas = NODES(1, 2, 3);
    expect(&rig, AB_CHANGE_REMOVE); /* 4, which is not in sync */
    assert_true(is_done(&rig) && rig.state.isr.count == 3);
}

static void test_reassign_changes_the_number_and_the_order(void **unused)
{
    (void)unused;
    struct rig rig = rig_of(NODES(3, 1));
    expect(&rig, AB_CHANGE_REMOVE);
    assert_true(is_done(&rig) && rig.state.isr.count == 2);
    rig = rig_of(NODES(3, 1, 2));
    expect(&rig, AB_CHANGE_ORDER);
    assert_true(is_done(&rig) && rig.state.leader == 1); /* the leader follows by rebalancing */
    rig = rig_of(NODES(1, 2, 3, 4));
    expect(&rig, AB_CHANGE_ADD_LEARNER);
    caught_up(&rig, 4);
    expect(&rig, AB_CHANGE_PROMOTE);
    assert_false(is_done(&rig));
    expect_wait(&rig, "replica 4 is not in sync yet");
    in_sync(&rig, 4);
    assert_true(is_done(&rig));
}

static void test_reassign_removes_nothing_that_is_needed(void **unused)
{
    (void)unused;
    struct rig rig = rig_of(NODES(1, 2)); /* 3 shall go, but 2 has died */
    died(&rig, 2);
    expect_wait(&rig, "without replica 3 1 live in-sync replicas of at least 2 would remain");
    rig = rig_of(NODES(1, 2));
    rig.state.isr = MEMBERS(1, 3); /* 2 lives and lags: it is waited for */
    expect_wait(&rig, "replica 2 is not in sync yet");
    rig = rig_of(NODES(2, 3));
    rig.state.isr = MEMBERS(1);
    rig.state.elr = MEMBERS(2);
    died(&rig, 2);
    died(&rig, 3);
    expect_wait(&rig, "leader 1 has no in-sync replica of the target");
    rig = rig_of(NODES(1)); /* below min_isr */
    expect_wait(&rig, "the target has 1 replicas, min_isr is 2");
    rig = rig_of(NODES(1, 2, 4));
    died(&rig, 1);
    expect_wait(&rig, "no live leader");
    rig = rig_of(NODES(1, 2, 4));
    died(&rig, 4);
    expect_wait(&rig, "node 4, which is to be a replica, is not live");
    rig = rig_of(NODES(1, 2, 4));
    expect(&rig, AB_CHANGE_ADD_LEARNER);
    died(&rig, 4);
    expect_wait(&rig, "learner 4 is not live");
}

/* The dead replica of a replaced node goes although it will never be in sync again. */
static void test_reassign_replaces_a_lost_node(void **unused)
{
    (void)unused;
    struct rig rig = rig_of(NODES(1, 2, 4));
    died(&rig, 3);
    rig.state.isr = MEMBERS(1, 2);
    expect(&rig, AB_CHANGE_ADD_LEARNER);
    caught_up(&rig, 4);
    expect(&rig, AB_CHANGE_PROMOTE);
    in_sync(&rig, 4);
    expect(&rig, AB_CHANGE_REMOVE);
    assert_true(is_done(&rig) && rig.state.isr.count == 3);
}

static void test_reassign_copies_are_throttled(void **unused)
{
    (void)unused;
    struct ab_replica_set states[6];
    struct ab_partition_fact facts[6];
    struct ab_replica_target targets[7];
    struct ab_live_node live[] = {live_of(1, 1, 1), live_of(2, 1, 1), live_of(3, 1, 1), live_of(4, 1, 1)};
    for (uint32_t p = 0; p < 6; p++) {
        states[p] = state_of(p);
        facts[p] = (struct ab_partition_fact){.state = &states[p], .version = p};
        targets[p] = (struct ab_replica_target){.partition = p, .replicas = NODES(1, 2, 4)};
    }
    states[5].learners = NODES(4); /* one copies already */
    states[4].learners = NODES(5); /* its node is dead, and it is not wanted any more */
    targets[6] = (struct ab_replica_target){.partition = 99, .replicas = NODES(1)}; /* of no partition: ignored */
    struct ab_reassign_input input = {.live = live,
        .live_count = 4,
        .partitions = facts,
        .partitions_count = 6,
        .targets = targets,
        .targets_count = 7,
        .copies_max = 3};
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, 8, 8);
    assert_ok(ab_reassign_plan(&input, &plan));
    assert_int_equal(plan.changes_count, 3);
    assert_true(plan.changes[0].kind == AB_CHANGE_ADD_LEARNER && plan.changes[0].state.partition == 0);
    assert_true(plan.changes[1].kind == AB_CHANGE_ADD_LEARNER && plan.changes[1].state.partition == 1);
    assert_true(plan.changes[1].relied.count == 1 && plan.changes[1].relied.items[0].node == 4);
    assert_true(plan.changes[2].kind == AB_CHANGE_DROP_LEARNER && plan.changes[2].state.partition == 4);
    assert_non_null(strstr(plan.reasons[0].text, "partition 2 waits: 3 partitions are being copied"));
    ab_partition_plan_fini(&plan);

    ab_partition_plan_init(&plan, 8, 8);
    targets[6].partition = 5;
    assert_int_equal(ab_reassign_plan(&input, &plan), AB_USAGE); /* two targets */
    input.targets_count = 6;
    states[1].partition = 0;
    assert_int_equal(ab_reassign_plan(&input, &plan), AB_USAGE); /* a partition twice */
    ab_partition_plan_fini(&plan);
}

static void test_reassign_a_node_that_is_needed_may_not_be_removed(void **unused)
{
    (void)unused;
    struct ab_replica_set states[3] = {state_of(0), state_of(1), state_of(2)};
    struct ab_partition_fact facts[3] = {{&states[0], 1}, {&states[1], 1}, {&states[2], 1}};
    struct ab_live_node nodes[] = {live_of(1, 1, 1), live_of(2, 1, 1), live_of(3, 1, 1)};
    struct ab_partition_plan plan;
    struct ab_live_set live;
    struct ab_error error = {0};
    ab_live_set_init(&live, nodes, 3);
    ab_partition_plan_init(&plan, 0, 8);
    assert_ok(ab_reassign_may_remove(&live, facts, 3, 3, &plan, &error));
    assert_ok(ab_reassign_may_remove(&live, facts, 3, 4, &plan, &error)); /* holds nothing */
    states[1].isr = MEMBERS(1, 3);
    states[2].isr = MEMBERS(1, 2);
    assert_int_equal(ab_reassign_may_remove(&live, facts, 3, 3, &plan, &error), AB_UNAVAILABLE);
    assert_int_equal(plan.reasons_count, 1);
    assert_string_equal(
        plan.reasons[0].text, "partition 1: without node 3 1 live in-sync replicas of at least 2 would remain");
    assert_non_null(strstr(error.text, "1 of its partitions"));
    states[1].replicas = NODES(1, 3); /* no more replicas than min_isr, all in sync: a successor comes first */
    assert_ok(ab_reassign_may_remove(&live, facts, 3, 3, &plan, &error));
    states[1].isr = MEMBERS(1);
    assert_int_equal(ab_reassign_may_remove(&live, facts, 3, 3, &plan, &error), AB_UNAVAILABLE);
    ab_partition_plan_fini(&plan);
    ab_live_set_fini(&live);
}

static void test_reassign_a_node_that_alone_has_everything_may_not_be_given_up(void **unused)
{
    (void)unused;
    struct ab_replica_set states[2] = {state_of(0), state_of(1)};
    struct ab_partition_fact facts[2] = {{&states[0], 1}, {&states[1], 1}};
    struct ab_live_node nodes[] = {live_of(1, 1, 1), live_of(2, 1, 1)};
    struct ab_partition_plan plan;
    struct ab_live_set live;
    struct ab_error error = {0};
    ab_live_set_init(&live, nodes, 2);
    ab_partition_plan_init(&plan, 0, 8);
    assert_ok(ab_reassign_may_replace(&live, facts, 2, 3, &plan, &error));
    assert_int_equal(ab_reassign_may_replace(&live, facts, 2, 1, &plan, &error), AB_USAGE); /* live */
    states[1].isr = MEMBERS(3);
    states[1].leader = AB_NODE_NONE;
    states[1].leader_incarnation = (struct ab_hash128){0};
    assert_int_equal(ab_reassign_may_replace(&live, facts, 2, 3, &plan, &error), AB_UNAVAILABLE);
    assert_string_equal(
        plan.reasons[0].text, "partition 1: nobody but node 3 may hold all committed records: isr {3 (gone)}");
    ab_partition_plan_fini(&plan);
    ab_live_set_fini(&live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reassign_walks_the_protocol_step_by_step),
        cmocka_unit_test(test_reassign_exchanges_replicas_one_by_one),
        cmocka_unit_test(test_reassign_another_target_cancels),
        cmocka_unit_test(test_reassign_changes_the_number_and_the_order),
        cmocka_unit_test(test_reassign_removes_nothing_that_is_needed),
        cmocka_unit_test(test_reassign_replaces_a_lost_node),
        cmocka_unit_test(test_reassign_copies_are_throttled),
        cmocka_unit_test(test_reassign_a_node_that_is_needed_may_not_be_removed),
        cmocka_unit_test(test_reassign_a_node_that_alone_has_everything_may_not_be_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
