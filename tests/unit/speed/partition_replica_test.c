/* One partition as a replica: what is appended and not committed may still go, and leaves nothing behind. */
#include "speed/partition_private.h"
#include "common/store/operand_file.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

#define SQL "SELECT n, total, least, most FROM by_user"
#define ROWS 10u

struct fixture {
    char *directory;
    struct rig rig;
};

static void open_again(struct fixture *fixture)
{
    struct ab_error error = {0};
    struct rig_options options = {.is_replicated = true};
    if (fixture->rig.directory != NULL) {
        rig_close(&fixture->rig);
    }
    if (rig_open(&fixture->rig, fixture->directory, &options, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
}

/* Everything written is synced, committed and applied. */
static void commit_all(struct fixture *fixture)
{
    struct ab_error error = {0};
    struct ab_partition *partition = fixture->rig.partition;
    ab_partition_sync(partition);
    ab_partition_set_committed(partition, ab_partition_durable(partition));
    assert_ok(ab_partition_apply_log(partition, ab_partition_committed(partition), &fixture->rig.scratch, &error));
}

static void lead(struct fixture *fixture, uint64_t epoch)
{
    struct ab_error error = {0};
    assert_ok(ab_partition_begin_epoch(fixture->rig.partition, epoch, &error));
    commit_all(fixture);
}

static int setup(void **state)
{
    struct fixture *fixture = ab_new(struct fixture);
    fixture->directory = scratch_make();
    open_again(fixture);
    lead(fixture, 1);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    rig_close(&fixture->rig);
    scratch_remove(fixture->directory);
    ab_delete(fixture);
    return 0;
}

/* Stages and writes the block of a sequence; its rows follow those of the one before. */
static ab_err block_write(struct fixture *fixture, uint64_t sequence, struct ab_staged *staged)
{
    struct ab_error error = {0};
    struct ab_buffer payload = {0};
    struct rig_block block = {
        .producer_id = 7, .sequence = sequence, .first_position = (sequence - 1) * ROWS + 1, .rows_count = ROWS};
    rig_block_encode(&block, &payload);
    ab_arena_reset(&fixture->rig.arena);
    ab_err err = ab_partition_stage(
        fixture->rig.partition, ab_buffer_view(&payload), ab_time_now(), &fixture->rig.arena, staged, &error);
    ab_buffer_fini(&payload);
    return err == AB_OK ? ab_partition_write(fixture->rig.partition, &error) : err;
}

static void blocks_commit(struct fixture *fixture, uint64_t first, uint64_t last)
{
    struct ab_staged staged;
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        assert_ok(block_write(fixture, sequence, &staged));
        assert_false(staged.is_repeat);
    }
    commit_all(fixture);
}

static void expect_rows(struct fixture *fixture, uint64_t last)
{
    struct ab_error error = {0};
    struct rig_totals totals = {0};
    struct rig_totals expected = {0};
    assert_ok(rig_query(&fixture->rig, SQL, 0, &totals, &error));
    rig_expect(1, last, &expected);
    assert_int_equal(totals.count, expected.count);
    assert_true(totals.sum == expected.sum);
}

/* A full disk refuses one block while another waits for its commit; then the leadership goes, and with it the waiting
 * block: sent again, it is no repeat of anything. */
static void test_replica_full_disk_does_not_make_what_waits_look_committed(void **state)
{
    struct fixture *fixture = *state;
    struct ab_partition *partition = fixture->rig.partition;
    struct ab_error error = {0};
    struct ab_staged staged;
    blocks_commit(fixture, 1, 1);
    assert_ok(block_write(fixture, 2, &staged));
    ab_file_fault_set(0, 1, AB_NO_SPACE);
    assert_int_equal(block_write(fixture, 3, &staged), AB_NO_SPACE);
    assert_true(ab_file_fault_was_hit());
    ab_file_fault_clear();
    ab_partition_forget_uncommitted(partition);
    assert_ok(ab_partition_truncate(partition, ab_partition_committed(partition), &error));
    lead(fixture, 2);
    assert_ok(block_write(fixture, 2, &staged));
    assert_false(staged.is_repeat);
    commit_all(fixture);
    expect_rows(fixture, 2 * ROWS);
}

/* Stores a value of the tables again, as if what came after it had never been stored. */
static void tables_put_back(struct ab_partition *partition, struct ab_bytes key, struct ab_bytes value)
{
    struct ab_error error = {0};
    struct ab_operand_file *file = NULL;
    uint64_t bytes = 0;
    char *path = ab_partition_state_stage(partition->state);
    assert_ok(ab_operand_file_create(path, &file, &error));
    assert_ok(ab_operand_file_put(file, key, value));
    assert_ok(ab_operand_file_finish(file, &bytes, &error));
    assert_ok(ab_partition_state_ingest(partition->state, AB_STATE_TABLES, path, &error));
    ab_delete(path);
}

/* A crash between a span's file and that of the tables, and a log that has lost its end since: the span's rows are of
 * records that are fetched again, so it must not keep them (H18). */
static void test_replica_span_stored_past_the_end_of_the_log_is_rebuilt(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error = {0};
    struct ab_buffer position = {0};
    const struct ab_bytes key = ab_bytes_of_text("o");
    blocks_commit(fixture, 1, 3);
    assert_true(ab_partition_flush_begin(fixture->rig.partition));
    rig_flush(&fixture->rig);
    assert_ok(ab_partition_state_get(fixture->rig.partition->state, AB_STATE_TABLES, key, &position, &error));
    uint64_t kept = ab_log_end_offset(fixture->rig.partition->log);
    blocks_commit(fixture, 4, 6);
    assert_true(ab_partition_flush_begin(fixture->rig.partition));
    rig_flush(&fixture->rig);
    tables_put_back(fixture->rig.partition, key, ab_buffer_view(&position));
    assert_ok(ab_log_truncate(fixture->rig.partition->log, kept + 1, &error));
    open_again(fixture);
    assert_true(ab_partition_committed(fixture->rig.partition) <= kept + 1);
    commit_all(fixture); /* as the leader tells */
    expect_rows(fixture, 4 * ROWS);
    lead(fixture, 2);
    blocks_commit(fixture, 5, 6);
    expect_rows(fixture, 6 * ROWS);
    open_again(fixture);
    commit_all(fixture);
    expect_rows(fixture, 6 * ROWS);
    ab_buffer_fini(&position);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_replica_full_disk_does_not_make_what_waits_look_committed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replica_span_stored_past_the_end_of_the_log_is_rebuilt, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
