#include "tests/unit/speed/engine_fixture.h"

#include "common/block/key.h"
#include "common/crypto/crypto.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

static struct ab_wire_keys keys_make(void)
{
    struct ab_crypto_keys made;
    struct ab_wire_keys keys;
    ab_crypto_keys_generate(&made);
    memcpy(keys.public_key, made.public_key, sizeof(keys.public_key));
    memcpy(keys.secret_key, made.secret_key, sizeof(keys.secret_key));
    return keys;
}

void engine_fixture_start(struct engine_fixture *fixture)
{
    struct ab_error error = {0};
    struct ab_engine_options options = {.directory = fixture->directory,
        .partitions_count = ENGINE_PARTITIONS,
        .workers = 2,
        .query_threads = 2,
        .memory_bytes = fixture->memory_bytes,
        .flush_interval_us = 200 * AB_US_PER_MS,
        .segment_bytes = 4 << 20,
        .disk_watermark_percent = 99,
        .scrub_bytes_per_second = 64 << 20,
        .catalog = ab_buffer_view(&fixture->catalog)};
    if (ab_engine_open(&options, &fixture->engine, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_server_options server = {
        .address = "tcp://127.0.0.1:*", .on_request = ab_engine_on_request, .context = fixture->engine};
    assert_ok(ab_server_open(fixture->server_wire, &server, &fixture->server, &error));
    struct ab_channel **channels[ENGINE_CLIENTS] = {
        &fixture->producer, &fixture->node, &fixture->batch, &fixture->query};
    for (int i = 0; i < ENGINE_CLIENTS; i++) {
        struct ab_channel_options channel = {.address = ab_server_address(fixture->server)};
        memcpy(channel.server_key, fixture->server_keys.public_key, sizeof(channel.server_key));
        assert_ok(ab_channel_open(fixture->client_wires[i], &channel, channels[i], &error));
    }
}

void engine_fixture_end(struct engine_fixture *fixture)
{
    ab_engine_stop(fixture->engine);
    ab_channel_close(fixture->producer);
    ab_channel_close(fixture->node);
    ab_channel_close(fixture->batch);
    ab_channel_close(fixture->query);
    ab_server_close(fixture->server);
    ab_engine_close(fixture->engine);
}

int engine_fixture_setup(void **state, uint64_t memory_bytes)
{
    static const enum ab_role roles[ENGINE_CLIENTS] = {AB_ROLE_PRODUCER, AB_ROLE_NODE, AB_ROLE_BATCH, AB_ROLE_QUERY};
    struct ab_error error = {0};
    struct engine_fixture *fixture = ab_new(struct engine_fixture);
    assert_ok(ab_crypto_init(&error));
    fixture->directory = scratch_make();
    fixture->memory_bytes = memory_bytes;
    fixture->server_keys = keys_make();
    struct ab_wire_peer peers[ENGINE_CLIENTS] = {0};
    struct ab_wire_options server = {
        .keys = fixture->server_keys, .peers = peers, .peers_count = ENGINE_CLIENTS, .node = "speed"};
    for (int i = 0; i < ENGINE_CLIENTS; i++) {
        struct ab_wire_options client = {.keys = keys_make(), .node = "test"};
        memcpy(peers[i].public_key, client.keys.public_key, sizeof(peers[i].public_key));
        peers[i].role = roles[i];
        (void)snprintf(peers[i].name, sizeof(peers[i].name), "peer-%d", i);
        assert_ok(ab_wire_open(&client, &fixture->client_wires[i], &error));
    }
    assert_ok(ab_wire_open(&server, &fixture->server_wire, &error));
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &fixture->catalog);
    engine_fixture_start(fixture);
    *state = fixture;
    return 0;
}

int engine_fixture_teardown(void **state)
{
    struct engine_fixture *fixture = *state;
    engine_fixture_end(fixture);
    for (int i = 0; i < ENGINE_CLIENTS; i++) {
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
    uint32_t partition = (uint32_t)(ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key)) % ENGINE_PARTITIONS);
    ab_buffer_fini(&key);
    return partition;
}

/* A block of `rows_count` rows of users first_user, first_user + 1, … that live in the partition; amount 1, or -1 when
 * bad. */
void engine_fixture_block(struct engine_fixture *fixture, uint32_t partition, uint32_t first_user, uint32_t rows_count,
    bool is_bad, bool has_source, struct ab_buffer *out)
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
ab_err engine_fixture_produce(struct engine_fixture *fixture, uint32_t partition, struct ab_bytes payload,
    struct ab_wire_produce_reply *reply, struct ab_arena *arena, struct ab_error *error)
{
    struct ab_envelope envelope = {.protocol = AB_PROTOCOL_VERSION, .verb = AB_VERB_PRODUCE, .partition = partition};
    struct ab_answer answer = {0};
    assert_ok(ab_channel_send(fixture->producer, &envelope, payload));
    assert_ok(ab_channel_receive(fixture->producer, ENGINE_TIMEOUT_MS, &answer));
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
