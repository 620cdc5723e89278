#include "common/catalog/node.h"
#include "common/catalog/words.h"

#include "common/base/buffer.h"
#include "common/base/decimal.h"

/* How tightly an operation binds: what stands below a tighter one needs brackets. */
enum binding {
    BIND_OR,
    BIND_AND,
    BIND_NOT,
    BIND_PREDICATE,
    BIND_ADD,
    BIND_MULTIPLY,
    BIND_SIGN,
    BIND_PRIMARY,
};

static const struct {
    const char *sign;
    enum binding binding;
} forms[] = {
    [AB_OPERATION_INPUT] = {"", BIND_PRIMARY},
    [AB_OPERATION_CONSTANT] = {"", BIND_PRIMARY},
    [AB_OPERATION_NEGATE] = {"-", BIND_SIGN},
    [AB_OPERATION_ADD] = {" + ", BIND_ADD},
    [AB_OPERATION_SUBTRACT] = {" - ", BIND_ADD},
    [AB_OPERATION_MULTIPLY] = {" * ", BIND_MULTIPLY},
    [AB_OPERATION_DIVIDE] = {" / ", BIND_MULTIPLY},
    [AB_OPERATION_MODULO] = {" % ", BIND_MULTIPLY},
    [AB_OPERATION_ABS] = {"abs", BIND_PRIMARY},
    [AB_OPERATION_EQUAL] = {" = ", BIND_PREDICATE},
    [AB_OPERATION_NOT_EQUAL] = {" <> ", BIND_PREDICATE},
    [AB_OPERATION_LESS] = {" < ", BIND_PREDICATE},
    [AB_OPERATION_LESS_EQUAL] = {" <= ", BIND_PREDICATE},
    [AB_OPERATION_GREATER] = {" > ", BIND_PREDICATE},
    [AB_OPERATION_GREATER_EQUAL] = {" >= ", BIND_PREDICATE},
    [AB_OPERATION_BETWEEN] = {" BETWEEN ", BIND_PREDICATE},
    [AB_OPERATION_IN] = {" IN (", BIND_PREDICATE},
    [AB_OPERATION_IS_NULL] = {" IS ", BIND_PREDICATE},
    [AB_OPERATION_AND] = {" AND ", BIND_AND},
    [AB_OPERATION_OR] = {" OR ", BIND_OR},
    [AB_OPERATION_NOT] = {"NOT ", BIND_NOT},
    [AB_OPERATION_COALESCE] = {"coalesce", BIND_PRIMARY},
    [AB_OPERATION_NULLIF] = {"nullif", BIND_PRIMARY},
    [AB_OPERATION_CONVERT] = {"", BIND_PRIMARY},
};

static void put_text(struct ab_buffer *out, const char *text)
{
    ab_buffer_put_bytes(out, ab_bytes_of_text(text));
}

void ab_constant_print(const struct ab_value *value, struct ab_buffer *out)
{
    char text[AB_DECIMAL_TEXT_BYTES];
    char time[AB_TIME_TEXT_BYTES];
    if (value->is_null) {
        put_text(out, "NULL");
        return;
    }
    switch ((enum ab_type_kind)value->type.kind) {
    case AB_TYPE_BOOLEAN:
        put_text(out, value->boolean ? "TRUE" : "FALSE");
        break;
    case AB_TYPE_BIGINT:
        ab_buffer_put_format(out, "%lld", (long long)value->bigint);
        break;
    case AB_TYPE_DOUBLE:
        put_text(out, ab_double_format(value->real, text));
        put_text(out, strchr(text, 'e') == NULL ? "e0" : "");
        break;
    case AB_TYPE_DECIMAL:
        put_text(out, ab_decimal_format(value->decimal, value->type.scale, text));
        put_text(out, value->type.scale == 0 ? "." : "");
        break;
    case AB_TYPE_TEXT:
        ab_words_put_text(out, value->text);
        break;
    case AB_TYPE_TIMESTAMP:
        ab_buffer_put_format(out, "TIMESTAMP '%s'", ab_time_format(value->bigint, time));
        break;
    }
}

static void node_print(const struct ab_expression *node, enum binding around, struct ab_buffer *out);

static void list_print(const struct ab_expression *node, uint32_t from, struct ab_buffer *out)
{
    for (uint32_t i = from; i < node->children_count; i++) {
        put_text(out, i == from ? "" : ", ");
        node_print(node->children[i], BIND_OR, out);
    }
    put_text(out, ")");
}

static void predicate_print(const struct ab_expression *node, struct ab_buffer *out)
{
    node_print(node->children[0], BIND_ADD, out);
    if (node->operation == AB_OPERATION_IS_NULL) {
        put_text(out, node->is_negated ? " IS NOT NULL" : " IS NULL");
        return;
    }
    put_text(out, node->is_negated ? " NOT" : "");
    put_text(out, forms[node->operation].sign);
    if (node->operation == AB_OPERATION_IN) {
        list_print(node, 1, out);
        return;
    }
    node_print(node->children[1], BIND_ADD, out);
    put_text(out, " AND ");
    node_print(node->children[2], BIND_ADD, out);
}

static void binary_print(const struct ab_expression *node, struct ab_buffer *out)
{
    enum binding binding = forms[node->operation].binding;
    bool is_predicate = binding == BIND_PREDICATE; /* Comparisons do not chain. */
    node_print(node->children[0], is_predicate ? BIND_ADD : binding, out);
    put_text(out, forms[node->operation].sign);
    node_print(node->children[1], binding + 1, out);
}

/* "-(-x)": two signs in a row would begin a comment. */
static void operand_print(const struct ab_expression *node, struct ab_buffer *out)
{
    bool is_sign = node->operation == AB_OPERATION_NEGATE;
    bool is_bracketed = is_sign && node->children[0]->operation == AB_OPERATION_CONSTANT;
    put_text(out, is_bracketed ? "(" : "");
    node_print(node->children[0], is_sign ? BIND_PRIMARY : BIND_NOT, out);
    put_text(out, is_bracketed ? ")" : "");
}

static void node_print(const struct ab_expression *node, enum binding around, struct ab_buffer *out)
{
    bool is_bracketed = forms[node->operation].binding < around;
    put_text(out, is_bracketed ? "(" : "");
    switch (node->operation) {
    case AB_OPERATION_INPUT:
        if (node->is_call) {
            put_text(out, node->name);
        } else {
            ab_words_put_name(out, node->name);
        }
        break;
    case AB_OPERATION_CONSTANT:
        ab_constant_print(&node->value, out);
        break;
    case AB_OPERATION_NEGATE:
    case AB_OPERATION_NOT:
        put_text(out, forms[node->operation].sign);
        operand_print(node, out);
        break;
    case AB_OPERATION_ABS:
    case AB_OPERATION_COALESCE:
    case AB_OPERATION_NULLIF:
        put_text(out, forms[node->operation].sign);
        put_text(out, "(");
        list_print(node, 0, out);
        break;
    case AB_OPERATION_CONVERT:
        node_print(node->children[0], around, out);
        break;
    case AB_OPERATION_BETWEEN:
    case AB_OPERATION_IN:
    case AB_OPERATION_IS_NULL:
        predicate_print(node, out);
        break;
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
    case AB_OPERATION_AND:
    case AB_OPERATION_OR:
        binary_print(node, out);
        break;
    }
    put_text(out, is_bracketed ? ")" : "");
}

void ab_expression_print(const struct ab_expression *expression, struct ab_buffer *out)
{
    node_print(expression, BIND_OR, out);
}
