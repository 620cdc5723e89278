#include "common/wire/client.h"

#include <zmq.h>

#include <errno.h>

static int messages_or_default(int messages)
{
    return messages > 0 ? messages : AB_WIRE_QUEUE_MESSAGES;
}

static bool socket_set(struct ab_client *client, const struct ab_client_options *options)
{
    const int send_messages = messages_or_default(options->send_messages);
    const int needs_connection = options->needs_connection;
    const struct ab_socket_limits limits = {.message_bytes_max = client->message_bytes_max,
        .queue_messages = messages_or_default(options->receive_messages),
        .linger_ms = options->linger_ms};
    return ab_socket_set_limits(client->socket, &limits) &&
           zmq_setsockopt(client->socket, ZMQ_SNDHWM, &send_messages, sizeof send_messages) == 0 &&
           zmq_setsockopt(client->socket, ZMQ_IMMEDIATE, &needs_connection, sizeof needs_connection) == 0 &&
           ab_socket_set_client(client->socket, &client->wire->keys, options->server_key);
}

ab_err ab_client_open(
    struct ab_wire *wire, const struct ab_client_options *options, struct ab_client *client, struct ab_error *error)
{
    client->wire = wire;
    client->message_bytes_max = options->message_bytes_max > 0 ? options->message_bytes_max : AB_WIRE_MESSAGE_BYTES_MAX;
    client->socket = zmq_socket(wire->context, ZMQ_DEALER);
    client->monitor = client->socket == NULL ? NULL : ab_handshake_monitor_open(wire->context, client->socket);
    if (client->monitor == NULL || !socket_set(client, options) || zmq_connect(client->socket, options->address) != 0) {
        ab_err err = ab_error_set(error, zmq_errno() == EINVAL ? AB_USAGE : AB_NETWORK, "connect to %s: %s",
            options->address, zmq_strerror(zmq_errno()));
        ab_client_close(client);
        return err;
    }
    return AB_OK;
}

void ab_client_close(struct ab_client *client)
{
    if (client->monitor != NULL) {
        ab_handshake_monitor_close(client->monitor, client->socket);
        client->monitor = NULL;
    }
    if (client->socket != NULL) {
        zmq_close(client->socket);
        client->socket = NULL;
    }
}

void ab_client_complete(const struct ab_client *client, struct ab_envelope *envelope)
{
    const struct ab_wire *wire = client->wire;
    envelope->protocol = AB_PROTOCOL_VERSION;
    memcpy(envelope->cluster_id, wire->cluster_id, sizeof envelope->cluster_id);
    memcpy(envelope->node, wire->node, sizeof envelope->node);
    envelope->incarnation = wire->incarnation;
}

/* Receives one whole message if there is one, taking the frames; AB_AGAIN when none waits, AB_INVALID for other than
 * two. */
static ab_err frames_receive(struct ab_client *client, zmq_msg_t *header, zmq_msg_t *payload)
{
    zmq_msg_t spare;
    unsigned count = 0;
    bool more = true;
    zmq_msg_init(&spare);
    while (more) {
        zmq_msg_t *frame = count == 0 ? header : count == 1 ? payload : &spare;
        if (zmq_msg_recv(frame, client->socket, ZMQ_DONTWAIT) < 0) {
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

ab_err ab_client_take(struct ab_client *client, struct ab_answer *answer)
{
    zmq_msg_t header;
    zmq_msg_t payload;
    struct ab_answer taken = {0};
    zmq_msg_init(&header);
    zmq_msg_init(&payload);
    ab_err err;
    while ((err = frames_receive(client, &header, &payload)) == AB_OK || err == AB_INVALID) {
        struct ab_bytes bytes = ab_bytes_of(zmq_msg_data(&header), zmq_msg_size(&header));
        if (err == AB_OK && ab_envelope_decode(bytes, &taken.envelope) == AB_OK) {
            break;
        }
        atomic_fetch_add(&client->malformed, 1);
    }
    if (err == AB_OK) {
        zmq_msg_t *storage = ab_new(zmq_msg_t);
        zmq_msg_init(storage);
        zmq_msg_move(storage, &payload);
        taken.payload = ab_bytes_of(zmq_msg_data(storage), zmq_msg_size(storage));
        taken.storage = storage;
        *answer = taken;
    }
    zmq_msg_close(&header);
    zmq_msg_close(&payload);
    return err;
}

void ab_answer_free(struct ab_answer *answer)
{
    if (answer->storage != NULL) {
        zmq_msg_close(answer->storage);
        ab_delete(answer->storage);
    }
    memset(answer, 0, sizeof *answer);
}

void ab_client_watch(struct ab_client *client)
{
    ab_handshake_monitor_drain(client->monitor, &client->handshakes);
}
