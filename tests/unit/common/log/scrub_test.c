/* Closed segments are read again and again, and what went bad in them is found where it is. */
#include "common/log/scrub.h"

#include "common/base/thread.h"
#include "common/log/segment.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

enum { SMALL_SEGMENT = 12000, RECORDS = 60 };

/* ---- fixture ---- */

static struct ab_log *filled(const char *directory, uint64_t **first_offsets, size_t *count)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    for (int group = 0; group < RECORDS / 2; group++) {
        fixture_append(log, 2);
        assert_ok(ab_log_write(log, NULL));
    }
    assert_ok(ab_log_sync(log, NULL));
    assert_ok(ab_segment_list(directory, first_offsets, count, NULL));
    assert_true(*count >= 5);
    return log;
}

/* Steps until a pass ends; how many bad places it found on the way. */
static size_t pass_run(struct ab_log_scrub *scrub, uint64_t bytes_max, struct ab_error *error)
{
    size_t bad = 0;
    ab_err err;
    while ((err = ab_log_scrub_step(scrub, bytes_max, error)) != AB_END) {
        assert_true(err == AB_OK || err == AB_CORRUPT || err == AB_IO);
        bad += err != AB_OK;
    }
    return bad;
}

static void flip(const char *directory, uint64_t first_offset, size_t at)
{
    char *path = ab_segment_path(directory, first_offset);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    content.data[at] ^= 0x40;
    fixture_file_write(path, ab_buffer_view(&content));
    ab_buffer_fini(&content);
    ab_delete(path);
}

/* ---- cases ---- */

static void test_scrub_passes_over_every_closed_segment_and_begins_again(void **state)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    struct ab_log *log = filled(*state, &first_offsets, &count);
    struct ab_log_scrub *scrub = ab_log_scrub_create(log);
    struct ab_log_scrub_progress progress;
    static const uint64_t steps[] = {1, 5000, UINT64_MAX};
    for (uint64_t pass = 1; pass <= 3; pass++) {
        assert_int_equal(pass_run(scrub, steps[pass - 1], NULL), 0);
        ab_log_scrub_progress(scrub, &progress);
        assert_int_equal(progress.passes_count, pass);
        assert_int_equal(progress.records_count, pass * first_offsets[count - 1]);
        assert_int_equal(progress.bad_count, 0);
    }
    assert_true(progress.bytes_count > progress.records_count * AB_RECORD_HEADER_BYTES);
    ab_log_scrub_destroy(scrub);
    ab_log_close(log);
    ab_delete(first_offsets);
}

static void test_scrub_step_keeps_to_its_budget(void **state)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    struct ab_log *log = filled(*state, &first_offsets, &count);
    struct ab_log_scrub *scrub = ab_log_scrub_create(log);
    struct ab_log_scrub_progress before = {0};
    struct ab_log_scrub_progress after;
    while (ab_log_scrub_step(scrub, 6000, NULL) == AB_OK) {
        ab_log_scrub_progress(scrub, &after);
        assert_in_range(after.bytes_count - before.bytes_count, 6000, 6000 + 4200);
        before = after;
    }
    ab_log_scrub_destroy(scrub);
    ab_log_close(log);
    ab_delete(first_offsets);
}

static void test_scrub_finds_a_flipped_bit_in_any_closed_segment(void **state)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    struct ab_log *log = filled(*state, &first_offsets, &count);
    struct ab_log_scrub *scrub = ab_log_scrub_create(log);
    for (size_t i = 0; i + 1 < count; i++) {
        static const size_t places[] = {0, 20, 100, 119, 127, 130};
        for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
            flip(*state, first_offsets[i], places[p]);
            struct ab_error error = {0};
            assert_int_equal(pass_run(scrub, 4000, &error), 1);
            struct ab_log_scrub_progress progress;
            ab_log_scrub_progress(scrub, &progress);
            assert_int_equal(progress.bad_segment, first_offsets[i]);
            assert_int_equal(progress.bad_position, 0);
            assert_int_equal(progress.bad_offset, first_offsets[i]);
            char *place = ab_new_format("segment %020llu, byte 0", (unsigned long long)first_offsets[i]);
            assert_non_null(strstr(error.text, place));
            ab_delete(place);
            flip(*state, first_offsets[i], places[p]);
        }
    }
    assert_int_equal(pass_run(scrub, 4000, NULL), 0);
    flip(*state, first_offsets[count - 1], 20); /* the open one is not its business */
    assert_int_equal(pass_run(scrub, 4000, NULL), 0);
    ab_log_scrub_destroy(scrub);
    ab_log_close(log);
    ab_delete(first_offsets);
}

static void test_scrub_finds_what_is_whole_and_does_not_belong(void **state)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    struct ab_log *log = filled(*state, &first_offsets, &count);
    struct ab_log_scrub *scrub = ab_log_scrub_create(log);
    char *path = ab_segment_path(*state, first_offsets[1]);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    struct ab_record record;
    assert_ok(ab_record_decode(ab_buffer_view(&content), &record));
    size_t bytes = record.encoded.bytes;
    /* Shorter by its last record; then one record twice; then another log's record. */
    size_t last_at = 0;
    for (size_t at = 0; at < content.bytes; at += ab_record_bytes(&record.header)) {
        assert_ok(ab_record_decode(ab_bytes_of(content.data + at, content.bytes - at), &record));
        last_at = at;
    }
    fixture_file_write(path, ab_bytes_of(content.data, last_at));
    assert_int_equal(pass_run(scrub, 4000, NULL), 1);
    struct ab_buffer twice = {0};
    ab_buffer_put(&twice, content.data, bytes);
    ab_buffer_put_bytes(&twice, ab_buffer_view(&content));
    fixture_file_write(path, ab_buffer_view(&twice));
    assert_int_equal(pass_run(scrub, 4000, NULL), 1);
    struct ab_log_scrub_progress progress;
    ab_log_scrub_progress(scrub, &progress);
    assert_int_equal(progress.bad_position, bytes);
    assert_ok(ab_record_decode(ab_buffer_view(&content), &record));
    record.header.partition++;
    ab_buffer_clear(&twice);
    ab_record_encode(&record, &twice);
    ab_buffer_put(&twice, content.data + bytes, content.bytes - bytes);
    fixture_file_write(path, ab_buffer_view(&twice));
    assert_int_equal(pass_run(scrub, 4000, NULL), 1);
    fixture_file_write(path, ab_buffer_view(&content));
    assert_int_equal(pass_run(scrub, 4000, NULL), 0);
    ab_buffer_fini(&twice);
    ab_buffer_fini(&content);
    ab_delete(path);
    ab_log_scrub_destroy(scrub);
    ab_log_close(log);
    ab_delete(first_offsets);
}

static void test_scrub_tells_what_it_cannot_read_and_goes_on(void **state)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    struct ab_log *log = filled(*state, &first_offsets, &count);
    struct ab_log_scrub *scrub = ab_log_scrub_create(log);
    bool was_hit = true;
    for (int countdown = 0; was_hit; countdown++) {
        ab_file_fault_set(countdown, 1, AB_IO);
        ab_err err;
        size_t failed = 0;
        while ((err = ab_log_scrub_step(scrub, 5000, NULL)) != AB_END) {
            assert_true(err == AB_OK || err == AB_IO);
            failed += err == AB_IO;
        }
        was_hit = ab_file_fault_was_hit();
        ab_file_fault_clear();
        assert_int_equal(failed, was_hit);
    }
    ab_log_scrub_destroy(scrub);
    ab_log_close(log);
    ab_delete(first_offsets);
}

struct scrubbing {
    struct ab_log *log;
    atomic_bool is_done;
    uint64_t passes;
};

static void scrub_run(void *context)
{
    struct scrubbing *scrubbing = context;
    struct ab_log_scrub *scrub = ab_log_scrub_create(scrubbing->log);
    struct ab_error error = {0};
    while (!atomic_load(&scrubbing->is_done)) {
        ab_err err = ab_log_scrub_step(scrub, 3000, &error);
        if (err != AB_OK && err != AB_END) {
            fail_msg("%s", error.text);
        }
    }
    struct ab_log_scrub_progress progress;
    ab_log_scrub_progress(scrub, &progress);
    scrubbing->passes = progress.passes_count;
    ab_log_scrub_destroy(scrub);
}

static void test_scrub_calls_nothing_bad_while_the_log_grows_and_shrinks(void **state)
{
    uint64_t *first_offsets = NULL;
    size_t count = 0;
    struct scrubbing scrubbing = {.log = filled(*state, &first_offsets, &count)};
    ab_delete(first_offsets);
    struct ab_thread thread = {0};
    ab_thread_start(&thread, "scrub", scrub_run, &scrubbing);
    for (uint64_t round = 0; round < 40; round++) {
        uint64_t end = ab_log_end_offset(scrubbing.log);
        assert_ok(ab_log_truncate(scrubbing.log, end - 25, NULL));
        for (int group = 0; group < 15; group++) {
            fixture_append_epoch(scrubbing.log, 2, FIXTURE_EPOCH + round);
            assert_ok(ab_log_write(scrubbing.log, NULL));
        }
        if (round % 8 == 7) {
            assert_ok(ab_log_trim(scrubbing.log, ab_log_end_offset(scrubbing.log) - 50, NULL));
        }
    }
    assert_ok(ab_log_reset(scrubbing.log, 5000, ab_log_chain(scrubbing.log), 100, NULL));
    ab_time_sleep_us(2000);
    atomic_store(&scrubbing.is_done, true);
    ab_thread_join(&thread);
    assert_true(scrubbing.passes > 2);
    ab_log_close(scrubbing.log);
}

int main(void)
{
#define scratch_test(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        scratch_test(test_scrub_passes_over_every_closed_segment_and_begins_again),
        scratch_test(test_scrub_step_keeps_to_its_budget),
        scratch_test(test_scrub_finds_a_flipped_bit_in_any_closed_segment),
        scratch_test(test_scrub_finds_what_is_whole_and_does_not_belong),
        scratch_test(test_scrub_tells_what_it_cannot_read_and_goes_on),
        scratch_test(test_scrub_calls_nothing_bad_while_the_log_grows_and_shrinks),
    };
#undef scratch_test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
