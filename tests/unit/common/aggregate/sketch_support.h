/* sketch_support: one state of a sketch and ways to feed it, for the tests of sketches. */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_AGGREGATE_SKETCH_SUPPORT_H
#define ANABRANCH_TESTS_UNIT_COMMON_AGGREGATE_SKETCH_SUPPORT_H

#include "common/aggregate/primitive.h"
#include "common/aggregate/primitive_distinct.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define SKETCH_BATCH 256u

/* A state with a budget of its own. */
struct sketch {
    struct ab_memory memory;
    struct ab_primitive_context context;
    struct ab_value parameter;
    uint64_t words[8];
};

/* A sketch in place: it must not move, since its context points into it. */
static inline void sketch_init(struct sketch *sketch, uint8_t kind, uint8_t type_kind, int64_t parameter)
{
    memset(sketch, 0, sizeof(*sketch));
    sketch->parameter = (struct ab_value){.type = {.kind = AB_TYPE_BIGINT}, .bigint = parameter};
    sketch->context = (struct ab_primitive_context){.kind = kind,
        .type = {.kind = type_kind},
        .parameters = &sketch->parameter,
        .parameters_count = 1,
        .memory = &sketch->memory};
    assert_true(ab_primitive_ops_of(kind)->state_bytes(sketch->context.type) <= sizeof(sketch->words));
}

static inline const struct ab_primitive_ops *sketch_ops(const struct sketch *sketch)
{
    return ab_primitive_ops_of((uint8_t)sketch->context.kind);
}

/* Frees, and checks that everything that was charged is given back. */
static inline void sketch_fini(struct sketch *sketch)
{
    sketch_ops(sketch)->release(&sketch->context, sketch->words);
    assert_int_equal(ab_memory_used(&sketch->memory), 0);
    static const uint64_t zero[8];
    assert_memory_equal(sketch->words, zero, sizeof(zero));
}

/* Adds rows[0 .. count) of a column; identity as given. */
static inline void sketch_update(struct sketch *sketch, const struct ab_column *column,
    const struct ab_primitive_identity *identity, const uint32_t *rows, size_t count)
{
    static const uint32_t groups[SKETCH_BATCH];
    uint64_t *hashes = ab_new_array(uint64_t, ab_primitive_distinct_hashes_count(column) + 1);
    ab_primitive_distinct_hashes(column, hashes);
    for (size_t at = 0; at < count; at += SKETCH_BATCH) {
        uint32_t present[SKETCH_BATCH];
        size_t present_count = 0;
        for (size_t i = at; i < count && i < at + SKETCH_BATCH; i++) {
            present[present_count] = rows[i];
            present_count += !ab_column_is_null(column, rows[i]);
        }
        struct ab_primitive_batch batch = {.states = (uint8_t *)sketch->words,
            .stride = sizeof(sketch->words),
            .groups = groups,
            .rows = present,
            .count = present_count,
            .column = column,
            .hashes = hashes,
            .identity = identity};
        sketch_ops(sketch)->update(&sketch->context, &batch);
    }
    ab_delete(hashes);
}

/* Adds count numbers in one go: the rows (partition 1, offset, 0 ..). */
static inline void sketch_add_numbers(
    struct sketch *sketch, const void *values, uint32_t count, uint64_t offset, const int64_t *times)
{
    uint32_t *rows = ab_new_array(uint32_t, count);
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = i;
    }
    struct ab_column column = {.type = sketch->context.type, .rows_count = count, .values = values};
    struct ab_primitive_identity identity = {.times = times, .partition = 1, .offset = offset};
    sketch_update(sketch, &column, &identity, rows, count);
    ab_delete(rows);
}

/* into += from, as states or as bytes. */
static inline void sketch_merge(struct sketch *into, const struct sketch *from, bool by_bytes)
{
    const struct ab_primitive_ops *ops = sketch_ops(into);
    if (!by_bytes) {
        ops->merge(&into->context, into->words, &from->context, from->words);
        return;
    }
    struct ab_buffer payload = {0};
    uint8_t type_kind = 0;
    ops->encode(&from->context, from->words, &payload);
    assert_ok(ops->validate(ab_buffer_view(&payload), &type_kind));
    assert_true(type_kind == 0 || type_kind == into->context.type.kind);
    ops->absorb(&into->context, into->words, ab_buffer_view(&payload));
    ab_buffer_fini(&payload);
}

static inline void sketch_encode(const struct sketch *sketch, struct ab_buffer *out)
{
    ab_buffer_clear(out);
    sketch_ops(sketch)->encode(&sketch->context, sketch->words, out);
    assert_ok(ab_buffer_finish(out));
}

static inline void sketch_expect_equal(const struct sketch *a, const struct sketch *b)
{
    struct ab_buffer left = {0};
    struct ab_buffer right = {0};
    sketch_encode(a, &left);
    sketch_encode(b, &right);
    assert_true(ab_bytes_equal(ab_buffer_view(&left), ab_buffer_view(&right)));
    ab_buffer_fini(&left);
    ab_buffer_fini(&right);
}

/* Every payload that differs from a good one by a byte cut, added or changed is refused or has the same meaning as what
 * it merges to; and never crashes. Returns how many were refused. */
static inline uint32_t sketch_damage(const struct sketch *sketch, struct ab_random *random, uint32_t rounds)
{
    const struct ab_primitive_ops *ops = sketch_ops(sketch);
    struct ab_buffer good = {0};
    struct ab_buffer bad = {0};
    struct ab_buffer again = {0};
    uint32_t refused = 0;
    sketch_encode(sketch, &good);
    for (uint32_t i = 0; i < rounds && good.bytes > 0; i++) {
        uint8_t type_kind = 0;
        uint64_t form = ab_random_below(random, 3);
        ab_buffer_clear(&bad);
        ab_buffer_put(&bad, good.data, form == 0 ? (size_t)ab_random_below(random, good.bytes) : good.bytes);
        if (form == 1) {
            size_t reach = good.bytes < 64 || ab_random_below(random, 2) == 0 ? good.bytes : 64;
            bad.data[ab_random_below(random, reach)] ^= (uint8_t)(1u << ab_random_below(random, 8));
        } else if (form == 2) {
            ab_buffer_put_u8(&bad, (uint8_t)ab_random_below(random, 256));
        }
        if (ops->validate(ab_buffer_view(&bad), &type_kind) != AB_OK) {
            refused++;
            continue;
        }
        struct sketch other;
        sketch_init(&other, (uint8_t)sketch->context.kind, type_kind, 1);
        ops->absorb(&other.context, other.words, ab_buffer_view(&bad));
        sketch_encode(&other, &again);
        assert_true(ab_bytes_equal(ab_buffer_view(&again), ab_buffer_view(&bad)));
        sketch_fini(&other);
    }
    ab_buffer_fini(&good);
    ab_buffer_fini(&bad);
    ab_buffer_fini(&again);
    return refused;
}

#endif
