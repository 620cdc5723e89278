/* request: a request with the frames it holds, and the part of a server that replies need. Private to common/wire.
 *
 * A request keeps its received frames, so a payload is never copied on its way in. It also keeps a counted reference on
 * its server, so that it may outlive the server's close.
 */
#ifndef ANABRANCH_COMMON_WIRE_REQUEST_H
#define ANABRANCH_COMMON_WIRE_REQUEST_H

#include "common/wire/internal.h"
#include "common/wire/wake.h"

#include "common/base/queue.h"
#include "common/base/thread.h"

#include <zmq.h>

#include <stdatomic.h>

struct ab_server {
    struct ab_wire *wire; /* borrowed; not used after close */
    ab_server_on_request_fn on_request;
    void *context; /* the callback's */
    size_t message_bytes_max;
    uint8_t cluster_id[16];
    char node[64];
    uint64_t incarnation;
    char address[256];
    void *socket;             /* owner: network thread while it runs */
    struct ab_wake wake;      /* rung when replies wait, or to stop */
    struct ab_queue *replies; /* of struct request */
    struct ab_thread thread;
    atomic_bool is_stopping;
    atomic_uint references; /* one of the opener, one of each request */
    atomic_uint_fast64_t requests, denied, malformed, bytes_in, bytes_out;
};

struct request {
    struct ab_request open;                /* first: what the receiver sees */
    struct ab_server *server;              /* counted */
    zmq_msg_t routing_id, header, payload; /* initialised always; the answer's once it is made */
};

/* Takes the server's reference and the frames (which become empty). Never NULL. */
struct request *ab_request_create(
    struct ab_server *server, zmq_msg_t *routing_id, zmq_msg_t *header, zmq_msg_t *payload);

/* Sends the answer of a request and frees it. Network thread only. A peer that is gone or does not read loses it. */
void ab_request_send(struct request *request);

/* Drops a reference; the last one frees. */
void ab_server_release(struct ab_server *server);

#endif
