#include "common/coordination/coordination.h"

#include "common/base/thread.h"
#include "common/base/time.h"
#include "tests/support/test.h"

#include <sys/stat.h>

/* ---- helpers ---- */

static struct ab_coordination *session_open(const char *directory)
{
    char *address = ab_new_format("local:%s", directory);
    struct ab_coordination *session = NULL;
    struct ab_error error = {0};
    if (ab_coordination_open(address, &session, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    ab_delete(address);
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

static void test_nodes_are_created_set_and_deleted(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
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
    scratch_remove(directory);
}

static void test_nodes_survive_their_session(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    assert_ok(create(session, "/kept", "value"));
    assert_ok(set(session, "/kept", "newer", 0));
    ab_coordination_close(session);
    session = session_open(directory);
    check_value(session, "/kept", "newer", 1);
    ab_coordination_close(session);
    scratch_remove(directory);
}

static void test_created_revision_tells_a_node_from_its_predecessor(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
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
    scratch_remove(directory);
}

static void test_children_are_the_names_directly_below(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
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
    scratch_remove(directory);
}

static void test_bad_paths_and_values_are_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {"", "a", "/a/", "//a", "/a//b", "/.", "/a/..", "/a\nb", "/\xff", "/a/b\x7f"};
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_int_equal(create(session, paths[i], ""), AB_USAGE);
        assert_int_equal(ab_coordination_get(session, paths[i], NULL, NULL, NULL), AB_USAGE);
    }
    assert_int_equal(create(session, "/", ""), AB_USAGE);
    assert_int_equal(ab_coordination_delete(session, "/", 0, NULL), AB_USAGE);
    char long_path[AB_COORDINATION_PATH_BYTES_MAX + 2] = {0};
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[0] = '/';
    assert_int_equal(create(session, long_path, ""), AB_USAGE);
    long_path[AB_COORDINATION_PATH_BYTES_MAX] = '\0';
    assert_ok(create(session, long_path, ""));
    uint8_t *large = ab_new_bytes(AB_COORDINATION_VALUE_BYTES_MAX + 1);
    struct ab_bytes value = ab_bytes_of(large, AB_COORDINATION_VALUE_BYTES_MAX + 1);
    assert_int_equal(ab_coordination_create(session, "/large", value, false, NULL), AB_TOO_LARGE);
    value.bytes--;
    assert_ok(ab_coordination_create(session, "/large", value, false, NULL));
    ab_delete(large);
    struct ab_error error = {0};
    struct ab_coordination *none = NULL;
    assert_int_equal(ab_coordination_open("telepathy:/x", &none, &error), AB_USAGE);
    assert_int_equal(ab_coordination_open("local", &none, &error), AB_USAGE);
    ab_coordination_close(NULL);
    ab_coordination_close(session);
    scratch_remove(directory);
}

/* ---- multi ---- */

static void test_multi_does_all_or_nothing(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
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
    assert_int_equal(after, before + 1);
    assert_ok(ab_coordination_multi(session, NULL, 0, NULL, NULL));
    assert_int_equal(ab_coordination_multi(session, ops, AB_COORDINATION_OPS_MAX + 1, &failed, NULL), AB_TOO_LARGE);
    ab_coordination_close(session);
    scratch_remove(directory);
}

static void test_checks_alone_change_nothing(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    struct ab_coordination_op check = {.kind = AB_COORDINATION_CHECK, .path = "/"};
    uint64_t revision = 9;
    assert_ok(ab_coordination_multi(session, &check, 1, NULL, NULL));
    check.path = "/a";
    assert_int_equal(ab_coordination_multi(session, &check, 1, NULL, NULL), AB_NOT_FOUND);
    assert_ok(ab_coordination_revision(session, &revision, NULL));
    assert_int_equal(revision, 0);
    ab_coordination_close(session);
    scratch_remove(directory);
}

static void test_multi_larger_than_the_tree_is_refused(void **state)
{
    (void)state;
    enum { OPS = 18 };
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    uint8_t *large = ab_new_bytes(AB_COORDINATION_VALUE_BYTES_MAX);
    struct ab_coordination_op ops[OPS];
    for (int i = 0; i < OPS; i++) {
        ops[i] = (struct ab_coordination_op){.kind = AB_COORDINATION_SET,
            .path = "/a",
            .value = ab_bytes_of(large, AB_COORDINATION_VALUE_BYTES_MAX),
            .version = AB_COORDINATION_ANY_VERSION};
    }
    size_t failed = 0;
    assert_ok(create(session, "/a", "small"));
    assert_int_equal(ab_coordination_multi(session, ops, OPS, &failed, NULL), AB_TOO_LARGE);
    assert_true(failed > 0);
    check_value(session, "/a", "small", 0);
    assert_ok(ab_coordination_multi(session, ops, 2, &failed, NULL));
    ab_coordination_close(session);
    ab_delete(large);
    scratch_remove(directory);
}

/* ---- sessions ---- */

static void test_sessions_see_each_other_at_once(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *first = session_open(directory);
    struct ab_coordination *second = session_open(directory);
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
    scratch_remove(directory);
}

static void test_ephemeral_nodes_go_with_their_session(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *first = session_open(directory);
    struct ab_coordination *second = session_open(directory);
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
    scratch_remove(directory);
}

struct waiter {
    const char *directory;
    uint64_t since;
    uint64_t found;
};

static void waiter_run(void *context)
{
    struct waiter *waiter = context;
    struct ab_coordination *session = session_open(waiter->directory);
    assert_ok(ab_coordination_wait(
        session, waiter->since, ab_time_monotonic_us() + 10 * AB_US_PER_SECOND, &waiter->found, NULL));
    ab_coordination_close(session);
}

static void test_wait_ends_with_a_change_or_in_time(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    assert_ok(create(session, "/a", ""));
    struct waiter waiter = {.directory = directory};
    assert_ok(ab_coordination_revision(session, &waiter.since, NULL));
    uint64_t revision = 77;
    int64_t start = ab_time_monotonic_us();
    assert_int_equal(ab_coordination_wait(session, waiter.since, start + 30000, &revision, NULL), AB_TIMEOUT);
    assert_true(ab_time_monotonic_us() >= start + 30000);
    assert_int_equal(revision, 77);
    struct ab_thread thread = {0};
    ab_thread_start(&thread, "waiter", waiter_run, &waiter);
    ab_time_sleep_us(30000);
    assert_ok(set(session, "/a", "changed", 0));
    ab_thread_join(&thread);
    assert_true(waiter.found > waiter.since);
    assert_ok(ab_coordination_wait(session, waiter.since, 0, &revision, NULL));
    ab_coordination_close(session);
    scratch_remove(directory);
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

static void test_threads_share_a_session(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct counting counting = {.session = session_open(directory), .path = "/n", .rounds = 50};
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
    scratch_remove(directory);
}

/* ---- the file ---- */

static void test_journal_is_compacted_under_the_eyes_of_others(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *journal = scratch_path(directory, "journal");
    struct ab_coordination *writer = session_open(directory);
    struct ab_coordination *other = session_open(directory);
    uint8_t *value = ab_new_bytes(100000);
    assert_ok(create(writer, "/small", "kept"));
    assert_ok(create(writer, "/large", ""));
    for (uint64_t version = 0; version < 40; version++) {
        value[0] = (uint8_t)version;
        assert_ok(ab_coordination_set(writer, "/large", ab_bytes_of(value, 100000), version, NULL));
        if (version % 7 == 0) {
            check_value(other, "/small", "kept", version == 0 ? 0 : (version / 7) * 1);
            assert_ok(set(other, "/small", "kept", AB_COORDINATION_ANY_VERSION));
        }
    }
    struct stat status;
    assert_int_equal(stat(journal, &status), 0);
    assert_true(status.st_size < 1500000);
    struct ab_coordination_stat found = {0};
    assert_ok(ab_coordination_get(other, "/large", NULL, &found, NULL));
    assert_int_equal(found.version, 40);
    ab_coordination_close(writer);
    ab_coordination_close(other);
    writer = session_open(directory);
    check_value(writer, "/small", "kept", 6);
    ab_coordination_close(writer);
    ab_delete(value);
    ab_delete(journal);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_are_created_set_and_deleted),
        cmocka_unit_test(test_nodes_survive_their_session),
        cmocka_unit_test(test_created_revision_tells_a_node_from_its_predecessor),
        cmocka_unit_test(test_children_are_the_names_directly_below),
        cmocka_unit_test(test_bad_paths_and_values_are_refused),
        cmocka_unit_test(test_multi_does_all_or_nothing),
        cmocka_unit_test(test_multi_larger_than_the_tree_is_refused),
        cmocka_unit_test(test_checks_alone_change_nothing),
        cmocka_unit_test(test_sessions_see_each_other_at_once),
        cmocka_unit_test(test_ephemeral_nodes_go_with_their_session),
        cmocka_unit_test(test_wait_ends_with_a_change_or_in_time),
        cmocka_unit_test(test_threads_share_a_session),
        cmocka_unit_test(test_journal_is_compacted_under_the_eyes_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
