/* plan: what a job has to do, from what the controller said: partitions, spans, and per view which spans are new. Pure.
 *
 * The controller's answer (JSON): {"job","attempt","cut","time_us","full","catalog"
 * (hex),"partitions":[{"partition","leader_epoch","offset","chain","accepted","rejected","duplicates"}],
 * "spans":[{"cut","offsets":[end per partition]}],"previous":{view: manifest or null},"shards",
 * "history":null or {"cut","offsets":[…],"chains":[…]}}; over several nodes also what places.h says, and "retained":
 * [directories that versions still name], since each node cleans up its own.
 *
 * "spans" are those whose cuts the controller still keeps. The ones before, up to "history"'s cut, are sealed, and only
 * their markers say where they end; "history" says where the last of them does. A job that builds some view from them
 * is told by ab_plan_needs_history, and adds "history"'s own "spans" (history_spans.h); a plan that lacks a span that
 * one of its views needs is never made.
 *
 * Work is placed by partition, and by the shard of the same number (places.h), so that what is aligned never travels.
 *
 * A new version is the version before and one more directory with the new spans. Directories at the end of the list are
 * merged into the new one while they are not AB_PLAN_GROWTH times larger than it, or while the list is longer than
 * AB_PLAN_DIRECTORIES_MAX: a group is rewritten at most once for each AB_PLAN_GROWTH-fold growth of the view.
 *
 * Threads: read-only after decoding.
 */
#ifndef ANABRANCH_BATCH_PLAN_H
#define ANABRANCH_BATCH_PLAN_H

#include "common/aggregate/aggregation.h"
#include "common/history/manifest.h"

#define AB_PLAN_DIRECTORIES_MAX 8u
#define AB_PLAN_GROWTH 4u

struct ab_plan_partition {
    uint64_t leader_epoch;
    uint64_t start_offset;   /* of the plan's first span */
    uint64_t end_offset;     /* after the job's cut record */
    struct ab_hash128 chain; /* of that record */
    bool has_counts;         /* speed said what it had acknowledged in the span that the cut ends: */
    uint64_t accepted, rejected, duplicates;
};

struct ab_plan_span {
    uint64_t cut;          /* the span's number */
    uint64_t *end_offsets; /* owned; per partition */
};

struct ab_plan_view {
    const struct ab_view *view;          /* of the plan's catalog */
    struct ab_aggregation *aggregation;  /* owned */
    bool has_previous;                   /* the version before holds this very definition and is built upon */
    struct ab_version_manifest previous; /* owned; when has_previous */
    size_t first_span;                   /* index of the first span that is not in the version before */
    char *path;                          /* owned; of the new directory, relative */
    bool is_sharded;                     /* groups travel to the shard of their keys; else shard = partition */
};

struct ab_plan {
    char *job; /* owned */
    uint32_t attempt;
    uint64_t cut;
    ab_time_us time_us;
    struct ab_catalog *catalog;           /* owned reference */
    struct ab_plan_partition *partitions; /* owned; by number */
    uint32_t partitions_count;            /* = shards */
    struct ab_plan_span *spans;           /* owned; rising without gap, the last one ends with the cut */
    size_t spans_count;
    struct ab_plan_view *views; /* owned; those that have something to do */
    size_t views_count;
    struct ab_json *previous; /* owned; manifests that stand, as told: what they name is never touched */
    struct ab_json *retained; /* owned; directories that versions still name, an array; NULL = not told */
};

/* Whether some view is built from spans that the answer leaves to history. Otherwise like ab_plan_decode. */
AB_MUST_USE ab_err ab_plan_needs_history(
    const struct ab_json *answer, bool is_full, bool *needs_history, struct ab_error *error);

/* Reads the answer. is_full: build every view from the first span on. AB_INVALID with the member's name, also when it
 * lacks spans that a view needs. */
AB_MUST_USE ab_err ab_plan_decode(
    const struct ab_json *answer, bool is_full, struct ab_plan *plan, struct ab_error *error);
void ab_plan_fini(struct ab_plan *plan);

/* First offset of a span in a partition. */
uint64_t ab_plan_from_offset(const struct ab_plan *plan, size_t span, uint32_t partition);

/* How many directories of the version before stay, when the new spans have new_rows groups: the others are merged into
 * the new one. */
uint32_t ab_plan_keep_directories(const struct ab_plan_view *view, uint64_t new_rows);

/* Panes of the view that end at or before it are gone at time T (0 = no cut yet); INT64_MIN = none. */
ab_time_us ab_plan_horizon(const struct ab_view *view, ab_time_us time_us);

/* True when the group's pane has ended by the horizon. Malformed keys are not expired. */
bool ab_plan_is_expired(const struct ab_view *view, struct ab_bytes key, ab_time_us horizon_us);

/* True when some manifest that stands names this directory. */
bool ab_plan_is_referenced(const struct ab_plan *plan, const char *path);

/* True when it was told which directories versions still name, and this one is not among them. */
bool ab_plan_is_garbage(const struct ab_plan *plan, const char *path);

#endif
