#include "common/history/footer.h"

#include "common/history/thrift.h"

#define CREATED_BY "anabranch (build " AB_VERSION ")"

enum ab_parquet_physical ab_parquet_physical_of(struct ab_type type)
{
    switch (type.kind) {
    case AB_TYPE_BOOLEAN:
        return AB_PHYSICAL_BOOLEAN;
    case AB_TYPE_DOUBLE:
        return AB_PHYSICAL_DOUBLE;
    case AB_TYPE_DECIMAL:
        return AB_PHYSICAL_FIXED;
    case AB_TYPE_TEXT:
        return AB_PHYSICAL_BYTE_ARRAY;
    default:
        return AB_PHYSICAL_INT64;
    }
}

/* LogicalType, a union: one struct field named by its id. */
static void logical_type_put(struct ab_thrift_writer *writer, struct ab_type type)
{
    switch (type.kind) {
    case AB_TYPE_TEXT:
        ab_thrift_begin(writer, 10);
        ab_thrift_begin(writer, 1);
        ab_thrift_end(writer);
        ab_thrift_end(writer);
        return;
    case AB_TYPE_DECIMAL:
        ab_thrift_begin(writer, 10);
        ab_thrift_begin(writer, 5);
        ab_thrift_put_i32(writer, 1, type.scale);
        ab_thrift_put_i32(writer, 2, type.precision);
        ab_thrift_end(writer);
        ab_thrift_end(writer);
        return;
    case AB_TYPE_TIMESTAMP:
        ab_thrift_begin(writer, 10);
        ab_thrift_begin(writer, 8);
        ab_thrift_put_boolean(writer, 1, true);
        ab_thrift_begin(writer, 2);
        ab_thrift_begin(writer, 2);
        ab_thrift_end(writer);
        ab_thrift_end(writer);
        ab_thrift_end(writer);
        ab_thrift_end(writer);
        return;
    default:
        return;
    }
}

/* SchemaElement of a column. */
static void field_put(struct ab_thrift_writer *writer, const struct ab_parquet_field *field)
{
    struct ab_type type = field->type;
    ab_thrift_element_begin(writer);
    ab_thrift_put_i32(writer, 1, ab_parquet_physical_of(type));
    if (type.kind == AB_TYPE_DECIMAL) {
        ab_thrift_put_i32(writer, 2, 16);
    }
    ab_thrift_put_i32(writer, 3, field->is_required ? 0 : 1);
    ab_thrift_put_binary(writer, 4, ab_bytes_of_text(field->name));
    if (type.kind == AB_TYPE_TEXT) {
        ab_thrift_put_i32(writer, 6, AB_CONVERTED_UTF8);
    } else if (type.kind == AB_TYPE_TIMESTAMP) {
        ab_thrift_put_i32(writer, 6, AB_CONVERTED_TIMESTAMP_MICROS);
    } else if (type.kind == AB_TYPE_DECIMAL) {
        ab_thrift_put_i32(writer, 6, AB_CONVERTED_DECIMAL);
        ab_thrift_put_i32(writer, 7, type.scale);
        ab_thrift_put_i32(writer, 8, type.precision);
    }
    logical_type_put(writer, type);
    ab_thrift_end(writer);
}

static void key_value_put(struct ab_thrift_writer *writer, const char *key, const char *value)
{
    ab_thrift_element_begin(writer);
    ab_thrift_put_binary(writer, 1, ab_bytes_of_text(key));
    ab_thrift_put_binary(writer, 2, ab_bytes_of_text(value));
    ab_thrift_end(writer);
}

static void hash_format(uint64_t hash, char text[17])
{
    for (int i = 0; i < 16; i++) {
        text[i] = "0123456789abcdef"[(hash >> (60 - 4 * i)) & 15];
    }
    text[16] = 0;
}

static void statistics_put(struct ab_thrift_writer *writer, const struct ab_parquet_chunk *chunk)
{
    ab_thrift_begin(writer, 12);
    ab_thrift_put_i64(writer, 3, (int64_t)chunk->nulls_count);
    if (chunk->has_bounds) {
        ab_thrift_put_binary(writer, 5, chunk->max);
        ab_thrift_put_binary(writer, 6, chunk->min);
    }
    ab_thrift_end(writer);
}

/* ColumnChunk with its ColumnMetaData. */
static void chunk_put(
    struct ab_thrift_writer *writer, const struct ab_parquet_field *field, const struct ab_parquet_chunk *chunk)
{
    char hash[17];
    hash_format(chunk->hash, hash);
    ab_thrift_element_begin(writer);
    ab_thrift_put_i64(writer, 2, (int64_t)chunk->start);
    ab_thrift_begin(writer, 3);
    ab_thrift_put_i32(writer, 1, ab_parquet_physical_of(field->type));
    ab_thrift_put_list(writer, 2, AB_THRIFT_I32, chunk->encoding == AB_ENCODING_PLAIN ? 2 : 3);
    ab_thrift_element_i32(writer, AB_ENCODING_PLAIN);
    ab_thrift_element_i32(writer, AB_ENCODING_RLE);
    if (chunk->encoding != AB_ENCODING_PLAIN) {
        ab_thrift_element_i32(writer, chunk->encoding);
    }
    ab_thrift_put_list(writer, 3, AB_THRIFT_BINARY, 1);
    ab_thrift_element_binary(writer, ab_bytes_of_text(field->name));
    ab_thrift_put_i32(writer, 4, chunk->codec);
    ab_thrift_put_i64(writer, 5, (int64_t)chunk->values_count);
    ab_thrift_put_i64(writer, 6, (int64_t)chunk->uncompressed_bytes);
    ab_thrift_put_i64(writer, 7, (int64_t)chunk->compressed_bytes);
    ab_thrift_put_list(writer, 8, AB_THRIFT_STRUCT, 1);
    key_value_put(writer, AB_PARQUET_HASH_KEY, hash);
    ab_thrift_put_i64(writer, 9, (int64_t)chunk->data_page_offset);
    if (chunk->has_dictionary) {
        ab_thrift_put_i64(writer, 11, (int64_t)chunk->start);
    }
    statistics_put(writer, chunk);
    ab_thrift_end(writer);
    ab_thrift_end(writer);
}

static void group_put(
    struct ab_thrift_writer *writer, const struct ab_parquet_footer *footer, const struct ab_parquet_group *group)
{
    uint64_t uncompressed = 0;
    uint64_t compressed = 0;
    ab_thrift_element_begin(writer);
    ab_thrift_put_list(writer, 1, AB_THRIFT_STRUCT, footer->fields_count);
    for (size_t i = 0; i < footer->fields_count; i++) {
        chunk_put(writer, &footer->fields[i], &group->chunks[i]);
        uncompressed += group->chunks[i].uncompressed_bytes;
        compressed += group->chunks[i].compressed_bytes;
    }
    ab_thrift_put_i64(writer, 2, (int64_t)uncompressed);
    ab_thrift_put_i64(writer, 3, (int64_t)group->rows_count);
    ab_thrift_put_i64(writer, 6, (int64_t)compressed);
    ab_thrift_end(writer);
}

void ab_parquet_footer_encode(const struct ab_parquet_footer *footer, struct ab_buffer *out)
{
    struct ab_thrift_writer writer;
    ab_thrift_writer_init(&writer, out);
    ab_thrift_put_i32(&writer, 1, 2);
    ab_thrift_put_list(&writer, 2, AB_THRIFT_STRUCT, footer->fields_count + 1);
    ab_thrift_element_begin(&writer);
    ab_thrift_put_binary(&writer, 4, ab_bytes_of_text("schema"));
    ab_thrift_put_i32(&writer, 5, (int64_t)footer->fields_count);
    ab_thrift_end(&writer);
    for (size_t i = 0; i < footer->fields_count; i++) {
        field_put(&writer, &footer->fields[i]);
    }
    ab_thrift_put_i64(&writer, 3, (int64_t)footer->rows_count);
    ab_thrift_put_list(&writer, 4, AB_THRIFT_STRUCT, footer->groups_count);
    for (size_t i = 0; i < footer->groups_count; i++) {
        group_put(&writer, footer, &footer->groups[i]);
    }
    if (footer->notes_count > 0) {
        ab_thrift_put_list(&writer, 5, AB_THRIFT_STRUCT, footer->notes_count);
        for (size_t i = 0; i < footer->notes_count; i++) {
            key_value_put(&writer, footer->notes[i].key, footer->notes[i].value);
        }
    }
    ab_thrift_put_binary(&writer, 6, ab_bytes_of_text(CREATED_BY));
    /* Without ColumnOrder readers must ignore min_value and max_value. */
    ab_thrift_put_list(&writer, 7, AB_THRIFT_STRUCT, footer->fields_count);
    for (size_t i = 0; i < footer->fields_count; i++) {
        ab_thrift_element_begin(&writer);
        ab_thrift_begin(&writer, 1);
        ab_thrift_end(&writer);
        ab_thrift_end(&writer);
    }
    ab_thrift_end(&writer);
}

void ab_parquet_page_head_encode(const struct ab_parquet_page_head *head, struct ab_buffer *out)
{
    struct ab_thrift_writer writer;
    ab_thrift_writer_init(&writer, out);
    ab_thrift_put_i32(&writer, 1, head->kind);
    ab_thrift_put_i32(&writer, 2, head->uncompressed_bytes);
    ab_thrift_put_i32(&writer, 3, head->compressed_bytes);
    ab_thrift_begin(&writer, head->kind == AB_PAGE_DATA ? 5 : 7);
    ab_thrift_put_i32(&writer, 1, head->values_count);
    ab_thrift_put_i32(&writer, 2, head->encoding);
    if (head->kind == AB_PAGE_DATA) {
        ab_thrift_put_i32(&writer, 3, AB_ENCODING_RLE);
        ab_thrift_put_i32(&writer, 4, AB_ENCODING_RLE);
    }
    ab_thrift_end(&writer);
    ab_thrift_end(&writer);
}
