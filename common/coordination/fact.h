/* fact: strict reading of the JSON values that stand in the coordination service (internal to the folder).
 *
 * A member is there with the right kind and in its range, or the value is refused; nothing has a default.
 */
#ifndef ANABRANCH_COMMON_COORDINATION_FACT_H
#define ANABRANCH_COMMON_COORDINATION_FACT_H

#include "common/base/hash.h"
#include "common/base/json.h"

#define AB_FACT_FORMAT 1

/* Parses an object of `members_count` members whose "format" is ours. AB_CORRUPT, AB_UNSUPPORTED (newer format). */
AB_MUST_USE ab_err ab_fact_parse(
    struct ab_bytes text, size_t members_count, struct ab_json **value, struct ab_error *error);

/* Takes a finished object: appends its text and frees it. AB_FULL. */
AB_MUST_USE ab_err ab_fact_write(struct ab_json *value, struct ab_buffer *out);

/* A new object that holds "format". */
struct ab_json *ab_fact_object(void);

/* A whole number in least..most. AB_CORRUPT. */
AB_MUST_USE ab_err ab_fact_u32(const struct ab_json *object, const char *key, uint32_t least, uint32_t most,
    uint32_t *number, struct ab_error *error);

/* A number written as ab_json_set_u64 does, without leading zeros. AB_CORRUPT. */
AB_MUST_USE ab_err ab_fact_u64(const struct ab_json *object, const char *key, uint64_t *number, struct ab_error *error);

/* 128 bits as 32 lower-case hexadecimal digits. AB_CORRUPT. */
AB_MUST_USE ab_err ab_fact_id(
    const struct ab_json *object, const char *key, struct ab_hash128 *id, struct ab_error *error);
void ab_fact_set_id(struct ab_json *object, const char *key, struct ab_hash128 id);

/* True when not zero: no id is. */
bool ab_fact_id_is_set(struct ab_hash128 id);

/* A printable text of fewer than `bytes` bytes, copied with its NUL. AB_CORRUPT. */
AB_MUST_USE ab_err ab_fact_text(
    const struct ab_json *object, const char *key, size_t bytes, char *text, struct ab_error *error);

/* True for a text of printable ASCII characters; "" is one. */
bool ab_fact_is_printable(const char *text);

/* A list of whole numbers in least..most, at most count_max. AB_CORRUPT. */
AB_MUST_USE ab_err ab_fact_numbers(const struct ab_json *object, const char *key, uint32_t least, uint32_t most,
    uint32_t count_max, uint32_t *numbers, uint32_t *count, struct ab_error *error);
void ab_fact_set_numbers(struct ab_json *object, const char *key, const uint32_t *numbers, uint32_t count);

#endif
