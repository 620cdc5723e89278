#include "cluster/controller/creation.h"

#include "cluster/controller/acting.h"
#include "cluster/controller/changes.h"
#include "common/base/logging.h"
#include "common/base/random.h"

#include <stdio.h>
#include <stdlib.h>

#define FORMAT 1
#define PARTITIONS_PER_STEP 32u

static ab_err number_read(const struct ab_json *json, const char *key, uint32_t most, uint32_t *number)
{
    int64_t value = ab_json_integer_or(ab_json_get(json, key), 0);
    if (value < 1 || value > most) {
        return AB_CORRUPT;
    }
    *number = (uint32_t)value;
    return AB_OK;
}

static ab_err settings_decode(const struct ab_json *json, struct ab_cluster_settings *settings, struct ab_error *error)
{
    struct ab_cluster_settings made = {0};
    int64_t format = ab_json_integer_or(ab_json_get(json, "format"), 0);
    if (format > FORMAT) {
        return ab_error_set(error, AB_UNSUPPORTED, "%s is of a newer format", AB_CLUSTER_PATH);
    }
    bool is_right = format == FORMAT &&
                    ab_cluster_id_parse(ab_json_bytes(ab_json_get(json, "cluster")), made.cluster_id) == AB_OK &&
                    number_read(json, "partitions", AB_CLUSTER_PARTITIONS_MAX, &made.partitions_count) == AB_OK &&
                    number_read(json, "replicas", AB_REPLICATION_FACTOR_MAX, &made.replicas_count) == AB_OK &&
                    number_read(json, "min_isr", made.replicas_count, &made.min_isr) == AB_OK &&
                    number_read(json, "nodes", UINT32_MAX, &made.nodes_count) == AB_OK &&
                    made.replicas_count <= made.nodes_count;
    if (!is_right) {
        return ab_error_set(error, AB_CORRUPT, "%s does not describe a cluster", AB_CLUSTER_PATH);
    }
    *settings = made;
    return AB_OK;
}

ab_err ab_cluster_settings_read(struct ab_coordination *coordination, const struct ab_cluster_identity *identity,
    struct ab_cluster_settings *settings, struct ab_error *error)
{
    struct ab_json *json = NULL;
    struct ab_cluster_settings made;
    char theirs[33];
    AB_TRY(ab_coordination_get_json(coordination, AB_CLUSTER_PATH, &json, NULL, error));
    ab_err err = settings_decode(json, &made, error);
    ab_json_destroy(json);
    AB_TRY(err);
    if (memcmp(made.cluster_id, identity->cluster_id, sizeof made.cluster_id) != 0) {
        ab_cluster_id_format(made.cluster_id, theirs);
        return ab_error_set(
            error, AB_MISMATCH, "the coordination service belongs to another cluster, %s, than this node", theirs);
    }
    if (made.partitions_count != identity->partitions_count) {
        return ab_error_set(error, AB_MISMATCH, "the cluster has %u partitions, this node was made for %u",
            made.partitions_count, identity->partitions_count);
    }
    *settings = made;
    return AB_OK;
}

void ab_creation_state(const struct ab_cluster_settings *settings, const struct ab_live_node *const *live,
    uint32_t partition, struct ab_replica_set *state)
{
    *state = (struct ab_replica_set){.partition = partition,
        .assignment_version = 1,
        .leader_epoch = 1,
        .min_isr = settings->min_isr,
        .history_id = 1};
    for (uint32_t r = 0; r < settings->replicas_count; r++) {
        const struct ab_live_node *node = live[(partition + r) % settings->nodes_count];
        ab_replica_nodes_add(&state->replicas, node->node);
        ab_replica_members_add(&state->isr,
            (struct ab_replica_member){.node = node->node, .incarnation = node->incarnation, .disk_id = node->disk_id});
    }
    state->leader = state->isr.items[0].node;
    state->leader_incarnation = state->isr.items[0].incarnation;
}

static int node_compare(const void *a, const void *b)
{
    const struct ab_live_node *x = *(const struct ab_live_node *const *)a;
    const struct ab_live_node *y = *(const struct ab_live_node *const *)b;
    return (x->node > y->node) - (x->node < y->node);
}

/* One process of every node, by rising number: the caller's list (ab_delete). AB_UNAVAILABLE: not all are there. */
static ab_err nodes_gather(const struct ab_facts *facts, const struct ab_cluster_settings *settings,
    const struct ab_live_node ***gathered, struct ab_error *error)
{
    struct ab_live_set set;
    const struct ab_live_node **list = ab_new_array(const struct ab_live_node *, facts->live_count + 1);
    uint32_t count = 0;
    ab_live_set_init(&set, facts->live, facts->live_count);
    for (uint32_t i = 0; i < facts->live_count; i++) {
        if (ab_live_set_only(&set, facts->live[i].node) == &facts->live[i] && facts->live[i].damaged_count == 0) {
            list[count++] = &facts->live[i];
        }
    }
    ab_live_set_fini(&set);
    if (count < settings->nodes_count) {
        ab_delete(list);
        return ab_error_set(
            error, AB_UNAVAILABLE, "%u of the %u nodes of the new cluster are there", count, settings->nodes_count);
    }
    qsort(list, count, sizeof list[0], node_compare);
    *gathered = list;
    return AB_OK;
}

/* Every node must be registered, and still be the live one (R9) when the states are made. */
static void nodes_check(const struct ab_facts *facts, const struct ab_cluster_settings *settings,
    const struct ab_live_node *const *live, struct ab_changes *changes)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    for (uint32_t n = 0; n < settings->nodes_count; n++) {
        uint32_t at = ab_facts_live_find(facts, live[n]->node, live[n]->incarnation);
        ab_node_path(live[n]->node, path);
        ab_changes_add(changes, AB_COORDINATION_CHECK, path, (struct ab_bytes){0}, AB_COORDINATION_ANY_VERSION);
        ab_live_path(live[n]->node, live[n]->incarnation, path);
        ab_changes_add(changes, AB_COORDINATION_CHECK, path, (struct ab_bytes){0}, facts->live_versions[at]);
    }
}

static ab_err state_add(const struct ab_cluster_settings *settings, const struct ab_live_node *const *live,
    uint32_t partition, struct ab_changes *changes, struct ab_error *error)
{
    struct ab_replica_set state;
    struct ab_buffer text = {0};
    char path[AB_REGISTRATION_PATH_BYTES];
    ab_creation_state(settings, live, partition, &state);
    state.token = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
    ab_err err = ab_replica_set_encode(&state, &text, error);
    if (err == AB_OK) {
        ab_replica_set_path(partition, path);
        ab_changes_add(changes, AB_COORDINATION_CREATE, path, ab_buffer_view(&text), 0);
    }
    ab_buffer_fini(&text);
    return err;
}

/* Makes some of them in one multi. */
static ab_err states_create(const struct ab_facts *facts, const struct ab_cluster_settings *settings,
    const struct ab_live_node *const *live, struct ab_coordination *coordination, struct ab_changes *changes,
    uint32_t first, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    nodes_check(facts, settings, live, changes);
    for (uint32_t i = first; i < facts->missing_count && i < first + PARTITIONS_PER_STEP; i++) {
        (void)snprintf(path, sizeof path, "/partitions/%u", facts->missing[i]);
        AB_TRY(ab_coordination_ensure(coordination, path, error));
        AB_TRY(state_add(settings, live, facts->missing[i], changes, error));
    }
    return ab_changes_commit(changes, coordination, error);
}

ab_err ab_creation_do(const struct ab_facts *facts, const struct ab_cluster_settings *settings,
    struct ab_coordination *coordination, uint64_t epoch_version, struct ab_error *error)
{
    const struct ab_live_node **live = NULL;
    if (facts->missing_count == 0) {
        return AB_OK;
    }
    AB_TRY(nodes_gather(facts, settings, &live, error));
    ab_err err = AB_OK;
    for (uint32_t first = 0; first < facts->missing_count && err == AB_OK; first += PARTITIONS_PER_STEP) {
        struct ab_changes changes = {0};
        ab_changes_fence(&changes, epoch_version);
        err = states_create(facts, settings, live, coordination, &changes, first, error);
        ab_changes_fini(&changes);
    }
    ab_delete(live);
    if (err == AB_OK) {
        ab_info("partitions created", "%u, each with %u replicas on %u nodes, min_isr %u", facts->missing_count,
            settings->replicas_count, settings->nodes_count, settings->min_isr);
    }
    return err;
}
