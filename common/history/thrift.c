#include "common/history/thrift.h"

#include "common/base/assert.h"

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* ---- writing ---- */

void ab_thrift_writer_init(struct ab_thrift_writer *writer, struct ab_buffer *out)
{
    *writer = (struct ab_thrift_writer){.out = out};
}

static void field_put(struct ab_thrift_writer *writer, int id, enum ab_thrift_type type)
{
    int *last_id = &writer->last_id[writer->depth];
    int delta = id - *last_id;
    AB_ASSERT(delta > 0 && delta <= 15);
    ab_buffer_put_u8(writer->out, (uint8_t)((delta << 4) | (int)type));
    *last_id = id;
}

void ab_thrift_put_i32(struct ab_thrift_writer *writer, int id, int64_t value)
{
    field_put(writer, id, AB_THRIFT_I32);
    ab_buffer_put_varint(writer->out, zigzag(value));
}

void ab_thrift_put_i64(struct ab_thrift_writer *writer, int id, int64_t value)
{
    field_put(writer, id, AB_THRIFT_I64);
    ab_buffer_put_varint(writer->out, zigzag(value));
}

void ab_thrift_put_binary(struct ab_thrift_writer *writer, int id, struct ab_bytes value)
{
    field_put(writer, id, AB_THRIFT_BINARY);
    ab_buffer_put_blob(writer->out, value);
}

void ab_thrift_put_boolean(struct ab_thrift_writer *writer, int id, bool value)
{
    field_put(writer, id, value ? AB_THRIFT_TRUE : AB_THRIFT_FALSE);
}

void ab_thrift_begin(struct ab_thrift_writer *writer, int id)
{
    field_put(writer, id, AB_THRIFT_STRUCT);
    ab_thrift_element_begin(writer);
}

void ab_thrift_put_list(struct ab_thrift_writer *writer, int id, enum ab_thrift_type type, size_t count)
{
    field_put(writer, id, AB_THRIFT_LIST);
    if (count < 15) {
        ab_buffer_put_u8(writer->out, (uint8_t)((count << 4) | type));
        return;
    }
    ab_buffer_put_u8(writer->out, (uint8_t)(0xF0 | type));
    ab_buffer_put_varint(writer->out, count);
}

void ab_thrift_element_begin(struct ab_thrift_writer *writer)
{
    AB_ASSERT(writer->depth + 1 < AB_THRIFT_DEPTH_MAX);
    writer->last_id[++writer->depth] = 0;
}

void ab_thrift_element_i32(struct ab_thrift_writer *writer, int64_t value)
{
    ab_buffer_put_varint(writer->out, zigzag(value));
}

void ab_thrift_element_binary(struct ab_thrift_writer *writer, struct ab_bytes value)
{
    ab_buffer_put_blob(writer->out, value);
}

void ab_thrift_end(struct ab_thrift_writer *writer)
{
    ab_buffer_put_u8(writer->out, AB_THRIFT_STOP);
    writer->depth--;
}

/* ---- reading ---- */

bool ab_thrift_next(struct ab_reader *reader, struct ab_thrift_field *field)
{
    uint8_t head = ab_reader_u8(reader);
    if (reader->has_failed || head == AB_THRIFT_STOP) {
        return false;
    }
    field->type = head & 0x0F;
    if ((head >> 4) != 0) {
        field->id += head >> 4;
        return true;
    }
    int64_t id = unzigzag(ab_reader_varint(reader));
    if (id < 0 || id > INT16_MAX) {
        reader->has_failed = true;
    }
    field->id = (int)id;
    return !reader->has_failed;
}

int64_t ab_thrift_take_integer(struct ab_reader *reader, const struct ab_thrift_field *field)
{
    if (field->type < AB_THRIFT_I16 || field->type > AB_THRIFT_I64) {
        reader->has_failed = true;
        return 0;
    }
    return unzigzag(ab_reader_varint(reader));
}

struct ab_bytes ab_thrift_take_binary(struct ab_reader *reader, const struct ab_thrift_field *field)
{
    if (field->type != AB_THRIFT_BINARY) {
        reader->has_failed = true;
        return (struct ab_bytes){0};
    }
    return ab_reader_blob(reader);
}

bool ab_thrift_take_boolean(struct ab_reader *reader, const struct ab_thrift_field *field)
{
    if (field->type != AB_THRIFT_TRUE && field->type != AB_THRIFT_FALSE) {
        reader->has_failed = true;
    }
    return field->type == AB_THRIFT_TRUE;
}

/* Head of a list; every element takes at least a byte, so more elements than bytes cannot be. */
static size_t list_head(struct ab_reader *reader, uint8_t *type)
{
    uint8_t head = ab_reader_u8(reader);
    *type = head & 0x0F;
    uint64_t count = head >> 4;
    if (count == 15) {
        count = ab_reader_varint(reader);
    }
    if (count > ab_reader_left(reader)) {
        reader->has_failed = true;
    }
    return reader->has_failed ? 0 : (size_t)count;
}

size_t ab_thrift_take_list(struct ab_reader *reader, const struct ab_thrift_field *field, enum ab_thrift_type type)
{
    uint8_t element_type = 0;
    if (field->type != AB_THRIFT_LIST) {
        reader->has_failed = true;
        return 0;
    }
    size_t count = list_head(reader, &element_type);
    if (count > 0 && element_type != (uint8_t)type) {
        reader->has_failed = true;
        return 0;
    }
    return count;
}

void ab_thrift_take_struct(struct ab_reader *reader, const struct ab_thrift_field *field)
{
    if (field->type != AB_THRIFT_STRUCT) {
        reader->has_failed = true;
    }
}

static void value_skip(struct ab_reader *reader, uint8_t type, bool is_element, int depth);

static void list_skip(struct ab_reader *reader, int depth)
{
    uint8_t type = 0;
    size_t count = list_head(reader, &type);
    for (size_t i = 0; i < count && !reader->has_failed; i++) {
        value_skip(reader, type, true, depth + 1);
    }
}

static void map_skip(struct ab_reader *reader, int depth)
{
    uint64_t count = ab_reader_varint(reader);
    uint8_t types = count == 0 ? 0 : ab_reader_u8(reader);
    if (count > ab_reader_left(reader)) {
        reader->has_failed = true;
    }
    for (uint64_t i = 0; i < count && !reader->has_failed; i++) {
        value_skip(reader, types >> 4, true, depth + 1);
        value_skip(reader, types & 0x0F, true, depth + 1);
    }
}

static void struct_skip(struct ab_reader *reader, int depth)
{
    struct ab_thrift_field field = {0};
    while (ab_thrift_next(reader, &field)) {
        value_skip(reader, field.type, false, depth + 1);
    }
}

/* A boolean field's value is its type; as an element it is a byte. */
static void value_skip(struct ab_reader *reader, uint8_t type, bool is_element, int depth)
{
    if (depth > AB_THRIFT_DEPTH_MAX) {
        reader->has_failed = true;
        return;
    }
    switch (type) {
    case AB_THRIFT_TRUE:
    case AB_THRIFT_FALSE:
        (void)ab_reader_bytes(reader, is_element ? 1 : 0);
        return;
    case AB_THRIFT_I8:
        (void)ab_reader_u8(reader);
        return;
    case AB_THRIFT_I16:
    case AB_THRIFT_I32:
    case AB_THRIFT_I64:
        (void)ab_reader_varint(reader);
        return;
    case AB_THRIFT_DOUBLE:
        (void)ab_reader_u64(reader);
        return;
    case AB_THRIFT_BINARY:
        (void)ab_reader_blob(reader);
        return;
    case AB_THRIFT_LIST:
    case AB_THRIFT_SET:
        list_skip(reader, depth);
        return;
    case AB_THRIFT_MAP:
        map_skip(reader, depth);
        return;
    case AB_THRIFT_STRUCT:
        struct_skip(reader, depth);
        return;
    default:
        reader->has_failed = true;
    }
}

void ab_thrift_skip(struct ab_reader *reader, const struct ab_thrift_field *field)
{
    value_skip(reader, field->type, false, 0);
}
