#include "speed/snapshot.h"

#include "speed/limits.h"
#include "speed/partition_private.h"
#include "speed/span_window.h"

#include <inttypes.h>

/* One span's part. */
struct snapshot_span {
    struct ab_state_iterator *iterator; /* owned; NULL = nothing stored yet */
    struct ab_frozen **frozen;          /* owned references */
    size_t frozen_count;
};

struct snapshot {
    struct snapshot_span *spans; /* owned */
    size_t spans_count;
    uint32_t uid;
    size_t groups_in_place; /* active tables of at most so many groups are read under the lock */
    bool is_merge_wanted;   /* some share has many frozen tables */
};

static void snapshot_fini(struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->spans_count; i++) {
        struct snapshot_span *span = &snapshot->spans[i];
        ab_state_iterator_close(span->iterator);
        for (size_t f = 0; f < span->frozen_count; f++) {
            ab_frozen_release(span->frozen[f]);
        }
        ab_delete(span->frozen);
    }
    ab_delete(snapshot->spans);
}

/* Panes between a query's bounds; 0 = open, or too many to look up. */
static uint64_t panes_named(const struct ab_query *query)
{
    int64_t pane_us = query->view->pane_us;
    int64_t width = 0;
    if (pane_us == 0) {
        return 1;
    }
    if (query->view->pane.unit != AB_PERIOD_FIXED || query->window_from_us == INT64_MIN ||
        query->window_until_us == INT64_MAX ||
        __builtin_sub_overflow(query->window_until_us, query->window_from_us, &width) || width <= 0) {
        return 0;
    }
    return (uint64_t)(width / pane_us) <= AB_QUERY_LOOKUPS_MAX ? (uint64_t)(width / pane_us) : 0;
}

/* How large an active table may be to be read in place: what matters is how long the lock is held. */
static size_t groups_in_place(const struct ab_query *query)
{
    if (query->pins_count == 0) {
        return AB_QUERY_LOCKED_GROUPS;
    }
    uint64_t named = query->pins_count == query->view->keys_count ? panes_named(query) : 0;
    for (uint32_t p = 0; p < query->pins_count && named > 0 && named <= AB_QUERY_LOOKUPS_MAX; p++) {
        named *= query->pins[p].values_count;
    }
    return named > 0 && named <= AB_QUERY_LOOKUPS_MAX ? SIZE_MAX : AB_QUERY_LOCKED_GROUPS_PINNED;
}

/* ---- taking, under the lock ---- */

static ab_err open_stored_locked(struct ab_partition *partition, const struct ab_span *span, uint32_t uid,
    struct ab_state_iterator **iterator, struct ab_error *error)
{
    struct ab_buffer from = {0};
    ab_span_offset_key(uid, &from);
    uint8_t until[5] = {(uint8_t)(uid >> 24), (uint8_t)(uid >> 16), (uint8_t)(uid >> 8), (uint8_t)uid, 2};
    ab_err err = ab_state_iterator_open(
        partition->state, span->family, ab_buffer_view(&from), ab_bytes_of(until, sizeof(until)), iterator, error);
    ab_buffer_fini(&from);
    return err == AB_NOT_FOUND ? AB_OK : err;
}

/* The active table: frozen by swapping the pointer, or read in place when it is small or too many frozen ones wait. */
static ab_err take_active_locked(
    struct ab_partition *partition, struct ab_share *share, struct snapshot *snapshot, struct ab_rollup *rollup)
{
    if (share->active == NULL || ab_group_table_count(share->active) == 0) {
        return AB_OK;
    }
    if (ab_group_table_count(share->active) <= snapshot->groups_in_place || share->frozen_count >= AB_FROZEN_MAX) {
        return ab_rollup_add_table(rollup, share->active);
    }
    ab_share_freeze(share, partition->applied_offset);
    snapshot->is_merge_wanted = share->frozen_count > AB_FROZEN_MERGE;
    return AB_OK;
}

static ab_err take_span_locked(struct ab_partition *partition, struct ab_span *span, struct snapshot *snapshot,
    struct ab_rollup *rollup, struct ab_error *error)
{
    struct ab_share *share = ab_span_share(span, snapshot->uid);
    if (share == NULL) {
        return ab_error_set(error, AB_STALE,
            "the view begins after cut %" PRIu64 " in partition %u: it is not whole yet", span->number,
            partition->options.number);
    }
    struct snapshot_span *part = &snapshot->spans[snapshot->spans_count++];
    AB_TRY(take_active_locked(partition, share, snapshot, rollup));
    part->frozen = ab_new_array(struct ab_frozen *, share->frozen_count + 1);
    for (size_t f = 0; f < share->frozen_count; f++) {
        part->frozen[part->frozen_count++] = ab_frozen_acquire(share->frozen[f]);
    }
    return open_stored_locked(partition, span, snapshot->uid, &part->iterator, error);
}

static ab_err cut_check_locked(const struct ab_partition *partition, uint64_t cut, struct ab_error *error)
{
    const struct ab_span *open = partition_open_span(partition);
    if (open == NULL || partition->is_installing || partition_is_behind(partition)) {
        return ab_error_set(
            error, AB_UNAVAILABLE, "partition %u is not whole on this node yet", partition->options.number);
    }
    switch (ab_span_window_of(partition->retired_cut, open->number, cut)) {
    case AB_SPANS_HERE:
        break;
    case AB_SPANS_GONE:
        return ab_error_set(error, AB_STALE,
            "spans up to %" PRIu64 " are gone here, asked for those after %" PRIu64 ": ask with a newer version",
            partition->retired_cut, cut);
    case AB_SPANS_AHEAD:
        return ab_error_set(
            error, AB_UNAVAILABLE, "partition %u has not reached cut %" PRIu64, partition->options.number, cut);
    }
    return AB_OK;
}

static ab_err snapshot_take(struct ab_partition *partition, uint64_t cut, struct snapshot *snapshot,
    struct ab_rollup *rollup, struct ab_snapshot_position *position, struct ab_error *error)
{
    ab_lock_take(&partition->lock);
    ab_err err = cut_check_locked(partition, cut, error);
    if (err == AB_OK) {
        snapshot->spans = ab_new_array(struct snapshot_span, partition->spans_count);
    }
    for (size_t i = 0; i < partition->spans_count && err == AB_OK; i++) {
        if (partition->spans[i]->number > cut) {
            err = take_span_locked(partition, partition->spans[i], snapshot, rollup, error);
        }
    }
    position->applied_offset = partition->applied_offset;
    position->applied_time_us = partition->applied_time_us;
    ab_lock_give(&partition->lock);
    return err;
}

/* ---- reading, without it ---- */

/* Walks the stored groups that may match. */
static ab_err add_stored(struct snapshot_span *span, uint32_t uid, const struct ab_group_scan *scan,
    struct ab_rollup *rollup, struct ab_error *error)
{
    struct ab_buffer seek = {0};
    struct ab_buffer target = {0};
    ab_span_state_prefix(uid, &target);
    size_t prefix_bytes = target.bytes;
    ab_group_scan_start(scan, &seek);
    ab_buffer_put_bytes(&target, ab_buffer_view(&seek));
    ab_state_iterator_seek(span->iterator, ab_buffer_view(&target));
    enum ab_scan_step step = AB_SCAN_NEXT;
    ab_err err = AB_OK;
    while (step != AB_SCAN_END && err == AB_OK) {
        struct ab_bytes key;
        struct ab_bytes row;
        err = ab_state_iterator_next(span->iterator, &key, &row, error);
        if (err != AB_OK || key.bytes < prefix_bytes) {
            break;
        }
        struct ab_bytes group = ab_bytes_of(key.data + prefix_bytes, key.bytes - prefix_bytes);
        step = ab_group_scan_judge(scan, group, &seek);
        if (step == AB_SCAN_MATCH) {
            err = ab_rollup_add(rollup, group, row);
        } else if (step == AB_SCAN_SEEK) {
            target.bytes = prefix_bytes;
            ab_buffer_put_bytes(&target, ab_buffer_view(&seek));
            ab_state_iterator_seek(span->iterator, ab_buffer_view(&target));
        }
    }
    ab_buffer_fini(&seek);
    ab_buffer_fini(&target);
    return err == AB_END ? AB_OK : err;
}

/* The offset up to which the family is stored, from its first key; 0 = nothing. */
static ab_err stored_offset(struct snapshot_span *span, uint64_t *offset, struct ab_error *error)
{
    *offset = 0;
    if (span->iterator == NULL) {
        return AB_OK;
    }
    struct ab_bytes key;
    struct ab_bytes value;
    struct ab_row_counts counts;
    ab_err err = ab_state_iterator_next(span->iterator, &key, &value, error);
    if (err == AB_END) {
        return AB_OK;
    }
    AB_TRY(err);
    bool is_offset = key.bytes == 7 && key.data[4] == 0;
    return is_offset ? ab_span_offset_decode(value, offset, &counts)
                     : ab_error_set(error, AB_CORRUPT, "stored groups without an offset entry");
}

static ab_err add_span(struct snapshot_span *span, uint32_t uid, const struct ab_group_scan *scan,
    struct ab_rollup *rollup, struct ab_error *error)
{
    uint64_t stored = 0;
    AB_TRY(stored_offset(span, &stored, error));
    for (size_t f = 0; f < span->frozen_count; f++) {
        if (span->frozen[f]->upto_offset > stored) {
            AB_TRY(ab_rollup_add_table(rollup, span->frozen[f]->table));
        }
    }
    return stored == 0 ? AB_OK : add_stored(span, uid, scan, rollup, error);
}

ab_err ab_snapshot_add(struct ab_partition *partition, const struct ab_plan *plan, uint64_t cut,
    const struct ab_group_scan *scan, struct ab_rollup *rollup, struct ab_snapshot_position *position,
    struct ab_error *error)
{
    struct snapshot snapshot = {.uid = plan->query->view->uid, .groups_in_place = groups_in_place(plan->query)};
    ab_err err = snapshot_take(partition, cut, &snapshot, rollup, position, error);
    for (size_t i = 0; i < snapshot.spans_count && err == AB_OK; i++) {
        err = add_span(&snapshot.spans[i], snapshot.uid, scan, rollup, error);
    }
    if (snapshot.is_merge_wanted) {
        ab_partition_wake(partition);
    }
    snapshot_fini(&snapshot);
    if (err != AB_OK && error != NULL && error->code == AB_OK) {
        return ab_error_set(
            error, err, "%s", err == AB_FULL ? "the result is larger than the query budget" : ab_err_text(err));
    }
    return err;
}
