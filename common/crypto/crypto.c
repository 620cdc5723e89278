#include "common/crypto/crypto.h"

#include <sodium.h>

_Static_assert(crypto_box_PUBLICKEYBYTES == AB_CRYPTO_KEY_BYTES, "keys are those of crypto_box");
_Static_assert(crypto_box_SECRETKEYBYTES == AB_CRYPTO_KEY_BYTES, "keys are those of crypto_box");
_Static_assert(crypto_generichash_BYTES == AB_CRYPTO_HASH_BYTES, "256 bits of hash");

ab_err ab_crypto_init(struct ab_error *error)
{
    return sodium_init() >= 0 ? AB_OK : ab_error_set(error, AB_UNAVAILABLE, "libsodium could not be set up");
}

void ab_crypto_keys_generate(struct ab_crypto_keys *keys)
{
    (void)crypto_box_keypair(keys->public_key, keys->secret_key); /* always 0 */
}

void ab_crypto_public_of(const uint8_t secret_key[AB_CRYPTO_KEY_BYTES], uint8_t public_key[AB_CRYPTO_KEY_BYTES])
{
    (void)crypto_scalarmult_base(public_key, secret_key); /* always 0 */
}

void ab_crypto_random(void *data, size_t bytes)
{
    randombytes_buf(data, bytes);
}

void ab_crypto_keyed_hash(
    const uint8_t key[AB_CRYPTO_KEY_BYTES], struct ab_bytes message, uint8_t hash[AB_CRYPTO_HASH_BYTES])
{
    /* Fails only on lengths out of range, which are constants here. */
    (void)crypto_generichash(hash, AB_CRYPTO_HASH_BYTES, message.data, message.bytes, key, AB_CRYPTO_KEY_BYTES);
}

bool ab_crypto_equal(const void *a, const void *b, size_t bytes)
{
    return sodium_memcmp(a, b, bytes) == 0;
}

void ab_crypto_wipe(void *data, size_t bytes)
{
    sodium_memzero(data, bytes);
}

void ab_crypto_key_format(const uint8_t key[AB_CRYPTO_KEY_BYTES], char text[2 * AB_CRYPTO_KEY_BYTES + 1])
{
    (void)sodium_bin2hex(text, 2 * AB_CRYPTO_KEY_BYTES + 1, key, AB_CRYPTO_KEY_BYTES);
}

ab_err ab_crypto_key_parse(struct ab_bytes text, uint8_t key[AB_CRYPTO_KEY_BYTES])
{
    uint8_t parsed[AB_CRYPTO_KEY_BYTES];
    size_t bytes = 0;
    ab_err err = AB_INVALID;
    if (text.bytes == 2 * AB_CRYPTO_KEY_BYTES &&
        sodium_hex2bin(parsed, sizeof(parsed), (const char *)text.data, text.bytes, NULL, &bytes, NULL) == 0 &&
        bytes == sizeof(parsed)) {
        memcpy(key, parsed, sizeof(parsed));
        err = AB_OK;
    }
    sodium_memzero(parsed, sizeof(parsed));
    return err;
}
