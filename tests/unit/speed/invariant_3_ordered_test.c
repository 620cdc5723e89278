/* I3: records stand in the log in the order of their acknowledgement, chained; nothing that is not committed is visible
 * to a query. */
#include "common/log/log.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

#define SQL "SELECT n, total, least, most FROM everything"

static void stage(struct rig *rig, uint64_t producer, uint64_t sequence, uint64_t first, uint32_t rows_count,
    struct ab_staged *staged, struct ab_buffer *payload)
{
    struct ab_error error = {0};
    struct rig_block block = {
        .producer_id = producer, .sequence = sequence, .first_position = first, .rows_count = rows_count};
    rig_block_encode(&block, payload);
    assert_ok(ab_partition_stage(rig->partition, ab_buffer_view(payload), ab_time_now(), &rig->arena, staged, &error));
}

static uint64_t count_of(struct rig *rig)
{
    struct rig_totals totals = {0};
    struct ab_error error = {0};
    assert_ok(rig_query(rig, SQL, 0, &totals, &error));
    return totals.count;
}

static void test_invariant_3_staged_rows_are_not_visible(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct rig rig;
    struct ab_error error = {0};
    struct rig_options options = {0};
    struct ab_staged staged[2];
    struct ab_buffer payloads[2] = {0};
    assert_ok(rig_open(&rig, directory, &options, &error));
    stage(&rig, 1, 1, 1, 10, &staged[0], &payloads[0]);
    stage(&rig, 1, 2, 11, 10, &staged[1], &payloads[1]);
    assert_int_equal(count_of(&rig), 0);
    assert_int_equal(ab_partition_durable(rig.partition), 1); /* cut 0 alone */
    assert_int_equal(ab_partition_wait_applied(rig.partition, 2, ab_time_monotonic_us() + 1000), AB_TIMEOUT);
    assert_ok(ab_partition_commit(rig.partition, &error));
    assert_int_equal(ab_partition_durable(rig.partition), 3);
    ab_partition_apply(rig.partition, &staged[0], &rig.scratch);
    assert_int_equal(count_of(&rig), 10);
    ab_partition_apply(rig.partition, &staged[1], &rig.scratch);
    assert_int_equal(count_of(&rig), 20);
    assert_ok(ab_partition_wait_applied(rig.partition, 3, 0));
    for (int i = 0; i < 2; i++) {
        ab_buffer_fini(&payloads[i]);
    }
    rig_close(&rig);
    scratch_remove(directory);
}

/* Walks the log: offsets without gaps, append times strictly rising, chained (the reader checks), blocks in the order
 * sent. */
static void walk(struct rig *rig, uint64_t blocks_count)
{
    struct ab_error error = {0};
    struct ab_log_reader *reader = NULL;
    struct ab_record record;
    ab_time_us before = 0;
    uint64_t offset = 0;
    uint64_t positions = 0;
    struct ab_arena arena = {0};
    assert_ok(ab_log_reader_open(
        ab_partition_log_directory(rig->partition), 0, ab_partition_durable(rig->partition), &reader, &error));
    while (ab_log_reader_next(reader, &record, &error) == AB_OK) {
        assert_int_equal(record.header.offset, offset++);
        assert_true(record.header.append_time_us > before);
        before = record.header.append_time_us;
        if (record.header.kind == AB_RECORD_BLOCK) {
            struct ab_block block;
            ab_arena_reset(&arena);
            assert_ok(ab_block_decode(record.body, &arena, &block, &error));
            assert_int_equal(block.positions[0], positions + 1);
            positions = block.mark.last_position;
            blocks_count--;
        }
    }
    assert_int_equal(blocks_count, 0);
    ab_arena_fini(&arena);
    ab_log_reader_close(reader);
}

static void test_invariant_3_log_holds_blocks_in_the_order_of_acknowledgement(void **state)
{
    (void)state;
    char *directory = scratch_make();
    struct rig rig;
    struct ab_error error = {0};
    struct rig_options options = {0};
    assert_ok(rig_open(&rig, directory, &options, &error));
    for (uint64_t i = 0; i < 30; i++) {
        struct ab_staged staged;
        struct ab_buffer payload = {0};
        ab_arena_reset(&rig.arena);
        stage(&rig, 1 + i % 3, 1 + i / 3, 1 + i * 5, 5, &staged, &payload);
        if (i == 20) {
            ab_file_fault_set(0, 1, AB_NO_SPACE);
            assert_int_equal(ab_partition_commit(rig.partition, &error), AB_NO_SPACE);
            ab_file_fault_clear();
            uint64_t refused = staged.outcome.offset;
            ab_buffer_clear(&payload);
            stage(&rig, 1 + i % 3, 1 + i / 3, 1 + i * 5, 5, &staged, &payload);
            assert_int_equal(staged.outcome.offset, refused); /* the refused record never existed */
        }
        assert_ok(ab_partition_commit(rig.partition, &error));
        ab_partition_apply(rig.partition, &staged, &rig.scratch);
        ab_buffer_fini(&payload);
    }
    walk(&rig, 30);
    assert_int_equal(count_of(&rig), 150);
    rig_close(&rig);
    assert_ok(rig_open(&rig, directory, &options, &error));
    walk(&rig, 30);
    assert_int_equal(count_of(&rig), 150);
    rig_close(&rig);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invariant_3_staged_rows_are_not_visible),
        cmocka_unit_test(test_invariant_3_log_holds_blocks_in_the_order_of_acknowledgement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
