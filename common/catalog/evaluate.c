#include "common/catalog/evaluate.h"

#include "common/base/assert.h"

static const struct ab_type boolean = {.kind = AB_TYPE_BOOLEAN};

void *ab_evaluate_rows(const struct ab_evaluation *evaluation, uint32_t rows_count, size_t bytes)
{
    return ab_arena_alloc(evaluation->arena, (size_t)(rows_count == 0 ? 1 : rows_count) * bytes);
}

ab_err ab_operand_constant(struct ab_evaluation *evaluation, const struct ab_value *value, struct ab_operand *out)
{
    uint8_t *cell = ab_arena_zalloc(evaluation->arena, 32);
    if (cell == NULL) {
        return AB_FULL;
    }
    cell[16] = value->is_null;
    *out = (struct ab_operand){.is_constant = true,
        .column = {.type = value->type, .rows_count = 1, .values = cell, .nulls = value->is_null ? cell + 16 : NULL}};
    if (value->is_null) {
        return AB_OK;
    }
    switch ((enum ab_type_kind)value->type.kind) {
    case AB_TYPE_BOOLEAN:
        cell[0] = value->boolean;
        break;
    case AB_TYPE_BIGINT:
    case AB_TYPE_TIMESTAMP:
        memcpy(cell, &value->bigint, sizeof(value->bigint));
        break;
    case AB_TYPE_DOUBLE:
        memcpy(cell, &value->real, sizeof(value->real));
        break;
    case AB_TYPE_DECIMAL:
        memcpy(cell, &value->decimal, sizeof(value->decimal));
        break;
    case AB_TYPE_TEXT: {
        uint32_t end = (uint32_t)value->text.bytes;
        memcpy(cell + 20, &end, sizeof(end));
        out->column.dictionary = (struct ab_dictionary){
            .count = 1, .ends = (const uint32_t *)(const void *)(cell + 20), .bytes = value->text.data};
        break;
    }
    }
    return AB_OK;
}

static void bytes_spread(uint8_t *out, const uint8_t *element, size_t element_bytes, uint32_t rows_count)
{
    for (uint32_t i = 0; i < rows_count; i++) {
        memcpy(out + (size_t)i * element_bytes, element, element_bytes);
    }
}

ab_err ab_operand_spread(struct ab_evaluation *evaluation, struct ab_operand *operand)
{
    if (!operand->is_constant) {
        return AB_OK;
    }
    uint32_t rows_count = evaluation->rows_count;
    size_t element_bytes = ab_type_element_bytes(operand->column.type);
    uint8_t *values = ab_evaluate_rows(evaluation, rows_count, element_bytes);
    if (values == NULL) {
        return AB_FULL;
    }
    bytes_spread(values, operand->column.values, element_bytes, rows_count);
    if (operand->column.nulls != NULL) {
        uint8_t *nulls = ab_evaluate_rows(evaluation, rows_count, 1);
        if (nulls == NULL) {
            return AB_FULL;
        }
        memset(nulls, operand->column.nulls[0], rows_count);
        operand->column.nulls = nulls;
    }
    operand->column.values = values;
    operand->column.rows_count = rows_count;
    operand->is_constant = false;
    return AB_OK;
}

static bool is_null_constant(const struct ab_operand *operand)
{
    return operand->is_constant && ab_column_is_null(&operand->column, 0);
}

ab_err ab_evaluate_nulls(const struct ab_evaluation *evaluation, const struct ab_operand *a, const struct ab_operand *b,
    uint32_t rows_count, const uint8_t **nulls)
{
    const uint8_t *left = a->is_constant && !is_null_constant(a) ? NULL : a->column.nulls;
    const uint8_t *right = b == NULL || (b->is_constant && !is_null_constant(b)) ? NULL : b->column.nulls;
    bool is_all = is_null_constant(a) || (b != NULL && is_null_constant(b));
    if (!is_all && (left == NULL || right == NULL)) {
        *nulls = left == NULL ? right : left;
        return AB_OK;
    }
    uint8_t *either = ab_evaluate_rows(evaluation, rows_count, 1);
    if (either == NULL) {
        return AB_FULL;
    }
    if (is_all) {
        memset(either, 1, rows_count);
    } else {
        for (uint32_t i = 0; i < rows_count; i++) {
            either[i] = left[i] | right[i];
        }
    }
    *nulls = either;
    return AB_OK;
}

ab_err ab_evaluate_faults(
    struct ab_evaluation *evaluation, const uint8_t *bad, uint32_t rows_count, const uint8_t **nulls)
{
    uint8_t *marked = ab_evaluate_rows(evaluation, rows_count, 1);
    if (marked == NULL) {
        return AB_FULL;
    }
    uint64_t faults = 0;
    for (uint32_t i = 0; i < rows_count; i++) {
        uint8_t was_null = *nulls == NULL ? 0 : (*nulls)[i];
        faults += bad[i] & (uint8_t)(!was_null);
        marked[i] = bad[i] | was_null;
    }
    evaluation->faults += faults;
    *nulls = marked;
    return AB_OK;
}

static ab_err input_evaluate(struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out)
{
    const struct ab_column *input = evaluation->inputs == NULL ? NULL : evaluation->inputs[node->input];
    bool is_empty_text = input != NULL && input->type.kind == AB_TYPE_TEXT && input->dictionary.count == 0;
    if (input == NULL || is_empty_text) {
        return ab_operand_constant(evaluation, &(struct ab_value){.type = node->type, .is_null = true}, out);
    }
    *out = (struct ab_operand){.column = *input};
    out->column.rows_count = evaluation->rows_count;
    return AB_OK;
}

/* Which rows are TRUE and which are FALSE; the rest is NULL: three-valued logic without branches. Without NULLs
 * is_false is NULL and means all other rows. The arrays are never written again. */
struct truth {
    const uint8_t *is_true;
    const uint8_t *is_false;
};

static ab_err truth_of(struct ab_evaluation *evaluation, struct ab_operand *operand, struct truth *out)
{
    AB_TRY(ab_operand_spread(evaluation, operand));
    uint32_t rows_count = evaluation->rows_count;
    const uint8_t *restrict values = operand->column.values;
    const uint8_t *restrict nulls = operand->column.nulls;
    if (nulls == NULL) {
        *out = (struct truth){.is_true = values};
        return AB_OK;
    }
    uint8_t *restrict is_true = ab_evaluate_rows(evaluation, rows_count, 1);
    uint8_t *restrict is_false = ab_evaluate_rows(evaluation, rows_count, 1);
    if (is_true == NULL || is_false == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < rows_count; i++) {
        uint8_t known = !nulls[i];
        is_true[i] = values[i] & known;
        is_false[i] = (uint8_t)(values[i] ^ 1) & known;
    }
    *out = (struct truth){.is_true = is_true, .is_false = is_false};
    return AB_OK;
}

static ab_err bytes_invert(const struct ab_evaluation *evaluation, const uint8_t *from, const uint8_t **out)
{
    uint8_t *inverted = ab_evaluate_rows(evaluation, evaluation->rows_count, 1);
    if (inverted == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < evaluation->rows_count; i++) {
        inverted[i] = from[i] ^ 1;
    }
    *out = inverted;
    return AB_OK;
}

static ab_err bytes_join(
    const struct ab_evaluation *evaluation, bool is_and, const uint8_t *a, const uint8_t *b, const uint8_t **out)
{
    uint8_t *restrict joined = ab_evaluate_rows(evaluation, evaluation->rows_count, 1);
    if (joined == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; is_and && i < evaluation->rows_count; i++) {
        joined[i] = a[i] & b[i];
    }
    for (uint32_t i = 0; !is_and && i < evaluation->rows_count; i++) {
        joined[i] = a[i] | b[i];
    }
    *out = joined;
    return AB_OK;
}

/* a AND b, or a OR b, into a: TRUE of both (of either), FALSE of either (of both). */
static ab_err truth_join(struct ab_evaluation *evaluation, bool is_and, struct truth *a, struct truth *b)
{
    if (a->is_false != NULL || b->is_false != NULL) {
        if (a->is_false == NULL) {
            AB_TRY(bytes_invert(evaluation, a->is_true, &a->is_false));
        }
        if (b->is_false == NULL) {
            AB_TRY(bytes_invert(evaluation, b->is_true, &b->is_false));
        }
        AB_TRY(bytes_join(evaluation, !is_and, a->is_false, b->is_false, &a->is_false));
    }
    return bytes_join(evaluation, is_and, a->is_true, b->is_true, &a->is_true);
}

/* TRUE where is_true (or, negated, where is_false); NULL where neither. */
static ab_err truth_operand(
    const struct ab_evaluation *evaluation, struct truth truth, bool is_negated, struct ab_operand *out)
{
    uint32_t rows_count = evaluation->rows_count;
    const uint8_t *values = is_negated ? truth.is_false : truth.is_true;
    uint8_t *nulls = NULL;
    if (truth.is_false == NULL && is_negated) {
        AB_TRY(bytes_invert(evaluation, truth.is_true, &values));
    } else if (truth.is_false != NULL) {
        nulls = ab_evaluate_rows(evaluation, rows_count, 1);
        if (nulls == NULL) {
            return AB_FULL;
        }
        for (uint32_t i = 0; i < rows_count; i++) {
            nulls[i] = (truth.is_true[i] | truth.is_false[i]) ^ 1;
        }
    }
    *out = (struct ab_operand){.column = {.type = boolean, .rows_count = rows_count, .values = values, .nulls = nulls}};
    return AB_OK;
}

static ab_err logic_evaluate(struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out)
{
    struct truth result = {0};
    for (uint32_t i = 0; i < node->children_count; i++) {
        struct ab_operand operand;
        struct truth next;
        AB_TRY(ab_evaluate_node(evaluation, node->children[i], &operand));
        AB_TRY(truth_of(evaluation, &operand, &next));
        if (i == 0) {
            result = next;
        } else {
            AB_TRY(truth_join(evaluation, node->operation == AB_OPERATION_AND, &result, &next));
        }
    }
    return truth_operand(evaluation, result, node->operation == AB_OPERATION_NOT, out);
}

static ab_err compare_truth(struct ab_evaluation *evaluation, enum ab_operation operation, const struct ab_operand *x,
    const struct ab_expression *other, struct truth *truth)
{
    struct ab_operand operand;
    struct ab_operand holds;
    AB_TRY(ab_evaluate_node(evaluation, other, &operand));
    AB_TRY(ab_evaluate_compare(evaluation, operation, x, &operand, &holds));
    return truth_of(evaluation, &holds, truth);
}

/* x BETWEEN a AND b is x >= a AND x <= b; x IN (...) is x = a OR x = b ... */
static ab_err many_evaluate(struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out)
{
    bool is_in = node->operation == AB_OPERATION_IN;
    struct ab_operand x;
    struct truth result = {0};
    AB_TRY(ab_evaluate_node(evaluation, node->children[0], &x));
    for (uint32_t i = 1; i < node->children_count; i++) {
        enum ab_operation operation = is_in    ? AB_OPERATION_EQUAL
                                      : i == 1 ? AB_OPERATION_GREATER_EQUAL
                                               : AB_OPERATION_LESS_EQUAL;
        struct truth next;
        AB_TRY(compare_truth(evaluation, operation, &x, node->children[i], &next));
        if (i == 1) {
            result = next;
        } else {
            AB_TRY(truth_join(evaluation, !is_in, &result, &next));
        }
    }
    return truth_operand(evaluation, result, node->is_negated, out);
}

static ab_err is_null_evaluate(
    struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out)
{
    struct ab_operand operand;
    AB_TRY(ab_evaluate_node(evaluation, node->children[0], &operand));
    if (operand.is_constant || operand.column.nulls == NULL) {
        bool is_null = ab_column_is_null(&operand.column, 0);
        struct ab_value value = {.type = boolean, .boolean = is_null != node->is_negated};
        return ab_operand_constant(evaluation, &value, out);
    }
    uint8_t *values = ab_evaluate_rows(evaluation, evaluation->rows_count, 1);
    if (values == NULL) {
        return AB_FULL;
    }
    for (uint32_t i = 0; i < evaluation->rows_count; i++) {
        values[i] = (operand.column.nulls[i] != 0) != node->is_negated;
    }
    *out = (struct ab_operand){.column = {.type = boolean, .rows_count = evaluation->rows_count, .values = values}};
    return AB_OK;
}

/* Puts the dictionaries of two TEXT operands behind each other; codes of b move up by a's count. */
static ab_err dictionary_join(struct ab_evaluation *evaluation, struct ab_operand *a, struct ab_operand *b)
{
    const struct ab_dictionary *left = &a->column.dictionary;
    const struct ab_dictionary *right = &b->column.dictionary;
    uint64_t left_bytes = left->count == 0 ? 0 : left->ends[left->count - 1];
    uint64_t right_bytes = right->count == 0 ? 0 : right->ends[right->count - 1];
    uint64_t count = (uint64_t)left->count + right->count;
    if (left_bytes + right_bytes > UINT32_MAX || count > UINT32_MAX) {
        return AB_FULL;
    }
    uint32_t *ends = ab_arena_alloc(evaluation->arena, (size_t)count * sizeof(*ends) + 1);
    uint8_t *bytes = ab_arena_alloc(evaluation->arena, (size_t)(left_bytes + right_bytes) + 1);
    uint32_t *codes = ab_evaluate_rows(evaluation, evaluation->rows_count, sizeof(*codes));
    if (ends == NULL || bytes == NULL || codes == NULL) {
        return AB_FULL;
    }
    for (uint64_t i = 0; i < count; i++) {
        ends[i] = i < left->count ? left->ends[i] : (uint32_t)(left_bytes + right->ends[i - left->count]);
    }
    if (left_bytes > 0) {
        memcpy(bytes, left->bytes, (size_t)left_bytes);
    }
    if (right_bytes > 0) {
        memcpy(bytes + left_bytes, right->bytes, (size_t)right_bytes);
    }
    const uint32_t *before = b->column.values;
    for (uint32_t i = 0; i < evaluation->rows_count; i++) {
        codes[i] = ab_column_is_null(&b->column, i) ? 0 : before[i] + left->count;
    }
    b->column.values = codes;
    b->column.dictionary = (struct ab_dictionary){.count = (uint32_t)count, .ends = ends, .bytes = bytes};
    a->column.dictionary = b->column.dictionary;
    return AB_OK;
}

/* Takes b's value where a is NULL. Both are spread and of one type. */
static ab_err operand_fill(struct ab_evaluation *evaluation, struct ab_operand *a, struct ab_operand *b)
{
    if (a->column.nulls == NULL) {
        return AB_OK;
    }
    if (a->column.type.kind == AB_TYPE_TEXT) {
        AB_TRY(dictionary_join(evaluation, a, b));
    }
    size_t element_bytes = ab_type_element_bytes(a->column.type);
    uint8_t *values = ab_evaluate_rows(evaluation, evaluation->rows_count, element_bytes);
    uint8_t *nulls = ab_evaluate_rows(evaluation, evaluation->rows_count, 1);
    if (values == NULL || nulls == NULL) {
        return AB_FULL;
    }
    uint8_t any_null = 0;
    for (uint32_t i = 0; i < evaluation->rows_count; i++) {
        const struct ab_column *source = a->column.nulls[i] ? &b->column : &a->column;
        memcpy(values + i * element_bytes, (const uint8_t *)source->values + i * element_bytes, element_bytes);
        nulls[i] = ab_column_is_null(source, i);
        any_null |= nulls[i];
    }
    a->column.values = values;
    a->column.nulls = any_null ? nulls : NULL;
    return AB_OK;
}

static ab_err coalesce_evaluate(
    struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out)
{
    struct ab_operand result;
    AB_TRY(ab_evaluate_node(evaluation, node->children[0], &result));
    AB_TRY(ab_evaluate_convert(evaluation, &result, node->operand_type));
    AB_TRY(ab_operand_spread(evaluation, &result));
    for (uint32_t i = 1; i < node->children_count; i++) {
        struct ab_operand next;
        AB_TRY(ab_evaluate_node(evaluation, node->children[i], &next));
        AB_TRY(ab_evaluate_convert(evaluation, &next, node->operand_type));
        AB_TRY(ab_operand_spread(evaluation, &next));
        AB_TRY(operand_fill(evaluation, &result, &next));
    }
    *out = result;
    return AB_OK;
}

static ab_err nullif_evaluate(
    struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out)
{
    struct ab_operand a;
    struct truth equal;
    AB_TRY(ab_evaluate_node(evaluation, node->children[0], &a));
    AB_TRY(compare_truth(evaluation, AB_OPERATION_EQUAL, &a, node->children[1], &equal));
    AB_TRY(ab_operand_spread(evaluation, &a));
    if (a.column.nulls == NULL) {
        a.column.nulls = equal.is_true;
    } else {
        AB_TRY(bytes_join(evaluation, false, a.column.nulls, equal.is_true, &a.column.nulls));
    }
    *out = a;
    return AB_OK;
}

static ab_err binary_evaluate(
    struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out)
{
    struct ab_operand a;
    struct ab_operand b;
    AB_TRY(ab_evaluate_node(evaluation, node->children[0], &a));
    AB_TRY(ab_evaluate_node(evaluation, node->children[1], &b));
    return node->operation >= AB_OPERATION_EQUAL ? ab_evaluate_compare(evaluation, node->operation, &a, &b, out)
                                                 : ab_evaluate_arithmetic(evaluation, node, &a, &b, out);
}

/* Recursion is bounded by AB_AST_DEPTH_MAX. */
ab_err ab_evaluate_node(struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out)
{
    switch (node->operation) {
    case AB_OPERATION_INPUT:
        return input_evaluate(evaluation, node, out);
    case AB_OPERATION_CONSTANT:
        return ab_operand_constant(evaluation, &node->value, out);
    case AB_OPERATION_NEGATE:
    case AB_OPERATION_ABS: {
        struct ab_operand a;
        AB_TRY(ab_evaluate_node(evaluation, node->children[0], &a));
        return ab_evaluate_unary(evaluation, node, &a, out);
    }
    case AB_OPERATION_ADD:
    case AB_OPERATION_SUBTRACT:
    case AB_OPERATION_MULTIPLY:
    case AB_OPERATION_DIVIDE:
    case AB_OPERATION_MODULO:
    case AB_OPERATION_EQUAL:
    case AB_OPERATION_NOT_EQUAL:
    case AB_OPERATION_LESS:
    case AB_OPERATION_LESS_EQUAL:
    case AB_OPERATION_GREATER:
    case AB_OPERATION_GREATER_EQUAL:
        return binary_evaluate(evaluation, node, out);
    case AB_OPERATION_BETWEEN:
    case AB_OPERATION_IN:
        return many_evaluate(evaluation, node, out);
    case AB_OPERATION_IS_NULL:
        return is_null_evaluate(evaluation, node, out);
    case AB_OPERATION_AND:
    case AB_OPERATION_OR:
    case AB_OPERATION_NOT:
        return logic_evaluate(evaluation, node, out);
    case AB_OPERATION_COALESCE:
    case AB_OPERATION_CONVERT:
        return coalesce_evaluate(evaluation, node, out);
    case AB_OPERATION_NULLIF:
        return nullif_evaluate(evaluation, node, out);
    }
    AB_UNREACHABLE();
}
