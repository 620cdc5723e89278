#include "bench/verbs.h"

#include <stdio.h>
#include <string.h>

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *purpose;
} verbs[] = {
    {"generate", ab_bench_generate, "print a realistic stream of card payments, or its catalog"},
    {"ingest", ab_bench_ingest, "durable events per CPU-second of the servers"},
    {"scan", ab_bench_scan, "rows per second and core from history into states"},
    {"query", ab_bench_query, "latency of point queries"},
    {"cluster", ab_bench_cluster, "three replicas on several nodes: throughput, failover, coordination"},
};

static int usage(FILE *out, int status)
{
    fprintf(out, "usage: anabranch-bench VERB [options]\n\n");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].purpose);
    }
    fprintf(out, "\nEach verb explains its options with --help and prints one JSON object with --json.\n");
    return status;
}

int ab_bench_run(int argc, char **argv)
{
    if (argc < 2) {
        return usage(stderr, 2);
    }
    if (strcmp(argv[1], "--help") == 0) {
        return usage(stdout, 0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("anabranch-bench %s\n", AB_VERSION);
        return 0;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[1], verbs[i].name) == 0) {
            return verbs[i].run(argc, argv);
        }
    }
    fprintf(stderr, "anabranch-bench: no verb is named %s\n", argv[1]);
    return usage(stderr, 2);
}
