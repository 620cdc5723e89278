#include "common/wire/replica_message.h"

#include "common/wire/codec.h"

#include "common/wire/proto/replica.pb-c.h"

#include <stdalign.h>

/* A message of the greatest length, unpacked; what takes more, as many unknown fields do, is refused. */
#define ROOM_BYTES 4096

_Static_assert((int)AB_REPLICA_EPOCH_ASK == (int)ANABRANCH__REPLICA_MESSAGE_KIND__REPLICA_EPOCH_ASK &&
                   (int)AB_REPLICA_INSTALL_PART == (int)ANABRANCH__REPLICA_MESSAGE_KIND__REPLICA_INSTALL_PART,
    "enum ab_replica_message_kind equals anabranch.ReplicaMessageKind");
_Static_assert((int)AB_REPLICA_FENCED == (int)ANABRANCH__REPLICA_STATUS__REPLICA_FENCED &&
                   (int)AB_REPLICA_NOT_LISTED == (int)ANABRANCH__REPLICA_STATUS__REPLICA_NOT_LISTED,
    "enum ab_replica_status equals anabranch.ReplicaStatus");

void ab_replica_message_encode(const struct ab_replica_message *message, struct ab_buffer *out)
{
    uint8_t incarnation[16];
    uint8_t disk_id[16];
    uint8_t chain[16];
    Anabranch__ReplicaMessage packed = ANABRANCH__REPLICA_MESSAGE__INIT;
    packed.kind = (Anabranch__ReplicaMessageKind)message->kind;
    packed.status = (Anabranch__ReplicaStatus)message->status;
    packed.partition = message->partition;
    packed.from = message->from;
    packed.to = message->to;
    packed.from_incarnation = ab_codec_hash(message->from_incarnation, incarnation);
    packed.from_disk_id = ab_codec_hash(message->from_disk_id, disk_id);
    packed.leader_epoch = message->leader_epoch;
    packed.request = message->request;
    packed.epoch = message->epoch;
    packed.offset = message->offset;
    packed.durable = message->durable;
    packed.high_watermark = message->high_watermark;
    packed.log_start = message->log_start;
    packed.bytes_max = message->bytes_max;
    packed.bytes_total = message->bytes_total;
    packed.chain = ab_codec_hash(message->chain, chain);
    ab_buffer_put_u32(out, (uint32_t)protobuf_c_message_get_packed_size(&packed.base));
    ab_codec_pack(&packed.base, out);
    ab_buffer_put_bytes(out, message->records);
}

static bool is_answer(enum ab_replica_message_kind kind)
{
    return kind == AB_REPLICA_EPOCH_ANSWER || kind == AB_REPLICA_FETCHED || kind == AB_REPLICA_INSTALL_PART;
}

/* The rules of the header that do not need the hashes. */
static bool is_acceptable(const struct ab_replica_message *message)
{
    bool is_known = message->kind >= AB_REPLICA_EPOCH_ASK && message->kind <= AB_REPLICA_INSTALL_PART &&
                    message->status >= AB_REPLICA_OK && message->status <= AB_REPLICA_NOT_LISTED;
    bool may_fail = is_answer(message->kind);
    bool may_bring = (message->kind == AB_REPLICA_FETCHED || message->kind == AB_REPLICA_INSTALL_PART) &&
                     message->status == AB_REPLICA_OK;
    return is_known && (may_fail || message->status == AB_REPLICA_OK) && (may_bring || message->records.bytes == 0) &&
           message->from != 0 && message->to != 0 && message->from != message->to;
}

ab_err ab_replica_message_decode(struct ab_bytes bytes, struct ab_replica_message *message)
{
    alignas(16) uint8_t room[ROOM_BYTES];
    ProtobufCMessage *unpacked = NULL;
    struct ab_reader reader = ab_reader_of(bytes);
    struct ab_bytes head = ab_reader_bytes(&reader, ab_reader_u32(&reader));
    if (reader.has_failed || head.bytes > AB_REPLICA_MESSAGE_HEAD_BYTES_MAX) {
        return AB_INVALID;
    }
    AB_TRY(ab_codec_unpack_small(&anabranch__replica_message__descriptor, head, room, sizeof room, &unpacked));
    const Anabranch__ReplicaMessage *packed = (const Anabranch__ReplicaMessage *)unpacked;
    struct ab_replica_message decoded = {
        .kind = (enum ab_replica_message_kind)packed->kind,
        .status = (enum ab_replica_status)packed->status,
        .partition = packed->partition,
        .from = packed->from,
        .to = packed->to,
        .leader_epoch = packed->leader_epoch,
        .request = packed->request,
        .epoch = packed->epoch,
        .offset = packed->offset,
        .durable = packed->durable,
        .high_watermark = packed->high_watermark,
        .log_start = packed->log_start,
        .bytes_max = packed->bytes_max,
        .bytes_total = packed->bytes_total,
        .records = ab_reader_bytes(&reader, ab_reader_left(&reader)),
    };
    if (!is_acceptable(&decoded) || !ab_codec_take_hash(packed->from_incarnation, &decoded.from_incarnation) ||
        !ab_codec_take_hash(packed->from_disk_id, &decoded.from_disk_id) ||
        !ab_codec_take_hash(packed->chain, &decoded.chain)) {
        return AB_INVALID;
    }
    *message = decoded;
    return AB_OK;
}
