#include "tests/support/zookeeper.h"

#include "common/base/time.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Long enough for a Java machine that starts beside a full build. */
#define LISTEN_US (60 * AB_US_PER_SECOND)

void zookeeper_need(void)
{
    struct ab_error error = {0};
    if (ab_zookeeper_check(&error) != AB_OK) {
        (void)fprintf(stderr, "SKIP: %s\n", error.text);
        exit(77);
    }
}

/* Binds loopback sockets to free ports, all held until all are known, so that no two are the same. */
static void ports_find(uint16_t *ports, size_t count)
{
    int sockets[3 * AB_ZOOKEEPER_SERVERS_MAX];
    for (size_t i = 0; i < count; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t bytes = sizeof address;
        sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(sockets[i] >= 0);
        assert_int_equal(bind(sockets[i], (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(getsockname(sockets[i], (struct sockaddr *)&address, &bytes), 0);
        ports[i] = ntohs(address.sin_port);
    }
    for (size_t i = 0; i < count; i++) {
        (void)close(sockets[i]);
    }
}

static bool is_listening(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_there = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    (void)close(fd);
    return is_there;
}

/* Waits for the port, and then for an answer: a server that begins may let its first client wait for long. */
static void ready_wait(struct zookeeper *zookeeper, size_t index)
{
    int64_t until_us = ab_time_monotonic_us() + LISTEN_US;
    while (!is_listening(zookeeper->servers[index].client_port)) {
        int code = 0;
        if (ab_process_reap(&zookeeper->processes[index], &code)) {
            fail_msg("the ZooKeeper server ended with %d: see %s/log", code, zookeeper->directories[index]);
        }
        assert_true(ab_time_monotonic_us() < until_us);
        ab_time_sleep_us(10 * AB_US_PER_MS);
    }
    struct zookeeper only = {.count = 1, .servers = {zookeeper->servers[index]}};
    ab_coordination_close(zookeeper_session(&only, "/ready", 1000, LISTEN_US / AB_US_PER_MS));
}

static void server_run(struct zookeeper *zookeeper, size_t index)
{
    struct ab_error error = {0};
    char **command = ab_zookeeper_command(zookeeper->directories[index]);
    char *log = scratch_path(zookeeper->directories[index], "log");
    int fd = -1;
    assert_ok(ab_file_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600, &fd, &error));
    struct ab_process_options options = {.arguments = (const char *const *)command, .output_fd = fd, .is_group = true};
    if (ab_process_start(&options, &zookeeper->processes[index], &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    ab_file_close(&fd);
    ab_delete(log);
    ab_zookeeper_command_free(command);
}

void zookeeper_start(struct zookeeper *zookeeper, const char *directory, size_t count)
{
    uint16_t ports[3 * AB_ZOOKEEPER_SERVERS_MAX];
    struct ab_error error = {0};
    *zookeeper = (struct zookeeper){.count = count};
    ports_find(ports, 3 * count);
    for (size_t i = 0; i < count; i++) {
        zookeeper->directories[i] = ab_new_format("%s/zookeeper-%zu", directory, i + 1);
        zookeeper->servers[i] = (struct ab_zookeeper_server){.directory = zookeeper->directories[i],
            .client_port = ports[3 * i],
            .peer_port = ports[3 * i + 1],
            .election_port = ports[3 * i + 2]};
    }
    for (size_t i = 0; i < count; i++) {
        if (ab_zookeeper_prepare(zookeeper->servers, count, i, &error) != AB_OK) {
            fail_msg("%s", error.text);
        }
        server_run(zookeeper, i);
    }
    for (size_t i = 0; i < count; i++) {
        ready_wait(zookeeper, i);
    }
}

void zookeeper_start_again(struct zookeeper *zookeeper, size_t index)
{
    server_run(zookeeper, index);
    ready_wait(zookeeper, index);
}

void zookeeper_signal(struct zookeeper *zookeeper, size_t index, int signal_number)
{
    struct ab_process *process = &zookeeper->processes[index];
    ab_process_signal(process, signal_number);
    if (signal_number == SIGKILL && process->pid > 0) {
        (void)waitpid((pid_t)process->pid, NULL, 0); /* our child */
        *process = (struct ab_process){0};
    }
}

void zookeeper_stop(struct zookeeper *zookeeper)
{
    for (size_t i = 0; i < zookeeper->count; i++) {
        zookeeper_signal(zookeeper, i, SIGKILL);
        ab_delete(zookeeper->directories[i]);
    }
    *zookeeper = (struct zookeeper){0};
}

ab_err zookeeper_session_try(const struct zookeeper *zookeeper, const char *chroot, const char *credential,
    int64_t session_ms, int64_t call_ms, struct ab_coordination **session, struct ab_error *error)
{
    struct ab_coordination_options options = {.credential = ab_bytes_of_text(credential),
        .session_timeout_us = session_ms * AB_US_PER_MS,
        .call_timeout_us = call_ms * AB_US_PER_MS};
    char *address = ab_zookeeper_address(zookeeper->servers, zookeeper->count, chroot);
    ab_err err = ab_coordination_open_with(address, &options, session, error);
    ab_delete(address);
    return err;
}

struct ab_coordination *zookeeper_session(
    const struct zookeeper *zookeeper, const char *chroot, int64_t session_ms, int64_t call_ms)
{
    struct ab_coordination *session = NULL;
    struct ab_error error = {0};
    if (zookeeper_session_try(zookeeper, chroot, "anabranch:secret", session_ms, call_ms, &session, &error) != AB_OK) {
        fail_msg("%s", error.text);
    }
    return session;
}
