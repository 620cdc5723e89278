/* acting_fixture: three controllers and three nodes of a cluster over one local coordination service, without daemons.
 */
#ifndef ANABRANCH_TESTS_UNIT_CLUSTER_ACTING_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_CLUSTER_ACTING_FIXTURE_H

#include "cluster/controller/acting_loop.h"
#include "cluster/controller/changes.h"
#include "cluster/controller/facts.h"
#include "common/base/random.h"
#include "common/crypto/crypto.h"
#include "tests/support/test.h"

#define FIXTURE_NODES 3u
#define FIXTURE_NODES_MAX 4u /* one more may come */
#define FIXTURE_PARTITIONS 8u

struct acting_fixture {
    char *directory;
    char *address;
    struct ab_coordination *observer; /* of the test */
    struct acting_fixture_controller {
        struct ab_coordination *session; /* NULL = gone */
        struct ab_acting_loop *loop;
    } controllers[FIXTURE_NODES];
    struct acting_fixture_node {
        struct ab_coordination *session; /* NULL = gone */
        struct ab_live_node live;
    } nodes[FIXTURE_NODES_MAX];
};

static inline struct ab_coordination *fixture_session(const struct acting_fixture *fixture)
{
    struct ab_coordination *session = NULL;
    struct ab_error error = {0};
    assert_ok(ab_coordination_open(fixture->address, &session, &error));
    return session;
}

static inline void fixture_store(const struct acting_fixture *fixture, const char *path, const char *text)
{
    struct ab_error error = {0};
    assert_ok(ab_coordination_store(fixture->observer, path, ab_bytes_of_text(text), &error));
}

/* ---- nodes ---- */

static inline void fixture_endpoints(struct ab_live_node *live)
{
    uint8_t key[AB_WIRE_KEY_BYTES] = {(uint8_t)live->node};
    char hex[2 * AB_CRYPTO_KEY_BYTES + 1];
    ab_crypto_key_format(key, hex);
    live->endpoints.count = 2;
    (void)snprintf(live->endpoints.items[0].name, sizeof live->endpoints.items[0].name, "speed");
    (void)snprintf(live->endpoints.items[0].address, sizeof live->endpoints.items[0].address, "tcp://127.0.0.1:%u",
        7100 + live->node);
    (void)snprintf(live->endpoints.items[1].name, sizeof live->endpoints.items[1].name, "speed-key");
    (void)snprintf(live->endpoints.items[1].address, sizeof live->endpoints.items[1].address, "%s", hex);
}

/* Registers a new process of a node's disk, as speed does. */
static inline void fixture_node_start(struct acting_fixture *fixture, uint32_t node)
{
    struct acting_fixture_node *made = &fixture->nodes[node - 1];
    struct ab_live_node *live = &made->live;
    struct ab_error error = {0};
    struct ab_buffer text = {0};
    char path[AB_REGISTRATION_PATH_BYTES];
    live->node = node;
    live->starts++;
    live->disk_id = (struct ab_hash128){.low = node, .high = 0xd};
    live->incarnation = (struct ab_hash128){.low = ab_random_id(), .high = node};
    fixture_endpoints(live);
    struct ab_node_registration registration = {
        .node = node, .disk_id = live->disk_id, .starts = live->starts, .weight = 1, .endpoints = live->endpoints};
    made->session = fixture_session(fixture);
    assert_ok(ab_coordination_ensure(made->session, "/nodes", &error));
    assert_ok(ab_coordination_ensure(made->session, "/live", &error));
    ab_node_path(node, path);
    assert_ok(ab_node_registration_encode(&registration, &text, &error));
    assert_ok(ab_coordination_store(made->session, path, ab_buffer_view(&text), &error));
    ab_buffer_clear(&text);
    ab_live_path(node, live->incarnation, path);
    assert_ok(ab_live_node_encode(live, &text, &error));
    assert_ok(ab_coordination_create(made->session, path, ab_buffer_view(&text), true, &error));
    ab_buffer_fini(&text);
}

static inline void fixture_node_kill(struct acting_fixture *fixture, uint32_t node)
{
    ab_coordination_close(fixture->nodes[node - 1].session);
    fixture->nodes[node - 1].session = NULL;
}

/* ---- controllers ---- */

static inline void fixture_controller_start(struct acting_fixture *fixture, uint32_t node)
{
    struct acting_fixture_controller *controller = &fixture->controllers[node - 1];
    struct ab_acting_loop_options options = {
        .own = {.node = node, .incarnation = {.low = ab_random_id(), .high = node}},
        .identity = {.cluster_id = {7}, .partitions_count = FIXTURE_PARTITIONS}};
    (void)snprintf(options.own.address, sizeof options.own.address, "tcp://127.0.0.1:%u", 7300 + node);
    controller->session = fixture_session(fixture);
    controller->loop = ab_acting_loop_create(&options);
}

static inline void fixture_controller_kill(struct acting_fixture *fixture, uint32_t node)
{
    struct acting_fixture_controller *controller = &fixture->controllers[node - 1];
    ab_acting_loop_destroy(controller->loop);
    ab_coordination_close(controller->session);
    *controller = (struct acting_fixture_controller){0};
}

/* One step of one that lives. */
static inline ab_err fixture_step(struct acting_fixture *fixture, uint32_t node)
{
    struct acting_fixture_controller *controller = &fixture->controllers[node - 1];
    struct ab_error error = {0};
    bool is_done = true;
    return ab_acting_loop_step(controller->loop, controller->session, &is_done, &error);
}

/* Steps of all that live, until none has anything left. */
static inline void fixture_settle(struct acting_fixture *fixture)
{
    bool is_settled = false;
    for (int round = 0; !is_settled; round++) {
        assert_true(round < 20);
        is_settled = true;
        for (uint32_t n = 0; n < FIXTURE_NODES; n++) {
            struct acting_fixture_controller *controller = &fixture->controllers[n];
            struct ab_error error = {0};
            bool is_done = true;
            if (controller->loop != NULL &&
                ab_acting_loop_step(controller->loop, controller->session, &is_done, &error) != AB_OK) {
                fail_msg("%s", error.text);
            }
            is_settled = is_settled && is_done;
        }
    }
}

/* The node whose controller acts; 0. There is never more than one that believes so after a step. */
static inline uint32_t fixture_acting(struct acting_fixture *fixture)
{
    uint32_t found = 0;
    for (uint32_t n = 0; n < FIXTURE_NODES; n++) {
        struct ab_acting_loop *loop = fixture->controllers[n].loop;
        if (loop != NULL && ab_acting_loop_is_acting(loop, NULL)) {
            assert_int_equal(found, 0);
            found = n + 1;
        }
    }
    return found;
}

static inline void fixture_state(
    struct acting_fixture *fixture, uint32_t partition, struct ab_replica_set *state, uint64_t *version)
{
    struct ab_error error = {0};
    if (ab_facts_state_read(fixture->observer, partition, state, version, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
}

/* The first partition from `first` on that a node leads. */
static inline uint32_t fixture_led_by(struct acting_fixture *fixture, uint32_t node, uint32_t first)
{
    struct ab_replica_set now;
    uint64_t version = 0;
    for (uint32_t p = first; p < FIXTURE_PARTITIONS; p++) {
        fixture_state(fixture, p, &now, &version);
        if (now.leader == node) {
            return p;
        }
    }
    fail_msg("node %u leads nothing from partition %u on", node, first);
    return UINT32_MAX;
}

/* All states, and how often each was changed. */
struct fixture_states {
    struct ab_replica_set items[FIXTURE_PARTITIONS];
    uint64_t versions[FIXTURE_PARTITIONS];
};

static inline void fixture_states(struct acting_fixture *fixture, struct fixture_states *states)
{
    for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++) {
        fixture_state(fixture, p, &states->items[p], &states->versions[p]);
    }
}

/* ---- life ---- */

#define FIXTURE_CLUSTER(id, partitions, replicas, min_isr, nodes)                                                      \
    "{\"format\":1,\"cluster\":\"" id "\",\"partitions\":" partitions ",\"replicas\":" replicas                        \
    ",\"min_isr\":" min_isr ",\"nodes\":" nodes "}"
#define FIXTURE_ID "07000000000000000000000000000000"

/* Three controllers that have not made a step, no nodes; /cluster says that three belong to it. */
static inline int fixture_setup(void **state)
{
    struct acting_fixture *fixture = ab_new(struct acting_fixture);
    fixture->directory = scratch_make();
    fixture->address = ab_new_format("local:%s/coordination", fixture->directory);
    fixture->observer = fixture_session(fixture);
    fixture_store(fixture, "/cluster", FIXTURE_CLUSTER(FIXTURE_ID, "8", "3", "2", "3"));
    for (uint32_t n = 1; n <= FIXTURE_NODES; n++) {
        fixture_controller_start(fixture, n);
    }
    *state = fixture;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct acting_fixture *fixture = *state;
    for (uint32_t n = 1; n <= FIXTURE_NODES; n++) {
        fixture_controller_kill(fixture, n);
    }
    for (uint32_t n = 1; n <= FIXTURE_NODES_MAX; n++) {
        fixture_node_kill(fixture, n);
    }
    ab_coordination_close(fixture->observer);
    scratch_remove(fixture->directory);
    ab_delete(fixture->address);
    ab_delete(fixture);
    return 0;
}

/* All nodes live, all partitions made. */
static inline int fixture_setup_created(void **state)
{
    (void)fixture_setup(state);
    for (uint32_t n = 1; n <= FIXTURE_NODES; n++) {
        fixture_node_start(*state, n);
    }
    fixture_settle(*state);
    return 0;
}

#endif
