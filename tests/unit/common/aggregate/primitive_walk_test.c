/* Primitives updated together in one walk, as against each by itself with every number in the accumulator outside. */
#include "common/aggregate/primitive_walk.h"

#include "common/aggregate/primitive_exact.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define GROUPS 5u
#define ROWS 200u
#define ENTRY_WORDS 12u
#define ENTRY_BYTES (ENTRY_WORDS * 8)
#define PRIMITIVES 5u

/* Places of count, count, sum, min, max in an entry, in bytes; 0 = this walk does not have it. */
struct layout {
    const char *name;
    uint32_t places[PRIMITIVES];
};

static const struct layout layouts[] = {
    {"two counts, side by side", {8, 16, 24, 56, 64}},
    {"one count, side by side", {8, 0, 16, 48, 56}},
    {"maxima before minima", {8, 16, 24, 64, 56}},
    {"a gap after the counts", {8, 16, 32, 64, 72}},
    {"the second count first", {16, 8, 24, 56, 64}},
    {"no sum", {8, 16, 0, 56, 64}},
    {"a count alone", {8, 0, 0, 0, 0}},
};

static const enum ab_primitive_kind kinds[PRIMITIVES] = {
    AB_PRIMITIVE_COUNT, AB_PRIMITIVE_COUNT, AB_PRIMITIVE_SUM_DOUBLE, AB_PRIMITIVE_MIN, AB_PRIMITIVE_MAX};

static void contexts_init(struct ab_primitive_context *contexts)
{
    for (uint32_t p = 0; p < PRIMITIVES; p++) {
        contexts[p] = (struct ab_primitive_context){.kind = kinds[p], .type = {.kind = AB_TYPE_DOUBLE}};
    }
}

/* Numbers at both ends of every way a sum can take them, and plain ones. */
static double number_make(struct ab_random *random, int32_t base)
{
    static const double specials[] = {0.0, -0.0, 4.9e-324, -2.2250738585072014e-308, 1.7976931348623157e308,
        __builtin_inf(), -__builtin_inf(), __builtin_nan("")};
    static const int32_t shifts[] = {-1, 0, 1, 37, 62, 63, 64, 65, 73, 74, 75, 76};
    uint64_t choice = ab_random_below(random, 8);
    if (choice == 0) {
        return specials[ab_random_below(random, sizeof(specials) / sizeof(specials[0]))];
    }
    if (choice < 4) {
        return (double)(int64_t)(ab_random_below(random, 2000001) - 1000000) / 64;
    }
    int32_t shift = shifts[ab_random_below(random, sizeof(shifts) / sizeof(shifts[0]))];
    uint64_t exponent = (uint64_t)(base + 1075 + shift);
    uint64_t bits = ab_random_below(random, 2) << 63 | exponent << 52 | ab_random_below(random, UINT64_C(1) << 52);
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

/* Each primitive by itself; the sum's base so high that all but huge numbers miss its window. */
static void update_apart(struct ab_primitive_context *contexts, const struct layout *layout,
    struct ab_primitive_batch batch, uint8_t *states)
{
    contexts[2].has_base = true;
    contexts[2].base = 896;
    for (uint32_t p = 0; p < PRIMITIVES; p++) {
        if (layout->places[p] != 0) {
            batch.states = states + layout->places[p];
            ab_primitive_ops_of((uint8_t)kinds[p])->update(&contexts[p], &batch);
        }
    }
}

static void update_together(struct ab_primitive_context *contexts, const struct layout *layout,
    struct ab_primitive_batch batch, uint8_t *states)
{
    struct ab_primitive_walk walk = {0};
    for (uint32_t p = 0; p < PRIMITIVES; p++) {
        assert_true(layout->places[p] == 0 || ab_primitive_walk_take(&walk, &contexts[p], layout->places[p]));
    }
    batch.states = states;
    ab_primitive_walk_run(&walk, &batch);
}

static void assert_states_same(struct ab_primitive_context *contexts, const uint8_t *states,
    struct ab_primitive_context *others, const uint8_t *other_states, const struct layout *layout)
{
    struct ab_buffer a = {0};
    struct ab_buffer b = {0};
    for (uint32_t i = 0; i < GROUPS * PRIMITIVES; i++) {
        uint32_t p = i % PRIMITIVES;
        size_t at = (size_t)(i / PRIMITIVES) * ENTRY_BYTES + layout->places[p];
        if (layout->places[p] == 0) {
            continue;
        }
        const struct ab_primitive_ops *ops = ab_primitive_ops_of((uint8_t)kinds[p]);
        ab_buffer_clear(&a);
        ab_buffer_clear(&b);
        ops->encode(&contexts[p], states + at, &a);
        ops->encode(&others[p], other_states + at, &b);
        assert_int_equal(a.bytes, b.bytes);
        assert_memory_equal(a.data, b.data, a.bytes);
    }
    ab_buffer_fini(&a);
    ab_buffer_fini(&b);
}

static void walk_check(struct ab_random *random, const struct layout *layout)
{
    uint64_t together[GROUPS * ENTRY_WORDS] = {0};
    uint64_t apart[GROUPS * ENTRY_WORDS] = {0};
    struct ab_primitive_context contexts[PRIMITIVES];
    struct ab_primitive_context others[PRIMITIVES];
    contexts_init(contexts);
    contexts_init(others);
    contexts[2].has_base = true;
    contexts[2].base = (int32_t)ab_random_below(random, 1900) - 1074;
    double values[ROWS];
    uint32_t rows[ROWS];
    uint32_t groups[ROWS];
    uint32_t count = (uint32_t)ab_random_below(random, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        values[i] = number_make(random, contexts[2].base);
        rows[i] = (uint32_t)ab_random_below(random, ROWS);
        groups[i] = (uint32_t)ab_random_below(random, GROUPS);
    }
    struct ab_column column = {.type = {.kind = AB_TYPE_DOUBLE}, .rows_count = ROWS, .values = values};
    struct ab_primitive_batch batch = {
        .stride = ENTRY_BYTES, .groups = groups, .rows = rows, .count = count, .column = &column};
    update_together(contexts, layout, batch, (uint8_t *)together);
    update_apart(others, layout, batch, (uint8_t *)apart);
    assert_states_same(contexts, (uint8_t *)together, others, (uint8_t *)apart, layout);
    for (uint32_t group = 0; layout->places[2] != 0 && group < GROUPS; group++) {
        size_t at = (size_t)group * ENTRY_BYTES + layout->places[2];
        ab_primitive_sum_double.release(&contexts[2], (uint8_t *)together + at);
        ab_primitive_sum_double.release(&others[2], (uint8_t *)apart + at);
    }
}

static void test_a_walk_gives_what_each_primitive_gives_alone(void **state)
{
    (void)state;
    struct ab_random random;
    ab_random_init(&random, 20);
    for (uint32_t round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
            walk_check(&random, &layouts[i]);
        }
    }
}

static void test_a_walk_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    struct ab_primitive_walk walk = {0};
    struct ab_primitive_context contexts[PRIMITIVES];
    contexts_init(contexts);
    struct ab_primitive_context distinct = {.kind = AB_PRIMITIVE_DISTINCT, .type = {.kind = AB_TYPE_DOUBLE}};
    struct ab_primitive_context whole = {.kind = AB_PRIMITIVE_MIN, .type = {.kind = AB_TYPE_BIGINT}};
    assert_false(ab_primitive_walk_take(&walk, &distinct, 0));
    assert_false(ab_primitive_walk_take(&walk, &whole, 0));
    assert_true(ab_primitive_walk_take(&walk, &contexts[0], 0));
    assert_true(ab_primitive_walk_take(&walk, &contexts[1], 8));
    assert_false(ab_primitive_walk_take(&walk, &contexts[1], 16));
    assert_true(ab_primitive_walk_take(&walk, &contexts[3], 24));
    assert_false(ab_primitive_walk_take(&walk, &contexts[3], 32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_walk_gives_what_each_primitive_gives_alone),
        cmocka_unit_test(test_a_walk_refuses_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
