/* A state on its way from a leader to a follower: parts that are lost, late, short, damaged or of another leader. */
#include "speed/install.h"
#include "speed/limits.h"
#include "tests/support/test.h"

#define LEADER 2u
#define FOLLOWER 3u
#define EPOCH 5u
#define REQUEST_FIRST 1000u
#define BYTES_TOTAL (3 * AB_INSTALL_PART_BYTES + 17)

/* Both sides, and the time. */
struct pair {
    struct ab_install install;
    struct ab_install_source source;
    int64_t now_us;
    uint64_t log_start; /* the leader's */
    uint8_t fill;       /* what it offers */
    ab_err offer_err;
    int offers_count;
};

static ab_err offer(void *context, struct ab_buffer *out, struct ab_error *error)
{
    struct pair *pair = context;
    pair->offers_count++;
    if (pair->offer_err != AB_OK) {
        return ab_error_set(error, pair->offer_err, "not now");
    }
    for (uint32_t i = 0; i < BYTES_TOTAL; i++) {
        ab_buffer_put_u8(out, (uint8_t)(pair->fill + i / 1000));
    }
    return AB_OK;
}

static int setup(void **state)
{
    struct pair *pair = ab_new(struct pair);
    pair->now_us = 1;
    pair->log_start = 9;
    ab_install_begin(&pair->install, LEADER, EPOCH, REQUEST_FIRST);
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    ab_install_end(&pair->install);
    ab_install_source_fini(&pair->source);
    ab_delete(pair);
    return 0;
}

/* What the follower asks now; it must ask something, be it after a while. */
static struct ab_replica_message question(struct pair *pair)
{
    struct ab_replica_message ask;
    for (int i = 0; !ab_install_ask(&pair->install, pair->now_us, &ask); i++) {
        assert_true(i < 100);
        pair->now_us += 100 * AB_US_PER_MS;
    }
    assert_int_equal(ask.kind, AB_REPLICA_INSTALL_ASK);
    assert_int_equal(ask.to, pair->install.leader);
    assert_int_equal(ask.leader_epoch, pair->install.epoch);
    ask.from = FOLLOWER;
    return ask;
}

static struct ab_replica_message answer(struct pair *pair, const struct ab_replica_message *ask)
{
    struct ab_error error = {0};
    struct ab_replica_message part = {.kind = AB_REPLICA_INSTALL_PART,
        .from = ask->to,
        .to = ask->from,
        .leader_epoch = ask->leader_epoch,
        .request = ask->request,
        .log_start = pair->log_start};
    assert_ok(ab_install_source_answer(&pair->source, ask, pair->now_us, offer, pair, &part, &error));
    return part;
}

/* One question and its answer. */
static void exchange(struct pair *pair)
{
    struct ab_replica_message ask = question(pair);
    struct ab_replica_message part = answer(pair, &ask);
    ab_install_on_part(&pair->install, &part, pair->now_us);
}

static void expect_whole(struct pair *pair)
{
    for (int i = 0; !pair->install.is_whole; i++) {
        assert_true(i < 20);
        exchange(pair);
    }
    assert_int_equal(pair->install.bytes.bytes, BYTES_TOTAL);
    for (uint32_t i = 0; i < BYTES_TOTAL; i++) {
        assert_int_equal(pair->install.bytes.data[i], (uint8_t)(pair->fill + i / 1000));
    }
    struct ab_replica_message ask;
    assert_false(ab_install_ask(&pair->install, INT64_MAX, &ask)); /* nothing more */
}

static void test_install_brings_the_whole_part_by_part(void **state)
{
    struct pair *pair = *state;
    int64_t begun_us = pair->now_us;
    expect_whole(pair);
    assert_int_equal(pair->offers_count, 1);
    assert_int_equal(pair->install.restarts_count, 0);
    assert_true(pair->now_us == begun_us); /* one after the other, without waiting */
}

static void test_install_asks_one_question_at_a_time_and_again_when_it_is_lost(void **state)
{
    struct pair *pair = *state;
    exchange(pair);
    struct ab_replica_message first = question(pair);
    struct ab_replica_message ask;
    assert_false(ab_install_ask(&pair->install, pair->now_us, &ask));
    struct ab_replica_message late = answer(pair, &first);
    struct ab_replica_message second = question(pair);
    assert_true(second.request != first.request && second.offset == first.offset);
    ab_install_on_part(&pair->install, &late, pair->now_us); /* of the question before: passed over */
    assert_int_equal(pair->install.bytes.bytes, first.offset);
    struct ab_replica_message part = answer(pair, &second);
    ab_install_on_part(&pair->install, &part, pair->now_us);
    ab_install_on_part(&pair->install, &part, pair->now_us); /* twice */
    assert_int_equal(pair->install.bytes.bytes, 2 * AB_INSTALL_PART_BYTES);
    expect_whole(pair);
    assert_int_equal(pair->install.restarts_count, 0);
}

static void test_install_passes_over_answers_of_others(void **state)
{
    struct pair *pair = *state;
    struct ab_replica_message ask = question(pair);
    const struct ab_replica_message right = answer(pair, &ask);
    for (int i = 0; i < 4; i++) {
        struct ab_replica_message wrong = right;
        wrong.from += i == 0;
        wrong.leader_epoch += i == 1;
        wrong.request += i == 2;
        wrong.kind = i == 3 ? AB_REPLICA_FETCHED : wrong.kind;
        ab_install_on_part(&pair->install, &wrong, pair->now_us);
        assert_int_equal(pair->install.bytes.bytes, 0);
    }
    ab_install_on_part(&pair->install, &right, pair->now_us);
    assert_int_equal(pair->install.bytes.bytes, AB_INSTALL_PART_BYTES);
}

/* The second part, changed: nothing of it is taken, and all begins anew. */
static void expect_restart(struct pair *pair, void (*change)(struct ab_replica_message *part))
{
    uint64_t restarts = pair->install.restarts_count;
    ab_install_begin(&pair->install, LEADER, EPOCH, REQUEST_FIRST);
    exchange(pair);
    struct ab_replica_message ask = question(pair);
    struct ab_replica_message part = answer(pair, &ask);
    change(&part);
    ab_install_on_part(&pair->install, &part, pair->now_us);
    assert_int_equal(pair->install.restarts_count, restarts + 1);
    assert_int_equal(pair->install.bytes.bytes, 0);
    assert_false(ab_install_ask(&pair->install, pair->now_us, &ask)); /* not in a loop */
    expect_whole(pair);
}

static void other_offset(struct ab_replica_message *part)
{
    part->offset++;
}
static void other_total(struct ab_replica_message *part)
{
    part->bytes_total--;
}
static void other_hash(struct ab_replica_message *part)
{
    part->chain.low++;
}
static void no_bytes(struct ab_replica_message *part)
{
    part->records.bytes = 0;
}
static void past_the_end(struct ab_replica_message *part)
{
    part->records.bytes = BYTES_TOTAL;
}
static void gone(struct ab_replica_message *part)
{
    part->status = AB_REPLICA_OUT_OF_RANGE;
}

static void test_install_begins_anew_after_a_part_that_does_not_fit(void **state)
{
    static void (*const changes[])(struct ab_replica_message *) = {
        other_offset, other_total, other_hash, no_bytes, past_the_end, gone};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        expect_restart(*state, changes[i]);
    }
}

static void test_install_refuses_more_than_may_be_held(void **state)
{
    struct pair *pair = *state;
    struct ab_replica_message ask = question(pair);
    struct ab_replica_message part = answer(pair, &ask);
    part.bytes_total = AB_INSTALL_BYTES_MAX + UINT64_C(1);
    ab_install_on_part(&pair->install, &part, pair->now_us);
    assert_int_equal(pair->install.restarts_count, 1);
}

static void test_install_begins_anew_when_the_whole_does_not_match_its_hash(void **state)
{
    struct pair *pair = *state;
    uint8_t *damaged = ab_new_bytes(AB_INSTALL_PART_BYTES);
    exchange(pair);
    struct ab_replica_message ask = question(pair);
    struct ab_replica_message part = answer(pair, &ask);
    memcpy(damaged, part.records.data, part.records.bytes);
    damaged[part.records.bytes / 2] ^= 4;
    part.records.data = damaged;
    ab_install_on_part(&pair->install, &part, pair->now_us);
    exchange(pair);
    exchange(pair);
    assert_false(pair->install.is_whole);
    assert_int_equal(pair->install.restarts_count, 1);
    expect_whole(pair);
    ab_delete(damaged);
}

static void test_install_asks_again_whoever_does_not_lead_yet(void **state)
{
    struct pair *pair = *state;
    exchange(pair);
    struct ab_replica_message ask = question(pair);
    struct ab_replica_message part = {.kind = AB_REPLICA_INSTALL_PART,
        .status = AB_REPLICA_NOT_LEADER,
        .from = ask.to,
        .leader_epoch = ask.leader_epoch,
        .request = ask.request};
    ab_install_on_part(&pair->install, &part, pair->now_us);
    assert_int_equal(pair->install.bytes.bytes, AB_INSTALL_PART_BYTES); /* kept */
    expect_whole(pair);
    assert_int_equal(pair->install.restarts_count, 0);
}

static void test_install_of_another_leader_begins_anew(void **state)
{
    struct pair *pair = *state;
    exchange(pair);
    exchange(pair);
    struct ab_replica_message ask = question(pair);
    struct ab_replica_message late = answer(pair, &ask);
    ab_install_begin(&pair->install, LEADER + 5, EPOCH + 1, REQUEST_FIRST + 77);
    ab_install_on_part(&pair->install, &late, pair->now_us);
    assert_int_equal(pair->install.bytes.bytes, 0);
    pair->fill = 99; /* and it offers something else */
    ab_install_source_fini(&pair->source);
    expect_whole(pair);
}

/* The leader's log was trimmed meanwhile, and its offer is a newer one: parts of two are never put together. */
static void test_install_of_an_offer_that_changed_begins_anew(void **state)
{
    struct pair *pair = *state;
    exchange(pair);
    exchange(pair);
    ab_install_source_fini(&pair->source);
    pair->fill = 50;
    pair->log_start++;
    struct ab_replica_message other = {
        .kind = AB_REPLICA_INSTALL_ASK, .from = FOLLOWER + 1, .to = LEADER, .bytes_max = 1};
    struct ab_replica_message part = answer(pair, &other); /* another follower made it offer the new one */
    assert_int_equal(part.status, AB_REPLICA_OK);
    assert_int_equal(part.records.bytes, 1);
    expect_whole(pair);
    assert_int_equal(pair->install.restarts_count, 1);
}

static void test_install_source_makes_a_new_offer_when_the_old_one_is_of_no_use(void **state)
{
    struct pair *pair = *state;
    struct ab_replica_message first = question(pair);
    (void)answer(pair, &first);
    (void)answer(pair, &first);
    assert_int_equal(pair->offers_count, 1); /* for all who ask */
    pair->log_start++;
    (void)answer(pair, &first);
    assert_int_equal(pair->offers_count, 2);
    pair->now_us += 61 * AB_US_PER_SECOND;
    (void)answer(pair, &first);
    assert_int_equal(pair->offers_count, 3);
    ab_install_source_tick(&pair->source, pair->now_us + AB_US_PER_SECOND);
    assert_true(pair->source.bytes.bytes > 0);
    ab_install_source_tick(&pair->source, pair->now_us + 11 * AB_US_PER_SECOND);
    assert_int_equal(pair->source.bytes.bytes, 0);
}

static void test_install_source_refuses_what_it_does_not_offer(void **state)
{
    struct pair *pair = *state;
    struct ab_replica_message ask = question(pair);
    (void)answer(pair, &ask);
    struct ab_replica_message wrong = ask;
    wrong.offset = 1; /* not the beginning, and of nothing */
    assert_int_equal(answer(pair, &wrong).status, AB_REPLICA_OUT_OF_RANGE);
    wrong = ask;
    wrong.chain = (struct ab_hash128){.low = 1};
    assert_int_equal(answer(pair, &wrong).status, AB_REPLICA_OUT_OF_RANGE);
    wrong.chain = pair->source.hash;
    wrong.offset = BYTES_TOTAL;
    assert_int_equal(answer(pair, &wrong).status, AB_REPLICA_OUT_OF_RANGE);
    wrong.offset = UINT64_MAX;
    assert_int_equal(answer(pair, &wrong).status, AB_REPLICA_OUT_OF_RANGE);
    wrong.offset = 0;
    wrong.bytes_max = 0;
    assert_int_equal(answer(pair, &wrong).status, AB_REPLICA_OUT_OF_RANGE);
    wrong.offset = BYTES_TOTAL - 3;
    wrong.bytes_max = UINT32_MAX;
    assert_int_equal(answer(pair, &wrong).records.bytes, 3);
}

static void test_install_without_memory_is_tried_again(void **state)
{
    struct pair *pair = *state;
    struct ab_memory memory;
    struct ab_error error = {0};
    ab_memory_init(&memory, AB_INSTALL_PART_BYTES, NULL);
    pair->install.memory = &memory;
    ab_install_begin(&pair->install, LEADER, EPOCH, REQUEST_FIRST);
    exchange(pair);
    exchange(pair);
    assert_true(pair->install.restarts_count > 0);
    ab_install_end(&pair->install);
    pair->source.memory = &memory;
    ab_install_begin(&pair->install, LEADER, EPOCH, REQUEST_FIRST);
    struct ab_replica_message ask = question(pair);
    struct ab_replica_message part = {.log_start = pair->log_start};
    ab_install_source_fini(&pair->source);
    assert_int_equal(ab_install_source_answer(&pair->source, &ask, pair->now_us, offer, pair, &part, &error), AB_FULL);
    pair->source.memory = NULL;
    pair->offer_err = AB_AGAIN;
    assert_int_equal(ab_install_source_answer(&pair->source, &ask, pair->now_us, offer, pair, &part, &error), AB_AGAIN);
    pair->offer_err = AB_OK;
    pair->install.memory = NULL;
    ab_install_begin(&pair->install, LEADER, EPOCH, REQUEST_FIRST);
    expect_whole(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_install_brings_the_whole_part_by_part, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_install_asks_one_question_at_a_time_and_again_when_it_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_install_passes_over_answers_of_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_install_begins_anew_after_a_part_that_does_not_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_install_refuses_more_than_may_be_held, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_install_begins_anew_when_the_whole_does_not_match_its_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_install_asks_again_whoever_does_not_lead_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_install_of_another_leader_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_install_of_an_offer_that_changed_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_install_source_makes_a_new_offer_when_the_old_one_is_of_no_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_install_source_refuses_what_it_does_not_offer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_install_without_memory_is_tried_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
