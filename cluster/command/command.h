/* command: one table row per verb of `anabranch`, and how they are called.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage. Answers go to standard output, everything else to standard error. An
 * error says what, where, and what to do.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_COMMAND_H
#define ANABRANCH_CLUSTER_COMMAND_COMMAND_H

#include "cluster/command/arguments.h"

struct ab_command {
    const char *name;    /* "up" */
    const char *words;   /* what stands after it, for the help: "STREAM FILE|-" */
    const char *summary; /* one line */
    const struct ab_option *options;
    size_t words_min;
    size_t words_max;
    ab_err (*run)(const struct ab_arguments *arguments, struct ab_error *error);
};

extern const struct ab_command ab_command_up;
extern const struct ab_command ab_command_down;
extern const struct ab_command ab_command_status;
extern const struct ab_command ab_command_check;
extern const struct ab_command ab_command_apply;
extern const struct ab_command ab_command_import;
extern const struct ab_command ab_command_query;
extern const struct ab_command ab_command_job;
extern const struct ab_command ab_command_dead_letters;
extern const struct ab_command ab_command_node;

/* The option every command but `check` has. */
#define AB_OPTION_DATA                                                                                                 \
    {                                                                                                                  \
        "--data", "DIR", "the cluster's directory; ANABRANCH_DATA may stand in for it"                                 \
    }

/* Runs the command line; the process's exit code. */
int ab_command_main(int argc, char **argv);

/* The cluster's directory from --data or ANABRANCH_DATA, as an absolute path, freed with ab_delete; AB_USAGE when
 * neither is given. */
AB_MUST_USE ab_err ab_command_directory(const struct ab_arguments *arguments, char **directory, struct ab_error *error);

/* Reads a whole text file of at most bytes_max bytes. */
struct ab_buffer;
AB_MUST_USE ab_err ab_command_file(const char *path, size_t bytes_max, struct ab_buffer *text, struct ab_error *error);

/* Prints a notice to standard error. */
void ab_command_say(const char *format, ...) AB_PRINTF(1, 2);

#endif
