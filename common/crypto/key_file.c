#include "common/crypto/key_file.h"

#include "common/crypto/key_text.h"

#include "common/base/file.h"

#include <sys/stat.h>

#define FIRST_LINE "anabranch secret key 1"
#define KEY_FILE_BYTES_MAX 4096

/* Makes the directory of `path`, and refuses one that others may write to. */
static ab_err directory_prepare(const char *path, struct ab_error *error)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *directory = length == 0 ? ab_new_text(".") : ab_new_text_of(ab_bytes_of(path, length));
    ab_err err = ab_file_make_directory(directory, 0700, error);
    struct stat status;
    if (err == AB_OK && (stat(directory, &status) != 0 || (status.st_mode & 0022) != 0)) {
        err = ab_error_set(error, AB_DENIED, "others may write to %s (chmod go-w)", directory);
    }
    ab_delete(directory);
    return err;
}

static void key_print(const struct ab_key_file *key, struct ab_buffer *out)
{
    char public_text[2 * AB_CRYPTO_KEY_BYTES + 1];
    char secret_text[2 * AB_CRYPTO_KEY_BYTES + 1];
    ab_crypto_key_format(key->keys.public_key, public_text);
    ab_crypto_key_format(key->keys.secret_key, secret_text);
    ab_buffer_put_format(
        out, FIRST_LINE "\nrole %s\nname %s\npublic %s\nsecret %s\n", key->role, key->name, public_text, secret_text);
    ab_crypto_wipe(secret_text, sizeof(secret_text));
}

static void buffer_wipe(struct ab_buffer *buffer)
{
    if (buffer->data != NULL) {
        ab_crypto_wipe(buffer->data, buffer->capacity);
    }
    ab_buffer_fini(buffer);
}

ab_err ab_key_file_write(const char *path, const struct ab_key_file *key, struct ab_error *error)
{
    char word[AB_KEY_NAME_BYTES];
    if (ab_key_text_word(ab_bytes_of_text(key->role), word, AB_KEY_ROLE_BYTES) != AB_OK ||
        ab_key_text_word(ab_bytes_of_text(key->name), word, AB_KEY_NAME_BYTES) != AB_OK) {
        return ab_error_set(error, AB_INVALID, "role and name of a key must be words");
    }
    AB_TRY(directory_prepare(path, error));
    if (ab_file_exists(path)) {
        return ab_error_set(error, AB_EXISTS, "%s exists; keys are never overwritten", path);
    }
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, KEY_FILE_BYTES_MAX);
    key_print(key, &text);
    ab_err err = ab_buffer_finish(&text);
    if (err == AB_OK) {
        err = ab_file_replace(path, ab_buffer_view(&text), 0600, error);
    }
    buffer_wipe(&text);
    return err;
}

/* Takes the line `<label> <value>`; empty when it is another. */
static struct ab_bytes take_labelled(struct ab_bytes *text, const char *label)
{
    struct ab_bytes nothing = ab_bytes_of(NULL, 0);
    struct ab_bytes line = nothing;
    if (!ab_key_text_line(text, &line) || !ab_bytes_equal(ab_key_text_field(&line), ab_bytes_of_text(label))) {
        return nothing;
    }
    struct ab_bytes value = ab_key_text_field(&line);
    return ab_key_text_field(&line).bytes == 0 ? value : nothing;
}

static ab_err key_decode(struct ab_bytes text, struct ab_key_file *key)
{
    struct ab_bytes line = ab_bytes_of(NULL, 0);
    if (!ab_key_text_line(&text, &line) || !ab_bytes_equal(line, ab_bytes_of_text(FIRST_LINE))) {
        return AB_CORRUPT;
    }
    if (ab_key_text_word(take_labelled(&text, "role"), key->role, sizeof(key->role)) != AB_OK ||
        ab_key_text_word(take_labelled(&text, "name"), key->name, sizeof(key->name)) != AB_OK ||
        ab_crypto_key_parse(take_labelled(&text, "public"), key->keys.public_key) != AB_OK ||
        ab_crypto_key_parse(take_labelled(&text, "secret"), key->keys.secret_key) != AB_OK || text.bytes != 0) {
        return AB_CORRUPT;
    }
    uint8_t computed[AB_CRYPTO_KEY_BYTES];
    ab_crypto_public_of(key->keys.secret_key, computed);
    return ab_crypto_equal(computed, key->keys.public_key, sizeof(computed)) ? AB_OK : AB_CORRUPT;
}

ab_err ab_key_file_read(const char *path, struct ab_key_file *key, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, KEY_FILE_BYTES_MAX);
    struct ab_key_file read = {0};
    ab_err err = ab_key_text_read(path, 0077, &text, error);
    if (err == AB_OK) {
        err = key_decode(ab_buffer_view(&text), &read);
        if (err == AB_OK) {
            *key = read;
        } else {
            err = ab_error_set(error, err, "%s is not a secret key file", path);
        }
    }
    ab_crypto_wipe(&read, sizeof(read));
    buffer_wipe(&text);
    return err;
}
