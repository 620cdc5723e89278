/* What replicas say to each other. */
#include "common/base/assert.h"
#include "common/wire/replica_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool is_same(const struct ab_replica_message *a, const struct ab_replica_message *b)
{
    return a->kind == b->kind && a->status == b->status && a->partition == b->partition && a->from == b->from &&
           a->to == b->to && ab_hash128_equal(a->from_incarnation, b->from_incarnation) &&
           ab_hash128_equal(a->from_disk_id, b->from_disk_id) && a->leader_epoch == b->leader_epoch &&
           a->request == b->request && a->epoch == b->epoch && a->offset == b->offset && a->durable == b->durable &&
           a->high_watermark == b->high_watermark && a->log_start == b->log_start && a->bytes_max == b->bytes_max &&
           a->bytes_total == b->bytes_total && ab_hash128_equal(a->chain, b->chain) &&
           ab_bytes_equal(a->records, b->records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ab_bytes input = ab_bytes_of(data, bytes);
    struct ab_replica_message message;
    struct ab_replica_message again;
    struct ab_buffer encoded = {0};
    ab_err err = ab_replica_message_decode(input, &message);
    AB_ASSERT(err == AB_OK || err == AB_INVALID);
    if (err != AB_OK) {
        return 0;
    }
    AB_ASSERT(message.records.bytes == 0 || message.records.data + message.records.bytes == data + bytes);
    ab_replica_message_encode(&message, &encoded);
    AB_ASSERT(ab_replica_message_decode(ab_buffer_view(&encoded), &again) == AB_OK);
    AB_ASSERT(is_same(&message, &again));
    ab_buffer_fini(&encoded);
    return 0;
}
