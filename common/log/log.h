/* log: the durable record of one partition: segments of records, appended and synced in groups, repaired when torn.
 *
 * A directory holds segments named by their first offset (20 decimal digits ".seg"). Appends go to a staging buffer and
 * reach the file at ab_log_write (many records, one write); they are durable after ab_log_sync. Offsets count records
 * from 0.
 *
 * Opening tells a torn tail from corruption (REPLICATION H9): a bad record that nothing on this disk says to have been
 * synced, with nothing valid after it, is a torn tail and is cut off (copied aside first when non-empty); anything else
 * is AB_CORRUPT with segment, file byte and offset in the text, and nothing is touched, unless the caller asks for it.
 *
 * Invariants: I1 (synced before acknowledged: the caller's rule, kept by durable_offset), I3 (order and chain).
 * Threads: the writer side belongs to one thread; ab_log_sync may run on another one; readers are independent
 * objects that any thread or process may open at the same time: they read up to a limit that the caller gives.
 */
#ifndef ANABRANCH_COMMON_LOG_LOG_H
#define ANABRANCH_COMMON_LOG_LOG_H

#include "common/log/record.h"

#define AB_LOG_SEGMENT_BYTES_DEFAULT (64u << 20)

struct ab_log;

struct ab_log_options {
    uint8_t cluster_id[16];
    uint32_t partition;
    uint64_t segment_bytes;   /* 0 = default; a record larger than this gets a segment of its own */
    struct ab_memory *memory; /* borrowed; the staging buffer is charged here */
    size_t recent_bytes_max;  /* of what was written last that stays in memory; 0 = nothing does */
    /* A corrupt log is opened with its good front, the rest set aside: only for a caller that fetches what is missing
     * from a peer before it counts this log as a whole one. Else corruption, old or new, is AB_CORRUPT. */
    bool is_setting_aside_corrupt;
};

#define AB_LOG_ASIDE_NAME_BYTES 64u

/* What opening found. */
struct ab_log_recovery {
    uint64_t records_count;
    uint64_t torn_bytes; /* cut off the tail */
    uint64_t end_offset; /* next offset to be written */
    /* Records [damaged_from, damaged_until) were here once, perhaps more, and are lost: this time, or before and not
     * yet appended again (ab_log_damaged_until). Both 0 = nothing is known to be missing. */
    uint64_t damaged_from;
    uint64_t damaged_until;
    char aside_name[AB_LOG_ASIDE_NAME_BYTES]; /* file that keeps what was corrupt, this time; "" = none */
};

/* A leader epoch and the first offset that may be of it (it ends where the next one begins). */
struct ab_log_epoch {
    uint64_t epoch;
    uint64_t first_offset;
};

/* Opens a partition's log, creating the directory; verifies every record of the last two segments and every header of
 * the others. */
AB_MUST_USE ab_err ab_log_open(const char *directory, const struct ab_log_options *options, struct ab_log **log,
    struct ab_log_recovery *recovery, struct ab_error *error);

/* Closes without syncing what was not synced, and notes what is durable; NULL is legal. */
void ab_log_close(struct ab_log *log);

/* Stages one record: fills header.offset, previous_chain, durable_offset, cluster id and partition; gives back the
 * offset. AB_FULL when the staging buffer may not grow (write first), AB_TOO_LARGE, AB_STALE when
 * header.leader_epoch is below that of the record before, AB_IO after an earlier failed write or sync (the log is then
 * poisoned for good: stop the process, H8), AB_CORRUPT when the log is empty and damage took what came before it (reset
 * it). */
AB_MUST_USE ab_err ab_log_append(struct ab_log *log, struct ab_record *record, uint64_t *offset);

/* What a copy added. */
struct ab_log_copied {
    uint64_t records_count;
    uint64_t end_offset; /* the next one to be copied */
};

/* Stages whole encoded records exactly as another replica holds them (I3: the same bytes everywhere), all or none. They
 * must follow this log's end: AB_CORRUPT (a checksum, or a header that contradicts itself), AB_UNSUPPORTED (a newer
 * format), AB_INVALID (another cluster or partition, or bytes that end within a record), AB_SEQUENCE (not the next
 * offset), AB_MISMATCH (does not chain: the logs differ before it), AB_STALE (the epoch falls), AB_FULL (write first,
 * or copy fewer at a time), AB_IO when poisoned. Bytes may be borrowed; they are copied.
 *
 * A copied header's durable_offset is about the disk of the leader that wrote it: nothing is concluded from it here
 * about this one (recover.h). */
AB_MUST_USE ab_err ab_log_append_copy(
    struct ab_log *log, struct ab_bytes bytes, struct ab_log_copied *copied, struct ab_error *error);

/* Writes staged records to the segment, starting a new one where needed. AB_NO_SPACE leaves the file at the last whole
 * group (truncated back) and keeps nothing staged: those records never existed and their offsets are given again. */
AB_MUST_USE ab_err ab_log_write(struct ab_log *log, struct ab_error *error);

/* Makes everything written durable. Any error poisons the log. */
AB_MUST_USE ab_err ab_log_sync(struct ab_log *log, struct ab_error *error);

/* Writes down how much of the log is durable, so that the loss of its very last records is seen when it is opened (else
 * it looks torn). Costs two syncs of a small file when something changed since, and nothing when not: for an owner that
 * has just become idle. An error is no harm to the log: less than is true stands there. Writer thread. */
AB_MUST_USE ab_err ab_log_note_durable(struct ab_log *log, struct ab_error *error);

/* Forgets staged, unwritten records. */
void ab_log_abandon(struct ab_log *log);

/* Next offset to be given, counting staged records; and the number of records known durable. Any thread. */
uint64_t ab_log_end_offset(const struct ab_log *log);
uint64_t ab_log_durable_offset(const struct ab_log *log);

/* Chain hash of the last record (staged included); zero when empty. Writer thread. */
struct ab_hash128 ab_log_chain(const struct ab_log *log);

/* Chain hash of the record before `offset`, which lies in [start, end]: what a replica must have there to agree with
 * this one up to `offset`. AB_NOT_FOUND outside. Writer thread. */
AB_MUST_USE ab_err ab_log_chain_at(
    struct ab_log *log, uint64_t offset, struct ab_hash128 *chain, struct ab_error *error);

/* Whole records from `offset` on, as they are on disk and while they are still in memory: at least one, and no further
 * one once they are bytes_max, all of one group; the next one is *end_offset. Borrowed until the next write, truncation
 * or reset. AB_NOT_FOUND when they are not there (any more): open a reader. Writer thread. */
AB_MUST_USE ab_err ab_log_recent(
    const struct ab_log *log, uint64_t offset, size_t bytes_max, struct ab_bytes *records, uint64_t *end_offset);

/* The same for one record, taken apart; its checksums were made or verified when it was staged. */
AB_MUST_USE ab_err ab_log_recent_record(const struct ab_log *log, uint64_t offset, struct ab_record *record);

/* The leader epochs of what is held (staged records included), rising; borrowed until the log is changed. Writer
 * thread.
 */
const struct ab_log_epoch *ab_log_epochs(const struct ab_log *log, size_t *count);

/* The largest epoch held that is <= `epoch`, and the offset after its last record (KIP-101): a replica whose last
 * record is of `epoch` agrees with this log at most up to there. AB_NOT_FOUND when every epoch held is larger, or the
 * log is empty. Writer thread. */
AB_MUST_USE ab_err ab_log_epoch_end(
    const struct ab_log *log, uint64_t epoch, uint64_t *found_epoch, uint64_t *end_offset);

/* Bytes staged and not yet written. */
size_t ab_log_staged_bytes(const struct ab_log *log);

/* Until where records are missing that this log once had; 0 = no damage is known. It ends by itself once as much is
 * durable again and noted. Writer thread. */
uint64_t ab_log_damaged_until(const struct ab_log *log);

/* Says that records below `until`, or an unknown number of them (UINT64_MAX), were here once and are missing: what the
 * owner knows from elsewhere. Durable when it returns; less than what is known already changes nothing. AB_NO_SPACE,
 * AB_IO. Writer thread. */
AB_MUST_USE ab_err ab_log_note_damage(struct ab_log *log, uint64_t until, struct ab_error *error);

/* Says that nothing is missing any more: the leader of the current epoch has no more than this log. Writer thread. */
AB_MUST_USE ab_err ab_log_clear_damage(struct ab_log *log, struct ab_error *error);

/* Drops everything and begins an empty log at `offset`, whose first record must chain to `chain` and be of `epoch` or
 * later: for a follower that was installed from state and history because its leader's log starts there. Durable, and
 * done whole or not at all whenever the process dies. Before: nothing staged (AB_USAGE); at offset 0 the chain is zero
 * (AB_USAGE). What was set aside before stays. An error once it has begun poisons the log; opening completes it. */
AB_MUST_USE ab_err ab_log_reset(
    struct ab_log *log, uint64_t offset, struct ab_hash128 chain, uint64_t epoch, struct ab_error *error);

/* Removes the records at and past `offset`, durably: for a replica whose log differs there from its leader's. They are
 * set aside first ("<offset>.seg.cut-<n>", those of the last few truncations; not on a full disk), the watermark falls
 * before they go, and a crash leaves the old end, the new one, or one between them: then truncate again. Before:
 * nothing staged. AB_USAGE when something is, AB_NOT_FOUND when `offset` is not within [start, end]; AB_IO poisons the
 * log when records are half gone. Readers of the log are told (AB_STALE). */
AB_MUST_USE ab_err ab_log_truncate(struct ab_log *log, uint64_t offset, struct ab_error *error);

/* Removes whole segments whose records are all below `offset` (never the last segment). */
AB_MUST_USE ab_err ab_log_trim(struct ab_log *log, uint64_t offset, struct ab_error *error);

/* First offset still held. */
uint64_t ab_log_start_offset(const struct ab_log *log);

/* ---- reading ---- */

struct ab_log_reader;

/* Opens for reading records in [from, until) of a log directory; needs no ab_log and takes no lock. AB_NOT_FOUND when
 * `from` was trimmed away. Verifies checksums and the chain from the first record read on. Only for records that are
 * never truncated (committed ones): it is not told, and what it read ahead it would still give out. */
AB_MUST_USE ab_err ab_log_reader_open(const char *directory, uint64_t from_offset, uint64_t until_offset,
    struct ab_log_reader **reader, struct ab_error *error);

/* The same on an open log, which must outlive the reader: it starts near `from` (the log knows where some records lie),
 * and once records were truncated or the log was reset it gives out nothing more: AB_STALE, then open again. Any
 * thread.
 */
AB_MUST_USE ab_err ab_log_reader_open_on(struct ab_log *log, uint64_t from_offset, uint64_t until_offset,
    struct ab_log_reader **reader, struct ab_error *error);
void ab_log_reader_close(struct ab_log_reader *reader);

/* Raises the end of reading, as more becomes durable. */
void ab_log_reader_extend(struct ab_log_reader *reader, uint64_t until_offset);

/* The next record, borrowed until the next call, with its bytes as they are on disk (record->encoded); AB_END at
 * `until`; AB_CORRUPT with the place; AB_STALE. */
AB_MUST_USE ab_err ab_log_reader_next(struct ab_log_reader *reader, struct ab_record *record, struct ab_error *error);

#endif
