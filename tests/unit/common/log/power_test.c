/* The power may go between any two syncs: what makes a log shorter, or sets it aside, leaves a log that opens.
 *
 * The disk is played by this test: its own fsync and fdatasync keep a copy of what was synced, file by file and name by
 * name, and a power cut leaves just that: no write, no name, no removal and no rename that was not synced. Another one
 * leaves the data and not the names, for a file system may do either. */
#include "common/log/log.h"
#include "common/log/segment.h"
#include "common/log/watermark.h"
#include "tests/unit/common/log/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum { SMALL_SEGMENT = 9000, RECORDS = 24, DISK_FILES_MAX = 256, NAME_BYTES = 256 };

/* ---- the disk ---- */

struct disk_file {
    ino_t inode;
    int fd; /* keeps the number from being given to another file */
    struct ab_buffer synced;
};

struct disk_name {
    char name[NAME_BYTES];
    ino_t inode;
};

struct disk {
    const char *directory; /* NULL = not played */
    struct disk_file files[DISK_FILES_MAX];
    size_t files_count;
    struct disk_name names[DISK_FILES_MAX];
    size_t names_count;
    void (*before_sync)(void);
    size_t syncs;
};

static struct disk disk;

static struct disk_file *disk_file(ino_t inode)
{
    for (size_t i = 0; i < disk.files_count; i++) {
        if (disk.files[i].inode == inode) {
            return &disk.files[i];
        }
    }
    assert_true(disk.files_count < DISK_FILES_MAX);
    disk.files[disk.files_count] = (struct disk_file){.inode = inode, .fd = -1};
    return &disk.files[disk.files_count++];
}

static void disk_keep_content(int fd, const struct stat *now)
{
    struct disk_file *file = disk_file(now->st_ino);
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* it may be open for writing alone */
    if (file->fd < 0) {
        file->fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(file->fd >= 0);
    }
    ab_buffer_clear(&file->synced);
    uint8_t *at = now->st_size == 0 ? NULL : ab_buffer_extend(&file->synced, (size_t)now->st_size);
    assert_true(at == NULL || pread(file->fd, at, (size_t)now->st_size, 0) == now->st_size);
}

static void disk_keep_names(void)
{
    DIR *folder = opendir(disk.directory);
    assert_non_null(folder);
    disk.names_count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_type == DT_REG) {
            struct disk_name *name = &disk.names[disk.names_count++];
            assert_true(disk.names_count < DISK_FILES_MAX);
            (void)snprintf(name->name, sizeof(name->name), "%s", entry->d_name);
            name->inode = entry->d_ino;
        }
    }
    closedir(folder);
}

static int disk_sync(int fd)
{
    struct stat now;
    struct stat directory;
    if (disk.directory == NULL) {
        return 0;
    }
    if (disk.before_sync != NULL) {
        disk.before_sync();
    }
    disk.syncs++;
    assert_int_equal(fstat(fd, &now), 0);
    if (!S_ISDIR(now.st_mode)) {
        disk_keep_content(fd, &now);
    } else if (stat(disk.directory, &directory) == 0 && directory.st_ino == now.st_ino) {
        disk_keep_names();
    }
    return 0;
}

/* In place of the C library's, for everything in this process. */
int fdatasync(int fd)
{
    return disk_sync(fd);
}

int fsync(int fd)
{
    return disk_sync(fd);
}

static void disk_begin(const char *directory)
{
    for (size_t i = 0; i < disk.files_count; i++) {
        ab_buffer_fini(&disk.files[i].synced);
        ab_file_close(&disk.files[i].fd);
    }
    disk = (struct disk){.directory = directory};
}

/* What is left of the directory when the power goes now. */
static char *disk_image(bool has_unsynced_data)
{
    const char *directory = disk.directory;
    char *image = scratch_make();
    disk.directory = NULL;
    for (size_t i = 0; i < disk.names_count; i++) {
        char *to = scratch_path(image, disk.names[i].name);
        char *from = scratch_path(directory, disk.names[i].name);
        struct stat now;
        struct ab_buffer newest = {0};
        bool is_same = stat(from, &now) == 0 && now.st_ino == disk.names[i].inode;
        if (has_unsynced_data && is_same) {
            fixture_file_read(from, &newest);
            fixture_file_write(to, ab_buffer_view(&newest));
        } else {
            fixture_file_write(to, ab_buffer_view(&disk_file(disk.names[i].inode)->synced));
        }
        ab_buffer_fini(&newest);
        ab_delete(from);
        ab_delete(to);
    }
    disk.directory = directory;
    return image;
}

/* ---- fixture ---- */

static struct ab_hash128 chains[RECORDS + 1];
static uint64_t wanted;     /* where the case at hand cuts */
static size_t ends_seen[3]; /* old, between, new */

static struct ab_log *filled(const char *directory)
{
    struct ab_log_recovery recovery;
    struct ab_log *log = fixture_open(directory, SMALL_SEGMENT, &recovery);
    for (uint64_t offset = 0; offset < RECORDS; offset++) {
        chains[offset] = ab_log_chain(log);
        fixture_append_epoch(log, 1, FIXTURE_EPOCH + offset / 10);
        assert_ok(ab_log_write(log, NULL));
    }
    chains[RECORDS] = ab_log_chain(log);
    assert_ok(ab_log_sync(log, NULL));
    assert_ok(ab_log_note_durable(log, NULL));
    return log;
}

/* ---- truncating ---- */

static void truncated_check(void)
{
    for (int i = 0; i < 2; i++) {
        char *image = disk_image(i == 1);
        const char *directory = disk.directory;
        disk.directory = NULL;
        struct ab_log_recovery recovery;
        struct ab_log *log = fixture_open(image, SMALL_SEGMENT, &recovery);
        assert_int_equal(recovery.torn_bytes, 0);
        assert_true(recovery.end_offset >= wanted);
        assert_true(ab_hash128_equal(ab_log_chain(log), chains[recovery.end_offset]));
        fixture_read_all(image, 0, recovery.end_offset);
        ends_seen[recovery.end_offset == RECORDS ? 0 : recovery.end_offset > wanted ? 1 : 2]++;
        assert_ok(ab_log_truncate(log, wanted, NULL));
        assert_int_equal(ab_log_end_offset(log), wanted);
        ab_log_close(log);
        scratch_remove(image);
        disk.directory = directory;
    }
}

static void test_power_lost_in_a_truncation_leaves_a_log_that_opens(void **state)
{
    (void)state;
    static const uint64_t ends[] = {0, 5, 17, RECORDS - 1};
    memset(ends_seen, 0, sizeof(ends_seen));
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char *directory = scratch_make();
        wanted = ends[i];
        disk_begin(directory);
        struct ab_log *log = filled(directory);
        disk.before_sync = truncated_check;
        disk.syncs = 0;
        assert_ok(ab_log_truncate(log, wanted, NULL));
        assert_true(disk.syncs >= 4);
        truncated_check();
        disk.before_sync = NULL;
        char *image = disk_image(false);
        disk_begin(NULL);
        struct ab_log_recovery recovery;
        struct ab_log *again = fixture_open(image, SMALL_SEGMENT, &recovery);
        assert_int_equal(recovery.end_offset, wanted); /* it said that it was done */
        ab_log_close(again);
        scratch_remove(image);
        ab_log_close(log);
        scratch_remove(directory);
    }
    assert_true(ends_seen[0] > 0 && ends_seen[1] > 0 && ends_seen[2] > 0);
}

/* ---- beginning anew ---- */

static void reset_check(void)
{
    for (int i = 0; i < 2; i++) {
        char *image = disk_image(i == 1);
        const char *directory = disk.directory;
        disk.directory = NULL;
        struct ab_log_recovery recovery;
        struct ab_log *log = fixture_open(image, SMALL_SEGMENT, &recovery);
        if (recovery.records_count == RECORDS) {
            fixture_read_all(image, 0, RECORDS);
            ends_seen[0]++;
        } else {
            assert_int_equal(recovery.records_count, 0);
            assert_int_equal(recovery.end_offset, wanted);
            assert_true(ab_hash128_equal(ab_log_chain(log), chains[4]));
            ends_seen[2]++;
        }
        ab_log_close(log);
        scratch_remove(image);
        disk.directory = directory;
    }
}

static void test_power_lost_in_a_reset_leaves_the_old_log_or_the_new(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {4, 3000};
    for (size_t i = 0; i < 2; i++) {
        char *directory = scratch_make();
        memset(ends_seen, 0, sizeof(ends_seen));
        wanted = offsets[i];
        disk_begin(directory);
        struct ab_log *log = filled(directory);
        disk.before_sync = reset_check;
        assert_ok(ab_log_reset(log, wanted, chains[4], 9, NULL));
        size_t old_before = ends_seen[0];
        reset_check();
        assert_true(old_before > 0 && ends_seen[0] == old_before && ends_seen[2] > 2);
        disk_begin(NULL);
        ab_log_close(log);
        scratch_remove(directory);
    }
}

/* ---- setting aside ---- */

static void damage_check(void)
{
    for (int i = 0; i < 2; i++) {
        char *image = disk_image(i == 1);
        const char *directory = disk.directory;
        disk.directory = NULL;
        struct ab_log_options options = fixture_options(SMALL_SEGMENT);
        struct ab_log_recovery recovery;
        struct ab_log *log = NULL;
        assert_int_equal(ab_log_open(image, &options, &log, &recovery, NULL), AB_CORRUPT);
        options.is_setting_aside_corrupt = true;
        assert_ok(ab_log_open(image, &options, &log, &recovery, NULL));
        assert_int_equal(recovery.damaged_from, wanted);
        assert_int_equal(recovery.damaged_until, RECORDS);
        assert_true(ab_hash128_equal(ab_log_chain(log), chains[wanted]));
        fixture_read_all(image, 0, wanted);
        ab_log_close(log);
        scratch_remove(image);
        disk.directory = directory;
    }
}

/* Syncs every file and name: the disk was quiet for long. */
static void disk_settle(const char *directory)
{
    char **names = NULL;
    size_t count = 0;
    assert_ok(ab_file_list(directory, &names, &count, NULL));
    for (size_t i = 0; i < count; i++) {
        char *path = scratch_path(directory, names[i]);
        int fd = -1;
        assert_ok(ab_file_open(path, 0, 0, &fd, NULL));
        assert_ok(ab_file_sync(fd));
        ab_file_close(&fd);
        ab_delete(path);
    }
    ab_file_names_free(names, count);
    assert_ok(ab_file_sync_directory(directory));
}

static void test_power_lost_while_setting_aside_never_hides_the_damage(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 7, RECORDS - 1};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *directory = scratch_make();
        disk_begin(NULL);
        ab_log_close(filled(directory));
        wanted = bad[i];
        uint64_t *first_offsets = NULL;
        size_t count = 0;
        assert_ok(ab_segment_list(directory, &first_offsets, &count, NULL));
        size_t index = count - 1;
        while (first_offsets[index] > wanted) {
            index--;
        }
        char *path = ab_segment_path(directory, first_offsets[index]);
        struct ab_buffer content = {0};
        struct ab_record_header header = {0};
        fixture_file_read(path, &content);
        size_t at = 0;
        for (uint64_t offset = first_offsets[index]; offset < wanted; offset++) {
            assert_ok(ab_record_header_decode(ab_bytes_of(content.data + at, content.bytes - at), &header));
            at += ab_record_bytes(&header);
        }
        content.data[at + 30] ^= 1;
        fixture_file_write(path, ab_buffer_view(&content));
        disk_begin(directory);
        disk_settle(directory);
        disk.before_sync = damage_check;
        disk.syncs = 0;
        struct ab_log_options options = fixture_options(SMALL_SEGMENT);
        options.is_setting_aside_corrupt = true;
        struct ab_log_recovery recovery;
        struct ab_log *log = NULL;
        assert_ok(ab_log_open(directory, &options, &log, &recovery, NULL));
        assert_true(disk.syncs >= 5);
        damage_check();
        disk_begin(NULL);
        ab_log_close(log);
        ab_buffer_fini(&content);
        ab_delete(path);
        ab_delete(first_offsets);
        scratch_remove(directory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_lost_in_a_truncation_leaves_a_log_that_opens),
        cmocka_unit_test(test_power_lost_in_a_reset_leaves_the_old_log_or_the_new),
        cmocka_unit_test(test_power_lost_while_setting_aside_never_hides_the_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
