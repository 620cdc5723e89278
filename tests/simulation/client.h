/* client: producers that number their blocks and repeat them, readers of the newest state, and the coordinator that
 * asks for cuts. They talk to whom they believe to lead. */
#ifndef ANABRANCH_TESTS_SIMULATION_CLIENT_H
#define ANABRANCH_TESTS_SIMULATION_CLIENT_H

#include "tests/simulation/world.h"

enum sim_request_kind { SIM_WRITE, SIM_READ_NEWEST, SIM_ASK_CUT };
enum sim_answer { SIM_DONE, SIM_REFUSED, SIM_UNKNOWN };

struct sim_request {
    enum sim_request_kind kind;
    uint32_t client; /* for cuts: none */
    uint32_t partition;
    uint64_t attempt;
    uint64_t sequence; /* of the producer; k */
    uint64_t payload;
};

struct sim_reply {
    struct sim_request request;
    enum sim_answer answer;
    uint64_t offset; /* of the block, of the cut; how far a read has seen */
    uint64_t epoch, fold;
};

void sim_clients_create(struct sim_world *world);
void sim_clients_destroy(struct sim_world *world);
void sim_client_on_event(struct sim_world *world, const struct sim_event *event);

/* A node answers. */
void sim_client_reply(struct sim_world *world, const struct sim_reply *reply);

/* Operations that wait for an end. */
size_t sim_clients_open(const struct sim_world *world);

#endif
