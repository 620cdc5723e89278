/* group_table_private: the inside of a group table, shared by group_table.c, group_update.c and rollup.c. */
#ifndef ANABRANCH_COMMON_AGGREGATE_GROUP_TABLE_PRIVATE_H
#define ANABRANCH_COMMON_AGGREGATE_GROUP_TABLE_PRIVATE_H

#include "common/aggregate/group_store.h"
#include "common/aggregate/group_table.h"

/* Stretches of time that panes of a calendar were found for. */
#define AB_PANE_STRETCHES 1024u

struct ab_pane_stretch {
    ab_time_us start;
    ab_time_us end; /* the first time after it; zeroed = none yet */
};

struct ab_group_table {
    const struct ab_aggregation *aggregation; /* borrowed */
    struct ab_group_store store;
    uint32_t *listed;                  /* owned; 0, 1, 2 …: all primitives */
    struct ab_bytes *payloads;         /* owned; by primitive, for merge_row */
    struct ab_arena values;            /* text of keys being decoded */
    struct ab_pane_stretch *stretches; /* owned; AB_PANE_STRETCHES places once a calendar needs them */
};

/* Copies the words of `from`'s entry so that they name the same key in `into`, whose layout is the same; texts[n] is
 * into's number of from's string n. */
void ab_group_words_translate(const struct ab_group_store *from, size_t entry, const uint32_t *texts, uint64_t *words);

#endif
