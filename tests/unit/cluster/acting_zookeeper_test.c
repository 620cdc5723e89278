/* Two controllers' acting loops as threads over a real ZooKeeper: one that is cut off stops acting by its own clock,
 * before the other one begins, and does not act again beside it. */
#include "cluster/controller/acting_loop.h"

#include "common/base/random.h"
#include "common/base/time.h"
#include "tests/support/proxy.h"
#include "tests/support/test.h"
#include "tests/support/zookeeper.h"

#define CHROOT "/anabranch"
#define WAIT_US (30 * AB_US_PER_SECOND)

struct world {
    char *directory;
    struct zookeeper zookeeper;
    struct proxy proxy; /* between the first loop and the server */
    struct ab_config configs[2];
    struct ab_acting_loop *loops[2];
    atomic_uint changes; /* told to us */
};

static void on_change(void *context)
{
    struct world *world = context;
    world->changes++;
}

/* A loop that reaches the server at a port. */
static void loop_start(struct world *world, uint32_t index, uint16_t port)
{
    struct ab_config *config = &world->configs[index];
    (void)snprintf(
        config->cluster.coordination, sizeof config->cluster.coordination, "zookeeper:127.0.0.1:%u%s", port, CHROOT);
    (void)snprintf(config->cluster.credential, sizeof config->cluster.credential, "credential");
    const struct ab_acting_loop_options options = {
        .own = {.node = index + 1, .incarnation = {.low = ab_random_id(), .high = index + 1}},
        .identity = {.cluster_id = {7}, .partitions_count = 1},
        .config = config,
        .directory = world->directory,
        .on_change = on_change,
        .context = world};
    world->loops[index] = ab_acting_loop_create(&options);
    ab_acting_loop_start(world->loops[index], "tcp://127.0.0.1:1");
}

static bool acts(const struct world *world, uint32_t index)
{
    return ab_acting_loop_is_acting(world->loops[index], NULL);
}

/* Looks all the time: never do both act. */
static void wait_for(const struct world *world, bool first, bool second)
{
    int64_t until_us = ab_time_monotonic_us() + WAIT_US;
    while (acts(world, 0) != first || acts(world, 1) != second) {
        assert_false(acts(world, 1) && acts(world, 0));
        assert_true(ab_time_monotonic_us() < until_us);
        ab_time_sleep_us(2 * AB_US_PER_MS);
    }
}

static int setup(void **state)
{
    struct world *world = ab_new(struct world);
    world->directory = scratch_make();
    zookeeper_start(&world->zookeeper, world->directory, 1);
    proxy_start(&world->proxy, world->zookeeper.servers[0].client_port);
    char *path = scratch_path(world->directory, "credential");
    scratch_write(path, bytes_of("acting:secret\n"), 0600);
    ab_delete(path);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    ab_acting_loop_destroy(world->loops[0]);
    ab_acting_loop_destroy(world->loops[1]);
    proxy_stop(&world->proxy);
    zookeeper_stop(&world->zookeeper);
    scratch_remove(world->directory);
    ab_delete(world);
    return 0;
}

static void test_acting_one_that_is_cut_off_stops_before_another_begins(void **state)
{
    struct world *world = *state;
    uint64_t before = 0;
    uint64_t after = 0;
    loop_start(world, 0, world->proxy.port);
    int64_t until_us = ab_time_monotonic_us() + WAIT_US;
    while (!ab_acting_loop_is_acting(world->loops[0], &before)) {
        assert_true(ab_time_monotonic_us() < until_us);
        ab_time_sleep_us(2 * AB_US_PER_MS);
    }
    loop_start(world, 1, world->zookeeper.servers[0].client_port);
    struct ab_acting_controller current = {0};
    while (!ab_acting_loop_current(world->loops[1], &current)) {
        assert_true(ab_time_monotonic_us() < until_us);
        ab_time_sleep_us(2 * AB_US_PER_MS);
    }
    assert_int_equal(current.node, 1);
    proxy_set(&world->proxy, PROXY_HOLD);
    wait_for(world, false, false);
    wait_for(world, false, true);
    assert_true(ab_acting_loop_is_acting(world->loops[1], &after));
    assert_int_equal(after, before + 1);
    /* It comes back, opens another session, and sees who acts. */
    proxy_cut(&world->proxy);
    proxy_set(&world->proxy, PROXY_FORWARD);
    until_us = ab_time_monotonic_us() + WAIT_US;
    while (!ab_acting_loop_current(world->loops[0], &current) || current.node != 2) {
        assert_false(acts(world, 0));
        assert_true(ab_time_monotonic_us() < until_us);
        ab_time_sleep_us(2 * AB_US_PER_MS);
    }
    /* And follows when that one ends. */
    ab_acting_loop_stop(world->loops[1]);
    wait_for(world, true, false);
    assert_true(ab_acting_loop_is_acting(world->loops[0], &after));
    assert_int_equal(after, before + 2);
    assert_true(world->changes >= 4);
}

int main(void)
{
    zookeeper_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_acting_one_that_is_cut_off_stops_before_another_begins, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
