/* FIRST_K, LAST_K, SMALLEST, LARGEST: the k best of a multiset, each as often as it came, in order, best first.
 *
 * Best is: the least identity (FIRST_K), the greatest (LAST_K), the least value (SMALLEST), the greatest (LARGEST);
 * rows that claim one identity are ordered by value. Keeping the k best of a union of multisets from the k best of each
 * is exact, so merging is associative and commutative. A state is a pointer to entries in rank order. */
#include "common/aggregate/primitive_list.h"

#include "common/aggregate/primitive_identity.h"
#include "common/catalog/catalog.h"

#define CAPACITY_FIRST 4u

struct entry {
    union ab_cell cell; /* owned */
    struct ab_identity identity;
};

struct ab_list {
    uint32_t count;
    uint32_t capacity;
    uint32_t k;
    uint8_t type_kind;
    struct entry entries[];
};

struct list_state {
    struct ab_list *list; /* owned; NULL = no value */
};

static size_t list_state_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct list_state);
}

static size_t list_bytes(uint32_t capacity)
{
    return sizeof(struct ab_list) + capacity * sizeof(struct entry);
}

static bool has_identity(enum ab_primitive_kind kind)
{
    return kind == AB_PRIMITIVE_FIRST_K || kind == AB_PRIMITIVE_LAST_K;
}

/* < 0: a ranks before b. */
static int rank_compare(enum ab_primitive_kind kind, uint8_t type_kind, const struct entry *a, const struct entry *b)
{
    int direction = kind == AB_PRIMITIVE_LAST_K || kind == AB_PRIMITIVE_LARGEST ? -1 : 1;
    int order = has_identity(kind) ? ab_identity_compare(&a->identity, &b->identity) : 0;
    return direction * (order != 0 ? order : ab_cell_compare(type_kind, &a->cell, &b->cell));
}

/* ---- taking ---- */

static struct ab_list *list_grow(
    struct ab_primitive_context *context, struct ab_list *old, uint32_t k, uint8_t type_kind)
{
    uint32_t capacity = old == NULL ? CAPACITY_FIRST : 2 * old->capacity;
    capacity = capacity < k ? capacity : k;
    struct ab_list *grown = ab_memory_alloc_total(context->memory, list_bytes(capacity));
    grown->k = k;
    grown->type_kind = type_kind;
    if (old != NULL) {
        grown->count = old->count;
        memcpy(grown->entries, old->entries, old->count * sizeof(struct entry));
        ab_memory_free(context->memory, old, list_bytes(old->capacity));
    }
    grown->capacity = capacity;
    return grown;
}

/* Entries that rank before `taken`, or with it. */
static uint32_t place_of(enum ab_primitive_kind kind, const struct ab_list *list, const struct entry *taken)
{
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (rank_compare(kind, list->type_kind, &list->entries[middle], taken) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Takes a copy of an entry, whose text is borrowed; false when k rank before it. */
static bool entry_take(struct ab_primitive_context *context, struct list_state *state, uint32_t k, uint8_t type_kind,
    const struct entry *taken)
{
    struct ab_list *list = state->list;
    bool is_full = list != NULL && list->count == list->k;
    if (is_full && rank_compare(context->kind, type_kind, &list->entries[list->count - 1], taken) <= 0) {
        return false;
    }
    if (list == NULL || (!is_full && list->count == list->capacity)) {
        list = list_grow(context, list, k, type_kind);
        state->list = list;
    }
    if (is_full) {
        list->count--;
        ab_cell_release(type_kind, &list->entries[list->count].cell, context->memory);
    }
    uint32_t at = place_of(context->kind, list, taken);
    memmove(&list->entries[at + 1], &list->entries[at], (list->count - at) * sizeof(struct entry));
    list->entries[at] = (struct entry){.identity = taken->identity};
    ab_cell_assign(type_kind, &list->entries[at].cell, false, &taken->cell, context->memory);
    list->count++;
    return true;
}

static void list_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    bool is_identified = has_identity(context->kind);
    uint32_t k = (uint32_t)context->parameters[0].bigint;
    struct entry taken = {.identity = {0}};
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = batch->rows[i];
        if (is_identified) {
            taken.identity = ab_identity_of(batch->identity, row);
        }
        taken.cell = ab_cell_of_column(batch->column, row);
        (void)entry_take(
            context, (void *)(batch->states + batch->stride * batch->groups[i]), k, context->type.kind, &taken);
    }
}

static void list_merge(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    (void)other_context;
    const struct ab_list *other = ((const struct list_state *)other_bytes)->list;
    for (uint32_t i = 0; other != NULL && i < other->count; i++) {
        if (!entry_take(context, state, other->k, other->type_kind, &other->entries[i])) {
            return; /* what comes after it ranks no better */
        }
    }
}

/* ---- payload ---- */

static void list_head_put(const struct ab_primitive_context *context, struct ab_buffer *out)
{
    ab_buffer_put_u8(out, context->type.kind);
    ab_buffer_put_varint(out, (uint64_t)context->parameters[0].bigint);
}

static void list_encode(const struct ab_primitive_context *context, const void *state_bytes, struct ab_buffer *out)
{
    const struct ab_list *list = ((const struct list_state *)state_bytes)->list;
    if (list == NULL) {
        return;
    }
    ab_buffer_put_u8(out, list->type_kind);
    ab_buffer_put_varint(out, list->k);
    for (uint32_t i = 0; i < list->count; i++) {
        if (has_identity(context->kind)) {
            ab_identity_put(&list->entries[i].identity, out);
        }
        ab_cell_put_ended(list->type_kind, &list->entries[i].cell, out);
    }
}

/* Reads the head; false when it cannot be one. */
static bool head_read(struct ab_reader *reader, uint8_t *type_kind, uint32_t *k)
{
    *type_kind = ab_reader_u8(reader);
    uint64_t number = ab_reader_varint_short(reader);
    *k = (uint32_t)number;
    return !reader->has_failed && number >= 1 && number <= AB_MEASURE_K_MAX;
}

/* Reads the next entry; text is borrowed. AB_CORRUPT. */
static ab_err entry_read(struct ab_reader *reader, enum ab_primitive_kind kind, uint8_t type_kind, struct entry *entry)
{
    entry->identity = (struct ab_identity){0};
    if (has_identity(kind)) {
        struct ab_bytes identity = ab_reader_bytes(reader, AB_IDENTITY_BYTES);
        if (reader->has_failed) {
            return AB_CORRUPT;
        }
        entry->identity = ab_identity_take(identity.data);
    }
    return ab_cell_take_ended(reader, type_kind, &entry->cell);
}

static size_t list_head_bytes(struct ab_bytes payload)
{
    return payload.data[1] < 0x80 ? 2 : 3;
}

static ab_err list_validate(struct ab_bytes payload, enum ab_primitive_kind kind, uint8_t *type_kind)
{
    struct ab_reader reader = ab_reader_of(payload);
    struct entry before;
    uint32_t k = 0;
    *type_kind = 0;
    if (payload.bytes == 0) {
        return AB_OK;
    }
    if (!head_read(&reader, type_kind, &k) || ab_reader_left(&reader) == 0) {
        return AB_CORRUPT;
    }
    for (uint32_t count = 0; ab_reader_left(&reader) > 0; count++) {
        struct entry entry;
        if (count == k) {
            return AB_CORRUPT;
        }
        AB_TRY(entry_read(&reader, kind, *type_kind, &entry));
        if (count > 0 && rank_compare(kind, *type_kind, &before, &entry) > 0) {
            return AB_CORRUPT;
        }
        before = entry;
    }
    return AB_OK;
}

static void list_absorb(struct ab_primitive_context *context, void *state, struct ab_bytes payload)
{
    struct ab_reader reader = ab_reader_of(payload);
    struct entry entry;
    uint8_t type_kind = 0;
    uint32_t k = 0;
    if (payload.bytes == 0 || !head_read(&reader, &type_kind, &k)) {
        return;
    }
    while (ab_reader_left(&reader) > 0 && entry_read(&reader, context->kind, type_kind, &entry) == AB_OK) {
        if (!entry_take(context, state, k, type_kind, &entry)) {
            return;
        }
    }
}

static void list_release(struct ab_primitive_context *context, void *state_bytes)
{
    struct list_state *state = state_bytes;
    struct ab_list *list = state->list;
    if (list != NULL) {
        for (uint32_t i = 0; i < list->count; i++) {
            ab_cell_release(list->type_kind, &list->entries[i].cell, context->memory);
        }
        ab_memory_free(context->memory, list, list_bytes(list->capacity));
    }
    state->list = NULL;
}

static void list_print(struct ab_bytes payload, enum ab_primitive_kind kind, struct ab_buffer *out)
{
    struct ab_reader reader = ab_reader_of(payload);
    struct entry entry;
    uint8_t type_kind = 0;
    uint32_t k = 0;
    if (payload.bytes == 0 || !head_read(&reader, &type_kind, &k)) {
        return;
    }
    while (ab_reader_left(&reader) > 0 && entry_read(&reader, kind, type_kind, &entry) == AB_OK) {
        struct ab_type type = {.kind = type_kind, .precision = type_kind == AB_TYPE_DECIMAL ? 38 : 0};
        struct ab_value value = ab_cell_value(type, &entry.cell);
        ab_value_format(&value, out);
        ab_buffer_put_bytes(out, ab_bytes_of_text(ab_reader_left(&reader) > 0 ? "," : ""));
    }
}

uint32_t ab_primitive_list_count(const void *state)
{
    const struct ab_list *list = ((const struct list_state *)state)->list;
    return list == NULL ? 0 : list->count;
}

union ab_cell ab_primitive_list_at(const void *state, uint32_t i)
{
    return ((const struct list_state *)state)->list->entries[i].cell;
}

/* ---- the kinds ---- */

#define LIST_KIND(word, KIND, identified)                                                                              \
    static ab_err word##_validate(struct ab_bytes payload, uint8_t *type_kind)                                         \
    {                                                                                                                  \
        return list_validate(payload, KIND, type_kind);                                                                \
    }                                                                                                                  \
    static void word##_print(struct ab_bytes payload, struct ab_buffer *out)                                           \
    {                                                                                                                  \
        list_print(payload, KIND, out);                                                                                \
    }                                                                                                                  \
    const struct ab_primitive_ops ab_primitive_##word = {                                                              \
        .name = #word,                                                                                                 \
        .state_bytes = list_state_bytes,                                                                               \
        .update = list_update,                                                                                         \
        .merge = list_merge,                                                                                           \
        .encode = list_encode,                                                                                         \
        .validate = word##_validate,                                                                                   \
        .absorb = list_absorb,                                                                                         \
        .release = list_release,                                                                                       \
        .head_bytes = list_head_bytes,                                                                                 \
        .head_put = list_head_put,                                                                                     \
        .print = word##_print,                                                                                         \
        .needs_identity = identified,                                                                                  \
    }

LIST_KIND(first_k, AB_PRIMITIVE_FIRST_K, true);
LIST_KIND(last_k, AB_PRIMITIVE_LAST_K, true);
LIST_KIND(smallest, AB_PRIMITIVE_SMALLEST, false);
LIST_KIND(largest, AB_PRIMITIVE_LARGEST, false);
