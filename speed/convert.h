/* convert: columns into a declared type where every value stays exactly what it is. */
#ifndef ANABRANCH_SPEED_CONVERT_H
#define ANABRANCH_SPEED_CONVERT_H

#include "common/block/column.h"

/* Converts BIGINT -> DECIMAL, BIGINT -> DOUBLE and DECIMAL -> DECIMAL; the result lives in the arena. AB_UNSUPPORTED
 * for other pairs, AB_OVERFLOW when some value would not stay exact, AB_FULL when the arena refuses. */
AB_MUST_USE ab_err ab_convert_column(
    const struct ab_column *column, struct ab_type type, struct ab_arena *arena, struct ab_column *converted);

#endif
