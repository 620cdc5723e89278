#include "cluster/process.h"

#include "common/base/buffer.h"
#include "common/base/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* State letter and start time from /proc/<pid>/stat; the name in parentheses may hold anything, so fields count from
 * the last one. */
static bool stat_read(int64_t pid, char *state, uint64_t *start_ticks)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, 4096);
    bool is_found = false;
    if (pid > 0 && ab_file_read_all(path, &text, NULL) == AB_OK) {
        const char *rest = strrchr(ab_buffer_text(&text), ')');
        is_found =
            rest != NULL &&
            sscanf(rest + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64,
                state, start_ticks) == 2;
    }
    ab_buffer_fini(&text);
    return is_found;
}

bool ab_process_start_ticks(int64_t pid, uint64_t *start_ticks)
{
    char state = '\0';
    return stat_read(pid, &state, start_ticks);
}

struct ab_process ab_process_self(void)
{
    struct ab_process self = {.pid = getpid()};
    (void)ab_process_start_ticks(self.pid, &self.start_ticks); /* /proc is there on every Linux we run on */
    return self;
}

bool ab_process_is_alive(const struct ab_process *process)
{
    char state = '\0';
    uint64_t start_ticks = 0;
    return process->pid > 0 && stat_read(process->pid, &state, &start_ticks) && start_ticks == process->start_ticks &&
           state != 'Z' && state != 'X';
}

bool ab_process_reap(const struct ab_process *process, int *code)
{
    int status = 0;
    if (process->pid <= 0 || waitpid((pid_t)process->pid, &status, WNOHANG) != (pid_t)process->pid) {
        return false;
    }
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

void ab_process_signal(const struct ab_process *process, int signal_number)
{
    if (ab_process_is_alive(process)) {
        (void)kill((pid_t)process->pid, signal_number);
    }
}

bool ab_process_group_is_alive(const struct ab_process *process)
{
    uint64_t start_ticks = 0;
    if (process->pid <= 1 || kill(-(pid_t)process->pid, 0) != 0) {
        return false;
    }
    /* An id is not given again while a group of that number lives, so a missing leader means that the group is the old
     * one. */
    return !ab_process_start_ticks(process->pid, &start_ticks) || start_ticks == process->start_ticks;
}

void ab_process_signal_group(const struct ab_process *process, int signal_number)
{
    if (ab_process_group_is_alive(process)) {
        (void)kill(-(pid_t)process->pid, signal_number);
    }
}

/* Our environment with the additions in front; the array is owned by the caller, its strings are not. */
static char **environment_with(const char *const *additions)
{
    size_t count = 0;
    size_t added = 0;
    while (environ[count] != NULL) {
        count++;
    }
    while (additions != NULL && additions[added] != NULL) {
        added++;
    }
    char **environment = ab_new_array(char *, count + added + 1);
    for (size_t i = 0; i < added; i++) {
        environment[i] = (char *)additions[i];
    }
    memcpy(environment + added, environ, count * sizeof environ[0]);
    return environment;
}

/* Signals as a fresh process has them, whatever we block; a group or session of its own if wanted. */
static int attributes_set(posix_spawnattr_t *attributes, const struct ab_process_options *options)
{
    sigset_t none;
    sigset_t defaults;
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    if (options->is_session) {
        flags |= POSIX_SPAWN_SETSID;
    } else if (options->is_group) {
        flags |= POSIX_SPAWN_SETPGROUP; /* group 0: its own id */
    }
    int failed = posix_spawnattr_setsigmask(attributes, &none);
    failed = failed != 0 ? failed : posix_spawnattr_setsigdefault(attributes, &defaults);
    return failed != 0 ? failed : posix_spawnattr_setflags(attributes, flags);
}

static int actions_set(posix_spawn_file_actions_t *actions, const struct ab_process_options *options)
{
    int failed = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (failed == 0 && options->output_fd >= 0) {
        failed = posix_spawn_file_actions_adddup2(actions, options->output_fd, STDOUT_FILENO);
        failed = failed != 0 ? failed : posix_spawn_file_actions_adddup2(actions, options->output_fd, STDERR_FILENO);
    }
    return failed;
}

ab_err ab_process_start(const struct ab_process_options *options, struct ab_process *process, struct ab_error *error)
{
    pid_t pid = 0;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    (void)posix_spawnattr_init(&attributes); /* neither fails on Linux */
    (void)posix_spawn_file_actions_init(&actions);
    char **environment = environment_with(options->environment);
    int failed = attributes_set(&attributes, options);
    failed = failed != 0 ? failed : actions_set(&actions, options);
    if (failed == 0) {
        failed = posix_spawn(
            &pid, options->arguments[0], &actions, &attributes, (char *const *)options->arguments, environment);
    }
    ab_delete(environment);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    if (failed != 0) {
        return ab_error_set(error, ab_err_from_errno(failed), "start %s: %s", options->arguments[0], strerror(failed));
    }
    struct ab_process started = {.pid = pid};
    (void)ab_process_start_ticks(pid, &started.start_ticks); /* a child that is not reaped has its entry */
    *process = started;
    return AB_OK;
}

char *ab_process_program_directory(void)
{
    char path[4096];
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 1);
    path[bytes < 0 ? 0 : bytes] = '\0';
    char *slash = strrchr(path, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    return ab_new_text(slash == NULL ? "." : path);
}
