/* registration: what the coordination service says of a node: that it belongs to the cluster, and that a process of it
 * lives. Values and their JSON; who reads and writes them is not known here.
 *
 *   /nodes/<node>                 persistent  {"format":1,"node":3,"disk":"<32 hex>","starts":"7","rack":"r1",
 *                                              "weight":10,"endpoints":{"speed":"tcp://..."}}
 *   /live/<node>-<incarnation>    ephemeral   {"format":1,"node":3,"incarnation":"<32 hex>","disk":"<32 hex>",
 *                                              "starts":"7","endpoints":{...},"damaged":[5,9]}
 *
 * Three numbers tell processes and disks apart (REPLICATION R10, H6, F16, F17). A disk id is made once, with the disk.
 * `starts` counts the processes that this disk has seen: /nodes/<node> is read and must admit one more, then the disk
 * is written, then /nodes/<node> (at the version that was read), then /live is created. An image of the disk that was
 * taken before the last start and put back is behind what /nodes says and is refused; a refused start is not counted,
 * else an image would catch up by being started again and again. An image taken since the last start is not told
 * apart. An incarnation is random and new at every process start. `damaged` names the partitions whose log has lost
 * something it had acknowledged and is being refetched: a process registers after it has recovered its logs, and a
 * partition stays in the list (over restarts too) until its log is whole again.
 *
 * A reader meets only format 1 and refuses a newer one; unknown members are corrupt, since a member that is not
 * understood may change what the others mean.
 *
 * Threads: values. Memory: a live node owns its list of damaged partitions.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_REGISTRATION_H
#define ANABRANCH_COMMON_COORDINATION_REGISTRATION_H

#include "common/base/buffer.h"
#include "common/base/hash.h"

#define AB_NODE_NONE 0u /* nodes are numbered from 1 */
#define AB_NODE_RACK_BYTES 64
#define AB_NODE_WEIGHT_MAX 1024u
#define AB_REGISTRATION_ENDPOINTS_MAX 4u
#define AB_REGISTRATION_ENDPOINT_NAME_BYTES 16
#define AB_REGISTRATION_ENDPOINT_BYTES 128
#define AB_PARTITIONS_MAX 16384u
#define AB_REGISTRATION_PATH_BYTES 64 /* fits every path made here and in replica_set */

/* Where a node answers for what: "speed" -> "tcp://10.0.0.3:7101". Both texts are printable and not empty. */
struct ab_registration_endpoint {
    char name[AB_REGISTRATION_ENDPOINT_NAME_BYTES];
    char address[AB_REGISTRATION_ENDPOINT_BYTES];
};

struct ab_registration_endpoints {
    struct ab_registration_endpoint items[AB_REGISTRATION_ENDPOINTS_MAX]; /* distinct names */
    uint32_t count;
};

/* /nodes/<node>. */
struct ab_node_registration {
    uint32_t node;
    struct ab_hash128 disk_id;     /* not zero */
    uint64_t starts;               /* processes that this disk has seen, >= 1 */
    char rack[AB_NODE_RACK_BYTES]; /* "" = none told */
    uint32_t weight;               /* relative capacity, 1..AB_NODE_WEIGHT_MAX */
    struct ab_registration_endpoints endpoints;
};

/* /live/<node>-<incarnation>. Zeroed memory may be given to fini. */
struct ab_live_node {
    uint32_t node;
    struct ab_hash128 incarnation; /* not zero */
    struct ab_hash128 disk_id;     /* not zero */
    uint64_t starts;               /* of the disk, with this process */
    struct ab_registration_endpoints endpoints;
    uint32_t *damaged; /* owned; rising partition numbers */
    uint32_t damaged_count;
};

/* Frees the list; idempotent. */
void ab_live_node_fini(struct ab_live_node *live);

/* True when the partition's log is damaged on this node. */
bool ab_live_node_is_damaged(const struct ab_live_node *live, uint32_t partition);

/* Paths, NUL-terminated. */
void ab_node_path(uint32_t node, char path[AB_REGISTRATION_PATH_BYTES]);
void ab_live_path(uint32_t node, struct ab_hash128 incarnation, char path[AB_REGISTRATION_PATH_BYTES]);

/* May a process with this disk, which has counted its start already, register as the node that `stored` speaks of?
 * AB_MISMATCH: another disk (R10: only an explicit recovery may bring it in, as an empty learner); AB_STALE: an older
 * image of the disk, or another process of it registered meanwhile. On AB_OK the caller stores `starts`. */
AB_MUST_USE ab_err ab_node_registration_admits(
    const struct ab_node_registration *stored, struct ab_hash128 disk_id, uint64_t starts, struct ab_error *error);

/* Append the one JSON text of a value. AB_USAGE, with the reason, for a value that decode would refuse: nothing is
 * appended. AB_FULL: the buffer. */
AB_MUST_USE ab_err ab_node_registration_encode(
    const struct ab_node_registration *node, struct ab_buffer *out, struct ab_error *error);
AB_MUST_USE ab_err ab_live_node_encode(const struct ab_live_node *live, struct ab_buffer *out, struct ab_error *error);

/* Read such a text. AB_CORRUPT with the reason, AB_UNSUPPORTED for a newer format. */
AB_MUST_USE ab_err ab_node_registration_decode(
    struct ab_bytes text, struct ab_node_registration *node, struct ab_error *error);
/* The caller calls fini on what it got. */
AB_MUST_USE ab_err ab_live_node_decode(struct ab_bytes text, struct ab_live_node *live, struct ab_error *error);

#endif
