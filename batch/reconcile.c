#include "batch/reconcile.h"

#include <inttypes.h>

struct stream_totals {
    uint64_t rows, accepted, rejected, duplicates;
};

struct view_totals {
    uint64_t rows, aggregated, filtered, expired, faults, groups, compared, drift;
};

struct ab_reconcile {
    const struct ab_plan *plan;    /* borrowed */
    struct stream_totals *streams; /* owned; per stream of the catalog */
    struct view_totals *views;     /* owned; per view of the plan */
    uint64_t unlisted_rows;
    uint64_t refusals;
    uint64_t not_held;
    uint64_t replicas_compared;
    struct ab_json *evidence; /* owned; texts */
};

struct ab_reconcile *ab_reconcile_create(const struct ab_plan *plan)
{
    struct ab_reconcile *reconcile = ab_new(struct ab_reconcile);
    reconcile->plan = plan;
    reconcile->streams = ab_new_array(struct stream_totals, plan->catalog->streams_count + 1);
    reconcile->views = ab_new_array(struct view_totals, plan->views_count + 1);
    reconcile->evidence = ab_json_array();
    return reconcile;
}

void ab_reconcile_destroy(struct ab_reconcile *reconcile)
{
    if (reconcile != NULL) {
        ab_delete(reconcile->streams);
        ab_delete(reconcile->views);
        ab_json_destroy(reconcile->evidence);
        ab_delete(reconcile);
    }
}

static void evidence_add(struct ab_reconcile *reconcile, const char *text)
{
    if (ab_json_count(reconcile->evidence) < AB_RECONCILE_EVIDENCE_MAX) {
        ab_json_append(reconcile->evidence, ab_json_text(text));
    }
}

/* Notes a difference in counts: it refuses the publish. */
static void refuse(struct ab_reconcile *reconcile, char *text)
{
    reconcile->refusals++;
    evidence_add(reconcile, text);
    ab_delete(text);
}

/* What was acknowledged in the span that the job's cut ends is what was sealed of it. Rows of streams that the catalog
 * no longer has are in neither file, so a partition with some of them cannot be compared. */
static void acknowledged_compare(struct ab_reconcile *reconcile, const struct ab_sealed_span *sealed)
{
    const struct ab_plan_partition *said = &reconcile->plan->partitions[sealed->partition];
    if (sealed->span != reconcile->plan->cut || !said->has_counts || sealed->unlisted_rows > 0) {
        return;
    }
    uint64_t accepted = 0;
    uint64_t rejected = 0;
    uint64_t duplicates = 0;
    for (size_t s = 0; s < sealed->streams_count; s++) {
        accepted += sealed->streams[s].accepted;
        rejected += sealed->streams[s].rejected;
        duplicates += sealed->streams[s].duplicates;
    }
    if (accepted != said->accepted || rejected != said->rejected || duplicates != said->duplicates) {
        refuse(reconcile,
            ab_new_format("partition %" PRIu32 ", span %" PRIu64 ": speed acknowledged %" PRIu64 " rows, %" PRIu64
                          " dead letters, %" PRIu64 " duplicates; sealed are %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                sealed->partition, sealed->span, said->accepted, said->rejected, said->duplicates, accepted, rejected,
                duplicates));
    }
}

void ab_reconcile_add_sealed(struct ab_reconcile *reconcile, const struct ab_sealed_span *sealed)
{
    const struct ab_catalog *catalog = reconcile->plan->catalog;
    reconcile->unlisted_rows += sealed->unlisted_rows;
    acknowledged_compare(reconcile, sealed);
    for (uint32_t s = 0; s < catalog->streams_count; s++) {
        const struct ab_sealed_stream *counts = ab_sealed_span_stream(sealed, catalog->streams[s].name);
        if (counts == NULL) {
            continue;
        }
        struct stream_totals *totals = &reconcile->streams[s];
        totals->rows += counts->rows;
        totals->accepted += counts->accepted;
        totals->rejected += counts->rejected;
        totals->duplicates += counts->duplicates;
        if (counts->rows != counts->accepted + counts->rejected + counts->duplicates) {
            refuse(reconcile, ab_new_format("stream %s, partition %" PRIu32 ", span %" PRIu64 ": %" PRIu64
                                            " rows in the log, %" PRIu64 " sealed + %" PRIu64 " dead letters + %" PRIu64
                                            " duplicates",
                                  counts->name, sealed->partition, sealed->span, counts->rows, counts->accepted,
                                  counts->rejected, counts->duplicates));
        }
    }
}

/* "view v, partition p, span k". */
static char *place_of(const struct ab_reconcile *reconcile, const struct ab_unit_result *result)
{
    return ab_new_format("view %s, partition %" PRIu32 ", span %" PRIu64,
        reconcile->plan->views[result->view].view->name, result->partition, reconcile->plan->spans[result->span].cut);
}

void ab_reconcile_add_result(struct ab_reconcile *reconcile, const struct ab_unit_result *result)
{
    const struct ab_run_summary *summary = &result->summary;
    const struct ab_row_counts *counts = &summary->counts;
    struct view_totals *totals = &reconcile->views[result->view];
    totals->rows += summary->rows_scanned;
    totals->aggregated += counts->aggregated;
    totals->filtered += counts->filtered;
    totals->expired += counts->expired;
    totals->faults += counts->faults;
    totals->groups += summary->digest.groups_count;
    if (summary->rows_scanned != counts->aggregated + counts->filtered + counts->expired ||
        summary->digest.rows_count != counts->aggregated) {
        char *place = place_of(reconcile, result);
        refuse(reconcile, ab_new_format("%s: %" PRIu64 " rows scanned, %" PRIu64 " aggregated (%" PRIu64
                                        " in states) + %" PRIu64 " filtered + %" PRIu64 " expired",
                              place, summary->rows_scanned, counts->aggregated, summary->digest.rows_count,
                              counts->filtered, counts->expired));
        ab_delete(place);
    }
}

/* What speed says of one partition. */
struct speed_side {
    struct ab_hash128 digest;
    uint64_t groups, rows, expired, filtered, aggregated;
};

static uint64_t partition_of(const struct ab_json *entry)
{
    return ab_json_u64_or(ab_json_get(entry, "partition"), UINT64_MAX);
}

static ab_err side_decode(const struct ab_json *entry, struct speed_side *side, struct ab_error *error)
{
    side->groups = ab_json_u64_or(ab_json_get(entry, "groups"), UINT64_MAX);
    side->rows = ab_json_u64_or(ab_json_get(entry, "rows"), UINT64_MAX);
    side->expired = ab_json_u64_or(ab_json_get(entry, "expired"), UINT64_MAX);
    side->filtered = ab_json_u64_or(ab_json_get(entry, "filtered"), UINT64_MAX);
    side->aggregated = ab_json_u64_or(ab_json_get(entry, "aggregated"), UINT64_MAX);
    bool is_whole = side->groups != UINT64_MAX && side->rows != UINT64_MAX && side->expired != UINT64_MAX &&
                    side->filtered != UINT64_MAX && side->aggregated != UINT64_MAX &&
                    ab_hash128_parse(ab_json_bytes(ab_json_get(entry, "digest")), &side->digest) == AB_OK;
    return is_whole ? AB_OK
                    : ab_error_set(error, AB_INVALID, "speed's digest of partition %" PRIu64 " is malformed",
                          partition_of(entry));
}

static ab_err speed_side_take(
    const struct ab_json *answer, uint32_t partition, struct speed_side *side, struct ab_error *error)
{
    const struct ab_json *list = ab_json_get(answer, "partitions");
    for (size_t i = 0; i < ab_json_count(list); i++) {
        if (partition_of(ab_json_at(list, i)) == partition) {
            return side_decode(ab_json_at(list, i), side, error);
        }
    }
    return ab_error_set(error, AB_INVALID, "speed's digests lack partition %" PRIu32, partition);
}

static void side_compare(
    struct ab_reconcile *reconcile, const struct ab_unit_result *result, const struct speed_side *side)
{
    const struct ab_run_summary *summary = &result->summary;
    struct view_totals *totals = &reconcile->views[result->view];
    totals->compared++;
    if (side->aggregated != summary->counts.aggregated || side->filtered != summary->counts.filtered ||
        side->expired != summary->counts.expired || side->rows != summary->digest.rows_count) {
        char *place = place_of(reconcile, result);
        refuse(reconcile,
            ab_new_format("%s: speed aggregated %" PRIu64 " (%" PRIu64 " in states), filtered %" PRIu64
                          ", expired %" PRIu64 "; batch %" PRIu64 " (%" PRIu64 "), %" PRIu64 ", %" PRIu64,
                place, side->aggregated, side->rows, side->filtered, side->expired, summary->counts.aggregated,
                summary->digest.rows_count, summary->counts.filtered, summary->counts.expired));
        ab_delete(place);
        return;
    }
    if (side->groups != summary->digest.groups_count || !ab_hash128_equal(side->digest, summary->digest.sum)) {
        char digests[2][33];
        char *place = place_of(reconcile, result);
        ab_hash128_format(side->digest, digests[0]);
        ab_hash128_format(summary->digest.sum, digests[1]);
        char *text = ab_new_format("%s: speed's digest %s of %" PRIu64 " groups, batch's %s of %" PRIu64, place,
            digests[0], side->groups, digests[1], summary->digest.groups_count);
        totals->drift++;
        evidence_add(reconcile, text);
        ab_delete(text);
        ab_delete(place);
    }
}

/* What a replica says that does not lead: it has to be what batch computed, which the leader has agreed with. */
static void replica_compare(
    struct ab_reconcile *reconcile, const struct ab_unit_result *result, const struct speed_side *side, uint64_t node)
{
    const struct ab_run_summary *summary = &result->summary;
    reconcile->replicas_compared++;
    bool is_same = side->groups == summary->digest.groups_count && side->rows == summary->digest.rows_count &&
                   side->aggregated == summary->counts.aggregated && side->filtered == summary->counts.filtered &&
                   side->expired == summary->counts.expired && ab_hash128_equal(side->digest, summary->digest.sum);
    if (is_same) {
        return;
    }
    char digests[2][33];
    char *place = place_of(reconcile, result);
    ab_hash128_format(side->digest, digests[0]);
    ab_hash128_format(summary->digest.sum, digests[1]);
    char *text = ab_new_format("%s: the replica of node %" PRIu64 " has diverged: digest %s of %" PRIu64
                               " groups and %" PRIu64 " rows, batch's %s of %" PRIu64 " and %" PRIu64,
        place, node, digests[0], side->groups, side->rows, digests[1], summary->digest.groups_count,
        summary->digest.rows_count);
    reconcile->views[result->view].drift++;
    evidence_add(reconcile, text);
    ab_delete(text);
    ab_delete(place);
}

static ab_err replicas_compare(struct ab_reconcile *reconcile, const struct ab_unit_result *results, size_t count,
    const struct ab_json *answer, struct ab_error *error)
{
    const struct ab_json *list = ab_json_get(answer, "replicas");
    for (size_t i = 0; i < ab_json_count(list); i++) {
        const struct ab_json *entry = ab_json_at(list, i);
        struct speed_side side;
        AB_TRY(side_decode(entry, &side, error));
        for (size_t r = 0; r < count; r++) {
            if (results[r].partition == partition_of(entry)) {
                replica_compare(reconcile, &results[r], &side, ab_json_u64_or(ab_json_get(entry, "node"), 0));
            }
        }
    }
    return AB_OK;
}

ab_err ab_reconcile_compare(struct ab_reconcile *reconcile, const struct ab_unit_result *results, size_t count,
    const struct ab_json *answer, struct ab_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct speed_side side;
        AB_TRY(speed_side_take(answer, results[i].partition, &side, error));
        side_compare(reconcile, &results[i], &side);
    }
    return replicas_compare(reconcile, results, count, answer, error);
}

void ab_reconcile_not_held(struct ab_reconcile *reconcile)
{
    reconcile->not_held++;
}

uint64_t ab_reconcile_refusals(const struct ab_reconcile *reconcile)
{
    return reconcile->refusals;
}

uint64_t ab_reconcile_drift(const struct ab_reconcile *reconcile)
{
    uint64_t drift = 0;
    for (size_t v = 0; v < reconcile->plan->views_count; v++) {
        drift += reconcile->views[v].drift;
    }
    return drift;
}

static struct ab_json *streams_report(const struct ab_reconcile *reconcile, uint64_t *rows)
{
    struct ab_json *list = ab_json_array();
    const struct ab_catalog *catalog = reconcile->plan->catalog;
    *rows = 0;
    for (uint32_t s = 0; s < catalog->streams_count; s++) {
        const struct stream_totals *totals = &reconcile->streams[s];
        struct ab_json *entry = ab_json_object();
        ab_json_set(entry, "stream", ab_json_text(catalog->streams[s].name));
        ab_json_set(entry, "rows", ab_json_integer((int64_t)totals->rows));
        ab_json_set(entry, "sealed", ab_json_integer((int64_t)totals->accepted));
        ab_json_set(entry, "dead_letters", ab_json_integer((int64_t)totals->rejected));
        ab_json_set(entry, "duplicates", ab_json_integer((int64_t)totals->duplicates));
        ab_json_append(list, entry);
        *rows += totals->rows;
    }
    return list;
}

static struct ab_json *views_report(const struct ab_reconcile *reconcile, uint64_t *compared)
{
    struct ab_json *list = ab_json_array();
    *compared = 0;
    for (size_t v = 0; v < reconcile->plan->views_count; v++) {
        const struct view_totals *totals = &reconcile->views[v];
        struct ab_json *entry = ab_json_object();
        ab_json_set(entry, "view", ab_json_text(reconcile->plan->views[v].view->name));
        ab_json_set(entry, "rows", ab_json_integer((int64_t)totals->rows));
        ab_json_set(entry, "aggregated", ab_json_integer((int64_t)totals->aggregated));
        ab_json_set(entry, "filtered", ab_json_integer((int64_t)totals->filtered));
        ab_json_set(entry, "expired", ab_json_integer((int64_t)totals->expired));
        ab_json_set(entry, "faults", ab_json_integer((int64_t)totals->faults));
        ab_json_set(entry, "groups", ab_json_integer((int64_t)totals->groups));
        ab_json_set(entry, "compared", ab_json_integer((int64_t)totals->compared));
        ab_json_set(entry, "drift", ab_json_integer((int64_t)totals->drift));
        ab_json_append(list, entry);
        *compared += totals->compared;
    }
    return list;
}

struct ab_json *ab_reconcile_report(const struct ab_reconcile *reconcile)
{
    uint64_t rows = 0;
    uint64_t compared = 0;
    struct ab_json *report = ab_json_object();
    struct ab_json *streams = streams_report(reconcile, &rows);
    struct ab_json *views = views_report(reconcile, &compared);
    struct ab_buffer evidence = {0};
    struct ab_json *copy = NULL;
    ab_json_write(reconcile->evidence, 0, &evidence);
    if (ab_json_parse(ab_buffer_view(&evidence), &copy, NULL) != AB_OK) {
        copy = ab_json_array();
    }
    ab_buffer_fini(&evidence);
    ab_json_set(report, "job", ab_json_text(reconcile->plan->job));
    ab_json_set(report, "attempt", ab_json_integer(reconcile->plan->attempt));
    ab_json_set(report, "cut", ab_json_integer((int64_t)reconcile->plan->cut));
    ab_json_set(report, "rows", ab_json_integer((int64_t)rows));
    ab_json_set(report, "drift", ab_json_integer((int64_t)ab_reconcile_drift(reconcile)));
    ab_json_set(report, "compared", ab_json_integer((int64_t)compared));
    ab_json_set(report, "replicas_compared", ab_json_integer((int64_t)reconcile->replicas_compared));
    ab_json_set(report, "not_held", ab_json_integer((int64_t)reconcile->not_held));
    ab_json_set(report, "count_differences", ab_json_integer((int64_t)reconcile->refusals));
    ab_json_set(report, "unlisted_rows", ab_json_integer((int64_t)reconcile->unlisted_rows));
    ab_json_set(report, "streams", streams);
    ab_json_set(report, "views", views);
    ab_json_set(report, "evidence", copy);
    return report;
}
