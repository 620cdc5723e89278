/* limits: every bound of the speed layer, with its unit and reason. */
#ifndef ANABRANCH_SPEED_LIMITS_H
#define ANABRANCH_SPEED_LIMITS_H

#include <stdint.h>

/* Items and bytes of one group commit: enough to pay for a sync, little enough that latency stays in milliseconds. */
#define AB_GROUP_BLOCKS_MAX 256u
#define AB_GROUP_BYTES_MAX (16u << 20)

/* Groups of a worker whose blocks wait for other replicas; while all do, blocks are refused as full. */
#define AB_GROUPS_MAX 8u

/* Bytes of a partition's log that stay in memory for its followers, and for itself to apply once they are committed:
 * what is on its way between replicas, several times. All partitions together take a part of the memory at most. */
#define AB_RECENT_BYTES_MAX (8u << 20)
#define AB_RECENT_MEMORY_PART 8u

/* A worker of one of several replicas that does not go round for so long is taken for hung: a sync of a disk that is
 * only slow takes seconds at most. Microseconds. */
#define AB_WORKER_STALL_US 20000000

/* Requests that may wait for one worker; the byte bound comes from the configuration. */
#define AB_WORKER_ITEMS_MAX 4096u

/* Recent blocks remembered per producer and partition; a client has at most four in flight. */
#define AB_DEDUP_RING 5u

/* Producers per partition; the least recently used one makes room. */
#define AB_DEDUP_PRODUCERS_MAX 4096u

/* (stream, source) pairs per partition. Marks cannot be forgotten without counting rows twice, so more are refused. */
#define AB_DEDUP_SOURCES_MAX 262144u

/* What a replica that cannot go on from its log is sent: the tables of a partition, of which sources take most, and how
 * much of it at a time. */
#define AB_INSTALL_BYTES_MAX (256u << 20)
#define AB_INSTALL_PART_BYTES (1u << 20)

/* Frozen tables of one share: merged into one above the first number; above the second queries read the active table in
 * place instead of freezing it. */
#define AB_FROZEN_MERGE 8u
#define AB_FROZEN_MAX 16u

/* A query reads an active table of at most so many groups under the lock (some 100 us); larger ones are frozen. */
#define AB_QUERY_LOCKED_GROUPS 1024u

/* The same when keys are pinned: groups that differ are passed over at some nanoseconds each. */
#define AB_QUERY_LOCKED_GROUPS_PINNED 32768u

/* Groups that a query names one by one are looked up under the lock, however large the table is. */
#define AB_QUERY_LOOKUPS_MAX 1024u

/* Cuts that are not retired yet. */
#define AB_SPANS_MAX 1024u

/* Flushes of a partition that may wait before its worker waits for them. */
#define AB_FLUSH_JOBS_MAX 4u

/* Operand files of a family before flushing waits for compaction. */
#define AB_FLUSH_FILES_MAX 64u

/* Requests that may wait for the query threads; parsed queries kept. */
#define AB_QUERY_ITEMS_MAX 1024u
#define AB_PLANS_MAX 256u

/* Bytes of dead letters in one answer; how many there may be is the protocol's AB_DEAD_LETTERS_MAX. */
#define AB_DEAD_LETTERS_BYTES_MAX (8u << 20)

/* Bytes of encoded rows in one answer to a state query: below the message limit of the wire. */
#define AB_STATE_ROWS_BYTES_MAX (15u << 20)

_Static_assert(AB_INSTALL_BYTES_MAX / AB_DEDUP_SOURCES_MAX >= 1000, "a source takes less than 1000 bytes");
_Static_assert(AB_FROZEN_MERGE < AB_FROZEN_MAX, "merging begins before freezing stops");

#endif
