#include "cluster/controller/job_nodes.h"

#include "cluster/publication.h"
#include "common/base/logging.h"
#include "common/crypto/crypto.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PLACE_FORMAT 1
#define HOST_BYTES 256
#define PATH_BYTES 256

void ab_job_nodes_fini(struct ab_job_nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->count; i++) {
        ab_delete(nodes->items[i].host);
        ab_delete(nodes->items[i].directory);
    }
    ab_delete(nodes->items);
    *nodes = (struct ab_job_nodes){0};
}

/* ---- places ---- */

static void place_path(uint32_t node, char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "/places/%" PRIu32, node);
}

ab_err ab_job_nodes_register(struct ab_controller *controller, struct ab_error *error)
{
    char path[PATH_BYTES];
    char host[HOST_BYTES] = "";
    char directory[PATH_MAX];
    uint32_t node = controller->node.config.cluster.node;
    if (realpath(controller->node.directory, directory) == NULL || gethostname(host, sizeof host - 1) != 0) {
        return ab_error_set(error, AB_IO, "%s: where it is cannot be found out", controller->node.directory);
    }
    struct ab_json *place = ab_json_object();
    struct ab_buffer text = {0};
    ab_json_set(place, "format", ab_json_integer(PLACE_FORMAT));
    ab_json_set(place, "node", ab_json_integer(node));
    ab_json_set(place, "host", ab_json_text(host));
    ab_json_set(place, "directory", ab_json_text(directory));
    ab_json_write(place, 0, &text);
    place_path(node, path);
    ab_err err = ab_coordination_store(controller->coordination, path, ab_buffer_view(&text), error);
    ab_buffer_fini(&text);
    ab_json_destroy(place);
    return err;
}

/* Fills in where a node has its data; AB_NOT_FOUND when it has not said so. */
static ab_err place_read(struct ab_controller *controller, struct ab_job_node *node, struct ab_error *error)
{
    char path[PATH_BYTES];
    struct ab_json *place = NULL;
    place_path(node->target.node, path);
    AB_TRY(ab_coordination_get_json(controller->coordination, path, &place, NULL, error));
    const char *host = ab_json_text_or(ab_json_get(place, "host"), "");
    const char *directory = ab_json_text_or(ab_json_get(place, "directory"), "");
    bool is_right = ab_json_u64_or(ab_json_get(place, "format"), 0) == PLACE_FORMAT && host[0] != '\0' &&
                    strpbrk(host, " \t\n") == NULL && directory[0] == '/';
    if (is_right) {
        node->host = ab_new_text(host);
        node->directory = ab_new_text(directory);
    }
    ab_json_destroy(place);
    return is_right ? AB_OK : ab_error_set(error, AB_CORRUPT, "coordination node %s is malformed", path);
}

/* 0 for the own node, 1 for others of its host, 2 for the rest. */
static int distance(const struct ab_job_node *node, uint32_t own, const char *own_host)
{
    return node->target.node == own ? 0 : strcmp(node->host, own_host) == 0 ? 1 : 2;
}

static bool is_before(const struct ab_job_node *a, const struct ab_job_node *b, uint32_t own, const char *own_host)
{
    int from_a = distance(a, own, own_host);
    int from_b = distance(b, own, own_host);
    int hosts = strcmp(a->host, b->host);
    return from_a != from_b ? from_a < from_b : hosts != 0 ? hosts < 0 : a->target.node < b->target.node;
}

/* Few nodes: by insertion. */
static void nodes_sort(struct ab_job_nodes *nodes, uint32_t own, const char *own_host)
{
    for (uint32_t i = 1; i < nodes->count; i++) {
        struct ab_job_node node = nodes->items[i];
        uint32_t at = i;
        for (; at > 0 && is_before(&node, &nodes->items[at - 1], own, own_host); at--) {
            nodes->items[at] = nodes->items[at - 1];
        }
        nodes->items[at] = node;
    }
}

ab_err ab_job_nodes_read(struct ab_controller *controller, struct ab_job_nodes *nodes, struct ab_error *error)
{
    struct ab_job_nodes made = {0};
    struct ab_speed_target *targets = NULL;
    uint32_t count = 0;
    uint32_t own = controller->node.config.cluster.node;
    const char *own_host = NULL;
    AB_TRY(ab_speed_targets(controller, &targets, &count, error));
    made.items = ab_new_array(struct ab_job_node, count);
    ab_err err = AB_OK;
    for (uint32_t i = 0; i < count && err == AB_OK; i++) {
        struct ab_error detail = {0};
        struct ab_job_node *node = &made.items[made.count];
        node->target = targets[i];
        err = place_read(controller, node, &detail);
        if (err == AB_OK) {
            own_host = node->target.node == own ? node->host : own_host;
            made.count++;
        } else if (err == AB_NOT_FOUND || err == AB_CORRUPT) {
            ab_warn("node left out of batch jobs", "node %" PRIu32 ": %s", targets[i].node,
                detail.text[0] != '\0' ? detail.text : "its controller has not said where its data is");
            err = AB_OK;
        } else {
            err = ab_error_set(error, err, "%s", detail.text);
        }
    }
    ab_delete(targets);
    if (err == AB_OK && own_host == NULL) {
        err = ab_error_set(error, AB_UNAVAILABLE, "speed of node %" PRIu32 ", whose controller acts, is not live", own);
    }
    if (err != AB_OK) {
        ab_job_nodes_fini(&made);
        return err;
    }
    nodes_sort(&made, own, own_host);
    *nodes = made;
    return AB_OK;
}

/* ---- the answer to a BEGIN ---- */

static struct ab_json *nodes_list(const struct ab_job_nodes *nodes)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < nodes->count; i++) {
        const struct ab_job_node *node = &nodes->items[i];
        char key[2 * AB_CRYPTO_KEY_BYTES + 1];
        struct ab_json *entry = ab_json_object();
        struct ab_json *speed = ab_json_object();
        ab_crypto_key_format(node->target.endpoint.public_key, key);
        ab_json_set(speed, "address", ab_json_text(node->target.endpoint.address));
        ab_json_set(speed, "key", ab_json_text(key));
        ab_json_set(entry, "node", ab_json_integer(node->target.node));
        ab_json_set(entry, "host", ab_json_text(node->host));
        ab_json_set(entry, "directory", ab_json_text(node->directory));
        ab_json_set(entry, "speed", speed);
        ab_json_append(list, entry);
    }
    return list;
}

/* Adds the directories that the retained versions of a view name. */
static ab_err view_retained(
    struct ab_controller *controller, const char *view, struct ab_json *list, struct ab_error *error)
{
    char path[PATH_BYTES];
    char **names = NULL;
    size_t count = 0;
    (void)snprintf(path, sizeof path, "/versions/%s", view);
    AB_TRY(ab_coordination_list(controller->coordination, path, &names, &count, error));
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        struct ab_json *manifest = NULL;
        (void)snprintf(path, sizeof path, "/versions/%s/%s", view, names[i]);
        err = ab_coordination_get_json(controller->coordination, path, &manifest, NULL, error);
        const struct ab_json *directories = ab_json_get(manifest, "directories");
        for (size_t d = 0; d < ab_json_count(directories); d++) {
            const char *named = ab_json_text_or(ab_json_get(ab_json_at(directories, d), "path"), "");
            ab_json_append(list, ab_json_text(named));
        }
        ab_json_destroy(manifest);
    }
    ab_coordination_names_free(names, count);
    return err;
}

static ab_err retained_set(struct ab_controller *controller, struct ab_json *reply, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_coordination_list(controller->coordination, "/versions", &names, &count, error));
    struct ab_json *list = ab_json_array();
    ab_json_set(reply, "retained", list);
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        err = view_retained(controller, names[i], list, error);
    }
    ab_coordination_names_free(names, count);
    return err;
}

/* All states, or an error: a partition that has none, or whose state cannot be read, is one. */
static ab_err states_read(struct ab_controller *controller, struct ab_facts *facts, struct ab_error *error)
{
    uint32_t count = controller->node.identity.partitions_count;
    ab_err err = ab_facts_read_partitions(facts, controller->coordination, count, error);
    if (err == AB_OK && facts->partitions_count != count) {
        err = ab_error_set(error, AB_UNAVAILABLE, "the states of %" PRIu32 " partitions cannot be read",
            count - facts->partitions_count);
    }
    return err;
}

static ab_err leaders_set(const struct ab_facts *facts, struct ab_json *reply, struct ab_error *error)
{
    struct ab_json *partitions = ab_json_get(reply, "partitions");
    for (size_t i = 0; i < ab_json_count(partitions); i++) {
        struct ab_json *entry = ab_json_at(partitions, i);
        uint64_t partition = ab_json_u64_or(ab_json_get(entry, "partition"), UINT64_MAX);
        if (partition >= facts->partitions_count) {
            return ab_error_set(error, AB_CORRUPT, "the cut's manifest names a partition that there is not");
        }
        /* Who leads now has every committed record, so the cut too, whoever led when it was taken. */
        ab_json_set(entry, "leader", ab_json_integer(facts->states[partition].leader));
    }
    return AB_OK;
}

ab_err ab_job_nodes_tell(struct ab_controller *controller, struct ab_json *reply, struct ab_error *error)
{
    struct ab_job_nodes nodes = {0};
    struct ab_facts facts = {0};
    char cluster[33];
    AB_TRY(ab_job_nodes_read(controller, &nodes, error));
    ab_cluster_id_format(controller->node.identity.cluster_id, cluster);
    ab_json_set(reply, "cluster", ab_json_text(cluster));
    ab_json_set(reply, "nodes", nodes_list(&nodes));
    ab_job_nodes_fini(&nodes);
    AB_TRY(retained_set(controller, reply, error));
    ab_err err = states_read(controller, &facts, error);
    if (err == AB_OK) {
        err = leaders_set(&facts, reply, error);
    }
    ab_facts_fini(&facts);
    return err;
}

/* ---- who holds what is published ---- */

static ab_err partition_hold(const struct ab_replica_set *state, const uint32_t *holders, size_t holders_count,
    bool *is_everywhere, struct ab_error *error)
{
    uint32_t count = ab_publication_holders(state, holders, holders_count, is_everywhere);
    return count >= state->min_isr
               ? AB_OK
               : ab_error_set(error, AB_INVALID,
                     "of shard %" PRIu32 " only %" PRIu32 " replicas are verified, and at least %" PRIu32
                     " have to be; nothing was published",
                     state->partition, count, state->min_isr);
}

ab_err ab_job_nodes_hold(struct ab_controller *controller, const struct ab_json *payload, bool *is_own_holder,
    bool *is_everywhere, struct ab_error *error)
{
    struct ab_facts facts = {0};
    const struct ab_json *list = ab_json_get(payload, "holders");
    size_t holders_count = ab_json_count(list);
    bool is_all = true;
    bool is_own = false;
    uint32_t *holders = ab_new_array(uint32_t, holders_count);
    for (size_t i = 0; i < holders_count; i++) {
        uint64_t node = ab_json_u64_or(ab_json_at(list, i), 0);
        holders[i] = node <= UINT32_MAX ? (uint32_t)node : AB_NODE_NONE;
        is_own = is_own || holders[i] == controller->node.config.cluster.node;
    }
    ab_err err = states_read(controller, &facts, error);
    for (uint32_t p = 0; p < facts.partitions_count && err == AB_OK; p++) {
        err = partition_hold(&facts.states[p], holders, holders_count, &is_all, error);
    }
    ab_facts_fini(&facts);
    ab_delete(holders);
    if (err == AB_OK) {
        *is_own_holder = is_own;
        *is_everywhere = is_all;
    }
    return err;
}
