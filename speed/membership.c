#include "speed/membership.h"

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/logging.h"
#include "common/base/map.h"
#include "common/base/queue.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/coordination/registration.h"
#include "common/wire/link.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#define QUESTIONS_MAX 65536u
#define ROUND_US (20 * AB_US_PER_MS)
#define TROUBLE_US (200 * AB_US_PER_MS)
#define LEASE_TOLD_US (250 * AB_US_PER_MS)
#define ENDLESS_US (INT64_MAX / 4)

/* What a replica asks of the coordination service. */
struct question {
    bool is_proposal;
    uint32_t partition;
    uint64_t epoch;              /* reading */
    struct ab_replica_set state; /* proposal, as all below */
    uint64_t version;
    uint32_t joining;
};

/* A process of another node that lives. */
struct peer {
    uint32_t node;
    struct ab_hash128 incarnation;
    struct ab_registration_endpoints endpoints;
    struct ab_link *link; /* owned; NULL = its endpoint cannot be used */
    bool is_seen;         /* in the round at hand */
};

struct ab_membership {
    struct ab_membership_options options; /* directory and rack owned */
    char *disk_path;                      /* owned */
    struct ab_hash128 disk_id;
    struct ab_hash128 incarnation;
    uint64_t starts;
    bool was_here; /* the disk was found, and had counted a start */
    struct ab_registration_endpoints endpoints;
    uint32_t *damaged; /* owned; as registered; membership thread, as the next two */
    uint32_t damaged_count;
    uint32_t *damaged_now;            /* owned; room for all partitions */
    struct ab_membership_start start; /* callbacks only */
    struct ab_queue *questions;       /* owned; of struct question */
    struct ab_thread thread;
    bool is_started; /* main thread */
    atomic_bool is_stopping;
    atomic_bool is_over;

    struct ab_lock lock; /* guards the list of peers: outlets look links up */
    struct peer **peers; /* owned */
    size_t peers_count;

    uint64_t revision;  /* thread, as below: of the coordination service when it was last looked at */
    uint64_t *versions; /* owned; per partition: of the state last told, plus 1; 0 = none */
    uint64_t *excluded; /* owned; per partition: leader epoch of the state last told, plus 1, if this node is to be told
                           that it is excluded by it; 0 = not */

    struct ab_thread session_thread;
    enum ab_replica_session session; /* session thread, as all below: what was told last */
    bool is_session_told;
    int64_t alive_told_us; /* when the session last lived, as replicas know it */
};

/* ---- who this is ---- */

static ab_err disk_write(const struct ab_membership *membership, const char *path, struct ab_error *error)
{
    char disk[33];
    char starts[24];
    ab_hash128_format(membership->disk_id, disk);
    (void)snprintf(starts, sizeof starts, "%" PRIu64, membership->starts);
    struct ab_json *json = ab_json_object();
    ab_json_set(json, "format", ab_json_integer(1));
    ab_json_set(json, "disk", ab_json_text(disk));
    ab_json_set(json, "starts", ab_json_text(starts));
    struct ab_buffer text = {0};
    ab_json_write(json, 0, &text);
    ab_json_destroy(json);
    ab_err err = ab_file_replace(path, ab_buffer_view(&text), 0600, error);
    ab_buffer_fini(&text);
    return err;
}

static ab_err disk_read(struct ab_membership *membership, const char *path, struct ab_error *error)
{
    struct ab_buffer text = {0};
    struct ab_json *json = NULL;
    ab_err err = ab_file_read_all(path, &text, error);
    if (err == AB_OK) {
        err = ab_json_parse(ab_buffer_view(&text), &json, error);
    }
    ab_buffer_fini(&text);
    AB_TRY(err);
    const char *disk = ab_json_text_or(ab_json_get(json, "disk"), "");
    bool is_read = ab_hash128_parse(ab_bytes_of_text(disk), &membership->disk_id) == AB_OK;
    membership->starts = ab_json_u64_or(ab_json_get(json, "starts"), 0);
    is_read = is_read && ab_json_integer_or(ab_json_get(json, "format"), 0) == 1;
    ab_json_destroy(json);
    return is_read ? AB_OK : ab_error_set(error, AB_CORRUPT, "%s does not say whose disk this is", path);
}

static ab_err disk_open(struct ab_membership *membership, struct ab_error *error)
{
    ab_err err = AB_OK;
    if (ab_file_exists(membership->disk_path)) {
        err = disk_read(membership, membership->disk_path, error);
        membership->was_here = membership->starts > 0;
    } else {
        membership->disk_id = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
        err = disk_write(membership, membership->disk_path, error);
    }
    return err;
}

ab_err ab_membership_create(
    const struct ab_membership_options *options, struct ab_membership **membership, struct ab_error *error)
{
    struct ab_membership *made = ab_new(struct ab_membership);
    made->options = *options;
    made->options.directory = ab_new_text(options->directory);
    made->options.rack = ab_new_text(options->rack);
    made->disk_path = ab_new_format("%s/disk.json", options->directory);
    made->damaged = ab_new_array(uint32_t, options->partitions_count);
    made->damaged_now = ab_new_array(uint32_t, options->partitions_count);
    made->incarnation = (struct ab_hash128){.low = ab_random_id(), .high = ab_random_id()};
    made->questions = ab_queue_create(QUESTIONS_MAX, SIZE_MAX);
    made->versions = ab_new_array(uint64_t, options->partitions_count);
    made->excluded = ab_new_array(uint64_t, options->partitions_count);
    ab_lock_init(&made->lock);
    ab_err err = disk_open(made, error);
    if (err != AB_OK) {
        ab_membership_destroy(made);
        return err;
    }
    *membership = made;
    return AB_OK;
}

void ab_membership_destroy(struct ab_membership *membership)
{
    if (membership == NULL) {
        return;
    }
    ab_membership_stop(membership);
    void *item = NULL;
    while (ab_queue_take(membership->questions, &item, 1, 0) == 1) {
        ab_delete(item);
    }
    ab_queue_destroy(membership->questions);
    ab_delete(membership->versions);
    ab_delete(membership->excluded);
    ab_delete(membership->damaged);
    ab_delete(membership->damaged_now);
    ab_delete(membership->disk_path);
    ab_lock_fini(&membership->lock);
    ab_delete((char *)(uintptr_t)membership->options.directory);
    ab_delete((char *)(uintptr_t)membership->options.rack);
    ab_delete(membership);
}

struct ab_hash128 ab_membership_incarnation(const struct ab_membership *membership)
{
    return membership->incarnation;
}

struct ab_hash128 ab_membership_disk_id(const struct ab_membership *membership)
{
    return membership->disk_id;
}

bool ab_membership_was_here(const struct ab_membership *membership)
{
    return membership->was_here;
}

/* ---- registering ---- */

static void endpoint_add(struct ab_registration_endpoints *endpoints, const char *name, const char *address)
{
    struct ab_registration_endpoint *endpoint = &endpoints->items[endpoints->count++];
    (void)snprintf(endpoint->name, sizeof endpoint->name, "%s", name);
    (void)snprintf(endpoint->address, sizeof endpoint->address, "%s", address);
}

static void endpoints_fill(const struct ab_membership_start *start, struct ab_registration_endpoints *endpoints)
{
    struct ab_buffer hex = {0};
    ab_buffer_put_as_hex(&hex, ab_bytes_of(start->public_key, AB_WIRE_KEY_BYTES));
    endpoint_add(endpoints, "speed", start->address);
    endpoint_add(endpoints, "speed-key", ab_buffer_text(&hex));
    ab_buffer_fini(&hex);
}

/* What is stored of this node; AB_NOT_FOUND when nothing is. */
static ab_err node_read(const struct ab_membership *membership, const char *path, struct ab_node_registration *stored,
    uint64_t *version, struct ab_error *error)
{
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat = {0};
    ab_err err = ab_coordination_get(membership->options.coordination, path, &text, &stat, error);
    if (err == AB_OK) {
        err = ab_node_registration_decode(ab_buffer_view(&text), stored, error);
    }
    ab_buffer_fini(&text);
    *version = stat.version;
    return err;
}

static ab_err node_store(
    struct ab_membership *membership, const char *path, bool is_new, uint64_t version, struct ab_error *error)
{
    struct ab_coordination *coordination = membership->options.coordination;
    struct ab_buffer text = {0};
    struct ab_node_registration own = {.node = membership->options.node,
        .disk_id = membership->disk_id,
        .starts = membership->starts,
        .weight = membership->options.weight,
        .endpoints = membership->endpoints};
    (void)snprintf(own.rack, sizeof own.rack, "%s", membership->options.rack);
    ab_err err = ab_node_registration_encode(&own, &text, error);
    if (err == AB_OK) {
        err = is_new ? ab_coordination_create(coordination, path, ab_buffer_view(&text), false, error)
                     : ab_coordination_set(coordination, path, ab_buffer_view(&text), version, error);
    }
    ab_buffer_fini(&text);
    return err;
}

/* Creates or renews /nodes/<node>, if this disk may be that node. The disk counts the start once it is admitted, and
 * before anybody is told. */
static ab_err node_register(struct ab_membership *membership, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_node_registration stored;
    uint64_t version = 0;
    ab_node_path(membership->options.node, path);
    ab_err err = node_read(membership, path, &stored, &version, error);
    bool is_new = err == AB_NOT_FOUND;
    if (err == AB_OK) {
        err = ab_node_registration_admits(&stored, membership->disk_id, membership->starts + 1, error);
    }
    if (err != AB_OK && !is_new) {
        return err;
    }
    membership->starts++;
    AB_TRY(disk_write(membership, membership->disk_path, error));
    return node_store(membership, path, is_new, version, error);
}

/* Creates /live/<node>-<incarnation>, or tells it anew. */
static ab_err live_store(struct ab_membership *membership, bool is_new, struct ab_error *error)
{
    struct ab_coordination *coordination = membership->options.coordination;
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_live_node live = {.node = membership->options.node,
        .incarnation = membership->incarnation,
        .disk_id = membership->disk_id,
        .starts = membership->starts,
        .endpoints = membership->endpoints,
        .damaged = membership->damaged,
        .damaged_count = membership->damaged_count};
    ab_live_path(live.node, live.incarnation, path);
    ab_err err = ab_live_node_encode(&live, &text, error);
    if (err == AB_OK) {
        err = is_new
                  ? ab_coordination_create(coordination, path, ab_buffer_view(&text), true, error)
                  : ab_coordination_set(coordination, path, ab_buffer_view(&text), AB_COORDINATION_ANY_VERSION, error);
    }
    ab_buffer_fini(&text);
    return err;
}

/* Takes off one registration if it is of an earlier process of this disk. */
static ab_err predecessor_remove(struct ab_membership *membership, const char *path, struct ab_error *error)
{
    struct ab_buffer text = {0};
    struct ab_live_node live = {0};
    ab_err err = ab_coordination_get(membership->options.coordination, path, &text, NULL, error);
    bool is_predecessor = err == AB_OK && ab_live_node_decode(ab_buffer_view(&text), &live, NULL) == AB_OK &&
                          live.node == membership->options.node &&
                          ab_hash128_equal(live.disk_id, membership->disk_id) && live.starts < membership->starts;
    ab_live_node_fini(&live);
    ab_buffer_fini(&text);
    if (is_predecessor) {
        err = ab_coordination_delete(membership->options.coordination, path, AB_COORDINATION_ANY_VERSION, error);
    }
    return err == AB_NOT_FOUND ? AB_OK : err;
}

/* An earlier process of this disk is dead: this one holds its logs' locks. Others need not wait until its session has
 * expired. */
static ab_err predecessors_remove(struct ab_membership *membership, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    ab_err err = ab_coordination_children(membership->options.coordination, "/live", &names, &count, error);
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        char *path = ab_new_format("/live/%s", names[i]);
        err = predecessor_remove(membership, path, error);
        ab_delete(path);
    }
    ab_coordination_names_free(names, count);
    return err;
}

static uint32_t damaged_look(struct ab_membership *membership)
{
    const struct ab_membership_start *start = &membership->start;
    return start->damaged == NULL ? 0 : start->damaged(membership->damaged_now, start->context);
}

static void damaged_take(struct ab_membership *membership, uint32_t count)
{
    membership->damaged_count = count;
    memcpy(membership->damaged, membership->damaged_now, count * sizeof membership->damaged[0]);
}

/* What became whole is told until the service has heard it: until then the replica is not elected. */
static void damaged_tell(struct ab_membership *membership)
{
    struct ab_error error = {0};
    uint32_t count = damaged_look(membership);
    if (count == membership->damaged_count &&
        memcmp(membership->damaged, membership->damaged_now, count * sizeof membership->damaged[0]) == 0) {
        return;
    }
    uint32_t before = membership->damaged_count;
    damaged_take(membership, count);
    if (live_store(membership, false, &error) != AB_OK) {
        ab_warn("partitions that are whole again not told", "%s", error.text);
        membership->damaged_count = before == count ? UINT32_MAX : before; /* differs: tried again */
    }
}

/* ---- telling replicas ---- */

/* Inputs that must not get lost wait for room. */
static void tell(struct ab_membership *membership, const struct ab_replica_input *input)
{
    struct ab_replica_input *copy = ab_new(struct ab_replica_input);
    *copy = *input;
    while (!membership->start.on_input(copy, membership->start.context)) {
        if (atomic_load(&membership->is_stopping)) {
            ab_replica_input_destroy(copy);
            return;
        }
        ab_time_sleep_us(AB_US_PER_MS);
    }
}

static void tell_gone(
    struct ab_membership *membership, uint32_t partition, uint32_t node, struct ab_hash128 incarnation)
{
    const struct ab_replica_input input = {
        .kind = AB_REPLICA_INPUT_GONE, .partition = partition, .node = node, .incarnation = incarnation};
    tell(membership, &input);
}

/* ---- peers ---- */

static void on_answer(struct ab_answer *answer, void *context)
{
    struct ab_membership *membership = context;
    struct ab_replica_input *input = ab_new(struct ab_replica_input);
    input->kind = AB_REPLICA_INPUT_ANSWER;
    input->answer = *answer;
    bool is_one = input->answer.envelope.status == AB_OK && input->answer.payload.bytes > 0 &&
                  ab_replica_message_decode(input->answer.payload, &input->message) == AB_OK &&
                  input->message.partition < membership->options.partitions_count; /* not all of them */
    input->partition = input->message.partition;
    if (!is_one || !membership->start.on_input(input, membership->start.context)) {
        ab_replica_input_destroy(input); /* a refusal, or too much waits: the replica asks again */
    }
}

static const char *endpoint_of(const struct ab_registration_endpoints *endpoints, const char *name)
{
    for (uint32_t i = 0; i < endpoints->count; i++) {
        if (strcmp(endpoints->items[i].name, name) == 0) {
            return endpoints->items[i].address;
        }
    }
    return "";
}

static void peer_connect(struct ab_membership *membership, struct peer *peer)
{
    struct ab_error error = {0};
    struct ab_buffer key = {0};
    const char *address = endpoint_of(&peer->endpoints, "speed");
    ab_err err = ab_buffer_put_from_hex(&key, ab_bytes_of_text(endpoint_of(&peer->endpoints, "speed-key")));
    if (err != AB_OK || key.bytes != AB_WIRE_KEY_BYTES) {
        ab_error_log("node has no usable endpoint", "node %u, %s: no key", peer->node, address);
    } else {
        struct ab_link_options options = {.address = address, .on_answer = on_answer, .context = membership};
        memcpy(options.server_key, key.data, AB_WIRE_KEY_BYTES);
        if (ab_link_open(membership->options.wire, &options, &peer->link, &error) != AB_OK) {
            ab_error_log("node cannot be reached", "node %u: %s", peer->node, error.text);
        }
    }
    ab_buffer_fini(&key);
}

static struct peer *peer_find(
    const struct ab_membership *membership, uint32_t node, const struct ab_hash128 *incarnation)
{
    for (size_t i = 0; i < membership->peers_count; i++) {
        struct peer *peer = membership->peers[i];
        if (peer->node == node && (incarnation == NULL || ab_hash128_equal(peer->incarnation, *incarnation))) {
            return peer;
        }
    }
    return NULL;
}

static void peer_add(struct ab_membership *membership, const struct ab_live_node *live)
{
    struct peer *peer = ab_new(struct peer);
    *peer = (struct peer){
        .node = live->node, .incarnation = live->incarnation, .endpoints = live->endpoints, .is_seen = true};
    if (live->node != membership->options.node) {
        peer_connect(membership, peer);
    }
    ab_info("node seen", "node %u at %s", peer->node, endpoint_of(&peer->endpoints, "speed"));
    ab_lock_take(&membership->lock);
    membership->peers = ab_renew_bytes(membership->peers, (membership->peers_count + 1) * sizeof(struct peer *));
    /* The newest process of a node stands before older ones, whose end may not be noticed yet. */
    memmove(membership->peers + 1, membership->peers, membership->peers_count * sizeof(struct peer *));
    membership->peers[0] = peer;
    membership->peers_count++;
    ab_lock_give(&membership->lock);
}

static void peer_remove(struct ab_membership *membership, size_t at)
{
    ab_lock_take(&membership->lock);
    struct peer *peer = membership->peers[at];
    memmove(
        membership->peers + at, membership->peers + at + 1, (membership->peers_count - at - 1) * sizeof(struct peer *));
    membership->peers_count--;
    ab_lock_give(&membership->lock);
    ab_link_close(peer->link);
    ab_delete(peer);
}

static ab_err live_read(struct ab_membership *membership, const char *name, struct ab_error *error)
{
    struct ab_buffer text = {0};
    struct ab_live_node live = {0};
    char *path = ab_new_format("/live/%s", name);
    ab_err err = ab_coordination_get(membership->options.coordination, path, &text, NULL, error);
    ab_delete(path);
    if (err == AB_OK) {
        err = ab_live_node_decode(ab_buffer_view(&text), &live, error);
    }
    ab_buffer_fini(&text);
    if (err == AB_OK) {
        struct peer *peer = peer_find(membership, live.node, &live.incarnation);
        if (peer == NULL) {
            peer_add(membership, &live);
        } else {
            peer->is_seen = true;
        }
    }
    ab_live_node_fini(&live);
    return err == AB_NOT_FOUND ? AB_OK : err; /* it went in between */
}

static ab_err live_refresh(struct ab_membership *membership, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_coordination_children(membership->options.coordination, "/live", &names, &count, error));
    for (size_t i = 0; i < membership->peers_count; i++) {
        membership->peers[i]->is_seen = false;
    }
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        err = live_read(membership, names[i], error);
    }
    ab_coordination_names_free(names, count);
    AB_TRY(err);
    for (size_t i = membership->peers_count; i > 0; i--) {
        const struct peer *peer = membership->peers[i - 1];
        if (!peer->is_seen) {
            ab_info("node gone", "node %u", peer->node);
            tell_gone(membership, AB_REPLICA_INPUT_ALL, peer->node, peer->incarnation);
            peer_remove(membership, i - 1);
        }
    }
    return AB_OK;
}

/* ---- partitions ---- */

/* True when a process that was registered is so no more: asked of the service, for it may have registered after the
 * list of peers was read, and what is told as gone is never listened to again. */
static bool is_gone(struct ab_membership *membership, const struct ab_replica_member *member)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    ab_live_path(member->node, member->incarnation, path);
    return peer_find(membership, member->node, &member->incarnation) == NULL &&
           ab_coordination_get(membership->options.coordination, path, NULL, NULL, NULL) == AB_NOT_FOUND;
}

/* Members whose process is not there any more: who leads should know at once. */
static void members_check(struct ab_membership *membership, const struct ab_replica_set *state)
{
    for (uint32_t i = 0; i < state->isr.count; i++) {
        const struct ab_replica_member *member = &state->isr.items[i];
        if (is_gone(membership, member)) {
            tell_gone(membership, state->partition, member->node, member->incarnation);
        }
    }
}

static void exclusion_note(struct ab_membership *membership, const struct ab_replica_set *state)
{
    uint32_t node = membership->options.node;
    bool is_listed = ab_replica_nodes_has(&state->replicas, node) || ab_replica_nodes_has(&state->learners, node);
    membership->excluded[state->partition] = is_listed ? 0 : state->leader_epoch + 1;
}

/* Tells of one exclusion once the service says that this state is in force. AB_CONFLICT: a newer one is read soon. */
static ab_err exclusion_tell(struct ab_membership *membership, uint32_t partition, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    ab_replica_set_path(partition, path);
    const struct ab_coordination_op check = {
        .kind = AB_COORDINATION_CHECK, .path = path, .version = membership->versions[partition] - 1};
    AB_TRY(ab_coordination_multi(membership->options.coordination, &check, 1, NULL, error));
    const struct ab_replica_input input = {
        .kind = AB_REPLICA_INPUT_EXCLUDED, .partition = partition, .epoch = membership->excluded[partition] - 1};
    tell(membership, &input);
    return AB_OK;
}

static void exclusions_tell(struct ab_membership *membership)
{
    const struct ab_membership_start *start = &membership->start;
    for (uint32_t p = 0; p < membership->options.partitions_count; p++) {
        struct ab_error error = {0};
        if (membership->excluded[p] == 0 || start->holds == NULL) {
            continue;
        }
        ab_err err = start->holds(p, start->context) ? exclusion_tell(membership, p, &error) : AB_OK;
        if (err == AB_OK || err == AB_CONFLICT) {
            membership->excluded[p] = 0;
        } else {
            ab_warn("exclusion not confirmed", "partition %u: %s", p, error.text);
            return;
        }
    }
}

/* Reads one partition's state; tells of it when it is new, or when a replica asked for it. */
static ab_err state_read(
    struct ab_membership *membership, uint32_t partition, bool is_asked, uint64_t epoch, struct ab_error *error)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    struct ab_buffer text = {0};
    struct ab_coordination_stat stat = {0};
    struct ab_replica_input input = {
        .kind = AB_REPLICA_INPUT_STATE, .partition = partition, .is_synced = is_asked, .epoch = epoch};
    ab_replica_set_path(partition, path);
    ab_err err = ab_coordination_get(membership->options.coordination, path, &text, &stat, error);
    if (err == AB_OK) {
        err = ab_replica_set_decode(ab_buffer_view(&text), &input.state, error);
    }
    ab_buffer_fini(&text);
    if (err == AB_NOT_FOUND) {
        return AB_OK; /* not assigned yet */
    }
    AB_TRY(err);
    bool is_new = membership->versions[partition] != stat.version + 1;
    if (is_new || is_asked) {
        membership->versions[partition] = stat.version + 1;
        input.version = stat.version + 1; /* 0 is none */
        tell(membership, &input);
    }
    if (is_new) {
        exclusion_note(membership, &input.state);
        members_check(membership, &input.state);
    }
    return AB_OK;
}

static ab_err refresh(struct ab_membership *membership, struct ab_error *error)
{
    uint64_t revision = 0;
    AB_TRY(ab_coordination_revision(membership->options.coordination, &revision, error));
    if (revision == membership->revision) {
        return AB_OK;
    }
    AB_TRY(live_refresh(membership, error));
    for (uint32_t p = 0; p < membership->options.partitions_count; p++) {
        AB_TRY(state_read(membership, p, false, 0, error));
    }
    membership->revision = revision;
    return AB_OK;
}

/* ---- proposals ---- */

/* One multi: the state's version, and that who joins lives (R9). */
static enum ab_replica_outcome propose(struct ab_membership *membership, const struct question *question)
{
    char path[AB_REGISTRATION_PATH_BYTES];
    char live[AB_REGISTRATION_PATH_BYTES];
    struct ab_error error = {0};
    struct ab_buffer text = {0};
    struct ab_coordination_op ops[2];
    size_t count = 0;
    ab_replica_set_path(question->partition, path);
    uint32_t at = ab_replica_members_find(&question->state.isr, question->joining);
    if (question->joining != AB_NODE_NONE && at != UINT32_MAX) {
        ab_live_path(question->joining, question->state.isr.items[at].incarnation, live);
        ops[count++] = (struct ab_coordination_op){
            .kind = AB_COORDINATION_CHECK, .path = live, .version = AB_COORDINATION_ANY_VERSION};
    }
    ab_err err = ab_replica_set_encode(&question->state, &text, &error);
    if (err == AB_OK) {
        ops[count++] = (struct ab_coordination_op){.kind = AB_COORDINATION_SET,
            .path = path,
            .value = ab_buffer_view(&text),
            .version = question->version - 1};
        err = ab_coordination_multi(membership->options.coordination, ops, count, NULL, &error);
    }
    ab_buffer_fini(&text);
    if (err == AB_OK) {
        return AB_REPLICA_APPLIED;
    }
    ab_info("in-sync set not changed", "partition %u: %s", question->partition, error.text);
    return err == AB_OUTCOME_UNKNOWN || err == AB_IO ? AB_REPLICA_UNKNOWN : AB_REPLICA_NOT_APPLIED;
}

static void question_do(struct ab_membership *membership, const struct question *question)
{
    struct ab_error error = {0};
    if (!question->is_proposal) {
        ab_err err = state_read(membership, question->partition, true, question->epoch, &error);
        if (err != AB_OK) {
            ab_warn("state of a partition not read", "partition %u: %s", question->partition, error.text);
        }
        return;
    }
    struct ab_replica_input input = {.kind = AB_REPLICA_INPUT_PROPOSAL,
        .partition = question->partition,
        .token = question->state.token,
        .version = question->version + 1,
        .outcome = propose(membership, question)};
    tell(membership, &input);
}

/* ---- the session ---- */

static void outlet_over(void *context)
{
    struct ab_membership *membership = context;
    if (!atomic_exchange(&membership->is_over, true)) {
        ab_error_log("session with the coordination service lost", "this process of node %u ends and begins anew",
            membership->options.node);
        membership->start.on_over(membership->start.context);
    }
}

/* Replicas hear of every change, and of the session's life often enough that their lease does not run out. */
static void session_check(struct ab_membership *membership)
{
    struct ab_coordination_session_state state;
    ab_coordination_session_state(membership->options.coordination, &state);
    static const enum ab_replica_session of[] = {[AB_COORDINATION_CONNECTED] = AB_REPLICA_CONNECTED,
        [AB_COORDINATION_SUSPENDED] = AB_REPLICA_SUSPENDED,
        [AB_COORDINATION_EXPIRED] = AB_REPLICA_EXPIRED};
    enum ab_replica_session session = of[state.state];
    int64_t now_us = ab_time_monotonic_us();
    bool is_for_ever = state.timeout_us == 0; /* the session of one machine lives as long as its process */
    int64_t timeout_us = is_for_ever ? ENDLESS_US : state.timeout_us;
    int64_t alive_us = is_for_ever ? now_us : state.alive_us;
    if (ab_coordination_must_step_down(&state, now_us)) {
        session = AB_REPLICA_EXPIRED;
    }
    bool is_news = session != membership->session || alive_us - membership->alive_told_us >= LEASE_TOLD_US;
    if (membership->session == AB_REPLICA_EXPIRED || (membership->is_session_told && !is_news)) {
        return;
    }
    membership->is_session_told = true;
    membership->session = session;
    membership->alive_told_us = alive_us;
    struct ab_replica_input input = {.kind = AB_REPLICA_INPUT_SESSION,
        .partition = AB_REPLICA_INPUT_ALL,
        .session = session,
        .since_us = alive_us,
        .timeout_us = timeout_us};
    tell(membership, &input);
    if (session == AB_REPLICA_EXPIRED) {
        outlet_over(membership);
    }
}

/* A thread of its own: the other one waits in calls for as long as nobody answers. */
static void session_run(void *context)
{
    struct ab_membership *membership = context;
    while (!atomic_load(&membership->is_stopping)) {
        session_check(membership);
        ab_time_sleep_us(ROUND_US);
    }
}

/* ---- the thread ---- */

static void membership_run(void *context)
{
    struct ab_membership *membership = context;
    void *item = NULL;
    while (!atomic_load(&membership->is_stopping)) {
        struct ab_error error = {0};
        if (refresh(membership, &error) != AB_OK) {
            ab_warn("coordination service not read", "%s", error.text);
            ab_time_sleep_us(TROUBLE_US);
        }
        exclusions_tell(membership);
        damaged_tell(membership);
        if (ab_queue_take(membership->questions, &item, 1, ab_time_monotonic_us() + ROUND_US) == 1) {
            question_do(membership, item);
            ab_delete(item);
        }
    }
}

ab_err ab_membership_start(
    struct ab_membership *membership, const struct ab_membership_start *start, struct ab_error *error)
{
    static const char *const folders[] = {"/nodes", "/live", "/partitions"};
    membership->start = *start;
    endpoints_fill(start, &membership->endpoints);
    damaged_take(membership, damaged_look(membership));
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        AB_TRY(ab_coordination_ensure(membership->options.coordination, folders[i], error));
    }
    AB_TRY(node_register(membership, error));
    AB_TRY(predecessors_remove(membership, error));
    AB_TRY(live_store(membership, true, error));
    membership->session = AB_REPLICA_CONNECTED;
    ab_thread_start(&membership->thread, "membership", membership_run, membership);
    ab_thread_start(&membership->session_thread, "session", session_run, membership);
    membership->is_started = true;
    return AB_OK;
}

void ab_membership_stop(struct ab_membership *membership)
{
    if (!membership->is_started) {
        return;
    }
    membership->is_started = false;
    atomic_store(&membership->is_stopping, true);
    ab_queue_close(membership->questions);
    ab_thread_join(&membership->thread);
    ab_thread_join(&membership->session_thread);
    while (membership->peers_count > 0) {
        peer_remove(membership, membership->peers_count - 1);
    }
    ab_delete(membership->peers);
    membership->peers = NULL;
}

/* ---- outlets ---- */

static void outlet_send(void *context, const struct ab_replica_message *message)
{
    struct ab_membership *membership = context;
    struct ab_buffer payload = {0};
    struct ab_envelope envelope = {
        .verb = AB_VERB_REPLICATE, .partition = message->partition, .request_id = message->request};
    ab_replica_message_encode(message, &payload);
    ab_lock_take(&membership->lock);
    const struct peer *peer = peer_find(membership, message->to, NULL);
    if (peer != NULL && peer->link != NULL) {
        ab_err_ignore(ab_link_send(peer->link, &envelope, &payload)); /* what is lost is asked again */
    }
    ab_lock_give(&membership->lock);
    ab_buffer_fini(&payload);
}

static void ask(struct ab_membership *membership, const struct question *question)
{
    struct question *copy = ab_new(struct question);
    *copy = *question;
    if (ab_queue_try_put(membership->questions, copy, 0) != AB_OK) {
        ab_delete(copy); /* stopping, or many more than replicas can have open: they ask again */
    }
}

static void outlet_propose(void *context, const struct ab_replica_set *state, uint64_t version, uint32_t joining)
{
    const struct question question = {
        .is_proposal = true, .partition = state->partition, .state = *state, .version = version, .joining = joining};
    ask(context, &question);
}

static void outlet_read_state(void *context, uint32_t partition, uint64_t epoch)
{
    const struct question question = {.partition = partition, .epoch = epoch};
    ask(context, &question);
}

const struct ab_replicator_outlets ab_membership_outlets = {
    .send = outlet_send, .propose = outlet_propose, .read_state = outlet_read_state, .over = outlet_over};
