/* The laws of every primitive, one by one: identity, commutativity, associativity, encoding; and what each of them
 * counts. */
#include "common/aggregate/primitive.h"
#include "common/aggregate/primitive_distinct.h"
#include "tests/unit/common/aggregate/aggregate_support.h"

#define STATE_WORDS AB_PRIMITIVE_STATE_WORDS_MAX
#define ROWS 64

/* A kind over a column of the test rows, or two, with parameters. */
struct law_case {
    uint8_t kind;
    uint32_t column;
    uint32_t second;                   /* 0 = none: no case has column 0 there */
    const struct ab_value *parameters; /* NULL = none */
    uint32_t parameters_count;
};

static const struct ab_value three[] = {{.type = {.kind = AB_TYPE_BIGINT}, .bigint = 3}};
static const struct ab_value hundred[] = {{.type = {.kind = AB_TYPE_BIGINT}, .bigint = 100}};
static const struct ab_value bigint_bounds[] = {{.type = {.kind = AB_TYPE_BIGINT}, .bigint = -5},
    {.type = {.kind = AB_TYPE_BIGINT}, .bigint = 0}, {.type = {.kind = AB_TYPE_BIGINT}, .bigint = 40}};
static const struct ab_value double_bounds[] = {
    {.type = {.kind = AB_TYPE_DOUBLE}, .real = 0}, {.type = {.kind = AB_TYPE_DOUBLE}, .real = 1e12}};
static const struct ab_value decimal_bounds[] = {
    {.type = {.kind = AB_TYPE_DECIMAL, .precision = 20, .scale = 2}, .decimal = -100}};

static const struct law_case cases[] = {
    {AB_PRIMITIVE_COUNT, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_SUM_INTEGER, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_SUM_INTEGER, COLUMN_M, 0, NULL, 0},
    {AB_PRIMITIVE_SQUARES_INTEGER, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_SQUARES_INTEGER, COLUMN_M, 0, NULL, 0},
    {AB_PRIMITIVE_SUM_DOUBLE, COLUMN_D, 0, NULL, 0},
    {AB_PRIMITIVE_SQUARES_DOUBLE, COLUMN_D, 0, NULL, 0},
    {AB_PRIMITIVE_MIN, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_MIN, COLUMN_D, 0, NULL, 0},
    {AB_PRIMITIVE_MIN, COLUMN_M, 0, NULL, 0},
    {AB_PRIMITIVE_MIN, COLUMN_T, 0, NULL, 0},
    {AB_PRIMITIVE_MIN, COLUMN_F, 0, NULL, 0},
    {AB_PRIMITIVE_MAX, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_MAX, COLUMN_D, 0, NULL, 0},
    {AB_PRIMITIVE_MAX, COLUMN_M, 0, NULL, 0},
    {AB_PRIMITIVE_MAX, COLUMN_WORD, 0, NULL, 0},
    {AB_PRIMITIVE_MAX, COLUMN_AT, 0, NULL, 0},
    {AB_PRIMITIVE_FIRST, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_FIRST, COLUMN_T, 0, NULL, 0},
    {AB_PRIMITIVE_FIRST, COLUMN_M, 0, NULL, 0},
    {AB_PRIMITIVE_LAST, COLUMN_D, 0, NULL, 0},
    {AB_PRIMITIVE_LAST, COLUMN_WORD, 0, NULL, 0},
    {AB_PRIMITIVE_DISTINCT, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_DISTINCT, COLUMN_T, 0, NULL, 0},
    {AB_PRIMITIVE_DISTINCT, COLUMN_D, 0, NULL, 0},
    {AB_PRIMITIVE_DISTINCT, COLUMN_M, 0, NULL, 0},
    {AB_PRIMITIVE_PRODUCTS_DOUBLE, COLUMN_D, COLUMN_D, NULL, 0},
    {AB_PRIMITIVE_PRODUCTS_INTEGER, COLUMN_B, COLUMN_M, NULL, 0},
    {AB_PRIMITIVE_PRODUCTS_INTEGER, COLUMN_M, COLUMN_M, NULL, 0},
    {AB_PRIMITIVE_CUBES_DOUBLE, COLUMN_D, 0, NULL, 0},
    {AB_PRIMITIVE_CUBES_INTEGER, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_CUBES_INTEGER, COLUMN_M, 0, NULL, 0},
    {AB_PRIMITIVE_FOURTHS_DOUBLE, COLUMN_D, 0, NULL, 0},
    {AB_PRIMITIVE_FOURTHS_INTEGER, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_FOURTHS_INTEGER, COLUMN_M, 0, NULL, 0},
    {AB_PRIMITIVE_MIN_BY, COLUMN_T, COLUMN_D, NULL, 0},
    {AB_PRIMITIVE_MIN_BY, COLUMN_M, COLUMN_F, NULL, 0},
    {AB_PRIMITIVE_MAX_BY, COLUMN_D, COLUMN_T, NULL, 0},
    {AB_PRIMITIVE_MAX_BY, COLUMN_WORD, COLUMN_M, NULL, 0},
    {AB_PRIMITIVE_FIRST_K, COLUMN_T, 0, three, 1},
    {AB_PRIMITIVE_FIRST_K, COLUMN_D, 0, hundred, 1},
    {AB_PRIMITIVE_LAST_K, COLUMN_B, 0, three, 1},
    {AB_PRIMITIVE_LAST_K, COLUMN_WORD, 0, hundred, 1},
    {AB_PRIMITIVE_SMALLEST, COLUMN_D, 0, three, 1},
    {AB_PRIMITIVE_SMALLEST, COLUMN_T, 0, hundred, 1},
    {AB_PRIMITIVE_LARGEST, COLUMN_M, 0, three, 1},
    {AB_PRIMITIVE_LARGEST, COLUMN_F, 0, three, 1},
    {AB_PRIMITIVE_BIT_AND, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_BIT_OR, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_BIT_XOR, COLUMN_B, 0, NULL, 0},
    {AB_PRIMITIVE_HISTOGRAM, COLUMN_B, 0, bigint_bounds, 3},
    {AB_PRIMITIVE_HISTOGRAM, COLUMN_D, 0, double_bounds, 2},
    {AB_PRIMITIVE_HISTOGRAM, COLUMN_M, 0, decimal_bounds, 1},
};

struct law_state {
    struct ab_memory memory;
    struct ab_type types[2];
    struct ab_primitive_context context;
    uint64_t words[STATE_WORDS];
};

static void law_init(struct law_state *state, const struct law_case *law, const struct test_columns *columns)
{
    memset(state, 0, sizeof(*state));
    state->context = (struct ab_primitive_context){.kind = law->kind, .memory = &state->memory};
    state->context.type = columns->columns[law->column].type;
    state->types[0] = state->context.type;
    state->types[1] = columns->columns[law->second].type;
    state->context.types = state->types;
    state->context.parameters = law->parameters;
    state->context.parameters_count = law->parameters_count;
    assert_true(ab_primitive_ops_of(law->kind)->state_bytes(state->context.type) <= sizeof(state->words));
}

static void law_fini(struct law_state *state)
{
    const struct ab_primitive_ops *ops = ab_primitive_ops_of((uint8_t)state->context.kind);
    if (ops->release != NULL) {
        ops->release(&state->context, state->words);
    }
    assert_int_equal(ab_memory_used(&state->memory), 0);
}

static void law_update(struct law_state *state, const struct law_case *law, const struct test_columns *columns,
    const uint32_t *rows, uint32_t count)
{
    static const uint32_t groups[ROWS];
    const struct ab_column *column = &columns->columns[law->column];
    uint32_t present[ROWS];
    size_t present_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        present[present_count] = rows[i];
        present_count += !ab_column_is_null(column, rows[i]) &&
                         (law->second == 0 || !ab_column_is_null(&columns->columns[law->second], rows[i]));
    }
    uint64_t *hashes = ab_new_array(uint64_t, ab_primitive_distinct_hashes_count(column) + 1);
    ab_primitive_distinct_hashes(column, hashes);
    struct ab_primitive_identity identity = {.times = columns->columns[COLUMN_AT].values, .partition = 1, .offset = 9};
    const struct ab_column *both[] = {column, &columns->columns[law->second]};
    struct ab_primitive_batch batch = {.states = (uint8_t *)state->words,
        .stride = sizeof(state->words),
        .groups = groups,
        .rows = present,
        .count = present_count,
        .column = column,
        .columns = both,
        .hashes = hashes,
        .identity = &identity};
    ab_primitive_ops_of(law->kind)->update(&state->context, &batch);
    ab_delete(hashes);
}

static void law_merge(struct law_state *into, const struct law_state *from, bool by_bytes)
{
    const struct ab_primitive_ops *ops = ab_primitive_ops_of((uint8_t)into->context.kind);
    if (!by_bytes) {
        ops->merge(&into->context, into->words, &from->context, from->words);
        return;
    }
    struct ab_buffer payload = {0};
    uint8_t type_kind = 0;
    ops->encode(&from->context, from->words, &payload);
    assert_ok(ops->validate(ab_buffer_view(&payload), &type_kind));
    assert_true(type_kind == 0 || type_kind == into->context.type.kind);
    if (ops->head_bytes != NULL && payload.bytes > 0) {
        struct ab_buffer head = {0};
        ops->head_put(&from->context, &head);
        assert_int_equal(ops->head_bytes(ab_buffer_view(&payload)), head.bytes);
        assert_memory_equal(payload.data, head.data, head.bytes);
        ab_buffer_fini(&head);
    }
    ops->absorb(&into->context, into->words, ab_buffer_view(&payload));
    ab_buffer_fini(&payload);
}

/* What a merge that knows no catalog makes of a state: its payload, absorbed by an empty context, gives it back. */
static void law_expect_alone(const struct law_state *state)
{
    const struct ab_primitive_ops *ops = ab_primitive_ops_of((uint8_t)state->context.kind);
    struct ab_primitive_context alone = {.kind = state->context.kind};
    uint64_t words[STATE_WORDS] = {0};
    struct ab_buffer payload = {0};
    struct ab_buffer again = {0};
    ops->encode(&state->context, state->words, &payload);
    if (ops->selects == 0) {
        ops->absorb(&alone, words, ab_buffer_view(&payload));
        ops->encode(&alone, words, &again);
        assert_true(ab_bytes_equal(ab_buffer_view(&payload), ab_buffer_view(&again)));
        if (ops->release != NULL) {
            ops->release(&alone, words);
        }
    }
    ab_buffer_clear(&again);
    ops->print(ab_buffer_view(&payload), &again);
    ab_buffer_fini(&payload);
    ab_buffer_fini(&again);
}

/* Every cut of a payload is refused, or is another payload in one form. */
static void law_expect_cuts_refused(const struct law_state *state)
{
    const struct ab_primitive_ops *ops = ab_primitive_ops_of((uint8_t)state->context.kind);
    struct ab_buffer payload = {0};
    ops->encode(&state->context, state->words, &payload);
    for (size_t bytes = 0; bytes < payload.bytes && bytes < 400 && ops->selects == 0; bytes++) {
        struct ab_primitive_context alone = {.kind = state->context.kind};
        uint64_t words[STATE_WORDS] = {0};
        uint8_t type_kind = 0;
        uint8_t *cut = ab_new_bytes(bytes + 1); /* its end is the end of the memory */
        struct ab_bytes view = ab_bytes_of(cut, bytes);
        memcpy(cut, payload.data, bytes);
        if (ops->validate(view, &type_kind) == AB_OK) {
            struct ab_buffer again = {0};
            ops->absorb(&alone, words, view);
            ops->encode(&alone, words, &again);
            assert_true(ab_bytes_equal(view, ab_buffer_view(&again)));
            ab_buffer_fini(&again);
            if (ops->release != NULL) {
                ops->release(&alone, words);
            }
        }
        ab_delete(cut);
    }
    ab_buffer_fini(&payload);
}

static void law_expect(const struct law_state *state, const struct ab_buffer *expected)
{
    struct ab_buffer payload = {0};
    ab_primitive_ops_of((uint8_t)state->context.kind)->encode(&state->context, state->words, &payload);
    assert_true(ab_bytes_equal(ab_buffer_view(&payload), ab_buffer_view(expected)));
    ab_buffer_fini(&payload);
}

/* (a + b) + c, a + (b + c) and c + b + a with empty states in between: all give what one pass over the rows gives. */
static void laws_hold(struct ab_random *random, const struct law_case *law, const struct test_columns *columns)
{
    uint32_t order[ROWS];
    struct ab_buffer expected = {0};
    struct law_state whole;
    test_shuffle(random, order, ROWS);
    law_init(&whole, law, columns);
    law_update(&whole, law, columns, order, ROWS);
    ab_primitive_ops_of(law->kind)->encode(&whole.context, whole.words, &expected);
    law_expect_alone(&whole);
    law_expect_cuts_refused(&whole);
    law_fini(&whole);
    for (int form = 0; form < 4; form++) {
        struct law_state parts[4];
        uint32_t first = (uint32_t)ab_random_below(random, ROWS);
        uint32_t second = first + (uint32_t)ab_random_below(random, ROWS - first);
        const uint32_t bounds[] = {0, first, second, ROWS, ROWS};
        test_shuffle(random, order, ROWS);
        for (int i = 0; i < 4; i++) {
            law_init(&parts[i], law, columns);
            law_update(&parts[i], law, columns, order + bounds[i], bounds[i + 1] - bounds[i]);
        }
        bool by_bytes = form % 2 == 0;
        const int *merges = form < 2 ? (const int[]){0, 1, 0, 3, 0, 2} : (const int[]){1, 3, 2, 1, 0, 2};
        for (int i = 0; i < 6; i += 2) {
            law_merge(&parts[merges[i]], &parts[merges[i + 1]], by_bytes);
        }
        law_expect(&parts[0], &expected);
        for (int i = 0; i < 4; i++) {
            law_fini(&parts[i]);
        }
    }
    ab_buffer_fini(&expected);
}

static void test_primitives_are_commutative_monoids_with_canonical_bytes(void **state)
{
    (void)state;
    struct ab_random random;
    static struct test_row rows[ROWS];
    uint32_t all[ROWS];
    ab_random_init(&random, 17);
    for (int round = 0; round < 40; round++) {
        const struct test_shape shape = {.keys = 9, .hours = 3, .has_specials = round % 2 == 0};
        struct test_columns columns;
        for (uint32_t i = 0; i < ROWS; i++) {
            test_row_random(&random, &shape, &rows[i]);
            all[i] = i;
        }
        test_columns_init(&columns, rows, all, ROWS);
        for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
            laws_hold(&random, &cases[c], &columns);
        }
        test_columns_fini(&columns);
    }
}

/* ---- integers at the ends of their range ---- */

static void integer_run(uint8_t kind, struct ab_column *column, uint64_t *words)
{
    static const uint32_t rows[] = {0, 1, 2, 3};
    static const uint32_t groups[] = {0, 0, 0, 0};
    struct ab_primitive_context context = {.kind = kind, .type = column->type};
    struct ab_primitive_batch batch = {.states = (uint8_t *)words,
        .stride = STATE_WORDS * sizeof(uint64_t),
        .groups = groups,
        .rows = rows,
        .count = column->rows_count,
        .column = column};
    ab_primitive_ops_of(kind)->update(&context, &batch);
}

static void test_integer_sums_do_not_overflow_on_the_way(void **state)
{
    (void)state;
    const int64_t values[] = {INT64_MAX, INT64_MAX, INT64_MIN, 5};
    struct ab_column column = {.type = {.kind = AB_TYPE_BIGINT}, .rows_count = 4, .values = values};
    uint64_t sum[STATE_WORDS] = {0};
    uint64_t squares[STATE_WORDS] = {0};
    integer_run(AB_PRIMITIVE_SUM_INTEGER, &column, sum);
    assert_true(sum[0] == (uint64_t)INT64_MAX + 4 && sum[1] == 0 && sum[2] == 0);
    integer_run(AB_PRIMITIVE_SQUARES_INTEGER, &column, squares);
    /* 2 (2^63 - 1)^2 + 2^126 + 25 = 3 2^126 - 2^65 + 27. */
    assert_true(squares[0] == 27 && squares[1] == (UINT64_C(3) << 62) - 2 && squares[2] == 0);
}

static void test_decimal_squares_hold_38_digits(void **state)
{
    (void)state;
    ab_int128 most = ((ab_int128)INT64_C(5421010862427522170) << 64) + (ab_int128)UINT64_C(687399551400673279);
    const ab_int128 values[] = {most, -most, 1, -1};
    struct ab_column column = {.type = {.kind = AB_TYPE_DECIMAL, .precision = 38}, .rows_count = 4, .values = values};
    uint64_t sum[STATE_WORDS] = {0};
    uint64_t squares[STATE_WORDS] = {0};
    integer_run(AB_PRIMITIVE_SUM_INTEGER, &column, sum);
    assert_true(sum[0] == 0 && sum[1] == 0 && sum[2] == 0);
    integer_run(AB_PRIMITIVE_SQUARES_INTEGER, &column, squares);
    /* 2 (10^38 - 1)^2 + 2 = 2 10^76 - 4 10^38 + 4; words by exact arithmetic. */
    static const uint64_t expected[] = {UINT64_C(0xd9d7770000000004), UINT64_C(0xc1fe1941790f0e17),
        UINT64_C(0xec96957d0ca52f1), UINT64_C(0x2c37994e23322b6a), 0x0};
    assert_memory_equal(squares, expected, sizeof(expected));
}

/* ---- distinct ---- */

/* A state with `count` different numbers, added `times` times over. */
static uint64_t distinct_of(uint64_t from, uint64_t count, int times, uint64_t *words)
{
    struct ab_primitive_context context = {.kind = AB_PRIMITIVE_DISTINCT, .type = {.kind = AB_TYPE_BIGINT}};
    for (int t = 0; t < times; t++) {
        for (uint64_t at = 0; at < count;) {
            int64_t values[256];
            uint32_t rows[256];
            uint32_t groups[256] = {0};
            uint64_t hashes[256];
            uint32_t n = count - at < 256 ? (uint32_t)(count - at) : 256;
            for (uint32_t i = 0; i < n; i++) {
                values[i] = (int64_t)(from + at + i) * 1000003;
                rows[i] = i;
            }
            struct ab_column column = {.type = {.kind = AB_TYPE_BIGINT}, .rows_count = n, .values = values};
            ab_primitive_distinct_hashes(&column, hashes);
            struct ab_primitive_batch batch = {.states = (uint8_t *)words,
                .stride = 64,
                .groups = groups,
                .rows = rows,
                .count = n,
                .column = &column,
                .hashes = hashes};
            ab_primitive_distinct.update(&context, &batch);
            at += n;
        }
    }
    return ab_primitive_distinct_value(words);
}

static void distinct_free(uint64_t *words)
{
    struct ab_primitive_context context = {.kind = AB_PRIMITIVE_DISTINCT};
    ab_primitive_distinct.release(&context, words);
}

static void test_distinct_is_exact_up_to_its_bound(void **state)
{
    (void)state;
    for (uint64_t count = 0; count <= AB_DISTINCT_EXACT_MAX; count += count < 20 ? 1 : 41) {
        uint64_t words[STATE_WORDS] = {0};
        assert_int_equal(distinct_of(7, count, 2, words), count);
        distinct_free(words);
    }
    uint64_t words[STATE_WORDS] = {0};
    assert_int_equal(distinct_of(1, AB_DISTINCT_EXACT_MAX, 1, words), AB_DISTINCT_EXACT_MAX);
    distinct_free(words);
}

static void test_distinct_stays_within_its_error(void **state)
{
    (void)state;
    static const uint64_t counts[] = {513, 1000, 3000, 10000, 30000, 60000, 100000, 300000, 1000000};
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        double error_sum = 0;
        for (uint64_t trial = 0; trial < 4; trial++) {
            uint64_t words[STATE_WORDS] = {0};
            double estimate = (double)distinct_of(trial << 40 | counts[c], counts[c], 1, words);
            double error = (estimate - (double)counts[c]) / (double)counts[c];
            /* Standard error 1.04 / sqrt(16384) = 0.81 %. */
            assert_true(fabs(error) < 4 * 0.0082);
            error_sum += error;
            distinct_free(words);
        }
        assert_true(fabs(error_sum / 4) < 0.013);
    }
}

static void test_distinct_form_depends_on_the_set_alone(void **state)
{
    (void)state;
    struct ab_primitive_context context = {.kind = AB_PRIMITIVE_DISTINCT};
    uint64_t whole[STATE_WORDS] = {0};
    uint64_t left[STATE_WORDS] = {0};
    uint64_t right[STATE_WORDS] = {0};
    struct ab_buffer a = {0};
    struct ab_buffer b = {0};
    (void)distinct_of(1, 600, 1, whole);
    (void)distinct_of(1, 400, 1, left);
    (void)distinct_of(201, 400, 1, right);
    ab_primitive_distinct.merge(&context, left, &context, right);
    ab_primitive_distinct.encode(&context, whole, &a);
    ab_primitive_distinct.encode(&context, left, &b);
    assert_int_equal(a.bytes, 1 + AB_DISTINCT_REGISTERS * 6 / 8);
    assert_true(ab_bytes_equal(ab_buffer_view(&a), ab_buffer_view(&b)));
    distinct_free(whole);
    distinct_free(left);
    distinct_free(right);
    ab_buffer_fini(&a);
    ab_buffer_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_primitives_are_commutative_monoids_with_canonical_bytes),
        cmocka_unit_test(test_integer_sums_do_not_overflow_on_the_way),
        cmocka_unit_test(test_decimal_squares_hold_38_digits),
        cmocka_unit_test(test_distinct_is_exact_up_to_its_bound),
        cmocka_unit_test(test_distinct_stays_within_its_error),
        cmocka_unit_test(test_distinct_form_depends_on_the_set_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
