/* replication_mutants: deliberate breaks of the protocol, to see that the simulator finds them. In the product every
 * AB_MUTATE is the constant false; only the simulator's build of these files (AB_MUTANTS) can switch one on. */
#ifndef ANABRANCH_SPEED_REPLICATION_MUTANTS_H
#define ANABRANCH_SPEED_REPLICATION_MUTANTS_H

/* Name, and what it does wrong. tests/README.md lists how each is caught. */
#define AB_REPLICATION_MUTANTS(X)                                                                                      \
    X(ACK_BEFORE_SYNC, "a leader counts its own end, not what it has synced (H11)")                                    \
    X(FOLLOWER_ACK_BEFORE_SYNC, "a follower reports its end, not what it has synced (R3)")                             \
    X(TRUNCATE_TO_MARK, "a follower truncates to its high watermark (H3)")                                             \
    X(TRUNCATE_ONCE, "a follower asks for one epoch's end only and takes it for the truth (H4)")                       \
    X(NO_TRUNCATION, "a follower fetches without looking for where histories part (R1)")                               \
    X(STALE_FETCH, "a leader accepts a fetch of an older epoch (H5)")                                                  \
    X(STALE_ANSWER, "a follower accepts an answer of an older epoch or request (H14)")                                 \
    X(EPOCH_NOT_PERSISTED, "an epoch is acted upon before it is persisted (R1)")                                       \
    X(SHRINK_AT_ONCE, "a member that leaves stops counting when that is proposed (H7, R4)")                            \
    X(EXPAND_LATE, "a member that joins counts only once that is confirmed (R4)")                                      \
    X(UNKNOWN_IS_FAILED, "a proposal with an unknown end is taken for one that failed (H52)")                          \
    X(EXPAND_BEHIND, "a follower joins before it holds everything committed (R5)")                                     \
    X(NO_MINIMUM, "the high watermark moves while the set is below its minimum (H1)")                                  \
    X(NO_EPOCH_START, "a leader serves and commits before its own record is committed (R6)")                           \
    X(OLD_INCARNATION, "what an earlier incarnation had synced counts for the one that fetches now (H6)")              \
    X(NO_STEP_DOWN, "a leader without a session goes on serving reads (H51)")                                          \
    X(MARK_FALLS, "a follower takes over a smaller high watermark (S5)")                                               \
    X(REQUESTS_FROM_ONE, "every process numbers its requests from 1 (H14)")                                            \
    X(UNKNOWN_IS_AGREED, "what lies before the leader's log is taken for agreed (R2)")                                 \
    X(LEASE_BY_TICK, "a lost lease is noticed at the next tick only (H51)")                                            \
    X(DAMAGE_STAYS, "a log that was made whole stays damaged up to where it was (S15)")                                \
    X(LEARNER_JOINS, "a learner is proposed for the in-sync set (R5)")

enum ab_replication_mutant {
    AB_MUTANT_NONE,
#define AB_MUTANT_ENUM(name, text) AB_MUTANT_##name,
    AB_REPLICATION_MUTANTS(AB_MUTANT_ENUM)
#undef AB_MUTANT_ENUM
        AB_MUTANTS_COUNT,
};

#ifdef AB_MUTANTS
extern enum ab_replication_mutant ab_replication_mutant;
#define AB_MUTATE(name) (ab_replication_mutant == AB_MUTANT_##name)
#else
#define AB_MUTATE(name) false
#endif

#endif
