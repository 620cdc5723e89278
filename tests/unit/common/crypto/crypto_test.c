#include "common/crypto/crypto.h"

#include "tests/support/test.h"

static int group_setup(void **state)
{
    (void)state;
    struct ab_error error = {0};
    return ab_crypto_init(&error) == AB_OK && ab_crypto_init(&error) == AB_OK ? 0 : 1;
}

static void test_crypto_pairs_belong_together_and_differ(void **state)
{
    (void)state;
    struct ab_crypto_keys a;
    struct ab_crypto_keys b;
    uint8_t computed[AB_CRYPTO_KEY_BYTES];
    ab_crypto_keys_generate(&a);
    ab_crypto_keys_generate(&b);
    assert_false(ab_crypto_equal(&a, &b, sizeof(a)));
    ab_crypto_public_of(a.secret_key, computed);
    assert_true(ab_crypto_equal(computed, a.public_key, sizeof(computed)));
}

/* RFC 7748 section 5.2: the first step of the iterated test, whose scalar and point are both 9. */
static void test_crypto_keys_are_curve25519(void **state)
{
    (void)state;
    const uint8_t secret[AB_CRYPTO_KEY_BYTES] = {9};
    uint8_t computed[AB_CRYPTO_KEY_BYTES];
    char text[2 * AB_CRYPTO_KEY_BYTES + 1];
    ab_crypto_public_of(secret, computed);
    ab_crypto_key_format(computed, text);
    assert_string_equal(text, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
}

static void test_crypto_keyed_hash_depends_on_key_and_message(void **state)
{
    (void)state;
    uint8_t key[AB_CRYPTO_KEY_BYTES] = {1};
    uint8_t other[AB_CRYPTO_KEY_BYTES] = {2};
    uint8_t a[AB_CRYPTO_HASH_BYTES];
    uint8_t b[AB_CRYPTO_HASH_BYTES];
    ab_crypto_keyed_hash(key, bytes_of("message"), a);
    ab_crypto_keyed_hash(key, bytes_of("message"), b);
    assert_true(ab_crypto_equal(a, b, sizeof(a)));
    ab_crypto_keyed_hash(key, bytes_of("messagf"), b);
    assert_false(ab_crypto_equal(a, b, sizeof(a)));
    ab_crypto_keyed_hash(other, bytes_of("message"), b);
    assert_false(ab_crypto_equal(a, b, sizeof(a)));
    ab_crypto_keyed_hash(key, ab_bytes_of(NULL, 0), b);
    assert_false(ab_crypto_equal(a, b, sizeof(a)));
}

static void test_crypto_random_and_wipe(void **state)
{
    (void)state;
    uint8_t a[64] = {0};
    uint8_t zero[64] = {0};
    ab_crypto_random(a, sizeof(a));
    assert_false(ab_crypto_equal(a, zero, sizeof(a)));
    ab_crypto_wipe(a, sizeof(a));
    assert_true(ab_crypto_equal(a, zero, sizeof(a)));
}

static void test_crypto_key_text_refuses(void **state)
{
    (void)state;
    char text[] = "8520F0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a0";
    uint8_t key[AB_CRYPTO_KEY_BYTES] = {9};
    assert_int_equal(ab_crypto_key_parse(bytes_of(text), key), AB_INVALID);
    for (size_t cut = 0; cut < 64; cut++) {
        assert_int_equal(ab_crypto_key_parse(ab_bytes_of(text, cut), key), AB_INVALID);
    }
    assert_int_equal(key[0], 9);
    assert_ok(ab_crypto_key_parse(ab_bytes_of(text, 64), key));
    assert_int_equal(key[0], 0x85);
    text[10] = 'g';
    assert_int_equal(ab_crypto_key_parse(ab_bytes_of(text, 64), key), AB_INVALID);
    text[10] = ' ';
    assert_int_equal(ab_crypto_key_parse(ab_bytes_of(text, 64), key), AB_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crypto_pairs_belong_together_and_differ),
        cmocka_unit_test(test_crypto_keys_are_curve25519),
        cmocka_unit_test(test_crypto_keyed_hash_depends_on_key_and_message),
        cmocka_unit_test(test_crypto_random_and_wipe),
        cmocka_unit_test(test_crypto_key_text_refuses),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
