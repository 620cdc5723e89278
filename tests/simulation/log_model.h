/* log_model: the log and the disk of a replica in memory: records with their chain, a synced prefix and a written tail,
 * the table that recognizes repeated blocks, and what a crash leaves of all that. */
#ifndef ANABRANCH_TESTS_SIMULATION_LOG_MODEL_H
#define ANABRANCH_TESTS_SIMULATION_LOG_MODEL_H

#include "tests/simulation/views.h"

#include "speed/replication.h"

#define SIM_PRODUCERS_MAX 5u
#define SIM_EPOCHS_MAX 512u
#define SIM_DEDUP_WINDOW 5u

enum sim_record_kind { SIM_DATA, SIM_EPOCH_START, SIM_CUT };

struct sim_record {
    uint64_t offset;
    uint64_t epoch;
    enum sim_record_kind kind;
    uint32_t producer; /* DATA */
    uint64_t sequence; /* DATA: the producer's, from 1; CUT: k */
    uint64_t payload;  /* DATA: which operation it is, over all clients */
    struct ab_hash128 previous;
    struct ab_hash128 chain;
};

/* What a partition remembers of its producers: a function of the records appended. */
struct sim_producer_state {
    uint64_t last;
    uint64_t offsets[SIM_DEDUP_WINDOW]; /* by sequence modulo the window */
    uint64_t payloads[SIM_DEDUP_WINDOW];
};
struct sim_dedup {
    struct sim_producer_state producers[SIM_PRODUCERS_MAX];
    uint64_t last_cut;
    uint64_t last_cut_offset;
};

enum sim_judgement { SIM_NEXT, SIM_REPEATED, SIM_OTHER_BYTES, SIM_GAP, SIM_TOO_OLD };

struct sim_log {
    struct sim_record *records; /* owned; records[i] has offset start + i */
    size_t capacity;
    uint64_t start, end, durable;
    struct ab_hash128 start_chain; /* of the record before start */
    uint64_t start_epoch;          /* its epoch; 0 = none */
    uint64_t start_fold;           /* state of everything before start */
    struct sim_dedup start_dedup;
    uint64_t installed_until; /* it was begun anew, with tables of records below: it lacks those that it has not */
    struct ab_log_epoch epochs[SIM_EPOCHS_MAX];
    size_t epochs_count;
};

/* A state as it is flushed, or copied to another node, and what a log needs that begins there. */
struct sim_state {
    uint64_t applied;
    uint64_t fold;
    uint64_t epoch;
    struct ab_hash128 chain;
    struct sim_dedup dedup;
    struct sim_speed speed;
};

/* What is on disk of one partition. The tail of the log past `durable` is there only as long as the process lives. */
struct sim_disk_partition {
    struct sim_log log;
    uint64_t epoch; /* persisted */
    struct sim_state flushed;
    uint64_t damaged_until;  /* what was synced once and is lost; 0 = nothing */
    uint64_t really_durable; /* less than log.durable on a disk that lies */
};

struct sim_disk {
    struct ab_hash128 disk_id;
    uint64_t starts; /* processes that it has seen */
    struct sim_disk_partition partitions[SIM_PARTITIONS_MAX];
    struct sim_versions versions;
};

/* Mixes a number into a hash. */
static inline uint64_t sim_mix(uint64_t hash, uint64_t value)
{
    uint64_t z = (hash ^ value) + UINT64_C(0x9e3779b97f4a7c15) + (hash << 6);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The state after one more record. */
uint64_t sim_fold(uint64_t fold, const struct sim_record *record);

/* Judges a block, and notes a record that was appended. */
enum sim_judgement sim_dedup_judge(
    const struct sim_dedup *dedup, uint32_t producer, uint64_t sequence, uint64_t payload, uint64_t *offset);
void sim_dedup_note(struct sim_dedup *dedup, const struct sim_record *record);

/* Frees the records. */
void sim_log_fini(struct sim_log *log);

/* A record held, and the hash of the one before an offset in [start, end]. */
const struct sim_record *sim_log_at(const struct sim_log *log, uint64_t offset);
struct ab_hash128 sim_log_chain_before(const struct sim_log *log, uint64_t offset);
uint64_t sim_log_epoch_before(const struct sim_log *log, uint64_t offset);

/* Appends a new record: sets its offset and chain. */
void sim_log_append(struct sim_log *log, struct sim_record record);

/* Appends a copy of another log's record; false when it does not follow. */
bool sim_log_append_copy(struct sim_log *log, const struct sim_record *record);

/* Removes records at or past an offset; those before one, with what has to be known of them. */
void sim_log_truncate(struct sim_log *log, uint64_t offset);
void sim_log_trim(struct sim_log *log, uint64_t offset);

/* State and dedup table of everything below an offset in [start, end]. */
uint64_t sim_log_fold_at(const struct sim_log *log, uint64_t offset);
void sim_log_dedup_at(const struct sim_log *log, uint64_t offset, struct sim_dedup *dedup);

/* The state at an offset of a log, where speed's spans are these; and an empty log that begins at the flushed state. */
void sim_state_make(
    struct sim_state *state, const struct sim_log *log, uint64_t applied, const struct sim_speed *speed);
void sim_log_begin_at_state(struct sim_disk_partition *disk);

/* The core's view of it. */
struct ab_replica_log sim_log_view(const struct sim_log *log);

/* A deep copy over a disk that is freed before. */
void sim_disk_copy(struct sim_disk *to, const struct sim_disk *from);
void sim_disk_fini(struct sim_disk *disk);

#endif
