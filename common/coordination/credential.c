/* A credential: what it may be made of, and reading it from a file. */
#include "common/coordination/coordination_table.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool ab_coordination_credential_is_valid(struct ab_bytes credential)
{
    size_t name_bytes = 0;
    if (credential.bytes > AB_COORDINATION_CREDENTIAL_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < credential.bytes; i++) {
        if (credential.data[i] <= ' ' || credential.data[i] > '~') {
            return false;
        }
        if (credential.data[i] == ':' && name_bytes == 0) {
            name_bytes = i;
        }
    }
    return name_bytes > 0 && name_bytes + 1 < credential.bytes;
}

/* Refuses what others could read or have put there. */
static ab_err owner_check(int fd, const char *path, struct ab_error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return ab_error_set(error, AB_IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0 || (status.st_uid != geteuid() && status.st_uid != 0)) {
        return ab_error_set(
            error, AB_DENIED, "%s: must be a plain file of this user that nobody else may read (chmod 600)", path);
    }
    return AB_OK;
}

/* What is in the file, without one newline at its end. */
static ab_err content_read(int fd, const char *path, struct ab_buffer *credential, struct ab_error *error)
{
    uint8_t content[AB_COORDINATION_CREDENTIAL_BYTES_MAX + 2];
    uint64_t bytes = 0;
    AB_TRY(owner_check(fd, path, error));
    AB_TRY(ab_file_bytes(fd, &bytes));
    ab_err err = bytes > sizeof content ? AB_INVALID : ab_file_read_at(fd, content, (size_t)bytes, 0);
    if (err == AB_OK) {
        bytes -= bytes > 0 && content[bytes - 1] == '\n';
        struct ab_bytes found = ab_bytes_of(content, (size_t)bytes);
        err = ab_coordination_credential_is_valid(found) ? AB_OK : AB_INVALID;
        if (err == AB_OK) {
            ab_buffer_put_bytes(credential, found);
            err = ab_buffer_finish(credential);
        }
    }
    explicit_bzero(content, sizeof content);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "%s: %s: NAME:PASSWORD is needed", path, ab_err_text(err));
}

ab_err ab_coordination_credential_read(const char *path, struct ab_buffer *credential, struct ab_error *error)
{
    int fd = -1;
    ab_err err = ab_file_open(path, O_RDONLY, 0, &fd, error);
    if (err == AB_OK) {
        err = content_read(fd, path, credential, error);
    }
    ab_file_close(&fd);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "coordination: credential");
}
