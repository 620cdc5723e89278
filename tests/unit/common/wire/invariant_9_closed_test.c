/* I9: every verb of every role against a server: what the table below does not allow never reaches the program behind
 * the server. Nor does a byte of a key that is not on the list, or of a peer that does not speak the protocol; none of
 * them disturbs the others. The daemons themselves are held to it by tests/integration/refuse_test.py. */
#include "tests/support/test.h"
#include "tests/unit/common/wire/wire_fixture.h"

#include "common/base/random.h"
#include "common/base/time.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#define CALL_MS 20000
#define ROLES 5
#define STRANGERS 60
#define STRANGER_BYTES 4096u

static const char *const allowed[AB_VERB_COUNT] = {/* producer, query, node, batch, operator */
    [AB_VERB_PING] = "pqnbo",
    [AB_VERB_PRODUCE] = "p...o",
    [AB_VERB_SOURCE_MARKS] = "p.n.o",
    [AB_VERB_QUERY] = ".qn.o",
    [AB_VERB_STATE_QUERY] = "..n..",
    [AB_VERB_DEAD_LETTERS] = ".q..o",
    [AB_VERB_CATALOG] = "pqnbo",
    [AB_VERB_STATUS] = "..nbo",
    [AB_VERB_CUT] = "..n..",
    [AB_VERB_DIGEST] = "..nb.",
    [AB_VERB_RETIRE] = "..n..",
    [AB_VERB_APPLY] = "..n.o",
    [AB_VERB_JOB_SUBMIT] = "..n.o",
    [AB_VERB_JOB_LIST] = "..n.o",
    [AB_VERB_JOB_SHOW] = "..n.o",
    [AB_VERB_JOB_BEGIN] = "..nb.",
    [AB_VERB_JOB_PROGRESS] = "..nb.",
    [AB_VERB_JOB_PUBLISH] = "..nb.",
    [AB_VERB_SHUTDOWN] = "..n.o",
    [AB_VERB_LOG_STATE] = "..nb.",
    [AB_VERB_REPLICATE] = "..n..",
    [AB_VERB_NODE_CHANGE] = "..n.o"};

static bool is_allowed(enum ab_role role, int verb)
{
    return verb > AB_VERB_NONE && verb < AB_VERB_COUNT && allowed[verb][role - 1] != '.';
}

/* What stands behind the server: it counts what reaches it. */
static atomic_uint reached;

static void program(struct ab_request *request, void *context)
{
    (void)context;
    reached++;
    ab_request_reply(request, AB_OK, NULL, request->payload);
}

static void serve(struct fixture *fixture)
{
    struct ab_server_options options = {.on_request = program};
    reached = 0;
    fixture_init(fixture);
    fixture_serve(fixture, &options);
}

/* One verb, also one that is none, from a channel of the role. */
static void pair_try(struct ab_channel *channel, enum ab_role role, int verb)
{
    struct ab_envelope envelope = {.protocol = AB_PROTOCOL_VERSION, .verb = (enum ab_verb)verb, .cluster_id = {9, 9}};
    struct ab_answer answer = {0};
    unsigned before = reached;
    assert_ok(ab_channel_send(channel, &envelope, bytes_of("x")));
    assert_ok(ab_channel_receive(channel, CALL_MS, &answer));
    bool is_taken = answer.envelope.status == AB_OK;
    if (is_taken != is_allowed(role, verb) || reached - before != (unsigned)is_taken) {
        fail_msg("role %s, verb %d: status %d, reached the program %u times", ab_role_name(role), verb,
            (int)answer.envelope.status, reached - before);
    }
    assert_true(is_taken || answer.envelope.status == AB_DENIED || answer.envelope.status == AB_INVALID ||
                answer.envelope.status == AB_UNSUPPORTED);
    assert_true(is_taken || answer.envelope.error[0] != '\0');
    ab_answer_free(&answer);
}

static void test_invariant_9_every_verb_of_every_role(void **state)
{
    (void)state;
    struct fixture fixture;
    serve(&fixture);
    for (int role = AB_ROLE_PRODUCER; role <= ROLES; role++) {
        struct ab_wire_peer peer = {.role = (enum ab_role)role, .name = "key"};
        memcpy(peer.public_key, fixture.keys[0].public_key, sizeof peer.public_key);
        ab_wire_allow(fixture.wire, &peer, 1);
        struct ab_wire *client = fixture_client(&fixture, 0);
        struct ab_channel *channel = fixture_channel(&fixture, client, 0);
        for (int verb = AB_VERB_PING; verb < AB_VERB_COUNT; verb++) {
            assert_int_equal(ab_role_allows((enum ab_role)role, (enum ab_verb)verb), is_allowed(role, verb));
            pair_try(channel, (enum ab_role)role, verb);
        }
        ab_channel_close(channel);
        ab_wire_close(client);
    }
    fixture_fini(&fixture);
}

/* ---- strangers ---- */

static void test_invariant_9_no_byte_of_an_unknown_key(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_server_counters counters;
    serve(&fixture);
    for (int verb = AB_VERB_PING; verb < AB_VERB_COUNT; verb += 6) {
        struct ab_wire *client = fixture_client(&fixture, FIXTURE_UNKNOWN);
        struct ab_channel *channel = fixture_channel(&fixture, client, 0);
        struct ab_answer answer = {0};
        struct ab_error error = {0};
        assert_int_equal(
            ab_channel_call(channel, (enum ab_verb)verb, bytes_of("x"), CALL_MS, &answer, &error), AB_DENIED);
        ab_channel_close(channel);
        ab_wire_close(client);
    }
    ab_server_count(fixture.server, &counters);
    assert_int_equal(reached, 0);
    assert_int_equal(counters.bytes_in, 0);
    fixture_fini(&fixture);
}

static int stranger_connect(const struct fixture *fixture)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    unsigned port = 0;
    assert_int_equal(sscanf(fixture->address, "tcp://127.0.0.1:%u", &port), 1);
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Bytes of a stranger: noise, a greeting of ZMTP 3 with CURVE and then noise, a frame that promises to be enormous. */
static size_t stranger_bytes(struct ab_random *random, int number, uint8_t bytes[STRANGER_BYTES])
{
    size_t count = 1 + (size_t)ab_random_below(random, STRANGER_BYTES - 1);
    for (size_t i = 0; i < STRANGER_BYTES; i++) {
        bytes[i] = (uint8_t)ab_random_below(random, 256);
    }
    if (number % 3 == 0) {
        return count;
    }
    memset(bytes, 0, 64);
    memcpy(bytes, "\xff\0\0\0\0\0\0\0\0\x7f\3\0", 12);
    memcpy(bytes + 12, number % 2 == 0 ? "CURVE" : "NULL\0", 5);
    if (number % 3 == 2) {
        memcpy(bytes + 64, "\x06\x7f\xff\xff\xff\xff\xff\xff\xff\5HELLO", 15); /* a command of 2^63 - 1 bytes */
    }
    return count < 80 ? 80 : count;
}

static void test_invariant_9_garbage_on_the_socket_disturbs_nobody(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_random random;
    struct ab_server_counters counters;
    int strangers[STRANGERS];
    uint8_t bytes[STRANGER_BYTES];
    ab_random_init(&random, 9);
    serve(&fixture);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_OPERATOR);
    struct ab_channel *channel = fixture_channel(&fixture, client, 0);
    for (int i = 0; i < STRANGERS; i++) {
        strangers[i] = stranger_connect(&fixture);
        size_t count = stranger_bytes(&random, i, bytes);
        (void)!send(strangers[i], bytes, count, MSG_NOSIGNAL); /* the server may have hung up already */
        if (i % 10 == 0) {
            pair_try(channel, AB_ROLE_OPERATOR, AB_VERB_STATUS);
        }
    }
    unsigned good = reached;
    for (int i = 0; i < STRANGERS; i++) {
        close(strangers[i]);
    }
    pair_try(channel, AB_ROLE_OPERATOR, AB_VERB_STATUS);
    ab_server_count(fixture.server, &counters);
    assert_int_equal(reached, good + 1);
    assert_int_equal(counters.requests, good + 1);
    ab_channel_close(channel);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invariant_9_every_verb_of_every_role),
        cmocka_unit_test(test_invariant_9_no_byte_of_an_unknown_key),
        cmocka_unit_test(test_invariant_9_garbage_on_the_socket_disturbs_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
