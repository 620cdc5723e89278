/* What is left when the process, the disk or a byte fails. */
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/time.h"
#include "common/log/log.h"
#include "common/log/segment.h"
#include "tests/support/crash.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { KILL_ROUNDS = 20, KILL_SEGMENT_BYTES = 60000 };

/* ---- killed processes ---- */

/* Appends for ever, telling through the pipe which offset is durable. */
static void child_append(const char *directory, int pipe_fd)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, KILL_SEGMENT_BYTES, &recovery);
    for (size_t group = 1;; group++) {
        fixture_append_durably(log, 1 + group % 7);
        uint64_t durable = ab_log_durable_offset(log);
        if (write(pipe_fd, &durable, sizeof(durable)) != sizeof(durable)) {
            _exit(1);
        }
    }
}

/* Runs a child for a random while, kills it, and returns the highest offset it acknowledged. */
static uint64_t child_run_and_kill(const char *directory, struct ab_random *random)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        child_append(directory, ends[1]);
    }
    close(ends[1]);
    return crash_watch(ends[0], child, ab_time_monotonic_us() + 2000 + (int64_t)ab_random_below(random, 60000));
}

static void invariant_1_durable_test(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_random random;
    ab_random_init(&random, 20130601);
    uint64_t acknowledged = 0;
    for (int round = 0; round < KILL_ROUNDS; round++) {
        uint64_t more = child_run_and_kill(directory, &random);
        acknowledged = more > acknowledged ? more : acknowledged;
        struct ab_log_recovery recovery;
        struct ab_log *log = fixture_open(directory, KILL_SEGMENT_BYTES, &recovery);
        assert_true(recovery.end_offset >= acknowledged);
        fixture_read_all(directory, 0, recovery.end_offset);
        ab_log_close(log);
    }
    assert_true(acknowledged > 100);
    scratch_remove(directory);
}

/* ---- torn tails ---- */

static void test_log_torn_at_every_byte_keeps_whole_records(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *path = ab_segment_path(directory, 0);
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 3);
    struct ab_buffer before = {0};
    fixture_file_read(path, &before);
    uint64_t ends[3];
    for (int i = 0; i < 3; i++) {
        struct ab_record record = {.header = {.kind = AB_RECORD_BLOCK, .leader_epoch = FIXTURE_EPOCH},
            .body = ab_bytes_of("0123456789", 7 + i)};
        uint64_t offset = 0;
        assert_int_equal(ab_log_append(log, &record, &offset), AB_OK);
        ends[i] = before.bytes + ab_log_staged_bytes(log);
    }
    assert_int_equal(ab_log_write(log, NULL), AB_OK);
    ab_log_close(log);
    struct ab_buffer whole = {0};
    fixture_file_read(path, &whole);
    assert_int_equal(whole.bytes, ends[2]);
    for (size_t bytes = before.bytes; bytes <= whole.bytes; bytes++) {
        fixture_file_write(path, ab_bytes_of(whole.data, bytes));
        log = fixture_open(directory, 0, &recovery);
        uint64_t kept = (uint64_t)(bytes >= ends[0]) + (bytes >= ends[1]) + (bytes >= ends[2]);
        assert_int_equal(recovery.end_offset, 3 + kept);
        uint64_t expected = kept == 0 ? before.bytes : ends[kept - 1];
        assert_int_equal(recovery.torn_bytes, bytes - expected);
        ab_log_close(log);
        struct ab_buffer left = {0};
        fixture_file_read(path, &left);
        assert_true(ab_bytes_equal(ab_buffer_view(&left), ab_bytes_of(whole.data, expected)));
        ab_buffer_fini(&left);
    }
    ab_buffer_fini(&before);
    ab_buffer_fini(&whole);
    ab_delete(path);
    scratch_remove(directory);
}

static void test_log_torn_tail_is_kept_aside_and_the_log_goes_on(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *path = ab_segment_path(directory, 0);
    char *torn_path = ab_new_format("%s.torn", path);
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 4);
    ab_log_close(log);
    fixture_forget_watermark(directory);
    struct ab_buffer whole = {0};
    fixture_file_read(path, &whole);
    fixture_file_write(path, ab_bytes_of(whole.data, whole.bytes - 9));
    log = fixture_open(directory, 0, &recovery);
    assert_int_equal(recovery.end_offset, 3);
    struct ab_buffer torn = {0};
    fixture_file_read(torn_path, &torn);
    assert_int_equal(torn.bytes, recovery.torn_bytes);
    fixture_append_durably(log, 2);
    fixture_read_all(directory, 0, 5);
    ab_log_close(log);
    ab_buffer_fini(&torn);
    ab_buffer_fini(&whole);
    ab_delete(torn_path);
    ab_delete(path);
    scratch_remove(directory);
}

static void test_log_zeros_at_the_end_are_torn(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *path = ab_segment_path(directory, 0);
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 4);
    ab_log_close(log);
    assert_int_equal(truncate(path, 1 << 20), 0);
    log = fixture_open(directory, 0, &recovery);
    assert_int_equal(recovery.end_offset, 4);
    assert_true(recovery.torn_bytes > 1000000);
    ab_log_close(log);
    ab_delete(path);
    scratch_remove(directory);
}

/* ---- corruption ---- */

/* Opens what must be corrupt and checks that the segment was left alone. */
static void open_expect_corrupt(const char *directory, const char *path, struct ab_bytes content)
{
    struct ab_log_options options = fixture_options(KILL_SEGMENT_BYTES);
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery;
    struct ab_error error = {0};
    assert_int_equal(ab_log_open(directory, &options, &log, &recovery, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, "segment "));
    struct ab_buffer after = {0};
    fixture_file_read(path, &after);
    assert_true(ab_bytes_equal(ab_buffer_view(&after), content));
    ab_buffer_fini(&after);
    char *torn_path = ab_new_format("%s.torn", path);
    assert_false(ab_file_exists(torn_path));
    ab_delete(torn_path);
}

static void test_log_any_byte_changed_before_the_last_record_is_corrupt(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *path = ab_segment_path(directory, 0);
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    for (int i = 0; i < 3; i++) {
        struct ab_record record = {.header = {.kind = AB_RECORD_BLOCK, .leader_epoch = FIXTURE_EPOCH},
            .body = ab_bytes_of("0123456789", 7 + i)};
        uint64_t offset = 0;
        assert_int_equal(ab_log_append(log, &record, &offset), AB_OK);
    }
    size_t last_at = ab_log_staged_bytes(log);
    fixture_append_durably(log, 1);
    ab_log_close(log);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    for (size_t at = 0; at < last_at; at++) {
        content.data[at] ^= 0x20;
        fixture_file_write(path, ab_buffer_view(&content));
        open_expect_corrupt(directory, path, ab_buffer_view(&content));
        content.data[at] ^= 0x20;
    }
    ab_buffer_fini(&content);
    ab_delete(path);
    scratch_remove(directory);
}

static void test_log_bad_end_of_a_segment_that_was_left_is_corrupt(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, KILL_SEGMENT_BYTES, &recovery);
    while (ab_log_end_offset(log) < 200) {
        fixture_append_durably(log, 2);
    }
    ab_log_close(log);
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    assert_int_equal(ab_segment_list(directory, &first_offsets, &count, NULL), AB_OK);
    assert_true(count >= 4);
    for (size_t i = 0; i + 1 < count; i++) {
        char *path = ab_segment_path(directory, first_offsets[i]);
        struct ab_buffer content = {0};
        fixture_file_read(path, &content);
        fixture_file_write(path, ab_bytes_of(content.data, content.bytes - 8));
        open_expect_corrupt(directory, path, ab_bytes_of(content.data, content.bytes - 8));
        fixture_file_write(path, ab_buffer_view(&content));
        ab_buffer_fini(&content);
        ab_delete(path);
    }
    char *lost = ab_segment_path(directory, first_offsets[1]);
    struct ab_buffer content = {0};
    fixture_file_read(lost, &content);
    assert_int_equal(unlink(lost), 0);
    struct ab_log_options options = fixture_options(KILL_SEGMENT_BYTES);
    assert_int_equal(ab_log_open(directory, &options, &log, &recovery, NULL), AB_CORRUPT);
    fixture_file_write(lost, ab_buffer_view(&content));
    log = fixture_open(directory, KILL_SEGMENT_BYTES, &recovery);
    ab_log_close(log);
    ab_buffer_fini(&content);
    ab_delete(lost);
    ab_delete(first_offsets);
    scratch_remove(directory);
}

static void test_log_of_another_partition_is_refused(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 1);
    ab_log_close(log);
    struct ab_log_options options = fixture_options(0);
    options.partition = 4;
    assert_int_equal(ab_log_open(directory, &options, &log, &recovery, NULL), AB_CORRUPT);
    options = fixture_options(0);
    options.cluster_id[0] ^= 1;
    assert_int_equal(ab_log_open(directory, &options, &log, &recovery, NULL), AB_CORRUPT);
    log = fixture_open(directory, 0, &recovery);
    assert_int_equal(recovery.end_offset, 1);
    ab_log_close(log);
    scratch_remove(directory);
}

/* ---- failing calls ---- */

static void test_log_open_survives_the_nth_call_failing(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, KILL_SEGMENT_BYTES, &recovery);
    while (ab_log_end_offset(log) < 200) {
        fixture_append_durably(log, 2);
    }
    ab_log_close(log);
    struct ab_log_options options = fixture_options(KILL_SEGMENT_BYTES);
    ab_err err = AB_IO;
    for (int countdown = 0; err != AB_OK; countdown++) {
        ab_file_fault_set(countdown, 1, AB_IO);
        err = ab_log_open(directory, &options, &log, &recovery, NULL);
        assert_true(err == AB_IO || (err == AB_OK && !ab_file_fault_was_hit()));
    }
    ab_file_fault_clear();
    assert_int_equal(recovery.end_offset, 200);
    ab_log_close(log);
    fixture_read_all(directory, 0, 200);
    scratch_remove(directory);
}

static void test_log_first_open_survives_the_nth_call_failing(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_options options = fixture_options(0);
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery;
    ab_err err = AB_NO_SPACE;
    for (int countdown = 0; err != AB_OK; countdown++) {
        ab_file_fault_set(countdown, 1, AB_NO_SPACE);
        err = ab_log_open(directory, &options, &log, &recovery, NULL);
        assert_true(err == AB_NO_SPACE || err == AB_OK);
    }
    ab_file_fault_clear();
    fixture_append_durably(log, 3);
    ab_log_close(log);
    fixture_read_all(directory, 0, 3);
    scratch_remove(directory);
}

/* Appends groups with the n-th call failing; what was acknowledged must be there after reopening. */
static void append_with_fault(int countdown, ab_err code, bool *was_hit)
{
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 10000, &recovery);
    ab_file_fault_set(countdown, 1, code);
    bool is_poisoned = false;
    for (int group = 0; group < 12; group++) {
        struct ab_record record = {.header = {.kind = AB_RECORD_BLOCK, .leader_epoch = FIXTURE_EPOCH}};
        uint64_t offset = 0;
        if (is_poisoned) {
            assert_int_equal(ab_log_append(log, &record, &offset), AB_IO);
            assert_int_equal(ab_log_write(log, NULL), AB_IO);
            assert_int_equal(ab_log_sync(log, NULL), AB_IO);
            continue;
        }
        fixture_append(log, 2);
        ab_err err = ab_log_write(log, NULL);
        if (err == AB_OK) {
            err = ab_log_sync(log, NULL);
        }
        assert_true(err == AB_OK || err == AB_IO || (err == AB_NO_SPACE && code == AB_NO_SPACE));
        is_poisoned = err == AB_IO;
        assert_int_equal(ab_log_staged_bytes(log), 0);
    }
    *was_hit = ab_file_fault_was_hit();
    ab_file_fault_clear();
    uint64_t durable = ab_log_durable_offset(log);
    ab_log_close(log);
    log = fixture_open(directory, 10000, &recovery);
    assert_true(recovery.end_offset >= durable);
    fixture_read_all(directory, 0, recovery.end_offset);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_log_append_survives_the_nth_call_failing(void **state)
{
    (void)state;
    static const ab_err codes[] = {AB_IO, AB_NO_SPACE};
    for (size_t i = 0; i < 2; i++) {
        bool was_hit = true;
        for (int countdown = 0; was_hit; countdown++) {
            append_with_fault(countdown, codes[i], &was_hit);
        }
    }
}

static void test_log_no_space_is_not_poison(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 2);
    fixture_append(log, 2);
    ab_file_fault_set(0, 1, AB_NO_SPACE);
    assert_int_equal(ab_log_write(log, NULL), AB_NO_SPACE);
    ab_file_fault_clear();
    assert_int_equal(ab_log_end_offset(log), 2);
    fixture_append_durably(log, 2);
    ab_log_close(log);
    fixture_read_all(directory, 0, 4);
    scratch_remove(directory);
}

static void test_log_on_a_full_disk_refuses_and_goes_on_when_there_is_room(void **state)
{
    (void)state;
    char *directory = scratch_make();
    if (mount("tmpfs", directory, "tmpfs", 0, "size=512k") != 0) {
        print_message("mounting a small tmpfs is not permitted here: skipped\n");
        scratch_remove(directory);
        skip();
    }
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 100000, &recovery);
    char *ballast = ab_new_format("%s/ballast", directory);
    uint8_t *zeros = ab_new_bytes(100000);
    fixture_file_write(ballast, ab_bytes_of(zeros, 100000));
    struct ab_error error = {0};
    ab_err err = AB_OK;
    uint64_t acknowledged = 0;
    for (int group = 0; group < 1000 && err == AB_OK; group++) {
        fixture_append(log, 5);
        err = ab_log_write(log, &error);
        if (err == AB_OK) {
            assert_int_equal(ab_log_sync(log, NULL), AB_OK);
            acknowledged = ab_log_durable_offset(log);
        }
    }
    assert_int_equal(err, AB_NO_SPACE);
    assert_int_equal(ab_log_end_offset(log), acknowledged);
    assert_true(acknowledged > 50);
    fixture_read_all(directory, 0, acknowledged);
    assert_int_equal(unlink(ballast), 0);
    fixture_append_durably(log, 5);
    ab_log_close(log);
    log = fixture_open(directory, 100000, &recovery);
    assert_int_equal(recovery.end_offset, acknowledged + 5);
    assert_int_equal(recovery.torn_bytes, 0);
    fixture_read_all(directory, 0, acknowledged + 5);
    ab_log_close(log);
    assert_int_equal(umount(directory), 0);
    ab_delete(zeros);
    ab_delete(ballast);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invariant_1_durable_test),
        cmocka_unit_test(test_log_torn_at_every_byte_keeps_whole_records),
        cmocka_unit_test(test_log_torn_tail_is_kept_aside_and_the_log_goes_on),
        cmocka_unit_test(test_log_zeros_at_the_end_are_torn),
        cmocka_unit_test(test_log_any_byte_changed_before_the_last_record_is_corrupt),
        cmocka_unit_test(test_log_bad_end_of_a_segment_that_was_left_is_corrupt),
        cmocka_unit_test(test_log_of_another_partition_is_refused),
        cmocka_unit_test(test_log_open_survives_the_nth_call_failing),
        cmocka_unit_test(test_log_first_open_survives_the_nth_call_failing),
        cmocka_unit_test(test_log_append_survives_the_nth_call_failing),
        cmocka_unit_test(test_log_no_space_is_not_poison),
        cmocka_unit_test(test_log_on_a_full_disk_refuses_and_goes_on_when_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
