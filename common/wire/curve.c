/* Socket options: CURVE on every socket, limits, and what a socket's monitor tells of handshakes. */
#include "common/wire/internal.h"

#include "common/base/assert.h"
#include "common/base/random.h"
#include "common/base/time.h"

#include <zmq.h>

#include <stdio.h>

/* zmq.h shows this one to draft builds only, but every libzmq since 4.3.0 takes it. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

#define HANDSHAKE_MS 3000
#define HEARTBEAT_MS 5000
#define HEARTBEAT_TIMEOUT_MS 15000
#define RECONNECT_MS 50
#define RECONNECT_MS_MAX 1000
#define CONNECT_TIMEOUT_MS 3000
#define BACKLOG 1024
#define PROBE_MS 5000
#define BROKEN_IN_A_ROW 4

static bool option_set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

bool ab_socket_set_limits(void *socket, const struct ab_socket_limits *limits)
{
    int64_t bytes_max = (int64_t)limits->message_bytes_max + AB_WIRE_OVERHEAD_BYTES;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0 &&
           option_set(socket, ZMQ_SNDHWM, limits->queue_messages) &&
           option_set(socket, ZMQ_RCVHWM, limits->queue_messages) &&
           option_set(socket, ZMQ_LINGER, limits->linger_ms) && option_set(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
           option_set(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) &&
           option_set(socket, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS) &&
           option_set(socket, ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS) &&
           option_set(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS) &&
           option_set(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MS_MAX) &&
           option_set(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS) && option_set(socket, ZMQ_BACKLOG, BACKLOG);
}

bool ab_socket_set_server(void *socket, const struct ab_wire_keys *keys)
{
    return option_set(socket, ZMQ_CURVE_SERVER, 1) &&
           zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, AB_WIRE_KEY_BYTES) == 0 &&
           zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, AB_ZAP_DOMAIN, strlen(AB_ZAP_DOMAIN)) == 0 &&
           option_set(socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1);
}

bool ab_socket_set_client(void *socket, const struct ab_wire_keys *keys, const uint8_t server_key[AB_WIRE_KEY_BYTES])
{
    return zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_key, AB_WIRE_KEY_BYTES) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, keys->public_key, AB_WIRE_KEY_BYTES) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, AB_WIRE_KEY_BYTES) == 0;
}

void ab_wire_keys_make(struct ab_wire_keys *keys)
{
    char public_text[41];
    char secret_text[41];
    AB_ASSERT(zmq_curve_keypair(public_text, secret_text) == 0);
    AB_ASSERT(zmq_z85_decode(keys->public_key, public_text) != NULL);
    AB_ASSERT(zmq_z85_decode(keys->secret_key, secret_text) != NULL);
    explicit_bzero(secret_text, sizeof secret_text);
}

/* ---- handshakes ---- */

void *ab_handshake_monitor_open(void *context, void *socket)
{
    char address[64];
    snprintf(address, sizeof address, "inproc://handshakes-%016llx", (unsigned long long)ab_random_id());
    const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(socket, address, events) != 0) {
        return NULL;
    }
    /* Unlimited: libzmq's I/O thread would block on a full monitor. Two events per reconnect, and every call drains. */
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    if (monitor == NULL || !option_set(monitor, ZMQ_RCVHWM, 0) || !option_set(monitor, ZMQ_LINGER, 0) ||
        zmq_connect(monitor, address) != 0) {
        ab_handshake_monitor_close(monitor, socket);
        return NULL;
    }
    return monitor;
}

static void handshake_count(struct ab_handshakes *handshakes, uint16_t event)
{
    if (event == ZMQ_EVENT_DISCONNECTED) {
        handshakes->cuts++;
        return;
    }
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        handshakes->succeeded++;
        handshakes->broken = 0;
        handshakes->is_refused = false;
        return;
    }
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL && ++handshakes->broken < BROKEN_IN_A_ROW) {
        return;
    }
    handshakes->refused++;
    handshakes->is_refused = true;
}

void ab_handshake_monitor_drain(void *monitor, struct ab_handshakes *handshakes)
{
    for (;;) {
        uint8_t header[6];
        uint8_t address[256];
        if (zmq_recv(monitor, header, sizeof header, ZMQ_DONTWAIT) != (int)sizeof header) {
            return;
        }
        if (zmq_recv(monitor, address, sizeof address, ZMQ_DONTWAIT) < 0) {
            return;
        }
        uint16_t event;
        memcpy(&event, header, sizeof event); /* in this machine's byte order */
        handshake_count(handshakes, event);
    }
}

void ab_handshake_monitor_close(void *monitor, void *socket)
{
    zmq_socket_monitor(socket, NULL, 0);
    if (monitor != NULL) {
        zmq_close(monitor);
    }
}

/* ---- the self test's probe ---- */

static ab_err probe_wait(void *monitor, int timeout_ms)
{
    int64_t until_us = ab_time_monotonic_us() + timeout_ms * AB_US_PER_MS;
    struct ab_handshakes handshakes = {0};
    for (;;) {
        zmq_pollitem_t item = {.socket = monitor, .events = ZMQ_POLLIN};
        int64_t left_us = until_us - ab_time_monotonic_us();
        if (left_us <= 0) {
            return AB_TIMEOUT;
        }
        if (zmq_poll(&item, 1, (long)(left_us / AB_US_PER_MS + 1)) < 0 && zmq_errno() != EINTR) {
            return AB_NETWORK;
        }
        ab_handshake_monitor_drain(monitor, &handshakes);
        if (handshakes.succeeded > 0) {
            return AB_OK;
        }
        if (handshakes.refused > 0) {
            return AB_DENIED;
        }
    }
}

ab_err ab_wire_probe(struct ab_wire *wire, const char *address, const uint8_t server_key[AB_WIRE_KEY_BYTES],
    const struct ab_wire_keys *keys, int timeout_ms)
{
    const struct ab_socket_limits limits = {.message_bytes_max = 4096, .queue_messages = 1, .linger_ms = 0};
    void *socket = zmq_socket(wire->context, ZMQ_DEALER);
    if (socket == NULL) {
        return AB_NETWORK;
    }
    ab_err err = AB_NETWORK;
    void *monitor = ab_handshake_monitor_open(wire->context, socket);
    if (monitor != NULL && ab_socket_set_limits(socket, &limits) && ab_socket_set_client(socket, keys, server_key) &&
        zmq_connect(socket, address) == 0) {
        err = probe_wait(monitor, timeout_ms);
    }
    if (monitor != NULL) {
        ab_handshake_monitor_close(monitor, socket);
    }
    zmq_close(socket);
    return err;
}

ab_err ab_wire_require_refusal(struct ab_wire *wire, const char *address, const uint8_t server_key[AB_WIRE_KEY_BYTES],
    const struct ab_wire_keys *keys, struct ab_error *error)
{
    ab_err err = ab_wire_probe(wire, address, server_key, keys, PROBE_MS);
    switch (err) {
    case AB_DENIED:
        return AB_OK;
    case AB_OK:
        return ab_error_set(error, AB_DENIED,
            "%s lets in a key that is not on the list: the ZAP domain is not enforced; do not expose this address, "
            "and check that libzmq is 4.3.3 or newer, built with CURVE",
            address);
    default:
        return ab_error_set(error, AB_UNAVAILABLE, "%s did not answer the self test within %d ms", address, PROBE_MS);
    }
}
