#include "common/client/client_private.h"

#include "common/base/time.h"

#define MOVED_EVERY_MS 250 /* how often a waiting question looks whether serving has moved */
#define REPEAT_AFTER_MS 100
#define REFRESH_MS 2000
/* Two nodes that both say nothing may both be gone: so long, doubled each time, before it is looked who serves now. */
#define TRY_FIRST_US (2 * AB_US_PER_SECOND)
#define TRY_DELAYS 8
#define NEWS_EVERY_US AB_US_PER_SECOND

/* A question at up to two serving nodes. */
struct asked {
    struct anabranch_client *client;
    struct ab_bytes payload;
    int64_t begun_us;
    int64_t until_us; /* the deadline, which those who are asked are told */
    size_t servings[2];
    struct ab_channel *channels[2]; /* borrowed; NULL = not asked, or not waited for any more */
    uint64_t request_ids[2];
    struct client_hedge hedge;
    ab_err refusal; /* the last one; its text is the client's error */
};

/* True when asking again at a possibly new place can help. */
static bool is_worth_repeating(ab_err err)
{
    return err == AB_UNAVAILABLE || err == AB_AGAIN || err == AB_NETWORK;
}

static int left_ms(int64_t until_us)
{
    int64_t left = (until_us - ab_time_monotonic_us() + AB_US_PER_MS - 1) / AB_US_PER_MS;
    return left < 0 ? 0 : (int)left;
}

static const char *asked_address(const struct asked *asked, unsigned place)
{
    return asked->client->servings[asked->servings[place]].endpoint.address;
}

/* Sends the question to one place; what to do next. */
static struct client_hedge_step asked_send(struct asked *asked, unsigned place)
{
    struct anabranch_client *client = asked->client;
    struct ab_envelope envelope = {.verb = AB_VERB_QUERY, .deadline_ms = (uint32_t)left_ms(asked->until_us)};
    struct ab_channel *channel = NULL;
    ab_err err = client_serving_channel(client, asked->servings[place], &channel);
    if (err == AB_OK) {
        err = ab_channel_send(channel, &envelope, asked->payload);
        if (err != AB_OK) {
            (void)ab_error_set(&client->error, err, "QUERY to %s: %s", asked_address(asked, place), ab_err_text(err));
        }
    }
    if (err != AB_OK) {
        asked->refusal = err;
        return client_hedge_step(&asked->hedge, CLIENT_HEDGE_BAD, place, ab_time_monotonic_us());
    }
    asked->channels[place] = channel;
    asked->request_ids[place] = envelope.request_id;
    return client_hedge_step(&asked->hedge, CLIENT_HEDGE_TICK, place, ab_time_monotonic_us());
}

static struct client_hedge_step asked_refused(struct asked *asked, unsigned place, ab_err refusal)
{
    asked->refusal = refusal;
    asked->channels[place] = NULL;
    return client_hedge_step(&asked->hedge, CLIENT_HEDGE_BAD, place, ab_time_monotonic_us());
}

/* An answer to who serves is kept until the next query begins: who is being asked must not move meanwhile. */
static void news_keep(struct anabranch_client *client, struct ab_answer *answer)
{
    if (answer->envelope.request_id != client->news_id || answer->envelope.status != AB_OK) {
        ab_answer_free(answer);
        return;
    }
    ab_answer_free(&client->news);
    client->news = *answer;
    client->news_id = 0;
}

static void news_take_in(struct anabranch_client *client)
{
    bool is_new_cluster = false;
    if (client->news.storage != NULL) {
        ab_err_ignore(client_catalog_take_in(client, client->news.payload, &is_new_cluster)); /* else as it was known */
        ab_answer_free(&client->news);
        client->error = (struct ab_error){0};
    }
}

/* Somebody was slow, or is gone: who serves is asked by the way of who was not, without waiting for it. */
static void news_ask(struct anabranch_client *client, struct ab_channel *channel)
{
    struct ab_envelope envelope = {.verb = AB_VERB_CATALOG};
    int64_t now = ab_time_monotonic_us();
    if ((client->news_id != 0 && now - client->news_us < NEWS_EVERY_US) ||
        ab_channel_send(channel, &envelope, (struct ab_bytes){0}) != AB_OK) {
        return;
    }
    client->news_id = envelope.request_id;
    client->news_us = now;
}

/* Takes in an answer from a place; `answer` stays the caller's only when it is to be taken. */
static struct client_hedge_step asked_answered(struct asked *asked, unsigned place, struct ab_answer *answer)
{
    ab_err status = answer->envelope.status;
    if (answer->envelope.request_id != asked->request_ids[place]) {
        news_keep(asked->client, answer); /* or to a question given up before */
        return client_hedge_step(&asked->hedge, CLIENT_HEDGE_TICK, place, ab_time_monotonic_us());
    }
    if (status != AB_OK) {
        const char *text = answer->envelope.error[0] == 0 ? ab_err_text(status) : answer->envelope.error;
        (void)ab_error_set(&asked->client->error, status, "%s", text);
    }
    if (is_worth_repeating(status) || status == AB_FULL) { /* another node may have room, or see better */
        ab_answer_free(answer);
        return asked_refused(asked, place, status);
    }
    asked->refusal = status;
    return client_hedge_step(&asked->hedge, CLIENT_HEDGE_GOOD, place, ab_time_monotonic_us());
}

/* Waits for an answer until wait_us at most. */
static struct client_hedge_step asked_wait(
    struct asked *asked, int64_t wait_us, unsigned *place, struct ab_answer *answer)
{
    struct ab_channel *channels[2];
    unsigned places[2];
    size_t count = 0;
    size_t which = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (asked->channels[i] != NULL) {
            places[count] = i;
            channels[count++] = asked->channels[i];
        }
    }
    int wait_ms = left_ms(wait_us);
    ab_err err =
        ab_channel_receive_any(channels, count, wait_ms < MOVED_EVERY_MS ? wait_ms : MOVED_EVERY_MS, &which, answer);
    *place = places[which];
    if (err == AB_OK) {
        return asked_answered(asked, *place, answer);
    }
    struct ab_error *error = &asked->client->error;
    if (err != AB_TIMEOUT) {
        (void)ab_error_set(error, err, "QUERY to %s: %s", asked_address(asked, *place), ab_err_text(err));
        return asked_refused(asked, *place, err);
    }
    if (asked->channels[0] != NULL && asked->servings[0] == 0 && client_serving_has_moved(asked->client)) {
        (void)ab_error_set(error, AB_AGAIN, "serving has moved from %s", asked_address(asked, 0));
        return asked_refused(asked, 0, AB_AGAIN);
    }
    return client_hedge_step(&asked->hedge, CLIENT_HEDGE_TICK, 0, ab_time_monotonic_us());
}

/* An answer was taken: how long it took, and who is asked first from now on. */
static void asked_learn(const struct asked *asked, unsigned place)
{
    struct anabranch_client *client = asked->client;
    client_latencies_learn(&client->latencies, ab_time_monotonic_us() - asked->begun_us);
    client->serving_current = asked->servings[place];
    if (place == 1) {
        news_ask(client, asked->channels[1]);
    }
}

/* How long two nodes are waited for; one alone until the deadline. */
static int64_t try_until(const struct anabranch_client *client, uint32_t tries, int64_t until_us)
{
    int64_t delays_us = TRY_DELAYS * client_latencies_delay_us(&client->latencies);
    int64_t try_us = (delays_us > TRY_FIRST_US ? delays_us : TRY_FIRST_US) << (tries < 16 ? tries : 16);
    int64_t left_us = until_us - ab_time_monotonic_us();
    return client_serving_other(client) == client->serving_current || try_us >= left_us ? until_us
                                                                                        : until_us - left_us + try_us;
}

/* Asks one node, or two. AB_OK: an answer, whose status is *status. AB_TIMEOUT: none in time, or for so long that it is
 * better looked who serves now. */
static ab_err query_once(struct anabranch_client *client, struct ab_bytes payload, uint32_t tries, int64_t until_us,
    struct ab_answer *answer, ab_err *status)
{
    struct asked asked = {.client = client,
        .payload = payload,
        .begun_us = ab_time_monotonic_us(),
        .until_us = until_us,
        .servings = {client->serving_current, client_serving_other(client)}};
    client_hedge_init(&asked.hedge, asked.begun_us, client_latencies_delay_us(&client->latencies),
        try_until(client, tries, until_us), asked.servings[0] != asked.servings[1]);
    unsigned place = 0;
    struct client_hedge_step step = asked_send(&asked, 0);
    for (;;) {
        switch (step.act) {
        case CLIENT_HEDGE_WAIT:
            step = asked_wait(&asked, step.wait_us, &place, answer);
            break;
        case CLIENT_HEDGE_ASK:
            step = asked_send(&asked, 1);
            break;
        case CLIENT_HEDGE_TAKE:
            asked_learn(&asked, place);
            *status = asked.refusal;
            return AB_OK;
        case CLIENT_HEDGE_LOST:
            return asked.refusal;
        case CLIENT_HEDGE_LATE:
            return ab_error_set(&client->error, AB_TIMEOUT, "QUERY to %s: no answer within %d ms",
                asked_address(&asked, 0), client->timeout_ms);
        }
    }
}

/* True when there is reason and time to ask again. A refusal is worth it where that can help; silence while there is
 * time. */
static bool may_ask_again(ab_err err, bool is_silence, int64_t until_us)
{
    return (is_silence || is_worth_repeating(err)) && left_ms(until_us) > REPEAT_AFTER_MS;
}

ab_err client_query_call(
    struct anabranch_client *client, struct ab_bytes payload, int64_t until_us, struct ab_answer *answer)
{
    struct ab_error said = {0}; /* by the last refusal, should time be over before there is another answer */
    ab_err refusal = AB_OK;
    news_take_in(client);
    for (uint32_t tries = 0;; tries++) {
        ab_err status = AB_OK;
        ab_err err = query_once(client, payload, tries, until_us, answer, &status);
        bool is_silence = err == AB_TIMEOUT;
        if (err == AB_OK && status == AB_OK) {
            return AB_OK;
        }
        if (err == AB_OK) {
            ab_answer_free(answer);
            err = status;
        }
        if (!is_silence) {
            said = client->error;
            refusal = err;
        }
        if (!may_ask_again(err, is_silence, until_us)) {
            client->error = is_silence && refusal != AB_OK ? said : client->error;
            return is_silence && refusal != AB_OK ? refusal : err;
        }
        struct ab_error before = client->error;
        ab_time_sleep_us(is_silence ? 0 : REPEAT_AFTER_MS * AB_US_PER_MS);
        int left = left_ms(until_us);
        ab_err_ignore(client_refresh(client, left < REFRESH_MS ? left : REFRESH_MS)); /* else as it was known */
        client->error = before;
    }
}
