#include "common/history/layout.h"

#include "common/base/buffer.h"
#include "common/base/memory.h"

#include <inttypes.h>

static bool is_plain(char c, bool is_first)
{
    bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return is_word || (!is_first && (c == '_' || c == '-'));
}

char *ab_history_name(const char *name)
{
    struct ab_buffer out = {0};
    for (const char *at = name; *at != 0; at++) {
        if (is_plain(*at, at == name)) {
            ab_buffer_put_u8(&out, (uint8_t)*at);
        } else {
            ab_buffer_put_format(&out, "%%%02X", (unsigned)(uint8_t)*at);
        }
    }
    char *result = ab_new_text(ab_buffer_text(&out));
    ab_buffer_fini(&out);
    return result;
}

static char *file_path(const char *directory, const char *folder, const char *stream, uint32_t partition, uint64_t span)
{
    char *name = ab_history_name(stream);
    char *path = ab_new_format("%s%shistory/%s%s/partition-%" PRIu32 "/span-%" PRIu64 ".parquet", directory,
        directory[0] == 0 ? "" : "/", folder, name, partition, span);
    ab_delete(name);
    return path;
}

char *ab_history_rows_path(const char *directory, const char *stream, uint32_t partition, uint64_t span)
{
    return file_path(directory, "", stream, partition, span);
}

char *ab_history_dead_letters_path(const char *directory, const char *stream, uint32_t partition, uint64_t span)
{
    return file_path(directory, "_dead_letters/", stream, partition, span);
}

char *ab_history_marker_path(const char *directory, uint32_t partition, uint64_t span)
{
    return ab_new_format("%s%shistory/_sealed/partition-%" PRIu32 "/span-%" PRIu64 ".json", directory,
        directory[0] == 0 ? "" : "/", partition, span);
}

char *ab_history_versions_path(const char *view, uint32_t definition_version)
{
    char *name = ab_history_name(view);
    char *path = ab_new_format("versions/%s-%" PRIu32, name, definition_version);
    ab_delete(name);
    return path;
}

char *ab_history_version_path(const char *view, uint32_t definition_version, uint64_t cut, uint32_t attempt)
{
    char *folder = ab_history_versions_path(view, definition_version);
    char *path = ab_new_format("%s/%" PRIu64 "-%" PRIu32, folder, cut, attempt);
    ab_delete(folder);
    return path;
}
