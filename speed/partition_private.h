/* partition_private: what the files of a partition share: partition.c, apply.c, flush.c, recovery.c, snapshot.c,
 * digest.c. */
#ifndef ANABRANCH_SPEED_PARTITION_PRIVATE_H
#define ANABRANCH_SPEED_PARTITION_PRIVATE_H

#include "speed/partition.h"
#include "common/base/thread.h"
#include "common/log/log.h"

#include <stdatomic.h>

/* One freeze on its way to the store; made by the worker, done by a flush thread. */
struct flush_job {
    struct flush_job *next;       /* owned; by rising upto_offset */
    struct ab_span *span;         /* borrowed: a span is not retired before its jobs are done */
    uint64_t upto_offset;         /* everything of records below it is frozen */
    struct ab_row_counts *counts; /* owned; per share, as of then */
    struct ab_table_puts puts;    /* owned; empty = the tables are stored further already */
    bool is_closing;              /* the span is stored when this is done */
    bool is_span_stored;          /* its file is ingested; only the tables are left */
    uint64_t retire_cut;          /* drop families up to it afterwards; 0 = none */
    struct flush_waiter *waiters; /* owned; told when done */
};

struct flush_waiter {
    struct flush_waiter *next; /* owned */
    ab_partition_done_fn on_done;
    void *context;
};

/* The tables' own position, stored under 'o': format u8, applied u64, last append time i64, chain 16, retired cut u64.
 */
struct tables_position {
    uint64_t applied_offset;
    ab_time_us last_append_us;
    struct ab_hash128 chain; /* of the record before applied_offset */
    uint64_t retired_cut;
};

struct ab_partition {
    struct ab_partition_options options; /* constant; directory owned */
    char *log_directory;                 /* owned; constant, as the next two */
    char *state_directory;
    char *retained_path;
    char *install_path;
    struct ab_log *log;               /* worker; offsets by any thread */
    struct ab_partition_state *state; /* any thread */

    /* Worker's own. */
    struct ab_dedup *dedup;
    struct ab_verdict_builder verdict;
    struct ab_buffer verdict_bytes;
    struct ab_arena decoded; /* one record that is applied from the log */
    ab_time_us last_append_us;
    uint64_t staged_count;
    uint64_t leader_epoch; /* of the records that are staged */
    bool is_replaying;     /* opening: no other thread is there, and later states may be stored already */
    uint64_t replayed_records;
    uint64_t torn_bytes;
    uint64_t damaged_until;

    atomic_uint_fast64_t committed_offset; /* records below it are committed; moved by the worker */

    struct ab_lock lock;
    struct ab_condition changed; /* applied_offset moved, or a job is done */
    struct ab_span **spans;      /* owned; guarded by lock, as all below; rising, the last one is open */
    struct ab_span *open;        /* the last one; only the worker changes it, so it may read it without the lock */
    size_t spans_count;
    uint64_t retired_cut;
    uint64_t applied_offset;
    struct ab_hash128 applied_chain; /* of the record before it */
    uint64_t flushed_offset;
    ab_time_us applied_time_us;
    uint64_t tables_from;           /* the tables have records below it, as loaded: applying skips them there */
    struct ab_hash128 tables_chain; /* of the record before it */
    bool is_flushing;               /* a step of a flush thread is under way */
    bool is_installing;             /* no flush, no question: everything is being exchanged */
    struct flush_job *jobs;         /* owned; oldest first */
    size_t jobs_count;
    uint64_t producers_count;
    uint64_t sources_count;
};

/* The open span; NULL before the first record was written or replayed. */
static inline struct ab_span *partition_open_span(const struct ab_partition *partition)
{
    return partition->open;
}

/* True while the tables are of records that are not applied, because the log does not hold them yet: nothing of the
 * tables is stored. The lock, or the worker. */
static inline bool partition_is_behind(const struct ab_partition *partition)
{
    return partition->applied_offset < partition->tables_from;
}

/* Appends a span to the list: it is the open one now. */
void ab_partition_add_span_locked(struct ab_partition *partition, struct ab_span *span);

/* Closes the open span with a cut at end_offset, freezes it, and opens the next one. */
void ab_partition_close_span_locked(struct ab_partition *partition, const struct ab_cut *cut, uint64_t end_offset,
    struct ab_hash128 chain, uint64_t leader_epoch, const struct ab_served_catalog *next);

/* Aggregates a block's rows into the shares of a span that do not have them yet. */
void ab_partition_apply_rows_locked(struct ab_partition *partition, struct ab_span *span, const struct ab_bound *bound,
    const uint8_t *skip, uint64_t offset, struct ab_arena *scratch);

/* Freezes a span's shares at upto_offset and makes a job of it, with the table entries that changed. Worker. */
struct flush_job *ab_partition_freeze_locked(
    struct ab_partition *partition, struct ab_span *span, uint64_t upto_offset, bool is_closing);

/* Gathers table entries: what changed, or everything (spans and catalogs of all live spans included). */
void ab_partition_tables_put_locked(struct ab_partition *partition, bool is_everything, struct ab_table_puts *puts);

/* Queues a job. */
void ab_partition_push_job_locked(struct ab_partition *partition, struct flush_job *job);

/* Calls the wake function if there is one. */
void ab_partition_wake(struct ab_partition *partition);

/* Loads state and tables, replays the log. */
AB_MUST_USE ab_err ab_partition_recover(struct ab_partition *partition, struct ab_error *error);

/* Sets from_offset and counts of each share from the span's stored family, where it exists. */
AB_MUST_USE ab_err ab_partition_load_shares(
    struct ab_partition *partition, struct ab_span *span, struct ab_error *error);

/* Stages a cut record; gives its end offset and chain. */
AB_MUST_USE ab_err ab_partition_append_cut(struct ab_partition *partition, const struct ab_cut *cut, ab_time_us now_us,
    uint64_t *end_offset, struct ab_hash128 *chain, struct ab_error *error);

/* Stages what every log begins with: cut 0 with the first catalog. AB_UNAVAILABLE without one. */
AB_MUST_USE ab_err ab_partition_append_first(struct ab_partition *partition, struct ab_error *error);

/* The span whose records begin at or before `offset`, the last such; NULL. */
struct ab_span *ab_partition_span_at(const struct ab_partition *partition, uint64_t offset);

/* The span that the last applied record is of, which is an older one while the partition is behind; NULL. */
static inline struct ab_span *partition_span_at_hand(const struct ab_partition *partition)
{
    bool is_behind = partition_is_behind(partition) && partition->applied_offset > 0;
    return is_behind ? ab_partition_span_at(partition, partition->applied_offset - 1) : partition_open_span(partition);
}

/* Applies one committed record: of the spans' shares each skips what it has stored. */
AB_MUST_USE ab_err ab_partition_apply_record_locked(struct ab_partition *partition, const struct ab_record *record,
    struct ab_arena *arena, struct ab_arena *scratch, struct ab_error *error);

/* Sets the log and the tables saved aside out of the way, whole, and begins with nothing: records up to `until`, which
 * may be unknown, are missing. Log and state are closed. And, before the log is opened: finishes that. */
AB_MUST_USE ab_err ab_partition_set_aside(struct ab_partition *partition, uint64_t until, struct ab_error *error);
AB_MUST_USE ab_err ab_partition_finish_aside(struct ab_partition *partition, struct ab_error *error);

/* Options for opening the partition's log. */
struct ab_log_options ab_partition_log_options(const struct ab_partition *partition);

/* Finishes an installation that a crash cut short; the log is open, the state is not. */
AB_MUST_USE ab_err ab_partition_finish_install(struct ab_partition *partition, struct ab_error *error);

/* Loads the tables saved aside in the place of what is in memory, for a log and a state that are empty. */
AB_MUST_USE ab_err ab_partition_reload(struct ab_partition *partition, struct ab_error *error);

/* The tables' position, encoded and back; AB_CORRUPT. */
void ab_tables_position_encode(const struct tables_position *position, struct ab_buffer *out);
AB_MUST_USE ab_err ab_tables_position_decode(struct ab_bytes value, struct tables_position *position);

#endif
