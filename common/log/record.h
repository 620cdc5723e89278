/* record: the bytes of one log record: fixed header, verdict, body. Format version 1, all numbers little-endian.
 *
 *   0  magic "ABR1"            4     56 append_time_us  i64   8
 *   4  format version u16      2     64 durable_offset  u64   8  records synced by its leader before (H9)
 *   6  kind u8, 7 flags u8     2     72 catalog version u64   8
 *   8  verdict bytes u32       4     80 rows_count u32        4
 *  12  body bytes u32          4     84 rejected rows u32     4
 *  16  cluster id             16     88 duplicate rows u32    4
 *  32  partition u32           4     92 reserved, 0           4
 *  36  reserved, 0             4     96 previous chain       16  chain hash of the record before (H10)
 *  40  leader epoch u64        8    112 XXH3-64 of verdict and body     8
 *  48  offset u64              8    120 XXH3-64 of bytes 0..119         8
 * 128  verdict, then body, then zero padding to a multiple of 8
 *
 * chain(record) = XXH3-128(AB_HASH_RECORD) over the whole record without the padding; the first record's previous chain
 * is 0. A reader refuses a newer format version with AB_UNSUPPORTED.
 *
 * The verdict is what the leader decided when it appended (DESIGN 4.2): one entry for each row that is not plainly
 * accepted, so that apply, replay, seal and batch only read it: varint count, then per entry: varint row (delta from
 * the entry before), u8 decision (enum ab_decision), and for AB_DECISION_REJECTED a varint-length reason text (<=
 * AB_REASON_BYTES_MAX, no NUL).
 */
#ifndef ANABRANCH_COMMON_LOG_RECORD_H
#define ANABRANCH_COMMON_LOG_RECORD_H

#include "common/base/buffer.h"
#include "common/base/hash.h"
#include "common/base/time.h"

#define AB_RECORD_HEADER_BYTES 128u
#define AB_RECORD_BYTES_MAX (12u << 20)
#define AB_REASON_BYTES_MAX 512u

/* Numbers are part of the format. */
enum ab_record_kind {
    AB_RECORD_BLOCK = 1,       /* body: an encoded block */
    AB_RECORD_CUT = 2,         /* body: an encoded cut */
    AB_RECORD_EPOCH_START = 3, /* body: empty; a new leader's first record */
};

struct ab_record_header {
    enum ab_record_kind kind;
    uint8_t cluster_id[16];
    uint32_t partition;
    uint64_t leader_epoch;
    uint64_t offset;
    ab_time_us append_time_us;
    uint64_t durable_offset; /* records below it were on the disk of the leader that wrote this one, at that time */
    uint64_t catalog_version;
    uint32_t rows_count;
    uint32_t rejected_count;
    uint32_t duplicate_count;
    uint32_t verdict_bytes;
    uint32_t body_bytes;
    struct ab_hash128 previous_chain;
};

/* A record in memory; verdict and body borrowed. */
struct ab_record {
    struct ab_record_header header;
    struct ab_bytes verdict;
    struct ab_bytes body;
    struct ab_hash128 chain; /* this record's own */
    struct ab_bytes encoded; /* borrowed; all of it as it was decoded from, with the padding; empty when it was not */
};

/* Whole size on disk, with padding. */
size_t ab_record_bytes(const struct ab_record_header *header);

/* Appends the encoding of header, verdict and body (lengths taken from the views) with checksums; sets record->chain
 * and the lengths in its header. */
void ab_record_encode(struct ab_record *record, struct ab_buffer *out);

/* Decodes the header alone from at least AB_RECORD_HEADER_BYTES bytes: AB_CORRUPT, AB_UNSUPPORTED, AB_END when too few.
 */
AB_MUST_USE ab_err ab_record_header_decode(struct ab_bytes bytes, struct ab_record_header *header);

/* Decodes a whole record at the front of `bytes`, checking both checksums; AB_END when bytes end before it does. */
AB_MUST_USE ab_err ab_record_decode(struct ab_bytes bytes, struct ab_record *record);

/* The same without looking at the checksums, for bytes that this process has made or verified; `chain` is theirs. */
AB_MUST_USE ab_err ab_record_view(struct ab_bytes bytes, struct ab_hash128 chain, struct ab_record *record);

enum ab_decision {
    AB_DECISION_ACCEPTED = 0,
    AB_DECISION_DUPLICATE = 1, /* counted before: not applied, not a dead letter */
    AB_DECISION_REJECTED = 2,  /* a dead letter, with its reason */
};

/* Builds a verdict: entries in rising row order. */
struct ab_verdict_builder {
    struct ab_buffer entries;
    uint32_t count;
    uint32_t last_row;
    uint32_t rejected_count;
    uint32_t duplicate_count;
};
void ab_verdict_builder_init(struct ab_verdict_builder *builder, struct ab_memory *memory);
void ab_verdict_builder_fini(struct ab_verdict_builder *builder);
void ab_verdict_builder_clear(struct ab_verdict_builder *builder);
/* Adds a row's decision (not AB_DECISION_ACCEPTED); reason is cut at AB_REASON_BYTES_MAX. */
void ab_verdict_builder_add(
    struct ab_verdict_builder *builder, uint32_t row, enum ab_decision decision, struct ab_bytes reason);
/* Appends the encoding. */
void ab_verdict_builder_encode(const struct ab_verdict_builder *builder, struct ab_buffer *out);

/* Walks a verdict. */
struct ab_verdict_entry {
    uint32_t row;
    enum ab_decision decision;
    struct ab_bytes reason;
};
struct ab_verdict_reader {
    struct ab_reader reader;
    uint64_t left;
    uint32_t next_row;
};
/* Starts; AB_CORRUPT when the count is malformed. */
AB_MUST_USE ab_err ab_verdict_reader_init(struct ab_verdict_reader *reader, struct ab_bytes verdict);
/* The next entry; AB_END after the last; AB_CORRUPT, also for a row >= rows_count. */
AB_MUST_USE ab_err ab_verdict_reader_next(
    struct ab_verdict_reader *reader, uint32_t rows_count, struct ab_verdict_entry *entry);

/* Sets skip[row] = 1 for every row of the verdict (duplicate or rejected), others untouched. AB_CORRUPT. */
AB_MUST_USE ab_err ab_verdict_mark(struct ab_bytes verdict, uint32_t rows_count, uint8_t *skip);

/* A cut: the control record that ends span k. Body: u64 cut, i64 time T, i64 horizon, u64 catalog version, 16 bytes
 * catalog hash, varint-length catalog text (empty when unchanged since the previous cut). */
struct ab_cut {
    uint64_t cut;          /* k, rising */
    ab_time_us time_us;    /* T: one for all partitions */
    ab_time_us horizon_us; /* 0 = nothing expires */
    uint64_t catalog_version;
    struct ab_hash128 catalog_hash;
    struct ab_bytes catalog_text; /* borrowed; empty = as before */
};
void ab_cut_encode(const struct ab_cut *cut, struct ab_buffer *out);
AB_MUST_USE ab_err ab_cut_decode(struct ab_bytes body, struct ab_cut *cut);

#endif
