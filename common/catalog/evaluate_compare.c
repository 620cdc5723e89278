#include "common/catalog/evaluate.h"

#include "common/base/decimal.h"

/* Bit 0: holds when less, bit 1: when equal, bit 2: when greater. */
static uint8_t mask_of(enum ab_operation operation)
{
    static const uint8_t masks[] = {2, 5, 1, 3, 4, 6};
    return masks[operation - AB_OPERATION_EQUAL];
}

static enum ab_operation mirrored(enum ab_operation operation)
{
    static const enum ab_operation mirror[] = {AB_OPERATION_EQUAL, AB_OPERATION_NOT_EQUAL, AB_OPERATION_GREATER,
        AB_OPERATION_GREATER_EQUAL, AB_OPERATION_LESS, AB_OPERATION_LESS_EQUAL};
    return mirror[operation - AB_OPERATION_EQUAL];
}

static int order_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* NaN equals NaN and is above all numbers. */
static int order_double(double a, double b)
{
    if (a != a || b != b) {
        return (a != a) - (b != b);
    }
    return (a > b) - (a < b);
}

/* Exact: a double that does not fit 64 bits is beyond every BIGINT, else its whole part decides, then its fraction. */
static int order_bigint_double(int64_t a, double b)
{
    if (b != b || b >= 0x1p63) {
        return -1;
    }
    if (b < -0x1p63) {
        return 1;
    }
    int64_t whole = (int64_t)b;
    return a != whole ? order_i64(a, whole) : order_double((double)whole, b);
}

static int order_int128(ab_int128 a, ab_int128 b)
{
    return (a > b) - (a < b);
}

/* Exact: the side with fewer digits after the point is scaled up; what overflows then is larger in magnitude. */
static int order_decimal(ab_int128 a, unsigned a_scale, ab_int128 b, unsigned b_scale)
{
    if (a_scale > b_scale) {
        return -order_decimal(b, b_scale, a, a_scale);
    }
    ab_int128 scaled = 0;
    if (__builtin_mul_overflow(a, ab_decimal_power(b_scale - a_scale), &scaled)) {
        return a > 0 ? 1 : -1;
    }
    return order_int128(scaled, b);
}

double ab_constant_double(const struct ab_value *value)
{
    return value->type.kind == AB_TYPE_DOUBLE   ? value->real
           : value->type.kind == AB_TYPE_BIGINT ? (double)value->bigint
                                                : ab_decimal_to_double(value->decimal, value->type.scale);
}

int ab_constant_compare(const struct ab_value *a, const struct ab_value *b)
{
    if (a->type.kind == b->type.kind && a->type.kind != AB_TYPE_DECIMAL) {
        return ab_value_compare(a, b);
    }
    if (a->type.kind == AB_TYPE_BIGINT && b->type.kind == AB_TYPE_DOUBLE) {
        return order_bigint_double(a->bigint, b->real);
    }
    if (a->type.kind == AB_TYPE_DOUBLE && b->type.kind == AB_TYPE_BIGINT) {
        return -order_bigint_double(b->bigint, a->real);
    }
    if (a->type.kind == AB_TYPE_DOUBLE || b->type.kind == AB_TYPE_DOUBLE) {
        return order_double(ab_constant_double(a), ab_constant_double(b));
    }
    ab_int128 left = a->type.kind == AB_TYPE_BIGINT ? a->bigint : a->decimal;
    ab_int128 right = b->type.kind == AB_TYPE_BIGINT ? b->bigint : b->decimal;
    return order_decimal(left, a->type.scale, right, b->type.scale);
}

static bool decimal_convert(const struct ab_value *value, struct ab_type type, struct ab_value *out)
{
    ab_int128 units = value->type.kind == AB_TYPE_BIGINT ? value->bigint : value->decimal;
    unsigned from = value->type.scale;
    if (from > type.scale) {
        ab_int128 power = ab_decimal_power(from - type.scale);
        if (units % power != 0) {
            return false;
        }
        units /= power;
    } else if (__builtin_mul_overflow(units, ab_decimal_power(type.scale - from), &units)) {
        return false;
    }
    if (type.kind == AB_TYPE_DECIMAL) {
        out->decimal = units;
        return ab_decimal_fits(units, type.precision);
    }
    out->bigint = (int64_t)units;
    return units >= INT64_MIN && units <= INT64_MAX;
}

bool ab_constant_convert(const struct ab_value *value, struct ab_type type, struct ab_value *out)
{
    struct ab_value result = {.type = type};
    if (value->type.kind == type.kind && type.kind != AB_TYPE_DECIMAL) {
        *out = *value;
        return true;
    }
    if (!ab_type_is_number(value->type) || !ab_type_is_number(type)) {
        return false;
    }
    if (type.kind == AB_TYPE_DOUBLE) {
        result.real = ab_constant_double(value);
        *out = result;
        return value->type.kind == AB_TYPE_DECIMAL || order_bigint_double(value->bigint, result.real) == 0;
    }
    if (value->type.kind == AB_TYPE_DOUBLE) {
        result.bigint = value->real >= -0x1p63 && value->real < 0x1p63 ? (int64_t)value->real : 0;
        *out = result;
        return type.kind == AB_TYPE_BIGINT && order_bigint_double(result.bigint, value->real) == 0;
    }
    if (!decimal_convert(value, type, &result)) {
        return false;
    }
    *out = result;
    return true;
}

#define COMPARE_LOOP(type, holds)                                                                                      \
    do {                                                                                                               \
        const type *restrict a_at = a->column.values;                                                                  \
        const type *restrict b_at = b->column.values;                                                                  \
        if (b->is_constant) {                                                                                          \
            const type y = b_at[0];                                                                                    \
            for (uint32_t i = 0; i < rows_count; i++) {                                                                \
                const type x = a_at[i];                                                                                \
                out[i] = (holds);                                                                                      \
            }                                                                                                          \
        } else {                                                                                                       \
            for (uint32_t i = 0; i < rows_count; i++) {                                                                \
                const type x = a_at[i];                                                                                \
                const type y = b_at[i];                                                                                \
                out[i] = (holds);                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

/* Ordered kinds of one machine type: a loop per operation, so that each vectorises. */
#define COMPARE_ALL(type)                                                                                              \
    switch (operation) {                                                                                               \
    case AB_OPERATION_EQUAL:                                                                                           \
        COMPARE_LOOP(type, x == y);                                                                                    \
        break;                                                                                                         \
    case AB_OPERATION_NOT_EQUAL:                                                                                       \
        COMPARE_LOOP(type, x != y);                                                                                    \
        break;                                                                                                         \
    case AB_OPERATION_LESS:                                                                                            \
        COMPARE_LOOP(type, x < y);                                                                                     \
        break;                                                                                                         \
    case AB_OPERATION_LESS_EQUAL:                                                                                      \
        COMPARE_LOOP(type, x <= y);                                                                                    \
        break;                                                                                                         \
    case AB_OPERATION_GREATER:                                                                                         \
        COMPARE_LOOP(type, x > y);                                                                                     \
        break;                                                                                                         \
    default:                                                                                                           \
        COMPARE_LOOP(type, x >= y);                                                                                    \
        break;                                                                                                         \
    }

static void compare_i64(enum ab_operation operation, const struct ab_operand *a, const struct ab_operand *b,
    uint32_t rows_count, uint8_t *restrict out)
{
    COMPARE_ALL(int64_t)
}

static void compare_u8(enum ab_operation operation, const struct ab_operand *a, const struct ab_operand *b,
    uint32_t rows_count, uint8_t *restrict out)
{
    COMPARE_ALL(uint8_t)
}

static void compare_decimal(enum ab_operation operation, const struct ab_operand *a, const struct ab_operand *b,
    uint32_t rows_count, uint8_t *restrict out)
{
    COMPARE_ALL(ab_int128)
}

static void compare_double(enum ab_operation operation, const struct ab_operand *a, const struct ab_operand *b,
    uint32_t rows_count, uint8_t *restrict out)
{
    switch (operation) { /* NaN is equal to NaN and above all else. */
    case AB_OPERATION_EQUAL:
        COMPARE_LOOP(double, (x == y) | ((x != x) & (y != y)));
        break;
    case AB_OPERATION_NOT_EQUAL:
        COMPARE_LOOP(double, !((x == y) | ((x != x) & (y != y))));
        break;
    case AB_OPERATION_LESS:
        COMPARE_LOOP(double, (x < y) | ((x == x) & (y != y)));
        break;
    case AB_OPERATION_LESS_EQUAL:
        COMPARE_LOOP(double, (x <= y) | (y != y));
        break;
    case AB_OPERATION_GREATER:
        COMPARE_LOOP(double, (x > y) | ((x != x) & (y == y)));
        break;
    default:
        COMPARE_LOOP(double, (x >= y) | (x != x));
        break;
    }
}

/* TEXT with a constant: one comparison per dictionary entry, when there are fewer of them than rows. */
static ab_err compare_text_constant(
    struct ab_evaluation *evaluation, uint8_t mask, const struct ab_operand *a, struct ab_bytes constant, uint8_t *out)
{
    const struct ab_dictionary *dictionary = &a->column.dictionary;
    const uint32_t *codes = a->column.values;
    uint32_t rows_count = evaluation->rows_count;
    if (dictionary->count > rows_count) {
        for (uint32_t i = 0; i < rows_count; i++) {
            int order = ab_bytes_compare(ab_dictionary_at(dictionary, codes[i]), constant);
            out[i] = (mask >> ((order > 0) - (order < 0) + 1)) & 1;
        }
        return AB_OK;
    }
    uint8_t *holds = ab_evaluate_rows(evaluation, dictionary->count, 1);
    if (holds == NULL) {
        return AB_FULL;
    }
    for (uint32_t code = 0; code < dictionary->count; code++) {
        int order = ab_bytes_compare(ab_dictionary_at(dictionary, code), constant);
        holds[code] = (mask >> ((order > 0) - (order < 0) + 1)) & 1;
    }
    for (uint32_t i = 0; i < rows_count; i++) {
        out[i] = holds[codes[i]];
    }
    return AB_OK;
}

static ab_err compare_text(struct ab_evaluation *evaluation, enum ab_operation operation, const struct ab_operand *a,
    const struct ab_operand *b, uint8_t *out)
{
    uint8_t mask = mask_of(operation);
    if (b->is_constant) {
        return compare_text_constant(evaluation, mask, a, ab_dictionary_at(&b->column.dictionary, 0), out);
    }
    const uint32_t *left = a->column.values;
    const uint32_t *right = b->column.values;
    for (uint32_t i = 0; i < evaluation->rows_count; i++) {
        int order = ab_bytes_compare(
            ab_dictionary_at(&a->column.dictionary, left[i]), ab_dictionary_at(&b->column.dictionary, right[i]));
        out[i] = (mask >> ((order > 0) - (order < 0) + 1)) & 1;
    }
    return AB_OK;
}

/* Numbers of two kinds, row by row. */
static void compare_mixed(enum ab_operation operation, const struct ab_operand *a, const struct ab_operand *b,
    uint32_t rows_count, uint8_t *out)
{
    uint8_t mask = mask_of(operation);
    for (uint32_t i = 0; i < rows_count; i++) {
        if (ab_column_is_null(&a->column, i) || ab_column_is_null(&b->column, b->is_constant ? 0 : i)) {
            out[i] = 0;
            continue;
        }
        struct ab_value x = ab_column_value(&a->column, i);
        struct ab_value y = ab_column_value(&b->column, b->is_constant ? 0 : i);
        out[i] = (mask >> (ab_constant_compare(&x, &y) + 1)) & 1;
    }
}

static ab_err compare_values(struct ab_evaluation *evaluation, enum ab_operation operation, const struct ab_operand *a,
    const struct ab_operand *b, uint8_t *out)
{
    uint32_t rows_count = evaluation->rows_count;
    bool is_same = a->column.type.kind == b->column.type.kind && a->column.type.scale == b->column.type.scale;
    if (!is_same) {
        compare_mixed(operation, a, b, rows_count, out);
        return AB_OK;
    }
    switch ((enum ab_type_kind)a->column.type.kind) {
    case AB_TYPE_BOOLEAN:
        compare_u8(operation, a, b, rows_count, out);
        return AB_OK;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        compare_i64(operation, a, b, rows_count, out);
        return AB_OK;
    case AB_TYPE_DOUBLE:
        compare_double(operation, a, b, rows_count, out);
        return AB_OK;
    case AB_TYPE_DECIMAL:
        compare_decimal(operation, a, b, rows_count, out);
        return AB_OK;
    case AB_TYPE_TEXT:
        return compare_text(evaluation, operation, a, b, out);
    }
    return AB_OK;
}

/* Gives a constant the column's kind when that is exact, so that the fast loops apply. */
static ab_err constant_adapt(struct ab_evaluation *evaluation, const struct ab_operand *a, struct ab_operand *b)
{
    struct ab_value value = ab_column_value(&b->column, 0);
    struct ab_value adapted;
    struct ab_type type = a->column.type;
    type.precision = type.kind == AB_TYPE_DECIMAL ? AB_DECIMAL_PRECISION_MAX : 0;
    if (!ab_constant_convert(&value, type, &adapted) || ab_constant_compare(&value, &adapted) != 0) {
        return AB_OK;
    }
    return ab_operand_constant(evaluation, &adapted, b);
}

ab_err ab_evaluate_compare(struct ab_evaluation *evaluation, enum ab_operation operation, const struct ab_operand *a,
    const struct ab_operand *b, struct ab_operand *out)
{
    if (a->is_constant && !b->is_constant) {
        return ab_evaluate_compare(evaluation, mirrored(operation), b, a, out);
    }
    struct ab_operand x = *a;
    struct ab_operand y = *b;
    uint32_t rows_count = evaluation->rows_count;
    struct ab_type boolean = {.kind = AB_TYPE_BOOLEAN};
    bool is_null_constant =
        (x.is_constant && ab_column_is_null(&x.column, 0)) || (y.is_constant && ab_column_is_null(&y.column, 0));
    if (is_null_constant) {
        return ab_operand_constant(evaluation, &(struct ab_value){.type = boolean, .is_null = true}, out);
    }
    AB_TRY(ab_operand_spread(evaluation, &x));
    if (y.is_constant && !ab_type_equal(x.column.type, y.column.type)) {
        AB_TRY(constant_adapt(evaluation, &x, &y));
    }
    uint8_t *values = ab_evaluate_rows(evaluation, rows_count, 1);
    const uint8_t *nulls = NULL;
    if (values == NULL) {
        return AB_FULL;
    }
    AB_TRY(ab_evaluate_nulls(evaluation, &x, &y, rows_count, &nulls));
    AB_TRY(compare_values(evaluation, operation, &x, &y, values));
    *out = (struct ab_operand){.column = {.type = boolean, .rows_count = rows_count, .values = values, .nulls = nulls}};
    return AB_OK;
}
