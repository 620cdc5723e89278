/* log_private: what the files of the writer share: log.c, copy.c, truncate.c, place.c.
 */
#ifndef ANABRANCH_COMMON_LOG_LOG_PRIVATE_H
#define ANABRANCH_COMMON_LOG_LOG_PRIVATE_H

#include "common/log/epochs.h"
#include "common/log/index.h"
#include "common/log/log.h"
#include "common/log/recent.h"
#include "common/log/watermark.h"

#include "common/base/thread.h"

/* Staged bytes between two writes: room for two of the largest records. */
#define LOG_STAGING_BYTES_MAX (2u * AB_RECORD_BYTES_MAX + (8u << 20))

struct ab_log {
    char *directory; /* owned */
    struct ab_log_options options;
    int lock_fd;                     /* holds the directory for one writer process */
    struct ab_buffer staging;        /* writer thread */
    struct ab_recent recent;         /* writer thread */
    uint64_t *first_offsets;         /* owned; writer thread; of the segments, rising, the last one is current */
    size_t segments_count;           /* writer thread */
    uint64_t segment_bytes;          /* writer thread; written to the current segment */
    struct ab_watermark watermark;   /* writer thread; as it is on disk */
    bool is_opened;                  /* writer thread; opening is done: closing may state what is durable */
    struct ab_epochs epochs;         /* writer thread; staged records count */
    bool is_chain_known;             /* writer thread; false: empty, and damage took what came before */
    struct ab_hash128 chain;         /* writer thread; of the last staged record */
    struct ab_hash128 written_chain; /* writer thread; of the last written record */
    struct ab_lock index_lock;       /* a leaf: nothing is called with it held */
    struct ab_log_index index;       /* written by the writer thread; guarded by index_lock */
    struct ab_lock lock;             /* held while syncing and while fd changes */
    int fd;                          /* current segment; changed by the writer thread, guarded by lock */
    _Atomic uint64_t start_offset;   /* atomic: set by the writer thread */
    _Atomic uint64_t end_offset;     /* atomic: set by the writer thread; staged records count */
    _Atomic uint64_t written_offset; /* atomic: set by the writer thread */
    _Atomic uint64_t durable_offset; /* atomic: set with the lock held */
    _Atomic uint64_t generation;     /* atomic: set by the writer thread; odd while records are being removed */
    atomic_bool is_poisoned;         /* atomic: never cleared (H8) */
};

/* Where a written record lies. */
struct ab_log_place {
    size_t segment_index;
    uint64_t position; /* byte in the segment */
    struct ab_record_header header;
};

/* Finds a written record by headers. AB_CORRUPT when it is not where it must be; AB_IO. */
AB_MUST_USE ab_err ab_log_find(struct ab_log *log, uint64_t offset, struct ab_log_place *place, struct ab_error *error);

/* The nearest known place at or before a written record of the segment that begins at first_offset. Any thread. */
struct ab_log_mark ab_log_near(struct ab_log *log, uint64_t first_offset, uint64_t offset);

/* Changes with every removal of records at the end; odd while one goes on. Any thread. */
uint64_t ab_log_generation(const struct ab_log *log);

/* Poisons the log for good and says why; AB_IO. */
AB_MUST_USE ab_err ab_log_poison(struct ab_log *log, ab_err err, const char *what, struct ab_error *error);

/* Says that it is poisoned; AB_IO. */
AB_MUST_USE ab_err ab_log_poisoned(const struct ab_log *log, struct ab_error *error);

/* Replaces the watermark, in memory once it is so on disk. */
AB_MUST_USE ab_err ab_log_watermark_set(
    struct ab_log *log, const struct ab_watermark *watermark, struct ab_error *error);

/* Syncs what was written; the lock is held. */
AB_MUST_USE ab_err ab_log_sync_locked(struct ab_log *log, struct ab_error *error);

#endif
