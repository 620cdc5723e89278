#include "bench/options.h"

#include "common/base/decimal.h"

#include <stdio.h>
#include <string.h>

static void help_print(
    FILE *out, const char *verb, const char *purpose, const struct ab_bench_option *options, int count)
{
    fprintf(out, "usage: anabranch-bench %s [options]\n\n%s\n\n", verb, purpose);
    for (int i = 0; i < count; i++) {
        fprintf(out, "  --%-20s %s\n", options[i].name, options[i].help);
    }
}

static bool value_set(const struct ab_bench_option *option, const char *text)
{
    int64_t number = 0;
    if (option->text != NULL) {
        *option->text = text;
        return true;
    }
    if (option->real != NULL) {
        return ab_double_parse(ab_bytes_of_text(text), option->real) == AB_OK && *option->real >= 0;
    }
    if (ab_bigint_parse(ab_bytes_of_text(text), &number) != AB_OK || number < 0) {
        return false;
    }
    *option->number = (uint64_t)number;
    return true;
}

static const struct ab_bench_option *option_find(const struct ab_bench_option *options, int count, const char *word)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, options[i].name) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

int ab_bench_options_read(const char *verb, const char *purpose, const struct ab_bench_option *options, int count,
    int argc, char **argv, int first)
{
    for (int i = first; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            help_print(stdout, verb, purpose, options, count);
            return 0;
        }
        const struct ab_bench_option *option = option_find(options, count, argv[i]);
        if (option == NULL) {
            fprintf(stderr, "anabranch-bench %s: unknown option %s\n", verb, argv[i]);
            help_print(stderr, verb, purpose, options, count);
            return 2;
        }
        if (option->flag != NULL) {
            *option->flag = true;
        } else if (i + 1 == argc || !value_set(option, argv[++i])) {
            fprintf(stderr, "anabranch-bench %s: --%s needs a value that makes sense\n", verb, option->name);
            return 2;
        }
    }
    return -1;
}
