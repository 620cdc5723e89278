#include "speed/convert.h"

#include "common/base/decimal.h"

/* Units of 10^-from as units of 10^-to; false when digits would be lost or precision passed. */
static bool decimal_rescale(ab_int128 units, unsigned from, unsigned to, unsigned precision, ab_int128 *result)
{
    if (to >= from) {
        if (__builtin_mul_overflow(units, ab_decimal_power(to - from), result)) {
            return false;
        }
    } else {
        ab_int128 power = ab_decimal_power(from - to);
        if (units % power != 0) {
            return false;
        }
        *result = units / power;
    }
    return ab_decimal_fits(*result, precision);
}

static ab_err to_decimal(const struct ab_column *column, struct ab_type type, ab_int128 *out)
{
    bool is_bigint = column->type.kind == AB_TYPE_BIGINT;
    for (uint32_t row = 0; row < column->rows_count; row++) {
        ab_int128 units = is_bigint ? ((const int64_t *)column->values)[row] : ((const ab_int128 *)column->values)[row];
        if (ab_column_is_null(column, row)) {
            out[row] = 0;
        } else if (!decimal_rescale(units, column->type.scale, type.scale, type.precision, &out[row])) {
            return AB_OVERFLOW;
        }
    }
    return AB_OK;
}

static ab_err to_double(const struct ab_column *column, double *out)
{
    const int64_t *values = column->values;
    for (uint32_t row = 0; row < column->rows_count; row++) {
        out[row] = ab_column_is_null(column, row) ? 0.0 : (double)values[row];
        if (!ab_column_is_null(column, row) && (ab_int128)out[row] != values[row]) {
            return AB_OVERFLOW;
        }
    }
    return AB_OK;
}

ab_err ab_convert_column(
    const struct ab_column *column, struct ab_type type, struct ab_arena *arena, struct ab_column *converted)
{
    bool is_bigint = column->type.kind == AB_TYPE_BIGINT;
    bool is_to_decimal = type.kind == AB_TYPE_DECIMAL && (is_bigint || column->type.kind == AB_TYPE_DECIMAL);
    if (!is_to_decimal && !(is_bigint && type.kind == AB_TYPE_DOUBLE)) {
        return AB_UNSUPPORTED;
    }
    void *values = ab_arena_alloc(arena, (size_t)column->rows_count * ab_type_element_bytes(type));
    if (values == NULL) {
        return AB_FULL;
    }
    AB_TRY(is_to_decimal ? to_decimal(column, type, values) : to_double(column, values));
    *converted =
        (struct ab_column){.type = type, .rows_count = column->rows_count, .nulls = column->nulls, .values = values};
    return AB_OK;
}
