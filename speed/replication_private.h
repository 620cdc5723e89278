/* replication_private: what the files of a replica share: replication.c (epochs, roles, dispatch),
 * replication_follower.c, replication_leader.c, replication_isr.c. */
#ifndef ANABRANCH_SPEED_REPLICATION_PRIVATE_H
#define ANABRANCH_SPEED_REPLICATION_PRIVATE_H

#include "speed/replication.h"
#include "speed/replication_mutants.h"

/* What a leader knows of a follower; forgotten at every change of epoch or incarnation. */
struct follower {
    uint32_t node; /* 0 = free */
    struct ab_hash128 incarnation;
    struct ab_hash128 disk_id;
    bool is_heard;         /* it has fetched in this epoch, and its history agreed */
    uint64_t durable;      /* synced there, of this history */
    uint64_t end_at_fetch; /* our end when it fetched last */
    int64_t fetched_us;    /* when that was */
    int64_t caught_up_us;  /* it had everything that there was then */
    int64_t join_after_us; /* no proposal to add it before: the last one was refused */
    bool has_parked;       /* a fetch that waits for something to bring */
    uint64_t parked_request;
    uint64_t parked_offset;
    uint64_t parked_mark; /* the high watermark that it knows */
    uint32_t parked_bytes_max;
    int64_t parked_until_us;
};

/* A compare-and-set whose end is not known: until it is, its members count (R4). */
struct proposal {
    bool is_open;
    bool is_sent;     /* its end may still be told; else only a newer version ends it */
    uint64_t version; /* expected */
    struct ab_replica_set state;
    uint32_t joining; /* the member that it adds; AB_NODE_NONE */
};

struct ab_replica {
    struct ab_replica_options options; /* constant, but for damaged_until */
    enum ab_replica_role role;
    uint64_t epoch;        /* persisted; nothing older is listened to */
    uint64_t epoch_wanted; /* being persisted; 0 = none */
    bool has_state;
    struct ab_replica_set state; /* the newest committed one that was read */
    uint64_t state_version;
    enum ab_replica_session session;
    int64_t heard_us; /* when what the service answered last was asked */
    int64_t timeout_us;
    bool is_out; /* the session is gone: this incarnation neither leads nor is counted any more */
    uint64_t high_watermark;
    uint64_t committed_told;

    /* follower */
    uint64_t request; /* the last one sent */
    bool is_waiting;  /* for its answer */
    int64_t waiting_until_us;
    bool is_copying; /* records are being appended at copy_offset */
    uint64_t copy_offset;
    uint64_t install_start; /* the log when the installation was begun: its start, its end and what it ends with */
    uint64_t install_end;
    struct ab_hash128 install_chain;
    uint64_t leader_mark; /* the leader's high watermark as last told in this epoch */
    uint64_t reported;    /* synced offset as last told */
    int64_t report_at_us; /* when to tell it again */

    /* leader */
    uint64_t epoch_start; /* offset of the epoch-start record; UINT64_MAX until it is written */
    int64_t leader_since_us;
    struct follower followers[AB_REPLICAS_MAX];
    struct proposal proposals[AB_REPLICA_PROPOSALS_MAX];
    int64_t propose_after_us;

    struct ab_replica_member gone[AB_REPLICAS_MAX]; /* the last incarnation of each node that is known to be gone */
    int64_t read_after_us;                          /* when to ask for the state again while it is behind */
    uint64_t fenced_count, shrinks_count, expands_count;
    char failure[AB_REPLICA_REASON_BYTES];
};

/* One step's surroundings. */
struct step {
    struct ab_replica *replica;
    const struct ab_replica_event *event;
    const struct ab_replica_log *log;
    struct ab_replica_actions *actions;
};

/* ---- replication.c ---- */

/* Adds an action and gives it to be filled. */
struct ab_replica_action *replica_act(struct step *step, enum ab_replica_action_kind kind);

/* A message of this replica to `node`, with everything that R8 asks for. */
struct ab_replica_message replica_message(const struct step *step, enum ab_replica_message_kind kind, uint32_t node);

/* Changes the role and says so. */
void replica_enter(struct step *step, enum ab_replica_role role);

/* Stops for good. */
void replica_fail(struct step *step, const char *format, ...) AB_PRINTF(2, 3);

/* Raises what is known to be committed, and says so once. */
void replica_commit(struct step *step, uint64_t offset);

/* A newer epoch was seen: nothing older counts from here on. */
void replica_raise_epoch(struct step *step, uint64_t epoch);

/* Asks for the partition's state, synced. */
void replica_read_state(struct step *step);

/* Largest epoch <= `epoch` in the log and where it ends; 0 and the start when there is none. */
void replica_epoch_end(const struct ab_replica_log *log, uint64_t epoch, uint64_t *found, uint64_t *end_offset);

/* The log's last epoch; 0 when it holds nothing. */
uint64_t replica_last_epoch(const struct ab_replica_log *log);

static inline bool replica_is_leader(const struct ab_replica *replica)
{
    return replica->role == AB_REPLICA_STARTING || replica->role == AB_REPLICA_LEADING;
}

/* ---- replication_follower.c ---- */

void follower_begin(struct step *step);
void follower_tick(struct step *step);
void follower_on_log(struct step *step);
void follower_on_copy_refused(struct step *step);
void follower_on_answer(struct step *step, const struct ab_replica_message *message);

/* ---- replication_leader.c ---- */

void leader_begin(struct step *step);
void leader_tick(struct step *step);
void leader_on_log(struct step *step);
void leader_on_request(struct step *step, const struct ab_replica_message *message);
/* Recomputes the high watermark (R3) and answers the fetches that wait for it. */
void leader_advance(struct step *step);

/* ---- replication_isr.c ---- */

/* Proposes what should change in the in-sync set, if anything and if it may. */
void isr_tend(struct step *step);
/* A newer state was read: ends the proposals that it decides. */
void isr_on_state(struct step *step);
void isr_on_proposal_ended(struct step *step);
/* The follower's entry of a node, NULL when there is none. */
struct follower *leader_follower(struct ab_replica *replica, uint32_t node);

#endif
