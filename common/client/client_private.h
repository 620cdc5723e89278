/* client_private: what the files of the client share; nobody outside this folder includes it. */
#ifndef ANABRANCH_COMMON_CLIENT_CLIENT_PRIVATE_H
#define ANABRANCH_COMMON_CLIENT_CLIENT_PRIVATE_H

#include "common/client/anabranch.h"

#include "common/catalog/catalog.h"
#include "common/wire/wire.h"

#define CLIENT_TIMEOUT_MS_DEFAULT 30000

/* Where a daemon answers. */
struct client_endpoint {
    char address[256];
    uint8_t key[AB_WIRE_KEY_BYTES];
};

struct anabranch_client {
    char *data_directory; /* owned; NULL when an address was given */
    struct client_endpoint serving;
    struct client_endpoint speed;
    struct ab_wire_keys keys;
    uint8_t cluster_id[16]; /* zeros until known */
    int timeout_ms;
    struct ab_wire *wire;               /* owned */
    struct ab_channel *serving_channel; /* owned */
    struct ab_catalog *catalog;         /* owned reference */
    uint32_t partitions_count;          /* 0 until known; never changes afterwards */
    bool is_open;                       /* anabranch_open succeeded */
    struct ab_error error;              /* of the last failed call */
};

/* Maps an internal error to what a program can do about it. */
enum anabranch_result client_result_of(ab_err err);

/* Fetches the catalog and the speed node's endpoint again (daemons may have moved), waiting at most wait_ms; reopens
 * the channel to serving if it moved. AB_MISMATCH when another cluster answers. */
AB_MUST_USE ab_err client_refresh(struct anabranch_client *client, int wait_ms);

/* True when the cluster's directory says that serving answers elsewhere now than its channel leads. */
bool client_serving_has_moved(const struct anabranch_client *client);

/* Opens a channel to an endpoint (queue_messages 0 = the default) and closes the one it replaces. AB_UNAVAILABLE when
 * the endpoint is not known. On failure *channel stays. */
AB_MUST_USE ab_err client_channel_to(struct anabranch_client *client, const struct client_endpoint *endpoint,
    int queue_messages, struct ab_channel **channel);

/* ---- sending: blocks on their way to one speed node (sender.c) ---- */

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

/* Makes a sender with a channel of its own to speed. Client and counts are borrowed. */
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

/* The sender's channel to speed, for a call before the first block; borrowed. */
struct ab_channel *client_sender_channel(const struct client_sender *sender);

/* What went unanswered may mean that the server moved: asks serving where speed is now, not too often, and goes there.
 */
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
