/* client: a socket to one server, with a watch on its handshakes: what channels and links have in common.
 *
 * Private to common/wire. Threads: one at a time, but for the counter.
 */
#ifndef ANABRANCH_COMMON_WIRE_CLIENT_H
#define ANABRANCH_COMMON_WIRE_CLIENT_H

#include "common/wire/internal.h"

#include <stdatomic.h>

/* Zeroed memory is a valid one that is not open. */
struct ab_client {
    struct ab_wire *wire; /* borrowed */
    void *socket;         /* owned DEALER */
    void *monitor;        /* owned; to poll beside the socket */
    struct ab_handshakes handshakes;
    size_t message_bytes_max;
    atomic_uint_fast64_t malformed; /* atomic: answers passed over */
};

struct ab_client_options {
    const char *address;
    const uint8_t *server_key; /* AB_WIRE_KEY_BYTES */
    size_t message_bytes_max;  /* 0 = AB_WIRE_MESSAGE_BYTES_MAX */
    int receive_messages;      /* high-water marks, 0 = AB_WIRE_QUEUE_MESSAGES */
    int send_messages;
    int linger_ms;
    bool needs_connection; /* nothing is sent without one, and what waits to be sent goes with it */
};

/* Connects, asynchronously. AB_USAGE for what is no address. */
AB_MUST_USE ab_err ab_client_open(
    struct ab_wire *wire, const struct ab_client_options *options, struct ab_client *client, struct ab_error *error);
/* Idempotent. */
void ab_client_close(struct ab_client *client);

/* Fills in who sends: all but verb, request id, deadline and what belongs to the payload. */
void ab_client_complete(const struct ab_client *client, struct ab_envelope *envelope);

/* The next answer that is waiting; malformed ones are counted and passed over. AB_AGAIN. */
AB_MUST_USE ab_err ab_client_take(struct ab_client *client, struct ab_answer *answer);

/* Takes what was seen of handshakes. */
void ab_client_watch(struct ab_client *client);

#endif
