/* Reassignment of many partitions under random failures: leaders that shrink and extend their ISR, nodes that die and
 * return, elections, targets that change on the way. After every write the state is valid, and nobody was removed who
 * was needed; when the failures stop every partition reaches its target. (That no committed record is lost on the way
 * is asserted by election_random_test.c, which has logs.) */
#include "cluster/placement.h"
#include "cluster/reassign.h"
#include "tests/unit/cluster/facts.h"

#include "common/base/random.h"

#define NODES_COUNT 7u
#define PARTITIONS 12u
#define COPIES_MAX 2u

struct model {
    struct ab_random random;
    struct ab_replica_set states[PARTITIONS];
    struct ab_partition_fact facts[PARTITIONS];
    struct ab_replica_target targets[PARTITIONS];
    uint32_t most_replicas[PARTITIONS]; /* of former and wanted, over all targets */
    bool is_live[NODES_COUNT + 1];
    uint32_t process[NODES_COUNT + 1];
    struct ab_live_node live[NODES_COUNT];
    uint32_t live_count;
    struct ab_caught_up caught_up[PARTITIONS];
    uint32_t caught_up_count;
};

static struct {
    uint64_t steps[AB_CHANGE_ORDER + 1];
    uint64_t refused;
} marks;

static uint32_t below(struct model *m, uint32_t bound)
{
    return (uint32_t)ab_random_below(&m->random, bound);
}

static void live_fill(struct model *m)
{
    m->live_count = 0;
    for (uint32_t n = 1; n <= NODES_COUNT; n++) {
        if (m->is_live[n]) {
            m->live[m->live_count++] = live_of(n, 1, m->process[n]);
        }
    }
}

static uint32_t live_members(const struct model *m, const struct ab_replica_set *state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < state->isr.count; i++) {
        const struct ab_replica_member *member = &state->isr.items[i];
        count += m->is_live[member->node] &&
                 ab_hash128_equal(member->incarnation, incarnation_of(member->node, 1, m->process[member->node]));
    }
    return count;
}

static void change_commit(struct model *m, const struct ab_partition_change *change)
{
    struct ab_replica_set *state = &m->states[change->state.partition];
    struct ab_replica_set next = committed_of(change);
    assert_true(change->version == m->facts[next.partition].version);
    for (uint32_t i = 0; i < change->relied.count; i++) {
        assert_true(m->is_live[change->relied.items[i].node]);
    }
    if (change->kind == AB_CHANGE_REMOVE) {
        assert_true(change->node != state->leader);
        assert_true(live_members(m, &next) >= next.min_isr);
        assert_false(ab_replica_nodes_has(&m->targets[next.partition].replicas, change->node));
    }
    for (uint32_t i = 0; i < next.replicas.count && change->kind == AB_CHANGE_REMOVE; i++) {
        uint32_t node = next.replicas.items[i];
        struct ab_replica_member now = member_of(node, 1, m->process[node]);
        uint32_t place = ab_replica_members_find(&next.isr, node);
        bool is_in_sync = place != UINT32_MAX && ab_hash128_equal(next.isr.items[place].incarnation, now.incarnation);
        assert_true(
            is_in_sync || !m->is_live[node] || !ab_replica_nodes_has(&m->targets[next.partition].replicas, node));
    }
    if (change->kind == AB_CHANGE_MOVE) {
        assert_true(ab_replica_nodes_has(&m->targets[next.partition].replicas, next.leader));
    }
    assert_true(next.replicas.count <= m->most_replicas[next.partition] + 1);
    assert_true(next.learners.count <= 1);
    *state = next;
    m->facts[next.partition].version++;
    marks.steps[change->kind]++;
}

static bool is_copying(const struct model *m, uint32_t p)
{
    const struct ab_replica_set *state = &m->states[p];
    bool copies = false;
    for (uint32_t i = 0; i < state->learners.count; i++) {
        copies |= m->is_live[state->learners.items[i]];
    }
    for (uint32_t i = 0; i < m->targets[p].replicas.count; i++) {
        uint32_t node = m->targets[p].replicas.items[i];
        uint32_t place = ab_replica_members_find(&state->isr, node);
        bool is_current = place != UINT32_MAX && ab_hash128_equal(state->isr.items[place].incarnation,
                                                     incarnation_of(node, 1, m->process[node]));
        copies |= ab_replica_nodes_has(&state->replicas, node) && m->is_live[node] && !is_current;
    }
    return copies;
}

static void controller_reassign(struct model *m, uint32_t changes_max)
{
    const struct ab_reassign_input input = {.live = m->live,
        .live_count = m->live_count,
        .partitions = m->facts,
        .partitions_count = PARTITIONS,
        .targets = m->targets,
        .targets_count = PARTITIONS,
        .caught_up = m->caught_up,
        .caught_up_count = m->caught_up_count,
        .copies_max = COPIES_MAX};
    struct ab_partition_plan plan;
    uint32_t copying = 0;
    uint32_t added = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        copying += is_copying(m, p);
    }
    ab_partition_plan_init(&plan, changes_max, PARTITIONS);
    assert_ok(ab_reassign_plan(&input, &plan));
    for (uint32_t i = 0; i < plan.changes_count; i++) {
        added += plan.changes[i].kind == AB_CHANGE_ADD_LEARNER;
        change_commit(m, &plan.changes[i]);
    }
    assert_true(added == 0 || copying + added <= COPIES_MAX);
    marks.refused += plan.reasons_count;
    ab_partition_plan_fini(&plan);
}

static void controller_elect(struct model *m)
{
    const struct ab_election_input input = {
        .live = m->live, .live_count = m->live_count, .partitions = m->facts, .partitions_count = PARTITIONS};
    struct ab_partition_plan plan;
    ab_partition_plan_init(&plan, PARTITIONS, PARTITIONS);
    assert_ok(ab_election_plan(&input, &plan));
    for (uint32_t i = 0; i < plan.changes_count; i++) {
        change_commit(m, &plan.changes[i]);
    }
    ab_partition_plan_fini(&plan);
}

/* A leader drops who is gone or restarted, takes in who follows, and reports learners. */
static void leader_acts(struct model *m, uint32_t p)
{
    struct ab_replica_set *state = &m->states[p];
    if (state->leader == AB_NODE_NONE || !m->is_live[state->leader] ||
        !ab_hash128_equal(state->leader_incarnation, incarnation_of(state->leader, 1, m->process[state->leader]))) {
        return;
    }
    uint32_t node = state->replicas.items[below(m, state->replicas.count)];
    uint32_t place = ab_replica_members_find(&state->isr, node);
    struct ab_replica_member now = member_of(node, 1, m->process[node]);
    bool is_current = place != UINT32_MAX && ab_hash128_equal(state->isr.items[place].incarnation, now.incarnation);
    if (place != UINT32_MAX && (!m->is_live[node] || !is_current)) {
        struct ab_replica_member member = state->isr.items[place];
        ab_replica_members_remove(&state->isr, node);
        if (state->isr.count < state->min_isr) {
            ab_replica_members_add(&state->elr, member);
        }
        m->facts[p].version++;
    } else if (place == UINT32_MAX && m->is_live[node]) {
        ab_replica_members_remove(&state->elr, node);
        ab_replica_members_add(&state->isr, now);
        state->elr.count = state->isr.count >= state->min_isr ? 0 : state->elr.count;
        m->facts[p].version++;
    }
    for (uint32_t i = 0; i < state->learners.count && m->caught_up_count < PARTITIONS; i++) {
        if (m->is_live[state->learners.items[i]] && below(m, 2) == 0) {
            m->caught_up[m->caught_up_count++] =
                (struct ab_caught_up){p, state->learners.items[i], state->leader_epoch};
        }
    }
    assert_ok(ab_replica_set_validate(state, NULL));
}

static void target_set(struct model *m, uint32_t p)
{
    struct ab_replica_target *target = &m->targets[p];
    uint32_t count = m->states[p].min_isr + below(m, 3);
    target->replicas.count = 0;
    while (target->replicas.count < count) {
        uint32_t node = 1 + below(m, NODES_COUNT);
        if (!ab_replica_nodes_has(&target->replicas, node)) {
            ab_replica_nodes_add(&target->replicas, node);
        }
    }
    m->most_replicas[p] = count > m->most_replicas[p] ? count : m->most_replicas[p];
}

static void model_init(struct model *m, uint64_t seed)
{
    struct ab_placement_node nodes[NODES_COUNT];
    *m = (struct model){.live_count = 0};
    ab_random_init(&m->random, seed);
    for (uint32_t n = 1; n <= NODES_COUNT; n++) {
        m->is_live[n] = true;
        m->process[n] = 1;
        nodes[n - 1] = (struct ab_placement_node){.node = n, .weight = 1, .rack = "", .member = member_of(n, 1, 1)};
    }
    const struct ab_placement_request request = {.nodes = nodes,
        .nodes_count = NODES_COUNT,
        .partitions_count = PARTITIONS,
        .replication_factor = 3,
        .min_isr = 1 + below(m, 2)};
    assert_ok(ab_placement_create(&request, m->states, NULL, NULL));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        m->states[p].token.low = 1;
        m->facts[p] = (struct ab_partition_fact){.state = &m->states[p], .version = 0};
        m->targets[p] = (struct ab_replica_target){.partition = p};
        m->most_replicas[p] = 3;
        target_set(m, p);
    }
}

static void model_step(struct model *m, bool has_faults)
{
    uint32_t n = 1 + below(m, NODES_COUNT);
    uint32_t event = below(m, 16);
    if (event == 0 && has_faults) {
        m->is_live[n] = false;
    } else if (event == 1 && !m->is_live[n]) {
        m->is_live[n] = true;
        m->process[n]++;
    } else if (event == 2 && has_faults) {
        target_set(m, below(m, PARTITIONS));
    } else if (event < 6) {
        live_fill(m);
        controller_elect(m);
    } else if (event < 9) {
        live_fill(m);
        controller_reassign(m, 1 + below(m, PARTITIONS));
        m->caught_up_count = 0;
    } else {
        leader_acts(m, below(m, PARTITIONS));
    }
}

static bool all_done(struct model *m)
{
    struct ab_live_set live;
    bool done = true;
    live_fill(m);
    ab_live_set_init(&live, m->live, m->live_count);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        done = done && m->live_count == NODES_COUNT && ab_reassign_is_done(&live, &m->states[p], &m->targets[p]);
    }
    ab_live_set_fini(&live);
    return done;
}

static void test_reassign_random_failures_end_in_the_target(void **unused)
{
    (void)unused;
    struct model *m = ab_new(struct model);
    for (uint64_t seed = 1; seed <= 100; seed++) {
        model_init(m, seed);
        for (uint32_t step = 0; step < 1000; step++) {
            model_step(m, true);
        }
        uint32_t steps = 0;
        while (!all_done(m)) {
            model_step(m, false);
            if (++steps > 20000) {
                fail_msg("seed %lu does not end", (unsigned long)seed);
            }
        }
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            assert_true(ab_replica_nodes_equal(&m->states[p].replicas, &m->targets[p].replicas));
            assert_true(m->states[p].isr.count == m->targets[p].replicas.count);
        }
    }
    ab_delete(m);
    for (int kind = AB_CHANGE_ADD_LEARNER; kind <= AB_CHANGE_ORDER; kind++) {
        assert_true(marks.steps[kind] > 20);
    }
    assert_true(marks.steps[AB_CHANGE_ELECT] > 100 && marks.steps[AB_CHANGE_MOVE] > 100 && marks.refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reassign_random_failures_end_in_the_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
