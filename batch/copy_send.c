#include "batch/copy.h"

#include "batch/copy_frames.h"
#include "common/base/file.h"
#include "common/base/logging.h"

#include <fcntl.h>
#include <inttypes.h>

struct ab_copy_sender {
    const char *directory;            /* borrowed */
    const struct ab_copy_unit *units; /* borrowed */
    const uint32_t *order;            /* borrowed */
    size_t count;
    size_t at;    /* in the order */
    char **paths; /* owned: of the unit that is on its way; NULL = it has not begun */
    size_t paths_count;
    size_t path_at;
    int fd; /* of the file that is on its way; -1 = it has not begun */
    uint64_t offset;
    uint64_t bytes;
    struct ab_hash_stream *hash; /* owned; of what was read of it */
};

struct ab_copy_sender *ab_copy_sender_create(
    const char *directory, const struct ab_copy_unit *units, const uint32_t *order, size_t count)
{
    struct ab_copy_sender *sender = ab_new(struct ab_copy_sender);
    *sender = (struct ab_copy_sender){.directory = directory, .units = units, .order = order, .count = count, .fd = -1};
    return sender;
}

static void file_leave(struct ab_copy_sender *sender)
{
    ab_file_close(&sender->fd);
    ab_hash_stream_destroy(sender->hash);
    sender->hash = NULL;
}

static void unit_leave(struct ab_copy_sender *sender)
{
    file_leave(sender);
    ab_file_names_free(sender->paths, sender->paths_count);
    sender->paths = NULL;
    sender->paths_count = 0;
    sender->at++;
}

void ab_copy_sender_destroy(struct ab_copy_sender *sender)
{
    if (sender == NULL) {
        return;
    }
    unit_leave(sender);
    ab_delete(sender);
}

static void frame_begin(const struct ab_copy_sender *sender, struct ab_buffer *frame, enum ab_copy_frame kind)
{
    ab_buffer_clear(frame);
    ab_buffer_put_u8(frame, (uint8_t)kind);
    ab_buffer_put_varint(frame, sender->order[sender->at]);
}

static ab_err file_begin(struct ab_copy_sender *sender, struct ab_buffer *frame, struct ab_error *error)
{
    const char *relative = sender->paths[sender->path_at];
    char *path = ab_new_format("%s/%s", sender->directory, relative);
    ab_err err = ab_file_open(path, O_RDONLY, 0, &sender->fd, error);
    if (err == AB_OK && ab_file_bytes(sender->fd, &sender->bytes) != AB_OK) {
        err = ab_error_set(error, AB_IO, "%s: its size cannot be read", path);
    }
    ab_delete(path);
    AB_TRY(err);
    sender->offset = 0;
    sender->hash = ab_hash_stream_create(AB_HASH_CONTENT);
    frame_begin(sender, frame, AB_COPY_FILE);
    ab_buffer_put_blob(frame, ab_bytes_of_text(relative));
    return AB_OK;
}

static ab_err file_piece(struct ab_copy_sender *sender, struct ab_buffer *frame, struct ab_error *error)
{
    uint64_t left = sender->bytes - sender->offset;
    size_t bytes = left < AB_COPY_PIECE_BYTES ? (size_t)left : AB_COPY_PIECE_BYTES;
    frame_begin(sender, frame, AB_COPY_DATA);
    ab_buffer_put_varint(frame, bytes);
    uint8_t *into = ab_buffer_extend(frame, bytes);
    if (into == NULL) {
        return ab_error_set(error, AB_FULL, "no memory for a piece of a file");
    }
    ab_err err = ab_file_read_at(sender->fd, into, bytes, sender->offset);
    if (err != AB_OK) {
        return ab_error_set(error, err, "%s cannot be read", sender->paths[sender->path_at]);
    }
    ab_hash_stream_update(sender->hash, ab_bytes_of(into, bytes));
    sender->offset += bytes;
    return AB_OK;
}

static void file_end(struct ab_copy_sender *sender, struct ab_buffer *frame)
{
    struct ab_hash128 hash = ab_hash_stream_digest(sender->hash);
    frame_begin(sender, frame, AB_COPY_FILE_END);
    ab_buffer_put_u64(frame, sender->bytes);
    ab_buffer_put_u64(frame, hash.low);
    ab_buffer_put_u64(frame, hash.high);
    file_leave(sender);
    sender->path_at++;
}

/* What comes next of the unit. */
static ab_err unit_frame(struct ab_copy_sender *sender, struct ab_buffer *frame, struct ab_error *error)
{
    if (sender->paths == NULL) {
        const struct ab_copy_unit *unit = &sender->units[sender->order[sender->at]];
        AB_TRY(ab_copy_files(sender->directory, unit, &sender->paths, &sender->paths_count, error));
        sender->path_at = 0;
    }
    if (sender->fd < 0 && sender->path_at < sender->paths_count) {
        return file_begin(sender, frame, error);
    }
    if (sender->fd >= 0 && sender->offset < sender->bytes) {
        return file_piece(sender, frame, error);
    }
    if (sender->fd >= 0) {
        file_end(sender, frame);
        return AB_OK;
    }
    frame_begin(sender, frame, AB_COPY_DONE);
    unit_leave(sender);
    return AB_OK;
}

ab_err ab_copy_sender_next(struct ab_copy_sender *sender, struct ab_buffer *frame, uint32_t *unit)
{
    struct ab_error error = {0};
    if (sender->at >= sender->count) {
        return AB_END;
    }
    *unit = sender->order[sender->at];
    ab_err err = unit_frame(sender, frame, &error);
    if (err != AB_OK) {
        ab_warn("not copied to other nodes", "%s", error.text[0] != 0 ? error.text : ab_err_text(err));
        frame_begin(sender, frame, AB_COPY_GIVEN_UP);
        unit_leave(sender);
    }
    return ab_buffer_finish(frame);
}
