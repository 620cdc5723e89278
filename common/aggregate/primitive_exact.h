/* primitive_exact: what a finished exact sum of doubles is taken from: the number and the special values seen beside
 * it; and what the kinds that sum something made of doubles share. Threads: as primitive.h. */
#ifndef ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_EXACT_H
#define ANABRANCH_COMMON_AGGREGATE_PRIMITIVE_EXACT_H

#include "common/aggregate/exact.h"
#include "common/aggregate/primitive_exact_add.h"

enum ab_exact_flags {
    AB_EXACT_NAN = 1,
    AB_EXACT_PLUS_INFINITY = 2,
    AB_EXACT_MINUS_INFINITY = 4,
    AB_EXACT_NEGATIVE = 8, /* in payloads alone: the finite part is negative */
};

/* The finite part of a state of these kinds; returns the flags. */
uint32_t ab_primitive_exact_value(
    const struct ab_primitive_context *context, const void *state, struct ab_exact *finite);

/* The finite part of a validated payload of these kinds; returns the flags. */
uint32_t ab_primitive_exact_decode(struct ab_bytes payload, struct ab_exact *finite);

/* Notes special values. */
void ab_exact_flag(struct ab_primitive_context *context, struct ab_exact_state *state, uint32_t flags);

/* Adds a number of these kinds' range to the accumulator outside. */
void ab_exact_add_exact(
    struct ab_primitive_context *context, struct ab_exact_state *state, const struct ab_exact *exact);

/* Chooses the base of a context that has none: lowest bits of what is summed stand in [low, high]. */
void ab_exact_base_choose(struct ab_primitive_context *context, int32_t low, int32_t high);

/* Functions of primitive.h: of a sum of doubles (3 words), of products (4 words), and of both. */
size_t ab_exact_sum_bytes(struct ab_type type);
size_t ab_exact_wide_bytes(struct ab_type type);
AB_MUST_USE ab_err ab_exact_validate_sum(struct ab_bytes payload, uint8_t *type_kind);
AB_MUST_USE ab_err ab_exact_validate_products(struct ab_bytes payload, uint8_t *type_kind);
void ab_exact_merge_state(struct ab_primitive_context *context, void *state,
    const struct ab_primitive_context *other_context, const void *other);
void ab_exact_encode_state(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out);
void ab_exact_absorb_state(struct ab_primitive_context *context, void *state, struct ab_bytes payload);
void ab_exact_release_state(struct ab_primitive_context *context, void *state);
void ab_exact_print_state(struct ab_bytes payload, struct ab_buffer *out);

/* What flags say of the whole: true and *number when NaN or infinite. */
bool ab_primitive_exact_special(uint32_t flags, double *number);

#endif
