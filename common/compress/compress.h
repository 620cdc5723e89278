/* compress: zstd and LZ4 of whole pieces of memory, hidden behind bytes and buffers.
 *
 * zstd is for what is kept (history pages), LZ4 for what travels (blocks). Neither format carries a size we trust:
 * whoever stores compressed bytes stores the plain size beside them, checks it against its own limit before it makes
 * room, and the decompressors fill exactly that room or fail. They never write past it, whatever the input.
 *
 * Threads: any; a struct ab_zstd belongs to one at a time.
 * Memory: the libraries' own working memory, at most a few MiB at the levels used; LZ4's is freed before return,
 * zstd's is kept in a struct ab_zstd from call to call: making it anew costs more than a small page itself.
 */
#ifndef ANABRANCH_COMMON_COMPRESS_COMPRESS_H
#define ANABRANCH_COMMON_COMPRESS_COMPRESS_H

#include "common/base/buffer.h"

/* Level of history pages: a good ratio at about 300 MB/s. */
#define AB_ZSTD_LEVEL_DEFAULT 3

/* Most bytes that compressing `bytes` bytes can give; 0 when LZ4 cannot take that many (2,113,929,216). */
size_t ab_zstd_bound(size_t bytes);
size_t ab_lz4_bound(size_t bytes);

/* Working memory of zstd, made when first needed. Zeroed = none yet. */
struct ab_zstd {
    struct ZSTD_CCtx_s *compressor;   /* owned */
    struct ZSTD_DCtx_s *decompressor; /* owned */
};
void ab_zstd_fini(struct ab_zstd *zstd);

/* Appends one zstd frame holding `plain`, at `level` 1..19. `out` needs room for ab_zstd_bound for a moment: AB_FULL
 * when it refuses; out is as before then. */
AB_MUST_USE ab_err ab_zstd_compress(struct ab_zstd *zstd, struct ab_bytes plain, int level, struct ab_buffer *out);

/* Fills exactly `bytes` bytes at `out` from one or more zstd frames; AB_CORRUPT when they hold more, fewer or are
 * damaged (what `out` holds is then undefined), AB_FULL for want of working memory. */
AB_MUST_USE ab_err ab_zstd_decompress(struct ab_zstd *zstd, struct ab_bytes compressed, uint8_t *out, size_t bytes);

/* Appends one LZ4 block (no frame) holding `plain`; AB_TOO_LARGE past LZ4's limit, AB_FULL when `out` refuses
 * ab_lz4_bound bytes; out is as before then. */
AB_MUST_USE ab_err ab_lz4_compress(struct ab_bytes plain, struct ab_buffer *out);

/* Fills exactly `bytes` bytes at `out` from one LZ4 block; AB_CORRUPT when it holds more, fewer or is damaged (what
 * `out` holds is then undefined). */
AB_MUST_USE ab_err ab_lz4_decompress(struct ab_bytes compressed, uint8_t *out, size_t bytes);

#endif
