/* crypto: the few operations the project takes from libsodium, on plain bytes; nobody else includes it.
 *
 * Keys are Curve25519 pairs as CURVE (ZeroMQ) and crypto_box use them: 32 raw bytes each.
 *
 * Threads: any, once ab_crypto_init has returned.
 */
#ifndef ANABRANCH_COMMON_CRYPTO_CRYPTO_H
#define ANABRANCH_COMMON_CRYPTO_CRYPTO_H

#include "common/base/bytes.h"

#define AB_CRYPTO_KEY_BYTES 32
#define AB_CRYPTO_HASH_BYTES 32

/* A key pair. Wipe it with ab_crypto_wipe when it is no longer needed. */
struct ab_crypto_keys {
    uint8_t public_key[AB_CRYPTO_KEY_BYTES];
    uint8_t secret_key[AB_CRYPTO_KEY_BYTES];
};

/* Sets the library up; to be called before anything else here, any number of times, from any thread. AB_UNAVAILABLE
 * when the system gives no random numbers. */
AB_MUST_USE ab_err ab_crypto_init(struct ab_error *error);

/* Makes a new pair. */
void ab_crypto_keys_generate(struct ab_crypto_keys *keys);

/* Computes the public key that belongs to a secret one. */
void ab_crypto_public_of(const uint8_t secret_key[AB_CRYPTO_KEY_BYTES], uint8_t public_key[AB_CRYPTO_KEY_BYTES]);

/* Fills memory with random bytes fit for keys. */
void ab_crypto_random(void *data, size_t bytes);

/* BLAKE2b-256 of the message under a key of 32 bytes: an authenticator nobody without the key can make. */
void ab_crypto_keyed_hash(
    const uint8_t key[AB_CRYPTO_KEY_BYTES], struct ab_bytes message, uint8_t hash[AB_CRYPTO_HASH_BYTES]);

/* True when both hold the same bytes; takes the same time wherever they differ. */
bool ab_crypto_equal(const void *a, const void *b, size_t bytes);

/* Overwrites a secret so that no compiler removes it. */
void ab_crypto_wipe(void *data, size_t bytes);

/* Writes 64 lower-case hexadecimal digits and a NUL. */
void ab_crypto_key_format(const uint8_t key[AB_CRYPTO_KEY_BYTES], char text[2 * AB_CRYPTO_KEY_BYTES + 1]);

/* Reads exactly 64 hexadecimal digits; AB_INVALID otherwise. Takes the same time for all digits. */
AB_MUST_USE ab_err ab_crypto_key_parse(struct ab_bytes text, uint8_t key[AB_CRYPTO_KEY_BYTES]);

#endif
