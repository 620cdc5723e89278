/* replica_message: what replicas of a partition say to each other, and its bytes: the payload of AB_VERB_REPLICATE and
 * of its answer. What the messages mean and do is speed's replication; here is only their form.
 *
 *   4 bytes, little-endian: length of the protobuf | ReplicaMessage (proto/replica.proto) | records, to the end
 *
 * Records are not part of the protobuf: several MiB of them go from the received frame to the log uncopied.
 *
 * Threads: values. Memory: encoding grows `out`; decoding takes none.
 */
#ifndef ANABRANCH_COMMON_WIRE_REPLICA_MESSAGE_H
#define ANABRANCH_COMMON_WIRE_REPLICA_MESSAGE_H

#include "common/base/buffer.h"
#include "common/base/hash.h"

/* The longest protobuf part that is read; what is written is below a third of it. */
#define AB_REPLICA_MESSAGE_HEAD_BYTES_MAX 512u

enum ab_replica_message_kind {
    AB_REPLICA_EPOCH_ASK = 1,    /* follower: where does your history of `epoch` end? */
    AB_REPLICA_EPOCH_ANSWER = 2, /* leader: `epoch` is the largest one not above, it ends at `offset` */
    AB_REPLICA_FETCH = 3,        /* follower: records from `offset` on, please; `chain` is of the record before */
    AB_REPLICA_FETCHED = 4,      /* leader: `records`, whole, from `offset` on; perhaps none */
    AB_REPLICA_REPORT = 5,       /* follower: everything below `durable` is synced; no answer */
    AB_REPLICA_INSTALL_ASK = 6,  /* follower: your state from byte `offset` on; `chain` is its hash, once known */
    AB_REPLICA_INSTALL_PART = 7, /* leader: `records` are its bytes from `offset` on, of bytes_total; hash `chain` */
};

enum ab_replica_status {
    AB_REPLICA_OK = 0,
    AB_REPLICA_FENCED = 1,       /* the asker's epoch is older: `leader_epoch` is the newer one */
    AB_REPLICA_NOT_LEADER = 2,   /* not (yet) leader of that epoch: ask again later */
    AB_REPLICA_OUT_OF_RANGE = 3, /* the leader's log starts at `log_start` only; INSTALL_PART: begin anew */
    AB_REPLICA_DIVERGED = 4,     /* same epoch, other bytes: must not happen */
    AB_REPLICA_NOT_LISTED = 5,   /* the asker is no replica of the partition */
};

struct ab_replica_message {
    enum ab_replica_message_kind kind;
    enum ab_replica_status status; /* answers */
    uint32_t partition;
    uint32_t from, to;                  /* node numbers */
    struct ab_hash128 from_incarnation; /* of the sender's process */
    struct ab_hash128 from_disk_id;     /* FETCH */
    uint64_t leader_epoch;
    uint64_t request; /* of this asker, rising; an answer repeats it */
    uint64_t epoch;
    uint64_t offset;
    uint64_t durable;        /* follower's synced offset: FETCH, REPORT */
    uint64_t high_watermark; /* FETCH: as the follower knows it; FETCHED: the leader's */
    uint64_t log_start;      /* answers */
    uint32_t bytes_max;      /* FETCH, INSTALL_ASK */
    uint64_t bytes_total;    /* INSTALL_PART */
    struct ab_hash128 chain; /* FETCH, INSTALL_ASK, INSTALL_PART */
    struct ab_bytes records; /* FETCHED, INSTALL_PART; borrowed */
};

/* True for what a follower sends; a leader's answers are the others. */
static inline bool ab_replica_message_is_request(enum ab_replica_message_kind kind)
{
    return kind == AB_REPLICA_EPOCH_ASK || kind == AB_REPLICA_FETCH || kind == AB_REPLICA_REPORT ||
           kind == AB_REPLICA_INSTALL_ASK;
}

/* Appends the encoding. As records come last and have no length of their own, those of a FETCHED message may also be
 * left empty here and be appended to `out` by the caller, straight from where they are. */
void ab_replica_message_encode(const struct ab_replica_message *message, struct ab_buffer *out);

/* Decodes; the records are borrowed from `bytes`, at any alignment, and whatever they hold. AB_INVALID for malformed
 * bytes, an unknown kind or status, a status other than OK that is no answer's, nodes that are none or the same, and
 * records where none may be: with another kind than FETCHED and INSTALL_PART, or another status than OK. */
AB_MUST_USE ab_err ab_replica_message_decode(struct ab_bytes bytes, struct ab_replica_message *message);

#endif
