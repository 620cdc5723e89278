/* A replica whose log and tables do not say any more what its state is: all of it is kept aside, and it begins with
 * nothing but the knowledge of how much is missing. */
#include "speed/partition_private.h"

#include "common/base/file.h"

#define ASIDE_MAX 10000u

/* Below the partition's directory; freed with ab_delete. */
static char *path_of(const struct ab_partition *partition, const char *name)
{
    return ab_new_format("%s/%s", partition->options.directory, name);
}

/* The first number of which nothing was set aside yet. */
static uint32_t serial_free(const struct ab_partition *partition)
{
    for (uint32_t serial = 1; serial < ASIDE_MAX; serial++) {
        char *log = ab_new_format("%s.lost-%u", partition->log_directory, serial);
        char *retained = ab_new_format("%s.lost-%u", partition->retained_path, serial);
        bool is_free = !ab_file_exists(log) && !ab_file_exists(retained);
        ab_delete(log);
        ab_delete(retained);
        if (is_free) {
            return serial;
        }
    }
    return 0;
}

/* An empty log that says what is missing. */
static ab_err log_prepare(
    const struct ab_partition *partition, const char *directory, uint64_t until, struct ab_error *error)
{
    struct ab_log *log = NULL;
    struct ab_log_recovery recovery = {0};
    const struct ab_log_options options = ab_partition_log_options(partition);
    AB_TRY(ab_file_remove_tree(directory, error));
    AB_TRY(ab_log_open(directory, &options, &log, &recovery, error));
    ab_err err = ab_log_note_damage(log, until, error);
    ab_log_close(log);
    return err;
}

static ab_err move_aside(const char *path, uint32_t serial, struct ab_error *error)
{
    if (!ab_file_exists(path)) {
        return AB_OK;
    }
    char *aside = ab_new_format("%s.lost-%u", path, serial);
    ab_err err = ab_file_rename(path, aside, error);
    ab_delete(aside);
    return err;
}

ab_err ab_partition_set_aside(struct ab_partition *partition, uint64_t until, struct ab_error *error)
{
    uint32_t serial = serial_free(partition);
    if (serial == 0) {
        return ab_error_set(error, AB_FULL, "too many logs were set aside in %s", partition->options.directory);
    }
    /* The state goes first: nothing must be taken for what the new log leads to. The new log is whole before the old
     * one goes, and in its place before the tables go, which know too that something is missing. */
    AB_TRY(ab_file_remove_tree(partition->state_directory, error));
    char *prepared = path_of(partition, "log.new");
    ab_err err = log_prepare(partition, prepared, until, error);
    if (err == AB_OK) {
        err = move_aside(partition->log_directory, serial, error);
    }
    if (err == AB_OK) {
        err = ab_file_rename(prepared, partition->log_directory, error);
    }
    if (err == AB_OK) {
        err = move_aside(partition->retained_path, serial, error);
    }
    ab_delete(prepared);
    return err;
}

ab_err ab_partition_finish_aside(struct ab_partition *partition, struct ab_error *error)
{
    char *prepared = path_of(partition, "log.new");
    ab_err err = AB_OK;
    if (!ab_file_exists(partition->log_directory) && ab_file_exists(prepared)) {
        err = ab_file_rename(prepared, partition->log_directory, error);
    }
    ab_delete(prepared);
    return err;
}
