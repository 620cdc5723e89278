/* reconcile: does what batch computed agree with the log and with what speed held? (DESIGN 5.6) Pure.
 *
 * Per stream and span: rows in the log = sealed + dead letters + duplicates; in the span that the job's cut ends, what
 * was sealed is also what speed had acknowledged. Per view, span and partition: rows scanned = aggregated + filtered +
 * expired, and rows in states = aggregated. Against speed, for spans it still holds: the same counts, and the same
 * digest. A difference in counts refuses the publish; a difference in digests alone is drift: reported with evidence,
 * and published.
 *
 * Threads: owner.
 */
#ifndef ANABRANCH_BATCH_RECONCILE_H
#define ANABRANCH_BATCH_RECONCILE_H

#include "batch/plan.h"
#include "batch/sealed.h"
#include "batch/unit.h"

#define AB_RECONCILE_EVIDENCE_MAX 100u

struct ab_reconcile;

struct ab_reconcile *ab_reconcile_create(const struct ab_plan *plan);
void ab_reconcile_destroy(struct ab_reconcile *reconcile);

/* Adds one sealed span of a partition. */
void ab_reconcile_add_sealed(struct ab_reconcile *reconcile, const struct ab_sealed_span *sealed);

/* Adds what batch computed. */
void ab_reconcile_add_result(struct ab_reconcile *reconcile, const struct ab_unit_result *result);

/* Compares results[0 .. count) of one view and span, a partition each, with speed's answer:
 * {"partitions":[{"partition","digest","groups","rows", "expired","filtered","aggregated"}],"replicas":[the same with
 * "node"]}. Of several nodes, "partitions" has what those say that lead, "replicas" what others say that have the span
 * already: one that differs is drift, and named (REPLICATION H60). AB_INVALID when the answer lacks a partition or a
 * member. */
AB_MUST_USE ab_err ab_reconcile_compare(struct ab_reconcile *reconcile, const struct ab_unit_result *results,
    size_t count, const struct ab_json *answer, struct ab_error *error);

/* Notes that speed does not hold a view's span (any more, or never did). */
void ab_reconcile_not_held(struct ab_reconcile *reconcile);

/* Differences in counts so far, and digests that differ. */
uint64_t ab_reconcile_refusals(const struct ab_reconcile *reconcile);
uint64_t ab_reconcile_drift(const struct ab_reconcile *reconcile);

/* The report:
 * {"job","attempt","cut","rows","drift","compared","not_held","count_differences","unlisted_rows",
 *  "replicas_compared","streams":[…],"views":[…],"evidence":[…]}; the caller owns it. */
struct ab_json *ab_reconcile_report(const struct ab_reconcile *reconcile);

#endif
