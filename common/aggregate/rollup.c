#include "common/aggregate/rollup.h"

#include "common/aggregate/group_pins.h"
#include "common/aggregate/group_table_private.h"
#include "common/aggregate/pane.h"
#include "common/aggregate/rollup_private.h"
#include "common/aggregate/state_row_read.h"
#include "common/base/assert.h"

#define ROLLUP_FORMAT 1

/* ---- making ---- */

static void primitives_list(struct ab_rollup *rollup)
{
    const struct ab_aggregation *aggregation = rollup->aggregation;
    bool *is_needed = ab_new_array(bool, aggregation->primitives_count);
    is_needed[0] = true;
    if (rollup->window.kind == AB_WINDOW_SESSION) {
        is_needed[aggregation->session_first] = true;
        is_needed[aggregation->session_last] = true;
    }
    for (uint32_t m = 0; m < aggregation->view->measures_count; m++) {
        const struct ab_plan_measure *plan = &aggregation->measures[m];
        for (size_t i = 0; i < AB_PARTS_COUNT; i++) {
            if (rollup->query->needs_measure[m] && plan->parts[i] != AB_PLAN_NONE) {
                is_needed[plan->parts[i]] = true;
            }
        }
    }
    rollup->listed = ab_new_array(uint32_t, aggregation->primitives_count);
    rollup->all = ab_new_array(uint32_t, aggregation->primitives_count);
    rollup->places = ab_new_array(uint32_t, aggregation->primitives_count);
    rollup->payloads = ab_new_array(struct ab_bytes, aggregation->primitives_count);
    for (uint32_t p = 0; p < aggregation->primitives_count; p++) {
        rollup->all[p] = p;
        rollup->places[p] = AB_PLAN_NONE;
        if (is_needed[p]) {
            rollup->places[p] = rollup->listed_count;
            rollup->listed[rollup->listed_count++] = p;
        }
    }
    ab_delete(is_needed);
}

static void bounds_init(struct ab_rollup *rollup, ab_time_us hidden_until_us)
{
    const struct ab_query *query = rollup->query;
    rollup->pane_first = INT64_MIN;
    rollup->pane_last = INT64_MAX;
    rollup->shown_first = INT64_MIN;
    if (query->view->pane_us == 0) {
        return;
    }
    rollup->pane_first = query->window_from_us;
    if (query->window_until_us != INT64_MAX) {
        rollup->pane_last = ab_period_floor(&query->view->pane, ab_window_add(query->window_until_us, -1));
    }
    rollup->shown_first = ab_view_first_pane(query->view, hidden_until_us);
    if (rollup->shown_first > rollup->pane_first) {
        rollup->pane_first = rollup->shown_first;
    }
}

ab_err ab_rollup_create(const struct ab_query *query, const struct ab_aggregation *aggregation,
    ab_time_us hidden_until_us, struct ab_memory *memory, struct ab_rollup **rollup, struct ab_error *error)
{
    const struct ab_view *view = query->view;
    if (aggregation->view != view) {
        return ab_error_set(error, AB_USAGE, "the aggregation is of view %s, the query of view %s",
            aggregation->view->name, view->name);
    }
    if (query->moment_place > 0) {
        return ab_error_set(error, AB_USAGE, "the query's LAST has no end yet");
    }
    struct ab_rollup *created = ab_new(struct ab_rollup);
    created->query = query;
    created->aggregation = aggregation;
    created->memory = memory;
    created->window = query->window;
    struct ab_group_store_key keys[AB_CATALOG_KEYS_MAX];
    for (uint32_t k = 0; k < view->keys_count; k++) {
        created->key_place[k] = AB_PLAN_NONE;
        if (query->is_listing || query->is_grouped[k]) {
            created->key_place[k] = created->keys_count;
            keys[created->keys_count++] = ab_group_store_key_of(view, k);
        }
    }
    primitives_list(created);
    bounds_init(created, hidden_until_us);
    ab_group_store_init(&created->store, keys, created->keys_count, created->window.kind != AB_WINDOW_NONE,
        aggregation->primitives, created->listed, created->listed_count, memory);
    ab_arena_init(&created->pending_arena, &created->store.memory, 0);
    ab_arena_init(&created->round_arena, &created->store.memory, 0);
    *rollup = created;
    return AB_OK;
}

void ab_rollup_destroy(struct ab_rollup *rollup)
{
    if (rollup == NULL) {
        return;
    }
    ab_arena_fini(&rollup->round_arena);
    ab_arena_fini(&rollup->pending_arena);
    ab_group_store_fini(&rollup->store);
    ab_delete(rollup->pending);
    ab_delete(rollup->listed);
    ab_delete(rollup->all);
    ab_delete(rollup->places);
    ab_delete(rollup->payloads);
    ab_delete(rollup);
}

static ab_err memory_check(const struct ab_rollup *rollup)
{
    return rollup->memory != NULL && ab_memory_is_over(rollup->memory) ? AB_FULL : AB_OK;
}

/* ---- merging one group ---- */

/* The result's group of a stored group: grouped keys, and the mark of a window that holds the pane. */
static uint32_t group_find(struct ab_rollup *rollup, const struct ab_value *values, ab_time_us mark)
{
    struct ab_value grouped[AB_CATALOG_KEYS_MAX];
    for (uint32_t k = 0; k < rollup->query->view->keys_count; k++) {
        if (rollup->key_place[k] != AB_PLAN_NONE) {
            grouped[rollup->key_place[k]] = values[k];
        }
    }
    uint64_t words[AB_GROUP_WORDS_MAX];
    uint32_t entry;
    ab_group_store_key_words(&rollup->store, grouped, mark, words);
    ab_group_store_find(&rollup->store, words, 1, &entry);
    return entry;
}

/* Merges a stored group into one window: its states in a table, or the payloads of all primitives of the view. */
static void group_apply(
    struct ab_rollup *rollup, const struct pending_group *group, const struct ab_bytes *payloads, ab_time_us mark)
{
    struct ab_group_store *store = &rollup->store;
    uint32_t entry = group_find(rollup, group->values, mark);
    for (uint32_t i = 0; i < rollup->listed_count; i++) {
        uint32_t p = rollup->listed[i];
        if (group->from == NULL) {
            ab_group_store_absorb(store, entry, i, payloads[p]);
        } else {
            store->ops[i]->merge(&store->contexts[i], ab_group_store_state(store, entry, i), &group->from->contexts[p],
                ab_group_store_state(group->from, group->entry, p));
        }
    }
}

/* Windows that share panes are shown once none of their panes has expired; others hold no expired pane. */
static bool is_shown(const struct ab_rollup *rollup, ab_time_us mark)
{
    return !ab_window_overlaps(&rollup->window) || ab_window_start(&rollup->window, mark) >= rollup->shown_first;
}

/* Merges a stored group into every window that holds its pane. */
static void group_apply_all(
    struct ab_rollup *rollup, const struct pending_group *group, const struct ab_bytes *payloads)
{
    ab_time_us mark = ab_window_first(&rollup->window, group->pane);
    do {
        if (is_shown(rollup, mark)) {
            group_apply(rollup, group, payloads, mark);
        }
    } while (ab_window_following(&rollup->window, group->pane, &mark));
}

/* ---- WHERE, in batches ---- */

/* What WHERE sees as a column of a stored group: the bounds of its pane, or of a window, where windows share panes. */
static struct ab_value pending_value(const struct ab_rollup *rollup, const struct pending_group *group, uint32_t column)
{
    const struct ab_view *view = rollup->query->view;
    if (column < view->keys_count) {
        return group->values[column];
    }
    struct ab_value value = {.type = {.kind = AB_TYPE_TIMESTAMP}, .is_null = view->pane_us == 0};
    bool is_end = column > view->keys_count;
    if (value.is_null) {
        return value;
    }
    if (ab_window_overlaps(&rollup->window)) {
        value.bigint =
            is_end ? ab_window_end(&rollup->window, group->mark) : ab_window_start(&rollup->window, group->mark);
    } else {
        value.bigint = is_end ? ab_period_next(&view->pane, group->pane) : group->pane;
    }
    return value;
}

/* The relation's columns that WHERE reads, over the pending groups. */
static ab_err pending_columns(struct ab_rollup *rollup, const struct ab_column **inputs, size_t inputs_count)
{
    const struct ab_view *view = rollup->query->view;
    struct ab_arena *arena = &rollup->round_arena;
    uint32_t count = rollup->pending_count;
    bool *used = ab_arena_zalloc(arena, inputs_count * sizeof(*used));
    struct ab_value *values = ab_arena_alloc(arena, count * sizeof(*values));
    struct ab_column *columns = ab_arena_zalloc(arena, inputs_count * sizeof(*columns));
    if (used == NULL || values == NULL || columns == NULL) {
        return AB_FULL;
    }
    ab_expression_inputs(rollup->query->where, used, inputs_count);
    for (uint32_t c = 0; c < view->keys_count + 2; c++) {
        if (!used[c]) {
            continue;
        }
        struct ab_type type = {.kind = AB_TYPE_TIMESTAMP};
        type = c < view->keys_count ? view->keys[c].type : type;
        for (uint32_t i = 0; i < count; i++) {
            values[i] = pending_value(rollup, &rollup->pending[i], c);
        }
        AB_TRY(ab_finish_column(arena, type, values, NULL, count, &columns[c]));
        inputs[c] = &columns[c];
    }
    return AB_OK;
}

/* Judges each pending group with its window and merges it there. */
static ab_err pending_judge(struct ab_rollup *rollup)
{
    size_t inputs_count = (size_t)rollup->query->view->keys_count + 2 + rollup->query->view->measures_count;
    struct ab_arena *arena = &rollup->round_arena;
    const struct ab_column **inputs = ab_arena_zalloc(arena, inputs_count * sizeof(const struct ab_column *));
    uint8_t *keep = ab_arena_alloc(arena, rollup->pending_count);
    if (inputs == NULL || keep == NULL) {
        return AB_FULL;
    }
    AB_TRY(pending_columns(rollup, inputs, inputs_count));
    AB_TRY(ab_expression_filter(rollup->query->where, inputs, rollup->pending_count, arena, keep, NULL));
    for (uint32_t i = 0; i < rollup->pending_count; i++) {
        const struct pending_group *group = &rollup->pending[i];
        if (keep[i] == 0 || !is_shown(rollup, group->mark)) {
            continue;
        }
        if (group->from == NULL) {
            ab_err err = ab_group_row_split(group->row, rollup->aggregation->primitives, rollup->all,
                rollup->aggregation->primitives_count, rollup->payloads);
            AB_ASSERT(err == AB_OK);
        }
        group_apply(rollup, group, rollup->payloads, group->mark);
    }
    return AB_OK;
}

/* Round by round: every pending group with its next window, until none has one left. */
static ab_err pending_run(struct ab_rollup *rollup)
{
    for (uint32_t i = 0; i < rollup->pending_count; i++) {
        rollup->pending[i].mark = ab_window_first(&rollup->window, rollup->pending[i].pane);
    }
    while (rollup->pending_count > 0) {
        ab_err err = pending_judge(rollup);
        ab_arena_reset(&rollup->round_arena);
        AB_TRY(err);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < rollup->pending_count; i++) {
            struct pending_group group = rollup->pending[i];
            if (ab_window_following(&rollup->window, group.pane, &group.mark)) {
                rollup->pending[kept++] = group;
            }
        }
        rollup->pending_count = kept;
    }
    return AB_OK;
}

ab_err ab_rollup_flush(struct ab_rollup *rollup)
{
    if (rollup->pending_count == 0) {
        return AB_OK;
    }
    ab_err err = pending_run(rollup);
    rollup->pending_count = 0;
    ab_arena_reset(&rollup->pending_arena);
    return err == AB_OK ? memory_check(rollup) : err;
}

/* Remembers a group until the batch is full; the values array and what it points to must be in the pending arena or
 * outlive the flush. */
static ab_err pending_add(struct ab_rollup *rollup, struct pending_group group)
{
    if (rollup->pending == NULL) {
        rollup->pending = ab_new_array(struct pending_group, AB_ROLLUP_PENDING_MAX);
    }
    rollup->pending[rollup->pending_count++] = group;
    return rollup->pending_count == AB_ROLLUP_PENDING_MAX ? ab_rollup_flush(rollup) : AB_OK;
}

/* ---- adding ---- */

static bool is_in_bounds(const struct ab_rollup *rollup, ab_time_us pane)
{
    return pane >= rollup->pane_first && pane <= rollup->pane_last;
}

ab_err ab_rollup_add(struct ab_rollup *rollup, struct ab_bytes key, struct ab_bytes row)
{
    const struct ab_aggregation *aggregation = rollup->aggregation;
    bool has_where = rollup->query->where != NULL;
    struct ab_value here[AB_CATALOG_KEYS_MAX];
    struct pending_group group = {.values = here};
    if (!has_where) {
        ab_arena_reset(&rollup->pending_arena);
    } else {
        size_t bytes = rollup->query->view->keys_count * sizeof(struct ab_value);
        group.values = ab_arena_alloc(&rollup->pending_arena, bytes);
        if (group.values == NULL) {
            return AB_FULL;
        }
    }
    AB_TRY(memory_check(rollup));
    AB_TRY(ab_group_key_decode(rollup->query->view, key, &rollup->pending_arena, group.values, &group.pane));
    AB_TRY(
        ab_group_row_split(row, aggregation->primitives, rollup->all, aggregation->primitives_count, rollup->payloads));
    if (!is_in_bounds(rollup, group.pane)) {
        return AB_OK;
    }
    if (!has_where) {
        group_apply_all(rollup, &group, rollup->payloads);
        return memory_check(rollup);
    }
    group.row = ab_arena_copy(&rollup->pending_arena, row);
    if (group.row.data == NULL) {
        return AB_FULL;
    }
    return pending_add(rollup, group);
}

/* Adds one group of a table, which WHERE may still turn away. */
static ab_err entry_add(struct ab_rollup *rollup, const struct ab_group_store *from, size_t entry)
{
    const uint64_t *words = ab_group_store_words(from, entry);
    uint32_t keys_count = rollup->query->view->keys_count;
    struct ab_value here[AB_CATALOG_KEYS_MAX];
    struct pending_group group = {.values = here, .from = from, .entry = entry};
    bool has_where = rollup->query->where != NULL;
    group.pane = ab_group_store_pane(from, words);
    if (has_where) {
        group.values = ab_arena_alloc(&rollup->pending_arena, keys_count * sizeof(struct ab_value));
        if (group.values == NULL) {
            return AB_FULL;
        }
    }
    for (uint32_t k = 0; k < keys_count; k++) {
        group.values[k] = ab_group_store_key_value(from, words, k);
    }
    if (has_where) {
        return pending_add(rollup, group);
    }
    group_apply_all(rollup, &group, NULL);
    return memory_check(rollup);
}

ab_err ab_rollup_add_table(struct ab_rollup *rollup, const struct ab_group_table *table)
{
    /* The table may come from another version of the catalog that holds the same definition. */
    AB_ASSERT(table->aggregation->view->uid == rollup->query->view->uid);
    AB_TRY(ab_rollup_flush(rollup));
    struct ab_group_pins pins;
    ab_group_pins_init(&pins, rollup->query, &table->store, rollup->pane_first, rollup->pane_last);
    ab_err err = AB_OK;
    for (size_t entry = 0; err == AB_OK && ab_group_pins_next(&pins, &entry);) {
        err = entry_add(rollup, &table->store, entry);
    }
    ab_group_pins_fini(&pins);
    return err == AB_OK ? ab_rollup_flush(rollup) : err;
}

size_t ab_rollup_count(const struct ab_rollup *rollup)
{
    return rollup->store.entries_count;
}

/* ---- between places ---- */

ab_err ab_rollup_encode(struct ab_rollup *rollup, struct ab_buffer *out)
{
    AB_TRY(ab_rollup_flush(rollup));
    struct ab_buffer part = {0};
    ab_buffer_put_u8(out, ROLLUP_FORMAT);
    for (size_t entry = 0; entry < rollup->store.entries_count && !out->has_failed; entry++) {
        ab_buffer_clear(&part);
        ab_group_store_key_put(&rollup->store, entry, &part);
        ab_buffer_put_blob(out, ab_buffer_view(&part));
        ab_group_store_row_encode(&rollup->store, entry, &part);
        ab_buffer_put_blob(out, ab_buffer_view(&part));
    }
    ab_buffer_fini(&part);
    return ab_buffer_finish(out);
}

static ab_err merge_one(struct ab_rollup *rollup, struct ab_bytes key, struct ab_bytes row)
{
    struct ab_group_store *store = &rollup->store;
    struct ab_value values[AB_CATALOG_KEYS_MAX];
    struct ab_reader reader = ab_reader_of(key);
    ab_arena_reset(&rollup->pending_arena);
    for (uint32_t k = 0; k < rollup->keys_count; k++) {
        const struct ab_group_store_key *expected = &store->layout.keys[k];
        AB_TRY(ab_key_take(&reader, expected->type, &rollup->pending_arena, &values[k]));
        if (values[k].is_null && expected->is_not_null) {
            return AB_CORRUPT;
        }
    }
    if (reader.has_failed || ab_reader_left(&reader) != sizeof(int64_t)) {
        return AB_CORRUPT;
    }
    ab_time_us mark = ab_key_take_i64(&reader);
    if (rollup->window.kind == AB_WINDOW_NONE && mark != 0) {
        return AB_CORRUPT;
    }
    if (!is_shown(rollup, mark)) {
        return AB_OK; /* speed does not know what a version has forgotten */
    }
    AB_TRY(ab_group_row_split(
        row, rollup->aggregation->primitives, rollup->listed, rollup->listed_count, rollup->payloads));
    uint64_t words[AB_GROUP_WORDS_MAX];
    uint32_t entry;
    ab_group_store_key_words(store, values, mark, words);
    ab_group_store_find(store, words, 1, &entry);
    for (uint32_t i = 0; i < rollup->listed_count; i++) {
        ab_group_store_absorb(store, entry, i, rollup->payloads[i]);
    }
    return memory_check(rollup);
}

ab_err ab_rollup_merge(struct ab_rollup *rollup, struct ab_bytes rows)
{
    AB_TRY(ab_rollup_flush(rollup));
    struct ab_reader reader = ab_reader_of(rows);
    if (ab_reader_u8(&reader) != ROLLUP_FORMAT || reader.has_failed) {
        return AB_CORRUPT;
    }
    while (ab_reader_left(&reader) > 0) {
        struct ab_bytes key = ab_reader_blob(&reader);
        struct ab_bytes row = ab_reader_blob(&reader);
        if (reader.has_failed) {
            return AB_CORRUPT;
        }
        AB_TRY(merge_one(rollup, key, row));
    }
    return ab_reader_finish(&reader);
}
