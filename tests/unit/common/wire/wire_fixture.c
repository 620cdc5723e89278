#include "tests/unit/common/wire/wire_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <zmq.h>

static void keys_make(struct ab_wire_keys *keys)
{
    char public_text[41];
    char secret_text[41];
    assert_int_equal(zmq_curve_keypair(public_text, secret_text), 0);
    assert_non_null(zmq_z85_decode(keys->public_key, public_text));
    assert_non_null(zmq_z85_decode(keys->secret_key, secret_text));
}

static void echo(struct ab_request *request, void *context)
{
    (void)context;
    ab_request_reply(request, AB_OK, NULL, request->payload);
}

void fixture_init(struct fixture *fixture)
{
    static const enum ab_role roles[] = {AB_ROLE_PRODUCER, AB_ROLE_QUERY, AB_ROLE_OPERATOR, AB_ROLE_NODE};
    *fixture = (struct fixture){0};
    keys_make(&fixture->server_keys);
    for (int i = 0; i < FIXTURE_KEYS; i++) {
        keys_make(&fixture->keys[i]);
    }
    for (int i = 0; i < FIXTURE_UNKNOWN; i++) {
        memcpy(fixture->peers[i].public_key, fixture->keys[i].public_key, AB_WIRE_KEY_BYTES);
        fixture->peers[i].role = roles[i];
        snprintf(fixture->peers[i].name, sizeof fixture->peers[i].name, "key-%d", i);
    }
    struct ab_wire_options options = {.keys = fixture->server_keys,
        .peers = fixture->peers,
        .peers_count = FIXTURE_UNKNOWN,
        .cluster_id = {9, 9},
        .node = "server"};
    struct ab_error error = {0};
    assert_int_equal(ab_wire_open(&options, &fixture->wire, &error), AB_OK);
}

void fixture_serve(struct fixture *fixture, const struct ab_server_options *options)
{
    struct ab_error error = {0};
    struct ab_server_options complete = options == NULL ? (struct ab_server_options){0} : *options;
    complete.address = complete.address == NULL ? "tcp://127.0.0.1:*" : complete.address;
    complete.on_request = complete.on_request == NULL ? echo : complete.on_request;
    if (ab_server_open(fixture->wire, &complete, &fixture->server, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    snprintf(fixture->address, sizeof fixture->address, "%s", ab_server_address(fixture->server));
}

void fixture_fini(struct fixture *fixture)
{
    ab_server_close(fixture->server);
    ab_wire_close(fixture->wire);
}

struct ab_wire *fixture_client(const struct fixture *fixture, int key)
{
    struct ab_wire_options options = {.keys = fixture->keys[key], .cluster_id = {9, 9}, .node = "client"};
    struct ab_wire *wire = NULL;
    assert_int_equal(ab_wire_open(&options, &wire, NULL), AB_OK);
    return wire;
}

struct ab_channel *fixture_channel(const struct fixture *fixture, struct ab_wire *client, size_t message_bytes_max)
{
    struct ab_channel_options options = {.address = fixture->address, .message_bytes_max = message_bytes_max};
    struct ab_channel *channel = NULL;
    memcpy(options.server_key, fixture->server_keys.public_key, AB_WIRE_KEY_BYTES);
    assert_int_equal(ab_channel_open(client, &options, &channel, NULL), AB_OK);
    return channel;
}
