/* group_key: the bytes that name a group and pane, in the order in which states are stored.
 *
 *   0      time chunk, u32 big-endian: floor(pane start / chunk) + 2^31, clamped; 0 for views without panes
 *   4      the keys, memcomparable (common/block/key.h), in declared order
 *   last 8 pane start in microseconds, sign flipped big-endian; 0 for views without panes
 *
 * The chunk makes expiry, merging and time ranges cheap; it follows from the pane, so digests and shards leave it out.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_GROUP_KEY_H
#define ANABRANCH_COMMON_AGGREGATE_GROUP_KEY_H

#include "common/block/key.h"
#include "common/catalog/query.h"

/* Chunk number of a pane start. */
uint32_t ab_group_key_chunk(const struct ab_view *view, ab_time_us pane_start_us);

/* Appends a whole key. values has keys_count places. */
void ab_group_key_encode(
    const struct ab_view *view, const struct ab_value *values, ab_time_us pane_start_us, struct ab_buffer *out);

/* Takes a key apart; text values are copied into the arena. AB_CORRUPT, also when a NOT NULL key is NULL. */
AB_MUST_USE ab_err ab_group_key_decode(const struct ab_view *view, struct ab_bytes key, struct ab_arena *arena,
    struct ab_value *values, ab_time_us *pane_start_us);

/* Pane start of a key, without decoding the rest. AB_CORRUPT when too short. */
AB_MUST_USE ab_err ab_group_key_pane(struct ab_bytes key, ab_time_us *pane_start_us);

/* Shard of a key among shards_count: XXH3-64(AB_HASH_SHARD, keys without chunk and pane) mod shards_count. */
uint32_t ab_group_key_shard(struct ab_bytes key, uint32_t shards_count);

/* ---- which stored keys a query has to look at ---- */

enum ab_scan_step {
    AB_SCAN_MATCH, /* the row may match: look at it, then go on to the next key */
    AB_SCAN_NEXT,  /* it does not match: go on to the next key */
    AB_SCAN_SEEK,  /* nothing matches before the key in `seek` */
    AB_SCAN_END,   /* nothing can match from here on */
};

struct ab_group_scan;

/* Prepares the key order test of a query: time chunks from its window bounds, leading keys from its pins.
 * `hidden_until_us`: panes that end at or before it are not shown (INT64_MIN = none). The query must outlive the scan.
 */
struct ab_group_scan *ab_group_scan_create(const struct ab_query *query, ab_time_us hidden_until_us);
void ab_group_scan_destroy(struct ab_group_scan *scan);

/* The first key worth seeking to, into `seek` (cleared first). */
void ab_group_scan_start(const struct ab_group_scan *scan, struct ab_buffer *seek);

/* Judges a key by order alone (window bounds, pins); the query's whole WHERE is applied by the rollup. On AB_SCAN_SEEK
 * `seek` holds the next key. A malformed key is AB_SCAN_MATCH: the rollup reports it. */
enum ab_scan_step ab_group_scan_judge(const struct ab_group_scan *scan, struct ab_bytes key, struct ab_buffer *seek);

#endif
