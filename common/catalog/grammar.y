/* grammar: the statements of DESIGN 8 as a tree (ast.h); names and types are checked later. Only the words DESIGN
 * lists are reserved; all other tokens that are words come from parse.c, which knows them by their neighbours. */
%code requires {
#include "common/catalog/ast.h"
}
%code {
#include <stdint.h>
#include <stdlib.h>
}
%code provides {
int ab_grammar_lex(AB_GRAMMAR_STYPE *value, struct ab_place *place, struct ab_parse *parse);
void ab_grammar_error(struct ab_place *place, struct ab_parse *parse, const char *message);
ab_err ab_parse_report(
    struct ab_parse *parse, struct ab_place place, int found, const char *const *expected, int count);
}
%define api.pure full
%define api.prefix {ab_grammar_}
%define api.token.prefix {T_}
%define api.location.type {struct ab_place}
%define parse.error custom
%define parse.lac full
%locations
%param {struct ab_parse *parse}
%code {
#define YYLLOC_DEFAULT(current, rhs, n)                                                                                \
    ((n) > 0 ? ((current) = YYRHSLOC(rhs, 1), (current).end = YYRHSLOC(rhs, n).end, (void)0)                           \
             : ((current) = YYRHSLOC(rhs, 0), (current).offset = (current).end, (void)0))
#define YYMAXDEPTH 4000
#define YYMALLOC ab_new_bytes
#define YYFREE ab_delete
#define NODE(kind, place, text, a, b, c) ab_ast_new(parse, AB_AST_##kind, place, text, a, b, c)
#define LEAF(kind, place, text) ab_ast_new(parse, AB_AST_##kind, place, text, NULL, NULL, NULL)
#define ONE(node) ab_ast_append((struct ab_ast_list){0}, node)
#define LIST(list) ab_ast_set_list(parse, yyval.node, list)
static const struct ab_bytes none;
}

%union {
    struct ab_token token;
    struct ab_ast *node;
    struct ab_ast_list list;
    enum ab_ast_operation operation;
    bool flag;
}

%token END 0 "the end"
%token INVALID "an invalid character"
%token START_CATALOG START_QUERY
%token <token> NAME "a name" NUMBER "a number" TEXT "'text'"
%token <token> INTERVAL "INTERVAL 'text'" TIMESTAMP "TIMESTAMP 'text'"
%token SELECT "SELECT" FROM "FROM" WHERE "WHERE" GROUP "GROUP" BY "BY" ORDER "ORDER" LIMIT "LIMIT" CREATE "CREATE"
%token WITH "WITH" AND "AND" OR "OR" NOT "NOT" NULL "NULL" IN "IN" BETWEEN "BETWEEN" AS "AS"
%token STREAM "STREAM" VIEW "VIEW" TIME_ZONE "TIME ZONE"
%token CHECK "CHECK" FILTER "FILTER" DISTINCT "DISTINCT" IS "IS" ASC "ASC" DESC "DESC"
%token EVENT_TIME "EVENT TIME" PARTITION_KEY "PARTITION KEY"
%token NOT_EQUAL "<>" LESS_EQUAL "<=" GREATER_EQUAL ">="

%type <list> statements separated
%type <list> elements constraints name_list options option_list items groups group_list orders order_list
%type <list> expressions arguments type_arguments numbers
%type <node> statement element constraint type name option option_value select view_select item where limit order
%type <node> expression conjunction negation predicate additive multiplicative unary primary filter call
%type <operation> comparison
%type <flag> direction not_opt
%type <token> option_name

%start start
%%
start:
    START_CATALOG statements             { parse->statements = $2; }
  | START_QUERY select semicolons        { parse->statements = ONE($2); }
  ;
semicolons: %empty | semicolons ';' ;
statements:
    separated
  | separated statement                  { $$ = ab_ast_append($1, $2); }
  ;
separated:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | separated ';'
  | separated statement ';'              { $$ = ab_ast_append($1, $2); }
  ;
statement:
    CREATE STREAM NAME '(' elements ')' options
    { $$ = LEAF(STREAM, @3, $3.text); LIST($5); $$->second = $7; }
  | CREATE VIEW NAME AS view_select options
    { $$ = NODE(VIEW, @3, $3.text, $5, NULL, NULL); $$->second = $6; }
  | CREATE TIME_ZONE TEXT AS TEXT
    { $$ = NODE(ZONE, @3, $3.text, LEAF(TEXT, @5, $5.text), NULL, NULL); }
  ;
elements:
    element                              { $$ = ONE($1); }
  | elements ',' element                 { $$ = ab_ast_append($1, $3); }
  ;
element:
    NAME type constraints
    { $$ = NODE(COLUMN, @1, $1.text, $2, NULL, NULL); LIST($3); }
  | EVENT_TIME name
    { $$ = NODE(EVENT_TIME, @1, none, $2, NULL, NULL); }
  | PARTITION_KEY '(' name_list ')'
    { $$ = LEAF(PARTITION_KEY, @1, none); LIST($3); }
  ;
type:
    NAME type_arguments
    { $$ = LEAF(TYPE, @1, $1.text); $$->is_set = $1.is_quoted; LIST($2); }
  ;
type_arguments:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | '(' numbers ')'                      { $$ = $2; }
  ;
numbers:
    NUMBER                               { $$ = ONE(LEAF(NUMBER, @1, $1.text)); }
  | numbers ',' NUMBER                   { $$ = ab_ast_append($1, LEAF(NUMBER, @3, $3.text)); }
  ;
constraints:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | constraints constraint               { $$ = ab_ast_append($1, $2); }
  ;
constraint:
    NOT NULL                             { $$ = LEAF(NOT_NULL, @1, none); }
  | CHECK '(' expression ')'             { $$ = NODE(CHECK, @3, none, $3, NULL, NULL); }
  ;
name:
    NAME                                 { $$ = LEAF(NAME, @1, $1.text); $$->is_set = $1.is_quoted; }
  ;
name_list:
    name                                 { $$ = ONE($1); }
  | name_list ',' name                   { $$ = ab_ast_append($1, $3); }
  ;
options:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | WITH '(' option_list ')'             { $$ = $3; }
  ;
option_list:
    option                               { $$ = ONE($1); }
  | option_list ',' option               { $$ = ab_ast_append($1, $3); }
  ;
option:
    option_name '=' option_value         { $$ = NODE(OPTION, @1, $1.text, $3, NULL, NULL); }
  ;
option_name: NAME | TEXT ;
option_value:
    TEXT                                 { $$ = LEAF(TEXT, @1, $1.text); }
  ;
view_select:
    SELECT items FROM name where groups
    { $$ = NODE(SELECT, @1, none, $4, $5, NULL); LIST($2); $$->second = $6; }
  ;
select:
    SELECT items FROM name where groups orders limit
    { $$ = NODE(SELECT, @1, none, $4, $5, $8); LIST($2); $$->second = $6; $$->third = $7; }
  ;
items:
    item                                 { $$ = ONE($1); }
  | items ',' item                       { $$ = ab_ast_append($1, $3); }
  ;
item:
    '*'                                  { $$ = NODE(ITEM, @1, none, LEAF(STAR, @1, none), NULL, NULL); }
  | expression                           { $$ = NODE(ITEM, @1, none, $1, NULL, NULL); }
  | expression AS name                   { $$ = NODE(ITEM, @1, none, $1, $3, NULL); }
  ;
where:
    %empty                               { $$ = NULL; }
  | WHERE expression                     { $$ = $2; }
  ;
groups:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | GROUP BY group_list                  { $$ = $3; }
  ;
group_list: expressions ;
orders:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | ORDER BY order_list                  { $$ = $3; }
  ;
order_list:
    order                                { $$ = ONE($1); }
  | order_list ',' order                 { $$ = ab_ast_append($1, $3); }
  ;
order:
    expression direction                 { $$ = NODE(ORDER, @1, none, $1, NULL, NULL); $$->is_set = $2; }
  ;
direction:
    %empty                               { $$ = false; }
  | ASC                                  { $$ = false; }
  | DESC                                 { $$ = true; }
  ;
limit:
    %empty                               { $$ = NULL; }
  | LIMIT NUMBER                         { $$ = LEAF(NUMBER, @2, $2.text); }
  ;
expression:
    conjunction
  | expression OR conjunction            { $$ = ab_ast_binary(parse, @2, AB_AST_OR, $1, $3); }
  ;
conjunction:
    negation
  | conjunction AND negation             { $$ = ab_ast_binary(parse, @2, AB_AST_AND, $1, $3); }
  ;
negation:
    predicate
  | NOT negation                         { $$ = NODE(NOT, @1, none, $2, NULL, NULL); }
  ;
predicate:
    additive
  | additive comparison additive         { $$ = ab_ast_binary(parse, @2, $2, $1, $3); }
  | additive BETWEEN additive AND additive
    { $$ = NODE(BETWEEN, @2, none, $1, $3, $5); }
  | additive NOT BETWEEN additive AND additive
    { $$ = NODE(BETWEEN, @2, none, $1, $4, $6); $$->is_set = true; }
  | additive IN '(' expressions ')'
    { $$ = NODE(IN, @2, none, $1, NULL, NULL); LIST($4); }
  | additive NOT IN '(' expressions ')'
    { $$ = NODE(IN, @2, none, $1, NULL, NULL); LIST($5); $$->is_set = true; }
  | additive IS not_opt NULL
    { $$ = NODE(IS_NULL, @2, none, $1, NULL, NULL); $$->is_set = $3; }
  ;
not_opt:
    %empty                               { $$ = false; }
  | NOT                                  { $$ = true; }
  ;
comparison:
    '='                                  { $$ = AB_AST_EQUAL; }
  | NOT_EQUAL                            { $$ = AB_AST_NOT_EQUAL; }
  | '<'                                  { $$ = AB_AST_LESS; }
  | LESS_EQUAL                           { $$ = AB_AST_LESS_EQUAL; }
  | '>'                                  { $$ = AB_AST_GREATER; }
  | GREATER_EQUAL                        { $$ = AB_AST_GREATER_EQUAL; }
  ;
additive:
    multiplicative
  | additive '+' multiplicative          { $$ = ab_ast_binary(parse, @2, AB_AST_ADD, $1, $3); }
  | additive '-' multiplicative          { $$ = ab_ast_binary(parse, @2, AB_AST_SUBTRACT, $1, $3); }
  ;
multiplicative:
    unary
  | multiplicative '*' unary             { $$ = ab_ast_binary(parse, @2, AB_AST_MULTIPLY, $1, $3); }
  | multiplicative '/' unary             { $$ = ab_ast_binary(parse, @2, AB_AST_DIVIDE, $1, $3); }
  | multiplicative '%' unary             { $$ = ab_ast_binary(parse, @2, AB_AST_MODULO, $1, $3); }
  ;
unary:
    primary
  | '-' unary                            { $$ = ab_ast_negate(parse, @$, $2); }
  | '+' unary                            { $$ = $2; }
  ;
primary:
    name
  | name '.' name                        { $$ = $3; $$->a = $1; }
  | NUMBER                               { $$ = LEAF(NUMBER, @1, $1.text); }
  | TEXT                                 { $$ = LEAF(TEXT, @1, $1.text); }
  | TIMESTAMP                            { $$ = LEAF(TIMESTAMP, @1, $1.text); }
  | INTERVAL                             { $$ = LEAF(INTERVAL, @1, $1.text); }
  | NULL                                 { $$ = LEAF(NULL, @1, none); }
  | '(' expression ')'                   { $$ = $2; }
  | call filter                          { $$ = $1; $$->b = $2; }
  ;
call:
    NAME '(' arguments ')'
    { $$ = LEAF(CALL, @1, $1.text); LIST($3); }
  | NAME '(' '*' ')'
    { $$ = LEAF(CALL, @1, $1.text); $$->is_star = true; }
  | NAME '(' DISTINCT expression ')'
    { $$ = LEAF(CALL, @1, $1.text); $$->is_set = true;
      LIST(ONE($4)); }
  ;
filter:
    %empty                               { $$ = NULL; }
  | FILTER '(' WHERE expression ')'      { $$ = $4; }
  ;
arguments:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | expressions
  ;
expressions:
    expression                           { $$ = ONE($1); }
  | expressions ',' expression           { $$ = ab_ast_append($1, $3); }
  ;
%%

static int yyreport_syntax_error(const yypcontext_t *context, struct ab_parse *parse)
{
    enum { EXPECTED_MAX = 64 };
    yysymbol_kind_t symbols[EXPECTED_MAX];
    const char *names[EXPECTED_MAX];
    int count = yypcontext_expected_tokens(context, symbols, EXPECTED_MAX);
    for (int i = 0; i < count; i++) {
        names[i] = yysymbol_name(symbols[i]);
    }
    (void)ab_parse_report(
        parse, *yypcontext_location(context), parse->previous.number, names, count > 0 ? count : 0);
    return 0;
}

void ab_grammar_error(struct ab_place *place, struct ab_parse *parse, const char *message)
{
    (void)message; /* Only "memory exhausted": the stack's bound. */
    ab_parse_mark(parse, *place, AB_SYNTAX, "nested too deeply");
}
