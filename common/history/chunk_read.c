#include "common/history/chunk_read.h"

#include "common/history/encoding.h"
#include "common/history/encoding_numbers.h"

#include "common/base/decimal.h"
#include "common/compress/compress.h"

/* Where decoding stands. */
struct state {
    const struct ab_chunk_source *source;
    struct ab_arena *arena;
    struct ab_arena *scratch;
    struct ab_reader pages;
    uint8_t *values;
    uint8_t *nulls;  /* NULL until a page has one */
    uint8_t *levels; /* working memory for the levels until then */
    uint32_t rows_done;
    /* Dictionary: numbers as an array of elements, texts in the result's dictionary. */
    bool has_dictionary;
    uint32_t dictionary_count;
    const uint8_t *dictionary;
    /* Texts so far: entries of the dictionary page, then one a plain value. */
    uint32_t texts_count;
    uint32_t texts_capacity;
    uint32_t *ends;
    uint8_t *texts;
    size_t texts_bytes;
    size_t texts_bytes_capacity;
};

static bool is_text(const struct state *state)
{
    return state->source->field->type.kind == AB_TYPE_TEXT;
}

/* ---- plain values ---- */

static ab_int128 decimal_load(const uint8_t *bytes)
{
    ab_uint128 value = 0;
    for (int i = 0; i < 16; i++) {
        value = (value << 8) | bytes[i];
    }
    return (ab_int128)value;
}

static ab_err decimals_take(struct ab_type type, const uint8_t *bytes, ab_int128 *values, size_t count)
{
    ab_int128 limit = ab_decimal_power(type.precision);
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        values[i] = decimal_load(bytes + 16 * i);
        fits &= values[i] < limit && values[i] > -limit;
    }
    return fits ? AB_OK : AB_CORRUPT;
}

static void doubles_make_canonical(double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        /* Adding 0 makes -0 into 0; NaN is rare, so the branch costs nothing. */
        values[i] += 0.0;
        if (__builtin_expect(values[i] != values[i], 0)) {
            values[i] = ab_double_canonical(values[i]);
        }
    }
}

/* Plain numbers: exactly `count` of them at the front of data, which is padded. */
static ab_err numbers_take(struct ab_type type, struct ab_bytes data, uint8_t *values, size_t count)
{
    size_t stored_bytes = type.kind == AB_TYPE_DECIMAL ? 16 : 8;
    if (type.kind == AB_TYPE_BOOLEAN) {
        return ab_encoding_take_bits(data, values, count);
    }
    if (count > data.bytes / stored_bytes) {
        return AB_CORRUPT;
    }
    if (type.kind == AB_TYPE_DECIMAL) {
        return decimals_take(type, data.data, (ab_int128 *)(void *)values, count);
    }
    if (type.kind == AB_TYPE_DOUBLE) {
        memcpy(values, data.data, count * 8);
        doubles_make_canonical((double *)(void *)values, count);
    } else if (count > 0) {
        memcpy(values, data.data, count * 8);
    }
    return AB_OK;
}

/* Makes room for `count` more texts of at most `bytes` more bytes together. */
static ab_err texts_reserve(struct state *state, size_t count, size_t bytes)
{
    if (state->texts_bytes + bytes > UINT32_MAX || state->texts_count + count > UINT32_MAX) {
        return AB_CORRUPT;
    }
    if (state->texts_count + count > state->texts_capacity) {
        size_t capacity = (state->texts_count + count) * (state->texts_count > 0 ? 2 : 1);
        uint32_t *ends = ab_arena_alloc(state->arena, (capacity + 1) * sizeof *ends);
        if (ends == NULL) {
            return AB_FULL;
        }
        if (state->texts_count > 0) {
            memcpy(ends, state->ends, state->texts_count * sizeof *ends);
        }
        state->ends = ends;
        state->texts_capacity = (uint32_t)capacity;
    }
    if (state->texts_bytes + bytes > state->texts_bytes_capacity || state->texts == NULL) {
        size_t capacity = (state->texts_bytes + bytes) * (state->texts_bytes > 0 ? 2 : 1);
        uint8_t *texts = ab_arena_alloc(state->arena, capacity + 1);
        if (texts == NULL) {
            return AB_FULL;
        }
        if (state->texts_bytes > 0) {
            memcpy(texts, state->texts, state->texts_bytes);
        }
        state->texts = texts;
        state->texts_bytes_capacity = capacity;
    }
    return AB_OK;
}

/* Appends `count` plain texts of `data` to the dictionary. */
static ab_err texts_take(struct state *state, struct ab_bytes data, size_t count)
{
    /* Each text has four bytes of length: this bounds what a lie about the count can ask for. */
    if (count > data.bytes / 4) {
        return AB_CORRUPT;
    }
    AB_TRY(texts_reserve(state, count, data.bytes - count * 4));
    struct ab_reader reader = ab_reader_of(data);
    for (size_t i = 0; i < count; i++) {
        struct ab_bytes text = ab_reader_bytes(&reader, ab_reader_u32(&reader));
        if (reader.has_failed || text.bytes > state->texts_bytes_capacity - state->texts_bytes ||
            !ab_bytes_is_utf8(text)) {
            return AB_CORRUPT;
        }
        if (text.bytes > 0) {
            memcpy(state->texts + state->texts_bytes, text.data, text.bytes);
        }
        state->texts_bytes += text.bytes;
        state->ends[state->texts_count++] = (uint32_t)state->texts_bytes;
    }
    return AB_OK;
}

/* ---- pages ---- */

/* The page's bytes, decompressed and padded. `prefix_bytes` at the front are stored as they are (levels of V2). */
static ab_err page_bytes(
    struct state *state, const struct ab_parquet_page_head *head, size_t prefix_bytes, struct ab_bytes *plain)
{
    struct ab_bytes stored = ab_reader_bytes(&state->pages, head->compressed_bytes);
    if (state->pages.has_failed || prefix_bytes > stored.bytes || prefix_bytes > head->uncompressed_bytes) {
        return AB_CORRUPT;
    }
    if (state->source->chunk->codec == AB_CODEC_PLAIN || !head->is_compressed) {
        *plain = stored;
        return stored.bytes == head->uncompressed_bytes ? AB_OK : AB_CORRUPT;
    }
    uint8_t *room = ab_arena_alloc(state->scratch, (size_t)head->uncompressed_bytes + AB_ENCODING_PAD_BYTES);
    if (room == NULL) {
        return AB_FULL;
    }
    if (prefix_bytes > 0) {
        memcpy(room, stored.data, prefix_bytes);
    }
    memset(room + head->uncompressed_bytes, 0, AB_ENCODING_PAD_BYTES);
    *plain = ab_bytes_of(room, head->uncompressed_bytes);
    size_t rest = head->uncompressed_bytes - prefix_bytes;
    if (rest == 0 && stored.bytes == prefix_bytes) {
        return AB_OK;
    }
    return ab_zstd_decompress(state->source->zstd,
        ab_bytes_of(stored.data + prefix_bytes, stored.bytes - prefix_bytes), room + prefix_bytes, rest);
}

static ab_err dictionary_page(struct state *state, const struct ab_parquet_page_head *head)
{
    struct ab_type type = state->source->field->type;
    struct ab_bytes plain;
    if (state->has_dictionary || state->rows_done > 0 || type.kind == AB_TYPE_BOOLEAN) {
        return AB_CORRUPT;
    }
    if (head->encoding != AB_ENCODING_PLAIN && head->encoding != AB_ENCODING_PLAIN_DICTIONARY) {
        return AB_UNSUPPORTED;
    }
    AB_TRY(page_bytes(state, head, 0, &plain));
    state->has_dictionary = true;
    state->dictionary_count = head->values_count;
    if (is_text(state)) {
        return texts_take(state, plain, head->values_count);
    }
    size_t element = ab_type_element_bytes(type);
    if (head->values_count > plain.bytes / element) {
        return AB_CORRUPT;
    }
    uint8_t *entries = ab_arena_alloc(state->scratch, ((size_t)head->values_count + 1) * element);
    if (entries == NULL) {
        return AB_FULL;
    }
    state->dictionary = entries;
    return numbers_take(type, plain, entries, head->values_count);
}

/* Takes definition levels; `values` becomes what follows them, *present the number of rows that are not NULL. */
static ab_err levels_take(struct state *state, const struct ab_parquet_page_head *head, struct ab_bytes page,
    struct ab_bytes *values, uint32_t *present)
{
    struct ab_reader reader = ab_reader_of(page);
    uint32_t rows = head->values_count;
    *present = rows;
    *values = page;
    if (head->kind == AB_PAGE_DATA && state->source->field->is_required) {
        return AB_OK;
    }
    uint32_t levels_bytes = head->kind == AB_PAGE_DATA ? ab_reader_u32(&reader) : head->levels_bytes;
    struct ab_bytes levels = ab_reader_bytes(&reader, levels_bytes);
    if (reader.has_failed || (state->source->field->is_required && levels_bytes > 0)) {
        return AB_CORRUPT;
    }
    *values = ab_bytes_of(reader.at, ab_reader_left(&reader));
    if (state->source->field->is_required) {
        return AB_OK;
    }
    if (state->levels == NULL) {
        state->levels = ab_arena_alloc(state->scratch, (size_t)state->source->rows_count + 1);
        if (state->levels == NULL) {
            return AB_FULL;
        }
    }
    uint8_t *nulls = state->nulls != NULL ? state->nulls : state->levels;
    size_t nulls_count = 0;
    AB_TRY(ab_encoding_take_nulls(levels, nulls + state->rows_done, rows, &nulls_count));
    *present = rows - (uint32_t)nulls_count;
    if (nulls_count == 0 && state->nulls == NULL) {
        return AB_OK;
    }
    if (state->nulls == NULL) {
        state->nulls = ab_arena_zalloc(state->arena, (size_t)state->source->rows_count + 1);
        if (state->nulls == NULL) {
            return AB_FULL;
        }
        memcpy(state->nulls + state->rows_done, nulls + state->rows_done, rows);
    }
    return AB_OK;
}

#define GATHER(type)                                                                                                   \
    do {                                                                                                               \
        const type *entries = (const type *)(const void *)dictionary;                                                  \
        type *to = (type *)(void *)out;                                                                                \
        for (size_t i = 0; i < count; i++) {                                                                           \
            to[i] = entries[codes[i]];                                                                                 \
        }                                                                                                              \
    } while (0)

static void gather(const uint8_t *dictionary, const uint32_t *codes, size_t count, size_t element, uint8_t *out)
{
    if (element == 8) {
        GATHER(uint64_t);
    } else {
        GATHER(ab_int128);
    }
}

/* Codes of a dictionary page: a byte of width, then the hybrid encoding. */
static ab_err coded_take(struct state *state, struct ab_bytes data, uint8_t *out, uint32_t count)
{
    if (!state->has_dictionary) {
        return AB_CORRUPT;
    }
    if (count == 0) {
        return AB_OK;
    }
    uint32_t *codes =
        is_text(state) ? (uint32_t *)(void *)out : ab_arena_alloc(state->scratch, (size_t)count * sizeof *codes);
    if (codes == NULL) {
        return AB_FULL;
    }
    if (data.bytes == 0) {
        return AB_CORRUPT;
    }
    AB_TRY(ab_encoding_take(ab_bytes_of(data.data + 1, data.bytes - 1), data.data[0], codes, count));
    if (ab_encoding_max(codes, count) >= state->dictionary_count) {
        return AB_CORRUPT;
    }
    if (!is_text(state)) {
        gather(state->dictionary, codes, count, ab_type_element_bytes(state->source->field->type), out);
    }
    return AB_OK;
}

static ab_err plain_take(struct state *state, struct ab_bytes data, uint8_t *out, uint32_t count)
{
    if (!is_text(state)) {
        return numbers_take(state->source->field->type, data, out, count);
    }
    uint32_t first = state->texts_count;
    uint32_t *codes = (uint32_t *)(void *)out;
    AB_TRY(texts_take(state, data, count));
    for (uint32_t i = 0; i < count; i++) {
        codes[i] = first + i;
    }
    return AB_OK;
}

/* The values of a page that are not NULL, at the front of `out`. */
static ab_err values_take(
    struct state *state, const struct ab_parquet_page_head *head, struct ab_bytes values, uint8_t *out, uint32_t count)
{
    uint8_t kind = state->source->field->type.kind;
    switch (head->encoding) {
    case AB_ENCODING_PLAIN:
        return plain_take(state, values, out, count);
    case AB_ENCODING_RLE_DICTIONARY:
    case AB_ENCODING_PLAIN_DICTIONARY:
        return coded_take(state, values, out, count);
    case AB_ENCODING_DELTAS:
        if (kind != AB_TYPE_BIGINT && kind != AB_TYPE_TIMESTAMP) {
            return AB_UNSUPPORTED;
        }
        return ab_encoding_take_deltas(values, (uint64_t *)(void *)out, count);
    case AB_ENCODING_SPLIT:
        if (kind != AB_TYPE_DOUBLE) {
            return AB_UNSUPPORTED;
        }
        AB_TRY(ab_encoding_take_split(values, out, count));
        doubles_make_canonical((double *)(void *)out, count);
        return AB_OK;
    default:
        return AB_UNSUPPORTED;
    }
}

/* Moves `present` values at the front of `values` to the rows that are not NULL, from the back; NULL rows become 0. */
static void values_spread(uint8_t *values, const uint8_t *nulls, uint32_t rows, uint32_t present, size_t element)
{
    for (uint32_t row = rows; row > 0; row--) {
        uint8_t *to = values + (row - 1) * element;
        if (nulls[row - 1] != 0) {
            memset(to, 0, element);
        } else {
            present--;
            memmove(to, values + present * element, element);
        }
    }
}

static ab_err data_page(struct state *state, const struct ab_parquet_page_head *head)
{
    size_t element = ab_type_element_bytes(state->source->field->type);
    uint8_t *out = state->values + (size_t)state->rows_done * element;
    struct ab_bytes page;
    struct ab_bytes values;
    uint32_t present = 0;
    if (head->values_count > state->source->rows_count - state->rows_done) {
        return AB_CORRUPT;
    }
    AB_TRY(page_bytes(state, head, head->kind == AB_PAGE_DATA ? 0 : head->levels_bytes, &page));
    AB_TRY(levels_take(state, head, page, &values, &present));
    AB_TRY(values_take(state, head, values, out, present));
    if (present < head->values_count) {
        values_spread(out, state->nulls + state->rows_done, head->values_count, present, element);
    }
    state->rows_done += head->values_count;
    return AB_OK;
}

static ab_err pages_read(struct state *state)
{
    while (ab_reader_left(&state->pages) > 0) {
        struct ab_parquet_page_head head;
        AB_TRY(ab_parquet_page_head_take(&state->pages, &head));
        AB_TRY(head.kind == AB_PAGE_DICTIONARY ? dictionary_page(state, &head) : data_page(state, &head));
    }
    return state->rows_done == state->source->rows_count ? AB_OK : AB_CORRUPT;
}

ab_err ab_chunk_read(
    const struct ab_chunk_source *source, struct ab_arena *arena, struct ab_arena *scratch, struct ab_column *column)
{
    size_t element = ab_type_element_bytes(source->field->type);
    struct state state = {.source = source, .arena = arena, .scratch = scratch, .pages = ab_reader_of(source->bytes)};
    state.values = ab_arena_alloc(arena, ((size_t)source->rows_count + 8) * element);
    if (state.values == NULL) {
        return AB_FULL;
    }
    AB_TRY(pages_read(&state));
    *column = (struct ab_column){.type = source->field->type,
        .rows_count = source->rows_count,
        .nulls = state.nulls,
        .values = state.values,
        .dictionary = {.count = state.texts_count, .ends = state.ends, .bytes = state.texts}};
    return AB_OK;
}

bool ab_chunk_bound(struct ab_type type, struct ab_bytes bytes, struct ab_value *value)
{
    struct ab_value taken = {.type = type};
    switch (type.kind) {
    case AB_TYPE_BOOLEAN:
        if (bytes.bytes != 1 || bytes.data[0] > 1) {
            return false;
        }
        taken.boolean = bytes.data[0] == 1;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        if (bytes.bytes != 8) {
            return false;
        }
        memcpy(&taken.bigint, bytes.data, 8);
        break;
    case AB_TYPE_DOUBLE:
        if (bytes.bytes != 8) {
            return false;
        }
        memcpy(&taken.real, bytes.data, 8);
        taken.real = ab_double_canonical(taken.real);
        break;
    case AB_TYPE_DECIMAL:
        if (bytes.bytes != 16) {
            return false;
        }
        taken.decimal = decimal_load(bytes.data);
        break;
    case AB_TYPE_TEXT:
        if (!ab_bytes_is_utf8(bytes)) {
            return false;
        }
        taken.text = bytes;
        break;
    default:
        return false;
    }
    *value = taken;
    return true;
}
