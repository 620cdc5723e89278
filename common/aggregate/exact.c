#include "common/aggregate/exact.h"

#include "common/base/assert.h"

#define DIVISORS_MAX 8
/* Bits a quotient needs before rounding: 53, a rounding bit and more, so that what is below is only "not zero". */
#define QUOTIENT_BITS 66
#define DOUBLE_EXPONENT_LEAST (-1074)

static void exact_trim(struct ab_exact *exact)
{
    while (exact->words_count > 0 && exact->words[exact->words_count - 1] == 0) {
        exact->words_count--;
    }
    if (exact->words_count == 0) {
        exact->is_negative = false;
        exact->position = 0;
    }
}

void ab_exact_from_words(struct ab_exact *exact, const uint64_t *words, uint32_t count, int32_t position)
{
    AB_ASSERT(count <= AB_EXACT_WORDS_MAX);
    exact->is_negative = count > 0 && (words[count - 1] >> 63) != 0;
    exact->words_count = count;
    exact->position = position;
    uint64_t flip = exact->is_negative ? UINT64_MAX : 0;
    uint64_t carry = exact->is_negative ? 1 : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t word = (words[i] ^ flip) + carry;
        carry = carry != 0 && word == 0 ? 1 : 0;
        exact->words[i] = word;
    }
    exact_trim(exact);
}

uint32_t ab_exact_bits(const struct ab_exact *exact)
{
    if (exact->words_count == 0) {
        return 0;
    }
    return exact->words_count * 64 - (uint32_t)__builtin_clzll(exact->words[exact->words_count - 1]);
}

void ab_exact_normalise(struct ab_exact *exact)
{
    exact_trim(exact);
    if (exact->words_count == 0) {
        return;
    }
    uint32_t skipped = 0;
    while (exact->words[skipped] == 0) {
        skipped++;
    }
    uint32_t shift = (uint32_t)__builtin_ctzll(exact->words[skipped]);
    uint32_t kept = exact->words_count - skipped;
    for (uint32_t i = 0; i < kept; i++) {
        uint64_t low = exact->words[skipped + i];
        uint64_t high = i + 1 < kept ? exact->words[skipped + i + 1] : 0;
        exact->words[i] = shift == 0 ? low : low >> shift | high << (64 - shift);
    }
    exact->words_count = kept;
    exact->position += (int32_t)(skipped * 64 + shift);
    exact_trim(exact);
}

/* Writes a's magnitude, shifted left by `shift` bits, into count words. */
static void magnitude_shift(const struct ab_exact *a, uint32_t shift, uint64_t *out, uint32_t count)
{
    uint32_t skip = shift / 64;
    uint32_t bits = shift % 64;
    AB_ASSERT(count <= AB_EXACT_WORDS_MAX);
    memset(out, 0, count * sizeof(*out));
    for (uint32_t i = 0; i < a->words_count; i++) {
        AB_ASSERT(skip + i < count);
        out[skip + i] |= a->words[i] << bits;
        uint64_t rest = bits == 0 ? 0 : a->words[i] >> (64 - bits);
        if (rest != 0) {
            AB_ASSERT(skip + i + 1 < count);
            out[skip + i + 1] = rest;
        }
    }
}

bool ab_exact_to_words(const struct ab_exact *exact, uint32_t shift, uint64_t *out, uint32_t out_count)
{
    if (ab_exact_bits(exact) + shift > out_count * 64 - 2) {
        return false;
    }
    magnitude_shift(exact, shift, out, out_count);
    if (exact->is_negative) {
        uint64_t carry = 1;
        for (uint32_t i = 0; i < out_count; i++) {
            out[i] = ~out[i] + carry;
            carry = carry != 0 && out[i] == 0 ? 1 : 0;
        }
    }
    return true;
}

/* into += b, magnitudes of equal length; returns the carry. */
static uint64_t words_add(uint64_t *into, const uint64_t *b, uint32_t count)
{
    ab_uint128 carry = 0;
    for (uint32_t i = 0; i < count; i++) {
        carry += (ab_uint128)into[i] + b[i];
        into[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return (uint64_t)carry;
}

/* out = a - b, magnitudes of equal length with a >= b. */
static void words_subtract(const uint64_t *a, const uint64_t *b, uint64_t *out, uint32_t count)
{
    uint64_t borrow = 0;
    for (uint32_t i = 0; i < count; i++) {
        ab_uint128 difference = (ab_uint128)a[i] - b[i] - borrow;
        out[i] = (uint64_t)difference;
        borrow = (uint64_t)(difference >> 64) & 1;
    }
}

static bool words_less(const uint64_t *a, const uint64_t *b, uint32_t count)
{
    for (uint32_t i = count; i-- > 0;) {
        if (a[i] != b[i]) {
            return a[i] < b[i];
        }
    }
    return false;
}

static void exact_copy(const struct ab_exact *from, struct ab_exact *out)
{
    out->words_count = from->words_count;
    out->position = from->position;
    memcpy(out->words, from->words, from->words_count * sizeof(uint64_t));
}

static void exact_combine(const struct ab_exact *a, const struct ab_exact *b, bool is_b_negative, struct ab_exact *out)
{
    if (a->words_count == 0 || b->words_count == 0) {
        const struct ab_exact *other = b->words_count == 0 ? a : b;
        bool is_negative = b->words_count == 0 ? a->is_negative : is_b_negative;
        exact_copy(other, out);
        out->is_negative = is_negative && other->words_count > 0;
        return;
    }
    int32_t position = a->position < b->position ? a->position : b->position;
    uint32_t a_bits = ab_exact_bits(a) + (uint32_t)(a->position - position);
    uint32_t b_bits = ab_exact_bits(b) + (uint32_t)(b->position - position);
    uint32_t count = ((a_bits > b_bits ? a_bits : b_bits) + 64) / 64;
    uint64_t other[AB_EXACT_WORDS_MAX];
    magnitude_shift(a, (uint32_t)(a->position - position), out->words, count);
    magnitude_shift(b, (uint32_t)(b->position - position), other, count);
    out->is_negative = a->is_negative;
    if (a->is_negative == is_b_negative) {
        uint64_t carry = words_add(out->words, other, count);
        AB_ASSERT(carry == 0);
    } else if (words_less(out->words, other, count)) {
        words_subtract(other, out->words, out->words, count);
        out->is_negative = is_b_negative;
    } else {
        words_subtract(out->words, other, out->words, count);
    }
    out->position = position;
    out->words_count = count;
    exact_trim(out);
}

void ab_exact_add(const struct ab_exact *a, const struct ab_exact *b, struct ab_exact *out)
{
    exact_combine(a, b, b->is_negative, out);
}

void ab_exact_subtract(const struct ab_exact *a, const struct ab_exact *b, struct ab_exact *out)
{
    exact_combine(a, b, !b->is_negative, out);
}

void ab_exact_multiply(const struct ab_exact *a, const struct ab_exact *b, struct ab_exact *out)
{
    uint32_t count = a->words_count + b->words_count;
    AB_ASSERT(count <= AB_EXACT_WORDS_MAX);
    memset(out->words, 0, count * sizeof(*out->words));
    for (uint32_t i = 0; i < a->words_count; i++) {
        uint64_t carry = 0;
        for (uint32_t j = 0; j < b->words_count; j++) {
            ab_uint128 product = (ab_uint128)a->words[i] * b->words[j] + out->words[i + j] + carry;
            out->words[i + j] = (uint64_t)product;
            carry = (uint64_t)(product >> 64);
        }
        out->words[i + b->words_count] = carry;
    }
    out->is_negative = a->is_negative != b->is_negative;
    out->position = a->position + b->position;
    out->words_count = count;
    exact_trim(out);
}

void ab_exact_multiply_word(struct ab_exact *exact, uint64_t factor)
{
    uint64_t carry = 0;
    for (uint32_t i = 0; i < exact->words_count; i++) {
        ab_uint128 product = (ab_uint128)exact->words[i] * factor + carry;
        exact->words[i] = (uint64_t)product;
        carry = (uint64_t)(product >> 64);
    }
    if (carry != 0) {
        AB_ASSERT(exact->words_count < AB_EXACT_WORDS_MAX);
        exact->words[exact->words_count++] = carry;
    }
    exact_trim(exact);
}

static bool bit_at(const struct ab_exact *exact, uint32_t bit)
{
    return bit / 64 < exact->words_count && (exact->words[bit / 64] >> (bit % 64) & 1) != 0;
}

static bool any_below(const struct ab_exact *exact, uint32_t bit)
{
    for (uint32_t i = 0; i < exact->words_count && i < bit / 64; i++) {
        if (exact->words[i] != 0) {
            return true;
        }
    }
    return bit / 64 < exact->words_count && (exact->words[bit / 64] & ((UINT64_C(1) << bit % 64) - 1)) != 0;
}

/* 64 bits from `bit` upwards. */
static uint64_t bits_from(const struct ab_exact *exact, uint32_t bit)
{
    uint32_t word = bit / 64;
    uint64_t low = word < exact->words_count ? exact->words[word] : 0;
    uint64_t high = word + 1 < exact->words_count ? exact->words[word + 1] : 0;
    return bit % 64 == 0 ? low : low >> bit % 64 | high << (64 - bit % 64);
}

static double double_assemble(bool is_negative, uint64_t mantissa, int32_t exponent)
{
    if (mantissa >> 53 != 0) {
        mantissa >>= 1;
        exponent++;
    }
    uint64_t bits = mantissa;
    if (mantissa >> 52 != 0) {
        bits = exponent > 971 ? UINT64_C(0x7ff) << 52
                              : (uint64_t)(exponent + 1075) << 52 | (mantissa & ((UINT64_C(1) << 52) - 1));
    }
    bits |= is_negative && bits != 0 ? UINT64_C(1) << 63 : 0;
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

/* Rounds to nearest even; has_more: the true magnitude is a little (less than one unit) larger. */
static double exact_round(const struct ab_exact *exact, bool has_more)
{
    uint32_t bits = ab_exact_bits(exact);
    if (bits == 0) {
        return 0.0;
    }
    int32_t exponent = exact->position + (int32_t)bits - 53;
    exponent = exponent < DOUBLE_EXPONENT_LEAST ? DOUBLE_EXPONENT_LEAST : exponent;
    int32_t shift = exponent - exact->position;
    if (shift <= 0) {
        return double_assemble(exact->is_negative, exact->words[0] << -shift, exponent);
    }
    uint64_t mantissa = bits_from(exact, (uint32_t)shift);
    if (bit_at(exact, (uint32_t)shift - 1)) {
        bool is_above_half = has_more || any_below(exact, (uint32_t)shift - 1);
        mantissa += is_above_half || (mantissa & 1) != 0 ? 1 : 0;
    }
    return double_assemble(exact->is_negative, mantissa, exponent);
}

/* exact /= divisor, towards zero; true when something was left over. */
static bool exact_divide_word(struct ab_exact *exact, uint64_t divisor)
{
    uint64_t rest = 0;
    for (uint32_t i = exact->words_count; i-- > 0;) {
        ab_uint128 part = (ab_uint128)rest << 64 | exact->words[i];
        exact->words[i] = (uint64_t)(part / divisor);
        rest = (uint64_t)(part % divisor);
    }
    exact_trim(exact);
    return rest != 0;
}

double ab_exact_divide(const struct ab_exact *exact, const uint64_t *divisors, uint32_t divisors_count)
{
    AB_ASSERT(divisors_count <= DIVISORS_MAX);
    if (exact->words_count == 0) {
        return 0.0;
    }
    uint32_t needed = QUOTIENT_BITS;
    uint32_t factors = 0;
    uint64_t factor[DIVISORS_MAX];
    for (uint32_t i = 0; i < divisors_count; i++) {
        AB_ASSERT(divisors[i] != 0);
        if (divisors[i] > 1) {
            factor[factors++] = divisors[i];
            needed += 64 - (uint32_t)__builtin_clzll(divisors[i]);
        }
    }
    if (factors == 0) {
        return exact_round(exact, false);
    }
    uint32_t bits = ab_exact_bits(exact);
    uint32_t added = bits >= needed ? 0 : (needed - bits + 63) / 64;
    AB_ASSERT(exact->words_count + added <= AB_EXACT_WORDS_MAX);
    struct ab_exact quotient; /* Not cleared: its words are many and few of them are used. */
    quotient.is_negative = exact->is_negative;
    quotient.words_count = exact->words_count + added;
    quotient.position = exact->position - (int32_t)(added * 64);
    memset(quotient.words, 0, added * sizeof(uint64_t));
    memcpy(quotient.words + added, exact->words, exact->words_count * sizeof(uint64_t));
    bool has_more = false;
    for (uint32_t i = 0; i < factors; i++) {
        has_more |= exact_divide_word(&quotient, factor[i]);
    }
    return exact_round(&quotient, has_more);
}

/* Long division, bit by bit: the rest stays below twice the divisor. QUOTIENT_BITS bits of quotient are enough, for
 * what is left over only says that there is more. */
double ab_exact_quotient(const struct ab_exact *a, const struct ab_exact *b)
{
    AB_ASSERT(b->words_count > 0);
    if (a->words_count == 0) {
        return 0.0;
    }
    uint32_t count = (a->words_count > b->words_count ? a->words_count : b->words_count) + 1;
    uint32_t a_bits = ab_exact_bits(a);
    uint32_t b_bits = ab_exact_bits(b);
    uint32_t a_shift = a_bits < b_bits ? b_bits - a_bits : 0;
    uint32_t b_shift = b_bits < a_bits ? a_bits - b_bits : 0;
    uint64_t rest[AB_EXACT_WORDS_MAX];
    uint64_t divisor[AB_EXACT_WORDS_MAX];
    magnitude_shift(a, a_shift, rest, count);
    magnitude_shift(b, b_shift, divisor, count);
    /* Both have their top bit at one place now: the first bit of the quotient has the weight 2^(b_shift - a_shift). */
    ab_uint128 quotient = 0;
    for (uint32_t i = 0; i < QUOTIENT_BITS; i++) {
        bool goes_in = !words_less(rest, divisor, count);
        if (goes_in) {
            words_subtract(rest, divisor, rest, count);
        }
        quotient = quotient << 1 | goes_in;
        (void)words_add(rest, rest, count);
    }
    uint64_t words[3] = {(uint64_t)quotient, (uint64_t)(quotient >> 64), 0};
    bool has_more = false;
    for (uint32_t i = 0; i < count; i++) {
        has_more |= rest[i] != 0;
    }
    struct ab_exact result;
    ab_exact_from_words(&result, words, 3,
        a->position - b->position + (int32_t)b_shift - (int32_t)a_shift - (int32_t)(QUOTIENT_BITS - 1));
    result.is_negative = a->is_negative != b->is_negative;
    return exact_round(&result, has_more);
}

bool ab_exact_to_int128(const struct ab_exact *exact, ab_int128 *number)
{
    struct ab_exact odd = *exact;
    ab_exact_normalise(&odd);
    if (odd.words_count == 0) {
        *number = 0;
        return true;
    }
    if (odd.position < 0 || odd.position + (int32_t)ab_exact_bits(&odd) > 127) {
        return false;
    }
    ab_uint128 magnitude = (ab_uint128)(odd.words_count > 1 ? odd.words[1] : 0) << 64 | odd.words[0];
    magnitude <<= odd.position;
    *number = odd.is_negative ? -(ab_int128)magnitude : (ab_int128)magnitude;
    return true;
}
