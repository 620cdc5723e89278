#include "common/history/footer.h"

#include "common/history/thrift.h"

struct decoder {
    struct ab_reader reader;
    struct ab_arena *arena;
    struct ab_parquet_footer *footer;
    struct ab_error *error;
};

/* A copy as a C string; fails the reader on a NUL inside or when the budget refuses. */
static const char *text_take(struct decoder *decoder, const struct ab_thrift_field *field)
{
    struct ab_bytes text = ab_thrift_take_binary(&decoder->reader, field);
    struct ab_bytes copy = ab_arena_copy(decoder->arena, text);
    if (copy.data == NULL || (text.bytes > 0 && memchr(text.data, 0, text.bytes) != NULL)) {
        decoder->reader.has_failed = true;
        return "";
    }
    return (const char *)copy.data;
}

/* What a SchemaElement says. -1 = not said. */
struct element {
    const char *name;
    int64_t physical, length, repetition, children, converted, scale, precision;
    int64_t logical; /* field id of the LogicalType union */
    int64_t unit;    /* field id of the TimeUnit union */
};

static void logical_type_take(struct decoder *decoder, struct element *element)
{
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(&decoder->reader, &field)) {
        element->logical = field.id;
        if (field.id != 8) {
            ab_thrift_skip(&decoder->reader, &field);
            continue;
        }
        ab_thrift_take_struct(&decoder->reader, &field);
        struct ab_thrift_field inner = {0};
        while (ab_thrift_next(&decoder->reader, &inner)) {
            if (inner.id != 2 || inner.type != AB_THRIFT_STRUCT) {
                ab_thrift_skip(&decoder->reader, &inner);
                continue;
            }
            struct ab_thrift_field unit = {0};
            while (ab_thrift_next(&decoder->reader, &unit)) {
                element->unit = unit.id;
                ab_thrift_skip(&decoder->reader, &unit);
            }
        }
    }
}

static void element_take(struct decoder *decoder, struct element *element)
{
    *element = (struct element){"", -1, -1, -1, -1, -1, -1, -1, -1, -1};
    int64_t *const numbers[] = {[1] = &element->physical,
        [2] = &element->length,
        [3] = &element->repetition,
        [5] = &element->children,
        [6] = &element->converted,
        [7] = &element->scale,
        [8] = &element->precision};
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(&decoder->reader, &field)) {
        if (field.id == 4) {
            element->name = text_take(decoder, &field);
        } else if (field.id == 10 && field.type == AB_THRIFT_STRUCT) {
            logical_type_take(decoder, element);
        } else if (field.id >= 1 && field.id <= 8) {
            *numbers[field.id] = ab_thrift_take_integer(&decoder->reader, &field);
        } else {
            ab_thrift_skip(&decoder->reader, &field);
        }
    }
}

/* The column type of an element; kind 0 when we have none for it. */
static struct ab_type element_type(const struct element *element)
{
    bool is_plain = element->converted < 0 && element->logical < 0;
    struct ab_type none = {0};
    switch (element->physical) {
    case AB_PHYSICAL_BOOLEAN:
        return (struct ab_type){.kind = AB_TYPE_BOOLEAN};
    case AB_PHYSICAL_DOUBLE:
        return (struct ab_type){.kind = AB_TYPE_DOUBLE};
    case AB_PHYSICAL_INT64:
        if (element->converted == AB_CONVERTED_TIMESTAMP_MICROS || (element->logical == 8 && element->unit == 2)) {
            return (struct ab_type){.kind = AB_TYPE_TIMESTAMP};
        }
        return is_plain || element->converted == AB_CONVERTED_INT64 ? (struct ab_type){.kind = AB_TYPE_BIGINT} : none;
    case AB_PHYSICAL_BYTE_ARRAY:
        return element->converted == AB_CONVERTED_UTF8 || element->logical == 1 ? (struct ab_type){.kind = AB_TYPE_TEXT}
                                                                                : none;
    case AB_PHYSICAL_FIXED:
        if (element->converted != AB_CONVERTED_DECIMAL || element->length != 16 || element->precision < 1 ||
            element->precision > 38 || element->scale < 0 || element->scale > element->precision) {
            return none;
        }
        return (struct ab_type){
            .kind = AB_TYPE_DECIMAL, .precision = (uint8_t)element->precision, .scale = (uint8_t)element->scale};
    default:
        return none;
    }
}

static ab_err schema_take(struct decoder *decoder, const struct ab_thrift_field *field)
{
    struct ab_parquet_footer *footer = decoder->footer;
    struct element element;
    size_t count = ab_thrift_take_list(&decoder->reader, field, AB_THRIFT_STRUCT);
    if (count < 1 || count - 1 > AB_PARQUET_FIELDS_MAX || footer->fields != NULL) {
        return AB_CORRUPT;
    }
    element_take(decoder, &element);
    if (element.children != (int64_t)count - 1) {
        return ab_error_set(decoder->error, AB_UNSUPPORTED, "the schema is not flat");
    }
    footer->fields = ab_arena_zalloc(decoder->arena, count * sizeof *footer->fields);
    if (footer->fields == NULL) {
        return AB_FULL;
    }
    for (size_t i = 0; i + 1 < count && !decoder->reader.has_failed; i++) {
        element_take(decoder, &element);
        if (decoder->reader.has_failed) {
            return AB_CORRUPT;
        }
        struct ab_type type = element_type(&element);
        if (type.kind == 0 || element.children > 0 || element.repetition < 0 || element.repetition > 1) {
            return ab_error_set(decoder->error, AB_UNSUPPORTED,
                "column %.64s has a type that is not read: physical "
                "%d, converted %d, logical %d",
                element.name, (int)element.physical, (int)element.converted, (int)element.logical);
        }
        footer->fields[i] =
            (struct ab_parquet_field){.name = element.name, .type = type, .is_required = element.repetition == 0};
    }
    footer->fields_count = count - 1;
    return decoder->reader.has_failed ? AB_CORRUPT : AB_OK;
}

/* Statistics: the deprecated min and max (1, 2) are not looked at. */
static void statistics_take(struct decoder *decoder, struct ab_parquet_chunk *chunk)
{
    bool has_min = false;
    bool has_max = false;
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(&decoder->reader, &field)) {
        if (field.id == 3) {
            int64_t count = ab_thrift_take_integer(&decoder->reader, &field);
            chunk->has_nulls_count = count >= 0;
            chunk->nulls_count = chunk->has_nulls_count ? (uint64_t)count : 0;
        } else if (field.id == 5) {
            chunk->max = ab_thrift_take_binary(&decoder->reader, &field);
            has_max = true;
        } else if (field.id == 6) {
            chunk->min = ab_thrift_take_binary(&decoder->reader, &field);
            has_min = true;
        } else {
            ab_thrift_skip(&decoder->reader, &field);
        }
    }
    chunk->has_bounds = has_min && has_max;
}

static bool hash_parse(struct ab_bytes text, uint64_t *hash)
{
    *hash = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t digit = text.data[i];
        bool is_digit = digit >= '0' && digit <= '9';
        if (!is_digit && (digit < 'a' || digit > 'f')) {
            return false;
        }
        *hash = (*hash << 4) | (uint64_t)(is_digit ? digit - '0' : digit - 'a' + 10);
    }
    return text.bytes == 16;
}

static void key_value_take(struct decoder *decoder, struct ab_bytes *key, struct ab_bytes *value)
{
    *key = *value = (struct ab_bytes){0};
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(&decoder->reader, &field)) {
        if (field.id == 1 || field.id == 2) {
            *(field.id == 1 ? key : value) = ab_thrift_take_binary(&decoder->reader, &field);
        } else {
            ab_thrift_skip(&decoder->reader, &field);
        }
    }
}

static void chunk_notes_take(
    struct decoder *decoder, const struct ab_thrift_field *field, struct ab_parquet_chunk *chunk)
{
    size_t count = ab_thrift_take_list(&decoder->reader, field, AB_THRIFT_STRUCT);
    for (size_t i = 0; i < count && !decoder->reader.has_failed; i++) {
        struct ab_bytes key;
        struct ab_bytes value;
        key_value_take(decoder, &key, &value);
        if (ab_bytes_equal(key, ab_bytes_of_text(AB_PARQUET_HASH_KEY))) {
            chunk->has_hash = hash_parse(value, &chunk->hash);
            decoder->reader.has_failed |= !chunk->has_hash;
        }
    }
}

static ab_err chunk_meta_take(
    struct decoder *decoder, const struct ab_parquet_field *expected, struct ab_parquet_chunk *chunk)
{
    int64_t numbers[13];
    for (size_t i = 0; i < 13; i++) {
        numbers[i] = -1;
    }
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(&decoder->reader, &field)) {
        if (field.id == 8) {
            chunk_notes_take(decoder, &field, chunk);
        } else if (field.id == 12 && field.type == AB_THRIFT_STRUCT) {
            statistics_take(decoder, chunk);
        } else if (field.id == 1 || field.id == 4 || (field.id >= 5 && field.id <= 11)) {
            numbers[field.id] = ab_thrift_take_integer(&decoder->reader, &field);
        } else {
            ab_thrift_skip(&decoder->reader, &field);
        }
    }
    if (decoder->reader.has_failed || numbers[1] != (int64_t)ab_parquet_physical_of(expected->type) || numbers[5] < 0 ||
        numbers[7] < 0 || numbers[9] < 0) {
        return AB_CORRUPT;
    }
    if (numbers[4] != AB_CODEC_PLAIN && numbers[4] != AB_CODEC_ZSTD) {
        return ab_error_set(decoder->error, AB_UNSUPPORTED, "column %.64s: compression codec %d is not read",
            expected->name, (int)numbers[4]);
    }
    chunk->codec = (int)numbers[4];
    chunk->values_count = (uint64_t)numbers[5];
    chunk->compressed_bytes = (uint64_t)numbers[7];
    chunk->data_page_offset = (uint64_t)numbers[9];
    /* Some writers give 0 for "no dictionary page". */
    chunk->has_dictionary = numbers[11] > 0 && numbers[11] < numbers[9];
    chunk->start = (uint64_t)(chunk->has_dictionary ? numbers[11] : numbers[9]);
    return AB_OK;
}

static ab_err chunk_take(
    struct decoder *decoder, const struct ab_parquet_field *expected, struct ab_parquet_chunk *chunk)
{
    bool has_meta = false;
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(&decoder->reader, &field)) {
        if (field.id == 3 && field.type == AB_THRIFT_STRUCT) {
            AB_TRY(chunk_meta_take(decoder, expected, chunk));
            has_meta = true;
        } else {
            ab_thrift_skip(&decoder->reader, &field);
        }
    }
    return has_meta && !decoder->reader.has_failed ? AB_OK : AB_CORRUPT;
}

static ab_err group_take(struct decoder *decoder, struct ab_parquet_group *group)
{
    const struct ab_parquet_footer *footer = decoder->footer;
    int64_t rows_count = -1;
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(&decoder->reader, &field)) {
        if (field.id == 1) {
            size_t count = ab_thrift_take_list(&decoder->reader, &field, AB_THRIFT_STRUCT);
            if (decoder->reader.has_failed || count != footer->fields_count || group->chunks != NULL) {
                return AB_CORRUPT;
            }
            group->chunks = ab_arena_zalloc(decoder->arena, (count + 1) * sizeof *group->chunks);
            if (group->chunks == NULL) {
                return AB_FULL;
            }
            for (size_t i = 0; i < count; i++) {
                AB_TRY(chunk_take(decoder, &footer->fields[i], &group->chunks[i]));
            }
        } else if (field.id == 3) {
            rows_count = ab_thrift_take_integer(&decoder->reader, &field);
        } else {
            ab_thrift_skip(&decoder->reader, &field);
        }
    }
    if (decoder->reader.has_failed || group->chunks == NULL || rows_count < 0 ||
        rows_count > AB_PARQUET_GROUP_ROWS_MAX) {
        return AB_CORRUPT;
    }
    group->rows_count = (uint64_t)rows_count;
    for (size_t i = 0; i < footer->fields_count; i++) {
        if (group->chunks[i].values_count != group->rows_count) {
            return AB_CORRUPT;
        }
    }
    return AB_OK;
}

static ab_err groups_take(struct decoder *decoder, const struct ab_thrift_field *field)
{
    struct ab_parquet_footer *footer = decoder->footer;
    size_t count = ab_thrift_take_list(&decoder->reader, field, AB_THRIFT_STRUCT);
    if (decoder->reader.has_failed || footer->fields == NULL || footer->groups != NULL) {
        return AB_CORRUPT;
    }
    footer->groups = ab_arena_zalloc(decoder->arena, (count + 1) * sizeof *footer->groups);
    if (footer->groups == NULL) {
        return AB_FULL;
    }
    for (size_t i = 0; i < count; i++) {
        AB_TRY(group_take(decoder, &footer->groups[i]));
    }
    footer->groups_count = count;
    return AB_OK;
}

static ab_err notes_take(struct decoder *decoder, const struct ab_thrift_field *field)
{
    struct ab_parquet_footer *footer = decoder->footer;
    size_t count = ab_thrift_take_list(&decoder->reader, field, AB_THRIFT_STRUCT);
    footer->notes = ab_arena_zalloc(decoder->arena, (count + 1) * sizeof *footer->notes);
    if (footer->notes == NULL) {
        return AB_FULL;
    }
    for (size_t i = 0; i < count && !decoder->reader.has_failed; i++) {
        struct ab_bytes key;
        struct ab_bytes value;
        key_value_take(decoder, &key, &value);
        footer->notes[i].key = (const char *)ab_arena_copy(decoder->arena, key).data;
        footer->notes[i].value = (const char *)ab_arena_copy(decoder->arena, value).data;
        if (footer->notes[i].key == NULL || footer->notes[i].value == NULL) {
            return AB_FULL;
        }
    }
    footer->notes_count = count;
    return decoder->reader.has_failed ? AB_CORRUPT : AB_OK;
}

static ab_err file_meta_take(struct decoder *decoder)
{
    struct ab_parquet_footer *footer = decoder->footer;
    int64_t rows_count = -1;
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(&decoder->reader, &field)) {
        if (field.id == 2) {
            AB_TRY(schema_take(decoder, &field));
        } else if (field.id == 3) {
            rows_count = ab_thrift_take_integer(&decoder->reader, &field);
        } else if (field.id == 4) {
            AB_TRY(groups_take(decoder, &field));
        } else if (field.id == 5) {
            AB_TRY(notes_take(decoder, &field));
        } else {
            ab_thrift_skip(&decoder->reader, &field);
        }
    }
    if (decoder->reader.has_failed || ab_reader_left(&decoder->reader) > 0 || footer->fields == NULL ||
        footer->groups == NULL || rows_count < 0) {
        return AB_CORRUPT;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < footer->groups_count; i++) {
        sum += footer->groups[i].rows_count;
    }
    footer->rows_count = (uint64_t)rows_count;
    return sum == footer->rows_count ? AB_OK : AB_CORRUPT;
}

ab_err ab_parquet_footer_decode(
    struct ab_bytes bytes, struct ab_arena *arena, struct ab_parquet_footer *footer, struct ab_error *error)
{
    struct ab_parquet_footer decoded = {0};
    struct ab_error detail = {0};
    struct decoder decoder = {.reader = ab_reader_of(bytes), .arena = arena, .footer = &decoded, .error = &detail};
    ab_err err = file_meta_take(&decoder);
    if (err != AB_OK) {
        return ab_error_set(error, err, "%s",
            detail.text[0] != 0 ? detail.text
            : err == AB_FULL    ? "the Parquet footer does not fit its memory budget"
                                : "malformed Parquet footer");
    }
    *footer = decoded;
    return AB_OK;
}

/* The inner header of a page: ids of values and encoding differ by kind. */
static void page_inner_take(struct ab_reader *reader, struct ab_parquet_page_head *head, int outer_id)
{
    int64_t numbers[8] = {-1, -1, -1, -1, -1, 0, 0, -1};
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(reader, &field)) {
        if (outer_id == 8 && field.id == 7) {
            head->is_compressed = ab_thrift_take_boolean(reader, &field);
        } else if (field.id >= 1 && field.id <= (outer_id == 8 ? 6 : 2)) {
            numbers[field.id] = ab_thrift_take_integer(reader, &field);
        } else {
            ab_thrift_skip(reader, &field);
        }
    }
    bool is_v2 = outer_id == 8;
    int64_t encoding = numbers[is_v2 ? 4 : 2];
    if (numbers[1] < 0 || encoding < 0 || encoding > 64 ||
        (is_v2 && (numbers[2] < 0 || numbers[5] < 0 || numbers[6] != 0 || numbers[3] != numbers[1]))) {
        reader->has_failed = true;
        return;
    }
    head->values_count = (uint32_t)numbers[1];
    head->encoding = (int)encoding;
    if (is_v2) {
        head->nulls_count = (uint32_t)numbers[2];
        head->levels_bytes = (uint32_t)numbers[5];
    }
    reader->has_failed |= numbers[1] > UINT32_MAX || numbers[5] > UINT32_MAX || numbers[2] > UINT32_MAX;
}

ab_err ab_parquet_page_head_take(struct ab_reader *reader, struct ab_parquet_page_head *head)
{
    struct ab_parquet_page_head taken = {.kind = -1, .is_compressed = true};
    int64_t kind = -1;
    int64_t uncompressed = -1;
    int64_t compressed = -1;
    int inner_id = 0;
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(reader, &field)) {
        if (field.id == 1) {
            kind = ab_thrift_take_integer(reader, &field);
        } else if (field.id == 2) {
            uncompressed = ab_thrift_take_integer(reader, &field);
        } else if (field.id == 3) {
            compressed = ab_thrift_take_integer(reader, &field);
        } else if ((field.id == 5 || field.id == 7 || field.id == 8) && field.type == AB_THRIFT_STRUCT) {
            inner_id = field.id;
            page_inner_take(reader, &taken, inner_id);
        } else {
            ab_thrift_skip(reader, &field);
        }
    }
    int expected_id = kind == AB_PAGE_DATA ? 5 : kind == AB_PAGE_DICTIONARY ? 7 : kind == AB_PAGE_DATA_V2 ? 8 : -1;
    if (reader->has_failed || expected_id != inner_id || uncompressed < 0 || compressed < 0 ||
        uncompressed > AB_PARQUET_PAGE_BYTES_MAX || compressed > AB_PARQUET_PAGE_BYTES_MAX) {
        return AB_CORRUPT;
    }
    taken.kind = (int)kind;
    taken.uncompressed_bytes = (uint32_t)uncompressed;
    taken.compressed_bytes = (uint32_t)compressed;
    *head = taken;
    return AB_OK;
}
