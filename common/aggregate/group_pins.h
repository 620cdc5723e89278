/* group_pins: which entries of one store a query's pins and window bounds leave, by key words alone; for this folder
 * alone.
 *
 * When every key is pinned and the panes can be counted, the entries are looked up one by one; else all entries are
 * walked and those whose words differ from the pins are passed over before anything else is done with them. What is
 * left still has to meet the query's WHERE.
 *
 * Threads: owner; the store must not change meanwhile. Memory: a few words a pinned value, made at set-up.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_GROUP_PINS_H
#define ANABRANCH_COMMON_AGGREGATE_GROUP_PINS_H

#include "common/aggregate/group_store.h"
#include "common/catalog/query.h"

/* Words that one pinned key may have in this store; values that the store does not know are left out. */
struct ab_group_pin {
    uint32_t key;
    uint32_t first_word;
    uint32_t words_count;
    uint64_t *words; /* owned; values_count x words_count */
    uint32_t values_count;
};

struct ab_group_pins {
    const struct ab_group_store *store; /* borrowed */
    struct ab_group_pin *pins;          /* owned */
    uint32_t pins_count;
    ab_time_us pane_first;
    ab_time_us pane_last;
    int64_t pane_us;
    bool is_fixed;          /* panes have one width, so that they can be counted */
    uint64_t lookups_count; /* > 0: every candidate is looked up by number */
    bool is_empty;          /* nothing can match */
    uint64_t next;          /* look-up or entry to try next */
};

/* Prepares a walk over the entries whose panes start in [pane_first, pane_last]: starts of panes, or an end of time. */
void ab_group_pins_init(struct ab_group_pins *pins, const struct ab_query *query, const struct ab_group_store *store,
    ab_time_us pane_first, ab_time_us pane_last);
void ab_group_pins_fini(struct ab_group_pins *pins);

/* The next entry that may match; false at the end. */
bool ab_group_pins_next(struct ab_group_pins *pins, size_t *entry);

#endif
