#include "cluster/command/command.h"
#include "cluster/command/node.h"
#include "cluster/command/session.h"
#include "cluster/command/status.h"
#include "cluster/command/up.h"
#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/time.h"

#include <inttypes.h>
#include <stdio.h>

#define CHANGE_TIMEOUT_MS 20000
#define STATUS_TIMEOUT_MS 10000
#define POLL_US (200 * AB_US_PER_MS)

static ab_err ask_once(
    const struct ab_node_command *command, const char *action, uint32_t *moves, struct ab_error *error)
{
    struct ab_session session;
    struct ab_json *reply = NULL;
    struct ab_json *payload = ab_json_object();
    ab_json_set(payload, "action", ab_json_text(action));
    ab_json_set(payload, "node", ab_json_integer(command->node));
    ab_err err = ab_session_open(command->directory, "operator", &session, error);
    if (err == AB_OK) {
        err = ab_session_call(&session, "controller", AB_VERB_NODE_CHANGE, payload, CHANGE_TIMEOUT_MS, &reply, error);
    }
    if (err == AB_OK && moves != NULL) {
        *moves = (uint32_t)ab_json_integer_or(ab_json_get(reply, "moves"), 0);
    }
    ab_session_close(&session);
    ab_json_destroy(payload);
    ab_json_destroy(reply);
    return err;
}

ab_err ab_node_ask(const struct ab_node_command *command, const char *action, uint32_t *moves, struct ab_error *error)
{
    int64_t until_us = ab_time_monotonic_us() + CHANGE_TIMEOUT_MS * AB_US_PER_MS;
    for (;;) {
        struct ab_error attempt = {0};
        ab_err err = ask_once(command, action, moves, &attempt);
        if (err != AB_OUTCOME_UNKNOWN || ab_time_monotonic_us() > until_us) {
            *error = attempt;
            return err;
        }
        ab_time_sleep_us(POLL_US); /* who acted went before it answered */
    }
}

ab_err ab_node_ask_until(const struct ab_node_command *command, const char *action, ab_err passing, int64_t patience_us,
    uint32_t *moves, struct ab_error *error)
{
    int64_t until_us = ab_time_monotonic_us() + patience_us;
    for (;;) {
        struct ab_error attempt = {0};
        ab_err err = ab_node_ask(command, action, moves, &attempt);
        if (err != passing || ab_time_monotonic_us() > until_us) {
            *error = attempt;
            return err;
        }
        ab_time_sleep_us(POLL_US);
    }
}

ab_err ab_node_look(const struct ab_node_command *command, struct ab_json **cluster, struct ab_error *error)
{
    struct ab_session session;
    struct ab_json *status = NULL;
    ab_err err = ab_session_open(command->directory, "operator", &session, error);
    if (err == AB_OK) {
        err = ab_session_call(&session, "controller", AB_VERB_STATUS, NULL, STATUS_TIMEOUT_MS, &status, error);
    }
    ab_session_close(&session);
    AB_TRY(err);
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, 0);
    const char *trouble = ab_json_text_or(ab_json_get(ab_json_get(status, "cluster"), "error"), "");
    if (trouble[0] != '\0') {
        err = ab_error_set(error, AB_UNAVAILABLE, "coordination service: %s", trouble);
    } else {
        ab_json_write(ab_json_get(status, "cluster"), 0, &text);
        err = ab_json_parse(ab_buffer_view(&text), cluster, error);
    }
    ab_buffer_fini(&text);
    ab_json_destroy(status);
    return err;
}

ab_err ab_node_idle_check(const struct ab_node_command *command, const char *action, struct ab_error *error)
{
    struct ab_json *cluster = NULL;
    AB_TRY(ab_node_look(command, &cluster, error));
    const struct ab_json *stored = ab_json_get(cluster, "reassignment");
    const char *theirs = ab_json_text_or(ab_json_get(stored, "action"), "");
    int64_t node = ab_json_integer_or(ab_json_get(stored, "node"), 0);
    ab_err err = AB_OK;
    if (!ab_json_is_null(stored) && (strcmp(theirs, action) != 0 || node != command->node)) {
        err = ab_error_set(error, AB_BUSY,
            "another reassignment is on its way (%s node %" PRId64 "): wait for it, see `anabranch node list`, or take "
            "it back by `anabranch node cancel`",
            theirs, node);
    }
    ab_json_destroy(cluster);
    return err;
}

/* ---- waiting ---- */

static bool list_has(const struct ab_json *list, uint32_t node)
{
    bool is_there = false;
    for (size_t i = 0; i < ab_json_count(list) && !is_there; i++) {
        is_there = ab_json_integer_or(ab_json_at(list, i), 0) == node;
    }
    return is_there;
}

/* Partitions that wait for a step, or for this node. */
static int64_t left_count(const struct ab_json *cluster, uint32_t node)
{
    const struct ab_json *partitions = ab_json_get(cluster, "partitions");
    const struct ab_json *stored = ab_json_get(cluster, "reassignment");
    int64_t left = ab_json_integer_or(ab_json_get(stored, "left"), 0);
    if (!ab_json_is_null(stored)) {
        return left > 0 ? left : 1; /* all have arrived, and that is not written down yet */
    }
    for (size_t i = 0; i < ab_json_count(partitions); i++) {
        const struct ab_json *entry = ab_json_at(partitions, i);
        left += list_has(ab_json_get(entry, "replicas"), node) && !list_has(ab_json_get(entry, "isr"), node);
    }
    return left;
}

static void waits_say(const struct ab_json *cluster, int64_t left)
{
    const struct ab_json *waits = ab_json_get(ab_json_get(cluster, "reassignment"), "waits");
    const char *first = ab_json_text_or(ab_json_at(waits, 0), "");
    ab_command_say("%" PRId64 " partitions have not arrived%s%s", left, first[0] == '\0' ? "" : ": ", first);
}

ab_err ab_node_wait(const struct ab_node_command *command, struct ab_error *error)
{
    int64_t said = -1;
    for (;;) {
        struct ab_json *cluster = NULL;
        struct ab_error attempt = {0};
        ab_err err = ab_node_look(command, &cluster, &attempt);
        int64_t left = err == AB_OK ? left_count(cluster, command->node) : said;
        if (err == AB_OK && left != said && left > 0) {
            waits_say(cluster, left);
            said = left;
        }
        ab_json_destroy(cluster);
        if (err == AB_OK && left == 0) {
            return AB_OK;
        }
        if (ab_time_monotonic_us() > command->until_us) {
            return ab_error_set(error, AB_TIMEOUT,
                "waited long enough: %" PRId64
                " partitions have not arrived; it goes on, see `anabranch node list`%s%s",
                left, attempt.text[0] == '\0' ? "" : "; ", attempt.text);
        }
        ab_time_sleep_us(POLL_US);
    }
}

/* ---- processes and directories ---- */

ab_err ab_node_start(const struct ab_node_command *command, struct ab_error *error)
{
    static const struct ab_option node_option = {"--node", "K", ""};
    char number[16];
    (void)snprintf(number, sizeof number, "%" PRIu32, command->node);
    const struct ab_arguments arguments = {.values = {{&node_option, number}}, .values_count = 1};
    struct ab_up up = {.arguments = &arguments, .directory = command->directory, .is_quiet = true};
    return ab_up_nodes_run(&up, error);
}

bool ab_node_is_running(const struct ab_node_command *command)
{
    struct ab_running running;
    char *own = ab_nodes_directory(command->directory, command->node);
    (void)ab_running_read(own, &running);
    ab_delete(own);
    return ab_running_is_any_alive(&running);
}

ab_err ab_node_directory_retire(const struct ab_node_command *command, const char *ending, struct ab_error *error)
{
    char *own = ab_nodes_directory(command->directory, command->node);
    char *retired = ab_new_format("%s.%s", own, ending);
    ab_err err = AB_OK;
    if (!ab_layout_is_vacant(own)) {
        err = ab_file_exists(retired) ? ab_file_remove_tree(retired, error) : AB_OK;
        err = err == AB_OK ? ab_file_rename(own, retired, error) : err;
    }
    ab_delete(retired);
    ab_delete(own);
    return err;
}

void ab_node_say(const struct ab_node_command *command, const char *action, uint32_t moves, bool is_done)
{
    if (!command->is_json) {
        (void)printf("%s node %" PRIu32 ": %" PRIu32 " partitions %s\n", action, command->node, moves,
            is_done ? "moved, done" : "on their way; see `anabranch node list`");
        return;
    }
    struct ab_json *json = ab_json_object();
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, 0);
    ab_json_set(json, "action", ab_json_text(action));
    ab_json_set(json, "node", ab_json_integer(command->node));
    ab_json_set(json, "moves", ab_json_integer(moves));
    ab_json_set(json, "is_done", ab_json_boolean(is_done));
    ab_json_write(json, 2, &text);
    (void)printf("%s\n", ab_buffer_text(&text));
    ab_buffer_fini(&text);
    ab_json_destroy(json);
}
