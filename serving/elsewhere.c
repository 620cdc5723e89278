#include "serving/elsewhere.h"

#include "common/base/time.h"

#define TRY_MS 5000 /* at most for one of several nodes: it may be gone, and that is not noticed yet */

/* A channel to the serving of a node. */
struct route {
    struct ab_leaders_node node;
    struct ab_channel *channel; /* owned */
};

struct ab_elsewhere {
    struct ab_wire *wire; /* borrowed */
    uint32_t node;
    struct route *routes; /* owned */
    size_t routes_count;
};

struct ab_elsewhere *ab_elsewhere_create(struct ab_wire *wire, uint32_t node)
{
    struct ab_elsewhere *elsewhere = ab_new(struct ab_elsewhere);
    elsewhere->wire = wire;
    elsewhere->node = node;
    return elsewhere;
}

void ab_elsewhere_destroy(struct ab_elsewhere *elsewhere)
{
    if (elsewhere == NULL) {
        return;
    }
    for (size_t i = 0; i < elsewhere->routes_count; i++) {
        ab_channel_close(elsewhere->routes[i].channel);
    }
    ab_delete(elsewhere->routes);
    ab_delete(elsewhere);
}

/* The channel to a node, opened again when it serves elsewhere than before. */
static ab_err route_to(struct ab_elsewhere *elsewhere, const struct ab_leaders_node *node, struct ab_channel **channel,
    struct ab_error *error)
{
    struct route *route = NULL;
    for (size_t i = 0; i < elsewhere->routes_count && route == NULL; i++) {
        route = elsewhere->routes[i].node.node == node->node ? &elsewhere->routes[i] : NULL;
    }
    if (route != NULL && ab_leaders_node_equal(&route->node, node)) {
        *channel = route->channel;
        return AB_OK;
    }
    struct ab_channel_options options = {.address = node->endpoint.address};
    memcpy(options.server_key, node->endpoint.public_key, sizeof options.server_key);
    AB_TRY(ab_channel_open(elsewhere->wire, &options, channel, error));
    if (route == NULL) {
        size_t bytes = (elsewhere->routes_count + 1) * sizeof elsewhere->routes[0];
        elsewhere->routes = ab_renew_bytes(elsewhere->routes, bytes);
        route = &elsewhere->routes[elsewhere->routes_count++];
    } else {
        ab_channel_close(route->channel);
    }
    *route = (struct route){.node = *node, .channel = *channel};
    return AB_OK;
}

/* One node's try. */
static ab_err node_ask(struct ab_elsewhere *elsewhere, const struct ab_leaders_node *node, struct ab_bytes query,
    int timeout_ms, struct ab_buffer *reply, struct ab_error *error)
{
    struct ab_channel *channel = NULL;
    struct ab_answer answer = {0};
    AB_TRY(route_to(elsewhere, node, &channel, error));
    ab_err err = ab_channel_call(channel, AB_VERB_QUERY, query, timeout_ms, &answer, error);
    if (err == AB_OK) {
        ab_buffer_put_bytes(reply, answer.payload);
        err = ab_buffer_finish(reply) == AB_OK ? AB_OK : ab_error_set(error, AB_FULL, "no memory for the answer");
    }
    ab_answer_free(&answer);
    return err;
}

/* Not the query's fault: another node may do better. */
static bool is_passed_over(ab_err err)
{
    return err == AB_CORRUPT || err == AB_UNAVAILABLE || err == AB_TIMEOUT || err == AB_CLOSED || err == AB_DENIED ||
           err == AB_UNSUPPORTED;
}

ab_err ab_elsewhere_query(struct ab_elsewhere *elsewhere, const struct ab_leaders *leaders, struct ab_bytes query,
    int64_t deadline_us, struct ab_buffer *reply, struct ab_error *error)
{
    uint32_t count = leaders->servings_count;
    uint32_t first = 0;
    while (first < count && leaders->servings[first].node <= elsewhere->node) {
        first++;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct ab_leaders_node *node = &leaders->servings[(first + i) % count];
        int64_t left_ms = (deadline_us - ab_time_monotonic_us()) / AB_US_PER_MS;
        struct ab_error attempt = {0};
        if (node->node == elsewhere->node || left_ms <= 0) {
            continue;
        }
        ab_err err =
            node_ask(elsewhere, node, query, left_ms > TRY_MS && count > 2 ? TRY_MS : (int)left_ms, reply, &attempt);
        if (!is_passed_over(err)) {
            *error = attempt;
            return err;
        }
    }
    return ab_error_set(error, AB_UNAVAILABLE, "no other node answered it either");
}
