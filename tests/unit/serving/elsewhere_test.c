/* A query that a node has not the version for, handed on to others: who is asked, whose answer it is, and when
 * nobody's.
 */
#include "serving/elsewhere.h"

#include "common/base/time.h"
#include "common/crypto/crypto.h"
#include "tests/support/test.h"

#include <stdatomic.h>

#define NODES 3u
#define QUERY "the query"

/* What plays serving of a node. */
struct player {
    struct ab_server *server; /* NULL = it does not run */
    atomic_int err;           /* what it answers */
    atomic_uint asked;
    atomic_bool is_silent;
    atomic_bool is_right; /* role and payload were as they have to be */
};

struct world {
    struct ab_wire_keys keys;
    struct ab_wire *wire;
    struct player players[NODES];
    struct ab_leaders_node nodes[NODES];
    struct ab_leaders leaders;
    struct ab_elsewhere *elsewhere; /* of node 2 */
    struct ab_buffer reply;
};

static void on_query(struct ab_request *request, void *context)
{
    struct player *player = context;
    player->asked++;
    player->is_right = request->role == AB_ROLE_NODE && request->envelope.verb == AB_VERB_QUERY &&
                       ab_bytes_equal(request->payload, ab_bytes_of_text(QUERY));
    if (player->is_silent) {
        ab_request_drop(request);
        return;
    }
    ab_err err = (ab_err)player->err;
    ab_request_reply(request, err, err == AB_OK ? NULL : "as told", ab_bytes_of_text(err == AB_OK ? "rows" : ""));
}

static void player_start(struct world *world, uint32_t n)
{
    struct ab_error error = {0};
    const struct ab_server_options options = {
        .address = "tcp://127.0.0.1:*", .on_request = on_query, .context = &world->players[n]};
    assert_ok(ab_server_open(world->wire, &options, &world->players[n].server, &error));
    world->nodes[n] = (struct ab_leaders_node){.node = n + 1, .endpoint.is_known = true};
    (void)snprintf(world->nodes[n].endpoint.address, sizeof world->nodes[n].endpoint.address, "%s",
        ab_server_address(world->players[n].server));
    memcpy(world->nodes[n].endpoint.public_key, world->keys.public_key, AB_WIRE_KEY_BYTES);
}

static int setup(void **state)
{
    struct world *world = ab_new(struct world);
    struct ab_crypto_keys made;
    struct ab_error error = {0};
    assert_ok(ab_crypto_init(&error));
    ab_crypto_keys_generate(&made);
    memcpy(world->keys.public_key, made.public_key, sizeof world->keys.public_key);
    memcpy(world->keys.secret_key, made.secret_key, sizeof world->keys.secret_key);
    struct ab_wire_peer peer = {.role = AB_ROLE_NODE, .name = "node"};
    memcpy(peer.public_key, made.public_key, sizeof peer.public_key);
    const struct ab_wire_options options = {.keys = world->keys, .peers = &peer, .peers_count = 1, .cluster_id = {7}};
    assert_ok(ab_wire_open(&options, &world->wire, &error));
    for (uint32_t n = 0; n < NODES; n++) {
        player_start(world, n);
    }
    world->leaders = (struct ab_leaders){.servings = world->nodes, .servings_count = NODES};
    world->elsewhere = ab_elsewhere_create(world->wire, 2);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    ab_elsewhere_destroy(world->elsewhere);
    ab_elsewhere_destroy(NULL);
    for (uint32_t n = 0; n < NODES; n++) {
        ab_server_close(world->players[n].server);
    }
    ab_wire_close(world->wire);
    ab_buffer_fini(&world->reply);
    ab_delete(world);
    return 0;
}

static ab_err ask(struct world *world, int64_t patience_us)
{
    struct ab_error error = {0};
    ab_buffer_clear(&world->reply);
    return ab_elsewhere_query(world->elsewhere, &world->leaders, ab_bytes_of_text(QUERY),
        ab_time_monotonic_us() + patience_us, &world->reply, &error);
}

static void assert_asked(struct world *world, uint32_t first, uint32_t second, uint32_t third)
{
    assert_int_equal(world->players[0].asked, first);
    assert_int_equal(world->players[1].asked, second);
    assert_int_equal(world->players[2].asked, third);
}

/* ---- cases ---- */

static void test_elsewhere_the_next_node_answers(void **state)
{
    struct world *world = *state;
    assert_ok(ask(world, 10 * AB_US_PER_SECOND));
    assert_string_equal(ab_buffer_text(&world->reply), "rows");
    assert_asked(world, 0, 0, 1);
    assert_true(world->players[2].is_right);
    assert_ok(ask(world, 10 * AB_US_PER_SECOND));
    assert_asked(world, 0, 0, 2);
}

static void test_elsewhere_who_lacks_it_too_is_passed_over(void **state)
{
    struct world *world = *state;
    world->players[2].err = AB_CORRUPT;
    assert_ok(ask(world, 10 * AB_US_PER_SECOND));
    assert_asked(world, 1, 0, 1);
    world->players[0].err = AB_UNAVAILABLE;
    assert_int_equal(ask(world, 10 * AB_US_PER_SECOND), AB_UNAVAILABLE);
    assert_asked(world, 2, 0, 2); /* the own node never */
    assert_int_equal(world->reply.bytes, 0);
}

static void test_elsewhere_what_is_wrong_with_the_query_is_an_answer(void **state)
{
    struct world *world = *state;
    world->players[2].err = AB_INVALID;
    assert_int_equal(ask(world, 10 * AB_US_PER_SECOND), AB_INVALID);
    assert_asked(world, 0, 0, 1);
}

static void test_elsewhere_nobody_waits_past_the_deadline(void **state)
{
    struct world *world = *state;
    world->players[2].is_silent = true;
    int64_t began_us = ab_time_monotonic_us();
    assert_int_equal(ask(world, 300 * AB_US_PER_MS), AB_UNAVAILABLE);
    assert_true(ab_time_monotonic_us() - began_us < 5 * AB_US_PER_SECOND);
    assert_int_equal(ask(world, -1), AB_UNAVAILABLE);
}

static void test_elsewhere_of_nobody_else_nobody_is_asked(void **state)
{
    struct world *world = *state;
    const struct ab_leaders alone = {.servings = &world->nodes[1], .servings_count = 1};
    const struct ab_leaders none = {.servings = NULL};
    struct ab_error error = {0};
    assert_int_equal(ab_elsewhere_query(world->elsewhere, &alone, ab_bytes_of_text(QUERY),
                         ab_time_monotonic_us() + AB_US_PER_SECOND, &world->reply, &error),
        AB_UNAVAILABLE);
    assert_int_equal(ab_elsewhere_query(world->elsewhere, &none, ab_bytes_of_text(QUERY),
                         ab_time_monotonic_us() + AB_US_PER_SECOND, &world->reply, &error),
        AB_UNAVAILABLE);
    assert_asked(world, 0, 0, 0);
}

static void test_elsewhere_a_node_that_serves_at_another_address_is_found(void **state)
{
    struct world *world = *state;
    assert_ok(ask(world, 10 * AB_US_PER_SECOND));
    ab_server_close(world->players[2].server);
    player_start(world, 2);
    assert_ok(ask(world, 10 * AB_US_PER_SECOND));
    assert_asked(world, 0, 0, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_elsewhere_the_next_node_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_elsewhere_who_lacks_it_too_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_elsewhere_what_is_wrong_with_the_query_is_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_elsewhere_nobody_waits_past_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_elsewhere_of_nobody_else_nobody_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_elsewhere_a_node_that_serves_at_another_address_is_found, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
