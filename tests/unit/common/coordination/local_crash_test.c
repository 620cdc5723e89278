/* The local tree when processes are killed, bytes are wrong and calls fail. */
#include "common/base/random.h"
#include "common/base/time.h"
#include "common/coordination/coordination.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 4, KILLS = 40 };

/* ---- helpers ---- */

static ab_err session_try(const char *directory, struct ab_coordination **session, struct ab_error *error)
{
    char *address = ab_new_format("local:%s", directory);
    ab_err err = ab_coordination_open(address, session, error);
    ab_delete(address);
    return err;
}

static struct ab_coordination *session_open(const char *directory)
{
    struct ab_coordination *session = NULL;
    struct ab_error error = {0};
    if (session_try(directory, &session, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return session;
}

/* The number in a node, and its version. */
static ab_err number_get(struct ab_coordination *session, const char *path, uint64_t *number, uint64_t *version)
{
    struct ab_buffer value = {0};
    struct ab_coordination_stat stat = {0};
    ab_err err = ab_coordination_get(session, path, &value, &stat, NULL);
    if (err == AB_OK) {
        struct ab_reader reader = ab_reader_of(ab_buffer_view(&value));
        *number = ab_reader_u64(&reader);
        *version = stat.version;
        err = ab_reader_finish(&reader);
    }
    ab_buffer_fini(&value);
    return err;
}

static void number_put(struct ab_buffer *buffer, uint64_t number)
{
    ab_buffer_clear(buffer);
    ab_buffer_put_u64(buffer, number);
}

/* ---- killed processes ---- */

/* Moves one unit from /left to /right by compare-and-set of both, for ever; tells the pipe of every one acknowledged.
 */
static void child_transfer(const char *directory, int pipe_fd)
{
    struct ab_coordination *session = session_open(directory);
    struct ab_buffer left_value = {0};
    struct ab_buffer right_value = {0};
    char *own = ab_new_format("/alive/%ld", (long)getpid());
    if (ab_coordination_create(session, own, bytes_of(""), true, NULL) != AB_OK) {
        _exit(2);
    }
    for (;;) {
        struct ab_coordination_op ops[2] = {
            {.kind = AB_COORDINATION_SET, .path = "/left"}, {.kind = AB_COORDINATION_SET, .path = "/right"}};
        uint64_t left = 0;
        uint64_t right = 0;
        if (number_get(session, "/left", &left, &ops[0].version) != AB_OK ||
            number_get(session, "/right", &right, &ops[1].version) != AB_OK) {
            _exit(3);
        }
        number_put(&left_value, left - 1);
        number_put(&right_value, right + 1);
        ops[0].value = ab_buffer_view(&left_value);
        ops[1].value = ab_buffer_view(&right_value);
        ab_err err = ab_coordination_multi(session, ops, 2, NULL, NULL);
        if (err != AB_OK && err != AB_CONFLICT) {
            _exit(4);
        }
        if (err == AB_OK && write(pipe_fd, "x", 1) != 1) {
            _exit(5);
        }
    }
}

struct children {
    const char *directory;
    int pipe_ends[2];
    pid_t pids[CHILDREN];
};

static void child_start(struct children *children, int index)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(children->pipe_ends[0]);
        child_transfer(children->directory, children->pipe_ends[1]);
    }
    children->pids[index] = child;
}

static void child_kill(struct children *children, int index)
{
    int status = 0;
    assert_int_equal(kill(children->pids[index], SIGKILL), 0);
    assert_int_equal(waitpid(children->pids[index], &status, 0), children->pids[index]);
    assert_true(WIFSIGNALED(status));
}

/* How many acknowledgements lie in the pipe. */
static uint64_t acknowledged_take(const struct children *children)
{
    char bytes[4096];
    uint64_t count = 0;
    ssize_t got;
    while ((got = read(children->pipe_ends[0], bytes, sizeof(bytes))) > 0) {
        count += (uint64_t)got;
    }
    return count;
}

static void test_killed_processes_lose_and_half_do_nothing(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    struct ab_buffer value = {0};
    number_put(&value, 0);
    assert_ok(ab_coordination_create(session, "/left", ab_buffer_view(&value), false, NULL));
    assert_ok(ab_coordination_create(session, "/right", ab_buffer_view(&value), false, NULL));
    assert_ok(ab_coordination_ensure(session, "/alive", NULL));
    ab_coordination_close(session);
    struct children children = {.directory = directory};
    assert_int_equal(pipe2(children.pipe_ends, O_NONBLOCK), 0);
    assert_true(fcntl(children.pipe_ends[0], F_SETPIPE_SZ, 1 << 20) > 0);
    struct ab_random random;
    ab_random_init(&random, 41);
    for (int i = 0; i < CHILDREN; i++) {
        child_start(&children, i);
    }
    uint64_t acknowledged = 0;
    for (int kills = 0; kills < KILLS; kills++) {
        int victim = (int)ab_random_below(&random, CHILDREN);
        ab_time_sleep_us(5000 + (int64_t)ab_random_below(&random, 40000));
        child_kill(&children, victim);
        child_start(&children, victim);
        acknowledged += acknowledged_take(&children);
    }
    for (int i = 0; i < CHILDREN; i++) {
        child_kill(&children, i);
    }
    acknowledged += acknowledged_take(&children);
    session = session_open(directory);
    uint64_t left = 0;
    uint64_t right = 0;
    uint64_t version = 0;
    assert_ok(number_get(session, "/left", &left, &version));
    assert_ok(number_get(session, "/right", &right, &version));
    assert_int_equal(left + right, 0);
    assert_int_equal(version, right);
    /* A child killed between its commit and its word to the pipe did more than it acknowledged, by one. */
    assert_true(right >= acknowledged && right <= acknowledged + KILLS + CHILDREN);
    assert_true(acknowledged > 100);
    char **names = NULL;
    size_t count = 0;
    assert_ok(ab_coordination_children(session, "/alive", &names, &count, NULL));
    assert_int_equal(count, 0);
    ab_coordination_names_free(names, count);
    char *sessions = scratch_path(directory, "sessions");
    assert_ok(ab_file_list(sessions, &names, &count, NULL));
    assert_int_equal(count, 1);
    ab_file_names_free(names, count);
    ab_delete(sessions);
    ab_coordination_close(session);
    close(children.pipe_ends[0]);
    close(children.pipe_ends[1]);
    ab_buffer_fini(&value);
    scratch_remove(directory);
}

static void test_ephemeral_nodes_of_a_killed_process_go(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_coordination *session = session_open(directory);
    assert_ok(ab_coordination_ensure(session, "/alive", NULL));
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct ab_coordination *own = session_open(directory);
        ab_err err = ab_coordination_create(own, "/alive/child", bytes_of(""), true, NULL);
        (void)!write(ends[1], &err, sizeof(err));
        pause();
        _exit(0);
    }
    ab_err err = AB_IO;
    assert_int_equal(read(ends[0], &err, sizeof(err)), sizeof(err));
    assert_ok(err);
    ab_time_sleep_us(150000);
    assert_ok(ab_coordination_get(session, "/alive/child", NULL, NULL, NULL));
    uint64_t revision = 0;
    assert_ok(ab_coordination_revision(session, &revision, NULL));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_ok(ab_coordination_wait(session, revision, ab_time_monotonic_us() + 5 * AB_US_PER_SECOND, &revision, NULL));
    assert_int_equal(ab_coordination_get(session, "/alive/child", NULL, NULL, NULL), AB_NOT_FOUND);
    close(ends[0]);
    close(ends[1]);
    ab_coordination_close(session);
    scratch_remove(directory);
}

/* ---- bytes ---- */

/* Three nodes in three records; gives back the file and where its last record begins. */
static size_t journal_sample(const char *directory, const char *path, struct ab_buffer *content)
{
    struct ab_coordination *session = session_open(directory);
    assert_ok(ab_coordination_create(session, "/a", bytes_of("first"), false, NULL));
    assert_ok(ab_coordination_create(session, "/b", bytes_of("second"), false, NULL));
    assert_ok(ab_file_read_all(path, content, NULL));
    size_t last_at = content->bytes;
    assert_ok(ab_coordination_create(session, "/c", bytes_of("third"), false, NULL));
    ab_coordination_close(session);
    ab_buffer_clear(content);
    assert_ok(ab_file_read_all(path, content, NULL));
    return last_at;
}

static void test_torn_end_is_cut_off_at_every_byte(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *path = scratch_path(directory, "journal");
    struct ab_buffer content = {0};
    size_t last_at = journal_sample(directory, path, &content);
    for (size_t bytes = last_at; bytes < content.bytes; bytes++) {
        scratch_write(path, ab_bytes_of(content.data, bytes), 0600);
        struct ab_coordination *session = session_open(directory);
        assert_ok(ab_coordination_get(session, "/b", NULL, NULL, NULL));
        assert_int_equal(ab_coordination_get(session, "/c", NULL, NULL, NULL), AB_NOT_FOUND);
        assert_ok(ab_coordination_create(session, "/d", bytes_of("a longer value than the third one"), false, NULL));
        ab_coordination_close(session);
        session = session_open(directory);
        assert_ok(ab_coordination_get(session, "/d", NULL, NULL, NULL));
        ab_coordination_close(session);
    }
    ab_buffer_fini(&content);
    ab_delete(path);
    scratch_remove(directory);
}

static void test_any_byte_changed_before_the_last_record_is_corrupt(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *path = scratch_path(directory, "journal");
    struct ab_buffer content = {0};
    size_t last_at = journal_sample(directory, path, &content);
    for (size_t at = 0; at < last_at; at++) {
        content.data[at] ^= 0x10;
        scratch_write(path, ab_buffer_view(&content), 0600);
        struct ab_coordination *session = NULL;
        struct ab_error error = {0};
        assert_int_equal(session_try(directory, &session, &error), AB_CORRUPT);
        assert_non_null(strstr(error.text, "journal"));
        struct ab_buffer after = {0};
        assert_ok(ab_file_read_all(path, &after, NULL));
        assert_true(ab_bytes_equal(ab_buffer_view(&after), ab_buffer_view(&content)));
        ab_buffer_fini(&after);
        content.data[at] ^= 0x10;
    }
    ab_buffer_fini(&content);
    ab_delete(path);
    scratch_remove(directory);
}

/* ---- failing calls ---- */

/* Opens, creates and sets with the n-th file call failing. Whatever was acknowledged must be there afterwards. */
static bool calls_with_fault(int countdown, ab_err code)
{
    char *directory = scratch_make();
    struct ab_coordination *session = NULL;
    bool is_created = false;
    uint64_t sets = 0;
    bool is_unknown = false;
    ab_file_fault_set(countdown, 1, code);
    ab_err err = session_try(directory, &session, NULL);
    if (err == AB_OK) {
        err = ab_coordination_create(session, "/a", bytes_of("x"), false, NULL);
        is_created = err == AB_OK;
        is_unknown = err != AB_OK && err != AB_NO_SPACE;
        while (is_created && sets < 5 && err == AB_OK) {
            err = ab_coordination_set(session, "/a", bytes_of("y"), sets, NULL);
            sets += err == AB_OK;
        }
        is_unknown = is_unknown || (err != AB_OK && err != AB_NO_SPACE);
    }
    bool was_hit = ab_file_fault_was_hit();
    ab_file_fault_clear();
    if (session != NULL) {
        ab_coordination_close(session);
    }
    session = session_open(directory);
    struct ab_coordination_stat stat = {0};
    err = ab_coordination_get(session, "/a", NULL, &stat, NULL);
    assert_true(err == AB_OK || (err == AB_NOT_FOUND && !is_created));
    assert_true(stat.version == sets || (is_unknown && stat.version == sets + 1));
    ab_coordination_close(session);
    scratch_remove(directory);
    return was_hit;
}

static void test_tree_survives_the_nth_call_failing(void **state)
{
    (void)state;
    static const ab_err codes[] = {AB_IO, AB_NO_SPACE};
    for (size_t i = 0; i < 2; i++) {
        for (int countdown = 0; calls_with_fault(countdown, codes[i]); countdown++) {
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_processes_lose_and_half_do_nothing),
        cmocka_unit_test(test_ephemeral_nodes_of_a_killed_process_go),
        cmocka_unit_test(test_torn_end_is_cut_off_at_every_byte),
        cmocka_unit_test(test_any_byte_changed_before_the_last_record_is_corrupt),
        cmocka_unit_test(test_tree_survives_the_nth_call_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
