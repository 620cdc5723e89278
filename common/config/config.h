/* config: the YAML file of one node, which all its daemons read.
 *
 *     data: /var/lib/anabranch             # the cluster directory; the only key that must be there
 *     listen:                              # ZeroMQ addresses; * takes a free port
 *       speed: tcp://127.0.0.1:*
 *       serving: tcp://127.0.0.1:*
 *       controller: tcp://127.0.0.1:*
 *     workers: 2                           # ingestion threads of speed
 *     query_threads: 2
 *     memory_bytes:                        # budget of each process; batch: of each rank (I8)
 *       speed: 1073741824
 *       serving: 536870912
 *       controller: 134217728
 *       batch: 1073741824
 *     flush_interval_ms: 60000
 *     segment_bytes: 268435456
 *     retained_versions: 3
 *     disk_watermark_percent: 95           # ingestion is refused above this share of the disk
 *     cluster:                             # of several nodes; absent: this node is all there is
 *       node: 1                            # this node's number, from 1 on
 *       coordination: zookeeper:10.0.0.1:2181,10.0.0.2:2181/anabranch   # absent: local:<data>/coordination
 *       credential: keys/coordination      # a file with NAME:PASSWORD that nobody else may read
 *       rack: a                            # replicas of a partition go to different ones
 *       weight: 1                          # capacity beside that of other nodes
 *       session_timeout_ms: 6000           # silent for so long, a node's process is gone; the servers have bounds
 *     scrub_bytes_per_second: 1048576      # closed log segments verified in the background
 *
 * A key that is absent, or a number that is 0, takes its default. An unknown key, a key twice, a number out of range is
 * an error that names line and column, or the key.
 */
#ifndef ANABRANCH_COMMON_CONFIG_CONFIG_H
#define ANABRANCH_COMMON_CONFIG_CONFIG_H

#include "common/base/bytes.h"

#include <stdint.h>

#define AB_CONFIG_PATH_BYTES 1024
#define AB_CONFIG_ADDRESS_BYTES 256

struct ab_config_listen {
    char speed[AB_CONFIG_ADDRESS_BYTES];
    char serving[AB_CONFIG_ADDRESS_BYTES];
    char controller[AB_CONFIG_ADDRESS_BYTES];
};

struct ab_config_memory {
    uint64_t speed; /* 64 MiB .. 16 TiB each, but the controller's may be 16 MiB */
    uint64_t serving;
    uint64_t controller;
    uint64_t batch; /* of each rank */
};

#define AB_CONFIG_RACK_BYTES 64

struct ab_config_cluster {
    char coordination[AB_CONFIG_PATH_BYTES]; /* "" = in the data directory */
    char credential[AB_CONFIG_PATH_BYTES];   /* "" = none; relative ones are below the data directory */
    char rack[AB_CONFIG_RACK_BYTES];
    uint32_t node;               /* 0 = the only one, else 1 .. 4095 */
    uint32_t weight;             /* 1 .. 1024 */
    uint32_t session_timeout_ms; /* 1000 .. 60,000; of the session with the coordination service */
};

struct ab_config {
    char data[AB_CONFIG_PATH_BYTES];
    struct ab_config_listen listen;
    struct ab_config_memory memory_bytes;
    struct ab_config_cluster cluster;
    uint32_t workers;                /* 1 .. 256 */
    uint32_t query_threads;          /* 1 .. 256 */
    uint32_t flush_interval_ms;      /* 10 .. 3,600,000 */
    uint64_t segment_bytes;          /* 1 MiB .. 4 GiB */
    uint32_t retained_versions;      /* 1 .. 1000 */
    uint32_t disk_watermark_percent; /* 1 .. 99 */
    uint64_t scrub_bytes_per_second; /* 1 .. 4 GiB */
};

/* Fills in the default of everything that is empty or 0, but for `data`. Workers and query threads: one a processor.
 * Memory: a quarter of the machine's for speed and for batch, an eighth for serving, within 256 MiB and 16 GiB. */
void ab_config_defaults(struct ab_config *config);

/* Reads a file and fills in the defaults; AB_NOT_FOUND, AB_INVALID with the place, AB_TOO_LARGE above 64 KiB. */
AB_MUST_USE ab_err ab_config_load(const char *path, struct ab_config *config, struct ab_error *error);

/* The same from text in memory. */
AB_MUST_USE ab_err ab_config_decode(struct ab_bytes text, struct ab_config *config, struct ab_error *error);

/* Writes every key, durably, so that loading gives the same back; AB_INVALID for what load would refuse. */
AB_MUST_USE ab_err ab_config_write(const char *path, const struct ab_config *config, struct ab_error *error);

/* AB_OK when every value is within its bounds, else AB_INVALID naming the key. */
AB_MUST_USE ab_err ab_config_validate(const struct ab_config *config, struct ab_error *error);

#endif
