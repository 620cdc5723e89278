/* Verbs that concern every partition: cut, retire, source marks. Each worker does its partitions' parts between two
 * groups, so nothing is staged then; whoever finishes the last part answers. A cut and a retirement are finished by the
 * flush thread that stored them. */
#include "speed/engine_private.h"

#include "common/base/json.h"
#include "common/base/logging.h"

#include <inttypes.h>
#include <stddef.h>

/* What one partition has to say. */
struct control_part {
    struct ab_control *control; /* borrowed */
    ab_err err;
    char *text;        /* owned; why it failed */
    bool is_elsewhere; /* another node leads the partition and has to be asked */
    bool has_mark;
    struct ab_source_state mark;
    struct ab_waiting waiting; /* for the commit of a cut's record */
    struct ab_partition *partition;
};

struct ab_control {
    struct ab_engine *engine;   /* borrowed */
    struct ab_request *request; /* owned */
    struct ab_json *body;       /* owned; the request's JSON */
    enum ab_verb verb;
    bool is_trimming; /* the second round of a retirement */
    uint64_t cut;
    ab_time_us time_us;
    ab_time_us horizon_us;
    ab_time_us now_us;
    const struct ab_served_catalog *served; /* new catalog of a cut, or NULL */
    struct control_part *parts;             /* owned; by partition */
    atomic_uint left;                       /* parts not done */
};

static void control_destroy(struct ab_control *control)
{
    for (uint32_t p = 0; p < control->engine->options.partitions_count; p++) {
        ab_delete(control->parts[p].text);
    }
    ab_delete(control->parts);
    ab_json_destroy(control->body);
    ab_delete(control);
}

static void control_refuse(struct ab_control *control, ab_err err, const char *text)
{
    ab_request_reply(control->request, err, text, ab_bytes_of(NULL, 0));
    control_destroy(control);
}

/* ---- answers ---- */

static struct ab_json *cut_part_json(const struct ab_control *control, struct ab_partition *partition)
{
    struct ab_closed_span span;
    struct ab_error error = {0};
    struct ab_json *part = ab_json_object();
    ab_json_set(part, "partition", ab_json_integer(ab_partition_number(partition)));
    if (ab_partition_closed_span(partition, control->cut, &span, &error) != AB_OK) {
        ab_json_set(part, "error", ab_json_text(error.text));
        return part;
    }
    char chain[33];
    ab_hash128_format(span.chain, chain);
    ab_json_set(part, "leader_epoch", ab_json_integer((int64_t)span.leader_epoch));
    ab_json_set(part, "offset", ab_json_integer((int64_t)span.end_offset));
    ab_json_set(part, "chain", ab_json_text(chain));
    ab_json_set(part, "time_us", ab_json_integer(span.cut_time_us));
    ab_json_set(part, "rows", ab_json_integer((int64_t)(span.accepted + span.rejected + span.duplicates)));
    ab_json_set(part, "accepted", ab_json_integer((int64_t)span.accepted));
    ab_json_set(part, "rejected", ab_json_integer((int64_t)span.rejected));
    ab_json_set(part, "duplicates", ab_json_integer((int64_t)span.duplicates));
    return part;
}

static struct ab_json *mark_json(uint32_t partition, const struct ab_source_state *mark)
{
    char hash[33];
    ab_hash128_format(mark->prefix_hash, hash);
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "partition", ab_json_integer(partition));
    ab_json_set(json, "last_position", ab_json_integer((int64_t)mark->last_position));
    ab_json_set(json, "byte_offset", ab_json_integer((int64_t)mark->byte_offset));
    ab_json_set(json, "prefix_hash", ab_json_text(hash));
    return json;
}

static struct ab_json *control_json(const struct ab_control *control)
{
    struct ab_json *json = ab_json_object();
    struct ab_json *list = ab_json_array();
    struct ab_json *led = ab_json_array(); /* who asks for marks has to know which partitions have answered */
    struct ab_slots *slots = control->engine->slots;
    bool is_marks = control->verb == AB_VERB_SOURCE_MARKS;
    if (!is_marks) {
        ab_json_set(json, "cut", ab_json_integer((int64_t)control->cut));
    }
    for (uint32_t p = 0; p < control->engine->options.partitions_count; p++) {
        if (control->parts[p].is_elsewhere) {
            continue;
        }
        if (is_marks && control->engine->is_replicated) {
            ab_json_append(led, ab_json_integer(p));
        }
        struct ab_partition *partition = control->verb == AB_VERB_CUT ? ab_slots_acquire(slots, p) : NULL;
        if (partition != NULL) { /* else it has gone elsewhere since */
            ab_json_append(list, cut_part_json(control, partition));
            ab_slots_release(slots, p);
        } else if (is_marks && control->parts[p].has_mark) {
            ab_json_append(list, mark_json(p, &control->parts[p].mark));
        }
    }
    if (control->verb == AB_VERB_RETIRE) {
        ab_json_destroy(list);
    } else {
        ab_json_set(json, is_marks ? "marks" : "partitions", list);
    }
    if (is_marks && control->engine->is_replicated) {
        ab_json_set(json, "partitions", led);
    } else {
        ab_json_destroy(led);
    }
    return json;
}

/* The first part that failed; NULL when all went well. */
static const struct control_part *failed_part(const struct ab_control *control)
{
    for (uint32_t p = 0; p < control->engine->options.partitions_count; p++) {
        if (control->parts[p].err != AB_OK) {
            return &control->parts[p];
        }
    }
    return NULL;
}

static void control_answer(struct ab_control *control)
{
    const struct control_part *failed = failed_part(control);
    if (failed != NULL) {
        char *text = ab_new_format("partition %u: %s", (unsigned)(failed - control->parts), failed->text);
        control_refuse(control, failed->err, text);
        ab_delete(text);
        return;
    }
    struct ab_json *json = control_json(control);
    struct ab_buffer payload = {0};
    ab_json_write(json, 0, &payload);
    ab_request_reply(control->request, AB_OK, NULL, ab_buffer_view(&payload));
    ab_buffer_fini(&payload);
    ab_json_destroy(json);
    control_destroy(control);
}

static void control_distribute(struct ab_control *control);

/* The last part is done. */
static void control_finish(struct ab_control *control)
{
    bool has_trim = control->verb == AB_VERB_RETIRE && !control->is_trimming &&
                    ab_json_is_array(ab_json_get(control->body, "log_offsets")) && failed_part(control) == NULL;
    if (has_trim) {
        control->is_trimming = true;
        control_distribute(control);
        return;
    }
    control_answer(control);
}

static void part_done(struct control_part *part)
{
    struct ab_control *control = part->control;
    if (atomic_fetch_sub_explicit(&control->left, 1, memory_order_acq_rel) == 1) {
        control_finish(control);
    }
}

static void part_stored(struct ab_partition *partition, void *context)
{
    (void)partition;
    part_done(context);
}

/* ---- beginning ---- */

/* Hands the control to every worker; the parts of a worker that takes no more work fail. */
static void control_distribute(struct ab_control *control)
{
    struct ab_engine *engine = control->engine;
    uint32_t partitions_count = engine->options.partitions_count;
    uint32_t workers_count = engine->options.workers;
    atomic_store_explicit(&control->left, partitions_count + 1, memory_order_release);
    for (uint32_t w = 0; w < workers_count; w++) {
        ab_err err = ab_worker_put(engine->workers[w], &(struct ab_work){.control = control});
        for (uint32_t p = w; err != AB_OK && p < partitions_count; p += workers_count) {
            control->parts[p].err = err == AB_CLOSED ? AB_UNAVAILABLE : err;
            ab_delete(control->parts[p].text);
            control->parts[p].text =
                ab_new_text(err == AB_CLOSED ? "the daemon is stopping" : "its worker's queue is full");
            part_done(&control->parts[p]);
        }
    }
    if (atomic_fetch_sub_explicit(&control->left, 1, memory_order_acq_rel) == 1) {
        control_finish(control);
    }
}

/* The catalog a cut brings, when it brings one. */
static ab_err cut_catalog(struct ab_control *control, struct ab_error *error)
{
    const struct ab_json *hex = ab_json_get(control->body, "catalog_hex");
    if (!ab_json_is_text(hex) || ab_json_bytes(hex).bytes == 0) {
        return AB_OK;
    }
    struct ab_buffer encoded = {0};
    ab_err err = ab_buffer_put_from_hex(&encoded, ab_json_bytes(hex));
    if (err != AB_OK) {
        (void)ab_error_set(error, err, "catalog_hex is not hexadecimal");
    } else {
        err = ab_catalogs_add(control->engine->catalogs, ab_buffer_view(&encoded), &control->served, error);
    }
    ab_buffer_fini(&encoded);
    return err;
}

static ab_err control_parse(struct ab_control *control, struct ab_error *error)
{
    AB_TRY(ab_json_parse(control->request->payload, &control->body, error));
    const struct ab_json *body = control->body;
    if (control->verb == AB_VERB_SOURCE_MARKS) {
        bool is_right = ab_json_is_text(ab_json_get(body, "stream")) && ab_json_is_text(ab_json_get(body, "source"));
        return is_right ? AB_OK : ab_error_set(error, AB_INVALID, "source marks want {\"stream\":…,\"source\":…}");
    }
    control->cut = ab_json_u64_or(ab_json_get(body, "cut"), 0);
    control->time_us = ab_json_integer_or(ab_json_get(body, "time_us"), 0);
    control->horizon_us = ab_json_integer_or(ab_json_get(body, "horizon_us"), 0);
    control->now_us = ab_time_now();
    if (control->cut == 0 || control->cut > INT64_MAX / 2) {
        return ab_error_set(error, AB_INVALID, "\"cut\" is missing or not a number from 1 on");
    }
    if (control->verb == AB_VERB_CUT && control->time_us <= 0) {
        return ab_error_set(error, AB_INVALID, "\"time_us\" is missing");
    }
    return control->verb == AB_VERB_CUT ? cut_catalog(control, error) : AB_OK;
}

void ab_control_begin(struct ab_engine *engine, struct ab_request *request)
{
    struct ab_control *control = ab_new(struct ab_control);
    control->engine = engine;
    control->request = request;
    control->verb = request->envelope.verb;
    control->parts = ab_new_array(struct control_part, engine->options.partitions_count);
    for (uint32_t p = 0; p < engine->options.partitions_count; p++) {
        control->parts[p].control = control;
    }
    struct ab_error error = {0};
    ab_err err = control_parse(control, &error);
    if (err != AB_OK) {
        control_refuse(control, err, error.text);
        return;
    }
    control_distribute(control);
}

/* ---- a partition's part ---- */

static ab_err trim(const struct ab_control *control, struct ab_partition *partition, struct ab_error *error)
{
    const struct ab_json *offsets = ab_json_get(control->body, "log_offsets");
    uint64_t offset = ab_json_u64_or(ab_json_at(offsets, ab_partition_number(partition)), 0);
    return offset == 0 ? AB_OK : ab_partition_trim(partition, offset, error);
}

static struct ab_partition_cut cut_of(const struct ab_control *control, struct control_part *part)
{
    return (struct ab_partition_cut){.cut = control->cut,
        .time_us = control->time_us,
        .horizon_us = control->horizon_us,
        .served = control->served,
        .now_us = control->now_us,
        .on_done = part_stored,
        .context = part};
}

static void part_fail(struct control_part *part, ab_err err, const char *text)
{
    part->err = err;
    ab_delete(part->text);
    part->text = ab_new_text(text);
    part_done(part);
}

/* The record of a cut is committed, or nobody knows. */
static void cut_end(struct ab_waiting *waiting, ab_err err)
{
    struct control_part *part = (struct control_part *)((uint8_t *)waiting - offsetof(struct control_part, waiting));
    struct ab_error error = {0};
    struct ab_arena scratch;
    if (err != AB_OK) {
        part_fail(part, err,
            "this node stopped leading the partition, or too few replicas were in sync, before all had the cut");
        return;
    }
    ab_arena_init(&scratch, NULL, 0);
    do {
        err = ab_partition_apply_log(part->partition, waiting->end_offset, &scratch, &error);
    } while (err == AB_AGAIN);
    ab_arena_fini(&scratch);
    if (err == AB_OK) {
        struct ab_partition_cut cut = cut_of(part->control, part);
        err = ab_partition_cut(part->partition, &cut, &error); /* joins it */
    }
    if (err != AB_OK) {
        part_fail(part, err, error.text);
    }
}

/* Among replicas: the leader appends, and goes on when all have it. */
static ab_err cut_replicated(struct control_part *part, struct ab_partition *partition,
    struct ab_replicator *replicator, bool *is_later, struct ab_error *error)
{
    ab_err err = ab_replicator_may_append(replicator, error);
    if (err == AB_UNAVAILABLE) {
        part->is_elsewhere = true;
        return AB_OK;
    }
    AB_TRY(err);
    struct ab_partition_cut cut = cut_of(part->control, part);
    uint64_t end_offset = 0;
    AB_TRY(ab_partition_cut_stage(partition, &cut, &end_offset, error));
    *is_later = true;
    if (end_offset == 0) {
        return AB_OK;
    }
    err = ab_partition_write(partition, error);
    if (err != AB_OK) {
        *is_later = false;
        return err;
    }
    part->partition = partition;
    part->waiting = (struct ab_waiting){.end_offset = end_offset, .on_end = cut_end};
    ab_replicator_hold_for_cut(replicator, end_offset);
    ab_replicator_wait(replicator, &part->waiting);
    ab_replicator_written(replicator);
    return AB_OK;
}

/* Does it; true in *is_later when somebody else finishes the part. */
static ab_err part_run(struct control_part *part, struct ab_partition *partition, struct ab_replicator *replicator,
    bool *is_later, struct ab_error *error)
{
    const struct ab_control *control = part->control;
    if (control->verb == AB_VERB_SOURCE_MARKS) {
        part->is_elsewhere = replicator != NULL && !ab_replicator_may_serve(replicator);
        part->has_mark =
            !part->is_elsewhere && ab_partition_source(partition, ab_json_bytes(ab_json_get(control->body, "stream")),
                                       ab_json_bytes(ab_json_get(control->body, "source")), &part->mark);
        return AB_OK;
    }
    if (replicator != NULL && ab_partition_applied(partition) == 0) {
        part->is_elsewhere = true; /* nothing has reached this replica yet */
        return AB_OK;
    }
    if (control->verb == AB_VERB_RETIRE && replicator != NULL && ab_partition_is_behind(partition)) {
        part->is_elsewhere = true; /* its tables are of records that it has not got yet: the next one will do */
        return AB_OK;
    }
    if (control->is_trimming) {
        return trim(control, partition, error);
    }
    if (control->verb == AB_VERB_CUT && replicator != NULL) {
        return cut_replicated(part, partition, replicator, is_later, error);
    }
    *is_later = true;
    if (control->verb == AB_VERB_RETIRE) {
        return ab_partition_retire(partition, control->cut, part_stored, part, error);
    }
    struct ab_partition_cut cut = cut_of(control, part);
    return ab_partition_cut(partition, &cut, error);
}

void ab_control_run(struct ab_control *control, struct ab_partition *partition, struct ab_replicator *replicator)
{
    struct control_part *part = &control->parts[ab_partition_number(partition)];
    struct ab_error error = {0};
    bool is_later = false;
    ab_err err = part_run(part, partition, replicator, &is_later, &error);
    if (err != AB_OK) {
        part_fail(part, err, error.text);
    } else if (!is_later) {
        part_done(part);
    }
}

void ab_control_run_elsewhere(struct ab_control *control, uint32_t partition)
{
    control->parts[partition].is_elsewhere = true;
    part_done(&control->parts[partition]);
}
