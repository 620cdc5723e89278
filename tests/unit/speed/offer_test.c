/* The bytes of a state that is offered: back as they were, and nothing else is taken. */
#include "speed/offer.h"
#include "tests/support/test.h"

static struct ab_offer offer_full(void)
{
    struct ab_offer offer = {.partition = 7,
        .offset = UINT64_C(1) << 40,
        .epoch = 3,
        .chain = {.low = 5, .high = UINT64_MAX},
        .tables = ab_bytes_of_text("tables of any kind")};
    memset(offer.cluster_id, 9, sizeof offer.cluster_id);
    return offer;
}

static void test_offer_decode_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct ab_offer offer = offer_full();
    for (int i = 0; i < 2; i++) {
        struct ab_buffer bytes = {0};
        struct ab_offer decoded;
        ab_offer_encode(&offer, &bytes);
        assert_ok(ab_offer_decode(ab_buffer_view(&bytes), &decoded));
        assert_memory_equal(decoded.cluster_id, offer.cluster_id, sizeof offer.cluster_id);
        assert_int_equal(decoded.partition, offer.partition);
        assert_true(decoded.offset == offer.offset && decoded.epoch == offer.epoch);
        assert_true(ab_hash128_equal(decoded.chain, offer.chain));
        assert_true(ab_bytes_equal(decoded.tables, offer.tables));
        ab_buffer_fini(&bytes);
        offer.tables.bytes = 0;
    }
}

static void test_offer_decode_refuses_every_truncation_and_bit_flip(void **state)
{
    (void)state;
    struct ab_offer offer = offer_full();
    struct ab_offer decoded = {.partition = 1};
    struct ab_buffer bytes = {0};
    ab_offer_encode(&offer, &bytes);
    for (size_t length = 0; length < bytes.bytes; length++) {
        assert_int_equal(ab_offer_decode(ab_bytes_of(bytes.data, length), &decoded), AB_CORRUPT);
    }
    for (size_t bit = 0; bit < bytes.bytes * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(ab_offer_decode(ab_buffer_view(&bytes), &decoded), AB_CORRUPT);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(decoded.partition, 1); /* untouched */
    ab_buffer_put_u8(&bytes, 0);
    assert_int_equal(ab_offer_decode(ab_buffer_view(&bytes), &decoded), AB_CORRUPT);
    ab_buffer_fini(&bytes);
}

/* Changes bytes and puts the hash right again. */
static ab_err decode_with(size_t at, uint8_t value)
{
    struct ab_offer offer = offer_full();
    struct ab_offer decoded;
    struct ab_buffer bytes = {0};
    ab_offer_encode(&offer, &bytes);
    bytes.data[at] = value;
    bytes.bytes -= 8;
    ab_buffer_put_u64(&bytes, ab_hash64(AB_HASH_CONTENT, ab_buffer_view(&bytes)));
    ab_err err = ab_offer_decode(ab_buffer_view(&bytes), &decoded);
    ab_buffer_fini(&bytes);
    return err;
}

static void test_offer_decode_refuses_another_format(void **state)
{
    (void)state;
    assert_int_equal(decode_with(0, 'B'), AB_CORRUPT);
    assert_int_equal(decode_with(4, 2), AB_UNSUPPORTED);
    assert_int_equal(decode_with(4, 0), AB_CORRUPT);
    assert_int_equal(decode_with(6, 1), AB_CORRUPT);
    assert_int_equal(decode_with(12, 1), AB_CORRUPT);
    assert_ok(decode_with(8, 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offer_decode_gives_back_what_was_encoded),
        cmocka_unit_test(test_offer_decode_refuses_every_truncation_and_bit_flip),
        cmocka_unit_test(test_offer_decode_refuses_another_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
