/* node: the inside of an expression: a typed tree over input columns, and the scope its names are looked up in.
 *
 * Operands keep their own types; the evaluator converts them to operand_type (arithmetic, COALESCE, NULLIF) or compares
 * mixed kinds exactly, so the tree stays what was written and prints as it.
 */
#ifndef ANABRANCH_COMMON_CATALOG_NODE_H
#define ANABRANCH_COMMON_CATALOG_NODE_H

#include "common/catalog/ast.h"
#include "common/catalog/expression.h"

struct ab_view;
struct ab_window;

enum ab_operation {
    AB_OPERATION_INPUT,    /* the input column `input` */
    AB_OPERATION_CONSTANT, /* `value` */
    AB_OPERATION_NEGATE,
    AB_OPERATION_ADD,
    AB_OPERATION_SUBTRACT,
    AB_OPERATION_MULTIPLY,
    AB_OPERATION_DIVIDE,
    AB_OPERATION_MODULO,
    AB_OPERATION_ABS,
    AB_OPERATION_EQUAL, /* the six comparisons stay together, in this order */
    AB_OPERATION_NOT_EQUAL,
    AB_OPERATION_LESS,
    AB_OPERATION_LESS_EQUAL,
    AB_OPERATION_GREATER,
    AB_OPERATION_GREATER_EQUAL,
    AB_OPERATION_BETWEEN, /* children: x, low, high; is_negated */
    AB_OPERATION_IN,      /* children: x, then the list; is_negated */
    AB_OPERATION_IS_NULL, /* is_negated */
    AB_OPERATION_AND,
    AB_OPERATION_OR,
    AB_OPERATION_NOT,
    AB_OPERATION_COALESCE,
    AB_OPERATION_NULLIF,
    AB_OPERATION_CONVERT, /* to operand_type, because of the place; prints as its child */
};

struct ab_expression {
    enum ab_operation operation;
    bool is_negated;
    struct ab_type type;
    struct ab_type operand_type; /* what arithmetic, COALESCE and NULLIF convert their operands to */
    uint32_t input;
    const char *name;      /* INPUT: as printed; borrowed from the arena */
    bool is_call;          /* INPUT: the name is the text of a call */
    struct ab_value value; /* CONSTANT; text in the arena */
    struct ab_expression **children;
    uint32_t children_count;
    struct ab_place place; /* in the text it was parsed from */
};

/* A name an expression may use. */
struct ab_scope_name {
    const char *name;
    struct ab_type type;
    uint32_t input;
    const char *refusal; /* why it may not be used here; NULL = it may */
};

struct ab_scope;
struct ab_query;

/* Checks a call that only its place knows; *is_known = false leaves it to the functions of all expressions. */
typedef ab_err (*ab_scope_call_fn)(
    const struct ab_scope *scope, const struct ab_ast *ast, bool *is_known, struct ab_expression **out);

/* What surrounds an expression while it is checked. */
struct ab_scope {
    struct ab_parse *parse;
    struct ab_arena *arena; /* the tree's home; outlives the parse */
    const struct ab_scope_name *names;
    uint32_t names_count;
    const char *what;      /* "a column of stream flights": for errors */
    const char *qualifier; /* stream or view name that may stand before a dot */
    bool is_query;
    const char *window_missing;     /* says why window_start does not exist; NULL = it does or is no special name */
    ab_scope_call_fn call;          /* NULL = no calls of its own */
    struct ab_query *query;         /* with call: the query that the calls belong to */
    const struct ab_view *view;     /* queries: the view, and the windows of its result: the same call again stands */
    const struct ab_window *window; /* for window_start; NULL = no such call */
};

/* Types and folds an expression. `wanted` (kind 0 = any) is the type its place needs. */
AB_MUST_USE ab_err ab_check_expression(
    const struct ab_scope *scope, const struct ab_ast *ast, struct ab_type wanted, struct ab_expression **expression);

/* The expression as `type`, to which numbers widen; itself when it has that type. */
struct ab_expression *ab_check_widened(
    const struct ab_scope *scope, struct ab_expression *expression, struct ab_type type);

/* Finds the name of a NAME node in the scope, or fails with the nearest one. */
AB_MUST_USE ab_err ab_check_name(
    const struct ab_scope *scope, const struct ab_ast *ast, const struct ab_scope_name **found);

/* Converts a constant to `type` exactly; false when it has no equal there. Both not NULL. */
bool ab_constant_convert(const struct ab_value *value, struct ab_type type, struct ab_value *out);

/* Appends a literal that reads back as the same value of the same kind. */
void ab_constant_print(const struct ab_value *value, struct ab_buffer *out);

/* Compares two values of comparable kinds as SQL does: BIGINT with DOUBLE and with DECIMAL exactly, DECIMAL with DOUBLE
 * as doubles. */
int ab_constant_compare(const struct ab_value *a, const struct ab_value *b);

/* The double nearest to a numeric value. */
double ab_constant_double(const struct ab_value *value);

/* True when values of the two types may be compared. */
bool ab_type_is_comparable(struct ab_type a, struct ab_type b);

/* BIGINT, DOUBLE or DECIMAL. */
bool ab_type_is_number(struct ab_type type);

#endif
