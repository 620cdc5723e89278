#include "bench/limits.h"

#include "common/base/file.h"
#include "common/base/time.h"

#include <fcntl.h>
#include <unistd.h>

#define TABLE_SLOTS (1u << 21)
#define COPY_BYTES (64u << 20)
#define FILE_BYTES (256u << 20) /* then from its beginning again: logs have segments */
#define COPY_MESSAGES 8u        /* on their way at a time */
#define COPY_ANSWER_MS 10000

/* One group in the plainest form: a cache line. */
struct plain_group {
    int64_t key;
    int64_t hour;
    uint64_t count;
    double sum;
    double min;
    double max;
    bool is_used;
};

static void group_add(struct plain_group *table, int64_t key, int64_t hour, double amount)
{
    uint64_t hash = ((uint64_t)key * UINT64_C(0x9E3779B97F4A7C15)) ^ ((uint64_t)hour * UINT64_C(0xC2B2AE3D27D4EB4F));
    hash ^= hash >> 29;
    uint32_t slot = (uint32_t)hash & (TABLE_SLOTS - 1);
    while (table[slot].is_used && (table[slot].key != key || table[slot].hour != hour)) {
        slot = (slot + 1) & (TABLE_SLOTS - 1);
    }
    struct plain_group *group = &table[slot];
    if (!group->is_used) {
        *group = (struct plain_group){.key = key, .hour = hour, .min = amount, .max = amount, .is_used = true};
    }
    group->count++;
    group->sum += amount;
    group->min = amount < group->min ? amount : group->min;
    group->max = amount > group->max ? amount : group->max;
}

double ab_limit_hash_aggregate_ns(const struct ab_events *events, uint32_t partitions_count, double seconds)
{
    struct plain_group *table = ab_new_array(struct plain_group, TABLE_SLOTS);
    uint32_t rows = ab_events_rows(events);
    uint64_t count = 0;
    int64_t start_ns = ab_time_thread_cpu_ns();
    int64_t spent_ns = 0;
    for (uint64_t i = 0; (double)spent_ns < seconds * 1e9; i++) {
        for (uint32_t p = 0; p < partitions_count; p++) {
            const struct ab_events_block *block = ab_events_at(events, p, i);
            for (uint32_t row = 0; row < rows; row++) {
                group_add(table, block->keys[row], block->times[row] / AB_US_PER_HOUR, block->amounts[row]);
            }
            count += rows;
        }
        spent_ns = ab_time_thread_cpu_ns() - start_ns;
    }
    ab_delete(table);
    return (double)spent_ns / (double)count;
}

double ab_limit_memcpy_bytes(double seconds)
{
    uint8_t *from = ab_new_bytes(COPY_BYTES);
    uint8_t *to = ab_new_bytes(COPY_BYTES);
    memset(from, 1, COPY_BYTES);
    memset(to, 2, COPY_BYTES);
    uint64_t bytes = 0;
    int64_t start_us = ab_time_monotonic_us();
    int64_t spent_us = 0;
    while ((double)spent_us < seconds * 1e6) {
        memcpy(to, from, COPY_BYTES);
        __asm__ volatile("" ::"r"(to) : "memory"); /* the copy must happen */
        bytes += COPY_BYTES;
        spent_us = ab_time_monotonic_us() - start_us;
    }
    ab_delete(from);
    ab_delete(to);
    return (double)bytes / (double)spent_us * 1e6;
}

ab_err ab_limit_sync_write_bytes(
    const char *directory, size_t chunk_bytes, double seconds, double *bytes_per_second, struct ab_error *error)
{
    int fd = -1;
    char *path = ab_new_format("%s/limit", directory);
    uint8_t *chunk = ab_new_bytes(chunk_bytes);
    uint64_t bytes = 0;
    int64_t start_us = ab_time_monotonic_us();
    int64_t spent_us = 0;
    memset(chunk, 1, chunk_bytes);
    ab_err err = ab_file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, error);
    while (err == AB_OK && (double)spent_us < seconds * 1e6) {
        off_t at = (off_t)(bytes % FILE_BYTES);
        if (pwrite(fd, chunk, chunk_bytes, at) != (ssize_t)chunk_bytes || fdatasync(fd) != 0) {
            err = ab_error_set(error, AB_IO, "cannot write and sync %s", path);
        }
        bytes += chunk_bytes;
        spent_us = ab_time_monotonic_us() - start_us;
    }
    ab_file_close(&fd);
    (void)unlink(path); /* it goes with the directory at the latest */
    ab_delete(chunk);
    ab_delete(path);
    AB_TRY(err);
    *bytes_per_second = (double)bytes / (double)spent_us * 1e6;
    return AB_OK;
}

/* Takes the message and says no more than that. */
static void copy_answer(struct ab_request *request, void *context)
{
    (void)context;
    ab_request_reply(request, AB_OK, NULL, (struct ab_bytes){0});
}

static ab_err copy_run(struct ab_channel *channel, struct ab_bytes message, double seconds, double *bytes_per_second)
{
    uint64_t bytes = 0;
    uint32_t waiting = 0;
    int64_t start_us = ab_time_monotonic_us();
    int64_t spent_us = 0;
    while ((double)spent_us < seconds * 1e6) {
        struct ab_answer answer = {0};
        for (; waiting < COPY_MESSAGES; waiting++) {
            struct ab_envelope envelope = {.verb = AB_VERB_PRODUCE};
            AB_TRY(ab_channel_send(channel, &envelope, message));
        }
        AB_TRY(ab_channel_receive(channel, COPY_ANSWER_MS, &answer));
        ab_err err = answer.envelope.status;
        ab_answer_free(&answer);
        AB_TRY(err);
        waiting--;
        bytes += message.bytes;
        spent_us = ab_time_monotonic_us() - start_us;
    }
    *bytes_per_second = (double)bytes / (double)spent_us * 1e6;
    return AB_OK;
}

ab_err ab_limit_curve_copy_bytes(const struct ab_wire_keys *keys, size_t message_bytes, double seconds,
    double *bytes_per_second, struct ab_error *error)
{
    struct ab_wire_peer peer = {.role = AB_ROLE_OPERATOR, .name = "limit"};
    struct ab_wire_options options = {.keys = *keys, .peers = &peer, .peers_count = 1, .node = "limit"};
    struct ab_wire *wire = NULL;
    struct ab_server *server = NULL;
    struct ab_channel *channel = NULL;
    uint8_t *message = ab_new_bytes(message_bytes);
    memset(message, 1, message_bytes);
    memcpy(peer.public_key, keys->public_key, sizeof peer.public_key);
    ab_err err = ab_wire_open(&options, &wire, error);
    if (err == AB_OK) {
        const struct ab_server_options bound = {.address = "tcp://127.0.0.1:*", .on_request = copy_answer};
        err = ab_server_open(wire, &bound, &server, error);
    }
    if (err == AB_OK) {
        struct ab_channel_options to = {.address = ab_server_address(server)};
        memcpy(to.server_key, keys->public_key, sizeof to.server_key);
        err = ab_channel_open(wire, &to, &channel, error);
    }
    if (err == AB_OK) {
        err = copy_run(channel, ab_bytes_of(message, message_bytes), seconds, bytes_per_second);
        err = err == AB_OK ? AB_OK : ab_error_set(error, err, "copying over loopback: %s", ab_err_text(err));
    }
    ab_channel_close(channel);
    ab_server_close(server);
    ab_wire_close(wire);
    ab_delete(message);
    return err;
}
