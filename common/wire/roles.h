/* roles: which key may use which verb. Default deny; one table, in roles.c. */
#ifndef ANABRANCH_COMMON_WIRE_ROLES_H
#define ANABRANCH_COMMON_WIRE_ROLES_H

#include "common/base/error.h"

#include <stdbool.h>

/* Numbers are part of key files' meaning; never reused. */
enum ab_role {
    AB_ROLE_NONE = 0,
    AB_ROLE_PRODUCER = 1, /* produce, source marks, catalog, ping */
    AB_ROLE_QUERY = 2,    /* query, catalog, dead letters, ping */
    AB_ROLE_NODE = 3,     /* daemons among themselves */
    AB_ROLE_BATCH = 4,    /* digest, job begin, progress, publish */
    AB_ROLE_OPERATOR = 5, /* status, apply, jobs, shutdown, and all that producer and query may */
};

/* The verbs of the protocol; equal to anabranch.Verb. */
enum ab_verb {
    AB_VERB_NONE = 0,
    AB_VERB_PING = 1,
    AB_VERB_PRODUCE = 2,
    AB_VERB_SOURCE_MARKS = 3,
    AB_VERB_QUERY = 4,
    AB_VERB_STATE_QUERY = 5,
    AB_VERB_DEAD_LETTERS = 6,
    AB_VERB_CATALOG = 7,
    AB_VERB_STATUS = 8,
    AB_VERB_CUT = 9,
    AB_VERB_DIGEST = 10,
    AB_VERB_RETIRE = 11,
    AB_VERB_APPLY = 12,
    AB_VERB_JOB_SUBMIT = 13,
    AB_VERB_JOB_LIST = 14,
    AB_VERB_JOB_SHOW = 15,
    AB_VERB_JOB_BEGIN = 16,
    AB_VERB_JOB_PROGRESS = 17,
    AB_VERB_JOB_PUBLISH = 18,
    AB_VERB_SHUTDOWN = 19,
    AB_VERB_LOG_STATE = 20,
    AB_VERB_REPLICATE = 21,
    AB_VERB_NODE_CHANGE = 22,
    AB_VERB_COUNT,
};

/* Letters that one answer to AB_VERB_DEAD_LETTERS may hold: a higher "limit" is refused. */
#define AB_DEAD_LETTERS_MAX 10000u

/* True when a key of `role` may use `verb`. */
bool ab_role_allows(enum ab_role role, enum ab_verb verb);

/* "producer", "query", "node", "batch", "operator"; a static string. */
const char *ab_role_name(enum ab_role role);

/* Reads a role's name; AB_NOT_FOUND. */
AB_MUST_USE ab_err ab_role_parse(const char *name, enum ab_role *role);

/* "PRODUCE" …; a static string. */
const char *ab_verb_name(enum ab_verb verb);

#endif
