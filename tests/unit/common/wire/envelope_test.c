/* The envelope: round trip, and nothing malformed gets through or crashes. */
#include "common/base/random.h"
#include "common/wire/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct ab_envelope full_envelope(void)
{
    struct ab_envelope envelope = {.protocol = AB_PROTOCOL_VERSION,
        .cluster_id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
        .request_id = UINT64_C(0xfedcba9876543210),
        .deadline_ms = 1500,
        .verb = AB_VERB_PRODUCE,
        .node = "node-1",
        .incarnation = 77,
        .partition = 12,
        .leader_epoch = 3,
        .previous_offset = 1u << 20,
        .previous_chain = {.low = 5, .high = 6},
        .status = AB_TOO_LARGE};
    snprintf(envelope.error, sizeof envelope.error, "größer als erlaubt");
    return envelope;
}

static void expect_same(const struct ab_envelope *a, const struct ab_envelope *b)
{
    assert_int_equal(a->protocol, b->protocol);
    assert_memory_equal(a->cluster_id, b->cluster_id, 16);
    assert_true(a->request_id == b->request_id);
    assert_int_equal(a->deadline_ms, b->deadline_ms);
    assert_int_equal(a->verb, b->verb);
    assert_string_equal(a->node, b->node);
    assert_true(a->incarnation == b->incarnation);
    assert_int_equal(a->partition, b->partition);
    assert_true(a->leader_epoch == b->leader_epoch && a->previous_offset == b->previous_offset);
    assert_true(ab_hash128_equal(a->previous_chain, b->previous_chain));
    assert_int_equal(a->status, b->status);
    assert_string_equal(a->error, b->error);
}

static void test_envelope_decode_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct ab_envelope cases[] = {full_envelope(), {.protocol = AB_PROTOCOL_VERSION, .verb = AB_VERB_LOG_STATE}};
    for (size_t i = 0; i < 2; i++) {
        struct ab_buffer bytes = {0};
        struct ab_envelope decoded;
        ab_envelope_encode(&cases[i], &bytes);
        assert_int_equal(ab_envelope_decode(ab_buffer_view(&bytes), &decoded), AB_OK);
        expect_same(&decoded, &cases[i]);
        ab_buffer_fini(&bytes);
    }
}

static void test_envelope_longest_error_text_fits(void **state)
{
    (void)state;
    struct ab_envelope envelope = full_envelope();
    struct ab_buffer bytes = {0};
    struct ab_envelope decoded;
    memset(envelope.error, 'x', sizeof envelope.error - 1);
    memset(envelope.node, 'n', sizeof envelope.node - 1);
    ab_envelope_encode(&envelope, &bytes);
    assert_int_equal(ab_envelope_decode(ab_buffer_view(&bytes), &decoded), AB_OK);
    expect_same(&decoded, &envelope);
    ab_buffer_fini(&bytes);
}

static ab_err decode_changed(void (*change)(struct ab_envelope *envelope))
{
    struct ab_envelope envelope = full_envelope();
    struct ab_envelope decoded = {.request_id = 9};
    struct ab_buffer bytes = {0};
    change(&envelope);
    ab_envelope_encode(&envelope, &bytes);
    ab_err err = ab_envelope_decode(ab_buffer_view(&bytes), &decoded);
    assert_true(err == AB_OK || decoded.request_id == 9); /* untouched */
    ab_buffer_fini(&bytes);
    return err;
}

static void other_protocol(struct ab_envelope *envelope)
{
    envelope->protocol = AB_PROTOCOL_VERSION + 1;
}
static void no_verb(struct ab_envelope *envelope)
{
    envelope->verb = AB_VERB_NONE;
}
static void unknown_verb(struct ab_envelope *envelope)
{
    envelope->verb = AB_VERB_COUNT;
}
static void negative_verb(struct ab_envelope *envelope)
{
    envelope->verb = (enum ab_verb) - 1;
}
static void node_not_utf8(struct ab_envelope *envelope)
{
    envelope->node[0] = (char)0xff;
}
static void negative_status(struct ab_envelope *envelope)
{
    envelope->status = -1;
}

static void test_envelope_decode_refuses_each_broken_rule(void **state)
{
    (void)state;
    static void (*const changes[])(struct ab_envelope *) = {
        other_protocol, no_verb, unknown_verb, negative_verb, node_not_utf8, negative_status};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        assert_int_equal(decode_changed(changes[i]), AB_INVALID);
    }
}

static void expect_field_refused(const uint8_t *field, size_t field_bytes, size_t text_bytes)
{
    struct ab_envelope envelope = full_envelope();
    struct ab_envelope decoded;
    struct ab_buffer bytes = {0};
    ab_envelope_encode(&envelope, &bytes);
    ab_buffer_put(&bytes, field, field_bytes);
    ab_buffer_put_varint(&bytes, text_bytes);
    for (size_t i = 0; i < text_bytes; i++) {
        ab_buffer_put_u8(&bytes, 'x');
    }
    assert_int_equal(ab_envelope_decode(ab_buffer_view(&bytes), &decoded), AB_INVALID);
    ab_buffer_fini(&bytes);
}

static void test_envelope_decode_refuses_oversized_fields(void **state)
{
    (void)state;
    expect_field_refused((const uint8_t[]){6 << 3 | 2}, 1, 64);    /* node */
    expect_field_refused((const uint8_t[]){13 << 3 | 2}, 1, 1024); /* error */
    expect_field_refused((const uint8_t[]){13 << 3 | 2}, 1, 9000); /* more than the room */
    expect_field_refused((const uint8_t[]){2 << 3 | 2}, 1, 15);    /* cluster id */
    expect_field_refused((const uint8_t[]){11 << 3 | 2}, 1, 17);   /* previous chain */
    expect_field_refused((const uint8_t[]){0x82, 0x08}, 2, 9000);  /* an unknown field, kept by the codec */
}

static void test_envelope_decode_accepts_unknown_small_fields(void **state)
{
    (void)state;
    struct ab_envelope envelope = full_envelope();
    struct ab_envelope decoded;
    struct ab_buffer bytes = {0};
    ab_envelope_encode(&envelope, &bytes);
    ab_buffer_put(&bytes, (const uint8_t[]){0x80, 0x08, 0x05}, 3); /* field 128, varint 5 */
    assert_int_equal(ab_envelope_decode(ab_buffer_view(&bytes), &decoded), AB_OK);
    expect_same(&decoded, &envelope);
    ab_buffer_fini(&bytes);
}

static void test_envelope_decode_every_truncation_and_bit_flip_is_survived(void **state)
{
    (void)state;
    struct ab_envelope envelope = full_envelope();
    struct ab_envelope decoded;
    struct ab_buffer bytes = {0};
    size_t accepted = 0;
    ab_envelope_encode(&envelope, &bytes);
    for (size_t length = 0; length < bytes.bytes; length++) {
        uint8_t *exact = ab_new_bytes(length + 1);
        memcpy(exact, bytes.data, length);
        accepted += ab_envelope_decode(ab_bytes_of(exact, length), &decoded) == AB_OK;
        ab_delete(exact);
    }
    assert_true(accepted <= 13); /* those that end between two fields, after the verb */
    for (size_t bit = 0; bit < bytes.bytes * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        ab_err either = ab_envelope_decode(ab_buffer_view(&bytes), &decoded);
        assert_true(either == AB_OK || either == AB_INVALID);
        bytes.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(ab_envelope_decode(ab_bytes_of(NULL, 0), &decoded), AB_INVALID);
    ab_buffer_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelope_decode_gives_back_what_was_encoded),
        cmocka_unit_test(test_envelope_longest_error_text_fits),
        cmocka_unit_test(test_envelope_decode_refuses_each_broken_rule),
        cmocka_unit_test(test_envelope_decode_refuses_oversized_fields),
        cmocka_unit_test(test_envelope_decode_accepts_unknown_small_fields),
        cmocka_unit_test(test_envelope_decode_every_truncation_and_bit_flip_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
