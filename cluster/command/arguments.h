/* arguments: options and words of a command line, checked against what a command declares.
 *
 * `--name value`, `--name=value`, flags, repeated options; `--` ends options; "-" is a word. Everything points into
 * argv.
 */
#ifndef ANABRANCH_CLUSTER_COMMAND_ARGUMENTS_H
#define ANABRANCH_CLUSTER_COMMAND_ARGUMENTS_H

#include "common/base/bytes.h"

#define AB_ARGUMENTS_WORDS_MAX 4u
#define AB_ARGUMENTS_VALUES_MAX 64u

/* One option a command knows. A table of them ends with a zeroed entry. */
struct ab_option {
    const char *name;  /* "--data" */
    const char *value; /* what its value is called in the help; NULL = a flag */
    const char *help;
};

struct ab_arguments {
    const char *words[AB_ARGUMENTS_WORDS_MAX];
    size_t words_count;
    struct ab_argument_value {
        const struct ab_option *option;
        const char *value; /* NULL for a flag */
    } values[AB_ARGUMENTS_VALUES_MAX];
    size_t values_count;
};

/* Reads argv[0 .. argc-1] (the command's name already taken off). AB_USAGE with what is wrong and the nearest known
 * option. */
AB_MUST_USE ab_err ab_arguments_parse(const struct ab_option *options, int argc, char **argv, size_t words_max,
    struct ab_arguments *arguments, struct ab_error *error);

/* The last value of an option; NULL when it was not given. */
const char *ab_arguments_value(const struct ab_arguments *arguments, const char *name);

/* True when the option was given. */
bool ab_arguments_has(const struct ab_arguments *arguments, const char *name);

/* Walks the values of a repeated option: *cursor starts at 0; NULL at the end. */
const char *ab_arguments_next(const struct ab_arguments *arguments, const char *name, size_t *cursor);

/* A whole number within [min, max], or the fallback when the option was not given; AB_USAGE. */
AB_MUST_USE ab_err ab_arguments_number(const struct ab_arguments *arguments, const char *name, int64_t min, int64_t max,
    int64_t fallback, int64_t *number, struct ab_error *error);

/* A size: a whole number with an optional K, M, G or T (powers of 1024); AB_INVALID. */
AB_MUST_USE ab_err ab_arguments_size_parse(const char *text, uint64_t *bytes);

#endif
