/* Three nodes in one process, each with its speed and its serving, and clients that know them all: rows go to the
 * leaders of their partitions, questions to any serving node; a leader that is replaced costs time, never a row, never
 * a wrong answer. */
#include "serving/service.h"

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/thread.h"
#include "common/client/anabranch.h"
#include "common/crypto/crypto.h"
#include "common/crypto/key_file.h"
#include "tests/support/test.h"
#include "tests/unit/speed/replicas_fixture.h"

#include <stdatomic.h>

#define ALL "SELECT n FROM everything"
#define MISSING_MS 1500

struct world {
    struct replicas *replicas;
    struct ab_node nodes[REPLICAS_NODES];
    struct ab_service *services[REPLICAS_NODES]; /* NULL = it does not run */
    char *key_file;
    struct anabranch_serving servings[REPLICAS_NODES]; /* as clients are told of them */
    char addresses[REPLICAS_NODES][256];
    char server_key[2 * AB_CRYPTO_KEY_BYTES + 1];
};

/* ---- life ---- */

/* A node keeps its address when it comes back. */
static void service_start(struct world *world, uint32_t n)
{
    struct ab_error error = {0};
    if (world->addresses[n][0] != '\0') {
        memcpy(world->nodes[n].config.listen.serving, world->addresses[n], sizeof world->addresses[n]);
    }
    if (ab_service_open(&world->nodes[n], &world->services[n], &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    (void)snprintf(world->addresses[n], sizeof world->addresses[n], "%s", ab_service_address(world->services[n]));
}

static void service_stop(struct world *world, uint32_t n)
{
    ab_service_close(world->services[n]);
    world->services[n] = NULL;
}

static void node_describe(struct world *world, uint32_t n)
{
    struct ab_error error = {0};
    struct replicas_node *speed = &world->replicas->nodes[n];
    struct ab_node *node = &world->nodes[n];
    char *run = scratch_path(speed->directory, "run");
    assert_ok(ab_file_make_directory(run, 0700, &error));
    ab_delete(run);
    *node = (struct ab_node){.directory = speed->directory,
        .identity = {.partitions_count = ENGINE_PARTITIONS},
        .config = {.query_threads = 2,
            .memory_bytes = {.serving = 64u << 20},
            .listen = {.serving = "tcp://127.0.0.1:*"},
            .cluster = {.node = n + 1, .weight = 1}},
        .keys = world->replicas->node_keys,
        .wire = speed->wire};
    (void)snprintf(node->config.cluster.coordination, sizeof node->config.cluster.coordination, "local:%s/coordination",
        world->replicas->directory);
    memcpy(node->identity.cluster_id, world->replicas->cluster_id, sizeof node->identity.cluster_id);
}

static int setup(void **state)
{
    struct world *world = ab_new(struct world);
    struct ab_error error = {0};
    struct ab_key_file file = {.role = "operator", .name = "test"};
    void *made = NULL;
    assert_int_equal(replicas_setup(&made), 0);
    world->replicas = made;
    struct replicas *replicas = world->replicas;
    assert_ok(
        ab_coordination_create(replicas->coordination, "/catalog", ab_buffer_view(&replicas->catalog), false, &error));
    world->key_file = scratch_path(replicas->directory, "operator.key");
    memcpy(file.keys.public_key, replicas->client_keys.public_key, sizeof file.keys.public_key);
    memcpy(file.keys.secret_key, replicas->client_keys.secret_key, sizeof file.keys.secret_key);
    assert_ok(ab_key_file_write(world->key_file, &file, &error));
    ab_crypto_key_format(replicas->node_keys.public_key, world->server_key);
    for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
        node_describe(world, n);
        service_start(world, n);
        world->servings[n] =
            (struct anabranch_serving){.address = world->addresses[n], .server_key = world->server_key};
    }
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
        service_stop(world, n);
    }
    ab_delete(world->key_file);
    void *replicas = world->replicas;
    ab_delete(world);
    return replicas_teardown(&replicas);
}

/* ---- clients ---- */

/* A client that is told of so many serving nodes, from the n-th on. */
static struct anabranch_client *client_open(const struct world *world, uint32_t n, size_t count, int timeout_ms)
{
    const struct anabranch_options options = {.key_file = world->key_file,
        .servings = &world->servings[n],
        .servings_count = count,
        .timeout_ms = timeout_ms};
    struct anabranch_client *client = NULL;
    if (anabranch_open(&options, &client) != ANABRANCH_OK) {
        fail_msg("%s", anabranch_last_error(client));
    }
    return client;
}

static struct anabranch_producer *producer_open(struct anabranch_client *client, const char *source)
{
    const struct anabranch_producer_options options = {.stream = "events", .source = source, .block_rows = 50};
    struct anabranch_producer *producer = NULL;
    if (anabranch_producer_open(client, &options, &producer) != ANABRANCH_OK) {
        fail_msg("%s", anabranch_last_error(client));
    }
    return producer;
}

/* Appends one row of a user; 1 for each. */
static void append(struct anabranch_producer *producer, uint64_t user, uint64_t position)
{
    char text[24];
    int bytes = snprintf(text, sizeof text, "u%llu", (unsigned long long)user);
    assert_int_equal(anabranch_set_text(producer, 0, text, (size_t)bytes), ANABRANCH_OK);
    assert_int_equal(anabranch_set_double(producer, 1, 1), ANABRANCH_OK);
    assert_int_equal(anabranch_set_timestamp(producer, 2, ab_time_now()), ANABRANCH_OK);
    assert_int_equal(anabranch_append(producer, position), ANABRANCH_OK);
}

/* The number that a query of one row and one column answers. */
static int64_t ask(struct anabranch_client *client, const char *sql)
{
    struct anabranch_answer *answer = NULL;
    if (anabranch_query(client, sql, &answer) != ANABRANCH_OK) {
        fail_msg("%s: %s", sql, anabranch_last_error(client));
    }
    assert_int_equal(anabranch_answer_rows(answer), 1);
    int64_t number = anabranch_answer_bigint(answer, 0, 0);
    anabranch_answer_free(answer);
    return number;
}

/* Sends a request to the n-th serving as an operator; the answer's status. */
static ab_err call(struct world *world, uint32_t n, enum ab_verb verb, struct ab_bytes payload, int timeout_ms,
    struct ab_answer *answer, struct ab_error *error)
{
    struct ab_channel_options options = {.address = world->addresses[n]};
    struct ab_channel *channel = NULL;
    memcpy(options.server_key, world->replicas->node_keys.public_key, sizeof options.server_key);
    assert_ok(ab_channel_open(world->replicas->client_wire, &options, &channel, error));
    ab_err err = ab_channel_call(channel, verb, payload, timeout_ms, answer, error);
    ab_channel_close(channel);
    return err;
}

static ab_err call_query(struct world *world, const struct ab_wire_query *query, int timeout_ms, struct ab_arena *arena,
    struct ab_wire_query_reply *reply, struct ab_error *error)
{
    struct ab_buffer payload = {0};
    struct ab_answer answer = {0};
    ab_wire_query_encode(query, &payload);
    ab_err err = call(world, 0, AB_VERB_QUERY, ab_buffer_view(&payload), timeout_ms, &answer, error);
    if (err == AB_OK) {
        assert_ok(ab_wire_query_reply_decode(ab_arena_copy(arena, answer.payload), arena, reply));
    }
    ab_answer_free(&answer);
    ab_buffer_fini(&payload);
    return err;
}

/* ---- cases ---- */

static void test_gather_rows_of_all_leaders_are_in_every_answer(void **state)
{
    struct world *world = *state;
    struct anabranch_client *client = client_open(world, 0, 1, 0);
    struct anabranch_producer *producer = producer_open(client, NULL);
    for (uint64_t user = 0; user < 3000; user++) {
        append(producer, user, 0);
    }
    assert_int_equal(anabranch_flush(producer), ANABRANCH_OK);
    assert_int_equal(ask(client, ALL), 3000);
    assert_int_equal(ask(client, "SELECT n FROM by_user WHERE usr = 'u7'"), 1);
    for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
        struct anabranch_client *other = client_open(world, n, 1, 0);
        assert_int_equal(ask(other, ALL), 3000);
        anabranch_close(other);
    }
    struct anabranch_counts counts;
    anabranch_producer_counts(producer, &counts);
    assert_int_equal(counts.accepted, 3000);
    assert_int_equal(anabranch_producer_close(producer), ANABRANCH_OK);
    anabranch_close(client);
}

static void test_gather_catalog_names_leaders_and_servings(void **state)
{
    struct world *world = *state;
    struct ab_error error = {0};
    struct ab_answer answer = {0};
    struct ab_json *reply = NULL;
    assert_ok(call(world, 2, AB_VERB_CATALOG, ab_bytes_of(NULL, 0), 5000, &answer, &error));
    assert_ok(ab_json_parse(answer.payload, &reply, &error));
    const struct ab_json *leaders = ab_json_get(reply, "leaders");
    const struct ab_json *servings = ab_json_get(reply, "serving");
    assert_int_equal(ab_json_count(leaders), ENGINE_PARTITIONS);
    assert_int_equal(ab_json_count(servings), REPLICAS_NODES);
    assert_null(ab_json_get(reply, "speed"));
    for (uint32_t i = 0; i < ENGINE_PARTITIONS; i++) {
        const struct ab_json *entry = ab_json_at(leaders, i);
        const struct replicas_node *node = &world->replicas->nodes[i % REPLICAS_NODES];
        assert_int_equal(ab_json_integer_or(ab_json_get(entry, "partition"), -1), i);
        assert_int_equal(ab_json_integer_or(ab_json_get(entry, "node"), -1), node->number);
        assert_string_equal(ab_json_text_or(ab_json_get(entry, "address"), ""), ab_server_address(node->server));
        entry = ab_json_at(servings, i);
        assert_int_equal(ab_json_integer_or(ab_json_get(entry, "node"), -1), i + 1);
        assert_string_equal(ab_json_text_or(ab_json_get(entry, "address"), ""), world->addresses[i]);
        assert_string_equal(ab_json_text_or(ab_json_get(entry, "key"), ""), world->server_key);
    }
    ab_json_destroy(reply);
    ab_answer_free(&answer);
}

static void test_gather_source_marks_come_from_all_leaders(void **state)
{
    struct world *world = *state;
    struct anabranch_client *client = client_open(world, 1, 1, 0);
    struct anabranch_producer *producer = producer_open(client, "file");
    for (uint64_t position = 1; position <= 500; position++) {
        append(producer, position, position);
    }
    assert_int_equal(anabranch_producer_close(producer), ANABRANCH_OK);
    producer = producer_open(client, "file");
    struct anabranch_source_mark mark;
    size_t count = 0;
    for (; anabranch_source_mark_at(producer, count, &mark); count++) {
        assert_in_range(mark.last_position, 400, 500);
    }
    assert_int_equal(count, ENGINE_PARTITIONS);
    for (uint64_t position = 1; position <= 600; position++) {
        append(producer, position, position);
    }
    assert_int_equal(anabranch_producer_close(producer), ANABRANCH_OK);
    assert_int_equal(ask(client, ALL), 600);
    anabranch_close(client);
}

static void test_gather_without_a_leader_says_of_which_partitions(void **state)
{
    struct world *world = *state;
    struct ab_arena arena = {0};
    struct ab_error error = {0};
    struct ab_wire_query_reply reply;
    struct anabranch_client *client = client_open(world, 0, 1, MISSING_MS);
    struct anabranch_producer *producer = producer_open(client, NULL);
    for (uint64_t user = 0; user < 300; user++) {
        append(producer, user, 0);
    }
    assert_int_equal(anabranch_producer_close(producer), ANABRANCH_OK);
    replicas_node_stop(&world->replicas->nodes[1]); /* it led partition 1; nobody is elected */
    struct ab_wire_query query = {.sql = ab_bytes_of_text(ALL)};
    ab_err err = AB_TIMEOUT;
    for (int tries = 0; tries < 10 && err == AB_TIMEOUT; tries++) {
        err = call_query(world, &query, MISSING_MS, &arena, &reply, &error);
    }
    assert_int_equal(err, AB_UNAVAILABLE);
    assert_non_null(strstr(error.text, "no leader"));
    assert_non_null(strstr(error.text, "partitions 1"));
    struct anabranch_answer *answer = NULL;
    bool is_named = false;
    for (int tries = 0; tries < 10 && !is_named; tries++) { /* a slow machine may not hear of it before the deadline */
        assert_int_equal(anabranch_query(client, ALL, &answer), ANABRANCH_TIMEOUT);
        is_named = strstr(anabranch_last_error(client), "partitions 1") != NULL;
    }
    assert_true(is_named);

    query.allow_partial = true;
    assert_ok(call_query(world, &query, MISSING_MS, &arena, &reply, &error));
    assert_false(reply.token.is_complete);
    assert_int_equal(reply.warnings_count, 1);
    assert_non_null(strstr((const char *)reply.warnings[0].data, "of partitions 1"));
    assert_true(reply.token.offsets[0] > 0 && reply.token.offsets[1] == 0 && reply.token.offsets[2] > 0);

    anabranch_close(client);
    client = client_open(world, 0, 1, 30000);
    replicas_elect(world->replicas);
    assert_int_equal(ask(client, ALL), 300);
    ab_arena_fini(&arena);
    anabranch_close(client);
}

static void test_gather_answers_include_the_offsets_asked_for_or_time_out(void **state)
{
    struct world *world = *state;
    struct ab_arena arena = {0};
    struct ab_error error = {0};
    struct ab_wire_query_reply reply;
    struct ab_wire_query query = {.sql = ab_bytes_of_text(ALL)};
    struct anabranch_client *client = client_open(world, 0, 1, 0);
    struct anabranch_producer *producer = producer_open(client, NULL);
    for (uint64_t user = 0; user < 300; user++) {
        append(producer, user, 0);
    }
    assert_int_equal(anabranch_producer_close(producer), ANABRANCH_OK);
    assert_ok(call_query(world, &query, 10000, &arena, &reply, &error));
    uint64_t offsets[ENGINE_PARTITIONS + 1] = {0};
    memcpy(offsets, reply.token.offsets, ENGINE_PARTITIONS * sizeof *offsets);
    query.offsets = offsets;
    query.offsets_count = ENGINE_PARTITIONS;
    assert_ok(call_query(world, &query, 10000, &arena, &reply, &error)); /* what was seen is there */
    offsets[2] += 1000;
    int64_t begun_us = ab_time_monotonic_us();
    assert_int_equal(call_query(world, &query, MISSING_MS, &arena, &reply, &error), AB_TIMEOUT);
    assert_true(ab_time_monotonic_us() - begun_us < MISSING_MS * AB_US_PER_MS);
    assert_non_null(strstr(error.text, "partitions 2"));
    query.offsets_count = 2; /* of the first two only: nothing is asked of the third */
    assert_ok(call_query(world, &query, 10000, &arena, &reply, &error));
    query.offsets_count = ENGINE_PARTITIONS + 1;
    assert_int_equal(call_query(world, &query, 10000, &arena, &reply, &error), AB_INVALID);
    ab_arena_fini(&arena);
    anabranch_close(client);
}

static void test_gather_a_serving_node_that_is_gone_is_not_waited_for(void **state)
{
    struct world *world = *state;
    struct anabranch_client *client = client_open(world, 0, REPLICAS_NODES, 20000);
    struct anabranch_client *learnt = client_open(world, 0, 1, 20000); /* of the others it hears from the first */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask(client, ALL), 0);
        assert_int_equal(ask(learnt, ALL), 0);
    }
    service_stop(world, 0);
    int64_t begun_us = ab_time_monotonic_us();
    assert_int_equal(ask(client, ALL), 0);
    assert_int_equal(ask(learnt, ALL), 0);
    assert_true(ab_time_monotonic_us() - begun_us < 5 * AB_US_PER_SECOND);
    anabranch_close(client);
    anabranch_close(learnt);
}

/* ---- while leaders are replaced ---- */

struct busy {
    struct world *world;
    atomic_bool is_over;
    atomic_uint_fast64_t acknowledged;
    struct anabranch_counts counts;
    uint64_t queries;
};

static void produce_on(void *context)
{
    struct busy *busy = context;
    struct anabranch_client *client = client_open(busy->world, 0, REPLICAS_NODES, 30000);
    struct anabranch_producer *producer = producer_open(client, NULL);
    for (uint64_t user = 0; !atomic_load(&busy->is_over); user++) {
        append(producer, user % 500, 0);
        if (user % 100 == 99) {
            assert_int_equal(anabranch_flush(producer), ANABRANCH_OK);
            atomic_store(&busy->acknowledged, user + 1);
            assert_true(ask(client, ALL) >= (int64_t)(user + 1)); /* what was written is read */
        }
    }
    assert_int_equal(anabranch_flush(producer), ANABRANCH_OK);
    anabranch_producer_counts(producer, &busy->counts);
    assert_int_equal(anabranch_producer_close(producer), ANABRANCH_OK);
    anabranch_close(client);
}

static void query_on(void *context)
{
    struct busy *busy = context;
    struct anabranch_client *client = client_open(busy->world, 1, 2, 30000);
    int64_t before = 0;
    while (!atomic_load(&busy->is_over)) {
        int64_t least = (int64_t)atomic_load(&busy->acknowledged);
        int64_t seen = ask(client, ALL);
        assert_true(seen >= least);
        assert_true(seen >= before);
        before = seen;
        busy->queries++;
    }
    anabranch_close(client);
}

static void test_gather_nothing_is_lost_or_doubled_while_leaders_are_replaced(void **state)
{
    struct world *world = *state;
    struct busy busy = {.world = world};
    struct ab_thread producing;
    struct ab_thread querying;
    ab_thread_start(&producing, "producing", produce_on, &busy);
    ab_thread_start(&querying, "querying", query_on, &busy);
    for (uint32_t gone = 1; gone <= REPLICAS_NODES; gone++) {
        struct replicas_node *node = &world->replicas->nodes[gone - 1];
        ab_time_sleep_us(300 * AB_US_PER_MS);
        service_stop(world, gone - 1);
        replicas_node_stop(node);
        ab_time_sleep_us(200 * AB_US_PER_MS);
        replicas_elect(world->replicas);
        ab_time_sleep_us(300 * AB_US_PER_MS);
        replicas_node_start(world->replicas, node);
        service_start(world, gone - 1);
        replicas_wait_in_sync(world->replicas, REPLICAS_NODES);
    }
    atomic_store(&busy.is_over, true);
    ab_thread_join(&producing);
    ab_thread_join(&querying);
    assert_true(busy.queries > 10);
    assert_int_equal(busy.counts.unknown + busy.counts.refused + busy.counts.rejected, 0);
    assert_int_equal(busy.counts.accepted + busy.counts.duplicates, busy.counts.appended);
    struct anabranch_client *client = client_open(world, 2, 1, 30000);
    assert_int_equal(ask(client, ALL), (int64_t)busy.counts.appended);
    anabranch_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gather_rows_of_all_leaders_are_in_every_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gather_catalog_names_leaders_and_servings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gather_source_marks_come_from_all_leaders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gather_without_a_leader_says_of_which_partitions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gather_answers_include_the_offsets_asked_for_or_time_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gather_a_serving_node_that_is_gone_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_gather_nothing_is_lost_or_doubled_while_leaders_are_replaced, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
