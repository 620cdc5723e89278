/* Catalog text, and the stored form of a catalog: whatever parses has canonical text that parses to itself, and a
 * stored form that comes back. */
#include "common/base/assert.h"
#include "common/base/buffer.h"
#include "common/catalog/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* The zones, then the streams, then the views, as canonical text. */
static void canonical_print(const struct ab_catalog *catalog, struct ab_buffer *out)
{
    for (uint32_t i = 0; i < catalog->zones_count; i++) {
        ab_buffer_put_format(out, "CREATE TIME ZONE '%s' AS '", catalog->zones[i].name);
        ab_zone_encode(&catalog->zones[i], out);
        ab_buffer_put_format(out, "';\n");
    }
    for (uint32_t i = 0; i < catalog->streams_count; i++) {
        ab_buffer_put_format(out, "%s;\n", catalog->streams[i].definition);
    }
    for (uint32_t i = 0; i < catalog->views_count; i++) {
        ab_buffer_put_format(out, "%s;\n", catalog->views[i].definition);
    }
}

static void canonical_check(const struct ab_catalog *catalog)
{
    struct ab_buffer once = {0};
    struct ab_buffer twice = {0};
    struct ab_catalog *again = NULL;
    canonical_print(catalog, &once);
    if (once.bytes <= AB_CATALOG_TEXT_BYTES_MAX) {
        AB_ASSERT(ab_catalog_parse(ab_buffer_view(&once), &again, NULL) == AB_OK);
        canonical_print(again, &twice);
        AB_ASSERT(ab_bytes_equal(ab_buffer_view(&once), ab_buffer_view(&twice)));
    }
    ab_catalog_release(again);
    ab_buffer_fini(&once);
    ab_buffer_fini(&twice);
}

static void stored_check(const struct ab_catalog *catalog)
{
    struct ab_buffer stored = {0};
    struct ab_buffer changes = {0};
    struct ab_catalog *again = NULL;
    struct ab_catalog *next = NULL;
    ab_catalog_encode(catalog, &stored);
    AB_ASSERT(ab_catalog_decode(ab_buffer_view(&stored), &again, NULL) == AB_OK);
    AB_ASSERT(ab_hash128_equal(again->hash, catalog->hash));
    AB_ASSERT(ab_catalog_evolve(ab_bytes_of_text(again->text), catalog, &next, &changes, NULL) != AB_OK ||
              changes.bytes == 0);
    ab_catalog_release(again);
    ab_catalog_release(next);
    ab_buffer_fini(&stored);
    ab_buffer_fini(&changes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ab_catalog *catalog = NULL;
    struct ab_error error = {0};
    if (ab_catalog_parse(ab_bytes_of(data, bytes), &catalog, &error) == AB_OK) {
        canonical_check(catalog);
        stored_check(catalog);
        ab_catalog_release(catalog);
    } else {
        AB_ASSERT(error.text[0] != '\0');
    }
    catalog = NULL;
    if (ab_catalog_decode(ab_bytes_of(data, bytes), &catalog, NULL) == AB_OK) {
        ab_catalog_release(catalog);
    }
    return 0;
}
