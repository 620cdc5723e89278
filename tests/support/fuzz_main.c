/* Drives LLVMFuzzerTestOneInput without libFuzzer: replays every file of a corpus directory, then feeds mutations of
 * them for some seconds from a fixed seed, and prints how many inputs were run.
 *
 *     fuzz_<name> [--seconds N] [--seed N] [--bytes-max N] [corpus directory or one file]
 *
 * An input that crashes, or takes longer than 20 s, is left in ./fuzz-failure.bin; give that file as the last argument
 * to run it again alone.
 */
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/base/time.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_SECONDS_MAX 20
#define MUTATIONS_MAX 6
#define FAILURE_PATH "fuzz-failure.bin"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Present under sanitizers, which end the process without a signal. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

struct options {
    uint64_t seconds;
    uint64_t seed;
    uint64_t bytes_max;
    const char *corpus; /* borrowed from argv; NULL = none */
};

struct corpus {
    struct ab_buffer *inputs; /* owned */
    size_t count;
};

/* The input that runs now, for the handler of a crash. */
static struct ab_bytes input_running;

/* Only async-signal-safe calls. */
static void failure_save(void)
{
    int fd = open(FAILURE_PATH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd >= 0) {
        ssize_t written = write(fd, input_running.data, input_running.bytes);
        (void)written; /* the process is dying: nothing better can be done */
        (void)close(fd);
    }
}

static void on_signal(int number)
{
    failure_save();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void handlers_install(void)
{
    const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (__sanitizer_set_death_callback == NULL || numbers[i] == SIGALRM || numbers[i] == SIGABRT) {
            (void)signal(numbers[i], on_signal);
        }
    }
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(failure_save);
    }
}

/* Runs one input from memory of its exact size, so that a sanitizer sees every read past its end. */
static void input_run(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = ab_new_bytes(bytes);
    if (bytes > 0) {
        memcpy(copy, data, bytes);
    }
    input_running = ab_bytes_of(copy, bytes);
    (void)alarm(INPUT_SECONDS_MAX);
    (void)LLVMFuzzerTestOneInput(copy, bytes);
    (void)alarm(0);
    ab_delete(copy);
}

static void corpus_add(struct corpus *corpus, const char *path)
{
    struct ab_error error = {0};
    corpus->inputs = ab_renew_bytes(corpus->inputs, (corpus->count + 1) * sizeof(struct ab_buffer));
    struct ab_buffer *input = &corpus->inputs[corpus->count];
    ab_buffer_init(input, NULL, 0);
    if (ab_file_read_all(path, input, &error) != AB_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(2);
    }
    corpus->count++;
}

static void corpus_load(struct corpus *corpus, const char *path)
{
    struct stat status;
    if (path == NULL) {
        return;
    }
    if (stat(path, &status) != 0) {
        fprintf(stderr, "no corpus at %s\n", path);
        exit(2);
    }
    if (!S_ISDIR(status.st_mode)) {
        corpus_add(corpus, path);
        return;
    }
    char **names = NULL;
    size_t count = 0;
    struct ab_error error = {0};
    if (ab_file_list(path, &names, &count, &error) != AB_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(2);
    }
    for (size_t i = 0; i < count; i++) {
        char *file = ab_new_format("%s/%s", path, names[i]);
        corpus_add(corpus, file);
        ab_delete(file);
    }
    ab_file_names_free(names, count);
}

static size_t pick(struct ab_random *random, size_t bound)
{
    return bound == 0 ? 0 : (size_t)ab_random_below(random, bound);
}

/* Replaces removed bytes at `at` by the given ones, as far as bytes_max allows. */
static void replace_range(
    struct ab_buffer *input, size_t at, size_t removed, const uint8_t *put, size_t put_bytes, size_t bytes_max)
{
    size_t tail = input->bytes - at - removed;
    if (at + put_bytes + tail > bytes_max) {
        return;
    }
    struct ab_buffer rest = {0};
    ab_buffer_put(&rest, put, put_bytes);
    ab_buffer_put(&rest, input->data + at + removed, tail);
    input->bytes = at;
    ab_buffer_put(input, rest.data, rest.bytes);
    ab_buffer_fini(&rest);
}

/* Overwrites 1, 2, 4 or 8 bytes by a number at which code tends to go wrong, in either byte order. */
static void put_edge_number(struct ab_random *random, struct ab_buffer *input)
{
    static const uint64_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
        INT64_MAX, UINT64_C(1) << 63, UINT64_MAX, 0xfffffffe, 64, 1024};
    size_t width = (size_t)1 << pick(random, 4);
    uint64_t number = edges[pick(random, sizeof(edges) / sizeof(edges[0]))];
    if (input->bytes < width) {
        return;
    }
    size_t at = pick(random, input->bytes - width + 1);
    bool is_big_endian = pick(random, 2) == 1;
    for (size_t i = 0; i < width; i++) {
        input->data[is_big_endian ? at + width - 1 - i : at + i] = (uint8_t)(number >> (8 * i));
    }
}

/* Inserts or overwrites with a piece of another input, or of this one. */
static void put_piece(struct ab_random *random, struct ab_buffer *input, const struct corpus *corpus, size_t bytes_max)
{
    const struct ab_buffer *from = corpus->count == 0 ? input : &corpus->inputs[pick(random, corpus->count)];
    size_t begin = pick(random, from->bytes);
    size_t bytes = pick(random, from->bytes - begin + 1);
    struct ab_buffer piece = {0};
    ab_buffer_put(&piece, bytes == 0 ? NULL : from->data + begin, bytes);
    size_t at = pick(random, input->bytes + 1);
    size_t removed = pick(random, 2) == 0 ? 0 : pick(random, input->bytes - at + 1);
    replace_range(input, at, removed, piece.data, piece.bytes, bytes_max);
    ab_buffer_fini(&piece);
}

static void mutate(struct ab_random *random, struct ab_buffer *input, const struct corpus *corpus, size_t bytes_max)
{
    uint8_t byte = (uint8_t)ab_random_u64(random);
    size_t at = pick(random, input->bytes);
    switch (pick(random, 7)) {
    case 0:
        if (input->bytes > 0) {
            input->data[at] ^= (uint8_t)(1u << (byte & 7));
        }
        break;
    case 1:
        if (input->bytes > 0) {
            input->data[at] = byte;
        }
        break;
    case 2:
        replace_range(input, pick(random, input->bytes + 1), 0, &byte, 1, bytes_max);
        break;
    case 3:
        replace_range(input, at, pick(random, input->bytes - at + 1), NULL, 0, bytes_max);
        break;
    case 4:
        input->bytes = pick(random, input->bytes + 1);
        break;
    case 5:
        put_edge_number(random, input);
        break;
    default:
        put_piece(random, input, corpus, bytes_max);
        break;
    }
}

static uint64_t mutations_run(const struct options *options, const struct corpus *corpus)
{
    struct ab_random random;
    ab_random_init(&random, options->seed);
    struct ab_buffer input = {0};
    uint64_t executions = 0;
    int64_t until = ab_time_monotonic_us() + (int64_t)options->seconds * AB_US_PER_SECOND;
    while (ab_time_monotonic_us() < until) {
        const struct ab_buffer *seed = corpus->count == 0 ? NULL : &corpus->inputs[pick(&random, corpus->count)];
        ab_buffer_clear(&input);
        ab_buffer_put(&input, seed == NULL ? NULL : seed->data, seed == NULL ? 0 : seed->bytes);
        for (size_t left = 1 + pick(&random, MUTATIONS_MAX); left > 0; left--) {
            mutate(&random, &input, corpus, (size_t)options->bytes_max);
        }
        input_run(input.data, input.bytes);
        executions++;
    }
    ab_buffer_fini(&input);
    return executions;
}

static bool number_read(const char *text, uint64_t *number)
{
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    *number = value;
    return end != text && *end == '\0' && text[0] != '-';
}

static bool options_read(int count, char **arguments, struct options *options)
{
    *options = (struct options){.seconds = 3, .seed = 1, .bytes_max = 64 * 1024};
    for (int i = 1; i < count; i++) {
        const char *name = arguments[i];
        uint64_t *number = strcmp(name, "--seconds") == 0     ? &options->seconds
                           : strcmp(name, "--seed") == 0      ? &options->seed
                           : strcmp(name, "--bytes-max") == 0 ? &options->bytes_max
                                                              : NULL;
        if (number == NULL && i + 1 == count && name[0] != '-') {
            options->corpus = name;
        } else if (number == NULL || i + 1 == count || !number_read(arguments[++i], number)) {
            return false;
        }
    }
    return true;
}

int main(int count, char **arguments)
{
    struct options options;
    if (!options_read(count, arguments, &options)) {
        fprintf(
            stderr, "usage: %s [--seconds N] [--seed N] [--bytes-max N] [corpus directory or file]\n", arguments[0]);
        return 2;
    }
    struct corpus corpus = {0};
    corpus_load(&corpus, options.corpus);
    handlers_install();
    for (size_t i = 0; i < corpus.count; i++) {
        input_run(corpus.inputs[i].data, corpus.inputs[i].bytes);
    }
    input_run(NULL, 0);
    uint64_t executions = mutations_run(&options, &corpus);
    printf("replayed %zu, mutated %llu (seed %llu)\n", corpus.count, (unsigned long long)executions,
        (unsigned long long)options.seed);
    for (size_t i = 0; i < corpus.count; i++) {
        ab_buffer_fini(&corpus.inputs[i]);
    }
    ab_delete(corpus.inputs);
    return 0;
}
