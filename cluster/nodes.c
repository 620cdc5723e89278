#include "cluster/nodes.h"

#include "cluster/layout.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/crypto/crypto.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define FORMAT 1
#define NODES_FILE "nodes.json"
#define CREDENTIAL_FILE "keys/coordination"
#define CREDENTIAL_RANDOM_BYTES 24
/* Below the ports that systems give by themselves, so that no daemon takes one while its server is down. */
#define PORT_FIRST 20000u
#define PORTS_COUNT 10000u
#define MEMORY_BYTES_MIN (UINT64_C(64) << 20)
#define CHROOT "/anabranch"

bool ab_nodes_is(const char *directory)
{
    char *path = ab_layout_path(directory, NODES_FILE);
    bool is_there = ab_file_exists(path);
    ab_delete(path);
    return is_there;
}

char *ab_nodes_directory(const char *directory, uint32_t node)
{
    return ab_layout_path(directory, "node-%u", node);
}

/* ---- nodes.json ---- */

static bool port_decode(const struct ab_json *entry, const char *key, uint16_t *port)
{
    int64_t number = ab_json_integer_or(ab_json_get(entry, key), 0);
    *port = (uint16_t)number;
    return number >= 1 && number <= UINT16_MAX;
}

bool ab_nodes_has(const struct ab_nodes *nodes, uint32_t node)
{
    return node >= 1 && node <= nodes->count && !nodes->is_removed[node - 1];
}

uint32_t ab_nodes_present(const struct ab_nodes *nodes)
{
    uint32_t count = 0;
    for (uint32_t node = 1; node <= nodes->count; node++) {
        count += ab_nodes_has(nodes, node);
    }
    return count;
}

ab_err ab_nodes_number_take(struct ab_nodes *nodes, uint32_t *node, struct ab_error *error)
{
    uint32_t taken = nodes->adding > 0 ? nodes->adding : 1;
    while (nodes->adding == 0 && taken <= nodes->count && !nodes->is_removed[taken - 1]) {
        taken++;
    }
    if (taken > AB_NODES_MAX) {
        return ab_error_set(error, AB_FULL,
            "there are %u nodes, as many as a cluster on one machine may have: more would only share its processors",
            AB_NODES_MAX);
    }
    nodes->count = taken > nodes->count ? taken : nodes->count;
    nodes->is_removed[taken - 1] = false;
    nodes->adding = taken;
    *node = taken;
    return AB_OK;
}

void ab_nodes_number_give(struct ab_nodes *nodes, uint32_t node)
{
    nodes->is_removed[node - 1] = true;
    nodes->adding = nodes->adding == node ? 0 : nodes->adding;
    while (nodes->count > 0 && nodes->is_removed[nodes->count - 1]) {
        nodes->is_removed[--nodes->count] = false;
    }
}

/* Numbers that are none, or the highest, are refused. */
static bool removed_decode(const struct ab_json *list, struct ab_nodes *nodes)
{
    for (size_t i = 0; i < ab_json_count(list); i++) {
        int64_t node = ab_json_integer_or(ab_json_at(list, i), 0);
        if (node < 1 || node >= nodes->count || nodes->is_removed[node - 1]) {
            return false;
        }
        nodes->is_removed[node - 1] = true;
    }
    return true;
}

static bool nodes_decode(const struct ab_json *json, struct ab_nodes *nodes)
{
    const struct ab_json *servers = ab_json_get(json, "zookeeper");
    int64_t partitions = ab_json_integer_or(ab_json_get(json, "partitions"), 0);
    int64_t count = ab_json_integer_or(ab_json_get(json, "nodes"), 0);
    size_t servers_count = ab_json_count(servers);
    bool is_right =
        ab_cluster_id_parse(ab_json_bytes(ab_json_get(json, "cluster_id")), nodes->identity.cluster_id) == AB_OK &&
        partitions >= 1 && partitions <= AB_CLUSTER_PARTITIONS_MAX && count >= AB_NODES_MIN && count <= AB_NODES_MAX &&
        servers_count % 2 == 1 && servers_count <= AB_ZOOKEEPER_SERVERS_MAX;
    for (size_t i = 0; is_right && i < servers_count; i++) {
        const struct ab_json *entry = ab_json_at(servers, i);
        struct ab_nodes_ports *ports = &nodes->zookeepers[i];
        is_right = port_decode(entry, "client", &ports->client) && port_decode(entry, "peer", &ports->peer) &&
                   port_decode(entry, "election", &ports->election);
    }
    nodes->identity.partitions_count = (uint32_t)partitions;
    nodes->count = (uint32_t)count;
    nodes->zookeepers_count = (uint32_t)servers_count;
    is_right = is_right && removed_decode(ab_json_get(json, "removed"), nodes);
    int64_t adding = ab_json_integer_or(ab_json_get(json, "adding"), 0);
    nodes->adding = (uint32_t)adding;
    return is_right && adding >= 0 && adding <= count && (adding == 0 || ab_nodes_has(nodes, nodes->adding));
}

ab_err ab_nodes_read(const char *directory, struct ab_nodes *nodes, struct ab_error *error)
{
    struct ab_json *json = NULL;
    struct ab_nodes read = {0};
    char *path = ab_layout_path(directory, NODES_FILE);
    ab_err err = ab_layout_json_read(path, &json, error);
    int64_t format = ab_json_integer_or(ab_json_get(json, "format"), 0);
    if (err == AB_OK && format > FORMAT) {
        err = ab_error_set(error, AB_UNSUPPORTED, "%s is of a newer format", path);
    } else if (err == AB_OK && (format != FORMAT || !nodes_decode(json, &read))) {
        err = ab_error_set(error, AB_CORRUPT, "%s does not describe a cluster of several nodes", path);
    }
    ab_json_destroy(json);
    ab_delete(path);
    AB_TRY(err);
    *nodes = read;
    return AB_OK;
}

ab_err ab_nodes_write(const char *directory, const struct ab_nodes *nodes, struct ab_error *error)
{
    char id[33];
    struct ab_json *json = ab_json_object();
    struct ab_json *servers = ab_json_array();
    ab_cluster_id_format(nodes->identity.cluster_id, id);
    ab_json_set(json, "format", ab_json_integer(FORMAT));
    ab_json_set(json, "cluster_id", ab_json_text(id));
    ab_json_set(json, "partitions", ab_json_integer(nodes->identity.partitions_count));
    ab_json_set(json, "nodes", ab_json_integer(nodes->count));
    for (uint32_t i = 0; i < nodes->zookeepers_count; i++) {
        struct ab_json *entry = ab_json_object();
        ab_json_set(entry, "client", ab_json_integer(nodes->zookeepers[i].client));
        ab_json_set(entry, "peer", ab_json_integer(nodes->zookeepers[i].peer));
        ab_json_set(entry, "election", ab_json_integer(nodes->zookeepers[i].election));
        ab_json_append(servers, entry);
    }
    ab_json_set(json, "zookeeper", servers);
    struct ab_json *removed = ab_json_array();
    for (uint32_t node = 1; node <= nodes->count; node++) {
        if (!ab_nodes_has(nodes, node)) {
            ab_json_append(removed, ab_json_integer(node));
        }
    }
    ab_json_set(json, "removed", removed);
    ab_json_set(json, "adding", ab_json_integer(nodes->adding));
    char *path = ab_layout_path(directory, NODES_FILE);
    ab_err err = ab_layout_json_write(path, json, error);
    ab_delete(path);
    ab_json_destroy(json);
    return err;
}

static bool port_is_free(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    ab_file_close(&fd);
    return is_free;
}

/* Ports that nobody holds now, from a random place on, so that clusters that do not run at the moment keep theirs. */
static ab_err ports_choose(struct ab_nodes *nodes, struct ab_error *error)
{
    uint16_t chosen[3 * AB_ZOOKEEPER_SERVERS_MAX];
    uint32_t wanted = 3 * nodes->zookeepers_count;
    uint32_t count = 0;
    uint32_t start = 0;
    ab_crypto_random(&start, sizeof start);
    for (uint32_t i = 0; i < PORTS_COUNT && count < wanted; i++) {
        uint16_t port = (uint16_t)(PORT_FIRST + (start % PORTS_COUNT + i) % PORTS_COUNT);
        if (port_is_free(port)) {
            chosen[count++] = port;
        }
    }
    if (count < wanted) {
        return ab_error_set(error, AB_BUSY, "no free port for ZooKeeper between %u and %u of 127.0.0.1", PORT_FIRST,
            PORT_FIRST + PORTS_COUNT - 1);
    }
    for (uint32_t i = 0; i < nodes->zookeepers_count; i++) {
        nodes->zookeepers[i] =
            (struct ab_nodes_ports){.client = chosen[3 * i], .peer = chosen[3 * i + 1], .election = chosen[3 * i + 2]};
    }
    return AB_OK;
}

ab_err ab_nodes_create(const char *directory, const struct ab_nodes_create_options *options, struct ab_nodes *nodes,
    struct ab_error *error)
{
    struct ab_nodes made = {.identity.partitions_count = options->partitions_count,
        .count = options->count,
        .zookeepers_count = options->zookeepers_count};
    if (options->count < AB_NODES_MIN || options->count > AB_NODES_MAX) {
        return ab_error_set(error, AB_USAGE, "a cluster on one machine has %u to %u nodes, not %u", AB_NODES_MIN,
            AB_NODES_MAX, options->count);
    }
    if (options->zookeepers_count != 1 && options->zookeepers_count != 3) {
        return ab_error_set(error, AB_USAGE, "there are 1 or 3 ZooKeeper servers, not %u", options->zookeepers_count);
    }
    if (!ab_layout_is_vacant(directory)) {
        return ab_error_set(error, AB_EXISTS,
            "%s is neither empty nor the directory of a cluster; nothing was touched, give another --data", directory);
    }
    AB_TRY(ab_crypto_init(error));
    ab_crypto_random(made.identity.cluster_id, sizeof made.identity.cluster_id);
    AB_TRY(ports_choose(&made, error));
    AB_TRY(ab_file_make_directory(directory, 0700, error));
    AB_TRY(ab_nodes_write(directory, &made, error));
    *nodes = made;
    return AB_OK;
}

/* ---- what is missing ---- */

static ab_err credential_complete(const char *directory, struct ab_error *error)
{
    uint8_t secret[CREDENTIAL_RANDOM_BYTES];
    char *path = ab_layout_path(directory, "zookeeper/credential");
    if (ab_file_exists(path)) {
        ab_delete(path);
        return AB_OK;
    }
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, 0);
    ab_crypto_random(secret, sizeof secret);
    ab_buffer_put_format(&text, "anabranch:");
    for (size_t i = 0; i < sizeof secret; i++) {
        ab_buffer_put_format(&text, "%02x", secret[i]);
    }
    ab_buffer_put_u8(&text, '\n');
    ab_err err = ab_file_replace(path, ab_buffer_view(&text), 0600, error);
    ab_crypto_wipe(secret, sizeof secret);
    ab_crypto_wipe(text.data, text.bytes);
    ab_buffer_fini(&text);
    ab_delete(path);
    return err;
}

/* Copies a secret where it is missing. */
static ab_err secret_copy(const char *from, const char *to, struct ab_error *error)
{
    struct ab_buffer content;
    if (ab_file_exists(to)) {
        return AB_OK;
    }
    ab_buffer_init(&content, NULL, 1u << 20);
    ab_err err = ab_file_read_all(from, &content, error);
    if (err == AB_OK) {
        err = ab_file_replace(to, ab_buffer_view(&content), 0600, error);
    }
    if (content.bytes > 0) {
        ab_crypto_wipe(content.data, content.bytes);
    }
    ab_buffer_fini(&content);
    return err;
}

/* Gives a node every key that another one has: a node that was emptied gets them back, and none gets new ones. */
static ab_err keys_copy(const char *from_directory, const char *to_directory, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    char *folder = ab_layout_path(from_directory, "keys");
    ab_err err = ab_file_exists(folder) ? ab_file_list(folder, &names, &count, error) : AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        char *from = ab_layout_path(from_directory, "keys/%s", names[i]);
        char *to = ab_layout_path(to_directory, "keys/%s", names[i]);
        err = secret_copy(from, to, error);
        ab_delete(to);
        ab_delete(from);
    }
    ab_file_names_free(names, count);
    ab_delete(folder);
    return err;
}

static ab_err identity_complete(const char *directory, const struct ab_nodes *nodes, struct ab_error *error)
{
    struct ab_cluster_identity found;
    char *path = ab_layout_path(directory, "cluster.json");
    bool is_there = ab_file_exists(path);
    ab_delete(path);
    if (!is_there) {
        return ab_cluster_identity_write(directory, &nodes->identity, error);
    }
    AB_TRY(ab_cluster_identity_read(directory, &found, error));
    if (memcmp(found.cluster_id, nodes->identity.cluster_id, sizeof found.cluster_id) != 0 ||
        found.partitions_count != nodes->identity.partitions_count) {
        return ab_error_set(error, AB_MISMATCH, "%s belongs to another cluster", directory);
    }
    return AB_OK;
}

static ab_err folder_make(const char *directory, const char *name, struct ab_error *error)
{
    char *path = ab_layout_path(directory, "%s", name);
    ab_err err = ab_file_make_directory(path, 0700, error);
    ab_delete(path);
    return err;
}

static ab_err node_complete(const char *directory, const struct ab_nodes *nodes, uint32_t node, struct ab_error *error)
{
    char *own = ab_nodes_directory(directory, node);
    char *credential = ab_layout_path(directory, "zookeeper/credential");
    char *copy = ab_layout_path(own, CREDENTIAL_FILE);
    ab_err err = folder_make(own, "keys", error);
    if (err == AB_OK) {
        err = identity_complete(own, nodes, error);
    }
    for (uint32_t other = 1; other <= nodes->count && err == AB_OK; other++) {
        char *from = ab_nodes_directory(directory, other);
        err = other == node ? AB_OK : keys_copy(from, own, error);
        ab_delete(from);
    }
    if (err == AB_OK) {
        err = ab_layout_keys_complete(own, error);
    }
    if (err == AB_OK) {
        err = secret_copy(credential, copy, error);
    }
    ab_delete(copy);
    ab_delete(credential);
    ab_delete(own);
    return err;
}

ab_err ab_nodes_complete(const char *directory, const struct ab_nodes *nodes, struct ab_error *error)
{
    AB_TRY(ab_crypto_init(error));
    AB_TRY(folder_make(directory, "run", error));
    AB_TRY(folder_make(directory, "logs", error));
    AB_TRY(folder_make(directory, "zookeeper", error));
    AB_TRY(credential_complete(directory, error));
    for (uint32_t node = 1; node <= nodes->count; node++) {
        if (ab_nodes_has(nodes, node)) {
            AB_TRY(node_complete(directory, nodes, node, error));
        }
    }
    return AB_OK;
}

/* ---- configuration ---- */

static void text_set(char *text, size_t room, const char *wanted, bool *is_changed)
{
    if (strcmp(text, wanted) != 0) {
        (void)snprintf(text, room, "%s", wanted); /* one that is cut is refused by validate, or fails to open */
        *is_changed = true;
    }
}

void ab_nodes_config_set(
    const char *directory, const struct ab_nodes *nodes, uint32_t node, struct ab_config *config, bool *is_changed)
{
    char *own = ab_nodes_directory(directory, node);
    char *coordination = ab_nodes_coordination(nodes);
    text_set(config->data, sizeof config->data, own, is_changed);
    text_set(config->cluster.coordination, sizeof config->cluster.coordination, coordination, is_changed);
    text_set(config->cluster.credential, sizeof config->cluster.credential, CREDENTIAL_FILE, is_changed);
    if (config->cluster.rack[0] == '\0') {
        (void)snprintf(config->cluster.rack, sizeof config->cluster.rack, "rack-%u", node);
        *is_changed = true;
    }
    if (config->cluster.node != node) {
        config->cluster.node = node;
        *is_changed = true;
    }
    ab_delete(coordination);
    ab_delete(own);
}

static uint64_t memory_share(uint64_t bytes, uint32_t count)
{
    return bytes / count < MEMORY_BYTES_MIN ? MEMORY_BYTES_MIN : bytes / count;
}

static uint32_t threads_share(uint32_t threads, uint32_t count)
{
    return threads / count == 0 ? 1 : threads / count;
}

void ab_nodes_config_share(const struct ab_nodes *nodes, struct ab_config *config)
{
    uint32_t count = ab_nodes_present(nodes);
    config->memory_bytes.speed = memory_share(config->memory_bytes.speed, count);
    config->memory_bytes.serving = memory_share(config->memory_bytes.serving, count);
    config->memory_bytes.batch = memory_share(config->memory_bytes.batch, count);
    config->workers = threads_share(config->workers, count);
    config->query_threads = threads_share(config->query_threads, count);
    config->cluster.session_timeout_ms = AB_NODES_SESSION_TIMEOUT_MS;
}

/* ---- ZooKeeper ---- */

void ab_nodes_servers(
    const char *directory, const struct ab_nodes *nodes, struct ab_zookeeper_server servers[AB_ZOOKEEPER_SERVERS_MAX])
{
    for (uint32_t i = 0; i < AB_ZOOKEEPER_SERVERS_MAX; i++) {
        servers[i] = (struct ab_zookeeper_server){0};
        if (i < nodes->zookeepers_count) {
            servers[i] =
                (struct ab_zookeeper_server){.directory = ab_layout_path(directory, "zookeeper/server-%u", i + 1),
                    .client_port = nodes->zookeepers[i].client,
                    .peer_port = nodes->zookeepers[i].peer,
                    .election_port = nodes->zookeepers[i].election};
        }
    }
}

void ab_nodes_servers_free(struct ab_zookeeper_server servers[AB_ZOOKEEPER_SERVERS_MAX])
{
    for (uint32_t i = 0; i < AB_ZOOKEEPER_SERVERS_MAX; i++) {
        ab_delete((void *)servers[i].directory);
        servers[i].directory = NULL;
    }
}

char *ab_nodes_coordination(const struct ab_nodes *nodes)
{
    struct ab_zookeeper_server servers[AB_ZOOKEEPER_SERVERS_MAX];
    ab_nodes_servers("", nodes, servers);
    char *address = ab_zookeeper_address(servers, nodes->zookeepers_count, CHROOT);
    ab_nodes_servers_free(servers);
    return address;
}

ab_err ab_nodes_session_open(const char *directory, const struct ab_nodes *nodes, int64_t call_timeout_us,
    struct ab_coordination **session, struct ab_error *error)
{
    struct ab_buffer credential = {0};
    char *path = ab_layout_path(directory, "zookeeper/credential");
    char *address = ab_nodes_coordination(nodes);
    ab_err err = ab_coordination_credential_read(path, &credential, error);
    if (err == AB_OK) {
        const struct ab_coordination_options options = {
            .credential = ab_buffer_view(&credential), .call_timeout_us = call_timeout_us};
        err = ab_coordination_open_with(address, &options, session, error);
    }
    if (credential.bytes > 0) {
        ab_crypto_wipe(credential.data, credential.bytes);
    }
    ab_buffer_fini(&credential);
    ab_delete(address);
    ab_delete(path);
    return err;
}

static struct ab_json *settings_encode(const struct ab_nodes *nodes, uint32_t count)
{
    char id[33];
    struct ab_json *json = ab_json_object();
    ab_cluster_id_format(nodes->identity.cluster_id, id);
    ab_json_set(json, "format", ab_json_integer(FORMAT));
    ab_json_set(json, "cluster", ab_json_text(id));
    ab_json_set(json, "partitions", ab_json_integer(nodes->identity.partitions_count));
    ab_json_set(json, "replicas", ab_json_integer(AB_NODES_REPLICAS));
    ab_json_set(json, "min_isr", ab_json_integer(AB_NODES_MIN_ISR));
    ab_json_set(json, "nodes", ab_json_integer(count));
    return json;
}

/* How many nodes a stored text says that the cluster began with; 0. */
static uint32_t founders_read(struct ab_bytes text)
{
    struct ab_json *json = NULL;
    int64_t count = 0;
    if (ab_json_parse(text, &json, NULL) == AB_OK) {
        count = ab_json_integer_or(ab_json_get(json, "nodes"), 0);
    }
    ab_json_destroy(json);
    return count < AB_NODES_REPLICAS || count > UINT32_MAX ? 0 : (uint32_t)count;
}

ab_err ab_nodes_settle(const struct ab_nodes *nodes, struct ab_coordination *coordination, struct ab_error *error)
{
    struct ab_buffer wanted;
    struct ab_buffer found;
    ab_buffer_init(&wanted, NULL, 0);
    ab_buffer_init(&found, NULL, AB_COORDINATION_VALUE_BYTES_MAX);
    ab_err err = ab_coordination_get(coordination, "/cluster", &found, NULL, NULL);
    struct ab_json *json =
        settings_encode(nodes, err == AB_OK ? founders_read(ab_buffer_view(&found)) : ab_nodes_present(nodes));
    ab_json_write(json, 0, &wanted);
    ab_json_destroy(json);
    if (err == AB_NOT_FOUND) {
        err = ab_coordination_create(coordination, "/cluster", ab_buffer_view(&wanted), false, error);
    } else if (err != AB_OK) {
        err = ab_error_set(error, err, "what ZooKeeper says of the cluster cannot be read: %s", ab_err_text(err));
    } else if (!ab_bytes_equal(ab_buffer_view(&wanted), ab_buffer_view(&found))) {
        err = ab_error_set(
            error, AB_MISMATCH, "ZooKeeper holds another cluster than this directory: %s", ab_buffer_text(&found));
    }
    ab_buffer_fini(&found);
    ab_buffer_fini(&wanted);
    return err;
}
