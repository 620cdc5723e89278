#include "cluster/controller/facts.h"

#include "cluster/controller/changes.h"
#include "common/base/logging.h"

#include <string.h>

static void live_clear(struct ab_facts *facts)
{
    for (uint32_t i = 0; i < facts->live_count; i++) {
        ab_live_node_fini(&facts->live[i]);
    }
    ab_delete(facts->live);
    ab_delete(facts->live_versions);
    facts->live = NULL;
    facts->live_versions = NULL;
    facts->live_count = 0;
}

static void partitions_clear(struct ab_facts *facts)
{
    ab_delete(facts->states);
    ab_delete(facts->partitions);
    ab_delete(facts->missing);
    facts->states = NULL;
    facts->partitions = NULL;
    facts->missing = NULL;
    facts->partitions_count = 0;
    facts->missing_count = 0;
}

void ab_facts_fini(struct ab_facts *facts)
{
    live_clear(facts);
    partitions_clear(facts);
}

/* True for what concerns this one value, not the service. */
static bool is_of_value(ab_err err)
{
    return err == AB_CORRUPT || err == AB_UNSUPPORTED;
}

static ab_err live_read(struct ab_coordination *coordination, const char *name, struct ab_live_node *live,
    uint64_t *version, struct ab_error *error)
{
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat = {0};
    char *path = ab_new_format("/live/%s", name);
    ab_err err = ab_coordination_get(coordination, path, &text, &stat, error);
    if (err == AB_OK) {
        err = ab_live_node_decode(ab_buffer_view(&text), live, error);
    }
    if (err != AB_OK && err != AB_NOT_FOUND) {
        err = ab_error_wrap(error, err, "read %s", path);
    }
    ab_delete(path);
    ab_buffer_fini(&text);
    *version = stat.version;
    return err;
}

ab_err ab_facts_read_live(struct ab_facts *facts, struct ab_coordination *coordination, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    live_clear(facts);
    AB_TRY(ab_coordination_list(coordination, "/live", &names, &count, error));
    facts->live = ab_new_array(struct ab_live_node, count);
    facts->live_versions = ab_new_array(uint64_t, count);
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        struct ab_error attempt = {0};
        struct ab_live_node *live = &facts->live[facts->live_count];
        err = live_read(coordination, names[i], live, &facts->live_versions[facts->live_count], &attempt);
        if (err == AB_OK) {
            facts->live_count++;
        } else if (is_of_value(err)) {
            ab_warn("live node passed over", "%s", attempt.text);
            err = AB_OK;
        } else if (err == AB_NOT_FOUND) {
            err = AB_OK; /* it went in between */
        } else {
            err = ab_error_set(error, err, "%s", attempt.text);
        }
    }
    ab_coordination_names_free(names, count);
    if (err != AB_OK) {
        live_clear(facts);
    }
    return err;
}

ab_err ab_facts_state_read(struct ab_coordination *coordination, uint32_t partition, struct ab_replica_set *state,
    uint64_t *version, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat = {0};
    ab_replica_set_path(partition, path);
    ab_err err = ab_coordination_get(coordination, path, &text, &stat, error);
    if (err == AB_OK) {
        err = ab_replica_set_decode(ab_buffer_view(&text), state, error);
    }
    if (err == AB_OK && state->partition != partition) {
        err = ab_error_set(error, AB_CORRUPT, "it is the state of partition %u", state->partition);
    }
    if (err != AB_OK && err != AB_NOT_FOUND) {
        err = ab_error_wrap(error, err, "read %s", path);
    }
    ab_buffer_fini(&text);
    *version = stat.version;
    return err;
}

ab_err ab_facts_read_partitions(
    struct ab_facts *facts, struct ab_coordination *coordination, uint32_t partitions_count, struct ab_error *error)
{
    partitions_clear(facts);
    facts->states = ab_new_array(struct ab_replica_set, partitions_count);
    facts->partitions = ab_new_array(struct ab_partition_fact, partitions_count);
    facts->missing = ab_new_array(uint32_t, partitions_count);
    for (uint32_t p = 0; p < partitions_count; p++) {
        struct ab_error attempt = {0};
        uint64_t version = 0;
        struct ab_replica_set *state = &facts->states[facts->partitions_count];
        ab_err err = ab_facts_state_read(coordination, p, state, &version, &attempt);
        if (err == AB_OK) {
            facts->partitions[facts->partitions_count++] =
                (struct ab_partition_fact){.state = state, .version = version};
        } else if (err == AB_NOT_FOUND) {
            facts->missing[facts->missing_count++] = p;
        } else if (is_of_value(err)) {
            ab_error_log("partition passed over", "%s", attempt.text);
        } else {
            partitions_clear(facts);
            return ab_error_set(error, err, "%s", attempt.text);
        }
    }
    return AB_OK;
}

uint32_t ab_facts_live_find(const struct ab_facts *facts, uint32_t node, struct ab_hash128 incarnation)
{
    for (uint32_t i = 0; i < facts->live_count; i++) {
        if (facts->live[i].node == node && ab_hash128_equal(facts->live[i].incarnation, incarnation)) {
            return i;
        }
    }
    return UINT32_MAX;
}

const char *ab_registration_endpoint_find(const struct ab_registration_endpoints *endpoints, const char *name)
{
    for (uint32_t i = 0; i < endpoints->count; i++) {
        if (strcmp(endpoints->items[i].name, name) == 0) {
            return endpoints->items[i].address;
        }
    }
    return "";
}
