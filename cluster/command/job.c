#include "cluster/command/command.h"
#include "cluster/command/relation.h"
#include "cluster/command/session.h"
#include "cluster/jobs.h"
#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/time.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define TIMEOUT_MS 10000
#define POLL_US (100 * AB_US_PER_MS)
#define SAY_US AB_US_PER_SECOND
#define GONE_PATIENCE_US (60 * AB_US_PER_SECOND)

/* Asks the controller about a job by its id. */
static ab_err job_get(struct ab_session *session, const char *id, struct ab_json **job, struct ab_error *error)
{
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "job", ab_json_text(id));
    ab_err err = ab_session_call(session, "controller", AB_VERB_JOB_SHOW, request, TIMEOUT_MS, job, error);
    ab_json_destroy(request);
    return err;
}

static const char *text_of(const struct ab_json *job, const char *key)
{
    return ab_json_text_or(ab_json_get(job, key), "");
}

static bool is_over(const struct ab_json *job)
{
    const char *state = text_of(job, "state");
    return strcmp(state, "done") == 0 || strcmp(state, "failed") == 0;
}

static int64_t number_of(const struct ab_json *object, const char *key)
{
    return ab_json_integer_or(ab_json_get(object, key), 0);
}

/* A job's record in a line: what it is at, or how it ended. */
static void progress_format(const struct ab_json *job, char *text, size_t room)
{
    const struct ab_json *progress = ab_json_get(job, "progress");
    const char *stage = text_of(progress, "stage");
    int64_t total = number_of(progress, "total");
    char share[32] = "";
    if (is_over(job)) {
        double seconds = (double)(number_of(job, "finished_us") - number_of(job, "started_us")) / 1e6;
        (void)snprintf(text, room, "%s %s, cut %" PRId64 ", after %.1f s", text_of(job, "id"), text_of(job, "state"),
            number_of(job, "cut"), seconds);
    } else if (strcmp(text_of(job, "state"), "running") != 0 || stage[0] == '\0') {
        (void)snprintf(text, room, "%s %s", text_of(job, "id"), text_of(job, "state"));
    } else {
        if (total > 0) {
            (void)snprintf(
                share, sizeof share, ", %.0f %%", 100.0 * (double)number_of(progress, "done") / (double)total);
        }
        (void)snprintf(text, room, "%s running: %s, %" PRId64 " rows, %.1f MB%s", text_of(job, "id"), stage,
            number_of(progress, "rows"), (double)number_of(progress, "bytes") / 1e6, share);
    }
}

/* Shows a change of progress: in place on a terminal, as plain lines now and then in a pipe. */
static void progress_show(const struct ab_json *job, char *last, size_t room, int64_t *said_us, bool is_last)
{
    char text[256];
    bool is_terminal = isatty(STDERR_FILENO);
    int64_t now = ab_time_monotonic_us();
    progress_format(job, text, sizeof text);
    bool is_new = strcmp(text, last) != 0;
    if (is_terminal && (is_new || is_last)) {
        (void)fprintf(stderr, "\r\033[K%s%s", text, is_last ? "\n" : "");
    } else if (!is_terminal && is_new && (is_last || now - *said_us >= SAY_US)) {
        (void)fprintf(stderr, "%s\n", text);
        *said_us = now;
    }
    (void)snprintf(last, room, "%s", text);
}

/* Waits for the end of a job; a controller that is being restarted is waited for too. */
static ab_err job_wait(char *directory, const char *id, struct ab_error *error)
{
    char last[256] = {0};
    int64_t said_us = 0;
    int64_t heard_us = ab_time_monotonic_us();
    for (;;) {
        struct ab_session session;
        struct ab_json *job = NULL;
        struct ab_error look_error = {0};
        ab_err err = ab_session_open(directory, "operator", &session, &look_error);
        while (err == AB_OK) {
            err = job_get(&session, id, &job, &look_error);
            if (err != AB_OK) {
                break;
            }
            heard_us = ab_time_monotonic_us();
            bool is_last = is_over(job);
            progress_show(job, last, sizeof last, &said_us, is_last);
            if (is_last) {
                bool is_done = strcmp(text_of(job, "state"), "done") == 0;
                err = is_done ? AB_OK : ab_error_set(error, AB_UNAVAILABLE, "%s failed: %s", id, text_of(job, "error"));
                ab_json_destroy(job);
                ab_session_close(&session);
                return err;
            }
            ab_json_destroy(job);
            job = NULL;
            ab_time_sleep_us(POLL_US);
        }
        ab_session_close(&session);
        if (err == AB_NOT_FOUND || ab_time_monotonic_us() - heard_us > GONE_PATIENCE_US) {
            *error = look_error;
            return err;
        }
        ab_time_sleep_us(POLL_US);
    }
}

/* One request id for all tries, so that a lost answer makes no second job. */
static ab_err submit(
    const struct ab_arguments *arguments, char *directory, char id[AB_JOB_ID_BYTES], struct ab_error *error)
{
    struct ab_session session;
    struct ab_json *job = NULL;
    char request_id[AB_JOB_REQUEST_BYTES];
    int64_t ranks = 0;
    AB_TRY(ab_arguments_number(arguments, "--ranks", 1, AB_JOB_RANKS_MAX, 0, &ranks, error));
    const char *given = ab_arguments_value(arguments, "--request-id");
    (void)snprintf(request_id, sizeof request_id, "command-%016" PRIx64, ab_random_id());
    struct ab_json *request = ab_json_object();
    ab_json_set(request, "kind", ab_json_text("recompute"));
    ab_json_set(request, "full", ab_json_boolean(ab_arguments_has(arguments, "--full")));
    ab_json_set(request, "ranks", ab_json_integer(ranks));
    ab_json_set(request, "request_id", ab_json_text(given != NULL ? given : request_id));
    ab_err err = ab_session_open(directory, "operator", &session, error);
    for (int tries = 0; err == AB_OK && tries < 3; tries++) {
        err = ab_session_call(&session, "controller", AB_VERB_JOB_SUBMIT, request, TIMEOUT_MS, &job, error);
        if (err != AB_TIMEOUT) {
            break;
        }
        err = tries < 2 ? AB_OK : err;
    }
    if (err == AB_OK) {
        (void)snprintf(id, AB_JOB_ID_BYTES, "%s", text_of(job, "id"));
    }
    ab_json_destroy(job);
    ab_json_destroy(request);
    ab_session_close(&session);
    return err;
}

static ab_err job_submit(const struct ab_arguments *arguments, char *directory, struct ab_error *error)
{
    char id[AB_JOB_ID_BYTES] = {0};
    if (arguments->words_count != 2 || strcmp(arguments->words[1], "recompute") != 0) {
        return ab_error_set(error, AB_USAGE, "what shall the job do? known: job submit recompute");
    }
    AB_TRY(submit(arguments, directory, id, error));
    (void)printf("%s\n", id);
    (void)fflush(stdout);
    return ab_arguments_has(arguments, "--wait") ? job_wait(directory, id, error) : AB_OK;
}

static void time_add(struct ab_relation *relation, const struct ab_json *job, const char *key)
{
    char text[AB_TIME_TEXT_BYTES];
    int64_t time = ab_json_integer_or(ab_json_get(job, key), 0);
    if (time == 0) {
        ab_relation_add_null(relation);
    } else {
        ab_relation_add_text(relation, ab_time_format(time, text));
    }
}

static void jobs_write(const struct ab_json *jobs, struct ab_buffer *out)
{
    static const char *const names[] = {
        "job", "state", "full", "ranks", "cut", "attempt", "submitted", "finished", "error"};
    static const char *const numbers[] = {"ranks", "cut", "attempt"};
    struct ab_relation relation;
    ab_relation_init(&relation, sizeof names / sizeof names[0]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ab_relation_column(&relation, i, names[i], i >= 3 && i <= 5 ? AB_CELL_NUMBER : AB_CELL_TEXT);
    }
    for (size_t i = 0; i < ab_json_count(jobs); i++) {
        const struct ab_json *job = ab_json_at(jobs, i);
        ab_relation_add_text(&relation, text_of(job, "id"));
        ab_relation_add_text(&relation, text_of(job, "state"));
        ab_relation_add_text(&relation, ab_json_boolean_or(ab_json_get(job, "full"), false) ? "yes" : "no");
        for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
            char number[32];
            (void)snprintf(number, sizeof number, "%" PRId64, ab_json_integer_or(ab_json_get(job, numbers[n]), 0));
            ab_relation_add_text(&relation, number);
        }
        time_add(&relation, job, "submitted_us");
        time_add(&relation, job, "finished_us");
        ab_relation_add_text(&relation, text_of(job, "error"));
    }
    ab_relation_write(&relation, AB_OUTPUT_TABLE, out);
    ab_relation_fini(&relation);
}

static ab_err job_list(const struct ab_arguments *arguments, char *directory, struct ab_error *error)
{
    struct ab_session session;
    struct ab_json *reply = NULL;
    struct ab_buffer out;
    ab_buffer_init(&out, NULL, 0);
    ab_err err = ab_session_open(directory, "operator", &session, error);
    if (err == AB_OK) {
        err = ab_session_call(&session, "controller", AB_VERB_JOB_LIST, NULL, TIMEOUT_MS, &reply, error);
    }
    if (err == AB_OK && ab_arguments_has(arguments, "--json")) {
        ab_json_write(ab_json_get(reply, "jobs"), 2, &out);
        ab_buffer_put_u8(&out, '\n');
    } else if (err == AB_OK) {
        jobs_write(ab_json_get(reply, "jobs"), &out);
    }
    err = err == AB_OK ? ab_output_print(&out, error) : err;
    ab_buffer_fini(&out);
    ab_json_destroy(reply);
    ab_session_close(&session);
    return err;
}

/* The whole record: it is made for reading, times aside. */
static ab_err job_show(const struct ab_arguments *arguments, char *directory, struct ab_error *error)
{
    struct ab_session session;
    struct ab_json *job = NULL;
    struct ab_buffer out;
    ab_buffer_init(&out, NULL, 0);
    ab_err err = ab_session_open(directory, "operator", &session, error);
    if (err == AB_OK) {
        err = job_get(&session, arguments->words[1], &job, error);
    }
    if (err == AB_OK) {
        ab_json_write(job, 2, &out);
        ab_buffer_put_u8(&out, '\n');
        err = ab_output_print(&out, error);
    }
    ab_buffer_fini(&out);
    ab_json_destroy(job);
    ab_session_close(&session);
    return err;
}

/* What the job printed; read from the directory, so that it works when the cluster is down. */
/* Where a job's log is: of several nodes, at the one that ran it. */
static char *log_path(const char *directory, const char *id)
{
    char *path = ab_layout_path(directory, "jobs/%s/log", id);
    for (uint32_t node = 1; node <= AB_NODES_MAX && ab_nodes_is(directory) && !ab_file_exists(path); node++) {
        ab_delete(path);
        path = ab_layout_path(directory, "node-%u/jobs/%s/log", node, id);
    }
    return path;
}

static ab_err job_log(const struct ab_arguments *arguments, char *directory, struct ab_error *error)
{
    char chunk[16384];
    const char *id = arguments->words[1];
    int fd = -1;
    if (strchr(id, '/') != NULL || id[0] == '.') {
        return ab_error_set(error, AB_USAGE, "'%s' is not the id of a job", id);
    }
    char *path = log_path(directory, id);
    ab_err err = ab_file_open(path, O_RDONLY, 0, &fd, NULL);
    if (err != AB_OK) {
        err = ab_error_set(error, err, "job '%s' has printed nothing in this cluster (%s)", id, path);
    }
    ssize_t got = err == AB_OK ? read(fd, chunk, sizeof chunk) : 0;
    while (got > 0) {
        if (fwrite(chunk, 1, (size_t)got, stdout) != (size_t)got) {
            err = ab_error_set(error, AB_IO, "cannot write to standard output");
            break;
        }
        got = read(fd, chunk, sizeof chunk);
    }
    (void)fflush(stdout);
    ab_file_close(&fd);
    ab_delete(path);
    return err;
}

static const struct action {
    const char *name;
    size_t words_count;
    ab_err (*run)(const struct ab_arguments *arguments, char *directory, struct ab_error *error);
} actions[] = {
    {"submit", 2, job_submit},
    {"list", 1, job_list},
    {"show", 2, job_show},
    {"log", 2, job_log},
};

static ab_err job_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(actions[i].name, arguments->words[0]) != 0) {
            continue;
        }
        if (arguments->words_count != actions[i].words_count) {
            return ab_error_set(error, AB_USAGE, "job %s %s", actions[i].name,
                i == 0                        ? "needs: recompute"
                : actions[i].words_count == 2 ? "needs the id of a job"
                                              : "takes nothing more");
        }
        AB_TRY(ab_command_directory(arguments, &directory, error));
        ab_err err = actions[i].run(arguments, directory, error);
        ab_delete(directory);
        return err;
    }
    return ab_error_set(error, AB_USAGE, "unknown action '%s'; known: submit, list, show, log", arguments->words[0]);
}

static const struct ab_option job_options[] = {
    AB_OPTION_DATA,
    {"--full", NULL, "submit: start from the history alone, not from the last version"},
    {"--ranks", "N", "submit: MPI processes (as many as processors, at most 4)"},
    {"--wait", NULL, "submit: wait for the end; its outcome is the exit code"},
    {"--request-id", "ID", "submit: the same id again finds the same job"},
    {"--json", NULL, "list: as JSON"},
    {0},
};

const struct ab_command ab_command_job = {
    .name = "job",
    .words = "submit recompute | list | show JOB | log JOB",
    .summary = "batch jobs",
    .options = job_options,
    .words_min = 1,
    .words_max = 2,
    .run = job_run,
};
