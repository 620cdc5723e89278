#include "tests/unit/speed/replicas_fixture.h"

#include "cluster/election.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/crypto/crypto.h"
#include "tests/support/test.h"
#include "tests/unit/speed/rig.h"

static struct ab_wire_keys keys_new(void)
{
    struct ab_crypto_keys made;
    struct ab_wire_keys keys;
    ab_crypto_keys_generate(&made);
    memcpy(keys.public_key, made.public_key, sizeof keys.public_key);
    memcpy(keys.secret_key, made.secret_key, sizeof keys.secret_key);
    return keys;
}

struct ab_coordination *replicas_coordination_open(const struct replicas *replicas)
{
    struct ab_coordination *coordination = NULL;
    struct ab_error error = {0};
    char *address = ab_new_format("local:%s/coordination", replicas->directory);
    assert_ok(ab_coordination_open(address, &coordination, &error));
    ab_delete(address);
    return coordination;
}

/* ---- nodes ---- */

void replicas_node_start(struct replicas *replicas, struct replicas_node *node)
{
    struct ab_error error = {0};
    node->coordination = replicas_coordination_open(replicas);
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
        .was_here = ab_membership_was_here(node->membership),
        .outlets = &ab_membership_outlets,
        .context = node->membership};
    struct ab_engine_options options = {.directory = node->directory,
        .partitions_count = ENGINE_PARTITIONS,
        .workers = 2,
        .query_threads = 1,
        .memory_bytes = 128u << 20,
        .flush_interval_us = 200 * AB_US_PER_MS,
        .segment_bytes = replicas->segment_bytes,
        .disk_watermark_percent = 99,
        .catalog = ab_buffer_view(&replicas->catalog),
        .replication = &replication};
    if (ab_engine_open(&options, &node->engine, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_server_options server = {
        .address = "tcp://127.0.0.1:*", .on_request = ab_engine_on_request, .context = node->engine};
    assert_ok(ab_server_open(node->wire, &server, &node->server, &error));
    const struct ab_membership_start start = {.address = ab_server_address(node->server),
        .public_key = replicas->node_keys.public_key,
        .on_input = ab_engine_on_input,
        .on_over = ab_engine_ask_to_stop,
        .damaged = ab_engine_damaged,
        .holds = ab_engine_holds,
        .context = node->engine};
    if (ab_membership_start(node->membership, &start, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    struct ab_channel_options channel = {.address = ab_server_address(node->server)};
    memcpy(channel.server_key, replicas->node_keys.public_key, sizeof channel.server_key);
    assert_ok(ab_channel_open(replicas->client_wire, &channel, &node->producer, &error));
    assert_ok(ab_channel_open(node->wire, &channel, &node->query, &error)); /* with the role of a node */
}

void replicas_node_stop(struct replicas_node *node)
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

uint64_t replicas_state_read(struct replicas *replicas, uint32_t partition, struct ab_replica_set *state)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat;
    struct ab_error error = {0};
    ab_replica_set_path(partition, path);
    assert_ok(ab_coordination_get(replicas->coordination, path, &text, &stat, &error));
    assert_ok(ab_replica_set_decode(ab_buffer_view(&text), state, &error));
    ab_buffer_fini(&text);
    return stat.version;
}

static struct ab_replica_member member_of(const struct replicas_node *node)
{
    return (struct ab_replica_member){.node = node->number,
        .incarnation = ab_membership_incarnation(node->membership),
        .disk_id = ab_membership_disk_id(node->membership)};
}

/* Every replica is in sync and empty; node p mod 3 leads partition p. */
static void states_create(struct replicas *replicas)
{
    struct ab_error error = {0};
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        struct ab_replica_set state = {.partition = p,
            .assignment_version = 1,
            .leader_epoch = 1,
            .min_isr = 2,
            .history_id = 1,
            .token = {.low = p + 1}};
        for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
            ab_replica_nodes_add(&state.replicas, n + 1);
            ab_replica_members_add(&state.isr, member_of(&replicas->nodes[n]));
        }
        state.leader = p % REPLICAS_NODES + 1;
        state.leader_incarnation = member_of(&replicas->nodes[p % REPLICAS_NODES]).incarnation;
        char path[AB_REGISTRATION_PATH_BYTES];
        char folder[64];
        struct ab_buffer text = {0};
        ab_replica_set_path(p, path);
        (void)snprintf(folder, sizeof folder, "/partitions/%u", p);
        assert_ok(ab_replica_set_encode(&state, &text, &error));
        assert_ok(ab_coordination_ensure(replicas->coordination, folder, &error));
        assert_ok(ab_coordination_create(replicas->coordination, path, ab_buffer_view(&text), false, &error));
        ab_buffer_fini(&text);
    }
}

/* What is registered of the nodes that run. */
static uint32_t live_nodes(const struct replicas *replicas, struct ab_live_node live[REPLICAS_NODES])
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
        const struct replicas_node *node = &replicas->nodes[n];
        if (node->producer != NULL) {
            const struct ab_replica_member member = member_of(node);
            live[count++] = (struct ab_live_node){
                .node = member.node, .incarnation = member.incarnation, .disk_id = member.disk_id, .starts = 1};
        }
    }
    return count;
}

static ab_err change_commit(struct replicas *replicas, const struct ab_partition_change *change)
{
    struct ab_error error = {0};
    struct ab_buffer text = {0};
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_replica_set state = change->state;
    state.token = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
    ab_replica_set_path(state.partition, path);
    assert_ok(ab_replica_set_encode(&state, &text, &error));
    ab_err err = ab_coordination_set(replicas->coordination, path, ab_buffer_view(&text), change->version, &error);
    ab_buffer_fini(&text);
    return err;
}

void replicas_elect(struct replicas *replicas)
{
    ab_err err = AB_CONFLICT;
    while (err == AB_CONFLICT) { /* a leader may be changing its in-sync set */
        struct ab_replica_set states[ENGINE_PARTITIONS];
        struct ab_partition_fact facts[ENGINE_PARTITIONS];
        struct ab_live_node live[REPLICAS_NODES];
        struct ab_partition_plan plan = {0};
        for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
            facts[p].version = replicas_state_read(replicas, p, &states[p]);
            facts[p].state = &states[p];
        }
        const struct ab_election_input input = {.live = live,
            .live_count = live_nodes(replicas, live),
            .partitions = facts,
            .partitions_count = ENGINE_PARTITIONS};
        ab_partition_plan_init(&plan, ENGINE_PARTITIONS, ENGINE_PARTITIONS);
        assert_ok(ab_election_plan(&input, &plan));
        err = AB_OK;
        for (uint32_t c = 0; c < plan.changes_count && err == AB_OK; c++) {
            err = change_commit(replicas, &plan.changes[c]);
        }
        ab_partition_plan_fini(&plan);
    }
    assert_ok(err);
}

void replicas_wait_in_sync(struct replicas *replicas, uint32_t count)
{
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        struct ab_replica_set state;
        do {
            assert_true(ab_time_monotonic_us() < until);
            ab_time_sleep_us(10 * AB_US_PER_MS);
            (void)replicas_state_read(replicas, p, &state);
        } while (state.isr.count != count);
    }
}

/* ---- life ---- */

int replicas_setup(void **state)
{
    return replicas_setup_segments(state, 1 << 20);
}

int replicas_setup_segments(void **state, uint64_t segment_bytes)
{
    struct ab_error error = {0};
    struct replicas *replicas = ab_new(struct replicas);
    replicas->segment_bytes = segment_bytes;
    assert_ok(ab_crypto_init(&error));
    replicas->directory = scratch_make();
    replicas->node_keys = keys_new();
    replicas->client_keys = keys_new();
    memset(replicas->cluster_id, 7, sizeof replicas->cluster_id);
    struct ab_wire_peer peers[2] = {{.role = AB_ROLE_NODE, .name = "node"}, {.role = AB_ROLE_OPERATOR, .name = "test"}};
    memcpy(peers[0].public_key, replicas->node_keys.public_key, AB_WIRE_KEY_BYTES);
    memcpy(peers[1].public_key, replicas->client_keys.public_key, AB_WIRE_KEY_BYTES);
    struct ab_wire_options client = {.keys = replicas->client_keys, .node = "test"};
    memcpy(client.cluster_id, replicas->cluster_id, sizeof client.cluster_id);
    assert_ok(ab_wire_open(&client, &replicas->client_wire, &error));
    rig_catalog(rig_catalog_text, ab_bytes_of(NULL, 0), &replicas->catalog);
    replicas->coordination = replicas_coordination_open(replicas);
    for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
        struct replicas_node *node = &replicas->nodes[n];
        struct ab_wire_options wire = {
            .keys = replicas->node_keys, .peers = peers, .peers_count = 2, .node = "speed", .io_threads = 1};
        memcpy(wire.cluster_id, replicas->cluster_id, sizeof wire.cluster_id);
        node->number = n + 1;
        node->directory = ab_new_format("%s/node-%u", replicas->directory, n + 1);
        assert_ok(ab_file_make_directory(node->directory, 0700, &error));
        assert_ok(ab_wire_open(&wire, &node->wire, &error));
        replicas_node_start(replicas, node);
    }
    states_create(replicas);
    *state = replicas;
    return 0;
}

int replicas_teardown(void **state)
{
    struct replicas *replicas = *state;
    for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
        replicas_node_stop(&replicas->nodes[n]);
        ab_wire_close(replicas->nodes[n].wire);
        ab_delete(replicas->nodes[n].directory);
    }
    ab_coordination_close(replicas->coordination);
    ab_wire_close(replicas->client_wire);
    ab_buffer_fini(&replicas->catalog);
    scratch_remove(replicas->directory);
    ab_delete(replicas);
    return 0;
}
