#include "common/wire/client.h"

#include "common/base/assert.h"
#include "common/base/random.h"
#include "common/base/time.h"

#include <zmq.h>

#include <errno.h>

#define LINGER_MS 500

struct ab_channel {
    struct ab_client client;
    uint64_t request_id_next;
    char *address; /* owned */
};

static void channel_free(struct ab_channel *channel)
{
    ab_client_close(&channel->client);
    ab_delete(channel->address);
    ab_delete(channel);
}

ab_err ab_channel_open(
    struct ab_wire *wire, const struct ab_channel_options *options, struct ab_channel **channel, struct ab_error *error)
{
    struct ab_channel *made = ab_new(struct ab_channel);
    const struct ab_client_options client_options = {.address = options->address,
        .server_key = options->server_key,
        .message_bytes_max = options->message_bytes_max,
        .receive_messages = options->queue_messages,
        .send_messages = options->queue_messages,
        .linger_ms = LINGER_MS};
    made->address = ab_new_text(options->address);
    made->request_id_next = ab_random_id();
    ab_err err = ab_client_open(wire, &client_options, &made->client, error);
    if (err != AB_OK) {
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
    ab_client_watch(&channel->client);
    return channel->client.handshakes.refused > 0;
}

unsigned ab_channel_cuts(struct ab_channel *channel)
{
    ab_client_watch(&channel->client);
    return channel->client.handshakes.cuts;
}

ab_err ab_channel_send(struct ab_channel *channel, struct ab_envelope *envelope, struct ab_bytes payload)
{
    struct ab_buffer header = {0};
    static const uint8_t nothing[1] = {0};
    if (payload.bytes > channel->client.message_bytes_max) {
        return AB_TOO_LARGE; /* libzmq would send it, and the receiver drop the connection */
    }
    ab_client_watch(&channel->client);
    if (envelope->request_id == 0) {
        channel->request_id_next += channel->request_id_next == 0;
        envelope->request_id = channel->request_id_next++;
    }
    ab_client_complete(&channel->client, envelope);
    ab_envelope_encode(envelope, &header);
    ab_err err = ab_buffer_finish(&header);
    if (err == AB_OK && (zmq_send(channel->client.socket, header.data, header.bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
                            zmq_send(channel->client.socket, payload.bytes == 0 ? nothing : payload.data, payload.bytes,
                                ZMQ_DONTWAIT) < 0)) {
        err = zmq_errno() == EAGAIN ? AB_AGAIN : AB_NETWORK;
    }
    ab_buffer_fini(&header);
    return err;
}

/* The next answer that waits on one of the channels. AB_AGAIN. */
static ab_err answer_take(
    struct ab_channel *const *channels, size_t count, bool stop_when_refused, size_t *which, struct ab_answer *answer)
{
    for (size_t i = 0; i < count; i++) {
        struct ab_client *client = &channels[i]->client;
        ab_err err = ab_client_take(client, answer);
        if (err != AB_AGAIN) {
            *which = i;
            return err;
        }
        ab_client_watch(client);
        if (stop_when_refused && client->handshakes.is_refused) {
            return AB_DENIED;
        }
    }
    return AB_AGAIN;
}

/* Waits for an answer on any of the channels until a monotonic time. AB_TIMEOUT; AB_DENIED when `stop_when_refused` and
 * a handshake was. */
static ab_err answer_wait(struct ab_channel *const *channels, size_t count, int64_t until_us, bool stop_when_refused,
    size_t *which, struct ab_answer *answer)
{
    zmq_pollitem_t items[2 * AB_CHANNELS_MAX];
    for (size_t i = 0; i < count; i++) {
        items[2 * i] = (zmq_pollitem_t){.socket = channels[i]->client.socket, .events = ZMQ_POLLIN};
        items[2 * i + 1] = (zmq_pollitem_t){.socket = channels[i]->client.monitor, .events = ZMQ_POLLIN};
    }
    for (;;) {
        ab_err err = answer_take(channels, count, stop_when_refused, which, answer);
        if (err != AB_AGAIN) {
            return err;
        }
        int64_t left_us = until_us - ab_time_monotonic_us();
        if (left_us <= 0) {
            return AB_TIMEOUT;
        }
        long left_ms = (long)((left_us + AB_US_PER_MS - 1) / AB_US_PER_MS);
        if (zmq_poll(items, (int)(2 * count), left_ms) < 0 && zmq_errno() != EINTR) {
            return AB_NETWORK;
        }
    }
}

ab_err ab_channel_receive(struct ab_channel *channel, int timeout_ms, struct ab_answer *answer)
{
    size_t which = 0;
    return ab_channel_receive_any(&channel, 1, timeout_ms, &which, answer);
}

ab_err ab_channel_receive_any(
    struct ab_channel *const *channels, size_t count, int timeout_ms, size_t *which, struct ab_answer *answer)
{
    AB_ASSERT(count >= 1 && count <= AB_CHANNELS_MAX);
    return answer_wait(channels, count, ab_time_monotonic_us() + timeout_ms * AB_US_PER_MS, false, which, answer);
}

/* Waits for the answer to one request; answers to others are discarded. */
static ab_err answer_await(struct ab_channel *channel, uint64_t request_id, int64_t until_us, struct ab_answer *answer)
{
    size_t which = 0;
    for (;;) {
        AB_TRY(answer_wait(&channel, 1, until_us, true, &which, answer));
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
