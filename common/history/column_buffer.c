#include "common/history/column_buffer.h"

#include "common/history/encoding.h"
#include "common/history/encoding_numbers.h"

#include "common/base/decimal.h"
#include "common/base/hash.h"

void ab_column_buffer_init(
    struct ab_column_buffer *buffer, struct ab_type type, bool is_required, struct ab_memory *memory)
{
    *buffer = (struct ab_column_buffer){.type = type, .is_required = is_required, .memory = memory};
    ab_buffer_init(&buffer->values, memory, 0);
    ab_buffer_init(&buffer->nulls, memory, 0);
    ab_buffer_init(&buffer->ends, memory, 0);
    ab_buffer_init(&buffer->texts, memory, 0);
}

void ab_column_buffer_fini(struct ab_column_buffer *buffer)
{
    ab_buffer_fini(&buffer->values);
    ab_buffer_fini(&buffer->nulls);
    ab_buffer_fini(&buffer->ends);
    ab_buffer_fini(&buffer->texts);
    ab_map_destroy(buffer->codes);
    buffer->codes = NULL;
}

void ab_column_buffer_clear(struct ab_column_buffer *buffer)
{
    ab_buffer_clear(&buffer->values);
    ab_buffer_clear(&buffer->nulls);
    ab_buffer_clear(&buffer->ends);
    ab_buffer_clear(&buffer->texts);
    ab_map_destroy(buffer->codes);
    buffer->codes = NULL;
    buffer->nulls_count = 0;
}

size_t ab_column_buffer_bytes(const struct ab_column_buffer *buffer)
{
    return buffer->values.bytes + buffer->nulls.bytes + buffer->ends.bytes + buffer->texts.bytes;
}

/* ---- adding ---- */

/* Code of a text in the group's dictionary. */
static ab_err text_intern(struct ab_column_buffer *buffer, struct ab_bytes text, uint32_t *code)
{
    uint64_t found = 0;
    if (!ab_map_get(buffer->codes, text, &found)) {
        found = ab_map_count(buffer->codes);
        AB_TRY(ab_map_set(buffer->codes, text, found));
        ab_buffer_put_bytes(&buffer->texts, text);
        ab_buffer_put_u32(&buffer->ends, (uint32_t)buffer->texts.bytes);
        AB_TRY(ab_buffer_finish(&buffer->texts));
        AB_TRY(ab_buffer_finish(&buffer->ends));
    }
    *code = (uint32_t)found;
    return AB_OK;
}

/* Each dictionary entry of the batch is looked up once, when a row first uses it: known[entry] is its code + 1. */
static ab_err texts_add(
    struct ab_column_buffer *buffer, const struct ab_column *column, const uint32_t *rows, size_t count, uint32_t *out)
{
    const uint32_t *codes = column->values;
    size_t known_bytes = ((size_t)column->dictionary.count + 1) * sizeof(uint32_t);
    uint32_t *known = ab_memory_alloc(buffer->memory, known_bytes);
    ab_err err = known == NULL ? AB_FULL : AB_OK;
    if (buffer->codes == NULL) {
        buffer->codes = ab_map_create(buffer->memory);
    }
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        if (ab_column_is_null(column, rows[i])) {
            out[i] = 0;
            continue;
        }
        uint32_t entry = codes[rows[i]];
        if (known[entry] == 0) {
            uint32_t code = 0;
            err = text_intern(buffer, ab_dictionary_at(&column->dictionary, entry), &code);
            known[entry] = code + 1;
        }
        out[i] = known[entry] - 1;
    }
    ab_memory_free(buffer->memory, known, known_bytes);
    return err;
}

static void values_gather(const struct ab_column *column, const uint32_t *rows, size_t count, uint8_t *out)
{
    size_t element = ab_type_element_bytes(column->type);
    const uint8_t *values = column->values;
    bool is_dense = count > 0 && rows[count - 1] - rows[0] + 1 == count;
    if (is_dense) {
        memcpy(out, values + rows[0] * element, count * element);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(out + i * element, values + rows[i] * element, element);
    }
}

static size_t nulls_gather(const struct ab_column *column, const uint32_t *rows, size_t count, uint8_t *out)
{
    size_t nulls = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = ab_column_is_null(column, rows[i]);
        nulls += out[i];
    }
    return nulls;
}

/* Appends the rows listed, at most a slice's. */
static ab_err rows_add(
    struct ab_column_buffer *buffer, const struct ab_column *column, const uint32_t *rows, size_t count)
{
    uint8_t *nulls = ab_buffer_extend(&buffer->nulls, count);
    uint8_t *values = ab_buffer_extend(&buffer->values, count * ab_type_element_bytes(buffer->type));
    if (nulls == NULL || values == NULL) {
        return AB_FULL;
    }
    size_t nulls_count = nulls_gather(column, rows, count, nulls);
    if (nulls_count > 0 && buffer->is_required) {
        return AB_INVALID;
    }
    buffer->nulls_count += nulls_count;
    if (buffer->type.kind == AB_TYPE_TEXT) {
        return texts_add(buffer, column, rows, count, (uint32_t *)(void *)values);
    }
    values_gather(column, rows, count, values);
    return AB_OK;
}

ab_err ab_column_buffer_add(
    struct ab_column_buffer *buffer, const struct ab_column *column, uint32_t from, uint32_t until, const uint8_t *skip)
{
    if (!ab_type_equal(column->type, buffer->type) || until > column->rows_count) {
        return AB_INVALID;
    }
    uint32_t rows[4096];
    while (from < until) {
        size_t count = 0;
        while (from < until && count < 4096) {
            rows[count] = from;
            count += skip == NULL || skip[from] == 0;
            from++;
        }
        if (count > 0) {
            AB_TRY(rows_add(buffer, column, rows, count));
        }
    }
    return AB_OK;
}

/* ---- encoding ---- */

void ab_column_pages_fini(struct ab_column_pages *pages)
{
    ab_buffer_fini(&pages->dictionary);
    ab_buffer_fini(&pages->data);
    ab_buffer_fini(&pages->min);
    ab_buffer_fini(&pages->max);
}

/* Scratch of one encoding: rows that are not NULL, moved together. */
struct dense {
    size_t count;
    uint8_t *values; /* element_bytes each */
    uint32_t *codes; /* dictionary code of each, when has_dictionary */
};

static void decimal_put(struct ab_buffer *out, ab_int128 value)
{
    uint8_t bytes[16];
    for (int i = 0; i < 16; i++) {
        bytes[i] = (uint8_t)((ab_uint128)value >> (120 - 8 * i));
    }
    ab_buffer_put(out, bytes, sizeof bytes);
}

static struct ab_bytes text_at(const struct ab_column_buffer *buffer, uint32_t code)
{
    struct ab_dictionary dictionary = {.count = (uint32_t)(buffer->ends.bytes / sizeof(uint32_t)),
        .ends = (const uint32_t *)(const void *)buffer->ends.data,
        .bytes = buffer->texts.data};
    return ab_dictionary_at(&dictionary, code);
}

/* Plain encoding of one value, `is_bound` without the length of a text. */
static void value_put(const struct ab_column_buffer *buffer, const uint8_t *value, bool is_bound, struct ab_buffer *out)
{
    ab_int128 decimal;
    uint32_t code;
    switch (buffer->type.kind) {
    case AB_TYPE_DECIMAL:
        memcpy(&decimal, value, sizeof decimal);
        decimal_put(out, decimal);
        return;
    case AB_TYPE_TEXT:
        memcpy(&code, value, sizeof code);
        struct ab_bytes text = text_at(buffer, code);
        if (!is_bound) {
            ab_buffer_put_u32(out, (uint32_t)text.bytes);
        }
        ab_buffer_put_bytes(out, text);
        return;
    default:
        ab_buffer_put(out, value, ab_type_element_bytes(buffer->type));
    }
}

/* A value of 8 or 16 bytes as bits. */
static inline ab_uint128 bits_load(const uint8_t *value, size_t element)
{
    uint64_t words[2] = {0, 0};
    memcpy(&words[0], value, 8);
    if (element == 16) {
        memcpy(&words[1], value + 8, 8);
    }
    return (ab_uint128)words[1] << 64 | words[0];
}

/* Gives each distinct fixed-width value a code in order of appearance; false when there are too many for a dictionary
 * to pay. */
static bool codes_assign(const struct ab_column_buffer *buffer, struct dense *dense, struct ab_column_pages *pages,
    uint32_t *table, size_t table_slots)
{
    size_t element = ab_type_element_bytes(buffer->type);
    size_t entries_max = dense->count / 2 < AB_COLUMN_DICTIONARY_MAX ? dense->count / 2 : AB_COLUMN_DICTIONARY_MAX;
    uint32_t count = 0;
    for (size_t i = 0; i < dense->count; i++) {
        const uint8_t *value = dense->values + i * element;
        ab_uint128 bits = bits_load(value, element);
        uint64_t low = (uint64_t)bits;
        uint64_t high = (uint64_t)(bits >> 64);
        uint64_t hash = (low ^ (high * UINT64_C(0x9E3779B97F4A7C15))) * UINT64_C(0xD6E8FEB86659FD93);
        size_t slot = (size_t)(hash >> 32) & (table_slots - 1);
        /* A slot holds the row of the entry's first appearance + 1. */
        while (table[slot] != 0 && bits_load(dense->values + (size_t)(table[slot] - 1) * element, element) != bits) {
            slot = (slot + 1) & (table_slots - 1);
        }
        if (table[slot] == 0) {
            if (count >= entries_max) {
                return false;
            }
            table[slot] = (uint32_t)i + 1;
            dense->codes[i] = count++;
            value_put(buffer, value, false, &pages->dictionary);
        } else {
            dense->codes[i] = dense->codes[table[slot] - 1];
        }
    }
    pages->dictionary_count = count;
    return true;
}

/* Whether a dictionary is smaller than plain values. */
static bool dictionary_pays(size_t entries, size_t dictionary_bytes, size_t count, size_t plain_bytes)
{
    unsigned width = entries == 0 ? 0 : ab_encoding_width((uint32_t)entries - 1);
    return dictionary_bytes + (count * width + 7) / 8 < plain_bytes;
}

static ab_err numbers_dictionary(
    const struct ab_column_buffer *buffer, struct dense *dense, struct ab_column_pages *pages)
{
    size_t table_slots = AB_COLUMN_DICTIONARY_MAX * 4;
    uint32_t *table = ab_memory_alloc(buffer->memory, table_slots * sizeof *table);
    if (table == NULL) {
        return AB_FULL;
    }
    size_t plain_bytes = dense->count * ab_type_element_bytes(buffer->type);
    pages->has_dictionary =
        codes_assign(buffer, dense, pages, table, table_slots) &&
        dictionary_pays(pages->dictionary_count, pages->dictionary.bytes, dense->count, plain_bytes);
    ab_memory_free(buffer->memory, table, table_slots * sizeof *table);
    return AB_OK;
}

/* TEXT is coded already; entries come in order of first appearance, and every one is used. */
static void texts_dictionary(const struct ab_column_buffer *buffer, struct dense *dense, struct ab_column_pages *pages)
{
    size_t entries = buffer->ends.bytes / sizeof(uint32_t);
    size_t plain_bytes = dense->count * sizeof(uint32_t);
    memcpy(dense->codes, dense->values, dense->count * sizeof(uint32_t));
    for (size_t i = 0; i < dense->count; i++) {
        plain_bytes += text_at(buffer, dense->codes[i]).bytes;
    }
    pages->dictionary_count = (uint32_t)entries;
    /* Past 64 MiB of plain text the dictionary wins whatever its size: a page stays within its limit. */
    pages->has_dictionary =
        (entries <= AB_COLUMN_DICTIONARY_MAX || plain_bytes > (64u << 20)) &&
        dictionary_pays(entries, buffer->texts.bytes + entries * sizeof(uint32_t), dense->count, plain_bytes);
    for (uint32_t code = 0; pages->has_dictionary && code < entries; code++) {
        value_put(buffer, (const uint8_t *)&code, false, &pages->dictionary);
    }
}

/* Indexes of the least and the greatest of `count` values of one type. */
#define BOUNDS_OF(type)                                                                                                \
    do {                                                                                                               \
        const type *items = (const type *)(const void *)dense->values;                                                 \
        for (size_t i = 1; i < dense->count; i++) {                                                                    \
            low = items[i] < items[low] ? i : low;                                                                     \
            high = items[i] > items[high] ? i : high;                                                                  \
        }                                                                                                              \
    } while (0)

/* True when some value is not a number. */
static bool has_nan(const struct dense *dense)
{
    const double *values = (const double *)(const void *)dense->values;
    size_t count = 0;
    for (size_t i = 0; i < dense->count; i++) {
        count += values[i] != values[i];
    }
    return count > 0;
}

/* Codes of the least and the greatest text: every entry of the group's dictionary stands in some row. */
static void text_bounds(const struct ab_column_buffer *buffer, uint32_t *low, uint32_t *high)
{
    uint32_t entries = (uint32_t)(buffer->ends.bytes / sizeof(uint32_t));
    *low = *high = 0;
    for (uint32_t code = 1; code < entries; code++) {
        struct ab_bytes text = text_at(buffer, code);
        *low = ab_bytes_compare(text, text_at(buffer, *low)) < 0 ? code : *low;
        *high = ab_bytes_compare(text, text_at(buffer, *high)) > 0 ? code : *high;
    }
}

/* Statistics. Without bounds: no values, a NaN among them (readers disagree about its place), long texts. */
static void bounds_put(const struct ab_column_buffer *buffer, const struct dense *dense, struct ab_column_pages *pages)
{
    size_t element = ab_type_element_bytes(buffer->type);
    const uint8_t *values = dense->values;
    size_t low = 0;
    size_t high = 0;
    uint32_t codes[2] = {0, 0};
    if (dense->count == 0 || (buffer->type.kind == AB_TYPE_DOUBLE && has_nan(dense))) {
        return;
    }
    switch (buffer->type.kind) {
    case AB_TYPE_BOOLEAN:
        BOUNDS_OF(uint8_t);
        break;
    case AB_TYPE_DOUBLE:
        BOUNDS_OF(double);
        break;
    case AB_TYPE_DECIMAL:
        BOUNDS_OF(ab_int128);
        break;
    case AB_TYPE_TEXT:
        text_bounds(buffer, &codes[0], &codes[1]);
        values = (const uint8_t *)codes;
        high = 1;
        break;
    default:
        BOUNDS_OF(int64_t);
    }
    value_put(buffer, values + low * element, true, &pages->min);
    value_put(buffer, values + high * element, true, &pages->max);
    pages->has_bounds = pages->min.bytes <= AB_COLUMN_BOUND_BYTES_MAX && pages->max.bytes <= AB_COLUMN_BOUND_BYTES_MAX;
    if (buffer->type.kind == AB_TYPE_DOUBLE && !pages->min.has_failed) {
        double number;
        memcpy(&number, pages->min.data, sizeof number);
        /* The format wants -0 as a lower bound of zero. */
        pages->min.data[7] |= number == 0.0 ? 0x80 : 0;
    }
}

static void levels_put(const struct ab_column_buffer *buffer, uint32_t *scratch, struct ab_buffer *out)
{
    if (buffer->is_required) {
        return;
    }
    size_t rows = buffer->nulls.bytes;
    for (size_t i = 0; i < rows; i++) {
        scratch[i] = buffer->nulls.data[i] == 0;
    }
    size_t start = out->bytes;
    ab_buffer_put_u32(out, 0);
    ab_encoding_put(out, scratch, rows, 1);
    if (!out->has_failed) {
        uint32_t bytes = (uint32_t)(out->bytes - start - 4);
        memcpy(out->data + start, &bytes, sizeof bytes);
    }
}

static void plain_put(const struct ab_column_buffer *buffer, const struct dense *dense, struct ab_buffer *out)
{
    size_t element = ab_type_element_bytes(buffer->type);
    if (buffer->type.kind == AB_TYPE_BOOLEAN) {
        uint8_t *bits = ab_buffer_extend(out, (dense->count + 7) / 8);
        for (size_t i = 0; bits != NULL && i < dense->count; i++) {
            bits[i / 8] = (uint8_t)((i % 8 == 0 ? 0 : bits[i / 8]) | (dense->values[i] << (i % 8)));
        }
    } else if (buffer->type.kind == AB_TYPE_DECIMAL || buffer->type.kind == AB_TYPE_TEXT) {
        for (size_t i = 0; i < dense->count; i++) {
            value_put(buffer, dense->values + i * element, false, out);
        }
    } else {
        ab_buffer_put(out, dense->values, dense->count * element);
    }
}

/* Values without a dictionary, in the encoding that fits their type. */
static void numbers_put(const struct ab_column_buffer *buffer, const struct dense *dense, struct ab_column_pages *pages)
{
    struct ab_buffer *out = &pages->data;
    size_t start = out->bytes;
    pages->encoding = AB_ENCODING_PLAIN;
    if (buffer->type.kind == AB_TYPE_DOUBLE) {
        pages->encoding = AB_ENCODING_SPLIT;
        ab_encoding_put_split(out, dense->values, dense->count);
        return;
    }
    if (buffer->type.kind == AB_TYPE_BIGINT || buffer->type.kind == AB_TYPE_TIMESTAMP) {
        ab_encoding_put_deltas(out, (const uint64_t *)(const void *)dense->values, dense->count);
        if (out->has_failed || out->bytes - start < dense->count * sizeof(uint64_t)) {
            pages->encoding = AB_ENCODING_DELTAS;
            return;
        }
        out->bytes = start;
    }
    plain_put(buffer, dense, out);
}

static void dense_gather(const struct ab_column_buffer *buffer, struct dense *dense)
{
    size_t element = ab_type_element_bytes(buffer->type);
    size_t rows = buffer->nulls.bytes;
    if (buffer->nulls_count == 0) {
        memcpy(dense->values, buffer->values.data, rows * element);
        dense->count = rows;
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        if (buffer->nulls.data[i] == 0) {
            memcpy(dense->values + dense->count * element, buffer->values.data + i * element, element);
            dense->count++;
        }
    }
}

static ab_err pages_fill(const struct ab_column_buffer *buffer, struct dense *dense, struct ab_column_pages *pages)
{
    if (buffer->type.kind == AB_TYPE_TEXT) {
        texts_dictionary(buffer, dense, pages);
    } else if (buffer->type.kind != AB_TYPE_BOOLEAN) {
        AB_TRY(numbers_dictionary(buffer, dense, pages));
    }
    bounds_put(buffer, dense, pages);
    if (pages->has_dictionary) {
        unsigned width = pages->dictionary_count == 0 ? 0 : ab_encoding_width(pages->dictionary_count - 1);
        struct ab_buffer codes = {.memory = buffer->memory};
        ab_buffer_put_u8(&codes, (uint8_t)width);
        ab_encoding_put(&codes, dense->codes, dense->count, width);
        levels_put(buffer, dense->codes, &pages->data);
        ab_buffer_put_bytes(&pages->data, ab_buffer_view(&codes));
        pages->data.has_failed |= codes.has_failed;
        ab_buffer_fini(&codes);
        pages->encoding = AB_ENCODING_RLE_DICTIONARY;
    } else {
        ab_buffer_clear(&pages->dictionary);
        levels_put(buffer, dense->codes, &pages->data);
        numbers_put(buffer, dense, pages);
    }
    AB_TRY(ab_buffer_finish(&pages->min));
    AB_TRY(ab_buffer_finish(&pages->max));
    AB_TRY(ab_buffer_finish(&pages->dictionary));
    return ab_buffer_finish(&pages->data);
}

ab_err ab_column_buffer_encode(const struct ab_column_buffer *buffer, struct ab_column_pages *pages)
{
    size_t rows = buffer->nulls.bytes;
    size_t values_bytes = (rows + 1) * ab_type_element_bytes(buffer->type);
    size_t codes_bytes = (rows + 1) * sizeof(uint32_t);
    struct dense dense = {
        .values = ab_memory_alloc(buffer->memory, values_bytes), .codes = ab_memory_alloc(buffer->memory, codes_bytes)};
    struct ab_buffer *const buffers[] = {&pages->dictionary, &pages->data, &pages->min, &pages->max};
    for (size_t i = 0; i < 4; i++) {
        buffers[i]->memory = buffer->memory;
        ab_buffer_clear(buffers[i]);
    }
    pages->has_dictionary = pages->has_bounds = false;
    pages->dictionary_count = 0;
    ab_err err = AB_FULL;
    if (dense.values != NULL && dense.codes != NULL) {
        dense_gather(buffer, &dense);
        err = pages_fill(buffer, &dense, pages);
    }
    ab_memory_free(buffer->memory, dense.values, values_bytes);
    ab_memory_free(buffer->memory, dense.codes, codes_bytes);
    return err;
}
