/* verbs: what anabranch-bench can measure; each takes its own command line and returns an exit status (0, 1 failed, 2
 * usage). */
#ifndef ANABRANCH_BENCH_VERBS_H
#define ANABRANCH_BENCH_VERBS_H

/* Prints generated payments as CSV, or the catalog that fits them. */
int ab_bench_generate(int argc, char **argv);

/* Durable events per CPU-second of the servers, beside a bare aggregation loop and a CURVE echo. */
int ab_bench_ingest(int argc, char **argv);

/* Rows per second and core from sealed history into merged states, beside the same loop over columns in memory. */
int ab_bench_scan(int argc, char **argv);

/* Latency of point queries, beside the same path answering nothing. */
int ab_bench_query(int argc, char **argv);

/* Several nodes with three replicas: throughput beside one replica, failover, operations of coordination. */
int ab_bench_cluster(int argc, char **argv);

/* Dispatches on argv[1]. */
int ab_bench_run(int argc, char **argv);

#endif
