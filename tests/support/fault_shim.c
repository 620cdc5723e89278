#include "tests/support/fault_shim.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))
/* The next definition of a function of ours, which is the C library's. */
#define REAL(name) ((__typeof__(&name))real(#name))

enum { LINE_BYTES = 2 * PATH_MAX + 64 };

static _Atomic int64_t *slots; /* mapped; NULL: nothing is faulty */
static const char *directory;
static const char *root;
static bool is_disk_faulty;
static int undo_fd = -1;
static atomic_uint kept_count;
/* Orders operations of a lying disk and their lines. */
static pthread_mutex_t undo_lock = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        abort();
    }
    return found;
}

__attribute__((constructor)) static void shim_begin(void)
{
    char path[PATH_MAX];
    directory = getenv("ANABRANCH_FAULT_DIR");
    root = getenv("ANABRANCH_FAULT_ROOT");
    if (directory == NULL || root == NULL || strncmp(program_invocation_short_name, "anabranch", 9) != 0) {
        return;
    }
    (void)snprintf(path, sizeof path, "%s/control", directory);
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    void *mapped =
        fd < 0 ? MAP_FAILED : mmap(NULL, FAULT_SLOTS * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)snprintf(path, sizeof path, "%s/undo", directory);
    undo_fd = REAL(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (mapped == MAP_FAILED || undo_fd < 0) {
        (void)fprintf(stderr, "fault_shim: %s: %s\n", path, strerror(errno));
        abort();
    }
    (void)close(fd);
    is_disk_faulty = strcmp(program_invocation_short_name, "anabranch-speed") == 0;
    slots = mapped;
}

/* ---- what is asked for ---- */

static int64_t slot_get(enum fault_slot slot)
{
    return slots == NULL ? 0 : atomic_load_explicit(&slots[slot], memory_order_relaxed);
}

static void met(void)
{
    atomic_fetch_add(&slots[FAULT_MET], 1);
}

/* Takes one of a slot that counts. */
static bool slot_take(enum fault_slot slot)
{
    int64_t left = slot_get(slot);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&slots[slot], &left, left - 1)) {
            met();
            return true;
        }
    }
    return false;
}

static bool is_lying(void)
{
    return is_disk_faulty && slot_get(FAULT_LYING) != 0;
}

/* True for what lies on the faulty disk. */
static bool path_is_ours(const char *path)
{
    size_t bytes = strlen(root);
    return is_disk_faulty && strncmp(path, root, bytes) == 0 && (path[bytes] == '/' || path[bytes] == '\0') &&
           strncmp(path + bytes, "/logs/", 6) != 0 && strncmp(path + bytes, "/run/", 5) != 0;
}

static bool path_is_segment(const char *path)
{
    size_t bytes = strlen(path);
    return bytes > 4 && strstr(path, "/log/") != NULL && strcmp(path + bytes - 4, ".seg") == 0;
}

/* The path of an open file of the faulty disk; false when it is none, or is called nothing any more. */
static bool file_path(int fd, char path[PATH_MAX])
{
    char link[64];
    if (!is_disk_faulty) {
        return false;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, path, PATH_MAX - 1);
    path[bytes < 0 ? 0 : bytes] = '\0';
    return bytes > 0 && path_is_ours(path) && strstr(path, " (deleted)") == NULL;
}

static bool file_is_segment(int fd)
{
    char path[PATH_MAX];
    return file_path(fd, path) && path_is_segment(path);
}

/* ---- what is not written ---- */

__attribute__((format(printf, 1, 2))) static void undo_note(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (bytes <= 0 || (size_t)bytes >= sizeof line || REAL(write)(undo_fd, line, (size_t)bytes) != bytes) {
        abort();
    }
    met();
}

static void kept_path(char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/kept-%d-%u", directory, (int)getpid(), atomic_fetch_add(&kept_count, 1));
}

static int64_t file_bytes(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? (int64_t)status.st_size : -1;
}

/* Locks when the disk lies; notes how long the file is when it is about to reach `end`. */
static bool undo_begin_grow(int fd, int64_t end)
{
    char path[PATH_MAX];
    if (!is_lying()) {
        return false;
    }
    (void)pthread_mutex_lock(&undo_lock);
    int64_t bytes = file_bytes(fd);
    if (bytes >= 0 && end > bytes && file_path(fd, path)) {
        undo_note("size %s %lld\n", path, (long long)bytes);
    }
    return true;
}

static void undo_end(bool is_locked)
{
    if (is_locked) {
        int error = errno;
        (void)pthread_mutex_unlock(&undo_lock);
        errno = error;
    }
}

/* Keeps what is cut off a file; the lock is held. */
static void undo_cut(int fd, int64_t bytes)
{
    char path[PATH_MAX];
    char kept[PATH_MAX];
    char part[4096];
    int64_t before = file_bytes(fd);
    if (before < 0 || bytes >= before || !file_path(fd, path)) {
        return;
    }
    kept_path(kept);
    int out = REAL(open)(kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (int64_t at = bytes; at < before;) {
        ssize_t got = REAL(pread)(fd, part, sizeof part, (off_t)at);
        if (out < 0 || got <= 0 || REAL(write)(out, part, (size_t)got) != got) {
            abort();
        }
        at += got;
    }
    (void)close(out);
    undo_note("size %s %lld %s\n", path, (long long)bytes, kept);
}

/* ---- files ---- */

/* What a change of the disk is refused with; 0 = it is not. */
static int refusal(bool is_growth, bool is_segment)
{
    int error = slot_get(FAULT_READ_ONLY) != 0 ? EROFS : 0;
    int64_t space = slot_get(FAULT_NO_SPACE);
    if (error == 0 && is_growth && (space == 1 || (space == 2 && is_segment))) {
        error = ENOSPC;
    }
    if (error != 0) {
        met();
        errno = error;
    }
    return error;
}

/* True when no more descriptors are to be had. */
static bool has_no_files(void)
{
    if (!is_disk_faulty || slot_get(FAULT_NO_FILES) == 0) {
        return false;
    }
    met();
    errno = EMFILE;
    return true;
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    if (has_no_files()) {
        return -1;
    }
    bool is_write = (flags & O_ACCMODE) != O_RDONLY;
    bool is_new = (flags & O_CREAT) != 0 && is_disk_faulty && path_is_ours(path) && access(path, F_OK) != 0;
    if (is_write && is_disk_faulty && path_is_ours(path) && refusal(is_new, path_is_segment(path)) != 0) {
        return -1;
    }
    bool is_locked = is_lying() && (is_new || (flags & O_TRUNC) != 0) && path_is_ours(path);
    if (is_locked) {
        (void)pthread_mutex_lock(&undo_lock);
        int before = is_new ? -1 : REAL(open)(path, O_RDONLY | O_CLOEXEC);
        if (before >= 0) {
            undo_cut(before, 0);
            (void)close(before);
        }
    }
    int fd = REAL(openat)(folder, path, flags, mode);
    if (is_locked && is_new && fd >= 0) {
        undo_note("made %s\n", path);
    }
    undo_end(is_locked);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

EXPORTED int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

EXPORTED int openat(int folder, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_at(folder, path, flags, mode);
}

/* A write to a log segment that goes wrong; false when it shall be done. */
static bool write_is_astray(int fd, const void *data, size_t bytes, off_t offset)
{
    if (slot_take(FAULT_WRITES_LOST)) {
        return true;
    }
    if (slot_take(FAULT_WRITES_ASTRAY)) {
        (void)REAL(pwrite)(fd, data, bytes, offset > (off_t)bytes ? offset - (off_t)bytes : 0);
        return true;
    }
    if (slot_take(FAULT_WRITES_TORN)) {
        (void)REAL(pwrite)(fd, data, bytes / 2, offset);
        (void)kill(getpid(), SIGKILL);
    }
    return false;
}

static bool may_write_go_astray(void)
{
    return slot_get(FAULT_WRITES_LOST) + slot_get(FAULT_WRITES_ASTRAY) + slot_get(FAULT_WRITES_TORN) > 0;
}

static bool is_refusing(void)
{
    return is_disk_faulty && slot_get(FAULT_READ_ONLY) + slot_get(FAULT_NO_SPACE) > 0;
}

EXPORTED ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    char path[PATH_MAX];
    if (is_refusing() && file_path(fd, path) &&
        refusal((int64_t)offset + (int64_t)bytes > file_bytes(fd), path_is_segment(path)) != 0) {
        return -1;
    }
    if (is_disk_faulty && may_write_go_astray() && file_is_segment(fd) && write_is_astray(fd, data, bytes, offset)) {
        return (ssize_t)bytes;
    }
    bool is_locked = undo_begin_grow(fd, (int64_t)offset + (int64_t)bytes);
    ssize_t written = REAL(pwrite)(fd, data, bytes, offset);
    undo_end(is_locked);
    return written;
}

EXPORTED ssize_t write(int fd, const void *data, size_t bytes)
{
    char path[PATH_MAX];
    if (is_refusing() && file_path(fd, path) && refusal(true, path_is_segment(path)) != 0) {
        return -1;
    }
    bool is_locked = undo_begin_grow(fd, INT64_MAX);
    ssize_t written = REAL(write)(fd, data, bytes);
    undo_end(is_locked);
    return written;
}

EXPORTED ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    if (is_disk_faulty && slot_get(FAULT_READ_ERRORS) > 0 && file_is_segment(fd) && slot_take(FAULT_READ_ERRORS)) {
        errno = EIO;
        return -1;
    }
    return REAL(pread)(fd, data, bytes, offset);
}

EXPORTED int ftruncate(int fd, off_t bytes)
{
    char path[PATH_MAX];
    if (is_refusing() && file_path(fd, path) && refusal((int64_t)bytes > file_bytes(fd), false) != 0) {
        return -1;
    }
    bool is_locked = undo_begin_grow(fd, (int64_t)bytes);
    if (is_locked) {
        undo_cut(fd, (int64_t)bytes);
    }
    int result = REAL(ftruncate)(fd, bytes);
    undo_end(is_locked);
    return result;
}

EXPORTED int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    char path[PATH_MAX];
    if (is_refusing() && file_path(fd, path) && refusal(true, path_is_segment(path)) != 0) {
        return -1;
    }
    return REAL(fallocate)(fd, mode, offset, bytes);
}

/* A sync before it is done: 0 = do it, 1 = say that it is done, -1 = it failed. */
static int sync_begin(int fd)
{
    if (!is_disk_faulty || slots == NULL) {
        return 0;
    }
    int64_t delay = slot_get(FAULT_SYNC_DELAY_US);
    char path[PATH_MAX];
    if (!file_path(fd, path)) {
        return 0;
    }
    atomic_fetch_add(&slots[FAULT_SYNCS], 1);
    if (delay > 0) {
        struct timespec pause = {.tv_sec = delay / 1000000, .tv_nsec = delay % 1000000 * 1000};
        met();
        (void)nanosleep(&pause, NULL);
    }
    if (path_is_segment(path) && slot_take(FAULT_SYNC_ERRORS)) {
        errno = EIO;
        return -1;
    }
    if (slot_get(FAULT_LYING) == 2) {
        (void)pthread_mutex_lock(&undo_lock);
        undo_note("sync %s\n", path);
        undo_end(true);
    }
    return slot_get(FAULT_LYING) == 1 ? 1 : 0;
}

EXPORTED int fsync(int fd)
{
    int begun = sync_begin(fd);
    return begun == 0 ? REAL(fsync)(fd) : begun < 0 ? -1 : 0;
}

EXPORTED int fdatasync(int fd)
{
    int begun = sync_begin(fd);
    return begun == 0 ? REAL(fdatasync)(fd) : begun < 0 ? -1 : 0;
}

/* ---- folders ---- */

static bool undo_begin(const char *path)
{
    bool is_locked = is_lying() && path_is_ours(path);
    if (is_locked) {
        (void)pthread_mutex_lock(&undo_lock);
    }
    return is_locked;
}

EXPORTED int rename(const char *from, const char *to)
{
    char kept[PATH_MAX] = "";
    if (is_refusing() && path_is_ours(to) && refusal(false, false) != 0) {
        return -1;
    }
    bool is_locked = undo_begin(to);
    if (is_locked) {
        kept_path(kept);
        if (REAL(link)(to, kept) != 0) {
            kept[0] = '\0';
        }
    }
    int result = REAL(rename)(from, to);
    if (is_locked && result == 0) {
        undo_note("name %s %s %s\n", from, to, kept);
    }
    undo_end(is_locked);
    return result;
}

/* Of unlink and unlinkat, by the whole path. */
static void undo_remove(const char *path, bool is_folder)
{
    char kept[PATH_MAX];
    if (is_folder) {
        undo_note("rmdir %s\n", path);
        return;
    }
    kept_path(kept);
    if (REAL(link)(path, kept) == 0) {
        undo_note("gone %s %s\n", path, kept);
    }
}

EXPORTED int unlink(const char *path)
{
    bool is_locked = undo_begin(path);
    if (is_locked) {
        undo_remove(path, false);
    }
    int result = REAL(unlink)(path);
    undo_end(is_locked);
    return result;
}

EXPORTED int unlinkat(int folder, const char *name, int flags)
{
    char above[PATH_MAX] = "";
    char path[PATH_MAX];
    bool is_ours =
        is_lying() && file_path(folder, above) && snprintf(path, sizeof path, "%s/%s", above, name) < (int)sizeof path;
    bool is_locked = is_ours && undo_begin(path);
    if (is_locked) {
        undo_remove(path, (flags & AT_REMOVEDIR) != 0);
    }
    int result = REAL(unlinkat)(folder, name, flags);
    undo_end(is_locked);
    return result;
}

EXPORTED int rmdir(const char *path)
{
    bool is_locked = undo_begin(path);
    int result = REAL(rmdir)(path);
    if (is_locked && result == 0) {
        undo_note("rmdir %s\n", path);
    }
    undo_end(is_locked);
    return result;
}

EXPORTED int mkdir(const char *path, mode_t mode)
{
    if (is_refusing() && path_is_ours(path) && access(path, F_OK) != 0 && refusal(true, false) != 0) {
        return -1;
    }
    bool is_locked = undo_begin(path);
    int result = REAL(mkdir)(path, mode);
    if (is_locked && result == 0) {
        undo_note("folder %s\n", path);
    }
    undo_end(is_locked);
    return result;
}

EXPORTED int link(const char *from, const char *to)
{
    if (is_refusing() && path_is_ours(to) && refusal(true, false) != 0) {
        return -1;
    }
    bool is_locked = undo_begin(to);
    int result = REAL(link)(from, to);
    if (is_locked && result == 0) {
        undo_note("made %s\n", to);
    }
    undo_end(is_locked);
    return result;
}

/* ---- clock ---- */

EXPORTED int clock_gettime(clockid_t clock, struct timespec *now)
{
    static _Atomic(__typeof__(&clock_gettime)) known;
    if (atomic_load_explicit(&known, memory_order_relaxed) == NULL) {
        atomic_store(&known, REAL(clock_gettime)); /* asked too often to look for it each time */
    }
    int result = atomic_load_explicit(&known, memory_order_relaxed)(clock, now);
    int64_t shift = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? slot_get(FAULT_CLOCK_US) : 0;
    if (result == 0 && shift != 0) {
        int64_t us = (int64_t)now->tv_sec * 1000000 + now->tv_nsec / 1000 + shift;
        now->tv_sec = (time_t)(us / 1000000);
        now->tv_nsec = (long)(us % 1000000) * 1000 + now->tv_nsec % 1000;
    }
    return result;
}

EXPORTED int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){.tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000};
    return result;
}

/* ---- wires ---- */

/* Where a connection is made instead, by DIR/links. */
static bool link_find(const struct sockaddr_in *to, struct sockaddr_in *instead)
{
    char text[8192];
    char path[PATH_MAX];
    char line_from[INET_ADDRSTRLEN];
    char line_to[INET_ADDRSTRLEN];
    char from[INET_ADDRSTRLEN];
    unsigned from_port = 0;
    unsigned to_port = 0;
    (void)snprintf(path, sizeof path, "%s/links", directory);
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? -1 : REAL(pread)(fd, text, sizeof text - 1, 0);
    if (fd >= 0) {
        (void)close(fd);
    }
    text[bytes < 0 ? 0 : bytes] = '\0';
    (void)inet_ntop(AF_INET, &to->sin_addr, from, sizeof from);
    for (char *line = text; *line != '\0';) {
        if (sscanf(line, "%15s %u %15s %u", line_from, &from_port, line_to, &to_port) == 4 &&
            strcmp(from, line_from) == 0 && from_port == ntohs(to->sin_port)) {
            *instead = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)to_port)};
            return inet_pton(AF_INET, line_to, &instead->sin_addr) == 1;
        }
        char *end = strchr(line, '\n');
        line = end == NULL ? line + strlen(line) : end + 1;
    }
    return false;
}

EXPORTED int socket(int domain, int type, int protocol)
{
    return has_no_files() ? -1 : REAL(socket)(domain, type, protocol);
}

EXPORTED int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict bytes, int flags)
{
    return has_no_files() ? -1 : REAL(accept4)(fd, address, bytes, flags);
}

EXPORTED int connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    struct sockaddr_in to;
    struct sockaddr_in instead;
    if (slots != NULL && bytes >= sizeof to && address->sa_family == AF_INET) {
        memcpy(&to, address, sizeof to);
        if (link_find(&to, &instead)) {
            return REAL(connect)(fd, (const struct sockaddr *)&instead, sizeof instead);
        }
    }
    return REAL(connect)(fd, address, bytes);
}

/* ---- the same by their other names ---- */

#define ALSO(name) __attribute__((visibility("default"), alias(name)))

ALSO("open") int open64(const char *path, int flags, ...);
ALSO("openat") int openat64(int folder, const char *path, int flags, ...);
ALSO("pwrite") ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset);
ALSO("pread") ssize_t pread64(int fd, void *data, size_t bytes, off64_t offset);
ALSO("ftruncate") int ftruncate64(int fd, off64_t bytes);
ALSO("fallocate") int fallocate64(int fd, int mode, off64_t offset, off64_t bytes);
