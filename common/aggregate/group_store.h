/* group_store: a hash table from fixed-width key words to entries that hold states in place; for this folder alone.
 *
 * A key is words: [pane start, if the layout has panes][mask of NULL keys, if any can be NULL][keys: one word, DECIMAL
 * two; TEXT as the number of a string kept once]. An entry is the words, then the states of the primitives. Entries
 * stand in one array in order of arrival; an index of (32 bits of hash, entry) at most half full leads to them, so
 * growth moves no states and walking needs no index.
 *
 * Memory: everything is charged past the limit to a budget of its own inside the one given. Threads: as group_table.h.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_GROUP_STORE_H
#define ANABRANCH_COMMON_AGGREGATE_GROUP_STORE_H

#include "common/aggregate/plan.h"
#include "common/aggregate/text_pool.h"

/* Keys are hashed and found in batches of at most this many rows: what a batch touches stays in the first cache. */
#define AB_GROUP_BATCH_ROWS 256u
/* Pane word, NULL mask and keys of two words each. */
#define AB_GROUP_WORDS_MAX (2 + 2 * AB_CATALOG_KEYS_MAX)

struct ab_group_store_key {
    struct ab_type type;
    bool is_not_null;
};

/* What the groups of a store look like. */
struct ab_group_layout {
    uint32_t keys_count;
    struct ab_group_store_key keys[AB_CATALOG_KEYS_MAX];
    uint32_t key_words[AB_CATALOG_KEYS_MAX]; /* first word of each key */
    bool has_pane;
    bool has_nulls;     /* some key can be NULL */
    uint32_t null_word; /* place of the mask of NULL keys; unused when none can be */
    uint32_t words_count;
    uint32_t primitives_count;
    uint32_t entry_bytes;
};

struct ab_group_store {
    struct ab_memory memory; /* of this store, inside the owner's */
    struct ab_group_layout layout;
    const struct ab_primitive_ops **ops;   /* owned; by primitive */
    struct ab_primitive_context *contexts; /* owned; by primitive */
    uint32_t *offsets;                     /* owned; of the states in an entry, in bytes */
    bool has_out_of_line;                  /* some primitive keeps memory elsewhere */
    struct ab_text_pool texts;
    uint64_t seed;
    uint64_t *index; /* owned; hash << 32 | 1 + entry, 0 = free */
    size_t index_count;
    uint8_t *entries; /* owned */
    size_t entries_count;
    size_t entries_capacity;
};

/* An empty store whose groups have these keys and the primitives listed (indexes into plans). `memory` may be NULL. */
void ab_group_store_init(struct ab_group_store *store, const struct ab_group_store_key *keys, uint32_t keys_count,
    bool has_pane, const struct ab_plan_primitive *plans, const uint32_t *listed, uint32_t listed_count,
    struct ab_memory *memory);
void ab_group_store_fini(struct ab_group_store *store);

/* Empties it and keeps its memory. */
void ab_group_store_clear(struct ab_group_store *store);

/* An entry's key words, and a state in it. */
static inline const uint64_t *ab_group_store_words(const struct ab_group_store *store, size_t entry)
{
    return (const uint64_t *)(const void *)(store->entries + entry * store->layout.entry_bytes);
}
static inline void *ab_group_store_state(const struct ab_group_store *store, size_t entry, uint32_t primitive)
{
    return store->entries + entry * store->layout.entry_bytes + store->offsets[primitive];
}

/* Finds or makes the entries of `count` <= AB_GROUP_BATCH_ROWS keys of words_count words each; entries[i] is the
 * i-th's. */
void ab_group_store_find(struct ab_group_store *store, const uint64_t *words, size_t count, uint32_t *entries);

/* Whether key k is NULL in key words. */
static inline bool ab_group_layout_is_null(const struct ab_group_layout *layout, const uint64_t *words, uint32_t k)
{
    return layout->has_nulls && (words[layout->null_word] >> k & 1) != 0;
}

/* A key of the store made of a view's. */
static inline struct ab_group_store_key ab_group_store_key_of(const struct ab_view *view, uint32_t k)
{
    const struct ab_view_key *key = &view->keys[k];
    return (struct ab_group_store_key){
        .type = key->type, .is_not_null = view->stream->columns[key->column].is_not_null};
}

/* Makes key words of values, of which those that cannot be NULL are not; text is interned. */
void ab_group_store_key_words(
    struct ab_group_store *store, const struct ab_value *values, ab_time_us pane_start_us, uint64_t *words);

/* Key words of one value that is not NULL, without making anything; false for text that the store does not have. */
bool ab_group_store_value_words(
    const struct ab_group_store *store, uint32_t k, const struct ab_value *value, uint64_t *words);

/* Finds the entry of whole key words; false when there is none. */
bool ab_group_store_look_up(const struct ab_group_store *store, const uint64_t *words, size_t *entry);

/* Value of key k in key words; text borrowed from the store. */
struct ab_value ab_group_store_key_value(const struct ab_group_store *store, const uint64_t *words, uint32_t k);

/* Pane start in key words, 0 without panes. */
static inline ab_time_us ab_group_store_pane(const struct ab_group_store *store, const uint64_t *words)
{
    return store->layout.has_pane ? (ab_time_us)words[0] : 0;
}

/* Appends the keys, memcomparable, then the pane start (8 bytes): a group key without its chunk. */
void ab_group_store_key_put(const struct ab_group_store *store, size_t entry, struct ab_buffer *out);

/* Replaces `out` by the encoded row of an entry. */
void ab_group_store_row_encode(const struct ab_group_store *store, size_t entry, struct ab_buffer *out);

/* Splits and validates an encoded row of exactly these primitives into payloads. AB_CORRUPT. */
AB_MUST_USE ab_err ab_group_row_split(struct ab_bytes row, const struct ab_plan_primitive *plans,
    const uint32_t *listed, uint32_t listed_count, struct ab_bytes *payloads);

/* Merges a validated payload into a state. */
static inline void ab_group_store_absorb(
    struct ab_group_store *store, size_t entry, uint32_t primitive, struct ab_bytes payload)
{
    store->ops[primitive]->absorb(&store->contexts[primitive], ab_group_store_state(store, entry, primitive), payload);
}

/* Orders the entries by their keys as ab_group_store_key_put writes them, after `chunk_of(pane)` when given. *order is
 * allocated past the limit from `memory`: entries_count places of 4 bytes. */
struct ab_group_order {
    uint32_t *entries;     /* owned */
    struct ab_buffer keys; /* owned; all keys, one after the other, by entry */
    size_t *ends;          /* owned; end of each entry's key */
    size_t count;          /* a caller may leave fewer of them */
    size_t places;         /* of entries and ends */
    struct ab_memory *memory;
};
void ab_group_order_init(struct ab_group_order *order, const struct ab_group_store *store, const struct ab_view *view,
    struct ab_memory *memory);
void ab_group_order_fini(struct ab_group_order *order);

/* Key of the i-th entry in order. */
static inline struct ab_bytes ab_group_order_key(const struct ab_group_order *order, size_t i)
{
    uint32_t entry = order->entries[i];
    size_t start = entry == 0 ? 0 : order->ends[entry - 1];
    return ab_bytes_of(order->keys.data + start, order->ends[entry] - start);
}

#endif
