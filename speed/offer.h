/* offer: what a replica needs to begin its log anew where its leader's begins: the tables of a partition, and what came
 * before the first record that is still held.
 *
 * A log is trimmed only as far as its records are retired, so these tables and the records that follow rebuild the
 * whole state: it is replayed, never copied, and so is the same on every replica. The records come as they always do.
 *
 * The same bytes go over the wire and stand in the file `install` of the partition's directory while the exchange is
 * under way; numbers little-endian:
 *
 *   0  magic "ABI1"          4     32 offset u64          8  where the log begins
 *   4  format version u16    2     40 epoch u64           8  of the record before it, or a later one
 *   6  reserved, 0           2     48 chain              16  of the record before it
 *   8  partition u32         4     64 tables, as table_puts.h has them, to the end but for the last 8 bytes
 *  12  reserved, 0           4        XXH3-64 (AB_HASH_CONTENT) of all before
 *  16  cluster id           16
 *
 * A reader refuses a newer version with AB_UNSUPPORTED. Invariant: I10. Threads: values. Memory: borrowed.
 */
#ifndef ANABRANCH_SPEED_OFFER_H
#define ANABRANCH_SPEED_OFFER_H

#include "common/base/buffer.h"
#include "common/base/hash.h"

struct ab_offer {
    uint8_t cluster_id[16];
    uint32_t partition;
    uint64_t offset;
    uint64_t epoch;
    struct ab_hash128 chain;
    struct ab_bytes tables; /* borrowed */
};

/* Appends the encoding to an empty buffer. */
void ab_offer_encode(const struct ab_offer *offer, struct ab_buffer *out);

/* Decodes; the tables are borrowed from `bytes` and not looked into. AB_CORRUPT, AB_UNSUPPORTED. */
AB_MUST_USE ab_err ab_offer_decode(struct ab_bytes bytes, struct ab_offer *offer);

#endif
