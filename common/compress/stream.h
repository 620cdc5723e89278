/* stream: reads a file that may be plain, gzip or zstd as one run of plain bytes; what `import` reads through.
 *
 * The format is told by the first bytes (gzip 1f 8b, RFC 1952; zstd 28 b5 2f fd or a skippable frame, RFC 8878), never
 * by the name. Several gzip members or zstd frames after one another count as one file. Input that ends inside a member
 * or frame, has a wrong checksum, or goes on with something else, is AB_CORRUPT: nothing is passed over in silence. The
 * plain bytes before the damage have been handed out by then.
 *
 * Threads: one at a time. Memory: 128 KiB of input and the decoder's window (zstd: at most 128 MiB, larger ones are
 * refused; gzip: 32 KiB).
 */
#ifndef ANABRANCH_COMMON_COMPRESS_STREAM_H
#define ANABRANCH_COMMON_COMPRESS_STREAM_H

#include "common/base/bytes.h"

enum ab_inflate_format { AB_INFLATE_PLAIN, AB_INFLATE_GZIP, AB_INFLATE_ZSTD };

struct ab_inflate_stream;

/* Gives up to `bytes` bytes of the raw input; *got = 0 means its end. May block. */
typedef ab_err (*ab_inflate_read_fn)(uint8_t *data, size_t bytes, size_t *got, void *context);

/* Begins reading: takes the first bytes to tell the format. `context` is borrowed until close.
 * Errors: what read_fn returned; AB_FULL when the decoder has no memory. */
AB_MUST_USE ab_err ab_inflate_stream_open(
    ab_inflate_read_fn read_fn, void *context, struct ab_inflate_stream **stream, struct ab_error *error);

/* The same over a file descriptor (file, pipe or terminal), which stays the caller's and must outlive the stream. */
AB_MUST_USE ab_err ab_inflate_stream_open_fd(int fd, struct ab_inflate_stream **stream, struct ab_error *error);

/* Ends reading; NULL is legal. */
void ab_inflate_stream_close(struct ab_inflate_stream *stream);

/* What the input turned out to be. */
enum ab_inflate_format ab_inflate_stream_format(const struct ab_inflate_stream *stream);

/* Raw bytes taken from the input so far: what progress is shown by. */
uint64_t ab_inflate_stream_raw_bytes(const struct ab_inflate_stream *stream);

/* Puts up to `bytes` (> 0) plain bytes at `data`; *got = 0 means the good end. AB_CORRUPT with the raw offset in the
 * text, or what read_fn returned; every later call returns the same. Blocks as read_fn does. */
AB_MUST_USE ab_err ab_inflate_stream_read(
    struct ab_inflate_stream *stream, uint8_t *data, size_t bytes, size_t *got, struct ab_error *error);

#endif
