#include "common/wire/zap.h"

#include "common/base/logging.h"
#include "common/base/memory.h"
#include "common/base/thread.h"

#include <zmq.h>

#include <errno.h>
#include <stdlib.h>

#define ZAP_ADDRESS "inproc://zeromq.zap.01"
#define ZAP_VERSION "1.0"
#define USER_ID_BYTES (2 * AB_WIRE_KEY_BYTES)
#define FIELD_BYTES_MAX 256
#define REQUEST_FRAMES 7

/* The frames of a ZAP request, in order. */
enum { FRAME_VERSION, FRAME_REQUEST_ID, FRAME_DOMAIN, FRAME_ADDRESS, FRAME_IDENTITY, FRAME_MECHANISM, FRAME_KEY };

struct ab_zap {
    struct ab_lock lock;
    struct ab_wire_peer *peers; /* owned, sorted by key; guarded by lock */
    size_t peers_count;         /* guarded by lock */
    struct ab_lock start_lock;
    void *socket; /* owner: the thread once it runs */
    struct ab_thread thread;
};

struct field {
    uint8_t data[FIELD_BYTES_MAX];
    size_t bytes; /* FIELD_BYTES_MAX + 1 = it was longer */
};

struct ab_zap *ab_zap_create(void)
{
    struct ab_zap *zap = ab_new(struct ab_zap);
    ab_lock_init(&zap->lock);
    ab_lock_init(&zap->start_lock);
    return zap;
}

void ab_zap_destroy(struct ab_zap *zap)
{
    if (zap == NULL) {
        return;
    }
    ab_lock_fini(&zap->lock);
    ab_lock_fini(&zap->start_lock);
    ab_delete(zap->peers);
    ab_delete(zap);
}

static int peer_compare(const void *a, const void *b)
{
    return memcmp(
        ((const struct ab_wire_peer *)a)->public_key, ((const struct ab_wire_peer *)b)->public_key, AB_WIRE_KEY_BYTES);
}

void ab_zap_allow(struct ab_zap *zap, const struct ab_wire_peer *peers, size_t peers_count)
{
    struct ab_wire_peer *sorted = ab_new_array(struct ab_wire_peer, peers_count + 1);
    if (peers_count > 0) {
        memcpy(sorted, peers, peers_count * sizeof *peers);
        qsort(sorted, peers_count, sizeof *sorted, peer_compare);
    }
    ab_lock_take(&zap->lock);
    struct ab_wire_peer *before = zap->peers;
    zap->peers = sorted;
    zap->peers_count = peers_count;
    ab_lock_give(&zap->lock);
    ab_delete(before);
}

static bool key_find(struct ab_zap *zap, const uint8_t key[AB_WIRE_KEY_BYTES], struct ab_wire_peer *peer)
{
    struct ab_wire_peer wanted = {0};
    memcpy(wanted.public_key, key, AB_WIRE_KEY_BYTES);
    ab_lock_take(&zap->lock);
    const struct ab_wire_peer *found =
        zap->peers_count == 0 ? NULL : bsearch(&wanted, zap->peers, zap->peers_count, sizeof wanted, peer_compare);
    if (found != NULL) {
        *peer = *found;
    }
    ab_lock_give(&zap->lock);
    return found != NULL;
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool ab_zap_find(struct ab_zap *zap, const char *user_id, struct ab_wire_peer *peer)
{
    uint8_t key[AB_WIRE_KEY_BYTES];
    if (user_id == NULL || strlen(user_id) != USER_ID_BYTES) {
        return false;
    }
    for (size_t i = 0; i < AB_WIRE_KEY_BYTES; i++) {
        int high = hex_digit(user_id[2 * i]);
        int low = hex_digit(user_id[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        key[i] = (uint8_t)(high << 4 | low);
    }
    return key_find(zap, key, peer);
}

static void user_id_format(const uint8_t key[AB_WIRE_KEY_BYTES], char text[USER_ID_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < AB_WIRE_KEY_BYTES; i++) {
        text[2 * i] = digits[key[i] >> 4];
        text[2 * i + 1] = digits[key[i] & 15];
    }
    text[USER_ID_BYTES] = 0;
}

/* Receives one whole request; frames past the expected ones are thrown away. False when the context ends. */
static bool request_receive(void *socket, struct field fields[REQUEST_FRAMES], size_t *count)
{
    size_t received = 0;
    int more = 1;
    while (more) {
        uint8_t spare[FIELD_BYTES_MAX];
        size_t more_bytes = sizeof more;
        uint8_t *at = received < REQUEST_FRAMES ? fields[received].data : spare;
        int bytes;
        do {
            bytes = zmq_recv(socket, at, FIELD_BYTES_MAX, 0);
        } while (bytes < 0 && errno == EINTR);
        if (bytes < 0 || zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &more_bytes) != 0) {
            return false;
        }
        if (received < REQUEST_FRAMES) {
            fields[received].bytes = (size_t)bytes <= FIELD_BYTES_MAX ? (size_t)bytes : FIELD_BYTES_MAX + 1;
        }
        received++;
    }
    *count = received;
    return true;
}

static bool field_is(const struct field *field, const char *text)
{
    return field->bytes == strlen(text) && memcmp(field->data, text, field->bytes) == 0;
}

static bool request_is_allowed(
    struct ab_zap *zap, const struct field fields[REQUEST_FRAMES], size_t count, char user_id[USER_ID_BYTES + 1])
{
    struct ab_wire_peer peer;
    if (count != REQUEST_FRAMES || !field_is(&fields[FRAME_VERSION], ZAP_VERSION) ||
        !field_is(&fields[FRAME_DOMAIN], AB_ZAP_DOMAIN) || !field_is(&fields[FRAME_MECHANISM], "CURVE") ||
        fields[FRAME_KEY].bytes != AB_WIRE_KEY_BYTES || !key_find(zap, fields[FRAME_KEY].data, &peer)) {
        return false;
    }
    user_id_format(fields[FRAME_KEY].data, user_id);
    return true;
}

static bool reply_send(void *socket, const struct field *request_id, bool is_allowed, const char *user_id)
{
    const char *status = is_allowed ? "200" : "400";
    const char *text = is_allowed ? "OK" : "key is not on the list";
    return zmq_send(socket, ZAP_VERSION, strlen(ZAP_VERSION), ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, request_id->data, request_id->bytes, ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, status, strlen(status), ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, text, strlen(text), ZMQ_SNDMORE) >= 0 &&
           zmq_send(socket, user_id, strlen(user_id), ZMQ_SNDMORE) >= 0 && zmq_send(socket, "", 0, 0) >= 0;
}

static void zap_run(void *context)
{
    struct ab_zap *zap = context;
    struct field fields[REQUEST_FRAMES] = {0};
    size_t count = 0;
    while (request_receive(zap->socket, fields, &count)) {
        char user_id[USER_ID_BYTES + 1] = "";
        bool is_allowed = request_is_allowed(zap, fields, count, user_id);
        if (!is_allowed) {
            size_t bytes = count > FRAME_ADDRESS ? fields[FRAME_ADDRESS].bytes : 0;
            ab_warn("connection refused: key is not on the list", "from %.*s",
                (int)(bytes <= FIELD_BYTES_MAX ? bytes : FIELD_BYTES_MAX), (const char *)fields[FRAME_ADDRESS].data);
        }
        if (fields[FRAME_REQUEST_ID].bytes > FIELD_BYTES_MAX) {
            fields[FRAME_REQUEST_ID].bytes = FIELD_BYTES_MAX;
        }
        if (!reply_send(zap->socket, &fields[FRAME_REQUEST_ID], is_allowed, user_id)) {
            break;
        }
    }
    zmq_close(zap->socket);
}

ab_err ab_zap_start(struct ab_zap *zap, void *zmq_context, struct ab_error *error)
{
    const int linger = 0;
    ab_lock_take(&zap->start_lock);
    if (zap->socket != NULL) {
        ab_lock_give(&zap->start_lock);
        return AB_OK;
    }
    void *socket = zmq_socket(zmq_context, ZMQ_REP);
    if (socket == NULL || zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_bind(socket, ZAP_ADDRESS) != 0) {
        int code = zmq_errno();
        if (socket != NULL) {
            zmq_close(socket);
        }
        ab_lock_give(&zap->start_lock);
        return ab_error_set(error, code == EADDRINUSE ? AB_BUSY : AB_NETWORK, "ZAP handler: %s", zmq_strerror(code));
    }
    zap->socket = socket;
    ab_thread_start(&zap->thread, "wire-zap", zap_run, zap);
    ab_lock_give(&zap->start_lock);
    return AB_OK;
}

void ab_zap_join(struct ab_zap *zap)
{
    ab_thread_join(&zap->thread);
}
