#include "common/base/logging.h"

#include "common/base/bytes.h"
#include "common/base/time.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

/* A line is written by one write(2) of at most PIPE_BUF bytes, so that lines of many threads never mix in a pipe. */
#define LINE_BYTES_MAX 4096
#define DETAIL_BYTES_MAX 2048

/* Set once at start, before other threads run; read by any. */
static char program_name[64] = "anabranch";
static atomic_int lowest_level = AB_LOG_INFO;
static atomic_int output_fd = STDERR_FILENO;

void ab_logging_init(const char *program, enum ab_log_level lowest, int fd)
{
    (void)snprintf(program_name, sizeof(program_name), "%s", program);
    atomic_store(&lowest_level, (int)lowest);
    atomic_store(&output_fd, fd);
}

/* A line under construction; what does not fit is dropped. */
struct line {
    char text[LINE_BYTES_MAX];
    size_t bytes;
    size_t bytes_max; /* where writing stops, so that the end of the line always fits */
};

static void line_put(struct line *line, const void *data, size_t bytes)
{
    if (bytes <= line->bytes_max - line->bytes) {
        memcpy(line->text + line->bytes, data, bytes);
        line->bytes += bytes;
    }
}

static void line_put_text(struct line *line, const char *text)
{
    line_put(line, text, strlen(text));
}

/* Puts a JSON string; bytes that are not UTF-8 become U+FFFD. */
static void line_put_string(struct line *line, const char *text)
{
    struct ab_bytes rest = ab_bytes_of_text(text);
    line_put_text(line, "\"");
    while (rest.bytes > 0) {
        size_t length = ab_bytes_utf8_next(rest);
        uint8_t first = rest.data[0];
        char escape[8];
        if (length == 0) {
            line_put_text(line, "\\ufffd");
            length = 1;
        } else if (first == '"' || first == '\\') {
            (void)snprintf(escape, sizeof(escape), "\\%c", first);
            line_put_text(line, escape);
        } else if (first < 0x20) {
            (void)snprintf(escape, sizeof(escape), "\\u%04x", first);
            line_put_text(line, escape);
        } else {
            line_put(line, rest.data, length);
        }
        rest = ab_bytes_of(rest.data + length, rest.bytes - length);
    }
}

static void line_put_field(struct line *line, const char *name, const char *value)
{
    line_put_text(line, line->bytes == 0 ? "{\"" : ",\"");
    line_put_text(line, name);
    line_put_text(line, "\":");
    line_put_string(line, value);
    line->bytes_max += 1; /* the closing quote always fits */
    line_put_text(line, "\"");
}

void ab_logging_write(enum ab_log_level level, const char *event, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if ((int)level < atomic_load_explicit(&lowest_level, memory_order_relaxed)) {
        return;
    }
    char detail[DETAIL_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments);
    va_end(arguments);
    char time[AB_TIME_TEXT_BYTES];
    struct line line = {.bytes = 0, .bytes_max = LINE_BYTES_MAX - 16};
    line_put_field(&line, "time", ab_time_format(ab_time_now(), time));
    line_put_field(&line, "level", names[level]);
    line_put_field(&line, "program", program_name);
    line_put_field(&line, "event", event);
    if (detail[0] != '\0') {
        line_put_field(&line, "detail", detail);
    }
    line.bytes_max = LINE_BYTES_MAX;
    line_put_text(&line, "}\n");
    /* A log that cannot be written must not stop the program. */
    while (write(atomic_load(&output_fd), line.text, line.bytes) < 0 && errno == EINTR) {
    }
}
