#include "speed/table_puts.h"

#include "common/base/hash.h"

#include <stdlib.h>

void ab_table_puts_add(struct ab_table_puts *puts, struct ab_bytes key, struct ab_bytes value)
{
    if (puts->count == puts->capacity) {
        puts->capacity = puts->capacity == 0 ? 64 : puts->capacity * 2;
        puts->entries = ab_renew_bytes(puts->entries, puts->capacity * sizeof(*puts->entries));
    }
    puts->entries[puts->count++] =
        (struct ab_table_put){.key_start = puts->bytes.bytes, .key_bytes = key.bytes, .value_bytes = value.bytes};
    ab_buffer_put_bytes(&puts->bytes, key);
    ab_buffer_put_bytes(&puts->bytes, value);
}

static int put_compare(const void *left, const void *right, void *context)
{
    const uint8_t *bytes = context;
    const struct ab_table_put *a = left;
    const struct ab_table_put *b = right;
    return ab_bytes_compare(
        ab_bytes_of(bytes + a->key_start, a->key_bytes), ab_bytes_of(bytes + b->key_start, b->key_bytes));
}

void ab_table_puts_sort(struct ab_table_puts *puts)
{
    if (puts->count > 1) {
        qsort_r(puts->entries, puts->count, sizeof(*puts->entries), put_compare, puts->bytes.data);
    }
}

void ab_table_puts_at(const struct ab_table_puts *puts, size_t index, struct ab_bytes *key, struct ab_bytes *value)
{
    const struct ab_table_put *put = &puts->entries[index];
    *key = ab_bytes_of(puts->bytes.data + put->key_start, put->key_bytes);
    *value = ab_bytes_of(puts->bytes.data + put->key_start + put->key_bytes, put->value_bytes);
}

void ab_table_puts_fini(struct ab_table_puts *puts)
{
    ab_buffer_fini(&puts->bytes);
    ab_delete(puts->entries);
    *puts = (struct ab_table_puts){0};
}

/* The file: entries as blobs (key, value), then XXH3-64 of all before. */
void ab_table_puts_encode(const struct ab_table_puts *puts, struct ab_buffer *out)
{
    for (size_t i = 0; i < puts->count; i++) {
        struct ab_bytes key;
        struct ab_bytes value;
        ab_table_puts_at(puts, i, &key, &value);
        ab_buffer_put_blob(out, key);
        ab_buffer_put_blob(out, value);
    }
    ab_buffer_put_u64(out, ab_hash64(AB_HASH_CONTENT, ab_buffer_view(out)));
}

ab_err ab_table_puts_decode(struct ab_bytes bytes, ab_table_entry_fn on_entry, void *context, struct ab_error *error)
{
    if (bytes.bytes < 8) {
        return ab_error_set(error, AB_CORRUPT, "tables snapshot is too short");
    }
    struct ab_bytes content = ab_bytes_of(bytes.data, bytes.bytes - 8);
    struct ab_reader tail = ab_reader_of(ab_bytes_of(bytes.data + content.bytes, 8));
    if (ab_reader_u64(&tail) != ab_hash64(AB_HASH_CONTENT, content)) {
        return ab_error_set(error, AB_CORRUPT, "tables snapshot does not match its checksum");
    }
    struct ab_reader reader = ab_reader_of(content);
    while (ab_reader_left(&reader) > 0) {
        struct ab_bytes key = ab_reader_blob(&reader);
        struct ab_bytes value = ab_reader_blob(&reader);
        if (reader.has_failed) {
            return ab_error_set(error, AB_CORRUPT, "tables snapshot is malformed");
        }
        AB_TRY(on_entry(key, value, context, error));
    }
    return AB_OK;
}
