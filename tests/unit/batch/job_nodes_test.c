/* Jobs over three nodes, each with a directory of its own on this machine: the same states as in one directory, on
 * every node; a node that was away is brought up to date; a broken replica is passed over; a job that is killed at any
 * moment, also while it copies, goes on where it stood. */
#include "tests/unit/batch/stage.h"

#include "batch/sealed.h"
#include "common/base/hash.h"
#include "common/base/time.h"
#include "common/history/layout.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define ALL 7u

static int setup(void **state)
{
    assert_int_equal(stage_setup(state), 0);
    stage_nodes_make(*state);
    return 0;
}

/* Zero when there is none. */
static struct ab_hash128 file_hash(const char *directory, const char *relative)
{
    struct ab_hash128 hash = {0};
    uint64_t bytes = 0;
    char *path = scratch_path(directory, relative);
    if (ab_file_exists(path)) {
        struct ab_error error = {0};
        assert_ok(ab_file_hash(path, &hash, &bytes, &error));
    }
    ab_delete(path);
    return hash;
}

/* History is the same on these nodes, byte for byte. */
static void assert_history_equal(const struct stage *stage, uint32_t nodes)
{
    for (size_t s = 1; s <= stage->fixture.spans_count; s++) {
        for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
            char *paths[] = {ab_history_marker_path("", p, s), ab_history_rows_path("", "payments", p, s),
                ab_history_dead_letters_path("", "payments", p, s)};
            for (size_t i = 0; i < 3; i++) {
                struct ab_hash128 first = file_hash(stage->directories[0], paths[i]);
                if (i == 0 && first.low == 0) {
                    fail_msg("%s is missing", paths[i]);
                }
                for (uint32_t n = 1; n < STAGE_NODES; n++) {
                    assert_true(
                        (nodes >> n & 1) == 0 || ab_hash128_equal(first, file_hash(stage->directories[n], paths[i])));
                }
                ab_delete(paths[i]);
            }
        }
    }
}

/* Every one of these nodes can serve what was published, and it is this. */
static void assert_served(const struct stage *stage, uint32_t nodes, const struct ab_hash128 expected[FIXTURE_VIEWS])
{
    for (uint32_t n = 0; n < STAGE_NODES; n++) {
        struct ab_hash128 contents[FIXTURE_VIEWS];
        if ((nodes >> n & 1) != 0) {
            stage_contents(stage, stage->directories[n], contents);
            assert_memory_equal(contents, expected, sizeof contents);
        }
    }
}

/* What a job in one directory makes of the same logs, from history and logs alone. */
static void reference_take(struct stage *stage, struct ab_hash128 contents[FIXTURE_VIEWS])
{
    struct ab_json *before = stage_json_copy(stage->published);
    stage->is_of_several = false;
    stage->is_full = true;
    assert_int_equal(stage_job_run(2, "reference"), 0);
    stage_contents(stage, stage->directories[0], contents);
    stage->is_of_several = true;
    stage->is_full = false;
    ab_json_destroy(stage->published);
    stage->published = before;
}

static bool has_leftovers(const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    bool has = strstr(folder, ".arriving-") != NULL;
    struct ab_error error = {0};
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return has;
    }
    (void)close(fd);
    assert_ok(ab_file_list(folder, &names, &count, &error));
    for (size_t i = 0; i < count && !has; i++) {
        char *path = scratch_path(folder, names[i]);
        has = has_leftovers(path);
        ab_delete(path);
    }
    ab_file_names_free(names, count);
    return has;
}

static void assert_no_leftovers(const struct stage *stage)
{
    for (uint32_t n = 0; n < STAGE_NODES; n++) {
        char *history = scratch_path(stage->directories[n], "history");
        char *versions = scratch_path(stage->directories[n], "versions");
        assert_false(has_leftovers(history));
        assert_false(has_leftovers(versions));
        ab_delete(versions);
        ab_delete(history);
    }
}

/* Directories of view `total` on a node. */
static size_t versions_count(const struct stage *stage, uint32_t node)
{
    char **names = NULL;
    size_t count = 0;
    struct ab_error error = {0};
    char *folder = scratch_path(stage->directories[node - 1], "versions/total-1");
    assert_ok(ab_file_list(folder, &names, &count, &error));
    ab_file_names_free(names, count);
    ab_delete(folder);
    return count;
}

static void test_job_nodes_have_the_same_states_as_one_directory(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 expected[FIXTURE_VIEWS];
    reference_take(stage, expected);
    static const int ranks[] = {3, 4, 6};
    for (size_t i = 0; i < 3; i++) {
        stage->is_full = i > 0;
        assert_int_equal(stage_job_run(ranks[i], "nodes"), 0);
        assert_int_equal(stage->holders, ALL);
        assert_int_equal(ab_json_u64_or(ab_json_get(stage->report, "drift"), 99), 0);
        assert_served(stage, ALL, expected);
        assert_history_equal(stage, ALL);
        assert_no_leftovers(stage);
        assert_int_equal(versions_count(stage, 3), i == 0 ? 1 : 2); /* what stands now, and what stood before */
    }
}

static void test_job_nodes_incremental_equals_full(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 expected[FIXTURE_VIEWS];
    stage->is_full = false;
    for (uint32_t i = 0; i < 2; i++) {
        fixture_span_add(&stage->fixture, 900);
        stage_logs_copy(stage);
        assert_int_equal(stage_job_run(3, "more"), 0);
        reference_take(stage, expected);
        assert_served(stage, ALL, expected);
    }
}

/* Node 3 misses two jobs, of which the second one finds it alive: it gets the history and the versions of both. */
static void test_job_nodes_that_were_away_are_brought_up_to_date(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 expected[FIXTURE_VIEWS];
    fixture_span_add(&stage->fixture, 2500);
    stage_logs_copy(stage);
    stage->is_down[2] = true;
    assert_int_equal(stage_job_run(2, "without"), 0);
    assert_int_equal(stage->holders, 3);
    reference_take(stage, expected);
    assert_served(stage, 3, expected);
    fixture_span_add(&stage->fixture, 600);
    stage_logs_copy(stage);
    stage->is_down[2] = false;
    stage->pruned_cut = stage->fixture.spans_count - 1; /* only history knows what it missed */
    assert_int_equal(stage_job_run(3, "with"), 0);
    stage->pruned_cut = 0;
    assert_int_equal(stage->holders, ALL);
    reference_take(stage, expected);
    assert_served(stage, ALL, expected);
    assert_history_equal(stage, ALL);
}

/* The node whose controller acts may be the one that lacks history. */
static void test_job_nodes_the_acting_one_may_lack_history(void **state)
{
    struct stage *stage = *state;
    struct ab_error error = {0};
    struct ab_hash128 expected[FIXTURE_VIEWS];
    static const char *const folders[] = {"history", "versions"};
    for (size_t i = 0; i < 2; i++) {
        char *path = scratch_path(stage->directories[0], folders[i]);
        assert_ok(ab_file_remove_tree(path, &error));
        ab_delete(path);
    }
    fixture_span_add(&stage->fixture, 600);
    stage_logs_copy(stage);
    stage->pruned_cut = stage->fixture.spans_count - 1;
    assert_int_equal(stage_job_run(3, "emptied"), 0);
    stage->is_full = true;
    assert_int_equal(stage_job_run(3, "emptied-full"), 0);
    stage->pruned_cut = 0;
    assert_int_equal(stage->holders, ALL);
    reference_take(stage, expected);
    assert_served(stage, ALL, expected);
    assert_history_equal(stage, ALL);
}

/* Overwrites bytes in every file of a partition's log. */
static void log_break(const char *directory, uint32_t partition)
{
    char **names = NULL;
    size_t count = 0;
    struct ab_error error = {0};
    char *folder = ab_new_format("%s/partition-%u/log", directory, partition);
    assert_ok(ab_file_list(folder, &names, &count, &error));
    for (size_t i = 0; i < count; i++) {
        static const uint8_t junk[64] = {0xff};
        char *path = scratch_path(folder, names[i]);
        uint64_t bytes = 0;
        int fd = -1;
        assert_ok(ab_file_open(path, O_RDWR, 0, &fd, &error));
        assert_ok(ab_file_bytes(fd, &bytes));
        for (uint64_t at = bytes / 2; at + sizeof junk < bytes; at += 4096) {
            assert_ok(ab_file_write_at(fd, ab_bytes_of(junk, sizeof junk), at));
        }
        ab_file_close(&fd);
        ab_delete(path);
    }
    ab_file_names_free(names, count);
    ab_delete(folder);
}

/* H50: what one replica has lost is read from another one; when all have, nothing is published. */
static void test_job_nodes_broken_replicas_are_passed_over(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 expected[FIXTURE_VIEWS];
    stage->is_full = false;
    fixture_span_add(&stage->fixture, 3000);
    stage_logs_copy(stage);
    log_break(stage->directories[1], 1); /* its leader, and its leader and the next one */
    log_break(stage->directories[2], 2);
    log_break(stage->directories[1], 4);
    log_break(stage->directories[2], 4);
    assert_int_equal(stage_job_run(3, "broken"), 0);
    assert_int_equal(stage->holders, ALL);
    assert_int_equal(ab_json_u64_or(ab_json_get(stage->report, "drift"), 99), 0);
    reference_take(stage, expected);
    assert_served(stage, ALL, expected);
    assert_history_equal(stage, ALL);
    fixture_span_add(&stage->fixture, 3000);
    stage_logs_copy(stage);
    int before = stage->publishes;
    char *log = scratch_path(stage->directories[0], "partition-1");
    char *aside = scratch_path(stage->directories[0], "aside");
    assert_int_equal(rename(log, aside), 0);
    log_break(stage->directories[1], 1);
    log_break(stage->directories[2], 1);
    assert_int_equal(stage_job_run(3, "all-broken"), 1);
    assert_int_equal(stage->publishes, before);
    assert_int_equal(rename(aside, log), 0);
    ab_delete(aside);
    ab_delete(log);
    stage_logs_copy(stage);
    assert_int_equal(stage_job_run(3, "all-broken"), 0);
}

/* A span that was sealed from something else somewhere is replaced there. */
static void test_job_nodes_other_markers_are_replaced(void **state)
{
    struct stage *stage = *state;
    struct ab_error error = {0};
    struct ab_sealed_span sealed = {0};
    fixture_span_add(&stage->fixture, 500);
    stage_logs_copy(stage);
    assert_int_equal(stage_job_run(3, "right"), 0);
    assert_ok(ab_sealed_span_load(stage->directories[2], 0, stage->fixture.spans_count, &sealed, &error));
    sealed.time_us++;
    assert_ok(ab_sealed_span_store(stage->directories[2], &sealed, &error));
    ab_sealed_span_fini(&sealed);
    stage->is_full = true; /* so that the span is looked at once more */
    assert_int_equal(stage_job_run(3, "again"), 0);
    stage->is_full = false;
    assert_int_equal(stage->holders, ALL);
    assert_history_equal(stage, ALL);
}

static void test_job_nodes_foreign_directories_are_not_written(void **state)
{
    struct stage *stage = *state;
    int before = stage->publishes;
    char *right = stage->directories[2];
    stage->directories[2] = stage->directories[1]; /* node 3 is said to be where node 2 is */
    assert_int_equal(stage_job_run(3, "foreign"), 1);
    stage->directories[2] = right;
    assert_int_equal(stage->publishes, before);
}

/* Kills the whole job at many moments of its life, also while it copies. */
static void test_job_nodes_killed_at_any_moment_go_on(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 expected[FIXTURE_VIEWS];
    fixture_span_add(&stage->fixture, 40000);
    stage_logs_copy(stage);
    int64_t began_us = ab_time_monotonic_us();
    assert_int_equal(stage_job_run(3, "whole"), 0);
    int64_t whole_us = ab_time_monotonic_us() - began_us;
    fixture_span_add(&stage->fixture, 40000);
    stage_logs_copy(stage);
    int before = stage->publishes;
    for (int i = 0; i < 10; i++) {
        pid_t pid = stage_job_start(3, "killed", "64");
        ab_time_sleep_us(whole_us / 4 + whole_us * i / 12);
        (void)kill(-pid, SIGKILL);
        int code = stage_job_wait(pid);
        assert_true(code == 0 || code == 128 + SIGKILL);
        assert_true(stage->publishes <= before + i + 1); /* a rank that outlives its job may publish a moment later */
    }
    ab_time_sleep_us(500 * AB_US_PER_MS); /* ranks outlive mpirun for a moment */
    stage->is_full = true;
    assert_int_equal(stage_job_run(3, "killed-at-last"), 0);
    stage->is_full = false;
    assert_int_equal(stage->holders, ALL);
    assert_no_leftovers(stage);
    reference_take(stage, expected);
    assert_served(stage, ALL, expected);
    assert_history_equal(stage, ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_nodes_have_the_same_states_as_one_directory),
        cmocka_unit_test(test_job_nodes_incremental_equals_full),
        cmocka_unit_test(test_job_nodes_that_were_away_are_brought_up_to_date),
        cmocka_unit_test(test_job_nodes_the_acting_one_may_lack_history),
        cmocka_unit_test(test_job_nodes_broken_replicas_are_passed_over),
        cmocka_unit_test(test_job_nodes_other_markers_are_replaced),
        cmocka_unit_test(test_job_nodes_foreign_directories_are_not_written),
        cmocka_unit_test(test_job_nodes_killed_at_any_moment_go_on),
    };
    return cmocka_run_group_tests(tests, setup, stage_teardown);
}
