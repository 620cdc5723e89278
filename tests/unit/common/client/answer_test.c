/* Answers: every type as number and as text, what the answer says of itself, and answers that are none. */
#include "tests/unit/common/client/fake.h"

#include "common/base/time.h"
#include "common/block/column_codec.h"

#include "tests/support/test.h"

enum { COLUMNS = 6, ROWS = 3 };

static const struct ab_type types[COLUMNS] = {{.kind = AB_TYPE_BOOLEAN}, {.kind = AB_TYPE_BIGINT},
    {.kind = AB_TYPE_DOUBLE}, {.kind = AB_TYPE_DECIMAL, .precision = 38, .scale = 2}, {.kind = AB_TYPE_TEXT},
    {.kind = AB_TYPE_TIMESTAMP}};
static const char *const names[COLUMNS] = {"b", "n", "x", "d", "k", "t"};
static const char *const texts[ROWS][COLUMNS] = {
    {"true", "-7", "0.5", "123456789012345678901234567890.25", "caf\xc3\xa9", "2013-06-01T05:17:00Z"},
    {NULL, NULL, NULL, NULL, NULL, NULL},
    {"false", "9223372036854775807", "-2", "-1.50", "", "1969-12-31T23:59:59.5Z"},
};

/* The answer that the table above describes. */
static void answer_make(struct ab_buffer *out)
{
    struct ab_arena arena = {0};
    struct ab_wire_column wire[COLUMNS];
    struct ab_column_builder *builders[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        builders[c] = ab_column_builder_create(types[c], ROWS, NULL);
        for (int r = 0; r < ROWS; r++) {
            struct ab_value value = {.type = types[c], .is_null = true};
            if (texts[r][c] != NULL) {
                assert_ok(ab_value_parse(types[c], bytes_of(texts[r][c]), &value));
            }
            assert_ok(ab_column_builder_add(builders[c], &value));
        }
        struct ab_block_column column = {.name = bytes_of(names[c])};
        ab_column_builder_view(builders[c], &column.column);
        assert_ok(ab_block_column_encode(&column, &arena, &wire[c]));
    }
    struct ab_bytes warnings[2] = {bytes_of("mind the gap"), bytes_of("")};
    uint64_t offsets[2] = {5, 6};
    struct ab_wire_query_reply reply = {.columns = wire,
        .columns_count = COLUMNS,
        .rows_count = ROWS,
        .token = {.cut = 9,
            .version = bytes_of("v-1/9-1"),
            .offsets = offsets,
            .offsets_count = 2,
            .horizon_us = -5,
            .as_of_us = 77,
            .is_complete = true},
        .warnings = warnings,
        .warnings_count = 2};
    ab_wire_query_reply_encode(&reply, out);
    assert_ok(ab_buffer_finish(out));
    for (int c = 0; c < COLUMNS; c++) {
        ab_column_builder_destroy(builders[c]);
    }
    ab_arena_fini(&arena);
}

struct asked {
    struct fake fake;
    struct anabranch_client *client;
    struct anabranch_answer *answer;
};

static struct asked *asked_open(int timeout_ms)
{
    struct asked *asked = ab_new(struct asked);
    fake_init(&asked->fake, 1);
    ab_buffer_clear(&asked->fake.answer);
    answer_make(&asked->fake.answer);
    fake_sync(&asked->fake);
    asked->client = fake_client(&asked->fake, timeout_ms);
    return asked;
}

/* Asks with what the test has prepared; afterwards it may prepare again. */
static enum anabranch_result ask(struct asked *asked, struct anabranch_answer **answer)
{
    fake_sync(&asked->fake);
    enum anabranch_result result = anabranch_query(asked->client, "SELECT", answer);
    fake_sync(&asked->fake);
    return result;
}

static void asked_close(struct asked *asked)
{
    anabranch_answer_free(asked->answer);
    anabranch_close(asked->client);
    fake_fini(&asked->fake);
    ab_delete(asked);
}

static void test_answer_values_of_all_types(void **state)
{
    (void)state;
    struct asked *asked = asked_open(5000);
    assert_int_equal(ask(asked, &asked->answer), ANABRANCH_OK);
    struct anabranch_answer *answer = asked->answer;
    assert_int_equal(anabranch_answer_rows(answer), ROWS);
    assert_int_equal(anabranch_answer_columns(answer), COLUMNS);
    for (uint32_t c = 0; c < COLUMNS; c++) {
        uint8_t precision;
        uint8_t scale;
        assert_string_equal(anabranch_answer_name(answer, c), names[c]);
        assert_int_equal(anabranch_answer_type(answer, c, &precision, &scale), types[c].kind);
        assert_int_equal(precision, types[c].precision);
        assert_int_equal(scale, types[c].scale);
        for (uint32_t r = 0; r < ROWS; r++) {
            size_t bytes;
            const char *text = anabranch_answer_text(answer, r, c, &bytes);
            assert_string_equal(text, texts[r][c] == NULL ? "" : texts[r][c]);
            assert_int_equal(bytes, strlen(text));
            assert_int_equal(anabranch_answer_is_null(answer, r, c), texts[r][c] == NULL);
        }
        assert_int_equal(anabranch_answer_bigint(answer, 1, c), 0);
        assert_true(anabranch_answer_double(answer, 1, c) == 0);
    }
    static const int64_t whole[COLUMNS] = {1, -7, 0, INT64_MAX, 0, INT64_C(1370063820000000)};
    static const double real[COLUMNS] = {1, -7, 0.5, 123456789012345678901234567890.25, 0, 1370063820000000};
    for (uint32_t c = 0; c < COLUMNS; c++) {
        assert_int_equal(anabranch_answer_bigint(answer, 0, c), whole[c]);
        assert_true(anabranch_answer_double(answer, 0, c) == real[c]);
    }
    assert_int_equal(anabranch_answer_bigint(answer, 2, 3), -1);
    asked_close(asked);
}

static void test_answer_token_and_warnings(void **state)
{
    (void)state;
    struct asked *asked = asked_open(5000);
    struct anabranch_token token;
    assert_int_equal(ask(asked, &asked->answer), ANABRANCH_OK);
    anabranch_answer_token(asked->answer, &token);
    assert_int_equal(token.cut, 9);
    assert_string_equal(token.version, "v-1/9-1");
    assert_int_equal(token.as_of_us, 77);
    assert_int_equal(token.horizon_us, -5);
    assert_true(token.is_complete);
    assert_int_equal(anabranch_answer_warnings(asked->answer), 2);
    assert_string_equal(anabranch_answer_warning(asked->answer, 0), "mind the gap");
    assert_string_equal(anabranch_answer_warning(asked->answer, 1), "");
    assert_null(anabranch_answer_warning(asked->answer, 2));
    asked_close(asked);
}

static void test_answer_places_outside_are_null(void **state)
{
    (void)state;
    struct asked *asked = asked_open(5000);
    uint8_t precision;
    uint8_t scale;
    size_t bytes = 9;
    assert_int_equal(ask(asked, &asked->answer), ANABRANCH_OK);
    assert_null(anabranch_answer_name(asked->answer, COLUMNS));
    assert_int_equal(anabranch_answer_type(asked->answer, COLUMNS, &precision, &scale), ANABRANCH_TEXT);
    assert_true(anabranch_answer_is_null(asked->answer, ROWS, 0));
    assert_true(anabranch_answer_is_null(asked->answer, 0, COLUMNS));
    assert_int_equal(anabranch_answer_bigint(asked->answer, ROWS, 1), 0);
    assert_string_equal(anabranch_answer_text(asked->answer, ROWS, 1, &bytes), "");
    assert_int_equal(bytes, 0);
    anabranch_answer_free(NULL);
    asked_close(asked);
}

static void test_answer_truncated_or_changed_never_crashes(void **state)
{
    (void)state;
    struct asked *asked = asked_open(5000);
    struct ab_buffer *payload = &asked->fake.answer;
    size_t whole = payload->bytes;
    for (size_t bytes = 0; bytes < whole; bytes++) {
        struct anabranch_answer *answer = NULL;
        payload->bytes = bytes;
        enum anabranch_result result = ask(asked, &answer);
        assert_true(result == ANABRANCH_OK || result == ANABRANCH_DEFINITELY_NOT);
        assert_int_equal(answer != NULL, result == ANABRANCH_OK);
        anabranch_answer_free(answer);
    }
    payload->bytes = whole;
    for (size_t bit = 0; bit < whole * 8; bit += 3) {
        struct anabranch_answer *answer = NULL;
        payload->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (ask(asked, &answer) == ANABRANCH_OK) {
            size_t length;
            (void)anabranch_answer_text(answer, 0, 0, &length);
        }
        anabranch_answer_free(answer);
        payload->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    asked_close(asked);
}

static void test_answer_refusals_say_why(void **state)
{
    (void)state;
    static const struct {
        ab_err status;
        enum anabranch_result result;
    } refusals[] = {{AB_SYNTAX, ANABRANCH_DEFINITELY_NOT}, {AB_USAGE, ANABRANCH_USAGE},
        {AB_DENIED, ANABRANCH_DEFINITELY_NOT}, {AB_FULL, ANABRANCH_DEFINITELY_NOT}, {AB_TIMEOUT, ANABRANCH_TIMEOUT},
        {AB_CORRUPT, ANABRANCH_DEFINITELY_NOT}};
    struct asked *asked = asked_open(5000);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        asked->fake.answer_status = refusals[i].status;
        assert_int_equal(ask(asked, &asked->answer), refusals[i].result);
        assert_string_equal(anabranch_last_error(asked->client), "the answer is no");
        assert_null(asked->answer);
    }
    assert_int_equal(anabranch_query(asked->client, NULL, &asked->answer), ANABRANCH_USAGE);
    asked_close(asked);
}

static void test_answer_that_never_comes_is_a_timeout(void **state)
{
    (void)state;
    struct asked *asked = asked_open(600);
    int64_t begun_us = ab_time_monotonic_us();
    asked->fake.queries_dropped = 1;
    assert_int_equal(ask(asked, &asked->answer), ANABRANCH_TIMEOUT);
    assert_in_range(ab_time_monotonic_us() - begun_us, 600 * AB_US_PER_MS, 5 * AB_US_PER_SECOND);
    assert_non_null(strstr(anabranch_last_error(asked->client), "no answer within 600 ms"));
    assert_int_equal(ask(asked, &asked->answer), ANABRANCH_OK);
    asked_close(asked);
}

static void test_answer_unavailable_is_asked_for_again_until_the_timeout(void **state)
{
    (void)state;
    struct asked *asked = asked_open(1000);
    asked->fake.answer_status = AB_UNAVAILABLE;
    assert_int_equal(ask(asked, &asked->answer), ANABRANCH_TIMEOUT);
    assert_string_equal(anabranch_last_error(asked->client), "the answer is no");
    assert_true(asked->fake.queries_count > 2);
    asked_close(asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_values_of_all_types),
        cmocka_unit_test(test_answer_token_and_warnings),
        cmocka_unit_test(test_answer_places_outside_are_null),
        cmocka_unit_test(test_answer_truncated_or_changed_never_crashes),
        cmocka_unit_test(test_answer_refusals_say_why),
        cmocka_unit_test(test_answer_that_never_comes_is_a_timeout),
        cmocka_unit_test(test_answer_unavailable_is_asked_for_again_until_the_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
