#include "common/block/column.h"

#include "common/base/assert.h"
#include "common/base/buffer.h"
#include "common/base/decimal.h"
#include "common/base/hash.h"

#define ROWS_FIRST 64u
#define ENTRIES_FIRST 32u
#define TEXT_BYTES_MAX (1u << 30)

struct ab_column_builder {
    struct ab_type type;
    size_t element_bytes;
    struct ab_memory *memory; /* borrowed; may be NULL */
    uint32_t rows_max, rows_count, rows_capacity;
    bool has_nulls;
    uint8_t *values; /* owned, rows_capacity elements */
    uint8_t *nulls;  /* owned, rows_capacity bytes */
    /* TEXT only */
    struct ab_buffer text;
    uint32_t entries_count, entries_capacity;
    uint32_t *ends;   /* owned, entries_capacity */
    uint32_t *hashes; /* owned, entries_capacity; kept so that growing touches no text */
    uint32_t *slots;  /* owned, 2 x entries_capacity, a power of two; code + 1, 0 = empty */
};

struct ab_column_builder *ab_column_builder_create(struct ab_type type, uint32_t rows_max, struct ab_memory *memory)
{
    struct ab_column_builder *builder = ab_new(struct ab_column_builder);
    builder->type = type;
    builder->element_bytes = ab_type_element_bytes(type);
    builder->memory = memory;
    builder->rows_max = rows_max;
    ab_buffer_init(&builder->text, memory, TEXT_BYTES_MAX);
    return builder;
}

void ab_column_builder_destroy(struct ab_column_builder *builder)
{
    if (builder == NULL) {
        return;
    }
    ab_memory_free(builder->memory, builder->values, builder->rows_capacity * builder->element_bytes);
    ab_memory_free(builder->memory, builder->nulls, builder->rows_capacity);
    ab_memory_free(builder->memory, builder->ends, builder->entries_capacity * sizeof(uint32_t));
    ab_memory_free(builder->memory, builder->hashes, builder->entries_capacity * sizeof(uint32_t));
    ab_memory_free(builder->memory, builder->slots, (size_t)builder->entries_capacity * 2 * sizeof(uint32_t));
    ab_buffer_fini(&builder->text);
    ab_delete(builder);
}

void ab_column_builder_clear(struct ab_column_builder *builder)
{
    builder->rows_count = 0;
    builder->has_nulls = false;
    builder->entries_count = 0;
    ab_buffer_clear(&builder->text);
    if (builder->slots != NULL) {
        memset(builder->slots, 0, (size_t)builder->entries_capacity * 2 * sizeof(uint32_t));
    }
}

static ab_err rows_grow(struct ab_column_builder *builder)
{
    uint64_t wanted = builder->rows_capacity == 0 ? ROWS_FIRST : (uint64_t)builder->rows_capacity * 2;
    uint32_t capacity = wanted < builder->rows_max ? (uint32_t)wanted : builder->rows_max;
    size_t element = builder->element_bytes;
    uint8_t *values = ab_memory_alloc(builder->memory, capacity * element);
    uint8_t *nulls = ab_memory_alloc(builder->memory, capacity);
    if (values == NULL || nulls == NULL) {
        ab_memory_free(builder->memory, values, capacity * element);
        ab_memory_free(builder->memory, nulls, capacity);
        return AB_FULL;
    }
    if (builder->rows_count > 0) {
        memcpy(values, builder->values, builder->rows_count * element);
        memcpy(nulls, builder->nulls, builder->rows_count);
    }
    ab_memory_free(builder->memory, builder->values, builder->rows_capacity * element);
    ab_memory_free(builder->memory, builder->nulls, builder->rows_capacity);
    builder->values = values;
    builder->nulls = nulls;
    builder->rows_capacity = capacity;
    return AB_OK;
}

static void slot_put(uint32_t *slots, uint32_t slots_count, uint32_t hash, uint32_t code)
{
    uint32_t slot = hash & (slots_count - 1);
    while (slots[slot] != 0) {
        slot = (slot + 1) & (slots_count - 1);
    }
    slots[slot] = code + 1;
}

static ab_err entries_grow(struct ab_column_builder *builder)
{
    struct ab_memory *memory = builder->memory;
    uint32_t capacity = builder->entries_capacity == 0 ? ENTRIES_FIRST : builder->entries_capacity * 2;
    size_t bytes = capacity * sizeof(uint32_t);
    uint32_t *ends = ab_memory_alloc(memory, bytes);
    uint32_t *hashes = ab_memory_alloc(memory, bytes);
    uint32_t *slots = ab_memory_alloc(memory, bytes * 2);
    if (ends == NULL || hashes == NULL || slots == NULL) {
        ab_memory_free(memory, ends, bytes);
        ab_memory_free(memory, hashes, bytes);
        ab_memory_free(memory, slots, bytes * 2);
        return AB_FULL;
    }
    for (uint32_t code = 0; code < builder->entries_count; code++) {
        ends[code] = builder->ends[code];
        hashes[code] = builder->hashes[code];
        slot_put(slots, capacity * 2, hashes[code], code);
    }
    size_t bytes_before = builder->entries_capacity * sizeof(uint32_t);
    ab_memory_free(memory, builder->ends, bytes_before);
    ab_memory_free(memory, builder->hashes, bytes_before);
    ab_memory_free(memory, builder->slots, bytes_before * 2);
    builder->ends = ends;
    builder->hashes = hashes;
    builder->slots = slots;
    builder->entries_capacity = capacity;
    return AB_OK;
}

static struct ab_dictionary dictionary_view(const struct ab_column_builder *builder)
{
    static const uint8_t nothing[1]; /* a dictionary of empty texts has no bytes, but still an address */
    return (struct ab_dictionary){.count = builder->entries_count,
        .ends = builder->ends,
        .bytes = builder->text.data == NULL ? nothing : builder->text.data};
}

static bool entry_find(const struct ab_column_builder *builder, struct ab_bytes text, uint32_t hash, uint32_t *code)
{
    struct ab_dictionary dictionary = dictionary_view(builder);
    uint32_t mask = builder->entries_capacity * 2 - 1;
    for (uint32_t slot = hash & mask; builder->slots[slot] != 0; slot = (slot + 1) & mask) {
        uint32_t found = builder->slots[slot] - 1;
        if (builder->hashes[found] == hash && ab_bytes_equal(ab_dictionary_at(&dictionary, found), text)) {
            *code = found;
            return true;
        }
    }
    return false;
}

/* The code of a text, entered into the dictionary when it is new. */
static ab_err text_intern(struct ab_column_builder *builder, struct ab_bytes text, uint32_t *code)
{
    uint32_t hash = (uint32_t)ab_hash64(AB_HASH_TABLE, text);
    if (builder->entries_capacity > 0 && entry_find(builder, text, hash, code)) {
        return AB_OK;
    }
    if (builder->entries_count == builder->entries_capacity) {
        AB_TRY(entries_grow(builder));
    }
    ab_buffer_put_bytes(&builder->text, text);
    if (ab_buffer_finish(&builder->text) != AB_OK) {
        builder->text.has_failed = false; /* a refused put writes nothing, so what stands is whole */
        return AB_FULL;
    }
    uint32_t added = builder->entries_count++;
    builder->ends[added] = (uint32_t)builder->text.bytes;
    builder->hashes[added] = hash;
    slot_put(builder->slots, builder->entries_capacity * 2, hash, added);
    *code = added;
    return AB_OK;
}

static void value_store(struct ab_column_builder *builder, const struct ab_value *value, uint32_t code)
{
    void *at = builder->values + builder->rows_count * builder->element_bytes;
    switch ((enum ab_type_kind)builder->type.kind) {
    case AB_TYPE_BOOLEAN:
        *(uint8_t *)at = value->boolean;
        return;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        *(int64_t *)at = value->bigint;
        return;
    case AB_TYPE_DOUBLE:
        *(double *)at = ab_double_canonical(value->real);
        return;
    case AB_TYPE_DECIMAL:
        *(ab_int128 *)at = value->decimal;
        return;
    case AB_TYPE_TEXT:
        *(uint32_t *)at = code;
        return;
    }
}

ab_err ab_column_builder_add(struct ab_column_builder *builder, const struct ab_value *value)
{
    AB_ASSERT(value->is_null || ab_type_equal(value->type, builder->type));
    uint32_t code = 0;
    if (builder->rows_count == builder->rows_max) {
        return AB_FULL;
    }
    if (builder->rows_count == builder->rows_capacity) {
        AB_TRY(rows_grow(builder));
    }
    if (value->is_null) {
        memset(builder->values + builder->rows_count * builder->element_bytes, 0, builder->element_bytes);
        builder->has_nulls = true;
    } else {
        if (builder->type.kind == AB_TYPE_TEXT) {
            AB_TRY(text_intern(builder, value->text, &code));
        }
        value_store(builder, value, code);
    }
    builder->nulls[builder->rows_count++] = value->is_null;
    return AB_OK;
}

size_t ab_column_builder_bytes(const struct ab_column_builder *builder)
{
    size_t bytes = builder->rows_count * builder->element_bytes;
    bytes += builder->has_nulls ? (builder->rows_count + 7) / 8 : 0;
    return bytes + builder->text.bytes + builder->entries_count * sizeof(uint32_t);
}

void ab_column_builder_view(const struct ab_column_builder *builder, struct ab_column *column)
{
    *column = (struct ab_column){
        .type = builder->type,
        .rows_count = builder->rows_count,
        .nulls = builder->has_nulls ? builder->nulls : NULL,
        .values = builder->values,
        .dictionary = dictionary_view(builder),
    };
}
