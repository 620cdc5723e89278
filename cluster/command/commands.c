#include "cluster/command/command.h"

#include "common/base/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct ab_command *const commands[] = {
    &ab_command_up,
    &ab_command_down,
    &ab_command_status,
    &ab_command_check,
    &ab_command_apply,
    &ab_command_import,
    &ab_command_query,
    &ab_command_job,
    &ab_command_dead_letters,
    &ab_command_node,
};
#define COMMANDS_COUNT (sizeof commands / sizeof commands[0])
#define EXIT_USAGE 2

void ab_command_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

ab_err ab_command_directory(const struct ab_arguments *arguments, char **directory, struct ab_error *error)
{
    const char *given = ab_arguments_value(arguments, "--data");
    if (given == NULL) {
        given = getenv("ANABRANCH_DATA");
    }
    if (given == NULL || given[0] == '\0') {
        return ab_error_set(error, AB_USAGE, "which cluster? give --data DIR or set ANABRANCH_DATA");
    }
    char here[4096];
    if (given[0] == '/' || getcwd(here, sizeof here) == NULL) {
        *directory = ab_new_text(given);
    } else {
        *directory = ab_new_format("%s/%s", here, given);
    }
    size_t length = strlen(*directory);
    while (length > 1 && (*directory)[length - 1] == '/') {
        (*directory)[--length] = '\0';
    }
    return AB_OK;
}

ab_err ab_command_file(const char *path, size_t bytes_max, struct ab_buffer *text, struct ab_error *error)
{
    ab_buffer_init(text, NULL, bytes_max);
    ab_err err = ab_file_read_all(path, text, error);
    if (err == AB_NOT_FOUND && error != NULL) {
        *error = (struct ab_error){0};
        err = ab_error_set(error, AB_NOT_FOUND, "there is no file %s", path);
    } else if (err == AB_TOO_LARGE || err == AB_FULL) {
        err = ab_error_wrap(error, err, "%s is larger than %zu bytes", path, bytes_max);
    }
    return err;
}

static void help_print(FILE *out)
{
    (void)fprintf(out, "usage: anabranch COMMAND …\n\n");
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        (void)fprintf(out, "  %-13s %s\n", commands[i]->name, commands[i]->summary);
    }
    (void)fprintf(
        out, "\n`anabranch COMMAND --help` tells its options. Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
}

static void command_help_print(const struct ab_command *command, FILE *out)
{
    (void)fprintf(out, "usage: anabranch %s %s%s[options]\n\n%s\n\n", command->name, command->words,
        command->words[0] == '\0' ? "" : " ", command->summary);
    for (const struct ab_option *option = command->options; option->name != NULL; option++) {
        char shown[64];
        (void)snprintf(shown, sizeof shown, "%s%s%s", option->name, option->value == NULL ? "" : " ",
            option->value == NULL ? "" : option->value);
        (void)fprintf(out, "  %-24s %s\n", shown, option->help);
    }
}

static const struct ab_command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static bool is_help_wanted(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static int command_run(const struct ab_command *command, int argc, char **argv)
{
    if (is_help_wanted(argc, argv)) {
        command_help_print(command, stdout);
        return EXIT_SUCCESS;
    }
    struct ab_arguments arguments;
    struct ab_error error = {0};
    ab_err err = ab_arguments_parse(command->options, argc, argv, command->words_max, &arguments, &error);
    if (err == AB_OK && arguments.words_count < command->words_min) {
        err = ab_error_set(&error, AB_USAGE, "missing: %s", command->words);
    }
    if (err == AB_OK) {
        err = command->run(&arguments, &error);
    }
    if (err == AB_OK) {
        return EXIT_SUCCESS;
    }
    ab_command_say("anabranch %s: %s", command->name, error.text[0] == '\0' ? ab_err_text(err) : error.text);
    if (err == AB_USAGE) {
        ab_command_say("see `anabranch %s --help`", command->name);
    }
    return err == AB_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}

int ab_command_main(int argc, char **argv)
{
    if (argc < 2) {
        help_print(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help_print(stdout);
        return EXIT_SUCCESS;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("anabranch %s\n", AB_VERSION);
        return EXIT_SUCCESS;
    }
    const struct ab_command *command = command_find(argv[1]);
    if (command == NULL) {
        ab_command_say("anabranch: unknown command '%s'", argv[1]);
        help_print(stderr);
        return EXIT_USAGE;
    }
    if (argc > 2 && strcmp(argv[2], "--version") == 0) {
        (void)printf("anabranch %s\n", AB_VERSION);
        return EXIT_SUCCESS;
    }
    return command_run(command, argc - 2, argv + 2);
}
