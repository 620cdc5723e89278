#include "common/wire/roles.h"

#include <stdint.h>
#include <string.h>

#define BIT(verb) (UINT32_C(1) << AB_VERB_##verb)

#define PRODUCER_VERBS (BIT(PING) | BIT(PRODUCE) | BIT(SOURCE_MARKS) | BIT(CATALOG))
#define QUERY_VERBS (BIT(PING) | BIT(QUERY) | BIT(DEAD_LETTERS) | BIT(CATALOG))
/* What a controller hands on to the one that acts, after it has looked at the caller's role. */
#define FORWARDED_VERBS                                                                                                \
    (BIT(APPLY) | BIT(JOB_SUBMIT) | BIT(JOB_LIST) | BIT(JOB_SHOW) | BIT(JOB_BEGIN) | BIT(JOB_PROGRESS) |               \
        BIT(JOB_PUBLISH) | BIT(NODE_CHANGE))

_Static_assert(AB_VERB_COUNT <= 32, "a role's verbs are bits of one word");

struct role_row {
    const char *name;
    uint32_t verbs; /* one bit a verb: all that is not listed is denied */
};

static const struct role_row roles[] = {
    [AB_ROLE_NONE] = {"none", 0},
    [AB_ROLE_PRODUCER] = {"producer", PRODUCER_VERBS},
    [AB_ROLE_QUERY] = {"query", QUERY_VERBS},
    [AB_ROLE_NODE] = {"node", BIT(PING) | BIT(STATUS) | BIT(CUT) | BIT(DIGEST) | BIT(RETIRE) | BIT(STATE_QUERY) |
                                  BIT(SHUTDOWN) | BIT(LOG_STATE) | BIT(CATALOG) | BIT(SOURCE_MARKS) | BIT(REPLICATE) |
                                  BIT(QUERY) | FORWARDED_VERBS},
    [AB_ROLE_BATCH] = {"batch", BIT(PING) | BIT(STATUS) | BIT(DIGEST) | BIT(JOB_BEGIN) | BIT(JOB_PROGRESS) |
                                    BIT(JOB_PUBLISH) | BIT(LOG_STATE) | BIT(CATALOG)},
    [AB_ROLE_OPERATOR] = {"operator", PRODUCER_VERBS | QUERY_VERBS | BIT(STATUS) | BIT(APPLY) | BIT(JOB_SUBMIT) |
                                          BIT(JOB_LIST) | BIT(JOB_SHOW) | BIT(SHUTDOWN) | BIT(NODE_CHANGE)},
};

#define ROLES_COUNT (sizeof roles / sizeof roles[0])

static const char *const verb_names[AB_VERB_COUNT] = {
    [AB_VERB_NONE] = "NONE",
    [AB_VERB_PING] = "PING",
    [AB_VERB_PRODUCE] = "PRODUCE",
    [AB_VERB_SOURCE_MARKS] = "SOURCE_MARKS",
    [AB_VERB_QUERY] = "QUERY",
    [AB_VERB_STATE_QUERY] = "STATE_QUERY",
    [AB_VERB_DEAD_LETTERS] = "DEAD_LETTERS",
    [AB_VERB_CATALOG] = "CATALOG",
    [AB_VERB_STATUS] = "STATUS",
    [AB_VERB_CUT] = "CUT",
    [AB_VERB_DIGEST] = "DIGEST",
    [AB_VERB_RETIRE] = "RETIRE",
    [AB_VERB_APPLY] = "APPLY",
    [AB_VERB_JOB_SUBMIT] = "JOB_SUBMIT",
    [AB_VERB_JOB_LIST] = "JOB_LIST",
    [AB_VERB_JOB_SHOW] = "JOB_SHOW",
    [AB_VERB_JOB_BEGIN] = "JOB_BEGIN",
    [AB_VERB_JOB_PROGRESS] = "JOB_PROGRESS",
    [AB_VERB_JOB_PUBLISH] = "JOB_PUBLISH",
    [AB_VERB_SHUTDOWN] = "SHUTDOWN",
    [AB_VERB_LOG_STATE] = "LOG_STATE",
    [AB_VERB_REPLICATE] = "REPLICATE",
    [AB_VERB_NODE_CHANGE] = "NODE_CHANGE",
};

bool ab_role_allows(enum ab_role role, enum ab_verb verb)
{
    if ((size_t)role >= ROLES_COUNT || verb <= AB_VERB_NONE || verb >= AB_VERB_COUNT) {
        return false;
    }
    return (roles[role].verbs >> verb & 1) != 0;
}

const char *ab_role_name(enum ab_role role)
{
    return (size_t)role < ROLES_COUNT ? roles[role].name : roles[AB_ROLE_NONE].name;
}

ab_err ab_role_parse(const char *name, enum ab_role *role)
{
    for (size_t i = AB_ROLE_NONE + 1; i < ROLES_COUNT; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            *role = (enum ab_role)i;
            return AB_OK;
        }
    }
    return AB_NOT_FOUND;
}

const char *ab_verb_name(enum ab_verb verb)
{
    return (size_t)verb < AB_VERB_COUNT ? verb_names[verb] : verb_names[AB_VERB_NONE];
}
