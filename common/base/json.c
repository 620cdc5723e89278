#include "common/base/json.h"

#include "common/base/assert.h"

#include <jansson.h>
#include <math.h>

/* struct ab_json is json_t under our name. */
static json_t *json_of(const struct ab_json *value)
{
    return (json_t *)(uintptr_t)value;
}

static struct ab_json *json_made(json_t *value)
{
    AB_ASSERT(value != NULL);
    return (struct ab_json *)value;
}

ab_err ab_json_parse(struct ab_bytes text, struct ab_json **value, struct ab_error *error)
{
    json_error_t place;
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *parsed = json_loadb(text.bytes == 0 ? "" : (const char *)text.data, text.bytes, flags, &place);
    if (parsed == NULL) {
        return ab_error_set(error, AB_SYNTAX, "line %d, column %d: %s", place.line, place.column, place.text);
    }
    *value = json_made(parsed);
    return AB_OK;
}

void ab_json_destroy(struct ab_json *value)
{
    json_decref(json_of(value));
}

struct ab_json *ab_json_object(void)
{
    return json_made(json_object());
}

struct ab_json *ab_json_array(void)
{
    return json_made(json_array());
}

/* Appends text with every byte that is not part of a UTF-8 character replaced by U+FFFD. */
static void put_repaired(struct ab_buffer *out, struct ab_bytes text)
{
    while (text.bytes > 0) {
        size_t length = ab_bytes_utf8_next(text);
        if (length == 0) {
            ab_buffer_put(out, "\xef\xbf\xbd", 3);
            length = 1;
        } else {
            ab_buffer_put(out, text.data, length);
        }
        text = ab_bytes_of(text.data + length, text.bytes - length);
    }
}

struct ab_json *ab_json_text(const char *text)
{
    return ab_json_text_of(ab_bytes_of_text(text));
}

struct ab_json *ab_json_text_of(struct ab_bytes text)
{
    if (ab_bytes_is_utf8(text)) {
        return json_made(json_stringn_nocheck(text.bytes == 0 ? "" : (const char *)text.data, text.bytes));
    }
    struct ab_buffer repaired = {0};
    put_repaired(&repaired, text);
    AB_ASSERT(!repaired.has_failed);
    json_t *value = json_stringn_nocheck((const char *)repaired.data, repaired.bytes);
    ab_buffer_fini(&repaired);
    return json_made(value);
}

struct ab_json *ab_json_integer(int64_t number)
{
    return json_made(json_integer(number));
}

struct ab_json *ab_json_real(double number)
{
    return isfinite(number) ? json_made(json_real(number)) : ab_json_null();
}

struct ab_json *ab_json_boolean(bool value)
{
    return json_made(json_boolean(value));
}

struct ab_json *ab_json_null(void)
{
    return json_made(json_null());
}

void ab_json_set(struct ab_json *object, const char *key, struct ab_json *value)
{
    AB_ASSERT(ab_json_is_object(object));
    if (ab_bytes_is_utf8(ab_bytes_of_text(key))) {
        AB_ASSERT(json_object_set_new_nocheck(json_of(object), key, json_of(value)) == 0);
        return;
    }
    struct ab_buffer repaired = {0};
    put_repaired(&repaired, ab_bytes_of_text(key));
    AB_ASSERT(json_object_set_new_nocheck(json_of(object), ab_buffer_text(&repaired), json_of(value)) == 0);
    ab_buffer_fini(&repaired);
}

void ab_json_append(struct ab_json *array, struct ab_json *value)
{
    AB_ASSERT(json_array_append_new(json_of(array), json_of(value)) == 0);
}

void ab_json_set_u64(struct ab_json *object, const char *key, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    ab_json_set(object, key, ab_json_text(text));
}

struct ab_json *ab_json_get(const struct ab_json *object, const char *key)
{
    return (struct ab_json *)json_object_get(json_of(object), key);
}

struct ab_json *ab_json_at(const struct ab_json *array, size_t index)
{
    return (struct ab_json *)json_array_get(json_of(array), index);
}

size_t ab_json_count(const struct ab_json *container)
{
    return ab_json_is_array(container) ? json_array_size(json_of(container)) : json_object_size(json_of(container));
}

const char *ab_json_key_at(const struct ab_json *object, size_t index)
{
    json_t *members = json_of(object);
    void *at = json_object_iter(members);
    for (size_t i = 0; i < index && at != NULL; i++) {
        at = json_object_iter_next(members, at);
    }
    return at == NULL ? NULL : json_object_iter_key(at);
}

bool ab_json_is_object(const struct ab_json *value)
{
    return json_is_object(json_of(value));
}

bool ab_json_is_array(const struct ab_json *value)
{
    return json_is_array(json_of(value));
}

bool ab_json_is_text(const struct ab_json *value)
{
    return json_is_string(json_of(value));
}

bool ab_json_is_null(const struct ab_json *value)
{
    return value == NULL || json_is_null(json_of(value));
}

bool ab_json_is_boolean(const struct ab_json *value)
{
    return json_is_boolean(json_of(value));
}

bool ab_json_is_integer(const struct ab_json *value)
{
    return json_is_integer(json_of(value));
}

bool ab_json_is_real(const struct ab_json *value)
{
    return json_is_real(json_of(value));
}

struct ab_bytes ab_json_bytes(const struct ab_json *value)
{
    if (!ab_json_is_text(value)) {
        return ab_bytes_of(NULL, 0);
    }
    return ab_bytes_of(json_string_value(json_of(value)), json_string_length(json_of(value)));
}

const char *ab_json_text_or(const struct ab_json *value, const char *fallback)
{
    struct ab_bytes text = ab_json_bytes(value);
    bool is_whole = text.data != NULL && memchr(text.data, 0, text.bytes) == NULL;
    return is_whole ? (const char *)text.data : fallback;
}

int64_t ab_json_integer_or(const struct ab_json *value, int64_t fallback)
{
    return ab_json_is_integer(value) ? json_integer_value(json_of(value)) : fallback;
}

double ab_json_real_or(const struct ab_json *value, double fallback)
{
    return json_is_number(json_of(value)) ? json_number_value(json_of(value)) : fallback;
}

bool ab_json_boolean_or(const struct ab_json *value, bool fallback)
{
    return ab_json_is_boolean(value) ? json_is_true(json_of(value)) : fallback;
}

/* Reads decimal digits alone; false when there is anything else or more than 64 bits. */
static bool u64_read(struct ab_bytes text, uint64_t *number)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value)) {
            return false;
        }
    }
    *number = value;
    return text.bytes > 0;
}

uint64_t ab_json_u64_or(const struct ab_json *value, uint64_t fallback)
{
    uint64_t number;
    if (ab_json_is_integer(value)) {
        json_int_t integer = json_integer_value(json_of(value));
        return integer >= 0 ? (uint64_t)integer : fallback;
    }
    return u64_read(ab_json_bytes(value), &number) ? number : fallback;
}

static int write_chunk(const char *text, size_t bytes, void *context)
{
    ab_buffer_put(context, text, bytes);
    return 0;
}

void ab_json_write(const struct ab_json *value, int indent, struct ab_buffer *out)
{
    size_t layout = indent <= 0 ? JSON_COMPACT : JSON_INDENT((size_t)indent);
    size_t flags = layout | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17);
    if (value == NULL) {
        ab_buffer_put(out, "null", 4);
        return;
    }
    /* The callback never fails; what the buffer refuses shows in the buffer. */
    AB_ASSERT(json_dump_callback(json_of(value), write_chunk, out, flags) == 0);
}
