#include "common/base/file.h"

#include "common/base/file_fault.h"
#include "common/base/hash.h"
#include "common/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define READ_CHUNK_BYTES ((size_t)256 * 1024)

ab_err ab_file_open(const char *path, int flags, int mode, int *fd, struct ab_error *error)
{
    ab_err err = ab_file_fault_take();
    int opened = -1;
    while (err == AB_OK && opened < 0) {
        opened = open(path, flags | O_CLOEXEC, mode);
        if (opened < 0 && errno != EINTR) {
            err = ab_err_from_errno(errno);
            return ab_error_set(error, err, "open %s: %s", path, strerror(errno));
        }
    }
    if (err != AB_OK) {
        return ab_error_set(error, err, "open %s: %s", path, ab_err_text(err));
    }
    *fd = opened;
    return AB_OK;
}

void ab_file_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* what must be durable was synced before; Linux frees the number even on error */
        *fd = -1;
    }
}

ab_err ab_file_write_at(int fd, struct ab_bytes bytes, uint64_t offset)
{
    AB_TRY(ab_file_fault_take());
    while (bytes.bytes > 0) {
        ssize_t written = pwrite(fd, bytes.data, bytes.bytes, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written == 0 ? AB_IO : ab_err_from_errno(errno);
        }
        bytes = ab_bytes_of(bytes.data + written, bytes.bytes - (size_t)written);
        offset += (uint64_t)written;
    }
    return AB_OK;
}

/* Reads up to `bytes` bytes; fewer only at the end of the file. */
static ab_err read_some(int fd, uint8_t *data, size_t bytes, uint64_t offset, size_t *got)
{
    AB_TRY(ab_file_fault_take());
    size_t used = 0;
    while (used < bytes) {
        ssize_t part = pread(fd, data + used, bytes - used, (off_t)(offset + used));
        if (part < 0 && errno == EINTR) {
            continue;
        }
        if (part < 0) {
            return ab_err_from_errno(errno);
        }
        if (part == 0) {
            break;
        }
        used += (size_t)part;
    }
    *got = used;
    return AB_OK;
}

ab_err ab_file_read_at(int fd, void *data, size_t bytes, uint64_t offset)
{
    size_t got = 0;
    AB_TRY(read_some(fd, data, bytes, offset, &got));
    return got == bytes ? AB_OK : AB_END;
}

ab_err ab_file_sync(int fd)
{
    AB_TRY(ab_file_fault_take());
    return fdatasync(fd) == 0 ? AB_OK : ab_err_from_errno(errno);
}

ab_err ab_file_sync_directory(const char *path)
{
    int fd = -1;
    AB_TRY(ab_file_open(path, O_RDONLY | O_DIRECTORY, 0, &fd, NULL));
    ab_err err = ab_file_fault_take();
    if (err == AB_OK && fsync(fd) != 0) {
        err = ab_err_from_errno(errno);
    }
    ab_file_close(&fd);
    return err;
}

ab_err ab_file_bytes(int fd, uint64_t *bytes)
{
    AB_TRY(ab_file_fault_take());
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return ab_err_from_errno(errno);
    }
    *bytes = (uint64_t)status.st_size;
    return AB_OK;
}

/* Appends from `offset` of the file what fits one chunk and out's maximum; *got = 0 at the end of the file. */
static ab_err read_chunk(int fd, uint64_t offset, struct ab_buffer *out, size_t *got)
{
    size_t room = out->bytes_max == 0 ? READ_CHUNK_BYTES : out->bytes_max - out->bytes;
    if (room == 0) {
        uint8_t probe;
        AB_TRY(read_some(fd, &probe, 1, offset, got));
        return *got == 0 ? AB_OK : AB_TOO_LARGE;
    }
    room = room < READ_CHUNK_BYTES ? room : READ_CHUNK_BYTES;
    size_t before = out->bytes;
    uint8_t *at = ab_buffer_extend(out, room);
    if (at == NULL) {
        return AB_FULL;
    }
    ab_err err = read_some(fd, at, room, offset, got);
    out->bytes = before + (err == AB_OK ? *got : 0);
    return err;
}

ab_err ab_file_read_all(const char *path, struct ab_buffer *out, struct ab_error *error)
{
    int fd = -1;
    AB_TRY(ab_file_open(path, O_RDONLY, 0, &fd, error));
    size_t before = out->bytes;
    uint64_t offset = 0;
    size_t got = 1;
    ab_err err = AB_OK;
    while (err == AB_OK && got > 0) {
        err = read_chunk(fd, offset, out, &got);
        offset += err == AB_OK ? got : 0;
    }
    ab_file_close(&fd);
    if (err != AB_OK) {
        out->bytes = before;
        return ab_error_set(error, err, "read %s: %s", path, ab_err_text(err));
    }
    return AB_OK;
}

/* Writes and syncs a new file. */
static ab_err write_new(const char *path, struct ab_bytes content, int mode, struct ab_error *error)
{
    int fd = -1;
    AB_TRY(ab_file_open(path, O_WRONLY | O_CREAT | O_EXCL, mode, &fd, error));
    ab_err err = ab_file_write_at(fd, content, 0);
    if (err == AB_OK) {
        err = ab_file_sync(fd);
    }
    ab_file_close(&fd);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "write %s: %s", path, ab_err_text(err));
}

/* The directory that holds path: "." for a plain name. Freed with ab_delete. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return ab_new_text(".");
    }
    return ab_new_text_of(ab_bytes_of(path, slash == path ? 1 : (size_t)(slash - path)));
}

ab_err ab_file_rename(const char *from, const char *to, struct ab_error *error)
{
    ab_err err = ab_file_fault_take();
    if (err == AB_OK && rename(from, to) != 0) {
        err = ab_err_from_errno(errno);
    }
    if (err == AB_OK) {
        char *directory = parent_of(to);
        err = ab_file_sync_directory(directory);
        ab_delete(directory);
    }
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "rename to %s: %s", to, ab_err_text(err));
}

ab_err ab_file_replace(const char *path, struct ab_bytes content, int mode, struct ab_error *error)
{
    char *temporary = ab_new_format("%s.new-%016llx", path, (unsigned long long)ab_random_id());
    ab_err err = write_new(temporary, content, mode, error);
    if (err == AB_OK) {
        err = ab_file_rename(temporary, path, error);
    }
    if (err != AB_OK) {
        (void)unlink(temporary); /* may be gone already; the error that matters is kept */
    }
    ab_delete(temporary);
    return err;
}

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Makes one directory whose parent exists. */
static ab_err make_one(const char *path, int mode)
{
    AB_TRY(ab_file_fault_take());
    if (mkdir(path, (mode_t)mode) != 0) {
        int failure = errno;
        return failure == EEXIST && is_directory(path) ? AB_OK : ab_err_from_errno(failure);
    }
    char *directory = parent_of(path);
    ab_err err = ab_file_sync_directory(directory);
    ab_delete(directory);
    return err;
}

ab_err ab_file_make_directory(const char *path, int mode, struct ab_error *error)
{
    char *copy = ab_new_text(path);
    size_t length = strlen(copy);
    ab_err err = length == 0 ? AB_NOT_FOUND : AB_OK;
    for (size_t i = 1; i <= length && err == AB_OK; i++) {
        bool is_end = copy[i] == '\0';
        if ((copy[i] != '/' && !is_end) || copy[i - 1] == '/') {
            continue;
        }
        copy[i] = '\0';
        if (!is_directory(copy)) {
            err = make_one(copy, mode);
        }
        copy[i] = is_end ? '\0' : '/';
    }
    ab_delete(copy);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "make directory %s: %s", path, ab_err_text(err));
}

bool ab_file_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

ab_err ab_file_lock(const char *path, int *fd, struct ab_error *error)
{
    int opened = -1;
    AB_TRY(ab_file_open(path, O_RDWR | O_CREAT, 0600, &opened, error));
    ab_err err = ab_file_fault_take();
    while (err == AB_OK && flock(opened, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EINTR) {
            err = errno == EWOULDBLOCK ? AB_BUSY : ab_err_from_errno(errno);
        }
    }
    if (err != AB_OK) {
        ab_file_close(&opened);
        return ab_error_set(error, err, "lock %s: %s", path, ab_err_text(err));
    }
    *fd = opened;
    return AB_OK;
}

ab_err ab_file_space(const char *path, uint64_t *free_bytes, uint64_t *total_bytes)
{
    AB_TRY(ab_file_fault_take());
    struct statvfs status;
    if (statvfs(path, &status) != 0) {
        return ab_err_from_errno(errno);
    }
    *free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    *total_bytes = (uint64_t)status.f_blocks * status.f_frsize;
    return AB_OK;
}

/* Feeds the whole open file to `stream`. */
static ab_err hash_all(int fd, struct ab_hash_stream *stream, uint64_t *bytes)
{
    uint8_t *chunk = ab_new_bytes(READ_CHUNK_BYTES);
    uint64_t offset = 0;
    size_t got = READ_CHUNK_BYTES;
    ab_err err = AB_OK;
    while (err == AB_OK && got == READ_CHUNK_BYTES) {
        err = read_some(fd, chunk, READ_CHUNK_BYTES, offset, &got);
        if (err == AB_OK) {
            ab_hash_stream_update(stream, ab_bytes_of(chunk, got));
            offset += got;
        }
    }
    ab_delete(chunk);
    *bytes = offset;
    return err;
}

ab_err ab_file_hash(const char *path, struct ab_hash128 *hash, uint64_t *bytes, struct ab_error *error)
{
    int fd = -1;
    AB_TRY(ab_file_open(path, O_RDONLY, 0, &fd, error));
    struct ab_hash_stream *stream = ab_hash_stream_create(AB_HASH_CONTENT);
    uint64_t read_bytes = 0;
    ab_err err = hash_all(fd, stream, &read_bytes);
    if (err == AB_OK) {
        *hash = ab_hash_stream_digest(stream);
        *bytes = read_bytes;
    }
    ab_hash_stream_destroy(stream);
    ab_file_close(&fd);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "read %s: %s", path, ab_err_text(err));
}
