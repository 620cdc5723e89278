/* wire: messages between processes over ZeroMQ with CURVE: one context, servers and channels.
 *
 * A message is two frames: a protobuf envelope and a payload. Every socket has CURVE; every server socket has a ZAP
 * domain that is enforced, so a key that is not on the allow list never gets a byte in (I9). What a key may do is
 * decided per verb by its role (roles.h). ZeroMQ is treated as lossy, duplicating and reordering across reconnects:
 * requests carry ids and deadlines, and whoever waits gives up in time.
 *
 * Threads: struct ab_wire is shared; a server runs one network thread of its own that calls `on_request`; a reply may
 * be sent from any thread; a channel belongs to one thread at a time. Memory: at most peers x queue_messages x
 * message_bytes_max, stated in the options.
 */
#ifndef ANABRANCH_COMMON_WIRE_WIRE_H
#define ANABRANCH_COMMON_WIRE_WIRE_H

#include "common/wire/envelope.h"
#include "common/wire/roles.h"

#include "common/base/buffer.h"
#include "common/base/hash.h"

#define AB_WIRE_KEY_BYTES 32
#define AB_WIRE_MESSAGE_BYTES_MAX (16u << 20)
#define AB_CHANNELS_MAX 128u /* that one call waits for: several nodes' */

/* A Curve25519 key pair, raw bytes. */
struct ab_wire_keys {
    uint8_t public_key[AB_WIRE_KEY_BYTES];
    uint8_t secret_key[AB_WIRE_KEY_BYTES];
};

/* One entry of the allow list. */
struct ab_wire_peer {
    uint8_t public_key[AB_WIRE_KEY_BYTES];
    enum ab_role role;
    char name[64]; /* the principal, for logs */
};

struct ab_wire; /* one per process */

struct ab_wire_options {
    struct ab_wire_keys keys;         /* this process's own */
    const struct ab_wire_peer *peers; /* allow list for servers, copied; may be empty for pure clients */
    size_t peers_count;
    uint8_t cluster_id[16];
    char node[64];
    int io_threads; /* 0 = 1 */
};

/* Makes the context, and when peers are given the ZAP handler before any server can bind. */
AB_MUST_USE ab_err ab_wire_open(const struct ab_wire_options *options, struct ab_wire **wire, struct ab_error *error);

/* Ends the context; all servers and channels must be closed. NULL is legal. */
void ab_wire_close(struct ab_wire *wire);

/* Replaces the allow list at once; connections of keys that are gone get AB_DENIED from then on. */
void ab_wire_allow(struct ab_wire *wire, const struct ab_wire_peer *peers, size_t peers_count);

/* ---- server ---- */

struct ab_server;

/* A request that arrived: owned by whoever got it, ends in exactly one ab_request_reply or ab_request_drop. */
struct ab_request {
    struct ab_envelope envelope; /* decoded */
    struct ab_bytes payload;     /* borrowed from the request, valid until reply or drop */
    enum ab_role role;           /* of the authenticated key; the verb is already allowed for it */
    char principal[64];
    int64_t received_us; /* monotonic */
    int64_t deadline_us; /* monotonic; INT64_MAX = none */
    /* private parts follow in the implementation */
};

/* Called on the network thread; must not block. Takes the request. */
typedef void (*ab_server_on_request_fn)(struct ab_request *request, void *context);

struct ab_server_options {
    const char *address;      /* "tcp://127.0.0.1:*" or with a port, or ipc:// */
    size_t message_bytes_max; /* 0 = AB_WIRE_MESSAGE_BYTES_MAX */
    int queue_messages;       /* high-water marks, 0 = 256 */
    ab_server_on_request_fn on_request;
    void *context;
};

/* Binds and starts the network thread. AB_BUSY for a port in use, with the address in the text. */
AB_MUST_USE ab_err ab_server_open(
    struct ab_wire *wire, const struct ab_server_options *options, struct ab_server **server, struct ab_error *error);

/* Where it is bound, with the real port; borrowed. */
const char *ab_server_address(const struct ab_server *server);

/* Connects with a key that is not on the list and requires that the handshake is refused; AB_DENIED with advice when an
 * unknown key gets in (OPERATIONS 1.2). */
AB_MUST_USE ab_err ab_server_self_test(struct ab_server *server, struct ab_error *error);

/* Stops the network thread and closes the socket; requests still held must be dropped or replied before the wire closes
 * (their replies go nowhere). */
void ab_server_close(struct ab_server *server);

/* Counters since start: requests, rejected by role or format, bytes in and out. */
struct ab_server_counters {
    uint64_t requests, denied, malformed, bytes_in, bytes_out;
};
void ab_server_count(const struct ab_server *server, struct ab_server_counters *counters);

/* Answers with a status, a text for a person (may be NULL) and a payload (copied); frees the request. Any thread,
 * however late. The answer is lost when the connection it came on is gone, also if the same peer has another one since,
 * and when queue_messages answers wait already for that peer to read them. */
void ab_request_reply(struct ab_request *request, ab_err status, const char *error_text, struct ab_bytes payload);

/* The same with a payload in several pieces, which are put together: what is large is copied once. */
void ab_request_reply_pieces(struct ab_request *request, ab_err status, const char *error_text,
    const struct ab_bytes *pieces, size_t pieces_count);

/* Frees without an answer. */
void ab_request_drop(struct ab_request *request);

/* ---- channel: the client side ---- */

struct ab_channel;

struct ab_channel_options {
    const char *address;
    uint8_t server_key[AB_WIRE_KEY_BYTES];
    size_t message_bytes_max; /* 0 = AB_WIRE_MESSAGE_BYTES_MAX; larger messages are refused here with AB_TOO_LARGE */
    int queue_messages;       /* 0 = 256 */
};

/* A received answer; owned by the receiver. */
struct ab_answer {
    struct ab_envelope envelope; /* status and error text inside */
    struct ab_bytes payload;     /* borrowed from the answer until ab_answer_free */
    void *storage;               /* private */
};

/* Connects (asynchronously: an unreachable or refusing server shows as time-outs). */
AB_MUST_USE ab_err ab_channel_open(struct ab_wire *wire, const struct ab_channel_options *options,
    struct ab_channel **channel, struct ab_error *error);
void ab_channel_close(struct ab_channel *channel);

/* Sends a request and fills envelope->request_id with a new id if it is 0. AB_AGAIN when the queue is full,
 * AB_TOO_LARGE. */
AB_MUST_USE ab_err ab_channel_send(struct ab_channel *channel, struct ab_envelope *envelope, struct ab_bytes payload);

/* Waits up to timeout_ms (0 = poll) for the next answer. AB_TIMEOUT. Malformed answers are dropped and counted. */
AB_MUST_USE ab_err ab_channel_receive(struct ab_channel *channel, int timeout_ms, struct ab_answer *answer);

/* The same for the next answer on any of `count` channels (1..AB_CHANNELS_MAX), the first ones before later ones;
 * *which is the index of its channel. */
AB_MUST_USE ab_err ab_channel_receive_any(
    struct ab_channel *const *channels, size_t count, int timeout_ms, size_t *which, struct ab_answer *answer);

/* Frees an answer; zeroed memory is legal. */
void ab_answer_free(struct ab_answer *answer);

/* One request and its answer; answers to earlier requests are discarded. Returns the transport's error, or the answer's
 * status with its text in `error`; on AB_OK the answer is the caller's. */
AB_MUST_USE ab_err ab_channel_call(struct ab_channel *channel, enum ab_verb verb, struct ab_bytes payload,
    int timeout_ms, struct ab_answer *answer, struct ab_error *error);

/* True when the handshake with the server was refused (wrong key) since the channel was opened. */
bool ab_channel_was_refused(struct ab_channel *channel);

/* How many of its connections have gone since the channel was opened: what was sent and not answered before one went is
 * lost, or its answer is. A server that dies is noticed so at once, one whose machine does is not. */
unsigned ab_channel_cuts(struct ab_channel *channel);

#endif
