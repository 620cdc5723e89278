/* thrift: the part of Thrift's compact protocol that Parquet's footer and page headers are written in.
 *
 * A struct is a run of fields, each a byte (id delta << 4 | type), or type and zigzag id when the delta is not
 * in 1..15, ended by 0. Integers are zigzag varints, binaries have a varint length, lists a byte (count << 4 | type),
 * or 0xF? and a varint count.
 *
 * Threads: owner. Reading is bounds-checked through struct ab_reader; nesting is bounded.
 */
#ifndef ANABRANCH_COMMON_HISTORY_THRIFT_H
#define ANABRANCH_COMMON_HISTORY_THRIFT_H

#include "common/base/buffer.h"

#define AB_THRIFT_DEPTH_MAX 16

enum ab_thrift_type {
    AB_THRIFT_STOP = 0,
    AB_THRIFT_TRUE = 1,
    AB_THRIFT_FALSE = 2,
    AB_THRIFT_I8 = 3,
    AB_THRIFT_I16 = 4,
    AB_THRIFT_I32 = 5,
    AB_THRIFT_I64 = 6,
    AB_THRIFT_DOUBLE = 7,
    AB_THRIFT_BINARY = 8,
    AB_THRIFT_LIST = 9,
    AB_THRIFT_SET = 10,
    AB_THRIFT_MAP = 11,
    AB_THRIFT_STRUCT = 12,
};

/* Writes nested structs into a buffer. */
struct ab_thrift_writer {
    struct ab_buffer *out; /* borrowed */
    int depth;
    int last_id[AB_THRIFT_DEPTH_MAX]; /* of the field written last, per level */
};

/* Starts with one open struct. */
void ab_thrift_writer_init(struct ab_thrift_writer *writer, struct ab_buffer *out);

/* Writes a field with its value. */
void ab_thrift_put_i32(struct ab_thrift_writer *writer, int id, int64_t value);
void ab_thrift_put_i64(struct ab_thrift_writer *writer, int id, int64_t value);
void ab_thrift_put_binary(struct ab_thrift_writer *writer, int id, struct ab_bytes value);
void ab_thrift_put_boolean(struct ab_thrift_writer *writer, int id, bool value);

/* Opens a struct field; ends with ab_thrift_end. */
void ab_thrift_begin(struct ab_thrift_writer *writer, int id);

/* Writes the head of a list of `count` elements; the elements follow: structs between element_begin and end, or bare
 * values. */
void ab_thrift_put_list(struct ab_thrift_writer *writer, int id, enum ab_thrift_type type, size_t count);
void ab_thrift_element_begin(struct ab_thrift_writer *writer);
void ab_thrift_element_i32(struct ab_thrift_writer *writer, int64_t value);
void ab_thrift_element_binary(struct ab_thrift_writer *writer, struct ab_bytes value);

/* Ends the innermost open struct. */
void ab_thrift_end(struct ab_thrift_writer *writer);

/* The head of a field while reading. Start each struct with a zeroed one. */
struct ab_thrift_field {
    int id;
    uint8_t type; /* enum ab_thrift_type */
};

/* The next field of a struct: false at its end or when reading failed (see reader->has_failed). */
bool ab_thrift_next(struct ab_reader *reader, struct ab_thrift_field *field);

/* Takes the value of a field of the types named; a field of another type fails the reader. */
int64_t ab_thrift_take_integer(struct ab_reader *reader, const struct ab_thrift_field *field);
struct ab_bytes ab_thrift_take_binary(struct ab_reader *reader, const struct ab_thrift_field *field);
bool ab_thrift_take_boolean(struct ab_reader *reader, const struct ab_thrift_field *field);

/* Takes a list's head: number of elements (never more than bytes are left), each of `type`; fails on other types. */
size_t ab_thrift_take_list(struct ab_reader *reader, const struct ab_thrift_field *field, enum ab_thrift_type type);

/* Fails the reader unless the field is a struct, whose fields then follow. */
void ab_thrift_take_struct(struct ab_reader *reader, const struct ab_thrift_field *field);

/* Skips a field's value whatever it is; nesting beyond AB_THRIFT_DEPTH_MAX fails the reader. */
void ab_thrift_skip(struct ab_reader *reader, const struct ab_thrift_field *field);

#endif
