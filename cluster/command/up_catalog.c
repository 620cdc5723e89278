#include "cluster/command/command.h"
#include "cluster/command/up.h"
#include "common/catalog/catalog.h"
#include "common/coordination/coordination.h"

ab_err ab_up_catalog_load(struct ab_up *up, struct ab_error *error)
{
    const char *path = ab_arguments_value(up->arguments, "--catalog");
    struct ab_catalog *catalog = NULL;
    if (path == NULL) {
        return AB_OK;
    }
    AB_TRY(ab_command_file(path, AB_CATALOG_TEXT_BYTES_MAX, &up->catalog_text, error));
    ab_err err = ab_catalog_evolve(ab_buffer_view(&up->catalog_text), NULL, &catalog, NULL, error);
    ab_catalog_release(catalog);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "%s", path);
}

static ab_err catalog_create(const struct ab_up *up, struct ab_coordination *coordination, struct ab_error *error)
{
    struct ab_catalog *catalog = NULL;
    struct ab_buffer encoded;
    if (up->catalog_text.bytes == 0) {
        return ab_error_set(error, AB_USAGE, "the cluster has no catalog yet: give --catalog FILE");
    }
    AB_TRY(ab_catalog_evolve(ab_buffer_view(&up->catalog_text), NULL, &catalog, NULL, error));
    catalog->version = 1;
    ab_buffer_init(&encoded, NULL, 0);
    ab_catalog_encode(catalog, &encoded);
    const struct ab_coordination_op ops[] = {
        {.kind = AB_COORDINATION_CREATE, .path = "/catalogs"},
        {.kind = AB_COORDINATION_CREATE, .path = "/catalogs/1", .value = ab_buffer_view(&encoded)},
        {.kind = AB_COORDINATION_CREATE, .path = "/catalog", .value = ab_buffer_view(&encoded)},
    };
    ab_err err = ab_coordination_multi(coordination, ops, 3, NULL, error);
    ab_buffer_fini(&encoded);
    ab_catalog_release(catalog);
    return err;
}

/* The same catalog again changes nothing; another one is not for `up` to apply. */
static ab_err catalog_compare(const struct ab_up *up, struct ab_bytes encoded, struct ab_error *error)
{
    struct ab_catalog *current = NULL;
    struct ab_catalog *next = NULL;
    struct ab_buffer changes;
    if (up->catalog_text.bytes == 0) {
        return AB_OK;
    }
    AB_TRY(ab_catalog_decode(encoded, &current, error));
    ab_buffer_init(&changes, NULL, 0);
    ab_err err = ab_catalog_evolve(ab_buffer_view(&up->catalog_text), current, &next, &changes, error);
    if (err == AB_OK && changes.bytes > 0) {
        err = ab_error_set(error, AB_UNSUPPORTED,
            "the catalog differs from the one in force:\n%sstart without --catalog, then `anabranch apply %s --data "
            "%s`",
            ab_buffer_text(&changes), ab_arguments_value(up->arguments, "--catalog"), up->directory);
    }
    ab_catalog_release(next);
    ab_catalog_release(current);
    ab_buffer_fini(&changes);
    return err;
}

ab_err ab_up_catalog_settle(const struct ab_up *up, struct ab_coordination *coordination, struct ab_error *error)
{
    struct ab_buffer encoded;
    ab_buffer_init(&encoded, NULL, AB_COORDINATION_VALUE_BYTES_MAX);
    ab_err err = ab_coordination_get(coordination, "/catalog", &encoded, NULL, NULL);
    if (err == AB_NOT_FOUND) {
        err = catalog_create(up, coordination, error);
    } else if (err == AB_OK) {
        err = catalog_compare(up, ab_buffer_view(&encoded), error);
    } else {
        err = ab_error_set(
            error, err, "the catalog of the cluster in %s cannot be read: %s", up->directory, ab_err_text(err));
    }
    ab_buffer_fini(&encoded);
    return err;
}
