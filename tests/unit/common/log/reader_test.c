/* Reading for a replica: raw bytes, from anywhere, and never what was replaced. */
#include "common/log/index.h"
#include "common/log/log.h"

#include "common/base/thread.h"
#include "common/log/segment.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { LARGE_BODY = 90000, LARGE_RECORDS = 100, LARGE_SEGMENT = 4 << 20, KEPT = 40, ROUNDS = 60, TAIL = 12 };

/* ---- the index ---- */

static void test_index_keeps_a_mark_a_stride_and_finds_the_nearest(void **state)
{
    (void)state;
    struct ab_log_index index = {0};
    uint64_t offset = 0;
    for (uint64_t segment = 0; segment < 3; segment++) {
        for (uint64_t position = 0; position < 10 * AB_LOG_INDEX_STRIDE_BYTES; position += 100000) {
            ab_log_index_note(&index, offset++, position);
        }
    }
    assert_in_range(index.count, 24, 30);
    uint64_t per_segment = offset / 3;
    for (uint64_t wanted = 0; wanted < offset; wanted++) {
        uint64_t first = wanted / per_segment * per_segment;
        struct ab_log_mark mark = ab_log_index_find(&index, first, wanted);
        assert_in_range(mark.offset, first, wanted);
        assert_int_equal(mark.position, (mark.offset - first) * 100000);
        assert_true((wanted - mark.offset) * 100000 < AB_LOG_INDEX_STRIDE_BYTES + 200000);
    }
    ab_log_index_truncate(&index, per_segment);
    assert_int_equal(ab_log_index_find(&index, per_segment, offset).offset, per_segment);
    ab_log_index_trim(&index, per_segment);
    assert_int_equal(index.count, 0);
    ab_log_index_fini(&index);
}

/* ---- reading on a log ---- */

static void append_large(struct ab_log *log, uint64_t epoch)
{
    uint8_t *body = ab_new_bytes(LARGE_BODY);
    uint64_t offset = 0;
    memset(body, (int)(epoch & 0xFF), LARGE_BODY);
    struct ab_record record = {
        .header = {.kind = AB_RECORD_BLOCK, .leader_epoch = epoch}, .body = ab_bytes_of(body, LARGE_BODY)};
    assert_ok(ab_log_append(log, &record, &offset));
    assert_ok(ab_log_write(log, NULL));
    ab_delete(body);
}

static void expect_readable_from_everywhere(struct ab_log *log, uint64_t epoch)
{
    uint64_t end = ab_log_end_offset(log);
    for (uint64_t from = ab_log_start_offset(log); from < end; from++) {
        struct ab_log_reader *reader = NULL;
        struct ab_record record;
        assert_ok(ab_log_reader_open_on(log, from, end, &reader, NULL));
        for (uint64_t offset = from; offset < end && offset < from + 2; offset++) {
            assert_ok(ab_log_reader_next(reader, &record, NULL));
            assert_int_equal(record.header.offset, offset);
            assert_int_equal(record.header.leader_epoch, offset < KEPT ? 1 : epoch);
        }
        struct ab_hash128 chain;
        assert_ok(ab_log_chain_at(log, from + 1 < end ? from + 1 : from, &chain, NULL));
        assert_true(ab_hash128_equal(chain, record.header.previous_chain));
        ab_log_reader_close(reader);
    }
}

static void test_reader_on_a_log_starts_anywhere(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, LARGE_SEGMENT, &recovery);
    for (int i = 0; i < LARGE_RECORDS; i++) {
        append_large(log, 1);
    }
    assert_ok(ab_log_truncate(log, KEPT, NULL));
    for (int i = KEPT; i < LARGE_RECORDS; i++) {
        append_large(log, 2);
    }
    expect_readable_from_everywhere(log, 2);
    ab_log_close(log);
    log = fixture_open(*state, LARGE_SEGMENT, &recovery);
    expect_readable_from_everywhere(log, 2);
    assert_ok(ab_log_trim(log, 50, NULL));
    assert_true(ab_log_start_offset(log) > 10);
    expect_readable_from_everywhere(log, 2);
    struct ab_log_reader *reader = NULL;
    assert_int_equal(ab_log_reader_open_on(log, 3, 4, &reader, NULL), AB_NOT_FOUND);
    ab_log_close(log);
}

static void test_reader_gives_the_bytes_as_they_are_on_disk(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, 0, &recovery);
    fixture_append_durably(log, 20);
    char *path = ab_segment_path(*state, 0);
    struct ab_buffer content = {0};
    struct ab_buffer read = {0};
    fixture_file_read(path, &content);
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    assert_ok(ab_log_reader_open_on(log, 0, 20, &reader, NULL));
    for (int i = 0; i < 20; i++) {
        assert_ok(ab_log_reader_next(reader, &record, NULL));
        assert_int_equal(record.encoded.bytes, ab_record_bytes(&record.header));
        ab_buffer_put_bytes(&read, record.encoded);
    }
    assert_true(ab_bytes_equal(ab_buffer_view(&content), ab_buffer_view(&read)));
    ab_log_reader_close(reader);
    ab_buffer_fini(&content);
    ab_buffer_fini(&read);
    ab_delete(path);
    ab_log_close(log);
}

/* ---- truncated under the reader ---- */

/* The window holds records that are gone: they must not come out of it. */
static void test_reader_is_stale_once_its_log_was_truncated(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, 0, &recovery);
    fixture_append_durably(log, 20);
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    struct ab_error error = {0};
    assert_ok(ab_log_reader_open_on(log, 5, 20, &reader, NULL));
    assert_ok(ab_log_reader_next(reader, &record, NULL));
    assert_ok(ab_log_truncate(log, 10, NULL));
    assert_int_equal(ab_log_reader_next(reader, &record, &error), AB_STALE);
    fixture_append_epoch(log, 10, FIXTURE_EPOCH + 1);
    assert_ok(ab_log_write(log, NULL));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ab_log_reader_next(reader, &record, &error), AB_STALE);
    }
    ab_log_reader_close(reader);
    assert_ok(ab_log_reader_open_on(log, 5, 20, &reader, NULL));
    for (uint64_t offset = 5; offset < 20; offset++) {
        assert_ok(ab_log_reader_next(reader, &record, NULL));
        assert_int_equal(record.header.leader_epoch, offset < 10 ? FIXTURE_EPOCH : FIXTURE_EPOCH + 1);
    }
    ab_log_reader_close(reader);
    ab_log_close(log);
}

static void test_reader_is_stale_once_its_log_was_reset(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, 0, &recovery);
    fixture_append_durably(log, 20);
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    assert_ok(ab_log_reader_open_on(log, 5, 20, &reader, NULL));
    assert_ok(ab_log_reset(log, 10, ab_log_chain(log), FIXTURE_EPOCH, NULL));
    assert_int_equal(ab_log_reader_next(reader, &record, NULL), AB_STALE);
    ab_log_reader_close(reader);
    assert_int_equal(ab_log_reader_open_on(log, 5, 20, &reader, NULL), AB_NOT_FOUND);
    ab_log_close(log);
}

static void test_reader_is_stale_when_the_truncation_did_not_end(void **state)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(*state, 0, &recovery);
    fixture_append_durably(log, 20);
    struct ab_log_reader *reader = NULL;
    /* At some call it is half done, and the log poisoned. */
    for (int countdown = 0; ab_log_sync(log, NULL) == AB_OK; countdown++) {
        assert_true(countdown < 60);
        ab_file_fault_set(countdown, 1, AB_IO);
        ab_err err = ab_log_truncate(log, 10, NULL);
        ab_file_fault_clear();
        assert_int_equal(err, AB_IO);
    }
    assert_int_equal(ab_log_reader_open_on(log, 5, 10, &reader, NULL), AB_STALE);
    ab_log_close(log);
}

/* ---- threads ---- */

struct shared {
    struct ab_log *log;
    _Atomic uint64_t epoch; /* every record from KEPT on is of it or a later one */
    atomic_bool is_done;
    uint64_t records_read;
};

static void reader_run(void *context)
{
    struct shared *shared = context;
    while (!atomic_load(&shared->is_done)) {
        struct ab_log_reader *reader = NULL;
        if (ab_log_reader_open_on(shared->log, KEPT - 2, KEPT + TAIL, &reader, NULL) != AB_OK) {
            continue;
        }
        struct ab_record record;
        for (;;) {
            uint64_t epoch = atomic_load(&shared->epoch);
            ab_err err = ab_log_reader_next(reader, &record, NULL);
            if (err != AB_OK) {
                assert_true(err == AB_STALE || err == AB_END || err == AB_CORRUPT);
                break;
            }
            assert_true(record.header.offset < KEPT || record.header.leader_epoch >= epoch);
            shared->records_read++;
        }
        ab_log_reader_close(reader);
    }
}

static void test_reader_never_gives_a_replaced_record_while_the_log_is_rewritten(void **state)
{
    struct ab_log_recovery recovery;
    struct shared shared = {.log = fixture_open(*state, 30000, &recovery)};
    fixture_append_epoch(shared.log, KEPT, 1);
    assert_ok(ab_log_write(shared.log, NULL));
    struct ab_thread reader = {0};
    ab_thread_start(&reader, "reader", reader_run, &shared);
    for (uint64_t epoch = 1; epoch <= ROUNDS; epoch++) {
        assert_ok(ab_log_truncate(shared.log, KEPT, NULL));
        for (int i = 0; i < TAIL; i++) {
            fixture_append_epoch(shared.log, 1, epoch);
            assert_ok(ab_log_write(shared.log, NULL));
        }
        atomic_store(&shared.epoch, epoch);
        ab_time_sleep_us(500);
    }
    atomic_store(&shared.is_done, true);
    ab_thread_join(&reader);
    assert_true(shared.records_read > ROUNDS);
    ab_log_close(shared.log);
}

int main(void)
{
#define scratch_test(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_keeps_a_mark_a_stride_and_finds_the_nearest),
        scratch_test(test_reader_on_a_log_starts_anywhere),
        scratch_test(test_reader_gives_the_bytes_as_they_are_on_disk),
        scratch_test(test_reader_is_stale_once_its_log_was_truncated),
        scratch_test(test_reader_is_stale_once_its_log_was_reset),
        scratch_test(test_reader_is_stale_when_the_truncation_did_not_end),
        scratch_test(test_reader_never_gives_a_replaced_record_while_the_log_is_rewritten),
    };
#undef scratch_test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
