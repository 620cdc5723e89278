/* Judging: each rule alone, their order, and blocks that are refused whole. */
#include "common/block/key.h"
#include "speed/judge.h"
#include "tests/support/test.h"

#define NOW_US (INT64_C(1370044800) * AB_US_PER_SECOND)
#define ROWS 6u

static const char *const catalog_text =
    "CREATE STREAM pay (usr TEXT NOT NULL, amount DECIMAL(12, 2) CHECK (amount >= 0), ratio DOUBLE, n BIGINT, "
    "at TIMESTAMP NOT NULL, EVENT TIME at, PARTITION KEY (usr)) WITH (max_future = '1 hour', max_past = '2 days');";

enum { USR, AMOUNT, RATIO, NUMBER, AT, COLUMNS };

struct fixture {
    struct ab_catalog *catalog;
    struct ab_arena arena;
    struct ab_verdict_builder verdict;
    const char *names[COLUMNS];
    struct ab_type types[COLUMNS];
    struct ab_value rows[ROWS][COLUMNS];
    bool is_absent[COLUMNS];
    uint64_t positions[ROWS];
    bool has_source;
    struct ab_judge_rules rules;
    struct ab_bound bound;
    struct ab_judged judged;
    struct ab_error error;
    struct ab_buffer payload;
};

static int setup(void **state)
{
    struct fixture *fixture = ab_new(struct fixture);
    if (ab_catalog_parse(bytes_of(catalog_text), &fixture->catalog, &fixture->error) != AB_OK) {
        fail_msg("%s", fixture->error.text);
    }
    ab_arena_init(&fixture->arena, NULL, 0);
    ab_verdict_builder_init(&fixture->verdict, NULL);
    static const char *const names[COLUMNS] = {"usr", "amount", "ratio", "n", "at"};
    static const struct ab_type types[COLUMNS] = {{.kind = AB_TYPE_TEXT},
        {.kind = AB_TYPE_DECIMAL, .precision = 12, .scale = 2}, {.kind = AB_TYPE_DOUBLE}, {.kind = AB_TYPE_BIGINT},
        {.kind = AB_TYPE_TIMESTAMP}};
    memcpy(fixture->names, names, sizeof(names));
    memcpy(fixture->types, types, sizeof(types));
    fixture->rules = (struct ab_judge_rules){.partitions_count = 1, .append_time_us = NOW_US};
    for (uint32_t row = 0; row < ROWS; row++) {
        fixture->positions[row] = 10 + row;
        fixture->rows[row][USR] = (struct ab_value){.type = types[USR], .text = bytes_of("anna")};
        fixture->rows[row][AMOUNT] = (struct ab_value){.type = types[AMOUNT], .decimal = 100 * row};
        fixture->rows[row][RATIO] = (struct ab_value){.type = types[RATIO], .real = row};
        fixture->rows[row][NUMBER] = (struct ab_value){.type = types[NUMBER], .bigint = row};
        fixture->rows[row][AT] = (struct ab_value){.type = types[AT], .bigint = NOW_US - row};
    }
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    ab_verdict_builder_fini(&fixture->verdict);
    ab_arena_fini(&fixture->arena);
    ab_buffer_fini(&fixture->payload);
    ab_catalog_release(fixture->catalog);
    ab_delete(fixture);
    return 0;
}

static void encode(struct fixture *fixture)
{
    struct ab_column_builder *builders[COLUMNS] = {0};
    struct ab_block_column columns[COLUMNS];
    uint32_t count = 0;
    for (uint32_t c = 0; c < COLUMNS; c++) {
        builders[c] = ab_column_builder_create(fixture->types[c], ROWS, NULL);
        for (uint32_t row = 0; row < ROWS; row++) {
            fixture->rows[row][c].type = fixture->types[c];
            assert_ok(ab_column_builder_add(builders[c], &fixture->rows[row][c]));
        }
        if (!fixture->is_absent[c]) {
            columns[count].name = ab_bytes_of_text(fixture->names[c]);
            ab_column_builder_view(builders[c], &columns[count++].column);
        }
    }
    struct ab_block block = {.stream = bytes_of("pay"),
        .producer_id = 1,
        .sequence = 1,
        .rows_count = ROWS,
        .columns_count = count,
        .columns = columns};
    if (fixture->has_source) {
        block.positions = fixture->positions;
        block.mark = (struct ab_source_mark){.source = bytes_of("f"), .first_position = 10, .last_position = 15};
    }
    ab_buffer_clear(&fixture->payload);
    assert_ok(ab_block_encode(&block, AB_BLOCK_PLAIN, &fixture->payload));
    for (uint32_t c = 0; c < COLUMNS; c++) {
        ab_column_builder_destroy(builders[c]);
    }
}

static ab_err judge(struct fixture *fixture)
{
    encode(fixture);
    fixture->error = (struct ab_error){0};
    AB_TRY(ab_judge_bind(
        ab_buffer_view(&fixture->payload), fixture->catalog, &fixture->arena, &fixture->bound, &fixture->error));
    return ab_judge_rows(
        &fixture->bound, &fixture->rules, &fixture->arena, &fixture->verdict, &fixture->judged, &fixture->error);
}

static void expect_rejected(const struct fixture *fixture, uint32_t row, const char *part)
{
    for (size_t i = 0; i < fixture->judged.rejected_rows_count; i++) {
        const struct ab_wire_rejected *rejected = &fixture->judged.rejected_rows[i];
        if (rejected->row == row) {
            char *reason = ab_new_text_of(rejected->reason);
            if (strstr(reason, part) == NULL) {
                fail_msg("row %u: %s", row, reason);
            }
            ab_delete(reason);
            return;
        }
    }
    fail_msg("row %u was not rejected", row);
}

static void test_judge_good_rows_have_an_empty_verdict(void **state)
{
    struct fixture *fixture = *state;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.accepted, ROWS);
    assert_null(fixture->judged.skip);
    assert_int_equal(fixture->verdict.count, 0);
    assert_true(fixture->bound.body.data == fixture->payload.data); /* logged as it came */
}

static void test_judge_null_check_and_times_reject_single_rows(void **state)
{
    struct fixture *fixture = *state;
    fixture->rows[0][USR].is_null = true;
    fixture->rows[1][AMOUNT].decimal = -5;
    fixture->rows[2][AMOUNT].is_null = true; /* CHECK of NULL passes */
    fixture->rows[3][AT].bigint = NOW_US + 2 * AB_US_PER_HOUR;
    fixture->rows[4][AT].bigint = NOW_US - 3 * AB_US_PER_DAY;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.accepted, 2);
    assert_int_equal(fixture->judged.rejected, 4);
    expect_rejected(fixture, 0, "usr");
    expect_rejected(fixture, 0, "NOT NULL");
    expect_rejected(fixture, 1, "CHECK");
    expect_rejected(fixture, 1, "-0.05");
    expect_rejected(fixture, 3, "max_future");
    expect_rejected(fixture, 4, "max_past");
    static const uint8_t skip[ROWS] = {1, 1, 0, 1, 1, 0};
    assert_memory_equal(fixture->judged.skip, skip, ROWS);
    uint8_t marked[ROWS] = {0};
    struct ab_buffer verdict = {0};
    ab_verdict_builder_encode(&fixture->verdict, &verdict);
    assert_ok(ab_verdict_mark(ab_buffer_view(&verdict), ROWS, marked));
    assert_memory_equal(marked, skip, ROWS);
    ab_buffer_fini(&verdict);
}

static void test_judge_rows_at_or_below_the_mark_are_duplicates(void **state)
{
    struct fixture *fixture = *state;
    fixture->has_source = true;
    fixture->rules.has_mark = true;
    fixture->rules.last_position = 12;
    fixture->rows[0][USR].is_null = true; /* a duplicate is no dead letter */
    fixture->rows[5][USR].is_null = true;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.duplicates, 3);
    assert_int_equal(fixture->judged.rejected, 1);
    assert_int_equal(fixture->judged.accepted, 2);
    fixture->rules.last_position = 99;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.duplicates, ROWS);
    fixture->rules.has_mark = false;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.duplicates, 0);
}

static void test_judge_absent_columns_are_null(void **state)
{
    struct fixture *fixture = *state;
    fixture->is_absent[RATIO] = true;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.accepted, ROWS);
    assert_null(fixture->bound.columns[RATIO]);
    fixture->is_absent[AT] = true;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.rejected, ROWS);
    fixture->is_absent[AT] = false;
    fixture->is_absent[USR] = true;
    fixture->rules.partitions_count = 3;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.rejected, ROWS);
}

static void test_judge_unknown_stream_and_columns_refuse_the_block(void **state)
{
    struct fixture *fixture = *state;
    fixture->names[RATIO] = "quota";
    assert_int_equal(judge(fixture), AB_INVALID);
    assert_non_null(strstr(fixture->error.text, "quota"));
    fixture->names[RATIO] = "ratio";
    fixture->types[RATIO] = (struct ab_type){.kind = AB_TYPE_BOOLEAN};
    for (uint32_t row = 0; row < ROWS; row++) {
        fixture->rows[row][RATIO].boolean = true;
    }
    assert_int_equal(judge(fixture), AB_INVALID);
    assert_non_null(strstr(fixture->error.text, "ratio"));
    assert_non_null(strstr(fixture->error.text, "BOOLEAN"));
}

static void test_judge_converts_what_stays_exact(void **state)
{
    struct fixture *fixture = *state;
    fixture->types[AMOUNT] = (struct ab_type){.kind = AB_TYPE_BIGINT};
    fixture->types[RATIO] = (struct ab_type){.kind = AB_TYPE_BIGINT};
    for (uint32_t row = 0; row < ROWS; row++) {
        fixture->rows[row][AMOUNT].bigint = (int64_t)row * 7;
        fixture->rows[row][RATIO].bigint = (int64_t)1 << (40 + row);
    }
    fixture->rows[3][AMOUNT].is_null = true;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.accepted, ROWS);
    assert_true(((const ab_int128 *)fixture->bound.columns[AMOUNT]->values)[2] == 1400);
    assert_true(((const double *)fixture->bound.columns[RATIO]->values)[5] == (double)((int64_t)1 << 45));
    /* What is logged has the declared types and reads the same. */
    struct ab_bound again;
    assert_true(fixture->bound.body.data != fixture->payload.data);
    assert_ok(ab_judge_bind(fixture->bound.body, fixture->catalog, &fixture->arena, &again, &fixture->error));
    assert_true(again.body.data == fixture->bound.body.data);
    assert_true(((const ab_int128 *)again.columns[AMOUNT]->values)[2] == 1400);
    assert_true(ab_column_is_null(again.columns[AMOUNT], 3));
    fixture->rows[5][RATIO].bigint = INT64_MAX; /* 2^63 - 1 is no DOUBLE */
    assert_int_equal(judge(fixture), AB_INVALID);
    assert_non_null(strstr(fixture->error.text, "exactly"));
    fixture->rows[5][RATIO].bigint = 1;
    fixture->rows[5][AMOUNT].bigint = INT64_MAX; /* passes the precision */
    assert_int_equal(judge(fixture), AB_INVALID);
}

static void test_judge_rows_of_another_partition_refuse_the_block(void **state)
{
    struct fixture *fixture = *state;
    struct ab_buffer key = {0};
    ab_key_put(&key, &fixture->rows[0][USR]);
    uint32_t home = (uint32_t)(ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key)) % 8);
    ab_buffer_fini(&key);
    fixture->rules.partitions_count = 8;
    fixture->rules.partition = home;
    assert_ok(judge(fixture));
    assert_int_equal(fixture->judged.accepted, ROWS);
    fixture->rules.partition = (home + 1) % 8;
    assert_int_equal(judge(fixture), AB_INVALID);
    assert_non_null(strstr(fixture->error.text, "partition"));
}

static void test_judge_raw_rows_are_all_rejected_with_their_reasons(void **state)
{
    struct fixture *fixture = *state;
    struct ab_type text = {.kind = AB_TYPE_TEXT};
    struct ab_block_column columns[2] = {{.name = bytes_of("raw")}, {.name = bytes_of("reason")}};
    struct ab_column_builder *builders[2];
    for (int c = 0; c < 2; c++) {
        builders[c] = ab_column_builder_create(text, 2, NULL);
        struct ab_value value = {.type = text, .text = bytes_of(c == 0 ? "a,b,c" : "amount: not a number")};
        assert_ok(ab_column_builder_add(builders[c], &value));
        assert_ok(ab_column_builder_add(builders[c], &value));
        ab_column_builder_view(builders[c], &columns[c].column);
    }
    struct ab_block block = {.stream = bytes_of("pay"),
        .producer_id = 1,
        .sequence = 1,
        .rows_count = 2,
        .columns_count = 2,
        .columns = columns,
        .is_raw = true};
    fixture->rules.partitions_count = 8; /* raw rows go anywhere */
    assert_ok(ab_block_encode(&block, AB_BLOCK_PLAIN, &fixture->payload));
    assert_ok(ab_judge_bind(
        ab_buffer_view(&fixture->payload), fixture->catalog, &fixture->arena, &fixture->bound, &fixture->error));
    assert_ok(ab_judge_rows(
        &fixture->bound, &fixture->rules, &fixture->arena, &fixture->verdict, &fixture->judged, &fixture->error));
    assert_int_equal(fixture->judged.rejected, 2);
    expect_rejected(fixture, 1, "amount: not a number");
    for (int c = 0; c < 2; c++) {
        ab_column_builder_destroy(builders[c]);
    }
}

static void test_judge_survives_every_truncation_and_flip(void **state)
{
    struct fixture *fixture = *state;
    encode(fixture);
    size_t bytes = fixture->payload.bytes;
    uint8_t *copy = ab_new_bytes(bytes);
    for (size_t i = 0; i < bytes * 8; i++) {
        memcpy(copy, fixture->payload.data, bytes);
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
        struct ab_error error = {0};
        ab_arena_reset(&fixture->arena);
        if (ab_judge_bind(ab_bytes_of(copy, bytes), fixture->catalog, &fixture->arena, &fixture->bound, &error) ==
            AB_OK) {
            (void)!ab_judge_rows(
                &fixture->bound, &fixture->rules, &fixture->arena, &fixture->verdict, &fixture->judged, &error);
        }
        ab_arena_reset(&fixture->arena);
        struct ab_bytes cut = ab_bytes_of(copy, i / 8);
        (void)!ab_judge_bind(cut, fixture->catalog, &fixture->arena, &fixture->bound, &error);
    }
    ab_delete(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_judge_good_rows_have_an_empty_verdict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judge_null_check_and_times_reject_single_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judge_rows_at_or_below_the_mark_are_duplicates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judge_absent_columns_are_null, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judge_unknown_stream_and_columns_refuse_the_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judge_converts_what_stays_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judge_rows_of_another_partition_refuse_the_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judge_raw_rows_are_all_rejected_with_their_reasons, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judge_survives_every_truncation_and_flip, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
