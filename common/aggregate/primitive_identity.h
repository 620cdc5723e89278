/* primitive_identity: who a row is, event time first, then its place in the log; and its 28 bytes in payloads:
 * event time i64, partition u32, offset u64, row i64, big-endian with signs flipped, so that bytes are in its order.
 * Threads: values. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_IDENTITY_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_IDENTITY_H

#include "common/aggregate/primitive.h"

struct ab_identity {
    int64_t time;
    uint64_t offset;
    int64_t row;
    uint32_t partition;
};

static inline struct ab_identity ab_identity_of(const struct ab_primitive_identity *identity, uint32_t row)
{
    return (struct ab_identity){
        .time = identity->times == NULL ? INT64_MIN : identity->times[row],
        .offset = identity->offsets == NULL ? identity->offset : (uint64_t)identity->offsets[row],
        .row = identity->ordinals == NULL ? (int64_t)row : identity->ordinals[row],
        .partition = identity->partition,
    };
}

/* < 0, 0, > 0. */
static inline int ab_identity_compare(const struct ab_identity *a, const struct ab_identity *b)
{
    if (__builtin_expect(a->time != b->time, 1)) {
        return a->time < b->time ? -1 : 1;
    }
    if (a->partition != b->partition) {
        return a->partition < b->partition ? -1 : 1;
    }
    if (a->offset != b->offset) {
        return a->offset < b->offset ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

/* Appends the AB_IDENTITY_BYTES bytes. */
static inline void ab_identity_put(const struct ab_identity *identity, struct ab_buffer *out)
{
    uint64_t time = __builtin_bswap64((uint64_t)identity->time ^ UINT64_C(1) << 63);
    uint32_t partition = __builtin_bswap32(identity->partition);
    uint64_t offset = __builtin_bswap64(identity->offset);
    uint64_t row = __builtin_bswap64((uint64_t)identity->row ^ UINT64_C(1) << 63);
    ab_buffer_put(out, &time, sizeof(time));
    ab_buffer_put(out, &partition, sizeof(partition));
    ab_buffer_put(out, &offset, sizeof(offset));
    ab_buffer_put(out, &row, sizeof(row));
}

/* Reads AB_IDENTITY_BYTES bytes. */
static inline struct ab_identity ab_identity_take(const uint8_t *bytes)
{
    uint64_t time;
    uint32_t partition;
    uint64_t offset;
    uint64_t row;
    memcpy(&time, bytes, sizeof(time));
    memcpy(&partition, bytes + 8, sizeof(partition));
    memcpy(&offset, bytes + 12, sizeof(offset));
    memcpy(&row, bytes + 20, sizeof(row));
    return (struct ab_identity){
        .time = (int64_t)(__builtin_bswap64(time) ^ UINT64_C(1) << 63),
        .offset = __builtin_bswap64(offset),
        .row = (int64_t)(__builtin_bswap64(row) ^ UINT64_C(1) << 63),
        .partition = __builtin_bswap32(partition),
    };
}

#endif
