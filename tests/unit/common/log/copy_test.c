/* A follower's log: the leader's bytes, or nothing. */
#include "common/log/log.h"

#include "common/log/segment.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

enum { RECORDS = 12 };

/* ---- fixture ---- */

/* A leader's log of RECORDS records, of which the last five are of a later epoch, and a follower's empty one. */
struct pair {
    char *directory;
    char *leader_directory;
    char *follower_directory;
    struct ab_log *follower;
    struct ab_buffer bytes;   /* the leader's, whole */
    size_t ends[RECORDS + 1]; /* byte where record i begins */
    struct ab_hash128 chain;  /* the leader's, at its end */
};

static int pair_setup(void **state)
{
    struct pair *pair = ab_new(struct pair);
    pair->directory = scratch_make();
    pair->leader_directory = scratch_path(pair->directory, "leader");
    pair->follower_directory = scratch_path(pair->directory, "follower");
    struct ab_log_recovery recovery;
    struct ab_log *leader = fixture_open(pair->leader_directory, 0, &recovery);
    for (size_t i = 0; i < RECORDS; i++) {
        fixture_append_epoch(leader, 1, i < 7 ? FIXTURE_EPOCH : FIXTURE_EPOCH + 2);
        pair->ends[i + 1] = pair->ends[i] + ab_log_staged_bytes(leader);
        assert_ok(ab_log_write(leader, NULL));
        assert_ok(ab_log_sync(leader, NULL));
    }
    pair->chain = ab_log_chain(leader);
    ab_log_close(leader);
    char *path = ab_segment_path(pair->leader_directory, 0);
    fixture_file_read(path, &pair->bytes);
    ab_delete(path);
    assert_int_equal(pair->bytes.bytes, pair->ends[RECORDS]);
    pair->follower = fixture_open(pair->follower_directory, 0, &recovery);
    *state = pair;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *pair = *state;
    ab_log_close(pair->follower);
    ab_buffer_fini(&pair->bytes);
    ab_delete(pair->leader_directory);
    ab_delete(pair->follower_directory);
    scratch_remove(pair->directory);
    ab_delete(pair);
    return 0;
}

/* The leader's records [from, until). */
static struct ab_bytes records_of(const struct pair *pair, size_t from, size_t until)
{
    return ab_bytes_of(pair->bytes.data + pair->ends[from], pair->ends[until] - pair->ends[from]);
}

static void copy_expect_ok(struct pair *pair, size_t from, size_t until)
{
    struct ab_log_copied copied = {0};
    struct ab_error error = {0};
    if (ab_log_append_copy(pair->follower, records_of(pair, from, until), &copied, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(copied.records_count, until - from);
    assert_int_equal(copied.end_offset, until);
}

/* A copy that must be refused and change nothing. */
static void copy_expect(struct pair *pair, struct ab_bytes bytes, ab_err expected)
{
    size_t epochs_before = 0;
    size_t epochs_after = 0;
    (void)ab_log_epochs(pair->follower, &epochs_before);
    uint64_t end = ab_log_end_offset(pair->follower);
    size_t staged = ab_log_staged_bytes(pair->follower);
    struct ab_hash128 chain = ab_log_chain(pair->follower);
    struct ab_log_copied copied = {.records_count = 77};
    struct ab_error error = {0};
    assert_int_equal(ab_log_append_copy(pair->follower, bytes, &copied, &error), expected);
    assert_true(error.text[0] != '\0');
    (void)ab_log_epochs(pair->follower, &epochs_after);
    assert_int_equal(copied.records_count, 77);
    assert_int_equal(epochs_after, epochs_before);
    assert_int_equal(ab_log_end_offset(pair->follower), end);
    assert_int_equal(ab_log_staged_bytes(pair->follower), staged);
    assert_true(ab_hash128_equal(ab_log_chain(pair->follower), chain));
}

/* ---- cases ---- */

static void invariant_3_ordered_copy_test(void **state)
{
    struct pair *pair = *state;
    copy_expect_ok(pair, 0, 1);
    copy_expect_ok(pair, 1, 5);
    assert_ok(ab_log_write(pair->follower, NULL));
    copy_expect_ok(pair, 5, 5);
    copy_expect_ok(pair, 5, RECORDS);
    assert_int_equal(ab_log_durable_offset(pair->follower), 0);
    assert_ok(ab_log_write(pair->follower, NULL));
    assert_ok(ab_log_sync(pair->follower, NULL));
    assert_int_equal(ab_log_durable_offset(pair->follower), RECORDS);
    assert_true(ab_hash128_equal(ab_log_chain(pair->follower), pair->chain));
    size_t count = 0;
    const struct ab_log_epoch *epochs = ab_log_epochs(pair->follower, &count);
    assert_int_equal(count, 2);
    assert_int_equal(epochs[1].epoch, FIXTURE_EPOCH + 2);
    assert_int_equal(epochs[1].first_offset, 7);
    fixture_read_all(pair->follower_directory, 0, RECORDS);
    char *path = ab_segment_path(pair->follower_directory, 0);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    assert_true(ab_bytes_equal(ab_buffer_view(&content), ab_buffer_view(&pair->bytes)));
    ab_buffer_fini(&content);
    ab_delete(path);
}

static void test_copy_abandoned_is_given_again(void **state)
{
    struct pair *pair = *state;
    copy_expect_ok(pair, 0, 3);
    assert_ok(ab_log_write(pair->follower, NULL));
    copy_expect_ok(pair, 3, RECORDS);
    ab_log_abandon(pair->follower);
    assert_int_equal(ab_log_end_offset(pair->follower), 3);
    copy_expect_ok(pair, 3, RECORDS);
}

static void test_copy_with_any_bit_changed_is_refused_whole(void **state)
{
    struct pair *pair = *state;
    struct ab_bytes all = records_of(pair, 0, RECORDS);
    for (size_t at = 0; at < all.bytes; at += at < 300 ? 1 : 97) {
        pair->bytes.data[at] ^= 0x10;
        copy_expect(pair, all, AB_CORRUPT);
        pair->bytes.data[at] ^= 0x10;
    }
}

static void test_copy_that_ends_within_a_record_is_refused_whole(void **state)
{
    struct pair *pair = *state;
    struct ab_bytes all = records_of(pair, 0, RECORDS);
    copy_expect(pair, ab_bytes_of(all.data, all.bytes - 1), AB_INVALID);
    copy_expect(pair, ab_bytes_of(all.data, pair->ends[3] + 40), AB_INVALID);
    copy_expect(pair, ab_bytes_of(all.data, pair->ends[3] + 128), AB_INVALID);
    copy_expect(pair, ab_bytes_of(all.data + 8, all.bytes - 8), AB_CORRUPT);
}

static void test_copy_that_is_not_the_next_is_refused(void **state)
{
    struct pair *pair = *state;
    copy_expect(pair, records_of(pair, 1, 3), AB_SEQUENCE);
    copy_expect_ok(pair, 0, 4);
    copy_expect(pair, records_of(pair, 3, 6), AB_SEQUENCE);
    copy_expect(pair, records_of(pair, 5, 6), AB_SEQUENCE);
    copy_expect_ok(pair, 4, 6);
}

/* Encodes one record that would come next in the follower's log but for what the case changes. */
static struct ab_record next_record(const struct pair *pair)
{
    struct ab_record record = {.header = {.kind = AB_RECORD_EPOCH_START,
                                   .partition = 3,
                                   .leader_epoch = FIXTURE_EPOCH + 2,
                                   .offset = ab_log_end_offset(pair->follower),
                                   .previous_chain = ab_log_chain(pair->follower)}};
    struct ab_log_options options = fixture_options(0);
    memcpy(record.header.cluster_id, options.cluster_id, sizeof(record.header.cluster_id));
    return record;
}

static void record_expect(struct pair *pair, struct ab_record record, ab_err expected)
{
    struct ab_buffer bytes = {0};
    ab_record_encode(&record, &bytes);
    copy_expect(pair, ab_buffer_view(&bytes), expected);
    ab_buffer_fini(&bytes);
}

static void test_copy_of_what_belongs_elsewhere_is_refused(void **state)
{
    struct pair *pair = *state;
    copy_expect_ok(pair, 0, RECORDS);
    struct ab_record record = next_record(pair);
    record.header.partition = 4;
    record_expect(pair, record, AB_INVALID);
    record = next_record(pair);
    record.header.cluster_id[3] ^= 1;
    record_expect(pair, record, AB_INVALID);
    record = next_record(pair);
    record.header.previous_chain.high ^= 1;
    record_expect(pair, record, AB_MISMATCH);
    record = next_record(pair);
    record.header.leader_epoch--;
    record_expect(pair, record, AB_STALE);
    record = next_record(pair);
    record.header.durable_offset = record.header.offset + 1;
    record_expect(pair, record, AB_CORRUPT);
    struct ab_buffer bytes = {0};
    record = next_record(pair);
    ab_record_encode(&record, &bytes);
    struct ab_log_copied copied;
    assert_ok(ab_log_append_copy(pair->follower, ab_buffer_view(&bytes), &copied, NULL));
    assert_int_equal(copied.end_offset, RECORDS + 1);
    ab_buffer_fini(&bytes);
}

static void test_copy_that_does_not_fit_is_full_and_fits_after_a_write(void **state)
{
    struct pair *pair = *state;
    ab_log_close(pair->follower);
    struct ab_memory memory;
    ab_memory_init(&memory, pair->ends[RECORDS] / 2, NULL);
    struct ab_log_options options = fixture_options(0);
    options.memory = &memory;
    struct ab_log_recovery recovery;
    assert_ok(ab_log_open(pair->follower_directory, &options, &pair->follower, &recovery, NULL));
    size_t copied = 0;
    bool was_full = false;
    while (copied < RECORDS) {
        struct ab_log_copied result;
        ab_err err = ab_log_append_copy(pair->follower, records_of(pair, copied, copied + 1), &result, NULL);
        if (err == AB_FULL) {
            was_full = true;
            assert_ok(ab_log_write(pair->follower, NULL));
        } else {
            assert_ok(err);
            copied++;
        }
    }
    assert_true(was_full);
    assert_ok(ab_log_write(pair->follower, NULL));
    fixture_read_all(pair->follower_directory, 0, RECORDS);
    ab_log_close(pair->follower);
    pair->follower = NULL;
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_copy_into_a_poisoned_log_is_refused(void **state)
{
    struct pair *pair = *state;
    copy_expect_ok(pair, 0, 2);
    ab_file_fault_set(0, 1, AB_IO);
    assert_int_equal(ab_log_write(pair->follower, NULL), AB_IO);
    ab_file_fault_clear();
    copy_expect(pair, records_of(pair, 0, 2), AB_IO);
}

/* What the leader had synced says nothing about this disk: the tail that this one lost is torn, not corrupt. */
static void test_copy_torn_on_this_disk_is_cut_whatever_the_leader_had_synced(void **state)
{
    struct pair *pair = *state;
    char *path = ab_segment_path(pair->follower_directory, 0);
    ab_log_close(pair->follower);
    struct ab_log_recovery recovery;
    for (size_t kept = 0; kept < RECORDS; kept++) {
        fixture_file_write(path, ab_bytes_of(pair->bytes.data, pair->ends[kept] + 130));
        pair->follower = fixture_open(pair->follower_directory, 0, &recovery);
        assert_int_equal(recovery.end_offset, kept);
        assert_int_equal(recovery.torn_bytes, 130);
        copy_expect_ok(pair, kept, RECORDS);
        ab_log_close(pair->follower);
    }
    pair->follower = NULL;
    ab_delete(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(invariant_3_ordered_copy_test, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_copy_abandoned_is_given_again, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_copy_with_any_bit_changed_is_refused_whole, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(
            test_copy_that_ends_within_a_record_is_refused_whole, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_copy_that_is_not_the_next_is_refused, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_copy_of_what_belongs_elsewhere_is_refused, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(
            test_copy_that_does_not_fit_is_full_and_fits_after_a_write, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(test_copy_into_a_poisoned_log_is_refused, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(
            test_copy_torn_on_this_disk_is_cut_whatever_the_leader_had_synced, pair_setup, pair_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
