#include "common/coordination/configured.h"

#include "common/base/memory.h"
#include "common/base/time.h"

#include <string.h>

/* The credential's file, relative to the data directory unless it is absolute. */
static ab_err credential_read(
    const struct ab_config *config, const char *directory, struct ab_buffer *credential, struct ab_error *error)
{
    const char *named = config->cluster.credential;
    if (named[0] == '\0') {
        return AB_OK;
    }
    char *path = named[0] == '/' ? ab_new_text(named) : ab_new_format("%s/%s", directory, named);
    ab_err err = ab_coordination_credential_read(path, credential, error);
    ab_delete(path);
    return err;
}

ab_err ab_coordination_open_configured(
    const struct ab_config *config, const char *directory, struct ab_coordination **session, struct ab_error *error)
{
    if (config->cluster.coordination[0] == '\0') {
        char *address = ab_new_format("local:%s/coordination", directory);
        ab_err err = ab_coordination_open(address, session, error);
        ab_delete(address);
        return err;
    }
    struct ab_buffer credential = {0};
    ab_err err = credential_read(config, directory, &credential, error);
    if (err == AB_OK) {
        const struct ab_coordination_options options = {.credential = ab_buffer_view(&credential),
            .session_timeout_us = config->cluster.session_timeout_ms * AB_US_PER_MS};
        err = ab_coordination_open_with(config->cluster.coordination, &options, session, error);
    }
    if (credential.bytes > 0) {
        explicit_bzero(credential.data, credential.bytes);
    }
    ab_buffer_fini(&credential);
    return err;
}
