#include "serving/leaders.h"

#include "common/base/json.h"
#include "common/coordination/registration.h"
#include "common/coordination/replica_set.h"
#include "common/crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>

#define FORMAT 1

void ab_leaders_fini(struct ab_leaders *leaders)
{
    ab_delete(leaders->of_partitions);
    ab_delete(leaders->nodes);
    ab_delete(leaders->servings);
    *leaders = (struct ab_leaders){0};
}

const struct ab_leaders_node *ab_leaders_of(const struct ab_leaders *leaders, uint32_t partition)
{
    uint32_t at = partition < leaders->partitions_count ? leaders->of_partitions[partition] : AB_LEADER_NONE;
    return at == AB_LEADER_NONE ? NULL : &leaders->nodes[at];
}

bool ab_leaders_node_equal(const struct ab_leaders_node *a, const struct ab_leaders_node *b)
{
    return a->node == b->node && ab_hash128_equal(a->incarnation, b->incarnation) &&
           strcmp(a->endpoint.address, b->endpoint.address) == 0 &&
           memcmp(a->endpoint.public_key, b->endpoint.public_key, sizeof a->endpoint.public_key) == 0;
}

void ab_leaders_single(struct ab_leaders *leaders, uint32_t partitions_count, const struct ab_endpoint *speed)
{
    *leaders = (struct ab_leaders){.partitions_count = partitions_count, .is_single = true};
    leaders->of_partitions = ab_new_array(uint32_t, partitions_count);
    leaders->nodes = ab_new_array(struct ab_leaders_node, 1);
    leaders->nodes[0].endpoint = *speed;
    leaders->nodes_count = speed->is_known ? 1 : 0;
    for (uint32_t p = 0; p < partitions_count; p++) {
        leaders->of_partitions[p] = speed->is_known ? 0 : AB_LEADER_NONE;
    }
}

/* ---- reading ---- */

/* Processes that live, leading or not. */
struct living {
    struct ab_leaders_node *nodes; /* owned */
    uint32_t *places;              /* owned; of each in leaders->nodes; AB_LEADER_NONE = not there yet */
    size_t count;
};

static const char *endpoint_of(const struct ab_registration_endpoints *endpoints, const char *name)
{
    for (uint32_t i = 0; i < endpoints->count; i++) {
        if (strcmp(endpoints->items[i].name, name) == 0) {
            return endpoints->items[i].address;
        }
    }
    return "";
}

/* One of a daemon that does not say where it answers stays unknown. */
static struct ab_endpoint endpoint_make(const char *address, struct ab_bytes key)
{
    struct ab_endpoint endpoint = {0};
    if (address[0] != '\0' && strlen(address) < sizeof endpoint.address &&
        ab_crypto_key_parse(key, endpoint.public_key) == AB_OK) {
        (void)snprintf(endpoint.address, sizeof endpoint.address, "%s", address);
        endpoint.is_known = true;
    }
    return endpoint;
}

static ab_err living_add(struct living *living, struct ab_bytes text, struct ab_error *error)
{
    struct ab_live_node live = {0};
    ab_err err = ab_live_node_decode(text, &live, error);
    if (err == AB_OK) {
        struct ab_leaders_node *node = &living->nodes[living->count];
        *node = (struct ab_leaders_node){.node = live.node,
            .incarnation = live.incarnation,
            .endpoint = endpoint_make(
                endpoint_of(&live.endpoints, "speed"), ab_bytes_of_text(endpoint_of(&live.endpoints, "speed-key")))};
        living->places[living->count++] = AB_LEADER_NONE;
    }
    ab_live_node_fini(&live);
    return err;
}

typedef ab_err (*value_fn)(void *context, const char *name, struct ab_bytes value, struct ab_error *error);

/* Gives every child of a folder to a function; a folder that is not there has none, a child that has gone is passed
 * over. `begin`, if any, is told of the number first. */
static ab_err children_each(struct ab_coordination *coordination, const char *folder,
    void (*begin)(void *context, size_t count), value_fn each, void *context, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    ab_err err = ab_coordination_children(coordination, folder, &names, &count, error);
    if (err == AB_NOT_FOUND) {
        *error = (struct ab_error){0};
        return AB_OK;
    }
    AB_TRY(err);
    begin(context, count);
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        struct ab_buffer value = {0};
        char *path = ab_new_format("%s/%s", folder, names[i]);
        err = ab_coordination_get(coordination, path, &value, NULL, error);
        if (err == AB_NOT_FOUND) {
            *error = (struct ab_error){0};
            err = AB_OK;
        } else if (err == AB_OK) {
            err = each(context, names[i], ab_buffer_view(&value), error);
            err = err == AB_OK ? AB_OK : ab_error_wrap(error, err, "%s", path);
        }
        ab_delete(path);
        ab_buffer_fini(&value);
    }
    ab_coordination_names_free(names, count);
    return err;
}

static void living_begin(void *context, size_t count)
{
    struct living *living = context;
    living->nodes = ab_new_array(struct ab_leaders_node, count + 1);
    living->places = ab_new_array(uint32_t, count + 1);
}

static ab_err living_each(void *context, const char *name, struct ab_bytes value, struct ab_error *error)
{
    (void)name; /* the value says the same */
    return living_add(context, value, error);
}

static void servings_begin(void *context, size_t count)
{
    struct ab_leaders *leaders = context;
    leaders->servings = ab_new_array(struct ab_leaders_node, count + 1);
}

static ab_err servings_each(void *context, const char *name, struct ab_bytes value, struct ab_error *error)
{
    struct ab_leaders *leaders = context;
    struct ab_json *json = NULL;
    AB_TRY(ab_json_parse(value, &json, error));
    struct ab_leaders_node node = {.node = (uint32_t)strtoul(name, NULL, 10),
        .endpoint =
            endpoint_make(ab_json_text_or(ab_json_get(json, "address"), ""), ab_json_bytes(ab_json_get(json, "key")))};
    bool is_ours = ab_json_integer_or(ab_json_get(json, "format"), 0) == FORMAT;
    ab_json_destroy(json);
    if (!is_ours || node.node == 0 || !node.endpoint.is_known) {
        return ab_error_set(error, AB_CORRUPT, "it does not say where a node serves");
    }
    uint32_t at = leaders->servings_count++;
    for (; at > 0 && leaders->servings[at - 1].node > node.node; at--) { /* names are sorted as text */
        leaders->servings[at] = leaders->servings[at - 1];
    }
    leaders->servings[at] = node;
    return AB_OK;
}

/* The place among the leading nodes of the process that a state names; AB_LEADER_NONE when it does not live. */
static uint32_t leader_place(
    struct ab_leaders *leaders, const struct living *living, const struct ab_replica_set *state)
{
    for (size_t i = 0; i < living->count && state->leader != AB_NODE_NONE; i++) {
        const struct ab_leaders_node *node = &living->nodes[i];
        if (node->node == state->leader && ab_hash128_equal(node->incarnation, state->leader_incarnation) &&
            node->endpoint.is_known) {
            if (living->places[i] == AB_LEADER_NONE) {
                living->places[i] = leaders->nodes_count;
                leaders->nodes[leaders->nodes_count++] = *node;
            }
            return living->places[i];
        }
    }
    return AB_LEADER_NONE;
}

static ab_err partition_read(struct ab_coordination *coordination, struct ab_leaders *leaders,
    const struct living *living, uint32_t partition, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_replica_set state;
    ab_replica_set_path(partition, path);
    ab_err err = ab_coordination_get(coordination, path, &text, NULL, error);
    if (err == AB_OK) {
        err = ab_replica_set_decode(ab_buffer_view(&text), &state, error);
        err = err == AB_OK ? AB_OK : ab_error_wrap(error, err, "%s", path);
    }
    ab_buffer_fini(&text);
    if (err == AB_NOT_FOUND) { /* not assigned yet */
        *error = (struct ab_error){0};
        return AB_OK;
    }
    AB_TRY(err);
    leaders->of_partitions[partition] = leader_place(leaders, living, &state);
    return AB_OK;
}

ab_err ab_leaders_read(
    struct ab_coordination *coordination, uint32_t partitions_count, struct ab_leaders *leaders, struct ab_error *error)
{
    struct ab_leaders read = {.partitions_count = partitions_count};
    struct living living = {0};
    read.of_partitions = ab_new_array(uint32_t, partitions_count);
    ab_err err = children_each(coordination, "/live", living_begin, living_each, &living, error);
    read.nodes = ab_new_array(struct ab_leaders_node, living.count + 1);
    for (uint32_t p = 0; p < partitions_count; p++) {
        read.of_partitions[p] = AB_LEADER_NONE;
    }
    for (uint32_t p = 0; p < partitions_count && err == AB_OK; p++) {
        err = partition_read(coordination, &read, &living, p, error);
    }
    if (err == AB_OK) {
        err = children_each(coordination, "/serving", servings_begin, servings_each, &read, error);
    }
    ab_delete(living.nodes);
    ab_delete(living.places);
    if (err != AB_OK) {
        ab_leaders_fini(&read);
        return err;
    }
    *leaders = read;
    return AB_OK;
}

/* ---- registering ---- */

ab_err ab_leaders_register_serving(
    struct ab_coordination *coordination, uint32_t node, const struct ab_endpoint *endpoint, struct ab_error *error)
{
    char key[2 * AB_WIRE_KEY_BYTES + 1];
    struct ab_buffer text = {0};
    ab_crypto_key_format(endpoint->public_key, key);
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "format", ab_json_integer(FORMAT));
    ab_json_set(json, "address", ab_json_text(endpoint->address));
    ab_json_set(json, "key", ab_json_text(key));
    ab_json_write(json, 0, &text);
    ab_json_destroy(json);
    char *path = ab_new_format("/serving/%u", node);
    ab_err err = ab_coordination_ensure(coordination, "/serving", error);
    if (err == AB_OK) {
        err = ab_coordination_delete(coordination, path, AB_COORDINATION_ANY_VERSION, error);
    }
    if (err == AB_OK || err == AB_NOT_FOUND) {
        *error = (struct ab_error){0};
        err = ab_coordination_create(coordination, path, ab_buffer_view(&text), true, error);
    }
    ab_delete(path);
    ab_buffer_fini(&text);
    return err;
}
