/* json: reading and writing JSON (RFC 8259) over Jansson, which nobody else includes.
 *
 * A struct ab_json is a reference-counted value. Object members keep the order in which they were set. 64-bit unsigned
 * numbers and hashes travel as strings, because JSON readers elsewhere have 53 bits.
 */
#ifndef ANABRANCH_COMMON_BASE_JSON_H
#define ANABRANCH_COMMON_BASE_JSON_H

#include "common/base/buffer.h"

struct ab_json; /* opaque; owned unless a function says borrowed */

/* Parses one value; AB_SYNTAX with line and column in `error`. Depth is bounded. */
AB_MUST_USE ab_err ab_json_parse(struct ab_bytes text, struct ab_json **value, struct ab_error *error);

/* Drops a reference; NULL is legal. */
void ab_json_destroy(struct ab_json *value);

/* New values; never NULL. */
struct ab_json *ab_json_object(void);
struct ab_json *ab_json_array(void);
struct ab_json *ab_json_text(const char *text);
struct ab_json *ab_json_text_of(struct ab_bytes text); /* bytes that are not UTF-8 are replaced by U+FFFD */
struct ab_json *ab_json_integer(int64_t number);
struct ab_json *ab_json_real(double number); /* NaN and infinities become null */
struct ab_json *ab_json_boolean(bool value);
struct ab_json *ab_json_null(void);

/* Sets a member, or appends an element; takes `value`. */
void ab_json_set(struct ab_json *object, const char *key, struct ab_json *value);
void ab_json_append(struct ab_json *array, struct ab_json *value);
/* Sets a member to an unsigned 64-bit number, written as a string. */
void ab_json_set_u64(struct ab_json *object, const char *key, uint64_t number);

/* Member or element, borrowed from its container; NULL when absent or of another kind. */
struct ab_json *ab_json_get(const struct ab_json *object, const char *key);
struct ab_json *ab_json_at(const struct ab_json *array, size_t index);
/* Elements of an array, members of an object, else 0. */
size_t ab_json_count(const struct ab_json *container);
/* The index-th member's key, borrowed; NULL past the end. */
const char *ab_json_key_at(const struct ab_json *object, size_t index);

bool ab_json_is_object(const struct ab_json *value);
bool ab_json_is_array(const struct ab_json *value);
bool ab_json_is_text(const struct ab_json *value);
bool ab_json_is_null(const struct ab_json *value); /* NULL counts as null */
bool ab_json_is_boolean(const struct ab_json *value);
bool ab_json_is_integer(const struct ab_json *value);
bool ab_json_is_real(const struct ab_json *value);

/* The value of a scalar, borrowed; the fallback when it is absent or of another kind. text_or gives the fallback for a
 * text with a NUL inside too; real_or takes whole numbers. */
struct ab_bytes ab_json_bytes(const struct ab_json *value);
const char *ab_json_text_or(const struct ab_json *value, const char *fallback);
int64_t ab_json_integer_or(const struct ab_json *value, int64_t fallback);
double ab_json_real_or(const struct ab_json *value, double fallback);
bool ab_json_boolean_or(const struct ab_json *value, bool fallback);
/* A number, or the decimal text of one as ab_json_set_u64 writes it. */
uint64_t ab_json_u64_or(const struct ab_json *value, uint64_t fallback);

/* Appends the compact text (indent 0) or an indented one; "null" for NULL. Reals have 17 significant digits. */
void ab_json_write(const struct ab_json *value, int indent, struct ab_buffer *out);

#endif
