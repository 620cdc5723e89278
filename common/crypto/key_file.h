/* key_file: where a process keeps its key pair, and the list of keys that may speak to it.
 *
 * A secret key file is text, one field a line, in this order, each line ended by a newline:
 *
 *     anabranch secret key 1
 *     role <word>
 *     name <word>
 *     public <64 hexadecimal digits>
 *     secret <64 hexadecimal digits>
 *
 * An allow list is text, one key a line: `<64 hexadecimal digits of the public key> <role> <name>`, fields separated by
 * one or more spaces; empty lines and lines that begin with # are skipped. A key stands in it once. Roles and names are
 * words of a-z, A-Z, 0-9, '-', '_' and '.'; what roles mean is for common/wire to say. A reader refuses another first
 * line, and so any later version.
 *
 * A secret key file that anybody but its owner can read, and a list that others can write, are refused: a key that
 * leaked, or a list that strangers edit, is worse than none (I9).
 */
#ifndef ANABRANCH_COMMON_CRYPTO_KEY_FILE_H
#define ANABRANCH_COMMON_CRYPTO_KEY_FILE_H

#include "common/crypto/crypto.h"

#define AB_KEY_ROLE_BYTES 16
#define AB_KEY_NAME_BYTES 64
#define AB_ALLOW_LIST_ENTRIES_MAX 4096

/* What a secret key file holds. */
struct ab_key_file {
    struct ab_crypto_keys keys;
    char role[AB_KEY_ROLE_BYTES]; /* NUL-terminated word */
    char name[AB_KEY_NAME_BYTES]; /* NUL-terminated word */
};

/* One line of an allow list. */
struct ab_allow_entry {
    uint8_t public_key[AB_CRYPTO_KEY_BYTES];
    char role[AB_KEY_ROLE_BYTES]; /* NUL-terminated word */
    char name[AB_KEY_NAME_BYTES]; /* NUL-terminated word */
};

/* Writes a secret key durably with mode 0600, making its directory with mode 0700 when it is missing. AB_EXISTS when
 * there is a file already: keys are never overwritten. AB_DENIED when others may write to the directory; AB_INVALID
 * when role or name are not words. */
AB_MUST_USE ab_err ab_key_file_write(const char *path, const struct ab_key_file *key, struct ab_error *error);

/* Reads a secret key. AB_DENIED when others may read the file or it is not a plain file of this user (or root);
 * AB_CORRUPT when it is not as above or the two keys do not belong together. The caller wipes *key after use. */
AB_MUST_USE ab_err ab_key_file_read(const char *path, struct ab_key_file *key, struct ab_error *error);

/* Replaces an allow list durably, mode 0600; AB_INVALID when a role or name is not a word or a key stands twice. */
AB_MUST_USE ab_err ab_allow_list_write(
    const char *path, const struct ab_allow_entry *entries, size_t count, struct ab_error *error);

/* Reads an allow list; *entries is freed with ab_delete. AB_DENIED when others may write the file, AB_CORRUPT with the
 * line number, AB_TOO_LARGE past AB_ALLOW_LIST_ENTRIES_MAX. */
AB_MUST_USE ab_err ab_allow_list_read(
    const char *path, struct ab_allow_entry **entries, size_t *count, struct ab_error *error);

/* The same from text in memory. */
AB_MUST_USE ab_err ab_allow_list_decode(
    struct ab_bytes text, struct ab_allow_entry **entries, size_t *count, struct ab_error *error);

#endif
