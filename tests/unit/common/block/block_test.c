/* Blocks: what is encoded comes back, and nothing malformed gets through or crashes. */
#include "common/base/random.h"
#include "common/base/time.h"
#include "common/block/block.h"
#include "common/wire/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#define COLUMNS_COUNT 6
#define ROWS_MAX 10000

static const struct ab_type types[COLUMNS_COUNT] = {{.kind = AB_TYPE_BOOLEAN}, {.kind = AB_TYPE_BIGINT},
    {.kind = AB_TYPE_DOUBLE}, {.kind = AB_TYPE_DECIMAL, .precision = 12, .scale = 2}, {.kind = AB_TYPE_TEXT},
    {.kind = AB_TYPE_TIMESTAMP}};
static const char *const names[COLUMNS_COUNT] = {"is_late", "distance", "delay", "price", "carrier", "departed"};

/* A block over builders. */
struct fixture {
    struct ab_column_builder *builders[COLUMNS_COUNT];
    struct ab_block_column columns[COLUMNS_COUNT];
    uint64_t positions[ROWS_MAX];
    struct ab_block block;
};

static struct ab_value value_at(uint32_t column, uint32_t row)
{
    static char text[32];
    struct ab_value value = {.type = types[column], .is_null = (row + column) % 11 == 5};
    switch (column) {
    case 0:
        value.boolean = row % 3 == 0;
        break;
    case 2:
        value.real = row * 0.25 - 100;
        break;
    case 3:
        value.decimal = (ab_int128)row * 100 - 5000;
        break;
    case 4:
        snprintf(text, sizeof text, "carrier ä %u", row % 40);
        value.text = ab_bytes_of_text(text);
        break;
    default:
        value.bigint = (int64_t)row * 1000003 - 7;
    }
    return value;
}

static struct fixture *fixture_create(uint32_t rows_count, bool has_source)
{
    struct fixture *fixture = ab_new(struct fixture);
    for (uint32_t i = 0; i < COLUMNS_COUNT; i++) {
        fixture->builders[i] = ab_column_builder_create(types[i], rows_count, NULL);
        for (uint32_t row = 0; row < rows_count; row++) {
            struct ab_value value = value_at(i, row);
            assert_int_equal(ab_column_builder_add(fixture->builders[i], &value), AB_OK);
        }
        fixture->columns[i].name = ab_bytes_of_text(names[i]);
        ab_column_builder_view(fixture->builders[i], &fixture->columns[i].column);
    }
    for (uint32_t row = 0; row < rows_count; row++) {
        fixture->positions[row] = 17 + row * 3;
    }
    fixture->block = (struct ab_block){.stream = ab_bytes_of_text("flights"),
        .producer_id = 99,
        .sequence = 3,
        .partition = 2,
        .rows_count = rows_count,
        .columns_count = COLUMNS_COUNT,
        .columns = fixture->columns};
    if (has_source) {
        fixture->block.positions = fixture->positions;
        fixture->block.mark = (struct ab_source_mark){.source = ab_bytes_of_text("flights.csv"),
            .first_position = 17,
            .last_position = 17 + rows_count * 3,
            .byte_offset = 12345,
            .prefix_hash = {.low = 1, .high = 2}};
    }
    return fixture;
}

static void fixture_destroy(struct fixture *fixture)
{
    for (uint32_t i = 0; i < COLUMNS_COUNT; i++) {
        ab_column_builder_destroy(fixture->builders[i]);
    }
    ab_delete(fixture);
}

static void expect_same(const struct ab_block *got, const struct ab_block *expected)
{
    assert_true(ab_bytes_equal(got->stream, expected->stream));
    assert_int_equal(got->producer_id, expected->producer_id);
    assert_int_equal(got->sequence, expected->sequence);
    assert_int_equal(got->partition, expected->partition);
    assert_int_equal(got->rows_count, expected->rows_count);
    assert_int_equal(got->columns_count, expected->columns_count);
    for (uint32_t i = 0; i < expected->columns_count; i++) {
        const struct ab_column *a = &expected->columns[i].column;
        const struct ab_column *b = ab_block_find(got, expected->columns[i].name);
        assert_non_null(b);
        assert_true(ab_type_equal(a->type, b->type));
        for (uint32_t row = 0; row < expected->rows_count; row++) {
            struct ab_value va = ab_column_value(a, row);
            struct ab_value vb = ab_column_value(b, row);
            assert_int_equal(ab_value_compare(&va, &vb), 0);
        }
    }
    assert_int_equal(got->positions == NULL, expected->positions == NULL);
    if (expected->positions != NULL) {
        assert_memory_equal(got->positions, expected->positions, expected->rows_count * sizeof(uint64_t));
        assert_true(ab_bytes_equal(got->mark.source, expected->mark.source));
        assert_int_equal(got->mark.last_position, expected->mark.last_position);
        assert_int_equal(got->mark.byte_offset, expected->mark.byte_offset);
        assert_true(ab_hash128_equal(got->mark.prefix_hash, expected->mark.prefix_hash));
    }
}

static ab_err decode(struct ab_bytes bytes)
{
    struct ab_arena arena = {0};
    struct ab_block block;
    struct ab_error error = {0};
    ab_err err = ab_block_decode(bytes, &arena, &block, &error);
    assert_int_equal(err == AB_OK, error.text[0] == 0);
    ab_arena_fini(&arena);
    return err;
}

/* Applies `change` to a good wire block and returns what decoding says. */
static ab_err decode_changed(void (*change)(struct ab_wire_block *wire, struct ab_wire_column *columns))
{
    struct fixture *fixture = fixture_create(20, true);
    struct ab_arena arena = {0};
    struct ab_buffer bytes = {0};
    struct ab_wire_block wire;
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_PLAIN, &bytes), AB_OK);
    assert_int_equal(ab_wire_block_decode(ab_buffer_view(&bytes), &arena, &wire), AB_OK);
    change(&wire, (struct ab_wire_column *)(uintptr_t)wire.columns);
    ab_buffer_clear(&bytes);
    ab_wire_block_encode(&wire, &bytes);
    ab_err err = decode(ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
    ab_arena_fini(&arena);
    fixture_destroy(fixture);
    return err;
}

static void round_trip(uint32_t rows_count, bool has_source, enum ab_block_compression compression)
{
    struct fixture *fixture = fixture_create(rows_count, has_source);
    struct ab_buffer bytes = {0};
    struct ab_arena arena = {0};
    struct ab_block block;
    assert_int_equal(ab_block_encode(&fixture->block, compression, &bytes), AB_OK);
    assert_int_equal(ab_block_decode(ab_buffer_view(&bytes), &arena, &block, NULL), AB_OK);
    expect_same(&block, &fixture->block);
    ab_arena_fini(&arena);
    ab_buffer_fini(&bytes);
    fixture_destroy(fixture);
}

static void test_block_decode_gives_back_what_was_encoded(void **state)
{
    (void)state;
    static const uint32_t rows[] = {1, 2, 7, 8, 9, 63, 64, 65, 1000};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        round_trip(rows[i], true, AB_BLOCK_PLAIN);
        round_trip(rows[i], false, AB_BLOCK_PLAIN);
        round_trip(rows[i], true, AB_BLOCK_LZ4);
    }
}

static void test_block_lz4_is_smaller(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_create(1000, true);
    struct ab_buffer plain = {0};
    struct ab_buffer packed = {0};
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_PLAIN, &plain), AB_OK);
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_LZ4, &packed), AB_OK);
    assert_true(packed.bytes < plain.bytes);
    ab_buffer_fini(&plain);
    ab_buffer_fini(&packed);
    fixture_destroy(fixture);
}

static void test_block_decode_every_truncation_is_refused(void **state)
{
    (void)state;
    for (int compression = AB_BLOCK_PLAIN; compression <= AB_BLOCK_LZ4; compression++) {
        struct fixture *fixture = fixture_create(30, true);
        struct ab_buffer bytes = {0};
        assert_int_equal(ab_block_encode(&fixture->block, compression, &bytes), AB_OK);
        size_t accepted = 0;
        for (size_t length = 0; length < bytes.bytes; length++) {
            uint8_t *exact = ab_new_bytes(length + 1); /* so that a sanitizer sees a read past the end */
            memcpy(exact, bytes.data, length);
            accepted += decode(ab_bytes_of(exact, length)) == AB_OK;
            ab_delete(exact);
        }
        /* A prefix that ends between two columns is a whole protobuf message; the frame's length tells them apart. */
        assert_true(accepted < COLUMNS_COUNT + 2);
        ab_buffer_fini(&bytes);
        fixture_destroy(fixture);
    }
}

static void test_block_decode_bit_flips_never_crash(void **state)
{
    (void)state;
    for (int compression = AB_BLOCK_PLAIN; compression <= AB_BLOCK_LZ4; compression++) {
        struct fixture *fixture = fixture_create(30, true);
        struct ab_buffer bytes = {0};
        assert_int_equal(ab_block_encode(&fixture->block, compression, &bytes), AB_OK);
        for (size_t bit = 0; bit < bytes.bytes * 8; bit++) {
            bytes.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            (void)decode(ab_buffer_view(&bytes)); /* either outcome, no crash */
            bytes.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        ab_buffer_fini(&bytes);
        fixture_destroy(fixture);
    }
}

static void no_rows(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->rows_count = 0;
}
static void too_many_rows(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->rows_count = AB_BLOCK_ROWS_MAX + 1;
}
static void no_producer(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->producer_id = 0;
}
static void no_sequence(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->sequence = 0;
}
static void no_stream(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->stream = ab_bytes_of(NULL, 0);
}
static void stream_not_utf8(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->stream = ab_bytes_of_text("\xff");
}
static void same_name_twice(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    columns[1].name = columns[0].name;
}
static void no_such_type(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    columns[1].type_kind = 7;
}
static void precision_without_decimal(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    columns[1].precision = 3;
}
static void precision_too_large(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    columns[3].precision = 39;
}
static void values_too_short(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    columns[1].values.bytes -= 8;
}
static void bitmap_too_long(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    static const uint8_t bitmap[4];
    (void)wire;
    columns[1].null_bitmap = ab_bytes_of(bitmap, sizeof bitmap);
}
static void bitmap_past_the_end(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    static const uint8_t bitmap[3] = {0, 0, 0x10};
    (void)wire;
    columns[1].null_bitmap = ab_bytes_of(bitmap, sizeof bitmap);
}
static void boolean_of_two(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    ((uint8_t *)(uintptr_t)columns[0].values.data)[4] = 2;
}
static void decimal_too_large(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    ab_int128 units = 1000000000000;
    memcpy((uint8_t *)(uintptr_t)columns[3].values.data + 16, &units, sizeof units);
}
static void code_past_the_dictionary(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    uint32_t code = (uint32_t)(columns[4].dictionary_ends.bytes / 4);
    memcpy((uint8_t *)(uintptr_t)columns[4].values.data, &code, sizeof code);
}
static void dictionary_ends_fall(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    uint32_t end = UINT32_MAX;
    memcpy((uint8_t *)(uintptr_t)columns[4].dictionary_ends.data, &end, sizeof end);
}
static void dictionary_splits_a_character(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    uint32_t end = 9; /* "carrier " and the first half of an umlaut */
    memcpy((uint8_t *)(uintptr_t)columns[4].dictionary_ends.data, &end, sizeof end);
}
static void dictionary_not_utf8(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    ((uint8_t *)(uintptr_t)columns[4].dictionary_bytes.data)[0] = 0xff;
}
static void dictionary_missing(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    columns[4].dictionary_ends = ab_bytes_of(NULL, 0);
    columns[4].dictionary_bytes = ab_bytes_of(NULL, 0);
}
static void dictionary_without_text(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)wire;
    columns[1].dictionary_bytes = ab_bytes_of_text("x");
}
static void position_stands_still(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    memset((uint8_t *)(uintptr_t)wire->position_deltas.data + 4, 0, 4);
}
static void position_not_at_first(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    ((uint8_t *)(uintptr_t)wire->position_deltas.data)[0] = 1;
}
static void position_past_last(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->last_position = 20;
}
static void position_overflows(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->first_position = UINT64_MAX - 3;
    wire->last_position = UINT64_MAX;
}
static void positions_missing(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->position_deltas = ab_bytes_of(NULL, 0);
}
static void no_columns(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->columns_count = 0;
}
static void no_such_compression(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->compression = 2;
}
static void compressed_with_plain_columns(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->compression = AB_BLOCK_LZ4;
    wire->uncompressed_bytes = 100;
    wire->compressed = ab_bytes_of_text("0123456789");
}
static void compressed_claims_too_much(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    compressed_with_plain_columns(wire, columns);
    wire->columns_count = 0;
    wire->uncompressed_bytes = 1u << 20;
}
static void compressed_garbage(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    compressed_with_plain_columns(wire, columns);
    wire->columns_count = 0;
}
static void raw_with_other_columns(struct ab_wire_block *wire, struct ab_wire_column *columns)
{
    (void)columns;
    wire->is_raw = true;
}

static void test_block_decode_refuses_each_broken_rule(void **state)
{
    (void)state;
    static void (*const changes[])(struct ab_wire_block *, struct ab_wire_column *) = {no_rows, no_producer,
        no_sequence, no_stream, stream_not_utf8, same_name_twice, no_such_type, precision_without_decimal,
        precision_too_large, values_too_short, bitmap_too_long, bitmap_past_the_end, boolean_of_two, decimal_too_large,
        code_past_the_dictionary, dictionary_ends_fall, dictionary_splits_a_character, dictionary_not_utf8,
        dictionary_missing, dictionary_without_text, position_stands_still, position_not_at_first, position_past_last,
        position_overflows, positions_missing, no_columns, no_such_compression, compressed_with_plain_columns,
        compressed_claims_too_much, compressed_garbage, raw_with_other_columns};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        ab_err err = decode_changed(changes[i]);
        if (err != AB_INVALID) {
            fail_msg("change %zu gave %d", i, err);
        }
    }
    assert_int_equal(decode_changed(too_many_rows), AB_TOO_LARGE);
}

static void test_block_decode_makes_doubles_canonical(void **state)
{
    (void)state;
    static const uint64_t bits[] = {UINT64_C(0x8000000000000000), UINT64_C(0xfff8000000000001),
        UINT64_C(0x7ff0000000000001), UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000), 1,
        UINT64_C(0x3ff0000000000000)};
    static const uint64_t expected[] = {0, UINT64_C(0x7ff8000000000000), UINT64_C(0x7ff8000000000000),
        UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000), 1, UINT64_C(0x3ff0000000000000)};
    struct ab_wire_column column = {
        .name = ab_bytes_of_text("x"), .type_kind = AB_TYPE_DOUBLE, .values = ab_bytes_of(bits, sizeof bits)};
    struct ab_wire_block wire = {.stream = ab_bytes_of_text("s"),
        .producer_id = 1,
        .sequence = 1,
        .rows_count = 7,
        .columns = &column,
        .columns_count = 1};
    struct ab_buffer bytes = {0};
    struct ab_arena arena = {0};
    struct ab_block block;
    ab_wire_block_encode(&wire, &bytes);
    assert_int_equal(ab_block_decode(ab_buffer_view(&bytes), &arena, &block, NULL), AB_OK);
    assert_memory_equal(block.columns[0].column.values, expected, sizeof expected);
    ab_arena_fini(&arena);
    ab_buffer_fini(&bytes);
}

/* A block of ten rows of one TEXT value decodes to ten of them. */
static void expect_text_block(struct ab_value value)
{
    struct ab_column_builder *builder = ab_column_builder_create(types[4], 10, NULL);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ab_column_builder_add(builder, &value), AB_OK);
    }
    struct ab_block_column column = {.name = ab_bytes_of_text("t")};
    ab_column_builder_view(builder, &column.column);
    struct ab_block block = {.stream = ab_bytes_of_text("s"),
        .producer_id = 1,
        .sequence = 1,
        .rows_count = 10,
        .columns = &column,
        .columns_count = 1};
    struct ab_buffer bytes = {0};
    struct ab_arena arena = {0};
    struct ab_block decoded;
    assert_int_equal(ab_block_encode(&block, AB_BLOCK_PLAIN, &bytes), AB_OK);
    assert_int_equal(ab_block_decode(ab_buffer_view(&bytes), &arena, &decoded, NULL), AB_OK);
    expect_same(&decoded, &block);
    ab_arena_fini(&arena);
    ab_buffer_fini(&bytes);
    ab_column_builder_destroy(builder);
}

static void test_block_text_of_only_nulls_or_empty_texts(void **state)
{
    (void)state;
    expect_text_block((struct ab_value){.type = types[4], .is_null = true});
    expect_text_block((struct ab_value){.type = types[4], .text = ab_bytes_of_text("")});
}

static void test_block_encode_refuses_what_passes_the_limits(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_create(4, true);
    struct ab_buffer bytes = {0};
    struct ab_buffer small;
    fixture->positions[3] = UINT64_C(1) << 40;
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_PLAIN, &bytes), AB_TOO_LARGE);
    fixture->positions[3] = 30;
    ab_buffer_init(&small, NULL, 100);
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_PLAIN, &small), AB_FULL);
    fixture->block.rows_count = AB_BLOCK_ROWS_MAX + 1;
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_PLAIN, &bytes), AB_TOO_LARGE);
    fixture->block.rows_count = 0;
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_PLAIN, &bytes), AB_INVALID);
    ab_buffer_fini(&bytes);
    ab_buffer_fini(&small);
    fixture_destroy(fixture);
}

static void test_block_decode_allocates_a_small_multiple_of_its_bytes(void **state)
{
    (void)state;
    /* A million empty columns, two bytes each, would be 150 MB of structures. */
    enum { COUNT = 1 << 20 };
    uint8_t *bytes = ab_new_bytes(COUNT * 2);
    struct ab_memory memory;
    struct ab_arena arena;
    struct ab_block block;
    for (size_t i = 0; i < COUNT; i++) {
        bytes[i * 2] = 10 << 3 | 2;
    }
    ab_memory_init(&memory, 64u << 20, NULL);
    ab_arena_init(&arena, &memory, 0);
    assert_int_equal(ab_block_decode(ab_bytes_of(bytes, COUNT * 2), &arena, &block, NULL), AB_INVALID);
    assert_true(ab_memory_used(&memory) < 12u << 20);
    ab_arena_fini(&arena);
    ab_memory_init(&memory, 4096, NULL);
    ab_arena_init(&arena, &memory, 0);
    struct fixture *fixture = fixture_create(1000, true);
    struct ab_buffer good = {0};
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_PLAIN, &good), AB_OK);
    assert_int_equal(ab_block_decode(ab_buffer_view(&good), &arena, &block, NULL), AB_FULL);
    ab_arena_fini(&arena);
    ab_buffer_fini(&good);
    fixture_destroy(fixture);
    ab_delete(bytes);
}

static void test_block_decode_of_8k_rows_is_fast(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_create(8192, true);
    struct ab_buffer bytes = {0};
    struct ab_arena arena = {0};
    struct ab_block block;
    enum { ROUNDS = 200 };
    assert_int_equal(ab_block_encode(&fixture->block, AB_BLOCK_PLAIN, &bytes), AB_OK);
    int64_t start_ns = ab_time_thread_cpu_ns();
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(ab_block_decode(ab_buffer_view(&bytes), &arena, &block, NULL), AB_OK);
        ab_arena_reset(&arena);
    }
    double row_ns = (double)(ab_time_thread_cpu_ns() - start_ns) / ROUNDS / 8192;
    print_message("decode: %.2f ns a row of 6 columns, %.1f bytes\n", row_ns, (double)bytes.bytes / 8192);
    assert_true(row_ns < 1000);
    ab_arena_fini(&arena);
    ab_buffer_fini(&bytes);
    fixture_destroy(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_decode_gives_back_what_was_encoded),
        cmocka_unit_test(test_block_lz4_is_smaller),
        cmocka_unit_test(test_block_decode_every_truncation_is_refused),
        cmocka_unit_test(test_block_decode_bit_flips_never_crash),
        cmocka_unit_test(test_block_decode_refuses_each_broken_rule),
        cmocka_unit_test(test_block_decode_makes_doubles_canonical),
        cmocka_unit_test(test_block_text_of_only_nulls_or_empty_texts),
        cmocka_unit_test(test_block_encode_refuses_what_passes_the_limits),
        cmocka_unit_test(test_block_decode_allocates_a_small_multiple_of_its_bytes),
        cmocka_unit_test(test_block_decode_of_8k_rows_is_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
