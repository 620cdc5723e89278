/* client_private: what the files of the client share; nobody outside this folder includes it. */
#ifndef ANABRANCH_COMMON_CLIENT_CLIENT_PRIVATE_H
#define ANABRANCH_COMMON_CLIENT_CLIENT_PRIVATE_H

#include "common/client/anabranch.h"
#include "common/client/hedge.h"

#include "common/base/json.h"
#include "common/catalog/catalog.h"
#include "common/wire/wire.h"

#define CLIENT_TIMEOUT_MS_DEFAULT 30000
#define CLIENT_SERVINGS_MAX 64u /* known at a time; of larger clusters the first ones */

/* Where a daemon answers. */
struct client_endpoint {
    char address[256];
    uint8_t key[AB_WIRE_KEY_BYTES];
};

/* A serving node. */
struct client_serving {
    struct client_endpoint endpoint;
    struct ab_channel *channel; /* owned; NULL = not opened */
    bool is_fixed;              /* given by who opened the client: never forgotten */
    bool is_told;               /* in the newest answer about the cluster */
};

struct anabranch_client {
    char *data_directory; /* owned; NULL when addresses were given; else the first serving is its node's */
    struct client_serving servings[CLIENT_SERVINGS_MAX];
    size_t servings_count;
    size_t serving_current;
    struct client_latencies latencies; /* of queries */
    uint64_t news_id;                  /* of a question who serves, by the way; 0 = none */
    int64_t news_us;                   /* when it was asked */
    struct ab_answer news;             /* owned: its answer, until the next query begins */
    struct client_endpoint *leaders;   /* owned; by partition, where blocks go; address "" = nobody knows */
    uint64_t *seen;                    /* owned; by partition: answers have to include all before this offset */
    bool is_single;                    /* a cluster of one node */
    struct ab_wire_keys keys;
    uint8_t cluster_id[16]; /* zeros until known */
    int timeout_ms;
    struct ab_wire *wire;       /* owned */
    struct ab_catalog *catalog; /* owned reference */
    uint32_t partitions_count;  /* 0 until known; never changes afterwards */
    bool is_open;               /* anabranch_open succeeded */
    struct ab_error error;      /* of the last failed call */
};

/* Maps an internal error to what a program can do about it. */
enum anabranch_result client_result_of(ab_err err);

/* Fetches the catalog and where nodes answer again (daemons may have moved), waiting at most wait_ms; a serving node
 * that does not answer is replaced by the next. AB_MISMATCH when another cluster answers. */
AB_MUST_USE ab_err client_refresh(struct anabranch_client *client, int wait_ms);

/* Takes in an answer to VERB_CATALOG. AB_INVALID, AB_MISMATCH. */
AB_MUST_USE ab_err client_catalog_take_in(
    struct anabranch_client *client, struct ab_bytes payload, bool *is_new_cluster);

/* True when the cluster's directory says that its serving answers elsewhere now than was known. */
bool client_serving_has_moved(const struct anabranch_client *client);

/* Opens a channel to an endpoint (queue_messages 0 = the default) and closes the one it replaces. AB_UNAVAILABLE when
 * the endpoint is not known. On failure *channel stays. */
AB_MUST_USE ab_err client_channel_to(struct anabranch_client *client, const struct client_endpoint *endpoint,
    int queue_messages, struct ab_channel **channel);

/* Asks, again until until_us where that can help, of two nodes when one is slow (query.c). On AB_OK the answer is the
 * caller's; else the client's error says what was refused. */
AB_MUST_USE ab_err client_query_call(
    struct anabranch_client *client, struct ab_bytes payload, int64_t until_us, struct ab_answer *answer);

/* ---- what is known of nodes (servings.c) ---- */

/* True when both are the same daemon's. */
bool client_endpoint_equal(const struct client_endpoint *a, const struct client_endpoint *b);

/* Makes a serving node known, unless it is or too many are. */
void client_serving_add(struct anabranch_client *client, const struct client_endpoint *endpoint, bool is_fixed);

/* It answers there now. */
void client_serving_move(struct anabranch_client *client, size_t at, const struct client_endpoint *endpoint);

/* The one that is asked first; and the index of who is asked when it is slow or gone: the next that is known to serve,
 * else the next; the same if there is no other. */
struct client_serving *client_serving_current(struct anabranch_client *client);
size_t client_serving_other(const struct anabranch_client *client);

/* The channel to one, opened when it was not; borrowed. Errors of client_channel_to. */
AB_MUST_USE ab_err client_serving_channel(struct anabranch_client *client, size_t at, struct ab_channel **channel);

/* Closes the channels to all. */
void client_servings_close(struct anabranch_client *client);

/* Takes in where partitions are led and who serves; AB_INVALID, and nothing changed but perhaps the error. */
AB_MUST_USE ab_err client_nodes_take_in(
    struct anabranch_client *client, const struct ab_json *reply, uint32_t partitions_count);

/* An acknowledgement or answer has shown all of a partition before this offset. */
void client_saw(struct anabranch_client *client, uint64_t partition, uint64_t offset);

/* ---- sending: blocks on their way to the leaders of their partitions (sender.c) ---- */

struct client_sender;

/* A block given to the sender. Sequences are given per partition by the sender. */
struct client_outgoing {
    uint32_t partition;
    uint32_t rows_count;
    uint64_t *positions;      /* of each row, for reports; owned by the sender afterwards (ab_new_array) */
    struct ab_buffer encoded; /* owned by the sender afterwards; sequence already inside */
    uint64_t sequence;
};

struct client_sender_options {
    size_t memory_bytes; /* of blocks without an outcome */
    int deadline_ms;     /* for a block, from when it may go first */
};

/* Makes a sender with channels of its own to those who lead. Client and counts are borrowed. AB_UNAVAILABLE when it is
 * not known where the only node answers. */
AB_MUST_USE ab_err client_sender_create(struct anabranch_client *client, const struct client_sender_options *options,
    struct anabranch_counts *counts, struct client_sender **sender);

/* Frees; blocks without an outcome are forgotten. NULL is legal. */
void client_sender_destroy(struct client_sender *sender);

/* The sequence the next block of a partition has to carry. */
uint64_t client_sender_next_sequence(const struct client_sender *sender, uint32_t partition);

/* Takes a block; it is sent as soon as the window of its partition allows. */
void client_sender_take(struct client_sender *sender, struct client_outgoing *outgoing);

/* Bytes of blocks that wait for acknowledgement. */
size_t client_sender_pending_bytes(const struct client_sender *sender);

/* True while the memory bound or more waits for acknowledgement. */
bool client_sender_is_full(const struct client_sender *sender);

/* The sender's channel to who leads a partition, for a call before the first block; borrowed; NULL = nobody does. */
struct ab_channel *client_sender_channel(const struct client_sender *sender, uint32_t partition);

/* What went unanswered may mean that a server moved, or leads no more: asks serving who leads where now, not too often,
 * and goes there. */
void client_sender_refresh(struct client_sender *sender);

/* Blocks without an outcome yet. */
size_t client_sender_pending(const struct client_sender *sender);

/* Sends and resends what is due and takes in answers, waiting at most wait_ms for the first. */
void client_sender_step(struct client_sender *sender, int wait_ms);

/* Who hears of rejected rows. */
void client_sender_on_rejected(struct client_sender *sender, anabranch_on_rejected_fn on_rejected, void *context);

/* Keeps the first error: of rows that never became a block, too. */
void client_sender_note_error(struct client_sender *sender, ab_err code, const char *text);

/* The first error that made a block end otherwise than done, or AB_OK. */
AB_MUST_USE ab_err client_sender_error(const struct client_sender *sender, struct ab_error *error);

#endif
