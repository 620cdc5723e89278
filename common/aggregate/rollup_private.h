/* rollup_private: the inside of a rollup, shared by rollup.c (accumulating) and rollup_finish.c (finishing). */
#ifndef ANABRANCH_COMMON_AGGREGATE_ROLLUP_PRIVATE_H
#define ANABRANCH_COMMON_AGGREGATE_ROLLUP_PRIVATE_H

#include "common/aggregate/finish.h"
#include "common/aggregate/group_store.h"
#include "common/aggregate/pane.h"
#include "common/aggregate/rollup.h"

/* Groups that WHERE is evaluated over at once. */
#define AB_ROLLUP_PENDING_MAX 1024u

/* A stored group that waits for WHERE. */
struct pending_group {
    struct ab_value *values; /* by view key; in the pending arena */
    ab_time_us pane;
    ab_time_us mark;                   /* of the window that WHERE judges next, where windows share panes */
    struct ab_bytes row;               /* validated copy in the pending arena, or */
    const struct ab_group_store *from; /* borrowed: the group stands in a table */
    size_t entry;
};

struct ab_rollup {
    const struct ab_query *query;             /* borrowed */
    const struct ab_aggregation *aggregation; /* borrowed */
    struct ab_memory *memory;                 /* borrowed; may be NULL */
    struct ab_window window;                  /* of the result; kind NONE = merged away */
    ab_time_us shown_first;                   /* the first pane that has not expired; INT64_MIN = none has */
    uint32_t keys_count;                      /* grouped keys */
    uint32_t key_place[AB_CATALOG_KEYS_MAX];  /* by view key: which grouped key, or AB_PLAN_NONE */
    ab_time_us pane_first;                    /* pane starts that count */
    ab_time_us pane_last;
    uint32_t *listed; /* owned; primitives that the query needs */
    uint32_t listed_count;
    uint32_t *all;             /* owned; 0, 1, 2 … */
    uint32_t *places;          /* owned; by primitive: place in the store, or AB_PLAN_NONE */
    struct ab_bytes *payloads; /* owned; by primitive */
    struct ab_group_store store;
    struct pending_group *pending; /* owned; AB_ROLLUP_PENDING_MAX places once needed */
    uint32_t pending_count;
    struct ab_arena pending_arena;
    struct ab_arena round_arena; /* what judging the pending groups once needs */
};

/* Applies WHERE to the groups that wait. AB_FULL. */
AB_MUST_USE ab_err ab_rollup_flush(struct ab_rollup *rollup);

/* First and last event of a pane's or a session's state. Before: the view's windows are sessions. */
ab_time_us ab_rollup_session_time(const struct ab_rollup *rollup, size_t entry, bool is_last);

#endif
