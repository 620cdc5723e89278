/* A follower's log gives up what its leader does not have, and nothing else, whenever it dies. */
#include "common/base/random.h"
#include "common/log/aside.h"
#include "common/log/segment.h"
#include "common/log/watermark.h"
#include "tests/support/crash.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

enum { SMALL_SEGMENT = 12000, RECORDS = 40, KILL_ROUNDS = 15 };

/* ---- fixture ---- */

/* Forty records in several segments, of epoch 7, from 15 on 8, from 30 on 9; chains[i] is the chain before record i. */
static struct ab_log *filled(const char *directory, struct ab_hash128 *chains)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    for (uint64_t offset = 0; offset < RECORDS; offset++) {
        chains[offset] = ab_log_chain(log);
        fixture_append_epoch(log, 1, offset < 15 ? 7 : offset < 30 ? 8 : 9);
        if (offset % 2 == 1) {
            assert_ok(ab_log_write(log, NULL));
        }
    }
    chains[RECORDS] = ab_log_chain(log);
    assert_ok(ab_log_sync(log, NULL));
    return log;
}

static void expect_end(const struct ab_log *log, const char *directory, uint64_t end, const struct ab_hash128 *chains)
{
    assert_int_equal(ab_log_end_offset(log), end);
    assert_int_equal(ab_log_durable_offset(log), end);
    assert_true(ab_hash128_equal(ab_log_chain(log), chains[end]));
    size_t count = 0;
    (void)ab_log_epochs(log, &count);
    assert_int_equal(count, end > 30 ? 3 : end > 15 ? 2 : end > 0 ? 1 : 0);
    fixture_read_all(directory, 0, end);
}

static size_t files_with(const char *directory, const char *mark)
{
    char **names = NULL;
    size_t count = 0;
    size_t found = 0;
    assert_ok(ab_file_list(directory, &names, &count, NULL));
    for (size_t i = 0; i < count; i++) {
        found += strstr(names[i], mark) != NULL;
    }
    ab_file_names_free(names, count);
    return found;
}

/* ---- cases ---- */

static void test_truncate_to_every_offset_leaves_the_log_as_it_was_then(void **state)
{
    (void)state;
    for (uint64_t end = 0; end <= RECORDS; end++) {
        char *directory = scratch_make();
        struct ab_hash128 chains[RECORDS + 1];
        struct ab_log *log = filled(directory, chains);
        assert_ok(ab_log_note_durable(log, NULL));
        assert_ok(ab_log_truncate(log, end, NULL));
        expect_end(log, directory, end, chains);
        char *image = fixture_image(directory);
        struct ab_log_recovery recovery;
        struct ab_log *again = fixture_open(image, SMALL_SEGMENT, &recovery);
        assert_int_equal(recovery.torn_bytes, 0);
        expect_end(again, image, end, chains);
        ab_log_close(again);
        scratch_remove(image);
        fixture_append_epoch(log, 7, 10);
        assert_ok(ab_log_write(log, NULL));
        assert_ok(ab_log_sync(log, NULL));
        struct ab_hash128 chain = ab_log_chain(log);
        fixture_read_all(directory, 0, end + 7);
        ab_log_close(log);
        log = fixture_open(directory, SMALL_SEGMENT, &recovery);
        assert_int_equal(recovery.end_offset, end + 7);
        assert_true(ab_hash128_equal(ab_log_chain(log), chain));
        ab_log_close(log);
        scratch_remove(directory);
    }
}

static void test_truncate_sets_aside_what_it_cuts(void **state)
{
    const char *directory = *state;
    struct ab_hash128 chains[RECORDS + 1];
    struct ab_log *log = filled(directory, chains);
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    assert_ok(ab_segment_list(directory, &first_offsets, &count, NULL));
    assert_true(count >= 4);
    struct ab_buffer before = {0};
    struct ab_buffer last = {0};
    struct ab_buffer kept = {0};
    struct ab_buffer cut = {0};
    char *path = ab_segment_path(directory, first_offsets[1]);
    fixture_file_read(path, &before);
    char *last_path = ab_segment_path(directory, first_offsets[count - 1]);
    fixture_file_read(last_path, &last);
    uint64_t end = first_offsets[1] + 1;
    assert_ok(ab_log_truncate(log, end, NULL));
    fixture_file_read(path, &kept);
    char *cut_path = ab_aside_path(directory, AB_ASIDE_CUT, end, 1);
    fixture_file_read(cut_path, &cut);
    ab_buffer_put_bytes(&kept, ab_buffer_view(&cut));
    assert_true(ab_bytes_equal(ab_buffer_view(&kept), ab_buffer_view(&before)));
    char *cut_last_path = ab_aside_path(directory, AB_ASIDE_CUT, first_offsets[count - 1], 1);
    fixture_file_read(cut_last_path, &cut);
    assert_true(ab_bytes_equal(ab_buffer_view(&cut), ab_buffer_view(&last)));
    assert_int_equal(files_with(directory, ".cut-000001"), count - 1);
    ab_log_close(log);
    ab_delete(path);
    ab_delete(last_path);
    ab_delete(cut_path);
    ab_delete(cut_last_path);
    ab_delete(first_offsets);
    ab_buffer_fini(&before);
    ab_buffer_fini(&last);
    ab_buffer_fini(&kept);
    ab_buffer_fini(&cut);
}

static void test_truncate_keeps_the_last_few_it_set_aside(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    for (int round = 0; round < 9; round++) {
        fixture_append_durably(log, 3);
        assert_ok(ab_log_truncate(log, ab_log_end_offset(log) - 2, NULL));
    }
    assert_int_equal(files_with(*state, ".cut-"), AB_ASIDE_CUTS_KEPT);
    assert_int_equal(files_with(*state, ".cut-000009"), 1);
    assert_int_equal(files_with(*state, ".cut-000006"), 1);
    ab_log_close(log);
}

static void test_truncate_refuses_what_it_cannot(void **state)
{
    struct ab_hash128 chains[RECORDS + 1];
    struct ab_log *log = filled(*state, chains);
    struct ab_error error = {0};
    assert_int_equal(ab_log_truncate(log, RECORDS + 1, &error), AB_NOT_FOUND);
    fixture_append_epoch(log, 1, 9);
    assert_int_equal(ab_log_truncate(log, 5, &error), AB_USAGE);
    ab_log_abandon(log);
    assert_ok(ab_log_trim(log, 20, NULL));
    uint64_t start = ab_log_start_offset(log);
    assert_true(start > 0);
    assert_int_equal(ab_log_truncate(log, start - 1, &error), AB_NOT_FOUND);
    assert_int_equal(ab_log_end_offset(log), RECORDS);
    fixture_append_epoch(log, 1, 9);
    ab_file_fault_set(0, 1, AB_IO);
    assert_int_equal(ab_log_write(log, NULL), AB_IO);
    ab_file_fault_clear();
    assert_int_equal(ab_log_truncate(log, start, &error), AB_IO);
    ab_log_close(log);
}

static void test_truncate_to_the_start_of_a_trimmed_log_remembers_what_came_before(void **state)
{
    struct ab_hash128 chains[RECORDS + 1];
    struct ab_log *log = filled(*state, chains);
    assert_ok(ab_log_trim(log, 25, NULL));
    uint64_t start = ab_log_start_offset(log);
    assert_true(start > 15);
    fixture_forget_watermark(*state);
    assert_ok(ab_log_truncate(log, start, NULL));
    ab_log_close(log);
    struct ab_log_recovery recovery;
    log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    assert_int_equal(recovery.end_offset, start);
    assert_int_equal(recovery.records_count, 0);
    assert_true(ab_hash128_equal(ab_log_chain(log), chains[start]));
    uint64_t epoch = 0;
    uint64_t end = 0;
    assert_ok(ab_log_epoch_end(log, 20, &epoch, &end));
    assert_int_equal(epoch, 8);
    assert_int_equal(end, start);
    struct ab_record low = {.header = {.kind = AB_RECORD_EPOCH_START, .leader_epoch = 7}};
    assert_int_equal(ab_log_append(log, &low, &end), AB_STALE);
    fixture_append_epoch(log, 3, 9);
    assert_ok(ab_log_write(log, NULL));
    assert_ok(ab_log_sync(log, NULL));
    ab_log_close(log);
    log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    assert_int_equal(recovery.end_offset, start + 3);
    fixture_read_all(*state, start, start + 3);
    ab_log_close(log);
}

/* ---- dying in the middle ---- */

/* True when a crash may leave this end: the old one, the new one, or the beginning of a segment between. */
static bool is_possible_end(uint64_t end, uint64_t wanted, const uint64_t *first_offsets, size_t count)
{
    bool is_boundary = false;
    for (size_t i = 0; i < count; i++) {
        is_boundary = is_boundary || (first_offsets[i] == end && end > wanted);
    }
    return end == wanted || end == RECORDS || is_boundary;
}

/* Truncates with the n-th call failing, and opens what a death right there leaves. */
static void truncate_with_fault(int countdown, ab_err code, uint64_t wanted, bool *was_hit)
{
    char *directory = scratch_make();
    struct ab_hash128 chains[RECORDS + 1];
    struct ab_log *log = filled(directory, chains);
    assert_ok(ab_log_note_durable(log, NULL));
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    assert_ok(ab_segment_list(directory, &first_offsets, &count, NULL));
    struct ab_error error = {0};
    ab_file_fault_set(countdown, 1, code);
    ab_err err = ab_log_truncate(log, wanted, &error);
    *was_hit = ab_file_fault_was_hit();
    ab_file_fault_clear();
    assert_true(err == AB_OK || err == code || err == AB_IO);
    if (err == AB_OK) {
        expect_end(log, directory, wanted, chains);
    }
    char *image = fixture_image(directory);
    struct ab_log_recovery recovery;
    struct ab_log *again = fixture_open(image, SMALL_SEGMENT, &recovery);
    assert_int_equal(recovery.torn_bytes, 0);
    assert_true(is_possible_end(recovery.end_offset, wanted, first_offsets, count));
    expect_end(again, image, recovery.end_offset, chains);
    assert_ok(ab_log_truncate(again, wanted, NULL));
    expect_end(again, image, wanted, chains);
    ab_log_close(again);
    scratch_remove(image);
    ab_log_close(log);
    ab_delete(first_offsets);
    scratch_remove(directory);
}

static void test_truncate_survives_the_nth_call_failing(void **state)
{
    (void)state;
    static const ab_err codes[] = {AB_IO, AB_NO_SPACE};
    static const uint64_t ends[] = {0, 11, 39};
    for (size_t i = 0; i < 2; i++) {
        for (size_t e = 0; e < 3; e++) {
            bool was_hit = true;
            for (int countdown = 0; was_hit; countdown++) {
                truncate_with_fault(countdown, codes[i], ends[e], &was_hit);
            }
        }
    }
}

/* Appends, syncs and truncates for ever; tells below which offset nothing is ever removed. */
static void child_run(const char *directory, int pipe_fd)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    size_t count = 0;
    const struct ab_log_epoch *epochs = ab_log_epochs(log, &count);
    uint64_t epoch = count == 0 ? FIXTURE_EPOCH : epochs[count - 1].epoch;
    struct ab_random random;
    ab_random_init(&random, recovery.end_offset);
    for (;;) {
        uint64_t kept = ab_log_end_offset(log);
        if (write(pipe_fd, &kept, sizeof(kept)) != sizeof(kept)) {
            _exit(1);
        }
        for (int group = 0; group < 6; group++) {
            fixture_append_epoch(log, 3, ++epoch);
            assert_ok(ab_log_write(log, NULL));
        }
        assert_ok(ab_log_sync(log, NULL));
        assert_ok(ab_log_note_durable(log, NULL));
        assert_ok(ab_log_truncate(log, kept + ab_random_below(&random, 10), NULL));
    }
}

static void test_truncate_killed_at_any_time_leaves_a_whole_log(void **state)
{
    struct ab_random random;
    ab_random_init(&random, 77);
    uint64_t kept = 0;
    for (int round = 0; round < KILL_ROUNDS; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            child_run(*state, ends[1]);
        }
        close(ends[1]);
        uint64_t told =
            crash_watch(ends[0], child, ab_time_monotonic_us() + 3000 + (int64_t)ab_random_below(&random, 50000));
        kept = told > kept ? told : kept;
        struct ab_log_recovery recovery;
        struct ab_log *log = fixture_open(*state, SMALL_SEGMENT, &recovery);
        assert_true(recovery.end_offset >= kept);
        fixture_read_all(*state, 0, recovery.end_offset);
        ab_log_close(log);
    }
    assert_true(kept > 20);
}

int main(void)
{
#define scratch_test(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncate_to_every_offset_leaves_the_log_as_it_was_then),
        scratch_test(test_truncate_sets_aside_what_it_cuts),
        scratch_test(test_truncate_keeps_the_last_few_it_set_aside),
        scratch_test(test_truncate_refuses_what_it_cannot),
        scratch_test(test_truncate_to_the_start_of_a_trimmed_log_remembers_what_came_before),
        cmocka_unit_test(test_truncate_survives_the_nth_call_failing),
        scratch_test(test_truncate_killed_at_any_time_leaves_a_whole_log),
    };
#undef scratch_test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
