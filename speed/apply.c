#include "speed/partition_private.h"

/* A block's columns in the order of the stream that a view was compiled with: the block's own, unless the view came
 * with another version of the catalog. */
static const struct ab_column *const *columns_for(
    const struct ab_view *view, const struct ab_bound *bound, struct ab_arena *scratch)
{
    if (view->stream == bound->stream) {
        return bound->columns;
    }
    const struct ab_column **columns = ab_arena_zalloc(scratch, view->stream->columns_count * sizeof(*columns));
    for (uint32_t c = 0; columns != NULL && c < view->stream->columns_count; c++) {
        int index = ab_stream_column_index(bound->stream, ab_bytes_of_text(view->stream->columns[c].name));
        columns[c] = index < 0 ? NULL : bound->columns[index];
    }
    return columns;
}

static bool is_all_skipped(const uint8_t *skip, uint32_t rows_count)
{
    return skip != NULL && memchr(skip, 0, rows_count) == NULL;
}

void ab_partition_apply_rows_locked(struct ab_partition *partition, struct ab_span *span, const struct ab_bound *bound,
    const uint8_t *skip, uint64_t offset, struct ab_arena *scratch)
{
    if (bound->block.is_raw || is_all_skipped(skip, bound->block.rows_count)) {
        return;
    }
    for (uint32_t s = 0; s < span->shares_count; s++) {
        struct ab_share *share = &span->shares[s];
        if (share->view->stream->id != bound->stream->id || offset < share->from_offset) {
            continue;
        }
        ab_arena_reset(scratch);
        struct ab_rows rows = {.columns = columns_for(share->view, bound, scratch),
            .rows_count = bound->block.rows_count,
            .skip = skip,
            .partition = partition->options.number,
            .offset = offset,
            .expired_until_us = share->expired_until_us};
        if (share->active == NULL) {
            share->active = ab_group_table_create(share->aggregation, partition->options.partials);
        }
        ab_group_table_update(share->active, &rows, scratch, &share->counts);
    }
}

void ab_partition_apply(struct ab_partition *partition, const struct ab_staged *staged, struct ab_arena *scratch)
{
    if (staged->is_repeat) {
        return;
    }
    ab_lock_take(&partition->lock);
    struct ab_span *span = partition_open_span(partition);
    const struct ab_judged *judged = &staged->judged;
    ab_span_count(span, staged->bound.stream->id, judged->accepted, judged->rejected, judged->duplicates);
    ab_partition_apply_rows_locked(partition, span, &staged->bound, judged->skip, staged->outcome.offset, scratch);
    partition->applied_offset = staged->outcome.offset + 1;
    partition->applied_chain = staged->chain;
    partition->applied_time_us = staged->append_time_us;
    ab_condition_signal_all(&partition->changed);
    ab_lock_give(&partition->lock);
}
