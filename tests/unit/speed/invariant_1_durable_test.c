/* I1: what is acknowledged has reached stable storage before. The disk is played by this test: its own fsync and
 * fdatasync note what was synced, and a loss of power takes away everything else. Two controls show that the test would
 * see a lie: a disk that says it synced and did not, and a file system that fails. */
#include "common/base/random.h"
#include "common/base/thread.h"
#include "tests/support/crash.h"
#include "tests/unit/speed/engine_fixture.h"
#include "tests/unit/speed/rig.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SQL "SELECT n, total, least, most FROM by_user"
#define DISK_FILES_MAX 4096u
#define ROUNDS 8
#define HELD_US (300 * AB_US_PER_MS)

/* ---- the disk ---- */

enum disk_mode { DISK_HONEST, DISK_LYING, DISK_FAILING };

struct disk_file {
    ino_t inode;    /* 0 = free */
    uint64_t bytes; /* synced */
    bool is_named;  /* its directory was synced since it is there */
};

/* In shared memory: it outlives the process that writes. */
struct disk {
    atomic_flag lock;
    atomic_int mode;
    atomic_bool is_held; /* syncs wait until it is false */
    atomic_int waiting;
    struct disk_file files[DISK_FILES_MAX];
};

static struct disk *disk;

static struct disk_file *disk_file_locked(ino_t inode)
{
    for (size_t i = 0; i < DISK_FILES_MAX; i++) {
        struct disk_file *file = &disk->files[(inode + i) % DISK_FILES_MAX];
        if (file->inode == inode || file->inode == 0) {
            file->inode = inode;
            return file;
        }
    }
    abort(); /* the test makes fewer files */
}

static void disk_lock(void)
{
    while (atomic_flag_test_and_set(&disk->lock)) {
        ab_time_sleep_us(1);
    }
}

static void disk_note_names_locked(int fd)
{
    DIR *folder = fdopendir(dup(fd));
    if (folder == NULL) {
        abort();
    }
    rewinddir(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        disk_file_locked(entry->d_ino)->is_named = true;
    }
    closedir(folder);
}

static int disk_sync(int fd)
{
    struct stat before;
    if (disk == NULL || fstat(fd, &before) != 0) {
        return disk == NULL ? 0 : -1;
    }
    while (disk->is_held) {
        disk->waiting++;
        ab_time_sleep_us(1000);
        disk->waiting--;
    }
    if (disk->mode == DISK_FAILING) {
        errno = EIO;
        return -1;
    }
    if (disk->mode == DISK_HONEST) {
        disk_lock();
        if (S_ISDIR(before.st_mode)) {
            disk_note_names_locked(fd);
        } else {
            disk_file_locked(before.st_ino)->bytes = (uint64_t)before.st_size;
        }
        atomic_flag_clear(&disk->lock);
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

static void disk_make(void)
{
    disk = mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(disk != MAP_FAILED);
}

/* The power goes: of each file below what was synced is left, of a file whose name was not synced nothing. */
static void disk_lose_power(const char *directory)
{
    char **names = NULL;
    size_t count = 0;
    struct ab_error error = {0};
    atomic_flag_clear(&disk->lock); /* its holder is dead */
    assert_ok(ab_file_list(directory, &names, &count, &error));
    for (size_t i = 0; i < count; i++) {
        char *path = scratch_path(directory, names[i]);
        struct stat now;
        assert_int_equal(stat(path, &now), 0);
        const struct disk_file *file = disk_file_locked(now.st_ino);
        if (!file->is_named) {
            assert_int_equal(unlink(path), 0);
        } else if (file->bytes < (uint64_t)now.st_size) {
            assert_int_equal(truncate(path, (off_t)file->bytes), 0);
        }
        ab_delete(path);
    }
    ab_file_names_free(names, count);
}

/* ---- a partition whose power goes ---- */

static uint64_t position_of(struct rig *rig)
{
    struct ab_source_state mark = {0};
    return ab_partition_source(rig->partition, bytes_of("events"), bytes_of("feed"), &mark) ? mark.last_position : 0;
}

/* Sends for ever, telling through the pipe which row is acknowledged. */
static _Noreturn void child_send(char *directory, uint64_t producer, int pipe_fd)
{
    struct rig rig;
    struct ab_error error = {0};
    struct rig_options options = {0};
    if (rig_open(&rig, directory, &options, &error) != AB_OK) {
        (void)fprintf(stderr, "open: %s\n", error.text);
        _exit(2);
    }
    for (uint64_t sequence = 1;; sequence++) {
        struct ab_buffer payload = {0};
        struct ab_staged staged;
        struct rig_block block = {.producer_id = producer,
            .sequence = sequence,
            .first_position = position_of(&rig) + 1,
            .rows_count = 1 + (uint32_t)sequence % 300};
        uint64_t last = block.first_position + block.rows_count - 1;
        rig_block_encode(&block, &payload);
        if (rig_send(&rig, ab_buffer_view(&payload), &staged, &error) != AB_OK ||
            write(pipe_fd, &last, sizeof last) != sizeof last) {
            _exit(3);
        }
        ab_buffer_fini(&payload);
    }
}

/* One life of the partition, ended by a loss of power; the highest row it acknowledged. */
static uint64_t life(char *directory, uint64_t producer, struct ab_random *random)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        child_send(directory, producer, ends[1]);
    }
    close(ends[1]);
    int64_t end = ab_time_monotonic_us() + (int64_t)(200 + ab_random_below(random, 300)) * AB_US_PER_MS;
    uint64_t acknowledged = crash_watch(ends[0], child, end);
    char *log = scratch_path(directory, "partition-0/log");
    disk_lose_power(log);
    ab_delete(log);
    return acknowledged;
}

static void state_lose(const char *directory)
{
    struct ab_error error = {0};
    char *path = scratch_path(directory, "partition-0/state");
    assert_ok(ab_file_remove_tree(path, &error));
    ab_delete(path);
}

/* Opens what is left and counts; the mark of the source and the answer have to agree. */
static ab_err count_left(char *directory, uint64_t *position)
{
    struct rig rig;
    struct ab_error error = {0};
    struct rig_options options = {0};
    struct rig_totals got = {0};
    struct rig_totals wanted = {0};
    ab_err err = rig_open(&rig, directory, &options, &error);
    if (err != AB_OK) {
        rig_close(&rig);
        return err;
    }
    *position = position_of(&rig);
    rig_expect(1, *position, &wanted);
    assert_ok(rig_query(&rig, SQL, 0, &got, &error));
    assert_int_equal(got.count, wanted.count);
    assert_true(got.count == 0 || got.sum == wanted.sum);
    rig_close(&rig);
    return AB_OK;
}

static void test_invariant_1_acknowledged_rows_survive_a_loss_of_power(void **state)
{
    struct ab_random random;
    uint64_t acknowledged = 0;
    ab_random_init(&random, 20130601);
    disk_make();
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t left = 0;
        uint64_t more = life(*state, (uint64_t)round + 1, &random);
        acknowledged = more > acknowledged ? more : acknowledged;
        if (round % 2 == 1) {
            state_lose(*state);
        }
        assert_ok(count_left(*state, &left));
        assert_true(left >= acknowledged);
    }
    assert_true(acknowledged > ROUNDS * 100);
}

/* The control: with a disk that lies the same life loses what it acknowledged, and this test sees it. */
static void test_invariant_1_control_a_lying_disk_is_seen(void **state)
{
    struct ab_random random;
    uint64_t before = 0;
    uint64_t left = 0;
    ab_random_init(&random, 7);
    disk_make();
    (void)life(*state, 1, &random);
    assert_ok(count_left(*state, &before));
    disk->mode = DISK_LYING;
    uint64_t acknowledged = 0; /* a slow machine may not get that far in one life; each begins with what is left */
    for (uint64_t producer = 2; producer < 100 && acknowledged <= before; producer++) {
        acknowledged = life(*state, producer, &random);
    }
    disk->mode = DISK_HONEST;
    state_lose(*state);
    assert_true(acknowledged > before);
    assert_true(count_left(*state, &left) != AB_OK || left < acknowledged);
}

/* ---- an engine that is asked while its disk takes long ---- */

static int engine_setup(void **state)
{
    disk_make();
    return engine_fixture_setup(state, (uint64_t)256 << 20);
}

static void block_send(struct engine_fixture *fixture, struct ab_buffer *payload)
{
    struct ab_envelope envelope = {.protocol = AB_PROTOCOL_VERSION, .verb = AB_VERB_PRODUCE, .partition = 1};
    engine_fixture_block(fixture, 1, 100, 50, false, true, payload);
    assert_ok(ab_channel_send(fixture->producer, &envelope, ab_buffer_view(payload)));
}

static void test_invariant_1_no_acknowledgement_before_the_sync(void **state)
{
    struct engine_fixture *fixture = *state;
    struct ab_buffer payload = {0};
    struct ab_answer answer = {0};
    disk->is_held = true;
    block_send(fixture, &payload);
    assert_int_equal(ab_channel_receive(fixture->producer, (int)(HELD_US / 1000), &answer), AB_TIMEOUT);
    for (int i = 0; i < 5000 && disk->waiting == 0; i++) {
        ab_time_sleep_us(1000); /* the block has come as far as the sync, however slow the machine is */
    }
    assert_int_equal(ab_channel_receive(fixture->producer, (int)(HELD_US / 1000), &answer), AB_TIMEOUT);
    disk->is_held = false;
    assert_ok(ab_channel_receive(fixture->producer, ENGINE_TIMEOUT_MS, &answer));
    assert_int_equal(answer.envelope.status, AB_OK);
    ab_answer_free(&answer);
    ab_buffer_fini(&payload);
}

/* The engine of a child meets a failing sync: it says nothing of the block and ends (H8). */
static void test_invariant_1_a_failed_sync_is_never_acknowledged(void **state)
{
    (void)state;
    disk_make();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        void *made = NULL;
        struct ab_buffer payload = {0};
        struct ab_answer answer = {0};
        (void)freopen("/dev/null", "w", stderr);
        if (engine_fixture_setup(&made, (uint64_t)256 << 20) != 0) {
            _exit(4);
        }
        disk->mode = DISK_FAILING;
        block_send(made, &payload);
        ab_err err = ab_channel_receive(((struct engine_fixture *)made)->producer, ENGINE_TIMEOUT_MS, &answer);
        _exit(err == AB_OK && answer.envelope.status == AB_OK ? 5 : 6);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_invariant_1_acknowledged_rows_survive_a_loss_of_power, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(test_invariant_1_control_a_lying_disk_is_seen, scratch_setup, scratch_teardown),
        cmocka_unit_test(test_invariant_1_a_failed_sync_is_never_acknowledged),
        cmocka_unit_test_setup_teardown(
            test_invariant_1_no_acknowledgement_before_the_sync, engine_setup, engine_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
