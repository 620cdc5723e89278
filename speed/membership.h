/* membership: this node among the others: its registration, what it hears of partitions and nodes from the coordination
 * service, and links to the other nodes. It is where replicators' outlets lead to, and where what replicas hear comes
 * from.
 *
 * Who a node is: `disk.json` in its directory holds {"format":1,"disk":"<32 hex>","starts":"n"}, made with the
 * directory and rewritten, durably, at each start, before /nodes/<node> says as much: an older image of the disk that
 * was put back is behind and refused (F16). A process is (node, incarnation), the latter random and new each time.
 *
 * A partition whose state names this node neither as replica nor as learner is to go. Before that is told, the service
 * confirms that this very state is in force, by a step that changes nothing: what was read may be older. From then on
 * the node may be named again, but only as a learner, which counts nowhere before it has fetched.
 *
 * One thread speaks to the coordination service: it registers, looks at /live and /partitions/<p>/state when something
 * changed, reads and proposes when replicas ask. Another one watches the session, which it can while calls wait. When
 * the session has expired, or was suspended for so long that replicas have let go of what they led, this incarnation is
 * over: the callback is told, and the process should end and begin anew.
 *
 * Threads: outlets from any worker; on_input and on_over on a thread of this object, or of a link; the rest by the
 * daemon's main thread. Memory: a bounded queue of questions; a link's queue per node.
 */
#ifndef ANABRANCH_SPEED_MEMBERSHIP_H
#define ANABRANCH_SPEED_MEMBERSHIP_H

#include "speed/replica_input.h"
#include "speed/replicator.h"
#include "common/coordination/coordination.h"

struct ab_membership;

/* Takes an input for the replicas of a partition, or all. Must not block for long; false = it could not be taken. */
typedef bool (*ab_membership_input_fn)(struct ab_replica_input *input, void *context);
/* This incarnation is over. */
typedef void (*ab_membership_over_fn)(void *context);

/* Puts partitions whose log is damaged, rising, into a list with room for all; how many. */
typedef uint32_t (*ab_membership_damaged_fn)(uint32_t *partitions, void *context);

/* True while this node has the partition open. Any thread. */
typedef bool (*ab_membership_holds_fn)(uint32_t partition, void *context);

struct ab_membership_options {
    const char *directory; /* the node's; disk.json is there; copied */
    uint32_t node;
    uint32_t partitions_count;
    const char *rack; /* "" = none; copied */
    uint32_t weight;
    struct ab_wire *wire;                 /* borrowed */
    struct ab_coordination *coordination; /* borrowed: this object's thread uses it */
};

/* Reads or makes disk.json. AB_CORRUPT, AB_IO. */
AB_MUST_USE ab_err ab_membership_create(
    const struct ab_membership_options *options, struct ab_membership **membership, struct ab_error *error);

/* Ends what start began; NULL is legal. */
void ab_membership_destroy(struct ab_membership *membership);

/* Who this process is. */
struct ab_hash128 ab_membership_incarnation(const struct ab_membership *membership);
struct ab_hash128 ab_membership_disk_id(const struct ab_membership *membership);

/* True when this node has run on this disk before, so that its partitions were there. */
bool ab_membership_was_here(const struct ab_membership *membership);

struct ab_membership_start {
    const char *address;       /* where speed answers; borrowed during the call, as all below */
    const uint8_t *public_key; /* AB_WIRE_KEY_BYTES, of that server */
    ab_membership_input_fn on_input;
    ab_membership_over_fn on_over;
    ab_membership_damaged_fn damaged;
    ab_membership_holds_fn holds; /* NULL = nothing is ever taken away */
    void *context;
};

/* Registers this process and begins. AB_MISMATCH for a node that has another disk, AB_STALE for an older image of it,
 * AB_EXISTS while another process of the node lives; errors of the coordination service. */
AB_MUST_USE ab_err ab_membership_start(
    struct ab_membership *membership, const struct ab_membership_start *start, struct ab_error *error);

/* Ends the thread and the links: no callback runs after it. What outlets are given from then on is dropped. */
void ab_membership_stop(struct ab_membership *membership);

/* What replicators call; the context is the membership. */
extern const struct ab_replicator_outlets ab_membership_outlets;

#endif
