#include "tests/unit/common/client/fake.h"

#include "common/base/json.h"
#include "common/crypto/key_file.h"

#include "tests/support/test.h"

static const char catalog_sql[] =
    "CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, x DOUBLE, d DECIMAL(10, 2), b BOOLEAN, "
    "EVENT TIME t, PARTITION KEY (k));";

static void keys_make(struct ab_wire_keys *keys)
{
    struct ab_crypto_keys made;
    ab_crypto_keys_generate(&made);
    memcpy(keys->public_key, made.public_key, sizeof keys->public_key);
    memcpy(keys->secret_key, made.secret_key, sizeof keys->secret_key);
}

static void key_write(const struct fake *fake, const char *role, const struct ab_wire_keys *keys)
{
    struct ab_key_file file = {0};
    char *path = ab_new_format("%s/keys/%s.key", fake->directory, role);
    struct ab_error error = {0};
    memcpy(file.keys.public_key, keys->public_key, sizeof file.keys.public_key);
    memcpy(file.keys.secret_key, keys->secret_key, sizeof file.keys.secret_key);
    snprintf(file.role, sizeof file.role, "%s", role);
    snprintf(file.name, sizeof file.name, "test");
    assert_ok(ab_key_file_write(path, &file, &error));
    ab_delete(path);
}

static void endpoint_write(struct fake *fake, const char *daemon, const struct ab_server *server)
{
    struct ab_node node = {.directory = fake->directory, .keys = fake->keys};
    struct ab_error error = {0};
    assert_ok(ab_node_endpoint_write(&node, daemon, ab_server_address(server), &error));
}

/* ---- serving ---- */

static void leaders_put(const struct fake *fake, const char *key, struct ab_buffer *text)
{
    const char *comma = "";
    ab_buffer_put_format(text, ",\"leaders\":[");
    for (uint32_t p = 0; p < fake->partitions_count; p++) {
        const struct ab_server *server = fake->leaders[p] == FAKE_SECOND ? fake->second : fake->speed;
        if (fake->leaders[p] != FAKE_NOBODY) {
            ab_buffer_put_format(text, "%s{\"partition\":%u,\"node\":%d,\"address\":\"%s\",\"key\":\"%s\"}", comma, p,
                (int)fake->leaders[p], ab_server_address(server), key);
            comma = ",";
        }
    }
    ab_buffer_put_format(
        text, "],\"serving\":[{\"node\":1,\"address\":\"%s\",\"key\":\"%s\"}]", ab_server_address(fake->serving), key);
}

static void answer_catalog(struct fake *fake, struct ab_request *request)
{
    struct ab_buffer encoded = {0};
    struct ab_buffer text = {0};
    char id[33];
    char key[2 * AB_CRYPTO_KEY_BYTES + 1];
    ab_catalog_encode(fake->catalog, &encoded);
    ab_cluster_id_format(fake->cluster_id, id);
    ab_crypto_key_format(fake->keys.public_key, key);
    ab_buffer_put_format(&text, "{\"cluster_id\":\"%s\",\"partitions\":%u,\"catalog\":\"", id, fake->partitions_count);
    ab_buffer_put_as_hex(&text, ab_buffer_view(&encoded));
    ab_buffer_put_format(&text, "\"");
    if (fake->second != NULL) {
        leaders_put(fake, key, &text);
    } else if (fake->speed != NULL) {
        ab_buffer_put_format(
            &text, ",\"speed\":{\"address\":\"%s\",\"public_key\":\"%s\"}", ab_server_address(fake->speed), key);
    }
    ab_buffer_put_format(&text, "}");
    ab_request_reply(request, AB_OK, NULL,
        fake->catalog_answer != NULL ? ab_bytes_of_text(fake->catalog_answer) : ab_buffer_view(&text));
    ab_buffer_fini(&text);
    ab_buffer_fini(&encoded);
}

static void on_serving(struct ab_request *request, void *context)
{
    struct fake *fake = context;
    ab_lock_take(&fake->lock);
    if (request->envelope.verb == AB_VERB_CATALOG) {
        answer_catalog(fake, request);
    } else if (fake->queries_count++ < fake->queries_dropped) {
        ab_request_drop(request);
    } else {
        ab_request_reply(request, fake->answer_status, fake->answer_status == AB_OK ? NULL : "the answer is no",
            ab_buffer_view(&fake->answer));
    }
    ab_lock_give(&fake->lock);
}

/* ---- speed ---- */

/* As the real one: AB_OK for the next sequence and for one that was taken before. */
static ab_err sequence_judge(struct fake *fake, const struct ab_block *block, bool *is_repeat)
{
    uint64_t *ids = fake->sequences.producer_id[block->partition];
    uint64_t *last = fake->sequences.last[block->partition];
    int i = 0;
    while (ids[i] != 0 && ids[i] != block->producer_id) {
        i++;
    }
    ids[i] = block->producer_id;
    *is_repeat = block->sequence <= last[i];
    if (block->sequence > last[i] + 1) {
        return AB_SEQUENCE;
    }
    last[i] = *is_repeat ? last[i] : block->sequence;
    return AB_OK;
}

static void block_take(struct fake *fake, struct ab_request *request, struct fake_block *arrived, enum fake_act act)
{
    bool is_repeat = false;
    ab_err status = sequence_judge(fake, &arrived->block, &is_repeat);
    arrived->was_taken = status == AB_OK && !is_repeat;
    struct ab_wire_rejected rejected = {.row = fake->rejected_row};
    struct ab_wire_produce_reply reply = {.accepted = arrived->block.rows_count, .is_repeat = is_repeat};
    struct ab_buffer payload = {0};
    if (fake->rejected_reason != NULL) {
        rejected.reason = ab_bytes_of_text(fake->rejected_reason);
        reply.rejected_rows = &rejected;
        reply.rejected_rows_count = 1;
        reply.accepted--;
        reply.rejected = 1;
    }
    ab_wire_produce_reply_encode(&reply, &payload);
    if (act == FAKE_LOSE_ANSWER) {
        ab_request_drop(request);
    } else if (act == FAKE_GARBAGE) {
        ab_request_reply(request, AB_OK, NULL, ab_bytes_of_text("\xff\xff\xff"));
    } else {
        ab_request_reply(request, status, NULL, status == AB_OK ? ab_buffer_view(&payload) : (struct ab_bytes){0});
    }
    ab_buffer_fini(&payload);
}

static void block_arrive(struct fake *fake, struct ab_request *request, bool is_at_second)
{
    struct fake_step step =
        fake->blocks_count < fake->script_count ? fake->script[fake->blocks_count] : fake->otherwise;
    struct ab_error error = {0};
    struct fake_block *arrived = &fake->blocks[fake->blocks_count];
    if (fake->blocks_count == FAKE_BLOCKS_MAX) {
        ab_request_drop(request);
        return;
    }
    arrived->bytes = ab_arena_copy(&arrived->arena, request->payload);
    if (ab_block_decode(arrived->bytes, &arrived->arena, &arrived->block, &error) != AB_OK ||
        arrived->block.partition != request->envelope.partition || arrived->block.partition >= fake->partitions_count) {
        print_error("malformed block: %s\n", error.text);
        ab_request_reply(request, AB_INVALID, error.text, (struct ab_bytes){0});
        return;
    }
    arrived->is_at_second = is_at_second;
    fake->blocks_count++;
    switch (step.act) {
    case FAKE_LOSE_REQUEST:
        ab_request_drop(request);
        return;
    case FAKE_REFUSE:
        ab_request_reply(request, step.status, "told so", (struct ab_bytes){0});
        return;
    case FAKE_HOLD:
        fake->held[fake->held_count++] = request;
        return;
    case FAKE_TAKE:
    case FAKE_LOSE_ANSWER:
    case FAKE_GARBAGE:
        block_take(fake, request, arrived, step.act);
        return;
    }
}

static void speed_take(struct fake *fake, struct ab_request *request, bool is_second)
{
    ab_lock_take(&fake->lock);
    if (request->envelope.verb == AB_VERB_PRODUCE) {
        block_arrive(fake, request, is_second);
    } else {
        ab_request_reply(request, AB_OK, NULL, ab_bytes_of_text(fake->marks != NULL ? fake->marks : "{\"marks\":[]}"));
    }
    ab_lock_give(&fake->lock);
}

static void on_speed(struct ab_request *request, void *context)
{
    speed_take(context, request, false);
}

static void on_second(struct ab_request *request, void *context)
{
    speed_take(context, request, true);
}

static struct ab_server *server_open(struct fake *fake, ab_server_on_request_fn on_request)
{
    struct ab_server_options options = {.address = "tcp://127.0.0.1:*", .on_request = on_request, .context = fake};
    struct ab_server *server = NULL;
    struct ab_error error = {0};
    if (ab_server_open(fake->wire, &options, &server, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return server;
}

/* ---- the whole ---- */

static struct ab_wire_peer peer_of(const struct ab_wire_keys *keys, enum ab_role role)
{
    struct ab_wire_peer peer = {.role = role, .name = "test"};
    memcpy(peer.public_key, keys->public_key, sizeof peer.public_key);
    return peer;
}

static void directory_make(struct fake *fake)
{
    struct ab_cluster_identity identity = {.partitions_count = fake->partitions_count};
    struct ab_error error = {0};
    fake->directory = scratch_make();
    char *run = scratch_path(fake->directory, "run");
    memcpy(identity.cluster_id, fake->cluster_id, sizeof identity.cluster_id);
    assert_ok(ab_file_make_directory(run, 0700, &error));
    assert_ok(ab_cluster_identity_write(fake->directory, &identity, &error));
    ab_delete(run);
    key_write(fake, "operator", &fake->operator_keys);
    key_write(fake, "query", &fake->query_keys);
    key_write(fake, "stranger", &fake->stranger_keys);
}

void fake_init(struct fake *fake, uint32_t partitions_count)
{
    struct ab_error error = {0};
    memset(fake, 0, sizeof *fake);
    ab_lock_init(&fake->lock);
    assert_ok(ab_crypto_init(&error));
    ab_crypto_random(fake->cluster_id, sizeof fake->cluster_id);
    fake->partitions_count = partitions_count;
    keys_make(&fake->keys);
    keys_make(&fake->operator_keys);
    keys_make(&fake->query_keys);
    keys_make(&fake->stranger_keys);
    directory_make(fake);
    assert_ok(ab_catalog_parse(ab_bytes_of_text(catalog_sql), &fake->catalog, &error));
    struct ab_wire_peer peers[2] = {
        peer_of(&fake->operator_keys, AB_ROLE_OPERATOR), peer_of(&fake->query_keys, AB_ROLE_QUERY)};
    struct ab_wire_options options = {.keys = fake->keys, .peers = peers, .peers_count = 2, .node = "fake"};
    memcpy(options.cluster_id, fake->cluster_id, sizeof options.cluster_id);
    assert_ok(ab_wire_open(&options, &fake->wire, &error));
    fake->speed = server_open(fake, on_speed);
    fake->serving = server_open(fake, on_serving);
    endpoint_write(fake, "serving", fake->serving);
    struct ab_wire_query_reply nothing = {.token = {.version = ab_bytes_of_text("none")}};
    ab_wire_query_reply_encode(&nothing, &fake->answer);
}

void fake_fini(struct fake *fake)
{
    for (size_t i = 0; i < fake->held_count; i++) {
        ab_request_drop(fake->held[i]);
    }
    ab_server_close(fake->serving);
    ab_server_close(fake->speed);
    ab_server_close(fake->second);
    ab_wire_close(fake->wire);
    for (size_t i = 0; i < fake->blocks_count; i++) {
        ab_arena_fini(&fake->blocks[i].arena);
    }
    ab_buffer_fini(&fake->answer);
    ab_catalog_release(fake->catalog);
    ab_lock_fini(&fake->lock);
    scratch_remove(fake->directory);
}

void fake_move_serving(struct fake *fake)
{
    ab_server_close(fake->serving);
    fake->serving = server_open(fake, on_serving);
    endpoint_write(fake, "serving", fake->serving);
}

void fake_move_speed(struct fake *fake)
{
    struct ab_server *moved = server_open(fake, on_speed); /* opened first: another port for sure */
    ab_lock_take(&fake->lock);
    struct ab_server *old = fake->speed;
    fake->speed = moved;
    ab_lock_give(&fake->lock);
    ab_server_close(old);
}

void fake_lead(struct fake *fake, uint32_t partition, enum fake_leader leader)
{
    struct ab_server *opened = fake->second == NULL ? server_open(fake, on_second) : NULL;
    ab_lock_take(&fake->lock);
    fake->second = opened == NULL ? fake->second : opened;
    fake->leaders[partition] = leader;
    ab_lock_give(&fake->lock);
}

void fake_script(struct fake *fake, enum fake_act act, ab_err status)
{
    ab_lock_take(&fake->lock);
    assert_true(fake->script_count < FAKE_SCRIPT_MAX);
    fake->script[fake->script_count++] = (struct fake_step){.act = act, .status = status};
    ab_lock_give(&fake->lock);
}

void fake_otherwise(struct fake *fake, enum fake_act act, ab_err status)
{
    ab_lock_take(&fake->lock);
    fake->otherwise = (struct fake_step){.act = act, .status = status};
    ab_lock_give(&fake->lock);
}

void fake_catalog_answer(struct fake *fake, const char *answer)
{
    ab_lock_take(&fake->lock);
    fake->catalog_answer = answer;
    ab_lock_give(&fake->lock);
}

void fake_sync(struct fake *fake)
{
    ab_lock_take(&fake->lock);
    ab_lock_give(&fake->lock);
}

void fake_release(struct fake *fake)
{
    ab_lock_take(&fake->lock);
    fake->otherwise = (struct fake_step){0};
    for (size_t i = 0; i < fake->held_count; i++) {
        block_take(fake, fake->held[i], &fake->blocks[i], FAKE_TAKE);
    }
    fake->held_count = 0;
    ab_lock_give(&fake->lock);
}

struct anabranch_client *fake_client(const struct fake *fake, int timeout_ms)
{
    struct anabranch_options options = {.data_directory = fake->directory, .timeout_ms = timeout_ms};
    struct anabranch_client *client = NULL;
    if (anabranch_open(&options, &client) != ANABRANCH_OK) {
        fail_msg("%s", anabranch_last_error(client));
    }
    return client;
}

uint64_t fake_rows_taken(struct fake *fake)
{
    uint64_t rows = 0;
    ab_lock_take(&fake->lock);
    for (size_t i = 0; i < fake->blocks_count; i++) {
        rows += fake->blocks[i].was_taken ? fake->blocks[i].block.rows_count : 0;
    }
    ab_lock_give(&fake->lock);
    return rows;
}

size_t fake_blocks_count(struct fake *fake)
{
    ab_lock_take(&fake->lock);
    size_t count = fake->blocks_count;
    ab_lock_give(&fake->lock);
    return count;
}

struct ab_bytes fake_text(const struct ab_block *block, const char *column, uint32_t row)
{
    const struct ab_column *found = ab_block_find(block, ab_bytes_of_text(column));
    assert_non_null(found);
    return ab_column_value(found, row).text;
}
