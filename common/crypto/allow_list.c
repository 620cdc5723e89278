#include "common/crypto/key_file.h"

#include "common/crypto/key_text.h"

#include "common/base/file.h"
#include "common/base/map.h"

#define LINE_BYTES_MAX 256
#define LIST_BYTES_MAX ((size_t)2 * AB_ALLOW_LIST_ENTRIES_MAX * LINE_BYTES_MAX)

/* Takes `<key> <role> <name>`; AB_INVALID otherwise. */
static ab_err line_decode(struct ab_bytes line, struct ab_allow_entry *entry)
{
    AB_TRY(ab_crypto_key_parse(ab_key_text_field(&line), entry->public_key));
    AB_TRY(ab_key_text_word(ab_key_text_field(&line), entry->role, sizeof(entry->role)));
    AB_TRY(ab_key_text_word(ab_key_text_field(&line), entry->name, sizeof(entry->name)));
    return ab_key_text_field(&line).bytes == 0 ? AB_OK : AB_INVALID;
}

/* Notes a key; AB_INVALID when it was noted before. */
static ab_err key_note(struct ab_map *seen, const uint8_t *key)
{
    struct ab_bytes bytes = ab_bytes_of(key, AB_CRYPTO_KEY_BYTES);
    return ab_map_get(seen, bytes, NULL) ? AB_INVALID : ab_map_set(seen, bytes, 1);
}

/* Decodes all lines into `list`, which has room for AB_ALLOW_LIST_ENTRIES_MAX. */
static ab_err lines_decode(
    struct ab_bytes text, struct ab_allow_entry *list, size_t *count, struct ab_map *seen, struct ab_error *error)
{
    struct ab_bytes line;
    for (unsigned number = 1; ab_key_text_line(&text, &line); number++) {
        if (line.bytes == 0 || line.data[0] == '#') {
            continue;
        }
        if (*count == AB_ALLOW_LIST_ENTRIES_MAX) {
            return ab_error_set(error, AB_TOO_LARGE, "more than %d keys", AB_ALLOW_LIST_ENTRIES_MAX);
        }
        if (line_decode(line, &list[*count]) != AB_OK) {
            return ab_error_set(error, AB_CORRUPT, "line %u: expected <public key> <role> <name>", number);
        }
        if (key_note(seen, list[*count].public_key) != AB_OK) {
            return ab_error_set(error, AB_CORRUPT, "line %u: this key stands in the list already", number);
        }
        (*count)++;
    }
    return AB_OK;
}

ab_err ab_allow_list_decode(
    struct ab_bytes text, struct ab_allow_entry **entries, size_t *count, struct ab_error *error)
{
    struct ab_allow_entry *list = ab_new_array(struct ab_allow_entry, AB_ALLOW_LIST_ENTRIES_MAX);
    struct ab_map *seen = ab_map_create(NULL);
    size_t found = 0;
    ab_err err = lines_decode(text, list, &found, seen, error);
    ab_map_destroy(seen);
    if (err != AB_OK) {
        ab_delete(list);
        return err;
    }
    *entries = ab_renew_bytes(list, found * sizeof(*list));
    *count = found;
    return AB_OK;
}

ab_err ab_allow_list_read(const char *path, struct ab_allow_entry **entries, size_t *count, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, LIST_BYTES_MAX);
    ab_err err = ab_key_text_read(path, 0022, &text, error);
    if (err == AB_OK) {
        err = ab_allow_list_decode(ab_buffer_view(&text), entries, count, error);
        if (err != AB_OK) {
            err = ab_error_wrap(error, err, "read %s", path);
        }
    }
    ab_buffer_fini(&text);
    return err;
}

static void list_print(const struct ab_allow_entry *entries, size_t count, struct ab_buffer *out)
{
    ab_buffer_put_format(out, "# public key, role, name\n");
    for (size_t i = 0; i < count; i++) {
        char key[2 * AB_CRYPTO_KEY_BYTES + 1];
        ab_crypto_key_format(entries[i].public_key, key);
        ab_buffer_put_format(
            out, "%s %.*s %.*s\n", key, AB_KEY_ROLE_BYTES - 1, entries[i].role, AB_KEY_NAME_BYTES - 1, entries[i].name);
    }
}

ab_err ab_allow_list_write(const char *path, const struct ab_allow_entry *entries, size_t count, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, LIST_BYTES_MAX);
    list_print(entries, count, &text);
    /* What is written must read back: that finds words that are none, keys that stand twice, and lists too long. */
    struct ab_allow_entry *back = NULL;
    size_t back_count = 0;
    ab_err err = ab_buffer_finish(&text);
    if (err == AB_OK) {
        err = ab_allow_list_decode(ab_buffer_view(&text), &back, &back_count, error);
        err = err == AB_CORRUPT ? ab_error_wrap(error, AB_INVALID, "allow list") : err;
    }
    ab_delete(back);
    if (err == AB_OK) {
        err = ab_file_replace(path, ab_buffer_view(&text), 0600, error);
    }
    ab_buffer_fini(&text);
    return err;
}
