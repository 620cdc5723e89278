/* The ZooKeeper implementation against a real server: the contract, and what is its own. */
#include "common/coordination/coordination.h"

#include "common/base/random.h"
#include "common/base/time.h"
#include "tests/support/test.h"
#include "tests/support/zookeeper.h"
#include "tests/unit/common/coordination/contract.h"

#include <signal.h>

/* One server for all cases; each has a chroot of its own. */
static struct zookeeper server;
static char *server_directory;
static unsigned places_count;

/* ---- fixture and helpers ---- */

static int server_setup(void **state)
{
    (void)state;
    server_directory = scratch_make();
    zookeeper_start(&server, server_directory, 1);
    return 0;
}

static int server_teardown(void **state)
{
    (void)state;
    zookeeper_stop(&server);
    scratch_remove(server_directory);
    return 0;
}

static char *chroot_next(void)
{
    return ab_new_format("/tests/place-%u", ++places_count);
}

static int place_setup(void **state)
{
    struct contract_place *place = ab_new(struct contract_place);
    char *chroot = chroot_next();
    place->address = ab_zookeeper_address(server.servers, server.count, chroot);
    place->options.credential = bytes_of("anabranch:secret");
    ab_delete(chroot);
    *state = place;
    return 0;
}

static int place_teardown(void **state)
{
    struct contract_place *place = *state;
    ab_delete(place->address);
    ab_delete(place);
    return 0;
}

/* ---- opening ---- */

static ab_err open_as(const char *address, const char *credential, struct ab_coordination **session)
{
    struct ab_error error = {0};
    struct ab_coordination_options options = {.credential = bytes_of(credential)};
    ab_err err = ab_coordination_open_with(address, &options, session, &error);
    assert_int_equal(err == AB_OK, error.text[0] == '\0');
    return err;
}

static void test_bad_addresses_and_credentials_are_refused(void **state)
{
    static const char *const addresses[] = {"zookeeper:", "zookeeper:127.0.0.1:2181", "zookeeper:127.0.0.1:2181/",
        "zookeeper:/a", "zookeeper:127.0.0.1/a", "zookeeper:127.0.0.1:/a", "zookeeper::2181/a", "zookeeper:h:0/a",
        "zookeeper:h:65536/a", "zookeeper:h:1,/a", "zookeeper:h:1,,h:2/a", "zookeeper:h:1/a/", "zookeeper:h:1//a",
        "zookeeper:h:123456/a", "zookeeper:h h:1/a", "zookeeper:h:1x/a"};
    static const char *const credentials[] = {"", "a", ":", "a:", ":b", "a:b c", "a:b\n"};
    const struct contract_place *place = *state;
    struct ab_coordination *none = NULL;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        assert_int_equal(open_as(addresses[i], "a:b", &none), AB_USAGE);
    }
    for (size_t i = 0; i < sizeof credentials / sizeof credentials[0]; i++) {
        assert_int_equal(open_as(place->address, credentials[i], &none), AB_USAGE);
    }
    assert_int_equal(ab_coordination_open(place->address, &none, NULL), AB_USAGE);
    assert_null(none);
}

static void test_another_credential_may_neither_read_nor_write(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *owner = contract_open(place);
    struct ab_coordination *stranger = NULL;
    assert_int_equal(open_as(place->address, "anabranch:other", &stranger), AB_DENIED);
    assert_int_equal(open_as(place->address, "other:secret", &stranger), AB_DENIED);
    assert_null(stranger);
    /* A stranger below whose own chroot the owner made a node. */
    char *chroot = chroot_next();
    char *above = ab_zookeeper_address(server.servers, server.count, "/strangers");
    assert_int_equal(open_as(above, "anabranch:other", &stranger), AB_OK);
    assert_ok(ab_coordination_create(stranger, "/own", bytes_of("x"), false, NULL));
    struct ab_coordination *mine = NULL;
    char *below = ab_zookeeper_address(server.servers, server.count, "/strangers/own");
    assert_int_equal(open_as(below, "anabranch:secret", &mine), AB_DENIED);
    char *made = ab_zookeeper_address(server.servers, server.count, "/strangers/own/new");
    assert_int_equal(open_as(made, "anabranch:secret", &mine), AB_DENIED);
    ab_coordination_close(stranger);
    ab_coordination_close(owner);
    ab_delete(made);
    ab_delete(below);
    ab_delete(above);
    ab_delete(chroot);
}

/* ---- sizes ---- */

static void test_what_the_server_would_hang_up_on_is_refused(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    uint8_t *large = ab_new_bytes(AB_COORDINATION_REQUEST_BYTES_MAX);
    struct ab_bytes value = ab_bytes_of(large, AB_COORDINATION_REQUEST_BYTES_MAX);
    assert_int_equal(ab_coordination_create(session, "/large", value, false, NULL), AB_TOO_LARGE);
    value.bytes = AB_COORDINATION_REQUEST_BYTES_MAX / 3;
    struct ab_coordination_op ops[4];
    for (size_t i = 0; i < 4; i++) {
        static const char *const paths[] = {"/a", "/b", "/c", "/d"};
        ops[i] = (struct ab_coordination_op){.kind = AB_COORDINATION_CREATE, .path = paths[i], .value = value};
    }
    size_t failed = 99;
    assert_int_equal(ab_coordination_multi(session, ops, 4, &failed, NULL), AB_TOO_LARGE);
    assert_int_equal(failed, 2);
    assert_int_equal(ab_coordination_get(session, "/a", NULL, NULL, NULL), AB_NOT_FOUND);
    assert_ok(ab_coordination_multi(session, ops, 2, NULL, NULL));
    struct ab_coordination_op many[AB_COORDINATION_OPS_MAX]; /* as many steps as are allowed */
    for (size_t i = 0; i < AB_COORDINATION_OPS_MAX; i++) {
        many[i] = (struct ab_coordination_op){.kind = AB_COORDINATION_SET, .path = "/a", .version = i};
    }
    assert_ok(ab_coordination_multi(session, many, AB_COORDINATION_OPS_MAX, NULL, NULL));
    ab_coordination_close(session);
    ab_delete(large);
}

/* ---- watches ---- */

static void test_reading_often_leaves_one_watch(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *reader = contract_open(place);
    struct ab_coordination *writer = contract_open(place);
    uint64_t before = 0;
    uint64_t after = 0;
    assert_ok(ab_coordination_create(writer, "/a", bytes_of(""), false, NULL));
    for (int i = 0; i < 300; i++) {
        assert_ok(ab_coordination_get(reader, "/a", NULL, NULL, NULL));
        assert_int_equal(ab_coordination_get(reader, "/none", NULL, NULL, NULL), AB_NOT_FOUND);
    }
    assert_ok(ab_coordination_revision(reader, &before, NULL));
    assert_ok(ab_coordination_set(writer, "/a", bytes_of("x"), 0, NULL));
    assert_ok(ab_coordination_create(writer, "/none", bytes_of(""), false, NULL));
    assert_ok(ab_coordination_get(reader, "/a", NULL, NULL, NULL)); /* comes after the news */
    assert_ok(ab_coordination_revision(reader, &after, NULL));
    assert_int_equal(after, before + 2); /* one for each: no event came twice */
    ab_coordination_close(writer);
    ab_coordination_close(reader);
}

static void test_watches_of_many_nodes_come_and_go(void **state)
{
    enum { NODES = 1000 };
    struct contract_place *place = *state;
    struct ab_coordination *reader = contract_open(place);
    struct ab_coordination *writer = contract_open(place);
    struct ab_coordination_op ops[NODES];
    char paths[NODES][8];
    for (size_t i = 0; i < NODES; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "/%zu", i);
        ops[i] = (struct ab_coordination_op){.kind = AB_COORDINATION_CREATE, .path = paths[i]};
    }
    for (int round = 0; round < 2; round++) {
        uint64_t before = 0;
        uint64_t after = 0;
        for (size_t i = 0; i < NODES; i++) {
            assert_int_equal(
                ab_coordination_get(reader, paths[i], NULL, NULL, NULL), round == 0 ? AB_NOT_FOUND : AB_OK);
        }
        assert_ok(ab_coordination_revision(reader, &before, NULL));
        assert_ok(ab_coordination_multi(writer, ops, NODES, NULL, NULL));
        assert_ok(ab_coordination_get(reader, paths[0], NULL, NULL, NULL));
        assert_ok(ab_coordination_revision(reader, &after, NULL));
        assert_int_equal(after, before + NODES);
        for (size_t i = 0; i < NODES; i++) {
            ops[i].kind = AB_COORDINATION_SET;
            ops[i].version = AB_COORDINATION_ANY_VERSION;
        }
    }
    ab_coordination_close(writer);
    ab_coordination_close(reader);
}

static void test_more_nodes_than_watches_are_heard_of_by_the_clock(void **state)
{
    enum { NODES = 950, HALF = 480 }; /* more than 900,000 bytes of paths */
    (void)state;
    char chroot[HALF + 2];
    char path[HALF + 2];
    (void)snprintf(chroot, sizeof chroot, "/%0*d", HALF, 0);
    struct ab_coordination *reader = zookeeper_session(&server, chroot, 0, 0);
    struct ab_coordination *writer = zookeeper_session(&server, chroot, 0, 0);
    uint64_t revision = 0;
    int64_t wait_us = 20 * AB_US_PER_SECOND;
    for (int i = 0; i < NODES; i++) {
        (void)snprintf(path, sizeof path, "/%0*d", HALF, i);
        assert_int_equal(ab_coordination_get(reader, path, NULL, NULL, NULL), AB_NOT_FOUND);
    }
    assert_ok(ab_coordination_create(writer, path, bytes_of(""), false, NULL));
    for (int i = 0; i < 2; i++) {
        assert_ok(ab_coordination_revision(reader, &revision, NULL));
        assert_ok(ab_coordination_get(reader, path, NULL, NULL, NULL));
        assert_ok(ab_coordination_wait(reader, revision, ab_time_monotonic_us() + wait_us, &revision, NULL));
    }
    /* What is not read again is not told of. */
    assert_int_equal(
        ab_coordination_wait(reader, revision, ab_time_monotonic_us() + 1500 * AB_US_PER_MS, &revision, NULL),
        AB_TIMEOUT);
    ab_coordination_close(writer);
    ab_coordination_close(reader);
}

/* ---- the two implementations ---- */

static const char *const paths[] = {"/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/p", "/a/x/q"};
enum { PATHS = sizeof paths / sizeof paths[0] };

static struct ab_coordination_op op_draw(struct ab_random *random)
{
    static const char *const values[] = {"", "one", "two"};
    return (struct ab_coordination_op){.kind = (enum ab_coordination_op_kind)(1 + ab_random_below(random, 4)),
        .path = paths[ab_random_below(random, PATHS)],
        .value = bytes_of(values[ab_random_below(random, 3)]),
        .version = ab_random_below(random, 2) == 0 ? AB_COORDINATION_ANY_VERSION : ab_random_below(random, 3),
        .is_ephemeral = ab_random_below(random, 4) == 0};
}

static void check_same_node(struct ab_coordination *sessions[2], const char *path)
{
    ab_err errs[2];
    struct ab_buffer values[2] = {{0}, {0}};
    struct ab_coordination_stat stats[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        errs[i] = ab_coordination_get(sessions[i], path, &values[i], &stats[i], NULL);
    }
    assert_int_equal(errs[0], errs[1]);
    assert_true(ab_bytes_equal(ab_buffer_view(&values[0]), ab_buffer_view(&values[1])));
    assert_int_equal(stats[0].version, stats[1].version);
    assert_int_equal(stats[0].is_ephemeral, stats[1].is_ephemeral);
    assert_int_equal(stats[0].is_own, stats[1].is_own);
    ab_buffer_fini(&values[0]);
    ab_buffer_fini(&values[1]);
}

static void test_random_steps_end_as_they_do_locally(void **state)
{
    enum { ROUNDS = 400, OPS = 4 };
    struct contract_place *place = *state;
    char *directory = scratch_make();
    struct contract_place local = {.address = ab_new_format("local:%s", directory)};
    struct ab_coordination *sessions[2] = {contract_open(place), contract_open(&local)};
    struct ab_random random;
    size_t done = 0;
    ab_random_init(&random, 5);
    for (int round = 0; round < ROUNDS; round++) {
        struct ab_coordination_op ops[OPS];
        size_t count = 1 + ab_random_below(&random, OPS);
        size_t failed[2] = {0, 0};
        ab_err errs[2];
        for (size_t i = 0; i < count; i++) {
            ops[i] = op_draw(&random);
        }
        for (int i = 0; i < 2; i++) {
            errs[i] = ab_coordination_multi(sessions[i], ops, count, &failed[i], NULL);
        }
        assert_int_equal(errs[0], errs[1]);
        assert_int_equal(failed[0], failed[1]);
        done += errs[0] == AB_OK;
        for (size_t i = 0; i < PATHS && errs[0] == AB_OK; i++) {
            check_same_node(sessions, paths[i]);
        }
    }
    assert_true(done > ROUNDS / 20);
    ab_coordination_close(sessions[0]);
    ab_coordination_close(sessions[1]);
    ab_delete(local.address);
    scratch_remove(directory);
}

int main(void)
{
    zookeeper_need();
    const struct CMUnitTest tests[] = {
        CONTRACT_CASES(place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_bad_addresses_and_credentials_are_refused, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(
            test_another_credential_may_neither_read_nor_write, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_what_the_server_would_hang_up_on_is_refused, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_reading_often_leaves_one_watch, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_watches_of_many_nodes_come_and_go, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(
            test_more_nodes_than_watches_are_heard_of_by_the_clock, place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_random_steps_end_as_they_do_locally, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, server_setup, server_teardown);
}
