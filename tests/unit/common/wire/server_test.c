/* Servers: who gets in, for which verb, and what becomes of oversized, malformed and foreign messages (I9). */
#include "common/base/thread.h"
#include "common/base/time.h"
#include "common/wire/internal.h"

#include "tests/unit/common/wire/wire_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <zmq.h>

#define CALL_MS 20000

static struct ab_bytes text(const char *characters)
{
    return ab_bytes_of_text(characters);
}

/* Calls with a key and returns the outcome; the error's text goes to `error`. */
static ab_err call_as(const struct fixture *fixture, int key, enum ab_verb verb, struct ab_error *error)
{
    struct ab_wire *client = fixture_client(fixture, key);
    struct ab_channel *channel = fixture_channel(fixture, client, 0);
    struct ab_answer answer = {0};
    ab_err err = ab_channel_call(channel, verb, text("hello"), CALL_MS, &answer, error);
    if (err == AB_OK) {
        assert_true(ab_bytes_equal(answer.payload, text("hello")));
        assert_string_equal(answer.envelope.node, "server");
    }
    ab_answer_free(&answer);
    ab_channel_close(channel);
    ab_wire_close(client);
    return err;
}

static struct ab_server_counters count(const struct fixture *fixture)
{
    struct ab_server_counters counters;
    ab_server_count(fixture->server, &counters);
    return counters;
}

/* Waits until the malformed counter reaches a number, for at most some seconds. */
static void expect_malformed(const struct fixture *fixture, uint64_t expected)
{
    for (int i = 0; i < 1000 && count(fixture).malformed < expected; i++) {
        ab_time_sleep_us(10000);
    }
    assert_int_equal(count(fixture).malformed, expected);
}

static void test_server_answers_a_key_on_the_list(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    assert_int_equal(call_as(&fixture, FIXTURE_PRODUCER, AB_VERB_PRODUCE, NULL), AB_OK);
    assert_int_equal(call_as(&fixture, FIXTURE_QUERY, AB_VERB_QUERY, NULL), AB_OK);
    struct ab_server_counters counters = count(&fixture);
    assert_int_equal(counters.requests, 2);
    assert_int_equal(counters.denied + counters.malformed, 0);
    assert_true(counters.bytes_in > 10 && counters.bytes_out > 10);
    fixture_fini(&fixture);
}

static void test_server_refuses_an_unknown_key(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_error error = {0};
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    assert_int_equal(call_as(&fixture, FIXTURE_UNKNOWN, AB_VERB_PING, &error), AB_DENIED);
    assert_non_null(strstr(error.text, "refuses this key"));
    assert_int_equal(count(&fixture).bytes_in, 0);
    fixture_fini(&fixture);
}

static void test_server_denies_a_verb_the_role_does_not_have(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_error error = {0};
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    assert_int_equal(call_as(&fixture, FIXTURE_PRODUCER, AB_VERB_QUERY, &error), AB_DENIED);
    assert_string_equal(error.text, "a key of the role producer may not use the verb QUERY");
    assert_int_equal(call_as(&fixture, FIXTURE_QUERY, AB_VERB_SHUTDOWN, NULL), AB_DENIED);
    assert_int_equal(count(&fixture).denied, 2);
    fixture_fini(&fixture);
}

static void test_server_allow_takes_power_from_a_live_connection(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text(""), CALL_MS, &answer, NULL), AB_OK);
    ab_answer_free(&answer);
    ab_wire_allow(fixture.wire, fixture.peers + 1, FIXTURE_UNKNOWN - 1);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text(""), CALL_MS, &answer, NULL), AB_DENIED);
    ab_wire_allow(fixture.wire, fixture.peers, FIXTURE_UNKNOWN);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text(""), CALL_MS, &answer, NULL), AB_OK);
    ab_answer_free(&answer);
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_server_refuses_another_cluster(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    for (int i = 0; i < 2; i++) { /* a foreign id, then none */
        struct ab_wire_options options = {
            .keys = fixture.keys[FIXTURE_OPERATOR], .cluster_id = {(uint8_t)(8 - i * 8)}, .node = "stranger"};
        struct ab_wire *client = NULL;
        assert_int_equal(ab_wire_open(&options, &client, NULL), AB_OK);
        struct ab_channel *channel = fixture_channel(&fixture, client, 0);
        assert_int_equal(ab_channel_call(channel, AB_VERB_QUERY, text(""), CALL_MS, &answer, NULL), AB_INVALID);
        ab_err expected = i == 0 ? AB_INVALID : AB_OK;
        assert_int_equal(ab_channel_call(channel, AB_VERB_CATALOG, text(""), CALL_MS, &answer, NULL), expected);
        ab_answer_free(&answer);
        assert_int_equal(ab_channel_call(channel, AB_VERB_STATUS, text(""), CALL_MS, &answer, NULL), expected);
        ab_answer_free(&answer);
        ab_channel_close(channel);
        ab_wire_close(client);
    }
    assert_int_equal(count(&fixture).malformed, 4);
    fixture_fini(&fixture);
}

/* A bare ZeroMQ client: what a peer may do that does not use this library. */
static void *raw_client(void *context, const struct fixture *fixture, int key)
{
    void *socket = zmq_socket(context, ZMQ_DEALER);
    const int linger = 0;
    assert_non_null(socket);
    assert_true(ab_socket_set_client(socket, &fixture->keys[key], fixture->server_keys.public_key));
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger), 0);
    assert_int_equal(zmq_connect(socket, fixture->address), 0);
    return socket;
}

static void send_ping(void *socket, int extra_frames)
{
    struct ab_envelope envelope = {.protocol = AB_PROTOCOL_VERSION, .verb = AB_VERB_PING, .request_id = 1};
    struct ab_buffer bytes = {0};
    ab_envelope_encode(&envelope, &bytes);
    int more = extra_frames > 0 ? ZMQ_SNDMORE : 0;
    assert_true(zmq_send(socket, bytes.data, bytes.bytes, more) > 0);
    for (int i = 1; i <= extra_frames; i++) {
        assert_true(zmq_send(socket, "x", 1, i < extra_frames ? ZMQ_SNDMORE : 0) == 1);
    }
    ab_buffer_fini(&bytes);
}

static bool gets_answer(void *socket)
{
    const int wait_ms = 3000;
    char bytes[2048];
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    bool is_received = zmq_recv(socket, bytes, sizeof bytes, 0) >= 0;
    if (is_received) {
        assert_true(zmq_recv(socket, bytes, sizeof bytes, 0) >= 0);
    }
    return is_received;
}

static void test_server_counts_malformed_messages_and_goes_on(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    void *context = zmq_ctx_new();
    void *socket = raw_client(context, &fixture, FIXTURE_PRODUCER);
    assert_int_equal(zmq_send(socket, "garbage", 7, 0), 7);
    assert_int_equal(zmq_send(socket, "", 0, 0), 0);
    send_ping(socket, 2); /* a frame too many */
    send_ping(socket, 5);
    expect_malformed(&fixture, 4);
    send_ping(socket, 0); /* without a payload frame */
    assert_true(gets_answer(socket));
    send_ping(socket, 1);
    assert_true(gets_answer(socket));
    assert_int_equal(count(&fixture).requests, 2);
    zmq_close(socket);
    zmq_ctx_term(context);
    fixture_fini(&fixture);
}

static void test_server_never_receives_an_oversized_message(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_server_options options = {.message_bytes_max = 100000};
    struct ab_answer answer = {0};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    uint8_t *large = ab_new_bytes(200000);
    /* Our sender does not even send it. */
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 100000);
    struct ab_bytes just_right = ab_bytes_of(large, 100000);
    struct ab_bytes too_large = ab_bytes_of(large, 100001);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, too_large, CALL_MS, &answer, NULL), AB_TOO_LARGE);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, just_right, CALL_MS, &answer, NULL), AB_OK);
    assert_int_equal(answer.payload.bytes, 100000);
    ab_answer_free(&answer);
    /* A bare one may: the connection is dropped, the message never arrives. */
    void *context = zmq_ctx_new();
    void *socket = raw_client(context, &fixture, FIXTURE_PRODUCER);
    uint64_t bytes_before = count(&fixture).bytes_in;
    assert_int_equal(zmq_send(socket, large, 200000, 0), 200000);
    assert_false(gets_answer(socket));
    assert_true(count(&fixture).bytes_in == bytes_before);
    assert_int_equal(count(&fixture).malformed, 0);
    /* Others are not disturbed. */
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text("x"), CALL_MS, &answer, NULL), AB_OK);
    ab_answer_free(&answer);
    zmq_close(socket);
    zmq_ctx_term(context);
    ab_channel_close(channel);
    ab_wire_close(client);
    ab_delete(large);
    fixture_fini(&fixture);
}

static void test_server_refuses_a_client_without_curve(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_DEALER);
    const int zero = 0;
    assert_int_equal(zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    assert_int_equal(zmq_connect(socket, fixture.address), 0);
    send_ping(socket, 1);
    assert_false(gets_answer(socket));
    assert_int_equal(count(&fixture).bytes_in, 0);
    zmq_close(socket);
    zmq_ctx_term(context);
    fixture_fini(&fixture);
}

static void test_server_busy_port_says_which_and_what_to_do(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_error error = {0};
    struct ab_server *second = NULL;
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_server_options options = {.address = fixture.address};
    assert_int_equal(ab_server_open(fixture.wire, &options, &second, &error), AB_BUSY);
    assert_null(second);
    assert_non_null(strstr(error.text, fixture.address));
    assert_non_null(strstr(error.text, "choose another port"));
    options.address = "nonsense";
    error = (struct ab_error){0};
    assert_int_equal(ab_server_open(fixture.wire, &options, &second, &error), AB_NETWORK);
    fixture_fini(&fixture);
}

static void test_server_self_test_passes(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_error error = {0};
    struct ab_server_options options = {.address = "tcp://*:*"};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    assert_non_null(strstr(fixture.address, "tcp://0.0.0.0:"));
    assert_int_equal(ab_server_self_test(fixture.server, &error), AB_OK);
    fixture_fini(&fixture);
}

/* The trap the self test is for: a CURVE socket without a ZAP domain lets in whoever knows its public key. */
static void test_server_self_test_finds_an_open_socket(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_error error = {0};
    struct ab_wire_keys unknown;
    char address[256];
    size_t address_bytes = sizeof address;
    const int one = 1;
    const int zero = 0;
    fixture_init(&fixture);
    ab_wire_keys_make(&unknown);
    void *context = zmq_ctx_new();
    void *open_socket = zmq_socket(context, ZMQ_ROUTER);
    assert_int_equal(zmq_setsockopt(open_socket, ZMQ_CURVE_SERVER, &one, sizeof one), 0);
    assert_int_equal(zmq_setsockopt(open_socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    assert_int_equal(zmq_setsockopt(open_socket, ZMQ_CURVE_SECRETKEY, fixture.server_keys.secret_key, 32), 0);
    assert_int_equal(zmq_bind(open_socket, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(open_socket, ZMQ_LAST_ENDPOINT, address, &address_bytes), 0);
    assert_int_equal(
        ab_wire_require_refusal(fixture.wire, address, fixture.server_keys.public_key, &unknown, &error), AB_DENIED);
    assert_non_null(strstr(error.text, "do not expose"));
    zmq_close(open_socket);
    zmq_ctx_term(context);
    fixture_fini(&fixture);
}

static void test_server_with_an_empty_list_lets_nobody_in(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    ab_wire_close(fixture.wire);
    struct ab_wire_options options = {.keys = fixture.server_keys, .cluster_id = {9, 9}, .node = "server"};
    assert_int_equal(ab_wire_open(&options, &fixture.wire, NULL), AB_OK);
    fixture_serve(&fixture, NULL);
    assert_int_equal(call_as(&fixture, FIXTURE_OPERATOR, AB_VERB_PING, NULL), AB_DENIED);
    assert_int_equal(ab_server_self_test(fixture.server, NULL), AB_OK);
    fixture_fini(&fixture);
}

/* ---- replies from other threads ---- */

#define HELD_MAX 2000

struct workers {
    struct ab_lock lock;
    struct ab_condition condition;
    struct ab_request *held[HELD_MAX];
    size_t held_count;
    bool is_done;
    struct ab_thread threads[2];
};

static void hold(struct ab_request *request, void *context)
{
    struct workers *workers = context;
    ab_lock_take(&workers->lock);
    if (workers->held_count == HELD_MAX) {
        ab_lock_give(&workers->lock);
        ab_request_reply(request, AB_FULL, "too many requests", ab_bytes_of(NULL, 0));
        return;
    }
    workers->held[workers->held_count++] = request;
    ab_condition_signal_all(&workers->condition);
    ab_lock_give(&workers->lock);
}

static void work(void *context)
{
    struct workers *workers = context;
    ab_lock_take(&workers->lock);
    while (!workers->is_done || workers->held_count > 0) {
        if (workers->held_count == 0) {
            (void)ab_condition_wait(&workers->condition, &workers->lock, -1);
            continue;
        }
        struct ab_request *request = workers->held[--workers->held_count];
        ab_lock_give(&workers->lock);
        ab_request_reply(request, AB_OK, NULL, request->payload);
        ab_lock_take(&workers->lock);
    }
    ab_lock_give(&workers->lock);
}

static void workers_start(struct workers *workers)
{
    *workers = (struct workers){0};
    ab_lock_init(&workers->lock);
    ab_condition_init(&workers->condition);
    for (int i = 0; i < 2; i++) {
        ab_thread_start(&workers->threads[i], "test-worker", work, workers);
    }
}

static void workers_stop(struct workers *workers)
{
    ab_lock_take(&workers->lock);
    workers->is_done = true;
    ab_condition_signal_all(&workers->condition);
    ab_lock_give(&workers->lock);
    for (int i = 0; i < 2; i++) {
        ab_thread_join(&workers->threads[i]);
    }
    ab_condition_fini(&workers->condition);
    ab_lock_fini(&workers->lock);
}

static void test_server_two_threads_reply(void **state)
{
    (void)state;
    enum { MESSAGES = 5000, WINDOW = 100 };
    static uint8_t is_answered[MESSAGES + 1];
    struct fixture fixture;
    struct workers workers;
    workers_start(&workers);
    struct ab_server_options options = {.on_request = hold, .context = &workers};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    memset(is_answered, 0, sizeof is_answered);
    uint32_t sent = 0;
    for (uint32_t received = 0; received < MESSAGES;) {
        while (sent < MESSAGES && sent - received < WINDOW) {
            struct ab_envelope envelope = {.verb = AB_VERB_PING, .request_id = sent + 1};
            assert_int_equal(ab_channel_send(channel, &envelope, ab_bytes_of(&sent, sizeof sent)), AB_OK);
            sent++;
        }
        struct ab_answer answer = {0};
        assert_int_equal(ab_channel_receive(channel, CALL_MS, &answer), AB_OK);
        assert_int_equal(answer.envelope.status, AB_OK);
        uint32_t number;
        assert_int_equal(answer.payload.bytes, sizeof number);
        memcpy(&number, answer.payload.data, sizeof number);
        assert_int_equal(answer.envelope.request_id, number + 1);
        assert_int_equal(is_answered[number]++, 0);
        ab_answer_free(&answer);
        received++;
    }
    ab_channel_close(channel);
    ab_wire_close(client);
    workers_stop(&workers);
    fixture_fini(&fixture);
}

static void expect_held(struct workers *workers, size_t expected)
{
    int64_t until_us = ab_time_monotonic_us() + CALL_MS * AB_US_PER_MS;
    ab_lock_take(&workers->lock);
    while (workers->held_count < expected && ab_condition_wait(&workers->condition, &workers->lock, until_us)) {
    }
    size_t held_count = workers->held_count;
    ab_lock_give(&workers->lock);
    assert_int_equal(held_count, expected);
}

static void test_server_close_with_requests_held_is_safe(void **state)
{
    (void)state;
    struct fixture fixture;
    struct workers workers = {0};
    ab_lock_init(&workers.lock);
    ab_condition_init(&workers.condition);
    struct ab_server_options options = {.on_request = hold, .context = &workers};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    for (int i = 0; i < 3; i++) {
        struct ab_envelope envelope = {.verb = AB_VERB_PING};
        assert_int_equal(ab_channel_send(channel, &envelope, text("x")), AB_OK);
    }
    expect_held(&workers, 3);
    ab_server_close(fixture.server);
    fixture.server = NULL;
    ab_request_reply(workers.held[0], AB_OK, NULL, text("too late"));
    ab_request_drop(workers.held[1]);
    ab_request_reply(workers.held[2], AB_OK, NULL, workers.held[2]->payload);
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
    ab_condition_fini(&workers.condition);
    ab_lock_fini(&workers.lock);
}

/* A request held for long, as a fetch is that has nothing to bring: replies to a process that went away go nowhere, not
 * to the one that came after it with the same key, and that one is answered. Replies come from this thread. */
static void test_server_reply_long_after_the_peer_went_is_harmless(void **state)
{
    (void)state;
    enum { HELD = 20, LARGE_BYTES = 1 << 20 };
    struct fixture fixture;
    struct workers workers = {0};
    struct ab_answer answer = {0};
    uint8_t *large = ab_new_bytes(LARGE_BYTES);
    ab_lock_init(&workers.lock);
    ab_condition_init(&workers.condition);
    struct ab_server_options options = {.on_request = hold, .context = &workers};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    for (int i = 0; i < HELD; i++) {
        struct ab_envelope envelope = {.verb = AB_VERB_REPLICATE, .request_id = 1000 + (uint64_t)i};
        assert_int_equal(ab_channel_send(channel, &envelope, text("of the first process")), AB_OK);
    }
    expect_held(&workers, HELD);
    ab_channel_close(channel);
    ab_wire_close(client);
    client = fixture_client(&fixture, FIXTURE_NODE);
    channel = fixture_channel(&fixture, client, 0);
    struct ab_envelope envelope = {.verb = AB_VERB_REPLICATE, .request_id = 7};
    assert_int_equal(ab_channel_send(channel, &envelope, text("of the second process")), AB_OK);
    expect_held(&workers, HELD + 1);
    ab_time_sleep_us(AB_US_PER_SECOND);
    uint64_t bytes_out = count(&fixture).bytes_out;
    for (int i = 0; i < HELD; i++) {
        assert_true(ab_bytes_equal(workers.held[i]->payload, text("of the first process")));
        ab_request_reply(workers.held[i], AB_OK, NULL, ab_bytes_of(large, LARGE_BYTES));
    }
    ab_request_reply(workers.held[HELD], AB_OK, NULL, workers.held[HELD]->payload);
    assert_int_equal(ab_channel_receive(channel, CALL_MS, &answer), AB_OK);
    assert_int_equal(answer.envelope.request_id, 7);
    assert_true(ab_bytes_equal(answer.payload, text("of the second process")));
    ab_answer_free(&answer);
    assert_int_equal(ab_channel_receive(channel, 200, &answer), AB_TIMEOUT);
    assert_true(count(&fixture).bytes_out - bytes_out < LARGE_BYTES); /* none of the lost ones counts as sent */
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
    ab_condition_fini(&workers.condition);
    ab_lock_fini(&workers.lock);
    ab_delete(large);
}

static void reply_too_much(struct ab_request *request, void *context)
{
    ab_request_reply(request, AB_OK, NULL, ab_bytes_of(context, 5001));
}

static void test_server_oversized_answer_becomes_an_error(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    uint8_t *large = ab_new_bytes(5001);
    struct ab_server_options options = {.message_bytes_max = 5000, .on_request = reply_too_much, .context = large};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    assert_int_equal(call_as(&fixture, FIXTURE_PRODUCER, AB_VERB_PING, NULL), AB_TOO_LARGE);
    ab_answer_free(&answer);
    fixture_fini(&fixture);
    ab_delete(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_answers_a_key_on_the_list),
        cmocka_unit_test(test_server_refuses_an_unknown_key),
        cmocka_unit_test(test_server_denies_a_verb_the_role_does_not_have),
        cmocka_unit_test(test_server_allow_takes_power_from_a_live_connection),
        cmocka_unit_test(test_server_refuses_another_cluster),
        cmocka_unit_test(test_server_counts_malformed_messages_and_goes_on),
        cmocka_unit_test(test_server_never_receives_an_oversized_message),
        cmocka_unit_test(test_server_refuses_a_client_without_curve),
        cmocka_unit_test(test_server_busy_port_says_which_and_what_to_do),
        cmocka_unit_test(test_server_self_test_passes),
        cmocka_unit_test(test_server_self_test_finds_an_open_socket),
        cmocka_unit_test(test_server_with_an_empty_list_lets_nobody_in),
        cmocka_unit_test(test_server_two_threads_reply),
        cmocka_unit_test(test_server_close_with_requests_held_is_safe),
        cmocka_unit_test(test_server_reply_long_after_the_peer_went_is_harmless),
        cmocka_unit_test(test_server_oversized_answer_becomes_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
