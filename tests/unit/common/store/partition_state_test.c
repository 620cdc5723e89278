#include "common/store/partition_state.h"

#include "common/base/file.h"
#include "common/base/thread.h"
#include "common/base/time.h"
#include "common/store/operand_file.h"
#include "tests/unit/common/store/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- operands ---- */

static void test_state_merges_operands_of_all_files(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    assert_int_equal(ab_partition_state_span_create(state, 1, NULL), AB_OK);
    assert_int_equal(fixture_flush(state, 1, 10, 0, 100), AB_OK);
    assert_int_equal(fixture_flush(state, 1, 20, 50, 100), AB_OK);
    assert_int_equal(fixture_number(state, 1, 7), 7 + 10);
    assert_int_equal(fixture_number(state, 1, 60), 2 * 60 + 10 + 20);
    assert_int_equal(fixture_number(state, 1, 149), 149 + 20);
    assert_int_equal(fixture_offset(state, 1), 20);
    ab_partition_state_close(state);
    state = fixture_open(directory, NULL);
    assert_int_equal(fixture_number(state, 1, 60), 2 * 60 + 10 + 20);
    assert_int_equal(fixture_offset(state, 1), 20);
    ab_partition_state_close(state);
    scratch_remove(directory);
}

static void test_state_compacts_many_files_to_the_same_sums(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_store_cache *cache = ab_store_cache_create(4 << 20, 2);
    struct ab_partition_state *state = fixture_open(directory, cache);
    assert_int_equal(ab_partition_state_span_create(state, 3, NULL), AB_OK);
    uint64_t expected = 0;
    for (uint64_t offset = 1; offset <= 60; offset++) {
        assert_int_equal(fixture_flush(state, 3, offset, 0, 500), AB_OK);
        expected += 11 + offset;
        assert_int_equal(fixture_number(state, 3, 11), expected);
    }
    int64_t until = ab_time_monotonic_us() + 20 * AB_US_PER_SECOND;
    while (ab_partition_state_files(state, 3) >= 8 && ab_time_monotonic_us() < until) {
        ab_time_sleep_us(10000);
    }
    assert_true(ab_partition_state_files(state, 3) < 8);
    assert_int_equal(fixture_number(state, 3, 11), expected);
    assert_true(ab_partition_state_is_healthy(state, NULL));
    ab_partition_state_close(state);
    ab_store_cache_destroy(cache);
    scratch_remove(directory);
}

static void test_operand_file_refuses_keys_that_do_not_rise(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    char *path = ab_partition_state_stage(state);
    struct ab_operand_file *file = NULL;
    uint64_t bytes = 0;
    struct ab_bytes b = ab_bytes_of_text("b");
    assert_int_equal(ab_operand_file_create(path, &file, NULL), AB_OK);
    assert_int_equal(ab_operand_file_put(file, b, b), AB_OK);
    assert_int_equal(ab_operand_file_put(file, b, b), AB_USAGE);
    assert_int_equal(ab_operand_file_merge(file, ab_bytes_of_text("a"), b), AB_USAGE);
    assert_int_equal(ab_operand_file_merge(file, ab_bytes_of_text("ba"), b), AB_OK);
    ab_operand_file_abandon(file);
    assert_false(ab_file_exists(path));
    assert_int_equal(ab_operand_file_create(path, &file, NULL), AB_OK);
    assert_int_equal(ab_operand_file_finish(file, &bytes, NULL), AB_USAGE);
    assert_false(ab_file_exists(path));
    struct ab_error error = {0};
    assert_int_not_equal(ab_operand_file_create("/tmp/anabranch-no-such-directory/x.sst", &file, &error), AB_OK);
    assert_true(error.text[0] != '\0');
    ab_operand_file_abandon(NULL);
    ab_delete(path);
    ab_partition_state_close(state);
    scratch_remove(directory);
}

static void test_state_failing_merge_fails_the_read_alone(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    assert_int_equal(ab_partition_state_span_create(state, 1, NULL), AB_OK);
    char *path = ab_partition_state_stage(state);
    struct ab_operand_file *file = NULL;
    uint64_t bytes = 0;
    assert_int_equal(ab_operand_file_create(path, &file, NULL), AB_OK);
    assert_int_equal(ab_operand_file_merge(file, ab_bytes_of_text("bad"), ab_bytes_of_text("123")), AB_OK);
    assert_int_equal(ab_operand_file_merge(file, ab_bytes_of_text("good"), ab_bytes_of_text("12345678")), AB_OK);
    assert_int_equal(ab_operand_file_finish(file, &bytes, NULL), AB_OK);
    assert_int_equal(ab_partition_state_ingest(state, 1, path, NULL), AB_OK);
    assert_false(ab_file_exists(path));
    struct ab_buffer out = {0};
    struct ab_error error = {0};
    assert_int_equal(ab_partition_state_get(state, 1, ab_bytes_of_text("bad"), &out, &error), AB_CORRUPT);
    assert_int_equal(ab_partition_state_get(state, 1, ab_bytes_of_text("good"), &out, NULL), AB_OK);
    struct ab_state_iterator *iterator = NULL;
    struct ab_bytes key;
    struct ab_bytes value;
    assert_int_equal(
        ab_state_iterator_open(state, 1, (struct ab_bytes){0}, (struct ab_bytes){0}, &iterator, NULL), AB_OK);
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, &error), AB_CORRUPT);
    ab_state_iterator_close(iterator);
    assert_false(ab_partition_state_is_condemned(state));
    ab_buffer_fini(&out);
    ab_delete(path);
    ab_partition_state_close(state);
    scratch_remove(directory);
}

/* ---- spans ---- */

static void expect_spans(struct ab_partition_state *state, const uint64_t *expected, size_t expected_count)
{
    uint64_t *spans = NULL;
    size_t count = 0;
    ab_partition_state_spans(state, &spans, &count);
    assert_int_equal(count, expected_count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(spans[i], expected[i]);
    }
    ab_delete(spans);
}

static void test_state_spans_come_and_go(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    static const uint64_t order[] = {10, 2, 7};
    expect_spans(state, NULL, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ab_partition_state_span_create(state, order[i], NULL), AB_OK);
        assert_int_equal(ab_partition_state_span_create(state, order[i], NULL), AB_OK);
    }
    expect_spans(state, (uint64_t[]){2, 7, 10}, 3);
    assert_int_equal(fixture_flush(state, AB_STATE_TABLES, 5, 0, 1), AB_OK);
    assert_int_equal(ab_partition_state_span_drop(state, 7, NULL), AB_OK);
    assert_int_equal(ab_partition_state_span_drop(state, 7, NULL), AB_OK);
    assert_int_equal(ab_partition_state_span_drop(state, AB_STATE_TABLES, NULL), AB_USAGE);
    expect_spans(state, (uint64_t[]){2, 10}, 2);
    assert_int_equal(fixture_flush(state, 7, 1, 0, 1), AB_NOT_FOUND);
    struct ab_buffer out = {0};
    struct ab_state_iterator *iterator = NULL;
    assert_int_equal(ab_partition_state_get(state, 7, ab_bytes_of_text("x"), &out, NULL), AB_NOT_FOUND);
    assert_int_equal(
        ab_state_iterator_open(state, 7, (struct ab_bytes){0}, (struct ab_bytes){0}, &iterator, NULL), AB_NOT_FOUND);
    assert_int_equal(ab_partition_state_files(state, 7), 0);
    ab_partition_state_close(state);
    state = fixture_open(directory, NULL);
    expect_spans(state, (uint64_t[]){2, 10}, 2);
    assert_int_equal(fixture_offset(state, AB_STATE_TABLES), 5);
    ab_partition_state_close(state);
    scratch_remove(directory);
}

/* Everything goes, but for who reads it, and it goes on from there; also when there was nothing. */
static void test_state_cleared_is_empty_and_goes_on(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    struct ab_state_iterator *iterator = NULL;
    struct ab_bytes key;
    struct ab_bytes value;
    uint8_t from[9];
    assert_ok(ab_partition_state_clear(state, NULL));
    for (uint64_t span = 3; span <= 5; span++) {
        assert_ok(ab_partition_state_span_create(state, span, NULL));
        assert_ok(fixture_flush(state, span, span, 0, 100));
    }
    assert_ok(fixture_flush(state, AB_STATE_TABLES, 5, 0, 1));
    assert_ok(ab_state_iterator_open(state, 4, fixture_key(0, from), (struct ab_bytes){0}, &iterator, NULL));
    assert_ok(ab_partition_state_clear(state, NULL));
    expect_spans(state, NULL, 0);
    assert_int_equal(fixture_offset(state, AB_STATE_TABLES), 0);
    for (uint64_t k = 0; k < 100; k++) {
        assert_ok(ab_state_iterator_next(iterator, &key, &value, NULL));
    }
    ab_state_iterator_close(iterator);
    assert_ok(ab_partition_state_span_create(state, 4, NULL));
    assert_ok(fixture_flush(state, 4, 9, 0, 1));
    assert_ok(fixture_flush(state, AB_STATE_TABLES, 9, 0, 1));
    ab_partition_state_close(state);
    state = fixture_open(directory, NULL);
    expect_spans(state, (uint64_t[]){4}, 1);
    assert_int_equal(fixture_offset(state, 4), 9);
    assert_int_equal(fixture_number(state, 4, 0), 9);
    assert_int_equal(fixture_offset(state, AB_STATE_TABLES), 9);
    ab_partition_state_close(state);
    scratch_remove(directory);
}

static void test_state_iterator_outlives_ingest_and_drop(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    assert_int_equal(ab_partition_state_span_create(state, 1, NULL), AB_OK);
    assert_int_equal(fixture_flush(state, 1, 10, 0, 5000), AB_OK);
    uint8_t from[9];
    struct ab_state_iterator *iterator = NULL;
    assert_int_equal(
        ab_state_iterator_open(state, 1, fixture_key(0, from), (struct ab_bytes){0}, &iterator, NULL), AB_OK);
    struct ab_bytes key;
    struct ab_bytes value;
    for (uint64_t k = 0; k < 5000; k++) {
        if (k == 100) {
            assert_int_equal(fixture_flush(state, 1, 20, 0, 5000), AB_OK);
        }
        if (k == 200) {
            assert_int_equal(ab_partition_state_span_drop(state, 1, NULL), AB_OK);
            assert_int_equal(ab_partition_state_span_create(state, 1, NULL), AB_OK);
        }
        assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_OK);
        struct ab_reader reader = ab_reader_of(value);
        assert_int_equal(ab_reader_u64(&reader), k + 10);
    }
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_END);
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_END);
    ab_state_iterator_close(iterator);
    assert_int_equal(fixture_offset(state, 1), 0);
    ab_partition_state_close(state);
    scratch_remove(directory);
}

static void test_state_iterator_bounds_and_jumps(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    assert_int_equal(ab_partition_state_span_create(state, 1, NULL), AB_OK);
    assert_int_equal(fixture_flush(state, 1, 0, 0, 1000), AB_OK);
    uint8_t from[9];
    uint8_t until[9];
    uint8_t target[9];
    struct ab_state_iterator *iterator = NULL;
    struct ab_bytes key;
    struct ab_bytes value;
    assert_int_equal(
        ab_state_iterator_open(state, 1, fixture_key(10, from), fixture_key(500, until), &iterator, NULL), AB_OK);
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_OK);
    assert_true(ab_bytes_equal(key, fixture_key(10, target)));
    ab_state_iterator_seek(iterator, fixture_key(300, target));
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_OK);
    assert_true(ab_bytes_equal(key, fixture_key(300, target)));
    ab_state_iterator_seek(iterator, fixture_key(20, target)); /* behind: changes nothing */
    ab_state_iterator_seek(iterator, fixture_key(300, target));
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_OK);
    assert_true(ab_bytes_equal(key, fixture_key(301, target)));
    ab_state_iterator_seek(iterator, fixture_key(499, target));
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_OK);
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_END);
    ab_state_iterator_seek(iterator, fixture_key(700, target));
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_END);
    ab_state_iterator_close(iterator);
    ab_partition_state_close(state);
    scratch_remove(directory);
}

/* ---- opening ---- */

static void test_state_open_sweeps_staged_files(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    char *path = ab_partition_state_stage(state);
    struct ab_operand_file *file = NULL;
    uint64_t bytes = 0;
    assert_int_equal(ab_operand_file_create(path, &file, NULL), AB_OK);
    assert_int_equal(ab_operand_file_put(file, ab_bytes_of_text("k"), ab_bytes_of_text("v")), AB_OK);
    assert_int_equal(ab_operand_file_finish(file, &bytes, NULL), AB_OK);
    assert_true(ab_file_exists(path));
    ab_partition_state_close(state);
    state = fixture_open(directory, NULL);
    assert_false(ab_file_exists(path));
    ab_partition_state_close(state);
    ab_delete(path);
    scratch_remove(directory);
}

/* Flushing tries again with a file of its own: a full disk must not fill with those before. */
static void test_state_refused_file_is_not_left_behind(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    char *path = ab_partition_state_stage(state);
    struct ab_error error = {0};
    assert_int_equal(ab_partition_state_span_create(state, 1, &error), AB_OK);
    assert_int_equal(ab_file_replace(path, ab_bytes_of_text("not a sorted file"), 0600, &error), AB_OK);
    assert_int_not_equal(ab_partition_state_ingest(state, 1, path, &error), AB_OK);
    assert_false(ab_file_exists(path));
    assert_int_equal(fixture_flush(state, 1, 5, 0, 10), AB_OK);
    assert_int_equal(fixture_offset(state, 1), 5);
    ab_partition_state_close(state);
    ab_delete(path);
    scratch_remove(directory);
}

static void test_state_open_twice_is_busy(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    struct ab_partition_state *second = NULL;
    assert_int_equal(fixture_try_open(directory, NULL, &second), AB_BUSY);
    ab_partition_state_close(state);
    scratch_remove(directory);
}

enum damage { REMOVED, TRUNCATED, FLIPPED };

static void file_damage(const char *path, enum damage damage)
{
    struct ab_buffer bytes = {0};
    if (damage != FLIPPED) {
        assert_int_equal(damage == REMOVED ? unlink(path) : truncate(path, 20), 0);
        return;
    }
    assert_int_equal(ab_file_read_all(path, &bytes, NULL), AB_OK);
    bytes.data[3] ^= 4; /* in the first block, which has the smallest keys */
    scratch_write(path, ab_buffer_view(&bytes), 0600);
    ab_buffer_fini(&bytes);
}

/* Removes or changes the first file of the database whose name ends in `suffix`. */
static void database_damage(const char *directory, const char *suffix, enum damage damage)
{
    char *database = ab_new_format("%s/db", directory);
    char **names = NULL;
    size_t count = 0;
    bool is_done = false;
    assert_int_equal(ab_file_list(database, &names, &count, NULL), AB_OK);
    for (size_t i = 0; i < count && !is_done; i++) {
        if (strlen(names[i]) > strlen(suffix) && strstr(names[i], suffix) != NULL) {
            char *path = ab_new_format("%s/%s", database, names[i]);
            file_damage(path, damage);
            ab_delete(path);
            is_done = true;
        }
    }
    assert_true(is_done);
    ab_file_names_free(names, count);
    ab_delete(database);
}

static void test_state_damaged_database_is_corrupt(void **unused)
{
    (void)unused;
    static const struct {
        const char *suffix;
        enum damage damage;
    } damages[] = {{".sst", REMOVED}, {".sst", TRUNCATED}, {"MANIFEST-", REMOVED}, {"MANIFEST-", TRUNCATED}};
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        char *directory = scratch_make();
        struct ab_partition_state *state = fixture_open(directory, NULL);
        assert_int_equal(ab_partition_state_span_create(state, 1, NULL), AB_OK);
        assert_int_equal(fixture_flush(state, 1, 1, 0, 1000), AB_OK);
        ab_partition_state_close(state);
        database_damage(directory, damages[i].suffix, damages[i].damage);
        state = NULL;
        assert_int_equal(fixture_try_open(directory, NULL, &state), AB_CORRUPT);
        assert_null(state);
        scratch_remove(directory);
    }
}

/* A changed bit is found when it is read, and then the state is not opened again until it was made anew. */
static void test_state_read_as_it_was_not_written_is_condemned(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    struct ab_buffer out = {0};
    struct ab_error error = {0};
    uint8_t key[9];
    assert_int_equal(ab_partition_state_span_create(state, 1, NULL), AB_OK);
    assert_int_equal(fixture_flush(state, 1, 1, 0, 1000), AB_OK);
    ab_partition_state_close(state);
    database_damage(directory, ".sst", FLIPPED);
    state = fixture_open(directory, NULL);
    assert_false(ab_partition_state_is_condemned(state));
    assert_int_equal(fixture_number(state, 1, 999), 999 + 1);
    assert_int_equal(ab_partition_state_get(state, 1, fixture_key(0, key), &out, &error), AB_CORRUPT);
    assert_true(ab_partition_state_is_condemned(state));
    ab_partition_state_close(state);
    state = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_try_open(directory, NULL, &state), AB_CORRUPT);
        assert_null(state);
    }
    assert_int_equal(ab_file_remove_tree(directory, NULL), AB_OK);
    state = fixture_open(directory, NULL);
    assert_false(ab_partition_state_is_condemned(state));
    ab_partition_state_close(state);
    ab_buffer_fini(&out);
    scratch_remove(directory);
}

static void test_state_iterated_as_it_was_not_written_is_condemned(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_partition_state *state = fixture_open(directory, NULL);
    struct ab_state_iterator *iterator = NULL;
    struct ab_bytes all = {0};
    struct ab_bytes key;
    struct ab_bytes value;
    assert_int_equal(ab_partition_state_span_create(state, 1, NULL), AB_OK);
    assert_int_equal(fixture_flush(state, 1, 1, 0, 1000), AB_OK);
    ab_partition_state_close(state);
    database_damage(directory, ".sst", FLIPPED);
    state = fixture_open(directory, NULL);
    assert_int_equal(ab_state_iterator_open(state, 1, all, all, &iterator, NULL), AB_OK);
    assert_int_equal(ab_state_iterator_next(iterator, &key, &value, NULL), AB_CORRUPT);
    ab_state_iterator_close(iterator);
    assert_true(ab_partition_state_is_condemned(state));
    ab_partition_state_close(state);
    state = NULL;
    assert_int_equal(fixture_try_open(directory, NULL, &state), AB_CORRUPT);
    scratch_remove(directory);
}

/* ---- threads ---- */

struct shared {
    struct ab_partition_state *state;
    atomic_bool is_done;
};

static void reader_run(void *context)
{
    struct shared *shared = context;
    while (!atomic_load(&shared->is_done)) {
        for (uint64_t span = 1; span <= 4; span++) {
            struct ab_state_iterator *iterator = NULL;
            ab_err err = ab_state_iterator_open(
                shared->state, span, (struct ab_bytes){0}, (struct ab_bytes){0}, &iterator, NULL);
            struct ab_bytes key;
            struct ab_bytes value;
            while (err == AB_OK && ab_state_iterator_next(iterator, &key, &value, NULL) == AB_OK) {
                assert_true(key.bytes == 9 || key.bytes == 7);
            }
            ab_state_iterator_close(iterator);
            (void)fixture_offset(shared->state, span);
            (void)ab_partition_state_files(shared->state, span);
        }
    }
}

static void changer_run(void *context)
{
    struct shared *shared = context;
    for (int round = 0; round < 10; round++) {
        assert_int_equal(ab_partition_state_span_drop(shared->state, 4, NULL), AB_OK);
        assert_int_equal(ab_partition_state_span_create(shared->state, 4, NULL), AB_OK);
    }
}

static void test_state_threads_ingest_read_and_drop_together(void **unused)
{
    (void)unused;
    char *directory = scratch_make();
    struct ab_store_cache *cache = ab_store_cache_create(1 << 20, 2);
    struct shared shared = {.state = fixture_open(directory, cache)};
    for (uint64_t span = 1; span <= 4; span++) {
        assert_int_equal(ab_partition_state_span_create(shared.state, span, NULL), AB_OK);
    }
    struct ab_thread reader = {0};
    struct ab_thread changer = {0};
    ab_thread_start(&reader, "reader", reader_run, &shared);
    ab_thread_start(&changer, "changer", changer_run, &shared);
    for (uint64_t offset = 1; offset <= 40; offset++) {
        ab_err err = fixture_flush(shared.state, 1 + offset % 4, offset, 0, 200);
        assert_true(err == AB_OK || (err == AB_NOT_FOUND && offset % 4 == 3));
    }
    ab_thread_join(&changer);
    atomic_store(&shared.is_done, true);
    ab_thread_join(&reader);
    assert_int_equal(fixture_number(shared.state, 1, 0), 4 + 8 + 12 + 16 + 20 + 24 + 28 + 32 + 36 + 40);
    ab_partition_state_close(shared.state);
    ab_store_cache_destroy(cache);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_merges_operands_of_all_files),
        cmocka_unit_test(test_state_compacts_many_files_to_the_same_sums),
        cmocka_unit_test(test_operand_file_refuses_keys_that_do_not_rise),
        cmocka_unit_test(test_state_failing_merge_fails_the_read_alone),
        cmocka_unit_test(test_state_spans_come_and_go),
        cmocka_unit_test(test_state_cleared_is_empty_and_goes_on),
        cmocka_unit_test(test_state_iterator_outlives_ingest_and_drop),
        cmocka_unit_test(test_state_iterator_bounds_and_jumps),
        cmocka_unit_test(test_state_open_sweeps_staged_files),
        cmocka_unit_test(test_state_refused_file_is_not_left_behind),
        cmocka_unit_test(test_state_open_twice_is_busy),
        cmocka_unit_test(test_state_damaged_database_is_corrupt),
        cmocka_unit_test(test_state_read_as_it_was_not_written_is_condemned),
        cmocka_unit_test(test_state_iterated_as_it_was_not_written_is_condemned),
        cmocka_unit_test(test_state_threads_ingest_read_and_drop_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
