#include "common/aggregate/group_table.h"

#include "common/aggregate/group_key.h"
#include "common/aggregate/group_table_private.h"
#include "common/base/assert.h"

struct ab_group_table *ab_group_table_create(const struct ab_aggregation *aggregation, struct ab_memory *memory)
{
    struct ab_group_table *table = ab_new(struct ab_group_table);
    const struct ab_view *view = aggregation->view;
    struct ab_group_store_key keys[AB_CATALOG_KEYS_MAX];
    AB_ASSERT(view->keys_count <= AB_CATALOG_KEYS_MAX);
    for (uint32_t k = 0; k < view->keys_count; k++) {
        keys[k] = ab_group_store_key_of(view, k);
    }
    table->aggregation = aggregation;
    table->listed = ab_new_array(uint32_t, aggregation->primitives_count);
    for (uint32_t i = 0; i < aggregation->primitives_count; i++) {
        table->listed[i] = i;
    }
    table->payloads = ab_new_array(struct ab_bytes, aggregation->primitives_count);
    ab_group_store_init(&table->store, keys, view->keys_count, view->pane_us > 0, aggregation->primitives,
        table->listed, aggregation->primitives_count, memory);
    return table;
}

void ab_group_table_destroy(struct ab_group_table *table)
{
    if (table == NULL) {
        return;
    }
    ab_group_store_fini(&table->store);
    ab_arena_fini(&table->values);
    ab_delete(table->listed);
    ab_delete(table->payloads);
    ab_delete(table->stretches);
    ab_delete(table);
}

void ab_group_table_clear(struct ab_group_table *table)
{
    ab_group_store_clear(&table->store);
}

ab_err ab_group_table_merge_row(struct ab_group_table *table, struct ab_bytes key, struct ab_bytes row)
{
    const struct ab_aggregation *aggregation = table->aggregation;
    uint32_t count = aggregation->primitives_count;
    struct ab_value values[AB_CATALOG_KEYS_MAX];
    ab_time_us pane = 0;
    AB_TRY(ab_group_row_split(row, aggregation->primitives, table->listed, count, table->payloads));
    ab_arena_reset(&table->values);
    AB_TRY(ab_group_key_decode(aggregation->view, key, &table->values, values, &pane));
    uint64_t words[AB_GROUP_WORDS_MAX];
    uint32_t entry;
    ab_group_store_key_words(&table->store, values, pane, words);
    ab_group_store_find(&table->store, words, 1, &entry);
    for (uint32_t i = 0; i < count; i++) {
        ab_group_store_absorb(&table->store, entry, i, table->payloads[i]);
    }
    return AB_OK;
}

void ab_group_words_translate(const struct ab_group_store *from, size_t entry, const uint32_t *texts, uint64_t *words)
{
    const struct ab_group_layout *layout = &from->layout;
    memcpy(words, ab_group_store_words(from, entry), layout->words_count * sizeof(*words));
    for (uint32_t k = 0; k < layout->keys_count; k++) {
        if (layout->keys[k].type.kind == AB_TYPE_TEXT && !ab_group_layout_is_null(layout, words, k)) {
            words[layout->key_words[k]] = texts[words[layout->key_words[k]]];
        }
    }
}

void ab_group_table_merge_table(struct ab_group_table *into, const struct ab_group_table *from)
{
    AB_ASSERT(into->aggregation == from->aggregation && into != from);
    struct ab_group_store *store = &into->store;
    const struct ab_group_store *other = &from->store;
    size_t texts_bytes = other->texts.count * sizeof(uint32_t);
    uint32_t *texts = ab_memory_alloc_total(&store->memory, texts_bytes);
    for (uint32_t i = 0; i < other->texts.count; i++) {
        texts[i] = ab_text_pool_number(&store->texts, ab_text_pool_at(&other->texts, i));
    }
    for (size_t entry = 0; entry < other->entries_count; entry++) {
        uint64_t words[AB_GROUP_WORDS_MAX];
        uint32_t found;
        ab_group_words_translate(other, entry, texts, words);
        ab_group_store_find(store, words, 1, &found);
        for (uint32_t i = 0; i < store->layout.primitives_count; i++) {
            store->ops[i]->merge(&store->contexts[i], ab_group_store_state(store, found, i), &other->contexts[i],
                ab_group_store_state(other, entry, i));
        }
    }
    ab_memory_free(&store->memory, texts, texts_bytes);
}

size_t ab_group_table_count(const struct ab_group_table *table)
{
    return table->store.entries_count;
}

size_t ab_group_table_bytes(const struct ab_group_table *table)
{
    return ab_memory_used(&table->store.memory);
}

/* ---- cursor ---- */

struct ab_group_cursor {
    const struct ab_group_table *table; /* borrowed */
    struct ab_group_order order;
    struct ab_buffer row;
    size_t next;
};

struct ab_group_cursor *ab_group_cursor_open(const struct ab_group_table *table, struct ab_memory *memory)
{
    struct ab_group_cursor *cursor = ab_new(struct ab_group_cursor);
    cursor->table = table;
    ab_group_order_init(&cursor->order, &table->store, table->aggregation->view, memory);
    return cursor;
}

void ab_group_cursor_close(struct ab_group_cursor *cursor)
{
    if (cursor == NULL) {
        return;
    }
    ab_group_order_fini(&cursor->order);
    ab_buffer_fini(&cursor->row);
    ab_delete(cursor);
}

bool ab_group_cursor_next(struct ab_group_cursor *cursor, struct ab_bytes *key, struct ab_bytes *row)
{
    if (cursor->next == cursor->order.count) {
        return false;
    }
    *key = ab_group_order_key(&cursor->order, cursor->next);
    ab_group_store_row_encode(&cursor->table->store, cursor->order.entries[cursor->next], &cursor->row);
    *row = ab_buffer_view(&cursor->row);
    cursor->next++;
    return true;
}
