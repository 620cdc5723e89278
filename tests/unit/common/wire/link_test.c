/* Links: what is taken is sent soon or dropped, whatever the peer does, and nobody who sends ever waits. */
#include "common/base/thread.h"
#include "common/base/time.h"
#include "common/wire/link.h"
#include "tests/support/test.h"
#include "tests/unit/common/wire/wire_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_US (20 * AB_US_PER_SECOND)
#define IDS_MAX 16384

/* What came back, per request id, and what went wrong with it. */
struct answers {
    atomic_uint count;
    atomic_uint wrong;
    atomic_uchar seen[IDS_MAX];
    struct ab_link *chain; /* the next request is sent from the callback of the answer before */
};

/* The payload of a request: its id, then bytes that follow from it. */
static void payload_make(struct ab_buffer *payload, uint64_t id, size_t bytes)
{
    ab_buffer_put_u64(payload, id);
    memset(ab_buffer_extend(payload, bytes), (int)(id & 0x7f), bytes);
}

static bool payload_is(struct ab_bytes payload, uint64_t id)
{
    struct ab_reader reader = ab_reader_of(payload);
    bool is_right = ab_reader_u64(&reader) == id && !reader.has_failed;
    for (size_t i = 8; i < payload.bytes && is_right; i++) {
        is_right = payload.data[i] == (id & 0x7f);
    }
    return is_right;
}

static void on_answer(struct ab_answer *answer, void *context)
{
    struct answers *answers = context;
    struct ab_answer mine = *answer;
    uint64_t id = mine.envelope.request_id;
    bool is_right = id < IDS_MAX && mine.envelope.status == AB_OK && payload_is(mine.payload, id);
    answers->wrong += !is_right || atomic_fetch_add(&answers->seen[id % IDS_MAX], 1) != 0;
    ab_answer_free(&mine);
    if (answers->chain != NULL && id + 1 < IDS_MAX / 16) {
        struct ab_envelope envelope = {.verb = AB_VERB_REPLICATE, .request_id = id + 1};
        struct ab_buffer payload = {0};
        payload_make(&payload, id + 1, 100);
        answers->wrong += ab_link_send(answers->chain, &envelope, &payload) != AB_OK;
        ab_buffer_fini(&payload);
    }
    answers->count++;
}

static struct ab_link *link_open(const struct fixture *fixture, struct ab_wire *client,
    const struct ab_link_options *wanted, struct answers *answers)
{
    struct ab_link_options options = wanted == NULL ? (struct ab_link_options){0} : *wanted;
    struct ab_link *link = NULL;
    options.address = options.address == NULL ? fixture->address : options.address;
    options.on_answer = on_answer;
    options.context = answers;
    memcpy(options.server_key, fixture->server_keys.public_key, AB_WIRE_KEY_BYTES);
    assert_ok(ab_link_open(client, &options, &link, NULL));
    return link;
}

/* Sends one message; what is not taken is freed. */
static ab_err link_send(struct ab_link *link, struct ab_memory *memory, uint64_t id, size_t bytes)
{
    struct ab_envelope envelope = {.verb = AB_VERB_REPLICATE, .request_id = id};
    struct ab_buffer payload;
    ab_buffer_init(&payload, memory, 0);
    payload_make(&payload, id, bytes);
    size_t before = payload.bytes;
    ab_err err = ab_link_send(link, &envelope, &payload);
    assert_int_equal(payload.bytes, err == AB_OK ? 0 : before);
    assert_true(err != AB_OK || payload.data == NULL);
    ab_buffer_fini(&payload);
    return err;
}

static struct ab_link_counters count(const struct ab_link *link)
{
    struct ab_link_counters counters;
    ab_link_count(link, &counters);
    return counters;
}

/* Waits until as many answers came; false when they do not within the patience. */
static bool answers_reach(const struct answers *answers, unsigned expected)
{
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    while (answers->count < expected && ab_time_monotonic_us() < until_us) {
        ab_time_sleep_us(1000);
    }
    return answers->count >= expected;
}

/* Sends with rising ids until one is answered; returns the next id. */
static uint64_t send_until_answered(struct ab_link *link, struct answers *answers, uint64_t id)
{
    unsigned before = answers->count;
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    while (answers->count == before && ab_time_monotonic_us() < until_us) {
        assert_ok(link_send(link, NULL, id++, 10));
        ab_time_sleep_us(20000);
    }
    assert_true(answers->count > before);
    return id;
}

/* ---- round trips ---- */

#define SENDERS 3
#define EACH 2000u
#define WINDOW 128u /* unanswered at a time: a server drops answers beyond its queue */

struct sender {
    struct ab_link *link;
    struct ab_memory *memory;
    const struct answers *answers;
    atomic_uint *asked; /* by all senders */
    uint64_t first_id;
    unsigned wrong;
    struct ab_thread thread;
};

static void send_all(void *context)
{
    struct sender *sender = context;
    for (uint64_t id = sender->first_id; id < sender->first_id + EACH; id++) {
        struct ab_envelope envelope = {.verb = AB_VERB_REPLICATE, .request_id = id};
        struct ab_buffer payload;
        ab_buffer_init(&payload, sender->memory, 0);
        payload_make(&payload, id, id % 50 == 0 ? 100000 : id % 7 * 20);
        ab_err err;
        while (*sender->asked - sender->answers->count >= WINDOW) {
            ab_time_sleep_us(100);
        }
        while ((err = ab_link_send(sender->link, &envelope, &payload)) == AB_FULL) {
            ab_time_sleep_us(100);
        }
        ++*sender->asked;
        sender->wrong += err != AB_OK;
        ab_buffer_fini(&payload);
    }
}

static void test_link_round_trips_from_several_threads(void **state)
{
    (void)state;
    static struct answers answers;
    struct fixture fixture;
    struct sender senders[SENDERS];
    struct ab_memory memory;
    atomic_uint asked = 0;
    ab_memory_init(&memory, 0, NULL);
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    struct ab_link *link = link_open(&fixture, client, NULL, &answers);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){
            .link = link, .memory = &memory, .answers = &answers, .asked = &asked, .first_id = i * EACH};
        ab_thread_start(&senders[i].thread, "test-sender", send_all, &senders[i]);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        ab_thread_join(&senders[i].thread);
        assert_int_equal(senders[i].wrong, 0);
    }
    assert_true(answers_reach(&answers, SENDERS * EACH));
    struct ab_link_counters counters = count(link);
    assert_int_equal(answers.wrong, 0);
    assert_true(counters.sent == SENDERS * EACH && counters.received == SENDERS * EACH);
    assert_true(counters.dropped == 0 && counters.malformed == 0 && counters.refused == 0);
    ab_link_close(link);
    ab_wire_close(client);
    fixture_fini(&fixture);
    assert_int_equal(ab_memory_used(&memory), 0);
}

static void test_link_may_send_from_its_callback(void **state)
{
    (void)state;
    static struct answers answers;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    struct ab_link *link = link_open(&fixture, client, NULL, &answers);
    answers.chain = link;
    assert_ok(link_send(link, NULL, 0, 0));
    assert_true(answers_reach(&answers, IDS_MAX / 16));
    assert_int_equal(answers.wrong, 0);
    ab_link_close(link);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

/* ---- peers that are away, or silent ---- */

/* A server that notes the greatest and the number of ids it was asked, and echoes or is silent. */
struct peer {
    atomic_uint count;
    atomic_uint old; /* requests whose id is in [old_from, old_until) */
    atomic_ullong old_from, old_until;
    atomic_bool is_silent;
};

static void peer_answer(struct ab_request *request, void *context)
{
    struct peer *peer = context;
    uint64_t id = request->envelope.request_id;
    peer->count++;
    peer->old += id >= peer->old_from && id < peer->old_until;
    if (peer->is_silent) {
        ab_request_drop(request);
    } else {
        ab_request_reply(request, AB_OK, NULL, request->payload);
    }
}

static void test_link_goes_on_after_a_server_restart_and_brings_nothing_old(void **state)
{
    (void)state;
    enum { LOST = 10 };
    static struct answers answers;
    struct fixture fixture;
    struct peer peer = {0};
    char address[256];
    struct ab_server_options options = {.on_request = peer_answer, .context = &peer};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    struct ab_link *link = link_open(&fixture, client, NULL, &answers);
    uint64_t id = send_until_answered(link, &answers, 0);
    snprintf(address, sizeof address, "%s", fixture.address);
    ab_server_close(fixture.server);
    fixture.server = NULL;
    ab_time_sleep_us(200 * AB_US_PER_MS); /* the connection is seen to be gone */
    peer.old_from = id;
    for (unsigned i = 0; i < LOST; i++) {
        assert_ok(link_send(link, NULL, id++, 10));
    }
    peer.old_until = id;
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    while (count(link).dropped < LOST && ab_time_monotonic_us() < until_us) {
        ab_time_sleep_us(10000);
    }
    assert_int_equal(count(link).dropped, LOST);
    options.address = address;
    fixture_serve(&fixture, &options);
    (void)send_until_answered(link, &answers, id);
    assert_int_equal(peer.old, 0);
    assert_int_equal(answers.wrong, 0);
    ab_link_close(link);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void test_link_to_a_peer_that_never_answers_sends_all_and_closes_at_once(void **state)
{
    (void)state;
    enum { MESSAGES = 500 };
    static struct answers answers;
    struct fixture fixture;
    struct peer peer = {.is_silent = true};
    struct ab_server_options options = {.on_request = peer_answer, .context = &peer};
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    struct ab_link *link = link_open(&fixture, client, &(struct ab_link_options){.queue_messages = MESSAGES}, &answers);
    for (uint64_t id = 0; id < MESSAGES; id++) {
        assert_ok(link_send(link, NULL, id, 1000));
    }
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    while (peer.count < MESSAGES && ab_time_monotonic_us() < until_us) {
        ab_time_sleep_us(1000);
    }
    assert_int_equal(peer.count, MESSAGES);
    assert_true(count(link).sent == MESSAGES && count(link).received == 0);
    int64_t start_us = ab_time_monotonic_us();
    ab_link_close(link);
    ab_wire_close(client);
    assert_true(ab_time_monotonic_us() - start_us < 5 * AB_US_PER_SECOND);
    assert_int_equal(answers.count, 0);
    fixture_fini(&fixture);
}

/* A listener whose connections nobody accepts or reads: a machine that hangs. */
static int hanging_listen(char *address, size_t address_bytes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &at_bytes), 0);
    snprintf(address, address_bytes, "tcp://127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static void test_link_to_a_peer_that_hangs_drops_what_waited(void **state)
{
    (void)state;
    static struct answers answers;
    struct fixture fixture;
    struct ab_memory memory;
    char address[64];
    int fd = hanging_listen(address, sizeof address);
    ab_memory_init(&memory, 0, NULL);
    fixture_init(&fixture);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    struct ab_link *link = link_open(&fixture, client, &(struct ab_link_options){.address = address}, &answers);
    int64_t start_us = ab_time_monotonic_us();
    for (uint64_t id = 0; id < 20; id++) {
        assert_ok(link_send(link, &memory, id, 1000));
    }
    while (count(link).dropped < 20 && ab_time_monotonic_us() - start_us < PATIENCE_US) {
        ab_time_sleep_us(1000);
    }
    int64_t took_us = ab_time_monotonic_us() - start_us;
    assert_true(count(link).dropped == 20 && count(link).sent == 0);
    assert_true(took_us >= AB_LINK_WAIT_MS * AB_US_PER_MS);
    assert_int_equal(ab_memory_used(&memory), 0);
    ab_link_close(link);
    ab_wire_close(client);
    close(fd);
    fixture_fini(&fixture);
}

/* ---- keys ---- */

static void expect_refused(const struct fixture *fixture, struct ab_link *link, const struct answers *answers)
{
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    uint64_t id = 0;
    while ((count(link).refused == 0 || count(link).dropped == 0) && ab_time_monotonic_us() < until_us) {
        assert_ok(link_send(link, NULL, id++, 10));
        ab_time_sleep_us(50000);
    }
    struct ab_server_counters counters;
    ab_server_count(fixture->server, &counters);
    assert_true(count(link).refused > 0 && count(link).dropped > 0);
    assert_true(count(link).sent == 0 && answers->count == 0);
    assert_int_equal(counters.bytes_in, 0);
}

static void test_link_notices_that_a_key_is_wrong(void **state)
{
    (void)state;
    static struct answers answers;
    struct fixture fixture;
    struct ab_link *link = NULL;
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    struct ab_link_options options = {.address = fixture.address, .on_answer = on_answer, .context = &answers};
    memcpy(options.server_key, fixture.keys[FIXTURE_QUERY].public_key, AB_WIRE_KEY_BYTES);
    assert_ok(ab_link_open(client, &options, &link, NULL));
    expect_refused(&fixture, link, &answers);
    ab_link_close(link);
    ab_wire_close(client);
    client = fixture_client(&fixture, FIXTURE_UNKNOWN);
    link = link_open(&fixture, client, NULL, &answers);
    expect_refused(&fixture, link, &answers);
    ab_link_close(link);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

static void on_denied(struct ab_answer *answer, void *context)
{
    struct answers *answers = context;
    answers->wrong += answer->envelope.status != AB_DENIED;
    ab_answer_free(answer);
    answers->count++;
}

static void test_link_of_another_role_is_denied_the_verb(void **state)
{
    (void)state;
    static struct answers answers;
    struct fixture fixture;
    struct ab_link *link = NULL;
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_OPERATOR);
    struct ab_link_options options = {.address = fixture.address, .on_answer = on_denied, .context = &answers};
    memcpy(options.server_key, fixture.server_keys.public_key, AB_WIRE_KEY_BYTES);
    assert_ok(ab_link_open(client, &options, &link, NULL));
    assert_ok(link_send(link, NULL, 1, 10));
    assert_true(answers_reach(&answers, 1));
    assert_int_equal(answers.wrong, 0);
    ab_link_close(link);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

/* ---- bounds ---- */

static void test_link_send_past_a_bound_takes_nothing(void **state)
{
    (void)state;
    static struct answers answers;
    struct fixture fixture;
    fixture_init(&fixture);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    const struct ab_link_options by_messages = {.address = "tcp://127.0.0.1:1", .queue_messages = 10};
    const struct ab_link_options by_bytes = {
        .address = "tcp://127.0.0.1:1", .queue_bytes = 100000, .message_bytes_max = 30000};
    struct ab_link *link = link_open(&fixture, client, &by_messages, &answers);
    uint64_t taken = 0;
    while (taken < 100 && link_send(link, NULL, taken, 10) == AB_OK) {
        taken++;
    }
    assert_in_range(taken, 10, 11); /* one may be with the thread already */
    assert_int_equal(link_send(link, NULL, 0, 10), AB_FULL);
    assert_int_equal(count(link).full, 2);
    ab_link_close(link);
    link = link_open(&fixture, client, &by_bytes, &answers);
    for (taken = 0; taken < 100 && link_send(link, NULL, taken, 29000) == AB_OK; taken++) {
    }
    assert_in_range(taken, 3, 4);
    assert_int_equal(link_send(link, NULL, 0, 30000 - 8), AB_FULL);
    assert_int_equal(link_send(link, NULL, 0, 30001 - 8), AB_TOO_LARGE);
    struct ab_buffer failed = {.bytes_max = 1, .has_failed = true};
    assert_int_equal(ab_link_send(link, &(struct ab_envelope){.verb = AB_VERB_PING}, &failed), AB_FULL);
    assert_true(failed.has_failed);
    ab_link_close(link);
    ab_link_close(NULL);
    ab_wire_close(client);
    fixture_fini(&fixture);
}

struct gate {
    struct ab_lock lock;
};

static void pass_gate(struct ab_request *request, void *context)
{
    struct gate *gate = context;
    ab_lock_take(&gate->lock);
    ab_lock_give(&gate->lock);
    ab_request_reply(request, AB_OK, NULL, request->payload);
}

static void test_link_to_a_slow_peer_fills_its_queue_and_recovers(void **state)
{
    (void)state;
    static struct answers answers;
    struct fixture fixture;
    struct gate gate;
    struct ab_server_options options = {.on_request = pass_gate, .context = &gate, .queue_messages = 8};
    ab_lock_init(&gate.lock);
    fixture_init(&fixture);
    fixture_serve(&fixture, &options);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    struct ab_link *link = link_open(&fixture, client, &(struct ab_link_options){.queue_messages = 32}, &answers);
    ab_lock_take(&gate.lock);
    uint64_t taken = 0;
    int64_t start_us = ab_time_monotonic_us();
    int64_t full_us = 0; /* refused for so long without a break: whatever holds messages on the way is full */
    while (full_us < 200 * AB_US_PER_MS && ab_time_monotonic_us() - start_us < PATIENCE_US) {
        bool is_taken = link_send(link, NULL, taken, 200000) == AB_OK;
        taken += is_taken;
        full_us = is_taken ? 0 : full_us + 10000;
        ab_time_sleep_us(is_taken ? 0 : 10000);
    }
    assert_true(full_us >= 200 * AB_US_PER_MS);
    ab_lock_give(&gate.lock);
    int64_t until_us = ab_time_monotonic_us() + PATIENCE_US;
    while (count(link).sent + count(link).dropped < taken && ab_time_monotonic_us() < until_us) {
        ab_time_sleep_us(1000);
    }
    struct ab_link_counters counters = count(link);
    assert_int_equal(counters.sent + counters.dropped, taken);
    assert_true(counters.full > 0);
    (void)send_until_answered(link, &answers, taken);
    assert_true(answers.wrong == 0 && count(link).received <= count(link).sent);
    ab_link_close(link);
    ab_wire_close(client);
    fixture_fini(&fixture);
    ab_lock_fini(&gate.lock);
}

/* ---- ends ---- */

static void test_link_close_with_messages_in_flight_frees_all(void **state)
{
    (void)state;
    static struct answers answers;
    struct fixture fixture;
    struct ab_memory memory;
    ab_memory_init(&memory, 0, NULL);
    fixture_init(&fixture);
    fixture_serve(&fixture, NULL);
    struct ab_wire *client = fixture_client(&fixture, FIXTURE_NODE);
    for (unsigned round = 0; round < 8; round++) {
        struct ab_link *link = link_open(&fixture, client, NULL, &answers);
        memset(&answers, 0, sizeof answers);
        for (uint64_t id = 0; id < 100; id++) {
            assert_ok(link_send(link, &memory, id, 65536));
        }
        ab_time_sleep_us(round * 3000);
        ab_link_close(link);
        assert_int_equal(answers.wrong, 0);
    }
    ab_wire_close(client);
    assert_int_equal(ab_memory_used(&memory), 0);
    fixture_fini(&fixture);
}

static void test_link_open_bad_address_is_usage(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ab_error error = {0};
    struct ab_link *link = NULL;
    fixture_init(&fixture);
    struct ab_link_options options = {.address = "not an address", .on_answer = on_answer};
    assert_int_equal(ab_link_open(fixture.wire, &options, &link, &error), AB_USAGE);
    assert_non_null(strstr(error.text, "not an address"));
    assert_null(link);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_round_trips_from_several_threads),
        cmocka_unit_test(test_link_may_send_from_its_callback),
        cmocka_unit_test(test_link_goes_on_after_a_server_restart_and_brings_nothing_old),
        cmocka_unit_test(test_link_to_a_peer_that_never_answers_sends_all_and_closes_at_once),
        cmocka_unit_test(test_link_to_a_peer_that_hangs_drops_what_waited),
        cmocka_unit_test(test_link_notices_that_a_key_is_wrong),
        cmocka_unit_test(test_link_of_another_role_is_denied_the_verb),
        cmocka_unit_test(test_link_send_past_a_bound_takes_nothing),
        cmocka_unit_test(test_link_to_a_slow_peer_fills_its_queue_and_recovers),
        cmocka_unit_test(test_link_close_with_messages_in_flight_frees_all),
        cmocka_unit_test(test_link_open_bad_address_is_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
