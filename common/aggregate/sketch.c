#include "common/aggregate/sketch.h"

#include "common/aggregate/state_row_read.h"
#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/block/key.h"

#define SET_CAPACITY_FIRST 8

uint64_t ab_sketch_varint(struct ab_reader *reader)
{
    const uint8_t *at = reader->at;
    uint64_t number = ab_reader_varint(reader);
    if (!reader->has_failed && !ab_state_row_varint_is_short(number, (size_t)(reader->at - at))) {
        reader->has_failed = true;
    }
    return reader->has_failed ? 0 : number;
}

double ab_sketch_number(const struct ab_column *column, uint32_t row)
{
    if (column->type.kind == AB_TYPE_DOUBLE) {
        return ((const double *)column->values)[row];
    }
    if (column->type.kind == AB_TYPE_DECIMAL) {
        ab_int128 units;
        memcpy(&units, (const uint8_t *)column->values + (size_t)row * sizeof(units), sizeof(units));
        return (double)units;
    }
    return (double)((const int64_t *)column->values)[row];
}

uint64_t ab_sketch_row_hash(const struct ab_primitive_identity *identity, uint32_t row)
{
    uint64_t words[3] = {
        identity->partition,
        identity->offsets == NULL ? identity->offset : (uint64_t)identity->offsets[row],
        identity->ordinals == NULL ? row : (uint64_t)identity->ordinals[row],
    };
    return ab_hash64(AB_HASH_ROW, ab_bytes_of(words, sizeof(words)));
}

uint64_t ab_sketch_cell_hash(uint8_t type_kind, const union ab_cell *cell, struct ab_buffer *key)
{
    struct ab_value value = ab_cell_value((struct ab_type){.kind = type_kind}, cell);
    return ab_sketch_value_hash(&value, key);
}

uint64_t ab_sketch_value_hash(const struct ab_value *value, struct ab_buffer *key)
{
    ab_buffer_clear(key);
    ab_key_put(key, value);
    uint64_t hash = ab_hash64(AB_HASH_SKETCH, ab_buffer_view(key));
    return hash == 0 ? 1 : hash;
}

static void heap_sink(uint64_t *numbers, size_t at, size_t count)
{
    uint64_t number = numbers[at];
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        child += child + 1 < count && numbers[child + 1] > numbers[child];
        if (numbers[child] <= number) {
            break;
        }
        numbers[at] = numbers[child];
        at = child;
    }
    numbers[at] = number;
}

void ab_sketch_sort(uint64_t *numbers, size_t count)
{
    for (size_t i = count / 2; i > 0; i--) {
        heap_sink(numbers, i - 1, count);
    }
    for (size_t left = count; left > 1; left--) {
        uint64_t greatest = numbers[0];
        numbers[0] = numbers[left - 1];
        numbers[left - 1] = greatest;
        heap_sink(numbers, 0, left - 1);
    }
}

/* ---- sets of hashes ---- */

static inline uint64_t *set_place(uint64_t *hashes, uint32_t capacity, uint64_t hash)
{
    uint32_t mask = capacity - 1;
    uint32_t place = (uint32_t)hash & mask;
    while (hashes[place] != 0 && hashes[place] != hash) {
        place = (place + 1) & mask;
    }
    return &hashes[place];
}

/* Makes room for one more: three quarters full at most. */
static void set_grow(struct ab_hash_set *set, struct ab_memory *memory)
{
    uint32_t capacity = set->capacity == 0 ? SET_CAPACITY_FIRST : set->capacity * 2;
    AB_ASSERT(capacity != 0);
    uint64_t *hashes = ab_memory_alloc_total(memory, capacity * sizeof(uint64_t));
    for (uint32_t i = 0; i < set->capacity; i++) {
        if (set->hashes[i] != 0) {
            *set_place(hashes, capacity, set->hashes[i]) = set->hashes[i];
        }
    }
    ab_memory_free(memory, set->hashes, set->capacity * sizeof(uint64_t));
    set->hashes = hashes;
    set->capacity = capacity;
}

bool ab_hash_set_add(struct ab_hash_set *set, uint64_t hash, struct ab_memory *memory)
{
    if ((uint64_t)set->count * 4 >= (uint64_t)set->capacity * 3) {
        set_grow(set, memory);
    }
    uint64_t *place = set_place(set->hashes, set->capacity, hash);
    if (*place == hash) {
        return false;
    }
    *place = hash;
    set->count++;
    return true;
}

bool ab_hash_set_has(const struct ab_hash_set *set, uint64_t hash)
{
    return set->count > 0 && *set_place(set->hashes, set->capacity, hash) == hash;
}

void ab_hash_set_list(const struct ab_hash_set *set, uint64_t *hashes)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < set->capacity; i++) {
        if (set->hashes[i] != 0) {
            hashes[count++] = set->hashes[i];
        }
    }
    ab_sketch_sort(hashes, count);
}

void ab_hash_set_free(struct ab_hash_set *set, struct ab_memory *memory)
{
    ab_memory_free(memory, set->hashes, set->capacity * sizeof(uint64_t));
    *set = (struct ab_hash_set){0};
}

ab_err ab_hash_set_validate(struct ab_bytes bytes, size_t count_max)
{
    size_t count = bytes.bytes / sizeof(uint64_t);
    if (bytes.bytes % sizeof(uint64_t) != 0 || count == 0 || count > count_max) {
        return AB_CORRUPT;
    }
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = ab_hash_set_at(bytes.data, i);
        if (hash <= before) {
            return AB_CORRUPT;
        }
        before = hash;
    }
    return AB_OK;
}
