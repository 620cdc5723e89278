/* group_table: groups in memory: a hash table from (keys, pane) to the states of an aggregation.
 *
 * A group's key is kept as fixed-width words (numbers as they are, text as ids of strings interned in the table), so
 * that hashing and comparing never touch strings; states stand in place, sketches and overflow by pointer. A block is
 * aggregated column by column: WHERE, then group index per row, then one pass per primitive.
 *
 * Memory: charged to the budget given; updates and merges never fail for memory (they charge past the limit, and the
 * owner watches ab_memory_is_over between blocks): apply is total. Threads: one writer; once nobody writes any more
 * (frozen), any number of readers.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_GROUP_TABLE_H
#define ANABRANCH_COMMON_AGGREGATE_GROUP_TABLE_H

#include "common/aggregate/aggregation.h"
#include "common/aggregate/state_row.h"

struct ab_group_table;

/* An empty table; the aggregation and the budget (may be NULL) must outlive it. */
struct ab_group_table *ab_group_table_create(const struct ab_aggregation *aggregation, struct ab_memory *memory);
void ab_group_table_destroy(struct ab_group_table *table);

/* Empties it, keeping its memory for the next round. */
void ab_group_table_clear(struct ab_group_table *table);

/* Aggregates rows; adds to counts. Scratch memory comes from the arena (reset by the caller between blocks). */
void ab_group_table_update(
    struct ab_group_table *table, const struct ab_rows *rows, struct ab_arena *scratch, struct ab_row_counts *counts);

/* Merges one encoded group. AB_CORRUPT when key or row do not fit the aggregation; the table is then unchanged. */
AB_MUST_USE ab_err ab_group_table_merge_row(struct ab_group_table *table, struct ab_bytes key, struct ab_bytes row);

/* Merges all groups of another table of the same aggregation. */
void ab_group_table_merge_table(struct ab_group_table *into, const struct ab_group_table *from);

/* Groups held; bytes charged. */
size_t ab_group_table_count(const struct ab_group_table *table);
size_t ab_group_table_bytes(const struct ab_group_table *table);

/* Walks the groups in key order (group_key.h) without changing the table. The sort index is charged past the budget. */
struct ab_group_cursor;
struct ab_group_cursor *ab_group_cursor_open(const struct ab_group_table *table, struct ab_memory *memory);
void ab_group_cursor_close(struct ab_group_cursor *cursor);

/* The next group's key and encoded row, borrowed until the next call; false at the end. */
bool ab_group_cursor_next(struct ab_group_cursor *cursor, struct ab_bytes *key, struct ab_bytes *row);

#endif
