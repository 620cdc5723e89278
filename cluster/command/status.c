#include "cluster/command/status.h"

#include "cluster/command/command.h"
#include "cluster/command/relation.h"
#include "cluster/command/session.h"
#include "common/base/time.h"

#include <inttypes.h>
#include <stdio.h>

#define STATUS_TIMEOUT_MS 10000
#define STATUS_TEXT_BYTES 512

/* "1,2,3". */
static void numbers_text(const struct ab_json *list, char text[STATUS_TEXT_BYTES])
{
    size_t length = 0;
    for (size_t i = 0; i < ab_json_count(list) && length + 32 < STATUS_TEXT_BYTES; i++) {
        length += (size_t)snprintf(text + length, STATUS_TEXT_BYTES - length, "%s%" PRId64, i == 0 ? "" : ",",
            ab_json_integer_or(ab_json_at(list, i), 0));
    }
}

/* The text form of a member of any scalar kind, or a list of numbers, into `text`. */
static const char *member_text(const struct ab_json *object, const char *key, char text[STATUS_TEXT_BYTES])
{
    const struct ab_json *member = ab_json_get(object, key);
    text[0] = '\0';
    if (ab_json_is_text(member)) {
        (void)snprintf(text, STATUS_TEXT_BYTES, "%s", ab_json_text_or(member, ""));
    } else if (ab_json_is_integer(member)) {
        int64_t number = ab_json_integer_or(member, 0);
        size_t length = strlen(key);
        if (length > 3 && strcmp(key + length - 3, "_us") == 0) {
            (void)ab_time_format(number, text);
        } else {
            (void)snprintf(text, STATUS_TEXT_BYTES, "%" PRId64, number);
        }
    } else if (ab_json_is_boolean(member)) {
        (void)snprintf(text, STATUS_TEXT_BYTES, "%s", ab_json_boolean_or(member, false) ? "yes" : "no");
    } else if (ab_json_is_array(member)) {
        numbers_text(member, text);
    }
    return text;
}

/* A list of objects as a table of the given members. */
static void list_write(
    const struct ab_json *list, const char *const *members, size_t members_count, struct ab_buffer *out)
{
    struct ab_relation relation;
    char text[STATUS_TEXT_BYTES];
    ab_relation_init(&relation, members_count);
    for (size_t m = 0; m < members_count; m++) {
        const struct ab_json *sample = ab_json_get(ab_json_at(list, 0), members[m]);
        ab_relation_column(&relation, m, members[m], ab_json_is_integer(sample) ? AB_CELL_NUMBER : AB_CELL_TEXT);
    }
    for (size_t i = 0; i < ab_json_count(list); i++) {
        for (size_t m = 0; m < members_count; m++) {
            ab_relation_add_text(&relation, member_text(ab_json_at(list, i), members[m], text));
        }
    }
    ab_relation_write(&relation, AB_OUTPUT_TABLE, out);
    ab_relation_fini(&relation);
}

void ab_status_list_write(const struct ab_json *list, const char *title, const char *const *members,
    size_t members_count, struct ab_buffer *out)
{
    if (ab_json_count(list) > 0) {
        ab_buffer_put_format(out, "\n%s\n", title);
        list_write(list, members, members_count, out);
    }
}

/* What the controller that answers has asked of the coordination service since it was started. */
static void operations_write(const struct ab_json *operations, struct ab_buffer *out)
{
    if (operations == NULL) {
        return;
    }
    ab_buffer_put_format(out, "the controller has asked the coordination service for");
    for (size_t i = 0; i < ab_json_count(operations); i++) {
        const char *kind = ab_json_key_at(operations, i);
        ab_buffer_put_format(
            out, "%s %" PRId64 " %s", i == 0 ? "" : ",", ab_json_integer_or(ab_json_get(operations, kind), 0), kind);
    }
    ab_buffer_put_format(out, "\n");
}

void ab_status_head_write(const struct ab_json *status, struct ab_buffer *out)
{
    ab_buffer_put_format(out, "cluster %s in %s\n", ab_json_text_or(ab_json_get(status, "cluster_id"), "?"),
        ab_json_text_or(ab_json_get(status, "data"), "?"));
    ab_buffer_put_format(out,
        "%" PRId64 " partitions, catalog version %" PRId64 ", last cut %" PRId64 ", disk free %.1f GB of %.1f GB\n",
        ab_json_integer_or(ab_json_get(status, "partitions"), 0),
        ab_json_integer_or(ab_json_get(status, "catalog_version"), 0),
        ab_json_integer_or(ab_json_get(ab_json_get(status, "cuts"), "last"), 0),
        ab_json_real_or(ab_json_get(status, "disk_free_bytes"), 0) / 1e9,
        ab_json_real_or(ab_json_get(status, "disk_total_bytes"), 0) / 1e9);
    operations_write(ab_json_get(status, "coordination"), out);
}

void ab_status_reassignment_write(const struct ab_json *reassignment, struct ab_buffer *out)
{
    if (ab_json_is_null(reassignment)) {
        return;
    }
    const struct ab_json *waits = ab_json_get(reassignment, "waits");
    ab_buffer_put_format(out,
        "on its way: %s node %" PRId64 ", %" PRId64 " of %" PRId64 " partitions have not arrived\n",
        ab_json_text_or(ab_json_get(reassignment, "action"), "?"),
        ab_json_integer_or(ab_json_get(reassignment, "node"), 0),
        ab_json_integer_or(ab_json_get(reassignment, "left"), 0),
        ab_json_integer_or(ab_json_get(reassignment, "partitions"), 0));
    for (size_t i = 0; i < ab_json_count(waits); i++) {
        ab_buffer_put_format(out, "  %s\n", ab_json_text_or(ab_json_at(waits, i), ""));
    }
}

void ab_status_cluster_write(const struct ab_json *cluster, struct ab_buffer *out)
{
    static const char *const nodes[] = {"node", "state", "speed", "serving", "rack", "weight", "starts", "damaged"};
    static const char *const partitions[] = {
        "partition", "leader", "is_leader_live", "epoch", "replicas", "isr", "elr", "learners"};
    if (cluster == NULL) {
        return;
    }
    const struct ab_json *controller = ab_json_get(cluster, "controller");
    ab_buffer_put_format(out, "node %" PRId64 " answers; ", ab_json_integer_or(ab_json_get(cluster, "node"), 0));
    if (ab_json_is_null(controller)) {
        ab_buffer_put_format(out, "no controller acts\n");
    } else {
        ab_buffer_put_format(out, "the controller of node %" PRId64 " acts, at %s\n",
            ab_json_integer_or(ab_json_get(controller, "node"), 0),
            ab_json_text_or(ab_json_get(controller, "address"), "?"));
    }
    const char *trouble = ab_json_text_or(ab_json_get(cluster, "error"), "");
    if (trouble[0] != '\0') {
        ab_buffer_put_format(out, "coordination service: %s\n", trouble);
        return;
    }
    ab_buffer_put_format(out,
        "%" PRId64 " partitions without a live leader, %" PRId64 " with fewer in-sync replicas than they should have, "
        "%" PRId64 " not made yet\n",
        ab_json_integer_or(ab_json_get(cluster, "leaderless"), 0),
        ab_json_integer_or(ab_json_get(cluster, "under_replicated"), 0),
        ab_json_integer_or(ab_json_get(cluster, "not_created"), 0));
    ab_status_reassignment_write(ab_json_get(cluster, "reassignment"), out);
    ab_status_list_write(ab_json_get(cluster, "nodes"), "nodes", nodes, sizeof nodes / sizeof nodes[0], out);
    ab_status_list_write(
        ab_json_get(cluster, "partitions"), "replicas", partitions, sizeof partitions / sizeof partitions[0], out);
}

void ab_status_work_write(const struct ab_json *status, struct ab_buffer *out)
{
    static const char *const views[] = {"name", "stream", "version", "cut", "rows", "bytes", "time_us"};
    static const char *const jobs[] = {"id", "kind", "state", "cut", "attempt", "submitted_us", "error"};
    ab_status_list_write(ab_json_get(status, "views"), "views", views, sizeof views / sizeof views[0], out);
    ab_status_list_write(ab_json_get(status, "jobs"), "jobs", jobs, sizeof jobs / sizeof jobs[0], out);
}

static void status_write(const struct ab_json *status, struct ab_buffer *out)
{
    static const char *const daemons[] = {"name", "state", "pid", "uptime_s", "restarts", "address"};
    static const char *const partitions[] = {
        "partition", "end", "durable", "applied", "accepted", "rejected", "last_cut", "spans"};
    ab_status_head_write(status, out);
    ab_status_cluster_write(ab_json_get(status, "cluster"), out);
    ab_status_list_write(ab_json_get(status, "daemons"), "daemons", daemons, sizeof daemons / sizeof daemons[0], out);
    ab_status_work_write(status, out);
    ab_status_list_write(ab_json_get(ab_json_get(status, "speed"), "partitions"), "partitions", partitions,
        sizeof partitions / sizeof partitions[0], out);
    const char *speed_error = ab_json_text_or(ab_json_get(status, "speed_error"), "");
    if (speed_error[0] != '\0') {
        ab_buffer_put_format(out, "\nspeed: %s\n", speed_error);
    }
}

ab_err ab_status_ask(const char *directory, int timeout_ms, struct ab_json **status, struct ab_error *error)
{
    struct ab_session session;
    ab_err err = ab_session_open(directory, "operator", &session, error);
    if (err == AB_OK) {
        err = ab_session_call(&session, "controller", AB_VERB_STATUS, NULL, timeout_ms, status, error);
    }
    ab_session_close(&session);
    return err;
}

static ab_err status_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    struct ab_json *status = NULL;
    struct ab_buffer out;
    ab_buffer_init(&out, NULL, 0);
    AB_TRY(ab_command_directory(arguments, &directory, error));
    bool is_of_several = ab_nodes_is(directory);
    ab_err err = is_of_several ? ab_status_nodes_ask(directory, &status, error)
                               : ab_status_ask(directory, STATUS_TIMEOUT_MS, &status, error);
    if (err == AB_OK && ab_arguments_has(arguments, "--json")) {
        ab_json_write(status, 2, &out);
        ab_buffer_put_u8(&out, '\n');
    } else if (err == AB_OK && is_of_several) {
        ab_status_nodes_write(status, &out);
    } else if (err == AB_OK) {
        status_write(status, &out);
    }
    err = err == AB_OK ? ab_output_print(&out, error) : err;
    ab_buffer_fini(&out);
    ab_json_destroy(status);
    ab_delete(directory);
    return err;
}

static const struct ab_option status_options[] = {
    AB_OPTION_DATA,
    {"--json", NULL, "everything, as one JSON object"},
    {0},
};

const struct ab_command ab_command_status = {
    .name = "status",
    .words = "",
    .summary = "daemons, partitions, cuts, views and jobs of a cluster",
    .options = status_options,
    .run = status_run,
};
