/* What had been synced is known even when the last record of an idle log is damaged. */
#include "common/log/watermark.h"

#include "common/base/random.h"
#include "common/log/segment.h"
#include "tests/support/crash.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

enum { SMALL_SEGMENT = 20000, KILL_ROUNDS = 12, KILL_SEGMENT_BYTES = 60000 };

/* ---- the file ---- */

static struct ab_watermark sample(void)
{
    return (struct ab_watermark){.durable_offset = 0x1122334455667788,
        .damaged_until = 0x99,
        .begin = {.is_known = true, .offset = 0x42, .epoch = 7, .chain = {.low = 0xAB, .high = 0xCD}},
        .is_resetting = true};
}

static void test_watermark_bytes_are_as_the_header_says(void **state)
{
    (void)state;
    static const uint8_t golden[AB_WATERMARK_BYTES] = {'A', 'B', 'W', '1', 1, 0, 3, 0, 3, 0, 0, 0, 0, 0, 0,
        0,                                                                               /* partition 3 */
        'a', ' ', 't', 'e', 's', 't', '\'', 's', ' ', 'c', 'l', 'u', 's', 't', 'e', 'r', /* cluster id */
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x99, 0, 0, 0, 0, 0, 0, 0,       /* durable, damaged until */
        0x42, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,                               /* begin: offset, epoch */
        0xAB, 0, 0, 0, 0, 0, 0, 0, 0xCD, 0, 0, 0, 0, 0, 0, 0,                            /* begin: chain */
        0};
    struct ab_log_options options = fixture_options(0);
    struct ab_watermark watermark = sample();
    struct ab_buffer bytes = {0};
    ab_watermark_encode(&watermark, &options, &bytes);
    assert_int_equal(bytes.bytes, AB_WATERMARK_BYTES);
    assert_memory_equal(bytes.data, golden, 80);
    struct ab_watermark read;
    assert_ok(ab_watermark_decode(ab_buffer_view(&bytes), &options, &read));
    assert_int_equal(read.durable_offset, watermark.durable_offset);
    assert_int_equal(read.damaged_until, watermark.damaged_until);
    assert_int_equal(read.begin.offset, watermark.begin.offset);
    assert_int_equal(read.begin.epoch, watermark.begin.epoch);
    assert_true(ab_hash128_equal(read.begin.chain, watermark.begin.chain));
    assert_true(read.begin.is_known && read.is_resetting);
    ab_buffer_fini(&bytes);
}

static void test_watermark_damaged_anywhere_is_refused(void **state)
{
    (void)state;
    struct ab_log_options options = fixture_options(0);
    struct ab_watermark watermark = sample();
    struct ab_buffer bytes = {0};
    ab_watermark_encode(&watermark, &options, &bytes);
    for (size_t bit = 0; bit < 8 * bytes.bytes; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(ab_watermark_decode(ab_buffer_view(&bytes), &options, &watermark), AB_CORRUPT);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t kept = 0; kept < bytes.bytes; kept++) {
        assert_int_equal(ab_watermark_decode(ab_bytes_of(bytes.data, kept), &options, &watermark), AB_CORRUPT);
    }
    ab_buffer_fini(&bytes);
}

/* Changes a byte and makes the checksum fit again. */
static ab_err decode_changed(size_t at, uint8_t value, size_t more, struct ab_log_options options)
{
    struct ab_log_options written_by = fixture_options(0);
    struct ab_watermark watermark = sample();
    struct ab_buffer bytes = {0};
    ab_watermark_encode(&watermark, &written_by, &bytes);
    bytes.data[at] = value;
    bytes.bytes -= sizeof(uint64_t);
    for (size_t i = 0; i < more; i++) {
        ab_buffer_put_u8(&bytes, 0);
    }
    ab_buffer_put_u64(&bytes, ab_hash64(AB_HASH_CONTENT, ab_buffer_view(&bytes)));
    ab_err err = ab_watermark_decode(ab_buffer_view(&bytes), &options, &watermark);
    ab_buffer_fini(&bytes);
    return err;
}

static void test_watermark_of_a_newer_format_or_another_log_is_refused(void **state)
{
    (void)state;
    struct ab_log_options options = fixture_options(0);
    assert_int_equal(decode_changed(4, 2, 0, options), AB_UNSUPPORTED);
    assert_int_equal(decode_changed(4, 2, 16, options), AB_UNSUPPORTED);
    assert_int_equal(decode_changed(6, 4, 0, options), AB_UNSUPPORTED);
    assert_int_equal(decode_changed(12, 1, 0, options), AB_CORRUPT);
    assert_int_equal(decode_changed(6, 2, 0, options), AB_CORRUPT); /* anew, and nobody knows where */
    assert_int_equal(decode_changed(4, 1, 8, options), AB_CORRUPT);
    assert_int_equal(decode_changed(4, 1, 0, options), AB_OK);
    options.partition++;
    assert_int_equal(decode_changed(4, 1, 0, options), AB_MISMATCH);
    options = fixture_options(0);
    options.cluster_id[15] ^= 1;
    assert_int_equal(decode_changed(4, 1, 0, options), AB_MISMATCH);
}

static void test_watermark_absent_or_damaged_states_nothing(void **state)
{
    struct ab_log_options options = fixture_options(0);
    struct ab_watermark watermark = sample();
    assert_ok(ab_watermark_load(*state, &options, &watermark, NULL));
    assert_int_equal(watermark.durable_offset, 0);
    watermark = sample();
    assert_ok(ab_watermark_store(*state, &options, &watermark, NULL));
    struct ab_watermark read = {0};
    assert_ok(ab_watermark_load(*state, &options, &read, NULL));
    assert_int_equal(read.durable_offset, watermark.durable_offset);
    char *path = ab_watermark_path(*state);
    fixture_file_write(path, ab_bytes_of_text("half a watermark"));
    assert_ok(ab_watermark_load(*state, &options, &read, NULL));
    assert_int_equal(read.durable_offset, 0);
    assert_false(read.begin.is_known);
    ab_delete(path);
}

/* ---- a log ---- */

/* Opens a log that must be corrupt; nothing of it may change on disk. */
static void open_expect_corrupt(const char *directory)
{
    char *path = ab_segment_path(directory, 0);
    struct ab_buffer before = {0};
    struct ab_buffer after = {0};
    fixture_file_read(path, &before);
    struct ab_log_options options = fixture_options(SMALL_SEGMENT);
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery;
    struct ab_error error = {0};
    assert_int_equal(ab_log_open(directory, &options, &log, &recovery, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, "record 3"));
    fixture_file_read(path, &after);
    assert_true(ab_bytes_equal(ab_buffer_view(&before), ab_buffer_view(&after)));
    char *torn_path = ab_new_format("%s.torn", path);
    assert_false(ab_file_exists(torn_path));
    ab_delete(torn_path);
    ab_buffer_fini(&before);
    ab_buffer_fini(&after);
    ab_delete(path);
}

/* An image of an idle log of four records, noted, of a process that was killed; *last_at is where the last begins. */
static char *idle_image(const char *directory, size_t *last_at)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    fixture_append(log, 3);
    *last_at = ab_log_staged_bytes(log);
    fixture_append_durably(log, 1);
    assert_ok(ab_log_note_durable(log, NULL));
    char *image = fixture_image(directory);
    ab_log_close(log);
    return image;
}

static void test_log_noted_with_its_last_record_damaged_is_corrupt(void **state)
{
    size_t last_at = 0;
    char *image = idle_image(*state, &last_at);
    char *path = ab_segment_path(image, 0);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    for (size_t at = last_at; at < content.bytes; at += at < last_at + 130 ? 1 : 53) {
        content.data[at] ^= 0x04;
        fixture_file_write(path, ab_buffer_view(&content));
        open_expect_corrupt(image);
        content.data[at] ^= 0x04;
    }
    for (size_t bytes = last_at; bytes < content.bytes; bytes += 41) {
        fixture_file_write(path, ab_bytes_of(content.data, bytes));
        open_expect_corrupt(image);
    }
    fixture_file_write(path, ab_buffer_view(&content));
    struct ab_log_recovery recovery;
    ab_log_close(fixture_open(image, SMALL_SEGMENT, &recovery));
    assert_int_equal(recovery.end_offset, 4);
    ab_buffer_fini(&content);
    ab_delete(path);
    scratch_remove(image);
}

static void test_log_closed_cleanly_is_noted(void **state)
{
    size_t last_at = 0;
    scratch_remove(idle_image(*state, &last_at));
    char *path = ab_segment_path(*state, 0);
    assert_int_equal(truncate(path, (off_t)last_at), 0);
    open_expect_corrupt(*state);
    ab_delete(path);
}

static void test_log_without_a_readable_watermark_is_torn_as_ever(void **state)
{
    size_t last_at = 0;
    char *image = idle_image(*state, &last_at);
    char *path = ab_segment_path(image, 0);
    assert_int_equal(truncate(path, (off_t)last_at + 20), 0);
    char *watermark = ab_watermark_path(image);
    fixture_file_write(watermark, ab_bytes_of_text("not one"));
    struct ab_log_recovery recovery;
    ab_log_close(fixture_open(image, SMALL_SEGMENT, &recovery));
    assert_int_equal(recovery.end_offset, 3);
    assert_int_equal(recovery.torn_bytes, 20);
    assert_int_equal(truncate(path, (off_t)last_at - 20), 0);
    fixture_forget_watermark(image);
    ab_log_close(fixture_open(image, SMALL_SEGMENT, &recovery));
    assert_int_equal(recovery.end_offset, 2);
    ab_delete(watermark);
    ab_delete(path);
    scratch_remove(image);
}

static void test_log_torn_behind_the_watermark_is_cut(void **state)
{
    size_t last_at = 0;
    char *image = idle_image(*state, &last_at);
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(image, SMALL_SEGMENT, &recovery);
    fixture_append(log, 2);
    assert_ok(ab_log_write(log, NULL));
    char *second = fixture_image(image);
    ab_log_close(log);
    char *path = ab_segment_path(second, 0);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    assert_int_equal(truncate(path, (off_t)content.bytes - 3), 0);
    ab_log_close(fixture_open(second, SMALL_SEGMENT, &recovery));
    assert_int_equal(recovery.end_offset, 5);
    assert_true(recovery.torn_bytes > 0);
    ab_buffer_fini(&content);
    ab_delete(path);
    scratch_remove(second);
    scratch_remove(image);
}

static void test_log_whose_segments_are_all_gone_is_corrupt(void **state)
{
    size_t last_at = 0;
    char *image = idle_image(*state, &last_at);
    char *path = ab_segment_path(image, 0);
    assert_int_equal(unlink(path), 0);
    struct ab_log_options options = fixture_options(SMALL_SEGMENT);
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery;
    assert_int_equal(ab_log_open(image, &options, &log, &recovery, NULL), AB_CORRUPT);
    assert_false(ab_file_exists(path));
    ab_delete(path);
    scratch_remove(image);
}

static void test_note_writes_only_what_is_new_and_synced(void **state)
{
    struct ab_log_options options = fixture_options(0);
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, 0, &recovery);
    ab_file_fault_set(0, 1, AB_IO);
    assert_ok(ab_log_note_durable(log, NULL));
    assert_false(ab_file_fault_was_hit());
    ab_file_fault_clear();
    fixture_append_durably(log, 2);
    fixture_append(log, 1);
    assert_ok(ab_log_write(log, NULL));
    assert_ok(ab_log_note_durable(log, NULL));
    struct ab_watermark watermark;
    assert_ok(ab_watermark_load(*state, &options, &watermark, NULL));
    assert_int_equal(watermark.durable_offset, 2);
    ab_file_fault_set(0, 1, AB_IO);
    assert_ok(ab_log_note_durable(log, NULL));
    assert_false(ab_file_fault_was_hit());
    ab_file_fault_clear();
    ab_log_close(log);
    assert_ok(ab_watermark_load(*state, &options, &watermark, NULL));
    assert_int_equal(watermark.durable_offset, 2); /* closing syncs nothing */
}

static void test_note_that_fails_harms_nothing(void **state)
{
    struct ab_log_options options = fixture_options(0);
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, 0, &recovery);
    struct ab_watermark watermark;
    bool was_hit = true;
    for (int countdown = 0; was_hit; countdown++) {
        uint64_t before = ab_log_durable_offset(log);
        fixture_append_durably(log, 1);
        ab_file_fault_set(countdown, 1, countdown % 2 == 0 ? AB_IO : AB_NO_SPACE);
        ab_err err = ab_log_note_durable(log, NULL);
        was_hit = ab_file_fault_was_hit();
        ab_file_fault_clear();
        assert_true(was_hit == (err != AB_OK));
        assert_ok(ab_watermark_load(*state, &options, &watermark, NULL));
        assert_true(watermark.durable_offset <= before + 1);
        assert_ok(ab_log_note_durable(log, NULL));
        assert_ok(ab_watermark_load(*state, &options, &watermark, NULL));
        assert_int_equal(watermark.durable_offset, before + 1);
    }
    ab_log_close(log);
}

static void test_log_trimmed_remembers_what_came_before(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    struct ab_hash128 chains[100];
    for (uint64_t offset = 0; offset < 100; offset++) {
        chains[offset] = ab_log_chain(log);
        fixture_append_epoch(log, 1, offset < 90 ? 7 : 8);
        assert_ok(ab_log_write(log, NULL));
    }
    assert_ok(ab_log_trim(log, 60, NULL));
    uint64_t start = ab_log_start_offset(log);
    assert_true(start > 0);
    ab_log_close(log);
    struct ab_log_options options = fixture_options(0);
    struct ab_watermark watermark;
    assert_ok(ab_watermark_load(*state, &options, &watermark, NULL));
    assert_true(watermark.begin.is_known);
    assert_int_equal(watermark.begin.offset, start);
    assert_int_equal(watermark.begin.epoch, 7);
    assert_true(ab_hash128_equal(watermark.begin.chain, chains[start]));
    /* The first record held must follow it. */
    watermark.begin.chain.low ^= 1;
    assert_ok(ab_watermark_store(*state, &options, &watermark, NULL));
    assert_int_equal(ab_log_open(*state, &options, &log, &recovery, NULL), AB_CORRUPT);
}

static void test_log_is_trimmed_on_a_full_disk(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    for (int group = 0; group < 30; group++) {
        fixture_append_durably(log, 3);
    }
    /* The first calls look for the header at the new start; then the watermark does not fit. */
    ab_err err = AB_NO_SPACE;
    for (int countdown = 0; err != AB_OK; countdown++) {
        ab_file_fault_set(countdown, 1, AB_NO_SPACE);
        err = ab_log_trim(log, 60, NULL);
        assert_true(ab_file_fault_was_hit());
        ab_file_fault_clear();
        assert_true(err == AB_NO_SPACE || err == AB_OK);
    }
    assert_true(ab_log_start_offset(log) > 0);
    ab_log_close(log);
    log = fixture_open(*state, SMALL_SEGMENT, &recovery);
    fixture_read_all(*state, ab_log_start_offset(log), 90);
    ab_log_close(log);
}

/* ---- killed processes ---- */

/* Appends and notes for ever, telling what is durable. */
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
        fixture_append(log, 2);
        assert_ok(ab_log_write(log, NULL));
        assert_ok(ab_log_note_durable(log, NULL));
    }
}

static void invariant_1_durable_noted_test(void **state)
{
    struct ab_random random;
    ab_random_init(&random, 20260101);
    struct ab_log_options options = fixture_options(0);
    for (int round = 0; round < KILL_ROUNDS; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            child_append(*state, ends[1]);
        }
        close(ends[1]);
        uint64_t acknowledged =
            crash_watch(ends[0], child, ab_time_monotonic_us() + 2000 + (int64_t)ab_random_below(&random, 40000));
        struct ab_watermark watermark;
        assert_ok(ab_watermark_load(*state, &options, &watermark, NULL));
        struct ab_log_recovery recovery;
        struct ab_log *log = fixture_open(*state, KILL_SEGMENT_BYTES, &recovery);
        assert_true(recovery.end_offset >= acknowledged);
        assert_true(recovery.end_offset >= watermark.durable_offset);
        fixture_read_all(*state, 0, recovery.end_offset);
        ab_log_close(log);
        char **names = NULL;
        size_t count = 0;
        assert_ok(ab_file_list(*state, &names, &count, NULL));
        for (size_t i = 0; i < count; i++) {
            assert_null(strstr(names[i], ".new-"));
        }
        ab_file_names_free(names, count);
    }
}

int main(void)
{
#define scratch_test(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watermark_bytes_are_as_the_header_says),
        cmocka_unit_test(test_watermark_damaged_anywhere_is_refused),
        cmocka_unit_test(test_watermark_of_a_newer_format_or_another_log_is_refused),
        scratch_test(test_watermark_absent_or_damaged_states_nothing),
        scratch_test(test_log_noted_with_its_last_record_damaged_is_corrupt),
        scratch_test(test_log_closed_cleanly_is_noted),
        scratch_test(test_log_without_a_readable_watermark_is_torn_as_ever),
        scratch_test(test_log_torn_behind_the_watermark_is_cut),
        scratch_test(test_log_whose_segments_are_all_gone_is_corrupt),
        scratch_test(test_note_writes_only_what_is_new_and_synced),
        scratch_test(test_note_that_fails_harms_nothing),
        scratch_test(test_log_trimmed_remembers_what_came_before),
        scratch_test(test_log_is_trimmed_on_a_full_disk),
        scratch_test(invariant_1_durable_noted_test),
    };
#undef scratch_test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
