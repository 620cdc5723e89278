#include "cluster/election.h"

#include "tests/unit/cluster/facts.h"

/* Plans one partition alone; the plan is the caller's. */
static struct ab_partition_plan plan_one(
    const struct ab_replica_set *state, const struct ab_live_node *live, uint32_t live_count)
{
    struct ab_partition_plan plan;
    struct ab_partition_fact fact = {.state = state, .version = 9};
    const struct ab_election_input input = {
        .live = live, .live_count = live_count, .partitions = &fact, .partitions_count = 1};
    assert_ok(ab_replica_set_validate(state, NULL));
    ab_partition_plan_init(&plan, 8, 8);
    assert_ok(ab_election_plan(&input, &plan));
    return plan;
}

/* The only change, which must elect `leader` in the next epoch; checked for validity. */
static struct ab_partition_change elected(
    const struct ab_replica_set *state, const struct ab_live_node *live, uint32_t live_count, uint32_t leader)
{
    struct ab_partition_plan plan = plan_one(state, live, live_count);
    assert_int_equal(plan.changes_count, 1);
    assert_int_equal(plan.reasons_count, 0);
    struct ab_partition_change change = plan.changes[0];
    assert_int_equal(change.kind, AB_CHANGE_ELECT);
    assert_int_equal(change.version, 9);
    assert_int_equal(change.state.leader, leader);
    assert_true(change.state.leader_epoch == state->leader_epoch + 1);
    assert_true(change.state.assignment_version == state->assignment_version);
    assert_true(change.state.history_id == state->history_id);
    assert_true(ab_replica_members_equal(&change.relied, &change.state.isr));
    (void)committed_of(&change);
    ab_partition_plan_fini(&plan);
    return change;
}

/* Nobody can be elected: the leader goes (when there was one), for this reason, and planning again changes nothing. */
static void nobody(
    const struct ab_replica_set *state, const struct ab_live_node *live, uint32_t live_count, const char *reason)
{
    struct ab_partition_plan plan = plan_one(state, live, live_count);
    assert_int_equal(plan.changes_count, state->leader != AB_NODE_NONE);
    assert_int_equal(plan.reasons_count, 1);
    assert_string_equal(plan.reasons[0].text, reason);
    if (plan.changes_count == 1) {
        struct ab_replica_set next = committed_of(&plan.changes[0]);
        assert_int_equal(plan.changes[0].kind, AB_CHANGE_NO_LEADER);
        assert_int_equal(next.leader, AB_NODE_NONE);
        assert_true(next.leader_epoch == state->leader_epoch + 1);
        assert_int_equal(plan.changes[0].relied.count, 0);
        assert_true(ab_replica_members_equal(&next.isr, &state->isr));
        assert_true(ab_replica_members_equal(&next.elr, &state->elr));
        nobody(&next, live, live_count, reason);
    }
    ab_partition_plan_fini(&plan);
}

static void test_election_a_live_leader_is_left_alone(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    struct ab_live_node live[] = {live_of(1, 1, 1), live_of(2, 1, 1)}; /* 3 is gone: the leader's business */
    struct ab_partition_plan plan = plan_one(&state, live, 2);
    assert_true(plan.changes_count == 0 && plan.reasons_count == 0);
    ab_partition_plan_fini(&plan);
}

static void test_election_the_first_live_member_follows_and_the_gone_leave_the_isr(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    struct ab_live_node live[] = {live_of(3, 1, 1), live_of(2, 1, 1), live_of(4, 1, 1)};
    struct ab_partition_change change = elected(&state, live, 3, 2);
    assert_members(&change.state.isr, MEMBERS(2, 3));
    assert_int_equal(change.state.elr.count, 0); /* two are enough: who left might miss what they commit */
}

static void test_election_below_the_minimum_those_who_left_stay_eligible(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    struct ab_live_node live[] = {live_of(3, 1, 1)};
    struct ab_partition_change change = elected(&state, live, 1, 3);
    assert_members(&change.state.isr, MEMBERS(3));
    assert_members(&change.state.elr, MEMBERS(1, 2));

    state.isr = MEMBERS(1);
    state.elr = MEMBERS(2); /* 3 has fallen behind: it is nobody's candidate though it alone lives */
    nobody(&state, live, 1, "partition 3 has no electable replica: isr {1 (gone)}, elr {2 (gone)}");
}

static void test_election_an_eligible_leader_makes_the_isr_itself(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    struct ab_live_node live[] = {live_of(2, 1, 1), live_of(3, 1, 1)};
    state.isr = MEMBERS(1);
    state.elr = MEMBERS(3, 2);
    struct ab_partition_change change = elected(&state, live, 2, 2);
    assert_members(&change.state.isr, MEMBERS(2));
    assert_members(&change.state.elr, MEMBERS(1, 3)); /* both had everything when they left */
}

static void test_election_a_restarted_member_is_adopted_on_its_disk_only(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    struct ab_live_node restarted[] = {live_of(1, 1, 2), live_of(2, 1, 3)};
    struct ab_partition_change change = elected(&state, restarted, 2, 1);
    assert_int_equal(change.state.isr.count, 2);
    assert_true(ab_hash128_equal(change.state.leader_incarnation, incarnation_of(1, 1, 2)));
    assert_true(ab_hash128_equal(change.state.isr.items[1].incarnation, incarnation_of(2, 1, 3)));

    struct ab_live_node replaced[] = {live_of(1, 2, 1), live_of(2, 2, 1), live_of(3, 2, 1)};
    nobody(&state, replaced, 3, "partition 3 has no electable replica: isr {1 (gone), 2 (gone), 3 (gone)}, elr {}");

    /* Who did not restart comes first, wherever it stands. */
    struct ab_live_node mixed[] = {live_of(1, 1, 2), live_of(2, 1, 2), live_of(3, 1, 1)};
    change = elected(&state, mixed, 3, 3);
    assert_int_equal(change.state.isr.count, 3);

    state.isr = MEMBERS(1);
    state.elr = MEMBERS(2);
    change = elected(&state, &restarted[1], 1, 2); /* out of the ELR by the same rule */
    assert_true(ab_hash128_equal(change.state.leader_incarnation, incarnation_of(2, 1, 3)));
    assert_members(&change.state.elr, MEMBERS(1));
}

static void test_election_a_damaged_log_is_not_elected_and_leaves_the_isr(void **unused)
{
    (void)unused;
    uint32_t damaged[] = {1, 3};
    struct ab_replica_set state = state_of(3);
    struct ab_live_node live[] = {live_of(2, 1, 2), live_of(3, 1, 2)};
    live[0].damaged = damaged;
    live[0].damaged_count = 2;
    struct ab_partition_change change = elected(&state, live, 2, 3);
    assert_int_equal(change.state.isr.count, 1);
    assert_members(&change.state.elr, MEMBERS(1)); /* without 2 */
    nobody(&state, live, 1, "partition 3 has no electable replica: isr {1 (gone), 2 (damaged), 3 (gone)}, elr {}");

    /* A leader whose log turns out damaged is followed by another. */
    struct ab_live_node all[] = {live_of(1, 1, 1), live_of(2, 1, 1), live_of(3, 1, 1)};
    all[0].damaged = damaged;
    all[0].damaged_count = 2;
    change = elected(&state, all, 3, 2);
    assert_members(&change.state.isr, MEMBERS(2, 3));
    state.partition = 2; /* other partitions of the node are not touched */
    struct ab_partition_plan plan = plan_one(&state, all, 3);
    assert_int_equal(plan.changes_count, 0);
    ab_partition_plan_fini(&plan);
}

static void test_election_of_two_processes_of_one_disk_the_newer_counts(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    state.replicas = NODES(1);
    state.isr = MEMBERS(1);
    state.min_isr = 1;
    struct ab_live_node live[] = {live_of(1, 1, 1), live_of(1, 1, 2)}; /* the old session has not expired yet */
    struct ab_partition_change change = elected(&state, live, 2, 1);
    assert_true(ab_hash128_equal(change.state.leader_incarnation, incarnation_of(1, 1, 2)));
    live[1].starts = 1; /* a copy of the disk: neither can be trusted */
    nobody(&state, live, 2, "partition 3 has no electable replica: isr {1 (gone)}, elr {}");
}

static void test_election_learners_and_lagging_replicas_are_never_elected(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    state.isr = MEMBERS(1, 2);
    state.learners = NODES(4);
    struct ab_live_node live[] = {live_of(3, 1, 1), live_of(4, 1, 1)};
    nobody(&state, live, 2, "partition 3 has no electable replica: isr {1 (gone), 2 (gone)}, elr {}");
}

static void test_election_a_new_partition_gets_its_first_leader(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(0);
    state.leader = AB_NODE_NONE;
    state.leader_incarnation = (struct ab_hash128){0};
    state.leader_epoch = 0;
    struct ab_live_node live[] = {live_of(1, 1, 1), live_of(2, 1, 1), live_of(3, 1, 1)};
    struct ab_partition_change change = elected(&state, live, 3, 1);
    assert_members(&change.state.isr, MEMBERS(1, 2, 3));
}

static void test_election_a_crash_loop_is_left_alone_until_its_window_has_passed(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    struct ab_live_node live[] = {live_of(2, 1, 1)};
    struct ab_partition_fact fact = {.state = &state, .version = 1};
    struct ab_election_record record = {.count = 0};
    struct ab_election_input input = {.live = live,
        .live_count = 1,
        .partitions = &fact,
        .records = &record,
        .partitions_count = 1,
        .breaker = {.elections_max = 3, .window_ticks = 10}};
    uint32_t elections = 0;
    for (uint64_t tick = 1; tick <= 40; tick++) {
        struct ab_partition_plan plan;
        input.breaker.tick = tick;
        ab_partition_plan_init(&plan, 1, 1);
        assert_ok(ab_election_plan(&input, &plan));
        if (plan.changes_count == 1) {
            ab_election_record_note(&record, tick); /* and it crashes at once */
            elections++;
        } else {
            assert_non_null(strstr(plan.reasons[0].text, "lost its leader 3 times within 10 ticks"));
        }
        ab_partition_plan_fini(&plan);
    }
    assert_int_equal(elections, 12);
    input.breaker.tick = 41;
    assert_false(ab_election_is_too_often(&record, &input.breaker));
    record = (struct ab_election_record){.count = 0};
    assert_false(ab_election_is_too_often(&record, &input.breaker));
    input.breaker.elections_max = 0;
    for (uint64_t i = 0; i < 100; i++) {
        ab_election_record_note(&record, 41);
    }
    assert_false(ab_election_is_too_often(&record, &input.breaker));
    input.breaker.elections_max = AB_ELECTION_RECORD_MAX;
    assert_true(ab_election_is_too_often(&record, &input.breaker));
}

static void test_election_plans_are_bounded_and_say_how_much_is_left(void **unused)
{
    (void)unused;
    struct ab_replica_set states[10];
    struct ab_partition_fact facts[10];
    struct ab_live_node live[] = {live_of(2, 1, 1)};
    for (uint32_t p = 0; p < 10; p++) {
        states[p] = state_of(9 - p);
        facts[p] = (struct ab_partition_fact){.state = &states[p], .version = p};
        if (p % 2 == 0) {
            states[p].isr = MEMBERS(1, 3);
        }
    }
    const struct ab_election_input input = {.live = live, .live_count = 1, .partitions = facts, .partitions_count = 10};
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, 4, 2);
    assert_ok(ab_election_plan(&input, &plan));
    assert_int_equal(plan.changes_count, 4);
    assert_int_equal(plan.changes_left, 6);
    assert_int_equal(plan.reasons_count, 2);
    assert_int_equal(plan.reasons_left, 3);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(plan.changes[i].state.partition, i); /* by partition, not as given */
        assert_int_equal(plan.changes[i].version, 9 - i);
    }
    ab_partition_plan_fini(&plan);
    ab_partition_plan_fini(&plan);
    states[0].partition = 8;
    ab_partition_plan_init(&plan, 4, 2);
    assert_int_equal(ab_election_plan(&input, &plan), AB_USAGE); /* a partition twice */
    assert_int_equal(ab_election_rebalance(&input, &plan), AB_USAGE);
    ab_partition_plan_fini(&plan);
}

static void test_election_a_leader_moves_to_a_live_member_only(void **unused)
{
    (void)unused;
    struct ab_replica_set state = state_of(3);
    struct ab_live_node nodes[] = {live_of(1, 1, 1), live_of(2, 1, 1), live_of(3, 1, 2)};
    struct ab_partition_fact fact = {.state = &state, .version = 4};
    struct ab_partition_change change = {.version = 77};
    struct ab_error error = {0};
    struct ab_live_set live;
    ab_live_set_init(&live, nodes, 3);
    assert_ok(ab_election_move(&live, &fact, 2, &change, &error));
    struct ab_replica_set next = committed_of(&change);
    assert_true(change.kind == AB_CHANGE_MOVE && change.version == 4);
    assert_true(next.leader == 2 && next.leader_epoch == 6);
    assert_int_equal(next.isr.count, 3);

    change = (struct ab_partition_change){.version = 77};
    assert_int_equal(ab_election_move(&live, &fact, 3, &change, &error), AB_USAGE); /* restarted: not caught up */
    assert_non_null(strstr(error.text, "3 (restarted)"));
    assert_int_equal(ab_election_move(&live, &fact, 1, &change, NULL), AB_USAGE); /* leads already */
    assert_int_equal(ab_election_move(&live, &fact, 4, &change, NULL), AB_USAGE); /* no replica */
    state.isr = MEMBERS(1);
    assert_int_equal(ab_election_move(&live, &fact, 2, &change, NULL), AB_USAGE); /* lagging */
    state.leader = 2;
    state.leader_incarnation = incarnation_of(2, 1, 7);
    state.isr = (struct ab_replica_members){.items = {member_of(2, 1, 7)}, .count = 1};
    assert_int_equal(ab_election_move(&live, &fact, 1, &change, NULL), AB_UNAVAILABLE);
    assert_true(change.version == 77); /* untouched */
    ab_live_set_fini(&live);
}

static void test_election_rebalance_moves_a_bounded_number_to_preferred_leaders(void **unused)
{
    (void)unused;
    struct ab_replica_set states[6];
    struct ab_partition_fact facts[6];
    struct ab_live_node live[] = {live_of(1, 1, 1), live_of(2, 1, 1), live_of(3, 1, 1)};
    for (uint32_t p = 0; p < 6; p++) {
        states[p] = state_of(p);
        states[p].leader = 2;
        states[p].leader_incarnation = incarnation_of(2, 1, 1);
        facts[p] = (struct ab_partition_fact){.state = &states[p], .version = p};
    }
    states[0].learners = NODES(4); /* being reassigned */
    states[1].isr = MEMBERS(2, 3); /* the preferred one is not in sync; of these two the first leads */
    states[2].leader_incarnation = states[2].isr.items[1].incarnation = incarnation_of(2, 1, 9); /* no live leader */
    states[3].min_isr = 3;
    states[3].isr.items[2].incarnation = incarnation_of(3, 1, 9); /* one short: not disturbed */
    const struct ab_election_input input = {.live = live, .live_count = 3, .partitions = facts, .partitions_count = 6};
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, 1, 1);
    assert_ok(ab_election_rebalance(&input, &plan));
    assert_int_equal(plan.changes_count, 1);
    assert_int_equal(plan.changes_left, 1);
    assert_int_equal(plan.changes[0].state.partition, 4);
    assert_true(plan.changes[0].state.leader == 1 && plan.changes[0].kind == AB_CHANGE_MOVE);
    states[4] = committed_of(&plan.changes[0]);
    ab_partition_plan_fini(&plan);
    ab_partition_plan_init(&plan, 8, 1);
    assert_ok(ab_election_rebalance(&input, &plan));
    assert_int_equal(plan.changes_count, 1); /* 5; 4 is done */
    assert_int_equal(plan.changes[0].state.partition, 5);
    ab_partition_plan_fini(&plan);
}

static void test_election_force_accepts_a_loss_and_only_then(void **unused)
{
    (void)unused;
    uint32_t damaged[] = {3};
    struct ab_replica_set state = state_of(3);
    struct ab_partition_fact fact = {.state = &state, .version = 4};
    struct ab_partition_change change;
    struct ab_error error = {0};
    struct ab_live_set live;
    struct ab_live_node nodes[] = {live_of(3, 2, 1), live_of(4, 1, 1), live_of(2, 2, 1)};
    nodes[2].damaged = damaged;
    nodes[2].damaged_count = 1;
    state.isr = MEMBERS(1);
    state.elr = MEMBERS(2);
    ab_live_set_init(&live, nodes, 3);
    assert_int_equal(ab_election_force(&live, &fact, 4, &change, &error), AB_USAGE); /* no replica */
    assert_int_equal(ab_election_force(&live, &fact, 1, &change, &error), AB_USAGE); /* not live */
    assert_int_equal(ab_election_force(&live, &fact, 2, &change, &error), AB_USAGE); /* damaged */
    assert_ok(ab_election_force(&live, &fact, 3, &change, &error));
    struct ab_replica_set next = committed_of(&change);
    assert_true(change.kind == AB_CHANGE_FORCE && next.leader == 3 && next.leader_epoch == 6);
    assert_int_equal(next.history_id, 2);
    assert_true(next.isr.count == 1 && next.elr.count == 0);
    assert_true(ab_hash128_equal(next.isr.items[0].disk_id, disk_of(3, 2)));
    ab_live_set_fini(&live);

    struct ab_live_node eligible[] = {live_of(3, 1, 1), live_of(2, 1, 5)};
    ab_live_set_init(&live, eligible, 2);
    assert_int_equal(ab_election_force(&live, &fact, 3, &change, &error), AB_EXISTS); /* 2 can be elected */
    ab_live_set_fini(&live);
    struct ab_live_node doubled[] = {live_of(3, 1, 1), live_of(3, 2, 1)};
    ab_live_set_init(&live, doubled, 2);
    assert_int_equal(ab_election_force(&live, &fact, 3, &change, &error), AB_USAGE); /* which disk? */
    ab_live_set_fini(&live);
}

static void test_election_every_kind_of_change_has_a_name(void **unused)
{
    (void)unused;
    for (int kind = AB_CHANGE_ELECT; kind <= AB_CHANGE_ORDER; kind++) {
        assert_non_null(ab_change_kind_name((enum ab_change_kind)kind));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_election_a_live_leader_is_left_alone),
        cmocka_unit_test(test_election_the_first_live_member_follows_and_the_gone_leave_the_isr),
        cmocka_unit_test(test_election_below_the_minimum_those_who_left_stay_eligible),
        cmocka_unit_test(test_election_an_eligible_leader_makes_the_isr_itself),
        cmocka_unit_test(test_election_a_restarted_member_is_adopted_on_its_disk_only),
        cmocka_unit_test(test_election_a_damaged_log_is_not_elected_and_leaves_the_isr),
        cmocka_unit_test(test_election_of_two_processes_of_one_disk_the_newer_counts),
        cmocka_unit_test(test_election_learners_and_lagging_replicas_are_never_elected),
        cmocka_unit_test(test_election_a_new_partition_gets_its_first_leader),
        cmocka_unit_test(test_election_a_crash_loop_is_left_alone_until_its_window_has_passed),
        cmocka_unit_test(test_election_plans_are_bounded_and_say_how_much_is_left),
        cmocka_unit_test(test_election_a_leader_moves_to_a_live_member_only),
        cmocka_unit_test(test_election_rebalance_moves_a_bounded_number_to_preferred_leaders),
        cmocka_unit_test(test_election_force_accepts_a_loss_and_only_then),
        cmocka_unit_test(test_election_every_kind_of_change_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
