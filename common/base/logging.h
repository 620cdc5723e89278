/* logging: one JSON object a line on standard error (or a file descriptor), made for journald and for people.
 *
 * {"time":"2013-06-01T05:17:00.123456Z","level":"info","program":"anabranch-speed","event":"span flushed","span":"3"}
 * Never one line per event of a stream. No secrets, no row contents.
 *
 * Threads: any.
 */
#ifndef ANABRANCH_COMMON_BASE_LOGGING_H
#define ANABRANCH_COMMON_BASE_LOGGING_H

#include "common/base/error.h"

enum ab_log_level { AB_LOG_DEBUG, AB_LOG_INFO, AB_LOG_WARN, AB_LOG_ERROR };

/* Names the program and sets the lowest level that is written; fd is where lines go. */
void ab_logging_init(const char *program, enum ab_log_level lowest, int fd);

/* Writes one line: `event` is a fixed English phrase, the detail is formatted into the field "detail". */
void ab_logging_write(enum ab_log_level level, const char *event, const char *format, ...) AB_PRINTF(3, 4);

#define ab_debug(...) ab_logging_write(AB_LOG_DEBUG, __VA_ARGS__)
#define ab_info(...) ab_logging_write(AB_LOG_INFO, __VA_ARGS__)
#define ab_warn(...) ab_logging_write(AB_LOG_WARN, __VA_ARGS__)
#define ab_error_log(...) ab_logging_write(AB_LOG_ERROR, __VA_ARGS__)

#endif
