#include "common/coordination/journal.h"

#include "common/base/file.h"
#include "common/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    JOURNAL_HEADER_BYTES = 32,
    JOURNAL_ALIGNMENT = 8,
    JOURNAL_PAYLOAD_HASH_AT = 16,
    JOURNAL_HEADER_HASH_AT = 24,
    JOURNAL_TRANSACTION = 1,
    JOURNAL_TREE = 2,
    JOURNAL_BYTES_MIN = 1 << 20,
    JOURNAL_GROWTH = 4,
    JOURNAL_EFFECT_BYTES_MIN = 1 + 1 + 1 + 8,
};

/* A tree of the largest size, with room for the fixed part of its nodes. */
#define JOURNAL_PAYLOAD_BYTES_MAX (2u * AB_COORDINATION_TREE_BYTES_MAX)

static const uint8_t journal_magic[4] = {'A', 'B', 'J', '1'};

static size_t record_bytes(size_t payload_bytes)
{
    size_t bytes = JOURNAL_HEADER_BYTES + payload_bytes;
    return (bytes + JOURNAL_ALIGNMENT - 1) / JOURNAL_ALIGNMENT * JOURNAL_ALIGNMENT;
}

/* ---- records ---- */

/* Reads and checks a header alone. */
static ab_err header_decode(struct ab_bytes bytes, uint32_t *payload_bytes, uint64_t *revision)
{
    if (bytes.bytes < JOURNAL_HEADER_BYTES) {
        return AB_END;
    }
    struct ab_reader reader = ab_reader_of(bytes);
    const uint8_t *magic = ab_reader_bytes(&reader, sizeof(journal_magic)).data;
    uint32_t payload = ab_reader_u32(&reader);
    uint64_t after = ab_reader_u64(&reader);
    (void)ab_reader_u64(&reader);
    bool is_whole =
        ab_reader_u64(&reader) == ab_hash64(AB_HASH_CONTENT, ab_bytes_of(bytes.data, JOURNAL_HEADER_HASH_AT));
    if (!is_whole || memcmp(magic, journal_magic, 3) != 0 || payload > JOURNAL_PAYLOAD_BYTES_MAX) {
        return AB_CORRUPT;
    }
    if (magic[3] != journal_magic[3]) {
        return AB_UNSUPPORTED;
    }
    *payload_bytes = payload;
    *revision = after;
    return AB_OK;
}

/* True when a valid header starts at a multiple of the alignment. */
static bool header_is_in(struct ab_bytes bytes)
{
    uint32_t payload_bytes = 0;
    uint64_t revision = 0;
    for (size_t at = 0; at + JOURNAL_HEADER_BYTES <= bytes.bytes; at += JOURNAL_ALIGNMENT) {
        if (memcmp(bytes.data + at, journal_magic, sizeof(journal_magic)) == 0 &&
            header_decode(ab_bytes_of(bytes.data + at, bytes.bytes - at), &payload_bytes, &revision) == AB_OK) {
            return true;
        }
    }
    return false;
}

static bool payload_is_whole(struct ab_bytes record, size_t payload_bytes)
{
    struct ab_reader hash = ab_reader_of(ab_bytes_of(record.data + JOURNAL_PAYLOAD_HASH_AT, 8));
    struct ab_bytes payload = ab_bytes_of(record.data + JOURNAL_HEADER_BYTES, payload_bytes);
    for (size_t i = JOURNAL_HEADER_BYTES + payload_bytes; i < record.bytes; i++) {
        if (record.data[i] != 0) {
            return false;
        }
    }
    return ab_reader_u64(&hash) == ab_hash64(AB_HASH_CONTENT, payload);
}

ab_err ab_journal_record_decode(struct ab_bytes bytes, struct ab_journal_record *record)
{
    if (bytes.bytes == 0) {
        return AB_END;
    }
    uint32_t payload_bytes = 0;
    uint64_t revision = 0;
    ab_err err = header_decode(bytes, &payload_bytes, &revision);
    if (err == AB_UNSUPPORTED) {
        return err;
    }
    if (err != AB_OK) {
        bool is_last = bytes.bytes < JOURNAL_ALIGNMENT ||
                       !header_is_in(ab_bytes_of(bytes.data + JOURNAL_ALIGNMENT, bytes.bytes - JOURNAL_ALIGNMENT));
        return is_last ? AB_AGAIN : AB_CORRUPT;
    }
    size_t whole = record_bytes(payload_bytes);
    if (whole > bytes.bytes) {
        return AB_AGAIN;
    }
    if (!payload_is_whole(ab_bytes_of(bytes.data, whole), payload_bytes)) {
        return whole == bytes.bytes ? AB_AGAIN : AB_CORRUPT;
    }
    *record = (struct ab_journal_record){
        .revision = revision, .payload = ab_bytes_of(bytes.data + JOURNAL_HEADER_BYTES, payload_bytes), .bytes = whole};
    return AB_OK;
}

static ab_err effect_apply(struct ab_reader *reader, struct ab_tree *tree, uint64_t revision)
{
    struct ab_tree_effect effect = {.kind = (enum ab_coordination_op_kind)ab_reader_u8(reader)};
    effect.path = ab_reader_blob(reader);
    effect.value = ab_reader_blob(reader);
    effect.owner = ab_reader_u64(reader);
    bool is_path = effect.path.bytes > 1 && memchr(effect.path.data, 0, effect.path.bytes) == NULL;
    bool is_kind = effect.kind >= AB_COORDINATION_CREATE && effect.kind <= AB_COORDINATION_DELETE;
    if (reader->has_failed || !is_path || !is_kind) {
        return AB_CORRUPT;
    }
    return ab_tree_apply(tree, &effect, revision) == AB_OK ? AB_OK : AB_CORRUPT;
}

ab_err ab_journal_record_apply(const struct ab_journal_record *record, bool is_first, struct ab_tree *tree)
{
    struct ab_reader reader = ab_reader_of(record->payload);
    uint8_t kind = ab_reader_u8(&reader);
    if (kind == JOURNAL_TREE && is_first) {
        AB_TRY(ab_tree_decode(ab_reader_bytes(&reader, ab_reader_left(&reader)), tree));
        return tree->revision == record->revision ? AB_OK : AB_CORRUPT;
    }
    if (kind != JOURNAL_TRANSACTION || record->revision != tree->revision + 1) {
        return AB_CORRUPT;
    }
    uint64_t count = ab_reader_varint(&reader);
    if (reader.has_failed || count > ab_reader_left(&reader) / JOURNAL_EFFECT_BYTES_MIN) {
        return AB_CORRUPT;
    }
    for (uint64_t i = 0; i < count; i++) {
        AB_TRY(effect_apply(&reader, tree, record->revision));
    }
    AB_TRY(ab_reader_finish(&reader));
    tree->revision = record->revision;
    return AB_OK;
}

static void record_encode(uint64_t revision, struct ab_bytes payload, struct ab_buffer *out)
{
    size_t start = out->bytes;
    size_t padding = record_bytes(payload.bytes) - JOURNAL_HEADER_BYTES - payload.bytes;
    ab_buffer_put(out, journal_magic, sizeof(journal_magic));
    ab_buffer_put_u32(out, (uint32_t)payload.bytes);
    ab_buffer_put_u64(out, revision);
    ab_buffer_put_u64(out, ab_hash64(AB_HASH_CONTENT, payload));
    if (!out->has_failed) {
        ab_buffer_put_u64(out, ab_hash64(AB_HASH_CONTENT, ab_bytes_of(out->data + start, JOURNAL_HEADER_HASH_AT)));
    }
    ab_buffer_put_bytes(out, payload);
    ab_buffer_put(out, (const uint8_t[JOURNAL_ALIGNMENT]){0}, padding);
}

void ab_journal_payload_begin(struct ab_buffer *payload, size_t effects_count)
{
    ab_buffer_put_u8(payload, JOURNAL_TRANSACTION);
    ab_buffer_put_varint(payload, effects_count);
}

void ab_journal_payload_add(struct ab_buffer *payload, const struct ab_tree_effect *effect)
{
    ab_buffer_put_u8(payload, (uint8_t)effect->kind);
    ab_buffer_put_blob(payload, effect->path);
    ab_buffer_put_blob(payload, effect->value);
    ab_buffer_put_u64(payload, effect->owner);
}

/* ---- the file ---- */

void ab_journal_init(struct ab_journal *journal, const char *directory)
{
    *journal = (struct ab_journal){.path = ab_new_format("%s/journal", directory), .fd = -1};
}

static void journal_reset(struct ab_journal *journal)
{
    ab_file_close(&journal->fd);
    ab_tree_fini(&journal->tree);
    journal->position = 0;
    journal->base_bytes = 0;
    journal->is_stale = false;
}

void ab_journal_fini(struct ab_journal *journal)
{
    if (journal->path != NULL) {
        journal_reset(journal);
        ab_delete(journal->path);
        journal->path = NULL;
    }
}

/* Sweeps what a process left that died while it replaced the journal. */
static void leftovers_remove(const char *directory)
{
    static const char prefix[] = "journal.new-";
    char **names = NULL;
    size_t count = 0;
    if (ab_file_list(directory, &names, &count, NULL) != AB_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], prefix, strlen(prefix)) == 0) {
            char *path = ab_new_format("%s/%s", directory, names[i]);
            (void)unlink(path); /* it only takes space */
            ab_delete(path);
        }
    }
    ab_file_names_free(names, count);
}

ab_err ab_journal_make(struct ab_journal *journal, const char *directory, struct ab_error *error)
{
    leftovers_remove(directory);
    if (ab_file_exists(journal->path)) {
        return AB_OK;
    }
    return ab_file_replace(journal->path, (struct ab_bytes){0}, 0600, error);
}

bool ab_journal_is_unchanged(const struct ab_journal *journal)
{
    struct stat status;
    return journal->fd >= 0 && !journal->is_stale && stat(journal->path, &status) == 0 &&
           status.st_ino == journal->inode && status.st_dev == journal->device &&
           (uint64_t)status.st_size == journal->position;
}

/* Opens the file anew when it was replaced, or when the tree is not what the file says. */
static ab_err journal_open(struct ab_journal *journal, struct ab_error *error)
{
    struct stat status;
    if (stat(journal->path, &status) != 0) {
        return ab_error_set(error, AB_IO, "coordination: %s: %s", journal->path, strerror(errno));
    }
    bool is_same = status.st_ino == journal->inode && status.st_dev == journal->device;
    if (journal->fd >= 0 && is_same && !journal->is_stale) {
        return AB_OK;
    }
    journal_reset(journal);
    AB_TRY(ab_file_open(journal->path, O_RDWR, 0, &journal->fd, error));
    if (fstat(journal->fd, &status) != 0) {
        return ab_error_set(error, AB_IO, "coordination: %s: %s", journal->path, strerror(errno));
    }
    journal->inode = status.st_ino;
    journal->device = status.st_dev;
    return AB_OK;
}

/* Applies the records in `tail`, which begins at journal->position. */
static ab_err tail_apply(struct ab_journal *journal, struct ab_bytes tail)
{
    struct ab_journal_record record;
    ab_err err;
    while ((err = ab_journal_record_decode(tail, &record)) == AB_OK) {
        bool is_first = journal->position == 0;
        err = ab_journal_record_apply(&record, is_first, &journal->tree);
        if (err != AB_OK) {
            break;
        }
        bool is_tree = record.payload.bytes > 0 && record.payload.data[0] == JOURNAL_TREE;
        journal->base_bytes = is_tree ? record.bytes : journal->base_bytes;
        journal->position += record.bytes;
        tail = ab_bytes_of(tail.data + record.bytes, tail.bytes - record.bytes);
    }
    return err == AB_END || err == AB_AGAIN ? AB_OK : err;
}

static ab_err tail_read(struct ab_journal *journal, uint64_t file_bytes)
{
    struct ab_buffer tail;
    ab_buffer_init(&tail, NULL, 0);
    size_t bytes = (size_t)(file_bytes - journal->position);
    uint8_t *at = ab_buffer_extend(&tail, bytes);
    ab_err err = at == NULL ? AB_FULL : ab_file_read_at(journal->fd, at, bytes, journal->position);
    uint64_t before = journal->position;
    if (err == AB_OK) {
        err = tail_apply(journal, ab_buffer_view(&tail));
    }
    if (err == AB_OK && journal->position > before) {
        err = ab_file_sync(journal->fd);
    }
    ab_buffer_fini(&tail);
    return err;
}

ab_err ab_journal_refresh(struct ab_journal *journal, struct ab_error *error)
{
    AB_TRY(journal_open(journal, error));
    uint64_t file_bytes = 0;
    ab_err err = ab_file_bytes(journal->fd, &file_bytes);
    if (err == AB_OK && file_bytes > journal->position) {
        err = tail_read(journal, file_bytes);
    } else if (err == AB_OK && file_bytes < journal->position) {
        err = AB_CORRUPT; /* what was acknowledged is gone */
    }
    if (err != AB_OK) {
        journal->is_stale = true;
        return ab_error_set(
            error, err, "coordination: %s, byte %" PRIu64 ": %s", journal->path, journal->position, ab_err_text(err));
    }
    return AB_OK;
}

/* ---- writing ---- */

static ab_err file_cut(int fd, uint64_t bytes)
{
    int result;
    do {
        result = ftruncate(fd, (off_t)bytes);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? AB_OK : AB_IO;
}

/* Writes at the end, over whatever a dead writer left there. */
static ab_err record_write(struct ab_journal *journal, struct ab_bytes record)
{
    uint64_t file_bytes = 0;
    AB_TRY(ab_file_bytes(journal->fd, &file_bytes));
    if (file_bytes > journal->position) {
        AB_TRY(file_cut(journal->fd, journal->position));
    }
    ab_err err = ab_file_write_at(journal->fd, record, journal->position);
    if (err == AB_NO_SPACE) {
        return file_cut(journal->fd, journal->position) == AB_OK ? AB_NO_SPACE : AB_IO;
    }
    AB_TRY(err);
    /* Whatever a failed sync says, full disk included, the record may be there: only AB_IO tells the truth. */
    return ab_file_sync(journal->fd) == AB_OK ? AB_OK : AB_IO;
}

/* Replaces a journal that has grown by one with the whole tree. Not doing it loses nothing. */
static void journal_compact(struct ab_journal *journal)
{
    uint64_t bound = journal->base_bytes * JOURNAL_GROWTH;
    if (journal->position < JOURNAL_BYTES_MIN || journal->position < bound) {
        return;
    }
    struct ab_buffer payload;
    struct ab_buffer record = {0};
    ab_buffer_init(&payload, NULL, JOURNAL_PAYLOAD_BYTES_MAX);
    ab_buffer_put_u8(&payload, JOURNAL_TREE);
    ab_tree_encode(&journal->tree, &payload);
    if (ab_buffer_finish(&payload) == AB_OK) {
        record_encode(journal->tree.revision, ab_buffer_view(&payload), &record);
    }
    if (record.bytes > 0 && ab_buffer_finish(&record) == AB_OK &&
        ab_file_replace(journal->path, ab_buffer_view(&record), 0600, NULL) != AB_OK) {
        journal->is_stale = true; /* either file may be there now, and both say the same */
    }
    ab_buffer_fini(&payload);
    ab_buffer_fini(&record);
}

ab_err ab_journal_append(struct ab_journal *journal, struct ab_bytes payload, struct ab_error *error)
{
    struct ab_buffer record = {0};
    record_encode(journal->tree.revision + 1, payload, &record);
    ab_err err = ab_buffer_finish(&record);
    if (err == AB_OK) {
        err = record_write(journal, ab_buffer_view(&record));
    }
    if (err == AB_OK) {
        journal->tree.revision++;
        journal->position += record.bytes;
        journal_compact(journal);
    } else {
        journal->is_stale = true;
        err = err == AB_NO_SPACE ? err : AB_IO;
        (void)ab_error_set(error, err, "coordination: append to %s: %s", journal->path, ab_err_text(err));
    }
    ab_buffer_fini(&record);
    return err;
}
