/* Three nodes in one process: what is acknowledged is on all in-sync replicas, a leader that goes is replaced without a
 * loss, one that comes back catches up. */
#include "tests/unit/speed/replicas_fixture.h"

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/log/log.h"
#include "tests/support/test.h"

#include <stdio.h>

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

/* A number that a node's report on its logs gives for a partition. */
static uint64_t log_number(struct replicas_node *node, uint32_t partition, const char *key)
{
    struct ab_answer answer = {0};
    struct ab_error error = {0};
    struct ab_json *json = NULL;
    assert_ok(ab_channel_call(node->query, AB_VERB_LOG_STATE, ab_bytes_of(NULL, 0), 5000, &answer, &error));
    assert_ok(ab_json_parse(answer.payload, &json, &error));
    const struct ab_json *entry = ab_json_at(ab_json_get(json, "partitions"), partition);
    uint64_t number = ab_json_u64_or(ab_json_get(entry, key), 0);
    ab_json_destroy(json);
    ab_answer_free(&answer);
    return number;
}

static uint64_t applied_on(struct replicas_node *node, uint32_t partition)
{
    return log_number(node, partition, "applied");
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
        replicas_elect(replicas);
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

/* Waits for the answer to a block that was just sent to the first node, and for no other. */
static ab_err send_once(struct replicas *replicas, uint32_t partition, struct ab_bytes payload)
{
    struct replicas_node *node = &replicas->nodes[0];
    struct ab_envelope envelope = {.verb = AB_VERB_PRODUCE, .partition = partition};
    struct ab_answer answer = {0};
    assert_ok(ab_channel_send(node->producer, &envelope, payload));
    ab_err err = ab_channel_receive(node->producer, (int)(REPLICAS_WAIT_US / AB_US_PER_MS), &answer);
    err = err == AB_OK ? answer.envelope.status : err;
    ab_answer_free(&answer);
    return err;
}

/* Resends the same block to whoever leads, until it is acknowledged. */
static void send_again(struct replicas *replicas, uint32_t partition, struct ab_bytes payload)
{
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    while (try_send(replicas, partition, payload) != AB_OK) {
        assert_true(ab_time_monotonic_us() < until);
        ab_time_sleep_us(5 * AB_US_PER_MS);
    }
    replicas->acknowledged[partition] += ROWS;
}

/* The others are there and fetch nothing: once they are out of the set, who waits is told that nobody knows. Its block
 * is in the log all the same, and committed when they are back. */
static void test_what_waits_below_the_minimum_is_told_and_committed_later(void **state)
{
    struct replicas *replicas = *state;
    struct ab_buffer payload = {0};
    produce_rounds(replicas, 3);
    uint64_t end = log_number(&replicas->nodes[0], 0, "end");
    for (uint32_t n = 1; n < REPLICAS_NODES; n++) {
        ab_membership_stop(replicas->nodes[n].membership);
    }
    engine_fixture_block(&replicas->blocks, 0, (uint32_t)replicas->acknowledged[0], ROWS, false, false, &payload);
    assert_int_equal(send_once(replicas, 0, ab_buffer_view(&payload)), AB_OUTCOME_UNKNOWN);
    assert_int_equal(send_once(replicas, 0, ab_buffer_view(&payload)), AB_UNAVAILABLE);
    assert_int_equal(log_number(&replicas->nodes[0], 0, "end"), end + 1);
    for (uint32_t n = 1; n < REPLICAS_NODES; n++) {
        replicas_node_stop(&replicas->nodes[n]);
        replicas_node_start(replicas, &replicas->nodes[n]);
    }
    replicas_elect(replicas);
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    send_again(replicas, 0, ab_buffer_view(&payload));
    ab_buffer_fini(&payload);
    produce_rounds(replicas, 3);
    logs_compare(replicas);
}

/* The leader alone has a record when it goes; the others lead on without it, and it cuts it off when it is back. */
static void test_a_record_that_was_never_committed_is_cut_off(void **state)
{
    struct replicas *replicas = *state;
    struct ab_buffer payload = {0};
    produce_rounds(replicas, 3);
    uint64_t end = log_number(&replicas->nodes[0], 0, "end");
    for (uint32_t n = 1; n < REPLICAS_NODES; n++) {
        ab_membership_stop(replicas->nodes[n].membership); /* registered, but nothing is fetched any more */
    }
    engine_fixture_block(&replicas->blocks, 0, (uint32_t)replicas->acknowledged[0], ROWS, false, false, &payload);
    assert_int_equal(try_send(replicas, 0, ab_buffer_view(&payload)), AB_TIMEOUT);
    assert_int_equal(log_number(&replicas->nodes[0], 0, "end"), end + 1);
    assert_int_equal(log_number(&replicas->nodes[0], 0, "committed"), end);
    for (uint32_t n = 0; n < REPLICAS_NODES; n++) {
        replicas_node_stop(&replicas->nodes[n]);
    }
    replicas_node_start(replicas, &replicas->nodes[1]);
    replicas_node_start(replicas, &replicas->nodes[2]);
    replicas_elect(replicas);
    send_again(replicas, 0, ab_buffer_view(&payload));
    ab_buffer_fini(&payload);
    replicas_node_start(replicas, &replicas->nodes[0]);
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    produce_rounds(replicas, 3);
    logs_compare(replicas);
}

/* Flips a byte near the end of the last segment of a log. */
static void segment_damage(const struct replicas_node *node, uint32_t partition)
{
    char *log = ab_new_format("%s/partition-%u/log", node->directory, partition);
    char **names = NULL;
    size_t count = 0;
    struct ab_error error = {0};
    char *last = NULL;
    assert_ok(ab_file_list(log, &names, &count, &error));
    for (size_t i = 0; i < count; i++) { /* sorted */
        size_t length = strlen(names[i]);
        last = length > 4 && strcmp(names[i] + length - 4, ".seg") == 0 ? names[i] : last;
    }
    assert_non_null(last);
    char *path = ab_new_format("%s/%s", log, last);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -40, SEEK_END), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, -40, SEEK_END), 0);
    assert_int_equal(fputc(byte ^ 0x10, file), byte ^ 0x10);
    assert_int_equal(fclose(file), 0);
    ab_delete(path);
    ab_file_names_free(names, count);
    ab_delete(log);
}

static uint32_t damaged_registered(struct replicas *replicas, const struct replicas_node *node)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_live_node live = {0};
    struct ab_error error = {0};
    ab_live_path(node->number, ab_membership_incarnation(node->membership), path);
    assert_ok(ab_coordination_get(replicas->coordination, path, &text, NULL, &error));
    assert_ok(ab_live_node_decode(ab_buffer_view(&text), &live, &error));
    uint32_t count = live.damaged_count;
    ab_live_node_fini(&live);
    ab_buffer_fini(&text);
    return count;
}

static void test_a_damaged_log_is_fetched_again_from_the_others(void **state)
{
    struct replicas *replicas = *state;
    struct replicas_node *node = &replicas->nodes[2];
    produce_rounds(replicas, 10);
    logs_compare(replicas);
    replicas_node_stop(node);
    replicas_elect(replicas);
    segment_damage(node, 0);
    replicas_node_start(replicas, node);
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    produce_rounds(replicas, 3);
    logs_compare(replicas);
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    while (damaged_registered(replicas, node) > 0) {
        assert_true(ab_time_monotonic_us() < until);
        ab_time_sleep_us(10 * AB_US_PER_MS);
    }
}

/* Writes the state of partition 0 with other replicas and learners, as the acting controller does; the last node goes
 * from the in-sync set. */
static void replicas_assign(struct replicas *replicas, uint32_t replicas_count, bool has_learner)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    ab_err err = AB_CONFLICT;
    ab_replica_set_path(0, path);
    while (err == AB_CONFLICT) { /* its leader may be changing the in-sync set */
        struct ab_replica_set state;
        struct ab_buffer text = {0};
        uint64_t version = replicas_state_read(replicas, 0, &state);
        ab_replica_nodes_remove(&state.replicas, REPLICAS_NODES);
        ab_replica_nodes_remove(&state.learners, REPLICAS_NODES);
        ab_replica_members_remove(&state.isr, REPLICAS_NODES);
        if (replicas_count == REPLICAS_NODES) {
            ab_replica_nodes_add(&state.replicas, REPLICAS_NODES);
        } else if (has_learner) {
            ab_replica_nodes_add(&state.learners, REPLICAS_NODES);
        }
        state.assignment_version++;
        state.token.low++;
        assert_ok(ab_replica_set_encode(&state, &text, NULL));
        err = ab_coordination_set(replicas->coordination, path, ab_buffer_view(&text), version, NULL);
        ab_buffer_fini(&text);
    }
    assert_ok(err);
}

/* True when the last node lists partition 0 first among those that it holds. */
static bool is_held_by_last(struct replicas *replicas)
{
    struct replicas_node *node = &replicas->nodes[REPLICAS_NODES - 1];
    struct ab_answer answer = {0};
    struct ab_error error = {0};
    struct ab_json *json = NULL;
    assert_ok(ab_channel_call(node->query, AB_VERB_LOG_STATE, ab_bytes_of(NULL, 0), 5000, &answer, &error));
    assert_ok(ab_json_parse(answer.payload, &json, &error));
    const struct ab_json *first = ab_json_at(ab_json_get(json, "partitions"), 0);
    bool is_held = ab_json_u64_or(ab_json_get(first, "partition"), UINT64_MAX) == 0;
    ab_json_destroy(json);
    ab_answer_free(&answer);
    return is_held;
}

static void wait_held_by_last(struct replicas *replicas, bool is_wanted)
{
    char *directory = ab_new_format("%s/partition-0", replicas->nodes[REPLICAS_NODES - 1].directory);
    int64_t until = ab_time_monotonic_us() + REPLICAS_WAIT_US;
    char *leftover = ab_new_format("%s.removed", directory);
    while (
        is_held_by_last(replicas) != is_wanted || ab_file_exists(directory) != is_wanted || ab_file_exists(leftover)) {
        assert_true(ab_time_monotonic_us() < until);
        ab_engine_tick(replicas->nodes[REPLICAS_NODES - 1].engine);
        ab_time_sleep_us(5 * AB_US_PER_MS);
    }
    ab_delete(leftover);
    ab_delete(directory);
}

/* A node that a partition is taken from closes it and removes it; given to it again, it follows from the start. */
static void test_a_partition_is_taken_away_and_given_back_while_a_node_runs(void **state)
{
    struct replicas *replicas = *state;
    struct replicas_node *last = &replicas->nodes[REPLICAS_NODES - 1];
    produce_rounds(replicas, 10);
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    struct ab_replica_set before;
    (void)replicas_state_read(replicas, 0, &before);
    assert_true(before.leader != REPLICAS_NODES);
    replicas_assign(replicas, REPLICAS_NODES - 1, false);
    wait_held_by_last(replicas, false);
    produce_rounds(replicas, 5);
    struct ab_buffer payload = {0};
    engine_fixture_block(&replicas->blocks, 0, (uint32_t)replicas->acknowledged[0], ROWS, false, false, &payload);
    struct ab_envelope envelope = {.verb = AB_VERB_PRODUCE, .partition = 0};
    struct ab_answer answer = {0};
    assert_ok(ab_channel_send(last->producer, &envelope, ab_buffer_view(&payload)));
    assert_ok(ab_channel_receive(last->producer, 5000, &answer));
    assert_int_equal(answer.envelope.status, AB_UNAVAILABLE); /* it does not hold it */
    ab_answer_free(&answer);
    send_again(replicas, 0, ab_buffer_view(&payload));
    ab_buffer_fini(&payload);
    replicas_assign(replicas, REPLICAS_NODES - 1, true);
    wait_held_by_last(replicas, true);
    produce_rounds(replicas, 5);
    logs_compare(replicas); /* a learner has all that was ever acknowledged */
    replicas_assign(replicas, REPLICAS_NODES, false);
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    produce_rounds(replicas, 5);
    logs_compare(replicas);
}

/* What a node does not hold when it is started, for it was taken away meanwhile, goes then; what a removal left too. */
static void test_a_partition_taken_away_from_a_node_that_is_down_goes_at_its_start(void **state)
{
    struct replicas *replicas = *state;
    struct replicas_node *last = &replicas->nodes[REPLICAS_NODES - 1];
    produce_rounds(replicas, 5);
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    replicas_node_stop(last);
    replicas_elect(replicas);
    replicas_assign(replicas, REPLICAS_NODES - 1, false);
    char *leftover = ab_new_format("%s/partition-0.removed/log", last->directory);
    assert_ok(ab_file_make_directory(leftover, 0700, NULL));
    replicas_node_start(replicas, last);
    ab_delete(leftover);
    wait_held_by_last(replicas, false);
    produce_rounds(replicas, 5);
    replicas_assign(replicas, REPLICAS_NODES, false); /* a replica at once, with an empty log: it is not in sync */
    replicas_wait_in_sync(replicas, REPLICAS_NODES);
    logs_compare(replicas);
}

/* A disk that is put back as it was before its last start is not admitted, however often it is started (F16). */
static void test_an_older_image_of_a_disk_is_refused(void **state)
{
    struct replicas *replicas = *state;
    struct replicas_node *node = &replicas->nodes[2];
    struct ab_buffer image = {0};
    struct ab_error error = {0};
    char *path = ab_new_format("%s/disk.json", node->directory);
    assert_ok(ab_file_read_all(path, &image, &error));
    replicas_node_stop(node);
    replicas_node_start(replicas, node);
    replicas_node_stop(node);
    assert_ok(ab_file_replace(path, ab_buffer_view(&image), 0600, &error));
    struct ab_coordination *coordination = replicas_coordination_open(replicas);
    for (int i = 0; i < 3; i++) {
        struct ab_membership *membership = NULL;
        const struct ab_membership_options options = {.directory = node->directory,
            .node = node->number,
            .partitions_count = ENGINE_PARTITIONS,
            .rack = "",
            .weight = 1,
            .wire = node->wire,
            .coordination = coordination};
        const struct ab_membership_start start = {
            .address = "tcp://127.0.0.1:1", .public_key = replicas->node_keys.public_key};
        assert_ok(ab_membership_create(&options, &membership, &error));
        assert_int_equal(ab_membership_start(membership, &start, &error), AB_STALE);
        ab_membership_destroy(membership);
    }
    ab_coordination_close(coordination);
    ab_buffer_fini(&image);
    ab_delete(path);
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
        cmocka_unit_test_setup_teardown(
            test_what_waits_below_the_minimum_is_told_and_committed_later, replicas_setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_record_that_was_never_committed_is_cut_off, replicas_setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_damaged_log_is_fetched_again_from_the_others, replicas_setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_partition_is_taken_away_and_given_back_while_a_node_runs, replicas_setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(
            test_a_partition_taken_away_from_a_node_that_is_down_goes_at_its_start, replicas_setup, replicas_teardown),
        cmocka_unit_test_setup_teardown(test_an_older_image_of_a_disk_is_refused, replicas_setup, replicas_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
