/* The model of ZooKeeper: it says what the local implementation says, and is as unkind as the real one. */
#include "tests/simulation/coordination_model.h"

#include "common/base/time.h"
#include "tests/support/test.h"

/* ---- helpers ---- */

#define TIMEOUT_US (6 * AB_US_PER_SECOND)

static int model_setup(void **state)
{
    *state = coordination_model_create();
    return 0;
}

static int model_teardown(void **state)
{
    coordination_model_destroy(*state);
    return 0;
}

static uint64_t submit(struct coordination_model *model, uint64_t session, struct ab_coordination_op op)
{
    uint64_t request = 0;
    assert_ok(coordination_model_submit(model, session, &op, 1, 0, &request));
    return request;
}

/* Submits, applies and answers one step. */
static ab_err step(struct coordination_model *model, uint64_t session, struct ab_coordination_op op)
{
    struct coordination_model_outcome outcome = {0};
    uint64_t request = submit(model, session, op);
    assert_true(coordination_model_apply(model, request, 0));
    assert_ok(coordination_model_answer(model, request, &outcome));
    return outcome.err;
}

static struct ab_coordination_op create_of(const char *path)
{
    return (struct ab_coordination_op){.kind = AB_COORDINATION_CREATE, .path = path};
}

static struct ab_coordination_op set_of(const char *path, const char *value)
{
    return (struct ab_coordination_op){
        .kind = AB_COORDINATION_SET, .path = path, .value = bytes_of(value), .version = AB_COORDINATION_ANY_VERSION};
}

static struct ab_coordination_op delete_of(const char *path)
{
    return (struct ab_coordination_op){
        .kind = AB_COORDINATION_DELETE, .path = path, .version = AB_COORDINATION_ANY_VERSION};
}

static ab_err get_at(struct coordination_model *model, uint64_t session, uint64_t zxid, uint64_t *version)
{
    struct ab_coordination_stat stat = {0};
    ab_err err = coordination_model_get(model, session, "/n", zxid, NULL, &stat);
    *version = stat.version;
    return err;
}

static uint64_t version_newest(struct coordination_model *model, uint64_t session)
{
    uint64_t version = 0;
    assert_ok(get_at(model, session, coordination_model_zxid_newest(model), &version));
    return version;
}

/* ---- the same steps as the local implementation ---- */

static const char *const paths[] = {"/", "/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/p", "/a/x/q"};
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

static void check_same_node(
    struct coordination_model *model, uint64_t session, struct ab_coordination *local, const char *path)
{
    struct ab_buffer values[2] = {{0}, {0}};
    struct ab_coordination_stat stats[2] = {{0}, {0}};
    char **names[2] = {NULL, NULL};
    size_t counts[2] = {0, 0};
    uint64_t zxid = coordination_model_zxid_newest(model);
    ab_err err = ab_coordination_get(local, path, &values[0], &stats[0], NULL);
    assert_int_equal(coordination_model_get(model, session, path, zxid, &values[1], &stats[1]), err);
    assert_true(ab_bytes_equal(ab_buffer_view(&values[0]), ab_buffer_view(&values[1])));
    assert_int_equal(stats[0].version, stats[1].version);
    assert_int_equal(stats[0].is_ephemeral, stats[1].is_ephemeral);
    assert_int_equal(stats[0].is_own, stats[1].is_own);
    err = ab_coordination_children(local, path, &names[0], &counts[0], NULL);
    assert_int_equal(coordination_model_children(model, session, path, zxid, &names[1], &counts[1]), err);
    assert_int_equal(counts[0], counts[1]);
    for (size_t i = 0; i < counts[0]; i++) {
        assert_string_equal(names[0][i], names[1][i]);
    }
    for (int i = 0; i < 2; i++) {
        ab_coordination_names_free(names[i], counts[i]);
        ab_buffer_fini(&values[i]);
    }
}

static void test_steps_mean_what_they_mean_to_the_local_implementation(void **state)
{
    enum { ROUNDS = 3000, OPS = 4 };
    struct coordination_model *model = *state;
    struct ab_coordination *local = NULL;
    struct ab_random random;
    char *directory = scratch_make();
    char *address = ab_new_format("local:%s", directory);
    uint64_t session = coordination_model_open(model, TIMEOUT_US, 0);
    size_t done = 0;
    assert_ok(ab_coordination_open(address, &local, NULL));
    ab_random_init(&random, 4);
    for (int round = 0; round < ROUNDS; round++) {
        struct ab_coordination_op ops[OPS];
        struct coordination_model_outcome outcome = {0};
        size_t count = 1 + ab_random_below(&random, OPS);
        size_t failed = 0;
        uint64_t request = 0;
        for (size_t i = 0; i < count; i++) {
            ops[i] = op_draw(&random);
        }
        ab_err err = ab_coordination_multi(local, ops, count, &failed, NULL);
        assert_ok(coordination_model_submit(model, session, ops, count, 0, &request));
        assert_true(coordination_model_apply(model, request, 0));
        assert_ok(coordination_model_answer(model, request, &outcome));
        if (err == AB_USAGE && strcmp(ops[failed].path, "/") == 0) {
            assert_int_not_equal(outcome.err, AB_OK); /* a change of the root is refused before anything is tried */
        } else {
            assert_int_equal(outcome.err, err);
            assert_true(err == AB_OK || outcome.failed == failed);
        }
        done += err == AB_OK;
        for (size_t i = 0; i < PATHS; i++) {
            check_same_node(model, session, local, paths[i]);
        }
    }
    assert_true(done > ROUNDS / 20);
    ab_coordination_close(local);
    ab_delete(address);
    scratch_remove(directory);
}

/* ---- changes ---- */

static void test_change_is_seen_when_applied_and_known_when_answered(void **state)
{
    struct coordination_model *model = *state;
    uint64_t writer = coordination_model_open(model, TIMEOUT_US, 0);
    uint64_t reader = coordination_model_open(model, TIMEOUT_US, 0);
    struct coordination_model_outcome outcome = {.err = AB_IO};
    uint64_t version = 0;
    uint64_t request = submit(model, writer, create_of("/n"));
    assert_int_equal(get_at(model, reader, coordination_model_zxid_newest(model), &version), AB_NOT_FOUND);
    assert_int_equal(coordination_model_answer(model, request, &outcome), AB_AGAIN);
    assert_true(coordination_model_apply(model, request, 0));
    assert_false(coordination_model_apply(model, request, 0));
    assert_int_equal(version_newest(model, reader), 0);
    assert_int_equal(outcome.err, AB_IO);
    assert_ok(coordination_model_answer(model, request, &outcome));
    assert_ok(outcome.err);
    assert_int_equal(outcome.zxid, 1);
    assert_int_equal(coordination_model_zxid_seen(model, writer), 1);
    assert_int_equal(coordination_model_answer(model, request, &outcome), AB_NOT_FOUND);
}

static void test_lost_connection_leaves_both_outcomes_open(void **state)
{
    struct coordination_model *model = *state;
    uint64_t writer = coordination_model_open(model, TIMEOUT_US, 0);
    uint64_t reader = coordination_model_open(model, TIMEOUT_US, 0);
    struct coordination_model_outcome outcome = {0};
    assert_ok(step(model, writer, create_of("/n")));
    uint64_t first = submit(model, writer, set_of("/n", "1"));
    uint64_t second = submit(model, writer, set_of("/n", "2"));
    uint64_t third = submit(model, writer, set_of("/n", "3"));
    assert_true(coordination_model_apply(model, first, 0));
    coordination_model_disconnect(model, writer);
    for (uint64_t request = first; request <= third; request++) {
        assert_ok(coordination_model_answer(model, request, &outcome));
        assert_int_equal(outcome.err, AB_OUTCOME_UNKNOWN);
    }
    assert_int_equal(version_newest(model, reader), 1);
    assert_true(coordination_model_apply(model, second, 0)); /* it was on its way */
    assert_int_equal(version_newest(model, reader), 2);
    assert_int_equal(coordination_model_submit(model, writer, NULL, 0, 0, &first), AB_UNAVAILABLE);
    assert_ok(coordination_model_connect(model, writer, 0));
    assert_false(coordination_model_apply(model, third, 0)); /* what the session reads now is final */
    assert_int_equal(version_newest(model, writer), 2);
    assert_ok(step(model, writer, set_of("/n", "4")));
}

/* ---- stale reads ---- */

static void test_reads_may_be_old_but_never_go_back(void **state)
{
    struct coordination_model *model = *state;
    uint64_t writer = coordination_model_open(model, TIMEOUT_US, 0);
    uint64_t reader = coordination_model_open(model, TIMEOUT_US, 0);
    uint64_t before = 0;
    size_t stale = 0;
    struct ab_random random;
    ab_random_init(&random, 9);
    assert_ok(step(model, writer, create_of("/n")));
    assert_int_equal(get_at(model, reader, 0, &before), AB_NOT_FOUND);
    assert_int_equal(version_newest(model, reader), 0);
    for (uint64_t round = 1; round <= 300; round++) {
        uint64_t version = 0;
        assert_ok(step(model, writer, set_of("/n", "x")));
        assert_ok(get_at(model, reader, coordination_model_zxid_stale(model, reader, &random), &version));
        assert_true(version >= before && version <= round);
        stale += version < round;
        before = version;
        assert_int_equal(version_newest(model, writer), round);
    }
    assert_true(stale > 100);
    assert_int_equal(version_newest(model, reader), 300);
}

/* ---- watches ---- */

static void test_watch_tells_once_and_late_of_many_changes(void **state)
{
    struct coordination_model *model = *state;
    uint64_t writer = coordination_model_open(model, TIMEOUT_US, 0);
    uint64_t reader = coordination_model_open(model, TIMEOUT_US, 0);
    assert_ok(step(model, writer, create_of("/n")));
    assert_int_equal(version_newest(model, reader), 0);
    assert_int_equal(version_newest(model, reader), 0); /* a second read leaves no second watch */
    uint64_t zxid = coordination_model_zxid_newest(model);
    for (int i = 0; i < 3; i++) {
        assert_ok(step(model, writer, set_of("/n", "x")));
    }
    assert_int_equal(coordination_model_revision(model, reader), 0);
    assert_int_equal(coordination_model_deliver(model, reader, zxid), 0);
    assert_int_equal(coordination_model_deliver(model, reader, zxid + 2), 1);
    assert_int_equal(coordination_model_deliver(model, reader, zxid + 3), 1); /* used up */
    assert_int_equal(version_newest(model, reader), 3);
    assert_ok(step(model, writer, delete_of("/n")));
    uint64_t version = 0;
    assert_int_equal(get_at(model, reader, coordination_model_zxid_newest(model), &version), AB_NOT_FOUND);
    assert_int_equal(coordination_model_revision(model, reader), 2); /* with the read, before its answer */
    assert_ok(step(model, writer, create_of("/other")));
    assert_int_equal(coordination_model_deliver(model, reader, coordination_model_zxid_newest(model)), 2);
    assert_ok(step(model, writer, create_of("/n"))); /* absence is watched */
    assert_int_equal(coordination_model_deliver(model, reader, coordination_model_zxid_newest(model)), 3);
}

static void test_watch_of_children_tells_of_names_alone(void **state)
{
    struct coordination_model *model = *state;
    uint64_t session = coordination_model_open(model, TIMEOUT_US, 0);
    char **names = NULL;
    size_t count = 0;
    const struct ab_coordination_op ops[] = {create_of("/a"), create_of("/a/b"), create_of("/a/b/c"),
        set_of("/a/b", "x"), set_of("/a", "x"), delete_of("/a/b/c"), delete_of("/a/b"), delete_of("/a")};
    const bool rises[] = {true, true, false, false, false, false, true, true};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        uint64_t zxid = coordination_model_zxid_newest(model);
        ab_err err = coordination_model_children(model, session, "/a", zxid, &names, &count);
        assert_int_equal(err, i == 0 ? AB_NOT_FOUND : AB_OK);
        if (err == AB_OK) {
            ab_coordination_names_free(names, count);
        }
        uint64_t before = coordination_model_revision(model, session);
        assert_ok(step(model, session, ops[i]));
        assert_int_equal(coordination_model_revision(model, session), before + rises[i]);
    }
}

/* ---- expiry ---- */

static void test_expired_session_is_not_told_and_its_nodes_are_gone(void **state)
{
    struct coordination_model *model = *state;
    uint64_t other = coordination_model_open(model, 10 * TIMEOUT_US, 0);
    uint64_t session = coordination_model_open(model, TIMEOUT_US, 0);
    struct ab_coordination_session_state found;
    uint64_t version = 0;
    struct ab_coordination_op op = create_of("/n");
    op.is_ephemeral = true;
    assert_ok(step(model, session, op));
    coordination_model_ping(model, session, 1000, 2000);
    uint64_t request = submit(model, session, set_of("/n", "late"));
    uint64_t before_end = coordination_model_zxid_newest(model);
    assert_int_equal(coordination_model_tick(model, 2000 + TIMEOUT_US - 1), 0);
    coordination_model_state(model, session, &found);
    assert_int_equal(found.alive_us, 1000);
    assert_false(ab_coordination_must_step_down(&found, 1000 + TIMEOUT_US / 3 * 2 - 1));
    assert_true(ab_coordination_must_step_down(&found, 1000 + TIMEOUT_US / 3 * 2)); /* long before the servers do it */
    assert_int_equal(coordination_model_tick(model, 2000 + TIMEOUT_US), 1);
    assert_int_equal(coordination_model_tick(model, 2000 + TIMEOUT_US), 0);
    assert_int_equal(get_at(model, other, coordination_model_zxid_newest(model), &version), AB_NOT_FOUND);
    assert_false(coordination_model_apply(model, request, 0));
    coordination_model_state(model, session, &found);
    assert_int_equal(found.state, AB_COORDINATION_CONNECTED);
    assert_ok(get_at(model, session, before_end, &version)); /* from a server that is behind */
    assert_int_equal(get_at(model, session, coordination_model_zxid_newest(model), &version), AB_UNAVAILABLE);
    coordination_model_state(model, session, &found);
    assert_int_equal(found.state, AB_COORDINATION_SUSPENDED);
    coordination_model_ping(model, session, TIMEOUT_US * 2, TIMEOUT_US * 2);
    assert_int_equal(coordination_model_connect(model, session, TIMEOUT_US * 2), AB_CLOSED);
    coordination_model_state(model, session, &found);
    assert_int_equal(found.state, AB_COORDINATION_EXPIRED);
    assert_int_equal(coordination_model_submit(model, session, &op, 1, 0, &request), AB_CLOSED);
    assert_int_equal(get_at(model, session, coordination_model_zxid_newest(model), &version), AB_CLOSED);
}

static void test_closed_session_takes_its_nodes_with_it(void **state)
{
    struct coordination_model *model = *state;
    uint64_t session = coordination_model_open(model, TIMEOUT_US, 0);
    uint64_t other = coordination_model_open(model, TIMEOUT_US, 0);
    uint64_t version = 0;
    struct ab_coordination_op op = create_of("/n");
    op.is_ephemeral = true;
    assert_ok(step(model, session, op));
    assert_ok(step(model, other, set_of("/n", "x")));
    assert_int_equal(step(model, other, create_of("/n/below")), AB_USAGE);
    assert_int_equal(version_newest(model, other), 1);
    coordination_model_close(model, session);
    assert_int_equal(get_at(model, other, coordination_model_zxid_newest(model), &version), AB_NOT_FOUND);
    assert_int_equal(coordination_model_revision(model, other), 1);
}

/* ---- whole runs ---- */

/* What a client remembers of a node: if it changes, the revision has risen before that is seen. */
struct memory {
    uint64_t modified;
    uint64_t revision;
    bool is_known;
};

enum { SESSIONS = 4, STEPS = 4000 };

struct run {
    struct coordination_model *model;
    struct ab_random random;
    uint64_t sessions[SESSIONS];
    struct memory memories[SESSIONS][PATHS];
    uint64_t pending[SESSIONS]; /* one request a session; 0 = none */
    int64_t now_us;
    struct ab_buffer trace;
    size_t reads_changed;
    size_t unknown;
    size_t expired;
};

static void run_read(struct run *run, size_t s)
{
    size_t p = ab_random_below(&run->random, PATHS);
    struct memory *memory = &run->memories[s][p];
    struct ab_coordination_stat stat = {0};
    uint64_t zxid = coordination_model_zxid_stale(run->model, run->sessions[s], &run->random);
    ab_err err = coordination_model_get(run->model, run->sessions[s], paths[p], zxid, NULL, &stat);
    ab_buffer_put_u64(&run->trace, (uint64_t)err);
    ab_buffer_put_u64(&run->trace, stat.modified_revision);
    if (err != AB_OK && err != AB_NOT_FOUND) {
        return;
    }
    uint64_t revision = coordination_model_revision(run->model, run->sessions[s]);
    if (memory->is_known && memory->modified != stat.modified_revision) {
        assert_true(revision > memory->revision);
        run->reads_changed++;
    }
    *memory = (struct memory){.modified = stat.modified_revision, .revision = revision, .is_known = true};
}

static void run_change(struct run *run, size_t s)
{
    struct coordination_model_outcome outcome = {0};
    if (run->pending[s] == 0) {
        struct ab_coordination_op op = op_draw(&run->random);
        /* Refused while not connected: tried again later. */
        ab_err_ignore(
            coordination_model_submit(run->model, run->sessions[s], &op, 1, run->now_us, &run->pending[s]));
    } else if (ab_random_below(&run->random, 2) == 0) {
        ab_buffer_put_u8(&run->trace, coordination_model_apply(run->model, run->pending[s], run->now_us));
    } else if (coordination_model_answer(run->model, run->pending[s], &outcome) == AB_OK) {
        ab_buffer_put_u64(&run->trace, (uint64_t)outcome.err);
        run->unknown += outcome.err == AB_OUTCOME_UNKNOWN;
        run->pending[s] = 0;
    }
}

static void run_connection(struct run *run, size_t s)
{
    if (ab_random_below(&run->random, 3) == 0) {
        coordination_model_disconnect(run->model, run->sessions[s]);
    } else if (coordination_model_connect(run->model, run->sessions[s], run->now_us) == AB_CLOSED) {
        run->sessions[s] = coordination_model_open(run->model, TIMEOUT_US, run->now_us);
        run->pending[s] = 0;
        memset(run->memories[s], 0, sizeof run->memories[s]);
    }
}

static void run_all(struct run *run, uint64_t seed)
{
    *run = (struct run){.model = coordination_model_create()};
    ab_random_init(&run->random, seed);
    for (size_t s = 0; s < SESSIONS; s++) {
        run->sessions[s] = coordination_model_open(run->model, TIMEOUT_US, 0);
    }
    for (int i = 0; i < STEPS; i++) {
        size_t s = ab_random_below(&run->random, SESSIONS);
        uint64_t kind = ab_random_below(&run->random, 100);
        run->now_us += (int64_t)ab_random_below(&run->random, 200) * AB_US_PER_MS;
        if (kind < 45) {
            run_read(run, s);
        } else if (kind < 90) {
            run_change(run, s);
        } else if (kind < 95) {
            run_connection(run, s);
        } else {
            coordination_model_ping(run->model, run->sessions[s], run->now_us, run->now_us);
        }
        run->expired += coordination_model_tick(run->model, run->now_us);
    }
    coordination_model_destroy(run->model);
}

static void test_same_seed_gives_the_same_run_and_no_change_is_missed(void **state)
{
    (void)state;
    size_t changed = 0;
    size_t unknown = 0;
    size_t expired = 0;
    struct run first;
    struct run again;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run_all(&first, seed);
        run_all(&again, seed);
        assert_true(ab_bytes_equal(ab_buffer_view(&first.trace), ab_buffer_view(&again.trace)));
        changed += first.reads_changed;
        unknown += first.unknown;
        expired += first.expired;
        ab_buffer_fini(&first.trace);
        ab_buffer_fini(&again.trace);
    }
    assert_true(changed > 100 && unknown > 100 && expired > 20); /* the runs were worth it */
}

#define MODEL(case) cmocka_unit_test_setup_teardown(case, model_setup, model_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODEL(test_steps_mean_what_they_mean_to_the_local_implementation),
        MODEL(test_change_is_seen_when_applied_and_known_when_answered),
        MODEL(test_lost_connection_leaves_both_outcomes_open),
        MODEL(test_reads_may_be_old_but_never_go_back),
        MODEL(test_watch_tells_once_and_late_of_many_changes),
        MODEL(test_watch_of_children_tells_of_names_alone),
        MODEL(test_expired_session_is_not_told_and_its_nodes_are_gone),
        MODEL(test_closed_session_takes_its_nodes_with_it),
        cmocka_unit_test(test_same_seed_gives_the_same_run_and_no_change_is_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
