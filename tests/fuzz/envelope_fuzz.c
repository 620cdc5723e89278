/* The envelope and the payloads of the protocol. The first byte of an input says which: 0 envelope, 1 columns, ... */
#include "common/base/assert.h"
#include "common/wire/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void fuzz_envelope(struct ab_bytes bytes)
{
    struct ab_envelope envelope;
    struct ab_envelope again;
    struct ab_buffer encoded = {0};
    if (ab_envelope_decode(bytes, &envelope) != AB_OK) {
        return;
    }
    ab_envelope_encode(&envelope, &encoded);
    AB_ASSERT(ab_envelope_decode(ab_buffer_view(&encoded), &again) == AB_OK);
    AB_ASSERT(again.request_id == envelope.request_id && again.verb == envelope.verb);
    ab_buffer_fini(&encoded);
}

static ab_err decode(uint8_t kind, struct ab_bytes bytes, struct ab_arena *arena)
{
    const struct ab_wire_column *columns;
    size_t count;
    struct ab_wire_produce_reply produce;
    struct ab_wire_query query;
    struct ab_wire_query_reply reply;
    struct ab_wire_state_query state_query;
    struct ab_wire_state_reply state_reply;
    switch (kind % 7) {
    case 0:
        fuzz_envelope(bytes);
        return AB_OK;
    case 1:
        return ab_wire_columns_decode(bytes, arena, &columns, &count);
    case 2:
        return ab_wire_produce_reply_decode(bytes, arena, &produce);
    case 3:
        return ab_wire_query_decode(bytes, arena, &query);
    case 4:
        return ab_wire_query_reply_decode(bytes, arena, &reply);
    case 5:
        return ab_wire_state_query_decode(bytes, arena, &state_query);
    default:
        return ab_wire_state_reply_decode(bytes, arena, &state_reply);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ab_memory memory;
    struct ab_arena arena;
    if (bytes == 0) {
        return 0;
    }
    ab_memory_init(&memory, 32u << 20, NULL);
    ab_arena_init(&arena, &memory, 4096);
    ab_err err = decode(data[0], ab_bytes_of(data + 1, bytes - 1), &arena);
    AB_ASSERT(err == AB_OK || err == AB_INVALID || bytes > 1u << 20);
    ab_arena_fini(&arena);
    return 0;
}
