#include "cluster/jobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct ab_job_request plain = {.request_id = "", .ranks_count = 2};
static const struct ab_process somebody = {.pid = 4711, .start_ticks = 1};

static struct ab_job *submit(struct ab_jobs *jobs, const char *request_id, ab_time_us now)
{
    struct ab_job *job = NULL;
    bool is_new = false;
    const struct ab_job_request request = {.request_id = request_id, .ranks_count = 1};
    assert_int_equal(ab_jobs_submit(jobs, &request, now, &job, &is_new, NULL), AB_OK);
    return job;
}

static void test_job_submission_is_idempotent_by_request_id(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    struct ab_job *first = submit(&jobs, "a", 1);
    assert_ptr_equal(submit(&jobs, "a", 2), first);
    assert_ptr_not_equal(submit(&jobs, "b", 3), first);
    assert_ptr_not_equal(submit(&jobs, "", 4), submit(&jobs, "", 5));
    assert_int_equal(jobs.count, 4);
    assert_string_equal(first->id, "job-1");
    ab_jobs_fini(&jobs);
}

static void test_job_bad_requests_are_refused(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    struct ab_job *job = NULL;
    bool is_new = false;
    struct ab_error error = {0};
    struct ab_job_request request = {.request_id = "", .ranks_count = 0};
    assert_int_equal(ab_jobs_submit(&jobs, &request, 1, &job, &is_new, &error), AB_USAGE);
    request.ranks_count = AB_JOB_RANKS_MAX + 1;
    assert_int_equal(ab_jobs_submit(&jobs, &request, 1, &job, &is_new, &error), AB_USAGE);
    request = (struct ab_job_request){.ranks_count = 1};
    request.request_id = "0123456789012345678901234567890123456789012345678901234567890123";
    assert_int_equal(ab_jobs_submit(&jobs, &request, 1, &job, &is_new, &error), AB_USAGE);
    assert_int_equal(jobs.count, 0);
    ab_jobs_fini(&jobs);
}

static void test_job_one_runs_at_a_time_in_order(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    struct ab_job *first = submit(&jobs, "", 1);
    struct ab_job *second = submit(&jobs, "", 1);
    assert_ptr_equal(ab_jobs_due(&jobs, 1), first);
    ab_job_started(first, &somebody, 2);
    assert_null(ab_jobs_due(&jobs, 3));
    ab_job_published(first, NULL, 4);
    assert_ptr_equal(ab_jobs_due(&jobs, 5), second);
    ab_jobs_fini(&jobs);
}

static void test_job_dead_process_is_tried_again_with_back_off_then_failed(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    struct ab_job *job = submit(&jobs, "", 0);
    ab_time_us now = 0;
    for (uint32_t start = 1; start <= AB_JOB_STARTS_MAX; start++) {
        assert_ptr_equal(ab_jobs_due(&jobs, now), job);
        ab_job_started(job, &somebody, now);
        assert_int_equal(job->starts_count, start);
        ab_job_ended(job, "killed", now);
        if (start < AB_JOB_STARTS_MAX) {
            assert_int_equal(job->state, AB_JOB_SUBMITTED);
            assert_null(ab_jobs_due(&jobs, job->due_us - 1));
            assert_true(job->due_us > now);
            now = job->due_us;
        }
    }
    assert_int_equal(job->state, AB_JOB_FAILED);
    assert_string_equal(job->error, "killed");
    assert_null(ab_jobs_due(&jobs, now + AB_US_PER_DAY));
    ab_jobs_fini(&jobs);
}

static void test_job_newest_attempt_alone_may_publish(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    struct ab_error error = {0};
    struct ab_job *job = submit(&jobs, "", 0);
    struct ab_job *found = NULL;
    ab_job_started(job, &somebody, 1);
    assert_int_equal(ab_jobs_begin(&jobs, job->id, &plain, 2, &found, &error), AB_OK);
    assert_int_equal(found->attempt, 1);
    found->cut = 9;
    ab_job_ended(job, "killed", 3);
    ab_job_started(job, &somebody, job->due_us);
    assert_int_equal(ab_jobs_begin(&jobs, job->id, &plain, 4, &found, &error), AB_OK);
    assert_int_equal(found->attempt, 2);
    assert_int_equal(found->cut, 9);
    assert_int_equal(ab_jobs_check(&jobs, job->id, 1, 5, &found, &error), AB_STALE);
    assert_int_equal(ab_jobs_check(&jobs, job->id, 2, 5, &found, &error), AB_OK);
    ab_job_published(job, NULL, 6);
    assert_int_equal(ab_jobs_check(&jobs, job->id, 2, 7, &found, &error), AB_CLOSED);
    assert_int_equal(ab_jobs_begin(&jobs, job->id, &plain, 8, &found, &error), AB_CLOSED);
    assert_int_equal(ab_jobs_check(&jobs, "job-99", 1, 5, &found, &error), AB_NOT_FOUND);
    ab_jobs_fini(&jobs);
}

static void test_job_by_hand_is_made_and_given_up_when_silent(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    struct ab_error error = {0};
    struct ab_job *job = NULL;
    struct ab_job *other = NULL;
    assert_int_equal(ab_jobs_begin(&jobs, "", &plain, 10, &job, &error), AB_OK);
    assert_true(job->is_by_hand);
    assert_int_equal(ab_jobs_begin(&jobs, "", &plain, 11, &other, &error), AB_BUSY);
    assert_null(ab_jobs_silent(&jobs, 10 + AB_JOB_SILENCE_US));
    assert_ptr_equal(ab_jobs_silent(&jobs, 11 + AB_JOB_SILENCE_US), job);
    ab_job_refused(job, "silent", 12);
    assert_int_equal(ab_jobs_begin(&jobs, "", &plain, 13, &other, &error), AB_OK);
    ab_jobs_fini(&jobs);
}

static void test_job_interrupted_with_the_controller_loses_no_start(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    struct ab_job *job = submit(&jobs, "", 0);
    for (int i = 0; i < 10; i++) {
        ab_job_started(job, &somebody, i);
        ab_job_interrupted(job, i);
        assert_int_equal(job->state, AB_JOB_SUBMITTED);
        assert_int_equal(job->starts_count, 0);
    }
    ab_jobs_fini(&jobs);
}

static void test_job_record_reads_back(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    struct ab_jobs read = {0};
    struct ab_error error = {0};
    for (int i = 0; i < 12; i++) {
        struct ab_job *job = submit(&jobs, i == 3 ? "r" : "", i);
        job->cut = (uint64_t)i;
    }
    struct ab_job *job = jobs.items[3];
    ab_job_started(job, &somebody, 77);
    job->progress = ab_json_object();
    ab_json_set(job->progress, "stage", ab_json_text("scan"));
    /* In the order of names, in which a directory gives them: job-1, job-10, job-11, job-12, job-2 … */
    static const int order[] = {0, 9, 10, 11, 1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct ab_json *record = ab_job_encode(jobs.items[order[i]]);
        assert_int_equal(ab_jobs_decode(&read, record, &error), AB_OK);
        ab_json_destroy(record);
    }
    assert_int_equal(read.count, 12);
    assert_int_equal(read.last_number, 12);
    for (size_t i = 0; i < 12; i++) {
        assert_string_equal(read.items[i]->id, jobs.items[i]->id);
        assert_int_equal(read.items[i]->cut, i);
    }
    assert_int_equal(read.items[3]->state, AB_JOB_RUNNING);
    assert_int_equal(read.items[3]->process.pid, somebody.pid);
    assert_string_equal(read.items[3]->request_id, "r");
    assert_string_equal(ab_json_text_or(ab_json_get(read.items[3]->progress, "stage"), ""), "scan");
    ab_jobs_fini(&jobs);
    ab_jobs_fini(&read);
}

static void test_job_malformed_records_are_refused(void **state)
{
    (void)state;
    static const char *const records[] = {"{}", "[]", "{\"id\":\"x\",\"state\":\"done\"}",
        "{\"id\":\"job-1\",\"state\":\"sleeping\"}", "{\"id\":7,\"state\":\"done\"}",
        "{\"id\":\"job-99999999999999999999999999999999999999999\",\"state\":\"done\"}"};
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        struct ab_jobs jobs = {0};
        struct ab_json *record = NULL;
        struct ab_error error = {0};
        assert_int_equal(ab_json_parse(ab_bytes_of_text(records[i]), &record, NULL), AB_OK);
        assert_int_equal(ab_jobs_decode(&jobs, record, &error), AB_CORRUPT);
        assert_int_equal(jobs.count, 0);
        ab_json_destroy(record);
        ab_jobs_fini(&jobs);
    }
}

static void test_job_old_ones_are_forgotten_first(void **state)
{
    (void)state;
    struct ab_jobs jobs = {0};
    for (unsigned i = 0; i < AB_JOBS_KEPT_MAX + 2; i++) {
        struct ab_job *job = submit(&jobs, "", 0);
        if (i != 0) {
            ab_job_refused(job, "no", 1);
        }
    }
    assert_string_equal(ab_jobs_surplus(&jobs)->id, "job-2"); /* job-1 is not over */
    ab_jobs_remove(&jobs, ab_jobs_surplus(&jobs));
    ab_jobs_remove(&jobs, ab_jobs_surplus(&jobs));
    assert_null(ab_jobs_surplus(&jobs));
    ab_jobs_fini(&jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_submission_is_idempotent_by_request_id),
        cmocka_unit_test(test_job_bad_requests_are_refused),
        cmocka_unit_test(test_job_one_runs_at_a_time_in_order),
        cmocka_unit_test(test_job_dead_process_is_tried_again_with_back_off_then_failed),
        cmocka_unit_test(test_job_newest_attempt_alone_may_publish),
        cmocka_unit_test(test_job_by_hand_is_made_and_given_up_when_silent),
        cmocka_unit_test(test_job_interrupted_with_the_controller_loses_no_start),
        cmocka_unit_test(test_job_record_reads_back),
        cmocka_unit_test(test_job_malformed_records_are_refused),
        cmocka_unit_test(test_job_old_ones_are_forgotten_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
