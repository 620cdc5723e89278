#include "cluster/command/command.h"
#include "common/catalog/catalog.h"

#include <stdio.h>

static ab_err check_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    struct ab_buffer text;
    struct ab_catalog *catalog = NULL;
    const char *path = arguments->words[0];
    ab_err err = ab_command_file(path, AB_CATALOG_TEXT_BYTES_MAX, &text, error);
    if (err == AB_OK) {
        err = ab_catalog_evolve(ab_buffer_view(&text), NULL, &catalog, NULL, error);
        err = err == AB_OK ? AB_OK : ab_error_wrap(error, err, "%s", path);
    }
    for (uint32_t s = 0; err == AB_OK && s < catalog->streams_count; s++) {
        (void)printf("stream %s: %u columns\n", catalog->streams[s].name, catalog->streams[s].columns_count);
    }
    for (uint32_t v = 0; err == AB_OK && v < catalog->views_count; v++) {
        const struct ab_view *view = &catalog->views[v];
        (void)printf("view %s of %s: %u keys, %u measures%s\n", view->name, view->stream->name, view->keys_count,
            view->measures_count, view->pane_us > 0 ? ", in windows" : "");
    }
    if (err == AB_OK) {
        (void)printf("%s: good\n", path);
    }
    ab_catalog_release(catalog);
    ab_buffer_fini(&text);
    return err;
}

static const struct ab_option check_options[] = {{0}};

const struct ab_command ab_command_check = {
    .name = "check",
    .words = "FILE",
    .summary = "check a catalog; needs no cluster",
    .options = check_options,
    .words_min = 1,
    .words_max = 1,
    .run = check_run,
};
