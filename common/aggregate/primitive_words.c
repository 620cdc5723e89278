/* Wide integers as states and payloads. */
#include "common/aggregate/primitive_integer.h"
#include "common/base/decimal.h"

void ab_integer_put(struct ab_buffer *out, const uint64_t *words, uint32_t count, bool is_signed)
{
    size_t bytes = count * sizeof(uint64_t);
    const uint8_t *at = (const uint8_t *)words;
    uint8_t filler = is_signed && (at[bytes - 1] & 0x80) != 0 ? 0xff : 0;
    while (bytes > 0 && at[bytes - 1] == filler) {
        bytes--;
    }
    /* A negative number keeps one byte whose top bit says so, and so does a positive one whose top bit would lie. */
    if (is_signed && (filler != 0 || bytes > 0) && (bytes == 0 || (at[bytes - 1] & 0x80) != (filler & 0x80))) {
        bytes++;
    }
    ab_buffer_put(out, at, bytes);
}

void ab_integer_take(struct ab_bytes payload, uint64_t *words, uint32_t count, bool is_signed)
{
    bool is_negative = is_signed && payload.bytes > 0 && (payload.data[payload.bytes - 1] & 0x80) != 0;
    memset(words, is_negative ? 0xff : 0, count * sizeof(uint64_t));
    if (payload.bytes > 0) {
        memcpy(words, payload.data, payload.bytes);
    }
}

ab_err ab_integer_validate_unsigned(struct ab_bytes payload, size_t bytes_max)
{
    bool is_valid = payload.bytes <= bytes_max && (payload.bytes == 0 || payload.data[payload.bytes - 1] != 0);
    return is_valid ? AB_OK : AB_CORRUPT;
}

ab_err ab_integer_validate_signed(struct ab_bytes payload, size_t bytes_max)
{
    if (payload.bytes > bytes_max) {
        return AB_CORRUPT;
    }
    if (payload.bytes == 0) {
        return AB_OK;
    }
    uint8_t top = payload.data[payload.bytes - 1];
    if (payload.bytes == 1) {
        return top == 0 ? AB_CORRUPT : AB_OK;
    }
    uint8_t next = payload.data[payload.bytes - 2];
    bool is_redundant = (top == 0 && (next & 0x80) == 0) || (top == 0xff && (next & 0x80) != 0);
    return is_redundant ? AB_CORRUPT : AB_OK;
}

void ab_integer_add(uint64_t *into, const uint64_t *words, uint32_t count)
{
    uint64_t carry = 0;
    for (uint32_t i = 0; i < count; i++) {
        ab_uint128 sum = (ab_uint128)into[i] + words[i] + carry;
        into[i] = (uint64_t)sum;
        carry = (uint64_t)(sum >> 64);
    }
}

void ab_integer_multiply(const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count, uint64_t *out)
{
    memset(out, 0, (a_count + b_count) * sizeof(uint64_t));
    for (uint32_t i = 0; i < a_count; i++) {
        uint64_t carry = 0;
        for (uint32_t j = 0; j < b_count; j++) {
            ab_uint128 product = (ab_uint128)a[i] * b[j] + out[i + j] + carry;
            out[i + j] = (uint64_t)product;
            carry = (uint64_t)(product >> 64);
        }
        out[i + b_count] = carry;
    }
}

void ab_integer_negate(uint64_t *words, uint32_t count)
{
    uint64_t carry = 1;
    for (uint32_t i = 0; i < count; i++) {
        words[i] = ~words[i] + carry;
        carry = carry != 0 && words[i] == 0;
    }
}

static void integer_print(const uint64_t *words, uint32_t count, struct ab_buffer *out)
{
    struct ab_exact exact;
    ab_int128 number;
    char text[AB_DECIMAL_TEXT_BYTES];
    ab_exact_from_words(&exact, words, count, 0);
    if (ab_exact_to_int128(&exact, &number) && ab_decimal_fits(number, AB_DECIMAL_PRECISION_MAX)) {
        ab_buffer_put_format(out, "%s", ab_decimal_format(number, 0, text));
    } else {
        ab_buffer_put_format(out, "%s", ab_double_format(ab_exact_divide(&exact, NULL, 0), text));
    }
}

void ab_integer_print_unsigned(struct ab_bytes payload, struct ab_buffer *out)
{
    uint64_t words[AB_INTEGER_WORDS_MAX + 1];
    ab_integer_take(payload, words, AB_INTEGER_WORDS_MAX + 1, false);
    integer_print(words, AB_INTEGER_WORDS_MAX + 1, out);
}

void ab_integer_print_signed(struct ab_bytes payload, struct ab_buffer *out)
{
    uint64_t words[AB_INTEGER_WORDS_MAX];
    ab_integer_take(payload, words, AB_INTEGER_WORDS_MAX, true);
    integer_print(words, AB_INTEGER_WORDS_MAX, out);
}

/* Words and sign of the integer kinds. */
static uint32_t words_of(enum ab_primitive_kind kind, bool *is_signed)
{
    *is_signed =
        kind == AB_PRIMITIVE_SUM_INTEGER || kind == AB_PRIMITIVE_PRODUCTS_INTEGER || kind == AB_PRIMITIVE_CUBES_INTEGER;
    return kind == AB_PRIMITIVE_SUM_INTEGER                                                ? 3
           : kind == AB_PRIMITIVE_SQUARES_INTEGER || kind == AB_PRIMITIVE_PRODUCTS_INTEGER ? 5
           : kind == AB_PRIMITIVE_CUBES_INTEGER                                            ? AB_INTEGER_CUBES_WORDS
           : kind == AB_PRIMITIVE_FOURTHS_INTEGER                                          ? AB_INTEGER_FOURTHS_WORDS
                                                                                           : 0;
}

bool ab_integer_value(enum ab_primitive_kind kind, const void *state, struct ab_exact *exact)
{
    bool is_signed = false;
    uint32_t count = words_of(kind, &is_signed);
    uint64_t words[AB_INTEGER_WORDS_MAX + 1] = {0};
    if (count == 0) {
        return false;
    }
    memcpy(words, state, count * sizeof(uint64_t));
    ab_exact_from_words(exact, words, count + !is_signed, 0);
    return true;
}
