#include "common/client/client_private.h"

#include "common/base/json.h"
#include "common/crypto/crypto.h"

/* ---- who serves ---- */

bool client_endpoint_equal(const struct client_endpoint *a, const struct client_endpoint *b)
{
    return strcmp(a->address, b->address) == 0 && memcmp(a->key, b->key, sizeof a->key) == 0;
}

struct client_serving *client_serving_current(struct anabranch_client *client)
{
    return &client->servings[client->serving_current];
}

void client_servings_close(struct anabranch_client *client)
{
    for (size_t i = 0; i < client->servings_count; i++) {
        ab_channel_close(client->servings[i].channel);
        client->servings[i].channel = NULL;
    }
}

ab_err client_serving_channel(struct anabranch_client *client, size_t at, struct ab_channel **channel)
{
    struct client_serving *serving = &client->servings[at];
    if (serving->channel == NULL) {
        AB_TRY(client_channel_to(client, &serving->endpoint, 0, &serving->channel));
    }
    *channel = serving->channel;
    return AB_OK;
}

void client_serving_add(struct anabranch_client *client, const struct client_endpoint *endpoint, bool is_fixed)
{
    for (size_t i = 0; i < client->servings_count; i++) {
        if (client_endpoint_equal(&client->servings[i].endpoint, endpoint)) {
            client->servings[i].is_fixed = client->servings[i].is_fixed || is_fixed;
            client->servings[i].is_told = true;
            return;
        }
    }
    if (client->servings_count < CLIENT_SERVINGS_MAX) {
        client->servings[client->servings_count++] =
            (struct client_serving){.endpoint = *endpoint, .is_fixed = is_fixed, .is_told = true};
    }
}

void client_serving_move(struct anabranch_client *client, size_t at, const struct client_endpoint *endpoint)
{
    struct client_serving *serving = &client->servings[at];
    if (!client_endpoint_equal(&serving->endpoint, endpoint)) {
        ab_channel_close(serving->channel);
        serving->channel = NULL;
        serving->endpoint = *endpoint;
    }
}

size_t client_serving_other(const struct anabranch_client *client)
{
    size_t count = client->servings_count;
    for (size_t i = 1; i < count; i++) {
        if (client->servings[(client->serving_current + i) % count].is_told) {
            return (client->serving_current + i) % count;
        }
    }
    return (client->serving_current + 1) % count;
}

/* Forgets those that nobody tells of any more, but for the one in use. */
static void servings_prune(struct anabranch_client *client)
{
    size_t kept = 0;
    size_t current = 0;
    for (size_t i = 0; i < client->servings_count; i++) {
        bool is_current = i == client->serving_current;
        if (!is_current && !client->servings[i].is_told && !client->servings[i].is_fixed) {
            ab_channel_close(client->servings[i].channel);
            continue;
        }
        current = is_current ? kept : current;
        client->servings[kept++] = client->servings[i];
    }
    client->servings_count = kept;
    client->serving_current = current;
}

/* ---- what an answer to VERB_CATALOG says of nodes ---- */

/* Reads {"address", <key_name>} of a daemon. */
static ab_err endpoint_read(
    const struct ab_json *entry, const char *key_name, struct client_endpoint *endpoint, struct ab_error *error)
{
    const char *address = ab_json_text_or(ab_json_get(entry, "address"), "");
    struct client_endpoint read = {0};
    if (address[0] == '\0' || strlen(address) >= sizeof read.address ||
        ab_crypto_key_parse(ab_json_bytes(ab_json_get(entry, key_name)), read.key) != AB_OK) {
        return ab_error_set(error, AB_INVALID, "malformed answer: where a daemon answers");
    }
    memcpy(read.address, address, strlen(address) + 1);
    *endpoint = read;
    return AB_OK;
}

/* The only node's speed leads everything; it keeps its place while nobody knows where it answers. */
static ab_err leaders_single(
    const struct ab_json *reply, struct client_endpoint *leaders, uint32_t partitions_count, struct ab_error *error)
{
    const struct ab_json *speed = ab_json_get(reply, "speed");
    struct client_endpoint endpoint = leaders[0];
    ab_err err = speed == NULL ? AB_OK : endpoint_read(speed, "public_key", &endpoint, error);
    if (err != AB_OK) {
        return ab_error_set(error, err, "malformed answer: speed");
    }
    for (uint32_t p = 0; p < partitions_count; p++) {
        leaders[p] = endpoint;
    }
    return AB_OK;
}

/* A partition that is not in the list has no leader now. */
static ab_err leaders_several(
    const struct ab_json *list, struct client_endpoint *leaders, uint32_t partitions_count, struct ab_error *error)
{
    memset(leaders, 0, partitions_count * sizeof *leaders);
    for (size_t i = 0; i < ab_json_count(list); i++) {
        const struct ab_json *entry = ab_json_at(list, i);
        uint64_t partition = ab_json_u64_or(ab_json_get(entry, "partition"), UINT64_MAX);
        if (partition >= partitions_count) {
            return ab_error_set(error, AB_INVALID, "malformed answer: leaders");
        }
        AB_TRY(endpoint_read(entry, "key", &leaders[partition], error));
    }
    return AB_OK;
}

static ab_err servings_take_in(struct anabranch_client *client, const struct ab_json *list)
{
    struct client_endpoint told[CLIENT_SERVINGS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < ab_json_count(list) && count < CLIENT_SERVINGS_MAX; i++) {
        AB_TRY(endpoint_read(ab_json_at(list, i), "key", &told[count++], &client->error));
    }
    for (size_t i = 0; i < client->servings_count; i++) {
        client->servings[i].is_told = false;
    }
    for (size_t i = 0; i < count; i++) {
        client_serving_add(client, &told[i], false);
    }
    servings_prune(client);
    return AB_OK;
}

ab_err client_nodes_take_in(struct anabranch_client *client, const struct ab_json *reply, uint32_t partitions_count)
{
    const struct ab_json *list = ab_json_get(reply, "leaders");
    struct client_endpoint *leaders = ab_new_array(struct client_endpoint, partitions_count);
    if (client->leaders != NULL) {
        memcpy(leaders, client->leaders, partitions_count * sizeof *leaders);
    }
    ab_err err = list == NULL ? leaders_single(reply, leaders, partitions_count, &client->error)
                              : leaders_several(list, leaders, partitions_count, &client->error);
    if (err == AB_OK && list != NULL) {
        err = servings_take_in(client, ab_json_get(reply, "serving"));
    }
    if (err != AB_OK) {
        ab_delete(leaders);
        return err;
    }
    ab_delete(client->leaders);
    client->leaders = leaders;
    client->is_single = list == NULL;
    if (client->seen == NULL) {
        client->seen = ab_new_array(uint64_t, partitions_count);
    }
    return AB_OK;
}

/* ---- what was seen ---- */

void client_saw(struct anabranch_client *client, uint64_t partition, uint64_t offset)
{
    if (partition < client->partitions_count && client->seen[partition] < offset) {
        client->seen[partition] = offset;
    }
}
