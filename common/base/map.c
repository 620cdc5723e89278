#include "common/base/map.h"

#include "common/base/hash.h"

#define SLOTS_FIRST 16
#define ENTRIES_MAX ((size_t)1 << 31)

/* One key in insertion order. */
struct map_entry {
    const uint8_t *key; /* in the arena; NULL once removed */
    size_t key_bytes;
    uint64_t hash;
    uint64_t value;
};

struct ab_map {
    struct ab_memory *memory;  /* borrowed; may be NULL */
    struct ab_arena keys;      /* owned */
    struct map_entry *entries; /* owned; room for slots_count / 2 */
    uint32_t *slots;           /* owned; 1 + index into entries, 0 = empty; removed entries keep their slot */
    size_t slots_count;        /* a power of two, or 0 */
    size_t entries_used;       /* removed ones included */
    size_t count;
};

/* Room for a table of some size, before it is put in place. */
struct map_tables {
    struct map_entry *entries;
    uint32_t *slots;
    size_t slots_count;
};

static size_t entries_bytes(size_t slots_count)
{
    return slots_count / 2 * sizeof(struct map_entry);
}

static void tables_free(struct ab_map *map, struct map_tables *tables)
{
    ab_memory_free(map->memory, tables->entries, entries_bytes(tables->slots_count));
    ab_memory_free(map->memory, tables->slots, tables->slots_count * sizeof(uint32_t));
}

struct ab_map *ab_map_create(struct ab_memory *memory)
{
    struct ab_map *map = ab_new(struct ab_map);
    map->memory = memory;
    ab_arena_init(&map->keys, memory, 1024);
    return map;
}

void ab_map_destroy(struct ab_map *map)
{
    if (map == NULL) {
        return;
    }
    struct map_tables tables = {map->entries, map->slots, map->slots_count};
    tables_free(map, &tables);
    ab_arena_fini(&map->keys);
    ab_delete(map);
}

/* Index of the slot that leads to the key, or of the empty slot where the search ends. Needs slots_count > 0. */
static size_t slot_find(const struct ab_map *map, struct ab_bytes key, uint64_t hash)
{
    size_t mask = map->slots_count - 1;
    size_t slot = (size_t)hash & mask;
    while (map->slots[slot] != 0) {
        const struct map_entry *entry = &map->entries[map->slots[slot] - 1];
        if (entry->key != NULL && entry->hash == hash &&
            ab_bytes_equal(ab_bytes_of(entry->key, entry->key_bytes), key)) {
            break;
        }
        slot = (slot + 1) & mask;
    }
    return slot;
}

static struct map_entry *entry_find(const struct ab_map *map, struct ab_bytes key)
{
    if (map->slots_count == 0) {
        return NULL;
    }
    size_t slot = slot_find(map, key, ab_hash64(AB_HASH_TABLE, key));
    return map->slots[slot] == 0 ? NULL : &map->entries[map->slots[slot] - 1];
}

bool ab_map_get(const struct ab_map *map, struct ab_bytes key, uint64_t *value)
{
    const struct map_entry *entry = entry_find(map, key);
    if (entry != NULL && value != NULL) {
        *value = entry->value;
    }
    return entry != NULL;
}

/* Copies the entries still there, and their keys into `keys` when some were removed, so that their bytes come back. */
static bool entries_move(const struct ab_map *map, struct map_tables *tables, struct ab_arena *keys)
{
    bool must_copy = map->count < map->entries_used;
    size_t mask = tables->slots_count - 1;
    size_t used = 0;
    for (size_t i = 0; i < map->entries_used; i++) {
        struct map_entry entry = map->entries[i];
        if (entry.key == NULL) {
            continue;
        }
        if (must_copy) {
            entry.key = ab_arena_copy(keys, ab_bytes_of(entry.key, entry.key_bytes)).data;
            if (entry.key == NULL) {
                return false;
            }
        }
        tables->entries[used++] = entry;
        size_t slot = (size_t)entry.hash & mask;
        while (tables->slots[slot] != 0) {
            slot = (slot + 1) & mask;
        }
        tables->slots[slot] = (uint32_t)used;
    }
    return true;
}

/* Puts the entries into a table with room for at least as many again. */
static ab_err map_grow(struct ab_map *map)
{
    size_t slots_count = SLOTS_FIRST;
    while (slots_count / 4 < map->count + 1) {
        slots_count *= 2;
    }
    if (slots_count / 2 > ENTRIES_MAX) {
        return AB_FULL;
    }
    struct map_tables tables = {.slots_count = slots_count};
    struct ab_arena keys;
    ab_arena_init(&keys, map->memory, map->keys.chunk_bytes);
    tables.entries = ab_memory_alloc(map->memory, entries_bytes(slots_count));
    tables.slots = ab_memory_alloc(map->memory, slots_count * sizeof(uint32_t));
    if (tables.entries == NULL || tables.slots == NULL || !entries_move(map, &tables, &keys)) {
        tables_free(map, &tables);
        ab_arena_fini(&keys);
        return AB_FULL;
    }
    struct map_tables old = {map->entries, map->slots, map->slots_count};
    tables_free(map, &old);
    if (map->count < map->entries_used) {
        ab_arena_fini(&map->keys);
        map->keys = keys;
    }
    map->entries = tables.entries;
    map->slots = tables.slots;
    map->slots_count = slots_count;
    map->entries_used = map->count;
    return AB_OK;
}

ab_err ab_map_set(struct ab_map *map, struct ab_bytes key, uint64_t value)
{
    struct map_entry *entry = entry_find(map, key);
    if (entry != NULL) {
        entry->value = value;
        return AB_OK;
    }
    /* The key may be borrowed from this map: it is copied before growth frees anything. */
    struct ab_bytes copy = ab_bytes_of(NULL, 0);
    if (map->entries_used >= map->slots_count / 2) {
        struct ab_arena aside;
        ab_arena_init(&aside, map->memory, 16);
        copy = ab_arena_copy(&aside, key);
        ab_err err = copy.data == NULL ? AB_FULL : map_grow(map);
        if (err == AB_OK) {
            copy = ab_arena_copy(&map->keys, copy);
        }
        ab_arena_fini(&aside);
        AB_TRY(err);
    } else {
        copy = ab_arena_copy(&map->keys, key);
    }
    if (copy.data == NULL) {
        return AB_FULL;
    }
    uint64_t hash = ab_hash64(AB_HASH_TABLE, copy);
    size_t slot = slot_find(map, copy, hash);
    map->entries[map->entries_used++] =
        (struct map_entry){.key = copy.data, .key_bytes = copy.bytes, .hash = hash, .value = value};
    map->slots[slot] = (uint32_t)map->entries_used;
    map->count++;
    return AB_OK;
}

bool ab_map_remove(struct ab_map *map, struct ab_bytes key)
{
    struct map_entry *entry = entry_find(map, key);
    if (entry == NULL) {
        return false;
    }
    entry->key = NULL;
    map->count--;
    return true;
}

size_t ab_map_count(const struct ab_map *map)
{
    return map->count;
}

bool ab_map_next(const struct ab_map *map, size_t *cursor, struct ab_bytes *key, uint64_t *value)
{
    while (*cursor < map->entries_used) {
        const struct map_entry *entry = &map->entries[(*cursor)++];
        if (entry->key != NULL) {
            *key = ab_bytes_of(entry->key, entry->key_bytes);
            *value = entry->value;
            return true;
        }
    }
    return false;
}
