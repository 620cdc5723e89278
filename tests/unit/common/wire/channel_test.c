/* Channels: deadlines, reconnects, refusals, and how much passes through them. */
#include "common/base/time.h"
#include "common/wire/internal.h"

#include "tests/unit/common/wire/wire_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL_MS 20000

static struct ab_bytes text(const char *characters)
{
    return ab_bytes_of_text(characters);
}

/* Keeps the deadline it saw and never answers. */
struct silent {
    int64_t left_us;
};

static void drop(struct ab_request *request, void *context)
{
    struct silent *silent = context;
    silent->left_us = request->deadline_us - request->received_us;
    ab_request_drop(request);
}

static void test_channel_call_gives_up_at_its_deadline(void **state)
{
    (void)state;
    struct fixture fixture;
    struct silent silent = {0};
    struct ab_error error = {0};
    struct ab_answer answer = {0};
    struct ab_server_options options = {.on_request = drop, .context = &silent};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    int64_t start_us = ab_time_monotonic_us();
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text(""), 700, &answer, &error), AB_TIMEOUT);
    int64_t took_us = ab_time_monotonic_us() - start_us;
    assert_true(took_us >= 700 * AB_US_PER_MS && took_us < 10 * AB_US_PER_SECOND);
    assert_non_null(strstr(error.text, "no answer within 700 ms"));
    assert_int_equal(ab_channel_receive(channel, 0, &answer), AB_TIMEOUT);
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
    assert_int_equal(silent.left_us, 700 * AB_US_PER_MS);
}

static void test_channel_receive_any_takes_from_whoever_answers(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    struct ab_server_options options = {0}; /* echoes */
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channels[3];
    size_t which = 9;
    for (size_t i = 0; i < 3; i++) {
        channels[i] = fixture_channel(&fixture, client, 0);
    }
    int64_t start_us = ab_time_monotonic_us();
    assert_int_equal(ab_channel_receive_any(channels, 3, 50, &which, &answer), AB_TIMEOUT);
    assert_true(ab_time_monotonic_us() - start_us >= 50 * AB_US_PER_MS);
    for (size_t i = 3; i > 0; i--) {
        struct ab_envelope envelope = {.verb = AB_VERB_PING};
        assert_int_equal(ab_channel_send(channels[i - 1], &envelope, text("hello")), AB_OK);
        assert_int_equal(ab_channel_receive_any(channels, 3, CALL_MS, &which, &answer), AB_OK);
        assert_int_equal(which, i - 1);
        assert_true(answer.envelope.request_id == envelope.request_id);
        ab_answer_free(&answer);
    }
    assert_int_equal(ab_channel_receive_any(channels, 3, 0, &which, &answer), AB_TIMEOUT);
    for (size_t i = 0; i < 3; i++) {
        ab_channel_close(channels[i]);
    }
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_channel_call_without_a_server_times_out(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    fixture_init(&fixture);
    snprintf(fixture.address, sizeof fixture.address, "tcp://127.0.0.1:1");
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text(""), 200, &answer, NULL), AB_TIMEOUT);
    assert_false(ab_channel_was_refused(channel));
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_channel_send_full_queue_is_again(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel_options options = {.address = "tcp://127.0.0.1:1", .queue_messages = 10};
    struct ab_channel *channel = NULL;
    assert_int_equal(ab_channel_open(client, &options, &channel, NULL), AB_OK);
    ab_err err = AB_OK;
    int sent = 0;
    for (; sent < 100 && err == AB_OK; sent++) {
        struct ab_envelope envelope = {.verb = AB_VERB_PING};
        err = ab_channel_send(channel, &envelope, text("x"));
    }
    assert_int_equal(err, AB_AGAIN);
    assert_in_range(sent, 10, 12);
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_channel_knows_that_its_key_was_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_UNKNOWN);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    for (int i = 0; i < 200 && !ab_channel_was_refused(channel); i++) {
        assert_int_equal(ab_channel_receive(channel, 50, &answer), AB_TIMEOUT);
    }
    assert_true(ab_channel_was_refused(channel));
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_channel_knows_that_the_server_key_is_wrong(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    struct ab_channel *channel = NULL;
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel_options options = {.address = fixture.address};
    memcpy(options.server_key, fixture.keys[FIXTURE_QUERY].public_key, AB_WIRE_KEY_BYTES);
    assert_int_equal(ab_channel_open(client, &options, &channel, NULL), AB_OK);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text(""), CALL_MS, &answer, NULL), AB_DENIED);
    assert_true(ab_channel_was_refused(channel));
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

/* A listener that accepts and closes at once: what a server looks like that ends while a client shakes hands. */
static void test_channel_one_broken_handshake_is_not_a_refusal(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_bytes = sizeof address;
    const int one = 1; /* a server takes the port over while old connections still linger on it */
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &address_bytes), 0);
    fixture_init(&fixture);
    snprintf(fixture.address, sizeof fixture.address, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    close(accept(listener, NULL, NULL));
    assert_int_equal(ab_channel_receive(channel, 300, &answer), AB_TIMEOUT);
    assert_false(ab_channel_was_refused(channel));
    close(listener);
    char server_address[256];
    snprintf(server_address, sizeof server_address, "%s", fixture.address);
    struct ab_server_options options = {.address = server_address};
    fixture_serve(&fixture, &options);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text("x"), CALL_MS, &answer, NULL), AB_OK);
    ab_answer_free(&answer);
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_channel_reconnects_after_a_server_restart(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    assert_int_equal(ab_channel_cuts(channel), 0);
    for (unsigned i = 0; i < 3; i++) {
        ab_err err = AB_TIMEOUT;
        for (int attempt = 0; attempt < 60 && err != AB_OK; attempt++) {
            err = ab_channel_call(channel, AB_VERB_PING, text("again"), 500, &answer, NULL);
        }
        assert_int_equal(err, AB_OK);
        ab_answer_free(&answer);
        unsigned cuts = ab_channel_cuts(channel);
        assert_true(cuts >= i);
        char address[256];
        snprintf(address, sizeof address, "%s", fixture.address);
        ab_server_close(fixture.server);
        fixture.server = NULL;
        assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text("lost"), 300, &answer, NULL), AB_TIMEOUT);
        assert_true(ab_channel_cuts(channel) > cuts);
        struct ab_server_options options = {.address = address};
        fixture_serve(&fixture, &options);
    }
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_channel_call_discards_answers_to_earlier_requests(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_answer answer = {0};
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    struct ab_envelope early = {.verb = AB_VERB_PING};
    assert_int_equal(ab_channel_send(channel, &early, text("early")), AB_OK);
    assert_int_not_equal(early.request_id, 0);
    assert_int_equal(ab_channel_call(channel, AB_VERB_PING, text("late"), CALL_MS, &answer, NULL), AB_OK);
    assert_true(ab_bytes_equal(answer.payload, text("late")));
    ab_answer_free(&answer);
    ab_answer_free(&answer); /* zeroed: legal */
    assert_int_equal(ab_channel_receive(channel, 0, &answer), AB_TIMEOUT);
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_channel_open_bad_address_is_usage(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_error error = {0};
    struct ab_channel *channel = NULL;
    fixture_init(&fixture);
    struct ab_channel_options options = {.address = "not an address"};
    assert_int_equal(ab_channel_open(fixture.wire, &options, &channel, &error), AB_USAGE);
    assert_non_null(strstr(error.text, "not an address"));
    assert_null(channel);
    fixture_fini(&fixture);
}

static void count_bytes(struct ab_request *request, void *context)
{
    *(size_t *)context += request->payload.bytes;
    ab_request_reply(request, AB_OK, NULL, ab_bytes_of(NULL, 0));
}

static void test_channel_throughput_of_64_kib_messages(void **state)
{
    (void)state;
    enum { MESSAGES = 2000, WINDOW = 64, BYTES = 65536 };
    struct fixture fixture;
    size_t received_bytes = 0;
    uint8_t *payload = ab_new_bytes(BYTES);
    struct ab_server_options options = {.on_request = count_bytes, .context = &received_bytes};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_PRODUCER);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    int64_t start_us = ab_time_monotonic_us();
    int64_t start_cpu_ns = ab_time_process_cpu_ns();
    int sent = 0;
    for (int received = 0; received < MESSAGES; received++) {
        struct ab_answer answer = {0};
        while (sent < MESSAGES && sent - received < WINDOW) {
            struct ab_envelope envelope = {.verb = AB_VERB_PING};
            assert_int_equal(ab_channel_send(channel, &envelope, ab_bytes_of(payload, BYTES)), AB_OK);
            sent++;
        }
        assert_int_equal(ab_channel_receive(channel, CALL_MS, &answer), AB_OK);
        ab_answer_free(&answer);
    }
    double seconds = (double)(ab_time_monotonic_us() - start_us) / 1e6;
    double cpu_seconds = (double)(ab_time_process_cpu_ns() - start_cpu_ns) / 1e9;
    double megabytes = (double)MESSAGES * BYTES / 1e6;
    print_message("64 KiB messages: %.0f MB/s, %.0f MB a CPU-second of both sides\n", megabytes / seconds,
        megabytes / cpu_seconds);
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
    assert_int_equal(received_bytes, (size_t)MESSAGES * BYTES);
    ab_delete(payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_call_gives_up_at_its_deadline),
        cmocka_unit_test(test_channel_receive_any_takes_from_whoever_answers),
        cmocka_unit_test(test_channel_call_without_a_server_times_out),
        cmocka_unit_test(test_channel_send_full_queue_is_again),
        cmocka_unit_test(test_channel_knows_that_its_key_was_refused),
        cmocka_unit_test(test_channel_knows_that_the_server_key_is_wrong),
        cmocka_unit_test(test_channel_one_broken_handshake_is_not_a_refusal),
        cmocka_unit_test(test_channel_reconnects_after_a_server_restart),
        cmocka_unit_test(test_channel_call_discards_answers_to_earlier_requests),
        cmocka_unit_test(test_channel_open_bad_address_is_usage),
        cmocka_unit_test(test_channel_throughput_of_64_kib_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
