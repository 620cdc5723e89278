/* client: producers that number their blocks and repeat them, readers of the newest state and of merged answers, and
 * the coordinator that asks for cuts. They talk to whom they believe to lead. */
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
    uint64_t payload;  /* CUT: the cut of the last manifest */
};

struct sim_reply {
    struct sim_request request;
    enum sim_answer answer;
    uint64_t offset; /* of the block, of the cut; how far a read has seen */
    uint64_t epoch, fold;
    struct ab_hash128 chain;  /* of a cut's record */
    struct sim_totals digest; /* ASK_CUT: of speed's spans up to the cut, after the cut that `payload` names */
};

/* A question for a view's groups, over everything. */
struct sim_question {
    uint32_t client, view;
    uint64_t attempt;
    uint64_t offsets[SIM_PARTITIONS_MAX]; /* the token: what the answer has to include */
};

/* DONE: complete. REFUSED: not now. UNKNOWN: the versions there are too old. */
struct sim_question_reply {
    struct sim_question question;
    enum sim_answer answer;
    uint64_t cut;                         /* of the version */
    uint64_t offsets[SIM_PARTITIONS_MAX]; /* the token of the answer */
    struct sim_total totals[SIM_PARTITIONS_MAX];
};

void sim_clients_create(struct sim_world *world);
void sim_clients_destroy(struct sim_world *world);
void sim_client_on_event(struct sim_world *world, const struct sim_event *event);

/* A node answers. */
void sim_client_reply(struct sim_world *world, const struct sim_reply *reply);

/* A node answers a question. */
void sim_client_answer(struct sim_world *world, const struct sim_question_reply *reply);

/* Operations that wait for an end. */
size_t sim_clients_open(const struct sim_world *world);

#endif
