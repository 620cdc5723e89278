/* span: the records of one partition between two cuts, and the shares of all views in them.
 *
 * A share has one active table that the worker fills, and frozen ones that nobody writes any more: queries read them, a
 * flush stores them. Each frozen table knows the offset up to which rows are in it; a stored family knows the offset up
 * to which it was flushed (its offset key), so a reader that holds both knows which tables are already inside what it
 * reads, whatever the flush does meanwhile.
 *
 * Family of a span, per view uid (u32 BE): [uid 0x00 share u16 BE] -> offset entry, [uid 0x01 group key] -> states.
 * There is one share per view and partition for now, number 0. Offset entry: u8 format (1), u64 applied offset, u64
 * aggregated, filtered, expired, faults. A span's own entry in the tables family is encoded by ab_span_encode.
 *
 * Views: those of the catalog in force, and older ones that a version may still be asked for: a view that left the
 * catalog is carried as long as a span in which it was current is not retired.
 *
 * Threads: fields are guarded by the partition's lock, except those said to be constant.
 */
#ifndef ANABRANCH_SPEED_SPAN_H
#define ANABRANCH_SPEED_SPAN_H

#include "speed/catalogs.h"
#include "common/aggregate/group_table.h"

#include <stdatomic.h>

#define AB_SHARE_NUMBER 0u

/* A table nobody writes any more. */
struct ab_frozen {
    atomic_uint references;       /* its share's, and one of each reader */
    struct ab_group_table *table; /* owned */
    uint64_t upto_offset;         /* its rows are of records below this offset */
};

/* A view's part in one span of one partition. */
struct ab_share {
    const struct ab_served_catalog *served;   /* constant: the catalog that defines it */
    const struct ab_view *view;               /* constant */
    const struct ab_aggregation *aggregation; /* constant */
    uint64_t last_current_span;    /* constant: the newest span up to this one whose catalog holds the view */
    ab_time_us expired_until_us;   /* constant: panes that end by then have expired for this span's rows */
    uint64_t from_offset;          /* records below it are in the stored family already */
    struct ab_row_counts counts;   /* of the whole span so far */
    struct ab_group_table *active; /* owned; NULL = empty */
    struct ab_frozen **frozen;     /* owned references, by rising upto_offset */
    size_t frozen_count;
    size_t frozen_capacity;
};

/* Rows of one stream in a span. */
struct ab_stream_rows {
    uint32_t stream_id;
    uint64_t accepted;
    uint64_t rejected;
    uint64_t duplicates;
};

struct ab_span {
    uint64_t family;                        /* constant: names its column family: the number it was opened with */
    uint64_t number;                        /* of the cut that closes it: the next one, more when cuts were skipped */
    uint64_t start_offset;                  /* constant: its first record */
    ab_time_us start_time_us;               /* constant: T of the cut before it; 0 = none */
    const struct ab_served_catalog *served; /* constant: the catalog in force */
    struct ab_share *shares;                /* owned; by rising uid; the array is constant */
    uint32_t shares_count;
    struct ab_stream_rows *rows; /* owned; one per stream of the catalog */
    uint32_t rows_count;
    bool is_closed;
    bool is_flushed;        /* closed, and all of it is stored */
    ab_time_us cut_time_us; /* of the closing cut, as all below */
    ab_time_us horizon_us;
    uint64_t end_offset;     /* after the cut record */
    struct ab_hash128 chain; /* of the cut record */
    uint64_t leader_epoch;
};

/* What opens a span. */
struct ab_span_start {
    uint64_t number;
    uint64_t start_offset;
    ab_time_us start_time_us;
    const struct ab_served_catalog *served;
    const struct ab_span *before; /* the span it follows, for views to carry; may be NULL */
    uint64_t retired_cut;         /* spans up to it are gone */
};

/* Makes an open span with empty shares; never NULL. */
struct ab_span *ab_span_create(const struct ab_span_start *start);
void ab_span_destroy(struct ab_span *span);

/* The share of a view; NULL when this span does not hold it. */
struct ab_share *ab_span_share(struct ab_span *span, uint32_t uid);

/* Counts a block's rows. */
void ab_span_count(struct ab_span *span, uint32_t stream_id, uint32_t accepted, uint32_t rejected, uint32_t duplicates);

/* Moves the active table, if it holds anything, to the frozen ones. */
void ab_share_freeze(struct ab_share *share, uint64_t upto_offset);

/* Removes the first `count` frozen tables and drops the share's references; `merged` (may be NULL; taken) goes in their
 * place. */
void ab_share_replace(struct ab_share *share, size_t count, struct ab_frozen *merged);

/* A frozen table with one reference; takes the group table. */
struct ab_frozen *ab_frozen_create(struct ab_group_table *table, uint64_t upto_offset);
struct ab_frozen *ab_frozen_acquire(struct ab_frozen *frozen);
void ab_frozen_release(struct ab_frozen *frozen);

/* Keys in a span's family: appends the prefix of a view's states, or its offset key. */
void ab_span_state_prefix(uint32_t uid, struct ab_buffer *out);
void ab_span_offset_key(uint32_t uid, struct ab_buffer *out);

/* The offset entry and back; AB_CORRUPT. */
void ab_span_offset_encode(uint64_t applied_offset, const struct ab_row_counts *counts, struct ab_buffer *out);
AB_MUST_USE ab_err ab_span_offset_decode(struct ab_bytes value, uint64_t *applied_offset, struct ab_row_counts *counts);

/* A span's entry in the tables family, and what it holds; AB_CORRUPT. */
struct ab_span_entry {
    uint64_t family, number, start_offset, end_offset, leader_epoch;
    ab_time_us start_time_us, cut_time_us, horizon_us;
    struct ab_hash128 catalog_key, chain;
    bool is_closed;
    struct ab_bytes rows; /* encoded counts per stream; see ab_span_load_rows */
};
void ab_span_encode(const struct ab_span *span, struct ab_buffer *out);
AB_MUST_USE ab_err ab_span_decode(struct ab_bytes value, struct ab_span_entry *entry);

/* Sets the span's row counts and closing cut from its entry; AB_CORRUPT. */
AB_MUST_USE ab_err ab_span_load(struct ab_span *span, const struct ab_span_entry *entry);

#endif
