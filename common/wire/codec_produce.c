#include "common/wire/codec.h"

#include "common/wire/proto/envelope.pb-c.h"

static Anabranch__RejectedRow **rejected_messages(
    struct ab_arena *arena, const struct ab_wire_rejected *rows, size_t count, struct ab_buffer *out)
{
    Anabranch__RejectedRow *messages = ab_codec_array(arena, count, sizeof *messages, out);
    Anabranch__RejectedRow **pointers = ab_codec_array(arena, count, sizeof *pointers, out);
    if (messages == NULL || pointers == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        anabranch__rejected_row__init(&messages[i]);
        messages[i].row = rows[i].row;
        messages[i].reason = ab_codec_text(arena, rows[i].reason, out);
        pointers[i] = &messages[i];
    }
    return pointers;
}

void ab_wire_produce_reply_encode(const struct ab_wire_produce_reply *reply, struct ab_buffer *out)
{
    struct ab_arena arena = {0};
    size_t count = reply->rejected_rows_count;
    Anabranch__ProduceReply message = ANABRANCH__PRODUCE_REPLY__INIT;
    message.offset = reply->offset;
    message.accepted = reply->accepted;
    message.rejected = reply->rejected;
    message.duplicates = reply->duplicates;
    message.is_repeat = reply->is_repeat;
    message.n_rejected_rows = count < AB_PRODUCE_REJECTED_MAX ? count : AB_PRODUCE_REJECTED_MAX;
    message.rejected_rows = rejected_messages(&arena, reply->rejected_rows, message.n_rejected_rows, out);
    ab_codec_pack(&message.base, out);
    ab_arena_fini(&arena);
}

ab_err ab_wire_produce_reply_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_produce_reply *reply)
{
    ProtobufCMessage *unpacked = NULL;
    AB_TRY(ab_codec_unpack(&anabranch__produce_reply__descriptor, bytes, arena, &unpacked));
    const Anabranch__ProduceReply *message = (const Anabranch__ProduceReply *)unpacked;
    if (message->n_rejected_rows > AB_PRODUCE_REJECTED_MAX) {
        return AB_INVALID;
    }
    struct ab_wire_rejected *rows = ab_arena_zalloc(arena, (message->n_rejected_rows + 1) * sizeof *rows);
    if (rows == NULL) {
        return AB_FULL;
    }
    for (size_t i = 0; i < message->n_rejected_rows; i++) {
        rows[i].row = message->rejected_rows[i]->row;
        rows[i].reason = ab_bytes_of_text(message->rejected_rows[i]->reason);
    }
    *reply = (struct ab_wire_produce_reply){
        .offset = message->offset,
        .accepted = message->accepted,
        .rejected = message->rejected,
        .duplicates = message->duplicates,
        .rejected_rows = rows,
        .rejected_rows_count = message->n_rejected_rows,
        .is_repeat = message->is_repeat,
    };
    return AB_OK;
}
