#include "common/coordination/fact.h"

#include <stdio.h>

ab_err ab_fact_parse(struct ab_bytes text, size_t members_count, struct ab_json **value, struct ab_error *error)
{
    struct ab_json *parsed = NULL;
    if (ab_json_parse(text, &parsed, error) != AB_OK) {
        return ab_error_set(error, AB_CORRUPT, "not JSON");
    }
    ab_err err = AB_OK;
    int64_t format = ab_json_integer_or(ab_json_get(parsed, "format"), -1);
    if (!ab_json_is_object(parsed) || format < 1) {
        err = ab_error_set(error, AB_CORRUPT, "no object with a format");
    } else if (format > AB_FACT_FORMAT) {
        err = ab_error_set(error, AB_UNSUPPORTED, "format %lld is newer than this program", (long long)format);
    } else if (ab_json_count(parsed) != members_count) {
        err = ab_error_set(error, AB_CORRUPT, "%zu members where %zu are known", ab_json_count(parsed), members_count);
    }
    if (err != AB_OK) {
        ab_json_destroy(parsed);
        return err;
    }
    *value = parsed;
    return AB_OK;
}

ab_err ab_fact_write(struct ab_json *value, struct ab_buffer *out)
{
    ab_json_write(value, 0, out);
    ab_json_destroy(value);
    return ab_buffer_finish(out);
}

struct ab_json *ab_fact_object(void)
{
    struct ab_json *object = ab_json_object();
    ab_json_set(object, "format", ab_json_integer(AB_FACT_FORMAT));
    return object;
}

static ab_err number_read(const struct ab_json *value, const char *key, uint32_t least, uint32_t most, uint32_t *number,
    struct ab_error *error)
{
    int64_t read = ab_json_integer_or(value, -1);
    if (read < (int64_t)least || read > (int64_t)most) {
        return ab_error_set(error, AB_CORRUPT, "%s: no whole number from %u to %u", key, least, most);
    }
    *number = (uint32_t)read;
    return AB_OK;
}

ab_err ab_fact_u32(const struct ab_json *object, const char *key, uint32_t least, uint32_t most, uint32_t *number,
    struct ab_error *error)
{
    return number_read(ab_json_get(object, key), key, least, most, number, error);
}

ab_err ab_fact_u64(const struct ab_json *object, const char *key, uint64_t *number, struct ab_error *error)
{
    const struct ab_json *value = ab_json_get(object, key);
    uint64_t read = ab_json_u64_or(value, 0);
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)read);
    if (strcmp(ab_json_text_or(value, ""), text) != 0) {
        return ab_error_set(error, AB_CORRUPT, "%s: not the text of a 64-bit number", key);
    }
    *number = read;
    return AB_OK;
}

ab_err ab_fact_id(const struct ab_json *object, const char *key, struct ab_hash128 *id, struct ab_error *error)
{
    struct ab_hash128 read;
    char text[33];
    struct ab_bytes stored = ab_json_bytes(ab_json_get(object, key));
    if (ab_hash128_parse(stored, &read) != AB_OK) {
        return ab_error_set(error, AB_CORRUPT, "%s: not 32 hexadecimal digits", key);
    }
    ab_hash128_format(read, text);
    if (memcmp(stored.data, text, 32) != 0) { /* one text for one value: paths are made of it */
        return ab_error_set(error, AB_CORRUPT, "%s: hexadecimal digits are lower case", key);
    }
    *id = read;
    return AB_OK;
}

void ab_fact_set_id(struct ab_json *object, const char *key, struct ab_hash128 id)
{
    char text[33];
    ab_hash128_format(id, text);
    ab_json_set(object, key, ab_json_text(text));
}

bool ab_fact_id_is_set(struct ab_hash128 id)
{
    return id.low != 0 || id.high != 0;
}

bool ab_fact_is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e) {
            return false;
        }
    }
    return true;
}

ab_err ab_fact_text(const struct ab_json *object, const char *key, size_t bytes, char *text, struct ab_error *error)
{
    const char *read = ab_json_text_or(ab_json_get(object, key), NULL);
    if (read == NULL || strlen(read) >= bytes || !ab_fact_is_printable(read)) {
        return ab_error_set(error, AB_CORRUPT, "%s: no printable text of fewer than %zu bytes", key, bytes);
    }
    (void)snprintf(text, bytes, "%s", read);
    return AB_OK;
}

ab_err ab_fact_numbers(const struct ab_json *object, const char *key, uint32_t least, uint32_t most, uint32_t count_max,
    uint32_t *numbers, uint32_t *count, struct ab_error *error)
{
    const struct ab_json *list = ab_json_get(object, key);
    if (!ab_json_is_array(list) || ab_json_count(list) > count_max) {
        return ab_error_set(error, AB_CORRUPT, "%s: no list of at most %u", key, count_max);
    }
    for (size_t i = 0; i < ab_json_count(list); i++) {
        AB_TRY(number_read(ab_json_at(list, i), key, least, most, &numbers[i], error));
    }
    *count = (uint32_t)ab_json_count(list);
    return AB_OK;
}

void ab_fact_set_numbers(struct ab_json *object, const char *key, const uint32_t *numbers, uint32_t count)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < count; i++) {
        ab_json_append(list, ab_json_integer(numbers[i]));
    }
    ab_json_set(object, key, list);
}
