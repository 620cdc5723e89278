#include "common/wire/request.h"

#include "common/base/time.h"

#define REPLY_WAIT_US (5 * AB_US_PER_SECOND)

struct request *ab_request_create(
    struct ab_server *server, zmq_msg_t *routing_id, zmq_msg_t *header, zmq_msg_t *payload)
{
    struct request *request = ab_new(struct request);
    request->server = server;
    atomic_fetch_add(&server->references, 1);
    zmq_msg_init(&request->routing_id);
    zmq_msg_init(&request->header);
    zmq_msg_init(&request->payload);
    zmq_msg_move(&request->routing_id, routing_id);
    zmq_msg_move(&request->header, header);
    zmq_msg_move(&request->payload, payload);
    request->open.payload = ab_bytes_of(zmq_msg_data(&request->payload), zmq_msg_size(&request->payload));
    return request;
}

static void request_free(struct request *request)
{
    zmq_msg_close(&request->routing_id);
    zmq_msg_close(&request->header);
    zmq_msg_close(&request->payload);
    ab_server_release(request->server);
    ab_delete(request);
}

void ab_request_drop(struct ab_request *request)
{
    request_free((struct request *)request);
}

void ab_server_release(struct ab_server *server)
{
    if (atomic_fetch_sub(&server->references, 1) != 1) {
        return;
    }
    ab_wake_fini(&server->wake);
    ab_queue_destroy(server->replies);
    ab_delete(server);
}

/* Cuts a text to what an envelope holds, never inside a character. */
static void error_text_set(struct ab_envelope *envelope, const char *text)
{
    size_t bytes = text == NULL ? 0 : strlen(text);
    if (bytes >= sizeof envelope->error) {
        bytes = sizeof envelope->error - 1;
        while (bytes > 0 && ((uint8_t)text[bytes] & 0xC0) == 0x80) {
            bytes--;
        }
    }
    if (!ab_bytes_is_utf8(ab_bytes_of(text, bytes))) {
        bytes = 0; /* a reader would refuse the whole answer; the status says enough */
    }
    if (bytes > 0) {
        memcpy(envelope->error, text, bytes);
    }
    envelope->error[bytes] = 0;
}

static size_t pieces_bytes(const struct ab_bytes *pieces, size_t pieces_count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < pieces_count; i++) {
        bytes += pieces[i].bytes;
    }
    return bytes;
}

static void message_replace(zmq_msg_t *message, const struct ab_bytes *pieces, size_t pieces_count)
{
    size_t bytes = pieces_bytes(pieces, pieces_count);
    zmq_msg_close(message);
    if (zmq_msg_init_size(message, bytes) != 0) {
        zmq_msg_init(message);
        return;
    }
    uint8_t *at = zmq_msg_data(message);
    for (size_t i = 0; i < pieces_count; i++) {
        if (pieces[i].bytes > 0) {
            memcpy(at, pieces[i].data, pieces[i].bytes);
            at += pieces[i].bytes;
        }
    }
}

/* Turns the request's envelope and frames into the answer's. Pieces may lie in the request's own payload. */
static void answer_make(
    struct request *request, ab_err status, const char *error_text, const struct ab_bytes *pieces, size_t pieces_count)
{
    struct ab_server *server = request->server;
    struct ab_envelope *envelope = &request->open.envelope;
    struct ab_buffer header = {0};
    zmq_msg_t answer;
    envelope->protocol = AB_PROTOCOL_VERSION;
    memcpy(envelope->cluster_id, server->cluster_id, sizeof envelope->cluster_id);
    memcpy(envelope->node, server->node, sizeof envelope->node);
    envelope->incarnation = server->incarnation;
    envelope->deadline_ms = 0;
    envelope->status = status;
    error_text_set(envelope, error_text);
    ab_envelope_encode(envelope, &header);
    struct ab_bytes encoded = ab_buffer_view(&header);
    message_replace(&request->header, &encoded, 1);
    ab_buffer_fini(&header);
    zmq_msg_init(&answer);
    message_replace(&answer, pieces, pieces_count);
    zmq_msg_move(&request->payload, &answer);
    zmq_msg_close(&answer);
}

void ab_request_reply(struct ab_request *open, ab_err status, const char *error_text, struct ab_bytes payload)
{
    ab_request_reply_pieces(open, status, error_text, &payload, 1);
}

void ab_request_reply_pieces(
    struct ab_request *open, ab_err status, const char *error_text, const struct ab_bytes *pieces, size_t pieces_count)
{
    struct request *request = (struct request *)open;
    struct ab_server *server = request->server;
    if (pieces_bytes(pieces, pieces_count) > server->message_bytes_max) {
        status = AB_TOO_LARGE;
        error_text = "the answer is larger than a message may be";
        pieces_count = 0;
    }
    answer_make(request, status, error_text, pieces, pieces_count);
    if (pthread_equal(server->thread.handle, pthread_self())) {
        ab_request_send(request);
        return;
    }
    /* The network thread always drains, so this wait is short; after it the answer counts as lost on the way. */
    atomic_fetch_add(&server->references, 1);
    ab_err err =
        ab_queue_put(server->replies, request, zmq_msg_size(&request->payload), ab_time_monotonic_us() + REPLY_WAIT_US);
    if (err == AB_OK) {
        ab_wake_ring(&server->wake);
    } else {
        request_free(request);
    }
    ab_server_release(server);
}

void ab_request_send(struct request *request)
{
    struct ab_server *server = request->server;
    size_t bytes = zmq_msg_size(&request->header) + zmq_msg_size(&request->payload);
    if (zmq_msg_send(&request->routing_id, server->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
        zmq_msg_send(&request->header, server->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
        zmq_msg_send(&request->payload, server->socket, ZMQ_DONTWAIT) >= 0) {
        atomic_fetch_add(&server->bytes_out, bytes);
    }
    request_free(request);
}
