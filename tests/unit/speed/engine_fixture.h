/* engine_fixture: an engine behind a real socket with CURVE in a scratch directory, a client of each role that speaks
 * to it, and blocks that belong to a partition. */
#ifndef ANABRANCH_TESTS_UNIT_SPEED_ENGINE_FIXTURE_H
#define ANABRANCH_TESTS_UNIT_SPEED_ENGINE_FIXTURE_H

#include "speed/engine.h"

#include "common/wire/codec.h"

#define ENGINE_PARTITIONS 3u
#define ENGINE_CLIENTS 4
#define ENGINE_TIMEOUT_MS 20000

struct engine_fixture {
    char *directory;
    struct ab_wire_keys server_keys;
    struct ab_wire *server_wire;
    struct ab_wire *client_wires[ENGINE_CLIENTS];
    struct ab_channel *producer;
    struct ab_channel *node;
    struct ab_channel *batch;
    struct ab_channel *query;
    struct ab_engine *engine;
    struct ab_server *server;
    struct ab_buffer catalog;
    uint64_t sequence[ENGINE_PARTITIONS];
    uint64_t memory_bytes;
};

/* Makes directory, keys and engine; for cmocka. The memory is the engine's budget. */
int engine_fixture_setup(void **state, uint64_t memory_bytes);
int engine_fixture_teardown(void **state);

/* Opens engine, server and channels of a fixture that has keys and a directory; and closes them. */
void engine_fixture_start(struct engine_fixture *fixture);
void engine_fixture_end(struct engine_fixture *fixture);

/* A block of `rows_count` rows of users first_user, first_user + 1, … that live in the partition; amount 1, or -1 when
 * bad. */
void engine_fixture_block(struct engine_fixture *fixture, uint32_t partition, uint32_t first_user, uint32_t rows_count,
    bool is_bad, bool has_source, struct ab_buffer *out);

/* Sends a block and waits; the answer's status. */
ab_err engine_fixture_produce(struct engine_fixture *fixture, uint32_t partition, struct ab_bytes payload,
    struct ab_wire_produce_reply *reply, struct ab_arena *arena, struct ab_error *error);

#endif
