/* history_spans: the spans that history alone knows, from the markers of all partitions, for a plan that begins before
 * the cuts that the controller still keeps.
 *
 * A cut whose span is sealed and published may be forgotten by the controller: the markers (sealed.h) say where the
 * span begins and ends. They are trusted only together: each partition has a marker of each span, the spans of a
 * partition follow each other without gap from the first record on, and the last one ends at the record, with the chain
 * hash, that the controller wrote down when it forgot the cut.
 *
 * Threads: any. Memory: what it adds to the answer. Blocks: reads one small file a partition and span.
 */
#ifndef ANABRANCH_BATCH_HISTORY_SPANS_H
#define ANABRANCH_BATCH_HISTORY_SPANS_H

#include "common/base/json.h"

/* Numbers of the spans up to span_max of which a partition has a marker, rising; none without a folder. *numbers is the
 * caller's (ab_delete). AB_IO. */
AB_MUST_USE ab_err ab_history_spans_list(const char *directory, uint32_t partition, uint64_t span_max,
    uint64_t **numbers, size_t *numbers_count, struct ab_error *error);

/* Adds "spans" to the "history" of a controller's answer (plan.h). `directory` is the cluster's. AB_CORRUPT with
 * partition, span and what to do when a marker is missing, damaged or does not follow the one before; AB_INVALID when
 * the answer is malformed. */
AB_MUST_USE ab_err ab_history_spans_add(const char *directory, struct ab_json *answer, struct ab_error *error);

#endif
