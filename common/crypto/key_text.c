#include "common/crypto/key_text.h"

#include "common/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool ab_key_text_line(struct ab_bytes *text, struct ab_bytes *line)
{
    if (text->bytes == 0) {
        return false;
    }
    const uint8_t *end = memchr(text->data, '\n', text->bytes);
    size_t length = end == NULL ? text->bytes : (size_t)(end - text->data);
    size_t taken = end == NULL ? length : length + 1;
    *line = ab_bytes_of(text->data, length);
    *text = ab_bytes_of(text->data + taken, text->bytes - taken);
    return true;
}

struct ab_bytes ab_key_text_field(struct ab_bytes *line)
{
    size_t begin = 0;
    while (begin < line->bytes && line->data[begin] == ' ') {
        begin++;
    }
    size_t end = begin;
    while (end < line->bytes && line->data[end] != ' ') {
        end++;
    }
    struct ab_bytes field = ab_bytes_of(line->data + begin, end - begin);
    *line = ab_bytes_of(line->data + end, line->bytes - end);
    return field;
}

static bool is_word_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
}

ab_err ab_key_text_word(struct ab_bytes field, char *out, size_t room)
{
    if (field.bytes == 0 || field.bytes >= room) {
        return AB_INVALID;
    }
    for (size_t i = 0; i < field.bytes; i++) {
        if (!is_word_byte(field.data[i])) {
            return AB_INVALID;
        }
    }
    memcpy(out, field.data, field.bytes);
    out[field.bytes] = '\0';
    return AB_OK;
}

/* Refuses what is not a plain file of ours, or has a mode it must not have. */
static ab_err status_check(int fd, const char *path, unsigned denied_mode, struct ab_error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        return ab_error_set(error, AB_DENIED, "%s is not a plain file", path);
    }
    if (status.st_uid != geteuid() && status.st_uid != 0) {
        return ab_error_set(error, AB_DENIED, "%s belongs to another user", path);
    }
    unsigned mode = status.st_mode & 0777u;
    if ((mode & denied_mode) != 0) {
        return ab_error_set(
            error, AB_DENIED, "%s has mode %04o; bits %04o must be off (chmod go-rwx)", path, mode, denied_mode);
    }
    return AB_OK;
}

ab_err ab_key_text_read(const char *path, unsigned denied_mode, struct ab_buffer *out, struct ab_error *error)
{
    int fd = -1;
    AB_TRY(ab_file_open(path, O_RDONLY | O_NONBLOCK, 0, &fd, error));
    uint64_t bytes = 0;
    ab_err err = status_check(fd, path, denied_mode, error);
    if (err != AB_OK) {
        ab_file_close(&fd);
        return err;
    }
    err = ab_file_bytes(fd, &bytes);
    uint8_t *at = err == AB_OK && bytes < SIZE_MAX ? ab_buffer_extend(out, (size_t)bytes) : NULL;
    if (err == AB_OK) {
        err = at == NULL ? AB_TOO_LARGE : ab_file_read_at(fd, at, (size_t)bytes, 0);
    }
    ab_file_close(&fd);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "read %s: %s", path, ab_err_text(err));
}
