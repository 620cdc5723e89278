#include "bench/temporary_cluster.h"

#include "bench/report.h"

#include "cluster/ensemble.h"
#include "common/base/file.h"

#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define WORDS_MAX 16u

/* Runs the command beside this program and waits; its output goes to our standard error. */
static ab_err command_run(const char *const *arguments, struct ab_error *error)
{
    char self[512];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) {
        return ab_error_set(error, AB_IO, "cannot find this program's own path");
    }
    self[length] = '\0';
    char *program = ab_new_format("%.*s/anabranch", (int)(strrchr(self, '/') - self), self);
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    pid_t child = 0;
    int failed = posix_spawn(&child, program, &actions, NULL, (char *const *)(uintptr_t)arguments, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    ab_delete(program);
    if (failed != 0) {
        return ab_error_set(error, AB_UNAVAILABLE, "cannot start `anabranch %s`: %s", arguments[1], strerror(failed));
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? AB_OK
               : ab_error_set(error, AB_UNAVAILABLE, "`anabranch %s` failed", arguments[1]);
}

static ab_err cluster_up(
    const struct ab_temporary_cluster_options *options, struct ab_temporary_cluster *cluster, struct ab_error *error)
{
    const char *parent = getenv("TMPDIR");
    char *directory = ab_new_format("%s/anabranch-bench-XXXXXX", parent == NULL ? "/tmp" : parent);
    if (mkdtemp(directory) == NULL) {
        ab_delete(directory);
        return ab_error_set(error, AB_IO, "cannot make a temporary directory");
    }
    cluster->directory = ab_new_format("%s/cluster", directory);
    cluster->is_own = true;
    char *catalog = ab_new_format("%s/catalog.sql", directory);
    char partitions[16];
    char workers[16];
    char nodes[16];
    snprintf(partitions, sizeof partitions, "%" PRIu32, options->partitions_count);
    snprintf(workers, sizeof workers, "%" PRIu32, options->workers == 0 ? 1 : options->workers);
    ab_err err = ab_file_replace(catalog, ab_bytes_of_text(options->catalog), 0644, error);
    snprintf(nodes, sizeof nodes, "%" PRIu32, options->nodes_count);
    const char *arguments[WORDS_MAX] = {
        "anabranch", "up", "--data", cluster->directory, "--catalog", catalog, "--partitions", partitions};
    size_t count = 8;
    if (options->workers > 0) {
        arguments[count++] = "--workers";
        arguments[count++] = workers;
    }
    if (options->nodes_count > 0) {
        arguments[count++] = "--nodes";
        arguments[count++] = nodes;
    }
    if (err == AB_OK) {
        err = command_run(arguments, error);
    }
    ab_delete(catalog);
    ab_delete(directory);
    return err;
}

static ab_err nodes_count_find(struct ab_temporary_cluster *cluster, struct ab_error *error)
{
    struct ab_nodes nodes = {.count = 1};
    if (ab_nodes_is(cluster->directory)) {
        AB_TRY(ab_nodes_read(cluster->directory, &nodes, error));
        cluster->is_of_several = true;
    }
    cluster->nodes_count = nodes.count;
    return AB_OK;
}

ab_err ab_temporary_cluster_open(
    const struct ab_temporary_cluster_options *options, struct ab_temporary_cluster *cluster, struct ab_error *error)
{
    *cluster = (struct ab_temporary_cluster){0};
    ab_err err = AB_OK;
    if (options->directory != NULL) {
        cluster->directory = ab_new_text(options->directory);
    } else {
        err = cluster_up(options, cluster, error);
    }
    if (err == AB_OK) {
        err = nodes_count_find(cluster, error);
    }
    if (err == AB_OK) {
        char *first = ab_temporary_cluster_node(cluster, 1);
        struct ab_node_options node = {.directory = first, .role = "operator", .name = "anabranch-bench"};
        err = ab_node_open(&node, &cluster->node, error);
        ab_delete(first);
    }
    if (err != AB_OK) {
        ab_temporary_cluster_close(cluster);
    }
    return err;
}

void ab_temporary_cluster_close(struct ab_temporary_cluster *cluster)
{
    ab_node_close(&cluster->node);
    if (cluster->is_own) {
        struct ab_error error = {0};
        const char *const arguments[] = {"anabranch", "down", "--data", cluster->directory, NULL};
        if (command_run(arguments, &error) != AB_OK) {
            fprintf(stderr, "%s\n", error.text);
        }
        *strrchr(cluster->directory, '/') = '\0';
        if (ab_file_remove_tree(cluster->directory, &error) != AB_OK) {
            fprintf(stderr, "cannot remove %s: %s\n", cluster->directory, error.text);
        }
    }
    ab_delete(cluster->directory);
    *cluster = (struct ab_temporary_cluster){0};
}

char *ab_temporary_cluster_node(const struct ab_temporary_cluster *cluster, uint32_t node)
{
    return cluster->is_of_several ? ab_nodes_directory(cluster->directory, node) : ab_new_text(cluster->directory);
}

ab_err ab_temporary_cluster_connect(const struct ab_temporary_cluster *cluster, uint32_t node, const char *daemon,
    struct ab_channel **channel, struct ab_error *error)
{
    struct ab_node_endpoint endpoint = {0};
    char *directory = ab_temporary_cluster_node(cluster, node);
    ab_err err = ab_node_endpoint_read(directory, daemon, &endpoint, error);
    ab_delete(directory);
    AB_TRY(err);
    struct ab_channel_options options = {.address = endpoint.address};
    memcpy(options.server_key, endpoint.public_key, sizeof options.server_key);
    return ab_channel_open(cluster->node.wire, &options, channel, error);
}

ab_err ab_temporary_cluster_node_start(
    const struct ab_temporary_cluster *cluster, uint32_t node, struct ab_error *error)
{
    char number[16];
    snprintf(number, sizeof number, "%" PRIu32, node);
    const char *const arguments[] = {"anabranch", "up", "--data", cluster->directory, "--node", number, NULL};
    return command_run(arguments, error);
}

static double node_cpu_seconds(const char *directory)
{
    static const char *const daemons[] = {"controller", "speed", "serving"};
    double seconds = 0;
    for (size_t i = 0; i < sizeof daemons / sizeof daemons[0]; i++) {
        struct ab_node_endpoint endpoint = {0};
        struct ab_error error = {0};
        if (ab_node_endpoint_read(directory, daemons[i], &endpoint, &error) == AB_OK) {
            seconds += ab_report_process_cpu_seconds(endpoint.pid);
        }
    }
    return seconds;
}

double ab_temporary_cluster_cpu_seconds(const struct ab_temporary_cluster *cluster)
{
    double seconds = 0;
    for (uint32_t node = 1; node <= cluster->nodes_count; node++) {
        char *directory = ab_temporary_cluster_node(cluster, node);
        seconds += node_cpu_seconds(directory);
        ab_delete(directory);
    }
    struct ab_ensemble_running running = {0};
    if (cluster->is_of_several && ab_ensemble_running_read(cluster->directory, &running)) {
        for (uint32_t i = 0; i < running.servers_count; i++) {
            seconds += ab_report_process_cpu_seconds(running.servers[i].pid);
        }
    }
    return seconds;
}
