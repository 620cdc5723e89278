/* One partition from block to answer: cuts, catalogs, retirement, trimming, lost state, full disk. */
#include "common/log/log.h"
#include "speed/digest.h"
#include "speed/partition.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

#define SQL "SELECT n, total, least, most FROM by_user"
#define SQL_ALL "SELECT n, total, least, most FROM everything"

struct fixture {
    char *directory;
    struct rig rig;
    uint64_t sequence;
    uint64_t position; /* of the next row */
};

static void open_again(struct fixture *fixture)
{
    struct ab_error error = {0};
    struct rig_options options = {0};
    if (fixture->rig.directory != NULL) {
        rig_close(&fixture->rig);
    }
    if (rig_open(&fixture->rig, fixture->directory, &options, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
}

static int setup(void **state)
{
    struct fixture *fixture = ab_new(struct fixture);
    fixture->directory = scratch_make();
    fixture->position = 1;
    open_again(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    rig_close(&fixture->rig);
    scratch_remove(fixture->directory);
    ab_delete(fixture);
    return 0;
}

static void send(struct fixture *fixture, uint32_t rows_count)
{
    struct ab_error error = {0};
    struct ab_buffer payload = {0};
    struct ab_staged staged;
    struct rig_block block = {.producer_id = 7,
        .sequence = ++fixture->sequence,
        .first_position = fixture->position,
        .rows_count = rows_count};
    rig_block_encode(&block, &payload);
    if (rig_send(&fixture->rig, ab_buffer_view(&payload), &staged, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(staged.outcome.accepted, rows_count);
    fixture->position += rows_count;
    ab_buffer_fini(&payload);
}

static void expect(struct fixture *fixture, const char *sql, uint64_t cut, uint64_t first)
{
    struct ab_error error = {0};
    struct rig_totals got = {0};
    struct rig_totals wanted;
    rig_expect(first, fixture->position - 1, &wanted);
    if (rig_query(&fixture->rig, sql, cut, &got, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(got.count, wanted.count);
    assert_true(got.sum == wanted.sum);
    assert_true(got.min == wanted.min);
    assert_true(got.max == wanted.max);
}

static void test_partition_answers_from_memory_store_and_both(void **state)
{
    struct fixture *fixture = *state;
    send(fixture, 1000);
    expect(fixture, SQL, 0, 1);
    rig_flush(&fixture->rig);
    expect(fixture, SQL, 0, 1);
    send(fixture, 500);
    expect(fixture, SQL, 0, 1);
    expect(fixture, SQL_ALL, 0, 1);
    rig_flush(&fixture->rig);
    send(fixture, 1);
    expect(fixture, SQL, 0, 1);
    expect(fixture, SQL_ALL, 0, 1);
}

static void test_partition_reopens_with_and_without_flush(void **state)
{
    struct fixture *fixture = *state;
    send(fixture, 300);
    open_again(fixture);
    expect(fixture, SQL, 0, 1);
    rig_flush(&fixture->rig);
    open_again(fixture);
    expect(fixture, SQL, 0, 1);
    send(fixture, 200);
    open_again(fixture);
    expect(fixture, SQL, 0, 1);
    expect(fixture, SQL_ALL, 0, 1);
}

static void test_partition_repeat_gives_the_same_answer_also_after_restart(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_buffer payload = {0};
    struct ab_staged first;
    struct ab_staged again;
    struct rig_block block = {.producer_id = 9, .sequence = 1, .first_position = 1, .rows_count = 10};
    rig_block_encode(&block, &payload);
    assert_ok(rig_send(&fixture->rig, ab_buffer_view(&payload), &first, &error));
    assert_false(first.is_repeat);
    for (int round = 0; round < 3; round++) {
        assert_ok(rig_send(&fixture->rig, ab_buffer_view(&payload), &again, &error));
        assert_true(again.is_repeat);
        assert_int_equal(again.outcome.offset, first.outcome.offset);
        assert_int_equal(again.outcome.accepted, 10);
        if (round == 1) {
            rig_flush(&fixture->rig);
        }
        open_again(fixture);
    }
    fixture->position = 11;
    expect(fixture, SQL, 0, 1);
    ab_buffer_fini(&payload);
}

static void test_partition_cut_divides_and_is_idempotent(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_closed_span span;
    struct ab_closed_span again;
    send(fixture, 100);
    assert_ok(rig_cut(&fixture->rig, 1, 1000, NULL, &error));
    send(fixture, 50);
    expect(fixture, SQL, 0, 1);
    expect(fixture, SQL, 1, 101);
    assert_ok(ab_partition_closed_span(fixture->rig.partition, 1, &span, &error));
    assert_true(span.is_flushed);
    assert_int_equal(span.end_offset, 3); /* cut 0, one block, cut 1 */
    assert_int_equal(span.accepted, 100);
    assert_ok(rig_cut(&fixture->rig, 1, 1000, NULL, &error));
    assert_ok(ab_partition_closed_span(fixture->rig.partition, 1, &again, &error));
    assert_memory_equal(&span.chain, &again.chain, sizeof(span.chain));
    assert_ok(rig_cut(&fixture->rig, 2, 2000, NULL, &error));
    open_again(fixture);
    assert_ok(ab_partition_closed_span(fixture->rig.partition, 1, &again, &error));
    assert_memory_equal(&span.chain, &again.chain, sizeof(span.chain));
    assert_int_equal(again.accepted, 100);
    assert_ok(rig_cut(&fixture->rig, 5, 5000, NULL, &error)); /* cuts may be skipped */
    assert_int_equal(rig_cut(&fixture->rig, 4, 5000, NULL, &error), AB_INVALID);
    expect(fixture, SQL, 0, 1);
    open_again(fixture);
    expect(fixture, SQL, 0, 1);
    expect(fixture, SQL, 1, 101);
    assert_int_equal(rig_query(&fixture->rig, SQL, 6, &(struct rig_totals){0}, &error), AB_UNAVAILABLE);
}

static void test_partition_catalog_switches_at_the_cut(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_buffer before = {0};
    struct ab_buffer after = {0};
    char *text =
        ab_new_format("%s CREATE VIEW late AS SELECT count(*) AS n, sum(amount) AS total, min(amount) AS least, "
                      "max(amount) AS most FROM events;",
            rig_catalog_text);
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &before);
    rig_catalog(text, ab_buffer_view(&before), &after);
    send(fixture, 40);
    const struct ab_served_catalog *served = NULL;
    assert_ok(ab_catalogs_add(fixture->rig.catalogs, ab_buffer_view(&after), &served, &error));
    struct rig_totals totals;
    assert_int_equal(rig_query(&fixture->rig, "SELECT n, total, least, most FROM late", 0, &totals, &error), AB_STALE);
    expect(fixture, SQL, 0, 1); /* the newer catalog's plan reads the older one's tables */
    assert_ok(rig_cut(&fixture->rig, 1, 1000, served, &error));
    send(fixture, 60);
    expect(fixture, "SELECT n, total, least, most FROM late", 1, 41);
    assert_int_equal(rig_query(&fixture->rig, "SELECT n, total, least, most FROM late", 0, &totals, &error), AB_STALE);
    expect(fixture, SQL, 0, 1);
    for (int round = 0; round < 2; round++) {
        open_again(fixture); /* the log and the tables know the catalog */
        expect(fixture, SQL, 0, 1);
        expect(fixture, "SELECT n, total, least, most FROM late", 1, 41);
        rig_flush(&fixture->rig);
    }
    ab_delete(text);
    ab_buffer_fini(&before);
    ab_buffer_fini(&after);
}

static void test_partition_replaced_view_stays_until_its_spans_are_retired(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_buffer before = {0};
    struct ab_buffer after = {0};
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &before);
    rig_catalog("CREATE STREAM events (usr TEXT NOT NULL, amount DOUBLE CHECK (amount >= 0), at TIMESTAMP NOT NULL, "
                "EVENT TIME at, PARTITION KEY (usr)); CREATE VIEW everything AS SELECT count(*) AS n, sum(amount) AS "
                "total, min(amount) AS least, max(amount) AS most FROM events;",
        ab_buffer_view(&before), &after);
    struct ab_digest digest;
    struct ab_row_counts counts;
    const struct ab_served_catalog *old = ab_catalogs_newest(fixture->rig.catalogs);
    uint32_t uid = ab_catalog_view(old->catalog, ab_bytes_of_text("by_user"))->uid;
    const struct ab_served_catalog *served = NULL;
    send(fixture, 10);
    assert_ok(ab_catalogs_add(fixture->rig.catalogs, ab_buffer_view(&after), &served, &error));
    assert_ok(rig_cut(&fixture->rig, 1, 1000, served, &error));
    send(fixture, 20);
    assert_ok(rig_cut(&fixture->rig, 2, 2000, NULL, &error));
    assert_ok(ab_digest_span(fixture->rig.partition, 2, uid, &digest, &counts, &error)); /* carried */
    assert_int_equal(digest.rows_count, 20);
    ab_buffer_fini(&before);
    ab_buffer_fini(&after);
}

static void on_done(struct ab_partition *partition, void *context)
{
    (void)partition;
    *(int *)context += 1;
}

static void retire(struct fixture *fixture, uint64_t cut)
{
    struct ab_error error = {0};
    int done = 0;
    assert_ok(ab_partition_retire(fixture->rig.partition, cut, on_done, &done, &error));
    rig_flush(&fixture->rig);
    assert_int_equal(done, 1);
}

static void test_partition_retired_spans_are_refused_and_gone(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct rig_totals totals;
    int done = 0;
    send(fixture, 30);
    assert_ok(rig_cut(&fixture->rig, 1, 1000, NULL, &error));
    send(fixture, 30);
    assert_int_equal(ab_partition_retire(fixture->rig.partition, 2, on_done, &done, &error), AB_AGAIN);
    retire(fixture, 1);
    retire(fixture, 1);
    assert_int_equal(rig_query(&fixture->rig, SQL, 0, &totals, &error), AB_STALE);
    expect(fixture, SQL, 1, 31);
    open_again(fixture);
    assert_int_equal(rig_query(&fixture->rig, SQL, 0, &totals, &error), AB_STALE);
    expect(fixture, SQL, 1, 31);
    struct ab_closed_span span;
    assert_int_equal(ab_partition_closed_span(fixture->rig.partition, 1, &span, &error), AB_STALE);
}

static void test_partition_lost_state_is_rebuilt_after_trimming(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    for (int i = 0; i < 60; i++) {
        send(fixture, 2000); /* more than two segments */
    }
    uint64_t first_kept = fixture->position;
    assert_ok(rig_cut(&fixture->rig, 1, 1000, NULL, &error));
    struct ab_closed_span span;
    assert_ok(ab_partition_closed_span(fixture->rig.partition, 1, &span, &error));
    send(fixture, 100);
    retire(fixture, 1);
    assert_ok(ab_partition_trim(fixture->rig.partition, span.end_offset, &error));
    struct ab_partition_report report;
    ab_partition_report(fixture->rig.partition, &report);
    assert_true(report.start_offset > 0);
    send(fixture, 50);
    rig_close(&fixture->rig);
    char *path = scratch_path(fixture->directory, "partition-0/state");
    assert_ok(ab_file_remove_tree(path, &error));
    ab_delete(path);
    open_again(fixture);
    expect(fixture, SQL, 1, first_kept);
    /* What was trimmed away is still known to be there. */
    struct ab_buffer payload = {0};
    struct ab_staged staged;
    struct rig_block old = {.producer_id = 11, .sequence = 1, .first_position = 1, .rows_count = 500};
    rig_block_encode(&old, &payload);
    assert_ok(rig_send(&fixture->rig, ab_buffer_view(&payload), &staged, &error));
    assert_int_equal(staged.outcome.duplicates, 500);
    expect(fixture, SQL, 1, first_kept);
    ab_buffer_fini(&payload);
}

/* Batch reads a span from the cut before it: trimming keeps that one, also where a segment begins right behind it. */
static void test_partition_trimming_keeps_the_cut_before_the_first_live_span(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_closed_span span;
    struct ab_partition_report report;
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    send(fixture, 60000); /* a segment of its own */
    assert_ok(rig_cut(&fixture->rig, 1, 1000, NULL, &error));
    assert_ok(ab_partition_closed_span(fixture->rig.partition, 1, &span, &error));
    send(fixture, 60000); /* and another one */
    retire(fixture, 1);
    assert_ok(ab_partition_trim(fixture->rig.partition, span.end_offset, &error));
    ab_partition_report(fixture->rig.partition, &report);
    assert_true(report.start_offset > 0);
    const char *log = ab_partition_log_directory(fixture->rig.partition);
    assert_ok(ab_log_reader_open(log, span.end_offset - 1, span.end_offset + 1, &reader, &error));
    assert_ok(ab_log_reader_next(reader, &record, &error));
    assert_int_equal(record.header.kind, AB_RECORD_CUT);
    ab_log_reader_close(reader);
}

static void test_partition_damaged_state_is_rebuilt_from_the_log(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    send(fixture, 100);
    assert_ok(rig_cut(&fixture->rig, 1, 1000, NULL, &error));
    send(fixture, 100);
    rig_flush(&fixture->rig);
    rig_close(&fixture->rig);
    char *path = scratch_path(fixture->directory, "partition-0/state/db/CURRENT");
    scratch_write(path, ab_bytes_of_text("nonsense"), 0600);
    ab_delete(path);
    open_again(fixture);
    expect(fixture, SQL, 0, 1);
    expect(fixture, SQL, 1, 101);
}

/* Changes a bit in every file of stored states below a folder; returns how many there were. */
static size_t states_damage(const char *folder)
{
    struct ab_error error = {0};
    char **names = NULL;
    size_t count = 0;
    size_t damaged = 0;
    assert_ok(ab_file_list(folder, &names, &count, &error));
    for (size_t i = 0; i < count; i++) {
        char *path = scratch_path(folder, names[i]);
        struct ab_buffer bytes = {0};
        if (strstr(names[i], ".sst") != NULL) {
            assert_ok(ab_file_read_all(path, &bytes, &error));
            bytes.data[3] ^= 4; /* in the first block */
            scratch_write(path, ab_buffer_view(&bytes), 0600);
            damaged++;
        }
        ab_buffer_fini(&bytes);
        ab_delete(path);
    }
    ab_file_names_free(names, count);
    return damaged;
}

/* RocksDB opens such files and refuses to read them. */
static void test_partition_state_whose_files_changed_is_rebuilt_from_the_log(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    char *folder = scratch_path(fixture->directory, "partition-0/state/db");
    send(fixture, 100);
    assert_ok(rig_cut(&fixture->rig, 1, 1000, NULL, &error));
    send(fixture, 100);
    rig_flush(&fixture->rig);
    rig_close(&fixture->rig);
    assert_true(states_damage(folder) > 0);
    open_again(fixture);
    expect(fixture, SQL, 0, 1);
    expect(fixture, SQL, 1, 101);
    rig_flush(&fixture->rig);
    rig_close(&fixture->rig);
    open_again(fixture);
    expect(fixture, SQL, 0, 1);
    ab_delete(folder);
}

static void test_partition_full_disk_leaves_everything_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    send(fixture, 10);
    struct ab_buffer payload = {0};
    struct ab_staged staged;
    struct rig_block block = {.producer_id = 7, .sequence = 2, .first_position = 11, .rows_count = 10};
    rig_block_encode(&block, &payload);
    ab_file_fault_set(0, 1, AB_NO_SPACE);
    assert_int_equal(rig_send(&fixture->rig, ab_buffer_view(&payload), &staged, &error), AB_NO_SPACE);
    assert_true(ab_file_fault_was_hit());
    ab_file_fault_clear();
    expect(fixture, SQL, 0, 1);
    assert_ok(rig_send(&fixture->rig, ab_buffer_view(&payload), &staged, &error));
    assert_false(staged.is_repeat);
    assert_int_equal(staged.outcome.accepted, 10);
    fixture->position += 10;
    expect(fixture, SQL, 0, 1);
    open_again(fixture);
    expect(fixture, SQL, 0, 1);
    ab_buffer_fini(&payload);
}

static void test_partition_digest_counts_a_closed_span(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_digest one = {0};
    struct ab_digest two = {0};
    struct ab_row_counts counts = {0};
    uint32_t uid =
        ab_catalog_view(ab_catalogs_newest(fixture->rig.catalogs)->catalog, ab_bytes_of_text("by_user"))->uid;
    send(fixture, 100);
    rig_flush(&fixture->rig);
    send(fixture, 100);
    assert_int_equal(ab_digest_span(fixture->rig.partition, 1, uid, &one, &counts, &error), AB_NOT_FOUND);
    assert_ok(rig_cut(&fixture->rig, 1, 1000, NULL, &error));
    assert_ok(ab_digest_span(fixture->rig.partition, 1, uid, &one, &counts, &error));
    assert_int_equal(one.rows_count, 200);
    assert_int_equal(counts.aggregated, 200);
    open_again(fixture);
    assert_ok(ab_digest_span(fixture->rig.partition, 1, uid, &two, &counts, &error));
    assert_memory_equal(&one, &two, sizeof(one));
    assert_int_equal(ab_digest_span(fixture->rig.partition, 1, 999, &two, &counts, &error), AB_NOT_FOUND);
}

static void test_partition_panes_expire_by_the_time_of_the_cut_before(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_buffer before = {0};
    struct ab_buffer after = {0};
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &before);
    char *text =
        ab_new_format("%s CREATE VIEW kept AS SELECT count(*) AS n, sum(amount) AS total, min(amount) AS least, "
                      "max(amount) AS most FROM events GROUP BY TUMBLE(at, INTERVAL '1 hour') WITH (keep = '1 day');",
            rig_catalog_text);
    rig_catalog(text, ab_buffer_view(&before), &after);
    const struct ab_served_catalog *served = NULL;
    assert_ok(ab_catalogs_add(fixture->rig.catalogs, ab_buffer_view(&after), &served, &error));
    send(fixture, 10);
    /* All rows are of 2013-06-01; the cut's time lies more than a day later, so rows after it have expired in this
     * view. */
    ab_time_us late = INT64_C(1380000000) * AB_US_PER_SECOND;
    assert_ok(rig_cut(&fixture->rig, 1, late, served, &error));
    send(fixture, 20);
    assert_ok(rig_cut(&fixture->rig, 2, late + 1, NULL, &error));
    struct ab_digest digest;
    struct ab_row_counts counts;
    uint32_t uid = ab_catalog_view(served->catalog, ab_bytes_of_text("kept"))->uid;
    assert_ok(ab_digest_span(fixture->rig.partition, 2, uid, &digest, &counts, &error));
    assert_int_equal(digest.rows_count, 0);
    assert_int_equal(counts.expired, 20);
    assert_int_equal(counts.aggregated, 0);
    ab_delete(text);
    ab_buffer_fini(&before);
    ab_buffer_fini(&after);
}

static void test_partition_damaged_log_is_refused_with_its_place(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    for (int i = 0; i < 10; i++) {
        send(fixture, 100);
    }
    rig_close(&fixture->rig);
    char *directory = scratch_path(fixture->directory, "partition-0/log");
    char **names = NULL;
    size_t count = 0;
    assert_ok(ab_file_list(directory, &names, &count, &error));
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], ".seg") != NULL) {
            char *path = scratch_path(directory, names[i]);
            struct ab_buffer bytes = {0};
            assert_ok(ab_file_read_all(path, &bytes, &error));
            bytes.data[3000] ^= 0x10;
            scratch_write(path, ab_buffer_view(&bytes), 0600);
            ab_buffer_fini(&bytes);
            ab_delete(path);
            break;
        }
    }
    ab_file_names_free(names, count);
    ab_delete(directory);
    struct rig_options options = {0};
    assert_int_equal(rig_open(&fixture->rig, fixture->directory, &options, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, "segment"));
    assert_non_null(strstr(error.text, "partition 0"));
}

static void test_partition_log_that_lost_applied_records_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    send(fixture, 100);
    rig_flush(&fixture->rig);
    rig_close(&fixture->rig);
    char *path = scratch_path(fixture->directory, "partition-0/log");
    assert_ok(ab_file_remove_tree(path, &error));
    ab_delete(path);
    struct rig_options options = {0};
    assert_int_equal(rig_open(&fixture->rig, fixture->directory, &options, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, "acknowledged"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_partition_answers_from_memory_store_and_both, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_reopens_with_and_without_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_repeat_gives_the_same_answer_also_after_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_cut_divides_and_is_idempotent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_catalog_switches_at_the_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_replaced_view_stays_until_its_spans_are_retired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_retired_spans_are_refused_and_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_lost_state_is_rebuilt_after_trimming, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_trimming_keeps_the_cut_before_the_first_live_span, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_damaged_state_is_rebuilt_from_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_partition_state_whose_files_changed_is_rebuilt_from_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_full_disk_leaves_everything_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_digest_counts_a_closed_span, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_panes_expire_by_the_time_of_the_cut_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_damaged_log_is_refused_with_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partition_log_that_lost_applied_records_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
