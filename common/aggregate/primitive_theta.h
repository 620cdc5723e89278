/* primitive_theta: distinct values as a sample of their hashes, so that sets can be intersected and subtracted.
 *
 * The AB_THETA_SAMPLE + 1 least hashes are kept (Bar-Yossef et al. 2002, "Counting distinct elements in a data stream",
 * section 4; Beyer et al. 2007; as theta sketches: Dasgupta, Lang, Rhodes and Thaler 2016, "A framework for estimating
 * stream expression cardinalities"). Up to AB_THETA_SAMPLE values they are all of them, and every answer is exact.
 * Beyond, the greatest hash kept is theta: those below it are a uniform sample of all values, each taken with
 * probability theta / 2^64. A union takes the lesser theta; intersection and difference are the same operations on what
 * lies below it. An estimate n of s hashes below theta (as a share t) has the variance n (1 - t) / t, so its relative
 * standard error is sqrt((1 - t) / s): 1.6 % for a set itself, more for a small part of two large ones.
 *
 * Payload: empty = no value; else 1 .. AB_THETA_SAMPLE + 1 rising u64 hashes, those of DISTINCT.
 *
 * Threads and memory: as primitive.h; at most 128 KiB a state.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_THETA_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_THETA_H

#include "common/aggregate/primitive.h"

#define AB_THETA_SAMPLE 4096u

enum ab_theta_operation {
    AB_THETA_UNION,
    AB_THETA_INTERSECTION,
    AB_THETA_DIFFERENCE, /* in a and not in b */
};

struct ab_theta_estimate {
    double count;          /* whole while exact */
    double standard_error; /* of count, absolute; 0 while exact */
};

/* Distinct values in a state, or in what becomes of two. */
struct ab_theta_estimate ab_primitive_theta_value(const void *state);
struct ab_theta_estimate ab_primitive_theta_combine(const void *a, const void *b, enum ab_theta_operation operation);

#endif
