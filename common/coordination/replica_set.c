#include "common/coordination/replica_set.h"

#include "common/coordination/fact.h"

#include "common/base/assert.h"

#include <inttypes.h>
#include <stdio.h>

uint32_t ab_replica_nodes_find(const struct ab_replica_nodes *nodes, uint32_t node)
{
    for (uint32_t i = 0; i < nodes->count; i++) {
        if (nodes->items[i] == node) {
            return i;
        }
    }
    return UINT32_MAX;
}

uint32_t ab_replica_members_find(const struct ab_replica_members *members, uint32_t node)
{
    for (uint32_t i = 0; i < members->count; i++) {
        if (members->items[i].node == node) {
            return i;
        }
    }
    return UINT32_MAX;
}

void ab_replica_nodes_add(struct ab_replica_nodes *nodes, uint32_t node)
{
    AB_ASSERT(nodes->count < AB_REPLICAS_MAX);
    nodes->items[nodes->count++] = node;
}

void ab_replica_members_add(struct ab_replica_members *members, struct ab_replica_member member)
{
    AB_ASSERT(members->count < AB_REPLICAS_MAX);
    members->items[members->count++] = member;
}

void ab_replica_nodes_remove(struct ab_replica_nodes *nodes, uint32_t node)
{
    uint32_t place = ab_replica_nodes_find(nodes, node);
    if (place == UINT32_MAX) {
        return;
    }
    nodes->count--;
    memmove(&nodes->items[place], &nodes->items[place + 1], (nodes->count - place) * sizeof nodes->items[0]);
}

void ab_replica_members_remove(struct ab_replica_members *members, uint32_t node)
{
    uint32_t place = ab_replica_members_find(members, node);
    if (place == UINT32_MAX) {
        return;
    }
    members->count--;
    memmove(&members->items[place], &members->items[place + 1], (members->count - place) * sizeof members->items[0]);
}

static bool member_equal(const struct ab_replica_member *a, const struct ab_replica_member *b)
{
    return a->node == b->node && ab_hash128_equal(a->incarnation, b->incarnation) &&
           ab_hash128_equal(a->disk_id, b->disk_id);
}

bool ab_replica_members_equal(const struct ab_replica_members *a, const struct ab_replica_members *b)
{
    for (uint32_t i = 0; i < a->count && i < b->count; i++) {
        if (!member_equal(&a->items[i], &b->items[i])) {
            return false;
        }
    }
    return a->count == b->count;
}

bool ab_replica_nodes_equal(const struct ab_replica_nodes *a, const struct ab_replica_nodes *b)
{
    return a->count == b->count && memcmp(a->items, b->items, a->count * sizeof a->items[0]) == 0;
}

void ab_replica_set_path(uint32_t partition, char path[AB_REGISTRATION_PATH_BYTES])
{
    (void)snprintf(path, AB_REGISTRATION_PATH_BYTES, "/partitions/%" PRIu32 "/state", partition);
}

static ab_err nodes_check(const struct ab_replica_nodes *nodes, const char *what, struct ab_error *error)
{
    if (nodes->count > AB_REPLICAS_MAX) {
        return ab_error_set(error, AB_CORRUPT, "%s: more than %u", what, AB_REPLICAS_MAX);
    }
    for (uint32_t i = 0; i < nodes->count; i++) {
        if (nodes->items[i] == AB_NODE_NONE || ab_replica_nodes_find(nodes, nodes->items[i]) != i) {
            return ab_error_set(
                error, AB_CORRUPT, "%s: node %" PRIu32 " is none, or there twice", what, nodes->items[i]);
        }
    }
    return AB_OK;
}

static ab_err members_check(const struct ab_replica_set *state, const struct ab_replica_members *members,
    const char *what, struct ab_error *error)
{
    if (members->count > AB_REPLICAS_MAX) {
        return ab_error_set(error, AB_CORRUPT, "%s: more than %u", what, AB_REPLICAS_MAX);
    }
    for (uint32_t i = 0; i < members->count; i++) {
        const struct ab_replica_member *member = &members->items[i];
        if (!ab_replica_nodes_has(&state->replicas, member->node)) {
            return ab_error_set(error, AB_CORRUPT, "%s: node %" PRIu32 " is no replica", what, member->node);
        }
        if (ab_replica_members_find(members, member->node) != i) {
            return ab_error_set(error, AB_CORRUPT, "%s: node %" PRIu32 " is there twice", what, member->node);
        }
        if (!ab_fact_id_is_set(member->incarnation) || !ab_fact_id_is_set(member->disk_id)) {
            return ab_error_set(
                error, AB_CORRUPT, "%s: node %" PRIu32 " has no incarnation or no disk", what, member->node);
        }
    }
    return AB_OK;
}

static ab_err assignment_check(const struct ab_replica_set *state, struct ab_error *error)
{
    if (state->partition >= AB_PARTITIONS_MAX) {
        return ab_error_set(error, AB_CORRUPT, "partition: below %u", AB_PARTITIONS_MAX);
    }
    AB_TRY(nodes_check(&state->replicas, "replicas", error));
    AB_TRY(nodes_check(&state->learners, "learners", error));
    if (state->replicas.count == 0) {
        return ab_error_set(error, AB_CORRUPT, "no replica");
    }
    for (uint32_t i = 0; i < state->learners.count; i++) {
        if (ab_replica_nodes_has(&state->replicas, state->learners.items[i])) {
            return ab_error_set(error, AB_CORRUPT, "learners: node %" PRIu32 " is a replica", state->learners.items[i]);
        }
    }
    if (state->min_isr == 0 || state->min_isr > state->replicas.count) {
        return ab_error_set(
            error, AB_CORRUPT, "min_isr %" PRIu32 " of %" PRIu32 " replicas", state->min_isr, state->replicas.count);
    }
    if (state->assignment_version == 0 || state->history_id == 0 || !ab_fact_id_is_set(state->token)) {
        return ab_error_set(error, AB_CORRUPT, "assignment_version, history_id or token is zero");
    }
    return AB_OK;
}

static ab_err leader_check(const struct ab_replica_set *state, struct ab_error *error)
{
    if (state->leader == AB_NODE_NONE) {
        return !ab_fact_id_is_set(state->leader_incarnation)
                   ? AB_OK
                   : ab_error_set(error, AB_CORRUPT, "leader_incarnation without a leader");
    }
    if (state->leader_epoch == 0) {
        return ab_error_set(error, AB_CORRUPT, "a leader in epoch 0");
    }
    uint32_t place = ab_replica_members_find(&state->isr, state->leader);
    if (place == UINT32_MAX) {
        return ab_error_set(error, AB_CORRUPT, "leader %" PRIu32 " is not in the isr", state->leader);
    }
    if (!ab_hash128_equal(state->isr.items[place].incarnation, state->leader_incarnation)) {
        return ab_error_set(
            error, AB_CORRUPT, "leader %" PRIu32 " is in the isr under another incarnation", state->leader);
    }
    return AB_OK;
}

ab_err ab_replica_set_validate(const struct ab_replica_set *state, struct ab_error *error)
{
    AB_TRY(assignment_check(state, error));
    AB_TRY(members_check(state, &state->isr, "isr", error));
    AB_TRY(members_check(state, &state->elr, "elr", error));
    if (state->isr.count == 0) {
        return ab_error_set(error, AB_CORRUPT, "isr: empty");
    }
    if (state->elr.count > 0 && state->isr.count >= state->min_isr) {
        return ab_error_set(error, AB_CORRUPT, "elr: not empty although the isr has min_isr members");
    }
    for (uint32_t i = 0; i < state->elr.count; i++) {
        if (ab_replica_members_has(&state->isr, state->elr.items[i].node)) {
            return ab_error_set(error, AB_CORRUPT, "elr: node %" PRIu32 " is in the isr", state->elr.items[i].node);
        }
    }
    return leader_check(state, error);
}

static void members_set(struct ab_json *value, const char *key, const struct ab_replica_members *members)
{
    struct ab_json *list = ab_json_array();
    for (uint32_t i = 0; i < members->count; i++) {
        struct ab_json *member = ab_json_object();
        ab_json_set(member, "node", ab_json_integer(members->items[i].node));
        ab_fact_set_id(member, "incarnation", members->items[i].incarnation);
        ab_fact_set_id(member, "disk", members->items[i].disk_id);
        ab_json_append(list, member);
    }
    ab_json_set(value, key, list);
}

static ab_err members_read(
    const struct ab_json *value, const char *key, struct ab_replica_members *members, struct ab_error *error)
{
    const struct ab_json *list = ab_json_get(value, key);
    if (!ab_json_is_array(list) || ab_json_count(list) > AB_REPLICAS_MAX) {
        return ab_error_set(error, AB_CORRUPT, "%s: no list of at most %u", key, AB_REPLICAS_MAX);
    }
    for (size_t i = 0; i < ab_json_count(list); i++) {
        const struct ab_json *member = ab_json_at(list, i);
        struct ab_replica_member *read = &members->items[i];
        if (!ab_json_is_object(member) || ab_json_count(member) != 3) {
            return ab_error_set(error, AB_CORRUPT, "%s: a member is not {node, incarnation, disk}", key);
        }
        AB_TRY(ab_fact_u32(member, "node", 1, UINT32_MAX, &read->node, error));
        AB_TRY(ab_fact_id(member, "incarnation", &read->incarnation, error));
        AB_TRY(ab_fact_id(member, "disk", &read->disk_id, error));
    }
    members->count = (uint32_t)ab_json_count(list);
    return AB_OK;
}

ab_err ab_replica_set_encode(const struct ab_replica_set *state, struct ab_buffer *out, struct ab_error *error)
{
    if (ab_replica_set_validate(state, error) != AB_OK) {
        return ab_error_wrap(error, AB_USAGE, "encode state of partition %" PRIu32, state->partition);
    }
    struct ab_json *value = ab_fact_object();
    ab_json_set(value, "partition", ab_json_integer(state->partition));
    ab_fact_set_numbers(value, "replicas", state->replicas.items, state->replicas.count);
    ab_fact_set_numbers(value, "learners", state->learners.items, state->learners.count);
    ab_json_set_u64(value, "assignment_version", state->assignment_version);
    if (state->leader == AB_NODE_NONE) {
        ab_json_set(value, "leader", ab_json_null());
        ab_json_set(value, "leader_incarnation", ab_json_null());
    } else {
        ab_json_set(value, "leader", ab_json_integer(state->leader));
        ab_fact_set_id(value, "leader_incarnation", state->leader_incarnation);
    }
    ab_json_set_u64(value, "leader_epoch", state->leader_epoch);
    members_set(value, "isr", &state->isr);
    members_set(value, "elr", &state->elr);
    ab_json_set(value, "min_isr", ab_json_integer(state->min_isr));
    ab_json_set_u64(value, "history_id", state->history_id);
    ab_fact_set_id(value, "token", state->token);
    return ab_fact_write(value, out);
}

static ab_err leader_read(const struct ab_json *value, struct ab_replica_set *state, struct ab_error *error)
{
    const struct ab_json *leader = ab_json_get(value, "leader");
    if (leader != NULL && ab_json_is_null(leader)) {
        const struct ab_json *incarnation = ab_json_get(value, "leader_incarnation");
        return incarnation != NULL && ab_json_is_null(incarnation)
                   ? AB_OK
                   : ab_error_set(error, AB_CORRUPT, "leader_incarnation without a leader");
    }
    AB_TRY(ab_fact_u32(value, "leader", 1, UINT32_MAX, &state->leader, error));
    return ab_fact_id(value, "leader_incarnation", &state->leader_incarnation, error);
}

static ab_err state_read(const struct ab_json *value, struct ab_replica_set *state, struct ab_error *error)
{
    AB_TRY(ab_fact_u32(value, "partition", 0, AB_PARTITIONS_MAX - 1, &state->partition, error));
    AB_TRY(ab_fact_numbers(
        value, "replicas", 1, UINT32_MAX, AB_REPLICAS_MAX, state->replicas.items, &state->replicas.count, error));
    AB_TRY(ab_fact_numbers(
        value, "learners", 1, UINT32_MAX, AB_REPLICAS_MAX, state->learners.items, &state->learners.count, error));
    AB_TRY(ab_fact_u64(value, "assignment_version", &state->assignment_version, error));
    AB_TRY(leader_read(value, state, error));
    AB_TRY(ab_fact_u64(value, "leader_epoch", &state->leader_epoch, error));
    AB_TRY(members_read(value, "isr", &state->isr, error));
    AB_TRY(members_read(value, "elr", &state->elr, error));
    AB_TRY(ab_fact_u32(value, "min_isr", 1, AB_REPLICAS_MAX, &state->min_isr, error));
    AB_TRY(ab_fact_u64(value, "history_id", &state->history_id, error));
    AB_TRY(ab_fact_id(value, "token", &state->token, error));
    return ab_replica_set_validate(state, error);
}

ab_err ab_replica_set_decode(struct ab_bytes text, struct ab_replica_set *state, struct ab_error *error)
{
    struct ab_json *value = NULL;
    struct ab_replica_set read = {0};
    ab_err err = ab_fact_parse(text, 13, &value, error);
    if (err == AB_OK) {
        err = state_read(value, &read, error);
    }
    ab_json_destroy(value);
    if (err != AB_OK) {
        return ab_error_wrap(error, err, "state of a partition");
    }
    *state = read;
    return AB_OK;
}
