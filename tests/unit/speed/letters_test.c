/* Letters: the newest of many in whatever order they come, within bounds; and those that only history has. */
#include "speed/letters.h"

#include "speed/limits.h"
#include "speed/sealed_letters.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/history/layout.h"
#include "common/history/parquet.h"
#include "tests/support/test.h"

#include <stdio.h>

#define FIELDS 8u
#define ROWS_PER_RECORD 10u

/* ---- helpers ---- */

static struct ab_json *written(struct ab_letters *letters)
{
    struct ab_buffer text = {0};
    struct ab_json *json = NULL;
    struct ab_error error = {0};
    ab_letters_write(letters, &text);
    assert_ok(ab_json_parse(ab_buffer_view(&text), &json, &error));
    ab_buffer_fini(&text);
    return json;
}

static int64_t number_at(const struct ab_json *json, size_t index, const char *key)
{
    return ab_json_integer_or(ab_json_get(ab_json_at(ab_json_get(json, "rows"), index), key), -1);
}

static void letter_add(struct ab_letters *letters, uint64_t number, struct ab_bytes raw)
{
    struct ab_letter letter = {
        .place = {.time_us = (int64_t)(number / 8), .offset = number, .row = 1}, .raw = raw, .stream = raw};
    letter.stream = ab_bytes_of_text("s");
    letter.reason = ab_bytes_of_text("bad");
    letters->total++;
    assert_ok(ab_letters_add(letters, &letter, NULL));
}

/* Writes a file of dead letters of `records` records from `first` on, ten rows each; one without is_raw when it is
 * old. Row r of record k is raw text when r is even; append time = k. */
static void file_write(const char *directory, uint64_t span, uint64_t first, uint64_t records, bool is_old)
{
    static const struct ab_parquet_field fields[FIELDS] = {{"_offset", {.kind = AB_TYPE_BIGINT}, true},
        {"_row", {.kind = AB_TYPE_BIGINT}, true}, {"_append_time", {.kind = AB_TYPE_TIMESTAMP}, true},
        {"source", {.kind = AB_TYPE_TEXT}, false}, {"position", {.kind = AB_TYPE_BIGINT}, false},
        {"reason", {.kind = AB_TYPE_TEXT}, true}, {"raw", {.kind = AB_TYPE_TEXT}, true},
        {"is_raw", {.kind = AB_TYPE_BOOLEAN}, true}};
    size_t fields_count = is_old ? FIELDS - 1 : FIELDS;
    struct ab_error error = {0};
    struct ab_column_builder *builders[FIELDS];
    struct ab_column columns[FIELDS];
    const struct ab_column *pointers[FIELDS];
    struct ab_parquet_writer *writer = NULL;
    char *path = ab_history_dead_letters_path(directory, "s", 3, span);
    char *folder = ab_new_text(path);
    *strrchr(folder, '/') = '\0';
    assert_ok(ab_file_make_directory(folder, 0750, &error));
    assert_ok(ab_parquet_writer_create(path, fields, fields_count, NULL, &writer, &error));
    uint32_t rows_count = (uint32_t)records * ROWS_PER_RECORD;
    for (size_t f = 0; f < fields_count; f++) {
        builders[f] = ab_column_builder_create(fields[f].type, rows_count, NULL);
    }
    for (uint32_t i = 0; i < rows_count; i++) {
        int64_t offset = (int64_t)(first + i / ROWS_PER_RECORD);
        bool is_raw = i % 2 == 0;
        struct ab_value values[FIELDS] = {{.bigint = offset}, {.bigint = i % ROWS_PER_RECORD}, {.bigint = offset},
            {.is_null = i % 3 == 0, .text = ab_bytes_of_text("f.csv")}, {.is_null = i % 3 == 0, .bigint = i},
            {.text = ab_bytes_of_text("bad")}, {.text = ab_bytes_of_text(is_raw ? "a,b" : "{\"v\":-1.5}")},
            {.boolean = is_raw}};
        for (size_t f = 0; f < fields_count; f++) {
            values[f].type = fields[f].type;
            assert_ok(ab_column_builder_add(builders[f], &values[f]));
        }
    }
    for (size_t f = 0; f < fields_count; f++) {
        ab_column_builder_view(builders[f], &columns[f]);
        pointers[f] = &columns[f];
    }
    assert_ok(ab_parquet_writer_add(writer, pointers, rows_count, NULL, &error));
    assert_ok(ab_parquet_writer_finish(writer, NULL, 0, NULL, &error));
    for (size_t f = 0; f < fields_count; f++) {
        ab_column_builder_destroy(builders[f]);
    }
    ab_delete(folder);
    ab_delete(path);
}

/* What is listed of records [from, below). */
static struct ab_json *listed(const char *directory, uint64_t from, uint64_t below, size_t limit)
{
    struct ab_memory memory;
    struct ab_letters letters;
    struct ab_error error = {0};
    ab_memory_init(&memory, 64u << 20, NULL);
    ab_letters_init(&letters, limit, &memory);
    struct ab_sealed_letters sealed = {.directory = directory,
        .stream = "s",
        .partition = 3,
        .from_offset = from,
        .below_offset = below,
        .memory = &memory};
    if (ab_sealed_letters_read(&sealed, &letters, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_json *json = written(&letters);
    ab_letters_fini(&letters);
    assert_int_equal(ab_memory_used(&memory), 0);
    return json;
}

/* ---- cases ---- */

static void test_letters_the_newest_stay_in_any_order(void **state)
{
    (void)state;
    enum { COUNT = 1000, LIMIT = 37 };
    struct ab_random random = {0};
    uint64_t numbers[COUNT];
    ab_random_init(&random, 5);
    for (uint64_t i = 0; i < COUNT; i++) {
        numbers[i] = i;
    }
    for (int round = 0; round < 20; round++) {
        struct ab_memory memory;
        struct ab_letters letters;
        ab_memory_init(&memory, 1u << 20, NULL);
        ab_letters_init(&letters, LIMIT, &memory);
        for (uint64_t i = COUNT - 1; i > 0; i--) {
            uint64_t other = ab_random_below(&random, i + 1);
            uint64_t held = numbers[i];
            numbers[i] = numbers[other];
            numbers[other] = held;
        }
        for (int i = 0; i < COUNT; i++) {
            letter_add(&letters, numbers[i], ab_bytes_of_text("x"));
        }
        struct ab_json *json = written(&letters);
        assert_int_equal(ab_json_count(ab_json_get(json, "rows")), LIMIT);
        assert_int_equal(ab_json_integer_or(ab_json_get(json, "total"), 0), COUNT);
        for (size_t i = 0; i < LIMIT; i++) {
            assert_int_equal(number_at(json, i, "offset"), COUNT - 1 - (int64_t)i);
        }
        ab_json_destroy(json);
        ab_letters_fini(&letters);
        assert_int_equal(ab_memory_used(&memory), 0);
    }
}

/* Large letters: fewer stay, without a gap among the newest, even if a small old one would have room. */
static void test_letters_bytes_are_bounded_without_gaps(void **state)
{
    (void)state;
    struct ab_letters letters;
    struct ab_buffer large = {0};
    assert_non_null(memset(ab_buffer_extend(&large, 3u << 20), 'x', 3u << 20));
    ab_letters_init(&letters, 100, NULL);
    for (uint64_t i = 10; i < 20; i++) {
        letter_add(&letters, i, ab_buffer_view(&large));
    }
    letter_add(&letters, 1, ab_bytes_of_text("small"));
    struct ab_json *json = written(&letters);
    assert_int_equal(ab_json_count(ab_json_get(json, "rows")), 2);
    assert_int_equal(number_at(json, 0, "offset"), 19);
    assert_int_equal(number_at(json, 1, "offset"), 18);
    assert_int_equal(ab_json_integer_or(ab_json_get(json, "total"), 0), 11);
    assert_true(letters.bytes <= AB_DEAD_LETTERS_BYTES_MAX);
    ab_json_destroy(json);
    ab_letters_fini(&letters);
    ab_buffer_fini(&large);
}

static void test_letters_budget_refuses(void **state)
{
    (void)state;
    struct ab_memory memory;
    struct ab_letters letters;
    ab_memory_init(&memory, 64, NULL);
    ab_letters_init(&letters, 10, &memory);
    struct ab_letter letter = {.raw = ab_bytes_of_text("a row"), .stream = ab_bytes_of_text("s")};
    assert_int_equal(ab_letters_add(&letters, &letter, ab_json_object()), AB_FULL);
    assert_int_equal(letters.count, 0);
    ab_letters_fini(&letters);
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_sealed_letters_of_a_range_are_listed_once(void **state)
{
    char *directory = scratch_make();
    (void)state;
    file_write(directory, 9, 0, 50, true);
    file_write(directory, 10, 50, 50, false);
    file_write(directory, 11, 100, 50, false);
    for (size_t limit = 1; limit <= 10000; limit *= 10) {
        struct ab_json *json = listed(directory, 20, 130, limit);
        size_t shown = limit < 1100 ? limit : 1100;
        assert_int_equal(ab_json_integer_or(ab_json_get(json, "total"), 0), 1100);
        assert_int_equal(ab_json_count(ab_json_get(json, "rows")), shown);
        for (size_t i = 0; i < shown; i++) {
            const struct ab_json *row = ab_json_at(ab_json_get(json, "rows"), i);
            assert_int_equal(number_at(json, i, "offset"), 129 - (int64_t)i / 10);
            assert_int_equal(number_at(json, i, "row"), 9 - (int64_t)i % 10);
            assert_int_equal(number_at(json, i, "partition"), 3);
            /* An old file says the same by the look of the text. */
            const struct ab_json *values = ab_json_get(row, "values");
            assert_true(i % 2 == 0 ? ab_json_real_or(ab_json_get(values, "v"), 0) == -1.5
                                   : strcmp(ab_json_text_or(ab_json_get(row, "raw"), ""), "a,b") == 0);
            assert_true(ab_json_is_null(ab_json_get(row, "source")) == ab_json_is_null(ab_json_get(row, "line")));
        }
        ab_json_destroy(json);
    }
    struct ab_json *none = listed(directory, 150, 200, 10);
    assert_int_equal(ab_json_count(ab_json_get(none, "rows")), 0);
    ab_json_destroy(none);
    scratch_remove(directory);
}

static void test_sealed_letters_without_history_are_none(void **state)
{
    char *directory = scratch_make();
    (void)state;
    struct ab_json *json = listed(directory, 0, 1000, 10);
    assert_int_equal(ab_json_count(ab_json_get(json, "rows")), 0);
    assert_int_equal(ab_json_integer_or(ab_json_get(json, "total"), -1), 0);
    ab_json_destroy(json);
    scratch_remove(directory);
}

/* A damaged file is said, with its name; it never becomes a shorter list. */
static void test_sealed_letters_damaged_file_is_named(void **state)
{
    char *directory = scratch_make();
    (void)state;
    file_write(directory, 1, 0, 5, false);
    char *path = ab_history_dead_letters_path(directory, "s", 3, 1);
    struct ab_buffer whole = {0};
    struct ab_error error = {0};
    assert_ok(ab_file_read_all(path, &whole, &error));
    for (size_t bytes = 0; bytes < whole.bytes; bytes += 7) {
        struct ab_letters letters;
        struct ab_sealed_letters sealed = {
            .directory = directory, .stream = "s", .partition = 3, .below_offset = UINT64_MAX};
        assert_ok(ab_file_replace(path, ab_bytes_of(whole.data, bytes), 0640, &error));
        ab_letters_init(&letters, 100, NULL);
        error = (struct ab_error){0};
        assert_int_equal(ab_sealed_letters_read(&sealed, &letters, &error), AB_CORRUPT);
        assert_non_null(strstr(error.text, "span-1.parquet"));
        ab_letters_fini(&letters);
    }
    ab_buffer_fini(&whole);
    ab_delete(path);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_the_newest_stay_in_any_order),
        cmocka_unit_test(test_letters_bytes_are_bounded_without_gaps),
        cmocka_unit_test(test_letters_budget_refuses),
        cmocka_unit_test(test_sealed_letters_of_a_range_are_listed_once),
        cmocka_unit_test(test_sealed_letters_without_history_are_none),
        cmocka_unit_test(test_sealed_letters_damaged_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
