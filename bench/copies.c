#include "bench/copies.h"

#include "common/base/assert.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/thread.h"
#include "common/base/time.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILE_BYTES (256u << 20) /* then from its beginning again: logs have segments */
#define MESSAGES 8u             /* on their way at a time */
#define ANSWER_MS 10000

/* One replica. */
struct copy {
    const struct ab_copies_options *options; /* borrowed */
    uint8_t *message;                        /* owned */
    char *path;                              /* owned */
    int fd;
    struct ab_wire *wires[2]; /* owned; of who receives, and of who sends */
    struct ab_server *server;
    struct ab_channel *channel;
    struct ab_thread thread;
    uint64_t written;  /* network thread, as the next two */
    uint32_t unsynced; /* messages */
    ab_err write_err;
    uint64_t answered; /* sender's thread, then the caller's; bytes */
    ab_err err;
};

static void copy_receive(struct ab_request *request, void *context)
{
    struct copy *copy = context;
    off_t at = (off_t)(copy->written % FILE_BYTES);
    if (pwrite(copy->fd, request->payload.data, request->payload.bytes, at) != (ssize_t)request->payload.bytes) {
        copy->write_err = AB_IO;
    }
    copy->written += request->payload.bytes;
    if (++copy->unsynced >= copy->options->sync_messages) {
        copy->unsynced = 0;
        copy->write_err = fdatasync(copy->fd) == 0 ? copy->write_err : AB_IO;
    }
    ab_request_reply(request, copy->write_err, NULL, (struct ab_bytes){0});
}

static ab_err copy_send(struct copy *copy)
{
    int64_t until_us = ab_time_monotonic_us() + (int64_t)(copy->options->seconds * 1e6);
    uint32_t waiting = 0;
    do {
        struct ab_answer answer = {0};
        for (; waiting < MESSAGES; waiting++) {
            struct ab_envelope envelope = {.verb = AB_VERB_PRODUCE};
            struct ab_bytes message = ab_bytes_of(copy->message, copy->options->message_bytes);
            AB_TRY(ab_channel_send(copy->channel, &envelope, message));
        }
        AB_TRY(ab_channel_receive(copy->channel, ANSWER_MS, &answer));
        ab_err err = answer.envelope.status;
        ab_answer_free(&answer);
        AB_TRY(err);
        waiting--;
        copy->answered += copy->options->message_bytes;
    } while (ab_time_monotonic_us() < until_us);
    return AB_OK;
}

static void copy_run(void *context)
{
    struct copy *copy = context;
    copy->err = copy_send(copy);
}

static ab_err copy_open(
    struct copy *copy, const struct ab_copies_options *options, uint32_t number, struct ab_error *error)
{
    struct ab_wire_peer peer = {.role = AB_ROLE_OPERATOR, .name = "copies"};
    const struct ab_wire_options wire = {.keys = *options->keys, .peers = &peer, .peers_count = 1, .node = "copies"};
    memcpy(peer.public_key, options->keys->public_key, sizeof peer.public_key);
    *copy = (struct copy){.options = options, .fd = -1};
    copy->message = ab_new_bytes(options->message_bytes);
    memset(copy->message, (int)number + 1, options->message_bytes);
    copy->path = ab_new_format("%s/copy-%" PRIu32, options->directory, number);
    AB_TRY(ab_file_open(copy->path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &copy->fd, error));
    AB_TRY(ab_wire_open(&wire, &copy->wires[0], error));
    AB_TRY(ab_wire_open(&wire, &copy->wires[1], error));
    const struct ab_server_options bound = {
        .address = "tcp://127.0.0.1:*", .on_request = copy_receive, .context = copy};
    AB_TRY(ab_server_open(copy->wires[0], &bound, &copy->server, error));
    struct ab_channel_options to = {.address = ab_server_address(copy->server)};
    memcpy(to.server_key, options->keys->public_key, sizeof to.server_key);
    return ab_channel_open(copy->wires[1], &to, &copy->channel, error);
}

static void copy_close(struct copy *copy)
{
    if (copy->path == NULL) {
        return; /* never opened */
    }
    ab_channel_close(copy->channel);
    ab_server_close(copy->server);
    ab_wire_close(copy->wires[1]);
    ab_wire_close(copy->wires[0]);
    ab_file_close(&copy->fd);
    (void)unlink(copy->path); /* it goes with the directory at the latest */
    ab_delete(copy->path);
    ab_delete(copy->message);
}

static double cpu_ns(void)
{
    struct rusage usage;
    AB_ASSERT(getrusage(RUSAGE_SELF, &usage) == 0);
    return 1e9 * (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e3 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

ab_err ab_copies_run(const struct ab_copies_options *options, struct ab_copies_result *result, struct ab_error *error)
{
    struct copy copies[AB_COPIES_MAX] = {0};
    uint64_t bytes = 0;
    ab_err err = AB_OK;
    AB_ASSERT(options->replicas >= 1 && options->replicas <= AB_COPIES_MAX);
    for (uint32_t i = 0; i < options->replicas && err == AB_OK; i++) {
        err = copy_open(&copies[i], options, i, error);
    }
    double cpu_before = cpu_ns();
    int64_t start_us = ab_time_monotonic_us();
    for (uint32_t i = 0; i < options->replicas && err == AB_OK; i++) {
        ab_thread_start(&copies[i].thread, "copy", copy_run, &copies[i]);
    }
    for (uint32_t i = 0; i < options->replicas; i++) {
        ab_thread_join(&copies[i].thread);
        bytes += copies[i].answered;
        if (err == AB_OK && copies[i].err != AB_OK) {
            err = ab_error_set(error, copies[i].err, "copying and writing bytes: %s", ab_err_text(copies[i].err));
        }
    }
    int64_t spent_us = ab_time_monotonic_us() - start_us;
    double cpu = cpu_ns() - cpu_before;
    for (uint32_t i = 0; i < options->replicas; i++) {
        copy_close(&copies[i]);
    }
    if (err == AB_OK) {
        *result = (struct ab_copies_result){
            .bytes_per_second = (double)bytes / (double)spent_us * 1e6, .cpu_ns_a_byte = cpu / (double)bytes};
    }
    return err;
}
