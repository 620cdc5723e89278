/* Aggregating a block: WHERE is evaluated for all of it; then, batch by batch, so that what a batch needs stays in the
 * first cache, rows are chosen and placed in panes, their keys become words, their groups are found, and each primitive
 * runs over them, column by column. */
#include "common/aggregate/group_table_private.h"
#include "common/aggregate/pane.h"
#include "common/aggregate/primitive_distinct.h"
#include "common/aggregate/primitive_walk.h"
#include "common/base/assert.h"

/* One call of update. */
struct update {
    struct ab_group_table *table;
    const struct ab_aggregation *aggregation;
    const struct ab_rows *rows;
    struct ab_arena *scratch; /* the caller's; may refuse */
    struct ab_arena spare;    /* without a budget: used when the caller's refuses, because apply is total */
    struct ab_row_counts *counts;
    struct ab_column *arguments; /* by argument of the plan */
    bool *is_present;            /* by argument: false = all NULL */
    uint8_t **filters;           /* by filter: 1 = TRUE */
    const uint8_t **feed_nulls;  /* by feed: rows on which one of its arguments is NULL; NULL = none */
    bool *is_fed;                /* by feed: false = one of its arguments is all NULL */
    uint64_t **hashes;           /* by primitive: of those that need them */
    const uint8_t *keep;         /* by row: 1 = WHERE is TRUE; NULL = all rows */
    uint32_t next;               /* row of the block that no batch has looked at yet */
    bool is_prepared;            /* what only rows that count need is there */
    uint32_t *
        key_texts[AB_CATALOG_KEYS_MAX]; /* TEXT keys: our number of each dictionary entry, UINT32_MAX = not asked yet */
    struct ab_primitive_identity identity;
};

/* Rows that count, on their way to their groups. */
struct batch {
    uint32_t rows[AB_GROUP_BATCH_ROWS];
    int64_t panes[AB_GROUP_BATCH_ROWS]; /* pane start of each row; unset without panes */
    uint32_t groups[AB_GROUP_BATCH_ROWS];
    size_t count;
    uint64_t *words; /* key words, row by row */
};

static void *scratch_alloc(struct update *update, size_t bytes)
{
    void *block = ab_arena_alloc(update->scratch, bytes);
    if (block == NULL) {
        block = ab_arena_alloc(&update->spare, bytes);
        AB_ASSERT(block != NULL);
    }
    return block;
}

static const struct ab_column *input_at(const struct update *update, uint32_t column)
{
    return update->rows->columns[column];
}

/* ---- expressions ---- */

static uint8_t *filter_run(struct update *update, const struct ab_expression *expression)
{
    const struct ab_rows *rows = update->rows;
    uint8_t *keep = scratch_alloc(update, rows->rows_count);
    uint64_t faults = 0;
    if (ab_expression_filter(expression, rows->columns, rows->rows_count, update->scratch, keep, &faults) != AB_OK) {
        faults = 0;
        ab_err err = ab_expression_filter(expression, rows->columns, rows->rows_count, &update->spare, keep, &faults);
        AB_ASSERT(err == AB_OK);
    }
    update->counts->faults += faults;
    return keep;
}

static void argument_run(struct update *update, uint32_t index)
{
    const struct ab_plan_expression *argument = &update->aggregation->arguments[index];
    const struct ab_rows *rows = update->rows;
    struct ab_column *result = &update->arguments[index];
    update->is_present[index] = true;
    if (argument->column >= 0) {
        const struct ab_column *input = input_at(update, (uint32_t)argument->column);
        update->is_present[index] = input != NULL;
        if (input != NULL) {
            *result = *input;
        }
        return;
    }
    uint64_t faults = 0;
    if (ab_expression_evaluate(
            argument->expression, rows->columns, rows->rows_count, update->scratch, result, &faults) != AB_OK) {
        faults = 0;
        ab_err err = ab_expression_evaluate(
            argument->expression, rows->columns, rows->rows_count, &update->spare, result, &faults);
        AB_ASSERT(err == AB_OK);
    }
    update->counts->faults += faults;
}

/* The NULLs of all arguments of a feed together. */
static void feed_prepare(struct update *update, uint32_t f)
{
    const struct ab_plan_feed *feed = &update->aggregation->feeds[f];
    uint32_t rows_count = update->rows->rows_count;
    const uint8_t *nulls = NULL;
    uint8_t *joined = NULL;
    update->is_fed[f] = true;
    for (uint32_t a = 0; a < feed->arguments_count && update->is_fed[f]; a++) {
        update->is_fed[f] = update->is_present[feed->arguments[a]];
        const uint8_t *more = update->is_fed[f] ? update->arguments[feed->arguments[a]].nulls : NULL;
        if (more != NULL && nulls != NULL && joined == NULL) {
            joined = scratch_alloc(update, rows_count);
            memcpy(joined, nulls, rows_count);
        }
        for (uint32_t i = 0; more != NULL && joined != NULL && i < rows_count; i++) {
            joined[i] |= more[i];
        }
        nulls = joined != NULL ? joined : more != NULL ? more : nulls;
    }
    update->feed_nulls[f] = nulls;
}

static void expressions_run(struct update *update)
{
    const struct ab_aggregation *aggregation = update->aggregation;
    update->arguments = scratch_alloc(update, aggregation->arguments_count * sizeof(*update->arguments));
    update->is_present = scratch_alloc(update, aggregation->arguments_count * sizeof(*update->is_present));
    update->filters = scratch_alloc(update, aggregation->filters_count * sizeof(*update->filters));
    update->feed_nulls = scratch_alloc(update, aggregation->feeds_count * sizeof(*update->feed_nulls));
    update->is_fed = scratch_alloc(update, aggregation->feeds_count * sizeof(*update->is_fed));
    update->hashes = scratch_alloc(update, aggregation->primitives_count * sizeof(*update->hashes));
    for (uint32_t i = 0; i < aggregation->arguments_count; i++) {
        argument_run(update, i);
    }
    for (uint32_t i = 0; i < aggregation->filters_count; i++) {
        update->filters[i] = filter_run(update, aggregation->filters[i].expression);
    }
    for (uint32_t f = 0; f < aggregation->feeds_count; f++) {
        feed_prepare(update, f);
    }
    for (uint32_t i = 0; i < aggregation->primitives_count; i++) {
        const struct ab_plan_primitive *plan = &aggregation->primitives[i];
        update->hashes[i] = NULL;
        if (ab_primitive_ops_of((uint8_t)plan->kind)->needs_hashes && update->is_present[plan->columns[0]]) {
            const struct ab_column *column = &update->arguments[plan->columns[0]];
            update->hashes[i] =
                scratch_alloc(update, ab_primitive_distinct_hashes_count(column) * sizeof(*update->hashes[i]));
            ab_primitive_distinct_hashes(column, update->hashes[i]);
        }
    }
}

/* ---- choosing rows ---- */

/* Fills the batch with the next rows that are not skipped and pass WHERE. */
static void rows_take(struct update *update, struct batch *batch)
{
    const struct ab_rows *rows = update->rows;
    const uint8_t *keep = update->keep;
    uint32_t row = update->next;
    size_t count = 0;
    size_t filtered = 0;
    for (; rows->skip == NULL && keep == NULL && row < rows->rows_count && count < AB_GROUP_BATCH_ROWS; row++) {
        batch->rows[count++] = row;
    }
    for (; row < rows->rows_count && count < AB_GROUP_BATCH_ROWS; row++) {
        bool is_there = rows->skip == NULL || rows->skip[row] == 0;
        bool is_kept = keep == NULL || keep[row] != 0;
        batch->rows[count] = row;
        count += is_there && is_kept;
        filtered += is_there && !is_kept;
    }
    batch->count = count;
    update->next = row;
    update->counts->filtered += filtered;
}

/* Leaves out the rows that have no time. */
static void rows_drop_timeless(struct update *update, struct batch *batch, const struct ab_column *times)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        batch->rows[count] = row;
        count += !ab_column_is_null(times, row);
    }
    update->counts->filtered += batch->count - count;
    batch->count = count;
}

/* Pane starts of a batch. Panes count from `origin`, the start of the first pane in it, so that a product takes the
 * place of the division: with `inverse` = 2^64 / width rounded down, the quotient is at most one too small. */
static void panes_fill(struct batch *batch, const int64_t *times, int64_t width)
{
    int64_t low = INT64_MAX;
    int64_t high = INT64_MIN;
    const uint32_t *rows = batch->rows;
    int64_t *panes = batch->panes;
    for (size_t i = 0; i < batch->count; i++) {
        int64_t time = times[rows[i]];
        panes[i] = time;
        low = time < low ? time : low;
        high = time > high ? time : high;
    }
    int64_t origin = ab_pane_floor(low, width);
    if (origin == INT64_MIN) { /* perhaps not the true start, which may be out of range */
        for (size_t i = 0; i < batch->count; i++) {
            panes[i] = ab_pane_floor(panes[i], width);
        }
    } else if (high < ab_pane_add(origin, width)) {
        for (size_t i = 0; i < batch->count; i++) {
            panes[i] = origin;
        }
    } else {
        uint64_t divisor = (uint64_t)width;
        uint64_t inverse = UINT64_MAX / divisor;
        for (size_t i = 0; i < batch->count; i++) {
            uint64_t offset = (uint64_t)panes[i] - (uint64_t)origin;
            uint64_t rest = offset - (uint64_t)((ab_uint128)offset * inverse >> 64) * divisor;
            rest -= rest >= divisor ? divisor : 0;
            panes[i] = (int64_t)((uint64_t)panes[i] - rest);
        }
    }
}

/* The stretch of the pane that holds a time. A stretch is kept in the place that the number of its start, in half
 * panes, chooses: no two start within half a pane of each other, but for the last step of a day, and none is as long as
 * two. */
static const struct ab_pane_stretch *stretch_find(
    struct ab_pane_stretch *stretches, const struct ab_period *pane, int64_t half, ab_time_us time)
{
    uint64_t number = (uint64_t)(ab_pane_floor(time, half) / half);
    for (uint64_t back = 0; back < 4; back++) {
        const struct ab_pane_stretch *stretch = &stretches[(number - back) % AB_PANE_STRETCHES];
        if (time >= stretch->start && time < stretch->end) {
            return stretch;
        }
    }
    ab_time_us start = ab_period_floor(pane, time);
    number = (uint64_t)(ab_pane_floor(start, half) / half);
    struct ab_pane_stretch *stretch = &stretches[number % AB_PANE_STRETCHES];
    *stretch = (struct ab_pane_stretch){.start = start, .end = ab_period_next(pane, time)};
    return stretch;
}

/* Pane starts of a batch in a calendar. */
static void panes_fill_calendar(
    struct ab_group_table *table, struct batch *batch, const int64_t *times, const struct ab_period *pane)
{
    if (table->stretches == NULL) {
        table->stretches = ab_new_array(struct ab_pane_stretch, AB_PANE_STRETCHES);
    }
    int64_t width = pane->step_us > 0 ? pane->step_us : pane->width_us;
    int64_t half = width < 2 ? 1 : width / 2;
    const struct ab_pane_stretch *stretch = table->stretches;
    for (size_t i = 0; i < batch->count; i++) {
        int64_t time = times[batch->rows[i]];
        if (time < stretch->start || time >= stretch->end) {
            stretch = stretch_find(table->stretches, pane, half, time);
        }
        batch->panes[i] = stretch->start;
    }
}

/* Gives each row its pane; rows without a time and rows of expired panes are left out. */
static void rows_place(struct update *update, struct batch *batch)
{
    const struct ab_view *view = update->aggregation->view;
    const struct ab_column *times = input_at(update, view->pane_column);
    if (times == NULL) {
        update->counts->filtered += batch->count;
        batch->count = 0;
        return;
    }
    if (times->nulls != NULL) {
        rows_drop_timeless(update, batch, times);
    }
    if (batch->count == 0) {
        return;
    }
    if (view->pane.unit == AB_PERIOD_FIXED) {
        panes_fill(batch, times->values, view->pane_us);
    } else {
        panes_fill_calendar(update->table, batch, times->values, &view->pane);
    }
    int64_t expired_until = update->rows->expired_until_us;
    if (expired_until == INT64_MIN) {
        return;
    }
    ab_time_us first = ab_view_first_pane(view, expired_until);
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        int64_t start = batch->panes[i];
        batch->rows[count] = batch->rows[i];
        batch->panes[count] = start;
        count += start >= first;
    }
    update->counts->expired += batch->count - count;
    batch->count = count;
}

/* ---- keys ---- */

static void key_texts_prepare(struct update *update)
{
    const struct ab_view *view = update->aggregation->view;
    for (uint32_t k = 0; k < view->keys_count; k++) {
        const struct ab_column *column = input_at(update, view->keys[k].column);
        if (view->keys[k].type.kind == AB_TYPE_TEXT && column != NULL) {
            size_t bytes = column->dictionary.count * sizeof(uint32_t);
            update->key_texts[k] = scratch_alloc(update, bytes);
            memset(update->key_texts[k], 0xff, bytes);
        }
    }
}

/* Gives a number to every dictionary entry that the rows use and that has none yet. */
static void texts_enter(
    struct update *update, const struct ab_column *column, const uint32_t *rows, size_t count, uint32_t *numbers)
{
    const uint32_t *codes = column->values;
    struct ab_bytes texts[AB_GROUP_BATCH_ROWS];
    uint32_t new_codes[AB_GROUP_BATCH_ROWS];
    uint32_t found[AB_GROUP_BATCH_ROWS];
    size_t new_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (ab_column_is_null(column, rows[i]) || numbers[codes[rows[i]]] != UINT32_MAX) {
            continue;
        }
        uint32_t code = codes[rows[i]];
        numbers[code] = 0;
        new_codes[new_count] = code;
        texts[new_count++] = ab_dictionary_at(&column->dictionary, code);
    }
    ab_text_pool_numbers(&update->table->store.texts, texts, new_count, found);
    for (size_t i = 0; i < new_count; i++) {
        numbers[new_codes[i]] = found[i];
    }
}

static void words_put_texts(struct update *update, uint32_t k, const struct ab_column *column, const uint32_t *rows,
    size_t count, uint64_t *words)
{
    uint32_t stride = update->table->store.layout.words_count;
    uint32_t *numbers = update->key_texts[k];
    const uint32_t *codes = column->values;
    texts_enter(update, column, rows, count, numbers);
    for (size_t i = 0; i < count; i++) {
        if (!ab_column_is_null(column, rows[i])) {
            words[i * stride] = numbers[codes[rows[i]]];
        }
    }
}

static void words_put_numbers(
    const struct ab_column *column, const uint32_t *rows, size_t count, uint32_t stride, uint64_t *words)
{
    switch ((enum ab_type_kind)column->type.kind) {
    case AB_TYPE_BOOLEAN:
        for (size_t i = 0; i < count; i++) {
            words[i * stride] = ((const uint8_t *)column->values)[rows[i]] != 0;
        }
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        for (size_t i = 0; i < count; i++) {
            words[i * stride] = (uint64_t)((const int64_t *)column->values)[rows[i]];
        }
        break;
    case AB_TYPE_DOUBLE:
        for (size_t i = 0; i < count; i++) {
            double number = ((const double *)column->values)[rows[i]];
            number = number == 0.0 ? 0.0 : number != number ? __builtin_nan("") : number;
            memcpy(&words[i * stride], &number, sizeof(number));
        }
        break;
    case AB_TYPE_DECIMAL:
        for (size_t i = 0; i < count; i++) {
            memcpy(&words[i * stride], (const uint8_t *)column->values + (size_t)rows[i] * sizeof(ab_int128),
                sizeof(ab_int128));
        }
        break;
    case AB_TYPE_TEXT:
        break;
    }
}

/* NULL keys: a bit in the mask and zero words. */
static void words_put_nulls(const struct ab_group_layout *layout, uint32_t k, const struct ab_column *column,
    const uint32_t *rows, size_t count, uint64_t *words)
{
    uint32_t stride = layout->words_count;
    for (size_t i = 0; i < count; i++) {
        if (column == NULL || ab_column_is_null(column, rows[i])) {
            words[i * stride + layout->null_word] |= UINT64_C(1) << k;
            words[i * stride + layout->key_words[k]] = 0;
            if (layout->keys[k].type.kind == AB_TYPE_DECIMAL) {
                words[i * stride + layout->key_words[k] + 1] = 0;
            }
        }
    }
}

static void words_fill(struct update *update, const struct batch *batch)
{
    const struct ab_view *view = update->aggregation->view;
    const struct ab_group_layout *layout = &update->table->store.layout;
    const uint32_t *rows = batch->rows;
    size_t count = batch->count;
    uint64_t *words = batch->words;
    uint32_t stride = layout->words_count;
    for (size_t i = 0; layout->has_pane && i < count; i++) {
        words[i * stride] = (uint64_t)batch->panes[i];
    }
    for (size_t i = 0; layout->has_nulls && i < count; i++) {
        words[i * stride + layout->null_word] = 0;
    }
    for (uint32_t k = 0; k < layout->keys_count; k++) {
        const struct ab_column *column = input_at(update, view->keys[k].column);
        uint64_t *at = words + layout->key_words[k];
        AB_ASSERT(column != NULL || !layout->keys[k].is_not_null);
        if (column != NULL && column->type.kind == AB_TYPE_TEXT) {
            words_put_texts(update, k, column, rows, count, at);
        } else if (column != NULL) {
            words_put_numbers(column, rows, count, stride, at);
        }
        if (layout->has_nulls && (column == NULL || column->nulls != NULL)) {
            words_put_nulls(layout, k, column, rows, count, words);
        }
    }
}

/* ---- states ---- */

/* Rows of the batch that a feed lets through. */
struct feed_rows {
    const uint32_t *rows;
    const uint32_t *groups;
    size_t count;
};

static void feed_select(const struct update *update, uint32_t f, const uint32_t *rows, const uint32_t *groups,
    size_t count, uint32_t *room, struct feed_rows *out)
{
    const struct ab_plan_feed *feed = &update->aggregation->feeds[f];
    const uint8_t *nulls = update->feed_nulls[f];
    *out = (struct feed_rows){.rows = rows, .groups = groups, .count = update->is_fed[f] ? count : 0};
    if (out->count == 0) {
        return;
    }
    const uint8_t *keep = feed->filter == AB_PLAN_NONE ? NULL : update->filters[feed->filter];
    if (nulls == NULL && keep == NULL) {
        return;
    }
    uint32_t *kept_groups = room + AB_GROUP_BATCH_ROWS;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t row = rows[i];
        room[kept] = row;
        kept_groups[kept] = groups[i];
        kept += (nulls == NULL || nulls[row] == 0) && (keep == NULL || keep[row] != 0);
    }
    *out = (struct feed_rows){.rows = room, .groups = kept_groups, .count = kept};
}

/* The columns of a primitive; `room` has a place for each. */
static void columns_take(const struct update *update, const struct ab_plan_primitive *plan,
    const struct ab_column **room, struct ab_primitive_batch *batch)
{
    for (uint32_t c = 0; c < plan->columns_count; c++) {
        room[c] = &update->arguments[plan->columns[c]];
    }
    batch->column = plan->columns_count == 0 ? NULL : room[0];
    batch->columns = room;
}

/* Updates the primitives of a feed: the common ones in one walk, if they all read one column, the others one after the
 * other. */
static void feed_update(struct update *update, uint32_t f, const struct feed_rows *feed, bool counts_rows)
{
    const struct ab_aggregation *aggregation = update->aggregation;
    struct ab_group_store *store = &update->table->store;
    const struct ab_plan_feed *plan = &aggregation->feeds[f];
    bool is_walked = plan->arguments_count < 2;
    const struct ab_column *columns[AB_MEASURE_ARGUMENTS_MAX];
    struct ab_primitive_walk walk = {0};
    struct ab_primitive_batch batch = {
        .stride = store->layout.entry_bytes,
        .groups = feed->groups,
        .rows = feed->rows,
        .count = feed->count,
        .identity = &update->identity,
    };
    if (counts_rows) {
        ab_primitive_walk_take(&walk, &store->contexts[0], store->offsets[0]);
    }
    for (uint32_t i = 1; i < aggregation->primitives_count; i++) {
        if (aggregation->primitives[i].feed != f ||
            (is_walked && ab_primitive_walk_take(&walk, &store->contexts[i], store->offsets[i]))) {
            continue;
        }
        columns_take(update, &aggregation->primitives[i], columns, &batch);
        batch.states = store->entries + store->offsets[i];
        batch.hashes = update->hashes[i];
        store->ops[i]->update(&store->contexts[i], &batch);
    }
    batch.column = plan->arguments_count == 0 ? NULL : &update->arguments[plan->arguments[0]];
    batch.states = store->entries;
    ab_primitive_walk_run(&walk, &batch);
}

/* The first primitive counts all rows: it goes with the first feed that lets all of them through, since its own feed
 * has nothing else. */
static void states_update(struct update *update, const struct batch *batch)
{
    const uint32_t *rows = batch->rows;
    const uint32_t *groups = batch->groups;
    size_t count = batch->count;
    const struct ab_aggregation *aggregation = update->aggregation;
    uint32_t own_feed = aggregation->primitives[0].feed;
    uint32_t room[2 * AB_GROUP_BATCH_ROWS];
    bool is_counted = false;
    for (uint32_t f = 0; f < aggregation->feeds_count; f++) {
        struct feed_rows feed;
        if (f == own_feed) {
            continue;
        }
        feed_select(update, f, rows, groups, count, room, &feed);
        if (feed.count > 0) {
            feed_update(update, f, &feed, !is_counted && feed.count == count);
            is_counted |= feed.count == count;
        }
    }
    if (!is_counted) {
        struct feed_rows all = {.rows = rows, .groups = groups, .count = count};
        feed_update(update, own_feed, &all, true);
    }
}

static void identity_prepare(struct update *update)
{
    const struct ab_rows *rows = update->rows;
    const struct ab_column *times = input_at(update, update->aggregation->view->stream->event_time_column);
    update->identity = (struct ab_primitive_identity){
        .times = times == NULL ? NULL : times->values,
        .partition = rows->partition,
        .offset = rows->offset,
        .offsets = rows->offsets,
        .ordinals = rows->ordinals,
    };
}

/* What only rows that count need, once some are there. */
static void update_prepare(struct update *update)
{
    if (!update->is_prepared) {
        update->is_prepared = true;
        expressions_run(update);
        key_texts_prepare(update);
        identity_prepare(update);
    }
}

void ab_group_table_update(
    struct ab_group_table *table, const struct ab_rows *rows, struct ab_arena *scratch, struct ab_row_counts *counts)
{
    struct update update = {
        .table = table,
        .aggregation = table->aggregation,
        .rows = rows,
        .scratch = scratch,
        .counts = counts,
    };
    const struct ab_view *view = table->aggregation->view;
    update.keep = view->where == NULL ? NULL : filter_run(&update, view->where);
    struct batch batch;
    size_t words_bytes = table->store.layout.words_count * sizeof(*batch.words);
    batch.words = scratch_alloc(&update, AB_GROUP_BATCH_ROWS * words_bytes);
    while (update.next < rows->rows_count) {
        rows_take(&update, &batch);
        if (batch.count > 0 && view->pane_us > 0) {
            rows_place(&update, &batch);
        }
        if (batch.count > 0) {
            update_prepare(&update);
            words_fill(&update, &batch);
            ab_group_store_find(&table->store, batch.words, batch.count, batch.groups);
            states_update(&update, &batch);
            counts->aggregated += batch.count;
        }
    }
    ab_arena_fini(&update.spare);
}
