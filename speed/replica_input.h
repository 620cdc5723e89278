/* replica_input: what a replica hears from outside its worker, on its way through the worker's queue. */
#ifndef ANABRANCH_SPEED_REPLICA_INPUT_H
#define ANABRANCH_SPEED_REPLICA_INPUT_H

#include "speed/replication.h"
#include "common/wire/wire.h"

#define AB_REPLICA_INPUT_ALL UINT32_MAX /* as a partition: for every replica of the worker */

enum ab_replica_input_kind {
    AB_REPLICA_INPUT_STATE,
    AB_REPLICA_INPUT_EXCLUDED, /* a state in which this node is neither replica nor learner was in force after it was
                                  told: `epoch` is its leader epoch */
    AB_REPLICA_INPUT_SESSION,
    AB_REPLICA_INPUT_GONE,
    AB_REPLICA_INPUT_PROPOSAL,
    AB_REPLICA_INPUT_ANSWER,
};

/* Fields by kind as in struct ab_replica_event. Allocated with ab_new. */
struct ab_replica_input {
    enum ab_replica_input_kind kind;
    uint32_t partition;
    struct ab_replica_set state; /* STATE */
    uint64_t version;            /* STATE, PROPOSAL */
    uint64_t epoch;              /* STATE, EXCLUDED */
    bool is_synced;              /* STATE */
    enum ab_replica_session session;
    int64_t since_us;
    int64_t timeout_us;
    uint32_t node; /* GONE, as the next one */
    struct ab_hash128 incarnation;
    struct ab_hash128 token; /* PROPOSAL, as the next one */
    enum ab_replica_outcome outcome;
    struct ab_answer answer;           /* ANSWER; owned */
    struct ab_replica_message message; /* ANSWER; borrows from it */
};

/* Frees it and its answer; NULL is legal. */
void ab_replica_input_destroy(struct ab_replica_input *input);

#endif
