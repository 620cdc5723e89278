/* What a log keeps in memory of what it wrote last: the bytes on disk, or nothing. */
#include "common/log/log.h"

#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { RECENT_BYTES = 64 * 1024, BUDGET_BYTES = 160 * 1024 };

/* ---- fixture ---- */

struct kept {
    char *directory;
    struct ab_memory memory;
    struct ab_log *log;
};

static int kept_setup(void **state)
{
    struct kept *kept = ab_new(struct kept);
    kept->directory = scratch_make();
    ab_memory_init(&kept->memory, BUDGET_BYTES, NULL);
    struct ab_log_options options = fixture_options(0);
    options.memory = &kept->memory;
    options.recent_bytes_max = RECENT_BYTES;
    struct ab_log_recovery recovery;
    assert_ok(ab_log_open(kept->directory, &options, &kept->log, &recovery, NULL));
    *state = kept;
    return 0;
}

static int kept_teardown(void **state)
{
    struct kept *kept = *state;
    ab_log_close(kept->log);
    assert_int_equal(ab_memory_used(&kept->memory), 0);
    scratch_remove(kept->directory);
    ab_delete(kept);
    return 0;
}

/* ---- helpers ---- */

static bool is_kept(const struct kept *kept, uint64_t offset)
{
    struct ab_bytes records;
    struct ab_record record;
    uint64_t end_offset = 0;
    ab_err err = ab_log_recent(kept->log, offset, 1, &records, &end_offset);
    assert_int_equal(ab_log_recent_record(kept->log, offset, &record), err);
    if (err == AB_OK) {
        assert_int_equal(end_offset, offset + 1);
        assert_true(fixture_record_is_right(&record));
    } else {
        assert_int_equal(err, AB_NOT_FOUND);
    }
    return err == AB_OK;
}

/* Compares [from, end) with the file; all of it must be in memory. */
static void kept_expect(const struct kept *kept, uint64_t from, size_t bytes_max)
{
    struct ab_log_reader *reader = NULL;
    uint64_t end = ab_log_end_offset(kept->log);
    assert_ok(ab_log_reader_open_on(kept->log, from, end, &reader, NULL));
    for (uint64_t at = from; at < end;) {
        struct ab_bytes records;
        uint64_t end_offset = 0;
        size_t compared = 0;
        assert_ok(ab_log_recent(kept->log, at, bytes_max, &records, &end_offset));
        for (; at < end_offset; at++) {
            struct ab_record there;
            struct ab_record here;
            assert_true(compared < bytes_max);
            assert_ok(ab_log_reader_next(reader, &there, NULL));
            assert_ok(ab_log_recent_record(kept->log, at, &here));
            assert_memory_equal(records.data + compared, there.encoded.data, there.encoded.bytes);
            assert_true(ab_hash128_equal(here.chain, there.chain));
            assert_int_equal(here.body.bytes, there.body.bytes);
            assert_int_equal(here.header.offset, at);
            struct ab_hash128 before;
            assert_ok(ab_log_chain_at(kept->log, at, &before, NULL));
            assert_true(ab_hash128_equal(before, there.header.previous_chain));
            compared += there.encoded.bytes;
        }
        assert_int_equal(compared, records.bytes);
    }
    ab_log_reader_close(reader);
}

static void group_write(const struct kept *kept, size_t records)
{
    fixture_append(kept->log, records);
    assert_ok(ab_log_write(kept->log, NULL));
}

/* ---- cases ---- */

static void test_recent_is_what_the_file_holds(void **state)
{
    const struct kept *kept = *state;
    uint64_t from = 0;
    for (size_t i = 0; i < 60; i++) {
        group_write(kept, 1 + i % 5);
        while (!is_kept(kept, from)) {
            from++;
        }
        kept_expect(kept, from, i % 2 == 0 ? SIZE_MAX : 3000);
    }
    assert_true(from > 0);
    assert_true(from < ab_log_end_offset(kept->log) - 4);
}

static void test_recent_is_bounded_and_the_oldest_go_first(void **state)
{
    const struct kept *kept = *state;
    for (size_t i = 0; i < 200; i++) {
        group_write(kept, 3);
        assert_true(ab_memory_used(&kept->memory) <= RECENT_BYTES + 32 * 1024); /* and the staging buffer */
    }
    bool was_kept = false;
    for (uint64_t offset = 0; offset < ab_log_end_offset(kept->log); offset++) {
        bool is_now = is_kept(kept, offset);
        assert_true(is_now || !was_kept);
        was_kept = is_now;
    }
    assert_true(was_kept);
}

static void test_recent_takes_many_small_groups(void **state)
{
    const struct kept *kept = *state;
    for (size_t i = 0; i < 300; i++) {
        group_write(kept, 1);
    }
    assert_true(is_kept(kept, 299));
    assert_false(is_kept(kept, 200));
}

static void test_recent_gives_nothing_that_is_not_written(void **state)
{
    const struct kept *kept = *state;
    assert_false(is_kept(kept, 0));
    fixture_append(kept->log, 2);
    assert_false(is_kept(kept, 0));
    ab_log_abandon(kept->log);
    assert_false(is_kept(kept, 0));
    group_write(kept, 1);
    assert_true(is_kept(kept, 0));
    assert_false(is_kept(kept, 1));
    kept_expect(kept, 0, SIZE_MAX);
}

static void test_recent_forgets_what_is_truncated_or_reset(void **state)
{
    const struct kept *kept = *state;
    group_write(kept, 4);
    group_write(kept, 4);
    assert_ok(ab_log_truncate(kept->log, 6, NULL));
    assert_false(is_kept(kept, 5));
    group_write(kept, 2);
    kept_expect(kept, 6, SIZE_MAX);
    assert_ok(ab_log_reset(kept->log, 100, (struct ab_hash128){.low = 1}, FIXTURE_EPOCH, NULL));
    assert_false(is_kept(kept, 7));
    assert_false(is_kept(kept, 100));
    group_write(kept, 2);
    kept_expect(kept, 100, SIZE_MAX);
}

/* What is staged has the budget before what is only kept, and a group too large to keep leaves no gap behind it. */
static void test_recent_gives_way_to_what_is_staged(void **state)
{
    const struct kept *kept = *state;
    for (size_t i = 0; i < 30; i++) {
        group_write(kept, 3);
    }
    assert_true(is_kept(kept, 89));
    fixture_append(kept->log, 60); /* some 120 KiB of 160 */
    assert_false(is_kept(kept, 89));
    assert_ok(ab_log_write(kept->log, NULL));
    assert_false(is_kept(kept, 100));
    fixture_read_all(kept->directory, 0, ab_log_end_offset(kept->log));
}

static void test_recent_has_copied_records_and_nothing_of_a_refused_copy(void **state)
{
    const struct kept *kept = *state;
    char *directory = scratch_path(kept->directory, "follower");
    struct ab_log_options options = fixture_options(0);
    options.recent_bytes_max = RECENT_BYTES;
    struct ab_log_recovery recovery;
    struct kept follower = {.directory = directory};
    struct ab_bytes records;
    struct ab_buffer damaged = {0};
    struct ab_log_copied copied;
    uint64_t end_offset = 0;
    assert_ok(ab_log_open(directory, &options, &follower.log, &recovery, NULL));
    group_write(kept, 5);
    assert_ok(ab_log_recent(kept->log, 0, SIZE_MAX, &records, &end_offset));
    assert_int_equal(end_offset, 5);
    ab_buffer_put_bytes(&damaged, records);
    damaged.data[damaged.bytes - 100] ^= 1;
    assert_int_equal(ab_log_append_copy(follower.log, ab_buffer_view(&damaged), &copied, NULL), AB_CORRUPT);
    assert_false(is_kept(&follower, 0));
    assert_ok(ab_log_append_copy(follower.log, records, &copied, NULL));
    assert_ok(ab_log_write(follower.log, NULL));
    kept_expect(&follower, 0, SIZE_MAX);
    assert_true(is_kept(&follower, 4));
    ab_log_close(follower.log);
    ab_buffer_fini(&damaged);
    ab_delete(directory);
}

static void test_recent_without_a_maximum_keeps_nothing(void **state)
{
    const struct kept *kept = *state;
    char *directory = scratch_path(kept->directory, "plain");
    struct ab_log_recovery recovery;
    struct kept plain = {.log = fixture_open(directory, 0, &recovery)};
    group_write(&plain, 3);
    assert_false(is_kept(&plain, 2));
    ab_log_close(plain.log);
    ab_delete(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_recent_is_what_the_file_holds, kept_setup, kept_teardown),
        cmocka_unit_test_setup_teardown(test_recent_is_bounded_and_the_oldest_go_first, kept_setup, kept_teardown),
        cmocka_unit_test_setup_teardown(test_recent_takes_many_small_groups, kept_setup, kept_teardown),
        cmocka_unit_test_setup_teardown(test_recent_gives_nothing_that_is_not_written, kept_setup, kept_teardown),
        cmocka_unit_test_setup_teardown(test_recent_forgets_what_is_truncated_or_reset, kept_setup, kept_teardown),
        cmocka_unit_test_setup_teardown(test_recent_gives_way_to_what_is_staged, kept_setup, kept_teardown),
        cmocka_unit_test_setup_teardown(
            test_recent_has_copied_records_and_nothing_of_a_refused_copy, kept_setup, kept_teardown),
        cmocka_unit_test_setup_teardown(test_recent_without_a_maximum_keeps_nothing, kept_setup, kept_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
