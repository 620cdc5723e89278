#include "common/base/file.h"

#include "common/base/file_fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nesting of a tree that is removed; deeper ones are an error, so that recursion stays bounded. */
#define TREE_DEPTH_MAX 64

static bool is_dot_name(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static ab_err remove_at(int parent, const char *name, int depth);

/* Removes everything inside an open directory; takes `fd`. */
static ab_err remove_content(int fd, int depth)
{
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        ab_err err = ab_err_from_errno(errno);
        ab_file_close(&fd);
        return err;
    }
    ab_err err = AB_OK;
    const struct dirent *entry;
    errno = 0;
    while (err == AB_OK && (entry = readdir(directory)) != NULL) {
        if (!is_dot_name(entry->d_name)) {
            err = remove_at(dirfd(directory), entry->d_name, depth + 1);
        }
        errno = 0;
    }
    if (err == AB_OK && errno != 0) {
        err = ab_err_from_errno(errno);
    }
    (void)closedir(directory); /* only read from */
    return err;
}

/* Removes a name below `parent`, whatever it is; an absent one is fine. */
static ab_err remove_at(int parent, const char *name, int depth)
{
    AB_TRY(ab_file_fault_take());
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) {
        return AB_OK;
    }
    if (errno != EISDIR && errno != EPERM) {
        return ab_err_from_errno(errno);
    }
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return ab_err_from_errno(errno);
    }
    if (depth >= TREE_DEPTH_MAX) {
        ab_file_close(&fd);
        return AB_TOO_LARGE;
    }
    AB_TRY(remove_content(fd, depth));
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? AB_OK : ab_err_from_errno(errno);
}

ab_err ab_file_remove_tree(const char *path, struct ab_error *error)
{
    ab_err err = remove_at(AT_FDCWD, path, 0);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "remove %s: %s", path, ab_err_text(err));
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads all names; *names is to be freed in any case. */
static ab_err names_read(DIR *directory, char ***names, size_t *count)
{
    size_t capacity = 0;
    const struct dirent *entry;
    errno = 0;
    while ((entry = readdir(directory)) != NULL) {
        if (!is_dot_name(entry->d_name)) {
            if (*count == capacity) {
                capacity = capacity == 0 ? 16 : capacity * 2;
                *names = ab_renew_bytes(*names, capacity * sizeof(char *));
            }
            (*names)[(*count)++] = ab_new_text(entry->d_name);
        }
        errno = 0;
    }
    return errno == 0 ? AB_OK : ab_err_from_errno(errno);
}

ab_err ab_file_list(const char *path, char ***names, size_t *count, struct ab_error *error)
{
    ab_err err = ab_file_fault_take();
    DIR *directory = err == AB_OK ? opendir(path) : NULL;
    if (directory == NULL) {
        err = err == AB_OK ? ab_err_from_errno(errno) : err;
        return ab_error_set(error, err, "list %s: %s", path, ab_err_text(err));
    }
    char **found = NULL;
    size_t found_count = 0;
    err = names_read(directory, &found, &found_count);
    (void)closedir(directory); /* only read from */
    if (err != AB_OK) {
        ab_file_names_free(found, found_count);
        return ab_error_set(error, err, "list %s: %s", path, ab_err_text(err));
    }
    if (found_count > 0) {
        qsort(found, found_count, sizeof(char *), name_compare);
    }
    *names = found;
    *count = found_count;
    return AB_OK;
}

void ab_file_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ab_delete(names[i]);
    }
    ab_delete(names);
}
