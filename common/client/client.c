#include "common/client/client_private.h"

#include "common/base/json.h"
#include "common/crypto/key_file.h"
#include "common/wire/node.h"

#define REFRESH_TRIES_MAX 3u /* serving nodes that are asked one after the other */
#define FIRST_FETCH_MS 500   /* then the directory is looked at again */
#define USAGE_TEXT "give a data directory, or an address, a server key and a key file"
#define OPEN_PAUSE_US (50 * AB_US_PER_MS)

enum anabranch_result client_result_of(ab_err err)
{
    switch (ab_err_kind_of(err)) {
    case AB_KIND_NONE:
        return ANABRANCH_OK;
    case AB_KIND_RETRY:
        return err == AB_OUTCOME_UNKNOWN ? ANABRANCH_UNKNOWN : ANABRANCH_TIMEOUT;
    case AB_KIND_CALLER:
        return err == AB_USAGE ? ANABRANCH_USAGE : ANABRANCH_DEFINITELY_NOT;
    case AB_KIND_FULL:
    case AB_KIND_PEER:
    case AB_KIND_ENVIRONMENT:
    case AB_KIND_CORRUPT:
    case AB_KIND_GONE:
        return ANABRANCH_DEFINITELY_NOT;
    }
    return ANABRANCH_DEFINITELY_NOT;
}

const char *anabranch_result_text(enum anabranch_result result)
{
    switch (result) {
    case ANABRANCH_OK:
        return "done";
    case ANABRANCH_DEFINITELY_NOT:
        return "definitely not done";
    case ANABRANCH_UNKNOWN:
        return "outcome unknown";
    case ANABRANCH_TIMEOUT:
        return "no answer in time";
    case ANABRANCH_USAGE:
        return "wrong usage";
    case ANABRANCH_END:
        return "no more rows";
    }
    return "unknown result";
}

/* On one machine: where serving answers, from the cluster's directory. */
static ab_err directory_endpoint(struct anabranch_client *client)
{
    struct ab_node_endpoint endpoint = {0};
    AB_TRY(ab_node_endpoint_read(client->data_directory, "serving", &endpoint, &client->error));
    struct client_endpoint serving = {0};
    memcpy(serving.address, endpoint.address, sizeof serving.address);
    memcpy(serving.key, endpoint.public_key, sizeof serving.key);
    if (client->servings_count == 0) {
        client_serving_add(client, &serving, true);
    } else {
        client_serving_move(client, 0, &serving);
    }
    return AB_OK;
}

static ab_err directory_cluster_id(struct anabranch_client *client)
{
    struct ab_cluster_identity identity = {0};
    AB_TRY(ab_cluster_identity_read(client->data_directory, &identity, &client->error));
    memcpy(client->cluster_id, identity.cluster_id, sizeof client->cluster_id);
    return AB_OK;
}

ab_err client_channel_to(struct anabranch_client *client, const struct client_endpoint *endpoint, int queue_messages,
    struct ab_channel **channel)
{
    struct ab_channel_options options = {.address = endpoint->address, .queue_messages = queue_messages};
    if (endpoint->address[0] == '\0') {
        return ab_error_set(&client->error, AB_UNAVAILABLE, "the speed daemon has not said where it answers");
    }
    memcpy(options.server_key, endpoint->key, sizeof options.server_key);
    struct ab_channel *opened = NULL;
    AB_TRY(ab_channel_open(client->wire, &options, &opened, &client->error));
    ab_channel_close(*channel);
    *channel = opened;
    return AB_OK;
}

/* Only while a client is being opened: senders have channels of their own on the wire. */
static ab_err wire_reopen(struct anabranch_client *client)
{
    client_servings_close(client);
    ab_wire_close(client->wire);
    client->wire = NULL;
    struct ab_wire_options options = {.keys = client->keys};
    memcpy(options.cluster_id, client->cluster_id, sizeof options.cluster_id);
    memcpy(options.node, "client", sizeof "client");
    return ab_wire_open(&options, &client->wire, &client->error);
}

static ab_err catalog_decode_hex(struct anabranch_client *client, struct ab_bytes hex)
{
    struct ab_buffer encoded = {0};
    struct ab_catalog *catalog = NULL;
    ab_err err = ab_buffer_put_from_hex(&encoded, hex);
    if (err == AB_OK) {
        err = ab_catalog_decode(ab_buffer_view(&encoded), &catalog, &client->error);
    }
    ab_buffer_fini(&encoded);
    if (err != AB_OK) {
        return ab_error_wrap(&client->error, err, "the catalog in the server's answer");
    }
    ab_catalog_release(client->catalog);
    client->catalog = catalog;
    return AB_OK;
}

/* Takes in what serving says of the cluster. Rows are hashed to partitions by what was said first, so neither the
 * cluster nor its partitions may be others later. */
static ab_err catalog_take_in(struct anabranch_client *client, const struct ab_json *reply, bool *is_new_cluster)
{
    static const uint8_t unknown[16] = {0};
    uint8_t cluster_id[16];
    uint64_t partitions = ab_json_u64_or(ab_json_get(reply, "partitions"), 0);
    if (ab_cluster_id_parse(ab_json_bytes(ab_json_get(reply, "cluster_id")), cluster_id) != AB_OK) {
        return ab_error_set(&client->error, AB_INVALID, "malformed answer: cluster_id");
    }
    if (partitions == 0 || partitions > AB_CLUSTER_PARTITIONS_MAX) {
        return ab_error_set(&client->error, AB_INVALID, "malformed answer: partitions");
    }
    *is_new_cluster = !client->is_open && memcmp(client->cluster_id, unknown, sizeof unknown) == 0;
    if ((!*is_new_cluster && memcmp(cluster_id, client->cluster_id, sizeof cluster_id) != 0) ||
        (client->partitions_count != 0 && partitions != client->partitions_count)) {
        return ab_error_set(&client->error, AB_MISMATCH, "%s answers for another cluster",
            client_serving_current(client)->endpoint.address);
    }
    AB_TRY(client_nodes_take_in(client, reply, (uint32_t)partitions));
    client->partitions_count = (uint32_t)partitions;
    AB_TRY(catalog_decode_hex(client, ab_json_bytes(ab_json_get(reply, "catalog"))));
    memcpy(client->cluster_id, cluster_id, sizeof cluster_id);
    return AB_OK;
}

ab_err client_catalog_take_in(struct anabranch_client *client, struct ab_bytes payload, bool *is_new_cluster)
{
    struct ab_json *reply = NULL;
    AB_TRY(ab_json_parse(payload, &reply, &client->error));
    ab_err err = catalog_take_in(client, reply, is_new_cluster);
    ab_json_destroy(reply);
    return err;
}

static ab_err catalog_fetch(struct anabranch_client *client, int timeout_ms)
{
    struct ab_answer answer = {0};
    struct ab_channel *channel = NULL;
    AB_TRY(client_serving_channel(client, client->serving_current, &channel));
    AB_TRY(ab_channel_call(channel, AB_VERB_CATALOG, (struct ab_bytes){0}, timeout_ms, &answer, &client->error));
    bool is_new_cluster = false;
    ab_err err = client_catalog_take_in(client, answer.payload, &is_new_cluster);
    ab_answer_free(&answer);
    if (err == AB_OK && is_new_cluster) {
        err = wire_reopen(client); /* from now on messages carry the cluster's id */
    }
    return err;
}

bool client_serving_has_moved(const struct anabranch_client *client)
{
    struct ab_node_endpoint endpoint = {0};
    struct ab_error ignored = {0};
    if (client->data_directory == NULL ||
        ab_node_endpoint_read(client->data_directory, "serving", &endpoint, &ignored) != AB_OK) {
        return false;
    }
    const struct client_endpoint *known = &client->servings[0].endpoint;
    return strcmp(endpoint.address, known->address) != 0 ||
           memcmp(endpoint.public_key, known->key, sizeof known->key) != 0;
}

ab_err client_refresh(struct anabranch_client *client, int wait_ms)
{
    if (client_serving_has_moved(client)) {
        AB_TRY(directory_endpoint(client));
    }
    int most_ms = client->timeout_ms < wait_ms ? client->timeout_ms : wait_ms;
    size_t tries = client->servings_count < REFRESH_TRIES_MAX ? client->servings_count : REFRESH_TRIES_MAX;
    ab_err err = AB_OK;
    for (size_t i = 0; i < tries; i++) {
        err = catalog_fetch(client, most_ms / (int)tries < 1 ? 1 : most_ms / (int)tries);
        if (err != AB_TIMEOUT && err != AB_UNAVAILABLE && err != AB_NETWORK && err != AB_AGAIN && err != AB_FULL) {
            return err;
        }
        client->serving_current = client_serving_other(client);
    }
    return err;
}

static ab_err key_read(struct anabranch_client *client, const char *path)
{
    struct ab_key_file file = {0};
    AB_TRY(ab_key_file_read(path, &file, &client->error));
    memcpy(client->keys.public_key, file.keys.public_key, sizeof client->keys.public_key);
    memcpy(client->keys.secret_key, file.keys.secret_key, sizeof client->keys.secret_key);
    ab_crypto_wipe(&file, sizeof file);
    return AB_OK;
}

/* One of the given serving nodes. */
static ab_err serving_read(struct anabranch_client *client, const struct anabranch_serving *given)
{
    struct client_endpoint endpoint = {0};
    if (given->address == NULL || given->server_key == NULL) {
        return ab_error_set(&client->error, AB_USAGE, USAGE_TEXT);
    }
    if (strlen(given->address) >= sizeof endpoint.address) {
        return ab_error_set(&client->error, AB_USAGE, "the address is too long");
    }
    memcpy(endpoint.address, given->address, strlen(given->address) + 1);
    if (ab_crypto_key_parse(ab_bytes_of_text(given->server_key), endpoint.key) != AB_OK) {
        return ab_error_set(&client->error, AB_USAGE, "the server key is not 64 hexadecimal digits");
    }
    client_serving_add(client, &endpoint, true);
    return AB_OK;
}

static ab_err servings_read(struct anabranch_client *client, const struct anabranch_options *options)
{
    const struct anabranch_serving one = {.address = options->address, .server_key = options->server_key};
    if (options->servings_count == 0) {
        return serving_read(client, &one);
    }
    for (size_t i = 0; i < options->servings_count; i++) {
        AB_TRY(serving_read(client, &options->servings[i]));
    }
    return AB_OK;
}

static ab_err options_read(struct anabranch_client *client, const struct anabranch_options *options)
{
    AB_TRY(ab_crypto_init(&client->error));
    client->timeout_ms = options->timeout_ms <= 0 ? CLIENT_TIMEOUT_MS_DEFAULT : options->timeout_ms;
    if (options->data_directory != NULL) {
        client->data_directory = ab_new_text(options->data_directory);
        AB_TRY(directory_cluster_id(client));
    } else if (options->key_file == NULL) {
        return ab_error_set(&client->error, AB_USAGE, USAGE_TEXT);
    } else {
        AB_TRY(servings_read(client, options));
    }
    char *path = options->key_file != NULL ? ab_new_text(options->key_file)
                                           : ab_new_format("%s/keys/operator.key", client->data_directory);
    ab_err err = key_read(client, path);
    ab_delete(path);
    return err;
}

/* True when a controller says that the cluster is up: its serving daemon will answer, if not now. */
static bool has_controller(const struct anabranch_client *client)
{
    struct ab_node_endpoint endpoint = {0};
    struct ab_error ignored = {0};
    return ab_node_endpoint_read(client->data_directory, "controller", &endpoint, &ignored) == AB_OK;
}

/* Where serving answers; while it is being started again it has not said. */
static ab_err endpoint_await(struct anabranch_client *client, int64_t until_us)
{
    for (;;) {
        ab_err err = directory_endpoint(client);
        if (err != AB_UNAVAILABLE || !has_controller(client) || ab_time_monotonic_us() >= until_us) {
            return err;
        }
        client->error = (struct ab_error){0};
        ab_time_sleep_us(OPEN_PAUSE_US);
    }
}

/* A daemon that has just died may still be named as the one that answers, and one that has just started may not be
 * ready: the directory is looked at again and again. */
static ab_err catalog_fetch_first(struct anabranch_client *client, int64_t until_us)
{
    for (;;) {
        ab_err err = client_refresh(client, FIRST_FETCH_MS);
        if ((err != AB_TIMEOUT && err != AB_UNAVAILABLE) || ab_time_monotonic_us() >= until_us) {
            return err;
        }
        client->error = (struct ab_error){0};
        ab_time_sleep_us(err == AB_UNAVAILABLE ? OPEN_PAUSE_US : 0);
    }
}

enum anabranch_result anabranch_open(const struct anabranch_options *options, struct anabranch_client **client)
{
    if (options == NULL || client == NULL) {
        return ANABRANCH_USAGE;
    }
    struct anabranch_client *made = ab_new(struct anabranch_client);
    *client = made;
    ab_err err = options_read(made, options);
    int64_t until_us = ab_time_monotonic_us() + (int64_t)made->timeout_ms * AB_US_PER_MS;
    if (err == AB_OK && made->data_directory != NULL) {
        err = endpoint_await(made, until_us);
    }
    if (err == AB_OK) {
        err = wire_reopen(made);
    }
    if (err == AB_OK) {
        err = catalog_fetch_first(made, until_us);
    }
    made->is_open = err == AB_OK;
    return client_result_of(err);
}

void anabranch_close(struct anabranch_client *client)
{
    if (client == NULL) {
        return;
    }
    client_servings_close(client);
    ab_wire_close(client->wire);
    ab_answer_free(&client->news);
    ab_delete(client->leaders);
    ab_delete(client->seen);
    ab_catalog_release(client->catalog);
    ab_crypto_wipe(&client->keys, sizeof client->keys);
    ab_delete(client->data_directory);
    ab_delete(client);
}

const char *anabranch_last_error(const struct anabranch_client *client)
{
    return client->error.text;
}
