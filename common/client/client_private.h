/* client_private: what the files of the client share; nobody outside this folder includes it. */
#ifndef ANABRANCH_COMMON_CLIENT_CLIENT_PRIVATE_H
#define ANABRANCH_COMMON_CLIENT_CLIENT_PRIVATE_H

#include "common/catalog/catalog.h"
#include "common/client/anabranch.h"
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
    uint8_t cluster_id[16];
    int timeout_ms;
    struct ab_wire *wire;               /* owned */
    struct ab_channel *serving_channel; /* owned */
    struct ab_channel *speed_channel;   /* owned; opened with the first producer */
    struct ab_catalog *catalog;         /* owned reference */
    uint32_t partitions_count;
    struct ab_error error; /* of the last failed call */
};

/* Maps an internal error to what a program can do about it. */
enum anabranch_result client_result_of(ab_err err);

/* Fetches the catalog and the speed node's endpoint again (daemons may have moved), reopening the channels that
 * changed. */
AB_MUST_USE ab_err client_refresh(struct anabranch_client *client);

/* Opens the channel to speed if it is not open. */
AB_MUST_USE ab_err client_speed_open(struct anabranch_client *client);

/* ---- sending: blocks on their way to one speed node (sender.c) ---- */

struct client_sender;

/* A block given to the sender. Sequences are given per partition by the sender. */
struct client_outgoing {
    uint32_t partition;
    uint32_t rows_count;
    uint64_t first_position;  /* of the first row, for reports */
    uint64_t *positions;      /* owned by the sender afterwards (ab_new_array); NULL = numbered from first_position */
    struct ab_buffer encoded; /* owned by the sender afterwards; sequence already inside */
    uint64_t sequence;
};

struct client_sender *client_sender_create(struct anabranch_client *client, size_t memory_bytes, int deadline_ms,
    uint64_t producer_id, struct anabranch_counts *counts);
void client_sender_destroy(struct client_sender *sender);

/* The sequence the next block of a partition has to carry. */
uint64_t client_sender_next_sequence(const struct client_sender *sender, uint32_t partition);

/* Takes a block; it is sent as soon as the window of its partition allows. */
void client_sender_take(struct client_sender *sender, struct client_outgoing *outgoing);

/* True while more than the memory bound waits for acknowledgement. */
bool client_sender_is_full(const struct client_sender *sender);

/* Blocks without an outcome yet. */
size_t client_sender_pending(const struct client_sender *sender);

/* Sends and resends what is due and takes in answers, waiting at most wait_ms for the first. */
void client_sender_step(struct client_sender *sender, int wait_ms);

/* Who hears of rejected rows. */
void client_sender_on_rejected(struct client_sender *sender, anabranch_on_rejected_fn on_rejected, void *context);

/* The first error that made a block end otherwise than done, or AB_OK. */
AB_MUST_USE ab_err client_sender_error(const struct client_sender *sender, struct ab_error *error);

#endif
