#include "batch/copy.h"

#include "batch/copy_frames.h"
#include "batch/sealed.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/history/layout.h"
#include "common/history/parquet.h"
#include "common/store/version.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define NO_UNIT UINT32_MAX
#define FILES_MAX 65536u /* of a unit */
#define PATH_BYTES_MAX 4096u

struct ab_copy_receiver {
    const char *directory; /* borrowed */
    uint32_t attempt;
    const struct ab_copy_unit *units; /* borrowed */
    uint32_t units_count;
    uint32_t unit;   /* that is arriving; NO_UNIT = none */
    bool is_refused; /* the rest of it is passed over */
    char **paths;    /* owned: its files so far, relative; all but the last one are complete */
    size_t paths_count;
    int fd; /* of the last one while it arrives; else -1 */
    uint64_t bytes;
    struct ab_hash_stream *hash; /* owned */
    uint64_t placed;
    uint64_t refused;
};

struct ab_copy_receiver *ab_copy_receiver_create(
    const char *directory, uint32_t attempt, const struct ab_copy_unit *units, uint32_t units_count)
{
    struct ab_copy_receiver *receiver = ab_new(struct ab_copy_receiver);
    *receiver = (struct ab_copy_receiver){.directory = directory,
        .attempt = attempt,
        .units = units,
        .units_count = units_count,
        .unit = NO_UNIT,
        .fd = -1};
    return receiver;
}

uint64_t ab_copy_receiver_placed(const struct ab_copy_receiver *receiver)
{
    return receiver->placed;
}

uint64_t ab_copy_receiver_refused(const struct ab_copy_receiver *receiver)
{
    return receiver->refused;
}

/* ---- names ---- */

/* Where a shard stands, or arrives. */
static char *shard_path(const struct ab_copy_receiver *receiver, bool is_arriving)
{
    const struct ab_copy_unit *unit = &receiver->units[receiver->unit];
    char suffix[32] = "";
    if (is_arriving) {
        (void)snprintf(suffix, sizeof suffix, AB_COPY_ARRIVING "%" PRIu32, receiver->attempt);
    }
    return ab_new_format("%s/%s/shard-%" PRIu32 "%s", receiver->directory, unit->path, unit->partition, suffix);
}

/* Where a file of the unit arrives. */
static char *arriving_path(const struct ab_copy_receiver *receiver, const char *relative)
{
    if (receiver->units[receiver->unit].kind == AB_COPY_SPAN) {
        return ab_new_format("%s/%s" AB_COPY_ARRIVING "%" PRIu32, receiver->directory, relative, receiver->attempt);
    }
    char *folder = shard_path(receiver, true);
    char *path = ab_new_format("%s/%s", folder, strrchr(relative, '/') + 1);
    ab_delete(folder);
    return path;
}

static bool text_ends(const char *text, const char *end)
{
    size_t text_bytes = strlen(text);
    size_t end_bytes = strlen(end);
    return text_bytes >= end_bytes && strcmp(text + text_bytes - end_bytes, end) == 0;
}

/* A path that a source names lies where such a unit's files lie. */
static bool path_belongs(const struct ab_copy_unit *unit, const char *path)
{
    bool belongs = false;
    if (unit->kind == AB_COPY_SPAN) {
        char *marker = ab_history_marker_path("", unit->partition, unit->span);
        char *end = ab_new_format("/partition-%" PRIu32 "/span-%" PRIu64 ".parquet", unit->partition, unit->span);
        belongs = strcmp(path, marker) == 0 || (strncmp(path, "history/", 8) == 0 && text_ends(path, end));
        ab_delete(end);
        ab_delete(marker);
    } else {
        char *folder = ab_new_format("%s/shard-%" PRIu32 "/", unit->path, unit->partition);
        const char *name = path + strlen(folder);
        belongs =
            strncmp(path, folder, strlen(folder)) == 0 && name[0] != 0 && name[0] != '.' && strchr(name, '/') == NULL;
        ab_delete(folder);
    }
    return belongs && strstr(path, "..") == NULL;
}

/* ---- a unit's end ---- */

static void unit_leave(struct ab_copy_receiver *receiver)
{
    ab_file_close(&receiver->fd);
    ab_hash_stream_destroy(receiver->hash);
    receiver->hash = NULL;
    ab_file_names_free(receiver->paths, receiver->paths_count);
    receiver->paths = NULL;
    receiver->paths_count = 0;
    receiver->unit = NO_UNIT;
    receiver->is_refused = false;
}

/* What cannot be removed has a name that nobody asks for. */
static void leftover_remove(const char *path)
{
    struct ab_error error = {0};
    if (ab_file_remove_tree(path, &error) != AB_OK) {
        ab_warn("leftover stays", "%s", error.text);
    }
}

/* Removes what arrived of the unit. */
static void arrived_remove(const struct ab_copy_receiver *receiver)
{
    if (receiver->units[receiver->unit].kind == AB_COPY_SHARD) {
        char *folder = shard_path(receiver, true);
        leftover_remove(folder);
        ab_delete(folder);
        return;
    }
    for (size_t i = 0; i < receiver->paths_count; i++) {
        char *path = arriving_path(receiver, receiver->paths[i]);
        leftover_remove(path);
        ab_delete(path);
    }
}

/* The rest of the unit is passed over. */
static void unit_refuse(struct ab_copy_receiver *receiver, const struct ab_error *error)
{
    const struct ab_copy_unit *unit = &receiver->units[receiver->unit];
    if (unit->kind == AB_COPY_SPAN) {
        ab_warn(
            "copy refused", "partition %" PRIu32 ", span %" PRIu64 ": %s", unit->partition, unit->span, error->text);
    } else {
        ab_warn("copy refused", "%s, shard %" PRIu32 ": %s", unit->path, unit->partition, error->text);
    }
    ab_file_close(&receiver->fd);
    arrived_remove(receiver);
    receiver->is_refused = true;
    receiver->refused++;
}

void ab_copy_receiver_destroy(struct ab_copy_receiver *receiver)
{
    if (receiver == NULL) {
        return;
    }
    if (receiver->unit != NO_UNIT && !receiver->is_refused) {
        ab_file_close(&receiver->fd);
        arrived_remove(receiver);
    }
    unit_leave(receiver);
    ab_delete(receiver);
}

/* A file of rows that arrived is the one that the marker speaks of. */
static ab_err rows_check(const char *path, const struct ab_sealed_span *sealed, const struct ab_sealed_stream *stream,
    struct ab_error *error)
{
    struct ab_parquet_reader *reader = NULL;
    char chain[33];
    AB_TRY(ab_parquet_reader_open(path, &reader, error));
    const char *note = ab_parquet_reader_note(reader, "anabranch.chain");
    ab_hash128_format(sealed->chain, chain);
    bool is_right = note != NULL && strcmp(note, chain) == 0 && ab_parquet_reader_rows(reader) == stream->accepted;
    ab_parquet_reader_close(reader);
    return is_right ? AB_OK : ab_error_set(error, AB_CORRUPT, "%s: not the rows that its marker names", path);
}

static ab_err marker_read(
    const char *path, const struct ab_copy_unit *unit, struct ab_sealed_span *sealed, struct ab_error *error)
{
    struct ab_buffer text = {0};
    struct ab_json *json = NULL;
    ab_err err = ab_file_read_all(path, &text, error);
    if (err == AB_OK) {
        err = ab_json_parse(ab_buffer_view(&text), &json, error);
    }
    if (err == AB_OK) {
        err = ab_sealed_span_decode(json, sealed, error);
    }
    ab_json_destroy(json);
    ab_buffer_fini(&text);
    if (err == AB_OK && (sealed->partition != unit->partition || sealed->span != unit->span)) {
        ab_sealed_span_fini(sealed);
        err = ab_error_set(error, AB_CORRUPT, "its marker is of another span");
    }
    return err;
}

static bool paths_have(const struct ab_copy_receiver *receiver, const char *path)
{
    bool has = false;
    for (size_t i = 0; i < receiver->paths_count && !has; i++) {
        has = strcmp(receiver->paths[i], path) == 0;
    }
    return has;
}

/* Every file that the marker names has arrived, and is what it says. */
static ab_err streams_check(
    const struct ab_copy_receiver *receiver, const struct ab_sealed_span *sealed, struct ab_error *error)
{
    const struct ab_copy_unit *unit = &receiver->units[receiver->unit];
    ab_err err = AB_OK;
    for (size_t i = 0; i < sealed->streams_count && err == AB_OK; i++) {
        const struct ab_sealed_stream *stream = &sealed->streams[i];
        char *rows = ab_history_rows_path("", stream->name, unit->partition, unit->span);
        char *letters = ab_history_dead_letters_path("", stream->name, unit->partition, unit->span);
        if ((stream->accepted > 0 && !paths_have(receiver, rows)) ||
            (stream->rejected > 0 && !paths_have(receiver, letters))) {
            err = ab_error_set(error, AB_CORRUPT, "a file of stream %s did not come", stream->name);
        } else if (stream->accepted > 0) {
            char *path = arriving_path(receiver, rows);
            err = rows_check(path, sealed, stream, error);
            ab_delete(path);
        }
        ab_delete(letters);
        ab_delete(rows);
    }
    return err;
}

static ab_err span_check(const struct ab_copy_receiver *receiver, struct ab_error *error)
{
    const struct ab_copy_unit *unit = &receiver->units[receiver->unit];
    struct ab_sealed_span sealed = {0};
    char *marker = ab_history_marker_path("", unit->partition, unit->span);
    bool is_last = strcmp(receiver->paths[receiver->paths_count - 1], marker) == 0;
    ab_delete(marker);
    if (!is_last) {
        return ab_error_set(error, AB_CORRUPT, "no marker came after its files");
    }
    char *path = arriving_path(receiver, receiver->paths[receiver->paths_count - 1]);
    ab_err err = marker_read(path, unit, &sealed, error);
    ab_delete(path);
    AB_TRY(err);
    err = streams_check(receiver, &sealed, error);
    ab_sealed_span_fini(&sealed);
    return err;
}

/* Another marker that stands there goes first: without it the span is not sealed while its files change. */
static ab_err span_place(struct ab_copy_receiver *receiver, struct ab_error *error)
{
    const struct ab_copy_unit *unit = &receiver->units[receiver->unit];
    AB_TRY(span_check(receiver, error));
    char *marker = ab_history_marker_path(receiver->directory, unit->partition, unit->span);
    ab_err err = AB_OK;
    if (ab_file_exists(marker)) {
        char *folder = ab_new_text(marker);
        *strrchr(folder, '/') = 0;
        err = ab_file_remove_tree(marker, error);
        if (err == AB_OK && ab_file_sync_directory(folder) != AB_OK) {
            err = ab_error_set(error, AB_IO, "%s cannot be synced", folder);
        }
        ab_delete(folder);
    }
    ab_delete(marker);
    for (size_t i = 0; i < receiver->paths_count && err == AB_OK; i++) {
        char *from = arriving_path(receiver, receiver->paths[i]);
        char *to = ab_new_format("%s/%s", receiver->directory, receiver->paths[i]);
        err = ab_file_rename(from, to, error);
        ab_delete(to);
        ab_delete(from);
    }
    return err;
}

/* Opens what arrived and reads it, every row. */
static ab_err shard_check(const struct ab_copy_unit *unit, const char *arriving, struct ab_error *error)
{
    struct ab_version_reader *reader = NULL;
    struct ab_version_summary summary;
    AB_TRY(ab_version_reader_open(arriving, NULL, true, &reader, error));
    ab_version_reader_summary(reader, &summary);
    ab_version_reader_close(reader);
    bool is_right = summary.rows_count == unit->rows_count && ab_hash128_equal(summary.content, unit->content);
    return is_right ? AB_OK : ab_error_set(error, AB_CORRUPT, "not the content that was to come");
}

static ab_err shard_place(struct ab_copy_receiver *receiver, struct ab_error *error)
{
    char *arriving = shard_path(receiver, true);
    char *place = shard_path(receiver, false);
    ab_err err = shard_check(&receiver->units[receiver->unit], arriving, error);
    if (err == AB_OK && ab_file_sync_directory(arriving) != AB_OK) {
        err = ab_error_set(error, AB_IO, "%s cannot be synced", arriving);
    }
    if (err == AB_OK) {
        err = ab_file_remove_tree(place, error); /* what stands there is not what it should be, or not whole */
    }
    if (err == AB_OK) {
        err = ab_file_rename(arriving, place, error);
    }
    ab_delete(place);
    ab_delete(arriving);
    return err;
}

static void unit_done(struct ab_copy_receiver *receiver)
{
    struct ab_error error = {0};
    ab_err err = AB_OK;
    if (!receiver->is_refused) {
        if (receiver->paths_count == 0 || receiver->fd >= 0) {
            err = ab_error_set(&error, AB_CORRUPT, "its files did not come");
        } else {
            err = receiver->units[receiver->unit].kind == AB_COPY_SPAN ? span_place(receiver, &error)
                                                                       : shard_place(receiver, &error);
        }
        if (err != AB_OK) {
            unit_refuse(receiver, &error);
        } else {
            receiver->placed++;
        }
    }
    unit_leave(receiver);
}

/* ---- frames ---- */

/* Removes what earlier attempts left of a name, and makes its folder. */
static ab_err place_prepare(const char *path, struct ab_error *error)
{
    char *folder = ab_new_text(path);
    char *name = strrchr(folder, '/');
    char **names = NULL;
    size_t count = 0;
    *name++ = 0;
    char *prefix = ab_new_format("%s" AB_COPY_ARRIVING, name);
    ab_err err = ab_file_make_directory(folder, 0750, error);
    if (err == AB_OK) {
        err = ab_file_list(folder, &names, &count, error);
    }
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        if (strncmp(names[i], prefix, strlen(prefix)) == 0) {
            char *leftover = ab_new_format("%s/%s", folder, names[i]);
            err = ab_file_remove_tree(leftover, error);
            ab_delete(leftover);
        }
    }
    ab_file_names_free(names, count);
    ab_delete(prefix);
    ab_delete(folder);
    return err;
}

/* Makes the folder in which a file arrives. */
static ab_err file_place_prepare(struct ab_copy_receiver *receiver, const char *relative, struct ab_error *error)
{
    bool is_span = receiver->units[receiver->unit].kind == AB_COPY_SPAN;
    ab_err err = AB_OK;
    if (is_span || receiver->paths_count == 0) {
        char *place = is_span ? ab_new_format("%s/%s", receiver->directory, relative) : shard_path(receiver, false);
        err = place_prepare(place, error);
        ab_delete(place);
    }
    if (err == AB_OK && !is_span) {
        char *folder = shard_path(receiver, true);
        err = ab_file_make_directory(folder, 0700, error);
        ab_delete(folder);
    }
    return err;
}

static ab_err file_begin(struct ab_copy_receiver *receiver, const char *relative, struct ab_error *error)
{
    if (receiver->fd >= 0 || receiver->paths_count >= FILES_MAX ||
        !path_belongs(&receiver->units[receiver->unit], relative)) {
        return ab_error_set(error, AB_CORRUPT, "a file that is not of it: %.200s", relative);
    }
    AB_TRY(file_place_prepare(receiver, relative, error));
    receiver->paths = ab_renew_bytes(receiver->paths, (receiver->paths_count + 1) * sizeof receiver->paths[0]);
    receiver->paths[receiver->paths_count++] = ab_new_text(relative);
    char *path = arriving_path(receiver, relative);
    ab_err err = ab_file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640, &receiver->fd, error);
    ab_delete(path);
    ab_hash_stream_destroy(receiver->hash);
    receiver->hash = ab_hash_stream_create(AB_HASH_CONTENT);
    receiver->bytes = 0;
    return err;
}

static ab_err file_data(struct ab_copy_receiver *receiver, struct ab_bytes data, struct ab_error *error)
{
    if (receiver->fd < 0) {
        return ab_error_set(error, AB_CORRUPT, "bytes of no file");
    }
    ab_err err = ab_file_write_at(receiver->fd, data, receiver->bytes);
    if (err != AB_OK) {
        return ab_error_set(error, err, "%s: %s", receiver->paths[receiver->paths_count - 1], ab_err_text(err));
    }
    ab_hash_stream_update(receiver->hash, data);
    receiver->bytes += data.bytes;
    return AB_OK;
}

static ab_err file_end(
    struct ab_copy_receiver *receiver, uint64_t bytes, struct ab_hash128 hash, struct ab_error *error)
{
    if (receiver->fd < 0) {
        return ab_error_set(error, AB_CORRUPT, "the end of no file");
    }
    const char *relative = receiver->paths[receiver->paths_count - 1];
    if (receiver->bytes != bytes || !ab_hash128_equal(ab_hash_stream_digest(receiver->hash), hash)) {
        return ab_error_set(error, AB_CORRUPT, "%s: what came is not what was sent", relative);
    }
    ab_err err = ab_file_sync(receiver->fd);
    ab_file_close(&receiver->fd);
    return err == AB_OK ? AB_OK : ab_error_set(error, err, "%s cannot be synced", relative);
}

/* One frame of the unit that is arriving; its own errors refuse the unit. */
static ab_err frame_do(
    struct ab_copy_receiver *receiver, uint8_t kind, struct ab_reader *reader, struct ab_error *error)
{
    struct ab_error detail = {0};
    struct ab_bytes blob = {0};
    uint64_t bytes = 0;
    struct ab_hash128 hash = {0};
    if (kind == AB_COPY_FILE || kind == AB_COPY_DATA) {
        blob = ab_reader_blob(reader);
    } else if (kind == AB_COPY_FILE_END) {
        bytes = ab_reader_u64(reader);
        hash.low = ab_reader_u64(reader);
        hash.high = ab_reader_u64(reader);
    }
    if (reader->has_failed || (kind == AB_COPY_FILE && blob.bytes > PATH_BYTES_MAX)) {
        return ab_error_set(error, AB_CORRUPT, "a frame of a copy is malformed");
    }
    if (kind == AB_COPY_DONE) {
        unit_done(receiver);
        return AB_OK;
    }
    ab_err err = AB_OK;
    if (kind == AB_COPY_GIVEN_UP) {
        err = ab_error_set(&detail, AB_IO, "its source could not read it");
    } else if (receiver->is_refused) {
        return AB_OK;
    } else if (kind == AB_COPY_FILE) {
        char *path = ab_new_format("%.*s", (int)blob.bytes, (const char *)blob.data);
        err = file_begin(receiver, path, &detail);
        ab_delete(path);
    } else {
        err = kind == AB_COPY_DATA ? file_data(receiver, blob, &detail) : file_end(receiver, bytes, hash, &detail);
    }
    if (err != AB_OK && !receiver->is_refused) {
        unit_refuse(receiver, &detail);
    }
    if (kind == AB_COPY_GIVEN_UP) {
        unit_leave(receiver);
    }
    return AB_OK;
}

ab_err ab_copy_receiver_take(struct ab_copy_receiver *receiver, struct ab_bytes frames, struct ab_error *error)
{
    struct ab_reader reader = ab_reader_of(frames);
    while (ab_reader_left(&reader) > 0) {
        uint8_t kind = ab_reader_u8(&reader);
        uint64_t unit = ab_reader_varint(&reader);
        bool is_right = !reader.has_failed && kind >= AB_COPY_FILE && kind <= AB_COPY_GIVEN_UP &&
                        unit < receiver->units_count && (receiver->unit == NO_UNIT || receiver->unit == unit);
        if (!is_right) {
            return ab_error_set(error, AB_CORRUPT, "a frame of a copy is malformed or out of turn");
        }
        receiver->unit = (uint32_t)unit;
        AB_TRY(frame_do(receiver, kind, &reader, error));
    }
    return AB_OK;
}
