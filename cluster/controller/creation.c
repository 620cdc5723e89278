#include "cluster/controller/creation.h"

#include "cluster/controller/acting.h"
#include "cluster/controller/changes.h"
#include "common/base/logging.h"
#include "common/base/random.h"

#include <stdio.h>

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

/* The nodes of a new cluster, one process each. */
struct founders {
    struct ab_node_registration *registrations; /* owned; racks and weights */
    struct ab_placement_node *nodes;            /* owned */
    uint64_t *live_versions;                    /* owned */
    uint32_t count;
};

static void founders_fini(struct founders *founders)
{
    ab_delete(founders->registrations);
    ab_delete(founders->nodes);
    ab_delete(founders->live_versions);
    *founders = (struct founders){0};
}

static ab_err registration_read(struct ab_coordination *coordination, uint32_t node,
    struct ab_node_registration *registration, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    ab_node_path(node, path);
    ab_err err = ab_coordination_get(coordination, path, &text, NULL, error);
    if (err == AB_OK) {
        err = ab_node_registration_decode(ab_buffer_view(&text), registration, error);
    }
    ab_buffer_fini(&text);
    return err == AB_OK ? AB_OK : ab_error_wrap(error, err, "read %s", path);
}

/* Adds the process of a node that is registered, is the only one of that node, and lost nothing. */
static ab_err founder_add(struct founders *founders, struct ab_coordination *coordination,
    const struct ab_live_node *live, uint64_t live_version, struct ab_error *error)
{
    struct ab_node_registration *registration = &founders->registrations[founders->count];
    AB_TRY(registration_read(coordination, live->node, registration, error));
    founders->nodes[founders->count] = (struct ab_placement_node){.node = live->node,
        .weight = registration->weight,
        .rack = registration->rack,
        .member = {.node = live->node, .incarnation = live->incarnation, .disk_id = live->disk_id}};
    founders->live_versions[founders->count++] = live_version;
    return AB_OK;
}

/* AB_UNAVAILABLE: not all are there. */
static ab_err founders_gather(const struct ab_facts *facts, const struct ab_cluster_settings *settings,
    struct ab_coordination *coordination, struct founders *founders, struct ab_error *error)
{
    struct ab_live_set set;
    ab_err err = AB_OK;
    founders->registrations = ab_new_array(struct ab_node_registration, facts->live_count + 1);
    founders->nodes = ab_new_array(struct ab_placement_node, facts->live_count + 1);
    founders->live_versions = ab_new_array(uint64_t, facts->live_count + 1);
    ab_live_set_init(&set, facts->live, facts->live_count);
    for (uint32_t i = 0; i < facts->live_count && err == AB_OK; i++) {
        const struct ab_live_node *live = &facts->live[i];
        if (ab_live_set_only(&set, live->node) == live && live->damaged_count == 0) {
            err = founder_add(founders, coordination, live, facts->live_versions[i], error);
        }
    }
    ab_live_set_fini(&set);
    AB_TRY(err);
    return founders->count >= settings->nodes_count
               ? AB_OK
               : ab_error_set(error, AB_UNAVAILABLE, "%u of the %u nodes of the new cluster are there", founders->count,
                     settings->nodes_count);
}

/* Every node must still be the live one (R9) when the states are made. */
static void founders_check(const struct founders *founders, struct ab_changes *changes)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    for (uint32_t n = 0; n < founders->count; n++) {
        ab_live_path(founders->nodes[n].node, founders->nodes[n].member.incarnation, path);
        ab_changes_add(changes, AB_COORDINATION_CHECK, path, (struct ab_bytes){0}, founders->live_versions[n]);
    }
}

ab_err ab_creation_states(const struct ab_cluster_settings *settings, const struct ab_placement_node *nodes,
    uint32_t nodes_count, struct ab_replica_set *states, struct ab_error *error)
{
    const struct ab_placement_request request = {.nodes = nodes,
        .nodes_count = nodes_count,
        .partitions_count = settings->partitions_count,
        .replication_factor = settings->replicas_count,
        .min_isr = settings->min_isr};
    AB_TRY(ab_placement_create(&request, states, NULL, error));
    for (uint32_t p = 0; p < settings->partitions_count; p++) {
        struct ab_replica_set *state = &states[p];
        uint32_t first = ab_replica_members_find(&state->isr, state->replicas.items[0]);
        state->leader = state->isr.items[first].node;
        state->leader_incarnation = state->isr.items[first].incarnation;
        state->leader_epoch = 1;
    }
    return AB_OK;
}

static ab_err state_add(struct ab_replica_set *state, struct ab_changes *changes, struct ab_error *error)
{
    struct ab_buffer text = {0};
    char path[AB_REGISTRATION_PATH_BYTES];
    state->token = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
    ab_err err = ab_replica_set_encode(state, &text, error);
    if (err == AB_OK) {
        ab_replica_set_path(state->partition, path);
        ab_changes_add(changes, AB_COORDINATION_CREATE, path, ab_buffer_view(&text), 0);
    }
    ab_buffer_fini(&text);
    return err;
}

/* Makes some of the missing states in one multi. */
static ab_err states_create(const struct founders *founders, struct ab_replica_set *states, const uint32_t *missing,
    uint32_t missing_count, struct ab_coordination *coordination, struct ab_changes *changes, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    founders_check(founders, changes);
    for (uint32_t i = 0; i < missing_count; i++) {
        (void)snprintf(path, sizeof path, "/partitions/%u", missing[i]);
        AB_TRY(ab_coordination_ensure(coordination, path, error));
        AB_TRY(state_add(&states[missing[i]], changes, error));
    }
    return ab_changes_commit(changes, coordination, error);
}

ab_err ab_creation_do(const struct ab_facts *facts, const struct ab_cluster_settings *settings,
    struct ab_coordination *coordination, uint64_t epoch_version, struct ab_error *error)
{
    struct founders founders = {0};
    if (facts->missing_count == 0) {
        return AB_OK;
    }
    struct ab_replica_set *states = ab_new_array(struct ab_replica_set, settings->partitions_count);
    ab_err err = founders_gather(facts, settings, coordination, &founders, error);
    if (err == AB_OK) {
        err = ab_creation_states(settings, founders.nodes, founders.count, states, error);
    }
    for (uint32_t first = 0; first < facts->missing_count && err == AB_OK; first += PARTITIONS_PER_STEP) {
        struct ab_changes changes = {0};
        uint32_t left = facts->missing_count - first;
        ab_changes_fence(&changes, epoch_version);
        err = states_create(&founders, states, facts->missing + first,
            left < PARTITIONS_PER_STEP ? left : PARTITIONS_PER_STEP, coordination, &changes, error);
        ab_changes_fini(&changes);
    }
    ab_delete(states);
    founders_fini(&founders);
    if (err == AB_OK) {
        ab_info("partitions created", "%u, each with %u replicas on %u nodes, min_isr %u", facts->missing_count,
            settings->replicas_count, settings->nodes_count, settings->min_isr);
    }
    return err;
}
