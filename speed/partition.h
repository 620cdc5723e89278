/* partition: one partition of this node: its log, its state, and what leads from a block to an answer.
 *
 * The worker that owns it stages blocks (judge, append), commits them as a group (write, sync), applies them, and takes
 * cuts. A flush thread stores frozen tables: one sorted file per span with each share's offset in front, then one for
 * the tables (producers, sources, spans, catalogs) with their own. Query threads take snapshots (snapshot.h). The log
 * is the write-ahead log: opening replays from the lowest offset that some share or the tables have not stored, and
 * each share skips what it has (recovery.c).
 *
 * Record 0 of every partition is cut 0: it carries the catalog that span 1 is read with, so the log alone says it all.
 *
 * Files below its directory: log/, state/, retained (the tables as of the last trim of the log: from it and the rest of
 * the log a lost state can be rebuilt), install (offer.h; only while it is being exchanged, see partition_install.h).
 *
 * Invariants: I1 (acknowledge after commit), I2 (dedup, offset keys), I3, I8 (all tables charged to one budget), I10.
 * Threads: "worker" functions belong to one thread at a time; "flush" functions to one flush thread at a time; the
 * others to any thread. One lock per partition guards spans, tables and offsets: the worker holds it while it applies
 * one block, a query while it takes references to frozen tables and opens iterators, a flush while it swaps lists. It
 * is an exception to ownership by one thread because an answer must see every row exactly once while a flush moves them
 * from memory to the store. No I/O under it but opening iterators.
 */
#ifndef ANABRANCH_SPEED_PARTITION_H
#define ANABRANCH_SPEED_PARTITION_H

#include "speed/dedup.h"
#include "speed/judge.h"
#include "speed/replication.h"
#include "speed/span.h"
#include "common/base/memory.h"
#include "common/store/partition_state.h"

struct ab_partition;

/* Called when there is something for a flush thread to do; from the worker or a query thread; must not block. */
typedef void (*ab_partition_wake_fn)(struct ab_partition *partition, void *context);

struct ab_partition_options {
    const char *directory; /* copied */
    uint32_t number;
    uint32_t partitions_count;
    uint8_t cluster_id[16];
    uint64_t leader_epoch;  /* alone; among replicas ab_partition_begin_epoch tells it */
    bool is_replicated;     /* records are committed when ab_partition_set_committed says so, and not when synced */
    bool was_here;          /* this disk has had the partition: among replicas, a log that is not there was lost */
    uint64_t segment_bytes; /* 0 = default */
    size_t recent_bytes;    /* of the log that stay in memory, for followers and to be applied; 0 = none */
    struct ab_store_cache *cache;            /* borrowed */
    struct ab_memory *memory;                /* borrowed: staging buffer, source marks */
    struct ab_memory *partials;              /* borrowed: group tables; replay flushes above half of its limit */
    struct ab_catalogs *catalogs;            /* borrowed */
    const struct ab_served_catalog *initial; /* for a new log; may be NULL when there is one */
    ab_partition_wake_fn on_flush_wanted;    /* NULL = the caller runs ab_partition_flush_step itself */
    void *context;
};

/* Opens and recovers. AB_CORRUPT with segment and offset when the log is damaged; AB_UNAVAILABLE when the log is new
 * and no catalog given; AB_NOT_FOUND when state was lost and the log no longer reaches back far enough. */
AB_MUST_USE ab_err ab_partition_open(
    const struct ab_partition_options *options, struct ab_partition **partition, struct ab_error *error);

/* Closes; nobody may use it any more. Unflushed tables are dropped: the log has their rows. NULL is legal. */
void ab_partition_close(struct ab_partition *partition);

/* ---- worker ---- */

/* A block that was judged; lives in the arena it was staged with. */
struct ab_staged {
    struct ab_bound bound;
    struct ab_judged judged;
    struct ab_outcome outcome;
    ab_time_us append_time_us;
    struct ab_hash128 chain; /* of its record */
    bool is_repeat;          /* appended earlier: nothing to apply, `outcome` is of then */
};

/* Judges a block and stages its record. AB_FULL: commit first, then stage it again. Other errors: refused, nothing was
 * kept. */
AB_MUST_USE ab_err ab_partition_stage(struct ab_partition *partition, struct ab_bytes payload, ab_time_us now,
    struct ab_arena *arena, struct ab_staged *staged, struct ab_error *error);

/* Writes everything staged. AB_NO_SPACE: none of it was appended, producers and marks are as before. */
AB_MUST_USE ab_err ab_partition_write(struct ab_partition *partition, struct ab_error *error);

/* Makes everything written durable. Aborts the process when that fails: what was written can no longer be trusted (H8).
 */
void ab_partition_sync(struct ab_partition *partition);

/* Writes, syncs and, as this is the only replica, commits everything staged. Errors of ab_partition_write. */
AB_MUST_USE ab_err ab_partition_commit(struct ab_partition *partition, struct ab_error *error);

/* Records below `offset` are committed; a smaller offset than before changes nothing. They are durable here. */
void ab_partition_set_committed(struct ab_partition *partition, uint64_t offset);

/* Applies a committed block to all views; in the order of staging. Cannot fail. */
void ab_partition_apply(struct ab_partition *partition, const struct ab_staged *staged, struct ab_arena *scratch);

/* Called once when a cut or a retirement is stored, from the flush thread or from the call itself. */
typedef void (*ab_partition_done_fn)(struct ab_partition *partition, void *context);

struct ab_partition_cut {
    uint64_t cut;
    ab_time_us time_us;
    ab_time_us horizon_us;
    const struct ab_served_catalog *served; /* in force from here on; NULL = unchanged */
    ab_time_us now_us;                      /* append time */
    ab_partition_done_fn on_done;           /* called only after AB_OK */
    void *context;
};

/* Appends cut k, durable when it returns; on_done is called when the span it closes is stored. A cut that is there
 * already is answered the same way. AB_INVALID for k below the last cut, AB_FULL with too many spans, AB_NO_SPACE.
 * Nothing may be staged. */
AB_MUST_USE ab_err ab_partition_cut(
    struct ab_partition *partition, const struct ab_partition_cut *cut, struct ab_error *error);

/* The same for a leader among replicas: stages the record and gives the offset after it. Once records up to there are
 * committed and applied, ab_partition_cut joins it. A cut that is there already is joined at once, and *end_offset is
 * 0. */
AB_MUST_USE ab_err ab_partition_cut_stage(
    struct ab_partition *partition, const struct ab_partition_cut *cut, uint64_t *end_offset, struct ab_error *error);

/* Forgets spans up to and with `cut`: durable and dropped when on_done is called. AB_AGAIN while one of them is open or
 * not stored yet. */
AB_MUST_USE ab_err ab_partition_retire(
    struct ab_partition *partition, uint64_t cut, ab_partition_done_fn on_done, void *context, struct ab_error *error);

/* Writes down how much of the log is durable (ab_log_note_durable): for a partition that has become idle. Trouble is
 * logged and harms nothing. Worker. */
void ab_partition_note_durable(struct ab_partition *partition);

/* A scrub of the partition's log, the caller's to destroy before the partition is closed. Any thread. */
struct ab_log_scrub *ab_partition_scrub(struct ab_partition *partition);

/* Removes log segments below `offset`, at most up to what is stored and retired (a lost state must be rebuilt from what
 * is left), after the tables were saved aside. The record before is kept: it is the cut that a span's reader begins
 * with. */
AB_MUST_USE ab_err ab_partition_trim(struct ab_partition *partition, uint64_t offset, struct ab_error *error);

/* Freezes everything and asks for a flush, unless one waits already or nothing is new; true when one was begun. */
bool ab_partition_flush_begin(struct ab_partition *partition);

/* The mark of a source, durable because nothing is staged; false when there is none. */
bool ab_partition_source(const struct ab_partition *partition, struct ab_bytes stream, struct ab_bytes source,
    struct ab_source_state *state);

/* ---- worker, as one of several replicas (replication.h) ---- */

/* Writes the first record of a leader epoch, after cut 0 when the log is empty. AB_NO_SPACE, AB_UNAVAILABLE. */
AB_MUST_USE ab_err ab_partition_begin_epoch(struct ab_partition *partition, uint64_t epoch, struct ab_error *error);

/* Writes whole records as the leader has them. Errors of ab_log_append_copy; AB_NO_SPACE. */
AB_MUST_USE ab_err ab_partition_copy(struct ab_partition *partition, struct ab_bytes records, struct ab_error *error);

/* Removes records from `offset` on, durably; none of them is applied. */
AB_MUST_USE ab_err ab_partition_truncate(struct ab_partition *partition, uint64_t offset, struct ab_error *error);

/* Says that the log lacks nothing any more. Errors of ab_log_clear_damage. */
AB_MUST_USE ab_err ab_partition_clear_damage(struct ab_partition *partition, struct ab_error *error);

/* Producers and sources are as of what is committed again: this replica leads no more. */
void ab_partition_forget_uncommitted(struct ab_partition *partition);

/* Applies committed records from the log, from the first that is not applied up to `until_offset`. AB_AGAIN when there
 * is more to do than should be done at once. Errors are of the log or of what cannot be: the process should stop. */
AB_MUST_USE ab_err ab_partition_apply_log(
    struct ab_partition *partition, uint64_t until_offset, struct ab_arena *scratch, struct ab_error *error);

/* True while its tables are of records that its log does not hold yet (partition_install.h). Worker. */
bool ab_partition_is_behind(const struct ab_partition *partition);

/* Ends the process when `err` came of a state that is not what had been written (partition_state.h): the next process
 * builds it again from the log, and until then nobody is answered from it. Any thread. */
void ab_partition_stop_if_condemned(const struct ab_partition *partition, ab_err err, const struct ab_error *error);

/* True while tables take more than their budget: what need not be applied now waits until some are stored. */
bool ab_partition_is_over_budget(const struct ab_partition *partition);

/* Chain hash of the record before `offset`; AB_NOT_FOUND outside of the log. */
AB_MUST_USE ab_err ab_partition_chain_at(
    struct ab_partition *partition, uint64_t offset, struct ab_hash128 *chain, struct ab_error *error);

/* Records that were written lately, as ab_log_recent. */
AB_MUST_USE ab_err ab_partition_recent(const struct ab_partition *partition, uint64_t offset, size_t bytes_max,
    struct ab_bytes *records, uint64_t *end_offset);

/* Opens for reading what the log holds, committed or not, as ab_log_reader_open_on. */
AB_MUST_USE ab_err ab_partition_reader_open(const struct ab_partition *partition, uint64_t from_offset,
    uint64_t until_offset, struct ab_log_reader **reader, struct ab_error *error);

/* The log as it is now, nothing staged; epochs are borrowed until it changes. */
void ab_partition_log_view(const struct ab_partition *partition, struct ab_replica_log *log);

/* ---- flush thread ---- */

/* Stores the oldest waiting freeze, or merges a share's many frozen tables; AB_END when there is nothing to do.
 * AB_NO_SPACE: nothing is lost, try again later. Other errors abort the process. */
AB_MUST_USE ab_err ab_partition_flush_step(struct ab_partition *partition, struct ab_error *error);

/* ---- any thread ---- */

uint32_t ab_partition_number(const struct ab_partition *partition);

/* Where its log lies; borrowed. */
const char *ab_partition_log_directory(const struct ab_partition *partition);

/* Records durable here now. */
uint64_t ab_partition_durable(const struct ab_partition *partition);

/* Records committed as far as is known here now: what a query that begins now has to see. */
uint64_t ab_partition_committed(const struct ab_partition *partition);

/* Records applied now. */
uint64_t ab_partition_applied(struct ab_partition *partition);

/* Waits until records below `offset` are applied; AB_TIMEOUT at monotonic until_us. */
AB_MUST_USE ab_err ab_partition_wait_applied(struct ab_partition *partition, uint64_t offset, int64_t until_us);

/* What a partition says of itself. */
struct ab_partition_report {
    uint64_t start_offset, end_offset, durable_offset, committed_offset, applied_offset, flushed_offset;
    uint64_t last_cut, retired_cut, catalog_version;
    uint64_t spans_count, frozen_count, groups_count, jobs_count;
    uint64_t rows_accepted, rows_rejected, rows_duplicate; /* of the live spans */
    uint64_t producers_count, sources_count;               /* as of the last flush or commit */
    ab_time_us applied_time_us;
    uint64_t replayed_records; /* at opening */
    uint64_t damaged_until;    /* at opening; 0 = the log has all it ever had */
    uint64_t torn_bytes;
};
void ab_partition_report(struct ab_partition *partition, struct ab_partition_report *report);

/* A closed span, copied; AB_NOT_FOUND, AB_STALE when it was retired. */
struct ab_closed_span {
    uint64_t family;
    uint64_t end_offset;
    uint64_t leader_epoch;
    struct ab_hash128 chain;
    ab_time_us cut_time_us;
    bool is_flushed;
    uint64_t accepted, rejected, duplicates;
};
AB_MUST_USE ab_err ab_partition_closed_span(
    struct ab_partition *partition, uint64_t cut, struct ab_closed_span *span, struct ab_error *error);

/* Bytes of group tables of the span that records are applied to: which partition to flush first. */
size_t ab_partition_active_bytes(struct ab_partition *partition);

#endif
