/* envelope: the plain forms of the protocol's messages and their protobuf codecs.
 *
 * The generated protobuf types stay inside this folder. Decoders borrow text and bytes from the arena they are given.
 */
#ifndef ANABRANCH_COMMON_WIRE_ENVELOPE_H
#define ANABRANCH_COMMON_WIRE_ENVELOPE_H

#include "common/wire/roles.h"

#include "common/base/buffer.h"
#include "common/base/hash.h"

#define AB_PROTOCOL_VERSION 1u
#define AB_ENVELOPE_ERROR_BYTES 1024

/* Self-contained, no pointers. */
struct ab_envelope {
    uint32_t protocol;
    uint8_t cluster_id[16];
    uint64_t request_id;
    uint32_t deadline_ms; /* 0 = none */
    enum ab_verb verb;
    char node[64];
    uint64_t incarnation;
    uint32_t partition;
    uint64_t leader_epoch;
    uint64_t previous_offset;
    struct ab_hash128 previous_chain;
    ab_err status;
    char error[AB_ENVELOPE_ERROR_BYTES];
};

/* Appends the encoding. */
void ab_envelope_encode(const struct ab_envelope *envelope, struct ab_buffer *out);

/* Decodes; AB_INVALID for malformed bytes, another protocol version, an unknown verb or oversized text. */
AB_MUST_USE ab_err ab_envelope_decode(struct ab_bytes bytes, struct ab_envelope *envelope);

/* ---- blocks and result columns as they stand on the wire ---- */

struct ab_wire_column {
    struct ab_bytes name;
    uint32_t type_kind, precision, scale;
    struct ab_bytes null_bitmap, values, dictionary_ends, dictionary_bytes;
};

struct ab_wire_block {
    struct ab_bytes stream;
    uint64_t producer_id, sequence;
    uint32_t partition, rows_count;
    bool is_raw;
    struct ab_bytes source;
    uint64_t first_position, last_position, byte_offset;
    struct ab_hash128 prefix_hash;
    struct ab_bytes position_deltas;
    uint32_t compression, uncompressed_bytes;
    struct ab_bytes compressed;
    const struct ab_wire_column *columns;
    size_t columns_count;
};

/* Appends a Block message. */
void ab_wire_block_encode(const struct ab_wire_block *block, struct ab_buffer *out);
/* Decodes into the arena; bytes fields start 16-byte aligned. AB_INVALID, AB_FULL. */
AB_MUST_USE ab_err ab_wire_block_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_block *block);

/* The same for a BlockColumns message (the inside of a compressed block). */
void ab_wire_columns_encode(const struct ab_wire_column *columns, size_t count, struct ab_buffer *out);
AB_MUST_USE ab_err ab_wire_columns_decode(
    struct ab_bytes bytes, struct ab_arena *arena, const struct ab_wire_column **columns, size_t *count);

#define AB_PRODUCE_REJECTED_MAX 100

struct ab_wire_rejected {
    uint32_t row;
    struct ab_bytes reason;
};

struct ab_wire_produce_reply {
    uint64_t offset;
    uint32_t accepted, rejected, duplicates;
    const struct ab_wire_rejected *rejected_rows;
    size_t rejected_rows_count;
    bool is_repeat;
};
void ab_wire_produce_reply_encode(const struct ab_wire_produce_reply *reply, struct ab_buffer *out);
AB_MUST_USE ab_err ab_wire_produce_reply_decode(
    struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_produce_reply *reply);

struct ab_wire_query {
    struct ab_bytes sql;
    uint32_t rows_max;
    bool allow_partial;
    const uint64_t *offsets; /* by partition: what the answer has to include */
    size_t offsets_count;
};
void ab_wire_query_encode(const struct ab_wire_query *query, struct ab_buffer *out);
AB_MUST_USE ab_err ab_wire_query_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_query *query);

/* What an answer says of itself (DESIGN: token). */
struct ab_token {
    uint64_t cut;
    struct ab_bytes version;
    const uint64_t *offsets; /* per partition */
    size_t offsets_count;
    int64_t horizon_us;
    int64_t as_of_us;
    bool is_complete;
};

struct ab_wire_query_reply {
    const struct ab_wire_column *columns;
    size_t columns_count;
    uint32_t rows_count;
    struct ab_token token;
    const struct ab_bytes *warnings;
    size_t warnings_count;
};
void ab_wire_query_reply_encode(const struct ab_wire_query_reply *reply, struct ab_buffer *out);
AB_MUST_USE ab_err ab_wire_query_reply_decode(
    struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_query_reply *reply);

struct ab_wire_state_query {
    struct ab_bytes sql;
    struct ab_hash128 catalog_hash;
    uint64_t cut;
    const uint32_t *partitions;
    size_t partitions_count;
    const uint64_t *offsets; /* of the partitions as listed: to be applied first; NULL = none asked for */
};
void ab_wire_state_query_encode(const struct ab_wire_state_query *query, struct ab_buffer *out);
/* AB_INVALID also for offsets that are not as many as the partitions, unless there are none. */
AB_MUST_USE ab_err ab_wire_state_query_decode(
    struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_state_query *query);

struct ab_wire_state_reply {
    struct ab_bytes rows;
    const uint32_t *partitions;
    const uint64_t *offsets;
    size_t partitions_count;
    int64_t as_of_us;
};
void ab_wire_state_reply_encode(const struct ab_wire_state_reply *reply, struct ab_buffer *out);
AB_MUST_USE ab_err ab_wire_state_reply_decode(
    struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_state_reply *reply);

#endif
