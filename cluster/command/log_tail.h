/* log_tail: shows a person what a daemon wrote to its log since a moment. */
#ifndef ANABRANCH_CLUSTER_COMMAND_LOG_TAIL_H
#define ANABRANCH_CLUSTER_COMMAND_LOG_TAIL_H

#include <stdint.h>

#define AB_LOG_TAIL_DAEMONS 4 /* also the first ZooKeeper server, whose log is in the directory of several nodes */

struct ab_log_tails {
    const char *directory; /* borrowed */
    uint64_t bytes[AB_LOG_TAIL_DAEMONS];
};

/* Notes how long the logs of all daemons are now. */
void ab_log_tails_note(struct ab_log_tails *tails, const char *directory);

/* Prints the last lines written since to standard error, events in plain words. */
void ab_log_tail_print(const struct ab_log_tails *tails, const char *daemon);

#endif
