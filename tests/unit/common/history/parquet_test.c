/* Parquet files: every type comes back as it was, statistics are right, and no damaged file crashes a reader. */
#include "common/history/parquet.h"

#include "common/base/decimal.h"
#include "common/base/file.h"
#include "common/base/random.h"

#include "tests/support/test.h"

#include <math.h>
#include <unistd.h>

#define FIELDS 7

static const struct ab_parquet_field fields[FIELDS] = {
    {"flag", {.kind = AB_TYPE_BOOLEAN}, false},
    {"number", {.kind = AB_TYPE_BIGINT}, false},
    {"real", {.kind = AB_TYPE_DOUBLE}, false},
    {"price", {.kind = AB_TYPE_DECIMAL, .precision = 38, .scale = 4}, false},
    {"word", {.kind = AB_TYPE_TEXT}, false},
    {"moment", {.kind = AB_TYPE_TIMESTAMP}, false},
    {"_row", {.kind = AB_TYPE_BIGINT}, true},
};

enum shape { SHAPE_FEW_DISTINCT, SHAPE_ALL_DISTINCT, SHAPE_ALL_NULL, SHAPE_NO_NULLS, SHAPES };

static char *directory; /* owned */

static int directory_make(void **state)
{
    (void)state;
    directory = scratch_make();
    return 0;
}

static int directory_remove(void **state)
{
    (void)state;
    scratch_remove(directory);
    return 0;
}

/* The value of a field at a row: a pure function, so that nothing has to be remembered. Text goes into `text`. */
static struct ab_value value_at(size_t field, uint64_t row, enum shape shape, char text[64])
{
    struct ab_value value = {.type = fields[field].type};
    uint64_t mixed = (row + 1) * UINT64_C(0x9E3779B97F4A7C15) + field * UINT64_C(0xBF58476D1CE4E5B9);
    uint64_t number = shape == SHAPE_FEW_DISTINCT ? (mixed >> 40) % 50 : mixed;
    if (!fields[field].is_required && shape != SHAPE_NO_NULLS && (shape == SHAPE_ALL_NULL || (mixed >> 33) % 5 == 0)) {
        value.is_null = true;
        return value;
    }
    switch (value.type.kind) {
    case AB_TYPE_BOOLEAN:
        value.boolean = number % 2 == 1;
        break;
    case AB_TYPE_DOUBLE:
        value.real = number % 1000 == 7 ? NAN : number % 1000 == 8 ? INFINITY : (double)(int64_t)number / 3.0;
        value.real = ab_double_canonical(value.real);
        break;
    case AB_TYPE_DECIMAL:
        value.decimal = (ab_int128)(int64_t)number * (shape == SHAPE_ALL_DISTINCT ? 1000003 : 1);
        break;
    case AB_TYPE_TEXT:
        (void)snprintf(text, 64, number % 11 == 0 ? "" : "w\xC3\xB6rd-%llu", (unsigned long long)number);
        value.text = ab_bytes_of_text(text);
        break;
    default:
        value.bigint = field == 6 ? (int64_t)row : (int64_t)number;
    }
    return value;
}

static char *path_of(const char *name)
{
    return ab_new_format("%s/%s", directory, name);
}

/* Writes `rows` rows in batches; every tenth row of a batch is skipped when with_skips, and not counted as a row. */
static void file_write(const char *path, uint64_t rows, enum shape shape, bool with_skips)
{
    struct ab_parquet_writer *writer = NULL;
    struct ab_error error = {0};
    struct ab_column_builder *builders[FIELDS];
    struct ab_column columns[FIELDS];
    const struct ab_column *pointers[FIELDS];
    static uint8_t skip[65536];
    assert_int_equal(ab_parquet_writer_create(path, fields, FIELDS, NULL, &writer, &error), AB_OK);
    for (size_t f = 0; f < FIELDS; f++) {
        builders[f] = ab_column_builder_create(fields[f].type, 65536, NULL);
        pointers[f] = &columns[f];
    }
    uint64_t row = 0;
    while (row < rows) {
        uint32_t batch = 0;
        while (row < rows && batch < 50000) {
            skip[batch] = with_skips && batch % 10 == 3;
            for (size_t f = 0; f < FIELDS; f++) {
                char text[64];
                struct ab_value value = value_at(f, skip[batch] ? 999999999 : row, shape, text);
                assert_int_equal(ab_column_builder_add(builders[f], &value), AB_OK);
            }
            row += skip[batch] == 0;
            batch++;
        }
        for (size_t f = 0; f < FIELDS; f++) {
            ab_column_builder_view(builders[f], &columns[f]);
        }
        assert_int_equal(ab_parquet_writer_add(writer, pointers, batch, with_skips ? skip : NULL, &error), AB_OK);
        for (size_t f = 0; f < FIELDS; f++) {
            ab_column_builder_clear(builders[f]);
        }
    }
    for (size_t f = 0; f < FIELDS; f++) {
        ab_column_builder_destroy(builders[f]);
    }
    assert_int_equal(ab_parquet_writer_rows(writer), rows);
    const struct ab_parquet_note notes[] = {{"anabranch.stream", "flights"}, {"empty", ""}};
    uint64_t bytes = 0;
    assert_int_equal(ab_parquet_writer_finish(writer, notes, 2, &bytes, &error), AB_OK);
    assert_true(bytes > 12);
}

static void column_check(
    const struct ab_column *column, size_t field, uint64_t first_row, enum shape shape, struct ab_value bounds[2])
{
    for (uint32_t r = 0; r < column->rows_count; r++) {
        char text[64];
        struct ab_value expected = value_at(field, first_row + r, shape, text);
        struct ab_value value = ab_column_value(column, r);
        assert_int_equal(value.is_null, expected.is_null);
        assert_int_equal(ab_value_compare(&value, &expected), 0);
        if (!value.is_null && bounds != NULL) {
            assert_true(ab_value_compare(&bounds[0], &value) <= 0);
            assert_true(ab_value_compare(&bounds[1], &value) >= 0);
        }
    }
}

static void file_check(const char *path, uint64_t rows, enum shape shape)
{
    struct ab_parquet_reader *reader = NULL;
    struct ab_error error = {0};
    bool wanted[FIELDS] = {true, true, true, true, true, true, true};
    struct ab_arena arena = {0};
    assert_int_equal(ab_parquet_reader_open(path, &reader, &error), AB_OK);
    assert_int_equal(ab_parquet_reader_rows(reader), rows);
    assert_string_equal(ab_parquet_reader_note(reader, "anabranch.stream"), "flights");
    assert_string_equal(ab_parquet_reader_note(reader, "empty"), "");
    assert_null(ab_parquet_reader_note(reader, "none"));
    const struct ab_parquet_field *found = NULL;
    assert_int_equal(ab_parquet_reader_fields(reader, &found), FIELDS);
    uint64_t row = 0;
    for (size_t group = 0; group < ab_parquet_reader_groups(reader); group++) {
        struct ab_column columns[FIELDS];
        assert_int_equal(ab_parquet_reader_read(reader, group, wanted, &arena, columns, &error), AB_OK);
        for (size_t f = 0; f < FIELDS; f++) {
            struct ab_value bounds[2];
            uint64_t nulls = 0;
            bool has_bounds = ab_parquet_reader_bounds(reader, group, f, &bounds[0], &bounds[1], &nulls);
            assert_string_equal(found[f].name, fields[f].name);
            assert_true(ab_type_equal(found[f].type, fields[f].type));
            assert_int_equal(found[f].is_required, fields[f].is_required);
            assert_int_equal(columns[f].rows_count, ab_parquet_reader_group_rows(reader, group));
            assert_true(has_bounds || shape == SHAPE_ALL_NULL || f == 2 || columns[f].rows_count < 100);
            column_check(&columns[f], f, row, shape, has_bounds ? bounds : NULL);
        }
        row += columns[0].rows_count;
        ab_arena_reset(&arena);
    }
    assert_int_equal(row, rows);
    ab_arena_fini(&arena);
    ab_parquet_reader_close(reader);
}

static void test_parquet_every_type_and_shape_round_trips(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 7, 8, 1000, 131072, 300001};
    char *path = path_of("shapes.parquet");
    for (int shape = 0; shape < SHAPES; shape++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            if (sizes[i] > 131072 && shape > SHAPE_ALL_DISTINCT) {
                continue;
            }
            file_write(path, sizes[i], (enum shape)shape, i % 2 == 1);
            file_check(path, sizes[i], (enum shape)shape);
        }
    }
    ab_delete(path);
}

static void file_load(const char *path, struct ab_buffer *out)
{
    struct ab_error error = {0};
    ab_buffer_init(out, NULL, 0);
    assert_int_equal(ab_file_read_all(path, out, &error), AB_OK);
}

static void test_parquet_equal_rows_give_equal_bytes(void **state)
{
    (void)state;
    char *paths[2] = {path_of("a.parquet"), path_of("b.parquet")};
    struct ab_buffer files[2];
    for (int i = 0; i < 2; i++) {
        file_write(paths[i], 20000, SHAPE_FEW_DISTINCT, i == 1);
        file_load(paths[i], &files[i]);
    }
    assert_true(ab_bytes_equal(ab_buffer_view(&files[0]), ab_buffer_view(&files[1])));
    for (int i = 0; i < 2; i++) {
        ab_buffer_fini(&files[i]);
        ab_delete(paths[i]);
    }
}

/* Opens and reads all of a damaged file within 64 MiB; says whether every step succeeded. */
static bool damaged_read(const char *path)
{
    struct ab_parquet_reader *reader = NULL;
    struct ab_error error = {0};
    struct ab_memory memory;
    struct ab_arena arena;
    if (ab_parquet_reader_open(path, &reader, &error) != AB_OK) {
        assert_true(error.text[0] != 0);
        return false;
    }
    ab_memory_init(&memory, 64u << 20, NULL);
    ab_arena_init(&arena, &memory, 0);
    const struct ab_parquet_field *found = NULL;
    size_t count = ab_parquet_reader_fields(reader, &found);
    bool *wanted = ab_new_array(bool, count + 1);
    struct ab_column *columns = ab_new_array(struct ab_column, count + 1);
    memset(wanted, 1, count);
    bool is_whole = true;
    for (size_t group = 0; group < ab_parquet_reader_groups(reader); group++) {
        is_whole &= ab_parquet_reader_read(reader, group, wanted, &arena, columns, &error) == AB_OK;
        struct ab_value bounds[2];
        uint64_t nulls;
        for (size_t f = 0; f < count; f++) {
            (void)ab_parquet_reader_bounds(reader, group, f, &bounds[0], &bounds[1], &nulls);
        }
        ab_arena_reset(&arena);
    }
    ab_delete(wanted);
    ab_delete(columns);
    ab_arena_fini(&arena);
    ab_parquet_reader_close(reader);
    assert_int_equal(ab_memory_used(&memory), 0);
    return is_whole;
}

static void file_store(const char *path, const struct ab_buffer *file, size_t bytes)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file->data, 1, bytes, out), bytes);
    assert_int_equal(fclose(out), 0);
}

static void test_parquet_truncated_files_are_refused(void **state)
{
    (void)state;
    char *path = path_of("whole.parquet");
    char *damaged = path_of("damaged.parquet");
    struct ab_buffer file;
    file_write(path, 300, SHAPE_FEW_DISTINCT, false);
    file_load(path, &file);
    for (size_t bytes = 0; bytes < file.bytes; bytes++) {
        file_store(damaged, &file, bytes);
        assert_false(damaged_read(damaged));
    }
    ab_buffer_fini(&file);
    ab_delete(path);
    ab_delete(damaged);
}

static void test_parquet_flipped_bits_never_crash(void **state)
{
    (void)state;
    char *path = path_of("whole.parquet");
    char *damaged = path_of("damaged.parquet");
    struct ab_buffer file;
    for (int shape = 0; shape < SHAPES; shape++) {
        file_write(path, 120, (enum shape)shape, false);
        file_load(path, &file);
        uint32_t footer_bytes;
        memcpy(&footer_bytes, file.data + file.bytes - 8, 4);
        size_t pages_end = file.bytes - 8 - footer_bytes;
        for (size_t at = 0; at < file.bytes; at++) {
            uint8_t bit = (uint8_t)(1u << ((at * 5) % 8));
            file.data[at] ^= bit;
            file_store(damaged, &file, file.bytes);
            /* Pages have a checksum; the footer has only its structure. */
            bool is_whole = damaged_read(damaged);
            assert_false(is_whole && at < pages_end);
            file.data[at] ^= bit;
        }
        ab_buffer_fini(&file);
    }
    ab_delete(path);
    ab_delete(damaged);
}

/* The same, with checksums switched off by another key, so that the page decoders see the damage. */
static void test_parquet_flipped_bits_without_checksums_never_crash(void **state)
{
    (void)state;
    char *path = path_of("whole.parquet");
    char *damaged = path_of("damaged.parquet");
    struct ab_buffer file;
    for (int shape = 0; shape < SHAPES; shape++) {
        file_write(path, 120, (enum shape)shape, false);
        file_load(path, &file);
        uint8_t *at = file.data;
        while ((at = memmem(at, (size_t)(file.data + file.bytes - at), "anabranch.xxh3", 14)) != NULL) {
            at[0] = 'x';
        }
        struct ab_random random;
        ab_random_init(&random, (uint64_t)shape);
        for (size_t i = 0; i < file.bytes; i++) {
            uint8_t before = file.data[i];
            file.data[i] = (uint8_t)ab_random_u64(&random);
            file_store(damaged, &file, file.bytes);
            (void)damaged_read(damaged);
            file.data[i] = before;
        }
        ab_buffer_fini(&file);
    }
    ab_delete(path);
    ab_delete(damaged);
}

static void test_parquet_null_in_required_column_is_refused(void **state)
{
    (void)state;
    char *path = path_of("required.parquet");
    struct ab_parquet_writer *writer = NULL;
    struct ab_error error = {0};
    struct ab_arena arena = {0};
    struct ab_column column;
    const struct ab_column *columns[1] = {&column};
    struct ab_value null = {.type = {.kind = AB_TYPE_BIGINT}, .is_null = true};
    assert_int_equal(ab_column_constant(&arena, null, 3, &column), AB_OK);
    assert_int_equal(ab_parquet_writer_create(path, &fields[6], 1, NULL, &writer, &error), AB_OK);
    assert_int_equal(ab_parquet_writer_add(writer, columns, 3, NULL, &error), AB_INVALID);
    ab_parquet_writer_abandon(writer);
    assert_false(ab_file_exists(path));
    ab_arena_fini(&arena);
    ab_delete(path);
}

static void test_parquet_failed_writes_leave_no_file(void **state)
{
    (void)state;
    char *path = path_of("faults.parquet");
    bool has_succeeded = false;
    for (int countdown = 0; countdown < 100 && !has_succeeded; countdown++) {
        struct ab_parquet_writer *writer = NULL;
        struct ab_error error = {0};
        struct ab_arena arena = {0};
        struct ab_column column;
        const struct ab_column *columns[1] = {&column};
        struct ab_value five = {.type = {.kind = AB_TYPE_BIGINT}, .bigint = 5};
        assert_int_equal(ab_column_constant(&arena, five, 300000, &column), AB_OK);
        ab_file_fault_set(countdown, 1, AB_NO_SPACE);
        ab_err err = ab_parquet_writer_create(path, &fields[6], 1, NULL, &writer, &error);
        if (err == AB_OK) {
            err = ab_parquet_writer_add(writer, columns, 300000, NULL, &error);
            if (err == AB_OK) {
                err = ab_parquet_writer_finish(writer, NULL, 0, NULL, &error);
            } else {
                ab_parquet_writer_abandon(writer);
            }
        }
        has_succeeded = err == AB_OK;
        ab_file_fault_clear();
        char **names = NULL;
        size_t count = 0;
        assert_int_equal(ab_file_list(directory, &names, &count, &error), AB_OK);
        for (size_t i = 0; i < count; i++) {
            assert_null(strstr(names[i], ".tmp"));
        }
        ab_file_names_free(names, count);
        ab_arena_fini(&arena);
    }
    assert_true(has_succeeded);
    ab_delete(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parquet_every_type_and_shape_round_trips),
        cmocka_unit_test(test_parquet_equal_rows_give_equal_bytes),
        cmocka_unit_test(test_parquet_truncated_files_are_refused),
        cmocka_unit_test(test_parquet_flipped_bits_never_crash),
        cmocka_unit_test(test_parquet_flipped_bits_without_checksums_never_crash),
        cmocka_unit_test(test_parquet_null_in_required_column_is_refused),
        cmocka_unit_test(test_parquet_failed_writes_leave_no_file),
    };
    return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
