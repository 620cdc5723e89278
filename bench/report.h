/* report: what every verb of the bench prints: the machine, the work, figures with their unit, as text or one JSON
 * object. */
#ifndef ANABRANCH_BENCH_REPORT_H
#define ANABRANCH_BENCH_REPORT_H

#include "common/base/histogram.h"
#include "common/base/json.h"

/* A new report that describes the machine: processors, their model, memory, kernel. Owned by the caller. */
struct ab_json *ab_report_create(const char *verb);

/* Adds a latency histogram in microseconds as name {p50_us, p99_us, p999_us, max_us, count}. */
void ab_report_latency(struct ab_json *report, const char *name, const struct ab_histogram *latency_us);

/* Prints the report (indented text lines, or JSON) to standard output and frees it. */
void ab_report_print(struct ab_json *report, bool as_json);

/* CPU seconds (user and system, all threads, finished children not counted) a process has used; 0 when it is gone. */
double ab_report_process_cpu_seconds(int64_t pid);

#endif
