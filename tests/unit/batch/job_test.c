/* Whole jobs under mpirun, against a controller and a speed that live in this test: 1, 2 and 4 ranks, incremental and
 * full, with all cuts or with history's spans, the same states; counts that differ are not published; a killed rank
 * publishes nothing, and the next attempt does. */
#include "tests/unit/batch/stage.h"

#include <signal.h>
#include <unistd.h>

/* What the job said of itself is the same with any number of ranks: all of them together. */
static void progress_check(const struct stage *stage)
{
    const struct fixture *fixture = &stage->fixture;
    uint64_t records = 0;
    uint64_t rows = 0;
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        records += fixture->end_offsets[fixture->spans_count - 1][p];
    }
    for (size_t s = 0; s < fixture->spans_count; s++) {
        rows += fixture->accepted[s];
    }
    assert_int_equal(stage->stages_count, STAGES);
    assert_int_equal(stage->totals[0], records);
    assert_int_equal(stage->totals[1], rows);
    assert_int_equal(stage->totals[3], FIXTURE_PARTITIONS * FIXTURE_VIEWS);
}

static void test_job_any_number_of_ranks_gives_the_same_states(void **state)
{
    struct stage *stage = *state;
    static const int ranks[] = {1, 2, 4};
    struct ab_hash128 contents[3][FIXTURE_VIEWS];
    stage->is_full = true;
    for (size_t i = 0; i < 3; i++) {
        char job[16];
        (void)snprintf(job, sizeof job, "full-%d", ranks[i]);
        assert_int_equal(stage_job_run(ranks[i], job), 0);
        assert_int_equal(stage->publishes, (int)i + 1);
        assert_int_equal(ab_json_u64_or(ab_json_get(stage->report, "drift"), 99), 0);
        assert_int_equal(
            ab_json_u64_or(ab_json_get(stage->report, "compared"), 0), FIXTURE_VIEWS * FIXTURE_PARTITIONS * 2);
        stage_contents(stage, stage->fixture.directory, contents[i]);
        progress_check(stage);
    }
    assert_memory_equal(contents[0], contents[1], sizeof contents[0]);
    assert_memory_equal(contents[0], contents[2], sizeof contents[0]);
}

static void test_job_incremental_equals_full(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 contents[2][FIXTURE_VIEWS];
    static const uint32_t sizes[] = {500, 20000, 300};
    for (size_t i = 0; i < 3; i++) {
        fixture_span_add(&stage->fixture, sizes[i]);
        stage->is_full = false;
        assert_int_equal(stage_job_run(1 + (int)i, "incremental"), 0);
        stage_contents(stage, stage->fixture.directory, contents[0]);
        stage->is_full = true;
        struct ab_json *before = stage_json_copy(stage->published);
        assert_int_equal(stage_job_run(2, "full"), 0);
        stage_contents(stage, stage->fixture.directory, contents[1]);
        assert_memory_equal(contents[0], contents[1], sizeof contents[0]);
        ab_json_destroy(stage->published);
        stage->published = before;
    }
    struct ab_json *by_city = ab_json_get(stage->published, "by_city");
    assert_true(ab_json_count(ab_json_get(by_city, "directories")) > 1);
}

/* What the cuts no longer say is said by the markers, to a full run and to an incremental one. */
static void test_job_spans_of_forgotten_cuts_come_from_history(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 contents[2][FIXTURE_VIEWS];
    fixture_span_add(&stage->fixture, 700);
    stage->is_full = true;
    assert_int_equal(stage_job_run(1, "all-cuts"), 0);
    stage_contents(stage, stage->fixture.directory, contents[0]);
    fixture_span_add(&stage->fixture, 900);
    stage->pruned_cut = stage->fixture.spans_count - 2;
    stage->is_full = false;
    assert_int_equal(stage_job_run(2, "pruned"), 0);
    stage_contents(stage, stage->fixture.directory, contents[0]);
    stage->is_full = true;
    for (int ranks = 1; ranks <= 2; ranks++) {
        assert_int_equal(stage_job_run(ranks, "pruned-full"), 0);
        stage_contents(stage, stage->fixture.directory, contents[1]);
        assert_memory_equal(contents[0], contents[1], sizeof contents[0]);
    }
    /* A span less is no view at all. */
    int before = stage->publishes;
    char *marker = scratch_path(stage->fixture.directory, "history/_sealed/partition-2/span-2.json");
    char *aside = scratch_path(stage->fixture.directory, "aside.json");
    assert_int_equal(rename(marker, aside), 0);
    assert_int_equal(stage_job_run(2, "lacking"), 1);
    assert_int_equal(stage->publishes, before);
    assert_int_equal(rename(aside, marker), 0);
    stage->pruned_cut = 0;
    ab_delete(aside);
    ab_delete(marker);
}

static void test_job_counts_that_differ_are_not_published(void **state)
{
    struct stage *stage = *state;
    int before = stage->publishes;
    stage->is_full = true;
    stage->is_lying = true;
    assert_int_equal(stage_job_run(2, "lied-to"), 1);
    stage->is_lying = false;
    assert_int_equal(stage->publishes, before);
}

static void test_job_drift_is_reported_and_published(void **state)
{
    struct stage *stage = *state;
    int before = stage->publishes;
    stage->is_full = true;
    stage->is_drifting = true;
    assert_int_equal(stage_job_run(2, "drifting"), 0);
    stage->is_drifting = false;
    assert_int_equal(stage->publishes, before + 1);
    assert_int_equal(
        ab_json_u64_or(ab_json_get(stage->report, "drift"), 0), FIXTURE_VIEWS * stage->fixture.spans_count);
    assert_true(ab_json_count(ab_json_get(stage->report, "evidence")) > 0);
}

/* Kills the whole job at many moments; whatever was half done, the next attempt ends with the same states and nothing
 * left over. */
static void test_job_killed_at_any_moment_publishes_nothing_and_is_done_again(void **state)
{
    struct stage *stage = *state;
    struct ab_hash128 contents[2][FIXTURE_VIEWS];
    stage->is_full = true;
    assert_int_equal(stage_job_run(1, "reference"), 0);
    stage_contents(stage, stage->fixture.directory, contents[0]);
    fixture_span_add(&stage->fixture, 40000);
    int before = stage->publishes;
    for (int i = 0; i < 8; i++) {
        /* Ranks outlive mpirun for a moment: attempts overlap here, and must not harm each other. */
        pid_t pid = stage_job_start(2, "killed", "64");
        ab_time_sleep_us(120000 + i * 60000);
        (void)kill(-pid, SIGKILL);
        int code = stage_job_wait(pid);
        assert_true(code == 0 || code == 128 + SIGKILL);
        assert_true(stage->publishes <= before + i + 1); /* one that outlives mpirun may publish a moment later */
    }
    assert_int_equal(stage_job_run(2, "killed"), 0);
    stage_contents(stage, stage->fixture.directory, contents[0]);
    assert_int_equal(stage_job_run(3, "again"), 0);
    stage_contents(stage, stage->fixture.directory, contents[1]);
    assert_memory_equal(contents[0], contents[1], sizeof contents[0]);
    char *work = scratch_path(stage->fixture.directory, "jobs/killed/work");
    assert_false(ab_file_exists(work));
    ab_delete(work);
}

static void test_job_wrong_usage_is_exit_code_2(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        (void)setenv("ANABRANCH_BIN", AB_TEST_BIN, 1);
        (void)unsetenv("ANABRANCH_DATA");
        (void)freopen("/dev/null", "w", stderr);
        (void)execl(AB_TEST_RUN, AB_TEST_RUN, "-n", "2", "--", "--wrong", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(stage_job_wait(pid), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_any_number_of_ranks_gives_the_same_states),
        cmocka_unit_test(test_job_incremental_equals_full),
        cmocka_unit_test(test_job_spans_of_forgotten_cuts_come_from_history),
        cmocka_unit_test(test_job_counts_that_differ_are_not_published),
        cmocka_unit_test(test_job_drift_is_reported_and_published),
        cmocka_unit_test(test_job_killed_at_any_moment_publishes_nothing_and_is_done_again),
        cmocka_unit_test(test_job_wrong_usage_is_exit_code_2),
    };
    return cmocka_run_group_tests(tests, stage_setup, stage_teardown);
}
