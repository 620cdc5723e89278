/* A corrupt log opens with its good front when the caller can fetch the rest, and never forgets that it must. */
#include "common/log/aside.h"
#include "common/log/segment.h"
#include "common/log/watermark.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

enum { SMALL_SEGMENT = 12000, RECORDS = 60, SEGMENTS_MAX = 40 };

/* ---- fixture ---- */

/* A noted log of RECORDS records in many segments, what it holds, and an intact twin of it. */
struct damaged {
    char *directory;
    char *twin;
    uint64_t first_offsets[SEGMENTS_MAX];
    size_t segments_count;
    size_t starts[RECORDS]; /* byte of each record in its segment */
    struct ab_hash128 chains[RECORDS + 1];
};

static void starts_find(struct damaged *damaged)
{
    for (size_t i = 0; i < damaged->segments_count; i++) {
        char *path = ab_segment_path(damaged->directory, damaged->first_offsets[i]);
        struct ab_buffer content = {0};
        fixture_file_read(path, &content);
        struct ab_record_header header;
        for (size_t at = 0; at < content.bytes; at += ab_record_bytes(&header)) {
            assert_ok(ab_record_header_decode(ab_bytes_of(content.data + at, content.bytes - at), &header));
            damaged->starts[header.offset] = at;
        }
        ab_buffer_fini(&content);
        ab_delete(path);
    }
}

static int damaged_setup(void **state)
{
    struct damaged *damaged = ab_new(struct damaged);
    damaged->directory = scratch_make();
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(damaged->directory, SMALL_SEGMENT, &recovery);
    for (uint64_t offset = 0; offset < RECORDS; offset++) {
        damaged->chains[offset] = ab_log_chain(log);
        fixture_append_epoch(log, 1, FIXTURE_EPOCH + offset / 20);
        if (offset % 3 == 2) {
            assert_ok(ab_log_write(log, NULL));
        }
    }
    damaged->chains[RECORDS] = ab_log_chain(log);
    assert_ok(ab_log_sync(log, NULL));
    ab_log_close(log);
    uint64_t *first_offsets = NULL;
    assert_ok(ab_segment_list(damaged->directory, &first_offsets, &damaged->segments_count, NULL));
    assert_true(damaged->segments_count >= 6 && damaged->segments_count < SEGMENTS_MAX);
    memcpy(damaged->first_offsets, first_offsets, damaged->segments_count * sizeof(uint64_t));
    ab_delete(first_offsets);
    starts_find(damaged);
    damaged->twin = fixture_image(damaged->directory);
    *state = damaged;
    return 0;
}

static int damaged_teardown(void **state)
{
    struct damaged *damaged = *state;
    ab_file_fault_clear();
    scratch_remove(damaged->directory);
    scratch_remove(damaged->twin);
    ab_delete(damaged);
    return 0;
}

static size_t segment_of(const struct damaged *damaged, uint64_t offset)
{
    size_t index = damaged->segments_count - 1;
    while (damaged->first_offsets[index] > offset) {
        index--;
    }
    return index;
}

/* Changes a bit of a record in a log's directory: `at` is a byte of the record. */
static void flip(const struct damaged *damaged, const char *directory, uint64_t offset, size_t at)
{
    char *path = ab_segment_path(directory, damaged->first_offsets[segment_of(damaged, offset)]);
    struct ab_buffer content = {0};
    fixture_file_read(path, &content);
    content.data[damaged->starts[offset] + at] ^= 0x08;
    fixture_file_write(path, ab_buffer_view(&content));
    ab_buffer_fini(&content);
    ab_delete(path);
}

static ab_err open_with(const char *directory, bool is_setting_aside, struct ab_log **log,
    struct ab_log_recovery *recovery, struct ab_error *error)
{
    struct ab_log_options options = fixture_options(SMALL_SEGMENT);
    options.is_setting_aside_corrupt = is_setting_aside;
    return ab_log_open(directory, &options, log, recovery, error);
}

static struct ab_log *open_setting_aside(const char *directory, struct ab_log_recovery *recovery)
{
    struct ab_log *log = NULL;
    struct ab_error error = {0};
    if (open_with(directory, true, &log, recovery, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return log;
}

static void expect_refused(const char *directory)
{
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery;
    struct ab_error error = {0};
    assert_int_equal(open_with(directory, false, &log, &recovery, &error), AB_CORRUPT);
}

/* Fetches what is missing from the twin, as a replica would from its leader. */
static void refetch(const struct damaged *damaged, struct ab_log *log)
{
    for (uint64_t offset = ab_log_end_offset(log); offset < RECORDS; offset++) {
        char *path = ab_segment_path(damaged->twin, damaged->first_offsets[segment_of(damaged, offset)]);
        struct ab_buffer content = {0};
        fixture_file_read(path, &content);
        struct ab_record_header header;
        const uint8_t *at = content.data + damaged->starts[offset];
        assert_ok(ab_record_header_decode(ab_bytes_of(at, AB_RECORD_HEADER_BYTES), &header));
        struct ab_log_copied copied;
        assert_ok(ab_log_append_copy(log, ab_bytes_of(at, ab_record_bytes(&header)), &copied, NULL));
        ab_buffer_fini(&content);
        ab_delete(path);
    }
    assert_ok(ab_log_write(log, NULL));
    assert_ok(ab_log_sync(log, NULL));
}

/* A damaged log opens with [0, end), says what is missing, is refused to others, and is whole after fetching. */
static void expect_repairable(const struct damaged *damaged, const char *directory, uint64_t end, uint64_t until)
{
    struct ab_log_recovery recovery = {0};
    struct ab_log *log = open_setting_aside(directory, &recovery);
    assert_int_equal(recovery.end_offset, end);
    assert_int_equal(recovery.damaged_from, end);
    assert_int_equal(recovery.damaged_until, until);
    assert_int_equal(ab_log_damaged_until(log), until);
    assert_true(ab_hash128_equal(ab_log_chain(log), damaged->chains[end]));
    size_t epochs_count = 0;
    (void)ab_log_epochs(log, &epochs_count);
    assert_int_equal(epochs_count, (end + 19) / 20);
    fixture_read_all(directory, 0, end);
    if (recovery.aside_name[0] != '\0') {
        char *aside = scratch_path(directory, recovery.aside_name);
        assert_true(ab_file_exists(aside));
        ab_delete(aside);
    }
    ab_log_close(log);
    expect_refused(directory);
    log = open_setting_aside(directory, &recovery);
    assert_int_equal(recovery.damaged_from, end);
    assert_int_equal(recovery.damaged_until, until);
    assert_string_equal(recovery.aside_name, "");
    refetch(damaged, log);
    assert_ok(ab_log_note_durable(log, NULL));
    assert_int_equal(ab_log_damaged_until(log), 0);
    assert_true(ab_hash128_equal(ab_log_chain(log), damaged->chains[RECORDS]));
    ab_log_close(log);
    assert_ok(open_with(directory, false, &log, &recovery, NULL));
    assert_int_equal(recovery.end_offset, RECORDS);
    assert_int_equal(recovery.damaged_until, 0);
    ab_log_close(log);
    fixture_read_all(directory, 0, RECORDS);
}

/* ---- cases ---- */

static void test_damage_in_any_header_is_set_aside_from_there(void **state)
{
    struct damaged *damaged = *state;
    for (uint64_t offset = 0; offset < RECORDS; offset += 1 + offset % 7) {
        char *image = fixture_image(damaged->twin);
        flip(damaged, image, offset, 20);
        expect_refused(image);
        expect_repairable(damaged, image, offset, RECORDS);
        scratch_remove(image);
    }
}

static void test_damage_in_a_body_that_is_read_at_opening_is_set_aside_from_there(void **state)
{
    struct damaged *damaged = *state;
    uint64_t first = damaged->first_offsets[damaged->segments_count - 2];
    for (uint64_t offset = first; offset < RECORDS; offset++) {
        char *image = fixture_image(damaged->twin);
        flip(damaged, image, offset, AB_RECORD_HEADER_BYTES);
        expect_repairable(damaged, image, offset, RECORDS);
        scratch_remove(image);
    }
}

/* Older segments are opened by their headers alone: the chain at the bad place needs the record before it whole. */
static void test_damage_behind_a_damaged_body_is_set_aside_from_the_body_on(void **state)
{
    struct damaged *damaged = *state;
    uint64_t inside = damaged->first_offsets[2] + 1;
    flip(damaged, damaged->directory, inside - 1, AB_RECORD_HEADER_BYTES);
    flip(damaged, damaged->directory, inside, 3);
    expect_repairable(damaged, damaged->directory, inside - 1, RECORDS);
}

static void test_damage_at_a_segment_start_behind_a_damaged_body(void **state)
{
    struct damaged *damaged = *state;
    uint64_t first = damaged->first_offsets[3];
    flip(damaged, damaged->directory, first - 1, AB_RECORD_HEADER_BYTES);
    flip(damaged, damaged->directory, first, 3);
    expect_repairable(damaged, damaged->directory, first - 1, RECORDS);
}

static void test_damage_of_a_lost_segment_is_set_aside_from_there(void **state)
{
    struct damaged *damaged = *state;
    for (size_t i = 1; i < damaged->segments_count; i++) {
        char *image = fixture_image(damaged->twin);
        char *path = ab_segment_path(image, damaged->first_offsets[i]);
        assert_int_equal(unlink(path), 0);
        expect_repairable(damaged, image, damaged->first_offsets[i], RECORDS);
        ab_delete(path);
        scratch_remove(image);
    }
}

static void test_damage_of_all_segments_leaves_an_empty_log(void **state)
{
    struct damaged *damaged = *state;
    for (size_t i = 0; i < damaged->segments_count; i++) {
        char *path = ab_segment_path(damaged->directory, damaged->first_offsets[i]);
        assert_int_equal(unlink(path), 0);
        ab_delete(path);
    }
    expect_repairable(damaged, damaged->directory, 0, RECORDS);
}

static void test_damage_keeps_every_byte_it_moves(void **state)
{
    struct damaged *damaged = *state;
    uint64_t bad = damaged->first_offsets[1] + 1;
    flip(damaged, damaged->directory, bad, 20);
    struct ab_buffer before = {0};
    struct ab_buffer kept = {0};
    struct ab_buffer aside = {0};
    char *path = ab_segment_path(damaged->directory, damaged->first_offsets[1]);
    fixture_file_read(path, &before);
    struct ab_log_recovery recovery;
    ab_log_close(open_setting_aside(damaged->directory, &recovery));
    fixture_file_read(path, &kept);
    char *aside_path = scratch_path(damaged->directory, recovery.aside_name);
    fixture_file_read(aside_path, &aside);
    ab_buffer_put_bytes(&kept, ab_buffer_view(&aside));
    assert_true(ab_bytes_equal(ab_buffer_view(&kept), ab_buffer_view(&before)));
    for (size_t i = 2; i < damaged->segments_count; i++) {
        char *twin = ab_segment_path(damaged->twin, damaged->first_offsets[i]);
        char *moved = ab_aside_path(damaged->directory, AB_ASIDE_BAD, damaged->first_offsets[i], 1);
        fixture_file_read(twin, &before);
        fixture_file_read(moved, &aside);
        assert_true(ab_bytes_equal(ab_buffer_view(&before), ab_buffer_view(&aside)));
        ab_delete(twin);
        ab_delete(moved);
    }
    ab_delete(aside_path);
    ab_delete(path);
    ab_buffer_fini(&before);
    ab_buffer_fini(&kept);
    ab_buffer_fini(&aside);
}

static void test_damage_without_a_watermark_reaches_as_far_as_records_tell(void **state)
{
    struct damaged *damaged = *state;
    uint64_t last_first = damaged->first_offsets[damaged->segments_count - 1];
    assert_true(last_first + 2 < RECORDS);
    char *image = fixture_image(damaged->twin);
    fixture_forget_watermark(image);
    flip(damaged, image, 5, 20);
    expect_repairable(damaged, image, 5, RECORDS);
    scratch_remove(image);
    image = fixture_image(damaged->twin);
    fixture_forget_watermark(image);
    flip(damaged, image, last_first, 20); /* the records behind it in the same segment tell */
    expect_repairable(damaged, image, last_first, RECORDS);
    scratch_remove(image);
}

static void test_damage_is_cleared_when_the_leader_has_no_more(void **state)
{
    struct damaged *damaged = *state;
    flip(damaged, damaged->directory, 50, 20);
    struct ab_log_recovery recovery;
    struct ab_log *log = open_setting_aside(damaged->directory, &recovery);
    assert_int_equal(recovery.damaged_until, RECORDS);
    assert_ok(ab_log_clear_damage(log, NULL));
    assert_int_equal(ab_log_damaged_until(log), 0);
    ab_log_close(log);
    assert_ok(open_with(damaged->directory, false, &log, &recovery, NULL));
    assert_int_equal(recovery.end_offset, 50);
    ab_log_close(log);
}

/* What the owner knows from elsewhere is told at every opening, and ends when as much is there. */
static void test_damage_that_the_owner_notes_is_kept(void **state)
{
    struct damaged *damaged = *state;
    struct ab_log_recovery recovery;
    struct ab_log *log = open_setting_aside(damaged->directory, &recovery);
    assert_int_equal(recovery.damaged_until, 0);
    assert_ok(ab_log_note_damage(log, RECORDS, NULL)); /* all of them are here */
    assert_int_equal(ab_log_damaged_until(log), 0);
    assert_ok(ab_log_note_damage(log, RECORDS + 2, NULL));
    assert_ok(ab_log_note_damage(log, RECORDS + 1, NULL)); /* less than is known */
    ab_file_fault_set(0, 1, AB_NO_SPACE);
    assert_int_equal(ab_log_note_damage(log, RECORDS + 9, NULL), AB_NO_SPACE);
    ab_file_fault_clear();
    ab_log_close(log);
    assert_int_equal(open_with(damaged->directory, false, &log, &recovery, NULL), AB_CORRUPT);
    log = open_setting_aside(damaged->directory, &recovery);
    assert_int_equal(recovery.damaged_from, RECORDS);
    assert_int_equal(recovery.damaged_until, RECORDS + 2);
    fixture_append_epoch(log, 2, FIXTURE_EPOCH + 9);
    assert_ok(ab_log_write(log, NULL));
    assert_ok(ab_log_sync(log, NULL));
    ab_log_close(log);
    assert_ok(open_with(damaged->directory, false, &log, &recovery, NULL));
    assert_int_equal(recovery.damaged_until, 0);
    ab_log_close(log);
}

static void test_damage_survives_the_nth_call_failing(void **state)
{
    struct damaged *damaged = *state;
    static const ab_err codes[] = {AB_IO, AB_NO_SPACE};
    for (size_t c = 0; c < 2; c++) {
        char *image = fixture_image(damaged->twin);
        flip(damaged, image, damaged->first_offsets[3] + 1, 20);
        ab_err err = codes[c];
        struct ab_log_recovery recovery;
        struct ab_log *log = NULL;
        for (int countdown = 0; err != AB_OK; countdown++) {
            ab_file_fault_set(countdown, 1, codes[c]);
            err = open_with(image, true, &log, &recovery, NULL);
            ab_file_fault_clear();
            assert_true(err == AB_OK || err == codes[c]);
            if (err != AB_OK) {
                /* However far it came: whoever does not fetch is refused, and whoever does loses nothing. */
                char *second = fixture_image(image);
                if (countdown % 2 == 0) {
                    expect_refused(second);
                }
                expect_repairable(damaged, second, damaged->first_offsets[3] + 1, RECORDS);
                scratch_remove(second);
            }
        }
        ab_log_close(log);
        expect_repairable(damaged, image, damaged->first_offsets[3] + 1, RECORDS);
        scratch_remove(image);
    }
}

static void test_damage_of_another_log_is_refused(void **state)
{
    struct damaged *damaged = *state;
    struct ab_log_options options = fixture_options(SMALL_SEGMENT);
    options.is_setting_aside_corrupt = true;
    options.partition++;
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery;
    assert_int_equal(ab_log_open(damaged->directory, &options, &log, &recovery, NULL), AB_CORRUPT);
    assert_ok(open_with(damaged->directory, false, &log, &recovery, NULL));
    assert_int_equal(recovery.end_offset, RECORDS);
    ab_log_close(log);
}

static void test_damage_that_takes_what_came_before_asks_for_a_reset(void **state)
{
    struct damaged *damaged = *state;
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(damaged->directory, SMALL_SEGMENT, &recovery);
    assert_ok(ab_log_trim(log, 20, NULL));
    uint64_t start = ab_log_start_offset(log);
    assert_true(start > 0);
    ab_log_close(log);
    fixture_forget_watermark(damaged->directory);
    flip(damaged, damaged->directory, start, 20);
    log = open_setting_aside(damaged->directory, &recovery);
    assert_int_equal(recovery.end_offset, start);
    assert_int_equal(recovery.damaged_until, RECORDS);
    struct ab_record record = {.header = {.kind = AB_RECORD_EPOCH_START, .leader_epoch = 20}};
    uint64_t offset = 0;
    struct ab_hash128 chain;
    assert_int_equal(ab_log_append(log, &record, &offset), AB_CORRUPT);
    assert_int_equal(ab_log_append_copy(log, (struct ab_bytes){0}, &(struct ab_log_copied){0}, NULL), AB_CORRUPT);
    assert_int_equal(ab_log_chain_at(log, start, &chain, NULL), AB_CORRUPT);
    assert_ok(ab_log_reset(log, start, damaged->chains[start], FIXTURE_EPOCH, NULL));
    refetch(damaged, log);
    assert_true(ab_hash128_equal(ab_log_chain(log), damaged->chains[RECORDS]));
    ab_log_close(log);
    log = fixture_open(damaged->directory, SMALL_SEGMENT, &recovery);
    fixture_read_all(damaged->directory, start, RECORDS);
    ab_log_close(log);
}

int main(void)
{
#define damaged_test(name) cmocka_unit_test_setup_teardown(name, damaged_setup, damaged_teardown)
    const struct CMUnitTest tests[] = {
        damaged_test(test_damage_in_any_header_is_set_aside_from_there),
        damaged_test(test_damage_in_a_body_that_is_read_at_opening_is_set_aside_from_there),
        damaged_test(test_damage_behind_a_damaged_body_is_set_aside_from_the_body_on),
        damaged_test(test_damage_at_a_segment_start_behind_a_damaged_body),
        damaged_test(test_damage_of_a_lost_segment_is_set_aside_from_there),
        damaged_test(test_damage_of_all_segments_leaves_an_empty_log),
        damaged_test(test_damage_keeps_every_byte_it_moves),
        damaged_test(test_damage_without_a_watermark_reaches_as_far_as_records_tell),
        damaged_test(test_damage_is_cleared_when_the_leader_has_no_more),
        damaged_test(test_damage_that_the_owner_notes_is_kept),
        damaged_test(test_damage_survives_the_nth_call_failing),
        damaged_test(test_damage_of_another_log_is_refused),
        damaged_test(test_damage_that_takes_what_came_before_asks_for_a_reset),
    };
#undef damaged_test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
