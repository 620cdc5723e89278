/* What replicas say to each other: round trips, each rule broken, every truncation and bit flip. */
#include "common/wire/replica_message.h"
#include "tests/support/test.h"

static struct ab_replica_message full_message(void)
{
    return (struct ab_replica_message){.kind = AB_REPLICA_FETCHED,
        .partition = 31,
        .from = 2,
        .to = UINT32_MAX,
        .from_incarnation = {.low = 1, .high = UINT64_MAX},
        .from_disk_id = {.low = UINT64_C(1) << 63, .high = 3},
        .leader_epoch = UINT64_MAX,
        .request = UINT64_MAX - 1,
        .epoch = UINT64_MAX - 2,
        .offset = UINT64_MAX - 3,
        .durable = UINT64_MAX - 4,
        .high_watermark = UINT64_MAX - 5,
        .log_start = UINT64_MAX - 6,
        .bytes_max = UINT32_MAX,
        .bytes_total = UINT64_MAX - 7,
        .chain = {.low = 5, .high = 6},
        .records = bytes_of("two records")};
}

static void expect_same(const struct ab_replica_message *a, const struct ab_replica_message *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->partition, b->partition);
    assert_true(a->from == b->from && a->to == b->to && a->bytes_max == b->bytes_max);
    assert_true(ab_hash128_equal(a->from_incarnation, b->from_incarnation));
    assert_true(ab_hash128_equal(a->from_disk_id, b->from_disk_id));
    assert_true(ab_hash128_equal(a->chain, b->chain));
    assert_true(a->leader_epoch == b->leader_epoch && a->request == b->request && a->epoch == b->epoch);
    assert_true(a->offset == b->offset && a->durable == b->durable && a->high_watermark == b->high_watermark);
    assert_true(a->log_start == b->log_start && a->bytes_total == b->bytes_total);
    assert_true(ab_bytes_equal(a->records, b->records));
}

static void test_replica_message_decode_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct ab_replica_message cases[] = {full_message(), {.kind = AB_REPLICA_EPOCH_ASK, .from = 1, .to = 2},
        {.kind = AB_REPLICA_EPOCH_ANSWER, .status = AB_REPLICA_FENCED, .from = 1, .to = 2, .leader_epoch = 9},
        {.kind = AB_REPLICA_FETCH, .from = 2, .to = 1, .offset = 7, .chain = {.low = 1}},
        {.kind = AB_REPLICA_FETCHED, .from = 1, .to = 2},
        {.kind = AB_REPLICA_FETCHED, .status = AB_REPLICA_NOT_LISTED, .from = 1, .to = 2},
        {.kind = AB_REPLICA_REPORT, .from = 1, .to = 2, .durable = 1},
        {.kind = AB_REPLICA_INSTALL_ASK, .from = 2, .to = 1, .offset = 1u << 20, .bytes_max = 9, .chain = {.low = 1}},
        {.kind = AB_REPLICA_INSTALL_PART, .from = 1, .to = 2, .bytes_total = 3, .records = bytes_of("abc")},
        {.kind = AB_REPLICA_INSTALL_PART, .status = AB_REPLICA_OUT_OF_RANGE, .from = 1, .to = 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ab_buffer bytes = {0};
        struct ab_replica_message decoded;
        ab_replica_message_encode(&cases[i], &bytes);
        assert_true(bytes.bytes - cases[i].records.bytes <= AB_REPLICA_MESSAGE_HEAD_BYTES_MAX / 3);
        assert_ok(ab_replica_message_decode(ab_buffer_view(&bytes), &decoded));
        expect_same(&decoded, &cases[i]);
        ab_buffer_fini(&bytes);
    }
}

static void test_replica_message_records_are_borrowed_and_may_be_appended_later(void **state)
{
    (void)state;
    enum { RECORDS_BYTES = 5 << 20 };
    struct ab_replica_message message = full_message();
    struct ab_replica_message decoded;
    struct ab_buffer bytes = {0};
    message.records = bytes_of("");
    ab_replica_message_encode(&message, &bytes);
    size_t at = bytes.bytes;
    memset(ab_buffer_extend(&bytes, RECORDS_BYTES), 7, RECORDS_BYTES);
    assert_ok(ab_replica_message_decode(ab_buffer_view(&bytes), &decoded));
    assert_ptr_equal(decoded.records.data, bytes.data + at);
    assert_int_equal(decoded.records.bytes, RECORDS_BYTES);
    ab_buffer_fini(&bytes);
}

static void test_replica_message_encode_into_a_full_buffer_fails(void **state)
{
    (void)state;
    struct ab_replica_message message = full_message();
    for (size_t bytes_max = 1; bytes_max < 100; bytes_max += 7) {
        struct ab_buffer bytes;
        ab_buffer_init(&bytes, NULL, bytes_max);
        ab_replica_message_encode(&message, &bytes);
        assert_int_equal(ab_buffer_finish(&bytes), AB_FULL);
        ab_buffer_fini(&bytes);
    }
}

/* ---- what is refused ---- */

static ab_err decode_changed(void (*change)(struct ab_replica_message *message))
{
    struct ab_replica_message message = full_message();
    struct ab_replica_message decoded = {.request = 9};
    struct ab_buffer bytes = {0};
    change(&message);
    ab_replica_message_encode(&message, &bytes);
    ab_err err = ab_replica_message_decode(ab_buffer_view(&bytes), &decoded);
    assert_true(err == AB_OK || decoded.request == 9); /* untouched */
    ab_buffer_fini(&bytes);
    return err;
}

static void nothing(struct ab_replica_message *message)
{
    (void)message;
}
static void no_kind(struct ab_replica_message *message)
{
    *message = (struct ab_replica_message){.from = 1, .to = 2};
}
static void unknown_kind(struct ab_replica_message *message)
{
    message->kind = (enum ab_replica_message_kind)8;
}
static void negative_kind(struct ab_replica_message *message)
{
    message->kind = (enum ab_replica_message_kind) - 1;
}
static void unknown_status(struct ab_replica_message *message)
{
    message->records.bytes = 0;
    message->status = (enum ab_replica_status)6;
}
static void negative_status(struct ab_replica_message *message)
{
    message->records.bytes = 0;
    message->status = (enum ab_replica_status) - 1;
}
static void status_of_a_request(struct ab_replica_message *message)
{
    message->records.bytes = 0;
    message->kind = AB_REPLICA_FETCH;
    message->status = AB_REPLICA_FENCED;
}
static void records_of_a_refusal(struct ab_replica_message *message)
{
    message->status = AB_REPLICA_OUT_OF_RANGE;
}
static void records_of_a_request(struct ab_replica_message *message)
{
    message->kind = AB_REPLICA_FETCH;
}
static void records_of_a_report(struct ab_replica_message *message)
{
    message->kind = AB_REPLICA_REPORT;
    message->records = bytes_of("x");
}
static void records_of_a_question(struct ab_replica_message *message)
{
    message->kind = AB_REPLICA_INSTALL_ASK;
}
static void status_of_a_question(struct ab_replica_message *message)
{
    message->records.bytes = 0;
    message->kind = AB_REPLICA_INSTALL_ASK;
    message->status = AB_REPLICA_NOT_LISTED;
}
static void part_of_a_refusal(struct ab_replica_message *message)
{
    message->kind = AB_REPLICA_INSTALL_PART;
    message->status = AB_REPLICA_OUT_OF_RANGE;
}
static void records_of_an_epoch(struct ab_replica_message *message)
{
    message->kind = AB_REPLICA_EPOCH_ANSWER;
}
static void from_nobody(struct ab_replica_message *message)
{
    message->from = 0;
}
static void to_nobody(struct ab_replica_message *message)
{
    message->to = 0;
}
static void to_itself(struct ab_replica_message *message)
{
    message->to = message->from;
}

static void test_replica_message_decode_refuses_each_broken_rule(void **state)
{
    (void)state;
    static void (*const changes[])(struct ab_replica_message *) = {no_kind, unknown_kind, negative_kind, unknown_status,
        negative_status, status_of_a_request, records_of_a_refusal, records_of_a_request, records_of_a_report,
        records_of_an_epoch, records_of_a_question, status_of_a_question, part_of_a_refusal, from_nobody, to_nobody,
        to_itself};
    assert_ok(decode_changed(nothing));
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        if (decode_changed(changes[i]) != AB_INVALID) {
            fail_msg("rule %zu is not kept", i);
        }
    }
}

/* A message whose protobuf part ends in one more field, given as bytes and repeated. */
static ab_err decode_with(const void *field, size_t field_bytes, size_t times)
{
    struct ab_replica_message message = full_message();
    struct ab_replica_message decoded;
    struct ab_buffer whole = {0};
    struct ab_buffer bytes = {0};
    message.records = bytes_of("");
    ab_replica_message_encode(&message, &whole);
    ab_buffer_put_u32(&bytes, (uint32_t)(whole.bytes - 4 + times * field_bytes));
    ab_buffer_put(&bytes, whole.data + 4, whole.bytes - 4);
    for (size_t i = 0; i < times; i++) {
        ab_buffer_put(&bytes, field, field_bytes);
    }
    ab_err err = ab_replica_message_decode(ab_buffer_view(&bytes), &decoded);
    ab_buffer_fini(&whole);
    ab_buffer_fini(&bytes);
    return err;
}

static void test_replica_message_decode_refuses_wrong_and_too_many_fields(void **state)
{
    (void)state;
    static const char short_hash[] = "\x32\x0f"
                                     "123456789012345"; /* 15 bytes */
    static const char long_hash[] = "\x82\x01\x11"
                                    "12345678901234567";
    assert_int_equal(decode_with(short_hash, sizeof short_hash - 1, 1), AB_INVALID);
    assert_int_equal(decode_with(long_hash, sizeof long_hash - 1, 1), AB_INVALID);
    assert_ok(decode_with("\x80\x08\x05", 3, 2));                       /* unknown fields: of a later version */
    assert_int_equal(decode_with("\x80\x08\x05", 3, 100), AB_INVALID);  /* more than the room */
    assert_int_equal(decode_with("\x80\x08\x05", 3, 1000), AB_INVALID); /* more than a head may have */
}

static void test_replica_message_decode_every_truncation_and_bit_flip_is_survived(void **state)
{
    (void)state;
    struct ab_replica_message message = full_message();
    struct ab_replica_message decoded;
    struct ab_buffer bytes = {0};
    ab_replica_message_encode(&message, &bytes);
    size_t head_bytes = bytes.bytes - message.records.bytes;
    for (size_t length = 0; length <= bytes.bytes; length++) {
        uint8_t *exact = ab_new_bytes(length);
        if (length > 0) {
            memcpy(exact, bytes.data, length);
        }
        ab_err err = ab_replica_message_decode(ab_bytes_of(exact, length), &decoded);
        /* A cut through the records is not seen here: each record has its own length and checksum. */
        assert_int_equal(err, length < head_bytes ? AB_INVALID : AB_OK);
        ab_delete(exact);
    }
    for (size_t bit = 0; bit < head_bytes * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        ab_err either = ab_replica_message_decode(ab_buffer_view(&bytes), &decoded);
        assert_true(either == AB_OK || either == AB_INVALID);
        bytes.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(ab_replica_message_decode(ab_bytes_of(NULL, 0), &decoded), AB_INVALID);
    assert_int_equal(ab_replica_message_decode(ab_bytes_of("\0\0\0\0", 4), &decoded), AB_INVALID);
    assert_int_equal(ab_replica_message_decode(ab_bytes_of("\xff\xff\xff\xff", 4), &decoded), AB_INVALID);
    ab_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replica_message_decode_gives_back_what_was_encoded),
        cmocka_unit_test(test_replica_message_records_are_borrowed_and_may_be_appended_later),
        cmocka_unit_test(test_replica_message_encode_into_a_full_buffer_fails),
        cmocka_unit_test(test_replica_message_decode_refuses_each_broken_rule),
        cmocka_unit_test(test_replica_message_decode_refuses_wrong_and_too_many_fields),
        cmocka_unit_test(test_replica_message_decode_every_truncation_and_bit_flip_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
