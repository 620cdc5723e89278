/* internal: what the files of common/wire share about the process's context. Private to common/wire.
 *
 * Threads: all fields are fixed after ab_wire_open.
 */
#ifndef ANABRANCH_COMMON_WIRE_INTERNAL_H
#define ANABRANCH_COMMON_WIRE_INTERNAL_H

#include "common/wire/wire.h"
#include "common/wire/zap.h"

/* What CURVE and the framing add to a message before libzmq compares it with its maximum. */
#define AB_WIRE_OVERHEAD_BYTES 256
#define AB_WIRE_QUEUE_MESSAGES 256

struct ab_wire {
    void *context; /* ZeroMQ's; owned */
    struct ab_zap *zap;
    struct ab_wire_keys keys;
    uint8_t cluster_id[16];
    char node[64];
    uint64_t incarnation;
};

/* The limits both kinds of socket take. */
struct ab_socket_limits {
    size_t message_bytes_max;
    int queue_messages;
    int linger_ms;
};

/* Sets limits, heartbeats and time-outs on a socket; false with errno set. */
bool ab_socket_set_limits(void *socket, const struct ab_socket_limits *limits);
/* Makes a socket a CURVE server in the enforced ZAP domain; false with errno set. */
bool ab_socket_set_server(void *socket, const struct ab_wire_keys *keys);
/* Makes a socket a CURVE client that expects the given server; false with errno set. */
bool ab_socket_set_client(void *socket, const struct ab_wire_keys *keys, const uint8_t server_key[AB_WIRE_KEY_BYTES]);

/* A new key pair. */
void ab_wire_keys_make(struct ab_wire_keys *keys);

/* What a socket's monitor has seen of handshakes. A connection that breaks during its handshake may be a server that
 * ended just then, or one with another key, which breaks it every time: so only several in a row are a refusal. */
struct ab_handshakes {
    unsigned succeeded; /* how many */
    unsigned refused;   /* by the key or by the protocol */
    unsigned broken;    /* in a row, without a reason given */
    unsigned cuts;      /* connections that went */
    bool is_refused;    /* since the last success */
};

/* Starts to watch the handshakes of a client socket that has not connected yet: a PAIR socket to poll, NULL with errno
 * set. */
void *ab_handshake_monitor_open(void *context, void *socket);
/* Takes the events that wait, without blocking. */
void ab_handshake_monitor_drain(void *monitor, struct ab_handshakes *handshakes);
/* Stops watching; before the watched socket closes. */
void ab_handshake_monitor_close(void *monitor, void *socket);

/* Tries to connect with a key; AB_OK: let in, AB_DENIED: refused, AB_TIMEOUT: neither within timeout_ms. */
AB_MUST_USE ab_err ab_wire_probe(struct ab_wire *wire, const char *address, const uint8_t server_key[AB_WIRE_KEY_BYTES],
    const struct ab_wire_keys *keys, int timeout_ms);

/* Requires that a server refuses a key; AB_DENIED with advice when it lets it in, AB_UNAVAILABLE when it does not
 * answer. */
AB_MUST_USE ab_err ab_wire_require_refusal(struct ab_wire *wire, const char *address,
    const uint8_t server_key[AB_WIRE_KEY_BYTES], const struct ab_wire_keys *keys, struct ab_error *error);

#endif
