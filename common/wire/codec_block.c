#include "common/wire/codec.h"

#include "common/wire/proto/block.pb-c.h"

#define FORMAT_VERSION 1u

void ab_wire_block_encode(const struct ab_wire_block *block, struct ab_buffer *out)
{
    struct ab_arena arena = {0};
    uint8_t prefix_hash[16];
    Anabranch__Block message = ANABRANCH__BLOCK__INIT;
    Anabranch__SourceMark mark = ANABRANCH__SOURCE_MARK__INIT;
    message.format_version = FORMAT_VERSION;
    message.stream = ab_codec_text(&arena, block->stream, out);
    message.producer_id = block->producer_id;
    message.sequence = block->sequence;
    message.partition = block->partition;
    message.rows_count = block->rows_count;
    message.is_raw = block->is_raw;
    if (block->source.bytes > 0) {
        mark.source = ab_codec_text(&arena, block->source, out);
        mark.first_position = block->first_position;
        mark.last_position = block->last_position;
        mark.byte_offset = block->byte_offset;
        mark.prefix_hash = ab_codec_hash(block->prefix_hash, prefix_hash);
        mark.position_deltas = ab_codec_data(block->position_deltas);
        message.mark = &mark;
    }
    message.compression = block->compression;
    message.n_columns = block->columns_count;
    message.columns = ab_codec_columns(&arena, block->columns, block->columns_count, out);
    message.compressed = ab_codec_data(block->compressed);
    message.uncompressed_bytes = block->uncompressed_bytes;
    ab_codec_pack(&message.base, out);
    ab_arena_fini(&arena);
}

ab_err ab_wire_block_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_block *block)
{
    ProtobufCMessage *unpacked = NULL;
    AB_TRY(ab_codec_unpack(&anabranch__block__descriptor, bytes, arena, &unpacked));
    const Anabranch__Block *message = (const Anabranch__Block *)unpacked;
    if (message->format_version != FORMAT_VERSION) {
        return AB_INVALID;
    }
    struct ab_wire_block decoded = {
        .stream = ab_bytes_of_text(message->stream),
        .producer_id = message->producer_id,
        .sequence = message->sequence,
        .partition = message->partition,
        .rows_count = message->rows_count,
        .is_raw = message->is_raw,
        .compression = message->compression,
        .uncompressed_bytes = message->uncompressed_bytes,
        .compressed = ab_codec_bytes(message->compressed),
        .columns_count = message->n_columns,
    };
    if (message->mark != NULL) {
        decoded.source = ab_bytes_of_text(message->mark->source);
        decoded.first_position = message->mark->first_position;
        decoded.last_position = message->mark->last_position;
        decoded.byte_offset = message->mark->byte_offset;
        decoded.position_deltas = ab_codec_bytes(message->mark->position_deltas);
        if (!ab_codec_take_hash(message->mark->prefix_hash, &decoded.prefix_hash)) {
            return AB_INVALID;
        }
    }
    AB_TRY(ab_codec_take_columns(arena, message->columns, message->n_columns, &decoded.columns));
    *block = decoded;
    return AB_OK;
}

void ab_wire_columns_encode(const struct ab_wire_column *columns, size_t count, struct ab_buffer *out)
{
    struct ab_arena arena = {0};
    Anabranch__BlockColumns message = ANABRANCH__BLOCK_COLUMNS__INIT;
    message.n_columns = count;
    message.columns = ab_codec_columns(&arena, columns, count, out);
    ab_codec_pack(&message.base, out);
    ab_arena_fini(&arena);
}

ab_err ab_wire_columns_decode(
    struct ab_bytes bytes, struct ab_arena *arena, const struct ab_wire_column **columns, size_t *count)
{
    ProtobufCMessage *unpacked = NULL;
    AB_TRY(ab_codec_unpack(&anabranch__block_columns__descriptor, bytes, arena, &unpacked));
    const Anabranch__BlockColumns *message = (const Anabranch__BlockColumns *)unpacked;
    AB_TRY(ab_codec_take_columns(arena, message->columns, message->n_columns, columns));
    *count = message->n_columns;
    return AB_OK;
}
