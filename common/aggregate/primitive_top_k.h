/* primitive_top_k: the most frequent values, counted exactly up to AB_TOP_K_EXACT_MAX distinct ones, estimated beyond.
 *
 * Equal sets of rows must give equal bytes (I5), whatever the order and the split. SpaceSaving and Misra-Gries, the
 * usual summaries, do not: which counter they give up depends on what came first, and merging them is not associative.
 * Both questions, which values and how often, are therefore answered by functions of the set of rows alone:
 *
 *  - How often: exact counts, and beyond the bound a Count-Min sketch (Cormode and Muthukrishnan 2005): 4 rows of 8,192
 *    counters, each value adds to one counter a row, chosen by 13 bits of its hash. It is linear: sketches add. Its
 *    conservative update, which is better, depends on order and is not used. An estimate is never too small, and with
 *    probability 1 - e^-4 = 98 % too great by at most e / 8192 = 0.034 % of the rows counted.
 *  - Which: a linear sketch alone cannot name the frequent values, so a sample does. Every row has a random number of
 *    its own (ab_sketch_row_hash); a value's number is the least of its rows'. The AB_TOP_K_SAMPLE values with the
 *    least numbers are kept. This is a bottom-k sample with probability proportional to size (Rosen 1997; Cohen and
 *    Kaplan 2007, "Summarizing data using bottom-k sketches"), made of rows that are not aggregated: the least of n
 *    uniform numbers is distributed as if the value had drawn once with weight n. Taking least numbers, and the least
 *    AB_TOP_K_SAMPLE of them, is commutative and associative: a value that a part has dropped had a number above that
 *    part's AB_TOP_K_SAMPLE least, all of which are at most as great in the whole; if the value still belongs to the
 *    whole's sample, then by a row of another part, and that part kept it. A value that makes up a share f of the
 *    rows is missing with a probability of about e^(-2048 f): 4e-5 for half a percent, 1e-9 for one percent; on
 *    skewed data less, because the frequent values take one place each.
 *
 * A state changes its form when the 8,193rd distinct value arrives, whichever it is: then every exact count enters the
 * sketch, and the sample is taken from the numbers that were kept beside the counts.
 *
 * Payload: empty = no value; else u8 form, u8 type kind, then
 *   form 1, exact:  1 .. 8,192 values, rising: varint bytes, the value (cell.h), varint count (> 0), u64 number
 *   form 2, sketch: 4 x 8,192 varint counters, row by row,
 *                   then 2,048 values, rising: varint bytes, the value, u64 number
 *
 * Threads and memory: as primitive.h. An exact state has 52 bytes a value and its text, a sketch 256 KiB and the
 * sample.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_TOP_K_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_TOP_K_H

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive.h"

#define AB_TOP_K_EXACT_MAX 8192u
#define AB_TOP_K_SAMPLE 2048u
#define AB_TOP_K_DEPTH 4u
#define AB_TOP_K_WIDTH 8192u
/* What a query may ask for. */
#define AB_TOP_K_MAX 1000u
/* How far an estimate may be above the count, as a share of all rows counted, with probability 98 %. */
#define AB_TOP_K_ERROR (2.718281828459045 / AB_TOP_K_WIDTH)

struct ab_top_k_item {
    union ab_cell cell; /* text borrowed from the state */
    uint64_t count;
};

/* Writes the at most `k` most frequent values, the most frequent first, equal counts in rising order of value; returns
 * how many. *error_rows = how far a count may be above the truth (0 while exact). */
uint32_t ab_primitive_top_k(const void *state, uint32_t k, struct ab_top_k_item *items, uint64_t *error_rows);

/* How far a count may be above the truth, as a share of the rows counted; 0 while exact. */
double ab_primitive_top_k_error(const void *state);

#endif
