/* process: starting, watching and ending other processes, told apart from later ones with the same id by their start
 * time.
 *
 * Threads: any. A daemon that dies with its starter (PR_SET_PDEATHSIG, which it asks for itself) dies with the thread
 * that started it: start it from one that lives as long.
 */
#ifndef ANABRANCH_CLUSTER_PROCESS_H
#define ANABRANCH_CLUSTER_PROCESS_H

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* A process, or a group by its leader. pid 0 = none. */
struct ab_process {
    int64_t pid;
    uint64_t start_ticks; /* /proc/<pid>/stat, field 22 */
};

struct ab_process_options {
    const char *const *arguments;   /* NULL-terminated; [0] is the path of the program */
    int output_fd;                  /* standard output and error; -1 = as ours */
    bool is_group;                  /* leads a process group of its own */
    bool is_session;                /* leads a session of its own (a daemon) */
    const char *const *environment; /* NAME=VALUE to add, NULL-terminated; may be NULL */
};

/* Starts a program with standard input from /dev/null. AB_NOT_FOUND, AB_IO: with the path in the text. */
AB_MUST_USE ab_err ab_process_start(
    const struct ab_process_options *options, struct ab_process *process, struct ab_error *error);

/* True while this very process exists and is not a zombie. */
bool ab_process_is_alive(const struct ab_process *process);

/* Takes in the end of a child without waiting; true when it has ended, with its exit code, or 128 + signal. */
bool ab_process_reap(const struct ab_process *process, int *code);

/* Sends a signal to the process, or to its group; only if it is still the same one. */
void ab_process_signal(const struct ab_process *process, int signal_number);
void ab_process_signal_group(const struct ab_process *process, int signal_number);

/* True when some process is in the group that this one leads or led, and the group is not another's: its leader is the
 * same or gone. */
bool ab_process_group_is_alive(const struct ab_process *process);

/* Reads the start time of a process; false when there is none. */
bool ab_process_start_ticks(int64_t pid, uint64_t *start_ticks);

/* This process. */
struct ab_process ab_process_self(void);

/* The folder of the running program, freed with ab_delete. */
char *ab_process_program_directory(void);

#endif
