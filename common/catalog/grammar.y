/* grammar: the statements of DESIGN 8 as a tree (ast.h); names and types are checked later. Only the words DESIGN lists are
 * reserved; all other tokens that are words come from parse.c, which knows them by their neighbours. */
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
ab_err ab_parse_report(struct ab_parse *parse, struct ab_place place, int found, const char *const *expected, int count);
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
%token STREAM "STREAM" VIEW "VIEW" CHECK "CHECK" FILTER "FILTER" DISTINCT "DISTINCT" IS "IS" ASC "ASC" DESC "DESC"
%token EVENT_TIME "EVENT TIME" PARTITION_KEY "PARTITION KEY"
%token NOT_EQUAL "<>" LESS_EQUAL "<=" GREATER_EQUAL ">="

%type <list> statements separated elements constraints name_list options option_list items groups group_list orders order_list
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
  | START_QUERY select semicolons        { parse->statements = ab_ast_append((struct ab_ast_list){0}, $2); }
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
    { $$ = ab_ast_new(parse, AB_AST_STREAM, @3, $3.text, NULL, NULL, NULL); ab_ast_set_list(parse, $$, $5); $$->second = $7; }
  | CREATE VIEW NAME AS view_select options
    { $$ = ab_ast_new(parse, AB_AST_VIEW, @3, $3.text, $5, NULL, NULL); $$->second = $6; }
  ;
elements:
    element                              { $$ = ab_ast_append((struct ab_ast_list){0}, $1); }
  | elements ',' element                 { $$ = ab_ast_append($1, $3); }
  ;
element:
    NAME type constraints
    { $$ = ab_ast_new(parse, AB_AST_COLUMN, @1, $1.text, $2, NULL, NULL); ab_ast_set_list(parse, $$, $3); }
  | EVENT_TIME name
    { $$ = ab_ast_new(parse, AB_AST_EVENT_TIME, @1, none, $2, NULL, NULL); }
  | PARTITION_KEY '(' name_list ')'
    { $$ = ab_ast_new(parse, AB_AST_PARTITION_KEY, @1, none, NULL, NULL, NULL); ab_ast_set_list(parse, $$, $3); }
  ;
type:
    NAME type_arguments
    { $$ = ab_ast_new(parse, AB_AST_TYPE, @1, $1.text, NULL, NULL, NULL); $$->is_set = $1.is_quoted; ab_ast_set_list(parse, $$, $2); }
  ;
type_arguments:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | '(' numbers ')'                      { $$ = $2; }
  ;
numbers:
    NUMBER                               { $$ = ab_ast_append((struct ab_ast_list){0}, ab_ast_new(parse, AB_AST_NUMBER, @1, $1.text, NULL, NULL, NULL)); }
  | numbers ',' NUMBER                   { $$ = ab_ast_append($1, ab_ast_new(parse, AB_AST_NUMBER, @3, $3.text, NULL, NULL, NULL)); }
  ;
constraints:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | constraints constraint               { $$ = ab_ast_append($1, $2); }
  ;
constraint:
    NOT NULL                             { $$ = ab_ast_new(parse, AB_AST_NOT_NULL, @1, none, NULL, NULL, NULL); }
  | CHECK '(' expression ')'             { $$ = ab_ast_new(parse, AB_AST_CHECK, @3, none, $3, NULL, NULL); }
  ;
name:
    NAME                                 { $$ = ab_ast_new(parse, AB_AST_NAME, @1, $1.text, NULL, NULL, NULL); $$->is_set = $1.is_quoted; }
  ;
name_list:
    name                                 { $$ = ab_ast_append((struct ab_ast_list){0}, $1); }
  | name_list ',' name                   { $$ = ab_ast_append($1, $3); }
  ;
options:
    %empty                               { $$ = (struct ab_ast_list){0}; }
  | WITH '(' option_list ')'             { $$ = $3; }
  ;
option_list:
    option                               { $$ = ab_ast_append((struct ab_ast_list){0}, $1); }
  | option_list ',' option               { $$ = ab_ast_append($1, $3); }
  ;
option:
    option_name '=' option_value         { $$ = ab_ast_new(parse, AB_AST_OPTION, @1, $1.text, $3, NULL, NULL); }
  ;
option_name: NAME | TEXT ;
option_value:
    TEXT                                 { $$ = ab_ast_new(parse, AB_AST_TEXT, @1, $1.text, NULL, NULL, NULL); }
  ;
view_select:
    SELECT items FROM name where groups
    { $$ = ab_ast_new(parse, AB_AST_SELECT, @1, none, $4, $5, NULL); ab_ast_set_list(parse, $$, $2); $$->second = $6; }
  ;
select:
    SELECT items FROM name where groups orders limit
    { $$ = ab_ast_new(parse, AB_AST_SELECT, @1, none, $4, $5, $8); ab_ast_set_list(parse, $$, $2); $$->second = $6; $$->third = $7; }
  ;
items:
    item                                 { $$ = ab_ast_append((struct ab_ast_list){0}, $1); }
  | items ',' item                       { $$ = ab_ast_append($1, $3); }
  ;
item:
    '*'                                  { $$ = ab_ast_new(parse, AB_AST_ITEM, @1, none, ab_ast_new(parse, AB_AST_STAR, @1, none, NULL, NULL, NULL), NULL, NULL); }
  | expression                           { $$ = ab_ast_new(parse, AB_AST_ITEM, @1, none, $1, NULL, NULL); }
  | expression AS name                   { $$ = ab_ast_new(parse, AB_AST_ITEM, @1, none, $1, $3, NULL); }
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
    order                                { $$ = ab_ast_append((struct ab_ast_list){0}, $1); }
  | order_list ',' order                 { $$ = ab_ast_append($1, $3); }
  ;
order:
    expression direction                 { $$ = ab_ast_new(parse, AB_AST_ORDER, @1, none, $1, NULL, NULL); $$->is_set = $2; }
  ;
direction:
    %empty                               { $$ = false; }
  | ASC                                  { $$ = false; }
  | DESC                                 { $$ = true; }
  ;
limit:
    %empty                               { $$ = NULL; }
  | LIMIT NUMBER                         { $$ = ab_ast_new(parse, AB_AST_NUMBER, @2, $2.text, NULL, NULL, NULL); }
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
  | NOT negation                         { $$ = ab_ast_new(parse, AB_AST_NOT, @1, none, $2, NULL, NULL); }
  ;
predicate:
    additive
  | additive comparison additive         { $$ = ab_ast_binary(parse, @2, $2, $1, $3); }
  | additive BETWEEN additive AND additive
    { $$ = ab_ast_new(parse, AB_AST_BETWEEN, @2, none, $1, $3, $5); }
  | additive NOT BETWEEN additive AND additive
    { $$ = ab_ast_new(parse, AB_AST_BETWEEN, @2, none, $1, $4, $6); $$->is_set = true; }
  | additive IN '(' expressions ')'
    { $$ = ab_ast_new(parse, AB_AST_IN, @2, none, $1, NULL, NULL); ab_ast_set_list(parse, $$, $4); }
  | additive NOT IN '(' expressions ')'
    { $$ = ab_ast_new(parse, AB_AST_IN, @2, none, $1, NULL, NULL); ab_ast_set_list(parse, $$, $5); $$->is_set = true; }
  | additive IS not_opt NULL
    { $$ = ab_ast_new(parse, AB_AST_IS_NULL, @2, none, $1, NULL, NULL); $$->is_set = $3; }
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
  | NUMBER                               { $$ = ab_ast_new(parse, AB_AST_NUMBER, @1, $1.text, NULL, NULL, NULL); }
  | TEXT                                 { $$ = ab_ast_new(parse, AB_AST_TEXT, @1, $1.text, NULL, NULL, NULL); }
  | TIMESTAMP                            { $$ = ab_ast_new(parse, AB_AST_TIMESTAMP, @1, $1.text, NULL, NULL, NULL); }
  | INTERVAL                             { $$ = ab_ast_new(parse, AB_AST_INTERVAL, @1, $1.text, NULL, NULL, NULL); }
  | NULL                                 { $$ = ab_ast_new(parse, AB_AST_NULL, @1, none, NULL, NULL, NULL); }
  | '(' expression ')'                   { $$ = $2; }
  | call filter                          { $$ = $1; $$->b = $2; }
  ;
call:
    NAME '(' arguments ')'
    { $$ = ab_ast_new(parse, AB_AST_CALL, @1, $1.text, NULL, NULL, NULL); ab_ast_set_list(parse, $$, $3); }
  | NAME '(' '*' ')'
    { $$ = ab_ast_new(parse, AB_AST_CALL, @1, $1.text, NULL, NULL, NULL); $$->is_star = true; }
  | NAME '(' DISTINCT expression ')'
    { $$ = ab_ast_new(parse, AB_AST_CALL, @1, $1.text, NULL, NULL, NULL); $$->is_set = true;
      ab_ast_set_list(parse, $$, ab_ast_append((struct ab_ast_list){0}, $4)); }
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
    expression                           { $$ = ab_ast_append((struct ab_ast_list){0}, $1); }
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
    (void)ab_parse_fail(parse, *place, AB_SYNTAX, "nested too deeply");
}
