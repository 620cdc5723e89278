/* replication: what one replica of one partition decides. A pure core: an event with its time goes in, actions come
 * out; no clock, socket, disk, thread or random number inside. speed's shell and the simulator act for it.
 *
 *                    epoch persisted, this process leads          own epoch-start record committed
 *   IDLE ───────────────────────────────────────▶ STARTING ──────────────────────────────▶ LEADING
 *    │ ▲                                              │                                        │
 *    │ └── newer epoch, session lost, taken off the list, from any state but FAILED ◀──────────┘
 *    │ epoch persisted, another one leads
 *    └──────▶ TRUNCATING ──── the log ends where the leader's history agrees ────▶ FOLLOWING
 *                 ▲  └──────── its end lies before the leader's log ──▶ INSTALLING     │
 *                 └──────────────────────── state installed ───────────────┘ ◀─────────┘
 *   FAILED: what was seen cannot be (a committed record would go, histories differ, coordination went back).
 *
 * The rules are those of Kafka's replication as Kip320.tla states them, with fsync before counting:
 *   R1 a newer leader epoch is persisted, then the log is truncated against that very leader, then records are fetched;
 *   R2 the truncation point is found by (epoch, end) walking back (KIP-101, KIP-279), never by the high watermark;
 *   R3 the high watermark is the least synced offset of the in-sync set, and moves only while the set has its minimum;
 *   R4 that set is maximal: the last committed one and every proposal whose end is not known (KIP-497);
 *   R5 a replica joins once it holds everything committed, and the leader has committed a record of its own epoch;
 *   R6 until then a leader serves nothing;
 *   R8 every message carries partition, epoch, sender and incarnation, and what does not match is dropped;
 *   R9 a proposal is one compare-and-set that also checks that each member's incarnation lives (KIP-903).
 *
 * Reads of the newest state are answered by a leader that asked the coordination service something within the last two
 * thirds of its session's timeout, by its own monotonic clock, and was answered: nobody can have been elected because
 * its session ended (H51). Who reads says what time it is: a process that stood still must not answer before its next
 * tick. A leader from which the leadership is moved while it lives stays a member, and the next one commits nothing
 * without it for lag_us_max: that is at least the session's timeout, and what the service says reaches a live session
 * within it. All this asks for clocks whose rates differ by less than a half; nothing that was acknowledged depends on
 * it.
 *
 * The shell's part: events are stepped one at a time; what an action asks for is done in the order of the actions;
 * `log` in an event always describes the log as it is now. A fetch is answered only while role and epoch are those of
 * the action. Records are appended by the shell alone: its own while `ab_replica_may_append`, copies when told. It
 * syncs by itself after appending, and aborts when that fails (H8).
 *
 * Invariants: I1, I3. Threads: one at a time. Memory: fixed, but for a copy of the partition's state.
 */
#ifndef ANABRANCH_SPEED_REPLICATION_H
#define ANABRANCH_SPEED_REPLICATION_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/hash.h"
#include "common/base/time.h"
#include "common/coordination/replica_set.h"
#include "common/log/log.h"
#include "common/wire/replica_message.h"

#define AB_REPLICA_ACTIONS_MAX 24u
#define AB_REPLICA_PROPOSALS_MAX 4u
#define AB_REPLICA_REASON_BYTES 160u

enum ab_replica_role {
    AB_REPLICA_IDLE,
    AB_REPLICA_TRUNCATING,
    AB_REPLICA_FOLLOWING,
    AB_REPLICA_INSTALLING,
    AB_REPLICA_STARTING,
    AB_REPLICA_LEADING,
    AB_REPLICA_FAILED,
};

/* The log as it is now; borrowed during a step. */
struct ab_replica_log {
    uint64_t start;                    /* first offset held */
    uint64_t end;                      /* next offset to be written, written records only */
    uint64_t durable;                  /* records below it are synced here */
    struct ab_hash128 chain;           /* of the record before end */
    const struct ab_log_epoch *epochs; /* rising; what the log holds */
    size_t epochs_count;
    uint64_t installed_until; /* what was installed is of records below it, which are committed; 0 = all are here */
};

/* ---- events ---- */

enum ab_replica_event_kind {
    AB_REPLICA_TICK,            /* time went on; at least every 100 ms */
    AB_REPLICA_STATE_READ,      /* the partition's state in the coordination service was read */
    AB_REPLICA_SESSION_CHANGED, /* of the session with the coordination service; also that it was heard of again */
    AB_REPLICA_NODE_GONE,       /* an incarnation's registration is gone, also one that was when its state was read: a
                                   hint, never relied upon */
    AB_REPLICA_LOG_CHANGED,     /* records were appended, synced, truncated, or a state installed */
    AB_REPLICA_COPY_REFUSED,    /* records to copy were not acceptable: damaged on the way */
    AB_REPLICA_EPOCH_PERSISTED,
    AB_REPLICA_PROPOSAL_ENDED,
    AB_REPLICA_MESSAGE,
};

enum ab_replica_session { AB_REPLICA_CONNECTED, AB_REPLICA_SUSPENDED, AB_REPLICA_EXPIRED };

/* How a proposal ended. */
enum ab_replica_outcome {
    AB_REPLICA_APPLIED,     /* `version` is the state's new one */
    AB_REPLICA_NOT_APPLIED, /* and never will be: a check or the version did not hold */
    AB_REPLICA_UNKNOWN,     /* read the state again */
};

/* What the leader's log has at a fetch's offset; the shell looks it up before the step. */
enum ab_replica_check { AB_REPLICA_UNCHECKED, AB_REPLICA_SAME, AB_REPLICA_OTHER };

struct ab_replica_event {
    enum ab_replica_event_kind kind;
    int64_t now_us;                           /* monotonic */
    const struct ab_replica_log *log;         /* as it is now */
    const struct ab_replica_set *state;       /* STATE_READ */
    uint64_t version;                         /* STATE_READ, PROPOSAL_ENDED */
    bool is_synced;                           /* STATE_READ: sees everything acknowledged before DO_READ_STATE */
    enum ab_replica_session session;          /* SESSION_CHANGED */
    int64_t since_us;                         /* SESSION_CHANGED: when what the service answered last was asked (not
                                                 when the answer came); told again with every answer */
    int64_t timeout_us;                       /* SESSION_CHANGED: the session's */
    uint64_t epoch;                           /* EPOCH_PERSISTED; STATE_READ: as in DO_READ_STATE, else 0 */
    struct ab_hash128 token;                  /* PROPOSAL_ENDED */
    enum ab_replica_outcome outcome;          /* PROPOSAL_ENDED */
    uint32_t node;                            /* NODE_GONE */
    struct ab_hash128 incarnation;            /* NODE_GONE */
    const struct ab_replica_message *message; /* MESSAGE */
    enum ab_replica_check check;              /* MESSAGE of kind FETCH: is the chain before `offset` ours? */
    struct ab_hash128 fresh_token;            /* any: a random number for a proposal, new with every event */
};

/* ---- actions ---- */

enum ab_replica_action_kind {
    AB_REPLICA_DO_PERSIST_EPOCH, /* write `epoch` durably, then EPOCH_PERSISTED */
    AB_REPLICA_DO_TRUNCATE,      /* remove records from `offset` on, durably, then LOG_CHANGED */
    AB_REPLICA_DO_COPY,          /* append message->records, then LOG_CHANGED, or COPY_REFUSED */
    AB_REPLICA_DO_START_EPOCH,   /* append an epoch-start record of `epoch`, then LOG_CHANGED */
    AB_REPLICA_DO_INSTALL,       /* begin the log anew where that of node `node` begins, not below `offset`, with its
                                    tables; it leads, or means to and cannot before we are in sync; then LOG_CHANGED */
    AB_REPLICA_DO_SEND,          /* send `message`; may be lost */
    AB_REPLICA_DO_ANSWER_FETCH,  /* send `message` with records from its offset on, at most bytes_max or one record */
    AB_REPLICA_DO_COMMIT,        /* records below `offset` are committed: apply, acknowledge */
    AB_REPLICA_DO_PROPOSE,       /* compare-and-set `state` at `version`, in one multi with a check that the incarnation
                                    of its member `node` lives (AB_NODE_NONE: none), then PROPOSAL_ENDED */
    AB_REPLICA_DO_READ_STATE,    /* read the partition's state again, synced, then STATE_READ with this `epoch` */
    AB_REPLICA_DO_CHANGE_ROLE,   /* `role` is taken: what was appended and not committed has an unknown outcome */
    AB_REPLICA_DO_FAIL,          /* stop this replica and keep what is there: `reason` */
};

struct ab_replica_action {
    enum ab_replica_action_kind kind;
    uint64_t epoch;
    uint64_t offset;
    uint32_t node;
    enum ab_replica_role role;
    struct ab_replica_message message; /* SEND, ANSWER_FETCH; COPY: records borrowed from the event */
    struct ab_replica_set state;       /* PROPOSE */
    uint64_t version;                  /* PROPOSE: expected */
    char reason[AB_REPLICA_REASON_BYTES];
};

/* Bounded: no step of the core asks for more. */
struct ab_replica_actions {
    struct ab_replica_action list[AB_REPLICA_ACTIONS_MAX];
    size_t count;
};

/* ---- the replica ---- */

struct ab_replica;

struct ab_replica_options {
    uint32_t partition;
    uint32_t node;
    struct ab_hash128 incarnation;
    struct ab_hash128 disk_id;
    uint64_t persisted_epoch; /* 0 = none yet */
    uint64_t committed;       /* known to be so when it was opened: what was applied and flushed */
    uint64_t damaged_until;   /* what it held once and lost: it does not lead before it is synced up to there again, or
                                 was in the in-sync set under this incarnation while another one led */
    int64_t fetch_wait_us;    /* how long a leader holds a fetch that has nothing to bring; 0 = 500 ms */
    int64_t answer_patience_us; /* a follower asks again after it; 0 = 1.5 s */
    int64_t lag_us_max;         /* a member that is not caught up for so long leaves the in-sync set; 0 = 6 s */
    uint32_t fetch_bytes_max;   /* 0 = 1 MiB */
};

struct ab_replica *ab_replica_create(const struct ab_replica_options *options);
void ab_replica_destroy(struct ab_replica *replica);

/* One event. `actions` is emptied first; what it borrows is valid until the next step. */
void ab_replica_step(
    struct ab_replica *replica, const struct ab_replica_event *event, struct ab_replica_actions *actions);

/* True while blocks and cuts may be appended: it leads, serves, and the committed in-sync set has its minimum. */
bool ab_replica_may_append(const struct ab_replica *replica);

/* True while the newest state may be read here: it leads, serves, and nobody else can do so now. */
bool ab_replica_may_serve(const struct ab_replica *replica, int64_t now_us);

/* What a replica says of itself. */
struct ab_replica_view {
    enum ab_replica_role role;
    uint64_t epoch; /* accepted: persisted, or 0 */
    uint64_t high_watermark;
    uint64_t state_version;
    const struct ab_replica_set *state; /* borrowed until the next step; NULL before the first one was read */
    uint64_t fenced_count;              /* messages dropped for epoch, sender or incarnation */
    uint64_t shrinks_count, expands_count;
    bool is_out;            /* the session is lost: this incarnation neither leads nor is counted any more */
    uint64_t damaged_until; /* not 0: the log lacks what it once held, up to there */
    int64_t lease_until_us; /* monotonic: nobody else can have been elected because our session ended before */
    const char *failure;    /* NULL unless FAILED */
};
void ab_replica_look(const struct ab_replica *replica, struct ab_replica_view *view);

/* A role's name for logs and status. */
const char *ab_replica_role_name(enum ab_replica_role role);

#endif
