/* Who leads and who serves, as it is read from the coordination service. */
#include "serving/leaders.h"

#include "common/coordination/registration.h"
#include "common/coordination/replica_set.h"

#include "tests/support/test.h"

#define PARTITIONS 3u

struct world {
    char *directory;
    struct ab_coordination *coordination;
    struct ab_leaders leaders;
};

static const struct ab_hash128 disk = {.low = 5, .high = 6};

static int setup(void **state)
{
    struct world *world = ab_new(struct world);
    struct ab_error error = {0};
    world->directory = scratch_make();
    char *address = ab_new_format("local:%s", world->directory);
    assert_ok(ab_coordination_open(address, &world->coordination, &error));
    ab_delete(address);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    ab_leaders_fini(&world->leaders);
    ab_leaders_fini(&world->leaders); /* again is fine */
    ab_coordination_close(world->coordination);
    scratch_remove(world->directory);
    ab_delete(world);
    return 0;
}

static void put(struct world *world, const char *path, const char *text)
{
    struct ab_error error = {0};
    char *folder = ab_new_text(path);
    *strrchr(folder, '/') = '\0';
    assert_ok(ab_coordination_ensure(world->coordination, folder, &error));
    ab_err err = ab_coordination_create(world->coordination, path, ab_bytes_of_text(text), false, &error);
    if (err == AB_EXISTS) {
        err =
            ab_coordination_set(world->coordination, path, ab_bytes_of_text(text), AB_COORDINATION_ANY_VERSION, &error);
    }
    assert_ok(err);
    ab_delete(folder);
}

/* A process of a node that answers there; no key = it does not say. */
static void live(struct world *world, uint32_t node, uint64_t incarnation, const char *address, const char *key)
{
    struct ab_error error = {0};
    struct ab_buffer text = {0};
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_live_node value = {.node = node, .incarnation = {.low = incarnation}, .disk_id = disk, .starts = 1};
    struct ab_registration_endpoints *endpoints = &value.endpoints;
    endpoints->count = key == NULL ? 1 : 2;
    (void)snprintf(endpoints->items[0].name, sizeof endpoints->items[0].name, "speed");
    (void)snprintf(endpoints->items[0].address, sizeof endpoints->items[0].address, "%s", address);
    (void)snprintf(endpoints->items[1].name, sizeof endpoints->items[1].name, "speed-key");
    (void)snprintf(endpoints->items[1].address, sizeof endpoints->items[1].address, "%s", key == NULL ? "" : key);
    ab_live_path(node, value.incarnation, path);
    assert_ok(ab_live_node_encode(&value, &text, &error));
    put(world, path, ab_buffer_text(&text));
    ab_buffer_fini(&text);
}

/* A process leads a partition; node 0 = nobody. */
static void lead(struct world *world, uint32_t partition, uint32_t node, uint64_t incarnation)
{
    struct ab_error error = {0};
    struct ab_buffer text = {0};
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_replica_set state = {.partition = partition,
        .assignment_version = 1,
        .leader = node,
        .leader_incarnation = {.low = incarnation},
        .leader_epoch = 1,
        .min_isr = 1,
        .history_id = 1,
        .token = {.low = 1}};
    for (uint32_t n = 1; n <= 2; n++) {
        ab_replica_nodes_add(&state.replicas, n);
        ab_replica_members_add(
            &state.isr, (struct ab_replica_member){
                            .node = n, .incarnation = {.low = n == node ? incarnation : 99}, .disk_id = disk});
    }
    ab_replica_set_path(partition, path);
    assert_ok(ab_replica_set_encode(&state, &text, &error));
    put(world, path, ab_buffer_text(&text));
    ab_buffer_fini(&text);
}

static ab_err look(struct world *world, struct ab_error *error)
{
    struct ab_leaders read = {0};
    ab_err err = ab_leaders_read(world->coordination, PARTITIONS, &read, error);
    if (err == AB_OK) {
        ab_leaders_fini(&world->leaders);
        world->leaders = read;
    }
    return err;
}

static const char key_a[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

static void test_leaders_of_an_empty_cluster_are_nobody(void **state)
{
    struct world *world = *state;
    struct ab_error error = {0};
    assert_ok(look(world, &error));
    for (uint32_t p = 0; p <= PARTITIONS; p++) {
        assert_null(ab_leaders_of(&world->leaders, p));
    }
    assert_int_equal(world->leaders.nodes_count + world->leaders.servings_count, 0);
    assert_false(world->leaders.is_single);
}

static void test_leaders_are_processes_that_live(void **state)
{
    struct world *world = *state;
    struct ab_error error = {0};
    live(world, 1, 11, "tcp://10.0.0.1:7101", key_a);
    live(world, 2, 22, "tcp://10.0.0.2:7101", key_a);
    lead(world, 0, 1, 11);
    lead(world, 1, 2, 21); /* an earlier process */
    lead(world, 2, 1, 11);
    assert_ok(look(world, &error));
    assert_int_equal(world->leaders.nodes_count, 1);
    assert_string_equal(ab_leaders_of(&world->leaders, 0)->endpoint.address, "tcp://10.0.0.1:7101");
    assert_null(ab_leaders_of(&world->leaders, 1));
    assert_ptr_equal(ab_leaders_of(&world->leaders, 2), ab_leaders_of(&world->leaders, 0));
    lead(world, 1, 2, 22);
    lead(world, 2, 0, 0);
    struct ab_leaders_node before = *ab_leaders_of(&world->leaders, 0);
    assert_ok(look(world, &error));
    assert_int_equal(ab_leaders_of(&world->leaders, 1)->node, 2);
    assert_null(ab_leaders_of(&world->leaders, 2));
    assert_true(ab_leaders_node_equal(ab_leaders_of(&world->leaders, 0), &before));
    assert_false(ab_leaders_node_equal(ab_leaders_of(&world->leaders, 1), &before));
}

static void test_leaders_without_a_usable_endpoint_are_nobody(void **state)
{
    struct world *world = *state;
    struct ab_error error = {0};
    live(world, 1, 11, "tcp://10.0.0.1:7101", NULL);
    live(world, 2, 22, "tcp://10.0.0.2:7101", "00");
    lead(world, 0, 1, 11);
    lead(world, 1, 2, 22);
    assert_ok(look(world, &error));
    assert_null(ab_leaders_of(&world->leaders, 0));
    assert_null(ab_leaders_of(&world->leaders, 1));
}

static void test_leaders_that_cannot_be_read_are_an_error(void **state)
{
    struct world *world = *state;
    struct ab_error error = {0};
    lead(world, 0, 1, 11);
    put(world, "/partitions/1/state", "nonsense");
    assert_int_not_equal(look(world, &error), AB_OK);
    assert_non_null(strstr(error.text, "/partitions/1/state"));
    lead(world, 1, 1, 11);
    put(world, "/live/1-11", "{}");
    assert_int_equal(look(world, &error), AB_CORRUPT);
}

static void test_leaders_servings_are_registered_and_read(void **state)
{
    struct world *world = *state;
    struct ab_error error = {0};
    struct ab_endpoint endpoint = {.address = "tcp://10.0.0.1:7102", .public_key = {1, 2, 3}, .is_known = true};
    assert_ok(ab_leaders_register_serving(world->coordination, 10, &endpoint, &error));
    endpoint.address[11] = '2';
    assert_ok(ab_leaders_register_serving(world->coordination, 9, &endpoint, &error));
    endpoint.address[11] = '3';
    assert_ok(ab_leaders_register_serving(world->coordination, 10, &endpoint, &error)); /* it came back elsewhere */
    assert_ok(look(world, &error));
    assert_int_equal(world->leaders.servings_count, 2);
    assert_int_equal(world->leaders.servings[0].node, 9);
    assert_int_equal(world->leaders.servings[1].node, 10);
    assert_string_equal(world->leaders.servings[1].endpoint.address, "tcp://10.0.3.1:7102");
    assert_memory_equal(
        world->leaders.servings[1].endpoint.public_key, endpoint.public_key, sizeof endpoint.public_key);
    static const char *const wrong[] = {"", "{}", "{\"format\":2,\"address\":\"tcp://x\",\"key\":\"00\"}",
        "{\"format\":1,\"address\":\"tcp://x\",\"key\":\"00\"}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put(world, "/serving/9", wrong[i]);
        assert_int_not_equal(look(world, &error), AB_OK);
        assert_non_null(strstr(error.text, "/serving/9"));
        error = (struct ab_error){0};
    }
}

static void test_leaders_of_one_node_are_its_speed_once_it_is_known(void **state)
{
    struct world *world = *state;
    struct ab_endpoint speed = {0};
    ab_leaders_single(&world->leaders, PARTITIONS, &speed);
    assert_true(world->leaders.is_single);
    assert_null(ab_leaders_of(&world->leaders, 0));
    ab_leaders_fini(&world->leaders);
    speed.is_known = true;
    (void)snprintf(speed.address, sizeof speed.address, "tcp://127.0.0.1:1");
    ab_leaders_single(&world->leaders, PARTITIONS, &speed);
    assert_string_equal(ab_leaders_of(&world->leaders, 2)->endpoint.address, "tcp://127.0.0.1:1");
    assert_null(ab_leaders_of(&world->leaders, PARTITIONS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_leaders_of_an_empty_cluster_are_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaders_are_processes_that_live, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaders_without_a_usable_endpoint_are_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaders_that_cannot_be_read_are_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaders_servings_are_registered_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leaders_of_one_node_are_its_speed_once_it_is_known, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
