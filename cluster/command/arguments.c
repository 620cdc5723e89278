#include "cluster/command/arguments.h"

#include "common/base/decimal.h"

#include <inttypes.h>

static const struct ab_option *option_find(const struct ab_option *options, struct ab_bytes name)
{
    for (; options->name != NULL; options++) {
        if (ab_bytes_equal(ab_bytes_of_text(options->name), name)) {
            return options;
        }
    }
    return NULL;
}

/* The option that shares the longest beginning (of at least 4 characters) with what was typed; NULL. */
static const struct ab_option *option_nearest(const struct ab_option *options, struct ab_bytes typed)
{
    const struct ab_option *best = NULL;
    size_t best_length = 3;
    for (; options->name != NULL; options++) {
        size_t length = 0;
        while (length < typed.bytes && options->name[length] == (char)typed.data[length] &&
               options->name[length] != '\0') {
            length++;
        }
        if (length > best_length) {
            best = options;
            best_length = length;
        }
    }
    return best;
}

static ab_err option_unknown(const struct ab_option *options, struct ab_bytes name, struct ab_error *error)
{
    const struct ab_option *nearest = option_nearest(options, name);
    return ab_error_set(error, AB_USAGE, "unknown option %.*s%s%s%s", (int)name.bytes, (const char *)name.data,
        nearest == NULL ? "" : "; did you mean ", nearest == NULL ? "" : nearest->name, nearest == NULL ? "" : "?");
}

/* Takes the option at argv[*at], and its value from there or from the next word. */
static ab_err option_take(const struct ab_option *options, int argc, char **argv, int *at,
    struct ab_arguments *arguments, struct ab_error *error)
{
    const char *typed = argv[*at];
    const char *equals = strchr(typed, '=');
    struct ab_bytes name = ab_bytes_of(typed, equals == NULL ? strlen(typed) : (size_t)(equals - typed));
    const struct ab_option *option = option_find(options, name);
    if (option == NULL) {
        return option_unknown(options, name, error);
    }
    const char *value = equals == NULL ? NULL : equals + 1;
    if (option->value == NULL && value != NULL) {
        return ab_error_set(error, AB_USAGE, "option %s takes no value", option->name);
    }
    if (option->value != NULL && value == NULL) {
        if (*at + 1 >= argc) {
            return ab_error_set(error, AB_USAGE, "option %s needs a value: %s", option->name, option->value);
        }
        value = argv[++*at];
    }
    if (arguments->values_count == AB_ARGUMENTS_VALUES_MAX) {
        return ab_error_set(error, AB_USAGE, "more than %u options", AB_ARGUMENTS_VALUES_MAX);
    }
    arguments->values[arguments->values_count++] = (struct ab_argument_value){.option = option, .value = value};
    return AB_OK;
}

ab_err ab_arguments_parse(const struct ab_option *options, int argc, char **argv, size_t words_max,
    struct ab_arguments *arguments, struct ab_error *error)
{
    struct ab_arguments read = {0};
    bool is_past_options = false;
    for (int at = 0; at < argc; at++) {
        const char *typed = argv[at];
        if (!is_past_options && strcmp(typed, "--") == 0) {
            is_past_options = true;
        } else if (!is_past_options && typed[0] == '-' && typed[1] != '\0') {
            AB_TRY(option_take(options, argc, argv, &at, &read, error));
        } else if (read.words_count == words_max || read.words_count == AB_ARGUMENTS_WORDS_MAX) {
            return ab_error_set(error, AB_USAGE, "unexpected argument '%s'", typed);
        } else {
            read.words[read.words_count++] = typed;
        }
    }
    *arguments = read;
    return AB_OK;
}

const char *ab_arguments_next(const struct ab_arguments *arguments, const char *name, size_t *cursor)
{
    while (*cursor < arguments->values_count) {
        const struct ab_argument_value *value = &arguments->values[(*cursor)++];
        if (strcmp(value->option->name, name) == 0) {
            return value->value == NULL ? "" : value->value;
        }
    }
    return NULL;
}

const char *ab_arguments_value(const struct ab_arguments *arguments, const char *name)
{
    size_t cursor = 0;
    const char *last = NULL;
    for (const char *value = ab_arguments_next(arguments, name, &cursor); value != NULL;
         value = ab_arguments_next(arguments, name, &cursor)) {
        last = value;
    }
    return last;
}

bool ab_arguments_has(const struct ab_arguments *arguments, const char *name)
{
    return ab_arguments_value(arguments, name) != NULL;
}

ab_err ab_arguments_number(const struct ab_arguments *arguments, const char *name, int64_t min, int64_t max,
    int64_t fallback, int64_t *number, struct ab_error *error)
{
    const char *text = ab_arguments_value(arguments, name);
    int64_t read = fallback;
    if (text != NULL && (ab_bigint_parse(ab_bytes_of_text(text), &read) != AB_OK || read < min || read > max)) {
        return ab_error_set(error, AB_USAGE, "option %s takes a whole number from %" PRId64 " to %" PRId64 ", not '%s'",
            name, min, max, text);
    }
    *number = read;
    return AB_OK;
}

ab_err ab_arguments_size_parse(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    size_t length = strlen(text);
    unsigned shift = 0;
    const char *unit = length == 0 ? NULL : strchr(units, text[length - 1] & ~0x20);
    if (unit != NULL && *unit != '\0') {
        shift = 10 * (unsigned)(unit - units + 1);
        length--;
    }
    int64_t number = 0;
    if (ab_bigint_parse(ab_bytes_of(text, length), &number) != AB_OK || number <= 0 || number > (INT64_MAX >> shift)) {
        return AB_INVALID;
    }
    *bytes = (uint64_t)number << shift;
    return AB_OK;
}
