/* evaluate: the inside of expression evaluation: operands and the loops over them.
 *
 * A constant is an operand of one row, so that loops read it once. Loops are plain arrays and counts; whether a row is
 * NULL stands in a byte array of its own, or nowhere.
 */
#ifndef ANABRANCH_COMMON_CATALOG_EVALUATE_H
#define ANABRANCH_COMMON_CATALOG_EVALUATE_H

#include "common/catalog/node.h"

struct ab_evaluation {
    const struct ab_column *const *inputs; /* borrowed */
    uint32_t rows_count;
    struct ab_arena *arena; /* borrowed */
    uint64_t faults;
};

struct ab_operand {
    struct ab_column column; /* rows_count rows, or one when is_constant */
    bool is_constant;
};

/* Evaluates a node. AB_FULL. */
AB_MUST_USE ab_err ab_evaluate_node(
    struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *out);

/* Arithmetic of both kinds of arity: + - * / % and - abs. The operands are evaluated already. */
AB_MUST_USE ab_err ab_evaluate_arithmetic(struct ab_evaluation *evaluation, const struct ab_expression *node,
    struct ab_operand *a, struct ab_operand *b, struct ab_operand *out);
AB_MUST_USE ab_err ab_evaluate_unary(
    struct ab_evaluation *evaluation, const struct ab_expression *node, struct ab_operand *a, struct ab_operand *out);

/* Converts an operand to a type: numbers widen; overflow is NULL and a fault. */
AB_MUST_USE ab_err ab_evaluate_convert(
    struct ab_evaluation *evaluation, struct ab_operand *operand, struct ab_type type);

/* a operation b for the six comparisons: a BOOLEAN operand. */
AB_MUST_USE ab_err ab_evaluate_compare(struct ab_evaluation *evaluation, enum ab_operation operation,
    const struct ab_operand *a, const struct ab_operand *b, struct ab_operand *out);

/* A constant, as an operand of one row. AB_FULL. */
AB_MUST_USE ab_err ab_operand_constant(
    struct ab_evaluation *evaluation, const struct ab_value *value, struct ab_operand *out);

/* Makes an operand of rows_count rows out of a constant; others stay. AB_FULL. */
AB_MUST_USE ab_err ab_operand_spread(struct ab_evaluation *evaluation, struct ab_operand *operand);

/* Room for one element of `bytes` per row of the result; NULL when refused. */
void *ab_evaluate_rows(const struct ab_evaluation *evaluation, uint32_t rows_count, size_t bytes);

/* The NULLs of either operand, for a result of rows_count rows; *nulls is NULL when there are none. AB_FULL. */
AB_MUST_USE ab_err ab_evaluate_nulls(const struct ab_evaluation *evaluation, const struct ab_operand *a,
    const struct ab_operand *b, uint32_t rows_count, const uint8_t **nulls);

/* Makes the rows marked in `bad` NULL and counts those that were not. AB_FULL. */
AB_MUST_USE ab_err ab_evaluate_faults(
    struct ab_evaluation *evaluation, const uint8_t *bad, uint32_t rows_count, const uint8_t **nulls);

#endif
