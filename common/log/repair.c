#include "common/log/repair.h"

#include "common/log/aside.h"
#include "common/log/damage.h"
#include "common/log/recover.h"
#include "common/log/segment.h"

#include "common/base/file.h"
#include "common/base/logging.h"

#include <fcntl.h>
#include <inttypes.h>

enum { REPAIR_SEGMENTS_READ_WHOLE = 2, REPAIR_SEARCH_BYTES = 1 << 20 };

/* The walk so far. */
struct walk {
    const struct ab_log_options *options; /* borrowed */
    struct ab_watermark *watermark;       /* borrowed */
    uint64_t next_offset;
    uint64_t durable_offset; /* records below it were synced on this disk */
    struct ab_hash128 chain; /* of the record before, when known */
    bool is_chain_known;
    struct ab_epochs *epochs;   /* borrowed from the result */
    struct ab_log_index *marks; /* borrowed from the result */
    bool has_last;              /* a record was accepted; the two below are about it */
    size_t last_index;          /* its segment */
    uint64_t last_position;     /* its byte there */
    struct ab_hash128 last_previous_chain;
    size_t index;         /* of the segment at hand */
    uint64_t position;    /* of the bad place there, once something is corrupt */
    uint64_t later_until; /* behind the last valid record of that segment behind the bad place; 0 = none */
    bool is_foreign;      /* the very first record is another log's */
};

void ab_repair_result_fini(struct ab_repair_result *result)
{
    ab_delete(result->first_offsets);
    ab_epochs_fini(&result->epochs);
    ab_log_index_fini(&result->index);
    *result = (struct ab_repair_result){0};
}

/* AB_MISMATCH unless the header, valid in itself, is what must come next. */
static ab_err header_check(struct walk *walk, const struct ab_record_header *header)
{
    bool is_ours = header->partition == walk->options->partition &&
                   memcmp(header->cluster_id, walk->options->cluster_id, sizeof(header->cluster_id)) == 0;
    walk->is_foreign = !is_ours && !walk->has_last;
    bool is_linked = !walk->is_chain_known || ab_hash128_equal(header->previous_chain, walk->chain);
    bool is_next = header->offset == walk->next_offset && header->durable_offset <= header->offset;
    bool is_rising = ab_epochs_may_add(walk->epochs, header->leader_epoch);
    return is_ours && is_linked && is_next && is_rising ? AB_OK : AB_MISMATCH;
}

static void header_accept(struct walk *walk, const struct ab_record_header *header, uint64_t position)
{
    walk->has_last = true;
    ab_log_index_note(walk->marks, header->offset, position);
    walk->last_index = walk->index;
    walk->last_position = position;
    walk->last_previous_chain = header->previous_chain;
    walk->next_offset = header->offset + 1;
    ab_epochs_add(walk->epochs, header->leader_epoch, header->offset);
}

/* Walks the headers of a segment; AB_END at its proper end, else *valid_bytes tells where the bad place is. */
static ab_err headers_walk(struct walk *walk, struct ab_segment_scan *scan, uint64_t *valid_bytes)
{
    struct ab_record_header header;
    for (;;) {
        *valid_bytes = scan->position;
        AB_TRY(ab_segment_scan_skip(scan, &header));
        AB_TRY(header_check(walk, &header));
        header_accept(walk, &header, *valid_bytes);
        walk->is_chain_known = false;
    }
}

/* Walks the whole records of a segment, like headers_walk. */
static ab_err records_walk(struct walk *walk, struct ab_segment_scan *scan, uint64_t *valid_bytes)
{
    struct ab_record record;
    for (;;) {
        *valid_bytes = scan->position;
        AB_TRY(ab_segment_scan_next(scan, &record));
        AB_TRY(header_check(walk, &record.header));
        header_accept(walk, &record.header, *valid_bytes);
        walk->chain = record.chain;
        walk->is_chain_known = true;
    }
}

/* Looks for valid records behind a bad place. */
static ab_err valid_after(struct walk *walk, int fd, uint64_t position, uint64_t file_bytes, bool *found)
{
    uint8_t *chunk = ab_new_bytes(REPAIR_SEARCH_BYTES + AB_RECORD_HEADER_BYTES);
    uint64_t left = file_bytes - position;
    size_t front = left < AB_RECORD_HEADER_BYTES ? (size_t)left : AB_RECORD_HEADER_BYTES;
    ab_err err = ab_file_read_at(fd, chunk, front, position);
    uint64_t at = ab_recover_search_start(ab_bytes_of(chunk, front), position);
    struct ab_recover_search search = {.cluster_id = walk->options->cluster_id,
        .partition = walk->options->partition,
        .offset_min = walk->next_offset,
        .offset_max = walk->next_offset + left / AB_RECORD_HEADER_BYTES};
    /* Chunks overlap by a header, so that none is missed at a seam. */
    for (; err == AB_OK && at < file_bytes; at += REPAIR_SEARCH_BYTES) {
        uint64_t wanted = file_bytes - at;
        size_t bytes = REPAIR_SEARCH_BYTES + AB_RECORD_HEADER_BYTES;
        bytes = wanted < bytes ? (size_t)wanted : bytes;
        err = ab_file_read_at(fd, chunk, bytes, at);
        if (err == AB_OK) {
            ab_recover_find(&search, ab_bytes_of(chunk, bytes));
        }
    }
    ab_delete(chunk);
    if (err == AB_OK) {
        *found = search.is_found;
        walk->later_until = search.highest == 0 ? 0 : search.highest + 1;
    }
    return err;
}

static ab_err torn_cut(
    const char *directory, uint64_t first_offset, int fd, const struct ab_recover_facts *facts, struct ab_error *error)
{
    uint64_t torn_bytes = facts->file_bytes - facts->valid_bytes;
    char *path = ab_aside_torn_path(directory, first_offset);
    ab_err err = ab_aside_copy(path, fd, facts->valid_bytes, torn_bytes, error);
    if (err == AB_OK || err == AB_NO_SPACE) { /* a full disk is no reason not to open: none of it was acknowledged */
        err = ab_segment_truncate(fd, facts->valid_bytes);
    }
    if (err != AB_OK) {
        (void)ab_error_wrap(error, err, "cut the torn tail of segment %020" PRIu64, first_offset);
    } else {
        ab_warn("torn log tail cut off", "%" PRIu64 " bytes behind offset %" PRIu64 " kept as %s", torn_bytes,
            facts->next_offset, path);
    }
    ab_delete(path);
    return err;
}

/* Says where it is corrupt. */
static ab_err corrupt_at(const char *directory, uint64_t first_offset, uint64_t position, uint64_t next_offset,
    ab_err err, struct ab_error *error)
{
    return ab_error_set(error, err == AB_UNSUPPORTED ? AB_UNSUPPORTED : AB_CORRUPT,
        "log %s: segment %020" PRIu64 ", byte %" PRIu64 ": record %" PRIu64 " is %s", directory, first_offset, position,
        next_offset, err == AB_UNSUPPORTED ? "of a newer format" : "corrupt");
}

/* Decides about a segment whose walk stopped at facts->valid_bytes with `err`. */
static ab_err segment_judge(struct walk *walk, const char *directory, uint64_t first_offset, int fd,
    struct ab_recover_facts *facts, ab_err err, struct ab_repair_result *result, struct ab_error *error)
{
    AB_TRY(ab_file_bytes(fd, &facts->file_bytes));
    facts->next_offset = walk->next_offset;
    facts->durable_offset = walk->durable_offset;
    if (err == AB_UNSUPPORTED) {
        return corrupt_at(directory, first_offset, facts->valid_bytes, walk->next_offset, err, error);
    }
    walk->position = facts->valid_bytes;
    if (facts->valid_bytes < facts->file_bytes) {
        AB_TRY(valid_after(walk, fd, facts->valid_bytes, facts->file_bytes, &facts->has_valid_after));
    }
    if (err == AB_MISMATCH) {
        facts->has_valid_after = true; /* a valid record, only not the one that belongs here */
    }
    switch (ab_recover_classify(facts)) {
    case AB_RECOVER_CLEAN:
        break;
    case AB_RECOVER_TORN:
        AB_TRY(torn_cut(directory, first_offset, fd, facts, error));
        result->torn_bytes = facts->file_bytes - facts->valid_bytes;
        break;
    case AB_RECOVER_CORRUPT:
        return corrupt_at(directory, first_offset, facts->valid_bytes, walk->next_offset, err, error);
    }
    result->last_bytes = facts->valid_bytes;
    return AB_OK;
}

/* Verifies one segment, cutting the torn tail of the last one. */
static ab_err segment_verify(
    struct walk *walk, const char *directory, size_t index, struct ab_repair_result *result, struct ab_error *error)
{
    uint64_t first_offset = result->first_offsets[index];
    size_t behind = result->segments_count - 1 - index;
    walk->index = index;
    walk->position = 0;
    walk->later_until = 0;
    if (walk->next_offset != first_offset) {
        return corrupt_at(directory, first_offset, 0, walk->next_offset, AB_CORRUPT, error);
    }
    /* That the segment exists says that everything before it was synced. */
    walk->durable_offset = first_offset;
    if (behind == 0 && walk->watermark->durable_offset > first_offset) {
        walk->durable_offset = walk->watermark->durable_offset;
    }
    char *path = ab_segment_path(directory, first_offset);
    int fd = -1;
    ab_err err = ab_file_open(path, O_RDWR, 0, &fd, error);
    ab_delete(path);
    AB_TRY(err);
    struct ab_segment_scan scan = {0};
    struct ab_recover_facts facts = {.is_last_segment = behind == 0};
    ab_segment_scan_seek(&scan, fd, 0);
    if (behind >= REPAIR_SEGMENTS_READ_WHOLE) {
        err = headers_walk(walk, &scan, &facts.valid_bytes);
    } else {
        err = records_walk(walk, &scan, &facts.valid_bytes);
    }
    if (err == AB_END || err == AB_CORRUPT || err == AB_UNSUPPORTED || err == AB_MISMATCH) {
        err = segment_judge(walk, directory, first_offset, fd, &facts, err, result, error);
    } else {
        (void)ab_error_set(
            error, err, "log %s: read segment %020" PRIu64 ": %s", directory, first_offset, ab_err_text(err));
    }
    ab_segment_scan_fini(&scan);
    ab_file_close(&fd);
    return err;
}

/* Starts at the log's first offset with what is known of the record before it. */
static void walk_begin(struct walk *walk, uint64_t first_offset)
{
    const struct ab_log_begin *begin = &walk->watermark->begin;
    walk->next_offset = first_offset;
    walk->is_chain_known = first_offset == 0; /* the first record's previous chain is zero */
    if (first_offset > 0 && begin->is_known && begin->offset == first_offset) {
        walk->chain = begin->chain;
        walk->is_chain_known = true;
        ab_epochs_set_floor(walk->epochs, begin->epoch, first_offset);
    }
}

/* Removes what a replacement of a small file left when the process was killed within it. */
static ab_err leftovers_remove(const char *directory, struct ab_error *error)
{
    char **names = NULL;
    size_t count = 0;
    AB_TRY(ab_file_list(directory, &names, &count, error));
    ab_err err = AB_OK;
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        if (strstr(names[i], ".new-") != NULL) {
            char *path = ab_new_format("%s/%s", directory, names[i]);
            err = ab_file_remove_tree(path, error);
            ab_delete(path);
        }
    }
    ab_file_names_free(names, count);
    return err;
}

/* Finds the chain before the bad place when only headers were read so far: the last record before it is read whole, and
 * is the bad place itself when that fails. */
static ab_err chain_find(
    struct walk *walk, const char *directory, const struct ab_repair_result *found, struct ab_error *error)
{
    if (walk->is_chain_known || !walk->has_last) {
        return AB_OK;
    }
    char *path = ab_segment_path(directory, found->first_offsets[walk->last_index]);
    int fd = -1;
    ab_err err = ab_file_open(path, O_RDONLY, 0, &fd, error);
    ab_delete(path);
    AB_TRY(err);
    struct ab_segment_scan scan = {0};
    struct ab_record record;
    ab_segment_scan_seek(&scan, fd, walk->last_position);
    err = ab_segment_scan_next(&scan, &record);
    walk->is_chain_known = true;
    if (err == AB_OK) {
        walk->chain = record.chain;
    } else {
        walk->chain = walk->last_previous_chain;
        walk->later_until = walk->index == walk->last_index ? walk->later_until : 0;
        walk->index = walk->last_index;
        walk->position = walk->last_position;
        walk->next_offset--;
        ab_epochs_truncate(walk->epochs, walk->next_offset);
        ab_log_index_truncate(walk->marks, walk->next_offset);
    }
    ab_segment_scan_fini(&scan);
    ab_file_close(&fd);
    return err == AB_CORRUPT ? AB_OK : err;
}

/* Goes on with what is good of a corrupt log. */
static ab_err damage_take(
    struct walk *walk, const char *directory, struct ab_repair_result *found, struct ab_error *error)
{
    AB_TRY(chain_find(walk, directory, found, error));
    struct ab_damage damage = {.first_offsets = found->first_offsets,
        .segments_count = found->segments_count,
        .segment_index = walk->index,
        .position = walk->position,
        .next_offset = walk->next_offset,
        .later_until = walk->later_until};
    AB_TRY(ab_damage_set_aside(directory, walk->options, &damage, walk->watermark, found->aside_name, error));
    bool is_whole = ab_damage_takes_segment(&damage);
    found->segments_count = walk->index + !is_whole;
    if (!is_whole) {
        found->last_bytes = walk->position;
        return AB_OK;
    }
    char *path = ab_segment_path(directory, found->first_offsets[walk->index - 1]);
    int fd = -1;
    ab_err err = ab_file_open(path, O_RDONLY, 0, &fd, error);
    ab_delete(path);
    AB_TRY(err);
    err = ab_file_bytes(fd, &found->last_bytes);
    ab_file_close(&fd);
    return err;
}

/* Every segment is gone though something had been synced: the log goes on empty where it began. */
static ab_err all_lost(struct walk *walk, const char *directory, struct ab_repair_result *found, struct ab_error *error)
{
    struct ab_watermark *watermark = walk->watermark;
    if (!walk->options->is_setting_aside_corrupt) {
        return ab_error_set(error, AB_CORRUPT, "log %s: %" PRIu64 " records were synced and every segment is gone",
            directory, watermark->durable_offset);
    }
    struct ab_watermark lowered = *watermark;
    uint64_t first_offset = lowered.begin.is_known ? lowered.begin.offset : 0;
    if (lowered.damaged_until < lowered.durable_offset) {
        lowered.damaged_until = lowered.durable_offset;
    }
    lowered.durable_offset = first_offset;
    AB_TRY(ab_watermark_store(directory, walk->options, &lowered, error));
    *watermark = lowered;
    found->end_offset = first_offset;
    walk_begin(walk, first_offset);
    return AB_OK;
}

/* What is known to be missing is refused unless the caller will fetch it. */
static ab_err missing_check(
    const struct walk *walk, const char *directory, uint64_t start_offset, struct ab_error *error)
{
    if (walk->options->is_setting_aside_corrupt) {
        return AB_OK;
    }
    if (walk->watermark->damaged_until > walk->next_offset) {
        return ab_error_set(error, AB_CORRUPT,
            "log %s: records %" PRIu64 " to %" PRIu64 " were lost to corruption and not fetched again", directory,
            walk->next_offset, walk->watermark->damaged_until);
    }
    if (walk->next_offset == start_offset && !walk->is_chain_known) {
        return ab_error_set(
            error, AB_CORRUPT, "log %s: nothing says what came before record %" PRIu64, directory, walk->next_offset);
    }
    return AB_OK;
}

/* Verifies segment after segment. */
static ab_err segments_verify(
    struct walk *walk, const char *directory, struct ab_repair_result *found, struct ab_error *error)
{
    if (found->segments_count == 0) {
        walk->is_chain_known = true;
        return walk->watermark->durable_offset > 0 ? all_lost(walk, directory, found, error) : AB_OK;
    }
    struct ab_error detail = {0};
    ab_err err = AB_OK;
    walk_begin(walk, found->first_offsets[0]);
    for (size_t i = 0; err == AB_OK && i < found->segments_count; i++) {
        err = segment_verify(walk, directory, i, found, &detail);
    }
    if (err == AB_CORRUPT && walk->options->is_setting_aside_corrupt && !walk->is_foreign) {
        ab_warn("log is corrupt", "%s", detail.text);
        return damage_take(walk, directory, found, error);
    }
    if (err != AB_OK && error != NULL) {
        *error = detail;
    }
    return err;
}

ab_err ab_repair_directory(const char *directory, const struct ab_log_options *options, struct ab_watermark *watermark,
    struct ab_repair_result *result, struct ab_error *error)
{
    struct ab_repair_result found = {0};
    struct walk walk = {.options = options, .watermark = watermark, .epochs = &found.epochs, .marks = &found.index};
    AB_TRY(leftovers_remove(directory, error));
    ab_err err = AB_OK;
    if (watermark->is_resetting) {
        err = ab_damage_finish_reset(directory, options, watermark, error);
    }
    if (err == AB_OK) {
        err = ab_segment_list(directory, &found.first_offsets, &found.segments_count, error);
    }
    if (err == AB_OK) {
        err = segments_verify(&walk, directory, &found, error);
    }
    if (err == AB_OK) {
        uint64_t start_offset = found.segments_count == 0 ? walk.next_offset : found.first_offsets[0];
        err = missing_check(&walk, directory, start_offset, error);
    }
    if (err != AB_OK) {
        ab_repair_result_fini(&found);
        return err;
    }
    found.end_offset = walk.next_offset;
    found.chain = walk.chain;
    found.is_chain_known = walk.is_chain_known;
    *result = found;
    return AB_OK;
}
