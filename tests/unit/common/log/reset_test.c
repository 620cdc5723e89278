/* A follower's log begins anew where its leader's does, or is what it was. */
#include "common/log/segment.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { SMALL_SEGMENT = 12000, RECORDS = 40 };

static const struct ab_hash128 chain_before = {.low = 0x1234, .high = 0x5678};

static struct ab_log *filled(const char *directory)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    for (int group = 0; group < RECORDS / 2; group++) {
        fixture_append(log, 2);
        assert_ok(ab_log_write(log, NULL));
    }
    assert_ok(ab_log_sync(log, NULL));
    return log;
}

/* The log is empty, begins at `offset`, and what came before it was of epoch 9. */
static void expect_begun(struct ab_log *log, uint64_t offset)
{
    assert_int_equal(ab_log_start_offset(log), offset);
    assert_int_equal(ab_log_end_offset(log), offset);
    assert_int_equal(ab_log_durable_offset(log), offset);
    assert_true(ab_hash128_equal(ab_log_chain(log), chain_before));
    struct ab_hash128 chain = {0};
    assert_ok(ab_log_chain_at(log, offset, &chain, NULL));
    assert_true(ab_hash128_equal(chain, chain_before));
    uint64_t epoch = 0;
    uint64_t end = 0;
    assert_ok(ab_log_epoch_end(log, 100, &epoch, &end));
    assert_int_equal(epoch, 9);
    assert_int_equal(end, offset);
    assert_int_equal(ab_log_epoch_end(log, 8, &epoch, &end), AB_NOT_FOUND);
}

static void reset_and_use(const char *directory, uint64_t offset)
{
    struct ab_log *log = filled(directory);
    assert_ok(ab_log_reset(log, offset, chain_before, 9, NULL));
    expect_begun(log, offset);
    ab_log_close(log);
    struct ab_log_recovery recovery;
    log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    assert_int_equal(recovery.records_count, 0);
    assert_int_equal(recovery.end_offset, offset);
    expect_begun(log, offset);
    struct ab_record low = {.header = {.kind = AB_RECORD_EPOCH_START, .leader_epoch = 8}};
    uint64_t given = 0;
    assert_int_equal(ab_log_append(log, &low, &given), AB_STALE);
    for (int group = 0; group < 10; group++) {
        fixture_append_epoch(log, 2, 9);
        assert_ok(ab_log_write(log, NULL));
    }
    assert_ok(ab_log_sync(log, NULL));
    ab_log_close(log);
    log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    assert_int_equal(recovery.records_count, 20);
    fixture_read_all(directory, offset, offset + 20);
    struct ab_log_reader *reader = NULL;
    assert_int_equal(ab_log_reader_open(directory, offset - 1, offset, &reader, NULL), AB_NOT_FOUND);
    ab_log_close(log);
}

static void test_reset_begins_anew_behind_what_was_there(void **state)
{
    reset_and_use(*state, 1000000);
}

static void test_reset_begins_anew_within_what_was_there(void **state)
{
    reset_and_use(*state, 17);
}

static void test_reset_begins_anew_where_a_segment_began(void **state)
{
    struct ab_log *log = filled(*state);
    ab_log_close(log);
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    assert_ok(ab_segment_list(*state, &first_offsets, &count, NULL));
    assert_true(count > 3);
    char *other = scratch_make();
    reset_and_use(other, first_offsets[1]);
    scratch_remove(other);
    ab_delete(first_offsets);
}

static void test_reset_to_nothing_is_a_new_log(void **state)
{
    struct ab_log *log = filled(*state);
    struct ab_hash128 none = {0};
    assert_ok(ab_log_reset(log, 0, none, 0, NULL));
    assert_int_equal(ab_log_end_offset(log), 0);
    fixture_append_epoch(log, 3, 7);
    assert_ok(ab_log_write(log, NULL));
    assert_ok(ab_log_sync(log, NULL));
    ab_log_close(log);
    struct ab_log_recovery recovery;
    log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    fixture_read_all(*state, 0, 3);
    ab_log_close(log);
}

static void test_reset_refuses_what_it_cannot(void **state)
{
    struct ab_log *log = filled(*state);
    assert_int_equal(ab_log_reset(log, 0, chain_before, 1, NULL), AB_USAGE);
    fixture_append(log, 1);
    assert_int_equal(ab_log_reset(log, 5, chain_before, 1, NULL), AB_USAGE);
    ab_log_abandon(log);
    assert_int_equal(ab_log_end_offset(log), RECORDS);
    fixture_append(log, 1);
    ab_file_fault_set(0, 1, AB_IO);
    assert_int_equal(ab_log_write(log, NULL), AB_IO);
    ab_file_fault_clear();
    assert_int_equal(ab_log_reset(log, 5, chain_before, 1, NULL), AB_IO);
    ab_log_close(log);
}

static void test_reset_log_whose_first_record_does_not_follow_is_corrupt(void **state)
{
    struct ab_log *log = filled(*state);
    assert_ok(ab_log_reset(log, 50, chain_before, 9, NULL));
    struct ab_record record = {.header = {.kind = AB_RECORD_EPOCH_START,
                                   .partition = 3,
                                   .leader_epoch = 9,
                                   .offset = 50,
                                   .previous_chain = {.low = 1}}};
    struct ab_log_options options = fixture_options(SMALL_SEGMENT);
    memcpy(record.header.cluster_id, options.cluster_id, sizeof(record.header.cluster_id));
    struct ab_buffer bytes = {0};
    ab_record_encode(&record, &bytes);
    struct ab_log_copied copied;
    assert_int_equal(ab_log_append_copy(log, ab_buffer_view(&bytes), &copied, NULL), AB_MISMATCH);
    ab_log_close(log);
    char *path = ab_segment_path(*state, 50);
    fixture_file_write(path, ab_buffer_view(&bytes));
    struct ab_log_recovery recovery;
    assert_int_equal(ab_log_open(*state, &options, &log, &recovery, NULL), AB_CORRUPT);
    ab_buffer_fini(&bytes);
    ab_delete(path);
}

static void reset_with_fault(
    int countdown, ab_err code, uint64_t offset, bool *was_hit, size_t *old_count, size_t *new_count)
{
    char *directory = scratch_make();
    struct ab_log *log = filled(directory);
    ab_file_fault_set(countdown, 1, code);
    ab_err err = ab_log_reset(log, offset, chain_before, 9, NULL);
    *was_hit = ab_file_fault_was_hit();
    ab_file_fault_clear();
    assert_true(err == AB_OK || err == code || err == AB_IO);
    char *image = fixture_image(directory);
    struct ab_log_recovery recovery;
    struct ab_log *again = fixture_open(image, SMALL_SEGMENT, &recovery);
    if (recovery.records_count == RECORDS) {
        assert_true(err != AB_OK);
        fixture_read_all(image, 0, RECORDS);
        (*old_count)++;
    } else {
        expect_begun(again, offset);
        (*new_count)++;
    }
    ab_log_close(again);
    scratch_remove(image);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_reset_survives_the_nth_call_failing(void **state)
{
    (void)state;
    static const ab_err codes[] = {AB_IO, AB_NO_SPACE};
    static const uint64_t offsets[] = {1000, 1};
    for (size_t i = 0; i < 2; i++) {
        size_t old_count = 0;
        size_t new_count = 0;
        bool was_hit = true;
        for (int countdown = 0; was_hit; countdown++) {
            reset_with_fault(countdown, codes[i], offsets[i], &was_hit, &old_count, &new_count);
        }
        assert_true(old_count > 2 && new_count > 5);
    }
}

/* The n-th call fails at every opening of a log that died in the middle, until one goes through. */
static void test_reset_is_finished_by_opening_however_often_that_dies(void **state)
{
    struct ab_log *log = filled(*state);
    ab_file_fault_set(8, 1, AB_IO);
    assert_int_equal(ab_log_reset(log, 1000, chain_before, 9, NULL), AB_IO);
    ab_file_fault_clear();
    ab_log_close(log);
    struct ab_log_options options = fixture_options(SMALL_SEGMENT);
    struct ab_log_recovery recovery;
    ab_err err = AB_IO;
    for (int countdown = 0; err != AB_OK; countdown++) {
        ab_file_fault_set(countdown, 1, AB_IO);
        err = ab_log_open(*state, &options, &log, &recovery, NULL);
        ab_file_fault_clear();
        assert_true(err == AB_OK || err == AB_IO);
    }
    expect_begun(log, 1000);
    ab_log_close(log);
}

int main(void)
{
#define scratch_test(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        scratch_test(test_reset_begins_anew_behind_what_was_there),
        scratch_test(test_reset_begins_anew_within_what_was_there),
        scratch_test(test_reset_begins_anew_where_a_segment_began),
        scratch_test(test_reset_to_nothing_is_a_new_log),
        scratch_test(test_reset_refuses_what_it_cannot),
        scratch_test(test_reset_log_whose_first_record_does_not_follow_is_corrupt),
        cmocka_unit_test(test_reset_survives_the_nth_call_failing),
        scratch_test(test_reset_is_finished_by_opening_however_often_that_dies),
    };
#undef scratch_test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
