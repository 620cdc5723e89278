#include "cluster/command/command.h"
#include "cluster/command/session.h"
#include "common/catalog/catalog.h"

#include <inttypes.h>
#include <stdio.h>

#define APPLY_TIMEOUT_MS 660000

static void answer_print(const struct ab_json *reply, bool is_dry_run)
{
    const struct ab_json *changes = ab_json_get(reply, "changes");
    for (size_t i = 0; i < ab_json_count(changes); i++) {
        (void)printf("%s\n", ab_json_text_or(ab_json_at(changes, i), ""));
    }
    const char *job = ab_json_text_or(ab_json_get(reply, "job"), "");
    if (ab_json_count(changes) == 0) {
        (void)printf("no change\n");
    } else if (is_dry_run) {
        (void)printf("nothing was changed (--dry-run)\n");
    } else {
        (void)printf("catalog version %" PRId64 " is in force from cut %" PRId64 "\n",
            ab_json_integer_or(ab_json_get(reply, "version"), 0), ab_json_integer_or(ab_json_get(reply, "cut"), 0));
    }
    if (job[0] != '\0') {
        (void)printf("%s fills what is new: `anabranch job show %s`\n", job, job);
    }
}

static ab_err catalog_apply(
    const struct ab_arguments *arguments, char *directory, const struct ab_buffer *text, struct ab_error *error)
{
    struct ab_session session;
    struct ab_json *reply = NULL;
    bool is_dry_run = ab_arguments_has(arguments, "--dry-run");
    ab_err err = ab_session_open(directory, "operator", &session, error);
    if (err == AB_OK) {
        struct ab_json *request = ab_json_object();
        ab_json_set(request, "text", ab_json_text_of(ab_buffer_view(text)));
        ab_json_set(request, "dry_run", ab_json_boolean(is_dry_run));
        ab_json_set(request, "allow_removal", ab_json_boolean(ab_arguments_has(arguments, "--allow-removal")));
        err = ab_session_call(&session, "controller", AB_VERB_APPLY, request, APPLY_TIMEOUT_MS, &reply, error);
        ab_json_destroy(request);
    }
    if (err == AB_OK) {
        answer_print(reply, is_dry_run);
    }
    ab_json_destroy(reply);
    ab_session_close(&session);
    return err;
}

static ab_err apply_run(const struct ab_arguments *arguments, struct ab_error *error)
{
    char *directory = NULL;
    struct ab_buffer text;
    const char *path = arguments->words[0];
    AB_TRY(ab_command_directory(arguments, &directory, error));
    ab_err err = ab_command_file(path, AB_CATALOG_TEXT_BYTES_MAX, &text, error);
    if (err == AB_OK) {
        err = catalog_apply(arguments, directory, &text, error);
    }
    ab_buffer_fini(&text);
    ab_delete(directory);
    return err;
}

static const struct ab_option apply_options[] = {
    AB_OPTION_DATA,
    {"--dry-run", NULL, "show what would change"},
    {"--allow-removal", NULL, "streams that FILE does not name are removed"},
    {0},
};

const struct ab_command ab_command_apply = {
    .name = "apply",
    .words = "FILE",
    .summary = "bring a changed catalog into force at the next cut, and fill what is new",
    .options = apply_options,
    .words_min = 1,
    .words_max = 1,
    .run = apply_run,
};
