/* The bytes of log records, verdicts and cuts: what is on every disk. */
#include "common/log/record.h"
#include "common/log/watermark.h"
#include "tests/golden/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void verdict_sample(struct ab_buffer *out)
{
    struct ab_verdict_builder builder;
    ab_verdict_builder_init(&builder, NULL);
    ab_verdict_builder_add(&builder, 0, AB_DECISION_REJECTED, ab_bytes_of_text("dep_delay: NULL"));
    ab_verdict_builder_add(&builder, 1, AB_DECISION_DUPLICATE, (struct ab_bytes){0});
    ab_verdict_builder_add(&builder, 300, AB_DECISION_REJECTED, ab_bytes_of_text("Zürich"));
    ab_verdict_builder_encode(&builder, out);
    ab_verdict_builder_fini(&builder);
}

static void test_golden_verdict(void **state)
{
    (void)state;
    struct ab_buffer bytes = {0};
    verdict_sample(&bytes);
    golden_expect("verdict.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_cut(void **state)
{
    (void)state;
    struct ab_cut cut = {.cut = 5,
        .time_us = INT64_C(1370063820123456),
        .horizon_us = INT64_C(1370000000000000),
        .catalog_version = 7,
        .catalog_hash = {.low = UINT64_C(0x0123456789abcdef), .high = UINT64_C(0xfedcba9876543210)},
        .catalog_text = ab_bytes_of_text("CREATE STREAM s (k TEXT, PARTITION KEY (k));")};
    struct ab_buffer bytes = {0};
    ab_cut_encode(&cut, &bytes);
    golden_expect("cut.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

static void test_golden_records(void **state)
{
    (void)state;
    struct ab_buffer verdict = {0};
    struct ab_buffer bytes = {0};
    verdict_sample(&verdict);
    struct ab_record block = {.header = {.kind = AB_RECORD_BLOCK,
                                  .cluster_id = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                  .partition = 12,
                                  .leader_epoch = 3,
                                  .offset = UINT64_C(1) << 33,
                                  .append_time_us = INT64_C(1370063820123456),
                                  .durable_offset = (UINT64_C(1) << 33) - 4,
                                  .catalog_version = 7,
                                  .rows_count = 301,
                                  .rejected_count = 2,
                                  .duplicate_count = 1,
                                  .previous_chain = {.low = 5, .high = 6}},
        .verdict = ab_buffer_view(&verdict),
        .body = ab_bytes_of_text("not a block, but its bytes")};
    ab_record_encode(&block, &bytes);
    struct ab_record start = {.header = {.kind = AB_RECORD_EPOCH_START, .previous_chain = block.chain}};
    ab_record_encode(&start, &bytes);
    golden_expect("record.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&verdict);
    ab_buffer_fini(&bytes);
}

static void test_golden_records_are_readable(void **state)
{
    (void)state;
    struct ab_buffer bytes = {0};
    struct ab_record first;
    struct ab_record second;
    golden_read("record.bin", &bytes);
    struct ab_bytes all = ab_buffer_view(&bytes);
    assert_int_equal(ab_record_decode(all, &first), AB_OK);
    assert_int_equal(first.header.offset, UINT64_C(1) << 33);
    size_t whole = ab_record_bytes(&first.header);
    assert_int_equal(ab_record_decode(ab_bytes_of(all.data + whole, all.bytes - whole), &second), AB_OK);
    assert_true(ab_hash128_equal(second.header.previous_chain, first.chain));
    ab_buffer_fini(&bytes);
}

static void test_golden_watermark(void **state)
{
    (void)state;
    struct ab_log_options options = {
        .cluster_id = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, .partition = 12};
    struct ab_watermark watermark = {.durable_offset = (UINT64_C(1) << 33) + 5,
        .damaged_until = (UINT64_C(1) << 33) + 9,
        .begin = {.is_known = true, .offset = 77, .epoch = 3, .chain = {.low = 11, .high = 12}}};
    struct ab_buffer bytes = {0};
    ab_watermark_encode(&watermark, &options, &bytes);
    watermark = (struct ab_watermark){.begin = {.is_known = true, .offset = 1000, .epoch = 4}, .is_resetting = true};
    ab_watermark_encode(&watermark, &options, &bytes);
    golden_expect("watermark.bin", ab_buffer_view(&bytes));
    ab_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_verdict),
        cmocka_unit_test(test_golden_cut),
        cmocka_unit_test(test_golden_records),
        cmocka_unit_test(test_golden_watermark),
        cmocka_unit_test(test_golden_records_are_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
