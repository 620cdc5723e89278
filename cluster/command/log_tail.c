#include "cluster/command/log_tail.h"

#include "cluster/command/command.h"
#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/json.h"

#include <fcntl.h>

#define LINES_MAX 12
#define TAIL_BYTES_MAX 8192

static const char *const daemons[AB_LOG_TAIL_DAEMONS] = {"controller", "speed", "serving", "zookeeper-1"};

static uint64_t log_bytes(const char *directory, const char *daemon)
{
    int fd = -1;
    uint64_t bytes = 0;
    char *path = ab_layout_path(directory, "logs/%s.log", daemon);
    if (ab_file_open(path, O_RDONLY, 0, &fd, NULL) != AB_OK || ab_file_bytes(fd, &bytes) != AB_OK) {
        bytes = 0;
    }
    ab_file_close(&fd);
    ab_delete(path);
    return bytes;
}

void ab_log_tails_note(struct ab_log_tails *tails, const char *directory)
{
    tails->directory = directory;
    for (int i = 0; i < AB_LOG_TAIL_DAEMONS; i++) {
        tails->bytes[i] = log_bytes(directory, daemons[i]);
    }
}

static void line_print(const char *daemon, struct ab_bytes line)
{
    struct ab_json *entry = NULL;
    if (ab_json_parse(line, &entry, NULL) == AB_OK && ab_json_is_text(ab_json_get(entry, "event"))) {
        ab_command_say("  %s: %s: %s", daemon, ab_json_text_or(ab_json_get(entry, "event"), ""),
            ab_json_text_or(ab_json_get(entry, "detail"), ""));
    } else {
        ab_command_say("  %s: %.*s", daemon, (int)line.bytes, (const char *)line.data);
    }
    ab_json_destroy(entry);
}

void ab_log_tail_print(const struct ab_log_tails *tails, const char *daemon)
{
    uint64_t from = 0;
    for (int i = 0; i < AB_LOG_TAIL_DAEMONS; i++) {
        from = strcmp(daemons[i], daemon) == 0 ? tails->bytes[i] : from;
    }
    uint64_t until = log_bytes(tails->directory, daemon);
    from = until < from ? 0 : from; /* it was rotated meanwhile */
    from = until - from > TAIL_BYTES_MAX ? until - TAIL_BYTES_MAX : from;
    char text[TAIL_BYTES_MAX];
    int fd = -1;
    size_t bytes = (size_t)(until - from);
    char *path = ab_layout_path(tails->directory, "logs/%s.log", daemon);
    if (ab_file_open(path, O_RDONLY, 0, &fd, NULL) == AB_OK && ab_file_read_at(fd, text, bytes, from) == AB_OK) {
        size_t start = bytes;
        for (int lines = 0; start > 0 && lines <= LINES_MAX; start--) {
            lines += text[start - 1] == '\n' && start != bytes;
        }
        while (start < bytes) {
            const char *end = memchr(text + start, '\n', bytes - start);
            size_t length = end == NULL ? bytes - start : (size_t)(end - text) - start;
            if (length > 0) {
                line_print(daemon, ab_bytes_of(text + start, length));
            }
            start += length + 1;
        }
    }
    ab_file_close(&fd);
    ab_delete(path);
}
