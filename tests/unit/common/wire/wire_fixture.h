/* wire_fixture: a server with an echo behind it, and clients of each role, for the tests of servers and channels. */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_WIRE_WIRE_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_COMMON_WIRE_WIRE_FIXTURE_H

#include "common/wire/wire.h"

enum { FIXTURE_PRODUCER, FIXTURE_QUERY, FIXTURE_OPERATOR, FIXTURE_NODE, FIXTURE_UNKNOWN, FIXTURE_KEYS };

struct fixture {
    struct ab_wire_keys server_keys;
    struct ab_wire_keys keys[FIXTURE_KEYS]; /* the last one is not on the list */
    struct ab_wire_peer peers[FIXTURE_UNKNOWN];
    struct ab_wire *wire; /* the server's */
    struct ab_server *server;
    char address[256];
};

/* A wire with keys and a list, without a server. */
void fixture_init(struct fixture *fixture);
/* Opens the server; `address` NULL takes any port. on_request NULL echoes the payload on the network thread. */
void fixture_serve(struct fixture *fixture, const struct ab_server_options *options);
/* Closes all. */
void fixture_fini(struct fixture *fixture);

/* A wire of a client with one of the fixture's keys. */
struct ab_wire *fixture_client(const struct fixture *fixture, int key);
/* A channel to the fixture's server. */
struct ab_channel *fixture_channel(const struct fixture *fixture, struct ab_wire *client, size_t message_bytes_max);

#endif
