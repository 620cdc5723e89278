/* The payload codecs: round trips, every truncation, every bit flip, bounded memory. */
#include "common/wire/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const uint64_t offsets[] = {0, 5, UINT64_C(1) << 63};
static const uint32_t partitions[] = {0, 1, UINT32_MAX};
static const struct ab_bytes warnings[] = {{(const uint8_t *)"one", 3}, {(const uint8_t *)"", 0}};
static const struct ab_wire_rejected rejected[] = {{7, {(const uint8_t *)"delay: NULL", 11}}, {9, {NULL, 0}}};
static const struct ab_wire_column columns[] = {{.name = {(const uint8_t *)"carrier", 7},
                                                    .type_kind = 5,
                                                    .null_bitmap = {(const uint8_t *)"\x02", 1},
                                                    .values = {(const uint8_t *)"\0\0\0\0\0\0\0\0", 8},
                                                    .dictionary_ends = {(const uint8_t *)"\2\0\0\0", 4},
                                                    .dictionary_bytes = {(const uint8_t *)"UA", 2}},
    {.name = {(const uint8_t *)"price", 5}, .type_kind = 4, .precision = 12, .scale = 2}};

/* One codec, seen without its type. */
struct codec {
    const char *name;
    void (*encode)(struct ab_buffer *out);
    ab_err (*decode_and_check)(struct ab_bytes bytes, struct ab_arena *arena, bool is_whole);
};

static void expect_columns(const struct ab_wire_column *got, size_t count)
{
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++) {
        assert_true(ab_bytes_equal(got[i].name, columns[i].name));
        assert_int_equal(got[i].type_kind, columns[i].type_kind);
        assert_int_equal(got[i].precision, columns[i].precision);
        assert_int_equal(got[i].scale, columns[i].scale);
        assert_true(ab_bytes_equal(got[i].null_bitmap, columns[i].null_bitmap));
        assert_true(ab_bytes_equal(got[i].values, columns[i].values));
        assert_true(ab_bytes_equal(got[i].dictionary_ends, columns[i].dictionary_ends));
        assert_true(ab_bytes_equal(got[i].dictionary_bytes, columns[i].dictionary_bytes));
        assert_int_equal((uintptr_t)got[i].values.data % 16, 0);
    }
}

static void block_encode(struct ab_buffer *out)
{
    struct ab_wire_block block = {.stream = ab_bytes_of_text("flights"),
        .producer_id = UINT64_MAX,
        .sequence = 9,
        .partition = 3,
        .rows_count = 2,
        .is_raw = true,
        .source = ab_bytes_of_text("a.csv"),
        .first_position = 4,
        .last_position = 9,
        .byte_offset = 1000,
        .prefix_hash = {.low = 1, .high = UINT64_MAX},
        .position_deltas = ab_bytes_of("\0\0\0\0\1\0\0\0", 8),
        .columns = columns,
        .columns_count = 2};
    ab_wire_block_encode(&block, out);
}

static ab_err block_decode(struct ab_bytes bytes, struct ab_arena *arena, bool is_whole)
{
    struct ab_wire_block block;
    AB_TRY(ab_wire_block_decode(bytes, arena, &block));
    if (is_whole) {
        assert_true(ab_bytes_equal(block.stream, ab_bytes_of_text("flights")));
        assert_true(block.producer_id == UINT64_MAX && block.sequence == 9 && block.partition == 3);
        assert_true(block.rows_count == 2 && block.is_raw && block.byte_offset == 1000);
        assert_true(block.first_position == 4 && block.last_position == 9);
        assert_true(block.prefix_hash.low == 1 && block.prefix_hash.high == UINT64_MAX);
        assert_int_equal(block.position_deltas.bytes, 8);
        expect_columns(block.columns, block.columns_count);
    }
    return AB_OK;
}

static void columns_encode(struct ab_buffer *out)
{
    ab_wire_columns_encode(columns, 2, out);
}

static ab_err columns_decode(struct ab_bytes bytes, struct ab_arena *arena, bool is_whole)
{
    const struct ab_wire_column *decoded = NULL;
    size_t count = 0;
    AB_TRY(ab_wire_columns_decode(bytes, arena, &decoded, &count));
    if (is_whole) {
        expect_columns(decoded, count);
    }
    return AB_OK;
}

static void produce_encode(struct ab_buffer *out)
{
    struct ab_wire_produce_reply reply = {.offset = 5,
        .accepted = 100,
        .rejected = 2,
        .duplicates = 1,
        .rejected_rows = rejected,
        .rejected_rows_count = 2,
        .is_repeat = true};
    ab_wire_produce_reply_encode(&reply, out);
}

static ab_err produce_decode(struct ab_bytes bytes, struct ab_arena *arena, bool is_whole)
{
    struct ab_wire_produce_reply reply;
    AB_TRY(ab_wire_produce_reply_decode(bytes, arena, &reply));
    if (is_whole) {
        assert_true(reply.offset == 5 && reply.accepted == 100 && reply.rejected == 2 && reply.duplicates == 1);
        assert_true(reply.is_repeat && reply.rejected_rows_count == 2 && reply.rejected_rows[1].row == 9);
        assert_true(ab_bytes_equal(reply.rejected_rows[0].reason, rejected[0].reason));
    }
    return AB_OK;
}

static void query_encode(struct ab_buffer *out)
{
    struct ab_wire_query query = {.sql = ab_bytes_of_text("SELECT 1"),
        .rows_max = 10,
        .allow_partial = true,
        .offsets = offsets,
        .offsets_count = 3};
    ab_wire_query_encode(&query, out);
}

static ab_err query_decode(struct ab_bytes bytes, struct ab_arena *arena, bool is_whole)
{
    struct ab_wire_query query;
    AB_TRY(ab_wire_query_decode(bytes, arena, &query));
    if (is_whole) {
        assert_true(ab_bytes_equal(query.sql, ab_bytes_of_text("SELECT 1")));
        assert_true(query.rows_max == 10 && query.allow_partial);
        assert_int_equal(query.offsets_count, 3);
        assert_memory_equal(query.offsets, offsets, sizeof offsets);
    }
    return AB_OK;
}

static void query_reply_encode(struct ab_buffer *out)
{
    struct ab_wire_query_reply reply = {.columns = columns,
        .columns_count = 2,
        .rows_count = 2,
        .token = {.cut = 3,
            .version = ab_bytes_of_text("d/3-1"),
            .offsets = offsets,
            .offsets_count = 3,
            .horizon_us = -1,
            .as_of_us = INT64_MAX,
            .is_complete = true},
        .warnings = warnings,
        .warnings_count = 2};
    ab_wire_query_reply_encode(&reply, out);
}

static ab_err query_reply_decode(struct ab_bytes bytes, struct ab_arena *arena, bool is_whole)
{
    struct ab_wire_query_reply reply;
    AB_TRY(ab_wire_query_reply_decode(bytes, arena, &reply));
    if (is_whole) {
        expect_columns(reply.columns, reply.columns_count);
        assert_true(reply.rows_count == 2 && reply.token.cut == 3 && reply.token.horizon_us == -1);
        assert_true(reply.token.as_of_us == INT64_MAX && reply.token.is_complete);
        assert_true(ab_bytes_equal(reply.token.version, ab_bytes_of_text("d/3-1")));
        assert_int_equal(reply.token.offsets_count, 3);
        assert_memory_equal(reply.token.offsets, offsets, sizeof offsets);
        assert_int_equal(reply.warnings_count, 2);
        assert_true(ab_bytes_equal(reply.warnings[0], warnings[0]));
    }
    return AB_OK;
}

static void state_query_encode(struct ab_buffer *out)
{
    struct ab_wire_state_query query = {.sql = ab_bytes_of_text("SELECT 1"),
        .catalog_hash = {.low = 7, .high = 8},
        .cut = 12,
        .partitions = partitions,
        .partitions_count = 3,
        .offsets = offsets};
    ab_wire_state_query_encode(&query, out);
}

static ab_err state_query_decode(struct ab_bytes bytes, struct ab_arena *arena, bool is_whole)
{
    struct ab_wire_state_query query;
    AB_TRY(ab_wire_state_query_decode(bytes, arena, &query));
    if (is_whole) {
        assert_true(query.cut == 12 && query.catalog_hash.low == 7 && query.catalog_hash.high == 8);
        assert_int_equal(query.partitions_count, 3);
        assert_memory_equal(query.partitions, partitions, sizeof partitions);
        assert_memory_equal(query.offsets, offsets, sizeof offsets);
    }
    return AB_OK;
}

static void state_reply_encode(struct ab_buffer *out)
{
    struct ab_wire_state_reply reply = {.rows = ab_bytes_of("\0\1\2", 3),
        .partitions = partitions,
        .offsets = offsets,
        .partitions_count = 3,
        .as_of_us = 99};
    ab_wire_state_reply_encode(&reply, out);
}

static ab_err state_reply_decode(struct ab_bytes bytes, struct ab_arena *arena, bool is_whole)
{
    struct ab_wire_state_reply reply;
    AB_TRY(ab_wire_state_reply_decode(bytes, arena, &reply));
    if (is_whole) {
        assert_true(ab_bytes_equal(reply.rows, ab_bytes_of("\0\1\2", 3)));
        assert_int_equal(reply.partitions_count, 3);
        assert_memory_equal(reply.partitions, partitions, sizeof partitions);
        assert_memory_equal(reply.offsets, offsets, sizeof offsets);
        assert_int_equal(reply.as_of_us, 99);
    }
    return AB_OK;
}

static const struct codec codecs[] = {
    {"block", block_encode, block_decode},
    {"columns", columns_encode, columns_decode},
    {"produce reply", produce_encode, produce_decode},
    {"query", query_encode, query_decode},
    {"query reply", query_reply_encode, query_reply_decode},
    {"state query", state_query_encode, state_query_decode},
    {"state reply", state_reply_encode, state_reply_decode},
};
#define CODECS_COUNT (sizeof codecs / sizeof codecs[0])

static ab_err decode_exact(const struct codec *codec, struct ab_bytes bytes, bool is_whole)
{
    struct ab_arena arena = {0};
    uint8_t *exact = ab_new_bytes(bytes.bytes + 1);
    memcpy(exact, bytes.data, bytes.bytes);
    ab_err err = codec->decode_and_check(ab_bytes_of(exact, bytes.bytes), &arena, is_whole);
    ab_delete(exact);
    ab_arena_fini(&arena);
    return err;
}

static void test_codec_decode_gives_back_what_was_encoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODECS_COUNT; i++) {
        struct ab_buffer bytes = {0};
        codecs[i].encode(&bytes);
        assert_true(bytes.bytes > 0);
        assert_int_equal(decode_exact(&codecs[i], ab_buffer_view(&bytes), true), AB_OK);
        ab_buffer_fini(&bytes);
    }
}

static void test_codec_decode_truncations_and_bit_flips_are_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODECS_COUNT; i++) {
        struct ab_buffer bytes = {0};
        size_t accepted = 0;
        codecs[i].encode(&bytes);
        for (size_t length = 0; length < bytes.bytes; length++) {
            accepted += decode_exact(&codecs[i], ab_bytes_of(bytes.data, length), false) == AB_OK;
        }
        assert_true(accepted <= 12); /* those that end between two fields */
        for (size_t bit = 0; bit < bytes.bytes * 8; bit++) {
            bytes.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            (void)decode_exact(&codecs[i], ab_buffer_view(&bytes), false); /* either outcome, no crash */
            bytes.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        ab_buffer_fini(&bytes);
    }
}

static void test_codec_encode_full_buffer_says_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODECS_COUNT; i++) {
        struct ab_buffer bytes;
        ab_buffer_init(&bytes, NULL, 4);
        codecs[i].encode(&bytes);
        assert_int_equal(ab_buffer_finish(&bytes), AB_FULL);
        ab_buffer_fini(&bytes);
    }
}

static void test_codec_decode_small_budget_is_full(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODECS_COUNT; i++) {
        struct ab_memory memory;
        struct ab_arena arena;
        struct ab_buffer bytes = {0};
        ab_memory_init(&memory, 8, NULL);
        ab_arena_init(&arena, &memory, 0);
        codecs[i].encode(&bytes);
        assert_int_equal(codecs[i].decode_and_check(ab_buffer_view(&bytes), &arena, false), AB_FULL);
        ab_arena_fini(&arena);
        ab_buffer_fini(&bytes);
    }
}

static void test_codec_block_other_format_version_is_invalid(void **state)
{
    (void)state;
    struct ab_arena arena = {0};
    struct ab_wire_block block;
    assert_int_equal(ab_wire_block_decode(ab_bytes_of("\x08\x02", 2), &arena, &block), AB_INVALID);
    assert_int_equal(ab_wire_block_decode(ab_bytes_of(NULL, 0), &arena, &block), AB_INVALID);
    ab_arena_fini(&arena);
}

static void test_codec_produce_reply_lists_at_most_its_limit(void **state)
{
    (void)state;
    struct ab_wire_rejected rows[AB_PRODUCE_REJECTED_MAX + 5];
    struct ab_arena arena = {0};
    struct ab_buffer bytes = {0};
    for (uint32_t i = 0; i < AB_PRODUCE_REJECTED_MAX + 5; i++) {
        rows[i] = (struct ab_wire_rejected){.row = i, .reason = ab_bytes_of_text("late")};
    }
    struct ab_wire_produce_reply reply = {.rejected_rows = rows, .rejected_rows_count = AB_PRODUCE_REJECTED_MAX + 5};
    ab_wire_produce_reply_encode(&reply, &bytes);
    assert_int_equal(ab_wire_produce_reply_decode(ab_buffer_view(&bytes), &arena, &reply), AB_OK);
    assert_int_equal(reply.rejected_rows_count, AB_PRODUCE_REJECTED_MAX);
    ab_buffer_put(&bytes, "\x2a\x00", 2); /* one more, empty */
    assert_int_equal(ab_wire_produce_reply_decode(ab_buffer_view(&bytes), &arena, &reply), AB_INVALID);
    ab_buffer_fini(&bytes);
    ab_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec_decode_gives_back_what_was_encoded),
        cmocka_unit_test(test_codec_decode_truncations_and_bit_flips_are_survived),
        cmocka_unit_test(test_codec_encode_full_buffer_says_so),
        cmocka_unit_test(test_codec_decode_small_budget_is_full),
        cmocka_unit_test(test_codec_block_other_format_version_is_invalid),
        cmocka_unit_test(test_codec_produce_reply_lists_at_most_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
