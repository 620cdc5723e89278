#include "speed/dedup.h"

#include "speed/limits.h"
#include "common/base/assert.h"
#include "common/base/map.h"

#include <inttypes.h>

struct recent_block {
    struct ab_hash128 hash;
    struct ab_outcome outcome;
};

/* One producer; id 0 = the slot is free. The block of sequence s stands at ring[s % AB_DEDUP_RING]. */
struct producer {
    uint64_t id;
    uint64_t last_sequence;
    uint64_t last_offset; /* of its last block: the order of use */
    uint32_t ring_count;  /* how many of the last sequences the ring holds */
    bool is_dirty;
    struct recent_block ring[AB_DEDUP_RING];
};

struct source {
    struct ab_bytes key; /* owned: 's', stream, 0, source */
    struct ab_source_state state;
    bool is_dirty;
};

/* How to take one change back, newest last. */
struct undo {
    bool is_source;
    bool is_new; /* the source did not exist before */
    uint32_t index;
    uint64_t offset;          /* of the record that made it */
    struct producer producer; /* the slot before */
    struct ab_source_state state;
};

struct ab_dedup {
    struct ab_memory *memory;   /* borrowed; may be NULL */
    struct producer *producers; /* owned */
    uint32_t producers_max;
    uint32_t producers_count;
    struct ab_map *producer_index; /* owned: id -> slot */
    struct source *sources;        /* owned */
    uint32_t sources_count;
    uint32_t sources_capacity;
    uint32_t sources_max;
    struct ab_map *source_index; /* owned: key -> index */
    struct undo *journal;        /* owned */
    size_t journal_count;
    size_t journal_capacity;
    struct ab_buffer key; /* scratch */
};

struct ab_dedup *ab_dedup_create(uint32_t producers_max, uint32_t sources_max, struct ab_memory *memory)
{
    struct ab_dedup *dedup = ab_new(struct ab_dedup);
    dedup->memory = memory;
    dedup->producers_max = producers_max;
    dedup->producers = ab_new_array(struct producer, producers_max);
    dedup->producer_index = ab_map_create(NULL);
    dedup->sources_max = sources_max;
    dedup->source_index = ab_map_create(NULL);
    return dedup;
}

void ab_dedup_destroy(struct ab_dedup *dedup)
{
    if (dedup == NULL) {
        return;
    }
    for (uint32_t i = 0; i < dedup->sources_count; i++) {
        ab_memory_free(dedup->memory, (void *)dedup->sources[i].key.data, dedup->sources[i].key.bytes);
    }
    ab_memory_uncharge(dedup->memory, dedup->sources_capacity * sizeof(struct source));
    ab_delete(dedup->sources);
    ab_delete(dedup->producers);
    ab_delete(dedup->journal);
    ab_map_destroy(dedup->producer_index);
    ab_map_destroy(dedup->source_index);
    ab_buffer_fini(&dedup->key);
    ab_delete(dedup);
}

static struct undo *journal_add(struct ab_dedup *dedup, uint64_t offset)
{
    if (dedup->journal_count == dedup->journal_capacity) {
        dedup->journal_capacity = dedup->journal_capacity == 0 ? 64 : dedup->journal_capacity * 2;
        dedup->journal = ab_renew_bytes(dedup->journal, dedup->journal_capacity * sizeof(*dedup->journal));
    }
    struct undo *undo = &dedup->journal[dedup->journal_count++];
    *undo = (struct undo){.offset = offset};
    return undo;
}

/* ---- producers ---- */

static struct producer *producer_find(const struct ab_dedup *dedup, uint64_t id)
{
    uint64_t slot = 0;
    bool is_known = ab_map_get(dedup->producer_index, ab_bytes_of(&id, sizeof(id)), &slot);
    return is_known ? &dedup->producers[slot] : NULL;
}

ab_err ab_dedup_check(const struct ab_dedup *dedup, uint64_t producer_id, uint64_t sequence, struct ab_hash128 hash,
    struct ab_outcome *outcome, struct ab_error *error)
{
    const struct producer *producer = producer_find(dedup, producer_id);
    if (producer == NULL) {
        return sequence == 1
                   ? AB_OK
                   : ab_error_set(error, AB_SEQUENCE,
                         "producer is not known here (forgotten after long silence, or never seen): begin again "
                         "with a new producer at the source's marks; sequence %" PRIu64,
                         sequence);
    }
    if (sequence == producer->last_sequence + 1) {
        return AB_OK;
    }
    if (sequence > producer->last_sequence) {
        return ab_error_set(error, AB_SEQUENCE, "sequence %" PRIu64 " leaves a gap: the last one is %" PRIu64, sequence,
            producer->last_sequence);
    }
    if (sequence == 0 || producer->last_sequence - sequence >= producer->ring_count) {
        return ab_error_set(error, AB_SEQUENCE,
            "sequence %" PRIu64 " is older than the blocks remembered; the last is %" PRIu64, sequence,
            producer->last_sequence);
    }
    const struct recent_block *recent = &producer->ring[sequence % AB_DEDUP_RING];
    if (!ab_hash128_equal(recent->hash, hash)) {
        return ab_error_set(error, AB_MISMATCH, "sequence %" PRIu64 " was appended with other bytes at offset %" PRIu64,
            sequence, recent->outcome.offset);
    }
    *outcome = recent->outcome;
    return AB_EXISTS;
}

/* A free slot, or that of the producer that was silent longest. */
static uint32_t slot_choose(struct ab_dedup *dedup)
{
    if (dedup->producers_count < dedup->producers_max) {
        return dedup->producers_count++;
    }
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < dedup->producers_max; i++) {
        if (dedup->producers[i].last_offset < dedup->producers[oldest].last_offset) {
            oldest = i;
        }
    }
    return oldest;
}

static void slot_set(struct ab_dedup *dedup, uint32_t slot, const struct producer *content)
{
    struct producer *producer = &dedup->producers[slot];
    if (producer->id != content->id) {
        if (producer->id != 0) {
            (void)ab_map_remove(dedup->producer_index, ab_bytes_of(&producer->id, sizeof(producer->id)));
        }
        if (content->id != 0) {
            ab_err err = ab_map_set(dedup->producer_index, ab_bytes_of(&content->id, sizeof(content->id)), slot);
            AB_ASSERT(err == AB_OK);
        }
    }
    *producer = *content;
}

void ab_dedup_note(struct ab_dedup *dedup, uint64_t producer_id, uint64_t sequence, struct ab_hash128 hash,
    const struct ab_outcome *outcome)
{
    struct producer *producer = producer_find(dedup, producer_id);
    if (producer != NULL && sequence <= producer->last_sequence) {
        return;
    }
    bool is_fresh = producer == NULL;
    uint32_t slot = is_fresh ? slot_choose(dedup) : (uint32_t)(producer - dedup->producers);
    struct undo *undo = journal_add(dedup, outcome->offset);
    undo->index = slot;
    undo->producer = dedup->producers[slot];
    struct producer after = is_fresh ? (struct producer){.id = producer_id} : dedup->producers[slot];
    after.last_sequence = sequence;
    after.last_offset = outcome->offset;
    after.ring_count = after.ring_count < AB_DEDUP_RING ? after.ring_count + 1 : AB_DEDUP_RING;
    after.is_dirty = true;
    after.ring[sequence % AB_DEDUP_RING] = (struct recent_block){.hash = hash, .outcome = *outcome};
    slot_set(dedup, slot, &after);
}

/* ---- sources ---- */

static struct ab_bytes source_key(const struct ab_dedup *dedup, struct ab_bytes stream, struct ab_bytes source)
{
    struct ab_buffer *key = &((struct ab_dedup *)dedup)->key;
    ab_buffer_clear(key);
    ab_buffer_put_u8(key, 's');
    ab_buffer_put_bytes(key, stream);
    ab_buffer_put_u8(key, 0);
    ab_buffer_put_bytes(key, source);
    return ab_buffer_view(key);
}

static struct source *source_find(const struct ab_dedup *dedup, struct ab_bytes key)
{
    uint64_t index = 0;
    return ab_map_get(dedup->source_index, key, &index) ? &dedup->sources[index] : NULL;
}

bool ab_dedup_source(
    const struct ab_dedup *dedup, struct ab_bytes stream, struct ab_bytes source, struct ab_source_state *state)
{
    const struct source *found = source_find(dedup, source_key(dedup, stream, source));
    if (found == NULL) {
        return false;
    }
    *state = found->state;
    return true;
}

bool ab_dedup_source_committed(
    const struct ab_dedup *dedup, struct ab_bytes stream, struct ab_bytes source, struct ab_source_state *state)
{
    const struct source *found = source_find(dedup, source_key(dedup, stream, source));
    if (found == NULL) {
        return false;
    }
    uint32_t index = (uint32_t)(found - dedup->sources);
    for (size_t i = 0; i < dedup->journal_count; i++) {
        const struct undo *undo = &dedup->journal[i];
        if (undo->is_source && undo->index == index) { /* the oldest one: what was there before */
            *state = undo->state;
            return !undo->is_new;
        }
    }
    *state = found->state;
    return true;
}

bool ab_dedup_is_full(const struct ab_dedup *dedup)
{
    return dedup->sources_count >= dedup->sources_max;
}

static struct source *source_add(struct ab_dedup *dedup, struct ab_bytes key)
{
    if (dedup->sources_count == dedup->sources_capacity) {
        uint32_t capacity = dedup->sources_capacity == 0 ? 16 : dedup->sources_capacity * 2;
        ab_memory_charge(dedup->memory, (capacity - dedup->sources_capacity) * sizeof(struct source));
        dedup->sources = ab_renew_bytes(dedup->sources, capacity * sizeof(struct source));
        dedup->sources_capacity = capacity;
    }
    struct source *source = &dedup->sources[dedup->sources_count];
    uint8_t *copy = ab_memory_alloc_total(dedup->memory, key.bytes);
    memcpy(copy, key.data, key.bytes);
    *source = (struct source){.key = ab_bytes_of(copy, key.bytes)};
    ab_err err = ab_map_set(dedup->source_index, key, dedup->sources_count);
    AB_ASSERT(err == AB_OK);
    dedup->sources_count++;
    return source;
}

/* Forgets the newest source. */
static void source_remove_last(struct ab_dedup *dedup)
{
    struct source *source = &dedup->sources[--dedup->sources_count];
    (void)ab_map_remove(dedup->source_index, source->key);
    ab_memory_free(dedup->memory, (void *)source->key.data, source->key.bytes);
}

void ab_dedup_source_note(struct ab_dedup *dedup, struct ab_bytes stream, struct ab_bytes source, uint64_t offset,
    const struct ab_source_state *state)
{
    struct ab_bytes key = source_key(dedup, stream, source);
    struct source *found = source_find(dedup, key);
    if (found != NULL && state->last_position <= found->state.last_position) {
        return;
    }
    struct undo *undo = journal_add(dedup, offset);
    undo->is_source = true;
    undo->is_new = found == NULL;
    if (found == NULL) {
        found = source_add(dedup, key);
    }
    undo->index = (uint32_t)(found - dedup->sources);
    undo->state = found->state;
    found->state = *state;
    found->is_dirty = true;
}

/* ---- committed or not ---- */

void ab_dedup_commit(struct ab_dedup *dedup, uint64_t offset)
{
    size_t committed = 0;
    while (committed < dedup->journal_count && dedup->journal[committed].offset < offset) {
        committed++;
    }
    dedup->journal_count -= committed;
    if (committed > 0 && dedup->journal_count > 0) {
        memmove(dedup->journal, dedup->journal + committed, dedup->journal_count * sizeof(*dedup->journal));
    }
}

void ab_dedup_rollback(struct ab_dedup *dedup, uint64_t offset)
{
    while (dedup->journal_count > 0 && dedup->journal[dedup->journal_count - 1].offset >= offset) {
        const struct undo *undo = &dedup->journal[--dedup->journal_count];
        if (!undo->is_source) {
            slot_set(dedup, undo->index, &undo->producer);
            if (undo->producer.id == 0) {
                AB_ASSERT(undo->index == dedup->producers_count - 1);
                dedup->producers_count--;
            } else {
                dedup->producers[undo->index].is_dirty = true;
            }
        } else if (undo->is_new) {
            AB_ASSERT(undo->index == dedup->sources_count - 1);
            source_remove_last(dedup);
        } else {
            dedup->sources[undo->index].state = undo->state;
            dedup->sources[undo->index].is_dirty = true;
        }
    }
}

/* Exchanges what a change made and what was there before; twice is as if nothing had been done. The indexes are left
 * alone: nobody looks anything up in between. */
static void change_swap(struct ab_dedup *dedup, struct undo *undo, bool is_back)
{
    if (!undo->is_source) {
        struct producer now = dedup->producers[undo->index];
        dedup->producers[undo->index] = undo->producer;
        undo->producer = now;
        dedup->producers_count -= is_back && dedup->producers[undo->index].id == 0;
        dedup->producers_count += !is_back && undo->producer.id == 0;
        return;
    }
    struct source *source = &dedup->sources[undo->index];
    struct ab_source_state now = source->state;
    source->state = undo->state;
    undo->state = now;
    source->is_dirty = true; /* what is stored is not what it becomes */
    dedup->sources_count -= is_back && undo->is_new;
    dedup->sources_count += !is_back && undo->is_new;
}

/* ---- stored form ---- */

/* id u64, last sequence u64, last offset u64, count u8, then oldest first: hash 16, offset u64, three counts u32. */
static void producer_encode(const struct producer *producer, struct ab_buffer *out)
{
    ab_buffer_put_u64(out, producer->id);
    ab_buffer_put_u64(out, producer->last_sequence);
    ab_buffer_put_u64(out, producer->last_offset);
    ab_buffer_put_u8(out, (uint8_t)producer->ring_count);
    for (uint64_t back = producer->ring_count; back > 0; back--) {
        const struct recent_block *recent = &producer->ring[(producer->last_sequence - back + 1) % AB_DEDUP_RING];
        ab_buffer_put_u64(out, recent->hash.low);
        ab_buffer_put_u64(out, recent->hash.high);
        ab_buffer_put_u64(out, recent->outcome.offset);
        ab_buffer_put_u32(out, recent->outcome.accepted);
        ab_buffer_put_u32(out, recent->outcome.rejected);
        ab_buffer_put_u32(out, recent->outcome.duplicates);
    }
}

static ab_err producer_decode(struct ab_bytes value, struct producer *producer)
{
    struct ab_reader reader = ab_reader_of(value);
    *producer = (struct producer){0};
    producer->id = ab_reader_u64(&reader);
    producer->last_sequence = ab_reader_u64(&reader);
    producer->last_offset = ab_reader_u64(&reader);
    producer->ring_count = ab_reader_u8(&reader);
    if (producer->id == 0 || producer->ring_count > AB_DEDUP_RING || producer->ring_count > producer->last_sequence) {
        return AB_CORRUPT;
    }
    for (uint64_t back = producer->ring_count; back > 0; back--) {
        struct recent_block *recent = &producer->ring[(producer->last_sequence - back + 1) % AB_DEDUP_RING];
        recent->hash.low = ab_reader_u64(&reader);
        recent->hash.high = ab_reader_u64(&reader);
        recent->outcome.offset = ab_reader_u64(&reader);
        recent->outcome.accepted = ab_reader_u32(&reader);
        recent->outcome.rejected = ab_reader_u32(&reader);
        recent->outcome.duplicates = ab_reader_u32(&reader);
    }
    return ab_reader_finish(&reader);
}

static void producers_put(struct ab_dedup *dedup, bool is_everything, struct ab_table_puts *puts)
{
    struct ab_buffer value = {0};
    for (uint32_t slot = 0; slot < dedup->producers_count; slot++) {
        struct producer *producer = &dedup->producers[slot];
        if (is_everything || producer->is_dirty) {
            uint8_t key[5] = {'p', (uint8_t)(slot >> 24), (uint8_t)(slot >> 16), (uint8_t)(slot >> 8), (uint8_t)slot};
            ab_buffer_clear(&value);
            producer_encode(producer, &value);
            ab_table_puts_add(puts, ab_bytes_of(key, sizeof(key)), ab_buffer_view(&value));
            producer->is_dirty = is_everything && producer->is_dirty;
        }
    }
    ab_buffer_fini(&value);
}

static void sources_put(struct ab_dedup *dedup, bool is_everything, struct ab_table_puts *puts)
{
    struct ab_buffer value = {0};
    for (uint32_t i = 0; i < dedup->sources_count; i++) {
        struct source *source = &dedup->sources[i];
        if (is_everything || source->is_dirty) {
            ab_buffer_clear(&value);
            ab_buffer_put_u64(&value, source->state.last_position);
            ab_buffer_put_u64(&value, source->state.byte_offset);
            ab_buffer_put_u64(&value, source->state.prefix_hash.low);
            ab_buffer_put_u64(&value, source->state.prefix_hash.high);
            ab_table_puts_add(puts, source->key, ab_buffer_view(&value));
            source->is_dirty = is_everything && source->is_dirty;
        }
    }
    ab_buffer_fini(&value);
}

void ab_dedup_put(struct ab_dedup *dedup, bool is_everything, struct ab_table_puts *puts)
{
    for (size_t i = dedup->journal_count; i > 0; i--) {
        change_swap(dedup, &dedup->journal[i - 1], true);
    }
    producers_put(dedup, is_everything, puts);
    sources_put(dedup, is_everything, puts);
    for (size_t i = 0; i < dedup->journal_count; i++) {
        change_swap(dedup, &dedup->journal[i], false);
    }
}

void ab_dedup_touch(struct ab_dedup *dedup)
{
    for (uint32_t slot = 0; slot < dedup->producers_count; slot++) {
        dedup->producers[slot].is_dirty = true;
    }
    for (uint32_t i = 0; i < dedup->sources_count; i++) {
        dedup->sources[i].is_dirty = true;
    }
}

static ab_err source_load(struct ab_dedup *dedup, struct ab_bytes key, struct ab_bytes value)
{
    struct ab_reader reader = ab_reader_of(value);
    struct ab_source_state state = {0};
    state.last_position = ab_reader_u64(&reader);
    state.byte_offset = ab_reader_u64(&reader);
    state.prefix_hash.low = ab_reader_u64(&reader);
    state.prefix_hash.high = ab_reader_u64(&reader);
    AB_TRY(ab_reader_finish(&reader));
    if (dedup->sources_count >= dedup->sources_max || source_find(dedup, key) != NULL) {
        return AB_CORRUPT;
    }
    source_add(dedup, key)->state = state;
    return AB_OK;
}

ab_err ab_dedup_load(struct ab_dedup *dedup, struct ab_bytes key, struct ab_bytes value)
{
    if (key.bytes > 1 && key.data[0] == 's') {
        return source_load(dedup, key, value);
    }
    if (key.bytes != 5 || key.data[0] != 'p') {
        return AB_CORRUPT;
    }
    uint32_t slot =
        (uint32_t)key.data[1] << 24 | (uint32_t)key.data[2] << 16 | (uint32_t)key.data[3] << 8 | key.data[4];
    struct producer producer;
    AB_TRY(producer_decode(value, &producer));
    if (slot != dedup->producers_count || slot >= dedup->producers_max || producer_find(dedup, producer.id) != NULL) {
        return AB_CORRUPT;
    }
    dedup->producers_count++;
    slot_set(dedup, slot, &producer);
    return AB_OK;
}

size_t ab_dedup_producers(const struct ab_dedup *dedup)
{
    return dedup->producers_count;
}

size_t ab_dedup_sources(const struct ab_dedup *dedup)
{
    return dedup->sources_count;
}
