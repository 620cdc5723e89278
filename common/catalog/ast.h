/* ast: what the grammar makes of SQL text, before names and types are known.
 *
 * One node type for all: which fields a kind uses stands beside the kind. Nodes live in the parse's arena and die with
 * it. Depth and number of nodes are bounded, so that everything that walks a tree may recurse.
 *
 * Threads: one parse belongs to one thread.
 */
#ifndef ANABRANCH_COMMON_CATALOG_AST_H
#define ANABRANCH_COMMON_CATALOG_AST_H

#include "common/base/memory.h"

#define AB_AST_DEPTH_MAX 400u
#define AB_AST_NODES_MAX 200000u

/* Where something stands in the text. */
struct ab_place {
    uint32_t line;   /* from 1 */
    uint32_t column; /* from 1, in characters */
    uint32_t offset; /* bytes from the start of the text */
    uint32_t end;    /* byte after the last */
};

enum ab_ast_kind {
    /* Statements and their parts. */
    AB_AST_STREAM,        /* text = name, list = elements, second = options */
    AB_AST_COLUMN,        /* text = name, a = TYPE, list = constraints */
    AB_AST_TYPE,          /* text = name, list = NUMBERs */
    AB_AST_NOT_NULL,      /* a constraint */
    AB_AST_CHECK,         /* a = expression */
    AB_AST_EVENT_TIME,    /* a = NAME */
    AB_AST_PARTITION_KEY, /* list = NAMEs */
    AB_AST_OPTION,        /* text = name, a = TEXT or NUMBER */
    AB_AST_VIEW,          /* text = name, a = SELECT, second = options */
    AB_AST_ZONE,          /* text = name, a = TEXT of its rules */
    AB_AST_SELECT, /* list = ITEMs, a = NAME of FROM, b = WHERE or NULL, second = GROUP BY, third = ORDERs, c = LIMIT */
    AB_AST_ITEM,   /* a = expression or STAR, b = NAME of the alias or NULL */
    AB_AST_STAR,
    AB_AST_ORDER, /* a = expression, is_set = descending */
    /* Expressions. */
    AB_AST_NAME,      /* text, is_set = quoted, a = qualifier NAME or NULL */
    AB_AST_NUMBER,    /* text, with its sign */
    AB_AST_TEXT,      /* text, escapes removed */
    AB_AST_TIMESTAMP, /* text */
    AB_AST_INTERVAL,  /* text */
    AB_AST_NULL,
    AB_AST_NEGATE,  /* a */
    AB_AST_NOT,     /* a */
    AB_AST_BINARY,  /* a, operation, b */
    AB_AST_BETWEEN, /* a between b and c; is_set = NOT */
    AB_AST_IN,      /* a in list; is_set = NOT */
    AB_AST_IS_NULL, /* a; is_set = NOT */
    AB_AST_CALL,    /* text = function, list = arguments, b = FILTER or NULL, is_set = DISTINCT, is_star = (*) */
};

enum ab_ast_operation {
    AB_AST_ADD,
    AB_AST_SUBTRACT,
    AB_AST_MULTIPLY,
    AB_AST_DIVIDE,
    AB_AST_MODULO,
    AB_AST_EQUAL,
    AB_AST_NOT_EQUAL,
    AB_AST_LESS,
    AB_AST_LESS_EQUAL,
    AB_AST_GREATER,
    AB_AST_GREATER_EQUAL,
    AB_AST_AND,
    AB_AST_OR,
};

struct ab_ast;

struct ab_ast_list {
    struct ab_ast *first;
    struct ab_ast *last;
    uint32_t count;
};

struct ab_ast {
    enum ab_ast_kind kind;
    enum ab_ast_operation operation;
    uint32_t depth; /* of the tree below, from 1 */
    bool is_set;
    bool is_star;
    struct ab_place place;
    struct ab_bytes text;
    struct ab_ast *a;
    struct ab_ast *b;
    struct ab_ast *c;
    struct ab_ast_list list;
    struct ab_ast_list second;
    struct ab_ast_list third;
    struct ab_ast *next; /* in the list this node is an element of */
};

/* What a token carries besides its number. */
struct ab_token {
    int number;
    struct ab_place place;
    struct ab_bytes text; /* names folded or unquoted, text without escapes, numbers as written; in the arena */
    bool is_quoted;
};

/* One run of lexer and grammar over one text. */
struct ab_parse {
    struct ab_bytes text;   /* borrowed */
    struct ab_error *error; /* borrowed; may be NULL */
    ab_err code;            /* the first failure */
    struct ab_memory memory;
    struct ab_arena arena;
    uint32_t nodes_count;
    void *scanner;      /* flex's */
    struct ab_place at; /* the lexer's position: the token being read */
    uint32_t next_line; /* the position after it */
    uint32_t next_column;
    struct ab_token previous;
    struct ab_token ahead;
    bool has_ahead;
    bool is_started;
    bool is_query;
    const char *later; /* CASE or DEDUPLICATE BY, when the token before began one: names, unless the grammar stops */
    struct ab_place later_place;
    struct ab_ast_list statements; /* the result: STREAMs, VIEWs and ZONEs, or one SELECT */
};

/* Runs the grammar over a catalog or (is_query) one SELECT; `parse` is set up here and needs ab_parse_fini in any case.
 */
AB_MUST_USE ab_err ab_parse_text(struct ab_parse *parse, struct ab_bytes text, bool is_query, struct ab_error *error);

/* Frees tree and lexer; idempotent. */
void ab_parse_fini(struct ab_parse *parse);

/* Records the first failure as "line L, column C: <format>" and returns its code. */
AB_MUST_USE ab_err ab_parse_fail(struct ab_parse *parse, struct ab_place place, ab_err code, const char *format, ...)
    AB_PRINTF(4, 5);

/* The same where no code can be returned: the parse stops at the next token. */
void ab_parse_mark(struct ab_parse *parse, struct ab_place place, ab_err code, const char *format, ...) AB_PRINTF(4, 5);

/* Zeroed memory in an arena. The text's size bounds what is asked for, so refusal by the system aborts. */
void *ab_parse_alloc(struct ab_arena *arena, size_t bytes);

/* A new node over the given children (each may be NULL). Never NULL: past a bound the parse has failed and the node is
 * without children. */
struct ab_ast *ab_ast_new(struct ab_parse *parse, enum ab_ast_kind kind, struct ab_place place, struct ab_bytes text,
    struct ab_ast *a, struct ab_ast *b, struct ab_ast *c);

/* Sets a node's list and counts its elements' depth in. */
void ab_ast_set_list(struct ab_parse *parse, struct ab_ast *node, struct ab_ast_list list);

/* Appends a node to a list. */
struct ab_ast_list ab_ast_append(struct ab_ast_list list, struct ab_ast *node);

/* -a, where the sign of a number becomes part of it. */
struct ab_ast *ab_ast_negate(struct ab_parse *parse, struct ab_place place, struct ab_ast *a);

/* a operation b. */
struct ab_ast *ab_ast_binary(
    struct ab_parse *parse, struct ab_place place, enum ab_ast_operation operation, struct ab_ast *a, struct ab_ast *b);

/* The bytes of the text between two offsets. */
static inline struct ab_bytes ab_parse_slice(const struct ab_parse *parse, struct ab_place place)
{
    return ab_bytes_of(parse->text.data + place.offset, place.end - place.offset);
}

/* The generated parts. */
int ab_lexer_read(struct ab_token *token, void *scanner);
AB_MUST_USE ab_err ab_lexer_open(struct ab_parse *parse);
void ab_lexer_close(struct ab_parse *parse);

#endif
