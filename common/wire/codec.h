/* codec: what the codecs of this folder share: bounded unpacking into an arena, packing into a buffer, and columns.
 *
 * Private to common/wire: the only header that shows protobuf-c types.
 *
 * Memory: unpacking a message of n bytes takes at most AB_CODEC_BYTES_FACTOR x n + AB_CODEC_BYTES_BASE bytes of the
 * arena. Without that bound two bytes of an empty repeated message would cost 150 bytes of structures.
 */
#ifndef ANABRANCH_COMMON_WIRE_CODEC_H
#define ANABRANCH_COMMON_WIRE_CODEC_H

#include "common/wire/envelope.h"

#include <protobuf-c/protobuf-c.h>

/* Generated; declared here so that this header stands alone. */
typedef struct Anabranch__BlockColumn Anabranch__BlockColumn;

/* 1024 columns of one row take about 360 KiB of structures, whatever their bytes. */
#define AB_CODEC_BYTES_FACTOR 4u
#define AB_CODEC_BYTES_BASE (512u << 10)

/* Unpacks a message into the arena, every piece 16-byte aligned; freed with the arena. AB_INVALID for malformed bytes
 * or past the bound above, AB_FULL when the arena's budget refuses. */
AB_MUST_USE ab_err ab_codec_unpack(const ProtobufCMessageDescriptor *descriptor, struct ab_bytes bytes,
    struct ab_arena *arena, ProtobufCMessage **message);

/* Unpacks a small message into caller's memory of `room_bytes` bytes, 16-byte aligned. AB_INVALID, also when it does
 * not fit. */
AB_MUST_USE ab_err ab_codec_unpack_small(const ProtobufCMessageDescriptor *descriptor, struct ab_bytes bytes,
    uint8_t *room, size_t room_bytes, ProtobufCMessage **message);

/* Appends the packed message. */
void ab_codec_pack(const ProtobufCMessage *message, struct ab_buffer *out);

/* A zeroed array in the arena of an encoder; NULL, and `out` failed, when there is no memory. */
void *ab_codec_array(struct ab_arena *arena, size_t count, size_t element_bytes, struct ab_buffer *out);

/* A NUL-terminated copy for a string field; "" and `out` failed when there is no memory. */
char *ab_codec_text(struct ab_arena *arena, struct ab_bytes text, struct ab_buffer *out);

/* Views as protobuf-c wants them and gives them. The bytes are borrowed; packing does not change them. */
ProtobufCBinaryData ab_codec_data(struct ab_bytes bytes);
struct ab_bytes ab_codec_bytes(ProtobufCBinaryData data);

/* A 128-bit hash as 16 bytes, low half first, little-endian; `raw` is the caller's 16 bytes. */
ProtobufCBinaryData ab_codec_hash(struct ab_hash128 hash, uint8_t raw[16]);
/* Reads a hash; empty is zero; false for any other length than 16. */
bool ab_codec_take_hash(ProtobufCBinaryData data, struct ab_hash128 *hash);

/* An array of column messages for packing, in the arena; NULL and `out` failed when there is no memory. */
Anabranch__BlockColumn **ab_codec_columns(
    struct ab_arena *arena, const struct ab_wire_column *columns, size_t count, struct ab_buffer *out);
/* The plain forms of unpacked columns, borrowing from the message. AB_FULL. */
AB_MUST_USE ab_err ab_codec_take_columns(struct ab_arena *arena, Anabranch__BlockColumn *const *messages, size_t count,
    const struct ab_wire_column **columns);

#endif
