/* views: the Lambda side of a node in memory: what views count of records, the spans that speed keeps after a cut, and
 * the batch versions that are the fold of everything up to one. */
#ifndef ANABRANCH_TESTS_SIMULATION_VIEWS_H
#define ANABRANCH_TESTS_SIMULATION_VIEWS_H

#include "cluster/publication.h"
#include "common/base/hash.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_PARTITIONS_MAX 3u
#define SIM_VIEWS 2u
#define SIM_SPANS_MAX 128u
#define SIM_SPANS_LIVE_MAX 12u /* a leader refuses cuts when it has so many */
#define SIM_VERSIONS_MAX 8u

struct sim_record;

/* A count and a sum over the identities of records: a record that is missing, or is there twice, shows in it. */
struct sim_total {
    uint64_t count, sum;
};

struct sim_totals {
    struct sim_total views[SIM_VIEWS];
};

/* One more record (view 0 has all blocks, view 1 every other one), and one more sum. */
void sim_totals_add(struct sim_totals *totals, const struct sim_record *record);
void sim_total_merge(struct sim_total *total, struct sim_total other);
void sim_totals_merge(struct sim_totals *totals, const struct sim_totals *other);
bool sim_total_equal(struct sim_total a, struct sim_total b);
bool sim_totals_equal(const struct sim_totals *a, const struct sim_totals *b);

/* ---- speed ---- */

struct sim_span {
    uint64_t number; /* of the cut that closed it */
    uint64_t start;  /* offset of its first record */
    struct sim_totals totals;
};

/* The spans of one partition that are not retired; the last one is open. Zeroed memory: before any cut. */
struct sim_speed {
    uint64_t retired; /* spans up to this cut are gone */
    struct sim_span closed[SIM_SPANS_MAX];
    uint32_t closed_count;
    uint64_t last_cut;
    struct sim_span open;
};

/* A committed record is applied. */
void sim_speed_apply(struct sim_speed *speed, const struct sim_record *record);

/* Everything in the spans after a cut. */
struct sim_totals sim_speed_after(const struct sim_speed *speed, uint64_t cut);

/* Spans up to a cut are dropped; false while that cut is not applied. */
bool sim_speed_retire(struct sim_speed *speed, uint64_t cut);

/* Where the first span that is here begins. */
uint64_t sim_speed_start(const struct sim_speed *speed);

/* ---- batch ---- */

/* What a job makes: the fold of each partition's log up to a cut, and where that is. */
struct sim_version {
    struct ab_version_number number;
    uint64_t offsets[SIM_PARTITIONS_MAX]; /* after the cut's record */
    struct sim_totals totals[SIM_PARTITIONS_MAX];
};

/* The versions on a disk, complete and verified. */
struct sim_versions {
    struct sim_version items[SIM_VERSIONS_MAX];
    uint32_t count;
};

/* The version of that number; NULL. */
const struct sim_version *sim_versions_find(const struct sim_versions *versions, struct ab_version_number number);

/* Adds one; false when there is no room. */
bool sim_versions_add(struct sim_versions *versions, const struct sim_version *version);

#endif
