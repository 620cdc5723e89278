#include "common/wire/node.h"

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/time.h"
#include "common/crypto/key_file.h"

#include <inttypes.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)

static ab_err json_read(const char *path, struct ab_json **value, struct ab_error *error)
{
    struct ab_buffer content = {.bytes_max = FILE_BYTES_MAX};
    ab_err err = ab_file_read_all(path, &content, error);
    if (err == AB_OK) {
        err = ab_json_parse(ab_buffer_view(&content), value, error);
        err = err == AB_OK ? AB_OK : ab_error_wrap(error, AB_CORRUPT, "read %s", path);
    }
    ab_buffer_fini(&content);
    return err;
}

static ab_err json_write(const char *path, struct ab_json *value, struct ab_error *error)
{
    struct ab_buffer text = {0};
    ab_json_write(value, 2, &text);
    ab_buffer_put_u8(&text, '\n');
    ab_err err = ab_file_replace(path, ab_buffer_view(&text), 0644, error);
    ab_buffer_fini(&text);
    return err;
}

/* 32 hexadecimal digits <-> 16 bytes, most significant first as people read them. */
ab_err ab_cluster_id_parse(struct ab_bytes text, uint8_t id[16])
{
    struct ab_hash128 value = {0};
    AB_TRY(ab_hash128_parse(text, &value));
    for (int i = 0; i < 8; i++) {
        id[i] = (uint8_t)(value.high >> (56 - 8 * i));
        id[8 + i] = (uint8_t)(value.low >> (56 - 8 * i));
    }
    return AB_OK;
}

void ab_cluster_id_format(const uint8_t id[16], char text[33])
{
    struct ab_hash128 value = {0};
    for (int i = 0; i < 8; i++) {
        value.high = value.high << 8 | id[i];
        value.low = value.low << 8 | id[8 + i];
    }
    ab_hash128_format(value, text);
}

static ab_err identity_decode(
    const struct ab_json *json, const char *path, struct ab_cluster_identity *identity, struct ab_error *error)
{
    int64_t format = ab_json_integer_or(ab_json_get(json, "format"), 0);
    if (format > AB_CLUSTER_FORMAT) {
        return ab_error_set(
            error, AB_UNSUPPORTED, "%s has format %" PRId64 ", this program reads %d", path, format, AB_CLUSTER_FORMAT);
    }
    if (strcmp(ab_json_text_or(ab_json_get(json, "hash"), ""), AB_CLUSTER_HASH) != 0) {
        return ab_error_set(error, AB_UNSUPPORTED, "%s names another partition hash than " AB_CLUSTER_HASH, path);
    }
    int64_t partitions = ab_json_integer_or(ab_json_get(json, "partitions"), 0);
    struct ab_cluster_identity read = {.partitions_count = (uint32_t)partitions};
    if (format < 1 || partitions < 1 || partitions > AB_CLUSTER_PARTITIONS_MAX ||
        ab_cluster_id_parse(ab_json_bytes(ab_json_get(json, "cluster_id")), read.cluster_id) != AB_OK) {
        return ab_error_set(error, AB_CORRUPT, "%s is malformed", path);
    }
    *identity = read;
    return AB_OK;
}

ab_err ab_cluster_identity_read(const char *directory, struct ab_cluster_identity *identity, struct ab_error *error)
{
    char *path = ab_new_format("%s/cluster.json", directory);
    struct ab_json *json = NULL;
    ab_err err = json_read(path, &json, error);
    if (err == AB_OK) {
        err = identity_decode(json, path, identity, error);
    } else if (err == AB_NOT_FOUND) {
        err = ab_error_set(error, AB_NOT_FOUND,
            "%s is not the directory of a cluster (no cluster.json): make one with `anabranch up`", directory);
    }
    ab_json_destroy(json);
    ab_delete(path);
    return err;
}

ab_err ab_cluster_identity_write(
    const char *directory, const struct ab_cluster_identity *identity, struct ab_error *error)
{
    char *path = ab_new_format("%s/cluster.json", directory);
    char text[33];
    char created[AB_TIME_TEXT_BYTES];
    ab_cluster_id_format(identity->cluster_id, text);
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "format", ab_json_integer(AB_CLUSTER_FORMAT));
    ab_json_set(json, "cluster_id", ab_json_text(text));
    ab_json_set(json, "partitions", ab_json_integer(identity->partitions_count));
    ab_json_set(json, "hash", ab_json_text(AB_CLUSTER_HASH));
    ab_json_set(json, "created", ab_json_text(ab_time_format(ab_time_now(), created)));
    ab_err err = ab_file_exists(path) ? ab_error_set(error, AB_EXISTS, "%s exists already", path)
                                      : json_write(path, json, error);
    ab_json_destroy(json);
    ab_delete(path);
    return err;
}

/* The allow list as the wire wants it. */
static ab_err peers_read(const char *path, struct ab_wire_peer **peers, size_t *count, struct ab_error *error)
{
    struct ab_allow_entry *entries = NULL;
    AB_TRY(ab_allow_list_read(path, &entries, count, error));
    *peers = ab_new_array(struct ab_wire_peer, *count + 1);
    ab_err err = AB_OK;
    for (size_t i = 0; i < *count && err == AB_OK; i++) {
        struct ab_wire_peer *peer = &(*peers)[i];
        memcpy(peer->public_key, entries[i].public_key, sizeof peer->public_key);
        memcpy(peer->name, entries[i].name, sizeof peer->name);
        if (ab_role_parse(entries[i].role, &peer->role) != AB_OK) {
            err = ab_error_set(error, AB_CORRUPT, "%s: no role is named %s", path, entries[i].role);
        }
    }
    ab_delete(entries);
    if (err != AB_OK) {
        ab_delete(*peers);
    }
    return err;
}

static ab_err keys_read(const char *path, struct ab_wire_keys *keys, struct ab_error *error)
{
    struct ab_key_file file;
    AB_TRY(ab_key_file_read(path, &file, error));
    memcpy(keys->public_key, file.keys.public_key, sizeof keys->public_key);
    memcpy(keys->secret_key, file.keys.secret_key, sizeof keys->secret_key);
    ab_crypto_wipe(&file, sizeof file);
    return AB_OK;
}

static ab_err node_wire_open(const struct ab_node_options *options, struct ab_node *node, struct ab_error *error)
{
    struct ab_wire_options wire = {.keys = node->keys, .io_threads = options->io_threads};
    struct ab_wire_peer *peers = NULL;
    memcpy(wire.cluster_id, node->identity.cluster_id, sizeof wire.cluster_id);
    size_t name_bytes = strnlen(options->name, sizeof wire.node - 1);
    memcpy(wire.node, options->name, name_bytes);
    if (options->is_server) {
        char *path = ab_new_format("%s/keys/allow", options->directory);
        ab_err err = peers_read(path, &peers, &wire.peers_count, error);
        ab_delete(path);
        AB_TRY(err);
        wire.peers = peers;
    }
    ab_err err = ab_wire_open(&wire, &node->wire, error);
    ab_delete(peers);
    ab_crypto_wipe(&wire.keys, sizeof wire.keys);
    return err;
}

ab_err ab_node_open(const struct ab_node_options *options, struct ab_node *node, struct ab_error *error)
{
    *node = (struct ab_node){0};
    char *config_path = ab_new_format("%s/config/node.yaml", options->directory);
    char *key_path = ab_new_format("%s/keys/%s.key", options->directory, options->role);
    ab_err err = ab_crypto_init(error);
    if (err == AB_OK) {
        err = ab_cluster_identity_read(options->directory, &node->identity, error);
    }
    if (err == AB_OK) {
        err = ab_config_load(config_path, &node->config, error);
    }
    if (err == AB_OK) {
        err = keys_read(key_path, &node->keys, error);
    }
    if (err == AB_OK) {
        node->directory = ab_new_text(options->directory);
        err = node_wire_open(options, node, error);
    }
    if (err != AB_OK) {
        ab_node_close(node);
    }
    ab_delete(config_path);
    ab_delete(key_path);
    return err;
}

void ab_node_close(struct ab_node *node)
{
    ab_wire_close(node->wire);
    ab_crypto_wipe(&node->keys, sizeof node->keys);
    ab_delete(node->directory);
    *node = (struct ab_node){0};
}

ab_err ab_node_endpoint_write(
    const struct ab_node *node, const char *daemon, const char *address, struct ab_error *error)
{
    char *path = ab_new_format("%s/run/%s.json", node->directory, daemon);
    char key[2 * AB_CRYPTO_KEY_BYTES + 1];
    ab_crypto_key_format(node->keys.public_key, key);
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "pid", ab_json_integer(getpid()));
    ab_json_set(json, "address", ab_json_text(address));
    ab_json_set(json, "public_key", ab_json_text(key));
    if (!ab_hash128_equal(node->registration, (struct ab_hash128){0})) {
        char incarnation[33];
        ab_hash128_format(node->registration, incarnation);
        ab_json_set(json, "incarnation", ab_json_text(incarnation));
    }
    ab_err err = json_write(path, json, error);
    ab_json_destroy(json);
    ab_delete(path);
    return err;
}

static ab_err endpoint_decode(
    const struct ab_json *json, const char *daemon, struct ab_node_endpoint *endpoint, struct ab_error *error)
{
    const char *address = ab_json_text_or(ab_json_get(json, "address"), "");
    struct ab_node_endpoint read = {.pid = ab_json_integer_or(ab_json_get(json, "pid"), 0)};
    if (address[0] == '\0' || strlen(address) >= sizeof read.address ||
        ab_crypto_key_parse(ab_json_bytes(ab_json_get(json, "public_key")), read.public_key) != AB_OK) {
        return ab_error_set(error, AB_UNAVAILABLE, "the %s daemon has not said where it answers", daemon);
    }
    memcpy(read.address, address, strlen(address) + 1);
    const char *incarnation = ab_json_text_or(ab_json_get(json, "incarnation"), "");
    if (ab_hash128_parse(ab_bytes_of_text(incarnation), &read.incarnation) != AB_OK) {
        read.incarnation = (struct ab_hash128){0};
    }
    *endpoint = read;
    return AB_OK;
}

ab_err ab_node_endpoint_read(
    const char *directory, const char *daemon, struct ab_node_endpoint *endpoint, struct ab_error *error)
{
    char *path = ab_new_format("%s/run/%s.json", directory, daemon);
    struct ab_json *json = NULL;
    ab_err err = json_read(path, &json, error);
    if (err == AB_OK || err == AB_NOT_FOUND) {
        err = endpoint_decode(json, daemon, endpoint, error);
    }
    ab_json_destroy(json);
    ab_delete(path);
    return err;
}
