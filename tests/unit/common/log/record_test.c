#include "common/log/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* ---- fixture ---- */

static struct ab_record sample(void)
{
    return (struct ab_record){
        .header = {.kind = AB_RECORD_BLOCK,
            .cluster_id = "0123456789abcdef",
            .partition = 5,
            .leader_epoch = 6,
            .offset = 1234567890123,
            .append_time_us = -5,
            .durable_offset = 1234567890000,
            .catalog_version = 9,
            .rows_count = 100,
            .rejected_count = 3,
            .duplicate_count = 2,
            .previous_chain = {.low = 11, .high = 12}},
        .verdict = ab_bytes_of_text("verdict"),
        .body = ab_bytes_of_text("the body of the record"),
    };
}

/* A copy of exactly these bytes on the heap, so that a sanitizer sees any read past them. */
static struct ab_bytes heap_copy(struct ab_bytes bytes)
{
    uint8_t *copy = ab_new_bytes(bytes.bytes == 0 ? 1 : bytes.bytes);
    if (bytes.bytes > 0) {
        memcpy(copy, bytes.data, bytes.bytes);
    }
    return ab_bytes_of(copy, bytes.bytes);
}

static void heap_free(struct ab_bytes bytes)
{
    ab_delete((void *)(uintptr_t)bytes.data);
}

/* ---- records ---- */

static void test_record_decode_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    struct ab_record record = sample();
    ab_record_encode(&record, &buffer);
    struct ab_record read;
    assert_int_equal(ab_record_decode(ab_buffer_view(&buffer), &read), AB_OK);
    assert_int_equal(buffer.bytes, ab_record_bytes(&record.header));
    assert_int_equal(buffer.bytes % 8, 0);
    assert_int_equal(read.header.offset, record.header.offset);
    assert_int_equal(read.header.append_time_us, -5);
    assert_int_equal(read.header.durable_offset, record.header.durable_offset);
    assert_int_equal(read.header.leader_epoch, 6);
    assert_int_equal(read.header.rejected_count, 3);
    assert_int_equal(read.header.duplicate_count, 2);
    assert_memory_equal(read.header.cluster_id, record.header.cluster_id, 16);
    assert_true(ab_hash128_equal(read.header.previous_chain, record.header.previous_chain));
    assert_true(ab_hash128_equal(read.chain, record.chain));
    assert_true(ab_bytes_equal(read.verdict, record.verdict));
    assert_true(ab_bytes_equal(read.body, record.body));
    ab_buffer_fini(&buffer);
}

static void test_record_decode_empty_body_and_verdict(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    struct ab_record record = {.header = {.kind = AB_RECORD_EPOCH_START}};
    ab_record_encode(&record, &buffer);
    assert_int_equal(buffer.bytes, AB_RECORD_HEADER_BYTES);
    struct ab_record read;
    assert_int_equal(ab_record_decode(ab_buffer_view(&buffer), &read), AB_OK);
    assert_int_equal(read.body.bytes + read.verdict.bytes, 0);
    ab_buffer_fini(&buffer);
}

static void test_record_decode_every_truncation_ends(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    struct ab_record record = sample();
    ab_record_encode(&record, &buffer);
    for (size_t bytes = 0; bytes < buffer.bytes; bytes++) {
        struct ab_bytes part = heap_copy(ab_bytes_of(buffer.data, bytes));
        struct ab_record read;
        assert_int_equal(ab_record_decode(part, &read), AB_END);
        heap_free(part);
    }
    ab_buffer_fini(&buffer);
}

static void test_record_decode_every_bit_flip_is_corrupt(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    struct ab_record record = sample();
    ab_record_encode(&record, &buffer);
    for (size_t bit = 0; bit < buffer.bytes * 8; bit++) {
        buffer.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct ab_record read;
        assert_int_equal(ab_record_decode(ab_buffer_view(&buffer), &read), AB_CORRUPT);
        buffer.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ab_buffer_fini(&buffer);
}

/* Puts the header's own checksum right again after a change. */
static void header_reseal(uint8_t *header)
{
    uint64_t checksum = ab_hash64(AB_HASH_RECORD, ab_bytes_of(header, 120));
    for (int i = 0; i < 8; i++) {
        header[120 + i] = (uint8_t)(checksum >> 8 * i);
    }
}

static void test_record_decode_newer_version_is_unsupported(void **state)
{
    (void)state;
    struct ab_buffer buffer = {0};
    struct ab_record record = sample();
    ab_record_encode(&record, &buffer);
    buffer.data[4] = 2;
    header_reseal(buffer.data);
    struct ab_record read;
    assert_int_equal(ab_record_decode(ab_buffer_view(&buffer), &read), AB_UNSUPPORTED);
    ab_buffer_fini(&buffer);
}

static void test_record_decode_sealed_nonsense_is_corrupt(void **state)
{
    (void)state;
    /* Place of a byte, and a value that a valid header never has there. */
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {{6, 0}, {6, 4}, {7, 1}, {36, 1}, {92, 1}, {11, 0xFF}, {15, 0x7F}, {84, 99}, {91, 0xFF}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ab_buffer buffer = {0};
        struct ab_record record = sample();
        ab_record_encode(&record, &buffer);
        buffer.data[cases[i].at] = cases[i].value;
        header_reseal(buffer.data);
        struct ab_record read;
        assert_int_equal(ab_record_decode(ab_buffer_view(&buffer), &read), AB_CORRUPT);
        ab_buffer_fini(&buffer);
    }
}

static void test_record_encode_full_buffer_adds_nothing(void **state)
{
    (void)state;
    struct ab_buffer buffer;
    ab_buffer_init(&buffer, NULL, 100);
    struct ab_record record = sample();
    ab_record_encode(&record, &buffer);
    assert_true(buffer.has_failed);
    assert_int_equal(buffer.bytes, 0);
    ab_buffer_fini(&buffer);
}

/* ---- cuts ---- */

static void test_cut_decode_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct ab_cut cut = {.cut = 8,
        .time_us = 9,
        .horizon_us = -10,
        .catalog_version = 11,
        .catalog_hash = {.low = 12, .high = 13},
        .catalog_text = ab_bytes_of_text("CREATE STREAM s (a TEXT)")};
    struct ab_buffer buffer = {0};
    ab_cut_encode(&cut, &buffer);
    struct ab_cut read;
    assert_int_equal(ab_cut_decode(ab_buffer_view(&buffer), &read), AB_OK);
    assert_int_equal(read.cut, 8);
    assert_int_equal(read.time_us, 9);
    assert_int_equal(read.horizon_us, -10);
    assert_int_equal(read.catalog_version, 11);
    assert_true(ab_hash128_equal(read.catalog_hash, cut.catalog_hash));
    assert_true(ab_bytes_equal(read.catalog_text, cut.catalog_text));
    for (size_t bytes = 0; bytes < buffer.bytes; bytes++) {
        struct ab_bytes part = heap_copy(ab_bytes_of(buffer.data, bytes));
        assert_int_equal(ab_cut_decode(part, &read), AB_CORRUPT);
        heap_free(part);
    }
    ab_buffer_put_u8(&buffer, 0);
    assert_int_equal(ab_cut_decode(ab_buffer_view(&buffer), &read), AB_CORRUPT);
    ab_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_decode_gives_back_what_was_encoded),
        cmocka_unit_test(test_record_decode_empty_body_and_verdict),
        cmocka_unit_test(test_record_decode_every_truncation_ends),
        cmocka_unit_test(test_record_decode_every_bit_flip_is_corrupt),
        cmocka_unit_test(test_record_decode_newer_version_is_unsupported),
        cmocka_unit_test(test_record_decode_sealed_nonsense_is_corrupt),
        cmocka_unit_test(test_record_encode_full_buffer_adds_nothing),
        cmocka_unit_test(test_cut_decode_gives_back_what_was_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
