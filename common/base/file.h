/* file: what the project asks of a file system, with durability spelled out and one place to inject faults.
 *
 * Every function retries EINTR and short transfers. "Durable" means that file and directory entry are synced.
 * Tests make the n-th call fail through ab_file_fault_set.
 */
#ifndef ANABRANCH_COMMON_BASE_FILE_H
#define ANABRANCH_COMMON_BASE_FILE_H

#include "common/base/buffer.h"

/* Opens with open(2)'s flags (O_CLOEXEC is added); *fd is the caller's to close. */
AB_MUST_USE ab_err ab_file_open(const char *path, int flags, int mode, int *fd, struct ab_error *error);

/* Closes *fd and sets it to -1; -1 is legal. */
void ab_file_close(int *fd);

/* Writes all of `bytes` at `offset`; AB_NO_SPACE or AB_IO. */
AB_MUST_USE ab_err ab_file_write_at(int fd, struct ab_bytes bytes, uint64_t offset);

/* Reads exactly `bytes` bytes at `offset`; AB_END when the file ends before. */
AB_MUST_USE ab_err ab_file_read_at(int fd, void *data, size_t bytes, uint64_t offset);

/* fdatasync; an error means the file can no longer be trusted (never retry: REPLICATION H8). */
AB_MUST_USE ab_err ab_file_sync(int fd);

/* Syncs a directory, so that creations, renames and removals in it are durable. */
AB_MUST_USE ab_err ab_file_sync_directory(const char *path);

/* Size of an open file in bytes. */
AB_MUST_USE ab_err ab_file_bytes(int fd, uint64_t *bytes);

/* Appends the whole file to `out`; AB_TOO_LARGE past out's maximum. */
AB_MUST_USE ab_err ab_file_read_all(const char *path, struct ab_buffer *out, struct ab_error *error);

/* Replaces a file durably and at once: temporary name, write, sync, rename, sync directory. */
AB_MUST_USE ab_err ab_file_replace(const char *path, struct ab_bytes content, int mode, struct ab_error *error);

/* Renames durably within one directory, over what stands there. */
AB_MUST_USE ab_err ab_file_rename(const char *from, const char *to, struct ab_error *error);

/* Makes a directory and its missing parents, durably; an existing one is fine. */
AB_MUST_USE ab_err ab_file_make_directory(const char *path, int mode, struct ab_error *error);

/* Removes a file or a whole tree; an absent one is fine. Does not follow links. */
AB_MUST_USE ab_err ab_file_remove_tree(const char *path, struct ab_error *error);

/* True when something exists at path. */
bool ab_file_exists(const char *path);

/* Names in a directory, sorted bytewise, without . and ..; *names and its strings are freed by ab_file_names_free. */
AB_MUST_USE ab_err ab_file_list(const char *path, char ***names, size_t *count, struct ab_error *error);
void ab_file_names_free(char **names, size_t count);

/* Takes an exclusive advisory lock (flock) on path, creating the file; AB_BUSY when another process has it. The lock
 * lives as long as *fd. */
AB_MUST_USE ab_err ab_file_lock(const char *path, int *fd, struct ab_error *error);

/* Free bytes for unprivileged users, and total bytes, of the file system that holds path. */
AB_MUST_USE ab_err ab_file_space(const char *path, uint64_t *free_bytes, uint64_t *total_bytes);

/* XXH3-128 (AB_HASH_CONTENT) of a file's bytes, and its size. */
struct ab_hash128;
AB_MUST_USE ab_err ab_file_hash(const char *path, struct ab_hash128 *hash, uint64_t *bytes, struct ab_error *error);

/* For tests: after `countdown` successful calls of this module the next `repeat` ones fail with `code`. */
void ab_file_fault_set(int countdown, int repeat, ab_err code);
void ab_file_fault_clear(void);
/* True when an injected fault was delivered since the last set. */
bool ab_file_fault_was_hit(void);

#endif
