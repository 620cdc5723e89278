#include "batch/workspace.h"

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/history/layout.h"

#include <inttypes.h>
#include <stdio.h>

char *ab_workspace_path(const char *directory, const char *job)
{
    return ab_new_format("%s/jobs/%s/work", directory, job);
}

/* Removes a tree that nobody should need. A process that was thought dead may still be writing there: then it stays for
 * the next job, which is no reason not to do this one. */
static void leftover_remove(const char *path)
{
    struct ab_error error = {0};
    if (ab_file_remove_tree(path, &error) != AB_OK) {
        ab_warn("leftover stays", "%s", error.text);
    }
}

static ab_err other_work_remove(const char *directory, const char *job, struct ab_error *error)
{
    char *jobs = ab_new_format("%s/jobs", directory);
    char **names = NULL;
    size_t count = 0;
    ab_err err = ab_file_list(jobs, &names, &count, error);
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        if (strcmp(names[i], job) != 0) {
            char *path = ab_workspace_path(directory, names[i]);
            leftover_remove(path);
            ab_delete(path);
        }
    }
    ab_file_names_free(names, count);
    ab_delete(jobs);
    return err;
}

/* True for "<cut>-<attempt>" of this cut and this attempt or an earlier one, and of an earlier cut when nothing names
 * it any more. */
static bool is_leftover(const struct ab_plan *plan, const char *name, const char *path)
{
    uint64_t cut = 0;
    uint32_t attempt = 0;
    int used = 0;
    bool is_version = sscanf(name, "%" SCNu64 "-%" SCNu32 "%n", &cut, &attempt, &used) == 2 && name[used] == 0;
    bool is_old = cut < plan->cut && ab_plan_is_garbage(plan, path);
    return is_version && (is_old || (cut == plan->cut && attempt <= plan->attempt));
}

static ab_err leftovers_remove(
    const char *directory, const struct ab_plan *plan, const char *folder, struct ab_error *error)
{
    char *parent = ab_new_format("%s/versions/%s", directory, folder);
    char **names = NULL;
    size_t count = 0;
    ab_err err = ab_file_list(parent, &names, &count, error);
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        char *relative = ab_new_format("versions/%s/%s", folder, names[i]);
        if (is_leftover(plan, names[i], relative) && !ab_plan_is_referenced(plan, relative)) {
            char *path = ab_new_format("%s/%s", directory, relative);
            leftover_remove(path);
            ab_delete(path);
        }
        ab_delete(relative);
    }
    ab_file_names_free(names, count);
    ab_delete(parent);
    return err;
}

ab_err ab_workspace_prepare(const char *directory, const struct ab_plan *plan, struct ab_error *error)
{
    char *work = ab_workspace_path(directory, plan->job);
    char *versions = ab_new_format("%s/versions", directory);
    char **names = NULL;
    size_t count = 0;
    ab_err err = ab_file_make_directory(work, 0750, error);
    if (err == AB_OK) {
        err = ab_file_make_directory(versions, 0750, error);
    }
    if (err == AB_OK) {
        err = other_work_remove(directory, plan->job, error);
    }
    if (err == AB_OK) {
        err = ab_file_list(versions, &names, &count, error);
    }
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        err = leftovers_remove(directory, plan, names[i], error);
    }
    ab_file_names_free(names, count);
    ab_delete(versions);
    ab_delete(work);
    return err;
}

ab_err ab_workspace_report(
    const char *directory, const struct ab_plan *plan, const struct ab_json *report, struct ab_error *error)
{
    char *path = ab_new_format("%s/jobs/%s/report-%" PRIu32 ".json", directory, plan->job, plan->attempt);
    struct ab_buffer text = {0};
    ab_json_write(report, 2, &text);
    ab_buffer_put_u8(&text, '\n');
    ab_err err = ab_file_replace(path, ab_buffer_view(&text), 0640, error);
    ab_buffer_fini(&text);
    ab_delete(path);
    return err;
}

ab_err ab_workspace_clean(const char *directory, const char *job, struct ab_error *error)
{
    char *path = ab_workspace_path(directory, job);
    ab_err err = ab_file_remove_tree(path, error);
    ab_delete(path);
    return err;
}
