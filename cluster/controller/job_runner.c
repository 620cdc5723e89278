#include "cluster/controller/controller.h"

#include "cluster/controller/job_nodes.h"
#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/logging.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#define CANCEL_PATIENCE_US (10 * AB_US_PER_SECOND)
#define PATH_BYTES 128
#define NOTE_BYTES_MAX 4096
#define AGAIN_US AB_US_PER_SECOND /* after the jobs could not be read */

bool ab_jobs_are_known(struct ab_controller *controller)
{
    ab_lock_take(&controller->lock);
    bool are_known = controller->has_jobs || !ab_controller_is_of_several(controller);
    ab_lock_give(&controller->lock);
    return are_known;
}

ab_err ab_jobs_commit_locked(struct ab_controller *controller, struct ab_changes *changes, struct ab_error *error)
{
    if (ab_controller_is_of_several(controller)) {
        ab_changes_fence(changes, controller->jobs_epoch);
    }
    return ab_changes_commit(changes, controller->coordination, error);
}

/* Only while nobody else has acted since the jobs were read: a job belongs to the acting controller. */
static ab_err record_commit_locked(
    struct ab_controller *controller, const char *path, struct ab_bytes text, struct ab_error *error)
{
    struct ab_changes changes = {0};
    ab_changes_add(&changes, AB_COORDINATION_SET, path, text, AB_COORDINATION_ANY_VERSION);
    struct ab_error attempt = {0};
    ab_err err = ab_jobs_commit_locked(controller, &changes, &attempt);
    if (err == AB_NOT_FOUND) {
        attempt = (struct ab_error){0};
        ab_changes_add(&changes, AB_COORDINATION_CREATE, path, text, 0);
        err = ab_jobs_commit_locked(controller, &changes, &attempt);
    }
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "%s", attempt.text);
}

ab_err ab_job_write_locked(struct ab_controller *controller, const struct ab_job *job, struct ab_error *error)
{
    char path[PATH_BYTES];
    struct ab_buffer text;
    struct ab_json *record = ab_job_encode(job);
    ab_buffer_init(&text, NULL, 0);
    ab_json_write(record, 0, &text);
    (void)snprintf(path, sizeof path, "/jobs/%s", job->id);
    ab_err err = ab_controller_is_of_several(controller)
                     ? record_commit_locked(controller, path, ab_buffer_view(&text), error)
                     : ab_coordination_store(controller->coordination, path, ab_buffer_view(&text), error);
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

ab_err ab_job_records_read(struct ab_controller *controller, struct ab_jobs *jobs, struct ab_error *error)
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
            err = ab_jobs_decode(jobs, record, error);
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
    struct ab_jobs jobs = {0};
    uint64_t epoch = 0;
    if (controller->acting_loop != NULL && !ab_acting_loop_is_acting(controller->acting_loop, &epoch)) {
        return ab_error_set(error, AB_STALE, "this controller acts no more");
    }
    ab_err err = ab_job_records_read(controller, &jobs, error);
    if (err != AB_OK) {
        ab_jobs_fini(&jobs);
        return err;
    }
    for (size_t i = 0; i < jobs.count; i++) {
        struct ab_job *job = jobs.items[i];
        if (job->process.pid != 0 && job->process_node == controller->node.config.cluster.node) {
            group_end(&job->process);
        }
        job->process = (struct ab_process){0};
        job->process_node = 0;
    }
    ab_lock_take(&controller->lock);
    ab_jobs_fini(&controller->jobs);
    controller->jobs = jobs;
    controller->jobs_epoch = epoch;
    controller->has_jobs = true;
    for (size_t i = 0; i < jobs.count; i++) {
        struct ab_job *job = jobs.items[i];
        if (job->state == AB_JOB_RUNNING) {
            ab_warn("job found running", "%s is taken up again", job->id);
            ab_job_interrupted(job, ab_time_now());
            ab_job_store_locked(controller, job);
        }
    }
    ab_lock_give(&controller->lock);
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

/* What a job over several nodes is started with: as many ranks on each, and where they are when not all here. */
struct job_ranks {
    uint32_t count;
    char *hosts_path; /* owned; NULL = all on this host */
};

/* Lines "host slots=K", in the order of the nodes: ranks 0 to K-1 are on the first one, and so on. */
static ab_err hosts_write(const struct ab_job_nodes *nodes, uint32_t slots, const char *path, struct ab_error *error)
{
    struct ab_buffer text = {0};
    for (uint32_t i = 0; i < nodes->count; i++) {
        ab_buffer_put_format(&text, "%s slots=%u\n", nodes->items[i].host, slots);
    }
    ab_err err = ab_file_replace(path, ab_buffer_view(&text), 0600, error);
    ab_buffer_fini(&text);
    return err;
}

static ab_err job_ranks_find(
    struct ab_controller *controller, const struct ab_job *job, struct job_ranks *ranks, struct ab_error *error)
{
    struct ab_job_nodes nodes = {0};
    bool is_here = true;
    ranks->count = job->ranks_count;
    if (!ab_controller_is_of_several(controller)) {
        return AB_OK;
    }
    AB_TRY(ab_job_nodes_read(controller, &nodes, error));
    uint32_t slots = (job->ranks_count + nodes.count - 1) / nodes.count;
    ranks->count = slots * nodes.count;
    for (uint32_t i = 1; i < nodes.count; i++) {
        is_here = is_here && strcmp(nodes.items[i].host, nodes.items[0].host) == 0;
    }
    ab_err err = AB_OK;
    if (!is_here) {
        ranks->hosts_path = ab_layout_path(controller->node.directory, "jobs/%s/hosts", job->id);
        err = hosts_write(&nodes, slots, ranks->hosts_path, error);
    }
    ab_job_nodes_fini(&nodes);
    return err;
}

/* Starts `batch/run -n R [--hostfile F] -- --data DIR --job ID [--full]` in a process group of its own: not bound to
 * us, a job survives nobody's mistake, but a restarted controller ends it before it starts the next attempt. */
static ab_err job_spawn(
    struct ab_controller *controller, const struct ab_job *job, struct ab_process *process, struct ab_error *error)
{
    int fd = -1;
    struct job_ranks ranks = {0};
    AB_TRY(job_log_open(controller, job->id, &fd, error));
    ab_err err = job_ranks_find(controller, job, &ranks, error);
    if (err != AB_OK) {
        ab_delete(ranks.hosts_path);
        ab_file_close(&fd);
        return err;
    }
    char number[16];
    (void)snprintf(number, sizeof number, "%u", ranks.count);
    char *script = run_script(controller);
    char *programs = ab_new_format("ANABRANCH_BIN=%s", controller->program_directory);
    const char *hosts[] = {"--hostfile", ranks.hosts_path};
    const char *arguments[12] = {script, "-n", number};
    size_t count = 3;
    for (size_t i = 0; i < 2 && ranks.hosts_path != NULL; i++) {
        arguments[count++] = hosts[i];
    }
    const char *rest[] = {"--", "--data", controller->node.directory, "--job", job->id, job->is_full ? "--full" : NULL};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        arguments[count++] = rest[i];
    }
    const char *environment[] = {programs, NULL};
    const struct ab_process_options options = {
        .arguments = arguments, .output_fd = fd, .is_group = true, .environment = environment};
    err = ab_process_start(&options, process, error);
    ab_file_close(&fd);
    ab_delete(ranks.hosts_path);
    ab_delete(programs);
    ab_delete(script);
    return err;
}

/* ---- a process of one of several nodes ----
 *
 * The record of its job is the acting controller's, and says another process when that is another one by now. So the
 * node itself notes, in run/job.json {"pid","start_ticks"}, what a controller of it that died may have left running. */

static void process_note(const struct ab_controller *controller, const struct ab_process *process)
{
    struct ab_error error = {0};
    struct ab_buffer text = {0};
    struct ab_json *note = ab_json_object();
    char *path = ab_layout_path(controller->node.directory, "run/job.json");
    ab_json_set(note, "pid", ab_json_integer(process->pid));
    ab_json_set_u64(note, "start_ticks", process->start_ticks);
    ab_json_write(note, 0, &text);
    if (ab_file_replace(path, ab_buffer_view(&text), 0600, &error) != AB_OK) {
        ab_warn("process of a job not noted", "%s", error.text);
    }
    ab_delete(path);
    ab_json_destroy(note);
    ab_buffer_fini(&text);
}

void ab_job_leftover_end(struct ab_controller *controller)
{
    struct ab_buffer text = {0};
    struct ab_json *note = NULL;
    char *path = ab_layout_path(controller->node.directory, "run/job.json");
    ab_buffer_init(&text, NULL, NOTE_BYTES_MAX);
    if (ab_file_read_all(path, &text, NULL) == AB_OK && ab_json_parse(ab_buffer_view(&text), &note, NULL) == AB_OK) {
        const struct ab_process process = {.pid = ab_json_integer_or(ab_json_get(note, "pid"), 0),
            .start_ticks = ab_json_u64_or(ab_json_get(note, "start_ticks"), 0)};
        if (process.pid > 0 && ab_process_group_is_alive(&process)) {
            ab_warn("job found running", "process group %" PRId64 " of an earlier controller is ended", process.pid);
            group_end(&process);
        }
    }
    ab_json_destroy(note);
    ab_buffer_fini(&text);
    ab_delete(path);
}

static void job_start(struct ab_controller *controller, struct ab_job *job)
{
    struct ab_error error = {0};
    struct ab_process process = {0};
    ab_err err = job_spawn(controller, job, &process, &error);
    if (err == AB_OK && ab_controller_is_of_several(controller)) {
        process_note(controller, &process);
    }
    ab_lock_take(&controller->lock);
    if (err == AB_OK) {
        job->process = process;
        job->process_node = controller->node.config.cluster.node;
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
        struct ab_changes changes = {0};
        ab_changes_add(&changes, AB_COORDINATION_DELETE, path, (struct ab_bytes){0}, AB_COORDINATION_ANY_VERSION);
        if (ab_jobs_commit_locked(controller, &changes, NULL) != AB_OK || ab_file_remove_tree(folder, NULL) != AB_OK) {
            ab_warn("old job not removed", "%s; the next controller tries again", old->id);
        }
        ab_delete(folder);
        ab_jobs_remove(&controller->jobs, old);
    }
}

static void jobs_look_after(struct ab_controller *controller)
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

/* Another controller acts, or will: the jobs are its own from now on. */
static void jobs_let_go(struct ab_controller *controller)
{
    processes_end(controller);
    ab_lock_take(&controller->lock);
    ab_jobs_fini(&controller->jobs);
    controller->has_jobs = false;
    ab_lock_give(&controller->lock);
}

/* Among several nodes: reads the jobs when this controller begins to act. False while it does not have them. */
static bool jobs_take_up(struct ab_controller *controller)
{
    uint64_t epoch = 0;
    bool is_acting = ab_acting_loop_is_acting(controller->acting_loop, &epoch);
    ab_lock_take(&controller->lock);
    bool has_jobs = controller->has_jobs;
    bool is_same = has_jobs && is_acting && epoch == controller->jobs_epoch;
    ab_lock_give(&controller->lock);
    if (has_jobs && !is_same) {
        jobs_let_go(controller);
    }
    if (is_same || !is_acting || ab_time_monotonic_us() < controller->jobs_due_us) {
        return is_same;
    }
    struct ab_error error = {0};
    ab_err err = ab_job_runner_open(controller, &error);
    if (err != AB_OK) {
        controller->jobs_due_us = ab_time_monotonic_us() + AGAIN_US;
        ab_warn("jobs not taken up yet", "%s", error.text);
    }
    return err == AB_OK;
}

void ab_job_runner_tick(struct ab_controller *controller)
{
    if (!ab_controller_is_of_several(controller)) {
        jobs_look_after(controller);
        return;
    }
    ab_controller_session_enter(controller);
    if (jobs_take_up(controller)) {
        jobs_look_after(controller);
    }
    ab_controller_session_leave(controller);
}

void ab_job_runner_stop(struct ab_controller *controller)
{
    if (ab_controller_is_of_several(controller)) {
        jobs_let_go(controller); /* the next one that acts finds them running, and takes them up */
        return;
    }
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
