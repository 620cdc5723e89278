/* The bytes of blocks, envelopes, payloads and keys: what producers and readers in any language meet. */
#include "common/block/block.h"
#include "common/block/key.h"
#include "common/wire/envelope.h"
#include "common/wire/replica_message.h"
#include "tests/golden/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define COLUMNS_COUNT 6
#define ROWS_COUNT 9

static const struct ab_type types[COLUMNS_COUNT] = {{.kind = AB_TYPE_BOOLEAN}, {.kind = AB_TYPE_BIGINT},
    {.kind = AB_TYPE_DOUBLE}, {.kind = AB_TYPE_DECIMAL, .precision = 20, .scale = 3}, {.kind = AB_TYPE_TEXT},
    {.kind = AB_TYPE_TIMESTAMP}};
static const char *const names[COLUMNS_COUNT] = {"boolean", "bigint", "double", "decimal", "text", "timestamp"};
static const char *const texts[] = {"UA", "", "Zürich", "UA"};

static struct ab_value value_at(uint32_t column, uint32_t row)
{
    struct ab_value value = {.type = types[column], .is_null = row == column};
    switch ((enum ab_type_kind)types[column].kind) {
    case AB_TYPE_BOOLEAN:
        value.boolean = row % 2 == 1;
        break;
    case AB_TYPE_BIGINT:
        value.bigint = row % 2 == 0 ? -(int64_t)row : INT64_MAX - row;
        break;
    case AB_TYPE_DOUBLE:
        value.real = row == 8 ? __builtin_nan("") : row * 0.1 - 0.2;
        break;
    case AB_TYPE_DECIMAL:
        value.decimal = ((ab_int128)row - 4) * 1000000007 * 1000000009;
        break;
    case AB_TYPE_TEXT:
        value.text = ab_bytes_of_text(texts[row % 4]);
        break;
    case AB_TYPE_TIMESTAMP:
        value.bigint = INT64_C(1370063820123456) + row;
        break;
    }
    return value;
}

static void test_golden_block(void **state)
{
    (void)state;
    static const uint64_t positions[ROWS_COUNT] = {2, 3, 5, 8, 13, 21, 34, 55, UINT64_C(1) << 32};
    struct ab_column_builder *builders[COLUMNS_COUNT];
    struct ab_block_column columns[COLUMNS_COUNT];
    struct ab_buffer bytes = {0};
    for (uint32_t i = 0; i < COLUMNS_COUNT; i++) {
        builders[i] = ab_column_builder_create(types[i], ROWS_COUNT, NULL);
        for (uint32_t row = 0; row < ROWS_COUNT; row++) {
            struct ab_value value = value_at(i, row);
            assert_int_equal(ab_column_builder_add(builders[i], &value), AB_OK);
        }
        columns[i].name = ab_bytes_of_text(names[i]);
        ab_column_builder_view(builders[i], &columns[i].column);
    }
    struct ab_block block = {.stream = ab_bytes_of_text("flights"),
        .producer_id = UINT64_C(0x0123456789abcdef),
        .sequence = 300,
        .partition = 3,
        .rows_count = ROWS_COUNT,
        .columns_count = COLUMNS_COUNT,
        .columns = columns,
        .positions = positions,
        .mark = {.source = ab_bytes_of_text("flights.csv"),
            .first_position = 2,
            .last_position = (UINT64_C(1) << 32) + 1,
            .byte_offset = 987654321,
            .prefix_hash = {.low = UINT64_C(0x1111222233334444), .high = 5}}};
    assert_int_equal(ab_block_encode(&block, AB_BLOCK_PLAIN, &bytes), AB_OK);
    golden_expect("block.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
    for (uint32_t i = 0; i < COLUMNS_COUNT; i++) {
        ab_column_builder_destroy(builders[i]);
    }
}

/* What an LZ4 encoder writes is its own affair; what an earlier one wrote must stay readable. */
static void test_golden_block_lz4_is_readable(void **state)
{
    (void)state;
    struct ab_buffer bytes = {0};
    struct ab_arena arena = {0};
    struct ab_block block;
    golden_read("block_lz4.bin", &bytes);
    assert_int_equal(ab_block_decode(ab_buffer_view(&bytes), &arena, &block, NULL), AB_OK);
    assert_int_equal(block.rows_count, 200);
    const struct ab_column *column = ab_block_find(&block, ab_bytes_of_text("n"));
    assert_non_null(column);
    for (uint32_t row = 0; row < block.rows_count; row++) {
        assert_int_equal(ab_column_value(column, row).bigint, row / 10);
    }
    ab_arena_fini(&arena);
    ab_buffer_fini(&bytes);
}

static void test_golden_envelope(void **state)
{
    (void)state;
    struct ab_envelope envelope = {.protocol = AB_PROTOCOL_VERSION,
        .cluster_id = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        .request_id = UINT64_C(0xfedcba9876543210),
        .deadline_ms = 1500,
        .verb = AB_VERB_STATE_QUERY,
        .node = "node-1",
        .incarnation = 77,
        .partition = 12,
        .leader_epoch = 3,
        .previous_offset = 1u << 20,
        .previous_chain = {.low = 5, .high = 6},
        .status = AB_STALE,
        .error = "span 3 is gone"};
    struct ab_buffer bytes = {0};
    ab_envelope_encode(&envelope, &bytes);
    golden_expect("envelope.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_payloads(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {7, 0, 300};
    static const uint32_t partitions[] = {0, 2, 900};
    static const struct ab_wire_rejected rejected[] = {{.row = 4, .reason = {(const uint8_t *)"NULL", 4}}};
    static const struct ab_bytes warnings[] = {{(const uint8_t *)"overflow", 8}};
    struct ab_wire_column column = {
        .name = ab_bytes_of_text("n"), .type_kind = AB_TYPE_BOOLEAN, .values = ab_bytes_of("\0\1", 2)};
    struct ab_wire_produce_reply produce = {.offset = 5,
        .accepted = 9,
        .rejected = 1,
        .rejected_rows = rejected,
        .rejected_rows_count = 1,
        .is_repeat = true};
    struct ab_wire_query query = {.sql = ab_bytes_of_text("SELECT n FROM v"), .rows_max = 10};
    struct ab_wire_query_reply reply = {.columns = &column,
        .columns_count = 1,
        .rows_count = 2,
        .warnings = warnings,
        .warnings_count = 1,
        .token = {.cut = 3,
            .version = ab_bytes_of_text("d/3-1"),
            .offsets = offsets,
            .offsets_count = 3,
            .horizon_us = -1,
            .as_of_us = 99,
            .is_complete = true}};
    struct ab_wire_state_query state_query = {.sql = ab_bytes_of_text("SELECT n FROM v"),
        .catalog_hash = {.low = 1, .high = 2},
        .cut = 3,
        .partitions = partitions,
        .partitions_count = 3};
    struct ab_wire_state_reply state_reply = {.rows = ab_bytes_of("\1\2\3", 3),
        .partitions = partitions,
        .offsets = offsets,
        .partitions_count = 3,
        .as_of_us = 99};
    struct ab_buffer bytes = {0};
    ab_wire_produce_reply_encode(&produce, &bytes);
    ab_wire_query_encode(&query, &bytes);
    ab_wire_query_reply_encode(&reply, &bytes);
    ab_wire_state_query_encode(&state_query, &bytes);
    ab_wire_state_reply_encode(&state_reply, &bytes);
    golden_expect("payloads.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_replica_messages(void **state)
{
    (void)state;
    struct ab_buffer bytes = {0};
    for (int kind = AB_REPLICA_EPOCH_ASK; kind <= AB_REPLICA_REPORT; kind++) {
        struct ab_replica_message message = {.kind = (enum ab_replica_message_kind)kind,
            .status = kind == AB_REPLICA_EPOCH_ANSWER ? AB_REPLICA_OUT_OF_RANGE : AB_REPLICA_OK,
            .partition = 12,
            .from = 1,
            .to = 300,
            .from_incarnation = {.low = 1, .high = 2},
            .from_disk_id = {.low = UINT64_C(0x1111222233334444), .high = 5},
            .leader_epoch = 3,
            .request = UINT64_C(0xfedcba9876543210),
            .epoch = 2,
            .offset = 1u << 20,
            .durable = 99,
            .high_watermark = 98,
            .log_start = 97,
            .bytes_max = 1u << 20,
            .chain = {.low = 5, .high = 6},
            .records = ab_bytes_of_text(kind == AB_REPLICA_FETCHED ? "records" : "")};
        struct ab_buffer encoded = {0};
        ab_replica_message_encode(&message, &encoded);
        ab_buffer_put_blob(&bytes, ab_buffer_view(&encoded));
        ab_buffer_fini(&encoded);
    }
    golden_expect("replica_messages.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_install_messages(void **state)
{
    (void)state;
    struct ab_buffer bytes = {0};
    for (int kind = AB_REPLICA_INSTALL_ASK; kind <= AB_REPLICA_INSTALL_PART; kind++) {
        bool is_part = kind == AB_REPLICA_INSTALL_PART;
        struct ab_replica_message message = {.kind = (enum ab_replica_message_kind)kind,
            .partition = 12,
            .from = 1,
            .to = 300,
            .from_incarnation = {.low = 1, .high = 2},
            .leader_epoch = 3,
            .request = UINT64_C(0xfedcba9876543210),
            .offset = 1u << 20,
            .log_start = is_part ? 97 : 0,
            .bytes_max = is_part ? 0 : 1u << 20,
            .bytes_total = is_part ? UINT64_C(1) << 33 : 0,
            .chain = {.low = 5, .high = 6},
            .records = ab_bytes_of_text(is_part ? "tables" : "")};
        struct ab_buffer encoded = {0};
        ab_replica_message_encode(&message, &encoded);
        ab_buffer_put_blob(&bytes, ab_buffer_view(&encoded));
        ab_buffer_fini(&encoded);
    }
    golden_expect("install_messages.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_keys(void **state)
{
    (void)state;
    struct ab_buffer bytes = {0};
    for (uint32_t i = 0; i < COLUMNS_COUNT; i++) {
        for (uint32_t row = 0; row < ROWS_COUNT; row++) {
            struct ab_value value = value_at(i, row);
            ab_key_put(&bytes, &value);
        }
    }
    ab_key_put_i64(&bytes, -1);
    golden_expect("keys.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_block),
        cmocka_unit_test(test_golden_block_lz4_is_readable),
        cmocka_unit_test(test_golden_envelope),
        cmocka_unit_test(test_golden_payloads),
        cmocka_unit_test(test_golden_replica_messages),
        cmocka_unit_test(test_golden_install_messages),
        cmocka_unit_test(test_golden_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
