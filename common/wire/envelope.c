#include "common/wire/envelope.h"

#include "common/wire/codec.h"

#include "common/wire/proto/envelope.pb-c.h"

#include <stdalign.h>

/* An envelope's texts are bounded, so a small fixed room is enough; what does not fit is not an envelope. */
#define ENVELOPE_ROOM_BYTES 8192

_Static_assert((int)AB_VERB_LOG_STATE == (int)ANABRANCH__VERB__VERB_LOG_STATE, "enum ab_verb equals anabranch.Verb");
_Static_assert(
    (int)AB_VERB_NODE_CHANGE == (int)ANABRANCH__VERB__VERB_NODE_CHANGE, "enum ab_verb equals anabranch.Verb");
_Static_assert((int)AB_VERB_REPLICATE == (int)ANABRANCH__VERB__VERB_REPLICATE, "enum ab_verb equals anabranch.Verb");
_Static_assert(
    (int)AB_VERB_JOB_PUBLISH == (int)ANABRANCH__VERB__VERB_JOB_PUBLISH, "enum ab_verb equals anabranch.Verb");

static bool is_zero(const uint8_t *bytes, size_t count)
{
    uint8_t all = 0;
    for (size_t i = 0; i < count; i++) {
        all |= bytes[i];
    }
    return all == 0;
}

void ab_envelope_encode(const struct ab_envelope *envelope, struct ab_buffer *out)
{
    uint8_t chain[16];
    Anabranch__Envelope message = ANABRANCH__ENVELOPE__INIT;
    message.protocol = envelope->protocol;
    if (!is_zero(envelope->cluster_id, sizeof envelope->cluster_id)) {
        message.cluster_id = ab_codec_data(ab_bytes_of(envelope->cluster_id, sizeof envelope->cluster_id));
    }
    message.request_id = envelope->request_id;
    message.deadline_ms = envelope->deadline_ms;
    message.verb = (Anabranch__Verb)envelope->verb;
    message.node = (char *)(uintptr_t)envelope->node;
    message.incarnation = envelope->incarnation;
    message.partition = envelope->partition;
    message.leader_epoch = envelope->leader_epoch;
    message.previous_offset = envelope->previous_offset;
    message.previous_chain = ab_codec_hash(envelope->previous_chain, chain);
    message.status = (uint32_t)envelope->status;
    message.error = (char *)(uintptr_t)envelope->error;
    ab_codec_pack(&message.base, out);
}

static bool text_take(const char *text, char *field, size_t field_bytes)
{
    size_t bytes = strlen(text);
    if (bytes >= field_bytes || !ab_bytes_is_utf8(ab_bytes_of(text, bytes))) {
        return false;
    }
    memcpy(field, text, bytes + 1);
    return true;
}

static bool message_is_acceptable(const Anabranch__Envelope *message)
{
    return message->protocol == AB_PROTOCOL_VERSION && (int)message->verb > AB_VERB_NONE &&
           (int)message->verb < AB_VERB_COUNT && (message->cluster_id.len == 0 || message->cluster_id.len == 16) &&
           message->status <= INT32_MAX;
}

ab_err ab_envelope_decode(struct ab_bytes bytes, struct ab_envelope *envelope)
{
    alignas(16) uint8_t room[ENVELOPE_ROOM_BYTES];
    ProtobufCMessage *unpacked = NULL;
    AB_TRY(ab_codec_unpack_small(&anabranch__envelope__descriptor, bytes, room, sizeof room, &unpacked));
    const Anabranch__Envelope *message = (const Anabranch__Envelope *)unpacked;
    struct ab_envelope decoded = {0};
    if (!message_is_acceptable(message) || !text_take(message->node, decoded.node, sizeof decoded.node) ||
        !text_take(message->error, decoded.error, sizeof decoded.error) ||
        !ab_codec_take_hash(message->previous_chain, &decoded.previous_chain)) {
        return AB_INVALID;
    }
    decoded.protocol = message->protocol;
    if (message->cluster_id.len != 0) {
        memcpy(decoded.cluster_id, message->cluster_id.data, sizeof decoded.cluster_id);
    }
    decoded.request_id = message->request_id;
    decoded.deadline_ms = message->deadline_ms;
    decoded.verb = (enum ab_verb)message->verb;
    decoded.incarnation = message->incarnation;
    decoded.partition = message->partition;
    decoded.leader_epoch = message->leader_epoch;
    decoded.previous_offset = message->previous_offset;
    decoded.status = (ab_err)message->status;
    *envelope = decoded;
    return AB_OK;
}
