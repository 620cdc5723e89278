/* TOP_K: a table of values, each with its count and the least hash of its rows; beyond AB_TOP_K_EXACT_MAX values a
 * Count-Min sketch beside a table that is cut back to the sample whenever it has grown to twice its size. */
#include "common/aggregate/primitive_top_k.h"

#include "common/aggregate/sketch.h"
#include "common/base/assert.h"

#include <stdlib.h>

#define FORM_EXACT 1
#define FORM_SKETCH 2
#define COUNTERS (AB_TOP_K_DEPTH * AB_TOP_K_WIDTH)
#define WIDTH_BITS 13
#define CAPACITY_FIRST 8

struct top_entry {
    union ab_cell cell; /* owned text */
    uint64_t hash;      /* of the value */
    uint64_t number;    /* least hash of its rows */
    uint64_t count;     /* while exact */
};

/* `index` has twice as many places as `entries`: 1 + entry, 0 = free. */
struct top_state {
    struct top_entry *entries; /* owned */
    uint32_t *index;           /* owned */
    uint64_t *counters;        /* owned; NULL while exact */
    uint64_t bound;            /* with counters: greater numbers are not in the sample */
    uint32_t count;
    uint32_t capacity; /* of entries; a power of two, or 0 */
    uint32_t type_kind;
    uint32_t unused;
};

_Static_assert(1u << WIDTH_BITS == AB_TOP_K_WIDTH, "a row of counters is chosen by its bits of the hash");
_Static_assert(AB_TOP_K_DEPTH *WIDTH_BITS <= 64, "rows of counters are chosen by different bits");

static size_t top_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct top_state);
}

/* ---- the table ---- */

static uint32_t *index_place(const struct top_state *state, uint64_t hash, const union ab_cell *cell)
{
    uint32_t mask = 2 * state->capacity - 1;
    uint32_t place = (uint32_t)(hash >> 32) & mask;
    for (;; place = (place + 1) & mask) {
        uint32_t *at = &state->index[place];
        if (*at == 0) {
            return at;
        }
        const struct top_entry *entry = &state->entries[*at - 1];
        if (entry->hash == hash && ab_cell_compare((uint8_t)state->type_kind, &entry->cell, cell) == 0) {
            return at;
        }
    }
}

static void table_index(struct top_state *state)
{
    memset(state->index, 0, 2 * state->capacity * sizeof(uint32_t));
    for (uint32_t i = 0; i < state->count; i++) {
        *index_place(state, state->entries[i].hash, &state->entries[i].cell) = i + 1;
    }
}

static void table_grow(struct ab_memory *memory, struct top_state *state)
{
    uint32_t capacity = state->capacity == 0 ? CAPACITY_FIRST : state->capacity * 2;
    struct top_entry *entries = ab_memory_alloc_total(memory, capacity * sizeof(*entries));
    uint32_t *index = ab_memory_alloc_total(memory, 2 * capacity * sizeof(*index));
    if (state->count > 0) {
        memcpy(entries, state->entries, state->count * sizeof(*entries));
    }
    ab_memory_free(memory, state->entries, state->capacity * sizeof(*entries));
    ab_memory_free(memory, state->index, 2 * state->capacity * sizeof(*index));
    state->entries = entries;
    state->index = index;
    state->capacity = capacity;
    table_index(state);
}

static struct top_entry *table_find(const struct top_state *state, uint64_t hash, const union ab_cell *cell)
{
    if (state->capacity == 0) {
        return NULL;
    }
    uint32_t found = *index_place(state, hash, cell);
    return found == 0 ? NULL : &state->entries[found - 1];
}

static void table_enter(struct ab_memory *memory, struct top_state *state, const struct top_entry *entry)
{
    if (state->count == state->capacity) {
        table_grow(memory, state);
    }
    struct top_entry *made = &state->entries[state->count];
    *made = *entry;
    ab_cell_assign((uint8_t)state->type_kind, &made->cell, false, &entry->cell, memory);
    *index_place(state, made->hash, &made->cell) = ++state->count;
}

/* ---- orders ---- */

static int by_number(const void *a, const void *b, void *kind)
{
    const struct top_entry *left = a;
    const struct top_entry *right = b;
    if (left->number != right->number) {
        return left->number < right->number ? -1 : 1;
    }
    return ab_cell_compare(*(const uint8_t *)kind, &left->cell, &right->cell);
}

static int by_value(const void *a, const void *b, void *kind)
{
    return ab_cell_compare(
        *(const uint8_t *)kind, &((const struct top_entry *)a)->cell, &((const struct top_entry *)b)->cell);
}

static int by_count(const void *a, const void *b, void *kind)
{
    const struct top_entry *left = a;
    const struct top_entry *right = b;
    if (left->count != right->count) {
        return left->count > right->count ? -1 : 1;
    }
    return ab_cell_compare(*(const uint8_t *)kind, &left->cell, &right->cell);
}

static void entries_sort(const struct top_state *state, struct top_entry *entries, uint32_t count,
    int (*order)(const void *, const void *, void *))
{
    uint8_t kind = (uint8_t)state->type_kind;
    qsort_r(entries, count, sizeof(*entries), order, &kind);
}

/* ---- the sketch ---- */

static inline uint64_t *counter_of(uint64_t *counters, uint32_t row, uint64_t hash)
{
    return counters + row * AB_TOP_K_WIDTH + (hash >> row * WIDTH_BITS & (AB_TOP_K_WIDTH - 1));
}

static inline void counters_add(uint64_t *counters, uint64_t hash, uint64_t count)
{
    for (uint32_t row = 0; row < AB_TOP_K_DEPTH; row++) {
        uint64_t *counter = counter_of(counters, row, hash);
        *counter = ab_sketch_sum(*counter, count);
    }
}

static uint64_t counters_estimate(uint64_t *counters, uint64_t hash)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t row = 0; row < AB_TOP_K_DEPTH; row++) {
        uint64_t count = *counter_of(counters, row, hash);
        least = count < least ? count : least;
    }
    return least;
}

/* Cuts the table back to the sample. */
static void sample_cut(struct ab_memory *memory, struct top_state *state)
{
    if (state->count <= AB_TOP_K_SAMPLE) {
        return;
    }
    entries_sort(state, state->entries, state->count, by_number);
    for (uint32_t i = AB_TOP_K_SAMPLE; i < state->count; i++) {
        ab_cell_release((uint8_t)state->type_kind, &state->entries[i].cell, memory);
    }
    state->count = AB_TOP_K_SAMPLE;
    state->bound = state->entries[AB_TOP_K_SAMPLE - 1].number;
    table_index(state);
}

static void state_to_sketch(struct ab_memory *memory, struct top_state *state)
{
    state->counters = ab_memory_alloc_total(memory, COUNTERS * sizeof(uint64_t));
    state->bound = UINT64_MAX;
    for (uint32_t i = 0; i < state->count; i++) {
        counters_add(state->counters, state->entries[i].hash, state->entries[i].count);
        state->entries[i].count = 0;
    }
    sample_cut(memory, state);
}

static void sample_add(struct ab_memory *memory, struct top_state *state, const struct top_entry *entry)
{
    if (__builtin_expect(entry->number > state->bound, 1)) {
        return;
    }
    struct top_entry *found = table_find(state, entry->hash, &entry->cell);
    if (found != NULL) {
        found->number = entry->number < found->number ? entry->number : found->number;
        return;
    }
    table_enter(memory, state, entry);
    state->entries[state->count - 1].count = 0;
    if (state->count == 2 * AB_TOP_K_SAMPLE) {
        sample_cut(memory, state);
    }
}

/* Adds entry->count rows of a value; its text is borrowed. */
static inline void top_add(struct ab_memory *memory, struct top_state *state, const struct top_entry *entry)
{
    if (state->counters == NULL) {
        struct top_entry *found = table_find(state, entry->hash, &entry->cell);
        if (found != NULL) {
            found->count = ab_sketch_sum(found->count, entry->count);
            found->number = entry->number < found->number ? entry->number : found->number;
            return;
        }
        if (state->count < AB_TOP_K_EXACT_MAX) {
            table_enter(memory, state, entry);
            return;
        }
        state_to_sketch(memory, state);
    }
    counters_add(state->counters, entry->hash, entry->count);
    sample_add(memory, state, entry);
}

static void top_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const struct ab_column *column = batch->column;
    const uint32_t *codes = column->type.kind == AB_TYPE_TEXT ? column->values : NULL;
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        struct top_state *state = (void *)(batch->states + batch->stride * batch->groups[i]);
        struct top_entry entry = {
            .cell = ab_cell_of_column(column, row),
            .hash = batch->hashes[codes == NULL ? row : codes[row]],
            .number = ab_sketch_row_hash(batch->identity, row),
            .count = 1,
        };
        state->type_kind = column->type.kind;
        top_add(context->memory, state, &entry);
    }
}

static void top_merge(struct ab_primitive_context *context, void *state_bytes,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    struct top_state *state = state_bytes;
    const struct top_state *other = other_bytes;
    if (other->count == 0) {
        return;
    }
    state->type_kind = other->type_kind;
    if (other->counters == NULL) {
        for (uint32_t i = 0; i < other->count; i++) {
            top_add(context->memory, state, &other->entries[i]);
        }
        return;
    }
    if (state->counters == NULL) {
        state_to_sketch(context->memory, state);
    }
    for (uint32_t i = 0; i < COUNTERS; i++) {
        state->counters[i] = ab_sketch_sum(state->counters[i], other->counters[i]);
    }
    for (uint32_t i = 0; i < other->count; i++) {
        sample_add(context->memory, state, &other->entries[i]);
    }
}

static void top_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct top_state *state = state_bytes;
    struct ab_memory *memory = context->memory;
    for (uint32_t i = 0; i < state->count; i++) {
        ab_cell_release((uint8_t)state->type_kind, &state->entries[i].cell, memory);
    }
    ab_memory_free(memory, state->entries, state->capacity * sizeof(*state->entries));
    ab_memory_free(memory, state->index, 2 * state->capacity * sizeof(*state->index));
    if (state->counters != NULL) {
        ab_memory_free(memory, state->counters, COUNTERS * sizeof(uint64_t));
    }
    memset(state, 0, sizeof(*state));
}

/* ---- payload ---- */

/* A copy of the entries that count, cells borrowed, for the caller to delete. */
static struct top_entry *entries_copy(const struct top_state *state, uint32_t *count)
{
    struct top_entry *entries = ab_new_array(struct top_entry, state->count);
    memcpy(entries, state->entries, state->count * sizeof(*entries));
    *count = state->count;
    if (state->counters != NULL && state->count > AB_TOP_K_SAMPLE) {
        entries_sort(state, entries, state->count, by_number);
        *count = AB_TOP_K_SAMPLE;
    }
    return entries;
}

static void entry_encode(const struct top_state *state, const struct top_entry *entry, struct ab_buffer *out)
{
    static const uint8_t bytes_by_kind[] = {[AB_TYPE_BOOLEAN] = 1,
        [AB_TYPE_BIGINT] = 8,
        [AB_TYPE_DOUBLE] = 8,
        [AB_TYPE_DECIMAL] = 16,
        [AB_TYPE_TIMESTAMP] = 8};
    uint8_t kind = (uint8_t)state->type_kind;
    ab_buffer_put_varint(out, kind == AB_TYPE_TEXT ? entry->cell.text.bytes : bytes_by_kind[kind]);
    ab_cell_put(kind, &entry->cell, out);
    if (state->counters == NULL) {
        ab_buffer_put_varint(out, entry->count);
    }
    ab_buffer_put_u64(out, entry->number);
}

static void top_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    (void)context;
    const struct top_state *state = state_bytes;
    if (state->count == 0) {
        return;
    }
    uint32_t count;
    struct top_entry *entries = entries_copy(state, &count);
    entries_sort(state, entries, count, by_value);
    ab_buffer_put_u8(out, state->counters == NULL ? FORM_EXACT : FORM_SKETCH);
    ab_buffer_put_u8(out, (uint8_t)state->type_kind);
    for (uint32_t i = 0; state->counters != NULL && i < COUNTERS; i++) {
        ab_buffer_put_varint(out, state->counters[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        entry_encode(state, &entries[i], out);
    }
    ab_delete(entries);
}

/* Takes the next value; the head has been read. */
static void entry_take(struct ab_reader *reader, uint8_t form, struct ab_bytes *cell, struct top_entry *entry)
{
    *cell = ab_reader_bytes(reader, (size_t)ab_sketch_varint(reader));
    entry->count = form == FORM_EXACT ? ab_sketch_varint(reader) : 1;
    entry->number = ab_reader_u64(reader);
}

/* Each row of counters counts all rows; only counters at their greatest value may hide some. */
static bool counters_agree(struct ab_reader *reader)
{
    ab_uint128 first = 0;
    bool is_full = false;
    bool agrees = true;
    for (uint32_t row = 0; row < AB_TOP_K_DEPTH; row++) {
        ab_uint128 sum = 0;
        for (uint32_t i = 0; i < AB_TOP_K_WIDTH; i++) {
            uint64_t count = ab_sketch_varint(reader);
            is_full |= count == UINT64_MAX;
            sum += count;
        }
        first = row == 0 ? sum : first;
        agrees &= sum == first;
    }
    return !reader->has_failed && (agrees || is_full) && first > AB_TOP_K_EXACT_MAX;
}

static ab_err top_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    struct ab_reader reader = ab_reader_of(payload);
    uint8_t form = ab_reader_u8(&reader);
    uint8_t kind = ab_reader_u8(&reader);
    if ((form != FORM_EXACT && form != FORM_SKETCH) || (form == FORM_SKETCH && !counters_agree(&reader))) {
        return AB_CORRUPT;
    }
    struct ab_bytes before = {0};
    uint32_t count = 0;
    for (; ab_reader_left(&reader) > 0; count++) {
        struct ab_bytes cell;
        struct top_entry entry;
        entry_take(&reader, form, &cell, &entry);
        if (reader.has_failed || entry.count == 0 || (count > 0 && ab_bytes_compare(cell, before) <= 0)) {
            return AB_CORRUPT;
        }
        AB_TRY(ab_cell_validate(kind, cell));
        before = cell;
    }
    bool is_counted = form == FORM_EXACT ? count > 0 && count <= AB_TOP_K_EXACT_MAX : count == AB_TOP_K_SAMPLE;
    if (reader.has_failed || !is_counted) {
        return AB_CORRUPT;
    }
    *type_kind = kind;
    return AB_OK;
}

static void top_absorb(struct ab_primitive_context *context, void *state_bytes, struct ab_bytes payload)
{
    struct top_state *state = state_bytes;
    if (payload.bytes == 0) {
        return;
    }
    struct ab_reader reader = ab_reader_of(payload);
    struct ab_buffer key = {0};
    uint8_t form = ab_reader_u8(&reader);
    state->type_kind = ab_reader_u8(&reader);
    if (form == FORM_SKETCH && state->counters == NULL) {
        state_to_sketch(context->memory, state);
    }
    for (uint32_t i = 0; form == FORM_SKETCH && i < COUNTERS; i++) {
        state->counters[i] = ab_sketch_sum(state->counters[i], ab_reader_varint(&reader));
    }
    while (ab_reader_left(&reader) > 0) {
        struct ab_bytes cell;
        struct top_entry entry;
        entry_take(&reader, form, &cell, &entry);
        entry.cell = ab_cell_take((uint8_t)state->type_kind, cell);
        entry.hash = ab_sketch_cell_hash((uint8_t)state->type_kind, &entry.cell, &key);
        if (form == FORM_EXACT) {
            top_add(context->memory, state, &entry);
        } else {
            sample_add(context->memory, state, &entry);
        }
    }
    ab_buffer_fini(&key);
}

/* ---- reading ---- */

double ab_primitive_top_k_error(const void *state_bytes)
{
    const struct top_state *state = state_bytes;
    return state->counters == NULL ? 0.0 : AB_TOP_K_ERROR;
}

/* Rows counted by a sketch, rounded. */
static double sketch_rows(const struct top_state *state)
{
    double rows = 0;
    for (uint32_t i = 0; i < AB_TOP_K_WIDTH; i++) {
        rows += (double)state->counters[i];
    }
    return rows;
}

uint32_t ab_primitive_top_k(const void *state_bytes, uint32_t k, struct ab_top_k_item *items, uint64_t *error_rows)
{
    const struct top_state *state = state_bytes;
    *error_rows = 0;
    if (state->count == 0) {
        return 0;
    }
    uint32_t count;
    struct top_entry *entries = entries_copy(state, &count);
    for (uint32_t i = 0; state->counters != NULL && i < count; i++) {
        entries[i].count = counters_estimate(state->counters, entries[i].hash);
    }
    if (state->counters != NULL) {
        double error = AB_TOP_K_ERROR * sketch_rows(state) + 1.0;
        *error_rows = error < 9e18 ? (uint64_t)error : INT64_MAX;
    }
    entries_sort(state, entries, count, by_count);
    count = count < k ? count : k;
    for (uint32_t i = 0; i < count; i++) {
        items[i] = (struct ab_top_k_item){.cell = entries[i].cell, .count = entries[i].count};
    }
    ab_delete(entries);
    return count;
}

/* The most frequent value and its count. */
static void top_print(struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_primitive_context context = {.kind = AB_PRIMITIVE_TOP_K};
    struct top_state state = {0};
    struct ab_top_k_item item;
    uint64_t error_rows;
    top_absorb(&context, &state, payload);
    if (ab_primitive_top_k(&state, 1, &item, &error_rows) > 0) {
        struct ab_value value = ab_cell_value((struct ab_type){.kind = (uint8_t)state.type_kind}, &item.cell);
        ab_value_format(&value, out);
        ab_buffer_put_format(out, " x %llu", (unsigned long long)item.count);
    }
    top_release(&context, &state);
}

const struct ab_primitive_ops ab_primitive_top_k_ops = {
    .name = "top_k",
    .state_bytes = top_state_bytes,
    .update = top_update,
    .merge = top_merge,
    .encode = top_encode,
    .validate = top_validate,
    .absorb = top_absorb,
    .release = top_release,
    .print = top_print,
    .needs_identity = true,
    .needs_hashes = true,
};
