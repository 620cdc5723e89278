/* options: the small command-line reader of the bench: --name value and --flag. */
#ifndef ANABRANCH_BENCH_OPTIONS_H
#define ANABRANCH_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* One option; exactly one target is set. */
struct ab_bench_option {
    const char *name; /* without -- */
    const char *help;
    uint64_t *number; /* a whole number */
    double *real;
    const char **text;
    bool *flag;
};

/* Reads argv[first..]; prints help for --help, and errors. Returns -1 to go on, else the exit status. */
int ab_bench_options_read(const char *verb, const char *purpose, const struct ab_bench_option *options, int count,
    int argc, char **argv, int first);

#endif
