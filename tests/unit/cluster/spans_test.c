/* Which cuts the controller keeps: all that somebody may ask for, none that nobody will, and never one that nothing
 * else speaks of; whatever happens between two steps. */
#include "cluster/controller/controller.h"

#include "common/history/layout.h"
#include "tests/support/test.h"

#include <inttypes.h>

#define PARTITIONS 2u
#define TIME INT64_C(1700000000000000)

struct rig {
    char *directory; /* owned */
    struct ab_controller controller;
};

static uint64_t offset_of(uint64_t cut, uint32_t partition)
{
    return cut * 100 + partition;
}

static void session_open(struct rig *rig)
{
    struct ab_error error = {0};
    char *address = ab_new_format("local:%s/coordination", rig->directory);
    ab_coordination_close(rig->controller.coordination);
    rig->controller.coordination = NULL;
    assert_ok(ab_coordination_open(address, &rig->controller.coordination, &error));
    ab_delete(address);
}

static int setup(void **state)
{
    struct rig *rig = ab_new(struct rig);
    struct ab_error error = {0};
    rig->directory = scratch_make();
    rig->controller.node.directory = rig->directory;
    rig->controller.node.identity.partitions_count = PARTITIONS;
    ab_lock_init(&rig->controller.lock);
    session_open(rig);
    assert_ok(ab_coordination_ensure(rig->controller.coordination, "/cuts", &error));
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    ab_file_fault_clear();
    ab_coordination_close(rig->controller.coordination);
    ab_jobs_fini(&rig->controller.jobs);
    ab_lock_fini(&rig->controller.lock);
    scratch_remove(rig->directory);
    ab_delete(rig);
    return 0;
}

/* Empty files will do: that they are there is all that is asked of them here. */
static void markers_make(const struct rig *rig, uint64_t cut)
{
    struct ab_error error = {0};
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        char *folder = ab_new_format("%s/history/_sealed/partition-%u", rig->directory, p);
        char *path = ab_history_marker_path(rig->directory, p, cut);
        assert_ok(ab_file_make_directory(folder, 0700, &error));
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fclose(file), 0);
        ab_delete(path);
        ab_delete(folder);
    }
}

static struct ab_json *manifest_make(uint64_t cut)
{
    struct ab_json *manifest = ab_json_object();
    struct ab_json *partitions = ab_json_array();
    ab_json_set(manifest, "cut", ab_json_integer((int64_t)cut));
    ab_json_set(manifest, "state", ab_json_text("taken"));
    ab_json_set(manifest, "time_us", ab_json_integer(TIME + (ab_time_us)cut));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct ab_json *entry = ab_json_object();
        char chain[33];
        ab_hash128_format((struct ab_hash128){.low = offset_of(cut, p)}, chain);
        ab_json_set(entry, "partition", ab_json_integer(p));
        ab_json_set(entry, "offset", ab_json_integer((int64_t)offset_of(cut, p)));
        ab_json_set(entry, "chain", ab_json_text(chain));
        ab_json_append(partitions, entry);
    }
    ab_json_set(manifest, "partitions", partitions);
    return manifest;
}

static void cut_store(struct rig *rig, uint64_t cut, struct ab_json *manifest)
{
    struct ab_error error = {0};
    struct ab_buffer text = {0};
    char *path = ab_new_format("/cuts/%" PRIu64, cut);
    ab_json_write(manifest, 0, &text);
    assert_ok(ab_coordination_store(rig->controller.coordination, path, ab_buffer_view(&text), &error));
    ab_buffer_fini(&text);
    ab_json_destroy(manifest);
    ab_delete(path);
}

/* Cuts 1 to `count`, taken and sealed. */
static void cuts_make(struct rig *rig, uint64_t count)
{
    struct ab_error error = {0};
    struct ab_changes changes = {0};
    struct ab_json *next = ab_json_integer((int64_t)count + 1);
    ab_changes_add_json(&changes, AB_COORDINATION_CREATE, "/cuts/next", next, 0);
    ab_json_destroy(next);
    for (uint64_t k = 1; k <= count; k++) {
        char *path = ab_new_format("/cuts/%" PRIu64, k);
        struct ab_json *manifest = manifest_make(k);
        ab_changes_add_json(&changes, AB_COORDINATION_CREATE, path, manifest, 0);
        ab_json_destroy(manifest);
        ab_delete(path);
        markers_make(rig, k);
        if (changes.count == AB_COORDINATION_OPS_MAX || k == count) {
            assert_ok(ab_changes_commit(&changes, rig->controller.coordination, &error));
        }
    }
}

static void prune(struct rig *rig, uint64_t oldest_cut)
{
    struct ab_error error = {0};
    if (ab_cuts_prune(&rig->controller, oldest_cut, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
}

/* The kept cuts are first to last, without gap, and what is before them is said where it ends. */
static void check_kept(struct rig *rig, uint64_t first, uint64_t last)
{
    struct ab_error error = {0};
    uint64_t *numbers = NULL;
    size_t count = 0;
    struct ab_json *history = NULL;
    assert_ok(ab_cuts_kept(&rig->controller, &numbers, &count, &error));
    assert_int_equal(count, last - first + 1);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(numbers[i], first + i);
    }
    assert_ok(ab_cuts_history(&rig->controller, &history, &error));
    assert_int_equal(ab_json_is_null(history), first == 1);
    if (first > 1) {
        assert_int_equal(ab_json_u64_or(ab_json_get(history, "cut"), 0), first - 1);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            char chain[33];
            ab_hash128_format((struct ab_hash128){.low = offset_of(first - 1, p)}, chain);
            assert_int_equal(
                ab_json_u64_or(ab_json_at(ab_json_get(history, "offsets"), p), 0), offset_of(first - 1, p));
            assert_string_equal(ab_json_text_or(ab_json_at(ab_json_get(history, "chains"), p), ""), chain);
        }
    }
    ab_json_destroy(history);
    ab_delete(numbers);
}

static void check_spans(struct rig *rig, uint64_t cut, uint64_t first)
{
    struct ab_error error = {0};
    struct ab_json *spans = NULL;
    assert_ok(ab_cuts_spans(&rig->controller, cut, &spans, &error));
    assert_int_equal(ab_json_count(spans), cut - first + 1);
    for (size_t i = 0; i < ab_json_count(spans); i++) {
        const struct ab_json *span = ab_json_at(spans, i);
        assert_int_equal(ab_json_u64_or(ab_json_get(span, "cut"), 0), first + i);
        assert_int_equal(ab_json_integer_or(ab_json_get(span, "time_us"), 0), TIME + (ab_time_us)(first + i));
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            assert_int_equal(ab_json_u64_or(ab_json_at(ab_json_get(span, "offsets"), p), 0), offset_of(first + i, p));
        }
    }
    ab_json_destroy(spans);
}

static void test_spans_cuts_before_the_oldest_version_go(void **state)
{
    struct rig *rig = *state;
    cuts_make(rig, 12);
    check_kept(rig, 1, 12);
    check_spans(rig, 12, 1);
    prune(rig, 7);
    check_kept(rig, 7, 12);
    check_spans(rig, 12, 7);
    check_spans(rig, 9, 7);
    prune(rig, 7);
    prune(rig, 3); /* a version that was rolled back to: what is gone is gone, and history has it */
    check_kept(rig, 7, 12);
    prune(rig, 8);
    check_kept(rig, 8, 12);
    session_open(rig);
    check_kept(rig, 8, 12);
}

static void test_spans_nothing_published_keeps_all(void **state)
{
    struct rig *rig = *state;
    prune(rig, 5); /* no cut at all */
    cuts_make(rig, 4);
    prune(rig, 1);
    check_kept(rig, 1, 4);
}

static void test_spans_cut_of_a_live_job_stays(void **state)
{
    struct rig *rig = *state;
    struct ab_job *jobs[2] = {NULL};
    bool is_new = false;
    const struct ab_job_request request = {.request_id = "", .ranks_count = 1};
    static const struct ab_process process = {.pid = 4711, .start_ticks = 1};
    cuts_make(rig, 10);
    for (int i = 0; i < 2; i++) {
        assert_ok(ab_jobs_submit(&rig->controller.jobs, &request, TIME, &jobs[i], &is_new, NULL));
    }
    jobs[0]->cut = 4; /* waits for its next start; the other one has no cut yet */
    prune(rig, 8);
    check_kept(rig, 4, 10);
    ab_job_started(jobs[0], &process, TIME);
    prune(rig, 8);
    check_kept(rig, 4, 10);
    ab_job_refused(jobs[0], "it cannot succeed", TIME);
    jobs[1]->cut = 6;
    prune(rig, 8);
    check_kept(rig, 6, 10);
    ab_job_published(jobs[1], NULL, TIME);
    prune(rig, 8);
    check_kept(rig, 8, 10);
}

/* It decides the time of the next one. */
static void test_spans_last_cut_stays(void **state)
{
    struct rig *rig = *state;
    struct ab_error error = {0};
    struct ab_changes changes = {0};
    struct ab_catalog catalog = {.version = 1};
    struct ab_json *manifest = NULL;
    uint64_t cut = 0;
    ab_time_us late = ab_time_now() + AB_US_PER_HOUR;
    cuts_make(rig, 5);
    struct ab_json *last = manifest_make(5);
    ab_json_set(last, "time_us", ab_json_integer(late));
    cut_store(rig, 5, last);
    prune(rig, UINT64_MAX);
    check_kept(rig, 5, 5);
    assert_ok(ab_cut_allocate(&rig->controller, &catalog, &changes, &cut, &error));
    assert_int_equal(cut, 6);
    assert_ok(ab_cut_read(&rig->controller, 6, &manifest, &error));
    assert_int_equal(ab_json_integer_or(ab_json_get(manifest, "time_us"), 0), late + 1);
    ab_json_destroy(manifest);
    prune(rig, 5); /* 6 is pending */
    check_kept(rig, 5, 6);
}

static void test_spans_many_cuts_go_in_bounded_steps(void **state)
{
    struct rig *rig = *state;
    cuts_make(rig, 2 * AB_COORDINATION_OPS_MAX + 500);
    prune(rig, 2 * AB_COORDINATION_OPS_MAX + 490);
    check_kept(rig, 2 * AB_COORDINATION_OPS_MAX + 490, 2 * AB_COORDINATION_OPS_MAX + 500);
}

/* Nothing else would say where the span ends. */
static void test_spans_cut_without_a_marker_stays(void **state)
{
    struct rig *rig = *state;
    struct ab_error error = {0};
    cuts_make(rig, 10);
    char *marker = ab_history_marker_path(rig->directory, 1, 4);
    assert_ok(ab_file_remove_tree(marker, &error));
    prune(rig, 9);
    check_kept(rig, 4, 10);
    check_spans(rig, 10, 4);
    markers_make(rig, 4);
    prune(rig, 9);
    check_kept(rig, 9, 10);
    ab_delete(marker);
}

static void test_spans_manifest_that_does_not_say_where_is_not_removed(void **state)
{
    struct rig *rig = *state;
    struct ab_error error = {0};
    for (int kind = 0; kind < 3; kind++) {
        struct ab_json *manifest = manifest_make(5);
        struct ab_json *first = ab_json_at(ab_json_get(manifest, "partitions"), 0);
        if (kind == 0) {
            cuts_make(rig, 8);
            ab_json_set(manifest, "partitions", ab_json_null());
        } else {
            ab_json_set(first, kind == 1 ? "offset" : "chain", ab_json_null());
        }
        cut_store(rig, 5, manifest);
        assert_int_equal(ab_cuts_prune(&rig->controller, 6, &error), AB_CORRUPT);
        assert_non_null(strstr(error.text, "/cuts/5"));
        check_kept(rig, 1, 8);
    }
}

/* Every write fails once: what is kept and what is said of the rest agree, and the next controller goes on. */
static void test_spans_failed_step_leaves_all_or_nothing(void **state)
{
    struct rig *rig = *state;
    struct ab_error error = {0};
    uint64_t kept = 1;
    bool has_succeeded = false;
    int failures = 0;
    cuts_make(rig, 200);
    for (int n = 0; !has_succeeded && n < 50; n++) {
        ab_file_fault_set(n, 1, AB_IO);
        ab_err err = ab_cuts_prune(&rig->controller, kept + 3, &error);
        ab_file_fault_clear();
        has_succeeded = err == AB_OK;
        failures += !has_succeeded;
        session_open(rig);
        uint64_t *numbers = NULL;
        size_t count = 0;
        assert_ok(ab_cuts_kept(&rig->controller, &numbers, &count, &error));
        assert_true(numbers[0] == kept + 3 || (numbers[0] == kept && !has_succeeded));
        ab_delete(numbers);
        check_kept(rig, 201 - count, 200);
        prune(rig, kept + 3);
        check_kept(rig, kept + 3, 200);
        kept += 3;
    }
    assert_true(has_succeeded && failures > 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_spans_cuts_before_the_oldest_version_go),
        CASE(test_spans_nothing_published_keeps_all),
        CASE(test_spans_cut_of_a_live_job_stays),
        CASE(test_spans_last_cut_stays),
        CASE(test_spans_many_cuts_go_in_bounded_steps),
        CASE(test_spans_cut_without_a_marker_stays),
        CASE(test_spans_manifest_that_does_not_say_where_is_not_removed),
        CASE(test_spans_failed_step_leaves_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
