/* marks: what a run has reached, by the number of the hole in REPLICATION's list that it is the answer to. A run over
 * many seeds that never comes by one of them does not test it. */
#ifndef ANABRANCH_TESTS_SIMULATION_MARKS_H
#define ANABRANCH_TESTS_SIMULATION_MARKS_H

#define SIM_MARKS(X)                                                                                                   \
    X(H1, "refused a block because the in-sync set was below its minimum")                                             \
    X(H2, "elected a leader that had left the in-sync set when it was below its minimum (ELR)")                        \
    X(H3, "kept records past its high watermark when it began to follow")                                              \
    X(H4, "asked for a second epoch before it knew where to cut")                                                      \
    X(H5, "refused a request of an older epoch")                                                                       \
    X(H6, "refused to add a member whose process was gone")                                                            \
    X(H7, "counted a member on while the proposal to leave it out had no end")                                         \
    X(H8, "ended a process whose sync failed")                                                                         \
    X(H9, "made a damaged log whole from its leader")                                                                  \
    X(H13, "passed over an answer that came twice")                                                                    \
    X(H14, "dropped a late answer")                                                                                    \
    X(H15, "brought a partition to other nodes, step by step")                                                         \
    X(H16, "kept a replica because too few would remain without it")                                                   \
    X(H18, "opened a state that is ahead of its log")                                                                  \
    X(H19, "refused a read where the office was not sure")                                                             \
    X(H20, "gave up a session because the disk hung")                                                                  \
    X(H21, "left out a member that lagged, alive")                                                                     \
    X(H24, "recognized a repeated block that another leader had appended")                                             \
    X(H25, "recognized a repeated block whose record was trimmed")                                                     \
    X(H30, "told a client that its block's end is unknown")                                                            \
    X(H33, "refused a gap in a producer's sequence")                                                                   \
    X(H34, "was asked again for a cut that the log has")                                                               \
    X(H35, "let a cut wait until it was committed")                                                                    \
    X(H36, "left out a cut that not all partitions had in time")                                                       \
    X(H36_FULL, "refused a cut because too many spans were not retired")                                               \
    X(H37, "had a version before its replica had applied the cut")                                                     \
    X(H42, "refused an attempt that was overtaken")                                                                    \
    X(H43, "refused what a job had read, by the counts of the cut")                                                    \
    X(H44, "trimmed a log behind a version")                                                                           \
    X(H46, "answered over a version that was pinned, after another one came into force")                               \
    X(H48, "refused a query because the version in force was not there")                                               \
    X(H49, "went on with the finished units of an attempt that had died")                                              \
    X(H50, "did not read a log that was not the one that was cut")                                                     \
    X(H60, "held what batch read against what speed had of it")                                                        \
    X(H51, "stepped down because the session was silent for too long")                                                 \
    X(H52, "found that a proposal of unknown end had landed")                                                          \
    X(H53, "read an old copy of the state")                                                                            \
    X(H55, "refused a coordination service that went back")                                                            \
    X(F16, "refused an older image of a disk")                                                                         \
    X(F17, "refused an empty disk in the place of another")                                                            \
    X(F35, "called off a partition's way to other nodes")                                                              \
    X(F39, "installed state where the log had been trimmed")                                                           \
    X(F39_CRASH, "died in the middle of an installation")                                                              \
    X(F42, "knew of a version in force that it did not have")                                                          \
    X(S9_ROLLBACK, "went back to the version before")                                                                  \
    X(S9_STALE, "refused a version whose next spans were dropped")                                                     \
    X(S9_TOKEN, "was asked for more than it knew to be committed")

enum sim_mark {
#define SIM_MARK_ENUM(name, text) SIM_MARK_##name,
    SIM_MARKS(SIM_MARK_ENUM)
#undef SIM_MARK_ENUM
        SIM_MARKS_COUNT,
};

#endif
