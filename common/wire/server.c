#include "common/wire/request.h"

#include "common/base/logging.h"
#include "common/base/memory.h"
#include "common/base/time.h"

#include <errno.h>
#include <stdio.h>

#define LINGER_MS 1000
#define MESSAGES_PER_POLL 512
#define REPLIES_MAX 8192
#define REPLIES_PER_TAKE 128
/* Replies that wait for the network thread: a few of the largest. */
#define REPLIES_MESSAGES_MAX 4

/* The verbs a process may ask before it knows the cluster's id. */
static bool verb_needs_no_cluster(enum ab_verb verb)
{
    return verb == AB_VERB_CATALOG || verb == AB_VERB_STATUS || verb == AB_VERB_PING;
}

static bool cluster_matches(const struct ab_server *server, const struct ab_envelope *envelope)
{
    static const uint8_t unknown[16];
    if (memcmp(envelope->cluster_id, unknown, sizeof unknown) == 0 && verb_needs_no_cluster(envelope->verb)) {
        return true;
    }
    return memcmp(envelope->cluster_id, server->cluster_id, sizeof server->cluster_id) == 0;
}

static void request_refuse(struct ab_server *server, struct request *request, ab_err status, const char *text)
{
    atomic_fetch_add(status == AB_DENIED ? &server->denied : &server->malformed, 1);
    ab_debug("request refused", "verb %s of %s: %s", ab_verb_name(request->open.envelope.verb), request->open.principal,
        text);
    ab_request_reply(&request->open, status, text, ab_bytes_of(NULL, 0));
}

/* Decides whether a decoded request may go on, and hands it over. */
static void request_judge(struct ab_server *server, struct request *request, bool is_known)
{
    char text[160];
    struct ab_request *open = &request->open;
    if (!is_known) {
        request_refuse(server, request, AB_DENIED, "this key is not on the list any more");
        return;
    }
    if (!ab_role_allows(open->role, open->envelope.verb)) {
        snprintf(text, sizeof text, "a key of the role %s may not use the verb %s", ab_role_name(open->role),
            ab_verb_name(open->envelope.verb));
        request_refuse(server, request, AB_DENIED, text);
        return;
    }
    if (!cluster_matches(server, &open->envelope)) {
        request_refuse(server, request, AB_INVALID, "the request is for another cluster");
        return;
    }
    server->on_request(open, server->context);
}

static void message_handle(
    struct ab_server *server, zmq_msg_t *routing_id, zmq_msg_t *header, zmq_msg_t *payload, unsigned frames_count)
{
    struct ab_wire_peer peer = {0};
    atomic_fetch_add(&server->bytes_in, zmq_msg_size(header) + zmq_msg_size(payload));
    bool is_known = ab_zap_find(server->wire->zap, zmq_msg_gets(header, "User-Id"), &peer);
    struct request *request = ab_request_create(server, routing_id, header, payload);
    struct ab_request *open = &request->open;
    struct ab_bytes bytes = ab_bytes_of(zmq_msg_data(&request->header), zmq_msg_size(&request->header));
    if (frames_count < 1 || frames_count > 2 || ab_envelope_decode(bytes, &open->envelope) != AB_OK) {
        atomic_fetch_add(&server->malformed, 1);
        ab_request_drop(open); /* no request id to answer to */
        return;
    }
    atomic_fetch_add(&server->requests, 1);
    open->role = peer.role;
    memcpy(open->principal, peer.name, sizeof open->principal);
    open->principal[sizeof open->principal - 1] = 0;
    open->received_us = ab_time_monotonic_us();
    open->deadline_us = open->envelope.deadline_ms == 0
                            ? INT64_MAX
                            : open->received_us + (int64_t)open->envelope.deadline_ms * AB_US_PER_MS;
    request_judge(server, request, is_known);
}

/* Receives one whole message if there is one; frames past the second are counted and thrown away. */
static bool message_receive(struct ab_server *server)
{
    zmq_msg_t frames[3]; /* routing id, header, payload */
    zmq_msg_t spare;
    unsigned count = 0;
    for (unsigned i = 0; i < 3; i++) {
        zmq_msg_init(&frames[i]);
    }
    zmq_msg_init(&spare);
    bool more = true;
    while (more) {
        zmq_msg_t *frame = count < 3 ? &frames[count] : &spare;
        if (zmq_msg_recv(frame, server->socket, ZMQ_DONTWAIT) < 0) {
            break;
        }
        count++;
        more = zmq_msg_more(frame) != 0;
    }
    bool is_received = count > 0 && !more;
    if (is_received) {
        message_handle(server, &frames[0], &frames[1], &frames[2], count - 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        zmq_msg_close(&frames[i]);
    }
    zmq_msg_close(&spare);
    return is_received;
}

static void replies_send(struct ab_server *server)
{
    void *items[REPLIES_PER_TAKE];
    size_t count;
    do {
        count = ab_queue_take(server->replies, items, REPLIES_PER_TAKE, 0);
        for (size_t i = 0; i < count; i++) {
            ab_request_send(items[i]);
        }
    } while (count > 0);
}

static void network_run(void *context)
{
    struct ab_server *server = context;
    zmq_pollitem_t items[2] = {
        {.socket = server->socket, .events = ZMQ_POLLIN}, {.fd = server->wake.fd, .events = ZMQ_POLLIN}};
    while (!atomic_load(&server->is_stopping)) {
        if (zmq_poll(items, 2, -1) < 0) {
            if (zmq_errno() == EINTR) {
                continue;
            }
            break; /* the context has ended */
        }
        if ((items[1].revents & ZMQ_POLLIN) != 0) {
            ab_wake_clear(&server->wake);
            replies_send(server);
        }
        if ((items[0].revents & ZMQ_POLLIN) != 0) {
            for (unsigned i = 0; i < MESSAGES_PER_POLL && message_receive(server); i++) {
            }
        }
    }
    replies_send(server);
}

static ab_err server_bind(struct ab_server *server, const struct ab_server_options *options, struct ab_error *error)
{
    const int mandatory = 1;
    const struct ab_socket_limits limits = {.message_bytes_max = server->message_bytes_max,
        .queue_messages = options->queue_messages > 0 ? options->queue_messages : AB_WIRE_QUEUE_MESSAGES,
        .linger_ms = LINGER_MS};
    size_t address_bytes = sizeof server->address;
    server->socket = zmq_socket(server->wire->context, ZMQ_ROUTER);
    if (server->socket == NULL || !ab_socket_set_limits(server->socket, &limits) ||
        zmq_setsockopt(server->socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory) != 0 ||
        !ab_socket_set_server(server->socket, &server->wire->keys)) {
        return ab_error_set(error, AB_NETWORK, "socket for %s: %s", options->address, zmq_strerror(zmq_errno()));
    }
    if (zmq_bind(server->socket, options->address) != 0) {
        int code = zmq_errno();
        if (code == EADDRINUSE) {
            return ab_error_set(error, AB_BUSY,
                "address %s is in use by another process: stop that process or choose another port", options->address);
        }
        return ab_error_set(error, AB_NETWORK, "bind %s: %s", options->address, zmq_strerror(code));
    }
    if (zmq_getsockopt(server->socket, ZMQ_LAST_ENDPOINT, server->address, &address_bytes) != 0) {
        return ab_error_set(error, AB_NETWORK, "address of %s: %s", options->address, zmq_strerror(zmq_errno()));
    }
    return AB_OK;
}

ab_err ab_server_open(
    struct ab_wire *wire, const struct ab_server_options *options, struct ab_server **server, struct ab_error *error)
{
    AB_TRY(ab_zap_start(wire->zap, wire->context, error)); /* before any bind */
    struct ab_server *made = ab_new(struct ab_server);
    made->wire = wire;
    made->on_request = options->on_request;
    made->context = options->context;
    made->message_bytes_max = options->message_bytes_max > 0 ? options->message_bytes_max : AB_WIRE_MESSAGE_BYTES_MAX;
    memcpy(made->cluster_id, wire->cluster_id, sizeof made->cluster_id);
    memcpy(made->node, wire->node, sizeof made->node);
    made->incarnation = wire->incarnation;
    made->replies = ab_queue_create(REPLIES_MAX, made->message_bytes_max * REPLIES_MESSAGES_MAX);
    atomic_store(&made->references, 1);
    ab_err err = ab_wake_init(&made->wake, error);
    err = err != AB_OK ? err : server_bind(made, options, error);
    if (err != AB_OK) {
        if (made->socket != NULL) {
            zmq_close(made->socket);
        }
        ab_server_release(made);
        return err;
    }
    ab_thread_start(&made->thread, "wire-server", network_run, made);
    *server = made;
    return AB_OK;
}

const char *ab_server_address(const struct ab_server *server)
{
    return server->address;
}

ab_err ab_server_self_test(struct ab_server *server, struct ab_error *error)
{
    static const char any[] = "tcp://0.0.0.0:";
    char address[sizeof server->address + 16];
    struct ab_wire_keys unknown;
    bool is_any = strncmp(server->address, any, sizeof any - 1) == 0;
    snprintf(address, sizeof address, "%s%s", is_any ? "tcp://127.0.0.1:" : "",
        is_any ? server->address + sizeof any - 1 : server->address);
    ab_wire_keys_make(&unknown);
    return ab_wire_require_refusal(server->wire, address, server->wire->keys.public_key, &unknown, error);
}

void ab_server_close(struct ab_server *server)
{
    void *items[REPLIES_PER_TAKE];
    size_t count;
    if (server == NULL) {
        return;
    }
    atomic_store(&server->is_stopping, true);
    ab_wake_ring(&server->wake);
    ab_thread_join(&server->thread);
    ab_queue_close(server->replies);
    while ((count = ab_queue_take(server->replies, items, REPLIES_PER_TAKE, 0)) > 0) {
        for (size_t i = 0; i < count; i++) {
            ab_request_drop(items[i]);
        }
    }
    zmq_close(server->socket);
    ab_server_release(server);
}

void ab_server_count(const struct ab_server *server, struct ab_server_counters *counters)
{
    *counters = (struct ab_server_counters){
        .requests = atomic_load(&server->requests),
        .denied = atomic_load(&server->denied),
        .malformed = atomic_load(&server->malformed),
        .bytes_in = atomic_load(&server->bytes_in),
        .bytes_out = atomic_load(&server->bytes_out),
    };
}
