#include "common/store/partition_state.h"

#include "common/store/rocks.h"

#include "common/base/assert.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { STATE_BLOCK_BYTES = 4096 };

static const char tables_name[] = "tables";
static const char default_name[] = "default";
static const char span_prefix[] = "span-";

/* A family's handle, shared by the list and by whoever reads it. */
struct family {
    rocksdb_column_family_handle_t *handle; /* owned; destroyed with the last reference */
    uint64_t span;
    size_t references; /* guarded by list_lock */
};

struct ab_partition_state {
    char *directory; /* owned */
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read_options;
    rocksdb_t *database;
    rocksdb_column_family_handle_t *default_handle; /* owned; nothing is kept in it */
    struct ab_lock change_lock; /* held while ingesting, creating and dropping: they exclude each other */
    struct ab_lock list_lock;   /* the list and reference counts; taken after change_lock, never held over a call */
    struct family **families;   /* guarded by list_lock; rising by span */
    size_t families_count;      /* guarded by list_lock */
    size_t handles_count;       /* guarded by list_lock; families alive, listed or still read */
    _Atomic uint64_t staged;    /* atomic: numbers staged files */
    atomic_bool is_condemned;   /* atomic */
};

struct ab_state_iterator {
    struct ab_partition_state *state; /* borrowed */
    struct family *family;            /* one reference */
    struct ab_rocks_scan scan;
};

/* ---- families ---- */

static char *family_name(uint64_t span)
{
    return span == AB_STATE_TABLES ? ab_new_text(tables_name) : ab_new_format("%s%" PRIu64, span_prefix, span);
}

/* The span that a family's name says; false for a name that is not ours. */
static bool family_name_parse(const char *name, uint64_t *span)
{
    size_t prefix = strlen(span_prefix);
    if (strcmp(name, tables_name) == 0) {
        *span = AB_STATE_TABLES;
        return true;
    }
    const char *digits = name + prefix;
    if (strncmp(name, span_prefix, prefix) != 0 || *digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') {
        return false;
    }
    errno = 0;
    *span = strtoull(digits, NULL, 10);
    return errno == 0 && *span > 0;
}

/* Where a span is in the list, or would be. */
static size_t family_place_locked(const struct ab_partition_state *state, uint64_t span)
{
    size_t place = 0;
    while (place < state->families_count && state->families[place]->span < span) {
        place++;
    }
    return place;
}

static void family_insert(struct ab_partition_state *state, uint64_t span, rocksdb_column_family_handle_t *handle)
{
    struct family *family = ab_new(struct family);
    *family = (struct family){.handle = handle, .span = span, .references = 1};
    ab_lock_take(&state->list_lock);
    size_t place = family_place_locked(state, span);
    state->families = ab_renew_bytes(state->families, (state->families_count + 1) * sizeof(*state->families));
    memmove(state->families + place + 1, state->families + place,
        (state->families_count - place) * sizeof(*state->families));
    state->families[place] = family;
    state->families_count++;
    state->handles_count++;
    ab_lock_give(&state->list_lock);
}

/* A counted reference to a span's family; NULL when there is none. */
static struct family *family_acquire(struct ab_partition_state *state, uint64_t span)
{
    struct family *family = NULL;
    ab_lock_take(&state->list_lock);
    size_t place = family_place_locked(state, span);
    if (place < state->families_count && state->families[place]->span == span) {
        family = state->families[place];
        family->references++;
    }
    ab_lock_give(&state->list_lock);
    return family;
}

static void family_release(struct ab_partition_state *state, struct family *family)
{
    ab_lock_take(&state->list_lock);
    bool is_last = --family->references == 0;
    state->handles_count -= is_last;
    ab_lock_give(&state->list_lock);
    if (is_last) {
        rocksdb_column_family_handle_destroy(family->handle);
        ab_delete(family);
    }
}

/* Takes a span's family off the list; its reference passes to the caller. */
static struct family *family_remove(struct ab_partition_state *state, uint64_t span)
{
    struct family *family = NULL;
    ab_lock_take(&state->list_lock);
    size_t place = family_place_locked(state, span);
    if (place < state->families_count && state->families[place]->span == span) {
        family = state->families[place];
        state->families_count--;
        memmove(state->families + place, state->families + place + 1,
            (state->families_count - place) * sizeof(*state->families));
    }
    ab_lock_give(&state->list_lock);
    return family;
}

static ab_err absent(const struct ab_partition_state *state, uint64_t span, struct ab_error *error)
{
    return ab_error_set(error, AB_NOT_FOUND, "state %s has no span %" PRIu64, state->directory, span);
}

/* ---- opening ---- */

/* Families on disk; the list of a new database. Freed with families_free. */
static size_t families_list(const char *path, const rocksdb_options_t *options, char ***names)
{
    char *message = NULL;
    size_t count = 0;
    char **listed = rocksdb_list_column_families(options, path, &count, &message);
    *names = ab_new_array(char *, count + 2);
    for (size_t i = 0; i < count; i++) {
        (*names)[i] = ab_new_text(listed[i]);
    }
    rocksdb_list_column_families_destroy(listed, count);
    rocksdb_free(message); /* when it cannot be listed, opening says what is wrong */
    if (count == 0) {
        (*names)[count++] = ab_new_text(default_name);
    }
    bool has_tables = false;
    for (size_t i = 0; i < count; i++) {
        has_tables = has_tables || strcmp((*names)[i], tables_name) == 0;
    }
    if (!has_tables) {
        (*names)[count++] = ab_new_text(tables_name);
    }
    return count;
}

static void families_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ab_delete(names[i]);
    }
    ab_delete(names);
}

/* Takes over the handles that opening gave. */
static void handles_take(
    struct ab_partition_state *state, char **names, rocksdb_column_family_handle_t **handles, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t span = 0;
        if (family_name_parse(names[i], &span)) {
            family_insert(state, span, handles[i]);
        } else if (strcmp(names[i], default_name) == 0) {
            state->default_handle = handles[i];
        } else {
            rocksdb_column_family_handle_destroy(handles[i]);
        }
    }
}

/* What a failed opening means: whatever is not a matter of locks, space or descriptors is a database to be rebuilt. */
static ab_err open_failed(char *message, const char *directory, struct ab_error *error)
{
    bool is_environment = strstr(message, "Too many open files") != NULL ||
                          strstr(message, "Permission denied") != NULL || strstr(message, "Read-only file") != NULL;
    ab_err err = ab_rocks_error(message, "open", error);
    if (err == AB_IO && !is_environment) {
        err = AB_CORRUPT;
    }
    return ab_error_wrap(error, err, "state %s", directory);
}

static ab_err database_open(struct ab_partition_state *state, struct ab_error *error)
{
    char *path = ab_new_format("%s/db", state->directory);
    char **names = NULL;
    size_t count = families_list(path, state->options, &names);
    rocksdb_column_family_handle_t **handles = ab_new_array(rocksdb_column_family_handle_t *, count);
    const rocksdb_options_t **options = ab_new_array(const rocksdb_options_t *, count);
    for (size_t i = 0; i < count; i++) {
        options[i] = state->options;
    }
    char *message = NULL;
    state->database = rocksdb_open_column_families(
        state->options, path, (int)count, (const char *const *)names, options, handles, &message);
    ab_err err = AB_OK;
    if (message != NULL) {
        state->database = NULL;
        err = open_failed(message, state->directory, error);
    } else {
        handles_take(state, names, handles, count);
    }
    ab_delete(options);
    ab_delete(handles);
    families_free(names, count);
    ab_delete(path);
    return err;
}

/* Empties the staging folder of what a crash left, and makes it. */
static ab_err staging_sweep(struct ab_partition_state *state, struct ab_error *error)
{
    char *staging = ab_new_format("%s/staging", state->directory);
    ab_err err = ab_file_remove_tree(staging, error);
    if (err == AB_OK) {
        err = ab_file_make_directory(staging, 0700, error);
    }
    ab_delete(staging);
    return err;
}

/* ---- damage ---- */

static char *condemned_path(const char *directory)
{
    return ab_new_format("%s/condemned", directory);
}

/* AB_CORRUPT when an earlier process read what had not been written. */
static ab_err condemned_check(const char *directory, struct ab_error *error)
{
    char *path = condemned_path(directory);
    bool is_condemned = ab_file_exists(path);
    ab_delete(path);
    return is_condemned ? ab_error_set(error, AB_CORRUPT, "state %s was found damaged when it was read", directory)
                        : AB_OK;
}

/* Passes an error on; condemns the state when it is of damage. */
static ab_err failed(
    struct ab_partition_state *state, ab_err err, const struct ab_error *detail, struct ab_error *error)
{
    bool is_damage = err == AB_CORRUPT && strstr(detail->text, "merge") == NULL;
    if (is_damage && !atomic_exchange(&state->is_condemned, true)) {
        struct ab_error ignored = {0};
        char *path = condemned_path(state->directory);
        if (ab_file_replace(path, ab_bytes_of_text(detail->text), 0600, &ignored) != AB_OK) {
            ab_warn("damaged state not marked", "%s", ignored.text);
        }
        ab_delete(path);
    }
    return ab_error_set(error, err, "%s", detail->text);
}

bool ab_partition_state_is_condemned(const struct ab_partition_state *state)
{
    return atomic_load(&state->is_condemned);
}

ab_err ab_partition_state_open(const char *directory, const struct ab_partition_state_options *options,
    struct ab_partition_state **state, struct ab_error *error)
{
    struct ab_partition_state *opened = ab_new(struct ab_partition_state);
    opened->directory = ab_new_text(directory);
    ab_lock_init(&opened->change_lock);
    ab_lock_init(&opened->list_lock);
    opened->read_options = rocksdb_readoptions_create();
    opened->options = ab_rocks_options(options->cache);
    ab_rocks_options_table(opened->options, options->cache, STATE_BLOCK_BYTES);
    ab_rocks_options_state(opened->options);
    rocksdb_options_set_create_if_missing(opened->options, 1);
    rocksdb_options_set_create_missing_column_families(opened->options, 1);
    rocksdb_options_set_merge_operator(
        opened->options, ab_rocks_merge_operator(options->merge, options->merge_context));
    ab_err err = ab_file_make_directory(directory, 0700, error);
    if (err == AB_OK) {
        err = condemned_check(directory, error);
    }
    if (err == AB_OK) {
        err = database_open(opened, error);
    }
    if (err == AB_OK) {
        err = staging_sweep(opened, error);
    }
    if (err != AB_OK) {
        ab_partition_state_close(opened);
        return err;
    }
    *state = opened;
    return AB_OK;
}

void ab_partition_state_close(struct ab_partition_state *state)
{
    if (state == NULL) {
        return;
    }
    while (state->families_count > 0) {
        family_release(state, family_remove(state, state->families[0]->span));
    }
    AB_ASSERT(state->handles_count == 0); /* no iterator may outlive the state */
    if (state->default_handle != NULL) {
        rocksdb_column_family_handle_destroy(state->default_handle);
    }
    if (state->database != NULL) {
        rocksdb_cancel_all_background_work(state->database, 1);
        rocksdb_close(state->database);
    }
    rocksdb_readoptions_destroy(state->read_options);
    rocksdb_options_destroy(state->options);
    ab_lock_fini(&state->change_lock);
    ab_lock_fini(&state->list_lock);
    ab_delete(state->families);
    ab_delete(state->directory);
    ab_delete(state);
}

/* ---- spans ---- */

static ab_err span_create_locked(struct ab_partition_state *state, uint64_t span, struct ab_error *error)
{
    struct family *present = family_acquire(state, span);
    if (present != NULL) {
        family_release(state, present);
        return AB_OK;
    }
    char *name = family_name(span);
    char *message = NULL;
    rocksdb_column_family_handle_t *handle =
        rocksdb_create_column_family(state->database, state->options, name, &message);
    ab_delete(name);
    if (message != NULL) {
        return ab_rocks_error(message, "create a span", error);
    }
    family_insert(state, span, handle);
    return AB_OK;
}

ab_err ab_partition_state_span_create(struct ab_partition_state *state, uint64_t span, struct ab_error *error)
{
    ab_lock_take(&state->change_lock);
    ab_err err = span_create_locked(state, span, error);
    ab_lock_give(&state->change_lock);
    return err;
}

static ab_err span_drop_locked(struct ab_partition_state *state, uint64_t span, struct ab_error *error)
{
    struct family *family = family_acquire(state, span);
    if (family == NULL) {
        return AB_OK;
    }
    char *message = NULL;
    rocksdb_drop_column_family(state->database, family->handle, &message);
    if (message == NULL) {
        family_release(state, family_remove(state, span));
    }
    family_release(state, family);
    return message == NULL ? AB_OK : ab_rocks_error(message, "drop a span", error);
}

ab_err ab_partition_state_span_drop(struct ab_partition_state *state, uint64_t span, struct ab_error *error)
{
    if (span == AB_STATE_TABLES) {
        return ab_error_set(error, AB_USAGE, "the family of tables is never dropped");
    }
    ab_lock_take(&state->change_lock);
    ab_err err = span_drop_locked(state, span, error);
    ab_lock_give(&state->change_lock);
    return err;
}

void ab_partition_state_spans(struct ab_partition_state *state, uint64_t **spans, size_t *count)
{
    ab_lock_take(&state->list_lock);
    uint64_t *found = ab_new_array(uint64_t, state->families_count + 1);
    size_t found_count = 0;
    for (size_t i = 0; i < state->families_count; i++) {
        if (state->families[i]->span != AB_STATE_TABLES) {
            found[found_count++] = state->families[i]->span;
        }
    }
    ab_lock_give(&state->list_lock);
    *spans = found;
    *count = found_count;
}

ab_err ab_partition_state_clear(struct ab_partition_state *state, struct ab_error *error)
{
    uint64_t *spans = NULL;
    size_t count = 0;
    ab_partition_state_spans(state, &spans, &count);
    ab_lock_take(&state->change_lock);
    ab_err err = span_drop_locked(state, AB_STATE_TABLES, error);
    for (size_t i = 0; i < count && err == AB_OK; i++) {
        err = span_drop_locked(state, spans[i], error);
    }
    if (err == AB_OK) {
        err = span_create_locked(state, AB_STATE_TABLES, error);
    }
    ab_lock_give(&state->change_lock);
    ab_delete(spans);
    return err;
}

/* ---- ingesting ---- */

char *ab_partition_state_stage(struct ab_partition_state *state)
{
    return ab_new_format("%s/staging/%" PRIu64 ".sst", state->directory, atomic_fetch_add(&state->staged, 1));
}

ab_err ab_partition_state_ingest(
    struct ab_partition_state *state, uint64_t span, const char *path, struct ab_error *error)
{
    ab_lock_take(&state->change_lock);
    struct family *family = family_acquire(state, span);
    char *message = NULL;
    if (family != NULL) {
        rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
        rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
        rocksdb_ingest_external_file_cf(state->database, family->handle, &path, 1, options, &message);
        rocksdb_ingestexternalfileoptions_destroy(options);
    }
    ab_lock_give(&state->change_lock);
    if (family == NULL) {
        return absent(state, span, error);
    }
    family_release(state, family);
    if (message == NULL) {
        return AB_OK;
    }
    (void)unlink(path); /* it is staged anew when it is tried again: on a full disk leftovers would pile up */
    struct ab_error detail = {0};
    ab_err err = ab_rocks_error(message, "ingest", &detail);
    return failed(state, err, &detail, error);
}

uint64_t ab_partition_state_files(struct ab_partition_state *state, uint64_t span)
{
    struct family *family = family_acquire(state, span);
    if (family == NULL) {
        return 0;
    }
    uint64_t count = 0;
    (void)rocksdb_property_int_cf(state->database, family->handle, "rocksdb.num-files-at-level0", &count);
    family_release(state, family);
    return count;
}

/* ---- reading ---- */

ab_err ab_partition_state_get(
    struct ab_partition_state *state, uint64_t span, struct ab_bytes key, struct ab_buffer *out, struct ab_error *error)
{
    struct family *family = family_acquire(state, span);
    if (family == NULL) {
        return absent(state, span, error);
    }
    char *message = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(
        state->database, state->read_options, family->handle, (const char *)key.data, key.bytes, &message);
    ab_err err = AB_NOT_FOUND;
    if (message != NULL) {
        struct ab_error detail = {0};
        err = ab_rocks_error(message, "get", &detail);
        (void)failed(state, err, &detail, error); /* the same code */
    } else if (slice != NULL) {
        size_t bytes = 0;
        const char *value = rocksdb_pinnableslice_value(slice, &bytes);
        ab_buffer_put(out, value, bytes);
        rocksdb_pinnableslice_destroy(slice);
        err = ab_buffer_finish(out);
    }
    family_release(state, family);
    return err;
}

bool ab_partition_state_is_healthy(struct ab_partition_state *state, struct ab_error *error)
{
    uint64_t errors = 0;
    (void)rocksdb_property_int(state->database, "rocksdb.background-errors", &errors);
    if (errors > 0) {
        (void)ab_error_set(error, AB_IO, "state %s: RocksDB counts %" PRIu64 " background errors (its LOG has more)",
            state->directory, errors);
    }
    return errors == 0;
}

ab_err ab_state_iterator_open(struct ab_partition_state *state, uint64_t span, struct ab_bytes from,
    struct ab_bytes until, struct ab_state_iterator **iterator, struct ab_error *error)
{
    struct family *family = family_acquire(state, span);
    if (family == NULL) {
        return absent(state, span, error);
    }
    struct ab_state_iterator *opened = ab_new(struct ab_state_iterator);
    opened->state = state;
    opened->family = family;
    ab_rocks_scan_open(&opened->scan, state->database, family->handle, from, until);
    *iterator = opened;
    return AB_OK;
}

void ab_state_iterator_close(struct ab_state_iterator *iterator)
{
    if (iterator == NULL) {
        return;
    }
    ab_rocks_scan_close(&iterator->scan);
    family_release(iterator->state, iterator->family);
    ab_delete(iterator);
}

ab_err ab_state_iterator_next(
    struct ab_state_iterator *iterator, struct ab_bytes *key, struct ab_bytes *value, struct ab_error *error)
{
    struct ab_error detail = {0};
    ab_err err = ab_rocks_scan_next(&iterator->scan, key, value, &detail);
    return err == AB_OK || err == AB_END ? err : failed(iterator->state, err, &detail, error);
}

void ab_state_iterator_seek(struct ab_state_iterator *iterator, struct ab_bytes key)
{
    ab_rocks_scan_seek(&iterator->scan, key);
}
