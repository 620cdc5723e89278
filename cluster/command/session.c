#include "cluster/command/session.h"

#include "common/base/time.h"
#include "common/catalog/catalog.h"

#include <stdio.h>

#define CATALOG_TIMEOUT_MS 30000
#define TRY_TIMEOUT_MS 1000
#define TRY_PAUSE_US (50 * AB_US_PER_MS)

/* Directories of the nodes whose controller lives, those that serve first. */
static ab_err places_find(const char *directory, struct ab_session_places *places, struct ab_error *error)
{
    struct ab_nodes nodes;
    AB_TRY(ab_nodes_read(directory, &nodes, error));
    for (int is_serving = 1; is_serving >= 0; is_serving--) {
        for (uint32_t n = 1; n <= nodes.count; n++) {
            struct ab_running running;
            char *own = ab_nodes_directory(directory, n);
            if (ab_running_read(own, &running) && ab_running_is_serving(&running) == is_serving) {
                places->items[places->count++] = own;
            } else {
                ab_delete(own);
            }
        }
    }
    return AB_OK;
}

ab_err ab_session_places_find(const char *directory, struct ab_session_places *places, struct ab_error *error)
{
    struct ab_cluster_identity identity;
    struct ab_running running;
    *places = (struct ab_session_places){0};
    if (ab_nodes_is(directory)) {
        AB_TRY(places_find(directory, places, error));
    } else {
        AB_TRY(ab_cluster_identity_read(directory, &identity, error));
        if (ab_running_read(directory, &running)) {
            places->items[places->count++] = ab_new_text(directory);
        }
    }
    return places->count > 0
               ? AB_OK
               : ab_error_set(error, AB_UNAVAILABLE, "no cluster runs in %s; start it with `anabranch up --data %s`",
                     directory, directory);
}

void ab_session_places_free(struct ab_session_places *places)
{
    for (uint32_t i = 0; i < places->count; i++) {
        ab_delete(places->items[i]);
    }
    *places = (struct ab_session_places){0};
}

ab_err ab_session_open(const char *directory, const char *role, struct ab_session *session, struct ab_error *error)
{
    *session = (struct ab_session){0};
    AB_TRY(ab_session_places_find(directory, &session->places, error));
    /* All nodes of a cluster have the same keys. */
    const struct ab_node_options options = {.directory = session->places.items[0], .role = role, .name = "command"};
    return ab_node_open(&options, &session->node, error);
}

void ab_session_close(struct ab_session *session)
{
    ab_node_close(&session->node);
    ab_session_places_free(&session->places);
}

enum anabranch_result ab_session_client_open(
    const char *directory, const char *role, int timeout_ms, struct anabranch_client **client, struct ab_error *error)
{
    struct ab_session_places places;
    enum anabranch_result result = ANABRANCH_DEFINITELY_NOT;
    *client = NULL;
    if (!ab_nodes_is(directory)) { /* the library says what is wrong with it */
        places = (struct ab_session_places){.items = {ab_new_text(directory)}, .count = 1};
    } else if (ab_session_places_find(directory, &places, error) != AB_OK) {
        return result;
    }
    for (uint32_t i = 0; i < places.count && result != ANABRANCH_OK; i++) {
        char *key_file = ab_new_format("%s/keys/%s.key", places.items[i], role);
        const struct anabranch_options options = {
            .data_directory = places.items[i], .key_file = key_file, .timeout_ms = timeout_ms};
        anabranch_close(*client);
        result = anabranch_open(&options, client);
        ab_delete(key_file);
    }
    ab_session_places_free(&places);
    return result;
}

/* One try. */
static ab_err call_once(struct ab_session *session, const char *daemon, enum ab_verb verb, struct ab_bytes payload,
    int timeout_ms, struct ab_answer *answer, struct ab_error *error)
{
    const char *directory = session->places.items[session->current];
    struct ab_node_endpoint endpoint;
    struct ab_channel *channel = NULL;
    AB_TRY(ab_node_endpoint_read(directory, daemon, &endpoint, error));
    struct ab_channel_options options = {.address = endpoint.address};
    memcpy(options.server_key, endpoint.public_key, sizeof options.server_key);
    AB_TRY(ab_channel_open(session->node.wire, &options, &channel, error));
    ab_err err = ab_channel_call(channel, verb, payload, timeout_ms, answer, error);
    if (err == AB_TIMEOUT && ab_channel_was_refused(channel)) {
        *error = (struct ab_error){0};
        err = ab_error_set(error, AB_DENIED,
            "the %s daemon refused this key: it is not on the list of the cluster in %s", daemon, directory);
    } else if (err == AB_TIMEOUT) {
        err = ab_error_wrap(error, err, "the %s daemon at %s did not answer within %d ms; see %s/logs/%s.log", daemon,
            endpoint.address, timeout_ms, directory, daemon);
    }
    ab_channel_close(channel);
    return err;
}

/* What asks only may be asked again: a daemon that was started anew answers elsewhere. */
static bool is_repeatable(enum ab_verb verb)
{
    return verb == AB_VERB_PING || verb == AB_VERB_CATALOG || verb == AB_VERB_STATUS || verb == AB_VERB_JOB_SHOW ||
           verb == AB_VERB_JOB_LIST || verb == AB_VERB_DEAD_LETTERS;
}

static ab_err call_tries(struct ab_session *session, const char *daemon, enum ab_verb verb, struct ab_bytes payload,
    int timeout_ms, struct ab_answer *answer, struct ab_error *error)
{
    int64_t until = ab_time_monotonic_us() + timeout_ms * AB_US_PER_MS;
    uint32_t others = session->is_pinned ? 0 : session->places.count - 1;
    int slice_ms = is_repeatable(verb) ? TRY_TIMEOUT_MS : timeout_ms;
    for (;; slice_ms *= 2) { /* an answer may also take longer than the first slice */
        struct ab_error try_error = {0};
        int left_ms = (int)((until - ab_time_monotonic_us()) / AB_US_PER_MS);
        ab_err err = call_once(
            session, daemon, verb, payload, left_ms < slice_ms && left_ms > 0 ? left_ms : slice_ms, answer, &try_error);
        bool is_again = (err == AB_TIMEOUT || err == AB_UNAVAILABLE) && is_repeatable(verb);
        if (err == AB_UNAVAILABLE && others > 0) {
            is_again = true; /* nothing was done: another node may do it */
            others--;
        }
        if (is_again && !session->is_pinned) {
            session->current = (session->current + 1) % session->places.count;
        }
        if (!is_again || ab_time_monotonic_us() + TRY_PAUSE_US >= until) {
            *error = try_error;
            return err;
        }
        if (err == AB_UNAVAILABLE) {
            slice_ms /= 2;
            ab_time_sleep_us(TRY_PAUSE_US);
        }
    }
}

ab_err ab_session_call(struct ab_session *session, const char *daemon, enum ab_verb verb, const struct ab_json *payload,
    int timeout_ms, struct ab_json **reply, struct ab_error *error)
{
    struct ab_answer answer = {0};
    struct ab_buffer text;
    ab_buffer_init(&text, NULL, AB_WIRE_MESSAGE_BYTES_MAX);
    if (payload != NULL) {
        ab_json_write(payload, 0, &text);
    }
    ab_err err = call_tries(session, daemon, verb, ab_buffer_view(&text), timeout_ms, &answer, error);
    ab_buffer_fini(&text);
    if (err == AB_OK && reply != NULL && answer.payload.bytes == 0) {
        *reply = ab_json_object();
    } else if (err == AB_OK && reply != NULL) {
        err = ab_json_parse(answer.payload, reply, error);
    }
    ab_answer_free(&answer);
    return err;
}

ab_err ab_session_catalog(struct ab_session *session, struct ab_catalog **catalog, struct ab_error *error)
{
    struct ab_json *reply = NULL;
    struct ab_buffer encoded;
    ab_buffer_init(&encoded, NULL, AB_WIRE_MESSAGE_BYTES_MAX);
    ab_err err = ab_session_call(session, "serving", AB_VERB_CATALOG, NULL, CATALOG_TIMEOUT_MS, &reply, error);
    if (err == AB_OK) {
        err = ab_buffer_put_from_hex(&encoded, ab_json_bytes(ab_json_get(reply, "catalog")));
        err = err == AB_OK ? ab_catalog_decode(ab_buffer_view(&encoded), catalog, error)
                           : ab_error_set(error, err, "serving's catalog is not hexadecimal");
    }
    ab_buffer_fini(&encoded);
    ab_json_destroy(reply);
    return err;
}

ab_err ab_session_stream_check(const struct ab_catalog *catalog, const char *stream, struct ab_error *error)
{
    if (ab_catalog_stream(catalog, ab_bytes_of_text(stream)) != NULL) {
        return AB_OK;
    }
    const char **names = ab_new_array(const char *, catalog->streams_count + 1);
    for (uint32_t s = 0; s < catalog->streams_count; s++) {
        names[s] = catalog->streams[s].name;
    }
    const char *nearest = ab_catalog_nearest(ab_bytes_of_text(stream), names, catalog->streams_count);
    ab_delete(names);
    return ab_error_set(error, AB_NOT_FOUND, "no stream is named %s%s%s%s", stream,
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest, nearest == NULL ? "" : "?");
}
