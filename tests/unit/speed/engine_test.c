/* The engine behind a real socket with CURVE: every verb speed answers, refusals, restart, and its memory bound (I8).
 */
#include "common/aggregate/rollup.h"
#include "common/base/json.h"
#include "common/block/key.h"
#include "common/crypto/crypto.h"
#include "speed/engine.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

#define PARTITIONS 3u
#define CLIENTS 4
#define SQL "SELECT n, total, least, most FROM by_user"
#define TIMEOUT_MS 20000

struct fixture {
    char *directory;
    struct ab_wire_keys server_keys;
    struct ab_wire *server_wire;
    struct ab_wire *client_wires[CLIENTS];
    struct ab_channel *producer;
    struct ab_channel *node;
    struct ab_channel *batch;
    struct ab_channel *query;
    struct ab_engine *engine;
    struct ab_server *server;
    struct ab_buffer catalog;
    uint64_t sequence[PARTITIONS];
    uint64_t memory_bytes;
};

static struct ab_wire_keys keys_make(void)
{
    struct ab_crypto_keys made;
    struct ab_wire_keys keys;
    ab_crypto_keys_generate(&made);
    memcpy(keys.public_key, made.public_key, sizeof(keys.public_key));
    memcpy(keys.secret_key, made.secret_key, sizeof(keys.secret_key));
    return keys;
}

static void engine_start(struct fixture *fixture)
{
    struct ab_error error = {0};
    struct ab_engine_options options = {.directory = fixture->directory,
        .partitions_count = PARTITIONS,
        .workers = 2,
        .query_threads = 2,
        .memory_bytes = fixture->memory_bytes,
        .flush_interval_us = 200 * AB_US_PER_MS,
        .segment_bytes = 4 << 20,
        .disk_watermark_percent = 99,
        .catalog = ab_buffer_view(&fixture->catalog)};
    if (ab_engine_open(&options, &fixture->engine, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_server_options server = {
        .address = "tcp://127.0.0.1:*", .on_request = ab_engine_on_request, .context = fixture->engine};
    assert_ok(ab_server_open(fixture->server_wire, &server, &fixture->server, &error));
    struct ab_channel **channels[CLIENTS] = {&fixture->producer, &fixture->node, &fixture->batch, &fixture->query};
    for (int i = 0; i < CLIENTS; i++) {
        struct ab_channel_options channel = {.address = ab_server_address(fixture->server)};
        memcpy(channel.server_key, fixture->server_keys.public_key, sizeof(channel.server_key));
        assert_ok(ab_channel_open(fixture->client_wires[i], &channel, channels[i], &error));
    }
}

static void engine_end(struct fixture *fixture)
{
    ab_engine_stop(fixture->engine);
    ab_channel_close(fixture->producer);
    ab_channel_close(fixture->node);
    ab_channel_close(fixture->batch);
    ab_channel_close(fixture->query);
    ab_server_close(fixture->server);
    ab_engine_close(fixture->engine);
}

static int setup_with(void **state, uint64_t memory_bytes)
{
    static const enum ab_role roles[CLIENTS] = {AB_ROLE_PRODUCER, AB_ROLE_NODE, AB_ROLE_BATCH, AB_ROLE_QUERY};
    struct ab_error error = {0};
    struct fixture *fixture = ab_new(struct fixture);
    assert_ok(ab_crypto_init(&error));
    fixture->directory = scratch_make();
    fixture->memory_bytes = memory_bytes;
    fixture->server_keys = keys_make();
    struct ab_wire_peer peers[CLIENTS] = {0};
    struct ab_wire_options server = {
        .keys = fixture->server_keys, .peers = peers, .peers_count = CLIENTS, .node = "speed"};
    for (int i = 0; i < CLIENTS; i++) {
        struct ab_wire_options client = {.keys = keys_make(), .node = "test"};
        memcpy(peers[i].public_key, client.keys.public_key, sizeof(peers[i].public_key));
        peers[i].role = roles[i];
        (void)snprintf(peers[i].name, sizeof(peers[i].name), "peer-%d", i);
        assert_ok(ab_wire_open(&client, &fixture->client_wires[i], &error));
    }
    assert_ok(ab_wire_open(&server, &fixture->server_wire, &error));
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &fixture->catalog);
    engine_start(fixture);
    *state = fixture;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, (uint64_t)256 << 20);
}

static int setup_small(void **state)
{
    return setup_with(state, (uint64_t)24 << 20);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    engine_end(fixture);
    for (int i = 0; i < CLIENTS; i++) {
        ab_wire_close(fixture->client_wires[i]);
    }
    ab_wire_close(fixture->server_wire);
    ab_buffer_fini(&fixture->catalog);
    scratch_remove(fixture->directory);
    ab_delete(fixture);
    return 0;
}

/* ---- blocks for one partition: rows of users that belong there ---- */

static uint32_t partition_of(uint32_t user)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "u%u", user);
    struct ab_value value = {.type = {.kind = AB_TYPE_TEXT}, .text = ab_bytes_of_text(text)};
    struct ab_buffer key = {0};
    ab_key_put(&key, &value);
    uint32_t partition = (uint32_t)(ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key)) % PARTITIONS);
    ab_buffer_fini(&key);
    return partition;
}

/* A block of `rows_count` rows of users first_user, first_user + 1, … that live in the partition; amount 1, or -1 when
 * bad. */
static void block_of(struct fixture *fixture, uint32_t partition, uint32_t first_user, uint32_t rows_count, bool is_bad,
    bool has_source, struct ab_buffer *out)
{
    static const struct ab_type types[3] = {
        {.kind = AB_TYPE_TEXT}, {.kind = AB_TYPE_DOUBLE}, {.kind = AB_TYPE_TIMESTAMP}};
    static const char *const names[3] = {"usr", "amount", "at"};
    struct ab_column_builder *builders[3];
    struct ab_block_column columns[3];
    for (int c = 0; c < 3; c++) {
        builders[c] = ab_column_builder_create(types[c], rows_count, NULL);
    }
    uint64_t *positions = ab_new_array(uint64_t, rows_count);
    uint32_t user = first_user;
    for (uint32_t row = 0; row < rows_count; row++, user++) {
        while (partition_of(user) != partition) {
            user++;
        }
        char text[16];
        (void)snprintf(text, sizeof(text), "u%u", user);
        struct ab_value values[3] = {{.type = types[0], .text = ab_bytes_of_text(text)},
            {.type = types[1], .real = is_bad ? -1 : 1}, {.type = types[2], .bigint = 1370044800 * AB_US_PER_SECOND}};
        for (int c = 0; c < 3; c++) {
            assert_ok(ab_column_builder_add(builders[c], &values[c]));
        }
        positions[row] = user + 1;
    }
    for (int c = 0; c < 3; c++) {
        columns[c].name = ab_bytes_of_text(names[c]);
        ab_column_builder_view(builders[c], &columns[c].column);
    }
    struct ab_block block = {.stream = bytes_of("events"),
        .producer_id = 77,
        .sequence = ++fixture->sequence[partition],
        .partition = partition,
        .rows_count = rows_count,
        .columns_count = 3,
        .columns = columns};
    if (has_source) {
        block.positions = positions;
        block.mark = (struct ab_source_mark){.source = bytes_of("file.csv"),
            .first_position = positions[0],
            .last_position = positions[rows_count - 1],
            .byte_offset = 4711};
    }
    ab_buffer_clear(out);
    assert_ok(ab_block_encode(&block, AB_BLOCK_LZ4, out));
    for (int c = 0; c < 3; c++) {
        ab_column_builder_destroy(builders[c]);
    }
    ab_delete(positions);
}

/* Sends a block and waits; the answer's status. */
static ab_err produce(struct fixture *fixture, uint32_t partition, struct ab_bytes payload,
    struct ab_wire_produce_reply *reply, struct ab_arena *arena, struct ab_error *error)
{
    struct ab_envelope envelope = {.protocol = AB_PROTOCOL_VERSION, .verb = AB_VERB_PRODUCE, .partition = partition};
    struct ab_answer answer = {0};
    assert_ok(ab_channel_send(fixture->producer, &envelope, payload));
    assert_ok(ab_channel_receive(fixture->producer, TIMEOUT_MS, &answer));
    ab_err status = answer.envelope.status;
    *error = (struct ab_error){0};
    if (status == AB_OK) {
        assert_ok(ab_wire_produce_reply_decode(answer.payload, arena, reply));
    } else {
        (void)ab_error_set(error, status, "%s", answer.envelope.error);
    }
    ab_answer_free(&answer);
    return status;
}

static void produce_good(struct fixture *fixture, uint32_t partition, uint32_t first_user, uint32_t rows_count)
{
    struct ab_buffer payload = {0};
    struct ab_arena arena = {0};
    struct ab_error error;
    struct ab_wire_produce_reply reply;
    block_of(fixture, partition, first_user, rows_count, false, true, &payload);
    if (produce(fixture, partition, ab_buffer_view(&payload), &reply, &arena, &error) != AB_OK) {
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
    AB_TRY(ab_channel_call(channel, verb, ab_bytes_of_text(body), TIMEOUT_MS, &answer, error));
    ab_err err = ab_json_parse(answer.payload, json, error);
    ab_answer_free(&answer);
    return err;
}

static int64_t number_at(const struct ab_json *json, const char *list, size_t index, const char *key)
{
    return ab_json_integer_or(ab_json_get(ab_json_at(ab_json_get(json, list), index), key), -1);
}

static ab_err count_rows(
    struct fixture *fixture, const char *sql, uint64_t cut, uint64_t *count, struct ab_error *error)
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
    ab_err err =
        ab_channel_call(fixture->node, AB_VERB_STATE_QUERY, ab_buffer_view(&payload), TIMEOUT_MS, &answer, error);
    if (err == AB_OK) {
        struct ab_wire_state_reply reply;
        struct ab_column *columns = NULL;
        uint32_t rows_count = 0;
        uint64_t overflows = 0;
        assert_ok(ab_wire_state_reply_decode(answer.payload, &arena, &reply));
        assert_int_equal(reply.partitions_count, PARTITIONS);
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

static void expect_count(struct fixture *fixture, uint64_t cut, uint64_t wanted)
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
    struct fixture *fixture = *state;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        produce_good(fixture, p, 0, 100);
        expect_count(fixture, 0, (p + 1) * 100);
    }
    uint64_t count = 0;
    struct ab_error error = {0};
    assert_ok(count_rows(fixture, "SELECT n FROM by_user WHERE usr = 'u1'", 0, &count, &error));
    assert_int_equal(count, 1);
    engine_end(fixture);
    engine_start(fixture);
    expect_count(fixture, 0, PARTITIONS * 100);
}

static void test_engine_refuses_what_is_wrong_and_goes_on(void **state)
{
    struct fixture *fixture = *state;
    struct ab_error error;
    struct ab_wire_produce_reply reply;
    struct ab_arena arena = {0};
    struct ab_buffer payload = {0};
    struct ab_json *json = NULL;
    block_of(fixture, 0, 0, 10, false, false, &payload);
    assert_int_equal(produce(fixture, 1, ab_buffer_view(&payload), &reply, &arena, &error), AB_INVALID);
    assert_int_equal(produce(fixture, 99, ab_buffer_view(&payload), &reply, &arena, &error), AB_INVALID);
    assert_int_equal(produce(fixture, 0, bytes_of("not a block"), &reply, &arena, &error), AB_INVALID);
    assert_int_equal(produce(fixture, 0, ab_bytes_of(NULL, 0), &reply, &arena, &error), AB_INVALID);
    assert_ok(produce(fixture, 0, ab_buffer_view(&payload), &reply, &arena, &error));
    assert_false(reply.is_repeat);
    assert_ok(produce(fixture, 0, ab_buffer_view(&payload), &reply, &arena, &error));
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
    struct fixture *fixture = *state;
    struct ab_error error;
    struct ab_json *json = NULL;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        produce_good(fixture, p, 0, 50);
    }
    assert_ok(ask(fixture->node, AB_VERB_CUT, "{\"cut\":1,\"time_us\":1000}", &json, &error));
    assert_int_equal(ab_json_count(ab_json_get(json, "partitions")), PARTITIONS);
    assert_int_equal(number_at(json, "partitions", 1, "offset"), 3);
    assert_int_equal(number_at(json, "partitions", 1, "accepted"), 50);
    ab_json_destroy(json);
    produce_good(fixture, 0, 5000, 7);
    expect_count(fixture, 1, 7);
    expect_count(fixture, 0, PARTITIONS * 50 + 7);
    assert_ok(ask(fixture->batch, AB_VERB_DIGEST, "{\"span\":1,\"view_uid\":1}", &json, &error));
    int64_t rows = 0;
    for (size_t p = 0; p < PARTITIONS; p++) {
        rows += number_at(json, "partitions", p, "rows");
        assert_int_equal(number_at(json, "partitions", p, "aggregated"), 50);
    }
    assert_int_equal(rows, PARTITIONS * 50);
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
    struct fixture *fixture = *state;
    struct ab_error error;
    struct ab_json *json = NULL;
    struct ab_arena arena = {0};
    struct ab_buffer payload = {0};
    struct ab_wire_produce_reply reply;
    block_of(fixture, 2, 10, 4, true, true, &payload);
    assert_ok(produce(fixture, 2, ab_buffer_view(&payload), &reply, &arena, &error));
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
    struct ab_json *row = ab_json_at(ab_json_get(json, "rows"), 2);
    assert_non_null(strstr(ab_json_text_or(ab_json_get(row, "reason"), ""), "CHECK"));
    assert_true(ab_json_real_or(ab_json_get(ab_json_get(row, "values"), "amount"), 0) == -1);
    assert_true(ab_json_integer_or(ab_json_get(row, "line"), 0) > 10);
    ab_json_destroy(json);
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
    struct fixture *fixture = *state;
    struct ab_error error;
    struct ab_json *json = NULL;
    struct ab_buffer payload = {0};
    struct ab_arena arena = {0};
    struct ab_wire_produce_reply reply;
    uint64_t sent = 0;
    int64_t most = 0;
    int refused = 0;
    for (uint32_t block = 0; block < 40; block++) {
        uint32_t partition = block % PARTITIONS;
        block_of(fixture, partition, block * 20000, 5000, false, false, &payload);
        ab_err err = AB_FULL;
        while ((err = produce(fixture, partition, ab_buffer_view(&payload), &reply, &arena, &error)) == AB_FULL) {
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
        cmocka_unit_test_setup_teardown(test_engine_answers_all_acknowledged_rows_also_after_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_engine_refuses_what_is_wrong_and_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_engine_cut_digest_and_retire, setup, teardown),
        cmocka_unit_test_setup_teardown(test_engine_marks_dead_letters_and_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_invariant_8_memory_stays_below_its_budget, setup_small, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
