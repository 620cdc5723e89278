#include "common/compress/compress.h"

#include <lz4.h>
#include <zstd.h>

/* The libraries want an address even for nothing. */
static const void *source_of(struct ab_bytes bytes)
{
    return bytes.bytes == 0 ? "" : (const void *)bytes.data;
}

size_t ab_zstd_bound(size_t bytes)
{
    return ZSTD_compressBound(bytes);
}

size_t ab_lz4_bound(size_t bytes)
{
    return bytes > LZ4_MAX_INPUT_SIZE ? 0 : (size_t)LZ4_compressBound((int)bytes);
}

/* Room for `bound` more bytes; on refusal the buffer is as it was before. */
static uint8_t *room_for(struct ab_buffer *out, size_t bound)
{
    if (out->has_failed) {
        return NULL;
    }
    uint8_t *room = ab_buffer_extend(out, bound);
    if (room == NULL) {
        out->has_failed = false;
    }
    return room;
}

void ab_zstd_fini(struct ab_zstd *zstd)
{
    (void)ZSTD_freeCCtx(zstd->compressor); /* cannot fail; NULL is legal */
    (void)ZSTD_freeDCtx(zstd->decompressor);
    *zstd = (struct ab_zstd){0};
}

ab_err ab_zstd_compress(struct ab_zstd *zstd, struct ab_bytes plain, int level, struct ab_buffer *out)
{
    size_t before = out->bytes;
    size_t bound = ab_zstd_bound(plain.bytes);
    uint8_t *room = ZSTD_isError(bound) ? NULL : room_for(out, bound);
    if (room == NULL) {
        return AB_FULL;
    }
    zstd->compressor = zstd->compressor == NULL ? ZSTD_createCCtx() : zstd->compressor;
    size_t used = zstd->compressor == NULL
                      ? (size_t)-1
                      : ZSTD_compressCCtx(zstd->compressor, room, bound, source_of(plain), plain.bytes, level);
    if (ZSTD_isError(used)) { /* only for want of memory: the room is large enough */
        out->bytes = before;
        return AB_FULL;
    }
    out->bytes = before + used;
    return AB_OK;
}

ab_err ab_zstd_decompress(struct ab_zstd *zstd, struct ab_bytes compressed, uint8_t *out, size_t bytes)
{
    uint8_t nothing = 0;
    zstd->decompressor = zstd->decompressor == NULL ? ZSTD_createDCtx() : zstd->decompressor;
    if (zstd->decompressor == NULL) {
        return AB_FULL;
    }
    size_t used = ZSTD_decompressDCtx(
        zstd->decompressor, bytes == 0 ? &nothing : out, bytes, source_of(compressed), compressed.bytes);
    return !ZSTD_isError(used) && used == bytes && compressed.bytes > 0 ? AB_OK : AB_CORRUPT;
}

ab_err ab_lz4_compress(struct ab_bytes plain, struct ab_buffer *out)
{
    size_t before = out->bytes;
    size_t bound = ab_lz4_bound(plain.bytes);
    if (bound == 0) {
        return AB_TOO_LARGE;
    }
    uint8_t *room = room_for(out, bound);
    if (room == NULL) {
        return AB_FULL;
    }
    int used = LZ4_compress_default(source_of(plain), (char *)room, (int)plain.bytes, (int)bound);
    if (used <= 0) { /* only for want of memory: the room is large enough */
        out->bytes = before;
        return AB_FULL;
    }
    out->bytes = before + (size_t)used;
    return AB_OK;
}

ab_err ab_lz4_decompress(struct ab_bytes compressed, uint8_t *out, size_t bytes)
{
    if (compressed.bytes == 0 || compressed.bytes > INT32_MAX || bytes > INT32_MAX) {
        return AB_CORRUPT;
    }
    char nothing = 0;
    char *room = bytes == 0 ? &nothing : (char *)out;
    int used = LZ4_decompress_safe(source_of(compressed), room, (int)compressed.bytes, (int)bytes);
    return used >= 0 && (size_t)used == bytes ? AB_OK : AB_CORRUPT;
}
