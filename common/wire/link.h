/* link: an asynchronous client to one server, for traffic between nodes: a worker hands a message over and never waits.
 *
 * A link promises nothing: a message may be lost, doubled or late, and so may its answer. It is for protocols that ask
 * again by themselves, as replication does. What it does promise is that nothing is kept for long: while the server is
 * away, or reads slower than it is sent to, messages wait in a bounded queue, and one that waited AB_LINK_WAIT_MS is
 * dropped, for by then its sender has asked again. What was handed to the network goes with its connection; a
 * connection whose heartbeats stay out is given up after 15 s. Reconnects by itself, within a second.
 *
 * Threads: a link runs one thread of its own, which calls `on_answer`. ab_link_send and ab_link_count from any thread.
 * Memory: queue_bytes, and AB_LINK_NETWORK_MESSAGES messages that libzmq has; answers are the callee's.
 */
#ifndef ANABRANCH_COMMON_WIRE_LINK_H
#define ANABRANCH_COMMON_WIRE_LINK_H

#include "common/wire/wire.h"

/* How long a message may wait for a connection with room. */
#define AB_LINK_WAIT_MS 1500
/* Messages that are with libzmq, to be encrypted and sent: few, as they can be late by as much as the network is. */
#define AB_LINK_NETWORK_MESSAGES 16

struct ab_link; /* one per peer */

/* Called on the link's thread with an answer, which the callee takes: it ends in one ab_answer_free of a copy of
 * *answer, on any thread. Its request id is that of the message. Must not block; may send; must not close the link. */
typedef void (*ab_link_on_answer_fn)(struct ab_answer *answer, void *context);

struct ab_link_options {
    const char *address;
    uint8_t server_key[AB_WIRE_KEY_BYTES];
    size_t message_bytes_max; /* of messages and of answers; 0 = AB_WIRE_MESSAGE_BYTES_MAX */
    int queue_messages;       /* of each direction; 0 = 256 */
    size_t queue_bytes;       /* 0 = 4 x message_bytes_max; a single message may always wait alone */
    ab_link_on_answer_fn on_answer;
    void *context;
};

/* Connects, asynchronously, and starts the thread. AB_USAGE for what is no address. */
AB_MUST_USE ab_err ab_link_open(
    struct ab_wire *wire, const struct ab_link_options *options, struct ab_link **link, struct ab_error *error);

/* Stops the thread and drops what waits, at once. After it no on_answer runs. Nobody may be sending any more. NULL is
 * legal. */
void ab_link_close(struct ab_link *link);

/* Hands a message over. Of the envelope, who sends is filled in; the request id is the caller's own.
 * payload: on AB_OK it is taken, without a copy, and left empty; its budget must outlive the wire. Else it is
 * untouched. AB_FULL: too much waits (drop it, the protocol asks again), or the payload had failed; AB_TOO_LARGE.
 * Blocks: never. From callbacks: yes. */
AB_MUST_USE ab_err ab_link_send(struct ab_link *link, const struct ab_envelope *envelope, struct ab_buffer *payload);

/* Counters since the link was opened. */
struct ab_link_counters {
    uint64_t sent;      /* handed to the network */
    uint64_t dropped;   /* taken, but not sent: waited too long, or their connection went */
    uint64_t full;      /* not taken: too much waited */
    uint64_t received;  /* answers */
    uint64_t malformed; /* answers passed over */
    uint64_t refused;   /* handshakes refused: by the server, or because it is not the one its key says */
};
void ab_link_count(const struct ab_link *link, struct ab_link_counters *counters);

#endif
