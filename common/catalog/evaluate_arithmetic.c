#include "common/catalog/evaluate.h"

#include "common/base/assert.h"
#include "common/base/decimal.h"

/* Runs `body` over all rows with `a` and `b` as the row's operands; b may be a constant. */
#define EACH_ROW(type, a_values, b_values, is_b_constant, body)                                                        \
    do {                                                                                                               \
        const type *restrict a_at = (a_values);                                                                        \
        const type *restrict b_at = (b_values);                                                                        \
        if (is_b_constant) {                                                                                           \
            const type b = b_at[0];                                                                                    \
            for (uint32_t i = 0; i < rows_count; i++) {                                                                \
                const type a = a_at[i];                                                                                \
                body;                                                                                                  \
            }                                                                                                          \
        } else {                                                                                                       \
            for (uint32_t i = 0; i < rows_count; i++) {                                                                \
                const type a = a_at[i];                                                                                \
                const type b = b_at[i];                                                                                \
                body;                                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* What a loop writes: values, and which rows failed. */
struct output {
    void *values;
    uint8_t *bad;
    uint8_t any_bad;
};

static bool is_infinite_or_nan(double number)
{
    return number - number != 0;
}

/* One NaN, no -0: what states and comparisons rely on. */
static double canonical(double number)
{
    return number != number ? ab_double_canonical(number) : number + 0.0;
}

static void bigint_loop(enum ab_operation operation, const struct ab_operand *x, const struct ab_operand *y,
    uint32_t rows_count, struct output *out)
{
    int64_t *restrict values = out->values;
    uint8_t *restrict bad = out->bad;
    uint8_t any = 0;
    const void *left = x->column.values;
    const void *right = y->column.values;
    switch (operation) {
    case AB_OPERATION_ADD:
        EACH_ROW(int64_t, left, right, y->is_constant, any |= bad[i] = __builtin_add_overflow(a, b, &values[i]));
        break;
    case AB_OPERATION_SUBTRACT:
        EACH_ROW(int64_t, left, right, y->is_constant, any |= bad[i] = __builtin_sub_overflow(a, b, &values[i]));
        break;
    case AB_OPERATION_MULTIPLY:
        EACH_ROW(int64_t, left, right, y->is_constant, any |= bad[i] = __builtin_mul_overflow(a, b, &values[i]));
        break;
    case AB_OPERATION_DIVIDE:
        EACH_ROW(int64_t, left, right, y->is_constant, any |= bad[i] = b == 0 || (a == INT64_MIN && b == -1);
                 values[i] = bad[i] ? 0 : a / b);
        break;
    case AB_OPERATION_MODULO:
        EACH_ROW(int64_t, left, right, y->is_constant, any |= bad[i] = b == 0;
                 values[i] = b == 0 || b == -1 ? 0 : a % b);
        break;
    default:
        AB_UNREACHABLE();
    }
    out->any_bad = any;
}

static void double_loop(enum ab_operation operation, const struct ab_operand *x, const struct ab_operand *y,
    uint32_t rows_count, struct output *out)
{
    double *restrict values = out->values;
    uint8_t *restrict bad = out->bad;
    uint8_t any = 0;
    const void *left = x->column.values;
    const void *right = y->column.values;
#define DOUBLE_CHECK(result)                                                                                           \
    any |= bad[i] = is_infinite_or_nan(result) & !is_infinite_or_nan(a) & !is_infinite_or_nan(b);                      \
    values[i] = canonical(result)
    switch (operation) {
    case AB_OPERATION_ADD:
        EACH_ROW(double, left, right, y->is_constant, double r = a + b; DOUBLE_CHECK(r));
        break;
    case AB_OPERATION_SUBTRACT:
        EACH_ROW(double, left, right, y->is_constant, double r = a - b; DOUBLE_CHECK(r));
        break;
    case AB_OPERATION_MULTIPLY:
        EACH_ROW(double, left, right, y->is_constant, double r = a * b; DOUBLE_CHECK(r));
        break;
    case AB_OPERATION_DIVIDE:
        EACH_ROW(double, left, right, y->is_constant, bool is_zero = b == 0; double r = a / (is_zero ? 1 : b);
                 DOUBLE_CHECK(r); any |= bad[i] |= is_zero);
        break;
    default:
        AB_UNREACHABLE();
    }
#undef DOUBLE_CHECK
    out->any_bad = any;
}

static void decimal_loop(enum ab_operation operation, const struct ab_operand *x, const struct ab_operand *y,
    uint32_t rows_count, struct output *out)
{
    ab_int128 *restrict values = out->values;
    uint8_t *restrict bad = out->bad;
    uint8_t any = 0;
    const void *left = x->column.values;
    const void *right = y->column.values;
    const ab_int128 bound = ab_decimal_power(AB_DECIMAL_PRECISION_MAX);
#define DECIMAL_CHECK(overflows)                                                                                       \
    ab_int128 r = 0;                                                                                                   \
    any |= bad[i] = (overflows) || r >= bound || r <= -bound;                                                          \
    values[i] = bad[i] ? 0 : r
    switch (operation) {
    case AB_OPERATION_ADD:
        EACH_ROW(ab_int128, left, right, y->is_constant, DECIMAL_CHECK(__builtin_add_overflow(a, b, &r)));
        break;
    case AB_OPERATION_SUBTRACT:
        EACH_ROW(ab_int128, left, right, y->is_constant, DECIMAL_CHECK(__builtin_sub_overflow(a, b, &r)));
        break;
    case AB_OPERATION_MULTIPLY:
        EACH_ROW(ab_int128, left, right, y->is_constant, DECIMAL_CHECK(__builtin_mul_overflow(a, b, &r)));
        break;
    case AB_OPERATION_MODULO:
        EACH_ROW(ab_int128, left, right, y->is_constant, any |= bad[i] = b == 0;
                 values[i] = b == 0 || b == -1 ? 0 : a % b);
        break;
    default:
        AB_UNREACHABLE();
    }
#undef DECIMAL_CHECK
    out->any_bad = any;
}

static ab_err output_init(
    const struct ab_evaluation *evaluation, struct ab_type type, uint32_t rows_count, struct output *out)
{
    out->values = ab_evaluate_rows(evaluation, rows_count, ab_type_element_bytes(type));
    out->bad = ab_evaluate_rows(evaluation, rows_count, 1);
    out->any_bad = 0;
    return out->values == NULL || out->bad == NULL ? AB_FULL : AB_OK;
}

static ab_err output_finish(struct ab_evaluation *evaluation, struct ab_type type, uint32_t rows_count,
    const struct output *done, const uint8_t *nulls, struct ab_operand *out)
{
    if (done->any_bad) {
        AB_TRY(ab_evaluate_faults(evaluation, done->bad, rows_count, &nulls));
    }
    *out =
        (struct ab_operand){.column = {.type = type, .rows_count = rows_count, .values = done->values, .nulls = nulls}};
    return AB_OK;
}

/* Units times a power of ten; bad when the result has more than 38 digits. */
static void decimal_scale_up(const void *from, bool is_bigint, unsigned digits, uint32_t rows_count, struct output *out)
{
    const int64_t *bigints = from;
    const ab_int128 *decimals = from;
    ab_int128 *values = out->values;
    const ab_int128 power = ab_decimal_power(digits);
    const ab_int128 bound = ab_decimal_power(AB_DECIMAL_PRECISION_MAX);
    for (uint32_t i = 0; i < rows_count; i++) {
        ab_int128 units = is_bigint ? bigints[i] : decimals[i];
        ab_int128 scaled = 0;
        out->bad[i] = __builtin_mul_overflow(units, power, &scaled) || scaled >= bound || scaled <= -bound;
        out->any_bad |= out->bad[i];
        values[i] = out->bad[i] ? 0 : scaled;
    }
}

static void double_widen(const struct ab_column *column, uint32_t rows_count, struct output *out)
{
    double *values = out->values;
    if (column->type.kind == AB_TYPE_BIGINT) {
        const int64_t *from = column->values;
        for (uint32_t i = 0; i < rows_count; i++) {
            values[i] = (double)from[i];
        }
        return;
    }
    const ab_int128 *from = column->values;
    for (uint32_t i = 0; i < rows_count; i++) {
        values[i] = ab_decimal_to_double(from[i], column->type.scale);
    }
}

ab_err ab_evaluate_convert(struct ab_evaluation *evaluation, struct ab_operand *operand, struct ab_type type)
{
    struct ab_type from = operand->column.type;
    if (from.kind == type.kind && from.scale == type.scale) {
        operand->column.type = type;
        return AB_OK;
    }
    uint32_t rows_count = operand->is_constant ? 1 : evaluation->rows_count;
    bool is_constant = operand->is_constant;
    struct output out;
    AB_TRY(output_init(evaluation, type, rows_count, &out));
    if (type.kind == AB_TYPE_DOUBLE) {
        double_widen(&operand->column, rows_count, &out);
    } else {
        AB_ASSERT(type.kind == AB_TYPE_DECIMAL && type.scale >= from.scale);
        decimal_scale_up(
            operand->column.values, from.kind == AB_TYPE_BIGINT, type.scale - from.scale, rows_count, &out);
    }
    AB_TRY(output_finish(evaluation, type, rows_count, &out, operand->column.nulls, operand));
    if (is_constant && out.any_bad && evaluation->rows_count > 0) {
        evaluation->faults += evaluation->rows_count - 1; /* One row stood for all. */
    }
    operand->is_constant = is_constant;
    return AB_OK;
}

ab_err ab_evaluate_arithmetic(struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *a,
    struct ab_operand *b, struct ab_operand *out)
{
    struct ab_type type_a = node->operand_type;
    struct ab_type type_b = node->operand_type;
    if (node->operation == AB_OPERATION_MULTIPLY && node->type.kind == AB_TYPE_DECIMAL) {
        type_a.scale = a->column.type.scale; /* Factors keep their scales. */
        type_b.scale = b->column.type.scale;
    }
    AB_TRY(ab_evaluate_convert(evaluation, a, type_a));
    AB_TRY(ab_evaluate_convert(evaluation, b, type_b));
    AB_TRY(ab_operand_spread(evaluation, a));
    uint32_t rows_count = evaluation->rows_count;
    struct output done;
    const uint8_t *nulls = NULL;
    AB_TRY(output_init(evaluation, node->type, rows_count, &done));
    AB_TRY(ab_evaluate_nulls(evaluation, a, b, rows_count, &nulls));
    if (node->operand_type.kind == AB_TYPE_BIGINT) {
        bigint_loop(node->operation, a, b, rows_count, &done);
    } else if (node->operand_type.kind == AB_TYPE_DOUBLE) {
        double_loop(node->operation, a, b, rows_count, &done);
    } else {
        decimal_loop(node->operation, a, b, rows_count, &done);
    }
    return output_finish(evaluation, node->type, rows_count, &done, nulls, out);
}

static void bigint_unary(bool is_abs, const int64_t *from, uint32_t rows_count, struct output *out)
{
    int64_t *values = out->values;
    for (uint32_t i = 0; i < rows_count; i++) {
        bool flips = !is_abs || from[i] < 0;
        out->bad[i] = flips && from[i] == INT64_MIN;
        out->any_bad |= out->bad[i];
        values[i] = !flips ? from[i] : out->bad[i] ? 0 : -from[i];
    }
}

ab_err ab_evaluate_unary(
    struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *a, struct ab_operand *out)
{
    bool is_abs = node->operation == AB_OPERATION_ABS;
    uint32_t rows_count = evaluation->rows_count;
    struct output done;
    AB_TRY(ab_operand_spread(evaluation, a));
    AB_TRY(output_init(evaluation, node->type, rows_count, &done));
    if (node->type.kind == AB_TYPE_BIGINT) {
        bigint_unary(is_abs, a->column.values, rows_count, &done);
    } else if (node->type.kind == AB_TYPE_DOUBLE) {
        const double *from = a->column.values;
        double *values = done.values;
        for (uint32_t i = 0; i < rows_count; i++) {
            values[i] = canonical(is_abs && !(from[i] < 0) ? from[i] : -from[i]);
        }
    } else {
        const ab_int128 *from = a->column.values;
        ab_int128 *values = done.values;
        for (uint32_t i = 0; i < rows_count; i++) {
            values[i] = is_abs && from[i] >= 0 ? from[i] : -from[i];
        }
    }
    return output_finish(evaluation, node->type, rows_count, &done, a->column.nulls, out);
}
