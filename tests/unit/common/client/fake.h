/* fake: a cluster as a client sees it: a directory, a serving and one or two speed nodes that do as they are told.
 *
 * Speed keeps sequences as the real one does: the next one is taken, an old one is answered again, a later one is
 * AB_SEQUENCE. A script says what happens to the n-th block that arrives instead.
 */
#ifndef ANABRANCH_TESTS_UNIT_COMMON_CLIENT_FAKE_H
#define ANABRANCH_TESTS_UNIT_COMMON_CLIENT_FAKE_H

#include "common/base/thread.h"
#include "common/block/block.h"
#include "common/catalog/catalog.h"
#include "common/client/anabranch.h"
#include "common/wire/node.h"

#define FAKE_PARTITIONS_MAX 4u
#define FAKE_BLOCKS_MAX 4096u
#define FAKE_SCRIPT_MAX 64u

enum fake_act {
    FAKE_TAKE,         /* as the real one */
    FAKE_LOSE_REQUEST, /* it never arrived */
    FAKE_LOSE_ANSWER,  /* it was taken, but nobody hears of it */
    FAKE_REFUSE,       /* answered with .status, not taken */
    FAKE_GARBAGE,      /* taken, and answered with bytes that are no reply */
    FAKE_HOLD,         /* kept until fake_release */
};

struct fake_step {
    enum fake_act act;
    ab_err status;
};

/* A block that arrived, whatever became of it. */
struct fake_block {
    struct ab_arena arena;
    struct ab_bytes bytes;
    struct ab_block block;
    bool was_taken;
    bool is_at_second;
};

/* Who leads a partition, in a cluster of several nodes. */
enum fake_leader { FAKE_NOBODY, FAKE_FIRST, FAKE_SECOND };

struct fake_sequences {
    uint64_t producer_id[FAKE_PARTITIONS_MAX][8];
    uint64_t last[FAKE_PARTITIONS_MAX][8];
};

struct fake {
    char *directory; /* owned; a scratch cluster directory with the operator's key */
    uint8_t cluster_id[16];
    uint32_t partitions_count;
    struct ab_wire_keys keys, operator_keys, query_keys, stranger_keys;
    struct ab_wire *wire;
    struct ab_server *serving, *speed;
    struct ab_server *second; /* NULL = a cluster of one node */
    struct ab_catalog *catalog;
    struct ab_lock lock; /* the tests' thread and two network threads */
    /* guarded by lock: */
    struct fake_step script[FAKE_SCRIPT_MAX];
    size_t script_count;
    struct fake_step otherwise; /* for blocks after the script */
    struct fake_block blocks[FAKE_BLOCKS_MAX];
    size_t blocks_count;
    struct ab_request *held[256];
    size_t held_count;
    struct fake_sequences sequences; /* of both speeds: what one has taken, the other has too */
    enum fake_leader leaders[FAKE_PARTITIONS_MAX];
    uint32_t rejected_row; /* with rejected_reason: the row of every block that is a dead letter */
    const char *rejected_reason;
    const char *marks;          /* JSON of the answer to SOURCE_MARKS; NULL = none known */
    const char *catalog_answer; /* overrides the whole answer to CATALOG */
    struct ab_buffer answer;    /* payload of the answer to QUERY */
    ab_err answer_status;
    unsigned queries_dropped; /* so many queries are not answered first */
    unsigned queries_count;
};

/* Makes the directory, the keys and both nodes. */
void fake_init(struct fake *fake, uint32_t partitions_count);
void fake_fini(struct fake *fake);

/* Stops a node and starts it again at another port; run/serving.json and the answer to CATALOG say where. */
void fake_move_serving(struct fake *fake);
void fake_move_speed(struct fake *fake);

/* Makes it a cluster of two speeds; then, and whenever called: who leads a partition, as the answer to CATALOG says. */
void fake_lead(struct fake *fake, uint32_t partition, enum fake_leader leader);

/* What happens to the next block that has no step yet; and to all after the script. */
void fake_script(struct fake *fake, enum fake_act act, ab_err status);
void fake_otherwise(struct fake *fake, enum fake_act act, ab_err status);

/* Overrides the answer to CATALOG; NULL = as it is. Borrowed until the next call. */
void fake_catalog_answer(struct fake *fake, const char *answer);

/* Stands between what the test writes or reads here and what the nodes do, where no call above does. */
void fake_sync(struct fake *fake);

/* Takes and answers what was held, and holds no more. */
void fake_release(struct fake *fake);

/* Opens a client by the directory, or fails the test. */
struct anabranch_client *fake_client(const struct fake *fake, int timeout_ms);

/* Rows in blocks that were taken. */
uint64_t fake_rows_taken(struct fake *fake);

/* Arrived blocks so far. */
size_t fake_blocks_count(struct fake *fake);

/* The text at a row of a TEXT column of a block. */
struct ab_bytes fake_text(const struct ab_block *block, const char *column, uint32_t row);

#endif
