/* messages: sends payloads that mean nothing, with every key of a cluster, for every verb, to every daemon.
 *
 *   messages DIR
 *
 * Each must be answered in time: a verb that the key's role may not use is denied, and what cannot be understood is
 * refused with a text. Prints one line a daemon; ends with 1 when an answer is missing or wrong. SHUTDOWN is left out,
 * and objects that would be good requests of JOB_SUBMIT and JOB_BEGIN.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buffer.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/wire/node.h"

#define TIMEOUT_MS 20000
#define RANDOM_BYTES (256u << 10)
#define DEEP 100000u

static const char *const daemons[] = {"speed", "serving", "controller"};
static const enum ab_role roles[] = {AB_ROLE_PRODUCER, AB_ROLE_QUERY, AB_ROLE_NODE, AB_ROLE_BATCH, AB_ROLE_OPERATOR};

/* Not JSON objects, or objects whose members are all of the wrong kind; and what no decoder of blocks or queries takes.
 */
static const char *const texts[] = {"x", "null", "7", "[]", "\"text\"", "{", "{\"a\":", "[1,2", "\xff\xfe",
    "\x0a\xff\xff\xff\xff\x0f", "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    "\x0a\x05"
    "abc",
    "{\"a\":1}{\"b\":2}"};
static const char *const objects[] = {"{}",
    "{\"stream\":7,\"source\":[],\"cut\":\"x\",\"span\":{},\"view_uid\":true,\"job\":3,\"attempt\":"
    "\"y\",\"catalog\":9,\"limit\":\"z\",\"time_us\":[],\"partitions\":\"p\",\"manifests\":7,\"spans\":1e400}",
    "{\"cut\":-1,\"time_us\":-5,\"span\":18446744073709551615,\"view_uid\":4294967296,\"attempt\":-7,\"job\":\"../../"
    "x\",\"limit\":-3}"};

struct target {
    struct ab_channel *channel; /* owned */
    const char *daemon;
    enum ab_role role;
    uint32_t sent_count;
    uint32_t refused_count;
    uint32_t wrong_count;
};

/* Verbs that may be content with any payload. */
static bool takes_anything(enum ab_verb verb)
{
    return verb == AB_VERB_PING || verb == AB_VERB_STATUS || verb == AB_VERB_CATALOG || verb == AB_VERB_JOB_LIST ||
           verb == AB_VERB_LOG_STATE || verb == AB_VERB_DEAD_LETTERS;
}

static bool makes_jobs(enum ab_verb verb)
{
    return verb == AB_VERB_JOB_SUBMIT || verb == AB_VERB_JOB_BEGIN;
}

static void wrong(struct target *target, enum ab_verb verb, const char *what, const char *text)
{
    fprintf(stderr, "%s, a key of role %s, verb %s: %s: %s\n", target->daemon, ab_role_name(target->role),
        ab_verb_name(verb), what, text);
    target->wrong_count++;
}

static void send_one(struct target *target, enum ab_verb verb, struct ab_bytes payload)
{
    struct ab_answer answer = {0};
    struct ab_error error = {0};
    ab_err err = ab_channel_call(target->channel, verb, payload, TIMEOUT_MS, &answer, &error);
    target->sent_count++;
    target->refused_count += err != AB_OK;
    if (err == AB_TIMEOUT || err == AB_NETWORK) {
        wrong(target, verb, "no answer", error.text);
    } else if (!ab_role_allows(target->role, verb) && err != AB_DENIED) {
        wrong(target, verb, "not denied", error.text);
    } else if (err == AB_OK && !takes_anything(verb)) {
        wrong(target, verb, "taken for good", (const char *)payload.data);
    } else if (err != AB_OK && error.text[0] == '\0') {
        wrong(target, verb, "refused without a word", ab_err_text(err));
    }
    ab_answer_free(&answer);
}

static void send_all(struct target *target, enum ab_verb verb, struct ab_bytes noise, struct ab_bytes deep)
{
    if (!makes_jobs(verb)) {
        send_one(target, verb, (struct ab_bytes){0});
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        send_one(target, verb, ab_bytes_of_text(texts[i]));
    }
    for (size_t i = 0; i < sizeof objects / sizeof objects[0] && !makes_jobs(verb); i++) {
        send_one(target, verb, ab_bytes_of_text(objects[i]));
    }
    for (size_t bytes = 1; bytes <= noise.bytes; bytes *= 8) {
        send_one(target, verb, ab_bytes_of(noise.data, bytes));
    }
    send_one(target, verb, deep);
}

static ab_err daemon_try(const char *directory, const char *daemon, enum ab_role role, struct ab_bytes noise,
    struct ab_bytes deep, struct target *target, struct ab_error *error)
{
    struct ab_node node;
    struct ab_node_endpoint endpoint;
    const struct ab_node_options options = {.directory = directory, .role = ab_role_name(role), .name = "messages"};
    AB_TRY(ab_node_endpoint_read(directory, daemon, &endpoint, error));
    AB_TRY(ab_node_open(&options, &node, error));
    struct ab_channel_options to = {.address = endpoint.address};
    memcpy(to.server_key, endpoint.public_key, sizeof to.server_key);
    ab_err err = ab_channel_open(node.wire, &to, &target->channel, error);
    target->role = role;
    for (enum ab_verb verb = AB_VERB_PING; err == AB_OK && verb < AB_VERB_COUNT; verb++) {
        if (verb != AB_VERB_SHUTDOWN) {
            send_all(target, verb, noise, deep);
        }
    }
    ab_channel_close(target->channel);
    ab_node_close(&node);
    return err;
}

int main(int argc, char **argv)
{
    struct ab_error error = {0};
    struct ab_buffer noise = {0};
    struct ab_buffer deep = {0};
    struct ab_random random;
    uint32_t wrong_count = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: messages DIR\n");
        return 2;
    }
    ab_random_init(&random, 7);
    for (size_t i = 0; i < RANDOM_BYTES; i++) {
        ab_buffer_put_u8(&noise, (uint8_t)ab_random_below(&random, 256));
    }
    for (size_t i = 0; i < DEEP; i++) {
        ab_buffer_put(&deep, "[", 1);
    }
    for (size_t d = 0; d < sizeof daemons / sizeof daemons[0]; d++) {
        struct target target = {.daemon = daemons[d]};
        for (size_t r = 0; r < sizeof roles / sizeof roles[0]; r++) {
            ab_err err = daemon_try(
                argv[1], daemons[d], roles[r], ab_buffer_view(&noise), ab_buffer_view(&deep), &target, &error);
            if (err != AB_OK) {
                fprintf(stderr, "messages: %s\n", error.text);
                return EXIT_FAILURE;
            }
        }
        printf("%s: %u messages, %u refused, %u wrong\n", target.daemon, target.sent_count, target.refused_count,
            target.wrong_count);
        wrong_count += target.wrong_count;
    }
    ab_buffer_fini(&noise);
    ab_buffer_fini(&deep);
    return wrong_count == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
