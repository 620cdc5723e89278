/* fixture: a made-up cluster directory for batch tests: a catalog, logs of several partitions with cuts, and the truth
 * computed beside them. */
#ifndef ANABRANCH_TESTS_UNIT_BATCH_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_BATCH_FIXTURE_H

#include "common/aggregate/aggregation.h"
#include "common/aggregate/state_row.h"
#include "common/base/json.h"
#include "common/catalog/catalog.h"
#include "tests/support/test.h"

#define FIXTURE_PARTITIONS 5u
#define FIXTURE_SPANS_MAX 12u
#define FIXTURE_VIEWS 4u
#define FIXTURE_TIME INT64_C(1700000000000000)

struct fixture {
    char *directory; /* owned; a scratch directory */
    struct ab_catalog *catalog;
    struct ab_hash128 chains[FIXTURE_SPANS_MAX][FIXTURE_PARTITIONS]; /* of the cuts */
    uint64_t end_offsets[FIXTURE_SPANS_MAX][FIXTURE_PARTITIONS];
    size_t spans_count;
    uint64_t rows[FIXTURE_SPANS_MAX]; /* all rows of a span */
    uint64_t accepted[FIXTURE_SPANS_MAX];
    uint64_t rejected[FIXTURE_SPANS_MAX];
    uint64_t duplicates[FIXTURE_SPANS_MAX];
    /* What speed would say: */
    struct ab_digest digests[FIXTURE_VIEWS][FIXTURE_SPANS_MAX][FIXTURE_PARTITIONS];
    struct ab_row_counts counts[FIXTURE_VIEWS][FIXTURE_SPANS_MAX][FIXTURE_PARTITIONS];
};

/* Makes the directory and the catalog: stream "payments"; views by_user (aligned), by_city (shuffled), total (no keys,
 * no panes), big (WHERE). */
void fixture_init(struct fixture *fixture);
void fixture_fini(struct fixture *fixture);

/* Appends blocks of about `rows` rows in all to every partition's log, then the next cut. */
void fixture_span_add(struct fixture *fixture, uint32_t rows);

/* T of a cut, from 1. */
ab_time_us fixture_time(uint64_t cut);

/* The controller's answer to a job that begins at the newest cut; `previous` (taken, may be NULL) maps views to
 * manifests. */
struct ab_json *fixture_begin_answer(
    const struct fixture *fixture, const char *job, uint32_t attempt, struct ab_json *previous);

/* Leaves the spans up to `cut` of an answer to history, as a controller does that has forgotten these cuts. */
void fixture_answer_prune(const struct fixture *fixture, struct ab_json *answer, uint64_t cut);

/* Speed's answer about a view and span. */
struct ab_json *fixture_digest_answer(const struct fixture *fixture, uint32_t view_uid, uint64_t span);

/* The stream's only view index by uid, or -1. */
int fixture_view_index(const struct fixture *fixture, uint32_t view_uid);

#endif
