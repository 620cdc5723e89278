#include "common/aggregate/group_store.h"

#include "common/aggregate/state_row_read.h"
#include "common/base/assert.h"
#include "common/base/random.h"
#include "common/block/key.h"

#include <sys/mman.h>

#define INDEX_FIRST 256u
#define ENTRIES_FIRST 64u
/* How far ahead of the comparison an entry is fetched. */
#define PREFETCH_AHEAD 24u
/* Entries of fewer bytes together are in a near cache anyway. */
#define NEAR_BYTES ((size_t)128 << 10)
#define CACHE_LINE_BYTES 64u
/* Tables from this size on ask for huge pages: random rows would miss the address cache more than the memory cache. */
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define HUGE_FROM_BYTES (2 * HUGE_PAGE_BYTES)

static void layout_init(
    struct ab_group_layout *layout, const struct ab_group_store_key *keys, uint32_t keys_count, bool has_pane)
{
    AB_ASSERT(keys_count <= AB_CATALOG_KEYS_MAX);
    *layout = (struct ab_group_layout){.keys_count = keys_count, .has_pane = has_pane};
    layout->words_count = has_pane ? 1 : 0;
    for (uint32_t k = 0; k < keys_count; k++) {
        layout->has_nulls |= !keys[k].is_not_null;
    }
    if (layout->has_nulls) {
        layout->null_word = layout->words_count++;
    }
    for (uint32_t k = 0; k < keys_count; k++) {
        layout->keys[k] = keys[k];
        layout->key_words[k] = layout->words_count;
        layout->words_count += keys[k].type.kind == AB_TYPE_DECIMAL ? 2 : 1;
    }
    layout->entry_bytes = layout->words_count * (uint32_t)sizeof(uint64_t);
}

/* The common kinds first, as primitive_walk.c wants them. */
static uint32_t kind_rank(enum ab_primitive_kind kind)
{
    static const enum ab_primitive_kind first[] = {
        AB_PRIMITIVE_COUNT, AB_PRIMITIVE_SUM_DOUBLE, AB_PRIMITIVE_MIN, AB_PRIMITIVE_MAX};
    uint32_t rank = 0;
    while (rank < sizeof first / sizeof first[0] && first[rank] != kind) {
        rank++;
    }
    return rank;
}

/* Whether primitive `a` stands before `b` in an entry: the first listed one first, those of one feed side by side, the
 * common kinds before others. */
static bool stands_before(const struct ab_plan_primitive *plans, const uint32_t *listed, uint32_t a, uint32_t b)
{
    const struct ab_plan_primitive *first = &plans[listed[a]];
    const struct ab_plan_primitive *second = &plans[listed[b]];
    if (a == 0 || b == 0) {
        return a == 0;
    }
    if (first->feed != second->feed) {
        return first->feed < second->feed;
    }
    uint32_t rank = kind_rank(first->kind);
    uint32_t other = kind_rank(second->kind);
    return rank != other ? rank < other : a < b;
}

/* Gives every primitive's state its place in an entry, after the key words. */
static void states_place(struct ab_group_store *store, const struct ab_plan_primitive *plans, const uint32_t *listed)
{
    uint32_t count = store->layout.primitives_count;
    uint32_t states_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t before = 0;
        for (uint32_t other = 0; other < count; other++) {
            if (other != i && stands_before(plans, listed, other, i)) {
                before += (uint32_t)store->ops[other]->state_bytes(plans[listed[other]].type);
            }
        }
        store->offsets[i] = store->layout.entry_bytes + before;
        states_bytes += (uint32_t)store->ops[i]->state_bytes(plans[listed[i]].type);
    }
    store->layout.entry_bytes += states_bytes;
}

void ab_group_store_init(struct ab_group_store *store, const struct ab_group_store_key *keys, uint32_t keys_count,
    bool has_pane, const struct ab_plan_primitive *plans, const uint32_t *listed, uint32_t listed_count,
    struct ab_memory *memory)
{
    memset(store, 0, sizeof(*store));
    ab_memory_init(&store->memory, 0, memory);
    layout_init(&store->layout, keys, keys_count, has_pane);
    store->seed = ab_random_id();
    ab_text_pool_init(&store->texts, &store->memory, store->seed);
    store->layout.primitives_count = listed_count;
    store->ops = ab_new_array(const struct ab_primitive_ops *, listed_count);
    store->contexts = ab_new_array(struct ab_primitive_context, listed_count);
    store->offsets = ab_new_array(uint32_t, listed_count);
    for (uint32_t i = 0; i < listed_count; i++) {
        const struct ab_plan_primitive *plan = &plans[listed[i]];
        store->ops[i] = ab_primitive_ops_of((uint8_t)plan->kind);
        store->contexts[i] = ab_plan_context(plan, &store->memory);
        store->has_out_of_line |= store->ops[i]->release != NULL;
    }
    states_place(store, plans, listed);
}

static void states_release(struct ab_group_store *store)
{
    if (!store->has_out_of_line) {
        return;
    }
    for (size_t entry = 0; entry < store->entries_count; entry++) {
        for (uint32_t i = 0; i < store->layout.primitives_count; i++) {
            if (store->ops[i]->release != NULL) {
                store->ops[i]->release(&store->contexts[i], ab_group_store_state(store, entry, i));
            }
        }
    }
}

void ab_group_store_clear(struct ab_group_store *store)
{
    states_release(store);
    ab_text_pool_clear(&store->texts);
    store->entries_count = 0;
    if (store->index != NULL) {
        memset(store->index, 0, store->index_count * sizeof(*store->index));
    }
    for (uint32_t i = 0; i < store->layout.primitives_count; i++) {
        store->contexts[i].has_base = false;
        store->contexts[i].base = 0;
    }
}

void ab_group_store_fini(struct ab_group_store *store)
{
    states_release(store);
    ab_text_pool_fini(&store->texts);
    ab_memory_free(&store->memory, store->index, store->index_count * sizeof(*store->index));
    ab_memory_free(&store->memory, store->entries, store->entries_capacity * store->layout.entry_bytes);
    ab_delete(store->ops);
    ab_delete(store->contexts);
    ab_delete(store->offsets);
    memset(store, 0, sizeof(*store));
}

/* ---- finding ---- */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    ab_uint128 product = (ab_uint128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* After wyhash (Wang Yi): two words a multiplication, folded. Seeded at random per store, on both sides of the product,
 * so that no word known beforehand makes a factor 0; nothing outside depends on it. */
static inline uint32_t words_hash(const uint64_t *words, uint32_t count, uint64_t seed)
{
    uint64_t other = seed + UINT64_C(0x9e3779b97f4a7c15);
    uint64_t hash = seed;
    uint32_t i = 0;
    for (; i + 1 < count; i += 2) {
        hash = mix(hash ^ words[i], other ^ words[i + 1]);
    }
    if (i < count) {
        hash = mix(hash ^ words[i], other);
    }
    return (uint32_t)(mix(hash, UINT64_C(0xa0761d6478bd642f)) >> 32);
}

/* Zeroed memory of a table, charged past the limit. */
static void *table_alloc(struct ab_group_store *store, size_t bytes)
{
    uint8_t *table = ab_memory_alloc_total(&store->memory, bytes);
    if (bytes >= HUGE_FROM_BYTES) {
        size_t skipped = (size_t)(-(uintptr_t)table & (HUGE_PAGE_BYTES - 1));
        (void)madvise(table + skipped, (bytes - skipped) & ~(HUGE_PAGE_BYTES - 1), MADV_HUGEPAGE); /* only a wish */
    }
    return table;
}

static void index_grow(struct ab_group_store *store)
{
    size_t count = store->index_count == 0 ? INDEX_FIRST : store->index_count * 2;
    uint64_t *index = table_alloc(store, count * sizeof(*index));
    for (size_t i = 0; i < store->index_count; i++) {
        if (store->index[i] == 0) {
            continue;
        }
        size_t slot = (size_t)(store->index[i] >> 32) & (count - 1);
        while (index[slot] != 0) {
            slot = (slot + 1) & (count - 1);
        }
        index[slot] = store->index[i];
    }
    ab_memory_free(&store->memory, store->index, store->index_count * sizeof(*index));
    store->index = index;
    store->index_count = count;
}

static void entries_grow(struct ab_group_store *store)
{
    size_t old = store->entries_capacity;
    size_t capacity = old == 0 ? ENTRIES_FIRST : old + old / 2;
    AB_ASSERT(capacity < UINT32_MAX);
    uint8_t *entries = table_alloc(store, capacity * store->layout.entry_bytes);
    if (old > 0) {
        memcpy(entries, store->entries, old * store->layout.entry_bytes);
    }
    ab_memory_free(&store->memory, store->entries, old * store->layout.entry_bytes);
    store->entries = entries;
    store->entries_capacity = capacity;
}

static __attribute__((noinline)) uint32_t entry_add(
    struct ab_group_store *store, const uint64_t *words, uint32_t hash, size_t slot)
{
    if (store->entries_count == store->entries_capacity) {
        entries_grow(store);
    }
    size_t entry = store->entries_count++;
    uint8_t *at = store->entries + entry * store->layout.entry_bytes;
    size_t key_bytes = store->layout.words_count * sizeof(uint64_t);
    memcpy(at, words, key_bytes);
    memset(at + key_bytes, 0, store->layout.entry_bytes - key_bytes);
    store->index[slot] = (uint64_t)hash << 32 | (entry + 1);
    return (uint32_t)entry;
}

static inline bool words_equal(const uint64_t *a, const uint64_t *b, uint32_t count)
{
    uint64_t difference = 0;
    for (uint32_t i = 0; i < count; i++) {
        difference |= a[i] ^ b[i];
    }
    return difference == 0;
}

static inline __attribute__((always_inline)) uint32_t entry_find(
    struct ab_group_store *store, const uint64_t *words, uint32_t words_count, uint32_t hash)
{
    size_t mask = store->index_count - 1;
    size_t slot = (size_t)hash & mask;
    for (;; slot = (slot + 1) & mask) {
        uint64_t held = store->index[slot];
        if (held == 0) {
            return entry_add(store, words, hash, slot);
        }
        uint32_t entry = (uint32_t)held - 1;
        if ((uint32_t)(held >> 32) == hash && words_equal(ab_group_store_words(store, entry), words, words_count)) {
            return entry;
        }
    }
}

static inline void entry_prefetch(const struct ab_group_store *store, uint32_t hash)
{
    uint64_t held = store->index[(size_t)hash & (store->index_count - 1)];
    if (held == 0) {
        return;
    }
    uintptr_t at = (uintptr_t)(store->entries + (size_t)((uint32_t)held - 1) * store->layout.entry_bytes);
    uintptr_t end = at + store->layout.entry_bytes;
    for (uintptr_t line = at & ~(uintptr_t)(CACHE_LINE_BYTES - 1); line < end; line += CACHE_LINE_BYTES) {
        __builtin_prefetch((const void *)line, 1);
    }
}

static inline __attribute__((always_inline)) void batch_find(
    struct ab_group_store *store, const uint64_t *words, uint32_t words_count, size_t count, uint32_t *entries)
{
    uint32_t hashes[AB_GROUP_BATCH_ROWS];
    size_t mask = store->index_count - 1;
    for (size_t i = 0; i < count; i++) {
        hashes[i] = words_hash(words + i * words_count, words_count, store->seed);
        __builtin_prefetch(&store->index[(size_t)hashes[i] & mask]);
    }
    size_t ahead = store->entries_count * store->layout.entry_bytes < NEAR_BYTES ? count : PREFETCH_AHEAD;
    for (size_t i = 0; ahead < count && i < ahead; i++) {
        entry_prefetch(store, hashes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (i + ahead < count) {
            entry_prefetch(store, hashes[i + ahead]);
        }
        entries[i] = entry_find(store, words + i * words_count, words_count, hashes[i]);
    }
}

void ab_group_store_find(struct ab_group_store *store, const uint64_t *words, size_t count, uint32_t *entries)
{
    AB_ASSERT(count <= AB_GROUP_BATCH_ROWS);
    while (store->index_count < 2 * (store->entries_count + count)) {
        index_grow(store);
    }
    /* Few words are the rule: with their number a constant, hashing and comparing are straight code. */
    switch (store->layout.words_count) {
    case 1:
        batch_find(store, words, 1, count, entries);
        break;
    case 2:
        batch_find(store, words, 2, count, entries);
        break;
    case 3:
        batch_find(store, words, 3, count, entries);
        break;
    default:
        batch_find(store, words, store->layout.words_count, count, entries);
        break;
    }
}

/* ---- keys ---- */

/* Words of a value that is neither NULL nor text. */
static void plain_words(const struct ab_value *value, uint64_t *word)
{
    switch ((enum ab_type_kind)value->type.kind) {
    case AB_TYPE_BOOLEAN:
        word[0] = value->boolean;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        word[0] = (uint64_t)value->bigint;
        break;
    case AB_TYPE_DOUBLE: {
        double number = value->real == 0.0 ? 0.0 : value->real != value->real ? __builtin_nan("") : value->real;
        memcpy(word, &number, sizeof(number));
        break;
    }
    case AB_TYPE_DECIMAL:
        memcpy(word, &value->decimal, sizeof(value->decimal));
        break;
    case AB_TYPE_TEXT:
        AB_UNREACHABLE();
    }
}

void ab_group_store_key_words(
    struct ab_group_store *store, const struct ab_value *values, ab_time_us pane_start_us, uint64_t *words)
{
    const struct ab_group_layout *layout = &store->layout;
    memset(words, 0, layout->words_count * sizeof(*words));
    if (layout->has_pane) {
        words[0] = (uint64_t)pane_start_us;
    }
    for (uint32_t k = 0; k < layout->keys_count; k++) {
        uint64_t *word = &words[layout->key_words[k]];
        const struct ab_value *value = &values[k];
        if (value->is_null) {
            AB_ASSERT(layout->has_nulls);
            words[layout->null_word] |= UINT64_C(1) << k;
            continue;
        }
        if (layout->keys[k].type.kind == AB_TYPE_TEXT) {
            word[0] = ab_text_pool_number(&store->texts, value->text);
        } else {
            plain_words(value, word);
        }
    }
}

bool ab_group_store_value_words(
    const struct ab_group_store *store, uint32_t k, const struct ab_value *value, uint64_t *words)
{
    if (store->layout.keys[k].type.kind == AB_TYPE_TEXT) {
        uint32_t number = 0;
        bool is_known = ab_text_pool_find(&store->texts, value->text, &number);
        words[0] = number;
        return is_known;
    }
    plain_words(value, words);
    return true;
}

bool ab_group_store_look_up(const struct ab_group_store *store, const uint64_t *words, size_t *entry)
{
    uint32_t count = store->layout.words_count;
    if (store->index_count == 0) {
        return false;
    }
    uint32_t hash = words_hash(words, count, store->seed);
    size_t mask = store->index_count - 1;
    for (size_t slot = (size_t)hash & mask; store->index[slot] != 0; slot = (slot + 1) & mask) {
        uint32_t held = (uint32_t)store->index[slot] - 1;
        if ((uint32_t)(store->index[slot] >> 32) == hash &&
            words_equal(ab_group_store_words(store, held), words, count)) {
            *entry = held;
            return true;
        }
    }
    return false;
}

struct ab_value ab_group_store_key_value(const struct ab_group_store *store, const uint64_t *words, uint32_t k)
{
    const struct ab_group_layout *layout = &store->layout;
    struct ab_value value = {.type = layout->keys[k].type};
    const uint64_t *word = &words[layout->key_words[k]];
    if (ab_group_layout_is_null(layout, words, k)) {
        value.is_null = true;
        return value;
    }
    switch ((enum ab_type_kind)value.type.kind) {
    case AB_TYPE_BOOLEAN:
        value.boolean = word[0] != 0;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        value.bigint = (int64_t)word[0];
        break;
    case AB_TYPE_DOUBLE:
        memcpy(&value.real, word, sizeof(value.real));
        break;
    case AB_TYPE_DECIMAL:
        memcpy(&value.decimal, word, sizeof(value.decimal));
        break;
    case AB_TYPE_TEXT:
        value.text = ab_text_pool_at(&store->texts, (uint32_t)word[0]);
        break;
    }
    return value;
}

void ab_group_store_key_put(const struct ab_group_store *store, size_t entry, struct ab_buffer *out)
{
    const uint64_t *words = ab_group_store_words(store, entry);
    for (uint32_t k = 0; k < store->layout.keys_count; k++) {
        struct ab_value value = ab_group_store_key_value(store, words, k);
        ab_key_put(out, &value);
    }
    ab_key_put_i64(out, ab_group_store_pane(store, words));
}

/* ---- rows ---- */

void ab_group_store_row_encode(const struct ab_group_store *store, size_t entry, struct ab_buffer *out)
{
    ab_buffer_clear(out);
    ab_state_row_begin(out, store->layout.primitives_count);
    for (uint32_t i = 0; i < store->layout.primitives_count; i++) {
        size_t start = ab_state_row_payload_begin(out, (uint8_t)store->contexts[i].kind);
        store->ops[i]->encode(&store->contexts[i], ab_group_store_state(store, entry, i), out);
        ab_state_row_payload_end(out, start);
    }
}

static bool has_head(struct ab_bytes payload, const struct ab_buffer *head)
{
    return head->bytes == 0 || payload.bytes == 0 ||
           (payload.bytes >= head->bytes && memcmp(payload.data, head->data, head->bytes) == 0);
}

ab_err ab_group_row_split(struct ab_bytes row, const struct ab_plan_primitive *plans, const uint32_t *listed,
    uint32_t listed_count, struct ab_bytes *payloads)
{
    struct ab_state_row_reader reader;
    AB_TRY(ab_state_row_open(row, &reader));
    if (reader.count != listed_count) {
        return AB_CORRUPT;
    }
    for (uint32_t i = 0; i < listed_count; i++) {
        const struct ab_plan_primitive *plan = &plans[listed[i]];
        uint8_t kind;
        uint8_t type_kind;
        AB_TRY(ab_state_row_take(&reader, &kind, &payloads[i]));
        if (kind != plan->kind) {
            return AB_CORRUPT;
        }
        AB_TRY(ab_primitive_ops_of(kind)->validate(payloads[i], &type_kind));
        if ((type_kind != 0 && type_kind != plan->type.kind) || !has_head(payloads[i], &plan->head)) {
            return AB_CORRUPT;
        }
    }
    return ab_reader_finish(&reader.reader);
}
