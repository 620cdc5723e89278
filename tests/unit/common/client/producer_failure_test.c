/* Producers when something goes wrong: lost requests and answers, refusals, silence, and nodes that move. */
#include "tests/unit/common/client/rows.h"

#include "common/base/time.h"

/* Appends `count` rows to a producer of one partition and flushes. */
static enum anabranch_result append_and_flush(struct rows *rows, uint64_t count)
{
    for (uint64_t i = 1; i <= count; i++) {
        (void)row_append(rows->producer, i, 0);
    }
    return rows_flush(rows);
}

static void assert_all_taken_once(struct rows *rows, uint64_t count)
{
    uint64_t sequence = 0;
    assert_int_equal(fake_rows_taken(&rows->fake), count);
    assert_int_equal(counts_of(rows).accepted, count);
    for (size_t b = 0; b < rows->fake.blocks_count; b++) {
        if (rows->fake.blocks[b].was_taken) {
            assert_int_equal(rows->fake.blocks[b].block.sequence, ++sequence);
        }
    }
}

static void test_sender_lost_answer_sends_the_same_bytes_again(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){0});
    fake_script(&rows->fake, FAKE_LOSE_ANSWER, AB_OK);
    assert_int_equal(append_and_flush(rows, 10), ANABRANCH_OK);
    assert_int_equal(rows->fake.blocks_count, 2);
    assert_int_equal(rows->fake.blocks[1].block.sequence, 1);
    assert_true(ab_bytes_equal(rows->fake.blocks[0].bytes, rows->fake.blocks[1].bytes));
    assert_all_taken_once(rows, 10);
    rows_close(rows);
}

static void test_sender_lost_request_is_repeated_in_order(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){.block_rows = 10});
    int64_t begun_us = ab_time_monotonic_us();
    fake_script(&rows->fake, FAKE_TAKE, AB_OK);
    fake_script(&rows->fake, FAKE_LOSE_REQUEST, AB_OK); /* those after it are out of sequence */
    assert_int_equal(append_and_flush(rows, 200), ANABRANCH_OK);
    assert_all_taken_once(rows, 200);
    assert_true(rows->fake.blocks_count < 60);
    assert_true(ab_time_monotonic_us() - begun_us < 10 * AB_US_PER_SECOND);
    rows_close(rows);
}

static void test_sender_full_server_is_asked_again_in_order(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){.block_rows = 10});
    fake_script(&rows->fake, FAKE_REFUSE, AB_FULL);
    fake_script(&rows->fake, FAKE_REFUSE, AB_FULL);
    fake_script(&rows->fake, FAKE_TAKE, AB_OK);
    fake_script(&rows->fake, FAKE_REFUSE, AB_UNAVAILABLE);
    fake_script(&rows->fake, FAKE_REFUSE, AB_NO_SPACE);
    assert_int_equal(append_and_flush(rows, 100), ANABRANCH_OK);
    assert_all_taken_once(rows, 100);
    assert_int_equal(counts_of(rows).refused, 0);
    rows_close(rows);
}

static void test_sender_refusal_refuses_all_that_follows(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){.block_rows = 10});
    fake_script(&rows->fake, FAKE_TAKE, AB_OK);
    fake_script(&rows->fake, FAKE_REFUSE, AB_INVALID);
    assert_int_equal(append_and_flush(rows, 100), ANABRANCH_DEFINITELY_NOT);
    assert_string_equal(anabranch_last_error(rows->client), "told so");
    assert_int_equal(fake_rows_taken(&rows->fake), 10);
    assert_int_equal(counts_of(rows).accepted, 10);
    assert_int_equal(counts_of(rows).refused, 90);
    assert_int_equal(counts_of(rows).unknown, 0);
    assert_int_equal(row_append(rows->producer, 1, 0), ANABRANCH_DEFINITELY_NOT);
    assert_int_equal(counts_of(rows).refused, 91);
    assert_int_equal(counts_of(rows).appended, 101);
    assert_int_equal(anabranch_producer_close(rows->producer), ANABRANCH_DEFINITELY_NOT);
    rows->producer = NULL;
    rows_close(rows);
}

static void test_sender_refusal_after_a_lost_answer_is_unknown(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){0});
    fake_script(&rows->fake, FAKE_LOSE_ANSWER, AB_OK);
    fake_script(&rows->fake, FAKE_REFUSE, AB_DENIED); /* of the repeat: it says nothing about the first sending */
    assert_int_equal(append_and_flush(rows, 10), ANABRANCH_UNKNOWN);
    assert_int_equal(counts_of(rows).unknown, 10);
    assert_int_equal(counts_of(rows).refused, 0);
    rows_close(rows);
}

static void test_sender_silence_is_unknown_after_the_deadline(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){.block_rows = 10, .deadline_ms = 300});
    fake_otherwise(&rows->fake, FAKE_LOSE_REQUEST, AB_OK);
    int64_t begun_us = ab_time_monotonic_us();
    assert_int_equal(append_and_flush(rows, 100), ANABRANCH_UNKNOWN);
    assert_in_range(ab_time_monotonic_us() - begun_us, 300 * AB_US_PER_MS, 5 * AB_US_PER_SECOND);
    assert_int_equal(counts_of(rows).unknown, 40); /* the window; the others were never sent */
    assert_int_equal(counts_of(rows).refused, 60);
    assert_non_null(strstr(anabranch_last_error(rows->client), "no acknowledgement before the deadline"));
    rows_close(rows);
}

static void test_sender_server_full_till_the_deadline_is_definitely_not(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){.deadline_ms = 300});
    fake_otherwise(&rows->fake, FAKE_REFUSE, AB_UNAVAILABLE);
    assert_int_equal(append_and_flush(rows, 10), ANABRANCH_DEFINITELY_NOT);
    assert_int_equal(counts_of(rows).refused, 10);
    assert_int_equal(counts_of(rows).unknown, 0);
    assert_in_range(rows->fake.blocks_count, 2, 12); /* intervals grow */
    rows_close(rows);
}

static void test_sender_no_space_is_definitely_not_after_some_tries(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){0});
    fake_otherwise(&rows->fake, FAKE_REFUSE, AB_NO_SPACE);
    assert_int_equal(append_and_flush(rows, 10), ANABRANCH_DEFINITELY_NOT);
    assert_int_equal(rows->fake.blocks_count, 5);
    assert_int_equal(counts_of(rows).refused, 10);
    rows_close(rows);
}

static void test_sender_unknown_from_the_server_is_repeated(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){0});
    fake_script(&rows->fake, FAKE_REFUSE, AB_OUTCOME_UNKNOWN);
    fake_script(&rows->fake, FAKE_REFUSE, AB_TIMEOUT);
    assert_int_equal(append_and_flush(rows, 10), ANABRANCH_OK);
    assert_all_taken_once(rows, 10);
    fake_script(&rows->fake, FAKE_TAKE, AB_OK); /* stands for the one just taken */
    fake_script(&rows->fake, FAKE_REFUSE, AB_OUTCOME_UNKNOWN);
    fake_script(&rows->fake, FAKE_REFUSE, AB_INVALID);
    assert_int_equal(append_and_flush(rows, 5), ANABRANCH_UNKNOWN);
    assert_int_equal(counts_of(rows).unknown, 5);
    rows_close(rows);
}

static void test_sender_answer_that_is_none_is_unknown(void **state)
{
    (void)state;
    struct rows *rows = rows_open(1, &(struct anabranch_producer_options){0});
    fake_script(&rows->fake, FAKE_GARBAGE, AB_OK);
    assert_int_equal(append_and_flush(rows, 10), ANABRANCH_UNKNOWN);
    assert_int_equal(counts_of(rows).unknown, 10);
    rows_close(rows);
}

static void test_sender_one_bad_partition_leaves_the_blocks_of_others(void **state)
{
    (void)state;
    struct rows *rows = rows_open(4, &(struct anabranch_producer_options){0});
    fake_script(&rows->fake, FAKE_REFUSE, AB_INVALID);
    assert_int_equal(append_and_flush(rows, 100), ANABRANCH_DEFINITELY_NOT);
    struct anabranch_counts counts = counts_of(rows);
    assert_true(counts.accepted > 0);
    assert_int_equal(counts.accepted + counts.refused, 100);
    assert_int_equal(fake_rows_taken(&rows->fake), counts.accepted);
    rows_close(rows);
}

static void test_sender_finds_a_speed_node_that_moved(void **state)
{
    (void)state;
    struct rows *rows = rows_open(2, &(struct anabranch_producer_options){.block_rows = 10});
    for (uint64_t i = 1; i <= 50; i++) {
        assert_int_equal(row_append(rows->producer, i, 0), ANABRANCH_OK);
    }
    fake_move_speed(&rows->fake);
    for (uint64_t i = 51; i <= 100; i++) {
        assert_int_equal(row_append(rows->producer, i, 0), ANABRANCH_OK);
    }
    assert_int_equal(rows_flush(rows), ANABRANCH_OK);
    assert_int_equal(fake_rows_taken(&rows->fake), 100);
    assert_int_equal(counts_of(rows).accepted, 100);
    rows_close(rows);
}

static void test_sender_key_without_the_right_to_produce_is_refused(void **state)
{
    (void)state;
    struct rows *rows = ab_new(struct rows);
    fake_init(&rows->fake, 1);
    char *key = ab_new_format("%s/keys/query.key", rows->fake.directory);
    struct anabranch_options options = {.data_directory = rows->fake.directory, .key_file = key, .timeout_ms = 5000};
    struct anabranch_producer_options producer = {.stream = "s"};
    assert_int_equal(anabranch_open(&options, &rows->client), ANABRANCH_OK);
    assert_int_equal(anabranch_producer_open(rows->client, &producer, &rows->producer), ANABRANCH_OK);
    assert_int_equal(append_and_flush(rows, 3), ANABRANCH_DEFINITELY_NOT);
    assert_int_equal(counts_of(rows).refused, 3);
    ab_delete(key);
    rows_close(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sender_lost_answer_sends_the_same_bytes_again),
        cmocka_unit_test(test_sender_lost_request_is_repeated_in_order),
        cmocka_unit_test(test_sender_full_server_is_asked_again_in_order),
        cmocka_unit_test(test_sender_refusal_refuses_all_that_follows),
        cmocka_unit_test(test_sender_refusal_after_a_lost_answer_is_unknown),
        cmocka_unit_test(test_sender_silence_is_unknown_after_the_deadline),
        cmocka_unit_test(test_sender_server_full_till_the_deadline_is_definitely_not),
        cmocka_unit_test(test_sender_no_space_is_definitely_not_after_some_tries),
        cmocka_unit_test(test_sender_unknown_from_the_server_is_repeated),
        cmocka_unit_test(test_sender_answer_that_is_none_is_unknown),
        cmocka_unit_test(test_sender_one_bad_partition_leaves_the_blocks_of_others),
        cmocka_unit_test(test_sender_finds_a_speed_node_that_moved),
        cmocka_unit_test(test_sender_key_without_the_right_to_produce_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
