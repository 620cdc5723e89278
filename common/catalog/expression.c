#include "common/catalog/expression.h"

#include "common/catalog/evaluate.h"

struct ab_type ab_expression_type(const struct ab_expression *expression)
{
    return expression->type;
}

int ab_expression_column(const struct ab_expression *expression)
{
    return expression->operation == AB_OPERATION_INPUT ? (int)expression->input : -1;
}

void ab_expression_inputs(const struct ab_expression *expression, bool *used, size_t used_count)
{
    if (expression->operation == AB_OPERATION_INPUT && expression->input < used_count) {
        used[expression->input] = true;
    }
    for (uint32_t i = 0; i < expression->children_count; i++) {
        ab_expression_inputs(expression->children[i], used, used_count);
    }
}

ab_err ab_expression_evaluate(const struct ab_expression *expression, const struct ab_column *const *inputs,
    uint32_t rows_count, struct ab_arena *arena, struct ab_column *result, uint64_t *faults)
{
    if (expression->operation == AB_OPERATION_INPUT && inputs != NULL && inputs[expression->input] != NULL) {
        *result = *inputs[expression->input];
        result->rows_count = rows_count;
        return AB_OK;
    }
    struct ab_evaluation evaluation = {.inputs = inputs, .rows_count = rows_count, .arena = arena};
    struct ab_operand operand;
    AB_TRY(ab_evaluate_node(&evaluation, expression, &operand));
    AB_TRY(ab_operand_spread(&evaluation, &operand));
    operand.column.type = expression->type;
    *result = operand.column;
    if (faults != NULL) {
        *faults += evaluation.faults;
    }
    return AB_OK;
}

ab_err ab_expression_filter(const struct ab_expression *expression, const struct ab_column *const *inputs,
    uint32_t rows_count, struct ab_arena *arena, uint8_t *keep, uint64_t *faults)
{
    struct ab_column column;
    AB_TRY(ab_expression_evaluate(expression, inputs, rows_count, arena, &column, faults));
    const uint8_t *restrict values = column.values;
    for (uint32_t i = 0; i < rows_count; i++) {
        keep[i] = values[i] & 1;
    }
    for (uint32_t i = 0; column.nulls != NULL && i < rows_count; i++) {
        keep[i] &= !column.nulls[i];
    }
    return AB_OK;
}
