#include "common/wire/link.h"

#include "common/wire/client.h"
#include "common/wire/wake.h"

#include "common/base/assert.h"
#include "common/base/logging.h"
#include "common/base/queue.h"
#include "common/base/thread.h"
#include "common/base/time.h"

#include <zmq.h>

#define QUEUE_MESSAGES_LARGEST 4
#define MESSAGES_PER_TURN 64
#define ANSWERS_PER_TURN 64
#define WAIT_US (AB_LINK_WAIT_MS * AB_US_PER_MS)
#define REFUSED_LOG_US (60 * AB_US_PER_SECOND)

/* A message on its way: of the sender, the queue, the link's thread, libzmq, one after the other. */
struct message {
    struct ab_buffer payload;   /* owned */
    int64_t since_us;           /* when it was handed over */
    atomic_bool is_handed_over; /* to libzmq, whose thread frees it: what was written before is seen there */
    size_t header_bytes;
    uint8_t header[]; /* the envelope, encoded */
};

struct ab_link {
    struct ab_client client; /* owner: thread while it runs */
    struct ab_wake wake;
    struct ab_queue *queue;  /* of struct message */
    struct message *waiting; /* owner: thread; the next one to be sent, when no connection had room for it */
    ab_link_on_answer_fn on_answer;
    void *context; /* the callback's */
    char *address; /* owned */
    int64_t refused_log_us;
    struct ab_thread thread;
    atomic_bool is_stopping;
    atomic_uint_fast64_t sent, dropped, full, received, refused;
};

/* ---- messages ---- */

static struct message *message_create(const struct ab_link *link, const struct ab_envelope *envelope)
{
    struct ab_envelope complete = *envelope;
    struct ab_buffer header = {0};
    ab_client_complete(&link->client, &complete);
    ab_envelope_encode(&complete, &header);
    struct message *message = ab_new_bytes(sizeof *message + header.bytes);
    message->since_us = ab_time_monotonic_us();
    message->header_bytes = header.bytes;
    if (header.bytes > 0) {
        memcpy(message->header, header.data, header.bytes);
    }
    ab_buffer_fini(&header);
    return message;
}

static void message_destroy(struct message *message)
{
    ab_buffer_fini(&message->payload);
    ab_delete(message);
}

/* Called by libzmq, on any of its threads, once it does not need the payload any more. */
static void message_release(void *data, void *hint)
{
    struct message *message = hint;
    (void)data;
    AB_ASSERT(atomic_load(&message->is_handed_over));
    message_destroy(message);
}

ab_err ab_link_send(struct ab_link *link, const struct ab_envelope *envelope, struct ab_buffer *payload)
{
    AB_TRY(ab_buffer_finish(payload));
    if (payload->bytes > link->client.message_bytes_max) {
        return AB_TOO_LARGE; /* libzmq would send it, and the receiver drop the connection */
    }
    struct message *message = message_create(link, envelope);
    message->payload = *payload;
    ab_err err = ab_queue_try_put(link->queue, message, message->header_bytes + payload->bytes);
    if (err != AB_OK) {
        ab_delete(message);
        atomic_fetch_add(&link->full, 1);
        return err;
    }
    ab_buffer_init(payload, payload->memory, payload->bytes_max);
    ab_wake_ring(&link->wake);
    return AB_OK;
}

/* ---- the thread ---- */

/* Gives a message to libzmq. AB_AGAIN when no connection has room: it is still ours; else it is not. */
static ab_err message_hand_over(struct ab_link *link, struct message *message)
{
    zmq_msg_t frame;
    if (zmq_send(link->client.socket, message->header, message->header_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        return AB_AGAIN;
    }
    struct ab_bytes payload = ab_buffer_view(&message->payload);
    atomic_store(&message->is_handed_over, true);
    AB_ASSERT(zmq_msg_init_data(&frame, (void *)(uintptr_t)payload.data, payload.bytes, message_release, message) == 0);
    if (zmq_msg_send(&frame, link->client.socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&frame);
        return AB_NETWORK; /* the connection went between the frames, and took the first one with it */
    }
    return AB_OK;
}

/* Sends what waits, as far as there is room; true when there may be more. */
static bool messages_send(struct ab_link *link)
{
    for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
        void *item = link->waiting;
        if (item == NULL && ab_queue_take(link->queue, &item, 1, 0) == 0) {
            return false;
        }
        link->waiting = item;
        if (ab_time_monotonic_us() - link->waiting->since_us >= WAIT_US) {
            message_destroy(link->waiting);
            link->waiting = NULL;
            atomic_fetch_add(&link->dropped, 1);
            continue;
        }
        ab_err err = message_hand_over(link, link->waiting);
        if (err == AB_AGAIN) {
            return false;
        }
        link->waiting = NULL;
        atomic_fetch_add(err == AB_OK ? &link->sent : &link->dropped, 1);
    }
    return true;
}

static void answers_take(struct ab_link *link)
{
    struct ab_answer answer;
    for (unsigned i = 0; i < ANSWERS_PER_TURN && ab_client_take(&link->client, &answer) == AB_OK; i++) {
        atomic_fetch_add(&link->received, 1);
        link->on_answer(&answer, link->context);
    }
}

static void handshakes_watch(struct ab_link *link)
{
    unsigned before = link->client.handshakes.refused;
    ab_client_watch(&link->client);
    unsigned refused = link->client.handshakes.refused;
    if (refused == before) {
        return;
    }
    int64_t now_us = ab_time_monotonic_us();
    atomic_fetch_add(&link->refused, refused - before);
    if (now_us >= link->refused_log_us) {
        link->refused_log_us = now_us + REFUSED_LOG_US;
        ab_warn("link refused", "%s refuses this key, or is not the server its key says; %u times so far",
            link->address, refused);
    }
}

/* Sleeps until there is something to do; false when the context has ended. */
static bool link_sleep(struct ab_link *link, bool has_more)
{
    short room = link->waiting == NULL ? 0 : ZMQ_POLLOUT;
    zmq_pollitem_t items[3] = {{.socket = link->client.socket, .events = (short)(ZMQ_POLLIN | room)},
        {.socket = link->client.monitor, .events = ZMQ_POLLIN}, {.fd = link->wake.fd, .events = ZMQ_POLLIN}};
    long timeout_ms = -1;
    if (has_more) {
        timeout_ms = 0;
    } else if (link->waiting != NULL) {
        int64_t left_us = link->waiting->since_us + WAIT_US - ab_time_monotonic_us();
        timeout_ms = left_us <= 0 ? 0 : (long)(left_us / AB_US_PER_MS + 1);
    }
    if (zmq_poll(items, 3, timeout_ms) < 0) {
        return zmq_errno() == EINTR;
    }
    if ((items[2].revents & ZMQ_POLLIN) != 0) {
        ab_wake_clear(&link->wake);
    }
    if ((items[1].revents & ZMQ_POLLIN) != 0) {
        handshakes_watch(link);
    }
    return true;
}

static void network_run(void *context)
{
    struct ab_link *link = context;
    bool is_running = true;
    while (is_running && !atomic_load(&link->is_stopping)) {
        bool has_more = messages_send(link);
        answers_take(link);
        is_running = link_sleep(link, has_more);
    }
}

/* ---- open and close ---- */

static void link_free(struct ab_link *link)
{
    void *item = NULL;
    ab_client_close(&link->client);
    ab_wake_fini(&link->wake);
    if (link->waiting != NULL) {
        message_destroy(link->waiting);
    }
    while (link->queue != NULL && ab_queue_take(link->queue, &item, 1, 0) == 1) {
        message_destroy(item);
    }
    ab_queue_destroy(link->queue);
    ab_delete(link->address);
    ab_delete(link);
}

ab_err ab_link_open(
    struct ab_wire *wire, const struct ab_link_options *options, struct ab_link **link, struct ab_error *error)
{
    struct ab_link *made = ab_new(struct ab_link);
    const struct ab_client_options client_options = {.address = options->address,
        .server_key = options->server_key,
        .message_bytes_max = options->message_bytes_max,
        .receive_messages = options->queue_messages,
        .send_messages = AB_LINK_NETWORK_MESSAGES,
        .needs_connection = true};
    made->on_answer = options->on_answer;
    made->context = options->context;
    made->address = ab_new_text(options->address);
    ab_err err = ab_wake_init(&made->wake, error);
    err = err != AB_OK ? err : ab_client_open(wire, &client_options, &made->client, error);
    if (err != AB_OK) {
        link_free(made);
        return err;
    }
    int queue_messages = options->queue_messages > 0 ? options->queue_messages : AB_WIRE_QUEUE_MESSAGES;
    size_t queue_bytes =
        options->queue_bytes > 0 ? options->queue_bytes : made->client.message_bytes_max * QUEUE_MESSAGES_LARGEST;
    made->queue = ab_queue_create((size_t)queue_messages, queue_bytes);
    ab_thread_start(&made->thread, "wire-link", network_run, made);
    *link = made;
    return AB_OK;
}

void ab_link_close(struct ab_link *link)
{
    if (link == NULL) {
        return;
    }
    atomic_store(&link->is_stopping, true);
    ab_wake_ring(&link->wake);
    ab_thread_join(&link->thread);
    link_free(link);
}

void ab_link_count(const struct ab_link *link, struct ab_link_counters *counters)
{
    *counters = (struct ab_link_counters){
        .sent = atomic_load(&link->sent),
        .dropped = atomic_load(&link->dropped),
        .full = atomic_load(&link->full),
        .received = atomic_load(&link->received),
        .malformed = atomic_load(&link->client.malformed),
        .refused = atomic_load(&link->refused),
    };
}
