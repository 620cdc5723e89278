#include "common/catalog/ast.h"

#include "common/base/assert.h"

void *ab_parse_alloc(struct ab_arena *arena, size_t bytes)
{
    void *block = ab_arena_zalloc(arena, bytes == 0 ? 1 : bytes);
    AB_ASSERT(block != NULL);
    return block;
}

/* Raises the node's depth over a child's; true when that is still allowed. */
static bool depth_cover(struct ab_ast *node, const struct ab_ast *child)
{
    if (child != NULL && child->depth >= node->depth) {
        node->depth = child->depth + 1;
    }
    return node->depth <= AB_AST_DEPTH_MAX;
}

struct ab_ast *ab_ast_new(struct ab_parse *parse, enum ab_ast_kind kind, struct ab_place place, struct ab_bytes text,
    struct ab_ast *a, struct ab_ast *b, struct ab_ast *c)
{
    struct ab_ast *node = ab_parse_alloc(&parse->arena, sizeof(*node));
    *node = (struct ab_ast){.kind = kind, .place = place, .text = text, .depth = 1};
    bool is_shallow = depth_cover(node, a);
    is_shallow = depth_cover(node, b) && is_shallow;
    is_shallow = depth_cover(node, c) && is_shallow;
    if (!is_shallow) {
        ab_parse_mark(parse, place, AB_SYNTAX, "nested deeper than %u levels", AB_AST_DEPTH_MAX);
        node->depth = 1;
        return node;
    }
    if (++parse->nodes_count > AB_AST_NODES_MAX) {
        ab_parse_mark(parse, place, AB_SYNTAX, "more than %u parts in one text", AB_AST_NODES_MAX);
    }
    node->a = a;
    node->b = b;
    node->c = c;
    return node;
}

void ab_ast_set_list(struct ab_parse *parse, struct ab_ast *node, struct ab_ast_list list)
{
    for (const struct ab_ast *child = list.first; child != NULL; child = child->next) {
        if (!depth_cover(node, child)) {
            ab_parse_mark(parse, node->place, AB_SYNTAX, "nested deeper than %u levels", AB_AST_DEPTH_MAX);
            node->depth = 1;
            return;
        }
    }
    node->list = list;
}

struct ab_ast_list ab_ast_append(struct ab_ast_list list, struct ab_ast *node)
{
    if (list.last == NULL) {
        list.first = node;
    } else {
        list.last->next = node;
    }
    list.last = node;
    list.count++;
    return list;
}

struct ab_ast *ab_ast_negate(struct ab_parse *parse, struct ab_place place, struct ab_ast *a)
{
    if (a->kind == AB_AST_NUMBER && a->text.data[0] != '-') {
        uint8_t *text = ab_parse_alloc(&parse->arena, a->text.bytes + 1);
        text[0] = '-';
        memcpy(text + 1, a->text.data, a->text.bytes);
        return ab_ast_new(parse, AB_AST_NUMBER, place, ab_bytes_of(text, a->text.bytes + 1), NULL, NULL, NULL);
    }
    return ab_ast_new(parse, AB_AST_NEGATE, place, (struct ab_bytes){0}, a, NULL, NULL);
}

struct ab_ast *ab_ast_binary(
    struct ab_parse *parse, struct ab_place place, enum ab_ast_operation operation, struct ab_ast *a, struct ab_ast *b)
{
    struct ab_ast *node = ab_ast_new(parse, AB_AST_BINARY, place, (struct ab_bytes){0}, a, b, NULL);
    node->operation = operation;
    return node;
}
