#include "common/log/log.h"

#include "common/base/file.h"
#include "common/base/thread.h"
#include "common/log/segment.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { SMALL_SEGMENT = 20000 };

/* ---- writing ---- */

static void test_log_reopened_goes_on_where_it_ended(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    assert_int_equal(recovery.end_offset, 0);
    fixture_append_durably(log, 10);
    struct ab_hash128 chain = ab_log_chain(log);
    ab_log_close(log);
    log = fixture_open(directory, 0, &recovery);
    assert_int_equal(recovery.end_offset, 10);
    assert_int_equal(recovery.records_count, 10);
    assert_int_equal(recovery.torn_bytes, 0);
    assert_int_equal(ab_log_durable_offset(log), 10);
    assert_true(ab_hash128_equal(ab_log_chain(log), chain));
    fixture_append_durably(log, 5);
    fixture_read_all(directory, 0, 15);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_log_append_is_not_durable_before_sync(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append(log, 3);
    assert_int_equal(ab_log_end_offset(log), 3);
    assert_int_equal(ab_log_durable_offset(log), 0);
    assert_true(ab_log_staged_bytes(log) > 3 * AB_RECORD_HEADER_BYTES);
    assert_int_equal(ab_log_write(log, NULL), AB_OK);
    assert_int_equal(ab_log_staged_bytes(log), 0);
    assert_int_equal(ab_log_durable_offset(log), 0);
    assert_int_equal(ab_log_sync(log, NULL), AB_OK);
    assert_int_equal(ab_log_durable_offset(log), 3);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_log_abandon_gives_offsets_again(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 2);
    struct ab_hash128 chain = ab_log_chain(log);
    fixture_append(log, 3);
    ab_log_abandon(log);
    assert_int_equal(ab_log_end_offset(log), 2);
    assert_true(ab_hash128_equal(ab_log_chain(log), chain));
    fixture_append_durably(log, 4);
    fixture_read_all(directory, 0, 6);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_log_rolls_segments_and_trims_whole_ones(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    for (int group = 0; group < 50; group++) {
        fixture_append_durably(log, 3);
    }
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    assert_int_equal(ab_segment_list(directory, &first_offsets, &count, NULL), AB_OK);
    assert_true(count > 5);
    assert_int_equal(ab_log_trim(log, first_offsets[3] + 1, NULL), AB_OK);
    assert_int_equal(ab_log_start_offset(log), first_offsets[3]);
    struct ab_log_reader *reader = NULL;
    assert_int_equal(ab_log_reader_open(directory, first_offsets[3] - 1, 150, &reader, NULL), AB_NOT_FOUND);
    fixture_read_all(directory, first_offsets[3], 150);
    fixture_read_all(directory, first_offsets[4] + 1, 150);
    ab_log_close(log);
    log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    assert_int_equal(recovery.end_offset, 150);
    assert_int_equal(recovery.records_count, 150 - first_offsets[3]);
    assert_int_equal(ab_log_trim(log, UINT64_MAX, NULL), AB_OK);
    fixture_append_durably(log, 1);
    fixture_read_all(directory, ab_log_start_offset(log), 151);
    ab_delete(first_offsets);
    ab_log_close(log);
    scratch_remove(directory);
}

/* A process may die between making a segment and writing to it. */
static void test_log_trim_keeps_the_last_record_behind_an_empty_segment(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    for (int group = 0; group < 50; group++) {
        fixture_append_durably(log, 3);
    }
    struct ab_hash128 chain = ab_log_chain(log);
    ab_log_close(log);
    char *path = ab_segment_path(directory, 150);
    fixture_file_write(path, ab_bytes_of(NULL, 0));
    ab_delete(path);
    log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    assert_int_equal(ab_log_trim(log, 150, NULL), AB_OK);
    assert_true(ab_log_start_offset(log) < 150);
    ab_log_close(log);
    log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    assert_int_equal(recovery.end_offset, 150);
    assert_true(ab_hash128_equal(ab_log_chain(log), chain));
    fixture_append_durably(log, 3);
    fixture_read_all(directory, ab_log_start_offset(log), 153);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_log_record_larger_than_a_segment_is_kept(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 100, &recovery);
    fixture_append_durably(log, 1);
    fixture_append_durably(log, 1);
    fixture_append_durably(log, 2);
    ab_log_close(log);
    log = fixture_open(directory, 100, &recovery);
    fixture_read_all(directory, 0, 4);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_log_refuses_what_it_could_not_read(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    uint8_t *large = ab_new_bytes(AB_RECORD_BYTES_MAX);
    uint64_t offset = 0;
    struct ab_record record = {.header = {.kind = AB_RECORD_BLOCK, .leader_epoch = FIXTURE_EPOCH}};
    record.body = ab_bytes_of(large, AB_RECORD_BYTES_MAX - AB_RECORD_HEADER_BYTES + 1);
    assert_int_equal(ab_log_append(log, &record, &offset), AB_TOO_LARGE);
    record.body.bytes = 10;
    record.header.kind = 9;
    assert_int_equal(ab_log_append(log, &record, &offset), AB_USAGE);
    record.header.kind = AB_RECORD_BLOCK;
    record.header.rejected_count = 1;
    assert_int_equal(ab_log_append(log, &record, &offset), AB_USAGE);
    record.header.rejected_count = 0;
    record.body.bytes = AB_RECORD_BYTES_MAX - AB_RECORD_HEADER_BYTES;
    assert_int_equal(ab_log_append(log, &record, &offset), AB_OK);
    assert_int_equal(ab_log_append(log, &record, &offset), AB_OK);
    assert_int_equal(ab_log_append(log, &record, &offset), AB_FULL);
    assert_int_equal(ab_log_write(log, NULL), AB_OK);
    assert_int_equal(ab_log_append(log, &record, &offset), AB_OK);
    assert_int_equal(offset, 2);
    assert_int_equal(ab_log_write(log, NULL), AB_OK);
    struct ab_log_reader *reader = NULL;
    assert_int_equal(ab_log_reader_open(directory, 1, 3, &reader, NULL), AB_OK);
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_OK);
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_OK);
    assert_int_equal(record.body.bytes, AB_RECORD_BYTES_MAX - AB_RECORD_HEADER_BYTES);
    ab_log_reader_close(reader);
    ab_delete(large);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_log_staging_stays_in_its_budget(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_memory memory;
    ab_memory_init(&memory, 100000, NULL);
    struct ab_log_options options = fixture_options(0);
    options.memory = &memory;
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery;
    assert_int_equal(ab_log_open(directory, &options, &log, &recovery, NULL), AB_OK);
    uint8_t *body = ab_new_bytes(30000);
    uint64_t offset = 0;
    ab_err err = AB_OK;
    int staged = 0;
    while (err == AB_OK) {
        struct ab_record record = {
            .header = {.kind = AB_RECORD_BLOCK, .leader_epoch = FIXTURE_EPOCH}, .body = ab_bytes_of(body, 30000)};
        err = ab_log_append(log, &record, &offset);
        staged += err == AB_OK;
    }
    assert_int_equal(err, AB_FULL);
    assert_true(staged >= 1 && staged <= 3);
    assert_int_equal(ab_log_write(log, NULL), AB_OK);
    assert_int_equal(ab_log_end_offset(log), staged);
    ab_log_close(log);
    assert_int_equal(ab_memory_used(&memory), 0);
    ab_delete(body);
    scratch_remove(directory);
}

static void test_log_has_one_writer(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    struct ab_log_options options = fixture_options(0);
    struct ab_log *second = NULL;
    assert_int_equal(ab_log_open(directory, &options, &second, &recovery, NULL), AB_BUSY);
    ab_log_close(log);
    scratch_remove(directory);
}

/* ---- reading ---- */

static void test_reader_ignores_what_lies_beyond_its_end(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 4);
    char *path = ab_segment_path(directory, 0);
    struct ab_buffer whole = {0};
    fixture_file_read(path, &whole);
    fixture_append_durably(log, 1);
    struct ab_buffer longer = {0};
    fixture_file_read(path, &longer);
    /* Half of the next record, as a reader may see it while it is written. */
    size_t half = whole.bytes + (longer.bytes - whole.bytes) / 2;
    fixture_file_write(path, ab_bytes_of(longer.data, half));
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    assert_int_equal(ab_log_reader_open(directory, 0, 4, &reader, NULL), AB_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_OK);
    }
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_END);
    fixture_file_write(path, ab_buffer_view(&longer));
    ab_log_reader_extend(reader, 5);
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_OK);
    assert_true(fixture_record_is_right(&record));
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_END);
    ab_log_reader_extend(reader, 6);
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_CORRUPT);
    ab_log_reader_close(reader);
    ab_buffer_fini(&whole);
    ab_buffer_fini(&longer);
    ab_delete(path);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_reader_never_returns_a_record_that_was_cut_off(void **state)
{
    (void)state;
    char *directory = scratch_make();
    char *path = ab_segment_path(directory, 0);
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 2);
    struct ab_buffer kept = {0};
    fixture_file_read(path, &kept);
    uint64_t offset = 0;
    struct ab_record other = {.header = {.kind = AB_RECORD_BLOCK, .leader_epoch = FIXTURE_EPOCH},
        .body = ab_bytes_of_text("never acknowledged")};
    assert_int_equal(ab_log_append(log, &other, &offset), AB_OK);
    assert_int_equal(ab_log_write(log, NULL), AB_OK);
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    assert_int_equal(ab_log_reader_open(directory, 0, 2, &reader, NULL), AB_OK);
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_OK); /* its window now holds all three */
    ab_log_close(log);
    fixture_file_write(path, ab_buffer_view(&kept));
    log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 1);
    ab_log_reader_extend(reader, 3);
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_OK);
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_OK);
    assert_int_equal(record.header.offset, 2);
    assert_true(fixture_record_is_right(&record));
    ab_log_reader_close(reader);
    ab_buffer_fini(&kept);
    ab_delete(path);
    ab_log_close(log);
    scratch_remove(directory);
}

static void test_reader_reports_corruption_with_its_place(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, 0, &recovery);
    fixture_append_durably(log, 5);
    ab_log_close(log);
    char *path = ab_segment_path(directory, 0);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    content.data[content.bytes - 200] ^= 1;
    fixture_file_write(path, ab_buffer_view(&content));
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    struct ab_error error = {0};
    assert_int_equal(ab_log_reader_open(directory, 0, 5, &reader, NULL), AB_OK);
    ab_err err = AB_OK;
    while (err == AB_OK) {
        err = ab_log_reader_next(reader, &record, &error);
    }
    assert_int_equal(err, AB_CORRUPT);
    assert_non_null(strstr(error.text, "segment 00000000000000000000, byte "));
    ab_log_reader_close(reader);
    ab_buffer_fini(&content);
    ab_delete(path);
    scratch_remove(directory);
}

static void test_reader_of_an_absent_directory_finds_nothing(void **state)
{
    (void)state;
    struct ab_log_reader *reader = NULL;
    assert_int_equal(ab_log_reader_open("/tmp/anabranch-no-such-log", 0, 1, &reader, NULL), AB_NOT_FOUND);
}

/* ---- threads ---- */

struct shared {
    struct ab_log *log;
    const char *directory;
    atomic_bool is_done;
};

static void syncer_run(void *context)
{
    struct shared *shared = context;
    while (!atomic_load(&shared->is_done)) {
        assert_int_equal(ab_log_sync(shared->log, NULL), AB_OK);
    }
}

static void reader_run(void *context)
{
    struct shared *shared = context;
    struct ab_log_reader *reader = NULL;
    assert_int_equal(ab_log_reader_open(shared->directory, 0, 0, &reader, NULL), AB_OK);
    struct ab_record record;
    struct ab_error error = {0};
    uint64_t expected = 0;
    for (bool is_last = false; !is_last;) {
        is_last = atomic_load(&shared->is_done);
        ab_log_reader_extend(reader, ab_log_durable_offset(shared->log));
        ab_err err;
        while ((err = ab_log_reader_next(reader, &record, &error)) == AB_OK) {
            assert_int_equal(record.header.offset, expected);
            assert_true(fixture_record_is_right(&record));
            expected++;
        }
        if (err != AB_END) {
            fail_msg("%s", error.text);
        }
    }
    assert_int_equal(expected, ab_log_durable_offset(shared->log));
    ab_log_reader_close(reader);
}

static void test_log_writer_syncer_and_reader_run_together(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct ab_log_recovery recovery;
    struct shared shared = {.log = fixture_open(directory, 200000, &recovery), .directory = directory};
    struct ab_thread syncer = {0};
    struct ab_thread reader = {0};
    ab_thread_start(&syncer, "syncer", syncer_run, &shared);
    ab_thread_start(&reader, "reader", reader_run, &shared);
    for (int group = 0; group < 600; group++) {
        fixture_append(shared.log, (size_t)(group % 5));
        assert_int_equal(ab_log_write(shared.log, NULL), AB_OK);
    }
    assert_int_equal(ab_log_sync(shared.log, NULL), AB_OK);
    atomic_store(&shared.is_done, true);
    ab_thread_join(&syncer);
    ab_thread_join(&reader);
    assert_int_equal(ab_log_durable_offset(shared.log), 1200);
    ab_log_close(shared.log);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_reopened_goes_on_where_it_ended),
        cmocka_unit_test(test_log_append_is_not_durable_before_sync),
        cmocka_unit_test(test_log_abandon_gives_offsets_again),
        cmocka_unit_test(test_log_rolls_segments_and_trims_whole_ones),
        cmocka_unit_test(test_log_trim_keeps_the_last_record_behind_an_empty_segment),
        cmocka_unit_test(test_log_record_larger_than_a_segment_is_kept),
        cmocka_unit_test(test_log_refuses_what_it_could_not_read),
        cmocka_unit_test(test_log_staging_stays_in_its_budget),
        cmocka_unit_test(test_log_has_one_writer),
        cmocka_unit_test(test_reader_ignores_what_lies_beyond_its_end),
        cmocka_unit_test(test_reader_never_returns_a_record_that_was_cut_off),
        cmocka_unit_test(test_reader_reports_corruption_with_its_place),
        cmocka_unit_test(test_reader_of_an_absent_directory_finds_nothing),
        cmocka_unit_test(test_log_writer_syncer_and_reader_run_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
