/* Three nodes in one process: what is acknowledged is on all in-sync replicas, a leader that goes is replaced without a
 * loss, one that comes back catches up. */
#include "tests/unit/speed/replicas_fixture.h"

#include "common/base/json.h"
#include "common/log/log.h"
#include "tests/support/test.h"

#define ROWS 10u

/* ---- a producer ---- */

static ab_err try_send(struct replicas *replicas, uint32_t partition, struct ab_bytes payload)
{
    struct ab_replica_set state;
    (void)replicas_state_read(replicas, partition, &state);
    struct replicas_node *node = &replicas->nodes[state.leader - 1];
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
static void produce(struct replicas *replicas, uint32_t partition)
{
    struct ab_buffer payload = {0};
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    engine_fixture_block(
        &replicas->blocks, partition, (uint32_t)replicas->acknowledged[partition], ROWS, false, false, &payload);
    ab_err err;
    while ((err = try_send(replicas, partition, ab_buffer_view(&payload))) != AB_OK) {
        assert_true(err == AB_UNAVAILABLE || err == AB_AGAIN || err == AB_TIMEOUT || err == AB_OUTCOME_UNKNOWN ||
                    err == AB_FULL);
        assert_true(ab_time_monotonic_us() < until);
        ab_time_sleep_us(5 * AB_US_PER_MS);
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

/* ---- what has to be ---- */

static uint64_t applied_on(struct replicas_node *node, uint32_t partition)
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
static void wait_applied(struct replicas *replicas)
{
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        bool is_same = false;
        while (!is_same) {
            uint64_t least = UINT64_MAX;
            uint64_t most = 0;
            for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
                if (replicas->nodes[n].producer != NULL) {
                    uint64_t applied = applied_on(&replicas->nodes[n], p);
                    least = applied < least ? applied : least;
                    most = applied > most ? applied : most;
                }
            }
            is_same = least == most && most > replicas->acknowledged[p] / ROWS;
            assert_true(is_same || ab_time_monotonic_us() < until);
            ab_time_sleep_us(5 * AB_US_PER_MS);
        }
    }
}

/* Compares the bytes of all logs, up to what all have applied (I3), which holds all that was acknowledged (I1). */
static void logs_compare(struct replicas *replicas)
{
    wait_applied(replicas);
    for (uint32_t p = 0; p < ENGINE_PARTITIONS; p++) {
        struct ab_log_reader *readers[REPLICAS_NODES] = {0};
        struct ab_error error = {0};
        struct ab_record first;
        struct ab_record other;
        size_t readers_count = 0;
        uint64_t applied = 0;
        for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
            if (replicas->nodes[n].producer != NULL) {
                applied = applied == 0 ? applied_on(&replicas->nodes[n], p) : applied;
                char *log = ab_new_format("%s/partition-%u/log", replicas->nodes[n].directory, p);
                assert_ok(ab_log_reader_open(log, 0, applied, &readers[readers_count++], &error));
                ab_delete(log);
            }
        }
        uint64_t rows = 0;
        while (rows < replicas->acknowledged[p]) {
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

/* ---- cases ---- */

static void test_replicas_have_the_same_bytes_of_what_was_acknowledged(void **state)
{
    struct replicas *replicas = *state;
    produce_rounds(replicas, 30);
    logs_compare(replicas);
}

static void test_replicas_go_on_without_a_leader_that_is_gone_and_take_it_in_again(void **state)
{
    struct replicas *replicas = *state;
    produce_rounds(replicas, 10);
    for (uint32_t gone = 1; gone <= REPLICAS_NODES; gone++) {
        struct replicas_node *node = &replicas->nodes[gone - 1];
        replicas_node_stop(node);
        replicas_elect_instead_of(replicas, gone);
        produce_rounds(replicas, 10);
        replicas_wait_in_sync(replicas, REPLICAS_NODES - 1);
        logs_compare(replicas);
        replicas_node_start(replicas, node);
        replicas_wait_in_sync(replicas, REPLICAS_NODES);
        produce_rounds(replicas, 5);
        logs_compare(replicas);
    }
}

static void test_a_leader_without_enough_replicas_refuses(void **state)
{
    struct replicas *replicas = *state;
    struct ab_buffer payload = {0};
    produce_rounds(replicas, 3);
    replicas_node_stop(&replicas->nodes[1]);
    replicas_node_stop(&replicas->nodes[2]);
    engine_fixture_block(&replicas->blocks, 0, 1000, ROWS, false, false, &payload);
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    ab_err err = AB_OK;
    while ((err = try_send(replicas, 0, ab_buffer_view(&payload))) != AB_UNAVAILABLE) {
        assert_true(err == AB_TIMEOUT || err == AB_OUTCOME_UNKNOWN);
        assert_true(ab_time_monotonic_us() < until);
    }
    ab_buffer_fini(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_replicas_have_the_same_bytes_of_what_was_acknowledged, replicas_setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(
            test_replicas_go_on_without_a_leader_that_is_gone_and_take_it_in_again, replicas_setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_leader_without_enough_replicas_refuses, replicas_setup, replicas_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
