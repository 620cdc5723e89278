#include "cluster/command/running.h"
#include "cluster/command/status.h"
#include "cluster/ensemble.h"

#include <inttypes.h>
#include <stdio.h>

#define NODE_TIMEOUT_MS 5000

static const char *const daemon_texts[] = {"name", "state", "address"};
static const char *const daemon_numbers[] = {"pid", "uptime_s", "restarts", "last_exit_code"};

/* Appends the daemons of an answer, each with the node's number in front. */
static void daemons_append(const struct ab_json *answer, uint32_t node, struct ab_json *list)
{
    const struct ab_json *daemons = ab_json_get(answer, "daemons");
    for (size_t i = 0; i < ab_json_count(daemons); i++) {
        const struct ab_json *daemon = ab_json_at(daemons, i);
        struct ab_json *entry = ab_json_object();
        ab_json_set(entry, "node", ab_json_integer(node));
        for (size_t m = 0; m < sizeof daemon_texts / sizeof daemon_texts[0]; m++) {
            const char *text = ab_json_text_or(ab_json_get(daemon, daemon_texts[m]), "");
            ab_json_set(entry, daemon_texts[m], ab_json_text(text));
        }
        for (size_t m = 0; m < sizeof daemon_numbers / sizeof daemon_numbers[0]; m++) {
            const struct ab_json *number = ab_json_get(daemon, daemon_numbers[m]);
            if (ab_json_is_integer(number)) {
                ab_json_set(entry, daemon_numbers[m], ab_json_integer(ab_json_integer_or(number, 0)));
            }
        }
        ab_json_append(list, entry);
    }
}

/* Asks one node. *status takes the first answer of all. */
static struct ab_json *node_ask(const char *directory, uint32_t node, struct ab_json **status)
{
    struct ab_running running;
    struct ab_error error = {0};
    struct ab_json *answer = NULL;
    struct ab_json *entry = ab_json_object();
    struct ab_json *daemons = ab_json_array();
    bool is_running = ab_running_read(directory, &running);
    ab_json_set(entry, "node", ab_json_integer(node));
    if (!is_running || ab_status_ask(directory, NODE_TIMEOUT_MS, &answer, &error) != AB_OK) {
        ab_json_set(entry, "state", ab_json_text(is_running ? "silent" : "down"));
        if (is_running) {
            ab_json_set(entry, "error", ab_json_text(error.text));
        }
    } else {
        ab_json_set(entry, "state", ab_json_text("up"));
    }
    ab_json_set(entry, "directory", ab_json_text(directory));
    daemons_append(answer, node, daemons);
    ab_json_set(entry, "daemons", daemons);
    if (*status == NULL) {
        *status = answer;
    } else {
        ab_json_destroy(answer);
    }
    return entry;
}

static struct ab_json *zookeeper_status(const char *directory, const struct ab_nodes *nodes)
{
    struct ab_ensemble_running running;
    struct ab_json *zookeeper = ab_json_object();
    struct ab_json *servers = ab_json_array();
    char *address = ab_nodes_coordination(nodes);
    (void)ab_ensemble_running_read(directory, &running); /* zeroed when nothing runs */
    for (uint32_t i = 0; i < nodes->zookeepers_count; i++) {
        char text[64];
        struct ab_json *entry = ab_json_object();
        (void)snprintf(text, sizeof text, "zookeeper-%u", i + 1);
        ab_json_set(entry, "name", ab_json_text(text));
        bool is_alive = ab_process_is_alive(&running.servers[i]);
        ab_json_set(entry, "state", ab_json_text(is_alive ? "runs" : "stopped"));
        if (is_alive) {
            ab_json_set(entry, "pid", ab_json_integer(running.servers[i].pid));
        }
        (void)snprintf(text, sizeof text, "127.0.0.1:%u", nodes->zookeepers[i].client);
        ab_json_set(entry, "address", ab_json_text(text));
        ab_json_append(servers, entry);
    }
    ab_json_set(zookeeper, "address", ab_json_text(address));
    ab_json_set(zookeeper, "servers", servers);
    ab_delete(address);
    return zookeeper;
}

ab_err ab_status_nodes_ask(const char *directory, struct ab_json **status, struct ab_error *error)
{
    struct ab_nodes nodes;
    struct ab_json *first = NULL;
    AB_TRY(ab_nodes_read(directory, &nodes, error));
    struct ab_json *list = ab_json_array();
    for (uint32_t node = 1; node <= nodes.count; node++) {
        if (!ab_nodes_has(&nodes, node)) {
            continue;
        }
        char *own = ab_nodes_directory(directory, node);
        ab_json_append(list, node_ask(own, node, &first));
        ab_delete(own);
    }
    if (first == NULL) {
        ab_json_destroy(list);
        return ab_error_set(error, AB_UNAVAILABLE,
            "no node of the cluster in %s answers; start it with `anabranch up --data %s`", directory, directory);
    }
    ab_json_set(first, "data", ab_json_text(directory));
    ab_json_set(first, "nodes", list);
    ab_json_set(first, "zookeeper", zookeeper_status(directory, &nodes));
    *status = first;
    return AB_OK;
}

static void nodes_write(const struct ab_json *nodes, const char *directory, struct ab_buffer *out)
{
    for (size_t i = 0; i < ab_json_count(nodes); i++) {
        const struct ab_json *node = ab_json_at(nodes, i);
        const char *state = ab_json_text_or(ab_json_get(node, "state"), "");
        int64_t number = ab_json_integer_or(ab_json_get(node, "node"), 0);
        if (strcmp(state, "down") == 0) {
            ab_buffer_put_format(out,
                "node %" PRId64 " is down; start it with `anabranch up --data %s --node %" PRId64 "`\n", number,
                directory, number);
        } else if (strcmp(state, "up") != 0) {
            ab_buffer_put_format(
                out, "node %" PRId64 " does not answer: %s\n", number, ab_json_text_or(ab_json_get(node, "error"), ""));
        }
    }
}

/* All nodes' daemons in one table. */
static void daemons_write(const struct ab_json *nodes, struct ab_buffer *out)
{
    static const char *const members[] = {"node", "name", "state", "pid", "uptime_s", "restarts", "address"};
    struct ab_json *all = ab_json_array();
    for (size_t i = 0; i < ab_json_count(nodes); i++) {
        const struct ab_json *node = ab_json_at(nodes, i);
        daemons_append(node, (uint32_t)ab_json_integer_or(ab_json_get(node, "node"), 0), all);
    }
    ab_status_list_write(all, "daemons", members, sizeof members / sizeof members[0], out);
    ab_json_destroy(all);
}

void ab_status_nodes_write(const struct ab_json *status, struct ab_buffer *out)
{
    static const char *const servers[] = {"name", "state", "pid", "address"};
    const struct ab_json *nodes = ab_json_get(status, "nodes");
    ab_status_head_write(status, out);
    nodes_write(nodes, ab_json_text_or(ab_json_get(status, "data"), "?"), out);
    ab_status_cluster_write(ab_json_get(status, "cluster"), out);
    daemons_write(nodes, out);
    ab_status_list_write(ab_json_get(ab_json_get(status, "zookeeper"), "servers"), "ZooKeeper", servers,
        sizeof servers / sizeof servers[0], out);
    ab_status_work_write(status, out);
}
