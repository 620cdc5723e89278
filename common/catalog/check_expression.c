#include "common/catalog/check_window.h"
#include "common/catalog/node.h"
#include "common/catalog/words.h"

#include "common/base/buffer.h"
#include "common/base/decimal.h"

static const struct ab_type boolean = {.kind = AB_TYPE_BOOLEAN};
static const struct ab_type unknown; /* of a bare NULL, until its place says */

static ab_err node_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out);

bool ab_type_is_number(struct ab_type type)
{
    return type.kind == AB_TYPE_BIGINT || type.kind == AB_TYPE_DOUBLE || type.kind == AB_TYPE_DECIMAL;
}

bool ab_type_is_comparable(struct ab_type a, struct ab_type b)
{
    return a.kind == b.kind || (ab_type_is_number(a) && ab_type_is_number(b));
}

static struct ab_expression *node_new(const struct ab_scope *scope, const struct ab_ast *ast,
    enum ab_operation operation, struct ab_type type, uint32_t children_count)
{
    struct ab_expression *node = ab_parse_alloc(scope->arena, sizeof(*node));
    node->operation = operation;
    node->type = type;
    node->operand_type = type;
    node->place = ast->place;
    node->children = ab_parse_alloc(scope->arena, children_count * sizeof(struct ab_expression *));
    node->children_count = children_count;
    return node;
}

static struct ab_expression *constant_new(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_value value)
{
    struct ab_expression *node = node_new(scope, ast, AB_OPERATION_CONSTANT, value.type, 0);
    node->value = value;
    if (value.type.kind == AB_TYPE_TEXT && !value.is_null) {
        node->value.text = ab_arena_copy(scope->arena, value.text);
    }
    return node;
}

struct ab_expression *ab_check_widened(
    const struct ab_scope *scope, struct ab_expression *expression, struct ab_type type)
{
    if (ab_type_equal(expression->type, type)) {
        return expression;
    }
    struct ab_expression *node = ab_parse_alloc(scope->arena, sizeof(*node));
    node->operation = AB_OPERATION_CONVERT;
    node->type = type;
    node->operand_type = type;
    node->place = expression->place;
    node->children = ab_parse_alloc(scope->arena, sizeof(struct ab_expression *));
    node->children[0] = expression;
    node->children_count = 1;
    return node;
}

/* Gives a bare NULL, a text literal where a time is due, their type. */
static ab_err literal_settle(const struct ab_scope *scope, struct ab_expression *node, struct ab_type type)
{
    bool is_constant = node->operation == AB_OPERATION_CONSTANT;
    bool is_time_text = is_constant && node->type.kind == AB_TYPE_TEXT && type.kind == AB_TYPE_TIMESTAMP;
    if (is_constant && node->value.is_null && type.kind != 0 && (node->type.kind == 0 || is_time_text)) {
        node->type = type;
        node->value.type = type;
    } else if (is_time_text) {
        int64_t time = 0;
        if (ab_time_parse(node->value.text, &time) != AB_OK) {
            return ab_parse_fail(scope->parse, node->place, AB_SYNTAX,
                "found '%.*s', expected a time such as '2013-06-01' or '2013-06-01 05:17:00'",
                (int)(node->value.text.bytes > 60 ? 60 : node->value.text.bytes), node->value.text.data);
        }
        node->type = type;
        node->value = (struct ab_value){.type = type, .bigint = time};
    }
    return AB_OK;
}

static ab_err type_refuse(
    const struct ab_scope *scope, const struct ab_expression *node, const char *role, const char *expected)
{
    char found[AB_TYPE_TEXT_BYTES];
    if (node->type.kind == 0) {
        return ab_parse_fail(scope->parse, node->place, AB_SYNTAX,
            "the type of this NULL is not known here, expected %s for %s", expected, role);
    }
    return ab_parse_fail(scope->parse, node->place, AB_SYNTAX, "found %s for %s, expected %s",
        ab_type_format(node->type, found), role, expected);
}

static ab_err boolean_require(const struct ab_scope *scope, struct ab_expression *node, const char *role)
{
    AB_TRY(literal_settle(scope, node, boolean));
    return node->type.kind == AB_TYPE_BOOLEAN ? AB_OK : type_refuse(scope, node, role, "BOOLEAN");
}

/* "5." as "5" and ".5" as "0.5", as the readers of numbers want them. */
static struct ab_bytes number_text(const struct ab_scope *scope, struct ab_bytes text)
{
    size_t sign = text.data[0] == '-';
    if (text.data[text.bytes - 1] == '.') {
        text.bytes--;
    }
    if (text.data[sign] != '.') {
        return text;
    }
    uint8_t *copy = ab_parse_alloc(&scope->parse->arena, text.bytes + 1);
    memcpy(copy, text.data, sign);
    copy[sign] = '0';
    memcpy(copy + sign + 1, text.data + sign, text.bytes - sign);
    return ab_bytes_of(copy, text.bytes + 1);
}

/* Numbers: BIGINT, DECIMAL with a point or beyond 64 bits, DOUBLE with an exponent. */
static ab_err number_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    struct ab_bytes text = number_text(scope, ast->text);
    struct ab_value value = {0};
    unsigned digits = 0;
    unsigned scale = 0;
    bool has_point = false;
    bool has_exponent = false;
    for (size_t i = 0; i < ast->text.bytes; i++) {
        uint8_t c = ast->text.data[i];
        has_point = has_point || c == '.';
        has_exponent = has_exponent || c == 'e' || c == 'E';
        digits += c >= '0' && c <= '9' && (digits > 0 || c != '0');
        scale += c >= '0' && c <= '9' && has_point;
    }
    if (has_exponent) {
        value.type.kind = AB_TYPE_DOUBLE;
        bool is_finite = ab_double_parse(text, &value.real) == AB_OK && value.real - value.real == 0;
        if (!is_finite) {
            return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "this number is outside the range of DOUBLE");
        }
        value.real = ab_double_canonical(value.real);
    } else if (!has_point && ab_bigint_parse(text, &value.bigint) == AB_OK) {
        value.type.kind = AB_TYPE_BIGINT;
    } else {
        unsigned precision = digits > scale ? digits : scale;
        precision = precision == 0 ? 1 : precision;
        if (precision > AB_DECIMAL_PRECISION_MAX || ab_decimal_parse(text, precision, scale, &value.decimal) != AB_OK) {
            return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX,
                "this number has more than 38 digits, the most a DECIMAL holds; write it with an exponent for a "
                "DOUBLE");
        }
        value.type =
            (struct ab_type){.kind = AB_TYPE_DECIMAL, .precision = (uint8_t)precision, .scale = (uint8_t)scale};
    }
    *out = constant_new(scope, ast, value);
    return AB_OK;
}

static bool is_window_name(struct ab_bytes name)
{
    return ab_bytes_equal(name, ab_bytes_of_text("window_start")) ||
           ab_bytes_equal(name, ab_bytes_of_text("window_end"));
}

static ab_err name_unknown(const struct ab_scope *scope, const struct ab_ast *ast)
{
    if (scope->window_missing != NULL && is_window_name(ast->text)) {
        return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "%s", scope->window_missing);
    }
    const char **names = ab_new_array(const char *, scope->names_count + 1);
    for (uint32_t i = 0; i < scope->names_count; i++) {
        names[i] = scope->names[i].name;
    }
    const char *nearest = ab_catalog_nearest(ast->text, names, scope->names_count);
    ab_delete(names);
    return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "found \"%.*s\", expected %s%s%s%s", (int)ast->text.bytes,
        ast->text.data, scope->what, nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "?");
}

ab_err ab_check_name(const struct ab_scope *scope, const struct ab_ast *ast, const struct ab_scope_name **found)
{
    if (ast->a != NULL && !ab_bytes_equal(ast->a->text, ab_bytes_of_text(scope->qualifier))) {
        return ab_parse_fail(scope->parse, ast->a->place, AB_SYNTAX, "found \"%.*s\" before the dot, expected %s",
            (int)ast->a->text.bytes, ast->a->text.data, scope->qualifier);
    }
    for (uint32_t i = 0; i < scope->names_count; i++) {
        if (ab_bytes_equal(ast->text, ab_bytes_of_text(scope->names[i].name))) {
            if (scope->names[i].refusal != NULL) {
                return ab_parse_fail(
                    scope->parse, ast->place, AB_SYNTAX, "%s %s", scope->names[i].name, scope->names[i].refusal);
            }
            *found = &scope->names[i];
            return AB_OK;
        }
    }
    return name_unknown(scope, ast);
}

static ab_err input_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    bool is_true = ab_bytes_equal(ast->text, ab_bytes_of_text("true"));
    if (!ast->is_set && ast->a == NULL && (is_true || ab_bytes_equal(ast->text, ab_bytes_of_text("false")))) {
        *out = constant_new(scope, ast, (struct ab_value){.type = boolean, .boolean = is_true});
        return AB_OK;
    }
    const struct ab_scope_name *found = NULL;
    AB_TRY(ab_check_name(scope, ast, &found));
    struct ab_expression *node = node_new(scope, ast, AB_OPERATION_INPUT, found->type, 0);
    node->input = found->input;
    node->name = (const char *)ab_arena_copy(scope->arena, ab_bytes_of_text(found->name)).data;
    *out = node;
    return AB_OK;
}

/* Evaluates a node whose children are all constants; stays as it is when that would fault, or be a NULL, which has no
 * type of its own once printed. */
static void node_fold(const struct ab_scope *scope, struct ab_expression *node)
{
    for (uint32_t i = 0; i < node->children_count; i++) {
        if (node->children[i]->operation != AB_OPERATION_CONSTANT) {
            return;
        }
    }
    struct ab_arena arena = {0};
    ab_arena_init(&arena, NULL, 1024);
    struct ab_column column;
    uint64_t faults = 0;
    bool is_done = ab_expression_evaluate(node, NULL, 1, &arena, &column, &faults) == AB_OK;
    if (is_done && faults == 0 && !ab_column_is_null(&column, 0)) {
        struct ab_value value = ab_column_value(&column, 0);
        if (value.type.kind == AB_TYPE_TEXT) {
            value.text = ab_arena_copy(scope->arena, value.text);
        }
        value.type = node->type;
        node->operation = AB_OPERATION_CONSTANT;
        node->value = value;
        node->children_count = 0;
    }
    ab_arena_fini(&arena);
}

static struct ab_type decimal_type(unsigned scale)
{
    return (struct ab_type){.kind = AB_TYPE_DECIMAL, .precision = AB_DECIMAL_PRECISION_MAX, .scale = (uint8_t)scale};
}

/* The common type of two numbers for + - % COALESCE NULLIF; division and products have their own rules. */
static struct ab_type number_common(struct ab_type a, struct ab_type b)
{
    if (a.kind == AB_TYPE_DOUBLE || b.kind == AB_TYPE_DOUBLE) {
        return (struct ab_type){.kind = AB_TYPE_DOUBLE};
    }
    if (a.kind == AB_TYPE_BIGINT && b.kind == AB_TYPE_BIGINT) {
        return a;
    }
    return decimal_type(a.scale > b.scale ? a.scale : b.scale);
}

static ab_err arithmetic_type(const struct ab_scope *scope, struct ab_expression *node)
{
    struct ab_type a = node->children[0]->type;
    struct ab_type b = node->children[1]->type;
    struct ab_type common = number_common(a, b);
    node->operand_type = common;
    node->type = common;
    if (node->operation == AB_OPERATION_DIVIDE && common.kind == AB_TYPE_DECIMAL) {
        node->type = node->operand_type = (struct ab_type){.kind = AB_TYPE_DOUBLE};
    } else if (node->operation == AB_OPERATION_MODULO && common.kind == AB_TYPE_DOUBLE) {
        return ab_parse_fail(
            scope->parse, node->place, AB_SYNTAX, "found DOUBLE beside %%, expected BIGINT or DECIMAL");
    } else if (node->operation == AB_OPERATION_MULTIPLY && common.kind == AB_TYPE_DECIMAL) {
        if (a.scale + b.scale > AB_DECIMAL_PRECISION_MAX) {
            return ab_parse_fail(scope->parse, node->place, AB_SYNTAX,
                "this product has %d digits after the point, at most 38 are possible", a.scale + b.scale);
        }
        node->type = decimal_type(a.scale + b.scale); /* Operands keep their scales. */
    }
    return AB_OK;
}

static const struct {
    enum ab_operation operation;
    const char *sign;
} operations[] = {
    [AB_AST_ADD] = {AB_OPERATION_ADD, "+"},
    [AB_AST_SUBTRACT] = {AB_OPERATION_SUBTRACT, "-"},
    [AB_AST_MULTIPLY] = {AB_OPERATION_MULTIPLY, "*"},
    [AB_AST_DIVIDE] = {AB_OPERATION_DIVIDE, "/"},
    [AB_AST_MODULO] = {AB_OPERATION_MODULO, "%"},
    [AB_AST_EQUAL] = {AB_OPERATION_EQUAL, "="},
    [AB_AST_NOT_EQUAL] = {AB_OPERATION_NOT_EQUAL, "<>"},
    [AB_AST_LESS] = {AB_OPERATION_LESS, "<"},
    [AB_AST_LESS_EQUAL] = {AB_OPERATION_LESS_EQUAL, "<="},
    [AB_AST_GREATER] = {AB_OPERATION_GREATER, ">"},
    [AB_AST_GREATER_EQUAL] = {AB_OPERATION_GREATER_EQUAL, ">="},
    [AB_AST_AND] = {AB_OPERATION_AND, "AND"},
    [AB_AST_OR] = {AB_OPERATION_OR, "OR"},
};

/* Settles the literals of a comparison by each other and refuses kinds that do not compare. */
static ab_err pair_settle(const struct ab_scope *scope, struct ab_expression *a, struct ab_expression *b,
    struct ab_place place, const char *sign)
{
    AB_TRY(literal_settle(scope, a, b->type));
    AB_TRY(literal_settle(scope, b, a->type));
    if (a->type.kind == 0) {
        return type_refuse(scope, a, sign, "a value whose type is known");
    }
    if (!ab_type_is_comparable(a->type, b->type)) {
        char left[AB_TYPE_TEXT_BYTES];
        char right[AB_TYPE_TEXT_BYTES];
        return ab_parse_fail(scope->parse, place, AB_SYNTAX, "found %s %s %s, expected two values of one type",
            ab_type_format(a->type, left), sign, ab_type_format(b->type, right));
    }
    return AB_OK;
}

static ab_err number_require(const struct ab_scope *scope, struct ab_expression *node, const char *role)
{
    return ab_type_is_number(node->type) ? AB_OK : type_refuse(scope, node, role, "a number");
}

static ab_err binary_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    const char *sign = operations[ast->operation].sign;
    struct ab_expression *node = node_new(scope, ast, operations[ast->operation].operation, boolean, 2);
    AB_TRY(node_check(scope, ast->a, &node->children[0]));
    AB_TRY(node_check(scope, ast->b, &node->children[1]));
    struct ab_expression *a = node->children[0];
    struct ab_expression *b = node->children[1];
    if (ast->operation == AB_AST_AND || ast->operation == AB_AST_OR) {
        AB_TRY(boolean_require(scope, a, sign));
        AB_TRY(boolean_require(scope, b, sign));
    } else if (ast->operation >= AB_AST_EQUAL) {
        AB_TRY(pair_settle(scope, a, b, ast->place, sign));
    } else {
        AB_TRY(literal_settle(scope, a, b->type));
        AB_TRY(literal_settle(scope, b, a->type));
        AB_TRY(number_require(scope, a, sign));
        AB_TRY(number_require(scope, b, sign));
        AB_TRY(arithmetic_type(scope, node));
    }
    *out = node;
    return AB_OK;
}

/* BETWEEN and IN: everything after the first operand is compared with it. */
static ab_err many_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    bool is_in = ast->kind == AB_AST_IN;
    const char *sign = is_in ? "IN" : "BETWEEN";
    uint32_t count = is_in ? ast->list.count + 1 : 3;
    struct ab_expression *node = node_new(scope, ast, is_in ? AB_OPERATION_IN : AB_OPERATION_BETWEEN, boolean, count);
    node->is_negated = ast->is_set;
    AB_TRY(node_check(scope, ast->a, &node->children[0]));
    if (is_in) {
        uint32_t i = 1;
        for (const struct ab_ast *element = ast->list.first; element != NULL; element = element->next) {
            AB_TRY(node_check(scope, element, &node->children[i++]));
        }
    } else {
        AB_TRY(node_check(scope, ast->b, &node->children[1]));
        AB_TRY(node_check(scope, ast->c, &node->children[2]));
    }
    for (uint32_t pass = 0; pass < 2; pass++) { /* A literal first operand takes its type from any of the others. */
        for (uint32_t i = 1; i < count; i++) {
            if (pass == 0) {
                AB_TRY(literal_settle(scope, node->children[0], node->children[i]->type));
            } else {
                AB_TRY(pair_settle(scope, node->children[0], node->children[i], ast->place, sign));
            }
        }
    }
    *out = node;
    return AB_OK;
}

static ab_err unary_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    struct ab_expression *node = node_new(scope, ast, AB_OPERATION_NOT, boolean, 1);
    AB_TRY(node_check(scope, ast->a, &node->children[0]));
    struct ab_expression *a = node->children[0];
    if (ast->kind == AB_AST_NOT) {
        AB_TRY(boolean_require(scope, a, "NOT"));
    } else if (ast->kind == AB_AST_NEGATE) {
        AB_TRY(number_require(scope, a, "-"));
        node->operation = AB_OPERATION_NEGATE;
        node->type = node->operand_type = a->type;
    } else {
        if (a->type.kind == 0) {
            return type_refuse(scope, a, "IS NULL", "a value whose type is known");
        }
        node->operation = AB_OPERATION_IS_NULL;
        node->is_negated = ast->is_set;
    }
    *out = node;
    return AB_OK;
}

/* COALESCE(a, b ...) and NULLIF(a, b): all of one type, numbers of the widest. */
static ab_err common_check(const struct ab_scope *scope, struct ab_expression *node, const char *role)
{
    struct ab_type type = unknown;
    for (uint32_t i = 0; i < node->children_count; i++) {
        struct ab_type next = node->children[i]->type;
        if (next.kind != 0 && type.kind != 0 && ab_type_is_number(type) && ab_type_is_number(next)) {
            type = ab_type_equal(type, next) ? type : number_common(type, next);
        } else if (next.kind != 0 &&
                   (type.kind == 0 || (type.kind == AB_TYPE_TEXT && next.kind == AB_TYPE_TIMESTAMP))) {
            type = next;
        }
    }
    for (uint32_t i = 0; i < node->children_count; i++) {
        AB_TRY(literal_settle(scope, node->children[i], type));
        if (type.kind == 0 || !ab_type_is_comparable(node->children[i]->type, type)) {
            char expected[AB_TYPE_TEXT_BYTES];
            const char *text = type.kind == 0 ? "a value whose type is known" : ab_type_format(type, expected);
            return type_refuse(scope, node->children[i], role, text);
        }
    }
    bool is_nullif = node->operation == AB_OPERATION_NULLIF;
    node->type = node->operand_type = is_nullif ? node->children[0]->type : type;
    return AB_OK;
}

/* The call in GROUP BY, repeated in SELECT or ORDER BY: another name of window_start. */
static ab_err window_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    struct ab_window window;
    if (scope->window != NULL) {
        AB_TRY(ab_check_query_window(scope->parse, scope->view, ast, &window));
    }
    bool is_start = ast->list.first != NULL && ab_bytes_equal(ast->list.first->text, ab_bytes_of_text("window_start"));
    if (!is_start || scope->window == NULL || !ab_window_equal(&window, scope->window)) {
        struct ab_bytes name = ab_check_window_name(ast);
        return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX,
            "%.*s stands in GROUP BY; here only the same %.*s(window_start, INTERVAL '...') may be repeated",
            (int)name.bytes, name.data, (int)name.bytes, name.data);
    }
    return input_check(scope, ast->list.first, out);
}

static ab_err call_refuse(const struct ab_scope *scope, const struct ab_ast *ast)
{
    int bytes = (int)ast->text.bytes;
    const char *name = (const char *)ast->text.data;
    if (ab_words_aggregate(ast->text) != 0) {
        return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX,
            scope->is_query
                ? "found the aggregate %.*s, expected a measure's name: the measures of a view merge by themselves"
                : "found the aggregate %.*s inside an expression, expected it alone in SELECT of a view",
            bytes, name);
    }
    if (ab_words_is_later_function(ast->text)) {
        return ab_parse_fail(scope->parse, ast->place, AB_UNSUPPORTED, "%.*s() is not supported yet", bytes, name);
    }
    const char *nearest = ab_words_nearest_function(ast->text);
    return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "found the function \"%.*s\", expected a known one%s%s%s",
        bytes, name, nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "?");
}

static ab_err call_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    bool is_abs = ab_bytes_equal(ast->text, ab_bytes_of_text("abs"));
    bool is_coalesce = ab_bytes_equal(ast->text, ab_bytes_of_text("coalesce"));
    bool is_nullif = ab_bytes_equal(ast->text, ab_bytes_of_text("nullif"));
    bool is_known = false;
    if (scope->call != NULL) {
        AB_TRY(scope->call(scope, ast, &is_known, out));
    }
    if (is_known) {
        return AB_OK;
    }
    bool is_last = ab_bytes_equal(ast->text, ab_bytes_of_text("last")); /* an aggregate too */
    if (ab_check_is_window(ast) && (!is_last || scope->window != NULL)) {
        return window_check(scope, ast, out);
    }
    if (!is_abs && !is_coalesce && !is_nullif) {
        return call_refuse(scope, ast);
    }
    bool is_counted = is_abs ? ast->list.count == 1 : is_nullif ? ast->list.count == 2 : ast->list.count >= 1;
    if (ast->is_star || ast->is_set || ast->b != NULL || !is_counted) {
        return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "found %.*s with these arguments, expected %s",
            (int)ast->text.bytes, ast->text.data,
            is_abs      ? "abs(x)"
            : is_nullif ? "nullif(x, y)"
                        : "coalesce(x, y, ...)");
    }
    struct ab_expression *node = node_new(scope, ast,
        is_abs      ? AB_OPERATION_ABS
        : is_nullif ? AB_OPERATION_NULLIF
                    : AB_OPERATION_COALESCE,
        unknown, ast->list.count);
    uint32_t i = 0;
    for (const struct ab_ast *argument = ast->list.first; argument != NULL; argument = argument->next) {
        AB_TRY(node_check(scope, argument, &node->children[i++]));
    }
    if (is_abs) {
        AB_TRY(number_require(scope, node->children[0], "abs"));
        node->type = node->operand_type = node->children[0]->type;
    } else {
        AB_TRY(common_check(scope, node, is_nullif ? "nullif" : "coalesce"));
    }
    *out = node;
    return AB_OK;
}

static ab_err literal_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    struct ab_value value = {.type = {.kind = AB_TYPE_TEXT}, .text = ast->text};
    if (ast->kind == AB_AST_NULL) {
        value = (struct ab_value){.is_null = true};
    }
    *out = constant_new(scope, ast, value);
    return ast->kind == AB_AST_TIMESTAMP ? literal_settle(scope, *out, (struct ab_type){.kind = AB_TYPE_TIMESTAMP})
                                         : AB_OK;
}

static ab_err kind_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    switch (ast->kind) {
    case AB_AST_NAME:
        return input_check(scope, ast, out);
    case AB_AST_NUMBER:
        return number_check(scope, ast, out);
    case AB_AST_TEXT:
    case AB_AST_TIMESTAMP:
    case AB_AST_NULL:
        return literal_check(scope, ast, out);
    case AB_AST_INTERVAL:
        return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "found INTERVAL, expected it in TUMBLE alone");
    case AB_AST_NEGATE:
    case AB_AST_NOT:
    case AB_AST_IS_NULL:
        return unary_check(scope, ast, out);
    case AB_AST_BINARY:
        return binary_check(scope, ast, out);
    case AB_AST_BETWEEN:
    case AB_AST_IN:
        return many_check(scope, ast, out);
    case AB_AST_CALL:
        return call_check(scope, ast, out);
    case AB_AST_STREAM:
    case AB_AST_ZONE:
    case AB_AST_COLUMN:
    case AB_AST_TYPE:
    case AB_AST_NOT_NULL:
    case AB_AST_CHECK:
    case AB_AST_EVENT_TIME:
    case AB_AST_PARTITION_KEY:
    case AB_AST_OPTION:
    case AB_AST_VIEW:
    case AB_AST_SELECT:
    case AB_AST_ITEM:
    case AB_AST_STAR:
    case AB_AST_ORDER:
        break;
    }
    return ab_parse_fail(scope->parse, ast->place, AB_SYNTAX, "expected an expression");
}

/* Recursion is bounded by AB_AST_DEPTH_MAX. */
static ab_err node_check(const struct ab_scope *scope, const struct ab_ast *ast, struct ab_expression **out)
{
    AB_TRY(kind_check(scope, ast, out));
    if ((*out)->children_count > 0) {
        node_fold(scope, *out);
    }
    return AB_OK;
}

ab_err ab_check_expression(
    const struct ab_scope *scope, const struct ab_ast *ast, struct ab_type wanted, struct ab_expression **expression)
{
    struct ab_expression *node = NULL;
    AB_TRY(node_check(scope, ast, &node));
    if (wanted.kind == AB_TYPE_BOOLEAN) {
        AB_TRY(boolean_require(scope, node, "a condition"));
    }
    if (node->type.kind == 0) {
        return type_refuse(scope, node, "this place", "a value whose type is known");
    }
    *expression = node;
    return AB_OK;
}
