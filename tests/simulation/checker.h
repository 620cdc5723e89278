/* checker: what must hold, whatever happens (S-numbers of the specification). It knows more than any node: the one
 * committed history of each partition, in the order in which anybody first called a record committed. */
#ifndef ANABRANCH_TESTS_SIMULATION_CHECKER_H
#define ANABRANCH_TESTS_SIMULATION_CHECKER_H

#include "tests/simulation/client.h"
#include "tests/simulation/node.h"

void sim_checker_create(struct sim_world *world);
void sim_checker_destroy(struct sim_world *world);

/* ---- replicas ---- */

/* A replica was opened: its log begins where its state can go on (S12). */
void sim_check_open(struct sim_world *world, const struct sim_replica *replica);

/* A replica calls everything below an offset committed: it is in the history, or becomes its end (S1, S2, S4, S14),
 * never less than before (S5), and is synced on every member that counts (S3). */
void sim_check_commit(struct sim_world *world, const struct sim_replica *replica, uint64_t offset);

/* Its state is the fold of the history (S7, S8). */
void sim_check_fold(struct sim_world *world, const struct sim_replica *replica);

/* Every member of the in-sync set and of the ELR, undamaged, holds the whole history, synced (S3). */
void sim_check_members(struct sim_world *world, uint32_t partition, const char *after);

/* A replica will truncate: not below what it has committed. */
void sim_check_truncation(struct sim_world *world, const struct sim_replica *replica, uint64_t offset);

/* It leads an epoch: nobody else does (S6). */
void sim_check_leader(struct sim_world *world, const struct sim_replica *replica, uint64_t epoch);

/* A core gave up; it must not, but where the coordination service went back or disks lie. */
void sim_check_failure(struct sim_world *world, const struct sim_replica *replica, const char *reason);

/* After each step: what the core says of itself (S5, S13). */
void sim_check_step(struct sim_world *world, struct sim_replica *replica);

/* ---- views: checker_views.c ---- */

/* A job means to publish: its version is the fold of the history up to its cut (S9, S11), and enough nodes have it. */
void sim_check_publication(struct sim_world *world, const struct sim_version *version);
/* A pointer will move: forward, or back to a version that somebody has, whose next spans nobody has dropped (S11). */
void sim_check_pointer(struct sim_world *world, uint32_t view, struct ab_version_number next, bool is_back);
/* A replica has dropped spans: no version that may be served needs them (S12). */
void sim_check_retire(struct sim_world *world, const struct sim_replica *replica, uint64_t cut);
/* It will trim its log: a version holds what goes (S12). */
void sim_check_trim(struct sim_world *world, const struct sim_replica *replica, uint64_t offset);
/* Up to where versions hold a partition's records, or nobody asks for them. */
uint64_t sim_check_sealed(const struct sim_world *world, uint32_t partition);
/* It begins its log anew, with tables of what was committed (S7). */
void sim_check_install(struct sim_world *world, const struct sim_replica *replica);
/* A merged answer: the fold of the prefix that its token names (S9), at least what the question's token and everybody's
 * earlier reads name. */
void sim_check_answer(
    struct sim_world *world, const struct sim_question_reply *reply, const uint64_t floors[SIM_PARTITIONS_MAX]);

/* The history's totals below an offset; NULL past its end. Whether this run's losses are nobody's fault. */
const struct sim_totals *sim_check_totals(const struct sim_world *world, uint32_t partition, uint64_t offset);
bool sim_check_is_off(const struct sim_world *world);

/* ---- the coordination service ---- */

void sim_check_state(struct sim_world *world, uint32_t partition);
void sim_check_election(struct sim_world *world, uint32_t partition, const struct ab_replica_set *next);

/* ---- clients ---- */

uint64_t sim_check_payload(struct sim_world *world);
/* A node says that a block or cut is committed there (S1). */
void sim_check_done(struct sim_world *world, const struct sim_request *request, uint64_t offset);
/* A client has heard so. */
void sim_check_acknowledged(struct sim_world *world, const struct sim_request *request, uint64_t offset);
/* A client was told that it is not and never will be (S14). */
void sim_check_failed(struct sim_world *world, uint32_t partition, uint64_t payload);
void sim_check_other_bytes(
    struct sim_world *world, const struct sim_replica *replica, const struct sim_request *request);
/* Reads are linearizable: they have seen everything that was acknowledged or read before they began. */
/* Somebody has seen everything below an offset. */
void sim_check_seen(struct sim_world *world, uint32_t partition, uint64_t end);
uint64_t sim_check_read_floor(const struct sim_world *world, uint32_t partition);
void sim_check_read(struct sim_world *world, const struct sim_reply *reply, uint64_t floor);

/* ---- the end ---- */

/* Everybody leads or follows, is in sync, and nobody waits (S15); else why not. */
bool sim_check_converged(struct sim_world *world, char *why, size_t why_bytes);
/* All replicas hold the history, and nothing else. */
void sim_check_drained(struct sim_world *world);
/* Who has followed a newer epoch than the service knows has stopped (H55). */
void sim_check_regress(struct sim_world *world);

#endif
