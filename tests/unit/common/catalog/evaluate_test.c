/* Evaluation by columns against an interpreter by rows: random expressions over random columns. */
#include "tests/unit/common/catalog/fixture.h"

#include "common/base/assert.h"
#include "common/base/buffer.h"
#include "common/base/decimal.h"
#include "common/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ROWS 67
#define INPUTS 10
#define CHILDREN 3

static const char stream_sql[] =
    "CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, m BIGINT, x DOUBLE, y DOUBLE, d DECIMAL(10, 2), "
    "e DECIMAL(30, 5), j TEXT, b BOOLEAN, EVENT TIME t, PARTITION KEY (k));\n";
static const char *const input_names[INPUTS] = {"k", "t", "n", "m", "x", "y", "d", "e", "j", "b"};
static const struct ab_type input_types[INPUTS] = {{AB_TYPE_TEXT, 0, 0}, {AB_TYPE_TIMESTAMP, 0, 0},
    {AB_TYPE_BIGINT, 0, 0}, {AB_TYPE_BIGINT, 0, 0}, {AB_TYPE_DOUBLE, 0, 0}, {AB_TYPE_DOUBLE, 0, 0},
    {AB_TYPE_DECIMAL, 10, 2}, {AB_TYPE_DECIMAL, 30, 5}, {AB_TYPE_TEXT, 0, 0}, {AB_TYPE_BOOLEAN, 0, 0}};

enum form {
    FORM_INPUT,
    FORM_CONSTANT,
    FORM_ARITHMETIC,
    FORM_NEGATE,
    FORM_ABS,
    FORM_COMPARE,
    FORM_AND,
    FORM_OR,
    FORM_NOT,
    FORM_IS_NULL,
    FORM_BETWEEN,
    FORM_IN,
    FORM_COALESCE,
    FORM_NULLIF,
};

/* What the generator makes and the interpreter walks: independent of the catalog's own tree. */
struct node {
    enum form form;
    struct ab_type type;
    int sign; /* index into the form's operators */
    bool is_negated;
    int input;
    struct ab_value value;
    struct node *children[CHILDREN];
    int children_count;
};

static struct ab_random randomness;
static struct ab_arena nodes;

static unsigned pick(unsigned bound)
{
    return (unsigned)ab_random_below(&randomness, bound);
}

static bool is_number(struct ab_type type)
{
    return type.kind == AB_TYPE_BIGINT || type.kind == AB_TYPE_DOUBLE || type.kind == AB_TYPE_DECIMAL;
}

static struct node *node_of(enum form form, struct ab_type type, struct ab_buffer *sql)
{
    struct node *node = ab_arena_zalloc(&nodes, sizeof(*node));
    node->form = form;
    node->type = type;
    (void)sql;
    return node;
}

static void put(struct ab_buffer *sql, const char *text)
{
    ab_buffer_put_bytes(sql, ab_bytes_of_text(text));
}

static struct node *input_generate(struct ab_type wanted, struct ab_buffer *sql)
{
    for (;;) {
        int i = (int)pick(INPUTS);
        if (input_types[i].kind == wanted.kind || (is_number(wanted) && is_number(input_types[i]))) {
            struct node *node = node_of(FORM_INPUT, input_types[i], sql);
            node->input = i;
            put(sql, input_names[i]);
            return node;
        }
    }
}

static struct node *constant_generate(struct ab_type wanted, struct ab_buffer *sql)
{
    static const char *const numbers[] = {"0", "1", "-1", "3", "15", "9223372036854775807", "0.5", "-2.25", "100.0",
        "0.1", "1e0", "2.5e0", "-1e-3", "1e300", "99999999999999999999", "0.00001"};
    static const char *const texts[] = {"", "a", "b", "abc", "\xc3\xa9", "it's"};
    static const char *const times[] = {"2013-06-01", "2013-06-01 00:00:00.000001", "1969-12-31"};
    struct node *node = node_of(FORM_CONSTANT, wanted, sql);
    if (is_number(wanted)) {
        const char *text = numbers[pick(sizeof(numbers) / sizeof(numbers[0]))];
        put(sql, text);
        const char *point = strchr(text, '.');
        if (strchr(text, 'e') != NULL) {
            node->type = (struct ab_type){.kind = AB_TYPE_DOUBLE};
        } else if (point != NULL || strlen(text) > 19) {
            node->type = (struct ab_type){
                .kind = AB_TYPE_DECIMAL, .precision = 38, .scale = (uint8_t)(point == NULL ? 0 : strlen(point + 1))};
        } else {
            node->type = (struct ab_type){.kind = AB_TYPE_BIGINT};
        }
        AB_ASSERT(ab_value_parse(node->type, ab_bytes_of_text(text), &node->value) == AB_OK);
    } else if (wanted.kind == AB_TYPE_TEXT) {
        node->value = (struct ab_value){.type = wanted, .text = ab_bytes_of_text(texts[pick(6)])};
        put(sql, "'");
        for (size_t i = 0; i < node->value.text.bytes; i++) {
            ab_buffer_put_u8(sql, node->value.text.data[i]);
            put(sql, node->value.text.data[i] == '\'' ? "'" : "");
        }
        put(sql, "'");
    } else if (wanted.kind == AB_TYPE_TIMESTAMP) {
        const char *text = times[pick(3)];
        AB_ASSERT(ab_value_parse(wanted, ab_bytes_of_text(text), &node->value) == AB_OK);
        ab_buffer_put_format(sql, "TIMESTAMP '%s'", text);
    } else {
        node->value = (struct ab_value){.type = wanted, .boolean = pick(2) == 0};
        put(sql, node->value.boolean ? "TRUE" : "FALSE");
    }
    return node;
}

static struct node *generate(struct ab_type wanted, int depth, struct ab_buffer *sql);

static void child_add(struct node *node, struct ab_type wanted, int depth, struct ab_buffer *sql)
{
    put(sql, "(");
    node->children[node->children_count++] = generate(wanted, depth - 1, sql);
    put(sql, ")");
}

static unsigned max_scale(const struct node *a, const struct node *b)
{
    return a->type.scale > b->type.scale ? a->type.scale : b->type.scale;
}

static struct ab_type common_of(const struct node *a, const struct node *b)
{
    if (a->type.kind == AB_TYPE_DOUBLE || b->type.kind == AB_TYPE_DOUBLE) {
        return (struct ab_type){.kind = AB_TYPE_DOUBLE};
    }
    if (a->type.kind == AB_TYPE_BIGINT && b->type.kind == AB_TYPE_BIGINT) {
        return (struct ab_type){.kind = AB_TYPE_BIGINT};
    }
    return (struct ab_type){.kind = AB_TYPE_DECIMAL, .precision = 38, .scale = (uint8_t)max_scale(a, b)};
}

static const char *const arithmetic_signs[] = {"+", "-", "*", "/", "%"};
static const char *const compare_signs[] = {"=", "<>", "<", "<=", ">", ">="};

static struct node *arithmetic_generate(struct ab_type wanted, int depth, struct ab_buffer *sql)
{
    struct node *node = node_of(FORM_ARITHMETIC, wanted, sql);
    node->sign = (int)pick(5);
    size_t start = sql->bytes;
    child_add(node, wanted, depth, sql);
    size_t middle = sql->bytes;
    put(sql, arithmetic_signs[node->sign]);
    child_add(node, wanted, depth, sql);
    struct ab_type type = common_of(node->children[0], node->children[1]);
    unsigned scales = node->children[0]->type.scale + node->children[1]->type.scale;
    bool is_refused = (node->sign == 4 && type.kind == AB_TYPE_DOUBLE) || (node->sign == 2 && scales > 38);
    if (is_refused) {
        node->sign = 0;
        sql->data[middle] = '+';
    }
    if (node->sign == 2 && type.kind == AB_TYPE_DECIMAL) {
        type.scale = (uint8_t)scales;
    } else if (node->sign == 3 && type.kind == AB_TYPE_DECIMAL) {
        type = (struct ab_type){.kind = AB_TYPE_DOUBLE};
    }
    node->type = type;
    (void)start;
    return node;
}

static struct node *number_generate(struct ab_type wanted, int depth, struct ab_buffer *sql)
{
    unsigned choice = pick(8);
    if (choice < 5) {
        return arithmetic_generate(wanted, depth, sql);
    }
    struct node *node = node_of(choice == 5 ? FORM_NEGATE : choice == 6 ? FORM_ABS : FORM_NULLIF, wanted, sql);
    put(sql, choice == 5 ? "-" : choice == 6 ? "abs(" : "nullif(");
    child_add(node, wanted, depth, sql);
    if (choice == 7) {
        put(sql, ", ");
        child_add(node, wanted, depth, sql);
    }
    put(sql, choice == 5 ? "" : ")");
    node->type = node->children[0]->type;
    return node;
}

static struct node *coalesce_generate(struct ab_type wanted, int depth, struct ab_buffer *sql)
{
    struct node *node = node_of(FORM_COALESCE, wanted, sql);
    put(sql, "coalesce(");
    child_add(node, wanted, depth, sql);
    put(sql, ", ");
    child_add(node, wanted, depth, sql);
    put(sql, ")");
    struct ab_type first = node->children[0]->type;
    node->type = !is_number(wanted) || ab_type_equal(first, node->children[1]->type)
                     ? first
                     : common_of(node->children[0], node->children[1]);
    return node;
}

static struct ab_type any_type(void)
{
    return input_types[pick(INPUTS)];
}

static struct node *predicate_generate(int depth, struct ab_buffer *sql)
{
    static const struct ab_type boolean = {.kind = AB_TYPE_BOOLEAN};
    struct ab_type operand = any_type();
    struct node *node = node_of(FORM_COMPARE, boolean, sql);
    node->is_negated = pick(2) == 0;
    switch (pick(8)) {
    case 0:
    case 1:
        node->form = pick(2) == 0 ? FORM_AND : FORM_OR;
        child_add(node, boolean, depth, sql);
        put(sql, node->form == FORM_AND ? " AND " : " OR ");
        child_add(node, boolean, depth, sql);
        break;
    case 2:
        node->form = FORM_NOT;
        put(sql, "NOT ");
        child_add(node, boolean, depth, sql);
        break;
    case 3:
        node->form = FORM_IS_NULL;
        child_add(node, operand, depth, sql);
        put(sql, node->is_negated ? " IS NOT NULL" : " IS NULL");
        break;
    case 4:
        node->form = FORM_BETWEEN;
        child_add(node, operand, depth, sql);
        put(sql, node->is_negated ? " NOT BETWEEN " : " BETWEEN ");
        child_add(node, operand, depth, sql);
        put(sql, " AND ");
        child_add(node, operand, depth, sql);
        break;
    case 5:
        node->form = FORM_IN;
        child_add(node, operand, depth, sql);
        put(sql, node->is_negated ? " NOT IN (" : " IN (");
        child_add(node, operand, depth, sql);
        put(sql, ", ");
        child_add(node, operand, depth, sql);
        put(sql, ")");
        break;
    default:
        node->sign = (int)pick(6);
        child_add(node, operand, depth, sql);
        put(sql, compare_signs[node->sign]);
        child_add(node, operand, depth, sql);
        break;
    }
    return node;
}

static struct node *generate(struct ab_type wanted, int depth, struct ab_buffer *sql)
{
    if (depth <= 0 || pick(6) == 0) {
        return pick(3) == 0 ? constant_generate(wanted, sql) : input_generate(wanted, sql);
    }
    if (pick(8) == 0) {
        return coalesce_generate(wanted, depth, sql);
    }
    if (is_number(wanted)) {
        return number_generate(wanted, depth, sql);
    }
    return wanted.kind == AB_TYPE_BOOLEAN ? predicate_generate(depth, sql) : input_generate(wanted, sql);
}

/* The interpreter. */

static uint64_t interpreted_faults;

static struct ab_value null_of(struct ab_type type, bool is_fault)
{
    interpreted_faults += is_fault;
    return (struct ab_value){.type = type, .is_null = true};
}

static double as_double(const struct ab_value *value)
{
    return value->type.kind == AB_TYPE_DOUBLE   ? value->real
           : value->type.kind == AB_TYPE_BIGINT ? (double)value->bigint
                                                : ab_decimal_to_double(value->decimal, value->type.scale);
}

static ab_int128 as_units(const struct ab_value *value)
{
    return value->type.kind == AB_TYPE_BIGINT ? value->bigint : value->decimal;
}

/* Widens; a DECIMAL that gets too many digits is NULL and a fault. */
static struct ab_value widen(struct ab_value value, struct ab_type type)
{
    if (value.is_null) {
        value.type = type;
        return value;
    }
    if (value.type.kind == type.kind && value.type.scale == type.scale) {
        value.type = type;
        return value;
    }
    if (type.kind == AB_TYPE_DOUBLE) {
        return (struct ab_value){.type = type, .real = as_double(&value)};
    }
    ab_int128 units = 0;
    bool is_over = __builtin_mul_overflow(as_units(&value), ab_decimal_power(type.scale - value.type.scale), &units);
    if (is_over || !ab_decimal_fits(units, 38)) {
        return null_of(type, true);
    }
    return (struct ab_value){.type = type, .decimal = units};
}

/* Long double has 64 bits of mantissa: enough for every BIGINT and DOUBLE exactly. */
static int order_of(const struct ab_value *a, const struct ab_value *b)
{
    if (!is_number(a->type)) {
        return ab_value_compare(a, b);
    }
    bool has_double = a->type.kind == AB_TYPE_DOUBLE || b->type.kind == AB_TYPE_DOUBLE;
    bool has_decimal = a->type.kind == AB_TYPE_DECIMAL || b->type.kind == AB_TYPE_DECIMAL;
    if (has_double) {
        long double x =
            has_decimal || a->type.kind == AB_TYPE_DOUBLE ? (long double)as_double(a) : (long double)a->bigint;
        long double y =
            has_decimal || b->type.kind == AB_TYPE_DOUBLE ? (long double)as_double(b) : (long double)b->bigint;
        if (x != x || y != y) {
            return (x != x) - (y != y);
        }
        return (x > y) - (x < y);
    }
    unsigned scale = a->type.scale > b->type.scale ? a->type.scale : b->type.scale;
    ab_int128 x = as_units(a);
    ab_int128 y = as_units(b);
    bool is_x_over = __builtin_mul_overflow(x, ab_decimal_power(scale - a->type.scale), &x);
    bool is_y_over = __builtin_mul_overflow(y, ab_decimal_power(scale - b->type.scale), &y);
    if (is_x_over || is_y_over) {
        return is_x_over ? (as_units(a) > 0 ? 1 : -1) : (as_units(b) > 0 ? -1 : 1);
    }
    return (x > y) - (x < y);
}

static struct ab_value truth(int value) /* 1, 0, or -1 for NULL */
{
    return (struct ab_value){.type = {.kind = AB_TYPE_BOOLEAN}, .is_null = value<0, .boolean = value> 0};
}

static int truth_of(struct ab_value value)
{
    return value.is_null ? -1 : value.boolean;
}

static int compare_truth(int sign, const struct ab_value *a, const struct ab_value *b)
{
    if (a->is_null || b->is_null) {
        return -1;
    }
    int order = order_of(a, b);
    const bool holds[6] = {order == 0, order != 0, order<0, order <= 0, order> 0, order >= 0};
    return holds[sign];
}

static int and_of(int a, int b)
{
    return a == 0 || b == 0 ? 0 : a < 0 || b < 0 ? -1 : 1;
}

static int not_of(int a)
{
    return a < 0 ? -1 : !a;
}

static int or_of(int a, int b)
{
    return not_of(and_of(not_of(a), not_of(b)));
}

static struct ab_value bigint_arithmetic(int sign, struct ab_type type, int64_t a, int64_t b)
{
    __int128 wide = sign == 0 ? (__int128)a + b : sign == 1 ? (__int128)a - b : sign == 2 ? (__int128)a * b : 0;
    if (sign >= 3) {
        if (b == 0) {
            return null_of(type, true);
        }
        wide = sign == 3 ? (__int128)a / b : (__int128)a % b;
    }
    if (wide > INT64_MAX || wide < INT64_MIN) {
        return null_of(type, true);
    }
    return (struct ab_value){.type = type, .bigint = (int64_t)wide};
}

static bool is_finite(double number)
{
    return number - number == 0;
}

static struct ab_value double_arithmetic(int sign, struct ab_type type, double a, double b)
{
    if (sign == 3 && b == 0) {
        return null_of(type, true);
    }
    double result = sign == 0 ? a + b : sign == 1 ? a - b : sign == 2 ? a * b : a / b;
    if (is_finite(a) && is_finite(b) && !is_finite(result)) {
        return null_of(type, true);
    }
    return (struct ab_value){.type = type, .real = ab_double_canonical(result)};
}

static struct ab_value decimal_arithmetic(int sign, struct ab_type type, ab_int128 a, ab_int128 b)
{
    ab_int128 result = 0;
    if (sign == 4) {
        return b == 0 ? null_of(type, true) : (struct ab_value){.type = type, .decimal = a % b};
    }
    bool is_over = sign == 0   ? __builtin_add_overflow(a, b, &result)
                   : sign == 1 ? __builtin_sub_overflow(a, b, &result)
                               : __builtin_mul_overflow(a, b, &result);
    if (is_over || !ab_decimal_fits(result, 38)) {
        return null_of(type, true);
    }
    return (struct ab_value){.type = type, .decimal = result};
}

static struct ab_value arithmetic(const struct node *node, struct ab_value a, struct ab_value b)
{
    struct ab_type type = node->type;
    if (node->sign == 2 && type.kind == AB_TYPE_DECIMAL) {
        if (a.is_null || b.is_null) {
            return null_of(type, false);
        }
        return decimal_arithmetic(2, type, as_units(&a), as_units(&b));
    }
    a = widen(a, type);
    b = widen(b, type);
    if (a.is_null || b.is_null) {
        return null_of(type, false);
    }
    return type.kind == AB_TYPE_BIGINT   ? bigint_arithmetic(node->sign, type, a.bigint, b.bigint)
           : type.kind == AB_TYPE_DOUBLE ? double_arithmetic(node->sign, type, a.real, b.real)
                                         : decimal_arithmetic(node->sign, type, a.decimal, b.decimal);
}

static struct ab_value unary(const struct node *node, struct ab_value a)
{
    bool is_abs = node->form == FORM_ABS;
    if (a.is_null) {
        return a;
    }
    if (a.type.kind == AB_TYPE_BIGINT) {
        return is_abs && a.bigint >= 0 ? a : bigint_arithmetic(1, a.type, 0, a.bigint);
    }
    if (a.type.kind == AB_TYPE_DOUBLE) {
        a.real = ab_double_canonical(is_abs && !(a.real < 0) ? a.real : -a.real);
        return a;
    }
    a.decimal = is_abs && a.decimal >= 0 ? a.decimal : -a.decimal;
    return a;
}

static struct ab_value interpret(const struct node *node, const struct ab_column *columns, uint32_t row)
{
    struct ab_value v[CHILDREN];
    memset(v, 0, sizeof(v));
    for (int i = 0; i < node->children_count; i++) {
        v[i] = interpret(node->children[i], columns, row);
    }
    switch (node->form) {
    case FORM_INPUT:
        return ab_column_value(&columns[node->input], row);
    case FORM_CONSTANT:
        return node->value;
    case FORM_ARITHMETIC:
        return arithmetic(node, v[0], v[1]);
    case FORM_NEGATE:
    case FORM_ABS:
        return unary(node, v[0]);
    case FORM_COMPARE:
        return truth(compare_truth(node->sign, &v[0], &v[1]));
    case FORM_AND:
        return truth(and_of(truth_of(v[0]), truth_of(v[1])));
    case FORM_OR:
        return truth(or_of(truth_of(v[0]), truth_of(v[1])));
    case FORM_NOT:
        return truth(not_of(truth_of(v[0])));
    case FORM_IS_NULL:
        return truth(v[0].is_null != node->is_negated);
    case FORM_BETWEEN: {
        int within = and_of(compare_truth(5, &v[0], &v[1]), compare_truth(3, &v[0], &v[2]));
        return truth(node->is_negated ? not_of(within) : within);
    }
    case FORM_IN: {
        int within = or_of(compare_truth(0, &v[0], &v[1]), compare_truth(0, &v[0], &v[2]));
        return truth(node->is_negated ? not_of(within) : within);
    }
    case FORM_COALESCE:
        v[0] = widen(v[0], node->type);
        v[1] = widen(v[1], node->type);
        return v[0].is_null ? v[1] : v[0];
    case FORM_NULLIF:
        return compare_truth(0, &v[0], &v[1]) == 1 ? null_of(node->type, false) : v[0];
    }
    AB_UNREACHABLE();
}

/* Random columns with the values that break things among them. */

static struct ab_value value_random(struct ab_type type)
{
    static const int64_t bigints[] = {0, 1, -1, 3, INT64_MAX, INT64_MIN, INT64_C(9007199254740993), 15};
    static const double doubles[] = {
        0, 1, -1, 0.1, 2.5, 1e308, -1e308, 9007199254740992.0, 9223372036854775808.0, 1e-320};
    static const char *const texts[] = {"", "a", "b", "abc", "\xc3\xa9", "it's", "abcd"};
    struct ab_value value = {.type = type, .is_null = pick(5) == 0};
    switch ((enum ab_type_kind)type.kind) {
    case AB_TYPE_BOOLEAN:
        value.boolean = pick(2) == 0;
        break;
    case AB_TYPE_BIGINT:
        value.bigint = pick(2) == 0 ? bigints[pick(8)] : (int64_t)pick(40) - 20;
        break;
    case AB_TYPE_TIMESTAMP:
        value.bigint = INT64_C(1370044800000000) + (int64_t)pick(3) - 1;
        break;
    case AB_TYPE_DOUBLE:
        value.real = pick(12) == 0  ? ab_double_canonical(__builtin_nan(""))
                     : pick(2) == 0 ? doubles[pick(10)]
                                    : (double)pick(40) / 4 - 5;
        break;
    case AB_TYPE_DECIMAL:
        value.decimal = (ab_int128)pick(4000) - 2000;
        value.decimal *= type.precision > 18 && pick(2) == 0 ? ab_decimal_power(26) : 1;
        break;
    case AB_TYPE_TEXT:
        value.text = ab_bytes_of_text(texts[pick(7)]);
        break;
    }
    return value;
}

static void columns_random(struct ab_column_builder *const *builders, struct ab_column *columns)
{
    for (int i = 0; i < INPUTS; i++) {
        ab_column_builder_clear(builders[i]);
        bool has_nulls = pick(2) == 0;
        for (uint32_t row = 0; row < ROWS; row++) {
            struct ab_value value = value_random(input_types[i]);
            value.is_null = value.is_null && has_nulls;
            assert_int_equal(ab_column_builder_add(builders[i], &value), AB_OK);
        }
        ab_column_builder_view(builders[i], &columns[i]);
    }
}

static bool is_same(const struct ab_value *a, const struct ab_value *b)
{
    if (a->is_null || b->is_null) {
        return a->is_null == b->is_null;
    }
    if (a->type.kind == AB_TYPE_DOUBLE) {
        return memcmp(&a->real, &b->real, sizeof(a->real)) == 0;
    }
    return ab_type_equal(a->type, b->type) ? ab_value_compare(a, b) == 0 : order_of(a, b) == 0;
}

static void compare_once(const struct ab_column *columns)
{
    struct ab_buffer sql = {0};
    struct ab_arena arena = {0};
    const struct ab_column *inputs[INPUTS];
    struct ab_column result;
    uint64_t faults = 0;
    for (int i = 0; i < INPUTS; i++) {
        inputs[i] = &columns[i];
    }
    ab_buffer_put_format(&sql, "%sCREATE VIEW v AS SELECT first(", stream_sql);
    size_t start = sql.bytes;
    struct node *node = generate(any_type(), 1 + (int)pick(4), &sql);
    size_t end = sql.bytes;
    put(&sql, ") FROM s");
    struct ab_catalog *catalog = catalog_of(ab_buffer_text(&sql));
    const struct ab_expression *expression = catalog->views[0].measures[0].arguments[0];
    if (ab_expression_type(expression).kind != node->type.kind) {
        print_error("%.*s\n", (int)(end - start), sql.data + start);
    }
    assert_int_equal(ab_expression_type(expression).kind, node->type.kind);
    assert_int_equal(ab_expression_type(expression).scale, node->type.scale);
    assert_int_equal(ab_expression_evaluate(expression, inputs, ROWS, &arena, &result, &faults), AB_OK);
    interpreted_faults = 0;
    for (uint32_t row = 0; row < ROWS; row++) {
        struct ab_value expected = interpret(node, columns, row);
        struct ab_value found = ab_column_value(&result, row);
        if (!is_same(&expected, &found)) {
            struct ab_buffer text = {0};
            ab_value_format(&expected, &text);
            ab_buffer_put_format(&text, " (expected, null %d) <> ", expected.is_null);
            ab_value_format(&found, &text);
            print_error("%.*s row %u: %s (null %d)\n", (int)(end - start), sql.data + start, row, ab_buffer_text(&text),
                found.is_null);
            fail();
        }
    }
    if (faults != interpreted_faults) {
        print_error("%.*s: %u faults, expected %u\n", (int)(end - start), sql.data + start, (unsigned)faults,
            (unsigned)interpreted_faults);
        fail();
    }
    ab_catalog_release(catalog);
    ab_arena_fini(&arena);
    ab_buffer_fini(&sql);
    ab_arena_reset(&nodes);
}

static void test_evaluate_agrees_with_an_interpreter_by_rows(void **state)
{
    (void)state;
    struct ab_column_builder *builders[INPUTS];
    struct ab_column columns[INPUTS];
    ab_random_init(&randomness, 20130601);
    for (int i = 0; i < INPUTS; i++) {
        builders[i] = ab_column_builder_create(input_types[i], ROWS, NULL);
    }
    for (int round = 0; round < 20000; round++) {
        if (round % 20 == 0) {
            columns_random(builders, columns);
        }
        compare_once(columns);
    }
    for (int i = 0; i < INPUTS; i++) {
        ab_column_builder_destroy(builders[i]);
    }
    ab_arena_fini(&nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evaluate_agrees_with_an_interpreter_by_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
