/* configured: the session that a node's configuration asks for. */
#ifndef ANABRANCH_COMMON_COORDINATION_CONFIGURED_H
#define ANABRANCH_COMMON_COORDINATION_CONFIGURED_H

#include "common/coordination/coordination.h"

#include "common/config/config.h"

/* Opens a session at the address of `config` with its credential and session timeout, or at
 * local:<directory>/coordination when it names none. Errors of ab_coordination_open_with and
 * ab_coordination_credential_read. */
AB_MUST_USE ab_err ab_coordination_open_configured(const struct ab_config *config, const char *directory,
    struct ab_coordination **session, struct ab_error *error);

#endif
