#include "common/catalog/catalog.h"

#include "common/catalog/check.h"

static struct ab_place place_at(const struct ab_catalog *catalog, bool is_view, uint32_t i)
{
    return is_view ? catalog->private_part->view_places[i] : catalog->private_part->stream_places[i];
}

/* A stream and a view may not share a name either: both stand after FROM. */
static ab_err names_check(struct ab_parse *parse, const struct ab_catalog *catalog, struct ab_bytes name,
    struct ab_place place, uint32_t streams_count, uint32_t views_count)
{
    for (uint32_t i = 0; i < streams_count + views_count; i++) {
        bool is_view = i >= streams_count;
        uint32_t at = is_view ? i - streams_count : i;
        const char *other = is_view ? catalog->views[at].name : catalog->streams[at].name;
        if (ab_bytes_equal(name, ab_bytes_of_text(other))) {
            return ab_parse_fail(parse, place, AB_SYNTAX, "\"%s\" is already the name of a %s, on line %u", other,
                is_view ? "view" : "stream", place_at(catalog, is_view, at).line);
        }
    }
    return AB_OK;
}

static void catalog_reserve(struct ab_catalog *catalog, uint32_t count)
{
    struct ab_catalog_private *part = catalog->private_part;
    struct ab_arena *arena = &part->arena;
    catalog->streams = ab_parse_alloc(arena, count * sizeof(*catalog->streams));
    catalog->views = ab_parse_alloc(arena, count * sizeof(*catalog->views));
    part->stream_places = ab_parse_alloc(arena, count * sizeof(*part->stream_places));
    part->column_places = ab_parse_alloc(arena, count * sizeof(*part->column_places));
    part->event_places = ab_parse_alloc(arena, count * sizeof(*part->event_places));
    part->key_places = ab_parse_alloc(arena, count * sizeof(*part->key_places));
    part->view_places = ab_parse_alloc(arena, count * sizeof(*part->view_places));
}

static ab_err zones_check(struct ab_parse *parse, struct ab_catalog *catalog)
{
    struct ab_arena *arena = &catalog->private_part->arena;
    catalog->zones = ab_parse_alloc(arena, parse->statements.count * sizeof(*catalog->zones));
    for (const struct ab_ast *ast = parse->statements.first; ast != NULL; ast = ast->next) {
        char why[200];
        if (ast->kind != AB_AST_ZONE) {
            continue;
        }
        if (ab_catalog_zone(catalog, ast->text) != NULL) {
            return ab_parse_fail(parse, ast->place, AB_SYNTAX, "the time zone \"%.*s\" stands here twice",
                (int)ast->text.bytes, ast->text.data);
        }
        if (ab_zone_decode(ast->text, ast->a->text, arena, &catalog->zones[catalog->zones_count], why) != AB_OK) {
            return ab_parse_fail(parse, ast->a->place, AB_SYNTAX, "the rules of a time zone: %s", why);
        }
        catalog->zones_count++;
    }
    return AB_OK;
}

/* Streams before views, so that a view may stand before its stream; zones before both. */
static ab_err catalog_check(struct ab_parse *parse, struct ab_catalog *catalog)
{
    struct ab_catalog_private *part = catalog->private_part;
    catalog_reserve(catalog, parse->statements.count);
    AB_TRY(zones_check(parse, catalog));
    for (const struct ab_ast *ast = parse->statements.first; ast != NULL; ast = ast->next) {
        if (ast->kind != AB_AST_STREAM) {
            continue;
        }
        AB_TRY(names_check(parse, catalog, ast->text, ast->place, catalog->streams_count, 0));
        part->stream_places[catalog->streams_count] = ast->place;
        AB_TRY(ab_check_stream(parse, catalog, ast, &catalog->streams[catalog->streams_count]));
        catalog->streams[catalog->streams_count].id = catalog->streams_count + 1;
        catalog->streams_count++;
    }
    for (const struct ab_ast *ast = parse->statements.first; ast != NULL; ast = ast->next) {
        if (ast->kind != AB_AST_VIEW) {
            continue;
        }
        struct ab_view *view = &catalog->views[catalog->views_count];
        AB_TRY(names_check(parse, catalog, ast->text, ast->place, catalog->streams_count, catalog->views_count));
        part->view_places[catalog->views_count] = ast->place;
        AB_TRY(ab_check_view(parse, catalog, ast, view));
        view->id = view->uid = ++catalog->views_count;
        view->definition_version = 1;
    }
    part->next_stream_id = catalog->streams_count + 1;
    part->next_view_id = part->next_view_uid = catalog->views_count + 1;
    return AB_OK;
}

ab_err ab_catalog_parse(struct ab_bytes text, struct ab_catalog **catalog, struct ab_error *error)
{
    struct ab_parse parse;
    struct ab_catalog *made = ab_new(struct ab_catalog);
    made->private_part = ab_new(struct ab_catalog_private);
    atomic_init(&made->private_part->references, 1);
    ab_arena_init(&made->private_part->arena, NULL, 0);
    ab_err code = ab_parse_text(&parse, text, false, error);
    if (code == AB_OK) {
        code = catalog_check(&parse, made);
    }
    ab_parse_fini(&parse);
    if (code != AB_OK) {
        ab_catalog_release(made);
        return code;
    }
    made->text = ab_parse_alloc(&made->private_part->arena, text.bytes + 1);
    if (text.bytes > 0) {
        memcpy(made->text, text.data, text.bytes);
    }
    made->hash = ab_hash128(AB_HASH_CATALOG, text);
    made->version = 1;
    *catalog = made;
    return AB_OK;
}

struct ab_catalog *ab_catalog_acquire(struct ab_catalog *catalog)
{
    atomic_fetch_add(&catalog->private_part->references, 1);
    return catalog;
}

void ab_catalog_release(struct ab_catalog *catalog)
{
    if (catalog != NULL && atomic_fetch_sub(&catalog->private_part->references, 1) == 1) {
        ab_arena_fini(&catalog->private_part->arena);
        ab_delete(catalog->private_part);
        ab_delete(catalog);
    }
}

const struct ab_stream *ab_catalog_stream(const struct ab_catalog *catalog, struct ab_bytes name)
{
    for (uint32_t i = 0; i < catalog->streams_count; i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(catalog->streams[i].name))) {
            return &catalog->streams[i];
        }
    }
    return NULL;
}

const struct ab_view *ab_catalog_view(const struct ab_catalog *catalog, struct ab_bytes name)
{
    for (uint32_t i = 0; i < catalog->views_count; i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(catalog->views[i].name))) {
            return &catalog->views[i];
        }
    }
    return NULL;
}

const struct ab_zone *ab_catalog_zone(const struct ab_catalog *catalog, struct ab_bytes name)
{
    for (uint32_t i = 0; i < catalog->zones_count; i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(catalog->zones[i].name))) {
            return &catalog->zones[i];
        }
    }
    return NULL;
}

const struct ab_view *ab_catalog_view_by_uid(const struct ab_catalog *catalog, uint32_t uid)
{
    for (uint32_t i = 0; i < catalog->views_count; i++) {
        if (catalog->views[i].uid == uid) {
            return &catalog->views[i];
        }
    }
    return NULL;
}

int ab_stream_column_index(const struct ab_stream *stream, struct ab_bytes name)
{
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        if (ab_bytes_equal(name, ab_bytes_of_text(stream->columns[i].name))) {
            return (int)i;
        }
    }
    return -1;
}

/* Edit distance (Levenshtein, with a swap of neighbours as one step), or `limit` + 1 when it is more. Both at most
 * NAME_BYTES_MAX. */
static unsigned edit_distance(struct ab_bytes a, struct ab_bytes b, unsigned limit)
{
    unsigned rows[3][AB_CATALOG_NAME_BYTES_MAX + 2];
    for (unsigned j = 0; j <= b.bytes; j++) {
        rows[0][j] = j;
    }
    for (unsigned i = 1; i <= a.bytes; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *above_two = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b.bytes; j++) {
            bool is_same = a.data[i - 1] == b.data[j - 1];
            unsigned best = above[j - 1] + (is_same ? 0 : 1);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool is_swap = i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1];
            if (is_swap && above_two[j - 2] + 1 < best) {
                best = above_two[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    unsigned distance = rows[a.bytes % 3][b.bytes];
    return distance > limit ? limit + 1 : distance;
}

const char *ab_catalog_nearest(struct ab_bytes name, const char *const *names, size_t names_count)
{
    const char *nearest = NULL;
    if (name.bytes < 2 || name.bytes > AB_CATALOG_NAME_BYTES_MAX) {
        return NULL;
    }
    unsigned best = (unsigned)(name.bytes + 2) / 3 + 1;
    for (size_t i = 0; i < names_count; i++) {
        struct ab_bytes other = ab_bytes_of_text(names[i]);
        size_t gap = other.bytes > name.bytes ? other.bytes - name.bytes : name.bytes - other.bytes;
        if (other.bytes > AB_CATALOG_NAME_BYTES_MAX || gap >= best) {
            continue;
        }
        unsigned distance = edit_distance(name, other, best);
        if (distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}
