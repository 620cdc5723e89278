/* controller: supervises the daemons of one node, takes cuts, starts batch jobs, moves version pointers.
 *
 * Among several nodes each has one, and one of them acts for all (acting_loop.h): it makes the partitions, elects their
 * leaders, takes cuts, applies catalogs. The others supervise their node, and hand requests for the acting one on to it
 * (forward.h). Every step that changes what belongs to all is one multi with the fence of acting.h.
 *
 * What it decides is in the coordination service before anybody acts on it; the controller itself may die at any line:
 *   /catalog              the catalog in force, encoded; changed when the cut that carries it is in every partition
 *   /catalogs/<version>   every catalog ever accepted, encoded
 *   /cuts/next            the next cut's number
 *   /cuts/<k>             {"cut","state":"pending"|"taken","time_us","horizon_us","catalog_version","catalog_hash",
 *                         "partitions":[what speed answered: partition, leader_epoch, offset, chain, rows]}; pending
 * ones are sent again until speed has answered, in order, before any later cut is taken
 *   /cuts/pruned          {"cut","offsets":[per partition],"chains":[per partition]}: the last cut whose manifest was
 * removed, and where it stood; absent when all are there. Those up to it are sealed in history, whose markers say the
 * same of each
 *   /jobs/<id>            cluster/jobs.h
 *   /places/<node>        job_nodes.h; several nodes
 *   /reassignment         cluster/reassignment.h; several nodes
 *   /views/<name>         the manifest in force (common/history/manifest.h)
 *   /versions/<name>/<definition>-<cut>-<attempt>   manifests that are retained, the one in force too
 *
 * Threads: the main thread starts and reaps processes (a daemon dies with the thread that started it); the slow thread
 * takes cuts, applies and publishes, one after another; the quick thread answers everything that only looks or notes.
 * `lock` guards jobs and daemons; it is never held while speed is asked. Each thread has channels to speed of its own.
 * Among several nodes there is the acting loop's thread, with a session of its own, the one that asks speed how far
 * learners are (catch_up.h), and that of the link to the acting controller.
 */
#ifndef ANABRANCH_CLUSTER_CONTROLLER_CONTROLLER_H
#define ANABRANCH_CLUSTER_CONTROLLER_CONTROLLER_H

#include "cluster/controller/acting_loop.h"
#include "cluster/controller/changes.h"
#include "cluster/controller/forward.h"
#include "cluster/controller/speed_link.h"
#include "cluster/jobs.h"
#include "cluster/process.h"
#include "cluster/supervision.h"
#include "common/base/queue.h"
#include "common/base/thread.h"
#include "common/catalog/catalog.h"
#include "common/wire/node.h"

#include <stdatomic.h>

#define AB_CONTROLLER_QUEUE_MAX 256u
#define AB_CONTROLLER_TICK_US (50 * AB_US_PER_MS)
#define AB_CONTROLLER_LOG_BYTES_MAX (16u << 20)

enum { AB_DAEMON_SERVING, AB_DAEMON_SPEED, AB_DAEMONS_COUNT }; /* in the order in which they are stopped */

/* A daemon under supervision; guarded by the controller's lock. */
struct ab_daemon {
    const char *name; /* "speed" */
    struct ab_supervision supervision;
    struct ab_process process;
    struct ab_node_endpoint endpoint; /* of this very process */
    bool has_endpoint;
    int last_code; /* how it ended last */
    ab_time_us started_us;
};

/* Counts the requests that use the controller's session, so that it is replaced only between them. */
struct ab_session_gate {
    struct ab_lock lock;
    uint32_t users; /* guarded by lock */
};

struct ab_controller {
    struct ab_node node;
    char *program_directory; /* owned */
    int lock_fd;
    struct ab_coordination *coordination; /* owned; among several nodes replaced when lost: see session.c */
    struct ab_session_gate session_gate;  /* who uses it */
    struct ab_acting_loop *acting_loop;   /* owned; NULL = the only node */
    struct ab_forward *forward;           /* owned; NULL = the only node */
    struct ab_hash128 incarnation;        /* of this process; zero for the only node */
    struct ab_server *server;             /* owned */
    struct ab_queue *slow_requests;       /* owned */
    struct ab_queue *quick_requests;      /* owned */
    struct ab_thread slow_thread;
    struct ab_thread quick_thread;
    struct ab_thread catch_up_thread;           /* several nodes */
    struct ab_speed_links slow_links;           /* slow thread */
    struct ab_speed_links quick_links;          /* quick thread */
    struct ab_lock lock;                        /* shared by the three threads: what they tell each other */
    struct ab_jobs jobs;                        /* guarded by lock */
    bool has_jobs;                              /* guarded by lock: the list is that of the coordination service */
    int64_t jobs_due_us;                        /* main thread: not read before */
    uint64_t jobs_epoch;                        /* guarded by lock: several nodes: while this is the acting one */
    struct ab_daemon daemons[AB_DAEMONS_COUNT]; /* guarded by lock */
    bool is_endpoints_changed;                  /* guarded by lock */
    atomic_bool is_stopping;
    ab_time_us started_us;
};

/* Opens everything in `directory`: AB_BUSY when another controller holds it. */
AB_MUST_USE ab_err ab_controller_open(const char *directory, struct ab_controller *controller, struct ab_error *error);

/* Runs until a signal or VERB_SHUTDOWN; stops daemons and jobs in order. */
AB_MUST_USE ab_err ab_controller_run(struct ab_controller *controller, struct ab_error *error);

/* Closes; legal on what a failed open left. */
void ab_controller_close(struct ab_controller *controller);

/* ---- daemons.c (main thread) ---- */

/* Makes the table of daemons; ends those that an earlier controller left. */
void ab_daemons_open(struct ab_controller *controller);
/* Reaps, starts what is due, takes in endpoints, writes endpoints.json when something changed, rotates logs. */
void ab_daemons_tick(struct ab_controller *controller);
/* Stops them in order: asks, waits, insists. */
void ab_daemons_stop(struct ab_controller *controller);

/* ---- job_runner.c (main thread, but for job_store_locked and job_records_read) ---- */

/* Reads the records of all jobs into `jobs`, which is empty. Any thread. */
AB_MUST_USE ab_err ab_job_records_read(
    struct ab_controller *controller, struct ab_jobs *jobs, struct ab_error *error);

/* Reads the records; ends the processes that an earlier controller of this node left and puts jobs that ran back into
 * the queue. Among several nodes tick does it whenever this controller begins to act: a process on another node is kept
 * from publishing by its attempt's number. */
AB_MUST_USE ab_err ab_job_runner_open(struct ab_controller *controller, struct ab_error *error);
/* One of several nodes: ends the job's process that an earlier controller of this node left. */
void ab_job_leftover_end(struct ab_controller *controller);
/* Reaps the running job's process, starts the next one. Among several nodes only while this controller acts; when it
 * acts no more, its jobs' processes are ended and the jobs forgotten. */
void ab_job_runner_tick(struct ab_controller *controller);
/* Cancels the running job; it is taken up again by the next controller. */
void ab_job_runner_stop(struct ab_controller *controller);
/* Writes a job's record. What has to be known after a crash asks for the error; the other call logs it. */
AB_MUST_USE ab_err ab_job_write_locked(
    struct ab_controller *controller, const struct ab_job *job, struct ab_error *error);
/* Commits changes of jobs: among several nodes only while this controller has acted ever since it read them: AB_STALE.
 * Empties the list. */
AB_MUST_USE ab_err ab_jobs_commit_locked(
    struct ab_controller *controller, struct ab_changes *changes, struct ab_error *error);
/* True when the list of jobs can be used; among several nodes not before the acting controller has read it. */
bool ab_jobs_are_known(struct ab_controller *controller);
/* Writes a job's record; failure is logged (the next change writes it again). */
void ab_job_store_locked(struct ab_controller *controller, const struct ab_job *job);

/* ---- session.c ---- */

/* Opens the controller's session, and makes the folders in it. Among several nodes AB_MISMATCH when the coordination
 * service belongs to another cluster. */
AB_MUST_USE ab_err ab_controller_session_open(struct ab_controller *controller, struct ab_error *error);

/* Around all that uses the session on the threads that answer. Entering opens another in place of one that has expired,
 * unless somebody still uses that; then its calls go on failing with AB_CLOSED. */
void ab_controller_session_enter(struct ab_controller *controller);
void ab_controller_session_leave(struct ab_controller *controller);

/* True for one of several nodes. */
bool ab_controller_is_of_several(const struct ab_controller *controller);

/* True when this controller decides: it is the only one, or acts. */
bool ab_controller_is_acting(struct ab_controller *controller);

/* Does all changes or none; among several nodes only while this controller acts: AB_STALE. Empties the list. */
AB_MUST_USE ab_err ab_controller_commit(
    struct ab_controller *controller, struct ab_changes *changes, struct ab_error *error);

/* ---- cuts.c (slow thread) ---- */

/* Sends every pending cut again until it is taken. */
AB_MUST_USE ab_err ab_cuts_complete_pending(struct ab_controller *controller, struct ab_error *error);

/* Allocates the next cut with the catalog of `catalog_version` as one multi with `changes` (emptied). *cut is its
 * number. */
AB_MUST_USE ab_err ab_cut_allocate(struct ab_controller *controller, const struct ab_catalog *catalog,
    struct ab_changes *changes, uint64_t *cut, struct ab_error *error);

/* The number that ab_cut_allocate would give now. */
AB_MUST_USE ab_err ab_cut_next(struct ab_controller *controller, uint64_t *cut, struct ab_error *error);

/* Reads a taken cut's manifest. */
AB_MUST_USE ab_err ab_cut_read(
    struct ab_controller *controller, uint64_t cut, struct ab_json **manifest, struct ab_error *error);

/* The catalog in force, or a version of it; a reference for the caller. */
AB_MUST_USE ab_err ab_catalog_current(
    struct ab_controller *controller, struct ab_catalog **catalog, struct ab_error *error);
AB_MUST_USE ab_err ab_catalog_of_version(
    struct ab_controller *controller, uint64_t version, struct ab_catalog **catalog, struct ab_error *error);

/* ---- spans.c (slow thread, but for ab_cuts_kept) ---- */

/* Numbers of the cuts whose manifests are kept, rising; freed with ab_delete. Any thread. */
AB_MUST_USE ab_err ab_cuts_kept(
    struct ab_controller *controller, uint64_t **numbers, size_t *count, struct ab_error *error);

/* An array of {"cut","time_us","offsets"} of the kept cuts up to `cut`, rising; the caller's. */
AB_MUST_USE ab_err ab_cuts_spans(
    struct ab_controller *controller, uint64_t cut, struct ab_json **spans, struct ab_error *error);

/* What /cuts/pruned says of the cuts before the kept ones, or null; the caller's. Any thread. */
AB_MUST_USE ab_err ab_cuts_history(struct ab_controller *controller, struct ab_json **history, struct ab_error *error);

/* Removes the manifests of cuts that nobody asks for any more: those before `oldest_cut` (of the oldest version that
 * may still be served, so all of them are published), before the cut of any job that waits or runs, and before the last
 * cut. One whose span lacks a marker in some partition stays, with all after it, and is logged: nothing else would say
 * where it ends. Each step is one multi with /cuts/pruned: a controller that dies between two goes on with the next
 * publication. */
AB_MUST_USE ab_err ab_cuts_prune(struct ab_controller *controller, uint64_t oldest_cut, struct ab_error *error);

/* ---- begin.c, publish.c, apply.c, retire.c (slow thread), node_change.c, status.c (quick thread): the verbs ---- */

/* Each answers one request: *reply is the caller's. */
typedef ab_err (*ab_controller_verb_fn)(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error);
AB_MUST_USE ab_err ab_verb_job_begin(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error);
AB_MUST_USE ab_err ab_verb_job_publish(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error);
AB_MUST_USE ab_err ab_verb_apply(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error);
AB_MUST_USE ab_err ab_verb_node_change(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error);
AB_MUST_USE ab_err ab_verb_status(
    struct ab_controller *controller, const struct ab_json *payload, struct ab_json **reply, struct ab_error *error);

/* What the coordination service says of nodes, partitions and who acts, as a member of the status; nothing for the only
 * node. */
void ab_nodes_status(struct ab_controller *controller, struct ab_json *status);

/* After a publish: removes versions that are no longer retained, the directories that none refers to and the manifests
 * of cuts before them, and tells speed which spans may go, and with may_trim the records of them (only when every
 * replica has the sealed spans: H44). Failures are logged: the next publish does it again. */
void ab_retire(struct ab_controller *controller, bool may_trim);

/* ---- requests.c ---- */

/* Called by the server's network thread: queues the request. */
void ab_controller_on_request(struct ab_request *request, void *context);
/* The two threads that answer. */
void ab_controller_slow_run(void *context);
void ab_controller_quick_run(void *context);

#endif
