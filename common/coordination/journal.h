/* journal: the file that a local coordination tree lives in. Internal to common/coordination.
 *
 * "journal" holds records one after another, each a whole transaction, so that a crash leaves all of it or nothing.
 * Numbers little-endian, format version 1:
 *
 *   0  magic "ABJ1"           4     16  XXH3-64 of the payload    8
 *   4  payload bytes u32      4     24  XXH3-64 of bytes 0..23    8
 *   8  revision after it u64  8     32  payload, then zero padding to a multiple of 8
 *
 * The payload is u8 1 (a transaction), varint effects, and for each u8 kind (enum ab_coordination_op_kind), blob path,
 * blob value, u64 owner; or u8 2 (a whole tree, only as the first record) and what ab_tree_encode writes. When the
 * journal has grown past JOURNAL_BYTES_MIN and four times what it began with, it is replaced by one that holds the
 * whole tree alone. A reader refuses another magic of ours with AB_UNSUPPORTED.
 *
 * A bad record with nothing valid behind it is the torn end of a writer that died: readers stop before it, the next
 * writer cuts it off. Anything else that is bad is AB_CORRUPT.
 *
 * Threads: none; the caller holds the lock on the directory: shared for refresh, exclusive for append.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_JOURNAL_H
#define ANABRANCH_COMMON_COORDINATION_JOURNAL_H

#include "common/coordination/tree.h"

#include <sys/types.h>

struct ab_journal {
    char *path;   /* owned */
    int fd;       /* -1 = not open */
    dev_t device; /* what fd is open on, to see when the file was replaced */
    ino_t inode;
    uint64_t position;   /* bytes read and applied */
    uint64_t base_bytes; /* of the first record, when it is a whole tree */
    bool is_stale;       /* the tree holds changes that were never written: read all again */
    struct ab_tree tree; /* as of position */
};

/* Prepares a journal in a directory; opens nothing. */
void ab_journal_init(struct ab_journal *journal, const char *directory);

/* Closes and frees; idempotent. */
void ab_journal_fini(struct ab_journal *journal);

/* Makes an empty file, durably, when there is none. The lock is exclusive. */
AB_MUST_USE ab_err ab_journal_make(struct ab_journal *journal, const char *directory, struct ab_error *error);

/* True when the file is as it was at the last refresh. Needs no lock. */
bool ab_journal_is_unchanged(const struct ab_journal *journal);

/* Brings the tree up to date, and makes durable what others wrote and may have died before syncing. AB_CORRUPT,
 * AB_UNSUPPORTED, AB_IO. */
AB_MUST_USE ab_err ab_journal_refresh(struct ab_journal *journal, struct ab_error *error);

/* Begins a transaction's payload of effects_count effects, and adds one to it. */
void ab_journal_payload_begin(struct ab_buffer *payload, size_t effects_count);
void ab_journal_payload_add(struct ab_buffer *payload, const struct ab_tree_effect *effect);

/* Writes a transaction whose effects the tree already holds, and syncs. AB_NO_SPACE: nothing was written; AB_IO: nobody
 * knows, the session must end. On both the tree is stale until the next refresh. */
AB_MUST_USE ab_err ab_journal_append(struct ab_journal *journal, struct ab_bytes payload, struct ab_error *error);

/* What a walk over bytes that begin at a record finds. Pure. */
struct ab_journal_record {
    uint64_t revision;
    struct ab_bytes payload;
    size_t bytes; /* whole, with padding */
};

/* The record at the front of `bytes`: AB_END when bytes is empty, AB_AGAIN for a torn end, AB_CORRUPT, AB_UNSUPPORTED.
 */
AB_MUST_USE ab_err ab_journal_record_decode(struct ab_bytes bytes, struct ab_journal_record *record);

/* Applies a record's payload; AB_CORRUPT. `is_first` allows a whole tree. */
AB_MUST_USE ab_err ab_journal_record_apply(const struct ab_journal_record *record, bool is_first, struct ab_tree *tree);

#endif
