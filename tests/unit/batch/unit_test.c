/* Seal and combine: the log becomes files and runs, with the counts of the truth, the same bytes with and without
 * spills, and again. */
#include "batch/unit.h"

#include "batch/combine.h"
#include "batch/scan.h"
#include "batch/seal.h"
#include "batch/shuffle.h"
#include "batch/sort.h"
#include "common/aggregate/group_key.h"
#include "common/history/layout.h"
#include "common/history/parquet.h"
#include "tests/unit/batch/fixture.h"

#include <unistd.h>

struct both {
    struct fixture fixture;
    struct ab_plan plan;
    struct ab_sealed_span sealed[FIXTURE_SPANS_MAX][FIXTURE_PARTITIONS];
};

static struct ab_seal_unit seal_unit(struct both *both, size_t span, uint32_t partition)
{
    return (struct ab_seal_unit){.directory = both->fixture.directory,
        .catalog = both->plan.catalog,
        .partition = partition,
        .span = both->plan.spans[span].cut,
        .from_offset = ab_plan_from_offset(&both->plan, span, partition),
        .until_offset = both->plan.spans[span].end_offsets[partition]};
}

static int setup(void **state)
{
    struct both *both = ab_new(struct both);
    struct ab_error error = {0};
    fixture_init(&both->fixture);
    for (int s = 0; s < 3; s++) {
        fixture_span_add(&both->fixture, 20000);
    }
    struct ab_json *answer = fixture_begin_answer(&both->fixture, "job-1", 1, NULL);
    assert_ok(ab_plan_decode(answer, false, &both->plan, &error));
    ab_json_destroy(answer);
    for (size_t s = 0; s < 3; s++) {
        for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
            bool was_sealed = true;
            struct ab_seal_unit unit = seal_unit(both, s, p);
            if (ab_seal_run(&unit, &both->sealed[s][p], &was_sealed, &error) != AB_OK) {
                fail_msg("%s", error.text);
            }
            assert_false(was_sealed);
        }
    }
    *state = both;
    return 0;
}

static int teardown(void **state)
{
    struct both *both = *state;
    for (size_t s = 0; s < 3; s++) {
        for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
            ab_sealed_span_fini(&both->sealed[s][p]);
        }
    }
    ab_plan_fini(&both->plan);
    fixture_fini(&both->fixture);
    ab_delete(both);
    return 0;
}

static void test_seal_every_row_is_somewhere(void **state)
{
    struct both *both = *state;
    for (size_t s = 0; s < 3; s++) {
        struct ab_sealed_stream sum = {0};
        for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
            const struct ab_sealed_stream *stream = ab_sealed_span_stream(&both->sealed[s][p], "payments");
            assert_int_equal(both->sealed[s][p].start_time_us, s == 0 ? 0 : fixture_time(s));
            assert_int_equal(both->sealed[s][p].time_us, fixture_time(s + 1));
            if (stream != NULL) {
                sum.rows += stream->rows;
                sum.accepted += stream->accepted;
                sum.rejected += stream->rejected;
                sum.duplicates += stream->duplicates;
            }
        }
        assert_int_equal(sum.rows, both->fixture.rows[s]);
        assert_int_equal(sum.accepted, both->fixture.accepted[s]);
        assert_int_equal(sum.rejected, both->fixture.rejected[s]);
        assert_int_equal(sum.duplicates, both->fixture.duplicates[s]);
    }
}

static void test_seal_dead_letters_say_why(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    struct ab_parquet_reader *reader = NULL;
    struct ab_arena arena = {0};
    struct ab_column columns[8];
    bool wanted[8] = {true, true, true, true, true, true, true, true};
    char *path = ab_history_dead_letters_path(both->fixture.directory, "payments", 1, 1);
    assert_ok(ab_parquet_reader_open(path, &reader, &error));
    assert_ok(ab_parquet_reader_read(reader, 0, wanted, &arena, columns, &error));
    assert_true(columns[0].rows_count > 10);
    struct ab_value reason = ab_column_value(&columns[5], 0);
    struct ab_value raw = ab_column_value(&columns[6], 0);
    assert_true(ab_bytes_equal(reason.text, ab_bytes_of_text("user_name: NULL")));
    assert_non_null(memmem(raw.text.data, raw.text.bytes, "\"user_name\":null", 16));
    assert_false(ab_column_value(&columns[7], 0).boolean);
    ab_parquet_reader_close(reader);
    ab_arena_fini(&arena);
    ab_delete(path);
}

static void test_seal_again_gives_the_same_bytes(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    struct ab_seal_unit unit = seal_unit(both, 1, 2);
    struct ab_sealed_span again = {0};
    bool was_sealed = false;
    char *rows = ab_history_rows_path(both->fixture.directory, "payments", 2, 2);
    char *marker = ab_history_marker_path(both->fixture.directory, 2, 2);
    struct ab_hash128 hashes[2];
    uint64_t bytes;
    assert_ok(ab_seal_run(&unit, &again, &was_sealed, &error));
    assert_true(was_sealed);
    ab_sealed_span_fini(&again);
    assert_ok(ab_file_hash(rows, &hashes[0], &bytes, &error));
    assert_int_equal(unlink(marker), 0);
    assert_ok(ab_seal_run(&unit, &again, &was_sealed, &error));
    assert_false(was_sealed);
    ab_sealed_span_fini(&again);
    assert_ok(ab_file_hash(rows, &hashes[1], &bytes, &error));
    assert_true(ab_hash128_equal(hashes[0], hashes[1]));
    ab_delete(rows);
    ab_delete(marker);
}

static void test_seal_other_records_than_told_are_refused(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    struct ab_sealed_span sealed = {0};
    bool was_sealed = false;
    struct ab_hash128 chain = {1, 2};
    struct ab_seal_unit unit = seal_unit(both, 1, 2);
    unit.until_offset--;
    assert_int_equal(ab_seal_run(&unit, &sealed, &was_sealed, &error), AB_CORRUPT);
    unit = seal_unit(both, 1, 2);
    unit.chain = &chain;
    assert_int_equal(ab_seal_run(&unit, &sealed, &was_sealed, &error), AB_CORRUPT);
    unit = seal_unit(both, 1, 2);
    unit.span = 9; /* no marker, and no cut 9 there */
    assert_int_equal(ab_seal_run(&unit, &sealed, &was_sealed, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, "partition 2, span 9"));
}

static void combine_all(struct both *both, const char *work, size_t memory_bytes, struct ab_hash128 *hashes)
{
    struct ab_unit_result results[FIXTURE_VIEWS];
    struct ab_error error = {0};
    struct ab_memory memory;
    ab_memory_init(&memory, memory_bytes, NULL);
    memset(hashes, 0, FIXTURE_VIEWS * FIXTURE_PARTITIONS * sizeof *hashes);
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        struct ab_unit unit = {.plan = &both->plan,
            .directory = both->fixture.directory,
            .work = work,
            .partition = p,
            .span = 1,
            .sealed = &both->sealed[1][p],
            .memory = &memory};
        size_t count = 0;
        bool is_reused = true;
        if (ab_unit_combine(&unit, results, &count, &is_reused, &error) != AB_OK) {
            fail_msg("%s", error.text);
        }
        assert_int_equal(count, FIXTURE_VIEWS);
        for (size_t v = 0; v < count; v++) {
            const struct ab_run_summary *summary = &results[v].summary;
            const struct ab_row_counts *truth = &both->fixture.counts[v][1][p];
            assert_true(ab_hash128_equal(summary->digest.sum, both->fixture.digests[v][1][p].sum));
            assert_int_equal(summary->digest.groups_count, both->fixture.digests[v][1][p].groups_count);
            assert_int_equal(summary->counts.aggregated, truth->aggregated);
            assert_int_equal(summary->counts.filtered, truth->filtered);
            assert_int_equal(summary->counts.expired, truth->expired);
            uint64_t bytes;
            char *path = ab_unit_run_path(work, &both->plan, v, p, 1);
            if (ab_file_exists(path)) {
                assert_ok(ab_file_hash(path, &hashes[p * FIXTURE_VIEWS + v], &bytes, &error));
            }
            ab_delete(path);
        }
        assert_ok(ab_unit_combine(&unit, results, &count, &is_reused, &error));
        assert_true(is_reused);
    }
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_combine_spills_change_no_byte(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    struct ab_hash128 hashes[2][FIXTURE_VIEWS * FIXTURE_PARTITIONS];
    char *works[2] = {
        ab_new_format("%s/work-a", both->fixture.directory), ab_new_format("%s/work-b", both->fixture.directory)};
    for (int i = 0; i < 2; i++) {
        assert_ok(ab_file_make_directory(works[i], 0700, &error));
        combine_all(both, works[i], i == 0 ? 0 : 3u << 20, hashes[i]);
        ab_delete(works[i]);
    }
    assert_memory_equal(hashes[0], hashes[1], sizeof hashes[0]);
}

/* Adds the sealed rows of all spans of a partition; spills after each when told to. */
static void combine_with_spills(struct both *both, const char *path, bool has_spills)
{
    struct ab_error error = {0};
    struct ab_arena scratch = {0};
    struct ab_run_summary summary;
    bool used[8] = {0};
    const struct ab_plan_view *view = &both->plan.views[0];
    struct ab_combine *combine = ab_combine_create(view->aggregation, path, NULL);
    ab_aggregation_columns(view->aggregation, used, 5);
    for (int round = 0; round < (int)AB_COMBINE_SPILLS_MAX; round++) {
        struct ab_scan *scan = NULL;
        struct ab_rows rows;
        const struct ab_stream *stream = &both->plan.catalog->streams[0];
        assert_ok(
            ab_scan_open(both->fixture.directory, &both->sealed[round % 3][0], stream, used, NULL, &scan, &error));
        while (ab_scan_next(scan, &rows, &error) == AB_OK) {
            ab_combine_add(combine, &rows, &scratch);
            ab_arena_reset(&scratch);
        }
        ab_scan_close(scan);
        if (has_spills) {
            assert_true(ab_combine_bytes(combine) > 0);
            assert_ok(ab_combine_spill(combine, &error));
            assert_int_equal(ab_combine_bytes(combine), 0);
        }
    }
    assert_ok(ab_combine_finish(combine, &summary, &error));
    ab_combine_destroy(combine);
    ab_arena_fini(&scratch);
}

/* A file whose column could hold NULL is not one of a stream where that column is NOT NULL. */
static void test_scan_column_that_may_be_null_is_refused(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    struct ab_stream stream = both->plan.catalog->streams[0];
    struct ab_stream_column columns[5];
    struct ab_scan *scan = NULL;
    const bool used[5] = {true, true};
    assert_int_equal(stream.columns_count, 5);
    memcpy(columns, stream.columns, sizeof columns);
    stream.columns = columns;
    assert_ok(ab_scan_open(both->fixture.directory, &both->sealed[0][0], &stream, used, NULL, &scan, &error));
    ab_scan_close(scan);
    columns[1].is_not_null = true; /* city */
    assert_int_equal(
        ab_scan_open(both->fixture.directory, &both->sealed[0][0], &stream, used, NULL, &scan, &error), AB_CORRUPT);
    assert_non_null(strstr(error.text, "city"));
    columns[1].name = "street"; /* not in the file at all */
    assert_int_equal(
        ab_scan_open(both->fixture.directory, &both->sealed[0][0], &stream, used, NULL, &scan, &error), AB_CORRUPT);
}

/* A budget that holds a row group or the tables, not both: the tables make room. */
static void test_combine_tables_make_room_for_rows(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    struct ab_hash128 hashes[2][FIXTURE_VIEWS * FIXTURE_PARTITIONS];
    for (size_t kib = 1500; kib <= 3000; kib += 250) {
        char *work = ab_new_format("%s/work-%zu", both->fixture.directory, kib);
        assert_ok(ab_file_make_directory(work, 0700, &error));
        combine_all(both, work, kib << 10, hashes[kib > 1500]);
        ab_delete(work);
    }
    assert_memory_equal(hashes[0], hashes[1], sizeof hashes[0]);
}

static void test_combine_many_spills_are_folded(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    struct ab_hash128 hashes[2];
    uint64_t bytes;
    for (int i = 0; i < 2; i++) {
        char *path = ab_new_format("%s/folded-%d.run", both->fixture.directory, i);
        combine_with_spills(both, path, i == 1);
        assert_ok(ab_file_hash(path, &hashes[i], &bytes, &error));
        ab_delete(path);
    }
    assert_true(ab_hash128_equal(hashes[0], hashes[1]));
}

/* Two sources and a spilled one: the merge gives each key once, in order, with the states merged. */
static void test_sort_merges_equal_keys(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    char *work = ab_new_format("%s/work-c", both->fixture.directory);
    struct ab_hash128 hashes[FIXTURE_VIEWS * FIXTURE_PARTITIONS];
    assert_ok(ab_file_make_directory(work, 0700, &error));
    combine_all(both, work, 0, hashes);
    struct ab_sort *sort = ab_sort_create();
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        char *path = ab_unit_run_path(work, &both->plan, 1, p, 1);
        if (ab_file_exists(path)) {
            assert_ok(ab_sort_add_run(sort, path, &error));
        }
        ab_delete(path);
    }
    struct ab_buffer last = {0};
    struct ab_bytes key;
    struct ab_bytes row;
    uint64_t rows = 0;
    uint64_t expected = 0;
    uint32_t shards[FIXTURE_PARTITIONS] = {0};
    while (ab_sort_next(sort, &key, &row, &error) == AB_OK) {
        uint64_t count = 0;
        assert_true(ab_bytes_compare(key, ab_buffer_view(&last)) > 0);
        ab_buffer_clear(&last);
        ab_buffer_put_bytes(&last, key);
        assert_ok(ab_state_row_rows(row, &count));
        rows += count;
        shards[ab_group_key_shard(key, FIXTURE_PARTITIONS)]++;
    }
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        expected += both->fixture.counts[1][1][p].aggregated;
        assert_true(shards[p] > 0);
    }
    assert_int_equal(rows, expected);
    ab_buffer_fini(&last);
    ab_sort_destroy(sort);
    ab_delete(work);
}

static void test_run_damaged_files_are_refused(void **state)
{
    struct both *both = *state;
    struct ab_error error = {0};
    struct ab_run_writer *writer = NULL;
    struct ab_run_summary summary = {.rows_scanned = 5};
    char *path = ab_new_format("%s/small.run", both->fixture.directory);
    assert_ok(ab_run_writer_create(path, &writer, &error));
    for (int i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key %02d", i);
        assert_ok(ab_run_writer_add(writer, ab_bytes_of_text(key), ab_bytes_of_text("row"), &error));
    }
    assert_ok(ab_run_writer_finish(writer, &summary, &error));
    assert_ok(ab_run_check(path, &summary, &error));
    assert_int_equal(summary.rows_scanned, 5);
    struct ab_buffer file = {0};
    assert_ok(ab_file_read_all(path, &file, &error));
    for (size_t i = 0; i < file.bytes; i++) {
        scratch_write(path, ab_bytes_of(file.data, i), 0600);
        assert_true(ab_run_check(path, &summary, &error) != AB_OK);
        file.data[i] ^= 0x41;
        scratch_write(path, ab_buffer_view(&file), 0600);
        assert_true(ab_run_check(path, &summary, &error) != AB_OK);
        file.data[i] ^= 0x41;
    }
    ab_buffer_fini(&file);
    ab_delete(path);
}

static void test_shuffle_groups_round_trip(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    struct ab_bytes key;
    struct ab_bytes row;
    ab_shuffle_put(&buffer, ab_bytes_of_text("k"), ab_bytes_of_text("row one"));
    ab_shuffle_put(&buffer, ab_bytes_of_text("key"), ab_bytes_of_text(""));
    struct ab_reader reader = ab_reader_of(ab_buffer_view(&buffer));
    assert_ok(ab_shuffle_take(&reader, &key, &row));
    assert_true(ab_bytes_equal(row, ab_bytes_of_text("row one")));
    assert_ok(ab_shuffle_take(&reader, &key, &row));
    assert_true(ab_bytes_equal(key, ab_bytes_of_text("key")));
    assert_int_equal(ab_shuffle_take(&reader, &key, &row), AB_END);
    for (size_t bytes = 1; bytes < buffer.bytes; bytes++) {
        reader = ab_reader_of(ab_bytes_of(buffer.data, bytes));
        ab_err err = AB_OK;
        while (err == AB_OK) {
            err = ab_shuffle_take(&reader, &key, &row);
        }
        assert_true(err == AB_CORRUPT || bytes == 10);
    }
    assert_int_equal(ab_shuffle_round_bytes(0, 4), AB_SHUFFLE_ROUND_BYTES_MAX);
    assert_int_equal(ab_shuffle_round_bytes(1 << 20, 64), 64 << 10);
    assert_true(ab_shuffle_round_bytes(0, 1000) * 1000 <= (size_t)1 << 30);
    ab_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seal_every_row_is_somewhere),
        cmocka_unit_test(test_seal_dead_letters_say_why),
        cmocka_unit_test(test_seal_again_gives_the_same_bytes),
        cmocka_unit_test(test_seal_other_records_than_told_are_refused),
        cmocka_unit_test(test_scan_column_that_may_be_null_is_refused),
        cmocka_unit_test(test_combine_spills_change_no_byte),
        cmocka_unit_test(test_combine_tables_make_room_for_rows),
        cmocka_unit_test(test_combine_many_spills_are_folded),
        cmocka_unit_test(test_sort_merges_equal_keys),
        cmocka_unit_test(test_run_damaged_files_are_refused),
        cmocka_unit_test(test_shuffle_groups_round_trip),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
