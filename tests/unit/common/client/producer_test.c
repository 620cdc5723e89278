/* Producers: which blocks arrive, with which sequences and positions, and what becomes of rows that have no place. */
#include "tests/unit/common/client/rows.h"

#include "common/base/hash.h"
#include "common/base/time.h"
#include "common/block/key.h"

/* Every row of a block belongs to its partition. */
static void assert_rows_belong(const struct ab_block *block, uint32_t partitions_count)
{
    const struct ab_column *keys = ab_block_find(block, bytes_of("k"));
    struct ab_buffer key = {0};
    assert_non_null(keys);
    for (uint32_t row = 0; row < block->rows_count; row++) {
        struct ab_value value = ab_column_value(keys, row);
        ab_buffer_clear(&key);
        ab_key_put(&key, &value);
        assert_int_equal(ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key)) % partitions_count, block->partition);
    }
    ab_buffer_fini(&key);
}

static void test_producer_blocks_carry_partition_sequence_and_positions(void **state)
{
    (void)state;
    struct rows *rows = rows_open(4, &(struct anabranch_producer_options){.source = "file", .block_rows = 50});
    uint64_t last_sequence[4] = {0};
    uint64_t last_position[4] = {0};
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_int_equal(row_append(rows->producer, i, 3 * i), ANABRANCH_OK);
    }
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    for (size_t b = 0; b < rows->fake.blocks_count; b++) {
        const struct ab_block *block = &rows->fake.blocks[b].block;
        assert_true(ab_bytes_equal(block->stream, bytes_of("s")));
        assert_int_equal(block->sequence, ++last_sequence[block->partition]);
        assert_rows_belong(block, 4);
        assert_true(ab_bytes_equal(block->mark.source, bytes_of("file")));
        assert_int_equal(block->mark.first_position, block->positions[0]);
        assert_int_equal(block->mark.last_position, block->positions[block->rows_count - 1]);
        for (uint32_t row = 0; row < block->rows_count; row++) {
            assert_true(block->positions[row] > last_position[block->partition]);
            assert_int_equal(
                ab_column_value(ab_block_find(block, bytes_of("n")), row).bigint * 3, block->positions[row]);
            last_position[block->partition] = block->positions[row];
        }
    }
    assert_int_equal(fake_rows_taken(&rows->fake), 1000);
    assert_int_equal(counts_of(rows).accepted, 1000);
    rows_close(rows);
}

static void test_producer_two_of_one_client_do_not_mix_their_answers(void **state)
{
    (void)state;
    struct rows *rows = rows_open(2, &(struct anabranch_producer_options){.block_rows = 10});
    struct anabranch_producer *other = NULL;
    struct anabranch_producer_options options = {.stream = "s", .block_rows = 7};
    struct anabranch_counts counts;
    assert_int_equal(anabranch_producer_open(rows->client, &options, &other), ANABRANCH_OK);
    for (uint64_t i = 1; i <= 500; i++) {
        assert_int_equal(row_append(rows->producer, i, 0), ANABRANCH_OK);
        assert_int_equal(row_append(other, i, 0), ANABRANCH_OK);
    }
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    assert_int_equal(counts_of(rows).accepted, 500);
    assert_int_equal(anabranch_flush(other), ANABRANCH_OK);
    anabranch_producer_counts(other, &counts);
    assert_int_equal(counts.accepted, 500);
    assert_int_equal(anabranch_producer_close(other), ANABRANCH_OK);
    assert_int_equal(fake_rows_taken(&rows->fake), 1000);
    rows_close(rows);
}

static void test_producer_drops_rows_that_were_counted_before(void **state)
{
    (void)state;
    struct rows *rows = ab_new(struct rows);
    fake_init(&rows->fake, 1);
    rows->fake.marks = "{\"marks\":[{\"partition\":0,\"last_position\":\"40\",\"byte_offset\":\"4000\","
                       "\"prefix_hash\":\"000102030405060708090a0b0c0d0e0f\"}]}";
    producer_open(rows, &(struct anabranch_producer_options){.source = "file"});
    struct anabranch_source_mark mark;
    assert_true(anabranch_source_mark_at(rows->producer, 0, &mark));
    assert_false(anabranch_source_mark_at(rows->producer, 1, &mark));
    assert_int_equal(mark.last_position, 40);
    assert_int_equal(mark.byte_offset, 4000);
    for (uint64_t i = 1; i <= 100; i++) {
        assert_int_equal(row_append(rows->producer, i, i), ANABRANCH_OK);
    }
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    assert_int_equal(counts_of(rows).appended, 100);
    assert_int_equal(counts_of(rows).duplicates, 40);
    assert_int_equal(counts_of(rows).accepted, 60);
    assert_int_equal(fake_rows_taken(&rows->fake), 60);
    rows_close(rows);
}

static void test_producer_open_malformed_marks_is_refused(void **state)
{
    (void)state;
    static const char *const answers[] = {"", "{", "{\"marks\":[{}]}", "{\"marks\":[{\"partition\":7}]}",
        "{\"marks\":[{\"partition\":0,\"last_position\":\"1\",\"prefix_hash\":\"zz\"}]}"};
    struct rows *rows = ab_new(struct rows);
    fake_init(&rows->fake, 1);
    rows->client = fake_client(&rows->fake, 5000);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct anabranch_producer_options options = {.stream = "s", .source = "file"};
        fake_sync(&rows->fake);
        rows->fake.marks = answers[i];
        fake_sync(&rows->fake);
        assert_int_not_equal(anabranch_producer_open(rows->client, &options, &rows->producer), ANABRANCH_OK);
        assert_null(rows->producer);
        assert_true(anabranch_last_error(rows->client)[0] != 0);
    }
    rows_close(rows);
}

static void test_producer_open_unknown_stream_is_refused(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){0});
    struct anabranch_producer *none = NULL;
    struct anabranch_producer_options options = {.stream = "nothing"};
    assert_int_equal(anabranch_producer_open(rows->client, &options, &none), ANABRANCH_DEFINITELY_NOT);
    assert_non_null(strstr(anabranch_last_error(rows->client), "nothing"));
    assert_int_equal(anabranch_producer_open(NULL, &options, &none), ANABRANCH_USAGE);
    options.stream = NULL;
    assert_int_equal(anabranch_producer_open(rows->client, &options, &none), ANABRANCH_USAGE);
    assert_null(none);
    rows_close(rows);
}

static void test_producer_raw_rows_are_cleaned_and_cut(void **state)
{
    (void)state;
    struct rows *rows = rows_open(2, &(struct anabranch_producer_options){.source = "file"});
    char *large = ab_new_bytes(200000);
    memset(large, 'a', 65535);
    for (size_t i = 65535; i + 1 < 200000; i += 2) {
        memcpy(large + i, "\xc3\xa9", 2); /* the 65,536th byte is the first of two */
    }
    assert_int_equal(anabranch_append_raw(rows->producer, 1, "a\xff\xc3\xa9\xc3", 5, "no \xe2\x82 end"), ANABRANCH_OK);
    assert_int_equal(anabranch_append_raw(rows->producer, 2, large, 199999, "large"), ANABRANCH_OK);
    memset(large, 0xff, 200000);
    assert_int_equal(anabranch_append_raw(rows->producer, 3, large, 200000, NULL), ANABRANCH_OK);
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    ab_delete(large);
    assert_int_equal(rows->fake.blocks_count, 1);
    const struct ab_block *block = &rows->fake.blocks[0].block;
    assert_true(block->is_raw);
    assert_int_equal(block->rows_count, 3);
    assert_true(ab_bytes_equal(fake_text(block, "raw", 0), bytes_of("a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd")));
    assert_true(ab_bytes_equal(fake_text(block, "reason", 0), bytes_of("no \xef\xbf\xbd\xef\xbf\xbd end")));
    assert_int_equal(fake_text(block, "raw", 1).bytes, 65535);
    assert_true(fake_text(block, "raw", 2).bytes > 65000 && fake_text(block, "raw", 2).bytes <= 65536);
    rows_close(rows);
}

static void test_producer_row_without_its_key_becomes_raw(void **state)
{
    (void)state;
    struct rows *rows = rows_open(2, &(struct anabranch_producer_options){0});
    assert_int_equal(anabranch_set_bigint(rows->producer, COLUMN_N, 7), ANABRANCH_OK);
    assert_int_equal(anabranch_set_parsed(rows->producer, COLUMN_D, "1.50", 4), ANABRANCH_OK);
    assert_int_equal(anabranch_append(rows->producer, 0), ANABRANCH_OK);
    assert_int_equal(row_append(rows->producer, 1, 0), ANABRANCH_OK); /* nothing of the row before is left */
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    assert_int_equal(rows->fake.blocks_count, 2);
    for (size_t b = 0; b < 2; b++) {
        const struct ab_block *block = &rows->fake.blocks[b].block;
        if (block->is_raw) {
            assert_true(ab_bytes_equal(fake_text(block, "raw", 0), bytes_of(",,7,,1.50,")));
            assert_true(ab_bytes_equal(fake_text(block, "reason", 0), bytes_of("a partition key column is NULL")));
        } else {
            assert_true(ab_column_is_null(ab_block_find(block, bytes_of("d")), 0));
        }
    }
    rows_close(rows);
}

static void test_producer_row_too_large_for_a_block_becomes_raw(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){.source = "file"});
    size_t bytes = 9u << 20;
    char *large = ab_new_bytes(bytes);
    memset(large, 'x', bytes);
    assert_int_equal(row_append(rows->producer, 1, 1), ANABRANCH_OK);
    assert_int_equal(anabranch_set_text(rows->producer, COLUMN_K, large, bytes), ANABRANCH_OK);
    assert_int_equal(anabranch_append(rows->producer, 2), ANABRANCH_OK);
    assert_int_equal(anabranch_set_text(rows->producer, COLUMN_K, large, 3u << 20), ANABRANCH_OK);
    assert_int_equal(anabranch_append(rows->producer, 3), ANABRANCH_OK);
    assert_int_equal(row_append(rows->producer, 4, 4), ANABRANCH_OK);
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    ab_delete(large);
    assert_int_equal(counts_of(rows).accepted, 4);
    assert_true(rows->fake.blocks[1].block.is_raw);
    assert_non_null(strstr((const char *)fake_text(&rows->fake.blocks[1].block, "reason", 0).data, "larger than"));
    assert_false(rows->fake.blocks[2].block.is_raw);
    rows_close(rows);
}

static void test_producer_typed_and_raw_rows_of_a_source_keep_their_order(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){.source = "file"});
    uint64_t last = 0;
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(
            i % 3 == 0 ? anabranch_append_raw(rows->producer, i, "bad", 3, "bad") : row_append(rows->producer, i, i),
            ANABRANCH_OK);
    }
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    for (size_t b = 0; b < rows->fake.blocks_count; b++) {
        for (uint32_t row = 0; row < rows->fake.blocks[b].block.rows_count; row++) {
            assert_int_equal(rows->fake.blocks[b].block.positions[row], ++last);
        }
    }
    assert_int_equal(last, 20);
    rows_close(rows);
}

static void test_producer_position_that_does_not_rise_is_usage(void **state)
{
    (void)state;
    struct rows *rows = rows_open(2, &(struct anabranch_producer_options){.source = "file"});
    assert_int_equal(row_append(rows->producer, 1, 0), ANABRANCH_USAGE);
    assert_int_equal(row_append(rows->producer, 1, 5), ANABRANCH_OK);
    assert_int_equal(row_append(rows->producer, 2, 5), ANABRANCH_USAGE);
    assert_non_null(strstr(anabranch_last_error(rows->client), "does not rise above 5"));
    assert_int_equal(anabranch_append_raw(rows->producer, 4, "x", 1, "y"), ANABRANCH_USAGE);
    assert_int_equal(row_append(rows->producer, 3, 6), ANABRANCH_OK);
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    assert_int_equal(counts_of(rows).accepted, 2);
    assert_int_equal(counts_of(rows).appended, 2);
    rows_close(rows);
}

static void test_producer_setters_check_column_and_type(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){0});
    struct anabranch_producer *producer = rows->producer;
    enum anabranch_type type;
    uint8_t precision;
    uint8_t scale;
    assert_string_equal(anabranch_producer_column(producer, COLUMN_D, &type, &precision, &scale), "d");
    assert_int_equal(type, ANABRANCH_DECIMAL);
    assert_int_equal(precision, 10);
    assert_int_equal(scale, 2);
    assert_null(anabranch_producer_column(producer, 6, &type, &precision, &scale));
    assert_int_equal(anabranch_set_bigint(producer, COLUMN_K, 1), ANABRANCH_USAGE);
    assert_int_equal(anabranch_set_boolean(producer, 99, true), ANABRANCH_USAGE);
    assert_int_equal(anabranch_set_double(producer, COLUMN_N, 1), ANABRANCH_USAGE);
    assert_int_equal(anabranch_set_timestamp(producer, COLUMN_N, 1), ANABRANCH_USAGE);
    assert_int_equal(anabranch_set_text(producer, COLUMN_B, "t", 1), ANABRANCH_USAGE);
    assert_int_equal(anabranch_set_parsed(producer, 99, "t", 1), ANABRANCH_USAGE);
    anabranch_set_null(producer, 99);
    assert_int_equal(anabranch_set_text(producer, COLUMN_K, "\xff", 1), ANABRANCH_DEFINITELY_NOT);
    assert_int_equal(anabranch_set_parsed(producer, COLUMN_N, "12x", 3), ANABRANCH_DEFINITELY_NOT);
    assert_non_null(strstr(anabranch_last_error(rows->client), "column n: \"12x\" is not a BIGINT"));
    assert_int_equal(anabranch_set_parsed(producer, COLUMN_N, "99999999999999999999", 20), ANABRANCH_DEFINITELY_NOT);
    assert_non_null(strstr(anabranch_last_error(rows->client), "does not fit"));
    rows_close(rows);
}

static void test_producer_slow_rows_are_sent_when_they_have_lingered(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){.linger_ms = 50});
    assert_int_equal(row_append(rows->producer, 1, 0), ANABRANCH_OK);
    ab_time_sleep_us(100 * AB_US_PER_MS);
    assert_int_equal(row_append(rows->producer, 2, 0), ANABRANCH_OK); /* sends the first */
    for (int i = 0; i < 200 && fake_blocks_count(&rows->fake) < 1; i++) {
        ab_time_sleep_us(10 * AB_US_PER_MS);
        assert_int_equal(anabranch_poll(rows->producer), ANABRANCH_OK);
    }
    assert_true(fake_blocks_count(&rows->fake) >= 1);
    assert_int_equal(rows->fake.blocks[0].block.rows_count, 1);
    for (int i = 0; i < 200 && counts_of(rows).accepted < 2; i++) {
        ab_time_sleep_us(10 * AB_US_PER_MS);
        assert_int_equal(anabranch_poll(rows->producer), ANABRANCH_OK);
    }
    assert_int_equal(counts_of(rows).accepted, 2);
    rows_close(rows);
}

static void release_later(void *context)
{
    ab_time_sleep_us(400 * AB_US_PER_MS);
    fake_release(context);
}

static void test_producer_waits_while_its_memory_bound_is_reached(void **state)
{
    (void)state;
    enum { MEMORY = 64 << 10, ROWS = 20000 };
    struct rows *rows = rows_open(2, &(struct anabranch_producer_options){.block_rows = 100, .memory_bytes = MEMORY});
    struct ab_thread releaser = {0};
    uint64_t waited_at = 0;
    fake_otherwise(&rows->fake, FAKE_HOLD, AB_OK);
    ab_thread_start(&releaser, "releaser", release_later, &rows->fake);
    int64_t begun_us = ab_time_monotonic_us();
    for (uint64_t i = 1; i <= ROWS; i++) {
        assert_int_equal(row_append(rows->producer, i, 0), ANABRANCH_OK);
        if (waited_at == 0 && ab_time_monotonic_us() - begun_us > 200 * AB_US_PER_MS) {
            waited_at = i;
        }
    }
    ab_thread_join(&releaser);
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    assert_in_range(waited_at, 1, 5000); /* a row takes about 40 bytes */
    assert_int_equal(counts_of(rows).accepted, ROWS);
    assert_int_equal(fake_rows_taken(&rows->fake), ROWS);
    rows_close(rows);
}

struct rejected {
    unsigned count;
    uint64_t position;
    char reason[64];
};

static void on_rejected(uint64_t position, const char *reason, void *context)
{
    struct rejected *rejected = context;
    rejected->count++;
    rejected->position = position;
    snprintf(rejected->reason, sizeof rejected->reason, "%s", reason);
}

static void test_producer_tells_of_rejected_rows_by_their_number(void **state)
{
    (void)state;
    struct rows *rows = rows_open(2, &(struct anabranch_producer_options){0});
    struct rejected rejected = {0};
    rows->fake.rejected_row = 2;
    rows->fake.rejected_reason = "too small";
    anabranch_on_rejected(rows->producer, on_rejected, &rejected);
    for (uint64_t i = 1; i <= 8; i++) { /* an even number: one key, one partition; odd ones go elsewhere or to it */
        assert_int_equal(row_append(rows->producer, i % 2 == 0 ? 2 : 3, 0), ANABRANCH_OK);
    }
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    assert_int_equal(rejected.count, rows->fake.blocks_count);
    assert_string_equal(rejected.reason, "too small");
    if (rows->fake.blocks_count == 2) {
        assert_true(rejected.position == 5 || rejected.position == 6); /* the third odd or the third even row */
    } else {
        assert_int_equal(rejected.position, 3);
    }
    assert_int_equal(counts_of(rows).rejected, rejected.count);
    rows->fake.rejected_row = 4000000000u; /* a row that the block does not have is passed over */
    assert_int_equal(row_append(rows->producer, 1, 0), ANABRANCH_OK);
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    assert_int_equal(rejected.count, rows->fake.blocks_count - 1);
    rows_close(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_producer_blocks_carry_partition_sequence_and_positions),
        cmocka_unit_test(test_producer_two_of_one_client_do_not_mix_their_answers),
        cmocka_unit_test(test_producer_drops_rows_that_were_counted_before),
        cmocka_unit_test(test_producer_open_malformed_marks_is_refused),
        cmocka_unit_test(test_producer_open_unknown_stream_is_refused),
        cmocka_unit_test(test_producer_raw_rows_are_cleaned_and_cut),
        cmocka_unit_test(test_producer_row_without_its_key_becomes_raw),
        cmocka_unit_test(test_producer_row_too_large_for_a_block_becomes_raw),
        cmocka_unit_test(test_producer_typed_and_raw_rows_of_a_source_keep_their_order),
        cmocka_unit_test(test_producer_position_that_does_not_rise_is_usage),
        cmocka_unit_test(test_producer_setters_check_column_and_type),
        cmocka_unit_test(test_producer_slow_rows_are_sent_when_they_have_lingered),
        cmocka_unit_test(test_producer_waits_while_its_memory_bound_is_reached),
        cmocka_unit_test(test_producer_tells_of_rejected_rows_by_their_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
