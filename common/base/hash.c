#include "common/base/hash.h"

#include "common/base/assert.h"

#include <xxhash.h>

uint64_t ab_hash64(enum ab_hash_domain domain, struct ab_bytes bytes)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.bytes, (XXH64_hash_t)domain);
}

struct ab_hash128 ab_hash128(enum ab_hash_domain domain, struct ab_bytes bytes)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data, bytes.bytes, (XXH64_hash_t)domain);
    return (struct ab_hash128){.low = hash.low64, .high = hash.high64};
}

static void hex_write(uint64_t number, char *text)
{
    for (int i = 15; i >= 0; i--) {
        text[i] = "0123456789abcdef"[number & 15];
        number >>= 4;
    }
}

void ab_hash128_format(struct ab_hash128 hash, char text[33])
{
    hex_write(hash.high, text);
    hex_write(hash.low, text + 16);
    text[32] = '\0';
}

static bool hex_read(const uint8_t *text, uint64_t *number)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t c = text[i];
        unsigned digit = c >= '0' && c <= '9'   ? c - '0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                : 16;
        if (digit == 16) {
            return false;
        }
        value = value << 4 | digit;
    }
    *number = value;
    return true;
}

ab_err ab_hash128_parse(struct ab_bytes text, struct ab_hash128 *hash)
{
    struct ab_hash128 parsed;
    if (text.bytes != 32 || !hex_read(text.data, &parsed.high) || !hex_read(text.data + 16, &parsed.low)) {
        return AB_INVALID;
    }
    *hash = parsed;
    return AB_OK;
}

/* struct ab_hash_stream is XXH3_state_t under our name: no fields of its own. */
struct ab_hash_stream *ab_hash_stream_create(enum ab_hash_domain domain)
{
    XXH3_state_t *state = XXH3_createState();
    AB_ASSERT(state != NULL);
    XXH3_128bits_reset_withSeed(state, (XXH64_hash_t)domain);
    return (struct ab_hash_stream *)state;
}

void ab_hash_stream_destroy(struct ab_hash_stream *stream)
{
    XXH3_freeState((XXH3_state_t *)stream);
}

void ab_hash_stream_update(struct ab_hash_stream *stream, struct ab_bytes bytes)
{
    if (bytes.bytes > 0) {
        XXH3_128bits_update((XXH3_state_t *)stream, bytes.data, bytes.bytes);
    }
}

struct ab_hash128 ab_hash_stream_digest(const struct ab_hash_stream *stream)
{
    XXH128_hash_t hash = XXH3_128bits_digest((const XXH3_state_t *)stream);
    return (struct ab_hash128){.low = hash.low64, .high = hash.high64};
}
