/* Exact sums of doubles against rational arithmetic, in any order, any split, from any base. */
#include "common/aggregate/exact.h"
#include "common/aggregate/primitive_exact.h"
#include "tests/unit/common/aggregate/aggregate_support.h"
#include "tests/unit/common/aggregate/exact_vectors.h"

#define STATE_BYTES 64

struct exact_pair {
    struct ab_primitive_context sum_context;
    struct ab_primitive_context squares_context;
    uint64_t sum[STATE_BYTES / 8];
    uint64_t squares[STATE_BYTES / 8];
};

static void pair_init(struct exact_pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    pair->sum_context =
        (struct ab_primitive_context){.kind = AB_PRIMITIVE_SUM_DOUBLE, .type = {.kind = AB_TYPE_DOUBLE}};
    pair->squares_context = pair->sum_context;
    pair->squares_context.kind = AB_PRIMITIVE_SQUARES_DOUBLE;
}

static void pair_fini(struct exact_pair *pair)
{
    ab_primitive_sum_double.release(&pair->sum_context, pair->sum);
    ab_primitive_squares_double.release(&pair->squares_context, pair->squares);
}

static void pair_add(struct exact_pair *pair, const double *values, const uint32_t *rows, size_t count)
{
    static const uint32_t groups[EXACT_VALUES_MAX + 1];
    struct ab_column column = {.type = {.kind = AB_TYPE_DOUBLE}, .rows_count = EXACT_VALUES_MAX, .values = values};
    struct ab_primitive_batch batch = {.states = (uint8_t *)pair->sum,
        .stride = STATE_BYTES,
        .groups = groups,
        .rows = rows,
        .count = count,
        .column = &column};
    ab_primitive_sum_double.update(&pair->sum_context, &batch);
    batch.states = (uint8_t *)pair->squares;
    ab_primitive_squares_double.update(&pair->squares_context, &batch);
}

static void pair_merge(struct exact_pair *pair, const struct exact_pair *other)
{
    ab_primitive_sum_double.merge(&pair->sum_context, pair->sum, &other->sum_context, other->sum);
    ab_primitive_squares_double.merge(&pair->squares_context, pair->squares, &other->squares_context, other->squares);
}

static void pair_results(const struct exact_pair *pair, uint64_t n, uint64_t results[5])
{
    struct ab_exact sum;
    struct ab_exact squares;
    struct ab_exact square;
    struct ab_exact numerator;
    double numbers[5] = {0};
    assert_int_equal(ab_primitive_exact_value(&pair->sum_context, pair->sum, &sum), 0);
    assert_int_equal(ab_primitive_exact_value(&pair->squares_context, pair->squares, &squares), 0);
    numbers[0] = ab_exact_divide(&sum, NULL, 0);
    numbers[1] = ab_exact_divide(&sum, &n, 1);
    numbers[2] = ab_exact_divide(&squares, NULL, 0);
    ab_exact_multiply(&sum, &sum, &square);
    ab_exact_multiply_word(&squares, n);
    ab_exact_subtract(&squares, &square, &numerator);
    numbers[3] = ab_exact_divide(&numerator, (const uint64_t[]){n, n}, 2);
    numbers[4] = n < 2 ? 0 : ab_exact_divide(&numerator, (const uint64_t[]){n, n - 1}, 2);
    memcpy(results, numbers, sizeof(numbers));
}

static void pair_encode(const struct exact_pair *pair, struct ab_buffer *out)
{
    ab_buffer_clear(out);
    ab_primitive_sum_double.encode(&pair->sum_context, pair->sum, out);
    ab_buffer_put_u8(out, 0xee);
    ab_primitive_squares_double.encode(&pair->squares_context, pair->squares, out);
}

/* Splits the values at random among up to three pairs, with the bases given (or chosen), and merges them. */
static void pair_of_parts(struct ab_random *random, const double *values, uint32_t count, struct exact_pair *whole)
{
    uint32_t order[EXACT_VALUES_MAX];
    test_shuffle(random, order, count);
    pair_init(whole);
    for (uint32_t from = 0; from < count;) {
        uint32_t part = 1 + (uint32_t)ab_random_below(random, count - from);
        struct exact_pair other;
        pair_init(&other);
        if (ab_random_below(random, 3) == 0) {
            other.sum_context.has_base = true;
            other.sum_context.base = (int32_t)ab_random_below(random, 1970) - 1074;
            other.squares_context.has_base = true;
            other.squares_context.base = (int32_t)ab_random_below(random, 3940) - 2148;
        }
        for (uint32_t i = 0; i < part; i++) {
            pair_add(&other, values, &order[from + i], 1);
        }
        pair_merge(whole, &other);
        pair_fini(&other);
        from += part;
    }
}

static void test_exact_sums_match_rational_arithmetic_in_any_order(void **state)
{
    (void)state;
    struct ab_random random;
    struct ab_buffer first = {0};
    struct ab_buffer again = {0};
    ab_random_init(&random, 7);
    for (size_t v = 0; v < sizeof(exact_vectors) / sizeof(exact_vectors[0]); v++) {
        const struct exact_vector *vector = &exact_vectors[v];
        double values[EXACT_VALUES_MAX] = {0};
        memcpy(values, vector->values, sizeof(values));
        for (int round = 0; round < 8; round++) {
            struct exact_pair whole;
            uint64_t results[5];
            pair_of_parts(&random, values, vector->count, &whole);
            pair_results(&whole, vector->count, results);
            for (int i = 0; i < 5; i++) {
                if (results[i] != vector->results[i]) {
                    fail_msg("case %zu result %d: %016llx, not %016llx", v, i, (unsigned long long)results[i],
                        (unsigned long long)vector->results[i]);
                }
            }
            pair_encode(&whole, round == 0 ? &first : &again);
            assert_true(round == 0 || ab_bytes_equal(ab_buffer_view(&first), ab_buffer_view(&again)));
            pair_fini(&whole);
        }
    }
    ab_buffer_fini(&first);
    ab_buffer_fini(&again);
}

static double special_of(const double *values, uint32_t count)
{
    static const uint32_t rows[] = {0, 1, 2, 3};
    struct exact_pair pair;
    struct ab_exact exact;
    double number = 0;
    pair_init(&pair);
    pair_add(&pair, values, rows, count);
    uint32_t flags = ab_primitive_exact_value(&pair.sum_context, pair.sum, &exact);
    assert_true(ab_primitive_exact_special(flags, &number));
    pair_fini(&pair);
    return number;
}

static void test_exact_specials_follow_ieee(void **state)
{
    (void)state;
    assert_true(isnan(special_of((const double[]){1, NAN}, 2)));
    assert_true(isnan(special_of((const double[]){INFINITY, -INFINITY}, 2)));
    assert_true(special_of((const double[]){INFINITY, 1, -1e300}, 3) == INFINITY);
    assert_true(special_of((const double[]){1, -INFINITY}, 2) == -INFINITY);
}

static void test_exact_zero_is_one_byte_whatever_cancelled(void **state)
{
    (void)state;
    static const uint32_t rows[] = {0, 1, 2, 3};
    const double values[EXACT_VALUES_MAX] = {1e300, 5e-324, -1e300, -5e-324};
    struct exact_pair pair;
    struct ab_buffer out = {0};
    pair_init(&pair);
    pair_add(&pair, values, rows, 4);
    ab_primitive_sum_double.encode(&pair.sum_context, pair.sum, &out);
    assert_int_equal(out.bytes, 1);
    assert_int_equal(out.data[0], 0);
    pair_fini(&pair);
    ab_buffer_fini(&out);
}

static void test_exact_many_merges_spill_without_loss(void **state)
{
    (void)state;
    static const uint32_t rows[] = {0};
    const double values[EXACT_VALUES_MAX] = {3.5e10};
    struct exact_pair pair;
    pair_init(&pair);
    pair_add(&pair, values, rows, 1);
    for (int i = 0; i < 200; i++) {
        struct exact_pair copy;
        pair_init(&copy);
        pair_merge(&copy, &pair);
        pair_merge(&pair, &copy);
        pair_fini(&copy);
    }
    struct ab_exact sum;
    (void)ab_primitive_exact_value(&pair.sum_context, pair.sum, &sum);
    assert_true(ab_exact_divide(&sum, NULL, 0) == ldexp(3.5e10, 200));
    pair_fini(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_sums_match_rational_arithmetic_in_any_order),
        cmocka_unit_test(test_exact_specials_follow_ieee),
        cmocka_unit_test(test_exact_zero_is_one_byte_whatever_cancelled),
        cmocka_unit_test(test_exact_many_merges_spill_without_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
