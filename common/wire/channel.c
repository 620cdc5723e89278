#include "common/wire/internal.h"

#include "common/base/random.h"
#include "common/base/time.h"

#include <zmq.h>

#include <errno.h>

#define LINGER_MS 500

struct ab_channel {
    struct ab_wire *wire; /* borrowed */
    void *socket;
    void *monitor;
    struct ab_handshakes handshakes;
    size_t message_bytes_max;
    uint64_t request_id_next;
    uint64_t malformed_count;
    char *address; /* owned */
};

static void channel_free(struct ab_channel *channel)
{
    if (channel->monitor != NULL) {
        ab_handshake_monitor_close(channel->monitor, channel->socket);
    }
    if (channel->socket != NULL) {
        zmq_close(channel->socket);
    }
    ab_delete(channel->address);
    ab_delete(channel);
}

ab_err ab_channel_open(
    struct ab_wire *wire, const struct ab_channel_options *options, struct ab_channel **channel, struct ab_error *error)
{
    struct ab_channel *made = ab_new(struct ab_channel);
    made->wire = wire;
    made->address = ab_new_text(options->address);
    made->request_id_next = ab_random_id();
    made->message_bytes_max = options->message_bytes_max > 0 ? options->message_bytes_max : AB_WIRE_MESSAGE_BYTES_MAX;
    const struct ab_socket_limits limits = {.message_bytes_max = made->message_bytes_max,
        .queue_messages = options->queue_messages > 0 ? options->queue_messages : AB_WIRE_QUEUE_MESSAGES,
        .linger_ms = LINGER_MS};
    made->socket = zmq_socket(wire->context, ZMQ_DEALER);
    made->monitor = made->socket == NULL ? NULL : ab_handshake_monitor_open(wire->context, made->socket);
    if (made->monitor == NULL || !ab_socket_set_limits(made->socket, &limits) ||
        !ab_socket_set_client(made->socket, &wire->keys, options->server_key) ||
        zmq_connect(made->socket, options->address) != 0) {
        ab_err err = ab_error_set(error, zmq_errno() == EINVAL ? AB_USAGE : AB_NETWORK, "connect to %s: %s",
            options->address, zmq_strerror(zmq_errno()));
        channel_free(made);
        return err;
    }
    *channel = made;
    return AB_OK;
}

void ab_channel_close(struct ab_channel *channel)
{
    if (channel != NULL) {
        channel_free(channel);
    }
}

bool ab_channel_was_refused(struct ab_channel *channel)
{
    ab_handshake_monitor_drain(channel->monitor, &channel->handshakes);
    return channel->handshakes.refused > 0;
}

static void envelope_complete(struct ab_channel *channel, struct ab_envelope *envelope)
{
    const struct ab_wire *wire = channel->wire;
    if (envelope->request_id == 0) {
        channel->request_id_next += channel->request_id_next == 0;
        envelope->request_id = channel->request_id_next++;
    }
    envelope->protocol = AB_PROTOCOL_VERSION;
    memcpy(envelope->cluster_id, wire->cluster_id, sizeof envelope->cluster_id);
    memcpy(envelope->node, wire->node, sizeof envelope->node);
    envelope->incarnation = wire->incarnation;
}

ab_err ab_channel_send(struct ab_channel *channel, struct ab_envelope *envelope, struct ab_bytes payload)
{
    struct ab_buffer header = {0};
    static const uint8_t nothing[1] = {0};
    if (payload.bytes > channel->message_bytes_max) {
        return AB_TOO_LARGE; /* libzmq would send it, and the receiver drop the connection */
    }
    ab_handshake_monitor_drain(channel->monitor, &channel->handshakes);
    envelope_complete(channel, envelope);
    ab_envelope_encode(envelope, &header);
    ab_err err = ab_buffer_finish(&header);
    if (err == AB_OK &&
        (zmq_send(channel->socket, header.data, header.bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
            zmq_send(channel->socket, payload.bytes == 0 ? nothing : payload.data, payload.bytes, ZMQ_DONTWAIT) < 0)) {
        err = zmq_errno() == EAGAIN ? AB_AGAIN : AB_NETWORK;
    }
    ab_buffer_fini(&header);
    return err;
}

/* Receives one whole message if there is one, taking the frames; AB_AGAIN when none waits, AB_INVALID for other than
 * two. */
static ab_err frames_receive(struct ab_channel *channel, zmq_msg_t *header, zmq_msg_t *payload)
{
    zmq_msg_t spare;
    unsigned count = 0;
    bool more = true;
    zmq_msg_init(&spare);
    while (more) {
        zmq_msg_t *frame = count == 0 ? header : count == 1 ? payload : &spare;
        if (zmq_msg_recv(frame, channel->socket, ZMQ_DONTWAIT) < 0) {
            break;
        }
        count++;
        more = zmq_msg_more(frame) != 0;
    }
    zmq_msg_close(&spare);
    if (count == 0) {
        return zmq_errno() == EAGAIN || zmq_errno() == EINTR ? AB_AGAIN : AB_NETWORK;
    }
    return count == 2 && !more ? AB_OK : AB_INVALID;
}

/* The next answer that is waiting; malformed ones are passed over. AB_AGAIN. */
static ab_err answer_take(struct ab_channel *channel, struct ab_answer *answer)
{
    zmq_msg_t header;
    zmq_msg_t *payload = ab_new(zmq_msg_t);
    struct ab_answer taken = {0};
    zmq_msg_init(&header);
    zmq_msg_init(payload);
    ab_err err;
    while ((err = frames_receive(channel, &header, payload)) == AB_OK || err == AB_INVALID) {
        struct ab_bytes bytes = ab_bytes_of(zmq_msg_data(&header), zmq_msg_size(&header));
        if (err == AB_OK && ab_envelope_decode(bytes, &taken.envelope) == AB_OK) {
            break;
        }
        channel->malformed_count++;
    }
    zmq_msg_close(&header);
    if (err != AB_OK) {
        zmq_msg_close(payload);
        ab_delete(payload);
        return err;
    }
    taken.payload = ab_bytes_of(zmq_msg_data(payload), zmq_msg_size(payload));
    taken.storage = payload;
    *answer = taken;
    return AB_OK;
}

/* Waits for an answer until a monotonic time. AB_TIMEOUT; AB_DENIED when `stop_when_refused` and the handshake was. */
static ab_err answer_wait(
    struct ab_channel *channel, int64_t until_us, bool stop_when_refused, struct ab_answer *answer)
{
    for (;;) {
        ab_err err = answer_take(channel, answer);
        if (err != AB_AGAIN) {
            return err;
        }
        ab_handshake_monitor_drain(channel->monitor, &channel->handshakes);
        if (stop_when_refused && channel->handshakes.is_refused) {
            return AB_DENIED;
        }
        int64_t left_us = until_us - ab_time_monotonic_us();
        if (left_us <= 0) {
            return AB_TIMEOUT;
        }
        zmq_pollitem_t items[2] = {
            {.socket = channel->socket, .events = ZMQ_POLLIN}, {.socket = channel->monitor, .events = ZMQ_POLLIN}};
        if (zmq_poll(items, 2, (long)((left_us + AB_US_PER_MS - 1) / AB_US_PER_MS)) < 0 && zmq_errno() != EINTR) {
            return AB_NETWORK;
        }
    }
}

ab_err ab_channel_receive(struct ab_channel *channel, int timeout_ms, struct ab_answer *answer)
{
    return answer_wait(channel, ab_time_monotonic_us() + timeout_ms * AB_US_PER_MS, false, answer);
}

void ab_answer_free(struct ab_answer *answer)
{
    if (answer->storage != NULL) {
        zmq_msg_close(answer->storage);
        ab_delete(answer->storage);
    }
    memset(answer, 0, sizeof *answer);
}

/* Waits for the answer to one request; answers to others are discarded. */
static ab_err answer_await(struct ab_channel *channel, uint64_t request_id, int64_t until_us, struct ab_answer *answer)
{
    for (;;) {
        AB_TRY(answer_wait(channel, until_us, true, answer));
        if (answer->envelope.request_id == request_id) {
            return AB_OK;
        }
        ab_answer_free(answer);
    }
}

ab_err ab_channel_call(struct ab_channel *channel, enum ab_verb verb, struct ab_bytes payload, int timeout_ms,
    struct ab_answer *answer, struct ab_error *error)
{
    struct ab_envelope envelope = {.verb = verb, .deadline_ms = (uint32_t)timeout_ms};
    struct ab_answer received = {0};
    int64_t until_us = ab_time_monotonic_us() + timeout_ms * AB_US_PER_MS;
    ab_err err = ab_channel_send(channel, &envelope, payload);
    if (err != AB_OK) {
        return ab_error_set(error, err, "%s to %s: %s", ab_verb_name(verb), channel->address, ab_err_text(err));
    }
    err = answer_await(channel, envelope.request_id, until_us, &received);
    if (err == AB_DENIED) {
        return ab_error_set(error, err, "%s refuses this key, or is not the server its key says", channel->address);
    }
    if (err != AB_OK) {
        return ab_error_set(
            error, err, "%s to %s: no answer within %d ms", ab_verb_name(verb), channel->address, timeout_ms);
    }
    err = received.envelope.status;
    if (err != AB_OK) {
        const char *text = received.envelope.error[0] == 0 ? ab_err_text(err) : received.envelope.error;
        ab_error_set(error, err, "%s", text);
        ab_answer_free(&received);
        return err;
    }
    *answer = received;
    return AB_OK;
}
