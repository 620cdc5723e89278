/* Sorting the groups of a store by their encoded keys: what the cursor and results without ORDER BY walk. */
#include "common/aggregate/group_key.h"
#include "common/aggregate/group_store.h"

/* Below this many keys comparing beats counting. */
#define FEW 48u

/* An entry and the eight key bytes that are looked at now. */
struct sort_item {
    uint64_t prefix;
    uint32_t entry;
};

struct sorter {
    const struct ab_group_order *order;
    struct sort_item *items;
    struct sort_item *spare;
};

static struct ab_bytes key_of(const struct ab_group_order *order, uint32_t entry)
{
    size_t start = entry == 0 ? 0 : order->ends[entry - 1];
    return ab_bytes_of(order->keys.data + start, order->ends[entry] - start);
}

static uint64_t prefix_at(struct ab_bytes key, size_t depth)
{
    uint64_t prefix = 0;
    if (depth < key.bytes) {
        size_t bytes = key.bytes - depth < sizeof(prefix) ? key.bytes - depth : sizeof(prefix);
        memcpy(&prefix, key.data + depth, bytes);
    }
    return __builtin_bswap64(prefix);
}

static void sort_few(struct sorter *sorter, size_t from, size_t until, size_t depth)
{
    struct sort_item *items = sorter->items;
    for (size_t i = from + 1; i < until; i++) {
        struct sort_item item = items[i];
        struct ab_bytes key = key_of(sorter->order, item.entry);
        struct ab_bytes tail = ab_bytes_of(key.data + depth, key.bytes - depth);
        size_t j = i;
        for (; j > from; j--) {
            struct ab_bytes other = key_of(sorter->order, items[j - 1].entry);
            if (ab_bytes_compare(ab_bytes_of(other.data + depth, other.bytes - depth), tail) <= 0) {
                break;
            }
            items[j] = items[j - 1];
        }
        items[j] = item;
    }
}

/* Bytes that all keys of the range share from `depth` on. */
static size_t common_bytes(const struct sorter *sorter, size_t from, size_t until, size_t depth)
{
    struct ab_bytes first = key_of(sorter->order, sorter->items[from].entry);
    size_t common = first.bytes - depth;
    for (size_t i = from + 1; i < until && common > 0; i++) {
        struct ab_bytes key = key_of(sorter->order, sorter->items[i].entry);
        size_t bytes = key.bytes - depth < common ? key.bytes - depth : common;
        size_t same = 0;
        while (same < bytes && key.data[depth + same] == first.data[depth + same]) {
            same++;
        }
        common = same;
    }
    return common;
}

/* Least significant byte first over the eight prefix bytes, leaving out those that do not differ. */
static __attribute__((noinline)) void sort_prefixes(struct sorter *sorter, size_t from, size_t until)
{
    struct sort_item *items = sorter->items + from;
    struct sort_item *spare = sorter->spare + from;
    size_t count = until - from;
    uint64_t all = items[0].prefix;
    uint64_t any = items[0].prefix;
    for (size_t i = 1; i < count; i++) {
        all &= items[i].prefix;
        any |= items[i].prefix;
    }
    for (uint32_t shift = 0; shift < 64; shift += 8) {
        if (((all ^ any) >> shift & 0xff) == 0) {
            continue;
        }
        size_t starts[257] = {0};
        for (size_t i = 0; i < count; i++) {
            starts[(items[i].prefix >> shift & 0xff) + 1]++;
        }
        for (size_t i = 1; i < 257; i++) {
            starts[i] += starts[i - 1];
        }
        for (size_t i = 0; i < count; i++) {
            spare[starts[items[i].prefix >> shift & 0xff]++] = items[i];
        }
        memcpy(items, spare, count * sizeof(*items));
    }
}

/* Keys are at most a few hundred bytes of numbers and text; each level takes at least one byte off the longest, and
 * text keys that share long beginnings take them off at once (common_bytes). */
static void sort_range(struct sorter *sorter, size_t from, size_t until, size_t depth)
{
    if (until - from < FEW) {
        sort_few(sorter, from, until, depth);
        return;
    }
    depth += common_bytes(sorter, from, until, depth);
    for (size_t i = from; i < until; i++) {
        sorter->items[i].prefix = prefix_at(key_of(sorter->order, sorter->items[i].entry), depth);
    }
    sort_prefixes(sorter, from, until);
    for (size_t start = from; start < until;) {
        size_t end = start + 1;
        while (end < until && sorter->items[end].prefix == sorter->items[start].prefix) {
            end++;
        }
        if (end - start > 1) {
            /* A key cannot end inside a shared prefix: no encoded key is the beginning of another. */
            sort_range(sorter, start, end, depth + sizeof(uint64_t));
        }
        start = end;
    }
}

void ab_group_order_init(struct ab_group_order *order, const struct ab_group_store *store, const struct ab_view *view,
    struct ab_memory *memory)
{
    size_t count = store->entries_count;
    *order = (struct ab_group_order){.count = count, .places = count, .memory = memory};
    order->entries = ab_memory_alloc_total(memory, count * sizeof(*order->entries));
    order->ends = ab_memory_alloc_total(memory, count * sizeof(*order->ends));
    for (size_t i = 0; i < count; i++) {
        if (view != NULL) {
            ab_time_us pane = ab_group_store_pane(store, ab_group_store_words(store, i));
            uint32_t chunk = __builtin_bswap32(ab_group_key_chunk(view, pane));
            ab_buffer_put(&order->keys, &chunk, sizeof(chunk));
        }
        ab_group_store_key_put(store, i, &order->keys);
        order->ends[i] = order->keys.bytes;
    }
    ab_memory_charge(memory, order->keys.capacity);
    struct sorter sorter = {.order = order};
    sorter.items = ab_memory_alloc_total(memory, count * sizeof(*sorter.items));
    sorter.spare = ab_memory_alloc_total(memory, count * sizeof(*sorter.spare));
    for (size_t i = 0; i < count; i++) {
        sorter.items[i].entry = (uint32_t)i;
    }
    sort_range(&sorter, 0, count, 0);
    for (size_t i = 0; i < count; i++) {
        order->entries[i] = sorter.items[i].entry;
    }
    ab_memory_free(memory, sorter.items, count * sizeof(*sorter.items));
    ab_memory_free(memory, sorter.spare, count * sizeof(*sorter.spare));
}

void ab_group_order_fini(struct ab_group_order *order)
{
    ab_memory_uncharge(order->memory, order->keys.capacity);
    ab_buffer_fini(&order->keys);
    ab_memory_free(order->memory, order->entries, order->places * sizeof(*order->entries));
    ab_memory_free(order->memory, order->ends, order->places * sizeof(*order->ends));
    *order = (struct ab_group_order){0};
}
