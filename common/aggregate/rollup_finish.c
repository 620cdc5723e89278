/* Finishing a rollup: groups in key order become a relation of keys, window bounds and finished measures; ORDER BY and
 * LIMIT choose its rows; the query's items are evaluated over what is left. */
#include "common/aggregate/cell.h"
#include "common/aggregate/rollup_private.h"
#include "common/base/assert.h"

#include <stdlib.h>

struct finish {
    struct ab_rollup *rollup;
    struct ab_arena *arena; /* the caller's: what the result consists of */
    struct ab_arena scratch;
    uint32_t inputs_count;
    bool *used;               /* by input of the relation */
    struct ab_value **values; /* by input: one value per group, in key order */
    const struct ab_column **inputs;
    struct ab_column *columns;
    uint32_t rows_count;
    uint32_t *order; /* rows in result order; NULL = as they are */
    uint64_t overflows;
    ab_time_us reference; /* what decayed sums are decayed to where windows are merged away */
};

static void mark_used(struct finish *finish)
{
    const struct ab_query *query = finish->rollup->query;
    for (uint32_t i = 0; i < query->items_count; i++) {
        ab_expression_inputs(query->items[i].expression, finish->used, finish->inputs_count);
    }
    for (uint32_t i = 0; i < query->order_count; i++) {
        ab_expression_inputs(query->order[i].expression, finish->used, finish->inputs_count);
    }
}

static struct ab_type input_type(const struct ab_query *query, uint32_t input)
{
    const struct ab_view *view = query->view;
    if (input < view->keys_count) {
        return view->keys[input].type;
    }
    if (input < view->keys_count + 2) {
        return (struct ab_type){.kind = AB_TYPE_TIMESTAMP};
    }
    uint32_t measure = input - view->keys_count - 2;
    return measure < view->measures_count ? view->measures[measure].type
                                          : query->readings[measure - view->measures_count].type;
}

/* Decayed sums are decayed to the end of their window, or where windows are merged away to the end that the query
 * states, or without one to the latest row of all groups: the same for all of them. */
static void reference_find(struct finish *finish)
{
    const struct ab_query *query = finish->rollup->query;
    finish->reference = query->window_until_us;
    if (finish->rollup->window.kind == AB_WINDOW_NONE && query->window_until_us == INT64_MAX) {
        finish->reference = ab_finish_latest(&finish->rollup->store);
    }
}

/* Start or end of an entry's window; NULL where windows are merged away. */
static struct ab_value window_value(const struct ab_rollup *rollup, size_t entry, bool is_end)
{
    const struct ab_window *window = &rollup->window;
    struct ab_value value = {.type = {.kind = AB_TYPE_TIMESTAMP}, .is_null = window->kind == AB_WINDOW_NONE};
    ab_time_us mark = ab_group_store_pane(&rollup->store, ab_group_store_words(&rollup->store, entry));
    if (window->kind == AB_WINDOW_SESSION) { /* the mark of a whole session is its first event */
        value.bigint = is_end ? ab_window_add(ab_rollup_session_time(rollup, entry, true), window->size_us) : mark;
    } else if (!value.is_null) {
        value.bigint = is_end ? ab_window_end(window, mark) : ab_window_start(window, mark);
    }
    return value;
}

/* Length of a window from its bounds, for what is counted by the second. */
static int64_t window_length(ab_time_us start, ab_time_us end)
{
    int64_t length;
    if (__builtin_sub_overflow(end, start, &length)) {
        return INT64_MAX;
    }
    return length < 1 ? 1 : length; /* at the ends of time */
}

static ab_err measure_fill(struct finish *finish, uint32_t measure, size_t entry, struct ab_value *value)
{
    struct ab_rollup *rollup = finish->rollup;
    const struct ab_view *view = rollup->query->view;
    struct ab_finish_entry at = {.aggregation = rollup->aggregation,
        .store = &rollup->store,
        .places = rollup->places,
        .entry = entry,
        .arena = &finish->scratch,
        .reference_us = finish->reference};
    if (rollup->window.kind != AB_WINDOW_NONE) {
        at.reference_us = window_value(rollup, entry, true).bigint;
        at.window_us = window_length(window_value(rollup, entry, false).bigint, at.reference_us);
    }
    bool fits = true;
    if (measure < view->measures_count) {
        AB_ASSERT(rollup->query->needs_measure[measure]);
        AB_TRY(ab_finish_measure(&at, measure, value, &fits));
    } else {
        AB_TRY(ab_finish_reading(&at, &rollup->query->readings[measure - view->measures_count], value, &fits));
    }
    finish->overflows += !fits;
    return AB_OK;
}

static ab_err value_fill(struct finish *finish, uint32_t input, size_t entry, struct ab_value *value)
{
    struct ab_rollup *rollup = finish->rollup;
    const struct ab_view *view = rollup->query->view;
    const uint64_t *words = ab_group_store_words(&rollup->store, entry);
    if (input < view->keys_count) {
        uint32_t place = rollup->key_place[input];
        *value = (struct ab_value){.type = view->keys[input].type, .is_null = true};
        if (place != AB_PLAN_NONE) {
            *value = ab_group_store_key_value(&rollup->store, words, place);
        }
        return AB_OK;
    }
    if (input < view->keys_count + 2) {
        *value = window_value(rollup, entry, input > view->keys_count);
        return AB_OK;
    }
    return measure_fill(finish, input - view->keys_count - 2, entry, value);
}

/* Values of every used input, over the groups in key order; without ORDER BY only as many as LIMIT lets through. */
static ab_err values_fill(struct finish *finish, const struct ab_group_order *groups)
{
    const struct ab_query *query = finish->rollup->query;
    uint64_t count = groups->count;
    if (query->order_count == 0 && query->limit < count) {
        count = query->limit;
    }
    if (count > UINT32_MAX) {
        return AB_FULL;
    }
    finish->rows_count = (uint32_t)count;
    for (uint32_t input = 0; input < finish->inputs_count; input++) {
        if (!finish->used[input]) {
            continue;
        }
        finish->values[input] = ab_arena_alloc(&finish->scratch, count * sizeof(struct ab_value));
        if (finish->values[input] == NULL) {
            return AB_FULL;
        }
        for (uint32_t i = 0; i < count; i++) {
            AB_TRY(value_fill(finish, input, groups->entries[i], &finish->values[input][i]));
        }
    }
    return AB_OK;
}

static ab_err columns_make(struct finish *finish, struct ab_arena *arena)
{
    for (uint32_t input = 0; input < finish->inputs_count; input++) {
        if (finish->used[input]) {
            AB_TRY(ab_finish_column(arena, input_type(finish->rollup->query, input), finish->values[input],
                finish->order, finish->rows_count, &finish->columns[input]));
            finish->inputs[input] = &finish->columns[input];
        }
    }
    return AB_OK;
}

/* ---- ORDER BY ---- */

struct order_context {
    const struct ab_query *query;
    const struct ab_column *columns; /* by order term */
};

/* NULL first in rising order and last in falling order; equal rows stay in key order. */
static int order_compare(const void *a, const void *b, void *context_pointer)
{
    const struct order_context *context = context_pointer;
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    for (uint32_t i = 0; i < context->query->order_count; i++) {
        struct ab_value left_value = ab_column_value(&context->columns[i], left);
        struct ab_value right_value = ab_column_value(&context->columns[i], right);
        int order = ab_value_compare(&left_value, &right_value);
        if (order != 0) {
            return context->query->order[i].is_descending ? -order : order;
        }
    }
    return (left > right) - (left < right);
}

static ab_err rows_order(struct finish *finish)
{
    const struct ab_query *query = finish->rollup->query;
    AB_TRY(columns_make(finish, &finish->scratch));
    struct ab_column *columns = ab_arena_zalloc(&finish->scratch, query->order_count * sizeof(*columns));
    uint32_t *order = ab_arena_alloc(&finish->scratch, finish->rows_count * sizeof(*order));
    if (columns == NULL || order == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < query->order_count; i++) {
        AB_TRY(ab_expression_evaluate(
            query->order[i].expression, finish->inputs, finish->rows_count, &finish->scratch, &columns[i], NULL));
    }
    for (uint32_t i = 0; i < finish->rows_count; i++) {
        order[i] = i;
    }
    struct order_context context = {.query = query, .columns = columns};
    qsort_r(order, finish->rows_count, sizeof(*order), order_compare, &context);
    finish->order = order;
    if (query->limit < finish->rows_count) {
        finish->rows_count = (uint32_t)query->limit;
    }
    return AB_OK;
}

/* ---- sessions ---- */

ab_time_us ab_rollup_session_time(const struct ab_rollup *rollup, size_t entry, bool is_last)
{
    const struct ab_aggregation *aggregation = rollup->aggregation;
    uint32_t place = rollup->places[is_last ? aggregation->session_last : aggregation->session_first];
    union ab_cell cell;
    const struct ab_group_store *store = &rollup->store;
    if (!ab_primitive_cell(&store->contexts[place], ab_group_store_state(store, entry, place), &cell)) {
        return ab_group_store_pane(store, ab_group_store_words(store, entry)); /* a state without any row */
    }
    return ab_cell_value((struct ab_type){.kind = AB_TYPE_TIMESTAMP}, &cell).bigint;
}

/* True when the second pane goes on with the session of the first: same keys, and no longer apart than the gap. */
static bool is_same_session(const struct ab_rollup *rollup, size_t first, size_t second)
{
    const struct ab_group_store *store = &rollup->store;
    const uint64_t *a = ab_group_store_words(store, first);
    const uint64_t *b = ab_group_store_words(store, second);
    size_t keys_bytes = (store->layout.words_count - 1) * sizeof(*a);
    if (memcmp(a + 1, b + 1, keys_bytes) != 0) { /* the first word is the pane */
        return false;
    }
    ab_time_us end = ab_window_add(ab_rollup_session_time(rollup, first, true), rollup->window.size_us);
    return ab_rollup_session_time(rollup, second, false) <= end;
}

/* Merges neighbouring panes, in key order, into sessions: the first pane's entry becomes the session's and gets its
 * first event for a mark; the index of the store is of no use from then on. A session that may go back into expired
 * panes is left out. AB_FULL: a session of many panes may hold more than any of them. */
static ab_err sessions_stitch(struct ab_rollup *rollup, struct ab_group_order *groups)
{
    struct ab_group_store *store = &rollup->store;
    size_t kept = 0;
    for (size_t i = 0; i < groups->count; i++) {
        uint32_t entry = groups->entries[i];
        if (kept == 0 || !is_same_session(rollup, groups->entries[kept - 1], entry)) {
            groups->entries[kept++] = entry;
            continue;
        }
        for (uint32_t p = 0; p < rollup->listed_count; p++) {
            store->ops[p]->merge(&store->contexts[p], ab_group_store_state(store, groups->entries[kept - 1], p),
                &store->contexts[p], ab_group_store_state(store, entry, p));
        }
        if (rollup->memory != NULL && ab_memory_is_over(rollup->memory)) {
            return AB_FULL;
        }
    }
    groups->count = 0;
    for (size_t i = 0; i < kept; i++) {
        uint32_t entry = groups->entries[i];
        ab_time_us first = ab_rollup_session_time(rollup, entry, false);
        uint64_t word = (uint64_t)first;
        memcpy(store->entries + (size_t)entry * store->layout.entry_bytes, &word, sizeof(word));
        if (ab_window_add(first, -rollup->window.size_us) >= rollup->shown_first || rollup->shown_first == INT64_MIN) {
            groups->entries[groups->count++] = entry;
        }
    }
    return AB_OK;
}

/* Leaves the sessions that the terms of WHERE over windows let through. */
static ab_err sessions_choose(struct finish *finish, struct ab_group_order *groups)
{
    const struct ab_query *query = finish->rollup->query;
    if (groups->count > UINT32_MAX) {
        return AB_FULL;
    }
    uint32_t count = (uint32_t)groups->count;
    uint8_t *keep = ab_arena_alloc(&finish->scratch, count);
    struct ab_value *values = ab_arena_alloc(&finish->scratch, count * sizeof(*values));
    if (keep == NULL || values == NULL) {
        return AB_FULL;
    }
    ab_expression_inputs(query->having, finish->used, finish->inputs_count);
    for (uint32_t input = 0; input < query->view->keys_count + 2; input++) {
        for (uint32_t i = 0; finish->used[input] && i < count; i++) {
            AB_TRY(value_fill(finish, input, groups->entries[i], &values[i]));
        }
        if (finish->used[input]) {
            AB_TRY(ab_finish_column(
                &finish->scratch, input_type(query, input), values, NULL, count, &finish->columns[input]));
            finish->inputs[input] = &finish->columns[input];
        }
    }
    AB_TRY(ab_expression_filter(query->having, finish->inputs, count, &finish->scratch, keep, NULL));
    groups->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        groups->entries[groups->count] = groups->entries[i];
        groups->count += keep[i];
    }
    memset(finish->used, 0, finish->inputs_count * sizeof(*finish->used));
    return AB_OK;
}

/* ---- the whole ---- */

static ab_err finish_run(struct finish *finish, struct ab_column **columns, struct ab_error *error)
{
    const struct ab_query *query = finish->rollup->query;
    if (query->order_count > 0) {
        AB_TRY(rows_order(finish));
    }
    AB_TRY(columns_make(finish, finish->arena));
    struct ab_column *items = ab_arena_zalloc(finish->arena, query->items_count * sizeof(*items));
    if (items == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < query->items_count; i++) {
        ab_err err = ab_expression_evaluate(
            query->items[i].expression, finish->inputs, finish->rows_count, finish->arena, &items[i], NULL);
        if (err != AB_OK) {
            return ab_error_wrap(error, err, "column %s of the result", query->items[i].name);
        }
    }
    *columns = items;
    return AB_OK;
}

static ab_err finish_prepare(struct finish *finish)
{
    uint32_t count = finish->inputs_count;
    finish->used = ab_arena_zalloc(&finish->scratch, count * sizeof(*finish->used));
    finish->values = ab_arena_zalloc(&finish->scratch, count * sizeof(*finish->values));
    finish->inputs = ab_arena_zalloc(finish->arena, count * sizeof(*finish->inputs));
    finish->columns = ab_arena_zalloc(finish->arena, count * sizeof(*finish->columns));
    bool is_there = finish->used != NULL && finish->values != NULL && finish->inputs != NULL && finish->columns != NULL;
    return is_there ? AB_OK : AB_FULL;
}

/* A query that merges everything into one row has that row even when nothing matched. */
static void empty_group_add(struct ab_rollup *rollup)
{
    bool is_one_row = !rollup->query->is_listing && rollup->keys_count == 0 && rollup->window.kind == AB_WINDOW_NONE;
    if (is_one_row && rollup->store.entries_count == 0) {
        uint64_t words[AB_GROUP_WORDS_MAX] = {0};
        uint32_t entry;
        ab_group_store_find(&rollup->store, words, 1, &entry);
    }
}

ab_err ab_rollup_finish(struct ab_rollup *rollup, struct ab_arena *arena, struct ab_column **columns,
    uint32_t *rows_count, uint64_t *overflows, struct ab_error *error)
{
    ab_err err = ab_rollup_flush(rollup);
    if (err != AB_OK) {
        return ab_error_set(error, err, "the result does not fit the query's memory");
    }
    empty_group_add(rollup);
    struct finish finish = {.rollup = rollup, .arena = arena};
    finish.inputs_count =
        rollup->query->view->keys_count + 2 + rollup->query->view->measures_count + rollup->query->readings_count;
    reference_find(&finish);
    ab_arena_init(&finish.scratch, rollup->memory, 0);
    struct ab_group_order groups;
    ab_group_order_init(&groups, &rollup->store, NULL, rollup->memory);
    if (rollup->window.kind == AB_WINDOW_SESSION) {
        err = sessions_stitch(rollup, &groups);
    }
    if (err == AB_OK) {
        err = finish_prepare(&finish);
    }
    if (err == AB_OK && rollup->query->having != NULL) {
        err = sessions_choose(&finish, &groups);
    }
    if (err == AB_OK) {
        mark_used(&finish);
        err = values_fill(&finish, &groups);
    }
    if (err == AB_OK) {
        err = finish_run(&finish, columns, error);
    }
    if (err == AB_OK) {
        *rows_count = finish.rows_count;
        *overflows = finish.overflows;
    } else if (err == AB_FULL) {
        (void)ab_error_set(error, err, "the result does not fit the query's memory");
    }
    ab_group_order_fini(&groups);
    ab_arena_fini(&finish.scratch);
    return err;
}
