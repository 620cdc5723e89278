/* expression: typed scalar expressions, evaluated over whole columns.
 *
 * SQL three-valued logic. Total: whatever would fail (overflow, division by zero) is NULL and counted as a fault, so
 * that apply cannot fail.
 * + - * / % on BIGINT (checked), DOUBLE, DECIMAL (products add scales; division and mixing with DOUBLE give DOUBLE;
 * BIGINT mixes with DECIMAL exactly); comparisons, BETWEEN, IN, IS [NOT] NULL, AND OR NOT; abs, coalesce, nullif, CASE
 * is refused; hour(), minute(), day_of_week(), date_trunc are refused until they exist. NULL literals take the type of
 * their place. Only + - * / and bits: no libm (states depend on these values).
 *
 * Threads: an expression is read-only after typing; evaluation uses the caller's arena.
 */
#ifndef ANABRANCH_COMMON_CATALOG_EXPRESSION_H
#define ANABRANCH_COMMON_CATALOG_EXPRESSION_H

#include "common/block/column.h"

struct ab_expression; /* opaque; owned by the catalog or query that parsed it */

/* The type of the result. */
struct ab_type ab_expression_type(const struct ab_expression *expression);

/* Evaluates over rows_count rows. inputs[i] is the column that the expression knows by index i (entries it does not use
 * may be NULL; a NULL entry that is used reads as all NULL). The result borrows from inputs and arena. faults (may be
 * NULL) is raised by the number of rows made NULL by overflow or division by zero. AB_FULL when the arena's budget
 * refuses. */
AB_MUST_USE ab_err ab_expression_evaluate(const struct ab_expression *expression, const struct ab_column *const *inputs,
    uint32_t rows_count, struct ab_arena *arena, struct ab_column *result, uint64_t *faults);

/* Evaluates a BOOLEAN expression into keep[row] = 1 where TRUE, else 0 (also for NULL). */
AB_MUST_USE ab_err ab_expression_filter(const struct ab_expression *expression, const struct ab_column *const *inputs,
    uint32_t rows_count, struct ab_arena *arena, uint8_t *keep, uint64_t *faults);

/* Marks used[i] = true for every input index the expression reads. */
void ab_expression_inputs(const struct ab_expression *expression, bool *used, size_t used_count);

/* If the expression is just one input column, its index, else -1. */
int ab_expression_column(const struct ab_expression *expression);

/* Appends canonical SQL. */
struct ab_buffer;
void ab_expression_print(const struct ab_expression *expression, struct ab_buffer *out);

#endif
