/* What coordination.h promises, asked of any implementation. */
#include "tests/unit/common/coordination/contract.h"

#include "common/base/thread.h"
#include "common/base/time.h"

#include <stdatomic.h>

/* ---- helpers ---- */

struct ab_coordination *contract_open(struct contract_place *place)
{
    struct ab_coordination *session = NULL;
    struct ab_error error = {0};
    if (ab_coordination_open_with(place->address, &place->options, &session, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return session;
}

static ab_err create(struct ab_coordination *session, const char *path, const char *value)
{
    return ab_coordination_create(session, path, bytes_of(value), false, NULL);
}

static ab_err set(struct ab_coordination *session, const char *path, const char *value, uint64_t version)
{
    return ab_coordination_set(session, path, bytes_of(value), version, NULL);
}

static bool exists(struct ab_coordination *session, const char *path)
{
    ab_err err = ab_coordination_get(session, path, NULL, NULL, NULL);
    assert_true(err == AB_OK || err == AB_NOT_FOUND);
    return err == AB_OK;
}

static void check_value(struct ab_coordination *session, const char *path, const char *value, uint64_t version)
{
    struct ab_buffer found = {0};
    struct ab_coordination_stat stat = {0};
    assert_ok(ab_coordination_get(session, path, &found, &stat, NULL));
    assert_true(ab_bytes_equal(ab_buffer_view(&found), bytes_of(value)));
    assert_int_equal(stat.version, version);
    ab_buffer_fini(&found);
}

static void check_children(struct ab_coordination *session, const char *path, const char *joined)
{
    char **names = NULL;
    size_t count = 0;
    struct ab_buffer text = {0};
    assert_ok(ab_coordination_children(session, path, &names, &count, NULL));
    for (size_t i = 0; i < count; i++) {
        ab_buffer_put_format(&text, "%s%s", i == 0 ? "" : " ", names[i]);
    }
    assert_string_equal(ab_buffer_text(&text), joined);
    ab_coordination_names_free(names, count);
    ab_buffer_fini(&text);
}

/* ---- single steps ---- */

void contract_nodes_are_created_set_and_deleted(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    assert_ok(create(session, "/a", "one"));
    assert_int_equal(create(session, "/a", "two"), AB_EXISTS);
    assert_int_equal(create(session, "/b/c", "x"), AB_NOT_FOUND);
    check_value(session, "/a", "one", 0);
    assert_ok(set(session, "/a", "two", 0));
    assert_int_equal(set(session, "/a", "three", 0), AB_CONFLICT);
    assert_ok(set(session, "/a", "", AB_COORDINATION_ANY_VERSION));
    check_value(session, "/a", "", 2);
    assert_int_equal(set(session, "/z", "", AB_COORDINATION_ANY_VERSION), AB_NOT_FOUND);
    assert_ok(create(session, "/a/b", "below"));
    assert_int_equal(ab_coordination_delete(session, "/a", 2, NULL), AB_EXISTS);
    assert_int_equal(ab_coordination_delete(session, "/a/b", 1, NULL), AB_CONFLICT);
    assert_ok(ab_coordination_delete(session, "/a/b", 0, NULL));
    assert_ok(ab_coordination_delete(session, "/a", AB_COORDINATION_ANY_VERSION, NULL));
    assert_int_equal(ab_coordination_delete(session, "/a", 0, NULL), AB_NOT_FOUND);
    ab_coordination_close(session);
}

void contract_nodes_survive_their_session(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    assert_ok(create(session, "/kept", "value"));
    assert_ok(set(session, "/kept", "newer", 0));
    ab_coordination_close(session);
    session = contract_open(place);
    check_value(session, "/kept", "newer", 1);
    ab_coordination_close(session);
}

void contract_created_revision_tells_a_node_from_its_predecessor(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    struct ab_coordination_stat first = {0};
    struct ab_coordination_stat second = {0};
    assert_ok(create(session, "/a", ""));
    assert_ok(ab_coordination_get(session, "/a", NULL, &first, NULL));
    assert_ok(ab_coordination_delete(session, "/a", 0, NULL));
    assert_ok(create(session, "/a", ""));
    assert_ok(ab_coordination_get(session, "/a", NULL, &second, NULL));
    assert_true(second.created_revision > first.created_revision);
    assert_int_equal(second.version, 0);
    ab_coordination_close(session);
}

void contract_children_are_the_names_directly_below(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    assert_ok(ab_coordination_ensure(session, "/a/b/c", NULL));
    assert_ok(ab_coordination_ensure(session, "/a/b/c", NULL));
    assert_ok(ab_coordination_ensure(session, "/", NULL));
    assert_ok(create(session, "/a-b", ""));
    assert_ok(create(session, "/a0", ""));
    assert_ok(create(session, "/a/z", ""));
    check_children(session, "/", "a a-b a0");
    check_children(session, "/a", "b z");
    check_children(session, "/a/b/c", "");
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(ab_coordination_children(session, "/none", &names, &count, NULL), AB_NOT_FOUND);
    ab_coordination_close(session);
}

void contract_bad_paths_and_values_are_refused(void **state)
{
    static const char *const paths[] = {"", "a", "/a/", "//a", "/a//b", "/.", "/a/..", "/a\nb", "/\xff", "/a/b\x7f",
        "/\xc2\x85", "/\xee\x80\x80", "/\xef\xbf\xbd", "/\xf0\x9f\x90\x9f"};
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_int_equal(create(session, paths[i], ""), AB_USAGE);
        assert_int_equal(ab_coordination_get(session, paths[i], NULL, NULL, NULL), AB_USAGE);
    }
    assert_int_equal(create(session, "/", ""), AB_USAGE);
    assert_int_equal(ab_coordination_delete(session, "/", 0, NULL), AB_USAGE);
    assert_ok(create(session, "/\xc3\xa9t\xc3\xa9 \xe6\xb2\xb3\xef\xbf\xa5", "well-formed"));
    check_children(session, "/", "\xc3\xa9t\xc3\xa9 \xe6\xb2\xb3\xef\xbf\xa5");
    char long_path[AB_COORDINATION_PATH_BYTES_MAX + 2] = {0};
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[0] = '/';
    assert_int_equal(create(session, long_path, ""), AB_USAGE);
    long_path[AB_COORDINATION_PATH_BYTES_MAX] = '\0';
    assert_ok(create(session, long_path, ""));
    uint8_t *large = ab_new_bytes(AB_COORDINATION_VALUE_BYTES_MAX + 1);
    struct ab_bytes value = ab_bytes_of(large, AB_COORDINATION_VALUE_BYTES_MAX + 1);
    assert_int_equal(ab_coordination_create(session, "/large", value, false, NULL), AB_TOO_LARGE);
    value.bytes = AB_COORDINATION_REQUEST_BYTES_MAX - 256;
    large[0] = 1;
    large[value.bytes - 1] = 2;
    assert_ok(ab_coordination_create(session, "/large", value, false, NULL));
    struct ab_buffer found = {0};
    assert_ok(ab_coordination_get(session, "/large", &found, NULL, NULL));
    assert_true(ab_bytes_equal(ab_buffer_view(&found), value));
    ab_buffer_fini(&found);
    ab_buffer_init(&found, NULL, 100);
    assert_int_equal(ab_coordination_get(session, "/large", &found, NULL, NULL), AB_FULL);
    ab_buffer_fini(&found);
    ab_delete(large);
    ab_coordination_close(NULL);
    ab_coordination_close(session);
}

/* ---- multi ---- */

void contract_multi_does_all_or_nothing(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    assert_ok(create(session, "/counter", "0"));
    struct ab_coordination_op ops[] = {
        {.kind = AB_COORDINATION_CREATE, .path = "/jobs"},
        {.kind = AB_COORDINATION_CREATE, .path = "/jobs/1", .value = bytes_of("queued")},
        {.kind = AB_COORDINATION_SET, .path = "/counter", .value = bytes_of("1"), .version = 0},
        {.kind = AB_COORDINATION_CHECK, .path = "/counter", .version = 7},
    };
    size_t failed = 99;
    uint64_t before = 0;
    uint64_t after = 0;
    assert_ok(ab_coordination_revision(session, &before, NULL));
    assert_int_equal(ab_coordination_multi(session, ops, 4, &failed, NULL), AB_CONFLICT);
    assert_int_equal(failed, 3);
    assert_false(exists(session, "/jobs"));
    check_value(session, "/counter", "0", 0);
    assert_ok(ab_coordination_revision(session, &after, NULL));
    assert_int_equal(before, after);
    ops[3].version = 1; /* sees what the step before did */
    assert_ok(ab_coordination_multi(session, ops, 4, &failed, NULL));
    check_value(session, "/jobs/1", "queued", 0);
    check_value(session, "/counter", "1", 1);
    assert_ok(ab_coordination_revision(session, &after, NULL));
    assert_true(after > before);
    assert_ok(ab_coordination_multi(session, NULL, 0, NULL, NULL));
    assert_int_equal(ab_coordination_multi(session, ops, AB_COORDINATION_OPS_MAX + 1, &failed, NULL), AB_TOO_LARGE);
    ab_coordination_close(session);
}

void contract_checks_alone_change_nothing(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    struct ab_coordination_op check = {.kind = AB_COORDINATION_CHECK, .path = "/"};
    uint64_t before = 0;
    uint64_t after = 9;
    assert_ok(ab_coordination_revision(session, &before, NULL));
    assert_ok(ab_coordination_multi(session, &check, 1, NULL, NULL));
    check.path = "/a";
    assert_int_equal(ab_coordination_multi(session, &check, 1, NULL, NULL), AB_NOT_FOUND);
    assert_ok(ab_coordination_revision(session, &after, NULL));
    assert_int_equal(before, after);
    ab_coordination_close(session);
}

void contract_multi_is_held_by_any_of_its_checks(void **state)
{
    enum { NODES = 12 };
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    struct ab_coordination_op ops[NODES + 1];
    char paths[NODES][8];
    for (int i = 0; i < NODES; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "/n%02d", i);
        assert_ok(create(session, paths[i], ""));
        ops[i] = (struct ab_coordination_op){.kind = AB_COORDINATION_CHECK, .path = paths[i]};
    }
    assert_ok(create(session, "/state", "0"));
    ops[NODES] = (struct ab_coordination_op){.kind = AB_COORDINATION_SET,
        .path = "/state",
        .value = bytes_of("moved"),
        .version = AB_COORDINATION_ANY_VERSION};
    for (size_t i = 0; i < NODES; i++) {
        size_t failed = 99;
        ops[i].version = 1;
        assert_int_equal(ab_coordination_multi(session, ops, NODES + 1, &failed, NULL), AB_CONFLICT);
        assert_int_equal(failed, i);
        ops[i].version = 0;
        ops[i].path = "/gone";
        assert_int_equal(ab_coordination_multi(session, ops, NODES + 1, &failed, NULL), AB_NOT_FOUND);
        assert_int_equal(failed, i);
        ops[i].path = paths[i];
    }
    ops[3].version = (uint64_t)INT32_MAX + 7; /* a version that nothing has */
    assert_int_equal(ab_coordination_multi(session, ops, NODES + 1, NULL, NULL), AB_CONFLICT);
    ops[3].version = AB_COORDINATION_ANY_VERSION;
    check_value(session, "/state", "0", 0);
    assert_ok(ab_coordination_multi(session, ops, NODES + 1, NULL, NULL));
    check_value(session, "/state", "moved", 1);
    ab_coordination_close(session);
}

/* ---- sessions ---- */

void contract_sessions_see_each_other_at_once(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *first = contract_open(place);
    struct ab_coordination *second = contract_open(place);
    assert_ok(create(first, "/a", "0"));
    for (uint64_t version = 0; version < 40; version += 2) {
        assert_ok(set(second, "/a", "by second", version));
        check_value(first, "/a", "by second", version + 1);
        assert_ok(set(first, "/a", "by first", version + 1));
        assert_int_equal(set(second, "/a", "late", version + 1), AB_CONFLICT);
    }
    ab_coordination_close(first);
    check_value(second, "/a", "by first", 40);
    ab_coordination_close(second);
}

void contract_ephemeral_nodes_go_with_their_session(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *first = contract_open(place);
    struct ab_coordination *second = contract_open(place);
    struct ab_coordination_stat stat = {0};
    assert_ok(create(first, "/leaders", ""));
    assert_ok(ab_coordination_create(first, "/leaders/0", bytes_of("first"), true, NULL));
    assert_ok(ab_coordination_create(first, "/leaders/1", bytes_of("first"), true, NULL));
    assert_int_equal(create(first, "/leaders/0/x", ""), AB_USAGE);
    assert_ok(ab_coordination_get(first, "/leaders/0", NULL, &stat, NULL));
    assert_true(stat.is_ephemeral && stat.is_own);
    ab_time_sleep_us(150000); /* long enough for the other session to look for dead ones */
    assert_ok(ab_coordination_get(second, "/leaders/0", NULL, &stat, NULL));
    assert_true(stat.is_ephemeral && !stat.is_own);
    assert_int_equal(ab_coordination_create(second, "/leaders/0", bytes_of("second"), true, NULL), AB_EXISTS);
    ab_coordination_close(first);
    check_children(second, "/leaders", "");
    assert_ok(ab_coordination_create(second, "/leaders/0", bytes_of("second"), true, NULL));
    ab_coordination_close(second);
}

struct waiter {
    struct contract_place *place;
    atomic_bool is_waiting; /* atomic */
    uint64_t since;
    uint64_t found;
};

static void waiter_run(void *context)
{
    struct waiter *waiter = context;
    struct ab_coordination *session = contract_open(waiter->place);
    assert_ok(ab_coordination_revision(session, &waiter->since, NULL));
    assert_true(exists(session, "/a"));
    atomic_store(&waiter->is_waiting, true);
    assert_ok(ab_coordination_wait(
        session, waiter->since, ab_time_monotonic_us() + 60 * AB_US_PER_SECOND, &waiter->found, NULL));
    check_value(session, "/a", "changed", 1);
    ab_coordination_close(session);
}

void contract_wait_ends_with_a_change_or_in_time(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    assert_ok(create(session, "/a", ""));
    struct waiter waiter = {.place = place};
    uint64_t revision = 77;
    uint64_t since = 0;
    assert_true(exists(session, "/a"));
    assert_ok(ab_coordination_revision(session, &since, NULL));
    int64_t start = ab_time_monotonic_us();
    assert_int_equal(ab_coordination_wait(session, since, start + 30000, &revision, NULL), AB_TIMEOUT);
    assert_true(ab_time_monotonic_us() >= start + 30000);
    assert_int_equal(revision, 77);
    struct ab_thread thread = {0};
    ab_thread_start(&thread, "waiter", waiter_run, &waiter);
    while (!atomic_load(&waiter.is_waiting)) {
        ab_time_sleep_us(1000);
    }
    ab_time_sleep_us(30000);
    assert_ok(set(session, "/a", "changed", 0));
    ab_thread_join(&thread);
    assert_true(waiter.found > waiter.since);
    assert_ok(ab_coordination_wait(session, since, start + 10 * AB_US_PER_SECOND, &revision, NULL));
    assert_true(revision > since);
    ab_coordination_close(session);
}

/* Waits for the session to hear of a change; 10 s are for a machine that is busy. */
static void check_heard(struct ab_coordination *session, uint64_t *revision)
{
    assert_ok(ab_coordination_wait(session, *revision, ab_time_monotonic_us() + 10 * AB_US_PER_SECOND, revision, NULL));
}

void contract_revision_rises_for_whatever_was_read(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *reader = contract_open(place);
    struct ab_coordination *writer = contract_open(place);
    char **names = NULL;
    size_t count = 0;
    uint64_t revision = 0;
    assert_ok(create(writer, "/value", ""));
    assert_ok(create(writer, "/list", ""));
    assert_ok(ab_coordination_revision(reader, &revision, NULL));
    assert_true(exists(reader, "/value"));
    assert_ok(set(writer, "/value", "new", 0));
    check_heard(reader, &revision);
    assert_true(exists(reader, "/value"));
    assert_ok(ab_coordination_delete(writer, "/value", 1, NULL));
    check_heard(reader, &revision);
    assert_false(exists(reader, "/value")); /* its absence is watched too */
    assert_ok(create(writer, "/value", ""));
    check_heard(reader, &revision);
    check_children(reader, "/list", "");
    assert_ok(create(writer, "/list/a", ""));
    check_heard(reader, &revision);
    check_children(reader, "/list", "a");
    assert_ok(ab_coordination_delete(writer, "/list/a", 0, NULL));
    check_heard(reader, &revision);
    assert_int_equal(ab_coordination_children(reader, "/none", &names, &count, NULL), AB_NOT_FOUND);
    assert_ok(create(writer, "/none", ""));
    check_heard(reader, &revision);
    ab_coordination_close(writer);
    ab_coordination_close(reader);
}

void contract_live_session_says_so(void **state)
{
    struct contract_place *place = *state;
    struct ab_coordination *session = contract_open(place);
    struct ab_coordination_session_state found = {.state = AB_COORDINATION_EXPIRED};
    int64_t before_us = ab_time_monotonic_us();
    assert_ok(create(session, "/a", ""));
    ab_coordination_session_state(session, &found);
    assert_int_equal(found.state, AB_COORDINATION_CONNECTED);
    assert_true(found.alive_us >= before_us);
    assert_true(found.alive_us <= ab_time_monotonic_us());
    assert_false(ab_coordination_must_step_down(&found, ab_time_monotonic_us()));
    ab_coordination_close(session);
}

struct counting {
    struct ab_coordination *session;
    const char *path;
    int rounds;
};

static void counter_run(void *context)
{
    struct counting *counting = context;
    for (int done = 0; done < counting->rounds;) {
        struct ab_coordination_stat stat = {0};
        assert_ok(ab_coordination_get(counting->session, counting->path, NULL, &stat, NULL));
        ab_err err = set(counting->session, counting->path, "x", stat.version);
        assert_true(err == AB_OK || err == AB_CONFLICT);
        done += err == AB_OK;
    }
}

void contract_threads_share_a_session(void **state)
{
    struct contract_place *place = *state;
    struct counting counting = {.session = contract_open(place), .path = "/n", .rounds = 50};
    assert_ok(create(counting.session, "/n", ""));
    struct ab_thread threads[3] = {0};
    for (int i = 0; i < 3; i++) {
        ab_thread_start(&threads[i], "counter", counter_run, &counting);
    }
    for (int i = 0; i < 3; i++) {
        ab_thread_join(&threads[i]);
    }
    check_value(counting.session, "/n", "x", 150);
    ab_coordination_close(counting.session);
}

void contract_one_of_two_sessions_wins_each_compare_and_set(void **state)
{
    enum { SESSIONS = 2, ROUNDS = 60 };
    struct contract_place *place = *state;
    struct counting counting[SESSIONS];
    struct ab_thread threads[SESSIONS] = {0};
    for (int i = 0; i < SESSIONS; i++) {
        counting[i] = (struct counting){.session = contract_open(place), .path = "/n", .rounds = ROUNDS};
    }
    assert_ok(create(counting[0].session, "/n", ""));
    for (int i = 0; i < SESSIONS; i++) {
        ab_thread_start(&threads[i], "counter", counter_run, &counting[i]);
    }
    for (int i = 0; i < SESSIONS; i++) {
        ab_thread_join(&threads[i]);
    }
    check_value(counting[0].session, "/n", "x", SESSIONS * ROUNDS); /* each version was made by one alone */
    for (int i = 0; i < SESSIONS; i++) {
        ab_coordination_close(counting[i].session);
    }
}
