#include "cluster/controller/controller.h"

#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/logging.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#define CANCEL_PATIENCE_US (10 * AB_US_PER_SECOND)
#define PATH_BYTES 128

ab_err ab_job_write_locked(struct ab_controller *controller, const struct ab_job *job, struct ab_error *error)
{
    char path[PATH_BYTES];
    struct ab_buffer text;
    struct ab_json *record = ab_job_encode(job);
    ab_buffer_init(&text, NULL, 0);
    ab_json_write(record, 0, &text);
    (void)snprintf(path, sizeof path, "/jobs/%s", job->id);
    ab_err err = ab_coordination_store(controller->coordination, path, ab_buffer_view(&text), error);
    ab_buffer_fini(&text);
    ab_json_destroy(record);
    return err;
}

void ab_job_store_locked(struct ab_controller *controller, const struct ab_job *job)
{
    struct ab_error error = {0};
    if (ab_job_write_locked(controller, job, &error) != AB_OK) {
        ab_error_log("job record not written", "%s: %s", job->id, error.text);
    }
}

static ab_err records_read(struct ab_controller *controller, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_coordination_list(controller->coordination, "/jobs", &names, &count, error));
    ab_err err = AB_OK;
    for (size_t i = 0; err == AB_OK && i < count; i++) {
        char path[PATH_BYTES];
        struct ab_json *record = NULL;
        (void)snprintf(path, sizeof path, "/jobs/%s", names[i]);
        err = ab_coordination_get_json(controller->coordination, path, &record, NULL, error);
        if (err == AB_OK) {
            err = ab_jobs_decode(&controller->jobs, record, error);
        }
        ab_json_destroy(record);
    }
    ab_coordination_names_free(names, count);
    return err;
}

/* Ends a job's whole process group: asks, waits, insists. */
static void group_end(const struct ab_process *process)
{
    int64_t until = ab_time_monotonic_us() + CANCEL_PATIENCE_US;
    int code = 0;
    ab_process_signal_group(process, SIGTERM);
    while (ab_process_group_is_alive(process) && ab_time_monotonic_us() < until) {
        (void)ab_process_reap(process, &code); /* a zombie leader keeps its group alive */
        ab_time_sleep_us(20 * AB_US_PER_MS);
    }
    until = ab_time_monotonic_us() + CANCEL_PATIENCE_US;
    while (ab_process_group_is_alive(process) && ab_time_monotonic_us() < until) {
        ab_process_signal_group(process, SIGKILL);
        (void)ab_process_reap(process, &code);
        ab_time_sleep_us(20 * AB_US_PER_MS);
    }
}

ab_err ab_job_runner_open(struct ab_controller *controller, struct ab_error *error)
{
    AB_TRY(records_read(controller, error));
    for (size_t i = 0; i < controller->jobs.count; i++) {
        struct ab_job *job = controller->jobs.items[i];
        if (job->process.pid != 0) {
            group_end(&job->process);
            job->process = (struct ab_process){0};
        }
        if (job->state == AB_JOB_RUNNING) {
            ab_warn("job found running", "%s is taken up again", job->id);
            ab_job_interrupted(job, ab_time_now());
            ab_job_store_locked(controller, job);
        }
    }
    return AB_OK;
}

static char *run_script(const struct ab_controller *controller)
{
    char *beside = ab_new_format("%s/anabranch-batch-run", controller->program_directory);
    if (ab_file_exists(beside)) {
        return beside;
    }
    ab_delete(beside);
    return ab_new_format("%s/../../batch/run", controller->program_directory);
}

static ab_err job_log_open(const struct ab_controller *controller, const char *id, int *fd, struct ab_error *error)
{
    char *folder = ab_layout_path(controller->node.directory, "jobs/%s", id);
    char *path = ab_layout_path(controller->node.directory, "jobs/%s/log", id);
    ab_err err = ab_file_make_directory(folder, 0700, error);
    if (err == AB_OK) {
        err = ab_file_open(path, O_WRONLY | O_CREAT | O_APPEND, 0600, fd, error);
    }
    ab_delete(path);
    ab_delete(folder);
    return err;
}

/* Starts `batch/run -n R -- --data DIR --job ID [--full]` in a process group of its own: not bound to us, a job
 * survives nobody's mistake, but a restarted controller ends it before it starts the next attempt. */
static ab_err job_spawn(const struct ab_controller *controller, const struct ab_job *job, struct ab_process *process,
    struct ab_error *error)
{
    int fd = -1;
    AB_TRY(job_log_open(controller, job->id, &fd, error));
    char ranks[16];
    (void)snprintf(ranks, sizeof ranks, "%u", job->ranks_count);
    char *script = run_script(controller);
    char *programs = ab_new_format("ANABRANCH_BIN=%s", controller->program_directory);
    const char *arguments[] = {script, "-n", ranks, "--", "--data", controller->node.directory, "--job", job->id,
        job->is_full ? "--full" : NULL, NULL};
    const char *environment[] = {programs, NULL};
    const struct ab_process_options options = {
        .arguments = arguments, .output_fd = fd, .is_group = true, .environment = environment};
    ab_err err = ab_process_start(&options, process, error);
    ab_file_close(&fd);
    ab_delete(programs);
    ab_delete(script);
    return err;
}

static void job_start(struct ab_controller *controller, struct ab_job *job)
{
    struct ab_error error = {0};
    struct ab_process process = {0};
    ab_err err = job_spawn(controller, job, &process, &error);
    ab_lock_take(&controller->lock);
    if (err == AB_OK) {
        job->process = process;
    } else {
        ab_job_ended(job, error.text, ab_time_now());
    }
    ab_job_store_locked(controller, job);
    ab_lock_give(&controller->lock);
    if (err == AB_OK) {
        ab_info("job started", "%s, start %u, process group %" PRId64, job->id, job->starts_count, process.pid);
    } else {
        ab_error_log("job not started", "%s: %s", job->id, error.text);
    }
}

/* Takes in the ends of processes: of the running job, or of one that has published and only had to go. */
static void jobs_reap_locked(struct ab_controller *controller)
{
    for (size_t i = 0; i < controller->jobs.count; i++) {
        struct ab_job *job = controller->jobs.items[i];
        int code = 0;
        if (job->process.pid == 0 || !ab_process_reap(&job->process, &code)) {
            continue;
        }
        ab_process_signal_group(&job->process, SIGKILL); /* ranks that mpirun left behind */
        char reason[AB_JOB_ERROR_BYTES];
        (void)snprintf(reason, sizeof reason,
            code > 128 ? "the process was killed by signal %d; see `anabranch job log %s`"
                       : "the process ended with code %d without publishing; see `anabranch job log %s`",
            code > 128 ? code - 128 : code, job->id);
        if (job->state == AB_JOB_RUNNING) {
            ab_warn("job process ended", "%s, code %d", job->id, code);
        }
        ab_job_ended(job, reason, ab_time_now());
        ab_job_store_locked(controller, job);
    }
}

static void jobs_forget_locked(struct ab_controller *controller)
{
    for (struct ab_job *old = ab_jobs_surplus(&controller->jobs); old != NULL;
         old = ab_jobs_surplus(&controller->jobs)) {
        char path[PATH_BYTES];
        (void)snprintf(path, sizeof path, "/jobs/%s", old->id);
        char *folder = ab_layout_path(controller->node.directory, "jobs/%s", old->id);
        if (ab_coordination_delete(controller->coordination, path, AB_COORDINATION_ANY_VERSION, NULL) != AB_OK ||
            ab_file_remove_tree(folder, NULL) != AB_OK) {
            ab_warn("old job not removed", "%s; the next controller tries again", old->id);
        }
        ab_delete(folder);
        ab_jobs_remove(&controller->jobs, old);
    }
}

void ab_job_runner_tick(struct ab_controller *controller)
{
    ab_time_us now = ab_time_now();
    ab_lock_take(&controller->lock);
    jobs_reap_locked(controller);
    struct ab_job *silent = ab_jobs_silent(&controller->jobs, now);
    if (silent != NULL) {
        ab_job_refused(silent, "nothing was heard of it for five minutes", now);
        ab_job_store_locked(controller, silent);
    }
    jobs_forget_locked(controller);
    /* Started only once speed answers: else its first step would wait for it anyway, and fail after a time. */
    bool is_ready = controller->daemons[AB_DAEMON_SPEED].has_endpoint;
    bool may_start = is_ready && !atomic_load(&controller->is_stopping);
    struct ab_job *due = may_start ? ab_jobs_due(&controller->jobs, now) : NULL;
    if (due != NULL) {
        static const struct ab_process not_yet = {0};
        ab_job_started(due, &not_yet, now); /* so that nobody else begins meanwhile */
    }
    ab_lock_give(&controller->lock);
    if (due != NULL) {
        job_start(controller, due); /* only this thread starts and removes jobs, so `due` stays valid */
    }
}

/* Also processes of jobs that have published and are on their way out: `down` leaves nothing running. */
static void processes_end(struct ab_controller *controller)
{
    for (size_t i = 0; i < controller->jobs.count; i++) {
        ab_lock_take(&controller->lock);
        struct ab_job *job = controller->jobs.items[i]; /* only this thread removes jobs */
        struct ab_process process = job->process;
        ab_lock_give(&controller->lock);
        if (process.pid != 0) {
            group_end(&process);
        }
    }
}

void ab_job_runner_stop(struct ab_controller *controller)
{
    processes_end(controller);
    ab_lock_take(&controller->lock);
    for (size_t i = 0; i < controller->jobs.count; i++) {
        struct ab_job *job = controller->jobs.items[i];
        if (job->state == AB_JOB_RUNNING) {
            ab_info("job cancelled", "%s: the cluster stops; it is taken up again at the next start", job->id);
            ab_job_interrupted(job, ab_time_now());
            ab_job_store_locked(controller, job);
        } else if (job->process.pid != 0) {
            job->process = (struct ab_process){0};
            ab_job_store_locked(controller, job);
        }
    }
    ab_lock_give(&controller->lock);
}
