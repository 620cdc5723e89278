/* The engine behind a real socket with CURVE: every verb speed answers, refusals, restart, and its memory bound (I8).
 */
#include "common/aggregate/rollup.h"
#include "common/base/json.h"
#include "common/log/log.h"
#include "tests/support/test.h"
#include "tests/unit/speed/engine_fixture.h"
#include "tests/unit/speed/rig.h"

#include <fcntl.h>

#define SQL "SELECT n, total, least, most FROM by_user"

static int setup(void **state)
{
    return engine_fixture_setup(state, (uint64_t)256 << 20);
}

static int setup_small(void **state)
{
    return engine_fixture_setup(state, (uint64_t)24 << 20);
}

static void produce_good(struct engine_fixture *fixture, uint32_t partition, uint32_t first_user, uint32_t rows_count)
{
    struct ab_buffer payload = {0};
    struct ab_arena arena = {0};
    struct ab_error error;
    struct ab_wire_produce_reply reply;
    engine_fixture_block(fixture, partition, first_user, rows_count, false, true, &payload);
    if (engine_fixture_produce(fixture, partition, ab_buffer_view(&payload), &reply, &arena, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(reply.accepted, rows_count);
    ab_arena_fini(&arena);
    ab_buffer_fini(&payload);
}

/* ---- questions ---- */

static ab_err ask(
    struct ab_channel *channel, enum ab_verb verb, const char *body, struct ab_json **json, struct ab_error *error)
{
    struct ab_answer answer = {0};
    *error = (struct ab_error){0};
    AB_TRY(ab_channel_call(channel, verb, ab_bytes_of_text(body), ENGINE_TIMEOUT_MS, &answer, error));
    ab_err err = ab_json_parse(answer.payload, json, error);
    ab_answer_free(&answer);
    return err;
}

static int64_t number_at(const struct ab_json *json, const char *list, size_t index, const char *key)
{
    return ab_json_integer_or(ab_json_get(ab_json_at(ab_json_get(json, list), index), key), -1);
}

static ab_err count_rows(
    struct engine_fixture *fixture, const char *sql, uint64_t cut, uint64_t *count, struct ab_error *error)
{
    struct ab_catalog *catalog = NULL;
    struct ab_query *query = NULL;
    struct ab_aggregation *aggregation = NULL;
    struct ab_rollup *rollup = NULL;
    struct ab_arena arena = {0};
    assert_ok(ab_catalog_decode(ab_buffer_view(&fixture->catalog), &catalog, error));
    assert_ok(ab_query_parse(catalog, ab_bytes_of_text(sql), &query, error));
    assert_ok(ab_aggregation_create(query->view, &aggregation, error));
    assert_ok(ab_rollup_create(query, aggregation, INT64_MIN, NULL, &rollup, error));
    struct ab_wire_state_query wire = {.sql = ab_bytes_of_text(sql), .catalog_hash = catalog->hash, .cut = cut};
    struct ab_buffer payload = {0};
    struct ab_answer answer = {0};
    ab_wire_state_query_encode(&wire, &payload);
    ab_err err = ab_channel_call(
        fixture->node, AB_VERB_STATE_QUERY, ab_buffer_view(&payload), ENGINE_TIMEOUT_MS, &answer, error);
    if (err == AB_OK) {
        struct ab_wire_state_reply reply;
        struct ab_column *columns = NULL;
        uint32_t rows_count = 0;
        uint64_t overflows = 0;
        assert_ok(ab_wire_state_reply_decode(answer.payload, &arena, &reply));
        assert_int_equal(reply.partitions_count, ENGINE_PARTITIONS);
        assert_ok(ab_rollup_merge(rollup, reply.rows));
        assert_ok(ab_rollup_finish(rollup, &arena, &columns, &rows_count, &overflows, error));
        *count = rows_count == 0 ? 0 : (uint64_t)ab_column_value(&columns[0], 0).bigint;
        ab_answer_free(&answer);
    }
    ab_arena_fini(&arena);
    ab_buffer_fini(&payload);
    ab_rollup_destroy(rollup);
    ab_aggregation_destroy(aggregation);
    ab_query_destroy(query);
    ab_catalog_release(catalog);
    return err;
}

static void expect_count(struct engine_fixture *fixture, uint64_t cut, uint64_t wanted)
{
    struct ab_error error = {0};
    uint64_t count = 0;
    if (count_rows(fixture, SQL, cut, &count, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(count, wanted);
}

/* ---- cases ---- */

static void test_engine_answers_all_acknowledged_rows_also_after_restart(void **state)
{
    struct engine_fixture *fixture = *state;
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        produce_good(fixture, p, 0, 100);
        expect_count(fixture, 0, (p + 1) * 100);
    }
    uint64_t count = 0;
    struct ab_error error = {0};
    assert_ok(count_rows(fixture, "SELECT n FROM by_user WHERE usr = 'u1'", 0, &count, &error));
    assert_int_equal(count, 1);
    engine_fixture_end(fixture);
    engine_fixture_start(fixture);
    expect_count(fixture, 0, ENGINE_PARTITIONS * 100);
}

/* ---- an idle log ---- */

/* Copies what a killed process would leave of a log, with one bit of the last byte of its last segment changed. */
static char *damaged_image(const char *directory)
{
    char *image = scratch_make();
    char **names = NULL;
    size_t count = 0;
    assert_ok(ab_file_list(directory, &names, &count, NULL));
    for (size_t i = 0; i < count; i++) {
        char *from = scratch_path(directory, names[i]);
        char *to = scratch_path(image, names[i]);
        struct ab_buffer content = {0};
        ab_err err = ab_file_read_all(from, &content, NULL);
        assert_true(err == AB_OK || err == AB_NOT_FOUND); /* a watermark that is just being replaced */
        if (strstr(names[i], ".seg") != NULL) {
            assert_true(content.bytes > 0);
            content.data[content.bytes - 1] ^= 1;
        }
        if (err == AB_OK) {
            scratch_write(to, ab_buffer_view(&content), 0600);
        }
        ab_buffer_fini(&content);
        ab_delete(from);
        ab_delete(to);
    }
    ab_file_names_free(names, count);
    return image;
}

/* What opening the log with its last record damaged says. */
static ab_err damaged_open(const char *directory, uint64_t *torn_bytes)
{
    struct ab_log_options options = {.partition = 1};
    char *image = damaged_image(directory);
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery = {0};
    struct ab_error error = {0};
    ab_err err = ab_log_open(image, &options, &log, &recovery, &error);
    ab_log_close(log);
    *torn_bytes = recovery.torn_bytes;
    scratch_remove(image);
    return err;
}

static void test_engine_idle_notes_what_is_durable(void **state)
{
    struct engine_fixture *fixture = *state;
    produce_good(fixture, 1, 1, 50);
    char *directory = scratch_path(fixture->directory, "partition-1/log");
    uint64_t torn_bytes = 0;
    ab_err err = damaged_open(directory, &torn_bytes);
    assert_true(err == AB_CORRUPT || torn_bytes > 0); /* just written: it may look torn */
    int64_t until = ab_time_monotonic_us() + 20 * AB_US_PER_SECOND;
    while (err != AB_CORRUPT && ab_time_monotonic_us() < until) {
        ab_time_sleep_us(50 * AB_US_PER_MS);
        err = damaged_open(directory, &torn_bytes);
    }
    assert_int_equal(err, AB_CORRUPT);
    ab_delete(directory);
}

/* ---- scrubbing ---- */

static int64_t scrub_count(struct engine_fixture *fixture, const char *key)
{
    struct ab_error error;
    struct ab_json *json = NULL;
    assert_ok(ask(fixture->node, AB_VERB_STATUS, "{}", &json, &error));
    int64_t count = ab_json_integer_or(ab_json_get(ab_json_get(json, "scrub"), key), -1);
    ab_json_destroy(json);
    return count;
}

/* Ticks as the daemon's main thread does, until a counter of the scrub has reached `least`. */
static void scrub_until(struct engine_fixture *fixture, const char *key, int64_t least)
{
    int64_t until = ab_time_monotonic_us() + 30 * AB_US_PER_SECOND;
    while (scrub_count(fixture, key) < least && ab_time_monotonic_us() < until) {
        ab_time_sleep_us(20 * AB_US_PER_MS);
        ab_engine_tick(fixture->engine);
    }
    assert_true(scrub_count(fixture, key) >= least);
}

static size_t segments_count(const char *directory)
{
    char **names = NULL;
    size_t count = 0;
    size_t segments = 0;
    assert_ok(ab_file_list(directory, &names, &count, NULL));
    for (size_t i = 0; i < count; i++) {
        segments += strstr(names[i], ".seg") != NULL;
    }
    ab_file_names_free(names, count);
    return segments;
}

static void test_engine_scrubs_closed_segments_and_goes_on_serving(void **state)
{
    struct engine_fixture *fixture = *state;
    char *segment = scratch_path(fixture->directory, "partition-1/log/00000000000000000000.seg");
    char *directory = scratch_path(fixture->directory, "partition-1/log");
    uint32_t blocks = 0;
    for (; segments_count(directory) < 2; blocks++) {
        assert_true(blocks < 1000);
        produce_good(fixture, 1, 100000 * blocks, 20000);
    }
    scrub_until(fixture, "passes", 2);
    assert_int_equal(scrub_count(fixture, "bad"), 0);
    assert_true(scrub_count(fixture, "bytes") > 1000000);
    int fd = -1;
    uint8_t byte = 0;
    assert_ok(ab_file_open(segment, O_RDWR, 0, &fd, NULL));
    assert_ok(ab_file_read_at(fd, &byte, 1, 100000));
    byte ^= 1;
    assert_ok(ab_file_write_at(fd, ab_bytes_of(&byte, 1), 100000));
    scrub_until(fixture, "bad", 1);
    byte ^= 1;
    assert_ok(ab_file_write_at(fd, ab_bytes_of(&byte, 1), 100000));
    ab_file_close(&fd);
    produce_good(fixture, 1, 100000 * blocks, 10);
    ab_delete(segment);
    ab_delete(directory);
}

static void test_engine_refuses_what_is_wrong_and_goes_on(void **state)
{
    struct engine_fixture *fixture = *state;
    struct ab_error error;
    struct ab_wire_produce_reply reply;
    struct ab_arena arena = {0};
    struct ab_buffer payload = {0};
    struct ab_json *json = NULL;
    engine_fixture_block(fixture, 0, 0, 10, false, false, &payload);
    assert_int_equal(engine_fixture_produce(fixture, 1, ab_buffer_view(&payload), &reply, &arena, &error), AB_INVALID);
    assert_int_equal(engine_fixture_produce(fixture, 99, ab_buffer_view(&payload), &reply, &arena, &error), AB_INVALID);
    assert_int_equal(engine_fixture_produce(fixture, 0, bytes_of("not a block"), &reply, &arena, &error), AB_INVALID);
    assert_int_equal(engine_fixture_produce(fixture, 0, ab_bytes_of(NULL, 0), &reply, &arena, &error), AB_INVALID);
    assert_ok(engine_fixture_produce(fixture, 0, ab_buffer_view(&payload), &reply, &arena, &error));
    assert_false(reply.is_repeat);
    assert_ok(engine_fixture_produce(fixture, 0, ab_buffer_view(&payload), &reply, &arena, &error));
    assert_true(reply.is_repeat);
    assert_int_equal(ask(fixture->node, AB_VERB_CUT, "{", &json, &error), AB_SYNTAX);
    assert_int_equal(ask(fixture->node, AB_VERB_CUT, "{\"cut\":0}", &json, &error), AB_INVALID);
    assert_int_equal(
        ask(fixture->node, AB_VERB_CUT, "{\"cut\":1,\"time_us\":5,\"catalog_hex\":\"zz\"}", &json, &error), AB_INVALID);
    assert_int_equal(
        ask(fixture->node, AB_VERB_CUT, "{\"cut\":1,\"time_us\":5,\"catalog_hex\":\"00ff\"}", &json, &error),
        AB_CORRUPT);
    assert_int_equal(ask(fixture->producer, AB_VERB_CUT, "{\"cut\":1,\"time_us\":5}", &json, &error), AB_DENIED);
    expect_count(fixture, 0, 10);
    ab_arena_fini(&arena);
    ab_buffer_fini(&payload);
}

static void test_engine_cut_digest_and_retire(void **state)
{
    struct engine_fixture *fixture = *state;
    struct ab_error error;
    struct ab_json *json = NULL;
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        produce_good(fixture, p, 0, 50);
    }
    assert_ok(ask(fixture->node, AB_VERB_CUT, "{\"cut\":1,\"time_us\":1000}", &json, &error));
    assert_int_equal(ab_json_count(ab_json_get(json, "partitions")), ENGINE_PARTITIONS);
    assert_int_equal(number_at(json, "partitions", 1, "offset"), 3);
    assert_int_equal(number_at(json, "partitions", 1, "accepted"), 50);
    ab_json_destroy(json);
    produce_good(fixture, 0, 5000, 7);
    expect_count(fixture, 1, 7);
    expect_count(fixture, 0, ENGINE_PARTITIONS * 50 + 7);
    assert_ok(ask(fixture->batch, AB_VERB_DIGEST, "{\"span\":1,\"view_uid\":1}", &json, &error));
    int64_t rows = 0;
    for (size_t p = 0; p < ENGINE_PARTITIONS; p++) {
        rows += number_at(json, "partitions", p, "rows");
        assert_int_equal(number_at(json, "partitions", p, "aggregated"), 50);
    }
    assert_int_equal(rows, ENGINE_PARTITIONS * 50);
    ab_json_destroy(json);
    assert_ok(ask(fixture->node, AB_VERB_RETIRE, "{\"cut\":1,\"log_offsets\":[3,3,3]}", &json, &error));
    ab_json_destroy(json);
    uint64_t count = 0;
    assert_int_equal(count_rows(fixture, SQL, 0, &count, &error), AB_STALE);
    expect_count(fixture, 1, 7);
    assert_int_equal(ask(fixture->batch, AB_VERB_DIGEST, "{\"span\":1,\"view_uid\":1}", &json, &error), AB_STALE);
}

static void test_engine_marks_dead_letters_and_status(void **state)
{
    struct engine_fixture *fixture = *state;
    struct ab_error error;
    struct ab_json *json = NULL;
    struct ab_arena arena = {0};
    struct ab_buffer payload = {0};
    struct ab_wire_produce_reply reply;
    engine_fixture_block(fixture, 2, 10, 4, true, true, &payload);
    assert_ok(engine_fixture_produce(fixture, 2, ab_buffer_view(&payload), &reply, &arena, &error));
    assert_int_equal(reply.rejected, 4);
    assert_int_equal(reply.rejected_rows_count, 4);
    assert_ok(
        ask(fixture->producer, AB_VERB_SOURCE_MARKS, "{\"stream\":\"events\",\"source\":\"file.csv\"}", &json, &error));
    assert_int_equal(ab_json_count(ab_json_get(json, "marks")), 1);
    assert_int_equal(number_at(json, "marks", 0, "partition"), 2);
    assert_int_equal(number_at(json, "marks", 0, "byte_offset"), 4711);
    ab_json_destroy(json);
    assert_ok(ask(fixture->query, AB_VERB_DEAD_LETTERS, "{\"stream\":\"events\",\"limit\":3}", &json, &error));
    assert_int_equal(ab_json_count(ab_json_get(json, "rows")), 3);
    assert_int_equal(ab_json_integer_or(ab_json_get(json, "total"), 0), 4);
    assert_true(number_at(json, "rows", 0, "row") == 3 && number_at(json, "rows", 2, "row") == 1); /* newest first */
    struct ab_json *row = ab_json_at(ab_json_get(json, "rows"), 2);
    assert_non_null(strstr(ab_json_text_or(ab_json_get(row, "reason"), ""), "CHECK"));
    assert_true(ab_json_real_or(ab_json_get(ab_json_get(row, "values"), "amount"), 0) == -1);
    assert_true(ab_json_integer_or(ab_json_get(row, "line"), 0) > 10);
    ab_json_destroy(json);
    assert_int_equal(
        ask(fixture->query, AB_VERB_DEAD_LETTERS, "{\"stream\":\"events\",\"limit\":10001}", &json, &error),
        AB_INVALID);
    assert_ok(ask(fixture->node, AB_VERB_STATUS, "{}", &json, &error));
    assert_int_equal(ab_json_integer_or(ab_json_get(ab_json_get(json, "counters"), "rejected"), 0), 4);
    ab_json_destroy(json);
    assert_ok(ask(fixture->node, AB_VERB_LOG_STATE, "{}", &json, &error));
    assert_int_equal(number_at(json, "partitions", 2, "durable"), 2);
    ab_json_destroy(json);
    ab_arena_fini(&arena);
    ab_buffer_fini(&payload);
}

/* I8: many groups through a small budget: partials are stored in time, the budget holds, nothing is lost. */
static void test_invariant_8_memory_stays_below_its_budget(void **state)
{
    struct engine_fixture *fixture = *state;
    struct ab_error error;
    struct ab_json *json = NULL;
    struct ab_buffer payload = {0};
    struct ab_arena arena = {0};
    struct ab_wire_produce_reply reply;
    uint64_t sent = 0;
    int64_t most = 0;
    int refused = 0;
    for (uint32_t block = 0; block < 40; block++) {
        uint32_t partition = block % ENGINE_PARTITIONS;
        engine_fixture_block(fixture, partition, block * 20000, 5000, false, false, &payload);
        ab_err err = AB_FULL;
        while ((err = engine_fixture_produce(fixture, partition, ab_buffer_view(&payload), &reply, &arena, &error)) ==
               AB_FULL) {
            refused++;
            ab_time_sleep_us(20 * AB_US_PER_MS);
        }
        assert_ok(err);
        sent += reply.accepted;
        assert_ok(ask(fixture->node, AB_VERB_STATUS, "{}", &json, &error));
        int64_t partials = ab_json_integer_or(ab_json_get(json, "partials_bytes"), 0);
        most = partials > most ? partials : most;
        ab_json_destroy(json);
    }
    /* One block may go past the limit, because apply cannot fail; nothing comes in above it. */
    assert_true(most < (int64_t)fixture->memory_bytes);
    expect_count(fixture, 0, sent);
    assert_int_equal(sent, 40 * 5000);
    ab_arena_fini(&arena);
    ab_buffer_fini(&payload);
    (void)refused;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_engine_answers_all_acknowledged_rows_also_after_restart, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_engine_idle_notes_what_is_durable, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_engine_scrubs_closed_segments_and_goes_on_serving, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_engine_refuses_what_is_wrong_and_goes_on, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_engine_cut_digest_and_retire, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(test_engine_marks_dead_letters_and_status, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(
            test_invariant_8_memory_stays_below_its_budget, setup_small, engine_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
