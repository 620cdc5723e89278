/* Which epoch wrote what: the table alone, and as a log keeps it. */
#include "common/log/epochs.h"

#include "common/log/segment.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { SMALL_SEGMENT = 20000 };

/* ---- the table ---- */

static void expect_find(
    const struct ab_epochs *epochs, uint64_t asked, uint64_t log_end, uint64_t epoch, uint64_t end_offset)
{
    uint64_t found = 0;
    uint64_t end = 0;
    assert_ok(ab_epochs_find(epochs, asked, log_end, &found, &end));
    assert_int_equal(found, epoch);
    assert_int_equal(end, end_offset);
}

static void test_epochs_find_gives_the_largest_not_above_and_its_end(void **state)
{
    (void)state;
    struct ab_epochs epochs = {0};
    uint64_t found = 77;
    uint64_t end = 78;
    assert_int_equal(ab_epochs_find(&epochs, 5, 0, &found, &end), AB_NOT_FOUND);
    ab_epochs_add(&epochs, 2, 0);
    ab_epochs_add(&epochs, 2, 1);
    ab_epochs_add(&epochs, 5, 10);
    ab_epochs_add(&epochs, 9, 25);
    assert_int_equal(epochs.count, 3);
    assert_int_equal(ab_epochs_find(&epochs, 1, 30, &found, &end), AB_NOT_FOUND);
    assert_int_equal(found, 77);
    expect_find(&epochs, 2, 30, 2, 10);
    expect_find(&epochs, 4, 30, 2, 10);
    expect_find(&epochs, 5, 30, 5, 25);
    expect_find(&epochs, 8, 30, 5, 25);
    expect_find(&epochs, 9, 30, 9, 30);
    expect_find(&epochs, UINT64_MAX, 30, 9, 30);
    ab_epochs_fini(&epochs);
}

static void test_epochs_do_not_fall(void **state)
{
    (void)state;
    struct ab_epochs epochs = {0};
    assert_true(ab_epochs_may_add(&epochs, 0));
    ab_epochs_add(&epochs, 5, 10);
    assert_true(ab_epochs_may_add(&epochs, 5));
    assert_true(ab_epochs_may_add(&epochs, 6));
    assert_false(ab_epochs_may_add(&epochs, 4));
    ab_epochs_fini(&epochs);
}

static void test_epochs_truncated_forget_what_began_later(void **state)
{
    (void)state;
    struct ab_epochs epochs = {0};
    for (uint64_t epoch = 1; epoch <= 40; epoch++) {
        ab_epochs_add(&epochs, epoch, 10 * epoch);
    }
    ab_epochs_truncate(&epochs, 201);
    assert_int_equal(epochs.count, 20);
    ab_epochs_truncate(&epochs, 200);
    assert_int_equal(epochs.count, 19);
    ab_epochs_truncate(&epochs, 10);
    assert_int_equal(epochs.count, 0);
    ab_epochs_set_floor(&epochs, 3, 50);
    ab_epochs_add(&epochs, 4, 50);
    ab_epochs_truncate(&epochs, 50);
    assert_int_equal(epochs.count, 1);
    expect_find(&epochs, 9, 50, 3, 50);
    ab_epochs_fini(&epochs);
}

static void test_epochs_trimmed_keep_the_one_before_the_start(void **state)
{
    (void)state;
    struct ab_epochs epochs = {0};
    ab_epochs_trim(&epochs, 5);
    assert_int_equal(epochs.count, 0);
    ab_epochs_add(&epochs, 2, 0);
    ab_epochs_add(&epochs, 5, 10);
    ab_epochs_add(&epochs, 9, 25);
    ab_epochs_trim(&epochs, 0);
    assert_int_equal(epochs.count, 3);
    assert_int_equal(ab_epochs_before(&epochs, 10), 2);
    assert_int_equal(ab_epochs_before(&epochs, 11), 5);
    assert_int_equal(ab_epochs_before(&epochs, 0), 0);
    ab_epochs_trim(&epochs, 10); /* record 9 is of epoch 2 */
    assert_int_equal(epochs.count, 3);
    assert_int_equal(epochs.entries[0].first_offset, 10);
    assert_int_equal(ab_epochs_before(&epochs, 10), 2);
    expect_find(&epochs, 2, 30, 2, 10);
    ab_epochs_trim(&epochs, 12);
    assert_int_equal(epochs.count, 2);
    expect_find(&epochs, 5, 30, 5, 25);
    uint64_t found = 0;
    uint64_t end = 0;
    assert_int_equal(ab_epochs_find(&epochs, 4, 30, &found, &end), AB_NOT_FOUND);
    ab_epochs_trim(&epochs, 30);
    assert_int_equal(epochs.count, 1);
    expect_find(&epochs, 9, 30, 9, 30);
    ab_epochs_fini(&epochs);
}

/* ---- a log ---- */

/* Records 0..9 of epoch 7, 10..24 of 9, 25..59 of 12. */
static struct ab_log *three_epochs(const char *directory)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    for (uint64_t offset = 0; offset < 60; offset += 5) {
        fixture_append_epoch(log, 5, offset < 10 ? 7 : offset < 25 ? 9 : 12);
        assert_ok(ab_log_write(log, NULL));
    }
    assert_ok(ab_log_sync(log, NULL));
    return log;
}

static void expect_three_epochs(const struct ab_log *log)
{
    size_t count = 0;
    const struct ab_log_epoch *epochs = ab_log_epochs(log, &count);
    assert_int_equal(count, 3);
    static const struct ab_log_epoch expected[] = {{7, 0}, {9, 10}, {12, 25}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(epochs[i].epoch, expected[i].epoch);
        assert_int_equal(epochs[i].first_offset, expected[i].first_offset);
    }
    uint64_t found = 0;
    uint64_t end = 0;
    assert_ok(ab_log_epoch_end(log, 11, &found, &end));
    assert_int_equal(found, 9);
    assert_int_equal(end, 25);
    assert_int_equal(ab_log_epoch_end(log, 6, &found, &end), AB_NOT_FOUND);
}

static void test_log_knows_its_epochs_after_reopening(void **state)
{
    struct ab_log *log = three_epochs(*state);
    expect_three_epochs(log);
    ab_log_close(log);
    struct ab_log_recovery recovery;
    log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    expect_three_epochs(log);
    ab_log_close(log);
}

static void test_log_abandoned_records_leave_no_epoch(void **state)
{
    struct ab_log *log = three_epochs(*state);
    fixture_append_epoch(log, 1, 13);
    fixture_append_epoch(log, 1, 14);
    size_t count = 0;
    (void)ab_log_epochs(log, &count);
    assert_int_equal(count, 5);
    ab_log_abandon(log);
    expect_three_epochs(log);
    fixture_append_epoch(log, 1, 12); /* may be given again */
    ab_log_close(log);
}

static void test_log_refuses_an_epoch_below_the_last(void **state)
{
    struct ab_log *log = three_epochs(*state);
    struct ab_record record = {.header = {.kind = AB_RECORD_EPOCH_START, .leader_epoch = 11}};
    uint64_t offset = 99;
    assert_int_equal(ab_log_append(log, &record, &offset), AB_STALE);
    assert_int_equal(offset, 99);
    assert_int_equal(ab_log_end_offset(log), 60);
    ab_log_close(log);
}

static void test_log_with_a_falling_epoch_is_corrupt(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, 0, &recovery);
    fixture_append_epoch(log, 1, 9);
    assert_ok(ab_log_write(log, NULL));
    struct ab_record low = {.header = {.kind = AB_RECORD_EPOCH_START,
                                .partition = 3,
                                .leader_epoch = 8,
                                .offset = 1,
                                .previous_chain = ab_log_chain(log)}};
    struct ab_log_options options = fixture_options(0);
    memcpy(low.header.cluster_id, options.cluster_id, sizeof(low.header.cluster_id));
    ab_log_close(log);
    char *path = ab_segment_path(*state, 0);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    ab_record_encode(&low, &content);
    fixture_file_write(path, ab_buffer_view(&content));
    struct ab_error error = {0};
    assert_int_equal(ab_log_open(*state, &options, &log, &recovery, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, "record 1"));
    ab_buffer_fini(&content);
    ab_delete(path);
}

static void test_log_trimmed_knows_the_epochs_it_still_holds(void **state)
{
    struct ab_log *log = three_epochs(*state);
    assert_ok(ab_log_trim(log, 22, NULL));
    uint64_t start = ab_log_start_offset(log);
    assert_true(start > 10 && start <= 22);
    size_t count = 0;
    const struct ab_log_epoch *epochs = ab_log_epochs(log, &count);
    assert_int_equal(count, 2);
    assert_int_equal(epochs[0].epoch, 9);
    assert_int_equal(epochs[0].first_offset, start);
    ab_log_close(log);
    struct ab_log_recovery recovery;
    log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    epochs = ab_log_epochs(log, &count);
    assert_int_equal(count, 2);
    assert_int_equal(epochs[0].epoch, 9);
    assert_int_equal(epochs[0].first_offset, start);
    ab_log_close(log);
}

static void test_log_chain_at_every_offset_is_what_the_record_before_had(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    struct ab_hash128 chains[64];
    for (uint64_t offset = 0; offset < 60; offset++) {
        chains[offset] = ab_log_chain(log);
        fixture_append(log, 1);
        if (offset % 7 == 6) {
            assert_ok(ab_log_write(log, NULL)); /* the last four stay staged */
        }
    }
    chains[60] = ab_log_chain(log);
    struct ab_hash128 chain = {0};
    for (uint64_t offset = 0; offset <= 60; offset++) {
        assert_ok(ab_log_chain_at(log, offset, &chain, NULL));
        assert_true(ab_hash128_equal(chain, chains[offset]));
    }
    assert_int_equal(ab_log_chain_at(log, 61, &chain, NULL), AB_NOT_FOUND);
    assert_ok(ab_log_write(log, NULL));
    assert_ok(ab_log_trim(log, 30, NULL));
    uint64_t start = ab_log_start_offset(log);
    assert_int_equal(ab_log_chain_at(log, start - 1, &chain, NULL), AB_NOT_FOUND);
    assert_ok(ab_log_chain_at(log, start, &chain, NULL));
    assert_true(ab_hash128_equal(chain, chains[start]));
    ab_log_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epochs_find_gives_the_largest_not_above_and_its_end),
        cmocka_unit_test(test_epochs_do_not_fall),
        cmocka_unit_test(test_epochs_truncated_forget_what_began_later),
        cmocka_unit_test(test_epochs_trimmed_keep_the_one_before_the_start),
        cmocka_unit_test_setup_teardown(test_log_knows_its_epochs_after_reopening, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_log_abandoned_records_leave_no_epoch, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_log_refuses_an_epoch_below_the_last, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_log_with_a_falling_epoch_is_corrupt, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_log_trimmed_knows_the_epochs_it_still_holds, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(
            test_log_chain_at_every_offset_is_what_the_record_before_had, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
