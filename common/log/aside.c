#include "common/log/aside.h"

#include "common/log/segment.h"

#include "common/base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static const char *const kind_marks[] = {[AB_ASIDE_CUT] = ".seg.cut-", [AB_ASIDE_BAD] = ".seg.bad-"};

char *ab_aside_torn_path(const char *directory, uint64_t first_offset)
{
    char *segment = ab_segment_path(directory, first_offset);
    char *path = ab_new_format("%s.torn", segment);
    ab_delete(segment);
    return path;
}

char *ab_aside_path(const char *directory, enum ab_aside_kind kind, uint64_t offset, uint64_t serial)
{
    return ab_new_format("%s/%020" PRIu64 "%s%06" PRIu64, directory, offset, kind_marks[kind], serial);
}

/* True when `name` is one of this kind; gives its serial. */
static bool name_parse(const char *name, enum ab_aside_kind kind, uint64_t *serial)
{
    const char *mark = strstr(name, kind_marks[kind]);
    const char *digits = mark == NULL ? "" : mark + strlen(kind_marks[kind]);
    if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits)) {
        return false;
    }
    errno = 0;
    *serial = strtoull(digits, NULL, 10);
    return errno == 0;
}

ab_err ab_aside_next_serial(const char *directory, enum ab_aside_kind kind, uint64_t *serial, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_file_list(directory, &names, &count, error));
    uint64_t highest = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t found = 0;
        if (name_parse(names[i], kind, &found) && found > highest) {
            highest = found;
        }
    }
    ab_file_names_free(names, count);
    *serial = highest + 1;
    return AB_OK;
}

ab_err ab_aside_copy(const char *path, int fd, uint64_t position, uint64_t bytes, struct ab_error *error)
{
    struct ab_buffer copy = {0};
    uint8_t *at = ab_buffer_extend(&copy, bytes);
    ab_err err = at == NULL ? AB_FULL : ab_file_read_at(fd, at, bytes, position);
    if (err != AB_OK) {
        (void)ab_error_set(error, err, "read what goes to %s: %s", path, ab_err_text(err));
    } else {
        err = ab_file_replace(path, ab_buffer_view(&copy), 0600, error);
    }
    ab_buffer_fini(&copy);
    return err;
}

ab_err ab_aside_prune(const char *directory, struct ab_error *error)
{
    uint64_t next = 0;
    AB_TRY(ab_aside_next_serial(directory, AB_ASIDE_CUT, &next, error));
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_file_list(directory, &names, &count, error));
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        uint64_t serial = 0;
        if (name_parse(names[i], AB_ASIDE_CUT, &serial) && serial + AB_ASIDE_CUTS_KEPT < next) {
            char *path = ab_new_format("%s/%s", directory, names[i]);
            err = ab_file_remove_tree(path, error);
            ab_delete(path);
        }
    }
    ab_file_names_free(names, count);
    return err;
}

ab_err ab_aside_drop_segment(const char *directory, uint64_t first_offset, struct ab_error *error)
{
    char *path = ab_segment_path(directory, first_offset);
    char *torn = ab_aside_torn_path(directory, first_offset);
    ab_err err = ab_file_remove_tree(torn, error);
    if (err == AB_OK) {
        err = ab_file_remove_tree(path, error);
    }
    ab_delete(torn);
    ab_delete(path);
    return err;
}
