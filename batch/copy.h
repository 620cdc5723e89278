/* copy: what is copied from node to node as a whole: a sealed span of a partition, or a shard of a version's directory;
 * and the two ends of the way. No MPI here: replicate.h carries the frames.
 *
 * A unit is a few files, of which the last one, the marker or the manifest, makes it whole. The source reads them one
 * after the other; the receiver writes them under temporary names, syncs them, compares bytes and hash with what the
 * source had read, looks at what they are (a span's rows are the marker's, with its chain; a shard's directory is
 * opened and read, every row), and only then gives them their names, the last one last. What does not stand this is
 * refused: the unit is not there, and the next round or the next job sends it again.
 *
 *   frame = kind u8 | unit varint | FILE: path blob | DATA: bytes blob | FILE_END: bytes u64, hash low u64, high u64
 *           | DONE, GIVEN_UP: nothing
 *
 * Threads: owner. Memory: one piece of a file.
 */
#ifndef ANABRANCH_BATCH_COPY_H
#define ANABRANCH_BATCH_COPY_H

#include "common/base/buffer.h"
#include "common/base/hash.h"

#define AB_COPY_ARRIVING ".arriving-" /* in the names of what is not whole yet; the attempt's number follows */
#define AB_COPY_PIECE_BYTES (256u << 10)

enum ab_copy_kind { AB_COPY_SPAN, AB_COPY_SHARD };

struct ab_copy_unit {
    enum ab_copy_kind kind;
    uint32_t partition;        /* or shard */
    uint64_t span;             /* of a span: its number */
    const char *path;          /* of a shard: its version's directory, relative; borrowed */
    uint64_t rows_count;       /* of a shard, as its version's manifest has them: */
    struct ab_hash128 content; /* what is not this is not there */
};

/* What a node has of a unit: 0 = nothing; equal numbers = the same. Of a span `is_deep` compares the markers, and looks
 * for the files; else a marker is enough. */
uint64_t ab_copy_look(const char *directory, const struct ab_copy_unit *unit, bool is_deep);

/* Its files below the node's directory, the one that makes it whole last; freed with ab_file_names_free. AB_NOT_FOUND,
 * AB_CORRUPT. */
AB_MUST_USE ab_err ab_copy_files(
    const char *directory, const struct ab_copy_unit *unit, char ***paths, size_t *count, struct ab_error *error);

/* Removes what copies that died left below a node's directory. What cannot be removed stays: nobody asks for it. */
void ab_copy_sweep(const char *directory);

/* ---- source ---- */

struct ab_copy_sender;

/* Will send units[order[0 .. count)]. All are borrowed. */
struct ab_copy_sender *ab_copy_sender_create(
    const char *directory, const struct ab_copy_unit *units, const uint32_t *order, size_t count);
/* NULL is legal. */
void ab_copy_sender_destroy(struct ab_copy_sender *sender);

/* Makes the next frame (cleared first), which is of units[*unit]; AB_END when all are sent. A unit that cannot be read
 * is given up, with a warning. */
AB_MUST_USE ab_err ab_copy_sender_next(struct ab_copy_sender *sender, struct ab_buffer *frame, uint32_t *unit);

/* ---- receiver ---- */

struct ab_copy_receiver;

/* Takes what one source sends, into `directory` (borrowed, as the units); `attempt` is in the temporary names. */
struct ab_copy_receiver *ab_copy_receiver_create(
    const char *directory, uint32_t attempt, const struct ab_copy_unit *units, uint32_t units_count);
/* Removes what is half there; NULL is legal. */
void ab_copy_receiver_destroy(struct ab_copy_receiver *receiver);

/* Takes frames off. A unit that is refused is warned of and left out; AB_CORRUPT when the frames make no sense. */
AB_MUST_USE ab_err ab_copy_receiver_take(
    struct ab_copy_receiver *receiver, struct ab_bytes frames, struct ab_error *error);

/* Units placed, and refused, so far. */
uint64_t ab_copy_receiver_placed(const struct ab_copy_receiver *receiver);
uint64_t ab_copy_receiver_refused(const struct ab_copy_receiver *receiver);

#endif
