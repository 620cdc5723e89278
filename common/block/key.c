#include "common/block/key.h"

#include "common/base/assert.h"
#include "common/base/decimal.h"

#define MARK_NULL 0x01
#define MARK_VALUE 0x02
#define TEXT_ESCAPE 0x00
#define TEXT_ESCAPED_ZERO 0xFF
#define TEXT_END 0x01
#define FIXED_BYTES_MAX 17
#define SIGN_BIT (UINT64_C(1) << 63)

static void big_endian_put(uint8_t *at, uint64_t number)
{
    uint64_t swapped = __builtin_bswap64(number);
    memcpy(at, &swapped, sizeof swapped);
}

static uint64_t big_endian_get(const uint8_t *at)
{
    uint64_t number;
    memcpy(&number, at, sizeof number);
    return __builtin_bswap64(number);
}

static uint64_t double_to_ordered(double real)
{
    double canonical = ab_double_canonical(real);
    uint64_t bits;
    memcpy(&bits, &canonical, sizeof bits);
    return (bits & SIGN_BIT) != 0 ? ~bits : bits | SIGN_BIT;
}

static double double_from_ordered(uint64_t ordered)
{
    uint64_t bits = (ordered & SIGN_BIT) != 0 ? ordered & ~SIGN_BIT : ~ordered;
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

/* Encodes anything but a TEXT that is not NULL; returns how many bytes. */
static size_t fixed_put(const struct ab_value *value, uint8_t at[FIXED_BYTES_MAX])
{
    if (value->is_null) {
        at[0] = MARK_NULL;
        return 1;
    }
    at[0] = MARK_VALUE;
    switch ((enum ab_type_kind)value->type.kind) {
    case AB_TYPE_BOOLEAN:
        at[1] = value->boolean;
        return 2;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        big_endian_put(at + 1, (uint64_t)value->bigint ^ SIGN_BIT);
        return 9;
    case AB_TYPE_DOUBLE:
        big_endian_put(at + 1, double_to_ordered(value->real));
        return 9;
    case AB_TYPE_DECIMAL:
        big_endian_put(at + 1, (uint64_t)((ab_uint128)value->decimal >> 64) ^ SIGN_BIT);
        big_endian_put(at + 9, (uint64_t)(ab_uint128)value->decimal);
        return 17;
    case AB_TYPE_TEXT:
        break;
    }
    AB_UNREACHABLE();
}

static void text_put(struct ab_buffer *out, struct ab_bytes text)
{
    static const uint8_t zero[] = {TEXT_ESCAPE, TEXT_ESCAPED_ZERO};
    static const uint8_t end[] = {TEXT_ESCAPE, TEXT_END};
    ab_buffer_put_u8(out, MARK_VALUE);
    while (text.bytes > 0) {
        const uint8_t *found = memchr(text.data, 0, text.bytes);
        size_t plain = found == NULL ? text.bytes : (size_t)(found - text.data);
        ab_buffer_put(out, text.data, plain);
        if (found != NULL) {
            ab_buffer_put(out, zero, sizeof zero);
            plain++;
        }
        text = ab_bytes_of(text.data + plain, text.bytes - plain);
    }
    ab_buffer_put(out, end, sizeof end);
}

void ab_key_put(struct ab_buffer *out, const struct ab_value *value)
{
    uint8_t fixed[FIXED_BYTES_MAX];
    if (value->type.kind == AB_TYPE_TEXT && !value->is_null) {
        text_put(out, value->text);
        return;
    }
    ab_buffer_put(out, fixed, fixed_put(value, fixed));
}

/* Takes an encoded text off the reader: `raw` still has its escapes, without the end mark; `escapes` counts them. */
static ab_err text_scan(struct ab_reader *reader, struct ab_bytes *raw, size_t *escapes)
{
    const uint8_t *start = reader->at;
    const uint8_t *at = start;
    size_t count = 0;
    for (;;) {
        size_t left = (size_t)(reader->end - at);
        const uint8_t *zero = left == 0 ? NULL : memchr(at, TEXT_ESCAPE, left);
        if (zero == NULL || reader->end - zero < 2) {
            return AB_CORRUPT;
        }
        if (zero[1] == TEXT_END) {
            *raw = ab_bytes_of(start, (size_t)(zero - start));
            *escapes = count;
            reader->at = zero + 2;
            return AB_OK;
        }
        if (zero[1] != TEXT_ESCAPED_ZERO) {
            return AB_CORRUPT;
        }
        count++;
        at = zero + 2;
    }
}

static ab_err text_take(struct ab_reader *reader, struct ab_arena *arena, struct ab_bytes *text)
{
    struct ab_bytes raw = {0};
    size_t escapes = 0;
    AB_TRY(text_scan(reader, &raw, &escapes));
    if (escapes == 0) {
        *text = ab_arena_copy(arena, raw);
        return text->data == NULL ? AB_FULL : AB_OK;
    }
    uint8_t *copy = ab_arena_alloc(arena, raw.bytes);
    if (copy == NULL) {
        return AB_FULL;
    }
    size_t bytes = 0;
    for (size_t at = 0; at < raw.bytes; at++) {
        copy[bytes++] = raw.data[at];
        at += raw.data[at] == TEXT_ESCAPE; /* the scan has seen that 0xFF follows */
    }
    *text = ab_bytes_of(copy, bytes);
    return AB_OK;
}

static ab_err fixed_take(struct ab_reader *reader, struct ab_value *value)
{
    size_t bytes = ab_type_element_bytes(value->type);
    struct ab_bytes taken = ab_reader_bytes(reader, bytes);
    if (reader->has_failed) {
        return AB_CORRUPT;
    }
    switch ((enum ab_type_kind)value->type.kind) {
    case AB_TYPE_BOOLEAN:
        value->boolean = taken.data[0] != 0;
        return taken.data[0] <= 1 ? AB_OK : AB_CORRUPT;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        value->bigint = (int64_t)(big_endian_get(taken.data) ^ SIGN_BIT);
        return AB_OK;
    case AB_TYPE_DOUBLE:
        value->real = double_from_ordered(big_endian_get(taken.data));
        return AB_OK;
    case AB_TYPE_DECIMAL:
        value->decimal =
            (ab_int128)(((ab_uint128)(big_endian_get(taken.data) ^ SIGN_BIT) << 64) | big_endian_get(taken.data + 8));
        return AB_OK;
    case AB_TYPE_TEXT:
        break;
    }
    AB_UNREACHABLE();
}

ab_err ab_key_take(struct ab_reader *reader, struct ab_type type, struct ab_arena *arena, struct ab_value *value)
{
    struct ab_value taken = {.type = type};
    uint8_t mark = ab_reader_u8(reader);
    if (reader->has_failed || (mark != MARK_NULL && mark != MARK_VALUE)) {
        return AB_CORRUPT;
    }
    taken.is_null = mark == MARK_NULL;
    if (!taken.is_null) {
        AB_TRY(type.kind == AB_TYPE_TEXT ? text_take(reader, arena, &taken.text) : fixed_take(reader, &taken));
    }
    *value = taken;
    return AB_OK;
}

ab_err ab_key_skip(struct ab_reader *reader, struct ab_type type)
{
    struct ab_value ignored = {.type = type};
    struct ab_bytes raw;
    size_t escapes;
    uint8_t mark = ab_reader_u8(reader);
    if (reader->has_failed || (mark != MARK_NULL && mark != MARK_VALUE)) {
        return AB_CORRUPT;
    }
    if (mark == MARK_NULL) {
        return AB_OK;
    }
    return type.kind == AB_TYPE_TEXT ? text_scan(reader, &raw, &escapes) : fixed_take(reader, &ignored);
}

void ab_key_put_i64(struct ab_buffer *out, int64_t number)
{
    uint8_t encoded[8];
    big_endian_put(encoded, (uint64_t)number ^ SIGN_BIT);
    ab_buffer_put(out, encoded, sizeof encoded);
}

int64_t ab_key_take_i64(struct ab_reader *reader)
{
    struct ab_bytes taken = ab_reader_bytes(reader, 8);
    return reader->has_failed ? 0 : (int64_t)(big_endian_get(taken.data) ^ SIGN_BIT);
}

/* ---- partition hashes ---- */

static ab_err hash_one_text(const struct ab_column *column, uint32_t rows_count, uint64_t *hashes)
{
    size_t count = column->dictionary.count;
    size_t cache_bytes = count * sizeof(uint64_t);
    const uint32_t *codes = column->values;
    const uint8_t null_key = MARK_NULL;
    uint64_t null_hash = ab_hash64(AB_HASH_PARTITION, ab_bytes_of(&null_key, 1));
    uint64_t *cache = count == 0 ? NULL : ab_memory_alloc(NULL, cache_bytes + count);
    if (count > 0 && cache == NULL) {
        return AB_FULL;
    }
    uint8_t *is_known = count == 0 ? NULL : (uint8_t *)cache + cache_bytes;
    struct ab_buffer key = {0};
    for (uint32_t row = 0; row < rows_count; row++) {
        if (ab_column_is_null(column, row)) {
            hashes[row] = null_hash;
            continue;
        }
        uint32_t code = codes[row];
        if (!is_known[code]) {
            ab_buffer_clear(&key);
            text_put(&key, ab_dictionary_at(&column->dictionary, code));
            cache[code] = ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key));
            is_known[code] = 1;
        }
        hashes[row] = cache[code];
    }
    ab_err err = ab_buffer_finish(&key);
    ab_buffer_fini(&key);
    ab_memory_free(NULL, cache, cache_bytes + count);
    return err;
}

static void hash_one_fixed(const struct ab_column *column, uint32_t rows_count, uint64_t *hashes)
{
    uint8_t key[FIXED_BYTES_MAX];
    for (uint32_t row = 0; row < rows_count; row++) {
        struct ab_value value = ab_column_value(column, row);
        hashes[row] = ab_hash64(AB_HASH_PARTITION, ab_bytes_of(key, fixed_put(&value, key)));
    }
}

/* The encodings of a dictionary's entries, made when first used. */
struct text_cache {
    size_t *starts;        /* owned, one an entry */
    size_t *lengths;       /* owned, one an entry; 0 = not encoded yet */
    struct ab_buffer keys; /* owned */
};

static void text_cache_put(
    struct text_cache *cache, const struct ab_dictionary *dictionary, uint32_t code, struct ab_buffer *out)
{
    if (cache->lengths[code] == 0) {
        size_t start = cache->keys.bytes;
        text_put(&cache->keys, ab_dictionary_at(dictionary, code));
        if (cache->keys.has_failed) {
            out->has_failed = true;
            return;
        }
        cache->starts[code] = start;
        cache->lengths[code] = cache->keys.bytes - start;
    }
    ab_buffer_put(out, cache->keys.data + cache->starts[code], cache->lengths[code]);
}

static void column_put(const struct ab_column *column, uint32_t row, struct text_cache *cache, struct ab_buffer *out)
{
    if (column->type.kind == AB_TYPE_TEXT && !ab_column_is_null(column, row)) {
        text_cache_put(cache, &column->dictionary, ((const uint32_t *)column->values)[row], out);
        return;
    }
    struct ab_value value = ab_column_value(column, row);
    ab_key_put(out, &value);
}

static ab_err hash_many(const struct ab_column *const *columns, uint32_t columns_count, uint32_t rows_count,
    struct ab_arena *arena, uint64_t *hashes)
{
    struct text_cache *caches = ab_arena_zalloc(arena, columns_count * sizeof *caches);
    struct ab_buffer key = {0};
    if (caches == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < columns_count; i++) {
        size_t bytes = columns[i]->dictionary.count * sizeof(size_t);
        caches[i].starts = ab_arena_alloc(arena, bytes + 1);
        caches[i].lengths = ab_arena_zalloc(arena, bytes + 1);
        key.has_failed |= caches[i].starts == NULL || caches[i].lengths == NULL;
    }
    for (uint32_t row = 0; row < rows_count && !key.has_failed; row++) {
        key.bytes = 0;
        for (uint32_t i = 0; i < columns_count; i++) {
            column_put(columns[i], row, &caches[i], &key);
        }
        hashes[row] = ab_hash64(AB_HASH_PARTITION, ab_buffer_view(&key));
    }
    for (uint32_t i = 0; i < columns_count; i++) {
        ab_buffer_fini(&caches[i].keys);
    }
    ab_err err = ab_buffer_finish(&key);
    ab_buffer_fini(&key);
    return err;
}

ab_err ab_key_partition_hashes(
    const struct ab_column *const *columns, uint32_t columns_count, uint32_t rows_count, uint64_t *hashes)
{
    struct ab_arena arena = {0};
    if (columns_count == 1 && columns[0]->type.kind == AB_TYPE_TEXT) {
        return hash_one_text(columns[0], rows_count, hashes);
    }
    if (columns_count == 1) {
        hash_one_fixed(columns[0], rows_count, hashes);
        return AB_OK;
    }
    ab_err err = hash_many(columns, columns_count, rows_count, &arena, hashes);
    ab_arena_fini(&arena);
    return err;
}
