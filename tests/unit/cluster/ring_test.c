#include "cluster/ring.h"

#include "tests/support/test.h"

#define PARTITIONS 256u
#define NODES_MOST 8u

static void nodes_fill(struct ab_ring_node *nodes, char names[][16], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        snprintf(names[i], 16, "node-%u", i);
        nodes[i] = (struct ab_ring_node){.name = names[i], .rack = "", .weight = 1};
    }
}

static uint32_t *assign(uint32_t nodes_count, uint32_t replicas, double bound)
{
    struct ab_ring_node nodes[NODES_MOST];
    char names[NODES_MOST][16];
    struct ab_ring *ring = NULL;
    nodes_fill(nodes, names, nodes_count);
    assert_ok(ab_ring_create(nodes, nodes_count, &ring));
    uint32_t *assigned = ab_new_array(uint32_t, PARTITIONS * replicas);
    assert_ok(ab_ring_assign(ring, PARTITIONS, replicas, bound, assigned));
    ab_ring_destroy(ring);
    return assigned;
}

static void test_ring_replicas_are_distinct_and_load_is_bounded(void **state)
{
    (void)state;
    for (uint32_t nodes = 3; nodes <= NODES_MOST; nodes++) {
        uint32_t *assigned = assign(nodes, 3, 1.25);
        uint32_t load[NODES_MOST] = {0};
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            const uint32_t *replicas = &assigned[p * 3];
            assert_true(replicas[0] != replicas[1] && replicas[1] != replicas[2] && replicas[0] != replicas[2]);
            for (uint32_t i = 0; i < 3; i++) {
                assert_true(replicas[i] < nodes);
                load[replicas[i]]++;
            }
        }
        for (uint32_t i = 0; i < nodes; i++) {
            assert_true(load[i] <= (uint32_t)(1.25 * PARTITIONS * 3 / nodes) + 1);
            assert_true(load[i] > 0);
        }
        ab_delete(assigned);
    }
}

static void test_ring_one_node_more_moves_few_partitions(void **state)
{
    (void)state;
    uint32_t *before = assign(4, 1, 1.25);
    uint32_t *after = assign(5, 1, 1.25);
    uint32_t moved = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        moved += before[p] != after[p];
    }
    assert_true(moved >= PARTITIONS / 10);
    assert_true(moved <= PARTITIONS * 2 / 5); /* a fifth is ideal; bounded load moves some more */
    ab_delete(before);
    ab_delete(after);
}

static void test_ring_same_input_gives_the_same_assignment(void **state)
{
    (void)state;
    uint32_t *first = assign(7, 3, 1.25);
    uint32_t *second = assign(7, 3, 1.25);
    assert_memory_equal(first, second, PARTITIONS * 3 * sizeof *first);
    ab_delete(first);
    ab_delete(second);
}

static void test_ring_replicas_stand_in_distinct_racks(void **state)
{
    (void)state;
    struct ab_ring_node nodes[6];
    char names[6][16];
    static const char *const racks[3] = {"a", "b", "c"};
    nodes_fill(nodes, names, 6);
    for (uint32_t i = 0; i < 6; i++) {
        nodes[i].rack = racks[i / 2];
    }
    struct ab_ring *ring = NULL;
    uint32_t assigned[PARTITIONS * 3];
    assert_ok(ab_ring_create(nodes, 6, &ring));
    assert_ok(ab_ring_assign(ring, PARTITIONS, 3, 1.25, assigned));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        const uint32_t *replicas = &assigned[p * 3];
        assert_true(replicas[0] / 2 != replicas[1] / 2);
        assert_true(replicas[1] / 2 != replicas[2] / 2);
        assert_true(replicas[0] / 2 != replicas[2] / 2);
    }
    ab_ring_destroy(ring);
}

static void test_ring_weight_gives_a_larger_share(void **state)
{
    (void)state;
    struct ab_ring_node nodes[3] = {{.name = "a", .rack = "", .weight = 1}, {.name = "b", .rack = "", .weight = 1},
        {.name = "c", .rack = "", .weight = 4}};
    struct ab_ring *ring = NULL;
    uint32_t assigned[PARTITIONS];
    uint32_t load[3] = {0};
    assert_ok(ab_ring_create(nodes, 3, &ring));
    assert_ok(ab_ring_assign(ring, PARTITIONS, 1, 1.25, assigned));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        load[assigned[p]]++;
    }
    assert_true(load[2] > load[0] * 2 && load[2] > load[1] * 2);
    ab_ring_destroy(ring);
}

static void test_ring_bad_input_is_refused(void **state)
{
    (void)state;
    struct ab_ring_node nodes[2] = {{.name = "a", .rack = "", .weight = 1}, {.name = "a", .rack = "", .weight = 1}};
    struct ab_ring *ring = NULL;
    uint32_t assigned[2];
    assert_int_equal(ab_ring_create(nodes, 0, &ring), AB_USAGE);
    assert_int_equal(ab_ring_create(nodes, 2, &ring), AB_USAGE); /* equal names */
    assert_int_equal(ab_ring_create(nodes, AB_RING_NODES_MAX + 1, &ring), AB_USAGE);
    nodes[1] = (struct ab_ring_node){.name = "b", .rack = "", .weight = 0};
    assert_int_equal(ab_ring_create(nodes, 2, &ring), AB_USAGE);
    nodes[1].weight = AB_RING_WEIGHT_SUM_MAX;
    assert_int_equal(ab_ring_create(nodes, 2, &ring), AB_USAGE); /* more points than are stated */
    assert_null(ring);
    assert_ok(ab_ring_create(nodes, 1, &ring));
    assert_int_equal(ab_ring_assign(ring, 2, 2, 1.25, assigned), AB_USAGE); /* more replicas than nodes */
    assert_int_equal(ab_ring_assign(ring, 2, 0, 1.25, assigned), AB_USAGE);
    assert_int_equal(ab_ring_assign(ring, 2, 1, 0.9, assigned), AB_USAGE);
    ab_ring_destroy(ring);
    ab_ring_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_replicas_are_distinct_and_load_is_bounded),
        cmocka_unit_test(test_ring_one_node_more_moves_few_partitions),
        cmocka_unit_test(test_ring_same_input_gives_the_same_assignment),
        cmocka_unit_test(test_ring_replicas_stand_in_distinct_racks),
        cmocka_unit_test(test_ring_weight_gives_a_larger_share),
        cmocka_unit_test(test_ring_bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
