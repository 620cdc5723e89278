/* The ZooKeeper implementation when servers die, hang and are cut off. */
#include "common/coordination/coordination.h"

#include "common/base/logging.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/base/time.h"
#include "tests/support/proxy.h"
#include "tests/support/test.h"
#include "tests/support/zookeeper.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* ---- fixture and helpers ---- */

struct world {
    char *directory;
    struct zookeeper zookeeper;
    struct proxy proxy;      /* to the first server */
    struct zookeeper behind; /* the same server, reached through the proxy */
};

static struct world *world_make(size_t servers)
{
    struct world *world = ab_new(struct world);
    world->directory = scratch_make();
    zookeeper_start(&world->zookeeper, world->directory, servers);
    proxy_start(&world->proxy, world->zookeeper.servers[0].client_port);
    world->behind = (struct zookeeper){.count = 1, .servers = {{.client_port = world->proxy.port}}};
    return world;
}

static int world_setup(void **state)
{
    *state = world_make(1);
    return 0;
}

static int world_of_three_setup(void **state)
{
    *state = world_make(3);
    return 0;
}

static int world_teardown(void **state)
{
    struct world *world = *state;
    proxy_stop(&world->proxy);
    zookeeper_stop(&world->zookeeper);
    scratch_remove(world->directory);
    ab_delete(world);
    return 0;
}

static ab_err set(struct ab_coordination *session, uint64_t version)
{
    return ab_coordination_set(session, "/n", bytes_of("x"), version, NULL);
}

static uint64_t version_get(struct ab_coordination *session)
{
    struct ab_coordination_stat stat = {0};
    assert_ok(ab_coordination_get(session, "/n", NULL, &stat, NULL));
    return stat.version;
}

static struct ab_coordination_session_state state_get(struct ab_coordination *session)
{
    struct ab_coordination_session_state state;
    ab_coordination_session_state(session, &state);
    return state;
}

/* Waits until the session says so; fails the test when it does not within 20 s. */
static void state_wait(struct ab_coordination *session, enum ab_coordination_state wanted)
{
    int64_t until_us = ab_time_monotonic_us() + 20 * AB_US_PER_SECOND;
    while (state_get(session).state != wanted) {
        assert_true(ab_time_monotonic_us() < until_us);
        ab_time_sleep_us(10 * AB_US_PER_MS);
    }
}

static int64_t ms_since(int64_t start_us)
{
    return (ab_time_monotonic_us() - start_us) / AB_US_PER_MS;
}

/* ---- sessions ---- */

static void test_idle_session_that_is_watched_stays_fresh(void **state)
{
    struct world *world = *state;
    struct ab_coordination *session = zookeeper_session(&world->zookeeper, "/a", 3000, 0);
    int64_t until_us = ab_time_monotonic_us() + 4 * AB_US_PER_SECOND;
    assert_int_equal(state_get(session).timeout_us, 3 * AB_US_PER_SECOND);
    while (ab_time_monotonic_us() < until_us) {
        struct ab_coordination_session_state found = state_get(session);
        assert_int_equal(found.state, AB_COORDINATION_CONNECTED);
        assert_false(ab_coordination_must_step_down(&found, ab_time_monotonic_us()));
        ab_time_sleep_us(50 * AB_US_PER_MS);
    }
    ab_coordination_close(session);
}

/* The order that all depends on: who is cut off lets go by its own clock before others can see its node gone. */
static void test_cut_off_session_steps_down_before_it_expires(void **state)
{
    struct world *world = *state;
    struct ab_coordination *other = zookeeper_session(&world->zookeeper, "/a", 0, 0);
    struct ab_coordination *session = zookeeper_session(&world->behind, "/a", 2000, 1000);
    uint64_t revision = 0;
    assert_ok(ab_coordination_create(session, "/leader", bytes_of("session"), true, NULL));
    assert_ok(ab_coordination_revision(other, &revision, NULL));
    assert_ok(ab_coordination_get(other, "/leader", NULL, NULL, NULL));
    proxy_set(&world->proxy, PROXY_HOLD);
    int64_t held_us = ab_time_monotonic_us();
    while (ab_coordination_wait(other, revision, ab_time_monotonic_us() + 10000, &revision, NULL) == AB_TIMEOUT) {
        assert_true(state_get(session).alive_us <= held_us);
        assert_true(ms_since(held_us) < 60000);
    }
    int64_t gone_us = ab_time_monotonic_us();
    struct ab_coordination_session_state found = state_get(session);
    assert_int_equal(ab_coordination_get(other, "/leader", NULL, NULL, NULL), AB_NOT_FOUND);
    assert_true(gone_us >= found.alive_us + found.timeout_us);
    assert_false(ab_coordination_must_step_down(&found, found.alive_us + found.timeout_us / 2));
    assert_true(ab_coordination_must_step_down(&found, found.alive_us + found.timeout_us / 4 * 3));
    assert_int_equal(state_get(session).state, AB_COORDINATION_SUSPENDED); /* nobody could tell it */
    assert_int_equal(set(session, 0), AB_UNAVAILABLE);
    proxy_set(&world->proxy, PROXY_FORWARD);
    state_wait(session, AB_COORDINATION_EXPIRED);
    assert_int_equal(set(session, 0), AB_CLOSED);
    assert_int_equal(ab_coordination_get(session, "/leader", NULL, NULL, NULL), AB_CLOSED);
    assert_int_equal(ab_coordination_revision(session, &revision, NULL), AB_CLOSED);
    assert_int_equal(ab_coordination_wait(session, 0, -1, &revision, NULL), AB_CLOSED);
    assert_int_equal(ab_coordination_multi(session, NULL, 0, NULL, NULL), AB_CLOSED);
    ab_coordination_close(session);
    session = zookeeper_session(&world->behind, "/a", 2000, 1000); /* a new one is as good as ever */
    assert_ok(ab_coordination_create(session, "/leader", bytes_of("again"), true, NULL));
    ab_coordination_close(session);
    ab_coordination_close(other);
}

static void test_session_outlives_a_lost_connection_with_node_watches_and_credential(void **state)
{
    struct world *world = *state;
    struct ab_coordination *other = zookeeper_session(&world->zookeeper, "/a", 0, 0);
    struct ab_coordination *session = zookeeper_session(&world->behind, "/a", 10000, 0);
    struct ab_coordination_stat stat = {0};
    uint64_t revision = 0;
    assert_ok(ab_coordination_create(session, "/n", bytes_of(""), false, NULL));
    assert_ok(ab_coordination_create(session, "/own", bytes_of(""), true, NULL));
    for (uint64_t round = 0; round < 5; round++) {
        assert_int_equal(version_get(session), round);
        assert_ok(ab_coordination_revision(session, &revision, NULL));
        atomic_store(&world->proxy.is_closed, true);
        proxy_cut(&world->proxy);
        state_wait(session, AB_COORDINATION_SUSPENDED);
        assert_ok(set(other, round)); /* while it is away */
        atomic_store(&world->proxy.is_closed, false);
        /* A read waits until it is back, and does not show less than others saw. */
        assert_int_equal(version_get(session), round + 1);
        assert_ok(ab_coordination_wait(session, revision, ab_time_monotonic_us(), &revision, NULL));
        assert_ok(ab_coordination_get(session, "/own", NULL, &stat, NULL));
        assert_true(stat.is_own);
        assert_ok(ab_coordination_create(session, "/new", bytes_of(""), false, NULL));
        assert_ok(ab_coordination_delete(session, "/new", 0, NULL));
    }
    ab_coordination_close(session);
    assert_int_equal(
        ab_coordination_get(other, "/own", NULL, NULL, NULL), AB_NOT_FOUND); /* with the session, at once */
    ab_coordination_close(other);
}

/* The library asks for all watches in one request when it has reconnected: too large a one would never get through. */
static void test_watches_of_long_paths_do_not_keep_a_session_from_coming_back(void **state)
{
    enum { NODES = 1150, HALF = 480 }; /* more bytes than a request may have */
    struct world *world = *state;
    char chroot[HALF + 2];
    char path[HALF + 2];
    (void)snprintf(chroot, sizeof chroot, "/%0*d", HALF, 0);
    struct ab_coordination *session = zookeeper_session(&world->behind, chroot, 30000, 30000);
    for (int i = 0; i < NODES; i++) {
        (void)snprintf(path, sizeof path, "/%0*d", HALF, i);
        assert_int_equal(ab_coordination_get(session, path, NULL, NULL, NULL), AB_NOT_FOUND);
    }
    atomic_store(&world->proxy.is_closed, true);
    proxy_cut(&world->proxy);
    state_wait(session, AB_COORDINATION_SUSPENDED);
    atomic_store(&world->proxy.is_closed, false);
    assert_int_equal(ab_coordination_get(session, path, NULL, NULL, NULL), AB_NOT_FOUND);
    assert_ok(ab_coordination_create(session, path, bytes_of(""), false, NULL));
    ab_coordination_close(session);
}

/* ---- outcomes ---- */

static void test_lost_answer_is_an_unknown_outcome_and_is_not_repeated(void **state)
{
    struct world *world = *state;
    struct ab_coordination *other = zookeeper_session(&world->zookeeper, "/a", 0, 0);
    struct ab_coordination *session = zookeeper_session(&world->behind, "/a", 10000, 500);
    assert_ok(ab_coordination_create(session, "/n", bytes_of(""), false, NULL));
    proxy_set(&world->proxy, PROXY_DROP_REPLIES);
    assert_int_equal(set(session, AB_COORDINATION_ANY_VERSION), AB_OUTCOME_UNKNOWN);
    assert_int_equal(version_get(other), 1); /* it was done, once */
    proxy_cut(&world->proxy);
    proxy_set(&world->proxy, PROXY_FORWARD);
    state_wait(session, AB_COORDINATION_CONNECTED);
    assert_int_equal(version_get(session), 1);
    ab_coordination_close(session);
    ab_coordination_close(other);
}

static void test_lost_request_is_an_unknown_outcome_and_does_not_happen_later(void **state)
{
    struct world *world = *state;
    struct ab_coordination *session = zookeeper_session(&world->behind, "/a", 10000, 500);
    assert_ok(ab_coordination_create(session, "/n", bytes_of(""), false, NULL));
    for (uint64_t round = 0; round < 3; round++) {
        proxy_set(&world->proxy, PROXY_HOLD);
        int64_t start_us = ab_time_monotonic_us();
        assert_int_equal(set(session, round), AB_OUTCOME_UNKNOWN);
        assert_true(ms_since(start_us) >= 450 && ms_since(start_us) < 5000);
        start_us = ab_time_monotonic_us();
        assert_int_equal(ab_coordination_get(session, "/n", NULL, NULL, NULL), AB_UNAVAILABLE);
        assert_true(ms_since(start_us) < 5000);
        proxy_cut(&world->proxy);
        proxy_set(&world->proxy, PROXY_FORWARD);
        state_wait(session, AB_COORDINATION_CONNECTED);
        assert_int_equal(version_get(session), round);
        assert_ok(set(session, round));
    }
    ab_coordination_close(session);
}

static void test_without_a_connection_nothing_is_sent(void **state)
{
    struct world *world = *state;
    struct ab_coordination *session = zookeeper_session(&world->behind, "/a", 10000, 300);
    assert_ok(ab_coordination_create(session, "/n", bytes_of(""), false, NULL));
    atomic_store(&world->proxy.is_closed, true);
    proxy_cut(&world->proxy);
    state_wait(session, AB_COORDINATION_SUSPENDED);
    for (int i = 0; i < 5; i++) {
        int64_t start_us = ab_time_monotonic_us();
        assert_int_equal(set(session, 0), AB_UNAVAILABLE);
        assert_int_equal(ab_coordination_multi(session, NULL, 0, NULL, NULL), AB_UNAVAILABLE);
        assert_true(ms_since(start_us) < 5000);
    }
    atomic_store(&world->proxy.is_closed, false);
    state_wait(session, AB_COORDINATION_CONNECTED);
    assert_int_equal(version_get(session), 0);
    ab_coordination_close(session);
}

static void test_opening_and_closing_are_bounded_when_nobody_answers(void **state)
{
    struct world *world = *state;
    struct ab_coordination *session = zookeeper_session(&world->zookeeper, "/a", 2000, 500);
    struct ab_coordination *none = NULL;
    int64_t start_us = ab_time_monotonic_us();
    zookeeper_signal(&world->zookeeper, 0, SIGSTOP);
    assert_int_equal(
        zookeeper_session_try(&world->zookeeper, "/a", "anabranch:secret", 2000, 500, &none, NULL), AB_UNAVAILABLE);
    assert_true(ms_since(start_us) < 8000);
    start_us = ab_time_monotonic_us();
    ab_coordination_close(session);
    assert_true(ms_since(start_us) < 8000);
    zookeeper_signal(&world->zookeeper, 0, SIGKILL);
    start_us = ab_time_monotonic_us();
    assert_int_equal(
        zookeeper_session_try(&world->zookeeper, "/a", "anabranch:secret", 2000, 500, &none, NULL), AB_UNAVAILABLE);
    assert_true(ms_since(start_us) < 8000);
    assert_null(none);
}

/* ---- killed servers ---- */

struct stream {
    struct ab_coordination *session;
    atomic_bool is_ending; /* atomic */
    uint64_t acknowledged;
    uint64_t unknown;
    uint64_t unavailable;
};

/* Sets by compare-and-set for ever; each time checks that what is there is what the outcome allows. */
static void stream_run(void *context)
{
    struct stream *stream = context;
    uint64_t version = 0;
    while (!atomic_load(&stream->is_ending)) {
        ab_err err = set(stream->session, version);
        if (err == AB_OK) {
            stream->acknowledged++;
            version++;
            continue;
        }
        assert_true(err == AB_OUTCOME_UNKNOWN || err == AB_UNAVAILABLE);
        uint64_t found = version_get(stream->session);
        assert_true(found == version || (err == AB_OUTCOME_UNKNOWN && found == version + 1));
        stream->unknown += err == AB_OUTCOME_UNKNOWN;
        stream->unavailable += err == AB_UNAVAILABLE;
        version = found;
    }
}

static void test_killed_server_keeps_what_it_acknowledged(void **state)
{
    struct world *world = *state;
    struct stream stream = {.session = zookeeper_session(&world->zookeeper, "/a", 20000, 60000)};
    struct ab_random random;
    struct ab_thread thread = {0};
    ab_random_init(&random, 11);
    assert_ok(ab_coordination_create(stream.session, "/n", bytes_of(""), false, NULL));
    assert_ok(ab_coordination_create(stream.session, "/own", bytes_of(""), true, NULL));
    ab_thread_start(&thread, "stream", stream_run, &stream);
    for (int kills = 0; kills < 4; kills++) {
        ab_time_sleep_us((int64_t)ab_random_below(&random, 400) * AB_US_PER_MS);
        zookeeper_signal(&world->zookeeper, 0, SIGKILL);
        zookeeper_start_again(&world->zookeeper, 0);
    }
    atomic_store(&stream.is_ending, true);
    ab_thread_join(&thread);
    uint64_t found = version_get(stream.session);
    print_message("%llu acknowledged, %llu unknown, %llu not sent; version %llu\n",
        (unsigned long long)stream.acknowledged, (unsigned long long)stream.unknown,
        (unsigned long long)stream.unavailable, (unsigned long long)found);
    assert_true(stream.acknowledged > 0);
    assert_true(found >= stream.acknowledged && found <= stream.acknowledged + stream.unknown);
    assert_ok(ab_coordination_get(stream.session, "/own", NULL, NULL, NULL)); /* the session lives on */
    ab_coordination_close(stream.session);
}

static void test_dead_server_does_not_flood_the_log(void **state)
{
    struct world *world = *state;
    char *path = scratch_path(world->directory, "log");
    struct ab_buffer log = {0};
    struct ab_coordination *session = zookeeper_session(&world->zookeeper, "/a", 2000, 500);
    int fd = -1;
    assert_ok(ab_file_open(path, O_RDWR | O_CREAT, 0600, &fd, NULL));
    ab_logging_init("test", AB_LOG_INFO, fd);
    zookeeper_signal(&world->zookeeper, 0, SIGKILL);
    ab_time_sleep_us(4 * AB_US_PER_SECOND);
    ab_coordination_close(session);
    ab_logging_init("test", AB_LOG_INFO, STDERR_FILENO);
    assert_ok(ab_file_read_all(path, &log, NULL));
    size_t lines = 0;
    for (size_t i = 0; i < log.bytes; i++) {
        lines += log.data[i] == '\n';
    }
    assert_in_range(lines, 0, 3);
    ab_file_close(&fd);
    ab_buffer_fini(&log);
    ab_delete(path);
}

/* ---- an ensemble ---- */

/* Servers of an ensemble that has just begun may elect once more, and drop their connections: what was being written
 * then has an unknown outcome, so it is looked at, and written again if it did not happen. */
static void set_surely(struct ab_coordination *session, uint64_t version)
{
    ab_err err = set(session, version);
    for (int tries = 0; err != AB_OK && version_get(session) == version; tries++) {
        assert_true(err == AB_OUTCOME_UNKNOWN || err == AB_UNAVAILABLE);
        assert_in_range(tries, 0, 20);
        err = set(session, version);
    }
}

static void create_surely(struct ab_coordination *session, const char *path, bool is_ephemeral)
{
    ab_err err = AB_OUTCOME_UNKNOWN;
    for (int tries = 0; err != AB_OK && err != AB_EXISTS; tries++) {
        assert_true(err == AB_OUTCOME_UNKNOWN || err == AB_UNAVAILABLE);
        assert_in_range(tries, 0, 20);
        err = ab_coordination_create(session, path, bytes_of(""), is_ephemeral, NULL);
    }
}

/* The server that leads answers a sync without waiting for what it has committed and not applied yet, so a read there
 * may come a moment before what a follower has acknowledged (LeaderZooKeeperServer: its CommitProcessor does not match
 * syncs). It is never ahead, and catches up at once. */
static void version_reach(struct ab_coordination *session, uint64_t version)
{
    int64_t until_us = ab_time_monotonic_us() + 5 * AB_US_PER_SECOND;
    uint64_t seen = version_get(session);
    while (seen < version) {
        assert_true(ab_time_monotonic_us() < until_us);
        seen = version_get(session);
    }
    assert_int_equal(seen, version);
}

static void test_servers_of_an_ensemble_show_one_tree(void **state)
{
    struct world *world = *state;
    struct ab_coordination *sessions[3];
    for (size_t i = 0; i < 3; i++) {
        struct zookeeper only = {.count = 1, .servers = {world->zookeeper.servers[i]}};
        sessions[i] = zookeeper_session(&only, "/a", 0, 0);
    }
    create_surely(sessions[0], "/n", false);
    for (uint64_t version = 0; version < 200; version++) {
        set_surely(sessions[version % 3], version);
        version_reach(sessions[(version + 1) % 3], version + 1);
    }
    for (size_t i = 0; i < 3; i++) {
        ab_coordination_close(sessions[i]);
    }
}

static void test_any_one_server_of_an_ensemble_may_die(void **state)
{
    struct world *world = *state;
    struct stream stream = {.session = zookeeper_session(&world->zookeeper, "/a", 20000, 60000)};
    struct ab_thread thread = {0};
    create_surely(stream.session, "/n", false);
    create_surely(stream.session, "/own", true);
    ab_thread_start(&thread, "stream", stream_run, &stream);
    for (size_t i = 0; i < 3; i++) { /* one of them led */
        uint64_t before = 0;
        zookeeper_signal(&world->zookeeper, i, SIGKILL);
        ab_time_sleep_us(500 * AB_US_PER_MS);
        struct ab_coordination *other = zookeeper_session(&world->zookeeper, "/a", 20000, 60000);
        before = version_get(other);
        int64_t until_us = ab_time_monotonic_us() + 60 * AB_US_PER_SECOND;
        while (version_get(other) == before) { /* the stream goes on without the dead one */
            assert_true(ab_time_monotonic_us() < until_us);
            ab_time_sleep_us(10 * AB_US_PER_MS);
        }
        ab_coordination_close(other);
        zookeeper_start_again(&world->zookeeper, i);
    }
    atomic_store(&stream.is_ending, true);
    ab_thread_join(&thread);
    uint64_t found = version_get(stream.session);
    assert_true(found >= stream.acknowledged && found <= stream.acknowledged + stream.unknown);
    assert_ok(ab_coordination_get(stream.session, "/own", NULL, NULL, NULL));
    ab_coordination_close(stream.session);
}

#define WORLD(case) cmocka_unit_test_setup_teardown(case, world_setup, world_teardown)
#define WORLD_OF_THREE(case) cmocka_unit_test_setup_teardown(case, world_of_three_setup, world_teardown)

int main(void)
{
    zookeeper_need();
    const struct CMUnitTest tests[] = {
        WORLD(test_idle_session_that_is_watched_stays_fresh),
        WORLD(test_cut_off_session_steps_down_before_it_expires),
        WORLD(test_session_outlives_a_lost_connection_with_node_watches_and_credential),
        WORLD(test_watches_of_long_paths_do_not_keep_a_session_from_coming_back),
        WORLD(test_lost_answer_is_an_unknown_outcome_and_is_not_repeated),
        WORLD(test_lost_request_is_an_unknown_outcome_and_does_not_happen_later),
        WORLD(test_without_a_connection_nothing_is_sent),
        WORLD(test_opening_and_closing_are_bounded_when_nobody_answers),
        WORLD(test_killed_server_keeps_what_it_acknowledged),
        WORLD(test_dead_server_does_not_flood_the_log),
        WORLD_OF_THREE(test_servers_of_an_ensemble_show_one_tree),
        WORLD_OF_THREE(test_any_one_server_of_an_ensemble_may_die),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
