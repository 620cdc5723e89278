/* check: from the tree of a catalog to its typed streams and views. Inside of common/catalog only. */
#ifndef ANABRANCH_COMMON_CATALOG_CHECK_H
#define ANABRANCH_COMMON_CATALOG_CHECK_H

#include "common/catalog/catalog.h"
#include "common/catalog/node.h"

/* What a catalog owns beside its public face. */
struct ab_catalog_private {
    atomic_uint references;
    struct ab_arena arena;
    struct ab_place *stream_places;  /* per stream: its name in the text */
    struct ab_place **column_places; /* per stream, per column */
    struct ab_place *event_places;   /* per stream: EVENT TIME, PARTITION KEY */
    struct ab_place *key_places;
    struct ab_place *view_places;
    uint32_t next_stream_id; /* never given before */
    uint32_t next_view_id;
    uint32_t next_view_uid;
};

/* Fills one stream; the arrays of places have room for it. */
AB_MUST_USE ab_err ab_check_stream(
    struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_stream *stream);

/* Fills one view; all streams are done. */
AB_MUST_USE ab_err ab_check_view(
    struct ab_parse *parse, struct ab_catalog *catalog, const struct ab_ast *ast, struct ab_view *view);

/* Fills kind, arguments, parameters, filter and type of a measure from its call. */
AB_MUST_USE ab_err ab_check_measure(
    const struct ab_scope *scope, const struct ab_ast *call, struct ab_measure *measure);

/* Whether a measure's value depends on the length of the window it is finished over. */
bool ab_measure_needs_window(enum ab_measure_kind kind);

/* Whether a kind's parameter is a half-life. */
bool ab_measure_decays(enum ab_measure_kind kind);

/* Takes a constant that says which quantile: a number from 0 to 1 becomes a DECIMAL without zeros at its end, so that
 * equal shares are equal parameters. */
AB_MUST_USE ab_err ab_check_share(struct ab_parse *parse, struct ab_place place, struct ab_value *value);

/* Refuses names that are too long, empty, hold control characters or (for files) begin with '_' or '.', or hold '/'. */
AB_MUST_USE ab_err ab_check_new_name(
    struct ab_parse *parse, struct ab_bytes name, struct ab_place place, const char *what, bool is_file);

/* Copies a name into the catalog's arena. */
const char *ab_check_copy_name(struct ab_catalog *catalog, struct ab_bytes name);

/* The canonical SQL of a zone's rules, appended. */
void ab_print_zone(const struct ab_zone *zone, struct ab_buffer *out);

/* The canonical SQL, in the catalog's arena. */
char *ab_print_stream(struct ab_catalog *catalog, const struct ab_stream *stream);
char *ab_print_view(struct ab_catalog *catalog, const struct ab_view *view);

/* The canonical SQL of one aggregate call. */
char *ab_print_measure(struct ab_catalog *catalog, const struct ab_measure *measure);

#endif
