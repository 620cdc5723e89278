/* SUM_DOUBLE and SQUARES_DOUBLE: sums without rounding (after Neal 2015, with one base per column and table).
 *
 * A state is a two's complement integer of 3 (4 for squares) words in units of 2^base. A value whose bits all stand
 * inside the window [base, base + 127) ([base, base + 190) for squares) is one wide addition; every other value goes to
 * the group's accumulator outside: growable words that cover any exponent. The base is chosen from the first data of a
 * table and shared by its states; what is encoded is the sum itself, so neither base nor order shows.
 */
#include "common/aggregate/primitive_exact.h"

#include "common/aggregate/primitive_exact_add.h"
#include "common/base/assert.h"
#include "common/base/decimal.h"

#define SUM_WORDS 3
#define SQUARES_WORDS 4
#define WORDS_MAX AB_EXACT_STATE_WORDS_MAX
/* Bases taken when the first data fits: values of about 4e-12 .. 1e11 and 4e-6 .. 3e7. Equal bases make merges cheap.
 */
#define SUM_BASE_USUAL (-90)
#define SQUARES_BASE_USUAL (-140)
/* So that infinities and NaN (lowest bit 972) always miss the window. */
#define SUM_BASE_MAX 896
#define SQUARES_BASE_MAX 1792
/* Exponent of bit 0 of word 0 of an accumulator outside: below the square of the least subnormal, 2^-2148. */
#define ORIGIN (-2176)
#define OUTSIDE_WORDS_MAX 80

#define SQUARES_LOWEST (-2148)
#define SUM_LOWEST (-1074)

/* The accumulator outside: two's complement words from word `first` on; the top word is only sign. */
struct ab_exact_outside {
    uint32_t flags;
    uint32_t first;
    uint32_t count;
    uint32_t capacity;
    uint64_t words[];
};

/* Squares and products: 106 bits a value. */
static bool is_wide(const struct ab_primitive_context *context)
{
    return context->kind == AB_PRIMITIVE_SQUARES_DOUBLE || context->kind == AB_PRIMITIVE_PRODUCTS_DOUBLE;
}

static uint32_t words_of(const struct ab_primitive_context *context)
{
    return is_wide(context) ? SQUARES_WORDS : SUM_WORDS;
}

static size_t outside_bytes(uint32_t capacity)
{
    return sizeof(struct ab_exact_outside) + capacity * sizeof(uint64_t);
}

/* ---- the accumulator outside ---- */

/* Makes words [low, high) part of it. */
static struct ab_exact_outside *outside_cover(
    struct ab_primitive_context *context, struct ab_exact_outside **place, uint32_t low, uint32_t high)
{
    struct ab_exact_outside *old = *place;
    if (old != NULL && old->count > 0) {
        low = old->first < low ? old->first : low;
        high = old->first + old->count > high ? old->first + old->count : high;
    }
    AB_ASSERT(low <= high && high <= OUTSIDE_WORDS_MAX);
    uint32_t count = high - low;
    if (old == NULL || old->capacity < count) {
        uint32_t capacity = count + (count > 0 ? 2 : 0);
        struct ab_exact_outside *grown = ab_memory_alloc_total(context->memory, outside_bytes(capacity));
        grown->capacity = capacity;
        if (old != NULL) {
            grown->flags = old->flags;
            grown->first = old->first;
            grown->count = old->count;
            memcpy(grown->words, old->words, old->count * sizeof(uint64_t));
            ab_memory_free(context->memory, old, outside_bytes(old->capacity));
        }
        *place = grown;
        old = grown;
    }
    if (count > old->count || old->count == 0) {
        uint32_t below = old->count > 0 ? old->first - low : 0;
        uint32_t above_from = below + old->count;
        memmove(old->words + below, old->words, old->count * sizeof(uint64_t));
        bool is_negative = old->count > 0 && (old->words[above_from - 1] >> 63) != 0;
        memset(old->words, 0, below * sizeof(uint64_t));
        memset(old->words + above_from, is_negative ? 0xff : 0, (count - above_from) * sizeof(uint64_t));
        old->first = low;
        old->count = count;
    }
    return old;
}

void ab_exact_flag(struct ab_primitive_context *context, struct ab_exact_state *state, uint32_t flags)
{
    if (state->outside == NULL) {
        state->outside = ab_memory_alloc_total(context->memory, outside_bytes(0));
    }
    state->outside->flags |= flags;
}

/* Adds a number; its position is at least ORIGIN and its top stays far below the last word. */
static void outside_add(
    struct ab_primitive_context *context, struct ab_exact_outside **place, const struct ab_exact *exact)
{
    if (exact->words_count == 0) {
        return;
    }
    uint32_t bit = (uint32_t)(exact->position - ORIGIN);
    uint32_t low = bit / 64;
    uint32_t count = exact->words_count + 2;
    struct ab_exact_outside *outside = outside_cover(context, place, low, low + count);
    uint64_t addend[AB_EXACT_WORDS_MAX];
    AB_ASSERT(count <= AB_EXACT_WORDS_MAX && ab_exact_to_words(exact, bit % 64, addend, count));
    uint64_t extension = exact->is_negative ? UINT64_MAX : 0;
    uint64_t carry = 0;
    for (uint32_t i = low - outside->first; i < outside->count; i++) {
        uint32_t at = i - (low - outside->first);
        ab_uint128 sum = (ab_uint128)outside->words[i] + (at < count ? addend[at] : extension) + carry;
        outside->words[i] = (uint64_t)sum;
        carry = (uint64_t)(sum >> 64);
    }
    /* The top word held only signs on both sides, so it still tells the sign; it must hold nothing else. */
    uint64_t top = outside->words[outside->count - 1];
    if (top != 0 && top != UINT64_MAX) {
        (void)outside_cover(context, place, outside->first, outside->first + outside->count + 1);
    }
}

/* ---- the state ---- */

static void exact_of_double(double number, bool squared, struct ab_exact *exact)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    uint32_t biased = (uint32_t)(bits >> 52) & 0x7ff;
    uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | (biased == 0 ? 0 : UINT64_C(1) << 52);
    int32_t lowest = (int32_t)(biased == 0 ? 1 : biased) - 1075;
    ab_uint128 square = (ab_uint128)mantissa * mantissa;
    uint64_t words[3] = {mantissa, 0, 0};
    if (squared) {
        words[0] = (uint64_t)square;
        words[1] = (uint64_t)(square >> 64);
    }
    ab_exact_from_words(exact, words, 3, squared ? 2 * lowest : lowest);
    exact->is_negative = !squared && (bits >> 63) != 0 && exact->words_count > 0;
}

void ab_exact_add_exact(
    struct ab_primitive_context *context, struct ab_exact_state *state, const struct ab_exact *exact)
{
    outside_add(context, &state->outside, exact);
}

void ab_exact_add_outside(struct ab_primitive_context *context, struct ab_exact_state *state, double number)
{
    if (number != number) {
        ab_exact_flag(context, state, AB_EXACT_NAN);
        return;
    }
    if (__builtin_isinf(number)) {
        bool is_plus = context->kind == AB_PRIMITIVE_SQUARES_DOUBLE || number > 0;
        ab_exact_flag(context, state, is_plus ? AB_EXACT_PLUS_INFINITY : AB_EXACT_MINUS_INFINITY);
        return;
    }
    struct ab_exact exact;
    exact_of_double(number, context->kind == AB_PRIMITIVE_SQUARES_DOUBLE, &exact);
    outside_add(context, &state->outside, &exact);
}

/* Chooses the base when there is none: usual if numbers with lowest bits in [low, high] fit, else around them. */
void ab_exact_base_choose(struct ab_primitive_context *context, int32_t low, int32_t high)
{
    bool squares = is_wide(context);
    int32_t shift_max = squares ? AB_EXACT_WIDE_SHIFT_MAX : AB_EXACT_SUM_SHIFT_MAX;
    int32_t base = squares ? SQUARES_BASE_USUAL : SUM_BASE_USUAL;
    if (low < base || high > base + shift_max) {
        int32_t lowest = squares ? SQUARES_LOWEST : SUM_LOWEST;
        int32_t highest = squares ? SQUARES_BASE_MAX : SUM_BASE_MAX;
        base = low + (high - low) / 2 - shift_max / 2;
        base = base < lowest ? lowest : base > highest ? highest : base;
    }
    context->base = base;
    context->has_base = true;
}

static void base_choose_of_batch(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    const double *values = batch->column->values;
    int32_t low = INT32_MAX;
    int32_t high = INT32_MIN;
    for (size_t i = 0; i < batch->count; i++) {
        uint64_t bits;
        memcpy(&bits, &values[batch->rows[i]], sizeof(bits));
        uint32_t biased = (uint32_t)(bits >> 52) & 0x7ff;
        if (bits << 1 == 0 || biased == 0x7ff) {
            continue;
        }
        int32_t lowest = (int32_t)(biased == 0 ? 1 : biased) - 1075;
        low = lowest < low ? lowest : low;
        high = lowest > high ? lowest : high;
    }
    if (low <= high) {
        int32_t factor = is_wide(context) ? 2 : 1;
        ab_exact_base_choose(context, factor * low, factor * high);
    }
}

int32_t ab_primitive_exact_base(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    if (!context->has_base) {
        base_choose_of_batch(context, batch);
    }
    /* Without a base there were only zeros, NaN and infinities so far: all of them miss this window. */
    int32_t highest = is_wide(context) ? SQUARES_BASE_MAX : SUM_BASE_MAX;
    return context->has_base ? context->base : highest;
}

static void sum_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    int32_t base = ab_primitive_exact_base(context, batch);
    const double *values = batch->column->values;
    for (size_t i = 0; i < batch->count; i++) {
        struct ab_exact_state *state = (void *)(batch->states + batch->stride * batch->groups[i]);
        ab_exact_sum_add(context, state, values[batch->rows[i]], base);
    }
}

static inline void squares_add(
    struct ab_primitive_context *context, struct ab_exact_state *state, double number, int32_t base)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    uint32_t biased = (uint32_t)(bits >> 52) & 0x7ff;
    uint32_t shift = (uint32_t)(2 * ((int32_t)(biased + (biased == 0)) - 1075) - base);
    if (__builtin_expect(shift > AB_EXACT_WIDE_SHIFT_MAX, 0)) {
        if (bits << 1 != 0) {
            ab_exact_add_outside(context, state, number);
        }
        return;
    }
    uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | (uint64_t)(biased != 0) << 52;
    ab_exact_wide_add(state, (ab_uint128)mantissa * mantissa, shift, false);
}

static void squares_update(struct ab_primitive_context *context, const struct ab_primitive_batch *batch)
{
    int32_t base = ab_primitive_exact_base(context, batch);
    const double *values = batch->column->values;
    for (size_t i = 0; i < batch->count; i++) {
        struct ab_exact_state *state = (void *)(batch->states + batch->stride * batch->groups[i]);
        squares_add(context, state, values[batch->rows[i]], base);
    }
}

static void outside_value(const struct ab_exact_outside *outside, struct ab_exact *exact)
{
    ab_exact_from_words(exact, outside->words, outside->count, ORIGIN + (int32_t)(outside->first * 64));
}

uint32_t ab_primitive_exact_value(
    const struct ab_primitive_context *context, const void *state_bytes, struct ab_exact *finite)
{
    const struct ab_exact_state *state = state_bytes;
    if (state->outside == NULL || state->outside->count == 0) {
        ab_exact_from_words(finite, state->words, words_of(context), context->base);
        return state->outside == NULL ? 0 : state->outside->flags;
    }
    struct ab_exact inside;
    struct ab_exact outside;
    ab_exact_from_words(&inside, state->words, words_of(context), context->base);
    outside_value(state->outside, &outside);
    ab_exact_add(&inside, &outside, finite);
    return state->outside->flags;
}

bool ab_primitive_exact_special(uint32_t flags, double *number)
{
    if (flags == 0) {
        return false;
    }
    bool is_nan = (flags & AB_EXACT_NAN) != 0 || (flags & (AB_EXACT_PLUS_INFINITY | AB_EXACT_MINUS_INFINITY)) ==
                                                     (AB_EXACT_PLUS_INFINITY | AB_EXACT_MINUS_INFINITY);
    double infinite = (flags & AB_EXACT_PLUS_INFINITY) != 0 ? __builtin_inf() : -__builtin_inf();
    *number = is_nan ? __builtin_nan("") : infinite;
    return true;
}

/* Keeps the words below a quarter of their range, so that 2^63 rows more cannot overflow them. */
static void state_spill(struct ab_primitive_context *context, struct ab_exact_state *state)
{
    uint32_t count = words_of(context);
    uint64_t top = state->words[count - 1];
    if (top + (UINT64_C(1) << 62) < UINT64_C(1) << 63) {
        return;
    }
    struct ab_exact inside;
    ab_exact_from_words(&inside, state->words, count, context->base);
    outside_add(context, &state->outside, &inside);
    memset(state->words, 0, count * sizeof(uint64_t));
}

static void state_add_words(struct ab_primitive_context *context, struct ab_exact_state *state, const uint64_t *words)
{
    uint32_t count = words_of(context);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < count; i++) {
        ab_uint128 sum = (ab_uint128)state->words[i] + words[i] + carry;
        state->words[i] = (uint64_t)sum;
        carry = (uint64_t)(sum >> 64);
    }
    state_spill(context, state);
}

static void state_add_exact(
    struct ab_primitive_context *context, struct ab_exact_state *state, const struct ab_exact *exact)
{
    if (exact->words_count == 0) {
        return;
    }
    if (!context->has_base) {
        int32_t top = exact->position + (int32_t)ab_exact_bits(exact) - (is_wide(context) ? 106 : 53);
        ab_exact_base_choose(context, exact->position, top < exact->position ? exact->position : top);
    }
    uint64_t words[WORDS_MAX];
    int32_t shift = exact->position - context->base;
    if (shift >= 0 && shift < 256 && ab_exact_to_words(exact, (uint32_t)shift, words, words_of(context))) {
        state_add_words(context, state, words);
    } else {
        outside_add(context, &state->outside, exact);
    }
}

void ab_exact_merge_state(struct ab_primitive_context *context, void *state_bytes,
    const struct ab_primitive_context *other_context, const void *other_bytes)
{
    struct ab_exact_state *state = state_bytes;
    const struct ab_exact_state *other = other_bytes;
    struct ab_exact exact;
    if (!context->has_base && other_context->has_base) {
        context->has_base = true;
        context->base = other_context->base;
    }
    if (context->base == other_context->base) {
        /* Both stay below a quarter of their range, plus fewer than 2^63 updates: the sum does not wrap. */
        state_add_words(context, state, other->words);
    } else {
        ab_exact_from_words(&exact, other->words, words_of(context), other_context->base);
        state_add_exact(context, state, &exact);
    }
    if (other->outside != NULL) {
        if (other->outside->flags != 0) {
            ab_exact_flag(context, state, other->outside->flags);
        }
        outside_value(other->outside, &exact);
        outside_add(context, &state->outside, &exact);
    }
}

/* ---- payload ---- */

void ab_exact_encode_state(const struct ab_primitive_context *context, const void *state, struct ab_buffer *out)
{
    struct ab_exact finite;
    uint32_t flags = ab_primitive_exact_value(context, state, &finite);
    ab_exact_normalise(&finite);
    ab_buffer_put_u8(out, (uint8_t)(flags | (finite.is_negative ? AB_EXACT_NEGATIVE : 0)));
    if (finite.words_count > 0) {
        uint32_t zigzag = (uint32_t)finite.position << 1 ^ (uint32_t)(finite.position >> 31);
        ab_buffer_put_varint(out, zigzag);
        ab_buffer_put(out, finite.words, (ab_exact_bits(&finite) + 7) / 8);
    }
}

/* Reads a payload without judging it; false when it cannot be one. */
static bool payload_read(struct ab_bytes payload, uint32_t *flags, struct ab_exact *finite)
{
    struct ab_reader reader = ab_reader_of(payload);
    *flags = ab_reader_u8(&reader);
    /* Not the whole struct: its words are many and few of them are used. */
    finite->is_negative = (*flags & AB_EXACT_NEGATIVE) != 0;
    finite->words_count = 0;
    finite->position = 0;
    if (reader.has_failed || ab_reader_left(&reader) == 0) {
        return !reader.has_failed;
    }
    uint64_t zigzag = ab_reader_varint(&reader);
    size_t bytes = ab_reader_left(&reader);
    if (reader.has_failed || zigzag > 8192 || bytes == 0 || bytes > OUTSIDE_WORDS_MAX * sizeof(uint64_t)) {
        return false;
    }
    finite->position = (int32_t)(zigzag >> 1) ^ -(int32_t)(zigzag & 1);
    finite->words_count = (uint32_t)((bytes + 7) / 8);
    finite->words[finite->words_count - 1] = 0;
    memcpy(finite->words, reader.at, bytes);
    return true;
}

/* Writes what was read once more and compares: only one form of each number is a payload. */
static bool payload_is_canonical(struct ab_bytes payload, const struct ab_exact *finite)
{
    if (finite->words_count == 0) {
        return payload.bytes == 1 && !finite->is_negative;
    }
    uint32_t zigzag = (uint32_t)finite->position << 1 ^ (uint32_t)(finite->position >> 31);
    size_t varint_bytes = zigzag < 128 ? 1 : 2;
    return (finite->words[0] & 1) != 0 && payload.data[payload.bytes - 1] != 0 &&
           payload.bytes == 1 + varint_bytes + (ab_exact_bits(finite) + 7) / 8;
}

/* `highest`: exponents of values stay below it; rows are 2^64 at most. */
static ab_err exact_validate(struct ab_bytes payload, int32_t lowest, int32_t highest, bool is_signed)
{
    uint32_t flags = 0;
    struct ab_exact finite;
    if (!payload_read(payload, &flags, &finite) || flags > 15 || !payload_is_canonical(payload, &finite)) {
        return AB_CORRUPT;
    }
    if (!is_signed && (flags & (AB_EXACT_NEGATIVE | AB_EXACT_MINUS_INFINITY)) != 0) {
        return AB_CORRUPT;
    }
    bool is_in_range = finite.words_count == 0 ||
                       (finite.position >= lowest && finite.position + (int32_t)ab_exact_bits(&finite) <= highest + 64);
    return is_in_range ? AB_OK : AB_CORRUPT;
}

ab_err ab_exact_validate_sum(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return exact_validate(payload, SUM_LOWEST, 1024, true);
}

static ab_err squares_validate(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return exact_validate(payload, SQUARES_LOWEST, 2048, false);
}

ab_err ab_exact_validate_products(struct ab_bytes payload, uint8_t *type_kind)
{
    *type_kind = 0;
    return exact_validate(payload, SQUARES_LOWEST, 2048, true);
}

uint32_t ab_primitive_exact_decode(struct ab_bytes payload, struct ab_exact *finite)
{
    uint32_t flags = 0;
    AB_ASSERT(payload_read(payload, &flags, finite));
    return flags & ~AB_EXACT_NEGATIVE;
}

void ab_exact_absorb_state(struct ab_primitive_context *context, void *state_bytes, struct ab_bytes payload)
{
    struct ab_exact_state *state = state_bytes;
    struct ab_exact finite;
    uint32_t flags = ab_primitive_exact_decode(payload, &finite);
    if (flags != 0) {
        ab_exact_flag(context, state, flags);
    }
    state_add_exact(context, state, &finite);
}

void ab_exact_print_state(struct ab_bytes payload, struct ab_buffer *out)
{
    struct ab_exact exact;
    double number = 0;
    char text[AB_DECIMAL_TEXT_BYTES];
    if (!ab_primitive_exact_special(ab_primitive_exact_decode(payload, &exact), &number)) {
        number = ab_exact_divide(&exact, NULL, 0);
    }
    ab_buffer_put_format(out, "%s", ab_double_format(number, text));
}

void ab_exact_release_state(struct ab_primitive_context *context, void *state_bytes)
{
    struct ab_exact_state *state = state_bytes;
    if (state->outside != NULL) {
        ab_memory_free(context->memory, state->outside, outside_bytes(state->outside->capacity));
    }
    memset(state, 0, sizeof(struct ab_exact_outside *) + words_of(context) * sizeof(uint64_t));
}

size_t ab_exact_sum_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct ab_exact_outside *) + SUM_WORDS * sizeof(uint64_t);
}

size_t ab_exact_wide_bytes(struct ab_type type)
{
    (void)type;
    return sizeof(struct ab_exact_outside *) + SQUARES_WORDS * sizeof(uint64_t);
}

const struct ab_primitive_ops ab_primitive_sum_double = {
    .name = "sum_double",
    .state_bytes = ab_exact_sum_bytes,
    .update = sum_update,
    .merge = ab_exact_merge_state,
    .encode = ab_exact_encode_state,
    .validate = ab_exact_validate_sum,
    .absorb = ab_exact_absorb_state,
    .release = ab_exact_release_state,
    .print = ab_exact_print_state,
};

const struct ab_primitive_ops ab_primitive_squares_double = {
    .name = "squares_double",
    .state_bytes = ab_exact_wide_bytes,
    .update = squares_update,
    .merge = ab_exact_merge_state,
    .encode = ab_exact_encode_state,
    .validate = squares_validate,
    .absorb = ab_exact_absorb_state,
    .release = ab_exact_release_state,
    .print = ab_exact_print_state,
};
