/* Three nodes in one process, each an engine behind a socket of its own, with one coordination directory: what is
 * acknowledged is on all in-sync replicas, a leader that goes is replaced without a loss, one that comes back catches
 * up. */
#include "tests/unit/speed/engine_fixture.h"

#include "speed/membership.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/crypto/crypto.h"
#include "common/log/log.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

#define NODES 3u
#define WAIT_US (30 * AB_US_PER_SECOND)
#define ROWS 10u

struct node {
    uint32_t number;
    char *directory;
    struct ab_coordination *coordination;
    struct ab_membership *membership;
    struct ab_wire *wire;
    struct ab_engine *engine;
    struct ab_server *server;
    struct ab_channel *producer; /* NULL = it does not run */
    struct ab_channel *query;
};

struct cluster {
    char *directory;
    struct ab_wire_keys node_keys;
    struct ab_wire *client_wire;
    struct ab_buffer catalog;
    struct ab_coordination *coordination; /* the test's own session: it plays the controller */
    struct node nodes[NODES];
    struct engine_fixture blocks; /* only its sequences */
    uint64_t acknowledged[ENGINE_PARTITIONS];
};

static struct ab_wire_keys keys_new(void)
{
    struct ab_crypto_keys made;
    struct ab_wire_keys keys;
    ab_crypto_keys_generate(&made);
    memcpy(keys.public_key, made.public_key, sizeof keys.public_key);
    memcpy(keys.secret_key, made.secret_key, sizeof keys.secret_key);
    return keys;
}

static struct ab_coordination *coordination_open(const struct cluster *cluster)
{
    struct ab_coordination *coordination = NULL;
    struct ab_error error = {0};
    char *address = ab_new_format("local:%s/coordination", cluster->directory);
    assert_ok(ab_coordination_open(address, &coordination, &error));
    ab_delete(address);
    return coordination;
}

/* ---- nodes ---- */

static void node_start(struct cluster *cluster, struct node *node)
{
    struct ab_error error = {0};
    node->coordination = coordination_open(cluster);
    struct ab_membership_options membership = {.directory = node->directory,
        .node = node->number,
        .partitions_count = ENGINE_PARTITIONS,
        .rack = "",
        .weight = 1,
        .wire = node->wire,
        .coordination = node->coordination};
    assert_ok(ab_membership_create(&membership, &node->membership, &error));
    const struct ab_engine_replication replication = {.node = node->number,
        .incarnation = ab_membership_incarnation(node->membership),
        .disk_id = ab_membership_disk_id(node->membership),
        .outlets = &ab_membership_outlets,
        .context = node->membership};
    struct ab_engine_options options = {.directory = node->directory,
        .partitions_count = ENGINE_PARTITIONS,
        .workers = 2,
        .query_threads = 1,
        .memory_bytes = 128u << 20,
        .flush_interval_us = 200 * AB_US_PER_MS,
        .segment_bytes = 1 << 20,
        .disk_watermark_percent = 99,
        .catalog = ab_buffer_view(&cluster->catalog),
        .replication = &replication};
    if (ab_engine_open(&options, &node->engine, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_server_options server = {
        .address = "tcp://127.0.0.1:*", .on_request = ab_engine_on_request, .context = node->engine};
    assert_ok(ab_server_open(node->wire, &server, &node->server, &error));
    const struct ab_membership_start start = {.address = ab_server_address(node->server),
        .public_key = cluster->node_keys.public_key,
        .on_input = ab_engine_on_input,
        .on_over = ab_engine_ask_to_stop,
        .context = node->engine};
    if (ab_membership_start(node->membership, &start, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_channel_options channel = {.address = ab_server_address(node->server)};
    memcpy(channel.server_key, cluster->node_keys.public_key, sizeof channel.server_key);
    assert_ok(ab_channel_open(cluster->client_wire, &channel, &node->producer, &error));
    assert_ok(ab_channel_open(node->wire, &channel, &node->query, &error)); /* with the role of a node */
}

static void node_stop(struct node *node)
{
    if (node->producer == NULL) {
        return;
    }
    ab_membership_stop(node->membership);
    ab_engine_stop(node->engine);
    ab_channel_close(node->producer);
    ab_channel_close(node->query);
    node->producer = NULL;
    ab_server_close(node->server);
    ab_engine_close(node->engine);
    ab_membership_destroy(node->membership);
    ab_coordination_close(node->coordination);
}

/* ---- the part of the controller ---- */

static uint64_t state_read(struct cluster *cluster, uint32_t partition, struct ab_replica_set *state)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat;
    struct ab_error error = {0};
    ab_replica_set_path(partition, path);
    assert_ok(ab_coordination_get(cluster->coordination, path, &text, &stat, &error));
    assert_ok(ab_replica_set_decode(ab_buffer_view(&text), state, &error));
    ab_buffer_fini(&text);
    return stat.version;
}

static struct ab_replica_member member_of(const struct node *node)
{
    return (struct ab_replica_member){.node = node->number,
        .incarnation = ab_membership_incarnation(node->membership),
        .disk_id = ab_membership_disk_id(node->membership)};
}

/* Every replica is in sync and empty; node p mod 3 leads partition p. */
static void states_create(struct cluster *cluster)
{
    struct ab_error error = {0};
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        struct ab_replica_set state = {.partition = p,
            .assignment_version = 1,
            .leader_epoch = 1,
            .min_isr = 2,
            .history_id = 1,
            .token = {.low = p + 1}};
        for (uint32_t n = 0; n < NODES; n++) {
            ab_replica_nodes_add(&state.replicas, n + 1);
            ab_replica_members_add(&state.isr, member_of(&cluster->nodes[n]));
        }
        state.leader = p % NODES + 1;
        state.leader_incarnation = member_of(&cluster->nodes[p % NODES]).incarnation;
        char path[AB_REGISTRATION_PATH_BYTES];
        char folder[64];
        struct ab_buffer text = {0};
        ab_replica_set_path(p, path);
        (void)snprintf(folder, sizeof folder, "/partitions/%u", p);
        assert_ok(ab_replica_set_encode(&state, &text, &error));
        assert_ok(ab_coordination_ensure(cluster->coordination, folder, &error));
        assert_ok(ab_coordination_create(cluster->coordination, path, ab_buffer_view(&text), false, &error));
        ab_buffer_fini(&text);
    }
}

/* Has another member of the in-sync set lead where `gone` did. */
static void elect_instead_of(struct cluster *cluster, uint32_t gone)
{
    struct ab_error error = {0};
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        ab_err err = AB_CONFLICT;
        while (err == AB_CONFLICT) { /* a leader may be changing its in-sync set */
            struct ab_replica_set state;
            struct ab_buffer text = {0};
            char path[AB_REGISTRATION_PATH_BYTES];
            uint64_t version = state_read(cluster, p, &state);
            err = AB_OK;
            for (uint32_t i = 0; state.leader == gone && i < state.isr.count; i++) {
                if (state.isr.items[i].node != gone) {
                    state.leader = state.isr.items[i].node;
                    state.leader_incarnation = state.isr.items[i].incarnation;
                    state.leader_epoch++;
                    state.token.high++;
                    ab_replica_set_path(p, path);
                    assert_ok(ab_replica_set_encode(&state, &text, &error));
                    err = ab_coordination_set(cluster->coordination, path, ab_buffer_view(&text), version, &error);
                }
            }
            ab_buffer_fini(&text);
        }
        assert_ok(err);
    }
}

static void wait_in_sync(struct cluster *cluster, uint32_t count)
{
    int64_t until = ab_time_monotonic_us() + WAIT_US;
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        struct ab_replica_set state;
        do {
            assert_true(ab_time_monotonic_us() < until);
            ab_time_sleep_us(10 * AB_US_PER_MS);
            (void)state_read(cluster, p, &state);
        } while (state.isr.count != count);
    }
}

/* ---- a producer ---- */

static ab_err try_send(struct cluster *cluster, uint32_t partition, struct ab_bytes payload)
{
    struct ab_replica_set state;
    (void)state_read(cluster, partition, &state);
    struct node *node = &cluster->nodes[state.leader - 1];
    if (node->producer == NULL) {
        return AB_UNAVAILABLE;
    }
    struct ab_envelope envelope = {.verb = AB_VERB_PRODUCE, .partition = partition};
    struct ab_answer answer = {0};
    assert_ok(ab_channel_send(node->producer, &envelope, payload));
    ab_err err;
    while ((err = ab_channel_receive(node->producer, 3000, &answer)) == AB_OK &&
           answer.envelope.request_id != envelope.request_id) {
        ab_answer_free(&answer); /* of an earlier sending */
    }
    err = err == AB_OK ? answer.envelope.status : err;
    ab_answer_free(&answer);
    return err;
}

/* Sends a block until it is acknowledged: the same bytes under the same sequence. */
static void produce(struct cluster *cluster, uint32_t partition)
{
    struct ab_buffer payload = {0};
    int64_t until = ab_time_monotonic_us() + WAIT_US;
    engine_fixture_block(
        &cluster->blocks, partition, (uint32_t)cluster->acknowledged[partition], ROWS, false, false, &payload);
    ab_err err;
    while ((err = try_send(cluster, partition, ab_buffer_view(&payload))) != AB_OK) {
        assert_true(err == AB_UNAVAILABLE || err == AB_AGAIN || err == AB_TIMEOUT || err == AB_OUTCOME_UNKNOWN ||
                    err == AB_FULL);
        assert_true(ab_time_monotonic_us() < until);
        ab_time_sleep_us(5 * AB_US_PER_MS);
    }
    cluster->acknowledged[partition] += ROWS;
    ab_buffer_fini(&payload);
}

static void produce_rounds(struct cluster *cluster, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
            produce(cluster, p);
        }
    }
}

/* ---- what has to be ---- */

static uint64_t applied_on(struct node *node, uint32_t partition)
{
    struct ab_answer answer = {0};
    struct ab_error error = {0};
    struct ab_json *json = NULL;
    assert_ok(ab_channel_call(node->query, AB_VERB_LOG_STATE, ab_bytes_of(NULL, 0), 5000, &answer, &error));
    assert_ok(ab_json_parse(answer.payload, &json, &error));
    const struct ab_json *entry = ab_json_at(ab_json_get(json, "partitions"), partition);
    uint64_t applied = ab_json_u64_or(ab_json_get(entry, "applied"), 0);
    ab_json_destroy(json);
    ab_answer_free(&answer);
    return applied;
}

/* All running replicas apply the same records in the end. */
static void wait_applied(struct cluster *cluster)
{
    int64_t until = ab_time_monotonic_us() + WAIT_US;
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        bool is_same = false;
        while (!is_same) {
            uint64_t least = UINT64_MAX;
            uint64_t most = 0;
            for (uint32_t n = 0; n < NODES; n++) {
                if (cluster->nodes[n].producer != NULL) {
                    uint64_t applied = applied_on(&cluster->nodes[n], p);
                    least = applied < least ? applied : least;
                    most = applied > most ? applied : most;
                }
            }
            is_same = least == most && most > cluster->acknowledged[p] / ROWS;
            assert_true(is_same || ab_time_monotonic_us() < until);
            ab_time_sleep_us(5 * AB_US_PER_MS);
        }
    }
}

/* Compares the bytes of all logs, up to what all have applied (I3), which holds all that was acknowledged (I1). */
static void logs_compare(struct cluster *cluster)
{
    wait_applied(cluster);
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        struct ab_log_reader *readers[NODES] = {0};
        struct ab_error error = {0};
        struct ab_record first;
        struct ab_record other;
        size_t readers_count = 0;
        uint64_t applied = 0;
        for (uint32_t n = 0; n < NODES; n++) {
            if (cluster->nodes[n].producer != NULL) {
                applied = applied == 0 ? applied_on(&cluster->nodes[n], p) : applied;
                char *log = ab_new_format("%s/partition-%u/log", cluster->nodes[n].directory, p);
                assert_ok(ab_log_reader_open(log, 0, applied, &readers[readers_count++], &error));
                ab_delete(log);
            }
        }
        uint64_t rows = 0;
        while (rows < cluster->acknowledged[p]) {
            assert_ok(ab_log_reader_next(readers[0], &first, &error));
            rows += first.header.kind == AB_RECORD_BLOCK ? first.header.rows_count : 0;
            for (size_t r = 1; r < readers_count; r++) {
                assert_ok(ab_log_reader_next(readers[r], &other, &error));
                assert_int_equal(first.encoded.bytes, other.encoded.bytes);
                assert_memory_equal(first.encoded.data, other.encoded.data, first.encoded.bytes);
            }
        }
        for (size_t r = 0; r < readers_count; r++) {
            ab_log_reader_close(readers[r]);
        }
    }
}

/* ---- life ---- */

static int setup(void **state)
{
    struct ab_error error = {0};
    struct cluster *cluster = ab_new(struct cluster);
    assert_ok(ab_crypto_init(&error));
    cluster->directory = scratch_make();
    cluster->node_keys = keys_new();
    struct ab_wire_keys client_keys = keys_new();
    struct ab_wire_peer peers[2] = {{.role = AB_ROLE_NODE, .name = "node"}, {.role = AB_ROLE_OPERATOR, .name = "test"}};
    memcpy(peers[0].public_key, cluster->node_keys.public_key, AB_WIRE_KEY_BYTES);
    memcpy(peers[1].public_key, client_keys.public_key, AB_WIRE_KEY_BYTES);
    struct ab_wire_options client = {.keys = client_keys, .node = "test"};
    assert_ok(ab_wire_open(&client, &cluster->client_wire, &error));
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &cluster->catalog);
    cluster->coordination = coordination_open(cluster);
    for (uint32_t n = 0; n < NODES; n++) {
        struct node *node = &cluster->nodes[n];
        struct ab_wire_options wire = {
            .keys = cluster->node_keys, .peers = peers, .peers_count = 2, .node = "speed", .io_threads = 1};
        node->number = n + 1;
        node->directory = ab_new_format("%s/node-%u", cluster->directory, n + 1);
        assert_ok(ab_file_make_directory(node->directory, 0700, &error));
        assert_ok(ab_wire_open(&wire, &node->wire, &error));
        node_start(cluster, node);
    }
    states_create(cluster);
    *state = cluster;
    return 0;
}

static int teardown(void **state)
{
    struct cluster *cluster = *state;
    for (uint32_t n = 0; n < NODES; n++) {
        node_stop(&cluster->nodes[n]);
        ab_wire_close(cluster->nodes[n].wire);
        ab_delete(cluster->nodes[n].directory);
    }
    ab_coordination_close(cluster->coordination);
    ab_wire_close(cluster->client_wire);
    ab_buffer_fini(&cluster->catalog);
    scratch_remove(cluster->directory);
    ab_delete(cluster);
    return 0;
}

/* ---- cases ---- */

static void test_replicas_have_the_same_bytes_of_what_was_acknowledged(void **state)
{
    struct cluster *cluster = *state;
    produce_rounds(cluster, 30);
    logs_compare(cluster);
}

static void test_replicas_go_on_without_a_leader_that_is_gone_and_take_it_in_again(void **state)
{
    struct cluster *cluster = *state;
    produce_rounds(cluster, 10);
    for (uint32_t gone = 1; gone <= NODES; gone++) {
        struct node *node = &cluster->nodes[gone - 1];
        node_stop(node);
        elect_instead_of(cluster, gone);
        produce_rounds(cluster, 10);
        wait_in_sync(cluster, NODES - 1);
        logs_compare(cluster);
        node_start(cluster, node);
        wait_in_sync(cluster, NODES);
        produce_rounds(cluster, 5);
        logs_compare(cluster);
    }
}

static void test_a_leader_without_enough_replicas_refuses(void **state)
{
    struct cluster *cluster = *state;
    struct ab_buffer payload = {0};
    produce_rounds(cluster, 3);
    node_stop(&cluster->nodes[1]);
    node_stop(&cluster->nodes[2]);
    engine_fixture_block(&cluster->blocks, 0, 1000, ROWS, false, false, &payload);
    int64_t until = ab_time_monotonic_us() + WAIT_US;
    ab_err err = AB_OK;
    while ((err = try_send(cluster, 0, ab_buffer_view(&payload))) != AB_UNAVAILABLE) {
        assert_true(err == AB_TIMEOUT || err == AB_OUTCOME_UNKNOWN);
        assert_true(ab_time_monotonic_us() < until);
    }
    ab_buffer_fini(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_replicas_have_the_same_bytes_of_what_was_acknowledged, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_replicas_go_on_without_a_leader_that_is_gone_and_take_it_in_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_leader_without_enough_replicas_refuses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
