/* install: how the state of a leader comes to a replica that cannot go on from its own log: in parts, each asked for.
 *
 * The follower asks for the leader's offer (offer.h) from its first byte on, one part at a time: that is its
 * back-pressure. The first answer says how long the whole is and its hash; every later ask names that hash, and a
 * leader that offers something else by then, or another leader, makes the follower begin anew. A lost message is asked
 * for again. What has arrived whole and matches its hash is the owner's to take (partition_install.h).
 *
 * The leader makes the offer when it is first asked for, gives the same one to all who ask, and drops it when nobody
 * asked for a while.
 *
 * Neither has a clock, a socket or a thread: they are told the time and give messages to be sent.
 *
 * Invariant: I8. Threads: the partition's worker. Memory: the bytes of one offer on either side, charged to the budget,
 * at most AB_INSTALL_BYTES_MAX.
 */
#ifndef ANABRANCH_SPEED_INSTALL_H
#define ANABRANCH_SPEED_INSTALL_H

#include "common/base/buffer.h"
#include "common/base/hash.h"
#include "common/base/time.h"
#include "common/wire/replica_message.h"

/* ---- the follower's part ---- */

/* Zeroed memory but for `memory` is one that is not at work. */
struct ab_install {
    struct ab_memory *memory; /* borrowed; may be NULL */
    bool is_active;
    bool is_whole;   /* all bytes are there and match */
    uint32_t leader; /* whom it asks, as all below while it is active */
    uint64_t epoch;
    uint64_t request; /* the last one sent */
    bool is_waiting;  /* for its answer */
    int64_t ask_us;   /* not before */
    struct ab_hash128 hash;
    uint64_t bytes_total; /* 0 = not known yet */
    struct ab_buffer bytes;
    uint64_t restarts_count;
};

/* Begins to ask a leader, forgetting what came from another one. `request_first`: a random number: answers to an
 * earlier process or attempt must not be taken for ours. */
void ab_install_begin(struct ab_install *install, uint32_t leader, uint64_t epoch, uint64_t request_first);

/* Stops and frees; idempotent. */
void ab_install_end(struct ab_install *install);

/* Fills what is to be asked now (kind, request, epoch, offset, hash, size; the sender's names are the caller's); false
 * when nothing is. */
bool ab_install_ask(struct ab_install *install, int64_t now_us, struct ab_replica_message *message);

/* Takes an answer; one that is not expected is passed over. What is refused, or does not match its hash, begins the
 * whole anew after a while. */
void ab_install_on_part(struct ab_install *install, const struct ab_replica_message *message, int64_t now_us);

/* Begins anew after a while: what came could not be used. */
void ab_install_restart(struct ab_install *install, int64_t now_us);

/* ---- the leader's part ---- */

/* Zeroed memory but for `memory` is no offer. */
struct ab_install_source {
    struct ab_memory *memory; /* borrowed; may be NULL */
    struct ab_buffer bytes;   /* empty = none */
    struct ab_hash128 hash;
    uint64_t log_start; /* of the log when it was made */
    int64_t made_us;
    int64_t asked_us;
};

/* Makes the offer: appends its encoding to `out`. */
typedef ab_err (*ab_install_offer_fn)(void *context, struct ab_buffer *out, struct ab_error *error);

/* Answers a question: fills status, offset, hash and bytes, borrowed until the next call, of a part whose log_start
 * says where the log begins now. An error of `on_offer` is passed on: nothing is to be answered, it asks again. */
AB_MUST_USE ab_err ab_install_source_answer(struct ab_install_source *source, const struct ab_replica_message *ask,
    int64_t now_us, ab_install_offer_fn on_offer, void *context, struct ab_replica_message *part,
    struct ab_error *error);

/* Drops the offer when nobody has asked for a while. */
void ab_install_source_tick(struct ab_install_source *source, int64_t now_us);

/* Drops it now; idempotent. */
void ab_install_source_fini(struct ab_install_source *source);

#endif
