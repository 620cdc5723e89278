#include "batch/program.h"

#include "batch/copy.h"
#include "batch/exchange.h"
#include "batch/history_spans.h"
#include "batch/job.h"
#include "batch/reconcile.h"
#include "batch/workspace.h"
#include "common/base/logging.h"
#include "common/base/time.h"
#include "common/wire/node.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_BYTES_MAX (1u << 30)

struct options {
    const char *directory;
    const char *job;
    bool is_full;
    uint64_t memory_mb; /* 0 = as configured */
};

static void usage_print(FILE *to)
{
    (void)fprintf(to, "usage: mpirun -n RANKS anabranch-batch --data DIR [--full] [--job ID] [--memory-mb N]\n"
                      "  --data DIR      the cluster's directory (or ANABRANCH_DATA)\n"
                      "  --full          build every view from the sealed history alone\n"
                      "  --job ID        the job to work on, as the controller gave it; else a new one\n"
                      "  --memory-mb N   memory budget of a rank, at least 64\n");
}

/* False for wrong usage. */
static bool options_parse(int argc, char **argv, struct options *options, bool *wants_help)
{
    static const struct option known[] = {{"data", required_argument, NULL, 'd'}, {"full", no_argument, NULL, 'f'},
        {"job", required_argument, NULL, 'j'}, {"memory-mb", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    char *end = NULL;
    int option = 0;
    *options = (struct options){.directory = getenv("ANABRANCH_DATA"), .job = ""};
    opterr = ab_exchange_rank() == 0;
    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        switch (option) {
        case 'd':
            options->directory = optarg;
            break;
        case 'f':
            options->is_full = true;
            break;
        case 'j':
            options->job = optarg;
            break;
        case 'm':
            options->memory_mb = strtoull(optarg, &end, 10);
            if (*end != 0 || options->memory_mb < 64 || options->memory_mb > (1u << 24)) {
                return false;
            }
            break;
        case 'h':
            *wants_help = true;
            return true;
        default:
            return false;
        }
    }
    return optind == argc && options->directory != NULL && options->directory[0] != 0;
}

/* Adds the spans that only the markers know, when some view is built from them. */
static ab_err answer_complete(
    const struct options *options, const char *directory, struct ab_json *answer, struct ab_error *error)
{
    bool needs_history = false;
    AB_TRY(ab_plan_needs_history(answer, options->is_full, &needs_history, error));
    return needs_history ? ab_history_spans_add(directory, answer, error) : AB_OK;
}

/* Rank 0 reports for work; `text` becomes what the others have to know. */
static ab_err begin_on_rank_0(
    struct ab_job *job, const struct options *options, struct ab_buffer *text, struct ab_error *error)
{
    struct ab_json *answer = NULL;
    AB_TRY(ab_control_open(options->directory, &job->control, error));
    AB_TRY(ab_control_begin(job->control, options->job, options->is_full, ab_exchange_ranks(), &answer, error));
    uint64_t memory = options->memory_mb > 0 ? options->memory_mb << 20 : ab_control_memory_bytes(job->control);
    struct ab_json *message = ab_json_object();
    ab_json_set_u64(message, "memory_bytes", memory);
    ab_json_set(message, "answer", answer);
    ab_json_write(message, 0, text);
    ab_json_destroy(message);
    return ab_buffer_finish(text) == AB_OK ? AB_OK : ab_error_set(error, AB_TOO_LARGE, "the controller's answer");
}

/* Collective: every rank says where it runs, and finds the directory that it works in. */
static ab_err places_take(
    struct ab_job *job, const struct options *options, const struct ab_json *answer, struct ab_error *error)
{
    struct ab_buffer own = {0};
    struct ab_buffer all = {0};
    uint32_t ranks_count = ab_exchange_ranks();
    ab_buffer_put(&own, ab_exchange_host(), strlen(ab_exchange_host()) + 1);
    ab_exchange_gather(ab_buffer_view(&own), &all);
    ab_exchange_broadcast(&all);
    const char **hosts = ab_new_array(const char *, ranks_count);
    const char *at = (const char *)all.data;
    for (uint32_t r = 0; r < ranks_count; r++) {
        hosts[r] = at;
        at += strlen(at) + 1;
    }
    ab_err err = ab_places_decode(answer, hosts, ranks_count, &job->places, error);
    if (err == AB_OK) {
        uint32_t place = ab_places_of_rank(&job->places, ab_exchange_rank());
        job->directory = place == AB_PLACES_NONE ? options->directory : job->places.items[place].directory;
    }
    ab_delete((void *)hosts);
    ab_buffer_fini(&all);
    ab_buffer_fini(&own);
    return err;
}

/* The directory of a node is that node's, and of this cluster: nothing is written into another one. */
static ab_err directory_check(const struct ab_job *job, struct ab_error *error)
{
    uint32_t place = ab_places_of_rank(&job->places, ab_exchange_rank());
    struct ab_cluster_identity identity;
    struct ab_config config;
    char cluster[33];
    if (place == AB_PLACES_NONE) {
        return AB_OK;
    }
    AB_TRY(ab_cluster_identity_read(job->directory, &identity, error));
    ab_cluster_id_format(identity.cluster_id, cluster);
    char *path = ab_new_format("%s/config/node.yaml", job->directory);
    ab_err err = ab_config_load(path, &config, error);
    ab_delete(path);
    AB_TRY(err);
    if (strcmp(cluster, job->places.cluster) != 0 || config.cluster.node != job->places.items[place].node) {
        return ab_error_set(error, AB_MISMATCH, "%s is not the directory of node %" PRIu32 " of cluster %s",
            job->directory, job->places.items[place].node, job->places.cluster);
    }
    return AB_OK;
}

/* True for the one rank that cleans up in its directory. */
static bool is_first_of_directory(const struct ab_job *job)
{
    return job->places.count == 0 ? ab_exchange_rank() == 0 : ab_places_is_carrier(&job->places, ab_exchange_rank());
}

static ab_err plan_take(
    struct ab_job *job, const struct options *options, const struct ab_json *answer, struct ab_error *error)
{
    AB_TRY(ab_plan_decode(answer, options->is_full, &job->plan, error));
    job->work = ab_workspace_path(job->directory, job->plan.job);
    ab_job_prepare(job);
    if (!is_first_of_directory(job)) {
        return AB_OK;
    }
    if (job->places.count > 0) {
        ab_copy_sweep(job->directory);
    }
    return ab_workspace_prepare(job->directory, &job->plan, error);
}

/* Collective: rank 0's text to all, parsed; *message is the caller's. */
static ab_err message_share(struct ab_buffer *text, struct ab_json **message, struct ab_error *error)
{
    ab_exchange_broadcast(text);
    return ab_exchange_agree(ab_json_parse(ab_buffer_view(text), message, error));
}

/* Collective: the answer with what history says, which over several nodes every node has first. */
static ab_err answer_share(struct ab_job *job, const struct options *options, struct ab_buffer *text,
    struct ab_json **message, struct ab_error *error)
{
    struct ab_json *answer = ab_json_get(*message, "answer");
    ab_err err = AB_OK;
    if (job->places.count > 0) {
        AB_TRY(ab_job_bring_history(job, ab_json_u64_or(ab_json_get(answer, "cut"), 0),
            (uint32_t)ab_json_u64_or(ab_json_get(answer, "attempt"), 0), error));
    }
    if (ab_exchange_rank() == 0) {
        err = answer_complete(options, job->directory, answer, error);
        ab_buffer_clear(text);
        ab_json_write(*message, 0, text);
        err = err == AB_OK && ab_buffer_finish(text) != AB_OK
                  ? ab_error_set(error, AB_TOO_LARGE, "the controller's answer")
                  : err;
    }
    AB_TRY(ab_exchange_agree(err));
    ab_json_destroy(*message);
    *message = NULL;
    return message_share(text, message, error);
}

/* Collective: what rank 0 was told becomes everybody's plan. */
static ab_err plan_share(
    struct ab_job *job, const struct options *options, struct ab_buffer *text, struct ab_error *error)
{
    struct ab_json *message = NULL;
    ab_err err = message_share(text, &message, error);
    if (err == AB_OK) {
        ab_memory_init(&job->memory, (size_t)ab_json_u64_or(ab_json_get(message, "memory_bytes"), 0), NULL);
        err = ab_exchange_agree(places_take(job, options, ab_json_get(message, "answer"), error));
    }
    if (err == AB_OK) {
        err = ab_exchange_agree(directory_check(job, error));
    }
    if (err == AB_OK) {
        err = answer_share(job, options, text, &message, error);
    }
    if (err == AB_OK) {
        err = ab_exchange_agree(plan_take(job, options, ab_json_get(message, "answer"), error));
    }
    ab_json_destroy(message);
    return err;
}

/* Collective: every rank knows the plan. */
static ab_err stage_begin(struct ab_job *job, const struct options *options, struct ab_error *error)
{
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, ANSWER_BYTES_MAX);
    ab_err err = ab_exchange_rank() == 0 ? begin_on_rank_0(job, options, &text, error) : AB_OK;
    err = ab_exchange_agree(err);
    if (err == AB_OK) {
        err = plan_share(job, options, &text, error);
    }
    ab_buffer_fini(&text);
    if (err == AB_OK && ab_exchange_rank() == 0) {
        ab_info("batch job begun",
            "%s, attempt %" PRIu32 ", cut %" PRIu64 ", %zu spans, %zu views to build, %" PRIu32 " ranks", job->plan.job,
            job->plan.attempt, job->plan.cut, job->plan.spans_count, job->plan.views_count, ab_exchange_ranks());
    }
    return err;
}

/* ---- reconcile ---- */

static int result_order(const void *a, const void *b)
{
    const struct ab_unit_result *x = a;
    const struct ab_unit_result *y = b;
    if (x->view != y->view) {
        return x->view < y->view ? -1 : 1;
    }
    if (x->span != y->span) {
        return x->span < y->span ? -1 : 1;
    }
    return (x->partition > y->partition) - (x->partition < y->partition);
}

/* One view and span: results of every partition against speed. */
static ab_err span_compare(struct ab_job *job, struct ab_reconcile *reconcile, const struct ab_unit_result *results,
    size_t count, struct ab_error *error)
{
    struct ab_json *answer = NULL;
    ab_err err = ab_control_digest(job->control, &job->places, job->plan.spans[results->span].cut,
        job->plan.views[results->view].view->uid, &answer, error);
    if (err == AB_NOT_FOUND) {
        ab_reconcile_not_held(reconcile);
        return AB_OK;
    }
    if (err == AB_OK) {
        err = ab_reconcile_compare(reconcile, results, count, answer, error);
    }
    ab_json_destroy(answer);
    return err;
}

static ab_err results_compare(struct ab_job *job, struct ab_reconcile *reconcile, struct ab_unit_result *results,
    size_t count, struct ab_error *error)
{
    qsort(results, count, sizeof *results, result_order);
    size_t from = 0;
    while (from < count) {
        size_t until = from;
        while (
            until < count && results[until].view == results[from].view && results[until].span == results[from].span) {
            ab_reconcile_add_result(reconcile, &results[until]);
            until++;
        }
        AB_TRY(span_compare(job, reconcile, results + from, until - from, error));
        job->progress.done = until;
        ab_job_tick(job);
        from = until;
    }
    return AB_OK;
}

/* Takes apart what the ranks told of their sealed spans: JSON texts, each with its length. */
static ab_err sealed_add(struct ab_reconcile *reconcile, struct ab_bytes gathered, struct ab_error *error)
{
    struct ab_reader reader = ab_reader_of(gathered);
    while (ab_reader_left(&reader) > 0 && !reader.has_failed) {
        struct ab_sealed_span sealed = {0};
        struct ab_json *json = NULL;
        AB_TRY(ab_json_parse(ab_reader_blob(&reader), &json, error));
        ab_err err = ab_sealed_span_decode(json, &sealed, error);
        ab_json_destroy(json);
        AB_TRY(err);
        ab_reconcile_add_sealed(reconcile, &sealed);
        ab_sealed_span_fini(&sealed);
    }
    return AB_OK;
}

static void sealed_gather(struct ab_job *job, struct ab_buffer *gathered)
{
    struct ab_buffer own = {0};
    struct ab_buffer text = {0};
    for (size_t i = 0; i < job->plan.spans_count * job->plan.partitions_count; i++) {
        if (job->sealed[i].until_offset > 0) {
            struct ab_json *json = ab_sealed_span_encode(&job->sealed[i]);
            ab_buffer_clear(&text);
            ab_json_write(json, 0, &text);
            ab_buffer_put_blob(&own, ab_buffer_view(&text));
            ab_json_destroy(json);
        }
    }
    ab_exchange_gather(ab_buffer_view(&own), gathered);
    ab_buffer_fini(&text);
    ab_buffer_fini(&own);
}

static ab_err reconcile_on_rank_0(struct ab_job *job, struct ab_buffer *results, struct ab_bytes sealed,
    struct ab_json **report, struct ab_error *error)
{
    struct ab_unit_result *items = (struct ab_unit_result *)(void *)results->data;
    size_t count = results->bytes / sizeof *items;
    struct ab_reconcile *reconcile = ab_reconcile_create(&job->plan);
    ab_job_stage_begin(job, AB_STAGE_RECONCILE, count);
    ab_err err = sealed_add(reconcile, sealed, error);
    if (err == AB_OK) {
        err = results_compare(job, reconcile, items, count, error);
    }
    if (err == AB_OK) {
        *report = ab_reconcile_report(reconcile);
        err = ab_workspace_report(job->directory, &job->plan, *report, error);
    }
    if (err == AB_OK && ab_reconcile_refusals(reconcile) > 0) {
        struct ab_json *first = ab_json_at(ab_json_get(*report, "evidence"), 0);
        err =
            ab_error_set(error, AB_MISMATCH, "counts differ in %" PRIu64 " places, nothing is published; the first: %s",
                ab_reconcile_refusals(reconcile), ab_json_text_or(first, ""));
    }
    if (err == AB_OK && ab_reconcile_drift(reconcile) > 0) {
        struct ab_json *first = ab_json_at(ab_json_get(*report, "evidence"), 0);
        ab_warn("drift", "%" PRIu64 " digests differ from speed's; the first: %s", ab_reconcile_drift(reconcile),
            ab_json_text_or(first, ""));
    }
    ab_reconcile_destroy(reconcile);
    return err;
}

/* Collective. The report is rank 0's. */
static ab_err stage_reconcile(struct ab_job *job, struct ab_json **report, struct ab_error *error)
{
    struct ab_buffer results = {0};
    struct ab_buffer sealed = {0};
    ab_exchange_gather(ab_buffer_view(&job->results), &results);
    sealed_gather(job, &sealed);
    ab_err err = AB_OK;
    if (ab_exchange_rank() == 0) {
        err = reconcile_on_rank_0(job, &results, ab_buffer_view(&sealed), report, error);
    }
    ab_buffer_fini(&sealed);
    ab_buffer_fini(&results);
    return ab_exchange_agree(err);
}

/* ---- publish ---- */

static ab_err manifests_make(
    struct ab_job *job, const struct ab_buffer *shards, struct ab_json *list, struct ab_error *error)
{
    const struct ab_shard_result *results = (const struct ab_shard_result *)(const void *)shards->data;
    size_t count = shards->bytes / sizeof *results;
    for (size_t v = 0; v < job->plan.views_count; v++) {
        struct ab_version_manifest manifest = {0};
        AB_TRY(ab_publish_manifest(&job->plan, v, job->kept[v], results, count, &manifest, error));
        ab_json_append(list, ab_version_manifest_encode(&manifest));
        ab_version_manifest_fini(&manifest);
    }
    return AB_OK;
}

/* The nodes that have all of it, verified. */
static struct ab_json *holders_list(const struct ab_job *job)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < job->places.count; i++) {
        if (job->holds[i]) {
            ab_json_append(list, ab_json_integer(job->places.items[i].node));
        } else {
            ab_warn("node lags", "node %" PRIu32 " does not have all of it; the next job brings the rest",
                job->places.items[i].node);
        }
    }
    return list;
}

/* Takes the report. */
static ab_err publish_on_rank_0(
    struct ab_job *job, const struct ab_buffer *shards, struct ab_json *report, struct ab_error *error)
{
    struct ab_json *request = ab_json_object();
    struct ab_json *manifests = ab_json_array();
    ab_json_set(request, "job", ab_json_text(job->plan.job));
    ab_json_set(request, "attempt", ab_json_integer(job->plan.attempt));
    ab_json_set(request, "cut", ab_json_integer((int64_t)job->plan.cut));
    ab_json_set(request, "views", manifests);
    ab_json_set(request, "report", report);
    if (job->places.count > 0) {
        ab_json_set(request, "holders", holders_list(job));
    }
    ab_job_stage_begin(job, AB_STAGE_PUBLISH, 0);
    ab_err err = manifests_make(job, shards, manifests, error);
    if (err == AB_OK) {
        err = ab_control_publish(job->control, request, error);
    }
    ab_json_destroy(request);
    if (err == AB_OK) {
        ab_info("batch job published", "%s, cut %" PRIu64 ", %zu views", job->plan.job, job->plan.cut,
            job->plan.views_count);
    }
    return err;
}

/* Collective. Takes the report (NULL but on rank 0). */
static ab_err stage_publish(struct ab_job *job, struct ab_json *report, struct ab_error *error)
{
    struct ab_buffer shards = {0};
    ab_exchange_gather(ab_buffer_view(&job->shards), &shards);
    ab_err err = ab_exchange_rank() == 0 ? publish_on_rank_0(job, &shards, report, error) : AB_OK;
    ab_buffer_fini(&shards);
    err = ab_exchange_agree(err);
    if (err == AB_OK && is_first_of_directory(job)) {
        struct ab_error detail = {0};
        if (ab_workspace_clean(job->directory, job->plan.job, &detail) != AB_OK) {
            ab_warn("runs left behind", "%s: the next job removes them", detail.text); /* published all the same */
        }
    }
    return err;
}

static void on_wait(void *context)
{
    ab_job_tick(context);
}

static ab_err job_run(struct ab_job *job, const struct options *options, struct ab_error *error)
{
    struct ab_json *report = NULL;
    AB_TRY(stage_begin(job, options, error));
    AB_TRY(ab_job_catch_up(job, error));
    AB_TRY(ab_job_seal(job, error));
    AB_TRY(ab_job_combine(job, error));
    ab_err err = stage_reconcile(job, &report, error);
    if (err == AB_OK) {
        err = ab_job_write(job, error);
    }
    if (err == AB_OK) {
        err = ab_job_replicate(job, error);
    }
    if (err != AB_OK) {
        ab_json_destroy(report);
        return err;
    }
    return stage_publish(job, report, error);
}

int ab_batch_program(int argc, char **argv)
{
    struct options options;
    bool wants_help = false;
    struct ab_job job = {0};
    struct ab_error error = {0};
    ab_exchange_open(&argc, &argv);
    ab_logging_init("anabranch-batch", AB_LOG_INFO, 2);
    bool is_right = options_parse(argc, argv, &options, &wants_help);
    if (!is_right || wants_help) {
        if (ab_exchange_rank() == 0) {
            usage_print(wants_help ? stdout : stderr);
        }
        ab_exchange_close();
        return is_right ? 0 : 2;
    }
    ab_exchange_on_wait(on_wait, &job);
    ab_err err = job_run(&job, &options, &error);
    if (err != AB_OK && (error.text[0] != 0 || ab_exchange_rank() == 0)) {
        ab_error_log("batch job failed", "rank %" PRIu32 ": %s", ab_exchange_rank(),
            error.text[0] != 0 ? error.text : "another rank failed");
    }
    ab_exchange_on_wait(NULL, NULL);
    ab_job_fini(&job);
    ab_exchange_close();
    return err == AB_OK ? 0 : 1;
}
