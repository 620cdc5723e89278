/* daemon: anabranch-speed as a process: configuration, keys, socket, catalog, signals. */
#ifndef ANABRANCH_SPEED_DAEMON_H
#define ANABRANCH_SPEED_DAEMON_H

#include "common/base/error.h"

/* Runs until SIGTERM, SIGINT, the death of its parent or a shutdown request; then flushes, syncs and returns. Writes
 * run/speed.json once it has recovered and its socket has proven that strangers stay out. Errors name what to do; a
 * damaged log names segment and offset. */
AB_MUST_USE ab_err ab_speed_run(const char *directory, struct ab_error *error);

#endif
