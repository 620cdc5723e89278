#include "cluster/placement.h"

#include "tests/unit/cluster/facts.h"

#include "common/base/random.h"

#include <math.h>

#define PARTITIONS 256u
#define FACTOR 3u
#define NODES_MOST 52u

struct rig {
    struct ab_placement_node nodes[NODES_MOST];
    char racks[NODES_MOST][8];
    struct ab_replica_set states[PARTITIONS];
    struct ab_replica_target current[PARTITIONS];
    struct ab_replica_target targets[PARTITIONS];
    uint32_t shared_racks_count;
};

/* Nodes 1..count of weight 1 in `racks` racks; 0 = each its own. */
static struct rig *rig_make(uint32_t count, uint32_t racks)
{
    struct rig *rig = ab_new(struct rig);
    for (uint32_t i = 0; i < count; i++) {
        if (racks > 0) {
            (void)snprintf(rig->racks[i], sizeof rig->racks[i], "r%u", i % racks);
        }
        rig->nodes[i] = (struct ab_placement_node){
            .node = i + 1, .weight = 1, .rack = rig->racks[i], .member = member_of(i + 1, 1, 1)};
    }
    return rig;
}

static void current_take(struct rig *rig)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        rig->current[p] = (struct ab_replica_target){.partition = p, .replicas = rig->states[p].replicas};
    }
}

static void rig_create(struct rig *rig, uint32_t nodes_count)
{
    const struct ab_placement_request request = {.nodes = rig->nodes,
        .nodes_count = nodes_count,
        .partitions_count = PARTITIONS,
        .replication_factor = FACTOR,
        .min_isr = 2};
    assert_ok(ab_placement_create(&request, rig->states, &rig->shared_racks_count, NULL));
    current_take(rig);
}

static struct ab_placement_change change_of(struct rig *rig, const struct ab_placement_node *nodes, uint32_t count)
{
    return (struct ab_placement_change){.nodes = nodes,
        .nodes_count = count,
        .current = rig->current,
        .partitions_count = PARTITIONS,
        .targets = rig->targets};
}

/* Replicas, or first places, of node i + 1 in loads[i]; replicas must be distinct. */
static void loads_count(const struct ab_replica_target *assignment, bool leaders_only, uint32_t *loads)
{
    memset(loads, 0, NODES_MOST * sizeof *loads);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        const struct ab_replica_nodes *replicas = &assignment[p].replicas;
        assert_int_equal(replicas->count, FACTOR);
        for (uint32_t r = 0; r < (leaders_only ? 1 : FACTOR); r++) {
            assert_int_equal(ab_replica_nodes_find(replicas, replicas->items[r]), r);
            assert_true(replicas->items[r] >= 1 && replicas->items[r] <= NODES_MOST);
            loads[replicas->items[r] - 1]++;
        }
    }
}

static uint32_t most_of(const uint32_t *loads)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < NODES_MOST; i++) {
        most = loads[i] > most ? loads[i] : most;
    }
    return most;
}

static uint32_t bound_of(uint32_t replicas, uint32_t nodes)
{
    return (uint32_t)ceil(AB_PLACEMENT_LOAD_BOUND * replicas / nodes);
}

static void test_placement_load_is_bounded_for_3_to_50_nodes(void **unused)
{
    (void)unused;
    uint32_t loads[NODES_MOST];
    for (uint32_t count = 3; count <= 50; count++) {
        struct rig *rig = rig_make(count, 0);
        rig_create(rig, count);
        loads_count(rig->current, false, loads);
        assert_true(most_of(loads) <= bound_of(PARTITIONS * FACTOR, count));
        loads_count(rig->current, true, loads);
        assert_true(most_of(loads) <= PARTITIONS / count + 2); /* leaders are dealt evenly */
        assert_int_equal(rig->shared_racks_count, 0);
        ab_delete(rig);
    }
}

static void test_placement_first_states_are_valid_and_in_sync(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(5, 0);
    rig_create(rig, 5);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct ab_replica_set *state = &rig->states[p];
        assert_true(state->token.low == 0 && state->token.high == 0);
        state->token.low = 1;
        assert_ok(ab_replica_set_validate(state, NULL));
        assert_true(state->partition == p && state->leader == AB_NODE_NONE && state->leader_epoch == 0);
        assert_int_equal(state->isr.count, FACTOR);
        for (uint32_t r = 0; r < FACTOR; r++) {
            assert_int_equal(state->isr.items[r].node, state->replicas.items[r]);
        }
    }
    ab_delete(rig);
}

static void test_placement_weights_are_followed(void **unused)
{
    (void)unused;
    uint32_t loads[NODES_MOST];
    struct rig *rig = rig_make(10, 0);
    for (uint32_t i = 0; i < 10; i++) {
        rig->nodes[i].weight = i < 5 ? AB_NODE_WEIGHT_MAX : AB_NODE_WEIGHT_MAX / 4;
    }
    rig_create(rig, 10);
    loads_count(rig->current, false, loads);
    for (uint32_t i = 0; i < 10; i++) {
        double share = PARTITIONS * FACTOR * (i < 5 ? 4.0 : 1.0) / 25;
        assert_true(loads[i] <= ceil(AB_PLACEMENT_LOAD_BOUND * share));
        assert_true(loads[i] >= share / 2);
    }
    ab_delete(rig);
}

static void test_placement_racks_are_distinct_while_there_are_enough(void **unused)
{
    (void)unused;
    for (uint32_t racks = 1; racks <= 5; racks++) {
        struct rig *rig = rig_make(10, racks);
        rig_create(rig, 10);
        assert_int_equal(rig->shared_racks_count, racks >= FACTOR ? 0 : PARTITIONS);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            uint32_t seen = 0;
            for (uint32_t r = 0; r < FACTOR; r++) {
                seen |= 1u << ((rig->states[p].replicas.items[r] - 1) % racks);
            }
            assert_int_equal(__builtin_popcount(seen), racks < FACTOR ? racks : FACTOR); /* every rack is used */
        }
        ab_delete(rig);
    }
}

static void test_placement_does_not_depend_on_the_order_of_nodes(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(9, 3);
    struct rig *mixed = rig_make(9, 3);
    for (uint32_t i = 0; i < 9; i++) {
        mixed->nodes[(i * 4 + 5) % 9] = rig->nodes[i];
    }
    rig_create(rig, 9);
    rig_create(mixed, 9);
    assert_memory_equal(rig->states, mixed->states, sizeof rig->states);
    struct ab_placement_change a = change_of(rig, rig->nodes, 8);
    struct ab_placement_change b = change_of(mixed, rig->nodes, 8);
    assert_ok(ab_placement_remove(&a, 9, NULL));
    assert_ok(ab_placement_remove(&b, 9, NULL));
    assert_memory_equal(rig->targets, mixed->targets, sizeof rig->targets);
    ab_delete(rig);
    ab_delete(mixed);
}

static void create_refused(struct ab_placement_request request)
{
    static struct ab_replica_set states[4];
    struct ab_error error = {0};
    assert_int_equal(ab_placement_create(&request, states, NULL, &error), AB_USAGE);
    assert_true(error.text[0] != '\0' && states[0].replicas.count == 0);
}

static void test_placement_impossible_requests_are_refused(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(4, 0);
    struct ab_placement_request good = {
        .nodes = rig->nodes, .nodes_count = 4, .partitions_count = 4, .replication_factor = 3, .min_isr = 2};
    struct ab_placement_request request = good;
    request.nodes_count = 2;
    create_refused(request);
    request.nodes_count = 0;
    create_refused(request);
    request = good;
    request.partitions_count = 0;
    create_refused(request);
    request.partitions_count = AB_PARTITIONS_MAX + 1;
    create_refused(request);
    request = good;
    request.min_isr = 4;
    create_refused(request);
    request.min_isr = 0;
    create_refused(request);
    request = good;
    request.replication_factor = AB_REPLICATION_FACTOR_MAX + 1;
    create_refused(request);
    rig->nodes[1].node = 1;
    create_refused(good);
    rig->nodes[1].node = AB_NODE_NONE;
    create_refused(good);
    rig->nodes[1].node = 2;
    rig->nodes[1].weight = 0;
    create_refused(good);
    ab_delete(rig);
}

/* Every replica of a target is where it was or on `to`; returns how many moved. */
static uint32_t moved_only_to(const struct rig *rig, uint32_t to)
{
    uint32_t moved = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        uint32_t here = 0;
        for (uint32_t r = 0; r < FACTOR; r++) {
            uint32_t node = rig->targets[p].replicas.items[r];
            bool is_old = ab_replica_nodes_has(&rig->current[p].replicas, node);
            assert_true(is_old || node == to);
            here += !is_old;
        }
        assert_true(here > 0 || ab_replica_nodes_equal(&rig->targets[p].replicas, &rig->current[p].replicas));
        assert_true(here <= 1);
        moved += here;
    }
    return moved;
}

static void test_placement_a_new_node_takes_its_share_and_no_more(void **unused)
{
    (void)unused;
    uint32_t loads[NODES_MOST];
    for (uint32_t count = 3; count <= 50; count++) {
        struct rig *rig = rig_make(count + 1, 0);
        rig_create(rig, count);
        struct ab_placement_change change = change_of(rig, rig->nodes, count + 1);
        assert_ok(ab_placement_add(&change, count + 1, NULL));
        uint32_t share = PARTITIONS * FACTOR / (count + 1);
        assert_int_equal(moved_only_to(rig, count + 1), share); /* 1/N of the replicas */
        assert_int_equal(change.moved_count, share);
        loads_count(rig->targets, false, loads);
        assert_int_equal(loads[count], share);
        assert_true(most_of(loads) <= bound_of(PARTITIONS * FACTOR, count + 1) + 1);
        loads_count(rig->targets, true, loads);
        assert_true(loads[count] >= PARTITIONS / (count + 1) / 2 && loads[count] <= 2 * PARTITIONS / (count + 1) + 1);

        memcpy(rig->current, rig->targets, sizeof rig->current);
        assert_ok(ab_placement_add(&change, count + 1, NULL)); /* asked again: nothing */
        assert_int_equal(change.moved_count, 0);
        assert_memory_equal(rig->current, rig->targets, sizeof rig->current);
        ab_delete(rig);
    }
}

static void test_placement_a_new_node_keeps_racks_distinct(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(10, 3);
    rig_create(rig, 9);
    struct ab_placement_change change = change_of(rig, rig->nodes, 10);
    assert_ok(ab_placement_add(&change, 10, NULL)); /* stands in the first rack: takes from there alone */
    assert_int_equal(change.shared_racks_count, 0);
    assert_true(change.moved_count > PARTITIONS * FACTOR / 10 / 2);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t r = 0; r < FACTOR; r++) {
            uint32_t node = rig->current[p].replicas.items[r];
            assert_true(ab_replica_nodes_has(&rig->targets[p].replicas, node) || (node - 1) % 3 == 0);
        }
    }
    ab_delete(rig);
}

static void test_placement_a_lost_node_is_replaced_place_by_place(void **unused)
{
    (void)unused;
    struct rig *rig = rig_make(6, 0);
    rig_create(rig, 5);
    struct ab_placement_node nodes[5];
    memcpy(nodes, rig->nodes + 1, sizeof nodes); /* 2..6: 1 is lost, 6 is new */
    struct ab_placement_change change = change_of(rig, nodes, 5);
    assert_ok(ab_placement_replace(&change, 1, 6, NULL));
    uint32_t before[NODES_MOST];
    uint32_t after[NODES_MOST];
    loads_count(rig->current, false, before);
    loads_count(rig->targets, false, after);
    assert_int_equal(moved_only_to(rig, 6), before[0]);
    assert_true(after[0] == 0 && after[5] == before[0] && after[1] == before[1]);

    /* A node that holds partitions already cannot take all of them: others help. */
    change = change_of(rig, nodes, 4);
    assert_ok(ab_placement_replace(&change, 1, 2, NULL));
    loads_count(rig->targets, false, after);
    assert_true(after[0] == 0 && change.moved_count == before[0] && after[1] > before[1] && after[2] > before[2]);

    assert_int_equal(ab_placement_replace(&change, 2, 3, NULL), AB_USAGE);  /* lost, and to hold partitions? */
    assert_int_equal(ab_placement_replace(&change, 1, 77, NULL), AB_USAGE); /* unknown */
    change.nodes_count = 2;
    struct ab_error error = {0};
    assert_int_equal(ab_placement_replace(&change, 1, 2, &error), AB_UNAVAILABLE);
    assert_non_null(strstr(error.text, "no node is left"));
    ab_delete(rig);
}

static void test_placement_a_removed_node_is_inherited_evenly(void **unused)
{
    (void)unused;
    uint32_t before[NODES_MOST];
    uint32_t after[NODES_MOST];
    for (uint32_t count = 4; count <= 50; count += 2) {
        struct rig *rig = rig_make(count, 0);
        rig_create(rig, count);
        struct ab_placement_change change = change_of(rig, rig->nodes, count - 1);
        assert_ok(ab_placement_remove(&change, count, NULL));
        loads_count(rig->current, false, before);
        loads_count(rig->targets, false, after);
        assert_int_equal(after[count - 1], 0);
        assert_int_equal(change.moved_count, before[count - 1]);
        assert_true(most_of(after) <= bound_of(PARTITIONS * FACTOR, count - 1));
        ab_delete(rig);
    }
    struct rig *rig = rig_make(7, 3);
    rig_create(rig, 7);
    struct ab_placement_change change = change_of(rig, rig->nodes, 6);
    assert_ok(ab_placement_remove(&change, 7, NULL));
    assert_int_equal(change.shared_racks_count, 0);
    change.nodes_count = 7;
    assert_int_equal(ab_placement_remove(&change, 7, NULL), AB_USAGE);
    rig->current[3].partition = 2;
    change.nodes_count = 6;
    assert_int_equal(ab_placement_remove(&change, 7, NULL), AB_USAGE); /* not in rising order */
    assert_int_equal(ab_placement_add(&change, 6, NULL), AB_USAGE);
    rig->current[3].partition = 3;
    assert_int_equal(ab_placement_add(&change, 7, NULL), AB_USAGE); /* not among the nodes */
    ab_delete(rig);

    struct rig *small = rig_make(3, 0);
    struct ab_error error = {0};
    rig_create(small, 3);
    change = change_of(small, small->nodes, 2);
    assert_int_equal(ab_placement_remove(&change, 3, &error), AB_UNAVAILABLE); /* three replicas, two nodes */
    assert_non_null(strstr(error.text, "no node is left to take the one of node 3"));
    ab_delete(small);
}

/* Nodes come and go for a long time: the load stays bounded, and replicas distinct, without a ring to go back to. */
static void test_placement_stays_balanced_over_many_changes(void **unused)
{
    (void)unused;
    uint32_t loads[NODES_MOST];
    struct ab_random random;
    struct rig *rig = rig_make(NODES_MOST, 0);
    struct ab_placement_node nodes[NODES_MOST];
    uint32_t count = 6;
    uint32_t next = 6; /* numbers are never used again */
    ab_random_init(&random, 7);
    rig_create(rig, count);
    memcpy(nodes, rig->nodes, count * sizeof nodes[0]);
    for (uint32_t i = 0; i < 1000; i++) {
        struct ab_placement_change change;
        bool adds = next < NODES_MOST && (count < 5 || (count < 12 && ab_random_below(&random, 2) == 0));
        if (!adds && count < 5) {
            break;
        }
        uint32_t node = 0;
        if (adds) {
            nodes[count++] = rig->nodes[next++];
            change = change_of(rig, nodes, count);
            assert_ok(ab_placement_add(&change, nodes[count - 1].node, NULL));
        } else {
            uint32_t gone = (uint32_t)ab_random_below(&random, count);
            node = nodes[gone].node;
            nodes[gone] = nodes[--count];
            change = change_of(rig, nodes, count);
            assert_ok(ab_placement_remove(&change, node, NULL));
        }
        memcpy(rig->current, rig->targets, sizeof rig->current);
        loads_count(rig->current, false, loads);
        assert_true(most_of(loads) <= bound_of(PARTITIONS * FACTOR, count) + 1);
        assert_true(node == 0 || loads[node - 1] == 0);
    }
    assert_true(next == NODES_MOST);
    ab_delete(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_placement_load_is_bounded_for_3_to_50_nodes),
        cmocka_unit_test(test_placement_first_states_are_valid_and_in_sync),
        cmocka_unit_test(test_placement_weights_are_followed),
        cmocka_unit_test(test_placement_racks_are_distinct_while_there_are_enough),
        cmocka_unit_test(test_placement_does_not_depend_on_the_order_of_nodes),
        cmocka_unit_test(test_placement_impossible_requests_are_refused),
        cmocka_unit_test(test_placement_a_new_node_takes_its_share_and_no_more),
        cmocka_unit_test(test_placement_a_new_node_keeps_racks_distinct),
        cmocka_unit_test(test_placement_a_lost_node_is_replaced_place_by_place),
        cmocka_unit_test(test_placement_a_removed_node_is_inherited_evenly),
        cmocka_unit_test(test_placement_stays_balanced_over_many_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
