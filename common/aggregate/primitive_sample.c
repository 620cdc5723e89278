/* SAMPLE: the rows with the least hashes, cut back to k whenever there are twice as many. */
#include "common/aggregate/primitive_sample.h"

#include "common/aggregate/sketch.h"

#include <stdlib.h>

#define CAPACITY_FIRST 8

struct sample_entry {
    union ab_cell cell; /* owned text */
    uint64_t number;    /* the row's hash */
};

struct sample_state {
    struct sample_entry *entries; /* owned */
    uint64_t above;               /* all bits of the bound turned: greater numbers do not count; 0 = no bound */
    uint32_t count;
    uint32_t capacity;
    uint32_t k; /* 0 = no value yet */
    uint32_t type_kind;
};

static size_t sample_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct sample_state);
}

static int by_number(const void *a, const void *b, void *kind)
{
    const struct sample_entry *left = a;
    const struct sample_entry *right = b;
    if (left->number != right->number) {
        return left->number < right->number ? -1 : 1;
    }
    return ab_cell_compare(*(const uint8_t *)kind, &left->cell, &right->cell);
}

static void entries_sort(const struct sample_state *state, struct sample_entry *entries)
{
    uint8_t kind = (uint8_t)state->type_kind;
    qsort_r(entries, state->count, sizeof(*entries), by_number, &kind);
}

static void sample_cut(struct ab_memory *memory, struct sample_state *state)
{
    entries_sort(state, state->entries);
    for (uint32_t i = state->k; i < state->count; i++) {
        ab_cell_release((uint8_t)state->type_kind, &state->entries[i].cell, memory);
    }
    state->count = state->k;
    state->above = ~state->entries[state->k - 1].number;
}

static inline void sample_add(struct ab_memory *memory, struct sample_state *state, const struct sample_entry *entry)
{
    if (__builtin_expect(~entry->number < state->above, 1)) {
        return;
    }
    if (state->count == state->capacity) {
        uint32_t capacity = state->capacity == 0 ? CAPACITY_FIRST : state->capacity * 2;
        struct sample_entry *entries = ab_memory_alloc_total(memory, capacity * sizeof(*entries));
        if (state->count > 0) {
            memcpy(entries, state->entries, state->count * sizeof(*entries));
        }
        ab_memory_free(memory, state->entries, state->capacity * sizeof(*entries));
        state->entries = entries;
        state->capacity = capacity;
    }
    struct sample_entry *made = &state->entries[state->count++];
    made->number = entry->number;
    ab_cell_assign((uint8_t)state->type_kind, &made->cell, false, &entry->cell, memory);
    if (state->count == 2 * state->k) {
        sample_cut(memory, state);
    }
}

static void sample_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        struct sample_state *state = (void *)(batch->states + batch->stride * batch->groups[i]);
        struct sample_entry entry = {.number = ab_sketch_row_hash(batch->identity, row)};
        state->k = (uint32_t)context->parameters[0].bigint;
        state->type_kind = batch->column->type.kind;
        entry.cell = ab_cell_of_column(batch->column, row);
        sample_add(context->memory, state, &entry);
    }
}

static void sample_merge(struct ab_primitive_context *context, void *state_bytes,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    struct sample_state *state = state_bytes;
    const struct sample_state *other = other_bytes;
    if (other->k == 0) {
        return;
    }
    state->k = other->k;
    state->type_kind = other->type_kind;
    for (uint32_t i = 0; i < other->count; i++) {
        sample_add(context->memory, state, &other->entries[i]);
    }
}

static void sample_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct sample_state *state = state_bytes;
    for (uint32_t i = 0; i < state->count; i++) {
        ab_cell_release((uint8_t)state->type_kind, &state->entries[i].cell, context->memory);
    }
    ab_memory_free(context->memory, state->entries, state->capacity * sizeof(*state->entries));
    memset(state, 0, sizeof(*state));
}

/* ---- payload ---- */

/* A sorted copy of the entries that count, cells borrowed, for the caller to delete. */
static struct sample_entry *entries_copy(const struct sample_state *state, uint32_t *count)
{
    struct sample_entry *entries = ab_new_array(struct sample_entry, state->count);
    if (state->count > 0) {
        memcpy(entries, state->entries, state->count * sizeof(*entries));
        entries_sort(state, entries);
    }
    *count = state->count < state->k ? state->count : state->k;
    return entries;
}

static void sample_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    (void)context;
    const struct sample_state *state = state_bytes;
    struct ab_buffer cell = {0};
    uint32_t count;
    if (state->k == 0) {
        return;
    }
    struct sample_entry *entries = entries_copy(state, &count);
    ab_buffer_put_u8(out, (uint8_t)state->type_kind);
    ab_buffer_put_varint(out, state->k);
    for (uint32_t i = 0; i < count; i++) {
        ab_buffer_clear(&cell);
        ab_cell_put((uint8_t)state->type_kind, &entries[i].cell, &cell);
        ab_buffer_put_u64(out, entries[i].number);
        ab_buffer_put_blob(out, ab_buffer_view(&cell));
    }
    ab_buffer_fini(&cell);
    ab_delete(entries);
}

static ab_err sample_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    struct ab_reader reader = ab_reader_of(payload);
    uint8_t kind = ab_reader_u8(&reader);
    uint64_t k = ab_sketch_varint(&reader);
    uint64_t before = 0;
    struct ab_bytes cell_before = {0};
    uint64_t count = 0;
    for (; ab_reader_left(&reader) > 0; count++) {
        uint64_t number = ab_reader_u64(&reader);
        struct ab_bytes cell = ab_reader_bytes(&reader, (size_t)ab_sketch_varint(&reader));
        bool is_falling = number < before || (number == before && ab_bytes_compare(cell, cell_before) < 0);
        if (reader.has_failed || (count > 0 && is_falling)) {
            return AB_CORRUPT;
        }
        AB_TRY(ab_cell_validate(kind, cell));
        before = number;
        cell_before = cell;
    }
    if (reader.has_failed || k > AB_SAMPLE_MAX || count == 0 || count > k) {
        return AB_CORRUPT;
    }
    *type_kind = kind;
    return AB_OK;
}

static void sample_absorb(struct ab_primitive_context *context, void *state_bytes, struct ab_bytes payload)
{
    struct sample_state *state = state_bytes;
    if (payload.bytes == 0) {
        return;
    }
    struct ab_reader reader = ab_reader_of(payload);
    state->type_kind = ab_reader_u8(&reader);
    state->k = (uint32_t)ab_reader_varint(&reader);
    while (ab_reader_left(&reader) > 0) {
        struct sample_entry entry = {.number = ab_reader_u64(&reader)};
        entry.cell = ab_cell_take((uint8_t)state->type_kind, ab_reader_blob(&reader));
        sample_add(context->memory, state, &entry);
    }
}

static size_t sample_head_bytes(struct ab_bytes payload)
{
    return payload.data[1] < 0x80 ? 2 : 3;
}

static void sample_head_put(const struct ab_primitive_context *context, struct ab_buffer *out)
{
    ab_buffer_put_u8(out, context->type.kind);
    ab_buffer_put_varint(out, (uint64_t)context->parameters[0].bigint);
}

static void sample_print(struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_reader reader = ab_reader_of(payload);
    uint8_t kind = ab_reader_u8(&reader);
    uint64_t k = ab_reader_varint(&reader);
    ab_buffer_put_format(out, "%llu of type %u, %zu bytes", (unsigned long long)k, kind, payload.bytes);
}

const struct ab_primitive_ops ab_primitive_sample_ops = {
    .name = "sample",
    .state_bytes = sample_state_bytes,
    .update = sample_update,
    .merge = sample_merge,
    .encode = sample_encode,
    .validate = sample_validate,
    .absorb = sample_absorb,
    .release = sample_release,
    .head_bytes = sample_head_bytes,
    .head_put = sample_head_put,
    .print = sample_print,
    .needs_identity = true,
};

uint32_t ab_primitive_sample(const void *state_bytes, union ab_cell *cells)
{
    const struct sample_state *state = state_bytes;
    uint32_t count;
    struct sample_entry *entries = entries_copy(state, &count);
    for (uint32_t i = 0; i < count; i++) {
        cells[i] = entries[i].cell;
    }
    ab_delete(entries);
    return count;
}
