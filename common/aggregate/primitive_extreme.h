/* primitive_extreme: the state of MIN and MAX over DOUBLE, for loops that update several primitives at once.
 *
 * It is one word: for MAX the order word of the greatest value, for MIN the complement of that of the least. Either way
 * the greater word wins, and 0, which no number has, is no value. Threads: as primitive.h.
 */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_EXTREME_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_EXTREME_H

#include "common/aggregate/cell.h"
#include "common/aggregate/primitive.h"

/* From an order word to the word kept, and back. */
static inline uint64_t ab_extreme_word(enum ab_primitive_kind kind, uint64_t order)
{
    return kind == AB_PRIMITIVE_MAX ? order : ~order;
}

static inline void ab_extreme_take(uint64_t *state, uint64_t word)
{
    uint64_t old = *state;
    *state = word > old ? word : old;
}

#endif
