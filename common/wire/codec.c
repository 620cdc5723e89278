#include "common/wire/codec.h"

#include "common/wire/proto/block.pb-c.h"

#include <stddef.h>

/* Where one unpacking gets its memory. */
struct source {
    struct ab_arena *arena; /* NULL: from `room` */
    uint8_t *room;          /* borrowed */
    size_t left_bytes;
    bool is_arena_full;
};

static void *source_alloc(void *context, size_t bytes)
{
    struct source *source = context;
    /* Alignment is counted, so that many small pieces cannot pass the bound either. */
    size_t rounded = bytes > SIZE_MAX - 15 ? SIZE_MAX : (bytes + 15) & ~(size_t)15;
    if (rounded > source->left_bytes) {
        return NULL;
    }
    source->left_bytes -= rounded;
    if (source->arena == NULL) {
        void *piece = source->room;
        source->room += rounded;
        return piece;
    }
    void *piece = ab_arena_alloc(source->arena, rounded);
    source->is_arena_full = piece == NULL;
    return piece;
}

/* Pieces go all together, with the arena. */
static void source_free(void *context, void *piece)
{
    (void)context;
    (void)piece;
}

static ProtobufCMessage *source_unpack(
    struct source *source, const ProtobufCMessageDescriptor *descriptor, struct ab_bytes bytes)
{
    static const uint8_t nothing[1] = {0};
    ProtobufCAllocator allocator = {.alloc = source_alloc, .free = source_free, .allocator_data = source};
    return protobuf_c_message_unpack(descriptor, &allocator, bytes.bytes, bytes.bytes == 0 ? nothing : bytes.data);
}

ab_err ab_codec_unpack(const ProtobufCMessageDescriptor *descriptor, struct ab_bytes bytes, struct ab_arena *arena,
    ProtobufCMessage **message)
{
    if (bytes.bytes > UINT32_MAX) {
        return AB_INVALID;
    }
    struct source source = {.arena = arena, .left_bytes = AB_CODEC_BYTES_FACTOR * bytes.bytes + AB_CODEC_BYTES_BASE};
    ProtobufCMessage *unpacked = source_unpack(&source, descriptor, bytes);
    if (unpacked == NULL) {
        return source.is_arena_full ? AB_FULL : AB_INVALID;
    }
    *message = unpacked;
    return AB_OK;
}

ab_err ab_codec_unpack_small(const ProtobufCMessageDescriptor *descriptor, struct ab_bytes bytes, uint8_t *room,
    size_t room_bytes, ProtobufCMessage **message)
{
    struct source source = {.room = room, .left_bytes = room_bytes};
    ProtobufCMessage *unpacked = source_unpack(&source, descriptor, bytes);
    if (unpacked == NULL) {
        return AB_INVALID;
    }
    *message = unpacked;
    return AB_OK;
}

void ab_codec_pack(const ProtobufCMessage *message, struct ab_buffer *out)
{
    if (out->has_failed) {
        return;
    }
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *at = bytes == 0 ? NULL : ab_buffer_extend(out, bytes);
    if (at != NULL) {
        protobuf_c_message_pack(message, at);
    }
}

void *ab_codec_array(struct ab_arena *arena, size_t count, size_t element_bytes, struct ab_buffer *out)
{
    void *array = ab_arena_zalloc(arena, (count + 1) * element_bytes);
    out->has_failed |= array == NULL;
    return array;
}

char *ab_codec_text(struct ab_arena *arena, struct ab_bytes text, struct ab_buffer *out)
{
    static char empty[1];
    struct ab_bytes copy = text.bytes == 0 ? ab_bytes_of(empty, 0) : ab_arena_copy(arena, text);
    out->has_failed |= copy.data == NULL;
    return copy.data == NULL ? empty : (char *)(uintptr_t)copy.data;
}

ProtobufCBinaryData ab_codec_data(struct ab_bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.bytes, .data = (uint8_t *)(uintptr_t)bytes.data};
}

struct ab_bytes ab_codec_bytes(ProtobufCBinaryData data)
{
    return ab_bytes_of(data.data, data.len);
}

ProtobufCBinaryData ab_codec_hash(struct ab_hash128 hash, uint8_t raw[16])
{
    for (unsigned i = 0; i < 8; i++) {
        raw[i] = (uint8_t)(hash.low >> (8 * i));
        raw[8 + i] = (uint8_t)(hash.high >> (8 * i));
    }
    bool is_zero = hash.low == 0 && hash.high == 0;
    return (ProtobufCBinaryData){.len = is_zero ? 0 : 16, .data = raw};
}

bool ab_codec_take_hash(ProtobufCBinaryData data, struct ab_hash128 *hash)
{
    if (data.len != 0 && data.len != 16) {
        return false;
    }
    struct ab_reader reader = ab_reader_of(ab_codec_bytes(data));
    *hash = (struct ab_hash128){0};
    if (data.len == 16) {
        hash->low = ab_reader_u64(&reader);
        hash->high = ab_reader_u64(&reader);
    }
    return true;
}

Anabranch__BlockColumn **ab_codec_columns(
    struct ab_arena *arena, const struct ab_wire_column *columns, size_t count, struct ab_buffer *out)
{
    Anabranch__BlockColumn *messages = ab_codec_array(arena, count, sizeof *messages, out);
    Anabranch__BlockColumn **pointers = ab_codec_array(arena, count, sizeof *pointers, out);
    if (messages == NULL || pointers == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        anabranch__block_column__init(&messages[i]);
        messages[i].name = ab_codec_text(arena, columns[i].name, out);
        messages[i].type_kind = columns[i].type_kind;
        messages[i].precision = columns[i].precision;
        messages[i].scale = columns[i].scale;
        messages[i].null_bitmap = ab_codec_data(columns[i].null_bitmap);
        messages[i].values = ab_codec_data(columns[i].values);
        messages[i].dictionary_ends = ab_codec_data(columns[i].dictionary_ends);
        messages[i].dictionary_bytes = ab_codec_data(columns[i].dictionary_bytes);
        pointers[i] = &messages[i];
    }
    return pointers;
}

ab_err ab_codec_take_columns(struct ab_arena *arena, Anabranch__BlockColumn *const *messages, size_t count,
    const struct ab_wire_column **columns)
{
    struct ab_wire_column *taken = ab_arena_zalloc(arena, (count + 1) * sizeof *taken);
    if (taken == NULL) {
        return AB_FULL;
    }
    for (size_t i = 0; i < count; i++) {
        taken[i] = (struct ab_wire_column){
            .name = ab_bytes_of_text(messages[i]->name),
            .type_kind = messages[i]->type_kind,
            .precision = messages[i]->precision,
            .scale = messages[i]->scale,
            .null_bitmap = ab_codec_bytes(messages[i]->null_bitmap),
            .values = ab_codec_bytes(messages[i]->values),
            .dictionary_ends = ab_codec_bytes(messages[i]->dictionary_ends),
            .dictionary_bytes = ab_codec_bytes(messages[i]->dictionary_bytes),
        };
    }
    *columns = taken;
    return AB_OK;
}
