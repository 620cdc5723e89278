/* Three nodes in one process, whose logs are trimmed while one of them is away, or has lost its disk: it installs what
 * its leader offers, equals it, is in sync, leads, and answers exactly. */
#include "tests/unit/speed/replicas_fixture.h"

#include "speed/engine_private.h"
#include "speed/snapshot.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/random.h"
#include "tests/support/test.h"

#include <inttypes.h>

#define ROWS 20u
#define ROUNDS 40
#define VIEWS_COUNT 2u
#define SQL "SELECT n FROM by_user"
#define SEGMENT_BYTES (8u << 10)

/* ---- a producer and a controller ---- */

static struct replicas_node *leader_of(struct replicas *replicas, uint32_t partition)
{
    struct ab_replica_set state;
    (void)replicas_state_read(replicas, partition, &state);
    return &replicas->nodes[state.leader - 1];
}

/* Sends the same bytes under the same sequence until they are acknowledged. */
static void produce(struct replicas *replicas, uint32_t partition)
{
    struct ab_buffer payload = {0};
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    engine_fixture_block(
        &replicas->blocks, partition, (uint32_t)replicas->acknowledged[partition], ROWS, false, false, &payload);
    ab_err err = AB_AGAIN;
    while (err != AB_OK) {
        struct ab_envelope envelope = {.verb = AB_VERB_PRODUCE, .partition = partition};
        struct ab_answer answer = {0};
        struct replicas_node *node = leader_of(replicas, partition);
        assert_true(ab_time_monotonic_us() < until);
        assert_ok(ab_channel_send(node->producer, &envelope, ab_buffer_view(&payload)));
        do {
            ab_answer_free(&answer);
            err = ab_channel_receive(node->producer, 3000, &answer);
        } while (err == AB_OK && answer.envelope.request_id != envelope.request_id);
        err = err == AB_OK ? answer.envelope.status : err;
        ab_answer_free(&answer);
        assert_int_not_equal(err, AB_SEQUENCE);
        if (err != AB_OK) {
            ab_time_sleep_us(5 * AB_US_PER_MS);
        }
    }
    replicas->acknowledged[partition] += ROWS;
    ab_buffer_fini(&payload);
}

static void produce_rounds(struct replicas *replicas, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
            produce(replicas, p);
        }
    }
}

/* Asks a node, again while it says that it is too early. */
static struct ab_json *ask(struct replicas_node *node, enum ab_verb verb, const char *body)
{
    struct ab_error error = {0};
    struct ab_answer answer = {0};
    struct ab_json *json = NULL;
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    ab_err err;
    while ((err = ab_channel_call(node->query, verb, ab_bytes_of_text(body), 10000, &answer, &error)) == AB_AGAIN ||
           err == AB_NOT_FOUND) {
        assert_true(ab_time_monotonic_us() < until);
        ab_time_sleep_us(10 * AB_US_PER_MS);
        error = (struct ab_error){0};
    }
    if (err != AB_OK) {
        fail_msg("%s", error.text);
    }
    assert_ok(ab_json_parse(answer.payload, &json, &error));
    ab_answer_free(&answer);
    return json;
}

static uint64_t log_number(struct replicas_node *node, uint32_t partition, const char *key)
{
    struct ab_json *json = ask(node, AB_VERB_LOG_STATE, "");
    uint64_t number = ab_json_u64_or(ab_json_get(ab_json_at(ab_json_get(json, "partitions"), partition), key), 0);
    ab_json_destroy(json);
    return number;
}

/* Takes a cut wherever a partition is led; the offsets after it. */
static void cut(struct replicas *replicas, uint64_t number, uint64_t offsets[ENGINE_PARTITIONS])
{
    char *body = ab_new_format("{\"cut\":%" PRIu64 ",\"time_us\":%" PRIu64 "}", number, number * 1000);
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        bool is_found = false;
        struct ab_json *json = ask(leader_of(replicas, p), AB_VERB_CUT, body);
        const struct ab_json *list = ab_json_get(json, "partitions");
        for (size_t i = 0; i < ab_json_count(list); i++) {
            if (ab_json_u64_or(ab_json_get(ab_json_at(list, i), "partition"), 99) == p) {
                offsets[p] = ab_json_u64_or(ab_json_get(ab_json_at(list, i), "offset"), 0);
                is_found = true;
            }
        }
        assert_true(is_found);
        ab_json_destroy(json);
    }
    ab_delete(body);
}

/* Forgets spans up to a cut on all nodes that run, and trims their logs. */
static void retire(struct replicas *replicas, uint64_t number, const uint64_t offsets[ENGINE_PARTITIONS])
{
    char *body = ab_new_format("{\"cut\":%" PRIu64 ",\"log_offsets\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]}", number,
        offsets[0], offsets[1], offsets[2]);
    for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
        if (replicas->nodes[n].producer != NULL) {
            ab_json_destroy(ask(&replicas->nodes[n], AB_VERB_RETIRE, body));
        }
    }
    ab_delete(body);
}

/* Makes a node that runs the leader of all partitions. */
static void lead(struct replicas *replicas, const struct replicas_node *node)
{
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        ab_err err = AB_CONFLICT;
        while (err == AB_CONFLICT) {
            struct ab_replica_set state;
            struct ab_buffer text = {0};
            struct ab_error error = {0};
            char path[AB_REGISTRATION_PATH_BYTES];
            uint64_t version = replicas_state_read(replicas, p, &state);
            state.leader = node->number;
            state.leader_incarnation = ab_membership_incarnation(node->membership);
            state.leader_epoch++;
            state.token = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
            ab_replica_set_path(p, path);
            assert_ok(ab_replica_set_encode(&state, &text, &error));
            err = ab_coordination_set(replicas->coordination, path, ab_buffer_view(&text), version, &error);
            ab_buffer_fini(&text);
        }
        assert_ok(err);
    }
}

/* ---- what has to be ---- */

static uint64_t acknowledged(const struct replicas *replicas)
{
    uint64_t rows = 0;
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        rows += replicas->acknowledged[p];
    }
    return rows;
}

/* Rows of the spans after a cut, as a node answers that leads all partitions. */
static uint64_t count_rows(struct replicas *replicas, struct replicas_node *node, uint64_t cut_number)
{
    const struct ab_plan *plan = NULL;
    struct ab_rollup *rollup = NULL;
    struct ab_error error = {0};
    struct ab_engine *engine = node->engine;
    struct ab_arena arena = {0};
    assert_ok(
        ab_plans_acquire(engine->plans, ab_catalogs_newest(engine->catalogs), ab_bytes_of_text(SQL), &plan, &error));
    struct ab_wire_state_query wire = {.sql = ab_bytes_of_text(SQL),
        .catalog_hash = ab_catalogs_newest(engine->catalogs)->catalog->hash,
        .cut = cut_number};
    struct ab_buffer payload = {0};
    struct ab_answer answer = {0};
    ab_wire_state_query_encode(&wire, &payload);
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    while (
        ab_channel_call(node->query, AB_VERB_STATE_QUERY, ab_buffer_view(&payload), 10000, &answer, &error) != AB_OK) {
        if (ab_time_monotonic_us() >= until) {
            fail_msg("%s", error.text);
        }
        ab_time_sleep_us(20 * AB_US_PER_MS);
        error = (struct ab_error){0};
    }
    struct ab_wire_state_reply reply;
    struct ab_column *columns = NULL;
    uint32_t rows_count = 0;
    uint64_t overflows = 0;
    assert_ok(ab_rollup_create(plan->query, plan->aggregation, INT64_MIN, NULL, &rollup, &error));
    assert_ok(ab_wire_state_reply_decode(answer.payload, &arena, &reply));
    assert_int_equal(reply.partitions_count, ENGINE_PARTITIONS);
    assert_ok(ab_rollup_merge(rollup, reply.rows));
    assert_ok(ab_rollup_finish(rollup, &arena, &columns, &rows_count, &overflows, &error));
    uint64_t count = rows_count == 0 ? 0 : (uint64_t)ab_column_value(&columns[0], 0).bigint;
    (void)replicas;
    ab_rollup_destroy(rollup);
    ab_answer_free(&answer);
    ab_buffer_fini(&payload);
    ab_arena_fini(&arena);
    ab_plans_release(engine->plans, plan);
    return count;
}

/* A node's digests of a span and view, once it has applied the span in every partition. */
static struct ab_json *digests_ask(struct replicas_node *node, const char *body)
{
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    for (;;) {
        struct ab_json *json = ask(node, AB_VERB_DIGEST, body);
        if (ab_json_count(ab_json_get(json, "partitions")) == ENGINE_PARTITIONS) {
            return json;
        }
        ab_json_destroy(json);
        assert_true(ab_time_monotonic_us() < until);
        ab_time_sleep_us(10 * AB_US_PER_MS);
    }
}

/* All nodes have the same states of a span, of every view and partition. */
static void digests_compare(struct replicas *replicas, uint64_t span)
{
    for (uint32_t view = 1; view <= VIEWS_COUNT; view++) {
        char *body = ab_new_format("{\"span\":%" PRIu64 ",\"view_uid\":%u}", span, view);
        struct ab_buffer first = {0};
        for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
            struct ab_buffer text = {0};
            struct ab_json *json = digests_ask(&replicas->nodes[n], body);
            ab_json_write(json, 0, n == 0 ? &first : &text);
            if (n > 0) {
                assert_string_equal(ab_buffer_text(&text), ab_buffer_text(&first));
            }
            ab_json_destroy(json);
            ab_buffer_fini(&text);
        }
        ab_buffer_fini(&first);
        ab_delete(body);
    }
}

/* Loads, cuts and trims: span 2 is what is left, and what comes. The third node is away. Rows that span 2 does not
 * have. */
static uint64_t trim_while_away(struct replicas *replicas)
{
    uint64_t offsets[ENGINE_PARTITIONS];
    produce_rounds(replicas, ROUNDS / 2);
    uint64_t end = log_number(&replicas->nodes[2], 0, "end");
    replicas_node_stop(&replicas->nodes[2]);
    replicas_elect(replicas);
    produce_rounds(replicas, ROUNDS);
    cut(replicas, 1, offsets);
    uint64_t gone = acknowledged(replicas);
    produce_rounds(replicas, ROUNDS / 2);
    retire(replicas, 1, offsets);
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        assert_true(log_number(&replicas->nodes[0], p, "start") > end);
        assert_true(log_number(&replicas->nodes[1], p, "start") > end);
    }
    return gone;
}

/* It is in sync, its log begins where others' begin, it has what they have, and leads. */
static void expect_installed(struct replicas *replicas, uint64_t gone)
{
    uint64_t offsets[ENGINE_PARTITIONS];
    struct replicas_node *node = &replicas->nodes[2];
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        assert_true(log_number(node, p, "start") > 0);
        assert_int_equal(log_number(node, p, "retired_cut"), 1);
    }
    produce_rounds(replicas, 5);
    cut(replicas, 2, offsets);
    digests_compare(replicas, 2);
    lead(replicas, node);
    produce_rounds(replicas, 5);
    assert_int_equal(count_rows(replicas, node, 1), acknowledged(replicas) - gone);
    retire(replicas, 2, offsets);
    assert_int_equal(count_rows(replicas, node, 2), 5 * ENGINE_PARTITIONS * ROWS);
    replicas_node_stop(node);
    replicas_elect(replicas);
    produce_rounds(replicas, 2);
    replicas_node_start(replicas, node);
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    lead(replicas, node);
    assert_int_equal(count_rows(replicas, node, 2), 7 * ENGINE_PARTITIONS * ROWS);
}

static void partitions_remove(const struct replicas_node *node, const char *what)
{
    struct ab_error error = {0};
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        char *path = ab_new_format("%s/partition-%u%s", node->directory, p, what);
        assert_true(ab_file_exists(path));
        assert_ok(ab_file_remove_tree(path, &error));
        ab_delete(path);
    }
}

/* ---- cases ---- */

static int setup(void **state)
{
    return replicas_setup_segments(state, SEGMENT_BYTES);
}

static void test_a_replica_that_was_away_while_logs_were_trimmed_installs_and_leads(void **state)
{
    struct replicas *replicas = *state;
    uint64_t gone = trim_while_away(replicas);
    replicas_node_start(replicas, &replicas->nodes[2]);
    expect_installed(replicas, gone);
}

static void test_a_replica_without_its_disk_installs_and_leads(void **state)
{
    struct replicas *replicas = *state;
    uint64_t gone = trim_while_away(replicas);
    partitions_remove(&replicas->nodes[2], "");
    replicas_node_start(replicas, &replicas->nodes[2]);
    expect_installed(replicas, gone);
}

/* The leaders change again and again while it installs, and its own process too. */
static void test_a_replica_installs_under_changing_leaders_and_restarts(void **state)
{
    struct replicas *replicas = *state;
    uint64_t gone = trim_while_away(replicas);
    partitions_remove(&replicas->nodes[2], "");
    for (int i = 0; i < 6; i++) {
        replicas_node_start(replicas, &replicas->nodes[2]);
        lead(replicas, &replicas->nodes[i % 2]);
        ab_time_sleep_us((int64_t)(1 + i * 17) * AB_US_PER_MS);
        lead(replicas, &replicas->nodes[(i + 1) % 2]);
        ab_time_sleep_us((int64_t)(i * 23) * AB_US_PER_MS);
        replicas_node_stop(&replicas->nodes[2]);
        replicas_elect(replicas);
    }
    replicas_node_start(replicas, &replicas->nodes[2]);
    expect_installed(replicas, gone);
}

/* Its log lost its end, far below where its tables were saved, and its state is gone too: it is opened all the same,
 * counts as damaged, and gets back what it lost. */
static void test_a_log_that_ends_before_its_saved_tables_is_filled_again(void **state)
{
    struct replicas *replicas = *state;
    struct replicas_node *node = &replicas->nodes[2];
    uint64_t gone = trim_while_away(replicas);
    replicas_node_start(replicas, node);
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    produce_rounds(replicas, 3);
    replicas_node_stop(node);
    replicas_elect(replicas);
    partitions_remove(node, "/log");
    replicas_node_start(replicas, node);
    expect_installed(replicas, gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_a_replica_that_was_away_while_logs_were_trimmed_installs_and_leads, setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(test_a_replica_without_its_disk_installs_and_leads, setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_replica_installs_under_changing_leaders_and_restarts, setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_log_that_ends_before_its_saved_tables_is_filled_again, setup, replicas_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
