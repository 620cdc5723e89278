/* key_text: lines and words, shared by the two text formats of key_file.h. Private to crypto. */
#ifndef ANABRANCH_COMMON_CRYPTO_KEY_TEXT_H
#define ANABRANCH_COMMON_CRYPTO_KEY_TEXT_H

#include "common/base/buffer.h"

/* Takes the next line off `text`, without its newline, borrowed; false when nothing is left. */
bool ab_key_text_line(struct ab_bytes *text, struct ab_bytes *line);

/* Takes the next run of bytes that are not spaces off `line`, borrowed; empty at the end. */
struct ab_bytes ab_key_text_field(struct ab_bytes *line);

/* Copies a word with a NUL into `out` of `room` bytes; AB_INVALID when it is empty, too long or has other characters.
 */
AB_MUST_USE ab_err ab_key_text_word(struct ab_bytes field, char *out, size_t room);

/* Appends a plain file of this user (or root) to `out`; AB_DENIED when its mode has any bit of `denied_mode`. */
AB_MUST_USE ab_err ab_key_text_read(
    const char *path, unsigned denied_mode, struct ab_buffer *out, struct ab_error *error);

#endif
