#include "common/aggregate/primitive.h"

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive_distinct.h"
#include "common/aggregate/primitive_exact.h"
#include "common/base/decimal.h"

static const struct ab_primitive_ops *const ops_by_kind[] = {
    [AB_PRIMITIVE_COUNT] = &ab_primitive_count,
    [AB_PRIMITIVE_SUM_INTEGER] = &ab_primitive_sum_integer,
    [AB_PRIMITIVE_SUM_DOUBLE] = &ab_primitive_sum_double,
    [AB_PRIMITIVE_SQUARES_INTEGER] = &ab_primitive_squares_integer,
    [AB_PRIMITIVE_SQUARES_DOUBLE] = &ab_primitive_squares_double,
    [AB_PRIMITIVE_MIN] = &ab_primitive_min,
    [AB_PRIMITIVE_MAX] = &ab_primitive_max,
    [AB_PRIMITIVE_FIRST] = &ab_primitive_first,
    [AB_PRIMITIVE_LAST] = &ab_primitive_last,
    [AB_PRIMITIVE_DISTINCT] = &ab_primitive_distinct,
};

const struct ab_primitive_ops *ab_primitive_ops_of(uint8_t kind)
{
    return kind < sizeof(ops_by_kind) / sizeof(ops_by_kind[0]) ? ops_by_kind[kind] : NULL;
}

bool ab_primitive_cell(const struct ab_primitive_context *context, const void *state, union ab_cell *cell)
{
    bool is_identity = context->kind == AB_PRIMITIVE_FIRST || context->kind == AB_PRIMITIVE_LAST;
    return is_identity ? ab_primitive_identity_cell(state, cell) : ab_primitive_extreme_cell(context, state, cell);
}

static void print_integer(const struct ab_exact *exact, struct ab_buffer *out)
{
    ab_int128 number;
    char text[AB_DECIMAL_TEXT_BYTES];
    if (ab_exact_to_int128(exact, &number) && ab_decimal_fits(number, AB_DECIMAL_PRECISION_MAX)) {
        ab_buffer_put_format(out, "%s", ab_decimal_format(number, 0, text));
    } else {
        ab_buffer_put_format(out, "%s", ab_double_format(ab_exact_divide(exact, NULL, 0), text));
    }
}

static void print_cell(struct ab_bytes cell, struct ab_buffer *out)
{
    union ab_cell taken = ab_cell_take(cell.data[0], ab_bytes_of(cell.data + 1, cell.bytes - 1));
    struct ab_type type = {.kind = cell.data[0], .precision = cell.data[0] == AB_TYPE_DECIMAL ? 38 : 0};
    struct ab_value value = ab_cell_value(type, &taken);
    ab_value_format(&value, out);
}

static void print_distinct(struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_primitive_context context = {.kind = AB_PRIMITIVE_DISTINCT};
    uint64_t state[4] = {0};
    ab_primitive_distinct.absorb(&context, state, payload);
    ab_buffer_put_format(out, "%llu", (unsigned long long)ab_primitive_distinct_value(state));
    ab_primitive_distinct.release(&context, state);
}

void ab_primitive_print(uint8_t kind, struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_exact exact;
    uint64_t words[6] = {0};
    double number = 0;
    char text[AB_DECIMAL_TEXT_BYTES];
    switch ((enum ab_primitive_kind)kind) {
    case AB_PRIMITIVE_COUNT:
    case AB_PRIMITIVE_SQUARES_INTEGER:
    case AB_PRIMITIVE_SUM_INTEGER:
        ops_by_kind[kind]->absorb(NULL, words, payload);
        ab_exact_from_words(&exact, words, kind == AB_PRIMITIVE_SUM_INTEGER ? 3 : 6, 0);
        print_integer(&exact, out);
        break;
    case AB_PRIMITIVE_SUM_DOUBLE:
    case AB_PRIMITIVE_SQUARES_DOUBLE:
        if (!ab_primitive_exact_special(ab_primitive_exact_decode(payload, &exact), &number)) {
            number = ab_exact_divide(&exact, NULL, 0);
        }
        ab_buffer_put_format(out, "%s", ab_double_format(number, text));
        break;
    case AB_PRIMITIVE_MIN:
    case AB_PRIMITIVE_MAX:
        if (payload.bytes > 0) {
            print_cell(payload, out);
        }
        break;
    case AB_PRIMITIVE_FIRST:
    case AB_PRIMITIVE_LAST:
        if (payload.bytes > 0) {
            print_cell(ab_bytes_of(payload.data + AB_IDENTITY_BYTES, payload.bytes - AB_IDENTITY_BYTES), out);
        }
        break;
    case AB_PRIMITIVE_DISTINCT:
        print_distinct(payload, out);
        break;
    }
}
