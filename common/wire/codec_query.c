#include "common/wire/codec.h"

#include "common/wire/proto/envelope.pb-c.h"

void ab_wire_query_encode(const struct ab_wire_query *query, struct ab_buffer *out)
{
    struct ab_arena arena = {0};
    Anabranch__QueryRequest message = ANABRANCH__QUERY_REQUEST__INIT;
    message.sql = ab_codec_text(&arena, query->sql, out);
    message.rows_max = query->rows_max;
    message.allow_partial = query->allow_partial;
    message.n_offsets = query->offsets_count;
    message.offsets = (uint64_t *)(uintptr_t)query->offsets;
    ab_codec_pack(&message.base, out);
    ab_arena_fini(&arena);
}

ab_err ab_wire_query_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_query *query)
{
    ProtobufCMessage *unpacked = NULL;
    AB_TRY(ab_codec_unpack(&anabranch__query_request__descriptor, bytes, arena, &unpacked));
    const Anabranch__QueryRequest *message = (const Anabranch__QueryRequest *)unpacked;
    *query = (struct ab_wire_query){
        .sql = ab_bytes_of_text(message->sql),
        .rows_max = message->rows_max,
        .allow_partial = message->allow_partial,
        .offsets = message->offsets,
        .offsets_count = message->n_offsets,
    };
    return AB_OK;
}

static char **warning_texts(
    struct ab_arena *arena, const struct ab_bytes *warnings, size_t count, struct ab_buffer *out)
{
    char **texts = ab_codec_array(arena, count, sizeof *texts, out);
    for (size_t i = 0; texts != NULL && i < count; i++) {
        texts[i] = ab_codec_text(arena, warnings[i], out);
    }
    return texts;
}

void ab_wire_query_reply_encode(const struct ab_wire_query_reply *reply, struct ab_buffer *out)
{
    struct ab_arena arena = {0};
    Anabranch__QueryReply message = ANABRANCH__QUERY_REPLY__INIT;
    Anabranch__Token token = ANABRANCH__TOKEN__INIT;
    token.cut = reply->token.cut;
    token.version = ab_codec_text(&arena, reply->token.version, out);
    token.n_offsets = reply->token.offsets_count;
    token.offsets = (uint64_t *)(uintptr_t)reply->token.offsets;
    token.horizon_us = reply->token.horizon_us;
    token.as_of_us = reply->token.as_of_us;
    token.is_complete = reply->token.is_complete;
    message.n_columns = reply->columns_count;
    message.columns = ab_codec_columns(&arena, reply->columns, reply->columns_count, out);
    message.rows_count = reply->rows_count;
    message.token = &token;
    message.n_warnings = reply->warnings_count;
    message.warnings = warning_texts(&arena, reply->warnings, reply->warnings_count, out);
    ab_codec_pack(&message.base, out);
    ab_arena_fini(&arena);
}

ab_err ab_wire_query_reply_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_query_reply *reply)
{
    ProtobufCMessage *unpacked = NULL;
    AB_TRY(ab_codec_unpack(&anabranch__query_reply__descriptor, bytes, arena, &unpacked));
    const Anabranch__QueryReply *message = (const Anabranch__QueryReply *)unpacked;
    if (message->token == NULL) {
        return AB_INVALID; /* an answer always says what it is */
    }
    struct ab_wire_query_reply decoded = {
        .columns_count = message->n_columns,
        .rows_count = message->rows_count,
        .token = {.cut = message->token->cut,
            .version = ab_bytes_of_text(message->token->version),
            .offsets = message->token->offsets,
            .offsets_count = message->token->n_offsets,
            .horizon_us = message->token->horizon_us,
            .as_of_us = message->token->as_of_us,
            .is_complete = message->token->is_complete},
        .warnings_count = message->n_warnings,
    };
    struct ab_bytes *warnings = ab_arena_zalloc(arena, (message->n_warnings + 1) * sizeof *warnings);
    if (warnings == NULL) {
        return AB_FULL;
    }
    for (size_t i = 0; i < message->n_warnings; i++) {
        warnings[i] = ab_bytes_of_text(message->warnings[i]);
    }
    decoded.warnings = warnings;
    AB_TRY(ab_codec_take_columns(arena, message->columns, message->n_columns, &decoded.columns));
    *reply = decoded;
    return AB_OK;
}

void ab_wire_state_query_encode(const struct ab_wire_state_query *query, struct ab_buffer *out)
{
    struct ab_arena arena = {0};
    uint8_t catalog_hash[16];
    Anabranch__StateQueryRequest message = ANABRANCH__STATE_QUERY_REQUEST__INIT;
    message.sql = ab_codec_text(&arena, query->sql, out);
    message.catalog_hash = ab_codec_hash(query->catalog_hash, catalog_hash);
    message.cut = query->cut;
    message.n_partitions = query->partitions_count;
    message.partitions = (uint32_t *)(uintptr_t)query->partitions;
    message.n_offsets = query->offsets == NULL ? 0 : query->partitions_count;
    message.offsets = (uint64_t *)(uintptr_t)query->offsets;
    ab_codec_pack(&message.base, out);
    ab_arena_fini(&arena);
}

ab_err ab_wire_state_query_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_state_query *query)
{
    ProtobufCMessage *unpacked = NULL;
    AB_TRY(ab_codec_unpack(&anabranch__state_query_request__descriptor, bytes, arena, &unpacked));
    const Anabranch__StateQueryRequest *message = (const Anabranch__StateQueryRequest *)unpacked;
    struct ab_wire_state_query decoded = {
        .sql = ab_bytes_of_text(message->sql),
        .cut = message->cut,
        .partitions = message->partitions,
        .partitions_count = message->n_partitions,
        .offsets = message->n_offsets == 0 ? NULL : message->offsets,
    };
    if (message->n_offsets != 0 && message->n_offsets != message->n_partitions) {
        return AB_INVALID;
    }
    if (!ab_codec_take_hash(message->catalog_hash, &decoded.catalog_hash)) {
        return AB_INVALID;
    }
    *query = decoded;
    return AB_OK;
}

void ab_wire_state_reply_encode(const struct ab_wire_state_reply *reply, struct ab_buffer *out)
{
    Anabranch__StateQueryReply message = ANABRANCH__STATE_QUERY_REPLY__INIT;
    message.rows = ab_codec_data(reply->rows);
    message.n_partitions = reply->partitions_count;
    message.partitions = (uint32_t *)(uintptr_t)reply->partitions;
    message.n_offsets = reply->partitions_count;
    message.offsets = (uint64_t *)(uintptr_t)reply->offsets;
    message.as_of_us = reply->as_of_us;
    ab_codec_pack(&message.base, out);
}

ab_err ab_wire_state_reply_decode(struct ab_bytes bytes, struct ab_arena *arena, struct ab_wire_state_reply *reply)
{
    ProtobufCMessage *unpacked = NULL;
    AB_TRY(ab_codec_unpack(&anabranch__state_query_reply__descriptor, bytes, arena, &unpacked));
    const Anabranch__StateQueryReply *message = (const Anabranch__StateQueryReply *)unpacked;
    if (message->n_partitions != message->n_offsets) {
        return AB_INVALID;
    }
    *reply = (struct ab_wire_state_reply){
        .rows = ab_codec_bytes(message->rows),
        .partitions = message->partitions,
        .offsets = message->offsets,
        .partitions_count = message->n_partitions,
        .as_of_us = message->as_of_us,
    };
    return AB_OK;
}
