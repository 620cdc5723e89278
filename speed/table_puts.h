/* table_puts: entries on their way into the tables family of a partition, gathered by the worker, written by a flush.
 *
 * Keys by first byte: 'c' + catalog key (16) -> encoded catalog; 'k' + span u64 BE -> span entry (span.h); 'o' ->
 * position (partition_private.h); 'p' + slot u32 BE -> producer; 's' + stream + 0 + source -> mark. Values replace
 * older ones.
 *
 * Threads: owner. Memory: charged past its budget, freed after the flush.
 */
#ifndef ANABRANCH_SPEED_TABLE_PUTS_H
#define ANABRANCH_SPEED_TABLE_PUTS_H

#include "common/base/buffer.h"

struct ab_table_put {
    size_t key_start;
    size_t key_bytes;
    size_t value_bytes; /* the value follows its key */
};

/* Zeroed memory is empty. */
struct ab_table_puts {
    struct ab_buffer bytes;
    struct ab_table_put *entries; /* owned */
    size_t count;
    size_t capacity;
};

/* Adds one entry; both are copied. */
void ab_table_puts_add(struct ab_table_puts *puts, struct ab_bytes key, struct ab_bytes value);

/* Sorts by key; keys must be distinct. */
void ab_table_puts_sort(struct ab_table_puts *puts);

/* The index-th entry; borrowed until the next add. */
void ab_table_puts_at(const struct ab_table_puts *puts, size_t index, struct ab_bytes *key, struct ab_bytes *value);

/* Frees; idempotent. */
void ab_table_puts_fini(struct ab_table_puts *puts);

/* One self-checking file of all entries, and back: each is handed to `on_entry`. AB_CORRUPT, or what on_entry returns.
 */
void ab_table_puts_encode(const struct ab_table_puts *puts, struct ab_buffer *out);
typedef ab_err (*ab_table_entry_fn)(struct ab_bytes key, struct ab_bytes value, void *context, struct ab_error *error);
AB_MUST_USE ab_err ab_table_puts_decode(
    struct ab_bytes bytes, ab_table_entry_fn on_entry, void *context, struct ab_error *error);

#endif
