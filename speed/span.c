#include "speed/span.h"

#include "common/base/assert.h"

#include <stdlib.h>

#define ENTRY_FORMAT 1u

/* ---- frozen tables ---- */

struct ab_frozen *ab_frozen_create(struct ab_group_table *table, uint64_t upto_offset)
{
    struct ab_frozen *frozen = ab_new(struct ab_frozen);
    atomic_init(&frozen->references, 1);
    frozen->table = table;
    frozen->upto_offset = upto_offset;
    return frozen;
}

struct ab_frozen *ab_frozen_acquire(struct ab_frozen *frozen)
{
    atomic_fetch_add_explicit(&frozen->references, 1, memory_order_relaxed);
    return frozen;
}

void ab_frozen_release(struct ab_frozen *frozen)
{
    if (frozen != NULL && atomic_fetch_sub_explicit(&frozen->references, 1, memory_order_acq_rel) == 1) {
        ab_group_table_destroy(frozen->table);
        ab_delete(frozen);
    }
}

/* ---- shares ---- */

static void share_push(struct ab_share *share, struct ab_frozen *frozen)
{
    if (share->frozen_count == share->frozen_capacity) {
        share->frozen_capacity = share->frozen_capacity == 0 ? 8 : share->frozen_capacity * 2;
        share->frozen = ab_renew_bytes(share->frozen, share->frozen_capacity * sizeof(struct ab_frozen *));
    }
    share->frozen[share->frozen_count++] = frozen;
}

void ab_share_freeze(struct ab_share *share, uint64_t upto_offset)
{
    if (share->active == NULL || ab_group_table_count(share->active) == 0) {
        return;
    }
    share_push(share, ab_frozen_create(share->active, upto_offset));
    share->active = NULL;
}

void ab_share_replace(struct ab_share *share, size_t count, struct ab_frozen *merged)
{
    AB_ASSERT(count <= share->frozen_count);
    for (size_t i = 0; i < count; i++) {
        ab_frozen_release(share->frozen[i]);
    }
    size_t kept = merged == NULL ? 0 : 1;
    if (count > 0) {
        memmove(
            share->frozen + kept, share->frozen + count, (share->frozen_count - count) * sizeof(struct ab_frozen *));
        share->frozen_count -= count - kept;
        if (merged != NULL) {
            share->frozen[0] = merged;
        }
    }
}

static void share_fini(struct ab_share *share)
{
    ab_group_table_destroy(share->active);
    for (size_t i = 0; i < share->frozen_count; i++) {
        ab_frozen_release(share->frozen[i]);
    }
    ab_delete(share->frozen);
}

static int share_compare(const void *left, const void *right)
{
    const struct ab_share *a = left;
    const struct ab_share *b = right;
    return (a->view->uid > b->view->uid) - (a->view->uid < b->view->uid);
}

/* ---- spans ---- */

static struct ab_share share_of(const struct ab_served_catalog *served, const struct ab_view *view,
    uint64_t last_current_span, const struct ab_span_start *start)
{
    struct ab_share share = {.served = served,
        .view = view,
        .aggregation = ab_served_aggregation(served, view),
        .last_current_span = last_current_span,
        .from_offset = start->start_offset};
    share.expired_until_us = ab_view_horizon(view, start->start_time_us);
    return share;
}

/* True when an older span's view goes on although the catalog in force no longer has it. */
static bool is_carried(const struct ab_share *share, const struct ab_span_start *start)
{
    return share->last_current_span > start->retired_cut &&
           ab_catalog_view_by_uid(start->served->catalog, share->view->uid) == NULL;
}

struct ab_span *ab_span_create(const struct ab_span_start *start)
{
    struct ab_span *span = ab_new(struct ab_span);
    const struct ab_catalog *catalog = start->served->catalog;
    uint32_t before_count = start->before == NULL ? 0 : start->before->shares_count;
    span->family = start->number;
    span->number = start->number;
    span->start_offset = start->start_offset;
    span->start_time_us = start->start_time_us;
    span->served = start->served;
    span->shares = ab_new_array(struct ab_share, catalog->views_count + before_count + 1);
    for (uint32_t v = 0; v < catalog->views_count; v++) {
        span->shares[span->shares_count++] = share_of(start->served, &catalog->views[v], start->number, start);
    }
    for (uint32_t s = 0; s < before_count; s++) {
        const struct ab_share *old = &start->before->shares[s];
        if (is_carried(old, start)) {
            span->shares[span->shares_count++] = share_of(old->served, old->view, old->last_current_span, start);
        }
    }
    qsort(span->shares, span->shares_count, sizeof(struct ab_share), share_compare);
    span->rows_count = catalog->streams_count;
    span->rows = ab_new_array(struct ab_stream_rows, span->rows_count + 1);
    for (uint32_t s = 0; s < span->rows_count; s++) {
        span->rows[s].stream_id = catalog->streams[s].id;
    }
    return span;
}

void ab_span_destroy(struct ab_span *span)
{
    if (span == NULL) {
        return;
    }
    for (uint32_t s = 0; s < span->shares_count; s++) {
        share_fini(&span->shares[s]);
    }
    ab_delete(span->shares);
    ab_delete(span->rows);
    ab_delete(span);
}

struct ab_share *ab_span_share(struct ab_span *span, uint32_t uid)
{
    for (uint32_t s = 0; s < span->shares_count; s++) {
        if (span->shares[s].view->uid == uid) {
            return &span->shares[s];
        }
    }
    return NULL;
}

void ab_span_count(struct ab_span *span, uint32_t stream_id, uint32_t accepted, uint32_t rejected, uint32_t duplicates)
{
    for (uint32_t s = 0; s < span->rows_count; s++) {
        if (span->rows[s].stream_id == stream_id) {
            span->rows[s].accepted += accepted;
            span->rows[s].rejected += rejected;
            span->rows[s].duplicates += duplicates;
        }
    }
}

/* ---- keys and entries ---- */

static void put_uid(uint32_t uid, uint8_t kind, struct ab_buffer *out)
{
    uint8_t prefix[5] = {(uint8_t)(uid >> 24), (uint8_t)(uid >> 16), (uint8_t)(uid >> 8), (uint8_t)uid, kind};
    ab_buffer_put(out, prefix, sizeof(prefix));
}

void ab_span_state_prefix(uint32_t uid, struct ab_buffer *out)
{
    put_uid(uid, 1, out);
}

void ab_span_offset_key(uint32_t uid, struct ab_buffer *out)
{
    put_uid(uid, 0, out);
    ab_buffer_put_u8(out, (uint8_t)(AB_SHARE_NUMBER >> 8));
    ab_buffer_put_u8(out, (uint8_t)AB_SHARE_NUMBER);
}

void ab_span_offset_encode(uint64_t applied_offset, const struct ab_row_counts *counts, struct ab_buffer *out)
{
    ab_buffer_put_u8(out, ENTRY_FORMAT);
    ab_buffer_put_u64(out, applied_offset);
    ab_buffer_put_u64(out, counts->aggregated);
    ab_buffer_put_u64(out, counts->filtered);
    ab_buffer_put_u64(out, counts->expired);
    ab_buffer_put_u64(out, counts->faults);
}

ab_err ab_span_offset_decode(struct ab_bytes value, uint64_t *applied_offset, struct ab_row_counts *counts)
{
    struct ab_reader reader = ab_reader_of(value);
    bool is_known = ab_reader_u8(&reader) == ENTRY_FORMAT;
    uint64_t offset = ab_reader_u64(&reader);
    struct ab_row_counts read = {0};
    read.aggregated = ab_reader_u64(&reader);
    read.filtered = ab_reader_u64(&reader);
    read.expired = ab_reader_u64(&reader);
    read.faults = ab_reader_u64(&reader);
    if (!is_known || ab_reader_finish(&reader) != AB_OK) {
        return AB_CORRUPT;
    }
    *applied_offset = offset;
    *counts = read;
    return AB_OK;
}

static void put_hash(struct ab_hash128 hash, struct ab_buffer *out)
{
    ab_buffer_put_u64(out, hash.low);
    ab_buffer_put_u64(out, hash.high);
}

static struct ab_hash128 take_hash(struct ab_reader *reader)
{
    struct ab_hash128 hash;
    hash.low = ab_reader_u64(reader);
    hash.high = ab_reader_u64(reader);
    return hash;
}

void ab_span_encode(const struct ab_span *span, struct ab_buffer *out)
{
    ab_buffer_put_u8(out, ENTRY_FORMAT);
    ab_buffer_put_u8(out, span->is_closed);
    ab_buffer_put_u64(out, span->family);
    ab_buffer_put_u64(out, span->number);
    ab_buffer_put_u64(out, span->start_offset);
    ab_buffer_put_u64(out, span->end_offset);
    ab_buffer_put_u64(out, span->leader_epoch);
    ab_buffer_put_u64(out, (uint64_t)span->start_time_us);
    ab_buffer_put_u64(out, (uint64_t)span->cut_time_us);
    ab_buffer_put_u64(out, (uint64_t)span->horizon_us);
    put_hash(span->served->key, out);
    put_hash(span->chain, out);
    ab_buffer_put_u32(out, span->rows_count);
    for (uint32_t s = 0; s < span->rows_count; s++) {
        ab_buffer_put_u32(out, span->rows[s].stream_id);
        ab_buffer_put_u64(out, span->rows[s].accepted);
        ab_buffer_put_u64(out, span->rows[s].rejected);
        ab_buffer_put_u64(out, span->rows[s].duplicates);
    }
}

ab_err ab_span_decode(struct ab_bytes value, struct ab_span_entry *entry)
{
    struct ab_reader reader = ab_reader_of(value);
    struct ab_span_entry read = {0};
    bool is_known = ab_reader_u8(&reader) == ENTRY_FORMAT;
    read.is_closed = ab_reader_u8(&reader) != 0;
    read.family = ab_reader_u64(&reader);
    read.number = ab_reader_u64(&reader);
    read.start_offset = ab_reader_u64(&reader);
    read.end_offset = ab_reader_u64(&reader);
    read.leader_epoch = ab_reader_u64(&reader);
    read.start_time_us = (ab_time_us)ab_reader_u64(&reader);
    read.cut_time_us = (ab_time_us)ab_reader_u64(&reader);
    read.horizon_us = (ab_time_us)ab_reader_u64(&reader);
    read.catalog_key = take_hash(&reader);
    read.chain = take_hash(&reader);
    read.rows = ab_reader_bytes(&reader, ab_reader_left(&reader));
    if (!is_known || reader.has_failed || read.rows.bytes < 4) {
        return AB_CORRUPT;
    }
    *entry = read;
    return AB_OK;
}

ab_err ab_span_load(struct ab_span *span, const struct ab_span_entry *entry)
{
    struct ab_reader reader = ab_reader_of(entry->rows);
    uint32_t count = ab_reader_u32(&reader);
    for (uint32_t i = 0; i < count && !reader.has_failed; i++) {
        struct ab_stream_rows read = {.stream_id = ab_reader_u32(&reader)};
        read.accepted = ab_reader_u64(&reader);
        read.rejected = ab_reader_u64(&reader);
        read.duplicates = ab_reader_u64(&reader);
        for (uint32_t s = 0; s < span->rows_count; s++) {
            span->rows[s] = span->rows[s].stream_id == read.stream_id ? read : span->rows[s];
        }
    }
    AB_TRY(ab_reader_finish(&reader));
    span->number = entry->number;
    span->is_closed = entry->is_closed;
    span->cut_time_us = entry->cut_time_us;
    span->horizon_us = entry->horizon_us;
    span->end_offset = entry->end_offset;
    span->chain = entry->chain;
    span->leader_epoch = entry->leader_epoch;
    return AB_OK;
}
