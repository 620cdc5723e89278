#include "common/coordination/tree.h"

/* What a node is counted with besides path and value; the least bytes of an encoded one. */
enum { TREE_NODE_BYTES = sizeof(struct ab_tree_node) + 32, TREE_ENCODED_BYTES_MIN = 1 + 1 + 1 + 4 * 8 };

static struct ab_bytes path_of(const struct ab_tree_node *node)
{
    return ab_bytes_of_text(node->path);
}

/* Index of the first node whose path is not below `path` in byte order. */
static size_t place_of(const struct ab_tree *tree, struct ab_bytes path)
{
    size_t low = 0;
    size_t high = tree->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ab_bytes_compare(path_of(&tree->nodes[middle]), path) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void node_fini(struct ab_tree_node *node)
{
    ab_delete(node->path);
    ab_delete(node->value);
}

void ab_tree_fini(struct ab_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        node_fini(&tree->nodes[i]);
    }
    ab_delete(tree->nodes);
    *tree = (struct ab_tree){0};
}

struct ab_tree_node *ab_tree_find(const struct ab_tree *tree, struct ab_bytes path)
{
    size_t place = place_of(tree, path);
    bool is_there = place < tree->count && ab_bytes_equal(path_of(&tree->nodes[place]), path);
    return is_there ? &tree->nodes[place] : NULL;
}

struct ab_bytes ab_tree_parent(struct ab_bytes path)
{
    size_t slash = path.bytes;
    while (slash > 1 && path.data[slash - 1] != '/') {
        slash--;
    }
    return ab_bytes_of(path.data, slash > 1 ? slash - 1 : 1);
}

size_t ab_tree_below(const struct ab_tree *tree, struct ab_bytes path, size_t *until)
{
    bool is_root = path.bytes == 1;
    if (is_root) {
        *until = tree->count;
        return 0;
    }
    /* Everything below is "<path>/...", and '0' is the byte after '/'. */
    char *bound = ab_new_format("%.*s/", (int)path.bytes, (const char *)path.data);
    size_t from = place_of(tree, ab_bytes_of(bound, path.bytes + 1));
    bound[path.bytes] = '0';
    *until = place_of(tree, ab_bytes_of(bound, path.bytes + 1));
    ab_delete(bound);
    return from;
}

/* ---- effects ---- */

static uint8_t *value_copy(struct ab_bytes value)
{
    uint8_t *copy = ab_new_bytes(value.bytes + 1);
    if (value.bytes > 0) {
        memcpy(copy, value.data, value.bytes);
    }
    return copy;
}

/* Puts a node at its place; what it owns passes to the tree. */
static void node_insert(struct ab_tree *tree, size_t place, struct ab_tree_node node)
{
    if (tree->count == tree->capacity) {
        tree->capacity = tree->capacity == 0 ? 64 : tree->capacity * 2;
        tree->nodes = ab_renew_bytes(tree->nodes, tree->capacity * sizeof(*tree->nodes));
    }
    memmove(tree->nodes + place + 1, tree->nodes + place, (tree->count - place) * sizeof(*tree->nodes));
    tree->nodes[place] = node;
    tree->count++;
    tree->bytes += TREE_NODE_BYTES + strlen(node.path) + node.value_bytes;
}

static ab_err create_apply(struct ab_tree *tree, const struct ab_tree_effect *effect, uint64_t revision)
{
    if (ab_tree_find(tree, effect->path) != NULL) {
        return AB_EXISTS;
    }
    struct ab_bytes parent = ab_tree_parent(effect->path);
    if (parent.bytes > 1) {
        const struct ab_tree_node *node = ab_tree_find(tree, parent);
        if (node == NULL) {
            return AB_NOT_FOUND;
        }
        if (node->owner != 0) {
            return AB_USAGE;
        }
    }
    size_t bytes = TREE_NODE_BYTES + effect->path.bytes + effect->value.bytes;
    if (tree->bytes + bytes > AB_COORDINATION_TREE_BYTES_MAX) {
        return AB_FULL;
    }
    struct ab_tree_node node = {.path = ab_new_text_of(effect->path),
        .value = value_copy(effect->value),
        .value_bytes = effect->value.bytes,
        .created_revision = revision,
        .modified_revision = revision,
        .owner = effect->owner};
    node_insert(tree, place_of(tree, effect->path), node);
    return AB_OK;
}

static ab_err set_apply(struct ab_tree *tree, const struct ab_tree_effect *effect, uint64_t revision)
{
    struct ab_tree_node *node = ab_tree_find(tree, effect->path);
    if (node == NULL) {
        return AB_NOT_FOUND;
    }
    size_t bytes = tree->bytes - node->value_bytes + effect->value.bytes;
    if (bytes > AB_COORDINATION_TREE_BYTES_MAX) {
        return AB_FULL;
    }
    uint8_t *value = value_copy(effect->value);
    ab_delete(node->value);
    node->value = value;
    node->value_bytes = effect->value.bytes;
    node->version++;
    node->modified_revision = revision;
    tree->bytes = bytes;
    return AB_OK;
}

static ab_err delete_apply(struct ab_tree *tree, const struct ab_tree_effect *effect)
{
    struct ab_tree_node *node = ab_tree_find(tree, effect->path);
    if (node == NULL) {
        return AB_NOT_FOUND;
    }
    size_t until = 0;
    if (ab_tree_below(tree, effect->path, &until) < until) {
        return AB_EXISTS;
    }
    tree->bytes -= TREE_NODE_BYTES + strlen(node->path) + node->value_bytes;
    node_fini(node);
    tree->count--;
    size_t place = (size_t)(node - tree->nodes);
    memmove(node, node + 1, (tree->count - place) * sizeof(*node));
    return AB_OK;
}

ab_err ab_tree_apply(struct ab_tree *tree, const struct ab_tree_effect *effect, uint64_t revision)
{
    switch (effect->kind) {
    case AB_COORDINATION_CREATE:
        return create_apply(tree, effect, revision);
    case AB_COORDINATION_SET:
        return set_apply(tree, effect, revision);
    case AB_COORDINATION_DELETE:
        return delete_apply(tree, effect);
    case AB_COORDINATION_CHECK:
        break;
    }
    return AB_USAGE;
}

/* ---- the whole tree ---- */

void ab_tree_encode(const struct ab_tree *tree, struct ab_buffer *out)
{
    ab_buffer_put_u64(out, tree->revision);
    ab_buffer_put_varint(out, tree->count);
    for (size_t i = 0; i < tree->count; i++) {
        const struct ab_tree_node *node = &tree->nodes[i];
        ab_buffer_put_blob(out, path_of(node));
        ab_buffer_put_blob(out, ab_bytes_of(node->value, node->value_bytes));
        ab_buffer_put_u64(out, node->version);
        ab_buffer_put_u64(out, node->created_revision);
        ab_buffer_put_u64(out, node->modified_revision);
        ab_buffer_put_u64(out, node->owner);
    }
}

static ab_err node_decode(struct ab_reader *reader, struct ab_tree *tree)
{
    struct ab_tree_effect effect = {.kind = AB_COORDINATION_CREATE, .path = ab_reader_blob(reader)};
    effect.value = ab_reader_blob(reader);
    uint64_t version = ab_reader_u64(reader);
    uint64_t created_revision = ab_reader_u64(reader);
    uint64_t modified_revision = ab_reader_u64(reader);
    effect.owner = ab_reader_u64(reader);
    bool is_path = effect.path.bytes > 1 && memchr(effect.path.data, 0, effect.path.bytes) == NULL;
    if (reader->has_failed || !is_path || ab_tree_apply(tree, &effect, created_revision) != AB_OK) {
        return AB_CORRUPT;
    }
    struct ab_tree_node *node = ab_tree_find(tree, effect.path);
    node->version = version;
    node->modified_revision = modified_revision;
    return AB_OK;
}

ab_err ab_tree_decode(struct ab_bytes bytes, struct ab_tree *tree)
{
    struct ab_reader reader = ab_reader_of(bytes);
    uint64_t revision = ab_reader_u64(&reader);
    uint64_t count = ab_reader_varint(&reader);
    ab_err err = count > ab_reader_left(&reader) / TREE_ENCODED_BYTES_MIN ? AB_CORRUPT : AB_OK;
    for (uint64_t i = 0; i < count && err == AB_OK; i++) {
        err = node_decode(&reader, tree);
    }
    if (err == AB_OK) {
        err = ab_reader_finish(&reader);
    }
    if (err != AB_OK) {
        ab_tree_fini(tree);
        return AB_CORRUPT;
    }
    tree->revision = revision;
    return AB_OK;
}
